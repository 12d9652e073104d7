//! How many connections clients may have at a listener, and how fast new ones may come: its keys.

use crate::config::clients::Pace;
use crate::config::quantity::Bounded;
use crate::config::table::tables;

tables! {
    /// How many connections clients may have, and how fast new ones may come
    ClientsSaid = CLIENTS "clients" {
        /// Connections at once, over all cores; whoever comes beyond that gets status 503
        max_connections: ConnectionCount,
        /// The same of one client; those of trusted proxies, who speak for many, and of Unix sockets are not counted
        max_client_connections: ClientConnectionCount,
        /// Bits of an IPv6 address that make a client [default: 64]
        client_v6_prefix: V6Prefix,
        /// New connections, such as `1000/s`, `300/m` or `5000/h`
        connection_rate: Pace,
        /// So many of them may come at once [default: as many as in a second]
        connection_burst: Burst,
        /// New connections from one client
        client_connection_rate: Pace,
        /// So many of them may come at once [default: as many as in a second]
        client_connection_burst: Burst,
    }
}

/// Connections of a listener.
pub(super) type ConnectionCount = Bounded<1, 10_000_000>;
/// Connections of a client.
pub(super) type ClientConnectionCount = Bounded<1, 60_000>;
/// Bits of an IPv6 address.
pub(super) type V6Prefix = Bounded<16, 128>;
/// New connections at once.
pub(super) type Burst = Bounded<1, 100_000>;
