//! Asking endpoints until one answers, or none may be asked any more.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use crate::error::Reason;
use crate::proxy::attempt::converse::{Conversation, Ended, Failure, converse};
use crate::proxy::attempt::progress::Progress;
use crate::proxy::attempt::tries::Tries;
use crate::proxy::cached::Caching;
use crate::proxy::client::connection::{Client, Peer};
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::admit::Admitted;
use crate::proxy::request::terms::Terms;
use crate::proxy::response::responded::ResponseFault;
use crate::proxy::task;
use crate::upstream::retry;
use crate::upstream::slot::{NotConnected, Reused, Slot};
use crate::upstream::{Connection, Node, Unavailable, Upstream};

/// So often whoever waits for room looks by itself, should nobody have told it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Fetches the response and passes it on, up to its last window; without a client, only into the cache.
/// The progress says how far the last try had come.
pub(in crate::proxy) async fn fetch<'a>(
    core: &Rc<Core>,
    mut client: Option<&mut Client>,
    peer: &Peer,
    received: &'a Received,
    admitted: &mut Admitted,
    caching: &mut Caching,
    record: &mut Record,
) -> (Result<Ended, ResponseFault>, Progress<'a>) {
    let terms = &received.terms;
    let Some(upstream) = terms.upstream() else {
        return (Err(Reason::NoEndpoint.into()), Progress::of(admitted));
    };
    let is_trial = match upstream.pass() {
        Ok(is_trial) => is_trial,
        Err(reason) => return (Err(reason.into()), Progress::of(admitted)),
    };
    // Only who is told of it wants to know where the client came in.
    let asked_at = client.as_deref().filter(|_| upstream.settings().proxy_protocol.is_some());
    let asked_at = asked_at.and_then(|client| client.socket.local_address());
    let mut tries = Tries::begin(core, upstream, (peer, asked_at), received, &admitted.head);
    tries.is_trial = is_trial;
    loop {
        let mut progress = Progress::of(admitted);
        let connection = match acquire(core, terms, upstream, &mut tries, record).await {
            Ok(connection) => connection,
            Err(reason) => return (Err(reason.into()), progress),
        };
        let node = connection.node().clone();
        (progress.repeats, progress.repeats_before) = tries.statuses(core, upstream, &node);
        progress.rules = Some(&upstream.retry);
        progress.keeps =
            !admitted.whole && admitted.upload.held().is_none() && tries.keep_content(core, upstream);
        progress.introduces = upstream.introduces(&node, tries.wanted, &tries.tried);
        let client = client.as_deref_mut();
        let conversation =
            Conversation { core, client, peer, received, admitted, caching, record, progress: &progress };
        let result = converse(conversation, connection).await;
        score(core, upstream, &tries, &node, &progress, &result);
        let failure = match result {
            Ok(Some(ended)) => return (Ok(ended), progress),
            // At most twice: see `Caching::judge`.
            Ok(None) => continue,
            Err(failure) => failure,
        };
        let at_hand = !progress.uploading.get() || admitted.upload.is_kept();
        let replayable = at_hand && !progress.responding.get();
        match tries.again(core, upstream, &node, failure.progress, replayable) {
            Some(Duration::ZERO) => {}
            Some(pause) => monoio::time::sleep(pause).await,
            None => return (Err(failure.fault), progress),
        }
        admitted.resend();
    }
}

/// Notes how an endpoint has done.
fn score(
    core: &Core,
    upstream: &Upstream,
    tries: &Tries,
    node: &Node,
    progress: &Progress<'_>,
    result: &Result<Option<Ended>, Failure>,
) {
    if let Some(took) = progress.took.get() {
        node.score.measure(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }
    let fault = result.as_ref().err().filter(|failure| {
        // A stale connection says nothing about its endpoint, nor does what the client did.
        let is_stale =
            matches!(failure.progress, retry::Progress::NotSent | retry::Progress::ClosedWhenReused);
        !is_stale
            && failure.progress != retry::Progress::Status
            && !matches!(failure.fault.reason, Reason::StorageFailed | Reason::StorageFull)
            && failure.fault.reason.proxy_error().is_some()
    });
    let status = progress.status.get();
    match fault {
        Some(failure) => note_failure(core, upstream, tries, node, Some(failure.fault.reason)),
        None if status == 0 => {}
        None if upstream.is_failure(status) => note_failure(core, upstream, tries, node, None),
        None => {
            node.succeeded(status);
            if tries.is_trial {
                node.score.tried(status < 500);
            }
        }
    }
}

/// Notes that an endpoint has failed, for that reason or by its status; if that happens again and again, it is told at
/// once.
pub(in crate::proxy) fn note_failure(
    core: &Core,
    upstream: &Upstream,
    tries: &Tries,
    node: &Node,
    reason: Option<Reason>,
) {
    let run = node.failed(reason, core.deadlines.now());
    if tries.is_trial {
        node.score.tried(false);
    }
    if upstream.is_alarming(run) {
        core.raise_alarm();
    }
}

/// A connection to an endpoint that takes one: a pooled one where that is wanted and there is one.
pub(in crate::proxy) async fn acquire(
    core: &Core,
    terms: &Terms,
    upstream: &Upstream,
    tries: &mut Tries,
    record: &mut Record,
) -> Result<Connection, Reason> {
    loop {
        // Whoever comes later does not go first.
        let is_behind = upstream.has_queue();
        let chosen = match is_behind {
            true => Err(Unavailable::Full),
            false => upstream.choose(tries.point, tries.wanted, &tries.tried),
        };
        let mut slot = match chosen {
            Ok(slot) => slot,
            Err(Unavailable::Full) => Box::pin(wait_for_room(core, upstream, tries, is_behind)).await?,
            Err(Unavailable::None(reason)) => match tries.begin_anew() {
                true => continue,
                false => return Err(tries.refused.unwrap_or(reason)),
            },
        };
        if !tries.fresh {
            match slot.reuse(&core.deadlines, &core.clock, tries.preamble.as_deref()) {
                Ok(Reused { connection, taken_over }) => {
                    core.counters.reused.increment();
                    if taken_over {
                        core.counters.taken_over.increment();
                    }
                    record.upstream = Some(connection.shown.clone());
                    return Ok(connection);
                }
                Err(same) => slot = same,
            }
        }
        if let Some(connection) = Box::pin(open(core, terms, upstream, slot, tries, record)).await? {
            return Ok(connection);
        }
    }
}

/// Opens a connection. None if another endpoint, or the same one later, is to be asked.
async fn open(
    core: &Core,
    terms: &Terms,
    upstream: &Upstream,
    slot: Slot,
    tries: &mut Tries,
    record: &mut Record,
) -> Result<Option<Connection>, Reason> {
    let before = record.elapsed(core);
    let node = slot.node().clone();
    match slot.connect(&core.deadlines, terms.connect(), &upstream.dial).await {
        Ok(mut connection) => {
            core.counters.connects.increment();
            connection.preamble.clone_from(&tries.preamble);
            record.upstream = Some(connection.shown.clone());
            record.connect = before.and_then(|before| Some(record.elapsed(core)?.saturating_sub(before)));
            Ok(Some(connection))
        }
        Err(NotConnected::Full) => {
            // If there is nothing to close, it has no room for anybody, and is waited for.
            node.make_room();
            Ok(None)
        }
        // What is idle makes room, if there is something.
        Err(NotConnected::Failed(Reason::Overloaded)) if core.descriptors_ran_out() => Ok(None),
        Err(NotConnected::Failed(Reason::Overloaded)) => Err(Reason::Overloaded),
        Err(NotConnected::Failed(reason)) => {
            note_failure(core, upstream, tries, &node, Some(reason));
            tries.refused = Some(reason);
            let pause = tries.again(core, upstream, &node, retry::Progress::NotConnected, true);
            match pause {
                Some(Duration::ZERO) => {}
                Some(pause) => monoio::time::sleep(pause).await,
                None => return Err(reason),
            }
            Ok(None)
        }
    }
}

/// Waits until some endpoint has room that was not tried; behind others, if there are any.
async fn wait_for_room(
    core: &Core,
    upstream: &Upstream,
    tries: &Tries,
    is_behind: bool,
) -> Result<Slot, Reason> {
    let Some(waiting) = upstream.wait() else {
        core.counters.queue_refused.increment();
        return Err(Reason::UpstreamFull);
    };
    core.counters.queued.increment();
    let since = core.clock.now();
    let mut looks = !is_behind;
    let mut room = pin!(waiting.room());
    loop {
        room.as_mut().enable();
        if std::mem::replace(&mut looks, true) {
            match upstream.choose(tries.point, tries.wanted, &tries.tried) {
                Ok(slot) => return Ok(slot),
                Err(Unavailable::None(reason)) => return Err(tries.refused.unwrap_or(reason)),
                Err(Unavailable::Full) => {}
            }
        }
        let left = upstream.queue.time.saturating_sub(core.clock.now().since(since));
        if left.is_zero() {
            core.counters.queue_refused.increment();
            return Err(Reason::UpstreamQueueTimeout);
        }
        match monoio::time::timeout(left.min(LOOK_AGAIN), room.as_mut()).await {
            Ok(()) => room.set(waiting.room()),
            // Whoever only looks keeps his place among those who wait, and lets those go first who have been told.
            Err(_) => task::give_way().await,
        }
    }
}
