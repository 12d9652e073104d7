//! From the endpoints that a configuration names to those that there are: what is known of names, services and files,
//! and what that makes of endpoints.
//!
//! ```text
//!   srv:_http._tcp.app ──▶ one:8001, two:8002 ─┐
//!   file:list.json ──────▶ three:80, 10.0.0.9 ─┼──▶ addresses ──▶ members
//!   app.internal:80 ───────────────────────────┘
//! ```
//!
//! What was found last stays until something else is found: a look-up that fails changes nothing, and one of which the
//! answer for IPv4 or IPv6 was lost changes only the other.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::resolve::{Family, Found, Service};
use super::told;
use crate::config::{EndpointAddress, EndpointSettings, Host};
use crate::limits::WEIGHT_MAX;
use crate::upstream::{Address, Member};

/// How long a look-up holds where nobody says.
const INTERVAL: Duration = Duration::from_secs(30);

/// The same, while nothing was ever found.
const INTERVAL_UNRESOLVED: Duration = Duration::from_secs(2);

/// The same, after a look-up that failed where one before did not.
const INTERVAL_FAILED: Duration = Duration::from_secs(5);

/// Whatever is said, a look-up holds from this long ...
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// ... to this long.
const INTERVAL_MAX: Duration = Duration::from_secs(300);

/// Look-ups that fail in a row before that is told: one may be lost on its way.
const FAILURES_TOLD: u32 = 3;

/// What is used of one answer: more addresses or services than this are left out.
const FOUND_MAX: usize = 256;

/// An upstream has no more endpoints than this.
pub(super) const MEMBERS_MAX: usize = 4096;

/// An endpoint is tried at so many addresses of the other family.
const FALLBACKS_MAX: usize = 2;

/// Answers in a row that lack a family of which nothing is known before nobody hurries for it any more: some name
/// servers never answer for IPv6.
const SILENT_MAX: u32 = 3;

/// Something that is looked up, or read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    /// The addresses of a host.
    Host(String),
    /// The services of a name.
    Services(String),
    /// The list in a file.
    List(PathBuf),
}

/// How that went.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// Of a host.
    Addresses(String, Result<Found<IpAddr>, String>),
    /// Of a name of services.
    Services(String, Result<Found<Service>, String>),
    /// Of a file.
    List(PathBuf, Result<Vec<EndpointSettings>, String>),
}

/// The addresses of a host, each list in an order that does not depend on that of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Addresses {
    /// Those of the family that is preferred.
    first: Vec<IpAddr>,
    /// Those of the other.
    other: Vec<IpAddr>,
}

/// What is known of a name.
#[derive(Debug)]
struct Known<T> {
    /// What was found last.
    found: Option<T>,
    /// Some look-up has ended.
    tried: bool,
    /// One is under way.
    busy: bool,
    /// When the next is due.
    due: Duration,
    /// Those in a row that failed.
    failures: u32,
    /// Why the last one failed.
    why: String,
    /// There was more than is used.
    more: bool,
    /// Answers in a row that lacked a family.
    silent: u32,
}

/// What is used of an answer.
struct Usable<T> {
    what: T,
    /// How long it holds; none where nobody says.
    valid: Option<Duration>,
    /// There was more.
    more: bool,
}

/// What an answer has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// Endpoints may be others now.
    pub(super) changed: bool,
    /// What there is to tell.
    pub(super) note: Option<String>,
}

/// What is known of all names.
#[derive(Debug, Default)]
pub(super) struct Directory {
    hosts: HashMap<String, Known<Addresses>>,
    services: HashMap<String, Known<Vec<Service>>>,
    lists: HashMap<PathBuf, Known<Vec<EndpointSettings>>>,
}

/// The endpoints of an upstream, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    /// As they stand when nothing is known of them but where they are.
    pub(super) members: Vec<Member>,
    /// All names that were needed.
    pub(super) names: HashSet<Name>,
    /// Those of them of which nothing is known, in words.
    pub(super) silent: Vec<String>,
    /// What is not used, in words that stay the same for as long as that does.
    pub(super) left_out: Vec<String>,
}

/// What is known of the addresses of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostState {
    /// They are being looked up for the first time.
    Awaited,
    /// There are none, and why.
    Missing(String),
    /// Those of the family that is preferred come first.
    Found(Vec<IpAddr>),
}

impl Directory {
    /// Keeps these names, and no others. What is new is due at once.
    pub(super) fn want(&mut self, names: &HashSet<Name>, now: Duration) {
        self.hosts.retain(|name, _| names.contains(&Name::Host(name.clone())));
        self.services.retain(|name, _| names.contains(&Name::Services(name.clone())));
        self.lists.retain(|path, _| names.contains(&Name::List(path.clone())));
        for name in names {
            match name {
                Name::Host(name) => {
                    self.hosts.entry(name.clone()).or_insert_with(|| Known::new(now));
                }
                Name::Services(name) => {
                    self.services.entry(name.clone()).or_insert_with(|| Known::new(now));
                }
                Name::List(path) => {
                    self.lists.entry(path.clone()).or_insert_with(|| Known::new(now));
                }
            }
        }
    }

    /// What was never found is looked up at once: somebody has a reason to think that it is there.
    pub(super) fn hurry(&mut self, now: Duration) {
        let hosts = self.hosts.values_mut().filter(|known| known.found.is_none()).map(|known| &mut known.due);
        let services = self.services.values_mut().filter(|known| known.found.is_none());
        hosts.chain(services.map(|known| &mut known.due)).for_each(|due| *due = now);
    }

    /// The files that are followed.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.lists.keys()
    }

    /// Whether somebody has tried to find it.
    pub(super) fn was_tried(&self, name: &Name) -> bool {
        match name {
            Name::Host(name) => self.hosts.get(name).is_some_and(|known| known.tried),
            Name::Services(name) => self.services.get(name).is_some_and(|known| known.tried),
            Name::List(path) => self.lists.get(path).is_some_and(|known| known.tried),
        }
    }

    /// What is known of a host that is wanted.
    pub(super) fn host(&self, name: &str) -> HostState {
        match self.hosts.get(name) {
            Some(Known { found: Some(Addresses { first, other }), .. }) => {
                HostState::Found(first.iter().chain(other).copied().collect())
            }
            Some(known) if known.tried => HostState::Missing(known.why.clone()),
            _ => HostState::Awaited,
        }
    }

    /// At most so many names whose look-up is due; it counts as begun.
    pub(super) fn begin(&mut self, now: Duration, count_max: usize) -> Vec<Name> {
        let hosts = self.hosts.iter_mut().map(|(name, known)| (known.begins(now), Name::Host(name.clone())));
        let services =
            self.services.iter_mut().map(|(name, known)| (known.begins(now), Name::Services(name.clone())));
        let mut due: Vec<_> = hosts.chain(services).filter_map(|(due, name)| Some((due?, name))).collect();
        due.sort_unstable();
        due.truncate(count_max);
        let begun: Vec<Name> = due.into_iter().map(|(_, name)| name).collect();
        for name in &begun {
            match name {
                Name::Host(name) => self.hosts.get_mut(name).into_iter().for_each(|known| known.busy = true),
                Name::Services(name) => {
                    self.services.get_mut(name).into_iter().for_each(|known| known.busy = true);
                }
                Name::List(_) => {}
            }
        }
        begun
    }

    /// When the next look-up is due that has not begun.
    pub(super) fn due(&self) -> Option<Duration> {
        let hosts = self.hosts.values().filter(|known| !known.busy).map(|known| known.due);
        let services = self.services.values().filter(|known| !known.busy).map(|known| known.due);
        hosts.chain(services).min()
    }

    /// Takes an answer. One that nobody wants any more changes nothing.
    pub(super) fn learn(&mut self, answer: Answer, now: Duration) -> Learned {
        match answer {
            Answer::Addresses(name, found) => {
                let Some(known) = self.hosts.get_mut(&name) else { return Learned::default() };
                let silent = found.as_ref().ok().and_then(|found| found.silent);
                let mut found = found.and_then(addresses);
                if let (Ok(found), Some(silent)) = (&mut found, silent) {
                    found.valid = Some(known.complete(&mut found.what, silent, found.valid));
                } else if found.is_ok() {
                    known.silent = 0;
                }
                known.take(&name, found, now)
            }
            Answer::Services(name, found) => {
                let Some(known) = self.services.get_mut(&name) else { return Learned::default() };
                known.take(&format!("srv:{name}"), found.and_then(services), now)
            }
            Answer::List(path, found) => {
                let Some(known) = self.lists.get_mut(&path) else { return Learned::default() };
                let failed_before = known.failures > 0;
                let note = match (&found, &known.found) {
                    (Err(why), None) => Some(told::no_list(why)),
                    (Err(why), Some(_)) => Some(told::list_broken(why)),
                    (Ok(_), Some(_)) if failed_before => Some(told::list_good(&path)),
                    (Ok(_), _) => None,
                };
                let Learned { changed, .. } =
                    known.take("", found.map(|what| Usable { what, valid: None, more: false }), now);
                Learned { changed, note }
            }
        }
    }

    /// What these endpoints are, by what is known.
    pub(super) fn expand(&self, endpoints: &[EndpointSettings]) -> Expanded {
        let mut walk = Walk { directory: self, seen: HashSet::new(), expanded: Expanded::default() };
        for (origin, endpoint) in endpoints.iter().enumerate() {
            walk.endpoint(origin, endpoint);
        }
        let mut expanded = walk.expanded;
        for words in [&mut expanded.silent, &mut expanded.left_out] {
            words.sort();
            words.dedup();
        }
        expanded
    }
}

impl Known<Addresses> {
    /// Adds what was found last of a family that an answer says nothing about. Returns how long all of it holds.
    fn complete(&mut self, found: &mut Addresses, silent: Family, valid: Option<Duration>) -> Duration {
        self.silent = self.silent.saturating_add(1);
        let valid = valid.unwrap_or(INTERVAL);
        let soon = valid.min(INTERVAL_FAILED);
        let is_silent = |address: &IpAddr| address.is_ipv4() == (silent == Family::V4);
        match &self.found {
            Some(before) if before.first.first().is_some_and(is_silent) => {
                found.other = std::mem::replace(&mut found.first, before.first.clone());
                soon
            }
            Some(before) if before.other.first().is_some_and(is_silent) => {
                found.other = before.other.clone();
                soon
            }
            _ if self.silent <= SILENT_MAX => soon,
            _ => valid,
        }
    }
}

impl<T: PartialEq> Known<T> {
    fn new(now: Duration) -> Known<T> {
        Known {
            found: None,
            tried: false,
            busy: false,
            due: now,
            failures: 0,
            why: String::new(),
            more: false,
            silent: 0,
        }
    }

    /// Since when its look-up is due, if it is and none is under way.
    fn begins(&self, now: Duration) -> Option<Duration> {
        (!self.busy && self.due <= now).then_some(self.due)
    }

    /// Takes how a look-up went, with how long that holds.
    fn take(&mut self, shown: &str, found: Result<Usable<T>, String>, now: Duration) -> Learned {
        (self.busy, self.tried) = (false, true);
        match found {
            Ok(Usable { what: found, valid, more }) => {
                self.due = now + valid.unwrap_or(INTERVAL).clamp(INTERVAL_MIN, INTERVAL_MAX);
                let note = (self.failures >= FAILURES_TOLD && self.found.is_some())
                    .then(|| told::found_again(shown));
                self.failures = 0;
                let changed = self.found.as_ref() != Some(&found) || self.more != more;
                (self.found, self.more) = (Some(found), more);
                Learned { changed, note }
            }
            Err(why) => {
                let rest = if self.found.is_some() { INTERVAL_FAILED } else { INTERVAL_UNRESOLVED };
                self.due = now + rest;
                self.failures = self.failures.saturating_add(1);
                let tell = self.failures == FAILURES_TOLD && self.found.is_some();
                let note = tell.then(|| told::not_found(shown, &why));
                self.why = why;
                Learned { changed: false, note }
            }
        }
    }
}

/// An answer without addresses is none.
fn addresses(found: Found<IpAddr>) -> Result<Usable<Addresses>, String> {
    let Found { mut items, valid, .. } = found;
    let more = items.len() > FOUND_MAX;
    items.truncate(FOUND_MAX);
    let Some(preferred) = items.first().copied() else { return Err("it has no address".to_owned()) };
    items.sort_unstable();
    items.dedup();
    let (first, other) = items.into_iter().partition(|address| address.is_ipv4() == preferred.is_ipv4());
    Ok(Usable { what: Addresses { first, other }, valid, more })
}

/// An answer without services is none. A service at the root is one that is decidedly not there (RFC 2782).
fn services(found: Found<Service>) -> Result<Usable<Vec<Service>>, String> {
    let Found { mut items, valid, .. } = found;
    let more = items.len() > FOUND_MAX;
    items.truncate(FOUND_MAX);
    items.retain(|service| service.port != 0 && !service.target.trim_end_matches('.').is_empty());
    if items.is_empty() {
        return Err("it has no services".to_owned());
    }
    items.sort_unstable();
    items.dedup();
    Ok(Usable { what: items, valid, more })
}

/// A way from configured endpoints to members.
struct Walk<'a> {
    directory: &'a Directory,
    seen: HashSet<Address>,
    expanded: Expanded,
}

impl Walk<'_> {
    fn endpoint(&mut self, origin: usize, settings: &EndpointSettings) {
        match &settings.address {
            EndpointAddress::Tcp(Host::Name(name), port) => self.host(origin, name, *port, settings),
            EndpointAddress::Srv(name) => self.services(origin, name, settings),
            EndpointAddress::File(path) => self.list(origin, path, settings),
            EndpointAddress::Tcp(Host::Address(_), _) | EndpointAddress::Unix(_) => {
                let literal = Address::literal(&settings.address);
                literal.into_iter().for_each(|address| self.member(Member::new(address, origin, settings)));
            }
        }
    }

    fn member(&mut self, member: Member) {
        if self.seen.contains(&member.address) {
            return;
        }
        if self.expanded.members.len() == MEMBERS_MAX {
            // Once is enough.
            if self.expanded.left_out.last().is_none_or(|last| last != told::MORE_MEMBERS) {
                self.expanded.left_out.push(told::MORE_MEMBERS.to_owned());
            }
            return;
        }
        self.seen.insert(member.address.clone());
        self.expanded.members.push(member);
    }

    /// Each address of a host is an endpoint, which may be reached by those of the other family too.
    fn host(&mut self, origin: usize, name: &str, port: u16, settings: &EndpointSettings) {
        self.expanded.names.insert(Name::Host(name.to_owned()));
        let known = self.directory.hosts.get(name);
        let found = known.and_then(|known| known.found.as_ref());
        let Some(Addresses { first, other }) = found else {
            let why = known.map_or("", |known| &known.why);
            return self.expanded.silent.push(told::no_address(&settings.address.authority(), why));
        };
        if known.is_some_and(|known| known.more) {
            self.expanded.left_out.push(told::more_found(name, FOUND_MAX));
        }
        let with_port = |ip: &IpAddr| Address::Ip(SocketAddr::new(*ip, port));
        for (place, ip) in first.iter().enumerate() {
            let member = Member::new(with_port(ip), origin, settings);
            // Each its own: what cannot be reached where it is should not all come to the same place.
            let others = other.iter().cycle().skip(place % other.len().max(1));
            let fallbacks = others.take(other.len().min(FALLBACKS_MAX)).map(with_port).collect();
            self.member(Member { fallbacks, ..member });
        }
    }

    /// Each service is an endpoint of its own; all but those of the lowest priority are backups.
    fn services(&mut self, origin: usize, name: &str, settings: &EndpointSettings) {
        self.expanded.names.insert(Name::Services(name.to_owned()));
        let known = self.directory.services.get(name);
        let Some(services) = known.and_then(|known| known.found.as_ref()) else {
            let why = known.map_or("", |known| &known.why);
            return self.expanded.silent.push(told::no_address(&settings.address.to_string(), why));
        };
        if known.is_some_and(|known| known.more) {
            self.expanded.left_out.push(told::more_found(&settings.address.to_string(), FOUND_MAX));
        }
        let lowest = services.iter().map(|service| service.priority).min().unwrap_or_default();
        let heaviest = services.iter().map(|service| service.weight).max().unwrap_or_default();
        for service in services {
            let host = Host::parse(service.target.trim_end_matches('.'));
            let settings = EndpointSettings {
                address: EndpointAddress::Tcp(host, service.port),
                weight: scaled(service.weight, heaviest, settings.weight),
                backup: settings.backup || service.priority != lowest,
                ..settings.clone()
            };
            self.endpoint(origin, &settings);
        }
    }

    /// What a file lists is taken as if it stood in the configuration; a file does not name files.
    fn list(&mut self, origin: usize, path: &PathBuf, settings: &EndpointSettings) {
        self.expanded.names.insert(Name::List(path.clone()));
        let Some(known) = self.directory.lists.get(path) else { return };
        let Some(list) = &known.found else {
            let why = match known.why.is_empty() {
                true => format!("{}: it was not read yet", path.display()),
                false => known.why.clone(),
            };
            return self.expanded.silent.push(told::no_list(&why));
        };
        for entry in list.iter().filter(|entry| !matches!(entry.address, EndpointAddress::File(_))) {
            let settings = EndpointSettings {
                address: entry.address.clone(),
                weight: entry.weight.saturating_mul(settings.weight).clamp(1, WEIGHT_MAX),
                backup: entry.backup || settings.backup,
                connections_max: entry.connections_max.or(settings.connections_max),
                requests_max: entry.requests_max.or(settings.requests_max),
            };
            self.endpoint(origin, &settings);
        }
    }
}

/// The weight of a service: its own times that of its endpoint, all of them scaled down where that is too much for the
/// heaviest. 0, which says that it should get hardly anything, counts as 1.
fn scaled(weight: u16, heaviest: u16, of_endpoint: u32) -> u32 {
    let (limit, of_endpoint) = (u64::from(WEIGHT_MAX), u64::from(of_endpoint));
    let product = u64::from(weight) * of_endpoint;
    let most = u64::from(heaviest) * of_endpoint;
    let within = if most > limit { product * limit / most } else { product };
    u32::try_from(within).unwrap_or(WEIGHT_MAX).clamp(1, WEIGHT_MAX)
}

#[cfg(test)]
#[path = "discover_tests.rs"]
pub(super) mod tests;
