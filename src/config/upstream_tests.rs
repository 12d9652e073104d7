use super::*;

#[test]
fn endpoints_are_read_and_written_alike() {
    for text in [
        "10.0.0.1:9001",
        "[::1]:80",
        "app.internal:80",
        "unix:/run/app.sock",
        "srv:_http._tcp.app.internal",
        "srv:app.service.consul.",
        "srv:App",
        "file:/etc/ringway/app.json",
        "file:apps/a b.toml",
    ] {
        assert_eq!(text.parse::<EndpointAddress>().unwrap().to_string(), text);
    }
    let origin: EndpointAddress = "http://a".parse().unwrap();
    assert_eq!(origin.to_string(), "a:80");
}

#[test]
fn endpoints_that_are_none_are_refused_with_the_reason() {
    let long = format!("srv:{}.a", "x".repeat(64));
    for (text, want) in [
        ("", "no host and port"),
        ("a", "no host and port"),
        ("a:0", "no port from 1"),
        ("unix:", "has no path"),
        ("file:", "has no path"),
        ("srv:", "it has an empty label"),
        ("srv:.", "it has an empty label"),
        ("srv:a..b", "it has an empty label"),
        ("srv:app:80", "it has a ':'"),
        ("srv:a b", "it has a ' '"),
        ("srv:a\r\nb", "it has a '\\r'"),
        ("srv:\u{e4}.b", "it has a '\u{e4}'"),
        ("srv:10.0.0.1", "it ends like an address"),
        (&long, "it is too long"),
        ("https://a", "TLS"),
    ] {
        let error = text.parse::<EndpointAddress>().unwrap_err();
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn a_host_by_itself_is_an_address_or_a_name() {
    for (text, want) in
        [("10.0.0.1", "10.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("a.b", "a.b"), ("a_b.", "a_b.")]
    {
        assert_eq!(Host::checked(text).unwrap().to_string(), want);
    }
    for text in ["", "10.0.0.256", "[::1", "a:80", "http://a", "a/b", "a b", "unix:/a"] {
        assert!(Host::checked(text).is_err(), "{text}");
    }
}

#[test]
fn what_signs_cookies_is_not_shown() {
    let secret = Some("0123456789abcdef".to_owned());
    let sticky = Sticky { cookie: "a".to_owned(), max_age: None, secure: false, secret };
    let shown = format!("{sticky:?}");
    assert!(shown.contains("secret: Some(") && !shown.contains("0123"), "{shown}");
}
