//! How many requests may be sent again: a share of all, so that an upstream that fails is not stormed.

use std::cell::Cell;

/// Ticks over which requests and retries are compared: ten seconds, in two halves of which the older one goes at once.
const HALF_TICKS: u32 = 50;

/// So many retries are allowed in a window on all cores together, at least one on each, however few requests there are:
/// where there is one request a second, a fifth of them is none.
const ALWAYS: usize = 10;

/// The budget of an upstream on one core.
#[derive(Debug)]
pub struct Budget {
    percent: u32,
    /// Retries that are always allowed.
    always: u32,
    /// The half that counts now: its tick, in halves.
    half: Cell<u32>,
    now: Cell<Counts>,
    before: Cell<Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u32,
    retries: u32,
}

impl Budget {
    /// So many percent of the requests, on one of so many cores.
    pub fn new(percent: u32, cores: usize) -> Budget {
        let always = u32::try_from(ALWAYS.div_ceil(cores.max(1))).unwrap_or(1);
        Budget { percent, always, half: Cell::new(0), now: Cell::default(), before: Cell::default() }
    }

    /// Counts a request at the tick `now`.
    pub fn request(&self, now: u32) {
        self.turn(now);
        let counts = self.now.get();
        self.now.set(Counts { requests: counts.requests.saturating_add(1), ..counts });
    }

    /// Takes a retry out of the budget at the tick `now`, if there is one left.
    pub fn take(&self, now: u32) -> bool {
        self.turn(now);
        let (counts, before) = (self.now.get(), self.before.get());
        let requests = u64::from(counts.requests) + u64::from(before.requests);
        let retries = u64::from(counts.retries) + u64::from(before.retries);
        let allowed = u64::from(self.always) + requests * u64::from(self.percent) / 100;
        let takes = retries < allowed && self.percent > 0;
        if takes {
            self.now.set(Counts { retries: counts.retries.saturating_add(1), ..counts });
        }
        takes
    }

    /// Begins another half, if it is time.
    fn turn(&self, now: u32) {
        let half = now / HALF_TICKS;
        let passed = half.saturating_sub(self.half.get());
        if passed == 0 {
            return;
        }
        self.half.set(half);
        let last = self.now.take();
        self.before.set(if passed == 1 { last } else { Counts::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_and_a_few_may_be_sent_again() {
        let budget = Budget::new(20, 1);
        assert_eq!((0..100).filter(|_| budget.take(0)).count(), 10, "the few");
        (0..1000).for_each(|_| budget.request(1));
        assert_eq!((0..1000).filter(|_| budget.take(2)).count(), 200);
        assert!(!budget.take(60), "it is remembered through the next half");
        assert_eq!((0..100).filter(|_| budget.take(140)).count(), 10, "and forgotten after that");
    }

    #[test]
    fn without_a_budget_nothing_is_sent_again() {
        let budget = Budget::new(0, 1);
        budget.request(0);
        assert!(!budget.take(0));
    }

    #[test]
    fn an_upstream_that_fails_everything_gets_little_more_than_it_is_asked() {
        // A hundred requests a second for a minute, each of which wants to be sent again twice.
        let budget = Budget::new(20, 1);
        let mut retries = 0;
        for request in 0..6000 {
            let now = request / 10;
            budget.request(now);
            retries += (0..2).filter(|_| budget.take(now)).count();
        }
        assert!((1200..=1300).contains(&retries), "{retries}");
    }
}
