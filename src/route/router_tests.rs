//! Tables of which route takes what; and the router held to the plain matcher.

use proptest::prelude::*;

use super::*;
use crate::config::matching::Test;
use crate::route::sample::{LISTENERS, Request, plain, route, some_request, some_routes};

/// The name of the route that takes the request, and what it captured.
fn taken(routes: &[RouteSettings], request: &Request) -> String {
    let router = Router::new(routes, &LISTENERS);
    let mut captures = Captures::new();
    let Some(at) = request.ask(|asked| router.find(asked, &mut captures)) else { return "nobody".to_owned() };
    let mut text = routes[at].name.clone();
    for name in captures.path().iter().flat_map(|&path| routes[at].paths[path].captures()) {
        let value = router.capture(at, &captures, name, request.path.as_bytes());
        text.push_str(&format!(" {name}={}", value.map_or("?".into(), String::from_utf8_lossy)));
    }
    text
}

fn assert_taken(routes: &[RouteSettings], table: &[(&str, &str)]) {
    for (line, want) in table {
        assert_eq!(taken(routes, &Request::read(line)), *want, "{line}");
    }
}

#[test]
fn the_most_specific_host_wins() {
    let routes = [
        route("any", &[], &[], vec![]),
        route("wide", &["*.example.com"], &[], vec![]),
        route("wider", &["*.com"], &[], vec![]),
        route("www", &["www.example.com"], &[], vec![]),
        route("address", &["127.0.0.1", "[::1]"], &[], vec![]),
    ];
    assert_taken(
        &routes,
        &[
            ("GET www.example.com/", "www"),
            ("GET WWW.Example.COM:8080/", "www"),
            ("GET www.example.com./", "www"),
            ("GET a.example.com/", "wide"),
            ("GET a.b.example.com/", "wide"),
            ("GET a.www.example.com/", "wide"),
            ("GET example.com/", "wider"),
            ("GET notexample.com/", "wider"),
            ("GET com/", "any"),
            ("GET example.org/", "any"),
            ("GET www.example.com.evil.org/", "any"),
            ("GET /", "any"),
            ("GET 127.0.0.1:80/", "address"),
            ("GET [::1]/", "address"),
            ("GET [0:0::1]:80/", "address"),
            ("GET [::2]/", "any"),
        ],
    );
}

#[test]
fn the_most_specific_path_wins_whatever_the_order() {
    let mut routes = vec![
        route("any", &[], &[], vec![]),
        route("root", &[], &["/*"], vec![]),
        route("api", &[], &["/api/*"], vec![]),
        route("api-v", &[], &["/api/{version}*"], vec![]),
        route("api-v1", &[], &["/api/v1*"], vec![]),
        route("user", &[], &["/users/{id}"], vec![]),
        route("user-posts", &[], &["/users/{id}/posts*"], vec![]),
        route("me", &[], &["/users/me"], vec![]),
        route("me-any", &[], &["/users/me/{what}"], vec![]),
        route("folder", &[], &["/folder/"], vec![]),
        route("pages", &[], &["^/(?<page>[a-z]+)[.](?<kind>html|txt)$"], vec![]),
    ];
    let table = [
        ("GET a/", "root"),
        ("GET a/x", "root"),
        ("GET a/api", "api"),
        ("GET a/api/", "api"),
        ("GET a/apis", "root"),
        ("GET a/api/v2", "api-v version=v2"),
        ("GET a/api/v2/x/y", "api-v version=v2"),
        ("GET a/api/v1", "api-v1"),
        ("GET a/api/v1/x", "api-v1"),
        ("GET a/api/v1x", "api-v version=v1x"),
        ("GET a/users/5", "user id=5"),
        ("GET a/users/", "root"),
        ("GET a/users/5/", "root"),
        ("GET a/users/5/posts", "user-posts id=5"),
        ("GET a/users/5/posts/7", "user-posts id=5"),
        ("GET a/users/me", "me"),
        ("GET a/users/me/x", "me-any what=x"),
        // Here the literal beats the capture, although the other pattern has more literals behind it.
        ("GET a/users/me/posts", "me-any what=posts"),
        // Where the literal leads nowhere the capture is tried.
        ("GET a/users/me/posts/7", "user-posts id=me"),
        ("GET a/folder/", "folder"),
        ("GET a/folder", "root"),
        ("GET a/folder/x", "root"),
        ("GET a/news.html", "pages page=news kind=html"),
        ("GET a/API", "root"),
        ("OPTIONS a*", "any"),
    ];
    assert_taken(&routes, &table);
    routes.reverse();
    assert_taken(&routes, &table);
}

#[test]
fn a_host_does_not_shut_out_less_specific_ones() {
    let only_get = Condition::Method(vec!["GET".to_owned()]);
    let routes = [
        route("status", &[], &["/status"], vec![]),
        route("shop", &["shop.example.com"], &["/cart*"], vec![only_get]),
        route("carts", &["*.example.com"], &["/cart"], vec![]),
    ];
    assert_taken(
        &routes,
        &[
            ("GET shop.example.com/cart", "shop"),
            ("HEAD shop.example.com/cart", "shop"),
            ("POST shop.example.com/cart", "carts"),
            ("POST shop.example.com/cart/1", "nobody"),
            ("GET shop.example.com/status", "status"),
            ("GET shop.example.com/other", "nobody"),
        ],
    );
}

#[test]
fn of_equally_specific_routes_the_first_that_holds_wins() {
    let beta = || Condition::Header("X-Beta".to_owned(), Test::Present);
    let routes = [
        route("beta", &[], &["/a"], vec![beta()]),
        route("first", &[], &["/a", "/b*"], vec![]),
        route("second", &[], &["/a", "/b*", "/c"], vec![]),
        route("beta-expression", &[], &["^/e"], vec![beta()]),
        route("expression", &[], &["^/e", "^/c"], vec![]),
        route("later-expression", &[], &["^/e"], vec![]),
    ];
    assert_taken(
        &routes,
        &[
            ("GET a/a", "first"),
            ("GET a/b/x", "first"),
            ("GET a/c", "second"),
            ("GET a/ex", "expression"),
            ("GET a/d", "nobody"),
        ],
    );
    for (line, want) in [("GET a/a", "beta"), ("GET a/ex", "beta-expression")] {
        assert_eq!(taken(&routes, &Request::read(line).with("x-beta", "")), want);
    }
}

#[test]
fn every_condition_counts() {
    let text = |text: &str| Test::Is(text.to_owned());
    let conditions = [
        ("method", Condition::Method(vec!["PUT".to_owned(), "POST".to_owned()])),
        ("accept", Condition::Header("Accept".to_owned(), Test::Contains("json".to_owned()))),
        ("debug", Condition::Query("debug".to_owned(), text("on off"))),
        ("canary", Condition::Cookie("canary".to_owned(), text("1"))),
        ("client", Condition::Client(vec!["10.0.0.0/8".parse().unwrap()])),
        ("inner", Condition::Listener(vec!["inner".to_owned()])),
        ("host", Condition::Host(vec!["*.b".parse().unwrap()])),
        ("path", Condition::Path(vec![PathPattern::whole("/x/{y}").unwrap()])),
    ];
    let routes: Vec<_> =
        conditions.into_iter().map(|(name, condition)| route(name, &[], &[], vec![condition])).collect();
    let client = |client: &str| Request { client: client.parse().ok(), ..Request::read("GET a/") };
    for (request, want) in [
        (Request::read("PUT a/"), "method"),
        (Request::read("put a/"), "nobody"),
        (Request::read("GET a/").with("ACCEPT", "text/html, application/json"), "accept"),
        (Request::read("GET a/").with("accept", "text/html").with("accept", "a/json"), "accept"),
        (Request::read("GET a/").with("accept", "text/html"), "nobody"),
        (Request::read("GET a/?x=1&%64ebug=on+off"), "debug"),
        (Request::read("GET a/?debug=on%20off"), "debug"),
        (Request::read("GET a/?debug=on"), "nobody"),
        (Request::read("GET a/").with("Cookie", "a=2; canary=\"1\""), "canary"),
        (Request::read("GET a/").with("Cookie", "a=canary=1"), "nobody"),
        (client("10.200.0.1"), "client"),
        (client("::ffff:10.200.0.1"), "client"),
        (client("11.0.0.1"), "nobody"),
        (client("unknown"), "nobody"),
        (Request { listener: Some(1), ..Request::read("GET a/") }, "inner"),
        (Request { listener: Some(0), ..Request::read("GET a/") }, "nobody"),
        (Request { listener: Some(9), ..Request::read("GET a/") }, "nobody"),
        (Request::read("GET a.b:1/"), "host"),
        (Request::read("GET b/"), "nobody"),
        (Request::read("GET a/x/1"), "path"),
        (Request::read("GET a/x/"), "nobody"),
    ] {
        assert_eq!(taken(&routes, &request), want, "{request:?}");
    }
    assert!(Router::new(&routes, &LISTENERS).wants_client());
    assert!(!Router::new(&routes[..4], &LISTENERS).wants_client());
    let within = Condition::Not(Box::new(Condition::All(routes[4].conditions.clone())));
    assert!(Router::new(&[route("a", &[], &[], vec![within])], &LISTENERS).wants_client());
}

#[test]
fn what_an_earlier_request_captured_is_forgotten() {
    let routes = [
        route("two", &[], &["/a/{x}/{y}"], vec![]),
        route("one", &[], &["/b/{x}", "^/c/(?<x>1)?(?<y>2)?"], vec![]),
        route("none", &[], &[], vec![]),
    ];
    let router = Router::new(&routes, &[]);
    let mut captures = Captures::new();
    for (path, at, want) in [
        ("/a/1/2", 0, [Some("1"), Some("2")]),
        ("/b/3", 1, [Some("3"), None]),
        ("/a/1/2", 0, [Some("1"), Some("2")]),
        ("/c/2", 1, [None, Some("2")]),
        ("/", 2, [None, None]),
    ] {
        let request = Request::read(&format!("GET a{path}"));
        assert_eq!(request.ask(|asked| router.find(asked, &mut captures)), Some(at));
        let captured = ["x", "y"].map(|name| router.capture(at, &captures, name, path.as_bytes()));
        assert_eq!(captured, want.map(|text| text.map(str::as_bytes)), "{path}");
        assert_eq!(router.capture(at, &captures, "z", path.as_bytes()), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_router_and_the_plain_matcher_agree(
        routes in some_routes(),
        requests in prop::collection::vec(some_request(), 1..8),
    ) {
        let router = Router::new(&routes, &LISTENERS);
        // What one request leaves behind is nothing to the next.
        let mut captures = Captures::new();
        for request in requests {
            let found = request.ask(|asked| router.find(asked, &mut captures));
            let want = plain(&routes, &request);
            prop_assert_eq!(found, want.as_ref().map(|(at, _)| *at), "{:?}", request);
            let Some((at, want)) = want else { continue };
            let names: Vec<_> = routes[at].paths.iter().flat_map(PathPattern::captures).collect();
            for name in names {
                let value = router.capture(at, &captures, name, request.path.as_bytes());
                let want = want.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_bytes());
                prop_assert_eq!(value, want, "{} of {:?}", name, request);
            }
        }
    }
}
