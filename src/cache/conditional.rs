//! Conditional requests as a cache answers them (RFC 9110, section 13; RFC 9111, section 4.3): whether the
//! client already has what is stored, whether its Range applies, and which stored response a 304 confirms.
//!
//! A condition that is malformed never makes an answer shorter: the client gets the whole response.

use crate::http::{Fields, Name, date};

/// How long before Date a Last-Modified must lie to be a strong validator, in seconds: so far apart, two
/// clocks that disagree are no concern any more (RFC 9110, section 8.8.2.2).
const STRONG_DATE_DISTANCE_S: i64 = 60;

/// What identifies one state of a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators<'a> {
    /// ETag as in the field, `"…"` or `W/"…"`; one that is malformed matches nothing.
    pub etag: Option<&'a [u8]>,
    /// Last-Modified, where it is a date, in seconds since 1970.
    pub last_modified_s: Option<i64>,
    /// Date, or where it is missing or no date the receipt, in seconds since 1970.
    pub date_s: i64,
}

/// What a stored response is to a conditional request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent as to any request.
    Full,
    /// The client has it: 304.
    NotModified,
}

/// Evaluates If-None-Match, and where there is none If-Modified-Since, of a GET or HEAD request against a
/// stored response of status 200 (RFC 9110, sections 13.1.2, 13.1.3 and 13.2.2; RFC 9111, section 4.3.2).
pub fn evaluate(request: Fields<'_>, stored: Validators<'_>) -> Verdict {
    let has_it = if request.first(Name::IfNoneMatch).is_some() {
        none_match_names(request, stored.etag)
    } else {
        // Without a Last-Modified, what was sent at a moment was not modified after it.
        let changed_s = stored.last_modified_s.unwrap_or(stored.date_s);
        only(request, Name::IfModifiedSince).and_then(date::parse).is_some_and(|since_s| changed_s <= since_s)
    };
    if has_it { Verdict::NotModified } else { Verdict::Full }
}

/// Whether If-None-Match lists the tag, by weak comparison, or is `*`.
fn none_match_names(request: Fields<'_>, etag: Option<&[u8]>) -> bool {
    if only(request, Name::IfNoneMatch) == Some(b"*") {
        return true;
    }
    let Some(etag) = etag else { return false };
    request.values(Name::IfNoneMatch).flat_map(Tags).any(|tag| weak_match(tag, etag))
}

/// Whether the Range of a request applies to a stored response: there is no If-Range, or it names this very
/// state (RFC 9110, section 13.1.5). Tags are compared strongly, and a date has to be Last-Modified to the
/// second, and a strong validator.
pub fn range_applies(request: Fields<'_>, stored: Validators<'_>) -> bool {
    if request.first(Name::IfRange).is_none() {
        return true;
    }
    let Some(condition) = only(request, Name::IfRange) else { return false };
    if etag_is_valid(condition) {
        return stored.etag.is_some_and(|etag| strong_match(condition, etag));
    }
    let Some(last_modified_s) = stored.last_modified_s else { return false };
    is_strong_date(last_modified_s, stored.date_s) && date::parse(condition) == Some(last_modified_s)
}

fn is_strong_date(last_modified_s: i64, date_s: i64) -> bool {
    date_s.saturating_sub(last_modified_s) >= STRONG_DATE_DISTANCE_S
}

/// Which stored response a 304 is about, of those that its request could have chosen (RFC 9111, section
/// 4.3.4), by index; the most recent where there are several. `None`: it must not freshen any of them.
///
/// A tag in the 304 decides alone. Without one, Last-Modified does; and a 304 that has neither speaks of
/// the only stored response, if that has none either.
pub fn selected_by_304<'a>(
    response: Fields<'_>,
    stored: impl Iterator<Item = Validators<'a>>,
) -> Option<usize> {
    let etag = only(response, Name::ETag).filter(|etag| etag_is_valid(etag));
    let last_modified_s = only(response, Name::LastModified).and_then(date::parse);
    let says_nothing = response.first(Name::ETag).is_none() && response.first(Name::LastModified).is_none();
    let mut selected: Option<(usize, i64)> = None;
    let mut bare = 0;
    let mut count = 0;
    for (index, stored) in stored.enumerate() {
        count += 1;
        bare += usize::from(stored.etag.is_none() && stored.last_modified_s.is_none());
        let is_meant = match (etag, last_modified_s) {
            (Some(etag), _) if is_weak(etag) => stored.etag.is_some_and(|other| weak_match(etag, other)),
            (Some(etag), _) => stored.etag.is_some_and(|other| strong_match(etag, other)),
            (None, Some(_)) => stored.last_modified_s == last_modified_s,
            (None, None) => false,
        };
        if is_meant && selected.is_none_or(|(_, date_s)| date_s < stored.date_s) {
            selected = Some((index, stored.date_s));
        }
    }
    if says_nothing && count == 1 && bare == 1 {
        return Some(0);
    }
    selected.map(|(index, _)| index)
}

/// Whether a 304 bears a tag that stands for the very same bytes. A weak tag or a date may be that of several
/// codings of one content, of which a client may be able to read only some (RFC 9110, section 8.8.1).
pub fn names_bytes(response: Fields<'_>) -> bool {
    only(response, Name::ETag).is_some_and(|etag| etag_is_valid(etag) && !is_weak(etag))
}

/// Whether the validators in an answer to HEAD are those of a stored response (RFC 9111, section 4.3.5). Those
/// that it does not have do not matter.
pub fn agrees(response: Fields<'_>, stored: Validators<'_>) -> bool {
    let of_tag = response.first(Name::ETag).is_none_or(|etag| stored.etag == Some(etag));
    let modified = response.first(Name::LastModified).map(date::parse);
    of_tag && modified.is_none_or(|modified| modified.is_some() && modified == stored.last_modified_s)
}

/// The value of a field that is there exactly once.
fn only(fields: Fields<'_>, name: Name) -> Option<&[u8]> {
    let mut values = fields.values(name);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Whether this is an entity-tag: `"…"` or `W/"…"` (RFC 9110, section 8.8.3).
pub fn etag_is_valid(value: &[u8]) -> bool {
    tag_end(value) == Some(value.len())
}

/// Strong comparison: both are valid, neither is weak, and they are the same (RFC 9110, section 8.8.3.2).
pub fn strong_match(one: &[u8], other: &[u8]) -> bool {
    !is_weak(one) && one == other && etag_is_valid(one)
}

/// Weak comparison: both are valid, and the same but for their weakness (RFC 9110, section 8.8.3.2).
pub fn weak_match(one: &[u8], other: &[u8]) -> bool {
    opaque(one) == opaque(other) && etag_is_valid(one) && etag_is_valid(other)
}

fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Where the entity-tag ends that `text` begins with. Nothing in it is escaped: a backslash is a
/// backslash.
fn tag_end(text: &[u8]) -> Option<usize> {
    let quoted = opaque(text).strip_prefix(b"\"")?;
    let end = quoted.iter().position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
    (quoted[end] == b'"').then_some(text.len() - quoted.len() + end + 1)
}

/// The entity-tags of a list, up to the first thing that is none.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let is_between = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
        let start = self.0.iter().position(|byte| !is_between(byte)).unwrap_or(self.0.len());
        let rest = &self.0[start..];
        let (tag, rest) = rest.split_at(tag_end(rest).unwrap_or_default());
        self.0 = rest;
        // Without a comma behind it, it is part of something else.
        let follower = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        let ends = matches!(follower, None | Some(b','));
        if !ends {
            self.0 = b"";
        }
        (ends && !tag.is_empty()).then_some(tag)
    }
}

#[cfg(test)]
#[path = "conditional_tests.rs"]
mod tests;
