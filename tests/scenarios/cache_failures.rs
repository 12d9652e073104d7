//! Fetches that fail: whoever reads along sees the response break off, whoever waits is told, nothing of
//! it is stored, and the origin is not stormed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::cache::{
    PATIENT, all_have_asked, answer, cache_number, caching, clients, each, fresh, fresh_head, fresh_with,
};
use crate::support::origin::Peer;
use crate::support::{
    End, Gate, Origin, assert_same, chunk, eventually, get, get_with, ms, noise, on_each_driver,
    on_one_and_many_workers,
};

fn get_1_0(target: &str) -> String {
    format!("GET {target} HTTP/1.0\r\nHost: example.com\r\n\r\n")
}

/// How a response breaks off.
const BREAKS: [(&str, bool, fn(&mut Peer)); 6] = [
    ("a close before the length is reached", false, |_| ()),
    ("a reset before the length is reached", false, |peer| peer.reset()),
    ("silence before the length is reached", false, Peer::hang),
    ("a close before the last chunk", true, |_| ()),
    ("a malformed chunk", true, |peer| peer.send("xyz\r\n")),
    ("silence before the last chunk", true, Peer::hang),
];

#[test]
fn a_fetch_that_breaks_off_breaks_off_for_every_reader_and_is_not_stored() {
    on_each_driver(|driver| {
        for (place, (what, chunked, breaks)) in BREAKS.into_iter().enumerate() {
            let cores = 1 + place % 2;
            let (gate, content) = (Gate::default(), noise(200_000, 6));
            let (held, whole, count) = (gate.clone(), content.clone(), AtomicUsize::new(0));
            let origin = Origin::start(move |peer| {
                while peer.request().is_some() {
                    let breaks_off = count.fetch_add(1, Ordering::SeqCst) == 0;
                    let half = if breaks_off { &whole[..100_000] } else { &whole[..] };
                    peer.send(fresh_head((!chunked).then_some(whole.len()), ""));
                    peer.send(if chunked { chunk(half) } else { half.to_vec() });
                    if breaks_off {
                        held.pass(1);
                        breaks(peer);
                        return;
                    }
                    peer.send(if chunked { "0\r\n\r\n" } else { "" });
                }
            });
            let args = [&PATIENT[..], &["--upstream-timeout", "500ms"]].concat();
            let proxy = caching(driver, cores, &origin, &args);
            let mut all = clients(&proxy, 20);
            for (place, client) in all.iter_mut().enumerate() {
                client.send(if place % 3 == 2 { get_1_0("/") } else { get("/") });
            }
            all_have_asked(&proxy, 20);
            gate.open();
            let late = each(all, |mut client| match client.try_response_to("GET") {
                // Who was asked for too late to join has had another fetch.
                Ok(response) => {
                    assert_same(response.body(), &content);
                    1
                }
                Err((head, broken)) => {
                    assert!(head.is_none_or(|head| head.status() == 200), "{what}");
                    assert_ne!(broken.end, End::Silent, "{what}");
                    // A reset may overtake what was sent before it.
                    assert!(content[..100_000].starts_with(&broken.partial), "{what}");
                    0
                }
            });
            let late: usize = late.iter().sum();
            assert!(late < 20, "{what}: some have joined");
            if late > 0 {
                continue;
            }
            assert_eq!(origin.requests().len(), 1, "{what}");
            let again = proxy.get("/");
            assert_same(again.body(), &content);
            assert_eq!(again.field("X-Cache"), Some("MISS"), "{what}");
        }
    });
}

#[test]
fn who_waits_for_an_origin_that_fails_is_told_so_and_the_origin_is_asked_once() {
    const COUNT: usize = 200;
    let ways: [(&str, u16, fn(&mut Peer)); 4] = [
        ("it closes without an answer", 502, |_| ()),
        ("it resets the connection", 502, Peer::reset),
        ("it answers with something else", 502, |peer| peer.send("220 mail.example ESMTP\r\n\r\n")),
        ("it does not answer", 504, Peer::hang),
    ];
    on_each_driver(|driver| {
        for (place, (what, status, fails)) in ways.into_iter().enumerate() {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::start(move |peer| {
                if peer.request().is_some() {
                    held.pass(1);
                    fails(peer);
                }
            });
            let args = [&PATIENT[..], &["--first-byte-timeout", "2s"]].concat();
            let proxy = caching(driver, 1 + place % 2, &origin, &args);
            let mut all = clients(&proxy, COUNT);
            all.iter_mut().for_each(|client| client.send(get("/")));
            all_have_asked(&proxy, COUNT as u64);
            gate.open();
            each(all, |mut client| assert_eq!(client.response().status(), status, "{what}"));
            assert!(origin.requests().len() <= 2, "{what}: {} requests", origin.requests().len());
            assert_eq!(cache_number(&proxy, "hits"), 0);
        }
    });
}

#[test]
fn an_origin_that_refuses_connections_is_not_stormed() {
    const COUNT: usize = 100;
    on_each_driver(|driver| {
        // Nobody accepts, so that whoever connects waits; then nobody is there any more.
        let (address, listener, filling) = crate::support::proxy::deaf_port();
        let origin = Origin::echo();
        let url = format!("http://{address}");
        let args = ["--origin", &url, "--cache-wait", "60s", "--connect-timeout", "1s"];
        let proxy = crate::support::Setup::new(driver)
            .cores(2)
            .admin()
            .args(&["--access-log", "off"])
            .args(&args)
            .start();
        let mut all = clients(&proxy, COUNT);
        all.iter_mut().for_each(|client| client.send(get("/")));
        all_have_asked(&proxy, COUNT as u64);
        each(all, |mut client| assert_eq!(client.response().status(), 504));
        drop((listener, filling, origin));
        assert_eq!(proxy.get("/").status(), 502, "it is refused at once now");
    });
}

#[test]
fn a_fetch_that_failed_is_followed_by_another() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let count = Arc::new(AtomicUsize::new(0));
            let counting = count.clone();
            let origin = Origin::start(move |peer| {
                if peer.request().is_some() {
                    if counting.fetch_add(1, Ordering::SeqCst) == 0 {
                        peer.sleep(ms(20));
                        return;
                    }
                    // On a connection that was used before, the request would be sent again.
                    peer.send(fresh_with("Connection: close\r\n", "good"));
                }
            });
            let proxy = caching(driver, cores, &origin, &PATIENT);
            for round in 0..5 {
                let target = format!("/{round}");
                count.store(0, Ordering::SeqCst);
                assert_eq!(proxy.get(&target).status(), 502);
                assert_eq!(proxy.get(&target).text(), "good");
                assert_eq!(proxy.get(&target).field("X-Cache"), Some("HIT"));
            }
        }
    });
}

#[test]
fn a_fault_of_one_request_does_not_keep_others_from_sharing() {
    on_one_and_many_workers(|workers| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::replying(move |request| match request.field("Authorization") {
            Some(_) => answer("401 Unauthorized", "", ""),
            None => {
                held.pass(1);
                fresh("x")
            }
        });
        let proxy = workers.setup(&origin).admin().start();
        assert_eq!(proxy.ask(get_with("/", "Authorization: Basic x\r\n")).status(), 401);
        let mut all = clients(&proxy, 10);
        all.iter_mut().for_each(|client| client.send(get("/")));
        all_have_asked(&proxy, 11);
        eventually("one fetches", || origin.requests().len() >= 2);
        // Time for those to come who must not.
        std::thread::sleep(ms(200));
        assert_eq!(origin.requests().len(), 2);
        gate.open();
        let missed = each(all, |mut client| {
            let response = client.response();
            assert_eq!((response.status(), response.text().as_str()), (200, "x"));
            // A worker that is far behind may ask its owner only once it is stored.
            usize::from(response.x_cache() == "MISS")
        });
        assert!(missed.iter().sum::<usize>() > 0);
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn who_waits_while_the_origin_answers_with_a_failure_asks_again_with_the_others_a_few_times() {
    const COUNT: usize = 50;
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::replying(move |_| {
                held.pass(1);
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec()
            });
            let proxy = caching(driver, cores, &origin, &PATIENT);
            let mut all = clients(&proxy, COUNT);
            all.iter_mut().for_each(|client| client.send(get("/")));
            all_have_asked(&proxy, COUNT as u64);
            gate.open();
            each(all, |mut client| assert!(matches!(client.response().status(), 502 | 503)));
            // One by each of the rounds, and those who were late for one of them.
            assert!(origin.requests().len() < COUNT, "{} requests", origin.requests().len());
        }
    });
}
