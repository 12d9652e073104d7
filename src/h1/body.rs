//! Content as it is taken apart on one side and put together on the other.

use super::chunked::{self, BadChunk, PREFIX_BYTES_MAX, Step};
use super::{BodyLength, HeadScanner, encode, head};
use crate::http::Fields;
use crate::limits::{FIELDS_CEILING, HeadLimits, TRAILER_BYTES_MAX};

/// What went wrong while reading content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// The chunked coding is malformed.
    Chunk,
    /// The trailer section is malformed or longer than [`TRAILER_BYTES_MAX`].
    Trailer,
}

impl From<BadChunk> for BadBody {
    fn from(_: BadChunk) -> BadBody {
        BadBody::Chunk
    }
}

/// Finds content among the bytes of one message, whatever its framing.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes are still to come; none at the end.
    Known(u64),
    Chunked(chunked::Decoder),
    /// The last chunk was followed by fields, which are collected until they are whole.
    Trailers(TrailerSection),
    Ended {
        trailers: Option<Trailers>,
    },
    UntilClose,
}

impl Decoder {
    /// A decoder for content of that length.
    pub fn new(length: BodyLength) -> Decoder {
        let framing = match length {
            BodyLength::None => Framing::Known(0),
            BodyLength::Known(length) => Framing::Known(length),
            BodyLength::Chunked => Framing::Chunked(chunked::Decoder::default()),
            BodyLength::UntilClose => Framing::UntilClose,
        };
        Decoder { framing }
    }

    /// Takes a window of bytes apart, in place. What is not used up belongs to the next message.
    ///
    /// # Errors
    /// [`BadBody`]: the message has no end that could be trusted.
    pub fn step(&mut self, window: &mut [u8]) -> Result<Step, BadBody> {
        let mut step = match &mut self.framing {
            Framing::Known(remaining) => {
                let take = usize::try_from(*remaining).unwrap_or(usize::MAX).min(window.len());
                *remaining -= take as u64;
                return Ok(Step { data: 0..take, consumed: take });
            }
            Framing::UntilClose => return Ok(Step { data: 0..window.len(), consumed: window.len() }),
            Framing::Ended { .. } => return Ok(Step { data: 0..0, consumed: 0 }),
            Framing::Trailers(_) => Step { data: 0..0, consumed: 0 },
            Framing::Chunked(decoder) => {
                let step = decoder.step(window)?;
                if decoder.is_done() {
                    self.framing = Framing::Ended { trailers: None };
                } else if decoder.is_at_trailers() {
                    self.framing = Framing::Trailers(TrailerSection::default());
                }
                step
            }
        };
        if let Framing::Trailers(section) = &mut self.framing {
            let (taken, whole) = section.push(&window[step.consumed..])?;
            step.consumed += taken;
            if whole {
                self.framing = Framing::Ended { trailers: Some(section.read()?) };
            }
        }
        Ok(step)
    }

    /// Whether the message is complete. Content that lasts until the close never is: see
    /// [`Decoder::may_end_here`].
    pub fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Known(0) | Framing::Ended { .. })
    }

    /// Whether the end of the connection is the end of the message, or breaks it off.
    pub fn may_end_here(&self) -> bool {
        self.is_done() || matches!(self.framing, Framing::UntilClose)
    }

    /// How many bytes of content are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.framing {
            Framing::Known(remaining) => Some(remaining),
            Framing::Ended { .. } => Some(0),
            _ => None,
        }
    }

    /// The trailer section of a complete message, with its empty line, if it had one.
    pub fn trailers(&self) -> Option<&[u8]> {
        match &self.framing {
            Framing::Ended { trailers: Some(trailers) } => Some(&trailers.section),
            _ => None,
        }
    }

    /// Takes the trailer fields with these names out of what ends the message on its way out.
    pub fn drop_trailers(&mut self, goes: impl Fn(&[u8]) -> bool) {
        if let Framing::Ended { trailers: Some(trailers) } = &mut self.framing {
            trailers.end = without_fields(&trailers.end, goes);
        }
    }

    /// What ends the message on its way out: the last chunk, with the trailer fields that may be
    /// passed on.
    pub fn end(&self, encoder: Encoder) -> &[u8] {
        match (&self.framing, encoder) {
            (Framing::Ended { trailers: Some(trailers) }, Encoder::Chunked) => &trailers.end,
            _ => encoder.end(),
        }
    }
}

/// The last chunk with its trailer fields, but for those with these names.
pub fn without_fields(end: &[u8], goes: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let is_kept = |line: &&[u8]| match memchr::memchr(b':', line) {
        Some(colon) => !goes(&line[..colon]),
        // The last chunk itself, and the empty line.
        None => true,
    };
    end.split_inclusive(|&byte| byte == b'\n').filter(is_kept).flatten().copied().collect()
}

/// Trailer fields, whole and well-formed.
#[derive(Debug)]
struct Trailers {
    /// As they came, with the empty line.
    section: Vec<u8>,
    /// As they go out, behind the last chunk.
    end: Vec<u8>,
}

/// Trailer fields, collected until the empty line.
#[derive(Debug, Default)]
struct TrailerSection {
    bytes: Vec<u8>,
    scanner: HeadScanner,
}

impl TrailerSection {
    /// Takes more bytes; says how many belong to the section, and whether it is whole.
    fn push(&mut self, more: &[u8]) -> Result<(usize, bool), BadBody> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&more[..more.len().min(TRAILER_BYTES_MAX + 1 - before)]);
        match self.scanner.scan(&self.bytes).map_err(|_| BadBody::Trailer)? {
            Some(end) if end > TRAILER_BYTES_MAX => Err(BadBody::Trailer),
            Some(end) => {
                self.bytes.truncate(end);
                Ok((end - before, true))
            }
            None if self.bytes.len() > TRAILER_BYTES_MAX => Err(BadBody::Trailer),
            None => Ok((more.len(), false)),
        }
    }
}

impl TrailerSection {
    /// Reads the whole section, and writes it anew.
    fn read(&mut self) -> Result<Trailers, BadBody> {
        let section = std::mem::take(&mut self.bytes);
        let mut lines = Vec::new();
        let limits = HeadLimits { fields_max: FIELDS_CEILING, ..HeadLimits::default() };
        head::parse_fields(&section, &limits, &mut lines).map_err(|_| BadBody::Trailer)?;
        let mut end = Vec::with_capacity(section.len() + lines.len() + chunked::LAST_CHUNK.len());
        encode::trailers(&mut end, Fields::new(&section, &lines));
        Ok(Trailers { section, end })
    }
}

/// How content is framed on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// As it is: the length is known, or the close ends it.
    Plain,
    /// In chunks.
    Chunked,
}

impl Encoder {
    /// What goes in front of `length` bytes of content.
    pub fn prefix(self, length: usize, out: &mut [u8; PREFIX_BYTES_MAX]) -> &[u8] {
        match self {
            Encoder::Chunked if length > 0 => chunked::prefix(length, out),
            _ => b"",
        }
    }

    /// What goes behind `length` bytes of content.
    pub const fn suffix(self, length: usize) -> &'static [u8] {
        match self {
            Encoder::Chunked if length > 0 => chunked::CHUNK_END,
            _ => b"",
        }
    }

    /// What ends the message, when there are no trailer fields.
    pub const fn end(self) -> &'static [u8] {
        match self {
            Encoder::Chunked => chunked::LAST_CHUNK,
            Encoder::Plain => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `cut`; the content, what was left, and the decoder.
    fn feed(length: BodyLength, bytes: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<u8>, Decoder), BadBody> {
        let mut decoder = Decoder::new(length);
        let mut content = Vec::new();
        let mut at = 0;
        while at < bytes.len() && !decoder.is_done() {
            let end = (at + cut).min(bytes.len());
            let mut window = bytes[at..end].to_vec();
            let step = decoder.step(&mut window)?;
            content.extend_from_slice(&window[step.data]);
            at += step.consumed;
        }
        Ok((content, bytes[at..].to_vec(), decoder))
    }

    #[test]
    fn known_lengths_end_where_they_say() {
        for cut in [1, 3, 100] {
            let (content, left, decoder) = feed(BodyLength::Known(5), b"helloGET", cut).unwrap();
            assert_eq!((content.as_slice(), left.as_slice()), (&b"hello"[..], &b"GET"[..]));
            assert!(decoder.is_done());
        }
    }

    #[test]
    fn a_break_within_a_known_length_is_no_end() {
        let (_, _, decoder) = feed(BodyLength::Known(5), b"hell", 100).unwrap();
        assert!(!decoder.may_end_here());
        assert_eq!(decoder.remaining(), Some(1));
    }

    #[test]
    fn content_until_close_may_end_anywhere() {
        let (content, _, decoder) = feed(BodyLength::UntilClose, b"abc", 2).unwrap();
        assert_eq!(content, b"abc");
        assert!(decoder.may_end_here() && !decoder.is_done());
    }

    #[test]
    fn trailers_are_collected_however_they_are_split() {
        let bytes = b"3\r\nabc\r\n0\r\nA: 1\r\nB: 2\r\n\r\nnext";
        for cut in 1..bytes.len() {
            let (content, left, decoder) = feed(BodyLength::Chunked, bytes, cut).unwrap();
            assert_eq!(content, b"abc");
            assert_eq!(left, b"next", "cut {cut}");
            assert_eq!(decoder.trailers(), Some(&b"A: 1\r\nB: 2\r\n\r\n"[..]));
            assert_eq!(decoder.end(Encoder::Chunked), b"0\r\nA: 1\r\nB: 2\r\n\r\n");
            assert_eq!(decoder.end(Encoder::Plain), b"");
        }
    }

    #[test]
    fn trailers_are_dropped_by_name() {
        let bytes = b"0\r\nA: 1\r\nB: a: 2\r\nC:\r\n\r\n";
        let (_, _, mut decoder) = feed(BodyLength::Chunked, bytes, 100).unwrap();
        decoder.drop_trailers(|name| name == b"A");
        assert_eq!(decoder.end(Encoder::Chunked), b"0\r\nB: a: 2\r\nC: \r\n\r\n");
        decoder.drop_trailers(|_| true);
        assert_eq!(decoder.end(Encoder::Chunked), b"0\r\n\r\n");
    }

    #[test]
    fn a_trailer_section_has_a_limit() {
        let bytes = [&b"0\r\nA: "[..], &[b'x'; TRAILER_BYTES_MAX]].concat();
        let ended = [&b"0\r\nA: "[..], &[b'x'; TRAILER_BYTES_MAX - 6], b"\r\n\r\n"].concat();
        for cut in [1, 1000, 100_000] {
            assert_eq!(feed(BodyLength::Chunked, &bytes, cut).map(|_| ()), Err(BadBody::Trailer));
            assert_eq!(feed(BodyLength::Chunked, &ended, cut).map(|_| ()), Err(BadBody::Trailer));
        }
    }
}
