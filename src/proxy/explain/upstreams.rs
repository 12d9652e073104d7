//! Which upstreams a route has, which of them gets the request, and how their endpoints are.

use std::cmp::Reverse;
use std::rc::Rc;

use super::{ConnectFailure, Endpoint, EndpointState, Explaining, Mirror, Upstream, View};
use crate::config::route::{self, SplitBy};
use crate::net::deadline::TICK;
use crate::proxy::admit::Admitted;
use crate::proxy::routing;
use crate::proxy::snapshot::Action;
use crate::upstream::Node;

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
                endpoints: self.endpoints(target.upstream),
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

    fn endpoints(&self, upstream: usize) -> Vec<Endpoint> {
        let snapshot = &self.received.terms.snapshot;
        let (nodes, said) =
            (snapshot.upstreams[upstream].endpoints(), &snapshot.settings.upstreams[upstream]);
        let endpoint = |(node, said): (&Rc<Node>, &crate::config::EndpointSettings)| Endpoint {
            address: node.key().address.to_string(),
            weight: said.weight,
            state: (self.view == View::Running).then(|| self.state(node)),
        };
        nodes.iter().zip(&said.endpoints).map(endpoint).collect()
    }

    fn state(&self, node: &Node) -> EndpointState {
        let failure = node.last_failure().map(|(tick, reason)| ConnectFailure {
            seconds_ago: TICK.saturating_mul(self.core.deadlines.now().saturating_sub(tick)).as_secs(),
            reason: reason.name().to_owned(),
            why: reason.sentence().to_owned(),
        });
        let addresses = node.addresses().iter().map(ToString::to_string).collect();
        EndpointState { addresses, idle: node.idle(), failure }
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
