//! One fetch for however many clients ask for what is missing, on however many cores: all of them get
//! it as it comes, and none of them can spoil it for the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::cache::{
    PATIENT, all_have_asked, cache_number, caching, clients, each, fresh, fresh_head, fresh_with,
    requests_by_worker,
};
use crate::support::{
    Gate, Origin, PATIENCE, Proxy, assert_same, chunk, eventually, get, get_with, ms, noise, ok,
    on_each_driver, once_in_a_few,
};

const MIB: usize = 1 << 20;

/// An origin that holds every answer back until the gate was opened.
fn held_back(gate: &Gate, answer: Vec<u8>) -> Origin {
    let gate = gate.clone();
    Origin::replying(move |_| {
        gate.pass(1);
        answer.clone()
    })
}

/// An origin that sends the head and the first half of the content, and the rest once the gate is open.
fn in_two_halves(gate: &Gate, content: Vec<u8>, chunked: bool) -> Origin {
    let gate = gate.clone();
    Origin::start(move |peer| {
        while peer.request().is_some() {
            let (first, second) = content.split_at(content.len() / 2);
            peer.send(fresh_head((!chunked).then_some(content.len()), "ETag: \"a\"\r\n"));
            peer.send(if chunked { chunk(first) } else { first.to_vec() });
            gate.pass(1);
            if chunked {
                peer.send([&chunk(second)[..], b"0\r\n\r\n"].concat());
            } else {
                peer.send(second);
            }
        }
    })
}

/// Waits until the workers have read so many requests.
fn collapsed(fields: &crate::support::message::Fields) -> bool {
    fields.one("Cache-Status").unwrap().contains("; collapsed")
}

/// Waits until what was fetched is stored, and checks it.
fn is_stored(proxy: &Proxy, target: &str, content: &[u8]) {
    eventually("it is stored", || {
        let response = proxy.get(target);
        assert_same(response.body(), content);
        response.field("X-Cache") == Some("HIT")
    });
}

#[test]
fn a_thousand_clients_of_a_missing_key_cost_the_origin_one_request() {
    const COUNT: usize = 1000;
    on_each_driver(|driver| {
        for cores in [1, 2] {
            once_in_a_few("most have joined", || {
                let gate = Gate::default();
                let origin = held_back(&gate, fresh("small"));
                let proxy = caching(driver, cores, &origin, &PATIENT);
                let mut all = clients(&proxy, COUNT);
                all.iter_mut().for_each(|client| client.send(get("/")));
                all_have_asked(&proxy, COUNT as u64);
                eventually("one fetches", || origin.requests().len() == 1);
                gate.open();
                let joined = each(all, |mut client| {
                    let response = client.response();
                    assert_eq!((response.status(), &*response.text()), (200, "small"));
                    // A worker that is far behind may ask its owner only once it is stored.
                    let late = response.field("X-Cache") == Some("HIT");
                    (usize::from(collapsed(response.fields()) || late), usize::from(late))
                });
                assert_eq!(joined.iter().map(|(joined, _)| joined).sum::<usize>(), COUNT - 1);
                let late: usize = joined.iter().map(|(_, late)| late).sum();
                assert_eq!(origin.requests().len(), 1);
                let by_worker = requests_by_worker(&proxy);
                assert!(
                    by_worker.len() == cores && by_worker.iter().all(|&count| count > 0),
                    "{by_worker:?}"
                );
                assert_eq!(proxy.get("/").field("X-Cache"), Some("HIT"));
                // Those on the worker that owns the key have nobody to ask.
                assert!(
                    late as u64 <= COUNT as u64 - by_worker.iter().min().unwrap(),
                    "{late} of {by_worker:?}"
                );
                late < COUNT / 2
            });
        }
    });
}

#[test]
fn a_thousand_joiners_read_a_large_response_while_the_origin_is_still_sending() {
    const COUNT: usize = 1000;
    on_each_driver(|driver| {
        for chunked in [false, true] {
            let (gate, content) = (Gate::default(), noise(MIB, 1));
            let origin = in_two_halves(&gate, content.clone(), chunked);
            let proxy = caching(driver, 2, &origin, &PATIENT);
            let mut all = clients(&proxy, COUNT);
            all.iter_mut().for_each(|client| client.send(get("/")));
            // Everyone's first bytes are there before the origin goes on.
            let begun = each(all, |mut client| {
                assert_eq!(client.head().status(), 200);
                let first = if chunked { client.chunk() } else { client.exactly(1024) };
                assert!(!first.is_empty() && content.starts_with(&first));
                (client, first.len())
            });
            gate.open();
            each(begun, |(mut client, had)| {
                let mut rest = Vec::new();
                while had + rest.len() < MIB {
                    let wanted = MIB - had - rest.len();
                    rest.extend(if chunked { client.chunk() } else { client.exactly(wanted) });
                }
                assert_same(&rest, &content[had..]);
                assert!(!chunked || client.chunk().is_empty(), "the last chunk");
            });
            assert_eq!(origin.requests().len(), 1);
            assert!(requests_by_worker(&proxy).iter().all(|&count| count > 0));
            is_stored(&proxy, "/", &content);
        }
    });
}

#[test]
fn a_fetch_whose_clients_leave_goes_on_and_is_stored() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let (gate, content) = (Gate::default(), noise(2 * MIB, 2));
            let origin = in_two_halves(&gate, content.clone(), cores == 2);
            let proxy = caching(driver, cores, &origin, &PATIENT);
            // Some leave in the middle of the content, with a reset or a close.
            let mut leaving = clients(&proxy, 6);
            for (place, client) in leaving.iter_mut().enumerate() {
                client.send(get("/a"));
                client.head();
                if place > 2 {
                    client.exactly(1000);
                }
            }
            for (place, client) in leaving.into_iter().enumerate() {
                if place % 2 == 0 { client.reset() } else { drop(client) }
            }
            let mut staying = proxy.client();
            staying.send(get("/a"));
            gate.open();
            let response = staying.response();
            assert_same(response.body(), &content);
            assert_eq!(origin.requests().len(), 1);
            is_stored(&proxy, "/a", &content);
        }
    });
}

#[test]
fn a_fetch_that_all_leave_before_its_head_goes_on_and_is_stored() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let origin = held_back(&gate, fresh("kept"));
            let proxy = caching(driver, cores, &origin, &PATIENT);
            let mut leaving = clients(&proxy, 10);
            leaving.iter_mut().for_each(|client| client.send(get("/")));
            all_have_asked(&proxy, 10);
            for (place, client) in leaving.into_iter().enumerate() {
                if place % 2 == 0 { client.reset() } else { drop(client) }
            }
            gate.open();
            is_stored(&proxy, "/", b"kept");
            assert_eq!(origin.requests().len(), 1);
        }
    });
}

#[test]
fn who_does_not_read_slows_neither_the_fetch_nor_another_reader() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let content = noise(12 * MIB, 3);
            let answer = fresh(&content);
            let origin = Origin::answering(answer);
            let proxy = caching(driver, cores, &origin, &PATIENT);
            // The one who fetches, and others behind it, do not read at all.
            let mut idle = clients(&proxy, 8);
            for client in &mut idle {
                client.send(get("/"));
                client.head();
            }
            let mut reading = clients(&proxy, 8);
            reading.iter_mut().for_each(|client| client.send(get("/")));
            each(reading, |mut client| assert_same(client.response().body(), &content));
            is_stored(&proxy, "/", &content);
            // Those who come to their senses have lost nothing.
            each(idle, |mut client| assert_same(&client.exactly(content.len()), &content));
            assert_eq!(origin.requests().len(), 1);
        }
    });
}

#[test]
fn joiners_get_the_part_or_the_verdict_that_they_asked_for() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let (gate, content) = (Gate::default(), noise(100_000, 4));
            let origin = in_two_halves(&gate, content.clone(), false);
            let proxy = caching(driver, cores, &origin, &PATIENT);
            // The one who fetches wants a part, and everyone else gets what they want all the same.
            let wishes = [
                ("Range: bytes=10-19\r\n", 206, 10..20),
                ("Range: bytes=60000-\r\n", 206, 60_000..100_000),
                ("Range: bytes=-5\r\n", 206, 99_995..100_000),
                ("Range: bytes=100000-\r\n", 416, 0..0),
                ("If-None-Match: \"a\"\r\n", 304, 0..0),
                ("If-None-Match: \"b\"\r\n", 200, 0..100_000),
                ("If-Range: \"b\"\r\nRange: bytes=1-2\r\n", 200, 0..100_000),
                ("If-Range: \"a\"\r\nRange: bytes=1-2\r\n", 206, 1..3),
                ("", 200, 0..100_000),
            ];
            let mut all = clients(&proxy, wishes.len());
            for (client, (fields, ..)) in all.iter_mut().zip(&wishes) {
                client.send(get_with("/", fields));
            }
            all_have_asked(&proxy, wishes.len() as u64);
            gate.open();
            for (mut client, (fields, status, part)) in all.into_iter().zip(wishes) {
                let response = client.response();
                assert_eq!(response.status(), status, "{fields}");
                assert_same(response.body(), &content[part]);
                // The connection is still good.
                assert_eq!(client.ask(get("/")).body().len(), content.len(), "{fields}");
            }
            let request = origin.request();
            for name in ["Range", "If-Range", "If-None-Match"] {
                assert_eq!(request.field(name), None, "what is for all has to come whole");
            }
        }
    });
}

#[test]
fn who_waited_for_another_variant_fetches_their_own() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let held = gate.clone();
            let origin = Origin::replying(move |request| {
                held.pass(1);
                let language = request.field("Accept-Language").unwrap_or("none");
                fresh_with("Vary: Accept-Language\r\n", language)
            });
            let proxy = caching(driver, cores, &origin, &PATIENT);
            let languages = ["de", "en", "fr"];
            let mut all = clients(&proxy, 60);
            for (place, client) in all.iter_mut().enumerate() {
                client.send(get_with("/", &format!("Accept-Language: {}\r\n", languages[place % 3])));
            }
            all_have_asked(&proxy, 60);
            gate.open();
            for (place, client) in all.iter_mut().enumerate() {
                assert_eq!(client.response().text(), languages[place % 3]);
            }
            assert_eq!(origin.requests().len(), 3);
            for language in languages {
                let again = proxy.ask(get_with("/", &format!("Accept-Language: {language}\r\n")));
                assert_eq!((again.field("X-Cache"), &*again.text()), (Some("HIT"), language));
            }
        }
    });
}

#[test]
fn who_has_credentials_does_not_wait_for_what_others_fetch() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            for (fields, hits) in [("", false), ("Cache-Control: public\r\n", true)] {
                let gate = Gate::default();
                let held = gate.clone();
                let origin = Origin::replying(move |request| {
                    if !request.head.fields.has("Authorization") {
                        held.pass(1);
                        return fresh_with(fields, "for all");
                    }
                    ok("for one")
                });
                let proxy = caching(driver, cores, &origin, &PATIENT);
                let mut first = proxy.client();
                first.send(get("/"));
                eventually("the first asks", || origin.requests().len() == 1);
                let with_credentials = get_with("/", "Authorization: Basic eDp5\r\n");
                assert_eq!(proxy.ask(&with_credentials).text(), "for one", "{fields}");
                gate.open();
                assert_eq!(first.response().text(), "for all");
                is_stored(&proxy, "/", b"for all");
                // What is stored is for them where it says so.
                let again = proxy.ask(&with_credentials);
                assert_eq!(again.field("X-Cache") == Some("HIT"), hits, "{fields}");
                assert_eq!(again.text(), if hits { "for all" } else { "for one" });
                assert_eq!(proxy.get("/").text(), "for all");
            }
        }
    });
}

#[test]
fn a_joiner_waits_no_longer_than_it_may() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let (held, count) = (gate.clone(), AtomicUsize::new(0));
            let origin = Origin::replying(move |_| {
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    held.pass(1);
                }
                fresh("late or not")
            });
            let proxy = caching(driver, cores, &origin, &["--cache-wait", "300ms"]);
            let mut first = proxy.client();
            first.send(get("/"));
            eventually("the first asks", || origin.requests().len() == 1);
            let mut others = clients(&proxy, 4);
            let started = Instant::now();
            others.iter_mut().for_each(|client| client.send(get("/")));
            for client in &mut others {
                assert_eq!(client.response().text(), "late or not");
            }
            assert!(started.elapsed() >= ms(300), "they did not wait");
            gate.open();
            assert_eq!(first.response().text(), "late or not");
        }
    });
}

#[test]
fn waiting_for_another_does_not_make_a_response_older() {
    // RFC 9111, 4.2.3: the delay of a response counts from the request that brought it.
    on_each_driver(|driver| {
        let gate = Gate::default();
        let (held, count) = (gate.clone(), AtomicUsize::new(0));
        let origin = Origin::replying(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                held.pass(1);
            }
            fresh("good for an hour")
        });
        let proxy = caching(driver, 2, &origin, &["--cache-wait", "4500ms"]);
        let mut first = proxy.client();
        first.send(get("/"));
        eventually("the first asks", || origin.requests().len() == 1);
        let second = proxy.get("/");
        assert!(second.ttl() > Some(3596), "{:?}", second.head);
        gate.open();
        first.response();
    });
}

#[test]
fn what_cannot_be_shared_makes_nobody_wait_twice() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            // Answers come when all have asked, so that whoever waits for another waits in vain.
            let gate = Gate::default();
            let (held, count) = (gate.clone(), AtomicUsize::new(0));
            let origin = Origin::replying(move |_| {
                let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
                held.pass(if is_first { 1 } else { 2 });
                b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 4\r\n\r\nmine".to_vec()
            });
            let proxy = caching(driver, cores, &origin, &PATIENT);
            let mut all = clients(&proxy, 20);
            all.iter_mut().for_each(|client| client.send(get("/")));
            all_have_asked(&proxy, 20);
            eventually("one fetches", || origin.requests().len() == 1);
            gate.open();
            eventually("all fetch for themselves, at once", || origin.requests().len() == 20);
            // And those who come later do not queue either.
            let mut later = clients(&proxy, 10);
            later.iter_mut().for_each(|client| client.send(get("/")));
            eventually("those who come later fetch too", || origin.requests().len() == 30);
            gate.open();
            for client in all.iter_mut().chain(&mut later) {
                let response = client.response();
                assert_eq!((&*response.text(), response.field("X-Cache")), ("mine", Some("MISS")));
            }
            assert_eq!(cache_number(&proxy, "hits"), 0);
        }
    });
}

#[test]
fn one_client_after_another_is_served_while_one_fetch_crawls() {
    on_each_driver(|driver| {
        let content = noise(64 * 1024, 5);
        let pieces = content.clone();
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                peer.send(fresh_head(None, ""));
                for piece in pieces.chunks(1024) {
                    peer.send(chunk(piece));
                    peer.sleep(ms(10));
                }
                peer.send("0\r\n\r\n");
            }
        });
        let proxy = caching(driver, 2, &origin, &PATIENT);
        let started = Instant::now();
        let mut all = Vec::new();
        // They come at every stage of the fetch, and get all of it.
        while origin.requests().is_empty() || all.len() < 40 {
            let mut client = proxy.client();
            client.send(get("/"));
            all.push(client);
            std::thread::sleep(ms(15));
        }
        each(all, |mut client| assert_same(client.response().body(), &content));
        assert_eq!(origin.requests().len(), 1);
        assert!(started.elapsed() < PATIENCE);
    });
}

#[test]
fn when_a_fetch_takes_too_long_one_of_those_who_wait_begins_another() {
    const COUNT: usize = 50;
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let origin = held_back(&gate, fresh("late"));
            let proxy = caching(driver, cores, &origin, &["--cache-wait", "300ms"]);
            let mut all = clients(&proxy, COUNT);
            let started = Instant::now();
            all.iter_mut().for_each(|client| client.send(get("/")));
            all_have_asked(&proxy, COUNT as u64);
            eventually("another is begun", || origin.requests().len() > 1);
            let asked = origin.requests().len() as u128;
            let waits = started.elapsed().as_millis() / 300;
            gate.open();
            each(all, |mut client| assert_eq!(client.response().text(), "late"));
            assert!(asked <= waits + 2, "{asked} requests after {waits} times as long as anybody waits");
        }
    });
}
