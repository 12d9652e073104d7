//! Stale responses: served while they are validated, served when the origin fails (RFC 5861), and never where
//! that is forbidden (RFC 9111, section 4.2.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread;

use crate::support::cache::{Workers, answer, bare, counting, has_condition, page};
use crate::support::{Gate, Origin, Proxy, eventually, get_with, ms, on_one_and_many_workers};

/// An origin whose first response has these fields and is 50 s old; what it says to those that validate it is
/// this status.
fn failing(fields: &'static str, status: &'static str) -> Origin {
    let served = AtomicUsize::new(0);
    Origin::replying(move |_| match served.fetch_add(1, Ordering::SeqCst) {
        0 => page(&format!("Age: 50\r\nETag: \"a\"\r\n{fields}"), "content"),
        _ => answer(status, "", "failed"),
    })
}

fn wait_for(origin: &Origin, requests: usize) {
    eventually("the origin is asked", || origin.requests().len() >= requests);
}

#[test]
fn a_stale_response_is_served_while_one_request_validates_it() {
    on_one_and_many_workers(|workers| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::replying(move |request| match has_condition(request) {
            true => {
                held.pass(1);
                bare("304 Not Modified", "Cache-Control: max-age=100\r\n")
            }
            false => page(
                "Cache-Control: max-age=10, stale-while-revalidate=100\r\nAge: 50\r\nETag: \"a\"\r\n",
                "content",
            ),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        for _ in 0..20 {
            let stale = proxy.get("/");
            stale.expect(200, "content", "STALE");
            assert_eq!(stale.cache_status(), "hit");
            assert!(stale.ttl().unwrap() < 0 && stale.age().unwrap() >= 50);
        }
        gate.open();
        eventually("it is validated", || proxy.get("/").x_cache() == "HIT");
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn a_validation_beside_brings_what_has_changed() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=10, stale-while-revalidate=100\r\nAge: 50\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        proxy.get("/").expect(200, "1", "STALE");
        eventually("another one is stored", || proxy.get("/").text() != "1");
    });
}

#[test]
fn whoever_triggers_a_validation_gets_the_part_that_it_wants_and_the_cache_the_whole() {
    on_one_and_many_workers(|workers| {
        let fields = "Cache-Control: max-age=1, stale-while-revalidate=100\r\nAge: 50\r\n";
        let origin = Origin::answering(page(fields, "content"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        proxy.ask(get_with("/", "Range: bytes=0-2\r\n")).expect(206, "con", "STALE");
        wait_for(&origin, 2);
        assert!(origin.requests().iter().all(|request| request.field("Range").is_none()));
        thread::sleep(ms(100));
        proxy.get("/").expect(200, "content", "STALE");
    });
}

#[test]
fn the_window_for_stale_responses_ends() {
    on_one_and_many_workers(|workers| {
        let origin =
            counting("Cache-Control: max-age=10, stale-while-revalidate=20\r\nAge: 50\r\nETag: \"a\"\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        proxy.get("/").expect(200, "2", "MISS");
    });
}

#[test]
fn a_stale_response_stands_in_for_an_origin_that_fails() {
    on_one_and_many_workers(|workers| {
        for status in ["500 Oops", "502 Bad", "503 Busy", "504 Late"] {
            let origin = failing("Cache-Control: max-age=10, stale-if-error=100\r\n", status);
            let proxy = workers.proxy(&origin);
            proxy.get("/").expect(200, "content", "MISS");
            for _ in 0..2 {
                let stale = proxy.get("/");
                stale.expect(200, "content", "STALE");
                let told = format!("fwd=stale; fwd-status={}; detail=origin-failed", &status[..3]);
                assert_eq!(stale.cache_status(), told);
                assert!(stale.ttl().unwrap() <= -40);
            }
            assert_eq!(origin.requests().len(), 3);
        }
    });
}

#[test]
fn an_error_that_is_no_failure_is_passed_on() {
    on_one_and_many_workers(|workers| {
        for status in ["404 Gone", "403 No", "501 What"] {
            let origin = failing("Cache-Control: max-age=10, stale-if-error=100\r\n", status);
            let proxy = workers.proxy(&origin);
            proxy.get("/").expect(200, "content", "MISS");
            proxy.get("/").expect(status[..3].parse().unwrap(), "failed", "MISS");
        }
    });
}

/// A response that is stale, and an origin that breaks off every other request.
fn breaking(fields: &'static str) -> Origin {
    let fields = format!("Age: 50\r\nETag: \"a\"\r\n{fields}");
    Origin::start(move |peer| {
        while let Some(request) = peer.request() {
            if has_condition(&request) {
                return;
            }
            peer.send(page(&fields, "content"));
        }
    })
}

#[test]
fn a_stale_response_stands_in_for_an_origin_that_does_not_answer() {
    on_one_and_many_workers(|workers| {
        let origin = breaking("Cache-Control: max-age=10, stale-if-error=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        for _ in 0..2 {
            let stale = proxy.get("/");
            stale.expect(200, "content", "STALE");
            assert_eq!(stale.cache_status(), "fwd=stale; detail=origin-failed");
        }
    });
}

#[test]
fn what_must_be_validated_is_never_served_stale() {
    on_one_and_many_workers(|workers| {
        let windows = "max-age=10, stale-if-error=100, stale-while-revalidate=100";
        for (control, directive) in [
            (windows, "must-revalidate"),
            (windows, "proxy-revalidate"),
            (windows, "no-cache"),
            // It forbids as much, unless the response says how long it may be used all the same.
            ("max-age=10", "s-maxage=10"),
        ] {
            let fields = format!("Cache-Control: {control}, {directive}\r\n");
            let origin = breaking(fields.leak());
            let proxy = workers.with(&origin, &["--cache-grace", "100s"]);
            proxy.get("/").expect(200, "content", "MISS");
            let failed = proxy.ask(get_with("/", "Cache-Control: max-stale\r\n"));
            assert_eq!((failed.status(), failed.x_cache()), (502, "MISS"), "{directive}");
            // It is still there, for when the origin is.
            assert!(origin.requests().iter().skip(1).all(has_condition));
        }
        let origin = breaking("Cache-Control: s-maxage=10, stale-if-error=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        proxy.get("/").expect(200, "content", "STALE");
    });
}

#[test]
fn grace_is_for_responses_that_say_nothing_about_it() {
    on_one_and_many_workers(|workers| {
        for (grace, control, x_cache) in [
            ("100s", "max-age=10", "STALE"),
            ("10s", "max-age=10", "MISS"),
            ("100s", "max-age=10, stale-while-revalidate=0, stale-if-error=0", "MISS"),
        ] {
            let origin = counting(&format!("Cache-Control: {control}\r\nAge: 50\r\nETag: \"a\"\r\n"));
            let proxy = workers.with(&origin, &["--cache-grace", grace]);
            proxy.get("/").expect(200, "1", "MISS");
            assert_eq!(proxy.get("/").x_cache(), x_cache, "{grace}, {control}");
        }
        let origin = breaking("Cache-Control: max-age=10, stale-while-revalidate=0\r\n");
        let proxy = workers.with(&origin, &["--cache-grace", "100s"]);
        proxy.get("/").expect(200, "content", "MISS");
        proxy.get("/").expect(200, "content", "STALE");
    });
}

#[test]
fn without_leave_a_failure_is_passed_on() {
    on_one_and_many_workers(|workers| {
        let origin = breaking("Cache-Control: max-age=10\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        assert_eq!(proxy.get("/").status(), 502);
    });
}

#[test]
fn a_request_that_insists_on_the_origin_hears_that_it_fails() {
    on_one_and_many_workers(|workers| {
        let origin = breaking("Cache-Control: max-age=100, stale-if-error=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        assert_eq!(proxy.ask(get_with("/", "Cache-Control: no-cache\r\n")).status(), 502);
        proxy.get("/").expect(200, "content", "HIT");
    });
}

#[test]
fn an_origin_that_comes_back_is_believed() {
    on_one_and_many_workers(back_again);
}

fn back_again(workers: Workers) {
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    let origin = Origin::replying(move |request| match told.load(Ordering::SeqCst) {
        200 if has_condition(request) => {
            bare("304 Not Modified", "Cache-Control: max-age=100\r\nETag: \"a\"\r\n")
        }
        200 => page("Cache-Control: max-age=10, stale-if-error=100\r\nAge: 50\r\nETag: \"a\"\r\n", "content"),
        _ => answer("503 Busy", "", "failed"),
    });
    let proxy: Proxy = workers.proxy(&origin);
    proxy.get("/").expect(200, "content", "MISS");
    status.store(503, Ordering::SeqCst);
    proxy.get("/").expect(200, "content", "STALE");
    status.store(200, Ordering::SeqCst);
    proxy.get("/").expect(200, "content", "REVALIDATED");
    proxy.get("/").expect(200, "content", "HIT");
}
