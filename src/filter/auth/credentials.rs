//! The Authorization field (RFC 9110, section 11.6.2), read strictly: whoever reads it after us has to see the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::http::{Fields, Name};

/// Bytes of the decoded name and password together.
pub const PAIR_BYTES_MAX: usize = 768;

/// Characters in which so many are written.
const ENCODED_BYTES_MAX: usize = PAIR_BYTES_MAX / 3 * 4;

/// Bytes of a token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// What a request says of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// Nothing.
    Nothing,
    /// A name and a password, as they are encoded (RFC 7617).
    Basic(&'a [u8]),
    /// A token (RFC 6750, section 2.1).
    Bearer(&'a [u8]),
    /// Something else.
    Other,
    /// Something that is malformed.
    Malformed,
}

/// The Authorization field is there more than once, so that nobody knows which of them others would go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Several;

/// What a request says.
///
/// # Errors
/// [`Several`].
pub fn given(fields: Fields<'_>) -> Result<Given<'_>, Several> {
    let mut values = fields.values(Name::Authorization);
    match (values.next(), values.next()) {
        (None, _) => Ok(Given::Nothing),
        (Some(value), None) => Ok(read(value)),
        (Some(_), Some(_)) => Err(Several),
    }
}

/// Reads the value of the field: a scheme in any case, at least one blank, and a token of the form `token68`.
pub fn read(value: &[u8]) -> Given<'_> {
    let end = value.iter().position(|&byte| byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let is_basic = scheme.eq_ignore_ascii_case(b"basic");
    if !is_basic && !scheme.eq_ignore_ascii_case(b"bearer") {
        return Given::Other;
    }
    let start = rest.iter().position(|&byte| byte != b' ').unwrap_or(rest.len());
    let token = &rest[start..];
    let most = if is_basic { ENCODED_BYTES_MAX } else { TOKEN_BYTES_MAX };
    match is_token68(token) && token.len() <= most {
        true if is_basic => Given::Basic(token),
        true => Given::Bearer(token),
        false => Given::Malformed,
    }
}

/// Whether it is of the form `token68` (RFC 9110, section 11.2), which base64 is too.
fn is_token68(token: &[u8]) -> bool {
    let body = token.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    body > 0 && token[..body].iter().all(is_plain)
}

/// Room for a name and a password. It lives on the stack, so that nothing is left of them on the heap.
pub struct Pair {
    bytes: [u8; PAIR_BYTES_MAX],
    length: usize,
    colon: usize,
}

impl Pair {
    /// Decodes what [`Given::Basic`] has (RFC 7617, section 2): base64 with its padding, UTF-8, a name without a
    /// colon, and no control characters. None if it is not so.
    pub fn decode(encoded: &[u8]) -> Option<Pair> {
        let mut pair = Pair { bytes: [0; PAIR_BYTES_MAX], length: 0, colon: 0 };
        if encoded.len() > ENCODED_BYTES_MAX {
            return None;
        }
        pair.length = STANDARD.decode_slice(encoded, &mut pair.bytes).ok()?;
        let bytes = &pair.bytes[..pair.length];
        pair.colon = memchr::memchr(b':', bytes)?;
        let is_plain = std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(char::is_control));
        (is_plain && pair.colon > 0).then_some(pair)
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.bytes[..self.colon]
    }

    /// The password. It may be empty, and may have colons.
    pub fn password(&self) -> &[u8] {
        &self.bytes[self.colon + 1..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let pair = Pair::decode(STANDARD.encode(text).as_bytes())?;
        Some((pair.name().to_vec(), pair.password().to_vec()))
    }

    #[test]
    fn schemes_are_known_in_any_case() {
        for (value, want) in [
            (&b"Basic YTpi"[..], Given::Basic(b"YTpi")),
            (b"bAsIc   YTpi", Given::Basic(b"YTpi")),
            (b"Basic YTo=", Given::Basic(b"YTo=")),
            (b"Bearer a.b-c_d~e+f/g==", Given::Bearer(b"a.b-c_d~e+f/g==")),
            (b"BEARER x", Given::Bearer(b"x")),
            (b"Digest username=\"a\"", Given::Other),
            (b"Basicx YTpi", Given::Other),
            (b"", Given::Other),
        ] {
            assert_eq!(read(value), want, "{value:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_nobodys() {
        let long = [&b"Basic "[..], &[b'a'; ENCODED_BYTES_MAX + 4]].concat();
        let longer = [&b"Bearer "[..], &[b'a'; TOKEN_BYTES_MAX + 1]].concat();
        for value in [
            &b"Basic"[..],
            b"Basic ",
            b"Basic =",
            b"Basic YT=pi",
            b"Basic YTpi YTpi",
            b"Basic YTpi,Basic YTpi",
            b"Basic\tYTpi",
            b"Basic \tYTpi",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer \"a\"",
            b"Bearer a\xe4",
            &long,
            &longer,
        ] {
            assert!(matches!(read(value), Given::Malformed | Given::Other), "{value:?}");
        }
    }

    #[test]
    fn pairs_are_cut_at_the_first_colon() {
        let both =
            |name: &str, password: &str| Some((name.as_bytes().to_vec(), password.as_bytes().to_vec()));
        assert_eq!(pair(b"Aladdin:open sesame"), both("Aladdin", "open sesame"));
        assert_eq!(pair(b"a:b:c"), both("a", "b:c"));
        assert_eq!(pair(b"a:"), both("a", ""));
        assert_eq!(pair("t\u{e4}st:123\u{a3}".as_bytes()), both("t\u{e4}st", "123\u{a3}"));
    }

    #[test]
    fn pairs_that_others_might_read_otherwise_are_refused() {
        for text in
            [&b"ab"[..], b"", b":", b":b", b"a:\xe4", b"a\0:b", b"a:b\0", b"a:b\n", "a:\u{85}".as_bytes()]
        {
            assert_eq!(pair(text), None, "{text:?}");
        }
        // Not padded, padded too much, with bits that mean nothing, in another alphabet.
        for encoded in ["YTo", "YTo==", "YTp=", "YTp", "YTq-", "YTo=YTo="] {
            assert!(Pair::decode(encoded.as_bytes()).is_none(), "{encoded}");
        }
        assert!(pair(&[b'a'; PAIR_BYTES_MAX + 1]).is_none());
        assert!(pair(&[&b"a:"[..], &[b'a'; PAIR_BYTES_MAX - 2]].concat()).is_some());
    }
}
