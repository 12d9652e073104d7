use std::time::Duration;

use super::*;
use crate::config::flow::Frequency;
use crate::proxy::snapshot::Registry;

fn settings(change: impl Fn(&mut flow::Rate)) -> Settings {
    let per: Frequency = "10/m".parse().unwrap();
    let mut rate = flow::Rate {
        name: "a".to_owned(),
        per,
        burst: 5,
        by: vec![RateBy::Client],
        v4_prefix: 32,
        v6_prefix: 64,
        delay: Duration::ZERO,
        keys: 10,
        status: 429,
        without: Without::Client,
        fields: RateFields::Refusals,
        detect_only: false,
    };
    change(&mut rate);
    Settings { rates: vec![rate], ..Settings::for_tests() }
}

fn rate(settings: &Settings, registry: &Registry) -> Arc<Rate> {
    let rules = FlowRules::new(
        &Flow { rates: vec!["a".to_owned()], bandwidth: None },
        &Made { settings, registry, networks: Default::default(), chains: Default::default() },
    );
    rules.unwrap().rates[0].clone()
}

#[test]
fn addresses_count_by_their_networks() {
    for (v4, v6, client, want) in [
        (32, 64, "192.0.2.7", "192.0.2.7"),
        (24, 64, "192.0.2.7", "192.0.2.0"),
        (1, 64, "192.0.2.7", "128.0.0.0"),
        (0, 64, "192.0.2.7", "0.0.0.0"),
        (32, 64, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (32, 128, "2001:db8::1", "2001:db8::1"),
        (32, 127, "2001:db8::1", "2001:db8::"),
        (32, 0, "2001:db8::1", "::"),
        (24, 0, "::ffff:192.0.2.7", "192.0.2.0"),
    ] {
        let settings = settings(|rate| (rate.v4_prefix, rate.v6_prefix) = (v4, v6));
        let rate = rate(&settings, &Registry::default());
        assert_eq!(
            rate.network(client.parse().unwrap()),
            want.parse::<IpAddr>().unwrap(),
            "{client} {v4} {v6}"
        );
    }
}

#[test]
fn a_policy_has_the_larger_quota_and_its_time() {
    for (per, burst, want) in [
        ("100/s", 100, "\"a\";q=100;w=1"),
        ("100/s", 1, "\"a\";q=100;w=1"),
        ("10/m", 5, "\"a\";q=10;w=60"),
        ("10/m", 25, "\"a\";q=25;w=150"),
        ("7/s", 15, "\"a\";q=15;w=3"),
        ("1/d", 366, "\"a\";q=366;w=31622400"),
    ] {
        assert_eq!(*policy("a", &per.parse().unwrap(), burst), *want.as_bytes());
    }
}

#[test]
fn a_rate_keeps_its_table_while_it_counts_the_same() {
    let registry = Registry::default();
    let first = rate(&settings(|_| {}), &registry);
    let kept = |change: &dyn Fn(&mut flow::Rate)| {
        Arc::ptr_eq(&rate(&settings(change), &registry).counted, &first.counted)
    };
    assert!(kept(&|_| {}));
    assert!(kept(&|rate| rate.delay = Duration::from_secs(1)));
    assert!(kept(&|rate| (rate.status, rate.fields) = (503, RateFields::Always)));
    assert!(kept(&|rate| rate.without = Without::Pass));
    assert!(!kept(&|rate| rate.burst = 6));
    assert!(!kept(&|rate| rate.keys = 11));
    assert!(!kept(&|rate| rate.v6_prefix = 56));
    assert!(!kept(&|rate| rate.by.push(RateBy::Route)));
    assert!(!kept(&|rate| rate.per.count = 11));
}

#[test]
fn tables_hash_each_in_its_own_way() {
    let key = || {
        let counted = Counted::new(1);
        let mut keying = counted.table.keying();
        keying.add_bytes(0, b"x");
        keying.finish()
    };
    assert_ne!(key(), key());
}
