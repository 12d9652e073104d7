//! What the cache holds, in bytes, over all cores: a bound that nothing gets past.
//!
//! Every piece of memory that outlives an exchange because of the cache carries a [`Charge`] from here,
//! and gives it back when it is freed, wherever that happens. So the sum counts what is held, evicted
//! responses that a slow client is still reading included.
//!
//! What is kept *beside* stored responses, to spare work (compressed forms of them, and notes of what their heads say of
//! content), is counted in the same sum, and has bounds of its own in it: it must never keep a response from being stored,
//! nor notes the forms.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is beside stored responses takes at most this part of all.
const BESIDE: usize = 4;

/// Of that, notes take this part, and forms the rest.
const NOTES: usize = 4;

/// Of what forms may take, this part is only for those that are about to take the place of others.
const FORMS_IN_PASSING: usize = 6;

/// What is beside stored responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Content in another form.
    Form,
    /// What was found out about a head.
    Note,
}

/// The sum, and its bound. Shared by all cores; touched when something is stored or freed, never on a
/// hit.
#[derive(Debug)]
pub struct Ledger {
    held: AtomicUsize,
    /// Those of them that are beside stored responses.
    forms: AtomicUsize,
    notes: AtomicUsize,
    bytes_max: usize,
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    ledger: Arc<Ledger>,
    bytes: usize,
    beside: Option<Beside>,
}

impl Ledger {
    /// A ledger of at most so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Ledger> {
        let [held, forms, notes] = [const { AtomicUsize::new(0) }; 3];
        Arc::new(Ledger { held, forms, notes, bytes_max })
    }

    /// Reserves bytes, if so many are left.
    pub fn reserve(self: &Arc<Ledger>, bytes: usize) -> Option<Charge> {
        add(&self.held, bytes, self.bytes_max)?;
        Some(Charge { ledger: self.clone(), bytes, beside: None })
    }

    /// Reserves bytes for something beside stored responses, if so many are left for that.
    pub fn reserve_beside(self: &Arc<Ledger>, what: Beside, bytes: usize) -> Option<Charge> {
        add(self.sum_of(what), bytes, self.most_of(what))?;
        if add(&self.held, bytes, self.bytes_max).is_none() {
            self.sum_of(what).fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Charge { ledger: self.clone(), bytes, beside: Some(what) })
    }

    /// Whether so many bytes more may be beside stored responses, if those make room.
    pub fn has_room_beside(&self, what: Beside, bytes: usize) -> bool {
        let sum = self.sum_of(what).load(Ordering::Relaxed).checked_add(bytes);
        sum.is_some_and(|sum| sum <= self.most_of(what))
    }

    /// The same of a form, without anybody making room.
    pub fn has_room_now(&self, bytes: usize) -> bool {
        self.has_room_beside(Beside::Form, bytes)
            && self.held().checked_add(bytes).is_some_and(|sum| sum <= self.bytes_max)
    }

    /// How many bytes are held beside stored responses.
    pub fn beside(&self) -> usize {
        self.forms.load(Ordering::Relaxed) + self.notes.load(Ordering::Relaxed)
    }

    /// How many bytes of forms there are to be at most, once others have gone for them.
    pub fn forms_to_keep(&self) -> usize {
        let most = self.most_of(Beside::Form);
        most - most / FORMS_IN_PASSING
    }

    fn sum_of(&self, what: Beside) -> &AtomicUsize {
        match what {
            Beside::Form => &self.forms,
            Beside::Note => &self.notes,
        }
    }

    fn most_of(&self, what: Beside) -> usize {
        let beside = self.bytes_max / BESIDE;
        match what {
            Beside::Form => beside - beside / NOTES,
            Beside::Note => beside / NOTES,
        }
    }

    /// What of a shard's bytes is left for responses: what is beside them takes its share of each shard, wherever it
    /// belongs.
    pub fn left_of(&self, bytes: usize) -> usize {
        let share = self.beside() as u128 * bytes as u128 / self.bytes_max.max(1) as u128;
        bytes.saturating_sub(usize::try_from(share).unwrap_or(usize::MAX))
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// Adds to a count, if it stays within the bound.
fn add(count: &AtomicUsize, bytes: usize, most: usize) -> Option<()> {
    let fits = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= most);
    // The count orders no other memory.
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok().map(|_| ())
}

impl Charge {
    /// Where it stands.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// How many bytes it stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.held.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(what) = self.beside {
            self.ledger.sum_of(what).fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_past_the_bound_and_everything_comes_back() {
        let ledger = Ledger::new(100);
        let first = ledger.reserve(60).unwrap();
        assert!(ledger.reserve(41).is_none());
        let second = ledger.reserve(40).unwrap();
        assert_eq!((first.bytes(), ledger.held()), (60, 100));
        drop(first);
        assert!(ledger.reserve(usize::MAX).is_none());
        drop(second);
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn what_is_beside_has_bounds_of_its_own() {
        let ledger = Ledger::new(400);
        let beside = |what, bytes| ledger.reserve_beside(what, bytes);
        let form = beside(Beside::Form, 70).unwrap();
        assert!(beside(Beside::Form, 6).is_none() && !ledger.has_room_beside(Beside::Form, 6));
        assert!(ledger.has_room_beside(Beside::Form, 5) && ledger.has_room_now(5));
        assert!(!ledger.has_room_beside(Beside::Form, usize::MAX));
        let note = beside(Beside::Note, 25).unwrap();
        assert!(beside(Beside::Note, 1).is_none(), "forms leave room for notes, and notes for forms");
        assert_eq!((ledger.held(), ledger.beside()), (95, 95));
        let all = ledger.reserve(305).unwrap();
        assert!(beside(Beside::Form, 1).is_none(), "nothing gets past the bound of all");
        assert!(ledger.has_room_beside(Beside::Form, 5) && !ledger.has_room_now(1));
        drop(form);
        assert_eq!((ledger.held(), ledger.beside()), (330, 25));
        drop((note, all));
        assert_eq!((ledger.held(), ledger.beside()), (0, 0));
        assert!(ledger.forms_to_keep() < 75);
    }

    #[test]
    fn many_threads_together_stay_within_it() {
        let ledger = Ledger::new(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for bytes in 0..2000 {
                        let charge = ledger.reserve(bytes % 600);
                        assert!(ledger.held() <= 1000);
                        drop(charge);
                    }
                });
            }
        });
        assert_eq!(ledger.held(), 0);
    }
}
