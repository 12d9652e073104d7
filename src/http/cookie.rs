//! The cookies of a request (RFC 6265, section 5.4), read as tolerantly as servers read them.
//!
//! A semicolon always ends a cookie, within quotation marks too: browsers take it so, and whoever takes it
//! otherwise can be made to see one cookie in the value of another.

use super::Fields;

/// The pairs of one Cookie field, in their order: name and value, without the white space around them and the
/// quotation marks around the value. What has no name or no `=` is left out. Names keep their case, which
/// tells them apart, and nothing is decoded.
pub fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|&byte| byte == b';').filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        let bare = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        (!name.is_empty()).then_some((name, bare.unwrap_or(value)))
    })
}

/// The values of every cookie of that name in a request, over all of its Cookie fields.
pub fn values<'a>(fields: Fields<'a>, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    fields.named(b"cookie").flat_map(pairs).filter(move |(cookie, _)| *cookie == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{FieldLine, Name, Span};
    use proptest::prelude::*;

    fn read(value: &str) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        pairs(value.as_bytes()).map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn a_table_of_cookie_fields() {
        for (field, want) in [
            ("a=b", &[("a", "b")][..]),
            ("a=b; c=d", &[("a", "b"), ("c", "d")]),
            ("a=b;c=d ;  e = f\t", &[("a", "b"), ("c", "d"), ("e", "f")]),
            ("a=b=c==", &[("a", "b=c==")]),
            ("a=", &[("a", "")]),
            ("a=1; a=2; A=3", &[("a", "1"), ("a", "2"), ("A", "3")]),
            ("a=\"b\"", &[("a", "b")]),
            ("a=\"b c,d\"; e=f", &[("a", "b c,d"), ("e", "f")]),
            ("a=\"\"", &[("a", "")]),
            // A mark alone is no pair of marks.
            ("a=\"", &[("a", "\"")]),
            ("a=\"b", &[("a", "\"b")]),
            ("a=%20", &[("a", "%20")]),
            // Nothing hides in a value that is quoted.
            ("a=\"x; b=y\"; c=z", &[("a", "\"x"), ("b", "y\""), ("c", "z")]),
            // What is no pair is nobody's.
            ("", &[]),
            ("a", &[]),
            ("=a; ; ;;b; =", &[]),
            ("$Version=1; a=b", &[("$Version", "1"), ("a", "b")]),
        ] {
            assert_eq!(read(field), want, "{field}");
        }
    }

    #[test]
    fn finds_the_values_of_one_name_over_all_lines() {
        let head = b"CookiecookieX-Cookiea=1; b=2a=3A=4a=5";
        let line = |name: (usize, usize), value: (usize, usize)| FieldLine {
            name: Span::new(name.0, name.1),
            value: Span::new(value.0, value.1),
            known: Name::Other,
        };
        let lines = [line((0, 6), (20, 28)), line((6, 12), (28, 31)), line((12, 20), (34, 37))];
        let fields = Fields::new(head, &lines);
        let found: Vec<_> = values(fields, b"a").collect();
        assert_eq!(found, [&b"1"[..], b"3"]);
        assert_eq!(values(fields, b"A").count() + values(fields, b"c").count(), 0);
    }

    proptest! {
        #[test]
        fn a_pair_holds_no_semicolon_and_is_found_by_its_name(field in "[ab=;\" \t]{0,16}") {
            for (name, value) in read(&field) {
                prop_assert!(!name.is_empty() && !name.contains([';', '=']) && !value.contains(';'));
                prop_assert!(name == name.trim() && field.contains(name) && field.contains(value));
            }
        }
    }
}
