//! Interim responses: 100 (Continue) from end to end, 103 passed on, and none where they cannot be.

use std::thread;
use std::time::Instant;

use crate::support::{
    Gate, Origin, Proxy, assert_limit, get, ms, noise, ok, on_each_driver, post_chunked_head,
};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn expecting(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n")
}

#[test]
fn content_is_asked_for_when_the_origin_asks() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(head) = peer.head() {
                assert_eq!(head.field("Expect"), Some("100-continue"));
                peer.sleep(ms(200));
                peer.send(CONTINUE);
                if let Some(request) = peer.content(head) {
                    peer.send(ok(request.body()));
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for size in [5, 300_000] {
            let content = noise(size, 1);
            let started = Instant::now();
            client.send(expecting(size));
            let head = client.head();
            assert_eq!(head.status(), 100);
            assert!(!head.fields.has("Content-Length") && !head.fields.has("Transfer-Encoding"));
            assert!(started.elapsed() >= ms(200), "the proxy itself does not ask");
            client.send(&content);
            assert_eq!(client.response().body(), content);
        }
        let mut client = proxy.client();
        client.send(post_chunked_head("/", "Expect: 100-continue\r\n"));
        assert_eq!(client.head().status(), 100);
        client.send("5\r\nhello\r\n0\r\n\r\n");
        assert_eq!(client.response().text(), "hello");
    });
}

#[test]
fn an_origin_that_refuses_at_once_is_never_sent_the_content() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.head().is_some() {
                peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
                let (rest, _) = peer.until_end();
                assert!(rest.is_empty(), "content came all the same");
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(expecting(5));
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (413, "no!"));
        // Whether the content still comes cannot be known, and so neither can where a next request
        // would begin.
        assert!(response.says_close());
        client.expect_end();
    });
}

#[test]
fn a_client_that_does_not_wait_is_served_all_the_same() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(head) = peer.head() {
                peer.send(CONTINUE);
                if let Some(request) = peer.content(head) {
                    peer.send(ok(request.body()));
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        for pause in [0, 100] {
            let mut client = proxy.client();
            client.send(expecting(10));
            thread::sleep(ms(pause));
            client.send("hello");
            thread::sleep(ms(pause));
            client.send("world");
            assert_eq!(client.head().status(), 100);
            assert_eq!(client.response().text(), "helloworld");
            client.send(expecting(5) + "again");
            assert_eq!(client.head().status(), 100);
            assert_eq!(client.response().text(), "again");
        }
    });
}

#[test]
fn an_origin_that_knows_no_expectations_is_sent_the_content_of_a_client_that_does_not_wait() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "2s"]);
        let mut client = proxy.client();
        client.send(expecting(20));
        // Longer in all than the origin may take for its answer, which begins when it has it all.
        for _ in 0..4 {
            thread::sleep(ms(700));
            client.send("hello");
        }
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (200, "/ hellohellohellohello"));
    });
}

#[test]
fn an_origin_that_never_answers_an_expectation_is_given_up() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.head();
            peer.hang();
        });
        let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "500ms"]);
        let mut client = proxy.client();
        let started = Instant::now();
        client.send(expecting(5));
        let response = client.response();
        assert_limit(started, ms(500));
        assert_eq!(response.status(), 504);
        assert!(response.says_close());
        client.expect_end();
    });
}

#[test]
fn the_time_for_an_answer_runs_from_the_end_of_the_content_that_was_asked_for() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(head) = peer.head() {
                peer.send(CONTINUE);
                if let Some(request) = peer.content(head) {
                    peer.send(ok(request.body()));
                }
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "2s"]);
        let mut client = proxy.client();
        client.send(expecting(20));
        assert_eq!(client.head().status(), 100);
        for _ in 0..4 {
            thread::sleep(ms(700));
            client.send("hello");
        }
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (200, "hellohellohellohello"));
    });
}

#[test]
fn a_client_that_was_asked_for_content_and_sends_none_is_given_up() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.head().is_some() {
                peer.send(CONTINUE);
                peer.until_end();
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--body-timeout", "500ms"]);
        let mut client = proxy.client();
        let started = Instant::now();
        client.send(expecting(5));
        assert_eq!(client.head().status(), 100);
        let response = client.response();
        assert_limit(started, ms(400));
        assert_eq!(response.status(), 408);
        client.expect_end();
    });
}

#[test]
fn an_expectation_without_content_is_not_passed_on() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
        client.ask("POST / HTTP/1.0\r\nContent-Length: 2\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\nhi");
        assert!(origin.requests().iter().all(|request| request.field("Expect").is_none()));
    });
}

#[test]
fn early_hints_are_passed_on_as_they_come() {
    on_each_driver(|driver| {
        // The second hint is sent only when the client has the first.
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |peer| {
            let mut times = 0;
            while peer.request().is_some() {
                peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n");
                times += 1;
                held.pass(times);
                peer.send("HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n");
                peer.send(ok("hello"));
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            client.send(get("/"));
            let hint = client.head();
            assert_eq!((hint.status(), hint.field("Link")), (103, Some("</a.css>; rel=preload")));
            assert!(!hint.fields.has("X-Hop") && !hint.fields.has("Content-Length"));
            gate.open();
            assert_eq!(client.head().field("Link"), Some("</b.css>; rel=preload"));
            assert_eq!(client.response().text(), "hello");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn a_client_of_http_1_0_is_sent_no_interim_responses() {
    on_each_driver(|driver| {
        let origin = Origin::answering(
            [CONTINUE.as_bytes(), b"HTTP/1.1 103 Early Hints\r\n\r\n", &ok("hello")].concat(),
        );
        let proxy = Proxy::to(driver, &origin);
        assert_eq!(proxy.ask("GET / HTTP/1.0\r\n\r\n").text(), "hello");
    });
}

#[test]
fn an_origin_that_sends_interim_responses_without_end_is_given_up() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                while peer.try_send("HTTP/1.1 102 Processing\r\n\r\n") {}
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(get("/"));
        let mut interims = 0;
        let last = loop {
            let head = client.head();
            if head.status() != 102 {
                break head;
            }
            interims += 1;
        };
        assert_eq!(last.status(), 502);
        assert!((1..100).contains(&interims), "{interims}");
    });
}

#[test]
fn an_origin_that_hints_but_never_answers_an_expectation_is_given_up() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.head();
            peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            peer.hang();
        });
        let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "500ms"]);
        let mut client = proxy.client();
        let started = Instant::now();
        client.send(expecting(5));
        assert_eq!(client.head().status(), 103);
        let response = client.response();
        assert_limit(started, ms(400));
        assert_eq!(response.status(), 504);
        client.expect_end();
    });
}

#[test]
fn the_clients_time_does_not_run_while_the_origin_holds_its_content_up() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if let Some(head) = peer.head() {
                // The client did not wait, and everything on the way here has filled up.
                peer.sleep(ms(300));
                peer.send(CONTINUE);
                peer.sleep(ms(3500));
                if let Some(request) = peer.content(head) {
                    peer.send(ok(format!("{}", request.body().len())));
                }
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--body-timeout", "2s"]);
        let mut client = proxy.client();
        let mut sender = client.sender();
        let sending = thread::spawn(move || {
            sender.try_send([expecting(20_000_000).as_bytes(), &noise(20_000_000, 1)].concat())
        });
        assert_eq!(client.head().status(), 100);
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (200, "20000000"));
        assert!(sending.join().unwrap());
    });
}
