//! How many connections clients may have at a listener, and how fast new ones may come: counted over all workers, and
//! given back whatever ends a connection.

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use crate::support::cache::status;
use crate::support::live::Live;
use crate::support::{Client, Driver, Origin, Proxy, Setup, eventually, get, ms, on_each_driver, post};

/// A file whose listener has these lines.
fn text(origin: &Origin, lines: &str) -> String {
    format!(
        "origin = ['{}']\nfirst-byte-timeout = '10s'\n[listener.web]\naddress = '127.0.0.1:0'\n{lines}",
        origin.url()
    )
}

/// So many workers with that file.
fn start(driver: Driver, cores: usize, origin: &Origin, lines: &str) -> Proxy {
    Setup::new(driver).cores(cores).admin().listening_file(&text(origin, lines)).start()
}

/// A client that comes from another address of this machine.
fn from(proxy: &Proxy, last: u8) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
    socket.connect(&proxy.address().into()).unwrap();
    Client::over(socket.into())
}

/// Whether a client is served; one that is not is told why.
fn is_served(client: &mut Client) -> bool {
    // Whoever is turned away may not get as far as asking.
    client.try_send(get("/"));
    let Ok(response) = client.try_response_to("GET") else { return false };
    if response.status() == 200 {
        return true;
    }
    assert_eq!(
        (response.status(), response.field("Retry-After"), response.says_close()),
        (503, Some("5"), true)
    );
    false
}

/// A number of the status.
fn number(proxy: &Proxy, part: &str, name: &str) -> u64 {
    status(proxy)[part][name].as_u64().unwrap()
}

/// Connections that are open, on all workers. Each says how many it has when it is asked: while some come or go, that
/// need not be what all had together at any moment.
fn open(proxy: &Proxy) -> u64 {
    let mut open = 0;
    eventually("they are counted alike", || {
        let status = status(proxy);
        let workers = status["workers"].as_array().unwrap();
        open = workers.iter().map(|worker| worker["connections"].as_u64().unwrap()).sum();
        status["pressure"]["connections"] == open
    });
    open
}

#[test]
fn a_listener_has_exactly_as_many_connections_as_it_may_over_all_workers() {
    on_each_driver(|driver| {
        for cores in [1, 2, 4] {
            let origin = Origin::echo();
            let proxy = start(driver, cores, &origin, "max-connections = 40\n");
            let mut clients: Vec<Client> = (0..100).map(|_| proxy.client()).collect();
            let mut served: Vec<bool> = clients.iter_mut().map(is_served).collect();
            assert_eq!(served.iter().filter(|served| **served).count(), 40, "on {cores}");
            eventually("the others have left", || open(&proxy) == 40);
            assert_eq!(number(&proxy, "turned_away", "listener"), 60);
            // Who leaves makes room, and nobody else does.
            for (client, served) in clients.drain(..).zip(served.drain(..)) {
                if served && client.stream().local_addr().unwrap().port() % 2 == 0 {
                    drop(client);
                } else if served {
                    client.reset();
                }
            }
            eventually("all have left", || open(&proxy) == 0);
            let mut clients: Vec<Client> = (0..60).map(|_| proxy.client()).collect();
            assert_eq!(clients.iter_mut().map(is_served).filter(|served| *served).count(), 40, "on {cores}");
        }
    });
}

#[test]
fn each_client_has_exactly_as_many_as_it_may_however_many_others_there_are() {
    on_each_driver(|driver| {
        for cores in [1, 4] {
            let origin = Origin::echo();
            let proxy = start(driver, cores, &origin, "max-client-connections = 3\n");
            let mut all: Vec<(u8, Client, bool)> = Vec::new();
            thread::scope(|scope| {
                let proxy = &proxy;
                let coming: Vec<_> = (1..=20_u8)
                    .map(|last| {
                        scope.spawn(move || {
                            let mut clients: Vec<Client> = (0..6).map(|_| from(proxy, last)).collect();
                            let served: Vec<bool> = clients.iter_mut().map(is_served).collect();
                            (last, clients, served)
                        })
                    })
                    .collect();
                for come in coming {
                    let (last, clients, served) = come.join().unwrap();
                    assert_eq!(served.iter().filter(|served| **served).count(), 3, "127.0.0.{last}");
                    all.extend(
                        clients.into_iter().zip(served).map(|(client, served)| (last, client, served)),
                    );
                }
            });
            eventually("the others have left", || open(&proxy) == 60);
            assert_eq!(number(&proxy, "turned_away", "client"), 60);
            // They count also while they are parked, and after they have come back.
            thread::sleep(ms(1500));
            assert!(!is_served(&mut from(&proxy, 1)));
            for (_, client, _) in all.iter_mut().filter(|(.., served)| *served) {
                assert!(is_served(client));
            }
            assert!(!is_served(&mut from(&proxy, 1)));
            all.retain(|(last, ..)| *last != 1);
            eventually("one has left", || open(&proxy) == 57);
            assert!(is_served(&mut from(&proxy, 1)));
        }
    });
}

/// Ways in which a connection ends.
const ENDS: [fn(&Proxy); 9] = [
    |proxy| drop(proxy.client()),
    |proxy| proxy.client().reset(),
    |proxy| drop(proxy.client().ask(get("/"))),
    |proxy| assert_eq!(proxy.client().ask("nonsense\r\n\r\n").status(), 400),
    |proxy| proxy.client().send("GET / HT"),
    |proxy| {
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello");
        thread::sleep(ms(20));
        client.reset();
    },
    |proxy| {
        let mut client = proxy.client();
        client.send(get("/hang"));
        thread::sleep(ms(20));
        drop(client);
    },
    // Parked, and then closed by either side.
    |proxy| {
        let mut client = proxy.client();
        client.ask(get("/"));
        thread::sleep(ms(1300));
    },
    |proxy| {
        let mut client = proxy.client();
        client.ask(post("/", b"x"));
        client.expect_end();
    },
];

#[test]
fn whatever_ends_a_connection_it_is_counted_no_more() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/hang" {
                    return peer.hang();
                }
                peer.send(crate::support::ok("x"));
            }
        });
        let lines = "max-connections = 30\nmax-client-connections = 30\nkeep-alive-timeout = '2s'\nhead-timeout = '1s'\n\
                     connection-rate = '10000/s'\nclient-connection-rate = '10000/s'\n";
        let proxy = start(driver, 2, &origin, lines);
        thread::scope(|scope| {
            let proxy = &proxy;
            for _ in 0..2 {
                scope.spawn(move || ENDS.iter().for_each(|end| end(proxy)));
            }
        });
        eventually("all have left", || open(&proxy) == 0);
        assert_eq!(number(&proxy, "pressure", "connections"), 0);
        // All of it is there again, for the listener and for the client.
        let mut clients: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
        assert_eq!(clients.iter_mut().map(is_served).filter(|served| *served).count(), 30);
    });
}

#[test]
fn who_is_made_to_wait_is_counted_all_the_while_and_no_longer() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\nmax-client-connections = 3\nrules = 'mine'\n\
             [[rule-set.mine.rule]]\nid = 'pit'\npath = '/pit'\ntarpit = '5s'\n\
             [rate.slow]\nrate = '30/m'\nburst = 1\ndelay = '30s'\n{}\
             [[route]]\npath = '/late'\nupstream = 'app'\nrate = 'slow'\n\
             [[route]]\nupstream = 'app'\nbuffer-request = true\n",
            crate::support::live::upstream("app", &origin)
        );
        let proxy = Setup::new(driver).cores(4).admin().listening_file(&text).start();
        assert_eq!(proxy.client().ask(get("/late")).status(), 200);
        eventually("it has left", || open(&proxy) == 0);
        let content = post("/held", b"abc");
        let waiting =
            [get("/pit").into_bytes(), get("/late").into_bytes(), content[..content.len() - 1].to_vec()];
        let mut clients: Vec<Client> = waiting.iter().map(|_| proxy.client()).collect();
        for (client, bytes) in clients.iter_mut().zip(&waiting) {
            client.send(bytes);
        }
        eventually("they are there", || open(&proxy) == 3);
        assert!(!is_served(&mut proxy.client()));
        // The first is closed when it has waited, the others leave.
        clients[0].expect_end();
        let mut another = proxy.client();
        assert!(is_served(&mut another) && !is_served(&mut proxy.client()));
        drop((clients, another));
        eventually("all have left", || open(&proxy) == 0 && number(&proxy, "pressure", "connections") == 0);
        let mut clients: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
        assert_eq!(clients.iter_mut().map(is_served).filter(|served| *served).count(), 3);
    });
}

#[test]
fn new_connections_come_as_fast_as_they_may_and_no_faster() {
    on_each_driver(|driver| {
        for cores in [1, 2, 4] {
            let origin = Origin::echo();
            let lines = "connection-rate = '100/m'\nconnection-burst = 25\n";
            let proxy = start(driver, cores, &origin, lines);
            let started = Instant::now();
            let served = (0..80).filter(|_| is_served(&mut proxy.client())).map(|_| 1_u64).sum::<u64>();
            let more = started.elapsed().as_secs() * 100 / 60 + 2;
            assert!((25..=25 + more).contains(&served), "{served} on {cores}");
            assert_eq!(number(&proxy, "turned_away", "rate"), 80 - served);
        }
    });
}

#[test]
fn each_client_has_a_rate_of_its_own() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let lines = "client-connection-rate = '10/m'\nclient-connection-burst = 4\n";
        let proxy = start(driver, 2, &origin, lines);
        for last in [1, 2, 3] {
            let served = (0..12).filter(|_| is_served(&mut from(&proxy, last))).count();
            assert!((4..=6).contains(&served), "{served}");
        }
        let refused = number(&proxy, "turned_away", "client_rate");
        assert!((18..=24).contains(&refused), "{refused}");
    });
}

#[test]
fn a_flood_of_new_connections_is_turned_away_without_hurting_who_is_there() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let lines = "client-connection-rate = '20/s'\nmax-client-connections = 30\n";
        let proxy = start(driver, 2, &origin, lines);
        let mut good = from(&proxy, 9);
        assert!(is_served(&mut good));
        thread::scope(|scope| {
            let proxy = &proxy;
            for _ in 0..2 {
                scope.spawn(move || {
                    for _ in 0..1500 {
                        let mut stream = std::net::TcpStream::connect(proxy.address()).unwrap();
                        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    }
                });
            }
            for _ in 0..50 {
                assert!(is_served(&mut good));
                thread::sleep(ms(10));
            }
        });
        // The last of them may still be on their way in.
        eventually("most are turned away", || number(&proxy, "turned_away", "client_rate") > 2000);
        drop(good);
        eventually("all have left", || open(&proxy) == 0);
    });
}

#[test]
fn with_the_proxy_protocol_it_is_whom_the_header_names_that_is_counted() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let lines = "max-client-connections = 2\nproxy-protocol = '127.0.0.0/8'\nclient-v6-prefix = 56\n";
        let proxy = start(driver, 2, &origin, lines);
        let come = |source: &str, kind: &str| {
            let mut client = proxy.client();
            let to = if kind == "TCP4" { "198.51.100.1" } else { "::1" };
            client.send(format!("PROXY {kind} {source} {to} 4711 80\r\n"));
            client
        };
        let mut kept = Vec::new();
        for (kind, sources) in [
            ("TCP4", ["192.0.2.7", "192.0.2.7", "192.0.2.7"]),
            ("TCP4", ["192.0.2.8", "192.0.2.8", "192.0.2.8"]),
            // One client has all of a network.
            ("TCP6", ["2001:db8::1", "2001:db8:0:1::2", "2001:db8:0:ff::3"]),
        ] {
            let mut clients = sources.map(|source| come(source, kind));
            // Which of them comes first is up to the workers.
            let served = clients.iter_mut().map(is_served).filter(|served| *served).count();
            assert_eq!(served, 2, "{sources:?}");
            kept.push(clients);
        }
        assert!(is_served(&mut come("2001:db8:0:100::1", "TCP6")), "the next network");
        // Who is introduced by nobody speaks for himself, and balancers ask whether the proxy is well.
        for _ in 0..5 {
            let mut client = proxy.client();
            client.send("PROXY UNKNOWN\r\n");
            assert!(is_served(&mut client));
        }
        kept.clear();
        eventually("all have left", || open(&proxy) == 0);
        assert!(is_served(&mut come("192.0.2.7", "TCP4")));
    });
}

#[test]
fn proxies_that_are_trusted_speak_for_many_and_are_not_counted_as_clients() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let lines =
            "max-client-connections = 1\nclient-connection-rate = '1/h'\ntrusted-proxy = '127.0.0.2'\n";
        let proxy = start(driver, 1, &origin, lines);
        let mut trusted: Vec<Client> = (0..10).map(|_| from(&proxy, 2)).collect();
        assert!(trusted.iter_mut().all(is_served));
        assert!(is_served(&mut from(&proxy, 3)));
        assert!(!is_served(&mut from(&proxy, 3)));
    });
}

#[test]
fn what_is_turned_away_is_counted_and_not_logged() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = text(&origin, "max-connections = 1\n");
        let proxy = Setup::new(driver).admin().listening_file(&text).args(&["--access-log", "json"]).start();
        let mut client = proxy.client();
        assert!(is_served(&mut client));
        for _ in 0..100 {
            assert!(!is_served(&mut proxy.client()));
        }
        assert!(is_served(&mut client));
        assert_eq!(number(&proxy, "turned_away", "listener"), 100);
        eventually("both are logged", || proxy.stdout().lines().count() >= 2);
        assert_eq!(proxy.stdout().lines().count(), 2);
    });
}

#[test]
fn counts_outlive_reloads_and_limits_change_with_them() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let file = |most: usize| {
            format!(
                "origin = ['{}']\n[listener.web]\naddress = '127.0.0.1:0'\nmax-connections = {most}\nmax-client-connections = {most}\n",
                origin.url()
            )
        };
        let live = Live::listening(driver, 2, &file(5));
        let mut clients: Vec<Client> = (0..5).map(|_| live.client()).collect();
        assert!(clients.iter_mut().all(is_served));
        live.apply(&file(8));
        let mut more: Vec<Client> = (0..5).map(|_| live.client()).collect();
        assert_eq!(more.iter_mut().map(is_served).filter(|served| *served).count(), 3);
        live.apply(&file(2));
        assert!(!is_served(&mut live.client()));
        // Those that are there stay.
        assert!(clients.iter_mut().all(is_served));
        drop(more);
        clients.truncate(2);
        eventually("some have left", || open(&live) == 2);
        assert!(!is_served(&mut live.client()));
        clients.truncate(1);
        eventually("one more has left", || open(&live) == 1);
        assert!(is_served(&mut live.client()));
        // A limit that goes and comes back begins anew where it has to, and loses none.
        let mut origin_only = file(2).lines().take(3).collect::<Vec<_>>().join("\n");
        origin_only.push('\n');
        live.apply(&origin_only);
        let mut many: Vec<Client> = (0..20).map(|_| live.client()).collect();
        assert!(many.iter_mut().all(is_served));
        live.apply(&file(3));
        drop((many, clients));
        eventually("all have left", || open(&live) == 0);
        let mut clients: Vec<Client> = (0..6).map(|_| live.client()).collect();
        assert_eq!(clients.iter_mut().map(is_served).filter(|served| *served).count(), 3);
    });
}
