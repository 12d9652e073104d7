use super::*;
use Verdict::{Full, NotModified};
use proptest::prelude::*;

fn with_fields<R>(lines: &[&str], ask: impl FnOnce(Fields<'_>) -> R) -> R {
    let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
    let mut lines = Vec::new();
    crate::h1::request::parse(head.as_bytes(), &crate::limits::HeadLimits::default(), &mut lines).unwrap();
    ask(Fields::new(head.as_bytes(), &lines))
}

const CHANGED_S: i64 = 784_111_777;
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn stored(etag: &'static str) -> Validators<'static> {
    let etag = (!etag.is_empty()).then_some(etag.as_bytes());
    Validators { etag, last_modified_s: Some(CHANGED_S), date_s: CHANGED_S + 3600 }
}

#[test]
fn entity_tags_are_compared_as_the_rfc_has_it() {
    for (one, other, strong, weak) in [
        // RFC 9110, 8.8.3.2: the table.
        (r#"W/"1""#, r#"W/"1""#, false, true),
        (r#"W/"1""#, r#"W/"2""#, false, false),
        (r#"W/"1""#, r#""1""#, false, true),
        (r#""1""#, r#""1""#, true, true),
        // 8.8.3: what is an entity-tag.
        (r#""""#, r#""""#, true, true),
        (r#""a,b\""#, r#""a,b\""#, true, true),
        ("\"\u{e9}\"", "\"\u{e9}\"", true, true),
        (r#""A""#, r#""a""#, false, false),
        (r#"w/"1""#, r#"w/"1""#, false, false),
        ("1", "1", false, false),
        ("\"1", "\"1", false, false),
        ("\"", "\"", false, false),
        ("", "", false, false),
        ("W/", "W/", false, false),
        ("*", "*", false, false),
        (r#""a b""#, r#""a b""#, false, false),
        (r#""a"b""#, r#""a"b""#, false, false),
        (r#""a" "#, r#""a" "#, false, false),
        ("'a'", "'a'", false, false),
        (r#"W/W/"1""#, r#"W/W/"1""#, false, false),
    ] {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        assert_eq!(strong_match(one, other), strong, "{one:?} {other:?}");
        assert_eq!(weak_match(one, other), weak, "{one:?} {other:?}");
        assert_eq!((strong_match(other, one), weak_match(other, one)), (strong, weak));
        assert_eq!(etag_is_valid(one) && one == other, weak && one == other);
    }
}

#[test]
fn a_table_of_conditions() {
    let none_match = |value: &str| format!("If-None-Match: {value}");
    for (value, etag, want) in [
        // RFC 9110, 13.1.2: the examples.
        (r#""xyzzy""#, r#""xyzzy""#, NotModified),
        (r#"W/"xyzzy""#, r#""xyzzy""#, NotModified),
        (r#""xyzzy", "r2d2xxxx", "c3piozzzz""#, r#"W/"r2d2xxxx""#, NotModified),
        (r#"W/"xyzzy", W/"r2d2xxxx", W/"c3piozzzz""#, r#""c3piozzzz""#, NotModified),
        ("*", r#""xyzzy""#, NotModified),
        ("*", "", NotModified),
        (r#""other""#, r#""xyzzy""#, Full),
        (r#""xyzzy""#, "", Full),
        // 5.6.1 and 8.8.3: lists with odd spacing, tags with commas and backslashes in them.
        (r#" ,"a",,"b" ,	"c","#, r#""c""#, NotModified),
        (r#""a,b""#, r#""b""#, Full),
        (r#""a,b", "c""#, r#""a,b""#, NotModified),
        (r#""a\", "b""#, r#""b""#, NotModified),
        (r#""","b""#, r#""b""#, NotModified),
        // What is malformed matches nothing, and hides what follows.
        ("xyzzy", "xyzzy", Full),
        ("xyzzy", r#""xyzzy""#, Full),
        (r#""xyzzy"#, r#""xyzzy""#, Full),
        (r#""a"b""#, r#""a""#, Full),
        (r#""a" "b""#, r#""a""#, Full),
        (r#""a";"b""#, r#""a""#, Full),
        (r#"w/"a""#, r#""a""#, Full),
        (r#"junk, "a""#, r#""a""#, Full),
        (r#"*, "a""#, r#""b""#, Full),
        (r#""*""#, r#""b""#, Full),
        ("**", r#""b""#, Full),
        ("", r#""b""#, Full),
    ] {
        with_fields(&[&none_match(value)], |request| {
            assert_eq!(evaluate(request, stored(etag)), want, "{value} {etag}");
        });
        // 13.2.2: where there is an If-None-Match, however malformed, If-Modified-Since says nothing.
        with_fields(&[&format!("If-Modified-Since: {AFTER}"), &none_match(value)], |request| {
            assert_eq!(evaluate(request, stored(etag)), want, "{value} {etag}");
        });
    }
}

#[test]
fn a_list_of_tags_goes_over_several_lines() {
    let (one, two) = (r#"If-None-Match: "a", "b""#, r#"if-none-match: W/"c""#);
    with_fields(&[one, two], |request| {
        assert_eq!(evaluate(request, stored(r#""c""#)), NotModified);
        assert_eq!(evaluate(request, stored(r#""a""#)), NotModified);
        assert_eq!(evaluate(request, stored(r#""d""#)), Full);
    });
    // A star is no member of a list.
    with_fields(&[one, "If-None-Match: *"], |request| {
        assert_eq!(evaluate(request, stored(r#""d""#)), Full);
        assert_eq!(evaluate(request, stored(r#""b""#)), NotModified);
    });
}

#[test]
fn a_table_of_dates_to_compare_with() {
    let since = |value: &str| vec![format!("If-Modified-Since: {value}")];
    let modified = stored("");
    let undated = Validators { last_modified_s: None, date_s: CHANGED_S, ..modified };
    for (lines, stored, want) in [
        // RFC 9110, 13.1.3; RFC 9111, 4.3.2
        (since(BEFORE), modified, Full),
        (since(CHANGED), modified, NotModified),
        (since(AFTER), modified, NotModified),
        (since("Sunday, 06-Nov-94 08:49:37 GMT"), modified, NotModified),
        (since("Sun Nov  6 08:49:37 1994"), modified, NotModified),
        (since("Fri, 31 Dec 9999 23:59:59 GMT"), modified, NotModified),
        // RFC 9111, 4.3.2: without a Last-Modified, Date or the receipt.
        (since(BEFORE), undated, Full),
        (since(CHANGED), undated, NotModified),
        // RFC 9110, 13.1.3: ignored unless it is one valid date.
        (since("yesterday"), modified, Full),
        (since("784111777"), modified, Full),
        (since(""), modified, Full),
        (since(&format!("{CHANGED}, {CHANGED}")), modified, Full),
        ([since(AFTER), since(AFTER)].concat(), modified, Full),
        (vec![], modified, Full),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        with_fields(&lines, |request| assert_eq!(evaluate(request, stored), want, "{lines:?}"));
    }
}

#[test]
fn a_table_of_if_range() {
    let condition = |value: &str| vec![format!("If-Range: {value}")];
    let strong = Validators { date_s: CHANGED_S + 60, ..stored(r#""a""#) };
    for (lines, stored, want) in [
        // RFC 9110, 13.1.5
        (vec![], strong, true),
        (condition(r#""a""#), strong, true),
        (condition(r#""b""#), strong, false),
        (condition(r#"W/"a""#), strong, false),
        (condition(r#"W/"a""#), stored(r#"W/"a""#), false),
        (condition(r#""a""#), stored(r#"W/"a""#), false),
        (condition(r#""a""#), stored(""), false),
        (condition(CHANGED), strong, true),
        (condition("Sunday, 06-Nov-94 08:49:37 GMT"), strong, true),
        (condition(BEFORE), strong, false),
        (condition(AFTER), strong, false),
        (condition(CHANGED), Validators { last_modified_s: None, ..strong }, false),
        // 8.8.2.2: the date could hide a second change.
        (condition(CHANGED), Validators { date_s: CHANGED_S + 59, ..strong }, false),
        (condition(CHANGED), Validators { date_s: CHANGED_S - 3600, ..strong }, false),
        (condition(CHANGED), Validators { date_s: i64::MIN, ..strong }, false),
        // Neither a tag nor a date.
        (condition("a"), strong, false),
        (condition("*"), strong, false),
        (condition(""), strong, false),
        (condition(r#""a", "b""#), strong, false),
        ([condition(r#""a""#), condition(r#""a""#)].concat(), strong, false),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        with_fields(&lines, |request| assert_eq!(range_applies(request, stored), want, "{lines:?}"));
    }
}

#[test]
fn a_304_freshens_what_it_speaks_of() {
    let at = |etag: &'static str, date_s: i64| Validators { date_s, ..stored(etag) };
    let bare = Validators { etag: None, last_modified_s: None, date_s: 0 };
    let old = Validators { last_modified_s: Some(CHANGED_S - 1), ..stored("") };
    let tag = |tag: &str| vec![format!("ETag: {tag}")];
    let changed = |date: &str| vec![format!("Last-Modified: {date}")];
    for (lines, among, want) in [
        // RFC 9111, 4.3.4: a strong validator, of those that have the very same one the most recent.
        (tag(r#""a""#), vec![stored(r#""b""#), stored(r#""a""#)], Some(1)),
        (tag(r#""a""#), vec![at(r#""a""#, 1), at(r#""a""#, 3), at(r#""a""#, 2)], Some(1)),
        (tag(r#""a""#), vec![at(r#""a""#, 1), at(r#""a""#, 1)], Some(0)),
        (tag(r#""a""#), vec![stored(r#"W/"a""#)], None),
        (tag(r#""a""#), vec![stored(r#""b""#)], None),
        (tag(r#""a""#), vec![stored("")], None),
        (tag(r#""a""#), vec![bare], None),
        // A weak one.
        (tag(r#"W/"a""#), vec![stored(r#""b""#), at(r#"W/"a""#, 1), at(r#""a""#, 2)], Some(2)),
        (tag(r#"W/"a""#), vec![stored(r#"W/"b""#)], None),
        // The tag decides, even if the date fits another.
        ([tag(r#""a""#), changed(CHANGED)].concat(), vec![stored(r#""b""#)], None),
        ([tag(r#""a""#), changed(BEFORE)].concat(), vec![stored(r#""a""#)], Some(0)),
        // Only a date.
        (changed(CHANGED), vec![old, stored("")], Some(1)),
        (changed(CHANGED), vec![stored(r#""a""#)], Some(0)),
        (changed(AFTER), vec![stored("")], None),
        (changed(CHANGED), vec![bare], None),
        // No validator: only for one that has none.
        (vec![], vec![bare], Some(0)),
        (vec![], vec![stored("")], None),
        (vec![], vec![stored(r#""a""#)], None),
        (vec![], vec![bare, bare], None),
        (vec![], vec![bare, stored("")], None),
        (vec![], vec![], None),
        // One that cannot be read is still a validator.
        (tag("a"), vec![bare], None),
        (tag("a"), vec![stored("a")], None),
        (changed("yesterday"), vec![bare], None),
        ([tag(r#""a""#), tag(r#""b""#)].concat(), vec![stored(r#""a""#)], None),
        ([tag("a"), changed(CHANGED)].concat(), vec![stored("a")], Some(0)),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        with_fields(&lines, |response| {
            assert_eq!(selected_by_304(response, among.iter().copied()), want, "{lines:?} {among:?}");
        });
    }
}

/// A list of tags, read plainly: split at quotation marks.
fn plain_has(list: &str, opaque: &str) -> bool {
    list.split('"').skip(1).step_by(2).any(|tag| tag == opaque)
}

proptest! {
    #[test]
    fn a_tag_is_found_in_a_well_formed_list_if_it_is_there(
        tags in proptest::collection::vec(("(W/)?", r"[a-c,\\]{0,3}", "[ \t]?,[ \t,]?"), 0..6),
        etag in r"[a-c,\\]{0,3}",
    ) {
        let list: String = tags.iter().map(|(weak, tag, comma)| format!("{weak}\"{tag}\"{comma}")).collect();
        let stored_etag = format!("W/\"{etag}\"");
        let stored = Validators { etag: Some(stored_etag.as_bytes()), last_modified_s: None, date_s: 0 };
        let found = with_fields(&[&format!("If-None-Match: {list}")], |request| evaluate(request, stored));
        prop_assert_eq!(found == NotModified, plain_has(&list, &etag));
    }

    #[test]
    fn no_condition_makes_it_panic_and_junk_is_not_met(junk in "[ -~]{0,20}") {
        let met = with_fields(&[&format!("If-None-Match: {junk}")], |request| {
            evaluate(request, Validators { etag: Some(b"\"never-listed\""), last_modified_s: None, date_s: 0 })
        });
        prop_assert_eq!(met == NotModified, junk.trim() == "*");
        with_fields(&[&format!("If-Range: {junk}")], |request| {
            assert!(!range_applies(request, stored("\"never-listed\"")));
        });
    }
}
