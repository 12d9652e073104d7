//! What a request is matched by: hosts, paths, and other conditions.

use std::str::FromStr;

use ipnet::IpNet;

/// A host that a route is for, in lower case, without port and without the dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This one: `www.example.com`, `127.0.0.1`, `[::1]`.
    Exact(String),
    /// Any below it, however deep, but not itself: `*.example.com` is kept as `example.com`.
    Wildcard(String),
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
