//! Which limits hold for a request, and who says so.

use std::time::Duration;

use super::{Explaining, Limit};
use crate::config::ListenerSettings;
use crate::config::clients::ConnectionRate;
use crate::limits::{KIB, RouteLimits};

impl Explaining<'_> {
    /// The limits, those of the client's side first.
    pub(super) fn limits(&self) -> Vec<Limit> {
        let terms = &self.received.terms;
        let settings = &terms.snapshot.settings;
        let route = terms.route_place().and_then(|place| settings.routes.get(place));
        let nothing = RouteLimits::default();
        let own = route.map_or(&nothing, |route| &route.limits);
        let rules = terms.listener();
        let listener = format!("listener {}", rules.name);
        let upstream = terms.upstream().map(|upstream| format!("upstream {}", upstream.name));
        let of_route = route.map(|route| format!("route {}", route.name)).unwrap_or_default();
        let mut limits = Vec::new();
        let mut add = |name: &str, value: String, from: &str, is_own: bool| {
            let from = if is_own { &of_route } else { from };
            limits.push(Limit { name: name.to_owned(), value, from: from.to_owned() });
        };
        let times = &terms.times;
        let body = terms.body_bytes_max();
        let body = if body == u64::MAX { "none".to_owned() } else { size(body) };
        add("max-head", size(rules.head.head_bytes_max as u64), &listener, false);
        add("max-fields", rules.head.fields_max.to_string(), &listener, false);
        add("max-target", size(rules.head.target_bytes_max as u64), &listener, false);
        add("max-body", body, &listener, own.body_bytes_max.is_some());
        add("head-timeout", time(rules.head_time.span()), &listener, false);
        add("body-timeout", time(times.body_idle.span()), &listener, own.body_idle.is_some());
        add("keep-alive-timeout", time(rules.keep_alive.span()), &listener, false);
        add("write-timeout", time(times.write_idle.span()), &listener, own.write_idle.is_some());
        let rate = if times.rate_min == 0 { "off".to_owned() } else { size(u64::from(times.rate_min)) };
        add("min-rate", rate, &listener, own.rate_min.is_some());
        add("tunnel-timeout", time(times.tunnel_idle.span()), &listener, own.tunnel_idle.is_some());
        for (name, value) in settings.listeners.get(terms.listener).map(of_clients).unwrap_or_default() {
            add(name, value, &listener, false);
        }
        if let Some(upstream) = upstream {
            add("connect-timeout", time(terms.connect()), &upstream, own.connect.is_some());
            add("first-byte-timeout", time(times.first_byte.span()), &upstream, own.first_byte.is_some());
            add("upstream-timeout", time(times.upstream_idle.span()), &upstream, own.upstream_idle.is_some());
            add("retries", terms.retries_max().to_string(), &upstream, own.retries_max.is_some());
        }
        limits
    }
}

/// The limits on the connections of a listener, as far as there are some.
fn of_clients(listener: &ListenerSettings) -> Vec<(&'static str, String)> {
    let limits = &listener.clients;
    let rate = |rate: ConnectionRate| format!("{}, {} at once", rate.pace, rate.burst);
    let known = [
        ("max-connections", limits.connections_max.map(|count| count.to_string())),
        ("max-client-connections", limits.client_connections_max.map(|count| count.to_string())),
        ("connection-rate", limits.rate.map(rate)),
        ("client-connection-rate", limits.client_rate.map(rate)),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn time(span: Duration) -> String {
    humantime::format_duration(span).to_string().replace(' ', "")
}

/// In the largest unit of which it is a whole number.
pub(super) fn size(bytes: u64) -> String {
    const KIBS: u64 = KIB as u64;
    let units = [("GiB", KIBS * KIBS * KIBS), ("MiB", KIBS * KIBS), ("KiB", KIBS)];
    let fitting = units.into_iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fitting.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}
