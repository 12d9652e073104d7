//! One request and its response, step by step.

use std::rc::Rc;

use super::cached::plan::{self, Plan};
use super::cached::serve::serve;
use super::checks::{self, Checking, Turned, forms};
use super::core::Core;
use super::record::{Received, Record};
use crate::error::Reason;
use crate::net::Buffer;
use crate::proxy::answer::direct;
use crate::proxy::answer::refusal;
use crate::proxy::attempt::converse::Ended;
use crate::proxy::attempt::fetch::fetch;
use crate::proxy::attempt::mirror;
use crate::proxy::attempt::progress::Progress;
use crate::proxy::client::connection::{Client, Peer};
use crate::proxy::holding::hold;
use crate::proxy::request::admit::{self, Admitted, Read};
use crate::proxy::request::routing;
use crate::proxy::request::terms::Terms;

/// How an exchange ended, and what is left to do.
pub(super) struct Outcome {
    /// The end of the response, or all of it, still to be written.
    pub(super) last: Option<Buffer>,
    /// Bytes that the client sent behind its request.
    pub(super) rest: Option<Buffer>,
    /// What becomes of the client's connection.
    pub(super) then: Then,
    /// The request, for the log.
    pub(super) received: Received,
    /// What happened.
    pub(super) record: Record,
}

/// What becomes of the client's connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It waits for another request.
    Persist,
    /// It closes.
    Close,
    /// It closes, but the client may still be sending: what it sends is thrown away for a moment, so
    /// that it can read the answer.
    CloseWhileSending,
    /// It breaks off, so that what was sent cannot be taken for the whole.
    Reset,
}

/// Serves the request at the front of `bytes`, whose head is `head_length` long.
pub(super) async fn run(core: &Rc<Core>, client: &mut Client, bytes: Buffer, head_length: usize) -> Outcome {
    let mut record = Record::begin(core);
    let terms = Terms::of(&client.inlet);
    let mut received = Received { bytes, head_length, head: None, lines: core.take_lines(), terms };
    let peer = client.peer.under(received.terms.listener());
    let mut admitted = match let_in(core, client, &peer, &mut received, &mut record).await {
        Ok(admitted) => admitted,
        Err(Stopped::Refused(reason)) => return refuse(core, received, record, reason),
        Err(Stopped::Turned(read, turned)) => return turn(core, received, read, record, turned),
        Err(Stopped::TurnedLate(admitted, turned)) => {
            return turned_away(core, received, Ok(*admitted), record, turned);
        }
    };
    if received.terms.upstream().is_none() {
        return answer(core, &peer, received, admitted, record);
    }
    let mut caching = plan::begin(core, &peer, &received, &admitted);
    let plan = plan::plan(core, &peer, &received, &admitted, &mut caching).await;
    let mut progress = Progress::of(&admitted);
    let ended = match plan {
        Plan::Serve(source) => Ok(Ended::Serve(source)),
        Plan::Refuse(reason) => Err(reason.into()),
        Plan::Fetch => {
            let some = Some(&mut *client);
            let result = fetch(core, some, &peer, &received, &mut admitted, &mut caching, &mut record);
            let (result, last) = result.await;
            progress = last;
            result
        }
    };
    let ended = match ended {
        Err(fault) => match caching.failed(core, fault.reason) {
            Some(source) if !progress.responding.get() => Ok(Ended::Serve(source)),
            _ => Err(fault),
        },
        ended => ended,
    };
    record.cache = caching.outcome();
    let rest = admitted.upload.rest();
    let ended = match ended {
        Ok(Ended::Passed { last, then }) => Ok((last, then)),
        Ok(Ended::Serve(source)) => {
            let asked = admitted.asked;
            let served = serve(core, client, &received, asked, &caching, source, &mut record).await;
            Ok((served.last, served.then))
        }
        Ok(Ended::Dropped) => Ok((None, Then::Close)),
        Err(fault) => Err(fault),
    };
    let fault = match ended {
        Ok((last, then)) => {
            caching.give_back(core);
            return Outcome { last, rest, then, received, record };
        }
        Err(fault) => fault,
    };
    record.reason = fault.reason;
    let answerable = !progress.responding.get() && fault.reason.status() != 0;
    let then = match (answerable, progress.uploaded.get()) {
        (true, true) if admitted.asked.keep_alive && !core.is_draining() => Then::Persist,
        (true, true) => Then::Close,
        (true, false) => Then::CloseWhileSending,
        (false, _) if fault.ends_with_close => Then::Reset,
        (false, _) => Then::Close,
    };
    let persists = then == Then::Persist;
    let last = answerable.then(|| refusal::answer(core, &received, &mut record, Some(&caching), persists));
    caching.give_back(core);
    Outcome { last, rest, then, received, record }
}

/// Why a request is not let in.
enum Stopped {
    /// It cannot be received, or is not served, and its connection closes.
    Refused(Reason),
    /// It did not get past its checks.
    Turned(Read, Turned),
    /// The same, after its content was looked at.
    TurnedLate(Box<Admitted>, Turned),
}

impl From<Reason> for Stopped {
    fn from(reason: Reason) -> Stopped {
        Stopped::Refused(reason)
    }
}

/// Reads the request, finds its route, leads it through its checks, and has its content as it is wanted.
async fn let_in(
    core: &Rc<Core>,
    client: &mut Client,
    peer: &Peer,
    received: &mut Received,
    record: &mut Record,
) -> Result<Admitted, Stopped> {
    let read = admit::read(core, received, record)?;
    if core.is_overloaded() {
        return Err(Reason::Overloaded.into());
    }
    if let Err(reason) = routing::route(core, peer, received, &read.head, record) {
        return Err(lost(core, peer, received, read, record, reason));
    }
    client.watch.set_rate(received.terms.times.rate_min);
    if received.terms.checks() {
        let checking = Checking { core, peer, received, read: &read, record };
        if let Err(turned) = checks::pass(checking, client).await {
            return Err(Stopped::Turned(read, turned));
        }
    }
    // Admitting takes content apart where it lies.
    let copied = mirror::copy(core, received).map(Box::new);
    let mut admitted = admit::admit(core, received, read)?;
    // The copy has what has come by now, and no more.
    let is_whole = admitted.whole && admitted.upgrade.is_none();
    if !matches!(forms::content_kind(received, &admitted.head, admitted.body), Ok(None)) {
        let content = forms::content(core, client, peer, received, &mut admitted, record);
        if let Err(turned) = Box::pin(content).await {
            return Err(Stopped::TurnedLate(Box::new(admitted), turned));
        }
    }
    if let Some(copied) = copied {
        mirror::begin(core, peer, received, is_whole, record.request_id, *copied);
    }
    if hold::is_wanted(received, &admitted) {
        Box::pin(hold::hold(core, client, received, &mut admitted)).await?;
    }
    Ok(admitted)
}

/// A request that cannot be led to an upstream, for that reason: whoever may not ask at all, or not so often, is told
/// that instead.
fn lost(
    core: &Rc<Core>,
    peer: &Peer,
    received: &mut Received,
    read: Read,
    record: &mut Record,
    reason: Reason,
) -> Stopped {
    if !received.terms.checks() {
        return reason.into();
    }
    match checks::pass_lost(Checking { core, peer, received, read: &read, record }) {
        Ok(()) => reason.into(),
        Err(turned) => Stopped::Turned(read, turned),
    }
}

/// Answers a request whose route needs no upstream, or that has none.
fn answer(
    core: &Core,
    peer: &Peer,
    received: Received,
    mut admitted: Admitted,
    mut record: Record,
) -> Outcome {
    let keep_alive = admitted.asked.keep_alive && admitted.whole && !core.is_draining();
    let then = match (keep_alive, admitted.whole) {
        (true, _) => Then::Persist,
        (false, true) => Then::Close,
        (false, false) => Then::CloseWhileSending,
    };
    let last = direct::answer(core, peer, &received, &admitted, &mut record, keep_alive);
    Outcome { last: Some(last), rest: admitted.upload.rest(), then, received, record }
}

/// Answers a request that did not get past its checks. The connection goes on, if all of the request is here.
fn turn(core: &Core, mut received: Received, read: Read, record: Record, turned: Turned) -> Outcome {
    let admitted = admit::admit(core, &mut received, read);
    turned_away(core, received, admitted, record, turned)
}

/// The same, of one whose content has been taken apart.
fn turned_away(
    core: &Core,
    received: Received,
    admitted: Result<Admitted, Reason>,
    mut record: Record,
    turned: Turned,
) -> Outcome {
    let (answer, reason) = match turned {
        Turned::Answered(buffer, keeps) => (Some((buffer, keeps)), record.reason),
        Turned::Away(reason) => (None, reason),
    };
    record.reason = reason;
    let (keep_alive, rest) = match admitted {
        Ok(mut admitted) => (admitted.asked.keep_alive && admitted.whole, admitted.upload.rest()),
        Err(_) => (false, None),
    };
    // What an answer has said of the connection holds.
    let keeps = answer.as_ref().is_none_or(|(_, keeps)| *keeps);
    let persists = keep_alive && keeps && !core.is_draining();
    let refused = || refusal::answer(core, &received, &mut record, None, persists);
    let answer = answer.map(|(buffer, _)| buffer);
    let last = answer.or_else(|| (reason.status() != 0).then(refused));
    let then = match (&last, persists) {
        (None, _) => Then::Close,
        (Some(_), true) => Then::Persist,
        (Some(_), false) => Then::CloseWhileSending,
    };
    Outcome { last, rest, then, received, record }
}

/// Answers a request that could not be received, or that is not served; its connection closes.
pub(super) fn refuse(core: &Core, received: Received, mut record: Record, reason: Reason) -> Outcome {
    record.reason = reason;
    let last = (reason.status() != 0).then(|| refusal::answer(core, &received, &mut record, None, false));
    Outcome { last, rest: None, then: Then::CloseWhileSending, received, record }
}
