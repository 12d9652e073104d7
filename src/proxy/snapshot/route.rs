//! What becomes of the requests of a route.

use std::collections::HashMap;
use std::time::Duration;

use super::caching::CacheRules;
use super::listener::ExchangeTimes;
use super::traffic::{Made, TrafficRules};
use crate::config::RouteSettings;
use crate::config::route::{self, CacheRule, ErrorPages, Rewrite};
use crate::config::template::{Template, Variable};
use crate::limits::RouteLimits;
use crate::net::Ticks;
use crate::route::fields::Edits;
use crate::route::key;
use crate::route::split::Split;
use crate::route::template::Escape;
use crate::upstream::Upstream;

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct RouteRules {
    pub(in crate::proxy) name: String,
    pub(in crate::proxy) action: Action,
    pub(in crate::proxy) rewrite: Rewrite,
    pub(in crate::proxy) request_fields: Edits,
    pub(in crate::proxy) response_fields: Edits,
    pub(in crate::proxy) cache: CacheRules,
    /// What tells stored responses apart.
    pub(in crate::proxy) key: CacheRule,
    /// What makes its requests depend on more than their URL: see [`key::brought`].
    pub(in crate::proxy) brought: Vec<Variable>,
    /// Tags of what is stored, separated by line feeds.
    pub(in crate::proxy) tags: Box<[u8]>,
    /// The place of the upstream that gets copies, and of how many of ten thousand requests.
    pub(in crate::proxy) mirror: Option<(usize, u16)>,
    pub(in crate::proxy) error_pages: ErrorPages,
    limits: RouteLimits,
    /// What is done about traffic, beside what the listener does.
    pub(in crate::proxy) traffic: TrafficRules,
}

/// What a route does with a request.
#[derive(Clone)]
pub(in crate::proxy) enum Action {
    Forward { split: Split, to: Box<[Target]> },
    Redirect { to: Template, status: u16 },
    Respond { status: u16, content_type: String, body: Template, escape: Escape },
    Deny { status: u16 },
}

/// One of the upstreams of a route.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Target {
    /// Its place among all upstreams.
    pub(in crate::proxy) upstream: usize,
    /// What tells its responses to this route's requests from those of others: see [`key::identity`].
    pub(in crate::proxy) identity: u64,
}

impl RouteRules {
    pub(super) fn new(
        settings: &RouteSettings,
        upstreams: &HashMap<&str, usize>,
        cache: CacheRules,
        made: &Made<'_>,
    ) -> RouteRules {
        let mirror = settings.mirror.as_ref();
        RouteRules {
            name: settings.name.clone(),
            action: Action::new(settings, upstreams),
            rewrite: settings.rewrite.clone(),
            request_fields: Edits::new(&settings.request_fields),
            response_fields: Edits::new(&settings.response_fields),
            cache: cache.under(&settings.cache),
            key: settings.cache.clone(),
            brought: key::brought(settings),
            tags: settings.cache.tags.join("\n").into_bytes().into_boxed_slice(),
            mirror: mirror.and_then(|to| Some((*upstreams.get(&*to.upstream)?, to.share))),
            error_pages: settings.error_pages.clone(),
            limits: settings.limits.clone(),
            traffic: TrafficRules::new(&settings.traffic, made),
        }
    }

    /// Bytes of content that a request may have, where its listener allows `listener`.
    pub(in crate::proxy) fn body_bytes_max(&self, listener: u64) -> u64 {
        self.limits.body_bytes_max.unwrap_or(listener)
    }

    /// How long the phases of an exchange may take, where its listener and its upstream have said so.
    pub(in crate::proxy) fn times(
        &self,
        listener: ExchangeTimes,
        upstream: Option<&Upstream>,
    ) -> ExchangeTimes {
        let ours = |ours: Option<Duration>, theirs: Ticks| ours.map_or(theirs, Ticks::of);
        let limits = &self.limits;
        ExchangeTimes {
            body_idle: ours(limits.body_idle, listener.body_idle),
            write_idle: ours(limits.write_idle, listener.write_idle),
            rate_min: limits.rate_min.unwrap_or(listener.rate_min),
            tunnel_idle: ours(limits.tunnel_idle, listener.tunnel_idle),
            first_byte: ours(limits.first_byte, upstream.map_or(listener.first_byte, |to| to.first_byte)),
            upstream_idle: ours(limits.upstream_idle, upstream.map_or(listener.upstream_idle, |to| to.idle)),
        }
    }

    /// How long connecting may take.
    pub(in crate::proxy) fn connect(&self, upstream: &Upstream) -> Duration {
        self.limits.connect.unwrap_or(upstream.connect)
    }

    /// How often a request may be sent again.
    pub(in crate::proxy) fn retries_max(&self, upstream: &Upstream) -> u32 {
        self.limits.retries_max.unwrap_or(upstream.retries_max)
    }
}

impl Action {
    fn new(settings: &RouteSettings, upstreams: &HashMap<&str, usize>) -> Action {
        match &settings.action {
            route::Action::Forward(split) => Action::Forward {
                split: Split::new(split),
                // The names are those of upstreams: `config` has seen to that.
                to: split
                    .shares
                    .iter()
                    .filter_map(|(name, _)| {
                        let upstream = *upstreams.get(&**name)?;
                        Some(Target { upstream, identity: key::identity(settings, name) })
                    })
                    .collect(),
            },
            route::Action::Redirect { to, status } => Action::Redirect { to: to.clone(), status: *status },
            route::Action::Respond(fixed) => Action::Respond {
                status: fixed.status,
                content_type: fixed.content_type.clone(),
                body: fixed.body.clone(),
                escape: Escape::of(&fixed.content_type),
            },
            route::Action::Deny { status } => Action::Deny { status: *status },
        }
    }
}
