//! The vocabulary of RFC 9110: methods, versions, field names, targets, dates.
//!
//! Values here are plain data over bytes that somebody else owns: a head stays in the buffer it was
//! received into, and [`Span`]s say where its parts lie. Nothing here knows a socket or a clock.

pub mod authority;
pub mod coding;
pub mod cookie;
pub mod date;
pub mod fields;
#[doc(hidden)]
pub mod fuzz_path;
pub mod list;
pub mod method;
pub mod path;
pub mod point;
pub mod query;
pub mod status;
pub mod target;
pub mod vary;

pub use fields::{FieldLine, Fields, Name};
pub use method::Method;

/// The versions of HTTP/1 that are spoken (RFC 9112, section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim responses, closes unless told otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// The name as it stands on a request line.
    pub const fn name(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

/// A run of bytes within one head, by offset: at most [`crate::limits::HEAD_BYTES_CEILING`] long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The span that starts at `start` and ends before `end`. Both fit, because a head is refused
    /// before it grows past 64 KiB.
    pub fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= usize::from(u16::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "heads are shorter than 64 KiB")]
        Span { start: start as u16, end: end as u16 }
    }

    /// Where `part`, a slice of `whole`, lies within it.
    pub fn of(whole: &[u8], part: &[u8]) -> Span {
        if part.is_empty() {
            return Span::default();
        }
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Span::new(start, start + part.len())
    }

    /// The bytes of `whole` that the span covers.
    pub fn within(self, whole: &[u8]) -> &[u8] {
        &whole[usize::from(self.start)..usize::from(self.end)]
    }

    /// The offsets that the span covers.
    pub fn range(self) -> std::ops::Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }

    /// How many bytes the span covers.
    pub fn len(self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Whether the span covers nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}
