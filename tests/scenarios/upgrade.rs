//! Connections that switch protocols and become tunnels.

use std::thread;
use std::time::Instant;

use crate::support::wire::End;
use crate::support::{
    Client, Origin, Proxy, assert_limit, assert_same, eventually, get, get_with, ms, noise, ok,
    on_each_driver,
};

const UPGRADE: &str =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

/// An origin that switches and sends back what it is sent, in capitals.
fn shouting() -> Origin {
    Origin::start(|peer| {
        if peer.request().is_some() {
            peer.send([SWITCH, "WELCOME"].concat());
            while let Ok(some) = peer.some() {
                peer.send(some.to_ascii_uppercase());
            }
            peer.send("BYE");
        }
    })
}

fn switched(proxy: &Proxy, more: &str) -> Client {
    let mut client = proxy.client();
    client.send(get_with("/chat", UPGRADE) + more);
    let head = client.head();
    assert_eq!(head.status(), 101);
    assert_eq!((head.field("Connection"), head.field("Upgrade")), (Some("upgrade"), Some("websocket")));
    assert_eq!(head.field("Sec-WebSocket-Accept"), Some("x"));
    assert!(!head.fields.has("Content-Length") && !head.fields.has("Transfer-Encoding"));
    client
}

#[test]
fn a_tunnel_carries_bytes_both_ways_from_the_first_one_behind_the_heads() {
    on_each_driver(|driver| {
        let origin = shouting();
        let proxy = Proxy::to(driver, &origin);
        let mut client = switched(&proxy, "early ");
        let request = origin.request();
        assert_eq!(
            (request.field("Connection"), request.field("Upgrade")),
            (Some("upgrade"), Some("websocket"))
        );
        assert_eq!(request.field("Sec-WebSocket-Key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(client.exactly(13), b"WELCOMEEARLY ");
        for word in ["one", "two", "three"] {
            client.send(word);
            assert_eq!(client.exactly(word.len()), word.to_uppercase().as_bytes());
        }
        client.finish();
        assert_eq!(client.until_end(), (b"BYE".to_vec(), End::Closed));
    });
}

#[test]
fn a_tunnel_carries_much_in_both_directions_at_once() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(SWITCH);
                while let Ok(some) = peer.some() {
                    peer.send(some);
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = switched(&proxy, "");
        let content = noise(10_000_000, 4);
        let (mut sender, sent) = (client.sender(), content.clone());
        let sending = thread::spawn(move || {
            for piece in sent.chunks(77_777) {
                assert!(sender.try_send(piece));
            }
            sender.finish();
        });
        let (got, end) = client.until_end();
        sending.join().unwrap();
        assert_same(&got, &content);
        assert_eq!(end, End::Closed);
    });
}

#[test]
fn each_side_of_a_tunnel_may_end_while_the_other_goes_on() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if let Some(request) = peer.request() {
                peer.send(SWITCH);
                if request.target() == "/origin-first" {
                    peer.send("that is all");
                    peer.finish();
                }
                let (got, end) = peer.until_end();
                assert_eq!((got.as_slice(), end), (&b"hello world"[..], End::Closed));
                if request.target() != "/origin-first" {
                    peer.sleep(ms(100));
                    peer.send("that is all");
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        for target in ["/origin-first", "/client-first"] {
            let mut client = proxy.client();
            client.send(get_with(target, UPGRADE) + "hello ");
            assert_eq!(client.head().status(), 101);
            if target == "/origin-first" {
                assert_eq!(client.until_end(), (b"that is all".to_vec(), End::Closed));
                thread::sleep(ms(100));
            }
            client.send("world");
            client.finish();
            if target == "/client-first" {
                assert_eq!(client.until_end(), (b"that is all".to_vec(), End::Closed));
            }
        }
        eventually("the tunnels end", || origin.open() == 0);
    });
}

#[test]
fn a_tunnel_ends_when_either_side_breaks() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if let Some(request) = peer.request() {
                peer.send(SWITCH);
                match request.target() {
                    "/reset" => {
                        peer.exactly(5);
                        peer.reset();
                    }
                    _ => drop(peer.until_end()),
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(get_with("/reset", UPGRADE));
        client.head();
        client.send("hello");
        client.expect_end();
        let mut client = proxy.client();
        client.send(get_with("/", UPGRADE));
        client.head();
        client.reset();
        eventually("the origin's side ends", || origin.open() == 0);
    });
}

#[test]
fn a_tunnel_without_a_byte_ends_after_its_limit() {
    on_each_driver(|driver| {
        let origin = shouting();
        let proxy = Proxy::with(driver, &origin, &["--tunnel-timeout", "2s"]);
        let mut client = switched(&proxy, "");
        assert_eq!(client.exactly(7), b"WELCOME");
        // Bytes put the end off, from either side.
        let mut last = Instant::now();
        for _ in 0..4 {
            thread::sleep(ms(600));
            last = Instant::now();
            client.send("x");
            assert_eq!(client.exactly(1), b"X");
        }
        client.expect_end();
        assert_limit(last, ms(2000));
        eventually("the origin's side ends", || origin.open() == 0);
    });
}

#[test]
fn bytes_in_one_direction_keep_a_tunnel_open() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(SWITCH);
                for _ in 0..6 {
                    peer.sleep(ms(500));
                    peer.send("tick ");
                }
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--tunnel-timeout", "2s"]);
        let mut client = switched(&proxy, "");
        assert_eq!(client.exactly(30), "tick ".repeat(6).as_bytes());
        client.finish();
        client.expect_end();
    });
}

#[test]
fn an_upgrade_to_http_2_is_not_passed_on() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("plain"));
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for fields in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n",
            "Connection: upgrade\r\nUpgrade: H2C\r\n",
            "Upgrade: websocket\r\n",
        ] {
            assert_eq!(client.ask(get_with("/", fields)).text(), "plain");
            let request = origin.requests().pop().unwrap();
            for name in ["Upgrade", "Connection", "HTTP2-Settings"] {
                assert_eq!(request.field(name), None, "{fields:?}");
            }
        }
    });
}

#[test]
fn an_origin_may_decline_to_switch() {
    on_each_driver(|driver| {
        let origin = Origin::answering(
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nno",
        );
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            let response = client.ask(get_with("/", UPGRADE));
            assert_eq!((response.status(), response.text().as_str()), (426, "no"));
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn what_a_client_sends_early_is_a_request_if_the_origin_declines() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(get_with("/one", UPGRADE) + &get("/two"));
        assert_eq!(client.response().text(), "/one ");
        assert_eq!(client.response().text(), "/two ");
    });
}

#[test]
fn an_origin_that_fails_in_the_middle_of_a_switch_is_reported() {
    on_each_driver(|driver| {
        for answer in [
            "",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ] {
            let origin = Origin::start(move |peer| {
                peer.request();
                peer.send(answer);
            });
            let proxy = Proxy::to(driver, &origin);
            let response = proxy.ask(get_with("/", UPGRADE));
            assert_eq!(response.status(), 502, "{answer:?}");
        }
    });
}

#[test]
fn a_tunnel_whose_reader_does_not_read_ends_after_its_limit() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(SWITCH);
                while peer.try_send([0; 64 * 1024]) {}
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--tunnel-timeout", "600ms"]);
        let before = proxy.resident_kib();
        let started = Instant::now();
        let client = switched(&proxy, "");
        eventually("the tunnel ends", || origin.open() == 0);
        assert_limit(started, ms(600));
        assert!(proxy.resident_kib() < before + 16 * 1024);
        drop(client);
    });
}

#[test]
fn a_client_of_http_1_0_cannot_switch() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        assert_eq!(proxy.ask(format!("GET / HTTP/1.0\r\n{UPGRADE}\r\n")).text(), "/ ");
        assert_eq!(origin.request().field("Upgrade"), None);
    });
}
