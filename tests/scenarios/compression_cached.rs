//! The cache keeps compressed forms beside what it stores: made once, served as any hit, and gone with it.

use std::time::Duration;

use crate::support::cache::{bare, cache_number, fresh_with, has_condition, page, purge};
use crate::support::coded::{coding_count, route, taking, words};
use crate::support::live::Live;
use crate::support::{Driver, Origin, Proxy, Setup, assert_same, eventually, get, get_with, on_each_driver};

const HTML: &str = "Content-Type: text/html\r\nETag: \"a\"\r\n";

fn start(driver: Driver, cores: usize, origin: &Origin, lines: &str) -> Proxy {
    Setup::new(driver).cores(cores).admin().file(&route(origin, lines)).start()
}

fn of_any_size() -> Origin {
    Origin::replying(|request| fresh_with(HTML, words(request.target()[1..].parse().unwrap_or(3000))))
}

#[test]
fn one_response_is_fetched_and_compressed_once_for_many() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, 2, &origin, "compress = true");
        let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
        for _ in 0..5 {
            for client in &mut clients {
                for codings in ["gzip", "gzip, deflate", "gzip;q=0.5, br;q=0.1"] {
                    let response = client.ask(taking("/9000", codings));
                    assert_eq!((response.coding(), response.field("ETag")), ("gzip", Some("W/\"a\"")));
                    assert_same(&response.plain(), &words(9000));
                }
                assert_same(client.ask(get("/9000")).body(), &words(9000));
            }
        }
        assert_eq!(origin.requests().len(), 1);
        assert_eq!(coding_count(&proxy, "compressed_kept"), 1);
        assert!(coding_count(&proxy, "compressed_hits") >= 8 * 5 * 3 - 16);
        // Kept forms have a length that is known.
        let kept = proxy.ask(taking("/9000", "gzip"));
        assert_eq!(kept.field("Content-Length").unwrap(), kept.body().len().to_string());
        assert_eq!(kept.x_cache(), "HIT");
        let mut client = proxy.client();
        client.send(taking("/9000", "gzip").replace("GET", "HEAD"));
        assert_eq!(client.response_to("HEAD").field("Content-Length"), kept.field("Content-Length"));
    });
}

#[test]
fn long_content_is_compressed_as_it_goes_until_its_form_is_there() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, 1, &origin, "compress = true");
        let want = words(400_000);
        for coding in ["gzip", "br", "zstd"] {
            let before = coding_count(&proxy, "compressed_kept");
            eventually("the form is there", || {
                let response = proxy.ask(taking("/400000", coding));
                assert_eq!(response.coding(), coding);
                assert_same(&response.plain(), &want);
                coding_count(&proxy, "compressed_kept") > before
            });
            let hits = coding_count(&proxy, "compressed_hits");
            assert_same(&proxy.ask(taking("/400000", coding)).plain(), &want);
            assert_eq!(coding_count(&proxy, "compressed_hits"), hits + 1);
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn gzip_of_up_to_128_kib_is_made_at_once_for_its_first_hit() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, 1, &origin, "compress = true");
        for length in [512, 9000, 40_000, 100_000, 128 * 1024] {
            let target = format!("/{length}");
            proxy.ask(get(&target));
            let response = proxy.ask(taking(&target, "gzip"));
            assert_eq!((response.coding(), response.x_cache()), ("gzip", "HIT"));
            assert_eq!(response.field("Content-Length").unwrap(), response.body().len().to_string());
            assert_same(&response.plain(), &words(length));
        }
        let counts =
            ["compressed_kept", "compressed_hits", "compressed"].map(|name| coding_count(&proxy, name));
        assert_eq!(counts, [5, 5, 0], "nothing was compressed on the way");
    });
}

#[test]
fn whoever_asks_while_a_form_is_made_waits_for_it_on_whatever_core() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, 2, &origin, "compress = true");
        let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
        let others = || ["compressed", "compression_skipped"].map(|name| coding_count(&proxy, name));
        let mut length = 70_000;
        // It takes less than a moment where the cores are not kept from it.
        eventually("all of a crowd wait for one form", || {
            length += 1;
            let (target, before, kept) =
                (format!("/{length}"), others(), coding_count(&proxy, "compressed_kept"));
            proxy.ask(get(&target));
            clients.iter_mut().for_each(|client| client.send(taking(&target, "zstd")));
            for client in &mut clients {
                assert_same(&client.response().plain(), &words(length));
            }
            before == others() && coding_count(&proxy, "compressed_kept") == kept + 1
        });
    });
}

#[test]
fn forms_outlive_a_reload_and_are_served_where_they_are_wanted() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let saying = |lines: &str| route(&origin, lines);
        let proxy = Live::start(driver, 1, &saying("compress = { gzip-level = 1, harder-after = 0 }"));
        proxy.ask(get("/9000"));
        let kept = proxy.ask(taking("/9000", "gzip")).body().to_vec();
        proxy.apply(&saying("compress = false"));
        let plain = proxy.ask(taking("/9000", "gzip"));
        assert_eq!((plain.coding(), plain.field("ETag"), plain.x_cache()), ("", Some("\"a\""), "HIT"));
        assert_same(plain.body(), &words(9000));
        proxy.apply(&saying("compress = { coding = ['br', 'gzip'], gzip-level = 9, harder-after = 0 }"));
        assert_same(proxy.ask(taking("/9000", "gzip")).body(), &kept);
        assert_same(&proxy.ask(taking("/9000", "br")).plain(), &words(9000));
        assert_eq!((coding_count(&proxy, "compressed_kept"), origin.requests().len()), (2, 1));
        proxy.apply(&saying("compress = { coding = ['br'] }"));
        assert_eq!(proxy.ask(taking("/9000", "gzip")).coding(), "");
    });
}

#[test]
fn a_thread_that_compresses_keeps_nobody_from_leaving() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let text = route(&origin, "compress = { coding = ['br'], br-level = 0, harder-after = 1 }");
        let proxy = Live::start(driver, 1, &text);
        proxy.ask(get("/1000000"));
        eventually("the form is there", || {
            proxy.ask(taking("/1000000", "br"));
            coding_count(&proxy, "compressed_hits") > 3
        });
        proxy.end();
    });
}

#[test]
fn a_part_is_a_part_of_what_is_stored() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| {
            let date = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
            fresh_with(&format!("{HTML}{date}"), words(9000))
        });
        let proxy = start(driver, 1, &origin, "compress = true");
        let whole = proxy.ask(taking("/", "gzip"));
        let ask = |fields: &str| proxy.ask(get_with("/", &format!("Accept-Encoding: gzip\r\n{fields}")));
        let part = ask("Range: bytes=10-19\r\n");
        assert_eq!((part.status(), part.coding(), part.body()), (206, "", &words(9000)[10..20]));
        assert_eq!((part.field("ETag"), part.field("Vary")), (Some("\"a\""), Some("Accept-Encoding")));
        // By the weak tag nobody goes on, nor by a date that both forms have.
        for condition in ["W/\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            let response = ask(&format!("Range: bytes=10-19\r\nIf-Range: {condition}\r\n"));
            assert_eq!((response.status(), response.coding()), (200, "gzip"), "{condition}");
            assert_same(&response.plain(), &whole.plain());
        }
        assert_eq!(ask("Range: bytes=10-19\r\nIf-Range: \"a\"\r\n").status(), 206);
        let plain = "Range: bytes=10-19\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(proxy.ask(get_with("/", plain)).status(), 206);
        assert_eq!(ask("Range: bytes=99999-\r\n").status(), 416);
    });
}

#[test]
fn a_client_that_has_it_in_any_form_is_told_so() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, 1, &origin, "compress = true");
        for (codings, tag) in [("gzip", "W/\"a\""), ("identity", "\"a\""), ("gzip", "\"a\"")] {
            for _ in 0..2 {
                proxy.ask(taking("/", codings));
                let fields = format!("Accept-Encoding: {codings}\r\nIf-None-Match: {tag}\r\n");
                let response = proxy.ask(get_with("/", &fields));
                let own = if codings == "gzip" { "W/\"a\"" } else { "\"a\"" };
                assert_eq!((response.status(), response.field("ETag")), (304, Some(own)));
                assert_eq!((response.field("Vary"), response.coding()), (Some("Accept-Encoding"), ""));
            }
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn a_validation_leaves_the_forms_where_they_are_and_a_purge_takes_them_away() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let fields = format!("{HTML}Cache-Control: max-age=0, must-revalidate\r\n");
            if has_condition(request) {
                return bare("304 Not Modified", &fields);
            }
            page(&fields, std::str::from_utf8(&words(9000)).unwrap())
        });
        let proxy = start(driver, 1, &origin, "compress = true");
        for _ in 0..5 {
            let response = proxy.ask(taking("/", "gzip"));
            assert_same(&response.plain(), &words(9000));
            assert_eq!(response.field("ETag"), Some("W/\"a\""));
        }
        assert_eq!((origin.requests().len(), coding_count(&proxy, "compressed_kept")), (5, 1));
        assert!(cache_number(&proxy, "bytes") > 0);
        purge(&proxy, &["purge", "http://example.com/"]);
        eventually("all is given back", || cache_number(&proxy, "bytes") < 1000);
    });
}

#[test]
fn what_is_popular_is_compressed_again_and_harder() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, 1, &origin, "compress = { gzip-level = 1, harder-after = 5 }");
        proxy.ask(taking("/6000", "gzip"));
        let first = proxy.ask(taking("/6000", "gzip")).body().len();
        eventually("it is shorter", || {
            let response = proxy.ask(taking("/6000", "gzip"));
            assert_same(&response.plain(), &words(6000));
            response.body().len() < first
        });
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn forms_stay_within_the_bound_of_the_cache() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let text = route(&origin, "compress = true");
        let proxy = Setup::new(driver).admin().args(&["--cache-size", "1MiB"]).file(&text).start();
        let mut client = proxy.client();
        for length in 0..100 {
            let length = 20_000 + length * 100;
            for codings in ["gzip", "br", "gzip"] {
                let response = client.ask(taking(&format!("/{length}"), codings));
                assert_same(&response.plain(), &words(length));
            }
            assert!(cache_number(&proxy, "bytes") <= 1 << 20);
        }
    });
}

#[test]
fn what_does_not_become_shorter_goes_out_as_it_is() {
    on_each_driver(|driver| {
        let noise = |length| crate::support::noise(length, 9);
        let origin =
            Origin::replying(move |request| fresh_with(HTML, noise(request.target()[1..].parse().unwrap())));
        let proxy = start(driver, 1, &origin, "compress = true");
        for (length, coding) in [(9000, "gzip"), (9000, "br"), (100_000, "gzip"), (100_000, "zstd")] {
            let target = format!("/{length}");
            eventually("it is known", || proxy.ask(taking(&target, coding)).coding().is_empty());
            let response = proxy.ask(taking(&target, coding));
            assert_eq!((response.coding(), response.field("Vary")), ("", Some("Accept-Encoding")));
            assert_eq!(response.field("ETag"), Some("\"a\""));
            assert_same(response.body(), &noise(length));
            let fields = format!("Accept-Encoding: {coding}\r\nIf-None-Match: \"a\"\r\n");
            let response = proxy.ask(get_with(&target, &fields));
            assert_eq!((response.status(), response.field("ETag")), (304, Some("\"a\"")));
        }
        assert_eq!(coding_count(&proxy, "compressed_kept"), 0);
    });
}

#[test]
fn what_the_origin_varies_by_is_one_response_where_it_is_asked_for_content_as_it_is() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            assert_eq!(request.field("Accept-Encoding"), Some("identity"));
            fresh_with(&format!("{HTML}Vary: Cookie, Accept-Encoding\r\n"), words(3000))
        });
        let proxy = start(driver, 1, &origin, "compress = true");
        for codings in ["gzip", "br, gzip", "zstd", "identity", ""] {
            let response = proxy.ask(taking("/", codings));
            assert_same(&response.plain(), &words(3000));
            assert_eq!(response.field("Vary"), Some("Cookie, Accept-Encoding"));
        }
        assert_eq!(origin.requests().len(), 1);
        proxy.ask(get_with("/", "Cookie: a=b\r\n"));
        assert_eq!(origin.requests().len(), 2, "what else it varies by still counts");
    });
}

#[test]
fn a_client_that_reads_along_gets_it_compressed() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send(crate::support::cache::fresh_head(None, HTML));
                for piece in words(50_000).chunks(10_000) {
                    peer.send(crate::support::chunk(piece));
                    std::thread::sleep(Duration::from_millis(50));
                }
                peer.send("0\r\n\r\n");
            }
        });
        let proxy = start(driver, 2, &origin, "compress = true");
        let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
        for (place, client) in clients.iter_mut().enumerate() {
            client.send(taking("/", ["gzip", "br", "zstd", "identity"][place]));
        }
        for (place, client) in clients.iter_mut().enumerate() {
            let response = client.response();
            assert_eq!(response.coding(), ["gzip", "br", "zstd", ""][place]);
            assert_same(&response.plain(), &words(50_000));
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn a_fetch_that_breaks_off_breaks_off_for_those_who_read_along_and_is_not_kept() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(crate::support::cache::fresh_head(None, HTML));
                peer.send(crate::support::chunk(&words(30_000)));
                std::thread::sleep(Duration::from_millis(200));
                peer.send("ffff\r\nhalf");
            }
        });
        let proxy = start(driver, 2, &origin, "compress = true");
        let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
        for (client, coding) in clients.iter_mut().zip(["gzip", "br", "zstd"]) {
            client.send(taking("/", coding));
        }
        for (client, coding) in clients.iter_mut().zip(["gzip", "br", "zstd"]) {
            let (head, broken) = client.broken_response();
            assert_eq!(head.field("Content-Encoding"), Some(coding));
            assert!(crate::support::coded::decoded(coding, &broken.partial).is_err(), "{coding}");
        }
        assert_eq!(coding_count(&proxy, "compressed_kept"), 0);
    });
}
