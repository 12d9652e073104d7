//! A stored response on its way to the client: the head, and the part of the content that was asked for.
//!
//! ```text
//!   small    head and content in one buffer, which the connection writes at its end
//!   large    [head | segment | segment | …] in one write, as they lie; nothing is copied
//!   filling  the same, segment by segment as they arrive
//! ```

mod coded;
mod lines;
mod note;

use std::borrow::Cow;
use std::io::IoSlice;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use self::lines::{describes_content, write_lines};
use super::Caching;
use crate::cache::conditional::{self, Verdict};
use crate::cache::fill::{Next, Reading};
use crate::cache::range::{self, Multipart, Ranges, Wanted};
use crate::cache::shard::Entry;
use crate::cache::stored::{Body, Head, Segment, Stored};
use crate::content::coding::Way;
use crate::error::Reason;
use crate::h1::amend::{Amend, write_line};
use crate::h1::body::without_fields;
use crate::h1::chunked;
use crate::h1::encode::{self, Persistence, ResponseBody};
use crate::http::{Fields, Method, Name, Version};
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::answer::refusal;
use crate::proxy::client::connection::Client;
use crate::proxy::core::Core;
use crate::proxy::exchange::Then;
use crate::proxy::forward::{Broken, Writer};
use crate::proxy::record::{Received, Record};
use crate::proxy::request::terms::Terms;
use crate::proxy::response::amend::{Amendments, Side, copy};
use crate::proxy::response::respond::Asked;

/// Where a stored response comes from.
pub(in crate::proxy) enum Source {
    /// What is stored for a key, and which of the responses.
    Entry(Rc<Entry>, usize),
    /// A response that has just been validated.
    Single(Stored),
    /// One that is being fetched.
    Fill(Arc<Head>, Reading),
}

/// Which part of the response answers the request.
enum Part {
    Whole,
    NotModified,
    Unsatisfiable(u64),
    Single(Range<u64>, u64),
    Several(Box<Ranges>, u64),
}

/// How serving went.
pub(in crate::proxy) struct Served {
    /// What is still to be written.
    pub(in crate::proxy) last: Option<Buffer>,
    pub(in crate::proxy) then: Then,
}

/// Serves a stored response.
pub(in crate::proxy) async fn serve(
    core: &Rc<Core>,
    client: &mut Client,
    received: &Received,
    asked: Asked,
    caching: &Caching,
    source: Source,
    record: &mut Record,
) -> Served {
    let Client { socket, watch, .. } = client;
    let writer = Writer {
        sink: &mut socket.sink,
        watch,
        limit: received.terms.times.write_idle,
        pace: received.terms.pace(),
    };
    let (terms, request, way) = (&received.terms, received.fields(), Way::AsItCame);
    let mut serving = Serving { core, terms, writer, request, asked, caching, record, way, is_unsent: false };
    let result = match source {
        Source::Entry(entry, index) => {
            let Stored { head, body } = &entry.variants[index];
            serving.complete(head, body).await
        }
        Source::Single(Stored { head, body }) => serving.complete(&head, &body).await,
        Source::Fill(head, reading) => match reading.complete() {
            Some(body) => serving.complete(&head, &body).await,
            None => Box::pin(serving.filling(&head, reading)).await,
        },
    };
    let is_unsent = serving.is_unsent;
    result.unwrap_or_else(|reason| {
        if is_unsent && reason.status() != 0 {
            record.reason = reason;
            let last = refusal::answer(core, received, record, Some(caching), false);
            return Served { last: Some(last), then: Then::Close };
        }
        // What was sent must not be taken for the whole.
        record.reason = reason;
        Served { last: None, then: Then::Reset }
    })
}

/// Content up to this size is copied behind its head, which is cheaper than a write of several pieces.
const COPIED_BYTES_MAX: usize = 6 * 1024;

/// Segments in one write.
const SLICES_MAX: usize = 16;

struct Serving<'a> {
    core: &'a Rc<Core>,
    terms: &'a Terms,
    writer: Writer<'a>,
    request: Fields<'a>,
    asked: Asked,
    caching: &'a Caching,
    record: &'a mut Record,
    /// What becomes of the content.
    way: Way,
    /// Nothing was sent when it failed.
    is_unsent: bool,
}

fn client_fault(broken: Broken) -> Reason {
    broken.of_response()
}

impl Serving<'_> {
    /// Which part of a response of that length is asked for.
    fn part(&self, head: &Head, length: Option<u64>) -> Part {
        if head.status != 200 {
            return Part::Whole;
        }
        let validators = head.validators();
        if conditional::evaluate(self.request, validators) == Verdict::NotModified {
            return Part::NotModified;
        }
        let (Some(range), Some(length), Method::Get) =
            (range::field(self.request), length, self.asked.method)
        else {
            return Part::Whole;
        };
        if !conditional::range_applies(self.request, validators) {
            return Part::Whole;
        }
        match range::wanted(Some(range), length) {
            Wanted::Whole => Part::Whole,
            Wanted::Unsatisfiable => Part::Unsatisfiable(length),
            Wanted::Parts(ranges) => match ranges.single() {
                Some((first, past)) => Part::Single(first..past, length),
                None => Part::Several(Box::new(ranges), length),
            },
        }
    }

    /// Serves a body as it lies, or a part of it.
    async fn stored(&mut self, head: &Head, body: &Body, part: Part) -> Result<Served, Reason> {
        let range = match &part {
            Part::Single(range, _) => range.clone(),
            Part::Several(ranges, length) if self.asked.method == Method::Get => {
                return Box::pin(self.several(head, body, &part, (**ranges, *length))).await;
            }
            Part::Whole if !body.trailers().is_empty() && self.sends_trailers() => {
                return Box::pin(self.with_trailers(head, body)).await;
            }
            _ => 0..body.length(),
        };
        let length = range.end - range.start;
        let then = self.write_head(head, &part, ResponseBody::Known(length), None);
        let mut buffer = self.head_buffer(length);
        if self.is_head_only(head, &part) {
            return Ok(Served { last: Some(buffer), then });
        }
        self.record.bytes += length;
        if length <= COPIED_BYTES_MAX as u64 {
            let fits = pieces(body, range).all(|piece| buffer.append(piece));
            debug_assert!(fits, "the buffer was chosen to have room");
            return Ok(Served { last: Some(buffer), then });
        }
        let mut pieces = pieces(body, range);
        let mut first: &[u8] = buffer.bytes();
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            let next = std::iter::once(std::mem::take(&mut first)).filter(|first| !first.is_empty());
            for (slice, piece) in slices.iter_mut().zip(next.chain(&mut pieces)) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            if count == 0 {
                return Ok(Served { last: None, then });
            }
            self.writer.write_slices(&mut slices[..count]).await.map_err(client_fault)?;
        }
    }

    fn sends_trailers(&self) -> bool {
        self.asked.version == Version::Http11 && self.asked.method == Method::Get
    }

    /// Whether the response to this request ends with its head.
    fn is_head_only(&self, head: &Head, part: &Part) -> bool {
        self.asked.method == Method::Head
            || matches!(part, Part::NotModified | Part::Unsatisfiable(_))
            || matches!(head.status, 204 | 304)
    }

    /// Serves several parts of a response.
    async fn several(
        &mut self,
        head: &Head,
        body: &Body,
        part: &Part,
        (ranges, length): (Ranges, u64),
    ) -> Result<Served, Reason> {
        let number = self.core.random.borrow_mut().u64(..);
        let parts = Multipart::new(ranges, length, head.content_type(), number);
        let content = parts.content_length();
        let then = self.write_head(head, part, ResponseBody::Known(content), Some(&parts));
        let mut buffer = self.head_buffer(0);
        self.record.bytes += content;
        let mut text = Vec::new();
        self.writer.write_slices(&mut [IoSlice::new(buffer.bytes())]).await.map_err(client_fault)?;
        for (index, (first, past)) in ranges.iter().enumerate() {
            text.clear();
            parts.write_head(&mut text, index);
            self.writer.write_slices(&mut [IoSlice::new(&text)]).await.map_err(client_fault)?;
            for piece in pieces(body, first..past) {
                self.writer.write_slices(&mut [IoSlice::new(piece)]).await.map_err(client_fault)?;
            }
        }
        text.clear();
        parts.write_end(&mut text);
        buffer.clear();
        let fits = buffer.append(&text);
        debug_assert!(fits, "the end of the parts is short");
        Ok(Served { last: Some(buffer), then })
    }

    /// Serves a response that ends with trailer fields, in chunks.
    async fn with_trailers(&mut self, head: &Head, body: &Body) -> Result<Served, Reason> {
        let then = self.write_head(head, &Part::Whole, ResponseBody::Chunked, None);
        let mut buffer = self.head_buffer(0);
        self.writer.write_slices(&mut [IoSlice::new(buffer.bytes())]).await.map_err(client_fault)?;
        for segment in body.segments() {
            self.write_chunk(&[], segment.bytes()).await?;
        }
        buffer.clear();
        let fits = buffer.append(&self.trailers(body));
        debug_assert!(fits, "a trailer section fits into a buffer");
        Ok(Served { last: Some(buffer), then })
    }

    /// The last chunk of a stored response, with the trailer fields that the route lets through.
    fn trailers<'b>(&self, body: &'b Body) -> Cow<'b, [u8]> {
        match self.terms.response_changes() {
            Some(changes) => Cow::Owned(without_fields(body.trailers(), |name| changes.removes(name))),
            None => Cow::Borrowed(body.trailers()),
        }
    }

    /// Serves a response that is still being fetched, as it comes.
    async fn filling(&mut self, head: &Head, mut reading: Reading) -> Result<Served, Reason> {
        let mut part = match self.part(head, head.length) {
            // The parts may come in any order, and the content comes only once.
            Part::Several(..) => Part::Whole,
            part => part,
        };
        self.way = self.way(head, head.length, &mut part);
        let changes = self.way.changes_content() && matches!(part, Part::Whole);
        if changes && self.asked.method != Method::Head {
            if let Some(served) = self.changing_fill(head, &mut reading).await {
                return served;
            }
            self.readable_as_it_is()?;
        }
        let mut range = match &part {
            Part::Single(range, _) => range.clone(),
            _ => 0..head.length.unwrap_or(u64::MAX),
        };
        let framing = match (head.length, self.asked.version) {
            _ if self.way.changes_content() => ResponseBody::Described,
            (Some(_), _) => ResponseBody::Known(range.end - range.start),
            (None, Version::Http11) => ResponseBody::Chunked,
            (None, Version::Http10) => ResponseBody::UntilClose,
        };
        let then = self.write_head(head, &part, framing, None);
        let mut buffer = self.head_buffer(0);
        if self.is_head_only(head, &part) {
            return Ok(Served { last: Some(buffer), then });
        }
        let mut at = 0;
        while at < range.end {
            // What is there already goes out together with the head.
            let next = match reading.take() {
                Some(next) => next,
                None => {
                    self.flush(&mut buffer).await?;
                    reading.next().await
                }
            };
            let segment = match next {
                Next::Segment(segment) => segment,
                Next::End(body) => {
                    return self.end_of_fill(buffer, framing, body.as_deref(), then).await;
                }
                Next::Broken(reason) => {
                    self.flush(&mut buffer).await?;
                    return Err(reason);
                }
            };
            let piece = part_of(&segment, at, &range);
            at += segment.bytes().len() as u64;
            if piece.is_empty() {
                continue;
            }
            range.start = range.start.max(at);
            self.record.bytes += piece.len() as u64;
            let head = buffer.bytes();
            match framing {
                ResponseBody::Chunked => self.write_chunk(head, piece).await?,
                _ => {
                    let mut slices = [IoSlice::new(head), IoSlice::new(piece)];
                    self.writer.write_slices(&mut slices).await.map_err(client_fault)?;
                }
            }
            buffer.clear();
        }
        Ok(Served { last: Some(buffer), then })
    }

    /// Ends content of unknown length.
    async fn end_of_fill(
        &mut self,
        mut buffer: Buffer,
        framing: ResponseBody,
        body: Option<&Body>,
        then: Then,
    ) -> Result<Served, Reason> {
        let end = match framing {
            ResponseBody::Chunked => {
                body.filter(|body| !body.trailers().is_empty()).map(|body| self.trailers(body))
            }
            // It ended before its length was reached: whoever filled it would have said so.
            ResponseBody::Known(_) => return Err(Reason::UpstreamTruncated),
            _ => Some(Cow::Borrowed(&b""[..])),
        };
        let end = end.unwrap_or(Cow::Borrowed(chunked::LAST_CHUNK));
        if !buffer.append(&end) {
            self.flush(&mut buffer).await?;
            let fits = buffer.append(&end);
            debug_assert!(fits, "a trailer section fits into a buffer");
        }
        Ok(Served { last: Some(buffer), then })
    }

    async fn flush(&mut self, buffer: &mut Buffer) -> Result<(), Reason> {
        if !buffer.is_empty() {
            self.writer.write_slices(&mut [IoSlice::new(buffer.bytes())]).await.map_err(client_fault)?;
            buffer.clear();
        }
        Ok(())
    }

    /// Writes a chunk, behind a head where there is one.
    async fn write_chunk(&mut self, head: &[u8], piece: &[u8]) -> Result<(), Reason> {
        let mut prefix = [0; chunked::PREFIX_BYTES_MAX];
        let prefix = chunked::prefix(piece.len(), &mut prefix);
        let mut slices = [head, prefix, piece, chunked::CHUNK_END].map(IoSlice::new);
        self.writer.write_slices(&mut slices).await.map_err(client_fault)
    }

    /// Writes a head into the core's scratch space, and says what the connection does afterwards.
    fn write_head(
        &mut self,
        head: &Head,
        part: &Part,
        body: ResponseBody,
        parts: Option<&Multipart<'_>>,
    ) -> Then {
        let keep_alive =
            self.asked.keep_alive && body != ResponseBody::UntilClose && !self.core.is_draining();
        let persistence = Persistence::of(keep_alive, self.asked.version);
        let mut scratch = self.core.scratch.borrow_mut();
        let out = &mut *scratch;
        out.clear();
        let mut body = body;
        let common = self.common(head, part);
        let mut amend = Amendments::new(Side::Response, common.form, self.terms.response_changes());
        self.record.status = match part {
            Part::Whole => {
                copy(out, common.text, amend.as_mut());
                if head.status == 204 {
                    body = ResponseBody::Forbidden;
                }
                head.status
            }
            Part::NotModified => {
                write_lines(out, 304, head, amend.as_mut(), |name| !describes_content(name));
                body = ResponseBody::Forbidden;
                304
            }
            Part::Unsatisfiable(length) => {
                write_lines(out, 416, head, amend.as_mut(), |name| matches!(name, Name::Date | Name::Via));
                out.extend_from_slice(b"Content-Range: ");
                range::write_unsatisfied(out, *length);
                out.extend_from_slice(b"\r\n");
                body = ResponseBody::Known(0);
                416
            }
            Part::Single(range, length) => {
                write_lines(out, 206, head, amend.as_mut(), |_| true);
                out.extend_from_slice(b"Content-Range: ");
                range::write_content_range(out, (range.start, range.end), *length);
                out.extend_from_slice(b"\r\n");
                206
            }
            Part::Several(..) => {
                write_lines(out, 206, head, amend.as_mut(), |name| name != Name::ContentType);
                out.extend_from_slice(b"Content-Type: ");
                if let Some(parts) = parts {
                    parts.write_content_type(out);
                }
                out.extend_from_slice(b"\r\n");
                206
            }
        };
        if let Some(coding) = common.coding {
            write_line(out, b"Content-Encoding", coding.name().as_bytes());
        }
        self.write_rest(head, out);
        encode::content_framing(out, body);
        out.extend_from_slice(persistence.field());
        if let Some(amend) = &mut amend {
            amend.end(out);
        }
        out.extend_from_slice(b"\r\n");
        if keep_alive { Then::Persist } else { Then::Close }
    }

    /// Writes the age, and what is said about the cache.
    fn write_rest(&self, head: &Head, out: &mut Vec<u8>) {
        let age_s = head.usage.timing.age_s(self.core.clock.unix_millis());
        let missed = self.caching.is_plain_miss();
        if age_s > 0 || !missed {
            out.extend_from_slice(b"Age: ");
            out.extend_from_slice(itoa::Buffer::new().format(age_s).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        let whole = (self.record.status != head.status).then_some(head.status);
        self.caching.append_report(self.terms.via(), whole, out);
    }

    /// What was written as a head, in a buffer with room for so much content, where that is little.
    fn head_buffer(&self, content: u64) -> Buffer {
        let scratch = self.core.scratch.borrow();
        let content = usize::try_from(content).unwrap_or(usize::MAX);
        let room = if content <= COPIED_BYTES_MAX { content } else { 0 };
        let mut buffer = self.core.buffers.take(Class::fitting(scratch.len() + room));
        let fits = buffer.append(&scratch);
        debug_assert!(fits, "a head fits into a buffer");
        buffer
    }
}

/// The bytes of a range of a body, segment by segment.
fn pieces(body: &Body, range: Range<u64>) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    body.segments().iter().filter_map(move |segment| {
        let piece = part_of(segment, at, &range);
        at += segment.bytes().len() as u64;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The part of a segment, which begins at `at`, that lies within a range of the whole.
fn part_of<'s>(segment: &'s Segment, at: u64, range: &Range<u64>) -> &'s [u8] {
    let bytes = segment.bytes();
    let within =
        |place: u64| usize::try_from(place.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[within(range.start)..within(range.end).max(within(range.start))]
}
