//! Every limit on time: none takes effect before its time, none is forgotten.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::support::{
    Origin, Proxy, assert_limit, chunk, eventually, get, get_with, ms, noise, ok, on_each_driver,
    post_chunked_head,
};

#[test]
fn a_head_has_a_limit_from_its_first_byte_however_steadily_it_drips() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--head-timeout", "700ms"]);
        let mut client = proxy.client();
        let mut sender = client.sender();
        thread::sleep(ms(200));
        let started = Instant::now();
        let dripping = thread::spawn(move || {
            let head = get_with("/", &"X: y\r\n".repeat(30));
            // Stops by itself once the proxy has closed.
            head.bytes().all(|byte| {
                thread::sleep(ms(20));
                sender.try_send([byte])
            })
        });
        let response = client.response();
        assert_limit(started, ms(700));
        assert_eq!(response.status(), 408);
        assert!(response.says_close());
        client.expect_end();
        assert!(!dripping.join().unwrap(), "all of the head was taken");
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
fn a_head_that_stops_is_given_up_on_a_connection_that_has_served_before() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--head-timeout", "500ms"]);
        let mut client = proxy.client();
        client.ask(get("/"));
        // Together with a whole request, or apart from it.
        for start in [get("/x") + "GET /y HT", "GET /y HTTP/1.1\r\nHost: a".to_owned()] {
            let mut client = proxy.client();
            client.ask(get("/"));
            let started = Instant::now();
            client.send(&start);
            if start.starts_with("GET /x") {
                assert_eq!(client.response().text(), "/x ");
            }
            assert_eq!(client.response().status(), 408);
            assert_limit(started, ms(500));
            client.expect_end();
        }
    });
}

#[test]
fn a_slow_head_within_its_limit_is_served() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--head-timeout", "3s", "--body-timeout", "500ms"]);
        let mut client = proxy.client();
        let request = get("/");
        let (one, two) = request.split_at(10);
        client.send(one);
        thread::sleep(ms(1200));
        client.send(two);
        assert_eq!(client.response().text(), "/ ");
    });
}

#[test]
fn content_has_a_limit_between_its_bytes() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--body-timeout", "2s", "--min-rate", "off"]);
        for head in [
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n".to_owned(),
            post_chunked_head("/", ""),
        ] {
            let mut client = proxy.client();
            let mut last = Instant::now();
            client.send(&head);
            // As long as bytes come, it may take longer than the limit.
            for _ in 0..4 {
                thread::sleep(ms(600));
                last = Instant::now();
                client.send(if head.contains("chunked") { chunk(b"x") } else { b"x".to_vec() });
            }
            let response = client.response();
            assert_limit(last, ms(2000));
            assert_eq!(response.status(), 408);
            assert!(response.says_close());
            client.expect_end();
        }
        eventually("the origin notices", || origin.open() == 0);
        assert!(origin.requests().is_empty());
    });
}

#[test]
fn an_idle_connection_is_closed_without_a_word_after_its_limit() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        // Before the connection is put aside, and after.
        for limit in [500, 2500] {
            let proxy = Proxy::with(driver, &origin, &["--keep-alive-timeout", &format!("{limit}ms")]);
            // What begins their time comes after these moments, however late this thread goes on.
            let opened = Instant::now();
            let mut fresh = proxy.client();
            let mut used = proxy.client();
            let idle = Instant::now();
            used.ask(get("/"));
            fresh.expect_end();
            assert_limit(opened, ms(limit));
            used.expect_end();
            // Deadlines are whole ticks.
            assert_limit(idle, ms(limit - 100));
        }
    });
}

#[test]
fn a_connection_that_is_used_now_and_then_stays_open() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--keep-alive-timeout", "4s"]);
        let mut client = proxy.client();
        for pause in [0, 1500, 300, 1900, 1500] {
            thread::sleep(ms(pause));
            assert_eq!(client.ask(get("/")).text(), "/ ");
        }
    });
}

#[test]
fn a_client_that_takes_no_more_of_a_response_is_given_up() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
                while peer.try_send([0; 64 * 1024]) {}
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--write-timeout", "700ms"]);
        let mut client = proxy.client();
        let started = Instant::now();
        client.send(get("/"));
        eventually("the origin's side ends", || origin.connections() == 1 && origin.open() == 0);
        assert_limit(started, ms(700));
        let (_, broken) = client.broken_response();
        assert!(broken.partial.len() < 1 << 30);
    });
}

#[test]
fn a_client_that_takes_a_response_slowly_is_served_to_the_end() {
    on_each_driver(|driver| {
        let content = noise(20_000_000, 2);
        let origin = Origin::answering(ok(&content));
        let proxy = Proxy::with(driver, &origin, &["--write-timeout", "3s", "--upstream-timeout", "2500ms"]);
        let mut client = proxy.client();
        client.send(get("/"));
        client.head();
        let started = Instant::now();
        for piece in content.chunks(2_500_000) {
            thread::sleep(ms(400));
            assert!(client.exactly(piece.len()) == piece);
        }
        assert!(started.elapsed() > ms(3000));
    });
}

#[test]
fn an_answer_has_a_limit_for_its_first_byte() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if let Some(request) = peer.request() {
                if request.target() == "/slow" {
                    peer.sleep(ms(900));
                    peer.send(ok("slow"));
                }
                peer.until_end();
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "600ms"]);
        for content in ["", "hello"] {
            let mut client = proxy.client();
            let started = Instant::now();
            let response = client.ask(format!(
                "POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}",
                content.len()
            ));
            assert_eq!(response.status(), 504);
            assert_limit(started, ms(600));
        }
        let patient =
            Proxy::with(driver, &origin, &["--first-byte-timeout", "10s", "--upstream-timeout", "500ms"]);
        assert_eq!(patient.get("/slow").text(), "slow", "the time between bytes begins with the first one");
    });
}

#[test]
fn the_time_for_an_answer_begins_when_the_request_has_been_sent() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "2s"]);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        for byte in ["h", "e", "l", "l", "o"] {
            thread::sleep(ms(500));
            client.send(byte);
        }
        assert_eq!(client.response().text(), "/ hello");
    });
}

#[test]
fn a_response_has_a_limit_between_its_bytes() {
    on_each_driver(|driver| {
        let (sender, last_sent) = mpsc::channel();
        let origin = Origin::start(move |peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
                // As long as bytes come, it may take longer than the limit.
                for _ in 0..4 {
                    peer.sleep(ms(600));
                    let _ = sender.send(Instant::now());
                    peer.send("x");
                }
                peer.until_end();
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--upstream-timeout", "2s"]);
        let mut client = proxy.client();
        client.send(get("/"));
        let (head, broken) = client.broken_response();
        assert_limit(last_sent.try_iter().last().unwrap(), ms(2000));
        assert_eq!((head.status(), broken.partial.as_slice()), (200, &b"xxxx"[..]));
        eventually("the origin's side ends", || origin.open() == 0);
    });
}

#[test]
fn a_limit_that_passes_hurts_nobody_else() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/never" {
                    return peer.hang();
                }
                peer.sleep(ms(300));
                peer.send(ok(request.target()));
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "2s", "--head-timeout", "2s"]);
        thread::scope(|scope| {
            for number in 0..12 {
                let proxy = &proxy;
                scope.spawn(move || match number % 3 {
                    0 => assert_eq!(proxy.get("/never").status(), 504),
                    1 => assert_eq!(proxy.ask("GET /").status(), 408),
                    _ => {
                        let mut client = proxy.client();
                        for count in 0..6 {
                            let target = format!("/{number}/{count}");
                            assert_eq!(client.ask(get(&target)).text(), target);
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn the_clients_time_does_not_run_while_the_origin_is_slow_to_read() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if let Some(head) = peer.head() {
                peer.sleep(ms(3500));
                if let Some(request) = peer.content(head) {
                    peer.send(ok(format!("{}", request.body().len())));
                }
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--body-timeout", "2s", "--first-byte-timeout", "2s"]);
        let response = proxy.ask(crate::support::post("/", &noise(20_000_000, 1)));
        assert_eq!((response.status(), response.text().as_str()), (200, "20000000"));
    });
}
