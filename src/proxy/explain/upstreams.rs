//! Which upstreams a route has, which of them gets the request, and how their endpoints are.

use std::cmp::Reverse;
use std::rc::Rc;

use super::{ConnectFailure, Endpoint, EndpointState, Explaining, Mirror, Upstream, View};
use crate::config::route::{self, SplitBy};
use crate::config::{Balance, EndpointSettings, HashBy};
use crate::net::deadline::TICK;
use crate::proxy::attempt::affinity;
use crate::proxy::request::admit::Admitted;
use crate::proxy::request::routing;
use crate::proxy::snapshot::Action;
use crate::upstream::{self as balanced, Member, Node, Standing};

impl Explaining<'_> {
    /// What is said of the upstreams. Where chance decides, the one that most requests go to stands for all, so
    /// that the same question has the same answer.
    pub(super) fn take_upstream(&mut self) {
        let snapshot = self.received.terms.snapshot.clone();
        let Some(place) = self.received.terms.route_place() else { return };
        let rules = &snapshot.routes[place];
        let (Action::Forward { split, to }, route::Action::Forward(said)) =
            (&rules.action, &snapshot.settings.routes[place].action)
        else {
            return;
        };
        let (client, _) = routing::client(&self.peer, &self.received);
        let point = |chance| split.point(client, self.received.fields(), chance);
        let is_chance = point(0) != point(1);
        let heaviest = || {
            let weights = said.shares.iter().enumerate();
            weights.max_by_key(|(at, (_, weight))| (*weight, Reverse(*at))).map_or(0, |(at, _)| at)
        };
        let taken = if is_chance { heaviest() } else { split.choose(point(0)) };
        if let [_, _, ..] = &**to {
            self.account.split_by = Some(decider(&said.by, is_chance));
        }
        let shares = to.iter().zip(&said.shares).enumerate();
        self.account.upstreams = shares
            .map(|(at, (target, (name, weight)))| Upstream {
                name: name.clone(),
                weight: (to.len() > 1).then_some(*weight),
                taken: at == taken,
                balance: balance(&snapshot.upstreams[target.upstream].settings().balance),
                endpoint: self.endpoint_by_key(&snapshot.upstreams[target.upstream]),
                endpoints: self.endpoints(&snapshot.upstreams[target.upstream]),
            })
            .collect();
        if let Some(target) = to.get(taken) {
            self.received.terms.take_upstream(target.upstream, target.identity);
        }
    }

    /// Who gets a copy of a request that is passed on. One that wants to leave HTTP is not copied.
    pub(super) fn mirror(&self, admitted: &Admitted) -> Option<Mirror> {
        let terms = &self.received.terms;
        let (upstream, share) = terms.route()?.mirror.filter(|_| admitted.upgrade.is_none())?;
        Some(Mirror { upstream: terms.snapshot.upstreams.get(upstream)?.name.to_string(), share })
    }

    fn endpoints(&self, upstream: &balanced::Upstream) -> Vec<Endpoint> {
        let roster = upstream.roster();
        let nodes = upstream.endpoints();
        let endpoint = |(origin, said): (usize, &EndpointSettings)| {
            let members = nodes.iter().zip(&roster.members).filter(|(_, member)| member.origin == origin);
            Endpoint {
                address: said.address.to_string(),
                weight: said.weight,
                backup: said.backup,
                state: (self.view == View::Running).then(|| self.state(&members.collect::<Vec<_>>())),
            }
        };
        upstream.settings().endpoints.iter().enumerate().map(endpoint).collect()
    }

    /// How the members of an endpoint are.
    fn state(&self, members: &[(&Rc<Node>, &Member)]) -> EndpointState {
        let failures = members.iter().filter_map(|(node, _)| node.score.last_failure());
        let failure = failures.max_by_key(|(tick, _)| *tick).map(|(tick, reason)| ConnectFailure {
            seconds_ago: TICK.saturating_mul(self.core.deadlines.now().saturating_sub(tick)).as_secs(),
            reason: reason.name().to_owned(),
            why: reason.sentence().to_owned(),
        });
        let addresses = members.iter().flat_map(|(node, _)| node.addresses());
        let standing = members.iter().filter(|(_, member)| member.standing != Standing::Up);
        let standing = standing.map(|(_, member)| match members {
            [_] => member.standing.name().to_owned(),
            _ => format!("{} {}", member.address, member.standing.name()),
        });
        EndpointState {
            addresses: addresses.map(|address| address.to_string()).collect(),
            standing: standing.collect(),
            idle: members.iter().map(|(node, _)| node.idle()).sum(),
            failure,
        }
    }

    /// The endpoint that the request goes to, where its key decides that.
    fn endpoint_by_key(&self, upstream: &balanced::Upstream) -> Option<String> {
        let head = self.received.head.as_ref()?;
        let point = affinity::point_of_key(upstream.hash_by()?, &self.peer, &self.received, head)?;
        let slot = upstream.choose(point, None, &[]).ok()?;
        Some(slot.node().key().address.to_string())
    }
}

/// How an endpoint is chosen, in the words of the configuration.
fn balance(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round-robin".to_owned(),
        Balance::LeastConnections => "least-connections".to_owned(),
        Balance::PowerOfTwo => "power-of-two".to_owned(),
        Balance::Random => "random".to_owned(),
        Balance::ConsistentHash { by, .. } => format!(
            "consistent-hash by {}",
            match by {
                HashBy::Client => "the client's address".to_owned(),
                HashBy::Path => "the path".to_owned(),
                HashBy::Url => "the URL".to_owned(),
                HashBy::Header(name) => format!("the header {name}"),
                HashBy::Cookie(name) => format!("the cookie {name}"),
            }
        ),
    }
}

/// What decides between several upstreams.
fn decider(by: &SplitBy, is_chance: bool) -> String {
    let what = match by {
        SplitBy::Chance => return "chance".to_owned(),
        SplitBy::Client => "the client's address".to_owned(),
        SplitBy::Cookie(name) => format!("the cookie {name}"),
        SplitBy::Header(name) => format!("the header {name}"),
    };
    if is_chance { format!("chance, for there is nothing in {what}") } else { what }
}
