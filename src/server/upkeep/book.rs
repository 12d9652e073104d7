//! The book of all upstreams: a state machine that is told results and the time, and says what has changed.
//!
//! ```text
//!   adopt, learn, probed, hear, drain ──▶ Book ──settle──▶ rosters for the cores, notes
//!                                          │
//!                                          └──▶ what is to be looked up, read and probed, and when
//! ```
//!
//! It opens nothing and reads no clock: [`super::watch`] does that for it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::discover::{Answer, Directory, Expanded, HostState, Name};
use super::told::Notes;
use super::upstream::{Counted, Entry};
use crate::config::{Host, Probe, ProxyVersion, UpstreamSettings};
use crate::upstream::health::Tally;
use crate::upstream::shared::{Spares, UpstreamShared};
use crate::upstream::{Address, Roster};

/// So many names are looked up at once.
const LOOK_UPS_MAX: usize = 16;

/// How long after a configuration was adopted those rosters are told once more that have changed since: a core that did
/// not have an upstream yet has not heard of it.
const ONCE_MORE: Duration = Duration::from_secs(2);

/// What has changed since it was asked last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The upstreams that the cores should hear of.
    pub(super) rosters: Vec<Arc<Roster>>,
    /// What there is to tell.
    pub(super) notes: Vec<String>,
    /// The configuration that was waiting is in force.
    pub(super) adopted: Option<Adopted>,
}

/// What a configuration has begun with.
#[derive(Debug)]
pub(super) struct Adopted {
    /// A roster for each upstream, in the order of the configuration.
    pub(super) rosters: Arc<[Arc<Roster>]>,
    /// What whoever brought it should know.
    pub(super) notes: Vec<String>,
}

/// A configuration that waits for names that were never looked up.
#[derive(Debug)]
struct Waiting {
    upstreams: Vec<UpstreamSettings>,
    until: Duration,
}

/// An endpoint that is to be probed.
#[derive(Clone, Debug)]
pub(super) struct Probed {
    /// Which probe that is.
    pub(super) number: u64,
    pub(super) upstream: Arc<str>,
    pub(super) address: Address,
    /// Where it may be reached if not there.
    pub(super) fallbacks: Arc<[Address]>,
    pub(super) authority: Arc<str>,
    pub(super) probe: Arc<Probe>,
    /// What is asked instead, where the probe names a host: its addresses, or why there are none.
    pub(super) host: Option<Result<Arc<[IpAddr]>, String>>,
    /// What connections to the endpoint begin with.
    pub(super) proxy_protocol: Option<ProxyVersion>,
    /// Somebody waits for the first probe.
    pub(super) at_once: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// In the order of the configuration.
    entries: Vec<Entry>,
    places: HashMap<Arc<str>, usize>,
    directory: Directory,
    waiting: Option<Waiting>,
    notes: Notes,
    spares: Arc<Spares>,
    /// Endpoints may be others now.
    is_moved: bool,
    /// The version of the newest roster.
    version: u64,
    /// The version of the newest roster before a configuration was in force, and when those after it are told once more:
    /// what came with the configuration may have come too late, and cores had not heard of all upstreams then.
    adopted: (u64, Option<Duration>),
    /// The number of the newest probe.
    probe: u64,
    running: usize,
    /// What was counted of upstreams that have gone.
    gone: Counted,
}

impl Book {
    /// Takes another configuration: it is in force as soon as each of its names was tried once, or after `within`.
    pub(super) fn adopt(&mut self, upstreams: Vec<UpstreamSettings>, within: Duration, now: Duration) {
        self.waiting = Some(Waiting { upstreams, until: now + within });
        self.directory.hurry(now);
        self.survey(now);
    }

    /// What all cores may have to spare together.
    pub(super) fn spares(&self) -> &Spares {
        &self.spares
    }

    /// Takes how a look-up went.
    pub(super) fn learn(&mut self, answer: Answer, now: Duration) {
        if !matches!(answer, Answer::List(..)) {
            self.running = self.running.saturating_sub(1);
        }
        let learned = self.directory.learn(answer, now);
        if learned.changed {
            self.survey(now);
            self.is_moved = true;
        }
        // Whoever waits for a configuration hears that with it.
        if let Some(note) = learned.note.filter(|_| self.waiting.is_none()) {
            self.notes.say(now, note);
        }
    }

    /// Takes what cores have seen of endpoints. Those that are not in the book any more do not matter.
    pub(super) fn hear(&mut self, tallies: &[Tally], now: Duration) {
        for tally in tallies {
            if let Some(&place) = self.places.get(&tally.upstream) {
                self.entries[place].hear(tally, &mut self.notes, now);
            }
        }
    }

    /// Takes what a probe said.
    pub(super) fn probed(&mut self, probed: &Probed, result: Result<(), String>, now: Duration) {
        if let Some(&place) = self.places.get(&probed.upstream) {
            let entry = &mut self.entries[place];
            entry.probed(&probed.address, probed.number, result, &mut self.notes, now);
        }
    }

    /// Has an endpoint get no more requests, or again: the places of its upstream and of itself there. False if that is
    /// so already.
    pub(super) fn drain(&mut self, (entry, endpoint): (usize, usize), drained: bool, now: Duration) -> bool {
        self.entries[entry].drain(endpoint, drained, &mut self.notes, now)
    }

    /// Has endpoints get requests again that are not there now, should they come again: in the upstream of that name, or
    /// in any, those that `is_meant`. Returns their upstream and address.
    pub(super) fn restore_gone(
        &mut self,
        upstream: Option<&str>,
        is_meant: impl Fn(&Address) -> bool,
        now: Duration,
    ) -> Vec<(Arc<str>, Address)> {
        let mut restored = Vec::new();
        for entry in &mut self.entries {
            if upstream.is_none_or(|name| *entry.name == *name) {
                let addresses = entry.restore_gone(&is_meant, &mut self.notes, now);
                restored.extend(addresses.into_iter().map(|address| (entry.name.clone(), address)));
            }
        }
        restored
    }

    /// Works out what has changed.
    pub(super) fn settle(&mut self, now: Duration) -> Changes {
        let adopted = self.enforce(now);
        if std::mem::take(&mut self.is_moved) {
            for entry in &mut self.entries {
                let expanded = self.directory.expand(&entry.settings.endpoints);
                entry.staff(expanded, &mut self.probe, Some(&mut self.notes), now);
            }
        }
        let mut rosters = Vec::new();
        for entry in &mut self.entries {
            entry.settle(&mut self.notes, now);
            rosters.extend(entry.publish(&mut self.version));
        }
        if self.adopted.1.is_some_and(|once_more| once_more <= now) {
            self.adopted.1 = None;
            let newer = self.entries.iter().filter_map(Entry::told);
            rosters = newer.filter(|roster| roster.version > self.adopted.0).cloned().collect();
        }
        Changes { rosters, notes: self.notes.take(), adopted }
    }

    /// When [`Self::settle`] may have something to say by time alone, or a look-up is due; none if never.
    pub(super) fn due(&self) -> Option<Duration> {
        let look_up = self.directory.due().filter(|_| self.running < LOOK_UPS_MAX);
        let waiting = self.waiting.as_ref().map(|waiting| waiting.until);
        let entries = self.entries.iter().filter_map(Entry::due);
        entries.chain(look_up).chain(waiting).chain(self.adopted.1).min()
    }

    /// The look-ups to begin now.
    pub(super) fn look_ups(&mut self, now: Duration) -> Vec<Name> {
        let begun = self.directory.begin(now, LOOK_UPS_MAX.saturating_sub(self.running));
        self.running += begun.len();
        begun
    }

    /// The files to follow.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.directory.files()
    }

    /// What is to be probed.
    pub(super) fn probes(&self) -> impl Iterator<Item = Probed> {
        self.entries.iter().flat_map(|entry| self.probes_of(entry).unwrap_or_default())
    }

    /// What is to be probed of an upstream; none while that is not known.
    fn probes_of(&self, entry: &Entry) -> Option<Vec<Probed>> {
        let host = match entry.settings.probe.as_ref()?.host.as_ref() {
            None => None,
            Some(Host::Address(address)) => Some(Ok(Arc::from([*address]))),
            Some(Host::Name(name)) => match self.directory.host(name) {
                HostState::Awaited => return None,
                HostState::Missing(why) => Some(Err(format!("{name} has no address: {why}"))),
                HostState::Found(addresses) => Some(Ok(addresses.into())),
            },
        };
        let of_endpoint = |endpoint: &super::endpoint::Endpoint| {
            let probing = endpoint.probing.as_ref()?;
            Some(Probed {
                number: probing.number,
                upstream: entry.name.clone(),
                address: endpoint.member.address.clone(),
                fallbacks: endpoint.member.fallbacks.clone(),
                authority: endpoint.member.authority.clone(),
                probe: probing.probe.clone(),
                host: host.clone(),
                proxy_protocol: entry.settings.proxy_protocol,
                at_once: endpoint.checks.is_joining(),
            })
        };
        Some(entry.endpoints.iter().filter_map(of_endpoint).collect())
    }

    /// All upstreams, in the order of the configuration.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was counted of all upstreams, those that have gone included.
    pub(super) fn counted(&self) -> Counted {
        self.entries.iter().fold(self.gone, |sum, entry| sum.plus(entry.counted))
    }

    /// Puts the configuration in force that waits, if it need not wait any longer.
    fn enforce(&mut self, now: Duration) -> Option<Adopted> {
        let waiting = self.waiting.as_ref()?;
        let tried = |name: &Name| self.directory.was_tried(name);
        if now < waiting.until && !names(&self.directory, waiting.upstreams.iter()).iter().all(tried) {
            return None;
        }
        let waiting = self.waiting.take()?;
        let newest = self.version;
        let mut before: HashMap<Arc<str>, Entry> =
            self.entries.drain(..).map(|entry| (entry.name.clone(), entry)).collect();
        let mut told = Vec::new();
        for settings in waiting.upstreams {
            let expanded: Expanded = self.directory.expand(&settings.endpoints);
            told.extend(expanded.silent.iter().cloned());
            let mut entry = match before.remove(&*settings.name) {
                Some(mut entry) => {
                    entry.adopt(settings);
                    entry
                }
                None => Entry::new(settings, Arc::new(UpstreamShared::new(self.spares.clone()))),
            };
            entry.staff(expanded, &mut self.probe, None, now);
            told.extend(entry.left_out());
            entry.settle(&mut self.notes, now);
            entry.publish(&mut self.version);
            self.entries.push(entry);
        }
        self.gone = before.values().fold(self.gone, |sum, entry| sum.plus(entry.counted));
        self.places =
            self.entries.iter().enumerate().map(|(place, entry)| (entry.name.clone(), place)).collect();
        self.is_moved = false;
        // One before it may not have reached the cores either.
        let (since, once_more) = self.adopted;
        self.adopted = (once_more.map_or(newest, |_| since), Some(now + ONCE_MORE));
        self.survey(now);
        told.sort();
        told.dedup();
        let rosters = self.entries.iter().filter_map(Entry::told).cloned().collect();
        Some(Adopted { rosters, notes: told })
    }

    /// Works out which names are needed.
    fn survey(&mut self, now: Duration) {
        // What was just found may name others, which need not be found to be named.
        let upstreams = self.entries.iter().map(|entry| &entry.settings);
        let waiting = self.waiting.iter().flat_map(|waiting| &waiting.upstreams);
        let wanted = names(&self.directory, upstreams.chain(waiting));
        self.directory.want(&wanted, now);
    }
}

/// All names that these upstreams need, as far as that is known.
fn names<'a>(directory: &Directory, upstreams: impl Iterator<Item = &'a UpstreamSettings>) -> HashSet<Name> {
    let mut names = HashSet::new();
    for upstream in upstreams {
        names.extend(directory.expand(&upstream.endpoints).names);
        if let Some(Probe { host: Some(Host::Name(name)), .. }) = &upstream.probe {
            names.insert(Name::Host(name.clone()));
        }
    }
    names
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
