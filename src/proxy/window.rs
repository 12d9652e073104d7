//! The windows that content passes through: framed for the other side where it lies.

use crate::h1::body::{Decoder, Encoder};
use crate::h1::chunked::PREFIX_BYTES_MAX;
use crate::h1::{encode, head};
use crate::http::Fields;
use crate::limits::Limits;
use crate::net::buffer::Class;
use crate::net::{Buffer, BufferPool};

/// An empty window for the next piece of content: as large as what is still to come, where that is
/// known, but not much larger than what came last.
pub(super) fn next_window(pool: &BufferPool, used: Buffer, last: usize, remaining: Option<u64>) -> Buffer {
    let expected = last.saturating_mul(2);
    let wanted = match remaining {
        Some(remaining) => {
            usize::try_from(remaining).unwrap_or(usize::MAX).min(expected.max(Class::Medium.room()))
        }
        None => expected,
    };
    let class = Class::fitting(wanted);
    if class == used.class() {
        let mut window = used;
        window.clear();
        return window;
    }
    drop(used);
    pool.take(class)
}

/// Frames the content of a window where it lies.
pub(super) fn frame(window: &mut Buffer, encoder: Encoder) {
    let length = window.len();
    let mut prefix = [0; PREFIX_BYTES_MAX];
    // The headroom is larger than any size line, the tailroom than any chunk's end.
    let fits = window.append(encoder.suffix(length)) && window.prepend(encoder.prefix(length, &mut prefix));
    debug_assert!(fits, "a window has room for the framing of its content");
}

/// Appends what ends the message: the last chunk, with the trailer fields that may be passed on. In
/// the rare window that has no room left for them, they are dropped, as every recipient may (RFC 9110,
/// section 6.5.1). Says whether the trailer section was well-formed.
pub(super) fn append_end(out: &mut Buffer, encoder: Encoder, decoder: &Decoder, limits: &Limits) -> bool {
    match decoder.trailers() {
        Some(section) if encoder == Encoder::Chunked => {
            let mut lines = Vec::new();
            let mut end = Vec::with_capacity(section.len() + 8);
            if head::parse_fields(section, limits, &mut lines).is_err() {
                return false;
            }
            encode::trailers(&mut end, Fields::new(section, &lines));
            out.append(&end) || out.append(encoder.end())
        }
        _ => out.append(encoder.end()),
    }
}
