//! What a request is matched by: hosts, paths, and other conditions.

use std::str::FromStr;

use ipnet::IpNet;

use super::template::Variable;
use crate::http::path;
use crate::limits::{CAPTURES_MAX, SEGMENTS_MAX};

/// A host that a route is for, in lower case, without port and without the dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one: `www.example.com`, `127.0.0.1`, `[::1]`.
    Exact(String),
    /// Any below it, however deep, but not itself: `*.example.com` is kept as `example.com`.
    Wildcard(String),
}

/// The longest name of a host, in bytes (RFC 1035, section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;
/// The longest of its labels, in bytes.
pub const LABEL_BYTES_MAX: usize = 63;

impl FromStr for HostPattern {
    type Err = String;

    /// Reads `www.example.com`, `*.example.com`, `127.0.0.1` or `[::1]`.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn from_str(text: &str) -> Result<HostPattern, String> {
        let wrong = |why: &str| Err(format!("{text:?} is no host: {why}"));
        if let Some(literal) = text.strip_prefix('[') {
            return match literal.split_once(']') {
                Some((address, "")) => match address.parse::<std::net::Ipv6Addr>() {
                    Ok(address) => Ok(HostPattern::Exact(format!("[{address}]"))),
                    Err(_) => wrong("there is no IPv6 address in the brackets"),
                },
                Some((_, port)) if port.starts_with(':') => wrong(PORT),
                _ => wrong("the bracket has to be closed at its end"),
            };
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return wrong("an IPv6 address stands in brackets");
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(parent) => (true, parent),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match name.chars().find(|&c| !usual(c)) {
            Some('*') if text == "*" => return wrong("a route without hosts is for any"),
            Some('*') => return wrong("a `*` can only be the whole first label, as in `*.example.com`"),
            Some(':') if text.contains("://") => return wrong("a host has no scheme"),
            Some(':') => return wrong(PORT),
            Some('/') => return wrong("a path is given by `path` or `path-prefix`"),
            Some(c) if !c.is_ascii() => return wrong("international names are written as `xn--…`"),
            Some(c) => return wrong(&format!("it has a {c:?}")),
            None => {}
        }
        if name.is_empty() || name.split('.').any(str::is_empty) {
            return wrong("it has an empty label");
        }
        if name.len() > HOST_BYTES_MAX || name.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
            return wrong("it is too long");
        }
        Ok(if wildcard { HostPattern::Wildcard(name) } else { HostPattern::Exact(name) })
    }
}

/// Why a host with a port is none.
const PORT: &str = "requests are matched whatever the port";

impl HostPattern {
    /// Whether a host is one that the pattern is for: in lower case, without port.
    pub fn is_for(&self, host: &[u8]) -> bool {
        match self {
            HostPattern::Exact(name) => host == name.as_bytes(),
            HostPattern::Wildcard(parent) => host
                .strip_suffix(parent.as_bytes())
                .is_some_and(|below| below.len() > 1 && below.ends_with(b".")),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostPattern::Exact(host) => f.write_str(host),
            HostPattern::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// A path that a route is for. What is compared is the normal form: see [`crate::http::path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// All of the path: `/users/{id}`.
    Whole(Vec<Segment>),
    /// Its first segments: the prefix `/api` is for `/api` and `/api/x`, not for `/apis`. Without segments it
    /// is for every path.
    Prefix(Vec<Segment>),
    /// Whatever the expression finds; anchors have to be written.
    Regex(Pattern),
}

/// A part of a path between two slashes. `/a/` has an empty one at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// This text, in normal form.
    Literal(String),
    /// Any that is not empty, remembered by this name.
    Capture(String),
}

impl PathPattern {
    /// Reads a whole path, whose segments may be captures: `/users/{id}`. Its literals may be written in any
    /// spelling; blanks and what is beyond ASCII may stand unescaped.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn whole(text: &str) -> Result<PathPattern, String> {
        segments(text).map(PathPattern::Whole)
    }

    /// Reads the first segments of a path, as [`PathPattern::whole`] does. A slash at the end makes no
    /// difference.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn prefix(text: &str) -> Result<PathPattern, String> {
        let mut segments = segments(text)?;
        segments.pop_if(|last| *last == Segment::Literal(String::new()));
        Ok(PathPattern::Prefix(segments))
    }

    /// Reads an expression; its named groups are captures: `^/v(?<version>[0-9]+)/`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn regex(text: &str) -> Result<PathPattern, String> {
        let pattern = PathPattern::Regex(text.parse()?);
        check_captures(text, pattern.captures())?;
        Ok(pattern)
    }

    /// Whether a path in normal form is one that the pattern is for. What does not begin with a slash, such as `*`, is no
    /// path.
    pub fn is_for(&self, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(b"/") else { return false };
        let (segments, is_prefix) = match self {
            PathPattern::Whole(segments) => (segments, false),
            PathPattern::Prefix(segments) => (segments, true),
            PathPattern::Regex(pattern) => return pattern.regex().is_match(path),
        };
        let mut found = rest.split(|&byte| byte == b'/');
        let all = segments.iter().all(|segment| match (segment, found.next()) {
            (_, None) => false,
            (Segment::Literal(text), Some(found)) => found == text.as_bytes(),
            (Segment::Capture(_), Some(found)) => !found.is_empty(),
        });
        all && (is_prefix || found.next().is_none())
    }

    /// The names of what it captures, from left to right.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        let (segments, pattern) = match self {
            PathPattern::Whole(segments) | PathPattern::Prefix(segments) => (&**segments, None),
            PathPattern::Regex(pattern) => (&[][..], Some(pattern)),
        };
        let of_segments = segments.iter().filter_map(|segment| match segment {
            Segment::Capture(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        });
        of_segments.chain(pattern.into_iter().flat_map(|pattern| pattern.regex.capture_names().flatten()))
    }
}

/// As it can be read again by the constructor of its kind.
impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PathPattern::Prefix(segments) if segments.is_empty() => f.write_str("/"),
            PathPattern::Whole(segments) | PathPattern::Prefix(segments) => {
                segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
            }
            PathPattern::Regex(pattern) => f.write_str(&pattern.source),
        }
    }
}

impl std::fmt::Display for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Segment::Literal(text) => f.write_str(text),
            Segment::Capture(name) => write!(f, "{{{name}}}"),
        }
    }
}

/// Reads a path with captures.
fn segments(text: &str) -> Result<Vec<Segment>, String> {
    let wrong = |why: &str| Err(format!("{text:?} is no path: {why}"));
    if !text.starts_with('/') {
        return wrong("it has to begin with a slash");
    }
    match text.chars().find(|&c| matches!(c, '?' | '#' | '\\') || c.is_control()) {
        Some('?') => return wrong("the query is no part of it; a `?` as such is written `%3F`"),
        Some('#') => return wrong("no request has a fragment; a `#` as such is written `%23`"),
        Some('\\') => return wrong("a backslash is written `%5C`"),
        Some(_) => return wrong("it has a control character"),
        None => {}
    }
    let mut written = String::new();
    for c in text.chars() {
        match c {
            '!'..='~' => written.push(c),
            // No request has these unescaped.
            _ => {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| written.push_str(&format!("%{byte:02X}")))
            }
        }
    }
    let mut normal = Vec::new();
    if path::normalise(written.as_bytes(), &mut normal).is_err() {
        return wrong("after a `%` come two hexadecimal digits, and not `00`");
    }
    let normal = String::from_utf8_lossy(&normal);
    let segments: Vec<_> =
        normal.split('/').skip(1).map(segment).collect::<Result<_, _>>().or_else(|why| wrong(&why))?;
    let captures = segments.iter().filter_map(|segment| match segment {
        Segment::Capture(name) => Some(name.as_str()),
        Segment::Literal(_) => None,
    });
    check_captures(text, captures)?;
    if segments.len() > SEGMENTS_MAX {
        return wrong(&format!("it has more than {SEGMENTS_MAX} segments"));
    }
    Ok(segments)
}

fn segment(text: &str) -> Result<Segment, String> {
    if !text.contains(['{', '}']) {
        return Ok(Segment::Literal(text.to_owned()));
    }
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some("") => Err("a capture has no name".to_owned()),
        Some(name) if !name.contains(['{', '}']) => Ok(Segment::Capture(name.to_owned())),
        _ => Err(
            "a capture is a whole segment, as in `/users/{id}`; braces as such are written `%7B` and `%7D`"
                .to_owned(),
        ),
    }
}

/// Names are words, each is there once, and there are not too many.
fn check_captures<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = Vec::new();
    for name in names {
        if !Variable::is_capture_name(name) {
            return Err(format!(
                "{text:?} has a capture {{{name}}}: names are of letters, digits, `-` and `_`"
            ));
        }
        if Variable::is_word(name) {
            return Err(format!("{text:?} has a capture {{{name}}}, which is a variable of another meaning"));
        }
        if seen.contains(&name) {
            return Err(format!("{text:?} has two captures {{{name}}}"));
        }
        seen.push(name);
    }
    if seen.len() > CAPTURES_MAX {
        return Err(format!("{text:?} has more than {CAPTURES_MAX} captures"));
    }
    Ok(())
}

/// A regular expression that runs in linear time, with the text that it was made from.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: regex::bytes::Regex,
}

/// Bytes that a compiled expression may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

impl Pattern {
    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Compiled.
    pub fn regex(&self) -> &regex::bytes::Regex {
        &self.regex
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let regex =
            regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(PATTERN_BYTES_MAX).build();
        match regex {
            Ok(regex) => Ok(Pattern { source: text.to_owned(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err(format!("the expression {text:?} is too large")),
            Err(error) => {
                // Its message draws the place over several lines; the last says what is wrong.
                let text_of = error.to_string();
                let cause = text_of.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!("{text:?} is no regular expression: {cause}"))
            }
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

/// Something that has to be so for a route to take a request, beside host and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The method is one of these; names are compared as they stand.
    Method(Vec<String>),
    /// A field of that name, without regard to case; several lines each count.
    Header(String, Test),
    /// A parameter of the query, decoded; several each count.
    Query(String, Test),
    /// A cookie; several each count.
    Cookie(String, Test),
    /// The client is in one of these networks.
    Client(Vec<IpNet>),
    /// The request came in at one of these listeners.
    Listener(Vec<String>),
    /// The host is one of these.
    Host(Vec<HostPattern>),
    /// The path is one of these.
    Path(Vec<PathPattern>),
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
}

/// What a value has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// There, whatever it is.
    Present,
    /// Not there.
    Absent,
    /// This.
    Is(String),
    /// Something that begins with this.
    Prefix(String),
    /// Something that ends with this.
    Suffix(String),
    /// Something that has this in it.
    Contains(String),
    /// Something that the expression finds.
    Regex(Pattern),
    /// One of these.
    OneOf(Vec<Test>),
}

impl Test {
    /// Whether the test is passed, where `one` says whether any of the values is accepted.
    pub fn passes(&self, one: &dyn Fn(&dyn Fn(&[u8]) -> bool) -> bool) -> bool {
        match self {
            Test::Present => one(&|_| true),
            Test::Absent => !one(&|_| true),
            Test::Is(text) => one(&|value| value == text.as_bytes()),
            Test::Prefix(text) => one(&|value| value.starts_with(text.as_bytes())),
            Test::Suffix(text) => one(&|value| value.ends_with(text.as_bytes())),
            Test::Contains(text) => one(&|value| memchr::memmem::find(value, text.as_bytes()).is_some()),
            Test::Regex(pattern) => one(&|value| pattern.regex().is_match(value)),
            Test::OneOf(tests) => tests.iter().any(|test| test.passes(one)),
        }
    }
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
