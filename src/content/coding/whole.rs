//! Compressing short content as a whole, with all of it in hand: that takes much less time than a stream does, and
//! one memory serves all responses of a core, so that it stays in the cache.

use libdeflater::{CompressionLvl, Compressor};

/// Makes whole members of `gzip` (RFC 1952).
pub struct Whole {
    level: u8,
    compressor: Compressor,
}

impl Whole {
    /// The level beyond those of streams: it makes 4 % less of content than 9 does, in four to eight times the time. What
    /// the library has beyond makes hardly less.
    pub const HARDEST: u8 = 10;

    /// For a level from 1 to 9, as streams have it, or [the hardest](Whole::HARDEST).
    pub fn new(level: u8) -> Whole {
        // The level that makes it no longer than the stream's does, and takes the least time.
        let own = match level {
            0..=2 => 1,
            3 | 4 => 2,
            5 => 3,
            6 => 5,
            7 => 6,
            8 => 7,
            9 => 8,
            _ => 10,
        };
        Whole { level, compressor: Compressor::new(CompressionLvl::new(own).unwrap_or_default()) }
    }

    /// The level that was asked for.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Bytes of content that are compressed at once at most: more would hold the core for too long.
    pub const fn bytes_max(level: u8) -> usize {
        match level {
            0..=6 => 128 * 1024,
            7 => 96 * 1024,
            _ => 64 * 1024,
        }
    }

    /// Writes all that is made of the content, and says how long that is. None if there is no room for it.
    pub fn make(&mut self, content: &[u8], out: &mut [u8]) -> Option<usize> {
        self.compressor.gzip_compress(content, out).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encoder::tests::oracle;
    use super::*;
    use crate::http::coding::Coding;

    #[test]
    fn what_has_no_room_is_not_made() {
        let mut whole = Whole::new(2);
        let mut out = [0; 64];
        let noise: Vec<u8> = (0..200_u32).map(|number| (number * number * 31 % 251) as u8).collect();
        assert_eq!(whole.make(&noise, &mut out), None);
        assert_eq!(whole.make(b"", &mut out[..8]), None);
        assert!(whole.make(b"", &mut out).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn an_independent_decoder_gets_back_whatever_went_in(
            contents in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![3 => Just(b'a'), 1 => any::<u8>()], 0..20_000), 1..4),
            level in 1_u8..=Whole::HARDEST,
        ) {
            // The same memory serves one after the other.
            let mut whole = Whole::new(level);
            for content in contents {
                let mut out = vec![0; content.len() + 1024];
                let length = whole.make(&content, &mut out).unwrap();
                let made = oracle(Coding::Gzip, &out[..length]);
                prop_assert!(made.as_ref() == Ok(&content));
                prop_assert!(oracle(Coding::Gzip, &out[..length - 1]).is_err());
            }
        }
    }
}
