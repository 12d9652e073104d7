//! An upstream's response that changes its coding on its way to the client.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{Coder, Stream, Turn, way};
use crate::content::coding::Way;
use crate::content::coding::encoder::Flow;
use crate::error::Reason;
use crate::h1::body::{Decoder, Encoder};
use crate::h1::encode::{Persistence, ResponseBody};
use crate::h1::{BodyLength, ResponseHead};
use crate::http::{Fields, Name, Version};
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::cached::pump::bad_body;
use crate::proxy::forward::Broken;
use crate::proxy::response::delivery::{Content, Outgoing};
use crate::proxy::response::respond::Respond;
use crate::proxy::response::responded::{After, Responded, ResponseFault, client_fault};
use crate::proxy::response::window::next_class;

/// What came of the upstream's head.
pub(in crate::proxy) struct Came {
    pub(in crate::proxy) head: ResponseHead,
    pub(in crate::proxy) head_length: usize,
    /// The head, and what came with it.
    pub(in crate::proxy) window: Buffer,
    pub(in crate::proxy) length: BodyLength,
    /// Whether the upstream's connection can serve again after it.
    pub(in crate::proxy) persists: bool,
}

/// How long it is waited for the rest of short content.
const GATHERING: Duration = Duration::from_millis(2);

/// Content up to this length is gathered even if it is not compressed as a whole: without flushes in the middle of it
/// less is made of it.
const GATHERED_BYTES_MAX: usize = 32 * 1024;

/// What a read came to, and its window.
type Read = (Result<usize, Broken>, Buffer);

impl Respond<'_> {
    /// Decides what becomes of the content, and finds a coder where it changes. Without memory for one it goes out as
    /// it came, but only to a client that can read that.
    pub(in crate::proxy) fn coder(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        length: BodyLength,
    ) -> Result<Option<Coder>, Reason> {
        let Some(rules) = self.terms.coding().filter(|_| self.client.is_some()) else { return Ok(None) };
        let fields = Fields::new(bytes, &self.lines);
        let known = if let BodyLength::Known(length) = length { Some(length) } else { None };
        self.way = way(rules, self.asked, self.request, (head.status, known), fields);
        let coding = match self.way {
            Way::Encode(coding) | Way::Decode(coding) if length != BodyLength::None => coding,
            _ => return Ok(None),
        };
        let mut effort = rules.effort(coding).for_length(known);
        if known.is_none() && fields.first(Name::ContentType).is_some_and(are_events) {
            effort = effort.for_events();
        }
        let coder = self.core.coders.reserve(self.way, effort, known.is_some());
        if coder.is_none() {
            self.core.counters.compression_skipped.increment();
            if let Way::Decode(_) = self.way {
                return Err(Reason::Overloaded);
            }
            self.way = Way::Varied;
        }
        Ok(coder)
    }

    /// Passes the response on in its new coding.
    pub(in crate::proxy) async fn recode(
        mut self,
        coder: Coder,
        came: Came,
    ) -> Result<Responded, ResponseFault> {
        let Came { head, head_length, window, length, persists } = came;
        let mut content = self.content(length);
        let mut stream = Stream::new(coder);
        // The head stays where it is until it is clear what is to be said.
        let came = &window.bytes()[head_length..];
        let mut first = self.core.buffers.take(Class::fitting(came.len().max(gathered(&stream, length))));
        if !first.append(came) {
            // Heads have bounds that keep them out of the largest windows.
            return Err(Reason::Overloaded.into());
        }
        decode(&mut first, 0, &mut content)?;
        if gathered(&stream, length) > 0 {
            self.gather(&mut first, &mut content).await?;
        }
        let is_short = self.is_too_short(&first, &content);
        let turn = match is_short {
            true => Turn::Done,
            false => self.begin(&mut stream, &mut first, &mut content).await?,
        };
        match self.way {
            _ if is_short => self.way = Way::AsItCame,
            Way::Decode(_) => self.core.counters.decompressed.increment(),
            _ => self.core.counters.compressed.increment(),
        }
        if turn == Turn::Done && content.done {
            let length = if is_short { first.len() } else { stream.waiting() };
            content.outgoing = Outgoing { body: ResponseBody::Known(length as u64), encoder: Encoder::Plain };
        }
        let keep_alive = self.asked.keep_alive
            && content.outgoing.body != ResponseBody::UntilClose
            && self.progress.uploaded.get()
            && !self.core.is_draining();
        let persistence = Persistence::of(keep_alive, self.asked.version);
        self.encode(&head, &window.bytes()[..head_length], content.outgoing.body, persistence, None);
        drop(window);
        self.record.status = head.status;
        self.core.give_back_lines(std::mem::take(&mut self.lines));
        let mut ready = stream.take(&self.core.buffers, content.outgoing.encoder);
        if is_short {
            self.record.bytes += first.len() as u64;
            std::mem::swap(&mut ready, &mut first);
        }
        if !ready.prepend(&self.core.scratch.borrow()) {
            let head = self.encoded();
            self.send(head, &content).await?;
        }
        if turn != Turn::Done || !content.done {
            ready = self.send(ready, &content).await?;
            self.record.bytes += stream.count(&self.core.counters);
            stream.give_back(ready);
            ready = self.recode_rest(&mut stream, first, turn, &mut content).await?;
        }
        let fits = ready.append(content.outgoing.encoder.end());
        debug_assert!(fits, "there is room for the last chunk");
        self.record.bytes += stream.count(&self.core.counters);
        let reusable = persists && !content.overrun && self.progress.uploaded.get();
        Ok(Responded { last: ready, after: After::Complete { reusable, keep_alive, ahead: None } })
    }

    /// Whether all of the content is there, and shorter than what is compressed: it goes out as if its length had been
    /// said at once, so that this does not depend on how it was framed. What is followed by trailers never says it.
    fn is_too_short(&self, content: &Buffer, state: &Content) -> bool {
        let least = self.terms.coding().map_or(0, |rules| rules.wanted().bytes_min.max(1));
        matches!(self.way, Way::Encode(_))
            && state.done
            && state.decoder.trailers().is_none()
            && (content.len() as u64) < least
    }

    /// Has the stream take what came first, of which the rest stays. Until that is known to be good, and what it takes
    /// to take it apart is there, an answer of our own is still possible: so far content that is taken apart is waited
    /// for. What is compressed is not, for its head may be all that its client waits for.
    async fn begin(
        &mut self,
        stream: &mut Stream,
        first: &mut Buffer,
        content: &mut Content,
    ) -> Result<Turn, ResponseFault> {
        loop {
            let mut rest = first.bytes();
            if content.done && stream.make_whole(&self.core.buffers, rest) {
                return Ok(Turn::Done);
            }
            let turn = stream.step(&self.core.buffers, &mut rest, flow(content, true))?;
            let taken = first.len() - rest.len();
            first.consume(taken);
            if content.done || stream.is_known() || turn != Turn::Done {
                return Ok(turn);
            }
            let class = next_class(Class::Small.room() / 2, content.decoder.remaining());
            let (result, window) = self.upstream.read_late(|| self.core.buffers.take(class)).await;
            *first = window;
            self.came(result, first, content)?;
        }
    }

    /// Takes in what a read came to, and says how many bytes that is.
    fn came(
        &self,
        result: Result<usize, Broken>,
        window: &mut Buffer,
        content: &mut Content,
    ) -> Result<usize, ResponseFault> {
        match result {
            Ok(count) => {
                decode(window, 0, content)?;
                Ok(count)
            }
            Err(Broken::Closed) if content.decoder.may_end_here() && !self.upstream.watch.write_expired() => {
                window.clear();
                content.done = true;
                Ok(0)
            }
            Err(_) if self.upstream.watch.write_expired() => Err(content.fault(Reason::UpstreamWriteTimeout)),
            Err(Broken::TimedOut) => Err(content.fault(Reason::UpstreamReadTimeout)),
            Err(_) => Err(content.fault(Reason::UpstreamTruncated)),
        }
    }

    fn content(&self, length: BodyLength) -> Content {
        let (body, encoder) = match self.asked.version {
            Version::Http11 => (ResponseBody::Chunked, Encoder::Chunked),
            Version::Http10 => (ResponseBody::UntilClose, Encoder::Plain),
        };
        Content {
            decoder: Decoder::new(length),
            outgoing: Outgoing { body, encoder },
            done: false,
            overrun: false,
            end_apart: false,
        }
    }

    /// Reads the rest of short content behind what came, as long as it comes at once; what does not is streamed, so
    /// that nothing is held back for long.
    async fn gather(&mut self, window: &mut Buffer, content: &mut Content) -> Result<(), ResponseFault> {
        let mut pause = None;
        while !content.done && window.spare() > 0 {
            let before = window.len();
            match self.upstream.read_now(window) {
                Some(Ok(_)) => decode(window, before, content)?,
                // Content of known length never ends like that: the next read says so as well.
                Some(Err(_)) => break,
                None => {
                    let pause = pause.get_or_insert_with(|| Box::pin(monoio::time::sleep(GATHERING)));
                    let ready = pin!(self.upstream.source.ready());
                    if let Either::Right(_) = select(ready, pause).await {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Passes on what follows, until the last window, which comes back unwritten.
    async fn recode_rest(
        &mut self,
        stream: &mut Stream,
        mut window: Buffer,
        turn: Turn,
        content: &mut Content,
    ) -> Result<Buffer, ResponseFault> {
        let mut last = window.len().max(Class::Small.room() / 2);
        let mut is_fed = turn == Turn::Done;
        let mut ahead = None;
        loop {
            if !is_fed {
                let flow = flow(content, ahead.is_none());
                self.feed(stream, window.bytes(), flow, content).await?;
            }
            is_fed = false;
            if content.done {
                return Ok(stream.take(&self.core.buffers, content.outgoing.encoder));
            }
            // Nothing of it is needed while there is nothing to read.
            drop(window);
            let class = next_class(last, content.decoder.remaining());
            let (result, back) = match ahead.take() {
                Some(read) => read,
                None => {
                    if stream.waiting() > 0 {
                        self.send_made(stream, content).await?;
                    }
                    stream.rest();
                    match self.look(class) {
                        Some(read) => read,
                        None => self.upstream.read_late(|| self.core.buffers.take(class)).await,
                    }
                }
            };
            window = back;
            let is_full = result.is_ok() && window.spare() == 0;
            last = self.came(result, &mut window, content)?;
            if is_full && !content.done {
                // Whether more is there decides whether what came may wait for it.
                ahead = self.look(next_class(last, content.decoder.remaining()));
            }
        }
    }

    /// Reads what is there already, its end included.
    fn look(&mut self, class: Class) -> Option<Read> {
        let mut window = self.core.buffers.take(class);
        self.upstream.read_now(&mut window).map(|result| (result, window))
    }

    /// Has the stream take all of the input, and sends windows that it fills.
    async fn feed(
        &mut self,
        stream: &mut Stream,
        mut input: &[u8],
        flow: Flow,
        content: &Content,
    ) -> Result<(), ResponseFault> {
        loop {
            match stream.step(&self.core.buffers, &mut input, flow).map_err(|reason| content.fault(reason))? {
                Turn::Done => return Ok(()),
                Turn::Tired => {
                    let turn = stream.turn();
                    self.take_turns(turn).await;
                }
                Turn::Full => self.send_made(stream, content).await?,
            }
        }
    }

    /// Sends what has been made.
    async fn send_made(&mut self, stream: &mut Stream, content: &Content) -> Result<(), ResponseFault> {
        let ready = stream.take(&self.core.buffers, content.outgoing.encoder);
        let sent = self.send(ready, content).await?;
        self.record.bytes += stream.count(&self.core.counters);
        stream.give_back(sent);
        Ok(())
    }

    async fn send(&mut self, window: Buffer, content: &Content) -> Result<Buffer, ResponseFault> {
        self.progress.responding.set(true);
        self.send_on(window).await.map_err(|broken| content.fault(client_fault(broken)))
    }
}

/// Takes the upstream's framing off a window, from there on.
fn decode(window: &mut Buffer, from: usize, content: &mut Content) -> Result<(), ResponseFault> {
    let step = match content.decoder.step(&mut window.bytes_mut()[from..]) {
        Ok(step) => step,
        Err(fault) => return Err(content.fault(bad_body(fault))),
    };
    content.overrun |= from + step.consumed < window.len();
    content.done = content.decoder.is_done();
    // Framing in front of the data is only taken off where nothing is gathered before it.
    debug_assert!(from == 0 || step.data.start == 0, "content of known length has no framing");
    let start = if from == 0 { step.data.start } else { 0 };
    window.narrow(start..from + step.data.end);
    Ok(())
}

/// How many bytes of content of that length are gathered before anything is made of them.
fn gathered(stream: &Stream, length: BodyLength) -> usize {
    let BodyLength::Known(length) = length else { return 0 };
    let most = stream.whole_bytes_max().max(GATHERED_BYTES_MAX);
    usize::try_from(length).ok().filter(|&length| length <= most).unwrap_or(0)
}

/// Whether content of that type is a stream of events.
fn are_events(content_type: &[u8]) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    content_type.get(..EVENTS.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
}

/// What is to become of what came: where nothing more is there for the moment, it must not be held back.
fn flow(content: &Content, is_dry: bool) -> Flow {
    match (content.done, is_dry) {
        (true, _) => Flow::Finish,
        (false, true) => Flow::Flush,
        (false, false) => Flow::More,
    }
}
