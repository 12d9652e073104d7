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

/// Bounds on what one connection may ask for, and for how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request or response head, first line included.
    pub head_bytes_max: usize,
    /// Field lines in a head.
    pub fields_max: usize,
    /// Bytes of the request-target.
    pub target_bytes_max: usize,
    /// Bytes of a request's content; `None` is no limit, for it is streamed.
    pub body_bytes_max: Option<u64>,
    /// How often a request may be sent again after its first try.
    pub retries_max: u32,
    /// Idle upstream connections kept for each endpoint, on each core.
    pub pool_idle_max: usize,
    /// How long each phase may last.
    pub times: Times,
}

/// How long each phase of a connection may last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// The request head, from its first byte to its last.
    pub head: Duration,
    /// Between two reads of the request's content.
    pub body_idle: Duration,
    /// A client connection between two requests.
    pub keep_alive: Duration,
    /// Between two steps forward of writing the response.
    pub write_idle: Duration,
    /// Connecting to an endpoint.
    pub connect: Duration,
    /// From the request's last byte to the response's first.
    pub first_byte: Duration,
    /// Between two reads of the response.
    pub upstream_idle: Duration,
    /// An upstream connection waiting in the pool.
    pub pool_idle: Duration,
    /// A tunnel without a byte in either direction.
    pub tunnel_idle: Duration,
    /// From the signal to stop until what is still open is cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes_max: 32 * KIB,
            fields_max: 100,
            target_bytes_max: 8 * KIB,
            body_bytes_max: None,
            retries_max: 2,
            pool_idle_max: 256,
            times: Times {
                head: Duration::from_secs(10),
                body_idle: Duration::from_secs(30),
                keep_alive: Duration::from_secs(75),
                write_idle: Duration::from_secs(30),
                connect: Duration::from_secs(3),
                first_byte: Duration::from_secs(60),
                upstream_idle: Duration::from_secs(60),
                pool_idle: Duration::from_secs(50),
                tunnel_idle: Duration::from_secs(3600),
                drain: Duration::from_secs(30),
            },
        }
    }
}
