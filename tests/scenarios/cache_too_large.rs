//! Responses that are too large to be kept: by their Content-Length, or because they outgrow the limit as
//! they come. Nothing of them is stored, and whoever reads them gets them whole all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::cache::{
    all_have_asked, cache_number, caching, clients, each, fresh, fresh_head, requests_by_worker,
};
use crate::support::{Gate, Origin, assert_same, chunk, eventually, get, ms, noise, on_each_driver};

const MIB: usize = 1 << 20;
const ARGS: [&str; 6] = ["--cache-size", "16MiB", "--cache-max-response", "1MiB", "--cache-wait", "60s"];

/// An origin that sends content in chunks: so many pieces at once, and the rest once the gate is open, not
/// faster than readers on a busy machine can follow.
fn outgrowing(gate: &Gate, content: &[u8], at_once: usize, sent: &Arc<AtomicUsize>) -> Origin {
    const PIECE: usize = 32 * 1024;
    const PAUSE: Duration = ms(2);
    let (gate, content, sent) = (gate.clone(), content.to_vec(), sent.clone());
    Origin::start(move |peer| {
        while peer.request().is_some() {
            peer.send(fresh_head(None, ""));
            for (place, piece) in content.chunks(PIECE).enumerate() {
                if place == at_once {
                    gate.pass(1);
                }
                if place > at_once {
                    peer.sleep(PAUSE);
                }
                if !peer.try_send(chunk(piece)) {
                    return;
                }
                sent.fetch_add(piece.len(), Ordering::SeqCst);
            }
            peer.send("0\r\n\r\n");
        }
    })
}

#[test]
fn what_says_that_it_is_too_large_is_passed_on_to_each_who_asks() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let (gate, content) = (Gate::default(), noise(MIB + 1, 7));
            let (held, answer) = (gate.clone(), fresh(&content));
            let origin = Origin::replying(move |_| {
                held.pass(1);
                answer.clone()
            });
            let proxy = caching(driver, cores, &origin, &ARGS);
            let mut all = clients(&proxy, 10);
            all.iter_mut().for_each(|client| client.send(get("/")));
            all_have_asked(&proxy, 10);
            gate.open();
            each(all, |mut client| {
                let response = client.response();
                assert_same(response.body(), &content);
                assert!(!response.field("Cache-Status").unwrap().contains("stored"));
            });
            assert_eq!(proxy.get("/").field("X-Cache"), Some("MISS"));
            assert_eq!(origin.requests().len(), 11);
            let exact = Origin::answering(fresh(&content[1..]));
            let proxy = caching(driver, cores, &exact, &ARGS);
            assert_same(proxy.get("/").body(), &content[1..]);
            eventually("a response of just that size is stored", || {
                proxy.get("/").field("X-Cache") == Some("HIT")
            });
        }
    });
}

#[test]
fn what_outgrows_the_limit_is_passed_on_whole_to_all_who_had_joined() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let (gate, content) = (Gate::default(), noise(6 * MIB, 8));
            let origin = outgrowing(&gate, &content, 2, &Arc::default());
            let proxy = caching(driver, cores, &origin, &ARGS);
            // Read with a thread each: whoever reads at the pace of the others loses nothing.
            let mut all = clients(&proxy, 8);
            all.iter_mut().for_each(|client| client.send(get("/")));
            all_have_asked(&proxy, 8);
            gate.open();
            each(all, |mut client| assert_same(client.response().body(), &content));
            assert_eq!(origin.requests().len(), 1);
            let again = proxy.get("/");
            assert_same(again.body(), &content);
            assert_eq!(again.field("X-Cache"), Some("MISS"));
            assert_eq!(origin.requests().len(), 2);
        }
    });
}

#[test]
fn who_comes_after_it_has_outgrown_the_limit_fetches_for_themselves() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let (gate, content) = (Gate::default(), noise(4 * MIB, 9));
            // It stops behind the limit.
            let origin = outgrowing(&gate, &content, 64, &Arc::default());
            let proxy = caching(driver, cores, &origin, &ARGS);
            let mut first = proxy.client();
            first.send(get("/"));
            first.head();
            let mut had = 0;
            while had < 2 * MIB {
                had += first.chunk().len();
            }
            let mut second = proxy.client();
            second.send(get("/"));
            eventually("the second fetches", || origin.requests().len() == 2);
            gate.open();
            assert_same(second.response().body(), &content);
            while had < content.len() {
                had += first.chunk().len();
            }
            assert!(first.chunk().is_empty());
        }
    });
}

#[test]
fn who_lags_behind_what_is_too_large_is_cut_and_slows_nobody() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let (gate, content) = (Gate::default(), noise(48 * MIB, 10));
            let origin = outgrowing(&gate, &content, 2, &Arc::default());
            let proxy = caching(driver, cores, &origin, &ARGS);
            let mut lagging = clients(&proxy, 4);
            for client in &mut lagging {
                client.send(get("/"));
                client.head();
            }
            let mut reading = proxy.client();
            reading.send(get("/"));
            all_have_asked(&proxy, 5);
            gate.open();
            assert_same(reading.response().body(), &content);
            for mut client in lagging {
                // What they get is right, and no clean end.
                let mut got = 0;
                let broken = loop {
                    match client.some() {
                        Ok(bytes) => got += bytes.len(),
                        Err(end) => break end,
                    }
                };
                assert!(got < content.len(), "all of it came, through a socket's buffer");
                assert_ne!(broken, crate::support::End::Silent);
            }
            assert_eq!(origin.requests().len(), 1);
        }
    });
}

#[test]
fn what_is_too_large_comes_no_faster_than_its_only_reader_takes_it() {
    on_each_driver(|driver| {
        let (gate, content) = (Gate::default(), noise(96 * MIB, 11));
        let sent = Arc::new(AtomicUsize::new(0));
        let origin = outgrowing(&gate, &content, usize::MAX, &sent);
        let proxy = caching(driver, 2, &origin, &ARGS);
        let mut reader = proxy.client();
        reader.send(get("/"));
        reader.head();
        let (mut last, mut calm) = (0, 0);
        eventually("the flow stops", || {
            std::thread::sleep(ms(50));
            let now = sent.load(Ordering::SeqCst);
            calm = if now == last && now > 0 { calm + 1 } else { 0 };
            last = now;
            calm >= 10
        });
        assert!(last < 64 * MIB, "{last} bytes were fetched for a client that does not read");
        let mut got = Vec::new();
        while got.len() < content.len() {
            got.extend_from_slice(&reader.chunk());
        }
        assert_same(&got, &content);
    });
}

#[test]
fn what_is_too_large_is_not_fetched_for_nobody() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let sent = Arc::new(AtomicUsize::new(0));
            let content = noise(64 * MIB, 12);
            let origin = outgrowing(&gate, &content, 2, &sent);
            let proxy = caching(driver, cores, &origin, &ARGS);
            let mut leaving = clients(&proxy, 4);
            for client in &mut leaving {
                client.send(get("/"));
                client.head();
            }
            leaving.into_iter().for_each(crate::support::Client::reset);
            gate.open();
            eventually("the origin is let go", || origin.open() == 0);
            assert!(sent.load(Ordering::SeqCst) < content.len());
            eventually("what it held is free", || cache_number(&proxy, "bytes") < MIB as u64 / 2);
        }
    });
}

#[test]
fn a_reader_on_another_core_keeps_what_is_too_large_coming() {
    on_each_driver(|driver| {
        let (gate, content) = (Gate::default(), noise(6 * MIB, 13));
        let origin = outgrowing(&gate, &content, 2, &Arc::default());
        let proxy = caching(driver, 2, &origin, &ARGS);
        // Whoever fetches leaves, and with it all who are on the same core: one is left on the other.
        let mut first = proxy.client();
        first.send(get("/"));
        first.head();
        let before = requests_by_worker(&proxy);
        let fetching = before.iter().position(|&count| count == 1).unwrap();
        let mut stays = loop {
            let mut next = proxy.client();
            let before = requests_by_worker(&proxy);
            next.send(get("/"));
            next.head();
            if requests_by_worker(&proxy)[fetching] == before[fetching] {
                break next;
            }
            next.reset();
        };
        first.reset();
        gate.open();
        let mut got = Vec::new();
        while got.len() < content.len() {
            got.extend_from_slice(&stays.chunk());
        }
        assert_same(&got, &content);
        assert!(stays.chunk().is_empty());
    });
}
