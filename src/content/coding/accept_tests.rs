use proptest::prelude::*;

use super::*;

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

fn accepts(value: &str) -> Accepts {
    Accepts::of(value.split('\n').map(str::as_bytes))
}

#[test]
fn the_coding_with_the_greatest_weight_is_chosen() {
    let (zstd, br, gzip) = (Some(Coding::Zstd), Some(Coding::Brotli), Some(Coding::Gzip));
    for (value, want) in [
        ("gzip", gzip),
        ("GZip", gzip),
        ("x-gzip", gzip),
        ("gzip, deflate, br, zstd", zstd),
        ("gzip, deflate, br", br),
        ("gzip;q=1.0, br;q=0.5", gzip),
        ("br;q=0.001, gzip;q=0.002", gzip),
        ("gzip ; q=0.5 , br;Q=0.7", br),
        ("*", zstd),
        ("*;q=0.1", zstd),
        ("zstd;q=0, *", br),
        ("gzip\nbr", br),
        ("", None),
        ("identity", None),
        ("deflate, compress", None),
        ("gzip;q=0", None),
        ("gzip;q=0.000, br;q=0, zstd;q=0, *", None),
        ("*;q=0", None),
        ("gzip;q=0, *;q=0", None),
        ("identity;q=0, gzip;q=0.5", gzip),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", gzip),
        ("*;q=0.5, gzip;q=0.4, zstd;q=0, br;q=0", None),
        // Twice: the lower weight.
        ("gzip, gzip;q=0", None),
        ("gzip;q=0, x-gzip", None),
        // Malformed members say nothing.
        ("gzip;q=2, br", br),
        ("gzip;q=1.001", None),
        ("gzip;q=0.1234", None),
        ("gzip;q=.5", None),
        ("gzip;q=-1", None),
        ("gzip;q", None),
        ("gzip;", None),
        ("gzip;q=1;a=b", None),
        ("gzip;level=9", None),
        ("gz ip", None),
        ("\"gzip\"", None),
        ("\", gzip", gzip),
        (";q=1, gzip", gzip),
        (",,gzip,,", gzip),
        ("gzip;q = 1", None),
    ] {
        assert_eq!(accepts(value).choose(&ALL), want, "{value:?}");
    }
}

#[test]
fn only_what_is_preferred_at_all_is_chosen() {
    assert_eq!(accepts("zstd, br").choose(&[Coding::Gzip]), None);
    assert_eq!(accepts("zstd, br, gzip").choose(&[Coding::Gzip, Coding::Zstd]), Some(Coding::Gzip));
    assert_eq!(accepts("*").choose(&[]), None);
}

#[test]
fn who_says_nothing_gets_nothing_compressed_and_takes_nothing_that_is() {
    let nothing = Accepts::of(std::iter::empty());
    assert_eq!(nothing.choose(&ALL), None);
    assert!(!ALL.iter().any(|&coding| nothing.takes(coding)));
    for (value, takes) in [
        ("", false),
        ("identity", false),
        ("gzip", true),
        ("gzip;q=0", false),
        ("*;q=0.1", true),
        ("br", false),
    ] {
        assert_eq!(accepts(value).takes(Coding::Gzip), takes, "{value:?}");
    }
}

fn member() -> impl Strategy<Value = String> {
    let name = prop_oneof!["gzip|x-gzip|br|zstd|identity|deflate|\\*", "[ -~]{0,6}"];
    let weight = prop_oneof![Just(String::new()), ";q=(0|1)(\\.[0-9]{0,4})?", "[;= q01.]{0,6}"];
    (name, weight).prop_map(|(name, weight)| name + &weight)
}

proptest! {
    #[test]
    fn what_is_chosen_is_taken_and_order_does_not_matter(
        members in proptest::collection::vec(member(), 0..8),
        turn in 0_usize..8,
    ) {
        let one = accepts(&members.join(","));
        if let Some(coding) = one.choose(&ALL) {
            prop_assert!(one.takes(coding));
        }
        // Commas in a member make more of them, which is the same either way round.
        let mut turned = members.clone();
        turned.rotate_left(turn.min(members.len()));
        prop_assert_eq!(accepts(&turned.join(",")), one);
        prop_assert_eq!(accepts(&members.join(" ,\t")), one);
        let lines = Accepts::of(members.iter().map(String::as_bytes));
        prop_assert_eq!(lines, one);
    }

    #[test]
    fn nothing_is_chosen_that_has_no_weight(weights in [0_u16..=1000, 0..=1000, 0..=1000]) {
        let text = |place: usize| format!("{};q={}.{:03}", ALL[place].name(), weights[place] / 1000, weights[place] % 1000);
        let chosen = accepts(&[text(0), text(1), text(2)].join(", ")).choose(&ALL);
        let most = weights.iter().max().copied().unwrap();
        let first = weights.iter().position(|&weight| weight == most).unwrap();
        prop_assert_eq!(chosen, (most > 0).then_some(ALL[first]));
    }
}
