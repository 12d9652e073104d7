//! Responses that came compressed are taken apart for clients that cannot read that.

use std::time::Duration;

use crate::support::cache::fresh_with;
use crate::support::coded::{coded, coding_count, route, taking, words};
use crate::support::message::in_random_chunks;
use crate::support::{Driver, End, Gate, Origin, Proxy, Setup, assert_same, chunk, on_each_driver};

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
fn a_bomb_is_cut_and_a_text_that_repeats_itself_is_not() {
    on_each_driver(|driver| {
        let text: Vec<u8> = (0..4000_u32).map(|number| b' ' + (number * number % 89) as u8).collect();
        let text = text.repeat(2000);
        let honest = zstd::bulk::compress(&text, 3).unwrap();
        assert!(honest.len() < text.len() / 1200, "{}", honest.len());
        let origin = Origin::replying(move |request| match &request.target()[1..] {
            "br" => in_coding("br", &coded("br", &vec![0; 48 << 20])),
            "honest" => in_coding("zstd", &honest),
            _ => {
                // Blocks of 128 KiB that repeat a byte.
                let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
                for last in (0..400).rev() {
                    let head = (128 << 10) << 3 | 1 << 1 | u32::from(last == 0);
                    bomb.extend(&head.to_le_bytes()[..3]);
                    bomb.push(0);
                }
                in_coding("zstd", &bomb)
            }
        });
        let proxy = start(driver, &origin, &["--no-cache"], "decompress = true");
        for coding in ["br", "zstd"] {
            let mut client = proxy.client();
            client.send(taking(&format!("/{coding}"), "identity"));
            let (_, broken) = client.broken_response();
            assert!(broken.partial.len() < 40 << 20, "{coding}: {}", broken.partial.len());
        }
        assert_same(proxy.ask(taking("/honest", "identity")).body(), &text);
    });
}

#[test]
fn padding_behind_gzip_is_ignored() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| {
            let padded = [coded("gzip", b"content"), vec![0; 512]].concat();
            in_coding("gzip", &padded)
        });
        for args in [&["--no-cache"][..], &[]] {
            let proxy = start(driver, &origin, args, "decompress = true");
            for _ in 0..2 {
                let response = proxy.ask(taking("/", "identity"));
                assert_eq!((response.status(), response.text()), (200, "content".to_owned()));
            }
        }
    });
}

/// An origin whose content comes some time after its head, in the framing that the second part of the target says;
/// the first says what it is.
fn late() -> Origin {
    Origin::start(|peer| {
        while let Some(request) = peer.request() {
            let mut parts = request.target()[1..].split('/');
            let (coding, framing, what) =
                (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let content = match what {
                "good" => coded(coding, &words(3000)),
                "empty" | "never" => Vec::new(),
                "cut" => coded(coding, &words(3000))[..3].to_vec(),
                _ => b"this is not what it says".to_vec(),
            };
            let framing = match framing {
                "known" => format!("Content-Length: {}\r\n", content.len().max(usize::from(what == "never"))),
                "chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
                _ => String::new(),
            };
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Encoding: {coding}\r\n{framing}\r\n"
            ));
            std::thread::sleep(Duration::from_millis(50));
            if what == "never" {
                std::thread::sleep(Duration::from_secs(3));
                return;
            }
            // Byte by byte at first, as none of them says anything alone.
            let chunked = framing.starts_with('T');
            let (first, rest) = content.split_at(if what == "noise" { 0 } else { content.len().min(20) });
            for piece in first.chunks(1).chain([rest]).filter(|piece| !piece.is_empty()) {
                peer.send(if chunked { chunk(piece) } else { piece.to_vec() });
                std::thread::sleep(Duration::from_millis(2));
            }
            match framing.is_empty() {
                true => return,
                false if chunked => peer.send("0\r\n\r\n"),
                false => {}
            }
        }
    })
}

#[test]
fn nothing_is_said_of_content_before_some_of_it_is_known() {
    on_each_driver(|driver| {
        let origin = late();
        for args in [&["--no-cache"][..], &[]] {
            let proxy = start(driver, &origin, args, "decompress = true");
            for coding in ["gzip", "br", "zstd"] {
                for framing in ["known", "chunked", "close"] {
                    let ask = |what: &str| {
                        let target = format!("/{coding}/{framing}/{what}");
                        proxy.ask(taking(&target, "identity"))
                    };
                    let what = format!("{coding} {framing} {args:?}");
                    let good = ask("good");
                    assert_eq!((good.status(), good.coding()), (200, ""), "{what}");
                    assert_same(good.body(), &words(3000));
                    if framing != "known" {
                        let empty = ask("empty");
                        assert_eq!((empty.status(), empty.body()), (200, &b""[..]), "{what}");
                    }
                    assert_eq!(ask("noise").status(), 502, "{what}");
                    if coding != "br" {
                        // The window is all that `br` says at its front.
                        assert_eq!(ask("cut").status(), 502, "{what}");
                    }
                }
            }
        }
    });
}

#[test]
fn content_that_never_comes_ends_with_its_time_limit() {
    on_each_driver(|driver| {
        let origin = late();
        for args in [&["--no-cache"][..], &[]] {
            let args = [args, &["--upstream-timeout", "1s"]].concat();
            let proxy = start(driver, &origin, &args, "decompress = true");
            for framing in ["known", "chunked", "close"] {
                let response = proxy.ask(taking(&format!("/zstd/{framing}/never"), "identity"));
                assert_eq!(response.status(), 504, "{framing} {args:?}");
            }
        }
    });
}

#[test]
fn as_many_are_served_as_there_is_room_for_their_windows() {
    on_each_driver(|driver| {
        // All of them are half done before one of them gets on.
        const TOGETHER: usize = 24;
        let gate = Gate::default();
        let (waits, opens) = (gate.clone(), gate);
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                let content = coded(&request.target()[1..], &crate::support::noise(20_000, 3));
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Encoding: {}\r\nContent-Length: {}\r\n\r\n",
                    &request.target()[1..],
                    content.len()
                ));
                std::thread::sleep(Duration::from_millis(20));
                let (first, rest) = content.split_at(content.len() / 2);
                peer.send(first);
                waits.pass(1);
                peer.send(rest);
            }
        });
        let text = route(&origin, "decompress = true");
        let proxy = Setup::new(driver).cores(1).args(&["--no-cache"]).file(&text).start();
        let mut clients: Vec<_> = (0..TOGETHER).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send(taking("/zstd", "identity"));
            assert_eq!(client.head().status(), 200);
        }
        opens.open();
        for client in &mut clients {
            while !client.chunk().is_empty() {}
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
