//! The configuration as one core uses it. It never changes: a new one takes its place, and each exchange keeps
//! to the one that it began with.

mod caching;
mod clients;
mod followed;
mod listener;
mod registry;
mod route;
mod traffic;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

pub(in crate::proxy) use self::caching::CacheRules;
pub(crate) use self::followed::{Follow, Followed};
pub(in crate::proxy) use self::listener::{ExchangeTimes, ListenerRules};
pub(crate) use self::registry::Registry;
pub(in crate::proxy) use self::route::{Action, RouteRules};
pub(in crate::proxy) use self::traffic::{
    By, Chain, CodingRules, CorsRules, FlowRules, HoldingRules, IdentityRules, RequestRules, ResponseRules,
    Safety, TrafficRules, Way, table,
};
pub(crate) use self::traffic::{Rate, RateReport};
use crate::config::holding::Choice;
use crate::config::route::{ErrorPages, KeyQuery};
use crate::config::{Settings, UpstreamSettings};
use crate::limits::HeadLimits;
use crate::proxy::pressure::{Others, Pressure};
use crate::route::{Router, key};
use crate::upstream::Upstream;

/// What a core is given of a configuration. It is made beside the cores, for each of them its own.
#[derive(Clone)]
pub(crate) struct Blueprint {
    /// This proxy's name in Via.
    pub(crate) via: String,
    /// Whether TRACE is passed on.
    pub(crate) trace: bool,
    /// Bounds on the heads of responses.
    pub(crate) response_head: HeadLimits,
    pub(crate) listeners: Vec<ListenerRules>,
    /// How close the process is to what it may hold.
    pub(in crate::proxy) pressure: Arc<Pressure>,
    pub(crate) upstreams: Vec<UpstreamSettings>,
    pub(in crate::proxy) router: Router,
    pub(in crate::proxy) routes: Vec<RouteRules>,
    pub(in crate::proxy) error_pages: ErrorPages,
    /// The ways in which routes leave parts of the query out of keys.
    pub(in crate::proxy) queries: Vec<KeyQuery>,
    /// The chains of rules that listeners and routes name.
    pub(in crate::proxy) rule_chains: Vec<Chain>,
    /// The rates that are used.
    pub(crate) rates: Vec<Arc<Rate>>,
    /// What all of it was made from, for those who want to know why.
    pub(in crate::proxy) settings: Arc<Settings>,
}

impl Blueprint {
    /// The blueprint of a configuration, alone.
    #[cfg(test)]
    pub(crate) fn new(settings: &Settings) -> Blueprint {
        Blueprint::among(settings, &Registry::default())
    }

    /// The blueprint of a configuration, among those before it.
    pub(crate) fn among(settings: &Settings, registry: &Registry) -> Blueprint {
        let made =
            traffic::Made { settings, registry, networks: RefCell::default(), chains: RefCell::default() };
        let names: Vec<&str> = settings.listeners.iter().map(|listener| listener.name.as_str()).collect();
        let cache = settings.cache.as_ref().map_or(CacheRules::OFF, CacheRules::new);
        let upstreams: HashMap<&str, usize> =
            settings.upstreams.iter().enumerate().map(|(place, upstream)| (&*upstream.name, place)).collect();
        let listeners: Vec<_> =
            settings.listeners.iter().map(|listener| ListenerRules::new(listener, &made)).collect();
        let routes: Vec<_> =
            (settings.routes.iter()).map(|route| RouteRules::new(route, &upstreams, cache, &made)).collect();
        let traffic = (listeners.iter().map(|listener| &listener.traffic))
            .chain(routes.iter().map(|route| &route.traffic));
        Blueprint {
            rates: traffic::used(settings, traffic),
            rule_chains: made.chains.into_inner().into_iter().map(|(_, chain)| chain).collect(),
            via: settings.via.clone(),
            trace: settings.trace,
            response_head: settings.response_head,
            pressure: Blueprint::pressure(settings, registry),
            listeners,
            upstreams: settings.upstreams.clone(),
            router: Router::new(&settings.routes, &names),
            routes,
            error_pages: settings.error_pages.clone(),
            queries: key::queries(&settings.routes),
            settings: Arc::new(settings.clone()),
        }
    }

    /// The pressure of the process, with the limits of a configuration.
    fn pressure(settings: &Settings, registry: &Registry) -> Arc<Pressure> {
        let troubles = traffic::troubles(registry);
        let pressure = registry.keep("pressure".to_owned(), || Pressure::telling(troubles));
        let cores = settings.cores.or_else(|| std::thread::available_parallelism().ok().map(Into::into));
        let traffic = (settings.listeners.iter().map(|listener| &listener.traffic))
            .chain(settings.routes.iter().map(|route| &route.traffic));
        let has_files = traffic
            .map(|traffic| &traffic.holding.request)
            .any(|request| matches!(request, Choice::On(request) if request.file_bytes_max.is_some()));
        let (cores, upstream_idle) = (cores.unwrap_or(1), settings.upstream_idle);
        pressure.set(settings.room, Others { cores, upstream_idle, has_files });
        pressure
    }

    /// How often each rule in use has held, on all cores, by `SET/ID`.
    pub(crate) fn rule_hits(&self) -> Vec<(String, u64)> {
        let by_name: std::collections::BTreeMap<&str, u64> =
            self.rule_chains.iter().flat_map(Chain::hits).collect();
        by_name.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    /// The place of the listener of that name.
    pub(crate) fn listener(&self, name: &str) -> Option<usize> {
        self.listeners.iter().position(|listener| listener.name == name)
    }
}

/// See the module.
pub(crate) struct Snapshot {
    blueprint: Arc<Blueprint>,
    /// The upstreams, in the order of the configuration.
    pub(crate) upstreams: Vec<Rc<Upstream>>,
}

impl Snapshot {
    /// A blueprint with this core's upstreams. Whoever made the blueprint keeps it too, so that it is not for a
    /// core to take it apart.
    pub(crate) fn new(blueprint: Arc<Blueprint>, upstreams: Vec<Rc<Upstream>>) -> Snapshot {
        Snapshot { blueprint, upstreams }
    }
}

impl Deref for Snapshot {
    type Target = Blueprint;

    fn deref(&self) -> &Blueprint {
        &self.blueprint
    }
}
