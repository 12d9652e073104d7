//! Tests of turns by share.

use std::collections::HashSet;

use super::super::tests::{Loads, candidates, counts, id};
use super::*;
use crate::limits::WEIGHT_MAX;
use proptest::prelude::*;

fn take(turns: &Turns, loads: &Loads, count: usize) -> Vec<usize> {
    (0..count).map(|_| turns.choose(loads).unwrap()).collect()
}

fn turns(shares: &[u32], seed: u64, count: usize) -> Vec<usize> {
    take(&Turns::new(&candidates(shares), seed, None), &Loads::none(shares.len()), count)
}

fn common_factor(shares: &[u32]) -> u32 {
    let pair = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    shares.iter().copied().reduce(pair).unwrap()
}

/// How many turns pass at most from one of each place to its next.
fn longest_waits(order: &[usize], count: usize) -> Vec<usize> {
    let wait = |place: usize| {
        let at: Vec<usize> = (0..order.len()).filter(|&turn| order[turn] == place).collect();
        at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    };
    (0..count).map(wait).collect()
}

#[test]
fn equal_shares_take_plain_turns() {
    for shares in [[1, 1, 1], [7000, 7000, 7000]] {
        for seed in 0..20 {
            let order = turns(&shares, seed, 7);
            let want: Vec<usize> = (0..7).map(|turn| (order[0] + turn) % 3).collect();
            assert_eq!(order, want);
        }
    }
    assert_eq!(turns(&[5], 3, 3), [0, 0, 0]);
}

#[test]
fn a_heavy_endpoint_is_interleaved_with_the_light_ones() {
    for seed in 0..20 {
        let order = turns(&[5000, 1000, 1000], seed, 700);
        assert!(longest_waits(&order, 3)[0] <= 3, "{order:?}");
        let order = turns(&[2000, 1000], seed, 90);
        assert!(order.windows(3).all(|three| three.contains(&0) && three.contains(&1)), "{order:?}");
    }
}

#[test]
fn over_a_period_each_is_chosen_as_often_as_its_share_says() {
    for shares in [
        &[1, 2][..],
        &[3, 1, 4, 1, 5],
        &[95, 5],
        &[1000, 2000, 7000, 11_000, 15_000],
        &[999, 1000, 1001],
        &[WEIGHT_MAX, 1, WEIGHT_MAX, 7],
        &[WEIGHT_MAX * 1000, 1000, 7000, 500],
        &[17_000, 19_000, 23_000],
    ] {
        let factor = common_factor(shares);
        let want: Vec<usize> = shares.iter().map(|share| (share / factor) as usize).collect();
        let period = want.iter().sum::<usize>();
        for seed in [0, 1, 5, 1 << 40, u64::MAX] {
            let order = turns(shares, seed, 4 * period);
            for begin in [0, 1, period / 3, period / 2, 2 * period + 1, 3 * period] {
                let counts = counts(shares.len(), order[begin..begin + period].iter().copied());
                assert_eq!(counts, want, "from {begin} with seed {seed}");
            }
        }
    }
}

#[test]
fn turns_stay_exact_when_time_starts_anew() {
    // With shares as small as these, time comes to its end every few turns.
    for shares in [&[1, 2][..], &[1, 2, 3, 1, 1, 1, 1]] {
        let period = shares.iter().sum::<u32>() as usize;
        let order = turns(shares, 3, 1000 * period);
        for period in order.chunks(period) {
            let counts = counts(shares.len(), period.iter().copied());
            assert_eq!(counts, shares.iter().map(|&share| share as usize).collect::<Vec<_>>());
        }
    }
}

#[test]
fn no_endpoint_waits_much_longer_than_fair() {
    let one_heavy: Vec<u32> = (0..501).map(|place| if place == 77 { 250_000 } else { 1000 }).collect();
    let many: Vec<u32> = (0..300).map(|place| 1000 * (1 + place % 7) + place).collect();
    for shares in [&[8000, 4000, 2000, 1000][..], &[5000, 1000, 1000, 1000, 1000], &one_heavy, &many] {
        let sum = shares.iter().sum::<u32>();
        for seed in 0..5 {
            let order = turns(shares, seed, 20 * (sum / shares.iter().min().unwrap()) as usize);
            for (wait, share) in longest_waits(&order, shares.len()).into_iter().zip(shares) {
                let fair = sum.div_ceil(*share) as usize;
                assert!(wait <= 2 * fair, "waited {wait} turns for a share of one in {fair}");
            }
        }
    }
}

#[test]
fn at_every_moment_each_has_had_about_its_share() {
    let shares: Vec<u32> = (0..100).map(|place| 1000 * (1 + place % 10)).collect();
    let sum = f64::from(shares.iter().sum::<u32>());
    let mut had = vec![0.0; shares.len()];
    for (turn, place) in turns(&shares, 4, 20_000).into_iter().enumerate() {
        had[place] += 1.0;
        let due = (turn + 1) as f64 * f64::from(shares[place]) / sum;
        assert!(f64::abs(had[place] - due) < 2.0, "{place} has had {} of {due}", had[place]);
    }
}

#[test]
fn cores_do_not_march_in_step() {
    for shares in [[1000; 16], std::array::from_fn(|place| 1000 + 10 * u32::try_from(place).unwrap())] {
        let first: HashSet<usize> = (0..16).map(|core| turns(&shares, core, 1)[0]).collect();
        assert!(first.len() >= 10, "16 cores began at {first:?}");
        // Together they are even from the beginning.
        let together = (0..16).flat_map(|core| turns(&shares, core, 4));
        assert!(counts(16, together).into_iter().all(|count| (1..=8).contains(&count)));
    }
}

#[test]
fn one_that_is_passed_over_keeps_its_turn() {
    for shares in [&[1000; 5][..], &[3000, 1000, 2000, 2000, 1000]] {
        for skipped in 0..12 {
            let loads = Loads::none(5);
            let turns = Turns::new(&candidates(shares), 2, None);
            take(&turns, &loads, skipped);
            let (expected, turns) = {
                let again = Turns::new(&candidates(shares), 2, None);
                take(&again, &loads, skipped);
                (again.choose(&loads).unwrap(), turns)
            };
            loads.close(&[expected]);
            assert_ne!(turns.choose(&loads), Some(expected));
            loads.open(&[expected]);
            assert_eq!(turns.choose(&loads), Some(expected), "after {skipped}");
        }
    }
}

#[test]
fn being_passed_over_now_and_then_costs_nobody_turns() {
    for shares in [&[1000; 5][..], &[3000, 1000, 2000, 2000, 2000]] {
        let loads = Loads::none(5);
        let turns = Turns::new(&candidates(shares), 2, None);
        // Every third request was at its endpoint already, and goes to another.
        let mut had = [0; 5];
        for request in 0..10_000 {
            let place = turns.choose(&loads).unwrap();
            had[place] += 1;
            if request % 3 == 0 {
                loads.close(&[place]);
                had[turns.choose(&loads).unwrap()] += 1;
                loads.open(&[place]);
            }
        }
        let total = had.iter().sum::<u32>();
        for (had, share) in had.into_iter().zip(shares) {
            let due = total * share / shares.iter().sum::<u32>();
            assert!(had.abs_diff(due) <= 3, "had {had} of {due}");
        }
    }
}

#[test]
fn the_others_share_the_turns_of_those_that_may_not_be_taken() {
    for shares in [[1000; 6], [1000, 4000, 2000, 3000, 5000, 1000]] {
        let loads = Loads::none(6);
        loads.close(&[0, 3, 4]);
        let turns = Turns::new(&candidates(&shares), 9, None);
        let left = [0, shares[1], shares[2], 0, 0, shares[5]];
        let unit = common_factor(&left);
        let period = left.iter().sum::<u32>() / unit;
        take(&turns, &loads, period as usize);
        let order = take(&turns, &loads, 10 * period as usize);
        let want: Vec<usize> = left.iter().map(|share| (10 * share / unit) as usize).collect();
        assert_eq!(counts(6, order), want);
    }
}

#[test]
fn one_that_could_not_be_taken_for_long_is_not_stormed() {
    for shares in [&[1000; 10][..], &[1000, 2000, 1000, 2000, 1000, 2000, 1000, 2000, 1000, 2000]] {
        let loads = Loads::none(10);
        let turns = Turns::new(&candidates(shares), 1, None);
        loads.close(&[3, 6]);
        take(&turns, &loads, 100_000);
        loads.open(&[3, 6]);
        let order = take(&turns, &loads, 15);
        for place in [3, 6] {
            let had = order.iter().filter(|&&chosen| chosen == place).count();
            let fair = (15 * shares[place]).div_ceil(shares.iter().sum());
            assert!((1..=fair as usize + 2).contains(&had), "{place} had {had} of {order:?}");
        }
    }
}

#[test]
fn turns_go_on_when_an_endpoint_goes_or_comes() {
    let all = candidates(&[1000; 5]);
    let loads = Loads::none(5);
    let turns = Turns::new(&all, 0, None);
    take(&turns, &loads, 2);
    let fewer: Vec<Candidate> = all.iter().copied().filter(|candidate| candidate.place != 3).collect();
    let turns = Turns::new(&fewer, 0, Some(&turns));
    assert_eq!(take(&turns, &loads, 6), [2, 4, 0, 1, 2, 4]);
    let turns = Turns::new(&all, 0, Some(&turns));
    let order = take(&turns, &loads, 10);
    let known: Vec<usize> = order.iter().copied().filter(|&place| place != 3).collect();
    assert_eq!(known, [0, 1, 2, 4, 0, 1, 2, 4]);
    assert_eq!(order.iter().filter(|&&place| place == 3).count(), 2);
}

#[test]
fn an_endpoint_that_comes_and_goes_with_every_turn_does_not_disturb_the_others() {
    for shares in [&[1000; 6][..], &[1000, 2000, 3000, 1000, 2000, 4000]] {
        let all = candidates(shares);
        let loads = Loads::none(6);
        let mut turns = Turns::new(&all, 5, None);
        let mut had = [0; 6];
        for turn in 0..6000 {
            turns = Turns::new(if turn % 2 == 0 { &all } else { &all[..5] }, 5, Some(&turns));
            had[turns.choose(&loads).unwrap()] += 1;
        }
        let others = had[..5].iter().sum::<u32>();
        assert!(others < 6000, "the newcomer never had a turn");
        for (had, share) in had[..5].iter().zip(shares) {
            let due = others * share / shares[..5].iter().sum::<u32>();
            assert!(had.abs_diff(due) <= 3, "had {had} of {due}");
        }
    }
}

#[test]
fn a_share_that_grows_in_small_steps_is_followed() {
    // One endpoint of four starts slowly, from a tenth to its whole share, and the roster changes with every turn.
    let loads = Loads::none(4);
    let mut turns = Turns::new(&candidates(&[1000; 3]), 8, None);
    let mut had = [0.0; 4];
    let mut due = [0.0; 4];
    for turn in 0..900 {
        let shares = [1000, 1000, 1000, 100 + turn];
        turns = Turns::new(&candidates(&shares), 8, Some(&turns));
        had[turns.choose(&loads).unwrap()] += 1.0;
        let sum = f64::from(shares.iter().sum::<u32>());
        due.iter_mut().zip(shares).for_each(|(due, share)| *due += f64::from(share) / sum);
    }
    for (had, due) in had.into_iter().zip(due) {
        assert!(f64::abs(had - due) <= 2.0, "had {had} of {due}");
    }
}

#[test]
fn turns_go_on_between_equal_shares_and_others() {
    let loads = Loads::none(5);
    let mut turns = Turns::new(&candidates(&[1000; 5]), 8, None);
    let mut had = [0_usize; 5];
    for turn in 0..1000 {
        let last = if turn % 2 == 0 { 1000 } else { 999 };
        turns = Turns::new(&candidates(&[1000, 1000, 1000, 1000, last]), 8, Some(&turns));
        had[turns.choose(&loads).unwrap()] += 1;
    }
    assert!(had.iter().all(|had| had.abs_diff(200) <= 2), "{had:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rebuilding_changes_nothing_if_nothing_has_changed(
        shares in prop::collection::vec(1..20_000_u32, 1..20),
        equal in any::<bool>(),
        seed in any::<u64>(),
        every in 1..5_usize,
    ) {
        let shares = if equal { vec![1000; shares.len()] } else { shares };
        let mut candidates = candidates(&shares);
        let loads = Loads::none(shares.len());
        let steady = Turns::new(&candidates, seed, None);
        let mut turns = Turns::new(&candidates, seed, None);
        for turn in 0..200 {
            prop_assert_eq!(turns.choose(&loads), steady.choose(&loads));
            if turn % every == 0 {
                // The order in which a roster names them does not matter either.
                candidates.rotate_left(1);
                turns = Turns::new(&candidates, seed.wrapping_add(turn as u64), Some(&turns));
            }
        }
    }

    #[test]
    fn whatever_changes_each_has_about_its_share(
        changes in prop::collection::vec(prop::collection::vec(500..4000_u32, 6), 1..60),
        turns_between in 1..4_usize,
    ) {
        let loads = Loads::none(6);
        let mut turns = Turns::new(&candidates(&changes[0]), 1, None);
        let mut had = [0.0; 6];
        let mut due = [0.0; 6];
        for shares in &changes {
            turns = Turns::new(&candidates(shares), 1, Some(&turns));
            let sum = f64::from(shares.iter().sum::<u32>());
            for _ in 0..turns_between {
                had[turns.choose(&loads).unwrap()] += 1.0;
                due.iter_mut().zip(shares).for_each(|(due, &share)| *due += f64::from(share) / sum);
            }
        }
        for (place, (had, due)) in had.into_iter().zip(due).enumerate() {
            prop_assert!(f64::abs(had - due) <= 4.0, "{} had {} of {}", id(place), had, due);
        }
    }
}
