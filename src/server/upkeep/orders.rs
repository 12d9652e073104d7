//! What people ask of the book: what there is, and that an endpoint gets no more requests, or again.

use std::net::IpAddr;
use std::time::Duration;

use super::book::Book;
use super::endpoint::Endpoint;
use super::upstream::{Counted, Entry};
use crate::config::{Balance, EndpointAddress};
use crate::server::admin::upstreams::{
    DrainRequest, EndpointStatus, ProbeStatus, UpkeepStatus, UpstreamStatus,
};
use crate::upstream::roster::SHARE_WHOLE;
use crate::upstream::{Address, BreakerState, Standing};

/// So many names are proposed to somebody who used one that there is not.
const PROPOSED_MAX: usize = 3;

/// All upstreams as they are.
#[derive(Clone, Debug)]
pub(in crate::server) struct Listing {
    pub(in crate::server) upstreams: Vec<UpstreamStatus>,
    pub(in crate::server) counted: UpkeepStatus,
}

/// What an order has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Drained {
    /// The upstream.
    pub(in crate::server) upstream: String,
    /// The endpoint.
    pub(in crate::server) address: Address,
    /// It was not so before.
    pub(in crate::server) changed: bool,
}

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum NotDrained {
    /// There is no such endpoint, or no such upstream.
    Unknown(String),
    /// It is not clear which one is meant.
    Several(String),
}

/// What there is.
pub(super) fn list(book: &Book, now: Duration) -> Listing {
    Listing {
        upstreams: book.entries().iter().map(|entry| upstream(entry, now)).collect(),
        counted: counted(book.counted()),
    }
}

/// Has endpoints get no more requests, or again: all that are meant.
///
/// # Errors
/// None is meant, or it is not clear in which upstream.
pub(super) fn drain(
    book: &mut Book,
    order: &DrainRequest,
    drained: bool,
    now: Duration,
) -> Result<Vec<Drained>, NotDrained> {
    let places = match find(book.entries(), order) {
        // It may have gone, and come again.
        Err(NotDrained::Unknown(why)) if !drained => {
            return restore_gone(book, order, now).ok_or(NotDrained::Unknown(why));
        }
        found => found?,
    };
    let carry_out = |place: (usize, usize)| {
        let changed = book.drain(place, drained, now);
        let entry = &book.entries()[place.0];
        Drained {
            upstream: entry.name.to_string(),
            address: entry.endpoints[place.1].member.address.clone(),
            changed,
        }
    };
    Ok(places.into_iter().map(carry_out).collect())
}

/// Has an endpoint get requests again that was drained, and is not there now; none if there is none.
fn restore_gone(book: &mut Book, order: &DrainRequest, now: Duration) -> Option<Vec<Drained>> {
    let is_meant = |address: &Address| is_called(address, &order.endpoint);
    let restored = book.restore_gone(order.upstream.as_deref(), is_meant, now);
    let told = |(upstream, address): (std::sync::Arc<str>, Address)| Drained {
        upstream: upstream.to_string(),
        address,
        changed: true,
    };
    Some(restored.into_iter().map(told).collect()).filter(|restored: &Vec<_>| !restored.is_empty())
}

/// The places of the endpoints that are meant, all in one upstream.
fn find(entries: &[Entry], order: &DrainRequest) -> Result<Vec<(usize, usize)>, NotDrained> {
    let DrainRequest { upstream, endpoint } = order;
    if let Some(name) = upstream
        && !entries.iter().any(|entry| *entry.name == **name)
    {
        let names = entries.iter().map(|entry| entry.name.to_string());
        return Err(NotDrained::Unknown(format!("there is no upstream {name}{}", proposed(name, names))));
    }
    let is_meant = |entry: &Entry| upstream.as_ref().is_none_or(|name| *entry.name == **name);
    let mut places = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| is_meant(entry)) {
        let found = entry.endpoints.iter().enumerate().filter(|(_, known)| is(entry, known, endpoint));
        let before = places.len();
        places.extend(found.map(|(found, _)| (place, found)));
        if places.len() > before {
            names.push(&entry.name);
        }
    }
    match names.len() {
        0 => {
            let known = entries.iter().filter(|entry| is_meant(entry)).flat_map(names_of);
            let place = upstream.as_ref().map(|name| format!(" in the upstream {name}")).unwrap_or_default();
            let proposed = proposed(endpoint, known);
            Err(NotDrained::Unknown(format!("there is no endpoint {endpoint}{place}{proposed}")))
        }
        1 => Ok(places),
        _ => Err(NotDrained::Several(format!(
            "{endpoint} is in several upstreams, so say in which: {}",
            names.join(", ")
        ))),
    }
}

/// Whether that is what somebody calls the endpoint: its address, or the name that it was found by.
fn is(entry: &Entry, endpoint: &Endpoint, said: &str) -> bool {
    is_called(&endpoint.member.address, said)
        || configured(entry, endpoint).is_some_and(|configured| configured.to_string() == said)
        || host_of(endpoint).is_some_and(|host| host == said)
}

/// Whether somebody means this address.
fn is_called(address: &Address, said: &str) -> bool {
    let parsed = said.parse::<EndpointAddress>().ok().and_then(|said| Address::literal(&said));
    parsed.as_ref() == Some(address) || address.to_string() == said
}

/// What the configuration calls it.
fn configured<'a>(entry: &'a Entry, endpoint: &Endpoint) -> Option<&'a EndpointAddress> {
    entry.settings.endpoints.get(endpoint.member.origin).map(|settings| &settings.address)
}

/// Its own name, such as the target of an SRV record. That of a Unix socket is nobody's own.
fn host_of(endpoint: &Endpoint) -> Option<&str> {
    matches!(endpoint.member.address, Address::Ip(_)).then_some(&*endpoint.member.authority)
}

fn names_of(entry: &Entry) -> impl Iterator<Item = String> {
    let names = entry.endpoints.iter().flat_map(|endpoint| {
        let configured = configured(entry, endpoint).map(ToString::to_string);
        let own = host_of(endpoint).filter(|own| own.parse::<IpAddr>().is_err()).map(str::to_owned);
        [Some(endpoint.member.address.to_string()), configured, own]
    });
    names.flatten()
}

/// The names that are most like one that there is not.
fn proposed(said: &str, known: impl Iterator<Item = String>) -> String {
    let mut known: Vec<(f64, String)> =
        known.map(|name| (strsim::normalized_damerau_levenshtein(said, &name), name)).collect();
    known.sort_by(|(one, first), (other, second)| other.total_cmp(one).then_with(|| first.cmp(second)));
    known.dedup_by(|(_, one), (_, other)| one == other);
    let names: Vec<String> = known.into_iter().take(PROPOSED_MAX).map(|(_, name)| name).collect();
    match names.is_empty() {
        true => "; there are none".to_owned(),
        false => format!("; the closest is {}", names.join(", then ")),
    }
}

fn upstream(entry: &Entry, now: Duration) -> UpstreamStatus {
    UpstreamStatus {
        name: entry.name.to_string(),
        balance: balance(&entry.settings.balance).to_owned(),
        breaker: entry.breaker_state().map(|state| breaker(state).to_owned()),
        waiting: entry.shared.waiting(),
        unresolved: entry.unresolved,
        counted: counted(entry.counted),
        endpoints: entry.endpoints.iter().map(|one| endpoint(entry, one, now)).collect(),
    }
}

fn endpoint(entry: &Entry, endpoint: &Endpoint, now: Duration) -> EndpointStatus {
    let member = &endpoint.member;
    let address = member.address.to_string();
    let whole = u64::from(member.weight) * u64::from(SHARE_WHOLE);
    let probe = endpoint.probing.as_ref().and_then(|probing| probing.last.as_ref());
    EndpointStatus {
        from: configured(entry, endpoint).map_or_else(|| address.clone(), ToString::to_string),
        address,
        weight: member.weight,
        share_percent: u32::try_from(u64::from(member.share) * 100 / whole.max(1)).unwrap_or(100),
        backup: member.backup,
        standing: standing(member.standing).to_owned(),
        since_seconds: now.saturating_sub(endpoint.since).as_secs(),
        why: endpoint.why(),
        drained: endpoint.drained,
        in_flight: None,
        connections: member.shared.connections(),
        idle: None,
        requests: None,
        failures: None,
        probe: probe.map(|(at, result)| ProbeStatus {
            passed: result.is_ok(),
            why: result.clone().err(),
            seconds_ago: now.saturating_sub(*at).as_secs(),
        }),
    }
}

fn counted(counted: Counted) -> UpkeepStatus {
    let Counted { ejections, recoveries, probes_passed, probes_failed, breaker_openings, rosters } = counted;
    UpkeepStatus { ejections, recoveries, probes_passed, probes_failed, breaker_openings, rosters }
}

fn balance(balance: &Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round-robin",
        Balance::LeastConnections => "least-connections",
        Balance::PowerOfTwo => "power-of-two",
        Balance::Random => "random",
        Balance::ConsistentHash { .. } => "consistent-hash",
    }
}

fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half-open",
        BreakerState::Open => "open",
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Up => "up",
        Standing::Down => "down",
        Standing::Ejected => "ejected",
        Standing::Draining => "draining",
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
