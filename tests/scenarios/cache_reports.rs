//! What responses tell about the cache: X-Cache, Cache-Status (RFC 9211) and Age.

use crate::support::cache::{ago, bare, counting, has_condition, page, tagged};
use crate::support::{Origin, get, get_with, on_one_and_many_workers, post};

#[test]
fn the_first_request_is_a_miss_and_the_next_is_a_hit() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        let first = proxy.get("/");
        first.expect(200, "1", "MISS");
        assert_eq!(first.cache_status(), "fwd=uri-miss; stored");
        assert_eq!((first.ttl(), first.age()), (Some(100), None));
        for _ in 0..8 {
            let next = proxy.get("/");
            next.expect(200, "1", "HIT");
            assert_eq!(next.cache_status(), "hit");
            assert!(matches!((next.ttl(), next.age()), (Some(90..=100), Some(0..=10))), "{:?}", next.head);
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn a_hit_serves_the_fields_of_the_origin() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page(
            "Cache-Control: max-age=100\r\nX-Odd: \u{e9}\r\nDate: Sun, 06 Nov 2044 08:49:37 GMT\r\nX-Odd: two\r\n\
             Connection: X-Hop\r\nX-Hop: 1\r\nContent-Type: text/odd\r\nVia: 1.1 inner\r\n",
            "content",
        ));
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT"] {
            let response = proxy.get("/");
            response.expect(200, "content", x_cache);
            assert_eq!(response.fields().all("X-Odd"), ["\u{c3}\u{a9}", "two"]);
            assert_eq!(response.field("Date"), Some("Sun, 06 Nov 2044 08:49:37 GMT"));
            assert_eq!(response.field("Content-Type"), Some("text/odd"));
            assert_eq!(response.field("Cache-Control"), Some("max-age=100"));
            assert_eq!(response.fields().all("Via"), ["1.1 inner", "1.1 ringway"]);
            assert!(!response.fields().has("X-Hop") && !response.fields().has("Connection"));
        }
    });
}

#[test]
fn what_is_not_stored_says_why() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: no-store\r\n");
        let proxy = workers.proxy(&origin);
        for count in ["1", "2", "3"] {
            let response = proxy.get("/");
            response.expect(200, count, "MISS");
            assert_eq!(response.cache_status(), "fwd=uri-miss; detail=no-store");
            assert_eq!((response.ttl(), response.age()), (None, None));
        }
    });
}

#[test]
fn what_the_cache_has_no_part_in_is_bypassed() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        let get = |fields: &str| get_with("/", fields).into_bytes();
        for (request, status) in [
            (post("/other", b"x"), "fwd=method"),
            (b"OPTIONS / HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec(), "fwd=method"),
            (get("Cache-Control: no-store\r\n"), "fwd=request"),
            (get("If-Match: \"x\"\r\n"), "fwd=request"),
            (get("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "fwd=request"),
            ([get("Content-Length: 1\r\n"), b"x".to_vec()].concat(), "fwd=bypass"),
            (get("Connection: upgrade\r\nUpgrade: websocket\r\n"), "fwd=bypass"),
        ] {
            let before = origin.requests().len();
            let response = proxy.ask(request);
            response.expect(200, &(before + 1).to_string(), "BYPASS");
            assert_eq!(response.cache_status(), status);
        }
        proxy.get("/").expect(200, "1", "HIT");
    });
}

#[test]
fn a_validated_response_tells_the_status_of_the_origin() {
    on_one_and_many_workers(|workers| {
        let origin = tagged("\"a\"", "Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        let validated = proxy.ask(get_with("/", "Cache-Control: no-cache\r\n"));
        validated.expect(200, "content", "REVALIDATED");
        assert_eq!(validated.cache_status(), "fwd=request; fwd-status=304; stored");
        assert_eq!(validated.ttl(), Some(100));
    });
}

#[test]
fn what_is_stale_is_validated_and_says_so() {
    on_one_and_many_workers(|workers| {
        let stale = || format!("ETag: \"a\"\r\nCache-Control: max-age=10\r\nDate: {}\r\n", ago(60));
        let origin = Origin::replying(move |request| match has_condition(request) {
            true => bare("304 Not Modified", "Cache-Control: max-age=10\r\nETag: \"a\"\r\n"),
            false => page(&stale(), "content"),
        });
        let proxy = workers.proxy(&origin);
        let first = proxy.get("/");
        first.expect(200, "content", "MISS");
        assert!(matches!(first.ttl(), Some(-60..=-49)) && matches!(first.age(), Some(59..=70)));
        let next = proxy.get("/");
        next.expect(200, "content", "REVALIDATED");
        assert_eq!(next.cache_status(), "fwd=stale; fwd-status=304; stored");
        assert!(matches!(next.ttl(), Some(1..=10)), "{:?}", next.head);
        proxy.get("/").expect(200, "content", "HIT");
    });
}

#[test]
fn a_stale_response_that_has_changed_is_a_miss() {
    on_one_and_many_workers(|workers| {
        let origin = counting("ETag: \"a\"\r\nCache-Control: max-age=10\r\nAge: 50\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        let next = proxy.get("/");
        next.expect(200, "2", "MISS");
        assert_eq!(next.cache_status(), "fwd=stale; stored");
    });
}

#[test]
fn the_key_is_told_to_whoever_asks_for_it() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        for _ in 0..2 {
            let request = "GET /a?b=%20\"c HTTP/1.1\r\nHost: EXAMPLE.com:80\r\nX-Cache-Key: 1\r\n\r\n";
            let response = proxy.ask(request);
            let told = response.field("Cache-Status").unwrap().to_owned();
            assert!(told.contains("; key=\"example.com/a?b=%20\\\"c\""), "{told}");
            assert_eq!(origin.requests().len(), 1);
        }
        assert!(!proxy.get("/").field("Cache-Status").unwrap().contains("key"));
    });
}

#[test]
fn age_counts_from_what_the_origin_says() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| {
            let fields = match request.target() {
                "/age" => "Age: 30\r\n".to_owned(),
                "/date" => format!("Date: {}\r\n", ago(30)),
                "/both" => format!("Age: 10\r\nDate: {}\r\n", ago(30)),
                "/future" => "Date: Sun, 06 Nov 2044 08:49:37 GMT\r\nAge: 30\r\n".to_owned(),
                "/junk" => format!("Age: x\r\nDate: {}\r\n", ago(30)),
                other => panic!("{other}"),
            };
            page(&format!("Cache-Control: max-age=100\r\n{fields}"), "x")
        });
        let proxy = workers.proxy(&origin);
        for target in ["/age", "/date", "/both", "/future", "/junk"] {
            for x_cache in ["MISS", "HIT"] {
                let response = proxy.get(target);
                response.expect(200, "x", x_cache);
                let (age, ttl) = (response.age().unwrap(), response.ttl().unwrap());
                assert!((29..=45).contains(&age) && (55..=71).contains(&ttl), "{target}: {age}, {ttl}");
            }
        }
    });
}

#[test]
fn the_report_of_another_cache_stays_before_ours_and_x_cache_is_replaced() {
    on_one_and_many_workers(|workers| {
        let fields = "Cache-Control: max-age=100\r\nX-Cache: HIT\r\nCache-Status: inner; hit\r\n";
        let origin = Origin::answering(page(fields, "x"));
        let proxy = workers.proxy(&origin);
        for (x_cache, status) in [("MISS", "ringway; fwd=uri-miss"), ("HIT", "ringway; hit")] {
            let response = proxy.get("/");
            assert_eq!(response.x_cache(), x_cache);
            let told = response.fields().all("Cache-Status");
            assert!(told.len() == 2 && told[0] == "inner; hit" && told[1].starts_with(status), "{told:?}");
        }
    });
}

#[test]
fn the_cache_has_the_name_of_the_proxy() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.with(&origin, &["--via", "edge-1:80"]);
        proxy.get("/");
        assert_eq!(proxy.get("/").field("Cache-Status"), Some("edge-1:80; hit; ttl=100"));
    });
}

#[test]
fn without_a_cache_nothing_is_stored_and_nothing_is_said() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.with(&origin, &["--no-cache"]);
        for count in ["1", "2"] {
            let response = proxy.ask(get("/"));
            assert_eq!(response.text(), count);
            assert!(!response.fields().has("X-Cache") && !response.fields().has("Cache-Status"));
        }
    });
}

#[test]
fn the_log_tells_what_the_cache_did() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.with(&origin, &["--access-log", "json"]);
        for _ in 0..2 {
            proxy.get("/");
        }
        proxy.ask(post("/other", b""));
        for outcome in ["MISS", "HIT", "BYPASS"] {
            proxy.logged(&[&format!("\"cache\":\"{outcome}\"")]);
        }
    });
}
