//! Opening connections to endpoints.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::Endpoint;
use crate::error::Reason;
use crate::net::{Deadlines, Socket, Watch};

/// A connection to an endpoint, in use. Dropping it closes it: only one whose last response was
/// fully framed goes back to the pool.
pub(crate) struct Connection {
    /// The socket.
    pub(crate) socket: Socket,
    /// Its deadlines.
    pub(crate) watch: Watch,
    /// The endpoint's place in the upstream.
    pub(crate) endpoint: usize,
    /// The address that it leads to.
    pub(crate) address: SocketAddr,
    /// Which set of endpoints that place belongs to: see [`super::Pool::clear`].
    pub(crate) generation: u32,
    /// Whether it has served a request before.
    pub(crate) reused: bool,
}

/// Connects to one of the endpoint's addresses, the first that answers, within `limit` in all.
///
/// # Errors
/// Why the last one failed.
pub(crate) async fn connect(
    deadlines: &Rc<Deadlines>,
    (place, generation): (usize, u32),
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<Connection, Reason> {
    let attempt = async {
        let mut reason = Reason::NameUnresolved;
        for &address in &endpoint.addresses {
            match Socket::connect(address).await {
                Ok(socket) => {
                    let watch = deadlines.watch(socket.fd());
                    return Ok(Connection {
                        socket,
                        watch,
                        endpoint: place,
                        generation,
                        address,
                        reused: false,
                    });
                }
                Err(error) => reason = failure(&error),
            }
        }
        Err(reason)
    };
    monoio::time::timeout(limit, attempt).await.unwrap_or(Err(Reason::UpstreamConnectTimeout))
}

fn failure(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::UpstreamRefused,
        io::ErrorKind::TimedOut => Reason::UpstreamConnectTimeout,
        io::ErrorKind::ConnectionReset => Reason::UpstreamReset,
        _ => Reason::UpstreamUnreachable,
    }
}
