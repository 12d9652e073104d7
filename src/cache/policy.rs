//! What the cache may do (RFC 9111, sections 3 and 4): look at a request, store a response, use what is
//! stored.

use super::directives::{RequestDirectives, ResponseDirectives};
use super::freshness::{Basis, Defaults, Lifetime, Received, Timing, is_heuristically_cacheable};
use crate::http::{Fields, Method, Name, date, list};

/// Whether the cache may have anything to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// A stored response may answer it.
    Lookup,
    /// It goes to the origin, and its response is not stored.
    Bypass(Bypass),
}

/// Why a request passes the cache by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// Its method is neither GET nor HEAD.
    Method,
    /// It has content, of which no key knows.
    Content,
    /// It wants to leave HTTP.
    Upgrade,
    /// It has If-Match or If-Unmodified-Since, which are for the origin to judge (RFC 9111, section 4.3.2).
    Precondition,
    /// It says `no-store` (RFC 9111, section 5.2.1.5).
    NoStore,
}

impl Bypass {
    /// For explanations.
    pub const fn sentence(self) -> &'static str {
        match self {
            Bypass::Method => "the method is neither GET nor HEAD",
            Bypass::Content => "the request has content",
            Bypass::Upgrade => "the request wants to leave HTTP",
            Bypass::Precondition => "the request has a condition that only the origin can judge",
            Bypass::NoStore => "the request says no-store",
        }
    }
}

/// Decides whether the cache may have anything to do with a request.
pub fn eligible(
    method: Method,
    has_content: bool,
    offers_upgrade: bool,
    fields: Fields<'_>,
    directives: &RequestDirectives,
) -> Eligibility {
    let has_precondition =
        || fields.iter().any(|(name, ..)| matches!(name, Name::IfMatch | Name::IfUnmodifiedSince));
    Eligibility::Bypass(match () {
        () if !matches!(method, Method::Get | Method::Head) => Bypass::Method,
        () if has_content => Bypass::Content,
        () if offers_upgrade => Bypass::Upgrade,
        () if directives.no_store => Bypass::NoStore,
        () if has_precondition() => Bypass::Precondition,
        () => return Eligibility::Lookup,
    })
}

/// The request to which a response came, as far as storing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Whether it has an Authorization field.
    pub authorized: bool,
    /// Whether it says `no-store`.
    pub no_store: bool,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// The request was not a GET.
    Method,
    /// No response of that status is stored, or not without being told so.
    Status,
    /// `no-store`, of the request or of the response.
    NoStore,
    /// `private`.
    Private,
    /// The request had credentials, and the response does not say that others may have it (section 3.5).
    Authorized,
    /// It sets a cookie and states no lifetime (section 7.3), or the operator wants no cookies stored.
    SetCookie,
    /// `Vary: *`: it would match no request (section 4.1).
    VaryStar,
    /// `must-understand`, and the status is not understood (section 5.2.2.3).
    NotUnderstood,
    /// It is a part of something (206).
    Partial,
    /// It could never be used: it is stale, and cannot be validated.
    NoFreshness,
}

impl NotStored {
    /// The name in Cache-Status (`detail`, RFC 9211, section 2.8): a token.
    pub const fn name(self) -> &'static str {
        match self {
            NotStored::Method => "method",
            NotStored::Status => "status",
            NotStored::NoStore => "no-store",
            NotStored::Private => "private",
            NotStored::Authorized => "authorization",
            NotStored::SetCookie => "set-cookie",
            NotStored::VaryStar => "vary-star",
            NotStored::NotUnderstood => "not-understood",
            NotStored::Partial => "partial",
            NotStored::NoFreshness => "no-freshness",
        }
    }
}

/// A response that may be stored, and what has to be kept with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storing {
    /// Its age and lifetime.
    pub timing: Timing,
    /// What it allows.
    pub directives: ResponseDirectives,
    /// Whether a request with credentials may have it too (section 3.5).
    pub for_authorized: bool,
    /// Whether it has an ETag or a Last-Modified by which it can be validated.
    pub has_validator: bool,
}

/// Decides whether a response may be stored (RFC 9111, section 3).
///
/// # Errors
/// [`NotStored`]
pub fn storable(
    asked: Asked,
    status: u16,
    fields: Fields<'_>,
    received: Received,
    defaults: Defaults,
) -> Result<Storing, NotStored> {
    let directives = ResponseDirectives::of(fields);
    let lifetime = Lifetime::of(status, &directives, fields, received, defaults);
    let explicit = lifetime.basis == Basis::Explicit;
    // Section 3.5.
    let for_authorized = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    let has_validator = has_validator(fields);
    let caching = Caching::of(status);
    Err(match () {
        () if asked.method != Method::Get => NotStored::Method,
        () if status == 206 => NotStored::Partial,
        () if caching == Caching::Never => NotStored::Status,
        () if asked.no_store => NotStored::NoStore,
        () if directives.must_understand && caching == Caching::Unknown => NotStored::NotUnderstood,
        // Section 5.2.2.3: whoever understands the status ignores the `no-store` for those who do not.
        () if directives.no_store && !directives.must_understand => NotStored::NoStore,
        () if directives.private => NotStored::Private,
        () if asked.authorized && !for_authorized => NotStored::Authorized,
        () if !explicit && caching == Caching::Unknown => NotStored::Status,
        () if !explicit && !directives.public && !is_heuristically_cacheable(status) => NotStored::Status,
        () if (!explicit || defaults.refuses_cookies) && fields.first(Name::SetCookie).is_some() => {
            NotStored::SetCookie
        }
        () if fields.values(Name::Vary).any(|value| list::has_token(value, b"*")) => NotStored::VaryStar,
        () if !may_be_of_use(has_validator, &directives, lifetime.lifetime_s > 0) => NotStored::NoFreshness,
        () => {
            let timing = Timing::with(lifetime, fields, received);
            // It may have grown old on its way.
            let is_fresh = timing.ttl_s(timing.received_ms) > 0;
            if may_be_of_use(has_validator, &directives, is_fresh) {
                return Ok(Storing { timing, directives, for_authorized, has_validator });
            }
            NotStored::NoFreshness
        }
    })
}

/// Whether a response states its lifetime itself, so that it may be taken to mean all that it says for
/// everyone (RFC 9111, section 7.3).
pub fn states_lifetime(status: u16, fields: Fields<'_>, received: Received) -> bool {
    let directives = ResponseDirectives::of(fields);
    Lifetime::of(status, &directives, fields, received, Defaults::default()).basis == Basis::Explicit
}

/// What is known of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caching {
    /// Its rules are followed (RFC 9110, section 15).
    Understood,
    /// It is not known, which is no obstacle where the response states its lifetime.
    Unknown,
    /// No response of that status is stored.
    Never,
}

impl Caching {
    fn of(status: u16) -> Caching {
        match status {
            200..=205 | 300..=303 | 307 | 308 => Caching::Understood,
            // They speak of one request rather than of its target, and whoever sends such a request must not
            // decide what others get: credentials, conditions, ranges, sizes, haste.
            401 | 407 | 408 | 412 | 413 | 416 | 417 | 421 | 425 | 426 => Caching::Never,
            // RFC 6585, sections 3 to 6.
            428 | 429 | 431 | 511 => Caching::Never,
            400 | 402..=406 | 409..=411 | 414 | 415 | 422 | 451 | 500..=505 => Caching::Understood,
            // Parts and differences of what was stored before (RFC 3229), and what is no final status.
            206 | 226 | 304 | ..=199 | 600.. => Caching::Never,
            _ => Caching::Unknown,
        }
    }
}

/// Whether a stored response could be used for anything.
fn may_be_of_use(has_validator: bool, directives: &ResponseDirectives, is_fresh: bool) -> bool {
    let stale = may_be_stale(directives, true)
        && [directives.stale_while_revalidate, directives.stale_if_error]
            .iter()
            .any(|s| s.is_some_and(|s| s > 0));
    has_validator || !directives.no_cache && (is_fresh || stale)
}

fn has_validator(fields: Fields<'_>) -> bool {
    let is_entity_tag = |value: &[u8]| {
        let opaque = value.strip_prefix(b"W/").unwrap_or(value);
        opaque.len() >= 2 && opaque.starts_with(b"\"") && opaque.ends_with(b"\"")
    };
    fields.first(Name::ETag).is_some_and(is_entity_tag)
        || fields.first(Name::LastModified).and_then(date::parse).is_some()
}

/// A stored response, as far as its use depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What it allows.
    pub directives: ResponseDirectives,
    /// Its age and lifetime.
    pub timing: Timing,
    /// Whether a request with credentials may have it: [`Storing::for_authorized`].
    pub for_authorized: bool,
    /// It was purged softly: it counts as stale, however fresh it was.
    pub purged: bool,
}

/// How long responses may be used stale that do not say so themselves (`--cache-grace`), in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grace {
    /// While they are validated.
    pub stale_while_revalidate_s: u64,
    /// When the origin fails.
    pub stale_if_error_s: u64,
}

/// What a stored response may do for a request. `ttl_s` is the rest of its freshness lifetime in seconds: below
/// 0 for how long it has been stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Answer it.
    Fresh {
        /// At least 1.
        ttl_s: i64,
    },
    /// Answer it, for the client takes what is stale (`max-stale`).
    StaleAllowed {
        /// At most 0.
        ttl_s: i64,
    },
    /// Answer it, and be validated at the same time (RFC 5861, section 3).
    StaleWhileRevalidate {
        /// At most 0.
        ttl_s: i64,
    },
    /// Answer it once the origin has said so.
    Validate(Why),
    /// Nothing: the request has credentials, and the response is not for those that have.
    Unusable,
}

/// Why a stored response must be validated before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is stale, and nobody allows that.
    Stale,
    /// The request wants it: `no-cache`, `max-age` or `min-fresh`.
    Request,
    /// The response wants it: `no-cache`.
    NoCache,
}

/// Decides what a stored response may do for a request that it matches (RFC 9111, section 4). Whether
/// `only-if-cached` makes a 504 of that is the caller's to say.
pub fn usable(
    usage: &Usage,
    request: &RequestDirectives,
    authorized: bool,
    now_ms: u64,
    grace: &Grace,
) -> Use {
    let Usage { directives, timing, .. } = usage;
    if authorized && !usage.for_authorized {
        return Use::Unusable;
    }
    if directives.no_cache {
        return Use::Validate(Why::NoCache);
    }
    let age_s = timing.age_s(now_ms);
    // An age of 0 is one of less than a second, and so more than `max-age=0` allows.
    let too_old = request.max_age.is_some_and(|max| max == 0 || age_s > max);
    if request.no_cache || too_old {
        return Use::Validate(Why::Request);
    }
    let ttl_s = timing.ttl_s(now_ms);
    let (fresh_s, stale_s) = (seconds(ttl_s), seconds(-ttl_s));
    let fresh = fresh_s > 0 && !usage.purged;
    if fresh && request.min_fresh.is_none_or(|min| fresh_s >= min) {
        return Use::Fresh { ttl_s };
    }
    if request.min_fresh.is_some() {
        return Use::Validate(Why::Request);
    }
    // A limit on the age rules stale responses out, unless `max-stale` lets them in again (section 5.2.1.1).
    let takes_stale = request.max_age.is_none() || request.max_stale.is_some();
    let ttl_s = ttl_s.min(0);
    let window_s = directives.stale_while_revalidate.unwrap_or(grace.stale_while_revalidate_s);
    let stated = directives.stale_while_revalidate.is_some();
    if takes_stale && stale_s < window_s && may_be_stale(directives, stated) {
        return Use::StaleWhileRevalidate { ttl_s };
    }
    match request.max_stale {
        Some(max)
            if !usage.purged && may_be_stale(directives, false) && max.is_none_or(|max| stale_s < max) =>
        {
            Use::StaleAllowed { ttl_s }
        }
        _ => Use::Validate(Why::Stale),
    }
}

/// Whether a stored response may be used although the origin failed: it gave no answer, or one of 500, 502, 503
/// and 504 (RFC 5861, section 4). Whether the request put up with that is the caller's to say.
pub fn usable_on_error(usage: &Usage, now_ms: u64, grace: &Grace) -> bool {
    let Usage { directives, timing, .. } = usage;
    let ttl_s = timing.ttl_s(now_ms);
    let fresh = ttl_s > 0 && !usage.purged;
    let window_s = directives.stale_if_error.unwrap_or(grace.stale_if_error_s);
    let stated = directives.stale_if_error.is_some();
    !directives.no_cache && (fresh || may_be_stale(directives, stated) && seconds(-ttl_s) < window_s)
}

/// Whether a shared cache may use it stale at all. `s-maxage` implies `proxy-revalidate` (RFC 9111, sections
/// 4.2.4 and 5.2.2.10), but a response that `stated` a window of its own beside it means what it says.
fn may_be_stale(directives: &ResponseDirectives, stated: bool) -> bool {
    !(directives.must_revalidate
        || directives.proxy_revalidate
        || directives.s_maxage.is_some() && !stated
        || directives.no_cache)
}

fn seconds(signed: i64) -> u64 {
    u64::try_from(signed).unwrap_or(0)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
