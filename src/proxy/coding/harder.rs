//! Compressing what is popular again, as hard as can be: on a thread of its own that takes only time that nobody else
//! wants, and never on a core.

use std::sync::Arc;
use std::thread;

use crate::cache::forms::{Claim, Waiting};
use crate::cache::stored::{Body, Segment};
use crate::content::coding::encoder::{Effort, Encoder, Flow, WINDOW_BITS_KEPT};
use crate::http::coding::Coding;

/// So many wait at most; whoever comes then is put off. They do not keep the content that they are about.
const WAITING_MAX: usize = 256;

/// Longer content is left as it is: it would keep the thread busy for a minute.
const BYTES_MAX: u64 = 16 << 20;

/// Up to this length the slowest level of `br` is bearable.
const SLOWEST_BYTES_MAX: u64 = 256 * 1024;

/// See the module. The thread ends with it.
pub(crate) struct Harder {
    jobs: flume::Sender<Waiting>,
}

impl Harder {
    /// Starts the thread.
    pub(crate) fn start() -> Harder {
        let (jobs, inbox) = flume::bounded::<Waiting>(WAITING_MAX);
        let run = move || {
            // Where that is refused it competes with others on equal terms.
            let _ = rustix::process::nice(19);
            for claim in inbox.iter().filter_map(|waiting| waiting.begin()) {
                compress(claim);
            }
        };
        // Without it, what is kept stays as it is.
        let _ = thread::Builder::new().name("compress".to_owned()).spawn(run);
        Harder { jobs }
    }

    /// Has a form made again, if there is time for that.
    pub(in crate::proxy) fn add(&self, claim: Claim) {
        if claim.of().length() > BYTES_MAX {
            return;
        }
        if self.jobs.is_full() {
            return claim.put_off();
        }
        if let Err(refused) = self.jobs.try_send(claim.later())
            && let Some(claim) = refused.into_inner().begin()
        {
            claim.put_off();
        }
    }
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

/// Makes the form, and puts it in the place of the other if it is shorter.
fn compress(claim: Claim) {
    if let Some(made) = made(claim.of(), claim.coding()) {
        claim.keep(made);
    }
}

fn made(body: &Arc<Body>, coding: Coding) -> Option<Arc<Body>> {
    let mut encoder = Encoder::new(coding, effort(coding, body.length())).ok()?;
    let now = body.forms().of(coding).get()?.as_ref()?.length();
    let (mut out, mut room) = (Vec::new(), vec![0; 16 * 1024]);
    let pieces = body.segments().iter().map(|segment| (segment.bytes(), Flow::More));
    for (mut input, flow) in pieces.chain([(&b""[..], Flow::Finish)]) {
        loop {
            let step = encoder.step(input, &mut room, flow).ok()?;
            out.extend_from_slice(&room[..step.produced]);
            input = &input[step.consumed..];
            if out.len() as u64 >= now {
                return None;
            }
            if step.done {
                break;
            }
        }
    }
    let segments: Option<Vec<_>> =
        out.chunks(64 * 1024).map(|piece| Segment::of_form(body.ledger(), piece)).collect();
    Body::of_form(body.ledger(), segments?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ledger::Ledger;

    #[test]
    fn the_queue_keeps_no_content_and_puts_off_what_finds_it_full() {
        let ledger = Ledger::new(1 << 24);
        let (jobs, inbox) = flume::bounded(1);
        let harder = Harder { jobs };
        let body = |length: usize| {
            let body = |length| {
                Body::new(&ledger, vec![Segment::new(&ledger, &vec![b'a'; length]).unwrap()], b"").unwrap()
            };
            let of = body(length);
            assert!(Claim::first(&of, Coding::Gzip).unwrap().keep(body(length / 2)));
            of
        };
        let (purged, other) = (body(1 << 20), body(1000));
        let wants = |of: &Arc<Body>| (0..10).any(|_| of.forms().of(Coding::Gzip).used(5));
        assert!(wants(&purged) && wants(&other));
        harder.add(Claim::again(&purged, Coding::Gzip));
        harder.add(Claim::again(&other, Coding::Gzip));
        let held = ledger.held();
        drop(purged);
        assert!(ledger.held() <= held - (1 << 20), "it is freed while it waits");
        assert!(inbox.recv().unwrap().begin().is_none());
        assert!(wants(&other), "what found the queue full is tried again");
        harder.add(Claim::again(&other, Coding::Gzip));
        compress(inbox.recv().unwrap().begin().unwrap());
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
            compress(Claim::again(&of, coding));
            let kept = of.forms().of(coding).get().unwrap();
            let kept = kept.as_ref().unwrap();
            assert!(kept.length() * 2 < of.length(), "{coding:?}");
            let mut decoder = crate::content::coding::decoder::Decoder::new(coding).unwrap();
            let mut out = vec![0; text.len() + 1];
            let step = decoder.step(kept.segments()[0].bytes(), &mut out).unwrap();
            assert_eq!(&out[..step.produced], text.as_bytes());
            let length = kept.length();
            // Nothing is left to be won.
            compress(Claim::again(&of, coding));
            assert_eq!(of.forms().of(coding).get().unwrap().as_ref().unwrap().length(), length);
        }
        assert_eq!(ledger.held(), 0);
    }
}
