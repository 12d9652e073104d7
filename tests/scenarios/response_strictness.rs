//! Responses that leave any doubt become 502, and their connection is never used again: what one
//! client's answer left behind must not reach another.

use std::sync::mpsc;

use crate::support::{Origin, PATIENCE, Proxy, Setup, eventually, get, ms, ok, on_each_driver, post};

/// Responses that are malformed from their first bytes on, and the error that they are told by.
fn malformed() -> Vec<(Vec<u8>, &'static str)> {
    const PROTOCOL: &str = "http_protocol_error";
    const HEAD_SIZE: &str = "http_response_header_section_size";
    let mut cases: Vec<(Vec<u8>, &str)> = Vec::new();
    for first in [
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 -20 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "GET / HTTP/1.1",
        "220 mail.example ESMTP",
        "SSH-2.0-OpenSSH_9.9",
        "{\"status\": 200}",
        "",
    ] {
        cases.push((format!("{first}\r\nContent-Length: 5\r\n\r\nhello").into_bytes(), PROTOCOL));
    }
    for (fields, content) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        ("Content-Length: 5, 5\r\n", "hello"),
        ("Content-Length: 5,6\r\n", "hello"),
        ("Content-Length: -5\r\n", "hello"),
        ("Content-Length: +5\r\n", "hello"),
        ("Content-Length: 0x5\r\n", "hello"),
        ("Content-Length:\r\n", "hello"),
        ("Content-Length: 99999999999999999999999\r\n", "hello"),
        ("Content-Length: 5 \u{1}\r\n", "hello"),
        ("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked, gzip\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", "hello"),
        ("Transfer-Encoding:\r\n", "hello"),
        ("Transfer-Encoding: xchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Content-Length : 5\r\n", "hello"),
        (" Content-Length: 5\r\n", "hello"),
        ("X: y\r\n folded\r\nContent-Length: 5\r\n", "hello"),
        ("X: y\0z\r\nContent-Length: 5\r\n", "hello"),
        ("X: y\rz\r\nContent-Length: 5\r\n", "hello"),
        ("no colon\r\nContent-Length: 5\r\n", "hello"),
        (": no name\r\nContent-Length: 5\r\n", "hello"),
        ("X Y: z\r\nContent-Length: 5\r\n", "hello"),
        ("Content-Length: 5\n", "hello"),
        ("X: y\nContent-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "g\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhelloX"),
        ("Transfer-Encoding: chunked\r\n", " 5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "hello"),
    ] {
        cases.push((format!("HTTP/1.1 200 OK\r\n{fields}\r\n{content}").into_bytes(), PROTOCOL));
    }
    cases.push((
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec(),
        PROTOCOL,
    ));
    cases.push((b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".to_vec(), PROTOCOL));
    cases.push((b"<html>hello</html>\n".to_vec(), PROTOCOL));
    cases.push((b"\x16\x03\x01\x00\n\r\n\r\n".to_vec(), PROTOCOL));
    cases.push((
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello".to_vec(),
        "http_upgrade_failed",
    ));
    let bad_trailer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nno colon\r\n\r\n";
    cases.push((bad_trailer.as_bytes().to_vec(), PROTOCOL));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello", "x".repeat(40_000));
    cases.push((long.into_bytes(), HEAD_SIZE));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 5\r\n\r\nhello", "X: y\r\n".repeat(200));
    cases.push((many.into_bytes(), HEAD_SIZE));
    cases.push(([b'x'; 50_000].to_vec(), HEAD_SIZE));
    cases
}

#[test]
fn a_malformed_response_becomes_502_and_its_connection_is_not_used_again() {
    on_each_driver(|driver| {
        let answers = malformed();
        let origin = Origin::replying(|request| match request.target()[1..].parse::<usize>() {
            Ok(case) => malformed().swap_remove(case).0,
            Err(_) => ok(request.target()),
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for (case, (answer, error)) in answers.iter().enumerate() {
            let shown = crate::support::message::text(&answer[..answer.len().min(150)]);
            let response = client.ask(get(&format!("/{case}")));
            assert_eq!(response.status(), 502, "{shown:?}");
            let why = response.field("Proxy-Status").unwrap();
            assert!(
                why.starts_with("ringway;") && why.contains(&format!("error={error}")),
                "{shown:?}: {why}"
            );
            assert!(!response.says_close(), "{shown:?}");
            // The same client goes on, over a connection that the malformed response was not on.
            assert_eq!(client.ask(get("/good")).text(), "/good", "{shown:?}");
            let requests = origin.requests();
            let [.., bad, good] = &requests[..] else { panic!("two requests") };
            assert_eq!(
                (bad.target(), good.target()),
                (format!("/{case}").as_str(), "/good"),
                "not tried again"
            );
            assert_ne!(bad.connection, good.connection, "{shown:?}");
        }
    });
}

#[test]
fn bytes_behind_a_response_never_reach_a_client() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                match request.target() {
                    "/at-once" => peer.send([&ok("first"), EVIL.as_bytes()].concat()),
                    "/chunked" => peer.send(
                        [
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
                            EVIL,
                        ]
                        .concat(),
                    ),
                    "/one-byte" => peer.send([&ok("first")[..], b"x"].concat()),
                    "/head" => peer.send(["HTTP/1.1 200 OK\r\nContent-Length: 71\r\n\r\n", EVIL].concat()),
                    "/304" => peer.send(["HTTP/1.1 304 Not Modified\r\n\r\n", EVIL].concat()),
                    "/204" => peer.send(["HTTP/1.1 204 No Content\r\n\r\n", EVIL].concat()),
                    "/later" => {
                        peer.send(ok("first"));
                        peer.sleep(ms(50));
                        peer.send(EVIL)
                    }
                    target => peer.send(ok(target)),
                };
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut one = proxy.client();
        for target in ["/at-once", "/chunked", "/one-byte", "/head", "/304", "/204", "/later"] {
            let method = if target == "/head" { "HEAD" } else { "GET" };
            one.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let response = one.response_to(method);
            assert!(["first", ""].contains(&response.text().as_str()), "{target}");
            if target == "/later" {
                std::thread::sleep(ms(300));
            }
            let mut two = proxy.client();
            for count in 0..3 {
                for client in [&mut one, &mut two] {
                    let good = format!("/good/{count}");
                    assert_eq!(client.ask(get(&good)).text(), good, "{target}");
                }
            }
            let requests = origin.requests();
            let tainted = requests.iter().find(|request| request.target() == target).unwrap().connection;
            let mut on_it = requests.iter().filter(|request| request.connection == tainted);
            assert_eq!(on_it.next_back().unwrap().target(), target, "the connection was used again");
        }
    });
}

#[test]
fn an_answer_that_was_not_asked_for_is_not_taken_for_one() {
    on_each_driver(|driver| {
        // The origin speaks first, before it was asked anything.
        let origin = Origin::start(|peer| {
            if peer.index == 0 {
                peer.request();
                peer.send(ok("first"));
                peer.sleep(ms(50));
                peer.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                return;
            }
            while peer.request().is_some() {
                peer.send(ok("next"));
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/")).text(), "first");
        std::thread::sleep(ms(300));
        assert_eq!(client.ask(post("/", b"x")).text(), "next");
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn limits_on_heads_hold_for_responses() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let (count, size) = request.target()[1..].split_once('/').unwrap();
            let fields =
                "X: y\r\n".repeat(count.parse().unwrap()) + "Pad: " + &"x".repeat(size.parse().unwrap());
            format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        });
        let proxy = Setup::new(driver)
            .origin(&origin)
            .args(&["--max-head", "2KiB", "--max-fields", "8", "--max-target", "1KiB"])
            .start();
        for (target, status) in [("/6/10", 200), ("/7/10", 502), ("/1/1900", 200), ("/1/2100", 502)] {
            assert_eq!(proxy.get(target).status(), status, "{target}");
        }
    });
}

#[test]
fn a_chunk_that_is_malformed_further_on_breaks_the_response_off() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                peer.sleep(ms(50));
                peer.send("5\nworld\r\n0\r\n\r\n");
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let (head, broken) = {
            let mut client = proxy.client();
            client.send(get("/"));
            client.broken_response()
        };
        assert_eq!((head.status(), broken.partial.as_slice()), (200, &b"hello"[..]));
        eventually("the origin's connection ends", || origin.open() == 0);
    });
}

#[test]
fn bytes_that_follow_a_response_a_moment_later_never_reach_a_client_either() {
    on_each_driver(|driver| {
        let (sender, sent) = mpsc::channel();
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                peer.send(ok(request.target()));
                if request.target().starts_with("/late") {
                    // As an origin does whose Content-Length is less than what it has to say.
                    peer.sleep(ms(5));
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                    sender.send(()).unwrap();
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let (mut one, mut two) = (proxy.client(), proxy.client());
        for count in 0..30 {
            let (late, good) = (format!("/late/{count}"), format!("/good/{count}"));
            assert_eq!(one.ask(get(&late)).text(), late);
            sent.recv_timeout(PATIENCE).unwrap();
            assert_eq!(two.ask(get(&good)).text(), good);
        }
    });
}
