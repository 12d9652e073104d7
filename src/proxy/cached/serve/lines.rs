//! The field lines of a stored head, those that are wanted.

use crate::cache::stored::Head;
use crate::h1::amend::Amend;
use crate::http::fields::{Written, written_lines};
use crate::http::{Name, status};
use crate::proxy::response::amend::Amendments;

/// Whether a field describes content that a 304 does not bring (RFC 9110, section 15.4.5).
pub(super) const fn describes_content(name: Name) -> bool {
    matches!(name, Name::ContentType | Name::ContentEncoding)
}

/// Writes a status line, and those of the head's field lines that are wanted.
pub(super) fn write_lines(
    out: &mut Vec<u8>,
    code: u16,
    head: &Head,
    mut amend: Option<&mut Amendments<'_>>,
    wanted: impl Fn(Name) -> bool,
) {
    for part in ["HTTP/1.1 ", itoa::Buffer::new().format(code), " ", status::phrase(code), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for Written { known, name, value, line } in written_lines(head.field_lines()) {
        match &mut amend {
            _ if !wanted(known) => {}
            Some(amend) => amend.line(out, known, name, value),
            None => out.extend_from_slice(line),
        }
    }
}
