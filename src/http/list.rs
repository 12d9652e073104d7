//! Comma-separated field values (RFC 9110, section 5.6.1).

/// The elements of a list, white space around them removed, empty ones left out. Commas within
/// quoted strings do not separate.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = element_end(rest);
            let element = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    })
}

fn element_end(value: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    value.len()
}

/// The elements of a list that can only hold tokens, such as Connection: every comma separates, so
/// that no stray quotation mark hides an option.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Whether a list of tokens has this one, without regard to case.
pub fn has_token(value: &[u8], token: &[u8]) -> bool {
    tokens(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// The weight that a parameter gives, `q=0.5`, in thousandths (RFC 9110, section 12.4.2); none if it is malformed, or
/// another parameter.
pub fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), fraction @ ..] = parameter else { return None };
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut weight = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = digits.get(place).unwrap_or(&b'0');
        weight = weight * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(value: &str) -> Vec<&str> {
        elements(value.as_bytes()).map(|e| std::str::from_utf8(e).unwrap()).collect()
    }

    #[test]
    fn splits_at_commas_and_drops_white_space_and_empty_elements() {
        assert_eq!(split("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(split(" , ,x,,"), ["x"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn a_comma_in_a_quoted_string_does_not_split() {
        assert_eq!(split(r#"a="1,2", b"#), [r#"a="1,2""#, "b"]);
        assert_eq!(split(r#""\",", z"#), [r#""\",""#, "z"]);
        assert_eq!(split(r#""open, x"#), [r#""open, x"#]);
    }

    #[test]
    fn finds_tokens_in_any_case() {
        assert!(has_token(b"keep-alive, Upgrade", b"upgrade"));
        assert!(!has_token(b"upgrades", b"upgrade"));
        assert!(has_token(b"\", close, x", b"close"));
    }
}
