//! The bytes of a cacheable response, for the origin that sends them and the load generator that checks them.
//!
//! One fixed sequence of pseudo-random bytes, repeated; the name of a response says where in it the content
//! starts. The period is a prime, so that neither another response's bytes nor bytes of this one from another
//! place look right (but for one in 65,521). `measure.py` has the same in Python.

use std::ops::Range;

/// Bytes after which the sequence repeats.
const PERIOD: usize = 65_521;

/// The sequence.
pub(crate) struct Pattern(Box<[u8]>);

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        Self(std::iter::repeat_with(next).take(PERIOD).collect())
    }

    /// That range of the content of `name`, in pieces.
    pub(crate) fn pieces(&self, name: &[u8], range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let mut at = (start(name) + range.start) % PERIOD;
        let mut left = range.len();
        std::iter::from_fn(move || {
            let piece = &self.0[at..PERIOD.min(at + left)];
            left -= piece.len();
            at = 0;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Where the content of `name` starts: FNV-1a, modulo the period.
fn start(name: &[u8]) -> usize {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    usize::try_from(hash % 65_521).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_whole() {
        let pattern = Pattern::new();
        let whole = pattern.pieces(b"name", 0..200_000).collect::<Vec<_>>().concat();
        assert_eq!(whole.len(), 200_000);
        assert_eq!(
            pattern.pieces(b"name", 60_000..140_000).collect::<Vec<_>>().concat(),
            whole[60_000..140_000]
        );
        assert_eq!(pattern.pieces(b"name", 7..7).count(), 0);
        assert_ne!(pattern.pieces(b"nome", 0..64).collect::<Vec<_>>().concat(), whole[..64]);
    }
}
