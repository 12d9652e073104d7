//! The upstream's response on its way to the client.

use std::rc::Rc;

use crate::cache::key::KeyRef;
use crate::content::coding::Way;
use crate::error::Reason;
use crate::h1::amend::AsItCame;
use crate::h1::body::Decoder;
use crate::h1::encode::{self, Persistence, ResponseBody, ResponseEdits};
use crate::h1::{BodyLength, ResponseHead, framing, response};
use crate::http::fields::drop_connection_options;
use crate::http::status::{CONTINUE, SWITCHING_PROTOCOLS, is_interim};
use crate::http::{FieldLine, Fields, Method, Name, Version};
use crate::limits::INTERIM_RESPONSES_MAX;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::attempt::affinity;
use crate::proxy::attempt::progress::Progress;
use crate::proxy::cached::judge::Came;
use crate::proxy::cached::pump::{Pump, bad_body};
use crate::proxy::cached::serve::Source;
use crate::proxy::cached::{Caching, Heads, Judgement};
use crate::proxy::coding;
use crate::proxy::core::Core;
use crate::proxy::forward::{Broken, Reader, Writer};
use crate::proxy::head::{self, HeadFault};
use crate::proxy::holding::ahead::Ahead;
use crate::proxy::record::Record;
use crate::proxy::request::terms::Terms;
use crate::proxy::response::amend::{Amendments, Changes, Side};
use crate::proxy::response::delivery::{Content, Outgoing};
use crate::proxy::response::responded::{After, Responded, ResponseFault, client_fault, dropped, unanswered};
use crate::proxy::response::window::{frame, next_window};

/// What of the request decides how it is answered.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Asked {
    pub(in crate::proxy) method: Method,
    pub(in crate::proxy) version: Version,
    /// Whether the client's connection is to stay open.
    pub(in crate::proxy) keep_alive: bool,
    /// Whether the client offered to switch protocols, and the offer was passed on.
    pub(in crate::proxy) upgrade: bool,
}

/// The two ends that a response passes between.
pub(in crate::proxy) struct Respond<'a> {
    pub(in crate::proxy) core: &'a Core,
    pub(in crate::proxy) asked: Asked,
    pub(in crate::proxy) upstream: Reader<'a>,
    /// None where the response is only for the cache.
    pub(in crate::proxy) client: Option<Writer<'a>>,
    pub(in crate::proxy) caching: &'a mut Caching,
    /// The request's field lines.
    pub(in crate::proxy) request: Fields<'a>,
    pub(in crate::proxy) terms: &'a Terms,
    pub(in crate::proxy) progress: &'a Progress<'a>,
    pub(in crate::proxy) lines: Vec<FieldLine>,
    pub(in crate::proxy) record: &'a mut Record,
    /// What becomes of the content.
    pub(in crate::proxy) way: Way,
    /// Where what is to be written waits, if it does not go to the client at once.
    pub(in crate::proxy) ahead: Option<Rc<Ahead>>,
}

/// Whether a response that can have no content speaks of some all the same. Upstreams that do so may
/// send it too, a moment later, and nobody must take it for the next response. To describe the content
/// that a GET would have had is what HEAD is for.
fn announces_what_cannot_come(method: Method, status: u16, fields: Fields<'_>) -> bool {
    let coded = fields.first(Name::TransferEncoding).is_some();
    let long = status == 204 && fields.first(Name::ContentLength).is_some_and(|length| length != b"0");
    method != Method::Head && matches!(status, 204 | 304) && (coded || long)
}

impl Respond<'_> {
    /// Reads the response and passes it on.
    pub(in crate::proxy) async fn run(mut self) -> Result<Responded, ResponseFault> {
        let (head, head_length, mut window) = self.final_head().await?;
        self.record.first_byte = self.record.elapsed(self.core);
        self.progress.status.set(head.status);
        self.note_latency();
        let fields = Fields::new(&window.bytes()[..head_length], &self.lines);
        let length =
            framing::of_response(self.asked.method == Method::Head, head.status, head.version, fields)
                .map_err(|_| Reason::UpstreamBadFraming)?;
        let persists = framing::keeps_alive(head.version, fields)
            && length != BodyLength::UntilClose
            && !announces_what_cannot_come(self.asked.method, head.status, fields);
        if head.status == SWITCHING_PROTOCOLS {
            return self.switch(&head, head_length, window);
        }
        if self.progress.repeats(head.status, self.core.deadlines.now()) && self.spends() {
            let content = match length {
                BodyLength::None => Some(0),
                BodyLength::Known(length) => usize::try_from(length).ok(),
                BodyLength::Chunked | BodyLength::UntilClose => None,
            };
            let is_whole = content.is_some_and(|content| window.len() == head_length + content);
            return Ok(Responded { last: window, after: After::Repeat { reusable: persists && is_whole } });
        }
        self.invalidate(&head, &window.bytes()[..head_length]).await;
        let bytes = &window.bytes()[..head_length];
        let came = Came { bytes, head: &head, lines: &self.lines, length };
        match self.caching.judge(self.core, self.terms, self.request, came) {
            Judgement::PassOn if self.asks_for_whole(&head, bytes) => return Ok(dropped(window, true)),
            // What is mirrored is read to its end, so that its connection can serve again.
            Judgement::PassOn if self.client.is_some() || !self.caching.rules.on => {}
            Judgement::PassOn => return Ok(dropped(window, false)),
            Judgement::Again => return Ok(dropped(window, true)),
            Judgement::Serve(source) => {
                // A validation has no content, so that the connection is free again.
                let reusable = persists && length == BodyLength::None && window.len() == head_length;
                return Ok(Responded { last: window, after: After::Serve { source, reusable } });
            }
            Judgement::Store(heads) => return self.fill(heads, window, head_length, length, persists),
        }
        if let Some(coder) = self.coder(&head, &window.bytes()[..head_length], length)? {
            let came = coding::Came { head, head_length, window, length, persists };
            return Box::pin(self.recode_ahead(coder, came)).await;
        }
        let outgoing = Outgoing::decide(self.asked, head.status, length);
        let keep_alive = self.asked.keep_alive
            && outgoing.body != ResponseBody::UntilClose
            && self.progress.uploaded.get()
            && !self.core.is_draining();
        let mut content = Content::new(length, outgoing);
        let separate = self.first_window(&head, head_length, &mut window, &mut content, keep_alive)?;
        self.record.status = head.status;
        self.core.give_back_lines(std::mem::take(&mut self.lines));
        if let Some(separate) = separate {
            self.progress.responding.set(true);
            self.send_on(separate).await.map_err(client_fault)?;
        }
        let (last, ahead) = match self.terms.hold_response() {
            Some(rules) if !content.done => Box::pin(self.stream_ahead(window, &mut content, rules)).await?,
            _ => (self.stream(window, &mut content).await?, None),
        };
        let reusable = persists && !content.overrun && self.progress.uploaded.get();
        Ok(Responded { last, after: After::Complete { reusable, keep_alive, ahead } })
    }

    /// Takes another try out of the upstream's budget.
    fn spends(&self) -> bool {
        let now = self.core.deadlines.now();
        let takes = self.terms.upstream().is_some_and(|upstream| upstream.budget.take(now));
        if !takes {
            self.core.counters.retries_denied.increment();
        }
        takes
    }

    /// Notes how long the upstream took, where somebody wants to know.
    fn note_latency(&self) {
        if let Some(asked) = self.progress.asked.take() {
            self.progress.took.set(Some(self.core.clock.now().since(asked)));
        }
    }

    /// Whether the request has to go out again, for the whole: see [`coding::needs_whole`]. Parts are for GET alone, and
    /// whatever else was answered with one has been done: it must not be done twice.
    fn asks_for_whole(&mut self, head: &ResponseHead, bytes: &[u8]) -> bool {
        let is_at_hand = self.progress.uploaded.get() && !self.progress.uploading.get();
        let may_ask = self.asked.method == Method::Get
            && is_at_hand
            && self.client.is_some()
            && !self.caching.wants_whole;
        let fields = Fields::new(bytes, &self.lines);
        let asks = may_ask && coding::needs_whole(self.terms, self.request, head.status, fields);
        self.caching.wants_whole |= asks;
        asks
    }

    /// Removes stored responses that a successful request has made wrong (RFC 9111, section 4.4), before
    /// its client can ask for them again.
    async fn invalidate(&self, head: &ResponseHead, bytes: &[u8]) {
        let Some(store) = &self.core.store else { return };
        for key in self.caching.invalidated(self.terms, head.status, Fields::new(bytes, &self.lines)) {
            let key = KeyRef { hash: store.hash(&key), text: &key };
            Box::pin(store.invalidate(key)).await;
        }
    }

    /// Has the response go into the cache, for the client to read along. What is complete is stored at
    /// once.
    fn fill(
        mut self,
        heads: Heads,
        mut window: Buffer,
        head_length: usize,
        length: BodyLength,
        persists: bool,
    ) -> Result<Responded, ResponseFault> {
        self.core.give_back_lines(std::mem::take(&mut self.lines));
        let (Some(store), Some(mut ticket)) = (&self.core.store, self.caching.ticket.take()) else {
            return Ok(dropped(window, false));
        };
        window.consume(head_length);
        let reading = ticket.reading();
        let key = (self.caching.key.clone(), self.caching.hash);
        let decoder = Decoder::new(length);
        let mut pump =
            Pump::new(heads.kept, decoder, ticket, key, persists, self.caching.rules.response_bytes_max);
        let step = match pump.decoder.step(window.bytes_mut()) {
            Ok(step) => step,
            Err(fault) => {
                let reason = bad_body(fault);
                pump.ticket.failed(reason);
                return Err(reason.into());
            }
        };
        let overrun = step.consumed < window.len();
        pump.take(store, &window.bytes()[step.data]);
        let source = Source::Fill(heads.own, reading);
        if pump.decoder.is_done() {
            pump.finish(store);
            let reusable = persists && !overrun;
            return Ok(Responded { last: window, after: After::Serve { source, reusable } });
        }
        Ok(Responded { last: window, after: After::Fill(Box::new(pump), source) })
    }

    /// Reads the final response's head, passing interim ones on as they come.
    async fn final_head(&mut self) -> Result<(ResponseHead, usize, Buffer), ResponseFault> {
        let mut rest = None;
        for interims in 0..=INTERIM_RESPONSES_MAX {
            let (core, watch, times) = (self.core, self.upstream.watch, self.terms.times);
            let mut reads = u32::from(rest.is_some());
            let (result, mut buffer) = head::receive(
                self.upstream.source,
                &core.buffers,
                &self.terms.snapshot.response_head,
                rest,
                || {
                    // The first waits for the first byte; from then on the rest of the head has one limit.
                    if reads == 1 {
                        watch.read_within(times.upstream_idle);
                    }
                    reads += 1;
                },
            )
            .await;
            watch.clear_read();
            let length = result.map_err(|fault| self.head_fault(&fault, buffer.is_empty(), interims > 0))?;
            let bytes = &buffer.bytes()[..length];
            let head = response::parse(bytes, &self.terms.snapshot.response_head, &mut self.lines)
                .map_err(|fault| fault.in_response())?;
            drop_connection_options(bytes, &mut self.lines);
            if !is_interim(head.status) {
                self.progress.answered.set(true);
                return Ok((head, length, buffer));
            }
            if self.asked.version == Version::Http11 {
                self.interim(&head, bytes).await?;
            }
            buffer.consume(length);
            rest = Some(buffer).filter(|rest| !rest.is_empty());
            if self.progress.waiting.get() && head.status == CONTINUE {
                // The client has been asked for its content: from here on the time is its own.
                if let Some(client) = &self.client {
                    client.watch.read_within(times.body_idle);
                }
            } else if self.progress.waiting.get() || self.progress.uploaded.get() {
                watch.read_within(times.first_byte);
            }
        }
        Err(Reason::UpstreamBadHead.into())
    }

    fn head_fault(&self, fault: &HeadFault, nothing_came: bool, asked: bool) -> ResponseFault {
        let broken = match fault {
            HeadFault::Malformed(fault) => return fault.in_response().into(),
            _ if self.upstream.watch.write_expired() => return Reason::UpstreamWriteTimeout.into(),
            _ if self.upstream.watch.read_expired() => Broken::TimedOut,
            HeadFault::Closed => Broken::Closed,
            HeadFault::Failed => Broken::Reset,
        };
        match broken {
            // Interim responses are no answer, but they show that the connection was good.
            broken if nothing_came => {
                let fault = unanswered(broken);
                ResponseFault { unanswered: fault.unanswered && !asked, ..fault }
            }
            Broken::TimedOut | Broken::TooSlow => Reason::UpstreamReadTimeout.into(),
            Broken::Closed | Broken::Reset => Reason::UpstreamTruncated.into(),
        }
    }

    /// Passes an interim response on (RFC 9110, section 15.2).
    async fn interim(&mut self, head: &ResponseHead, bytes: &[u8]) -> Result<(), ResponseFault> {
        self.encode(head, bytes, ResponseBody::Forbidden, Persistence::KeepAlive, None);
        let head = self.encoded();
        self.send_on(head).await.map_err(client_fault)?;
        Ok(())
    }

    /// Writes to the client, if there is one, and gives the buffer back empty.
    pub(in crate::proxy) async fn send_on(&mut self, mut buffer: Buffer) -> Result<Buffer, Broken> {
        match (&mut self.client, &self.ahead) {
            (Some(client), _) => client.write_all(buffer).await,
            (None, Some(ahead)) => Ok(self.put_ahead(ahead, buffer).await),
            (None, None) => {
                buffer.clear();
                Ok(buffer)
            }
        }
    }

    /// Turns both connections into a tunnel (RFC 9110, section 7.8).
    fn switch(
        &mut self,
        head: &ResponseHead,
        head_length: usize,
        mut rest: Buffer,
    ) -> Result<Responded, ResponseFault> {
        let bytes = &rest.bytes()[..head_length];
        let protocol = Fields::new(bytes, &self.lines).first(Name::Upgrade);
        let Some(protocol) = protocol.filter(|_| self.asked.upgrade) else {
            return Err(Reason::UpstreamBadUpgrade.into());
        };
        self.record.status = head.status;
        self.encode(head, bytes, ResponseBody::Forbidden, Persistence::KeepAlive, Some(protocol));
        let last = self.encoded();
        rest.consume(head_length);
        Ok(Responded { last, after: After::Tunnel(rest) })
    }

    /// Makes the first window ready: the new head takes the place of the old one, in front of the
    /// content that came with it. A head that grew too much comes back in a buffer of its own.
    fn first_window(
        &mut self,
        head: &ResponseHead,
        head_length: usize,
        window: &mut Buffer,
        content: &mut Content,
        keep_alive: bool,
    ) -> Result<Option<Buffer>, ResponseFault> {
        let persistence = Persistence::of(keep_alive, self.asked.version);
        self.encode(head, &window.bytes()[..head_length], content.outgoing.body, persistence, None);
        window.consume(head_length);
        self.take(window, content)?;
        let in_front = window.prepend(&self.core.scratch.borrow());
        Ok((!in_front).then(|| self.encoded()))
    }

    /// Takes the content of a window apart and frames it for the client, where it lies.
    fn take(&mut self, window: &mut Buffer, content: &mut Content) -> Result<(), ResponseFault> {
        let step = match content.decoder.step(window.bytes_mut()) {
            Ok(step) => step,
            Err(fault) => return Err(content.fault(bad_body(fault))),
        };
        content.overrun |= step.consumed < window.len();
        content.done = content.decoder.is_done();
        self.record.bytes += step.data.len() as u64;
        window.narrow(step.data);
        frame(window, content.outgoing.encoder);
        if content.done {
            if let Some(changes) = self.terms.response_changes() {
                content.decoder.drop_trailers(|name| changes.removes(name));
            }
            content.end_apart = !window.append(content.end());
        }
        Ok(())
    }

    /// Passes content on, window by window, until the last one, which comes back unwritten.
    pub(in crate::proxy) async fn stream(
        &mut self,
        mut window: Buffer,
        content: &mut Content,
    ) -> Result<Buffer, ResponseFault> {
        let mut last = window.len();
        while !content.done {
            self.progress.responding.set(true);
            window = self.send_on(window).await.map_err(|broken| content.fault(client_fault(broken)))?;
            let empty = next_window(&self.core.buffers, window, last, content.decoder.remaining());
            (last, window) = self.read_window(empty, content).await?;
        }
        if content.end_apart {
            self.progress.responding.set(true);
            window = self.send_on(window).await.map_err(|broken| content.fault(client_fault(broken)))?;
            let fits = window.append(content.end());
            debug_assert!(fits, "an empty window has room for a trailer section");
        }
        Ok(window)
    }

    /// Reads the next window of content, and says how many bytes came.
    pub(in crate::proxy) async fn read_window(
        &mut self,
        window: Buffer,
        content: &mut Content,
    ) -> Result<(usize, Buffer), ResponseFault> {
        let (result, mut window) = self.upstream.read(window).await;
        match result {
            Ok(count) => {
                self.take(&mut window, content)?;
                Ok((count, window))
            }
            Err(Broken::Closed) if content.decoder.may_end_here() && !self.upstream.watch.write_expired() => {
                content.done = true;
                let fits = window.append(content.outgoing.encoder.end());
                debug_assert!(fits, "an empty window has room for the last chunk");
                Ok((0, window))
            }
            Err(_) if self.upstream.watch.write_expired() => Err(content.fault(Reason::UpstreamWriteTimeout)),
            Err(Broken::TimedOut) => Err(content.fault(Reason::UpstreamReadTimeout)),
            Err(_) => Err(content.fault(Reason::UpstreamTruncated)),
        }
    }

    /// Encodes a head into the core's scratch space.
    pub(in crate::proxy) fn encode(
        &self,
        head: &ResponseHead,
        bytes: &[u8],
        body: ResponseBody,
        persistence: Persistence,
        upgrade: Option<&[u8]>,
    ) {
        let mut scratch = self.core.scratch.borrow_mut();
        scratch.clear();
        let date = self.core.date.borrow();
        let via = self.terms.via();
        let mut report = self.core.report.borrow_mut();
        report.clear();
        if !is_interim(head.status) {
            self.caching.append_report(via, None, &mut report);
            affinity::write_cookie(self.terms, self.progress.introduces, &mut report);
        }
        let edits = ResponseEdits { body, persistence, via, date: date.as_bytes(), upgrade, report: &report };
        let fields = Fields::new(bytes, &self.lines);
        let changes = self.terms.response_changes();
        let (form, changes) = match is_interim(head.status) {
            true => (None, changes.and_then(Changes::of_interim)),
            false => (coding::form(self.terms, self.way, head.status, (self.request, fields)), changes),
        };
        match Amendments::new(Side::Response, form, changes) {
            Some(mut amend) => encode::response(&mut scratch, bytes, head, fields, &edits, &mut amend),
            None => encode::response(&mut scratch, bytes, head, fields, &edits, &mut AsItCame),
        }
    }

    /// What was encoded last, in a buffer of its own.
    pub(in crate::proxy) fn encoded(&self) -> Buffer {
        let scratch = self.core.scratch.borrow();
        let mut buffer = self.core.buffers.take(Class::fitting(scratch.len()));
        let fits = buffer.append(&scratch);
        debug_assert!(fits, "a head fits into a buffer");
        buffer
    }
}
