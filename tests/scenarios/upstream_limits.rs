//! Limits of what is open and in flight at an endpoint, over all workers; who waits for room, and how connections that
//! speak for a client are kept apart.

use std::net::{Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Instant;

use crate::support::cache::{clients, clients_of_every_worker};
use crate::support::live::Live;
use crate::support::origin::Peer;
use crate::support::proxy::deaf_port;
use crate::support::upstreams::{Busy, Fleet, JSON, app, expect_rest, reason, refusing, waiting};
use crate::support::{
    Client, Driver, Gate, Origin, PATIENCE, Proxy, Setup, assert_limit, chunk, eventually, get, get_with, ms,
    noise, ok, on_each_driver, place, post,
};

fn start(driver: Driver, cores: usize, text: &str) -> Proxy {
    Setup::new(driver).cores(cores).admin().file(text).start()
}

/// A proxy in front of one endpoint with these lines.
fn before(driver: Driver, cores: usize, origin: &Origin, lines: &str) -> Proxy {
    start(driver, cores, &app(&format!("'{}'", origin.endpoint()), lines))
}

/// An origin that holds each request until the gate was opened as often as requests came before it, and once more; one
/// for `/now` is answered at once.
fn one_by_one(gate: &Gate) -> Origin {
    let gate = gate.clone();
    let order = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |peer| {
        while let Some(request) = peer.request() {
            if request.target() != "/now" {
                gate.pass(order.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1);
            }
            peer.send(ok(request.target()));
        }
    })
}

/// A client that has sent this.
fn sent(proxy: &Proxy, request: impl AsRef<[u8]>) -> Client {
    let mut client = proxy.client();
    client.send(request);
    client
}

/// So many clients, which wait in the order of their targets: the first is at the origin, the others in the queue.
fn queued(proxy: &Proxy, origin: &Origin, count: usize) -> Vec<Client> {
    let before = origin.requests().len();
    let ask = |at: usize| {
        let client = sent(proxy, get(&format!("/{at}")));
        eventually("the request waits", || match at {
            0 => origin.requests().len() == before + 1,
            _ => waiting(proxy) == at as u64,
        });
        client
    };
    (0..count).map(ask).collect()
}

// ---- Requests in flight -------------------------------------------------------------------------------------------

#[test]
fn no_more_requests_are_in_flight_than_may_be_on_all_workers_together() {
    on_each_driver(|driver| {
        for (cores, max) in [(1, 1), (2, 1), (2, 3)] {
            let busy = [Busy::default(), Busy::default()];
            let origins = busy.clone().map(|busy| {
                Origin::start(move |peer| {
                    while let Some(request) = peer.request() {
                        busy.enter();
                        peer.sleep(ms(2));
                        busy.leave();
                        peer.send(ok(request.target()));
                    }
                })
            });
            let [one, other] = origins.each_ref().map(Origin::endpoint);
            let endpoints = format!("'{one}', {{ address = '{other}', max-requests = 2 }}");
            let proxy = start(
                driver,
                cores,
                &app(&endpoints, &format!("max-requests = {max}\nwait-timeout = '20s'")),
            );
            thread::scope(|scope| {
                for number in 0..12 {
                    let proxy = &proxy;
                    scope.spawn(move || {
                        let mut client = proxy.client();
                        for count in 0..20 {
                            let target = format!("/{number}/{count}");
                            let request = match count % 2 {
                                0 => get(&target).into_bytes(),
                                _ => post(&target, b"content"),
                            };
                            assert_eq!(client.ask(request).text(), target);
                        }
                    });
                }
            });
            let most = busy.each_ref().map(Busy::most);
            assert!(most[0] <= max && most[1] <= 2, "{most:?}");
            assert_eq!(origins.each_ref().map(|origin| origin.requests().len()).iter().sum::<usize>(), 240);
            expect_rest(&proxy);
        }
    });
}

#[test]
fn those_who_wait_are_served_in_turn() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let origin = one_by_one(&gate);
        let proxy = before(driver, 1, &origin, "max-requests = 1\nwait-timeout = '30s'");
        for _ in 0..2 {
            let before = origin.requests().len();
            let mut clients = queued(&proxy, &origin, 7);
            // Long enough for whoever looks by himself now and then to have done so.
            thread::sleep(ms(350));
            for (at, client) in clients.iter_mut().enumerate() {
                assert_eq!(origin.requests().len(), before + at + 1, "one at a time");
                let first = origin.requests()[before + at].target().to_owned();
                assert_eq!(first, format!("/{at}"), "out of turn");
                gate.open();
                assert_eq!(client.response().text(), format!("/{at}"));
                eventually("the next one is there", || origin.requests().len() == before + (at + 2).min(7));
                thread::sleep(ms(37));
            }
            let targets: Vec<_> =
                origin.requests()[before..].iter().map(|request| request.target().to_owned()).collect();
            assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4", "/5", "/6"]);
        }
    });
}

#[test]
fn whoever_would_wait_with_too_many_others_is_told_at_once() {
    on_each_driver(|driver| {
        for (cores, most) in [(1, 2), (2, 2), (2, 0)] {
            let gate = Gate::default();
            let origin = one_by_one(&gate);
            let lines = format!("max-requests = 1\nmax-waiting = {most}\nwait-timeout = '1h'");
            let proxy = before(driver, cores, &origin, &lines);
            let mut clients = queued(&proxy, &origin, 1 + most);
            let mut late = proxy.client();
            for _ in 0..10 {
                let refused = late.ask(get_with("/late", JSON));
                assert_eq!((refused.status(), reason(&refused).as_str()), (503, "upstream_full"));
                let why = refused.field("Proxy-Status").unwrap();
                assert!(why.contains("connection_limit_reached"), "{why}");
                assert!(!refused.says_close());
            }
            assert_eq!(waiting(&proxy), most as u64);
            for client in &mut clients {
                gate.open();
                assert_eq!(client.response().status(), 200);
            }
            gate.open();
            assert_eq!(late.ask(get("/after")).text(), "/after");
            assert_eq!(origin.requests().len(), most + 2);
            expect_rest(&proxy);
        }
    });
}

#[test]
fn nobody_waits_for_longer_than_the_limit() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let origin = one_by_one(&gate);
        for lines in ["max-requests = 1", "max-connections = 1"] {
            let before_it = origin.requests().len();
            let proxy = before(driver, 2, &origin, &format!("{lines}\nwait-timeout = '400ms'"));
            let mut first = sent(&proxy, get("/first"));
            eventually("it is there", || origin.requests().len() == before_it + 1);
            let started = Instant::now();
            let mut late: Vec<Client> = (0..4).map(|_| sent(&proxy, get_with("/late", JSON))).collect();
            for client in &mut late {
                let refused = client.response();
                assert_eq!((refused.status(), reason(&refused).as_str()), (503, "upstream_queue_timeout"));
                assert_limit(started, ms(400));
            }
            gate.open();
            assert_eq!(first.response().text(), "/first");
            for client in &mut late {
                assert_eq!(client.ask(get("/now")).text(), "/now");
            }
            assert_eq!(origin.requests().len(), before_it + 5);
            expect_rest(&proxy);
        }
    });
}

#[test]
fn a_request_that_waits_is_whole_when_its_turn_comes() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let origin = one_by_one(&gate);
        let proxy = before(driver, 1, &origin, "max-requests = 1\nwait-timeout = '30s'");
        let mut first = sent(&proxy, get("/first"));
        eventually("it is there", || origin.requests().len() == 1);
        let content = noise(300_000, 1);
        let mut upload = proxy.client();
        let mut sender = upload.sender();
        let request = [post("/upload", &content), get("/now").into_bytes()].concat();
        let sending = thread::spawn(move || sender.try_send(request));
        eventually("it waits", || waiting(&proxy) == 1);
        gate.open();
        gate.open();
        assert_eq!(first.response().text(), "/first");
        assert_eq!(
            (upload.response().text().as_str(), upload.response().text().as_str()),
            ("/upload", "/now")
        );
        assert!(sending.join().unwrap());
        assert_eq!(origin.requests()[1].body(), content);
    });
}

// ---- What gives room back -----------------------------------------------------------------------------------------

/// An endpoint with one slot that does this with a request for `/evil`, and answers any other.
fn evil(how: impl Fn(&mut Peer) + Send + Sync + 'static) -> Origin {
    Origin::start(move |peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/evil" {
                return how(peer);
            }
            peer.send(ok("good"));
        }
    })
}

const ONE_SLOT: &str = "max-requests = 1\nmax-connections = 1\nwait-timeout = '20s'\neject = false\nretries = 0\n\
                        first-byte-timeout = '1s'\nupstream-timeout = '1s'";

#[test]
fn an_exchange_that_fails_makes_room_for_the_next() {
    on_each_driver(|driver| {
        let evils: [fn(&mut Peer); 7] = [
            |_| {},
            Peer::reset,
            |peer| peer.send("garbage\r\n\r\n"),
            Peer::hang,
            |peer| peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
            |peer| {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                peer.hang();
            },
            |peer| {
                peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
                peer.reset();
            },
        ];
        for how in evils {
            let origin = evil(how);
            let proxy = before(driver, 2, &origin, ONE_SLOT);
            for _ in 0..3 {
                let _evil = sent(&proxy, get("/evil"));
                let _also = sent(&proxy, post("/evil", b"x"));
                for _ in 0..3 {
                    assert_eq!(proxy.get("/good").text(), "good");
                }
            }
            expect_rest(&proxy);
        }
    });
}

#[test]
fn a_client_that_leaves_makes_room_for_the_next() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/endless" {
                    peer.send("HTTP/1.1 200 OK\r\n\r\n");
                    while peer.try_send([0; 16 * 1024]) {}
                    return;
                }
                peer.send(ok("good"));
            }
        });
        let lines = "max-requests = 1\nmax-connections = 1\nwait-timeout = '20s'";
        for leave in [drop as fn(Client), Client::reset] {
            let proxy = before(driver, 2, &origin, lines);
            for _ in 0..3 {
                let mut endless = sent(&proxy, get("/endless"));
                assert_eq!(endless.head().status(), 200);
                let mut next = sent(&proxy, get("/next"));
                eventually("the next one waits", || waiting(&proxy) == 1);
                leave(endless);
                assert_eq!(next.response().text(), "good");
            }
            expect_rest(&proxy);
        }
    });
}

#[test]
fn whoever_leaves_while_he_waits_holds_nobody_up() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let origin = one_by_one(&gate);
        let proxy = before(driver, 2, &origin, "max-requests = 1\nwait-timeout = '20s'");
        let mut first = sent(&proxy, get("/first"));
        eventually("it is there", || origin.requests().len() == 1);
        for at in 0..6 {
            let client = sent(&proxy, get("/left"));
            eventually("it waits", || waiting(&proxy) > at / 2);
            match at % 2 {
                0 => drop(client),
                _ => client.reset(),
            }
        }
        let mut last = sent(&proxy, get("/now"));
        // Those who left may still be sent, for some of them were known to be there when they were.
        (0..8).for_each(|_| gate.open());
        assert_eq!(first.response().text(), "/first");
        assert_eq!(last.response().text(), "/now");
        expect_rest(&proxy);
    });
}

#[test]
fn a_response_takes_room_until_its_end_and_a_tunnel_too() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                match request.target() {
                    "/streamed" => {
                        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                        peer.send(chunk(b"first"));
                        held.pass(1);
                        peer.send([chunk(b"last"), b"0\r\n\r\n".to_vec()].concat());
                    }
                    "/tunnel" => {
                        peer.send(
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
                        );
                        return peer.hang();
                    }
                    _ => peer.send(ok("good")),
                }
            }
        });
        let proxy = before(driver, 2, &origin, "max-requests = 1\nwait-timeout = '20s'");
        let mut streamed = sent(&proxy, get("/streamed"));
        assert_eq!((streamed.head().status(), streamed.chunk().as_slice()), (200, &b"first"[..]));
        let mut next = sent(&proxy, get("/next"));
        eventually("it waits", || waiting(&proxy) == 1);
        thread::sleep(ms(250));
        assert_eq!(origin.requests().len(), 1);
        gate.open();
        assert_eq!((streamed.chunk().as_slice(), streamed.chunk().as_slice()), (&b"last"[..], &b""[..]));
        assert_eq!(next.response().text(), "good");
        let mut tunnel = sent(&proxy, get_with("/tunnel", "Connection: upgrade\r\nUpgrade: x\r\n"));
        assert_eq!(tunnel.head().status(), 101);
        let mut next = sent(&proxy, get("/next"));
        eventually("it waits", || waiting(&proxy) == 1);
        thread::sleep(ms(250));
        assert_eq!(origin.requests().len(), 3);
        drop(tunnel);
        assert_eq!(next.response().text(), "good");
        expect_rest(&proxy);
    });
}

#[test]
fn after_hundreds_of_failures_all_room_is_free() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |peer| {
            while let Some(head) = peer.head() {
                let target = head.target().to_owned();
                if target != "/unread" && peer.content(head).is_none() {
                    return;
                }
                match target.as_str() {
                    "/reset" | "/unread" => return peer.reset(),
                    "/close" => return,
                    "/garbage" => return peer.send("garbage\r\n\r\n"),
                    "/half" => return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
                    "/hang" => return peer.hang(),
                    "/busy" => peer.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"),
                    "/held" => {
                        held.pass(1);
                        peer.send(ok("held"));
                    }
                    _ => peer.send(ok("good")),
                }
            }
        });
        let (refused, _held) = refusing();
        let (deaf, _listener, _filling) = deaf_port();
        let endpoints = format!("'{}', '{refused}', '{deaf}'", origin.endpoint());
        let lines = "max-requests = 4\nmax-connections = 4\nmax-waiting = 6\nwait-timeout = '250ms'\neject = false\n\
                     retry-on = ['connect', 'reset', 'timeout', '503']\nretry-budget = '1000%'\nconnect-timeout = '100ms'\n\
                     first-byte-timeout = '200ms'\nupstream-timeout = '200ms'";
        let proxy = start(driver, 2, &app(&endpoints, lines));
        thread::scope(|scope| {
            for number in 0..12 {
                let proxy = &proxy;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number);
                    let started = Instant::now();
                    for _ in 0..40 {
                        let target = random
                            .choice([
                                "/reset", "/unread", "/close", "/garbage", "/half", "/hang", "/busy", "/good",
                            ])
                            .unwrap();
                        let content = vec![b'x'; random.usize(..30_000)];
                        let mut request = match random.u8(..3) {
                            0 => get(target).into_bytes(),
                            1 => post(target, &content),
                            _ => [b"PUT".as_slice(), &post(target, &content)[4..]].concat(),
                        };
                        if random.u8(..5) == 0 {
                            request.truncate(random.usize(1..request.len()));
                        }
                        let mut client = proxy.client();
                        let mut sender = client.sender();
                        sender.send(&request);
                        if random.bool() {
                            client.finish();
                            let _ = client.until_end();
                        }
                        if started.elapsed() > PATIENCE {
                            break;
                        }
                    }
                });
            }
        });
        expect_rest(&proxy);
        drop(proxy);
        // The same endpoint by itself, so that nobody else can take its requests.
        let lines = lines.replace("250ms", "20s").replace("first-byte-timeout = '200ms'", "");
        let proxy = start(driver, 2, &app(&format!("'{}'", origin.endpoint()), &lines));
        for target in ["/reset", "/close", "/garbage", "/half", "/busy"].repeat(40) {
            let mut client = sent(&proxy, get(target));
            let _ = client.try_response_to("GET");
        }
        expect_rest(&proxy);
        let before = origin.requests().len();
        let mut clients: Vec<Client> = (0..4).map(|_| sent(&proxy, get("/held"))).collect();
        eventually("all four are in flight", || origin.requests().len() == before + 4);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.response().text(), "held");
        }
        expect_rest(&proxy);
    });
}

// ---- Connections --------------------------------------------------------------------------------------------------

#[test]
fn no_more_connections_are_open_than_may_be_and_workers_give_theirs_up_for_others() {
    on_each_driver(|driver| {
        for (cores, max) in [(1, 1), (2, 1), (2, 2), (4, 1)] {
            let busy = Busy::default();
            let counted = busy.clone();
            let origin = Origin::start(move |peer| {
                while let Some(request) = peer.request() {
                    counted.enter();
                    peer.sleep(ms(1));
                    counted.leave();
                    peer.send(ok(request.target()));
                }
            });
            let lines = format!("max-connections = {max}\nwait-timeout = '20s'");
            let proxy = before(driver, cores, &origin, &lines);
            // Whoever comes in where no connection waits needs the one of another worker.
            for mut client in clients(&proxy, 3 * cores) {
                for _ in 0..2 {
                    assert_eq!(client.ask(get("/quiet")).text(), "/quiet");
                }
            }
            eventually("no more are open than may be", || origin.open() <= max);
            thread::scope(|scope| {
                for number in 0..8 {
                    let proxy = &proxy;
                    scope.spawn(move || {
                        let mut client = proxy.client();
                        for count in 0..15 {
                            let target = format!("/{number}/{count}");
                            assert_eq!(client.ask(get(&target)).text(), target);
                        }
                    });
                }
            });
            assert!(busy.most() <= max, "{} at once", busy.most());
            eventually("no more are open than may be", || origin.open() <= max);
            expect_rest(&proxy);
        }
    });
}

#[test]
fn a_connection_that_others_wait_for_is_used_again() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let origin = Origin::echo();
            let proxy = before(driver, cores, &origin, "max-connections = 1\nwait-timeout = '20s'");
            let each = clients_of_every_worker(&proxy, 8);
            thread::scope(|scope| {
                for mut client in each {
                    scope.spawn(move || {
                        for _ in 0..10 {
                            assert_eq!(client.ask(get("/x")).text(), "/x ");
                        }
                    });
                }
            });
            assert_eq!(origin.connections(), 1, "with {cores} workers");
        }
    });
}

#[test]
fn a_connection_that_breaks_makes_room_for_another() {
    on_each_driver(|driver| {
        // Each closes after two requests, with or without saying so.
        let origin = Origin::start(|peer| {
            for _ in 0..2 {
                let Some(request) = peer.request() else { return };
                peer.send(ok(request.target()));
            }
        });
        let proxy = before(driver, 2, &origin, "max-connections = 1\nmax-requests = 1\nwait-timeout = '20s'");
        let mut some = clients(&proxy, 6);
        for count in 0..10 {
            for client in &mut some {
                assert_eq!(client.ask(get(&format!("/{count}"))).text(), format!("/{count}"));
            }
        }
        expect_rest(&proxy);
    });
}

// ---- Connections that speak for a client --------------------------------------------------------------------------

/// Reads a header of the PROXY protocol: its source and destination, if it says them.
fn header(peer: &mut Peer) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let start = peer.exactly(12)?;
    if start == b"\r\n\r\n\0\r\nQUIT\n" {
        let fixed = peer.exactly(4)?;
        let rest = peer.exactly(usize::from(u16::from_be_bytes([fixed[2], fixed[3]])))?;
        let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
        let v4 = |at: usize| <[u8; 4]>::try_from(&rest[at..at + 4]).unwrap();
        let v6 = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&rest[at..at + 16]).unwrap());
        return Some(match fixed[1] {
            0x00 => None,
            0x11 => Some(((v4(0), port(8)).into(), (v4(4), port(10)).into())),
            0x21 => Some(((v6(0), port(32)).into(), (v6(16), port(34)).into())),
            family => panic!("{family:x}"),
        });
    }
    let mut line = start;
    while !line.ends_with(b"\r\n") {
        line.append(&mut peer.exactly(1)?);
        assert!(line.len() <= 107, "{line:?}");
    }
    let line = String::from_utf8(line).unwrap();
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    Some(match words[..] {
        ["PROXY", "UNKNOWN"] => None,
        ["PROXY", "TCP4" | "TCP6", from, to, from_port, to_port] => Some((
            SocketAddr::new(from.parse().unwrap(), from_port.parse().unwrap()),
            SocketAddr::new(to.parse().unwrap(), to_port.parse().unwrap()),
        )),
        _ => panic!("{line:?}"),
    })
}

/// An origin that answers with what the header of its connection said, and with what it was asked.
fn introduced() -> Origin {
    Origin::start(|peer| {
        let Some(said) = header(peer) else { return };
        let said = said.map_or("nobody".to_owned(), |(from, to)| format!("{from} {to}"));
        while let Some(request) = peer.request() {
            peer.send(ok(format!("{said} {} {}", request.target(), request.body().len())));
            if request.target() == "/last" {
                return;
            }
        }
    })
}

fn local(client: &Client) -> SocketAddr {
    client.stream().local_addr().unwrap()
}

#[test]
fn an_upstream_hears_once_for_each_connection_whom_it_is_for() {
    on_each_driver(|driver| {
        for version in ["v1", "v2"] {
            for cores in [1, 2] {
                let origin = introduced();
                let proxy = before(driver, cores, &origin, &format!("proxy-protocol = '{version}'"));
                let mut some = clients(&proxy, 5);
                for round in 0..3 {
                    for client in &mut some {
                        let who = format!("{} {}", local(client), proxy.address());
                        assert_eq!(client.ask(get("/a")).text(), format!("{who} /a 0"), "{round}");
                        let content = noise(50_000, 1);
                        assert_eq!(client.ask(post("/b", &content)).text(), format!("{who} /b 50000"));
                        // Two at once.
                        client.send([get("/c"), get("/d")].concat());
                        assert_eq!(client.response().text(), format!("{who} /c 0"));
                        assert_eq!(client.response().text(), format!("{who} /d 0"));
                    }
                }
                assert_eq!(
                    origin.connections(),
                    5,
                    "each is used again for its own client, and for no other"
                );
                let sent = noise(50_000, 1);
                assert!(
                    origin
                        .requests()
                        .iter()
                        .all(|request| request.body().is_empty() || request.body() == sent)
                );
            }
        }
    });
}

#[test]
fn a_stale_connection_is_replaced_by_one_for_the_same_client() {
    on_each_driver(|driver| {
        for version in ["v1", "v2"] {
            let origin = introduced();
            let proxy = before(driver, 1, &origin, &format!("proxy-protocol = '{version}'"));
            let mut some = clients(&proxy, 3);
            for count in 0..4 {
                for client in &mut some {
                    let who = format!("{} {}", local(client), proxy.address());
                    assert_eq!(client.ask(get("/last")).text(), format!("{who} /last 0"));
                    let want = format!("{who} /{count} 1");
                    let put = format!("PUT /{count} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
                    assert_eq!(client.ask(put).text(), want);
                }
            }
        }
    });
}

#[test]
fn whom_a_connection_is_for_may_be_anything_that_can_connect() {
    on_each_driver(|driver| {
        for version in ["v1", "v2"] {
            let origin = introduced();
            let path = place("sock");
            let listener = format!(
                "[listener.web]\naddress = ['127.0.0.1:0', '[::1]:0', 'unix:{}']\n\
                 [listener.behind]\naddress = '127.0.0.1:0'\nproxy-protocol = ['127.0.0.0/8']\n",
                path.display()
            );
            let upstream = app(&format!("'{}'", origin.endpoint()), &format!("proxy-protocol = '{version}'"));
            let text = upstream.replacen("[upstream", &format!("{listener}[upstream"), 1);
            let proxy = Setup::new(driver).admin().listening_file(&text).start();
            let addresses = [proxy.address(), proxy.other_address(), proxy.other_address()];
            for address in addresses {
                let mut client = Client::connect(address);
                let direct = format!("{} {address} /x 0", local(&client));
                if address.is_ipv6() {
                    assert_eq!(client.ask(get("/x")).text(), direct);
                    continue;
                }
                // Only one of the others wants to be told who comes.
                let line = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
                client.send(get("/x"));
                match client.try_response_to("GET") {
                    Ok(response) => assert_eq!(response.text(), direct),
                    Err(_) => {
                        let mut behind = sent_to(address, &[line, &get("/x")].concat());
                        let text = behind.response().text();
                        assert!(text.starts_with("192.0.2.7:4711 ") && text.ends_with(" /x 0"), "{text}");
                    }
                }
            }
            let mut unix = Client::connect_unix(&path);
            assert_eq!(unix.ask(get("/x")).text(), "nobody /x 0");
        }
    });
}

fn sent_to(address: SocketAddr, bytes: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(bytes);
    client
}

#[test]
fn connections_for_others_make_room_where_there_may_be_few() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let origin = introduced();
            let lines = "proxy-protocol = 'v1'\nmax-connections = 1\nwait-timeout = '4s'";
            let proxy = before(driver, cores, &origin, lines);
            let mut some = clients(&proxy, 8);
            for _ in 0..2 {
                for client in &mut some {
                    let who = format!("{} {}", local(client), proxy.address());
                    assert_eq!(client.ask(get("/x")).text(), format!("{who} /x 0"), "{cores} workers");
                }
            }
            eventually("no more are open than may be", || origin.open() <= 1);
            expect_rest(&proxy);
        }
    });
}

#[test]
fn a_connection_of_before_a_reload_is_given_up_for_one_that_speaks_for_a_client() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.index > 0 && header(peer).is_none() {
                return;
            }
            while let Some(request) = peer.request() {
                peer.send(ok(request.target()));
            }
        });
        let text = |lines: &str| {
            app(
                &format!("'{}'", origin.endpoint()),
                &format!("max-connections = 1\nwait-timeout = '4s'{lines}"),
            )
        };
        let live = Live::start(driver, 2, &text(""));
        assert_eq!(live.get("/before").text(), "/before");
        // Whoever had the connection has no use for it, and leaves it to whichever worker has.
        thread::sleep(ms(2_500));
        live.apply(&text("\nproxy-protocol = 'v1'"));
        for _ in 0..6 {
            assert_eq!(live.get("/after").text(), "/after");
        }
        expect_rest(&live);
    });
}

// ---- Options of sockets -------------------------------------------------------------------------------------------

#[test]
fn options_of_connections_are_taken_by_every_kind_of_socket() {
    on_each_driver(|driver| {
        let path = place("sock");
        let unix = Origin::start_unix(&path, |peer| {
            while peer.request().is_some() {
                peer.send(ok("1"));
            }
        });
        let fleet = Fleet::new(1);
        let endpoints = format!("{}'{}'", fleet.endpoints(), unix.endpoint());
        for lines in [
            "tcp-keepalive = '1s'\ntcp-user-timeout = '2s'",
            "tcp-keepalive = 'off'\ntcp-user-timeout = 'off'",
            "tcp-keepalive = '1h'\ntcp-user-timeout = '1h'",
        ] {
            let proxy = start(driver, 2, &app(&endpoints, lines));
            let mut client = proxy.client();
            for _ in 0..10 {
                assert_eq!(client.ask(get("/")).status(), 200, "{lines}");
            }
        }
        assert!(!unix.requests().is_empty() && fleet.asked()[0] > 0);
    });
}
