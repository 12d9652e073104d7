//! Content that compresses about as pages do, for the origin: words of which a few are frequent, in a list
//! with its mark-up, with a number here and there. Always the same.

/// Words that there are.
const WORDS: usize = 500;

/// So many bytes of it.
pub(crate) fn page(size: usize) -> Vec<u8> {
    let mut random = Random(1);
    let words: Vec<Vec<u8>> = (0..WORDS).map(|_| random.word()).collect();
    let mut text = Vec::with_capacity(size + 64);
    let mut line = 0;
    while text.len() < size {
        let heading: &[u8] = if line % 8 == 0 { b"</ul>\n<ul class=\"list list-plain\">\n" } else { b"" };
        let number = random.below(1_000_000).to_string();
        let word = &words[random.below(WORDS)];
        for part in [
            heading,
            b"  <li class=\"item\"><a class=\"title\" href=\"/items/",
            number.as_bytes(),
            b"\">",
            word,
            b"</a>\n    <p class=\"text\">",
        ] {
            text.extend_from_slice(part);
        }
        for _ in 0..12 {
            // The smallest of three draws: a few words come often, most of them rarely.
            let place = random.below(WORDS).min(random.below(WORDS)).min(random.below(WORDS));
            text.extend_from_slice(&words[place]);
            text.push(b' ');
        }
        text.extend_from_slice(b"</p></li>\n");
        line += 1;
    }
    text.truncate(size);
    text
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % most
    }

    fn word(&mut self) -> Vec<u8> {
        (0..2 + self.below(7))
            .map(|_| b"etaoinshrdlucmfwypvbgkqjxz"[self.below(26).min(self.below(26))])
            .collect()
    }
}
