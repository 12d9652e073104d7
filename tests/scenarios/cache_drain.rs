//! The end of a proxy with a cache: no core goes as long as clients of another need it.

use std::time::{Duration, Instant};

use crate::support::cache::{caching, each, fresh_head, requests_by_worker};
use crate::support::{Gate, Origin, Signal, assert_same, eventually, get, noise, ok, on_each_driver, post};

/// Well within the time that open exchanges have to end.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_request_that_changes_something_is_answered_whichever_core_owns_its_key() {
    on_each_driver(|driver| {
        for number in 0..6 {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::replying(move |_| {
                held.pass(1);
                ok("done")
            });
            let mut proxy = caching(driver, 2, &origin, &[]);
            let mut client = proxy.client();
            client.send(post(&format!("/{number}"), b"x"));
            eventually("it is in flight", || origin.requests().len() == 1);
            proxy.signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(100));
            gate.open();
            let started = Instant::now();
            assert_eq!(client.response().text(), "done");
            assert_eq!(proxy.wait(SOON).code(), Some(0));
            assert!(started.elapsed() < SOON);
        }
    });
}

#[test]
fn what_is_being_fetched_comes_whole_to_readers_on_every_core() {
    on_each_driver(|driver| {
        let (gate, content) = (Gate::default(), noise(400_000, 1));
        let (held, sent) = (gate.clone(), content.clone());
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                peer.send(fresh_head(Some(sent.len()), ""));
                peer.send(&sent[..1000]);
                held.pass(1);
                peer.send(&sent[1000..]);
            }
        });
        let mut proxy = caching(driver, 2, &origin, &[]);
        let mut first = proxy.client();
        first.send(get("/"));
        first.head();
        let fetching = requests_by_worker(&proxy).iter().position(|&count| count > 0).unwrap();
        // All readers on the core that fetches leave; it goes on for those on the other one.
        let mut staying = Vec::new();
        // The kernel spreads connections as it likes, and may give many to one worker.
        eventually("one is on the other core", || {
            let mut client = proxy.client();
            let before = requests_by_worker(&proxy)[fetching];
            client.send(get("/"));
            client.head();
            if requests_by_worker(&proxy)[fetching] == before {
                staying.push(client);
            }
            staying.len() >= 3
        });
        first.reset();
        proxy.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(300));
        gate.open();
        each(staying, |mut client| assert_same(&client.exactly(content.len()), &content));
        assert_eq!(proxy.wait(SOON).code(), Some(0));
    });
}
