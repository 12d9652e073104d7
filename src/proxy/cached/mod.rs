//! The cache's part in one exchange: what it knows of the request, what it waits to learn from the
//! upstream's response, and what will be said about it.
//!
//! ```text
//!   plan         what is stored, or being fetched, says to the request
//!   serve        the part of it that the client asked for, on its way
//!   judge        what becomes of an upstream's response
//!   pump         one that is stored, on its way into the cache
//!   background   validating beside serving
//! ```

pub(in crate::proxy) mod background;
pub(in crate::proxy) mod judge;
pub(in crate::proxy) mod plan;
pub(in crate::proxy) mod pump;
pub(in crate::proxy) mod serve;

use std::rc::Rc;
use std::sync::Arc;

use self::serve::Source;
use crate::cache::directives::RequestDirectives;
use crate::cache::key::{self, KeyRef};
use crate::cache::outcome::{self, Outcome, Report};
use crate::cache::policy;
use crate::cache::shard::Entry;
use crate::cache::store::Store;
use crate::cache::store::Ticket;
use crate::cache::stored::Head;
use crate::cache::vary;
use crate::config::route::{ForwardPath, KeyQuery};
use crate::error::Reason;
use crate::h1::RequestHead;
use crate::http::{Fields, Method, Name};
use crate::proxy::coding;
use crate::proxy::core::Core;
use crate::proxy::record::Received;
use crate::proxy::request::routing::{asked_host, normal_path, target_parts};
use crate::proxy::request::terms::Terms;
use crate::proxy::snapshot::CacheRules;
use crate::route;

/// See the module.
pub(in crate::proxy) struct Caching {
    /// What the response is found by.
    pub(in crate::proxy) key: Vec<u8>,
    pub(in crate::proxy) hash: u64,
    /// What the request says to caches.
    pub(in crate::proxy) directives: RequestDirectives,
    /// Whether it has credentials.
    pub(in crate::proxy) authorized: bool,
    pub(in crate::proxy) method: Method,
    pub(in crate::proxy) rules: CacheRules,
    /// What selects among the responses of the key beyond the fields that Vary names: the scheme, and the
    /// host that a trusted proxy in front was asked for. Then, behind [`Caching::implicit`] bytes, room for
    /// what Vary names.
    pub(in crate::proxy) selecting: Vec<u8>,
    pub(in crate::proxy) implicit: usize,
    /// What is said to the client; none where there is no cache.
    pub(in crate::proxy) report: Option<Report>,
    /// Whether the client wants to see the key.
    pub(in crate::proxy) tells_key: bool,
    /// The right to store what comes.
    pub(in crate::proxy) ticket: Option<Ticket>,
    /// The stored response that is being validated.
    pub(in crate::proxy) validating: Option<(Rc<Entry>, usize)>,
    /// What takes the place of the client's conditions: see [`crate::h1::encode::RequestEdits`].
    pub(in crate::proxy) conditions: Option<Vec<u8>>,
    /// When the cache was looked into last.
    pub(in crate::proxy) looked_ms: u64,
    /// When the upstream was sent the request whose response is judged: time spent waiting for another's
    /// fetch is none that the response took (RFC 9111, section 4.2.3).
    pub(in crate::proxy) requested_ms: u64,
    /// How many fetches failed that this request waited for.
    pub(in crate::proxy) failures: u8,
    /// Whether the upstream is asked for content as it is, whatever the client takes.
    pub(in crate::proxy) asks_for_identity: bool,
    /// Whether the upstream is asked for the whole, though the client wants to go on with what it has.
    pub(in crate::proxy) wants_whole: bool,
}

/// So many stored responses are validated at once.
const ETAGS_MAX: usize = 8;

/// The two forms of a response's head.
pub(in crate::proxy) struct Heads {
    /// What is stored.
    pub(in crate::proxy) kept: Arc<Head>,
    /// What the client gets whose request it answers.
    pub(in crate::proxy) own: Arc<Head>,
}

/// What becomes of an upstream's response.
pub(in crate::proxy) enum Judgement {
    /// It goes to the client as it comes.
    PassOn,
    /// It is stored.
    Store(Heads),
    /// The client gets a stored response instead.
    Serve(Source),
    /// It is of no use; the request goes out again, with other conditions.
    Again,
}

impl Caching {
    /// Where there is no cache.
    pub(in crate::proxy) fn off(received: &Received, method: Method) -> Caching {
        Caching {
            key: Vec::new(),
            hash: 0,
            directives: RequestDirectives::default(),
            authorized: false,
            method,
            rules: CacheRules::OFF,
            selecting: Vec::new(),
            implicit: 0,
            report: None,
            tells_key: false,
            ticket: None,
            validating: None,
            conditions: None,
            looked_ms: 0,
            requested_ms: 0,
            failures: 0,
            asks_for_identity: coding::asks_for_identity(&received.terms, method, received.fields()),
            wants_whole: false,
        }
    }

    /// For a request, whatever becomes of it.
    pub(in crate::proxy) fn new(
        core: &Core,
        store: &Store,
        received: &Received,
        head: &RequestHead,
        trusted: bool,
    ) -> Caching {
        let fields = received.fields();
        let terms = &received.terms;
        let mut text = core.take_text();
        write_key(received, head, &mut text);
        let mut selecting = core.take_text();
        // Requests for one URL that routes tell apart by more than the URL have responses of their own.
        selecting.extend_from_slice(&terms.identity.to_le_bytes());
        if let Some(route) = terms.route() {
            route::key::write_selecting(&route.key, fields, &mut selecting);
            selecting.extend_from_slice(&terms.made().texts.brought);
            if route.rewrite.forward == ForwardPath::Original {
                // Each spelling is another question to the upstream, if not to who purges.
                selecting.extend_from_slice(target_parts(head, received.head_bytes()).path);
                selecting.push(b'\n');
            }
        }
        // What the upstream is told by X-Forwarded-Proto and X-Forwarded-Host makes another response of it.
        let told = |name| if trusted { fields.first(name).unwrap_or_default() } else { b"" };
        for value in [told(Name::XForwardedProto), told(Name::XForwardedHost)] {
            selecting.extend(value.iter().map(u8::to_ascii_lowercase));
            selecting.push(b'\n');
        }
        if trusted {
            select_by_forwarded(fields, &mut selecting);
        }
        let now_ms = core.clock.unix_millis();
        let rules = terms.cache();
        let directives = RequestDirectives::of(fields);
        Caching {
            hash: store.hash(&text),
            key: text,
            directives,
            authorized: fields.first(Name::Authorization).is_some(),
            method: head.method,
            rules: CacheRules {
                response_bytes_max: rules.response_bytes_max.min(store.response_bytes_max()),
                ..rules
            },
            implicit: selecting.len(),
            selecting,
            report: Some(Report::of(Outcome::Bypass, None)),
            tells_key: fields.first(Name::XCacheKey).is_some(),
            ticket: None,
            validating: None,
            conditions: None,
            looked_ms: now_ms,
            requested_ms: now_ms,
            failures: 0,
            asks_for_identity: coding::asks_for_identity(terms, head.method, fields),
            wants_whole: false,
        }
    }

    /// Has the response validated, with all validators there are (RFC 9111, section 4.3.1).
    pub(in crate::proxy) fn validate(&mut self, entry: Rc<Entry>, index: usize) {
        let mut lines = Vec::new();
        let tags = entry.variants.iter().filter_map(|stored| stored.head.validators().etag);
        for (place, tag) in tags.take(ETAGS_MAX).enumerate() {
            lines.extend_from_slice(if place == 0 { b"If-None-Match: " } else { b", " });
            lines.extend_from_slice(tag);
        }
        if !lines.is_empty() {
            lines.extend_from_slice(b"\r\n");
        }
        if let Some(modified) = entry.variants[index].head.last_modified() {
            lines.extend_from_slice(b"If-Modified-Since: ");
            lines.extend_from_slice(modified);
            lines.extend_from_slice(b"\r\n");
        }
        self.conditions = Some(lines);
        self.validating = Some((entry, index));
    }

    /// What the cache did, if there is one.
    pub(in crate::proxy) fn outcome(&self) -> Option<Outcome> {
        self.report.map(|report| report.outcome)
    }

    /// The key.
    pub(in crate::proxy) fn key(&self) -> KeyRef<'_> {
        KeyRef { hash: self.hash, text: &self.key }
    }

    /// What of the request selects among responses whose Vary lists these names.
    pub(in crate::proxy) fn select(&mut self, names: &[u8], request: Fields<'_>) -> &[u8] {
        self.selecting.truncate(self.implicit);
        const CODINGS: &[u8] = b"accept-encoding\n";
        let place = if self.asks_for_identity { memchr::memmem::find(names, CODINGS) } else { None };
        match place {
            // The upstream did not hear what the client takes.
            Some(place) if place == 0 || names[place - 1] == b'\n' => {
                vary::select(&names[..place], request, &mut self.selecting);
                self.selecting.push(b'0');
                vary::select(&names[place + CODINGS.len()..], request, &mut self.selecting);
            }
            _ if names.is_empty() => {}
            _ => vary::select(names, request, &mut self.selecting),
        }
        &self.selecting
    }

    /// Gives memory back.
    pub(in crate::proxy) fn give_back(self, core: &Core) {
        core.give_back_text(self.key);
        core.give_back_text(self.selecting);
    }

    /// Whether the response comes as it was fetched for this very request.
    pub(in crate::proxy) fn is_plain_miss(&self) -> bool {
        self.report.is_some_and(|report| report.outcome == Outcome::Miss && !report.collapsed)
    }

    /// Writes what is said about the cache, behind what is there. `whole` is the status of the response of
    /// which the client gets a part, or hears that it is not modified.
    pub(in crate::proxy) fn append_report(&self, name: &[u8], whole: Option<u16>, out: &mut Vec<u8>) {
        if let Some(report) = &self.report {
            // RFC 9211, section 2.3. What was not just fetched is no answer of the origin to this request.
            let fetched = whole.filter(|_| report.outcome == Outcome::Miss);
            let report = Report { fwd_status: report.fwd_status.or(fetched), ..*report };
            outcome::write(out, name, &report, self.tells_key.then_some(&*self.key));
        }
    }

    /// The keys of what a response with that status, to a request that is not safe, makes wrong (RFC 9111,
    /// section 4.4): the target's own, and those that Location and Content-Location name on the same host; each also
    /// as routes keep it that leave out parts of the query.
    pub(in crate::proxy) fn invalidated(&self, terms: &Terms, code: u16, fields: Fields<'_>) -> Vec<Vec<u8>> {
        if self.report.is_none() || self.method.is_safe() || !(200..400).contains(&code) {
            return Vec::new();
        }
        let named = [Name::Location, Name::ContentLocation].map(|name| fields.first(name));
        let named =
            named.into_iter().flatten().filter_map(|reference| key::of_reference(&self.key, reference));
        let whole: Vec<Vec<u8>> = std::iter::once(self.key.clone()).chain(named).collect();
        let queries = &terms.snapshot.queries;
        let others: Vec<_> = whole.iter().flat_map(|key| route::key::others(key, queries)).collect();
        [whole, others].concat()
    }

    /// The fetch has failed: whoever waits for it is told. Says which stored response may stand in.
    pub(in crate::proxy) fn failed(&mut self, core: &Core, reason: Reason) -> Option<Source> {
        if let Some(ticket) = self.ticket.take() {
            ticket.failed(reason);
        }
        // Who takes only what is stored has not had the origin asked: it has not failed.
        if reason == Reason::OnlyIfCached {
            let outcome = self.report.map_or(Outcome::Miss, |report| report.outcome);
            self.report = Some(Report { detail: Some("only-if-cached"), ..Report::of(outcome, None) });
            return None;
        }
        self.stand_in(core)
    }

    /// The stored response that may stand in for an origin that has failed (RFC 5861, section 4).
    pub(in crate::proxy) fn stand_in(&mut self, core: &Core) -> Option<Source> {
        let (entry, index) = self.validating.take()?;
        let usage = &entry.variants.get(index)?.head.usage;
        let now_ms = core.clock.unix_millis();
        if self.insists() || !policy::usable_on_error(usage, now_ms, &self.rules.grace) {
            return None;
        }
        let fwd = self.report.and_then(|report| report.fwd);
        self.report = Some(Report {
            ttl_s: Some(usage.timing.ttl_s(now_ms)),
            detail: Some("origin-failed"),
            ..Report::of(Outcome::Stale, fwd)
        });
        Some(Source::Entry(entry, index))
    }

    /// Whether the request takes nothing that was not validated for it.
    fn insists(&self) -> bool {
        self.directives.no_cache || self.directives.max_age.is_some() || self.directives.min_fresh.is_some()
    }
}

/// Writes the key of a request: its host, its path in normal form, and what of its query counts.
fn write_key(received: &Received, head: &RequestHead, out: &mut Vec<u8>) {
    let terms = &received.terms;
    let parts = target_parts(head, received.head_bytes());
    let path = normal_path(terms, parts.path);
    key::write(out, asked_host(received, head), &[path]);
    if let Some(route) = terms.route() {
        // What changes things is not stored; its key says what it changes, whichever route answers for that.
        let rule = if head.method.is_safe() { &route.key.query } else { &KeyQuery::All };
        route::key::write_query(rule, parts.query, out);
    }
}

/// Appends the rest of what a trusted proxy in front tells the upstream of how it was asked: Forwarded (RFC
/// 7239) but for the addresses in it, and the usual fields with no standard. A redirect to https that was
/// made for http must not answer those who have come by https.
fn select_by_forwarded(fields: Fields<'_>, out: &mut Vec<u8>) {
    const TOLD: [&[u8]; 4] =
        [b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-scheme", b"x-forwarded-ssl"];
    for value in fields.values(Name::Forwarded) {
        for pair in value.split(|byte| matches!(byte, b',' | b';')).map(<[u8]>::trim_ascii) {
            let is_address = [&b"for="[..], b"by="]
                .iter()
                .any(|name| pair.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
            if !is_address {
                out.extend(pair.iter().map(u8::to_ascii_lowercase));
                out.push(b'\n');
            }
        }
    }
    for (name, written, value) in fields.iter() {
        if name == Name::Other
            && let Some(place) = TOLD.iter().position(|told| written.eq_ignore_ascii_case(told))
        {
            out.extend_from_slice(&TOLD[place][b"x-forwarded-".len()..]);
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(b'\n');
        }
    }
}
