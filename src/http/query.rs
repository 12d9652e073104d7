//! The query of a target as parameters: `a=1&b=%20`, as forms write them (WHATWG URL, section 5.1).
//!
//! Parameters are slices of the query as it was sent. Names and values are compared decoded, a byte at a time
//! and without a copy: `%61` and `a` are one name, and `+` is a blank. An escape that is malformed stands for
//! itself. Only `&` separates.

use std::cmp::Ordering;

/// A parameter, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// All of it.
    pub whole: &'a [u8],
    /// What is in front of the first `=`.
    pub name: &'a [u8],
    /// What is behind it; empty if there is none.
    pub value: &'a [u8],
}

impl<'a> Parameter<'a> {
    /// Reads what stands between two `&`.
    pub fn read(whole: &'a [u8]) -> Parameter<'a> {
        match memchr::memchr(b'=', whole) {
            Some(equals) => Parameter { whole, name: &whole[..equals], value: &whole[equals + 1..] },
            None => Parameter { whole, name: whole, value: b"" },
        }
    }
}

/// The parameters of a query, without its question mark, in their order. Nothing between two `&` is none.
pub fn parameters(query: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    query.split(|&byte| byte == b'&').filter(|whole| !whole.is_empty()).map(Parameter::read)
}

/// The values, as they were sent, of every parameter of that name, which is decoded.
pub fn values<'a>(query: &'a [u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    parameters(query).filter(move |parameter| is(parameter.name, name)).map(|parameter| parameter.value)
}

/// The bytes that a name or a value stands for.
pub fn decoded(sent: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = sent;
    std::iter::from_fn(move || {
        let (byte, behind) = match rest {
            [b'%', high, low, behind @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'%', &rest[1..]),
            },
            [b'+', behind @ ..] => (b' ', behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        rest = behind;
        Some(byte)
    })
}

/// Appends the bytes that a name or a value stands for.
pub fn decode(sent: &[u8], out: &mut Vec<u8>) {
    out.extend(decoded(sent));
}

/// Whether a name or a value stands for `text`.
pub fn is(sent: &[u8], text: &[u8]) -> bool {
    sent.len() >= text.len() && decoded(sent).eq(text.iter().copied())
}

/// How two names or values as they were sent compare by what they stand for.
pub fn compare(one: &[u8], other: &[u8]) -> Ordering {
    decoded(one).cmp(decoded(other))
}

/// Whether a name as it was sent is meant by `rule`: the decoded name, or its start with a `*` behind it.
pub fn is_meant(name: &[u8], rule: &str) -> bool {
    match rule.as_bytes() {
        [start @ .., b'*'] => {
            let mut bytes = decoded(name);
            start.iter().all(|&wanted| bytes.next() == Some(wanted))
        }
        whole => is(name, whole),
    }
}

/// What a hexadecimal digit stands for.
pub const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded_text(sent: &str) -> String {
        String::from_utf8(decoded(sent.as_bytes()).collect()).unwrap()
    }

    #[test]
    fn splits_a_query_into_its_parameters() {
        let read = |query: &'static str| -> Vec<(&str, &str)> {
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            parameters(query.as_bytes()).map(|one| (text(one.name), text(one.value))).collect()
        };
        for (query, want) in [
            ("", &[][..]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a", &[("a", "")]),
            ("a=&=b&=", &[("a", ""), ("", "b"), ("", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("&&a&&", &[("a", "")]),
            // One that others might take for two, or for decoded.
            ("a=1;b=2", &[("a", "1;b=2")]),
            ("a%3D1=%26b", &[("a%3D1", "%26b")]),
            ("a?b=c", &[("a?b", "c")]),
        ] {
            assert_eq!(read(query), want, "{query}");
        }
    }

    #[test]
    fn decodes_escapes_and_leaves_alone_what_is_none() {
        for (sent, want) in [
            ("", ""),
            ("a+b%20c", "a b c"),
            ("%61%2B%2b", "a++"),
            ("%C3%A9", "\u{e9}"),
            ("%", "%"),
            ("%6", "%6"),
            ("%zz%61", "%zza"),
            ("%%61", "%a"),
            // Once only.
            ("%2561", "%61"),
            ("%00%0d%0A", "\0\r\n"),
        ] {
            assert_eq!(decoded_text(sent), want, "{sent}");
        }
    }

    #[test]
    fn names_are_compared_by_what_they_stand_for() {
        assert!(is(b"%61b", b"ab") && is(b"a+b", b"a b") && is(b"", b""));
        assert!(!is(b"ab", b"a") && !is(b"a", b"ab") && !is(b"A", b"a") && !is(b"%61b", b"%61b"));
        assert_eq!(compare(b"%61", b"b"), Ordering::Less);
        assert_eq!(compare(b"%62", b"b"), Ordering::Equal);
        assert_eq!(values(b"a=1&%61=2&b=3&a", b"a").collect::<Vec<_>>(), [&b"1"[..], b"2", b""]);
    }

    #[test]
    fn a_star_at_the_end_of_a_rule_stands_for_any_end() {
        for (name, rule, want) in [
            ("utm_source", "utm_*", true),
            ("utm_", "utm_*", true),
            ("%75tm_x", "utm_*", true),
            ("utm", "utm_*", false),
            ("anything", "*", true),
            ("", "*", true),
            ("a", "a", true),
            ("ab", "a", false),
            ("a*b", "a*b", true),
            ("axb", "a*b", false),
        ] {
            assert_eq!(is_meant(name.as_bytes(), rule), want, "{name} {rule}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_byte_by_byte_is_what_it_was(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            let mut out = Vec::new();
            decode(escaped.as_bytes(), &mut out);
            prop_assert_eq!(&out, &bytes);
            prop_assert!(is(escaped.as_bytes(), &bytes));
        }

        #[test]
        fn comparing_is_decoding_and_comparing(
            one in "(a|b|%z|[+]|%6[12]|%2[0B]){0,6}",
            other in "(a|b|%z|[+]|%6[12]|%2[0B]){0,6}",
        ) {
            let (a, b) = (decoded_text(&one), decoded_text(&other));
            prop_assert_eq!(compare(one.as_bytes(), other.as_bytes()), a.as_bytes().cmp(b.as_bytes()));
            prop_assert_eq!(is(one.as_bytes(), b.as_bytes()), a == b);
            prop_assert_eq!(is_meant(one.as_bytes(), &format!("{b}*")), a.starts_with(&b));
        }
    }
}
