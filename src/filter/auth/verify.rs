//! Whether a password or a token is the right one.

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::passwords::{Entry, Scheme};
use crate::config::tokens::{Token, Tokens};

/// Whether the password is the one that was hashed. It is compared in constant time. This takes from milliseconds to a
/// second, as those who made the hash wanted it: never on a worker.
pub fn password(entry: &Entry, password: &[u8]) -> bool {
    match entry.scheme() {
        Scheme::Bcrypt => bcrypt::verify(password, entry.hash()).unwrap_or(false),
        Scheme::Argon2 => PasswordHash::new(entry.hash())
            .is_ok_and(|hash| argon2::Argon2::default().verify_password(password, &hash).is_ok()),
    }
}

/// The token of the list that this is. It takes some 0.2 µs and allocates nothing.
///
/// What is looked for is the hash of what was sent. How long that takes tells at most how many of the first bits of
/// that hash are those of a known one; nobody comes from there to a token, for whoever could find one for given bits of
/// its hash could break SHA-256. The last comparison takes constant time all the same.
pub fn token<'t>(tokens: &'t Tokens, sent: &[u8]) -> Option<&'t Token> {
    let hash: [u8; 32] = Sha256::digest(sent).into();
    let place = tokens.all().partition_point(|token| token.hash < hash);
    tokens.all().get(place).filter(|token| bool::from(token.hash.ct_eq(&hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::passwords::Users;

    #[test]
    fn passwords_of_every_scheme_are_known() {
        let bcrypt = bcrypt::hash_with_salt("sesame", 4, [7; 16]).unwrap();
        let mut text = String::new();
        for (at, version) in
            [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY].into_iter().enumerate()
        {
            text += &format!("b{at}:{}\n", bcrypt.format_for_version(version));
        }
        // Of the reference implementation: "password".
        text += "a:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n";
        let users = Users::read(&text).unwrap();
        for name in ["b0", "b1", "b2"] {
            let entry = users.find(name.as_bytes()).unwrap();
            assert!(password(entry, b"sesame"), "{name}");
            for wrong in [&b"sesamE"[..], b"", b"sesame "] {
                assert!(!password(entry, wrong), "{name}");
            }
        }
        let entry = users.find(b"a").unwrap();
        assert!(password(entry, b"password") && !password(entry, b"passwore") && !password(entry, b""));
    }

    #[test]
    fn tokens_are_found_by_their_hashes() {
        let names = ["a", "b", "c", "d"];
        let tokens = names.map(|name| Token { hash: Sha256::digest(name).into(), name: name.into() });
        let tokens = Tokens::new(tokens.to_vec()).unwrap();
        for name in names {
            assert_eq!(token(&tokens, name.as_bytes()).map(|token| &*token.name), Some(name));
        }
        for wrong in ["", "e", "aa", "A"] {
            assert_eq!(token(&tokens, wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(token(&Tokens::default(), b"a"), None);
    }
}
