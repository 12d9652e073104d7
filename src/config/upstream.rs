//! Where requests go.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Host, Origin};
use crate::http::authority;
use crate::limits::UpstreamLimits;

/// An upstream: a named group of endpoints that serve the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name; `default` for the one that `--origin` makes.
    pub name: String,
    /// Its endpoints; at least one, none twice.
    pub endpoints: Vec<EndpointSettings>,
    /// Whether endpoints see their own name in Host, rather than the client's.
    pub own_host: bool,
    /// What is asked of it, and for how long.
    pub limits: UpstreamLimits,
}

/// An endpoint of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share of the requests, from 1 to [`crate::limits::WEIGHT_MAX`].
    pub weight: u32,
}

/// Where an endpoint is: `10.0.0.1:9001`, `app.internal:80`, `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A host and a port from 1.
    Tcp(Host, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl EndpointAddress {
    /// What stands in a Host field for it: the port is left out where it is 80.
    pub fn authority(&self) -> String {
        match self {
            EndpointAddress::Tcp(host, 80) => host.to_string(),
            EndpointAddress::Tcp(host, port) => format!("{host}:{port}"),
            EndpointAddress::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl From<&Origin> for EndpointAddress {
    fn from(origin: &Origin) -> EndpointAddress {
        EndpointAddress::Tcp(origin.host.clone(), origin.port)
    }
}

impl std::fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EndpointAddress::Tcp(host, port) => write!(f, "{host}:{port}"),
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<EndpointAddress, String> {
        let wrong = |problem: &str| {
            format!("{text:?} {problem}; an endpoint is HOST:PORT such as 10.0.0.1:9001, or unix:PATH")
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(wrong("has no path")),
                path => Ok(EndpointAddress::Unix(PathBuf::from(path))),
            };
        }
        if text.contains("://") {
            return text.parse::<Origin>().map(|origin| EndpointAddress::from(&origin));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some(parts) if authority::is_valid(text.as_bytes()) => parts,
            _ => return Err(wrong("has no host and port")),
        };
        let port = port
            .parse()
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| wrong("has no port from 1 to 65535"))?;
        Ok(EndpointAddress::Tcp(Host::parse(host), port))
    }
}
