//! Which responses are stored (RFC 9111, section 3), and for how long they are fresh (section 4.2).

use crate::support::cache::{Workers, ago, ahead, answer, counting};
use crate::support::{Gate, Origin, eventually, get_with, ms, on_one_and_many_workers};

/// What becomes of a response that a request of the same kind asks for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// It is stored, and fresh.
    Hit,
    /// It is fetched again, and this is why.
    Not(&'static str),
    /// It is stored, and validated before it is used.
    Validated,
}
use Again::{Hit, Not, Validated};

/// Asks for each response twice: its status, its fields, the fields of the request, what becomes of it.
fn table(workers: Workers, args: &[&str], rows: &[(&str, &str, &str, Again)]) {
    let answers: Vec<_> =
        rows.iter().map(|(status, fields, ..)| ((*status).to_owned(), (*fields).to_owned())).collect();
    let origin = Origin::replying(move |request| {
        let (status, fields) = &answers[request.target()[1..].parse::<usize>().unwrap()];
        answer(status, fields, "x")
    });
    let proxy = workers.with(&origin, args);
    for (index, (status, fields, request, again)) in rows.iter().enumerate() {
        let row = format!("{status}, {fields:?}, asked with {request:?}");
        let ask = || proxy.ask(get_with(&format!("/{index}"), request));
        let first = ask();
        assert_eq!(first.x_cache(), "MISS", "{row}");
        let stored = first.cache_status().contains("; stored");
        let next = ask();
        let requests = origin.requests();
        let last = requests.iter().rfind(|request| request.target() == format!("/{index}")).unwrap();
        let conditional = last.head.fields.has("If-None-Match") || last.head.fields.has("If-Modified-Since");
        let got = match next.x_cache() {
            "HIT" => Hit,
            _ if conditional => Validated,
            _ => Not(""),
        };
        match again {
            Not(why) => {
                assert_eq!((got, stored), (Not(""), false), "{row}");
                assert!(first.cache_status().ends_with(&format!("; detail={why}")), "{row}: {first:?}");
            }
            again => assert_eq!((got, stored), (*again, true), "{row}: {first:?}"),
        }
    }
}

#[test]
fn directives_decide_what_is_stored() {
    on_one_and_many_workers(|workers| {
        let auth = "Authorization: Basic eA==\r\n";
        table(
            workers,
            &[],
            &[
                ("200 OK", "Cache-Control: max-age=100\r\n", "", Hit),
                ("200 OK", "Cache-Control: s-maxage=100, max-age=0\r\n", "", Hit),
                ("200 OK", "Cache-Control: s-maxage=0, max-age=100\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: no-store, max-age=100\r\n", "", Not("no-store")),
                ("200 OK", "Cache-Control: max-age=100\r\nCache-Control: no-store\r\n", "", Not("no-store")),
                ("200 OK", "Cache-Control: private, max-age=100\r\n", "", Not("private")),
                ("200 OK", "Cache-Control: private=\"x-user\", max-age=100\r\n", "", Hit),
                ("200 OK", "Cache-Control: no-cache, max-age=100\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: no-cache, max-age=100\r\nETag: \"a\"\r\n", "", Validated),
                ("200 OK", "Cache-Control: no-cache=\"x-user\", max-age=100\r\n", "", Hit),
                ("200 OK", "Cache-Control: must-understand, no-store, max-age=100\r\n", "", Hit),
                ("299 Odd", "Cache-Control: must-understand, max-age=100\r\n", "", Not("not-understood")),
                ("200 OK", "Pragma: no-cache\r\nCache-Control: max-age=100\r\n", "", Hit),
                ("200 OK", "", "", Not("no-freshness")),
                ("200 OK", "ETag: \"a\"\r\n", "", Validated),
                ("200 OK", "Cache-Control: public\r\n", "", Not("no-freshness")),
                ("200 OK", "Vary: *\r\nCache-Control: max-age=100\r\n", "", Not("vary-star")),
                ("200 OK", "Cache-Control: max-age=100\r\n", auth, Not("authorization")),
                ("200 OK", "Cache-Control: public, max-age=100\r\n", auth, Hit),
                ("200 OK", "Cache-Control: s-maxage=100\r\n", auth, Hit),
                ("200 OK", "Cache-Control: must-revalidate, max-age=100\r\n", auth, Hit),
                ("200 OK", "Cache-Control: max-age=100\r\nSet-Cookie: a=b\r\n", "", Hit),
                (
                    "200 OK",
                    &format!("Last-Modified: {}\r\nSet-Cookie: a=b\r\n", ago(9999)),
                    "",
                    Not("set-cookie"),
                ),
            ],
        );
    });
}

#[test]
fn directives_are_read_however_they_are_written() {
    on_one_and_many_workers(|workers| {
        table(
            workers,
            &[],
            &[
                ("200 OK", "cache-control:  MAX-AGE=100 ,, \r\n", "", Hit),
                ("200 OK", "Cache-Control: max-age=\"100\"\r\n", "", Hit),
                ("200 OK", "Cache-Control: x=\"no-store, private\", max-age=100\r\n", "", Hit),
                ("200 OK", "Cache-Control: x=\"\\\"\", no-store, max-age=100\r\n", "", Not("no-store")),
                ("200 OK", "Cache-Control: NO-Store , max-age=100\r\n", "", Not("no-store")),
                ("200 OK", "Cache-Control: max-age=100, max-age=0\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: max-age=99999999999999999999999\r\n", "", Hit),
                ("200 OK", "Cache-Control: max-age=-1\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: max-age=1.5\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: max-age\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: max-ages=100\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: no-stored, unknown=1, max-age=100\r\n", "", Hit),
            ],
        );
    });
}

#[test]
fn expires_is_read_in_every_format_and_what_is_no_date_has_expired() {
    on_one_and_many_workers(|workers| {
        table(
            workers,
            &[],
            &[
                ("200 OK", &format!("Expires: {}\r\n", ahead(100)), "", Hit),
                ("200 OK", "Expires: Thursday, 10-Nov-44 08:49:37 GMT\r\n", "", Hit),
                ("200 OK", "Expires: Thu Nov 10 08:49:37 2044\r\n", "", Hit),
                ("200 OK", &format!("Expires: {}\r\n", ago(100)), "", Not("no-freshness")),
                ("200 OK", &format!("Expires: {}\r\nCache-Control: max-age=100\r\n", ago(9)), "", Hit),
                (
                    "200 OK",
                    &format!("Expires: {}\r\nCache-Control: max-age=0\r\n", ahead(100)),
                    "",
                    Not("no-freshness"),
                ),
                ("200 OK", "Expires: 0\r\n", "", Not("no-freshness")),
                ("200 OK", "Expires: -1\r\nETag: \"a\"\r\n", "", Validated),
                ("200 OK", "Expires: never\r\n", "", Not("no-freshness")),
                ("200 OK", &format!("Expires: 0\r\nLast-Modified: {}\r\n", ago(99_999)), "", Validated),
                (
                    "200 OK",
                    "Date: Sun, 06 Nov 2044 08:49:37 GMT\r\nExpires: Sun, 06 Nov 2044 08:49:37 GMT\r\n",
                    "",
                    Not("no-freshness"),
                ),
            ],
        );
    });
}

#[test]
fn what_has_not_changed_for_long_is_fresh_for_a_while() {
    on_one_and_many_workers(|workers| {
        let modified = |status: &'static str, seconds| {
            (
                status,
                format!("Last-Modified: {}\r\n", ago(seconds)),
                if seconds > 100 { Hit } else { Validated },
            )
        };
        let rows = [modified("200 OK", 10_000), modified("200 OK", 5), modified("404 Not Found", 10_000)];
        let rows: Vec<_> =
            rows.iter().map(|(status, fields, again)| (*status, &**fields, "", *again)).collect();
        table(workers, &[], &rows);
        let modified = format!("Last-Modified: {}\r\n", ago(10_000));
        table(
            workers,
            &[],
            &[
                ("302 Found", &modified, "", Not("status")),
                ("302 Found", &format!("{modified}Cache-Control: public\r\n"), "", Hit),
                ("500 Oops", &modified, "", Not("status")),
            ],
        );
    });
}

#[test]
fn redirects_and_errors_are_stored_as_they_allow() {
    on_one_and_many_workers(|workers| {
        let fresh = "Cache-Control: max-age=100\r\nLocation: /other\r\n";
        table(
            workers,
            &[],
            &[
                ("301 Moved", fresh, "", Hit),
                ("302 Found", fresh, "", Hit),
                ("303 See Other", fresh, "", Hit),
                ("307 Temporary", fresh, "", Hit),
                ("308 Permanent", fresh, "", Hit),
                ("404 Not Found", fresh, "", Hit),
                ("410 Gone", fresh, "", Hit),
                ("503 Busy", fresh, "", Hit),
                ("299 Odd", fresh, "", Hit),
                ("599 Odd", fresh, "", Hit),
                ("301 Moved", "Location: /other\r\n", "", Not("no-freshness")),
                ("302 Found", "Location: /other\r\n", "", Not("status")),
                ("404 Not Found", "", "", Not("no-freshness")),
                ("500 Oops", "", "", Not("status")),
                ("299 Odd", "", "", Not("status")),
                ("206 Partial", &format!("{fresh}Content-Range: bytes 0-0/9\r\n"), "", Not("partial")),
                ("401 Who", fresh, "", Not("status")),
                ("416 No", fresh, "", Not("status")),
                ("429 Slow", fresh, "", Not("status")),
            ],
        );
    });
}

#[test]
fn a_stored_redirect_keeps_its_location() {
    on_one_and_many_workers(|workers| {
        let fields = "Cache-Control: max-age=100\r\nLocation: http://example.com/new\r\n";
        let origin = Origin::answering(answer("301 Moved Permanently", fields, "go"));
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT"] {
            let response = proxy.get("/");
            response.expect(301, "go", x_cache);
            assert_eq!(response.head.first, "HTTP/1.1 301 Moved Permanently");
            assert_eq!(response.field("Location"), Some("http://example.com/new"));
        }
    });
}

#[test]
fn a_response_without_content_is_stored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering("HTTP/1.1 204 No Content\r\nCache-Control: max-age=100\r\n\r\n");
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT"] {
            let response = proxy.get("/");
            response.expect(204, "", x_cache);
            assert!(!response.fields().has("Content-Length"));
        }
    });
}

#[test]
fn a_configured_lifetime_is_for_successes_that_bring_none() {
    on_one_and_many_workers(|workers| {
        table(
            workers,
            &["--cache-ttl", "10m"],
            &[
                ("200 OK", "", "", Hit),
                ("203 OK", "", "", Hit),
                ("200 OK", "Cache-Control: public\r\n", "", Hit),
                ("200 OK", "Cache-Control: max-age=0\r\n", "", Not("no-freshness")),
                ("200 OK", "Expires: 0\r\n", "", Not("no-freshness")),
                ("200 OK", "Cache-Control: private\r\n", "", Not("private")),
                ("200 OK", "Cache-Control: no-cache\r\n", "", Not("no-freshness")),
                ("200 OK", "Set-Cookie: a=b\r\n", "", Not("set-cookie")),
                ("404 Not Found", "", "", Not("no-freshness")),
                ("301 Moved", "", "", Not("no-freshness")),
                ("200 OK", "", "Authorization: Basic eA==\r\n", Not("authorization")),
            ],
        );
        let origin = counting("");
        assert_eq!(workers.with(&origin, &["--cache-ttl", "10m"]).get("/").ttl(), Some(600));
    });
}

#[test]
fn what_is_said_to_caches_like_this_one_comes_first() {
    on_one_and_many_workers(|workers| {
        table(
            workers,
            &[],
            &[
                ("200 OK", "CDN-Cache-Control: max-age=100\r\nCache-Control: no-store\r\n", "", Hit),
                ("200 OK", "CDN-Cache-Control: max-age=100\r\nExpires: 0\r\n", "", Hit),
                (
                    "200 OK",
                    "CDN-Cache-Control: no-store\r\nCache-Control: max-age=100\r\n",
                    "",
                    Not("no-store"),
                ),
                ("200 OK", "CDN-Cache-Control: max-age=(\r\nCache-Control: max-age=100\r\n", "", Hit),
                ("200 OK", "CDN-Cache-Control:\r\nCache-Control: no-store\r\n", "", Not("no-store")),
            ],
        );
    });
}

#[test]
fn fields_that_are_withheld_reach_the_one_they_are_for_and_nobody_else() {
    on_one_and_many_workers(|workers| {
        for directive in ["private", "no-cache"] {
            let fields = format!(
                "Cache-Control: max-age=100, {directive}=\"Set-Cookie, x-user\"\r\nSet-Cookie: a=b\r\nX-User: me\r\nX-Other: 1\r\n"
            );
            let origin = counting(&fields);
            let proxy = workers.proxy(&origin);
            let first = proxy.get("/");
            first.expect(200, "1", "MISS");
            assert_eq!((first.field("Set-Cookie"), first.field("X-User")), (Some("a=b"), Some("me")));
            let next = proxy.get("/");
            next.expect(200, "1", "HIT");
            assert_eq!((next.field("Set-Cookie"), next.field("X-User")), (None, None));
            assert_eq!((first.field("X-Other"), next.field("X-Other")), (Some("1"), Some("1")));
        }
    });
}

#[test]
fn a_lifetime_ends() {
    on_one_and_many_workers(|workers| {
        let origin = counting("Cache-Control: max-age=1\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "1", "MISS");
        std::thread::sleep(std::time::Duration::from_millis(1500));
        proxy.get("/").expect(200, "2", "MISS");
    });
}

#[test]
fn a_slow_fetch_does_not_replace_what_came_later() {
    on_one_and_many_workers(|workers| {
        let gate = Gate::default();
        let held = gate.clone();
        // What it sends: v0, v1 in two halves, and v2.
        let n = std::sync::atomic::AtomicUsize::new(0);
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                let place = n.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=100\r\nContent-Length: 4\r\n\r\n";
                match place {
                    0 => peer.send(format!("{head}v0v0")),
                    1 => {
                        peer.send(format!("{head}v1"));
                        held.pass(1);
                        peer.send("v1");
                    }
                    _ => peer.send(format!("{head}v2v2")),
                }
            }
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "v0v0", "MISS");
        let mut slow = proxy.client();
        slow.send(get_with("/", "Cache-Control: no-cache\r\n"));
        eventually("second", || origin.requests().len() == 2);
        std::thread::sleep(ms(1100));
        proxy.ask(get_with("/", "Cache-Control: no-cache\r\n")).expect(200, "v2v2", "MISS");
        eventually("v2 is stored", || proxy.get("/").text() == "v2v2");
        gate.open();
        assert_eq!(slow.response().text(), "v1v1");
        std::thread::sleep(ms(100));
        assert_eq!(proxy.get("/").text(), "v2v2");
    });
}
