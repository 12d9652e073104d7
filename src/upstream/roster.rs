//! The endpoints of an upstream as they stand: what the control side tells the cores.
//!
//! A configuration names endpoints; look-ups and files make members of them, each with an address of its own; probes,
//! tallies and operators say how these stand. Whatever changes, the cores get a new roster of the whole upstream.

use std::sync::Arc;

use super::Address;
use super::balance::Ring;
use super::shared::{EndpointShared, UpstreamShared};
use crate::config::{Balance, EndpointSettings, UpstreamSettings};

/// What the weight of an endpoint is multiplied with to become its share, when it gets its whole share.
pub const SHARE_WHOLE: u32 = 1000;

/// All endpoints of an upstream.
#[derive(Clone, Debug)]
pub struct Roster {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Rises with each roster that the process makes: of two, the one with the higher version holds.
    pub version: u64,
    /// The endpoints, those first that the configuration names first. No address is there twice.
    pub members: Box<[Member]>,
    /// Whether some name has no address yet: then no member means that, and not that there is none.
    pub unresolved: bool,
    /// Whether the circuit breaker lets requests pass.
    pub breaker: BreakerState,
    /// The ring of all members, by place, where the upstream balances by consistent hashing.
    pub ring: Option<Arc<Ring>>,
    /// What the cores share of the upstream. It stays for as long as the process knows the upstream.
    pub shared: Arc<UpstreamShared>,
}

/// An endpoint.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is. Within its upstream it is known by that.
    pub address: Address,
    /// Where it may be reached if not there: the addresses of the other family that its name has.
    pub fallbacks: Arc<[Address]>,
    /// Host and port as the configuration names them: what Host says when the client's is not preserved.
    pub authority: Arc<str>,
    /// The place among the endpoints of the configuration that it comes from.
    pub origin: usize,
    /// Its weight, as configured.
    pub weight: u32,
    /// Its share of the requests: its weight in thousandths, less while it starts slowly; at least 1.
    pub share: u32,
    /// Whether it gets requests only when none of the others is up.
    pub backup: bool,
    /// Connections that may be open to it, over all cores.
    pub connections_max: Option<u32>,
    /// Requests that may be in flight at it, over all cores.
    pub requests_max: Option<u32>,
    /// Whether it gets requests.
    pub standing: Standing,
    /// What the cores share of it. It stays for as long as the process knows the endpoint.
    pub shared: Arc<EndpointShared>,
}

/// Whether an endpoint gets requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    #[default]
    Up,
    /// Probes have failed.
    Down,
    /// Requests have failed.
    Ejected,
    /// Somebody wants it to get no more, whatever else holds.
    Draining,
}

impl Standing {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Standing::Up => "up",
            Standing::Down => "down",
            Standing::Ejected => "ejected",
            Standing::Draining => "draining",
        }
    }
}

/// Whether a circuit breaker lets requests pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    #[default]
    Closed,
    /// As many as [`UpstreamShared`] has trials.
    HalfOpen,
    /// None.
    Open,
}

impl Roster {
    /// The roster of an upstream before anything is known but what its configuration says: endpoints with a name, of
    /// SRV records or in a file are not in it.
    pub fn of_literals(settings: &UpstreamSettings, version: u64, shared: Arc<UpstreamShared>) -> Roster {
        let mut members: Vec<Member> = Vec::new();
        for (origin, endpoint) in settings.endpoints.iter().enumerate() {
            if let Some(address) = Address::literal(&endpoint.address)
                && members.iter().all(|member| member.address != address)
            {
                members.push(Member::new(address, origin, endpoint));
            }
        }
        Roster {
            upstream: settings.name.as_str().into(),
            version,
            unresolved: settings
                .endpoints
                .iter()
                .any(|endpoint| Address::literal(&endpoint.address).is_none()),
            breaker: BreakerState::Closed,
            ring: matches!(settings.balance, Balance::ConsistentHash { .. }).then(|| ring(&members)),
            members: members.into(),
            shared,
        }
    }
}

/// The ring of these members.
pub fn ring(members: &[Member]) -> Arc<Ring> {
    let endpoints: Vec<(u64, u32)> =
        members.iter().map(|member| (member.address.id(), member.weight)).collect();
    Arc::new(Ring::new(&endpoints))
}

impl Member {
    /// The endpoint of that place in the configuration, at that address, as it stands when nothing is known of it.
    pub fn new(address: Address, origin: usize, settings: &EndpointSettings) -> Member {
        Member {
            address,
            fallbacks: Arc::default(),
            authority: settings.address.authority().into(),
            origin,
            weight: settings.weight,
            share: settings.weight.saturating_mul(SHARE_WHOLE),
            backup: settings.backup,
            connections_max: settings.connections_max,
            requests_max: settings.requests_max,
            standing: Standing::Up,
            shared: Arc::default(),
        }
    }
}
