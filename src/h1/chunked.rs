//! The chunked transfer coding (RFC 9112, section 7.1), decoded in place.
//!
//! ```text
//!            ┌────────────────────────────────────────────────┐
//!            ▼                                                │ LF
//!   Size ──CR──▶ SizeEnd ──LF──▶ Data ──all──▶ DataCr ──CR──▶ DataEnd
//!     └──";"──▶ Extension ──CR──┘   (size 0)
//!                                  └──▶ AfterLast ──CR──▶ FinalEnd ──LF──▶ Done
//!                                             └─other──▶ Trailers
//! ```

use std::ops::Range;

use crate::limits::CHUNK_LINE_BYTES_MAX;

/// The coding is malformed: the message has no end that could be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

/// What one step made of a window of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the content lies in the window now.
    pub data: Range<usize>,
    /// How many bytes of the window were used up, content and coding. What follows belongs to the
    /// trailer section or to the next message.
    pub consumed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataEnd,
    AfterLast,
    FinalEnd,
    Trailers,
    Done,
}

/// Takes the chunked coding away, as bytes come.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Bytes of the current chunk that are still to come; while its size is read, the size so far.
    remaining: u64,
    /// Bytes of the current size line.
    line: u32,
    /// Whether the size line has had a digit.
    digits: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { state: State::Size, remaining: 0, line: 0, digits: false }
    }
}

impl Decoder {
    /// Decodes a window in place: the content of all chunks in it is moved together. Everything is
    /// used up, unless the coding ends within the window or a trailer section begins.
    ///
    /// # Errors
    /// [`BadChunk`] for a size without digits, too large or followed by anything but an extension, a
    /// size line longer than [`CHUNK_LINE_BYTES_MAX`], a bare CR or LF, or content that is not
    /// followed by CR LF.
    pub fn step(&mut self, window: &mut [u8]) -> Result<Step, BadChunk> {
        let mut data = 0..0;
        let mut at = 0;
        while at < window.len() {
            match self.state {
                State::Data => {
                    let take = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(window.len() - at);
                    if data.is_empty() {
                        data = at..at + take;
                    } else {
                        window.copy_within(at..at + take, data.end);
                        data.end += take;
                    }
                    at += take;
                    self.remaining -= take as u64;
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                    continue;
                }
                State::AfterLast if window[at] != b'\r' => self.state = State::Trailers,
                _ => {}
            }
            if matches!(self.state, State::Trailers | State::Done) {
                break;
            }
            self.coding_byte(window[at])?;
            at += 1;
        }
        Ok(Step { data, consumed: at })
    }

    /// Takes one byte that is not content.
    fn coding_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.push_digit(byte)?;
                State::Size
            }
            (State::Size, b';') if self.digits => State::Extension,
            (State::Size | State::Extension, b'\r') if self.digits => State::SizeEnd,
            (State::Extension, b'\t' | 0x20..=0x7e | 0x80..) => State::Extension,
            (State::SizeEnd, b'\n') => {
                self.line = 0;
                self.digits = false;
                if self.remaining == 0 { State::AfterLast } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size,
            (State::AfterLast, b'\r') => State::FinalEnd,
            (State::FinalEnd, b'\n') => State::Done,
            _ => return Err(BadChunk),
        };
        if matches!(self.state, State::Size | State::Extension) {
            self.line += 1;
            if self.line > CHUNK_LINE_BYTES_MAX {
                return Err(BadChunk);
            }
        }
        Ok(())
    }

    fn push_digit(&mut self, byte: u8) -> Result<(), BadChunk> {
        let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
        let size = self.remaining.checked_mul(16).ok_or(BadChunk)? + u64::from(digit);
        if size > i64::MAX as u64 {
            return Err(BadChunk);
        }
        self.remaining = size;
        self.digits = true;
        Ok(())
    }

    /// Whether the last chunk and an empty trailer section have been seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the last chunk is followed by trailer fields: the rest of the window starts with them.
    pub fn is_at_trailers(&self) -> bool {
        self.state == State::Trailers
    }
}

/// The longest prefix that [`prefix`] writes: sixteen digits and CR LF.
pub const PREFIX_BYTES_MAX: usize = 18;

/// What follows the content of every chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes the size line of a chunk that holds `length` bytes.
pub fn prefix(length: usize, out: &mut [u8; PREFIX_BYTES_MAX]) -> &[u8] {
    let mut at = PREFIX_BYTES_MAX - 2;
    out[at..].copy_from_slice(b"\r\n");
    let mut rest = length;
    loop {
        at -= 1;
        out[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 {
            return &out[at..];
        }
    }
}

#[cfg(test)]
#[path = "chunked_tests.rs"]
mod tests;
