//! What is held until it is whole, as it is written.

use toml_edit::Value;

use super::value::{Section, size, table, text};
use crate::config::holding::{Choice, HoldRequest, HoldResponse, Holding};

/// What a listener or a route says.
pub(super) fn print(section: &mut Section, settings: &Holding) {
    let Holding { request, response } = settings;
    set(section, "buffer-request", request, |request| {
        let HoldRequest { memory_bytes_max, file_bytes_max, directory, total_bytes_max } = request;
        let mut entries = vec![("memory", size(*memory_bytes_max))];
        entries.push(("file", file_bytes_max.map_or_else(|| text("off"), size)));
        if file_bytes_max.is_some() {
            entries.push(("dir", text(&directory.display())));
        }
        entries.push(("total", size(*total_bytes_max)));
        table(entries)
    });
    set(section, "buffer-response", response, |response| {
        let HoldResponse { memory_bytes_max, total_bytes_max } = response;
        table([("memory", size(*memory_bytes_max)), ("total", size(*total_bytes_max))])
    });
}

fn set<T>(section: &mut Section, key: &str, choice: &Choice<T>, write: impl FnOnce(&T) -> Value) {
    match choice {
        Choice::Unsaid => {}
        Choice::Off => section.set(key, false),
        Choice::On(how) => section.set(key, write(how)),
    }
}
