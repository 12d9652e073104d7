//! Dictionaries of structured fields (RFC 9651, section 3.2), as far as targeted cache control needs them:
//! every type is checked, for one malformed member voids the whole field, but only the few that a cache
//! directive can have are told apart.

/// A member's value. Parameters are checked and left out (RFC 9213, section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A Boolean, and that of a key which stands alone.
    Boolean(bool),
    /// An Integer, as it was written.
    Integer(&'a [u8]),
    /// What is between the marks of a String, with its escapes.
    String(&'a [u8]),
    /// A Token, a Decimal, a Byte Sequence or an Inner List.
    Other,
}

/// The value is not a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The members of one field line in the order they came, repeated keys included; ends at the first fault. An
/// empty line has none.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = Result<(&[u8], Value<'_>), Malformed>> {
    let mut reader = Reader { rest: trim_end(line) };
    reader.skip(b" ");
    std::iter::from_fn(move || {
        if reader.rest.is_empty() {
            return None;
        }
        let member = reader.member();
        if member.is_none() {
            reader.rest = b"";
        }
        Some(member.ok_or(Malformed))
    })
}

fn trim_end(mut line: &[u8]) -> &[u8] {
    while let Some(shorter) = line.strip_suffix(b" ") {
        line = shorter;
    }
    line
}

/// Reads from the front of what is left (RFC 9651, section 4.2). `None` is a fault.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// One member, and the comma behind it; a comma must be followed by another member.
    fn member(&mut self) -> Option<(&'a [u8], Value<'a>)> {
        let key = self.key()?;
        let value = match self.take(b'=') {
            true if self.rest.first() == Some(&b'(') => self.inner_list()?,
            true => self.bare_item()?,
            false => Value::Boolean(true),
        };
        self.parameters()?;
        self.skip(b" \t");
        if !self.rest.is_empty() {
            self.take(b',').then_some(())?;
            self.skip(b" \t");
            (!self.rest.is_empty()).then_some(())?;
        }
        Some((key, value))
    }

    /// The items of an inner list. It has no lists within, so nothing here goes deeper than one step.
    fn inner_list(&mut self) -> Option<Value<'a>> {
        self.take(b'(').then_some(())?;
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            matches!(self.rest.first(), Some(b' ' | b')')).then_some(())?;
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn key(&mut self) -> Option<&'a [u8]> {
        matches!(self.rest.first()?, b'a'..=b'z' | b'*').then_some(())?;
        Some(self.run(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn bare_item(&mut self) -> Option<Value<'a>> {
        match self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.run(|b| super::directives::is_token_byte(b) || matches!(b, b':' | b'/'));
                Some(Value::Other)
            }
            b':' => {
                self.take(b':');
                self.run(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
                self.take(b':').then_some(Value::Other)
            }
            b'?' => {
                self.take(b'?');
                let set = self.take(b'1');
                (set || self.take(b'0')).then_some(Value::Boolean(set))
            }
            _ => None,
        }
    }

    /// An Integer of at most 15 digits, or a Decimal of at most 12 before the point and 3 behind it.
    fn number(&mut self) -> Option<Value<'a>> {
        let all = self.rest;
        self.take(b'-');
        let whole = self.run(|b| b.is_ascii_digit()).len();
        if !self.take(b'.') {
            let text = &all[..all.len() - self.rest.len()];
            return matches!(whole, 1..=15).then_some(Value::Integer(text));
        }
        let fraction = self.run(|b| b.is_ascii_digit()).len();
        (matches!(whole, 1..=12) && matches!(fraction, 1..=3)).then_some(Value::Other)
    }

    fn string(&mut self) -> Option<Value<'a>> {
        let inner = self.rest.get(1..)?;
        let mut bytes = inner.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.rest = &inner[at + 1..];
                    return Some(Value::String(&inner[..at]));
                }
                b'\\' => matches!(bytes.next()?.1, b'"' | b'\\').then_some(())?,
                b' '..=b'~' => {}
                _ => return None,
            }
        }
        None
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.rest.first() == Some(&byte);
        if taken {
            self.rest = &self.rest[1..];
        }
        taken
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.run(|b| bytes.contains(&b));
    }

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&b| !belongs(b)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_type_and_leaves_parameters_out() {
        let (yes, no) = (Value::Boolean(true), Value::Boolean(false));
        let (int, text) = (|t: &'static str| Value::Integer(t.as_bytes()), Value::String);
        // RFC 9651, sections 3.2 and 3.3
        let cases: &[(&str, &[(&str, Value<'_>)])] = &[
            ("", &[]),
            ("   ", &[]),
            ("a", &[("a", yes)]),
            ("  a=?1, b=?0;x  ", &[("a", yes), ("b", no)]),
            ("a=1,b=-2\t,\tc=007", &[("a", int("1")), ("b", int("-2")), ("c", int("007"))]),
            ("a=999999999999999", &[("a", int("999999999999999"))]),
            ("a=1.5, b=-123456789012.123", &[("a", Value::Other), ("b", Value::Other)]),
            (r#"a="x, \"y\" \\";p="q""#, &[("a", text(br#"x, \"y\" \\"#))]),
            ("a=Tok/en:*, *b=*", &[("a", Value::Other), ("*b", Value::Other)]),
            ("a=:aGk=:, b=::", &[("a", Value::Other), ("b", Value::Other)]),
            ("a=(), b=( 1 x;y=1  \"z\" );p=2", &[("a", Value::Other), ("b", Value::Other)]),
            ("a;p; q=1;r=?0", &[("a", yes)]),
            ("a=1, a=2", &[("a", int("1")), ("a", int("2"))]),
        ];
        for (line, want) in cases {
            let got: Result<Vec<_>, _> = members(line.as_bytes()).collect();
            let want = want.iter().map(|(key, value)| (key.as_bytes(), *value)).collect();
            assert_eq!(got, Ok(want), "{line}");
        }
    }

    #[test]
    fn one_fault_voids_the_line() {
        // RFC 9651, section 4.2
        for line in [
            "A",
            "a=",
            "a =1",
            "a= 1",
            "a,",
            "a,,b",
            ",a",
            "a b",
            "a=1234567890123456",
            "a=1.",
            "a=.1",
            "a=1.2345",
            "a=1234567890123.1",
            "a=-",
            "a=+1",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{e9}\"",
            "a=\"\t\"",
            "a=:x",
            "a=:?:",
            "a=?2",
            "a=?",
            "a=(1",
            "a=(1,2)",
            "a=(1\"x\")",
            "a=((1))",
            "a;",
            "a;P",
            "a;p=",
            "a=@1",
            "a=%\"x\"",
            "\ta",
            "1=a",
            "a=1\u{0}",
            "a=1;;b",
        ] {
            assert_eq!(members(line.as_bytes()).last(), Some(Err(Malformed)), "{line}");
        }
    }
}
