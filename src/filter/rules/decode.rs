//! What a text that was sent may be read as by some server: decoded once, twice and more, with escapes of every kind,
//! and with what a server may take out or take for something else.
//!
//! ```text
//!   as sent ──▶ decoded ──▶ decoded again … (ROUNDS_MAX)
//!      │           │             │
//!      ▼           ▼             ▼
//!   squeezed    squeezed      squeezed        each that differs from those before it is a reading
//! ```
//!
//! Decoding takes percent escapes, `%uXXXX`, overlong and other bad UTF-8 for the ASCII that somebody may see in it,
//! and `+` for a blank where forms say so. Squeezing is for what servers and databases do behind that: entities of HTML
//! become characters, backslashes slashes, every white space a blank, full-width letters plain ones; NUL, stray percent
//! signs and comments of SQL go away.

use crate::http::query::hex;

/// So often is decoded: what is deeper is no use to anybody.
const ROUNDS_MAX: usize = 4;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// `+` is itself.
    Path,
    /// `+` is a blank.
    Form,
    /// It is usually not escaped at all.
    Plain,
}

impl Manner {
    /// The place of the reading that a server that keeps to the standards has.
    const fn standard(self) -> usize {
        match self {
            Manner::Path | Manner::Form => 1,
            Manner::Plain => 0,
        }
    }
}

/// Whether a text has but one reading, which is itself, as most have.
pub fn is_plain(sent: &[u8], manner: Manner) -> bool {
    // All of it, without a branch for each byte: nearly every text is plain.
    let kinds = sent.iter().fold(0, |kinds, &byte| kinds | KINDS[usize::from(byte)]);
    if kinds & ODD != 0 || kinds & PLUS != 0 && manner == Manner::Form {
        return false;
    }
    // Without a number or a semicolon behind them they begin no entity.
    !(kinds & AMPERSAND != 0 && memchr::memchr2(b'#', b';', sent).is_some())
}

/// It may be something else.
const ODD: u8 = 1;
const PLUS: u8 = 2;
const AMPERSAND: u8 = 4;

/// What bytes may be beside themselves.
const KINDS: [u8; 256] = {
    let mut table = [ODD; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = 0;
        byte += 1;
    }
    table[b'%' as usize] = ODD;
    table[b'\\' as usize] = ODD;
    table[b'*' as usize] = ODD;
    table[b'+' as usize] = PLUS;
    table[b'&' as usize] = AMPERSAND;
    table
};

/// Memory for readings.
#[derive(Debug, Default)]
pub struct Readings {
    texts: Vec<Vec<u8>>,
    count: usize,
    /// The one that a server that keeps to the standards has.
    standard: usize,
}

impl Readings {
    /// Shows `accepts` every reading of a text, the last with whether it is the standard one, until it accepts one, and
    /// says whether it did.
    pub fn any(&mut self, sent: &[u8], manner: Manner, accepts: &mut dyn FnMut(&[u8], bool) -> bool) -> bool {
        if is_plain(sent, manner) {
            return accepts(sent, true);
        }
        self.read(sent, manner);
        let standard = self.standard;
        self.texts[..self.count].iter().enumerate().any(|(at, text)| accepts(text, at == standard))
    }

    /// Every reading of a text, and the place of the standard one.
    pub fn all(&mut self, sent: &[u8], manner: Manner) -> (&[Vec<u8>], usize) {
        if is_plain(sent, manner) {
            (self.count, self.standard) = (0, 0);
            self.put(sent);
        } else {
            self.read(sent, manner);
        }
        (&self.texts[..self.count], self.standard)
    }

    fn read(&mut self, sent: &[u8], manner: Manner) {
        self.count = 0;
        self.standard = 0;
        let (mut now, mut next) = (self.take(), self.take());
        now.extend_from_slice(sent);
        for round in 0..=ROUNDS_MAX {
            let place = self.put(&now);
            if round <= manner.standard() {
                self.standard = place;
            }
            next.clear();
            squeeze(&now, &mut next);
            self.put(&next);
            next.clear();
            decode(&now, manner, &mut next);
            if next == now {
                break;
            }
            std::mem::swap(&mut now, &mut next);
        }
        self.texts.push(now);
        self.texts.push(next);
    }

    fn take(&mut self) -> Vec<u8> {
        let mut text = self.texts.pop().unwrap_or_default();
        text.clear();
        text
    }

    /// Adds a reading that is not there yet; returns its place.
    fn put(&mut self, text: &[u8]) -> usize {
        if let Some(place) = self.texts[..self.count].iter().position(|known| known == text) {
            return place;
        }
        if self.count == self.texts.len() {
            self.texts.push(Vec::new());
        }
        self.texts[self.count].clear();
        self.texts[self.count].extend_from_slice(text);
        self.count += 1;
        self.count - 1
    }

    /// Bytes of memory that are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.texts.iter().map(Vec::capacity).sum()
    }

    /// Gives up memory that one long text took.
    pub fn shrink(&mut self) {
        const KEPT_BYTES_MAX: usize = 4096;
        self.texts.retain(|text| text.capacity() <= KEPT_BYTES_MAX);
        self.count = 0;
    }
}

/// Decodes once.
fn decode(text: &[u8], manner: Manner, out: &mut Vec<u8>) {
    let mut rest = text;
    let start = out.len();
    while let [byte, behind @ ..] = rest {
        let (value, taken) = match (byte, behind) {
            (b'%', [b'u' | b'U', digits @ ..]) if four(digits).is_some() => {
                push_char(four(digits).unwrap_or_default(), out);
                rest = &behind[5..];
                continue;
            }
            (b'%', [high, low, ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            (b'+', _) if manner == Manner::Form => (b' ', 1),
            (byte, _) => (*byte, 1),
        };
        out.push(value);
        rest = &rest[taken..];
    }
    fold(out, start);
}

/// Four hexadecimal digits.
fn four(digits: &[u8]) -> Option<u16> {
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0u16, |sum, &digit| Some(sum << 4 | u16::from(hex(digit)?)))
}

/// Appends a character of the basic plane; what looks like ASCII becomes it.
fn push_char(code: u16, out: &mut Vec<u8>) {
    match u8::try_from(code) {
        Ok(byte) => out.push(byte),
        Err(_) => {
            let c = char::from_u32(u32::from(code)).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Makes ASCII of UTF-8 that is longer than it has to be, as careless decoders do.
fn fold(out: &mut Vec<u8>, start: usize) {
    if !out[start..].iter().any(|&byte| matches!(byte, 0xc0 | 0xc1 | 0xe0 | 0xf0)) {
        return;
    }
    let (mut from, mut to) = (start, start);
    while from < out.len() {
        let low = |byte: u8| byte & 0x3f;
        let (byte, taken) = match out[from..] {
            // Some do not even look whether what follows belongs to it.
            [first @ (0xc0 | 0xc1), second, ..] => (first << 6 | low(second), 2),
            [0xe0, second @ 0x80..=0x81, third, ..] => (second << 6 | low(third), 3),
            [0xf0, 0x80, third @ 0x80..=0x81, fourth, ..] => (third << 6 | low(fourth), 4),
            [byte, ..] => (byte, 1),
            [] => break,
        };
        out[to] = byte;
        (from, to) = (from + taken, to + 1);
    }
    out.truncate(to);
}

/// What servers and databases make of a text behind decoding.
fn squeeze(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    // Where the last comment ends: looked for once, however many begin.
    let mut last_end = None;
    while let [byte, behind @ ..] = rest {
        let mut taken = 1;
        match byte {
            0 => {}
            b'%' if !matches!(behind, [high, low, ..] if hex(*high).is_some() && hex(*low).is_some()) => {}
            b'\\' => out.push(b'/'),
            b'\t' | b'\n' | 0x0b | 0x0c | b'\r' => out.push(b' '),
            0xc2 if behind.first() == Some(&0xa0) => {
                out.push(b' ');
                taken = 2;
            }
            b'&' => match entity(behind) {
                Some((code, length)) => {
                    push_char(code, out);
                    taken += length;
                }
                None => out.push(b'&'),
            },
            b'/' if behind.first() == Some(&b'*') => {
                let end = *last_end.get_or_insert_with(|| memchr::memmem::rfind(text, b"*/"));
                let comment = &behind[1..];
                if end.is_none_or(|end| end < text.len() - comment.len()) {
                    out.push(b'/');
                } else if comment.first() == Some(&b'!') {
                    // MySQL carries out what is in a comment that begins with an exclamation mark.
                    let version =
                        comment[1..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
                    out.push(b' ');
                    taken = 3 + version;
                } else {
                    taken = 2 + memchr::memmem::find(comment, b"*/").map_or(0, |end| end + 2);
                }
            }
            b'*' if behind.first() == Some(&b'/') => {
                out.push(b' ');
                taken = 2;
            }
            0xef => match behind {
                // Full-width forms of ASCII.
                [0xbc, last @ 0x81..=0xbf, ..] => {
                    out.push(last - 0x81 + b'!');
                    taken = 3;
                }
                [0xbd, last @ 0x80..=0x9e, ..] => {
                    out.push(last - 0x80 + b'`');
                    taken = 3;
                }
                _ => out.push(0xef),
            },
            byte => out.push(*byte),
        }
        rest = &rest[taken..];
    }
}

/// The character of an entity, and how long it is behind its `&`. A browser does not need its semicolon.
fn entity(text: &[u8]) -> Option<(u16, usize)> {
    const NAMED: [(&[u8], u8); 12] = [
        (b"lt", b'<'),
        (b"gt", b'>'),
        (b"quot", b'"'),
        (b"apos", b'\''),
        (b"amp", b'&'),
        (b"colon", b':'),
        (b"lpar", b'('),
        (b"rpar", b')'),
        (b"sol", b'/'),
        (b"bsol", b'\\'),
        (b"Tab", b'\t'),
        (b"NewLine", b'\n'),
    ];
    let closed = |length: usize| length + usize::from(text.get(length) == Some(&b';'));
    if let Some(digits) = text.strip_prefix(b"#") {
        let (radix, from) = match digits {
            [b'x' | b'X', ..] => (16, 1),
            _ => (10, 0),
        };
        // However many noughts stand in front.
        let length = digits[from..].iter().take_while(|&&byte| char::from(byte).is_digit(radix)).count();
        let number = digits[from..from + length].iter().try_fold(0u16, |sum, &digit| {
            let digit = u16::try_from(char::from(digit).to_digit(radix)?).ok()?;
            sum.checked_mul(if radix == 16 { 16 } else { 10 })?.checked_add(digit)
        });
        return number.filter(|_| length > 0).map(|code| (code, closed(1 + from + length)));
    }
    let named = NAMED.iter().find(|(name, _)| text.starts_with(name) && text.get(name.len()) == Some(&b';'));
    named.map(|(name, byte)| (u16::from(*byte), name.len() + 1))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
