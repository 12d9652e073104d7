//! The process near what it may hold: idle connections go first, those that have waited longest before others, and
//! whoever finds no room is told so.

use std::thread;

use crate::support::cache::status;
use crate::support::{Client, Driver, Origin, Proxy, Setup, eventually, get, ms, ok, on_each_driver};

fn start(driver: Driver, cores: usize, origin: &Origin, args: &[&str]) -> Proxy {
    Setup::new(driver).cores(cores).admin().origin(origin).args(args).start()
}

/// What the proxy says of it: the state, and how many connections there are.
fn state(proxy: &Proxy) -> (String, u64) {
    let pressure = status(proxy)["pressure"].clone();
    (pressure["state"].as_str().unwrap().to_owned(), pressure["connections"].as_u64().unwrap())
}

fn number(proxy: &Proxy, name: &str) -> u64 {
    status(proxy)["turned_away"][name].as_u64().unwrap()
}

/// Whether the proxy has closed the connection of a client that waits.
fn is_closed(client: &Client) -> bool {
    let stream = client.stream();
    stream.set_nonblocking(true).unwrap();
    let closed = stream.peek(&mut [0]).is_ok_and(|count| count == 0);
    stream.set_nonblocking(false).unwrap();
    closed
}

#[test]
fn idle_connections_go_first_and_the_oldest_of_them_before_the_others() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, 1, &origin, &["--max-connections", "50"]);
        let idle = |count: usize| -> Vec<Client> {
            let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
            clients.iter_mut().for_each(|client| drop(client.ask(get("/"))));
            thread::sleep(ms(1600));
            clients
        };
        let (oldest, newest) = (idle(20), idle(20));
        assert_eq!(state(&proxy), ("calm".to_owned(), 40));
        // Nine tenths of it are reached; it ends below eight.
        let mut busy: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        let responses: Vec<_> = busy.iter_mut().map(|client| client.ask(get("/"))).collect();
        assert!(responses.iter().all(|response| response.status() == 200));
        eventually("the pressure ends", || state(&proxy).0 == "calm" && number(&proxy, "idle_closed") > 0);
        let closed = |clients: &[Client]| clients.iter().filter(|client| is_closed(client)).count();
        eventually("the oldest are closed", || closed(&oldest) > 0);
        assert_eq!(closed(&newest), 0, "of the oldest {} are closed", closed(&oldest));
        let order: Vec<bool> = oldest.iter().map(is_closed).collect();
        assert!(order.is_sorted_by(|before, after| before >= after), "{order:?}");
        let says = |what| eventually(what, || proxy.stderr().contains(what));
        says("under pressure: ");
        says("the pressure is over");
    });
}

#[test]
fn under_pressure_responses_end_their_connections_and_new_ones_are_turned_away_at_the_limit() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let origin = Origin::start(|peer| {
                while let Some(request) = peer.request() {
                    if request.target() == "/wait" {
                        peer.sleep(ms(3000));
                    }
                    peer.send(ok("x"));
                }
            });
            let proxy = start(driver, cores, &origin, &["--max-connections", "20"]);
            let mut waiting: Vec<Client> = (0..19).map(|_| proxy.client()).collect();
            waiting.iter_mut().for_each(|client| client.send(get("/wait")));
            eventually("it is noticed", || state(&proxy) == ("near".to_owned(), 19));
            let mut last = proxy.client();
            let response = last.ask(get("/"));
            assert_eq!((response.status(), response.says_close()), (200, true));
            last.expect_end();
            let _last = proxy.client();
            eventually("it is full", || state(&proxy).1 == 20);
            let mut more = proxy.client();
            more.try_send(get("/"));
            let response = more.response();
            assert_eq!((response.status(), response.field("Retry-After")), (503, Some("5")));
            assert!(number(&proxy, "process") >= 1);
            // Who is there is served.
            for client in &mut waiting {
                let response = client.response();
                assert_eq!((response.status(), response.text().as_str()), (200, "x"));
            }
            drop((waiting, _last));
            eventually("the pressure ends", || state(&proxy).0 == "calm");
            let response = proxy.client().ask(get("/"));
            assert_eq!((response.status(), response.says_close()), (200, false));
        }
    });
}

/// An origin with something small, and something that is much more than a client takes that does not read.
fn with_large_content() -> Origin {
    let large = crate::support::noise(20_000_000, 1);
    Origin::replying(move |request| match request.target() {
        "/large" => ok(&large),
        target => ok(target),
    })
}

/// Asks until a request is turned away for want of room, and then until one is served again.
fn until_refused_and_served(proxy: &Proxy) {
    let ask = || proxy.client().ask(get("/"));
    let mut response = ask();
    eventually("there is no room", || {
        response = ask();
        response.status() == 503
    });
    assert_eq!(response.field("Retry-After"), Some("5"));
    assert!(response.says_close() && response.text().contains("overloaded"));
    eventually("there is room", || ask().status() == 200);
}

#[test]
fn where_memory_runs_out_those_who_hold_it_longest_make_room_for_others() {
    on_each_driver(|driver| {
        let origin = with_large_content();
        let args = ["--max-memory", "3MiB", "--write-timeout", "120s", "--access-log", "json"];
        let proxy = start(driver, 1, &origin, &args);
        let mut good = proxy.client();
        assert_eq!(good.ask(get("/")).status(), 200);
        // It is parked, and holds nothing that anybody would want.
        let mut parked = proxy.client();
        assert_eq!(parked.ask(get("/")).status(), 200);
        thread::sleep(ms(1600));
        // They read nothing, so that each of them holds a window; and they would not leave for two minutes.
        let mut greedy: Vec<Client> = (0..60).map(|_| proxy.client()).collect();
        greedy.iter_mut().for_each(|client| client.send(get("/large")));
        until_refused_and_served(&proxy);
        eventually("it is not full", || state(&proxy).0 != "full");
        assert!(number(&proxy, "overloaded") >= 1 && number(&proxy, "too_slow") >= 1);
        assert_eq!((is_closed(&parked), number(&proxy, "idle_closed")), (false, 0));
        proxy.logged(&["\"client_too_slow\""]);
        // What they got must not look whole.
        assert!(greedy.iter_mut().any(|client| client.try_response_to("GET").is_err()));
        drop(greedy);
        eventually("the pressure ends", || state(&proxy).0 == "calm");
        let said = proxy.stderr();
        assert!(said.contains("there is no room for requests"), "{said}");
    });
}

#[test]
fn content_that_is_held_in_memory_counts_and_uploads_that_stall_make_room() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "max-memory = '6MiB'\nbody-timeout = '120s'\n[upstream.app]\nendpoints = ['{}']\n[[route]]\n\
             upstream = 'app'\nbuffer-request = {{ memory = '1MiB', file = 'off' }}\n",
            origin.endpoint()
        );
        let proxy = Setup::new(driver).admin().file(&text).start();
        let memory = || status(&proxy)["pressure"]["memory"].as_u64().unwrap();
        let before = memory();
        let content = crate::support::post("/", &crate::support::noise(1_000_000, 1));
        let stall = || {
            let mut client = proxy.client();
            client.try_send(&content[..content.len() - 1]);
            client
        };
        let first = stall();
        eventually("it counts", || memory() >= before + 900_000);
        let mut others: Vec<Client> = (0..10).map(|_| stall()).collect();
        until_refused_and_served(&proxy);
        assert!(
            others.iter_mut().any(|client| {
                client.try_response_to("POST").is_ok_and(|response| response.status() == 408)
            })
        );
        drop((first, others));
        eventually("it is given back", || memory() < 900_000 && state(&proxy).0 == "calm");
        assert_eq!(proxy.ask(&content).status(), 200);
    });
}

#[test]
fn uploads_that_stall_in_files_leave_descriptors_for_others() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "body-timeout = '120s'\n[upstream.app]\nendpoints = ['{}']\n[[route]]\nupstream = 'app'\n\
             buffer-request = {{ memory = '4KiB' }}\n",
            origin.endpoint()
        );
        let proxy = Setup::new(driver).admin().descriptors_max(400).file(&text).start();
        let content = crate::support::post("/", &crate::support::noise(60_000, 1));
        let mut stalled: Vec<Client> = (0..100).map(|_| proxy.client()).collect();
        for client in &mut stalled {
            client.try_send(&content[..content.len() - 1]);
        }
        let held = || proxy.descriptors();
        eventually("some are refused", || status(&proxy)["held"]["failures"].as_u64().unwrap() >= 50);
        thread::sleep(ms(300));
        // Fifty files, and a hundred connections of clients at most.
        assert!(held() < 230, "{} descriptors", held());
        assert_eq!(proxy.client().ask(get("/")).status(), 200);
        let refused = proxy.client().ask(&content);
        assert_eq!((refused.status(), refused.field("Retry-After")), (503, Some("5")));
        drop(stalled);
        eventually("there are files again", || proxy.client().ask(&content).status() == 200);
    });
}

#[test]
fn descriptors_that_are_few_leave_room_for_upstreams() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let setup = Setup::new(driver).admin().origin(&origin).descriptors_max(300);
        let proxy = setup.start();
        // More clients than there are descriptors, each with a request.
        let mut clients: Vec<Client> = (0..500).map(|_| proxy.client()).collect();
        let mut statuses = Vec::new();
        for client in &mut clients {
            client.try_send(get("/"));
            statuses.extend(client.try_response_to("GET").map(|response| response.status()));
        }
        let served = statuses.iter().filter(|status| **status == 200).count();
        assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
        assert!(served >= 80, "{served} were served");
        let most = status(&proxy)["pressure"]["connections_max"].as_u64().unwrap();
        assert!((80..200).contains(&most), "{most}");
        drop(clients);
        eventually("all have left", || state(&proxy).1 == 0);
        assert_eq!(proxy.client().ask(get("/")).status(), 200);
    });
}

#[test]
fn when_descriptors_run_out_all_the_same_idle_connections_make_room() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        // A few connections there may always be, also where there are no descriptors for them.
        let rest = Setup::new(driver).admin().origin(&origin).start().descriptors_at_rest();
        let most = u32::try_from(rest + 14).unwrap();
        let proxy = Setup::new(driver).admin().origin(&origin).descriptors_max(most).start();
        let mut idle = Vec::new();
        for _ in 0..4 {
            let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
            for client in &mut clients {
                client.try_send(get("/"));
                let _ = client.try_response_to("GET");
            }
            idle.extend(clients);
            thread::sleep(ms(1500));
        }
        let response = proxy.client().ask(get("/"));
        assert_eq!(response.status(), 200);
        assert!(number(&proxy, "idle_closed") > 0);
    });
}

#[test]
fn the_limits_of_the_process_change_with_a_reload() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let file = |most: usize| format!("max-connections = {most}\norigin = ['{}']\n", origin.url());
        let live = crate::support::live::Live::start(driver, 2, &file(5));
        let mut clients: Vec<Client> = (0..4).map(|_| live.client()).collect();
        clients.iter_mut().for_each(|client| client.send("GET / HT"));
        eventually("they are there", || state(&live).1 == 4);
        live.apply(&file(100));
        let mut more: Vec<Client> = (0..20).map(|_| live.client()).collect();
        assert!(more.iter_mut().all(|client| client.ask(get("/")).status() == 200));
        assert_eq!(status(&live)["pressure"]["connections_max"], 100);
    });
}

#[test]
fn more_connections_than_there_are_descriptors_for_are_refused_and_not_left_hanging() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.sleep(ms(3000));
                peer.send(ok("x"));
            }
        });
        let args = ["--max-connections", "5000"];
        let proxy = Setup::new(driver).admin().origin(&origin).args(&args).descriptors_max(400).start();
        eventually("it is told", || {
            let said = proxy.stderr();
            said.contains("max-connections = 5000 needs about ") && said.contains("may have 400: ")
        });
        let most = status(&proxy)["pressure"]["connections_max"].as_u64().unwrap();
        assert!((50..300).contains(&most), "{most}");
        let mut clients: Vec<Client> = (0..most + 20).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.try_send(get("/"));
        }
        let answers: Vec<u16> = clients.iter_mut().map(|client| client.response().status()).collect();
        let count = |status| answers.iter().filter(|answer| **answer == status).count() as u64;
        assert!(count(200) > 0 && count(503) >= 20, "{answers:?}");
        assert_eq!(count(200) + count(503), most + 20, "{answers:?}");
    });
}
