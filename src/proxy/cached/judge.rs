//! What becomes of an upstream's response, as far as the cache is concerned.

use std::rc::Rc;
use std::sync::Arc;

use super::serve::Source;
use super::{Caching, Heads, Judgement};
use crate::cache::conditional;
use crate::cache::directives::ResponseDirectives;
use crate::cache::freshness;
use crate::cache::outcome::{Outcome, Report};
use crate::cache::policy::{self, Asked, NotStored, Storing};
use crate::cache::shard::Entry;
use crate::cache::store::Store;
use crate::cache::store::Ticket;
use crate::cache::stored::{self, Head, Making, Stored};
use crate::cache::vary;
use crate::error::Reason;
use crate::h1::encode::KeptEdits;
use crate::h1::{BodyLength, ResponseHead, response};
use crate::http::{FieldLine, Fields, Method, Name};
use crate::limits::{FIELDS_CEILING, HEAD_BYTES_CEILING, HeadLimits};
use crate::proxy::core::Core;
use crate::proxy::request::terms::Terms;

/// A response's head as it came.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Came<'a> {
    pub(in crate::proxy) bytes: &'a [u8],
    pub(in crate::proxy) head: &'a ResponseHead,
    pub(in crate::proxy) lines: &'a [FieldLine],
    pub(in crate::proxy) length: BodyLength,
}

impl<'a> Came<'a> {
    fn fields(&self) -> Fields<'a> {
        Fields::new(self.bytes, self.lines)
    }
}

/// The request whose response is judged, and where.
#[derive(Clone, Copy)]
struct Case<'a> {
    core: &'a Core,
    store: &'a Store,
    terms: &'a Terms,
    request: Fields<'a>,
}

/// Statuses of an origin that has failed (RFC 5861, section 4).
const fn is_failure(status: u16) -> bool {
    matches!(status, 500 | 502 | 503 | 504)
}

/// Why a stored response is not freshened.
enum Unkept {
    /// It may not be stored any more.
    Policy(NotStored),
    /// It is too large now, or there is no room for it.
    NoRoom,
}

/// Statuses by which an origin says what it thinks of one request: of its range and conditions, of its size
/// and its fields, of how many came before it.
const fn speaks_of_the_request(status: u16) -> bool {
    matches!(status, 206 | 304 | 400 | 408 | 412 | 413 | 416 | 417 | 421 | 425 | 426 | 428 | 429 | 431)
}

impl Caching {
    /// Decides what becomes of a response.
    pub(in crate::proxy) fn judge(
        &mut self,
        core: &Core,
        terms: &Terms,
        request: Fields<'_>,
        came: Came<'_>,
    ) -> Judgement {
        let Some(store) = &core.store else { return Judgement::PassOn };
        let case = Case { core, store, terms, request };
        let status = came.head.status;
        if let Some((entry, index)) = self.validating.clone() {
            if status == 304 {
                return self.validated(case, came, (&entry, index));
            }
            if is_failure(status)
                && let Some(source) = self.stand_in(core)
            {
                if let Some(ticket) = self.ticket.take() {
                    ticket.failed(Reason::UpstreamError);
                }
                if let Some(report) = &mut self.report {
                    report.fwd_status = Some(status);
                }
                return Judgement::Serve(source);
            }
        }
        let superseded = self.validating.take();
        if self.method == Method::Head {
            self.described(case, came, superseded);
            return Judgement::PassOn;
        }
        if self.ticket.is_none() {
            return Judgement::PassOn;
        }
        let asked = self.asked();
        let times = self.times(case.core);
        let storing = match policy::storable(asked, status, came.fields(), times, self.rules.defaults) {
            Ok(_) if is_too_large(came.length, self.rules.response_bytes_max) => Err("too-large"),
            Ok(storing) => Ok(storing),
            Err(why) => Err(why.name()),
        };
        let heads = storing.and_then(|storing| {
            let heads = self.make_heads(case, came, &storing, true);
            heads.map(|heads| (heads, storing)).ok_or("no-room")
        });
        match heads {
            Ok((heads, storing)) => {
                self.will_store(&storing, times.received_ms);
                Judgement::Store(heads)
            }
            Err(why) => self.not_stored(status, request, why, superseded.is_some()),
        }
    }

    /// A response that cannot be stored. Whoever waits for it fetches for itself. Only where it was fetched
    /// to validate a stored one does it take its place: others are for other requests.
    fn not_stored(
        &mut self,
        status: u16,
        request: Fields<'_>,
        why: &'static str,
        superseded: bool,
    ) -> Judgement {
        let shared = self.ticket.as_ref().is_some_and(Ticket::is_shared);
        // What is for these credentials, this range or this condition says nothing of what others would get,
        // nor does a fault of this request, and a failure says nothing about the resource.
        let is_personal = why == NotStored::Authorized.name()
            || self.authorized && matches!(status, 401 | 403)
            || speaks_of_the_request(status);
        match self.ticket.take() {
            Some(ticket) if is_failure(status) => ticket.failed(Reason::UpstreamError),
            Some(ticket) if is_personal => ticket.ended_unshared(),
            Some(ticket) => {
                let speaks_for_it = (200..300).contains(&status) || matches!(status, 404 | 410);
                ticket.not_shared(self.key(), superseded && speaks_for_it);
            }
            None => {}
        }
        if let Some(report) = &mut self.report {
            report.detail = Some(why);
        }
        // The client wanted a part, and was about to be sent the whole: it may be very large.
        let wanted_less = shared && self.conditions.is_some() && request.first(Name::Range).is_some();
        if wanted_less && status == 200 {
            self.conditions = None;
            return Judgement::Again;
        }
        Judgement::PassOn
    }

    /// Says that the response is stored.
    fn will_store(&mut self, storing: &Storing, now_ms: u64) {
        let ttl_s = storing.timing.ttl_s(now_ms);
        if let Some(report) = &mut self.report {
            report.stored = true;
            report.ttl_s = Some(ttl_s);
        }
        // What has to be validated before each use is for nobody who waits.
        if (ttl_s <= 0 || storing.directives.no_cache)
            && let Some(ticket) = &mut self.ticket
        {
            ticket.unshare();
        }
    }

    /// The origin describes in answer to HEAD what it would send to GET. A stored response that agrees is
    /// freshened, one that does not is stale (RFC 9111, section 4.3.5).
    fn described(&mut self, case: Case<'_>, came: Came<'_>, stored: Option<(Rc<Entry>, usize)>) {
        let Some(ticket) = self.ticket.take() else { return };
        let stored = stored.as_ref().and_then(|(entry, index)| entry.variants.get(*index));
        let Some(stored) = stored.filter(|_| came.head.status == 200) else { return ticket.ended_unkept() };
        let mut digits = itoa::Buffer::new();
        let length = digits.format(stored.body.length()).as_bytes();
        let agrees = stored.head.status == 200
            && conditional::agrees(came.fields(), stored.head.validators())
            && came.fields().first(Name::ContentLength).is_none_or(|said| said == length);
        let freshened = if agrees { self.freshen(case, came, stored).ok() } else { None };
        let weight = stored.head.text().len();
        let head = freshened
            .map(|heads| heads.kept)
            .or_else(|| case.store.make(weight, |ledger| stored.head.softly_purged(ledger)));
        match head {
            Some(head) => ticket.keep(self.key(), Stored { head, body: stored.body.clone() }),
            None => ticket.ended_unkept(),
        }
    }

    /// The origin says that a stored response is still good (RFC 9111, section 4.3.4).
    fn validated(&mut self, case: Case<'_>, came: Came<'_>, (entry, own): (&Rc<Entry>, usize)) -> Judgement {
        self.validating = None;
        let Some(index) = confirmed(came.fields(), entry, own) else {
            // It speaks of something else: ask for the whole.
            self.conditions = Some(Vec::new());
            return Judgement::Again;
        };
        let stored = &entry.variants[index];
        let fwd = self.report.and_then(|report| report.fwd);
        let mut report =
            Report { fwd_status: Some(came.head.status), ..Report::of(Outcome::Revalidated, fwd) };
        let times = self.times(case.core);
        let freshened = self.freshen(case, came, stored);
        // What the origin wants to have forgotten is not kept as it was.
        let forbidden = matches!(freshened, Err(Unkept::Policy(NotStored::Private | NotStored::NoStore)));
        let freshened = freshened.ok();
        let head = freshened.as_ref().map_or(&stored.head, |heads| &heads.kept);
        report.ttl_s = Some(head.usage.timing.ttl_s(times.received_ms));
        report.stored = freshened.is_some();
        let fresh = Stored { head: head.clone(), body: stored.body.clone() };
        if let Some(mut ticket) = self.ticket.take() {
            if forbidden {
                ticket.not_shared(self.key(), true);
            } else {
                if head.usage.timing.ttl_s(times.received_ms) <= 0 || head.usage.directives.no_cache {
                    ticket.unshare();
                }
                ticket.answered(head);
                match freshened {
                    Some(_) => ticket.keep(self.key(), fresh.clone()),
                    None => ticket.ended_unkept(),
                }
            }
        }
        self.report = Some(report);
        let head = freshened.map_or(fresh.head, |heads| heads.own);
        Judgement::Serve(Source::Single(Stored { head, ..fresh }))
    }

    /// A stored head with the fields of a 304 in it.
    fn freshen(&mut self, case: Case<'_>, came: Came<'_>, stored: &Stored) -> Result<Heads, Unkept> {
        let text = stored::freshened(&stored.head, came.fields());
        let limits = HeadLimits {
            head_bytes_max: HEAD_BYTES_CEILING,
            fields_max: FIELDS_CEILING,
            ..HeadLimits::default()
        };
        let mut lines = Vec::new();
        let mut head = response::parse(&text, &limits, &mut lines).map_err(|_| Unkept::NoRoom)?;
        head.version = came.head.version;
        let merged = Came {
            bytes: &text,
            head: &head,
            lines: &lines,
            length: BodyLength::Known(stored.body.length()),
        };
        // A lifetime that was stated together with the content says nothing of a cookie that comes now.
        let times = self.times(case.core);
        let keeps_cookies = came.fields().first(Name::SetCookie).is_none()
            || policy::states_lifetime(head.status, came.fields(), times);
        let kept = without_withheld(merged, keeps_cookies);
        let kept = Came { lines: kept.as_deref().unwrap_or(&lines), ..merged };
        // What may not be stored any more is used this once.
        let asked = Asked { method: Method::Get, ..self.asked() };
        let storing = policy::storable(asked, head.status, kept.fields(), times, self.rules.defaults);
        let storing = storing.map_err(Unkept::Policy)?;
        self.make_heads(case, merged, &storing, keeps_cookies).ok_or(Unkept::NoRoom)
    }

    /// The head that is kept, and the one for the client whose request it answers: they differ in the fields
    /// that `no-cache` and `private` name, which are not for those who get the stored response (RFC 9111,
    /// sections 5.2.2.4 and 5.2.2.7), and in cookies, where those are not to be kept.
    fn make_heads(
        &mut self,
        case: Case<'_>,
        came: Came<'_>,
        storing: &Storing,
        keeps_cookies: bool,
    ) -> Option<Heads> {
        let own = self.make_head(case, came, storing)?;
        let kept = match without_withheld(came, keeps_cookies) {
            Some(lines) => self.make_head(case, Came { lines: &lines, ..came }, storing)?,
            None => own.clone(),
        };
        Some(Heads { kept, own })
    }

    fn make_head(&mut self, case: Case<'_>, came: Came<'_>, storing: &Storing) -> Option<Arc<Head>> {
        let mut names = Vec::new();
        vary::names(came.fields(), &mut names).ok()?;
        let length = match came.length {
            BodyLength::Known(length) => Some(length),
            _ => None,
        };
        let selecting = self.select(&names, case.request);
        let date = case.core.date.borrow();
        let making = Making {
            bytes: came.bytes,
            head: came.head,
            fields: came.fields(),
            storing,
            edits: KeptEdits { via: case.terms.via(), date: date.as_bytes() },
            length,
            vary: &names,
            selecting,
            tags: case.terms.route().map_or(&b""[..], |route| &route.tags),
        };
        case.store.make(2 * came.bytes.len() + selecting.len(), |ledger| Head::new(ledger, &making))
    }

    fn asked(&self) -> Asked {
        Asked { method: self.method, authorized: self.authorized, no_store: self.directives.no_store }
    }

    fn times(&self, core: &Core) -> freshness::Received {
        freshness::Received { requested_ms: self.requested_ms, received_ms: core.clock.unix_millis() }
    }
}

/// Which of the stored responses a 304 confirms, where `own` is the one that the request selects. Another
/// one is of use to it only if the origin says that it is to have those very bytes.
fn confirmed(fields: Fields<'_>, entry: &Entry, own: usize) -> Option<usize> {
    // Many origins answer with nothing but the status. Only our own validators were sent, so that there is
    // no doubt where they were those of a single response.
    if fields.first(Name::ETag).or(fields.first(Name::LastModified)).is_none() {
        return (entry.variants.len() == 1).then_some(own);
    }
    let mut validators = entry.variants.iter().map(|stored| stored.head.validators());
    let selected = validators.clone().nth(own);
    if conditional::selected_by_304(fields, selected.into_iter()).is_some() {
        return Some(own);
    }
    conditional::selected_by_304(fields, validators.by_ref()).filter(|_| conditional::names_bytes(fields))
}

fn is_too_large(length: BodyLength, most: usize) -> bool {
    matches!(length, BodyLength::Known(length) if length > most as u64)
}

/// The field lines without those that `no-cache` and `private` name, and without cookies where those are not
/// to be kept. None if there is nothing to leave out.
fn without_withheld(came: Came<'_>, keeps_cookies: bool) -> Option<Vec<FieldLine>> {
    let mut lines = None;
    let cookies = (!keeps_cookies).then_some(&b"set-cookie"[..]);
    for name in ResponseDirectives::withheld(came.fields()).chain(cookies) {
        let lines: &mut Vec<FieldLine> = lines.get_or_insert_with(|| came.lines.to_vec());
        for line in lines.iter_mut().filter(|line| line.name.within(came.bytes).eq_ignore_ascii_case(name)) {
            line.known = Name::Dropped;
        }
    }
    lines
}
