//! Tests of the ring.

use std::collections::HashSet;

use super::super::tests::{assert_fits, counts, id, points};
use super::*;
use proptest::prelude::*;

fn of_weights(weights: &[u32]) -> Vec<(u64, u32)> {
    weights.iter().enumerate().map(|(place, &weight)| (id(place), weight)).collect()
}

/// By arc, the id of the endpoint that has it.
fn owners(endpoints: &[(u64, u32)]) -> Vec<u64> {
    Ring::new(endpoints).arcs.iter().map(|&place| endpoints[place as usize].0).collect()
}

/// How many arcs each endpoint has.
fn arcs(weights: &[u32]) -> Vec<usize> {
    let ring = Ring::new(&of_weights(weights));
    counts(weights.len(), ring.arcs.iter().map(|&place| place as usize))
}

#[test]
fn arcs_are_as_many_as_weights_say() {
    for weights in [&[1, 1][..], &[1, 2], &[5; 3], &[1, 2, 3, 4, 90], &[1000, 1, 7, 10], &[1; 20]] {
        let expected: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
        assert_fits(&arcs(weights), &expected);
    }
    assert_eq!(arcs(&[7]), [ARCS]);
}

#[test]
fn among_equals_the_arcs_are_about_as_many() {
    for (count, deviation_max) in [(10, 0.008), (100, 0.02), (1000, 0.055)] {
        let mean = ARCS as f64 / count as f64;
        let squares = arcs(&vec![1; count]).into_iter().map(|arcs| (arcs as f64 / mean - 1.0).powi(2));
        let deviation = (squares.sum::<f64>() / count as f64).sqrt();
        assert!(deviation < deviation_max, "{count}: {deviation}");
    }
}

#[test]
fn the_order_of_endpoints_does_not_matter() {
    let endpoints = of_weights(&[1, 5, 2, 7, 1, 3]);
    let mut other = endpoints.clone();
    other.reverse();
    other.rotate_left(2);
    assert_eq!(owners(&endpoints), owners(&other));
}

#[test]
fn only_the_proportions_of_weights_matter() {
    let moved = owners(&of_weights(&[1, 5, 2]))
        .into_iter()
        .zip(owners(&of_weights(&[100, 500, 200])))
        .filter(|(one, other)| one != other)
        .count();
    assert!(moved < ARCS / 10_000, "{moved} arcs moved");
}

#[test]
fn who_has_an_arc_is_the_same_in_all_processes() {
    let ring = Ring::new(&of_weights(&[1, 1, 2, 3, 1]));
    let first: Vec<usize> = points(24).map(|point| ring.walk(point).next().unwrap()).collect();
    assert_eq!(first, [1, 2, 2, 1, 3, 1, 4, 3, 2, 2, 3, 4, 2, 1, 3, 3, 3, 4, 3, 0, 1, 2, 2, 4]);
    assert_eq!(ring.walk(0).collect::<Vec<_>>(), [2, 3, 1, 0, 4]);
}

#[test]
fn a_walk_comes_to_each_once_and_begins_with_the_owner() {
    let ring = Ring::new(&of_weights(&[1, 1, 2, 3, 1]));
    for point in points(500) {
        let walk: Vec<usize> = ring.walk(point).collect();
        assert_eq!(walk[0], ring.arcs[(point >> (64 - ARC_BITS)) as usize] as usize);
        assert_eq!(walk.len(), 5);
        assert_eq!(walk.iter().collect::<HashSet<_>>().len(), 5);
    }
    assert_eq!(ring.walk(u64::MAX).count(), 5, "the last arc is followed by the first");
}

#[test]
fn a_walk_ends() {
    assert_eq!(Ring::new(&[]).walk(7).count(), 0);
    assert_eq!(Ring::new(&[(7, 1)]).walk(7).collect::<Vec<_>>(), [0]);
    let light = Ring::new(&of_weights(&[1, 1_000_000]));
    assert!(points(100).all(|point| light.walk(point).count() <= 2));
    // Beyond the places that it remembers, it may come to one again.
    let many = Ring::new(&of_weights(&vec![1; 3000]));
    assert!(points(100).all(|point| (100..=WALK_MAX).contains(&many.walk(point).count())));
}

#[test]
fn each_arc_has_somebody_whatever_the_weights() {
    for weights in [&[1][..], &[u32::MAX], &[1, u32::MAX], &[u32::MAX; 3], &[0, 0], &[3; 50]] {
        let ring = Ring::new(&of_weights(weights));
        assert!(ring.arcs.iter().all(|&place| (place as usize) < weights.len()), "{weights:?}");
    }
    assert_eq!(owners(&[(7, 1), (7, 1)]), [7; ARCS], "two of the same id are one");
}

/// Fails if an arc changes hands of which neither was the changed one's, and says what part of the arcs does.
fn moved(before: &[(u64, u32)], after: &[(u64, u32)], changed: u64) -> f64 {
    let mut moved = 0;
    for (one, other) in owners(before).into_iter().zip(owners(after)) {
        if one != other {
            assert!(one == changed || other == changed, "an arc moved between those that did not change");
            moved += 1;
        }
    }
    f64::from(moved) / ARCS as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn only_keys_of_the_endpoint_that_changes_move(
        weights in prop::collection::vec(1..100_u32, 2..60),
        which in any::<prop::sample::Index>(),
        weight in 1..100_u32,
    ) {
        let before = of_weights(&weights);
        let which = which.index(before.len());
        let part = |weights: &[(u64, u32)], weight: u32| {
            f64::from(weight) / f64::from(weights.iter().map(|&(_, weight)| weight).sum::<u32>())
        };
        let about = |moved: f64, want: f64| f64::abs(moved - want) < 0.05 * want + 0.002;

        let mut without = before.clone();
        without.remove(which);
        let went = moved(&before, &without, before[which].0);
        prop_assert!(about(went, part(&before, weights[which])), "{} moved", went);
        // It gets back the very same.
        prop_assert_eq!(moved(&without, &before, before[which].0), went);

        let mut other = before.clone();
        other[which].1 = weight;
        let shifted = moved(&before, &other, before[which].0);
        let want = f64::abs(part(&other, weight) - part(&before, weights[which]));
        prop_assert!(about(shifted, want), "{} moved and not {}", shifted, want);
    }
}
