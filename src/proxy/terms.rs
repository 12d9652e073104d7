//! What holds for one exchange, from its first byte to its last, whatever is configured meanwhile.

use std::rc::Rc;
use std::time::Duration;

use super::core::Core;
use super::inlet::Inlet;
use super::snapshot::{Action, CacheRules, ExchangeTimes, ListenerRules, RouteRules, Snapshot};
use crate::route::Captures;
use crate::route::fields::Edits;
use crate::upstream::Upstream;

/// See the module. Until a route has been found, what the listener says holds.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(super) snapshot: Rc<Snapshot>,
    /// The place of the listener by which the client came.
    pub(super) listener: usize,
    /// Whether that listener is gone: then the connection ends with this exchange.
    pub(super) is_last: bool,
    pub(super) times: ExchangeTimes,
    route: Option<usize>,
    /// The upstream, if the route passes the request on to one.
    upstream: Option<usize>,
    /// What tells its responses from those of other routes.
    pub(super) identity: u64,
    /// What was made for this exchange, if anything was: kept apart, for most exchanges have none, and all that an
    /// exchange has is moved about with it.
    made: Option<Box<Made>>,
}

/// What was found and written for one exchange.
#[derive(Clone, Default)]
pub(super) struct Made {
    pub(super) captures: Captures,
    pub(super) texts: Texts,
}

/// What is made of most.
static NOTHING: Made = Made { captures: Captures::new(), texts: Texts::NONE };

/// Texts that were made for the exchange.
#[derive(Clone, Default)]
pub(super) struct Texts {
    /// The path in normal form; empty where it was sent like that.
    pub(super) path: Vec<u8>,
    /// The target for the upstream; empty where it is the one that was sent.
    pub(super) target: Vec<u8>,
    /// What makes the request depend on more than its URL.
    pub(super) brought: Vec<u8>,
    /// Field lines that the request gains.
    pub(super) request_lines: Vec<u8>,
    /// Field lines that the response gains.
    pub(super) response_lines: Vec<u8>,
}

impl Texts {
    const NONE: Texts = Texts {
        path: Vec::new(),
        target: Vec::new(),
        brought: Vec::new(),
        request_lines: Vec::new(),
        response_lines: Vec::new(),
    };
}

impl Terms {
    /// What was made for this exchange.
    pub(super) fn made(&self) -> &Made {
        self.made.as_deref().unwrap_or(&NOTHING)
    }

    /// The same, to be written.
    pub(super) fn make(&mut self, core: &Core) -> &mut Made {
        self.made.get_or_insert_with(|| core.take_made())
    }

    /// For a request that comes in there now.
    pub(super) fn of(inlet: &Inlet) -> Terms {
        let (snapshot, listener) = inlet.now();
        Terms {
            times: snapshot.listeners[listener].times(),
            snapshot,
            listener,
            is_last: !inlet.is_open(),
            route: None,
            upstream: None,
            identity: 0,
            made: None,
        }
    }

    /// The route has been found.
    pub(super) fn take_route(&mut self, place: usize) {
        self.route = Some(place);
        self.times = self.snapshot.routes[place].times(self.times, None);
    }

    /// The upstream has been chosen.
    pub(super) fn take_upstream(&mut self, place: usize, identity: u64) {
        (self.upstream, self.identity) = (Some(place), identity);
        if let (Some(route), Some(upstream)) = (self.route(), self.upstream()) {
            self.times = route.times(self.listener().times(), Some(upstream));
        }
    }

    /// The rules of the listener.
    pub(super) fn listener(&self) -> &ListenerRules {
        &self.snapshot.listeners[self.listener]
    }

    /// The rules of the route, once there is one.
    pub(super) fn route(&self) -> Option<&RouteRules> {
        self.snapshot.routes.get(self.route?)
    }

    /// The place of the route.
    pub(super) fn route_place(&self) -> Option<usize> {
        self.route
    }

    /// What the route does with the request, once there is one.
    pub(super) fn action(&self) -> Option<&Action> {
        self.route().map(|route| &route.action)
    }

    /// The upstream, if there is to be one.
    pub(super) fn upstream(&self) -> Option<&Rc<Upstream>> {
        self.snapshot.upstreams.get(self.upstream?)
    }

    /// What the cache does with the request.
    pub(super) fn cache(&self) -> CacheRules {
        self.route().map_or(CacheRules::OFF, |route| route.cache)
    }

    /// How long connecting may take.
    pub(super) fn connect(&self) -> Duration {
        let both = self.route().zip(self.upstream());
        both.map_or(Duration::ZERO, |(route, upstream)| route.connect(upstream))
    }

    /// How often the request may be sent again.
    pub(super) fn retries_max(&self) -> u32 {
        self.route().zip(self.upstream()).map_or(0, |(route, upstream)| route.retries_max(upstream))
    }

    /// Bytes of content that are kept, so that they can be sent again.
    pub(super) fn replay_bytes_max(&self) -> u64 {
        self.upstream().map_or(0, |upstream| upstream.retry.replay_bytes_max)
    }

    /// Bytes of content that the request may have.
    pub(super) fn body_bytes_max(&self) -> u64 {
        let listener = self.listener().body_bytes_max;
        self.route().map_or(listener, |route| route.body_bytes_max(listener))
    }

    /// What changes in the request, with the lines that it gains.
    pub(super) fn request_edits(&self) -> Option<(&Edits, &[u8])> {
        let edits = self.route().map(|route| &route.request_fields)?;
        (!edits.is_empty()).then_some((edits, &self.made().texts.request_lines))
    }

    /// What changes in the response, with the lines that it gains.
    pub(super) fn response_edits(&self) -> Option<(&Edits, &[u8])> {
        let edits = self.route().map(|route| &route.response_fields)?;
        (!edits.is_empty()).then_some((edits, &self.made().texts.response_lines))
    }

    /// The page that is to be shown for an error of that status.
    pub(super) fn error_page(&self, status: u16) -> Option<(&str, &[u8])> {
        let own = self.route().and_then(|route| route.error_pages.get(&status));
        let page = own.or_else(|| self.snapshot.error_pages.get(&status))?;
        Some((&page.content_type, &page.body))
    }

    /// This proxy's name in Via.
    pub(super) fn via(&self) -> &[u8] {
        self.snapshot.via.as_bytes()
    }

    /// Gives memory back.
    pub(super) fn give_back(&mut self, core: &Core) {
        let Some(mut made) = self.made.take() else { return };
        let Texts { path, target, brought, request_lines, response_lines } = std::mem::take(&mut made.texts);
        for text in [path, target, brought, request_lines, response_lines] {
            core.give_back_text(text);
        }
        core.give_back_made(made);
    }
}
