//! The forms that one core has made, in the order in which they go when others need the room.
//!
//! ```text
//!   add ─▶ [ oldest … newest ] ─▶ used since it was looked at last? ─ yes ─▶ behind the newest
//!                                                                    └─ no ──▶ it goes; its content stays
//! ```
//!
//! A form may also go with its content, which nobody says here: its place is found empty then.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::stored::Body;
use crate::http::coding::Coding;

/// So many are looked at when room is needed. Where all of them are in use, nothing goes.
const LOOKED_AT_MAX: usize = 256;

/// Empty places are looked for when there are so many places at least, and twice as many as there were after the last
/// time.
const SWEPT_MIN: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub struct KeptForms {
    queue: VecDeque<Place>,
    bytes: u64,
    swept_at: usize,
}

#[derive(Debug)]
struct Place {
    of: Weak<Body>,
    coding: Coding,
    bytes: u64,
}

impl KeptForms {
    /// Takes note of a form that was kept beside its content.
    pub fn add(&mut self, of: &Arc<Body>, coding: Coding, bytes: u64) {
        if self.queue.len() >= self.swept_at.max(SWEPT_MIN) {
            self.queue.retain(|place| place.of.strong_count() > 0);
            self.bytes = self.queue.iter().map(|place| place.bytes).sum();
            self.swept_at = 2 * self.queue.len();
        }
        self.queue.push_back(Place { of: Arc::downgrade(of), coding, bytes });
        self.bytes += bytes;
    }

    /// How many bytes they take, as far as that is known.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets forms go until that is enough.
    pub fn make_room(&mut self, is_enough: impl Fn(&KeptForms) -> bool) {
        for _ in 0..LOOKED_AT_MAX.min(2 * self.queue.len()) {
            if is_enough(self) {
                return;
            }
            let Some(oldest) = self.queue.pop_front() else { return };
            let is_in_use = oldest.of.upgrade().is_some_and(|of| !of.forms().of(oldest.coding).goes());
            if is_in_use {
                self.queue.push_back(oldest);
            } else {
                self.bytes -= oldest.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::forms::Claim;
    use crate::cache::ledger::Ledger;
    use crate::cache::stored::Segment;

    fn body(ledger: &Arc<Ledger>, length: usize) -> Arc<Body> {
        Body::new(ledger, vec![Segment::new(ledger, &vec![b'a'; length]).unwrap()], b"").unwrap()
    }

    /// Content with a form that the core has made.
    fn with_form(ledger: &Arc<Ledger>, kept: &mut KeptForms) -> Arc<Body> {
        let of = body(ledger, 1000);
        assert!(Claim::first(&of, Coding::Gzip).unwrap().keep(body(ledger, 100)));
        kept.add(&of, Coding::Gzip, 100);
        of
    }

    fn has_form(of: &Arc<Body>) -> bool {
        of.forms().of(Coding::Gzip).get().is_some()
    }

    #[test]
    fn the_oldest_go_first_unless_they_are_used() {
        let ledger = Ledger::new(1 << 20);
        let mut kept = KeptForms::default();
        let all: Vec<_> = (0..6).map(|_| with_form(&ledger, &mut kept)).collect();
        kept.make_room(|kept| kept.bytes() <= 600);
        assert!(all.iter().all(has_form), "there was room");
        all[0].forms().of(Coding::Gzip).use_it();
        kept.make_room(|kept| kept.bytes() <= 500);
        let left: Vec<_> = all.iter().map(has_form).collect();
        assert_eq!(left, [true, false, true, true, true, true]);
        let held = ledger.held();
        for of in &all {
            of.forms().of(Coding::Gzip).use_it();
        }
        kept.make_room(|_| false);
        assert!(!all.iter().any(has_form) && kept.bytes() == 0);
        assert!(ledger.held() < held);
        // It may be made again, by whoever comes first, and not only after many have come.
        assert!(Claim::first(&all[0], Coding::Gzip).unwrap().keep(body(&ledger, 90)));
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let ledger = Ledger::new(1 << 20);
        let mut kept = KeptForms::default();
        let hot = with_form(&ledger, &mut kept);
        for _ in 0..1000 {
            let cold = with_form(&ledger, &mut kept);
            hot.forms().of(Coding::Gzip).use_it();
            kept.make_room(|kept| kept.bytes() <= 300);
            assert!(has_form(&cold) && has_form(&hot) && kept.bytes() <= 300);
        }
    }

    #[test]
    fn places_of_content_that_is_gone_do_not_add_up() {
        let ledger = Ledger::new(1 << 20);
        let mut kept = KeptForms::default();
        let stays = with_form(&ledger, &mut kept);
        for _ in 0..10_000 {
            drop(with_form(&ledger, &mut kept));
            assert!(kept.queue.len() <= SWEPT_MIN);
        }
        assert!(has_form(&stays));
        kept.make_room(|_| false);
        assert_eq!((kept.bytes(), kept.queue.len()), (0, 0));
    }

    #[test]
    fn what_is_being_made_again_stays() {
        let ledger = Ledger::new(1 << 20);
        let mut kept = KeptForms::default();
        let of = with_form(&ledger, &mut kept);
        assert!((0..20).any(|_| of.forms().of(Coding::Gzip).used(10)));
        kept.make_room(|_| false);
        assert!(has_form(&of) && kept.bytes() == 100);
        assert!(Claim::again(&of, Coding::Gzip).keep(body(&ledger, 90)));
        kept.make_room(|_| false);
        assert!(!has_form(&of));
    }
}
