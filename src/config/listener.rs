//! Where clients come in, and what they may ask for there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

use super::Host;
use super::clients::ClientLimits;
use super::network::network;
use super::traffic::Traffic;
use crate::http::authority;
use crate::limits::ListenerLimits;

/// A listener: one or several addresses whose clients are treated alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name; `default` for the one that `--host` and `--port` make.
    pub name: String,
    /// Where it listens; at least one.
    pub addresses: Vec<ListenAddress>,
    /// What its clients may ask for.
    pub limits: ListenerLimits,
    /// Peers whose X-Forwarded-* fields are believed.
    pub trusted: Vec<TrustedPeer>,
    /// Peers that begin each connection with the PROXY protocol, version 1 or 2; who does not is refused.
    pub proxy_protocol: Vec<TrustedPeer>,
    /// How many connections its clients may have, and how fast new ones may come.
    pub clients: ClientLimits,
    /// What it does about traffic.
    pub traffic: Traffic,
}

/// An address to listen on: `127.0.0.1:8080`, `[::1]:0`, `localhost:80`, `unix:/run/ringway/web.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A host, which stands for all its addresses, and a port, 0 for any free one.
    Tcp(Host, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address, if no name has to be looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(host, port) => host.with_port(*port),
            ListenAddress::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddress::Tcp(host, port) => write!(f, "{host}:{port}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        let wrong = |problem: &str| {
            format!(
                "{text:?} {problem}; an address to listen on is HOST:PORT such as 127.0.0.1:8080, or unix:PATH"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(wrong("has no path")),
                path => Ok(ListenAddress::Unix(PathBuf::from(path))),
            };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some(parts) if authority::is_valid(text.as_bytes()) => parts,
            _ => return Err(wrong("has no host and port")),
        };
        let port = port.parse().map_err(|_| wrong("has no port from 0 to 65535"))?;
        Ok(ListenAddress::Tcp(Host::parse(host), port))
    }
}

/// A peer that may speak for others: a network such as `10.0.0.0/8`, an address, or `unix` for whoever comes
/// by a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedPeer {
    /// Peers of a network.
    Network(IpNet),
    /// Peers on Unix sockets.
    Unix,
}

impl std::fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TrustedPeer::Network(network) => network.fmt(f),
            TrustedPeer::Unix => f.write_str("unix"),
        }
    }
}

impl FromStr for TrustedPeer {
    type Err = String;

    fn from_str(text: &str) -> Result<TrustedPeer, String> {
        match text {
            "unix" => Ok(TrustedPeer::Unix),
            text => network(text).map(TrustedPeer::Network),
        }
    }
}
