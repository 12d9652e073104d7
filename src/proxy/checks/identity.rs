//! Credentials: who asks, found out in one of the ways that are allowed here.
//!
//! ```text
//!   tokens, and passwords that are remembered ─▶ known: at once, without an allocation
//!     │ not so
//!     ▼
//!   passwords are held against their hashes ─▶ services are asked, in their order
//!     │ nobody vouches for the client             │ says no: its answer goes to the client
//!     ▼                                           ▼
//!   401 with what is asked for; 503 where somebody could not be asked
//! ```
//!
//! What a client says in fields by which the upstream is told who it is goes before anything else is done, whatever
//! way succeeds, and also where nobody has to be known though its listener would want that. What the upstream is told
//! tells stored responses apart (see `brought` in [`Texts`](crate::proxy::request::terms::Texts)), so that nobody gets what was made for another.
//! Credentials that were used here, and that the upstream does not get, do not make a response one that only they may
//! see (RFC 9111, section 3.5): the upstream has not seen them, and who asks without them does not come so far.

use std::rc::Rc;

use super::{Checking, Looked, Turned};
use crate::error::Reason;
use crate::filter::auth::credentials::{Given, Pair, given};
use crate::filter::auth::verify;
use crate::http::{Name, Span};
use crate::proxy::checks::passwords::{Question, Unavailable};
use crate::proxy::checks::subrequest::{self, Said};
use crate::proxy::client::connection::Client;
use crate::proxy::core::Core;
use crate::proxy::record::Received;
use crate::proxy::request::routing;
use crate::proxy::request::terms::Terms;
use crate::proxy::snapshot::{By, IdentityRules, Snapshot, Way};

/// What a request waits for: whatever takes longer than to look.
pub(in crate::proxy) struct Waiting {}

/// Bytes of fields that a request may gain from a service, and the response as well.
const GAINED_BYTES_MAX: usize = 16 << 10;

/// What is said by a request, as places in its head.
#[derive(Clone, Copy)]
pub(in crate::proxy) enum Sent {
    Basic(Span),
    Bearer(Span),
    Other,
}

/// What looking at a way says.
enum Seen {
    /// The client is known; its name has been noted.
    Known,
    /// It is not.
    Unknown,
    /// That has to be found out.
    Open,
}

/// The rules that hold: those of the route take the place of those of its listener.
pub(in crate::proxy) fn rules<'s>(snapshot: &'s Snapshot, terms: &Terms) -> Option<&'s IdentityRules> {
    let own = terms.route_place().and_then(|place| snapshot.routes[place].traffic.identity.as_deref());
    own.or(snapshot.listeners[terms.listener].traffic.identity.as_deref())
}

impl Checking<'_> {
    /// See the module.
    pub(super) fn identity(&mut self) -> Result<Looked, Turned> {
        let terms = &self.received.terms;
        if terms.traffic().all(|rules| rules.identity.is_none()) {
            return Ok(Looked::Pass);
        }
        let snapshot = terms.snapshot.clone();
        let Some(rules) = rules(&snapshot, &self.received.terms) else { return Ok(Looked::Pass) };
        if rules.ways.is_empty() && !rules.lacks {
            forget(self.core, self.received);
            return Ok(Looked::Pass);
        }
        let sent = sent(self.received)?;
        let mut is_open = false;
        for way in &rules.ways {
            match self.look_at(way, sent) {
                Seen::Known => {
                    self.pass(rules, way, None);
                    return Ok(Looked::Pass);
                }
                Seen::Unknown => {}
                Seen::Open => is_open = true,
            }
        }
        if is_open {
            return Ok(Looked::Wait(super::Waiting::Verdict(Waiting {})));
        }
        // Whoever is not there might have vouched for it.
        if rules.lacks {
            return Err(self.unavailable());
        }
        Err(self.refuse(rules, sent))
    }

    /// Waits, and says what came of it.
    pub(super) async fn wait_for_verdict(
        &mut self,
        client: &mut Client,
        waiting: Waiting,
    ) -> Result<(), Turned> {
        let Waiting {} = waiting;
        let snapshot: Rc<Snapshot> = self.received.terms.snapshot.clone();
        let Some(rules) = rules(&snapshot, &self.received.terms) else { return Ok(()) };
        let sent = sent(self.received)?;
        let mut is_unavailable = rules.lacks;
        for way in rules.ways.iter().filter(|way| matches!(way.by, By::Basic { .. })) {
            match self.hold_against(way, sent).await {
                Ok(true) => {
                    self.pass(rules, way, None);
                    return Ok(());
                }
                Ok(false) => {}
                Err(Unavailable) => is_unavailable = true,
            }
        }
        let mut answer = None;
        for way in &rules.ways {
            match self.ask_service(client, way).await {
                Ok(None) => {}
                Ok(Some(said)) if said.is_permission() => {
                    self.pass(rules, way, Some(&said));
                    return Ok(());
                }
                Ok(Some(said)) => answer = answer.or(Some((way, said))),
                Err(Unavailable) => is_unavailable = true,
            }
        }
        match answer {
            // Whoever could not be asked might have vouched for it.
            _ if is_unavailable => Err(self.unavailable()),
            Some((way, said)) => Err(self.answer(rules, way, &said)),
            None => Err(self.refuse(rules, sent)),
        }
    }

    /// What the service of a way says, if it has one: a permission, or what the client is to be told.
    async fn ask_service(&self, client: &Client, way: &Way) -> Result<Option<Said>, Unavailable> {
        let By::Forward { service, upstream } = &way.by else { return Ok(None) };
        let question = subrequest::Question {
            core: self.core,
            peer: self.peer,
            asked_at: client.socket.local_address(),
            received: self.received,
            head: &self.read.head,
            request_id: self.record.request_id.bytes(self.received),
            service,
            upstream: *upstream,
        };
        let said = question.ask().await.map_err(|_| Unavailable)?;
        let is_refusal = matches!(said.status, 301 | 302 | 303 | 307 | 308 | 401 | 403);
        let fits = || is_short(gained(way, &said)) && is_short(for_client(way, &said));
        let is_clear = if said.is_permission() { fits() } else { is_refusal };
        if is_clear { Ok(Some(said)) } else { Err(Unavailable) }
    }

    /// What can be said at once.
    fn look_at(&mut self, way: &Way, sent: Sent) -> Seen {
        let core = self.core;
        let received = &mut *self.received;
        let bytes = &received.bytes.bytes()[..received.head_length];
        match (&way.by, sent) {
            (By::Bearer(listed), Sent::Bearer(token)) => listed.with(|tokens| {
                let Some(token) = verify::token(tokens, token.within(bytes)) else { return Seen::Unknown };
                if !token.name.is_empty() {
                    note_user(core, &mut received.terms, token.name.as_bytes());
                }
                Seen::Known
            }),
            (By::Basic { users, verifiers, remember }, Sent::Basic(encoded)) => {
                let Some(pair) = Pair::decode(encoded.within(bytes)) else { return Seen::Unknown };
                if remember.is_zero() {
                    return Seen::Open;
                }
                let users = users.now();
                let digest = users.find(pair.name()).map(|entry| entry.digest());
                let mark = verifiers.key.mark(digest, pair.name(), pair.password());
                match core.passwords.verdict(&mark, core.deadlines.now()) {
                    Some(true) => {
                        note_user(core, &mut received.terms, pair.name());
                        Seen::Known
                    }
                    Some(false) => Seen::Unknown,
                    None => Seen::Open,
                }
            }
            (By::Forward { .. }, _) => Seen::Open,
            (By::Basic { .. } | By::Bearer(_), _) => Seen::Unknown,
        }
    }

    /// Whether the password is the one that was hashed, for a way that wants one.
    async fn hold_against(&mut self, way: &Way, sent: Sent) -> Result<bool, Unavailable> {
        let (By::Basic { users, verifiers, remember }, Sent::Basic(encoded)) = (&way.by, sent) else {
            return Ok(false);
        };
        let Some(pair) = Pair::decode(encoded.within(self.received.head_bytes())) else { return Ok(false) };
        let (question, name) = {
            let users = users.now();
            let known = users.find(pair.name());
            // Somebody's hash takes as long as that of a user would, whose name it is not.
            let Some(entry) = known.or_else(|| users.any(verifiers.key.number(pair.name()))) else {
                return Ok(false);
            };
            let question = Question {
                mark: verifiers.key.mark(known.map(|entry| entry.digest()), pair.name(), pair.password()),
                entry: entry.clone(),
                is_known: known.is_some(),
                password: pair.password().to_vec(),
                remember: *remember,
                client: routing::client(self.peer, self.received).0,
            };
            (question, pair.name().to_vec())
        };
        let known = self.core.passwords.verdict(&question.mark, self.core.deadlines.now());
        let is_right = match known.filter(|_| !remember.is_zero()) {
            Some(is_right) => is_right,
            None => self.core.passwords.ask(self.core, verifiers, question).await?,
        };
        if is_right {
            note_user(self.core, &mut self.received.terms, &name);
        }
        Ok(is_right)
    }

    /// Lets the request go on, and has the upstream told whose it is.
    fn pass(&mut self, rules: &IdentityRules, way: &Way, said: Option<&Said>) {
        let core = self.core;
        // Not sooner: a service has to see what the client itself has said.
        forget(core, self.received);
        let terms = &mut self.received.terms;
        // They come with the response as it goes to this client: what is stored of it has none of them.
        for (name, value) in said.into_iter().flat_map(|said| for_client(way, said)) {
            let lines = core.with_room(&mut terms.make(core).texts.response_lines);
            [name.as_bytes(), b": ", value, b"\r\n"].iter().for_each(|part| lines.extend_from_slice(part));
        }
        if !rules.told.is_empty() {
            let texts = &mut terms.make(core).texts;
            if let (Some(name), Some(said)) = (&way.user_header, said) {
                let value = said.fields().named(name.as_bytes()).next();
                core.with_room(&mut texts.user).extend_from_slice(value.unwrap_or_default());
            }
            core.with_room(&mut texts.request_lines);
            let start = texts.request_lines.len();
            let mut put = |parts: &[&[u8]]| {
                parts.iter().for_each(|part| texts.request_lines.extend_from_slice(part));
            };
            match (&way.user_header, said) {
                (_, Some(said)) => {
                    gained(way, said)
                        .for_each(|(name, value)| put(&[name.as_bytes(), b": ", value, b"\r\n"]));
                }
                (Some(name), None) if !texts.user.is_empty() => {
                    put(&[name.as_bytes(), b": ", &texts.user, b"\r\n"]);
                }
                (_, None) => {}
            }
            // No name or value has a NUL, so that nothing else can look like this.
            core.with_room(&mut texts.brought).push(0);
            texts.brought.extend_from_slice(&texts.request_lines[start..]);
            texts.brought.push(0);
        }
        if !way.pass_credentials && !matches!(way.by, By::Forward { .. }) {
            use_up(core, self.received);
        }
    }

    /// Turns the request away, since somebody could not be asked.
    fn unavailable(&mut self) -> Turned {
        let texts = &mut self.received.terms.make(self.core).texts;
        self.core.with_room(&mut texts.refusal_lines).extend_from_slice(b"Retry-After: 1\r\n");
        Reason::AuthUnavailable.into()
    }

    /// Turns the request away, and says what is wanted.
    fn refuse(&mut self, rules: &IdentityRules, sent: Sent) -> Turned {
        let texts = &mut self.received.terms.make(self.core).texts;
        challenge(rules, sent, self.core.with_room(&mut texts.refusal_lines));
        Reason::Unauthenticated.into()
    }
}

/// What a request says.
///
/// # Errors
/// Nobody can tell what.
pub(in crate::proxy) fn sent(received: &Received) -> Result<Sent, Reason> {
    let bytes = received.head_bytes();
    match given(received.fields()) {
        Ok(Given::Basic(encoded)) => Ok(Sent::Basic(Span::of(bytes, encoded))),
        Ok(Given::Bearer(token)) => Ok(Sent::Bearer(Span::of(bytes, token))),
        Ok(Given::Nothing | Given::Other | Given::Malformed) => Ok(Sent::Other),
        Err(_) => Err(Reason::BadField),
    }
}

/// Notes who the client is.
fn note_user(core: &Core, terms: &mut Terms, name: &[u8]) {
    let texts = &mut terms.make(core).texts;
    texts.user.clear();
    core.with_room(&mut texts.user).extend_from_slice(name);
}

/// Takes away what nobody but we may tell the upstream: also where the listener would want to know who it is, and the
/// route does not, for the upstream may be the same.
pub(in crate::proxy) fn forget(core: &Core, received: &mut Received) {
    let terms = &received.terms;
    if terms.traffic().filter_map(|rules| rules.identity.as_deref()).all(|rules| rules.told.is_empty()) {
        return;
    }
    let mut dropped = core.take_text();
    dropped.extend_from_slice(&terms.made().texts.dropped);
    for rules in terms.traffic().filter_map(|rules| rules.identity.as_deref()) {
        dropped.extend_from_slice(&rules.told);
    }
    let before = std::mem::replace(&mut received.terms.make(core).texts.dropped, dropped);
    core.give_back_text(before);
    received.terms.drop_fields(&received.bytes.bytes()[..received.head_length], &mut received.lines);
}

/// Takes the credentials away that were used here.
pub(in crate::proxy) fn use_up(core: &Core, received: &mut Received) {
    let texts = &mut received.terms.make(core).texts;
    core.with_room(&mut texts.dropped).extend_from_slice(b"authorization\n");
    // There is but one.
    let used = received.lines.iter_mut().find(|line| line.known == Name::Authorization);
    used.into_iter().for_each(|line| line.known = Name::Dropped);
}

/// Writes what is wanted of a client: a line for each way that has one.
pub(super) fn challenge(rules: &IdentityRules, sent: Sent, lines: &mut Vec<u8>) {
    for way in rules.ways.iter().filter(|way| !way.challenge.is_empty()) {
        lines.extend_from_slice(&way.challenge);
        if matches!((&way.by, sent), (By::Bearer(_), Sent::Bearer(_))) {
            lines.extend_from_slice(b", error=\"invalid_token\"");
        }
        lines.extend_from_slice(b"\r\n");
    }
}

/// The fields that a request gains from what a service has said.
fn gained<'a>(way: &'a Way, said: &'a Said) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let names = match &way.by {
        By::Forward { service, .. } => &service.response_fields[..],
        By::Basic { .. } | By::Bearer(_) => &[],
    };
    let user = way.user_header.as_deref();
    let user = user.filter(|user| names.iter().all(|name| !name.eq_ignore_ascii_case(user)));
    let names = names.iter().map(String::as_str).chain(user);
    names.flat_map(|name| said.fields().named(name.as_bytes()).map(move |value| (name, value)))
}

/// The fields that the client gains from what a service has said.
fn for_client<'a>(way: &'a Way, said: &'a Said) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let names = match &way.by {
        By::Forward { service, .. } => &service.client_fields[..],
        By::Basic { .. } | By::Bearer(_) => &[],
    };
    let values = |name: &'a String| said.fields().named(name.as_bytes()).map(move |value| (&**name, value));
    names.iter().flat_map(values)
}

/// Whether so many fields may be gained.
fn is_short<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    fields.map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() <= GAINED_BYTES_MAX
}
