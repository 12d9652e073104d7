//! The circuit breaker of an upstream.
//!
//! ```text
//!            too much fails                 the time is over
//!   closed ─────────────────▶ open ◀─────────────────────────▶ half open ──▶ closed
//!                                     a trial fails                all trials succeed
//! ```
//!
//! The cores count trials down where all of them see it; what is decided here is how many there are. A trial whose
//! client left is never reported, so trials are handed out anew after a while.

use std::time::Duration;

use super::{Counts, Window};
use crate::config::Breaker;
use crate::upstream::BreakerState;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct CircuitBreaker {
    window: Window,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        succeeded: u32,
        renewed: Duration,
    },
}

/// What has become of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is open: so much failed.
    Opened(Counts),
    /// It is open again: a trial failed.
    OpenedAgain,
    /// It is half open: so many requests may pass.
    HalfOpened(u32),
    /// It is half open still: so many more requests may pass.
    Renewed(u32),
    /// It is closed: all trials succeeded.
    Closed,
}

impl CircuitBreaker {
    /// Whether it lets requests pass.
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Takes what became of requests at all endpoints, and of the trials among them. Requests that began before it opened
    /// end later, so that while it is half open only the trials count.
    pub fn take(
        &mut self,
        counts: Counts,
        trials: Counts,
        now: Duration,
        settings: &Breaker,
    ) -> Option<Turn> {
        match &mut self.state {
            State::Closed => {
                self.window.add(counts, now, settings.window);
                let counted = self.window.sum(now, settings.window);
                let opens = counts.failed > 0 && counted.reach(settings.rate, settings.requests_min);
                opens.then(|| {
                    self.open(now, settings);
                    Turn::Opened(counted)
                })
            }
            // Requests that began earlier end; what they say is known.
            State::Open { .. } => None,
            State::HalfOpen { .. } if trials.failed > 0 => {
                self.open(now, settings);
                Some(Turn::OpenedAgain)
            }
            State::HalfOpen { succeeded, .. } => {
                *succeeded = succeeded.saturating_add(u32::try_from(trials.succeeded).unwrap_or(u32::MAX));
                (*succeeded >= settings.trials).then(|| {
                    self.state = State::Closed;
                    Turn::Closed
                })
            }
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Duration, settings: &Breaker) -> Option<Turn> {
        match &mut self.state {
            State::Open { until } if *until <= now => {
                self.state = State::HalfOpen { succeeded: 0, renewed: now };
                Some(Turn::HalfOpened(settings.trials))
            }
            State::HalfOpen { succeeded, renewed } if *renewed + settings.time <= now => {
                *renewed = now;
                Some(Turn::Renewed(settings.trials.saturating_sub(*succeeded).max(1)))
            }
            _ => None,
        }
    }

    /// When [`Self::tick`] has something to do; none if nothing by time alone.
    pub fn due(&self, settings: &Breaker) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { until } => Some(until),
            State::HalfOpen { renewed, .. } => Some(renewed + settings.time),
        }
    }

    fn open(&mut self, now: Duration, settings: &Breaker) {
        // What it was opened for must not open it again.
        self.window.clear();
        self.state = State::Open { until: now + settings.time };
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
