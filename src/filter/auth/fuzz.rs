//! The fuzz body for Authorization fields and the files that they are held against. The target in `tests/fuzz` and the
//! run over the corpus in `tests/corpus.rs` only call it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::credentials::{Given, PAIR_BYTES_MAX, Pair, Several, TOKEN_BYTES_MAX, given, read};
use super::verify;
use crate::config::passwords::{Entry, NAME_BYTES_MAX, Scheme, Users};
use crate::config::tokens::{Token, Tokens};
use crate::http::{FieldLine, Fields, Name, Span};

/// What must hold for any value of the field, any file of users and any list of tokens.
pub fn authorization(bytes: &[u8]) {
    let said = read(bytes);
    match said {
        Given::Basic(encoded) => {
            assert!(bytes.ends_with(encoded) && bytes[..5].eq_ignore_ascii_case(b"basic"));
            if let Some(pair) = Pair::decode(encoded) {
                let decoded = [pair.name(), b":", pair.password()].concat();
                assert!(is_pair(&decoded) && !pair.name().contains(&b':'));
                // There is one way to write each pair.
                assert_eq!(STANDARD.encode(decoded).as_bytes(), encoded);
            }
        }
        Given::Bearer(token) => {
            assert!(bytes.ends_with(token) && bytes[..6].eq_ignore_ascii_case(b"bearer"));
            assert!((1..=TOKEN_BYTES_MAX).contains(&token.len()));
            assert!(token.iter().all(u8::is_ascii_graphic));
            assert_known_alone(token);
        }
        Given::Nothing => panic!("there is a field"),
        Given::Other | Given::Malformed => {}
    }
    assert_said_once(bytes, said);
    assert_pair_is_read(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(users) = Users::read(text) {
        assert_users(text, &users);
    }
    if let Ok(tokens) = Tokens::read(text) {
        let written: Vec<String> = tokens.all().iter().map(ToString::to_string).collect();
        assert_eq!(Tokens::read(&written.join("\n")), Ok(tokens));
    }
}

/// What a pair may be (RFC 7617, section 2).
fn is_pair(text: &[u8]) -> bool {
    let is_plain = std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(char::is_control));
    is_plain
        && text.len() <= PAIR_BYTES_MAX
        && text.iter().position(|&byte| byte == b':').is_some_and(|at| at > 0)
}

/// Of two fields nobody knows which one counts.
fn assert_said_once(value: &[u8], said: Given<'_>) {
    // No head is longer.
    if value.len() > usize::from(u16::MAX) {
        return;
    }
    let known = Name::Authorization;
    let line = FieldLine { name: Span::new(0, 0), value: Span::new(0, value.len()), known };
    assert_eq!(given(Fields::new(value, &[line])), Ok(said));
    assert_eq!(given(Fields::new(value, &[line, line])), Err(Several));
    assert_eq!(given(Fields::new(value, &[])), Ok(Given::Nothing));
}

/// Bytes are a pair exactly where they may be one, and are then what went in.
fn assert_pair_is_read(bytes: &[u8]) {
    let field = format!("Basic {}", STANDARD.encode(bytes));
    let Given::Basic(encoded) = read(field.as_bytes()) else {
        return assert!(bytes.is_empty() || bytes.len() > PAIR_BYTES_MAX, "base64 was not taken");
    };
    let pair = Pair::decode(encoded);
    assert_eq!(pair.is_some(), is_pair(bytes));
    if let Some(pair) = pair {
        assert_eq!([pair.name(), b":", pair.password()].concat(), bytes);
    }
}

/// A token is known by whoever knows it, and nothing that is near it is.
fn assert_known_alone(token: &[u8]) {
    let known = |text: &[u8], name: &str| Token { hash: Sha256::digest(text).into(), name: name.into() };
    let all = vec![known(token, "it"), known(&[token, b" "].concat(), "another")];
    let tokens = Tokens::new(all).expect("they are not the same");
    let name = |sent: &[u8]| verify::token(&tokens, sent).map(|token| &*token.name);
    assert_eq!(name(token), Some("it"));
    assert_eq!(name(&token[1..]), None);
    assert_eq!(name(&[token, b"="].concat()), None);
    let mut changed = token.to_vec();
    changed[token.len() / 2] ^= 0x20;
    assert_eq!(name(&changed), None);
    assert!(verify::token(&Tokens::default(), token).is_none());
}

/// Every line is somebody, and each hash that was taken can be asked.
fn assert_users(text: &str, users: &Users) {
    assert_eq!(users.is_empty(), users.any(7).is_none());
    let lines = text.lines().map(|line| line.trim_end_matches([' ', '\t', '\r']));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(lines.len(), users.len());
    for line in lines {
        let (name, hash) = line.split_once(':').expect("it was taken");
        assert!((1..=NAME_BYTES_MAX).contains(&name.len()) && name.trim() == name);
        let entry = users.find(name.as_bytes()).expect("it was taken");
        assert_eq!(entry.hash(), hash);
        if users.len() == 1 && costs_little(entry) {
            // Whoever guesses it may have it.
            let _ = verify::password(entry, name.as_bytes());
        }
    }
}

/// Whether asking takes no longer than some milliseconds.
fn costs_little(entry: &Entry) -> bool {
    match entry.scheme() {
        Scheme::Bcrypt => entry.hash().get(4..6) == Some("04"),
        Scheme::Argon2 => {
            let number = |key: &str| {
                let (_, rest) = entry.hash().split_once(key)?;
                rest.split([',', '$']).next()?.parse::<u32>().ok()
            };
            number("$m=").is_some_and(|kib| kib <= 64) && number(",t=").is_some_and(|passes| passes <= 2)
        }
    }
}
