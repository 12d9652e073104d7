//! Rates: how many requests go in how much time, and how many at once (GCRA, the generic cell rate algorithm).
//!
//! All that is kept of somebody is one number: the *theoretical arrival time* (TAT), at which the next request would
//! come if every one had come exactly at the rate. A request moves it on by one interval; it goes at once unless the
//! time then lies further ahead than a burst reaches, it waits as long as it lies further ahead, and it is refused
//! where that is longer than anybody may wait.
//!
//! ```text
//!   now                      TAT      + interval
//!    |────────────────────────|───────────|
//!    |◀────────────── ahead ─────────────▶|
//!    |◀───────── span ────────▶|◀── wait ─▶|      span = burst × interval
//! ```
//!
//! Times are nanoseconds since some beginning that never changes, and come in as arguments.

mod table;

use std::time::Duration;

pub use self::table::{Keying, Table};

/// A rate, its burst and how long requests may be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Nanoseconds from one request to the next.
    interval: u64,
    /// So far ahead a request that goes at once may move the time.
    span: u64,
    /// So far beyond that one that waits.
    delay: u64,
}

/// Neither a burst nor a delay reaches further than this: 73 years, so that sums of three have room in 64 bits.
const SPAN_MAX: u64 = 1 << 61;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The time that stands in the table afterwards, if the request is taken.
    pub next: u64,
    /// How far that lies ahead of now.
    pub ahead: u64,
    /// How long it waits; and if it is refused, after how long it would go at once.
    pub wait: u64,
    /// Whether it is taken.
    pub taken: bool,
}

impl Limit {
    /// `count` requests in a time of `per`, `burst` at once; beyond, they wait up to `delay`. None and nothing count as
    /// one; the time between two requests is rounded up to whole nanoseconds, so that there are never more than said.
    pub fn new(count: u32, per: Duration, burst: u32, delay: Duration) -> Limit {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(SPAN_MAX);
        let interval = nanos(per).div_ceil(u64::from(count.max(1))).max(1);
        let span = interval.saturating_mul(u64::from(burst.max(1))).min(SPAN_MAX);
        Limit { interval, span, delay: nanos(delay) }
    }

    /// The same, where at most so many wait.
    #[must_use]
    pub fn with_waiting(self, most: u32) -> Limit {
        Limit { delay: self.delay.min(self.interval.saturating_mul(u64::from(most))), ..self }
    }

    /// Whether requests may wait.
    pub fn delays(&self) -> bool {
        self.delay > 0
    }

    /// What becomes of a request that comes now, where the time is `tat`.
    pub fn step(&self, tat: u64, now: u64) -> Step {
        let next = tat.max(now).saturating_add(self.interval);
        let ahead = next - now;
        let wait = ahead.saturating_sub(self.span);
        Step { next, ahead, wait, taken: wait <= self.delay }
    }

    /// How many requests would go at once, where the time lies `ahead` of now.
    pub fn left(&self, ahead: u64) -> u64 {
        self.span.saturating_sub(ahead) / self.interval
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
