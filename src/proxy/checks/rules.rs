//! Rules on requests: what the engine finds is done here, once for the head, and once more for the content of a form
//! where some rule looks at that: see [`super::forms`].

use std::rc::Rc;
use std::time::Duration;

use super::forms::content_kind;
use super::{Checking, Looked, Turned};
use crate::config::rules::RuleAction;
use crate::error::Reason;
use crate::filter::rules::{Asked, Found, Marks, Pass, Subjects, Verdict};
use crate::h1::{BodyLength, RequestHead};
use crate::net::Ticks;
use crate::proxy::answer::refusal::RETRY_AFTER;
use crate::proxy::client::connection::{Client, Peer};
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::routing::{self, asked_host, normal_path, target_parts};
use crate::proxy::snapshot::Chain;
use crate::route::Bare;
use crate::route::fields::VALUE_BYTES_MAX;
use crate::route::template::Place;

/// So many clients of one core may wait in tarpits; who comes on top is turned away at once.
const TARPITTED_MAX: u32 = 256;

/// What a request waits for: the end of its time in a tarpit.
pub(in crate::proxy) struct Waiting {
    time: Duration,
    /// The status of the answer that it gets then, if any.
    status: Option<u16>,
}

/// What rules have left on a request.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Ruled {
    pub(in crate::proxy) marks: Marks,
    /// Rules that held for the head, where content follows.
    told: Hits,
    /// The chain and the rule from which on none is asked any more.
    pub(in crate::proxy) until: Option<(usize, usize)>,
}

impl Ruled {
    /// Nothing.
    pub(in crate::proxy) const NONE: Ruled =
        Ruled { marks: Marks { tags: 0, would: 0 }, told: Hits::new(), until: None };

    /// The places of the rules of a chain that held for the head.
    fn told(&self, chain: usize) -> Vec<usize> {
        self.told.iter().filter(|(of, _)| *of == chain).map(|(_, place)| *place).collect()
    }

    /// The rule of a chain from which on none is asked any more; none if that is so for the whole chain.
    pub(super) fn until(&self, chain: usize) -> Option<usize> {
        match self.until {
            Some((last, _)) if chain > last => None,
            Some((last, until)) if chain == last => Some(until),
            _ => Some(usize::MAX),
        }
    }
}

/// What is known of content, when rules are asked for the second time.
#[derive(Clone, Copy)]
pub(in crate::proxy) enum Late<'a> {
    /// What was found in it, by chain.
    Found(&'a [Found]),
    /// Nothing but what it may be: those rules are asked that were put off, and for which it does not matter.
    Unread(Subjects),
}

/// Rules that hold: each by its chain and its place there.
pub(in crate::proxy) type Hits = Vec<(usize, usize)>;

/// What rules say of a request.
pub(in crate::proxy) struct Ruling {
    pub(in crate::proxy) hits: Hits,
    ruled: Ruled,
    /// The rule by which it is turned away.
    pub(in crate::proxy) turned: Option<(usize, usize)>,
}

/// The chains that a request passes: its listener's, and its route's.
pub(in crate::proxy) fn chains(received: &Received) -> impl Iterator<Item = &Chain> {
    let terms = &received.terms;
    let places = terms.traffic().filter_map(|traffic| traffic.rules.as_deref()?.chain);
    places.filter_map(|place| terms.snapshot.rule_chains.get(place))
}

/// The request, as rules see it.
pub(super) fn asked<'a>(
    peer: &Peer,
    received: &'a Received,
    head: &RequestHead,
    body: BodyLength,
    host: &'a Bare,
) -> Asked<'a> {
    let terms = &received.terms;
    let bytes = received.head_bytes();
    let parts = target_parts(head, bytes);
    let wants_client = chains(received).any(|chain| chain.engine.wants_client());
    let lines_at = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    let path = normal_path(terms, parts.path);
    Asked {
        host: host.as_bytes(),
        sent_path: if parts.path.is_empty() { path } else { parts.path },
        path,
        query: parts.query,
        method: head.token.within(bytes),
        fields: received.fields(),
        field_bytes: &bytes[lines_at..],
        listener: &terms.listener().name,
        client: if wants_client { routing::client(peer, received).0 } else { None },
        size: match body {
            BodyLength::Known(size) => Some(size),
            BodyLength::None => Some(0),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        },
    }
}

/// Asks the rules of all chains; nothing is counted. `late` is said once the head has been asked for.
pub(in crate::proxy) fn ask(
    core: &Core,
    peer: &Peer,
    received: &Received,
    head: &RequestHead,
    body: BodyLength,
    late: Option<Late<'_>>,
) -> Ruling {
    let host = Bare::of(asked_host(received, head));
    let asked = asked(peer, received, head, body, &host);
    let content_follows = late.is_none() && !matches!(content_kind(received, head, body), Ok(None));
    let mut ruling = Ruling { hits: Hits::new(), ruled: received.terms.made().ruled.clone(), turned: None };
    let mut scratch = core.rule_scratch.borrow_mut();
    for (chain, sets) in chains(received).enumerate() {
        let Some(until) = ruling.ruled.until(chain) else { break };
        let told = if late.is_some() { ruling.ruled.told(chain) } else { Vec::new() };
        let hits = &mut ruling.hits;
        let mut on = |place| hits.push((chain, place));
        let (engine, marks) = (&sets.engine, &mut ruling.ruled.marks);
        let verdict = match late {
            None => engine.check(&asked, Pass::Head { content_follows }, marks, &mut scratch, &mut on),
            Some(Late::Found(found)) => match found.get(chain) {
                Some(found) => {
                    let pass = Pass::Content(found, until, &told);
                    engine.check(&asked, pass, marks, &mut scratch, &mut on)
                }
                None => break,
            },
            Some(Late::Unread(content)) => {
                engine.settle(&asked, content, until, marks, &mut scratch, &mut on).1
            }
        };
        match verdict {
            Verdict::Pass => {}
            Verdict::Allowed(place) => {
                ruling.ruled.until = Some((chain, place));
                break;
            }
            Verdict::Turned(place) => {
                ruling.turned = Some((chain, place));
                break;
            }
        }
    }
    if content_follows {
        ruling.ruled.told.clone_from(&ruling.hits);
    }
    ruling
}

impl Checking<'_> {
    /// See the module.
    pub(super) fn rules(&mut self) -> Result<Looked, Turned> {
        if chains(self.received).next().is_none() {
            return Ok(Looked::Pass);
        }
        let ruling = ask(self.core, self.peer, self.received, &self.read.head, self.read.body, None);
        if ruling.hits.is_empty() {
            return Ok(Looked::Pass);
        }
        let head = self.read.head;
        carry_out(self.core, self.peer, self.received, &head, self.record, ruling).map(
            |waiting| match waiting {
                Some(waiting) => Looked::Wait(super::Waiting::Rule(waiting)),
                None => Looked::Pass,
            },
        )
    }

    /// Waits, and says what came of it.
    pub(super) async fn wait_by_rule(&mut self, client: &mut Client, waiting: Waiting) -> Result<(), Turned> {
        Err(tarpit(self.core, client, self.record, waiting).await)
    }
}

/// Counts what holds, notes it, and does what it says.
pub(super) fn carry_out(
    core: &Core,
    peer: &Peer,
    received: &mut Received,
    head: &RequestHead,
    record: &mut Record,
    ruling: Ruling,
) -> Result<Option<Waiting>, Turned> {
    note(core, received, &ruling);
    let action = ruling.turned.and_then(|(chain, place)| {
        let sets = chains(received).nth(chain)?;
        let action = sets.engine.rule(place)?.action.clone();
        // Who refuses a method says which are taken (RFC 9110, section 15.5.6).
        let methods = if action == RuleAction::Deny(405) { sets.methods(place) } else { None };
        Some((action, methods.map(str::to_owned)))
    });
    if let Some((RuleAction::Deny(429 | 503) | RuleAction::Tarpit(_, Some(429 | 503)), _)) = &action {
        received.terms.make(core).texts.refusal_lines.extend_from_slice(RETRY_AFTER);
    }
    match action {
        None | Some((RuleAction::Tag(_) | RuleAction::Log | RuleAction::Allow, _)) => Ok(None),
        Some((RuleAction::Close, _)) => Err(Reason::RuleClosed.into()),
        Some((RuleAction::Deny(status), methods)) => {
            if let Some(methods) = methods {
                let lines = &mut received.terms.make(core).texts.refusal_lines;
                append(lines, &[b"Allow: ", methods.as_bytes(), b"\r\n"]);
            }
            record.status = status;
            Err(Reason::RuleDenied.into())
        }
        Some((RuleAction::Tarpit(time, status), _)) => Ok(Some(Waiting { time, status })),
        Some((RuleAction::Redirect { to, status }, _)) => {
            let mut location = core.take_text();
            let template = (&to, Place::Location, VALUE_BYTES_MAX);
            routing::rendered(peer, received, head, record, template, &mut location)?;
            let lines = &mut received.terms.make(core).texts.refusal_lines;
            append(lines, &[b"Location: ", &location, b"\r\n"]);
            core.give_back_text(location);
            record.status = status;
            Err(Reason::RuleRedirected.into())
        }
    }
}

/// Counts the rules that hold, and remembers them.
fn note(core: &Core, received: &mut Received, ruling: &Ruling) {
    for &(chain, place) in &ruling.hits {
        if let Some(sets) = chains(received).nth(chain) {
            sets.count(place);
        }
    }
    remember(core, received, ruling);
}

/// Remembers the rules that hold for the log, and their tags for the upstream.
pub(in crate::proxy) fn remember(core: &Core, received: &mut Received, ruling: &Ruling) {
    let before = received.terms.made().ruled.marks.tags;
    let (mut noted, mut tagged) = (core.take_text(), core.take_text());
    for &(chain, place) in &ruling.hits {
        let Some(sets) = chains(received).nth(chain) else { continue };
        join(&mut noted, sets.name(place).as_bytes(), b",");
    }
    if let Some(sets) = chains(received).next() {
        let given = |at: usize| at < 64 && (ruling.ruled.marks.tags & !before) >> at & 1 == 1;
        for (_, tag) in sets.tags.iter().enumerate().filter(|(at, _)| given(*at)) {
            join(&mut tagged, tag.as_bytes(), b", ");
        }
    }
    let made = received.terms.make(core);
    made.ruled = ruling.ruled.clone();
    let texts = &mut made.texts;
    join(&mut texts.noted, &noted, b",");
    if !tagged.is_empty() {
        // What upstreams answer may depend on it.
        append(&mut texts.brought, &[b"\ntag:", &tagged, b"\n"]);
        append(&mut texts.request_lines, &[b"X-Ringway-Tag: ", &tagged, b"\r\n"]);
        join(&mut texts.tags, &tagged, b", ");
    }
    core.give_back_text(noted);
    core.give_back_text(tagged);
}

fn append(text: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| text.extend_from_slice(part));
}

fn join(text: &mut Vec<u8>, more: &[u8], between: &[u8]) {
    if !text.is_empty() && !more.is_empty() {
        text.extend_from_slice(between);
    }
    text.extend_from_slice(more);
}

/// Has the client wait, unless too many do already; then it is turned away.
pub(super) async fn tarpit(
    core: &Rc<Core>,
    client: &mut Client,
    record: &mut Record,
    waiting: Waiting,
) -> Turned {
    /// Counts one who waits.
    struct Seat<'a>(&'a Core);
    impl Drop for Seat<'_> {
        fn drop(&mut self) {
            self.0.tarpitted.set(self.0.tarpitted.get() - 1);
        }
    }
    let Waiting { time, status } = waiting;
    if core.tarpitted.get() < TARPITTED_MAX {
        core.tarpitted.set(core.tarpitted.get() + 1);
        let _seat = Seat(core);
        let began = core.deadlines.now();
        let Client { socket, watch, .. } = client;
        let limit = Ticks::of(time);
        // Whoever goes early, or goes on sending, is not listened to: it is the place that costs.
        let early = watch.idle_within(limit, socket.source.ready()).await;
        if early.is_some() && !core.is_draining() {
            let left = limit.left(began, core.deadlines.now());
            watch.idle_within(left, std::future::pending::<()>()).await;
        }
    }
    match status {
        Some(status) => {
            record.status = status;
            Reason::RuleDenied.into()
        }
        None => Reason::Tarpitted.into(),
    }
}
