//! What holds for the clients of a listener.

use super::clients::ClientRules;
use super::traffic::{Made, TrafficRules};
use crate::config::ListenerSettings;
use crate::filter::trust::TrustedProxies;
use crate::limits::{HeadLimits, ListenerLimits};
use crate::net::Ticks;

/// See the module.
#[derive(Clone)]
pub(crate) struct ListenerRules {
    pub(crate) name: String,
    pub(crate) head: HeadLimits,
    pub(crate) body_bytes_max: u64,
    pub(crate) head_time: Ticks,
    pub(crate) keep_alive: Ticks,
    body_idle: Ticks,
    write_idle: Ticks,
    rate_min: u32,
    tunnel_idle: Ticks,
    pub(in crate::proxy) trusted: TrustedProxies,
    /// Whose connections begin with a header of the PROXY protocol.
    pub(in crate::proxy) introduced: TrustedProxies,
    /// How many connections its clients may have, if there is a limit.
    pub(in crate::proxy) clients: Option<Box<ClientRules>>,
    /// What is done about traffic.
    pub(in crate::proxy) traffic: TrafficRules,
}

impl ListenerRules {
    pub(super) fn new(settings: &ListenerSettings, made: &Made<'_>) -> ListenerRules {
        let ListenerLimits {
            head,
            body_bytes_max,
            head_time,
            body_idle,
            keep_alive,
            write_idle,
            rate_min,
            tunnel_idle,
        } = settings.limits;
        ListenerRules {
            name: settings.name.clone(),
            head,
            body_bytes_max: body_bytes_max.unwrap_or(u64::MAX),
            head_time: Ticks::of(head_time),
            keep_alive: Ticks::of(keep_alive),
            body_idle: Ticks::of(body_idle),
            write_idle: Ticks::of(write_idle),
            rate_min,
            tunnel_idle: Ticks::of(tunnel_idle),
            trusted: TrustedProxies::new(&settings.trusted),
            introduced: TrustedProxies::new(&settings.proxy_protocol),
            clients: ClientRules::new(&settings.name, &settings.clients, made.registry).map(Box::new),
            traffic: TrafficRules::new(&settings.traffic, made),
        }
    }

    /// The limits of an exchange that has no route yet.
    pub(in crate::proxy) fn times(&self) -> ExchangeTimes {
        ExchangeTimes {
            body_idle: self.body_idle,
            write_idle: self.write_idle,
            rate_min: self.rate_min,
            tunnel_idle: self.tunnel_idle,
            first_byte: Ticks::default(),
            upstream_idle: Ticks::default(),
        }
    }
}

/// How long the phases of an exchange may take.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct ExchangeTimes {
    pub(in crate::proxy) body_idle: Ticks,
    pub(in crate::proxy) write_idle: Ticks,
    /// Bytes a second that a client has to get forward; 0 is none.
    pub(in crate::proxy) rate_min: u32,
    pub(in crate::proxy) tunnel_idle: Ticks,
    pub(in crate::proxy) first_byte: Ticks,
    pub(in crate::proxy) upstream_idle: Ticks,
}
