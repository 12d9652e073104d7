//! Texts that were looked through a moment ago, and in which nothing was found: clients say the same of themselves with
//! each request.

/// So many are remembered.
const TEXTS: usize = 64;
/// The longest of them.
const BYTES_MAX: usize = 256;

/// See the module. Each text has one place, where a later one takes the place of an earlier.
#[derive(Debug)]
pub(super) struct Seen {
    texts: Vec<(u64, Vec<u8>)>,
    random: ahash::RandomState,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { texts: vec![(0, Vec::new()); TEXTS], random: ahash::RandomState::new() }
    }
}

impl Seen {
    /// Whether nothing is found in that text by whoever has this number.
    pub(super) fn knows(&self, number: u64, text: &[u8]) -> bool {
        let (owner, known) = &self.texts[self.place(number, text)];
        *owner == number && known == text && !text.is_empty()
    }

    /// Nothing was found.
    pub(super) fn learn(&mut self, number: u64, text: &[u8]) {
        if text.len() > BYTES_MAX {
            return;
        }
        let place = self.place(number, text);
        let (owner, known) = &mut self.texts[place];
        *owner = number;
        known.clear();
        known.extend_from_slice(text);
    }

    fn place(&self, number: u64, text: &[u8]) -> usize {
        usize::try_from(self.random.hash_one((number, text)) % TEXTS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_to_whom_it_was_nothing() {
        let mut seen = Seen::default();
        assert!(!seen.knows(0, b"") && !seen.knows(0, b"a"));
        seen.learn(1, b"a");
        assert!(seen.knows(1, b"a") && !seen.knows(2, b"a") && !seen.knows(1, b"b"));
        seen.learn(1, &[b'a'; BYTES_MAX + 1]);
        assert!(!seen.knows(1, &[b'a'; BYTES_MAX + 1]));
        for number in 0..10_000u32 {
            seen.learn(1, &number.to_be_bytes());
            assert!(seen.knows(1, &number.to_be_bytes()));
        }
        assert!(!seen.knows(1, b"a"), "they are few");
    }
}
