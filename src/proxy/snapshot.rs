//! The configuration as one core uses it. It never changes: a new one takes its place, and each exchange keeps
//! to the one that it began with.

use std::time::Duration;

use crate::cache::freshness::Defaults;
use crate::cache::policy::Grace;
use crate::config::{CacheSettings, ListenerSettings, Settings, TrustedPeer};
use crate::filter::trust::TrustedProxies;
use crate::limits::{HeadLimits, ListenerLimits, UpstreamLimits};
use crate::net::Ticks;

/// See the module.
pub(crate) struct Snapshot {
    /// This proxy's name in Via.
    pub(crate) via: String,
    /// Whether TRACE is passed on.
    pub(crate) trace: bool,
    /// Bounds on the heads of responses.
    pub(crate) response_head: HeadLimits,
    pub(crate) listeners: Vec<ListenerRules>,
    pub(crate) upstream: UpstreamLimits,
    pub(crate) upstream_host: bool,
    /// What the cache does where no route says otherwise.
    pub(crate) cache: CacheRules,
}

impl Snapshot {
    /// The snapshot of a configuration.
    pub(crate) fn new(settings: &Settings) -> Snapshot {
        Snapshot {
            via: settings.via.clone(),
            trace: settings.trace,
            response_head: settings.response_head,
            listeners: settings.listeners.iter().map(ListenerRules::new).collect(),
            upstream: settings.upstreams[0].limits.clone(),
            upstream_host: settings.upstreams[0].own_host,
            cache: settings.cache.as_ref().map_or(CacheRules::OFF, CacheRules::new),
        }
    }
}

/// What holds for the clients of a listener.
pub(crate) struct ListenerRules {
    pub(crate) name: String,
    pub(crate) head: HeadLimits,
    pub(crate) body_bytes_max: u64,
    pub(crate) head_time: Ticks,
    pub(crate) keep_alive: Ticks,
    body_idle: Ticks,
    write_idle: Ticks,
    tunnel_idle: Ticks,
    pub(crate) trusted: TrustedProxies,
}

impl ListenerRules {
    fn new(settings: &ListenerSettings) -> ListenerRules {
        let ListenerLimits {
            head,
            body_bytes_max,
            head_time,
            body_idle,
            keep_alive,
            write_idle,
            tunnel_idle,
        } = settings.limits;
        let networks = settings.trusted.iter().filter_map(|peer| match peer {
            TrustedPeer::Network(network) => Some(*network),
            TrustedPeer::Unix => None,
        });
        ListenerRules {
            name: settings.name.clone(),
            head,
            body_bytes_max: body_bytes_max.unwrap_or(u64::MAX),
            head_time: Ticks::of(head_time),
            keep_alive: Ticks::of(keep_alive),
            body_idle: Ticks::of(body_idle),
            write_idle: Ticks::of(write_idle),
            tunnel_idle: Ticks::of(tunnel_idle),
            trusted: TrustedProxies::new(networks.collect()),
        }
    }

    /// The limits of an exchange that has no route yet.
    pub(super) fn times(&self) -> ExchangeTimes {
        ExchangeTimes {
            body_idle: self.body_idle,
            write_idle: self.write_idle,
            tunnel_idle: self.tunnel_idle,
            first_byte: Ticks::default(),
            upstream_idle: Ticks::default(),
        }
    }
}

/// How long the phases of an exchange may take.
#[derive(Clone, Copy)]
pub(super) struct ExchangeTimes {
    pub(super) body_idle: Ticks,
    pub(super) write_idle: Ticks,
    pub(super) tunnel_idle: Ticks,
    pub(super) first_byte: Ticks,
    pub(super) upstream_idle: Ticks,
}

/// What the cache does with a request and its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheRules {
    /// Whether it has anything to do with the request.
    pub(crate) on: bool,
    pub(crate) defaults: Defaults,
    pub(crate) grace: Grace,
    pub(crate) response_bytes_max: usize,
    pub(crate) wait: Duration,
}

impl CacheRules {
    /// Where there is none.
    pub(crate) const OFF: CacheRules = CacheRules {
        on: false,
        defaults: Defaults::NONE,
        grace: Grace { stale_while_revalidate_s: 0, stale_if_error_s: 0 },
        response_bytes_max: 0,
        wait: Duration::ZERO,
    };

    fn new(settings: &CacheSettings) -> CacheRules {
        let grace_s = settings.grace.map_or(0, |grace| grace.as_secs());
        CacheRules {
            on: true,
            defaults: Defaults { ttl_s: settings.ttl.map(|ttl| ttl.as_secs()), ..Defaults::NONE },
            grace: Grace { stale_while_revalidate_s: grace_s, stale_if_error_s: grace_s },
            response_bytes_max: settings.response_bytes_max,
            wait: settings.wait,
        }
    }
}
