//! The head of a response whose content goes out in another form than it came in, or may do so for others.

use super::facts::lines;
use crate::http::coding::Coding;
use crate::http::{Name, list};

/// What a head has to say of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is as it came; others may get it in another form.
    Varied,
    /// It is in this coding now, or in none.
    Changed(Option<Coding>),
}

/// Whether the length that stands there is that of the content as it goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// It stays.
    Holds,
    /// It goes.
    Unknown,
}

/// The most that a head grows by.
pub const GROWTH_MAX: usize = 64;

/// Fields that describe the bytes of the content as they came: digests of them, that parts of them can be had, and what
/// follows them.
const OF_THE_BYTES: [&[u8]; 6] =
    [b"accept-ranges", b"content-digest", b"content-md5", b"digest", b"repr-digest", b"trailer"];

/// Writes the head again, as its content will be. The empty line at its end may be missing, and what is behind it
/// is copied.
pub fn rewrite(out: &mut Vec<u8>, head: &[u8], form: Form, length: Length) {
    let first = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    out.extend_from_slice(&head[..first]);
    let mut at = first;
    let has_it = |value: &[u8]| list::tokens(value).any(is_enough);
    let mut varies = lines(head).any(|(name, _, value)| name == Name::Vary && has_it(value));
    for (name, line, value) in lines(head) {
        at += line.len();
        let changed = matches!(form, Form::Changed(_));
        match name {
            Name::ContentLength if length == Length::Unknown => {}
            Name::ContentEncoding if changed => {}
            Name::Other if changed && is_of_the_bytes(line) => {}
            Name::ETag if changed && is_strong(value) => put(out, &[b"ETag: W/", value, b"\r\n"]),
            Name::Vary if !std::mem::replace(&mut varies, true) => match value {
                b"" => out.extend_from_slice(b"Vary: Accept-Encoding\r\n"),
                value => put(out, &[b"Vary: ", value, b", Accept-Encoding\r\n"]),
            },
            _ => out.extend_from_slice(line),
        }
    }
    if let Form::Changed(Some(coding)) = form {
        put(out, &[b"Content-Encoding: ", coding.name().as_bytes(), b"\r\n"]);
    }
    if !varies {
        out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    out.extend_from_slice(&head[at..]);
}

/// The head of a 304 whose origin was asked by a tag that it knows as a strong one: the client has the weak one, of
/// content that was compressed here.
pub fn rewrite_validated<'a>(
    out: &mut Vec<u8>,
    head: &[u8],
    mut asked: impl Iterator<Item = &'a [u8]>,
) -> bool {
    let tag = lines(head).find(|(name, ..)| *name == Name::ETag).map(|(_, _, value)| value);
    let Some(tag) = tag.filter(|tag| is_strong(tag)) else { return false };
    let is_of_ours =
        |value: &[u8]| memchr::memmem::find_iter(value, b"W/\"").any(|at| value[at + 2..].starts_with(tag));
    let is_ours = asked.any(is_of_ours);
    if is_ours {
        rewrite(out, head, Form::Changed(None), Length::Holds);
    }
    is_ours
}

fn is_enough(name: &[u8]) -> bool {
    name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")
}

fn is_of_the_bytes(line: &[u8]) -> bool {
    OF_THE_BYTES.iter().any(|name| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line.get(name.len()) == Some(&b':')
    })
}

/// Whether this is a strong entity-tag (RFC 9110, section 8.8.3).
fn is_strong(tag: &[u8]) -> bool {
    matches!(tag, [b'"', inner @ .., b'"'] if !inner.contains(&b'"'))
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
