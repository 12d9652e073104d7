//! How an endpoint that joins or comes back gets its share: little at first, and more from moment to moment.

use std::time::Duration;

use crate::upstream::roster::SHARE_WHOLE;

/// The part of its share that an endpoint begins with, of [`SHARE_WHOLE`].
pub const PART_MIN: u32 = SHARE_WHOLE / 20;

/// The share of an endpoint of that weight, so long after it joined or came back: it grows evenly to the whole over
/// `span`. At least 1.
pub fn share(weight: u32, elapsed: Duration, span: Duration) -> u32 {
    weight.saturating_mul(part(elapsed, span)).max(1)
}

fn part(elapsed: Duration, span: Duration) -> u32 {
    if elapsed >= span {
        return SHARE_WHOLE;
    }
    let grown = elapsed.as_nanos() * u128::from(SHARE_WHOLE) / span.as_nanos();
    u32::try_from(grown).unwrap_or(SHARE_WHOLE).clamp(PART_MIN, SHARE_WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_table_of_shares() {
        let s = Duration::from_secs;
        for (weight, elapsed, span, want) in [
            (1, s(0), s(60), 50),
            (1, s(3), s(60), 50),
            (1, s(6), s(60), 100),
            (2, s(30), s(60), 1000),
            (1, s(60), s(60), 1000),
            (1, Duration::MAX, s(60), 1000),
            (7, s(0), s(0), 7000),
            (0, s(0), s(1), 1),
            (u32::MAX, s(1), s(1), u32::MAX),
        ] {
            assert_eq!(share(weight, elapsed, span), want, "{weight} {elapsed:?} {span:?}");
        }
    }

    proptest! {
        #[test]
        fn a_share_only_grows_and_is_never_nothing(
            weight in 1u32..=1000, span in 1u64..100_000, first in 0u64..200_000, more in 0u64..200_000,
        ) {
            let at = |ms| share(weight, Duration::from_millis(ms), Duration::from_millis(span));
            prop_assert!(1 <= at(first) && at(first) <= at(first + more));
            prop_assert!(at(first) <= weight * SHARE_WHOLE);
            prop_assert_eq!(at(span), weight * SHARE_WHOLE);
        }
    }
}
