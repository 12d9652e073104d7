use std::time::Duration;

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{print, read};
use crate::config::Settings;
use crate::config::flow::{Bandwidth, Flow, Rate, RateFields, Throughput, Without};

const NAMES: [&str; 3] = ["everybody", "per-client", "k_1"];

fn rate(name: &'static str) -> impl Strategy<Value = Rate> {
    let by = prop_oneof![
        Just(vec!["all"]),
        subsequence(vec!["client", "header:X-Key", "cookie:id", "query:a \"${b}\"", "route", "host"], 1..=6),
    ];
    let per = (1u32..1_000_000, select(vec!["s", "m", "h", "d"]));
    // A burst of a day's rate may take years.
    let numbers = (1u32..366, 0u8..=32, 0u8..=128, of(1u64..=60_000), 1usize..=1 << 24, 400u16..=599);
    let words = (
        select(vec![Without::Client, Without::Pass, Without::Refuse]),
        select(vec![RateFields::Off, RateFields::Refusals, RateFields::Always]),
        any::<bool>(),
    );
    (by, per, numbers, words).prop_map(move |(by, (count, unit), numbers, (without, fields, detect_only))| {
        let (burst, v4_prefix, v6_prefix, delay, keys, status) = numbers;
        let mut rate = Rate {
            name: name.to_owned(),
            per: format!("{count}/{unit}").parse().unwrap(),
            burst,
            by: by.into_iter().map(|by| by.parse().unwrap()).collect(),
            v4_prefix,
            v6_prefix,
            delay: delay.map_or(Duration::ZERO, Duration::from_millis),
            keys,
            status,
            without,
            fields,
            detect_only,
        };
        if !rate.may_lack() {
            rate.without = Without::Client;
        }
        rate
    })
}

fn flow() -> impl Strategy<Value = Flow> {
    let bandwidth = (1024u64..=1 << 40, any::<u64>())
        .prop_map(|(rate, after)| Bandwidth { rate: Throughput(rate), after });
    (subsequence(&NAMES[..], 0..=3), of(bandwidth)).prop_map(|(names, bandwidth)| Flow {
        rates: names.into_iter().map(str::to_owned).collect(),
        bandwidth,
    })
}

proptest! {
    #[test]
    fn rates_are_printed_as_they_are_read(
        rates in NAMES.map(rate),
        listener in flow(),
        route in flow(),
    ) {
        let mut settings = Settings::for_tests();
        settings.rates = rates.to_vec();
        settings.listeners[0].traffic.flow = listener;
        // The route of `origin` says nothing.
        settings.routes[0].name = "own".to_owned();
        settings.routes[0].traffic.flow = route;
        let text = print(&settings);
        let read = read(&text);
        prop_assert_eq!(&read, &settings, "{}", text);
    }
}
