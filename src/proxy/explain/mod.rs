//! Why a request is treated as it is, without a byte being sent.
//!
//! There are no rules here. The request is written as it would come, and led through the very steps that the
//! requests of a core are led through, up to where an upstream would be asked; what they leave is put into words.
//! On a core of its own that says what a configuration means, and on one of a proxy that runs also what that core
//! knows.

mod account;
mod cache;
mod coding;
mod holding;
mod identity;
mod limits;
mod question;
mod rates;
mod rules;
mod security;
mod traffic;
mod upstreams;

use std::rc::Rc;

pub(crate) use self::account::{
    Account, Cache, Changes, Checked, Client, Close, ConnectFailure, Endpoint, EndpointState, Limit,
    Listener, Mirror, Outcome, Route, Selected, Sent, Stored, Upstream,
};
use self::question::Asking;
pub(crate) use self::question::Question;
use super::cached::plan;
use super::core::Core;
use super::head::{self, HeadFault};
use super::record::{Received, Record, RequestId};
use super::snapshot::Action;
use crate::config::{ListenAddress, ListenerSettings};
use crate::error::Reason;
use crate::h1::{HeadScanner, Malformed, RequestHead};
use crate::http::{Method, Name};
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::answer::direct;
use crate::proxy::attempt::converse::Conversation;
use crate::proxy::attempt::progress::Progress;
use crate::proxy::client::connection::Peer;
use crate::proxy::client::inlet::Inlet;
use crate::proxy::request::admit::{self, Admitted};
use crate::proxy::request::routing::{self, normalised, target_parts};
use crate::proxy::request::terms::Terms;

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// What the configuration says.
    Configured,
    /// Also what the core knows.
    Running,
}

/// What is said of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Explained {
    pub(crate) account: Account,
    /// The core that knows what is stored, by its place, if it is another one.
    pub(crate) owner: Option<usize>,
}

/// Explains what becomes of a request under the configuration of a core.
///
/// # Errors
/// It is not clear which request is meant: half a sentence.
pub(crate) fn explain(core: &Rc<Core>, question: &Question, view: View) -> Result<Explained, String> {
    let asking = question.read()?;
    let snapshot = core.snapshot();
    let listeners = &snapshot.settings.listeners;
    let (place, why) = listener(listeners, &asking)?;
    let listener = Listener {
        name: listeners[place].name.clone(),
        addresses: listeners[place].addresses.iter().map(ToString::to_string).collect(),
        why,
        place: None,
    };
    let terms = Terms::of(&Inlet::new(snapshot.clone(), place));
    let peer = Peer::new(asking.from).under(terms.listener());
    let address = text(peer.address());
    let client = Client { peer: address.clone(), trusted: peer.trusted, address };
    let (received, whole) = receive(core, &asking.head, terms);
    let Asking { method, url, .. } = asking;
    let account = Account { method, url, listener, client, ..Account::default() };
    let record = Record::begin_beside();
    let mut explaining = Explaining { core, view, peer, received, record, account, owner: None };
    if let Err(reason) = whole.and_then(|()| explaining.run()) {
        explaining.refused(reason);
    }
    Ok(explaining.finish())
}

/// Which listener a request comes in at, and why that one.
fn listener(listeners: &[ListenerSettings], asking: &Asking) -> Result<(usize, String), String> {
    if let Some(name) = &asking.listener {
        let named = listeners.iter().position(|listener| listener.name == *name);
        return named.map(|place| (place, "it was asked for".to_owned())).ok_or_else(|| {
            let names: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
            format!("there is no listener {name:?}; there is {}", names.join(", "))
        });
    }
    let having = |wanted: &dyn Fn(&ListenAddress) -> bool| {
        listeners.iter().position(|listener| listener.addresses.iter().any(wanted))
    };
    if asking.from.is_none()
        && let Some(place) = having(&|address| matches!(address, ListenAddress::Unix(_)))
    {
        return Ok((place, "it has a Unix socket".to_owned()));
    }
    let (ip, port) = asking.address;
    let is_there = |address: &ListenAddress| {
        address.address().is_some_and(|address| Some(address.ip()) == ip && address.port() == port)
    };
    if let Some(place) = having(&is_there) {
        return Ok((place, "it has the address of the URL".to_owned()));
    }
    let has_port =
        |address: &ListenAddress| matches!(address, ListenAddress::Tcp(_, other) if *other == port);
    Ok(match (having(&has_port), listeners) {
        (Some(place), _) => (place, format!("it has port {port}")),
        (None, [_]) => (0, "it is the only one".to_owned()),
        (None, _) => (0, format!("none has port {port}, and it is the first; --listener names another")),
    })
}

/// Receives a request, and says whether it has a whole head.
fn receive(core: &Core, request: &[u8], terms: Terms) -> (Received, Result<(), Reason>) {
    let limits = terms.listener().head;
    let mut bytes = core.buffers.take(Class::fitting(request.len()));
    // What does not fit into any buffer is larger than any head may be.
    let found = match bytes.append(request) {
        true => head::look(&mut HeadScanner::default(), &bytes, &limits),
        false => Err(HeadFault::Malformed(Malformed::TooLarge)),
    };
    let found = match found {
        Ok(Some(length)) => Ok(length),
        Err(HeadFault::Malformed(fault)) => Err(head::refusal(fault, request, &limits)),
        Ok(None) | Err(HeadFault::Closed | HeadFault::Failed) => Err(Reason::ClientClosed),
    };
    let head_length = *found.as_ref().unwrap_or(&0);
    let received = Received { bytes, head_length, head: None, lines: core.take_lines(), terms };
    (received, found.map(drop))
}

/// A request on its way through the steps.
struct Explaining<'a> {
    core: &'a Rc<Core>,
    view: View,
    peer: Peer,
    received: Received,
    record: Record,
    account: Account,
    owner: Option<usize>,
}

impl Explaining<'_> {
    /// The steps: see [`super::exchange`].
    fn run(&mut self) -> Result<(), Reason> {
        let read = admit::read(self.core, &mut self.received, &mut self.record)?;
        let head = read.head;
        self.account.client.address = text(routing::client(&self.peer, &self.received).1);
        if let Err(reason) = self.route_it(&head) {
            return Err(self.lost(&read).err().unwrap_or(reason));
        }
        self.take_upstream();
        self.traffic(&read)?;
        let admitted = admit::admit(self.core, &mut self.received, read)?;
        match self.received.terms.action() {
            Some(Action::Forward { .. }) => self.forward(admitted),
            _ => self.answer(&admitted)?,
        }
        Ok(())
    }

    /// Finds the route, and what follows from it.
    fn route_it(&mut self, head: &RequestHead) -> Result<(), Reason> {
        self.look_for_route(head)?;
        let routed = routing::route(self.core, &self.peer, &mut self.received, head, &self.record);
        self.take_route();
        routed
    }

    /// Which route takes the request, which came close, and why.
    fn look_for_route(&mut self, head: &RequestHead) -> Result<(), Reason> {
        let terms = &self.received.terms;
        let sent = target_parts(head, self.received.head_bytes()).path;
        let written = normalised(self.core, sent)?;
        let normal = routing::either(&written, sent);
        let routes = &terms.snapshot.settings.routes;
        let asked = routing::asked(&self.peer, &self.received, head, normal);
        let explanation = terms.snapshot.router.explain(routes, &asked);
        let close = |close: crate::route::Close| Close { route: self.route(close.route), why: close.why };
        let close = explanation.close.into_iter().map(close).collect();
        if !written.is_empty() {
            self.account.normal_path = Some(text(&written));
        }
        self.account.because = explanation.because;
        self.account.close = close;
        self.core.give_back_text(written);
        Ok(())
    }

    /// What is said of the route, once the request has one.
    fn take_route(&mut self) {
        let Some(place) = self.received.terms.route_place() else {
            // None takes it, or one that is not told: the path means two things.
            return self.account.because.clear();
        };
        self.account.route = Some(self.route(place));
    }

    /// What the response gains and loses, once all that adds to it has been asked.
    fn response(&self) -> Changes {
        let terms = &self.received.terms;
        let gains = terms.response_changes().map(|changes| changes.lines);
        let gains = gains.into_iter().flatten().flat_map(|lines| self.lines(lines)).collect();
        let edits = terms.route_place().map(|place| &terms.snapshot.settings.routes[place].response_fields);
        let set = edits.iter().flat_map(|edits| edits.set.iter().map(|(name, _)| name));
        let loses = edits.iter().flat_map(|edits| &edits.remove).chain(set).cloned().collect();
        Changes { gains, loses }
    }

    fn route(&self, place: usize) -> Route {
        let name = self.received.terms.snapshot.settings.routes[place].name.clone();
        Route { index: place, name, place: None }
    }

    /// What an upstream gets, and what the cache does.
    fn forward(&mut self, mut admitted: Admitted) {
        let core = self.core;
        let mut caching = plan::begin(core, &self.peer, &self.received, &admitted);
        let cache = self.cache(&mut caching, &admitted);
        if cache.looks && caching.method == Method::Get && !caching.authorized {
            // What is fetched for others too is fetched whole.
            caching.conditions.get_or_insert_default();
        }
        self.account.cache = Some(cache);
        self.account.mirror = self.mirror(&admitted);
        let endpoint =
            self.received.terms.upstream().and_then(|upstream| upstream.settings().endpoints.first());
        if let Some(endpoint) = endpoint {
            let authority = endpoint.address.authority();
            let progress = Progress::of(&admitted);
            let conversation = Conversation {
                core,
                client: None,
                peer: &self.peer,
                received: &self.received,
                admitted: &mut admitted,
                caching: &mut caching,
                record: &mut self.record,
                progress: &progress,
            };
            let sent = conversation.request_bytes(&authority, b"");
            self.account.request = self.sent(&sent);
        }
        caching.give_back(core);
        self.account.outcome = Outcome::Forward;
    }

    /// What is sent, beside what was received.
    fn sent(&self, sent: &Buffer) -> Option<Sent> {
        let bytes = self.received.head_bytes();
        let head = self.received.head?;
        let mut lines = self.lines(sent.bytes()).into_iter();
        let first = lines.next()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let (hosts, mut gains): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("Host: "));
        let mut loses = Vec::new();
        for (_, name, value) in self.received.fields().iter().filter(|(known, ..)| *known != Name::Host) {
            let line = self.text(&[name, b": ", value].concat());
            match gains.iter().position(|gained| *gained == line) {
                Some(place) => drop(gains.remove(place)),
                None => loses.push(line),
            }
        }
        Some(Sent {
            is_rewritten: target != text(head.target_text.within(bytes)),
            method,
            target,
            host: hosts.first().map_or("", |line| &line["Host: ".len()..]).to_owned(),
            changes: Changes { gains, loses },
        })
    }

    /// What a route answers by itself.
    fn answer(&mut self, admitted: &Admitted) -> Result<(), Reason> {
        let core = self.core;
        let answer = direct::answer(core, &self.peer, &self.received, admitted, &mut self.record, true);
        let lines = self.lines(answer.bytes());
        let field = |name: &str| {
            lines.iter().find_map(|line| {
                let (written, value) = line.split_once(": ")?;
                written.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let status = self.record.status;
        self.account.outcome = match (self.record.reason, self.received.terms.action()) {
            (Reason::Denied, _) => Outcome::Deny { status, own_page: self.has_page(status) },
            (Reason::Done, Some(Action::Redirect { .. })) => {
                Outcome::Redirect { status, location: field("Location").unwrap_or_default() }
            }
            (Reason::Done, _) => {
                Outcome::Respond { status, content_type: field("Content-Type"), bytes: self.record.bytes }
            }
            (reason, _) => return Err(reason),
        };
        Ok(())
    }

    fn refused(&mut self, reason: Reason) {
        // Rules and rates say it themselves.
        let says = matches!(reason, Reason::RuleDenied | Reason::RuleRedirected | Reason::RateLimited);
        let own = Some(self.record.status).filter(|&status| says && status != 0);
        let status = own.unwrap_or(reason.status());
        let (reason, why) = (reason.name().to_owned(), reason.sentence().to_owned());
        self.account.outcome = Outcome::Refused { status, reason, why, own_page: self.has_page(status) };
    }

    fn has_page(&self, status: u16) -> bool {
        self.received.terms.error_page(status).is_some()
    }

    /// The lines up to the first that is empty.
    fn lines(&self, head: &[u8]) -> Vec<String> {
        let lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.take_while(|line| !line.is_empty()).map(|line| self.text(line)).collect()
    }

    /// A text, with the word for the request's id in the place of one that was made.
    fn text(&self, bytes: &[u8]) -> String {
        let text = text(bytes);
        match &self.record.request_id {
            RequestId::Made(id) => text.replace(&*String::from_utf8_lossy(id), "{request_id}"),
            RequestId::None | RequestId::Kept(_) => text,
        }
    }

    fn finish(mut self) -> Explained {
        self.account.limits = self.limits();
        self.account.response = self.response();
        let Received { lines, mut terms, .. } = self.received;
        terms.give_back(self.core);
        self.core.give_back_lines(lines);
        Explained { account: self.account, owner: self.owner }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
