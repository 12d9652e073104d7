//! The X-Request-Id: kept where the client's can be trusted to be harmless, made where not.

/// The longest id that is kept, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// Whether an id may stand in logs, pages and fields as it is.
pub fn is_harmless(id: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'=' | b'+' | b'/'))
}

/// Writes a random number as an id: 32 hexadecimal digits.
pub fn render(random: u128) -> [u8; 32] {
    let mut id = [0; 32];
    for (place, digit) in id.iter_mut().enumerate() {
        let nibble = (random >> (124 - 4 * place)) & 15;
        *digit = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or(0)];
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_anything_odd_are_not_kept() {
        assert!(is_harmless(b"4bf92f35-77b3:a_b.c"));
        for bad in [&b""[..], b"a b", b"a\"b", b"<x>", &[b'a'; ID_BYTES_MAX + 1]] {
            assert!(!is_harmless(bad));
        }
    }

    #[test]
    fn renders_all_of_the_number() {
        assert_eq!(&render(0xdead_beef), b"000000000000000000000000deadbeef");
        assert_eq!(&render(u128::MAX), &[b'f'; 32]);
    }
}
