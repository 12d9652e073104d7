//! The memory of a core for streams of compressed content: bounded, and used again where a stream allows that.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::content::coding::Way;
use crate::content::coding::decoder::Decoder;
use crate::content::coding::encoder::{Effort, Encoder, Unable};
use crate::content::coding::whole::Whole;
use crate::http::coding::Coding;

/// Bytes that the streams of a core take together that compress.
const ENCODING_BYTES_MAX: usize = 96 << 20;

/// Of those, what streams of unknown length take together, which may live for as long as they like: the rest is there
/// for the others.
const ENDLESS_BYTES_MAX: usize = 72 << 20;

/// Bytes that those take together that take content apart.
const DECODING_BYTES_MAX: usize = 96 << 20;

/// So many streams are kept for later, of so many bytes together.
const KEPT_MAX: usize = 32;
const KEPT_BYTES_MAX: usize = 32 << 20;

/// See the module.
#[derive(Default)]
pub(crate) struct Coders {
    held: [Cell<usize>; 3],
    /// What all cores hold, of this and of other things.
    counted: Arc<AtomicUsize>,
    idle: RefCell<Vec<Encoder>>,
    /// Bytes of the idle ones.
    kept: Cell<usize>,
    /// The fewest that were idle since the last trim.
    unused: Cell<usize>,
    /// What compresses whole content, for each level that is in use, and whether it was used since the last trim.
    wholes: RefCell<Vec<(Whole, bool)>>,
}

/// What memory is held for; each has bounds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// Content of known length is compressed.
    Ending,
    /// Content of unknown length is.
    Endless,
    /// Content is taken apart.
    Decoding,
}

/// One way content can change.
pub(super) enum Transform {
    /// It is compressed, by a stream that is made when it is needed.
    Later(Coding, Effort),
    Encode(Encoder),
    /// It is taken apart, by a stream that is made when it is needed.
    Apart(Coding),
    Decode(Box<Decoder>),
}

/// A stream, with what it takes of the memory.
pub(in crate::proxy) struct Coder {
    /// Only taken when it is dropped.
    pub(super) transform: Option<Transform>,
    cost: usize,
    share: Share,
    pool: Rc<Coders>,
}

impl Coders {
    /// None yet; their memory is counted there as well, while they are in use.
    pub(crate) fn counted(counted: Arc<AtomicUsize>) -> Coders {
        Coders { counted, ..Coders::default() }
    }

    /// A stream that goes that way; none if there is no memory for it, or nothing to do.
    pub(in crate::proxy) fn take(self: &Rc<Coders>, way: Way, effort: Effort) -> Option<Coder> {
        let mut coder = self.reserve(way, effort, true)?;
        if let Way::Encode(_) = way {
            coder.begin().ok()?;
        }
        Some(coder)
    }

    /// The same of content of known length or not. What it needs is only made once there is some content.
    pub(in crate::proxy) fn reserve(
        self: &Rc<Coders>,
        way: Way,
        effort: Effort,
        ends: bool,
    ) -> Option<Coder> {
        let (transform, cost, share) = match way {
            Way::Encode(coding) => {
                let share = if ends { Share::Ending } else { Share::Endless };
                (Transform::Later(coding, effort.of(coding)), Encoder::cost(coding, effort), share)
            }
            // What a stream of that coding takes at least: the content says how much more.
            Way::Decode(coding) => (Transform::Apart(coding), Decoder::cost(coding), Share::Decoding),
            Way::AsItCame | Way::Varied => return None,
        };
        self.hold(share, cost).then(|| Coder { transform: Some(transform), cost, share, pool: self.clone() })
    }

    /// Holds so much memory, if it is there.
    fn hold(&self, share: Share, cost: usize) -> bool {
        let held = |share: Share| self.held[share as usize].get();
        let after = held(share) + cost;
        let fits = match share {
            Share::Ending => after + held(Share::Endless) <= ENCODING_BYTES_MAX,
            Share::Endless => after <= ENDLESS_BYTES_MAX && after + held(Share::Ending) <= ENCODING_BYTES_MAX,
            Share::Decoding => after <= DECODING_BYTES_MAX,
        };
        if fits {
            self.held[share as usize].set(after);
            self.counted.fetch_add(cost, Ordering::Relaxed);
        }
        fits
    }

    fn encoder(&self, coding: Coding, effort: Effort) -> Option<Encoder> {
        let mut idle = self.idle.borrow_mut();
        let fits = |encoder: &Encoder| encoder.coding() == coding && encoder.effort() == effort;
        let Some(place) = idle.iter().rposition(fits) else {
            return Encoder::new(coding, effort).ok();
        };
        // In their order: those that were needed least lately go first.
        let again = idle.remove(place);
        self.kept.set(self.kept.get() - Encoder::cost(coding, effort));
        self.unused.set(self.unused.get().min(idle.len()));
        Some(again)
    }

    /// Keeps a stream for later.
    fn keep(&self, mut encoder: Encoder) {
        let cost = Encoder::cost(encoder.coding(), encoder.effort());
        let mut idle = self.idle.borrow_mut();
        if idle.len() < KEPT_MAX && self.kept.get() + cost <= KEPT_BYTES_MAX && encoder.begin_again() {
            self.kept.set(self.kept.get() + cost);
            idle.push(encoder);
        }
    }

    /// Compresses short content at once. None if that is not done for such content, or there is no room for what it
    /// makes: nothing has happened then.
    pub(in crate::proxy) fn make_whole(
        &self,
        (coding, effort): (Coding, Effort),
        content: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        if coding != Coding::Gzip || content.len() > Whole::bytes_max(effort.level) {
            return None;
        }
        let mut wholes = self.wholes.borrow_mut();
        let place = wholes.iter().position(|(whole, _)| whole.level() == effort.level);
        let place = place.unwrap_or_else(|| {
            wholes.push((Whole::new(effort.level), true));
            wholes.len() - 1
        });
        let (whole, is_used) = &mut wholes[place];
        *is_used = true;
        whole.make(content, out)
    }

    /// Lets go of half of what was not needed since the last call. To be called about once a second.
    pub(crate) fn trim(&self) {
        let mut idle = self.idle.borrow_mut();
        let surplus = self.unused.get().div_ceil(2).min(idle.len());
        for encoder in idle.drain(..surplus) {
            self.kept.set(self.kept.get() - Encoder::cost(encoder.coding(), encoder.effort()));
        }
        self.unused.set(idle.len());
        self.wholes.borrow_mut().retain_mut(|(_, is_used)| std::mem::take(is_used));
    }
}

impl Coder {
    /// Makes what is not made yet.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn begin(&mut self) -> Result<&mut Transform, Unable> {
        let transform = match self.transform.take().ok_or(Unable)? {
            Transform::Later(coding, effort) => {
                Transform::Encode(self.pool.encoder(coding, effort).ok_or(Unable)?)
            }
            Transform::Apart(coding) => Transform::Decode(Box::new(Decoder::within(coding, self.cost)?)),
            made => made,
        };
        Ok(self.transform.insert(transform))
    }

    /// Has it take so much memory in all, for content that asks for it.
    ///
    /// # Errors
    /// There is not that much.
    pub(super) fn grow(&mut self, cost: usize) -> Result<(), Unable> {
        if !self.pool.hold(self.share, cost.saturating_sub(self.cost)) {
            return Err(Unable);
        }
        self.cost = self.cost.max(cost);
        if let Some(Transform::Decode(decoder)) = &mut self.transform {
            decoder.allow(self.cost);
        }
        Ok(())
    }

    /// Whether enough of the content has come to know what it takes to take it apart.
    pub(super) fn is_known(&self) -> bool {
        match &self.transform {
            Some(Transform::Decode(decoder)) => decoder.is_known(),
            Some(Transform::Apart(_)) => false,
            Some(Transform::Later(..) | Transform::Encode(_)) | None => true,
        }
    }

    /// Compresses short content at once, if nothing has gone through the stream before: see [`Coders::make_whole`].
    pub(super) fn make_whole(&self, content: &[u8], out: &mut [u8]) -> Option<usize> {
        match self.transform {
            Some(Transform::Later(coding, effort)) => self.pool.make_whole((coding, effort), content, out),
            _ => None,
        }
    }

    /// Up to which length content is compressed at once.
    pub(super) fn whole_bytes_max(&self) -> usize {
        match self.transform {
            Some(Transform::Later(Coding::Gzip, effort)) => Whole::bytes_max(effort.level),
            _ => 0,
        }
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        let held = &self.pool.held[self.share as usize];
        held.set(held.get() - self.cost);
        self.pool.counted.fetch_sub(self.cost, Ordering::Relaxed);
        // What a panic left behind is nothing to begin again with.
        if let Some(Transform::Encode(encoder)) = self.transform.take()
            && !std::thread::panicking()
        {
            self.pool.keep(encoder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort { level: 1, window_bits: 15 };

    fn held(coders: &Coders) -> usize {
        coders.held.iter().map(Cell::get).sum()
    }

    #[test]
    fn memory_is_bounded_and_used_again() {
        let counted = Arc::new(AtomicUsize::new(0));
        let coders = Rc::new(Coders::counted(counted.clone()));
        let way = Way::Encode(Coding::Gzip);
        let mut all: Vec<_> = std::iter::from_fn(|| coders.take(way, EFFORT)).collect();
        assert_eq!(counted.load(Ordering::Relaxed), all.len() * Encoder::cost(Coding::Gzip, EFFORT));
        assert_eq!(all.len(), ENCODING_BYTES_MAX / Encoder::cost(Coding::Gzip, EFFORT));
        all.pop();
        assert!(coders.take(way, EFFORT).is_some());
        drop(all);
        assert_eq!((held(&coders), counted.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(coders.idle.borrow().len(), KEPT_MAX);
        for _ in 0..9 {
            coders.trim();
        }
        assert_eq!((coders.idle.borrow().len(), coders.kept.get()), (0, 0));
        drop(coders.take(way, EFFORT));
        drop(coders.take(way, EFFORT));
        assert_eq!(coders.idle.borrow().len(), 1);
        assert!(coders.take(Way::Varied, EFFORT).is_none());
    }

    #[test]
    fn what_is_kept_for_later_is_bounded_by_its_bytes() {
        let coders: Rc<Coders> = Rc::default();
        let large = Effort { level: 12, window_bits: 19 };
        let all: Vec<_> = (0..10).filter_map(|_| coders.take(Way::Encode(Coding::Zstd), large)).collect();
        assert_eq!(all.len(), 10);
        drop(all);
        assert!(coders.idle.borrow().len() < 10 && coders.kept.get() <= KEPT_BYTES_MAX);
    }

    #[test]
    fn endless_streams_leave_memory_for_short_ones_and_neither_takes_that_of_decoding() {
        let coders: Rc<Coders> = Rc::default();
        let reserve =
            |way, ends| std::iter::from_fn(|| coders.reserve(way, EFFORT, ends)).collect::<Vec<_>>();
        let encode = Way::Encode(Coding::Zstd);
        let endless = reserve(encode, false);
        // So many event streams at once are no reason to compress nothing any more.
        assert!(endless.len() > 128, "{}", endless.len());
        let ending = reserve(encode, true);
        assert!(ending.len() > 32, "{}", ending.len());
        let decode = Way::Decode(Coding::Brotli);
        assert!(reserve(decode, true).len() > 64);
        drop(ending);
        assert!(coders.reserve(encode, EFFORT, false).is_none());
        drop(endless);
        assert_eq!(held(&coders), 0);
    }

    #[test]
    fn taking_apart_costs_what_the_content_announces() {
        use crate::content::coding::encoder::Flow;
        use crate::error::Reason;
        use crate::net::BufferPool;
        use crate::proxy::coding::Stream;

        let (coders, pool): (Rc<Coders>, _) = (Rc::default(), BufferPool::new());
        let begin = |coding, first: &[u8]| {
            let mut streams = Vec::new();
            while let Some(coder) = coders.reserve(Way::Decode(coding), EFFORT, true) {
                let mut stream = Stream::new(coder);
                match stream.step(&pool, &mut &first[..], Flow::More) {
                    Ok(_) => streams.push(stream),
                    Err(reason) => {
                        assert_eq!(reason, Reason::Overloaded);
                        break;
                    }
                }
            }
            streams.len()
        };
        // 16 MiB, 64 KiB, 1 KiB.
        assert_eq!(begin(Coding::Brotli, &[0b1111]), DECODING_BYTES_MAX / (17 << 20));
        assert!(begin(Coding::Brotli, &[0b0]) > 80);
        assert!(begin(Coding::Brotli, &[0b010_0001]) > 80);
        let frame = |window| [0x28, 0xb5, 0x2f, 0xfd, 0x00, window];
        // 8 MiB, 1 MiB, 64 KiB, and what is not known yet.
        assert!((10..=11).contains(&begin(Coding::Zstd, &frame(0x68))));
        assert!(begin(Coding::Zstd, &frame(0x50)) > 60);
        assert!(begin(Coding::Zstd, &frame(0x30)) > 200);
        assert!(begin(Coding::Zstd, &frame(0x68)[..5]) > 500);
        assert!(begin(Coding::Brotli, b"") > 90);
        assert_eq!(held(&coders), 0);
    }

    #[test]
    fn whole_content_shares_one_memory() {
        let coders: Rc<Coders> = Rc::default();
        let mut out = [0; 512];
        let text = [b'a'; 5000];
        for _ in 0..3 {
            assert!(coders.make_whole((Coding::Gzip, EFFORT), &text, &mut out).is_some());
        }
        assert_eq!(coders.wholes.borrow().len(), 1);
        assert!(coders.make_whole((Coding::Zstd, EFFORT), &text, &mut out).is_none());
        assert!(coders.make_whole((Coding::Gzip, EFFORT), &[0; 200_000], &mut out).is_none());
        coders.trim();
        coders.trim();
        assert!(coders.wholes.borrow().is_empty());
    }
}
