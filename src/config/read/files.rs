//! The files that make one configuration: the one that is named, and what it includes.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::said::{FILE, FileSaid};
use crate::config::problem::{Problem, quoted};
use crate::config::source::{self, FILES_MAX, Place, Sources};
use crate::config::table::{At, Entries, Map, Reader, Said};

/// After so many mistakes in the syntax of a file the rest is not worth looking at.
const SYNTAX_ERRORS_MAX: usize = 1000;

/// What the files say together.
#[derive(Default)]
pub(super) struct Files {
    /// Their texts.
    pub(super) sources: Sources,
    /// What they say, those that include in front of those that are included.
    pub(super) said: FileSaid,
    /// Whether one of them cannot be read or is no TOML, so that something may be missing.
    pub(super) broken: bool,
    /// Those that have been read, as they are on the disk.
    seen: Vec<PathBuf>,
    /// Those that are being read: each includes the next.
    open: Vec<usize>,
}

/// Reads a file and all that it includes. What is wrong is added to the reader's problems.
pub(super) fn read(path: &Path, reader: &Reader<'_>) -> Files {
    let mut files = Files::default();
    files.add(path, None, reader);
    files
}

/// Reads a text as if it were a file.
pub(super) fn of_text(text: String, reader: &Reader<'_>) -> Files {
    let mut files = Files::default();
    let file = files.sources.add(PathBuf::from("text"), text);
    files.take(file, Path::new("text"), reader);
    files
}

impl Files {
    fn add(&mut self, path: &Path, from: Option<Place>, reader: &Reader<'_>) {
        let Some(file) = self.read(path, from, reader) else {
            self.broken = true;
            return;
        };
        self.take(file, path, reader);
    }

    /// Takes what a file says, and reads what it includes.
    fn take(&mut self, file: usize, path: &Path, reader: &Reader<'_>) {
        let text = self.sources.files()[file].text.clone();
        let table = self.parse(file, &text, reader);
        let entries = Entries::whole(file, &table);
        entries.refuse_unknown(&FILE, reader);
        let said = FileSaid::take(&entries, reader);
        let include = said.include.clone();
        self.join(said, reader);
        self.open.push(file);
        for pattern in include.value.iter().flatten() {
            match source::matches(path, &pattern.value) {
                Ok(found) => found.iter().for_each(|path| self.add(path, Some(pattern.place), reader)),
                Err(message) => reader.error(pattern.place, message),
            }
        }
        self.open.pop();
    }

    /// Reads the text of a file; returns which one it is.
    fn read(&mut self, path: &Path, from: Option<Place>, reader: &Reader<'_>) -> Option<usize> {
        let fail = |message: String| {
            let message = format!("{} {message}", quoted(&path.to_string_lossy()));
            reader.add(match from {
                Some(place) => Problem::error(place, message),
                None => Problem::nowhere(message),
            });
            None
        };
        let identity = source::identity(path);
        if let Some(file) = self.seen.iter().position(|seen| *seen == identity) {
            let how = if self.open.contains(&file) { "includes itself" } else { "is included twice" };
            return fail(how.to_owned());
        }
        if self.seen.len() == FILES_MAX {
            return fail(format!("is one too many: a configuration has at most {FILES_MAX} files"));
        }
        match source::text(path) {
            Ok(text) => {
                self.seen.push(identity);
                Some(self.sources.add(path.to_owned(), text))
            }
            Err(message) => fail(message),
        }
    }

    /// Reads the syntax of a file.
    fn parse<'a>(&mut self, file: usize, text: &'a str, reader: &Reader<'_>) -> DeTable<'a> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors.into_iter().take(SYNTAX_ERRORS_MAX) {
            self.broken = true;
            let span = error.span().unwrap_or_default();
            let meant = text.get(span.clone()).unwrap_or_default();
            let is_word = meant.starts_with(|c: char| c.is_alphabetic());
            let message = match error.message() {
                "duplicate key" => format!("{} is there twice", quoted(meant)),
                message if message.starts_with("string values must be quoted") && meant.is_empty() => {
                    "a value is missing".to_owned()
                }
                // What is no text, number or date is read as the beginning of whatever it may become.
                message if is_word && (message.contains("must be quoted") || message.contains("float")) => {
                    format!("texts stand in quotes: \"{meant}\"")
                }
                message => message.replace('\n', "; "),
            };
            let before = text.get(..span.start).and_then(|before| before.rfind('\n'));
            let after = text.get(span.end..).and_then(|after| after.find('\n'));
            let lines = before.map_or(0, |at| at + 1)..after.map_or(text.len(), |at| span.end + at);
            reader.syntax(Place::new(file, span), Place::new(file, lines), message);
        }
        table.into_inner()
    }

    /// Adds what a file says.
    fn join(&mut self, said: FileSaid, reader: &Reader<'_>) {
        let FileSaid { listener, upstream, rule_set, rate, auth, error_page, route, options, .. } = said;
        let sources = &self.sources;
        self.said.options.join(options, &mut |key, first, second| {
            let message = format!("`{key}` is said twice: {} says it too", sources.line(first));
            reader.error(second, message);
        });
        join(&mut self.said.listener, listener, Map::extend);
        join(&mut self.said.upstream, upstream, Map::extend);
        join(&mut self.said.rule_set, rule_set, Map::extend);
        join(&mut self.said.rate, rate, Map::extend);
        join(&mut self.said.auth, auth, Map::extend);
        join(&mut self.said.error_page, error_page, Map::extend);
        join(&mut self.said.route, route, |all, more| all.0.extend(more.0));
    }
}

/// Adds what another file says for the same key.
fn join<T>(all: &mut Said<T>, more: Said<T>, add: fn(&mut T, T)) {
    if !all.is_there() {
        *all = more;
        return;
    }
    all.is_wrong |= more.is_wrong;
    match (&mut all.value, more.value) {
        (Some(all), Some(more)) => add(all, more),
        (none @ None, more) => *none = more,
        (Some(_), None) => {}
    }
}

/// Says of names that are there twice where both are.
pub(super) fn refuse_twice<'a>(
    what: &str,
    names: impl Iterator<Item = (&'a str, Option<Place>)>,
    sources: &Sources,
    reader: &Reader<'_>,
) {
    let mut seen: std::collections::HashMap<&str, Option<Place>> = std::collections::HashMap::new();
    for (name, place) in names {
        let Some(first) = seen.insert(name, place) else { continue };
        let message = match first {
            Some(first) => {
                format!("there are two {what}s {}: the other is at {}", quoted(name), sources.line(first))
            }
            None => format!("there are two {what}s {}: `origin` makes the other", quoted(name)),
        };
        reader.add(match place {
            Some(place) => Problem::error(place, message),
            None => Problem::nowhere(message),
        });
    }
}

/// Whether a name may be one of a listener, an upstream or a route; if not, that is reported.
pub(super) fn check_name(name: &At<&str>, reader: &Reader<'_>) {
    const CHARS_MAX: usize = 64;
    let usual = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if name.value.is_empty() || name.value.len() > CHARS_MAX || !name.value.bytes().all(usual) {
        let message = format!("{} is no name", quoted(name.value));
        let help = format!("names have from 1 to {CHARS_MAX} of the characters a-z, 0-9, - and _");
        reader.add(Problem::error(name.place, message).with_help(help));
    }
}
