//! Conditional requests: those of clients, answered from the cache (RFC 9111, section 4.3.2), and those by
//! which the cache validates what is stale (sections 4.3.1, 4.3.3 and 4.3.4).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::cache::{ago, answer, bare, counting, has_condition, page};
use crate::support::{Origin, eventually, get_with, on_one_and_many_workers};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[test]
fn conditions_of_clients_are_answered_from_the_cache() {
    on_one_and_many_workers(|workers| {
        let fields = format!(
            "Cache-Control: max-age=100\r\nETag: W/\"a\"\r\nLast-Modified: {MODIFIED}\r\nX-Other: 1\r\n"
        );
        let origin = Origin::answering(page(&format!("{fields}Content-Type: text/plain\r\n"), "content"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        for (condition, status) in [
            ("If-None-Match: W/\"a\"\r\n", 304),
            ("If-None-Match: \"a\"\r\n", 304),
            ("If-None-Match: \"b\"\r\n", 200),
            ("If-None-Match: \"b\", \"a,b\", W/\"a\"\r\n", 304),
            ("If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n", 304),
            ("If-None-Match: *\r\n", 304),
            ("If-None-Match: a\r\n", 200),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 304),
            ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", 304),
            ("If-Modified-Since: Sun Nov  6 08:49:38 1994\r\n", 304),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 200),
            ("If-Modified-Since: then\r\n", 200),
            ("If-None-Match: \"b\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200),
        ] {
            let response = proxy.ask(get_with("/", condition));
            let content = if status == 200 { "content" } else { "" };
            response.expect(status, content, "HIT");
            assert_eq!(response.field("ETag"), Some("W/\"a\""), "{condition}");
            assert_eq!(response.field("Cache-Control"), Some("max-age=100"));
            let of_content = (response.field("Content-Type"), response.field("Content-Length"));
            let whole = (Some("text/plain"), Some("7"));
            assert_eq!(of_content, if status == 200 { whole } else { (None, None) }, "{condition}");
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn only_a_success_can_be_not_modified() {
    on_one_and_many_workers(|workers| {
        let fields = "Cache-Control: max-age=100\r\nETag: \"a\"\r\n";
        let origin = Origin::answering(answer("404 Not Found", fields, "gone"));
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT"] {
            proxy.ask(get_with("/", "If-None-Match: \"a\"\r\n")).expect(404, "gone", x_cache);
        }
    });
}

/// The conditions that the origin was sent last.
fn conditions(origin: &Origin) -> (Option<String>, Option<String>) {
    let requests = origin.requests();
    let last = requests.last().unwrap();
    let of = |name| last.field(name).map(str::to_owned);
    (of("If-None-Match"), of("If-Modified-Since"))
}

#[test]
fn what_is_stale_is_validated_with_all_that_is_known_of_it() {
    on_one_and_many_workers(|workers| {
        for (fields, tag, date) in [
            ("ETag: \"a\"\r\n", Some("\"a\""), None),
            ("ETag: W/\"a\"\r\n", Some("W/\"a\""), None),
            (
                "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT\r\n",
                None,
                Some("Sunday, 06-Nov-94 08:49:37 GMT"),
            ),
            (
                "ETag: \"a\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                Some("\"a\""),
                Some(MODIFIED),
            ),
        ] {
            let origin = Origin::replying(move |request| match has_condition(request) {
                true => bare("304 Not Modified", ""),
                false => page(&format!("Cache-Control: max-age=10\r\nAge: 50\r\n{fields}"), "content"),
            });
            let proxy = workers.proxy(&origin);
            proxy.get("/").expect(200, "content", "MISS");
            // What the client has is its own affair.
            let asked =
                get_with("/", &format!("If-None-Match: \"mine\"\r\nIf-Modified-Since: {}\r\n", ago(9)));
            let response = proxy.ask(asked);
            assert_eq!((response.x_cache(), origin.requests().len()), ("REVALIDATED", 2));
            assert_eq!(conditions(&origin), (tag.map(str::to_owned), date.map(str::to_owned)));
        }
    });
}

#[test]
fn a_304_brings_new_fields_and_a_new_lifetime() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match has_condition(request) {
            true => bare(
                "304 Not Modified",
                "ETag: \"a\"\r\nCache-Control: max-age=100\r\nX-New: 2\r\nX-Both: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\n",
            ),
            false => page(
                "ETag: \"a\"\r\nCache-Control: max-age=10\r\nAge: 50\r\nX-Old: 1\r\nX-Both: 1\r\nX-Both: 1b\r\n\
                 Content-Type: text/odd\r\nContent-Encoding: odd\r\n",
                "content",
            ),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        for x_cache in ["REVALIDATED", "HIT", "HIT"] {
            let response = proxy.get("/");
            response.expect(200, "content", x_cache);
            let fields = response.fields();
            assert_eq!((fields.one("X-Old"), fields.one("X-New")), (Some("1"), Some("2")));
            assert_eq!(fields.all("X-Both"), ["2"]);
            assert_eq!(fields.one("Cache-Control"), Some("max-age=100"));
            assert_eq!(fields.one("Content-Type"), Some("text/odd"));
            assert_eq!(fields.one("Content-Encoding"), Some("odd"));
            assert_eq!(fields.one("Content-Length"), Some("7"));
            assert_eq!(fields.all("Via"), ["1.1 ringway"]);
            assert!(!fields.has("X-Hop") && response.age() <= Some(20));
        }
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn a_304_that_says_nothing_renews_the_lifetime_that_was_stated() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match has_condition(request) {
            true => bare("304 Not Modified", ""),
            false => page(
                &format!("ETag: \"a\"\r\nCache-Control: max-age=30\r\nDate: {}\r\nAge: 50\r\n", ago(60)),
                "content",
            ),
        });
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "REVALIDATED", "HIT", "HIT"] {
            proxy.get("/").expect(200, "content", x_cache);
        }
    });
}

#[test]
fn a_304_has_an_age_of_its_own() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match has_condition(request) {
            true => bare("304 Not Modified", "ETag: \"a\"\r\nAge: 20\r\n"),
            false => page("ETag: \"a\"\r\nCache-Control: max-age=30\r\nAge: 50\r\n", "content"),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        let response = proxy.get("/");
        response.expect(200, "content", "REVALIDATED");
        assert!(matches!(response.age(), Some(20..=29)), "{:?}", response.head);
    });
}

#[test]
fn a_304_about_something_else_makes_the_cache_ask_for_the_whole() {
    on_one_and_many_workers(|workers| {
        for named in ["ETag: \"b\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "ETag: a\r\n"] {
            let origin = Origin::replying(move |request| match has_condition(request) {
                true => bare("304 Not Modified", named),
                false => page("ETag: \"a\"\r\nCache-Control: max-age=10\r\nAge: 50\r\n", "content"),
            });
            let proxy = workers.proxy(&origin);
            proxy.get("/").expect(200, "content", "MISS");
            let response = proxy.get("/");
            response.expect(200, "content", "MISS");
            assert_eq!(response.cache_status(), "fwd=stale; stored");
            let conditional: Vec<_> = origin.requests().iter().map(has_condition).collect();
            assert_eq!(conditional, [false, true, false], "{named}");
        }
    });
}

#[test]
fn a_validated_response_answers_the_clients_own_condition() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match has_condition(request) {
            true => bare("304 Not Modified", "ETag: \"a\"\r\n"),
            false => page("ETag: \"a\"\r\nCache-Control: max-age=10\r\nAge: 50\r\n", "content"),
        });
        for (fields, status, content) in [
            ("If-None-Match: \"a\"\r\n", 304, ""),
            ("If-None-Match: \"b\"\r\n", 200, "content"),
            ("Range: bytes=1-3\r\n", 206, "ont"),
        ] {
            let proxy = workers.proxy(&origin);
            proxy.get("/").expect(200, "content", "MISS");
            proxy.ask(get_with("/", fields)).expect(status, content, "REVALIDATED");
        }
    });
}

#[test]
fn what_has_changed_takes_the_place_of_what_was_stored() {
    on_one_and_many_workers(|workers| {
        let count = AtomicUsize::new(0);
        let origin = Origin::replying(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => page("ETag: \"a\"\r\nCache-Control: max-age=10\r\nAge: 50\r\nX-Old: 1\r\n", "old"),
            _ => page("ETag: \"b\"\r\nCache-Control: max-age=100\r\n", "new"),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "old", "MISS");
        for x_cache in ["MISS", "HIT"] {
            let response = proxy.get("/");
            response.expect(200, "new", x_cache);
            assert_eq!((response.field("ETag"), response.field("X-Old")), (Some("\"b\""), None));
        }
    });
}

#[test]
fn what_may_no_longer_be_stored_removes_what_was() {
    on_one_and_many_workers(|workers| {
        let count = AtomicUsize::new(0);
        let origin = Origin::replying(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => page("ETag: \"a\"\r\nCache-Control: max-age=10\r\nAge: 50\r\n", "old"),
            _ => page("Cache-Control: no-store\r\n", "new"),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "old", "MISS");
        proxy.get("/").expect(200, "new", "MISS");
        // Other workers hear of it a moment later.
        eventually("the old one is gone", || {
            let last = proxy.ask(get_with("/", "Cache-Control: max-stale\r\n"));
            let is_gone = last.text() == "new";
            if is_gone {
                last.expect(200, "new", "MISS");
                assert_eq!(last.cache_status(), "fwd=uri-miss; detail=no-store");
            }
            is_gone
        });
    });
}

#[test]
fn a_304_that_nobody_asked_for_is_passed_on_and_not_stored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(bare("304 Not Modified", "Cache-Control: max-age=100\r\n"));
        let proxy = workers.proxy(&origin);
        for _ in 0..2 {
            let response = proxy.get("/");
            response.expect(304, "", "MISS");
            assert_eq!(response.cache_status(), "fwd=uri-miss; detail=status");
        }
    });
}

#[test]
fn what_has_no_validator_is_fetched_again_without_a_condition() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=100\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        let asked = get_with("/", "Cache-Control: no-cache\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-\r\n");
        proxy.ask(asked).expect(206, "2", "MISS");
        let last = origin.requests().pop().unwrap();
        assert!(!has_condition(&last) && last.field("Range").is_none());
        // Other workers hear of it a moment later.
        eventually("it is stored", || proxy.get("/").text() == "2");
    });
}

#[test]
fn a_cookie_that_a_304_sets_is_for_the_client_whose_request_it_answers() {
    on_one_and_many_workers(|workers| {
        // A session is begun for whoever comes, whatever the answer is (RFC 9111, section 7.3).
        let origin = Origin::replying(|request| match has_condition(request) {
            true => bare("304 Not Modified", "ETag: \"a\"\r\nSet-Cookie: session=1\r\n"),
            false => page("ETag: \"a\"\r\nCache-Control: max-age=10\r\nAge: 50\r\n", "content"),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        let first = proxy.get("/");
        first.expect(200, "content", "REVALIDATED");
        assert_eq!(first.field("Set-Cookie"), Some("session=1"));
        let next = proxy.get("/");
        next.expect(200, "content", "HIT");
        assert_eq!(next.field("Set-Cookie"), None);
    });
}

#[test]
fn a_304_that_forbids_storing_removes_what_was_stored() {
    on_one_and_many_workers(|workers| {
        for said in ["private", "no-store"] {
            let origin = Origin::replying(move |r| {
                if has_condition(r) {
                    bare("304 Not Modified", &format!("ETag: \"a\"\r\nCache-Control: {said}\r\n"))
                } else {
                    page(
                        "ETag: \"a\"\r\nCache-Control: max-age=10, stale-if-error=1000\r\nAge: 50\r\n",
                        "content",
                    )
                }
            });
            let proxy = workers.proxy(&origin);
            proxy.get("/").expect(200, "content", "MISS");
            proxy.get("/").expect(200, "content", "REVALIDATED");
            let stored = || get_with("/", "Cache-Control: only-if-cached, max-stale\r\n");
            // Other workers hear of it a moment later.
            eventually("it is gone", || proxy.ask(stored()).status() == 504);
        }
    });
}

#[test]
fn a_304_that_forbids_storing_removes_what_each_use_has_to_validate() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(move |request| {
            if has_condition(request) {
                bare("304 Not Modified", "ETag: \"a\"\r\nCache-Control: no-store\r\n")
            } else {
                page("ETag: \"a\"\r\nCache-Control: no-cache\r\n", "content")
            }
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        proxy.get("/").expect(200, "content", "REVALIDATED");
        // Another worker may hear of it a moment later.
        eventually("nothing is stored to validate", || {
            assert_eq!(proxy.get("/").text(), "content");
            !has_condition(origin.requests().last().unwrap())
        });
    });
}
