//! The fuzz body for Authorization fields and the files that they are held against. The target in `tests/fuzz` and the
//! run over the corpus in `tests/corpus.rs` only call it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::credentials::{Given, PAIR_BYTES_MAX, Pair, TOKEN_BYTES_MAX, read};
use super::verify;
use crate::config::passwords::Users;
use crate::config::tokens::Tokens;

/// What must hold for any value of the field, any file of users and any list of tokens.
pub fn authorization(bytes: &[u8]) {
    match read(bytes) {
        Given::Basic(encoded) => {
            assert!(bytes.ends_with(encoded) && bytes[..5].eq_ignore_ascii_case(b"basic"));
            if let Some(pair) = Pair::decode(encoded) {
                let decoded = [pair.name(), b":", pair.password()].concat();
                assert!(decoded.len() <= PAIR_BYTES_MAX && !pair.name().is_empty());
                assert!(!pair.name().contains(&b':'));
                let text = String::from_utf8(decoded).expect("a pair is UTF-8");
                assert!(!text.chars().any(char::is_control));
                // There is one way to write each pair.
                assert_eq!(STANDARD.encode(text).as_bytes(), encoded);
            }
        }
        Given::Bearer(token) => {
            assert!(bytes.ends_with(token) && bytes[..6].eq_ignore_ascii_case(b"bearer"));
            assert!((1..=TOKEN_BYTES_MAX).contains(&token.len()));
            assert!(token.iter().all(u8::is_ascii_graphic));
            assert!(verify::token(&Tokens::default(), token).is_none());
        }
        Given::Nothing | Given::Other | Given::Malformed => {}
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(users) = Users::read(text) {
        assert!(users.len() <= text.lines().count());
        assert_eq!(users.is_empty(), users.any(7).is_none());
    }
    if let Ok(tokens) = Tokens::read(text) {
        let written: Vec<String> = tokens.all().iter().map(ToString::to_string).collect();
        assert_eq!(Tokens::read(&written.join("\n")), Ok(tokens));
    }
}
