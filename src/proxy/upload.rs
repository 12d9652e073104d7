//! The request's content on its way to the upstream.

use std::cell::Cell;
use std::ops::Range;

use super::admit::Admitted;
use super::core::Core;
use super::forward::{Broken, Reader, Writer};
use super::task;
use super::terms::Terms;
use super::window::{frame, next_window};
use crate::error::Reason;
use crate::h1::BodyLength;
use crate::h1::body::{BadBody, Decoder, Encoder};
use crate::h1::chunked::PREFIX_BYTES_MAX;
use crate::net::Buffer;
use crate::net::buffer::Class;

/// After so many bytes an upload gives way.
const AT_ONCE_BYTES: usize = 1 << 20;

/// The content of one request, as far as it has been taken apart.
pub(super) struct Upload {
    decoder: Decoder,
    encoder: Encoder,
    taken: u64,
    taken_max: u64,
    /// Bytes that came behind the content: the next request.
    rest: Option<Buffer>,
}

/// What the two directions of an exchange tell each other.
#[derive(Default)]
pub(super) struct Progress {
    /// Content is being read from the client: the request is no longer at hand as a whole.
    pub(super) uploading: Cell<bool>,
    /// The client may be waiting to be asked for its content, for it has sent none of it yet.
    pub(super) waiting: Cell<bool>,
    /// All of the request has gone to the upstream.
    pub(super) uploaded: Cell<bool>,
    /// The upstream has begun its final response.
    pub(super) answered: Cell<bool>,
    /// A byte of the final response may have gone to the client.
    pub(super) responding: Cell<bool>,
}

impl Progress {
    /// Before the first byte has gone anywhere.
    pub(super) fn of(admitted: &Admitted) -> Progress {
        let progress = Progress::default();
        progress.uploaded.set(admitted.whole);
        progress.waiting.set(admitted.expects_continue && !admitted.whole);
        progress
    }
}

/// Why content could not be passed on.
pub(super) enum UploadFault {
    /// The client is to blame.
    Client(Reason),
    /// The upstream takes no more. It may have answered all the same.
    Upstream(Broken),
}

impl Upload {
    /// Content of that length, of which nothing has been looked at yet, and so many bytes of which are passed on.
    pub(super) fn new(length: BodyLength, taken_max: u64) -> Upload {
        let encoder = if length == BodyLength::Chunked { Encoder::Chunked } else { Encoder::Plain };
        Upload { decoder: Decoder::new(length), encoder, taken: 0, taken_max, rest: None }
    }

    /// Takes bytes apart in place, and says where the content lies. What follows the content is kept
    /// for [`Upload::rest`].
    ///
    /// # Errors
    /// Why the request is refused.
    pub(super) fn take(
        &mut self,
        core: &Core,
        terms: &Terms,
        bytes: &mut [u8],
    ) -> Result<Range<usize>, Reason> {
        let step = self.decoder.step(bytes).map_err(|fault| match fault {
            BadBody::Chunk => Reason::BadChunk,
            BadBody::Trailer => Reason::BadTrailer,
        })?;
        if let Some((edits, _)) = terms.request_edits().filter(|_| self.decoder.is_done()) {
            // What a route says itself, or keeps from its upstream, nobody says behind the content either.
            self.decoder.drop_trailers(|name| edits.removes(name));
        }
        self.taken += step.data.len() as u64;
        if self.taken > self.taken_max {
            return Err(Reason::BodyTooLarge);
        }
        let rest = &bytes[step.consumed..];
        if !rest.is_empty() {
            let mut kept = core.buffers.take(Class::fitting(rest.len()));
            let fits = kept.append(rest);
            debug_assert!(fits, "what was in one buffer fits into another");
            self.rest = Some(kept);
        }
        Ok(step.data)
    }

    /// What the client sent behind the content.
    pub(super) fn rest(&mut self) -> Option<Buffer> {
        self.rest.take()
    }

    /// Whether all of it has been taken.
    pub(super) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Appends content, framed for the upstream, and the end of the message once all is taken.
    pub(super) fn append(&self, out: &mut Buffer, content: &[u8]) -> bool {
        let mut prefix = [0; PREFIX_BYTES_MAX];
        let mut fits = out.append(self.encoder.prefix(content.len(), &mut prefix))
            && out.append(content)
            && out.append(self.encoder.suffix(content.len()));
        if self.is_done() {
            fits &= out.append(self.decoder.end(self.encoder));
        }
        fits
    }

    /// Passes the rest of the content on, window by window.
    pub(super) async fn run(
        &mut self,
        core: &Core,
        mut client: Reader<'_>,
        mut upstream: Writer<'_>,
        terms: &Terms,
        progress: &Progress,
    ) -> Result<(), UploadFault> {
        let times = terms.times;
        let mut window = core.buffers.take(Class::Small);
        let (mut last, mut at_once) = (0, 0);
        if progress.waiting.get() {
            // The client's time runs from when it is asked to go on, or begins by itself.
            client.limit = None;
        }
        while !self.is_done() {
            window = next_window(&core.buffers, window, last, self.decoder.remaining());
            let (result, back) = client.read(window).await;
            client.limit = Some(times.body_idle);
            if progress.waiting.replace(false) && !progress.answered.get() {
                // It goes on by itself, so the upstream has time until it has everything.
                upstream.watch.clear_read();
            }
            window = back;
            last = result.map_err(|broken| {
                UploadFault::Client(match broken {
                    Broken::TimedOut => Reason::BodyTimeout,
                    Broken::Closed | Broken::Reset => Reason::ClientClosed,
                })
            })?;
            let data = self.take(core, terms, window.bytes_mut()).map_err(UploadFault::Client)?;
            window.narrow(data);
            frame(&mut window, self.encoder);
            let apart = self.is_done() && !window.append(self.decoder.end(self.encoder));
            window = upstream.write_all(window).await.map_err(UploadFault::Upstream)?;
            if apart {
                let fits = window.append(self.decoder.end(self.encoder));
                debug_assert!(fits, "an empty window has room for a trailer section");
                window = upstream.write_all(window).await.map_err(UploadFault::Upstream)?;
            }
            // The upstream may have answered, and others have a right to this core too.
            at_once += last;
            if at_once >= AT_ONCE_BYTES {
                at_once = 0;
                task::give_way().await;
            }
        }
        progress.uploaded.set(true);
        if !progress.answered.get() {
            upstream.watch.read_within(times.first_byte);
        }
        Ok(())
    }
}
