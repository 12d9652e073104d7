//! What succeeded and what failed of late.

use std::time::Duration;

/// Parts of a window: what leaves it leaves by such parts.
const SLOTS: usize = 10;

/// Requests, by how they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
}

/// The counts of the last span of time, up to a tenth of it less.
#[derive(Clone, Debug, Default)]
pub struct Window {
    slots: [Counts; SLOTS],
    /// How long a slot lasts. Another span is another window.
    width: Duration,
    /// The number of the slot that is filled now, counted from the start of time.
    newest: u128,
}

impl Counts {
    /// All of them.
    pub fn requests(self) -> u64 {
        self.succeeded.saturating_add(self.failed)
    }

    /// How many failed in percent, rounded down; 0 where there is none.
    pub fn percent_failed(self) -> u64 {
        self.failed.saturating_mul(100).checked_div(self.requests()).unwrap_or_default()
    }

    /// Whether there are so many requests that their rate of failures means something, and it is at least that many
    /// percent.
    pub fn reach(self, rate: u32, requests_min: u32) -> bool {
        self.requests() >= u64::from(requests_min.max(1))
            && self.failed.saturating_mul(100) >= self.requests().saturating_mul(u64::from(rate.max(1)))
    }
}

impl Window {
    /// Counts some more at the time `now`.
    pub fn add(&mut self, more: Counts, now: Duration, span: Duration) {
        self.advance(now, span);
        let slot = &mut self.slots[place(self.newest)];
        slot.succeeded = slot.succeeded.saturating_add(more.succeeded);
        slot.failed = slot.failed.saturating_add(more.failed);
    }

    /// What was counted within the span up to `now`.
    pub fn sum(&mut self, now: Duration, span: Duration) -> Counts {
        self.advance(now, span);
        self.slots.iter().fold(Counts::default(), |sum, slot| Counts {
            succeeded: sum.succeeded.saturating_add(slot.succeeded),
            failed: sum.failed.saturating_add(slot.failed),
        })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots = Default::default();
    }

    /// Forgets what is older than the span.
    fn advance(&mut self, now: Duration, span: Duration) {
        let width = (span / 10).max(Duration::from_nanos(1));
        let number = now.as_nanos() / width.as_nanos();
        if width != self.width {
            self.clear();
            (self.width, self.newest) = (width, number);
        }
        let steps = number.saturating_sub(self.newest).min(SLOTS as u128);
        for step in 0..steps {
            self.slots[place(number - step)] = Counts::default();
        }
        self.newest = self.newest.max(number);
    }
}

/// Where the slot of that number lies.
fn place(number: u128) -> usize {
    usize::try_from(number % SLOTS as u128).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: Duration = Duration::from_secs(10);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn counts(succeeded: u64, failed: u64) -> Counts {
        Counts { succeeded, failed }
    }

    #[test]
    fn what_is_older_than_the_span_is_forgotten() {
        let mut window = Window::default();
        window.add(counts(1, 2), ms(500), SPAN);
        window.add(counts(3, 0), ms(5_000), SPAN);
        assert_eq!(window.sum(ms(9_999), SPAN), counts(4, 2));
        assert_eq!(window.sum(ms(10_000), SPAN), counts(3, 0));
        assert_eq!(window.sum(ms(15_000), SPAN), counts(0, 0));
        window.add(counts(7, 0), ms(1_000_000), SPAN);
        assert_eq!(window.sum(ms(1_000_001), SPAN), counts(7, 0));
        window.clear();
        assert_eq!(window.sum(ms(1_000_001), SPAN), counts(0, 0));
    }

    #[test]
    fn another_span_begins_anew() {
        let mut window = Window::default();
        window.add(counts(1, 1), ms(100), SPAN);
        assert_eq!(window.sum(ms(100), Duration::from_secs(1)), counts(0, 0));
        assert_eq!(window.sum(ms(100), Duration::ZERO), counts(0, 0));
    }

    #[test]
    fn a_table_of_rates() {
        for (counted, rate, requests_min, reached) in [
            (counts(10, 10), 50, 20, true),
            (counts(11, 10), 50, 20, false),
            (counts(0, 19), 50, 20, false),
            (counts(0, 0), 1, 1, false),
            (counts(0, 0), 0, 0, false),
            (counts(99, 1), 1, 1, true),
            (counts(0, 5), 100, 5, true),
            (counts(1, 500), 100, 5, false),
        ] {
            assert_eq!(counted.reach(rate, requests_min), reached, "{counted:?} {rate} {requests_min}");
        }
        assert_eq!((counts(16, 24).percent_failed(), counts(0, 0).percent_failed()), (60, 0));
    }

    proptest! {
        #[test]
        fn a_window_holds_what_came_within_its_span(
            steps in prop::collection::vec((0u64..5_000, 0u64..5, 0u64..5), 1..60),
        ) {
            let mut window = Window::default();
            let mut now = 0;
            let mut all = Vec::new();
            for (step, succeeded, failed) in steps {
                now += step;
                window.add(counts(succeeded, failed), ms(now), SPAN);
                all.push((now, succeeded + failed));
                let within = |age: u64| -> u64 {
                    all.iter().filter(|(at, _)| now - at < age).map(|(_, count)| count).sum()
                };
                let sum = window.sum(ms(now), SPAN).requests();
                prop_assert!(within(9_000) <= sum && sum <= within(10_000));
            }
        }
    }
}
