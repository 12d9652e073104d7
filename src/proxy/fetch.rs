//! Asking endpoints until one answers, or none may be asked any more.

use std::rc::Rc;
use std::time::Duration;

use super::admit::Admitted;
use super::cached::Caching;
use super::connection::{Client, Peer};
use super::converse::{Conversation, Ended, converse};
use super::core::Core;
use super::record::{Received, Record};
use super::respond::ResponseFault;
use super::terms::Terms;
use super::upload::Progress;
use crate::error::Reason;
use crate::upstream::retry::{self, Try};
use crate::upstream::{Connection, Node, connect};

/// Fetches the response and passes it on, up to its last window; without a client, only into the cache.
/// The progress says how far the last try had come.
pub(super) async fn fetch(
    core: &Rc<Core>,
    mut client: Option<&mut Client>,
    peer: &Peer,
    received: &Received,
    admitted: &mut Admitted,
    caching: &mut Caching,
    record: &mut Record,
) -> (Result<Ended, ResponseFault>, Progress) {
    let mut retries = 0;
    let terms = &received.terms;
    let retries_max = terms.retries_max();
    let mut refused = 0;
    loop {
        let progress = Progress::of(admitted);
        // Where one pooled connection was stale, the others may be too.
        let pooled = retries == 0;
        let connection = match acquire(core, terms, pooled, &mut refused, record).await {
            Ok(connection) => connection,
            Err(reason) => return (Err(reason.into()), progress),
        };
        let client = client.as_deref_mut();
        let conversation =
            Conversation { core, client, peer, received, admitted, caching, record, progress: &progress };
        let failure = match converse(conversation, connection).await {
            Ok(Some(ended)) => return (Ok(ended), progress),
            // At most twice: see `Caching::judge`.
            Ok(None) => continue,
            Err(failure) => failure,
        };
        let last = Try {
            progress: failure.progress,
            idempotent: admitted.head.method.is_idempotent(),
            replayable: !progress.uploading.get() && !progress.responding.get(),
            retries,
            retries_max,
        };
        if !retry::may_retry(last) {
            return (Err(failure.fault), progress);
        }
        core.counters.retries.increment();
        retries += 1;
    }
}

/// A connection to the next endpoint that takes one: a pooled one where that is wanted and there is
/// one. Each endpoint is tried once, as far as retries go.
async fn acquire(
    core: &Core,
    terms: &Terms,
    pooled: bool,
    refused: &mut usize,
    record: &mut Record,
) -> Result<Connection, Reason> {
    let upstream = terms.upstream().ok_or(Reason::NoEndpoint)?;
    let tries_max = upstream.endpoints().len().min(1 + terms.retries_max() as usize);
    // The turn is taken once: others take theirs meanwhile, and the next turn could be the same again.
    let mut place = upstream.choose().ok_or(Reason::NoEndpoint)?;
    loop {
        let node = upstream.endpoint(place).ok_or(Reason::NoEndpoint)?;
        if pooled && let Some(connection) = node.take() {
            core.counters.reused.increment();
            record.upstream = Some(connection.shown.clone());
            return Ok(connection);
        }
        let before = record.elapsed(core);
        match Box::pin(open(core, node, terms.connect())).await {
            Ok(connection) => {
                record.upstream = Some(connection.shown.clone());
                record.connect = before.and_then(|before| Some(record.elapsed(core)?.saturating_sub(before)));
                return Ok(connection);
            }
            Err(reason) => {
                *refused += 1;
                if *refused >= tries_max {
                    return Err(reason);
                }
                core.counters.retries.increment();
                place += 1;
            }
        }
    }
}

/// Opens a connection to an endpoint within `limit`.
async fn open(core: &Core, node: &Rc<Node>, limit: Duration) -> Result<Connection, Reason> {
    core.counters.connects.increment();
    connect::connect(&core.deadlines, node, limit).await
}
