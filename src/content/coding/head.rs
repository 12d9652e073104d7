//! The head of a response whose content goes out in another form than it came in, or may do so for others.

use super::Way;
use crate::http::Name;
use crate::http::coding::Coding;
use crate::http::fields::{Written, written_head};
use crate::http::vary::Varying;

/// What Vary has to list.
pub const VARY: &[u8] = b"Accept-Encoding";

/// What a head has to say of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is as it came; others may get it in another form.
    Varied,
    /// It is in this coding now, or in none.
    Changed(Option<Coding>),
}

impl Form {
    /// What a head with that status and tag has to say; none where it stays as it is. `asked` are the values of
    /// If-None-Match.
    pub fn of<'a>(
        way: Way,
        status: u16,
        tag: Option<&[u8]>,
        mut asked: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Form> {
        let is_validated = status == 304;
        match way {
            Way::AsItCame | Way::Varied if is_validated && is_asked_as_weak(tag, &mut asked) => {
                Some(Form::Changed(None))
            }
            Way::AsItCame => None,
            Way::Varied => Some(Form::Varied),
            // There is no content that could have a coding.
            Way::Encode(_) if is_validated => Some(Form::Changed(None)),
            Way::Encode(coding) => Some(Form::Changed(Some(coding))),
            Way::Decode(_) => Some(Form::Changed(None)),
        }
    }

    /// What becomes of a field line that came. Vary is for [`Varying`] to see to. A length that came is that of content
    /// that goes out in another form.
    pub fn line(self, known: Name, name: &[u8], value: &[u8]) -> Line {
        match (self, known) {
            (Form::Varied, _) => Line::Stays,
            (_, Name::ContentLength | Name::ContentEncoding) => Line::Goes,
            (_, Name::Other) if is_of_the_bytes(name) => Line::Goes,
            (_, Name::ETag) if is_strong(value) => Line::Weakens,
            _ => Line::Stays,
        }
    }

    /// The coding that the head has to name.
    pub fn coding(self) -> Option<Coding> {
        if let Form::Changed(coding) = self { coding } else { None }
    }
}

/// What becomes of a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It stays as it is.
    Stays,
    /// It is left out.
    Goes,
    /// It is a strong entity-tag, and becomes a weak one.
    Weakens,
}

/// The most that a head grows by.
pub const GROWTH_MAX: usize = 64;

/// Fields that describe the bytes of the content as they came: digests of them, that parts of them can be had, and what
/// follows them.
const OF_THE_BYTES: [&[u8]; 6] =
    [b"accept-ranges", b"content-digest", b"content-md5", b"digest", b"repr-digest", b"trailer"];

/// Writes a head again that is to be kept, as its content will be. The empty line at its end may be missing, and what is
/// behind it is copied.
pub fn rewrite(out: &mut Vec<u8>, head: &[u8], form: Form) {
    let first = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    out.extend_from_slice(&head[..first]);
    let mut at = first;
    let mut varying = Varying::new([Some(VARY), None]);
    for Written { known, name, value, line } in written_head(head) {
        at += line.len();
        match form.line(known, name, value) {
            Line::Stays => out.extend_from_slice(line),
            Line::Goes => continue,
            Line::Weakens => put(out, &[b"ETag: W/", value, b"\r\n"]),
        }
        if known == Name::Vary {
            let behind = line.len() - line.trim_ascii_end().len();
            varying.see(value, out.len() - behind);
        }
    }
    if let Some(coding) = form.coding() {
        put(out, &[b"Content-Encoding: ", coding.name().as_bytes(), b"\r\n"]);
    }
    varying.write(out);
    out.extend_from_slice(&head[at..]);
}

/// Whether a client has the weak form of a strong tag: it has content that was compressed here.
fn is_asked_as_weak<'a>(tag: Option<&[u8]>, mut asked: impl Iterator<Item = &'a [u8]>) -> bool {
    let Some(tag) = tag.filter(|tag| is_strong(tag)) else { return false };
    asked.any(|value| {
        memchr::memmem::find_iter(value, b"W/\"").any(|at| value[at + b"W/".len()..].starts_with(tag))
    })
}

fn is_of_the_bytes(name: &[u8]) -> bool {
    OF_THE_BYTES.iter().any(|described| name.eq_ignore_ascii_case(described))
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
