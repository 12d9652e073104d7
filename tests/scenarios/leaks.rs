//! What misbehaves leaves nothing behind: no descriptor, no memory, no crash.

use std::thread;

use crate::support::origin::Peer;
use crate::support::proxy::deaf_port;
use crate::support::{Client, Origin, Proxy, Setup, eventually, get, get_with, ms, ok, on_each_driver, post};

/// An origin that does what the target says.
fn origin_of_all_evils() -> Origin {
    Origin::start(|peer| {
        while let Some(head) = peer.head() {
            let target = head.target().to_owned();
            if target != "/unread" && peer.content(head).is_none() {
                return;
            }
            if !evil(peer, &target) {
                return;
            }
        }
    })
}

/// Does what the target says; says whether the connection goes on.
fn evil(peer: &mut Peer, target: &str) -> bool {
    match target {
        "/hang" | "/unread" => peer.hang(),
        "/reset" => peer.reset(),
        "/garbage" => peer.send("garbage\n"),
        "/half-a-head" => peer.send("HTTP/1.1 200 OK\r\nX: "),
        "/half-a-head-and-hang" => {
            peer.send("HTTP/1.1 200 OK\r\nX: ");
            peer.hang();
        }
        "/half-a-body" => peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
        "/half-a-body-and-hang" => {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
            peer.hang();
        }
        "/bad-chunk" => peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx"),
        "/more" => return peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more"),
        "/endless" => {
            peer.send("HTTP/1.1 200 OK\r\n\r\n");
            while peer.try_send([0; 16 * 1024]) {}
        }
        "/tunnel" => {
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello");
            peer.some().ok();
        }
        _ => return peer.try_send(ok("hello")),
    }
    false
}

/// Requests that something goes wrong with.
fn requests() -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = [
        "/hang",
        "/reset",
        "/garbage",
        "/half-a-head",
        "/half-a-head-and-hang",
        "/half-a-body",
        "/half-a-body-and-hang",
        "/bad-chunk",
        "/more",
        "/endless",
        "/good",
    ]
    .iter()
    .flat_map(|target| [get(target).into_bytes(), post(target, b"content")])
    .collect();
    requests.push(b"POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello".to_vec());
    requests.push(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello".to_vec());
    requests
        .push(b"POST /good HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhellox".to_vec());
    requests.push(
        b"POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n".to_vec(),
    );
    requests.push(get_with("/tunnel", "Connection: upgrade\r\nUpgrade: x\r\n").into_bytes());
    requests.push(b"GET /good HTTP/1.1\r\nHost".to_vec());
    requests.push(b"\x16\x03\x01\n".to_vec());
    requests.push(b"\r\n".to_vec());
    requests.push(Vec::new());
    requests
}

/// What a client does once it has sent its request.
const LEAVES: [fn(Client); 4] = [
    drop,
    Client::reset,
    |client| {
        thread::sleep(ms(30));
        drop(client);
    },
    |mut client| {
        client.finish();
        // Some of it; not without end.
        for _ in 0..20 {
            if client.some().is_err() {
                break;
            }
        }
    },
];

#[test]
fn exchanges_that_fail_leave_no_descriptor_and_no_memory_behind() {
    on_each_driver(|driver| {
        let origin = origin_of_all_evils();
        let limits = [
            "--pool-size",
            "0",
            "--first-byte-timeout",
            "300ms",
            "--upstream-timeout",
            "300ms",
            "--body-timeout",
            "300ms",
            "--head-timeout",
            "300ms",
            "--write-timeout",
            "300ms",
            "--tunnel-timeout",
            "300ms",
            "--keep-alive-timeout",
            "300ms",
        ];
        let proxy = Proxy::with(driver, &origin, &limits);
        let round = || {
            thread::scope(|scope| {
                for request in requests() {
                    let proxy = &proxy;
                    scope.spawn(move || {
                        for leave in LEAVES {
                            let mut client = proxy.client();
                            client.send(&request);
                            leave(client);
                        }
                    });
                }
            });
            // On a busy machine, what is good may take longer than the short time that it has here.
            eventually("what is good is served", || proxy.get("/good").text() == "hello");
        };
        let baseline = proxy.descriptors_at_rest();
        round();
        eventually("all descriptors are free", || proxy.descriptors() <= baseline);
        let memory = proxy.resident_kib();
        for _ in 0..4 {
            round();
        }
        eventually("all descriptors are free again", || proxy.descriptors() <= baseline);
        let grown = proxy.resident_kib().saturating_sub(memory);
        assert!(grown < 8 * 1024, "{grown} KiB more");
    });
}

#[test]
fn connections_that_are_never_made_leave_nothing_behind() {
    on_each_driver(|driver| {
        let (address, _listener, _filling) = deaf_port();
        let proxy = Setup::new(driver)
            .args(&[
                "--origin",
                &format!("http://{address}"),
                "--connect-timeout",
                "300ms",
                "--keep-alive-timeout",
                "300ms",
            ])
            .start();
        let baseline = proxy.descriptors_at_rest();
        thread::scope(|scope| {
            for number in 0..20 {
                let proxy = &proxy;
                scope.spawn(move || {
                    let mut client = proxy.client();
                    client.send(get("/"));
                    if number % 2 == 0 {
                        assert_eq!(client.response().status(), 504);
                    }
                });
            }
        });
        eventually("all descriptors are free", || proxy.descriptors() <= baseline);
    });
}

#[test]
fn bytes_at_random_never_crash_the_proxy_and_never_become_a_request() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::with(driver, &origin, &["--head-timeout", "300ms", "--body-timeout", "300ms"]);
        let whole = get_with("/", "X: y\r\n")
            + "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n";
        thread::scope(|scope| {
            for seed in 0..8 {
                let (proxy, whole) = (&proxy, whole.as_bytes());
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    for _ in 0..40 {
                        let mut bytes = whole.to_vec();
                        for _ in 0..random.usize(1..4) {
                            let at = random.usize(..bytes.len());
                            match random.u8(..4) {
                                0 => drop(bytes.remove(at)),
                                1 => bytes.insert(at, random.choice(*b"\r\n\0 :;0\xff").unwrap()),
                                2 => bytes[at] = random.u8(..),
                                _ => bytes.truncate(at.max(1)),
                            }
                        }
                        let mut client = proxy.client();
                        client.send(&bytes);
                        client.finish();
                        client.until_end();
                    }
                });
            }
        });
        assert_eq!(proxy.get("/").text(), "hello");
        // The origin's own strict reading fails the test where something odd was passed on.
        drop(proxy);
    });
}
