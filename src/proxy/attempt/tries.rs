//! The tries of one request: which endpoints it was sent to, and whether it may be sent again.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::error::Reason;
use crate::h1::RequestHead;
use crate::net::Ticks;
use crate::net::deadline::TICK;
use crate::net::preamble;
use crate::proxy::attempt::affinity;
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::Received;
use crate::upstream::retry::{self, Progress, Try, backoff};
use crate::upstream::{Node, Upstream};

/// See the module.
pub(in crate::proxy) struct Tries {
    /// What decides which endpoint is asked: see [`affinity::point`].
    pub(in crate::proxy) point: u64,
    /// The endpoint that the client belongs to.
    pub(in crate::proxy) wanted: Option<u64>,
    /// What connections to an upstream begin with that wants to hear of each client in the PROXY protocol.
    pub(in crate::proxy) preamble: Option<Box<[u8]>>,
    /// Endpoints that are not to be asked again as long as there are others; those in front took no connection.
    pub(in crate::proxy) tried: Vec<Rc<Node>>,
    /// How many of them took no connection.
    refusing: usize,
    /// Why the last one took no connection, if one did not.
    pub(in crate::proxy) refused: Option<Reason>,
    /// Whether the state of the circuit breaker depends on it.
    pub(in crate::proxy) is_trial: bool,
    /// Where one pooled connection was stale, the others may be too: a new one is wanted.
    pub(in crate::proxy) fresh: bool,
    idempotent: bool,
    retries: u32,
    retries_max: u32,
    since: u32,
}

impl Tries {
    /// Before the first one. It counts for the budget of the upstream.
    pub(in crate::proxy) fn begin(
        core: &Core,
        upstream: &Upstream,
        (peer, destination): (&Peer, Option<SocketAddr>),
        received: &Received,
        head: &RequestHead,
    ) -> Tries {
        let now = core.deadlines.now();
        upstream.budget.request(now);
        Tries {
            point: affinity::point(core, upstream, peer, received, head),
            wanted: affinity::wanted(upstream, received),
            preamble: upstream.settings().proxy_protocol.map(|version| {
                let mut text = Vec::new();
                preamble::write(version, peer.socket(), destination, &mut text);
                text.into()
            }),
            tried: Vec::new(),
            refusing: 0,
            refused: None,
            is_trial: false,
            fresh: false,
            idempotent: head.method.is_idempotent(),
            retries: 0,
            retries_max: received.terms.retries_max(),
            since: now,
        }
    }

    /// Whether there may be another try at all, should this one fail.
    fn are_left(&self, core: &Core, upstream: &Upstream) -> bool {
        let elapsed = TICK.saturating_mul(core.deadlines.now().saturating_sub(self.since));
        self.retries < self.retries_max && upstream.retry.time.is_none_or(|time| elapsed < time)
    }

    /// All endpoints have been tried: those that took a connection may be asked again, for what they said, or failed to
    /// say, is all that there is. False if there are none.
    pub(in crate::proxy) fn begin_anew(&mut self) -> bool {
        let answered = self.tried.len() > self.refusing;
        self.tried.truncate(self.refusing);
        answered
    }

    /// The statuses for which the request is sent again, as things stand, and the tick before which it is.
    pub(in crate::proxy) fn statuses<'a>(
        &self,
        core: &Core,
        upstream: &'a Upstream,
        node: &Rc<Node>,
    ) -> (&'a [(u16, u16)], u32) {
        let statuses = &upstream.retry.statuses;
        let before = upstream.retry.time.map_or(u32::MAX, |time| Ticks::of(time).after(self.since));
        let wanted = !statuses.is_empty() && self.idempotent && self.are_left(core, upstream);
        let repeats = wanted && upstream.has_others(node, &self.tried);
        (if repeats { statuses } else { &[] }, before)
    }

    /// Whether content is worth keeping, so that it can be sent again.
    pub(in crate::proxy) fn keep_content(&self, core: &Core, upstream: &Upstream) -> bool {
        let rules = &upstream.retry;
        let wanted = rules.on_reset || rules.on_timeout || !rules.statuses.is_empty();
        self.idempotent && wanted && self.are_left(core, upstream)
    }

    /// Whether the request may be sent again, after a try at that endpoint that came so far; then how long to wait before
    /// that.
    pub(in crate::proxy) fn again(
        &mut self,
        core: &Core,
        upstream: &Upstream,
        node: &Rc<Node>,
        progress: Progress,
        replayable: bool,
    ) -> Option<Duration> {
        let last = Try {
            progress,
            idempotent: self.idempotent,
            replayable,
            retries: self.retries,
            retries_max: self.retries_max,
        };
        let again = retry::may_retry(&upstream.retry, last)?;
        // All of this was decided when the status was seen, while there was a response.
        if progress != Progress::Status {
            let has_answered = progress == Progress::NotConnected && self.tried.len() > self.refusing;
            let is_possible = !again.elsewhere || has_answered || upstream.has_others(node, &self.tried);
            if !is_possible || !self.are_left(core, upstream) {
                return None;
            }
            if again.spends && !upstream.budget.take(core.deadlines.now()) {
                core.counters.retries_denied.increment();
                return None;
            }
        }
        core.counters.retries.increment();
        self.retries += 1;
        if progress == Progress::NotConnected {
            self.tried.insert(self.refusing, node.clone());
            self.refusing += 1;
        } else if again.elsewhere {
            self.tried.push(node.clone());
        } else {
            self.fresh = true;
        }
        Some(backoff::pause(upstream.retry.backoff, self.retries, core.random.borrow_mut().u64(..)))
    }
}
