//! Copies of requests for another upstream, whose responses nobody reads.

use std::cell::Cell;
use std::rc::Rc;

use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::attempt::fetch::fetch;
use crate::proxy::cached::Caching;
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record, RequestId};
use crate::proxy::request::admit;
use crate::proxy::request::terms::Terms;
use crate::proxy::task;
use crate::route::split;

/// So many copies are on their way at once, on one core. A mirror that is too slow for more gets less.
const AT_ONCE_MAX: u32 = 256;

/// A copy that waits until it is known whether the request is served.
pub(in crate::proxy) struct Copied {
    bytes: Buffer,
    terms: Terms,
}

/// Copies what has come of a request, if its route wants that. Only what has come as a whole is mirrored, for
/// content that streams is not held up for that.
pub(in crate::proxy) fn copy(core: &Core, received: &Received) -> Option<Copied> {
    let (upstream, share) = received.terms.route()?.mirror?;
    if !split::takes(share, core.random.borrow_mut().u64(..)) {
        return None;
    }
    let whole = received.bytes.bytes();
    let mut bytes = core.buffers.take(Class::fitting(whole.len()));
    let fits = bytes.append(whole);
    debug_assert!(fits, "what was in one buffer fits into another");
    let mut terms = received.terms.clone();
    terms.take_upstream(upstream, 0);
    Some(Copied { bytes, terms })
}

/// Sends a copy on its way.
pub(in crate::proxy) fn begin(
    core: &Rc<Core>,
    peer: &Peer,
    received: &Received,
    is_whole: bool,
    request_id: RequestId,
    copied: Copied,
) {
    if !is_whole || core.mirrored.get() >= AT_ONCE_MAX {
        return core.counters.mirror_skipped.increment();
    }
    core.counters.mirrored.increment();
    core.mirrored.set(core.mirrored.get() + 1);
    let Copied { bytes, terms } = copied;
    task::spawn(core, run(core.clone(), *peer, bytes, received.head_length, request_id, terms));
}

/// Counts a copy for as long as it is on its way, whatever ends it.
struct Underway<'a>(&'a Cell<u32>);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn run(
    core: Rc<Core>,
    peer: Peer,
    bytes: Buffer,
    head_length: usize,
    request_id: RequestId,
    terms: Terms,
) {
    let _underway = Underway(&core.mirrored);
    let mut record = Record::begin_beside();
    let mut received = Received { bytes, head_length, head: None, lines: core.take_lines(), terms };
    // It was admitted before, and nothing has changed since.
    let read = admit::read(&core, &mut received, &mut record);
    let Ok(mut admitted) = read.and_then(|read| admit::admit(&core, &mut received, read)) else { return };
    // The copy goes by the name of what it is a copy of, so that the two can be told to belong together.
    record.request_id = request_id;
    let mut caching = Caching::off(&received, admitted.head.method);
    let mirrored = fetch(&core, None, &peer, &received, &mut admitted, &mut caching, &mut record);
    let _nobody_cares = mirrored.await;
    received.terms.give_back(&core);
    core.give_back_lines(received.lines);
}
