//! Upstreams: which endpoint a request goes to, whether it may be sent again, and the connections
//! that wait to be used.
//!
//! `balance` and `retry` are pure; `pool` and `connect` do I/O.

pub mod balance;
pub(crate) mod connect;
pub(crate) mod pool;
pub mod retry;

use std::net::SocketAddr;

pub(crate) use connect::Connection;
pub(crate) use pool::Pool;

/// An address that requests are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port as configured: what Host says when the client's is not preserved.
    pub authority: String,
    /// The addresses that the host resolves to; none while it does not.
    pub addresses: Vec<SocketAddr>,
}
