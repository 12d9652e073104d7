//! Tests of what holds for every policy, and what the tests of all of them use.

use std::cell::Cell;

use super::*;
use crate::config::HashBy;
use proptest::prelude::*;

/// What is known of endpoints, as a test wants it.
#[derive(Clone, Debug)]
pub(super) struct Loads {
    pub(super) in_flight: Vec<Cell<u32>>,
    pub(super) latency_us: Vec<Cell<u32>>,
    pub(super) closed: Vec<Cell<bool>>,
}

impl Loads {
    /// So many endpoints that have nothing to do.
    pub(super) fn none(count: usize) -> Loads {
        Loads {
            in_flight: vec![Cell::new(0); count],
            latency_us: vec![Cell::new(0); count],
            closed: vec![Cell::new(false); count],
        }
    }

    pub(super) fn add(&self, place: usize) {
        self.in_flight[place].set(self.in_flight[place].get() + 1);
    }

    pub(super) fn remove(&self, place: usize) {
        self.in_flight[place].set(self.in_flight[place].get() - 1);
    }

    pub(super) fn close(&self, places: &[usize]) {
        places.iter().for_each(|&place| self.closed[place].set(true));
    }

    pub(super) fn open(&self, places: &[usize]) {
        places.iter().for_each(|&place| self.closed[place].set(false));
    }
}

impl View for Loads {
    fn may_take(&self, place: usize) -> bool {
        !self.closed[place].get()
    }

    fn in_flight(&self, place: usize) -> u32 {
        self.in_flight[place].get()
    }

    fn in_flight_at_all(&self) -> u32 {
        self.in_flight.iter().map(Cell::get).sum()
    }

    fn latency_us(&self, place: usize) -> u32 {
        self.latency_us[place].get()
    }
}

/// The id of the endpoint at a place.
pub(super) fn id(place: usize) -> u64 {
    mix(place as u64 + 1)
}

/// Candidates with these shares, at the first places.
pub(super) fn candidates(shares: &[u32]) -> Vec<Candidate> {
    shares.iter().enumerate().map(|(place, &share)| Candidate { place, id: id(place), share }).collect()
}

/// Points by chance, the same each time.
pub(super) fn points(count: usize) -> impl Iterator<Item = u64> {
    (0..count as u64).map(|number| mix(mix(number).wrapping_add(0x1234_5678)))
}

/// How often each of so many places occurs.
pub(super) fn counts(count: usize, places: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut counts = vec![0; count];
    places.into_iter().for_each(|place| counts[place] += 1);
    counts
}

/// Fails if counts deviate from what was expected, which is in any unit, by more than chance brings about once in ten
/// thousand times (Pearson's chi-square, its quantile by Wilson and Hilferty).
pub(super) fn assert_fits(counts: &[usize], expected: &[f64]) {
    let total = counts.iter().sum::<usize>() as f64;
    let unit = total / expected.iter().sum::<f64>();
    let mut statistic = 0.0;
    for (&count, &expected) in counts.iter().zip(expected) {
        if expected == 0.0 {
            assert_eq!(count, 0);
            continue;
        }
        assert!(expected * unit >= 5.0, "too few for the test to mean anything");
        statistic += (count as f64 - expected * unit).powi(2) / (expected * unit);
    }
    let freedom = expected.iter().filter(|&&expected| expected > 0.0).count() as f64 - 1.0;
    let ninth = 2.0 / (9.0 * freedom);
    let quantile = freedom * (1.0 - ninth + 3.719 * ninth.sqrt()).powi(3);
    assert!(statistic < quantile, "{statistic} is above {quantile}: {counts:?} for {expected:?}");
}

pub(super) fn as_expected(shares: &[u32]) -> Vec<f64> {
    shares.iter().map(|&share| f64::from(share)).collect()
}

pub(super) fn by_hash(load_max: Option<u32>) -> Balance {
    Balance::ConsistentHash { by: HashBy::Client, load_max }
}

fn policies() -> [Balance; 6] {
    [
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::PowerOfTwo,
        Balance::Random,
        by_hash(None),
        by_hash(Some(125)),
    ]
}

#[test]
fn among_none_nobody_is_chosen() {
    for balance in policies() {
        let chooser = Chooser::new(&balance, &[], Some(Arc::new(Ring::new(&[]))), 7, None);
        assert!(chooser.is_empty());
        for point in [0, 7, u64::MAX] {
            assert_eq!(chooser.choose(point, &Loads::none(0)), None, "{balance:?}");
        }
    }
}

#[test]
fn one_alone_is_always_chosen() {
    let loads = Loads::none(5);
    for balance in policies() {
        let candidate = Candidate { place: 4, id: id(4), share: 7 };
        let chooser = Chooser::new(&balance, &[candidate], None, 7, None);
        assert!(!chooser.is_empty());
        for point in points(20) {
            assert_eq!(chooser.choose(point, &loads), Some(4), "{balance:?}");
        }
    }
}

#[test]
fn what_a_chooser_of_another_policy_did_does_not_matter() {
    let candidates = candidates(&[1000, 2000]);
    for balance in policies() {
        for other in policies() {
            let before = Chooser::new(&other, &candidates, None, 7, None);
            let chooser = Chooser::new(&balance, &candidates, None, 7, Some(&before));
            assert!(chooser.choose(1, &Loads::none(2)).is_some());
        }
    }
}

#[test]
fn the_largest_numbers_do_no_harm() {
    let all = candidates(&[u32::MAX; 5]);
    let mut uneven = all.clone();
    uneven[3].share = 1;
    let loads = Loads::none(5);
    for place in 0..5 {
        loads.in_flight[place].set(u32::MAX / 5);
        loads.latency_us[place].set(u32::MAX);
    }
    loads.in_flight[1].set(0);
    for balance in policies().into_iter().chain([by_hash(Some(u32::MAX))]) {
        for candidates in [&all, &uneven] {
            let chooser = Chooser::new(&balance, candidates, None, u64::MAX, None);
            for point in [0, 1, u64::MAX / 2, u64::MAX] {
                assert!(chooser.choose(point, &loads).is_some(), "{balance:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn only_what_may_be_taken_is_chosen_and_one_is_found_if_there_is_one(
        endpoints in prop::collection::vec((prop_oneof![Just(1000_u32), 1..5_u32, 1..1_000_000_u32], 0..8_u32), 1..40),
        closed in prop::collection::vec(prop::collection::vec(any::<bool>(), 40), 1..8),
        mostly in any::<bool>(),
        equal in any::<bool>(),
        seed in any::<u64>(),
    ) {
        // Every second member is no candidate.
        let shares: Vec<u32> = endpoints.iter().map(|&(share, _)| if equal { 1000 } else { share }).collect();
        let candidates: Vec<Candidate> = (0..)
            .zip(&shares)
            .map(|(index, &share)| Candidate { place: 2 * index + 1, id: id(2 * index + 1), share })
            .collect();
        let places = 2 * candidates.len() + 1;
        let members: Vec<(u64, u32)> = (0..places).map(|place| (id(place), 1)).collect();
        let ring = Arc::new(Ring::new(&members));
        let loads = Loads::none(places);
        for (candidate, &(_, load)) in candidates.iter().zip(&endpoints) {
            loads.in_flight[candidate.place].set(load);
            loads.latency_us[candidate.place].set(load * 100);
        }
        for balance in policies() {
            let chooser = Chooser::new(&balance, &candidates, Some(ring.clone()), seed, None);
            for (closed, point) in closed.iter().zip(points(100)) {
                let mut open = 0;
                for (candidate, &closed) in candidates.iter().zip(closed) {
                    let closed = closed || mostly && candidate.place > 5;
                    loads.closed[candidate.place].set(closed);
                    open += usize::from(!closed);
                }
                for point in [point, point ^ 1, !point] {
                    let chosen = chooser.choose(point, &loads);
                    prop_assert_eq!(chosen.is_some(), open > 0, "{:?}", balance);
                    if let Some(place) = chosen {
                        prop_assert!(place % 2 == 1 && !loads.closed[place].get(), "{:?}", balance);
                    }
                }
            }
        }
    }
}
