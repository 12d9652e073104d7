//! Giving a response no faster than it may be given.
//!
//! Content is written in pieces, each as soon as those before it have had their time. What a piece costs is reserved
//! before it is written, so that a slow client is not held back twice. While a piece waits, no write is under way:
//! nobody takes our own waiting for a client that does not read. And nothing more is read meanwhile: whoever sends the
//! content waits as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::core::Core;
use crate::clock::{Clock, Moment};
use crate::config::flow::Bandwidth;

/// Pieces are what goes in an eighth of a second, within these bounds.
const PIECE_BYTES: (u64, u64) = (256, 64 << 10);
const PIECES_PER_SECOND: u64 = 8;

/// So much time that was not used may be made up for: timers are late, and clients hesitate.
const SLACK_NANOS: u64 = 100_000_000;

/// Waits shorter than this are added to the next one: no timer is as fine.
const WAIT_NANOS_MIN: u64 = 1_000_000;

/// How far a response is. Its numbers are atomic only so that there can be a place for it where there is none; no other
/// thread ever sees them.
pub(super) struct Pace {
    bytes_per_second: u64,
    clock: Clock,
    began: Moment,
    /// Bytes that are still free.
    free: AtomicU64,
    /// When the next piece may go, in nanoseconds since the response began.
    due: AtomicU64,
}

impl Clone for Pace {
    fn clone(&self) -> Pace {
        let copy = |number: &AtomicU64| AtomicU64::new(number.load(Ordering::Relaxed));
        Pace {
            bytes_per_second: self.bytes_per_second,
            clock: self.clock.clone(),
            began: self.began,
            free: copy(&self.free),
            due: copy(&self.due),
        }
    }
}

impl Pace {
    /// For a response that begins now.
    pub(super) fn new(bandwidth: Bandwidth, core: &Core) -> Pace {
        Pace {
            bytes_per_second: bandwidth.rate.0.max(1),
            clock: core.clock.clone(),
            began: core.clock.now(),
            free: AtomicU64::new(bandwidth.after),
            due: AtomicU64::new(0),
        }
    }

    /// Whether so many bytes may be written at once, as they are; then they are counted.
    fn goes_at_once(&self, left: u64, now: u64) -> bool {
        let is_due = || self.due.load(Ordering::Relaxed) <= now && left <= self.piece();
        let is_free = self.free.load(Ordering::Relaxed) >= left || is_due();
        if is_free {
            let (free, _) = self.next(left, now);
            if free < left {
                self.next(left - free, now);
            }
        }
        is_free
    }

    fn piece(&self) -> u64 {
        (self.bytes_per_second / PIECES_PER_SECOND).clamp(PIECE_BYTES.0, PIECE_BYTES.1)
    }

    /// How many of so many bytes may be written, and how long to wait before.
    fn next(&self, left: u64, now: u64) -> (u64, Duration) {
        let free = self.free.load(Ordering::Relaxed);
        if free > 0 {
            let count = left.min(free);
            self.free.store(free - count, Ordering::Relaxed);
            return (count, Duration::ZERO);
        }
        let count = left.min(self.piece());
        // A piece is small, so that there is no overflow.
        let cost = count.saturating_mul(1_000_000_000) / self.bytes_per_second;
        let due = self.due.load(Ordering::Relaxed);
        self.due.store(due.max(now.saturating_sub(SLACK_NANOS)).saturating_add(cost), Ordering::Relaxed);
        let wait = due.saturating_sub(now);
        (count, Duration::from_nanos(if wait < WAIT_NANOS_MIN { 0 } else { wait }))
    }

    /// Whether so many bytes may be written as they are, at once: then they are counted.
    pub(super) fn is_free(&self, left: usize) -> bool {
        self.goes_at_once(left as u64, self.now())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits until some of so many bytes may be written, and says how many: at least one, if there is one. That is never
    /// long: whether somebody is still there shows when the piece is written.
    pub(super) async fn turn(&self, left: usize) -> usize {
        let (count, wait) = self.next(left as u64, self.now());
        if !wait.is_zero() {
            monoio::time::sleep(wait).await;
        }
        usize::try_from(count).unwrap_or(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(bytes_per_second: u64, free: u64) -> Pace {
        let clock = Clock::default();
        let began = clock.now();
        Pace { bytes_per_second, clock, began, free: AtomicU64::new(free), due: AtomicU64::new(0) }
    }

    /// A quarter of a second for the smallest piece at the lowest rate.
    const WAIT_MAX: Duration = Duration::from_millis(250);

    /// Writes as fast as it may, with timers that are late by so much. Returns the time it took.
    fn write(pace: &Pace, mut left: u64, late: u64) -> u64 {
        let mut now = 0;
        while left > 0 {
            let (count, wait) = pace.next(left, now);
            assert!(count > 0 && count <= left);
            assert!(wait <= WAIT_MAX, "who is gone is soon noticed: {wait:?}");
            left -= count;
            let wait = u64::try_from(wait.as_nanos()).unwrap();
            now += if wait == 0 { 1_000 } else { wait + late };
        }
        now
    }

    #[test]
    fn content_takes_the_time_that_it_should() {
        const SECOND: u64 = 1_000_000_000;
        for rate in [1 << 10, 100_000, 1 << 20, 1 << 30] {
            for late in [0, 1_000_000, 5_000_000] {
                let took = write(&pace(rate, 0), rate * 4, late);
                // The first piece goes at once, and the last one is written when its turn comes.
                assert!((SECOND * 36 / 10..SECOND * 41 / 10).contains(&took), "{rate} {late}: {took}");
            }
        }
    }

    #[test]
    fn the_first_bytes_are_free_and_small_responses_do_not_wait() {
        assert!(write(&pace(1 << 10, 1 << 20), 1 << 20, 0) < 10_000);
        assert!(write(&pace(1 << 10, 0), 256, 0) < 10_000);
        assert!(write(&pace(1 << 10, 1000), 1256, 0) < 10_000);
    }

    #[test]
    fn what_goes_at_once_is_counted_all_the_same() {
        let pace = pace(8 << 10, 100);
        assert!(pace.goes_at_once(60, 0) && pace.goes_at_once(40, 0) && pace.goes_at_once(1000, 0));
        assert!(!pace.goes_at_once(1, 0) && !pace.goes_at_once(1, 100_000_000));
        assert!(pace.goes_at_once(1, 130_000_000) && !pace.goes_at_once(2000, 10_000_000_000));
        assert!(pace.next(1, 130_000_000).1.is_zero());
    }

    #[test]
    fn time_that_was_not_used_is_gone() {
        let pace = pace(1 << 20, 0);
        pace.next(1 << 30, 0);
        // A minute later: little more than one piece goes at once.
        let now = 60_000_000_000;
        let at_once = (0..100).filter(|_| pace.next(1 << 30, now).1.is_zero()).count();
        assert!(at_once <= 3, "{at_once}");
    }
}
