use std::time::Duration;

use super::*;
use crate::filter::fuzz_access::Request;

fn settings(origins: &[&str]) -> CorsSettings {
    // As the configuration reads them.
    let origin = |text: &&str| match *text {
        "*" => Origins::Any,
        "null" => Origins::Null,
        text => match text.split_once("*") {
            Some((scheme, rest)) => Origins::Below(scheme.to_owned(), rest.to_owned()),
            None => Origins::One(text.to_owned()),
        },
    };
    CorsSettings {
        origins: origins.iter().map(origin).collect(),
        methods: ["GET", "PUT"].map(str::to_owned).to_vec(),
        ..CorsSettings::default()
    }
}

fn lines(cors: &Cors, origin: &str) -> String {
    let mut out = Vec::new();
    cors.write_lines(origin.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

fn asked<'a>(origin: &'a str, method: &'a str, headers: Option<&'a str>) -> Preflight<'a> {
    let headers = headers.map(str::as_bytes);
    Preflight { origin: origin.as_bytes(), method: method.as_bytes(), headers, private_network: false }
}

fn answered(cors: &Cors, asked: &Preflight<'_>) -> Option<String> {
    let mut out = Vec::new();
    let allowed = cors.answer(asked, &mut out);
    assert!(allowed || out.is_empty());
    allowed.then(|| String::from_utf8(out).unwrap())
}

#[test]
fn origins_are_compared_as_they_are_written() {
    let cors =
        Cors::new(&settings(&["https://app.example.com", "https://*.example.org", "http://[::1]:3000"]));
    for (origin, want) in [
        ("https://app.example.com", true),
        ("http://app.example.com", false),
        ("https://app.example.com:443", false),
        ("https://app.example.com:8443", false),
        ("https://app.example.com.evil", false),
        ("https://app.example.com/", false),
        ("https://evil.app.example.com", false),
        ("https://evilapp.example.com", false),
        ("HTTPS://APP.EXAMPLE.COM", false),
        ("https://a.example.org", true),
        ("https://a.b.example.org", true),
        ("https://a-b_c.0.example.org", true),
        ("https://example.org", false),
        ("https://.example.org", false),
        ("https://a..example.org", false),
        ("https://a.example.org.evil", false),
        ("https://evil/.example.org", false),
        ("https://evil:80.example.org", false),
        ("https://u@evil.example.org", false),
        ("https://evil?a.example.org", false),
        ("https://evil#.example.org", false),
        ("https://evil\\.example.org", false),
        ("https://evil%2f.example.org", false),
        ("https://evilexample.org", false),
        ("http://a.example.org", false),
        ("https://a.example.org:444", false),
        ("http://[::1]:3000", true),
        ("http://[::1]", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        assert_eq!(cors.allows(origin.as_bytes()), want, "{origin}");
        assert_eq!(!lines(&cors, origin).is_empty(), want, "{origin}");
        assert_eq!(answered(&cors, &asked(origin, "GET", None)).is_some(), want, "{origin}");
    }
}

#[test]
fn a_page_without_an_origin_may_ask_only_where_that_is_said() {
    assert!(Cors::new(&settings(&["null"])).allows(b"null"));
    assert!(!Cors::new(&settings(&["null"])).allows(b"https://a"));
    assert!(!Cors::new(&settings(&["https://null"])).allows(b"null"));
}

#[test]
fn a_response_says_who_may_read_it() {
    let some = CorsSettings {
        credentials: true,
        exposed: vec!["X-A".to_owned(), "X-B".to_owned()],
        ..settings(&["https://a", "https://b"])
    };
    let cors = Cors::new(&some);
    assert_eq!(
        lines(&cors, "https://b"),
        "Access-Control-Allow-Origin: https://b\r\nAccess-Control-Allow-Credentials: true\r\n\
         Access-Control-Expose-Headers: X-A, X-B\r\n"
    );
    assert_eq!(cors.lines_for_all(), None);
    let any = Cors::new(&settings(&["https://a", "*"]));
    assert_eq!(lines(&any, "https://c"), "Access-Control-Allow-Origin: *\r\n");
    assert_eq!(any.lines_for_all(), Some(&b"Access-Control-Allow-Origin: *\r\n"[..]));
}

#[test]
fn nobody_gets_credentials_where_all_may_ask() {
    let cors = Cors::new(&CorsSettings { credentials: true, ..settings(&["*"]) });
    assert!(!lines(&cors, "https://a").contains("Credentials"));
    assert!(!answered(&cors, &asked("https://a", "GET", None)).unwrap().contains("Credentials"));
}

#[test]
fn a_browser_is_told_what_a_page_may_use() {
    let some = CorsSettings {
        headers: vec!["X-A".to_owned(), "Content-Type".to_owned()],
        max_age: Some(Duration::from_secs(600)),
        credentials: true,
        private_network: true,
        ..settings(&["https://a"])
    };
    let cors = Cors::new(&some);
    let said = "Access-Control-Allow-Origin: https://a\r\nAccess-Control-Allow-Credentials: true\r\n\
                Access-Control-Allow-Methods: GET, PUT\r\nAccess-Control-Allow-Headers: X-A, Content-Type\r\n\
                Access-Control-Max-Age: 600\r\n";
    let question = asked("https://a", "DELETE", Some("x-evil"));
    assert_eq!(answered(&cors, &question).unwrap(), said);
    let private = Preflight { private_network: true, ..question };
    let line = "Access-Control-Allow-Private-Network: true\r\n";
    assert_eq!(answered(&cors, &private).unwrap(), format!("{said}{line}"));
    let plain = Cors::new(&settings(&["https://a"]));
    let said = "Access-Control-Allow-Origin: https://a\r\nAccess-Control-Allow-Methods: GET, PUT\r\n";
    assert_eq!(answered(&plain, &private).unwrap(), said);
}

#[test]
fn where_everything_may_be_used_it_is_what_was_asked_for() {
    let all = || vec!["*".to_owned()];
    let cors = Cors::new(&CorsSettings { methods: all(), headers: all(), ..settings(&["https://a"]) });
    let said = answered(&cors, &asked("https://a", "PROPFIND", Some("authorization, x-a"))).unwrap();
    assert!(
        said.contains("Allow-Methods: PROPFIND\r\n")
            && said.contains("Allow-Headers: authorization, x-a\r\n")
    );
    let long = "x".repeat(ASKED_BYTES_MAX + 1);
    for headers in ["a b", "a\"", "\u{e4}", "a:b", &long] {
        let said = answered(&cors, &asked("https://a", "GET", Some(headers))).unwrap();
        assert!(!said.contains("Allow-Headers"), "{said}");
    }
}

#[test]
fn a_question_is_told_from_other_requests() {
    let origin = ("Origin", "https://a");
    let wanted = ("access-control-request-method", "PUT");
    let request = Request::new(&[origin, wanted, ("Access-Control-Request-Headers", "x-a")]);
    let found = Preflight::of(Method::Options, request.fields()).unwrap();
    assert_eq!(found, asked("https://a", "PUT", Some("x-a")));
    assert_eq!(Preflight::of(Method::Get, request.fields()), None);
    for pairs in [
        &[origin][..],
        &[wanted],
        &[origin, ("Access-Control-Request-Method", "")],
        &[origin, ("Access-Control-Request-Method", "P UT")],
        &[origin, wanted, wanted],
        &[origin, origin, wanted],
    ] {
        let request = Request::new(pairs);
        assert_eq!(Preflight::of(Method::Options, request.fields()), None, "{pairs:?}");
    }
}
