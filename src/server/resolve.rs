//! The addresses of endpoints' names, looked up again and again on threads of their own.
//!
//! ```text
//!   control ──names to watch, questions──▶ resolve ──a name──▶ look-up × at most 16, one each
//!      ◀──answers, changes as events──────    ◀──addresses or none──
//! ```
//!
//! The system's resolver can take many seconds over one name. It holds up nobody but its look-up: the
//! thread `resolve` only keeps the book, and answers in time with what it knows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::ToSocketAddrs;
use std::time::Duration;

use super::{Event, spawn};
use crate::clock::{Clock, Moment};
use crate::config::{EndpointAddress, Host, UpstreamSettings};
use crate::upstream::{Address, Endpoint, EndpointKey};

/// How long to wait before a name is looked up again.
const INTERVAL: Duration = Duration::from_secs(30);

/// The same, while it has no address.
const INTERVAL_UNRESOLVED: Duration = Duration::from_secs(2);

/// How long the start waits for the first answer.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// So many names are looked up at once.
const LOOK_UPS_MAX: usize = 16;

/// How much longer an answer may take than it was given.
const GRACE: Duration = Duration::from_millis(500);

/// A host and a port to look up.
type Name = (String, u16);

/// What the thread is told.
enum Message {
    /// These, and no others, are to be looked up again and again.
    Watch(Vec<EndpointKey>),
    /// Wants the addresses of these, once each name was tried that has none, or at the latest in `within`.
    Ask { keys: Vec<EndpointKey>, within: Duration, answer: flume::Sender<Vec<Endpoint>> },
    /// A look-up has ended; None if it failed.
    Found(Name, Option<Vec<Address>>),
}

/// Looks names up. Without names there is no thread.
pub(super) struct Resolver {
    messages: Option<flume::Sender<Message>>,
    events: flume::Sender<Event>,
}

/// The endpoints among those of the upstreams whose names have to be looked up.
pub(super) fn names(upstreams: &[UpstreamSettings]) -> Vec<EndpointKey> {
    let keys = upstreams.iter().flat_map(|upstream| {
        let name: std::sync::Arc<str> = upstream.name.as_str().into();
        let key =
            move |address: &EndpointAddress| EndpointKey { upstream: name.clone(), address: address.clone() };
        upstream.endpoints.iter().map(move |endpoint| key(&endpoint.address))
    });
    keys.filter(|key| name_of(key).is_some()).collect()
}

fn name_of(key: &EndpointKey) -> Option<Name> {
    match &key.address {
        EndpointAddress::Tcp(Host::Name(name), port) => Some((name.clone(), *port)),
        EndpointAddress::Tcp(Host::Address(_), _) | EndpointAddress::Unix(_) => None,
    }
}

impl Resolver {
    /// Nothing is looked up yet. Changes will come as events.
    pub(super) fn new(events: flume::Sender<Event>) -> Resolver {
        Resolver { messages: None, events }
    }

    /// The addresses of these endpoints, as far as they are known within that time. Names that are known
    /// already are not asked for again. One without an address is no error, for it may have one later;
    /// a note says so.
    pub(super) fn resolve_now(
        &mut self,
        keys: &[EndpointKey],
        within: Duration,
        on_note: &mut impl FnMut(&str),
    ) -> Vec<Endpoint> {
        if keys.is_empty() {
            return Vec::new();
        }
        let (answer, answers) = flume::bounded(1);
        let found = match self.tell(Message::Ask { keys: keys.to_vec(), within, answer }) {
            Ok(()) => answers.recv_timeout(within + GRACE).unwrap_or_default(),
            Err(why) => {
                on_note(&why);
                Vec::new()
            }
        };
        let mut silent: Vec<_> = keys
            .iter()
            .filter(|key| !found.iter().any(|found| found.key == **key && !found.addresses.is_empty()))
            .map(|key| key.address.authority())
            .collect();
        silent.sort();
        silent.dedup();
        for authority in silent {
            on_note(&format!("the origin {authority} has no address yet; it is looked up again and again"));
        }
        found
    }

    /// Looks these up again and again, and no others. What changes comes as [`Event::Addresses`]; where a
    /// look-up fails, the last good addresses stay.
    pub(super) fn watch(&mut self, keys: &[EndpointKey]) {
        // If there is no thread, nothing was watched, or whoever asked before was told why.
        if self.messages.is_some() || !keys.is_empty() {
            let _ = self.tell(Message::Watch(keys.to_vec()));
        }
    }

    /// Tells the thread something; starts it if need be.
    fn tell(&mut self, message: Message) -> Result<(), String> {
        let messages = match &self.messages {
            Some(messages) => messages,
            None => {
                let (messages, inbox) = flume::unbounded();
                let mut book = Book::new(messages.clone(), self.events.clone());
                spawn("resolve", move || book.keep(&inbox)).map_err(|error| error.to_string())?;
                self.messages.insert(messages)
            }
        };
        messages.send(message).map_err(|_| "names can no longer be looked up".to_owned())
    }
}

/// A question that is still open.
struct Question {
    keys: Vec<EndpointKey>,
    since: Moment,
    within: Duration,
    answer: flume::Sender<Vec<Endpoint>>,
}

/// What is known of a name.
#[derive(Default)]
struct Entry {
    /// The last good addresses.
    addresses: Vec<Address>,
    /// When the last look-up ended; None if none has.
    tried: Option<Moment>,
}

/// Who wants to know what, and what is known.
struct Book {
    clock: Clock,
    entries: HashMap<Name, Entry>,
    watched: Vec<EndpointKey>,
    questions: Vec<Question>,
    /// Names that wait for a look-up.
    queue: VecDeque<Name>,
    /// Names that wait, or are looked up.
    busy: HashSet<Name>,
    running: usize,
    messages: flume::Sender<Message>,
    events: flume::Sender<Event>,
}

impl Book {
    fn new(messages: flume::Sender<Message>, events: flume::Sender<Event>) -> Book {
        Book {
            clock: Clock::default(),
            entries: HashMap::new(),
            watched: Vec::new(),
            questions: Vec::new(),
            queue: VecDeque::new(),
            busy: HashSet::new(),
            running: 0,
            messages,
            events,
        }
    }

    /// Until nobody hears of changes any more.
    fn keep(&mut self, inbox: &flume::Receiver<Message>) {
        while !self.events.is_disconnected() {
            let now = self.clock.now();
            self.look_up_what_is_due(now);
            if let Ok(message) = inbox.recv_timeout(self.pause(now)) {
                let now = self.clock.now();
                self.hear(message, now);
            }
            self.answer(self.clock.now());
        }
    }

    fn hear(&mut self, message: Message, now: Moment) {
        match message {
            Message::Watch(keys) => {
                self.watched = keys;
                self.forget();
                // Something may have been found between an answer and this.
                self.tell_known(|_| true);
            }
            Message::Ask { keys, within, answer } => {
                for name in keys.iter().filter_map(name_of) {
                    let known = self.entries.get(&name).is_some_and(|entry| !entry.addresses.is_empty());
                    if !known {
                        // A question is reason enough to try again.
                        self.entries.entry(name.clone()).or_default().tried = None;
                        self.look_up(name);
                    }
                }
                self.questions.push(Question { keys, since: now, within, answer });
            }
            Message::Found(name, addresses) => {
                self.running -= 1;
                self.busy.remove(&name);
                self.found(&name, addresses, now);
            }
        }
        self.start_look_ups();
    }

    /// Keeps nothing of names that nobody wants any more.
    fn forget(&mut self) {
        let asked = self.questions.iter().flat_map(|question| &question.keys);
        let wanted: HashSet<Name> = self.watched.iter().chain(asked).filter_map(name_of).collect();
        self.entries.retain(|name, _| wanted.contains(name));
        for name in wanted {
            self.entries.entry(name).or_default();
        }
    }

    /// Notes how a look-up went. Where it failed, the last good addresses stay.
    fn found(&mut self, name: &Name, addresses: Option<Vec<Address>>, now: Moment) {
        // Nobody wants it any more.
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.tried = Some(now);
        match addresses {
            Some(addresses) if !addresses.is_empty() && addresses != entry.addresses => {
                entry.addresses = addresses;
                self.tell_known(|changed| changed == name);
            }
            _ => {}
        }
    }

    /// Tells the addresses of the watched names that are meant. None is left out because an answer had them
    /// already: another event may be on its way that is older than the answer.
    fn tell_known(&self, is_meant: impl Fn(&Name) -> bool) {
        let meant = self.watched.iter().filter(|key| name_of(key).is_some_and(|name| is_meant(&name)));
        let mut known = self.known(meant);
        known.retain(|endpoint| !endpoint.addresses.is_empty());
        if !known.is_empty() {
            let _ = self.events.send(Event::Addresses(known));
        }
    }

    fn known<'a>(&self, keys: impl Iterator<Item = &'a EndpointKey>) -> Vec<Endpoint> {
        let addresses = |key| self.entries.get(&name_of(key)?).map(|entry| entry.addresses.clone());
        keys.map(|key| Endpoint { key: key.clone(), addresses: addresses(key).unwrap_or_default() }).collect()
    }

    /// Answers the questions that need not wait any longer.
    fn answer(&mut self, now: Moment) {
        let tried = |key: &EndpointKey| {
            name_of(key).is_none_or(|name| {
                self.entries
                    .get(&name)
                    .is_some_and(|entry| entry.tried.is_some() || !entry.addresses.is_empty())
            })
        };
        let is_due = |question: &Question| {
            now.since(question.since) >= question.within || question.keys.iter().all(tried)
        };
        let (due, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.questions).into_iter().partition(is_due);
        for question in due {
            // Whoever asked may have stopped waiting.
            let _ = question.answer.send(self.known(question.keys.iter()));
        }
        self.questions = open;
    }

    fn look_up_what_is_due(&mut self, now: Moment) {
        let names: HashSet<Name> = self.watched.iter().filter_map(name_of).collect();
        for name in names {
            if self.entries.get(&name).is_none_or(|entry| entry.rest(now).is_zero()) {
                self.look_up(name);
            }
        }
        self.start_look_ups();
    }

    /// How long nothing has to be done but hear.
    fn pause(&self, now: Moment) -> Duration {
        let watched = self.watched.iter().filter_map(name_of);
        let idle = watched.filter(|name| !self.busy.contains(name));
        let rests = idle.filter_map(|name| Some(self.entries.get(&name)?.rest(now)));
        let questions =
            self.questions.iter().map(|question| question.within.saturating_sub(now.since(question.since)));
        rests.chain(questions).min().unwrap_or(INTERVAL).min(INTERVAL)
    }

    /// Puts a name in the queue, unless it is there or is being looked up.
    fn look_up(&mut self, name: Name) {
        if self.busy.insert(name.clone()) {
            self.queue.push_back(name);
        }
    }

    fn start_look_ups(&mut self) {
        while self.running < LOOK_UPS_MAX
            && let Some(name) = self.queue.pop_front()
        {
            self.running += 1;
            let (messages, asked) = (self.messages.clone(), name.clone());
            let started = spawn("look-up", move || {
                let found = addresses_of(&asked);
                let _ = messages.send(Message::Found(asked, found));
            });
            if started.is_err() {
                // It counts as a look-up that failed: there is another later.
                let _ = self.messages.send(Message::Found(name, None));
            }
        }
    }
}

impl Entry {
    /// How long it need not be looked up again.
    fn rest(&self, now: Moment) -> Duration {
        let interval = if self.addresses.is_empty() { INTERVAL_UNRESOLVED } else { INTERVAL };
        self.tried.map_or(Duration::ZERO, |tried| interval.saturating_sub(now.since(tried)))
    }
}

/// Asks the system. The order of addresses varies from answer to answer; a mere change of order is none.
fn addresses_of((host, port): &Name) -> Option<Vec<Address>> {
    let found = (host.as_str(), *port).to_socket_addrs().ok()?;
    let mut addresses: Vec<_> = found.map(Address::Ip).collect();
    addresses.sort();
    addresses.dedup();
    Some(addresses)
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
