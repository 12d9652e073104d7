//! What the cache says to a request: serve what is stored, read along with who fetches it, or ask the
//! upstream.

use std::rc::Rc;

use super::Caching;
use super::background;
use super::serve::Source;
use crate::cache::fill::{NoHead, Reading};
use crate::cache::outcome::{Forward, Outcome, Report};
use crate::cache::policy::{self, Bypass, Eligibility, Use, Why};
use crate::cache::purge::Moment;
use crate::cache::shard::Entry;
use crate::cache::store::Store;
use crate::cache::store::{Begin, Found};
use crate::error::Reason;
use crate::http::{Fields, Method};
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::Received;
use crate::proxy::request::admit::Admitted;

/// See the module.
pub(in crate::proxy) enum Plan {
    /// A stored response, or one that is being fetched, answers the request.
    Serve(Source),
    /// The upstream is asked; [`Caching`] says what becomes of its response.
    Fetch,
    /// The request cannot be answered.
    Refuse(Reason),
}

/// How often a request looks again before it fetches for itself, whatever others do.
const LOOKS_MAX: usize = 4;

/// How often the origin's failure is put down to another's request.
const FAILURES_MAX: u8 = 3;

/// What a stored response leaves to be done.
enum Needs {
    Nothing(Source),
    /// A fetch; alone, if it is not for others.
    Fetch {
        alone: bool,
    },
}

/// What is known when a plan is made.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Planning<'a> {
    core: &'a Rc<Core>,
    store: &'a Store,
    peer: &'a Peer,
    received: &'a Received,
    request: Fields<'a>,
}

/// Begins what the cache has to do with a request.
pub(in crate::proxy) fn begin(core: &Core, peer: &Peer, received: &Received, admitted: &Admitted) -> Caching {
    let method = admitted.head.method;
    let Some(store) = &core.store else { return Caching::off(received, method) };
    Caching::new(core, store, received, &admitted.head, peer.trusted)
}

/// Says how the request is answered.
pub(in crate::proxy) async fn plan(
    core: &Rc<Core>,
    peer: &Peer,
    received: &Received,
    admitted: &Admitted,
    caching: &mut Caching,
) -> Plan {
    let Some(planning) = Planning::new(core, peer, received) else { return Plan::Fetch };
    if let Some(fwd) = bypasses(caching, planning.request, admitted) {
        caching.report = Some(Report::of(Outcome::Bypass, Some(fwd)));
        let only = caching.directives.only_if_cached;
        return if only { Plan::Refuse(Reason::OnlyIfCached) } else { Plan::Fetch };
    }
    for look in 0.. {
        if look > 0 {
            // It may have waited for another's fetch.
            caching.looked_ms = core.clock.unix_millis();
        }
        let found = planning.find(caching, look == 0).await;
        let alone = match planning.needs(caching, &found) {
            Needs::Nothing(source) => return Plan::Serve(source),
            Needs::Fetch { .. } if caching.directives.only_if_cached => break,
            Needs::Fetch { .. } if caching.method == Method::Head => {
                // The response fills nothing, but may freshen what is stored.
                caching.ticket = caching.validating.is_some().then(|| planning.store.alone(found.moment));
                return Plan::Fetch;
            }
            Needs::Fetch { alone } => alone || look == LOOKS_MAX,
        };
        let marked = found.entry.as_ref().is_some_and(|entry| entry.alone_until_ms > caching.looked_ms);
        if alone || marked {
            caching.ticket = Some(planning.store.alone(found.moment));
            return Plan::Fetch;
        }
        if let Some(plan) = Box::pin(planning.fetch_or_join(caching, &found)).await {
            return plan;
        }
    }
    Plan::Refuse(Reason::OnlyIfCached)
}

/// Why the cache has nothing to do with a request.
fn bypasses(caching: &Caching, request: Fields<'_>, admitted: &Admitted) -> Option<Forward> {
    if !caching.rules.on {
        return Some(Forward::Bypass);
    }
    match eligibility(caching, request, admitted) {
        Eligibility::Lookup => None,
        Eligibility::Bypass(Bypass::Method) => Some(Forward::Method),
        Eligibility::Bypass(Bypass::Precondition | Bypass::NoStore) => Some(Forward::Request),
        Eligibility::Bypass(Bypass::Content | Bypass::Upgrade) => Some(Forward::Bypass),
    }
}

/// Whether a cache that is there may have anything to do with a request.
pub(in crate::proxy) fn eligibility(
    caching: &Caching,
    request: Fields<'_>,
    admitted: &Admitted,
) -> Eligibility {
    let has_content = !admitted.body.is_empty();
    let upgrades = admitted.upgrade.is_some();
    policy::eligible(caching.method, has_content, upgrades, request, &caching.directives)
}

impl<'a> Planning<'a> {
    pub(in crate::proxy) fn new(
        core: &'a Rc<Core>,
        peer: &'a Peer,
        received: &'a Received,
    ) -> Option<Planning<'a>> {
        let store = core.store.as_ref()?;
        Some(Planning { core, store, peer, received, request: received.fields() })
    }

    /// What is stored for the request's key. A copy will do for the first look.
    pub(in crate::proxy) async fn find(&self, caching: &Caching, copy: bool) -> Found {
        let store = &self.store;
        let here = if copy || store.owns(caching.hash) { store.find_here(caching.key()) } else { None };
        match here {
            Some(found) => found,
            None => Box::pin(store.ask(caching.key())).await,
        }
    }

    /// What is left to be done, given what is stored.
    fn needs(&self, caching: &mut Caching, found: &Found) -> Needs {
        let Some((entry, index)) = self.choose(caching, found) else {
            let varies = found.entry.as_ref().is_some_and(|entry| !entry.variants.is_empty());
            let fwd = if varies { Forward::VaryMiss } else { Forward::UriMiss };
            caching.report = Some(Report::of(Outcome::Miss, Some(fwd)));
            // What comes for credentials is seldom for others: waiting for each other's would only take time.
            return Needs::Fetch { alone: caching.authorized };
        };
        let usage = &entry.variants[index].head.usage;
        let now_ms = caching.looked_ms;
        let grace = caching.rules.grace;
        let (outcome, ttl_s) =
            match policy::usable(usage, &caching.directives, caching.authorized, now_ms, &grace) {
                Use::Fresh { ttl_s } => (Outcome::Hit, ttl_s),
                Use::StaleAllowed { ttl_s } => (Outcome::Stale, ttl_s),
                Use::StaleWhileRevalidate { ttl_s } => {
                    background::validate(self.core, self.peer, self.received, entry, now_ms);
                    (Outcome::Stale, ttl_s)
                }
                Use::Validate(why) => {
                    let fwd = if why == Why::Request { Forward::Request } else { Forward::Stale };
                    caching.report = Some(Report::of(Outcome::Miss, Some(fwd)));
                    let alone = why != Why::Stale || usage.timing.lifetime_s == 0;
                    caching.validate(entry.clone(), index);
                    return Needs::Fetch { alone };
                }
                Use::Unusable => {
                    caching.report = Some(Report::of(Outcome::Miss, Some(Forward::Request)));
                    return Needs::Fetch { alone: true };
                }
            };
        caching.report = Some(Report { ttl_s: Some(ttl_s), ..Report::of(outcome, None) });
        Needs::Nothing(Source::Entry(entry.clone(), index))
    }

    /// The stored response that the request selects, the one that was stored last if there are several.
    pub(in crate::proxy) fn choose<'f>(
        &self,
        caching: &mut Caching,
        found: &'f Found,
    ) -> Option<(&'f Rc<Entry>, usize)> {
        let entry = found.entry.as_ref()?;
        let selects =
            |head: &crate::cache::stored::Head| caching.select(head.vary(), self.request) == head.selecting();
        let index = entry.variants.iter().map(|stored| &*stored.head).position(selects)?;
        Some((entry, index))
    }

    /// Begins to validate what is served stale meanwhile. Says whether that is to be done: not if somebody
    /// else does it or has done it, on whatever core.
    pub(in crate::proxy) async fn begin_beside(&self, caching: &mut Caching, found: &Found) -> bool {
        let Some((entry, index)) = self.choose(caching, found) else { return false };
        let usage = &entry.variants[index].head.usage;
        let (now_ms, grace) = (caching.looked_ms, caching.rules.grace);
        let verdict = policy::usable(usage, &caching.directives, caching.authorized, now_ms, &grace);
        if !matches!(verdict, Use::StaleWhileRevalidate { .. }) {
            return false;
        }
        let store = &self.store;
        let ticket = match caching.method {
            // Its response is for nobody else.
            Method::Head => store.alone(found.moment),
            _ => match store.begin(caching.key(), &caching.selecting, entry.version).await {
                Begin::Fetch(ticket) => ticket,
                Begin::Join(..) | Begin::Changed => return false,
            },
        };
        caching.ticket = Some(ticket);
        caching.validate(entry.clone(), index);
        true
    }

    /// Fetches, or reads along with who does. None if things have changed meanwhile.
    async fn fetch_or_join(&self, caching: &mut Caching, found: &Found) -> Option<Plan> {
        let seen = found.entry.as_ref().map_or(0, |entry| entry.version);
        let newest = found.entry.as_ref().and_then(|entry| entry.variants.first());
        let mut names = newest.map_or(Vec::new(), |stored| stored.head.vary().to_vec());
        for _ in 0..LOOKS_MAX {
            caching.select(&names, self.request);
            let (reading, id) = match self.store.begin(caching.key(), &caching.selecting, seen).await {
                Begin::Fetch(ticket) => {
                    if ticket.is_shared() {
                        // The response is for others too, so it has to come whole.
                        caching.conditions.get_or_insert_default();
                    }
                    caching.ticket = Some(ticket);
                    return Some(Plan::Fetch);
                }
                Begin::Join(reading, id) => (reading, id),
                Begin::Changed => return None,
            };
            match self.join(caching, reading, found.moment).await {
                Joined::Plan(plan) => return Some(plan),
                Joined::Ended => return None,
                // It is another variant that is being fetched; now it is known what it varies by.
                Joined::Varies(by) => names = by,
                // The first who has waited too long fetches anew, and the others wait for that.
                Joined::Slow => self.store.give_up(caching.hash, id),
            }
        }
        Some(self.alone(caching, found.moment, "busy"))
    }

    /// Waits for what another fetches.
    async fn join(&self, caching: &mut Caching, reading: Reading, moment: Moment) -> Joined {
        let head = match monoio::time::timeout(caching.rules.wait, reading.head()).await {
            Ok(Ok(head)) => head,
            Ok(Err(NoHead::NotShared)) => return Joined::Plan(self.alone(caching, moment, "not-shared")),
            Ok(Err(NoHead::Failed(reason))) if reason.status() != 0 => {
                if let Some(source) = caching.stand_in(self.core) {
                    return Joined::Plan(Plan::Serve(source));
                }
                // The origin's answer was a failure, perhaps of that one request. All who waited ask together
                // once more, and again, before they take it for the answer to theirs.
                caching.failures += 1;
                let again = reason == Reason::UpstreamError && caching.failures < FAILURES_MAX;
                return if again { Joined::Ended } else { Joined::Plan(Plan::Refuse(reason)) };
            }
            Ok(Err(NoHead::Failed(_))) => return Joined::Ended,
            Err(_) => return Joined::Slow,
        };
        if caching.select(head.vary(), self.request) != head.selecting() {
            return Joined::Varies(head.vary().to_vec());
        }
        let now_ms = self.core.clock.unix_millis();
        let usage = &head.usage;
        let grace = caching.rules.grace;
        match policy::usable(usage, &caching.directives, caching.authorized, now_ms, &grace) {
            Use::Fresh { ttl_s } => {
                let report = caching.report.unwrap_or(Report::of(Outcome::Miss, None));
                caching.report = Some(Report { collapsed: true, ttl_s: Some(ttl_s), ..report });
                caching.validating = None;
                Joined::Plan(Plan::Serve(Source::Fill(head, reading)))
            }
            _ => Joined::Plan(self.alone(caching, moment, "not-shared")),
        }
    }

    /// Fetches without letting others wait.
    fn alone(&self, caching: &mut Caching, moment: Moment, detail: &'static str) -> Plan {
        if let Some(report) = &mut caching.report {
            report.detail = Some(detail);
        }
        caching.ticket = Some(self.store.alone(moment));
        Plan::Fetch
    }
}

/// What became of waiting.
enum Joined {
    Plan(Plan),
    /// The fetch ended without an answer for this request.
    Ended,
    /// It took longer than a request waits.
    Slow,
    /// What is fetched is another variant; these are the names that it varies by.
    Varies(Vec<u8>),
}
