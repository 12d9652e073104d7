//! Passive health checks: an endpoint that fails requests while others do not gets none for a while.
//!
//! ```text
//!          `consecutive` failures, or too high a rate, and there is room
//!   in ───────────────────────────────────────────────────────────────▶ out
//!      ◀───────────────────────────────────────────────────────────────
//!          the time is over, or too few others are left
//! ```
//!
//! The time that an endpoint is out doubles with each time; every [`CALM`] such times that it then serves take one
//! doubling back.

use std::time::Duration;

use super::{Counts, Tally, Window};
use crate::config::Ejection;
use crate::error::Reason;

/// So many times [`Ejection::time`] without another ejection take one doubling back.
pub const CALM: u32 = 6;

/// What requests have said of an endpoint of late.
#[derive(Clone, Debug, Default)]
pub struct Outlier {
    /// Failures since the last success, on all cores.
    run: u32,
    window: Window,
    last: Option<Reason>,
    /// How often the time doubles.
    doublings: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    In { since: Duration },
    Out { until: Duration },
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::In { since: Duration::ZERO }
    }
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It failed so often in a row.
    Run(u32),
    /// It failed so much within the window.
    Rate(Counts),
}

/// What has become of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It gets no requests for that long.
    Out {
        /// How long.
        time: Duration,
        /// Why.
        cause: Cause,
        /// Why it failed last, if that is known.
        last: Option<Reason>,
    },
    /// It gets requests again.
    Back,
}

impl Outlier {
    /// Takes what a core has seen of it.
    ///
    /// All cores count one run of failures. It goes on while the endpoint is out: one that comes back and fails at once
    /// goes out again.
    pub fn take(&mut self, tally: &Tally, now: Duration, settings: &Ejection) {
        if self.is_out() {
            // Requests that began earlier end; what they say is known.
            return;
        }
        self.run = tally.run;
        if tally.seen.failed > 0 {
            self.last = tally.seen.last;
        }
        let counts = Counts { succeeded: tally.seen.succeeded.into(), failed: tally.seen.failed.into() };
        self.window.add(counts, now, settings.window);
    }

    /// Whether it gets no requests.
    pub fn is_out(&self) -> bool {
        matches!(self.phase, Phase::Out { .. })
    }

    /// When it is back, if it is out.
    pub fn until(&self) -> Option<Duration> {
        match self.phase {
            Phase::In { .. } => None,
            Phase::Out { until } => Some(until),
        }
    }

    fn cause(&mut self, now: Duration, settings: &Ejection) -> Option<Cause> {
        let counts = self.window.sum(now, settings.window);
        let by_run = settings.consecutive.is_some_and(|consecutive| self.run >= consecutive.max(1));
        let by_rate = settings.rate.is_some_and(|rate| counts.reach(rate, settings.requests_min));
        match (by_run, by_rate) {
            (true, _) => Some(Cause::Run(self.run)),
            (false, true) => Some(Cause::Rate(counts)),
            (false, false) => None,
        }
    }

    fn eject(&mut self, cause: Cause, now: Duration, settings: &Ejection) -> Turn {
        let Phase::In { since } = self.phase else { return Turn::Back };
        let calm = settings.time.saturating_mul(CALM).as_nanos().max(1);
        let taken_back = now.saturating_sub(since).as_nanos() / calm;
        self.doublings = self.doublings.saturating_sub(u32::try_from(taken_back).unwrap_or(u32::MAX));
        let times = 1u32.checked_shl(self.doublings).unwrap_or(u32::MAX);
        let wanted = settings.time.saturating_mul(times);
        let time = wanted.min(settings.time_max.max(settings.time));
        if wanted == time {
            self.doublings += 1;
        }
        self.phase = Phase::Out { until: now + time };
        self.forget();
        Turn::Out { time, cause, last: self.last }
    }

    fn return_at(&mut self, now: Duration) {
        self.phase = Phase::In { since: now };
        self.forget();
    }

    /// What put it out must not put it out again.
    fn forget(&mut self) {
        self.run = 0;
        self.window.clear();
    }
}

/// How many of so many endpoints may be out at once.
pub fn out_max(endpoints: usize, share_max: u32) -> usize {
    let share = endpoints.saturating_mul(usize::try_from(share_max).unwrap_or(usize::MAX)) / 100;
    share.max(1).min(endpoints.saturating_sub(1))
}

/// Decides about all endpoints of an upstream, each with whether it would get requests otherwise: says at which place
/// what has changed. Without settings nobody stays out.
pub fn judge(
    endpoints: &mut [(&mut Outlier, bool)],
    settings: Option<&Ejection>,
    now: Duration,
) -> Vec<(usize, Turn)> {
    let mut turns = Vec::new();
    let eligible = endpoints.iter().filter(|(_, eligible)| *eligible).count();
    let out_max = settings.map_or(0, |settings| out_max(eligible, settings.share_max));
    let mut out: Vec<(Duration, usize)> = Vec::new();
    for (place, (outlier, eligible)) in endpoints.iter_mut().enumerate() {
        match outlier.until() {
            Some(until) if until <= now || settings.is_none() => {
                outlier.return_at(now);
                turns.push((place, Turn::Back));
            }
            Some(until) if *eligible => out.push((until, place)),
            _ => {}
        }
    }
    // Others went meanwhile: those come back first that would anyway.
    out.sort_unstable();
    for &(_, place) in &out[..out.len().saturating_sub(out_max)] {
        endpoints[place].0.return_at(now);
        turns.push((place, Turn::Back));
    }
    let Some(settings) = settings else { return turns };
    let mut room = out_max.saturating_sub(out.len());
    for (place, (outlier, eligible)) in endpoints.iter_mut().enumerate() {
        if room > 0
            && *eligible
            && !outlier.is_out()
            && let Some(cause) = outlier.cause(now, settings)
        {
            turns.push((place, outlier.eject(cause, now, settings)));
            room -= 1;
        }
    }
    turns
}

#[cfg(test)]
#[path = "ejection_tests.rs"]
mod tests;
