//! What a route changes in the fields of a request or a response: first some go, then some are set, then some
//! come on top. Lines are written anew, with values that cannot end them. And lines that a message gets only where it
//! has none of that name.

use super::template::{BadValue, Place, Values, render};
use crate::config::route::FieldEdits;
use crate::config::template::Template;

/// The longest value that a template may come to, in bytes.
pub const VALUE_BYTES_MAX: usize = 8 * crate::limits::KIB;

/// Bytes that all lines together may come to, so that a head with them still fits into a buffer.
pub const LINES_BYTES_MAX: usize = 64 * crate::limits::KIB;

/// Edits of fields, ready to be made.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// Names that go, those that are set included; of one that ends with a `*`, the start.
    gone: Box<[(Box<[u8]>, Extent)]>,
    /// `Name: ` and what comes behind it.
    lines: Box<[(Box<[u8]>, Template)]>,
}

/// How much of a name is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Start,
}

impl Edits {
    /// Makes them ready. That names are tokens, and not those of fields that frame messages or speak of one
    /// connection, is for whoever read the settings to know.
    pub fn new(edits: &FieldEdits) -> Edits {
        let removed = edits.remove.iter().map(|rule| match rule.strip_suffix('*') {
            Some(start) => (start.as_bytes().into(), Extent::Start),
            None => (rule.as_bytes().into(), Extent::Whole),
        });
        let set = edits.set.iter().map(|(name, _)| (name.as_bytes().into(), Extent::Whole));
        let line = |(name, template): &(String, Template)| {
            (format!("{name}: ").into_bytes().into_boxed_slice(), template.clone())
        };
        Edits {
            gone: removed.chain(set).collect(),
            lines: edits.set.iter().chain(&edits.add).map(line).collect(),
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.lines.is_empty()
    }

    /// Whether a field that the message brought goes. Names are compared without regard to case, and an
    /// underscore in `name` counts as the hyphen that it imitates: origins behind CGI and its kin cannot tell
    /// `X_User` from `X-User`.
    pub fn removes(&self, name: &[u8]) -> bool {
        self.gone.iter().any(|(said, extent)| {
            let fits = match extent {
                Extent::Whole => name.len() == said.len(),
                Extent::Start => name.len() >= said.len(),
            };
            fits && name
                .iter()
                .zip(said)
                .all(|(&byte, &wanted)| byte.eq_ignore_ascii_case(&wanted) || byte == b'_' && wanted == b'-')
        })
    }

    /// Appends the lines that are set and added, each with its end. A value that comes out empty makes no line.
    ///
    /// # Errors
    /// [`BadValue`]; then `out` is as it was.
    pub fn write(&self, values: &Values<'_>, out: &mut Vec<u8>) -> Result<(), BadValue> {
        let start = out.len();
        for (name, template) in &self.lines {
            let line = out.len();
            out.extend_from_slice(name);
            let value = out.len();
            if let Err(why) = render(template, values, Place::Field, VALUE_BYTES_MAX, out) {
                out.truncate(start);
                return Err(why);
            }
            // White space around a value is no part of it.
            out.truncate(value + out[value..].trim_ascii_end().len());
            if out.len() == value {
                out.truncate(line);
            } else {
                out.extend_from_slice(b"\r\n");
            }
            if out.len() - start > LINES_BYTES_MAX {
                out.truncate(start);
                return Err(BadValue::TooLong);
            }
        }
        Ok(())
    }
}

/// Lines that a message gets where it has no field of that name.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// Whole lines, and how much of each is the name.
    lines: Box<[(Box<[u8]>, usize)]>,
}

/// Which of the lines of a [`Missing`] a message does not get: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present(u32);

impl Missing {
    /// The most lines; more are left out.
    const LINES_MAX: usize = 32;

    /// These names and values, which cannot end their lines.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Missing {
        let line = |(name, value): (&str, &str)| {
            (format!("{name}: {value}\r\n").into_bytes().into_boxed_slice(), name.len())
        };
        Missing { lines: fields.into_iter().take(Missing::LINES_MAX).map(line).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes note of a field that the message has.
    pub fn see(&self, name: &[u8], present: &mut Present) {
        for (at, (line, length)) in self.lines.iter().enumerate() {
            if *length == name.len() && line[..*length].eq_ignore_ascii_case(name) {
                present.0 |= 1 << at;
            }
        }
    }

    /// Appends the lines of those that the message does not have.
    pub fn write(&self, present: Present, out: &mut Vec<u8>) {
        for (at, (line, _)) in self.lines.iter().enumerate() {
            if present.0 & (1 << at) == 0 {
                out.extend_from_slice(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::fuzz::Sample;

    #[test]
    fn what_is_missing_is_set_and_what_is_there_stays() {
        let missing = Missing::new([("X-A", "1"), ("X-Bc", "2"), ("X-D", "3")]);
        let mut present = Present::default();
        for name in ["x-a", "X-B", "X_D", "X-BCC"] {
            missing.see(name.as_bytes(), &mut present);
        }
        let mut out = b"before".to_vec();
        missing.write(present, &mut out);
        assert_eq!(out, b"beforeX-Bc: 2\r\nX-D: 3\r\n");
        assert!(Missing::default().is_empty() && !missing.is_empty());
    }

    fn edits(remove: &[&str], set: &[(&str, &str)], add: &[(&str, &str)]) -> Edits {
        let lines = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), text.parse().unwrap())).collect()
        };
        let remove = remove.iter().map(|&name| name.to_owned()).collect();
        Edits::new(&FieldEdits { remove, set: lines(set), add: lines(add) })
    }

    fn written(edits: &Edits, sample: &Sample) -> Result<String, BadValue> {
        let mut out = b"before".to_vec();
        let judged = sample.with(|values| edits.write(values, &mut out));
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before").unwrap().to_owned();
        assert!(judged.is_ok() || text.is_empty(), "something was left of what failed");
        judged.map(|()| text)
    }

    #[test]
    fn removes_what_is_named_and_what_is_set() {
        let edits = edits(&["X-Debug", "X-Internal-*"], &[("X-User", "a")], &[("X-Added", "a")]);
        for gone in ["x-debug", "X-DEBUG", "X-Internal-", "x-internal-a", "X-User", "x_user", "X_Internal_A"]
        {
            assert!(edits.removes(gone.as_bytes()), "{gone}");
        }
        for kept in ["X-Debug-2", "X-Debu", "", "X-Internal", "X-Added", "XUser", "X-Use"] {
            assert!(!edits.removes(kept.as_bytes()), "{kept}");
        }
    }

    #[test]
    fn all_lines_together_have_a_bound() {
        let value = "x".repeat(VALUE_BYTES_MAX - 10);
        let lines: Vec<(String, String)> = (0..9).map(|n| (format!("X-{n}"), value.clone())).collect();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert!(written(&edits(&[], &lines[..7], &[]), &Sample::bare()).is_ok());
        assert_eq!(written(&edits(&[], &lines, &[]), &Sample::bare()), Err(BadValue::TooLong));
    }

    #[test]
    fn a_hyphen_does_not_imitate_an_underscore() {
        let edits = edits(&["my_field"], &[], &[]);
        assert!(edits.removes(b"My_Field") && !edits.removes(b"my-field"));
    }

    #[test]
    fn a_star_alone_removes_everything() {
        assert!(edits(&["*"], &[], &[]).removes(b"Anything"));
    }

    #[test]
    fn writes_what_is_set_and_then_what_is_added() {
        let sample = Sample::new(&[("X-A", "va lue")]);
        let edits = edits(&[], &[("X-One", "{header.x-a}!"), ("X-Two", "2")], &[("X-One", "{method}")]);
        assert_eq!(written(&edits, &sample).unwrap(), "X-One: va lue!\r\nX-Two: 2\r\nX-One: GET\r\n");
    }

    #[test]
    fn an_empty_value_makes_no_line() {
        let sample = Sample::bare();
        let edits = edits(&[], &[("A", "{header.none}"), ("B", "  {query.none} "), ("C", " c ")], &[]);
        assert_eq!(written(&edits, &sample).unwrap(), "C:  c\r\n");
    }

    #[test]
    fn a_value_that_would_end_the_line_refuses_all_lines() {
        for query in ["q=a%0d%0aX-Evil:1", "q=%00", "q=%0A", "q=%7f", "q=%1b"] {
            let sample = Sample { query: Some(query.into()), ..Sample::bare() };
            let edits = edits(&[], &[("A", "a"), ("B", "{query.q}")], &[]);
            assert_eq!(written(&edits, &sample), Err(BadValue::Control), "{query}");
        }
    }

    #[test]
    fn a_value_has_a_greatest_length() {
        let long = "x".repeat(VALUE_BYTES_MAX);
        let sample = Sample::new(&[("X-A", &long)]);
        assert!(written(&edits(&[], &[("A", "{header.X-A}")], &[]), &sample).is_ok());
        let more = edits(&[], &[("A", "{header.X-A}!")], &[]);
        assert_eq!(written(&more, &sample), Err(BadValue::TooLong));
    }

    #[test]
    fn edits_of_nothing_are_empty() {
        assert!(edits(&[], &[], &[]).is_empty() && Edits::default().is_empty());
        assert!(!edits(&["a"], &[], &[]).is_empty() && !edits(&[], &[], &[("a", "")]).is_empty());
    }
}
