//! Content passes as it comes, in both directions at once, and never faster than it is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::message::in_random_chunks;
use crate::support::origin::Peer;
use crate::support::wire::Framing;
use crate::support::{
    Client, Driver, End, Origin, PATIENCE, Proxy, assert_same, chunk, eventually, get, get_with, ms, noise,
    ok, on_each_driver, post, post_chunked_head,
};

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Waits until a count has stopped growing, and returns it.
fn settled(count: &AtomicUsize) -> usize {
    let mut last = 0;
    let mut since = 0;
    eventually("the flow stops", || {
        thread::sleep(ms(50));
        let now = count.load(Ordering::SeqCst);
        since = if now == last && now > 0 { since + 1 } else { 0 };
        last = now;
        since >= 10
    });
    last
}

#[test]
fn a_client_that_does_not_read_costs_a_window_and_not_the_response() {
    const HEADS: [(&str, bool); 3] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
    ];
    on_each_driver(|driver| {
        let sent = Arc::new(AtomicUsize::new(0));
        let counting = sent.clone();
        let origin = Origin::start(move |peer| {
            let Some(request) = peer.request() else { return };
            let (head, chunked) = HEADS[request.target()[1..].parse::<usize>().unwrap()];
            let piece = noise(64 * 1024, 1);
            let piece = if chunked { chunk(&piece) } else { piece };
            peer.send(head);
            for _ in 0..GIB / (64 * 1024) {
                if !peer.try_send(&piece) {
                    return;
                }
                counting.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        let proxy = Proxy::to(driver, &origin);
        proxy.client().send(get("/0"));
        for case in 0..HEADS.len() {
            sent.store(0, Ordering::SeqCst);
            let before = proxy.resident_kib();
            let mut client = proxy.client();
            client.send(get(&format!("/{case}")));
            let stopped = settled(&sent);
            let grown = proxy.resident_kib().saturating_sub(before);
            assert!(grown < 16 * 1024, "{grown} KiB more, with {stopped} bytes sent");
            assert!(stopped < 128 * MIB, "{stopped} bytes went somewhere");
            // It goes on as soon as it is read.
            client.exactly(32 * MIB);
            eventually("the flow goes on", || sent.load(Ordering::SeqCst) > stopped);
        }
    });
}

#[test]
fn an_origin_that_does_not_read_costs_a_window_and_not_the_request() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.head();
            peer.hang();
        });
        let proxy = Proxy::to(driver, &origin);
        let before = proxy.resident_kib();
        let client = proxy.client();
        let mut sender = client.sender();
        let sent = Arc::new(AtomicUsize::new(0));
        let counting = sent.clone();
        let sending = thread::spawn(move || {
            sender.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {GIB}\r\n\r\n"));
            let piece = noise(64 * 1024, 1);
            while sender.try_send(&piece) {
                counting.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        let stopped = settled(&sent);
        let grown = proxy.resident_kib().saturating_sub(before);
        assert!(grown < 16 * 1024, "{grown} KiB more, with {stopped} bytes sent");
        assert!(stopped < 128 * MIB, "{stopped} bytes went somewhere");
        let _ = client.stream().shutdown(std::net::Shutdown::Both);
        sending.join().unwrap();
    });
}

#[test]
fn a_response_arrives_piece_by_piece_as_it_is_made() {
    on_each_driver(|driver| {
        for framing in ["chunked", "known", "close"] {
            // The origin makes the next piece only once the client has the last one.
            let (taken, may_go_on) = mpsc::channel::<()>();
            let may_go_on = std::sync::Mutex::new(may_go_on);
            let origin = Origin::start(move |peer| {
                peer.request();
                peer.send(match framing {
                    "chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "known" => "HTTP/1.1 200 OK\r\nContent-Length: 160\r\n\r\n",
                    _ => "HTTP/1.1 200 OK\r\n\r\n",
                });
                for count in 0..20 {
                    let event = format!("data:{count:3}");
                    peer.send(if framing == "chunked" {
                        chunk(event.as_bytes())
                    } else {
                        event.into_bytes()
                    });
                    may_go_on
                        .lock()
                        .unwrap()
                        .recv_timeout(PATIENCE)
                        .expect("the client gets each piece at once");
                }
                if framing == "chunked" {
                    peer.send("0\r\n\r\n");
                }
            });
            let proxy = Proxy::to(driver, &origin);
            let mut client = proxy.client();
            client.send(get("/"));
            client.head();
            for count in 0..20 {
                let event = if framing == "known" { client.exactly(8) } else { client.chunk() };
                assert_eq!(event, format!("data:{count:3}").as_bytes());
                taken.send(()).unwrap();
            }
        }
    });
}

#[test]
fn a_request_arrives_piece_by_piece_as_it_is_made() {
    on_each_driver(|driver| {
        for chunked in [true, false] {
            let (taken, arrived) = mpsc::channel();
            let origin = Origin::start(move |peer| {
                if let Some(head) = peer.head() {
                    let (framing, mut left) = (head.request_framing(), 160);
                    for _ in 0..20 {
                        let piece = match framing {
                            Framing::Chunked => peer.piece(framing, &mut left),
                            _ => peer.exactly(8),
                        };
                        taken.send(piece.unwrap()).unwrap();
                    }
                    if chunked {
                        peer.exactly(5);
                    }
                    peer.send(ok("done"));
                }
            });
            let proxy = Proxy::to(driver, &origin);
            let mut client = proxy.client();
            client.send(match chunked {
                true => post_chunked_head("/", ""),
                false => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 160\r\n\r\n".to_owned(),
            });
            for count in 0..20 {
                let piece = format!("data:{count:3}");
                client.send(if chunked { chunk(piece.as_bytes()) } else { piece.clone().into_bytes() });
                assert_eq!(
                    arrived.recv_timeout(PATIENCE).expect("the origin gets each piece at once"),
                    piece.as_bytes()
                );
            }
            if chunked {
                client.send("0\r\n\r\n");
            }
            assert_eq!(client.response().text(), "done");
        }
    });
}

/// An origin that answers with each piece of the content as it comes.
fn echo_while_reading() -> Origin {
    Origin::start(|peer| {
        while let Some(head) = peer.head() {
            let framing = head.request_framing();
            let mut left = if let Framing::Known(length) = framing { length } else { 0 };
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while let Some(piece) = peer.piece(framing, &mut left) {
                if piece.is_empty() {
                    break;
                }
                peer.send(chunk(&piece));
            }
            if framing == Framing::Chunked {
                peer.exactly(2);
            }
            peer.send("0\r\n\r\n");
        }
    })
}

#[test]
fn content_passes_both_ways_at_once() {
    on_each_driver(|driver| {
        let origin = echo_while_reading();
        let proxy = Proxy::to(driver, &origin);
        let content = noise(10 * MIB, 3);
        let chunked =
            [post_chunked_head("/", "").as_bytes(), &in_random_chunks(&content, 50_000, 9)].concat();
        for request in [post("/", &content), chunked] {
            let mut client = proxy.client();
            let mut sender = client.sender();
            let sending = thread::spawn(move || sender.try_send(request));
            assert_same(client.response().body(), &content);
            assert!(sending.join().unwrap());
        }
    });
}

#[test]
fn a_conversation_may_go_back_and_forth_within_one_exchange() {
    on_each_driver(|driver| {
        let origin = echo_while_reading();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(post_chunked_head("/", ""));
        assert_eq!(client.head().status(), 200);
        for count in 0..50 {
            let said = format!("line {count}");
            client.send(chunk(said.as_bytes()));
            assert_eq!(client.chunk(), said.as_bytes());
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.chunk(), b"");
    });
}

/// A large upload to an origin that answers early, and what it does then.
fn upload_to_early_origin(driver: Driver, pause: Duration, then: fn(&mut Peer)) {
    let origin = Origin::start(move |peer| {
        if peer.head().is_some() {
            peer.sleep(pause);
            peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
            then(peer);
        }
    });
    let proxy = Proxy::to(driver, &origin);
    let descriptors = proxy.descriptors_at_rest();
    let content = noise(20 * MIB, 3);
    let chunked = [post_chunked_head("/", "").as_bytes(), &in_random_chunks(&content, 50_000, 9)].concat();
    for request in [post("/", &content), chunked] {
        let mut client = proxy.client();
        let mut sender = client.sender();
        let sending = thread::spawn(move || sender.try_send(request));
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (413, "no!"));
        assert!(response.says_close());
        client.expect_end();
        sending.join().unwrap();
    }
    // An origin that does not read cannot see the end, for it lies behind what was sent before.
    eventually("the proxy has let go of all connections", || proxy.descriptors() <= descriptors);
    assert!(origin.requests().is_empty());
}

#[test]
fn an_answer_to_an_unfinished_upload_reaches_the_client() {
    on_each_driver(|driver| {
        // At once, or when everything on the way to it has filled up.
        for pause in [ms(0), ms(300)] {
            // The origin ends its side, and throws away what still comes.
            upload_to_early_origin(driver, pause, |peer| {
                peer.finish();
                peer.until_end();
            });
            // It leaves, with much of the request unread.
            upload_to_early_origin(driver, pause, |_| {});
            // It stays, but reads no more.
            upload_to_early_origin(driver, pause, |peer| peer.hang());
        }
    });
}

#[test]
fn a_small_upload_that_is_answered_early_is_answered_once() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.head().is_some() {
                peer.send(ok("early"));
                peer.until_end();
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
        let response = client.response();
        assert_eq!(response.text(), "early");
        assert!(response.says_close(), "where the next request begins is not known");
        // The rest of the content must not be taken for a request.
        client.send(format!("world{}", get("/smuggled")));
        client.expect_end();
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_response_ends_the_exchange() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
                while peer.try_send([0; 64 * 1024]) {}
            }
        });
        let proxy = Proxy::to(driver, &origin);
        for leaves in [drop as fn(Client), Client::reset] {
            let mut client = proxy.client();
            client.send(get("/"));
            client.head();
            client.exactly(100_000);
            leaves(client);
            eventually("the origin notices", || origin.open() == 0);
        }
    });
}

#[test]
fn an_upload_that_the_client_breaks_off_has_no_clean_end_for_the_origin() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let starts = [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello".to_owned(),
            post_chunked_head("/", ""),
            post_chunked_head("/", "") + "5\r\nhello\r\n",
            post_chunked_head("/", "") + "a\r\nhello",
            post_chunked_head("/", "") + "5\r\nhello\r\n0\r\n",
            post_chunked_head("/", "") + "5\r\nhello\r\n0\r\nX-Sum: 1\r\n",
        ];
        for start in starts {
            for leaves in [drop as fn(Client), Client::reset, |client| {
                client.finish();
                let mut client = client;
                client.until_end();
            }] {
                let before = origin.connections();
                let mut client = proxy.client();
                client.send(&start);
                eventually("the head reaches the origin", || origin.connections() > before);
                thread::sleep(ms(20));
                leaves(client);
                eventually("the origin notices", || origin.open() == 0);
            }
        }
        assert!(origin.requests().is_empty(), "a cut request was taken for a whole one");
    });
}

#[test]
fn a_client_that_goes_on_sending_behind_its_last_request_gets_all_of_its_answer() {
    on_each_driver(|driver| {
        let content = noise(8 * MIB, 3);
        let answer = ok(&content);
        let origin = Origin::answering(answer);
        let proxy = Proxy::to(driver, &origin);
        // As old clients send an empty line behind the content of their request.
        let old = "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\na=b".to_owned();
        for request in [get_with("/", "Connection: close\r\n"), old] {
            let mut client = proxy.client();
            client.send(request);
            client.exactly(1);
            client.send("\r\n");
            // What is unread when the proxy closes must not cost what was not yet delivered.
            thread::sleep(Duration::from_millis(500));
            let (rest, end) = client.until_end();
            assert!(
                rest.ends_with(&content),
                "{} bytes of more than {}, then {end:?}",
                rest.len(),
                content.len()
            );
            let _ = end == End::Closed;
        }
    });
}

#[test]
fn a_client_that_asks_without_reading_is_left_to_wait() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok(noise(10_000, 1)));
        let proxy = Proxy::to(driver, &origin);
        proxy.get("/");
        let before = proxy.resident_kib();
        let client = proxy.client();
        let mut sender = client.sender();
        let sent = Arc::new(AtomicUsize::new(0));
        let counting = sent.clone();
        let sending = thread::spawn(move || {
            let many = get("/").repeat(1000);
            while sender.try_send(&many) {
                counting.fetch_add(many.len(), Ordering::SeqCst);
            }
        });
        let stopped = settled(&sent);
        let grown = proxy.resident_kib().saturating_sub(before);
        assert!(grown < 16 * 1024, "{grown} KiB more, with {stopped} bytes sent");
        assert_eq!(proxy.get("/").body().len(), 10_000, "others are served");
        let _ = client.stream().shutdown(std::net::Shutdown::Both);
        sending.join().unwrap();
    });
}
