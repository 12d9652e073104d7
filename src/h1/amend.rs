//! What else changes in the field lines of a head, while they are written.

use crate::http::Name;

/// Sees the field lines of a head on their way out, one by one.
pub trait Amend {
    /// Writes a field line that the message brought: as it came, changed, or not at all.
    fn line(&mut self, out: &mut Vec<u8>, known: Name, name: &[u8], value: &[u8]);

    /// Writes what comes on top, behind all other lines.
    fn end(&mut self, out: &mut Vec<u8>);
}

/// Nothing changes.
#[derive(Clone, Copy, Debug)]
pub struct AsItCame;

impl Amend for AsItCame {
    fn line(&mut self, out: &mut Vec<u8>, _: Name, name: &[u8], value: &[u8]) {
        write_line(out, name, value);
    }

    fn end(&mut self, _: &mut Vec<u8>) {}
}

/// Writes a field line.
pub fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + b": \r\n".len());
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
