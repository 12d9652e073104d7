//! The endpoint that a key belongs to, within a bound on load.
//!
//! A key goes to the first on its walk of the ring that is a candidate, may be taken and has room below the bound
//! ("Consistent Hashing with Bounded Loads", Mirrokni, Thorup and Zadimoghaddam). Where few members of a large roster
//! are candidates, a walk may come to none of them; then each candidate draws a number for the key, and the highest
//! wins, which also takes keys from nobody but those that go.

use std::sync::Arc;

use super::{Candidate, Ring, View};
use crate::http::point::mix;

/// Endpoints that are found by the key of a request.
#[derive(Debug)]
pub(super) struct Keyed {
    ring: Option<Arc<Ring>>,
    candidates: Box<[Candidate]>,
    /// By place: the share of the candidate there; 0 where there is none.
    shares: Box<[u32]>,
    share_sum: u64,
    load_max: Option<u32>,
}

impl Keyed {
    /// `load_max` is in percent of the fair part.
    pub(super) fn new(candidates: &[Candidate], ring: Option<Arc<Ring>>, load_max: Option<u32>) -> Keyed {
        let places = candidates.iter().map(|candidate| candidate.place + 1).max().unwrap_or_default();
        let mut shares = vec![0; places];
        for candidate in candidates {
            shares[candidate.place] = candidate.share;
        }
        Keyed {
            ring,
            candidates: candidates.into(),
            shares: shares.into(),
            share_sum: candidates.iter().map(|candidate| u64::from(candidate.share)).sum(),
            load_max,
        }
    }

    /// The place of the endpoint for a key with that point. If all are over the bound, it is the one that is over it
    /// the least.
    pub(super) fn choose(&self, point: u64, view: &impl View) -> Option<usize> {
        let has_room = self.room(view);
        let fits = |&place: &usize| {
            let share = self.shares.get(place).copied().unwrap_or_default();
            share > 0 && view.may_take(place) && has_room(place, share)
        };
        let found = self.ring.as_ref().and_then(|ring| ring.walk(point).find(fits));
        found.or_else(|| self.among_all(point, view, has_room))
    }

    /// Whether an endpoint with that share may have one more: with it, it has at most its part of all requests in
    /// flight, times the bound, rounded up. That is at least one.
    fn room(&self, view: &impl View) -> impl Fn(usize, u32) -> bool {
        let bound =
            self.load_max.map(|percent| u128::from(percent) * (u128::from(view.in_flight_at_all()) + 1));
        // x + 1 <= ceil(y) where x < y.
        move |place, share| {
            bound.is_none_or(|bound| {
                u128::from(view.in_flight(place)) * 100 * u128::from(self.share_sum)
                    < bound * u128::from(share)
            })
        }
    }

    #[cold]
    fn among_all(
        &self,
        point: u64,
        view: &impl View,
        has_room: impl Fn(usize, u32) -> bool,
    ) -> Option<usize> {
        let takeable = || self.candidates.iter().filter(|candidate| view.may_take(candidate.place));
        let with_room = takeable().filter(|candidate| has_room(candidate.place, candidate.share));
        let highest = with_room.max_by(|one, other| drawn(point, one).total_cmp(&drawn(point, other)));
        let least = || {
            let load = |candidate: &Candidate| u64::from(view.in_flight(candidate.place)) + 1;
            takeable().min_by(|one, other| {
                let loads = (load(one) * u64::from(other.share)).cmp(&(load(other) * u64::from(one.share)));
                loads.then_with(|| drawn(point, other).total_cmp(&drawn(point, one)))
            })
        };
        highest.or_else(least).map(|candidate| candidate.place)
    }
}

/// What a candidate draws for a key: of several, each has the highest as often as its share says.
fn drawn(point: u64, candidate: &Candidate) -> f64 {
    // A number above 0 and below 1, of 53 bits.
    let chance = ((mix(point ^ mix(candidate.id)) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    f64::from(candidate.share) / -chance.ln()
}

#[cfg(test)]
#[path = "keyed_tests.rs"]
mod tests;
