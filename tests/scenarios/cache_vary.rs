//! Responses that depend on fields of the request (RFC 9111, section 4.1).

use crate::support::cache::{Workers, answer, bare, counting, has_condition, page};
use crate::support::{Origin, Proxy, eventually, get_with, on_one_and_many_workers};

/// An origin that answers with the values of a field, and says that it does.
fn varying(name: &'static str) -> Origin {
    Origin::replying(move |request| {
        let value = request.head.fields.all(name).join("|");
        page(&format!("Cache-Control: max-age=100\r\nVary: {name}\r\n"), &value)
    })
}

fn ask(proxy: &Proxy, fields: &str) -> (String, String, String) {
    let response = proxy.ask(get_with("/", fields));
    (response.text(), response.x_cache().to_owned(), response.cache_status())
}

fn told(text: &str, x_cache: &str, status: &str) -> (String, String, String) {
    (text.to_owned(), x_cache.to_owned(), status.to_owned())
}

#[test]
fn each_request_gets_the_response_for_its_fields() {
    on_one_and_many_workers(|workers| {
        let origin = varying("X-Kind");
        let proxy = workers.proxy(&origin);
        let kinds = ["X-Kind: a\r\n", "X-Kind: b\r\n", "X-Kind:\r\n", "", "X-Kind: A\r\n"];
        let texts = ["a", "b", "", "", "A"];
        for (place, (kind, text)) in kinds.iter().zip(texts).enumerate() {
            let why = if place == 0 { "fwd=uri-miss; stored" } else { "fwd=vary-miss; stored" };
            assert_eq!(ask(&proxy, kind), told(text, "MISS", why));
        }
        for (kind, text) in kinds.iter().zip(texts) {
            for _ in 0..3 {
                assert_eq!(ask(&proxy, kind), told(text, "HIT", "hit"));
            }
        }
        assert_eq!(origin.requests().len(), kinds.len());
    });
}

#[test]
fn several_lines_are_one_value() {
    on_one_and_many_workers(|workers| {
        let origin = varying("X-Kind");
        let proxy = workers.proxy(&origin);
        ask(&proxy, "X-Kind: a\r\nX-Kind: b\r\n");
        assert_eq!(ask(&proxy, "x-kind: a, b\r\n").1, "HIT");
        assert_eq!(ask(&proxy, "X-Kind: b\r\nX-Kind: a\r\n").1, "MISS");
    });
}

#[test]
fn what_means_the_same_selects_the_same() {
    on_one_and_many_workers(|workers| {
        for (name, alike, other) in [
            ("Accept-Encoding", &["gzip, br", "br,gzip", "BR;q=1, gzip"][..], "gzip"),
            ("Accept-Language", &["de, en;q=0.5", "DE ,en; q=0.5"], "en"),
            ("Accept", &["text/html,*/*;q=0.1", "Text/HTML , */*; q=0.1"], "text/plain"),
        ] {
            let origin = varying(name);
            let proxy = workers.proxy(&origin);
            for (place, value) in alike.iter().enumerate() {
                let x_cache = if place == 0 { "MISS" } else { "HIT" };
                assert_eq!(ask(&proxy, &format!("{name}: {value}\r\n")).1, x_cache, "{value}");
            }
            assert_eq!(ask(&proxy, &format!("{name}: {other}\r\n")).1, "MISS");
            assert_eq!(ask(&proxy, "").1, "MISS");
        }
    });
}

#[test]
fn a_response_that_varies_by_everything_is_not_stored() {
    on_one_and_many_workers(|workers| {
        for vary in ["*", "Accept, *", "X-Forwarded-For"] {
            let origin = counting(&format!("Cache-Control: max-age=100\r\nVary: {vary}\r\n"));
            let proxy = workers.proxy(&origin);
            for count in ["1", "2", "3"] {
                assert_eq!(ask(&proxy, "").0, count);
            }
        }
    });
}

#[test]
fn a_client_cannot_fill_the_cache_with_variants_of_one_resource() {
    on_one_and_many_workers(|workers| {
        let origin = varying("X-Kind");
        let proxy = workers.proxy(&origin);
        let mut client = proxy.client();
        for kind in 0..100 {
            let response = client.ask(get_with("/", &format!("X-Kind: {kind}\r\n")));
            response.expect(200, &kind.to_string(), "MISS");
        }
        let mut is_stored = |kind: &i32| {
            let fields = format!("X-Kind: {kind}\r\nCache-Control: only-if-cached\r\n");
            client.ask(get_with("/", &fields)).status() == 200
        };
        // Those that are there are the ones that were stored last; other workers hear of it a moment later.
        eventually("the others are gone", || {
            (0..100).filter(&mut is_stored).collect::<Vec<_>>() == (68..100).collect::<Vec<_>>()
        });
    });
}

#[test]
fn a_resource_that_stops_to_vary_is_one_response() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| {
            let vary = if request.field("X-Kind") == Some("last") { "" } else { "Vary: X-Kind\r\n" };
            page(&format!("Cache-Control: max-age=100\r\n{vary}"), request.field("X-Kind").unwrap_or("none"))
        });
        let proxy = workers.proxy(&origin);
        let got = |kind| ask(&proxy, &format!("X-Kind: {kind}\r\n")).0;
        for kind in ["a", "b", "last"] {
            assert_eq!(got(kind), kind);
        }
        for kind in ["a", "c"] {
            // The response that was stored last is for all (RFC 9111, section 4). A worker with a copy of what was
            // there before hears of it a moment later.
            eventually("the last is for all", || got(kind) == "last");
        }
    });
}

#[test]
fn a_304_may_name_the_response_of_another_request() {
    on_one_and_many_workers(|workers| {
        // Two kinds have the same content, as the origin finds out when it is shown all tags.
        let origin = Origin::replying(|request| {
            let tags = request.field("If-None-Match").unwrap_or_default().to_owned();
            let fields = "Cache-Control: max-age=100\r\nVary: X-Kind\r\n";
            match request.field("X-Kind") {
                Some("b") if tags.contains("\"a\"") => {
                    bare("304 Not Modified", &format!("{fields}ETag: \"a\"\r\n"))
                }
                kind => {
                    let kind = kind.unwrap();
                    page(&format!("{fields}ETag: \"{kind}\"\r\nX-Is: {kind}\r\n"), kind)
                }
            }
        });
        let proxy = workers.proxy(&origin);
        assert_eq!(ask(&proxy, "X-Kind: a\r\n").0, "a");
        assert_eq!(ask(&proxy, "X-Kind: b\r\n").0, "b");
        let again = ask(&proxy, "X-Kind: b\r\nCache-Control: no-cache\r\n");
        assert_eq!(again, told("a", "REVALIDATED", "fwd=request; fwd-status=304; stored"));
        // Other workers hear of it a moment later.
        eventually("it is stored", || ask(&proxy, "X-Kind: b\r\n") == told("a", "HIT", "hit"));
        assert_eq!(ask(&proxy, "X-Kind: a\r\n"), told("a", "HIT", "hit"));
    });
}

#[test]
fn what_a_trusted_proxy_says_selects_the_response() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| {
            let told =
                ["X-Forwarded-Proto", "X-Forwarded-Host"].map(|name| request.field(name).unwrap_or("-"));
            page("Cache-Control: max-age=100\r\n", &told.join(" "))
        });
        let trusting = workers.with(&origin, &["--trusted-proxy", "127.0.0.0/8"]);
        let https = "X-Forwarded-Proto: https\r\n";
        for (fields, text) in [
            ("", "http example.com"),
            (https, "https example.com"),
            ("X-Forwarded-Host: public.example\r\n", "http public.example"),
            ("X-Forwarded-Host: public.example\r\nX-Forwarded-Proto: https\r\n", "https public.example"),
        ] {
            for x_cache in ["MISS", "HIT", "HIT"] {
                let (got, outcome, _) = ask(&trusting, fields);
                assert_eq!((&*got, &*outcome), (text, x_cache), "{fields}");
            }
        }
        let proxy = workers.proxy(&origin);
        ask(&proxy, "");
        assert_eq!(ask(&proxy, https), told("http example.com", "HIT", "hit"));
    });
}

#[test]
fn a_response_for_one_client_leaves_those_of_others_alone() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| match request.field("Cookie") {
            Some(user) => page("Cache-Control: private\r\nVary: Cookie\r\n", user),
            None => page("Cache-Control: max-age=100\r\nVary: Cookie\r\n", "everyone"),
        });
        let proxy = workers.proxy(&origin);
        assert_eq!(ask(&proxy, "").1, "MISS");
        for _ in 0..3 {
            let told_user = told("user=1", "MISS", "fwd=vary-miss; detail=private");
            assert_eq!(ask(&proxy, "Cookie: user=1\r\n"), told_user);
            assert_eq!(ask(&proxy, ""), told("everyone", "HIT", "hit"));
        }
    });
}

#[test]
fn variants_are_validated_each_by_its_own_request() {
    on_one_and_many_workers(each_variant_is_validated);
}

fn each_variant_is_validated(workers: Workers) {
    let origin = Origin::replying(|request| {
        let kind = request.field("X-Kind").unwrap();
        let fields = format!("Cache-Control: max-age=0\r\nVary: X-Kind\r\nETag: \"{kind}\"\r\n");
        match request.field("If-None-Match") {
            Some(tags) if tags.contains(&format!("\"{kind}\"")) => bare("304 Not Modified", &fields),
            _ => answer("200 OK", &fields, kind),
        }
    });
    let proxy = workers.proxy(&origin);
    for kind in ["a", "b"] {
        assert_eq!(ask(&proxy, &format!("X-Kind: {kind}\r\n")).1, "MISS");
    }
    for kind in ["a", "b", "a"] {
        let (text, x_cache, _) = ask(&proxy, &format!("X-Kind: {kind}\r\n"));
        assert_eq!((&*text, &*x_cache), (kind, "REVALIDATED"));
    }
    assert!(origin.requests()[2..].iter().all(has_condition));
}

#[test]
fn a_304_never_brings_a_variant_that_the_request_does_not_select() {
    on_one_and_many_workers(|workers| {
        // Many origins make the tag, or the date, before they code the content.
        for validator in
            ["ETag: W/\"a\"\r\n", "ETag: \"a\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"]
        {
            let origin = Origin::replying(move |request| {
                let fields = format!("Cache-Control: max-age=0\r\nVary: Accept-Encoding\r\n{validator}");
                match request.field("Accept-Encoding") {
                    _ if has_condition(request) => bare("304 Not Modified", &fields),
                    Some(_) => page(&format!("{fields}Content-Encoding: gzip\r\n"), "coded"),
                    None => page(&fields, "plain"),
                }
            });
            let proxy = workers.proxy(&origin);
            let coded = "Accept-Encoding: gzip\r\n";
            assert_eq!(ask(&proxy, "").0, "plain");
            assert_eq!(ask(&proxy, coded).0, "coded");
            for (fields, text) in [("", "plain"), (coded, "coded"), ("", "plain"), ("", "plain")] {
                let (got, x_cache, _) = ask(&proxy, fields);
                assert_eq!((&*got, &*x_cache), (text, "REVALIDATED"), "{validator} {fields}");
            }
        }
    });
}
