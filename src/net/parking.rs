//! Where idle connections wait without a task and without a buffer: a descriptor, an address and a
//! deadline each.
//!
//! A connection that has been quiet for a moment comes here; an epoll instance per core watches all
//! of them. The first byte brings it back as a task.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use monoio::net::TcpStream;
use slab::Slab;

use super::deadline::Ticks;
use super::sys::{self, Epoll};

/// A connection that waits, with what is known of it.
pub(crate) struct Parked<T> {
    /// Its descriptor.
    pub(crate) fd: OwnedFd,
    /// What is known of it.
    pub(crate) known: T,
    until: u32,
    /// Those that came just before and just after it.
    before: u32,
    after: u32,
}

/// No connection.
const NOBODY: u32 = u32::MAX;

/// The idle connections of one core.
pub(crate) struct ParkingLot<T> {
    epoll: Epoll,
    parked: RefCell<Row<T>>,
    /// How many came since memory was last given back.
    arrivals: Cell<u32>,
    /// The same, a second ago.
    arrivals_before: Cell<u32>,
}

/// Those that wait, as a list in the order in which they came.
struct Row<T> {
    slab: Slab<Parked<T>>,
    oldest: u32,
    newest: u32,
}

impl<T> Default for Row<T> {
    fn default() -> Row<T> {
        Row { slab: Slab::new(), oldest: NOBODY, newest: NOBODY }
    }
}

impl<T> Row<T> {
    /// Puts one at the end, where its key says.
    fn push(&mut self, fd: OwnedFd, known: T, until: u32) {
        let key = u32::try_from(self.slab.vacant_key()).unwrap_or(NOBODY);
        let before = std::mem::replace(&mut self.newest, key);
        match self.slab.get_mut(before as usize) {
            Some(before) => before.after = key,
            None => self.oldest = key,
        }
        self.slab.insert(Parked { fd, known, until, before, after: NOBODY });
    }

    fn remove(&mut self, key: u32) -> Option<Parked<T>> {
        let parked = self.slab.try_remove(key as usize)?;
        match self.slab.get_mut(parked.before as usize) {
            Some(before) => before.after = parked.after,
            None => self.oldest = parked.after,
        }
        match self.slab.get_mut(parked.after as usize) {
            Some(after) => after.before = parked.before,
            None => self.newest = parked.before,
        }
        Some(parked)
    }
}

/// So many connections leave enough memory behind, of their tasks, to be worth giving back.
const ARRIVALS_WORTH_A_TRIM: u32 = 256;

impl<T> ParkingLot<T> {
    /// An empty lot.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<ParkingLot<T>> {
        Ok(ParkingLot {
            epoll: Epoll::new()?,
            parked: RefCell::default(),
            arrivals: Cell::default(),
            arrivals_before: Cell::default(),
        })
    }

    /// Lets a connection wait, at most `limit` from the tick `now`. If it cannot be watched it is closed;
    /// says whether it waits.
    pub(crate) fn park(&self, fd: OwnedFd, known: T, now: u32, limit: Ticks) -> bool {
        let mut row = self.parked.borrow_mut();
        let watched = self.epoll.add(fd.as_fd(), row.slab.vacant_key() as u64).is_ok();
        if watched {
            row.push(fd, known, limit.after(now));
            self.arrivals.set(self.arrivals.get() + 1);
        }
        watched
    }

    /// Gives every connection that has something to read to `resume`, for as long as it is polled.
    ///
    /// # Errors
    /// The driver cannot watch the lot.
    pub(crate) async fn attend(&self, mut resume: impl FnMut(Parked<T>)) -> io::Result<()> {
        // monoio waits for readiness on streams; what the descriptor is does not matter to that.
        let bell = TcpStream::from_std(std::net::TcpStream::from(self.epoll.try_clone_fd()?))?;
        let mut ready = Vec::new();
        loop {
            bell.readable(false).await?;
            loop {
                self.epoll.ready(&mut ready);
                for &key in &ready {
                    if let Some(parked) = self.leave(key) {
                        resume(parked);
                    }
                }
                if ready.is_empty() {
                    break;
                }
            }
        }
    }

    fn leave(&self, key: u64) -> Option<Parked<T>> {
        let parked = self.parked.borrow_mut().remove(u32::try_from(key).ok()?)?;
        self.epoll.remove(parked.fd.as_fd());
        Some(parked)
    }

    /// Closes those whose time is over, and says how many. After a wave of arrivals, the memory of
    /// their tasks goes back to the kernel. To be called about once a second.
    pub(crate) fn expire(&self, now: u32) -> usize {
        let arrivals = self.arrivals.get();
        let wave_is_over = arrivals > 0 && arrivals == self.arrivals_before.get();
        if arrivals >= ARRIVALS_WORTH_A_TRIM || wave_is_over {
            self.arrivals.set(0);
            sys::trim_heap();
        }
        self.arrivals_before.set(self.arrivals.get());
        let mut row = self.parked.borrow_mut();
        let is_due = |(key, waiting): (usize, &Parked<T>)| (waiting.until <= now).then_some(key);
        let due: Vec<usize> = row.slab.iter().filter_map(is_due).collect();
        due.iter().filter_map(|key| row.remove(u32::try_from(*key).ok()?)).count()
    }

    /// Closes those that have waited longest, at most `count` of them, and says how many.
    pub(crate) fn close_oldest(&self, count: usize) -> usize {
        let mut row = self.parked.borrow_mut();
        let close = |_| {
            let oldest = row.oldest;
            row.remove(oldest).map(drop)
        };
        (0..count).map_while(close).count()
    }

    /// Closes all, and says how many.
    pub(crate) fn clear(&self) -> usize {
        let row = self.parked.take();
        row.slab.len()
    }
}
