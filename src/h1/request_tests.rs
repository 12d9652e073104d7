use super::*;
use crate::h1::HeadScanner;

fn read(text: &str) -> Result<RequestHead, Reason> {
    read_with(text, &HeadLimits::default())
}

fn read_with(text: &str, limits: &HeadLimits) -> Result<RequestHead, Reason> {
    let mut scanner = HeadScanner::default();
    let end = scanner.scan(text.as_bytes()).map_err(Malformed::in_request)?.expect("a whole head");
    parse(&text.as_bytes()[..end], limits, &mut Vec::new())
}

#[test]
fn reads_a_request() {
    let text = "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nAccept:  */* \r\n\r\n";
    let mut lines = Vec::new();
    let head = parse(text.as_bytes(), &HeadLimits::default(), &mut lines).unwrap();
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target_text.within(text.as_bytes()), b"/a?b=c");
    assert_eq!(head.version, Version::Http11);
    let fields = Fields::new(text.as_bytes(), &lines);
    assert_eq!(fields.first(Name::Accept), Some(&b"*/*"[..]));
    assert_eq!(fields.len(), 2);
}

#[test]
fn passes_any_method_token_on() {
    let head = read("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(head.method, Method::Other);
}

#[test]
fn http_1_0_may_leave_the_host_out() {
    assert_eq!(read("GET / HTTP/1.0\r\n\r\n").unwrap().version, Version::Http10);
}

#[test]
fn refuses_what_is_malformed() {
    let cases: &[(&str, Reason)] = &[
        ("GET / HTTP/1.1\r\n\r\n", Reason::MissingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Reason::RepeatedHost),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Reason::RepeatedHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Reason::BadHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Reason::BadHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Reason::BadHost),
        ("GET / HTTP/1.1\r\nHost: a,b/\r\n\r\n", Reason::BadHost),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Reason::UnsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\n", Reason::UnsupportedVersion),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Reason::UnsupportedVersion),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("GET /\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadTarget),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadTarget),
        ("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadTarget),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{b}b\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{7f}: b\r\n\r\n", Reason::BadField),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Reason::BadLineEnding),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Reason::BadLineEnding),
    ];
    for (text, want) in cases {
        assert_eq!(read(text).map(|_| ()), Err(*want), "{text:?}");
    }
}

#[test]
fn a_target_over_the_limit_is_414_and_too_many_fields_are_431() {
    let limits = HeadLimits { target_bytes_max: 16, fields_max: 3, ..HeadLimits::default() };
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(16));
    assert_eq!(read_with(&long, &limits).map(|_| ()), Err(Reason::TargetTooLong));
    let exact = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(15));
    assert!(read_with(&exact, &limits).is_ok());
    let many = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n";
    assert_eq!(read_with(many, &limits).map(|_| ()), Err(Reason::TooManyFields));
}

#[test]
fn a_head_that_does_not_end_is_refused_for_what_is_too_long() {
    let limits = HeadLimits { target_bytes_max: 100, head_bytes_max: 1000, ..HeadLimits::default() };
    assert_eq!(too_large(&[b'x'; 1000], &limits), Reason::TargetTooLong);
    assert_eq!(
        too_large(&[&[b'x'; 500][..], b"\r\n", &[b'y'; 500]].concat(), &limits),
        Reason::TargetTooLong
    );
    assert_eq!(too_large(&[&[b'x'; 150][..], b"\r\n", &[b'y'; 900]].concat(), &limits), Reason::HeadTooLarge);
}
