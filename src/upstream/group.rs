//! Upstreams of one core: what a configuration and a roster make of the endpoints that the core has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connect::Dial;
use super::health::Tally;
use super::lineup::{Lineup, Plan};
use super::pool::{IdleOfCore, PoolBounds};
use super::retry::budget::Budget;
use super::roster::Roster;
use super::shared::{UpstreamShared, Waiting};
use super::slot::Slot;
use super::{EndpointKey, Node, NodeReport, sticky};
use crate::clock::Clock;
use crate::config::{Balance, HashBy, Queue, Retry, Sticky, UpstreamSettings};
use crate::error::Reason;
use crate::net::Ticks;
use crate::net::stream::TcpOptions;

pub(crate) use super::lineup::Unavailable;

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
    /// When that is.
    pub(crate) retry: Retry,
    /// How many of the requests that is.
    pub(crate) budget: Budget,
    /// What waits for room at its endpoints.
    pub(crate) queue: Queue,
    /// How connections are opened.
    pub(crate) dial: Dial,
    /// What the cookies of clients are signed with that stay at their endpoints.
    sticky: Option<sticky::Key>,
    settings: Arc<UpstreamSettings>,
    watch: Watch,
    bounds: PoolBounds,
    /// Sets the turns of the cores apart.
    seed: u64,
    lineup: RefCell<Rc<Lineup>>,
}

/// What the control side wants to hear of the requests of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// Nothing.
    Off,
    /// What fails.
    Failures,
    /// How many there are of both kinds.
    All,
}

impl Upstream {
    fn new(
        settings: &UpstreamSettings,
        (roster, nodes): (&Arc<Roster>, Box<[Rc<Node>]>),
        before: Option<&Lineup>,
        seed: u64,
        cores: usize,
    ) -> Upstream {
        let limits = &settings.limits;
        let counts_all = settings.breaker.is_some()
            || settings.ejection.as_ref().is_some_and(|ejection| ejection.rate.is_some());
        let plan = Plan { balance: &settings.balance, when_down: settings.when_down, seed };
        let tcp = TcpOptions { keepalive: limits.tcp_keepalive, user_timeout: limits.tcp_user_timeout };
        Upstream {
            name: roster.upstream.clone(),
            own_host: settings.own_host,
            connect: limits.connect,
            first_byte: Ticks::of(limits.first_byte),
            idle: Ticks::of(limits.idle),
            retries_max: limits.retries_max,
            budget: Budget::new(settings.retry.budget, cores),
            retry: settings.retry.clone(),
            queue: settings.queue.clone(),
            dial: Dial { tcp },
            sticky: settings
                .sticky
                .as_ref()
                .and_then(|sticky| sticky.secret.as_ref())
                .map(|secret| sticky::Key::new(secret.as_bytes(), &settings.name)),
            watch: match &settings.ejection {
                _ if counts_all => Watch::All,
                Some(_) => Watch::Failures,
                None => Watch::Off,
            },
            bounds: PoolBounds { count_max: limits.pool_size, time: Ticks::of(limits.pool_idle) },
            seed,
            lineup: RefCell::new(Rc::new(Lineup::new(&plan, roster.clone(), nodes, before))),
            settings: Arc::new(settings.clone()),
        }
    }

    /// What was said about it.
    pub(crate) fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Its endpoints, in the order of the roster.
    pub(crate) fn endpoints(&self) -> Vec<Rc<Node>> {
        self.lineup.borrow().nodes.to_vec()
    }

    /// What is known of it.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.lineup.borrow().roster.clone()
    }

    /// What decides which endpoint a request goes to, where that is not chance or turns.
    pub(crate) fn hash_by(&self) -> Option<&HashBy> {
        match &self.settings.balance {
            Balance::ConsistentHash { by, .. } => Some(by),
            _ => None,
        }
    }

    /// How clients are kept at their endpoints, and what their cookies are signed with.
    pub(crate) fn sticky(&self) -> Option<(&Sticky, &sticky::Key)> {
        Some((self.settings.sticky.as_ref()?, self.sticky.as_ref()?))
    }

    /// The endpoint that a client is to be told to stay at, which its answer comes from, if it does not know that.
    pub(crate) fn introduces(&self, node: &Node, wanted: Option<u64>, tried: &[Rc<Node>]) -> Option<u64> {
        self.sticky.as_ref()?;
        // One that has no room for the moment is where it belongs all the same.
        let has_room_later = |id| self.lineup.borrow().has(id) && tried.iter().all(|tried| tried.id() != id);
        let stays = wanted.is_some_and(|id| id == node.id() || has_room_later(id));
        (!stays).then(|| node.id())
    }

    /// Whether it matters how fast its endpoints answer.
    pub(crate) fn wants_latency(&self) -> bool {
        self.settings.balance == Balance::PowerOfTwo
    }

    /// Whether an answer of that status is a failure of its endpoint.
    pub(crate) fn is_failure(&self, status: u16) -> bool {
        let statuses = self.settings.ejection.as_ref().map_or(&[][..], |ejection| &ejection.statuses);
        statuses.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// Whether so many failures in a row are more than may go unheard until the next tick.
    pub(crate) fn is_alarming(&self, run: u32) -> bool {
        let consecutive = self.settings.ejection.as_ref().and_then(|ejection| ejection.consecutive);
        consecutive.is_some_and(|most| run.is_multiple_of(most.max(1)))
    }

    /// Whether the circuit breaker lets a request pass.
    ///
    /// # Errors
    /// It does not. Otherwise says whether the request is a trial, on which its state depends.
    pub(crate) fn pass(&self) -> Result<bool, Reason> {
        self.lineup.borrow().pass()
    }

    /// Whether there is another endpoint for a request than this one and those that were tried.
    pub(crate) fn has_others(&self, node: &Rc<Node>, tried: &[Rc<Node>]) -> bool {
        self.lineup.borrow().has_others(node, tried)
    }

    /// An endpoint for a request that these have been tried for, which now has one more in flight. `point` is that of
    /// the request's key, or random; `wanted` is the endpoint that the client belongs to, if it belongs to one.
    pub(crate) fn choose(
        &self,
        point: u64,
        wanted: Option<u64>,
        tried: &[Rc<Node>],
    ) -> Result<Slot, Unavailable> {
        self.lineup.borrow().choose(point, wanted, tried)
    }

    /// Whether others wait for room already.
    pub(crate) fn has_queue(&self) -> bool {
        let lineup = self.lineup.borrow();
        lineup.limited() && lineup.roster.shared.waiting() > 0
    }

    /// Makes a request wait for room, unless too many do.
    pub(crate) fn wait(&self) -> Option<Waiting> {
        self.shared().wait(self.queue.waiting_max)
    }

    /// What the cores share of it.
    fn shared(&self) -> Arc<UpstreamShared> {
        self.lineup.borrow().roster.shared.clone()
    }

    /// Takes another roster.
    fn follow(&self, roster: Arc<Roster>, nodes: Box<[Rc<Node>]>) {
        let before = self.lineup.borrow().clone();
        let plan =
            Plan { balance: &self.settings.balance, when_down: self.settings.when_down, seed: self.seed };
        let shared = roster.shared.clone();
        self.lineup.replace(Rc::new(Lineup::new(&plan, roster, nodes, Some(&before))));
        shared.changed();
    }
}

/// The endpoints of one core, of whatever configuration.
#[derive(Default)]
pub(crate) struct Nodes {
    nodes: RefCell<HashMap<EndpointKey, Rc<Node>>>,
    /// The upstreams of the newest configuration, by name.
    upstreams: RefCell<HashMap<Arc<str>, Rc<Upstream>>>,
    idle: Rc<IdleOfCore>,
}

impl Nodes {
    /// Sets how many idle connections this core may keep, over all endpoints, and how many cores there are.
    pub(crate) fn set_idle(&self, max: usize, cores: usize) {
        self.idle.max.set(max);
        self.idle.cores.set(cores);
    }

    /// Makes the upstreams of a configuration, in its order. An endpoint that is here already stays, with its
    /// connections; one that is in no roster goes: its idle connections are closed, and those in use when they come
    /// back. `rosters` has one for each. `seed` sets the turns of the cores apart.
    pub(crate) fn adopt(
        &self,
        upstreams: &[UpstreamSettings],
        rosters: &[Arc<Roster>],
        seed: u64,
    ) -> Vec<Rc<Upstream>> {
        let before = self.upstreams.take();
        let make = |settings: &UpstreamSettings| {
            let told = rosters.iter().find(|roster| *roster.upstream == *settings.name).cloned();
            // What came by itself may be newer than what came with the configuration.
            let known = before.get(&*settings.name).map(|upstream| upstream.roster());
            let newest = told.into_iter().chain(known).max_by_key(|roster| roster.version);
            let roster = newest.unwrap_or_else(|| Arc::new(Roster::of_literals(settings, 0, Arc::default())));
            let bounds = PoolBounds {
                count_max: settings.limits.pool_size,
                time: Ticks::of(settings.limits.pool_idle),
            };
            let nodes = self.nodes_of(&roster, bounds);
            let same = before.get(&*settings.name).filter(|known| known.settings.balance == settings.balance);
            let lineup = same.map(|known| known.lineup.borrow().clone());
            Rc::new(Upstream::new(settings, (&roster, nodes), lineup.as_deref(), seed, self.idle.cores.get()))
        };
        let made: Vec<_> = upstreams.iter().map(make).collect();
        let by_name = made.iter().map(|upstream| (upstream.name.clone(), upstream.clone()));
        self.upstreams.replace(by_name.collect());
        self.retire();
        made
    }

    /// Takes rosters that have changed; those of upstreams that are not here do not matter, nor do old ones.
    pub(crate) fn follow(&self, rosters: &[Arc<Roster>]) {
        for roster in rosters {
            let upstream = self.upstreams.borrow().get(&roster.upstream).cloned();
            if let Some(upstream) = upstream.filter(|upstream| upstream.roster().version < roster.version) {
                upstream.follow(roster.clone(), self.nodes_of(roster, upstream.bounds));
            }
        }
        self.retire();
    }

    /// A node for each member of a roster.
    fn nodes_of(&self, roster: &Roster, bounds: PoolBounds) -> Box<[Rc<Node>]> {
        let mut nodes = self.nodes.borrow_mut();
        let members = roster.members.iter().map(|member| {
            let key = EndpointKey { upstream: roster.upstream.clone(), address: member.address.clone() };
            let new = |key| Rc::new(Node::new(key, member, &roster.shared, &self.idle));
            let node = nodes.entry(key.clone()).or_insert_with_key(|key| new(key.clone()));
            // One that was gone meanwhile shares nothing any more with what other cores have.
            let is_same =
                Arc::ptr_eq(&node.shared, &member.shared) && Arc::ptr_eq(&node.upstream, &roster.shared);
            if !is_same {
                std::mem::replace(node, new(key)).retire();
            }
            node.set_bounds(bounds);
            node.follow(member);
            node.clone()
        });
        members.collect()
    }

    /// Lets go of endpoints that no roster has any more.
    fn retire(&self) {
        let upstreams = self.upstreams.borrow();
        let live: std::collections::HashSet<*const Node> = upstreams
            .values()
            .flat_map(|upstream| upstream.endpoints())
            .map(|node| Rc::as_ptr(&node))
            .collect();
        self.nodes.borrow_mut().retain(|_, node| {
            let stays = live.contains(&Rc::as_ptr(node));
            if !stays {
                node.retire();
            }
            stays
        });
    }

    /// What this core has seen of its endpoints since it was asked last, as far as somebody wants to hear it.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        let mut tallies = Vec::new();
        for upstream in self.upstreams.borrow().values().filter(|upstream| upstream.watch != Watch::Off) {
            for node in &upstream.lineup.borrow().nodes {
                let Some(seen) = node.score.tell(upstream.watch == Watch::All) else { continue };
                tallies.push(Tally {
                    upstream: upstream.name.clone(),
                    address: node.key().address.clone(),
                    seen,
                    run: node.shared.run(),
                });
            }
        }
        tallies
    }

    /// What there is to tell of each endpoint.
    pub(crate) fn report(&self) -> Vec<NodeReport> {
        self.nodes.borrow().values().map(|node| node.report()).collect()
    }

    /// Lets others have what they wait for. To be called some times a second.
    pub(crate) fn share(&self, clock: &Clock) {
        self.nodes.borrow().values().for_each(|node| node.share(clock));
    }

    /// Closes the connections that have waited too long at the tick `now`, and those that the upstream
    /// has closed. To be called about once a second.
    pub(crate) fn expire(&self, now: u32, clock: &Clock) {
        self.nodes.borrow().values().for_each(|node| node.expire(now, clock));
    }

    /// Closes some of the connections that wait, those that have waited longest first, and says how many: descriptors
    /// are short.
    pub(crate) fn close_idle(&self) -> usize {
        const OF_EACH: usize = 8;
        let nodes = self.nodes.borrow();
        nodes.values().map(|node| (0..OF_EACH).take_while(|_| node.make_room()).count()).sum()
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
