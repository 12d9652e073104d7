//! The configuration as one core uses it. It never changes: a new one takes its place, and each exchange keeps
//! to the one that it began with.

mod caching;
mod listener;
mod route;

use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

pub(in crate::proxy) use self::caching::CacheRules;
pub(in crate::proxy) use self::listener::{ExchangeTimes, ListenerRules};
pub(in crate::proxy) use self::route::{Action, RouteRules};
use crate::config::route::{ErrorPages, KeyQuery};
use crate::config::{Settings, UpstreamSettings};
use crate::limits::HeadLimits;
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
    pub(crate) upstreams: Vec<UpstreamSettings>,
    pub(in crate::proxy) router: Router,
    pub(in crate::proxy) routes: Vec<RouteRules>,
    pub(in crate::proxy) error_pages: ErrorPages,
    /// The ways in which routes leave parts of the query out of keys.
    pub(in crate::proxy) queries: Vec<KeyQuery>,
    /// What all of it was made from, for those who want to know why.
    pub(in crate::proxy) settings: Arc<Settings>,
}

impl Blueprint {
    /// The blueprint of a configuration.
    pub(crate) fn new(settings: &Settings) -> Blueprint {
        let names: Vec<&str> = settings.listeners.iter().map(|listener| listener.name.as_str()).collect();
        let cache = settings.cache.as_ref().map_or(CacheRules::OFF, CacheRules::new);
        let upstreams: HashMap<&str, usize> =
            settings.upstreams.iter().enumerate().map(|(place, upstream)| (&*upstream.name, place)).collect();
        Blueprint {
            via: settings.via.clone(),
            trace: settings.trace,
            response_head: settings.response_head,
            listeners: settings.listeners.iter().map(ListenerRules::new).collect(),
            upstreams: settings.upstreams.clone(),
            router: Router::new(&settings.routes, &names),
            routes: settings.routes.iter().map(|route| RouteRules::new(route, &upstreams, cache)).collect(),
            error_pages: settings.error_pages.clone(),
            queries: key::queries(&settings.routes),
            settings: Arc::new(settings.clone()),
        }
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
