//! A listening socket as the connections know it that came in there: which configuration holds for them, and which
//! listener of it they belong to.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use crate::net::Ticks;
use crate::proxy::client::visit::{Refused, Visit};
use crate::proxy::core::Core;
use crate::proxy::snapshot::Snapshot;

/// See the module. It outlives configurations, and its socket.
pub(crate) struct Inlet {
    /// The newest configuration that has a listener for it.
    snapshot: RefCell<Rc<Snapshot>>,
    /// That listener's place in it.
    place: Cell<usize>,
    /// Whether there is still a listener for it. Where there is none, connections end with the exchange that they
    /// are in, or with the next.
    open: Cell<bool>,
}

impl Inlet {
    /// For the listener with that place.
    pub(crate) fn new(snapshot: Rc<Snapshot>, place: usize) -> Inlet {
        Inlet { snapshot: RefCell::new(snapshot), place: Cell::new(place), open: Cell::new(true) }
    }

    /// From now on another configuration holds, and in it the listener of that name. If it has none, connections
    /// keep to what they have, and end; says whether it has one.
    pub(crate) fn follow(&self, snapshot: &Rc<Snapshot>, name: &str) -> bool {
        let place = snapshot.listener(name);
        match place {
            Some(place) => {
                *self.snapshot.borrow_mut() = snapshot.clone();
                self.place.set(place);
            }
            None => self.open.set(false),
        }
        place.is_some()
    }

    /// The same, in the listener that has the name of the one so far.
    pub(crate) fn follow_name(&self, snapshot: &Rc<Snapshot>) -> bool {
        let (before, place) = self.now();
        self.follow(snapshot, &before.listeners[place].name)
    }

    /// Whether there is a listener for it.
    pub(in crate::proxy) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Whether a connection of that peer has to begin with a header of the PROXY protocol.
    pub(crate) fn introduces(&self, peer: Option<IpAddr>) -> bool {
        self.snapshot.borrow().listeners[self.place.get()].introduced.contains(peer)
    }

    /// Counts a new connection of that peer. Of one that is introduced it is not known yet for whom it is, and one that
    /// is trusted speaks for many.
    ///
    /// # Errors
    /// There are too many, or they come too fast.
    pub(in crate::proxy) fn welcome(
        &self,
        core: &Core,
        peer: Option<IpAddr>,
        introduces: bool,
    ) -> Result<Visit, Refused> {
        let snapshot = self.snapshot.borrow();
        let listener = &snapshot.listeners[self.place.get()];
        let Some(rules) = &listener.clients else { return Ok(Visit::default()) };
        let client = peer.filter(|_| !introduces && !listener.trusted.contains(peer));
        rules.welcome(core.clock.now(), client)
    }

    /// Takes back that a connection was welcome just now, for which the process has no room.
    pub(in crate::proxy) fn give_back(&self, peer: Option<IpAddr>, introduces: bool) {
        let snapshot = self.snapshot.borrow();
        let listener = &snapshot.listeners[self.place.get()];
        if let Some(rules) = &listener.clients {
            rules.give_back(peer.filter(|_| !introduces && !listener.trusted.contains(peer)));
        }
    }

    /// Counts a connection for whom it turned out to be.
    ///
    /// # Errors
    /// As with [`Inlet::welcome`].
    pub(in crate::proxy) fn introduce(&self, core: &Core, client: Option<IpAddr>) -> Result<Visit, Refused> {
        let snapshot = self.snapshot.borrow();
        let listener = &snapshot.listeners[self.place.get()];
        let Some(rules) = &listener.clients else { return Ok(Visit::default()) };
        let client = client.filter(|_| !listener.trusted.contains(client));
        rules.introduce(core.clock.now(), client)
    }

    /// How long its connections wait between two requests.
    pub(in crate::proxy) fn keep_alive(&self) -> Ticks {
        self.snapshot.borrow().listeners[self.place.get()].keep_alive
    }

    /// What holds for a request that comes now.
    pub(in crate::proxy) fn now(&self) -> (Rc<Snapshot>, usize) {
        (self.snapshot.borrow().clone(), self.place.get())
    }
}
