//! Opening connections to endpoints.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::{Address, Node};
use crate::error::Reason;
use crate::net::{Deadlines, Socket, Watch};

/// A connection to an endpoint, in use. Dropping it closes it: only one whose last response was
/// fully framed is given back.
pub(crate) struct Connection {
    /// The socket.
    pub(crate) socket: Socket,
    /// Its deadlines.
    pub(crate) watch: Watch,
    /// The endpoint.
    pub(crate) node: Rc<Node>,
    /// The address that it leads to, as text.
    pub(crate) shown: Rc<str>,
    /// Which set of the endpoint's addresses that one belongs to.
    pub(super) generation: u32,
    /// Whether it has served a request before.
    pub(crate) reused: bool,
}

impl Connection {
    /// Gives a connection whose last response was fully framed back to its endpoint at the tick `now`. It
    /// is closed if enough of them wait there, or if the endpoint has moved or is wanted no more.
    pub(crate) fn give_back(self, now: u32) {
        let node = self.node.clone();
        node.put(self, now);
    }
}

/// Connects to one of the endpoint's addresses, the first that answers, within `limit` in all. The endpoint
/// remembers how that went.
///
/// # Errors
/// Why the last one failed.
pub(crate) async fn connect(
    deadlines: &Rc<Deadlines>,
    node: &Rc<Node>,
    limit: Duration,
) -> Result<Connection, Reason> {
    let (targets, generation) = node.targets();
    let attempt = async {
        let mut reason = Reason::NameUnresolved;
        for target in targets.iter() {
            let opened = match &target.address {
                Address::Ip(address) => Socket::connect(*address).await,
                Address::Unix(path) => Socket::connect_unix(path).await,
            };
            match opened {
                Ok(socket) => {
                    let watch = deadlines.watch(socket.fd());
                    let (node, shown) = (node.clone(), target.shown.clone());
                    return Ok(Connection { socket, watch, node, shown, generation, reused: false });
                }
                Err(error) => reason = failure(&error),
            }
        }
        Err(reason)
    };
    let result = monoio::time::timeout(limit, attempt).await.unwrap_or(Err(Reason::UpstreamConnectTimeout));
    node.connected(result.as_ref().err().copied(), deadlines.now());
    result
}

fn failure(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::UpstreamRefused,
        io::ErrorKind::TimedOut => Reason::UpstreamConnectTimeout,
        io::ErrorKind::ConnectionReset => Reason::UpstreamReset,
        _ => Reason::UpstreamUnreachable,
    }
}
