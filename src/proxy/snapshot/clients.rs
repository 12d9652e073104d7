//! How many connections clients may have at a listener, and how fast new ones may come, as all cores count them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::registry::Registry;
use super::traffic::table;
use crate::clock::{Clock, Moment};
use crate::config::clients::{ClientLimits, ConnectionRate};
use crate::filter::arrivals::{Count, Crowd, client};
use crate::filter::rate::{Limit, Table};
use crate::proxy::client::visit::{Counted, Refused, Visit};

/// Clients of whose arrivals something is remembered, at each listener: some 2 MiB.
const CLIENTS: usize = 1 << 16;

/// See the module. The counts outlive configurations; a connection stays counted where it was when it came.
#[derive(Clone)]
pub(crate) struct ClientRules {
    all: Option<(Arc<Count>, u64)>,
    of_client: Option<(Arc<Crowd>, u16)>,
    rate: Option<Arrivals>,
    client_rate: Option<Arrivals>,
    v6_prefix: u8,
    /// What the times are counted from, on all cores.
    since: Arc<Moment>,
}

/// How fast connections may come, and when they have come.
#[derive(Clone)]
struct Arrivals {
    table: Arc<Table>,
    limit: Limit,
}

impl Arrivals {
    /// Of so many clients. Those of another rate would have been counted in another way.
    fn new(rate: ConnectionRate, keys: usize, name: &str, registry: &Registry) -> Arrivals {
        let limit = Limit::new(1, rate.pace.interval(), rate.burst, Duration::ZERO);
        Arrivals { table: registry.keep(format!("{name}: {limit:?}"), || table(keys)), limit }
    }

    /// What all count as.
    const ALL: u64 = 1;

    /// What a client counts as.
    fn key(&self, client: IpAddr) -> u64 {
        let mut keying = self.table.keying();
        match client {
            IpAddr::V4(four) => keying.add_bytes(4, &four.octets()),
            IpAddr::V6(six) => keying.add_bytes(6, &six.octets()),
        }
        keying.finish()
    }

    fn would_take(&self, key: u64, now: u64) -> bool {
        self.table.look(&self.limit, key, now).taken
    }

    fn take(&self, key: u64, now: u64) -> bool {
        self.table.take(&self.limit, key, now).taken
    }

    fn give_back(&self, key: u64) {
        self.table.give_back(&self.limit, key);
    }
}

impl ClientRules {
    /// None where there are no limits.
    pub(super) fn new(name: &str, limits: &ClientLimits, registry: &Registry) -> Option<ClientRules> {
        let ClientLimits {
            connections_max,
            client_connections_max,
            client_v6_prefix: bits,
            rate,
            client_rate,
        } = *limits;
        if limits.is_none() {
            return None;
        }
        Some(ClientRules {
            all: connections_max
                .map(|max| (registry.keep(format!("connections of {name}"), Count::default), u64::from(max))),
            of_client: client_connections_max
                .map(|max| (registry.keep(format!("connections of {name} by /{bits}"), Crowd::default), max)),
            rate: rate.map(|rate| Arrivals::new(rate, 1, &format!("arrivals at {name}"), registry)),
            client_rate: client_rate.map(|rate| {
                Arrivals::new(rate, CLIENTS, &format!("arrivals at {name} by /{bits}"), registry)
            }),
            v6_prefix: bits,
            since: registry.keep("since".to_owned(), || Clock::default().now()),
        })
    }

    /// Counts a connection, and then for its client, if that is known.
    pub(in crate::proxy) fn welcome(&self, now: Moment, peer: Option<IpAddr>) -> Result<Visit, Refused> {
        let mut counted = Counted::default();
        let time = self.time(now);
        if let Some((count, max)) = &self.all {
            if !count.enter(*max) {
                return Err(Refused::Listener);
            }
            counted.all = Some(count.clone());
        }
        // What the listener turns away uses up nothing of its client's, nor what that turns away of the listener's.
        if self.rate.as_ref().is_some_and(|all| !all.would_take(Arrivals::ALL, time)) {
            return Err(Refused::Rate);
        }
        self.count_client(&mut counted, now, peer)?;
        if self.rate.as_ref().is_some_and(|all| !all.take(Arrivals::ALL, time)) {
            // Others came in between.
            self.give_back_client(peer);
            return Err(Refused::Rate);
        }
        Ok(counted.into())
    }

    /// Takes back that a connection was welcome a moment ago, for which there is no room after all.
    pub(in crate::proxy) fn give_back(&self, peer: Option<IpAddr>) {
        if let Some(all) = &self.rate {
            all.give_back(Arrivals::ALL);
        }
        self.give_back_client(peer);
    }

    fn give_back_client(&self, peer: Option<IpAddr>) {
        if let (Some(each), Some(peer)) = (&self.client_rate, peer) {
            each.give_back(each.key(client(peer, self.v6_prefix)));
        }
    }

    /// Counts a connection for its client, which is only known now.
    pub(in crate::proxy) fn introduce(&self, now: Moment, client: Option<IpAddr>) -> Result<Visit, Refused> {
        let mut counted = Counted::default();
        self.count_client(&mut counted, now, client)?;
        Ok(counted.into())
    }

    fn count_client(&self, counted: &mut Counted, now: Moment, peer: Option<IpAddr>) -> Result<(), Refused> {
        if self.of_client.is_none() && self.client_rate.is_none() {
            return Ok(());
        }
        let Some(client) = peer.map(|peer| client(peer, self.v6_prefix)) else { return Ok(()) };
        if let Some((crowd, max)) = &self.of_client {
            let guest = crowd.enter(client, *max);
            let guest = guest.ok_or(Refused::Client)?;
            counted.client = Some((crowd.clone(), guest));
        }
        match &self.client_rate {
            Some(each) if !each.take(each.key(client), self.time(now)) => Err(Refused::ClientRate),
            _ => Ok(()),
        }
    }

    /// Nanoseconds since what times are counted from.
    fn time(&self, now: Moment) -> u64 {
        u64::try_from(now.since(*self.since).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const OTHER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

    /// The rules of a listener with these rates, at the moment from which they count.
    fn rules(
        registry: &Registry,
        all: Option<(&str, u32)>,
        each: Option<(&str, u32)>,
    ) -> (ClientRules, Moment) {
        let rate = |(pace, burst): (&str, u32)| ConnectionRate { pace: pace.parse().unwrap(), burst };
        let limits =
            ClientLimits { rate: all.map(rate), client_rate: each.map(rate), ..ClientLimits::default() };
        let rules = ClientRules::new("web", &limits, registry).unwrap();
        let now = *rules.since;
        (rules, now)
    }

    /// How many of ten are welcome.
    fn welcome(rules: &ClientRules, now: Moment, peer: Option<IpAddr>) -> usize {
        (0..10).filter(|_| rules.welcome(now, peer).is_ok()).count()
    }

    #[test]
    fn one_client_does_not_use_up_what_another_has() {
        let (rules, now) = rules(&Registry::default(), None, Some(("1/h", 3)));
        assert_eq!((welcome(&rules, now, ONE), welcome(&rules, now, OTHER)), (3, 3));
        assert_eq!(rules.welcome(now, ONE).err(), Some(Refused::ClientRate));
        assert_eq!(welcome(&rules, now, None), 10, "whoever is not known is no client");
        assert_eq!(rules.introduce(now, ONE).err(), Some(Refused::ClientRate));
    }

    #[test]
    fn what_the_listener_turns_away_does_not_count_for_its_client_nor_the_other_way_round() {
        let registry = Registry::default();
        let (rules, now) = rules(&registry, Some(("1/h", 4)), Some(("1/h", 3)));
        let all = |rules: &ClientRules| rules.rate.clone().unwrap();
        // Seven were over the client's limit, and left the listener what it has.
        assert_eq!(welcome(&rules, now, ONE), 3);
        assert_eq!((welcome(&rules, now, OTHER), rules.welcome(now, OTHER).err()), (1, Some(Refused::Rate)));
        // What the listener refused left the client what it has.
        all(&rules).give_back(Arrivals::ALL);
        all(&rules).give_back(Arrivals::ALL);
        assert_eq!(welcome(&rules, now, OTHER), 2);
        // For what the process has no room counts for nobody.
        for _ in 0..5 {
            rules.give_back(OTHER);
            assert_eq!(welcome(&rules, now, OTHER), 1);
        }
    }

    #[test]
    fn a_rate_that_stays_goes_on_with_its_count_and_another_begins() {
        let registry = Registry::default();
        let (before, now) = rules(&registry, Some(("1/h", 3)), None);
        assert_eq!(welcome(&before, now, None), 3);
        assert_eq!(welcome(&rules(&registry, Some(("1/h", 3)), None).0, now, None), 0);
        assert_eq!(welcome(&rules(&registry, Some(("1/h", 4)), None).0, now, None), 4);
    }
}
