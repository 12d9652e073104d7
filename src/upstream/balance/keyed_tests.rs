//! Tests of endpoints found by key.

use std::sync::Arc;

use super::super::tests::{Loads, as_expected, assert_fits, candidates, counts, id, points};
use super::*;

const KEYS: usize = 50_000;

fn ring(weights: &[u32]) -> Arc<Ring> {
    let endpoints: Vec<(u64, u32)> =
        weights.iter().enumerate().map(|(place, &weight)| (id(place), weight)).collect();
    Arc::new(Ring::new(&endpoints))
}

/// Where keys go when only these are up.
fn places(ring: &Arc<Ring>, candidates: &[Candidate], loads: &Loads) -> Vec<usize> {
    let keyed = Keyed::new(candidates, Some(ring.clone()), None);
    points(KEYS).map(|point| keyed.choose(point, loads).unwrap()).collect()
}

/// How many requests an endpoint may have, by the definition.
fn bound(load_max: u32, total: u32, share: u32, shares: &[u32]) -> u32 {
    let percent = u64::from(load_max) * u64::from(total) * u64::from(share);
    let whole = 100 * shares.iter().map(|&share| u64::from(share)).sum::<u64>();
    u32::try_from(percent.div_ceil(whole).max(1)).unwrap()
}

#[test]
fn keys_fall_on_endpoints_by_weight() {
    for shares in [&[1000; 10][..], &[1000, 2000, 3000, 10_000], &[7000; 100]] {
        let ring = ring(&shares.iter().map(|share| share / 1000).collect::<Vec<_>>());
        let places = places(&ring, &candidates(shares), &Loads::none(shares.len()));
        assert_fits(&counts(shares.len(), places), &as_expected(shares));
    }
}

#[test]
fn a_key_goes_where_the_ring_says() {
    let ring = ring(&[1, 2, 3]);
    let keyed = Keyed::new(&candidates(&[1000, 2000, 3000]), Some(ring.clone()), Some(125));
    for point in points(1000) {
        assert_eq!(keyed.choose(point, &Loads::none(3)), ring.walk(point).next());
    }
}

#[test]
fn keys_of_one_that_is_out_spread_over_the_others_and_no_others_move() {
    let shares = [1000, 2000, 3000, 1000, 2000];
    let ring = ring(&[1, 2, 3, 1, 2]);
    let all = candidates(&shares);
    let loads = Loads::none(5);
    let before = places(&ring, &all, &loads);
    let others: Vec<Candidate> = all.iter().copied().filter(|candidate| candidate.place != 2).collect();
    let after = places(&ring, &others, &loads);
    let mut moved = Vec::new();
    for (&before, &after) in before.iter().zip(&after) {
        assert!(before == after || before == 2);
        if before == 2 {
            moved.push(after);
        }
    }
    assert_fits(&counts(5, moved), &[1.0, 2.0, 0.0, 1.0, 2.0]);
    // One that may not be taken is passed over in the same way, and gets its keys back.
    loads.close(&[2]);
    assert_eq!(places(&ring, &all, &loads), after);
    loads.open(&[2]);
    assert_eq!(places(&ring, &all, &loads), before);
}

#[test]
fn a_few_candidates_of_many_members_share_the_keys() {
    // Most walks come to none of them.
    let ring = ring(&vec![1; 1000]);
    let loads = Loads::none(1000);
    let few: Vec<Candidate> = [(17, 1000), (400, 1000), (900, 2000)]
        .map(|(place, share)| Candidate { place, id: id(place), share })
        .into();
    let before = places(&ring, &few, &loads);
    let found = counts(1000, before.iter().copied());
    for (place, part) in [(17, 0.25), (400, 0.25), (900, 0.5)] {
        let got = found[place] as f64 / KEYS as f64;
        assert!(f64::abs(got - part) < 0.12, "{place} has {got}");
    }
    let after = places(&ring, &few[1..], &loads);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == 17));
    assert_eq!(places(&ring, &[few[2], few[0], few[1]], &loads), before, "their order does not matter");
}

#[test]
fn without_a_ring_keys_are_shared_too() {
    let shares = [1000, 2000, 5000];
    let keyed = Keyed::new(&candidates(&shares), None, None);
    let chosen = points(KEYS).map(|point| keyed.choose(point, &Loads::none(3)).unwrap());
    assert_fits(&counts(3, chosen), &as_expected(&shares));
}

#[test]
fn a_ring_of_another_roster_does_no_harm() {
    let keyed = Keyed::new(&candidates(&[1000, 1000]), Some(ring(&[1; 50])), Some(150));
    assert!(points(1000).all(|point| keyed.choose(point, &Loads::none(2)).is_some_and(|place| place < 2)));
    let keyed = Keyed::new(&candidates(&[1000; 50]), Some(ring(&[1; 2])), Some(150));
    assert!(points(1000).all(|point| keyed.choose(point, &Loads::none(50)).is_some()));
}

#[test]
fn one_hot_key_drowns_nobody_and_goes_on_in_the_order_of_the_ring() {
    let shares = [1000, 3000, 2000, 1000, 3000];
    let ring = ring(&[1, 3, 2, 1, 3]);
    for load_max in [101, 125, 200] {
        let keyed = Keyed::new(&candidates(&shares), Some(ring.clone()), Some(load_max));
        for point in points(20) {
            let loads = Loads::none(5);
            for total in 1..=300 {
                let has_room =
                    |&place: &usize| loads.in_flight(place) < bound(load_max, total, shares[place], &shares);
                let want = ring.walk(point).find(has_room).unwrap();
                assert_eq!(keyed.choose(point, &loads), Some(want), "{total} at {load_max} %");
                loads.add(want);
            }
        }
    }
}

#[test]
fn under_many_keys_nobody_is_over_the_bound() {
    let shares = vec![1000; 20];
    let keyed = Keyed::new(&candidates(&shares), Some(ring(&[1; 20])), Some(125));
    let loads = Loads::none(20);
    let mut open = Vec::new();
    // A third of all requests have the same key, and which request ends is by chance.
    for (number, point) in points(5000).enumerate() {
        let place = keyed.choose(if number % 3 == 0 { 7 } else { point }, &loads).unwrap();
        let total = u32::try_from(open.len() + 1).unwrap();
        loads.add(place);
        open.push(place);
        assert!(loads.in_flight(place) <= bound(125, total, 1000, &shares));
        if open.len() > 200 {
            loads.remove(open.swap_remove((point % 200) as usize));
        }
    }
}

#[test]
fn where_all_are_over_the_bound_the_least_bad_is_chosen() {
    /// As cores see it when the counts change between two looks.
    struct Torn(Loads);
    impl View for Torn {
        fn may_take(&self, place: usize) -> bool {
            self.0.may_take(place)
        }
        fn in_flight(&self, place: usize) -> u32 {
            self.0.in_flight(place)
        }
        fn in_flight_at_all(&self) -> u32 {
            3
        }
        fn latency_us(&self, _: usize) -> u32 {
            0
        }
    }
    let shares = [1000, 1000, 4000];
    let keyed = Keyed::new(&candidates(&shares), Some(ring(&[1, 1, 4])), Some(125));
    let torn = Torn(Loads::none(3));
    for (place, in_flight) in [(0, 19), (1, 20), (2, 40)] {
        torn.0.in_flight[place].set(in_flight);
    }
    for point in points(50) {
        torn.0.open(&[0, 1, 2]);
        for want in [Some(2), Some(0), Some(1), None] {
            assert_eq!(keyed.choose(point, &torn), want);
            want.iter().for_each(|&place| torn.0.close(&[place]));
        }
    }
}
