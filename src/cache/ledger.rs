//! What the cache holds, in bytes, over all cores: a bound that nothing gets past.
//!
//! Every piece of memory that outlives an exchange because of the cache carries a [`Charge`] from here,
//! and gives it back when it is freed, wherever that happens. So the sum counts what is held, evicted
//! responses that a slow client is still reading included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The sum, and its bound. Shared by all cores; touched when something is stored or freed, never on a
/// hit.
#[derive(Debug)]
pub struct Ledger {
    held: AtomicUsize,
    bytes_max: usize,
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    ledger: Arc<Ledger>,
    bytes: usize,
}

impl Ledger {
    /// A ledger of at most so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Ledger> {
        Arc::new(Ledger { held: AtomicUsize::new(0), bytes_max })
    }

    /// Reserves bytes, if so many are left.
    pub fn reserve(self: &Arc<Ledger>, bytes: usize) -> Option<Charge> {
        let fits = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= self.bytes_max);
        // The count orders no other memory.
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Charge { ledger: self.clone(), bytes })
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

impl Charge {
    /// How many bytes it stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.held.fetch_sub(self.bytes, Ordering::Relaxed);
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
