//! What holds for the clients of a listener.

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
    tunnel_idle: Ticks,
    pub(in crate::proxy) trusted: TrustedProxies,
    /// Whose connections begin with a header of the PROXY protocol.
    pub(in crate::proxy) introduced: TrustedProxies,
}

impl ListenerRules {
    pub(super) fn new(settings: &ListenerSettings) -> ListenerRules {
        let ListenerLimits {
            head,
            body_bytes_max,
            head_time,
            body_idle,
            keep_alive,
            write_idle,
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
            tunnel_idle: Ticks::of(tunnel_idle),
            trusted: TrustedProxies::new(&settings.trusted),
            introduced: TrustedProxies::new(&settings.proxy_protocol),
        }
    }

    /// The limits of an exchange that has no route yet.
    pub(in crate::proxy) fn times(&self) -> ExchangeTimes {
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
pub(in crate::proxy) struct ExchangeTimes {
    pub(in crate::proxy) body_idle: Ticks,
    pub(in crate::proxy) write_idle: Ticks,
    pub(in crate::proxy) tunnel_idle: Ticks,
    pub(in crate::proxy) first_byte: Ticks,
    pub(in crate::proxy) upstream_idle: Ticks,
}
