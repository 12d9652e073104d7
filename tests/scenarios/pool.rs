//! Connections to origins: kept, used again, given up, and never a request sent twice that must not be.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use crate::support::origin::Peer;
use crate::support::proxy::refusing_port;
use crate::support::{
    Client, Origin, Proxy, Setup, assert_limit, eventually, get, ms, ok, on_each_driver, post,
    post_chunked_head,
};

#[test]
fn one_connection_serves_one_request_after_another() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        for count in 0..20 {
            assert_eq!(proxy.get(&format!("/{count}")).text(), format!("/{count} "));
            let chunked = post_chunked_head("/", "") + "2\r\nhi\r\n0\r\n\r\n";
            assert_eq!(proxy.ask(chunked).text(), "/ hi");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn requests_at_the_same_time_have_connections_of_their_own() {
    on_each_driver(|driver| {
        let all_there = Arc::new(Barrier::new(8));
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/together" {
                    all_there.wait();
                }
                peer.send(ok(""));
            }
        });
        // With a cache, one of them would fetch for all.
        let proxy = Proxy::with(driver, &origin, &["--no-cache"]);
        let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send(get("/together"));
        }
        for client in &mut clients {
            assert_eq!(client.response().status(), 200);
        }
        assert_eq!(origin.connections(), 8);
        for _ in 0..20 {
            proxy.get("/");
        }
        assert_eq!(origin.connections(), 8);
    });
}

#[test]
fn the_connection_used_last_is_used_first() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/slow" {
                    peer.sleep(ms(400));
                }
                peer.send(ok(""));
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut slow = proxy.client();
        slow.send(get("/slow"));
        eventually("the slow request is there", || origin.requests().len() == 1);
        proxy.get("/fast");
        slow.response();
        let last = origin.requests().iter().find(|request| request.target() == "/slow").unwrap().connection;
        for _ in 0..5 {
            proxy.get("/after");
        }
        let after: Vec<_> =
            origin.requests().into_iter().filter(|request| request.target() == "/after").collect();
        assert!(after.iter().all(|request| request.connection == last), "{after:?}");
    });
}

#[test]
fn a_connection_whose_origin_says_close_is_not_used_again() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
                // It says so, and takes its time.
                peer.until_end();
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for _ in 0..3 {
            let response = client.ask(get("/"));
            assert!(!response.says_close(), "the origin's close is not the client's");
        }
        assert_eq!(origin.connections(), 3);
        eventually("the proxy closes them too", || origin.open() == 0);
    });
}

#[test]
fn a_connection_that_the_origin_closed_while_idle_costs_nobody_an_error() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(ok("hello"));
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for count in 0..20 {
            if count % 4 == 0 {
                // At other times the close may still be on its way.
                eventually("the origin has closed", || origin.open() == 0);
                thread::sleep(ms(10));
                assert_eq!(client.ask(post("/", b"x")).text(), "hello");
            } else {
                assert_eq!(client.ask(get("/")).text(), "hello");
            }
        }
        assert_eq!(origin.requests().len(), 20);
    });
}

/// An origin that answers the first request on its first connection, and closes or resets that
/// connection once it has read the second.
fn closing_on_the_second(how: fn(&mut Peer)) -> Origin {
    Origin::start(move |peer| {
        let first = peer.index == 0;
        while let Some(request) = peer.request() {
            if first && request.target() == "/second" {
                return how(peer);
            }
            peer.send(ok(request.target()));
        }
    })
}

#[test]
fn a_get_that_met_a_closing_connection_is_sent_again() {
    on_each_driver(|driver| {
        for how in [|_: &mut Peer| {}, Peer::reset as fn(&mut Peer)] {
            for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
                let origin = closing_on_the_second(how);
                let proxy = Proxy::to(driver, &origin);
                let mut client = proxy.client();
                client.ask(get("/first"));
                let request = format!("{method} /second HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
                assert_eq!(client.ask(request).text(), "/second", "{method}");
                let requests = origin.requests();
                assert_eq!(requests.len(), 3);
                assert_eq!((requests[1].body(), requests[2].body()), (&b"hi"[..], &b"hi"[..]));
            }
        }
    });
}

#[test]
fn a_post_is_never_sent_twice() {
    on_each_driver(|driver| {
        for how in [|_: &mut Peer| {}, Peer::reset as fn(&mut Peer)] {
            for method in ["POST", "PATCH", "BREW"] {
                let origin = closing_on_the_second(how);
                let proxy = Proxy::to(driver, &origin);
                let mut client = proxy.client();
                client.ask(get("/first"));
                let response = client
                    .ask(format!("{method} /second HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"));
                assert_eq!(response.status(), 502, "{method}");
                assert_eq!(origin.requests().len(), 2, "{method} was sent again");
                assert_eq!(client.ask(get("/third")).text(), "/third");
            }
        }
    });
}

#[test]
fn a_request_that_was_answered_in_part_is_not_sent_again() {
    on_each_driver(|driver| {
        let origin = closing_on_the_second(|peer| {
            peer.send("H");
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.ask(get("/first"));
        assert_eq!(client.ask(get("/second")).status(), 502);
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn retries_have_a_bound() {
    on_each_driver(|driver| {
        for (retries, expected) in [("0", 502), ("1", 200)] {
            let origin = closing_on_the_second(|_| {});
            let proxy = Proxy::with(driver, &origin, &["--retries", retries]);
            let mut client = proxy.client();
            client.ask(get("/first"));
            assert_eq!(client.ask(get("/second")).status(), expected);
        }
    });
}

/// Listens on an address that was in use a moment ago.
fn listen_again(address: SocketAddr) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

#[test]
fn an_origin_may_be_restarted_between_two_requests() {
    on_each_driver(|driver| {
        let serve = |peer: &mut Peer| {
            while peer.request().is_some() {
                peer.send(ok("hello"));
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let first = Origin::start(move |peer| {
            while peer.request().is_some() {
                peer.send(ok("hello"));
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let address = first.address();
        let proxy = Proxy::to(driver, &first);
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/")).text(), "hello");
        stop.store(true, Ordering::SeqCst);
        assert_eq!(client.ask(get("/")).text(), "hello");
        eventually("the connection ends", || first.open() == 0);
        drop(first);
        assert_eq!(client.ask(get("/")).status(), 502);
        let second = Origin::start_on(listen_again(address), serve);
        for _ in 0..5 {
            assert_eq!(client.ask(post("/", b"x")).text(), "hello");
        }
        drop(proxy);
        drop(second);
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_limit() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--pool-timeout", "1s"]);
        proxy.get("/");
        let idle = Instant::now();
        eventually("the idle connection is closed", || origin.open() == 0);
        assert_limit(idle, ms(950));
        proxy.get("/");
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn no_more_connections_than_the_limit_are_kept() {
    on_each_driver(|driver| {
        let all_there = Arc::new(Barrier::new(6));
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                all_there.wait();
                peer.send(ok(""));
            }
        });
        let proxy = Proxy::with(driver, &origin, &["--no-cache", "--pool-size", "2"]);
        let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send(get("/"));
        }
        for client in &mut clients {
            client.response();
        }
        eventually("the others are closed", || origin.open() == 2);
        thread::sleep(ms(200));
        assert_eq!(origin.open(), 2);
    });
}

#[test]
fn origins_take_turns() {
    on_each_driver(|driver| {
        let origins = [Origin::echo(), Origin::echo(), Origin::echo()];
        let proxy = origins.iter().fold(Setup::new(driver), Setup::origin).start();
        let mut client = proxy.client();
        for _ in 0..30 {
            client.ask(get("/"));
        }
        for origin in &origins {
            assert_eq!((origin.requests().len(), origin.connections()), (10, 1));
        }
    });
}

#[test]
fn an_origin_that_is_down_costs_nobody_an_error_while_another_is_up() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let (down, _held) = refusing_port();
        let down = format!("http://{down}");
        for setup in [
            Setup::new(driver).args(&["--origin", &down]).origin(&origin),
            Setup::new(driver).origin(&origin).args(&["--origin", &down]),
        ] {
            let proxy = setup.start();
            let mut client = proxy.client();
            for count in 0..20 {
                let request = if count % 2 == 0 { get("/").into_bytes() } else { post("/", b"x") };
                assert_eq!(client.ask(request).status(), 200);
            }
        }
    });
}

#[test]
fn an_origin_that_is_down_costs_no_error_to_many_clients_at_once_either() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let (down, _held) = refusing_port();
        let down = format!("http://{down}");
        // Without a pool each request has to find the origin that is up.
        let proxy = Setup::new(driver).args(&["--origin", &down, "--pool-size", "0"]).origin(&origin).start();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    for _ in 0..50 {
                        assert_eq!(client.ask(get("/")).status(), 200);
                    }
                });
            }
        });
    });
}

#[test]
fn an_upload_in_progress_goes_to_the_origin_that_is_up() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let (down, _held) = refusing_port();
        let proxy = Setup::new(driver).args(&["--origin", &format!("http://{down}")]).origin(&origin).start();
        for _ in 0..4 {
            let mut client = proxy.client();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
            thread::sleep(ms(50));
            client.send("world");
            assert_eq!(client.response().text(), "/ helloworld");
        }
    });
}

#[test]
fn workers_on_several_cores_serve_alike() {
    on_each_driver(|driver| {
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            println!("left out: there is one core");
            return;
        }
        let origins = [Origin::echo(), Origin::echo()];
        let proxy = origins.iter().fold(Setup::new(driver).cores(2), Setup::origin).start();
        thread::scope(|scope| {
            for number in 0..8 {
                let proxy = &proxy;
                scope.spawn(move || {
                    for count in 0..20 {
                        let target = format!("/{number}/{count}");
                        assert_eq!(proxy.get(&target).text(), format!("{target} "));
                    }
                });
            }
        });
        let counts = origins.each_ref().map(|origin| origin.requests().len());
        assert_eq!(counts.iter().sum::<usize>(), 160);
        assert!(counts.iter().all(|&count| count > 40), "{counts:?}");
    });
}
