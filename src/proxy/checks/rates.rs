//! Rates that requests count for.
//!
//! A request has to be within all rates of its listener and of its route; one that both name counts once. Whether it is
//! gets looked at before anything is counted, so that a request that one rate refuses costs nothing at the others. What
//! another core has counted in between is found when it is counted, and what was counted before is given back then.

use std::sync::Arc;
use std::time::Duration;

use super::{Checking, Looked, Turned};
use crate::clock::Moment;
use crate::config::flow::{RateBy, RateFields, Without};
use crate::error::Reason;
use crate::filter::cors::Preflight;
use crate::filter::rate::{Keying, Limit, Step};
use crate::h1::RequestHead;
use crate::http::{cookie, query};
use crate::proxy::client::connection::{Client, Peer};
use crate::proxy::core::Core;
use crate::proxy::pace::Pace;
use crate::proxy::record::Received;
use crate::proxy::request::routing::{asked_host, client, target_parts};
use crate::proxy::snapshot::{FlowRules, Rate};
use crate::route;

/// Requests that one core holds back at once. Each holds its connection and its buffer, so that more are refused. Those
/// that count together get no more than are left to others: where all come by one key, half of them.
const DELAYED_MAX: u32 = 4096;

/// From so many on nobody is held back whose client has ended its side. It may only have, but most have gone.
const CROWDED: u32 = DELAYED_MAX / 2;

/// So often a request that is held back is looked after: whether there is still somebody who wants it.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// Rates that one request counts for: those of its listener, and those of its route.
const RATES_MAX: usize = 16;

/// What a request waits for.
pub(in crate::proxy) struct Waiting {
    nanos: u64,
}

/// A request that one rate refuses.
struct Over<'a> {
    rate: &'a Rate,
    /// How it stands; none if the request has nothing that it could be counted by.
    step: Option<Step>,
}

/// What a request counts as at one rate.
struct Entry<'a> {
    rate: &'a Rate,
    limit: Limit,
    key: u64,
    now: u64,
}

impl Entry<'_> {
    fn look(&self) -> Step {
        self.rate.counted.table.look(&self.limit, self.key, self.now)
    }

    fn take(&self) -> Step {
        self.rate.counted.table.take(&self.limit, self.key, self.now)
    }

    fn give_back(&self) {
        self.rate.counted.table.give_back(&self.limit, self.key);
    }
}

/// What a request is counted by at a rate.
pub(in crate::proxy) enum Keyed {
    /// This.
    By(u64),
    /// Nothing: it does not count.
    Nothing,
    /// Nothing, for which it is refused.
    Refused,
}

/// The rates that a request counts for.
pub(in crate::proxy) fn rates<'a>(
    listener: Option<&'a FlowRules>,
    route: Option<&'a FlowRules>,
) -> impl Iterator<Item = &'a Arc<Rate>> {
    let of_listener = listener.map_or(&[][..], |flow| &flow.rates);
    let of_route = route.map_or(&[][..], |flow| &flow.rates).iter();
    let is_new = |rate: &&Arc<Rate>| !of_listener.iter().any(|other| other.name == rate.name);
    of_listener.iter().chain(of_route.filter(is_new))
}

impl Checking<'_> {
    /// See the module.
    pub(super) fn rates(&mut self) -> Result<Looked, Turned> {
        if self.received.terms.traffic().all(|traffic| traffic.flow.is_none()) {
            return Ok(Looked::Pass);
        }
        let terms = &self.received.terms;
        let snapshot = terms.snapshot.clone();
        let listener = snapshot.listeners[terms.listener].traffic.flow.as_deref();
        let route = terms.route_place().and_then(|place| snapshot.routes[place].traffic.flow.as_deref());
        let bandwidth = route.and_then(|flow| flow.bandwidth).or(listener.and_then(|flow| flow.bandwidth));
        if let Some(bandwidth) = bandwidth {
            let pace = Pace::new(bandwidth, self.core);
            self.received.terms.make(self.core).pace = Some(pace);
        }
        let mut in_force = rates(listener, route).filter(|rate| !rate.detect_only);
        let counted = match (in_force.next(), in_force.next()) {
            (None, _) => Ok(0),
            (Some(rate), None) => self.count_one(rate),
            (Some(first), Some(second)) => self.count([first, second].into_iter().chain(in_force)),
        };
        let nanos = counted.map_err(|over| self.over(&over))?;
        rates(listener, route).filter(|rate| rate.detect_only).for_each(|rate| self.detect(rate));
        match nanos {
            0 => Ok(Looked::Pass),
            nanos => Ok(Looked::Wait(super::Waiting::Turn(Waiting { nanos }))),
        }
    }

    /// Counts a request at a rate that only detects, and notes it for the log if it is over that.
    fn detect(&mut self, rate: &Rate) {
        let step = match self.entry(rate, self.core.clock.now()) {
            Ok(None) => return,
            Ok(Some(entry)) => Some(entry.take()),
            Err(_) => None,
        };
        match step {
            Some(Step { taken: true, wait: 0, .. }) => return,
            Some(Step { taken: true, .. }) => rate.counted.delayed(),
            _ => rate.counted.refused(),
        }
        let noted = &mut self.received.terms.make(self.core).texts.noted;
        for part in [if noted.is_empty() { "" } else { "," }, "rate/", &rate.name] {
            noted.extend_from_slice(part.as_bytes());
        }
    }

    /// Counts a request at the only rate. Returns how long it waits.
    fn count_one<'r>(&mut self, rate: &'r Rate) -> Result<u64, Over<'r>> {
        let Some(entry) = self.entry(rate, self.core.clock.now())? else { return Ok(0) };
        let step = entry.take();
        if !step.taken {
            return Err(Over { rate, step: Some(step) });
        }
        self.taken(rate, &step);
        Ok(step.wait)
    }

    /// Counts a request at several rates. Returns how long it waits.
    fn count<'r>(&mut self, rates: impl Iterator<Item = &'r Arc<Rate>>) -> Result<u64, Over<'r>> {
        let now = self.core.clock.now();
        let mut entries = [const { None }; RATES_MAX];
        let mut count = 0;
        for rate in rates.take(RATES_MAX) {
            let Some(entry) = self.entry(rate, now)? else { continue };
            let step = entry.look();
            if !step.taken {
                return Err(Over { rate, step: Some(step) });
            }
            entries[count] = Some(entry);
            count += 1;
        }
        let mut steps = [const { None }; RATES_MAX];
        for (at, entry) in entries.iter().flatten().enumerate() {
            let step = entry.take();
            if !step.taken {
                entries[..at].iter().flatten().for_each(Entry::give_back);
                return Err(Over { rate: entry.rate, step: Some(step) });
            }
            steps[at] = Some(step);
        }
        let mut wait = 0;
        for (entry, step) in entries.iter().flatten().zip(steps.iter().flatten()) {
            self.taken(entry.rate, step);
            wait = step.wait.max(wait);
        }
        Ok(wait)
    }

    /// What the request counts as; none if it does not.
    fn entry<'r>(&self, rate: &'r Rate, now: Moment) -> Result<Option<Entry<'r>>, Over<'r>> {
        match keyed(rate, self.peer, self.received, &self.read.head) {
            Keyed::By(key) => {
                let limit = rate.limit.with_waiting(DELAYED_MAX.saturating_sub(self.core.delayed.get()));
                Ok(Some(Entry { rate, limit, key, now: rate.counted.since_began(now) }))
            }
            Keyed::Nothing => Ok(None),
            Keyed::Refused => Err(Over { rate, step: None }),
        }
    }

    /// What there is to tell of a request that was counted.
    fn taken(&mut self, rate: &Rate, step: &Step) {
        if step.wait > 0 {
            rate.counted.delayed();
        }
        if rate.fields == RateFields::Always {
            let core = self.core;
            let lines = &mut self.received.terms.make(core).texts.response_lines;
            write_fields(core, rate, step, lines);
        }
    }

    /// Refuses the request.
    fn over(&mut self, Over { rate, step }: &Over<'_>) -> Turned {
        rate.counted.refused();
        self.record.status = rate.status;
        if let Some(step) = step {
            let core = self.core;
            let texts = &mut self.received.terms.make(core).texts;
            let lines = core.with_room(&mut texts.refusal_lines);
            lines.extend_from_slice(b"Retry-After: ");
            lines.extend_from_slice(itoa::Buffer::new().format(seconds(step.wait).max(1)).as_bytes());
            lines.extend_from_slice(b"\r\n");
            if rate.fields != RateFields::Off {
                write_fields(core, rate, step, lines);
            }
        }
        Turned::Away(Reason::RateLimited)
    }

    /// Waits for its turn, which has been reserved.
    pub(super) async fn wait_for_turn(
        &mut self,
        client: &mut Client,
        waiting: Waiting,
    ) -> Result<(), Turned> {
        let _delayed = Delayed::new(self.core);
        let mut left = Duration::from_nanos(waiting.nanos);
        while !left.is_zero() {
            let part = left.min(LOOK_TIME);
            monoio::time::sleep(part).await;
            left -= part;
            let sink = &client.socket.sink;
            if sink.has_failed() || self.core.delayed.get() >= CROWDED && sink.has_been_ended() {
                return Err(Turned::Away(Reason::ClientClosed));
            }
        }
        Ok(())
    }
}

/// A request that is held back. It is one of those until this goes.
struct Delayed<'a>(&'a Core);

impl Delayed<'_> {
    fn new(core: &Core) -> Delayed<'_> {
        core.delayed.set(core.delayed.get() + 1);
        Delayed(core)
    }
}

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.0.delayed.set(self.0.delayed.get() - 1);
    }
}

/// What a request is counted by at a rate. Each part says what it is, so that nobody can send the text of a field that
/// counts as somebody's address.
pub(in crate::proxy) fn keyed(rate: &Rate, peer: &Peer, received: &Received, head: &RequestHead) -> Keyed {
    const CLIENT: u8 = 0;
    let mut keying = rate.counted.table.keying();
    for (by, kind) in rate.by.iter().zip(1..) {
        let found = match by {
            RateBy::Client => {
                add_client(rate, CLIENT, peer, received, &mut keying);
                continue;
            }
            RateBy::All => continue,
            RateBy::Route => {
                let name = received.terms.route().map_or(&b""[..], |route| route.name.as_bytes());
                keying.add_bytes(kind, name);
                continue;
            }
            RateBy::Host => {
                route::with_bare_host(asked_host(received, head), |host| keying.add_bytes(kind, host));
                continue;
            }
            RateBy::Header(name) => Found::of(received.fields().named(name.as_bytes())),
            RateBy::Cookie(name) => Found::of(cookie::values(received.fields(), name.as_bytes())),
            RateBy::Query(name) => {
                let query = target_parts(head, received.head_bytes()).query.unwrap_or_default();
                Found::of(query::values(query, name.as_bytes()))
            }
        };
        match (found, rate.without) {
            (Found::One(value), _) if matches!(by, RateBy::Query(_)) => {
                keying.add(kind, query::decoded(value));
            }
            (Found::One(value), _) => keying.add_bytes(kind, value),
            (Found::Nothing, Without::Pass) => return Keyed::Nothing,
            (_, Without::Refuse) if !is_question(received, head) => return Keyed::Refused,
            // Sending a key twice is no way round a rate that those without a key need not keep.
            _ => add_client(rate, CLIENT, peer, received, &mut keying),
        }
    }
    Keyed::By(keying.finish())
}

/// What a request has to be counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Found<'a> {
    /// This, and nothing else.
    One(&'a [u8]),
    /// Several values, of which another reader might take another one than we do.
    Several,
    /// Nothing, or nothing but an empty value.
    Nothing,
}

impl<'a> Found<'a> {
    /// What there is among these values.
    pub(in crate::proxy) fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Found<'a> {
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Found::Several,
            (Some(value), None) if !value.is_empty() => Found::One(value),
            (_, None) | (None, _) => Found::Nothing,
        }
    }
}

/// Whether a browser asks what is answered here: it brings neither keys nor cookies with that, so that it counts by its
/// client where they are wanted.
pub(in crate::proxy) fn is_question(received: &Received, head: &RequestHead) -> bool {
    let answers = received.terms.told().is_some_and(|told| told.cors.is_some());
    answers && Preflight::of(head.method, received.fields()).is_some()
}

fn add_client(rate: &Rate, kind: u8, peer: &Peer, received: &Received, keying: &mut Keying) {
    match client(peer, received).0.map(|client| rate.network(client)) {
        Some(std::net::IpAddr::V4(address)) => keying.add_bytes(kind, &address.octets()),
        Some(std::net::IpAddr::V6(address)) => keying.add_bytes(kind, &address.octets()),
        // All whose addresses nobody knows count together.
        None => keying.add_bytes(kind, b""),
    }
}

/// Whole seconds, rounded up.
fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// Writes what a rate has to say of how the client stands (draft-ietf-httpapi-ratelimit-headers).
pub(in crate::proxy) fn write_fields(core: &Core, rate: &Rate, step: &Step, lines: &mut Vec<u8>) {
    let lines = core.with_room(lines);
    let (left, until) = match step.taken {
        true => (rate.limit.left(step.ahead), step.ahead),
        false => (0, step.wait),
    };
    let mut number = itoa::Buffer::new();
    for part in
        [&b"RateLimit-Policy: "[..], &rate.policy, b"\r\nRateLimit: \"", rate.name.as_bytes(), b"\";r="]
    {
        lines.extend_from_slice(part);
    }
    lines.extend_from_slice(number.format(left).as_bytes());
    lines.extend_from_slice(b";t=");
    lines.extend_from_slice(number.format(seconds(until)).as_bytes());
    lines.extend_from_slice(b"\r\n");
}
