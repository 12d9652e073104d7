//! A request in flight at an endpoint.

use std::rc::Rc;
use std::time::Duration;

use super::connect::{self, Dial};
use super::{Connection, Node};
use crate::clock::Clock;
use crate::error::Reason;
use crate::net::Deadlines;

/// Stands for a request in flight, which counts for as long as this value lives.
pub(crate) struct Slot {
    node: Rc<Node>,
    /// Whether the request counts over all cores.
    counted: bool,
}

impl Slot {
    /// A request goes there now; none if that may not have more. `counted` says whether it counts over all cores.
    pub(super) fn enter(node: &Rc<Node>, counted: bool) -> Option<Slot> {
        if counted && !node.shared.enter(&node.upstream, node.limits.get().requests_max) {
            return None;
        }
        node.in_flight.set(node.in_flight.get() + 1);
        Some(Slot { node: node.clone(), counted })
    }

    /// The endpoint.
    pub(crate) fn node(&self) -> &Rc<Node> {
        &self.node
    }

    /// A connection that has been used before: the last one of this core, or one that another has to spare.
    ///
    /// # Errors
    /// There is none; here is the slot again.
    pub(crate) fn reuse(
        self,
        deadlines: &Rc<Deadlines>,
        clock: &Clock,
        preamble: Option<&[u8]>,
    ) -> Result<Reused, Slot> {
        let node = self.node.clone();
        match node.take(self, preamble) {
            Ok(connection) => Ok(Reused { connection, taken_over: false }),
            Err(slot) if preamble.is_none() && node.shared.spare() > 0 => {
                let connection = node.take_over(slot, deadlines, clock)?;
                Ok(Reused { connection, taken_over: true })
            }
            Err(slot) => Err(slot),
        }
    }

    /// Opens a connection within `limit`. The endpoint remembers how that went.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn connect(
        self,
        deadlines: &Rc<Deadlines>,
        limit: Duration,
        dial: &Dial,
    ) -> Result<Connection, NotConnected> {
        let node = self.node.clone();
        let Some(permit) = node.shared.open(&node.upstream, node.limits.get().connections_max) else {
            return Err(NotConnected::Full);
        };
        match connect::connect(deadlines, self, permit, limit, dial).await {
            Ok(connection) => {
                node.score.reached();
                Ok(connection)
            }
            Err(reason) => Err(NotConnected::Failed(reason)),
        }
    }
}

/// A connection that has been used before.
pub(crate) struct Reused {
    pub(crate) connection: Connection,
    /// Whether another core had it to spare.
    pub(crate) taken_over: bool,
}

/// Why there is no connection.
pub(crate) enum NotConnected {
    /// There may be no more; others were faster.
    Full,
    /// It failed, for that reason.
    Failed(Reason),
}

impl Drop for Slot {
    fn drop(&mut self) {
        let node = &self.node;
        node.in_flight.set(node.in_flight.get() - 1);
        if self.counted {
            node.shared.leave(&node.upstream);
        }
    }
}
