//! Paths: the one place that says which spellings of a path are the same (RFC 3986, section 6.2.2).
//!
//! Routes are matched by the normal form of a path, and nothing else: what one spelling is denied, no other
//! spelling gets. In normal form
//!
//! - an escape of an unreserved character is that character, and every other escape has upper-case digits;
//! - there is no empty segment but the last, which says that the path ends with a slash;
//! - there are no segments `.` and `..`. One that leads above the root stays there.
//!
//! Every other byte is kept as it was sent. An escaped slash stays escaped, and so does a colon: whether they mean
//! what they would mean in the open is for the upstream to say, and [`readings`] are those of all who may say so.

use super::query::hex;

/// Why there is no normal form: the path does not begin with a slash, an escape has no two hexadecimal digits,
/// or there is a NUL, escaped or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPath;

impl std::fmt::Display for BadPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it does not begin with a slash, has a malformed escape or a NUL")
    }
}

impl std::error::Error for BadPath {}

/// Whether the path is in normal form, as nearly every one is.
pub fn is_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut rest = path;
    while let Some(at) = rest.iter().position(|&byte| IS_SPECIAL[usize::from(byte)]) {
        let (byte, after) = (rest[at], &rest[at + 1..]);
        let keeps = match byte {
            b'/' => !matches!(
                after,
                [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
            ),
            b'%' => matches!(escape(after), Some((byte, true)) if byte != 0 && !is_unreserved(byte)),
            _ => false,
        };
        if !keeps {
            return false;
        }
        rest = after;
    }
    true
}

/// Appends the normal form of a path. It is never longer than the path.
///
/// # Errors
/// [`BadPath`] if there is none; nothing is appended then.
pub fn normalise(path: &[u8], out: &mut Vec<u8>) -> Result<(), BadPath> {
    read(path, Reading::PLAIN, out)
}

/// How somebody may read a path who finds more in it than its normal form says. Some take `%2F` for a slash, some a
/// backslash; some look at a visible character where there is an escaped one, and may find the query there; some
/// take what follows a `;` for no part of the segment, which makes `..;` go up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    kinds: u8,
    resolves: bool,
}

/// An escaped slash is one.
const ESCAPED: u8 = 1;
/// A backslash is one.
const BACKSLASH: u8 = 2;
/// An escaped backslash is one.
const ESCAPED_BACKSLASH: u8 = 4;
/// A segment ends at its `;`.
const PARAMETERS: u8 = 8;
/// Other visible characters are what their escapes stand for.
const SHOWN: u8 = 16;

impl Reading {
    const PLAIN: Reading = Reading { kinds: 0, resolves: true };

    /// All that is a slash to somebody is one.
    pub const SLASHES: Reading = Reading { kinds: ESCAPED | BACKSLASH | ESCAPED_BACKSLASH, resolves: true };

    /// Whether dot segments that come to light are resolved. Some look at a path before that.
    pub const fn resolves(self) -> bool {
        self.resolves
    }

    const fn has(self, kind: u8) -> bool {
        self.kinds & kind != 0
    }

    /// How long the slash is that a text begins with, if it does.
    fn slash(self, rest: &[u8]) -> Option<usize> {
        match (rest, hidden_slash(rest)) {
            ([b'/', ..], _) => Some(1),
            (_, Some((kind, length))) if self.has(kind) => Some(length),
            _ => None,
        }
    }

    /// The visible character that an escape with these digits is taken for.
    fn shown(self, digits: &[u8]) -> Option<u8> {
        shown(digits).filter(|_| self.has(SHOWN))
    }

    /// How much of a segment counts.
    fn length(self, segment: &[u8]) -> usize {
        let parameters =
            memchr::memmem::find(segment, b"%3B").into_iter().chain(memchr::memchr(b';', segment));
        parameters.min().filter(|_| self.has(PARAMETERS)).unwrap_or(segment.len())
    }

    /// How many levels a segment goes up: 0 for `.`, 1 for `..`, none for a name.
    fn levels(self, segment: &[u8]) -> Option<usize> {
        match segment {
            b"." if self.resolves => Some(0),
            b".." if self.resolves => Some(1),
            _ => None,
        }
    }
}

/// All the ways to read a path beside the plain one: none for nearly every path.
pub fn readings(path: &[u8]) -> impl Iterator<Item = Reading> {
    let kinds = memchr::memchr3_iter(b'%', b'\\', b';', path).fold(0, |kinds, at| {
        kinds
            | match (&path[at..], hidden_slash(&path[at..])) {
                (_, Some((kind, _))) => kind,
                ([b';', ..], _) => PARAMETERS,
                ([b'%', digits @ ..], _) => match shown(digits) {
                    Some(b';') => PARAMETERS | SHOWN,
                    Some(_) => SHOWN,
                    None => 0,
                },
                _ => 0,
            }
    });
    (1..=kinds)
        .filter(move |some| some & !kinds == 0)
        .flat_map(|kinds| [true, false].map(|resolves| Reading { kinds, resolves }))
}

/// Appends the path as it comes out when it is read like that.
///
/// # Errors
/// [`BadPath`]; nothing is appended then.
pub fn read(path: &[u8], reading: Reading, out: &mut Vec<u8>) -> Result<(), BadPath> {
    let base = out.len();
    let written = append(path, reading, base, out);
    if written.is_err() {
        out.truncate(base);
    }
    written
}

fn append(path: &[u8], reading: Reading, base: usize, out: &mut Vec<u8>) -> Result<(), BadPath> {
    let mut rest = path.strip_prefix(b"/").ok_or(BadPath)?;
    out.reserve(path.len());
    out.push(b'/');
    // What is written always ends with a slash here; the segment that follows is complete at the next one.
    let mut start = out.len();
    loop {
        let parted = reading.slash(rest);
        if rest.is_empty() || parted.is_some() {
            out.truncate(start + reading.length(&out[start..]));
            match reading.levels(&out[start..]) {
                // A segment of nothing but parameters is one that is empty.
                _ if out.len() == start => {}
                Some(0) => out.truncate(start),
                Some(_) => {
                    let above = out[base..start - 1].iter().rposition(|&byte| byte == b'/');
                    out.truncate(base + above.unwrap_or(0) + 1);
                }
                None if parted.is_some() => out.push(b'/'),
                None => {}
            }
            start = out.len();
        }
        rest = match (parted, rest) {
            (Some(length), _) => &rest[length..],
            (None, []) => return Ok(()),
            (None, [b'%', after @ ..]) => {
                match reading.shown(after) {
                    // What follows is the query, or not sent at all.
                    Some(b'?' | b'#') => b"",
                    Some(byte) => {
                        out.push(byte);
                        &after[2..]
                    }
                    None => {
                        append_escape(after, out)?;
                        &after[2..]
                    }
                }
            }
            (None, [0, ..]) => return Err(BadPath),
            (None, [byte, after @ ..]) => {
                out.push(*byte);
                after
            }
        };
    }
}

/// Appends what the escape with these digits is in normal form.
fn append_escape(digits: &[u8], out: &mut Vec<u8>) -> Result<(), BadPath> {
    match escape(digits) {
        None | Some((0, _)) => Err(BadPath),
        Some((byte, _)) if is_unreserved(byte) => {
            out.push(byte);
            Ok(())
        }
        Some(_) => {
            let digit = |at: usize| digits[at].to_ascii_uppercase();
            out.extend_from_slice(&[b'%', digit(0), digit(1)]);
            Ok(())
        }
    }
}

/// The byte that the first two of these digits stand for, and whether they are in upper case.
fn escape(digits: &[u8]) -> Option<(u8, bool)> {
    let [high, low, ..] = digits else { return None };
    let byte = hex(*high)? << 4 | hex(*low)?;
    Some((byte, !high.is_ascii_lowercase() && !low.is_ascii_lowercase()))
}

/// The visible character that is escaped by these digits, unless that makes no difference, or would make another
/// escape or a slash.
fn shown(digits: &[u8]) -> Option<u8> {
    let (byte, _) = escape(digits)?;
    let is_other = !matches!(byte, b'%' | b'/' | b'\\') && !is_unreserved(byte);
    (byte.is_ascii_graphic() && is_other).then_some(byte)
}

/// The kind and the length of the hidden slash that a text begins with.
fn hidden_slash(rest: &[u8]) -> Option<(u8, usize)> {
    match rest {
        [b'\\', ..] => Some((BACKSLASH, 1)),
        [b'%', b'2', b'f' | b'F', ..] => Some((ESCAPED, 3)),
        [b'%', b'5', b'c' | b'C', ..] => Some((ESCAPED_BACKSLASH, 3)),
        _ => None,
    }
}

/// Characters that mean the same escaped or not (RFC 3986, section 2.3).
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The bytes at which a path may leave its normal form.
const IS_SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    table[b'/' as usize] = true;
    table[b'%' as usize] = true;
    table[0] = true;
    table
};

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
