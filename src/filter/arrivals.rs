//! How many connections there are: counts that all cores share, without a lock. How fast new ones come is a matter of
//! [rates](super::rate), as that of requests is.
//!
//! A table has buckets of 16 slots; a client's slot is somewhere in the bucket that its hash points to. A slot is
//! one word, so that taking it, counting in it and giving it back are one exchange each:
//!
//! ```text
//!   │ tag, 48 bits │ connections, 16 bits │     no connection: the slot is free
//! ```
//!
//! Two cores may see a client that neither finds in the table take two slots, if others leave the bucket at that moment.
//! Whoever comes second notices, for everyone looks through the bucket again after counting, and counts all slots of the
//! client together: so there are never more connections than may be.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// Slots of a bucket: two lines of the cache.
const WAYS: usize = 16;

/// Buckets of a table, which makes 2 MiB.
const BUCKETS: usize = 1 << 14;

/// Buckets of a small one.
const BUCKETS_SMALL: usize = 1 << 6;

/// A count with a bound.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts one more, if there are fewer than `max`.
    pub fn enter(&self, max: u64) -> bool {
        // Going back is rare, and all the others need but one step.
        let before = self.0.fetch_add(1, SeqCst);
        if before >= max {
            self.leave();
        }
        before < max
    }

    /// Counts one more, whatever the bound.
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, SeqCst) + 1
    }

    /// Counts one less.
    pub fn leave(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Which client: an IPv4 address, or the first bits of an IPv6 address.
pub fn client(address: IpAddr, v6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6_prefix.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
        }
        v4 => v4,
    }
}

/// Slots, in buckets, that are found by a hash with a secret: clients choose their addresses.
#[derive(Debug)]
struct Slots {
    words: Box<[AtomicU64]>,
    secret: RandomState,
}

impl Default for Slots {
    fn default() -> Slots {
        Slots::new(BUCKETS)
    }
}

impl Slots {
    fn new(buckets: usize) -> Slots {
        let words = (0..buckets * WAYS).map(|_| AtomicU64::new(0)).collect();
        Slots { words, secret: RandomState::new() }
    }

    /// Where the bucket of a client begins, and bits to tell it from others there.
    fn place(&self, client: impl Hash) -> (usize, u64) {
        let hash = self.secret.hash_one(client);
        let buckets = (self.words.len() / WAYS) as u64;
        let bucket = usize::try_from(hash % buckets).unwrap_or_default();
        // A tag is never nothing, for a free slot is.
        (bucket * WAYS, hash / buckets)
    }

    fn bucket(&self, start: usize) -> &[AtomicU64] {
        &self.words[start..start + WAYS]
    }
}

/// Connections at once, by client.
#[derive(Debug, Default)]
pub struct Crowd(Slots);

/// One connection of a client in a [`Crowd`], to be given back.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Guest {
    start: u32,
    /// What the slot has beside the count; nothing if there was no room to count it.
    tag: u64,
}

/// Bits of the count in a slot.
const COUNT_BITS: u32 = 16;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// How often whoever took a second slot for a client gives it back and tries again.
const AGAIN_MAX: u32 = 8;

impl Crowd {
    /// A table for few clients at once, of 8 KiB.
    pub fn small() -> Crowd {
        Crowd(Slots::new(BUCKETS_SMALL))
    }

    /// Counts one more connection of a client, if it has fewer than `max`, which is below 2^16. Where a bucket has no room
    /// for another client, that client is not counted.
    pub fn enter(&self, client: IpAddr, max: u16) -> Option<Guest> {
        let (start, bits) = self.0.place(client);
        let tag = (bits << COUNT_BITS).max(1 << COUNT_BITS);
        let bucket = self.0.bucket(start);
        let guest = |tag| Guest { start: u32::try_from(start).unwrap_or_default(), tag };
        let mut again = 0;
        loop {
            let Some(at) = take_slot(bucket, tag, u64::from(max)) else { return Some(guest(0)) };
            let Ok((slot, is_new)) = at else { return None };
            let (count, slots) = count(bucket, tag);
            if is_new && slots > 1 && again < AGAIN_MAX {
                again += 1;
                // Others may have counted themselves out here, and still be counted where this one was not.
                if !leave(&bucket[slot], tag) {
                    leave_any(bucket, tag);
                }
                continue;
            }
            if count > u64::from(max) {
                leave_any(bucket, tag);
                return None;
            }
            return Some(guest(tag));
        }
    }

    /// One less.
    pub fn leave(&self, guest: &Guest) {
        if guest.tag != 0 {
            leave_any(self.0.bucket(guest.start as usize), guest.tag);
        }
    }

    /// How many connections a client has.
    pub fn of(&self, client: IpAddr) -> u64 {
        let (start, bits) = self.0.place(client);
        count(self.0.bucket(start), (bits << COUNT_BITS).max(1 << COUNT_BITS)).0
    }

    /// How many there are of all clients, for whoever wants to see that none was forgotten: it looks at every slot.
    pub fn total(&self) -> u64 {
        self.0.words.iter().map(|slot| slot.load(Relaxed) & COUNT_MASK).sum()
    }
}

/// Counts one more in the slot of that tag, or in one that is free, which is new then. None if there is neither; an
/// error if there are `max` already.
fn take_slot(bucket: &[AtomicU64], tag: u64, max: u64) -> Option<Result<(usize, bool), ()>> {
    loop {
        let words: [u64; WAYS] = std::array::from_fn(|at| bucket[at].load(SeqCst));
        let own = words.iter().position(|word| *word & !COUNT_MASK == tag && *word & COUNT_MASK > 0);
        let (at, after) = match own {
            Some(at) if words[at] & COUNT_MASK >= max => return Some(Err(())),
            Some(at) => (at, words[at] + 1),
            None => (words.iter().position(|word| *word == 0)?, tag | 1),
        };
        if bucket[at].compare_exchange(words[at], after, SeqCst, SeqCst).is_ok() {
            return Some(Ok((at, own.is_none())));
        }
    }
}

/// How many are counted for a tag, and in how many slots.
fn count(bucket: &[AtomicU64], tag: u64) -> (u64, usize) {
    let words = bucket.iter().map(|slot| slot.load(SeqCst));
    words
        .filter(|word| word & !COUNT_MASK == tag)
        .fold((0, 0), |(count, slots), word| (count + (word & COUNT_MASK), slots + 1))
}

/// Counts one less in a slot, which is free when none is left; says whether it had one of that tag.
fn leave(slot: &AtomicU64, tag: u64) -> bool {
    let less = |word: u64| match word & COUNT_MASK {
        _ if word & !COUNT_MASK != tag => None,
        0 => None,
        1 => Some(0),
        _ => Some(word - 1),
    };
    slot.fetch_update(SeqCst, SeqCst, less).is_ok()
}

/// Counts one less in any slot of that tag. There is one: each that is counted leaves once.
fn leave_any(bucket: &[AtomicU64], tag: u64) {
    // Others move what they have counted from one slot to another, so that it may be missed once or twice.
    const LOOKS_MAX: usize = 1000;
    let found = (0..LOOKS_MAX).any(|_| bucket.iter().any(|slot| leave(slot, tag)));
    debug_assert!(found, "what is counted leaves once");
}

#[cfg(test)]
#[path = "arrivals_tests.rs"]
mod tests;
