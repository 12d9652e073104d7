//! Rules that requests are held against: which, and what each of them looks at and does.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::matching::{Condition, Test};
use super::template::Template;
use crate::http::fields::is_token;

/// The name of the set that comes with the proxy.
pub const PROBES: &str = "probes";
/// Bytes of a form that are looked at where nothing is said.
pub const FORM_BYTES_DEFAULT: usize = 64 * 1024;
/// The longest that a client is held in a tarpit.
pub const TARPIT_MAX: Duration = Duration::from_secs(60);
/// So many different tags may be given.
pub const TAGS_MAX: usize = 64;
/// So many rules may be in one set.
pub const RULES_MAX: usize = 10_000;
/// So many expressions may be in the patterns of one set.
pub const EXPRESSIONS_MAX: usize = 1_000;
/// Methods that the shipped set lets through where nothing is said.
pub const METHODS_DEFAULT: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The rules of a listener or a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Names of sets, in the order in which they count.
    pub sets: Vec<String>,
    /// Bytes that a form may have that rules look at.
    pub form_bytes_max: Option<usize>,
}

/// A set of rules, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Its name.
    pub name: String,
    /// Whether its rules only count and say what they would do.
    pub detect_only: bool,
    /// What it takes of the shipped set; those rules come behind its own.
    pub probes: Option<Probes>,
    /// Its own rules, in the order in which they count.
    pub rules: Vec<Rule>,
}

/// How the shipped set is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// The ids of rules that are left out.
    pub except: Vec<String>,
    /// Methods that are let through; [`METHODS_DEFAULT`] where it is empty.
    pub methods: Vec<String>,
}

/// A rule: what a request has to be, and what becomes of it then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called within its set.
    pub id: String,
    /// All of this has to hold.
    pub when: Vec<When>,
    /// What becomes of the request.
    pub action: RuleAction,
}

/// Something that a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// What routes can ask too.
    Is(Condition),
    /// The declared size of its content is within these, both included. Chunked content declares none, so that this does
    /// not hold; without content it is 0.
    Size {
        /// At least so many bytes.
        min: Option<u64>,
        /// At most so many bytes.
        max: Option<u64>,
    },
    /// Its User-Agent field.
    UserAgent(Test),
    /// An earlier rule has given it one of these tags.
    Tagged(Vec<String>),
    /// One of the tests finds something in one of the places.
    Finds(Search),
    /// All of these hold.
    All(Vec<When>),
    /// One of these holds.
    Any(Vec<When>),
    /// This does not hold.
    Not(Box<When>),
}

/// What is looked for, and where: in every reading of what was sent that some server may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Where.
    pub within: Vec<Subject>,
    /// Texts, without regard to the case of ASCII letters.
    pub contains: Vec<String>,
    /// Expressions, without regard to the case of ASCII letters.
    pub regex: Vec<Expression>,
    /// Whether SQL injection is looked for.
    pub sqli: bool,
    /// Whether scripts and markup are looked for.
    pub xss: bool,
    /// Whether only that reading counts that a server has that keeps to the standards.
    pub standard: bool,
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The path, as it was sent and in normal form.
    Path,
    /// The query, and the names and values of its parameters.
    Query,
    /// The values of all fields.
    Header,
    /// The values of the field of that name, in lower case.
    Field(String),
    /// Names and values of cookies.
    Cookie,
    /// Names and values of the fields of a form, and the names of its files.
    Form,
    /// The texts in JSON content.
    Json,
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Subject, String> {
        Ok(match text {
            "path" => Subject::Path,
            "query" => Subject::Query,
            "header" => Subject::Header,
            "cookie" => Subject::Cookie,
            "form" => Subject::Form,
            "json" => Subject::Json,
            "user-agent" => Subject::Field("user-agent".to_owned()),
            _ => match text.strip_prefix("header:") {
                Some(name) if is_token(name.as_bytes()) => Subject::Field(name.to_ascii_lowercase()),
                _ => {
                    return Err(format!(
                        "{text:?} is no part of a request: path, query, header, header:NAME, user-agent, cookie, form or json"
                    ));
                }
            },
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Subject::Path => "path",
            Subject::Query => "query",
            Subject::Header => "header",
            Subject::Cookie => "cookie",
            Subject::Form => "form",
            Subject::Json => "json",
            Subject::Field(name) if name == "user-agent" => "user-agent",
            Subject::Field(name) => return write!(f, "header:{name}"),
        })
    }
}

/// A regular expression that runs in linear time, and does not tell upper from lower case.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    regex: regex::bytes::Regex,
}

/// Bytes that a compiled expression may take, and the table that it makes while it runs.
const EXPRESSION_BYTES_MAX: usize = 256 << 10;

impl Expression {
    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Compiled.
    pub fn regex(&self) -> &regex::bytes::Regex {
        &self.regex
    }
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Expression, String> {
        let mut builder = regex::bytes::RegexBuilder::new(text);
        builder.unicode(false).case_insensitive(true).size_limit(EXPRESSION_BYTES_MAX);
        match builder.dfa_size_limit(EXPRESSION_BYTES_MAX).build() {
            Ok(regex) => Ok(Expression { source: text.to_owned(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err(format!("the expression {text:?} is too large")),
            Err(error) => {
                let text_of = error.to_string();
                let cause = text_of.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!("{text:?} is no regular expression: {cause}"))
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

/// What becomes of a request for which a rule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// It is refused with this status.
    Deny(u16),
    /// The connection closes without an answer.
    Close,
    /// The client waits, and then the connection closes, or the request is refused with this status.
    Tarpit(Duration, Option<u16>),
    /// The client is sent elsewhere.
    Redirect {
        /// Where to.
        to: Template,
        /// With which status.
        status: u16,
    },
    /// The request gets a tag, and goes on.
    Tag(String),
    /// It is noted, and goes on.
    Log,
    /// It goes on, and no further rule is asked.
    Allow,
}

impl When {
    /// Whether this one, or one within it, is so.
    pub fn any(&self, is: &dyn Fn(&When) -> bool) -> bool {
        is(self)
            || match self {
                When::All(parts) | When::Any(parts) => parts.iter().any(|part| part.any(is)),
                When::Not(part) => part.any(is),
                _ => false,
            }
    }

    /// Whether content has to be looked at to know whether it holds.
    pub fn wants(&self, subject: &Subject) -> bool {
        self.any(&|when| matches!(when, When::Finds(search) if search.within.contains(subject)))
    }
}

impl Rule {
    /// Whether content has to be looked at to know whether it holds.
    pub fn wants(&self, subject: &Subject) -> bool {
        self.when.iter().any(|when| when.wants(subject))
    }
}
