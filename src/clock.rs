//! The only place that reads a clock. Everything else is told the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(quanta::Instant);

impl Moment {
    /// The time from `earlier` to this moment, zero if it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

/// Reads the processor's time stamp counter where it is steady, the kernel's clock elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Clock(quanta::Clock);

impl Clock {
    /// The monotonic time.
    pub fn now(&self) -> Moment {
        Moment(self.0.now())
    }

    /// The wall clock.
    #[expect(clippy::disallowed_methods, reason = "this module is where clocks are read")]
    pub fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    /// The wall clock in milliseconds since 1970.
    pub fn unix_millis(&self) -> u64 {
        let since = self.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The wall clock in seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
