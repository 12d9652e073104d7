//! A stored response that goes out in another form than it is stored in: compressed, as it is kept beside it or as it
//! goes, or taken apart.
//!
//! A part of a response is a part of what is stored. A tag of ours is weak, so that nobody goes on by it with something
//! else; nor does anybody by a date, which both forms have in common.

use std::io::IoSlice;
use std::sync::Arc;

use super::note::{Note, found};
use super::{COPIED_BYTES_MAX, Part, Served, Serving, client_fault};
use crate::cache::fill::{Next, Reading};
use crate::cache::forms::Claim;
use crate::cache::stored::{Body, Head};
use crate::content::coding::accept::Accepts;
use crate::content::coding::encoder::Flow;
use crate::content::coding::head::Form;
use crate::content::coding::{self, Way};
use crate::error::Reason;
use crate::h1::body::Encoder;
use crate::h1::encode::ResponseBody;
use crate::http::coding::Coding;
use crate::http::{Method, Name, Version};
use crate::net::Buffer;
use crate::proxy::coding::{Coder, Stream, Turn, is_worth_waiting, provide, resumes_by_date, wait};
use crate::proxy::exchange::Then;
use crate::proxy::task::{self, Place};

impl Serving<'_> {
    /// Serves a response that is there as a whole.
    pub(super) async fn complete(&mut self, head: &Head, body: &Arc<Body>) -> Result<Served, Reason> {
        let mut part = self.part(head, Some(body.length()));
        if self.terms.coding().is_none() {
            return self.stored(head, body, part).await;
        }
        self.way = self.way(head, Some(body.length()), &mut part);
        let is_modified = !matches!(part, Part::NotModified);
        let coding = match self.way {
            // It is, and was, the content as it is that goes out.
            Way::Encode(coding) if body.forms().of(coding).is_refused() => {
                self.way = Way::Varied;
                None
            }
            _ if !is_modified => None,
            Way::Encode(coding) if self.has_form(body, coding).await => Some(coding),
            Way::Encode(_) => {
                self.way = Way::Varied;
                None
            }
            Way::Decode(coding) => Some(coding),
            Way::AsItCame | Way::Varied => None,
        };
        let Some(coding) = coding else { return self.stored(head, body, part).await };
        if let (Way::Encode(_), Some(kept)) = (self.way, body.forms().of(coding).get()) {
            self.core.counters.compressed_hits.increment();
            if let Some(short) = kept.as_ref().filter(|kept| kept.length() <= COPIED_BYTES_MAX as u64) {
                return self.stored(head, short, part).await;
            }
            // While it is sent, it must not take up one of the few places that loads without a count have.
            let kept = arc_swap::Guard::into_inner(kept);
            return self.stored(head, kept.as_ref().unwrap_or(body), part).await;
        }
        if self.asked.method == Method::Head {
            let then = self.write_head(head, &part, ResponseBody::Described, None);
            return Ok(Served { last: Some(self.head_buffer(0)), then });
        }
        match Box::pin(self.changing(head, body)).await {
            Some(served) => served,
            None => {
                self.readable_as_it_is()?;
                self.stored(head, body, part).await
            }
        }
    }

    /// What becomes of the content. What changes is always the whole.
    pub(super) fn way(&self, head: &Head, length: Option<u64>, part: &mut Part) -> Way {
        let Some(rules) = self.terms.coding() else { return Way::AsItCame };
        let note = self.core.store.as_ref().and_then(|store| Note::of(store, head));
        let facts = match note {
            Some(note) => note.facts(head.status, length),
            None => found(head, length),
        };
        let accepts = Accepts::of(self.request.values(Name::AcceptEncoding));
        let way = coding::decide(&rules.wanted(), &facts, &accepts);
        let is_part = matches!(part, Part::Single(..) | Part::Several(..) | Part::Unsatisfiable(_));
        // A client may want content as it is (RFC 9111, section 5.2.1.6).
        let stays = self.caching.directives.no_transform;
        match way {
            Way::Encode(_) if is_part && !resumes_by_date(self.terms, self.request) => return Way::Varied,
            Way::Decode(_) if stays => return Way::Varied,
            Way::Encode(_) | Way::Decode(_) if is_part => *part = Part::Whole,
            _ => {}
        }
        if stays && way.changes_content() { Way::Varied } else { way }
    }

    /// What of the head is common to every use, and what it has still to say of its content.
    pub(super) fn common<'h>(&self, head: &'h Head, part: &Part) -> Common<'h> {
        let as_stored = |form| Common { text: head.text(), form, coding: None };
        if self.way == Way::AsItCame {
            return as_stored(None);
        }
        let store = self.core.store.as_ref().filter(|_| matches!(part, Part::Whole));
        let texts = store.and_then(|store| head.note::<Note>()?.texts(store, head));
        let Some(texts) = texts else {
            let status = if matches!(part, Part::NotModified) { 304 } else { head.status };
            let (tag, asked) = (head.validators().etag, self.request.values(Name::IfNoneMatch));
            return as_stored(Form::of(self.way, status, tag, asked));
        };
        let form = None;
        match self.way {
            Way::AsItCame | Way::Varied => Common { text: &texts.varied, form, coding: None },
            Way::Decode(_) => Common { text: &texts.changed, form, coding: None },
            Way::Encode(coding) => Common { text: &texts.changed, form, coding: Some(coding) },
        }
    }

    /// Has the content be there in that coding, if it is to be kept and that takes no more than a moment. Says whether
    /// it is worth while to compress it at all.
    async fn has_form(&self, body: &Arc<Body>, coding: Coding) -> bool {
        let Some(rules) = self.terms.coding() else { return false };
        let form = body.forms().of(coding);
        if form.get().is_some() {
            form.use_it();
            if let Some((after, harder)) = &rules.harder
                && form.used(*after)
            {
                harder.add(Claim::again(body, coding));
            }
            return true;
        }
        if self.asked.method == Method::Get {
            provide(self.core, body, coding, rules.effort(coding));
            if is_worth_waiting(body, coding) {
                Box::pin(wait(body, coding)).await;
            }
        }
        !form.is_refused()
    }

    /// A coder for the way that was found; without memory for one the content goes out as it is stored. So does content
    /// that many ask for at once, before its form is there: it is not to be compressed for each of them.
    fn coder(&mut self, length: Option<u64>) -> Option<(Coder, Option<Place>)> {
        let (Way::Encode(coding) | Way::Decode(coding)) = self.way else { return None };
        let effort = self.terms.coding()?.effort(coding).for_length(length);
        let [serving, _] = &self.core.compressing;
        let place = match self.way {
            Way::Encode(_) => serving.take(self.core.deadlines.now()).map(Some),
            _ => Some(None),
        };
        let ends = length.is_some();
        let coder = place.and_then(|place| Some((self.core.coders.reserve(self.way, effort, ends)?, place)));
        match (&coder, self.way) {
            (None, _) => {
                self.core.counters.compression_skipped.increment();
                if !matches!(self.way, Way::Decode(_)) {
                    self.way = Way::Varied;
                }
            }
            (Some(_), Way::Decode(_)) => self.core.counters.decompressed.increment(),
            (Some(_), _) => self.core.counters.compressed.increment(),
        }
        coder
    }

    /// Fails where there is no memory to take content apart: it must not go out as it is to who cannot read that.
    pub(super) fn readable_as_it_is(&mut self) -> Result<(), Reason> {
        if let Way::Decode(_) = self.way {
            self.is_unsent = true;
            return Err(Reason::Overloaded);
        }
        Ok(())
    }

    fn framing(&self) -> (ResponseBody, Encoder) {
        match self.asked.version {
            Version::Http11 => (ResponseBody::Chunked, Encoder::Chunked),
            Version::Http10 => (ResponseBody::UntilClose, Encoder::Plain),
        }
    }

    /// Serves a response that is there as a whole, changing it as it goes. None without memory for that.
    pub(super) async fn changing(&mut self, head: &Head, body: &Arc<Body>) -> Option<Result<Served, Reason>> {
        let (coder, place) = self.coder(Some(body.length()))?;
        let (framing, encoder) = self.framing();
        let then = self.write_head(head, &Part::Whole, framing, None);
        let head = Some(self.head_buffer(0));
        let mut out = Out { stream: Stream::new(coder), head, encoder, turns: 0, _place: place };
        for segment in body.segments() {
            if let Err(reason) = self.feed(&mut out, segment.bytes(), Flow::More).await {
                return Some(Err(reason));
            }
        }
        Some(self.last(out, then).await)
    }

    /// Serves a response that is still being fetched, changing it as it comes.
    pub(super) async fn changing_fill(
        &mut self,
        head: &Head,
        reading: &mut Reading,
    ) -> Option<Result<Served, Reason>> {
        let (coder, place) = self.coder(head.length)?;
        let (framing, encoder) = self.framing();
        let then = self.write_head(head, &Part::Whole, framing, None);
        let buffer = Some(self.head_buffer(0));
        let out = Out { stream: Stream::new(coder), head: buffer, encoder, turns: 0, _place: place };
        Some(self.read_fill(out, head.length, reading, then).await)
    }

    async fn read_fill(
        &mut self,
        mut out: Out,
        length: Option<u64>,
        reading: &mut Reading,
        then: Then,
    ) -> Result<Served, Reason> {
        let mut at = 0;
        while length.is_none_or(|length| at < length) {
            let next = match reading.take() {
                Some(next) => next,
                None => {
                    // Nothing more is there for the moment: what came goes out. What is taken apart has to be known first.
                    if out.stream.is_known() {
                        self.feed(&mut out, b"", Flow::Flush).await?;
                        self.flush_out(&mut out).await?;
                    }
                    reading.next().await
                }
            };
            match next {
                Next::Segment(segment) => {
                    at += segment.bytes().len() as u64;
                    self.feed(&mut out, segment.bytes(), Flow::More).await?;
                }
                Next::End(_) if length.is_some() => {
                    self.is_unsent = out.head.is_some();
                    return Err(Reason::UpstreamTruncated);
                }
                Next::End(_) => break,
                Next::Broken(reason) if !out.stream.is_known() => {
                    self.is_unsent = out.head.is_some();
                    return Err(reason);
                }
                Next::Broken(reason) => {
                    self.feed(&mut out, b"", Flow::Flush).await?;
                    self.flush_out(&mut out).await?;
                    return Err(reason);
                }
            }
        }
        self.last(out, then).await
    }

    async fn feed(&mut self, out: &mut Out, mut input: &[u8], flow: Flow) -> Result<(), Reason> {
        loop {
            let turn = out.stream.step(&self.core.buffers, &mut input, flow).inspect_err(|_| {
                // An answer of our own is possible until something was sent.
                self.is_unsent = out.head.is_some();
            })?;
            match turn {
                Turn::Done => return Ok(()),
                Turn::Full => self.flush_out(out).await?,
                Turn::Tired => {
                    out.turns += 1;
                    task::take_turns(out.turns).await;
                }
            }
        }
    }

    /// Sends what there is.
    async fn flush_out(&mut self, out: &mut Out) -> Result<(), Reason> {
        if out.head.is_none() && out.stream.waiting() == 0 {
            return Ok(());
        }
        let window = out.stream.take(&self.core.buffers, out.encoder);
        let head = out.head.take();
        let head = head.as_ref().map_or(&b""[..], Buffer::bytes);
        let mut slices = [IoSlice::new(head), IoSlice::new(window.bytes())];
        self.writer.write_slices(&mut slices).await.map_err(client_fault)?;
        self.record.bytes += out.stream.count(&self.core.counters);
        out.stream.give_back(window);
        Ok(())
    }

    /// Ends the content; the last window comes back unwritten.
    async fn last(&mut self, mut out: Out, then: Then) -> Result<Served, Reason> {
        self.feed(&mut out, b"", Flow::Finish).await?;
        let mut window = out.stream.take(&self.core.buffers, out.encoder);
        if let Some(head) = out.head.take()
            && !window.prepend(head.bytes())
        {
            let mut slices = [IoSlice::new(head.bytes())];
            self.writer.write_slices(&mut slices).await.map_err(client_fault)?;
        }
        let fits = window.append(out.encoder.end());
        debug_assert!(fits, "there is room for the last chunk");
        self.record.bytes += out.stream.count(&self.core.counters);
        Ok(Served { last: Some(window), then })
    }
}

/// A head as it is kept for the form that goes out, or as it is stored.
pub(super) struct Common<'h> {
    pub(super) text: &'h [u8],
    /// What it has to say beside that.
    pub(super) form: Option<Form>,
    /// The coding that it does not name yet.
    pub(super) coding: Option<Coding>,
}

/// A stream on its way out, with the head in front of it.
struct Out {
    stream: Stream,
    head: Option<Buffer>,
    encoder: Encoder,
    turns: u32,
    _place: Option<Place>,
}
