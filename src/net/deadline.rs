//! Deadlines: how long each phase of a connection may last.
//!
//! Setting one costs a store. A sweep, ten times a second, finds those that have passed and ends the
//! direction of the socket that was waited on, so that the pending operation finishes by itself with
//! nothing in it. No operation is ever dropped half-way, and none needs a timer of its own.

#![allow(unsafe_code, reason = "borrows descriptors that the entries' owners keep open")]

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

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

/// The deadlines of all connections of one core.
#[derive(Default)]
pub(crate) struct Deadlines {
    now: Cell<u32>,
    entries: RefCell<Slab<Entry>>,
}

struct Entry {
    fd: RawFd,
    read: Cell<u32>,
    write: Cell<u32>,
    read_expired: Cell<bool>,
    write_expired: Cell<bool>,
    /// Set while the connection waits for a request: then its task is woken, and its socket left alone.
    idle: Cell<Option<Waker>>,
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
            idle: Cell::new(None),
        });
        Watch { table: self.clone(), key }
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
                entry.expire_write();
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

    /// Calls off the wait of every connection that waits for a request.
    pub(crate) fn end_idle(&self) {
        for (_, entry) in self.entries.borrow().iter() {
            entry.call_off();
        }
    }
}

impl Entry {
    fn expire_read(&self) {
        self.read.set(NEVER);
        if self.call_off() {
            return;
        }
        self.read_expired.set(true);
        self.shutdown(Direction::Read);
    }

    fn expire_write(&self) {
        self.write.set(NEVER);
        self.write_expired.set(true);
        self.shutdown(Direction::Both);
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

    /// Something must be written within `limit` from now.
    pub(crate) fn write_within(&self, limit: Ticks) {
        self.entry(|entry| entry.write.set(self.at(limit)));
    }

    /// What is being written must not go on: both directions end now.
    pub(crate) fn expire_write(&self) {
        self.entry(Entry::expire_write);
    }

    /// Reading has no deadline.
    pub(crate) fn clear_read(&self) {
        self.entry(|entry| entry.read.set(NEVER));
    }

    /// Writing has no deadline.
    pub(crate) fn clear_write(&self) {
        self.entry(|entry| entry.write.set(NEVER));
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
    use std::os::fd::AsRawFd;
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
    fn a_deadline_that_is_cleared_never_passes() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(socket.as_raw_fd());
        watch.read_within(Ticks(1));
        watch.write_within(Ticks(1));
        watch.clear_read();
        watch.clear_write();
        deadlines.sweep(1000);
        assert!(!watch.read_expired() && !watch.write_expired());
        drop(watch);
        assert!(deadlines.entries.borrow().is_empty());
    }
}
