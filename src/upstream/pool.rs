//! Idle connections to endpoints, kept by the core that opened them.

use std::cell::{Cell, RefCell};

use super::Connection;
use crate::net::Ticks;

/// A connection that waits to be used again.
struct Idle {
    connection: Connection,
    since: u32,
}

/// The idle connections of one core, by endpoint, the one used last on top.
pub(crate) struct Pool {
    shelves: RefCell<Vec<Vec<Idle>>>,
    generation: Cell<u32>,
    idle_max: usize,
}

impl Pool {
    /// A pool that keeps at most `idle_max` connections for each endpoint.
    pub(crate) fn new(idle_max: usize) -> Pool {
        Pool { shelves: RefCell::default(), generation: Cell::new(0), idle_max }
    }

    /// The connection to that endpoint that was used last, if one is still open and quiet. Those
    /// that turn out not to be are closed: bytes that came behind a response must never be taken for
    /// the next one.
    pub(crate) fn take(&self, endpoint: usize) -> Option<Connection> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.get_mut(endpoint)?;
        while let Some(idle) = shelf.pop() {
            if idle.connection.socket.sink.is_quiet() {
                return Some(Connection { reused: true, ..idle.connection });
            }
            idle.connection.socket.close();
        }
        None
    }

    /// Keeps a connection whose last response was fully framed, or closes it if there are enough.
    pub(crate) fn put(&self, connection: Connection, now: u32) {
        if connection.generation != self.generation.get() {
            return connection.socket.close();
        }
        connection.watch.clear_read();
        connection.watch.clear_write();
        let mut shelves = self.shelves.borrow_mut();
        if shelves.len() <= connection.endpoint {
            shelves.resize_with(connection.endpoint + 1, Vec::new);
        }
        let shelf = &mut shelves[connection.endpoint];
        if shelf.len() < self.idle_max {
            shelf.push(Idle { connection, since: now });
        } else {
            connection.socket.close();
        }
    }

    /// Closes those that have waited longer than `limit`, and those that the upstream has closed.
    pub(crate) fn expire(&self, now: u32, limit: Ticks) {
        for shelf in self.shelves.borrow_mut().iter_mut() {
            shelf.retain(|idle| {
                // A busy connection is looked at when it is taken; here only those that rest.
                let rests = idle.since != now;
                limit.after(idle.since) > now && (!rests || idle.connection.socket.sink.is_quiet())
            });
        }
    }

    /// Which set of endpoints connections are opened to now.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// Closes all connections, after a change of the endpoints' addresses; those in use are closed
    /// when they come back.
    pub(crate) fn clear(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        self.shelves.borrow_mut().clear();
    }
}
