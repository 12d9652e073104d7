//! The rules of RFC 9112 and of this proxy's strictness, written a second time: by splitting whole
//! buffers rather than byte by byte, without httparse, without tables and without speed. Shares no
//! code with what it is compared to, only the types of the answers and the limits.

use std::ops::Range;

use crate::h1::BodyLength;
use crate::http::Version;
use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// More bytes could make it well-formed.
    Short,
    /// No more bytes could.
    Bad,
}

/// Where the first empty line of `bytes` ends. A LF without a CR in front of it is refused up to there.
pub(super) fn head_end(bytes: &[u8]) -> Result<usize, Stop> {
    let mut end = 0;
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        end += line.len();
        match line {
            b"\r\n" => return Ok(end),
            [.., b'\r', b'\n'] => {}
            [.., b'\n'] => return Err(Stop::Bad),
            _ => {}
        }
    }
    Err(Stop::Short)
}

/// A head or a section of fields, taken apart at its line ends.
pub(super) struct Plain<'a> {
    /// The three parts of the first line; nothing in a section that has none.
    pub(super) first: [&'a [u8]; 3],
    /// Names and values, in order.
    pub(super) fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Plain<'a> {
    /// Reads a request head: method, target and version. Which targets fit which methods, and what
    /// Host may say, is not its business.
    pub(super) fn request(head: &'a [u8]) -> Option<Plain<'a>> {
        let (line, section) = first_line(head)?;
        let first: [&[u8]; 3] = line.split(|&b| b == b' ').collect::<Vec<_>>().try_into().ok()?;
        let [method, target, version] = first;
        let well_formed = is_token(method)
            && !target.is_empty()
            && target.iter().all(|b| !b.is_ascii_control())
            && is_version(version);
        let fields = Plain::section(section)?.fields;
        well_formed.then_some(Plain { first, fields })
    }

    /// Reads a response head: version, status and phrase.
    pub(super) fn response(head: &'a [u8]) -> Option<Plain<'a>> {
        let (line, section) = first_line(head)?;
        let (version, rest) = line.split_at_checked(8)?;
        let (status, phrase) = rest.strip_prefix(b" ")?.split_at_checked(3)?;
        let phrase = if phrase.is_empty() { phrase } else { phrase.strip_prefix(b" ")? };
        let well_formed = is_version(version)
            && matches!(status, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'])
            && is_text(phrase);
        let fields = Plain::section(section)?.fields;
        well_formed.then_some(Plain { first: [version, status, phrase], fields })
    }

    /// Reads field lines up to the empty line, which must be the end of `section`.
    pub(super) fn section(section: &'a [u8]) -> Option<Plain<'a>> {
        let lines = section.strip_suffix(b"\r\n")?;
        let mut fields = Vec::new();
        for line in lines.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\r\n")?;
            let (name, value) = line.split_at(line.iter().position(|&b| b == b':')?);
            let value = trim(&value[1..]);
            if !is_token(name) || !is_text(value) {
                return None;
            }
            fields.push((name, value));
        }
        Some(Plain { first: [b""; 3], fields })
    }

    /// The values of every field of that name, in any case.
    pub(super) fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let is_named = |(written, _): &&(&[u8], &[u8])| written.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_named).map(|&(_, value)| value).collect()
    }
}

fn first_line(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = head.split_at(head.iter().position(|&b| b == b'\n')? + 1);
    Some((line.strip_suffix(b"\r\n")?, rest))
}

fn is_version(version: &[u8]) -> bool {
    version == b"HTTP/1.1" || version == b"HTTP/1.0"
}

/// RFC 9110, section 5.6.2: any visible character but delimiters.
fn is_token(token: &[u8]) -> bool {
    !token.is_empty() && token.iter().all(|b| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(b))
}

/// RFC 9110, section 5.5: visible characters, blanks, and anything beyond ASCII.
fn is_text(text: &[u8]) -> bool {
    text.iter().all(|&b| b == b'\t' || !b.is_ascii_control())
}

/// Takes spaces and tabs away from both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// RFC 9112, section 6.3, for a request; `None` is a refusal.
pub(super) fn request_length(version: Version, plain: &Plain<'_>) -> Option<BodyLength> {
    declared_length(version, plain, BodyLength::None)
}

/// RFC 9112, section 6.3, for a response; `None` is a refusal.
pub(super) fn response_length(
    head_only: bool,
    status: u16,
    version: Version,
    plain: &Plain<'_>,
) -> Option<BodyLength> {
    if (100..200).contains(&status) || status == 204 {
        return Some(BodyLength::None);
    }
    let declared = declared_length(version, plain, BodyLength::UntilClose)?;
    Some(if head_only || status == 304 { BodyLength::None } else { declared })
}

/// Either field may stand once, with one value in it, and without the other.
fn declared_length(version: Version, plain: &Plain<'_>, otherwise: BodyLength) -> Option<BodyLength> {
    match (&plain.values("transfer-encoding")[..], &plain.values("content-length")[..]) {
        ([], []) => Some(otherwise),
        ([], [length]) => {
            let text = std::str::from_utf8(length).ok()?;
            let digits_only = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            let significant = text.trim_start_matches('0');
            let value = if significant.is_empty() { 0 } else { significant.parse::<i64>().ok()? };
            digits_only.then_some(BodyLength::Known(value.unsigned_abs()))
        }
        ([coding], []) => {
            let chunked = coding.eq_ignore_ascii_case(b"chunked") && version == Version::Http11;
            chunked.then_some(BodyLength::Chunked)
        }
        _ => None,
    }
}

/// A chunked message, as far as it goes.
pub(super) struct PlainChunks {
    pub(super) content: Vec<u8>,
    /// Where the trailer section lies, its empty line included.
    pub(super) trailers: Option<Range<usize>>,
    /// Where the message ends.
    pub(super) end: Result<usize, Stop>,
}

/// Takes the chunked coding away (RFC 9112, section 7.1).
pub(super) fn chunked(coded: &[u8]) -> PlainChunks {
    let mut plain = PlainChunks { content: Vec::new(), trailers: None, end: Err(Stop::Short) };
    plain.end = chunks(coded, &mut plain.content).and_then(|last| {
        let section = &coded[last..];
        match section {
            [b'\r', b'\n', ..] => Ok(last + 2),
            [] | [b'\r'] => Err(Stop::Short),
            [b'\r', ..] => Err(Stop::Bad),
            _ => {
                let within = &section[..section.len().min(TRAILER_BYTES_MAX)];
                let end = last
                    + head_end(within)
                        .map_err(|stop| if section.len() > within.len() { Stop::Bad } else { stop })?;
                plain.trailers = Some(last..end);
                Ok(end)
            }
        }
    });
    plain
}

/// Reads chunks up to the last one, and says where its size line ends.
fn chunks(coded: &[u8], content: &mut Vec<u8>) -> Result<usize, Stop> {
    let mut rest = coded;
    loop {
        let (size, line) = size_line(rest)?;
        rest = &rest[line..];
        if size == 0 {
            return Ok(coded.len() - rest.len());
        }
        let data = &rest[..rest.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
        content.extend_from_slice(data);
        rest = &rest[data.len()..];
        match rest {
            [b'\r', b'\n', ..] => rest = &rest[2..],
            [] | [b'\r'] => return Err(Stop::Short),
            _ => return Err(Stop::Bad),
        }
    }
}

/// The size that the line at the front of `rest` says, and how long the line is.
fn size_line(rest: &[u8]) -> Result<(u64, usize), Stop> {
    let line = rest.split_inclusive(|&b| b == b'\n').next().unwrap_or_default();
    let whole = line.ends_with(b"\n");
    let text = match line.strip_suffix(b"\r\n") {
        Some(text) => text,
        None if whole => return Err(Stop::Bad),
        None => line.strip_suffix(b"\r").unwrap_or(line),
    };
    let mut parts = text.splitn(2, |&b| b == b';');
    let digits = parts.next().unwrap_or_default();
    let extension = parts.next();
    // Digits end with the CR or the semicolon, so that none at all is only short when neither is there.
    let more_may_come = extension.is_none() && !line.contains(&b'\r');
    let valid = text.len() <= CHUNK_LINE_BYTES_MAX as usize
        && (more_may_come || !digits.is_empty())
        && digits.iter().all(u8::is_ascii_hexdigit)
        && is_text(extension.unwrap_or_default());
    let significant = String::from_utf8_lossy(digits).trim_start_matches('0').to_owned();
    let size = match significant.as_str() {
        "" => Ok(0),
        digits => i64::from_str_radix(digits, 16),
    };
    match size {
        Ok(size) if valid && whole => Ok((size.unsigned_abs(), line.len())),
        Ok(_) if valid => Err(Stop::Short),
        _ => Err(Stop::Bad),
    }
}
