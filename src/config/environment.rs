//! Variables of the environment in the texts of the file: `${NAME}`, `${NAME:-default}`, and `$${` for a `${`
//! that is meant as such.

use std::borrow::Cow;

/// What is wrong with a variable in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unexpanded {
    /// It has no `}`.
    Open,
    /// Its name is no name: this one.
    Name(String),
    /// It is not set, and has no default: this one.
    Unset(String),
}

impl std::fmt::Display for Unexpanded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unexpanded::Open => f.write_str("a `${` has no `}`"),
            Unexpanded::Name(name) => write!(f, "{name:?} is no name of a variable"),
            Unexpanded::Unset(name) => write!(f, "the environment variable `{name}` is not set"),
        }
    }
}

impl Unexpanded {
    /// What can be done about it.
    pub(super) fn help(&self) -> String {
        match self {
            Unexpanded::Open | Unexpanded::Name(_) => {
                "a variable is written ${NAME} or ${NAME:-default}; for a `${` that is none write `$${`"
                    .to_owned()
            }
            Unexpanded::Unset(name) => format!("set it, or give a default: ${{{name}:-default}}"),
        }
    }
}

/// The text with its variables filled in; borrowed if it has none. As in a shell, the default of `:-` also stands in
/// for a variable that is empty.
///
/// # Errors
/// The first thing that is wrong with its variables.
pub(super) fn expand<'a>(
    text: &'a str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'a, str>, Unexpanded> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let (inner, after) = from[2..].split_once('}').ok_or(Unexpanded::Open)?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(Unexpanded::Name(name.to_owned()));
        }
        match (variable(name), default) {
            (Some(value), None) => out.push_str(&value),
            (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (None, None) => return Err(Unexpanded::Unset(name.to_owned())),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn is_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("${A}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_once() {
        for (text, want) in [
            ("", ""),
            ("a$b{c}", "a$b{c}"),
            ("${A}", "1"),
            ("x${A}y${A}z", "x1y1z"),
            ("${A:-2}", "1"),
            ("${NONE:-2}", "2"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${EMPTY}", ""),
            ("${EMPTY:-2}", "2"),
            ("$${A}", "${A}"),
            ("a$$${A}", "a$${A}"),
            ("${A}$${A}${A}", "1${A}1"),
            ("${DOLLAR}", "${A}"),
            ("${NONE:-${A}}", "${A}"),
            ("$", "$"),
            ("é${A}é", "é1é"),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_named() {
        for (text, want) in [
            ("${", Unexpanded::Open),
            ("a${A", Unexpanded::Open),
            ("${}", Unexpanded::Name(String::new())),
            ("${1A}", Unexpanded::Name("1A".to_owned())),
            ("${A-2}", Unexpanded::Name("A-2".to_owned())),
            ("${ A }", Unexpanded::Name(" A ".to_owned())),
            ("${:-2}", Unexpanded::Name(String::new())),
            ("${A}${NONE}", Unexpanded::Unset("NONE".to_owned())),
        ] {
            assert_eq!(expand(text, &environment), Err(want), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_escaped_reads_back() {
        for text in ["${", "a${b}c", "$${", "$$$${{}}", "${${"] {
            assert_eq!(expand(&text.replace("${", "$${"), &environment).as_deref(), Ok(text));
        }
    }
}
