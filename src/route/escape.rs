//! Which bytes stand for themselves where, and how the others are written: percent-encoding (RFC 3986,
//! section 2.1), and the escapes of HTML and JSON.

use super::template::BadValue;
use crate::http::query;

/// Letters, digits, `-`, `.`, `_` and `~`: what never needs an escape (RFC 3986, section 2.3).
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a byte of a value stands for itself within a segment. A semicolon does not: some take what is behind
/// it for a parameter, and what is in front of it for the segment.
pub(super) const fn is_segment_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b':' | b'=' | b'@')
}

/// Whether a byte of a value stands for itself within a parameter of a query.
pub(super) const fn is_parameter_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'/' | b':' | b'@' | b',')
}

/// Whether a host with its port may have the byte; escapes have no place there.
pub(super) const fn is_host_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b':' | b'[' | b']')
}

/// Whether a target may have the byte: see [`crate::http::target`].
pub(super) const fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// Whether the path of a target may have the byte.
pub(super) const fn is_path_byte(byte: u8) -> bool {
    is_target_byte(byte) && byte != b'?'
}

/// Whether a URL may have the byte (RFC 3986, section 2).
pub(super) const fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// Appends a byte, percent-encoded unless it stands for itself.
pub(super) fn put_byte(byte: u8, is_itself: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    if is_itself(byte) {
        out.push(byte);
    } else {
        out.push(b'%');
        out.extend_from_slice(&digits(byte));
    }
}

/// A byte in hexadecimal.
fn digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Appends bytes, percent-encoded where they do not stand for themselves.
pub(super) fn put_bytes(bytes: &[u8], is_itself: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    for &byte in bytes {
        put_byte(byte, &is_itself, out);
    }
}

/// Appends what may be percent-encoded already: escapes stay, and a `%` that begins none becomes one.
pub(super) fn put_encoded(bytes: &[u8], is_itself: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let [byte, behind @ ..] = rest {
        let is_escape = matches!(rest, [b'%', high, low, ..]
            if query::hex(*high).is_some() && query::hex(*low).is_some());
        put_byte(*byte, |byte| is_escape || byte != b'%' && is_itself(byte), out);
        rest = behind;
    }
}

/// What a value must not mean in a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Whatever it has in it is text.
    Nothing,
    /// Markup, in HTML and XML.
    Markup,
    /// The end of a string, in JSON and JavaScript.
    Strings,
}

impl Escape {
    /// By the Content-Type. Where there is none, browsers guess; so it is taken for HTML.
    pub fn of(content_type: &str) -> Escape {
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media.split_once('/').map_or(&*media, |(_, sub)| sub) {
            "" | "html" | "xml" => Escape::Markup,
            "json" | "javascript" | "ecmascript" | "x-javascript" => Escape::Strings,
            sub if sub.ends_with("+xml") || sub.starts_with("xml-") => Escape::Markup,
            sub if sub.ends_with("+json") || sub.ends_with("-json") => Escape::Strings,
            _ => Escape::Nothing,
        }
    }

    /// Appends a byte of a value.
    pub(super) fn put(self, byte: u8, out: &mut Vec<u8>) -> Result<(), BadValue> {
        match (self, byte) {
            (Escape::Markup, b'&') => out.extend_from_slice(b"&amp;"),
            (Escape::Markup, b'<') => out.extend_from_slice(b"&lt;"),
            (Escape::Markup, b'>') => out.extend_from_slice(b"&gt;"),
            (Escape::Markup, b'"') => out.extend_from_slice(b"&quot;"),
            (Escape::Markup, b'\'') => out.extend_from_slice(b"&#39;"),
            // Some attributes have no quotation marks around them, and an ESC can switch the character set.
            (Escape::Markup, b'`') => out.extend_from_slice(b"&#96;"),
            (Escape::Markup, _) if byte.is_ascii_control() && !byte.is_ascii_whitespace() => {
                return Err(BadValue::Control);
            }
            // Beside what ends a string in JSON: what ends one in JavaScript, and what ends a script in HTML.
            (
                Escape::Strings,
                b'"' | b'\\' | b'\'' | b'`' | b'$' | b'<' | b'>' | b'&' | b'/' | 0..=31 | 127,
            ) => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits(byte));
            }
            _ => out.push(byte),
        }
        Ok(())
    }
}
