//! The cache of routes: what their rules say, and that no route's responses answer another's requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::cache::{answer, counting, fresh, fresh_with, page, purge};
use crate::support::{
    Client, Driver, Origin, Proxy, Setup, eventually, get, get_with, ok, on_each_driver, post,
};

/// A proxy with two workers, so that what is stored is found from elsewhere.
fn start(driver: Driver, text: &str) -> Proxy {
    Setup::new(driver).cores(2).admin().file(text).start()
}

/// A proxy with the upstream `app`, and more in its file.
fn over(driver: Driver, origin: &Origin, text: &str) -> Proxy {
    start(driver, &format!("[upstream.app]\nendpoints = '{}'\n{text}", origin.endpoint()))
}

/// An origin that answers with what it was asked for, and by whom, and for an hour.
fn reflecting() -> Origin {
    Origin::replying(|request| {
        let told = |name| request.field(name).unwrap_or("-").to_owned();
        fresh(format!("{} {} {}", request.target(), told("Host"), told("X-Told")))
    })
}

/// The content and what the cache did.
fn told(client: &mut Client, target: &str, fields: &str) -> (String, String) {
    let response = client.ask(get_with(target, fields));
    assert_eq!(response.status(), 200, "{target} {fields}");
    (response.text(), response.x_cache().to_owned())
}

/// Each request is a miss at first, and from then on has its own response.
#[track_caller]
fn assert_apart(proxy: &Proxy, requests: &[(&str, &str)]) {
    let mut client = proxy.client();
    let first: Vec<_> = requests
        .iter()
        .map(|(target, fields)| {
            let (content, x_cache) = told(&mut client, target, fields);
            assert_eq!(x_cache, "MISS", "{target} {fields}: {content}");
            content
        })
        .collect();
    for _ in 0..3 {
        let mut client = proxy.client();
        for ((target, fields), content) in requests.iter().zip(&first) {
            let again = told(&mut client, target, fields);
            assert_eq!(again, (content.clone(), "HIT".to_owned()), "{target} {fields}");
        }
    }
}

#[test]
fn routes_for_one_url_never_share_responses() {
    on_each_driver(|driver| {
        let origins = [Origin::answering(fresh("old")), Origin::answering(fresh("new"))];
        let [old, new] = origins.each_ref().map(Origin::endpoint);
        let upstreams = format!("[upstream.old]\nendpoints = '{old}'\n[upstream.new]\nendpoints = '{new}'\n");
        for condition in [
            "header = { X-Beta = true }",
            "cookie = { beta = '1' }",
            "client = '10.0.0.0/8'",
            "query = { beta = true }",
        ] {
            let text = format!(
                "trusted-proxy = '127.0.0.0/8'\n{upstreams}[[route]]\n{condition}\nupstream = 'new'\n[[route]]\nupstream = 'old'\n"
            );
            let proxy = start(driver, &text);
            let beta =
                [("/", "X-Beta: 1\r\nCookie: beta=1\r\nX-Forwarded-For: 10.0.0.1\r\n"), ("/?beta", "")];
            let (target, fields) = beta[usize::from(condition.starts_with("query"))];
            for _ in 0..4 {
                let mut client = proxy.client();
                assert_eq!(
                    told(&mut client, target, "").0,
                    if target == "/" { "old" } else { "new" },
                    "{condition}"
                );
                assert_eq!(told(&mut client, target, fields).0, "new", "{condition}");
                assert_eq!(told(&mut client, "/", "").0, "old", "{condition}");
            }
        }
    });
}

#[test]
fn routes_to_one_upstream_never_share_what_they_tell_apart() {
    on_each_driver(|driver| {
        // The upstream sees the cookie too, and answers by it.
        let origin = Origin::replying(|request| fresh(request.field("Cookie").unwrap_or("nobody")));
        let proxy = over(
            driver,
            &origin,
            "[[route]]\ncookie = { user = true }\nupstream = 'app'\n[[route]]\nupstream = 'app'\n",
        );
        let mut client = proxy.client();
        assert_eq!(told(&mut client, "/", "Cookie: user=ann\r\n").0, "user=ann");
        assert_eq!(told(&mut client, "/", "").0, "nobody");
        assert_eq!(told(&mut client, "/", "").0, "nobody");
    });
}

#[test]
fn what_a_canary_answers_is_for_its_own() {
    on_each_driver(|driver| {
        let origins = [Origin::answering(fresh("stable")), Origin::answering(fresh("canary"))];
        let [stable, canary] = origins.each_ref().map(Origin::endpoint);
        let proxy = start(
            driver,
            &format!(
                "[upstream.stable]\nendpoints = '{stable}'\n[upstream.canary]\nendpoints = '{canary}'\n\
                 [[route]]\nupstream = {{ stable = 1, canary = 1 }}\nsplit-by = 'cookie:id'\n"
            ),
        );
        let ask = |number: usize| {
            let before = origins.each_ref().map(|origin| origin.requests().len());
            let content = told(&mut proxy.client(), "/", &format!("Cookie: id={number}\r\n")).0;
            let after = origins.each_ref().map(|origin| origin.requests().len());
            (content, before != after)
        };
        let first: Vec<_> = (0..30).map(|number| ask(number).0).collect();
        assert!(first.contains(&"stable".to_owned()) && first.contains(&"canary".to_owned()), "{first:?}");
        for (number, content) in first.iter().enumerate() {
            assert_eq!(ask(number), (content.clone(), false));
        }
        assert!(origins.iter().all(|origin| origin.requests().len() == 1));
    });
}

#[test]
fn what_templates_bring_into_a_request_poisons_nobody() {
    on_each_driver(|driver| {
        for edit in [
            "request-header = { set = { X-Told = '{header.X-In}' } }",
            "rewrite = '/r/{header.X-In}'",
            "query-edit = { set = { a = '{header.X-In}' } }",
            "query-edit = { replace = 'a={cookie.c}' }",
            "request-header = { set = { Host = '{header.X-In}.example' } }",
        ] {
            let origin = reflecting();
            let proxy = over(driver, &origin, &format!("[[route]]\nupstream = 'app'\n{edit}\n"));
            let good = "X-In: good\r\nCookie: c=good\r\n";
            assert_apart(
                &proxy,
                &[("/", "X-In: evil\r\nCookie: c=evil\r\n"), ("/", good), ("/", ""), ("/b", good)],
            );
            // Two values are not one that looks like both.
            let evil = told(&mut proxy.client(), "/", "X-In: goodgood\r\nCookie: c=goodgood\r\n");
            assert_eq!(evil.1, "MISS", "{edit}");
        }
    });
}

#[test]
fn what_is_left_out_of_the_key_but_brought_by_a_template_poisons_nobody() {
    on_each_driver(|driver| {
        for (edit, targets) in [
            ("request-header = { set = { X-Told = '{query.lang}' } }", ["/?lang=a", "/?lang=b"]),
            ("rewrite = '/r/{query.lang}'", ["/?lang=a", "/?lang=b"]),
            ("query-edit = { replace = '{query}' }", ["/?lang=a", "/?lang=b"]),
            ("request-header = { set = { X-Told = '{query}' } }", ["/?lang=a", "/?lang=b"]),
        ] {
            let origin = reflecting();
            let proxy = over(
                driver,
                &origin,
                &format!("[[route]]\nupstream = 'app'\ncache = {{ query = false }}\n{edit}\n"),
            );
            assert_apart(&proxy, &targets.map(|target| (target, "")));
        }
    });
}

#[test]
fn what_a_trusted_proxy_tells_is_told_apart_where_templates_bring_it() {
    on_each_driver(|driver| {
        let origin = reflecting();
        let text = format!(
            "trusted-proxy = '127.0.0.0/8'\n[upstream.app]\nendpoints = '{}'\n\
             [[route]]\nupstream = 'app'\nrequest-header = {{ set = {{ X-Told = '{{scheme}} {{host}}' }} }}\n",
            origin.endpoint()
        );
        let proxy = start(driver, &text);
        assert_apart(
            &proxy,
            &[
                ("/", ""),
                ("/", "X-Forwarded-Proto: https\r\n"),
                ("/", "X-Forwarded-Host: evil.example\r\n"),
                ("/", "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n"),
            ],
        );
    });
}

#[test]
fn spellings_share_a_response_only_where_the_upstream_sees_one() {
    on_each_driver(|driver| {
        let origin = reflecting();
        let proxy = over(driver, &origin, "[[route]]\nupstream = 'app'\n");
        let mut client = proxy.client();
        assert_eq!(told(&mut client, "//a/./b", ""), ("/a/b example.com -".to_owned(), "MISS".to_owned()));
        for spelling in ["/a/b", "/a//b", "/%61/b", "/x/../a/b"] {
            assert_eq!(told(&mut client, spelling, ""), ("/a/b example.com -".to_owned(), "HIT".to_owned()));
        }
        let original = over(driver, &origin, "[[route]]\nupstream = 'app'\nforward-path = 'original'\n");
        assert_apart(
            &original,
            &[("//a/./b", ""), ("/a/b", ""), ("/a//b", ""), ("/%61/b", ""), ("/x/../a/b", "")],
        );
        assert_eq!(purge(&original, &["purge", "http://example.com/a/b"]), 5);
    });
}

#[test]
fn routes_that_rewrite_differently_share_nothing() {
    on_each_driver(|driver| {
        let origin = reflecting();
        let proxy = over(
            driver,
            &origin,
            "
            [[route]]
            method = 'GET'
            listener = 'default'
            header = { X-New = true }
            upstream = 'app'
            add-prefix = '/new'
            [[route]]
            upstream = 'app'
            add-prefix = '/old'
            ",
        );
        assert_apart(&proxy, &[("/a", "X-New: 1\r\n"), ("/a", "")]);
    });
}

#[test]
fn a_route_without_a_cache_neither_stores_nor_uses() {
    on_each_driver(|driver| {
        let origin = counting("Cache-Control: max-age=3600\r\n");
        let proxy = over(
            driver,
            &origin,
            "[[route]]\nheader = { X-Off = true }\nupstream = 'app'\ncache = false\n[[route]]\nupstream = 'app'\n",
        );
        let mut client = proxy.client();
        assert_eq!(told(&mut client, "/", "X-Off: 1\r\n"), ("1".to_owned(), "BYPASS".to_owned()));
        assert_eq!(told(&mut client, "/", ""), ("2".to_owned(), "MISS".to_owned()));
        assert_eq!(told(&mut client, "/", "X-Off: 1\r\n"), ("3".to_owned(), "BYPASS".to_owned()));
        assert_eq!(told(&mut client, "/", ""), ("2".to_owned(), "HIT".to_owned()));
    });
}

#[test]
fn lifetimes_are_those_of_the_route() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            target if target.ends_with("/none") => ok("x"),
            target if target.ends_with("/short") => page("Cache-Control: max-age=5\r\n", "x"),
            target if target.ends_with("/private") => page("Cache-Control: private, max-age=5\r\n", "x"),
            target if target.ends_with("/no-store") => page("Cache-Control: no-store\r\n", "x"),
            target if target.ends_with("/failed") => answer("500 Failed", "", "x"),
            target if target.ends_with("/forbidden") => answer("403 Forbidden", "", "x"),
            other => panic!("{other}"),
        });
        let proxy = over(
            driver,
            &origin,
            "
            [[route]]
            path-prefix = '/ttl'
            upstream = 'app'
            cache = { ttl = '100s' }
            [[route]]
            path-prefix = '/override'
            upstream = 'app'
            cache = { override-ttl = '200s' }
            [[route]]
            path-prefix = '/plain'
            upstream = 'app'
            ",
        );
        for (target, ttl) in [
            ("/ttl/none", Some(100)),
            ("/ttl/short", Some(5)),
            ("/ttl/private", None),
            ("/ttl/no-store", None),
            ("/override/none", Some(200)),
            ("/override/short", Some(200)),
            ("/override/private", None),
            ("/override/no-store", None),
            ("/plain/none", None),
            ("/plain/short", Some(5)),
        ] {
            let mut client = proxy.client();
            client.ask(get(target));
            let response = client.ask(get(target));
            assert_eq!(response.x_cache(), if ttl.is_some() { "HIT" } else { "MISS" }, "{target}");
            if let (Some(ttl), Some(left)) = (ttl, response.ttl()) {
                assert!((ttl - 4..=ttl).contains(&left), "{target}: {left}");
            }
        }
        for target in ["/ttl/failed", "/override/failed", "/override/forbidden"] {
            let mut client = proxy.client();
            client.ask(get(target));
            assert_ne!(client.ask(get(target)).x_cache(), "HIT", "{target}");
        }
    });
}

#[test]
fn grace_is_that_of_the_route() {
    on_each_driver(|driver| {
        let count = AtomicUsize::new(0);
        let origin = Origin::replying(move |request| {
            let first = !request.head.fields.has("X-Fail");
            match count.fetch_add(1, Ordering::SeqCst) {
                _ if first => page("Cache-Control: max-age=1\r\n", "x"),
                _ => answer("500 Failed", "", "failed"),
            }
        });
        let proxy = over(
            driver,
            &origin,
            "[[route]]\npath = '/grace'\nupstream = 'app'\ncache = { grace = '1h' }\n[[route]]\nupstream = 'app'\n",
        );
        let mut client = proxy.client();
        for target in ["/grace", "/other"] {
            assert_eq!(told(&mut client, target, "").1, "MISS");
        }
        std::thread::sleep(Duration::from_millis(2_100));
        let response = client.ask(get_with("/grace", "X-Fail: 1\r\n"));
        assert_eq!((response.status(), response.x_cache()), (200, "STALE"));
        assert_eq!(client.ask(get_with("/other", "X-Fail: 1\r\n")).status(), 500);
    });
}

#[test]
fn keys_have_what_the_route_says() {
    on_each_driver(|driver| {
        let origin = counting("Cache-Control: max-age=3600\r\n");
        let proxy = over(
            driver,
            &origin,
            "
            [[route]]
            path = '/none'
            upstream = 'app'
            cache = { query = false }
            [[route]]
            path = '/only'
            upstream = 'app'
            cache = { query = ['a', 'b*'] }
            [[route]]
            path = '/except'
            upstream = 'app'
            cache = { query = { except = ['utm_*', 'sid'] } }
            [[route]]
            path = '/header'
            upstream = 'app'
            cache = { header = ['X-Kind'], cookie = ['tier'] }
            ",
        );
        let mut client = proxy.client();
        let mut same = |one: (&str, &str), other: (&str, &str), want: bool| {
            let (first, _) = told(&mut client, one.0, one.1);
            let (second, _) = told(&mut client, other.0, other.1);
            assert_eq!(first == second, want, "{one:?} {other:?}");
        };
        same(("/none?a", ""), ("/none", ""), true);
        same(("/only?a=1&x=2&b1=3", ""), ("/only?b1=3&y&a=1", ""), true);
        same(("/only?a=1", ""), ("/only?a=2", ""), false);
        same(("/only?a=1&a=2", ""), ("/only?a=2&a=1", ""), false);
        same(("/only", ""), ("/only?x", ""), true);
        same(("/except?a=1&utm_source=x", ""), ("/except?sid=9&a=1", ""), true);
        same(("/except?a=1", ""), ("/except?a=2", ""), false);
        same(("/except?a=1", ""), ("/except?a=1&UTM_x", ""), false);
        same(("/header", "X-Kind: a\r\n"), ("/header", "X-Kind: b\r\n"), false);
        same(("/header", "X-Kind: a\r\n"), ("/header", "X-Other: b\r\nX-Kind: a\r\n"), true);
        same(("/header", "Cookie: tier=gold; x=1\r\n"), ("/header", "Cookie: x=2; tier=gold\r\n"), true);
        same(("/header", "Cookie: tier=gold\r\n"), ("/header", "Cookie: tier=tin\r\n"), false);
        same(("/header", "Cookie: tier=gold\r\n"), ("/header", ""), false);
        same(("/header", "X-Kind: a\r\nX-Kind: b\r\n"), ("/header", "X-Kind: a, b\r\n"), false);
    });
}

#[test]
fn tags_of_routes_are_purged_beside_those_of_origins() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/own" => fresh_with("Cache-Tag: own, news\r\n", "x"),
            _ => fresh("x"),
        });
        let proxy = over(
            driver,
            &origin,
            "[[route]]\npath = ['/a', '/own']\nupstream = 'app'\ncache = { tag = ['news', 'front'] }\n[[route]]\nupstream = 'app'\n",
        );
        let warm = || {
            for target in ["/a", "/own", "/b"] {
                proxy.get(target);
            }
        };
        for (tag, count) in [("news", 2), ("front", 2), ("own", 1), ("none", 0)] {
            warm();
            assert_eq!(purge(&proxy, &["purge", "--tag", tag]), count, "{tag}");
            assert_eq!(proxy.get("/b").x_cache(), "HIT");
        }
    });
}

#[test]
fn responses_that_set_cookies_are_stored_only_where_the_route_lets_them() {
    on_each_driver(|driver| {
        let origin = Origin::answering(fresh_with("Set-Cookie: a=b\r\n", "x"));
        let proxy = over(
            driver,
            &origin,
            "[[route]]\npath-prefix = '/no'\nupstream = 'app'\ncache = { set-cookie = false }\n[[route]]\nupstream = 'app'\n",
        );
        let mut client = proxy.client();
        for _ in 0..2 {
            assert_eq!(client.ask(get("/no")).x_cache(), "MISS");
        }
        client.ask(get("/yes"));
        assert_eq!(client.ask(get("/yes")).x_cache(), "HIT");
    });
}

/// Two responses for one URL by two routes.
fn two_for_one(driver: Driver, origin: &Origin) -> (Proxy, [(&'static str, &'static str); 2]) {
    let route = "[[route]]\nmethod = ['GET', 'HEAD']\nheader = { X-Beta = true }\nupstream = 'app'\nadd-prefix = '/beta'\n\
                 [[route]]\nmethod = 'GET'\nupstream = 'app'\n[[route]]\nmethod = 'POST'\nupstream = 'app'\nadd-prefix = '/post'\n";
    (over(driver, origin, route), [("/a", ""), ("/a", "X-Beta: 1\r\n")])
}

#[test]
fn a_purge_by_url_reaches_the_responses_of_all_routes() {
    on_each_driver(|driver| {
        let origin = counting("Cache-Control: max-age=3600\r\n");
        let (proxy, requests) = two_for_one(driver, &origin);
        for args in [
            &["purge", "http://example.com/a"][..],
            &["purge", "--prefix", "http://example.com/"],
            &["purge", "http://example.com/x/..//%61"],
        ] {
            assert_apart(&proxy, &requests);
            assert_eq!(purge(&proxy, args), 2, "{args:?}");
        }
    });
}

#[test]
fn what_changes_a_resource_invalidates_the_responses_of_all_routes() {
    on_each_driver(|driver| {
        let origin = counting("Cache-Control: max-age=3600\r\n");
        let (proxy, requests) = two_for_one(driver, &origin);
        for target in ["/a", "/x/../a", "//a"] {
            assert_apart(&proxy, &requests);
            assert_eq!(proxy.ask(post(target, b"x")).status(), 200);
        }
        assert_apart(&proxy, &requests);
    });
}

#[test]
fn those_who_ask_at_once_by_different_routes_do_not_get_each_others_answers() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                peer.sleep(Duration::from_millis(30));
                peer.send(fresh(request.field("X-Told").unwrap_or("-")));
            }
        });
        let route = "[[route]]\nupstream = 'app'\nrequest-header = { set = { X-Told = '{header.X-In}' } }\n";
        let proxy = over(driver, &origin, route);
        for round in 0..3 {
            let mut clients: Vec<_> = (0..12).map(|_| proxy.client()).collect();
            for (number, client) in clients.iter_mut().enumerate() {
                client.send(get_with(&format!("/{round}"), &format!("X-In: {}\r\n", number % 4)));
            }
            for (number, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.response().text(), (number % 4).to_string());
            }
        }
        eventually("the origin is at rest", || origin.requests().len() >= 12);
    });
}
