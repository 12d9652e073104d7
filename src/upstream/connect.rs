//! Opening connections to endpoints.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::shared::Permit;
use super::slot::Slot;
use super::{Address, Node};
use crate::clock::Clock;
use crate::error::Reason;
use crate::net::stream::TcpOptions;
use crate::net::{Deadlines, Socket, Watch};

/// A connection to an endpoint, in use. Dropping it closes it: only one whose last response was
/// fully framed is given back.
pub(crate) struct Connection {
    /// The socket.
    pub(crate) socket: Socket,
    /// Its deadlines.
    pub(crate) watch: Watch,
    /// The request that uses it.
    pub(crate) slot: Slot,
    /// The address that it leads to, as text.
    pub(crate) shown: Rc<str>,
    /// Whether it has served a request before.
    pub(crate) reused: bool,
    /// Counts it.
    pub(super) permit: Permit,
    /// What it begins with: a header of the PROXY protocol, which says for whom. It serves nobody else.
    pub(crate) preamble: Option<Box<[u8]>>,
}

/// How connections are opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dial {
    /// What is set on sockets of TCP.
    pub(crate) tcp: TcpOptions,
}

impl Connection {
    /// The endpoint.
    pub(crate) fn node(&self) -> &Rc<Node> {
        self.slot.node()
    }

    /// Gives a connection whose last response was fully framed back to its endpoint at the tick `now`. It
    /// is closed if enough of them wait there, or if the endpoint has moved or is wanted no more.
    pub(crate) fn give_back(self, now: u32, clock: &Clock) {
        let node = self.node().clone();
        node.put(self, now, clock);
    }

    /// Closes it.
    pub(crate) fn close(self) {
        let Connection { socket, watch, .. } = self;
        drop(watch);
        socket.close();
    }
}

/// Connects to one of the endpoint's addresses, the first that answers, within `limit` in all.
///
/// # Errors
/// Why the last one failed.
pub(super) async fn connect(
    deadlines: &Rc<Deadlines>,
    slot: Slot,
    permit: Permit,
    limit: Duration,
    dial: &Dial,
) -> Result<Connection, Reason> {
    let (targets, first) = slot.node().targets();
    let count = targets.len();
    let mut left = limit;
    let mut reason = Reason::NameUnresolved;
    for turn in 0..count {
        let place = (first + turn) % count;
        let target = &targets[place];
        // Each leaves half of the time to those behind it.
        let part = if turn + 1 == count { left } else { left / 2 };
        left -= part;
        let attempt = async {
            match &target.address {
                Address::Ip(address) => Socket::connect(*address, &dial.tcp).await,
                Address::Unix(path) => Socket::connect_unix(path).await,
            }
        };
        match monoio::time::timeout(part, attempt).await {
            Ok(Ok(socket)) => {
                slot.node().answered_at(place);
                let watch = deadlines.watch(socket.fd());
                let shown = target.shown.clone();
                return Ok(Connection { socket, watch, slot, shown, reused: false, permit, preamble: None });
            }
            Ok(Err(error)) => reason = failure(&error),
            Err(_) => reason = Reason::UpstreamConnectTimeout,
        }
    }
    Err(reason)
}

/// What an attempt that failed is called. That descriptors ran out is not the endpoint's fault.
fn failure(error: &io::Error) -> Reason {
    match error.kind() {
        _ if [libc::EMFILE, libc::ENFILE].map(Some).contains(&error.raw_os_error()) => Reason::Overloaded,
        io::ErrorKind::ConnectionRefused => Reason::UpstreamRefused,
        io::ErrorKind::TimedOut => Reason::UpstreamConnectTimeout,
        io::ErrorKind::ConnectionReset => Reason::UpstreamReset,
        _ => Reason::UpstreamUnreachable,
    }
}
