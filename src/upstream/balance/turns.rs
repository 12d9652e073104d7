//! Turns: round robin by share.
//!
//! Over one period, which is the sum of the shares without their common factor, each endpoint is chosen as often as
//! its share says, and its turns lie about equally far apart. Every endpoint has a deadline, and the earliest is next;
//! then it is set back by an interval that is the shorter the larger the share. Where all shares are equal, an order
//! and a cursor come to the same and cost less.
//!
//! ```text
//!    share 2    ──●─────────●─────────●─────────●───▶   virtual time
//!    share 1    ───────●───────────────────●────────▶
//!    turns        a    b    a         a    b    a
//! ```
//!
//! How far an endpoint is from its next turn is known as a part of its interval. That outlives changes of shares and
//! of endpoints, so turns go on where they were however often a roster changes, and a share that grows in small steps
//! is followed exactly. An endpoint that may not be taken when its turn comes keeps it, but not more than one.

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::select_unpredictable;

use super::{Candidate, GOLDEN, View, narrow, start};

/// A whole interval.
const WHOLE: u64 = 1 << 63;

/// The interval of a share of 1, in virtual time: about 2^59, and a multiple of the small weights in thousandths, so
/// that nothing is lost in their intervals.
const LONGEST: u64 = 720_720_000 << 30;

/// Time starts anew when it has come this far: then no deadline overflows, which lie at most [`LONGEST`] ahead.
const TIME_MAX: u64 = 1 << 62;

/// Endpoints that have their turns.
#[derive(Debug)]
pub(super) struct Turns {
    places: Box<[usize]>,
    ids: Box<[u64]>,
    /// How far the next newcomer is from its first turn, as a part of 2^64.
    phase: u64,
    order: Order,
}

#[derive(Debug)]
enum Order {
    Equal(Rotation),
    ByShare(Deadlines),
}

impl Turns {
    /// Those who were in `before` keep their place in their turn; newcomers come in between.
    pub(super) fn new(candidates: &[Candidate], seed: u64, before: Option<&Turns>) -> Turns {
        let equal = candidates.windows(2).all(|pair| pair[0].share == pair[1].share);
        let known = before.map(Turns::remaining).unwrap_or_default();
        let mut phase = before.map_or(seed.wrapping_mul(GOLDEN), |before| before.phase);
        let stays = candidates.iter().any(|candidate| known.contains_key(&candidate.id));
        let mut newcomer = || {
            phase = phase.wrapping_add(GOLDEN);
            phase >> 1
        };
        let remaining = if equal && !stays {
            evenly(candidates.len(), start(candidates.len(), seed))
        } else {
            let left = |candidate: &Candidate| known.get(&candidate.id).copied();
            candidates.iter().map(|candidate| left(candidate).unwrap_or_else(&mut newcomer)).collect()
        };
        let order = if equal {
            Order::Equal(Rotation::new(&remaining))
        } else {
            Order::ByShare(Deadlines::new(candidates, &remaining))
        };
        Turns {
            places: candidates.iter().map(|candidate| candidate.place).collect(),
            ids: candidates.iter().map(|candidate| candidate.id).collect(),
            phase,
            order,
        }
    }

    /// The place of the endpoint whose turn it is, of those that may be taken.
    pub(super) fn choose(&self, view: &impl View) -> Option<usize> {
        let may_take = |index: u32| view.may_take(self.places[index as usize]);
        let index = match &self.order {
            Order::Equal(rotation) => rotation.choose(may_take),
            Order::ByShare(deadlines) => deadlines.choose(may_take),
        }?;
        Some(self.places[index as usize])
    }

    /// By id, how far each is from its next turn, in parts of [`WHOLE`].
    fn remaining(&self) -> HashMap<u64, u64> {
        let known = |(index, part): (u32, u64)| (self.ids[index as usize], part);
        match &self.order {
            Order::Equal(rotation) => rotation.remaining().map(known).collect(),
            Order::ByShare(deadlines) => deadlines.remaining().map(known).collect(),
        }
    }
}

/// For so many that begin together, how far each is from its first turn: in their order, from `start` on.
fn evenly(count: usize, start: usize) -> Vec<u64> {
    let step = WHOLE / (count as u64).max(1);
    let turn = |index: usize| ((index + count - start) % count + 1) as u64;
    (0..count).map(|index| turn(index) * step).collect()
}

/// Turns of equals.
#[derive(Debug)]
struct Rotation {
    /// Their indices, in the order of their turns.
    order: Box<[Cell<u32>]>,
    /// Whose turn is next: a place in the order.
    next: Cell<usize>,
}

impl Rotation {
    fn new(remaining: &[u64]) -> Rotation {
        let mut order: Vec<usize> = (0..remaining.len()).collect();
        order.sort_by_key(|&index| remaining[index]);
        Rotation {
            order: order.into_iter().map(|index| Cell::new(narrow(index))).collect(),
            next: Cell::new(0),
        }
    }

    /// The next one that may be taken. Those before it keep their turn: it changes places with the first of them.
    fn choose(&self, may_take: impl Fn(u32) -> bool) -> Option<u32> {
        let next = self.next.get();
        let first = self.order.get(next)?;
        if !may_take(first.get()) {
            let (before, after) = self.order.split_at(next);
            let taken = after[1..].iter().chain(before).find(|index| may_take(index.get()))?;
            first.swap(taken);
        }
        self.next.set(if next + 1 < self.order.len() { next + 1 } else { 0 });
        Some(first.get())
    }

    fn remaining(&self) -> impl Iterator<Item = (u32, u64)> {
        let parts = evenly(self.order.len(), self.next.get());
        self.order.iter().map(Cell::get).zip(parts)
    }
}

/// Turns by share.
#[derive(Debug)]
struct Deadlines {
    /// A tree in which each node has the earlier of the two below it, so that the root, at 1, has the earliest of all:
    /// those below `n` are at `2 n` and `2 n + 1`. The second half are the leaves, by index.
    tree: Box<[Cell<Due>]>,
    /// By index: from one turn to the next.
    intervals: Box<[u64]>,
    /// The latest deadline that was met.
    now: Cell<u64>,
}

/// When the next turn of an endpoint is.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: u64,
    index: u32,
}

impl Due {
    /// Later than any other, and nobody's.
    const NEVER: Due = Due { at: u64::MAX, index: u32::MAX };

    /// The earlier of two. Which it is nobody can foretell, so a branch would cost more than the comparison.
    fn or_earlier(self, other: Due) -> Due {
        let earlier = other.at < self.at;
        Due {
            at: select_unpredictable(earlier, other.at, self.at),
            index: select_unpredictable(earlier, other.index, self.index),
        }
    }
}

impl Deadlines {
    fn new(candidates: &[Candidate], remaining: &[u64]) -> Deadlines {
        let count = candidates.len();
        let interval = |candidate: &Candidate| LONGEST / u64::from(candidate.share.max(1));
        let deadlines = Deadlines {
            tree: vec![Cell::new(Due::NEVER); 2 * count].into(),
            intervals: candidates.iter().map(interval).collect(),
            now: Cell::new(0),
        };
        for (index, (&interval, &part)) in deadlines.intervals.iter().zip(remaining).enumerate() {
            let at = u128::from(interval) * u128::from(part) / u128::from(WHOLE);
            deadlines.set(Due { at: u64::try_from(at).unwrap_or(LONGEST), index: narrow(index) });
        }
        deadlines
    }

    /// The one with the earliest deadline that may be taken.
    fn choose(&self, may_take: impl Fn(u32) -> bool) -> Option<u32> {
        let mut due = self.tree.get(1)?.get();
        if !may_take(due.index) {
            let passed = due.index;
            due = Due::NEVER;
            self.search(1, passed, &may_take, &mut due);
        }
        let index = due.index;
        let interval = *self.intervals.get(index as usize)?;
        let now = self.now.get().max(due.at);
        self.now.set(now);
        // Whoever could not be taken for long has one turn to catch up on, and no more.
        self.set(Due { at: (due.at + interval).max(now), index });
        if now >= TIME_MAX {
            self.start_anew(now);
        }
        Some(index)
    }

    /// Looks from a node on for one that may be taken and is earlier than `earliest`, knowing that `passed` may not be.
    /// Whoever is found is the earliest below its node, so nodes are only opened for those that may not be taken.
    fn search(&self, node: usize, passed: u32, may_take: &impl Fn(u32) -> bool, earliest: &mut Due) {
        let due = self.tree[node].get();
        if due.at >= earliest.at {
            return;
        }
        if due.index != passed && may_take(due.index) {
            *earliest = due;
        } else if node < self.intervals.len() {
            self.search(2 * node, due.index, may_take, earliest);
            self.search(2 * node + 1, due.index, may_take, earliest);
        }
    }

    /// Sets a deadline, and whose is the earliest in all nodes above it.
    fn set(&self, due: Due) {
        let mut node = self.intervals.len() + due.index as usize;
        let mut earliest = due;
        self.tree[node].set(due);
        while node > 1 {
            earliest = earliest.or_earlier(self.tree[node ^ 1].get());
            node /= 2;
            self.tree[node].set(earliest);
        }
    }

    /// Moves all deadlines so that `now` becomes 0. That keeps their order.
    #[cold]
    fn start_anew(&self, now: u64) {
        for node in self.tree.iter().skip(1) {
            let due = node.get();
            node.set(Due { at: due.at.saturating_sub(now), ..due });
        }
        self.now.set(0);
    }

    fn remaining(&self) -> impl Iterator<Item = (u32, u64)> {
        let now = self.now.get();
        self.intervals.iter().zip(&self.tree[self.intervals.len()..]).map(move |(&interval, leaf)| {
            let due = leaf.get();
            let left = u128::from(due.at.saturating_sub(now)) * u128::from(WHOLE);
            // Rounded up, it comes to the same time again where the interval stays.
            let part = left.div_ceil(u128::from(interval));
            (due.index, u64::try_from(part).unwrap_or(WHOLE))
        })
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
