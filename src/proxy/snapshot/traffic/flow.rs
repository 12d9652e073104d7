//! How much may come at a listener or a route.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::Made;
use crate::clock::{Clock, Moment};
use crate::config::Settings;
use crate::config::flow::{self, Bandwidth, Flow, RateBy, RateFields, Without};
use crate::filter::rate::{Limit, Table};

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct FlowRules {
    /// The rates that requests count for.
    pub(in crate::proxy) rates: Box<[Arc<Rate>]>,
    /// How fast responses are given.
    pub(in crate::proxy) bandwidth: Option<Bandwidth>,
}

impl FlowRules {
    /// None where nothing is to be done.
    pub(super) fn new(settings: &Flow, made: &Made<'_>) -> Option<FlowRules> {
        let Flow { rates, bandwidth } = settings;
        // The names are those of rates: `config` has seen to that.
        let rates: Box<[_]> = rates.iter().filter_map(|name| Rate::named(name, made)).collect();
        (!rates.is_empty() || bandwidth.is_some()).then_some(FlowRules { rates, bandwidth: *bandwidth })
    }
}

/// A rate.
pub(crate) struct Rate {
    pub(in crate::proxy) name: String,
    pub(in crate::proxy) limit: Limit,
    /// How it is written.
    pub(in crate::proxy) text: String,
    pub(in crate::proxy) by: Box<[RateBy]>,
    masks: (u32, u128),
    pub(in crate::proxy) status: u16,
    pub(in crate::proxy) without: Without,
    pub(in crate::proxy) fields: RateFields,
    pub(in crate::proxy) detect_only: bool,
    /// What RateLimit-Policy says of it.
    pub(in crate::proxy) policy: Box<[u8]>,
    pub(in crate::proxy) counted: Arc<Counted>,
}

/// What all cores know of a rate together. It outlives configurations that do not change what is counted.
pub(in crate::proxy) struct Counted {
    pub(in crate::proxy) table: Table,
    began: Moment,
    refused: Apart<AtomicU64>,
    delayed: Apart<AtomicU64>,
}

/// A table for so many keys, which hashes in its own way.
pub(in crate::proxy) fn table(keys: usize) -> Table {
    // The hash of the standard library is keyed by the kernel's random numbers.
    let random = RandomState::new();
    let seeds = [1, 2, 3, 4].map(|number: u64| {
        let mut hasher = random.build_hasher();
        hasher.write_u64(number);
        hasher.finish()
    });
    Table::new(keys, seeds)
}

/// On cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Apart<T>(T);

impl Counted {
    fn new(keys: usize) -> Counted {
        Counted {
            table: table(keys),
            began: Clock::default().now(),
            refused: Apart::default(),
            delayed: Apart::default(),
        }
    }

    /// Nanoseconds since the table began.
    pub(in crate::proxy) fn since_began(&self, now: Moment) -> u64 {
        u64::try_from(now.since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// A request was refused.
    pub(in crate::proxy) fn refused(&self) {
        self.refused.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has to wait.
    pub(in crate::proxy) fn delayed(&self) {
        self.delayed.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Rate {
    fn named(name: &str, made: &Made<'_>) -> Option<Arc<Rate>> {
        let settings = made.settings.rates.iter().find(|rate| rate.name == name)?;
        let flow::Rate { name, per, burst, by, v4_prefix, v6_prefix, delay, keys, status, .. } = settings;
        let flow::Rate { without, fields, detect_only, .. } = settings;
        // All that decides what the times of the table mean.
        let what = format!("rate {name} {per} {burst} {by:?} {v4_prefix} {v6_prefix} {keys}");
        let bits = |prefix: u8, all: u32| (all - u32::from(prefix).min(all), all);
        let (v4, v6) = (bits(*v4_prefix, u32::BITS), bits(*v6_prefix, u128::BITS));
        let masks = (u32::MAX.checked_shl(v4.0).unwrap_or(0), u128::MAX.checked_shl(v6.0).unwrap_or(0));
        Some(Arc::new(Rate {
            name: name.clone(),
            limit: Limit::new(per.count, per.time, *burst, *delay),
            text: per.to_string(),
            by: by.clone().into_boxed_slice(),
            masks,
            status: *status,
            without: *without,
            fields: *fields,
            detect_only: *detect_only,
            policy: policy(name, per, *burst),
            counted: made.registry.keep(what, || Counted::new(*keys)),
        }))
    }

    /// What of an address counts: those of a network count together.
    pub(in crate::proxy) fn network(&self, client: IpAddr) -> IpAddr {
        match client.to_canonical() {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & self.masks.0).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & self.masks.1).into(),
        }
    }
}

/// `"name";q=100;w=1`: the quota, and the seconds of its window. A burst that is larger than the rate is the quota of
/// the time that it takes to come back.
fn policy(name: &str, per: &flow::Frequency, burst: u32) -> Box<[u8]> {
    let seconds = match burst > per.count {
        true => (u64::from(burst) * per.time.as_secs()).div_ceil(u64::from(per.count)),
        false => per.time.as_secs(),
    };
    // Names have no quotation marks and no backslashes.
    format!("\"{name}\";q={};w={seconds}", burst.max(per.count)).into_bytes().into_boxed_slice()
}

/// How a rate stands, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RateReport {
    /// Its name.
    pub(crate) name: String,
    /// Whether it only detects: then nobody was refused, and nobody had to wait.
    pub(crate) detect_only: bool,
    /// Requests that were refused, since the table began.
    pub(crate) refused: u64,
    /// Those that had to wait.
    pub(crate) delayed: u64,
    /// Keys that something is remembered of.
    pub(crate) keys: usize,
    /// So many there is room for.
    pub(crate) keys_max: usize,
}

/// The rates of a configuration, in its order, as far as they are used.
pub(in crate::proxy::snapshot) fn used<'a>(
    settings: &Settings,
    rules: impl Iterator<Item = &'a super::TrafficRules> + Clone,
) -> Vec<Arc<Rate>> {
    let used = || rules.clone().filter_map(|rules| rules.flow.as_deref()).flat_map(|flow| &flow.rates);
    settings.rates.iter().filter_map(|rate| used().find(|used| used.name == rate.name).cloned()).collect()
}

impl Rate {
    /// How it stands. Takes a while where there is room for many keys.
    pub(crate) fn report(&self, clock: &Clock) -> RateReport {
        let counted = &self.counted;
        RateReport {
            name: self.name.clone(),
            detect_only: self.detect_only,
            refused: counted.refused.0.load(Ordering::Relaxed),
            delayed: counted.delayed.0.load(Ordering::Relaxed),
            keys: counted.table.busy(counted.since_began(clock.now())),
            keys_max: counted.table.slots(),
        }
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
