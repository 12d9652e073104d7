//! The field lines of a stored head, those that are wanted.

use crate::cache::stored::Head;
use crate::http::{Name, status};

/// Whether a field describes content that a 304 does not bring (RFC 9110, section 15.4.5).
pub(super) const fn describes_content(name: Name) -> bool {
    matches!(name, Name::ContentType | Name::ContentEncoding)
}

/// Writes a status line, and those of the head's field lines that are wanted.
pub(super) fn write_lines(out: &mut Vec<u8>, code: u16, head: &Head, wanted: impl Fn(Name) -> bool) {
    for part in ["HTTP/1.1 ", itoa::Buffer::new().format(code), " ", status::phrase(code), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for line in head.field_lines().split_inclusive(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if wanted(Name::recognise(name)) {
            out.extend_from_slice(line);
        }
    }
}
