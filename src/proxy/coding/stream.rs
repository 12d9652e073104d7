//! Content on its way through a coder, into windows.

use super::pool::{Coder, Transform};
use crate::content::coding::encoder::Flow;
use crate::error::Reason;
use crate::h1::body::Encoder as Framing;
use crate::net::buffer::Class;
use crate::net::{Buffer, BufferPool};
use crate::observe::Counters;
use crate::proxy::response::window::frame;

/// Input of one step at most.
const STEP_BYTES_MAX: usize = 32 * 1024;

/// Work, in bytes in and out, after which others have their turn.
const TURN_BYTES: usize = 64 * 1024;

/// A window with less room than this is full: a coder needs some to get on.
const ROOM_MIN: usize = 128;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Turn {
    /// The window is full, and wants to be sent.
    Full,
    /// Others have their turn.
    Tired,
    /// All of the input was taken, and all was done that the flow asks for.
    Done,
}

/// See the module.
pub(in crate::proxy) struct Stream {
    coder: Coder,
    window: Option<Buffer>,
    work: usize,
    turns: u32,
    /// Something was taken that has not been flushed.
    is_dirty: bool,
    taken: u64,
    made: u64,
    /// What of both has been counted.
    counted: (u64, u64),
}

impl Stream {
    pub(in crate::proxy) fn new(coder: Coder) -> Stream {
        Stream { coder, window: None, work: 0, turns: 0, is_dirty: false, taken: 0, made: 0, counted: (0, 0) }
    }

    /// Up to which length content is to be gathered, since it can be compressed at once.
    pub(in crate::proxy) fn whole_bytes_max(&self) -> usize {
        self.coder.whole_bytes_max()
    }

    /// Compresses the whole content at once, if that is cheaper. Says whether it did; otherwise nothing has happened.
    pub(in crate::proxy) fn make_whole(&mut self, pool: &BufferPool, content: &[u8]) -> bool {
        if content.is_empty() || content.len() > self.coder.whole_bytes_max() {
            return false;
        }
        // What does not become shorter than the largest window here goes through the stream.
        let class = Class::fitting(content.len() + content.len() / 8);
        let mut window = pool.take(if class == Class::Large { Class::Medium } else { class });
        let mut made = None;
        window.extend(|room| {
            made = self.coder.make_whole(content, room);
            made.unwrap_or(0)
        });
        if made.is_some() {
            (self.taken, self.made) = (content.len() as u64, window.len() as u64);
            self.window = Some(window);
        }
        made.is_some()
    }

    /// Whether enough of the content has come to know what it takes to take it apart. Until then nothing should be said
    /// of it.
    pub(in crate::proxy) fn is_known(&self) -> bool {
        self.coder.is_known()
    }

    /// Takes some of the input.
    ///
    /// # Errors
    /// The content is bad, or there is no memory.
    pub(in crate::proxy) fn step(
        &mut self,
        pool: &BufferPool,
        input: &mut &[u8],
        flow: Flow,
    ) -> Result<Turn, Reason> {
        if input.is_empty() && flow != Flow::Finish && !self.is_dirty {
            return Ok(Turn::Done);
        }
        loop {
            if self.work > TURN_BYTES {
                self.work = 0;
                return Ok(Turn::Tired);
            }
            let window = self.window.get_or_insert_with(|| pool.take(Class::Medium));
            if window.spare() < ROOM_MIN {
                return Ok(Turn::Full);
            }
            let piece = &input[..input.len().min(STEP_BYTES_MAX)];
            let is_last = piece.len() == input.len();
            let of_piece = if is_last { flow } else { Flow::More };
            let mut result = Err(Reason::Overloaded);
            let coder = &mut self.coder;
            window.extend(|room| {
                result = transform(coder, piece, room, of_piece);
                result.map_or(0, |(_, produced, _)| produced)
            });
            let (consumed, produced, done) = result?;
            *input = &input[consumed..];
            self.work += consumed + produced;
            self.taken += consumed as u64;
            self.made += produced as u64;
            self.is_dirty = !(done && of_piece != Flow::More);
            if is_last && done {
                return Ok(Turn::Done);
            }
            if consumed + produced == 0 && !done {
                // Neither input nor room moves it any more.
                return Err(Reason::Overloaded);
            }
        }
    }

    /// What has been made and not been sent, framed.
    pub(in crate::proxy) fn take(&mut self, pool: &BufferPool, framing: Framing) -> Buffer {
        let mut window = self.window.take().unwrap_or_else(|| pool.take(Class::Small));
        frame(&mut window, framing);
        window
    }

    /// How much that is.
    pub(in crate::proxy) fn waiting(&self) -> usize {
        self.window.as_ref().map_or(0, Buffer::len)
    }

    /// Counts the times that others had their turn.
    pub(in crate::proxy) fn turn(&mut self) -> u32 {
        self.turns = self.turns.wrapping_add(1);
        self.turns
    }

    /// Takes a window back that was sent.
    pub(in crate::proxy) fn give_back(&mut self, mut window: Buffer) {
        if window.class() == Class::Medium && self.window.is_none() {
            window.clear();
            self.window = Some(window);
        }
    }

    /// Lets go of a window with nothing in it, before a wait that may be long.
    pub(in crate::proxy) fn rest(&mut self) {
        self.window.take_if(|window| window.is_empty());
    }

    /// Counts what was done since it was last counted, and says how many bytes were made.
    pub(in crate::proxy) fn count(&mut self, counters: &Counters) -> u64 {
        let (taken, made) = (self.taken - self.counted.0, self.made - self.counted.1);
        self.counted = (self.taken, self.made);
        match &self.coder.transform {
            Some(Transform::Encode(_) | Transform::Later(..)) => {
                counters.compressed_in.add(taken);
                counters.compressed_out.add(made);
            }
            Some(Transform::Decode(_) | Transform::Apart(_)) | None => {}
        }
        made
    }
}

/// Bytes that were taken and written, and whether all was done.
fn transform(
    coder: &mut Coder,
    input: &[u8],
    room: &mut [u8],
    flow: Flow,
) -> Result<(usize, usize, bool), Reason> {
    loop {
        match coder.begin().map_err(|_| Reason::Overloaded)? {
            Transform::Encode(encoder) => {
                let step = encoder.step(input, room, flow).map_err(|_| Reason::Overloaded)?;
                return Ok((step.consumed, step.produced, step.done));
            }
            Transform::Decode(decoder) => {
                let bad = |_| Reason::UpstreamBadCoding;
                let step = decoder.step(input, room).map_err(bad)?;
                if flow == Flow::Finish && step.done {
                    decoder.end().map_err(bad)?;
                }
                if let Some(bytes) = step.needs {
                    coder.grow(bytes).map_err(|_| Reason::Overloaded)?;
                    if step.consumed + step.produced == 0 {
                        continue;
                    }
                }
                return Ok((step.consumed, step.produced, step.done));
            }
            Transform::Later(..) | Transform::Apart(_) => return Err(Reason::Overloaded),
        }
    }
}
