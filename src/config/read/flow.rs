//! How much may come, and how fast.

use std::time::Duration;

use super::said_flow::{FlowSaid, RateSaid};
use super::{Known, Places};
use crate::config::flow::{Bandwidth, Flow, Frequency, KEYS, PREFIXES, Rate, RateBy, STATUS};
use crate::config::problem::{Problem, quoted};
use crate::config::table::{At, Map, Said};
use crate::config::{Settings, Traffic};

/// Rates that one listener or route may name.
const RATES_MAX: usize = 8;

/// The longest time after which a burst may be there again. Nobody waits for longer.
const RECOVERY_MAX: Duration = Duration::from_secs(366 * 86_400);

impl Known<'_, '_> {
    /// What a listener or a route says about it.
    pub(super) fn flow(&self, said: &FlowSaid) -> Flow {
        let FlowSaid { rate, bandwidth, bandwidth_after, .. } = said;
        let names = rate.value.as_deref().unwrap_or_default();
        for (at, name) in names.iter().enumerate() {
            if !self.rates.contains(&name.value) {
                self.unknown("rate", &name.value, name.place, self.rates.iter().map(String::as_str));
            } else if names[..at].iter().any(|other| other.value == name.value) {
                self.reader.error(name.place, format!("rate {} is there twice", quoted(&name.value)));
            } else if at == RATES_MAX {
                self.reader.error(name.place, format!("these are more than {RATES_MAX} rates"));
            }
        }
        if let (Some(place), false) = (bandwidth_after.key, bandwidth.is_there()) {
            self.reader.error(place, "`bandwidth-after` has no use without `bandwidth`");
        }
        let after = bandwidth_after.value.map_or(0, |size| size.0);
        Flow {
            rates: names.iter().map(|name| name.value.clone()).collect(),
            bandwidth: bandwidth.value.map(|rate| Bandwidth { rate, after }),
        }
    }

    /// Those that have names.
    pub(super) fn rates(&self, said: &Said<Map<RateSaid>>) -> Vec<Rate> {
        let entries = said.value.iter().flat_map(|map| &map.entries);
        entries.map(|(name, rate)| self.rate(name, &rate.value)).collect()
    }

    fn rate(&self, name: &At<String>, said: &RateSaid) -> Rate {
        let RateSaid { rate, burst, by, v4_prefix, v6_prefix, delay, keys, status, without, .. } = said;
        if !rate.is_there() && said.unknown == 0 {
            self.reader
                .error(name.place, format!("rate {} has no `rate`, such as \"100/s\"", quoted(&name.value)));
        }
        let per = rate.value.unwrap_or(Frequency { count: 1, time: Duration::from_secs(1) });
        let made = Rate {
            name: name.value.clone(),
            per,
            burst: burst.value.map_or(Rate::burst_of(per), |burst| burst.number()),
            by: self.counted_by(by),
            v4_prefix: v4_prefix.value.map_or(PREFIXES.0, |bits| bits.number()),
            v6_prefix: v6_prefix.value.map_or(PREFIXES.1, |bits| bits.number()),
            delay: delay.value.map_or(Duration::ZERO, |time| time.0),
            keys: keys.value.map_or(KEYS, |keys| keys.number()),
            status: status.value.map_or(STATUS, |status| status.number()),
            without: without.value.unwrap_or_default(),
            fields: said.fields.value.unwrap_or_default(),
            detect_only: said.detect_only.value.unwrap_or_default(),
        };
        if let (Some(place), false) = (burst.place, rate.is_wrong)
            && per.time.saturating_mul(made.burst) / per.count > RECOVERY_MAX
        {
            self.reader.error(
                place,
                format!("at {per} it would take more than a year until so many may come again"),
            );
        }
        if let (Some(place), false) = (without.key, made.may_lack() || by.is_wrong) {
            let message = "`without` has no effect where no field, cookie or parameter is counted by";
            self.reader.add(Problem::warning(place, message));
        }
        made
    }

    /// Warns of rates that nothing counts for.
    pub(super) fn warn_of_idle_rates(&self, said: &Said<Map<RateSaid>>, settings: &Settings) {
        let listeners = settings.listeners.iter().map(|listener| &listener.traffic);
        let traffic: Vec<_> = listeners.chain(settings.routes.iter().map(|route| &route.traffic)).collect();
        for (name, _) in said.value.iter().flat_map(|map| &map.entries) {
            if !traffic.iter().any(|traffic| traffic.flow.rates.contains(&name.value)) {
                let message = format!("no listener and no route counts for rate {}", quoted(&name.value));
                self.reader.add(Problem::warning(name.place, message));
            }
        }
    }

    /// Warns of those who want to know who asks, and count only by what whoever guesses makes up anew each time.
    pub(super) fn warn_of_guessing(&self, settings: &Settings, places: &Places) {
        let rates = |traffic: &Traffic| {
            let names = traffic.flow.rates.iter();
            names.filter_map(|name| settings.rates.iter().find(|rate| rate.name == *name)).collect::<Vec<_>>()
        };
        let wants = |traffic: &Traffic| traffic.identity.auth.as_ref().is_some_and(|ways| !ways.is_empty());
        let is_held = settings
            .listeners
            .iter()
            .any(|listener| rates(&listener.traffic).iter().any(|rate| !rate.may_lack()));
        let listeners =
            settings.listeners.iter().map(|listener| ("listener", &listener.name, &listener.traffic));
        let routes = settings.routes.iter().map(|route| ("route", &route.name, &route.traffic));
        let all_places = places.listeners.iter().chain(&places.routes);
        for ((what, name, traffic), place) in listeners.chain(routes).zip(all_places) {
            let rates = rates(traffic);
            let guessable = !rates.is_empty() && rates.iter().all(|rate| rate.may_lack());
            if let Some(place) = place.filter(|_| wants(traffic) && guessable && !is_held) {
                let name = quoted(name);
                let message =
                    format!("what counts for {what} {name} does not stop whoever guesses credentials");
                let help = "name a rate that counts by `client` as well: keys, cookies and parameters can be made up";
                self.reader.add(Problem::warning(place, message).with_help(help));
            }
        }
    }

    fn counted_by(&self, said: &Said<Vec<At<RateBy>>>) -> Vec<RateBy> {
        let all = said.value.as_deref().unwrap_or_default();
        for (at, by) in all.iter().enumerate() {
            if all[..at].iter().any(|other| other.value == by.value) {
                self.reader.error(by.place, format!("`{}` is there twice", by.value));
            } else if by.value == RateBy::All && all.len() > 1 {
                self.reader
                    .error(by.place, "`all` counts everything together, and cannot stand beside anything");
            }
        }
        match (all, said.place) {
            ([], Some(place)) if !said.is_wrong => self.reader.error(place, "names nothing to count by"),
            _ => {}
        }
        match all {
            [] => vec![RateBy::Client],
            all => all.iter().map(|by| by.value.clone()).collect(),
        }
    }
}
