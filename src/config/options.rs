//! The options, as flags, environment variables and keys of the file. One declaration serves all
//! three; a flag beats a variable, a variable beats the file, the file beats the default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::admin::{self, AdminAddress, Token};
use super::clients::LeastRate;
use super::keys::{self, Kind, key};
use super::name_server::NameServer;
use super::quantity::{OrOff, Size, SocketTime, Span};
use super::source::Place;
use super::table::{Entries, FromValue, Reader, Said, texts};
use super::words::{Policy, RetryRule};
use super::{ConfigError, DriverChoice, Origin, Retry, Room, Settings, TrustedPeer, cache, read};
use crate::http::authority;
use crate::limits::{
    FIELDS_CEILING, HEAD_BYTES_CEILING, HeadLimits, KIB, ListenerLimits, UPSTREAM_IDLE_DEFAULT,
    UpstreamLimits,
};
use crate::observe::Format;

texts! {
    Origin: Kind::Text("http://127.0.0.1:9001");
    Format: Kind::Choice(&["off", "combined", "json"]);
    DriverChoice: Kind::Choice(&["auto", "io_uring", "epoll"]);
    AdminAddress: Kind::Text("unix:/run/ringway.sock");
    Token: Kind::Text("");
    NameServer: Kind::Text("127.0.0.1:53");
}

/// Declares the options: fields, flags, variables and keys in one place, and how two sources merge.
macro_rules! options {
    ($(
        $(#[doc = $doc:literal])+
        $(#[arg($($arg:tt)*)])?
        $name:ident: $type:ty = $env:literal, $heading:literal;
    )*) => {
        /// What can be said on the command line, in the environment and in the file.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args)]
        pub struct Options {
            $(
                $(#[doc = $doc])+
                #[arg(long, env = $env, hide_env = true, help_heading = $heading $(, $($arg)*)?)]
                pub $name: Option<$type>,
            )*
        }

        /// What the top of a file says.
        #[derive(Clone, Debug, Default)]
        pub(super) struct OptionsSaid {
            $(pub(super) $name: Said<$type>,)*
        }

        /// The options as keys.
        pub(super) const KEYS: &[keys::KeyInfo] = &[$(keys::KeyInfo {
            name: key!($name),
            kind: <$type as FromValue>::KIND,
            doc: keys::doc("", concat!($($doc),+), &[]),
        },)*];

        impl OptionsSaid {
            /// Takes the options, and leaves other keys.
            pub(super) fn take(entries: &Entries<'_>, reader: &Reader<'_>) -> OptionsSaid {
                OptionsSaid { $($name: entries.take(key!($name), reader),)* }
            }

            /// Where something was said for this key: the value.
            pub(super) fn place(&self, key: &str) -> Option<Place> {
                $(if key == key!($name) { return self.$name.place; })*
                None
            }

            /// What was said.
            pub(super) fn options(&self) -> Options {
                Options { $($name: self.$name.value.clone(),)* }
            }

            /// Adds what another file says; what both say is reported.
            pub(super) fn join(&mut self, other: OptionsSaid, twice: &mut dyn FnMut(&str, Place, Place)) {
                $(match (self.$name.key, other.$name.key) {
                    (Some(first), Some(second)) => twice(key!($name), first, second),
                    (None, Some(_)) => self.$name = other.$name,
                    (_, None) => {}
                })*
            }
        }

        impl Options {
            /// Fills what is not said here from another source.
            #[must_use]
            pub fn or(self, other: Options) -> Options {
                Options { $($name: self.$name.or(other.$name),)* }
            }
        }
    };
}

options! {
    /// Address or name to listen on [default: 127.0.0.1]
    host: String = "RINGWAY_HOST", "Listening";
    /// Port to listen on, 0 for any free one [default: 8080]
    port: u16 = "RINGWAY_PORT", "Listening";
    /// Worker threads, each pinned to a core of its own [default: all cores]
    cores: usize = "RINGWAY_CORES", "Listening";
    /// auto, io_uring or epoll [default: auto]
    driver: DriverChoice = "RINGWAY_DRIVER", "Listening";

    /// Server to pass requests to, such as http://127.0.0.1:9001; may be repeated
    #[arg(value_name = "URL", value_delimiter = ',', num_args = 1)]
    origin: Vec<Origin> = "RINGWAY_ORIGIN", "Upstream";
    /// Send the origin's own name as Host, rather than the client's
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    upstream_host: bool = "RINGWAY_UPSTREAM_HOST", "Upstream";
    /// What chooses among several: round-robin, least-connections, power-of-two, random or consistent-hash
    /// [default: round-robin]
    #[arg(value_name = "POLICY")]
    balance: Policy = "RINGWAY_BALANCE", "Upstream";
    /// Times a request may be sent again, when that is safe [default: 2]
    retries: u32 = "RINGWAY_RETRIES", "Upstream";
    /// What a request is sent again after: connect, reset, timeout, or a status such as 503 or 502-504; may be
    /// repeated [default: connect, reset]
    #[arg(value_name = "WHAT", value_delimiter = ',', num_args = 1)]
    retry_on: Vec<RetryRule> = "RINGWAY_RETRY_ON", "Upstream";
    /// Idle connections kept for each origin, on each core [default: 256]
    pool_size: usize = "RINGWAY_POOL_SIZE", "Upstream";
    /// Idle connections to upstreams that the process keeps, over all cores [default: 4096]
    upstream_idle: usize = "RINGWAY_UPSTREAM_IDLE", "Upstream";
    /// Name server to look names up at, such as 127.0.0.1:53; may be repeated [default: those of the system]
    #[arg(value_name = "ADDRESS", value_delimiter = ',', num_args = 1)]
    resolver: Vec<NameServer> = "RINGWAY_RESOLVER", "Upstream";

    /// Network whose X-Forwarded-* fields are believed, such as 10.0.0.0/8, or unix; may be repeated
    #[arg(value_name = "CIDR", value_delimiter = ',', num_args = 1)]
    trusted_proxy: Vec<TrustedPeer> = "RINGWAY_TRUSTED_PROXY", "Requests";
    /// Name in Via; a request that has passed it already is refused as a loop [default: ringway]
    via: String = "RINGWAY_VIA", "Requests";
    /// Pass TRACE requests on
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    trace: bool = "RINGWAY_TRACE", "Requests";
    /// off, combined or json: a line for each exchange on standard output [default: off]
    #[arg(value_name = "FORMAT")]
    access_log: Format = "RINGWAY_ACCESS_LOG", "Requests";

    /// Memory for stored responses, all told [default: 256MiB]
    #[arg(value_name = "SIZE")]
    cache_size: Size = "RINGWAY_CACHE_SIZE", "Cache";
    /// Store nothing
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    no_cache: bool = "RINGWAY_NO_CACHE", "Cache";
    /// Lifetime of a successful response to GET that brings none [default: off]
    #[arg(value_name = "TIME")]
    cache_ttl: Span = "RINGWAY_CACHE_TTL", "Cache";
    /// How long a stale response may stand in while it is validated, or when the origin fails, where it
    /// says nothing itself [default: off]
    #[arg(value_name = "TIME")]
    cache_grace: Span = "RINGWAY_CACHE_GRACE", "Cache";
    /// Largest response that is stored [default: 1/16 of the cache, at most 64MiB]
    #[arg(value_name = "SIZE")]
    cache_max_response: Size = "RINGWAY_CACHE_MAX_RESPONSE", "Cache";
    /// How long a request waits for another's fetch of the same response [default: 5s]
    #[arg(value_name = "TIME")]
    cache_wait: Span = "RINGWAY_CACHE_WAIT", "Cache";

    /// Where to take orders such as purges: unix:PATH, HOST:PORT or off [default: a Unix socket,
    /// /run/ringway.sock for root]
    #[arg(value_name = "ADDRESS")]
    admin: AdminAddress = "RINGWAY_ADMIN", "Admin";
    /// What whoever calls an admin port must show; other users can see flags, so better a variable or the
    /// file
    #[arg(value_name = "TOKEN")]
    admin_token: Token = "RINGWAY_ADMIN_TOKEN", "Admin";
    /// Let the admin port be one that other machines reach
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    admin_anywhere: bool = "RINGWAY_ADMIN_ANYWHERE", "Admin";

    /// Largest request or response head, at most 64KiB-1 [default: 32KiB]
    #[arg(value_name = "SIZE")]
    max_head: Size = "RINGWAY_MAX_HEAD", "Limits";
    /// Most header fields in a head, at most 256 [default: 100]
    #[arg(value_name = "COUNT")]
    max_fields: usize = "RINGWAY_MAX_FIELDS", "Limits";
    /// Longest request target [default: 8KiB]
    #[arg(value_name = "SIZE")]
    max_target: Size = "RINGWAY_MAX_TARGET", "Limits";
    /// Largest request content [default: no limit]
    #[arg(value_name = "SIZE")]
    max_body: Size = "RINGWAY_MAX_BODY", "Limits";
    /// Connections of clients that the process has at once; beyond that they get status 503, and near it those that
    /// are idle are closed [default: by the limit on open files]
    #[arg(value_name = "COUNT")]
    max_connections: u32 = "RINGWAY_MAX_CONNECTIONS", "Limits";
    /// Memory for buffers, in the same way; or off [default: off]
    #[arg(value_name = "SIZE")]
    max_memory: OrOff<Size> = "RINGWAY_MAX_MEMORY", "Limits";

    /// A request head, from first byte to last [default: 10s]
    #[arg(value_name = "TIME")]
    head_timeout: Span = "RINGWAY_HEAD_TIMEOUT", "Time limits";
    /// Between two reads of request content [default: 30s]
    #[arg(value_name = "TIME")]
    body_timeout: Span = "RINGWAY_BODY_TIMEOUT", "Time limits";
    /// A client connection between requests [default: 75s]
    #[arg(value_name = "TIME")]
    keep_alive_timeout: Span = "RINGWAY_KEEP_ALIVE_TIMEOUT", "Time limits";
    /// Writing a response without getting any further [default: 30s]
    #[arg(value_name = "TIME")]
    write_timeout: Span = "RINGWAY_WRITE_TIMEOUT", "Time limits";
    /// Bytes a second that content has to come with, and responses have to be read with, while the client is waited
    /// for; or off [default: 64B]
    #[arg(value_name = "SIZE")]
    min_rate: LeastRate = "RINGWAY_MIN_RATE", "Time limits";
    /// Connecting to an origin [default: 3s]
    #[arg(value_name = "TIME")]
    connect_timeout: Span = "RINGWAY_CONNECT_TIMEOUT", "Time limits";
    /// From the end of the request to the origin's first byte [default: 60s]
    #[arg(value_name = "TIME")]
    first_byte_timeout: Span = "RINGWAY_FIRST_BYTE_TIMEOUT", "Time limits";
    /// Between two reads of the origin's response, or two writes of the request [default: 60s]
    #[arg(value_name = "TIME")]
    upstream_timeout: Span = "RINGWAY_UPSTREAM_TIMEOUT", "Time limits";
    /// An idle connection to an origin [default: 50s]
    #[arg(value_name = "TIME")]
    pool_timeout: Span = "RINGWAY_POOL_TIMEOUT", "Time limits";
    /// A connection to an origin without traffic, until it is asked whether it still leads anywhere; or off
    /// [default: 1m]
    #[arg(value_name = "TIME")]
    tcp_keepalive: OrOff<SocketTime> = "RINGWAY_TCP_KEEPALIVE", "Time limits";
    /// What was sent to an origin without a sign that it arrived, until the connection counts as broken; or off,
    /// which leaves it to the kernel [default: off]
    #[arg(value_name = "TIME")]
    tcp_user_timeout: OrOff<SocketTime> = "RINGWAY_TCP_USER_TIMEOUT", "Time limits";
    /// A tunnel (WebSocket) without a byte in either direction [default: 1h]
    #[arg(value_name = "TIME")]
    tunnel_timeout: Span = "RINGWAY_TUNNEL_TIMEOUT", "Time limits";
    /// From the signal to stop until open exchanges are cut [default: 30s]
    #[arg(value_name = "TIME")]
    drain_timeout: Span = "RINGWAY_DRAIN_TIMEOUT", "Time limits";
}

/// The options as a part of the file: what stands at its top.
pub(super) static OPTIONS: keys::Table = keys::Table {
    name: "options",
    doc: "What the command line can say too, in the same words",
    keys: KEYS,
    also: &[],
};

/// Something wrong with the value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) key: &'static str,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(key: &'static str, message: impl Into<String>) -> Fault {
        Fault { key, message: message.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl Options {
    /// Adds what the file says, if there is one, and makes settings of it all. Variables come from the environment.
    ///
    /// # Errors
    /// What is wrong, and where it was said.
    pub fn into_settings(self, path: Option<PathBuf>) -> Result<Settings, ConfigError> {
        read::load(self, path, &|name| std::env::var(name).ok()).map(|loaded| loaded.settings)
    }

    /// Fills in the defaults and checks: everything but listeners, upstreams and routes, which are left empty.
    pub(super) fn top(&self, faults: &mut Vec<Fault>) -> Settings {
        let via = self.via.clone().unwrap_or_else(|| "ringway".to_owned());
        if !authority::is_valid(via.as_bytes()) {
            faults.push(Fault::new("via", format!("{via:?} is no name or host with an optional port")));
        }
        if self.cores == Some(0) {
            faults.push(Fault::new("cores", "there must be at least one"));
        }
        let cache = cache::settings(&self.cache()).unwrap_or_else(|wrong| {
            faults.extend(wrong);
            None
        });
        let anywhere = self.admin_anywhere.unwrap_or(false);
        let admin =
            admin::settings(self.admin.clone(), self.admin_token.clone(), anywhere).unwrap_or_else(|fault| {
                faults.push(fault);
                admin::AdminSettings::Off
            });
        Settings {
            cores: self.cores,
            driver: self.driver.unwrap_or_default(),
            listeners: Vec::new(),
            upstreams: Vec::new(),
            upstream_idle: self.upstream_idle.unwrap_or(UPSTREAM_IDLE_DEFAULT),
            resolvers: self.resolver.iter().flatten().map(|server| server.0).collect(),
            routes: Vec::new(),
            rule_sets: Vec::new(),
            rates: Vec::new(),
            auths: Vec::new(),
            error_pages: BTreeMap::new(),
            response_head: self.head_limits(faults),
            room: self.room(faults),
            drain: span(self.drain_timeout, DRAIN_DEFAULT),
            via,
            trace: self.trace.unwrap_or(false),
            access_log: self.access_log.unwrap_or_default(),
            cache,
            admin,
        }
    }

    /// What the process may hold.
    fn room(&self, faults: &mut Vec<Fault>) -> Room {
        const MEMORY_MIN: u64 = 1 << 20;
        let memory_max = self.max_memory.and_then(OrOff::value).map(|size| size.0);
        if self.max_connections == Some(0) {
            faults.push(Fault::new("max-connections", "there must be at least one"));
        }
        if memory_max.is_some_and(|bytes| bytes < MEMORY_MIN) {
            faults.push(Fault::new("max-memory", "must be at least 1MiB"));
        }
        Room { connections_max: self.max_connections, memory_max }
    }

    /// The bounds on heads.
    pub(super) fn head_limits(&self, faults: &mut Vec<Fault>) -> HeadLimits {
        let defaults = HeadLimits::default();
        let mut bounded = |key, given: Option<Size>, default, least: usize, most: usize| {
            let Some(Size(size)) = given else { return default };
            usize::try_from(size).ok().filter(|size| (least..=most).contains(size)).unwrap_or_else(|| {
                faults.push(Fault::new(key, format!("must be from {least} to {most} bytes")));
                default
            })
        };
        let head = bounded("max-head", self.max_head, defaults.head_bytes_max, KIB, HEAD_BYTES_CEILING);
        let target =
            bounded("max-target", self.max_target, defaults.target_bytes_max, 16, HEAD_BYTES_CEILING);
        let fields = self.max_fields.unwrap_or(defaults.fields_max);
        if !(1..=FIELDS_CEILING).contains(&fields) {
            faults.push(Fault::new("max-fields", format!("must be from 1 to {FIELDS_CEILING}")));
        }
        if target >= head {
            faults.push(Fault::new("max-target", "must be less than max-head, which holds the target"));
        }
        HeadLimits { head_bytes_max: head, fields_max: fields, target_bytes_max: target }
    }

    /// The bounds on clients.
    pub(super) fn listener_limits(&self, faults: &mut Vec<Fault>) -> ListenerLimits {
        let defaults = ListenerLimits::default();
        ListenerLimits {
            head: self.head_limits(faults),
            body_bytes_max: self.max_body.map(|size| size.0).or(defaults.body_bytes_max),
            head_time: span(self.head_timeout, defaults.head_time),
            body_idle: span(self.body_timeout, defaults.body_idle),
            keep_alive: span(self.keep_alive_timeout, defaults.keep_alive),
            write_idle: span(self.write_timeout, defaults.write_idle),
            rate_min: self.min_rate.map_or(defaults.rate_min, |rate| rate.0),
            tunnel_idle: span(self.tunnel_timeout, defaults.tunnel_idle),
        }
    }

    /// The bounds on upstreams.
    pub(super) fn upstream_limits(&self) -> UpstreamLimits {
        let defaults = UpstreamLimits::default();
        UpstreamLimits {
            connect: span(self.connect_timeout, defaults.connect),
            first_byte: span(self.first_byte_timeout, defaults.first_byte),
            idle: span(self.upstream_timeout, defaults.idle),
            pool_idle: span(self.pool_timeout, defaults.pool_idle),
            pool_size: self.pool_size.unwrap_or(defaults.pool_size),
            tcp_keepalive: time_or_off(self.tcp_keepalive, defaults.tcp_keepalive),
            tcp_user_timeout: time_or_off(self.tcp_user_timeout, defaults.tcp_user_timeout),
            retries_max: self.retries.unwrap_or(defaults.retries_max),
        }
    }

    /// When a request is sent again.
    pub(super) fn retry(&self) -> Retry {
        let defaults = Retry::default();
        let Some(rules) = &self.retry_on else { return defaults };
        let statuses = rules.iter().filter_map(|rule| match rule {
            RetryRule::Status(first, last) => Some((*first, *last)),
            _ => None,
        });
        Retry {
            on_connect: rules.contains(&RetryRule::Connect),
            on_reset: rules.contains(&RetryRule::Reset),
            on_timeout: rules.contains(&RetryRule::Timeout),
            statuses: statuses.collect(),
            ..defaults
        }
    }

    /// What is said about the cache.
    fn cache(&self) -> cache::Said {
        cache::Said {
            off: self.no_cache.unwrap_or(false),
            bytes: self.cache_size.map(|size| size.0),
            ttl: self.cache_ttl.map(|span| span.0),
            grace: self.cache_grace.map(|span| span.0),
            response_bytes_max: self.cache_max_response.map(|size| size.0),
            wait: self.cache_wait.map(|span| span.0),
        }
    }
}

/// How long a drain lasts where nothing is said.
const DRAIN_DEFAULT: Duration = Duration::from_secs(30);

fn span(given: Option<Span>, default: Duration) -> Duration {
    given.map_or(default, |span| span.0)
}

fn time_or_off(given: Option<OrOff<SocketTime>>, default: Option<Duration>) -> Option<Duration> {
    given.map_or(default, |time| time.value().map(|time| time.0))
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
