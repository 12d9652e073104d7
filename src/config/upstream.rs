//! Where requests go, and how upstreams are kept up.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::matching::{HOST_BYTES_MAX, LABEL_BYTES_MAX};
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
    /// Which endpoint a request goes to.
    pub balance: Balance,
    /// Keeps a client at its endpoint, where that is wanted.
    pub sticky: Option<Sticky>,
    /// How long an endpoint that joins or comes back takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// What waits when all endpoints are full.
    pub queue: Queue,
    /// Active health checks.
    pub probe: Option<Probe>,
    /// Passive health checks.
    pub ejection: Option<Ejection>,
    /// What becomes of requests while no endpoint is up.
    pub when_down: WhenDown,
    /// The circuit breaker.
    pub breaker: Option<Breaker>,
    /// When a request is sent again.
    pub retry: Retry,
    /// The PROXY protocol in front of each connection.
    pub proxy_protocol: Option<ProxyVersion>,
    /// What is asked of it, and for how long.
    pub limits: UpstreamLimits,
}

impl UpstreamSettings {
    /// An upstream that leaves everything else as it is by default.
    pub fn new(name: impl Into<String>, endpoints: Vec<EndpointSettings>) -> UpstreamSettings {
        UpstreamSettings {
            name: name.into(),
            endpoints,
            own_host: false,
            balance: Balance::default(),
            sticky: None,
            slow_start: None,
            queue: Queue::default(),
            probe: None,
            ejection: Some(Ejection::default()),
            when_down: WhenDown::default(),
            breaker: None,
            retry: Retry::default(),
            proxy_protocol: None,
            limits: UpstreamLimits::default(),
        }
    }
}

/// One or several endpoints of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Where it is, or where that is found out.
    pub address: EndpointAddress,
    /// Its share of the requests, from 1 to [`crate::limits::WEIGHT_MAX`]. That of an SRV record or a line of a file
    /// is multiplied with it.
    pub weight: u32,
    /// It gets requests only when none of the others is up.
    pub backup: bool,
    /// Connections that may be open to it, idle ones included, over all cores; none is no limit.
    pub connections_max: Option<u32>,
    /// Requests that may be in flight at it, over all cores; none is no limit.
    pub requests_max: Option<u32>,
}

impl EndpointSettings {
    /// An endpoint like any other.
    pub fn new(address: EndpointAddress) -> EndpointSettings {
        EndpointSettings { address, weight: 1, backup: false, connections_max: None, requests_max: None }
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Turns by weight, spread evenly.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight, for its weight.
    LeastConnections,
    /// Of two drawn by weight, the one that has less to do: fewer requests in flight, and faster answers of late.
    PowerOfTwo,
    /// Drawn by weight.
    Random,
    /// Always the same one for the same key.
    ConsistentHash {
        /// The key.
        by: HashBy,
        /// The most requests in flight that an endpoint may have, in percent of its fair part of all; above 100. Keys
        /// that would bring more go on to the next. None is no bound.
        load_max: Option<u32>,
    },
}

/// The key of a request; where it has none, chance decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address.
    Client,
    /// The path in normal form.
    Path,
    /// The host, the path in normal form and the query.
    Url,
    /// The first value of this field.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

/// A cookie, signed, that keeps a client at the endpoint that answered it first, for as long as that one is up.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: String,
    /// How long it lives; none is until the browser ends.
    pub max_age: Option<Duration>,
    /// Whether it is for https alone.
    pub secure: bool,
    /// What it is signed with. None is a secret of this process: then a restart forgets who belongs where.
    pub secret: Option<String>,
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sticky { cookie, max_age, secure, secret } = self;
        f.debug_struct("Sticky")
            .field("cookie", cookie)
            .field("max_age", max_age)
            .field("secure", secure)
            .field("secret", &secret.as_ref().map(|_| "…"))
            .finish()
    }
}

/// What waits when all endpoints have as many requests or connections as they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests that may wait, over all cores.
    pub waiting_max: u32,
    /// How long each may.
    pub time: Duration,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { waiting_max: 1000, time: Duration::from_secs(5) }
    }
}

/// Active health checks: each endpoint is asked, once for the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked, and what it has to answer.
    pub ask: ProbeAsk,
    /// Where, if not where requests go: another host or address.
    pub host: Option<Host>,
    /// Where, if not where requests go: another port.
    pub port: Option<u16>,
    /// From one probe to the next.
    pub interval: Duration,
    /// So much earlier or later each time, in percent of the interval, from 0 to 100.
    pub jitter: u32,
    /// How long one may take; less than the interval.
    pub timeout: Duration,
    /// Probes in a row that bring an endpoint up; at least 1.
    pub rise: u32,
    /// Failed probes in a row that take it down; at least 1.
    pub fall: u32,
}

impl Probe {
    /// A probe that leaves everything else as it is by default: every 5 s, with 2 s to answer.
    pub fn new(ask: ProbeAsk) -> Probe {
        Probe {
            ask,
            host: None,
            port: None,
            interval: Duration::from_secs(5),
            jitter: 10,
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
        }
    }
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAsk {
    /// It has to take a connection.
    Tcp,
    /// It has to answer a request.
    Http(HttpProbe),
}

/// A request as a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Its target, such as `/healthz`.
    pub path: String,
    /// Its Host; none is the endpoint's own name.
    pub host: Option<String>,
    /// The statuses that are well, as ranges with both ends; at least one.
    pub statuses: Vec<(u16, u16)>,
    /// A text that has to be in the first 64 KiB of the content.
    pub body: Option<String>,
    /// A field that has to be there, with a text that has to be in its value; an empty one is in all.
    pub header: Option<(String, String)>,
}

impl HttpProbe {
    /// A request for this target that leaves everything else as it is by default: statuses from 200 to 399 are well.
    pub fn new(path: impl Into<String>) -> HttpProbe {
        HttpProbe { path: path.into(), host: None, statuses: vec![(200, 399)], body: None, header: None }
    }
}

/// Passive health checks: an endpoint that fails requests gets none for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row that eject it; none does not count them.
    pub consecutive: Option<u32>,
    /// Failures in percent of the requests of a window that eject it, from 1 to 100; none does not count them.
    pub rate: Option<u32>,
    /// Requests that a window must have for its rate to mean anything; at least 1.
    pub requests_min: u32,
    /// The window.
    pub window: Duration,
    /// How long it is out at first; twice as long each time that it is ejected soon again.
    pub time: Duration,
    /// The most that becomes.
    pub time_max: Duration,
    /// So many percent of an upstream's endpoints may be out, rounded down but at least one, and never the last.
    pub share_max: u32,
    /// Statuses that count as failures, beside requests that are not answered, as ranges with both ends.
    pub statuses: Vec<(u16, u16)>,
}

impl Default for Ejection {
    fn default() -> Ejection {
        Ejection {
            consecutive: Some(5),
            rate: None,
            requests_min: 20,
            window: Duration::from_secs(10),
            time: Duration::from_secs(10),
            time_max: Duration::from_secs(300),
            share_max: 50,
            statuses: Vec::new(),
        }
    }
}

/// What becomes of requests while no endpoint is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDown {
    /// They go to the endpoints all the same: whoever judged them may be wrong.
    #[default]
    Try,
    /// They are refused at once, with 503.
    Fail,
}

/// The circuit breaker of an upstream: when too much fails, nothing is sent for a while, and then a few requests to
/// see whether it is well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in percent of the requests of a window that open it, from 1 to 100.
    pub rate: u32,
    /// Requests that a window must have for that; at least 1.
    pub requests_min: u32,
    /// The window.
    pub window: Duration,
    /// How long it stays open.
    pub time: Duration,
    /// Requests that are let through then, all of which have to succeed; at least 1.
    pub trials: u32,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            rate: 50,
            requests_min: 20,
            window: Duration::from_secs(10),
            time: Duration::from_secs(10),
            trials: 3,
        }
    }
}

/// When a request is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// When no connection could be made.
    pub on_connect: bool,
    /// When the connection ended without a byte of the final response, and the method is idempotent.
    pub on_reset: bool,
    /// When the response did not come in time, and the method is idempotent.
    pub on_timeout: bool,
    /// When the response has such a status, and the method is idempotent; as ranges with both ends.
    pub statuses: Vec<(u16, u16)>,
    /// Retries in percent of requests, over ten seconds; ten are always allowed, or one on each core if that is more. Those
    /// for want of a connection do not count.
    pub budget: u32,
    /// No try begins later than so long after the first; none is no limit.
    pub time: Option<Duration>,
    /// The pause before the second retry, at most; it doubles with each, up to sixteen times, and chance takes some of
    /// it. The first goes out at once.
    pub backoff: Duration,
    /// Bytes of content that are kept to be sent again, beyond what came with the head; at most
    /// [`crate::limits::REPLAY_BYTES_MAX`].
    pub replay_bytes_max: u64,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            on_connect: true,
            on_reset: true,
            on_timeout: false,
            statuses: Vec::new(),
            budget: 20,
            time: Some(Duration::from_secs(30)),
            backoff: Duration::from_millis(25),
            replay_bytes_max: 64 * 1024,
        }
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Where an endpoint is: `10.0.0.1:9001`, `app.internal:80`, `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A host and a port from 1.
    Tcp(Host, u16),
    /// A Unix socket.
    Unix(PathBuf),
    /// The name of SRV records: as many endpoints as they name.
    Srv(String),
    /// A JSON or TOML file with a list of endpoints, which is read again when it changes.
    File(PathBuf),
}

impl EndpointAddress {
    /// What stands in a Host field for it: the port is left out where it is 80.
    pub fn authority(&self) -> String {
        match self {
            EndpointAddress::Tcp(host, 80) => host.to_string(),
            EndpointAddress::Tcp(host, port) => format!("{host}:{port}"),
            EndpointAddress::Unix(_) | EndpointAddress::Srv(_) | EndpointAddress::File(_) => {
                "localhost".to_owned()
            }
        }
    }
}

impl From<&Origin> for EndpointAddress {
    fn from(origin: &Origin) -> EndpointAddress {
        EndpointAddress::Tcp(origin.host.clone(), origin.port)
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Tcp(host, port) => write!(f, "{host}:{port}"),
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            EndpointAddress::Srv(name) => write!(f, "srv:{name}"),
            EndpointAddress::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for EndpointAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<EndpointAddress, String> {
        let wrong = |problem: &str| {
            format!(
                "{text:?} {problem}; an endpoint is HOST:PORT such as 10.0.0.1:9001, unix:PATH, srv:NAME or file:PATH"
            )
        };
        match text.split_once(':') {
            Some(("unix" | "file", "")) => return Err(wrong("has no path")),
            Some(("unix", path)) => return Ok(EndpointAddress::Unix(PathBuf::from(path))),
            Some(("file", path)) => return Ok(EndpointAddress::File(PathBuf::from(path))),
            Some(("srv", name)) => {
                check_name(name).map_err(|why| wrong(&format!("has no name of SRV records: {why}")))?;
                return Ok(EndpointAddress::Srv(name.to_owned()));
            }
            _ => {}
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

/// Whether this is a name that can be looked up: labels with dots between them, and perhaps one at the end (RFC 1035,
/// section 2.3.4).
fn check_name(name: &str) -> Result<(), String> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    if let Some(c) = bare.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(format!("it has a {c:?}"));
    }
    if bare.len() > HOST_BYTES_MAX || bare.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
        return Err("it is too long".to_owned());
    }
    match bare.rsplit('.').next() {
        _ if bare.split('.').any(str::is_empty) => Err("it has an empty label".to_owned()),
        Some(last) if last.bytes().all(|b| b.is_ascii_digit()) => Err("it ends like an address".to_owned()),
        _ => Ok(()),
    }
}

impl Host {
    /// Reads a host that stands by itself, and checks it: an address, in brackets or not, or a name.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn checked(text: &str) -> Result<Host, String> {
        match Host::parse(text) {
            Host::Name(name) => match check_name(&name) {
                Ok(()) => Ok(Host::Name(name)),
                Err(why) => Err(format!("{text:?} is no name or address of a host: {why}")),
            },
            address => Ok(address),
        }
    }
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
