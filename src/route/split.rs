//! Which of several upstreams gets a request, by weight: by chance, or always the same one for the same client.
//!
//! Each upstream draws a number that follows from its name and from the request's point; the one that draws
//! lowest, for its weight, wins (weighted rendezvous hashing). So every upstream gets the part that its weight is
//! of all weights, and raising the weight of one only moves to it those clients that it gains; no other client
//! moves, however many upstreams there are. Ranges laid side by side cannot do that: with three of them, raising
//! the first also moves the border between the second and the third.

use std::net::IpAddr;

use crate::config::route::{self, SplitBy};
use crate::http::point::{hash, mix, point_of, point_of_client};
use crate::http::{Fields, cookie};

/// Upstreams that share requests.
#[derive(Clone, Debug)]
pub struct Split {
    shares: Box<[Share]>,
    by: SplitBy,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    name_hash: u64,
    weight: u32,
}

impl Split {
    /// Makes it ready.
    pub fn new(split: &route::Split) -> Split {
        let share =
            |(name, weight): &(String, u32)| Share { name_hash: hash(name.as_bytes()), weight: *weight };
        Split { shares: split.shares.iter().map(share).collect(), by: split.by.clone() }
    }

    /// The point of a request: a hash of what decides, or `chance`, a random number, where chance does or where
    /// what decides is missing, as the address of a client at a Unix socket is.
    pub fn point(&self, client: Option<IpAddr>, fields: Fields<'_>, chance: u64) -> u64 {
        let value = match &self.by {
            SplitBy::Chance => return chance,
            SplitBy::Client => return client.map_or(chance, point_of_client),
            SplitBy::Cookie(name) => cookie::values(fields, name.as_bytes()).next(),
            SplitBy::Header(name) => super::template::field(fields, name.as_bytes()),
        };
        value.filter(|value| !value.is_empty()).map_or(chance, point_of)
    }

    /// Which upstream gets a request of this point, by its place in the settings. One of weight 0 gets none.
    pub fn choose(&self, point: u64) -> usize {
        let mut best = (0, f64::INFINITY);
        for (place, share) in self.shares.iter().enumerate().filter(|(_, share)| share.weight > 0) {
            let drawn = exponential(mix(point ^ share.name_hash)) / f64::from(share.weight);
            if drawn < best.1 {
                best = (place, drawn);
            }
        }
        best.0
    }
}

/// Whether a request goes to a mirror that gets `share` of ten thousand. `chance` is a random number, another one
/// than decided about the request itself.
pub fn takes(share: u16, chance: u64) -> bool {
    (u128::from(chance) * 10_000) >> 64 < u128::from(share)
}

/// Makes uniform bits exponential: `-ln(bits / 2^64)`. The least of several such numbers, each divided by a weight,
/// belongs to each as often as its weight says. Written out in operations whose results IEEE 754 defines to the last
/// bit, which it does not for the logarithm of a machine's library.
fn exponential(bits: u64) -> f64 {
    // 2^-64 stands for the one number that has no logarithm.
    let bits = bits.max(1);
    let zeros = bits.leading_zeros();
    // From 1 to below 2, in the 53 bits that a float has.
    let mantissa = f64::from_bits(1023 << 52 | (bits << zeros) << 1 >> 12);
    // ln(x) = 2 artanh((x - 1) / (x + 1)), as a series that gains a digit with each term.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let mut power = ratio;
    let mut sum = ratio;
    for odd in [3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0] {
        power *= square;
        sum += power / odd;
    }
    f64::from(zeros + 1) * std::f64::consts::LN_2 - 2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fuzz::Sample;
    use proptest::prelude::*;

    fn split(shares: &[(&str, u32)], by: SplitBy) -> Split {
        let shares = shares.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        Split::new(&route::Split { shares, by })
    }

    fn by_chance(shares: &[(&str, u32)]) -> Split {
        split(shares, SplitBy::Chance)
    }

    /// How far the numbers of choices are from what the weights say, as chi-square.
    fn chi_square(shares: &[(&str, u32)], points: impl Iterator<Item = u64>) -> f64 {
        let split = by_chance(shares);
        let mut counts = vec![0_u32; shares.len()];
        points.for_each(|point| counts[split.choose(point)] += 1);
        let total: u32 = shares.iter().map(|(_, weight)| weight).sum();
        let all = f64::from(counts.iter().sum::<u32>());
        let of = |(count, (_, weight)): (&u32, &(&str, u32))| {
            let expected = all * f64::from(*weight) / f64::from(total);
            (f64::from(*count) - expected).powi(2) / expected
        };
        counts.iter().zip(shares).map(of).sum()
    }

    #[test]
    fn every_upstream_gets_what_its_weight_says() {
        // 99.9 % of fair draws stay below 10.8, 13.8, 16.3 and 18.5 for 2, 3, 4 and 5 upstreams.
        for shares in [
            &[("stable", 95), ("canary", 5)][..],
            &[("a", 1), ("b", 1)],
            &[("a", 1), ("b", 1000)],
            &[("a", 3), ("b", 2), ("c", 1)],
            &[("a", 100), ("b", 10), ("c", 10), ("d", 1), ("e", 500)],
        ] {
            let mut random = fastrand::Rng::with_seed(7);
            let bound = [0.0, 0.0, 10.8, 13.8, 16.3, 18.5][shares.len()];
            let by_chance = chi_square(shares, std::iter::repeat_with(|| random.u64(..)).take(100_000));
            assert!(by_chance < bound, "{shares:?}: {by_chance}");
            // Clients of one network, whose addresses differ in a few bits.
            let clients = (0..100_000_u32).map(|n| point_of_client(IpAddr::V4((0x0a00_0000 + n).into())));
            let by_client = chi_square(shares, clients);
            assert!(by_client < bound, "{shares:?}: {by_client}");
        }
    }

    proptest! {
        #[test]
        fn raising_a_weight_moves_only_those_who_are_gained(
            mut weights in proptest::collection::vec(0_u32..50, 1..6),
            raised in any::<proptest::sample::Index>(),
            by in 1_u32..50,
            points in proptest::collection::vec(any::<u64>(), 200),
        ) {
            let names = ["stable", "canary", "a", "b", "c"];
            let raised = raised.index(weights.len());
            let last = weights.len() - 1;
            weights[last] += 1;
            let shares = |weights: &[u32]| -> Vec<_> { names.into_iter().zip(weights.iter().copied()).collect() };
            let before = by_chance(&shares(&weights));
            weights[raised] += by;
            let after = by_chance(&shares(&weights));
            for point in points {
                let (was, is) = (before.choose(point), after.choose(point));
                prop_assert!(is == was || is == raised, "moved from {} to {}", was, is);
            }
        }

        #[test]
        fn the_order_of_the_settings_does_not_matter(point in any::<u64>()) {
            let one = by_chance(&[("a", 3), ("b", 2), ("c", 1)]).choose(point);
            let other = by_chance(&[("c", 1), ("a", 3), ("b", 2)]).choose(point);
            prop_assert_eq!(["a", "b", "c"][one], ["c", "a", "b"][other]);
        }

        #[test]
        fn the_logarithm_is_one(bits in any::<u64>()) {
            #[expect(clippy::cast_precision_loss, reason = "only the first digits are compared")]
            let want = -(bits.max(1) as f64 / 2_f64.powi(64)).ln();
            prop_assert!((exponential(bits) - want).abs() < 1e-9);
        }
    }

    #[test]
    fn the_logarithm_holds_at_its_ends() {
        assert!((exponential(0) - 64.0 * std::f64::consts::LN_2).abs() < 1e-9);
        assert!(exponential(u64::MAX) >= 0.0 && exponential(u64::MAX) < 1e-9);
        assert!((exponential(1 << 63) - std::f64::consts::LN_2).abs() < 1e-9);
    }

    #[test]
    fn weight_0_gets_nothing_and_one_alone_everything() {
        let split = by_chance(&[("a", 0), ("b", 1), ("c", 0)]);
        for point in [0, 1, u64::MAX, hash(b"b"), hash(b"a")] {
            assert_eq!(split.choose(point), 1);
        }
    }

    #[test]
    fn points_stay_what_they_are_from_version_to_version() {
        // The published values of FNV-1a and SplitMix64.
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
        let split = by_chance(&[("stable", 95), ("canary", 5)]);
        let canaries: Vec<_> =
            (0..=255).filter(|&last| split.choose(point_of_client([192, 0, 2, last].into())) == 1).collect();
        assert_eq!(canaries, [12, 54, 65, 142, 208, 216]);
    }

    #[test]
    fn a_client_over_an_ipv6_socket_is_the_same_client() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(point_of_client(mapped), point_of_client([192, 0, 2, 1].into()));
    }

    #[test]
    fn what_decides_is_the_address_the_cookie_or_the_field() {
        let sample = Sample::new(&[("Cookie", "id=7; none="), ("X-Tenant", "t")]);
        let client = IpAddr::from([192, 0, 2, 1]);
        let point = |by, client| sample.with(|v| split(&[("a", 1)], by).point(client, v.fields, 42));
        assert_eq!(point(SplitBy::Chance, Some(client)), 42);
        assert_eq!(point(SplitBy::Client, Some(client)), point_of_client(client));
        assert_eq!(point(SplitBy::Client, None), 42);
        assert_eq!(point(SplitBy::Cookie("id".into()), Some(client)), point_of(b"7"));
        assert_eq!(point(SplitBy::Header("x-tenant".into()), Some(client)), point_of(b"t"));
        for missing in
            [SplitBy::Cookie("ID".into()), SplitBy::Cookie("none".into()), SplitBy::Header("x".into())]
        {
            assert_eq!(point(missing, Some(client)), 42);
        }
    }

    #[test]
    fn a_mirror_takes_its_share() {
        let mut random = fastrand::Rng::with_seed(7);
        let count = (0..100_000).filter(|_| takes(1_000, random.u64(..))).count();
        assert!((9_600..10_400).contains(&count), "{count}");
        assert!(takes(10_000, u64::MAX) && takes(1, 0) && !takes(1, u64::MAX / 9_999) && !takes(0, 0));
    }
}
