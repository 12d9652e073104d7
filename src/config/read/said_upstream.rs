//! The tables of upstreams, as they are written: where they are, how they are used, and how they are kept up.

use super::said::{Either, forms};
use crate::config::keys::Kind;
use crate::config::quantity::{
    Bounded, Failure, OrOff, Percent, Period, Size, SocketTime, Span, Statuses, Within,
};
use crate::config::table::{At, FromValue, Map, Reader, Value, tables, texts};
use crate::config::words::{Policy, RetryRule};
use crate::config::{EndpointAddress, HashBy, Host, HttpProbe, ProbeAsk, ProxyVersion, WhenDown};
use crate::http::authority;
use crate::limits::{HeadLimits, WEIGHT_MAX};

tables! {
    /// An upstream: endpoints that serve the same
    UpstreamSaid = UPSTREAM "upstream" {
        /// Where it is: `HOST:PORT`, `unix:PATH`, `srv:NAME` for what SRV records of that name say, or `file:PATH` for
        /// what a list in JSON or TOML says; or a table with one of these and more
        endpoints: Vec<At<EndpointSaid>>,
        /// Send the endpoint's own name as Host, rather than the client's
        upstream_host: bool,
        balance: Policy,
        /// What consistent hashing goes by: `client`, `path`, `url`, `header:NAME` or `cookie:NAME` [default: url]
        hash_by: HashBy,
        /// The most that consistent hashing gives to an endpoint, compared with its fair part of the requests in
        /// flight; or `off` [default: 125%]
        max_load: OrOff<LoadMax>,
        /// Keeps each client at the endpoint that answered it first, by a signed cookie
        sticky: StickySaid,
        /// How long an endpoint that is new, or well again, takes to get its whole share [default: at once]
        slow_start: Period,
        /// Connections that may be open to each endpoint, over all cores [default: no limit]
        max_connections: AtLeastOne,
        /// Requests that may be in flight at each endpoint, over all cores [default: no limit]
        max_requests: AtLeastOne,
        /// Requests that may wait while all endpoints are full, over all cores [default: 1000]
        max_waiting: u32,
        /// How long each of them may wait [default: 5s]
        wait_timeout: Span,
        /// Asks each endpoint again and again whether it is well: `tcp`, a path such as `/healthz`, or a table with more
        probe: ProbeSaid,
        /// Keeps requests from an endpoint for a while when they fail there: `false` for never [default: true]
        eject: EjectSaid,
        /// What becomes of requests while no endpoint is well: `try` one all the same, or `fail` at once [default: try]
        when_down: WhenDown,
        /// Sends nothing for a while when too much fails at the upstream as a whole [default: false]
        breaker: BreakerSaid,
        retries: u32,
        retry_on: Vec<RetryRule>,
        /// Retries compared with requests; a few are always allowed [default: 20%]
        retry_budget: Percent<0, 1000>,
        /// The most time from the first try of a request to its last, or `off` [default: 30s]
        retry_timeout: OrOff<Span>,
        /// The longest pause before the second retry; it doubles with each [default: 25ms]
        retry_backoff: Period,
        /// Content of a request that is kept to be sent again, at most 128KiB [default: 64KiB]
        max_replay: Size,
        /// The version of the PROXY protocol that each connection begins with: `v1` or `v2` [default: none]
        proxy_protocol: ProxyVersion,
        connect_timeout: Span,
        first_byte_timeout: Span,
        upstream_timeout: Span,
        pool_timeout: Span,
        pool_size: usize,
        tcp_keepalive: OrOff<SocketTime>,
        tcp_user_timeout: OrOff<SocketTime>,
    }

    /// An endpoint, or several, with more to say about them
    EndpointTable = ENDPOINT "endpoint" {
        /// Where it is: `HOST:PORT`, `unix:PATH`, `srv:NAME` or `file:PATH`
        address: EndpointAddress,
        /// Its share of the requests, compared with the others' [default: 1]
        weight: Weight,
        /// Whether it gets requests only when none of the others is well [default: false]
        backup: bool,
        /// Connections that may be open to it, over all cores [default: what the upstream says]
        max_connections: AtLeastOne,
        /// Requests that may be in flight at it, over all cores [default: what the upstream says]
        max_requests: AtLeastOne,
    }

    /// A cookie that keeps a client at its endpoint
    StickyTable = STICKY "sticky session" {
        /// Its name [default: `ringway-` and the name of the upstream]
        cookie: String,
        /// How long it lives [default: until the browser ends]
        max_age: Within<1_000, { 365 * 24 * 3_600_000 }>,
        /// Whether it is for https alone [default: false]
        secure: bool,
        /// What it is signed with, at least 16 bytes [default: a secret of this process, which a restart changes]
        secret: String,
    }

    /// A probe: what each endpoint is asked, and what it has to answer
    ProbeTable = PROBE "probe" {
        /// The target of the request, such as `/healthz`
        path: ProbePath,
        /// Asks for a connection and no more
        tcp: bool,
        /// Host of the request [default: the endpoint's own name]
        host: Authority,
        /// Statuses that are well: `200`, `"200-299"`, one or several [default: 200-399]
        status: Vec<Statuses<200>>,
        /// A text that has to be in the first 64KiB of the content
        body: String,
        /// A field that has to be there, with a text that has to be in it
        header: Map<At<String>>,
        /// A name or an address to ask instead of the endpoint's
        address: AnyHost,
        /// A port to ask instead of the endpoint's
        port: Port,
        /// From one probe to the next [default: 5s]
        interval: Period,
        /// So much sooner or later by chance [default: 10%]
        jitter: Percent<0, 100>,
        /// How long the answer may take; less than the interval [default: 2s, or half of the interval]
        timeout: Span,
        /// So many good answers in a row bring an endpoint up [default: 2]
        rise: AtLeastOne,
        /// So many failures in a row take it down [default: 3]
        fall: AtLeastOne,
    }

    /// When an endpoint gets no requests for a while, and for how long
    EjectTable = EJECT "ejection" {
        /// After so many failures in a row; 0 does not count them [default: 5]
        failures: u32,
        /// After so many failures among the requests of a window [default: not counted]
        rate: Percent<1, 100>,
        /// Requests that a window must have for its rate to count [default: 20]
        min_requests: AtLeastOne,
        /// The window that the rate is of [default: 10s]
        window: Period,
        /// For so long at first; twice as long each time that it happens soon again [default: 10s]
        time: Period,
        /// For so long at most [default: 5m]
        max_time: Period,
        /// Of all endpoints of the upstream so many at most, but never the last [default: 50%]
        max_share: Percent<1, 100>,
        /// Statuses that count as failures, beside requests that get no response: `503`, `"500-599"` [default: none]
        status: Vec<Failure>,
    }

    /// When an upstream gets no requests for a while, and for how long
    BreakerTable = BREAKER "circuit breaker" {
        /// After so many failures among the requests of a window [default: 50%]
        rate: Percent<1, 100>,
        /// Requests that a window must have for that [default: 20]
        min_requests: AtLeastOne,
        /// The window [default: 10s]
        window: Period,
        /// For so long [default: 10s]
        time: Period,
        /// So many requests are let through then, and all of them have to succeed [default: 3]
        trials: AtLeastOne,
    }
}

/// An endpoint, or with more.
pub(super) type EndpointSaid = Either<EndpointAddress, EndpointTable>;
/// Whether at all, or how.
pub(super) type StickySaid = Either<bool, StickyTable>;
/// What is asked, or with more.
pub(super) type ProbeSaid = Either<Ask, ProbeTable>;
/// Whether at all, or how.
pub(super) type EjectSaid = Either<bool, EjectTable>;
/// Whether at all, or how.
pub(super) type BreakerSaid = Either<bool, BreakerTable>;

/// The weight of an endpoint.
pub(super) type Weight = Bounded<1, { WEIGHT_MAX as u64 }>;
/// A number of things of which one at least is needed.
pub(super) type AtLeastOne = Bounded<1, { u32::MAX as u64 }>;
/// A port that can be connected to.
pub(super) type Port = Bounded<1, { u16::MAX as u64 }>;
/// The most requests in flight at an endpoint, in percent of its fair part.
pub(super) type LoadMax = Percent<101, 1000>;

texts! {
    EndpointAddress: Kind::Text("10.0.0.1:9001");
}

forms! {
    /// What a probe asks, in short.
    Ask(ProbeAsk) = Kind::Text("/healthz"), ask;
    /// The target of a request.
    ProbePath(String) = Kind::Text("/healthz"), path;
    /// A host with an optional port.
    Authority(String) = Kind::Text("app.internal"), authority;
    /// A name or an address.
    AnyHost(Host) = Kind::Text("10.0.0.1"), Host::checked;
}

/// Reads what a probe asks, in short: `tcp`, or the target of a request.
fn ask(text: &str) -> Result<ProbeAsk, String> {
    match text {
        "tcp" => Ok(ProbeAsk::Tcp),
        text if text.starts_with('/') => path(text).map(|path| ProbeAsk::Http(HttpProbe::new(path))),
        _ => Err(format!("{text:?} is no probe: tcp, or a path such as /healthz")),
    }
}

/// Checks the target of a request: a path as it is sent, perhaps with a query.
fn path(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("{text:?} is no path: {why}"));
    if !text.starts_with('/') {
        return wrong("it has to begin with a slash");
    }
    if text.len() > HeadLimits::default().target_bytes_max {
        return Err("is too long for a path".to_owned());
    }
    match text.chars().find(|&c| !c.is_ascii_graphic() || c == '#') {
        Some('#') => wrong("no request has a fragment; a `#` as such is written `%23`"),
        Some(c) => wrong(&format!("it has a {c:?}, which has to be escaped")),
        None => Ok(text.to_owned()),
    }
}

fn authority(text: &str) -> Result<String, String> {
    match authority::is_valid(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no host with an optional port")),
    }
}
