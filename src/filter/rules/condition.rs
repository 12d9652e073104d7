//! Whether a condition holds for a request.
//!
//! Where a text can be read in several ways, a rule that restricts holds if one reading has what it looks for, and one
//! that lets pass only if every reading has: nobody comes past a rule by an odd spelling.

use std::borrow::Cow;

use super::Asked;
use super::decode::Manner;
use super::search::is_set;
use crate::config::matching::{Condition, Test};
use crate::config::rules::{Search, Subject, When};
use crate::http::{cookie, method, query};

/// A condition, ready to be asked.
#[derive(Clone, Debug)]
pub(super) enum Cond {
    Is(Condition),
    Size(u64, u64),
    UserAgent(Test),
    Tagged(u64),
    /// What the search at this place looks for.
    Finds(usize),
    All(Vec<Cond>),
    Any(Vec<Cond>),
    Not(Box<Cond>),
}

/// Which readings have to be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One of them.
    Any,
    /// All of them; of what is looked for in decoded texts, the one that a server has that keeps to the standards.
    Every,
}

impl Mode {
    pub(super) fn other(self) -> Mode {
        match self {
            Mode::Any => Mode::Every,
            Mode::Every => Mode::Any,
        }
    }
}

/// A request, and what was found out about it.
pub(super) struct View<'a> {
    pub(super) asked: &'a Asked<'a>,
    /// What was found in its head and in its content, a bit for each search.
    pub(super) found: [&'a [u64]; 2],
    /// How others may read the path.
    pub(super) paths: &'a [Vec<u8>],
    pub(super) tags: u64,
}

impl Cond {
    /// Makes it ready; `tag` says which bit a tag is. `searches` are those that there are, each with whether it is for
    /// the standard reading alone.
    pub(super) fn new<'r>(
        when: &'r When,
        mode: Mode,
        tag: &dyn Fn(&str) -> u64,
        searches: &mut Vec<(&'r Search, bool)>,
    ) -> Cond {
        let mut all =
            |parts: &'r [When]| parts.iter().map(|part| Cond::new(part, mode, tag, searches)).collect();
        match when {
            When::Is(condition) => Cond::Is(condition.clone()),
            When::Size { min, max } => Cond::Size(min.unwrap_or(0), max.unwrap_or(u64::MAX)),
            When::UserAgent(test) => Cond::UserAgent(test.clone()),
            When::Tagged(tags) => Cond::Tagged(tags.iter().fold(0, |bits, name| bits | tag(name))),
            When::Finds(search) => {
                searches.push((search, mode == Mode::Every));
                Cond::Finds(searches.len() - 1)
            }
            When::All(parts) => Cond::All(all(parts)),
            When::Any(parts) => Cond::Any(all(parts)),
            When::Not(part) => Cond::Not(Box::new(Cond::new(part, mode.other(), tag, searches))),
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, view: &View<'_>, mode: Mode) -> bool {
        let asked = view.asked;
        match self {
            Cond::Is(condition) => is(condition, view, mode),
            Cond::Size(min, max) => asked.size.is_some_and(|size| (*min..=*max).contains(&size)),
            Cond::UserAgent(test) => {
                passes(test, mode, &|accepts| asked.fields.named(b"user-agent").any(accepts))
            }
            Cond::Tagged(tags) => view.tags & tags != 0,
            Cond::Finds(place) => view.found.iter().any(|found| is_set(found, *place)),
            Cond::All(parts) => parts.iter().all(|part| part.holds(view, mode)),
            Cond::Any(parts) => parts.iter().any(|part| part.holds(view, mode)),
            Cond::Not(part) => !part.holds(view, mode.other()),
        }
    }
}

fn is(condition: &Condition, view: &View<'_>, mode: Mode) -> bool {
    let asked = view.asked;
    match condition {
        Condition::Method(methods) => method::lists(methods, asked.method),
        Condition::Header(name, test) => {
            passes(test, mode, &|accepts| asked.fields.named(name.as_bytes()).any(accepts))
        }
        Condition::Query(name, test) => passes(test, mode, &|accepts| {
            let query = asked.query.unwrap_or_default();
            query::values(query, name.as_bytes()).any(|value| accepts(&decoded(value)))
        }),
        Condition::Cookie(name, test) => {
            passes(test, mode, &|accepts| cookie::values(asked.fields, name.as_bytes()).any(accepts))
        }
        Condition::Client(networks) => {
            let client = asked.client.map(|client| client.to_canonical());
            client.is_some_and(|client| networks.iter().any(|network| network.contains(&client)))
        }
        Condition::Listener(names) => names.iter().any(|name| name == asked.listener),
        Condition::Host(patterns) => patterns.iter().any(|pattern| pattern.is_for(asked.host)),
        Condition::Path(patterns) => {
            let is_for = |path: &[u8]| patterns.iter().any(|pattern| pattern.is_for(path));
            let mut others = view.paths.iter();
            match mode {
                Mode::Any => is_for(asked.path) || others.any(|path| is_for(path)),
                Mode::Every => is_for(asked.path) && others.all(|path| is_for(path)),
            }
        }
        Condition::All(parts) => parts.iter().all(|part| is(part, view, mode)),
        Condition::Any(parts) => parts.iter().any(|part| is(part, view, mode)),
        Condition::Not(part) => !is(part, view, mode.other()),
    }
}

/// Whether a value passes, or every one: which of several a server goes by, nobody knows.
fn passes(test: &Test, mode: Mode, any: &dyn Fn(&dyn Fn(&[u8]) -> bool) -> bool) -> bool {
    test.passes(any) && (mode == Mode::Any || !any(&|value| !test.passes(&|accepts| accepts(value))))
}

/// What a parameter stands for, decoded once.
pub(super) fn decoded(sent: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', sent).is_none() {
        return Cow::Borrowed(sent);
    }
    let mut out = Vec::with_capacity(sent.len());
    query::decode(sent, &mut out);
    Cow::Owned(out)
}

/// Shows `accepts` the texts of a part of the head of a request, as they were sent, until it accepts one.
pub(super) fn each_text(
    subject: &Subject,
    asked: &Asked<'_>,
    accepts: &mut dyn FnMut(&[u8], Manner) -> bool,
) -> bool {
    match subject {
        Subject::Path => {
            accepts(asked.sent_path, Manner::Path)
                || asked.path != asked.sent_path && accepts(asked.path, Manner::Path)
        }
        Subject::Query => query::parameters(asked.query.unwrap_or_default()).any(|parameter| {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(byte);
            let is_odd = !parameter.name.iter().all(is_name);
            accepts(parameter.name, Manner::Form)
                || !parameter.value.is_empty() && accepts(parameter.value, Manner::Form)
                // What has an odd name may be no parameter to its server.
                || is_odd && parameter.whole != parameter.name && accepts(parameter.whole, Manner::Form)
        }),
        Subject::Header => asked.fields.iter().any(|(_, _, value)| accepts(value, Manner::Plain)),
        Subject::Field(name) => {
            asked.fields.named(name.as_bytes()).any(|value| accepts(value, Manner::Plain))
        }
        Subject::Cookie => asked.fields.named(b"cookie").flat_map(cookie::pairs).any(|(name, value)| {
            accepts(name, Manner::Plain) || !value.is_empty() && accepts(value, Manner::Plain)
        }),
        // Those are found before: see `study`.
        Subject::Form | Subject::Json => false,
    }
}
