//! Taking compressed content apart, piece by piece: memory is bounded by the window that a coding may have here, and
//! what comes out by what came in.
//!
//! What is not exactly one coded content is malformed: one that ends too early, and one with something else behind it.
//! `gzip` and `zstd` may come in several members or frames, as their definitions say; nothing at all stands for no
//! content. Behind `gzip` there may be zeros, as whoever pads to whole blocks leaves them, and every other reader
//! ignores them.
//!
//! What comes out never lies in memory as a whole, so that content that explodes costs whoever reads it, and the time
//! of a core in turns with everybody else. The bound on it is wide: repetitive content is honest far more often.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{self, DParameter, InBuffer, Operation, OutBuffer};

use super::encoder::Unable;
use super::front::{Front, Said, WINDOW_BITS_MAX};
use crate::http::coding::Coding;

/// Up to this much, content may grow as it likes.
pub const FREE_BYTES: u64 = 16 << 20;

/// Beyond, it must not grow to more than so many times what came in. What `gzip` can make of it lies below: it reaches
/// 1032. A text that repeats itself reaches some 8,000 in `zstd` and more in `br`, and nothing but zeros 32,000.
pub const fn expansion_max(coding: Coding) -> u64 {
    match coding {
        Coding::Gzip => 1100,
        Coding::Brotli | Coding::Zstd => 10_000,
    }
}

/// What is wrong with coded content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCoding {
    /// It is not what it says, or something else is behind it.
    Malformed,
    /// It ends too early.
    Truncated,
    /// It explodes: see [`expansion_max`].
    Explodes,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that were taken.
    pub consumed: usize,
    /// Bytes that were written.
    pub produced: usize,
    /// Whether all of the input was taken, and all that comes of it written; otherwise there has to be more room.
    pub done: bool,
    /// What follows takes so much memory in all, which is more than it may: see [`Decoder::allow`].
    pub needs: Option<usize>,
}

/// See the module.
pub struct Decoder {
    kind: Kind,
    consumed: u64,
    produced: u64,
    /// What came so far is whole.
    at_end: bool,
    /// All that comes of it has been written.
    is_drained: bool,
    /// What is behind it is padding, and nothing else may come any more.
    is_padded: bool,
    /// The first bytes, as long as they do not say what the content takes.
    front: Option<Front>,
    /// Bytes of memory that it may take.
    allowed: usize,
}

type BrotliReading = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum Kind {
    Gzip(Decompress),
    Brotli(Box<BrotliReading>),
    Zstd(raw::Decoder<'static>),
}

/// What a library did: taken, written, and whether it is at an end of its format.
type Moved = (usize, usize, bool);

impl Decoder {
    /// For content in that coding, whatever memory that takes.
    ///
    /// # Errors
    /// The library refuses.
    pub fn new(coding: Coding) -> Result<Decoder, Unable> {
        Decoder::within(coding, usize::MAX)
    }

    /// The same with so much memory, for now.
    ///
    /// # Errors
    /// The library refuses.
    pub fn within(coding: Coding, allowed: usize) -> Result<Decoder, Unable> {
        let kind = match coding {
            Coding::Gzip => Kind::Gzip(Decompress::new_gzip(15)),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Kind::Brotli(Box::new(BrotliReading::new_strict(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => {
                let mut state = raw::Decoder::new().map_err(|_| Unable)?;
                state.set_parameter(DParameter::WindowLogMax(WINDOW_BITS_MAX)).map_err(|_| Unable)?;
                Kind::Zstd(state)
            }
        };
        let front = Some(Front::default());
        let (at_end, is_drained, is_padded) = (true, true, false);
        Ok(Decoder { kind, consumed: 0, produced: 0, at_end, is_drained, is_padded, front, allowed })
    }

    /// Bytes of memory that a stream takes before anything is known of its content, about.
    pub const fn cost(coding: Coding) -> usize {
        match coding {
            Coding::Gzip => 48 * 1024,
            Coding::Brotli => 1 << 20,
            Coding::Zstd => 192 * 1024,
        }
    }

    /// Lets it take so much memory.
    pub fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
    }

    /// Whether enough has come to know what it takes, and that it is in this coding.
    pub fn is_known(&self) -> bool {
        self.front.is_none()
    }

    fn coding(&self) -> Coding {
        match self.kind {
            Kind::Gzip(_) => Coding::Gzip,
            Kind::Brotli(_) => Coding::Brotli,
            Kind::Zstd(_) => Coding::Zstd,
        }
    }

    /// Takes some of the input, and writes what comes of it. Before it takes more memory than it may, it stops and says
    /// so.
    ///
    /// # Errors
    /// The content is bad; what was written before stands.
    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, BadCoding> {
        if input.is_empty() && self.is_drained {
            // Asked for nothing more than a few times in a row, zstd takes it for a mistake.
            return Ok(Step { consumed: 0, produced: 0, done: true, needs: None });
        }
        let (mut consumed, mut produced, coding) = (0, 0, self.coding());
        loop {
            let (from, to) = (&input[consumed..], &mut out[produced..]);
            if from.is_empty() && self.at_end {
                break;
            }
            if self.at_end && self.consumed > 0 {
                let padding = self.begin_again(from)?;
                if padding > 0 {
                    consumed += padding;
                    self.consumed += padding as u64;
                    continue;
                }
            }
            if let Some(front) = &self.front
                && let Said::Takes(bytes) = front.says(coding, from)?
            {
                let needs = Decoder::cost(coding).saturating_add(bytes);
                if needs > self.allowed {
                    return Ok(Step { consumed, produced, done: false, needs: Some(needs) });
                }
                self.front = None;
            }
            let (took, wrote, ends) = match &mut self.kind {
                Kind::Gzip(state) => gzip(state, from, to)?,
                Kind::Brotli(state) => brotli(state, from, to)?,
                Kind::Zstd(state) => zstd(state, from, to)?,
            };
            if let Some(front) = &mut self.front {
                front.add(&from[..took]);
            }
            self.at_end = ends;
            (consumed, produced) = (consumed + took, produced + wrote);
            self.consumed += took as u64;
            self.produced += wrote as u64;
            if self.produced.saturating_sub(FREE_BYTES) > self.consumed.saturating_mul(expansion_max(coding))
            {
                return Err(BadCoding::Explodes);
            }
            if took == 0 && wrote == 0 || produced == out.len() {
                break;
            }
        }
        let room = produced < out.len();
        // With room left, a library that takes nothing waits for more input.
        if room && consumed < input.len() {
            return Err(BadCoding::Malformed);
        }
        self.is_drained = room && consumed == input.len();
        Ok(Step { consumed, produced, done: self.is_drained, needs: None })
    }

    /// Another member follows one that has ended, or so many bytes of padding.
    fn begin_again(&mut self, next: &[u8]) -> Result<usize, BadCoding> {
        match &mut self.kind {
            Kind::Gzip(state) if next[0] == 0x1f && !self.is_padded => {
                *state = Decompress::new_gzip(15);
                Ok(0)
            }
            Kind::Gzip(_) if next[0] == 0 => {
                self.is_padded = true;
                Ok(next.iter().take_while(|&&byte| byte == 0).count())
            }
            // The library goes on by itself; the next frame may take more.
            Kind::Zstd(_) => {
                self.front = Some(Front::default());
                Ok(0)
            }
            Kind::Gzip(_) | Kind::Brotli(_) => Err(BadCoding::Malformed),
        }
    }

    /// No more input comes.
    ///
    /// # Errors
    /// The content is not whole.
    pub fn end(&self) -> Result<(), BadCoding> {
        if self.at_end { Ok(()) } else { Err(BadCoding::Truncated) }
    }
}

fn gzip(state: &mut Decompress, input: &[u8], out: &mut [u8]) -> Result<Moved, BadCoding> {
    let (before_in, before_out) = (state.total_in(), state.total_out());
    let status = state.decompress(input, out, FlushDecompress::None).map_err(|_| BadCoding::Malformed)?;
    let moved = |now: u64, before: u64| usize::try_from(now - before).map_err(|_| BadCoding::Malformed);
    let (took, wrote) = (moved(state.total_in(), before_in)?, moved(state.total_out(), before_out)?);
    Ok((took, wrote, status == Status::StreamEnd))
}

fn brotli(state: &mut BrotliReading, input: &[u8], out: &mut [u8]) -> Result<Moved, BadCoding> {
    let (mut available_in, mut took) = (input.len(), 0);
    let (mut available_out, mut wrote) = (out.len(), 0);
    let result = BrotliDecompressStream(
        &mut available_in,
        &mut took,
        input,
        &mut available_out,
        &mut wrote,
        out,
        &mut 0,
        state,
    );
    match result {
        BrotliResult::ResultFailure => Err(BadCoding::Malformed),
        BrotliResult::ResultSuccess => Ok((took, wrote, true)),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok((took, wrote, false)),
    }
}

fn zstd(state: &mut raw::Decoder<'static>, input: &[u8], out: &mut [u8]) -> Result<Moved, BadCoding> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(out);
    let hint = state.run(&mut from, &mut to).map_err(|_| BadCoding::Malformed)?;
    Ok((from.pos(), to.pos(), hint == 0))
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
