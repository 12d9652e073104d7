//! What holds for one exchange, from its first byte to its last, whatever is configured meanwhile.

use std::rc::Rc;

use super::inlet::Inlet;
use super::snapshot::{ExchangeTimes, ListenerRules, Snapshot};
use crate::net::Ticks;

/// See the module.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(super) snapshot: Rc<Snapshot>,
    /// The place of the listener by which the client came.
    listener: usize,
    pub(super) times: ExchangeTimes,
}

impl Terms {
    /// For a request that comes in there now.
    pub(super) fn of(inlet: &Inlet) -> Terms {
        let (snapshot, listener) = inlet.now();
        let upstream = &snapshot.upstream;
        let times = ExchangeTimes {
            first_byte: Ticks::of(upstream.first_byte),
            upstream_idle: Ticks::of(upstream.idle),
            ..snapshot.listeners[listener].times()
        };
        Terms { snapshot, listener, times }
    }

    /// The rules of the listener.
    pub(super) fn listener(&self) -> &ListenerRules {
        &self.snapshot.listeners[self.listener]
    }

    /// This proxy's name in Via.
    pub(super) fn via(&self) -> &[u8] {
        self.snapshot.via.as_bytes()
    }
}
