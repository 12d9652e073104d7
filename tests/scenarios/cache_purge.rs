//! Purges: what is removed, what stays, and that no core serves what was removed once the command has
//! answered, whatever is under way meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cache::{cache_number, caching, clients, clients_of_every_worker, fresh_with, purge};
use crate::support::message::{ok, text};
use crate::support::{
    Client, Driver, Gate, Origin, PATIENCE, Proxy, eventually, get, get_with, on_each_driver,
};

/// An origin whose answers bear a generation number, and tags by their first path segment.
fn generations() -> (Origin, Arc<AtomicU64>) {
    let generation = Arc::new(AtomicU64::new(0));
    let current = generation.clone();
    let origin = Origin::replying(move |request| {
        let folder = request.target().split('/').nth(1).unwrap();
        let fields = match folder {
            "news" => "Cache-Tag: news, all\r\n",
            "sport" => "Surrogate-Key: sport all\r\n",
            _ => "ETag: \"e\"\r\n",
        };
        fresh_with(fields, current.load(Ordering::SeqCst).to_string())
    });
    (origin, generation)
}

const TARGETS: [&str; 6] = ["/news/1", "/news/2", "/sport/1", "/other/1", "/other/1?q", "/other/12"];

/// Asks for everything often enough that every core has it, or a copy of it.
fn warm(proxy: &Proxy) {
    for target in TARGETS {
        for mut client in clients(proxy, 12) {
            client.ask(get(target));
        }
    }
}

#[test]
fn a_purge_removes_what_it_names_on_every_core_and_nothing_else() {
    const NEWS: &[&str] = &["/news/1", "/news/2"];
    let table: [(&[&str], &[&str]); 10] = [
        (&["purge", "http://example.com/other/1"], &["/other/1"]),
        (&["purge", "https://EXAMPLE.com:443/other/1?q"], &["/other/1?q"]),
        (&["purge", "--prefix", "http://example.com/other/1"], &["/other/1", "/other/1?q", "/other/12"]),
        (&["purge", "--prefix", "http://example.com/news/"], NEWS),
        (&["purge", "--tag", "news"], NEWS),
        (&["purge", "--tag", "SPORT"], &["/sport/1"]),
        (&["purge", "--tag", "all"], &["/news/1", "/news/2", "/sport/1"]),
        (&["purge", "--tag", "none"], &[]),
        (&["purge", "--prefix", "http://example.com"], &TARGETS),
        (&["clear-cache"], &TARGETS),
    ];
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let (origin, generation) = generations();
            let proxy = caching(driver, cores, &origin, &[]);
            for (round, (args, removed)) in (1..).zip(table) {
                warm(&proxy);
                generation.store(round, Ordering::SeqCst);
                assert_eq!(purge(&proxy, args), removed.len() as u64, "{args:?}");
                for target in TARGETS {
                    let new = round.to_string();
                    for mut client in clients(&proxy, 8) {
                        let got = client.ask(get(target)).text();
                        assert_eq!(got == new, removed.contains(&target), "{args:?} {target}");
                    }
                }
                purge(&proxy, &["clear-cache"]);
            }
        }
    });
}

#[test]
fn a_soft_purge_has_responses_validated_before_they_are_used_again() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let origin = Origin::replying(|request| match request.field("If-None-Match") {
                Some("\"e\"") => {
                    b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nCache-Control: max-age=3600\r\n\r\n"
                        .to_vec()
                }
                _ => fresh_with("ETag: \"e\"\r\nCache-Tag: t\r\n", "content"),
            });
            let proxy = caching(driver, cores, &origin, &[]);
            for args in [
                &["purge", "--soft", "http://example.com/a"][..],
                &["purge", "--soft", "--prefix", "http://example.com/"],
                &["purge", "--soft", "--tag", "t"],
                &["clear-cache", "--soft"],
            ] {
                clients(&proxy, 8).iter_mut().for_each(|client| drop(client.ask(get("/a"))));
                let before = origin.requests().len();
                assert_eq!(purge(&proxy, args), 1, "{args:?}");
                let first = proxy.get("/a");
                assert_eq!((first.field("X-Cache"), &*first.text()), (Some("REVALIDATED"), "content"));
                for mut client in clients(&proxy, 8) {
                    assert_eq!(client.ask(get("/a")).field("X-Cache"), Some("HIT"), "{args:?}");
                }
                assert_eq!(origin.requests().len(), before + 1, "{args:?}");
            }
        }
    });
}

/// Asks again and again for as long as it is wanted, and checks that no response is older than the last
/// purge that had been answered when its request was sent.
fn hammer(mut client: Client, targets: &[&str], purged: &AtomicU64, stop: &AtomicBool) -> (usize, usize) {
    let (mut count, mut hits) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        for target in targets {
            let oldest = purged.load(Ordering::SeqCst);
            let response = client.ask(get(target));
            let got: u64 = response.text().parse().unwrap();
            assert!(got >= oldest, "{target}: generation {got} after the purge of {oldest}");
            count += 1;
            hits += usize::from(response.field("X-Cache") == Some("HIT"));
        }
    }
    (count, hits)
}

fn hammered_purges(driver: Driver, cores: usize, args: &[&str], rounds: u64) {
    let (origin, generation) = generations();
    let proxy = caching(driver, cores, &origin, &[]);
    let (purged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let targets = ["/news/1", "/news/2"];
    thread::scope(|scope| {
        let (purged, stop, targets) = (&purged, &stop, &targets);
        let threads: Vec<_> = clients_of_every_worker(&proxy, 8)
            .into_iter()
            .map(|client| scope.spawn(move || hammer(client, targets, purged, stop)))
            .collect();
        for round in 1..=rounds {
            generation.store(round, Ordering::SeqCst);
            purge(&proxy, args);
            purged.store(round, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(fastrand::u64(0..20)));
        }
        stop.store(true, Ordering::SeqCst);
        let counts: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let hits: usize = counts.iter().map(|(_, hits)| hits).sum();
        assert!(hits > 0, "nothing was served from the cache: {counts:?}");
    });
}

#[test]
fn nothing_that_was_removed_is_served_on_any_core_once_the_purge_has_answered() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            for args in [
                &["clear-cache"][..],
                &["purge", "--tag", "news"],
                &["purge", "--prefix", "http://example.com/news"],
            ] {
                hammered_purges(driver, cores, args, 30);
            }
        }
    });
}

#[test]
fn nothing_of_a_url_that_was_purged_is_served_however_often_that_happens() {
    on_each_driver(|driver| {
        let (origin, generation) = generations();
        let proxy = caching(driver, 2, &origin, &[]);
        let (purged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let (purged, stop) = (&purged, &stop);
            let threads: Vec<_> = clients_of_every_worker(&proxy, 8)
                .into_iter()
                .map(|client| scope.spawn(move || hammer(client, &["/news/1"], purged, stop)))
                .collect();
            for round in 1..=100 {
                generation.store(round, Ordering::SeqCst);
                purge(&proxy, &["purge", "http://example.com/news/1"]);
                purged.store(round, Ordering::SeqCst);
            }
            stop.store(true, Ordering::SeqCst);
            threads.into_iter().for_each(|thread| assert!(thread.join().unwrap().0 > 0));
        });
    });
}

#[test]
fn what_was_being_fetched_when_it_was_purged_is_neither_joined_nor_stored() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            for args in [
                &["clear-cache"][..],
                &["purge", "http://example.com/news/1"],
                &["purge", "--prefix", "http://example.com/n"],
                &["purge", "--tag", "news"],
            ] {
                let gate = Gate::default();
                let (held, count) = (gate.clone(), AtomicU64::new(0));
                let origin = Origin::start(move |peer| {
                    while peer.request().is_some() {
                        let number = count.fetch_add(1, Ordering::SeqCst);
                        let answer = fresh_with("Cache-Tag: news\r\n", format!("generation {number}"));
                        let (first, second) = answer.split_at(answer.len() - 1);
                        peer.send(first);
                        if number == 0 {
                            held.pass(1);
                        }
                        peer.send(second);
                    }
                });
                let proxy = caching(driver, cores, &origin, &["--cache-wait", "60s"]);
                let mut before = clients(&proxy, 6);
                for client in &mut before {
                    client.send(get("/news/1"));
                    client.head();
                }
                purge(&proxy, args);
                for mut client in clients(&proxy, 6) {
                    assert_eq!(client.ask(get("/news/1")).text(), "generation 1", "{args:?}");
                }
                gate.open();
                for client in &mut before {
                    assert_eq!(text(&client.exactly(12)), "generation 0", "{args:?}");
                    assert_eq!(client.ask(get("/news/1")).text(), "generation 1", "{args:?}");
                }
                assert_eq!(origin.requests().len(), 2, "{args:?}");
            }
        }
    });
}

#[test]
fn a_purge_that_meets_a_fetch_of_something_else_leaves_it_alone() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::replying(move |_| {
                held.pass(1);
                fresh_with("Cache-Tag: news\r\n", "kept")
            });
            let proxy = caching(driver, cores, &origin, &["--cache-wait", "60s"]);
            let mut client = proxy.client();
            client.send(get("/a"));
            eventually("it is being fetched", || origin.requests().len() == 1);
            // More than any log of purges would remember one by one.
            for number in 0..100 {
                purge(&proxy, &["purge", &format!("http://example.com/{number}")]);
            }
            gate.open();
            assert_eq!(client.response().text(), "kept");
            assert_eq!(proxy.get("/a").field("X-Cache"), Some("HIT"));
        }
    });
}

#[test]
fn a_purge_of_thousands_of_responses_does_not_hold_requests_up() {
    const COUNT: usize = 6000;
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/live" => ok("live"),
            _ => fresh_with("Cache-Tag: many\r\n", "x"),
        });
        let proxy = caching(driver, 2, &origin, &[]);
        let mut all = clients(&proxy, 4);
        for (number, client) in (0..COUNT).zip((0..4).cycle()) {
            all[client].send(get(&format!("/{number}")));
            all[client].response();
        }
        assert!(cache_number(&proxy, "entries") >= COUNT as u64);
        let stop = AtomicBool::new(false);
        let slowest = thread::scope(|scope| {
            let threads: Vec<_> = all
                .into_iter()
                .map(|mut client| {
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut slowest = Duration::ZERO;
                        while !stop.load(Ordering::SeqCst) {
                            let started = Instant::now();
                            client.ask(get_with("/live", "Cache-Control: no-store\r\n"));
                            slowest = slowest.max(started.elapsed());
                        }
                        slowest
                    })
                })
                .collect();
            assert_eq!(purge(&proxy, &["purge", "--tag", "many"]), COUNT as u64);
            stop.store(true, Ordering::SeqCst);
            threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
        });
        println!("{driver:?}: the slowest request beside the purge took {slowest:?}");
        assert!(slowest < PATIENCE / 2, "{slowest:?}");
        assert_eq!(proxy.get("/0").field("X-Cache"), Some("MISS"));
    });
}
