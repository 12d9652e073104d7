//! One request and its response, step by step.

use std::rc::Rc;

use super::admit::{self, Admitted};
use super::cached::plan::{self, Plan};
use super::cached::serve::serve;
use super::connection::{Client, Peer};
use super::converse::Ended;
use super::core::Core;
use super::direct;
use super::fetch::fetch;
use super::mirror;
use super::progress::Progress;
use super::record::{Received, Record};
use super::refusal;
use super::routing;
use super::terms::Terms;
use crate::error::Reason;
use crate::net::Buffer;

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
    let mut admitted = match admitted(core, &peer, &mut received, &mut record) {
        Ok(admitted) => admitted,
        Err(reason) => return refuse(core, received, record, reason),
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

/// Reads the request, finds its route and what follows from it, and decides whether it is served.
fn admitted(
    core: &Rc<Core>,
    peer: &Peer,
    received: &mut Received,
    record: &mut Record,
) -> Result<Admitted, Reason> {
    let read = admit::read(core, received, record)?;
    routing::route(core, peer, received, &read.head, record)?;
    // Admitting takes content apart where it lies.
    let copied = mirror::copy(core, received);
    let admitted = admit::admit(core, received, read)?;
    if let Some(copied) = copied {
        mirror::begin(core, peer, received, &admitted, record.request_id, copied);
    }
    Ok(admitted)
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

/// Answers a request that could not be received, or that is not served; its connection closes.
pub(super) fn refuse(core: &Core, received: Received, mut record: Record, reason: Reason) -> Outcome {
    record.reason = reason;
    let last = (reason.status() != 0).then(|| refusal::answer(core, &received, &mut record, None, false));
    Outcome { last, rest: None, then: Then::CloseWhileSending, received, record }
}
