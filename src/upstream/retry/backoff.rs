//! How long to wait before a request is sent again.

use std::time::Duration;

/// The longest pause, as a multiple of the first.
const GROWTH_MAX: u32 = 16;

/// The pause before the retry with that number, from 1. The first goes out at once, for it goes to another endpoint; from
/// then on the most that a pause takes doubles, and `chance`, a random number, says how much of it this one takes, so
/// that those who failed together do not come back together.
pub fn pause(base: Duration, retry: u32, chance: u64) -> Duration {
    let Some(doublings) = retry.checked_sub(2) else { return Duration::ZERO };
    let growth = 1_u32.checked_shl(doublings).unwrap_or(GROWTH_MAX).min(GROWTH_MAX);
    let most = u64::try_from((base * growth).as_micros()).unwrap_or(u64::MAX);
    let part = (u128::from(most) * u128::from(chance)) >> 64;
    Duration::from_micros(u64::try_from(part).unwrap_or(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_goes_out_at_once_and_the_pauses_grow_to_a_bound() {
        let base = Duration::from_millis(10);
        for (retry, want) in [(0, 0), (1, 0), (2, 10), (3, 20), (4, 40), (6, 160), (7, 160), (100, 160)] {
            let most = pause(base, retry, u64::MAX);
            assert!(most.as_millis().abs_diff(want) <= 1, "{retry}: {most:?}");
            assert!(pause(base, retry, 0).is_zero());
        }
    }

    #[test]
    fn pauses_are_spread_over_the_whole_time() {
        let mut random = fastrand::Rng::with_seed(1);
        let base = Duration::from_millis(100);
        let sum: Duration = (0..1000).map(|_| pause(base, 2, random.u64(..))).sum();
        assert!((40..60).contains(&(sum / 1000).as_millis()), "{sum:?}");
    }
}
