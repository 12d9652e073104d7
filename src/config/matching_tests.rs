//! What is a host, what is a path, and what is said of what is neither.

use proptest::prelude::*;

use super::*;

#[test]
fn hosts_are_read_in_lower_case_without_the_last_dot() {
    for (text, want) in [
        ("example.com", "example.com"),
        ("WWW.Example.COM.", "www.example.com"),
        ("localhost", "localhost"),
        ("my_host-1", "my_host-1"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[2001:DB8:0:0::0001]", "[2001:db8::1]"),
        ("*.Example.com", "*.example.com"),
        ("*.com.", "*.com"),
    ] {
        let host: HostPattern = text.parse().unwrap();
        assert_eq!(host.to_string(), want, "{text}");
        assert_eq!(want.parse(), Ok(host));
    }
    assert_eq!("*.a".parse(), Ok(HostPattern::Wildcard("a".to_owned())));
}

#[test]
fn what_is_no_host_is_refused_with_the_reason() {
    let long = format!("{}.com", "a".repeat(64));
    for (text, why) in [
        ("", "empty label"),
        (".", "empty label"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("a..", "empty label"),
        ("*.", "empty label"),
        ("*", "without hosts is for any"),
        ("a.*.b", "whole first label"),
        ("*a.b", "whole first label"),
        ("*.*.b", "whole first label"),
        ("a.*", "whole first label"),
        ("a:80", "whatever the port"),
        ("*.a:80", "whatever the port"),
        ("[::1]:80", "whatever the port"),
        ("[::1", "bracket has to be closed"),
        ("[::1]x", "bracket has to be closed"),
        ("[a]", "no IPv6 address"),
        ("::1", "stands in brackets"),
        ("http://a", "no scheme"),
        ("a/b", "`path`"),
        ("a b", "it has a ' '"),
        ("a%41", "it has a '%'"),
        ("u@a", "it has a '@'"),
        ("b\u{fc}cher.de", "xn--"),
        (&long, "too long"),
    ] {
        let error = text.parse::<HostPattern>().unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn paths_are_read_into_normal_form() {
    for (text, whole, prefix) in [
        ("/", "/", "/"),
        ("//", "/", "/"),
        ("/a", "/a", "/a"),
        ("/a/", "/a/", "/a"),
        ("/a//b/./c/../d", "/a/b/d", "/a/b/d"),
        ("/%61%2f%7b", "/a%2F%7B", "/a%2F%7B"),
        ("/b\u{fc}cher und", "/b%C3%BCcher%20und", "/b%C3%BCcher%20und"),
        ("/users/{id}", "/users/{id}", "/users/{id}"),
        ("/{a}/x/{b_2}/", "/{a}/x/{b_2}/", "/{a}/x/{b_2}"),
        ("/..", "/", "/"),
    ] {
        let (read_whole, read_prefix) =
            (PathPattern::whole(text).unwrap(), PathPattern::prefix(text).unwrap());
        assert_eq!((&*read_whole.to_string(), &*read_prefix.to_string()), (whole, prefix), "{text}");
        assert_eq!(PathPattern::whole(whole), Ok(read_whole));
        assert_eq!(PathPattern::prefix(prefix), Ok(read_prefix));
    }
    let literal = |text: &str| Segment::Literal(text.to_owned());
    assert_eq!(PathPattern::whole("/"), Ok(PathPattern::Whole(vec![literal("")])));
    assert_eq!(PathPattern::prefix("/"), Ok(PathPattern::Prefix(vec![])));
    let with_capture = vec![literal("a"), Segment::Capture("id".to_owned()), literal("")];
    assert_eq!(PathPattern::whole("/a/{id}/"), Ok(PathPattern::Whole(with_capture)));
}

#[test]
fn what_is_no_path_is_refused_with_the_reason() {
    let many: String = (0..=CAPTURES_MAX).map(|number| format!("/{{c{number}}}")).collect();
    let deep = "/a".repeat(SEGMENTS_MAX + 1);
    for (text, why) in [
        ("", "begin with a slash"),
        ("a", "begin with a slash"),
        ("*", "begin with a slash"),
        ("http://a/b", "begin with a slash"),
        ("/a?b", "query"),
        ("/a#b", "fragment"),
        ("/a\\b", "backslash"),
        ("/a\nb", "control"),
        ("/a%2", "hexadecimal"),
        ("/a%zz", "hexadecimal"),
        ("/a%00", "hexadecimal"),
        ("/{}", "no name"),
        ("/a{id}", "whole segment"),
        ("/{id}.html", "whole segment"),
        ("/{a}{b}", "whole segment"),
        ("/{a", "whole segment"),
        ("/a}", "whole segment"),
        ("/{{a}}", "whole segment"),
        ("/{a/b}", "whole segment"),
        ("/{a.b}", "letters, digits"),
        ("/{host}", "a variable of another meaning"),
        ("/{a b}", "letters, digits"),
        ("/{a}/x/{a}", "two captures {a}"),
        (&many, "more than 16 captures"),
        (&deep, "more than 128 segments"),
    ] {
        for read in [PathPattern::whole(text), PathPattern::prefix(text)] {
            let error = read.unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

#[test]
fn expressions_capture_by_name() {
    let pattern = PathPattern::regex("^/v(?<version>[0-9]+)/(x)(?P<rest>.*)$").unwrap();
    assert_eq!(pattern.captures().collect::<Vec<_>>(), ["version", "rest"]);
    assert_eq!(PathPattern::regex(&pattern.to_string()), Ok(pattern));
    let many: String = (0..=CAPTURES_MAX).map(|number| format!("(?<c{number}>x)")).collect();
    for (text, why) in [
        ("(", "no regular expression"),
        ("(?<a>x)(?<a>y)", "duplicate capture group name"),
        ("(?<a.b>x)", "letters, digits"),
        ("(?<path>x)", "a variable of another meaning"),
        (&many, "more than 16 captures"),
        ("(x{1000}){1000}", "too large"),
    ] {
        let error = PathPattern::regex(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn what_is_read_is_read_again_from_its_text(text in "/([ab{}./%2e\u{e4} ]|\\{a\\}/|\\{b\\}){0,12}") {
        if let Ok(pattern) = PathPattern::whole(&text) {
            prop_assert!(path::is_normal(pattern.to_string().as_bytes()));
            prop_assert_eq!(PathPattern::whole(&pattern.to_string()), Ok(pattern));
        }
        if let Ok(pattern) = PathPattern::prefix(&text) {
            prop_assert_eq!(PathPattern::prefix(&pattern.to_string()), Ok(pattern));
        }
    }

    #[test]
    fn a_host_that_is_read_is_read_again_from_its_text(text in "(\\*\\.)?[aB.*:1\\[\\]-]{0,9}") {
        if let Ok(host) = text.parse::<HostPattern>() {
            prop_assert_eq!(host.to_string().parse(), Ok(host));
        }
    }
}
