//! What is said of a decision.

use proptest::prelude::*;

use super::*;
use crate::route::sample::{LISTENERS, Request, route, some_request, some_routes};

fn explain(routes: &[RouteSettings], request: &Request) -> Explanation {
    request.ask(|asked| Router::new(routes, &LISTENERS).explain(routes, asked))
}

fn close(explanation: &Explanation) -> Vec<(usize, &str)> {
    explanation.close.iter().map(|close| (close.route, close.why.as_str())).collect()
}

fn header(name: &str, test: Test) -> Condition {
    Condition::Header(name.to_owned(), test)
}

#[test]
fn the_winner_is_explained_by_host_path_and_conditions() {
    let conditions = vec![
        Condition::Method(vec!["GET".to_owned(), "HEAD".to_owned()]),
        header("X-Beta", Test::Present),
        Condition::Not(Box::new(Condition::Query("debug".to_owned(), Test::Is("1".to_owned())))),
    ];
    let routes = [
        route("a", &["example.com", "*.example.com"], &["/users/{id}"], conditions),
        route("b", &[], &["/static/{kind}*", "^/v(?<version>[0-9]+)"], vec![]),
        route("c", &[], &["/about"], vec![]),
        route("d", &["d"], &[], vec![]),
    ];
    for (line, taken, because) in [
        (
            "GET WWW.example.com:80/users/5",
            0,
            &[
                "the host www.example.com is below *.example.com",
                "the path /users/5 is /users/{id}, id is 5",
                "the method is GET or HEAD",
                "the header X-Beta is there",
                "the query parameter debug is not \"1\"",
            ][..],
        ),
        (
            "GET a/static/css/x",
            1,
            &["it is for any host", "the path /static/css/x begins with /static/{kind}, kind is css"],
        ),
        (
            "GET a/v12/x",
            1,
            &[
                "it is for any host",
                "the path /v12/x is found by the expression ^/v(?<version>[0-9]+), version is 12",
            ],
        ),
        ("GET a/about", 2, &["it is for any host", "the path /about is the route's"]),
        ("GET d/", 3, &["the host is d", "it is for any path"]),
    ] {
        let explanation = explain(&routes, &Request::read(line).with("x-beta", "1"));
        assert_eq!(explanation.taken, Some(taken), "{line}");
        assert_eq!(explanation.because, because, "{line}");
    }
}

#[test]
fn those_that_came_close_are_told_with_what_failed() {
    let is = |text: &str| Test::Is(text.to_owned());
    let routes = [
        route("default", &[], &[], vec![]),
        route("app", &["a"], &["/app*"], vec![]),
        route("app-again", &["a"], &["/app/*"], vec![]),
        route("canary", &["a"], &["/app/x"], vec![Condition::Cookie("canary".to_owned(), is("1"))]),
        route("beta", &["a"], &["/app*"], vec![header("X-Beta", is("1")), header("X-More", Test::Present)]),
        route("other-host", &["b", "*.b"], &["/app/x"], vec![]),
        route("far", &["b"], &["/elsewhere"], vec![]),
    ];
    let request = Request::read("GET a/app/x").with("Cookie", "canary=0").with("X-Beta", "2");
    let explanation = explain(&routes, &request);
    assert_eq!(explanation.taken, Some(1));
    assert_eq!(
        close(&explanation),
        [
            (3, "the cookie canary is not \"1\": it is \"0\""),
            (2, "it matches too, but app comes earlier and is as specific"),
            (0, "it matches too, but it is for any host, and app for the host itself"),
            (4, "the header X-Beta is not \"1\": it is \"2\"; the header X-More is not there"),
            (5, "the host is a, not b or *.b"),
        ]
    );
}

#[test]
fn where_nobody_takes_the_request_the_closest_are_told() {
    let routes = [
        route("post", &[], &["/a"], vec![Condition::Method(vec!["POST".to_owned()])]),
        route("inner", &[], &["/a"], vec![Condition::Listener(vec!["inner".to_owned()])]),
        route("net", &[], &["/a"], vec![Condition::Client(vec!["10.0.0.0/8".parse().unwrap()])]),
    ];
    let request =
        Request { listener: Some(0), client: Some("192.0.2.1".parse().unwrap()), ..Request::read("GET a/a") };
    let explanation = explain(&routes, &request);
    assert_eq!((explanation.taken, &*explanation.because), (None, &[][..]));
    assert_eq!(
        close(&explanation),
        [
            (0, "the method is not POST: it is GET"),
            (1, "the listener is not inner: it is web"),
            (2, "the client is not in 10.0.0.0/8: it is 192.0.2.1"),
        ]
    );
}

#[test]
fn each_condition_that_fails_is_told_with_what_the_request_has() {
    let texts = |text: &str| text.to_owned();
    let not = |condition| Condition::Not(Box::new(condition));
    let of = |test| header("X", test);
    let one_of = Test::OneOf(vec![Test::Is(texts("1")), Test::Absent, Test::Prefix(texts("2"))]);
    for (condition, why) in [
        (of(Test::Absent), r#"the header X is there: it is "a", "b""#),
        (of(Test::Suffix(texts("c"))), r#"the header X does not end with "c": it is "a", "b""#),
        (of(Test::Contains(texts("c"))), r#"the header X does not contain "c": it is "a", "b""#),
        (of(Test::Regex("^c".parse().unwrap())), r#"the header X does not match "^c": it is "a", "b""#),
        (of(one_of), r#"the header X is not "1" and is there and does not begin with "2": it is "a", "b""#),
        (not(of(Test::Is(texts("a")))), r#"the header X is "a": it is "a", "b""#),
        (Condition::Query(texts("q"), Test::Present), "the query parameter q is not there"),
        (Condition::Cookie(texts("c"), Test::Is(texts("1"))), r#"the cookie c is not "1": there is none"#),
        (Condition::Client(vec!["::/0".parse().unwrap()]), "the client is not in ::/0: it has no address"),
        (Condition::Host(vec!["*.b".parse().unwrap()]), "the host is not *.b"),
        (Condition::Path(vec![PathPattern::whole("/b").unwrap()]), "the path does not match /b"),
        (
            Condition::All(vec![of(Test::Present), of(Test::Absent)]),
            r#"the header X is there: it is "a", "b""#,
        ),
        (Condition::Any(vec![of(Test::Absent)]), "none of (the header X is not there)"),
        (not(Condition::All(vec![of(Test::Present)])), "all of (the header X is there)"),
    ] {
        let routes = [route("a", &[], &[], vec![condition])];
        let explanation = explain(&routes, &Request::read("GET a/a").with("x", "a").with("x", "b"));
        assert_eq!(close(&explanation), [(0, why)]);
    }
}

#[test]
fn a_less_specific_path_is_told_with_the_one_that_is_more() {
    let routes = [
        route("wild", &["*.a"], &["/x"], vec![]),
        route("wilder", &["*.b.a"], &["/x/*"], vec![]),
        route("prefix", &["*.b.a"], &["/*"], vec![]),
        route("any", &["*.b.a"], &[], vec![]),
    ];
    let explanation = explain(&routes, &Request::read("GET c.b.a/x"));
    assert_eq!(explanation.taken, Some(1));
    assert_eq!(
        close(&explanation),
        [
            (2, "it matches too, but the prefix / is less specific than the prefix /x of wilder"),
            (3, "it matches too, but any path is less specific than the prefix /x of wilder"),
            (0, "it matches too, but the wildcard of wilder is longer"),
        ]
    );
}

#[test]
fn what_a_request_brings_does_no_harm_on_a_terminal() {
    let routes = [route("a", &[], &["/a"], vec![header("X", Test::Is("1".to_owned()))])];
    let hostile = format!("\u{1b}[2J{}", "x".repeat(1000));
    let explanation = explain(&routes, &Request::read("GET a/a").with("x", &hostile));
    let why = &explanation.close[0].why;
    assert!(why.contains(r"\x1b[2Jxxx") && why.ends_with("…\"") && why.len() < 200, "{why}");
}

proptest! {
    #[test]
    fn an_explanation_is_of_what_was_decided(routes in some_routes(), request in some_request()) {
        let explanation = explain(&routes, &request);
        let found = request.ask(|asked| Router::new(&routes, &LISTENERS).find(asked, &mut Captures::new()));
        prop_assert_eq!(explanation.taken, found);
        prop_assert_eq!(explanation.because.is_empty(), found.is_none());
        prop_assert!(explanation.close.len() <= CLOSE_MAX);
        for close in &explanation.close {
            prop_assert!(Some(close.route) != found && !close.why.is_empty());
            prop_assert!(found.is_some() || !close.why.contains("matches too"));
        }
    }
}
