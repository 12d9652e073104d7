//! What holds for one exchange, from its first byte to its last, whatever is configured meanwhile.

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use crate::config::holding::Choice;
use crate::filter::bounds::Bounds;
use crate::filter::cors;
use crate::http::{FieldLine, Name};
use crate::proxy::checks::Ruled;
use crate::proxy::client::inlet::Inlet;
use crate::proxy::core::Core;
use crate::proxy::pace::Pace;
use crate::proxy::response::amend::Changes;
use crate::proxy::snapshot::{
    Action, CacheRules, CodingRules, CorsRules, ExchangeTimes, HoldingRules, ListenerRules, RequestRules,
    ResponseRules, RouteRules, Safety, Snapshot, TrafficRules,
};
use crate::route::Captures;
use crate::route::fields::Edits;
use crate::upstream::Upstream;

/// See the module. Until a route has been found, what the listener says holds.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(in crate::proxy) snapshot: Rc<Snapshot>,
    /// The place of the listener by which the client came.
    pub(in crate::proxy) listener: usize,
    /// Whether it came by https, as proxies in front that are trusted say; not known before the request is checked.
    pub(in crate::proxy) https: bool,
    /// Whether that listener is gone, or the process is under pressure: then the connection ends with this exchange.
    pub(in crate::proxy) is_last: bool,
    pub(in crate::proxy) times: ExchangeTimes,
    route: Option<usize>,
    /// The upstream, if the route passes the request on to one.
    upstream: Option<usize>,
    /// What tells its responses from those of other routes.
    pub(in crate::proxy) identity: u64,
    /// What was made for this exchange, if anything was: kept apart, for most exchanges have none, and all that an
    /// exchange has is moved about with it.
    made: Option<Box<Made>>,
}

/// What was found and written for one exchange.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Made {
    pub(in crate::proxy) captures: Captures,
    pub(in crate::proxy) texts: Texts,
    /// How fast the response is given; none where it goes as fast as it can.
    pub(in crate::proxy) pace: Option<Pace>,
    /// What rules have left.
    pub(in crate::proxy) ruled: Ruled,
}

/// What is made of most.
static NOTHING: Made = Made { captures: Captures::new(), texts: Texts::NONE, pace: None, ruled: Ruled::NONE };

/// Texts that were made for the exchange.
#[derive(Clone, Default)]
pub(in crate::proxy) struct Texts {
    /// The path in normal form; empty where it was sent like that.
    pub(in crate::proxy) path: Vec<u8>,
    /// The target for the upstream; empty where it is the one that was sent.
    pub(in crate::proxy) target: Vec<u8>,
    /// What makes the request depend on more than its URL.
    pub(in crate::proxy) brought: Vec<u8>,
    /// Field lines that the request gains.
    pub(in crate::proxy) request_lines: Vec<u8>,
    /// Field lines that the response gains.
    pub(in crate::proxy) response_lines: Vec<u8>,
    /// Names of fields that the upstream must not be told by the client, each with a line feed behind it.
    pub(in crate::proxy) dropped: Vec<u8>,
    /// Who the client is, as far as that was found out.
    pub(in crate::proxy) user: Vec<u8>,
    /// Field lines that an answer gains by which the request is turned away: `Retry-After`, `WWW-Authenticate`.
    pub(in crate::proxy) refusal_lines: Vec<u8>,
    /// Rules that hold, for the log: `SET/ID`, with commas between.
    pub(in crate::proxy) noted: Vec<u8>,
    /// Tags that rules have given, with commas between.
    pub(in crate::proxy) tags: Vec<u8>,
}

impl Texts {
    const NONE: Texts = Texts {
        path: Vec::new(),
        target: Vec::new(),
        brought: Vec::new(),
        request_lines: Vec::new(),
        response_lines: Vec::new(),
        dropped: Vec::new(),
        user: Vec::new(),
        refusal_lines: Vec::new(),
        noted: Vec::new(),
        tags: Vec::new(),
    };
}

static NO_EDITS: LazyLock<Edits> = LazyLock::new(Edits::default);

/// What browsers are told.
#[derive(Clone, Copy, Default)]
pub(in crate::proxy) struct Told<'a> {
    pub(in crate::proxy) safety: Option<&'a Safety>,
    pub(in crate::proxy) hidden: Option<&'a Edits>,
    pub(in crate::proxy) cors: Option<&'a CorsRules>,
}

impl Terms {
    /// What was made for this exchange.
    pub(in crate::proxy) fn made(&self) -> &Made {
        self.made.as_deref().unwrap_or(&NOTHING)
    }

    /// The same, to be written.
    pub(in crate::proxy) fn make(&mut self, core: &Core) -> &mut Made {
        self.made.get_or_insert_with(|| core.take_made())
    }

    /// For a request that comes in there now.
    pub(in crate::proxy) fn of(inlet: &Inlet) -> Terms {
        let (snapshot, listener) = inlet.now();
        Terms {
            times: snapshot.listeners[listener].times(),
            // A connection that waits would only be closed soon.
            is_last: !inlet.is_open() || snapshot.pressure.is_near(),
            snapshot,
            listener,
            https: false,
            route: None,
            upstream: None,
            identity: 0,
            made: None,
        }
    }

    /// The route has been found.
    pub(in crate::proxy) fn take_route(&mut self, place: usize) {
        self.route = Some(place);
        self.times = self.snapshot.routes[place].times(self.times, None);
    }

    /// For what is asked beside the exchange, of that upstream: the route has no part in it.
    pub(in crate::proxy) fn beside(&self, upstream: usize) -> Terms {
        Terms {
            snapshot: self.snapshot.clone(),
            listener: self.listener,
            is_last: self.is_last,
            times: self.times,
            route: None,
            upstream: Some(upstream),
            identity: 0,
            https: self.https,
            made: None,
        }
    }

    /// The upstream has been chosen.
    pub(in crate::proxy) fn take_upstream(&mut self, place: usize, identity: u64) {
        (self.upstream, self.identity) = (Some(place), identity);
        if let (Some(route), Some(upstream)) = (self.route(), self.upstream()) {
            self.times = route.times(self.listener().times(), Some(upstream));
        }
    }

    /// The rules of the listener.
    pub(in crate::proxy) fn listener(&self) -> &ListenerRules {
        &self.snapshot.listeners[self.listener]
    }

    /// The rules of the route, once there is one.
    pub(in crate::proxy) fn route(&self) -> Option<&RouteRules> {
        self.snapshot.routes.get(self.route?)
    }

    /// The place of the route.
    pub(in crate::proxy) fn route_place(&self) -> Option<usize> {
        self.route
    }

    /// What the route does with the request, once there is one.
    pub(in crate::proxy) fn action(&self) -> Option<&Action> {
        self.route().map(|route| &route.action)
    }

    /// The upstream, if there is to be one.
    pub(in crate::proxy) fn upstream(&self) -> Option<&Rc<Upstream>> {
        self.snapshot.upstreams.get(self.upstream?)
    }

    /// What the cache does with the request.
    pub(in crate::proxy) fn cache(&self) -> CacheRules {
        self.route().map_or(CacheRules::OFF, |route| route.cache)
    }

    /// How long connecting may take.
    pub(in crate::proxy) fn connect(&self) -> Duration {
        let of = |upstream: &Upstream| self.route().map_or(upstream.connect, |route| route.connect(upstream));
        self.upstream().map_or(Duration::ZERO, |upstream| of(upstream))
    }

    /// How often the request may be sent again.
    pub(in crate::proxy) fn retries_max(&self) -> u32 {
        let of = |upstream: &Upstream| {
            self.route().map_or(upstream.retries_max, |route| route.retries_max(upstream))
        };
        self.upstream().map_or(0, |upstream| of(upstream))
    }

    /// Bytes of content that are kept, so that they can be sent again.
    pub(in crate::proxy) fn replay_bytes_max(&self) -> u64 {
        self.upstream().map_or(0, |upstream| upstream.retry.replay_bytes_max)
    }

    /// Bytes of content that the request may have.
    pub(in crate::proxy) fn body_bytes_max(&self) -> u64 {
        let listener = self.listener().body_bytes_max;
        self.route().map_or(listener, |route| route.body_bytes_max(listener))
    }

    /// Whether the upstream must not be told a field of that name by the client. Origins behind CGI and its kin cannot
    /// tell `X_User` from `X-User`.
    pub(in crate::proxy) fn is_dropped(&self, name: &[u8]) -> bool {
        let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        let mut names =
            self.made().texts.dropped.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
        names.any(|dropped| {
            dropped.len() == name.len() && dropped.iter().map(plain).eq(name.iter().map(plain))
        })
    }

    /// Marks the fields that the upstream must not be told by the client. Whoever reads the head again has to do that
    /// again.
    pub(in crate::proxy) fn drop_fields(&self, head: &[u8], lines: &mut [FieldLine]) {
        if self.made().texts.dropped.is_empty() {
            return;
        }
        let dropped = lines.iter_mut().filter(|line| self.is_dropped(line.name.within(head)));
        dropped.for_each(|line| line.known = Name::Dropped);
    }

    /// What changes in the request, with the lines that it gains. Lines may also come from the checks of a listener,
    /// without a route that changes anything.
    pub(in crate::proxy) fn request_changes(&self) -> Option<Changes<'_>> {
        let lines = &*self.made().texts.request_lines;
        match self.route().map(|route| &route.request_fields) {
            Some(edits) if !edits.is_empty() => Some(Changes::new(edits, lines)),
            _ if lines.is_empty() => None,
            _ => Some(Changes::new(&NO_EDITS, lines)),
        }
    }

    /// What changes in the response, with the lines that it gains.
    pub(in crate::proxy) fn response_changes(&self) -> Option<Changes<'_>> {
        let lines = &*self.made().texts.response_lines;
        let edits = self.route().map(|route| &route.response_fields).filter(|edits| !edits.is_empty());
        let told = self.told();
        if edits.is_none() && lines.is_empty() && told.is_none() {
            return None;
        }
        let Told { safety, hidden, cors } = told.unwrap_or_default();
        let for_all = cors.and_then(|cors| cors.rule.lines_for_all());
        Some(Changes {
            edits: edits.unwrap_or(&NO_EDITS),
            hidden: [hidden, cors.map(|cors| &cors.theirs)],
            lines: [lines, for_all.unwrap_or_default()],
            missing: safety.map(|safety| (&safety.always, self.https.then_some(&safety.by_https))),
            vary: cors.filter(|_| for_all.is_none()).map(|_| cors::VARY),
        })
    }

    /// What browsers are told: of each part, what the route says goes in front of what its listener says.
    pub(in crate::proxy) fn told(&self) -> Option<Told<'_>> {
        let of_listener = self.listener().traffic.browsers.as_deref();
        let of_route = self.route().and_then(|route| route.traffic.browsers.as_deref());
        let (first, second) = match (of_route, of_listener) {
            (Some(route), listener) => (route, listener),
            (None, listener) => (listener?, None),
        };
        Some(Told {
            safety: first.safety.or(second.map(|rules| &rules.safety)),
            hidden: first.hidden.or(second.map(|rules| &rules.hidden)),
            cors: first.cors.or(second.map(|rules| &rules.cors)),
        })
    }

    /// Bounds on requests: what the route says goes in front of what its listener says.
    pub(in crate::proxy) fn bounds(&self) -> Option<&Bounds> {
        let own = self.route().and_then(|route| route.traffic.bounds());
        own.or_else(|| self.listener().traffic.bounds())
    }

    /// What is done about traffic: by the listener, and by the route, once there is one.
    pub(in crate::proxy) fn traffic(&self) -> impl Iterator<Item = &TrafficRules> {
        std::iter::once(&self.listener().traffic).chain(self.route().map(|route| &route.traffic))
    }

    /// Whether the request is checked before it is served.
    pub(in crate::proxy) fn checks(&self) -> bool {
        self.traffic().any(TrafficRules::checks)
    }

    /// How responses are compressed: what the route says goes in front of what its listener says.
    pub(in crate::proxy) fn coding(&self) -> Option<&CodingRules> {
        let own = self.route().and_then(|route| route.traffic.coding.as_deref());
        own.or(self.listener().traffic.coding.as_deref())
    }

    /// How content of the request is held until it is whole, if it is: what the route says goes in front of what its
    /// listener says.
    pub(in crate::proxy) fn hold_request(&self) -> Option<&RequestRules> {
        self.held(|rules| &rules.request)
    }

    /// How the response is taken off its upstream, ahead of the client, if it is.
    pub(in crate::proxy) fn hold_response(&self) -> Option<&ResponseRules> {
        self.held(|rules| &rules.response)
    }

    fn held<'a, T>(&'a self, of: impl Fn(&'a HoldingRules) -> &'a Choice<T>) -> Option<&'a T> {
        let own = self.route().and_then(|route| route.traffic.holding.as_deref()).map(&of);
        let around = self.listener().traffic.holding.as_deref().map(of);
        match (own, around) {
            (None, None) => None,
            (own, around) => own.unwrap_or(&Choice::Unsaid).within(around.unwrap_or(&Choice::Unsaid)),
        }
    }

    /// How fast the response is given, if that is bounded.
    pub(in crate::proxy) fn pace(&self) -> Option<&Pace> {
        self.made.as_deref()?.pace.as_ref()
    }

    /// The page that is to be shown for an error of that status.
    pub(in crate::proxy) fn error_page(&self, status: u16) -> Option<(&str, &[u8])> {
        let own = self.route().and_then(|route| route.error_pages.get(&status));
        let page = own.or_else(|| self.snapshot.error_pages.get(&status))?;
        Some((&page.content_type, &page.body))
    }

    /// This proxy's name in Via.
    pub(in crate::proxy) fn via(&self) -> &[u8] {
        self.snapshot.via.as_bytes()
    }

    /// Gives memory back.
    pub(in crate::proxy) fn give_back(&mut self, core: &Core) {
        let Some(mut made) = self.made.take() else { return };
        made.pace = None;
        let Texts {
            path,
            target,
            brought,
            request_lines,
            response_lines,
            dropped,
            user,
            refusal_lines,
            noted,
            tags,
        } = std::mem::take(&mut made.texts);
        let of_request = [path, target, brought, request_lines, dropped, user, noted, tags];
        for text in of_request.into_iter().chain([response_lines, refusal_lines]) {
            core.give_back_text(text);
        }
        core.give_back_made(made);
    }
}
