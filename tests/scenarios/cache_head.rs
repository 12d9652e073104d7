//! HEAD: answered from what a GET has stored, and what its own responses say about that (RFC 9111, section
//! 4.3.5).

use crate::support::cache::{Workers, answer, bare, has_condition, page};
use crate::support::client::Response;
use crate::support::{Origin, Proxy, eventually, on_one_and_many_workers};

fn head(proxy: &Proxy, fields: &str) -> Response {
    let mut client = proxy.client();
    client.send(format!("HEAD / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"));
    client.response_to("HEAD")
}

#[test]
fn a_stored_get_answers_head() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page("Cache-Control: max-age=100\r\nETag: \"a\"\r\n", "content"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        for (fields, status) in [("", 200), ("Range: bytes=0-1\r\n", 200), ("If-None-Match: \"a\"\r\n", 304)]
        {
            let response = head(&proxy, fields);
            response.expect(status, "", "HIT");
            let length = (status == 200).then_some("7");
            assert_eq!((response.field("Content-Length"), response.field("ETag")), (length, Some("\"a\"")));
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn head_stores_nothing() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let answer = page("Cache-Control: max-age=100\r\n", "content");
                let end = if request.head.method() == "HEAD" { answer.len() - 7 } else { answer.len() };
                peer.send(&answer[..end]);
            }
        });
        let proxy = workers.proxy(&origin);
        for _ in 0..2 {
            let response = head(&proxy, "");
            response.expect(200, "", "MISS");
            assert_eq!(response.cache_status(), "fwd=uri-miss");
            assert_eq!(response.field("Content-Length"), Some("7"));
        }
        proxy.get("/").expect(200, "content", "MISS");
    });
}

/// What an origin says to HEAD about content that it sent with the tag `"a"` and 7 bytes, and what the next
/// GET finds in the cache: X-Cache, and a field that HEAD has brought.
fn described(workers: Workers, said: &'static str, x_cache: &str, told: Option<&str>) {
    let origin = Origin::replying(move |request| match request.head.method() {
        "HEAD" => format!("HTTP/1.1 {said}\r\n").into_bytes(),
        _ if has_condition(request) => bare("304 Not Modified", "ETag: \"a\"\r\n"),
        _ => page("Cache-Control: max-age=100\r\nETag: \"a\"\r\n", "content"),
    });
    let proxy = workers.proxy(&origin);
    proxy.get("/").expect(200, "content", "MISS");
    let status = said[..3].parse().unwrap();
    head(&proxy, "Cache-Control: no-cache\r\n").expect(status, "", "MISS");
    // Other workers hear of it a moment later.
    eventually(said, || {
        let next = proxy.get("/");
        (next.status(), &*next.text()) == (200, "content")
            && (next.x_cache(), next.field("X-New")) == (x_cache, told)
    });
}

#[test]
fn a_head_that_agrees_freshens_what_is_stored() {
    on_one_and_many_workers(|workers| {
        for said in [
            "200 OK\r\nETag: \"a\"\r\nContent-Length: 7\r\nX-New: 1\r\nCache-Control: max-age=200\r\n",
            "200 OK\r\nETag: \"a\"\r\nX-New: 1\r\n",
            "200 OK\r\nContent-Length: 7\r\nX-New: 1\r\n",
        ] {
            described(workers, said, "HIT", Some("1"));
        }
    });
}

#[test]
fn a_head_that_disagrees_makes_what_is_stored_stale() {
    on_one_and_many_workers(|workers| {
        for said in [
            "200 OK\r\nETag: \"b\"\r\nContent-Length: 7\r\nX-New: 1\r\n",
            "200 OK\r\nETag: \"a\"\r\nContent-Length: 8\r\nX-New: 1\r\n",
            "200 OK\r\nETag: W/\"a\"\r\nX-New: 1\r\n",
            "200 OK\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-New: 1\r\n",
        ] {
            described(workers, said, "REVALIDATED", None);
        }
    });
}

#[test]
fn a_head_that_fails_says_nothing_about_what_is_stored() {
    on_one_and_many_workers(|workers| {
        for said in ["404 Not Found\r\nETag: \"b\"\r\n", "500 Oops\r\n", "302 Found\r\nLocation: /x\r\n"] {
            described(workers, said, "HIT", None);
        }
    });
}

#[test]
fn a_head_that_is_validated_freshens_what_is_stored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match has_condition(request) {
            true => bare("304 Not Modified", "ETag: \"a\"\r\nCache-Control: max-age=100\r\nX-New: 1\r\n"),
            false => page("Cache-Control: max-age=1\r\nAge: 5\r\nETag: \"a\"\r\n", "content"),
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        let response = head(&proxy, "");
        response.expect(200, "", "REVALIDATED");
        assert_eq!(response.cache_status(), "fwd=stale; fwd-status=304; stored");
        let next = proxy.get("/");
        next.expect(200, "content", "HIT");
        assert_eq!(next.field("X-New"), Some("1"));
    });
}

#[test]
fn a_head_that_finds_the_origin_down_gets_what_is_stored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match has_condition(request) {
            true => answer("503 Busy", "", ""),
            false => {
                page("Cache-Control: max-age=1, stale-if-error=100\r\nAge: 5\r\nETag: \"a\"\r\n", "content")
            }
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        head(&proxy, "").expect(200, "", "STALE");
        proxy.get("/").expect(200, "content", "STALE");
    });
}
