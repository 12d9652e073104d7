//! The shape of the house, held to: an import only points down the layers, the pure layers stay pure,
//! and no room outgrows its size.
#![allow(clippy::unwrap_used, reason = "a test that cannot read the sources has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, from the bottom up. A module may import from its own layer's modules only where it is
/// the same module, and from any layer below.
const LAYERS: &[&[&str]] = &[
    &["http", "limits", "clock", "error", "observe"],
    &["h1", "config"],
    &["route", "filter", "cache", "content", "upstream"],
    &["net"],
    &["proxy"],
    &["server", "cli", "main"],
];

/// Modules that do I/O although their parent is pure: they count as part of layer 3.
const IO_ROOMS: &[&str] = &[
    "cache/store/inbox.rs",
    "cache/store/message.rs",
    "cache/store/mod.rs",
    "cache/store/question.rs",
    "cache/store/ticket.rs",
    "upstream/connect.rs",
    "upstream/group.rs",
    "upstream/lineup.rs",
    "upstream/pool.rs",
    "upstream/shared.rs",
    "upstream/slot.rs",
];

/// Vocabulary that everything may use: layer 0 imports within itself freely.
const BOTTOM: usize = 0;

/// Lines of a file, its tests aside.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !is_test(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn is_test(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with("_tests.rs"))
}

/// The sources with their path below `src`, tests within the files cut off.
fn rooms() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&root)
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), text)
        })
        .collect()
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn top_module(room: &str) -> &str {
    room.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Every `crate::module` that a text mentions outside comments.
fn imports(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn imports_only_point_down() {
    let mut wrong = Vec::new();
    for (room, text) in rooms() {
        let module = top_module(&room);
        if module == "lib" {
            continue;
        }
        let io_room = IO_ROOMS.contains(&room.as_str());
        let Some(layer) = layer_of(module) else {
            wrong.push(format!("{room}: the module {module} has no layer"));
            continue;
        };
        let layer = if io_room { layer_of("net").unwrap() } else { layer };
        for import in imports(&text) {
            let Some(below) = layer_of(&import) else { continue };
            let sibling_room = import == module || (io_room && import == "net");
            let allowed = sibling_room
                || below < layer
                || (layer == BOTTOM && below == BOTTOM)
                || module == "main"
                || module == "cli" && import == "server";
            if !allowed {
                wrong.push(format!("{room} (layer {layer}) imports {import} (layer {below})"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn the_pure_layers_do_no_io_and_read_no_clock() {
    const FORBIDDEN: &[&str] = &[
        "monoio",
        "std::fs",
        "std::net::Tcp",
        "std::thread",
        "Instant::now",
        "SystemTime::now",
        "println!",
        "static mut",
    ];
    /// What a file at the edge of the pure layers is allowed, and why.
    const ALLOWED: &[(&str, &str)] = &[
        ("clock.rs", "SystemTime::now"), // the clock
        ("config/source.rs", "std::fs"), // reads the configuration
    ];
    let net = layer_of("net").unwrap();
    for (room, text) in rooms() {
        let pure = layer_of(top_module(&room)).is_some_and(|layer| layer < net)
            && !IO_ROOMS.contains(&room.as_str());
        for word in FORBIDDEN.iter().filter(|_| pure) {
            let allowed = ALLOWED.contains(&(room.as_str(), word));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            assert!(allowed || !code.into_iter().any(|line| line.contains(word)), "{room} uses {word}");
        }
    }
}

#[test]
fn every_room_says_who_it_is_and_keeps_its_size() {
    let mut functions = BTreeMap::new();
    for (room, text) in rooms() {
        assert!(text.starts_with("//!"), "{room} does not say what it is");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() <= FILE_LINES_MAX, "{room} has {} lines", lines.len());
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            let indent = line.len() - line.trim_start().len();
            let closing = format!("{}}}", " ".repeat(indent));
            if let Some(length) = lines[start..].iter().position(|line| *line == closing) {
                functions.insert(format!("{room}: {}", line.trim()), length + 1);
            }
        }
    }
    let long: Vec<_> = functions.iter().filter(|(_, length)| **length > FUNCTION_LINES_MAX).collect();
    assert!(functions.len() > 100, "the functions were not found");
    assert!(long.is_empty(), "functions that outgrew their room: {long:?}");
}

fn is_function(line: &str) -> bool {
    let words = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
    let words = words
        .trim_start_matches("pub ")
        .trim_start_matches("const ")
        .trim_start_matches("async ")
        .trim_start_matches("unsafe ");
    words.starts_with("fn ")
}
