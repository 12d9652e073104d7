//! Stored responses: immutable, so that every core can hand out the same one.
//!
//! ```text
//!   Stored ─┬─▶ Head   status line and fields, as text; what they mean for caching
//!           └─▶ Body   segment, segment, segment
//! ```
//!
//! The head is kept apart from the content, for a validation brings a new head for the same content
//! (RFC 9111, section 4.3.4), and a head is there before its content.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use super::conditional::{Validators, etag_is_valid};
use super::forms::Forms;
use super::ledger::{Beside, Charge, Ledger};
use super::policy::{Storing, Usage};
use crate::h1::ResponseHead;
use crate::h1::encode;
use crate::http::{Fields, Name, Span, date};

/// Bytes that a head, a body or a segment takes beside its text: reference counts, lengths, charges,
/// and what the allocator adds.
const OVERHEAD: usize = 128;

/// A run of content.
#[derive(Debug)]
pub struct Segment {
    bytes: Box<[u8]>,
    _charge: Option<Charge>,
}

impl Segment {
    /// Copies bytes, if the ledger has room for them.
    pub fn new(ledger: &Arc<Ledger>, bytes: &[u8]) -> Option<Arc<Segment>> {
        let charge = ledger.reserve(Segment::cost(bytes.len()))?;
        Some(Arc::new(Segment { bytes: bytes.into(), _charge: Some(charge) }))
    }

    /// The same, for a form of stored content.
    pub fn of_form(ledger: &Arc<Ledger>, bytes: &[u8]) -> Option<Arc<Segment>> {
        let charge = ledger.reserve_beside(Beside::Form, Segment::cost(bytes.len()))?;
        Some(Arc::new(Segment { bytes: bytes.into(), _charge: Some(charge) }))
    }

    /// Copies bytes that do not stay: they are passed on, as if there were no cache.
    pub fn passing(bytes: &[u8]) -> Arc<Segment> {
        Arc::new(Segment { bytes: bytes.into(), _charge: None })
    }

    /// What a segment of so many bytes takes.
    pub const fn cost(bytes: usize) -> usize {
        bytes + OVERHEAD
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Complete content.
#[derive(Debug)]
pub struct Body {
    segments: Box<[Arc<Segment>]>,
    length: u64,
    trailers: Box<[u8]>,
    charge: Charge,
    /// The same content, compressed.
    forms: Forms,
}

impl Body {
    /// Puts content together. `trailers` is what ends it on its way out in chunks, if it has trailer
    /// fields: see [`crate::h1::body::Decoder::end`].
    pub fn new(
        ledger: &Arc<Ledger>,
        segments: impl Into<Box<[Arc<Segment>]>>,
        trailers: &[u8],
    ) -> Option<Arc<Body>> {
        let segments = segments.into();
        let charge = ledger.reserve(Body::cost(segments.len()) + trailers.len())?;
        Some(Body::charged(charge, segments, trailers))
    }

    /// The same, for a form of stored content, which has no trailers.
    pub fn of_form(ledger: &Arc<Ledger>, segments: impl Into<Box<[Arc<Segment>]>>) -> Option<Arc<Body>> {
        let segments = segments.into();
        let charge = ledger.reserve_beside(Beside::Form, Body::cost(segments.len()))?;
        Some(Body::charged(charge, segments, b""))
    }

    fn charged(charge: Charge, segments: Box<[Arc<Segment>]>, trailers: &[u8]) -> Arc<Body> {
        let length = segments.iter().map(|segment| segment.bytes.len() as u64).sum();
        Arc::new(Body { segments, length, trailers: trailers.into(), charge, forms: Forms::default() })
    }

    /// What content in so many segments takes, beside the segments themselves.
    pub const fn cost(segments: usize) -> usize {
        OVERHEAD + segments * size_of::<Arc<Segment>>()
    }

    /// The segments, in order.
    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// The same content in other forms.
    pub fn forms(&self) -> &Forms {
        &self.forms
    }

    /// What it is charged to.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        self.charge.ledger()
    }

    /// Bytes of content.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The last chunk with trailer fields; empty where there are none.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Bytes of memory.
    fn weight(&self) -> usize {
        let segments = self.segments.iter().map(|segment| Segment::cost(segment.bytes.len()));
        self.charge.bytes() + segments.sum::<usize>()
    }
}

/// The head of a response, as it is kept.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// What the response may be used for.
    pub usage: Usage,
    /// The content's length, where the head says it.
    pub length: Option<u64>,
    text: Box<[u8]>,
    /// Where the field lines begin.
    fields_at: usize,
    etag: Span,
    last_modified: Span,
    last_modified_s: Option<i64>,
    vary: Box<[u8]>,
    selecting: Box<[u8]>,
    tags: Box<[u8]>,
    charge: Charge,
    note: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What a head is made from.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// The bytes of the head as it came.
    pub bytes: &'a [u8],
    /// What they say.
    pub head: &'a ResponseHead,
    /// Their field lines.
    pub fields: Fields<'a>,
    /// What the policy found.
    pub storing: &'a Storing,
    /// Lines for fields that are missing: Via, Date.
    pub edits: encode::KeptEdits<'a>,
    /// The content's length, where the head says it.
    pub length: Option<u64>,
    /// The names that Vary lists: see [`super::vary::names`].
    pub vary: &'a [u8],
    /// What of the request selects the response: see [`super::vary::select`].
    pub selecting: &'a [u8],
    /// Tags that it gets beside its own, separated by line feeds.
    pub tags: &'a [u8],
}

impl Head {
    /// Makes a head of a response, if the ledger has room for it.
    pub fn new(ledger: &Arc<Ledger>, making: &Making<'_>) -> Option<Arc<Head>> {
        let Making { bytes, head, fields, storing, edits, length, vary, selecting, tags } = *making;
        let mut text = Vec::with_capacity(bytes.len() + edits.via.len() + encode::ADDED_BYTES_MAX);
        encode::kept(&mut text, bytes, head, fields, &edits);
        if text.len() > crate::limits::HEAD_BYTES_CEILING {
            return None;
        }
        let mut tags = tags.to_vec();
        for value in fields.values(Name::CacheTag) {
            add_tags(&mut tags, value, |byte| byte == b',');
        }
        for value in fields.values(Name::SurrogateKey) {
            add_tags(&mut tags, value, |byte| byte == b' ');
        }
        let etag = fields.first(Name::ETag).filter(|etag| etag_is_valid(etag));
        let etag = etag.and_then(|etag| find_value(&text, b"etag", etag));
        let modified = fields.first(Name::LastModified);
        let last_modified_s = modified.and_then(date::parse);
        let modified = modified.filter(|_| last_modified_s.is_some());
        let modified = modified.and_then(|modified| find_value(&text, b"last-modified", modified));
        let cost = OVERHEAD + text.len() + vary.len() + selecting.len() + tags.len() + size_of::<Head>();
        Some(Arc::new(Head {
            status: head.status,
            usage: Usage {
                directives: storing.directives,
                timing: storing.timing,
                for_authorized: storing.for_authorized,
                purged: false,
            },
            length,
            etag: etag.unwrap_or_default(),
            fields_at: memchr::memchr(b'\n', &text).map_or(text.len(), |end| end + 1),
            last_modified: modified.unwrap_or_default(),
            last_modified_s,
            text: text.into(),
            vary: vary.into(),
            selecting: selecting.into(),
            tags: tags.into(),
            charge: ledger.reserve(cost)?,
            note: OnceLock::new(),
        }))
    }

    /// The same response, stale from now on.
    pub fn softly_purged(&self, ledger: &Arc<Ledger>) -> Option<Arc<Head>> {
        Some(Arc::new(Head {
            usage: Usage { purged: true, ..self.usage },
            text: self.text.clone(),
            vary: self.vary.clone(),
            selecting: self.selecting.clone(),
            tags: self.tags.clone(),
            charge: ledger.reserve(self.charge.bytes())?,
            note: OnceLock::new(),
            ..*self
        }))
    }

    /// What whoever serves the response has found out about this head, if anything.
    pub fn note<T: Any>(&self) -> Option<&T> {
        self.note.get()?.downcast_ref()
    }

    /// Keeps something with this head. Of several cores that do so the first wins, and the others wait no longer than
    /// it takes to put it there.
    pub fn keep_note<T: Any + Send + Sync>(&self, note: Box<T>) {
        let _ = self.note.set(note);
    }

    /// The status line and the field lines that every use has in common, each with its CR LF.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The field lines alone.
    pub fn field_lines(&self) -> &[u8] {
        &self.text[self.fields_at..]
    }

    /// The names that Vary lists.
    pub fn vary(&self) -> &[u8] {
        &self.vary
    }

    /// What of a request selects this response.
    pub fn selecting(&self) -> &[u8] {
        &self.selecting
    }

    /// The tags, separated by line feeds.
    pub fn tags(&self) -> &[u8] {
        &self.tags
    }

    /// The validators.
    pub fn validators(&self) -> Validators<'_> {
        Validators {
            etag: (!self.etag.is_empty()).then(|| self.etag.within(&self.text)),
            last_modified_s: self.last_modified_s,
            date_s: self.usage.timing.date_ms.div_euclid(1000),
        }
    }

    /// Content-Type, as it was written.
    pub fn content_type(&self) -> Option<&[u8]> {
        self.field_lines().split(|&byte| byte == b'\n').find_map(|line| {
            let (name, value) = line.split_at_checked(b"content-type".len())?;
            let value = value.strip_prefix(b": ")?.trim_ascii_end();
            name.eq_ignore_ascii_case(b"content-type").then_some(value)
        })
    }

    /// Last-Modified, as it was written.
    pub fn last_modified(&self) -> Option<&[u8]> {
        (!self.last_modified.is_empty()).then(|| self.last_modified.within(&self.text))
    }

    /// Bytes of memory.
    fn weight(&self) -> usize {
        self.charge.bytes()
    }
}

/// Adds the tags of a field value.
fn add_tags(tags: &mut Vec<u8>, value: &[u8], separates: impl Fn(u8) -> bool) {
    for tag in value.split(|&byte| separates(byte)).map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty()) {
        if !tags.is_empty() {
            tags.push(b'\n');
        }
        tags.extend_from_slice(tag);
    }
}

/// Where the value of a field stands in the text of a head.
fn find_value(text: &[u8], name: &[u8], value: &[u8]) -> Option<Span> {
    let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let found = lines.filter_map(|line| {
        let (found, rest) = line.split_at_checked(name.len())?;
        found.eq_ignore_ascii_case(name).then_some(rest.strip_prefix(b": ")?)
    });
    found.into_iter().find(|found| *found == value).map(|found| Span::of(text, found))
}

/// A stored response.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its head.
    pub head: Arc<Head>,
    /// Its content.
    pub body: Arc<Body>,
}

impl Stored {
    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.head.weight() + self.body.weight()
    }

    /// Whether it has been so slow that the other, which came later, is complete already: the most recent is the
    /// one to use (RFC 9111, section 4). Much later is not believed: a clock that was set back must not keep
    /// everything from being stored.
    pub fn is_outrun_by(&self, other: &Stored) -> bool {
        const LATER_MS_MAX: u64 = 300_000;
        let received_ms = |stored: &Stored| stored.head.usage.timing.received_ms;
        (1..LATER_MS_MAX).contains(&received_ms(other).saturating_sub(received_ms(self)))
    }
}

/// The head of a stored response with the fields of a 304 in the place of its own (RFC 9111, section
/// 3.2), as text that can be read again. What describes content that is not there stays as it was.
pub fn freshened(stored: &Head, update: Fields<'_>) -> Vec<u8> {
    let taken = |known: Name| {
        !known.is_hop_by_hop()
            && !matches!(
                known,
                Name::ContentLength | Name::ContentEncoding | Name::ContentRange | Name::XCache
            )
    };
    let update = || update.iter().filter(|(known, ..)| taken(*known));
    let mut text = Vec::with_capacity(stored.text.len() + 256);
    for (place, line) in stored.text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let replaced = update().any(|(_, other, _)| other.eq_ignore_ascii_case(name));
        // These speak of how and when this answer came, not of the one before. A 304 without a Date was sent
        // when it came (RFC 9110, section 6.6.1).
        let of_the_way = matches!(Name::recognise(name), Name::Via | Name::Age | Name::Date);
        if place == 0 || !(replaced || of_the_way) {
            text.extend_from_slice(line);
        }
    }
    for (_, name, value) in update() {
        for part in [name, b": ", value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}
