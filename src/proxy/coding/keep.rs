//! Compressed forms of stored content, made once for all later hits.

use std::rc::Rc;
use std::sync::Arc;

use super::pool::{Coder, Transform};
use crate::cache::forms::Claim;
use crate::cache::store::Store;
use crate::cache::stored::{Body, Segment};
use crate::content::coding::Way;
use crate::content::coding::encoder::{Effort, Flow};
use crate::proxy::core::Core;
use crate::proxy::task::{self, Place};

/// Content up to this size is compressed while its client waits, in one go.
pub(in crate::proxy) const INLINE_BYTES_MAX: u64 = 32 * 1024;

/// Input of one step.
const STEP_BYTES: usize = 32 * 1024;

/// The longest segment.
const SEGMENT_BYTES: usize = 64 * 1024;

/// A form that is being made.
struct Making {
    coder: Coder,
    /// What has been made and is no segment yet.
    tail: Vec<u8>,
    segments: Vec<Arc<Segment>>,
    made: usize,
    /// The most that it may have: it is of no use unless it is shorter.
    bytes_max: usize,
}

/// Why a form is not made.
enum Unmade {
    /// There is no room, or no memory.
    NoRoom,
    /// It would not be shorter.
    Longer,
}

/// Makes a form of short content.
pub(in crate::proxy) fn make_at_once(core: &Core, claim: Claim, effort: Effort) {
    let (Some(store), Some(mut making)) = (&core.store, Making::begin(core, &claim, effort)) else { return };
    let body = claim.of().clone();
    let mut result = Ok(());
    for piece in pieces(&body) {
        result = result.and_then(|()| making.feed(store, piece, Flow::More));
    }
    let result = result.and_then(|()| making.feed(store, b"", Flow::Finish));
    making.settle(core, store, claim, result);
}

/// Makes a form of content of any length, piece by piece, beside everything else.
pub(in crate::proxy) async fn make(core: Rc<Core>, (claim, _place): (Claim, Place), effort: Effort) {
    let (Some(store), Some(mut making)) = (&core.store, Making::begin(&core, &claim, effort)) else { return };
    let body = claim.of().clone();
    let (mut result, mut turn) = (Ok(()), 0);
    for piece in pieces(&body) {
        result = making.feed(store, piece, Flow::More);
        if result.is_err() || core.is_draining() {
            break;
        }
        turn += 1;
        task::take_turns_behind_others(turn).await;
    }
    if core.is_draining() {
        return;
    }
    let result = result.and_then(|()| making.feed(store, b"", Flow::Finish));
    making.settle(&core, store, claim, result);
}

fn pieces(body: &Body) -> impl Iterator<Item = &[u8]> {
    body.segments().iter().flat_map(|segment| segment.bytes().chunks(STEP_BYTES))
}

impl Making {
    fn begin(core: &Core, claim: &Claim, effort: Effort) -> Option<Making> {
        let length = claim.of().length();
        let effort = effort.for_length(Some(length));
        let coder = core.coders.take(Way::Encode(claim.coding()), effort)?;
        let bytes_max = usize::try_from(length).unwrap_or(usize::MAX);
        Some(Making { coder, tail: Vec::new(), segments: Vec::new(), made: 0, bytes_max })
    }

    fn feed(&mut self, store: &Store, mut input: &[u8], flow: Flow) -> Result<(), Unmade> {
        let Some(Transform::Encode(encoder)) = &mut self.coder.transform else { return Err(Unmade::NoRoom) };
        loop {
            let before = self.tail.len();
            self.tail.resize(before + 8 * 1024, 0);
            let step = encoder.step(input, &mut self.tail[before..], flow).map_err(|_| Unmade::NoRoom)?;
            self.tail.truncate(before + step.produced);
            input = &input[step.consumed..];
            self.made += step.produced;
            if self.made >= self.bytes_max {
                return Err(Unmade::Longer);
            }
            if self.tail.len() >= SEGMENT_BYTES {
                keep(store, &mut self.segments, &mut self.tail)?;
            }
            if step.done {
                return Ok(());
            }
        }
    }

    fn settle(mut self, core: &Core, store: &Store, claim: Claim, result: Result<(), Unmade>) {
        core.counters.compressed_in.add(claim.of().length());
        core.counters.compressed_out.add(self.made as u64);
        let made = match result {
            Ok(()) => keep(store, &mut self.segments, &mut self.tail).ok().and_then(|()| {
                let bytes = Body::cost(self.segments.len());
                store.make_beside(bytes, |ledger| Body::of_form(ledger, self.segments.clone()))
            }),
            // What is not shorter than the content itself is not kept, whatever it is.
            Err(Unmade::Longer) => Some(claim.of().clone()),
            Err(Unmade::NoRoom) => None,
        };
        if made.is_some_and(|made| claim.keep(made)) {
            core.counters.compressed_kept.increment();
        }
    }
}

fn keep(store: &Store, segments: &mut Vec<Arc<Segment>>, tail: &mut Vec<u8>) -> Result<(), Unmade> {
    let segment = store.make_beside(Segment::cost(tail.len()), |ledger| Segment::of_form(ledger, tail));
    segments.push(segment.ok_or(Unmade::NoRoom)?);
    tail.clear();
    Ok(())
}
