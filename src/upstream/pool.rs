//! An endpoint as one core knows it: its addresses, and the idle connections to it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Address, Connection, EndpointKey};
use crate::error::Reason;
use crate::net::{Socket, Ticks, Watch};

/// An endpoint of one core. It outlives configurations: one that a new configuration has as well stays,
/// with the connections that wait in it.
pub(crate) struct Node {
    key: EndpointKey,
    authority: String,
    targets: RefCell<Rc<[Target]>>,
    /// The one used last is on top.
    idle: RefCell<Vec<Idle>>,
    /// How many may wait, and for how long.
    bounds: Cell<PoolBounds>,
    /// Counts the sets of addresses that there have been: a connection to one that is over is not kept.
    generation: Cell<u32>,
    /// No configuration has the endpoint any more.
    retired: Cell<bool>,
    last_failure: Cell<Option<(u32, Reason)>>,
}

/// An address with its text, so that nothing has to be written anew for each request.
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) shown: Rc<str>,
}

/// Bounds on the connections that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolBounds {
    /// So many may wait.
    pub(crate) count_max: usize,
    /// For so long.
    pub(crate) time: Ticks,
}

/// A connection that waits to be used again. It does not hold its node, which holds it.
struct Idle {
    socket: Socket,
    watch: Watch,
    shown: Rc<str>,
    since: u32,
}

impl Node {
    /// A node without connections.
    pub(super) fn new(key: EndpointKey, addresses: &[Address], bounds: PoolBounds) -> Node {
        Node {
            authority: key.address.authority(),
            key,
            targets: RefCell::new(targets(addresses)),
            idle: RefCell::default(),
            bounds: Cell::new(bounds),
            generation: Cell::new(0),
            retired: Cell::new(false),
            last_failure: Cell::new(None),
        }
    }

    /// Which endpoint it is.
    pub(crate) fn key(&self) -> &EndpointKey {
        &self.key
    }

    /// Host and port as configured: what Host says when the client's is not preserved.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The tick at which a connection to it failed last and why, unless one has been opened since.
    pub(crate) fn last_failure(&self) -> Option<(u32, Reason)> {
        self.last_failure.get()
    }

    /// How many connections wait.
    pub(crate) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// The texts of its addresses, in the order in which they are tried; none while its name does not
    /// resolve.
    pub(crate) fn addresses(&self) -> Vec<Rc<str>> {
        self.targets.borrow().iter().map(|target| target.shown.clone()).collect()
    }

    /// The connection that was used last, if one is still open and quiet. Those that turn out not to be
    /// are closed: bytes that came behind a response must never be taken for the next one.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Connection> {
        let mut waiting = self.idle.borrow_mut();
        while let Some(Idle { socket, watch, shown, .. }) = waiting.pop() {
            if socket.sink.is_quiet() {
                let generation = self.generation.get();
                return Some(Connection {
                    socket,
                    watch,
                    node: self.clone(),
                    shown,
                    generation,
                    reused: true,
                });
            }
            socket.close();
        }
        None
    }

    /// Keeps a connection that came from here, if it leads where the endpoint is now and there is room.
    pub(super) fn put(&self, connection: Connection, now: u32) {
        let Connection { socket, watch, shown, generation, .. } = connection;
        let mut waiting = self.idle.borrow_mut();
        if self.retired.get()
            || generation != self.generation.get()
            || waiting.len() >= self.bounds.get().count_max
        {
            return socket.close();
        }
        watch.clear_read();
        watch.clear_write();
        waiting.push(Idle { socket, watch, shown, since: now });
    }

    /// Closes those that have waited too long, and those that the upstream has closed.
    pub(crate) fn expire(&self, now: u32) {
        let time = self.bounds.get().time;
        self.idle.borrow_mut().retain(|idle| {
            // A busy connection is looked at when it is taken; here only those that rest.
            let rests = idle.since != now;
            time.after(idle.since) > now && (!rests || idle.socket.sink.is_quiet())
        });
    }

    /// Takes other bounds. Connections beyond them are closed, those first that have waited longest.
    pub(super) fn set_bounds(&self, bounds: PoolBounds) {
        self.bounds.set(bounds);
        let mut waiting = self.idle.borrow_mut();
        let beyond = waiting.len().saturating_sub(bounds.count_max);
        waiting.drain(..beyond);
    }

    /// Takes other addresses. The connections to the old ones are closed, those in use when they come
    /// back. The same addresses change nothing; and none at all neither, for a name that does not resolve
    /// for now most likely still means what it meant.
    pub(super) fn set_addresses(&self, addresses: &[Address]) {
        let same = {
            let known = self.targets.borrow();
            known.iter().map(|target| &target.address).eq(addresses)
        };
        if !same && !addresses.is_empty() {
            *self.targets.borrow_mut() = targets(addresses);
            self.generation.set(self.generation.get().wrapping_add(1));
            self.idle.borrow_mut().clear();
        }
    }

    /// No configuration has the endpoint any more: no connection waits from here on. Exchanges that began
    /// before may still connect.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
    }

    /// The addresses to connect to, and which set of them this is.
    pub(super) fn targets(&self) -> (Rc<[Target]>, u32) {
        (self.targets.borrow().clone(), self.generation.get())
    }

    /// Remembers how connecting went at the tick `now`.
    pub(super) fn connected(&self, failure: Option<Reason>, now: u32) {
        self.last_failure.set(failure.map(|reason| (now, reason)));
    }
}

fn targets(addresses: &[Address]) -> Rc<[Target]> {
    let targets = addresses
        .iter()
        .map(|address| Target { address: address.clone(), shown: address.to_string().into() });
    targets.collect()
}
