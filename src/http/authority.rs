//! The authority of a request: host and optional port (RFC 9110, section 7.2; RFC 3986, section 3.2).

/// Whether `value` is a host with an optional port and nothing else: no user information, no white
/// space, no empty host, no escapes, no empty label within a name.
pub fn is_valid(value: &[u8]) -> bool {
    let Some(port) = after_host(value) else { return false };
    match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// What follows the host, if the host is well-formed.
fn after_host(value: &[u8]) -> Option<&[u8]> {
    if let Some(inner) = value.strip_prefix(b"[") {
        let end = memchr::memchr(b']', inner)?;
        let literal = &inner[..end];
        let valid =
            !literal.is_empty() && literal.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        return valid.then(|| &inner[end + 1..]);
    }
    let end = memchr::memchr(b':', value).unwrap_or(value.len());
    let host = &value[..end];
    let has_empty_label = host.first() == Some(&b'.') || memchr::memmem::find(host, b"..").is_some();
    (!host.is_empty() && !has_empty_label && host.iter().all(|&b| is_reg_name(b))).then(|| &value[end..])
}

/// The characters of a registered name: unreserved and sub-delims (RFC 3986, section 3.2.2). Names of the DNS need no
/// escapes, and in one a host could hide from rules for it.
const fn is_reg_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_addresses_and_ports() {
        for good in [
            "a",
            "example.com",
            "example.com:80",
            "10.0.0.1:8080",
            "[::1]",
            "[2001:db8::1]:443",
            "a_b.c",
            "h:",
        ] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "",
            ":80",
            "a b",
            "user@host",
            "a/b",
            "a:b",
            "a:123456",
            "a:80:80",
            "[::1",
            "[]",
            "[::1]x",
            "a?b",
            "a#b",
            "a\\b",
            "a%2eb",
            "a..b",
            "a..",
            ".a",
            ".",
            "\u{e9}",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
