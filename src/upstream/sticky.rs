//! Sticky sessions: a cookie that names the endpoint which a client belongs to.
//!
//! The value is signed, so that nobody chooses an endpoint for himself or keeps one busy for others, and it does not
//! tell where the endpoint is: the id follows from an address, and whoever knows how could try all addresses of a
//! private network. It is made as synthetic initialisation vectors are (RFC 5297): the tag is taken of the id, and the
//! id is hidden by what the key makes of the tag.
//!
//! ```text
//!   tag    = HMAC(key, 0, id), its first 16 bytes
//!   hidden = id xor HMAC(key, 1, tag), its first 8 bytes
//!   value  = tag, hidden        in hexadecimal: 48 characters
//! ```

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::Sticky;

/// Bytes of the tag: nobody tries 2^128.
const TAG_BYTES: usize = 16;

/// Bytes of an endpoint's id.
const ID_BYTES: usize = 8;

/// Characters of a value.
pub const VALUE_BYTES: usize = 2 * (TAG_BYTES + ID_BYTES);

/// Before everything that is signed, so that a secret which is used for something else as well does no harm.
const PURPOSE: &[u8] = b"ringway sticky session\0";

/// What an upstream's cookies are signed with.
#[derive(Clone)]
pub struct Key {
    /// It has taken in what all values have in common.
    mac: Hmac<Sha256>,
}

impl Key {
    /// The key that a secret makes for an upstream. The cookie of one upstream says nothing to another, even where
    /// both have the same secret and the same endpoints.
    pub fn new(secret: &[u8], upstream: &str) -> Key {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(PURPOSE);
        mac.update(&(upstream.len() as u64).to_be_bytes());
        mac.update(upstream.as_bytes());
        Key { mac }
    }

    /// Writes the value that names the endpoint with that id: [`VALUE_BYTES`] characters that need no quotation marks.
    pub fn write(&self, id: u64, out: &mut Vec<u8>) {
        let digest = self.tagging(id).finalize().into_bytes();
        let tag = &digest[..TAG_BYTES];
        let hidden = (id ^ self.mask(tag)).to_be_bytes();
        out.extend(tag.iter().chain(&hidden).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    }

    /// The id of the endpoint that a value names; none if it is not one that [`Key::write`] has written with this key.
    /// How long that takes does not tell how much of it was right.
    pub fn read(&self, value: &[u8]) -> Option<u64> {
        let value: &[u8; VALUE_BYTES] = value.try_into().ok()?;
        let mut bytes = [0; TAG_BYTES + ID_BYTES];
        for (byte, digits) in bytes.iter_mut().zip(value.chunks_exact(2)) {
            *byte = number(digits[0])? << 4 | number(digits[1])?;
        }
        let (tag, hidden) = bytes.split_at(TAG_BYTES);
        let id = u64::from_be_bytes(hidden.try_into().ok()?) ^ self.mask(tag);
        self.tagging(id).verify_truncated_left(tag).is_ok().then_some(id)
    }

    /// What the tag of an id is the beginning of.
    fn tagging(&self, id: u64) -> Hmac<Sha256> {
        self.mac.clone().chain_update([0]).chain_update(id.to_be_bytes())
    }

    /// What hides the id behind a tag.
    fn mask(&self, tag: &[u8]) -> u64 {
        let digest = self.mac.clone().chain_update([1]).chain_update(tag).finalize().into_bytes();
        digest[..ID_BYTES].iter().fold(0, |mask, &byte| mask << 8 | u64::from(byte))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

/// Writes the value of a Set-Cookie field (RFC 6265, section 4.1) that keeps a client at the endpoint with that id.
pub fn write_cookie(sticky: &Sticky, key: &Key, id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(sticky.cookie.as_bytes());
    out.push(b'=');
    key.write(id, out);
    out.extend_from_slice(b"; Path=/; HttpOnly; SameSite=Lax");
    if let Some(age) = sticky.max_age {
        out.extend_from_slice(b"; Max-Age=");
        // 0 would end it at once.
        let seconds = age.as_secs().max(1);
        out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    }
    if sticky.secure {
        out.extend_from_slice(b"; Secure");
    }
}

/// The digit for a number below 16.
fn digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + number - 10 }
}

/// The number that a digit stands for. Capitals are none, so that there is one value for each endpoint.
fn number(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const IDS: [u64; 4] = [0, 1, 0x0123_4567_89ab_cdef, u64::MAX];

    fn key() -> Key {
        Key::new(b"a secret", "app")
    }

    fn value(key: &Key, id: u64) -> Vec<u8> {
        let mut out = Vec::new();
        key.write(id, &mut out);
        out
    }

    #[test]
    fn what_was_written_is_read() {
        for id in IDS {
            let value = value(&key(), id);
            assert_eq!(value.len(), VALUE_BYTES);
            assert!(value.iter().all(u8::is_ascii_alphanumeric));
            assert_eq!(key().read(&value), Some(id));
        }
    }

    #[test]
    fn a_value_in_which_any_byte_is_another_is_none() {
        for id in IDS {
            let value = value(&key(), id);
            for at in 0..value.len() {
                for byte in (0..=u8::MAX).filter(|&byte| byte != value[at]) {
                    let mut forged = value.clone();
                    forged[at] = byte;
                    assert_eq!(key().read(&forged), None, "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_value_of_another_length_is_none() {
        let value = value(&key(), 7);
        for length in 0..value.len() {
            assert_eq!(key().read(&value[..length]), None);
            assert_eq!(key().read(&value[value.len() - length..]), None);
        }
        for more in [&b"0"[..], b"00", b" ", b"\0", &[b'0'; 4096]] {
            assert_eq!(key().read(&[&value, more].concat()), None);
            assert_eq!(key().read(&[more, &value].concat()), None);
        }
        assert_eq!(key().read(&[b'0'; VALUE_BYTES]), None);
        assert_eq!(key().read(&[0xff; VALUE_BYTES]), None);
    }

    #[test]
    fn the_parts_of_two_values_make_no_third() {
        let (one, other) = (value(&key(), 1), value(&key(), 2));
        for cut in 1..VALUE_BYTES {
            let mixed = [&one[..cut], &other[cut..]].concat();
            assert!(mixed == one || mixed == other || key().read(&mixed).is_none());
        }
    }

    #[test]
    fn a_value_of_another_upstream_or_another_secret_is_none() {
        let value = value(&key(), 7);
        for (secret, upstream) in [
            (&b"a secret"[..], "ap"),
            (b"a secret", "app2"),
            (b"a secret", "App"),
            (b"a secret", ""),
            (b"a secre", "tapp"),
            (b"another", "app"),
            (b"", "app"),
            (&[7; 500], "app"),
        ] {
            let foreign = Key::new(secret, upstream);
            assert_eq!(foreign.read(&value), None, "{upstream}");
            assert_eq!(foreign.read(&self::value(&foreign, 7)), Some(7));
        }
    }

    #[test]
    fn a_value_outlives_the_process_that_wrote_it() {
        let value = value(&key(), 0x0123_4567_89ab_cdef);
        assert_eq!(String::from_utf8(value).unwrap(), "89065a2af315252f27bb34b012b87c9d64f247da46ce6afa");
    }

    #[test]
    fn neither_a_value_nor_the_key_tells_what_is_in_it() {
        let value = String::from_utf8(value(&key(), 0x0123_4567_89ab_cdef)).unwrap();
        assert!(!value.contains("0123456789abcdef") && !value.contains("89abcdef"));
        assert_eq!(format!("{:?}", key()), "Key { .. }");
    }

    #[test]
    fn a_cookie_says_what_it_is_for() {
        let value = String::from_utf8(value(&key(), 7)).unwrap();
        for (max_age, secure, want) in [
            (None, false, ""),
            (None, true, "; Secure"),
            (Some(Duration::from_secs(3600)), false, "; Max-Age=3600"),
            (Some(Duration::from_secs(1)), true, "; Max-Age=1; Secure"),
            (Some(Duration::from_millis(20)), false, "; Max-Age=1"),
            (Some(Duration::MAX), false, "; Max-Age=18446744073709551615"),
        ] {
            let sticky = Sticky { cookie: "at".into(), max_age, secure, secret: None };
            let mut out = b"before ".to_vec();
            write_cookie(&sticky, &key(), 7, &mut out);
            let want = format!("before at={value}; Path=/; HttpOnly; SameSite=Lax{want}");
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
