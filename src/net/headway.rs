//! Whether a peer that is waited for gets forward fast enough.
//!
//! Only the time counts that was spent waiting for the peer, a window of it at a time; in each window so many bytes
//! have to move as the rate asks for. A wait in a window that has not seen them yet ends with the window. So a peer that
//! moves a byte now and then puts off the limit on each of its steps, but not this.
//!
//! ```text
//!   waiting   ├───┤  ├──────┤ ├──────────┤        the upstream's time, in between, does not count
//!   bytes        1         1            ✗         here a whole window is over
//! ```

use std::cell::Cell;

use super::deadline::Ticks;

/// One direction of a connection: what moved in its window, and how much of the window is over.
#[derive(Default)]
pub(super) struct Headway {
    bytes: Cell<u32>,
    /// What of them was seen to leave the kernel's buffer. The room that they left is written to later.
    seen: Cell<u32>,
    /// In ticks.
    waited: Cell<u32>,
    /// The tick at which the wait began that goes on, if one does.
    began: Cell<Option<u32>>,
    /// Whether that wait ends with the window, for want of bytes.
    is_cut: Cell<bool>,
}

impl Headway {
    /// Begins anew.
    pub(super) fn reset(&self) {
        self.bytes.set(0);
        self.seen.set(0);
        self.waited.set(0);
        self.began.set(None);
        self.is_cut.set(false);
    }

    /// So many bytes have moved.
    pub(super) fn moved(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let seen = self.seen.get().min(count);
        self.seen.set(self.seen.get() - seen);
        self.add(count - seen);
    }

    /// So many bytes have left the kernel's buffer, while it is waited for room in it.
    pub(super) fn drained(&self, count: u32) {
        self.seen.set(self.seen.get().saturating_add(count));
        self.add(count);
    }

    fn add(&self, count: u32) {
        self.bytes.set(self.bytes.get().saturating_add(count));
    }

    /// A wait begins at the tick `now`, which may last `limit`. Returns how long it may last where `rate` bytes a second
    /// are asked for: a window is as long as the limit.
    pub(super) fn begin(&self, now: u32, limit: Ticks, rate: u32) -> Ticks {
        self.began.set(Some(now));
        let wanted = limit.at_rate(rate);
        if self.waited.get() >= limit.count() && self.bytes.get() >= wanted {
            self.waited.set(0);
            self.bytes.set(0);
        }
        let is_cut = self.bytes.get() < wanted;
        self.is_cut.set(is_cut);
        if is_cut { limit.left(0, self.waited.get()) } else { limit }
    }

    /// The wait is over, at the tick `now`, if there was one.
    pub(super) fn end(&self, now: u32) {
        if let Some(began) = self.began.take() {
            self.waited.set(self.waited.get().saturating_add(now.saturating_sub(began)));
        }
    }

    /// Whether a wait whose time has passed was cut short by the rate: something had moved, but too little.
    pub(super) fn was_too_slow(&self) -> bool {
        self.is_cut.get() && self.bytes.get() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A peer that moves `bytes` after each wait of so many ticks; the tick at which it is given up, and whether for
    /// being too slow.
    fn given_up(limit: Ticks, rate: u32, mut step: impl FnMut(u32) -> (u32, usize)) -> Option<(u32, bool)> {
        let headway = Headway::default();
        let mut now = 1000;
        for round in 0..1000 {
            let left = headway.begin(now, limit, rate);
            let (wait, bytes) = step(round);
            if wait > left.count() {
                return Some((now + left.count() - 1000, headway.was_too_slow()));
            }
            now += wait;
            headway.end(now);
            headway.moved(bytes);
        }
        None
    }

    fn seconds(count: u64) -> Ticks {
        Ticks::of(Duration::from_secs(count))
    }

    #[test]
    fn a_byte_now_and_then_ends_with_the_first_window() {
        assert_eq!(given_up(seconds(30), 64, |_| (290, 1)), Some((300, true)));
        assert_eq!(given_up(seconds(30), 64, |_| (10, 1)), Some((300, true)));
        assert_eq!(given_up(seconds(30), 64, |_| (1, 1)), Some((300, true)));
    }

    #[test]
    fn a_peer_that_does_nothing_is_not_slow_but_stalled() {
        assert_eq!(given_up(seconds(30), 64, |_| (301, 0)), Some((300, false)));
    }

    #[test]
    fn a_peer_at_the_rate_goes_on_without_end() {
        assert_eq!(given_up(seconds(30), 64, |_| (10, 64)), None);
        assert_eq!(given_up(seconds(30), 64, |_| (1, 7)), None);
        assert_eq!(given_up(seconds(1), 1000, |_| (10, 1000)), None);
        assert_eq!(
            given_up(seconds(30), 64, |round| if round % 2 == 0 { (300, 0) } else { (0, 1920) }),
            None
        );
    }

    #[test]
    fn a_peer_that_is_never_waited_for_goes_on_without_end() {
        assert_eq!(given_up(seconds(30), 64, |_| (0, 1)), None);
    }

    #[test]
    fn a_burst_buys_one_window_and_not_the_next() {
        let (when, slow) =
            given_up(seconds(30), 64, |round| if round == 0 { (1, 1 << 20) } else { (250, 1) }).unwrap();
        assert!(slow && (300..=900).contains(&when), "{when}");
    }

    #[test]
    fn the_end_of_a_wait_that_never_began_counts_for_nothing() {
        let headway = Headway::default();
        headway.end(1_000_000);
        assert_eq!((headway.waited.get(), headway.begin(1_000_000, seconds(30), 64)), (0, seconds(30)));
        headway.end(1_000_010);
        headway.end(2_000_000);
        assert_eq!(headway.waited.get(), 10, "nor does a second end of the same wait");
        headway.begin(3_000_000, seconds(30), 64);
        headway.reset();
        headway.end(4_000_000);
        assert_eq!(headway.waited.get(), 0, "nor what began before it began anew");
    }

    #[test]
    fn without_a_rate_each_wait_has_its_limit() {
        assert_eq!(given_up(seconds(30), 0, |_| (300, 1)), None);
        assert_eq!(given_up(seconds(30), 0, |_| (301, 1)), Some((300, false)));
    }
}
