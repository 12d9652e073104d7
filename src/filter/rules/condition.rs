//! Whether a condition holds for a request.
//!
//! Where a text can be read in several ways, a rule that restricts holds if one reading has what it looks for, and one
//! that lets pass only if every reading has: nobody comes past a rule by an odd spelling.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use aho_corasick::AhoCorasick;

use super::decode::{Manner, Readings};
use super::study::Found;
use super::{Asked, inject, literal_search};
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
    Finds(Finds),
    All(Vec<Cond>),
    Any(Vec<Cond>),
    Not(Box<Cond>),
}

/// What is looked for, ready.
#[derive(Clone, Debug)]
pub(super) struct Finds {
    pub(super) within: Vec<Subject>,
    /// Its place among all searches.
    pub(super) place: usize,
    contains: Option<AhoCorasick>,
    regex: Vec<regex::bytes::Regex>,
    sqli: bool,
    xss: bool,
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
    fn other(self) -> Mode {
        match self {
            Mode::Any => Mode::Every,
            Mode::Every => Mode::Any,
        }
    }
}

/// A request, and what was found out about it.
pub(super) struct View<'a> {
    pub(super) asked: &'a Asked<'a>,
    /// What is in its content, if that is at hand.
    pub(super) found: Option<&'a Found>,
    /// How others may read the path.
    pub(super) paths: &'a [Vec<u8>],
    pub(super) tags: u64,
    pub(super) readings: &'a RefCell<Readings>,
    /// How many bytes may still be shown to what is slow.
    pub(super) budget: &'a Cell<usize>,
}

impl Cond {
    /// Makes it ready; `tag` says which bit a tag is. `searches` is the count of those that there are.
    pub(super) fn new(when: &When, tag: &dyn Fn(&str) -> u64, searches: &mut usize) -> Cond {
        let mut all = |parts: &[When]| parts.iter().map(|part| Cond::new(part, tag, searches)).collect();
        match when {
            When::Is(condition) => Cond::Is(condition.clone()),
            When::Size { min, max } => Cond::Size(min.unwrap_or(0), max.unwrap_or(u64::MAX)),
            When::UserAgent(test) => Cond::UserAgent(test.clone()),
            When::Tagged(tags) => Cond::Tagged(tags.iter().fold(0, |bits, name| bits | tag(name))),
            When::Finds(search) => {
                *searches += 1;
                Cond::Finds(Finds::new(search, *searches - 1))
            }
            When::All(parts) => Cond::All(all(parts)),
            When::Any(parts) => Cond::Any(all(parts)),
            When::Not(part) => Cond::Not(Box::new(Cond::new(part, tag, searches))),
        }
    }

    /// All searches in it, each with what has to be so.
    pub(super) fn searches<'a>(&'a self, mode: Mode, all: &mut Vec<(&'a Finds, Mode)>) {
        match self {
            Cond::Finds(finds) => all.push((finds, mode)),
            Cond::All(parts) | Cond::Any(parts) => parts.iter().for_each(|part| part.searches(mode, all)),
            Cond::Not(part) => part.searches(mode.other(), all),
            Cond::Is(_) | Cond::Size(..) | Cond::UserAgent(_) | Cond::Tagged(_) => {}
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
            Cond::Finds(finds) => finds.holds(view, mode),
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

impl Finds {
    fn new(search: &Search, place: usize) -> Finds {
        let Search { within, contains, regex, sqli, xss } = search;
        Finds {
            within: within.clone(),
            place,
            contains: (!contains.is_empty()).then(|| literal_search(contains)).flatten(),
            regex: regex.iter().map(|expression| expression.regex().clone()).collect(),
            sqli: *sqli,
            xss: *xss,
        }
    }

    fn holds(&self, view: &View<'_>, mode: Mode) -> bool {
        if view.found.is_some_and(|found| found.searches.get(self.place) == Some(&true)) {
            return true;
        }
        let mut readings = view.readings.borrow_mut();
        self.within.iter().any(|subject| {
            each_text(subject, view.asked, &mut |text, manner| {
                readings.any(text, manner, &mut |reading, is_standard| {
                    (mode == Mode::Any || is_standard) && self.is_in(reading, view.budget, mode)
                })
            })
        })
    }

    /// Whether it is in this reading of a text.
    pub(super) fn is_in(&self, text: &[u8], budget: &Cell<usize>, mode: Mode) -> bool {
        if self.contains.as_ref().is_some_and(|all| all.is_match(text))
            || self.regex.iter().any(|regex| regex.is_match(text))
        {
            return true;
        }
        // Whoever sends very much of what is odd wants to keep this core busy.
        let may_look = || {
            let left = budget.get().checked_sub(text.len());
            budget.set(left.unwrap_or_default());
            left.is_some()
        };
        let finds = |may_be: fn(&[u8]) -> bool, is: fn(&[u8]) -> bool| {
            may_be(text) && if may_look() { is(text) } else { mode == Mode::Any }
        };
        self.sqli && finds(inject::may_be_sqli, inject::is_sqli)
            || self.xss && finds(inject::may_be_xss, inject::is_xss)
    }
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
            accepts(parameter.name, Manner::Form)
                || !parameter.value.is_empty() && accepts(parameter.value, Manner::Form)
                // What has an odd name may be no parameter to its server.
                || !parameter.name.iter().all(is_name) && accepts(parameter.whole, Manner::Form)
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
