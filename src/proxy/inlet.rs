//! A listener as the connections know it that came in there: which configuration holds for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::snapshot::Snapshot;
use crate::net::Ticks;

/// See the module. It outlives configurations, and the sockets of its listener.
pub(crate) struct Inlet {
    /// The newest configuration that has the listener.
    snapshot: RefCell<Rc<Snapshot>>,
    /// The listener's place in it.
    place: Cell<usize>,
    /// Whether the listener is still there. Where it is not, connections end with the exchange that they are
    /// in, or with the next.
    open: Cell<bool>,
}

impl Inlet {
    /// The listener with that place.
    pub(crate) fn new(snapshot: Rc<Snapshot>, place: usize) -> Inlet {
        Inlet { snapshot: RefCell::new(snapshot), place: Cell::new(place), open: Cell::new(true) }
    }

    /// From now on another configuration holds.
    pub(crate) fn follow(&self, snapshot: Rc<Snapshot>, place: usize) {
        *self.snapshot.borrow_mut() = snapshot;
        self.place.set(place);
    }

    /// The listener is gone.
    pub(crate) fn close(&self) {
        self.open.set(false);
    }

    /// Whether it is there.
    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// How long its connections wait between two requests.
    pub(super) fn keep_alive(&self) -> Ticks {
        self.snapshot.borrow().listeners[self.place.get()].keep_alive
    }

    /// What holds for a request that comes now.
    pub(super) fn now(&self) -> (Rc<Snapshot>, usize) {
        (self.snapshot.borrow().clone(), self.place.get())
    }
}
