//! Tests of draws by share.

use super::super::tests::{Loads, as_expected, assert_fits, candidates, counts, points};
use super::*;
use proptest::prelude::*;

const DRAWS: usize = 100_000;

fn drawn(shares: &[u32], loads: &Loads) -> Vec<usize> {
    let lots = Lots::new(&candidates(shares));
    counts(shares.len(), points(DRAWS).map(|point| lots.choose(point, loads).unwrap()))
}

#[test]
fn each_is_drawn_as_often_as_its_share_says() {
    let many: Vec<u32> = (0..200).map(|place| 500 + 7 * place).collect();
    for shares in [&[1000; 2][..], &[1000; 10], &[1000, 2000], &[1, 2, 3, 4, 5, 999], &[95, 5], &many] {
        assert_fits(&drawn(shares, &Loads::none(shares.len())), &as_expected(shares));
    }
}

#[test]
fn those_that_may_be_taken_are_drawn_by_their_shares() {
    for shares in [[1000; 8], [1000, 2000, 3000, 4000, 5000, 6000, 7000, 900_000]] {
        for closed in [&[7][..], &[0, 1, 7], &[1, 2, 3, 5, 6, 7]] {
            let loads = Loads::none(8);
            loads.close(closed);
            let mut left = as_expected(&shares);
            closed.iter().for_each(|&place| left[place] = 0.0);
            assert_fits(&drawn(&shares, &loads), &left);
        }
    }
}

proptest! {
    #[test]
    fn the_columns_hold_exactly_the_shares(shares in prop::collection::vec(1..u32::MAX, 1..50)) {
        let all = candidates(&shares);
        let columns = columns(&all);
        let mut held = vec![0.0; shares.len()];
        for (index, column) in columns.iter().enumerate() {
            let own = (column.mark as f64 + 1.0) / 2_f64.powi(64);
            held[index] += own;
            held[column.alias] += 1.0 - own;
        }
        let sum = as_expected(&shares).iter().sum::<f64>();
        for (held, share) in held.into_iter().zip(as_expected(&shares)) {
            let want = share / sum * shares.len() as f64;
            prop_assert!(f64::abs(held - want) < 1e-9, "{} is not {}", held, want);
        }
    }
}
