//! Deadlines: how long each phase of a connection may last.
//!
//! Setting one costs a store. A sweep, ten times a second, finds those that have passed and ends the
//! direction of the socket that was waited on, so that the pending operation finishes by itself with
//! nothing in it. No operation is ever dropped half-way, and none needs a timer of its own. A write that waits is looked
//! at before: what its peer takes of what the kernel holds counts too.

#![allow(unsafe_code, reason = "borrows descriptors that the entries' owners keep open")]

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use super::headway::Headway;
use super::outflow::Outflow;
use super::sys::{self, Direction};

/// The length of a tick: how exact a deadline is.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A span of time in whole ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(u32);

impl Ticks {
    /// Rounds up, so that a limit is never cut short.
    pub(crate) fn of(span: Duration) -> Ticks {
        let ticks = span.as_millis().div_ceil(TICK.as_millis()).max(1);
        Ticks(u32::try_from(ticks).unwrap_or(u32::MAX / 2).min(u32::MAX / 2))
    }

    /// The span.
    pub(crate) fn span(self) -> Duration {
        TICK.saturating_mul(self.0)
    }

    /// The first tick by which the whole span has passed, if the tick `now` has already begun.
    pub(crate) fn after(self, now: u32) -> u32 {
        now.saturating_add(self.0).saturating_add(1)
    }

    /// How many ticks it is.
    pub(super) fn count(self) -> u32 {
        self.0
    }

    /// What comes in it at so many bytes a second.
    pub(super) fn at_rate(self, rate: u32) -> u32 {
        let ticks_a_second = 1000 / TICK.as_millis();
        let bytes = u128::from(rate) * u128::from(self.0) / ticks_a_second;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// What is left of it at the tick `now`, if it began at another.
    pub(crate) fn left(self, began: u32, now: u32) -> Ticks {
        Ticks(self.0.saturating_sub(now.saturating_sub(began)))
    }

    /// What is left after `other`.
    pub(crate) fn saturating_sub(self, other: Ticks) -> Ticks {
        Ticks(self.0.saturating_sub(other.0))
    }
}

/// No deadline.
const NEVER: u32 = u32::MAX;

/// Where clients have to be broken off, so many of those that are waited for go at once: a part of them, and at least a
/// few.
const BREAK_OFF_PART: usize = 8;
const BREAK_OFF_MIN: usize = 16;

/// Nobody is broken off who was waited for so few ticks.
const BREAK_OFF_TICKS: u32 = 2;

/// The deadlines of all connections of one core.
#[derive(Default)]
pub(crate) struct Deadlines {
    now: Cell<u32>,
    entries: RefCell<Slab<Entry>>,
}

struct Entry {
    fd: RawFd,
    read: Cell<u32>,
    /// The tick at which a write that waits is looked at.
    write: Cell<u32>,
    read_expired: Cell<bool>,
    write_expired: Cell<bool>,
    /// The ticks at which waiting for the peer began, in the middle of a message.
    read_since: Cell<u32>,
    write_since: Cell<u32>,
    /// Whether the peer is a client.
    is_client: Cell<bool>,
    /// Whether it was broken off to make room.
    broken_off: Cell<bool>,
    /// Set while the connection waits for a request: then its task is woken, and its socket left alone.
    idle: Cell<Option<Waker>>,
    outflow: Outflow,
}

impl Deadlines {
    /// Watches a socket. The caller keeps it open for as long as the watch lives.
    pub(crate) fn watch(self: &Rc<Self>, fd: RawFd) -> Watch {
        let key = self.entries.borrow_mut().insert(Entry {
            fd,
            read: Cell::new(NEVER),
            write: Cell::new(NEVER),
            read_expired: Cell::new(false),
            write_expired: Cell::new(false),
            read_since: Cell::new(NEVER),
            write_since: Cell::new(NEVER),
            is_client: Cell::new(false),
            broken_off: Cell::new(false),
            idle: Cell::new(None),
            outflow: Outflow::default(),
        });
        Watch { table: self.clone(), key, rate: Cell::new(0), reading: Headway::default() }
    }

    /// The current tick.
    pub(crate) fn now(&self) -> u32 {
        self.now.get()
    }

    /// Moves the time on to `now`, in ticks since the core started, and ends what is due.
    pub(crate) fn sweep(&self, now: u32) {
        self.now.set(now);
        for (_, entry) in self.entries.borrow().iter() {
            if entry.read.get() <= now {
                entry.expire_read();
            }
            if entry.write.get() <= now {
                entry.look_at_write(now);
            }
        }
    }

    /// Breaks every connection off with a reset: what was sent on it must not be taken for the whole.
    pub(crate) fn cut_all(&self) {
        for (_, entry) in self.entries.borrow().iter() {
            // SAFETY: as in `Entry::shutdown`.
            sys::reset(unsafe { BorrowedFd::borrow_raw(entry.fd) });
        }
    }

    /// Breaks off clients that are waited for in the middle of a message, those first that have been for longest: an
    /// eighth of them, and at least a few. Says how many. Clients that read briskly go only where there is nobody else.
    pub(crate) fn break_off_longest(&self) -> usize {
        let now = self.now.get();
        let entries = self.entries.borrow();
        let is_long = |since: u32| now.saturating_sub(since) >= BREAK_OFF_TICKS;
        let waits = |(key, entry): (usize, &Entry)| {
            entry
                .waits_since()
                .filter(|since| is_long(*since))
                .map(|since| (entry.idle_since(since, now), key))
        };
        let mut waiting: Vec<(u32, usize)> = entries.iter().filter_map(waits).collect();
        if waiting.iter().any(|(since, _)| is_long(*since)) {
            waiting.retain(|(since, _)| is_long(*since));
        }
        let count = (waiting.len() / BREAK_OFF_PART).max(BREAK_OFF_MIN).min(waiting.len());
        if count < waiting.len() {
            waiting.select_nth_unstable(count);
        }
        waiting[..count].iter().for_each(|(_, key)| entries[*key].break_off());
        count
    }

    /// Calls off the wait of every connection that waits for a request.
    pub(crate) fn end_idle(&self) {
        for (_, entry) in self.entries.borrow().iter() {
            entry.call_off();
        }
    }
}

impl Entry {
    fn expire_read(&self) {
        self.clear_read();
        if self.call_off() {
            return;
        }
        self.read_expired.set(true);
        self.shutdown(Direction::Read);
    }

    fn expire_write(&self) {
        self.clear_write();
        self.write_expired.set(true);
        self.shutdown(Direction::Both);
    }

    fn clear_read(&self) {
        self.read.set(NEVER);
        self.read_since.set(NEVER);
    }

    fn clear_write(&self) {
        self.write.set(NEVER);
        self.write_since.set(NEVER);
    }

    /// Since when a client is waited for, if it is.
    fn waits_since(&self) -> Option<u32> {
        let since = self.read_since.get().min(self.write_since.get());
        (self.is_client.get() && since != NEVER).then_some(since)
    }

    /// The same, less what a client that reads has made up for.
    fn idle_since(&self, since: u32, now: u32) -> u32 {
        if self.write_since.get() == NEVER {
            return since;
        }
        self.outflow.look(now, self.untaken());
        self.outflow.idle_since(since, now)
    }

    /// Ends a write that waits, if its time is over and nothing has moved meanwhile.
    fn look_at_write(&self, now: u32) {
        self.outflow.look(now, self.untaken());
        match self.outflow.is_over(now) {
            true => self.expire_write(),
            false => self.write.set(self.outflow.next_look(now)),
        }
    }

    fn untaken(&self) -> Option<u32> {
        // SAFETY: as in `Entry::shutdown`.
        sys::untaken(unsafe { BorrowedFd::borrow_raw(self.fd) })
    }

    fn break_off(&self) {
        self.broken_off.set(true);
        if self.write_since.get() == NEVER {
            self.expire_read();
        } else {
            self.expire_write();
        }
    }

    /// Wakes the task of an idle connection; says whether it was idle.
    fn call_off(&self) -> bool {
        match self.idle.take() {
            Some(waker) => {
                self.read.set(NEVER);
                waker.wake();
                true
            }
            None => false,
        }
    }

    fn shutdown(&self, direction: Direction) {
        // SAFETY: the entry goes before its socket is closed (see `Watch`), so the descriptor is open.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        sys::shutdown(fd, direction);
    }
}

/// The deadlines of one socket. Declared after the socket's owner in a struct or function, or dropped
/// with it on the same core before its descriptor can be given out again.
pub(crate) struct Watch {
    table: Rc<Deadlines>,
    key: usize,
    /// Bytes a second that the peer has to get forward while it is waited for; 0 is none.
    rate: Cell<u32>,
    reading: Headway,
}

impl Watch {
    fn entry<R>(&self, use_it: impl FnOnce(&Entry) -> R) -> R {
        use_it(&self.table.entries.borrow()[self.key])
    }

    fn at(&self, limit: Ticks) -> u32 {
        limit.after(self.table.now.get())
    }

    /// Something must be read within `limit` from now.
    pub(crate) fn read_within(&self, limit: Ticks) {
        self.entry(|entry| entry.read.set(self.at(limit)));
    }

    /// The peer is a client, which may be broken off to make room.
    pub(crate) fn is_of_client(&self) {
        self.entry(|entry| entry.is_client.set(true));
    }

    /// From now on the peer has to get forward by so many bytes a second, in each window of time that is spent waiting
    /// for it; 0 asks for nothing.
    pub(crate) fn set_rate(&self, rate: u32) {
        self.rate.set(rate);
        self.reading.reset();
        self.entry(|entry| entry.outflow.set_rate(rate));
    }

    /// A read of content begins, which may take `limit`.
    pub(crate) fn begin_read(&self, limit: Ticks) {
        let limit = match self.rate.get() {
            0 => limit,
            rate => self.reading.begin(self.table.now.get(), limit, rate),
        };
        self.entry(|entry| {
            entry.read.set(self.at(limit));
            entry.read_since.set(self.table.now.get());
        });
    }

    /// It has ended, with so many bytes.
    pub(crate) fn end_read(&self, count: usize) {
        self.clear_read();
        if self.rate.get() > 0 {
            self.reading.end(self.table.now.get());
            self.reading.moved(count);
        }
    }

    /// A write has to wait, for which it may take `limit`, unless the peer takes what the kernel holds.
    pub(crate) fn begin_write(&self, limit: Ticks) {
        let now = self.table.now.get();
        self.entry(|entry| {
            entry.write.set(entry.outflow.begin(now, limit));
            entry.write_since.set(now);
        });
    }

    /// It waits no more.
    pub(crate) fn end_write(&self) {
        self.entry(|entry| {
            entry.clear_write();
            entry.outflow.end(self.table.now.get());
        });
    }

    /// So many bytes were written.
    pub(crate) fn wrote(&self, count: usize) {
        self.entry(|entry| entry.outflow.wrote(count));
    }

    /// Whether a read that ran out of time did because the peer was too slow, and had not stopped; or because there was
    /// no room for one that slow.
    pub(crate) fn read_too_slowly(&self) -> bool {
        self.was_broken_off() || self.rate.get() > 0 && self.reading.was_too_slow()
    }

    /// The same for a write.
    pub(crate) fn wrote_too_slowly(&self) -> bool {
        self.was_broken_off() || self.entry(|entry| entry.outflow.was_too_slow())
    }

    fn was_broken_off(&self) -> bool {
        self.entry(|entry| entry.broken_off.get())
    }

    /// What is being written must not go on: both directions end now.
    pub(crate) fn expire_write(&self) {
        self.entry(Entry::expire_write);
    }

    /// Reading has no deadline.
    pub(crate) fn clear_read(&self) {
        self.entry(Entry::clear_read);
    }

    /// Writing has no deadline.
    pub(crate) fn clear_write(&self) {
        self.entry(Entry::clear_write);
    }

    /// Waits for `ready`, but not longer than `limit`. None if the time is over, or the wait was called
    /// off by [`Deadlines::end_idle`]; nothing is lost then.
    pub(crate) async fn idle_within<R>(&self, limit: Ticks, ready: impl Future<Output = R>) -> Option<R> {
        let mut ready = pin!(ready);
        let mut waiting = false;
        poll_fn(|cx| {
            if let Poll::Ready(result) = ready.as_mut().poll(cx) {
                self.entry(|entry| entry.idle.set(None));
                self.clear_read();
                return Poll::Ready(Some(result));
            }
            self.entry(|entry| {
                if !std::mem::replace(&mut waiting, true) {
                    entry.read.set(self.at(limit));
                    entry.idle.set(Some(cx.waker().clone()));
                    return Poll::Pending;
                }
                let waker = entry.idle.take();
                let called_off = waker.is_none();
                entry.idle.set(waker);
                if called_off { Poll::Ready(None) } else { Poll::Pending }
            })
        })
        .await
    }

    /// Whether the deadline for reading has passed.
    pub(crate) fn read_expired(&self) -> bool {
        self.entry(|entry| entry.read_expired.get())
    }

    /// Whether the deadline for writing has passed.
    pub(crate) fn write_expired(&self) -> bool {
        self.entry(|entry| entry.write_expired.get())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.table.entries.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    #[test]
    fn spans_round_up_to_whole_ticks() {
        assert_eq!(Ticks::of(Duration::from_millis(1)), Ticks(1));
        assert_eq!(Ticks::of(Duration::from_millis(101)), Ticks(2));
        assert_eq!(Ticks::of(Duration::MAX), Ticks(u32::MAX / 2));
    }

    #[test]
    fn a_span_is_used_up_tick_by_tick() {
        assert_eq!(Ticks(5).left(10, 10), Ticks(5));
        assert_eq!(Ticks(5).left(10, 13), Ticks(2));
        assert_eq!(Ticks(5).left(10, 99), Ticks(0));
    }

    #[test]
    fn a_deadline_that_passes_ends_the_read_and_says_so() {
        let (mut socket, _peer) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(socket.as_raw_fd());
        watch.read_within(Ticks(3));
        deadlines.sweep(3);
        assert!(!watch.read_expired());
        deadlines.sweep(4);
        assert!(watch.read_expired() && !watch.write_expired());
        assert_eq!(socket.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn clients_that_are_waited_for_longest_are_broken_off_first_and_nobody_else_is() {
        let deadlines = Rc::new(Deadlines::default());
        let mut sockets = Vec::new();
        let mut watch = |is_client: bool| {
            let (socket, peer) = UnixStream::pair().unwrap();
            let watch = deadlines.watch(socket.as_raw_fd());
            if is_client {
                watch.is_of_client();
            }
            sockets.push((socket, peer));
            watch
        };
        let (upstream, quiet, paced) = (watch(false), watch(true), watch(true));
        let waiting: Vec<Watch> = (0..BREAK_OFF_MIN + 2).map(|_| watch(true)).collect();
        let last = watch(true);
        upstream.begin_write(Ticks(1000));
        quiet.read_within(Ticks(1000));
        paced.begin_write(Ticks(1000));
        paced.end_write();
        for (number, watch) in (0..).zip(&waiting) {
            deadlines.sweep(number);
            if number % 2 == 0 { watch.begin_write(Ticks(1000)) } else { watch.begin_read(Ticks(1000)) }
        }
        let now = u32::try_from(waiting.len()).unwrap() + BREAK_OFF_TICKS;
        deadlines.sweep(now - 1);
        last.begin_write(Ticks(1000));
        deadlines.sweep(now);
        let is_over = |watch: &Watch| watch.read_expired() || watch.write_expired();
        assert_eq!(deadlines.break_off_longest(), BREAK_OFF_MIN);
        for (number, watch) in waiting.iter().enumerate() {
            assert_eq!(is_over(watch), number < BREAK_OFF_MIN, "{number}");
            assert_eq!(watch.read_too_slowly() && watch.wrote_too_slowly(), number < BREAK_OFF_MIN);
        }
        assert_eq!((deadlines.break_off_longest(), deadlines.break_off_longest()), (2, 0));
        assert!(![&upstream, &quiet, &paced, &last].into_iter().any(is_over));
    }

    #[test]
    fn a_deadline_that_is_cleared_never_passes() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(socket.as_raw_fd());
        watch.read_within(Ticks(1));
        watch.begin_write(Ticks(1));
        watch.clear_read();
        watch.clear_write();
        deadlines.sweep(1000);
        assert!(!watch.read_expired() && !watch.write_expired());
        drop(watch);
        assert!(deadlines.entries.borrow().is_empty());
    }

    /// Writes what a socket takes, and begins to wait for room.
    fn fill(socket: &impl AsFd, watch: &Watch, limit: Ticks) {
        while let Ok(count) = sys::send(socket.as_fd(), &[0; 4096]) {
            watch.wrote(count);
        }
        watch.begin_write(limit);
    }

    /// Takes bytes of what was written, and waits until the other end knows.
    fn take(socket: &impl AsFd, peer: &mut impl Read, bytes: usize) {
        let before = sys::untaken(socket.as_fd()).unwrap();
        peer.read_exact(&mut vec![0; bytes]).unwrap();
        for _ in 0..5000 {
            if sys::untaken(socket.as_fd()).unwrap() < before {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{before} bytes are still held");
    }

    #[test]
    fn a_peer_that_takes_what_the_kernel_holds_is_not_given_up_until_it_stops() {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(socket.as_raw_fd());
        watch.set_rate(64);
        fill(&socket, &watch, Ticks(20));
        for now in 1..=100 {
            if now % 10 == 0 {
                take(&socket, &mut peer, 4096);
            }
            deadlines.sweep(now);
            assert!(!watch.write_expired(), "it read all the while, until tick {now}");
        }
        (101..=150).for_each(|now| deadlines.sweep(now));
        assert!(watch.write_expired());
    }

    #[test]
    fn clients_that_read_are_broken_off_behind_those_that_do_not_however_long_they_have_been_waited_for() {
        let deadlines = Rc::new(Deadlines::default());
        let mut clients: Vec<_> = (0..BREAK_OFF_MIN + 1)
            .map(|_| {
                let (socket, peer) = UnixStream::pair().unwrap();
                let watch = deadlines.watch(socket.as_raw_fd());
                watch.is_of_client();
                (socket, peer, watch)
            })
            .collect();
        for (number, (socket, _, watch)) in (0..).zip(&clients) {
            deadlines.sweep(number);
            fill(socket, watch, Ticks(1000));
        }
        (20..24).for_each(|now| deadlines.sweep(now));
        let (socket, peer, _) = &mut clients[0];
        take(socket, peer, 60_000);
        assert_eq!(deadlines.break_off_longest(), BREAK_OFF_MIN);
        let over: Vec<bool> = clients.iter().map(|(_, _, watch)| watch.write_expired()).collect();
        assert!(!over[0] && over[1..].iter().all(|over| *over), "{over:?}");
        assert_eq!(deadlines.break_off_longest(), 1, "where there is nobody else, it goes too");
        assert!(clients[0].2.write_expired());
    }
}
