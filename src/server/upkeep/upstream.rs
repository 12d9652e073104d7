//! An upstream as the book has it: its endpoints, its breaker, and what the cores were told last.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::discover::{Expanded, MEMBERS_MAX};
use super::endpoint::Endpoint;
use super::told::{self, Notes};
use crate::config::{Balance, Probe, UpstreamSettings};
use crate::upstream::balance::Ring;
use crate::upstream::health::{CircuitBreaker, Counts, Seen, Tally, breaker, checks, ejection};
use crate::upstream::shared::UpstreamShared;
use crate::upstream::{Address, BreakerState, Member, Roster, Standing, roster};

/// How often shares that grow are told.
const GROWTH: Duration = Duration::from_millis(500);

/// How long it is remembered of an endpoint that has gone how it was: an answer that lacks it may have been wrong.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What was counted of upstreams on the control side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// Endpoints that failed too many requests.
    pub(super) ejections: u64,
    /// Endpoints that came back: after an ejection, or because their probes passed again.
    pub(super) recoveries: u64,
    pub(super) probes_passed: u64,
    pub(super) probes_failed: u64,
    /// Times that a breaker opened.
    pub(super) breaker_openings: u64,
    /// Rosters that the cores were told.
    pub(super) rosters: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) settings: UpstreamSettings,
    pub(super) shared: Arc<UpstreamShared>,
    /// In the order of the roster.
    pub(super) endpoints: Vec<Endpoint>,
    /// Where each is among them.
    places: HashMap<Address, usize>,
    /// Those that somebody wants to get no requests, whether they are there now or not.
    drained: HashSet<Address>,
    /// Those that have gone of late, each with when.
    gone: HashMap<Address, (Duration, Endpoint)>,
    /// What is not used, as it was told.
    left_out: Vec<String>,
    pub(super) unresolved: bool,
    pub(super) breaker: CircuitBreaker,
    pub(super) counted: Counted,
    probe: Option<Arc<Probe>>,
    /// The cores were told.
    told: Option<Arc<Roster>>,
    /// None is up, since then, and whether that was told.
    none_up: Option<(Duration, bool)>,
    /// Something may stand differently.
    is_dirty: bool,
    /// When something will stand differently by itself.
    due: Option<Duration>,
    /// When shares grow next.
    growth: Duration,
}

impl Entry {
    /// An upstream without endpoints.
    pub(super) fn new(settings: UpstreamSettings, shared: Arc<UpstreamShared>) -> Entry {
        Entry {
            name: settings.name.as_str().into(),
            shared,
            endpoints: Vec::new(),
            places: HashMap::new(),
            drained: HashSet::new(),
            gone: HashMap::new(),
            left_out: Vec::new(),
            unresolved: false,
            breaker: CircuitBreaker::default(),
            counted: Counted::default(),
            probe: settings.probe.clone().map(Arc::new),
            settings,
            told: None,
            none_up: None,
            is_dirty: true,
            due: None,
            growth: Duration::ZERO,
        }
    }

    /// Takes other settings.
    pub(super) fn adopt(&mut self, settings: UpstreamSettings) {
        if settings.probe.as_ref() != self.probe.as_deref() {
            self.probe = settings.probe.clone().map(Arc::new);
        }
        if settings.breaker.is_none() {
            self.breaker = CircuitBreaker::default();
        }
        self.settings = settings;
        self.is_dirty = true;
    }

    /// Takes the endpoints that there are now; those that stay keep how they stand. `notes` are for those
    /// who should hear who joined and who has gone: all but those who have just changed the configuration.
    pub(super) fn staff(
        &mut self,
        expanded: Expanded,
        next_probe: &mut u64,
        notes: Option<&mut Notes>,
        now: Duration,
    ) {
        let (mut joined, mut gone) = (Vec::new(), Vec::new());
        let joins = self.told.is_some();
        let places = std::mem::take(&mut self.places);
        let mut before: Vec<Option<Endpoint>> = self.endpoints.drain(..).map(Some).collect();
        self.gone.retain(|_, (since, _)| now.saturating_sub(*since) < REMEMBERED);
        for member in expanded.members {
            let known = places.get(&member.address).and_then(|&place| before[place].take());
            let mut endpoint = match known {
                Some(mut endpoint) => {
                    endpoint.follow(member);
                    endpoint
                }
                None => {
                    let endpoint = self.join(member, joins, now);
                    let still = if endpoint.drained { ", and is drained still" } else { "" };
                    joined.push(format!("{} has joined{still}", endpoint.member.address));
                    endpoint
                }
            };
            endpoint.probe_by(self.probe.as_ref(), next_probe);
            self.places.insert(endpoint.member.address.clone(), self.endpoints.len());
            self.endpoints.push(endpoint);
        }
        for endpoint in before.into_iter().flatten() {
            gone.push(format!("{} has gone", endpoint.member.address));
            if self.gone.len() < MEMBERS_MAX {
                self.gone.insert(endpoint.member.address.clone(), (now, endpoint));
            }
        }
        let left_out = expanded.left_out.iter().filter(|told| !self.left_out.contains(told)).cloned();
        let joined = told::each_or_all(joined, "endpoints have joined");
        let lines: Vec<String> =
            left_out.chain(joined).chain(told::each_or_all(gone, "endpoints have gone")).collect();
        self.left_out = expanded.left_out;
        self.unresolved = !expanded.silent.is_empty();
        self.is_dirty = true;
        if let Some(notes) = notes {
            lines.iter().for_each(|line| self.say(notes, now, line));
        }
    }

    /// An endpoint that was not there: one that was a short while ago is as it was, as far as that speaks against it.
    fn join(&mut self, member: Member, joins: bool, now: Duration) -> Endpoint {
        let mut endpoint = match self.gone.remove(&member.address) {
            Some((_, mut endpoint)) => {
                endpoint.follow(member);
                endpoint
            }
            None => Endpoint::new(member, joins, now),
        };
        endpoint.drained = self.drained.contains(&endpoint.member.address);
        if joins && self.probe.is_some() && endpoint.checks.is_up() {
            endpoint.join(now);
        }
        endpoint
    }

    /// What is not used, as it was told.
    pub(super) fn left_out(&self) -> impl Iterator<Item = String> {
        self.left_out.iter().map(|told| format!("upstream {}: {told}", self.name))
    }

    /// Takes what a core has seen of an endpoint.
    pub(super) fn hear(&mut self, tally: &Tally, notes: &mut Notes, now: Duration) {
        if let (Some(settings), Some(&place)) = (&self.settings.ejection, self.places.get(&tally.address)) {
            self.endpoints[place].outlier.take(tally, now, settings);
            self.is_dirty |= tally.seen.failed > 0;
        }
        if let Some(settings) = &self.settings.breaker {
            let Seen { succeeded, failed, errors, trials_succeeded, trials_failed, .. } = tally.seen;
            let well = u64::from(succeeded.saturating_sub(errors));
            let counts = Counts { succeeded: well, failed: u64::from(failed) + u64::from(errors) };
            let trials = Counts { succeeded: trials_succeeded.into(), failed: trials_failed.into() };
            if let Some(turn) = self.breaker.take(counts, trials, now, settings) {
                self.breaker_turned(turn, notes, now);
            }
        }
    }

    /// Takes what a probe of that number said.
    pub(super) fn probed(
        &mut self,
        address: &Address,
        number: u64,
        result: Result<(), String>,
        notes: &mut Notes,
        now: Duration,
    ) {
        let Some(&place) = self.places.get(address) else { return };
        let endpoint = &mut self.endpoints[place];
        if endpoint.probing.as_ref().is_none_or(|probing| probing.number != number) {
            return;
        }
        match result {
            Ok(()) => self.counted.probes_passed += 1,
            Err(_) => self.counted.probes_failed += 1,
        }
        let is_first = endpoint.checks.is_joining();
        let Some((change, text)) = endpoint.probed(result, now) else { return };
        self.is_dirty = true;
        if matches!(change, checks::Change::Up(_)) && !is_first {
            self.counted.recoveries += 1;
        }
        self.say(notes, now, &format!("{address} {text}"));
    }

    /// Has an endpoint get no more requests, or again; false if that is so already.
    pub(super) fn drain(&mut self, place: usize, drained: bool, notes: &mut Notes, now: Duration) -> bool {
        let endpoint = &mut self.endpoints[place];
        if endpoint.drained == drained {
            return false;
        }
        endpoint.drained = drained;
        let address = endpoint.member.address.clone();
        match drained {
            true => self.drained.insert(address),
            false => self.drained.remove(&address),
        };
        self.is_dirty = true;
        let text = if drained { "is drained by command" } else { "is restored by command" };
        let line = format!("{} {text}", self.endpoints[place].member.address);
        self.say(notes, now, &line);
        true
    }

    /// Has endpoints that are not there now, and were drained, get requests should they come again: those that `is_meant`.
    /// Returns which these are.
    pub(super) fn restore_gone(
        &mut self,
        is_meant: impl Fn(&Address) -> bool,
        notes: &mut Notes,
        now: Duration,
    ) -> Vec<Address> {
        let places = &self.places;
        let meant = |address: &Address| !places.contains_key(address) && is_meant(address);
        let restored: Vec<Address> = self.drained.extract_if(meant).collect();
        for address in &restored {
            self.say(notes, now, &format!("{address} is restored by command"));
        }
        restored
    }

    /// Works out how everything stands, if that may have changed.
    pub(super) fn settle(&mut self, notes: &mut Notes, now: Duration) {
        if !self.is_dirty && self.due.is_none_or(|due| due > now) {
            return;
        }
        self.is_dirty = false;
        if let Some(settings) = &self.settings.breaker
            && let Some(turn) = self.breaker.tick(now, settings)
        {
            self.breaker_turned(turn, notes, now);
        }
        if !self.endpoints.iter().any(Endpoint::is_up) {
            self.endpoints.iter_mut().for_each(Endpoint::admit);
        }
        self.judge(notes, now);
        let grow = self.growth <= now;
        for endpoint in &mut self.endpoints {
            endpoint.settle(self.settings.slow_start, grow, now);
        }
        if grow {
            self.growth = now + GROWTH;
        }
        self.tell_none_up(notes, now);
        let back = self.endpoints.iter().filter_map(|endpoint| endpoint.outlier.until());
        let breaker = self.settings.breaker.as_ref().and_then(|settings| self.breaker.due(settings));
        let growth = self.endpoints.iter().any(Endpoint::grows).then_some(self.growth);
        self.due = back.chain(breaker).chain(growth).min();
    }

    /// When something will stand differently by itself; at once, if it may already.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.is_dirty { Some(Duration::ZERO) } else { self.due }
    }

    /// A roster, if it is another than the last.
    pub(super) fn publish(&mut self, version: &mut u64) -> Option<Arc<Roster>> {
        let told = self.told.as_deref();
        let wants_ring = matches!(self.settings.balance, Balance::ConsistentHash { .. });
        let breaker = self.breaker.state();
        let is_same = told.is_some_and(|told| {
            (told.unresolved, told.breaker) == (self.unresolved, breaker)
                && told.ring.is_some() == wants_ring
                && told.members.len() == self.endpoints.len()
                && told.members.iter().zip(&self.endpoints).all(|(old, new)| is_same(old, &new.member))
        });
        if is_same {
            return None;
        }
        let members: Box<[Member]> = self.endpoints.iter().map(|endpoint| endpoint.member.clone()).collect();
        let ring = wants_ring.then(|| self.ring(&members));
        *version += 1;
        self.counted.rosters += 1;
        let roster = Arc::new(Roster {
            upstream: self.name.clone(),
            version: *version,
            members,
            unresolved: self.unresolved,
            breaker,
            ring,
            shared: self.shared.clone(),
        });
        self.told = Some(roster.clone());
        Some(roster)
    }

    /// The roster that the cores were told last.
    pub(super) fn told(&self) -> Option<&Arc<Roster>> {
        self.told.as_ref()
    }

    /// The ring that there is, if it is one of the same members.
    fn ring(&self, members: &[Member]) -> Arc<Ring> {
        let stays = self.told.as_ref().and_then(|told| {
            let parts = |members: &[Member]| -> Vec<(Address, u32)> {
                members.iter().map(|member| (member.address.clone(), member.weight)).collect()
            };
            told.ring.clone().filter(|_| parts(&told.members) == parts(members))
        });
        stays.unwrap_or_else(|| roster::ring(members))
    }

    fn judge(&mut self, notes: &mut Notes, now: Duration) {
        let mut judged: Vec<_> = self
            .endpoints
            .iter_mut()
            .map(|endpoint| {
                let eligible = endpoint.is_eligible();
                (&mut endpoint.outlier, eligible)
            })
            .collect();
        for (place, turn) in ejection::judge(&mut judged, self.settings.ejection.as_ref(), now) {
            match turn {
                ejection::Turn::Out { .. } => self.counted.ejections += 1,
                ejection::Turn::Back => self.counted.recoveries += 1,
            }
            let endpoint = &mut self.endpoints[place];
            let text = endpoint.turn(turn, now);
            let line = format!("{} {text}", endpoint.member.address);
            self.say(notes, now, &line);
        }
    }

    fn breaker_turned(&mut self, turn: breaker::Turn, notes: &mut Notes, now: Duration) {
        self.is_dirty = true;
        let time = self.settings.breaker.as_ref().map(|settings| settings.time).unwrap_or_default();
        let time = told::span(time);
        let line = match turn {
            breaker::Turn::Opened(counts) => {
                format!("the circuit breaker is open for {time}: {}", told::rate(counts))
            }
            breaker::Turn::OpenedAgain => {
                format!(
                    "the circuit breaker is open for another {time}: a request that was let through failed"
                )
            }
            breaker::Turn::HalfOpened(trials) => {
                format!("the circuit breaker is half open: {trials} requests are let through")
            }
            breaker::Turn::Closed => {
                "the circuit breaker is closed: the requests that were let through succeeded".to_owned()
            }
            breaker::Turn::Renewed(trials) => return self.shared.set_trials(trials),
        };
        match turn {
            breaker::Turn::Opened(_) | breaker::Turn::OpenedAgain => self.counted.breaker_openings += 1,
            // Before the cores hear that they may take some.
            breaker::Turn::HalfOpened(trials) => self.shared.set_trials(trials),
            breaker::Turn::Closed | breaker::Turn::Renewed(_) => {}
        }
        self.say(notes, now, &line);
    }

    /// Tells it once when no endpoint is up any more, and when that is over. A name that was never found is another
    /// story.
    fn tell_none_up(&mut self, notes: &mut Notes, now: Duration) {
        let none_up = self.endpoints.iter().all(|endpoint| endpoint.member.standing != Standing::Up);
        match (none_up, self.none_up) {
            (true, None) => {
                let tell = !(self.endpoints.is_empty() && self.told.is_none());
                self.none_up = Some((now, tell));
                if tell {
                    self.say(notes, now, told::none_up(!self.endpoints.is_empty(), self.settings.when_down));
                }
            }
            (false, Some((since, was_told))) => {
                self.none_up = None;
                if was_told {
                    self.say(notes, now, &told::some_up(now.saturating_sub(since)));
                }
            }
            _ => {}
        }
    }

    fn say(&self, notes: &mut Notes, now: Duration, line: &str) {
        notes.say(now, format!("upstream {}: {line}", self.name));
    }

    /// Whether the breaker lets all requests pass; none if there is none.
    pub(super) fn breaker_state(&self) -> Option<BreakerState> {
        self.settings.breaker.as_ref().map(|_| self.breaker.state())
    }
}

impl Counted {
    /// Both together.
    pub(super) fn plus(self, other: Counted) -> Counted {
        Counted {
            ejections: self.ejections + other.ejections,
            recoveries: self.recoveries + other.recoveries,
            probes_passed: self.probes_passed + other.probes_passed,
            probes_failed: self.probes_failed + other.probes_failed,
            breaker_openings: self.breaker_openings + other.breaker_openings,
            rosters: self.rosters + other.rosters,
        }
    }
}

/// Whether the cores need not hear of a difference.
fn is_same(old: &Member, new: &Member) -> bool {
    let parts =
        |member: &Member| (member.origin, member.weight, member.share, member.backup, member.standing);
    let limits = |member: &Member| (member.connections_max, member.requests_max);
    parts(old) == parts(new)
        && limits(old) == limits(new)
        && old.address == new.address
        && old.fallbacks == new.fallbacks
        && old.authority == new.authority
        && Arc::ptr_eq(&old.shared, &new.shared)
}
