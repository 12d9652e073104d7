//! How an endpoint does, as one core sees it.

use std::cell::Cell;

use super::tally::Seen;
use crate::error::Reason;

/// A failure weighs like an answer that took so long, in microseconds: whoever fails fast must not look fast.
const FAILURE_LATENCY_US: u32 = 1_000_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Score {
    requests: Cell<u64>,
    failures: Cell<u64>,
    /// What was seen since it was told last.
    seen: Cell<Seen>,
    last: Cell<Option<(u32, Option<Reason>)>>,
    latency_us: Cell<u32>,
    /// Whether it has answered since the latency faded last.
    measured: Cell<bool>,
}

impl Score {
    /// It has answered a request, with that status.
    pub fn succeeded(&self, status: u16) {
        self.requests.set(self.requests.get() + 1);
        let seen = self.seen.get();
        let errors = seen.errors.saturating_add((status >= 500).into());
        self.seen.set(Seen { succeeded: seen.succeeded.saturating_add(1), errors, ..seen });
        self.last.set(None);
    }

    /// It has taken a connection. Whether it answers on it is another question.
    pub fn reached(&self) {
        self.last.set(None);
    }

    /// It has failed a request at the tick `now`, for that reason or, without one, by its status.
    pub fn failed(&self, reason: Option<Reason>, now: u32) {
        self.requests.set(self.requests.get() + 1);
        self.failures.set(self.failures.get() + 1);
        let seen = self.seen.get();
        self.seen.set(Seen { failed: seen.failed.saturating_add(1), last: reason, ..seen });
        self.last.set(Some((now, reason)));
        self.measure(FAILURE_LATENCY_US);
    }

    /// That request was one that a half open circuit breaker let through, to see how it goes.
    pub fn tried(&self, succeeded: bool) {
        let seen = self.seen.get();
        let (well, ill) = (seen.trials_succeeded, seen.trials_failed);
        self.seen.set(match succeeded {
            true => Seen { trials_succeeded: well.saturating_add(1), ..seen },
            false => Seen { trials_failed: ill.saturating_add(1), ..seen },
        });
    }

    /// Its answer took so long, in microseconds. Slowness shows at once, and is forgotten little by little.
    pub fn measure(&self, latency_us: u32) {
        let (known, new) = (self.latency_us.get(), latency_us.max(1));
        let next = match known {
            0 => new,
            known if new > known => known + (new - known).div_ceil(2),
            known => known - (known - new) / 8,
        };
        self.latency_us.set(next);
        self.measured.set(true);
    }

    /// How long it took to answer of late, in microseconds; 0 if that is not known.
    pub fn latency_us(&self) -> u32 {
        self.latency_us.get()
    }

    /// An endpoint that is not asked is not for ever as slow as it was. To be called about once a second.
    pub fn fade(&self) {
        if !self.measured.replace(false) {
            self.latency_us.set(self.latency_us.get() / 4 * 3);
        }
    }

    /// Requests that went to it, answered or not.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Requests that it failed.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// The tick of its last failure and why it failed, unless it has answered since.
    pub fn last_failure(&self) -> Option<(u32, Reason)> {
        self.last.get().and_then(|(tick, reason)| Some((tick, reason?)))
    }

    /// What was seen since the last time, if it is worth telling: failures, and anything where `all` is wanted. What is
    /// not worth telling is forgotten: told with a later failure, it would seem to be as new.
    pub fn tell(&self, all: bool) -> Option<Seen> {
        let seen = self.seen.take();
        let worth = seen.failed > 0 || (all && seen != Seen::default());
        worth.then_some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_and_successes_where_somebody_wants_to_hear_of_them() {
        let score = Score::default();
        score.succeeded(200);
        assert_eq!(score.tell(false), None);
        score.failed(Some(Reason::UpstreamRefused), 7);
        assert_eq!(score.last_failure(), Some((7, Reason::UpstreamRefused)));
        score.failed(None, 8);
        assert_eq!(score.last_failure(), None, "by its status");
        assert_eq!(score.tell(false), Some(Seen { failed: 2, ..Seen::default() }));
        assert_eq!(score.tell(true), None);
        score.succeeded(503);
        score.tried(false);
        score.succeeded(404);
        score.tried(true);
        let want = Seen { succeeded: 2, errors: 1, trials_succeeded: 1, trials_failed: 1, ..Seen::default() };
        assert_eq!(score.tell(true), Some(want));
        score.failed(Some(Reason::UpstreamReset), 9);
        score.reached();
        assert_eq!((score.requests(), score.failures(), score.last_failure()), (6, 3, None));
    }

    #[test]
    fn slowness_shows_at_once_and_fades() {
        let score = Score::default();
        score.measure(1000);
        assert_eq!(score.latency_us(), 1000);
        score.measure(101_000);
        assert_eq!(score.latency_us(), 51_000);
        (0..100).for_each(|_| score.measure(1000));
        assert!(score.latency_us() < 1100);
        score.failed(None, 0);
        let bad = score.latency_us();
        assert!(bad > 500_000);
        score.fade();
        assert_eq!(score.latency_us(), bad, "it was asked since");
        (0..40).for_each(|_| score.fade());
        assert!(score.latency_us() < 10);
    }
}
