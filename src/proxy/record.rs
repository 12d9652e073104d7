//! What is remembered of an exchange until it has ended, for the log and the counters.

use std::rc::Rc;
use std::time::Duration;

use super::core::Core;
use crate::cache::outcome::Outcome;
use crate::clock::Moment;
use crate::error::Reason;
use crate::h1::RequestHead;
use crate::http::{FieldLine, Fields, Name, Span};
use crate::net::Buffer;
use crate::observe::{Format, Line, access_log};
use crate::proxy::request::terms::Terms;

/// A request as it was received, kept for as long as its exchange lasts.
pub(crate) struct Received {
    /// Its bytes: the head first.
    pub(crate) bytes: Buffer,
    /// The length of the head.
    pub(crate) head_length: usize,
    /// What the head says; none if it is malformed.
    pub(crate) head: Option<RequestHead>,
    /// Its field lines.
    pub(crate) lines: Vec<FieldLine>,
    /// What holds for it.
    pub(crate) terms: Terms,
}

impl Received {
    /// The head's bytes.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        &self.bytes.bytes()[..self.head_length]
    }

    /// What stands where the parts of the first line should, of a request that could not be read.
    fn first_line(&self) -> (&[u8], &[u8], &str) {
        const BYTES_MAX: usize = 256;
        let bytes = self.bytes.bytes();
        let line = bytes.split(|&b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
        let line = &line[..line.len().min(BYTES_MAX)];
        let mut words = line.splitn(3, |&b| b == b' ');
        let method = words.next().filter(|word| !word.is_empty()).unwrap_or(b"-");
        (method, words.next().unwrap_or(b"-"), words.next().map_or("-", |_| "?"))
    }

    /// The field lines with their bytes.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::new(self.head_bytes(), &self.lines)
    }
}

/// The id of a request.
#[derive(Clone, Copy)]
pub(crate) enum RequestId {
    /// The request could not be read.
    None,
    /// The client's own, where it stands in the head.
    Kept(Span),
    /// Made here.
    Made([u8; 32]),
}

impl RequestId {
    /// The id, given the request.
    pub(crate) fn bytes<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        match self {
            RequestId::None => b"",
            RequestId::Kept(span) => span.within(received.head_bytes()),
            RequestId::Made(id) => id,
        }
    }
}

/// What happened in an exchange.
pub(crate) struct Record {
    pub(crate) started: Option<Moment>,
    pub(crate) connect: Option<Duration>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) upstream: Option<Rc<str>>,
    pub(crate) status: u16,
    /// Bytes of content sent to the client.
    pub(crate) bytes: u64,
    pub(crate) request_id: RequestId,
    pub(crate) reason: Reason,
    /// What the cache did, if there is one.
    pub(crate) cache: Option<Outcome>,
}

impl Record {
    /// Counts a request, and makes the record of its exchange, which begins now. The clock is only read if somebody wants to know.
    pub(crate) fn begin(core: &Core) -> Record {
        core.counters.requests.increment();
        Record::begin_early(core)
    }

    /// The record of a connection that ends before it has brought a request: it is logged, but no request is counted.
    pub(crate) fn begin_early(core: &Core) -> Record {
        let started = (core.log.format != Format::Off).then(|| core.clock.now());
        Record { started, ..Record::begin_beside() }
    }

    /// The record of a request that nobody waits for: it is neither counted nor logged.
    pub(crate) fn begin_beside() -> Record {
        Record {
            started: None,
            connect: None,
            first_byte: None,
            upstream: None,
            status: 0,
            bytes: 0,
            request_id: RequestId::None,
            reason: Reason::Done,
            cache: None,
        }
    }

    /// The time since the exchange began, if it is wanted.
    pub(crate) fn elapsed(&self, core: &Core) -> Option<Duration> {
        self.started.map(|started| core.clock.now().since(started))
    }

    /// Counts the exchange and logs it.
    pub(crate) fn finish(&self, core: &Core, client: &[u8], received: &Received) {
        core.counters.ended(self.reason);
        if let Some(outcome) = self.cache {
            let counters = &core.counters;
            match outcome {
                Outcome::Hit => counters.cache_hits.increment(),
                Outcome::Miss => counters.cache_misses.increment(),
                Outcome::Stale => counters.cache_stale.increment(),
                Outcome::Revalidated => counters.cache_revalidated.increment(),
                Outcome::Bypass => counters.cache_bypassed.increment(),
            }
        }
        if let Some(total) = self.elapsed(core) {
            self.log(core, client, received, total);
        }
    }

    fn log(&self, core: &Core, client: &[u8], received: &Received, total: Duration) {
        let bytes = received.head_bytes();
        let fields = received.fields();
        let field = |name| fields.first(name).unwrap_or_default();
        let date = core.date.borrow();
        let (method, target, version) = match &received.head {
            Some(head) => (head.token.within(bytes), head.target_text.within(bytes), head.version.name()),
            None => received.first_line(),
        };
        let line = Line {
            client,
            user: &received.terms.made().texts.user,
            date: date.as_bytes(),
            method,
            target,
            version: version.as_bytes(),
            host: field(Name::Host),
            status: self.status,
            bytes: self.bytes,
            referer: field(Name::Referer),
            user_agent: field(Name::UserAgent),
            upstream: self.upstream.as_deref(),
            request_id: self.request_id.bytes(received),
            connect: self.connect,
            first_byte: self.first_byte,
            total,
            reason: self.reason.name(),
            cache: self.cache.map(Outcome::name),
            tags: &received.terms.made().texts.tags,
            rules: &received.terms.made().texts.noted,
        };
        if !core.log.add(|out, format| access_log::write(out, format, &line)) {
            core.counters.log_lines_dropped.increment();
        }
    }
}
