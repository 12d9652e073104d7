//! The JSON Schema of the file (draft 2020-12), so that editors complete it and say what is wrong while it is
//! written. It is made from the same declarations that the file is read by.
//!
//! A schema sees one value at a time: what one part of a file says of another, such as the name of an upstream,
//! is for `ringway check`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::keys::{Kind, Table};
use super::read::FILE;

/// A text that has a variable of the environment in it may become anything.
const VARIABLE: &str = r"\$\{";

/// Durations, as `humantime` reads them.
const DURATION: &str = "^(\\s*[0-9]+(\\.[0-9]+)?\\s*(nanos|nsec|ns|usec|us|\u{b5}s|millis|msec|ms|seconds|second|secs|sec|s|\
                        minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|\
                        years|year|yrs|yr|y))+\\s*$";

/// Sizes, as `bytesize` reads them.
const SIZE: &str = r"^[0-9]+$|^[0-9]*\.?[0-9]+\s*([bB]|[kKmMgGtTpPeE][iI]?[bB]?)$";

/// The schema of the file.
pub fn schema() -> Value {
    let mut tables = BTreeMap::new();
    gather(&FILE, &mut tables);
    let mut definitions: Map<String, Value> =
        tables.iter().map(|(name, known)| (name.clone(), table(known))).collect();
    definitions.insert("duration".to_owned(), form("A duration such as 10s, 500ms or 1h", DURATION));
    definitions.insert("size".to_owned(), form("A size such as 32KiB or 64MiB", SIZE));
    let variable =
        json!({ "type": "string", "pattern": VARIABLE, "description": "A variable of the environment" });
    definitions.insert("variable".to_owned(), variable);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ringway",
        "description": sentence(FILE.doc),
        "$ref": reference(&FILE),
        "$defs": definitions,
    })
}

/// A table and all that can stand in it, by the name of its definition.
fn gather(table: &'static Table, into: &mut BTreeMap<String, &'static Table>) {
    if into.insert(definition(table), table).is_none() {
        table.all().for_each(|key| gather_kind(key.kind, into));
    }
}

fn gather_kind(kind: &'static Kind, into: &mut BTreeMap<String, &'static Table>) {
    match kind {
        Kind::Table(table) => gather(table(), into),
        Kind::OneOrMore(kind) | Kind::List(kind) | Kind::MapOf(kind) => gather_kind(kind, into),
        Kind::OneOf(kinds) => kinds.iter().for_each(|kind| gather_kind(kind, into)),
        Kind::Text(_)
        | Kind::Template(_)
        | Kind::Regex(_)
        | Kind::Duration
        | Kind::Size
        | Kind::Integer { .. }
        | Kind::Number(_)
        | Kind::Truth
        | Kind::Choice(_) => {}
    }
}

fn definition(table: &Table) -> String {
    table.name.replace(' ', "-")
}

fn reference(table: &Table) -> String {
    format!("#/$defs/{}", definition(table))
}

fn table(table: &Table) -> Value {
    let properties: Map<String, Value> = table
        .all()
        .map(|key| {
            let mut value = of_kind(key.kind);
            value["description"] = sentence(key.doc).into();
            (key.name.to_owned(), value)
        })
        .collect();
    json!({
        "type": "object",
        "title": table.name,
        "description": sentence(table.doc),
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What a kind takes.
fn of_kind(kind: &Kind) -> Value {
    let variable = json!({ "$ref": "#/$defs/variable" });
    match kind {
        Kind::Text("") => json!({ "type": "string" }),
        Kind::Text(example) | Kind::Template(example) | Kind::Regex(example) => {
            json!({ "type": "string", "examples": [example] })
        }
        Kind::Duration => json!({ "$ref": "#/$defs/duration" }),
        Kind::Size => {
            any_of(vec![json!({ "$ref": "#/$defs/size" }), json!({ "type": "integer", "minimum": 0 })])
        }
        Kind::Integer { min, max } => {
            let mut number = json!({ "type": "integer", "minimum": min });
            // The numbers of a file end there by themselves.
            if i64::try_from(*max).is_ok() {
                number["maximum"] = (*max).into();
            }
            any_of(vec![number, variable])
        }
        Kind::Number(numbers) => any_of(vec![json!({ "enum": numbers }), variable]),
        Kind::Truth => any_of(vec![json!({ "type": "boolean" }), variable]),
        Kind::Choice(words) => any_of(vec![json!({ "enum": words }), variable]),
        Kind::OneOrMore(kind) => {
            let one = of_kind(kind);
            any_of(vec![one.clone(), json!({ "type": "array", "items": one })])
        }
        Kind::List(kind) => json!({ "type": "array", "items": of_kind(kind) }),
        Kind::Table(table) => json!({ "$ref": reference(table()) }),
        Kind::MapOf(kind) => json!({ "type": "object", "additionalProperties": of_kind(kind) }),
        Kind::OneOf(kinds) => any_of(kinds.iter().map(|kind| of_kind(kind)).collect()),
    }
}

/// A text of this form, or one with a variable in it.
fn form(description: &str, pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}"), "description": description })
}

/// One of these; choices within choices become one.
fn any_of(choices: Vec<Value>) -> Value {
    let mut flat: Vec<Value> = Vec::new();
    for choice in choices {
        let inner = match choice.get("anyOf") {
            Some(Value::Array(inner)) => inner.clone(),
            _ => vec![choice],
        };
        inner.into_iter().for_each(|one| {
            if !flat.contains(&one) {
                flat.push(one);
            }
        });
    }
    json!({ "anyOf": flat })
}

/// What is said about a key, with a full stop at its end.
fn sentence(doc: &str) -> String {
    let joined = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}.", joined.trim_end_matches('.'))
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
