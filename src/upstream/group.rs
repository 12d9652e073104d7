//! Upstreams of one core: what a configuration makes of the endpoints that the core has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::balance::Turns;
use super::pool::PoolBounds;
use super::{Address, Endpoint, EndpointKey, Node};
use crate::config::UpstreamSettings;
use crate::net::Ticks;

/// An upstream of one core and one configuration. Its endpoints may be in later configurations too.
pub(crate) struct Upstream {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Whether endpoints see their own name in Host, rather than the client's.
    pub(crate) own_host: bool,
    /// Connecting to an endpoint.
    pub(crate) connect: Duration,
    /// From the request's last byte to the response's first.
    pub(crate) first_byte: Ticks,
    /// Between two reads of the response, or two writes of the request.
    pub(crate) idle: Ticks,
    /// How often a request may be sent again after its first try.
    pub(crate) retries_max: u32,
    endpoints: Box<[Rc<Node>]>,
    turns: Turns,
}

impl Upstream {
    /// Its endpoints, in the order of the configuration.
    pub(crate) fn endpoints(&self) -> &[Rc<Node>] {
        &self.endpoints
    }

    /// The place of the endpoint whose turn it is; none if there are none.
    pub(crate) fn choose(&self) -> Option<usize> {
        self.turns.choose()
    }

    /// The endpoint at that place, or at what is left of it after going round.
    pub(crate) fn endpoint(&self, place: usize) -> Option<&Rc<Node>> {
        self.endpoints.get(place.checked_rem(self.endpoints.len())?)
    }
}

/// The endpoints of one core, of whatever configuration.
#[derive(Default)]
pub(crate) struct Nodes {
    nodes: RefCell<HashMap<EndpointKey, Rc<Node>>>,
}

impl Nodes {
    /// Makes the upstreams of a configuration, in its order. An endpoint that is here already stays, with
    /// its connections; one that the configuration does not have goes: its idle connections are closed,
    /// and those in use when they come back. `known` has the addresses of names. `start` sets the turns
    /// of the cores apart.
    pub(crate) fn adopt(
        &self,
        upstreams: &[UpstreamSettings],
        known: &[Endpoint],
        start: usize,
    ) -> Vec<Rc<Upstream>> {
        let known: HashMap<&EndpointKey, &[Address]> =
            known.iter().map(|endpoint| (&endpoint.key, &*endpoint.addresses)).collect();
        let mut old = self.nodes.take();
        let mut nodes = HashMap::new();
        let made = upstreams.iter().map(|settings| {
            let name: Arc<str> = settings.name.as_str().into();
            let limits = &settings.limits;
            let bounds = PoolBounds { count_max: limits.pool_size, time: Ticks::of(limits.pool_idle) };
            let endpoints = settings.endpoints.iter().map(|endpoint| {
                let key = EndpointKey { upstream: name.clone(), address: endpoint.address.clone() };
                let literal = Address::literal(&key.address);
                let addresses = literal.as_slice();
                let addresses =
                    if literal.is_some() { addresses } else { known.get(&key).copied().unwrap_or_default() };
                let node = old.remove(&key).or_else(|| nodes.get(&key).cloned());
                let node = node.unwrap_or_else(|| Rc::new(Node::new(key.clone(), addresses, bounds)));
                node.set_bounds(bounds);
                node.set_addresses(addresses);
                nodes.insert(key, node.clone());
                node
            });
            let endpoints = endpoints.collect();
            let weights: Vec<u32> = settings.endpoints.iter().map(|endpoint| endpoint.weight).collect();
            Rc::new(Upstream {
                name,
                own_host: settings.own_host,
                connect: limits.connect,
                first_byte: Ticks::of(limits.first_byte),
                idle: Ticks::of(limits.idle),
                retries_max: limits.retries_max,
                endpoints,
                turns: Turns::new(&weights, start),
            })
        });
        let made = made.collect();
        old.values().for_each(|node| node.retire());
        self.nodes.replace(nodes);
        made
    }

    /// Takes addresses that have changed; those of endpoints that are not here do not matter.
    pub(crate) fn set_addresses(&self, changed: &[Endpoint]) {
        let nodes = self.nodes.borrow();
        for endpoint in changed {
            if let Some(node) = nodes.get(&endpoint.key) {
                node.set_addresses(&endpoint.addresses);
            }
        }
    }

    /// Closes the connections that have waited too long at the tick `now`, and those that the upstream
    /// has closed.
    pub(crate) fn expire(&self, now: u32) {
        self.nodes.borrow().values().for_each(|node| node.expire(now));
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
