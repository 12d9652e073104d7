//! From start to stop: signals, draining, a shortage of descriptors, and connections that rest.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Client, End, Origin, Proxy, Setup, Signal, assert_limit, eventually, get, get_with, ms, noise, ok,
    on_each_driver, post,
};

/// Longer than anything but a limit that was not noticed: less than half of the time that a drain has.
const SOON: Duration = Duration::from_secs(14);

/// An origin that answers `/slow` after a while, and all else at once.
fn slow_or_not() -> Origin {
    Origin::start(|peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/slow" {
                peer.sleep(ms(700));
            }
            peer.send(ok(request.target()));
        }
    })
}

#[test]
fn a_signal_closes_idle_connections_and_ends_the_proxy_at_once() {
    on_each_driver(|driver| {
        for signal in [Signal::TERM, Signal::INT] {
            let origin = Origin::echo();
            let mut proxy = Proxy::to(driver, &origin);
            // One that never said a word, one that rests for a moment, one that was put aside.
            let mut parked = proxy.client();
            parked.ask(get("/"));
            thread::sleep(ms(1500));
            let (mut fresh, mut lingering) = (proxy.client(), proxy.client());
            lingering.ask(get("/"));
            proxy.signal(signal);
            assert_eq!(proxy.wait(SOON).code(), Some(0), "{}", proxy.stderr());
            for client in [&mut parked, &mut fresh, &mut lingering] {
                assert_eq!(client.expect_end(), End::Closed);
            }
            eventually("the end is summed up", || proxy.stderr().contains("2 requests"));
        }
    });
}

#[test]
fn what_is_in_flight_at_the_signal_is_answered_and_told_to_close() {
    on_each_driver(|driver| {
        let origin = slow_or_not();
        let mut proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(get("/slow"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.signal(Signal::TERM);
        let response = client.response();
        assert_eq!(response.text(), "/slow");
        assert!(response.says_close());
        assert_eq!(client.expect_end(), End::Closed);
        assert_eq!(proxy.wait(SOON).code(), Some(0));
    });
}

#[test]
fn a_response_that_had_begun_at_the_signal_is_finished() {
    on_each_driver(|driver| {
        let content = noise(300_000, 1);
        let sent = content.clone();
        let origin = Origin::start(move |peer| {
            if peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()));
                for piece in sent.chunks(30_000) {
                    peer.sleep(ms(80));
                    peer.send(piece);
                }
            }
        });
        let mut proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(get("/"));
        let head = client.head();
        proxy.signal(Signal::TERM);
        assert_eq!(head.status(), 200);
        assert_eq!(client.exactly(content.len()), content);
        client.expect_end();
        assert_eq!(proxy.wait(SOON).code(), Some(0));
    });
}

#[test]
fn requests_that_wait_behind_one_in_flight_are_answered_or_refused_by_a_close() {
    on_each_driver(|driver| {
        let origin = slow_or_not();
        let mut proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(get("/slow") + &get("/behind"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.signal(Signal::TERM);
        let response = client.response();
        assert_eq!(response.text(), "/slow");
        if !response.says_close() {
            assert!(client.response().says_close());
        }
        client.expect_end();
        assert_eq!(proxy.wait(SOON).code(), Some(0));
    });
}

#[test]
fn no_connection_is_taken_after_the_signal() {
    on_each_driver(|driver| {
        let origin = slow_or_not();
        let mut proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send(get("/slow"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.signal(Signal::TERM);
        eventually("connections are refused", || TcpStream::connect(proxy.address()).is_err());
        assert_eq!(client.response().text(), "/slow");
        assert_eq!(proxy.wait(SOON).code(), Some(0));
    });
}

#[test]
fn draining_has_a_limit() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.request();
            peer.hang();
        });
        let mut proxy = Proxy::with(driver, &origin, &["--drain-timeout", "700ms"]);
        let mut client = proxy.client();
        client.send(get("/"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        let started = Instant::now();
        proxy.signal(Signal::TERM);
        proxy.wait(SOON + ms(700));
        assert_limit(started, ms(700));
        client.expect_end();
        eventually("what was cut is said", || proxy.stderr().contains("1 connection"));
    });
}

#[test]
fn a_second_signal_ends_the_proxy_at_once() {
    on_each_driver(|driver| {
        for second in [Signal::TERM, Signal::INT] {
            let origin = Origin::start(|peer| {
                peer.request();
                peer.hang();
            });
            let mut proxy = Proxy::to(driver, &origin);
            let mut client = proxy.client();
            client.send(get("/"));
            eventually("the request is in flight", || origin.requests().len() == 1);
            proxy.signal(Signal::TERM);
            eventually("it drains", || proxy.stderr().contains("stopping"));
            proxy.signal(second);
            assert_eq!(proxy.wait(SOON).code(), Some(1));
            client.expect_end();
        }
    });
}

#[test]
fn a_tunnel_does_not_hold_the_end_up_for_longer_than_the_drain() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
                peer.until_end();
            }
        });
        let mut proxy = Proxy::with(driver, &origin, &["--drain-timeout", "500ms"]);
        let mut client = proxy.client();
        client.send(get_with("/", "Connection: upgrade\r\nUpgrade: x\r\n"));
        assert_eq!(client.head().status(), 101);
        proxy.signal(Signal::TERM);
        proxy.wait(SOON);
        client.expect_end();
    });
}

#[test]
fn connections_that_rest_are_served_again() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut clients: Vec<Client> = (0..200).map(|_| proxy.client()).collect();
        for client in clients.iter_mut().step_by(2) {
            client.ask(get("/first"));
        }
        for round in 0..2 {
            thread::sleep(ms(1600));
            for (number, client) in clients.iter_mut().enumerate() {
                match number % 4 {
                    0 => assert_eq!(client.ask(get("/again")).text(), "/again "),
                    1 => assert_eq!(client.ask(post("/again", b"content")).text(), "/again content"),
                    2 => {
                        client.send(get("/a") + &get("/b") + &get("/c"));
                        for target in ["/a ", "/b ", "/c "] {
                            assert_eq!(client.response().text(), target);
                        }
                    }
                    _ => {
                        client.send_bytewise(get("/slowly"));
                        assert_eq!(client.response().text(), "/slowly ", "round {round}");
                    }
                }
            }
        }
    });
}

#[test]
fn connections_that_rest_may_leave() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let before = proxy.descriptors_at_rest();
        let mut clients: Vec<Client> = (0..100).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.ask(get("/"));
        }
        thread::sleep(ms(1600));
        assert!(proxy.descriptors() >= before + 90);
        for (number, client) in clients.into_iter().enumerate() {
            match number % 3 {
                0 => drop(client),
                1 => client.reset(),
                _ => {
                    client.finish();
                    let mut client = client;
                    client.expect_end();
                }
            }
        }
        eventually("their descriptors are free", || proxy.descriptors() <= before + origin.open());
        assert_eq!(proxy.get("/").text(), "/ ");
    });
}

#[test]
fn a_shortage_of_descriptors_passes() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        // A few connections there may always be, also where there are no descriptors for them.
        let rest = Setup::new(driver).origin(&origin).start().descriptors_at_rest();
        let setup = Setup::new(driver).origin(&origin).descriptors_max(u32::try_from(rest + 10).unwrap());
        let proxy = setup.args(&["--head-timeout", "60s"]).start();
        assert_eq!(proxy.get("/before").text(), "/before ");
        let mut clients: Vec<Client> = (0..60).map(|_| proxy.client()).collect();
        // Those that are idle would make room.
        clients.iter_mut().for_each(|client| client.send("GET /in HTTP/1.1\r\n"));
        eventually("the shortage is told", || proxy.stderr().contains("cannot accept"));
        // Those who are in can be served, as far as there is something to serve them with.
        assert!([200, 503].contains(&clients.remove(0).ask("Host: a\r\n\r\n").status()));
        thread::sleep(ms(300));
        clients.truncate(2);
        eventually("new clients are served", || {
            let mut client = proxy.client();
            client.send(get("/after"));
            client.response().status() == 200
        });
        for client in &mut clients {
            assert_eq!(client.ask("Host: a\r\n\r\n").text(), "/in ");
        }
        let told = proxy.stderr().matches("cannot accept").count();
        assert!(told < 20, "told {told} times");
    });
}

#[test]
fn many_connections_come_and_go() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        thread::scope(|scope| {
            for number in 0..4 {
                let proxy = &proxy;
                scope.spawn(move || {
                    for count in 0..150 {
                        let target = format!("/{number}/{count}");
                        match count % 5 {
                            0 => drop(proxy.client()),
                            1 => {
                                let mut client = proxy.client();
                                client.send("GET /ha");
                                client.reset();
                            }
                            2 => {
                                let mut client = proxy.client();
                                client.send(get(&target));
                                client.reset();
                            }
                            _ => assert_eq!(proxy.get(&target).text(), format!("{target} ")),
                        }
                    }
                });
            }
        });
        assert_eq!(proxy.get("/end").text(), "/end ");
    });
}

#[test]
fn an_origin_that_is_down_at_the_start_is_no_error() {
    on_each_driver(|driver| {
        let (address, _held) = crate::support::proxy::refusing_port();
        let mut proxy = Setup::new(driver).args(&["--origin", &format!("http://{address}")]).start();
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait(SOON).code(), Some(0));
    });
}

#[test]
fn an_upload_in_progress_at_the_signal_is_finished() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let mut proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
        eventually("the head reaches the origin", || origin.connections() == 1);
        proxy.signal(Signal::TERM);
        thread::sleep(ms(300));
        client.send("world");
        let response = client.response();
        assert_eq!(response.text(), "/ helloworld");
        assert!(response.says_close());
        client.expect_end();
        assert_eq!(proxy.wait(SOON).code(), Some(0));
    });
}

#[test]
fn each_worker_is_pinned_to_a_core_of_its_own() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let cores = thread::available_parallelism().unwrap().get().min(2);
        let proxy = Setup::new(driver).cores(cores).origin(&origin).start();
        assert_eq!(proxy.get("/").status(), 200);
        let mut pinned = proxy.cores_of_workers();
        assert_eq!(pinned.len(), cores);
        assert!(pinned.iter().all(|core| core.parse::<usize>().is_ok()), "{pinned:?}");
        pinned.dedup();
        assert_eq!(pinned.len(), cores, "two workers share a core");
    });
}
