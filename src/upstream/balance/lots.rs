//! Lots: an endpoint drawn by share.
//!
//! Where shares differ, an alias table makes a draw as cheap as among equals: it has as many columns as there are
//! endpoints, all equally likely, and each column belongs to one endpoint up to a mark and to another above it.

use super::{Candidate, View, part};
use crate::http::point::mix;

/// How often a draw is repeated that fell on an endpoint which cannot be had, before all are looked at.
const DRAWS_MAX: usize = 8;

/// Endpoints that are drawn by share.
#[derive(Debug)]
pub(super) struct Lots {
    candidates: Box<[Candidate]>,
    /// A column for each; none where shares are equal.
    columns: Box<[Column]>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// The part of 2^64 that is the column's own endpoint's.
    mark: u64,
    /// Whose the rest is.
    alias: usize,
}

impl Lots {
    pub(super) fn new(candidates: &[Candidate]) -> Lots {
        let equal = candidates.windows(2).all(|pair| pair[0].share == pair[1].share);
        let columns = if equal { Box::default() } else { columns(candidates) };
        Lots { candidates: candidates.into(), columns }
    }

    /// The candidate of that index.
    pub(super) fn candidate(&self, index: usize) -> &Candidate {
        &self.candidates[index]
    }

    /// The place of one that may be taken.
    pub(super) fn choose(&self, point: u64, view: &impl View) -> Option<usize> {
        let index = self.draw(point, |index| view.may_take(self.candidates[index].place))?;
        Some(self.candidates[index].place)
    }

    /// The index of one that is accepted, as likely as its share is of the shares of all that are.
    pub(super) fn draw(&self, point: u64, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        let mut point = point;
        for _ in 0..DRAWS_MAX.min(self.candidates.len()) {
            let index = self.draw_any(point);
            if accepts(index) {
                return Some(index);
            }
            point = mix(point.wrapping_add(super::GOLDEN));
        }
        self.draw_among(point, accepts)
    }

    /// The index of any one; there has to be one.
    fn draw_any(&self, point: u64) -> usize {
        let product = u128::from(point) * self.candidates.len() as u128;
        let index = usize::try_from(product >> 64).unwrap_or_default();
        let Some(column) = self.columns.get(index) else { return index };
        let within = u64::try_from(product & u128::from(u64::MAX)).unwrap_or_default();
        if within < column.mark { index } else { column.alias }
    }

    /// Looks at all of them.
    #[cold]
    fn draw_among(&self, point: u64, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        let accepted = || (0..self.candidates.len()).filter(|&index| accepts(index));
        let sum = accepted().map(|index| u64::from(self.candidates[index].share)).sum();
        let mut left = part(sum, point);
        // What is accepted may change meanwhile, by what other cores do: then it is the last.
        let mut last = None;
        for index in accepted() {
            let share = self.candidates[index].share.into();
            last = Some(index);
            if left < share {
                break;
            }
            left -= share;
        }
        last
    }
}

/// The alias table: columns that are not full are filled up from those that have more than fits (Vose's method).
fn columns(candidates: &[Candidate]) -> Box<[Column]> {
    let count = candidates.len() as u64;
    let sum: u64 = candidates.iter().map(|candidate| u64::from(candidate.share)).sum();
    // A column holds `sum`: then all together hold every share as often as there are columns.
    let mut held: Vec<u64> = candidates.iter().map(|candidate| u64::from(candidate.share) * count).collect();
    let (mut short, mut full): (Vec<usize>, Vec<usize>) =
        (0..held.len()).partition(|&index| held[index] < sum);
    let mut columns: Vec<Column> =
        (0..held.len()).map(|index| Column { mark: u64::MAX, alias: index }).collect();
    while let (Some(low), Some(&high)) = (short.pop(), full.last()) {
        let mark = (u128::from(held[low]) << 64) / u128::from(sum);
        columns[low] = Column { mark: u64::try_from(mark).unwrap_or(u64::MAX), alias: high };
        held[high] -= sum - held[low];
        if held[high] < sum {
            full.pop();
            short.push(high);
        }
    }
    columns.into()
}

#[cfg(test)]
#[path = "lots_tests.rs"]
mod tests;
