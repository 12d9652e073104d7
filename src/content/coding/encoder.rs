//! Compressing, piece by piece: a stream of bounded memory, whoever holds its windows.
//!
//! What a stream takes of memory follows from its coding, its level and its window: some 370 KiB for `gzip`, up to 5 MiB
//! for the others at levels for which somebody may wait. [`Encoder::cost`] says how much, so that whoever makes streams
//! can keep account.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{self, CParameter, InBuffer, Operation, OutBuffer};

use crate::http::coding::Coding;

/// How hard to try, and how far back to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// 1 to 9 of `gzip`, 0 to 11 of `br`, 1 to 19 of `zstd`.
    pub level: u8,
    /// The most that the window may have, as a power of two; `gzip` has 15.
    pub window_bits: u8,
}

/// The window of a stream whose client waits.
pub const WINDOW_BITS: u8 = 19;

/// The window of what is kept and was made in the background. No browser takes more than 8 MiB (RFC 9659).
pub const WINDOW_BITS_KEPT: u8 = 22;

/// The window of content of unknown length, which may live for as long as it likes.
const WINDOW_BITS_UNKNOWN: u8 = 17;

/// The window of events, which live long and are short.
const WINDOW_BITS_EVENTS: u8 = 15;

/// The window of `br` up to the level [`BROTLI_LEVEL_QUICK`]: with a larger one it gathers a lot, and then does all the
/// work for it in one step; with a smaller one it takes 32 MiB from level 5 on.
const BROTLI_WINDOW_BITS: u8 = 17;

/// Up to this level of `br` somebody waits.
const BROTLI_LEVEL_QUICK: u8 = 6;

/// The smallest window.
const WINDOW_BITS_MIN: u8 = 10;

/// What becomes of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More follows.
    More,
    /// More follows, but later: what is there can be decoded.
    Flush,
    /// It is the last.
    Finish,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that were taken.
    pub consumed: usize,
    /// Bytes that were written.
    pub produced: usize,
    /// Whether everything was done that was asked for; otherwise there has to be more room.
    pub done: bool,
}

/// The library refuses: there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unable;

/// See the module.
pub struct Encoder {
    effort: Effort,
    kind: Kind,
    /// It has begun, and not come to its end.
    is_open: bool,
}

enum Kind {
    Gzip(Compress),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    Zstd(raw::Encoder<'static>),
}

impl Effort {
    /// The same for content of that length, if it is known: who knows that little comes does not look far.
    #[must_use]
    pub fn for_length(self, length: Option<u64>) -> Effort {
        let needed = match length.map(|length| u8::try_from(u64::BITS - length.leading_zeros())) {
            Some(needed) => needed.unwrap_or(u8::MAX).max(WINDOW_BITS_MIN),
            None => WINDOW_BITS_UNKNOWN,
        };
        Effort { window_bits: self.window_bits.min(needed), ..self }
    }

    /// The same for events, of which many streams live at once, and long.
    #[must_use]
    pub fn for_events(self) -> Effort {
        Effort { level: self.level.min(2), window_bits: self.window_bits.min(WINDOW_BITS_EVENTS) }
    }

    /// What a coding makes of it: streams for which that is the same can take each other's place.
    #[must_use]
    pub fn of(self, coding: Coding) -> Effort {
        let window_bits = match coding {
            Coding::Gzip => 15,
            Coding::Brotli if self.level < 5 => self.window_bits.min(BROTLI_WINDOW_BITS),
            Coding::Brotli if self.level <= BROTLI_LEVEL_QUICK => BROTLI_WINDOW_BITS,
            Coding::Brotli => self.window_bits.max(BROTLI_WINDOW_BITS),
            Coding::Zstd => self.window_bits,
        };
        Effort { window_bits, ..self }
    }
}

impl Encoder {
    /// A stream that begins.
    ///
    /// # Errors
    /// The library refuses.
    pub fn new(coding: Coding, effort: Effort) -> Result<Encoder, Unable> {
        let effort = effort.of(coding);
        let window_bits = u32::from(effort.window_bits);
        let kind = match coding {
            Coding::Gzip => Kind::Gzip(Compress::new_gzip(Compression::new(u32::from(effort.level)), 15)),
            Coding::Brotli => {
                let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
                let quality = u32::from(effort.level);
                let taken = state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, quality)
                    && state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window_bits);
                let is_short = effort.level > BROTLI_LEVEL_QUICK
                    || state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGBLOCK, 16);
                if !taken || !is_short {
                    return Err(Unable);
                }
                Kind::Brotli(Box::new(state))
            }
            Coding::Zstd => {
                let mut state = raw::Encoder::new(i32::from(effort.level)).map_err(|_| Unable)?;
                let (hash_bits, chain_bits) = zstd_tables(effort);
                // Otherwise, since it does not know the length, it takes tables for content without bounds.
                for parameter in [
                    CParameter::WindowLog(window_bits),
                    CParameter::HashLog(u32::from(hash_bits)),
                    CParameter::ChainLog(u32::from(chain_bits)),
                ] {
                    state.set_parameter(parameter).map_err(|_| Unable)?;
                }
                Kind::Zstd(state)
            }
        };
        Ok(Encoder { effort, kind, is_open: false })
    }

    /// The coding.
    pub fn coding(&self) -> Coding {
        match self.kind {
            Kind::Gzip(_) => Coding::Gzip,
            Kind::Brotli(_) => Coding::Brotli,
            Kind::Zstd(_) => Coding::Zstd,
        }
    }

    /// How hard it tries.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Bytes of memory that a stream takes, about; rather too many than too few.
    pub fn cost(coding: Coding, effort: Effort) -> usize {
        const KIB: usize = 1024;
        let effort = effort.of(coding);
        let window = 1_usize << effort.window_bits;
        match coding {
            Coding::Gzip => 372 * KIB,
            Coding::Brotli => match effort.level {
                0 | 1 => 640 * KIB,
                2 | 3 => 640 * KIB + 3 * window,
                4 => 1700 * KIB + 7 * window,
                5 => 2200 * KIB + 8 * window,
                6 => 3200 * KIB + 8 * window,
                7 => 9400 * KIB + 8 * window,
                8 => 17_500 * KIB + 8 * window,
                _ => 34_000 * KIB + 8 * window,
            },
            Coding::Zstd => {
                let (hash_bits, chain_bits) = zstd_tables(effort);
                let tables = (4 << hash_bits) + (4 << chain_bits);
                160 * KIB + window + 5 * window.min(128 * KIB) + tables
            }
        }
    }

    /// Begins another stream in the same memory. Says whether that can be done.
    pub fn begin_again(&mut self) -> bool {
        match &mut self.kind {
            // At level 1, zlib-rs 0.6 forgets that a block was open: what came next could not be read by anybody.
            Kind::Gzip(_) if self.is_open => false,
            Kind::Gzip(state) => {
                state.reset();
                true
            }
            Kind::Zstd(state) => state.reinit().is_ok(),
            Kind::Brotli(_) => false,
        }
    }

    /// Takes some of the input, and writes what comes of it. To be called again with the rest until it is done; room
    /// for a few dozen bytes is to be offered each time.
    ///
    /// # Errors
    /// The library refuses; the stream is broken.
    pub fn step(&mut self, input: &[u8], out: &mut [u8], flow: Flow) -> Result<Step, Unable> {
        self.is_open = true;
        let step = match &mut self.kind {
            Kind::Gzip(state) => gzip(state, input, out, flow)?,
            Kind::Brotli(state) => brotli(state, input, out, flow)?,
            Kind::Zstd(state) => zstd(state, input, out, flow).map_err(|_| Unable)?,
        };
        self.is_open = !(step.done && flow == Flow::Finish);
        Ok(step)
    }
}

/// The sizes of the two tables of `zstd`, as powers of two: those that it has for content without bounds, but not
/// larger than the window can use.
fn zstd_tables(effort: Effort) -> (u8, u8) {
    let (hash, chain) = match effort.level {
        0 | 1 => (14, 13),
        2 => (16, 15),
        3 => (17, 16),
        4 => (18, 18),
        5 | 6 => (19, 18),
        7 | 8 => (20, 19),
        9 => (21, 20),
        10 | 11 => (22, 21),
        12 => (23, 22),
        _ => (22, 24),
    };
    (hash.min(effort.window_bits + 1), chain.min(effort.window_bits + 1))
}

fn gzip(state: &mut Compress, input: &[u8], out: &mut [u8], flow: Flow) -> Result<Step, Unable> {
    let (before_in, before_out) = (state.total_in(), state.total_out());
    let flush = match flow {
        Flow::More => FlushCompress::None,
        Flow::Flush => FlushCompress::Sync,
        Flow::Finish => FlushCompress::Finish,
    };
    let status = state.compress(input, out, flush).map_err(|_| Unable)?;
    let moved = |now: u64, before: u64| usize::try_from(now - before).map_err(|_| Unable);
    let (consumed, produced) = (moved(state.total_in(), before_in)?, moved(state.total_out(), before_out)?);
    let all = consumed == input.len();
    let done = match flow {
        Flow::More => all,
        // Only room that is left shows that nothing is held back.
        Flow::Flush => all && produced < out.len(),
        Flow::Finish => status == Status::StreamEnd,
    };
    Ok(Step { consumed, produced, done })
}

fn brotli(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    input: &[u8],
    out: &mut [u8],
    flow: Flow,
) -> Result<Step, Unable> {
    let operation = match flow {
        Flow::More => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Flow::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Flow::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut available_in, mut consumed) = (input.len(), 0);
    let (mut available_out, mut produced) = (out.len(), 0);
    let went = state.compress_stream(
        operation,
        &mut available_in,
        input,
        &mut consumed,
        &mut available_out,
        out,
        &mut produced,
        &mut None,
        &mut |_, _, _, _| (),
    );
    if !went {
        return Err(Unable);
    }
    let done = match flow {
        Flow::More => available_in == 0,
        Flow::Flush => available_in == 0 && !state.has_more_output(),
        Flow::Finish => state.is_finished(),
    };
    Ok(Step { consumed, produced, done })
}

fn zstd(
    state: &mut raw::Encoder<'static>,
    input: &[u8],
    out: &mut [u8],
    flow: Flow,
) -> std::io::Result<Step> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(out);
    let mut done = true;
    if !input.is_empty() {
        state.run(&mut from, &mut to)?;
        done = from.pos() == input.len();
    }
    if done {
        done = match flow {
            Flow::More => true,
            Flow::Flush => state.flush(&mut to)? == 0,
            Flow::Finish => state.finish(&mut to, true)? == 0,
        };
    }
    Ok(Step { consumed: from.pos(), produced: to.pos(), done })
}

#[cfg(test)]
#[path = "encoder_tests.rs"]
pub(super) mod tests;
