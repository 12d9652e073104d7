//! Choosing an endpoint: which of those that are up a request goes to, by the policy of the upstream.
//!
//! A [`Chooser`] belongs to one core and is made anew whenever the endpoints change; a [`Ring`] is made once, on the
//! control side, and all cores share it. Neither asks a clock or draws a random number: chance comes in with the
//! request, and what endpoints have to do through a [`View`].
//!
//! ```text
//!   Chooser ── round-robin ───────── turns ── equal shares: a cursor; others: a tree of deadlines
//!           ── random ────────────── lots ─── an alias table
//!           ── power-of-two ──────── two ──── two lots, and the better of them
//!           ── least-connections ─── least ── the least of all
//!           ── consistent-hash ───── keyed ── a walk on the ring, within a bound on load
//! ```

mod keyed;
mod least;
mod lots;
pub mod ring;
mod turns;
mod two;

use std::sync::Arc;

use self::keyed::Keyed;
use self::least::Least;
use self::lots::Lots;
pub use self::ring::Ring;
use self::turns::Turns;
use self::two::Two;
use crate::config::Balance;
use crate::http::point::mix;

/// An endpoint that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its place in the roster, which is what is chosen.
    pub place: usize,
    /// What it is known by: see [`crate::upstream::Address::id`].
    pub id: u64,
    /// Its share of the requests, compared with the others'; at least 1. See [`crate::upstream::Member::share`].
    pub share: u32,
}

/// What is known of endpoints at the moment of a choice. Places are those of [`Candidate::place`].
pub trait View {
    /// Whether the endpoint may be taken now: it has room, and was not tried for this request.
    fn may_take(&self, place: usize) -> bool;
    /// Requests in flight at it, over all cores.
    fn in_flight(&self, place: usize) -> u32;
    /// Requests in flight at all endpoints of the upstream, over all cores.
    fn in_flight_at_all(&self) -> u32;
    /// How long it took to answer of late, in microseconds; 0 if that is not known. An endpoint that is slow is
    /// chosen less, so what is known of it has to fade with time, or nobody would learn that it has recovered.
    fn latency_us(&self, place: usize) -> u32;
}

/// Chooses among endpoints by a policy. Each core has its own, started apart from the others'.
#[derive(Debug)]
pub struct Chooser {
    policy: Policy,
    count: usize,
}

#[derive(Debug)]
enum Policy {
    RoundRobin(Turns),
    LeastConnections(Least),
    PowerOfTwo(Two),
    Random(Lots),
    ConsistentHash(Keyed),
}

impl Chooser {
    /// Chooses among these candidates. `ring` is that of all endpoints of the upstream, where the policy wants one.
    /// `seed` sets cores apart. `before` is what this one takes the place of, so that turns go on where they were.
    pub fn new(
        balance: &Balance,
        candidates: &[Candidate],
        ring: Option<Arc<Ring>>,
        seed: u64,
        before: Option<&Chooser>,
    ) -> Chooser {
        let before = before.map(|before| &before.policy);
        let policy = match balance {
            Balance::RoundRobin => {
                let before = before.and_then(|before| match before {
                    Policy::RoundRobin(turns) => Some(turns),
                    _ => None,
                });
                Policy::RoundRobin(Turns::new(candidates, seed, before))
            }
            Balance::LeastConnections => {
                let before = before.and_then(|before| match before {
                    Policy::LeastConnections(least) => Some(least),
                    _ => None,
                });
                Policy::LeastConnections(Least::new(candidates, seed, before))
            }
            Balance::PowerOfTwo => Policy::PowerOfTwo(Two::new(candidates)),
            Balance::Random => Policy::Random(Lots::new(candidates)),
            Balance::ConsistentHash { load_max, .. } => {
                Policy::ConsistentHash(Keyed::new(candidates, ring, *load_max))
            }
        };
        Chooser { policy, count: candidates.len() }
    }

    /// The place of the endpoint that a request goes to; none if none may be taken. `point` is the point of the
    /// request's key for consistent hashing, and a random number for the other policies.
    pub fn choose(&self, point: u64, view: &impl View) -> Option<usize> {
        match &self.policy {
            Policy::RoundRobin(turns) => turns.choose(view),
            Policy::LeastConnections(least) => least.choose(view),
            Policy::PowerOfTwo(two) => two.choose(mix(point ^ SALT), view),
            Policy::Random(lots) => lots.choose(mix(point ^ SALT), view),
            Policy::ConsistentHash(keyed) => keyed.choose(mix(point ^ SALT), view),
        }
    }

    /// Whether there is nobody to choose.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Makes points independent of what else is decided by them, such as the upstream among those of a route.
const SALT: u64 = 0x72_69_6e_67_77_61_79_35;

/// The golden ratio as a part of 2^64: its multiples are spread evenly, however many there are.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The part of `whole` that `point` is of 2^64.
fn part(whole: u64, point: u64) -> u64 {
    u64::try_from((u128::from(whole) * u128::from(point)) >> 64).unwrap_or(u64::MAX)
}

/// Where among so many a core starts.
fn start(count: usize, seed: u64) -> usize {
    usize::try_from(part(count as u64, seed.wrapping_mul(GOLDEN))).unwrap_or_default()
}

/// A number for a candidate's index that takes little room.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
