use super::*;
use crate::cache::fuzz::Lines;
use proptest::prelude::*;

fn request(lines: &[(&str, &str)]) -> RequestDirectives {
    RequestDirectives::of(Lines::new(lines.iter().copied()).fields())
}

fn response(lines: &[(&str, &str)]) -> ResponseDirectives {
    ResponseDirectives::of(Lines::new(lines.iter().copied()).fields())
}

fn controlled(value: &str) -> ResponseDirectives {
    response(&[("Cache-Control", value)])
}

fn withheld(lines: &[(&str, &str)]) -> Vec<String> {
    let lines = Lines::new(lines.iter().copied());
    ResponseDirectives::withheld(lines.fields())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

const NONE: ResponseDirectives = ResponseDirectives {
    no_store: false,
    no_cache: false,
    no_cache_fields: false,
    private: false,
    private_fields: false,
    public: false,
    must_revalidate: false,
    proxy_revalidate: false,
    must_understand: false,
    no_transform: false,
    immutable: false,
    max_age: None,
    s_maxage: None,
    stale_while_revalidate: None,
    stale_if_error: None,
    targeted: false,
};

#[test]
fn delta_seconds_are_digits_and_have_a_ceiling() {
    // RFC 9111, section 1.2.2
    for (text, want) in [
        ("0", Some(0)),
        ("007", Some(7)),
        ("2147483647", Some(2_147_483_647)),
        ("2147483648", Some(DELTA_SECONDS_MAX)),
        ("2147483649", Some(DELTA_SECONDS_MAX)),
        ("99999999999999999999999999999999999999", Some(DELTA_SECONDS_MAX)),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1e3", None),
        ("0x10", None),
        (" 1", None),
        ("1 ", None),
        ("1s", None),
        ("١", None),
    ] {
        assert_eq!(delta_seconds(text.as_bytes()), want, "{text:?}");
    }
}

#[test]
fn a_table_of_response_directives() {
    // RFC 9111, section 5.2.2; RFC 5861, sections 3 and 4; RFC 8246, section 2
    for (value, want) in [
        ("", NONE),
        ("no-store", ResponseDirectives { no_store: true, ..NONE }),
        ("no-cache", ResponseDirectives { no_cache: true, ..NONE }),
        ("private", ResponseDirectives { private: true, ..NONE }),
        ("public", ResponseDirectives { public: true, ..NONE }),
        ("must-revalidate", ResponseDirectives { must_revalidate: true, ..NONE }),
        ("proxy-revalidate", ResponseDirectives { proxy_revalidate: true, ..NONE }),
        ("must-understand", ResponseDirectives { must_understand: true, ..NONE }),
        ("no-transform", ResponseDirectives { no_transform: true, ..NONE }),
        ("immutable", ResponseDirectives { immutable: true, ..NONE }),
        ("max-age=5", ResponseDirectives { max_age: Some(5), ..NONE }),
        ("s-maxage=5", ResponseDirectives { s_maxage: Some(5), ..NONE }),
        ("stale-while-revalidate=5", ResponseDirectives { stale_while_revalidate: Some(5), ..NONE }),
        ("stale-if-error=5", ResponseDirectives { stale_if_error: Some(5), ..NONE }),
        // Section 5.2: without regard to case, arguments in either form, unknown ones left out.
        ("NO-Store, Max-AGE=5", ResponseDirectives { no_store: true, max_age: Some(5), ..NONE }),
        ("max-age=\"5\"", ResponseDirectives { max_age: Some(5), ..NONE }),
        ("community=\"UCI\", foo, bar=1, max-age=5", ResponseDirectives { max_age: Some(5), ..NONE }),
        ("xno-store, no-storex, no_store, max-ages=5", NONE),
        ("a-directive-whose-name-is-longer-than-any-known", NONE),
        // RFC 9110, section 5.6.1: empty elements and odd spacing.
        (" ,\t,, public ,\t max-age=5 ,,", ResponseDirectives { public: true, max_age: Some(5), ..NONE }),
        ("max-age = 5 , s-maxage= \"6\"", ResponseDirectives { max_age: Some(5), s_maxage: Some(6), ..NONE }),
        // RFC 9110, section 5.6.4: commas and escapes within quoted strings.
        ("foo=\"no-store, private\", public", ResponseDirectives { public: true, ..NONE }),
        ("foo=\"\\\", no-store, \\\"\", public", ResponseDirectives { public: true, ..NONE }),
    ] {
        assert_eq!(controlled(value), want, "{value}");
    }
}

#[test]
fn a_lifetime_that_cannot_be_read_is_none_at_all() {
    // RFC 9111, section 4.2.1
    for bad in [
        "max-age",
        "max-age=",
        "max-age=\"\"",
        "max-age=-1",
        "max-age=1.5",
        "max-age=5x",
        "max-age=x5",
        "max-age='5'",
        "max-age=5 5",
        "max-age=\"5",
        "max-age=5\"",
        "max-age=\"5\"5",
        "max-age=\" 5\"",
        "max-age=5; public",
        "max-age: 5",
        "max-age 5",
        "max-age==5",
        "max-age=+5",
        "max-age=\"5\" x",
        "max-age=\u{e9}",
    ] {
        assert_eq!(controlled(bad).max_age, Some(0), "{bad}");
        assert!(!controlled(bad).public, "{bad}");
    }
    assert_eq!(controlled("s-maxage=x").s_maxage, Some(0));
    assert_eq!(controlled("stale-while-revalidate").stale_while_revalidate, Some(0));
    assert_eq!(controlled("stale-if-error=-1").stale_if_error, Some(0));
    assert_eq!(controlled("max-age=99999999999999999999999").max_age, Some(DELTA_SECONDS_MAX));
}

#[test]
fn of_a_repeated_lifetime_the_shorter_counts() {
    // RFC 9111, section 4.2.1
    for (lines, want) in [
        (&["max-age=5, max-age=5"][..], 5),
        (&["max-age=5, max-age=9"], 5),
        (&["max-age=9", "max-age=5"], 5),
        (&["max-age=9", "", "MAX-AGE=x"], 0),
        (&["max-age", "max-age=9"], 0),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
        assert_eq!(response(&lines).max_age, Some(want), "{lines:?}");
    }
}

#[test]
fn what_restrains_counts_however_it_is_written_and_what_frees_only_if_well_formed() {
    for value in [
        "no-store=1",
        "no-store=\"x\"",
        "no-store;",
        "no-store; max-age=5",
        "no-store \"",
        "no-store\"",
        "no-store=",
        "\"foo, no-store",
        "\"no-cache, no-store\"",
        "foo=\"open, no-store",
        "foo=bar\", no-store, baz=\"x\"",
        "foo=\"a\"b\", no-store, c\"",
        "no-store public",
        ",no-store",
        "foo \"a, no-store\"",
        "\u{e9}, no-store",
        "=, no-store",
        "foo=\\\", no-store",
    ] {
        assert!(controlled(value).no_store, "{value}");
        assert!(!controlled(value).public, "{value}");
    }
    for value in ["public=1", "public;", "public x", "\"public\"", "public=\"\""] {
        assert!(!controlled(value).public, "{value}");
    }
    for value in ["must-understand=1, no-store", "immutable=1, no-store"] {
        let read = controlled(value);
        assert!(read.no_store && !read.must_understand && !read.immutable, "{value}");
    }
}

#[test]
fn no_cache_and_private_may_name_fields() {
    // RFC 9111, sections 5.2.2.4 and 5.2.2.7
    // (value, no_cache, no_cache_fields, private, private_fields, names)
    let cases: &[(&str, bool, bool, bool, bool, &[&str])] = &[
        ("no-cache=\"Set-Cookie\"", false, true, false, false, &["Set-Cookie"]),
        ("no-cache=\"a, b ,,c\"", false, true, false, false, &["a", "b", "c"]),
        ("NO-CACHE=set-cookie", false, true, false, false, &["set-cookie"]),
        ("private=\"x\", no-cache=\"y\"", false, true, false, true, &["x", "y"]),
        ("private=\"x\", private", false, false, true, true, &["x"]),
        // A list that cannot be read, or that nothing can be left of, is none: the stricter form.
        ("no-cache=\"\"", true, false, false, false, &[]),
        ("no-cache=\" , \"", true, false, false, false, &[]),
        ("no-cache=", true, false, false, false, &[]),
        ("no-cache=\"a b\"", true, false, false, false, &[]),
        ("no-cache=\"a\\,b\"", true, false, false, false, &[]),
        ("private=\"a", false, false, true, false, &[]),
        ("private=\"a, private\"", false, false, false, true, &["a", "private"]),
        ("private=\"x\"y", false, false, true, false, &[]),
        ("private='x', no-cache=(y)", true, false, false, true, &["'x'"]),
        // Nothing is left of a response whose meaning goes with a field.
        ("no-cache=\"content-encoding\"", true, false, false, false, &[]),
        ("private=\"x, Vary\"", false, false, true, false, &[]),
    ];
    for &(value, no_cache, no_cache_fields, private, private_fields, names) in cases {
        let want = ResponseDirectives { no_cache, no_cache_fields, private, private_fields, ..NONE };
        assert_eq!(controlled(value), want, "{value}");
        assert_eq!(withheld(&[("Cache-Control", value)]), names, "{value}");
    }
    let lines =
        [("Cache-Control", "private=\"a\""), ("x", "private=\"b\""), ("cache-control", "no-cache=\"c\"")];
    assert_eq!(withheld(&lines), ["a", "c"]);
}

#[test]
fn a_targeted_field_replaces_cache_control_where_it_can_be_read() {
    // RFC 9213, sections 2.1 and 2.2
    let targeted = ResponseDirectives { targeted: true, ..NONE };
    let fallen_back = ResponseDirectives { no_store: true, max_age: Some(1), ..NONE };
    for (value, want) in [
        ("max-age=5", ResponseDirectives { max_age: Some(5), ..targeted }),
        ("max-age=5;x=y, public;z", ResponseDirectives { max_age: Some(5), public: true, ..targeted }),
        ("foo", targeted),
        ("no-store", ResponseDirectives { no_store: true, ..targeted }),
        ("no-store=?0, private=?1", ResponseDirectives { private: true, ..targeted }),
        ("max-age=5, max-age=9", ResponseDirectives { max_age: Some(5), ..targeted }),
        // Values of a type that the directive does not have.
        ("max-age=\"5\"", ResponseDirectives { max_age: Some(0), ..targeted }),
        ("max-age=5.0", ResponseDirectives { max_age: Some(0), ..targeted }),
        ("max-age=-5", ResponseDirectives { max_age: Some(0), ..targeted }),
        ("max-age=(5)", ResponseDirectives { max_age: Some(0), ..targeted }),
        ("max-age", ResponseDirectives { max_age: Some(0), ..targeted }),
        ("no-store=1, public=1", ResponseDirectives { no_store: true, ..targeted }),
        ("no-cache=\"a, b\"", ResponseDirectives { no_cache_fields: true, ..targeted }),
        ("no-cache=a", ResponseDirectives { no_cache: true, ..targeted }),
        ("max-age=999999999999999", ResponseDirectives { max_age: Some(DELTA_SECONDS_MAX), ..targeted }),
        // Empty, or no dictionary: as if it were not there.
        ("", fallen_back),
        (" ", fallen_back),
        ("Max-Age=5", fallen_back),
        ("max-age=5,", fallen_back),
        ("max-age =5", fallen_back),
        ("max-age=5, , public", fallen_back),
        ("max-age=9999999999999999", fallen_back),
        ("max-age=5; public", ResponseDirectives { max_age: Some(5), ..targeted }),
        ("public, foo=\"open", fallen_back),
    ] {
        let lines = [("Cache-Control", "max-age=1, no-store"), ("CDN-Cache-Control", value)];
        assert_eq!(response(&lines), want, "{value}");
    }
}

#[test]
fn the_lines_of_a_targeted_field_are_one_dictionary() {
    // RFC 9651, section 4.2
    let lines = [("CDN-Cache-Control", "max-age=5"), ("cdn-cache-control", "no-cache=\"a\"")];
    let want = ResponseDirectives {
        targeted: true,
        max_age: Some(5),
        no_cache_fields: true,
        ..ResponseDirectives::default()
    };
    assert_eq!(response(&lines), want);
    assert_eq!(withheld(&[lines[0], lines[1], ("cache-control", "private=\"b\"")]), ["a"]);
    for broken in ["", "x,", "X"] {
        let lines = [lines[0], lines[1], ("CDN-Cache-Control", broken), ("Cache-Control", "private=\"b\"")];
        assert_eq!(response(&lines), ResponseDirectives { private_fields: true, ..NONE }, "{broken}");
        assert_eq!(withheld(&lines), ["b"]);
    }
}

#[test]
fn a_table_of_request_directives() {
    // RFC 9111, section 5.2.1
    let none = RequestDirectives::default();
    for (value, want) in [
        ("", none),
        ("no-cache", RequestDirectives { no_cache: true, ..none }),
        ("no-cache=x", RequestDirectives { no_cache: true, ..none }),
        ("no-store", RequestDirectives { no_store: true, ..none }),
        ("no-transform", RequestDirectives { no_transform: true, ..none }),
        ("only-if-cached", RequestDirectives { only_if_cached: true, ..none }),
        ("only-if-cached=1", none),
        ("max-age=5, MAX-AGE=3", RequestDirectives { max_age: Some(3), ..none }),
        ("max-age=x", RequestDirectives { max_age: Some(0), ..none }),
        ("min-fresh=5, min-fresh=3", RequestDirectives { min_fresh: Some(5), ..none }),
        ("min-fresh=x, min-fresh=3", RequestDirectives { min_fresh: Some(DELTA_SECONDS_MAX), ..none }),
        ("max-stale", RequestDirectives { max_stale: Some(None), ..none }),
        ("max-stale=5", RequestDirectives { max_stale: Some(Some(5)), ..none }),
        ("max-stale=\"5\", max-stale", RequestDirectives { max_stale: Some(Some(5)), ..none }),
        ("max-stale, max-stale=5, max-stale=3", RequestDirectives { max_stale: Some(Some(3)), ..none }),
        ("max-stale=x", RequestDirectives { max_stale: Some(Some(0)), ..none }),
        ("max-stale x", RequestDirectives { max_stale: Some(Some(0)), ..none }),
        ("private, s-maxage=4, public", none),
    ] {
        assert_eq!(request(&[("Cache-Control", value)]), want, "{value}");
    }
}

#[test]
fn pragma_counts_only_where_there_is_no_cache_control() {
    // RFC 9111, section 5.4
    for (lines, want) in [
        (&[("Pragma", "no-cache")][..], true),
        (&[("pragma", "foo=\"a, b\", No-Cache")], true),
        (&[("Pragma", "foo"), ("Pragma", "no-cache")], true),
        (&[("Pragma", "no-cachex, foo=\"no-cache\"")], false),
        (&[("Pragma", "no-cache"), ("Cache-Control", "max-age=5")], false),
        (&[("Pragma", "no-cache"), ("Cache-Control", "")], false),
    ] {
        assert_eq!(request(lines).no_cache, want, "{lines:?}");
    }
    assert_eq!(response(&[("Pragma", "no-cache")]), NONE);
}

/// Pieces of which lines are made that are nearly, or just not, well-formed.
fn line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "no-store",
            "no-cache",
            "private",
            "public",
            "max-age",
            "s-maxage",
            "must-revalidate",
            "=",
            "=\"",
            "\"",
            ",",
            ", ",
            " ",
            "\\",
            "\\\"",
            ";",
            "5",
            "60",
            "-1",
            "x",
            "Set-Cookie",
            "(",
            ")",
            "?1",
            ":",
            "\t",
            "\u{e9}",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,4}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_further_line_never_allows_more_but_by_what_it_says(
        name in proptest::sample::select(vec!["Cache-Control", "CDN-Cache-Control"]),
        first in line(),
        second in line(),
    ) {
        let one = response(&[("Cache-Control", &first)]);
        let both = response(&[("Cache-Control", &first), (name, &second)]);
        if !both.targeted {
            prop_assert!(!one.no_store || both.no_store);
            prop_assert!(!one.no_cache || both.no_cache);
            prop_assert!(!one.private || both.private);
            prop_assert!(!one.must_revalidate || both.must_revalidate);
            prop_assert!(one.max_age.is_none_or(|age| both.max_age.is_some_and(|other| other <= age)));
            prop_assert!(one.s_maxage.is_none_or(|age| both.s_maxage.is_some_and(|other| other <= age)));
        }
    }

    #[test]
    fn nothing_that_comes_before_a_line_or_behind_it_hides_its_directives(before in line(), after in line()) {
        let lines = [&before, "no-store", &after].map(|line| ("Cache-Control", line));
        let read = response(&lines);
        prop_assert!(read.no_store);
        let read = controlled(&format!("no-store, {before}"));
        prop_assert!(read.no_store);
    }

    #[test]
    fn names_of_withheld_fields_are_tokens(value in line()) {
        let lines = [("Cache-Control", &*value)];
        let names = withheld(&lines);
        let read = response(&lines);
        prop_assert_eq!(read.no_cache_fields || read.private_fields, !names.is_empty());
        prop_assert!(names.iter().all(|name| !name.is_empty() && name.bytes().all(is_token_byte)));
    }

    #[test]
    fn the_fuzz_body_holds_for_what_is_nearly_well_formed(
        lines in proptest::collection::vec(
            ("[a-k]", prop_oneof![line(), Just("Sun, 06 Nov 1994 08:49:37 GMT".to_owned())]),
            0..6,
        ),
    ) {
        let lines: Vec<_> = lines.into_iter().map(|(choice, value)| choice + &value).collect();
        crate::cache::fuzz::directives(lines.join("\n").as_bytes());
    }
}
