//! What an origin leaves unfinished never looks finished to a client.

use std::thread;

use crate::support::origin::Peer;
use crate::support::{End, Origin, PATIENCE, Proxy, Signal, eventually, get, ms, noise, on_each_driver};

const KNOWN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";

/// How an origin stops in the middle: its name, and what it does.
type Stop = (&'static str, fn(&mut Peer));

const STOPS: [Stop; 3] = [
    ("closes", |_| {}),
    ("resets", |peer| {
        peer.sleep(ms(50));
        peer.reset();
    }),
    ("stalls", |peer| peer.hang()),
];

#[test]
fn a_response_that_breaks_off_is_seen_to_break_off() {
    let large = noise(300_000, 1);
    let large = large.as_slice();
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        (KNOWN, b"".to_vec(), 0),
        (KNOWN, b"hello".to_vec(), 5),
        (KNOWN, large.to_vec(), large.len()),
        (CHUNKED, b"".to_vec(), 0),
        (CHUNKED, b"5".to_vec(), 0),
        (CHUNKED, b"5\r\n".to_vec(), 0),
        (CHUNKED, b"a\r\nhello".to_vec(), 5),
        (CHUNKED, b"5\r\nhello".to_vec(), 5),
        (CHUNKED, b"5\r\nhello\r\n".to_vec(), 5),
        (CHUNKED, b"5\r\nhello\r\n0".to_vec(), 5),
        (CHUNKED, b"5\r\nhello\r\n0\r\n".to_vec(), 5),
        (CHUNKED, b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n".to_vec(), 5),
        (CHUNKED, b"5\r\nhello\r\n0\r\n\r".to_vec(), 5),
        (CHUNKED, [b"100000\r\n", large].concat(), large.len()),
    ];
    on_each_driver(|driver| {
        for (name, stop) in STOPS {
            let answers = cases.clone();
            let origin = Origin::start(move |peer| {
                if let Some(request) = peer.request() {
                    let (head, content, _) = &answers[request.target()[1..].parse::<usize>().unwrap()];
                    peer.send([head.as_bytes(), content].concat());
                    stop(peer);
                }
            });
            let proxy = Proxy::with(driver, &origin, &["--upstream-timeout", "700ms"]);
            thread::scope(|scope| {
                for (case, (head, content, arrives)) in cases.iter().enumerate() {
                    let (proxy, shown) =
                        (&proxy, format!("{head:?} {:?} {name}", &content[..content.len().min(30)]));
                    scope.spawn(move || {
                        let mut client = proxy.client();
                        client.send(get(&format!("/{case}")));
                        let (_, broken) = client.broken_response();
                        // A reset may overtake what was sent before it.
                        let came = broken.partial.len();
                        assert!(
                            came == *arrives || (name == "resets" && came < *arrives),
                            "{came} bytes: {shown}"
                        );
                        assert_ne!(broken.end, End::Silent, "{shown}");

                        // HTTP/1.0 has no chunks: where the length is not known either, a plain close
                        // would look like the end.
                        let mut client = proxy.client();
                        client.send(format!("GET /{case} HTTP/1.0\r\n\r\n"));
                        let (_, end) = client.until_end();
                        assert_ne!(end, End::Silent, "{shown}");
                        if *head == CHUNKED {
                            assert_eq!(end, End::Reset, "{shown}");
                        }
                    });
                }
            });
            eventually("no connection is kept", || origin.open() == 0);
        }
    });
}

#[test]
fn a_response_until_close_that_does_not_end_with_a_close_is_broken() {
    on_each_driver(|driver| {
        for (name, stop) in &STOPS[1..] {
            let origin = Origin::start(move |peer| {
                if peer.request().is_some() {
                    peer.send([UNTIL_CLOSE, "hello"].concat());
                    stop(peer);
                }
            });
            let proxy = Proxy::with(driver, &origin, &["--upstream-timeout", "700ms"]);
            let mut client = proxy.client();
            client.send(get("/"));
            assert_eq!(client.broken_response().1.partial, b"hello", "{name}");
            let mut client = proxy.client();
            client.send("GET / HTTP/1.0\r\n\r\n");
            let (_, end) = client.until_end();
            assert_eq!(end, End::Reset, "{name}");
        }
    });
}

#[test]
fn a_head_that_breaks_off_becomes_an_error() {
    on_each_driver(|driver| {
        for (name, stop) in STOPS {
            for (started, bytes) in
                [("status line", "HTTP/1.1 200"), ("fields", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")]
            {
                let origin = Origin::start(move |peer| {
                    if peer.request().is_some() {
                        peer.send(bytes);
                        stop(peer);
                    }
                });
                let proxy = Proxy::with(driver, &origin, &["--upstream-timeout", "700ms"]);
                let response = proxy.get("/");
                let status = if name == "stalls" { 504 } else { 502 };
                assert_eq!(response.status(), status, "{started}, {name}");
                assert!(response.field("Proxy-Status").is_some());
                assert_eq!(origin.requests().len(), 1, "what was answered in part is not sent again");
            }
        }
    });
}

#[test]
fn an_interim_response_alone_is_no_answer() {
    on_each_driver(|driver| {
        for (name, stop) in &STOPS[..2] {
            let origin = Origin::start(move |peer| {
                if peer.request().is_some() {
                    peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
                    stop(peer);
                }
            });
            let proxy = Proxy::to(driver, &origin);
            let mut client = proxy.client();
            client.send(get("/"));
            assert_eq!(client.head().status(), 103);
            assert_eq!(client.response().status(), 502, "{name}");
        }
    });
}

#[test]
fn a_response_until_close_that_the_proxy_itself_cuts_is_broken_too() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.head().is_some() {
                peer.send([UNTIL_CLOSE, "hello"].concat());
                peer.hang();
            }
        });
        // The content of the request stalls while the response is under way.
        let proxy = Proxy::with(driver, &origin, &["--body-timeout", "1500ms"]);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\nhello");
        let (got, end) = client.until_end();
        assert!(got.ends_with(b"hello"));
        assert_eq!(end, End::Reset, "the request stalled");

        // The time to drain is over.
        let mut proxy = Proxy::with(driver, &origin, &["--drain-timeout", "300ms"]);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.head();
        proxy.signal(Signal::TERM);
        proxy.wait(PATIENCE);
        assert_eq!(client.until_end().1, End::Reset, "the proxy ended");
    });
}

#[test]
fn a_response_until_close_that_a_second_signal_cuts_is_broken_too() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.head().is_some() {
                peer.send([UNTIL_CLOSE, "hello"].concat());
                peer.hang();
            }
        });
        let mut proxy = Proxy::with(driver, &origin, &["--access-log", "combined"]);
        let mut client = proxy.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.head();
        proxy.signal(Signal::TERM);
        eventually("it begins to drain", || proxy.stderr().contains("stopping"));
        proxy.signal(Signal::TERM);
        assert!(!proxy.wait(PATIENCE).success());
        assert_eq!(client.until_end().1, End::Reset);
    });
}
