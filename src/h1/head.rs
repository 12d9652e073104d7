//! What request and response heads share: finding the end, and reading the field lines.

use std::mem::MaybeUninit;

use crate::error::Reason;
use crate::http::{FieldLine, Name, Span};
use crate::limits::{FIELDS_CEILING, HeadLimits};

/// How a head can be wrong. Which side sent it decides what that means: see
/// [`Malformed::in_request`] and [`Malformed::in_response`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A line that ends with a bare LF.
    LineEnding,
    /// The first line does not have its three parts.
    FirstLine,
    /// The version is not 1.0 or 1.1.
    Version,
    /// A field line with a bad name or value, a blank before its colon, or a continuation line.
    Field,
    /// More field lines than the limit.
    TooManyFields,
    /// More bytes than the limit.
    TooLarge,
}

impl Malformed {
    /// Why a request with this fault is refused.
    pub const fn in_request(self) -> Reason {
        match self {
            Malformed::LineEnding => Reason::BadLineEnding,
            Malformed::FirstLine => Reason::BadRequestLine,
            Malformed::Version => Reason::UnsupportedVersion,
            Malformed::Field => Reason::BadField,
            Malformed::TooManyFields => Reason::TooManyFields,
            Malformed::TooLarge => Reason::HeadTooLarge,
        }
    }

    /// Why an upstream's response with this fault is not passed on.
    pub const fn in_response(self) -> Reason {
        match self {
            Malformed::TooManyFields | Malformed::TooLarge => Reason::UpstreamHeadTooLarge,
            _ => Reason::UpstreamBadHead,
        }
    }
}

/// Finds the end of a head that arrives in pieces, looking at each byte once.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    scanned: usize,
    line_start: usize,
}

impl HeadScanner {
    /// Looks at what has come since the last call. `bytes` starts with the head's first byte and
    /// holds all of it that has arrived. The answer is the head's length, the empty line included,
    /// once it is there.
    ///
    /// # Errors
    /// [`Malformed::LineEnding`] at the first LF without a CR before it.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        for found in memchr::memchr_iter(b'\n', &bytes[self.scanned..]) {
            let at = self.scanned + found;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Malformed::LineEnding);
            }
            if at - 1 == self.line_start {
                return Ok(Some(at + 1));
            }
            self.line_start = at + 1;
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

/// Memory for the field lines that httparse finds, left uninitialised.
pub(super) type RawFields<'a> = [MaybeUninit<httparse::Header<'a>>; FIELDS_CEILING];

/// As many slots as the limit allows.
pub(super) fn slots<'a, 'b>(
    raw: &'a mut RawFields<'b>,
    limits: &HeadLimits,
) -> &'a mut [MaybeUninit<httparse::Header<'b>>] {
    &mut raw[..limits.fields_max.min(FIELDS_CEILING)]
}

/// Turns what httparse found into spans.
pub(super) fn collect(head: &[u8], found: &[httparse::Header<'_>], lines: &mut Vec<FieldLine>) {
    lines.clear();
    lines.extend(found.iter().map(|field| FieldLine {
        name: Span::of(head, field.name.as_bytes()),
        value: Span::of(head, field.value),
        known: Name::recognise(field.name.as_bytes()),
    }));
}

/// Reads a section of field lines that stands alone, as a trailer section does. `section` ends with
/// the empty line.
///
/// # Errors
/// [`Malformed::Field`] or [`Malformed::TooManyFields`].
pub fn parse_fields(
    section: &[u8],
    limits: &HeadLimits,
    lines: &mut Vec<FieldLine>,
) -> Result<(), Malformed> {
    let mut raw = [httparse::EMPTY_HEADER; FIELDS_CEILING];
    match httparse::parse_headers(section, &mut raw[..limits.fields_max.min(FIELDS_CEILING)]) {
        Ok(httparse::Status::Complete((_, found))) => {
            collect(section, found, lines);
            Ok(())
        }
        Err(httparse::Error::TooManyHeaders) => Err(Malformed::TooManyFields),
        _ => Err(Malformed::Field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_however_the_bytes_are_split() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for step in 1..head.len() {
            let mut scanner = HeadScanner::default();
            let mut end = None;
            for upto in (0..=head.len()).step_by(step).chain([head.len()]) {
                end = scanner.scan(&head[..upto]).unwrap();
                if end.is_some() {
                    break;
                }
            }
            assert_eq!(end, Some(head.len() - 4), "step {step}");
        }
    }

    #[test]
    fn refuses_a_bare_line_feed_wherever_it_stands() {
        for bad in [
            "\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\n\n",
        ] {
            assert_eq!(HeadScanner::default().scan(bad.as_bytes()), Err(Malformed::LineEnding), "{bad:?}");
        }
    }

    #[test]
    fn an_empty_section_ends_at_once() {
        assert_eq!(HeadScanner::default().scan(b"\r\n"), Ok(Some(2)));
    }
}
