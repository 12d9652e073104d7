use super::*;
use crate::cache::fuzz::Lines;

/// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110, section 5.6.7.
const NOW_MS: u64 = 784_111_777_000;
const RECEIVED: Received = Received { requested_ms: NOW_MS, received_ms: NOW_MS };
const MODIFIED: (&str, &str) = ("Last-Modified", "Sat, 05 Nov 1994 08:49:37 GMT");
const GET: Asked = Asked { method: Method::Get, authorized: false, no_store: false };

fn store(
    asked: Asked,
    status: u16,
    lines: &[(&str, &str)],
    ttl_s: Option<u64>,
) -> Result<Storing, NotStored> {
    let lines = Lines::new(lines.iter().copied());
    storable(asked, status, lines.fields(), RECEIVED, Defaults { ttl_s, ..Defaults::NONE })
}

fn why(asked: Asked, status: u16, lines: &[(&str, &str)]) -> Option<NotStored> {
    store(asked, status, lines, None).err()
}

#[test]
fn a_table_of_requests() {
    let plain: &[(&str, &str)] = &[];
    let some = |why| Eligibility::Bypass(why);
    for (method, has_content, upgrades, lines, want) in [
        (Method::Get, false, false, plain, Eligibility::Lookup),
        (Method::Head, false, false, plain, Eligibility::Lookup),
        (
            Method::Get,
            false,
            false,
            &[("If-None-Match", "\"x\""), ("Range", "bytes=0-")],
            Eligibility::Lookup,
        ),
        (Method::Get, false, false, &[("Authorization", "x"), ("Cookie", "x")], Eligibility::Lookup),
        (Method::Get, false, false, &[("Cache-Control", "no-cache")], Eligibility::Lookup),
        (Method::Post, false, false, plain, some(Bypass::Method)),
        (Method::Options, false, false, plain, some(Bypass::Method)),
        (Method::Other, false, false, plain, some(Bypass::Method)),
        (Method::Get, true, false, plain, some(Bypass::Content)),
        (Method::Get, false, true, plain, some(Bypass::Upgrade)),
        // RFC 9111, sections 4.3.2 and 5.2.1.5
        (Method::Get, false, false, &[("If-Match", "*")], some(Bypass::Precondition)),
        (Method::Head, false, false, &[("If-Unmodified-Since", "x")], some(Bypass::Precondition)),
        (Method::Get, false, false, &[("Cache-Control", "no-store")], some(Bypass::NoStore)),
    ] {
        let head = Lines::new(lines.iter().copied());
        let directives = RequestDirectives::of(head.fields());
        let got = eligible(method, has_content, upgrades, head.fields(), &directives);
        assert_eq!(got, want, "{method:?} {lines:?}");
    }
}

#[test]
fn only_responses_to_get_are_stored() {
    // RFC 9111, section 3
    for method in [Method::Head, Method::Post, Method::Put, Method::Options, Method::Other] {
        let asked = Asked { method, ..GET };
        assert_eq!(why(asked, 200, &[("Cache-Control", "max-age=5")]), Some(NotStored::Method));
    }
}

#[test]
fn a_table_of_statuses() {
    // RFC 9111, section 3; RFC 9110, section 15: whether a response is stored that states its lifetime, one
    // that is public, and one that says nothing.
    let stated: &[(&str, &str)] = &[("Cache-Control", "max-age=5")];
    let public: &[(&str, &str)] = &[("Cache-Control", "public"), MODIFIED];
    let silent: &[(&str, &str)] = &[MODIFIED];
    for status in 0..1000 {
        let want = match status {
            200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501 => (true, true, true),
            // RFC 9110, sections 15.3.7, 15.4.5 and 15.2; RFC 3229, section 10.4.1
            206 | 304 | 226 | 0..200 | 600.. => (false, false, false),
            // RFC 6585, sections 3 to 6
            428 | 429 | 431 | 511 => (false, false, false),
            401 | 407 | 408 | 412 | 413 | 416 | 417 | 421 | 425 | 426 => (false, false, false),
            201 | 202 | 205 | 302 | 303 | 307 | 400 | 402 | 403 | 406 | 409 | 411 | 415 | 422 => {
                (true, true, false)
            }
            500 | 502..=505 => (true, true, false),
            _ => (true, false, false),
        };
        let stored = |lines| store(GET, status, lines, Some(600)).is_ok();
        assert_eq!((stored(stated), stored(public), stored(silent)), want, "{status}");
    }
    assert_eq!(why(GET, 206, stated), Some(NotStored::Partial));
    assert_eq!(why(GET, 304, stated), Some(NotStored::Status));
    assert_eq!(why(GET, 302, silent), Some(NotStored::Status));
}

#[test]
fn a_table_of_responses() {
    let no_store = Asked { no_store: true, ..GET };
    let authorized = Asked { authorized: true, ..GET };
    let cookie = ("Set-Cookie", "a=b");
    let none = None::<NotStored>;
    for (asked, lines, want) in [
        (GET, &[MODIFIED][..], none),
        // RFC 9111, sections 5.2.1.5, 5.2.2.5 and 5.2.2.7
        (no_store, &[("Cache-Control", "max-age=5")], Some(NotStored::NoStore)),
        (no_store, &[("Cache-Control", "max-age=5, no-store, must-understand")], Some(NotStored::NoStore)),
        (GET, &[("Cache-Control", "max-age=5, no-store")], Some(NotStored::NoStore)),
        (GET, &[("Cache-Control", "max-age=5"), ("Cache-Control", "No-Store")], Some(NotStored::NoStore)),
        (GET, &[("Cache-Control", "max-age=5, private")], Some(NotStored::Private)),
        (GET, &[("Cache-Control", "max-age=5, private=\"x\"")], none),
        (GET, &[("Cache-Control", "public, private, max-age=5")], Some(NotStored::Private)),
        // RFC 9213, section 2.2
        (GET, &[("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=5")], none),
        (GET, &[("Cache-Control", "max-age=5"), ("CDN-Cache-Control", "private")], Some(NotStored::Private)),
        // RFC 9111, section 3.5
        (authorized, &[("Cache-Control", "max-age=5")], Some(NotStored::Authorized)),
        (authorized, &[("Cache-Control", "max-age=5, proxy-revalidate")], Some(NotStored::Authorized)),
        (authorized, &[MODIFIED], Some(NotStored::Authorized)),
        (authorized, &[("Cache-Control", "max-age=5, public")], none),
        (authorized, &[("Cache-Control", "max-age=5, must-revalidate")], none),
        (authorized, &[("Cache-Control", "s-maxage=5")], none),
        (authorized, &[("Cache-Control", "s-maxage=5, private")], Some(NotStored::Private)),
        // Section 7.3
        (GET, &[cookie, ("Cache-Control", "max-age=5")], none),
        (GET, &[cookie, ("Expires", "Sun, 06 Nov 1994 08:50:37 GMT")], none),
        (GET, &[cookie, MODIFIED], Some(NotStored::SetCookie)),
        (GET, &[cookie, MODIFIED, ("Cache-Control", "public")], Some(NotStored::SetCookie)),
        // Section 4.1
        (GET, &[("Vary", "*"), ("Cache-Control", "max-age=5")], Some(NotStored::VaryStar)),
        (GET, &[("Vary", "a"), ("Vary", "b , *"), ("Cache-Control", "max-age=5")], Some(NotStored::VaryStar)),
        (GET, &[("Vary", "a, b"), ("Cache-Control", "max-age=5")], none),
        // What could never be used.
        (GET, &[], Some(NotStored::NoFreshness)),
        (GET, &[("ETag", "\"x\"")], none),
        (GET, &[("ETag", "W/\"x\"")], none),
        (GET, &[("ETag", "x")], Some(NotStored::NoFreshness)),
        (GET, &[("ETag", "\"")], Some(NotStored::NoFreshness)),
        (GET, &[("ETag", "x"), ("ETag", "\"x\"")], Some(NotStored::NoFreshness)),
        (GET, &[("Last-Modified", "x")], Some(NotStored::NoFreshness)),
        (GET, &[("Cache-Control", "max-age=0")], Some(NotStored::NoFreshness)),
        (GET, &[("Cache-Control", "max-age=x"), ("ETag", "\"x\"")], none),
        (GET, &[("Cache-Control", "max-age=5"), ("Age", "5")], Some(NotStored::NoFreshness)),
        (GET, &[("Cache-Control", "max-age=5"), ("Age", "4")], none),
        (GET, &[("Cache-Control", "max-age=5, no-cache")], Some(NotStored::NoFreshness)),
        (GET, &[("Cache-Control", "no-cache"), ("ETag", "\"x\"")], none),
        // RFC 5861, section 3: stale from the start, and still of use.
        (GET, &[("Cache-Control", "max-age=0, stale-while-revalidate=5")], none),
        (GET, &[("Cache-Control", "max-age=0, stale-if-error=5")], none),
        (GET, &[("Cache-Control", "max-age=0, stale-if-error=0")], Some(NotStored::NoFreshness)),
        (GET, &[("Cache-Control", "s-maxage=0, stale-if-error=5")], none),
        (GET, &[("Cache-Control", "s-maxage=0")], Some(NotStored::NoFreshness)),
    ] {
        assert_eq!(why(asked, 200, lines), want, "{asked:?} {lines:?}");
    }
    assert_eq!(store(GET, 200, &[cookie], Some(600)).err(), Some(NotStored::SetCookie));
    assert!(store(GET, 200, &[], Some(600)).is_ok());
}

#[test]
fn must_understand_lifts_no_store_for_a_status_that_is_understood() {
    // RFC 9111, sections 3 and 5.2.2.3
    for (status, value, want) in [
        (200, "must-understand, no-store, max-age=5", None),
        (302, "must-understand, no-store, max-age=5", None),
        (299, "must-understand, no-store, max-age=5", Some(NotStored::NotUnderstood)),
        (299, "must-understand, max-age=5", Some(NotStored::NotUnderstood)),
        (299, "max-age=5", None),
        (206, "must-understand, no-store, max-age=5", Some(NotStored::Partial)),
        (429, "must-understand, no-store, max-age=5", Some(NotStored::Status)),
    ] {
        assert_eq!(why(GET, status, &[("Cache-Control", value)]), want, "{status} {value}");
    }
}

#[test]
fn says_what_has_to_be_kept() {
    let lines = [("Cache-Control", "s-maxage=60, no-cache=\"x\""), MODIFIED];
    let storing = store(GET, 200, &lines, None).unwrap();
    assert!(storing.for_authorized && storing.has_validator && storing.directives.no_cache_fields);
    assert_eq!((storing.timing.lifetime_s, storing.timing.basis), (60, Basis::Explicit));
    let storing = store(GET, 200, &[("Cache-Control", "max-age=60")], None).unwrap();
    assert!(!storing.for_authorized && !storing.has_validator);
}

fn usage(response: &str, purged: bool) -> Usage {
    let lines = [("Cache-Control", response), MODIFIED];
    let Storing { timing, directives, for_authorized, .. } = store(GET, 200, &lines, None).unwrap();
    Usage { directives, timing, for_authorized, purged }
}

fn request(value: &str) -> RequestDirectives {
    RequestDirectives::of(Lines::new([("Cache-Control", value)]).fields())
}

const NO_GRACE: Grace = Grace { stale_while_revalidate_s: 0, stale_if_error_s: 0 };
const SOME_GRACE: Grace = Grace { stale_while_revalidate_s: 5, stale_if_error_s: 10 };

#[test]
fn a_table_of_uses() {
    use Use::{Fresh, StaleAllowed, StaleWhileRevalidate, Validate};
    // (response, request, seconds after it came, use)
    for (response, asked, after_s, want) in [
        // RFC 9111, section 4.2
        ("max-age=10", "", 0, Fresh { ttl_s: 10 }),
        ("max-age=10", "", 9, Fresh { ttl_s: 1 }),
        ("max-age=10", "", 10, Validate(Why::Stale)),
        ("max-age=10", "", 11, Validate(Why::Stale)),
        // Sections 5.2.1.4 and 5.2.2.4
        ("max-age=10", "no-cache", 0, Validate(Why::Request)),
        ("max-age=10, no-cache", "", 0, Validate(Why::NoCache)),
        ("max-age=10, no-cache", "max-stale", 0, Validate(Why::NoCache)),
        ("max-age=10, no-cache=\"x\"", "", 0, Fresh { ttl_s: 10 }),
        ("max-age=10", "no-store, only-if-cached, no-transform", 0, Fresh { ttl_s: 10 }),
        // Section 5.2.1.1
        ("max-age=10", "max-age=5", 5, Fresh { ttl_s: 5 }),
        ("max-age=10", "max-age=5", 6, Validate(Why::Request)),
        ("max-age=10", "max-age=0", 0, Validate(Why::Request)),
        ("max-age=10", "max-age=x", 3, Validate(Why::Request)),
        ("max-age=10", "max-age=5, max-stale", 6, Validate(Why::Request)),
        ("max-age=10, immutable", "max-age=0", 1, Validate(Why::Request)),
        // Section 5.2.1.3
        ("max-age=10", "min-fresh=4", 6, Fresh { ttl_s: 4 }),
        ("max-age=10", "min-fresh=4", 7, Validate(Why::Request)),
        ("max-age=10", "min-fresh=0", 10, Validate(Why::Request)),
        ("max-age=10", "min-fresh=x", 0, Validate(Why::Request)),
        ("max-age=10", "min-fresh=4, max-stale", 7, Validate(Why::Request)),
        // Section 5.2.1.2
        ("max-age=10", "max-stale", 10, StaleAllowed { ttl_s: 0 }),
        ("max-age=10", "max-stale", 10_000_000, StaleAllowed { ttl_s: -9_999_990 }),
        ("max-age=10", "max-stale=3", 12, StaleAllowed { ttl_s: -2 }),
        ("max-age=10", "max-stale=3", 13, Validate(Why::Stale)),
        ("max-age=10", "max-stale=0", 10, Validate(Why::Stale)),
        ("max-age=10", "max-stale=x", 10, Validate(Why::Stale)),
        ("max-age=10", "max-age=50, max-stale=9", 12, StaleAllowed { ttl_s: -2 }),
        // Sections 4.2.4, 5.2.2.2, 5.2.2.8 and 5.2.2.10: what no request can override
        ("max-age=10, must-revalidate", "max-stale", 9, Fresh { ttl_s: 1 }),
        ("max-age=10, must-revalidate", "max-stale", 10, Validate(Why::Stale)),
        ("max-age=10, proxy-revalidate", "max-stale", 10, Validate(Why::Stale)),
        ("s-maxage=10", "max-stale", 10, Validate(Why::Stale)),
        ("max-age=10, must-revalidate, stale-while-revalidate=60", "", 10, Validate(Why::Stale)),
        // What the response itself allows beside it, as many do, is meant.
        ("s-maxage=10, stale-while-revalidate=60", "", 10, StaleWhileRevalidate { ttl_s: 0 }),
        ("s-maxage=10, stale-while-revalidate=60", "max-stale", 70, Validate(Why::Stale)),
        // RFC 5861, section 3
        ("max-age=10, stale-while-revalidate=5", "", 9, Fresh { ttl_s: 1 }),
        ("max-age=10, stale-while-revalidate=5", "", 10, StaleWhileRevalidate { ttl_s: 0 }),
        ("max-age=10, stale-while-revalidate=5", "", 14, StaleWhileRevalidate { ttl_s: -4 }),
        ("max-age=10, stale-while-revalidate=5", "", 15, Validate(Why::Stale)),
        ("max-age=10, stale-while-revalidate=5", "max-stale", 14, StaleWhileRevalidate { ttl_s: -4 }),
        ("max-age=10, stale-while-revalidate=5", "max-stale", 15, StaleAllowed { ttl_s: -5 }),
        // A limit on the age rules out what is stale (RFC 9111, section 5.2.1.1), and so does `min-fresh`.
        ("max-age=10, stale-while-revalidate=5", "max-age=60", 11, Validate(Why::Stale)),
        (
            "max-age=10, stale-while-revalidate=5",
            "max-age=60, max-stale",
            11,
            StaleWhileRevalidate { ttl_s: -1 },
        ),
        ("max-age=10, stale-while-revalidate=5", "min-fresh=0", 11, Validate(Why::Request)),
    ] {
        let now_ms = NOW_MS + after_s * 1000;
        let got = usable(&usage(response, false), &request(asked), false, now_ms, &NO_GRACE);
        assert_eq!(got, want, "{response} | {asked} | {after_s}");
    }
}

#[test]
fn the_grace_is_for_responses_that_say_nothing_themselves() {
    for (response, after_s, while_validating, on_error) in [
        ("max-age=10", 10, true, true),
        ("max-age=10", 14, true, true),
        ("max-age=10", 15, false, true),
        ("max-age=10", 19, false, true),
        ("max-age=10", 20, false, false),
        ("max-age=10, stale-while-revalidate=0", 10, false, true),
        ("max-age=10, stale-if-error=0", 10, true, false),
        ("max-age=10, stale-if-error=x", 10, true, false),
        ("max-age=10, stale-if-error=60", 69, false, true),
        ("max-age=10, stale-if-error=60", 70, false, false),
        ("max-age=10, must-revalidate", 10, false, false),
        ("max-age=10, must-revalidate, stale-if-error=60", 10, false, false),
        ("max-age=10, proxy-revalidate", 10, false, false),
        ("s-maxage=10, stale-if-error=60", 10, false, true),
        ("s-maxage=10, stale-if-error=60", 70, false, false),
        ("s-maxage=10", 10, false, false),
        ("max-age=10, no-cache", 10, false, false),
        ("max-age=10, no-cache", 0, false, false),
        // Fresh: nothing is stale yet that could be forbidden.
        ("max-age=10, must-revalidate", 9, false, true),
    ] {
        let now_ms = NOW_MS + after_s * 1000;
        let usage = usage(response, false);
        let used = usable(&usage, &RequestDirectives::default(), false, now_ms, &SOME_GRACE);
        let stale = matches!(used, Use::StaleWhileRevalidate { .. });
        assert_eq!(stale, while_validating, "{response} after {after_s}");
        assert_eq!(usable_on_error(&usage, now_ms, &SOME_GRACE), on_error, "{response} after {after_s}");
    }
}

#[test]
fn what_was_purged_softly_counts_as_stale() {
    for (response, asked, grace, want, on_error) in [
        ("max-age=10", "", NO_GRACE, Use::Validate(Why::Stale), false),
        ("max-age=10", "max-stale", NO_GRACE, Use::Validate(Why::Stale), false),
        ("max-age=10", "min-fresh=1", NO_GRACE, Use::Validate(Why::Request), false),
        ("max-age=10", "", SOME_GRACE, Use::StaleWhileRevalidate { ttl_s: 0 }, true),
        ("max-age=10, must-revalidate", "", SOME_GRACE, Use::Validate(Why::Stale), false),
        ("max-age=10, stale-if-error=5", "", NO_GRACE, Use::Validate(Why::Stale), true),
    ] {
        let usage = usage(response, true);
        assert_eq!(usable(&usage, &request(asked), false, NOW_MS, &grace), want, "{response} | {asked}");
        assert_eq!(usable_on_error(&usage, NOW_MS, &grace), on_error, "{response} | {asked}");
    }
}

#[test]
fn a_request_with_credentials_gets_only_what_is_for_everybody() {
    // RFC 9111, section 3.5
    for (response, usable_by_all) in [
        ("max-age=10", false),
        ("max-age=10, proxy-revalidate", false),
        ("max-age=10, public", true),
        ("max-age=10, must-revalidate", true),
        ("s-maxage=10", true),
    ] {
        let used = usable(&usage(response, false), &RequestDirectives::default(), true, NOW_MS, &NO_GRACE);
        let want = if usable_by_all { Use::Fresh { ttl_s: 10 } } else { Use::Unusable };
        assert_eq!(used, want, "{response}");
    }
}

#[test]
fn every_refusal_has_a_token_for_a_name() {
    use NotStored::*;
    let all = [
        Method,
        Status,
        NoStore,
        Private,
        Authorized,
        SetCookie,
        VaryStar,
        NotUnderstood,
        Partial,
        NoFreshness,
    ];
    let names: std::collections::BTreeSet<_> = all.iter().map(|why| why.name()).collect();
    assert_eq!(names.len(), all.len());
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
}

fn store_with(lines: &[(&str, &str)], defaults: Defaults) -> Result<Storing, NotStored> {
    let lines = Lines::new(lines.iter().copied());
    storable(GET, 200, lines.fields(), RECEIVED, defaults)
}

#[test]
fn an_operator_may_override_lifetimes_but_not_secrets() {
    let defaults = Defaults { override_ttl_s: Some(60), ..Defaults::NONE };
    for lines in [
        &[("Cache-Control", "max-age=0")][..],
        &[("Cache-Control", "max-age=9999")],
        &[("Expires", "0")],
        &[],
    ] {
        assert_eq!(store_with(lines, defaults).unwrap().timing.lifetime_s, 60, "{lines:?}");
    }
    for (control, want) in [("private, max-age=9", NotStored::Private), ("no-store", NotStored::NoStore)] {
        assert_eq!(store_with(&[("Cache-Control", control)], defaults), Err(want));
    }
    let cookie = [("Cache-Control", "max-age=9"), ("Set-Cookie", "a=b")];
    assert_eq!(store_with(&cookie, defaults), Err(NotStored::SetCookie));
}

#[test]
fn an_operator_may_refuse_cookies_altogether() {
    let cookie = [("Cache-Control", "max-age=9"), ("Set-Cookie", "a=b")];
    assert!(store_with(&cookie, Defaults::NONE).is_ok());
    let refuses = Defaults { refuses_cookies: true, ..Defaults::NONE };
    assert_eq!(store_with(&cookie, refuses), Err(NotStored::SetCookie));
    assert!(store_with(&cookie[..1], refuses).is_ok());
}
