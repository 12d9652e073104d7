//! The request's content on its way to the upstream.

use std::ops::Range;

use super::core::Core;
use super::forward::{Broken, Reader, Writer};
use super::progress::Progress;
use super::replay::Replay;
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
    /// Content that may have to be sent again.
    replay: Replay,
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
        Upload {
            decoder: Decoder::new(length),
            encoder,
            taken: 0,
            taken_max,
            rest: None,
            replay: Replay::default(),
        }
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

    /// Has content kept from here on, to be sent again, unless there will be more of it than so much.
    pub(super) fn keep(&mut self, bytes_max: u64) {
        self.replay.begin(bytes_max, self.decoder.remaining());
    }

    /// Whether all content is at hand, to be sent again.
    pub(super) fn is_kept(&self) -> bool {
        self.replay.is_whole() && self.is_done()
    }

    /// What was kept.
    pub(super) fn kept(&self) -> &[u8] {
        self.replay.bytes()
    }

    /// Appends content, with what was kept behind it, framed for the upstream, and the end of the message once all is
    /// taken.
    pub(super) fn append(&self, out: &mut Buffer, content: &[u8]) -> bool {
        let mut prefix = [0; PREFIX_BYTES_MAX];
        let length = content.len() + self.kept().len();
        let mut fits = out.append(self.encoder.prefix(length, &mut prefix))
            && out.append(content)
            && out.append(self.kept())
            && out.append(self.encoder.suffix(length));
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
        progress: &Progress<'_>,
    ) -> Result<(), UploadFault> {
        let times = terms.times;
        let mut window = core.buffers.take(Class::Small);
        let (mut last, mut at_once) = (0, 0);
        // The upstream takes no more.
        let mut lost = false;
        if progress.waiting.get() {
            // The client's time runs from when it is asked to go on, or begins by itself. Nothing is taken until then, so
            // that the request is still whole should the upstream fail.
            client.limit = None;
            let _ = client.source.ready().await;
            progress.uploading.set(true);
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
            self.replay.add(window.bytes());
            window = match self.pass_on(window, &mut upstream, lost).await {
                Ok(window) => window,
                // The response says what becomes of the request; until then, and for another try, the rest is kept.
                Err(_) if self.replay.is_whole() => {
                    lost = true;
                    core.buffers.take(Class::Small)
                }
                Err(broken) => return Err(UploadFault::Upstream(broken)),
            };
            // The upstream may have answered, and others have a right to this core too.
            at_once += last;
            if at_once >= AT_ONCE_BYTES {
                at_once = 0;
                task::give_way().await;
            }
        }
        progress.kept.set(self.replay.is_whole());
        if lost {
            return Ok(());
        }
        progress.uploaded.set(true);
        if !progress.answered.get() {
            upstream.watch.read_within(times.first_byte);
        }
        Ok(())
    }

    /// Passes a window on, framed, and gives it back empty. One that is lost anyway is only worth keeping.
    async fn pass_on(
        &self,
        mut window: Buffer,
        upstream: &mut Writer<'_>,
        lost: bool,
    ) -> Result<Buffer, Broken> {
        if lost {
            window.clear();
            return if self.replay.is_whole() { Ok(window) } else { Err(Broken::Reset) };
        }
        frame(&mut window, self.encoder);
        let apart = self.is_done() && !window.append(self.decoder.end(self.encoder));
        window = upstream.write_all(window).await?;
        if apart {
            let fits = window.append(self.decoder.end(self.encoder));
            debug_assert!(fits, "an empty window has room for a trailer section");
            window = upstream.write_all(window).await?;
        }
        Ok(window)
    }
}
