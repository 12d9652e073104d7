//! Every limit of the proxy, with its default and its bounds.

use std::time::Duration;

/// Bytes of one kibibyte.
pub const KIB: usize = 1024;

/// The largest head that spans can describe: offsets within a head are 16 bits wide.
pub const HEAD_BYTES_CEILING: usize = 64 * KIB - 1;

/// The most field lines that any setting can allow in one head.
pub const FIELDS_CEILING: usize = 256;

/// Bytes that an upstream may put before its final response: that many interim responses.
pub const INTERIM_RESPONSES_MAX: u32 = 16;

/// The longest trailer section, in bytes.
pub const TRAILER_BYTES_MAX: usize = 4 * KIB;

/// The longest chunk-size line with its extensions, in bytes (RFC 9112, section 7.1.1).
pub const CHUNK_LINE_BYTES_MAX: u32 = 512;

/// Bytes that a head may gain on its way through, as a rule: room for so many is kept in front of
/// what is read. A head that gains more travels in a buffer of its own.
pub const HEAD_GROWTH_BYTES_MAX: usize = 512;

/// The most bytes that are read and thrown away from a client that still sends after its exchange
/// was answered and the connection is to close.
pub const DISCARD_BYTES_MAX: usize = 256 * KIB;

/// The largest own error page, in bytes: it is answered out of one buffer.
pub const ERROR_PAGE_BYTES_MAX: usize = 64 * KIB;

/// The largest weight of an endpoint, or of an upstream that shares a route's requests.
pub const WEIGHT_MAX: u32 = 1000;

/// The most content that is kept of a request to be sent again, in bytes: with its head, it fits into one buffer.
pub const REPLAY_BYTES_MAX: u64 = 128 * 1024;

/// The most parts of a path that one pattern of a route can remember.
pub const CAPTURES_MAX: usize = 16;

/// The most segments that the path of a route can have: matching goes as deep as that.
pub const SEGMENTS_MAX: usize = 128;

/// Idle connections to upstreams that the process keeps where nothing else is said.
pub const UPSTREAM_IDLE_DEFAULT: usize = 4096;

/// Bounds on a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of a request or response head, first line included.
    pub head_bytes_max: usize,
    /// Field lines in a head.
    pub fields_max: usize,
    /// Bytes of the request-target.
    pub target_bytes_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits { head_bytes_max: 32 * KIB, fields_max: 100, target_bytes_max: 8 * KIB }
    }
}

/// Bounds on what the clients of a listener may ask for, and how long they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Of request heads.
    pub head: HeadLimits,
    /// Bytes of a request's content; `None` is no limit, for it is streamed.
    pub body_bytes_max: Option<u64>,
    /// The request head, from its first byte to its last.
    pub head_time: Duration,
    /// Between two reads of the request's content.
    pub body_idle: Duration,
    /// A client connection between two requests.
    pub keep_alive: Duration,
    /// Between two steps forward of writing the response.
    pub write_idle: Duration,
    /// Bytes a second that content has to come with, and responses have to be read with, while the client is waited
    /// for; 0 asks for nothing.
    pub rate_min: u32,
    /// A tunnel without a byte in either direction.
    pub tunnel_idle: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits {
            head: HeadLimits::default(),
            body_bytes_max: None,
            head_time: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            write_idle: Duration::from_secs(30),
            rate_min: 64,
            tunnel_idle: Duration::from_secs(3600),
        }
    }
}

/// Bounds on what is asked of an upstream, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Connecting to an endpoint.
    pub connect: Duration,
    /// From the request's last byte to the response's first.
    pub first_byte: Duration,
    /// Between two reads of the response, or two writes of the request.
    pub idle: Duration,
    /// A connection waiting in the pool.
    pub pool_idle: Duration,
    /// Idle connections kept for each endpoint, on each core.
    pub pool_size: usize,
    /// A connection without traffic is asked after so long whether it still leads anywhere; none is never.
    pub tcp_keepalive: Option<Duration>,
    /// How long what was sent may stay unacknowledged before a connection counts as broken; none is up to the kernel.
    pub tcp_user_timeout: Option<Duration>,
    /// How often a request may be sent again after its first try.
    pub retries_max: u32,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        UpstreamLimits {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            pool_idle: Duration::from_secs(50),
            pool_size: 256,
            tcp_keepalive: Some(Duration::from_secs(60)),
            tcp_user_timeout: None,
            retries_max: 2,
        }
    }
}

/// What a route says about limits itself; where it says nothing, its listener and its upstream do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteLimits {
    /// See [`ListenerLimits::body_bytes_max`].
    pub body_bytes_max: Option<u64>,
    /// See [`ListenerLimits::body_idle`].
    pub body_idle: Option<Duration>,
    /// See [`ListenerLimits::write_idle`].
    pub write_idle: Option<Duration>,
    /// See [`ListenerLimits::rate_min`].
    pub rate_min: Option<u32>,
    /// See [`ListenerLimits::tunnel_idle`].
    pub tunnel_idle: Option<Duration>,
    /// See [`UpstreamLimits::connect`].
    pub connect: Option<Duration>,
    /// See [`UpstreamLimits::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`UpstreamLimits::idle`].
    pub upstream_idle: Option<Duration>,
    /// See [`UpstreamLimits::retries_max`].
    pub retries_max: Option<u32>,
}
