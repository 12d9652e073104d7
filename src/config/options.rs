//! The options, as flags, environment variables and keys of the file. One declaration serves all
//! three; a flag beats a variable, a variable beats the file, the file beats the default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};

use super::admin::{self, AdminAddress, Token};
use super::route::{Action, CacheRule, FieldEdits, Rewrite, Split, SplitBy};
use super::{
    ConfigError, DriverChoice, EndpointAddress, EndpointSettings, Host, ListenAddress, ListenerSettings,
    Origin, RouteSettings, Settings, TrustedPeer, UpstreamSettings, cache, file,
};
use crate::http::authority;
use crate::limits::{
    FIELDS_CEILING, HEAD_BYTES_CEILING, HeadLimits, KIB, ListenerLimits, RouteLimits, UpstreamLimits,
};
use crate::observe::Format;

/// A duration as people write it: `10s`, `500ms`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        match humantime::parse_duration(text) {
            Ok(span) if span.is_zero() => Err("must be longer than nothing".to_owned()),
            Ok(span) => Ok(Span(span)),
            Err(error) => Err(format!("{error}; durations are written like 10s, 500ms or 1h")),
        }
    }
}

/// A size as people write it: `32KiB`, `10MiB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let size = text
            .parse::<ByteSize>()
            .map_err(|_| format!("{text:?} is no size; sizes are written like 32KiB or 10MiB"))?;
        Ok(Size(size.as_u64()))
    }
}

/// Reads a value of the file as the command line would: from a string, or a number that stands for one.
fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        String(String),
        Number(i64),
    }
    let text = match Text::deserialize(deserializer)? {
        Text::String(text) => text,
        Text::Number(number) => number.to_string(),
    };
    text.parse().map_err(de::Error::custom)
}

macro_rules! deserialize_from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                from_text(deserializer)
            }
        }
    )*};
}

deserialize_from_text!(Span, Size, Origin, Format, DriverChoice, AdminAddress, TrustedPeer);

/// Declares the options: fields, flags, variables and keys in one place, and how two sources merge.
macro_rules! options {
    ($(
        $(#[doc = $doc:literal])+
        $(#[arg($($arg:tt)*)])?
        $name:ident: $type:ty = $env:literal, $heading:literal;
    )*) => {
        /// What can be said on the command line, in the environment and in the file.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Options {
            $(
                $(#[doc = $doc])+
                #[arg(long, env = $env, hide_env = true, help_heading = $heading $(, $($arg)*)?)]
                pub $name: Option<$type>,
            )*
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
    /// Times a request may be sent again, when that is safe [default: 2]
    retries: u32 = "RINGWAY_RETRIES", "Upstream";
    /// Idle connections kept for each origin, on each core [default: 256]
    pool_size: usize = "RINGWAY_POOL_SIZE", "Upstream";

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
    /// A tunnel (WebSocket) without a byte in either direction [default: 1h]
    #[arg(value_name = "TIME")]
    tunnel_timeout: Span = "RINGWAY_TUNNEL_TIMEOUT", "Time limits";
    /// From the signal to stop until open exchanges are cut [default: 30s]
    #[arg(value_name = "TIME")]
    drain_timeout: Span = "RINGWAY_DRAIN_TIMEOUT", "Time limits";
}

impl Options {
    /// Adds what the file says, if there is one, and makes settings of it all.
    ///
    /// # Errors
    /// What is wrong, and where it was said.
    pub fn into_settings(self, path: Option<PathBuf>) -> Result<Settings, ConfigError> {
        let Some(path) = path else {
            return self.settings().map_err(ConfigError::Usage);
        };
        let said = file::read(&path)?;
        // What the file says must be right by itself, so that the blame falls where it belongs. It
        // may leave the origin to the command line, and the token, which few should be able to read.
        let mut alone = said.clone();
        alone.origin = alone.origin.or_else(|| self.origin.clone());
        alone.admin_token = self.admin_token.clone().or(alone.admin_token);
        alone.admin_anywhere = self.admin_anywhere.or(alone.admin_anywhere);
        alone.cache_size = self.cache_size.or(alone.cache_size);
        alone.settings().map_err(|message| ConfigError::File { path, message })?;
        self.or(said).settings().map_err(ConfigError::Usage)
    }

    /// Fills in the defaults and checks.
    fn settings(self) -> Result<Settings, String> {
        let (head, cache) = (self.head_limits()?, cache::settings(&self.cache())?);
        let (listener_limits, upstream_limits) = (self.listener_limits(head), self.upstream_limits());
        let origins = self.origin.unwrap_or_default();
        if origins.is_empty() {
            return Err("no origin is given; say where requests go, such as --origin http://127.0.0.1:9001"
                .to_owned());
        }
        let via = self.via.unwrap_or_else(|| "ringway".to_owned());
        if !authority::is_valid(via.as_bytes()) {
            return Err(format!("via: {via:?} is no name or host with an optional port"));
        }
        if self.cores == Some(0) {
            return Err("cores: there must be at least one".to_owned());
        }
        let admin = admin::settings(self.admin, self.admin_token, self.admin_anywhere.unwrap_or(false))?;
        let host = Host::parse(self.host.as_deref().unwrap_or("127.0.0.1"));
        let listener = ListenerSettings {
            name: DEFAULT.to_owned(),
            addresses: vec![ListenAddress::Tcp(host, self.port.unwrap_or(8080))],
            limits: listener_limits,
            trusted: self.trusted_proxy.unwrap_or_default(),
        };
        let endpoint = |origin| EndpointSettings { address: EndpointAddress::from(origin), weight: 1 };
        let upstream = UpstreamSettings {
            name: DEFAULT.to_owned(),
            endpoints: origins.iter().map(endpoint).collect(),
            own_host: self.upstream_host.unwrap_or(false),
            limits: upstream_limits,
        };
        Ok(Settings {
            cores: self.cores,
            driver: self.driver.unwrap_or_default(),
            listeners: vec![listener],
            upstreams: vec![upstream],
            routes: vec![default_route()],
            error_pages: BTreeMap::new(),
            response_head: head,
            drain: span(self.drain_timeout, DRAIN_DEFAULT),
            via,
            trace: self.trace.unwrap_or(false),
            access_log: self.access_log.unwrap_or_default(),
            cache,
            admin,
        })
    }

    /// The bounds on heads.
    fn head_limits(&self) -> Result<HeadLimits, String> {
        let defaults = HeadLimits::default();
        let (head, target) = (defaults.head_bytes_max, defaults.target_bytes_max);
        let limits = HeadLimits {
            head_bytes_max: bounded("max-head", self.max_head, head, KIB, HEAD_BYTES_CEILING)?,
            fields_max: self.max_fields.unwrap_or(defaults.fields_max),
            target_bytes_max: bounded("max-target", self.max_target, target, 16, HEAD_BYTES_CEILING)?,
        };
        if !(1..=FIELDS_CEILING).contains(&limits.fields_max) {
            return Err(format!("max-fields: must be from 1 to {FIELDS_CEILING}"));
        }
        if limits.target_bytes_max >= limits.head_bytes_max {
            return Err("max-target: must be less than max-head, which holds the target".to_owned());
        }
        Ok(limits)
    }

    /// The bounds on clients.
    fn listener_limits(&self, head: HeadLimits) -> ListenerLimits {
        let defaults = ListenerLimits::default();
        ListenerLimits {
            head,
            body_bytes_max: self.max_body.map(|size| size.0).or(defaults.body_bytes_max),
            head_time: span(self.head_timeout, defaults.head_time),
            body_idle: span(self.body_timeout, defaults.body_idle),
            keep_alive: span(self.keep_alive_timeout, defaults.keep_alive),
            write_idle: span(self.write_timeout, defaults.write_idle),
            tunnel_idle: span(self.tunnel_timeout, defaults.tunnel_idle),
        }
    }

    /// The bounds on upstreams.
    fn upstream_limits(&self) -> UpstreamLimits {
        let defaults = UpstreamLimits::default();
        UpstreamLimits {
            connect: span(self.connect_timeout, defaults.connect),
            first_byte: span(self.first_byte_timeout, defaults.first_byte),
            idle: span(self.upstream_timeout, defaults.idle),
            pool_idle: span(self.pool_timeout, defaults.pool_idle),
            pool_size: self.pool_size.unwrap_or(defaults.pool_size),
            retries_max: self.retries.unwrap_or(defaults.retries_max),
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

/// The name of what the command line makes by itself: its listener, its upstream and its route.
pub(super) const DEFAULT: &str = "default";

/// How long a drain lasts where nothing is said.
const DRAIN_DEFAULT: Duration = Duration::from_secs(30);

/// The route of `--origin`: it takes what no other takes.
fn default_route() -> RouteSettings {
    let split = Split { shares: vec![(DEFAULT.to_owned(), 1)], by: SplitBy::Chance };
    RouteSettings {
        name: DEFAULT.to_owned(),
        hosts: Vec::new(),
        paths: Vec::new(),
        conditions: Vec::new(),
        action: Action::Forward(split),
        rewrite: Rewrite::default(),
        request_fields: FieldEdits::default(),
        response_fields: FieldEdits::default(),
        cache: CacheRule::default(),
        mirror: None,
        limits: RouteLimits::default(),
        error_pages: BTreeMap::new(),
    }
}

fn span(given: Option<Span>, default: Duration) -> Duration {
    given.map_or(default, |span| span.0)
}

fn bounded(
    key: &str,
    given: Option<Size>,
    default: usize,
    least: usize,
    most: usize,
) -> Result<usize, String> {
    let Some(Size(size)) = given else { return Ok(default) };
    usize::try_from(size)
        .ok()
        .filter(|size| (least..=most).contains(size))
        .ok_or_else(|| format!("{key}: must be from {least} to {most} bytes"))
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
