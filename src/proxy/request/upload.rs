//! The request's content on its way to the upstream.

use std::io::IoSlice;
use std::ops::Range;

use crate::error::Reason;
use crate::h1::BodyLength;
use crate::h1::body::{BadBody, Decoder, Encoder};
use crate::h1::chunked::PREFIX_BYTES_MAX;
use crate::limits::REPLAY_BYTES_MAX;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::attempt::progress::Progress;
use crate::proxy::core::Core;
use crate::proxy::forward::{Broken, Reader, Writer};
use crate::proxy::holding::held::{Counted, Held};
use crate::proxy::holding::replay::Replay;
use crate::proxy::request::terms::Terms;
use crate::proxy::response::window::{frame, next_window};
use crate::proxy::task;

/// After so many bytes an upload gives way.
const AT_ONCE_BYTES: usize = 1 << 20;

/// What was held goes out in pieces of that length.
const HELD_PIECE_BYTES: usize = 128 * 1024;

/// The content of one request, as far as it has been taken apart.
pub(in crate::proxy) struct Upload {
    decoder: Decoder,
    encoder: Encoder,
    taken: u64,
    taken_max: u64,
    /// Bytes that came behind the content: the next request.
    rest: Option<Buffer>,
    /// Content that may have to be sent again.
    replay: Replay,
    /// Content that was held until it was whole, beyond what goes out with the head.
    held: Option<Box<Held>>,
    /// Counts content that was gathered.
    gathered: Option<Counted>,
}

/// Why content could not be passed on.
pub(in crate::proxy) enum UploadFault {
    /// The client is to blame.
    Client(Reason),
    /// The upstream takes no more. It may have answered all the same.
    Upstream(Broken),
}

impl Upload {
    /// Content of that length, of which nothing has been looked at yet, and so many bytes of which are passed on.
    pub(in crate::proxy) fn new(length: BodyLength, taken_max: u64) -> Upload {
        let encoder = if length == BodyLength::Chunked { Encoder::Chunked } else { Encoder::Plain };
        Upload {
            decoder: Decoder::new(length),
            encoder,
            taken: 0,
            taken_max,
            rest: None,
            replay: Replay::default(),
            held: None,
            gathered: None,
        }
    }

    /// Takes bytes apart in place, and says where the content lies. What follows the content is kept
    /// for [`Upload::rest`].
    ///
    /// # Errors
    /// Why the request is refused.
    pub(in crate::proxy) fn take(
        &mut self,
        core: &Core,
        terms: &Terms,
        bytes: &mut [u8],
    ) -> Result<Range<usize>, Reason> {
        let step = self.decoder.step(bytes).map_err(|fault| match fault {
            BadBody::Chunk => Reason::BadChunk,
            BadBody::Trailer => Reason::BadTrailer,
        })?;
        if let Some(changes) = terms.request_changes().filter(|_| self.decoder.is_done()) {
            // What a route says itself, or keeps from its upstream, nobody says behind the content either.
            self.decoder.drop_trailers(|name| changes.removes(name));
        }
        if self.decoder.is_done() && !terms.made().texts.dropped.is_empty() {
            self.decoder.drop_trailers(|name| terms.is_dropped(name));
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
    pub(in crate::proxy) fn rest(&mut self) -> Option<Buffer> {
        self.rest.take()
    }

    /// Whether all of it has been taken.
    pub(in crate::proxy) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// How much content is still to come, where that is known.
    pub(in crate::proxy) fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// Takes in content that was gathered before anything has gone out, behind what came with the head: mostly all that
    /// there is.
    pub(in crate::proxy) fn hold(&mut self, content: Vec<u8>, counted: Counted) {
        self.replay.hold(content);
        self.gathered = Some(counted);
    }

    /// Takes what was gathered away again.
    pub(in crate::proxy) fn take_gathered(&mut self) -> Vec<u8> {
        self.gathered = None;
        self.replay.take()
    }

    /// Takes in content that was held until it was whole, with `first` bytes of it that came with the head. Says
    /// whether all of it goes out with the head.
    pub(in crate::proxy) fn take_held(&mut self, mut held: Box<Held>, first: usize) -> bool {
        let is_small = held.file().is_none() && first as u64 + held.length() <= REPLAY_BYTES_MAX;
        if is_small {
            self.replay.hold(held.take_memory());
        }
        self.held = Some(held);
        is_small
    }

    /// Frames content that is at hand as a whole, with `first` bytes of it that came with the head, anew: it goes out
    /// with its length, unless it has trailer fields.
    pub(in crate::proxy) fn tell_length(&mut self, first: usize) -> BodyLength {
        if self.decoder.trailers().is_some() {
            return BodyLength::Chunked;
        }
        self.encoder = Encoder::Plain;
        let held = self.held().map_or(0, Held::length);
        BodyLength::Known(first as u64 + self.kept().len() as u64 + held)
    }

    /// Content that was held until it was whole, and goes out behind what goes out with the head.
    pub(in crate::proxy) fn held(&self) -> Option<&Held> {
        self.held.as_deref().filter(|held| held.length() > 0)
    }

    /// Has content kept from here on, to be sent again, unless there will be more of it than so much.
    pub(in crate::proxy) fn keep(&mut self, bytes_max: u64) {
        self.replay.begin(bytes_max, self.decoder.remaining());
    }

    /// Whether all content is at hand, to be sent again.
    pub(in crate::proxy) fn is_kept(&self) -> bool {
        self.replay.is_whole() && self.is_done()
    }

    /// What was kept.
    pub(in crate::proxy) fn kept(&self) -> &[u8] {
        self.replay.bytes()
    }

    /// Appends content, with what was kept behind it, framed for the upstream, and the end of the message once all is
    /// taken.
    pub(in crate::proxy) fn append(&self, out: &mut Buffer, content: &[u8]) -> bool {
        let mut prefix = [0; PREFIX_BYTES_MAX];
        let length = content.len() + self.kept().len();
        let mut fits = out.append(self.encoder.prefix(length, &mut prefix))
            && out.append(content)
            && out.append(self.kept())
            && out.append(self.encoder.suffix(length));
        if self.is_done() && self.held().is_none() {
            fits &= out.append(self.decoder.end(self.encoder));
        }
        fits
    }

    /// Passes the rest of the content on, window by window.
    pub(in crate::proxy) async fn run(
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
            last = result.map_err(|broken| UploadFault::Client(broken.of_content()))?;
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

    /// Passes on what was held. It can be done again.
    pub(in crate::proxy) async fn run_held(
        &self,
        held: &Held,
        mut upstream: Writer<'_>,
        terms: &Terms,
        progress: &Progress<'_>,
    ) -> Result<(), UploadFault> {
        let failed = |error| UploadFault::Client(held.failed(&error));
        let (mut at, mut piece) = (0, Vec::new());
        while let Some(file) = held.file().filter(|file| at < file.length()) {
            piece = file.read(at, HELD_PIECE_BYTES, piece).await.map_err(failed)?;
            at += piece.len() as u64;
            self.write_piece(&piece, held.memory().is_empty() && at == file.length(), &mut upstream).await?;
        }
        drop(piece);
        let mut left = held.memory();
        while !left.is_empty() {
            let (piece, more) = left.split_at(left.len().min(HELD_PIECE_BYTES));
            left = more;
            self.write_piece(piece, left.is_empty(), &mut upstream).await?;
            task::give_way().await;
        }
        progress.uploaded.set(true);
        if !progress.answered.get() {
            upstream.watch.read_within(terms.times.first_byte);
        }
        Ok(())
    }

    /// Writes a piece of what was held, framed.
    async fn write_piece(
        &self,
        piece: &[u8],
        is_last: bool,
        upstream: &mut Writer<'_>,
    ) -> Result<(), UploadFault> {
        let mut prefix = [0; PREFIX_BYTES_MAX];
        let prefix = self.encoder.prefix(piece.len(), &mut prefix);
        let end = if is_last { self.decoder.end(self.encoder) } else { b"" };
        let parts = [prefix, piece, self.encoder.suffix(piece.len()), end];
        let mut slices = parts.map(IoSlice::new);
        upstream.write_slices(&mut slices).await.map_err(UploadFault::Upstream)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_was_gathered_goes_out_with_its_length() {
        let mut upload = Upload::new(BodyLength::Chunked, u64::MAX);
        let memory = std::sync::Arc::default();
        let mut counted = Counted::new(&memory);
        counted.grow_to(8);
        upload.hold(b"gathered".to_vec(), counted);
        assert_eq!(memory.load(std::sync::atomic::Ordering::Relaxed), 8);
        assert_eq!(upload.tell_length(3), BodyLength::Known(11));
        assert_eq!(upload.kept(), b"gathered");
        assert_eq!(upload.encoder, Encoder::Plain);
    }
}
