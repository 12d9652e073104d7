//! Range requests: answered from a complete stored response, and from one that is being fetched (RFC 9110,
//! section 14; RFC 9111, section 3.3).

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::support::cache::{answer, page};
use crate::support::client::Response;
use crate::support::{Origin, Proxy, assert_same, get, get_with, noise, on_one_and_many_workers};

const FIELDS: &str = "Cache-Control: max-age=100\r\nETag: \"a\"\r\nContent-Type: text/plain\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn range(proxy: &Proxy, fields: &str) -> Response {
    proxy.ask(get_with("/", fields))
}

#[test]
fn a_part_of_a_stored_response_is_served() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page(FIELDS, "0123456789"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "0123456789", "MISS");
        for (asked, want, place) in [
            ("bytes=0-0", "0", "0-0"),
            ("bytes=2-4", "234", "2-4"),
            ("bytes=7-", "789", "7-9"),
            ("bytes=-3", "789", "7-9"),
            ("bytes=-30", "0123456789", "0-9"),
            ("bytes=5-99999999999999999999999", "56789", "5-9"),
            ("BYTES=1-1", "1", "1-1"),
            ("bytes=1-2,3-4", "1234", "1-4"),
            ("bytes=99-,3-4", "34", "3-4"),
        ] {
            let response = range(&proxy, &format!("Range: {asked}\r\n"));
            response.expect(206, want, "HIT");
            assert_eq!(response.field("Content-Range"), Some(&*format!("bytes {place}/10")), "{asked}");
            assert_eq!(response.head.first, "HTTP/1.1 206 Partial Content");
            for (name, value) in [("ETag", "\"a\""), ("Content-Type", "text/plain")] {
                assert_eq!(response.field(name), Some(value));
            }
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn a_range_that_means_nothing_is_ignored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page(FIELDS, "0123456789"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "0123456789", "MISS");
        let many =
            format!("Range: bytes={}\r\n", (0..30).map(|at| format!("{0}-{0},", 2 * at)).collect::<String>());
        for fields in [
            "Range: lines=1-2\r\n",
            "Range: bytes=4-2\r\n",
            "Range: bytes=x\r\n",
            "Range: bytes=\r\n",
            "Range: bytes=1-2\r\nRange: bytes=3-4\r\n",
        ] {
            range(&proxy, fields).expect(200, "0123456789", "HIT");
        }
        // Of so many, those that are there are few.
        assert_eq!(range(&proxy, &many).status(), 206);
    });
}

#[test]
fn a_range_beyond_the_end_is_refused_with_the_length() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page(FIELDS, "0123456789"));
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT"] {
            for asked in ["bytes=10-", "bytes=10-20, 30-", "bytes=-0"] {
                let response = range(&proxy, &format!("Range: {asked}\r\n"));
                assert_eq!((response.status(), response.body()), (416, &b""[..]), "{asked}");
                assert_eq!(response.field("Content-Range"), Some("bytes */10"));
                if asked == "bytes=10-" {
                    assert_eq!(response.x_cache(), x_cache);
                }
            }
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn several_parts_come_one_after_the_other() {
    on_one_and_many_workers(|workers| {
        let content = noise(200_000, 1);
        let fields = format!("{FIELDS}Content-Length: {}\r\n", content.len());
        let origin =
            Origin::answering([format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), &content].concat());
        let proxy = workers.proxy(&origin);
        assert_same(proxy.get("/").body(), &content);
        let response = range(&proxy, "Range: bytes=100000-100009, 0-4, -3\r\n");
        assert_eq!((response.status(), response.field("Content-Range")), (206, None));
        let kind = response.field("Content-Type").unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut want = Vec::new();
        for place in [100_000..100_010, 0..5, 199_997..200_000] {
            let (first, last) = (place.start, place.end - 1);
            want.extend_from_slice(if want.is_empty() { b"--" } else { b"\r\n--" });
            want.extend_from_slice(
                format!("{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {first}-{last}/200000\r\n\r\n")
                    .as_bytes(),
            );
            want.extend_from_slice(&content[place]);
        }
        want.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert_same(response.body(), &want);
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn parts_that_overlap_are_sent_once() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page(FIELDS, "0123456789"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "0123456789", "MISS");
        let twice = "Range: bytes=0-,0-,0-,0-,0-,0-\r\n";
        range(&proxy, twice).expect(206, "0123456789", "HIT");
    });
}

#[test]
fn a_range_applies_to_the_state_that_it_names() {
    on_one_and_many_workers(|workers| {
        let dated = "Date: Sun, 06 Nov 2044 08:49:37 GMT\r\n";
        let origin = Origin::answering(page(&format!("{FIELDS}{dated}"), "0123456789"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "0123456789", "MISS");
        for (condition, applies) in [
            ("If-Range: \"a\"", true),
            ("If-Range: \"b\"", false),
            ("If-Range: W/\"a\"", false),
            ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("If-Range: Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("If-Range: then", false),
            ("If-Range: \"a\"\r\nIf-Range: \"a\"", false),
        ] {
            let response = range(&proxy, &format!("Range: bytes=0-1\r\n{condition}\r\n"));
            let (status, content) = if applies { (206, "01") } else { (200, "0123456789") };
            response.expect(status, content, "HIT");
        }
        // The other condition comes first (RFC 9110, section 13.2.2).
        range(&proxy, "Range: bytes=0-1\r\nIf-None-Match: \"a\"\r\n").expect(304, "", "HIT");
    });
}

#[test]
fn only_a_200_has_parts() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(answer("404 Not Found", "Cache-Control: max-age=100\r\n", "nothing"));
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT"] {
            range(&proxy, "Range: bytes=0-1\r\n").expect(404, "nothing", x_cache);
        }
    });
}

#[test]
fn a_part_is_served_on_a_miss_and_the_whole_is_stored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page(FIELDS, "0123456789"));
        let proxy = workers.proxy(&origin);
        let fetched = range(&proxy, "Range: bytes=2-4\r\n");
        assert_eq!(fetched.expect(206, "234", "MISS").cache_status(), "fwd=uri-miss; fwd-status=200; stored");
        assert_eq!(range(&proxy, "Range: bytes=5-6\r\n").expect(206, "56", "HIT").cache_status(), "hit");
        proxy.get("/").expect(200, "0123456789", "HIT");
        assert_eq!(origin.request().field("Range"), None);
    });
}

#[test]
fn a_part_of_what_cannot_be_stored_is_asked_for_as_such() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match request.field("Range") {
            Some(asked) => {
                assert_eq!(asked, "bytes=2-4");
                answer(
                    "206 Partial Content",
                    "Cache-Control: no-store\r\nContent-Range: bytes 2-4/10\r\n",
                    "234",
                )
            }
            None => page("Cache-Control: no-store\r\n", "0123456789"),
        });
        let proxy = workers.proxy(&origin);
        for _ in 0..3 {
            let response = range(&proxy, "Range: bytes=2-4\r\n");
            response.expect(206, "234", "MISS");
            assert_eq!(response.field("Content-Range"), Some("bytes 2-4/10"));
        }
    });
}

#[test]
fn a_part_that_an_origin_sends_unasked_is_never_taken_for_the_whole() {
    on_one_and_many_workers(|workers| {
        let partial = "Cache-Control: max-age=100\r\nContent-Range: bytes 0-1/10\r\n";
        let origin = Origin::answering(answer("206 Partial Content", partial, "01"));
        let proxy = workers.proxy(&origin);
        for _ in 0..2 {
            proxy.get("/").expect(206, "01", "MISS");
        }
    });
}

#[test]
fn a_part_is_served_while_the_whole_is_still_being_fetched() {
    on_one_and_many_workers(|workers| {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\n{FIELDS}Content-Length: 10\r\n\r\n01234"));
                let _ = wait.lock().unwrap().recv();
                peer.send("56789");
            }
        });
        let proxy = workers.proxy(&origin);
        let mut first = proxy.client();
        first.send(get("/"));
        assert_eq!(first.head().status(), 200);
        assert_eq!(first.exactly(5), b"01234");
        // What has come is enough for these, and they need not wait for the rest.
        for _ in 0..4 {
            let response = range(&proxy, "Range: bytes=1-3\r\n");
            response.expect(206, "123", "MISS");
            assert_eq!(response.cache_status(), "fwd=uri-miss; fwd-status=200; collapsed");
            assert_eq!(response.field("Content-Range"), Some("bytes 1-3/10"));
        }
        let beyond = range(&proxy, "Range: bytes=10-\r\n");
        assert_eq!((beyond.status(), beyond.field("Content-Range")), (416, Some("bytes */10")));
        range(&proxy, "If-None-Match: \"a\"\r\n").expect(304, "", "MISS");
        let mut last = proxy.client();
        last.send(get_with("/", "Range: bytes=4-6\r\n"));
        let mut whole = proxy.client();
        whole.send(get_with("/", "Range: bytes=0-1,8-9\r\n"));
        assert_eq!((last.head().status(), last.exactly(1)), (206, b"4".to_vec()));
        // Its parts could come in any order, and the content comes only once.
        let head = whole.head();
        assert_eq!((head.status(), head.field("Content-Length")), (200, Some("10")));
        go.send(()).unwrap();
        assert_eq!((last.exactly(2), first.exactly(5)), (b"56".to_vec(), b"56789".to_vec()));
        assert_eq!(whole.exactly(10), b"0123456789");
        assert_eq!(origin.requests().len(), 1);
    });
}
