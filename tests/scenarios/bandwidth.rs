//! Responses that are given no faster than they may be.

use std::time::{Duration, Instant};

use crate::support::{
    Client, Driver, Origin, Proxy, Setup, assert_same, chunk, get, get_with, ms, noise, ok, on_each_driver,
    once_in_a_few,
};

fn start(driver: Driver, origin: &Origin, lines: &str) -> Proxy {
    let text = format!(
        "origin = ['{}']\n[[route]]\npath-prefix = '/'\nupstream = 'default'\n{lines}\n",
        origin.url()
    );
    Setup::new(driver).file(&text).start()
}

/// How long it takes to get something, and that it is right.
fn took(client: &mut Client, request: &str, want: &[u8]) -> Duration {
    let began = Instant::now();
    let response = client.ask(request);
    let took = began.elapsed();
    assert_same(response.body(), want);
    took
}

/// Neither much sooner than it should have come, nor as late as if something had stood still.
#[track_caller]
fn assert_about(took: Duration, want: Duration) {
    assert!(took >= want.mul_f64(0.7) && took < want * 2 + Duration::from_secs(3), "{took:?} for {want:?}");
}

#[test]
fn a_response_takes_its_time_however_it_comes() {
    on_each_driver(|driver| {
        let content = noise(600_000, 1);
        let sent = content.clone();
        let origin = Origin::replying(move |request| match request.target() {
            "/known" => ok(&sent),
            "/chunked" => {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunks: Vec<u8> = sent.chunks(10_000).flat_map(chunk).collect();
                [&head[..], &chunks, b"0\r\n\r\n"].concat()
            }
            _ => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n",
                    sent.len()
                );
                [head.as_bytes(), &sent].concat()
            }
        });
        let proxy = start(driver, &origin, "bandwidth = '300KiB/s'");
        let mut client = proxy.client();
        // Two seconds, less the piece that goes at once.
        for target in ["/known", "/chunked", "/stored", "/stored", "/stored"] {
            let took = took(&mut client, &get(target), &content);
            assert_about(took, ms(1850));
        }
        assert_eq!(origin.requests().len(), 3);
        once_in_a_few("a part and a head take no time", || {
            let began = Instant::now();
            let part = client.ask(get_with("/stored", "Range: bytes=1000-1999\r\n"));
            assert_eq!((part.status(), part.body()), (206, &content[1000..2000]));
            client.send("HEAD /stored HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.response_to("HEAD").status(), 200);
            began.elapsed() < ms(1500)
        });
    });
}

#[test]
fn the_first_bytes_are_free() {
    on_each_driver(|driver| {
        let content = noise(400_000, 2);
        let sent = content.clone();
        let origin = Origin::replying(move |_| ok(&sent));
        let proxy = start(driver, &origin, "bandwidth = '10KiB/s'\nbandwidth-after = '500KiB'");
        let took_free = took(&mut proxy.client(), &get("/"), &content);
        assert!(took_free < Duration::from_secs(15), "{took_free:?}");
        let proxy = start(driver, &origin, "bandwidth = '100KiB/s'\nbandwidth-after = '200KiB'");
        let took = took(&mut proxy.client(), &get("/"), &content);
        assert_about(took, ms(1800));
    });
}

#[test]
fn our_own_pace_is_not_taken_for_a_slow_client() {
    on_each_driver(|driver| {
        let content = noise(3000, 3);
        let sent = content.clone();
        let origin = Origin::replying(move |_| ok(&sent));
        // A piece each 250 ms, and writes that may take no longer than 100 ms.
        let proxy = start(
            driver,
            &origin,
            "bandwidth = '1KiB/s'\nwrite-timeout = '100ms'\nupstream-timeout = '200ms'",
        );
        let took = took(&mut proxy.client(), &get("/"), &content);
        assert_about(took, ms(2700));
    });
}

#[test]
fn a_slow_response_holds_neither_memory_nor_others() {
    on_each_driver(|driver| {
        const BYTES: usize = 64 << 20;
        let origin = Origin::replying(|request| match request.target() {
            "/small" => ok("small"),
            _ => ok(vec![b'x'; BYTES]),
        });
        let proxy = start(driver, &origin, "cache = false\nbandwidth = '256KiB/s'");
        let before = proxy.resident_kib();
        let mut slow: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        for client in &mut slow {
            client.send(get("/large"));
        }
        for client in &mut slow {
            assert_eq!(client.head().status(), 200);
            client.exactly(300 << 10);
        }
        // Beside them, others are served at once, and nothing piles up.
        let began = Instant::now();
        assert_eq!(proxy.get("/small").text(), "small");
        assert!(began.elapsed() < Duration::from_secs(15));
        let grown = proxy.resident_kib().saturating_sub(before);
        assert!(grown < 16 << 10, "{grown} KiB");
        drop(slow);
    });
}

#[test]
fn a_route_has_its_own_speed_or_that_of_its_listener() {
    on_each_driver(|driver| {
        let content = noise(200_000, 4);
        let sent = content.clone();
        let origin = Origin::replying(move |_| ok(&sent));
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\nbandwidth = '100KiB/s'\n\
             [upstream.app]\nendpoints = '{}'\n\
             [[route]]\npath = '/fast'\nupstream = 'app'\nbandwidth = '100MiB/s'\n\
             [[route]]\nupstream = 'app'\n",
            origin.endpoint()
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        once_in_a_few("it is fast", || took(&mut proxy.client(), &get("/fast"), &content) < ms(1500));
        assert_about(took(&mut proxy.client(), &get("/slow"), &content), ms(1850));
    });
}
