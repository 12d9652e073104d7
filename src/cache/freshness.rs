//! How old a stored response is, and how old it may become (RFC 9111, section 4.2).
//!
//! Moments are milliseconds since 1970, ages and lifetimes whole seconds of at most
//! [`DELTA_SECONDS_MAX`]. Clocks may jump and origins may lie: no sum overflows, and no age is negative.

use super::directives::{DELTA_SECONDS_MAX, ResponseDirectives, delta_seconds};
use crate::http::{Fields, Name, date};

/// When a response was asked for and when its head came, by this machine's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// When the request was sent, milliseconds since 1970.
    pub requested_ms: u64,
    /// When the response head was complete, milliseconds since 1970.
    pub received_ms: u64,
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// A freshness lifetime in seconds for successful responses without one (`--cache-ttl`).
    pub ttl_s: Option<u64>,
    /// A freshness lifetime in seconds for successful responses, whatever they state themselves.
    pub override_ttl_s: Option<u64>,
    /// Whether a response that sets a cookie is never stored.
    pub refuses_cookies: bool,
}

impl Defaults {
    /// Nothing.
    pub const NONE: Defaults = Defaults { ttl_s: None, override_ttl_s: None, refuses_cookies: false };
}

/// Where a freshness lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The response states it: `s-maxage`, `max-age` or Expires, be it unreadable (section 4.2.1).
    Explicit,
    /// The operator does: [`Defaults`].
    Configured,
    /// It was concluded from Last-Modified (section 4.2.2).
    Heuristic,
    /// Nowhere: stale from the start.
    None,
}

/// What is to be kept of a stored response so that its age can be told at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The response's Date, or its receipt where that is missing or malformed (RFC 9110, section 6.6.1).
    pub date_ms: i64,
    /// The age when it came (section 4.2.3).
    pub corrected_initial_age_s: u64,
    /// When it came.
    pub received_ms: u64,
    /// For how long it is fresh.
    pub lifetime_s: u64,
    /// Who says so.
    pub basis: Basis,
}

impl Timing {
    /// Reads the timing of a response to a GET.
    pub fn of(
        status: u16,
        directives: &ResponseDirectives,
        fields: Fields<'_>,
        received: Received,
        defaults: Defaults,
    ) -> Timing {
        Timing::with(Lifetime::of(status, directives, fields, received, defaults), fields, received)
    }

    /// The same, where the lifetime is known.
    pub fn with(Lifetime { lifetime_s, basis }: Lifetime, fields: Fields<'_>, received: Received) -> Timing {
        let date_ms = date_ms(fields, received);
        Timing {
            date_ms,
            corrected_initial_age_s: corrected_initial_age_s(fields, received, date_ms),
            received_ms: received.received_ms,
            lifetime_s,
            basis,
        }
    }

    /// The current age (section 4.2.3), as it stands in an Age field.
    pub fn age_s(&self, now_ms: u64) -> u64 {
        let resident_s = now_ms.saturating_sub(self.received_ms) / 1000;
        self.corrected_initial_age_s.saturating_add(resident_s).min(DELTA_SECONDS_MAX)
    }

    /// For how many seconds it will be fresh from now on. It is fresh while this is above 0 (section 4.2);
    /// below that, for how long it has been stale.
    pub fn ttl_s(&self, now_ms: u64) -> i64 {
        let signed = |seconds| i64::try_from(seconds).unwrap_or(i64::MAX);
        signed(self.lifetime_s) - signed(self.age_s(now_ms))
    }
}

/// For how long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The freshness lifetime.
    pub lifetime_s: u64,
    /// Who says so.
    pub basis: Basis,
}

impl Lifetime {
    /// Reads it (section 4.2.1). Date is only looked at where it matters: most responses that are not stored say nothing
    /// that would need it.
    pub fn of(
        status: u16,
        directives: &ResponseDirectives,
        fields: Fields<'_>,
        received: Received,
        defaults: Defaults,
    ) -> Lifetime {
        let (lifetime_s, basis) = lifetime(status, directives, fields, received, defaults);
        Lifetime { lifetime_s, basis }
    }
}

/// Date, or when the response came.
fn date_ms(fields: Fields<'_>, received: Received) -> i64 {
    let date = fields.first(Name::Date).and_then(date::parse);
    let came = || i64::try_from(received.received_ms).unwrap_or(i64::MAX);
    date.map_or_else(came, |seconds| seconds.saturating_mul(1000))
}

/// The more careful of the two ways of section 4.2.3: a cache on the way may have left Age out.
fn corrected_initial_age_s(fields: Fields<'_>, received: Received, date_ms: i64) -> u64 {
    let Received { requested_ms, received_ms } = received;
    let date_ms = u64::try_from(date_ms).unwrap_or(0);
    let apparent_age_s = received_ms.saturating_sub(date_ms) / 1000;
    let response_delay_s = received_ms.saturating_sub(requested_ms) / 1000;
    let corrected_age_s = age_value_s(fields).saturating_add(response_delay_s);
    apparent_age_s.max(corrected_age_s).min(DELTA_SECONDS_MAX)
}

/// The Age field: of several values the first counts, and one that is no number does not (section 5.1).
fn age_value_s(fields: Fields<'_>) -> u64 {
    let first = |value: &[u8]| {
        let end = value.iter().position(|&b| b == b',').unwrap_or(value.len());
        delta_seconds(value[..end].trim_ascii())
    };
    fields.first(Name::Age).and_then(first).unwrap_or(0)
}

/// The freshness lifetime (section 4.2.1), and where it comes from.
fn lifetime(
    status: u16,
    directives: &ResponseDirectives,
    fields: Fields<'_>,
    received: Received,
    defaults: Defaults,
) -> (u64, Basis) {
    if let Some(configured) = defaults.override_ttl_s.filter(|_| matches!(status, 200..=299)) {
        return (configured.min(DELTA_SECONDS_MAX), Basis::Configured);
    }
    if let Some(stated) = directives.s_maxage.or(directives.max_age) {
        return (stated, Basis::Explicit);
    }
    if let Some(expires_in) = expires_in_s(fields, received).filter(|_| !directives.targeted) {
        return (expires_in, Basis::Explicit);
    }
    if !is_heuristically_cacheable(status) && !directives.public {
        return (0, Basis::None);
    }
    if let Some(configured) = defaults.ttl_s.filter(|_| matches!(status, 200..=299)) {
        return (configured.min(DELTA_SECONDS_MAX), Basis::Configured);
    }
    let modified = fields.first(Name::LastModified).and_then(date::parse);
    modified.map_or((0, Basis::None), |modified| {
        (heuristic_s(modified, date_ms(fields, received)), Basis::Heuristic)
    })
}

/// Expires less Date. Of several Expires lines the least counts, and what is no date has long expired
/// (section 5.3).
fn expires_in_s(fields: Fields<'_>, received: Received) -> Option<u64> {
    let lifetime = |value| {
        let date_ms = date_ms(fields, received);
        let expires_ms = date::parse(value)?.saturating_mul(1000);
        u64::try_from(expires_ms.saturating_sub(date_ms) / 1000).ok()
    };
    fields.values(Name::Expires).map(|value| lifetime(value).unwrap_or(0).min(DELTA_SECONDS_MAX)).min()
}

/// The longest lifetime that is concluded from Last-Modified: a day.
const HEURISTIC_SECONDS_MAX: u64 = 24 * 60 * 60;

/// A tenth of the time for which the response had not changed (section 4.2.2).
fn heuristic_s(modified_s: i64, date_ms: i64) -> u64 {
    let unchanged_ms = date_ms.saturating_sub(modified_s.saturating_mul(1000));
    u64::try_from(unchanged_ms / 10_000).unwrap_or(0).min(HEURISTIC_SECONDS_MAX)
}

/// Whether a status is one whose responses may be stored without being told so (RFC 9110, section 15.1;
/// RFC 7725, section 3).
pub const fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501)
}

#[cfg(test)]
#[path = "freshness_tests.rs"]
mod tests;
