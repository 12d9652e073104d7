//! Clients that send or read slowly: they are gone before they hold anything for long, and nobody else is.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Client, Origin, Proxy, Setup, assert_limit, chunk, eventually, get, ms, noise, ok, on_each_driver,
    post_chunked_head,
};

/// Sends a byte each time until that is not possible any more, or for too long.
fn drip(mut client: Client, every: Duration, byte: &'static [u8]) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let started = Instant::now();
        while client.try_send(byte) && started.elapsed() < ms(30_000) {
            thread::sleep(every);
        }
    })
}

#[test]
fn content_that_drips_is_given_up_after_a_window_however_it_is_framed() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--body-timeout", "3s", "--access-log", "json"]);
        for (head, byte) in [
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".to_owned(), &b"x"[..]),
            (post_chunked_head("/", ""), b"1\r\nx\r\n"),
        ] {
            let mut client = proxy.client();
            client.send(head);
            let started = Instant::now();
            // Each of them well within the limit between two.
            let dripping = drip(client.sender(), ms(100), byte);
            let response = client.response();
            assert_limit(started, ms(2800));
            assert_eq!(response.status(), 408);
            assert!(response.says_close());
            dripping.join().unwrap();
        }
        eventually("both are logged", || proxy.stdout().matches("\"body_too_slow\"").count() == 2);
        eventually("the origin notices", || origin.open() == 0);
    });
}

#[test]
fn content_that_comes_fast_enough_may_take_any_time() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--body-timeout", "2s", "--min-rate", "200B"]);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
        for _ in 0..50 {
            thread::sleep(ms(100));
            client.send([b'x'; 100]);
        }
        assert_eq!(client.response().text().len(), 5002);
    });
}

#[test]
fn where_nothing_is_asked_for_content_may_drip() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        for off in ["off", "0"] {
            let proxy = Proxy::with(driver, &origin, &["--body-timeout", "2s", "--min-rate", off]);
            let mut client = proxy.client();
            client.send(post_chunked_head("/", ""));
            for _ in 0..12 {
                thread::sleep(ms(250));
                client.send(chunk(b"x"));
            }
            client.send("0\r\n\r\n");
            assert_eq!(client.response().text(), "/ xxxxxxxxxxxx");
        }
    });
}

#[test]
fn a_route_asks_for_more_or_for_nothing() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\nbody-timeout = '1500ms'\nmin-rate = '1KiB'\n{}\
             [[route]]\nupstream = 'app'\npath-prefix = '/slow'\nmin-rate = 'off'\n[[route]]\nupstream = 'app'\n",
            crate::support::live::upstream("app", &origin)
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        for (target, status) in [("/slow", 200), ("/fast", 408)] {
            let mut client = proxy.client();
            client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n"));
            for _ in 0..15 {
                thread::sleep(ms(200));
                client.try_send("x");
            }
            assert_eq!(client.response().status(), status, "{target}");
        }
    });
}

#[test]
fn a_response_that_is_read_slowly_breaks_off_with_a_reset() {
    on_each_driver(|driver| {
        // Content of a stated length, and content that ends with the connection, which must not look whole.
        for stored in [false, true] {
            let content = noise(40_000_000, 3);
            let control = if stored { "max-age=60" } else { "no-store" };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: {control}\r\n\r\n",
                content.len()
            );
            let answer = [head.as_bytes(), &content].concat();
            let origin = Origin::answering(answer);
            let args = [
                "--write-timeout",
                "2s",
                "--min-rate",
                "8MiB",
                "--access-log",
                "json",
                "--cache-size",
                "512MiB",
            ];
            let proxy = Proxy::with(driver, &origin, &args);
            let mut client = proxy.client();
            client.send(get("/"));
            client.head();
            let started = Instant::now();
            // Never long without a byte, and much slower than asked for.
            let mut came = 0;
            while !proxy.stdout().contains("\"client_too_slow\"") {
                assert!(started.elapsed() < ms(25_000), "it is still read after {came} bytes");
                came += client.some().map_or(0, |bytes| bytes.len());
                thread::sleep(ms(40));
            }
            assert!(came < content.len());
        }
    });
}

#[test]
fn a_client_that_reads_fast_enough_is_served_to_the_end() {
    on_each_driver(|driver| {
        let content = noise(20_000_000, 4);
        let origin = Origin::answering(ok(&content));
        let proxy = Proxy::with(driver, &origin, &["--write-timeout", "5s", "--min-rate", "256KiB"]);
        let mut client = proxy.client();
        client.send(get("/"));
        client.head();
        // For longer than a window. What the kernel holds on the way moves in steps of a megabyte, so that the proxy may
        // see nothing of it for a while.
        for piece in content.chunks(250_000) {
            thread::sleep(ms(100));
            assert!(client.exactly(piece.len()) == piece);
        }
    });
}

#[test]
fn time_that_is_spent_waiting_for_the_origin_does_not_count() {
    on_each_driver(|driver| {
        // Events now and then, for much longer than a window; and content that the origin takes its time over.
        let origin = Origin::start(|peer| {
            while let Some(head) = peer.head() {
                if head.target() == "/events" {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
                    for _ in 0..12 {
                        peer.sleep(ms(300));
                        peer.send(chunk(b"data: x\n\n"));
                    }
                    peer.send("0\r\n\r\n");
                } else {
                    peer.sleep(ms(3000));
                    let Some(request) = peer.content(head) else { return };
                    peer.send(ok(format!("{}", request.body().len())));
                }
            }
        });
        let args = ["--write-timeout", "1500ms", "--body-timeout", "1500ms", "--min-rate", "1KiB"];
        let proxy = Proxy::with(driver, &origin, &args);
        assert_eq!(proxy.get("/events").text(), "data: x\n\n".repeat(12));
        let response = proxy.ask(crate::support::post("/", &noise(5_000_000, 1)));
        assert_eq!((response.status(), response.text().as_str()), (200, "5000000"));
    });
}

#[test]
fn a_tunnel_may_be_as_slow_as_it_likes() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.head().is_some() {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
                while let Ok(bytes) = peer.some() {
                    peer.send(bytes);
                }
            }
        });
        let args = ["--write-timeout", "300ms", "--body-timeout", "300ms", "--min-rate", "1MiB"];
        let proxy = Proxy::with(driver, &origin, &args);
        let mut client = proxy.client();
        client.send(crate::support::get_with("/", "Connection: upgrade\r\nUpgrade: x\r\n"));
        assert_eq!(client.head().status(), 101);
        for _ in 0..10 {
            thread::sleep(ms(150));
            client.send("x");
            assert_eq!(client.exactly(1), b"x");
        }
    });
}

#[test]
fn hundreds_of_slow_ones_hold_nothing_for_long_and_a_good_client_is_served_all_the_while() {
    on_each_driver(|driver| {
        let large = noise(8_000_000, 5);
        let origin = Origin::replying(move |request| match request.target() {
            "/large" => ok(&large),
            target => ok(target),
        });
        let text = format!(
            "origin = ['{}']\n[listener.web]\naddress = '127.0.0.1:0'\nhead-timeout = '2s'\nbody-timeout = '2s'\n\
             write-timeout = '2s'\nmin-rate = '16KiB'\n",
            origin.url()
        );
        let proxy = Setup::new(driver).cores(2).admin().listening_file(&text).start();
        let rest = proxy.descriptors_at_rest();
        let mut slow: Vec<Client> = (0..300).map(|_| proxy.client()).collect();
        for (number, client) in slow.iter_mut().enumerate() {
            client.send(match number % 3 {
                0 => "GET / HTTP/1.1\r\nX".to_owned(),
                1 => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n".to_owned(),
                _ => get("/large"),
            });
        }
        let started = Instant::now();
        let mut good = proxy.client();
        let mut gone = false;
        let mut asked = 0;
        while !gone {
            for _ in 0..5 {
                assert_eq!(good.ask(get("/good")).text(), "/good");
                asked += 1;
            }
            for (number, client) in slow.iter_mut().enumerate() {
                if number % 3 < 2 {
                    client.try_send("x");
                }
            }
            let status = crate::support::cache::status(&proxy);
            gone = status["pressure"]["connections"].as_u64() == Some(1);
            assert!(started.elapsed() < ms(25_000), "they are still there: {status}");
            thread::sleep(ms(50));
        }
        assert!(asked >= 10, "{asked}");
        drop((good, slow));
        eventually("nothing is left open", || proxy.descriptors() <= rest + 4);
    });
}

#[test]
fn a_client_far_above_the_rate_is_served_however_much_the_kernel_holds_for_it() {
    on_each_driver(|driver| {
        // The kernel takes megabytes of the response at once, and asks for more when a good part of them has been read:
        // at this pace that takes longer than the limit. The client's tells of some hundred thousand bytes at a time.
        let content = noise(16_000_000, 6);
        for stored in [false, true] {
            let control = if stored { "max-age=60" } else { "no-store" };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: {control}\r\n\r\n",
                content.len()
            );
            let origin = Origin::answering([head.as_bytes(), &content].concat());
            let args = ["--write-timeout", "2500ms", "--min-rate", "4KiB", "--cache-size", "256MiB"];
            let proxy = Proxy::with(driver, &origin, &args);
            let mut client = proxy.client();
            client.send(get("/"));
            client.head();
            let (slowly, fast) = content.split_at(4_000_000);
            for piece in slowly.chunks(50_000) {
                thread::sleep(ms(100));
                assert!(client.exactly(piece.len()) == piece);
            }
            assert!(client.exactly(fast.len()) == fast);
        }
    });
}

#[test]
fn an_upstream_that_takes_content_slowly_but_steadily_gets_all_of_it() {
    on_each_driver(|driver| {
        let length = 16_000_000;
        let origin = Origin::start(move |peer| {
            let Some(_) = peer.head() else { return };
            for _ in 0..80 {
                peer.sleep(ms(100));
                assert!(peer.exactly(50_000).is_some());
            }
            assert!(peer.exactly(length - 4_000_000).is_some());
            peer.send(ok("all"));
        });
        let proxy = Proxy::with(driver, &origin, &["--upstream-timeout", "2500ms"]);
        let mut client = proxy.client();
        let mut sender = client.sender();
        let content = crate::support::post("/", &noise(length, 7));
        let sending = thread::spawn(move || sender.try_send(content));
        assert_eq!(client.response().text(), "all");
        assert!(sending.join().unwrap());
    });
}
