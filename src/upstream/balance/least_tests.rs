//! Tests of the endpoint that has the least to do.

use std::collections::VecDeque;

use super::super::tests::{Loads, candidates, counts};
use super::*;
use proptest::prelude::*;

#[test]
fn equals_take_turns() {
    let loads = Loads::none(6);
    let least = Least::new(&candidates(&[1000; 6]), 0, None);
    let order: Vec<usize> = (0..12).map(|_| least.choose(&loads).unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
    // Those behind a gap are not favoured.
    for busy in [1, 2, 3, 4] {
        loads.add(busy);
    }
    assert_eq!(counts(6, (0..1000).map(|_| least.choose(&loads).unwrap())), [500, 0, 0, 0, 0, 500]);
}

#[test]
fn turns_among_equals_go_on_when_endpoints_change() {
    let loads = Loads::none(4);
    let all = candidates(&[1000; 4]);
    let mut least = Least::new(&all, 0, None);
    let mut had = [0; 4];
    for _ in 0..400 {
        least = Least::new(&all, 0, Some(&least));
        had[least.choose(&loads).unwrap()] += 1;
    }
    assert_eq!(had, [100; 4]);
    least.choose(&loads);
    assert_eq!(Least::new(&[all[0], all[3]], 0, Some(&least)).choose(&loads), Some(3));
    assert_eq!(Least::new(&all[2..], 0, Some(&least)).choose(&loads), Some(2));
    let starts = counts(4, (0..4).map(|core| Least::new(&all, core, None).choose(&loads).unwrap()));
    assert!(starts.iter().filter(|&&starts| starts > 0).count() >= 3, "cores march in step: {starts:?}");
}

#[test]
fn a_heavy_endpoint_has_more_in_flight() {
    let loads = Loads::none(3);
    let least = Least::new(&candidates(&[1000, 2000, 7000]), 5, None);
    for _ in 0..100 {
        loads.add(least.choose(&loads).unwrap());
    }
    assert_eq!(loads.in_flight.iter().map(Cell::get).collect::<Vec<_>>(), [10, 20, 70]);
}

#[test]
fn the_least_of_those_that_may_be_taken_is_chosen() {
    let loads = Loads::none(4);
    for (place, in_flight) in [(0, 3), (1, 0), (2, 2), (3, 5)] {
        loads.in_flight[place].set(in_flight);
    }
    let least = Least::new(&candidates(&[1000; 4]), 0, None);
    for want in [Some(1), Some(2), Some(0), Some(3), None] {
        assert_eq!(least.choose(&loads), want);
        want.iter().for_each(|&place| loads.close(&[place]));
    }
}

proptest! {
    #[test]
    fn loads_stay_within_one_of_each_other(
        shares in prop::collection::vec(1..50_u32, 1..12),
        arrivals in 1..400_usize,
    ) {
        let loads = Loads::none(shares.len());
        let least = Least::new(&candidates(&shares), 3, None);
        for _ in 0..arrivals {
            loads.add(least.choose(&loads).unwrap());
            for (one, share) in shares.iter().enumerate() {
                for (other, other_share) in shares.iter().enumerate() {
                    let (load, other_load) = (loads.in_flight[one].get(), loads.in_flight[other].get());
                    prop_assert!(load * other_share <= (other_load + 1) * share);
                }
            }
        }
    }

    #[test]
    fn loads_stay_within_one_while_requests_end(
        count in 1..10_usize,
        at_once in 1..60_usize,
    ) {
        let loads = Loads::none(count);
        let least = Least::new(&candidates(&vec![1000; count]), 3, None);
        let mut open = VecDeque::new();
        for _ in 0..500 {
            if open.len() >= at_once {
                loads.remove(open.pop_front().unwrap());
            }
            let place = least.choose(&loads).unwrap();
            loads.add(place);
            open.push_back(place);
            let all = || loads.in_flight.iter().map(Cell::get);
            prop_assert!(all().max().unwrap() - all().min().unwrap() <= 1);
        }
    }
}
