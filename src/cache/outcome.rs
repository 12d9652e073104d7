//! What the cache did for a request, and how a response tells: X-Cache for people, Cache-Status for
//! programs (RFC 9211).

use bytes::BufMut;

use crate::http::fields::is_token_byte;

/// What the cache did, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from the cache, fresh.
    Hit,
    /// Answered by the origin, or by joining a fill.
    Miss,
    /// Answered from the cache, although stale.
    Stale,
    /// Answered from the cache, after the origin said that nothing changed.
    Revalidated,
    /// The cache had nothing to do with it.
    Bypass,
}

impl Outcome {
    /// The value of X-Cache.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Hit => "HIT",
            Outcome::Miss => "MISS",
            Outcome::Stale => "STALE",
            Outcome::Revalidated => "REVALIDATED",
            Outcome::Bypass => "BYPASS",
        }
    }
}

/// Why a request went to the origin (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache is not to handle it.
    Bypass,
    /// Its method cannot be answered from a cache.
    Method,
    /// Nothing is stored under its key.
    UriMiss,
    /// What is stored under its key is for requests that differ in what Vary lists.
    VaryMiss,
    /// Nothing stored can answer it, and that is all that is known.
    Miss,
    /// What is stored is fresh, but the request's own directives demand more.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is only a part of what is wanted.
    Partial,
}

impl Forward {
    /// The token of the `fwd` parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Forward::Bypass => "bypass",
            Forward::Method => "method",
            Forward::UriMiss => "uri-miss",
            Forward::VaryMiss => "vary-miss",
            Forward::Miss => "miss",
            Forward::Request => "request",
            Forward::Stale => "stale",
            Forward::Partial => "partial",
        }
    }
}

/// All that a response tells about the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the cache did.
    pub outcome: Outcome,
    /// Why the request was forwarded; `None` if it was not.
    pub fwd: Option<Forward>,
    /// The status that the origin answered with, where it is not the one of the response.
    pub fwd_status: Option<u16>,
    /// The origin's response was stored.
    pub stored: bool,
    /// The request was answered together with others, by one to the origin.
    pub collapsed: bool,
    /// Freshness lifetime that is left, in seconds; negative once stale.
    pub ttl_s: Option<i64>,
    /// More, for people: a token as a rule, else printable text.
    pub detail: Option<&'static str>,
}

impl Report {
    /// A report of an outcome, and why the request was forwarded, with nothing else to say.
    pub const fn of(outcome: Outcome, fwd: Option<Forward>) -> Report {
        Report { outcome, fwd, fwd_status: None, stored: false, collapsed: false, ttl_s: None, detail: None }
    }
}

/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// The most bytes that [`write()`] writes, without the name, the key and the detail.
pub const BYTES_MAX: usize = 160;

/// Writes the fields `X-Cache: …` and `Cache-Status: NAME; …`, line ends included.
///
/// The name and the key are any bytes: the name is written as a token if it is one, both else as strings
/// (RFC 9651, section 3.3.3), in which bytes that cannot stand there are percent-encoded. In the worst
/// case a byte takes three.
///
/// A request is a hit, or forwarded, or neither where the answer is the proxy's own: `fwd-status`, `stored`
/// and `collapsed` are only told with `fwd`.
pub fn write(out: &mut impl BufMut, name: &[u8], report: &Report, key: Option<&[u8]>) {
    out.put_slice(b"X-Cache: ");
    out.put_slice(report.outcome.name().as_bytes());
    out.put_slice(b"\r\nCache-Status: ");
    put_token_or_string(out, name);
    match report.fwd {
        None if matches!(report.outcome, Outcome::Hit | Outcome::Stale) => out.put_slice(b"; hit"),
        None => {}
        Some(fwd) => {
            out.put_slice(b"; fwd=");
            out.put_slice(fwd.name().as_bytes());
            if let Some(status) = report.fwd_status {
                out.put_slice(b"; fwd-status=");
                out.put_slice(itoa::Buffer::new().format(status).as_bytes());
            }
            if report.stored {
                out.put_slice(b"; stored");
            }
            if report.collapsed {
                out.put_slice(b"; collapsed");
            }
        }
    }
    if let Some(ttl_s) = report.ttl_s {
        out.put_slice(b"; ttl=");
        let ttl_s = ttl_s.clamp(-INTEGER_MAX, INTEGER_MAX);
        out.put_slice(itoa::Buffer::new().format(ttl_s).as_bytes());
    }
    if let Some(key) = key {
        out.put_slice(b"; key=");
        put_string(out, key);
    }
    if let Some(detail) = report.detail {
        out.put_slice(b"; detail=");
        put_token_or_string(out, detail.as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn put_token_or_string(out: &mut impl BufMut, text: &[u8]) {
    // RFC 9651, section 3.3.4.
    let is_tail = |&byte: &u8| is_token_byte(byte) || matches!(byte, b':' | b'/');
    match text {
        [first, rest @ ..] if (first.is_ascii_alphabetic() || *first == b'*') && rest.iter().all(is_tail) => {
            out.put_slice(text);
        }
        _ => put_string(out, text),
    }
}

fn put_string(out: &mut impl BufMut, text: &[u8]) {
    out.put_u8(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.put_slice(&[b'\\', byte]),
            0x20..=0x7e => out.put_u8(byte),
            _ => {
                let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble)];
                out.put_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Bypass, Hit, Miss, Revalidated, Stale};
    use proptest::prelude::*;

    const PLAIN: Report = Report {
        outcome: Hit,
        fwd: None,
        fwd_status: None,
        stored: false,
        collapsed: false,
        ttl_s: None,
        detail: None,
    };

    fn text(name: &[u8], report: &Report, key: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        write(&mut out, name, report, key);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_of_reports() {
        for (report, want) in [
            // RFC 9211, 2.1 and 2.4
            (Report { ttl_s: Some(376), ..PLAIN }, "HIT; hit; ttl=376"),
            (Report { outcome: Stale, ttl_s: Some(-412), ..PLAIN }, "STALE; hit; ttl=-412"),
            (
                Report {
                    outcome: Miss,
                    fwd: Some(Forward::UriMiss),
                    stored: true,
                    collapsed: true,
                    ttl_s: Some(0),
                    ..PLAIN
                },
                "MISS; fwd=uri-miss; stored; collapsed; ttl=0",
            ),
            // 2.3
            (
                Report {
                    outcome: Revalidated,
                    fwd: Some(Forward::Stale),
                    fwd_status: Some(304),
                    stored: true,
                    ..PLAIN
                },
                "REVALIDATED; fwd=stale; fwd-status=304; stored",
            ),
            // Served stale because the origin failed: not a hit, for the request went forward.
            (
                Report { outcome: Stale, fwd: Some(Forward::Stale), fwd_status: Some(503), ..PLAIN },
                "STALE; fwd=stale; fwd-status=503",
            ),
            (Report { fwd_status: Some(200), stored: true, collapsed: true, ..PLAIN }, "HIT; hit"),
            // The answer is the proxy's own: neither a hit nor forwarded.
            (Report { outcome: Miss, ..PLAIN }, "MISS"),
            (Report { outcome: Bypass, ..PLAIN }, "BYPASS"),
            (Report { outcome: Revalidated, ..PLAIN }, "REVALIDATED"),
            (Report { outcome: Bypass, fwd: Some(Forward::Method), ..PLAIN }, "BYPASS; fwd=method"),
            // 2.8
            (Report { outcome: Miss, detail: Some("no_store"), ..PLAIN }, "MISS; detail=no_store"),
            (Report { detail: Some("too \"large\""), ..PLAIN }, r#"HIT; hit; detail="too \"large\"""#),
            // RFC 9651, 3.3.1
            (Report { ttl_s: Some(i64::MAX), ..PLAIN }, "HIT; hit; ttl=999999999999999"),
            (Report { ttl_s: Some(i64::MIN), ..PLAIN }, "HIT; hit; ttl=-999999999999999"),
        ] {
            let (outcome, status) = want.split_at(want.find(';').unwrap_or(want.len()));
            let want = format!("X-Cache: {outcome}\r\nCache-Status: ringway{status}\r\n");
            assert_eq!(text(b"ringway", &report, None), want, "{report:?}");
        }
    }

    #[test]
    fn names_are_tokens_or_strings_and_keys_are_strings() {
        // RFC 9651, 3.3.3 and 3.3.4
        for (name, key, want) in [
            (&b"a.example:80/x"[..], &b"a/b?c"[..], r#"a.example:80/x; hit; key="a/b?c""#),
            (b"1a", b"", r#""1a"; hit; key="""#),
            (b"my proxy", b"a\"b\\c", r#""my proxy"; hit; key="a\"b\\c""#),
            (b"", b"a\r\nb\0\x7f\xc3\xa9", r#"""; hit; key="a%0D%0Ab%00%7F%C3%A9""#),
            (b"a\"b", b"a%41", r#""a\"b"; hit; key="a%41""#),
        ] {
            let want = format!("X-Cache: HIT\r\nCache-Status: {want}\r\n");
            assert_eq!(text(name, &PLAIN, Some(key)), want);
        }
    }

    #[test]
    fn the_longest_report_is_as_long_as_said() {
        let longest = Report {
            outcome: Revalidated,
            fwd: Some(Forward::VaryMiss),
            fwd_status: Some(u16::MAX),
            stored: true,
            collapsed: true,
            ttl_s: Some(i64::MIN),
            detail: Some(""),
        };
        assert!(text(b"", &longest, Some(b"")).len() <= BYTES_MAX);
    }

    proptest! {
        #[test]
        fn two_lines_come_out_whatever_the_key(
            name in proptest::collection::vec(any::<u8>(), 0..20),
            key in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let text = text(&name, &PLAIN, Some(&key));
            prop_assert!(text.bytes().all(|byte| matches!(byte, b'\r' | b'\n' | 0x20..=0x7e)));
            prop_assert_eq!(text.matches(['\r', '\n']).count(), 4);
            prop_assert!(text.len() <= BYTES_MAX + 3 * (name.len() + key.len()));
        }
    }
}
