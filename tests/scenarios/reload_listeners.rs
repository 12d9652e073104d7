//! Listeners come, go and change places while the proxy runs.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use crate::support::live::{Live, free_port, upstream};
use crate::support::{
    Client, Driver, End, Gate, Origin, Proxy, eventually, get, get_with, ms, ok, on_each_driver,
};

/// Runs a scenario on each driver, with one and with four workers.
fn on_some_workers(scenario: impl Fn(Driver, usize) + Sync) {
    on_each_driver(|driver| [1, 4].into_iter().for_each(|cores| scenario(driver, cores)));
}

fn listener(name: &str, address: &str) -> String {
    format!("[listener.{name}]\naddress = '{address}'\n")
}

/// Answers with the name of one of these listeners, or with `other`.
fn by_listener(names: &[&str]) -> String {
    let each = |name: &&str| format!("[[route]]\nlistener = '{name}'\nrespond = '{name}'\n");
    names.iter().map(each).collect::<String>() + "[[route]]\nrespond = 'other'\n"
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn ask(address: SocketAddr) -> String {
    Client::connect(address).ask(get("/")).text()
}

/// Expects an answer, and that the connection goes on.
#[track_caller]
fn assert_goes_on(client: &mut Client, want: &str) {
    let response = client.ask(get("/"));
    assert_eq!(response.text(), want);
    assert!(!response.says_close());
}

/// Expects an answer that is the last one.
#[track_caller]
fn assert_ends(client: &mut Client, want: &str) {
    let response = client.ask(get("/"));
    assert_eq!(response.text(), want);
    assert!(response.says_close());
    assert_eq!(client.expect_end(), End::Closed);
}

/// Nobody was told of anything that went wrong.
fn assert_calm(proxy: &Proxy) {
    let said = proxy.stderr();
    assert!(!said.contains("cannot") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_listener_is_added_and_removed_while_others_go_on() {
    on_some_workers(|driver, cores| {
        let [one, two] = [free_port(), free_port()];
        let web = listener("web", &format!("127.0.0.1:{one}"));
        let more = listener("more", &format!("127.0.0.1:{two}"));
        let alone = web.clone() + "[[route]]\nrespond = 'web'\n";
        let both = format!("{web}{more}{}", by_listener(&["web", "more"]));
        let proxy = Live::listening(driver, cores, &alone);
        let mut stays = Client::connect(loopback(one));
        assert_goes_on(&mut stays, "web");
        let before = proxy.descriptors_at_rest();
        for _ in 0..3 {
            assert!(TcpStream::connect(loopback(two)).is_err());
            proxy.apply(&both);
            let mut clients: Vec<Client> = (0..12).map(|_| Client::connect(loopback(two))).collect();
            clients.iter_mut().for_each(|client| assert_goes_on(client, "more"));
            let mut parked = Client::connect(loopback(two));
            assert_goes_on(&mut parked, "more");
            thread::sleep(ms(1_500));
            assert_goes_on(&mut stays, "web");
            proxy.apply(&alone);
            assert!(TcpStream::connect(loopback(two)).is_err());
            clients.iter_mut().chain([&mut parked]).for_each(|client| assert_ends(client, "more"));
            assert_goes_on(&mut stays, "web");
        }
        drop(stays);
        assert!(proxy.descriptors_at_rest() < before + 1, "{} before", before);
        assert_calm(&proxy);
        proxy.end();
    });
}

#[test]
fn what_is_under_way_on_a_removed_listener_is_finished() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                held.pass(1);
                peer.send(ok("whole"));
            }
        });
        let [one, two] = [free_port(), free_port()];
        let rest = format!("{}[[route]]\nupstream = 'app'\n", upstream("app", &origin));
        let both = listener("web", &format!("127.0.0.1:{one}"))
            + &listener("more", &format!("127.0.0.1:{two}"))
            + &rest;
        let proxy = Live::listening(driver, 2, &both);
        let mut client = Client::connect(loopback(two));
        client.send(get("/"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.apply(&(listener("web", &format!("127.0.0.1:{one}")) + &rest));
        gate.open();
        let response = client.response();
        assert_eq!(response.text(), "whole");
        if !response.says_close() {
            assert_ends(&mut client, "whole");
        }
    });
}

#[test]
fn a_connection_belongs_to_whatever_listener_has_its_address_now() {
    on_some_workers(|driver, cores| {
        let [one, two] = [free_port(), free_port()];
        let at = |port: u16| format!("127.0.0.1:{port}");
        let file = |a: (&str, u16), b: (&str, u16)| {
            listener(a.0, &at(a.1)) + &listener(b.0, &at(b.1)) + &by_listener(&[a.0, b.0])
        };
        let proxy = Live::listening(driver, cores, &file(("a", one), ("b", two)));
        let mut first = Client::connect(loopback(one));
        let mut second = Client::connect(loopback(two));
        assert_goes_on(&mut first, "a");
        assert_goes_on(&mut second, "b");
        let mut parked = Client::connect(loopback(one));
        assert_goes_on(&mut parked, "a");
        thread::sleep(ms(1_500));
        assert_goes_on(&mut first, "a");
        assert_goes_on(&mut second, "b");
        // Renamed.
        proxy.apply(&file(("c", one), ("b", two)));
        for client in [&mut first, &mut parked] {
            assert_goes_on(client, "c");
        }
        assert_goes_on(&mut second, "b");
        assert_eq!((ask(loopback(one)), ask(loopback(two))), ("c".to_owned(), "b".to_owned()));
        // Exchanged.
        proxy.apply(&file(("b", one), ("c", two)));
        for client in [&mut first, &mut parked] {
            assert_goes_on(client, "b");
        }
        assert_goes_on(&mut second, "c");
        assert_eq!((ask(loopback(one)), ask(loopback(two))), ("b".to_owned(), "c".to_owned()));
        assert_calm(&proxy);
    });
}

#[test]
fn connections_stay_while_the_address_of_their_listener_is_widened_and_narrowed() {
    on_some_workers(|driver, cores| {
        let port = free_port();
        let file = |host: &str, word: &str| {
            listener("web", &format!("{host}:{port}")) + &format!("[[route]]\nrespond = '{word}'\n")
        };
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
        let proxy = Live::listening(driver, cores, &file("127.0.0.1", "start"));
        let mut client = Client::connect(loopback(port));
        assert_goes_on(&mut client, "start");
        for round in 0..3 {
            assert!(TcpStream::connect(elsewhere).is_err());
            let word = format!("wide {round}");
            proxy.apply(&file("0.0.0.0", &word));
            let mut other = Client::connect(elsewhere);
            assert_goes_on(&mut client, &word);
            assert_goes_on(&mut other, &word);
            assert_eq!(ask(loopback(port)), word);
            let word = format!("narrow {round}");
            proxy.apply(&file("127.0.0.1", &word));
            assert_goes_on(&mut client, &word);
            assert_goes_on(&mut other, &word);
            assert_eq!(ask(loopback(port)), word);
        }
        assert_calm(&proxy);
    });
}

#[test]
fn nobody_is_refused_while_an_address_is_widened_and_narrowed() {
    on_some_workers(|driver, cores| {
        let port = free_port();
        let file = |host: &str| listener("web", &format!("{host}:{port}")) + "[[route]]\nrespond = 'x'\n";
        let proxy = Live::listening(driver, cores, &file("127.0.0.1"));
        let done = std::sync::atomic::AtomicBool::new(false);
        let is_done = || done.load(std::sync::atomic::Ordering::SeqCst);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut count = 0;
                        while !is_done() {
                            assert_eq!(ask(loopback(port)), "x", "after {count}");
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            for round in 0..40 {
                proxy.apply(&file(if round % 2 == 0 { "0.0.0.0" } else { "127.0.0.1" }));
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
            let counts: Vec<i32> = clients.into_iter().map(|client| client.join().unwrap()).collect();
            assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
        });
        assert_calm(&proxy);
    });
}

#[test]
fn unix_sockets_come_and_go_with_their_files() {
    on_some_workers(|driver, cores| {
        let port = free_port();
        let web = listener("web", &format!("127.0.0.1:{port}"));
        let alone = web.clone() + "[[route]]\nrespond = 'web'\n";
        let proxy = Live::listening(driver, cores, &alone);
        let path = proxy.folder.at("web.sock");
        let both = format!(
            "{web}{}{}",
            listener("local", &format!("unix:{}", path.display())),
            by_listener(&["web", "local"])
        );
        for _ in 0..3 {
            assert!(!path.exists());
            proxy.apply(&both);
            let mut clients: Vec<Client> = (0..12).map(|_| Client::connect_unix(&path)).collect();
            clients.iter_mut().for_each(|client| assert_goes_on(client, "local"));
            // It stays what it is while other things change.
            proxy.apply(&format!("{both}error-page = {{ 404 = {{ body = 'x' }} }}\n"));
            clients.iter_mut().for_each(|client| assert_goes_on(client, "local"));
            assert_goes_on(&mut Client::connect_unix(&path), "local");
            proxy.apply(&alone);
            assert!(!path.exists() && UnixStream::connect(&path).is_err());
            clients.iter_mut().for_each(|client| assert_ends(client, "local"));
        }
        assert_eq!(ask(loopback(port)), "web");
        assert_calm(&proxy);
        proxy.end();
    });
}

#[test]
fn an_address_that_is_taken_leaves_everything_as_it_is() {
    on_some_workers(|driver, cores| {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let [one, two] = [free_port(), free_port()];
        let old = listener("web", &format!("127.0.0.1:{one}")) + "[[route]]\nrespond = 'old'\n";
        let proxy = Live::listening(driver, cores, &old);
        let mut client = Client::connect(loopback(one));
        assert_goes_on(&mut client, "old");
        let before = proxy.descriptors_at_rest();
        let path = proxy.folder.at("web.sock");
        let new = [
            listener("a", &format!("127.0.0.1:{two}")),
            listener("b", &format!("unix:{}", path.display())),
            listener("web", &format!("0.0.0.0:{one}")),
            listener("z", &taken.local_addr().unwrap().to_string()),
            "[[route]]\nrespond = 'new'\n".to_owned(),
        ]
        .concat();
        proxy.write(&new);
        for round in 1..=3 {
            let run = proxy.reload();
            assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{}", run.stderr);
            assert!(run.line().contains("is in use by another process"), "{}", run.stderr);
            assert_eq!(proxy.reloads(), (0, round));
            assert_goes_on(&mut client, "old");
            assert_eq!(ask(loopback(one)), "old");
            assert!(TcpStream::connect(loopback(two)).is_err());
            assert!(TcpStream::connect(SocketAddr::from(([127, 0, 0, 2], one))).is_err());
            assert!(!path.exists());
        }
        eventually("the log says why", || proxy.stderr().contains("is in use by another process"));
        assert!(proxy.descriptors_at_rest() <= before);
        drop(taken);
        proxy.apply(&new);
        assert_goes_on(&mut client, "new");
        assert_eq!((ask(loopback(two)), ask(loopback(one))), ("new".to_owned(), "new".to_owned()));
    });
}

#[test]
fn a_file_in_the_way_of_a_socket_leaves_everything_as_it_is() {
    on_each_driver(|driver| {
        let port = free_port();
        let web = listener("web", &format!("127.0.0.1:{port}"));
        let proxy = Live::listening(driver, 2, &format!("{web}[[route]]\nrespond = 'old'\n"));
        proxy.folder.write("web.sock", "kept");
        let path = proxy.folder.path("web.sock");
        proxy.write(format!("{web}{}[[route]]\nrespond = 'new'\n", listener("s", &format!("unix:{path}"))));
        let run = proxy.reload();
        assert_eq!(run.code, Some(1));
        assert!(run.line().contains("exists and is no socket"), "{}", run.stderr);
        assert_eq!(ask(loopback(port)), "old");
        assert_eq!(std::fs::read(path).unwrap(), b"kept");
    });
}

#[test]
fn ports_that_were_free_at_the_start_stay_as_they_are() {
    on_some_workers(|driver, cores| {
        let both = listener("a", "127.0.0.1:0") + &listener("b", "127.0.0.1:0");
        let proxy = Live::listening(driver, cores, &(both.clone() + &by_listener(&["a", "b"])));
        let mut ports: Vec<SocketAddr> = Vec::new();
        eventually("it says where it listens", || {
            let said = proxy.stderr();
            let places = said.lines().find_map(|line| Some(line.split_once("listening on ")?.1));
            let places = places.iter().flat_map(|places| places.split(", "));
            ports = places.map(|place| place.strip_prefix("http://").unwrap().parse().unwrap()).collect();
            !ports.is_empty()
        });
        let [a, b] = ports[..] else { panic!("{ports:?}") };
        assert_eq!((ask(a), ask(b)), ("a".to_owned(), "b".to_owned()));
        let mut client = Client::connect(b);
        assert_goes_on(&mut client, "b");
        for _ in 0..2 {
            let more = "[[route]]\npath = '/new'\nrespond = 'new'\n";
            proxy.apply(&format!("{both}{more}{}", by_listener(&["a", "b"])));
            assert_eq!((ask(a), ask(b)), ("a".to_owned(), "b".to_owned()));
            assert_eq!(Client::connect(a).ask(get("/new")).text(), "new");
            assert_goes_on(&mut client, "b");
        }
        // Of two that are alike, the one whose listener is gone goes.
        proxy.apply(&(listener("b", "127.0.0.1:0") + &by_listener(&["b"])));
        assert!(TcpStream::connect(a).is_err());
        assert_eq!(ask(b), "b");
        assert_goes_on(&mut client, "b");
    });
}

#[test]
fn each_listener_has_its_own_limits_and_they_follow_the_file() {
    on_each_driver(|driver| {
        let [one, two] = [free_port(), free_port()];
        let file = |first: &str, second: &str| {
            let web = listener("web", &format!("127.0.0.1:{one}"));
            let more = listener("more", &format!("127.0.0.1:{two}"));
            format!("{web}max-target = {first}\n{more}max-target = {second}\n[[route]]\nrespond = 'x'\n")
        };
        let proxy = Live::listening(driver, 2, &file("100", "20"));
        let mut clients = [Client::connect(loopback(one)), Client::connect(loopback(two))];
        for (first, second) in [(100, 20), (20, 100), (60, 60)] {
            proxy.apply(&file(&first.to_string(), &second.to_string()));
            for (client, limit) in clients.iter_mut().zip([first, second]) {
                let target = |length: usize| format!("/{}", "x".repeat(length - 1));
                assert_eq!(client.ask(get(&target(limit))).status(), 200);
            }
            for (port, limit) in [(one, first), (two, second)] {
                let target = format!("/{}", "x".repeat(limit));
                assert_eq!(Client::connect(loopback(port)).ask(get(&target)).status(), 414);
            }
        }
    });
}

#[test]
fn a_tunnel_on_a_removed_listener_lives_on() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
                while let Ok(some) = peer.some() {
                    peer.send(some);
                }
            }
        });
        let [one, two] = [free_port(), free_port()];
        let rest = format!("{}[[route]]\nupstream = 'app'\n", upstream("app", &origin));
        let web = listener("web", &format!("127.0.0.1:{one}"));
        let both = format!("{web}{}{rest}", listener("more", &format!("127.0.0.1:{two}")));
        let proxy = Live::listening(driver, 2, &both);
        let mut client = Client::connect(loopback(two));
        client.send(get_with("/", "Connection: upgrade\r\nUpgrade: x\r\n"));
        assert_eq!(client.head().status(), 101);
        proxy.apply(&format!("{web}{rest}"));
        assert!(TcpStream::connect(loopback(two)).is_err());
        client.send("word");
        assert_eq!(client.exactly(4), b"word");
    });
}
