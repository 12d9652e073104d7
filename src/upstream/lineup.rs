//! The endpoints of an upstream on one core, by a roster: who may be chosen, and in which order.

use std::rc::Rc;
use std::sync::Arc;

use super::Node;
use super::balance::{Candidate, Chooser, View};
use super::roster::{BreakerState, Roster, Standing};
use super::slot::Slot;
use crate::config::{Balance, WhenDown};
use crate::error::Reason;

/// See the module.
pub(super) struct Lineup {
    pub(super) roster: Arc<Roster>,
    /// A node for each member.
    pub(super) nodes: Box<[Rc<Node>]>,
    /// Who gets requests, by place.
    tiers: Box<[Tier]>,
    /// Those who are asked first.
    first: Chooser,
    /// Those who are asked when all of these have been.
    second: Option<Chooser>,
    /// Whether some member has a limit.
    limited: bool,
    /// Whether requests count over all cores.
    counted: bool,
}

/// When an endpoint gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tier {
    /// Like any other.
    First,
    /// When all of those were tried.
    Second,
    /// Never.
    None,
}

/// How a lineup is made of a roster.
pub(super) struct Plan<'a> {
    pub(super) balance: &'a Balance,
    pub(super) when_down: WhenDown,
    /// Sets the turns of the cores apart.
    pub(super) seed: u64,
}

/// Why no endpoint can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// All have as much to do as they may; there may be room later.
    Full,
    /// There is none, or none that has not been tried.
    None(Reason),
}

/// The lineup at the moment of one choice.
struct Now<'a> {
    lineup: &'a Lineup,
    tried: &'a [Rc<Node>],
}

impl Lineup {
    /// The lineup of a roster, with a node for each of its members. `before` is the one that it takes the place of.
    pub(super) fn new(
        plan: &Plan<'_>,
        roster: Arc<Roster>,
        nodes: Box<[Rc<Node>]>,
        before: Option<&Lineup>,
    ) -> Lineup {
        let members = &roster.members;
        let is_up = |backup: bool| {
            let up = members.iter().enumerate();
            up.filter(move |(_, member)| member.standing == Standing::Up && member.backup == backup)
        };
        let (mut first, mut second): (Vec<_>, Vec<_>) = (is_up(false).collect(), is_up(true).collect());
        if first.is_empty() {
            first = std::mem::take(&mut second);
        }
        if first.is_empty() && plan.when_down == WhenDown::Try {
            let tried = |(_, member): &(usize, &super::Member)| member.standing != Standing::Draining;
            first = members.iter().enumerate().filter(tried).collect();
        }
        let chooser = |those: &[(usize, &super::Member)], before: Option<&Chooser>| {
            let candidate = |&(place, member): &(usize, &super::Member)| Candidate {
                place,
                id: member.address.id(),
                share: member.share.max(1),
            };
            let candidates: Vec<Candidate> = those.iter().map(candidate).collect();
            Chooser::new(plan.balance, &candidates, roster.ring.clone(), plan.seed, before)
        };
        let mut tiers = vec![Tier::None; members.len()];
        first.iter().for_each(|(place, _)| tiers[*place] = Tier::First);
        second.iter().for_each(|(place, _)| tiers[*place] = Tier::Second);
        let limited =
            members.iter().any(|member| (member.connections_max, member.requests_max) != (None, None));
        Lineup {
            first: chooser(&first, before.map(|before| &before.first)),
            second: (!second.is_empty())
                .then(|| chooser(&second, before.and_then(|before| before.second.as_ref()))),
            tiers: tiers.into(),
            limited,
            counted: limited || wants_counts(plan.balance),
            nodes,
            roster,
        }
    }

    /// An endpoint for a request that these have been tried for, which now has one more in flight. `point` is that of
    /// the request's key, or random; `wanted` is the endpoint that the client belongs to, if it belongs to one.
    pub(super) fn choose(
        &self,
        point: u64,
        wanted: Option<u64>,
        tried: &[Rc<Node>],
    ) -> Result<Slot, Unavailable> {
        let now = Now { lineup: self, tried };
        let wanted = wanted.and_then(|id| self.place_of(id)).filter(|&place| now.may_take(place));
        // Another core may take the last room of an endpoint; then there is room at one less.
        for wanted in std::iter::once(wanted).chain(self.nodes.iter().map(|_| None)) {
            let place = wanted
                .or_else(|| self.first.choose(point, &now))
                .or_else(|| self.last_resort(tried)?.choose(point, &now));
            match place {
                Some(place) => {
                    if let Some(slot) = Slot::enter(&self.nodes[place], self.counted) {
                        return Ok(slot);
                    }
                }
                None => return Err(self.why_none(tried)),
            }
        }
        Err(Unavailable::Full)
    }

    /// Whether some endpoint has a limit.
    pub(super) fn limited(&self) -> bool {
        self.limited
    }

    /// Whether the breaker lets a request pass, and if so, whether it is one of its trials.
    pub(super) fn pass(&self) -> Result<bool, Reason> {
        match self.roster.breaker {
            BreakerState::Closed => Ok(false),
            BreakerState::HalfOpen if self.roster.shared.take_trial() => Ok(true),
            BreakerState::HalfOpen | BreakerState::Open => Err(Reason::BreakerOpen),
        }
    }

    /// Whether there is an endpoint for a request but this one, and those that were tried.
    pub(super) fn has_others(&self, node: &Rc<Node>, tried: &[Rc<Node>]) -> bool {
        let is_other = |other: &Rc<Node>| !Rc::ptr_eq(other, node) && !is_among(tried, other);
        self.nodes.iter().zip(&self.tiers).any(|(other, tier)| *tier != Tier::None && is_other(other))
    }

    /// Whether the endpoint with that id gets requests like any other.
    pub(super) fn has(&self, id: u64) -> bool {
        self.place_of(id).is_some()
    }

    /// The place of the endpoint with that id, if it gets requests like any other.
    fn place_of(&self, id: u64) -> Option<usize> {
        let place = self.nodes.iter().position(|node| node.id() == id)?;
        (self.tiers[place] == Tier::First).then_some(place)
    }

    /// The backups, if all others were tried. Those that are only full have to be waited for.
    fn last_resort(&self, tried: &[Rc<Node>]) -> Option<&Chooser> {
        let second = self.second.as_ref()?;
        (!self.has_untried(tried, Tier::First)).then_some(second)
    }

    fn has_untried(&self, tried: &[Rc<Node>], wanted: Tier) -> bool {
        self.nodes.iter().zip(&self.tiers).any(|(node, tier)| *tier == wanted && !is_among(tried, node))
    }

    fn why_none(&self, tried: &[Rc<Node>]) -> Unavailable {
        if self.has_untried(tried, Tier::First) || self.has_untried(tried, Tier::Second) {
            return Unavailable::Full;
        }
        Unavailable::None(match (self.nodes.is_empty(), self.roster.unresolved) {
            (true, true) => Reason::NameUnresolved,
            (true, false) => Reason::NoEndpoint,
            (false, _) => Reason::UpstreamDown,
        })
    }
}

impl View for Now<'_> {
    fn may_take(&self, place: usize) -> bool {
        let node = &self.lineup.nodes[place];
        !is_among(self.tried, node) && (!self.lineup.limited || node.has_room())
    }

    fn in_flight(&self, place: usize) -> u32 {
        self.lineup.roster.members[place].shared.in_flight()
    }

    fn in_flight_at_all(&self) -> u32 {
        self.lineup.roster.shared.in_flight()
    }

    fn latency_us(&self, place: usize) -> u32 {
        self.lineup.nodes[place].score.latency_us()
    }
}

fn is_among(tried: &[Rc<Node>], node: &Rc<Node>) -> bool {
    tried.iter().any(|other| Rc::ptr_eq(other, node))
}

/// Whether a policy needs to know how many requests are in flight over all cores.
fn wants_counts(balance: &Balance) -> bool {
    match balance {
        Balance::LeastConnections | Balance::PowerOfTwo => true,
        Balance::ConsistentHash { load_max, .. } => load_max.is_some(),
        Balance::RoundRobin | Balance::Random => false,
    }
}

#[cfg(test)]
#[path = "lineup_tests.rs"]
mod tests;
