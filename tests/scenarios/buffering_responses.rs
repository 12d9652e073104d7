//! Responses that are taken from their upstreams ahead of clients that take them slowly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::support::coded::taking;
use crate::support::message::in_random_chunks;
use crate::support::{
    Driver, Origin, PATIENCE, Proxy, Setup, assert_same, chunk, eventually, get, ms, noise, ok,
    on_each_driver,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn before(driver: Driver, origin: &Origin, lines: &str, how: &str) -> Proxy {
    let text = format!(
        "no-cache = true\n[upstream.app]\nendpoints = ['{}']\n{lines}\n[[route]]\nupstream = 'app'\n\
         buffer-response = {how}\n",
        origin.endpoint()
    );
    Setup::new(driver).file(&text).start()
}

#[test]
fn an_upstream_is_free_while_a_client_still_reads() {
    on_each_driver(|driver| {
        // More than the kernel takes for a client that does not read.
        let content = noise(48 * MIB, 3);
        for framing in ["known", "chunked", "close"] {
            let large = content.clone();
            let origin = Origin::start(move |peer| {
                while let Some(request) = peer.request() {
                    if request.target() != "/large" {
                        peer.send(ok("small"));
                        continue;
                    }
                    match framing {
                        "known" => peer.send(ok(&large)),
                        "chunked" => {
                            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                            peer.send(in_random_chunks(&large, 100_000, 2));
                        }
                        _ => {
                            peer.send("HTTP/1.1 200 OK\r\n\r\n");
                            peer.send(&large);
                            return;
                        }
                    }
                }
            });
            let proxy =
                before(driver, &origin, "max-requests = 1\nwait-timeout = '20s'", "{ memory = '64MiB' }");
            let mut slow = proxy.client();
            slow.send(get("/large"));
            thread::sleep(ms(20));
            assert_eq!(proxy.get("/small").text(), "small", "{framing}");
            if framing != "close" {
                assert_eq!(origin.connections(), 1, "the connection went back to the pool");
            }
            assert_same(slow.response().body(), &content);
            slow.send(get("/again"));
            assert_eq!(slow.response().text(), "small");
        }
    });
}

#[test]
fn a_client_that_does_not_read_costs_no_more_than_the_bound() {
    on_each_driver(|driver| {
        let sent = Arc::new(AtomicUsize::new(0));
        let counting = sent.clone();
        let left = Arc::new(AtomicUsize::new(0));
        let leaving = left.clone();
        let origin = Origin::start(move |peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            let piece = noise(64 * KIB, 1);
            while peer.try_send(&piece) {
                counting.fetch_add(piece.len(), Ordering::SeqCst);
            }
            leaving.fetch_add(1, Ordering::SeqCst);
        });
        for (how, most) in [("true", 16 * KIB), ("{ memory = '256MiB', total = '256MiB' }", 300 * KIB)] {
            let proxy = before(driver, &origin, "", how);
            let before = proxy.resident_kib();
            sent.store(0, Ordering::SeqCst);
            let mut client = proxy.client();
            client.send(get("/"));
            let (mut last, mut calm) = (0, 0);
            eventually("the flow stops", || {
                thread::sleep(ms(50));
                let now = sent.load(Ordering::SeqCst);
                calm = if now == last && now > 0 { calm + 1 } else { 0 };
                last = now;
                calm >= 10
            });
            let grown = proxy.resident_kib().saturating_sub(before);
            assert!(grown < most, "{grown} KiB more, with {last} bytes sent");
            // It goes on as soon as it is read.
            client.exactly(64 * MIB);
            eventually("the flow goes on", || sent.load(Ordering::SeqCst) > last);
            let before = left.load(Ordering::SeqCst);
            client.reset();
            eventually("the upstream is let go", || left.load(Ordering::SeqCst) > before);
        }
    });
}

#[test]
fn what_is_there_is_sent_at_once() {
    on_each_driver(|driver| {
        for framing in ["chunked", "close"] {
            let (taken, may_go_on) = mpsc::channel::<()>();
            let may_go_on = Mutex::new(may_go_on);
            let origin = Origin::start(move |peer| {
                peer.request();
                peer.send(match framing {
                    "chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    _ => "HTTP/1.1 200 OK\r\n\r\n",
                });
                for count in 0..20 {
                    let event = format!("data:{count:3}").into_bytes();
                    peer.send(if framing == "chunked" { chunk(&event) } else { event });
                    may_go_on.lock().unwrap().recv_timeout(PATIENCE).expect("each piece arrives at once");
                }
                if framing == "chunked" {
                    peer.send("0\r\nX-Sum: 1\r\n\r\n");
                }
            });
            let proxy = before(driver, &origin, "", "true");
            let mut client = proxy.client();
            client.send(get("/"));
            client.head();
            for count in 0..20 {
                assert_eq!(client.chunk(), format!("data:{count:3}").as_bytes());
                taken.send(()).unwrap();
            }
            client.chunk();
        }
    });
}

#[test]
fn a_response_that_breaks_off_never_looks_whole() {
    on_each_driver(|driver| {
        for (head, content) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", noise(2_000_000, 1)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(&noise(2_000_000, 1))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhelloX\r\n".to_vec()),
        ] {
            let origin = Origin::start(move |peer| {
                peer.request();
                peer.send(head);
                peer.sleep(ms(50));
                peer.send(&content);
            });
            let proxy = before(driver, &origin, "", "true");
            for version in ["1.1", "1.0"] {
                let mut client = proxy.client();
                client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n"));
                let (_, broken) = client.broken_response();
                assert!(broken.partial.len() < 3_000_000);
            }
        }
    });
}

#[test]
fn whatever_the_pieces_the_content_is_the_same() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let seed: u64 = request.target()[1..].parse().unwrap();
                let mut random = fastrand::Rng::with_seed(seed);
                let content = noise(random.usize(0..2 * MIB), seed);
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                let mut coded = in_random_chunks(&content, random.usize(1..200_000), seed);
                coded.truncate(coded.len() - 2);
                coded.extend(b"X-Seed: 1\r\n\r\n");
                let mut rest = &coded[..];
                while !rest.is_empty() {
                    let (piece, more) = rest.split_at(random.usize(1..300_000).min(rest.len()));
                    peer.send(piece);
                    rest = more;
                }
            }
        });
        let proxy = before(driver, &origin, "", "{ memory = '256KiB' }");
        let mut client = proxy.client();
        for seed in 0..40_u64 {
            client.send(get(&format!("/{seed}")));
            let length = fastrand::Rng::with_seed(seed).usize(0..2 * MIB);
            assert_same(client.response().body(), &noise(length, seed));
        }
    });
}

#[test]
fn what_came_before_an_upstream_broke_off_is_delivered_and_does_not_look_whole() {
    on_each_driver(|driver| {
        let content = noise(24 * MIB, 6);
        for (head, coded) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n", content.clone()),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(&content)),
        ] {
            let origin = Origin::start(move |peer| {
                peer.request();
                peer.send(head);
                peer.send(&coded);
            });
            let proxy = before(driver, &origin, "", "{ memory = '64MiB' }");
            let mut client = proxy.client();
            client.send(get("/"));
            eventually("the upstream has broken off", || origin.connections() == 1 && origin.open() == 0);
            thread::sleep(ms(300));
            let (_, broken) = client.broken_response();
            assert_same(&broken.partial, &content);
        }
    });
}

#[test]
fn a_response_that_is_compressed_is_taken_ahead_as_well() {
    on_each_driver(|driver| {
        let content = noise(16 * MIB, 7);
        let large = content.clone();
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                match request.target() {
                    "/large" => {
                        let length = large.len();
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
                        );
                        peer.send(head);
                        peer.send(&large);
                    }
                    "/broken" => {
                        peer.send(
                            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9000000\r\n\r\n",
                        );
                        peer.send(&large[..2_000_000]);
                        return;
                    }
                    _ => peer.send(ok("small")),
                }
            }
        });
        let how = "{ memory = '64MiB' }\ncompress = { coding = ['gzip'] }";
        let proxy = before(driver, &origin, "max-requests = 1\nwait-timeout = '20s'", how);
        let mut slow = proxy.client();
        slow.send(taking("/large", "gzip"));
        thread::sleep(ms(20));
        // Before a byte of it is read.
        assert_eq!(proxy.get("/small").text(), "small");
        let response = slow.response();
        assert_eq!(response.coding(), "gzip");
        assert_same(&response.plain(), &content);
        slow.send(get("/again"));
        assert_eq!(slow.response().text(), "small");
        for version in ["1.1", "1.0"] {
            let mut client = proxy.client();
            client.send(format!("GET /broken HTTP/{version}\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"));
            let (head, _) = client.broken_response();
            assert_eq!(head.field("Content-Encoding"), Some("gzip"));
        }
    });
}
