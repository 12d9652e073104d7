//! What a request may ask of the cache (RFC 9111, section 5.2.1).

use crate::support::cache::{Workers, bare, counting, has_condition, page, tagged};
use crate::support::{Origin, eventually, get_with, on_one_and_many_workers};

/// A response that is 50 s old and fresh for 50 s more; what becomes of a request with that Cache-Control.
fn outcome(workers: Workers, control: &str) -> String {
    let origin = counting("Cache-Control: max-age=100\r\nAge: 50\r\n");
    let proxy = workers.proxy(&origin);
    proxy.get("/").expect(200, "1", "MISS");
    let response = proxy.ask(get_with("/", &format!("Cache-Control: {control}\r\n")));
    let hit = response.x_cache() == "HIT";
    assert_eq!((hit, response.text() == "1"), (hit, hit), "{control}: {response:?}");
    response.x_cache().to_owned()
}

#[test]
fn directives_of_a_request_are_obeyed() {
    on_one_and_many_workers(|workers| {
        for (control, want) in [
            ("no-cache", "MISS"),
            ("No-Cache", "MISS"),
            ("x=\"no-cache\"", "HIT"),
            ("max-age=0", "MISS"),
            ("max-age=40", "MISS"),
            ("max-age=90", "HIT"),
            ("max-age=x", "MISS"),
            ("max-age=99999999999999999999", "HIT"),
            ("min-fresh=20", "HIT"),
            ("min-fresh=60", "MISS"),
            ("max-stale", "HIT"),
            ("no-transform", "HIT"),
            ("unknown=1", "HIT"),
        ] {
            assert_eq!(outcome(workers, control), want, "{control}");
        }
    });
}

#[test]
fn a_request_that_insists_brings_what_the_next_one_gets() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        let insisting = proxy.ask(get_with("/", "Cache-Control: no-cache\r\n"));
        insisting.expect(200, "2", "MISS");
        assert_eq!(insisting.cache_status(), "fwd=request; stored");
        // Other workers hear of it a moment later.
        eventually("it is stored", || proxy.get("/").text() == "2");
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn pragma_counts_where_there_is_no_cache_control() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        proxy.ask(get_with("/", "Pragma: no-cache\r\nCache-Control: max-age=50\r\n")).expect(200, "1", "HIT");
        proxy.ask(get_with("/", "Pragma: no-cache\r\n")).expect(200, "2", "MISS");
    });
}

#[test]
fn a_request_that_is_not_to_be_stored_leaves_no_trace() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.ask(get_with("/", "Cache-Control: no-store\r\n")).expect(200, "1", "BYPASS");
        proxy.get("/").expect(200, "2", "MISS");
        proxy.ask(get_with("/", "Cache-Control: no-store\r\n")).expect(200, "3", "BYPASS");
        proxy.get("/").expect(200, "2", "HIT");
    });
}

#[test]
fn a_client_may_take_what_is_stale() {
    on_one_and_many_workers(|workers| {
        for (control, request, x_cache) in [
            ("max-age=10", "max-stale", "STALE"),
            ("max-age=10", "max-stale=100", "STALE"),
            ("max-age=10", "max-stale=20", "MISS"),
            ("max-age=10, must-revalidate", "max-stale", "MISS"),
            ("max-age=10, proxy-revalidate", "max-stale", "MISS"),
            ("s-maxage=10", "max-stale", "MISS"),
        ] {
            let origin = counting(&format!("Cache-Control: {control}\r\nAge: 50\r\nETag: \"a\"\r\n"));
            let proxy = workers.proxy(&origin);
            proxy.get("/").expect(200, "1", "MISS");
            let response = proxy.ask(get_with("/", &format!("Cache-Control: {request}\r\n")));
            assert_eq!(response.x_cache(), x_cache, "{control}, {request}");
            if x_cache == "STALE" {
                assert_eq!(response.cache_status(), "hit");
                assert!(response.ttl().unwrap() <= -40 && response.age().unwrap() >= 50);
            }
        }
    });
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    on_one_and_many_workers(|workers| {
        let origin = tagged("\"a\"", "Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        let only =
            |fields: &str| proxy.ask(get_with("/", &format!("Cache-Control: only-if-cached{fields}\r\n")));
        let refused = only("");
        assert_eq!(refused.status(), 504);
        assert!(!refused.says_close());
        proxy.get("/").expect(200, "content", "MISS");
        only("").expect(200, "content", "HIT");
        for insists in [", no-cache", ", max-age=0", ", min-fresh=200", ", no-store"] {
            assert_eq!(only(insists).status(), 504, "{insists}");
        }
        let post = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\nCache-Control: only-if-cached\r\n\r\n";
        assert_eq!(proxy.ask(post).status(), 504);
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn only_if_cached_takes_what_is_stale_where_it_says_so() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=10\r\nAge: 50\r\nETag: \"a\"\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        assert_eq!(proxy.ask(get_with("/", "Cache-Control: only-if-cached\r\n")).status(), 504);
        let stale = proxy.ask(get_with("/", "Cache-Control: only-if-cached, max-stale\r\n"));
        stale.expect(200, "1", "STALE");
    });
}

#[test]
fn a_refusal_keeps_the_connection() {
    on_one_and_many_workers(|workers| {
        let origin = counting("");
        let proxy = workers.proxy(&origin);
        let mut client = proxy.client();
        for _ in 0..3 {
            assert_eq!(client.ask(get_with("/", "Cache-Control: only-if-cached\r\n")).status(), 504);
        }
        assert_eq!(client.ask(get_with("/", "")).status(), 200);
    });
}

#[test]
fn a_response_with_no_cache_is_validated_for_every_request() {
    on_one_and_many_workers(|workers| {
        let fields = "Cache-Control: no-cache, max-age=100\r\nETag: \"a\"\r\n";
        let origin = Origin::replying(move |request| match has_condition(request) {
            true => bare("304 Not Modified", fields),
            false => page(fields, "content"),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        for control in ["max-stale", "max-age=100", ""] {
            let response = proxy.ask(get_with("/", &format!("Cache-Control: {control}\r\n")));
            response.expect(200, "content", "REVALIDATED");
        }
        assert_eq!(origin.requests().len(), 4);
    });
}
