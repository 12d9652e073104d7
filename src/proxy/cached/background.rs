//! Validating a stored response beside serving it stale (RFC 5861, section 3).

use std::rc::Rc;

use super::plan::{self, Planning};
use crate::cache::shard::Entry;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::attempt::fetch::fetch;
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::admit;
use crate::proxy::request::terms::Terms;
use crate::proxy::task;

/// A validation that has not come back for so long may be begun again.
const AGAIN_MS: u64 = 5_000;

/// Begins to validate an entry that is served stale meanwhile, unless that is under way. The request that
/// found it is sent once more, with the stored validators for its conditions.
pub(in crate::proxy) fn validate(
    core: &Rc<Core>,
    peer: &Peer,
    received: &Received,
    entry: &Rc<Entry>,
    now_ms: u64,
) {
    if now_ms.saturating_sub(entry.validated_ms.replace(now_ms)) < AGAIN_MS {
        return;
    }
    let head = received.head_bytes();
    let mut bytes = core.buffers.take(Class::fitting(head.len()));
    let fits = bytes.append(head);
    debug_assert!(fits, "what was in one buffer fits into another");
    task::spawn(core, run(core.clone(), *peer, bytes, received.terms.clone()));
}

async fn run(core: Rc<Core>, peer: Peer, bytes: Buffer, terms: Terms) {
    let mut record = Record::begin_beside();
    let head_length = bytes.len();
    let mut received = Received { bytes, head_length, head: None, lines: core.take_lines(), terms };
    // It was admitted before, and nothing has changed since.
    let read = admit::read(&core, &mut received, &mut record);
    let Ok(mut admitted) = read.and_then(|read| admit::admit(&core, &mut received, read)) else { return };
    let mut caching = plan::begin(&core, &peer, &received, &admitted);
    let fetches = match Planning::new(&core, &peer, &received) {
        Some(planning) => {
            let found = planning.find(&caching, false).await;
            planning.begin_beside(&mut caching, &found).await
        }
        None => false,
    };
    if fetches {
        let (result, _) =
            fetch(&core, None, &peer, &received, &mut admitted, &mut caching, &mut record).await;
        if let Err(fault) = result {
            caching.failed(&core, fault.reason);
        }
    }
    caching.give_back(&core);
    received.terms.give_back(&core);
    core.give_back_lines(received.lines);
}
