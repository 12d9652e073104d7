//! Fuzz body for paths: what must hold for any bytes at all. The target in `tests/fuzz` and the run over the
//! corpus in `tests/corpus.rs` only call it.
//!
//! Normal forms are compared with those of a second reading of the same rules, which takes a path apart into
//! characters and segments where the code goes over its bytes once.

use super::path::{Reading, is_normal, normalise, read, readings};

/// A path.
pub fn path(bytes: &[u8]) {
    let (mut normal, mut parted) = (Vec::new(), Vec::new());
    let usual = normalise(bytes, &mut normal).ok().map(|()| normal);
    assert_eq!(usual, plain(bytes, false));
    assert_eq!(is_normal(bytes), usual.as_deref() == Some(bytes));
    let other = read(bytes, Reading::SLASHES, &mut parted).ok().map(|()| parted);
    assert_eq!(other, plain(bytes, true));
    let (Some(normal), Some(parted)) = (usual, other) else { return };
    assert!(normal.len() <= bytes.len() && parted.len() <= bytes.len());
    assert!(is_normal(&normal) && is_normal(&parted), "a normal form is none");
    assert!(readings(bytes).next().is_some() || parted == normal, "a slash was found where none is");
    for reading in readings(bytes) {
        let mut out = Vec::new();
        assert!(read(bytes, reading, &mut out).is_ok() && out.first() == Some(&b'/'), "{reading:?}");
    }
}

/// A character of a path, and whether it is to be escaped.
#[derive(Clone, Copy, PartialEq)]
struct Character {
    byte: u8,
    escaped: bool,
}

const SLASH: Character = Character { byte: b'/', escaped: false };

fn plain(path: &[u8], unhide: bool) -> Option<Vec<u8>> {
    let mut characters = characters(path)?;
    // A path begins with a slash that hides from nobody.
    for character in characters.iter_mut().skip(1) {
        let hides = matches!((character.byte, character.escaped), (b'/' | b'\\', true) | (b'\\', false));
        if unhide && hides {
            *character = SLASH;
        }
    }
    let (first, rest) = characters.split_first()?;
    if *first != SLASH {
        return None;
    }
    let segments: Vec<_> = rest.split(|character| *character == SLASH).map(plain_segment).collect();
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in &segments {
        match &segment[..] {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let ends_with_slash = matches!(segments.last().map(|last| &last[..]), Some(b"" | b"." | b".."));
    let mut normal: Vec<u8> = kept.iter().flat_map(|segment| [b"/", *segment].concat()).collect();
    if ends_with_slash {
        normal.push(b'/');
    }
    Some(normal)
}

/// `None` for a NUL and a malformed escape.
fn characters(path: &[u8]) -> Option<Vec<Character>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let mut character = Character { byte: path[at], escaped: false };
        at += 1;
        if character.byte == b'%' {
            let digits = std::str::from_utf8(path.get(at..at + 2)?).ok()?;
            if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let byte = u8::from_str_radix(digits, 16).ok()?;
            let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            character = Character { byte, escaped: !unreserved };
            at += 2;
        }
        if character.byte == 0 {
            return None;
        }
        found.push(character);
    }
    Some(found)
}

fn plain_segment(characters: &[Character]) -> Vec<u8> {
    let spell = |character: &Character| match character.escaped {
        true => format!("%{:02X}", character.byte).into_bytes(),
        false => vec![character.byte],
    };
    characters.iter().flat_map(spell).collect()
}
