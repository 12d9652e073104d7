use super::*;
use crate::cache::fuzz::Lines;
use crate::http::date;
use proptest::prelude::*;

/// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110, section 5.6.7.
const DATE_S: u64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

const AT_ONCE: Received = Received { requested_ms: DATE_S * 1000, received_ms: DATE_S * 1000 };
const NO_DEFAULTS: Defaults = Defaults::NONE;

fn timing_of(status: u16, lines: &[(&str, &str)], received: Received, defaults: Defaults) -> Timing {
    let lines = Lines::new(lines.iter().copied());
    Timing::of(status, &ResponseDirectives::of(lines.fields()), lines.fields(), received, defaults)
}

fn timing(lines: &[(&str, &str)]) -> Timing {
    timing_of(200, lines, AT_ONCE, NO_DEFAULTS)
}

#[test]
fn a_table_of_stated_lifetimes() {
    // RFC 9111, sections 4.2.1 and 5.3
    let hour_later = ("Expires", "Sun, 06 Nov 1994 09:49:37 GMT");
    for (lines, want) in [
        (&[("Cache-Control", "max-age=5")][..], 5),
        (&[("Cache-Control", "max-age=5, s-maxage=9")], 9),
        (&[("Cache-Control", "s-maxage=0, max-age=5"), hour_later], 0),
        (&[("Cache-Control", "max-age=5"), hour_later], 5),
        (&[("Cache-Control", "max-age=x"), hour_later], 0),
        (&[("Cache-Control", "max-age=5000000000")], DELTA_SECONDS_MAX),
        (&[hour_later], 3600),
        (&[("Date", "Sun, 06 Nov 1994 08:49:30 GMT"), hour_later], 3607),
        (&[("Date", "Sun, 06 Nov 1994 10:00:00 GMT"), hour_later], 0),
        // A Date that cannot be read counts for none: the receipt stands in (RFC 9110, section 6.6.1).
        (&[("Date", "yesterday"), hour_later], 3600),
        // The obsolete formats (RFC 9110, section 5.6.7).
        (&[("Expires", "Sunday, 06-Nov-94 09:49:37 GMT")], 3600),
        (&[("Expires", "Sun Nov  6 09:49:37 1994")], 3600),
        // What is no date has expired.
        (&[("Expires", "0")], 0),
        (&[("Expires", "-1")], 0),
        (&[("Expires", "")], 0),
        (&[("Expires", "Sun, 06 Nov 1994 09:49:37 CET")], 0),
        (&[("Expires", "Mon, 06 Nov 1994 09:49:37 GMT")], 0),
        (&[("Expires", DATE)], 0),
        (&[("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], 0),
        (&[("Expires", "Fri, 31 Dec 9999 23:59:59 GMT")], DELTA_SECONDS_MAX),
        // Of several, the least.
        (&[hour_later, ("Expires", "Sun, 06 Nov 1994 08:50:37 GMT")], 60),
        (&[hour_later, ("Expires", "x")], 0),
    ] {
        let timing = timing(lines);
        assert_eq!((timing.lifetime_s, timing.basis), (want, Basis::Explicit), "{lines:?}");
    }
}

#[test]
fn expires_counts_for_nothing_beside_a_targeted_field() {
    // RFC 9213, section 2.2
    let expires = ("Expires", "Sun, 06 Nov 1994 09:49:37 GMT");
    let targeted = timing(&[expires, ("CDN-Cache-Control", "must-revalidate")]);
    assert_eq!((targeted.lifetime_s, targeted.basis), (0, Basis::None));
    let malformed = timing(&[expires, ("CDN-Cache-Control", "must-revalidate,")]);
    assert_eq!((malformed.lifetime_s, malformed.basis), (3600, Basis::Explicit));
}

#[test]
fn a_table_of_lifetimes_that_nobody_states() {
    // RFC 9111, section 4.2.2; RFC 9110, section 15.1. The Date is that of the receipt.
    let modified = |text| [("Last-Modified", text), ("Date", DATE), ("x", "y")];
    let public = |text| [("Last-Modified", text), ("Date", DATE), ("Cache-Control", "public")];
    let minute_ago = "Sun, 06 Nov 1994 08:48:37 GMT";
    let ttl = Some(600);
    for (status, lines, ttl_s, want) in [
        (200, modified(minute_ago), None, (6, Basis::Heuristic)),
        (404, modified(minute_ago), None, (6, Basis::Heuristic)),
        (451, modified(minute_ago), None, (6, Basis::Heuristic)),
        (200, modified("Sunday, 06-Nov-94 08:48:37 GMT"), None, (6, Basis::Heuristic)),
        (200, modified("Sun, 06 Nov 1994 08:49:28 GMT"), None, (0, Basis::Heuristic)),
        (200, modified("Sat, 05 Nov 1994 08:49:37 GMT"), None, (8640, Basis::Heuristic)),
        (200, modified("Thu, 01 Jan 1970 00:00:00 GMT"), None, (86_400, Basis::Heuristic)),
        (200, modified("Mon, 07 Nov 1994 08:49:37 GMT"), None, (0, Basis::Heuristic)),
        (200, modified("long ago"), None, (0, Basis::None)),
        (302, modified(minute_ago), None, (0, Basis::None)),
        (500, modified(minute_ago), None, (0, Basis::None)),
        (302, public(minute_ago), None, (6, Basis::Heuristic)),
        // `--cache-ttl`: for what succeeded, and where a heuristic is allowed.
        (200, modified(minute_ago), ttl, (600, Basis::Configured)),
        (204, modified("long ago"), ttl, (600, Basis::Configured)),
        (202, modified(minute_ago), ttl, (0, Basis::None)),
        (202, public(minute_ago), ttl, (600, Basis::Configured)),
        (404, modified(minute_ago), ttl, (6, Basis::Heuristic)),
        (404, modified("long ago"), ttl, (0, Basis::None)),
        (200, modified("long ago"), Some(u64::MAX), (DELTA_SECONDS_MAX, Basis::Configured)),
    ] {
        let timing = timing_of(status, &lines, AT_ONCE, Defaults { ttl_s, ..Defaults::NONE });
        assert_eq!((timing.lifetime_s, timing.basis), want, "{status} {lines:?} {ttl_s:?}");
    }
    let stated = timing_of(200, &[("Expires", "0")], AT_ONCE, Defaults { ttl_s: ttl, ..Defaults::NONE });
    assert_eq!((stated.lifetime_s, stated.basis), (0, Basis::Explicit));
}

#[test]
fn a_table_of_ages() {
    // RFC 9111, sections 4.2.3 and 5.1: (Date, Age, sent, received, age when received), the moments in
    // milliseconds from DATE on
    for (date, age, requested, received, want) in [
        (Some(DATE), None, 0, 0, 0),
        (Some(DATE), None, 0, 999, 0),
        (Some(DATE), None, 0, 2500, 2),
        (Some(DATE), None, 2400, 2500, 2),
        (None, None, 0, 2500, 2),
        (None, None, 2400, 2500, 0),
        (Some("tomorrow"), None, 2400, 2500, 0),
        (Some(DATE), Some("10"), 0, 0, 10),
        (Some(DATE), Some("10"), 0, 2500, 12),
        (Some(DATE), Some("1"), 60_000, 60_000, 60),
        // An origin whose clock is ahead, or behind.
        (Some("Mon, 07 Nov 1994 08:49:37 GMT"), None, 0, 1000, 1),
        (Some("Sun, 06 Nov 1994 07:49:37 GMT"), None, 0, 0, 3600),
        // This machine's clock was set back meanwhile.
        (Some(DATE), Some("3"), 5000, 0, 3),
        // Of several ages the first counts; one that is no number does not.
        (Some(DATE), Some("10, 20"), 0, 0, 10),
        (Some(DATE), Some(" 7 ,x"), 0, 0, 7),
        (Some(DATE), Some(""), 0, 0, 0),
        (Some(DATE), Some("-10"), 0, 0, 0),
        (Some(DATE), Some("1.5"), 0, 0, 0),
        (Some(DATE), Some("x"), 0, 0, 0),
        (Some(DATE), Some("99999999999999999999"), 0, 5000, DELTA_SECONDS_MAX),
        (Some("Thu, 01 Jan 1970 00:00:00 GMT"), None, 0, 0, DATE_S),
    ] {
        let mut lines = vec![("Cache-Control", "max-age=60")];
        lines.extend(date.map(|date| ("Date", date)));
        lines.extend(age.map(|age| ("Age", age)));
        let at = |offset: u64| DATE_S * 1000 + offset;
        let received = Received { requested_ms: at(requested), received_ms: at(received) };
        let timing = timing_of(200, &lines, received, NO_DEFAULTS);
        assert_eq!(timing.corrected_initial_age_s, want, "{lines:?} {received:?}");
        assert_eq!(timing.age_s(received.received_ms), want);
        assert_eq!(timing.age_s(received.received_ms + 10_900), (want + 10).min(DELTA_SECONDS_MAX));
        assert_eq!(timing.age_s(0), want, "a clock that was set back");
    }
    let two = timing(&[("Age", "4"), ("Age", "9")]);
    assert_eq!(two.corrected_initial_age_s, 4);
}

#[test]
fn what_is_as_old_as_its_lifetime_is_stale() {
    // RFC 9111, section 4.2
    let timing = timing(&[("Cache-Control", "max-age=10"), ("Age", "4"), ("Date", DATE)]);
    let after = |ms: u64| timing.ttl_s(DATE_S * 1000 + ms);
    assert_eq!((after(0), after(5999), after(6000), after(9000)), (6, 1, 0, -3));
}

#[test]
fn the_date_is_kept_or_the_receipt() {
    let with = timing(&[("Date", "Sun, 06 Nov 1994 08:00:00 GMT")]);
    assert_eq!(Some(with.date_ms / 1000), date::parse(b"Sun, 06 Nov 1994 08:00:00 GMT"));
    let without = timing_of(200, &[], Received { received_ms: 1234, requested_ms: 1000 }, NO_DEFAULTS);
    assert_eq!((without.date_ms, without.received_ms), (1234, 1234));
}

proptest! {
    #[test]
    fn no_clock_and_no_number_overflows(
        status in any::<u16>(),
        requested_ms in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)],
        received_ms in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)],
        now_ms in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)],
        ttl_s in proptest::option::of(any::<u64>()),
        age in "[0-9]{0,25}",
        date in proptest::option::of(proptest::sample::select(vec![
            DATE, "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "x",
        ])),
        name in proptest::sample::select(vec!["Expires", "Last-Modified", "x"]),
    ) {
        let mut lines = vec![("Age", &*age), (name, "Fri, 31 Dec 9999 23:59:59 GMT")];
        lines.extend(date.map(|date| ("Date", date)));
        let timing = timing_of(status, &lines, Received { requested_ms, received_ms }, Defaults { ttl_s, ..Defaults::NONE });
        prop_assert!(timing.lifetime_s <= DELTA_SECONDS_MAX);
        prop_assert!(timing.age_s(now_ms) <= DELTA_SECONDS_MAX);
        prop_assert!(timing.age_s(now_ms) >= timing.corrected_initial_age_s);
        prop_assert!(timing.ttl_s(now_ms).unsigned_abs() <= DELTA_SECONDS_MAX);
    }
}
