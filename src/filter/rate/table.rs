//! The times of many keys, for all cores together: a table of fixed size, without a lock, that forgets.
//!
//! ```text
//!   bucket   keys   | hash | hash | 0 | …      one cache line, which is mostly read
//!            times  | TAT  | TAT  | 0 | …      the next one, which is written
//! ```
//!
//! A key has its place in one bucket, in any slot of it. What makes this right though a key and its time are two words
//! that nobody can change at once: **a slot changes hands without its time being touched.**
//!
//! - A time only moves on, and only as far as it allows by itself. So whatever happens to the keys meanwhile, no slot
//!   lets more through than the rate.
//! - A newcomer takes the slot whose time lies furthest back. One that has passed is idle: its key loses nothing by
//!   being forgotten, and the newcomer begins afresh.
//! - Where all slots are busy, the newcomer inherits the time of the one closest to idle. It gets less than it might,
//!   never more. And the key that had to go wins nothing: its time was the least of the bucket, none of which goes
//!   back, so that it finds one at least as late when it returns. Somebody who sends millions of keys is not past a
//!   limit by that; he only makes strangers share what is left in full buckets.
//! - Who would be refused takes nobody's slot.
//! - Two cores that bring the same new key at once mostly choose the same slot, where one of them wins. If they choose
//!   two, one at least sees the other's afterwards: the lower slot stays, and gets the later time of both.
//! - What was counted in vain, because another rate refused, is taken back from the slot. It was counted a moment ago, so
//!   that the time is not earlier than it was then.
//! - Who has moved the time of a slot looks whether it is still his key's, and else does it again where that is now.
//!
//! What is left is a race of a few nanoseconds, in which a request is counted for the slot's next key, or one at a full
//! bucket. Hashes are keyed at random, so that nobody can choose who shares his bucket.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::{AHasher, RandomState};

use super::{Limit, Step};

/// Slots of a bucket.
const WAYS: usize = 8;

/// So many slots of each bucket are counted on: hashes do not fill them evenly.
const WAYS_FILLED: usize = 5;

/// So often a request looks for its slot while others move it away.
const TRIES: usize = 16;

/// See the module.
pub struct Table {
    hashes: RandomState,
    buckets: Box<[Bucket]>,
}

/// Aligned so that buckets share no cache line, nor a pair of them, which processors fetch together.
#[repr(align(128))]
#[derive(Default)]
struct Bucket {
    /// Hashes of keys; 0 where there is none yet.
    keys: [AtomicU64; WAYS],
    times: [AtomicU64; WAYS],
}

/// What a key is made from, part by part.
pub struct Keying(AHasher);

impl Keying {
    /// Adds a part. `kind` tells it from parts that say something else in the same words.
    pub fn add(&mut self, kind: u8, bytes: impl Iterator<Item = u8>) {
        let mut chunk = [0; 64];
        let (mut filled, mut length) = (0, 0);
        for byte in bytes {
            if filled == chunk.len() {
                self.0.write(&chunk);
                filled = 0;
            }
            chunk[filled] = byte;
            (filled, length) = (filled + 1, length + 1);
        }
        self.0.write(&chunk[..filled]);
        self.end(kind, length);
    }

    /// The same, of a part that is there as it is.
    pub fn add_bytes(&mut self, kind: u8, bytes: &[u8]) {
        self.0.write(bytes);
        self.end(kind, bytes.len() as u64);
    }

    fn end(&mut self, kind: u8, length: u64) {
        self.0.write_u64(length << 8 | u64::from(kind));
    }

    /// The key.
    pub fn finish(self) -> u64 {
        self.0.finish().max(1)
    }
}

impl Table {
    /// A table with room for so many keys, at least; it has some more. `seeds` are random.
    pub fn new(keys: usize, [one, two, three, four]: [u64; 4]) -> Table {
        let buckets = keys.max(1).div_ceil(WAYS_FILLED).next_power_of_two();
        Table {
            hashes: RandomState::with_seeds(one, two, three, four),
            buckets: std::iter::repeat_with(Bucket::default).take(buckets).collect(),
        }
    }

    /// Begins a key.
    pub fn keying(&self) -> Keying {
        Keying(self.hashes.build_hasher())
    }

    /// Slots that there are.
    pub fn slots(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// How many keys have a time that lies ahead: those that something is remembered of.
    pub fn busy(&self, now: u64) -> usize {
        let times = self.buckets.iter().flat_map(|bucket| &bucket.times);
        times.filter(|time| time.load(Ordering::Relaxed) > now).count()
    }

    /// What would become of a request; nothing is counted.
    pub fn look(&self, limit: &Limit, key: u64, now: u64) -> Step {
        let bucket = self.bucket(key);
        let tat = match bucket.find(key) {
            Some(slot) => bucket.times[slot].load(Ordering::Relaxed),
            None => bucket.closest_to_idle().time,
        };
        limit.step(tat, now)
    }

    /// Counts a request, if it is taken.
    pub fn take(&self, limit: &Limit, key: u64, now: u64) -> Step {
        let bucket = self.bucket(key);
        for _ in 0..TRIES {
            if let Some(slot) = bucket.find(key) {
                let step = bucket.count(slot, limit, now);
                if !step.taken || bucket.keys[slot].load(Ordering::SeqCst) == key {
                    return step;
                }
            } else {
                let found = bucket.closest_to_idle();
                let step = limit.step(found.time, now);
                if !step.taken {
                    return step;
                }
                bucket.hand_over(&found, key);
            }
        }
        // Others are faster all the time, which means that the bucket is full and busy.
        bucket.count(bucket.closest_to_idle().slot, limit, now)
    }

    /// Takes back what was counted a moment ago.
    pub fn give_back(&self, limit: &Limit, key: u64) {
        let bucket = self.bucket(key);
        if let Some(slot) = bucket.find(key) {
            let back = |time: u64| Some(time.saturating_sub(limit.interval));
            let _ = bucket.times[slot].fetch_update(Ordering::AcqRel, Ordering::Relaxed, back);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask is that of an index")]
    fn bucket(&self, key: u64) -> &Bucket {
        // The upper half: the lower one is what slots are told apart by.
        &self.buckets[(key >> 32 ^ key >> 8) as usize & (self.buckets.len() - 1)]
    }
}

/// A slot as it was seen.
struct Seen {
    slot: usize,
    key: u64,
    time: u64,
}

impl Bucket {
    fn find(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|slot| slot.load(Ordering::SeqCst) == key)
    }

    fn closest_to_idle(&self) -> Seen {
        let mut best = Seen { slot: 0, key: 0, time: u64::MAX };
        for (slot, (key, time)) in self.keys.iter().zip(&self.times).enumerate() {
            let (key, time) = (key.load(Ordering::SeqCst), time.load(Ordering::SeqCst));
            if time < best.time {
                best = Seen { slot, key, time };
            }
        }
        best
    }

    /// Moves the time of a slot on, as far as it allows.
    fn count(&self, slot: usize, limit: &Limit, now: u64) -> Step {
        let time = &self.times[slot];
        let mut tat = time.load(Ordering::SeqCst);
        loop {
            let step = limit.step(tat, now);
            if !step.taken {
                return step;
            }
            match time.compare_exchange_weak(tat, step.next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return step,
                Err(other) => tat = other,
            }
        }
    }

    /// Gives a slot to another key, unless somebody else has done so; and sees that the key has no second one.
    fn hand_over(&self, seen: &Seen, key: u64) {
        let replace = |slot: usize, from: u64, to: u64| {
            self.keys[slot].compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        if !replace(seen.slot, seen.key, key) {
            return;
        }
        for other in 0..WAYS {
            if other == seen.slot || self.keys[other].load(Ordering::SeqCst) != key {
                continue;
            }
            if other < seen.slot {
                replace(seen.slot, key, 0);
                return;
            }
            if replace(other, key, 0) {
                self.times[seen.slot].fetch_max(self.times[other].load(Ordering::SeqCst), Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bucket: &Bucket) -> Vec<u64> {
        bucket.keys.iter().map(|key| key.load(Ordering::SeqCst)).collect()
    }

    #[test]
    fn of_two_slots_for_one_key_the_lower_stays_with_the_later_time() {
        let seen = |slot, key| Seen { slot, key, time: 0 };
        let bucket = Bucket::default();
        bucket.hand_over(&seen(3, 0), 7);
        bucket.times[3].store(50, Ordering::SeqCst);
        // Another core had chosen a lower one, before it could see that.
        bucket.hand_over(&seen(1, 0), 7);
        assert_eq!(keys(&bucket), [0, 7, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bucket.times[1].load(Ordering::SeqCst), 50);
        // And a higher one.
        bucket.hand_over(&seen(5, 0), 7);
        assert_eq!(keys(&bucket), [0, 7, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bucket.find(7), Some(1));
    }

    #[test]
    fn a_slot_that_somebody_else_took_is_left_to_him_and_keeps_its_time() {
        let bucket = Bucket::default();
        bucket.times[0].store(9, Ordering::SeqCst);
        bucket.hand_over(&Seen { slot: 0, key: 0, time: 9 }, 7);
        bucket.hand_over(&Seen { slot: 0, key: 0, time: 9 }, 8);
        assert_eq!((keys(&bucket)[0], bucket.times[0].load(Ordering::SeqCst)), (7, 9));
        bucket.hand_over(&Seen { slot: 0, key: 7, time: 9 }, 8);
        assert_eq!((keys(&bucket)[0], bucket.times[0].load(Ordering::SeqCst)), (8, 9));
    }
}
