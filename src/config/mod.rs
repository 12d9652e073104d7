//! From text to [`Settings`]: the command line, the environment and the file say the same things in
//! the same words, and the result is valid or does not exist.

mod admin;
pub mod browsers;
mod cache;
pub mod clients;
pub mod coding;
mod environment;
pub mod flow;
#[doc(hidden)]
pub mod fuzz;
pub mod holding;
pub mod identity;
pub mod keys;
mod listener;
pub mod matching;
mod name_server;
pub mod network;
mod options;
mod origin;
pub mod passwords;
mod print;
pub mod probes;
pub mod problem;
mod quantity;
mod read;
mod reader;
pub mod route;
pub mod rules;
mod schema;
pub mod security;
pub mod source;
mod suggest;
mod table;
pub mod template;
pub mod tokens;
mod traffic;
mod upstream;
mod words;

pub use admin::{AdminAddress, AdminSettings, Token, default_socket, reach};
pub use cache::CacheSettings;
pub use listener::{ListenAddress, ListenerSettings, TrustedPeer};
pub use options::Options;
pub use origin::Origin;
pub use print::print;
pub use problem::{Problem, Problems};
pub use read::{Loaded, Places, load, of_origin};
pub use route::RouteSettings;
pub use schema::schema;
pub use traffic::Traffic;
pub use upstream::{
    Balance, Breaker, Ejection, EndpointAddress, EndpointSettings, HashBy, HttpProbe, Probe, ProbeAsk,
    ProxyVersion, Queue, Retry, Sticky, UpstreamSettings, WhenDown,
};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::route::ErrorPages;
use crate::limits::HeadLimits;
use crate::observe::Format;

/// A file to start from: every part of the format, with what it is for.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Everything that a run needs to know, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many worker threads, each on its own core; `None` is one for each core there is.
    pub cores: Option<usize>,
    /// Which driver the workers use.
    pub driver: DriverChoice,
    /// Where clients come in; at least one, with different names and addresses.
    pub listeners: Vec<ListenerSettings>,
    /// Where requests go; every route's are among them.
    pub upstreams: Vec<UpstreamSettings>,
    /// Idle connections to upstreams, over all endpoints and cores.
    pub upstream_idle: usize,
    /// The name servers that names of endpoints are looked up at; none are those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// What becomes of which requests, in the order of the file.
    pub routes: Vec<RouteSettings>,
    /// Sets of rules for requests, which listeners and routes name.
    pub rule_sets: Vec<rules::RuleSet>,
    /// Rates, which listeners and routes name.
    pub rates: Vec<flow::Rate>,
    /// Ways to authenticate, which listeners and routes name.
    pub auths: Vec<identity::Auth>,
    /// Pages for errors that the proxy answers by itself.
    pub error_pages: ErrorPages,
    /// Bounds on the heads of responses.
    pub response_head: HeadLimits,
    /// What the process may hold.
    pub room: Room,
    /// From the signal to stop until what is still open is cut.
    pub drain: Duration,
    /// This proxy's name in Via.
    pub via: String,
    /// Whether TRACE is passed on.
    pub trace: bool,
    /// How exchanges are logged.
    pub access_log: Format,
    /// The cache, unless it is off.
    pub cache: Option<CacheSettings>,
    /// Where orders come from while the proxy runs.
    pub admin: AdminSettings,
}

#[cfg(test)]
impl Settings {
    /// The defaults, with one origin that nothing listens on.
    pub(crate) fn for_tests() -> Settings {
        let origin = "http://127.0.0.1:1".parse().unwrap();
        let options = Options { origin: Some(vec![origin]), ..Options::default() };
        options.into_settings(None).unwrap()
    }
}

/// What the process may hold, over all listeners and cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Connections of clients; by default as many as there are descriptors for, with those that upstreams and the rest
    /// need.
    pub connections_max: Option<u32>,
    /// Bytes of memory for buffers; by default there is no limit.
    pub memory_max: Option<u64>,
}

/// An address, or a name that has to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

impl Host {
    /// Reads a host. An address may stand in brackets.
    pub fn parse(text: &str) -> Host {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_or_else(|_| Host::Name(text.to_owned()), Host::Address)
    }

    /// The address with a port, if no name has to be looked up.
    pub fn with_port(&self, port: u16) -> Option<SocketAddr> {
        match self {
            Host::Address(address) => Some(SocketAddr::new(*address, port)),
            Host::Name(_) => None,
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Address(address) => address.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// Which driver the workers use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring, or epoll where the kernel refuses it.
    #[default]
    Auto,
    /// io_uring; it is an error if the kernel refuses it.
    Uring,
    /// epoll.
    Epoll,
}

impl std::str::FromStr for DriverChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DriverChoice, String> {
        match text {
            "auto" => Ok(DriverChoice::Auto),
            "io_uring" | "uring" => Ok(DriverChoice::Uring),
            "epoll" => Ok(DriverChoice::Epoll),
            _ => Err(format!("{text:?} is no driver: auto, io_uring, epoll")),
        }
    }
}

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The command line or the environment is wrong: exit code 2.
    Usage(String),
    /// A file is wrong or cannot be read: exit code 78.
    File(Problems),
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigError::Usage(message) => f.write_str(message),
            ConfigError::File(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {}
