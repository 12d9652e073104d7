//! What one client sends must not change what another gets.

use crate::support::cache::{answer, page};
use crate::support::{Origin, Proxy, get, get_with, on_one_and_many_workers};

const FRESH: &str = "Cache-Control: max-age=100\r\n";

/// An origin that writes what it was told of the client's wishes into its links.
fn linking() -> Origin {
    Origin::replying(|request| {
        let told =
            ["Host", "X-Forwarded-Host", "X-Forwarded-Proto"].map(|name| request.field(name).unwrap_or("-"));
        page(FRESH, &told.join(" "))
    })
}

fn text(proxy: &Proxy, request: &str) -> String {
    proxy.ask(request).text()
}

#[test]
fn a_port_in_host_is_another_key() {
    on_one_and_many_workers(|workers| {
        let origin = linking();
        let proxy = workers.proxy(&origin);
        for host in ["example.com:1337", "example.com:443", "EXAMPLE.com", "example.com"] {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let got = text(&proxy, &request);
            let want = if host == "example.com" { "EXAMPLE.com" } else { host };
            assert_eq!(got, format!("{want} {want} http"));
        }
    });
}

#[test]
fn what_a_stranger_says_about_the_host_is_not_stored() {
    on_one_and_many_workers(|workers| {
        let origin = linking();
        let proxy = workers.proxy(&origin);
        let lies =
            "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: evil\r\nForwarded: host=evil.example\r\n";
        for request in [get_with("/", lies), get("/")] {
            assert_eq!(text(&proxy, &request), "example.com example.com http");
        }
        assert_eq!(origin.requests().len(), 1);
        assert_eq!(origin.request().field("Forwarded"), None);
    });
}

#[test]
fn the_authority_of_the_target_is_what_counts() {
    on_one_and_many_workers(|workers| {
        let origin = linking();
        let proxy = workers.proxy(&origin);
        let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: example.com\r\n\r\n";
        assert_eq!(text(&proxy, absolute), "evil.example evil.example http");
        assert_eq!(text(&proxy, &get("/")), "example.com example.com http");
        assert_eq!(
            text(&proxy, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            "evil.example evil.example http"
        );
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn a_request_without_a_host_has_a_key_of_its_own() {
    on_one_and_many_workers(|workers| {
        let origin = linking();
        let proxy = workers.proxy(&origin);
        let own = origin.address();
        assert_eq!(text(&proxy, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), format!("{own} - http"));
        assert_eq!(text(&proxy, &get("/")), "example.com example.com http");
    });
}

#[test]
fn targets_are_the_same_where_their_normal_form_is() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| page(FRESH, request.target()));
        let proxy = workers.proxy(&origin);
        let targets = ["/a", "/A", "/a?", "/a?b", "/a?%62", "/a/", "/a;b", "/a%3Bb", "/a%20", "/a%2Fb"];
        for target in targets.iter().chain(&targets) {
            assert_eq!(text(&proxy, &get(target)), *target);
        }
        for (target, same) in [("/%61", "/a"), ("/x/../a", "/a"), ("//a", "/a"), ("/a%3bb", "/a%3Bb")] {
            assert_eq!(text(&proxy, &get(target)), same);
        }
        assert_eq!(origin.requests().len(), targets.len());
    });
}

#[test]
fn the_condition_and_the_range_of_the_first_client_are_not_those_of_the_next() {
    on_one_and_many_workers(|workers| {
        // An origin that does what the request says; a cache must not let it.
        let origin = Origin::replying(|request| {
            let fields = format!("{FRESH}ETag: \"a\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
            if request.field("Range").is_some() {
                let fields = format!("{fields}Content-Range: bytes 0-0/7\r\n");
                return answer("206 Partial Content", &fields, "c");
            }
            if request.field("If-None-Match").or(request.field("If-Modified-Since")).is_some() {
                return answer("304 Not Modified", &fields, "");
            }
            page(&fields, "content")
        });
        let proxy = workers.proxy(&origin);
        for (target, fields, status, content) in [
            ("/range", "Range: bytes=0-0\r\n", 206, "c"),
            ("/if-range", "Range: bytes=0-0\r\nIf-Range: \"a\"\r\n", 206, "c"),
            ("/tag", "If-None-Match: \"a\"\r\n", 304, ""),
            ("/star", "If-None-Match: *\r\n", 304, ""),
            ("/other-tag", "If-None-Match: \"b\"\r\n", 200, "content"),
            ("/date", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 304, ""),
        ] {
            proxy.ask(get_with(target, fields)).expect(status, content, "MISS");
            let next = proxy.get(target);
            next.expect(200, "content", "HIT");
            assert_eq!(next.field("Content-Range"), None);
        }
        let sent = origin.requests();
        let narrow = ["Range", "If-Range", "If-None-Match", "If-Modified-Since"];
        assert!(sent.iter().all(|request| narrow.iter().all(|name| request.field(name).is_none())));
    });
}

#[test]
fn what_credentials_bring_is_for_nobody_else() {
    on_one_and_many_workers(|workers| {
        let origin =
            Origin::replying(|request| page(FRESH, request.field("Authorization").unwrap_or("nobody")));
        let proxy = workers.proxy(&origin);
        let ask = |user: &str| proxy.ask(get_with("/", &format!("Authorization: {user}\r\n")));
        ask("Basic me").expect(200, "Basic me", "MISS");
        ask("Basic you").expect(200, "Basic you", "MISS");
        proxy.get("/").expect(200, "nobody", "MISS");
        proxy.get("/").expect(200, "nobody", "HIT");
        // What was stored for nobody is not for those who say who they are.
        let mine = ask("Basic me");
        mine.expect(200, "Basic me", "MISS");
        assert_eq!(mine.cache_status(), "fwd=request; detail=authorization");
        proxy.get("/").expect(200, "nobody", "HIT");
    });
}

#[test]
fn a_cookie_of_the_request_reaches_the_origin_and_not_the_key() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| {
            let cookie = request.field("Cookie").unwrap_or("none");
            page("Cache-Control: max-age=100\r\nVary: Cookie\r\n", cookie)
        });
        let proxy = workers.proxy(&origin);
        for cookie in ["a=1", "a=2", "a=1"] {
            assert_eq!(text(&proxy, &get_with("/", &format!("Cookie: {cookie}\r\n"))), cookie);
        }
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn no_field_by_which_a_proxy_speaks_comes_from_a_stranger() {
    on_one_and_many_workers(|workers| {
        let names = ["X-Forwarded-Port", "x-forwarded-prefix", "X-Forwarded-Scheme", "X-FORWARDED-SSL"];
        let origin = Origin::replying(move |request| {
            let told = names.map(|name| request.field(name).unwrap_or("-"));
            page(FRESH, &told.join(" "))
        });
        let proxy = workers.proxy(&origin);
        let lies: String = names.iter().map(|name| format!("{name}: evil\r\n")).collect();
        assert_eq!(text(&proxy, &get_with("/", &lies)), "- - - -");
        assert_eq!(text(&proxy, &get("/")), "- - - -");
    });
}

#[test]
fn what_a_trusted_proxy_says_of_the_scheme_in_forwarded_selects_the_response() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| {
            let secure = request.field("Forwarded").is_some_and(|told| told.contains("proto=https"));
            page(FRESH, if secure { "page" } else { "go to https" })
        });
        let proxy = workers.with(&origin, &["--trusted-proxy", "127.0.0.0/8"]);
        let told = |scheme: &str| get_with("/", &format!("Forwarded: for=192.0.2.1;proto={scheme}\r\n"));
        assert_eq!(text(&proxy, &told("http")), "go to https");
        assert_eq!(text(&proxy, &told("https")), "page");
    });
}
