//! Upstreams: which endpoint a request goes to, whether it may be sent again, and the connections
//! that wait to be used.
//!
//! ```text
//!   Upstream (of a core and a configuration)      Node (of a core; outlives configurations)
//!     name, limits, turns by weight   ──has──▶      addresses, idle connections, last failure
//!                                                     ▲
//!                                     Connection ─────┘  goes back to the node that it came from
//! ```
//!
//! `balance` and `retry` are pure, and so is what stands here; `pool`, `group` and `connect` do I/O.

pub mod balance;
pub(crate) mod connect;
pub(crate) mod group;
pub(crate) mod pool;
pub mod retry;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::config::EndpointAddress;
pub(crate) use connect::Connection;
pub(crate) use group::{Nodes, Upstream};
pub(crate) use pool::Node;

/// Which endpoint: the name of its upstream, and its address as configured. The same server in two
/// upstreams is two endpoints, for each has limits and a pool of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointKey {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Where it is, as configured.
    pub address: EndpointAddress,
}

/// What an endpoint's name stands for at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which one.
    pub key: EndpointKey,
    /// The addresses that its name resolves to, in the order in which they are tried; none while it does
    /// not resolve.
    pub addresses: Vec<Address>,
}

/// What can be connected to: `10.0.0.1:9001`, `[::1]:80`, `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        }
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
