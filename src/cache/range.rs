//! Range requests answered from a complete stored response (RFC 9110, section 14): which parts are wanted,
//! and how several of them are sent.
//!
//! What is sent is never longer than the whole response by more than the heads of [`RANGES_MAX`] parts,
//! whatever the request asks for: parts that overlap or touch are sent as one.

use bytes::BufMut;
use std::cmp::Ordering;

use crate::http::{Fields, Name};

/// The most ranges that are served; a request for more gets the whole response.
pub const RANGES_MAX: usize = 16;

/// What a Range field asks for, given the length of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for a moment; a box would allocate")]
pub enum Wanted {
    /// All of it: there is no Range, or one that is ignored.
    Whole,
    /// Nothing that is there: 416, with [`write_unsatisfied`].
    Unsatisfiable,
    /// These parts: 206.
    Parts(Ranges),
}

/// Parts of a response, in the order they were asked for. There is at least one; none is empty, none
/// overlaps or touches another, and all lie within the response.
#[derive(Clone, Copy)]
pub struct Ranges {
    list: [(u64, u64); RANGES_MAX],
    count: usize,
}

impl Ranges {
    /// The only part, as its first position and the one past its last.
    pub fn single(&self) -> Option<(u64, u64)> {
        if let [range] = self.as_slice() { Some(*range) } else { None }
    }

    /// Every part, as its first position and the one past its last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.as_slice().iter().copied()
    }

    /// Bytes of all parts together.
    pub fn content_bytes(&self) -> u64 {
        self.iter().map(|(first, past)| past - first).sum()
    }

    fn as_slice(&self) -> &[(u64, u64)] {
        &self.list[..self.count]
    }

    /// Takes in one more, merged with those that it overlaps or touches, in the place of the earliest of
    /// them. `None` if there is no room.
    fn add(self, mut range: (u64, u64)) -> Option<Ranges> {
        let mut kept = Ranges { count: 0, ..self };
        let mut place = None;
        for index in 0..self.count {
            let other = self.list[index];
            if other.0 <= range.1 && range.0 <= other.1 {
                range = (other.0.min(range.0), other.1.max(range.1));
                // A part that was passed over before does not touch what the range grew by, for that is
                // another part.
                if place.is_none() {
                    place = Some(kept.count);
                    kept.count += 1;
                }
            } else {
                kept.list[kept.count] = other;
                kept.count += 1;
            }
        }
        if place.is_none() && kept.count == RANGES_MAX {
            return None;
        }
        let place = place.unwrap_or_else(|| {
            kept.count += 1;
            kept.count - 1
        });
        kept.list[place] = range;
        Some(kept)
    }
}

impl PartialEq for Ranges {
    fn eq(&self, other: &Ranges) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Ranges {}

impl std::fmt::Debug for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// The Range field of a request, if it has exactly one: several lines are malformed, and ignored.
pub fn field(request: Fields<'_>) -> Option<&[u8]> {
    let mut lines = request.values(Name::Range);
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

/// What a Range field asks of a response of that many bytes (RFC 9110, sections 14.1.2 and 14.2). Only
/// GET has ranges, and If-Range may take them away: both are the caller's to see to.
///
/// Ignored is a unit other than `bytes`, anything malformed, and more than [`RANGES_MAX`] parts.
pub fn wanted(range: Option<&[u8]>, complete_length: u64) -> Wanted {
    let Some(set) = range.and_then(range_set) else { return Wanted::Whole };
    let mut ranges = Ranges { list: [(0, 0); RANGES_MAX], count: 0 };
    let mut specs = 0;
    for spec in set.split(|&byte| byte == b',').map(trim).filter(|spec| !spec.is_empty()) {
        specs += 1;
        match resolve(spec, complete_length) {
            Resolved::Malformed => return Wanted::Whole,
            Resolved::Unsatisfiable => {}
            // The end of nothing: it can be satisfied, but no Content-Range can say so.
            Resolved::Range(first, past) if first == past => return Wanted::Whole,
            Resolved::Range(first, past) => match ranges.add((first, past)) {
                Some(more) => ranges = more,
                None => return Wanted::Whole,
            },
        }
    }
    match (specs, ranges.count) {
        (0, _) => Wanted::Whole,
        (_, 0) => Wanted::Unsatisfiable,
        _ => Wanted::Parts(ranges),
    }
}

/// What stands behind `bytes=`. The unit is compared without regard to case (RFC 9110, section 14.1).
fn range_set(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = value.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

enum Resolved {
    Malformed,
    Unsatisfiable,
    /// The first position, and the one past the last.
    Range(u64, u64),
}

/// Resolves `0-499`, `500-` or `-500`.
fn resolve(spec: &[u8], complete_length: u64) -> Resolved {
    let Some(dash) = spec.iter().position(|&byte| byte == b'-') else { return Resolved::Malformed };
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first, last) {
        ([], []) => Resolved::Malformed,
        ([], suffix) => match number(suffix) {
            None => Resolved::Malformed,
            Some(0) => Resolved::Unsatisfiable,
            Some(length) => Resolved::Range(complete_length.saturating_sub(length), complete_length),
        },
        (first, last) => {
            let Some(start) = number(first) else { return Resolved::Malformed };
            let past = match number(last) {
                _ if last.is_empty() => complete_length,
                Some(end) if compare(last, first) != Ordering::Less => end.saturating_add(1),
                _ => return Resolved::Malformed,
            };
            if start >= complete_length {
                return Resolved::Unsatisfiable;
            }
            Resolved::Range(start, past.min(complete_length))
        }
    }
}

/// A number of digits only. One that is too large is the largest: no response is that long.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    })
}

/// Compares numbers of any size.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let significant = |digits| {
        let mut digits: &[u8] = digits;
        while let [b'0', rest @ ..] = digits {
            digits = rest;
        }
        digits
    };
    let (one, other) = (significant(one), significant(other));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// Writes the value of Content-Range for one part: `bytes 0-499/1234` (RFC 9110, section 14.4). The range
/// is its first position and the one past its last, and is not empty.
pub fn write_content_range(out: &mut impl BufMut, (first, past): (u64, u64), complete_length: u64) {
    debug_assert!(first < past && past <= complete_length);
    out.put_slice(b"bytes ");
    put_number(out, first);
    out.put_u8(b'-');
    put_number(out, past.saturating_sub(1));
    out.put_u8(b'/');
    put_number(out, complete_length);
}

/// Writes the value of Content-Range for a 416: `bytes */1234` (RFC 9110, section 14.4).
pub fn write_unsatisfied(out: &mut impl BufMut, complete_length: u64) {
    out.put_slice(b"bytes */");
    put_number(out, complete_length);
}

fn put_number(out: &mut impl BufMut, number: u64) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Content of type `multipart/byteranges` (RFC 9110, section 14.6), as the texts around its parts:
///
/// ```text
///   head 0 | bytes of part 0 | head 1 | bytes of part 1 | … | end
/// ```
///
/// It is for two parts and more: a single one must not be sent like this unless several were asked for
/// (section 15.3.7.2).
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    ranges: Ranges,
    complete_length: u64,
    content_type: Option<&'a [u8]>,
    boundary: [u8; BOUNDARY_BYTES],
}

const BOUNDARY_BYTES: usize = 16;

/// What [`Multipart::write_content_type`] writes in front of the boundary.
const CONTENT_TYPE: &[u8] = b"multipart/byteranges; boundary=";

/// The most bytes of [`Multipart::write_content_type`], of [`Multipart::write_end`], and of
/// [`Multipart::write_head`] without the Content-Type of the stored response.
pub const TEXT_BYTES_MAX: usize = 192;

impl<'a> Multipart<'a> {
    /// Content of these parts of a response of that length and Content-Type. The number becomes the
    /// boundary; nobody should be able to foresee it, lest content contain it.
    pub fn new(
        ranges: Ranges,
        complete_length: u64,
        content_type: Option<&'a [u8]>,
        number: u64,
    ) -> Multipart<'a> {
        let mut boundary = [0; BOUNDARY_BYTES];
        for (byte, nibbles) in boundary.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
            byte.copy_from_slice(&[digit(nibbles >> 4), digit(nibbles & 15)]);
        }
        Multipart { ranges, complete_length, content_type, boundary }
    }

    /// The parts, as their first positions and the ones past their last.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// Writes the value of the Content-Type field of the whole: at most [`TEXT_BYTES_MAX`].
    pub fn write_content_type(&self, out: &mut impl BufMut) {
        out.put_slice(CONTENT_TYPE);
        out.put_slice(&self.boundary);
    }

    /// The length of the whole, in bytes.
    pub fn content_length(&self) -> u64 {
        let mut length = self.ranges.content_bytes();
        let texts = (0..self.ranges.count).map(|index| self.head_bytes(index)).sum::<u64>();
        length = length.saturating_add(texts);
        length.saturating_add(END_BYTES)
    }

    /// Writes what stands before the bytes of a part: the line of the boundary and the part's own fields.
    ///
    /// # Panics
    /// If there is no such part.
    pub fn write_head(&self, out: &mut impl BufMut, index: usize) {
        // The line end in front of a boundary belongs to it, and only the first has none.
        out.put_slice(if index == 0 { b"--" } else { b"\r\n--" });
        out.put_slice(&self.boundary);
        if let Some(content_type) = self.content_type {
            out.put_slice(b"\r\nContent-Type: ");
            out.put_slice(content_type);
        }
        out.put_slice(b"\r\nContent-Range: ");
        write_content_range(out, self.ranges.as_slice()[index], self.complete_length);
        out.put_slice(b"\r\n\r\n");
    }

    /// Writes what stands behind the bytes of the last part.
    pub fn write_end(&self, out: &mut impl BufMut) {
        out.put_slice(b"\r\n--");
        out.put_slice(&self.boundary);
        out.put_slice(b"--\r\n");
    }

    /// How many bytes [`Multipart::write_head`] writes.
    fn head_bytes(&self, index: usize) -> u64 {
        let (first, past) = self.ranges.as_slice()[index];
        let line = if index == 0 { 2 } else { 4 } + BOUNDARY_BYTES;
        let content_type = self.content_type.map_or(0, |text| "\r\nContent-Type: ".len() + text.len());
        let numbers = [first, past - 1, self.complete_length].map(digits).iter().sum::<usize>();
        let content_range = "\r\nContent-Range: bytes -/\r\n\r\n".len() + numbers;
        (line + content_type + content_range) as u64
    }
}

const END_BYTES: u64 = "\r\n--".len() as u64 + BOUNDARY_BYTES as u64 + "--\r\n".len() as u64;

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
