//! What is stored, and for how long it is fresh, compared with http-cache-semantics, where that agrees with
//! RFC 9111. Where it does not, the cases are left out, and it says here why:
//!
//! - It stores responses to HEAD and POST. Here only those to GET are stored.
//! - It knows few statuses, and stores none of the others, even when they state a lifetime (section 3).
//! - It does not know `must-understand`, CDN-Cache-Control, or the qualified `private` and `no-cache`.
//! - It splits at commas within quoted strings, does not take names without regard to case, and of a repeated
//!   directive uses the first value.
//! - It takes `Pragma: no-cache` in a response for `no-cache` (section 5.4 gives it no meaning there).
//! - It takes Set-Cookie, `Vary: *`, `no-cache` and `proxy-revalidate` for a lifetime of 0. The first three are
//!   other questions here, and `proxy-revalidate` says nothing of a fresh response (section 5.2.2.8).
//! - It gives `immutable` a lifetime of its own (RFC 8246 does not).
//! - It concludes from Last-Modified without a limit; here it is a day.
//! - It knows one format of dates, and no response delay or apparent age (section 4.2.3).
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;
use ringway::cache::freshness::{Defaults, Received};
use ringway::cache::fuzz::Lines;
use ringway::cache::policy::{Asked, NotStored, Storing, storable};
use ringway::http::Method;

/// Sun, 06 Nov 1994 08:49:37 GMT
const RECEIVED_S: u64 = 784_111_777;

const DAY_S: u64 = 24 * 60 * 60;

/// The statuses that it knows, and some that neither stores.
const STATUSES: [u16; 18] =
    [200, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 404, 405, 410, 414, 416, 429, 501];

#[derive(Clone, Debug)]
struct Response {
    status: u16,
    lines: Vec<(&'static str, String)>,
}

fn at(offset_s: i64) -> String {
    let seconds = RECEIVED_S.checked_add_signed(offset_s).unwrap();
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn directive(names: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(names.to_vec(), 0..=names.len()).prop_flat_map(|names| {
        let seconds = prop_oneof![Just(0_u64), 1_u64..100, 1_u64..100_000];
        let lengths = proptest::collection::vec(seconds, names.len());
        lengths.prop_map(move |lengths| {
            let with_length = |(name, length): (&&str, u64)| match *name {
                "max-age" | "s-maxage" => format!("{name}={length}"),
                _ => (*name).to_owned(),
            };
            names.iter().zip(lengths).map(with_length).collect()
        })
    })
}

/// A response with directives out of `names`. It can always be validated, for otherwise it might not be worth
/// storing, which is a question that only we ask.
fn response(
    names: &'static [&'static str],
    date: impl Strategy<Value = i64>,
) -> impl Strategy<Value = Response> {
    (
        proptest::sample::select(STATUSES.to_vec()),
        directive(names),
        proptest::option::weighted(0.8, date),
        proptest::option::weighted(
            0.4,
            prop_oneof![
                (-1000_i64..100_000).prop_map(at),
                Just("0".to_owned()),
                Just("-1".to_owned()),
                Just("yesterday".to_owned()),
            ],
        ),
        proptest::option::weighted(0.5, (-10_000_000_i64..1000).prop_map(at)),
        any::<bool>(),
    )
        .prop_map(|(status, directives, date, expires, modified, one_line)| {
            let mut lines = vec![("ETag", "\"x\"".to_owned())];
            if one_line && !directives.is_empty() {
                lines.push(("Cache-Control", directives.join(", ")));
            } else {
                lines.extend(directives.into_iter().map(|directive| ("Cache-Control", directive)));
            }
            lines.extend(date.map(|date| ("Date", at(date))));
            lines.extend(expires.map(|expires| ("Expires", expires)));
            lines.extend(modified.map(|modified| ("Last-Modified", modified)));
            Response { status, lines }
        })
}

fn received() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(RECEIVED_S)
}

fn ours(response: &Response, authorized: bool, no_store: bool) -> Result<Storing, NotStored> {
    let lines = Lines::new(response.lines.iter().map(|(name, value)| (*name, value)));
    let received = Received { requested_ms: RECEIVED_S * 1000, received_ms: RECEIVED_S * 1000 };
    let asked = Asked { method: Method::Get, authorized, no_store };
    storable(asked, response.status, lines.fields(), received, Defaults::NONE)
}

fn theirs(response: &Response, authorized: bool, no_store: bool) -> CachePolicy {
    let mut asked = http::Request::get("http://a/");
    if authorized {
        asked = asked.header("Authorization", "Basic eDp5");
    }
    if no_store {
        asked = asked.header("Cache-Control", "no-store");
    }
    let mut answer = http::Response::builder().status(response.status);
    for (name, value) in &response.lines {
        answer = answer.header(*name, value);
    }
    let (asked, answer) = (asked.body(()).unwrap(), answer.body(()).unwrap());
    CachePolicy::new_options(&asked, &answer, received(), CacheOptions::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_same_is_stored(
        response in response(
            &["no-store", "private", "public", "must-revalidate", "no-cache", "max-age", "s-maxage", "foo",
              "immutable", "proxy-revalidate"],
            Just(0),
        ),
        authorized in any::<bool>(),
        no_store in proptest::bool::weighted(0.1),
    ) {
        let ours = ours(&response, authorized, no_store);
        prop_assert_eq!(ours.is_ok(), theirs(&response, authorized, no_store).is_storable(), "{:?}", ours);
    }

    /// The receipt stands in where Date is missing; the oracle's lifetime is what is left of it at an age of 0.
    #[test]
    fn it_is_fresh_for_the_same_time(
        response in response(&["public", "must-revalidate", "max-age", "s-maxage", "foo"], -1000_i64..1000),
    ) {
        let theirs = theirs(&response, false, false);
        let Ok(storing) = ours(&response, false, false) else { return Ok(()) };
        let mut want = theirs.time_to_live(received()).as_secs();
        let stated = response.lines.iter().any(|(name, value)| *name == "Expires" || value.contains("max"));
        if !stated {
            want = want.min(DAY_S);
        }
        prop_assert_eq!(storing.timing.lifetime_s, want);
    }

    #[test]
    fn it_is_as_old_and_as_fresh_at_any_time(
        mut response in response(&["public", "max-age", "s-maxage"], Just(0)),
        age in proptest::option::of(prop_oneof!["[0-9]{1,6}", Just("x".to_owned()), Just("-5".to_owned())]),
        later_s in 0_u64..200_000,
    ) {
        response.status = 200;
        response.lines.retain(|(name, _)| *name != "Last-Modified");
        response.lines.extend(age.map(|age| ("Age", age)));
        let timing = ours(&response, false, false).unwrap().timing;
        let theirs = theirs(&response, false, false);
        let now = received() + Duration::from_secs(later_s);
        let now_ms = (RECEIVED_S + later_s) * 1000;
        prop_assert_eq!(timing.age_s(now_ms), theirs.age(now).as_secs());
        prop_assert_eq!(timing.ttl_s(now_ms) > 0, !theirs.is_stale(now));
        let left_s = u64::try_from(timing.ttl_s(now_ms)).unwrap_or(0);
        prop_assert_eq!(left_s, theirs.time_to_live(now).as_secs());
    }
}
