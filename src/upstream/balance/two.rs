//! The better of two: little to compare, and yet nearly as even as comparing all.
//!
//! What an endpoint has to do is counted in time: the requests in flight for its share, and the one that comes, times
//! what an answer took of late. Both are drawn by share, and so for equal loads the first one drawn wins.

use super::lots::Lots;
use super::{Candidate, GOLDEN, View};
use crate::http::point::mix;

/// Endpoints of which two are drawn.
#[derive(Debug)]
pub(super) struct Two {
    lots: Lots,
    /// The mean of the shares.
    share_mean: u32,
}

impl Two {
    pub(super) fn new(candidates: &[Candidate]) -> Two {
        let sum: u64 = candidates.iter().map(|candidate| u64::from(candidate.share)).sum();
        let mean = sum / (candidates.len() as u64).max(1);
        Two { lots: Lots::new(candidates), share_mean: u32::try_from(mean).unwrap_or(u32::MAX) }
    }

    /// The place of the better of two that may be taken, or of the only one.
    pub(super) fn choose(&self, point: u64, view: &impl View) -> Option<usize> {
        let may_take = |index: usize| view.may_take(self.lots.candidate(index).place);
        let one = self.lots.draw(point, may_take)?;
        let other_point = mix(point ^ GOLDEN);
        let other = self.lots.draw(other_point, |index| index != one && may_take(index));
        let one = self.lots.candidate(one);
        let other = other.map(|other| self.lots.candidate(other));
        let better = other.filter(|other| self.is_better(other, one, view)).unwrap_or(one);
        Some(better.place)
    }

    /// Whether one has less to do than another.
    fn is_better(&self, one: &Candidate, other: &Candidate, view: &impl View) -> bool {
        let latencies = (view.latency_us(one.place), view.latency_us(other.place));
        // Of which nothing is known is taken to be as fast as the other: it gets requests like anybody, and if it
        // does not answer them, they pile up and tell.
        let (latency, other_latency) = if latencies.0 == 0 || latencies.1 == 0 { (1, 1) } else { latencies };
        let cost = self.requests(one, view) * u128::from(latency) * u128::from(other.share);
        let other_cost = self.requests(other, view) * u128::from(other_latency) * u128::from(one.share);
        cost < other_cost
    }

    /// The requests of an endpoint and the one that comes, times its share: for a share that is the mean, each counts
    /// as one.
    fn requests(&self, candidate: &Candidate, view: &impl View) -> u128 {
        let in_flight = u64::from(view.in_flight(candidate.place)) * u64::from(self.share_mean);
        u128::from(in_flight) + u128::from(candidate.share)
    }
}

#[cfg(test)]
#[path = "two_tests.rs"]
mod tests;
