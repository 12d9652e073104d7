use super::*;
use crate::route::fuzz::Sample;
use proptest::prelude::*;

const BYTES_MAX: usize = 8192;

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, Template)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), template(text))).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The target that goes on for one that was sent, which is in normal form but where `normal` says otherwise.
fn went_on(
    settings: &Rewrite,
    sent: &str,
    normal: Option<&str>,
    sample: &Sample,
) -> Result<String, BadValue> {
    let (original, query) = sent.split_once('?').map_or((sent, None), |(path, query)| (path, Some(query)));
    let normal = normal.unwrap_or(original).as_bytes();
    let query = query.map(str::as_bytes);
    let sample = Sample { path: normal.to_vec(), query: query.map(<[u8]>::to_vec), ..sample.clone() };
    let mut out = b"before".to_vec();
    let changed = sample
        .with(|values| rewrite(settings, original.as_bytes(), normal, query, values, BYTES_MAX, &mut out));
    let written = std::str::from_utf8(&out[6..]).unwrap();
    assert_eq!(changed == Ok(Changed::Yes), !written.is_empty(), "{sent}");
    if changed == Ok(Changed::Yes) {
        assert!(is_needed(settings, original.as_bytes(), normal, query), "{sent}");
        assert_ne!(written, sent);
    }
    changed.map(|changed| if changed == Changed::Yes { written } else { sent }.to_owned())
}

#[track_caller]
fn assert_goes_on(settings: &Rewrite, cases: &[(&str, &str)]) {
    let sample = Sample { capture: Some(b"7".to_vec()), ..Sample::new(&[("X-A", "a/b c"), ("X-Up", "..")]) };
    for (sent, want) in cases {
        assert_eq!(went_on(settings, sent, None, &sample).as_deref(), Ok(*want), "{sent}");
    }
}

#[test]
fn what_nothing_rewrites_goes_on_uncopied() {
    let plain = Rewrite::default();
    for sent in ["/", "/a/b?c=d", "/a?", "/?a", "*"] {
        let (path, query) = sent.split_once('?').map_or((sent, None), |(path, query)| (path, Some(query)));
        assert!(!is_needed(&plain, path.as_bytes(), path.as_bytes(), query.map(str::as_bytes)), "{sent}");
        assert_goes_on(&plain, &[(sent, sent)]);
    }
}

#[test]
fn the_normal_form_goes_on_unless_the_original_is_asked_for() {
    let original = Rewrite { forward: ForwardPath::Original, ..Rewrite::default() };
    let sample = Sample::bare();
    for (sent, normal, query) in [("/a/../b", "/b", ""), ("//a", "/a", "?x=%61"), ("/%61", "/a", "?")] {
        let sent = format!("{sent}{query}");
        let want = format!("{normal}{query}");
        assert_eq!(went_on(&Rewrite::default(), &sent, Some(normal), &sample).unwrap(), want);
        assert_eq!(went_on(&original, &sent, Some(normal), &sample).unwrap(), sent);
    }
    // Where something else changes the path, it is the normal form that changes.
    let prefixed = Rewrite { add_prefix: Some("/v1".into()), ..original.clone() };
    assert_eq!(went_on(&prefixed, "/a/../b", Some("/b"), &sample).unwrap(), "/v1/b");
    let strip = Rewrite { strip_prefix: Some("/b".into()), ..original };
    assert_eq!(went_on(&strip, "/a/../b/c", Some("/b/c"), &sample).unwrap(), "/c");
    assert_eq!(went_on(&strip, "/a/../x/c", Some("/x/c"), &sample).unwrap(), "/a/../x/c");
}

#[test]
fn an_absolute_target_without_a_path_gets_one() {
    for forward in [ForwardPath::Normalised, ForwardPath::Original] {
        let settings = Rewrite { forward, ..Rewrite::default() };
        assert_eq!(went_on(&settings, "", Some("/"), &Sample::bare()).unwrap(), "/");
        assert_eq!(went_on(&settings, "?a=b", Some("/"), &Sample::bare()).unwrap(), "/?a=b");
    }
}

#[test]
fn a_target_about_the_server_as_a_whole_stays() {
    let all = Rewrite {
        strip_prefix: Some("*".into()),
        path: Some(template("/x")),
        add_prefix: Some("/v1".into()),
        ..Rewrite::default()
    };
    assert_goes_on(&all, &[("*", "*")]);
}

#[test]
fn strips_whole_segments_only() {
    for prefix in ["/api", "/api/"] {
        let settings = Rewrite { strip_prefix: Some(prefix.into()), ..Rewrite::default() };
        assert_goes_on(
            &settings,
            &[
                ("/api/users", "/users"),
                ("/api/users?a=b", "/users?a=b"),
                ("/api", "/"),
                ("/api/", "/"),
                ("/api?a", "/?a"),
                ("/apis/x", "/apis/x"),
                ("/api%2Fx", "/api%2Fx"),
                ("/x/api", "/x/api"),
                ("/", "/"),
                ("/API/x", "/API/x"),
            ],
        );
    }
    // What only some see as going up does not leave what a prefix leads to.
    let sample = Sample::bare();
    let strip = Rewrite { strip_prefix: Some("/api".into()), ..Rewrite::default() };
    let add = Rewrite { add_prefix: Some("/public".into()), ..Rewrite::default() };
    for sent in ["/api/..%2Fx", "/api/x%2F..", "/api/..;/x", "/api/..%5Cx", "/api/..\\x", "/api/.%2Fx"] {
        for settings in [&strip, &add] {
            assert_eq!(went_on(settings, sent, None, &sample), Err(BadValue::DotSegment), "{sent}");
        }
        assert_goes_on(&Rewrite::default(), &[(sent, sent)]);
    }
    // Nothing is in front of everything.
    let nothing = Rewrite { strip_prefix: Some("/".into()), ..Rewrite::default() };
    assert_goes_on(&nothing, &[("/a/b", "/a/b"), ("/", "/")]);
}

#[test]
fn a_prefix_goes_in_front() {
    for prefix in ["/v1", "/v1/", "v1"] {
        let settings = Rewrite { add_prefix: Some(prefix.into()), ..Rewrite::default() };
        assert_goes_on(&settings, &[("/a", "/v1/a"), ("/", "/v1/"), ("/v1/a?b", "/v1/v1/a?b")]);
    }
    let odd = Rewrite { add_prefix: Some("/a b?#%é%20".into()), ..Rewrite::default() };
    assert_goes_on(&odd, &[("/", "/a%20b%3F%23%25%C3%A9%20/")]);
    let nothing = Rewrite { add_prefix: Some("/".into()), ..Rewrite::default() };
    assert_goes_on(&nothing, &[("/a", "/a")]);
    let exchange = Rewrite { strip_prefix: Some("/a".into()), ..odd };
    assert_goes_on(&Rewrite { add_prefix: Some("/a".into()), ..exchange }, &[("/a/b", "/a/b")]);
}

#[test]
fn a_path_is_made_from_a_template() {
    for (text, want) in [
        ("/new/{id}", "/new/7?q=1"),
        ("new/{id}", "/new/7?q=1"),
        ("/x{path}", "/x/old/7?q=1"),
        ("/{path}", "/old/7?q=1"),
        ("/{header.X-A}/y", "/a%2Fb%20c/y?q=1"),
        ("/{header.none}/y", "/y?q=1"),
        ("/{none}", "/?q=1"),
        ("{none}", "/?q=1"),
        ("/a//b", "/a/b?q=1"),
    ] {
        let settings = Rewrite { path: Some(template(text)), ..Rewrite::default() };
        assert_goes_on(&settings, &[("/old/7?q=1", want)]);
    }
    let all = Rewrite {
        strip_prefix: Some("/api".into()),
        path: Some(template("/{id}")),
        add_prefix: Some("/v1".into()),
        ..Rewrite::default()
    };
    assert_goes_on(&all, &[("/api/old", "/v1/7")]);
}

#[test]
fn a_value_does_not_lead_elsewhere() {
    for text in ["/{header.X-Up}/etc", "/a/{header.X-Up}", "{header.X-Up}", "/{id}"] {
        let settings =
            Rewrite { path: Some(template(text)), add_prefix: Some("/v1".into()), ..Rewrite::default() };
        let sample = Sample { capture: Some(b"a%2F..%2F..".to_vec()), ..Sample::new(&[("X-Up", "..")]) };
        assert_eq!(went_on(&settings, "/a?b", None, &sample), Err(BadValue::DotSegment), "{text}");
    }
}

#[test]
fn a_query_is_edited_in_the_order_of_the_settings() {
    let remove = |rules: &[&str]| QueryEdits { remove: names(rules), ..QueryEdits::default() };
    let utm = Rewrite { query: remove(&["utm_*", "debug"]), ..Rewrite::default() };
    assert_goes_on(
        &utm,
        &[
            ("/", "/"),
            ("/?", "/"),
            ("/?utm_a=1", "/"),
            ("/?a=1&utm_a=1&b=2", "/?a=1&b=2"),
            ("/?utm_a&a=1&utm_b", "/?a=1"),
            ("/?a=1&utm_b&debug", "/?a=1"),
            ("/?%75tm_x=1&%61=+%20", "/?%61=+%20"),
            ("/?debugger=1&DEBUG", "/?debugger=1&DEBUG"),
            // What is not touched stays as it is written.
            ("/?&&b=2&a=1&&debug&c&", "/?&&b=2&a=1&&c&"),
        ],
    );
    let all = QueryEdits {
        remove: names(&["x"]),
        set: pairs(&[("a", "{id}"), ("b c", "{header.X-A}")]),
        add: pairs(&[("a", "more"), ("e", "{none}")]),
        ..QueryEdits::default()
    };
    assert_goes_on(
        &Rewrite { query: all, ..Rewrite::default() },
        &[
            ("/", "/?a=7&b%20c=a/b%20c&a=more&e="),
            ("/?x=1&y=2&a=1&%61=2&b+c=3&a", "/?y=2&a=7&b%20c=a/b%20c&a=more&e="),
        ],
    );
}

#[test]
fn a_query_is_replaced() {
    let settings = |text: &str| Rewrite {
        query: QueryEdits { replace: Some(template(text)), ..QueryEdits::default() },
        ..Rewrite::default()
    };
    assert_goes_on(&settings("a={id}&p={query.p}"), &[("/?p=x%26y&z", "/?a=7&p=x%26y"), ("/", "/?a=7&p=")]);
    assert_goes_on(&settings("a=1&{query}"), &[("/?b=2", "/?a=1&b=2"), ("/", "/?a=1")]);
    assert_goes_on(&settings("{query}&a=1"), &[("/?b=2", "/?b=2&a=1"), ("/", "/?a=1")]);
    assert_goes_on(&settings(""), &[("/?b=2", "/"), ("/", "/")]);
    let then_removed = QueryEdits { remove: names(&["a"]), ..settings("a=1&b=2").query };
    assert_goes_on(&Rewrite { query: then_removed, ..Rewrite::default() }, &[("/?c", "/?b=2")]);
}

#[test]
fn edits_that_lead_back_to_what_was_sent_change_nothing() {
    let set = QueryEdits { set: pairs(&[("a", "7")]), ..QueryEdits::default() };
    assert_goes_on(
        &Rewrite { query: set, ..Rewrite::default() },
        &[("/x?a=7", "/x?a=7"), ("/x?a=8", "/x?a=7")],
    );
    let same = Rewrite { path: Some(template("{path}")), ..Rewrite::default() };
    assert_goes_on(&same, &[("/x?a=7", "/x?a=7"), ("/x", "/x")]);
}

#[test]
fn a_target_has_a_greatest_length() {
    let long = "x".repeat(BYTES_MAX);
    // By one byte, which the path that was sent brings.
    let prefix = format!("/{}", &long[2..]);
    let one_more = Rewrite { add_prefix: Some(prefix.clone()), ..Rewrite::default() };
    assert_eq!(went_on(&one_more, "/a", None, &Sample::bare()), Err(BadValue::TooLong));
    assert_eq!(went_on(&one_more, "/", None, &Sample::bare()).unwrap(), format!("{prefix}/"));
    for settings in [
        Rewrite { add_prefix: Some(format!("/{long}")), ..Rewrite::default() },
        Rewrite { path: Some(template(&format!("/{long}"))), ..Rewrite::default() },
        Rewrite {
            query: QueryEdits { add: pairs(&[(&long, "")]), ..QueryEdits::default() },
            ..Rewrite::default()
        },
        Rewrite {
            query: QueryEdits { replace: Some(template(&long)), ..QueryEdits::default() },
            ..Rewrite::default()
        },
    ] {
        assert_eq!(went_on(&settings, "/a?b", None, &Sample::bare()), Err(BadValue::TooLong));
    }
    let fits = Rewrite { path: Some(template(&format!("/{}", &long[1..]))), ..Rewrite::default() };
    assert_eq!(went_on(&fits, "/a", None, &Sample::bare()).unwrap().len(), BYTES_MAX);
}

/// Removing and setting parameters, the plain way.
fn plain_edit(query: &str, rules: &[String], set: &[(String, String)]) -> String {
    let decoded = |name: &str| {
        String::from_utf8_lossy(&query::decoded(name.as_bytes()).collect::<Vec<_>>()).into_owned()
    };
    let goes = |whole: &&str| {
        let name = decoded(whole.split('=').next().unwrap());
        let is_meant = |rule: &String| match rule.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *rule,
        };
        rules.iter().any(is_meant) || set.iter().any(|(set, _)| *set == name)
    };
    let mut kept: Vec<_> = query.split('&').filter(|whole| !goes(whole)).map(str::to_owned).collect();
    // Nothing alone is no parameter.
    if kept == [""] {
        kept.clear();
    }
    kept.extend(set.iter().map(|(name, value)| format!("{name}={value}")));
    kept.join("&")
}

proptest! {
    #[test]
    fn editing_a_query_is_splitting_and_joining_it(
        query in "([ab]|%61|=|&x?=?){0,10}[ab]",
        rules in proptest::collection::vec("[abx]{1,2}[*]?", 0..3),
        set in proptest::collection::vec(("[abx]{1,2}", "[a-z]{0,2}"), 0..3),
    ) {
        let edits = QueryEdits {
            remove: rules.clone(),
            set: set.iter().map(|(name, value)| (name.clone(), template(value))).collect(),
            ..QueryEdits::default()
        };
        let want = plain_edit(&query, &rules, &set);
        let want = if want.is_empty() { "/".to_owned() } else { format!("/?{want}") };
        let settings = Rewrite { query: edits, ..Rewrite::default() };
        prop_assert_eq!(went_on(&settings, &format!("/?{query}"), None, &Sample::bare()), Ok(want));
    }
}
