//! Many at once, and much of it: what is compressed for them stays small beside what it is for.

use std::time::{Duration, Instant};

use crate::support::cache::{all_have_asked, bare, fresh_with, has_condition, page};
use crate::support::coded::{coding_count, route, taking, words};
use crate::support::{Gate, Origin, Setup, assert_same, eventually, get, on_each_driver};

const HTML: &str = "Content-Type: text/html\r\nETag: \"a\"\r\n";

#[test]
fn however_many_forms_there_are_responses_are_still_stored_and_freshened() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/stale" if has_condition(request) => {
                bare("304 Not Modified", &format!("{HTML}Cache-Control: max-age=100\r\n"))
            }
            "/stale" => page(&format!("{HTML}Cache-Control: max-age=1\r\n"), "it will be stale soon"),
            _ => fresh_with(HTML, words(700)),
        });
        let text = route(&origin, "compress = true");
        let proxy = Setup::new(driver).admin().args(&["--cache-size", "1MiB"]).file(&text).start();
        let mut client = proxy.client();
        for number in 0..600 {
            for codings in ["gzip", "br", "zstd", "gzip"] {
                assert_eq!(client.ask(taking(&format!("/{number}"), codings)).status(), 200);
            }
        }
        assert!(coding_count(&proxy, "compressed_kept") > 300);
        for number in 0..20 {
            let target = format!("/new/{number}");
            assert_eq!(client.ask(get(&target)).x_cache(), "MISS");
            assert_eq!(client.ask(get(&target)).x_cache(), "HIT", "{number}");
        }
        client.ask(get("/stale"));
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(client.ask(taking("/stale", "gzip")).text(), "it will be stale soon");
        let before = origin.requests().len();
        assert_eq!(client.ask(get("/stale")).x_cache(), "HIT");
        assert_eq!(origin.requests().len(), before, "it was freshened");
    });
}

#[test]
fn for_a_crowd_content_is_compressed_a_few_times_and_others_are_served_meanwhile() {
    const LENGTH: usize = 4_000_000;
    on_each_driver(|driver| {
        let long = words(LENGTH);
        let content = long.clone();
        let origin = Origin::replying(move |request| match request.target() {
            "/long" => fresh_with(HTML, &content),
            _ => page("Cache-Control: no-store\r\n", "short"),
        });
        let lines = "compress = { gzip-level = 1, coding = ['gzip'] }";
        let proxy = Setup::new(driver).cores(1).admin().file(&route(&origin, lines)).start();
        assert_same(proxy.ask(get("/long")).body(), &long);
        let mut clients: Vec<_> = (0..40).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send(taking("/long", "gzip"));
        }
        let mut other = proxy.client();
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(other.ask(get("/short")).text(), "short");
            // All of it in one go, one after another, would take longer.
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
        let mut compressed = 0;
        for client in &mut clients {
            let response = client.response();
            assert_eq!(response.field("Vary"), Some("Accept-Encoding"));
            compressed += u64::from(response.coding() == "gzip");
            assert_same(&response.plain(), &long);
        }
        // Whoever is asked for late may find the form there.
        let [on_the_way, skipped, hits] =
            ["compressed", "compression_skipped", "compressed_hits"].map(|name| coding_count(&proxy, name));
        assert!((1..=10).contains(&on_the_way), "{on_the_way}");
        assert_eq!(on_the_way + hits, compressed);
        assert_eq!(on_the_way + skipped + hits, 40, "{on_the_way} {skipped} {hits}");
        eventually("the form is there", || coding_count(&proxy, "compressed_kept") == 1);
        assert_eq!(proxy.ask(taking("/long", "gzip")).coding(), "gzip");
        assert_eq!(origin.requests().iter().filter(|request| request.target() == "/long").count(), 1);
    });
}

#[test]
fn a_crowd_that_reads_along_gets_it_whole_whether_compressed_or_not() {
    on_each_driver(|driver| {
        // The rest comes when all are there.
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                peer.send(crate::support::cache::fresh_head(None, HTML));
                for piece in words(400_000).chunks(40_000) {
                    peer.send(crate::support::chunk(piece));
                    held.pass(1);
                    std::thread::sleep(Duration::from_millis(30));
                }
                peer.send("0\r\n\r\n");
            }
        });
        let proxy = Setup::new(driver).cores(1).admin().file(&route(&origin, "compress = true")).start();
        let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send(taking("/", "zstd"));
        }
        all_have_asked(&proxy, 20);
        gate.open();
        let mut compressed = 0;
        for client in &mut clients {
            let response = client.response();
            compressed += usize::from(response.coding() == "zstd");
            assert_same(&response.plain(), &words(400_000));
        }
        assert!((1..=8).contains(&compressed), "{compressed}");
        assert_eq!(origin.requests().len(), 1);
    });
}
