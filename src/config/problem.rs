//! What is wrong with a file, and how it is shown: each with its place, the line, and a caret under what is meant.

use std::fmt;

use serde::Serialize;
use unicode_width::UnicodeWidthChar as _;

use super::source::{Place, Source, Sources};
use super::suggest;

/// Problems above this many are counted, not shown.
pub const SHOWN_MAX: usize = 100;

/// Columns of a terminal that a line may take; of a longer one a window is shown.
const WINDOW_COLUMNS: usize = 100;

/// Columns of a window in front of what is meant.
const WINDOW_BEFORE: usize = 40;

/// Bytes of a line before and after the start of what is meant that are looked at; more than any window shows.
const LOOKED_AT_MAX: usize = 2048;

/// Columns in front of each line that is shown.
const INDENT: &str = "    ";

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used, but something in it has no effect, or not the one it seems to have.
    Warning,
}

/// Something wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is; nowhere if it is about something that is missing, or that cannot be read.
    pub place: Option<Place>,
    /// What is wrong, on one line.
    pub message: String,
    /// What to do about it, on one line.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn error(place: Place, message: impl Into<String>) -> Problem {
        Problem { place: Some(place), ..Problem::nowhere(message) }
    }

    /// A warning at a place.
    pub fn warning(place: Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(place, message) }
    }

    /// An error that has no place.
    pub fn nowhere(message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, place: None, message: message.into(), help: None }
    }

    /// The same, with advice.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }
}

/// All that is wrong with a configuration, in the order of its files, with their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    sources: Sources,
}

impl Problems {
    /// Puts problems in order.
    pub fn new(mut list: Vec<Problem>, sources: Sources) -> Problems {
        list.sort_by_key(|problem| problem.place);
        list.dedup();
        Problems { list, sources }
    }

    /// Each.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Whether there is an error among them.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|problem| problem.severity == severity).count()
    }

    /// The first [`SHOWN_MAX`] as JSON: an array of objects with `file`, `line`, `column`, `end_line`, `end_column`,
    /// `severity`, `message` and `help`. Lines and columns count from 1, columns in characters; they are null where
    /// there is no place, and so is `help` where there is none.
    pub fn to_json(&self) -> serde_json::Value {
        let record = |problem: &Problem| {
            let located = problem.place.and_then(|place| Located::find(&self.sources, place));
            let start = located.as_ref().map(|located| located.start);
            let end = located.as_ref().map(|located| located.end);
            serde_json::json!({
                "file": located.map(|located| located.source.path.to_string_lossy()),
                "line": start.map(|(line, _)| line),
                "column": start.map(|(_, column)| column),
                "end_line": end.map(|(line, _)| line),
                "end_column": end.map(|(_, column)| column),
                "severity": problem.severity,
                "message": problem.message,
                "help": problem.help,
            })
        };
        self.list.iter().take(SHOWN_MAX).map(record).collect()
    }
}

impl fmt::Display for Problems {
    /// Several lines, with a line end after each but the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.list.iter().take(SHOWN_MAX) {
            let severity = match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let message = printable(&problem.message);
            match problem.place.and_then(|place| Located::find(&self.sources, place)) {
                None => writeln!(f, "{severity}: {message}")?,
                Some(located) => {
                    let (line, column) = located.start;
                    let path = printable(&located.source.path.to_string_lossy());
                    writeln!(f, "{path}:{line}:{column}: {severity}: {message}")?;
                    let (text, carets) = located.drawn();
                    writeln!(f, "{INDENT}{text}\n{INDENT}{carets}")?;
                }
            }
            if let Some(help) = &problem.help {
                writeln!(f, "help: {}", printable(help))?;
            }
        }
        f.write_str(&self.summary())
    }
}

impl Problems {
    /// How many there are: `2 errors, 1 warning`.
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (severity, name) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
            match self.count(severity) {
                0 => {}
                1 => parts.push(format!("1 {name}")),
                count => parts.push(format!("{count} {name}s")),
            }
        }
        if self.list.len() > SHOWN_MAX {
            parts.push(format!("of which the first {SHOWN_MAX} are shown"));
        }
        parts.join(", ")
    }
}

/// A text from a file, in backticks, without what a terminal would act on.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text))
}

/// A text without what a terminal would act on.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A place with its lines and columns.
struct Located<'a> {
    source: &'a Source,
    /// The line that it begins on.
    text: &'a str,
    /// The part of the line that is meant.
    meant: std::ops::Range<usize>,
    /// Line and column, from 1.
    start: (usize, usize),
    end: (usize, usize),
}

impl<'a> Located<'a> {
    fn find(sources: &'a Sources, place: Place) -> Option<Located<'a>> {
        let source = sources.file(place)?;
        let text: &str = &source.text;
        let start = boundary(text, place.start);
        let end = boundary(text, place.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let meant = (start - line_start).min(line.len())..(end.min(line_end) - line_start).min(line.len());
        Some(Located { source, text: line, meant, start: position(text, start), end: position(text, end) })
    }

    /// The line, or a window of it, and the carets below.
    fn drawn(&self) -> (String, String) {
        let secret = secret_from(self.text);
        // Of a very long line only the part around what is meant is looked at.
        let first = boundary(self.text, self.meant.start.saturating_sub(LOOKED_AT_MAX));
        let last = boundary(self.text, self.meant.start + LOOKED_AT_MAX);
        let cells: Vec<(String, usize, bool)> = self.text[first..last]
            .char_indices()
            .map(|(at, c)| {
                let at = first + at;
                let (shown, width) = if secret.is_some_and(|secret| at >= secret) { star() } else { cell(c) };
                (shown, width, self.meant.contains(&at))
            })
            .collect();
        let in_front = self.text[first..self.meant.start].chars().count();
        let before: usize = cells[..in_front].iter().map(|cell| cell.1).sum();
        let all: usize = cells.iter().map(|cell| cell.1).sum();
        if all <= WINDOW_COLUMNS {
            return draw(&cells, before, "", "");
        }
        let from = before.saturating_sub(WINDOW_BEFORE);
        let mut column = 0;
        let window: Vec<_> = cells
            .into_iter()
            .filter(|cell| {
                let inside = column >= from && column + cell.1 <= from + WINDOW_COLUMNS;
                column += cell.1;
                inside
            })
            .collect();
        let left = if from > 0 { "…" } else { "" };
        let right = if from + WINDOW_COLUMNS < all { "…" } else { "" };
        draw(&window, before - from, left, right)
    }
}

/// Joins cells to a line, and draws carets below those that are meant.
fn draw(cells: &[(String, usize, bool)], before: usize, left: &str, right: &str) -> (String, String) {
    let text: String = cells.iter().map(|cell| cell.0.as_str()).collect();
    let meant: usize = cells.iter().filter(|cell| cell.2).map(|cell| cell.1).sum();
    let indent = " ".repeat(before + left.chars().count());
    (format!("{left}{text}{right}").trim_end().to_owned(), format!("{indent}{}", "^".repeat(meant.max(1))))
}

/// How a character is shown, and how many columns that takes.
fn cell(c: char) -> (String, usize) {
    match c {
        '\t' => ("  ".to_owned(), 2),
        c if c.is_control() => (char::REPLACEMENT_CHARACTER.to_string(), 1),
        c => (c.to_string(), c.width().unwrap_or(0)),
    }
}

/// What is shown of a secret.
fn star() -> (String, usize) {
    ("*".to_owned(), 1)
}

/// Where the value begins on a line that says the token, or something else that whoever wrote it may want to hide: as
/// the line's own key, or as a key of a table within the line.
fn secret_from(line: &str) -> Option<usize> {
    let mut equals = line.match_indices('=').map(|(at, _)| {
        let before = line[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let key = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).next();
        (at + 1, before, key.unwrap_or_default())
    });
    let (value, own, _) = equals.next()?;
    let own = own.to_ascii_lowercase();
    if ["tok", "secret", "passw"].iter().any(|word| own.contains(word)) {
        return Some(value);
    }
    // However it is misspelt.
    let hides = |key: &str| {
        (4..=9).contains(&key.len())
            && key != "secure"
            && suggest::nearest(key, ["secret"].into_iter()).is_some()
    };
    equals.find(|(_, _, key)| hides(key)).map(|(value, ..)| value)
}

/// The character that an offset is in.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Line and column of an offset, from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
