//! Fuzz bodies of the cache: what must hold for any bytes at all in the fields that it obeys. The target in
//! `tests/fuzz` and the run over the corpus in `tests/corpus.rs` only call them.

use super::directives::{DELTA_SECONDS_MAX, RequestDirectives, ResponseDirectives};
use super::freshness::{Basis, Defaults, Received, Timing};
use super::policy::{self, Asked, Grace, NotStored, Usage, Use};
use crate::http::{FieldLine, Fields, Method, Name, Span};

/// The lines of a head, made up.
#[derive(Debug, Default)]
pub struct Lines {
    head: Vec<u8>,
    lines: Vec<FieldLine>,
}

impl Lines {
    /// Names and values of at most 64 KiB together.
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Lines {
        let mut all = Lines::default();
        for (name, value) in pairs {
            all.push(name.as_ref(), value.as_ref());
        }
        all
    }

    /// Appends a line. The white space around a value is no part of it, as in a head that was received.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.head.len();
        self.head.extend_from_slice(name);
        let end = self.head.len();
        self.head.extend_from_slice(value.trim_ascii());
        let (name_at, value_at) = (Span::new(start, end), Span::new(end, self.head.len()));
        self.lines.push(FieldLine { name: name_at, value: value_at, known: Name::recognise(name) });
    }

    /// To be read like those of a real head.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.head, &self.lines)
    }
}

/// What the first byte of a line says that the rest of it belongs to.
const NAMES: [&str; 11] = [
    "Cache-Control",
    "CDN-Cache-Control",
    "Expires",
    "Date",
    "Age",
    "Last-Modified",
    "ETag",
    "Set-Cookie",
    "Vary",
    "Pragma",
    "X-Other",
];

/// The fields of a request or a response, one to a line; the first byte of a line, from `a` on, chooses the
/// name. They are read without a panic, as a plainer reader reads them where they are simple, and what follows
/// from them is sound whatever they say.
pub fn directives(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(16 << 10)];
    let mut lines = Lines::default();
    for line in bytes.split(|&b| b == b'\n').take(100) {
        let Some((&choice, value)) = line.split_first() else { continue };
        let name = NAMES[usize::from(choice.wrapping_sub(b'a')) % NAMES.len()];
        lines.push(name.as_bytes(), value);
    }
    let fields = lines.fields();
    let request = RequestDirectives::of(fields);
    let response = ResponseDirectives::of(fields);
    if let Some(plain) = Plain::read(fields) {
        plain.assert_agrees(&request, &response, fields);
    }
    assert_withheld_are_names(&response, fields);
    assert_sound(&request, fields);
    let mut more = Lines::new(fields.iter().map(|(_, name, value)| (name, value)));
    more.push(b"Cache-Control", b"no-store, max-age=0, no-cache, private");
    assert_adds_up(&request, &response, more.fields());
}

fn assert_withheld_are_names(response: &ResponseDirectives, fields: Fields<'_>) {
    let mut names = ResponseDirectives::withheld(fields).peekable();
    assert_eq!(names.peek().is_some(), response.no_cache_fields || response.private_fields);
    for name in names {
        assert!(
            !name.is_empty()
                && name.iter().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(b))
        );
    }
}

/// No line before it hides what a line says, and nothing that was said before is lost.
fn assert_adds_up(request: &RequestDirectives, response: &ResponseDirectives, more: Fields<'_>) {
    let asked = RequestDirectives::of(more);
    assert!(asked.no_store && asked.no_cache && asked.max_age == Some(0));
    assert_eq!((asked.min_fresh, asked.max_stale), (request.min_fresh, request.max_stale));
    let said = ResponseDirectives::of(more);
    if response.targeted {
        return assert_eq!(said, *response);
    }
    let want =
        ResponseDirectives { no_store: true, no_cache: true, private: true, max_age: Some(0), ..*response };
    assert_eq!(said, want);
}

/// What is decided on the strength of the fields.
fn assert_sound(request: &RequestDirectives, fields: Fields<'_>) {
    const NOW_MS: u64 = 1_700_000_000_000;
    let received = Received { requested_ms: NOW_MS - 1500, received_ms: NOW_MS };
    let defaults = Defaults { ttl_s: Some(7), ..Defaults::NONE };
    let grace = Grace { stale_while_revalidate_s: 5, stale_if_error_s: 10 };
    for status in [200, 206, 302, 304, 404, 429, 599] {
        for (authorized, no_store) in [(false, false), (true, false), (false, true)] {
            let asked = Asked { method: Method::Get, authorized, no_store };
            let said = ResponseDirectives::of(fields);
            let timing = Timing::of(status, &said, fields, received, defaults);
            assert!(
                timing.lifetime_s <= DELTA_SECONDS_MAX && timing.corrected_initial_age_s <= DELTA_SECONDS_MAX
            );
            let storing = match policy::storable(asked, status, fields, received, defaults) {
                Ok(storing) => storing,
                Err(why) => {
                    assert!(why != NotStored::NoStore || no_store || said.no_store);
                    continue;
                }
            };
            assert!(
                !matches!(status, 206 | 304 | 429) && !no_store && !said.private,
                "stored what it must not"
            );
            assert!(!said.no_store || said.must_understand && status != 599, "stored in spite of no-store");
            assert!(!authorized || storing.for_authorized, "stored what was for one user");
            assert!(fields.first(Name::SetCookie).is_none() || storing.timing.basis == Basis::Explicit);
            assert_eq!((storing.timing, storing.directives), (timing, said));
            let usage = Usage {
                directives: said,
                timing,
                for_authorized: storing.for_authorized,
                purged: authorized,
            };
            assert_used_soundly(&usage, request, NOW_MS, &grace);
        }
    }
}

fn assert_used_soundly(usage: &Usage, request: &RequestDirectives, from_ms: u64, grace: &Grace) {
    let Usage { directives, timing, .. } = usage;
    let mut before_s = i64::MAX;
    for seconds in [0, 1, 6, 7, 8, 60, 86_400, 1 << 31, 1 << 40] {
        let now_ms = from_ms + seconds * 1000;
        let ttl_s = timing.ttl_s(now_ms);
        assert!(ttl_s <= before_s, "a response grew younger");
        before_s = ttl_s;
        let restrained = directives.must_revalidate
            || directives.proxy_revalidate
            || directives.s_maxage.is_some()
            || directives.no_cache;
        let was = policy::usable(usage, request, false, now_ms, grace);
        let fresh = ttl_s > 0 && !usage.purged;
        match was {
            Use::Fresh { ttl_s: told } => assert!(fresh && told == ttl_s),
            Use::StaleAllowed { ttl_s: told } => {
                assert!(!fresh && told <= 0 && !restrained && request.max_stale.is_some() && !usage.purged);
            }
            Use::StaleWhileRevalidate { ttl_s: told } => assert!(!fresh && told <= 0 && !restrained),
            Use::Validate(_) => {}
            Use::Unusable => panic!("a request without credentials was taken for one with"),
        }
        let served = !matches!(was, Use::Validate(_));
        assert!(
            !served || !request.no_cache && !directives.no_cache,
            "used without the validation asked for"
        );
        assert!(
            !policy::usable_on_error(usage, now_ms, grace) || fresh || !restrained,
            "used stale on an error"
        );
    }
}

/// Directives of lines without quotation marks and targeted fields, read in the plainest way.
struct Plain {
    pairs: Vec<(String, Option<String>)>,
}

impl Plain {
    /// `None` where it takes more than splitting at commas and at the first `=`.
    fn read(fields: Fields<'_>) -> Option<Plain> {
        let mut pairs = Vec::new();
        for (name, _, value) in fields.iter() {
            match name {
                Name::CdnCacheControl => return None,
                Name::CacheControl => {}
                _ => continue,
            }
            let text = std::str::from_utf8(value).ok()?;
            let simple =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ',' | '=' | ' ' | '\t');
            if !text.chars().all(simple) {
                return None;
            }
            for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
                let (name, argument) = match element.split_once('=') {
                    Some((name, argument)) => (name.trim_end(), Some(argument.trim_start().to_owned())),
                    None => (element, None),
                };
                // Two words are one directive and a fault, which is not for the plain reader to judge.
                if name.contains([' ', '\t']) {
                    return None;
                }
                pairs.push((name.to_lowercase(), argument));
            }
        }
        Some(Plain { pairs })
    }

    fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(other, _)| other == name)
    }

    fn stands_alone(&self, name: &str) -> bool {
        self.pairs.iter().any(|(other, argument)| other == name && argument.is_none())
    }

    /// Every number given for a directive, `None` for those that are none.
    fn numbers(&self, name: &str) -> Vec<Option<u64>> {
        let number = |argument: &Option<String>| {
            let text = argument.as_deref()?;
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX).min(DELTA_SECONDS_MAX))
        };
        self.pairs.iter().filter(|(other, _)| other == name).map(|(_, argument)| number(argument)).collect()
    }

    fn least(&self, name: &str) -> Option<u64> {
        self.numbers(name).into_iter().map(|number| number.unwrap_or(0)).min()
    }

    fn assert_agrees(&self, request: &RequestDirectives, response: &ResponseDirectives, fields: Fields<'_>) {
        assert_eq!(request.no_store, self.has("no-store"));
        assert_eq!(request.only_if_cached, self.stands_alone("only-if-cached"));
        assert_eq!(request.max_age, self.least("max-age"));
        let min_fresh = self.numbers("min-fresh").into_iter().map(|n| n.unwrap_or(DELTA_SECONDS_MAX)).max();
        assert_eq!(request.min_fresh, min_fresh);
        assert_eq!(request.max_stale.is_some(), self.has("max-stale"));
        if fields.first(Name::CacheControl).is_some() {
            assert_eq!(request.no_cache, self.has("no-cache"));
        }
        assert!(!response.targeted);
        assert_eq!(response.no_store, self.has("no-store"));
        assert_eq!(response.public, self.stands_alone("public"));
        assert_eq!(response.immutable, self.stands_alone("immutable"));
        assert_eq!(response.must_understand, self.stands_alone("must-understand"));
        assert_eq!(response.must_revalidate, self.has("must-revalidate"));
        assert_eq!(response.proxy_revalidate, self.has("proxy-revalidate"));
        assert_eq!(response.no_cache || response.no_cache_fields, self.has("no-cache"));
        assert_eq!(response.private || response.private_fields, self.has("private"));
        assert!(response.no_cache || !self.stands_alone("no-cache"));
        assert!(response.private || !self.stands_alone("private"));
        assert_eq!(response.max_age, self.least("max-age"));
        assert_eq!(response.s_maxage, self.least("s-maxage"));
        assert_eq!(response.stale_while_revalidate, self.least("stale-while-revalidate"));
        assert_eq!(response.stale_if_error, self.least("stale-if-error"));
    }
}
