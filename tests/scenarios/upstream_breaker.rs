//! The circuit breaker of an upstream: while too much fails, nothing is sent; then a few requests show whether it is
//! well again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cache::{answer, page};
use crate::support::endpoints::{CLOSE, Endpoint, HANG, RESET, WELL, app, counted, file, list, start, who};
use crate::support::live::Live;
use crate::support::proxy::refusing_port;
use crate::support::{Driver, Origin, Proxy, Setup, eventually, get, ms, ok, on_each_driver, post};

/// How the breaker is.
fn breaker(proxy: &Proxy) -> Value {
    app(proxy)["breaker"].clone()
}

/// Asks until nothing is sent any more.
#[track_caller]
fn ask_until_open(proxy: &Proxy) {
    let mut client = proxy.client();
    eventually("the breaker opens", || {
        client.ask(get("/"));
        breaker(proxy) == "open"
    });
}

#[test]
fn when_too_much_fails_nothing_is_sent() {
    on_each_driver(|driver| {
        for (way, status) in [(500, 500), (503, 503), (RESET, 502), (CLOSE, 502), (HANG, 504)] {
            let (one, other) = (Endpoint::start("one"), Endpoint::start("other"));
            let lines = "retries = 0\nfirst-byte-timeout = '1s'\n\
                         breaker = { rate = '50%', min-requests = 6, window = '1h', time = '1h' }";
            let text = format!(
                "{}[upstream.other]\nendpoints = '{}'\n[[route]]\npath = '/other'\nupstream = 'other'\n",
                file(&list(&[&one]), lines),
                other.at()
            );
            let proxy = start(driver, &text);
            assert_eq!(breaker(&proxy), "closed");
            let mut client = proxy.client();
            assert_eq!(client.ask(get("/")).text(), "one");
            one.serves.set(way);
            for _ in 0..4 {
                assert_eq!(client.ask(get("/")).status(), status);
            }
            // So few mean nothing.
            assert_eq!(breaker(&proxy), "closed");
            ask_until_open(&proxy);
            let before = one.served();
            let response = client.ask(get("/refused"));
            assert_eq!(response.status(), 503);
            assert_eq!(response.field("Proxy-Status"), Some("ringway; error=destination_unavailable"));
            assert!(!response.says_close(), "the client's own connection is as good as before");
            proxy.logged(&["/refused ", "breaker_open"]);
            assert_eq!(client.ask(post("/", b"hello")).status(), 503);
            assert_eq!(who(&proxy, 32), ["503"]);
            assert_eq!(one.served(), before, "nothing reaches it");
            assert_eq!(proxy.get("/other").text(), "other", "others have nothing to do with it");
            assert_eq!(counted(&proxy, "breaker_openings"), 1);
            let line = "upstream app: the circuit breaker is open for 1h: ";
            assert_eq!(proxy.stderr().matches(line).count(), 1, "{}", proxy.stderr());
        }
    });
}

#[test]
fn connections_that_are_refused_count_too() {
    on_each_driver(|driver| {
        let (address, _held) = refusing_port();
        let lines = "breaker = { min-requests = 4, time = '1h' }";
        let proxy = start(driver, &file(&format!("'{address}'"), lines));
        ask_until_open(&proxy);
        proxy.get("/refused");
        proxy.logged(&["/refused ", "breaker_open"]);
    });
}

#[test]
fn few_failures_among_many_requests_do_not_open_it() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/bad" => answer("500 Oh", "", ""),
            "/odd" => answer("404 Not Found", "", ""),
            _ => ok("ok"),
        });
        let lines = "breaker = { rate = '50%', min-requests = 4, window = '1h', time = '1h' }";
        let proxy = start(driver, &file(&format!("'{}'", origin.endpoint()), lines));
        let mut client = proxy.client();
        for _ in 0..20 {
            assert_eq!(client.ask(get("/")).status(), 200);
            assert_eq!(client.ask(get("/odd")).status(), 404);
            assert_eq!(client.ask(get("/bad")).status(), 500);
        }
        std::thread::sleep(ms(300));
        assert_eq!(breaker(&proxy), "closed");
        assert_eq!(counted(&proxy, "breaker_openings"), 0);
    });
}

/// A breaker that opens soon and lets two through after a while.
const SHORT: &str = "retries = 0\nbreaker = { min-requests = 4, window = '1h', time = '5s', trials = 2 }";

#[test]
fn a_few_are_let_through_and_when_they_succeed_all_are() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        let proxy = start(driver, &file(&list(&[&one]), SHORT));
        one.serves.set(500);
        ask_until_open(&proxy);
        one.serves.set(WELL);
        eventually("it is half open", || breaker(&proxy) == "half-open");
        let (before, since) = (one.served(), Instant::now());
        let mut trials = Vec::new();
        eventually("two are let through", || {
            let mut client = proxy.client();
            client.send(get("/held"));
            trials.push(client);
            std::thread::sleep(ms(20));
            one.served() - before >= 2
        });
        // The others were refused, on all workers.
        assert_eq!(who(&proxy, 32), ["503"]);
        if since.elapsed() < Duration::from_secs(3) {
            assert_eq!(one.served(), before + 2, "no more are let through while these are out");
        }
        one.gate.open();
        let statuses: Vec<u16> = trials.iter_mut().map(|client| client.response().status()).collect();
        assert!(statuses.iter().filter(|status| **status == 200).count() >= 2, "{statuses:?}");
        eventually("it is closed", || breaker(&proxy) == "closed");
        assert_eq!(who(&proxy, 32), ["one"]);
        let stderr = proxy.stderr();
        for line in
            ["is half open: 2 requests are let through", "is closed: the requests that were let through"]
        {
            assert_eq!(stderr.matches(line).count(), 1, "{stderr}");
        }
    });
}

#[test]
fn when_one_that_was_let_through_fails_it_is_open_again() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        one.serves.set(500);
        let proxy = start(driver, &file(&list(&[&one]), &SHORT.replace("5s", "1s")));
        ask_until_open(&proxy);
        let before = one.served();
        let mut client = proxy.client();
        eventually("it is open again, twice", || {
            client.ask(get("/"));
            std::thread::sleep(ms(20));
            counted(&proxy, "breaker_openings") >= 3
        });
        // At most as many as are let through each time.
        assert!(one.served() <= before + 2 * 3, "{} more requests", one.served() - before);
        assert!(proxy.stderr().contains("open for another 1s"), "{}", proxy.stderr());
        one.serves.set(WELL);
        eventually("it is closed", || {
            client.ask(get("/"));
            breaker(&proxy) == "closed"
        });
        assert_eq!(who(&proxy, 16), ["one"]);
    });
}

#[test]
fn clients_that_leave_do_not_keep_it_half_open() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        one.serves.set(500);
        let proxy = start(driver, &file(&list(&[&one]), &SHORT.replace("5s", "1s")));
        ask_until_open(&proxy);
        one.serves.set(WELL);
        eventually("it is half open", || breaker(&proxy) == "half-open");
        let before = one.served();
        // Those that are let through never come to an end.
        eventually("two were let through", || {
            let mut client = proxy.client();
            client.send(get("/held"));
            std::thread::sleep(ms(20));
            client.reset();
            one.served() >= before + 2
        });
        let mut client = proxy.client();
        eventually("it is closed", || {
            client.ask(get("/"));
            breaker(&proxy) == "closed"
        });
        one.gate.open();
        assert_eq!(who(&proxy, 16), ["one"]);
    });
}

/// A proxy with a cache in front of this origin.
fn caching(driver: Driver, origin: &Origin) -> Live {
    let lines = "breaker = { min-requests = 4, window = '1h', time = '1h' }";
    let text = file(&format!("'{}'", origin.endpoint()), lines);
    Live::with(Setup::new(driver).cores(2), &text, false)
}

#[test]
fn what_is_stored_stands_in_while_it_is_open() {
    on_each_driver(|driver| {
        let fails = Arc::<AtomicBool>::default();
        let failing = fails.clone();
        let origin = Origin::replying(move |request| {
            if failing.load(Ordering::SeqCst) {
                return answer("500 Oh", "", "");
            }
            match request.target() {
                "/stale" => page("Cache-Control: max-age=1, stale-if-error=3600\r\n", "stale"),
                "/strict" => page("Cache-Control: max-age=1, must-revalidate\r\n", "strict"),
                _ => page("Cache-Control: max-age=3600\r\n", "fresh"),
            }
        });
        let proxy = caching(driver, &origin);
        for target in ["/stale", "/strict", "/fresh"] {
            assert_eq!(proxy.get(target).field("X-Cache"), Some("MISS"));
        }
        std::thread::sleep(ms(2100));
        fails.store(true, Ordering::SeqCst);
        eventually("the breaker opens", || {
            assert_eq!(proxy.get(&format!("/{}", fastrand::u32(..))).status() / 100, 5);
            breaker(&proxy) == "open"
        });
        let before = origin.requests().len();
        for _ in 0..8 {
            proxy.get("/fresh").expect(200, "fresh", "HIT");
            proxy.get("/stale").expect(200, "stale", "STALE");
            assert_eq!(proxy.get("/strict").status(), 503, "it wants to be asked about");
            assert_eq!(proxy.get("/none").status(), 503);
        }
        assert_eq!(origin.requests().len(), before, "nothing reaches the origin");
    });
}

#[test]
fn a_reload_without_it_lets_all_through() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        one.serves.set(500);
        let lines = "breaker = { min-requests = 4, time = '1h' }";
        let proxy = start(driver, &file(&list(&[&one]), lines));
        ask_until_open(&proxy);
        proxy.apply(&file(&list(&[&one]), &lines.replace("1h", "2h")));
        assert_eq!(breaker(&proxy), "open", "what was heard is not forgotten");
        one.serves.set(WELL);
        proxy.apply(&file(&list(&[&one]), ""));
        assert_eq!(breaker(&proxy), Value::Null);
        assert_eq!(who(&proxy, 16), ["one"]);
    });
}
