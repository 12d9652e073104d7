//! Compressing what is popular again, as hard as can be: on a thread of its own that takes only time that nobody else
//! wants, and never on a core.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crate::cache::forms::{Claim, Waiting};
use crate::cache::stored::{Body, Segment};
use crate::content::coding::encoder::{Effort, Encoder, Flow, WINDOW_BITS_KEPT};
use crate::content::coding::whole::Whole;
use crate::http::coding::Coding;

/// So many wait at most; whoever comes then is put off. They do not keep the content that they are about.
const WAITING_MAX: usize = 256;

/// Longer content is left as it is: it would keep the thread busy for a minute.
const BYTES_MAX: u64 = 16 << 20;

/// Up to this length the slowest level of `br` is bearable.
const SLOWEST_BYTES_MAX: u64 = 256 * 1024;

/// Input of one step, after which it is seen whether anybody still wants the rest.
const STEP_BYTES: usize = 64 * 1024;

/// The longest segment.
const SEGMENT_BYTES: usize = 64 * 1024;

/// See the module. The thread ends with it, as soon as it is done with what it is at; what waits then is put off.
pub(crate) struct Harder {
    jobs: flume::Sender<Waiting>,
}

impl Harder {
    /// Starts the thread.
    pub(crate) fn start() -> Harder {
        let (jobs, inbox) = flume::bounded(WAITING_MAX);
        let run = move || {
            // Where that is refused it competes with others on equal terms.
            let _ = rustix::process::nice(19);
            compress_all(&inbox, compress);
        };
        // Without it, what is kept stays as it is.
        let _ = thread::Builder::new().name("compress".to_owned()).spawn(run);
        Harder { jobs }
    }

    /// Has a form made again, if there is time for that.
    pub(in crate::proxy) fn add(&self, claim: Claim) {
        if claim.of().length() <= BYTES_MAX {
            // What finds no place is put off.
            let _ = self.jobs.try_send(claim.later());
        }
    }
}

/// Compresses whatever comes, until nobody is left whom it could come from.
fn compress_all(inbox: &flume::Receiver<Waiting>, compress: impl Fn(Claim, &dyn Fn() -> bool)) {
    let is_over = || inbox.is_disconnected();
    while let Ok(waiting) = inbox.recv() {
        if is_over() {
            return;
        }
        if let Some(claim) = waiting.begin() {
            // What makes a library panic stays as it is, and is not tried again.
            let _panic = catch_unwind(AssertUnwindSafe(|| compress(claim, &is_over)));
        }
    }
}

/// Makes the form, and puts it in the place of the other if it is shorter.
fn compress(claim: Claim, is_over: &dyn Fn() -> bool) {
    let body = claim.of();
    let kept = body.forms().of(claim.coding()).get();
    let Some(now) = kept.and_then(|kept| kept.as_ref().map(|kept| kept.length())) else { return };
    // Both are there for a moment.
    if !usize::try_from(now).is_ok_and(|now| body.ledger().has_room_now(now)) {
        return claim.put_off();
    }
    let made = match claim.coding() {
        Coding::Gzip => whole(body, now),
        Coding::Brotli | Coding::Zstd => streamed(&claim, now, is_over),
    };
    if is_over() {
        return claim.put_off();
    }
    let Some(made) = made else { return };
    let pieces = made.chunks(SEGMENT_BYTES).map(|piece| Segment::of_form(body.ledger(), piece));
    let segments: Option<Vec<_>> = pieces.collect();
    match segments.and_then(|segments| Body::of_form(body.ledger(), segments)) {
        Some(made) => _ = claim.keep(made),
        None => claim.put_off(),
    }
}

/// Makes less than so many bytes of all of the content in one go; none if that cannot be done.
fn whole(body: &Arc<Body>, bytes_max: u64) -> Option<Vec<u8>> {
    let content = match body.segments() {
        [segment] => Cow::Borrowed(segment.bytes()),
        segments => Cow::Owned(segments.iter().map(|segment| segment.bytes()).collect::<Vec<_>>().concat()),
    };
    let mut out = vec![0; usize::try_from(bytes_max).ok()?.checked_sub(1)?];
    let length = Whole::new(Whole::HARDEST).make(&content, &mut out)?;
    out.truncate(length);
    Some(out)
}

/// The same in a stream, which may end before it is done.
fn streamed(claim: &Claim, bytes_max: u64, is_over: &dyn Fn() -> bool) -> Option<Vec<u8>> {
    let body = claim.of();
    let mut encoder = Encoder::new(claim.coding(), effort(claim.coding(), body.length())).ok()?;
    let (mut out, mut room) = (Vec::new(), vec![0; 16 * 1024]);
    let pieces = body.segments().iter().flat_map(|segment| segment.bytes().chunks(STEP_BYTES));
    for (mut input, flow) in pieces.map(|piece| (piece, Flow::More)).chain([(&b""[..], Flow::Finish)]) {
        if is_over() || claim.is_void() {
            return None;
        }
        loop {
            let step = encoder.step(input, &mut room, flow).ok()?;
            out.extend_from_slice(&room[..step.produced]);
            input = &input[step.consumed..];
            if out.len() as u64 >= bytes_max {
                return None;
            }
            if step.done {
                break;
            }
        }
    }
    Some(out)
}

fn effort(coding: Coding, length: u64) -> Effort {
    let level = match coding {
        Coding::Gzip => 9,
        Coding::Brotli if length <= SLOWEST_BYTES_MAX => 11,
        Coding::Brotli => 9,
        Coding::Zstd => 19,
    };
    Effort { level, window_bits: WINDOW_BITS_KEPT }.for_length(Some(length))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::cache::ledger::Ledger;

    /// Content of that length, with a form of half of it.
    fn popular(ledger: &Arc<Ledger>, length: usize) -> Arc<Body> {
        let body = |length| {
            let segment = Segment::new(ledger, &vec![b'a'; length]).unwrap();
            Body::new(ledger, vec![segment], b"").unwrap()
        };
        let of = body(length);
        assert!(Claim::first(&of, Coding::Gzip).unwrap().keep(body(length / 2)));
        of
    }

    /// Whether some more uses make its form be made again.
    fn wants(of: &Arc<Body>) -> bool {
        (0..10).any(|_| of.forms().of(Coding::Gzip).used(5))
    }

    fn length(of: &Arc<Body>) -> u64 {
        of.forms().of(Coding::Gzip).get().unwrap().as_ref().unwrap().length()
    }

    #[test]
    fn a_panic_hurts_one_form_and_no_other() {
        let ledger = Ledger::new(1 << 20);
        let (jobs, inbox) = flume::bounded(2);
        let all = [popular(&ledger, 1000), popular(&ledger, 1000)];
        for of in &all {
            assert!(wants(of));
            jobs.send(Claim::again(of, Coding::Gzip).later()).unwrap();
        }
        let (done, calls) = (Cell::new(Some(jobs)), Cell::new(0));
        compress_all(&inbox, |claim, _| {
            calls.set(calls.get() + 1);
            assert!(calls.get() > 1, "the library panics");
            compress(claim, &|| false);
            // Then nobody is left.
            drop(done.take());
        });
        assert_eq!((length(&all[0]), wants(&all[0])), (500, false), "it stays, and is not tried again");
        assert!(length(&all[1]) < 500);
    }

    #[test]
    fn once_it_is_wanted_no_more_the_rest_is_put_off() {
        let ledger = Ledger::new(1 << 20);
        let (jobs, inbox) = flume::bounded(2);
        let all = [popular(&ledger, 1000), popular(&ledger, 1000)];
        for of in &all {
            assert!(wants(of));
            jobs.send(Claim::again(of, Coding::Gzip).later()).unwrap();
        }
        let jobs = Cell::new(Some(jobs));
        compress_all(&inbox, |claim, is_over| {
            assert!(!is_over());
            drop(jobs.take());
            assert!(is_over());
            compress(claim, is_over);
        });
        drop(inbox);
        for of in all {
            assert_eq!(length(&of), 500);
            assert!(wants(&of), "it is tried again, by whoever comes then");
        }
    }

    #[test]
    fn what_has_no_room_beside_what_is_kept_is_put_off() {
        let ledger = Ledger::new(8192);
        let of = popular(&ledger, 1000);
        let filled = ledger.reserve(8192 - ledger.held() - 100).unwrap();
        assert!(wants(&of));
        compress(Claim::again(&of, Coding::Gzip), &|| false);
        assert_eq!(length(&of), 500);
        assert!(wants(&of));
        drop(filled);
        compress(Claim::again(&of, Coding::Gzip), &|| false);
        assert!(length(&of) < 500);
    }

    #[test]
    fn the_queue_keeps_no_content_and_puts_off_what_finds_it_full() {
        let ledger = Ledger::new(1 << 24);
        let (jobs, inbox) = flume::bounded(1);
        let harder = Harder { jobs };
        let (purged, other) = (popular(&ledger, 1 << 20), popular(&ledger, 1000));
        assert!(wants(&purged) && wants(&other));
        harder.add(Claim::again(&purged, Coding::Gzip));
        harder.add(Claim::again(&other, Coding::Gzip));
        let held = ledger.held();
        drop(purged);
        assert!(ledger.held() <= held - (1 << 20), "it is freed while it waits");
        assert!(inbox.recv().unwrap().begin().is_none());
        assert!(wants(&other), "what found the queue full is tried again");
        harder.add(Claim::again(&other, Coding::Gzip));
        compress(inbox.recv().unwrap().begin().unwrap(), &|| false);
        assert!(other.forms().of(Coding::Gzip).get().unwrap().as_ref().unwrap().length() < 500);
    }

    #[test]
    fn what_is_kept_becomes_shorter_or_stays() {
        let ledger = Ledger::new(1 << 20);
        let text = (0..400).map(|number| format!("{} bottles, ", number * number)).collect::<String>();
        let body =
            |bytes: &[u8]| Body::new(&ledger, vec![Segment::new(&ledger, bytes).unwrap()], b"").unwrap();
        for coding in Coding::ALL {
            let of = body(text.as_bytes());
            assert!(Claim::first(&of, coding).unwrap().keep(body(&text.as_bytes()[1..])));
            compress(Claim::again(&of, coding), &|| false);
            let kept = of.forms().of(coding).get().unwrap();
            let kept = kept.as_ref().unwrap();
            assert!(kept.length() * 2 < of.length(), "{coding:?}");
            let mut decoder = crate::content::coding::decoder::Decoder::new(coding).unwrap();
            let mut out = vec![0; text.len() + 1];
            let step = decoder.step(kept.segments()[0].bytes(), &mut out).unwrap();
            assert_eq!(&out[..step.produced], text.as_bytes());
            let length = kept.length();
            // Nothing is left to be won.
            compress(Claim::again(&of, coding), &|| false);
            assert_eq!(of.forms().of(coding).get().unwrap().as_ref().unwrap().length(), length);
        }
        assert_eq!(ledger.held(), 0);
    }
}
