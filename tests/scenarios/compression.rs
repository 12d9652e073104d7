//! Responses are compressed for clients that take that: which ones, what is said of them, and how they come.

use std::thread;

use crate::support::cache::answer;
use crate::support::coded::{coding_count, decoded, route, taking, words};
use crate::support::message::in_random_chunks;
use crate::support::proxy::run;
use crate::support::{
    Driver, End, File, Gate, Origin, Proxy, Setup, assert_same, chunk, get, get_with, noise, ok,
    on_each_driver,
};

const HTML: &str = "Content-Type: text/html\r\n";

fn start(driver: Driver, origin: &Origin, lines: &str) -> Proxy {
    Setup::new(driver).admin().args(&["--no-cache"]).file(&route(origin, lines)).start()
}

/// An origin whose every response is text of the length that the target asks for, framed as its second part says.
fn of_any_size() -> Origin {
    Origin::start(|peer| {
        while let Some(request) = peer.request() {
            let mut parts = request.target().split('/').skip(1);
            let length = parts.next().unwrap().parse().unwrap();
            let mut content = words(length);
            content.extend(noise(length / 8, 3));
            match parts.next() {
                Some("chunked") => {
                    peer.send(format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n"));
                    peer.send(in_random_chunks(&content, 9_000, 11));
                }
                Some("close") => {
                    peer.send(format!("HTTP/1.1 200 OK\r\n{HTML}\r\n"));
                    peer.send(content);
                    return;
                }
                _ => {
                    let length = content.len();
                    peer.send(format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: {length}\r\n\r\n"));
                    peer.send(content);
                }
            }
        }
    })
}

fn wanted(length: usize) -> Vec<u8> {
    [words(length), noise(length / 8, 3)].concat()
}

#[test]
fn content_of_every_size_and_framing_can_be_decoded_by_others() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, &origin, "compress = true");
        let mut client = proxy.client();
        for size in [600, 5_000, 70_000, 300_000] {
            for framing in ["known", "chunked", "close"] {
                for coding in ["gzip", "br", "zstd"] {
                    let response = client.ask(taking(&format!("/{size}/{framing}"), coding));
                    assert_eq!(response.coding(), coding);
                    assert_eq!(response.field("Vary"), Some("Accept-Encoding"));
                    assert!(response.body().len() < size, "{size} {framing} {coding}");
                    assert_same(&response.plain(), &wanted(size));
                }
            }
        }
        assert_eq!(coding_count(&proxy, "compressed"), 36);
        assert!(coding_count(&proxy, "compressed_out") * 2 < coding_count(&proxy, "compressed_in"));
    });
}

#[test]
fn an_old_client_gets_it_until_the_connection_closes() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = start(driver, &origin, "compress = true");
        for size in [600, 100_000] {
            let mut client = proxy.client();
            client.send(format!("GET /{size}/chunked HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"));
            let response = client.response();
            assert_eq!((response.coding(), response.field("Transfer-Encoding")), ("gzip", None));
            assert_same(&response.plain(), &wanted(size));
        }
    });
}

#[test]
fn what_is_said_changes_with_the_content() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let fields = match request.target() {
                "/weak" => "ETag: W/\"a\"\r\nVary: Origin\r\n",
                _ => {
                    "ETag: \"a\"\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\nDigest: x\r\nRepr-Digest: x\r\n"
                }
            };
            answer("200 OK", &format!("{HTML}{fields}"), &"abc ".repeat(500))
        });
        let proxy = start(driver, &origin, "compress = true");
        let response = proxy.ask(taking("/", "gzip, br;q=0.5"));
        assert_eq!((response.coding(), response.field("ETag")), ("gzip", Some("W/\"a\"")));
        for gone in ["Accept-Ranges", "Content-MD5", "Digest", "Repr-Digest"] {
            assert_eq!(response.field(gone), None);
        }
        let weak = proxy.ask(taking("/weak", "gzip"));
        assert_eq!(weak.field("Vary"), Some("Origin, Accept-Encoding"));
        assert_eq!(weak.field("ETag"), Some("W/\"a\""));
        // Who gets it as it is hears that others do not.
        for codings in ["identity", "gzip;q=0", "deflate", "gzip;q=2"] {
            let response = proxy.ask(taking("/", codings));
            assert_eq!((response.coding(), response.field("ETag")), ("", Some("\"a\"")));
            assert_eq!(response.field("Vary"), Some("Accept-Encoding"), "{codings}");
            assert_eq!(response.field("Accept-Ranges"), Some("bytes"));
        }
        assert_eq!(proxy.get("/").field("Vary"), Some("Accept-Encoding"));
    });
}

#[test]
fn a_head_says_what_a_get_would_have_said() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let head = format!("HTTP/1.1 200 OK\r\n{HTML}ETag: \"a\"\r\nContent-Length: 2000\r\n\r\n");
                peer.send(head);
                if request.head.method() == "GET" {
                    peer.send("abcd".repeat(500));
                }
            }
        });
        let proxy = start(driver, &origin, "compress = true");
        let mut client = proxy.client();
        let get = client.ask(taking("/", "gzip"));
        client.send(taking("/", "gzip").replace("GET", "HEAD"));
        let head = client.response_to("HEAD");
        for name in ["Content-Encoding", "ETag", "Vary", "Content-Type"] {
            assert_eq!(get.field(name), head.field(name), "{name}");
        }
        assert_eq!(head.field("Content-Length"), None, "nobody knows it");
        client.send(taking("/", "identity").replace("GET", "HEAD"));
        assert_eq!(client.response_to("HEAD").field("Content-Length"), Some("2000"));
        assert_eq!(client.ask(taking("/", "gzip")).plain(), "abcd".repeat(500).as_bytes());
    });
}

#[test]
fn what_must_not_be_compressed_is_left_alone() {
    on_each_driver(|driver| {
        const CASES: [(&str, &str, usize); 9] = [
            ("200 OK", "Content-Type: image/png\r\n", 2000),
            ("200 OK", "", 2000),
            ("200 OK", "Content-Type: text/html\r\n", 100),
            ("200 OK", "Content-Type: text/html\r\nCache-Control: no-transform\r\n", 2000),
            ("200 OK", "Content-Type: text/html\r\nContent-Encoding: deflate\r\n", 2000),
            ("200 OK", "Content-Type: text/html\r\nContent-Encoding: gzip, br\r\n", 2000),
            ("206 Partial Content", "Content-Type: text/html\r\nContent-Range: bytes 0-1999/9000\r\n", 2000),
            ("200 OK", "Content-Type: text/html\r\n", 0),
            ("302 Found", "Content-Type: text/html\r\nLocation: /\r\n", 2000),
        ];
        let origin = Origin::replying(|request| {
            let (status, fields, length) = CASES[request.target()[1..].parse::<usize>().unwrap()];
            answer(status, &format!("{fields}ETag: \"a\"\r\n"), &"a".repeat(length))
        });
        let proxy = start(driver, &origin, "compress = true\ndecompress = false");
        let mut client = proxy.client();
        for (place, (status, _, length)) in CASES.iter().enumerate() {
            let response = client.ask(taking(&format!("/{place}"), "gzip, br, zstd"));
            assert_eq!(response.status(), status[..3].parse::<u16>().unwrap());
            assert_eq!(response.body().len(), *length, "{place}");
            let vary = status.starts_with("206").then_some("Accept-Encoding");
            assert_eq!((response.field("ETag"), response.field("Vary")), (Some("\"a\""), vary), "{place}");
        }
        assert_eq!(coding_count(&proxy, "compressed"), 0);
    });
}

#[test]
fn errors_with_content_are_compressed_and_bare_statuses_are_not() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/204" => b"HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\n\r\n".to_vec(),
            _ => answer("404 Not Found", HTML, &"no ".repeat(1000)),
        });
        let proxy = start(driver, &origin, "compress = true");
        let missing = proxy.ask(taking("/", "br"));
        assert_eq!((missing.status(), missing.coding()), (404, "br"));
        assert_same(&missing.plain(), "no ".repeat(1000).as_bytes());
        let none = proxy.ask(taking("/204", "br"));
        assert_eq!((none.status(), none.coding(), none.field("Vary")), (204, "", None));
    });
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    on_each_driver(|driver| {
        for coding in ["gzip", "br", "zstd"] {
            let gate = Gate::default();
            let (waits, opens) = (gate.clone(), gate);
            let origin = Origin::start(move |peer| {
                if peer.request().is_none() {
                    return;
                }
                peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
                for event in 0..10 {
                    waits.pass(event + 1);
                    peer.send(chunk(format!("data: {event}\n\n").as_bytes()));
                }
                waits.pass(11);
                peer.send("0\r\n\r\n");
            });
            let proxy = start(driver, &origin, "compress = true");
            let mut client = proxy.client();
            client.send(taking("/", coding));
            assert_eq!(client.head().field("Content-Encoding"), Some(coding), "before any event");
            let (mut coded, mut want) = (Vec::new(), String::new());
            for event in 0..10 {
                opens.open();
                want += &format!("data: {event}\n\n");
                // A flush is a chunk of its own, and all up to it can be read.
                while readable(coding, &coded).is_none_or(|text| text != want.as_bytes()) {
                    coded.extend(client.chunk());
                }
            }
            opens.open();
            loop {
                match client.chunk() {
                    end if end.is_empty() => break,
                    more => coded.extend(more),
                }
            }
            assert_eq!(decoded(coding, &coded).unwrap(), want.as_bytes());
        }
    });
}

#[test]
fn short_content_is_gathered_without_being_held_back() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let (waits, opens) = (gate.clone(), gate);
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                peer.send(format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 20000\r\n\r\n"));
                let content = words(20_000);
                if request.target() == "/late" {
                    peer.send(&content[..7_000]);
                    waits.pass(1);
                    peer.send(&content[7_000..]);
                } else {
                    peer.send(content);
                }
            }
        });
        let proxy = start(driver, &origin, "compress = true");
        for coding in ["gzip", "br", "zstd"] {
            let response = proxy.ask(taking("/", coding));
            assert_same(&response.plain(), &words(20_000));
        }
        // What takes its time is passed on as it comes.
        let mut client = proxy.client();
        client.send(taking("/late", "gzip"));
        assert_eq!(client.head().field("Content-Encoding"), Some("gzip"));
        let mut coded = Vec::new();
        while readable("gzip", &coded).is_none_or(|text| text != words(20_000)[..7_000]) {
            coded.extend(client.chunk());
        }
        opens.open();
        loop {
            match client.chunk() {
                end if end.is_empty() => break,
                more => coded.extend(more),
            }
        }
        assert_same(&decoded("gzip", &coded).unwrap(), &words(20_000));
    });
}

/// What can be read of content that is not at its end.
fn readable(coding: &str, coded: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut out = Vec::new();
    let mut window = [0; 1];
    let mut read: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(coded)),
        "br" => Box::new(brotlic::DecompressorReader::new(coded)),
        // The other decoder holds a whole window back.
        _ => Box::new(zstd::stream::read::Decoder::new(coded).ok()?),
    };
    while let Ok(1) = read.read(&mut window) {
        out.push(window[0]);
    }
    Some(out)
}

#[test]
fn what_breaks_off_never_looks_whole() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            let Some(request) = peer.request() else { return };
            let content = words(20_000);
            match request.target() {
                "/known" => peer.send(format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 90000\r\n\r\n")),
                _ => {
                    peer.send(format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n4e20\r\n"))
                }
            }
            peer.send(content);
        });
        let proxy = start(driver, &origin, "compress = true");
        for target in ["/known", "/chunked"] {
            for coding in ["gzip", "br", "zstd"] {
                let mut client = proxy.client();
                client.send(taking(target, coding));
                let (head, broken) = client.broken_response();
                assert_eq!(head.field("Content-Encoding"), Some(coding));
                assert!(decoded(coding, &broken.partial).is_err(), "{target} {coding}");
                let mut old = proxy.client();
                old.send(format!("GET {target} HTTP/1.0\r\nAccept-Encoding: {coding}\r\n\r\n"));
                assert_eq!(old.until_end().1, End::Reset, "{target} {coding}");
            }
        }
    });
}

#[test]
fn a_weak_tag_of_ours_is_good_for_validating_and_for_nothing_else() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.field("If-None-Match") {
            Some(tags) if tags.contains("\"a\"") => {
                b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n".to_vec()
            }
            _ => answer("200 OK", &format!("{HTML}ETag: \"a\"\r\n"), &"abc ".repeat(500)),
        });
        let proxy = start(driver, &origin, "compress = true");
        assert_eq!(proxy.ask(taking("/", "identity")).field("ETag"), Some("\"a\""));
        let tag = proxy.ask(taking("/", "gzip")).field("ETag").unwrap().to_owned();
        let again = proxy.ask(get_with("/", &format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n")));
        assert_eq!((again.status(), again.field("ETag")), (304, Some("W/\"a\"")));
        assert_eq!(again.field("Vary"), Some("Accept-Encoding"));
        let plain = proxy.ask(get_with("/", "If-None-Match: \"a\"\r\n"));
        assert_eq!((plain.status(), plain.field("ETag")), (304, Some("\"a\"")));
    });
}

#[test]
fn upstreams_are_asked_as_the_route_says() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("x"));
        let asked = |cache: &[&str], lines: &str, codings: &str| {
            let proxy = Setup::new(driver).args(cache).file(&route(&origin, lines)).start();
            proxy.ask(taking("/", codings));
            origin.requests().pop().unwrap().field("Accept-Encoding").map(str::to_owned)
        };
        let no_cache = &["--no-cache"][..];
        for (cache, lines, want) in [
            (no_cache, "", "br"),
            (no_cache, "compress = true", "br"),
            (&[], "", "br"),
            (&[], "compress = true", "identity"),
            (&[], "compress = true\ncache = false", "br"),
            (&[], "compress = { upstream = 'as-asked' }", "br"),
            (no_cache, "compress = { upstream = 'identity' }", "identity"),
            (&[], "decompress = true", "br"),
        ] {
            assert_eq!(asked(cache, lines, "br").as_deref(), Some(want), "{cache:?} {lines}");
        }
    });
}

#[test]
fn preferences_levels_types_and_sizes_are_the_routes_own() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let content = words(request.target()[1..].parse().unwrap());
            answer("200 OK", "Content-Type: application/x-own\r\n", std::str::from_utf8(&content).unwrap())
        });
        let proxy = start(
            driver,
            &origin,
            "compress = { coding = ['gzip', 'br'], content-type = ['application/x-own'], min-size = '2KiB', \
             gzip-level = 9, br-level = 0 }",
        );
        assert_eq!(proxy.ask(taking("/3000", "br, gzip, zstd")).coding(), "gzip");
        assert_eq!(proxy.ask(taking("/3000", "br, zstd")).coding(), "br");
        assert_eq!(proxy.ask(taking("/3000", "zstd")).coding(), "");
        assert_eq!(proxy.ask(taking("/2047", "gzip")).coding(), "");
        let off = start(driver, &origin, "");
        let response = off.ask(taking("/3000", "br, gzip, zstd"));
        assert_eq!((response.coding(), response.field("Vary")), ("", None));
    });
}

#[test]
fn one_who_reads_slowly_holds_up_nobody_and_little_memory() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/short" {
                    peer.send(ok("short"));
                    continue;
                }
                peer.send(format!("HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n"));
                let piece = chunk(&noise(64 * 1024, 5));
                while peer.try_send(&piece) {}
                return;
            }
        });
        let proxy = start(driver, &origin, "compress = { gzip-level = 1 }");
        let before = proxy.resident_kib();
        let mut slow: Vec<_> = (0..4).map(|_| proxy.client()).collect();
        for client in &mut slow {
            client.send(taking("/", "gzip"));
        }
        for _ in 0..20 {
            assert_eq!(proxy.ask(get("/short")).text(), "short");
            thread::sleep(std::time::Duration::from_millis(20));
        }
        let grown = proxy.resident_kib().saturating_sub(before);
        assert!(grown < 16 * 1024, "{grown} KiB more");
    });
}

#[test]
fn explain_says_what_would_become_of_a_request() {
    let text = "[upstream.app]\nendpoints = '127.0.0.1:1'\n[[route]]\nname = 'pages'\nupstream = 'app'\n\
        compress = { coding = ['gzip'], content-type = ['text/*'] }\n";
    let file = File::new(text);
    let path = file.path();
    let explain = |codings: &str| {
        let codings = format!("Accept-Encoding: {codings}");
        let said = run(&["explain", "--config", path, "-H", &codings, "http://example.com/"], &[]);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        said.stdout
    };
    let takes = explain("br, gzip");
    assert!(takes.contains("content of 1 types is compressed by gzip, from 512 bytes on"), "{takes}");
    assert!(takes.contains("the upstream is asked for content as it is"), "{takes}");
    assert!(takes.contains("Accept-Encoding: identity"), "{takes}");
    let takes_not = explain("br");
    assert!(takes_not.contains("the client takes none of the codings"), "{takes_not}");
}

#[test]
fn short_content_goes_out_as_it_is_however_it_is_framed() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let length: usize = request.target()[1..].parse().unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\n{HTML}ETag: \"a\"\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            [head.as_bytes(), &chunk(&words(length)), b"0\r\n\r\n"].concat()
        });
        for args in [&["--no-cache"][..], &[]] {
            let text = route(&origin, "compress = true");
            let proxy = Setup::new(driver).args(args).file(&text).start();
            for _ in 0..2 {
                for (length, coding, tag, vary) in [
                    (1, "", "\"a\"", None),
                    (511, "", "\"a\"", None),
                    (512, "gzip", "W/\"a\"", Some("Accept-Encoding")),
                ] {
                    let response = proxy.ask(taking(&format!("/{length}"), "gzip"));
                    assert_eq!(
                        (response.coding(), response.field("ETag")),
                        (coding, Some(tag)),
                        "{length} {args:?}"
                    );
                    assert_eq!(response.field("Vary"), vary);
                    assert_same(&response.plain(), &words(length));
                    if coding.is_empty() {
                        assert_eq!(response.field("Content-Length"), Some(&*length.to_string()));
                    }
                }
            }
        }
    });
}
