//! The keys of the file: what each is called, what it takes and what it is for. Each table is declared once, with
//! the structure that it is read into (see `tables`); unknown keys, what is said about a wrong type, and the JSON
//! Schema all come from here.

pub use super::read::FILE;
use toml::de::DeValue;

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it takes.
    pub kind: &'static Kind,
    /// What it is for: a sentence or two, without a full stop at the end where there is but one.
    pub doc: &'static str,
}

/// A table: all that may stand in it.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// What it is called, in the singular: `route`. No two tables have the same name.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its own keys, in the order in which they are best explained.
    pub keys: &'static [KeyInfo],
    /// Tables whose keys may stand in it too.
    pub also: &'static [&'static Table],
}

impl Table {
    /// All keys that may stand in it.
    pub fn all(&self) -> impl Iterator<Item = &'static KeyInfo> {
        self.keys.iter().chain(self.also.iter().flat_map(|table| table.keys))
    }
}

/// What a key takes.
///
/// Wherever a text stands in the file, `${NAME}` may stand in it, and a number or truth value may be given as a text
/// that has such a variable in it.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text of a certain form, with an example of it; any text where the example is empty.
    Text(&'static str),
    /// A text with variables such as `{host}` in it, with an example.
    Template(&'static str),
    /// A regular expression, with an example.
    Regex(&'static str),
    /// A duration such as `10s`.
    Duration,
    /// A size such as `64MiB`, or a number of bytes.
    Size,
    /// A whole number.
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// One of these numbers.
    Number(&'static [u16]),
    /// `true` or `false`.
    Truth,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Such a value, or a list of them.
    OneOrMore(&'static Kind),
    /// A list of such values.
    List(&'static Kind),
    /// This table; a function, because conditions may have conditions in them.
    Table(fn() -> &'static Table),
    /// A table with any keys, whose values are such.
    MapOf(&'static Kind),
    /// Any of these.
    OneOf(&'static [&'static Kind]),
}

impl Kind {
    /// Whether a value looks like what is taken, so that it is meant as such.
    pub(super) fn fits(&self, value: &DeValue<'_>) -> bool {
        let is_variable = || value.as_str().is_some_and(|text| text.contains("${"));
        match self {
            Kind::Text(_) | Kind::Template(_) | Kind::Regex(_) | Kind::Duration | Kind::Choice(_) => {
                value.is_str()
            }
            Kind::Size => value.is_str() || value.is_integer(),
            Kind::Integer { .. } | Kind::Number(_) => value.is_integer() || is_variable(),
            Kind::Truth => value.is_bool() || is_variable(),
            Kind::OneOrMore(kind) => value.is_array() || kind.fits(value),
            Kind::List(_) => value.is_array(),
            Kind::Table(_) | Kind::MapOf(_) => value.is_table(),
            Kind::OneOf(kinds) => kinds.iter().any(|kind| kind.fits(value)),
        }
    }
}

/// Numbers above this are not worth saying.
const SAYABLE_MAX: u64 = u32::MAX as u64 - 1;

impl Kind {
    /// Whether the largest number is said where a value is no number.
    pub(super) fn says_max(&self) -> bool {
        !matches!(self, Kind::Integer { max, .. } if *max > SAYABLE_MAX)
    }

    /// Adds each form that a value can have, so that it fits behind "must be".
    fn forms(&self, out: &mut Vec<String>) {
        let form = match self {
            Kind::Text("") => "a text".to_owned(),
            Kind::Text(example) | Kind::Template(example) | Kind::Regex(example) => {
                format!("a text such as {example:?}")
            }
            Kind::Duration => "a text such as \"10s\"".to_owned(),
            Kind::Size => "a text such as \"64MiB\"".to_owned(),
            Kind::Integer { min, max } if *max > SAYABLE_MAX => format!("a number from {min}"),
            Kind::Integer { min, max } => format!("a number from {min} to {max}"),
            Kind::Number(numbers) => return out.extend(numbers.iter().map(u16::to_string)),
            Kind::Truth => return out.extend(["true".to_owned(), "false".to_owned()]),
            Kind::Choice(words) => return out.extend(words.iter().map(|word| format!("{word:?}"))),
            Kind::OneOrMore(kind) => {
                kind.forms(out);
                "a list of such".to_owned()
            }
            Kind::List(Kind::Table(_) | Kind::MapOf(_)) => "a list of tables".to_owned(),
            Kind::List(kind) => format!("a list, each {kind}"),
            Kind::Table(_) | Kind::MapOf(_) => "a table".to_owned(),
            Kind::OneOf(kinds) => return kinds.iter().for_each(|kind| kind.forms(out)),
        };
        out.push(form);
    }
}

impl std::fmt::Display for Kind {
    /// What is expected, so that it fits behind "must be": `a text, a list of such or false`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut forms = Vec::new();
        self.forms(&mut forms);
        let last = forms.len().saturating_sub(1);
        for (at, form) in forms.iter().enumerate() {
            let between = match at {
                0 => "",
                _ if at == last => " or ",
                _ => ", ",
            };
            write!(f, "{between}{form}")?;
        }
        Ok(())
    }
}

/// The name of a key as it stands in the file, from the name of a field: `max_head` becomes `max-head`.
pub(super) const fn kebab<const LENGTH: usize>(name: &str) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        out[at] = if name.as_bytes()[at] == b'_' { b'-' } else { name.as_bytes()[at] };
        at += 1;
    }
    out
}

/// The name of a field without what makes a name of a word of the language: `r#in` becomes `in`.
pub(super) const fn bare(name: &str) -> &str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// The name of a key as it stands in the file.
macro_rules! key {
    ($name:ident) => {{
        const FIELD: &str = $crate::config::keys::bare(stringify!($name));
        const BYTES: [u8; FIELD.len()] = $crate::config::keys::kebab(FIELD);
        const NAME: &str = match std::str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => panic!("the names of fields are ASCII"),
        };
        NAME
    }};
}
pub(super) use key;

/// A doc comment without the space in front of it; where there is none, what is said about the option of that name.
pub(super) const fn doc(name: &'static str, said: &'static str, options: &'static [KeyInfo]) -> &'static str {
    if let [b' ', ..] = said.as_bytes() {
        return said.split_at(1).1;
    }
    let mut at = 0;
    while at < options.len() {
        if equal(options[at].name, name) {
            return without_default(options[at].doc);
        }
        at += 1;
    }
    panic!("a key needs a doc comment")
}

/// What is said about an option, up to `[default: …]`: elsewhere the default is what the option says.
const fn without_default(doc: &'static str) -> &'static str {
    let mut at = 0;
    while at + 2 < doc.len() {
        if doc.as_bytes()[at] == b' ' && doc.as_bytes()[at + 1] == b'[' {
            return doc.split_at(at).0;
        }
        at += 1;
    }
    doc
}

const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}
