//! The configuration file: TOML, with the names of the flags as keys.

use std::path::Path;

use super::{ConfigError, Options};

/// Reads the file.
///
/// # Errors
/// It cannot be read, is no TOML, or has a key or value that means nothing; with line and column.
pub(super) fn read(path: &Path) -> Result<Options, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| failure(path, format!("cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| failure(path, place(&text, &error)))
}

fn failure(path: &Path, message: String) -> ConfigError {
    ConfigError::File { path: path.to_owned(), message }
}

/// The message with its place in front, on one line.
fn place(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', "; ");
    match error.span() {
        Some(span) => {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
            format!("line {line}, column {column}: {message}")
        }
        None => message,
    }
}
