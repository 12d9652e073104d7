//! Reading single values of a file: texts with their variables filled in, numbers, truth values. What is wrong is
//! gathered on the way, so that one mistake does not hide the next.

use std::cell::{Cell, RefCell};

use toml::Spanned;
use toml::de::DeValue;

use super::environment;
use super::keys::Kind;
use super::problem::{Problem, Severity};
use super::source::Place;
use super::table::FromValue;

/// A value in a file.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) file: usize,
    pub(super) spanned: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(super) fn place(self) -> Place {
        Place::new(self.file, self.spanned.span())
    }

    pub(super) fn get(self) -> &'a DeValue<'a> {
        self.spanned.get_ref()
    }
}

/// Takes values out of files, and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    problems: RefCell<Vec<Problem>>,
    /// How many of them are errors.
    errors: Cell<usize>,
    /// What is wrong with the syntax, and the lines on which nothing else counts then.
    syntax: RefCell<Vec<(Problem, Place)>>,
}

impl<'a> Reader<'a> {
    /// One that looks up variables of the environment there.
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Reader<'a> {
        Reader { variable, problems: RefCell::default(), errors: Cell::new(0), syntax: RefCell::default() }
    }

    /// Adds a problem.
    pub(super) fn add(&self, problem: Problem) {
        self.errors.set(self.errors.get() + usize::from(problem.severity == Severity::Error));
        self.problems.borrow_mut().push(problem);
    }

    /// How many errors there are so far, those of the syntax aside.
    pub(super) fn errors(&self) -> usize {
        self.errors.get()
    }

    /// Adds an error at a place.
    pub(super) fn error(&self, place: Place, message: impl Into<String>) {
        self.add(Problem::error(place, message));
    }

    /// Adds an error of the syntax. What is on these lines may be read as something else than was meant, so that
    /// nothing else is said about them.
    pub(super) fn syntax(&self, place: Place, lines: Place, message: impl Into<String>) {
        self.syntax.borrow_mut().push((Problem::error(place, message), lines));
    }

    /// All that is wrong.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let (mut problems, syntax) = (self.problems.into_inner(), self.syntax.into_inner());
        let meets = |place: Place, lines: Place| {
            place.file == lines.file && place.start <= lines.end && lines.start <= place.end
        };
        problems.retain(|problem| {
            !problem.place.is_some_and(|place| syntax.iter().any(|(_, lines)| meets(place, *lines)))
        });
        problems.extend(syntax.into_iter().map(|(problem, _)| problem));
        problems
    }

    /// Says that a value is of the wrong type.
    pub(super) fn wrong_type<T>(&self, value: Value<'_>, kind: &Kind) -> Option<T> {
        let problem = Problem::error(value.place(), format!("must be {kind}, not {}", name(value.get())));
        self.add(match kind {
            Kind::List(Kind::Table(_)) => {
                problem.with_help("each is written below a line `[[NAME]]` of its own")
            }
            _ => problem,
        });
        None
    }

    /// A text, its variables filled in.
    pub(super) fn text(&self, value: Value<'_>, kind: &Kind) -> Option<String> {
        let DeValue::String(text) = value.get() else { return self.wrong_type(value, kind) };
        self.expand(value.place(), text)
    }

    fn expand(&self, place: Place, text: &str) -> Option<String> {
        match environment::expand(text, self.variable) {
            Ok(text) => Some(text.into_owned()),
            Err(error) => {
                self.add(Problem::error(place, error.to_string()).with_help(error.help()));
                None
            }
        }
    }

    /// A text that is made into something else.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &self,
        value: Value<'_>,
        kind: &Kind,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(value, kind)?;
        parse(&text).map_err(|error| self.error(value.place(), error.to_string())).ok()
    }

    /// A text with variables of the environment in it stands for what it becomes, such as a number.
    fn expanded(&self, value: Value<'_>) -> Option<Option<String>> {
        match value.get() {
            DeValue::String(text) if text.contains("${") => self.expand(value.place(), text).map(Some),
            _ => Some(None),
        }
    }

    /// A whole number.
    pub(super) fn integer(&self, value: Value<'_>, kind: &Kind) -> Option<u64> {
        let (min, max) = match kind {
            Kind::Integer { min, max } => (*min, *max),
            _ => (0, u64::MAX),
        };
        let number = match (self.expanded(value)?, value.get()) {
            (Some(text), _) => text.trim().parse::<i128>().ok(),
            (None, DeValue::Integer(number)) => {
                // Too large for the type is out of bounds too.
                Some(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
            }
            _ => return self.wrong_type(value, kind),
        };
        let within = number.and_then(|number| u64::try_from(number).ok());
        let within = within.filter(|number| (min..=max).contains(number));
        if within.is_none() {
            let is_large = number.is_some_and(|number| number > i128::from(max));
            let message = if is_large && !kind.says_max() {
                "is too large".to_owned()
            } else {
                format!("must be {kind}")
            };
            self.error(value.place(), message);
        }
        within
    }

    /// A truth value.
    pub(super) fn truth(&self, value: Value<'_>, kind: &Kind) -> Option<bool> {
        match (self.expanded(value)?, value.get()) {
            (Some(text), _) => {
                let truth = text.trim().parse().ok();
                if truth.is_none() {
                    self.error(value.place(), format!("must be {kind}"));
                }
                truth
            }
            (None, DeValue::Boolean(truth)) => Some(*truth),
            _ => self.wrong_type(value, kind),
        }
    }

    /// Each value of a list that can be read.
    pub(super) fn list<T: FromValue>(&self, file: usize, list: &[Spanned<DeValue<'_>>]) -> Vec<T> {
        list.iter().filter_map(|spanned| T::read(Value { file, spanned }, self)).collect()
    }
}

/// What a value is, as people call it.
fn name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
