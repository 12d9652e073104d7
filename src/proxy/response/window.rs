//! The windows that content passes through: framed for the other side where it lies.

use crate::h1::body::Encoder;
use crate::h1::chunked::PREFIX_BYTES_MAX;
use crate::net::buffer::Class;
use crate::net::{Buffer, BufferPool};

/// An empty window for the next piece of content: as large as what is still to come, where that is
/// known, but not much larger than what came last.
pub(in crate::proxy) fn next_window(
    pool: &BufferPool,
    used: Buffer,
    last: usize,
    remaining: Option<u64>,
) -> Buffer {
    let class = next_class(last, remaining);
    if class == used.class() {
        let mut window = used;
        window.clear();
        return window;
    }
    drop(used);
    pool.take(class)
}

/// How large that is.
pub(in crate::proxy) fn next_class(last: usize, remaining: Option<u64>) -> Class {
    let expected = last.saturating_mul(2);
    Class::fitting(match remaining {
        Some(remaining) => {
            usize::try_from(remaining).unwrap_or(usize::MAX).min(expected.max(Class::Medium.room()))
        }
        None => expected,
    })
}

/// Frames the content of a window where it lies.
pub(in crate::proxy) fn frame(window: &mut Buffer, encoder: Encoder) {
    let length = window.len();
    let mut prefix = [0; PREFIX_BYTES_MAX];
    // The headroom is larger than any size line, the tailroom than any chunk's end.
    let fits = window.append(encoder.suffix(length)) && window.prepend(encoder.prefix(length, &mut prefix));
    debug_assert!(fits, "a window has room for the framing of its content");
}
