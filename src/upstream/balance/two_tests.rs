//! Tests of the better of two.

use std::collections::VecDeque;

use super::super::tests::{Loads, as_expected, assert_fits, candidates, counts, points};
use super::*;

const DRAWS: usize = 100_000;

fn chosen(shares: &[u32], loads: &Loads) -> Vec<usize> {
    let two = Two::new(&candidates(shares));
    counts(shares.len(), points(DRAWS).map(|point| two.choose(point, loads).unwrap()))
}

#[test]
fn equally_loaded_ones_are_chosen_by_their_shares() {
    for shares in [&[1000; 2][..], &[1000; 10], &[1000, 2000], &[1000, 2000, 3000, 4000, 10_000]] {
        let loads = Loads::none(shares.len());
        assert_fits(&chosen(shares, &loads), &as_expected(shares));
        // Equal for their shares, and with what answers took known.
        for (place, share) in shares.iter().enumerate() {
            loads.in_flight[place].set(share / 100);
            loads.latency_us[place].set(1500);
        }
        assert_fits(&chosen(shares, &loads), &as_expected(shares));
    }
}

#[test]
fn the_less_one_has_to_do_the_more_often_it_is_chosen() {
    // Of n that differ, the r-th best wins against the n - r that are worse, out of all pairs.
    let count = 8;
    let loads = Loads::none(count);
    (0..8).for_each(|place| loads.in_flight[place as usize].set(place));
    let pairs: Vec<f64> = (0..8).map(|rank| f64::from(7 - rank)).collect();
    assert_fits(&chosen(&[1000; 8], &loads), &pairs);
    // And the same by how fast they answer.
    let loads = Loads::none(count);
    (0..8).for_each(|place| loads.latency_us[place as usize].set(100 + place));
    assert_fits(&chosen(&[1000; 8], &loads), &pairs);
}

#[test]
fn requests_in_flight_weigh_as_much_as_slow_answers() {
    let loads = Loads::none(2);
    for (place, in_flight, latency_us) in [(0, 9, 100), (1, 0, 1100)] {
        loads.in_flight[place].set(in_flight);
        loads.latency_us[place].set(latency_us);
    }
    assert_eq!(chosen(&[1000; 2], &loads), [DRAWS, 0]);
    loads.add(0);
    loads.add(0);
    assert_eq!(chosen(&[1000; 2], &loads), [0, DRAWS]);
}

#[test]
fn one_of_which_nothing_is_known_gets_its_share_and_not_everything() {
    let shares = [1000, 1000, 1000, 1000];
    let loads = Loads::none(4);
    (0..3).for_each(|place| loads.latency_us[place].set(20_000));
    assert_fits(&chosen(&shares, &loads), &as_expected(&shares));
}

/// How many of 20,000 requests each gets, of which `at_once` are in flight, where an answer takes as many steps as its
/// endpoint needs and what it took is known; none never answers.
fn simulate(shares: &[u32], steps: &[Option<u32>], at_once: usize) -> Vec<usize> {
    let two = Two::new(&candidates(shares));
    let loads = Loads::none(shares.len());
    let mut open: VecDeque<(u32, usize)> = VecDeque::new();
    let mut had = vec![0; shares.len()];
    let mut points = points(20_000);
    for now in 0.. {
        open.retain(|&(since, place)| {
            let ends = steps[place].is_some_and(|steps| now >= since + steps);
            if ends {
                loads.remove(place);
                loads.latency_us[place].set(1000 * (now - since));
            }
            !ends
        });
        while open.iter().filter(|(_, place)| steps[*place].is_some()).count() < at_once {
            let Some(point) = points.next() else { return had };
            let place = two.choose(point, &loads).unwrap();
            had[place] += 1;
            loads.add(place);
            open.push_back((now, place));
        }
    }
    unreachable!("requests end")
}

#[test]
fn one_that_never_answers_gets_few_requests() {
    let had = simulate(&[1000; 5], &[Some(3), Some(3), Some(3), Some(3), None], 40);
    assert!(had[4] < 40, "{had:?}");
    assert!(had[..4].iter().all(|had| had.abs_diff(5000) < 500), "{had:?}");
}

#[test]
fn a_slow_one_gets_less_and_a_heavy_one_more() {
    let had = simulate(&[1000; 4], &[Some(2), Some(2), Some(2), Some(20)], 40);
    assert!(had[3] > 20 && had[3] * 4 < had[0], "{had:?}");
    let had = simulate(&[1000, 1000, 2000, 4000], &[Some(4); 4], 160);
    for (place, share) in [(0, 1), (1, 1), (2, 2), (3, 4)] {
        assert!(had[place].abs_diff(2500 * share) < 250 * share, "{had:?}");
    }
}
