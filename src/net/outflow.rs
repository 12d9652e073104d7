//! Whether the peer of a write that waits takes anything of what the kernel still holds for it.
//!
//! A socket counts as writable again only once a good part of its buffer is free, and that may be more than a megabyte:
//! until then, a peer that reads steadily looks like one that has stopped. So a write that waits is looked at now and
//! then, and whatever has left the buffer since the last look has moved.
//!
//! ```text
//!   in the buffer   ██████████  █████████   ███████    ██████       here it is writable, and the wait is over
//!   a look              ▲ the first    ▲ moved   ▲ moved
//! ```

use std::cell::Cell;

use super::deadline::Ticks;
use super::headway::Headway;

/// So many looks are taken in the time in which something has to move.
const LOOKS: u32 = 8;

/// The first look, once a wait lasts so many ticks: most never do.
const FIRST_LOOK_TICKS: u32 = 2;

/// Who takes so much of what is held in a tick has not been waited for (16 KiB a second); who takes less, for a part of
/// the time.
const BRISK_TICK_BYTES: u32 = 16 * 1024 / 10;

/// The writes to one socket, and the wait that goes on, if one does.
#[derive(Default)]
pub(super) struct Outflow {
    headway: Headway,
    /// Bytes a second that have to move while it is waited; 0 is none.
    rate: Cell<u32>,
    limit: Cell<Ticks>,
    /// The tick at which the wait is over, unless something moves.
    ends: Cell<u32>,
    /// What was held at the last look in this wait.
    held: Cell<Option<u32>>,
    /// What has left in this wait.
    taken: Cell<u32>,
}

impl Outflow {
    /// See [`super::deadline::Watch::set_rate`].
    pub(super) fn set_rate(&self, rate: u32) {
        self.rate.set(rate);
        self.headway.reset();
    }

    /// So many bytes were written.
    pub(super) fn wrote(&self, count: usize) {
        self.headway.moved(count);
    }

    /// A write has to wait from the tick `now` on, for which it may take `limit`. Returns the tick of the first look.
    pub(super) fn begin(&self, now: u32, limit: Ticks) -> u32 {
        self.limit.set(limit);
        self.held.set(None);
        self.taken.set(0);
        self.ends.set(self.left(now).after(now));
        now.saturating_add(FIRST_LOOK_TICKS)
    }

    /// It waits no more.
    pub(super) fn end(&self, now: u32) {
        self.headway.end(now);
    }

    /// Notes how much is held at the tick `now`, if that is known. What has left since the last look has moved.
    pub(super) fn look(&self, now: u32, held: Option<u32>) {
        let Some(held) = held else { return };
        let Some(before) = self.held.replace(Some(held)) else {
            // A core that was busy may look for the first time when the time is over. One look tells nothing.
            return self.ends.set(self.ends.get().max(now.saturating_add(FIRST_LOOK_TICKS)));
        };
        let taken = before.saturating_sub(held);
        if taken > 0 {
            self.taken.set(self.taken.get().saturating_add(taken));
            self.headway.end(now);
            self.headway.drained(taken);
            let left = self.left(now);
            // What moves does not put off the end of a window that has seen too little of it.
            self.ends.set(if left == Ticks::default() { now } else { left.after(now) });
        }
    }

    /// Whether the wait is over at the tick `now`.
    pub(super) fn is_over(&self, now: u32) -> bool {
        self.ends.get() <= now
    }

    /// The tick of the look after the one at the tick `now`.
    pub(super) fn next_look(&self, now: u32) -> u32 {
        now.saturating_add((self.limit.get().count() / LOOKS).max(1)).min(self.ends.get())
    }

    /// Since when the peer has been waited for that took nothing for all that time, if this one has been since a tick:
    /// what it took makes up for some.
    pub(super) fn idle_since(&self, since: u32, now: u32) -> u32 {
        since.saturating_add(self.taken.get() / BRISK_TICK_BYTES).min(now)
    }

    /// Whether a wait whose time has passed was cut short by the rate; see [`Headway::was_too_slow`].
    pub(super) fn was_too_slow(&self) -> bool {
        self.rate.get() > 0 && self.headway.was_too_slow()
    }

    fn left(&self, now: u32) -> Ticks {
        match self.rate.get() {
            0 => self.limit.get(),
            rate => self.headway.begin(now, self.limit.get(), rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a socket holds whose peer takes so many bytes in each tick, for so many of them; the tick at which it is
    /// given up, counted from the beginning of the wait.
    fn given_up(rate: u32, a_tick: u32, ticks: u32) -> Option<u32> {
        const BEGAN: u32 = 1000;
        let outflow = Outflow::default();
        outflow.set_rate(rate);
        outflow.wrote(1000);
        let mut at = outflow.begin(BEGAN, Ticks::of(Duration::from_secs(2)));
        for now in BEGAN..BEGAN + 1000 {
            if at <= now {
                outflow.look(now, Some(1 << 30).map(|held: u32| held - a_tick * ticks.min(now - BEGAN)));
                if outflow.is_over(now) {
                    return Some(now - BEGAN);
                }
                at = outflow.next_look(now);
            }
        }
        None
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up_at_the_limit() {
        assert_eq!((given_up(0, 0, 0), given_up(64, 0, 0)), (Some(21), Some(21)));
    }

    #[test]
    fn a_peer_that_takes_enough_of_what_is_held_goes_on_without_end() {
        assert_eq!(given_up(10_000, 3_000, 1000), None, "three times of what it has to");
        assert_eq!(given_up(10_000, 1_200, 1000), None);
    }

    #[test]
    fn a_peer_that_takes_too_little_is_given_up_after_a_window() {
        assert_eq!(given_up(10_000, 800, 1000), Some(20));
    }

    #[test]
    fn without_a_rate_anything_that_leaves_is_enough_until_nothing_does() {
        assert_eq!(given_up(0, 1, 1000), None);
        let stopped = given_up(0, 1, 100).unwrap();
        assert!((120..=125).contains(&stopped), "{stopped}");
    }

    #[test]
    fn what_left_before_it_stopped_buys_no_more_than_a_window() {
        let stopped = given_up(64, 100_000, 100).unwrap();
        assert!((110..=145).contains(&stopped), "{stopped}");
    }

    #[test]
    fn what_was_seen_to_leave_does_not_count_again_when_its_room_is_written_to() {
        let outflow = Outflow::default();
        let second = Ticks::of(Duration::from_secs(1));
        outflow.set_rate(1000);
        outflow.begin(0, second);
        outflow.look(2, Some(5000));
        outflow.look(3, Some(4300));
        outflow.end(5);
        outflow.wrote(700);
        outflow.begin(5, second);
        assert!(!outflow.is_over(10) && outflow.is_over(11), "of 1000 bytes 700 have moved");
        outflow.end(6);
        outflow.wrote(300);
        outflow.begin(6, second);
        assert!(!outflow.is_over(16) && outflow.is_over(17), "all have moved, and a wait may last a second");
    }

    #[test]
    fn a_first_look_that_comes_late_ends_nothing() {
        let outflow = Outflow::default();
        outflow.begin(0, Ticks::of(Duration::from_secs(1)));
        outflow.look(500, Some(5000));
        assert!(!outflow.is_over(501));
        outflow.look(502, Some(5000));
        assert!(outflow.is_over(502));
    }

    #[test]
    fn where_nobody_can_say_what_is_held_the_limit_holds() {
        let outflow = Outflow::default();
        outflow.begin(0, Ticks::of(Duration::from_secs(1)));
        outflow.look(2, None);
        assert!(!outflow.is_over(10) && outflow.is_over(11));
    }

    #[test]
    fn who_takes_briskly_has_not_been_waited_for() {
        let outflow = Outflow::default();
        outflow.begin(0, Ticks::of(Duration::from_secs(30)));
        assert_eq!(outflow.idle_since(0, 100), 0);
        outflow.look(2, Some(1 << 30));
        outflow.look(100, Some((1 << 30) - 50 * BRISK_TICK_BYTES));
        assert_eq!((outflow.idle_since(0, 100), outflow.idle_since(80, 100)), (50, 100));
    }
}
