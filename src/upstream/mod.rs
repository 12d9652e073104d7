//! Upstreams: which endpoint a request goes to, how endpoints are, whether a request may be sent again, and the
//! connections that wait to be used.
//!
//! ```text
//!   control side                     each core
//!   Roster (of the process)  ──▶     Upstream (of a configuration)        Node (outlives configurations)
//!     members: address, share,         name, limits, chooser   ──has──▶     addresses, idle connections,
//!     standing; breaker; ring                                               requests in flight, tally
//!        ▲                                                                    ▲    │
//!        └──────────────────── tallies: what succeeded, what failed ─────────│────┘
//!                                                        Connection ──────────┘  goes back where it came from
//! ```
//!
//! `balance`, `health`, `retry`, `sticky` and `roster` are pure, and so is what stands here; `shared` is what all cores
//! have in common; `lineup`, `pool`, `slot`, `group` and `connect` belong to one core, and do I/O.

pub mod balance;
pub(crate) mod connect;
pub(crate) mod group;
pub mod health;
mod lineup;
pub(crate) mod pool;
pub mod retry;
pub mod roster;
pub mod shared;
pub(crate) mod slot;
pub mod sticky;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::EndpointAddress;
use crate::http::point::point_of;
pub(crate) use connect::Connection;
pub(crate) use group::{Nodes, Unavailable, Upstream};
pub(crate) use pool::{Node, NodeReport};
pub use roster::{BreakerState, Member, Roster, Standing};

/// Which endpoint: the name of its upstream, and its address. The same server in two upstreams is two endpoints, for
/// each has limits and a pool of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Where it is.
    pub address: Address,
}

/// What can be connected to: `10.0.0.1:9001`, `[::1]:80`, `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address and a port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(Arc<Path>),
}

impl Address {
    /// The address, where it stands in the configuration and no name has to be looked up.
    pub fn literal(configured: &EndpointAddress) -> Option<Address> {
        match configured {
            EndpointAddress::Tcp(host, port) => host.with_port(*port).map(Address::Ip),
            EndpointAddress::Unix(path) => Some(Address::Unix(Arc::from(path.as_path()))),
            EndpointAddress::Srv(_) | EndpointAddress::File(_) => None,
        }
    }

    /// A number that stands for the address: the same in all processes, and hardly ever that of another.
    pub fn id(&self) -> u64 {
        point_of(self.to_string().as_bytes())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
