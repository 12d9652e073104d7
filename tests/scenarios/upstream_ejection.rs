//! Passive health checks: endpoints that fail requests get none for a while, unless too many would be out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::cache::{answer, clients_of_every_worker, requests_by_worker};
use crate::support::endpoints::{
    CLOSE, Endpoint, HALF, HANG, Load, RESET, WELL, app, counted, file, list, standing, start, told, until,
    who,
};
use crate::support::proxy::{deaf_port, refusing_port};
use crate::support::{Client, Origin, Proxy, eventually, get, ms, ok, on_each_driver, post_chunked_head};

/// Requests are tried elsewhere, whatever goes wrong.
const PATIENT: &str = "retry-on = ['connect', 'reset', 'timeout', '500-599']\nretry-budget = '1000%'\n\
                       first-byte-timeout = '1s'\nconnect-timeout = '1s'\n";

/// Asks until an endpoint is out.
#[track_caller]
fn ask_until_ejected(proxy: &Proxy, address: &str) {
    let mut client = proxy.client();
    eventually(&format!("{address} is ejected"), || {
        client.ask(get("/"));
        standing(proxy, address) == "ejected"
    });
}

#[test]
fn an_endpoint_that_fails_in_whatever_way_is_left_alone() {
    on_each_driver(|driver| {
        for (way, why) in [
            (RESET, "upstream_reset"),
            (CLOSE, "upstream_closed"),
            (HALF, "upstream_truncated"),
            (HANG, "upstream_first_byte_timeout"),
            (500, "its status"),
        ] {
            let (bad, good) = (Endpoint::start("bad"), Endpoint::start("good"));
            bad.serves.set(way);
            let lines = format!("{PATIENT}eject = {{ failures = 3, status = '500-599', time = '1h' }}");
            let proxy = start(driver, &file(&list(&[&bad, &good]), &lines));
            ask_until_ejected(&proxy, &bad.at());
            let before = bad.served();
            assert_eq!(who(&proxy, 48), ["good"], "{why}");
            assert_eq!(bad.served(), before, "{why}");
            let stderr = proxy.stderr();
            let line = stderr.lines().find(|line| line.contains("is ejected")).unwrap();
            let begins = format!("upstream app: {} is ejected for 1h: ", bad.at());
            let ends = format!(" failures in a row, the last: {why}");
            assert!(line.contains(&begins) && line.ends_with(&ends), "{line}");
            assert_eq!(proxy.stderr().matches("is ejected").count(), 1);
            assert_eq!(counted(&proxy, "ejections"), 1);
            let said = told(&proxy, &bad.at());
            assert!(said["why"].as_str().unwrap().contains(why), "{said}");
        }
    });
}

#[test]
fn an_endpoint_that_takes_no_connections_is_left_alone_until_it_does() {
    on_each_driver(|driver| {
        let (address, held) = refusing_port();
        let good = Endpoint::start("good");
        let endpoints = format!("['{address}', '{}']", good.at());
        let lines = format!("{PATIENT}eject = {{ failures = 3, time = '2s', max-time = '2s' }}");
        let proxy = start(driver, &file(&endpoints, &lines));
        let address = address.to_string();
        let load = Load::start(&proxy, 2);
        until(&proxy, &address, "ejected");
        eventually("it is tried again, and out again", || {
            proxy
                .stderr()
                .matches("is ejected for 2s: 3 failures in a row, the last: upstream_refused")
                .count()
                > 1
                || proxy.stderr().matches("is ejected for 2s").count() > 1
        });
        held.listen(64).unwrap();
        let back = Endpoint::start_on(held.into(), "back");
        eventually("it gets requests", || back.served() > 20);
        until(&proxy, &address, "up");
        // Nobody has noticed anything.
        load.end();
        eventually("it is told", || {
            proxy.stderr().contains(&format!("upstream app: {address} gets requests again"))
        });
        assert!(counted(&proxy, "recoveries") >= 1);
    });
}

#[test]
fn an_endpoint_that_never_takes_a_connection_is_left_alone() {
    on_each_driver(|driver| {
        let (address, _listener, _filling) = deaf_port();
        let good = Endpoint::start("good");
        let endpoints = format!("['{address}', '{}']", good.at());
        let lines = format!("{PATIENT}eject = {{ failures = 2, time = '1h' }}");
        let proxy = start(driver, &file(&endpoints, &lines));
        ask_until_ejected(&proxy, &address.to_string());
        assert!(proxy.stderr().contains("the last: upstream_connect_timeout"), "{}", proxy.stderr());
        assert_eq!(who(&proxy, 24), ["good"]);
    });
}

#[test]
fn statuses_count_only_where_somebody_says_so() {
    on_each_driver(|driver| {
        for (lines, out) in [
            ("", false),
            ("eject = true", false),
            ("eject = { failures = 3 }", false),
            ("eject = { failures = 3, status = [502, '504-599'] }", false),
            ("eject = { failures = 3, status = [502, 503] }", true),
            ("eject = false", false),
        ] {
            let (bad, good) = (Endpoint::start("bad"), Endpoint::start("good"));
            bad.serves.set(503);
            let proxy = start(driver, &file(&list(&[&bad, &good]), lines));
            let mut client = proxy.client();
            let failed = (0..40).filter(|_| client.ask(get("/")).status() == 503).count();
            if out {
                until(&proxy, &bad.at(), "ejected");
                assert_eq!(who(&proxy, 8), ["good"], "{lines}");
            } else {
                assert_eq!(failed, 20, "{lines}: every other");
                assert_eq!(standing(&proxy, &bad.at()), "up", "{lines}");
                assert_eq!(counted(&proxy, "ejections"), 0, "{lines}");
            }
        }
    });
}

#[test]
fn by_default_five_failures_in_a_row_are_too_many_unless_somebody_says_otherwise() {
    on_each_driver(|driver| {
        for (lines, out) in [("", true), ("eject = false", false)] {
            let (bad, good) = (Endpoint::start("bad"), Endpoint::start("good"));
            bad.serves.set(RESET);
            let proxy = start(driver, &file(&list(&[&bad, &good]), &format!("retries = 0\n{lines}")));
            let mut client = proxy.client();
            // Successes of the others do not count for it.
            let failed = (0..8).filter(|_| client.ask(get("/")).status() == 502).count();
            assert_eq!(failed, 4);
            assert_eq!(standing(&proxy, &bad.at()), "up");
            (0..40).for_each(|_| drop(client.ask(get("/"))));
            if out {
                until(&proxy, &bad.at(), "ejected");
                assert!(bad.served() <= 8, "{} requests went there", bad.served());
            } else {
                assert_eq!((standing(&proxy, &bad.at()).as_str(), bad.served()), ("up", 24));
            }
        }
    });
}

#[test]
fn each_time_it_is_out_for_longer_up_to_a_bound_and_each_change_is_told_once() {
    on_each_driver(|driver| {
        let (bad, good) = (Endpoint::start("bad"), Endpoint::start("good"));
        bad.serves.set(RESET);
        let lines = format!("{PATIENT}eject = {{ failures = 2, time = '600ms', max-time = '2s' }}");
        let proxy = start(driver, &file(&list(&[&bad, &good]), &lines));
        let load = Load::start(&proxy, 2);
        let times = || -> Vec<String> {
            let stderr = proxy.stderr();
            let said = stderr.lines().filter_map(|line| line.split_once(" is ejected for "));
            said.map(|(_, rest)| rest.split(':').next().unwrap().to_owned()).collect()
        };
        eventually("it was out four times", || times().len() >= 4);
        // Whole seconds, from one second on.
        assert_eq!(times()[..4], ["600ms", "1s", "2s", "2s"], "{}", proxy.stderr());
        bad.serves.set(WELL);
        until(&proxy, &bad.at(), "up");
        let before = bad.served();
        eventually("it gets requests", || bad.served() > before + 20);
        load.end();
        let stderr = proxy.stderr();
        assert_eq!(
            stderr.matches(" is ejected for ").count(),
            stderr.matches(" gets requests again").count(),
            "{stderr}"
        );
        assert_eq!(counted(&proxy, "ejections"), counted(&proxy, "recoveries"));
    });
}

#[test]
fn no_more_are_out_than_may_be_and_never_all() {
    on_each_driver(|driver| {
        for (share, out_max) in
            [("", 2), (", max-share = '25%'", 1), (", max-share = '1%'", 1), (", max-share = '100%'", 3)]
        {
            let all: Vec<Endpoint> = (0..4).map(|name| Endpoint::start(&name.to_string())).collect();
            all.iter().for_each(|endpoint| endpoint.serves.set(500));
            let lines = format!("eject = {{ failures = 2, status = 500, time = '1h'{share} }}");
            let proxy = start(driver, &file(&list(&all.iter().collect::<Vec<_>>()), &lines));
            let out = || {
                let app = app(&proxy);
                let endpoints = app["endpoints"].as_array().unwrap();
                endpoints.iter().filter(|endpoint| endpoint["standing"] == "ejected").count()
            };
            let mut client = proxy.client();
            eventually("as many are out as may be", || {
                assert!(out() <= out_max, "{share}");
                client.ask(get("/"));
                out() == out_max
            });
            for _ in 0..60 {
                // Those that are left are asked.
                assert_eq!(client.ask(get("/")).status(), 500);
            }
            assert_eq!(out(), out_max, "{share}");
            assert!(!proxy.stderr().contains("none of its endpoints is up"));
        }
    });
}

#[test]
fn a_lone_endpoint_is_never_out() {
    on_each_driver(|driver| {
        let lone = Endpoint::start("lone");
        let lines = "retries = 0\nwhen-down = 'fail'\n\
                     eject = { failures = 1, rate = '1%', min-requests = 1, max-share = '100%', time = '1h' }";
        let proxy = start(driver, &file(&list(&[&lone]), lines));
        for way in [RESET, CLOSE, HALF] {
            lone.serves.set(way);
            let mut client = proxy.client();
            assert!((0..10).all(|_| client.ask(get("/")).status() == 502));
        }
        lone.serves.set(WELL);
        assert_eq!(who(&proxy, 8), ["lone"]);
        assert_eq!(standing(&proxy, &lone.at()), "up");
        assert_eq!((counted(&proxy, "ejections"), proxy.stderr().contains("ejected")), (0, false));
        // Nor is the last one that probes and people have left.
        let other = Endpoint::start("other");
        proxy.apply(&file(&list(&[&lone, &other]), lines));
        assert_eq!(proxy.order(&["upstream", "drain", &other.at()]).code, Some(0));
        lone.serves.set(RESET);
        let mut client = proxy.client();
        assert!((0..10).all(|_| client.ask(get("/")).status() == 502));
        assert_eq!(standing(&proxy, &lone.at()), "up");
        // Once it is no longer alone, it may be.
        assert_eq!(proxy.order(&["upstream", "restore", &other.at()]).code, Some(0));
        ask_until_ejected(&proxy, &lone.at());
        assert_eq!(who(&proxy, 8), ["other"]);
    });
}

/// A client of each of two workers.
fn one_of_each_worker(proxy: &Proxy) -> [Client; 2] {
    let mut found: [Option<Client>; 2] = [None, None];
    for mut client in clients_of_every_worker(proxy, 8) {
        let before = requests_by_worker(proxy);
        client.ask(get("/"));
        let mut place = None;
        eventually("it is counted", || {
            let now = requests_by_worker(proxy);
            place = (0..2).find(|&worker| now[worker] > before[worker]);
            place.is_some()
        });
        found[place.unwrap()] = Some(client);
    }
    found.map(Option::unwrap)
}

#[test]
fn what_one_worker_has_seen_holds_for_all() {
    on_each_driver(|driver| {
        let (bad, good) = (Endpoint::start("bad"), Endpoint::start("good"));
        let lines = format!("{PATIENT}eject = {{ failures = 4, time = '1h' }}");
        let proxy = start(driver, &file(&list(&[&bad, &good]), &lines));
        let [mut one, mut other] = one_of_each_worker(&proxy);
        bad.serves.set(RESET);
        for _ in 0..12 {
            assert_eq!(one.ask(get("/")).text(), "good");
        }
        until(&proxy, &bad.at(), "ejected");
        let before = bad.served();
        assert!((0..20).all(|_| other.ask(get("/")).text() == "good"));
        assert_eq!(bad.served(), before);
    });
}

#[test]
fn failures_of_several_workers_count_together() {
    on_each_driver(|driver| {
        let (bad, good) = (Endpoint::start("bad"), Endpoint::start("good"));
        let lines = "retries = 0\neject = { failures = 6, time = '1h' }";
        let proxy = start(driver, &file(&list(&[&bad, &good]), lines));
        let clients = one_of_each_worker(&proxy);
        // What went well before is not what goes well between.
        std::thread::sleep(ms(500));
        bad.serves.set(RESET);
        let failed =
            clients.map(|mut client| (0..8).filter(|_| client.ask(get("/")).status() == 502).count());
        // Each has seen fewer than it takes.
        assert!(failed.iter().all(|&count| count <= 4), "{failed:?}");
        until(&proxy, &bad.at(), "ejected");
    });
}

/// An endpoint of whose requests every so many fail.
fn failing_each(nth: usize) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::replying(move |_| {
        let fails = count.fetch_add(1, Ordering::SeqCst) % nth == nth - 1;
        if fails { answer("500 Oh", "", "bad") } else { ok("bad") }
    })
}

#[test]
fn too_high_a_rate_of_failures_is_too_much_and_a_lower_one_is_not() {
    on_each_driver(|driver| {
        for (nth, out) in [(2, true), (4, false)] {
            let (bad, good) = (failing_each(nth), Endpoint::start("good"));
            let lines = "eject = { failures = 0, rate = '40%', min-requests = 20, window = '1h', \
                         status = '500-599', time = '1h' }";
            let endpoints = format!("['{}', '{}']", bad.endpoint(), good.at());
            let proxy = start(driver, &file(&endpoints, lines));
            let mut client = proxy.client();
            (0..36).for_each(|_| drop(client.ask(get("/"))));
            assert_eq!(standing(&proxy, &bad.endpoint()), "up", "so few mean nothing");
            if out {
                ask_until_ejected(&proxy, &bad.endpoint());
                assert!(proxy.stderr().contains("% of "), "{}", proxy.stderr());
                assert_eq!(who(&proxy, 16), ["good"]);
            } else {
                (0..100).for_each(|_| drop(client.ask(get("/"))));
                assert_eq!(counted(&proxy, "ejections"), 0);
            }
        }
    });
}

#[test]
fn what_clients_do_is_held_against_no_endpoint() {
    on_each_driver(|driver| {
        let slow = Arc::new(AtomicUsize::new(0));
        let seen = slow.clone();
        let patient = Origin::start(move |peer| {
            while let Some(head) = peer.head() {
                if head.target() == "/slow" {
                    seen.fetch_add(1, Ordering::SeqCst);
                    return peer.hang();
                }
                if peer.content(head).is_none() {
                    return;
                }
                peer.send(ok("patient"));
            }
        });
        let good = Endpoint::start("good");
        let endpoints = format!("['{}', '{}']", patient.endpoint(), good.at());
        let lines = "eject = { failures = 2, status = '500-599', rate = '10%', min-requests = 2, time = '1h' }\n\
                     breaker = { rate = '10%', min-requests = 2, time = '1h' }";
        let proxy = start(driver, &file(&endpoints, lines));
        for round in 0..12 {
            // Leaves in the middle of its content.
            let mut client = proxy.client();
            client.send(post_chunked_head("/upload", ""));
            client.send("5\r\nhel");
            if round % 2 == 0 {
                client.reset()
            } else {
                drop(client)
            }
            // Sends what is no content.
            let mut client = proxy.client();
            client.send(post_chunked_head("/upload", ""));
            client.send("xyz\r\n");
            drop(client.until_end());
            // Does not wait for the answer.
            let before = slow.load(Ordering::SeqCst) + good.served();
            let mut client = proxy.client();
            client.send(get("/slow"));
            eventually("it is there", || slow.load(Ordering::SeqCst) + good.served() > before);
            if round % 2 == 0 { client.reset() } else { drop(client) }
        }
        std::thread::sleep(ms(300));
        assert_eq!(who(&proxy, 32), ["good", "patient"]);
        for address in [patient.endpoint(), good.at()] {
            assert_eq!(standing(&proxy, &address), "up");
            assert_eq!(told(&proxy, &address)["failures"], 0, "{}", told(&proxy, &address));
        }
        assert_eq!((counted(&proxy, "ejections"), counted(&proxy, "breaker_openings")), (0, 0));
    });
}

#[test]
fn a_reload_without_ejection_brings_all_back() {
    on_each_driver(|driver| {
        let (bad, good) = (Endpoint::start("bad"), Endpoint::start("good"));
        bad.serves.set(RESET);
        let text = |lines: &str| file(&list(&[&bad, &good]), &format!("{PATIENT}{lines}"));
        let proxy = start(driver, &text("eject = { failures = 2, time = '1h' }"));
        ask_until_ejected(&proxy, &bad.at());
        // Another file, in which the endpoint is as before.
        proxy.apply(&text("eject = { failures = 3, time = '2h' }"));
        assert_eq!(standing(&proxy, &bad.at()), "ejected");
        assert_eq!(who(&proxy, 8), ["good"]);
        bad.serves.set(WELL);
        proxy.apply(&text("eject = false"));
        until(&proxy, &bad.at(), "up");
        assert_eq!(who(&proxy, 16), ["bad", "good"]);
    });
}
