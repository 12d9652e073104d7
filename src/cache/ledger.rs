//! What the cache holds, in bytes, over all cores: a bound that nothing gets past.
//!
//! Every piece of memory that outlives an exchange because of the cache carries a [`Charge`] from here,
//! and gives it back when it is freed, wherever that happens. So the sum counts what is held, evicted
//! responses that a slow client is still reading included.
//!
//! What is kept *beside* stored responses, to spare work (compressed forms of them), is counted in the same sum, and has
//! a bound of its own in it: it must never keep a response from being stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is beside stored responses takes at most this part of all.
const BESIDE: usize = 4;

/// The sum, and its bound. Shared by all cores; touched when something is stored or freed, never on a
/// hit.
#[derive(Debug)]
pub struct Ledger {
    held: AtomicUsize,
    /// Those of them that are beside stored responses.
    beside: AtomicUsize,
    bytes_max: usize,
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    ledger: Arc<Ledger>,
    bytes: usize,
    is_beside: bool,
}

impl Ledger {
    /// A ledger of at most so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Ledger> {
        Arc::new(Ledger { held: AtomicUsize::new(0), beside: AtomicUsize::new(0), bytes_max })
    }

    /// Reserves bytes, if so many are left.
    pub fn reserve(self: &Arc<Ledger>, bytes: usize) -> Option<Charge> {
        add(&self.held, bytes, self.bytes_max)?;
        Some(Charge { ledger: self.clone(), bytes, is_beside: false })
    }

    /// Reserves bytes for something beside stored responses, if so many are left for that.
    pub fn reserve_beside(self: &Arc<Ledger>, bytes: usize) -> Option<Charge> {
        add(&self.beside, bytes, self.beside_max())?;
        if add(&self.held, bytes, self.bytes_max).is_none() {
            self.beside.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Charge { ledger: self.clone(), bytes, is_beside: true })
    }

    /// Whether so many bytes more may be beside stored responses, if the others make room.
    pub fn has_room_beside(&self, bytes: usize) -> bool {
        self.beside().checked_add(bytes).is_some_and(|sum| sum <= self.beside_max())
    }

    /// The same without anybody making room.
    pub fn has_room_now_beside(&self, bytes: usize) -> bool {
        self.has_room_beside(bytes) && self.held().checked_add(bytes).is_some_and(|sum| sum <= self.bytes_max)
    }

    /// How many bytes are held beside stored responses.
    pub fn beside(&self) -> usize {
        self.beside.load(Ordering::Relaxed)
    }

    /// What of a shard's bytes is left for responses: what is beside them takes its share of each shard, wherever it
    /// belongs.
    pub fn left_of(&self, bytes: usize) -> usize {
        let share = self.beside() as u128 * bytes as u128 / self.bytes_max.max(1) as u128;
        bytes.saturating_sub(usize::try_from(share).unwrap_or(usize::MAX))
    }

    /// How many there may be of those.
    fn beside_max(&self) -> usize {
        self.bytes_max / BESIDE
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
        if self.is_beside {
            self.ledger.beside.fetch_sub(self.bytes, Ordering::Relaxed);
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
    fn what_is_beside_has_a_bound_of_its_own() {
        let ledger = Ledger::new(100);
        let beside = ledger.reserve_beside(20).unwrap();
        assert!(
            ledger.reserve_beside(6).is_none() && !ledger.has_room_beside(6) && ledger.has_room_beside(5)
        );
        assert!(!ledger.has_room_beside(usize::MAX));
        assert_eq!((ledger.held(), ledger.beside()), (20, 20));
        let all = ledger.reserve(80).unwrap();
        assert!(ledger.reserve_beside(1).is_none(), "nothing gets past the bound of all");
        assert!(ledger.has_room_beside(5) && !ledger.has_room_now_beside(1));
        assert_eq!((ledger.held(), ledger.beside()), (100, 20));
        drop(beside);
        assert_eq!((ledger.held(), ledger.beside()), (80, 0));
        drop(all);
        assert_eq!(ledger.held(), 0);
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
