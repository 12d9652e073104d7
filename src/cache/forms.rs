//! Other forms of stored content: compressed once, kept beside the content that they were made of, and gone with it.
//!
//! ```text
//!   Free ─claim─▶ Making ─keep─▶ Kept ─many hits─▶ Again ─settle─▶ Settled
//!     ▲▲            │  └──not shorter──▶ Refused             │
//!     │└──give up───┘                                       │
//!     └──────────── room for others, from Kept too ─────────┘
//! ```
//!
//! Whoever serves the content makes them; one at a time, over all cores. Others may wait until that has come to an end,
//! whatever end it is. A validation brings a new head for the same content, so that they stay.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::{ArcSwapOption, Guard};
use tokio::sync::Notify;

use super::stored::Body;
use crate::http::coding::Coding;

/// How often a form is wanted between two tries to make it.
const TRIES_APART: u32 = 64;

const FREE: u8 = 0;
const MAKING: u8 = 1;
const KEPT: u8 = 2;
const AGAIN: u8 = 3;
const SETTLED: u8 = 4;
const REFUSED: u8 = 5;
const GOING: u8 = 6;

/// The forms of one content.
#[derive(Debug, Default)]
pub struct Forms {
    /// By the place of their coding.
    forms: [Form; Coding::COUNT],
    /// Told when a claim to any of them ends; there before the first one begins.
    ended: OnceLock<Box<Notify>>,
}

/// Content in one coding.
#[derive(Debug, Default)]
pub struct Form {
    phase: AtomicU8,
    /// How often it was wanted and was not there; once it is, how often it was served.
    count: AtomicU32,
    /// Whether it was served since it was looked at last.
    is_used: AtomicBool,
    body: ArcSwapOption<Body>,
}

impl Forms {
    /// The form in that coding.
    pub fn of(&self, coding: Coding) -> &Form {
        &self.forms[coding.place()]
    }

    /// Waits until nobody makes the form in that coding for the first time; at once if nobody does. On whatever core.
    pub async fn settled(&self, coding: Coding) {
        while let Some(ended) = self.ended.get() {
            // Whoever ends after this is heard, and whoever ended before has changed the phase before.
            let heard = ended.notified();
            if !self.of(coding).is_being_made() {
                return;
            }
            heard.await;
        }
    }
}

impl Form {
    /// The content, if it is kept.
    pub fn get(&self) -> Option<Guard<Option<Arc<Body>>>> {
        let guard = self.body.load();
        guard.is_some().then_some(guard)
    }

    /// Takes note that it is served.
    pub fn use_it(&self) {
        // Most of the time it is noted already, and what is only read may stay with every core.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
    }

    /// Lets it go, unless it was served since this was asked last, or is being made again. Says whether there is nothing
    /// left of it.
    pub fn goes(&self) -> bool {
        if self.is_used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let phase = self.phase.load(Ordering::Relaxed);
        let may_go = matches!(phase, KEPT | SETTLED) && self.moves(phase, GOING);
        if may_go {
            self.body.store(None);
            self.count.store(0, Ordering::Relaxed);
            self.phase.store(FREE, Ordering::Release);
        }
        may_go || !matches!(phase, AGAIN | MAKING)
    }

    /// Whether it is known that there is nothing to win.
    pub fn is_refused(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == REFUSED
    }

    /// Whether somebody makes it for the first time.
    pub fn is_being_made(&self) -> bool {
        self.phase.load(Ordering::Acquire) == MAKING
    }

    /// Says whether one more use makes it worth while to make it again, harder. Only until then are uses counted, for
    /// a count that all cores change has its price.
    pub fn used(&self, harder_after: u32) -> bool {
        harder_after > 0
            && self.phase.load(Ordering::Relaxed) == KEPT
            && self.count.fetch_add(1, Ordering::Relaxed) >= harder_after
            && self.moves(KEPT, AGAIN)
    }

    fn moves(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The right to make a form. Dropped, it is free for others.
#[derive(Debug)]
pub struct Claim {
    of: Arc<Body>,
    coding: Coding,
    /// What the phase goes back to.
    back: u8,
}

impl Claim {
    /// Claims a form that is not there; none if another has it, or somebody failed a moment ago.
    pub fn first(of: &Arc<Body>, coding: Coding) -> Option<Claim> {
        let form = of.forms().of(coding);
        let is_free = form.phase.load(Ordering::Relaxed) == FREE
            && form.count.fetch_add(1, Ordering::Relaxed).is_multiple_of(TRIES_APART)
            && {
                of.forms().ended.get_or_init(Box::default);
                form.moves(FREE, MAKING)
            };
        is_free.then(|| Claim { of: of.clone(), coding, back: FREE })
    }

    /// The right that follows from [`Form::used`].
    pub fn again(of: &Arc<Body>, coding: Coding) -> Claim {
        Claim { of: of.clone(), coding, back: SETTLED }
    }

    /// Leaves the form as it is for now: it is tried again after as many uses as before. For [`Claim::again`].
    pub fn put_off(mut self) {
        self.of.forms().of(self.coding).count.store(0, Ordering::Relaxed);
        self.back = KEPT;
    }

    /// Keeps the right for later, without the content: it may go before. For [`Claim::again`].
    pub fn later(mut self) -> Waiting {
        self.back = AGAIN;
        Waiting { of: Arc::downgrade(&self.of), coding: self.coding }
    }

    /// Whether nobody else has the content any more, so that nobody will ever want what is made of it.
    pub fn is_void(&self) -> bool {
        Arc::strong_count(&self.of) == 1
    }

    /// The content that it is made of.
    pub fn of(&self) -> &Arc<Body> {
        &self.of
    }

    /// The coding.
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Keeps what was made, if it is shorter than what there is. Says whether it is.
    pub fn keep(mut self, body: Arc<Body>) -> bool {
        let form = self.of.forms().of(self.coding);
        let now = form.body.load().as_ref().map_or(self.of.length(), |now| now.length());
        let is_shorter = body.length() < now;
        if is_shorter {
            form.body.store(Some(body));
        }
        self.back = match (self.back, is_shorter) {
            (FREE, true) => KEPT,
            (FREE, false) => REFUSED,
            _ => SETTLED,
        };
        if self.back == KEPT {
            form.count.store(0, Ordering::Relaxed);
        }
        is_shorter
    }
}

/// A claim that follows from [`Form::used`], of content that may be gone when its time comes. Dropped, it is
/// [put off](Claim::put_off).
#[derive(Debug)]
pub struct Waiting {
    of: Weak<Body>,
    coding: Coding,
}

impl Waiting {
    /// The claim, if the content is still there.
    pub fn begin(mut self) -> Option<Claim> {
        let of = std::mem::take(&mut self.of);
        of.upgrade().map(|of| Claim::again(&of, self.coding))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(of) = self.of.upgrade() {
            Claim::again(&of, self.coding).put_off();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let forms = self.of.forms();
        forms.of(self.coding).phase.store(self.back, Ordering::Release);
        if let Some(ended) = forms.ended.get() {
            ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ledger::Ledger;
    use crate::cache::stored::Segment;

    fn body(ledger: &Arc<Ledger>, length: usize) -> Arc<Body> {
        let segment = Segment::new(ledger, &vec![b'a'; length]).unwrap();
        Body::new(ledger, vec![segment], b"").unwrap()
    }

    #[test]
    fn a_form_is_made_once_and_is_gone_with_its_content() {
        let ledger = Ledger::new(1 << 20);
        let of = body(&ledger, 1000);
        let before = ledger.held();
        let form = of.forms().of(Coding::Gzip);
        assert!(form.get().is_none());
        let claim = Claim::first(&of, Coding::Gzip).unwrap();
        assert!(Claim::first(&of, Coding::Gzip).is_none(), "another has it");
        assert!(Claim::first(&of, Coding::Zstd).is_some(), "another coding is another form");
        assert!(claim.keep(body(&ledger, 100)));
        assert_eq!(form.get().unwrap().as_ref().unwrap().length(), 100);
        assert!(Claim::first(&of, Coding::Gzip).is_none());
        assert!(ledger.held() > before);
        drop(of);
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn what_is_not_shorter_is_refused_for_good() {
        let ledger = Ledger::new(1 << 20);
        let of = body(&ledger, 1000);
        assert!(!Claim::first(&of, Coding::Gzip).unwrap().keep(body(&ledger, 1000)));
        let form = of.forms().of(Coding::Gzip);
        assert!(form.is_refused() && form.get().is_none() && !form.used(1));
        assert!((0..200).all(|_| Claim::first(&of, Coding::Gzip).is_none()));
    }

    #[test]
    fn who_fails_leaves_it_to_others_but_not_at_once() {
        let ledger = Ledger::new(1 << 20);
        let of = body(&ledger, 1000);
        drop(Claim::first(&of, Coding::Gzip).unwrap());
        let tries = (0..200).filter(|_| Claim::first(&of, Coding::Gzip).is_some()).count();
        assert_eq!(tries, 200 / 64);
    }

    #[test]
    fn after_many_hits_it_is_made_again_once() {
        let ledger = Ledger::new(1 << 20);
        let of = body(&ledger, 1000);
        Claim::first(&of, Coding::Gzip).unwrap().keep(body(&ledger, 100));
        let form = of.forms().of(Coding::Gzip);
        assert!((0..100).all(|_| !form.used(0)), "never");
        let again: Vec<_> = (0..100).filter(|_| form.used(10)).collect();
        assert_eq!(again, [10]);
        assert!(!Claim::again(&of, Coding::Gzip).keep(body(&ledger, 100)), "not shorter: the first stays");
        assert_eq!(form.get().unwrap().as_ref().unwrap().length(), 100);
        assert!(Claim::again(&of, Coding::Gzip).keep(body(&ledger, 90)));
        assert_eq!(form.get().unwrap().as_ref().unwrap().length(), 90);
        assert!((0..100).all(|_| !form.used(10)));
    }

    #[test]
    fn what_waits_keeps_nothing_and_what_is_put_off_is_tried_again() {
        let ledger = Ledger::new(1 << 20);
        let of = body(&ledger, 1000);
        Claim::first(&of, Coding::Gzip).unwrap().keep(body(&ledger, 100));
        let form = of.forms().of(Coding::Gzip);
        assert_eq!((0..20).position(|_| form.used(10)), Some(10));
        Claim::again(&of, Coding::Gzip).put_off();
        assert_eq!((0..20).position(|_| form.used(10)), Some(10), "after as many uses");
        let waiting = Claim::again(&of, Coding::Gzip).later();
        assert!((0..20).all(|_| !form.used(10)), "it waits");
        drop(waiting.begin().unwrap());
        assert!((0..20).all(|_| !form.used(10)), "it was tried");
        drop(Claim::again(&of, Coding::Gzip).later());
        assert_eq!((0..20).position(|_| form.used(10)), Some(10), "what never began is put off");
        let waiting = Claim::again(&of, Coding::Gzip).later();
        drop(of);
        assert_eq!(ledger.held(), 0);
        assert!(waiting.begin().is_none());
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn whoever_waits_is_told_however_it_ends_and_waits_for_no_other() {
        let ledger = Ledger::new(1 << 20);
        let ends: [fn(Claim, Arc<Body>); 3] = [
            |claim, shorter| assert!(claim.keep(shorter)),
            |claim, _| {
                let same = claim.of().clone();
                assert!(!claim.keep(same));
            },
            |claim, _| drop(claim),
        ];
        for end in ends {
            let of = body(&ledger, 1000);
            let form = of.forms().of(Coding::Gzip);
            runtime().block_on(of.forms().settled(Coding::Gzip));
            let other = Claim::first(&of, Coding::Zstd).unwrap();
            let claim = Claim::first(&of, Coding::Gzip).unwrap();
            assert!(form.is_being_made() && !claim.is_void());
            let task = &mut std::task::Context::from_waker(std::task::Waker::noop());
            let mut waits = std::pin::pin!(of.forms().settled(Coding::Gzip));
            assert!(waits.as_mut().poll(task).is_pending());
            drop(other);
            assert!(waits.as_mut().poll(task).is_pending(), "another form is none of its business");
            end(claim, body(&ledger, 100));
            assert!(waits.as_mut().poll(task).is_ready() && !form.is_being_made());
            runtime().block_on(of.forms().settled(Coding::Gzip));
        }
    }

    #[test]
    fn nobody_makes_what_nobody_can_want() {
        let ledger = Ledger::new(1 << 20);
        let of = body(&ledger, 1000);
        let claim = Claim::first(&of, Coding::Gzip).unwrap();
        drop(of);
        assert!(claim.is_void());
        drop(claim);
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn many_threads_that_wait_all_come_back() {
        let ledger = Ledger::new(1 << 20);
        for _ in 0..200 {
            let of = body(&ledger, 1000);
            let claim = Claim::first(&of, Coding::Gzip).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        runtime().block_on(of.forms().settled(Coding::Gzip));
                        assert!(of.forms().of(Coding::Gzip).get().is_some());
                    });
                }
                std::thread::yield_now();
                claim.keep(body(&ledger, 10));
            });
        }
    }

    #[test]
    fn of_many_threads_one_makes_it() {
        let ledger = Ledger::new(1 << 20);
        let of = body(&ledger, 1000);
        let made = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        if let Some(claim) = Claim::first(&of, Coding::Gzip) {
                            made.fetch_add(1, Ordering::Relaxed);
                            claim.keep(body(&ledger, 10));
                        }
                    }
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
