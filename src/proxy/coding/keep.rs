//! Compressed forms of stored content, made once for all later hits.
//!
//! ```text
//!   short      at once, while its client waits; `gzip` as a whole, which takes half the time of a stream
//!   longer     piece by piece, in a task of its own; whoever asks meanwhile waits a moment for it
//!   long       the same, behind everything else; nobody waits for it
//! ```

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::pool::{Coder, Transform};
use crate::cache::forms::Claim;
use crate::cache::ledger::Beside;
use crate::cache::store::Store;
use crate::cache::stored::{Body, Segment};
use crate::content::coding::Way;
use crate::content::coding::encoder::{Effort, Flow};
use crate::content::coding::whole::Whole;
use crate::http::coding::Coding;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::core::Core;
use crate::proxy::task::{self, Place};

/// Content up to this size is compressed while its client waits, in one go, if that is done in a stream.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// For the form of content up to this size whoever wants it waits a moment.
const WAITED_BYTES_MAX: u64 = 256 * 1024;

/// How long that moment is at most. It takes less, unless the core has a lot to do.
const WAIT: Duration = Duration::from_millis(8);

/// Input of one step.
const STEP_BYTES: usize = 32 * 1024;

/// The longest segment.
const SEGMENT_BYTES: usize = 64 * 1024;

/// A form that is being made.
struct Making {
    coder: Coder,
    /// What has been made and is no segment yet.
    tail: Vec<u8>,
    made: Made,
    /// The most that it may have: it is of no use unless it is shorter.
    bytes_max: u64,
}

/// What has been made of a form.
#[derive(Default)]
struct Made {
    segments: Vec<Arc<Segment>>,
    length: u64,
}

/// Why a form is not made.
enum Unmade {
    /// There is no room, or no memory.
    NoRoom,
    /// It would not be shorter.
    Longer,
}

/// Has a form be made of content that has none, unless somebody does so already.
pub(in crate::proxy) fn provide(core: &Rc<Core>, body: &Arc<Body>, coding: Coding, effort: Effort) {
    let [_, keeping] = &core.compressing;
    let at_once_bytes_max = match coding {
        Coding::Gzip => Whole::bytes_max(effort.level),
        Coding::Brotli | Coding::Zstd => INLINE_BYTES_MAX,
    };
    if body.length() <= at_once_bytes_max as u64 {
        if let Some(claim) = Claim::first(body, coding) {
            make_at_once(core, claim, effort);
        }
    } else if let Some(place) = keeping.take(core.deadlines.now())
        && let Some(claim) = Claim::first(body, coding)
    {
        task::spawn(core, make(core.clone(), (claim, place), effort));
    }
}

/// Whether a form is being made, on whatever core, and will be there in a moment.
pub(in crate::proxy) fn is_worth_waiting(body: &Body, coding: Coding) -> bool {
    body.length() <= WAITED_BYTES_MAX && body.forms().of(coding).is_being_made()
}

/// Waits that moment. The form may be there then, or not.
pub(in crate::proxy) async fn wait(body: &Body, coding: Coding) {
    let _late = monoio::time::timeout(WAIT, body.forms().settled(coding)).await;
}

/// Makes a form of short content.
fn make_at_once(core: &Core, claim: Claim, effort: Effort) {
    let Some(store) = &core.store else { return };
    if claim.coding() == Coding::Gzip {
        let mut made = Made::default();
        let result = made.make_whole(core, store, &claim, effort);
        return made.settle(core, store, claim, result);
    }
    let Some(mut making) = Making::begin(core, &claim, effort) else { return };
    let mut result = Ok(());
    for piece in pieces(claim.of()) {
        result = result.and_then(|()| making.feed(store, piece, Flow::More));
    }
    making.end(core, store, claim, result);
}

/// Makes a form of content of any length, piece by piece.
async fn make(core: Rc<Core>, (claim, _place): (Claim, Place), effort: Effort) {
    let (Some(store), Some(mut making)) = (&core.store, Making::begin(&core, &claim, effort)) else { return };
    let is_waited_for = claim.of().length() <= WAITED_BYTES_MAX;
    let (mut result, mut turn) = (Ok(()), 0);
    for piece in pieces(claim.of()) {
        result = making.feed(store, piece, Flow::More);
        if result.is_err() {
            break;
        }
        turn += 1;
        if is_waited_for {
            task::take_turns(turn).await;
        } else {
            task::take_turns_behind_others(turn).await;
        }
        if core.is_draining() || claim.is_void() {
            return;
        }
    }
    making.end(&core, store, claim, result);
}

fn pieces(body: &Body) -> impl Iterator<Item = &[u8]> {
    body.segments().iter().flat_map(|segment| segment.bytes().chunks(STEP_BYTES))
}

impl Making {
    fn begin(core: &Core, claim: &Claim, effort: Effort) -> Option<Making> {
        let length = claim.of().length();
        let effort = effort.for_length(Some(length));
        let coder = core.coders.take(Way::Encode(claim.coding()), effort)?;
        Some(Making { coder, tail: Vec::new(), made: Made::default(), bytes_max: length })
    }

    fn feed(&mut self, store: &Store, mut input: &[u8], flow: Flow) -> Result<(), Unmade> {
        let Some(Transform::Encode(encoder)) = &mut self.coder.transform else { return Err(Unmade::NoRoom) };
        loop {
            let before = self.tail.len();
            self.tail.resize(before + 8 * 1024, 0);
            let step = encoder.step(input, &mut self.tail[before..], flow).map_err(|_| Unmade::NoRoom)?;
            self.tail.truncate(before + step.produced);
            input = &input[step.consumed..];
            if self.made.length + self.tail.len() as u64 >= self.bytes_max {
                return Err(Unmade::Longer);
            }
            if self.tail.len() >= SEGMENT_BYTES {
                self.made.keep(store, &self.tail)?;
                self.tail.clear();
            }
            if step.done {
                return Ok(());
            }
        }
    }

    fn end(mut self, core: &Core, store: &Store, claim: Claim, result: Result<(), Unmade>) {
        let result = result
            .and_then(|()| self.feed(store, b"", Flow::Finish))
            .and_then(|()| self.made.keep(store, &self.tail));
        self.made.settle(core, store, claim, result);
    }
}

impl Made {
    /// Makes `gzip` of all of the content in one go.
    fn make_whole(
        &mut self,
        core: &Core,
        store: &Store,
        claim: &Claim,
        effort: Effort,
    ) -> Result<(), Unmade> {
        let length = usize::try_from(claim.of().length()).map_err(|_| Unmade::NoRoom)?;
        let take = || core.buffers.take(Class::fitting(length));
        let (mut gathered, mut out) = (None::<Buffer>, take());
        let content = match claim.of().segments() {
            [segment] => segment.bytes(),
            segments => {
                let all = gathered.insert(take());
                if !segments.iter().all(|segment| all.append(segment.bytes())) {
                    return Err(Unmade::NoRoom);
                }
                all.bytes()
            }
        };
        out.extend(|room| {
            // What does not fit into less than the content takes is of no use.
            let most = room.len().min(length.saturating_sub(1));
            core.coders.make_whole((claim.coding(), effort), content, &mut room[..most]).unwrap_or_default()
        });
        if out.is_empty() {
            return Err(Unmade::Longer);
        }
        out.bytes().chunks(SEGMENT_BYTES).try_for_each(|piece| self.keep(store, piece))
    }

    fn keep(&mut self, store: &Store, piece: &[u8]) -> Result<(), Unmade> {
        if piece.is_empty() {
            return Ok(());
        }
        let segment = store
            .make_beside(Beside::Form, Segment::cost(piece.len()), |ledger| Segment::of_form(ledger, piece));
        self.segments.push(segment.ok_or(Unmade::NoRoom)?);
        self.length += piece.len() as u64;
        Ok(())
    }

    fn settle(self, core: &Core, store: &Store, claim: Claim, result: Result<(), Unmade>) {
        core.counters.compressed_in.add(claim.of().length());
        core.counters.compressed_out.add(self.length);
        let made = match result {
            Ok(()) => store.make_beside(Beside::Form, Body::cost(self.segments.len()), |ledger| {
                Body::of_form(ledger, self.segments.clone())
            }),
            // What is not shorter than the content itself is not kept, whatever it is.
            Err(Unmade::Longer) => Some(claim.of().clone()),
            Err(Unmade::NoRoom) => None,
        };
        let (of, coding) = (claim.of().clone(), claim.coding());
        if made.is_some_and(|made| claim.keep(made)) {
            store.keeps_form(&of, coding, self.length);
            core.counters.compressed_kept.increment();
        }
    }
}
