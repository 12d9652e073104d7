//! Taking compressed content apart, piece by piece: memory is bounded by the window that a coding may have here, and
//! what comes out by what came in.
//!
//! What is not exactly one coded content is malformed: one that ends too early, and one with something else behind it.
//! `gzip` and `zstd` may come in several members or frames, as their definitions say; nothing at all stands for no
//! content.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{self, DParameter, InBuffer, Operation, OutBuffer};

use super::encoder::Unable;
use crate::http::coding::Coding;

/// The largest window of `zstd`, as a power of two: 8 MiB, as RFC 9659 has it. That of `br` is at most 16 MiB by
/// definition, and large windows are refused.
const WINDOW_BITS_MAX: u32 = 23;

/// Up to this much, content may grow as it likes.
const FREE_BYTES: u64 = 1 << 20;

/// Beyond, it must not grow to more than so many times what came in. What `gzip` can make of it lies below: it reaches
/// 1032.
pub const EXPANSION_MAX: u64 = 1100;

/// What is wrong with coded content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCoding {
    /// It is not what it says, or something else is behind it.
    Malformed,
    /// It ends too early.
    Truncated,
    /// It explodes: see [`EXPANSION_MAX`].
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
    /// For content in that coding.
    ///
    /// # Errors
    /// The library refuses.
    pub fn new(coding: Coding) -> Result<Decoder, Unable> {
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
        Ok(Decoder { kind, consumed: 0, produced: 0, at_end: true, is_drained: true })
    }

    /// Bytes of memory that a stream takes at most, about. What begins the content says more about `br`: its window.
    pub fn cost(coding: Coding, content: &[u8]) -> usize {
        match coding {
            Coding::Gzip => 48 * 1024,
            Coding::Brotli => (1 << 20) + (1 << brotli_window_bits(content)),
            Coding::Zstd => 9 << 20,
        }
    }

    /// Takes some of the input, and writes what comes of it.
    ///
    /// # Errors
    /// The content is bad; what was written before stands.
    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, BadCoding> {
        if input.is_empty() && self.is_drained {
            // Asked for nothing more than a few times in a row, zstd takes it for a mistake.
            return Ok(Step { consumed: 0, produced: 0, done: true });
        }
        let (mut consumed, mut produced) = (0, 0);
        loop {
            let (from, to) = (&input[consumed..], &mut out[produced..]);
            if from.is_empty() && self.at_end {
                break;
            }
            if self.at_end && self.consumed > 0 {
                self.begin_again(from)?;
            }
            let (took, wrote, ends) = match &mut self.kind {
                Kind::Gzip(state) => gzip(state, from, to)?,
                Kind::Brotli(state) => brotli(state, from, to)?,
                Kind::Zstd(state) => zstd(state, from, to)?,
            };
            self.at_end = ends;
            (consumed, produced) = (consumed + took, produced + wrote);
            self.consumed += took as u64;
            self.produced += wrote as u64;
            if self.produced.saturating_sub(FREE_BYTES) > self.consumed.saturating_mul(EXPANSION_MAX) {
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
        Ok(Step { consumed, produced, done: self.is_drained })
    }

    /// Another member follows one that has ended.
    fn begin_again(&mut self, next: &[u8]) -> Result<(), BadCoding> {
        match &mut self.kind {
            Kind::Gzip(state) if next[0] == 0x1f => {
                *state = Decompress::new_gzip(15);
                Ok(())
            }
            // The library goes on by itself, and sees to it that it is a frame.
            Kind::Zstd(_) => Ok(()),
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

/// The window that a stream of `br` announces, as a power of two (RFC 7932, section 9.1).
fn brotli_window_bits(content: &[u8]) -> u8 {
    let Some(&first) = content.first() else { return 24 };
    match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        // A large window, which is refused.
        (_, 0, 1) => 10,
        (_, 0, bits) => 8 + bits,
        (_, bits, _) => 17 + bits,
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
