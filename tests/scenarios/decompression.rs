//! Responses that came compressed are taken apart for clients that cannot read that.

use crate::support::cache::fresh_with;
use crate::support::coded::{coded, coding_count, route, taking, words};
use crate::support::message::in_random_chunks;
use crate::support::{Driver, End, Origin, Proxy, Setup, assert_same, on_each_driver};

fn start(driver: Driver, origin: &Origin, args: &[&str], lines: &str) -> Proxy {
    Setup::new(driver).admin().args(args).file(&route(origin, lines)).start()
}

/// A response with content in that coding.
fn in_coding(coding: &str, content: &[u8]) -> Vec<u8> {
    let fields = format!("Content-Type: image/x-any\r\nContent-Encoding: {coding}\r\nETag: \"a\"\r\n");
    fresh_with(&fields, content)
}

#[test]
fn whoever_cannot_read_a_coding_gets_what_is_in_it() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let coding = &request.target()[1..];
                let content = coded(coding, &words(150_000));
                if coding == "br" {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\n");
                    peer.send(in_random_chunks(&content, 500, 3));
                } else {
                    peer.send(in_coding(coding, &content));
                }
            }
        });
        for args in [&["--no-cache"][..], &[]] {
            let proxy = start(driver, &origin, args, "decompress = true");
            // The second comes from the cache, where there is one.
            for _ in 0..2 {
                for coding in ["gzip", "br", "zstd"] {
                    let target = format!("/{coding}");
                    for codings in ["identity", "", "deflate", &format!("{coding};q=0, *")] {
                        let response = proxy.ask(taking(&target, codings));
                        assert_eq!((response.status(), response.coding()), (200, ""), "{coding} {codings}");
                        assert_eq!(response.field("ETag"), Some("W/\"a\""));
                        assert_eq!(response.field("Vary"), Some("Accept-Encoding"));
                        assert_same(response.body(), &words(150_000));
                    }
                    let as_it_came = proxy.ask(taking(&target, coding));
                    assert_eq!((as_it_came.coding(), as_it_came.field("ETag")), (coding, Some("\"a\"")));
                    assert_eq!(as_it_came.field("Vary"), Some("Accept-Encoding"));
                    assert_same(as_it_came.body(), &coded(coding, &words(150_000)));
                    // Who says nothing may be sent anything, but is not.
                    let plain = proxy.get(&target);
                    assert_eq!(plain.coding(), "");
                    assert_same(plain.body(), &words(150_000));
                    for codings in ["", "Accept-Encoding: x\r\n"] {
                        let mut old = proxy.client();
                        old.send(format!("GET {target} HTTP/1.0\r\nHost: example.com\r\n{codings}\r\n"));
                        assert_same(old.response().body(), &words(150_000));
                    }
                }
            }
            assert!(coding_count(&proxy, "decompressed") >= 30);
        }
    });
}

#[test]
fn without_being_told_to_nothing_is_taken_apart() {
    on_each_driver(|driver| {
        let origin = Origin::answering(in_coding("gzip", &coded("gzip", b"content")));
        for lines in ["", "compress = true\ndecompress = false"] {
            let proxy = start(driver, &origin, &[], lines);
            assert_eq!(proxy.ask(taking("/", "identity")).coding(), "gzip");
        }
        let proxy = start(driver, &origin, &[], "compress = true");
        assert_eq!(proxy.ask(taking("/", "identity")).text(), "content");
    });
}

#[test]
fn what_is_broken_at_once_is_a_502_and_later_a_broken_connection() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let mut parts = request.target()[1..].split('/');
                let coding = parts.next().unwrap();
                let mut content = coded(coding, &crate::support::noise(300_000, 3));
                match parts.next().unwrap() {
                    "noise" => content = b"this is not what it says".to_vec(),
                    "cut" => content.truncate(200_000),
                    "behind" => content.extend(b"something else"),
                    _ => content.truncate(5),
                }
                peer.send(in_coding(coding, &content));
            }
        });
        for args in [&["--no-cache"][..], &[]] {
            let proxy = start(driver, &origin, args, "decompress = true");
            for _ in 0..2 {
                for coding in ["gzip", "br", "zstd"] {
                    for how in ["noise", "short"] {
                        let response = proxy.ask(taking(&format!("/{coding}/{how}"), "identity"));
                        assert_eq!(response.status(), 502, "{coding} {how}");
                    }
                    for how in ["cut", "behind"] {
                        let mut client = proxy.client();
                        client.send(taking(&format!("/{coding}/{how}"), "identity"));
                        client.broken_response();
                        let mut old = proxy.client();
                        old.send(format!(
                            "GET /{coding}/{how} HTTP/1.0\r\nHost: example.com\r\nAccept-Encoding: x\r\n\r\n"
                        ));
                        assert_eq!(old.until_end().1, End::Reset, "{coding} {how}");
                    }
                }
            }
            assert_eq!(proxy.ask(taking("/gzip/noise", "gzip")).status(), 200, "who takes it gets it");
        }
    });
}

#[test]
fn a_bomb_is_cut() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let coding = &request.target()[1..];
            let bomb = match coding {
                "br" => coded("br", &vec![0; 8 << 20]),
                // Sixty blocks of 128 KiB that repeat a byte.
                _ => {
                    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
                    for last in (0..60).rev() {
                        let head = (128 << 10) << 3 | 1 << 1 | u32::from(last == 0);
                        bomb.extend(&head.to_le_bytes()[..3]);
                        bomb.push(0);
                    }
                    bomb
                }
            };
            in_coding(coding, &bomb)
        });
        let proxy = start(driver, &origin, &["--no-cache"], "decompress = true");
        for coding in ["br", "zstd"] {
            let mut client = proxy.client();
            client.send(taking(&format!("/{coding}"), "identity"));
            let (_, broken) = client.broken_response();
            assert!(broken.partial.len() < 4 << 20, "{coding}: {}", broken.partial.len());
        }
    });
}

#[test]
fn a_head_without_content_and_empty_content_are_no_fault() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                match request.head.method() {
                    "HEAD" => peer.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"),
                    _ => peer.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                }
            }
        });
        let proxy = start(driver, &origin, &["--no-cache"], "decompress = true");
        let mut client = proxy.client();
        client.send(taking("/", "identity").replace("GET", "HEAD"));
        let head = client.response_to("HEAD");
        assert_eq!((head.coding(), head.field("Content-Length")), ("", None));
        let empty = client.ask(taking("/", "identity"));
        assert_eq!((empty.coding(), empty.body()), ("", &b""[..]));
        assert_eq!(client.ask(taking("/", "gzip")).coding(), "gzip");
    });
}
