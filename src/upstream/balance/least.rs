//! The endpoint that has the least to do.

use std::cell::Cell;

use super::{Candidate, View, start};

/// Endpoints that are compared, all of them.
#[derive(Debug)]
pub(super) struct Least {
    candidates: Box<[Candidate]>,
    share_max: u32,
    /// Who comes first among those that have equally little to do.
    next: Cell<usize>,
}

impl Least {
    /// Among equals, it goes on behind the one that `before` has chosen last.
    pub(super) fn new(candidates: &[Candidate], seed: u64, before: Option<&Least>) -> Least {
        let goes_on = before.and_then(|before| {
            let (behind, ahead) = before.candidates.split_at(before.next.get());
            let at = |id| candidates.iter().position(|candidate| candidate.id == id);
            ahead.iter().chain(behind).find_map(|candidate| at(candidate.id))
        });
        Least {
            candidates: candidates.into(),
            share_max: candidates.iter().map(|candidate| candidate.share).max().unwrap_or(1),
            next: Cell::new(goes_on.unwrap_or_else(|| start(candidates.len(), seed))),
        }
    }

    /// The place of the one that will have the fewest requests for its share when it gets one more.
    pub(super) fn choose(&self, view: &impl View) -> Option<usize> {
        let mut best: Option<(usize, u64, u64)> = None;
        let next = self.next.get();
        for index in (next..self.candidates.len()).chain(0..next) {
            let candidate = &self.candidates[index];
            if !view.may_take(candidate.place) {
                continue;
            }
            let requests = u64::from(view.in_flight(candidate.place)) + 1;
            let share = u64::from(candidate.share);
            if best.is_none_or(|(_, least, of)| requests * of < least * share) {
                best = Some((index, requests, share));
            }
            if requests == 1 && candidate.share == self.share_max {
                break;
            }
        }
        let (index, ..) = best?;
        self.next.set(if index + 1 < self.candidates.len() { index + 1 } else { 0 });
        Some(self.candidates[index].place)
    }
}

#[cfg(test)]
#[path = "least_tests.rs"]
mod tests;
