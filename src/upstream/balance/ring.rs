//! A ring for consistent hashing: which endpoint a key belongs to, and which come behind it.
//!
//! The ring is cut into 2^18 arcs of equal length, and the top bits of a key's point say on which it lies. Every
//! endpoint claims arcs, one after another at the pace of its weight, drawn by a sequence of its own that follows from
//! its id alone; the first to claim an arc has it.
//!
//! ```text
//!   claims of a (weight 2)   t=0.3: 5    t=0.8: 2    t=1.3: 7    t=1.8: 5  ...
//!   claims of b (weight 1)               t=0.6: 5    t=1.6: 0    t=2.6: 2  ...
//!
//!   arc     0   1   2   3   4   5   6   7
//!           b   .   a   .   .   a   .   a     and so on until each has somebody
//! ```
//!
//! When an endpoint comes, goes or changes its weight, the claims of all others stay what they were: only arcs that it
//! wins or loses change hands. There is no number of points per endpoint that would have to fit the number of
//! endpoints, and so no moment at which that number changes and everything moves. Among n equal endpoints, the number
//! of arcs of each deviates from the mean by 1/sqrt(2^19 / n): 0.4 % for ten, 1.4 % for a hundred, 4.4 % for a thousand.

use std::fmt;

use super::{GOLDEN, part};
use crate::http::point::mix;

/// How many bits of a point say on which arc it lies.
const ARC_BITS: u32 = 18;

/// Arcs of a ring.
const ARCS: usize = 1 << ARC_BITS;

/// The time from one claim to the next of an endpoint with a weight of 1.
const LONGEST: u64 = 1 << 40;

/// In each round, all endpoints together make half as many claims as there are arcs. That an arc is still nobody's
/// after so many rounds is as likely as 2^18 / e^32.
const ROUNDS_MAX: u64 = 64;

/// The place of nobody.
const NOBODY: u32 = u32::MAX;

/// Arcs that a walk passes at most.
const WALK_MAX: usize = 128;

/// Places that a walk remembers to have been at.
const SEEN_MAX: usize = 1024;

/// Places of endpoints by points of keys: 1 MiB, whatever their number. All cores share it.
pub struct Ring {
    /// Whose each arc is; empty where there are no endpoints.
    arcs: Box<[u32]>,
    count: usize,
}

/// An endpoint that claims arcs.
struct Claimant {
    id: u64,
    place: u32,
    interval: u64,
    /// When its next claim is.
    at: u64,
    /// From which its next claim follows.
    state: u64,
}

impl Ring {
    /// The ring of these endpoints: the id of each, and its weight, which is at least 1. The place of an endpoint is
    /// its place here. Takes some 30 ms, so it is not for a core that serves requests.
    pub fn new(endpoints: &[(u64, u32)]) -> Ring {
        let mut claimants: Vec<Claimant> = (0..)
            .zip(endpoints)
            .map(|(place, &(id, weight))| {
                let interval = LONGEST / u64::from(weight.max(1));
                Claimant { id, place, interval, at: part(interval, mix(id)), state: id }
            })
            .collect();
        let arcs = if claimants.is_empty() { Box::default() } else { settle(&mut claimants) };
        Ring { arcs, count: endpoints.len() }
    }

    /// How many endpoints it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The places of endpoints, in the order in which they are to be asked for a key with that point, the one that it
    /// belongs to first. Each comes once, those from the 1,024th place on perhaps again. The walk ends after 128 arcs,
    /// and so need not come to all of them.
    pub fn walk(&self, point: u64) -> Walk<'_> {
        let at = usize::try_from(point >> (u64::BITS - ARC_BITS)).unwrap_or_default();
        let left = WALK_MAX.min(self.arcs.len());
        Walk { arcs: &self.arcs, at, left, unseen: self.count, seen: [0; SEEN_MAX / 64] }
    }
}

/// The walk from an arc on: see [`Ring::walk`].
pub struct Walk<'a> {
    arcs: &'a [u32],
    at: usize,
    /// How many arcs there are still to pass.
    left: usize,
    /// How many places it has not been at.
    unseen: usize,
    /// A bit for each of the first places.
    seen: [u64; SEEN_MAX / 64],
}

impl Iterator for Walk<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.left > 0 && self.unseen > 0 {
            let place = self.arcs[self.at] as usize;
            self.left -= 1;
            self.at = (self.at + 1) % ARCS;
            let Some(seen) = self.seen.get_mut(place / 64) else {
                if place == NOBODY as usize {
                    continue;
                }
                return Some(place);
            };
            let bit = 1 << (place % 64);
            if *seen & bit == 0 {
                *seen |= bit;
                self.unseen -= 1;
                return Some(place);
            }
        }
        None
    }
}

/// Has everybody claim arcs until each is somebody's, and says whose.
fn settle(claimants: &mut [Claimant]) -> Box<[u32]> {
    let weights: u64 = claimants.iter().map(|claimant| LONGEST / claimant.interval).sum();
    let round = LONGEST * (ARCS as u64 / 2) / weights;
    let mut arcs = vec![NOBODY; ARCS];
    // When each arc was claimed, and by whose id.
    let mut claimed = vec![(u64::MAX, u64::MAX); ARCS];
    let mut free = ARCS;
    let mut rounds = 0;
    while free > 0 && rounds < ROUNDS_MAX {
        rounds += 1;
        for claimant in claimants.iter_mut() {
            while claimant.at < rounds * round {
                claimant.state = claimant.state.wrapping_add(GOLDEN);
                let arc = usize::try_from(mix(claimant.state) >> (u64::BITS - ARC_BITS)).unwrap_or_default();
                if (claimant.at, claimant.id) < claimed[arc] {
                    free -= usize::from(arcs[arc] == NOBODY);
                    claimed[arc] = (claimant.at, claimant.id);
                    arcs[arc] = claimant.place;
                }
                claimant.at += claimant.interval;
            }
        }
    }
    arcs.into()
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
