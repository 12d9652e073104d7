//! Content that is held: in memory to a bound, beyond that in a file; counted over all cores.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::Reason;
use crate::net::disk::Scratch;
use crate::proxy::snapshot::RequestRules;
use crate::proxy::troubles::Trouble;

/// How much is held, over all cores.
#[derive(Default)]
pub(in crate::proxy) struct Ledger {
    bytes: AtomicU64,
}

/// A part of what a ledger counts; it is given back when this is dropped.
pub(in crate::proxy) struct Charge {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Charge {
    /// Nothing yet.
    pub(in crate::proxy) fn new(ledger: Arc<Ledger>) -> Charge {
        Charge { ledger, bytes: 0 }
    }

    /// Takes so much more, unless all together would then have more than `total`.
    #[must_use]
    pub(in crate::proxy) fn grow(&mut self, bytes: u64, total: u64) -> bool {
        let before = self.ledger.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= total;
        if fits {
            self.bytes += bytes;
        } else {
            self.ledger.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Gives so much back.
    pub(in crate::proxy) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.ledger.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// Memory that counts with all other memory that is held for clients; and no longer when this is dropped.
pub(in crate::proxy) struct Counted {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Counted {
    /// Nothing yet. It is counted there.
    pub(in crate::proxy) fn new(all: &Arc<AtomicUsize>) -> Counted {
        Counted { all: all.clone(), bytes: 0 }
    }

    /// Has it count so many bytes, if it has counted fewer.
    pub(in crate::proxy) fn grow_to(&mut self, bytes: usize) {
        self.all.fetch_add(bytes.saturating_sub(self.bytes), Ordering::Relaxed);
        self.bytes = self.bytes.max(bytes);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Content of a request, as far as it did not come with its head.
///
/// ```text
///   ├──────── in the file ────────┤── in memory ──┤
///                                  at most so much
/// ```
pub(in crate::proxy) struct Held {
    rules: RequestRules,
    file: Option<Scratch>,
    memory: Vec<u8>,
    counted: Counted,
    charge: Charge,
}

impl Held {
    /// Nothing yet. Its memory is counted there as well.
    pub(in crate::proxy) fn new(rules: &RequestRules, all: &Arc<AtomicUsize>) -> Held {
        let charge = Charge::new(rules.ledger.clone());
        let counted = Counted::new(all);
        Held { rules: rules.clone(), file: None, memory: Vec::new(), counted, charge }
    }

    /// How much there is.
    pub(in crate::proxy) fn length(&self) -> u64 {
        self.in_file() + self.memory.len() as u64
    }

    /// How much of it lies in a file.
    pub(in crate::proxy) fn in_file(&self) -> u64 {
        self.file.as_ref().map_or(0, Scratch::length)
    }

    /// The file, if there is one.
    pub(in crate::proxy) fn file(&self) -> Option<&Scratch> {
        self.file.as_ref()
    }

    /// What lies in memory.
    pub(in crate::proxy) fn memory(&self) -> &[u8] {
        &self.memory
    }

    /// Takes what lies in memory away; it still counts.
    pub(in crate::proxy) fn take_memory(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.memory)
    }

    /// Takes more of the content.
    ///
    /// # Errors
    /// It is too much, or cannot be kept.
    pub(in crate::proxy) async fn add(&mut self, mut content: &[u8]) -> Result<(), Reason> {
        let bytes = content.len() as u64;
        if self.length() + bytes > self.rules.settings.bytes_max() {
            return Err(Reason::BodyTooLarge);
        }
        let total = self.rules.settings.total_bytes_max;
        if !self.charge.grow(bytes, total) {
            return Err(note(&self.rules, &Trouble::Total(total)));
        }
        let most = self.rules.settings.memory_bytes_max;
        while !content.is_empty() {
            if self.memory.len() == most {
                self.spill().await?;
            }
            let (fits, more) = content.split_at(content.len().min(most - self.memory.len()));
            self.make_room(fits.len(), most);
            self.memory.extend_from_slice(fits);
            content = more;
        }
        Ok(())
    }

    /// Has memory grow as a vector does, but not beyond what it may have.
    fn make_room(&mut self, more: usize, most: usize) {
        let needed = self.memory.len() + more;
        if needed > self.memory.capacity() {
            let wanted = needed.max(2 * self.memory.capacity()).min(most);
            self.memory.reserve_exact(wanted - self.memory.len());
            self.counted.grow_to(self.memory.capacity());
        }
    }

    /// Writes what lies in memory behind what lies in the file.
    async fn spill(&mut self) -> Result<(), Reason> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let (directory, disk) = self.rules.files.as_ref().ok_or(Reason::BodyTooLarge)?;
                let made = disk.create(directory.clone()).await;
                none.insert(made.map_err(|error| failed(&self.rules, &error))?)
            }
        };
        let content = std::mem::take(&mut self.memory);
        self.memory = file.append(content).await.map_err(|error| failed(&self.rules, &error))?;
        Ok(())
    }

    /// A file failed: notes why, and says what becomes of the request.
    pub(in crate::proxy) fn failed(&self, error: &io::Error) -> Reason {
        failed(&self.rules, error)
    }
}

/// See [`Held::failed`].
fn failed(rules: &RequestRules, error: &io::Error) -> Reason {
    note(rules, &Trouble::of(&rules.settings.directory, error))
}

/// Notes why content cannot be held, and says what becomes of the request.
fn note(rules: &RequestRules, trouble: &Trouble<'_>) -> Reason {
    rules.troubles.note(trouble);
    match trouble {
        Trouble::Disk(..) | Trouble::Slow(_) => Reason::StorageFailed,
        Trouble::Files | Trouble::Total(_) => Reason::StorageFull,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_with_all_other_memory_for_as_long_as_it_is_there() {
        let all = Arc::new(AtomicUsize::new(1000));
        let mut one = Counted::new(&all);
        let mut other = Counted::new(&all);
        one.grow_to(10);
        other.grow_to(7);
        one.grow_to(30);
        one.grow_to(20);
        assert_eq!(all.load(Ordering::Relaxed), 1037);
        drop((one, other));
        assert_eq!(all.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn nothing_is_taken_that_there_is_no_room_for_and_all_is_given_back() {
        let ledger = Arc::new(Ledger::default());
        let (mut one, mut other) = (Charge::new(ledger.clone()), Charge::new(ledger.clone()));
        assert!(one.grow(6, 10) && !other.grow(5, 10) && other.grow(4, 10) && !one.grow(1, 10));
        one.shrink(2);
        assert!(other.grow(2, 10));
        assert_eq!(ledger.bytes.load(Ordering::Relaxed), 10);
        drop(one);
        assert_eq!(ledger.bytes.load(Ordering::Relaxed), 6);
        other.shrink(u64::MAX);
        drop(other);
        assert_eq!(ledger.bytes.load(Ordering::Relaxed), 0);
    }
}
