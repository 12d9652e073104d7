//! What a route changes: fields, the query, the path. And the rules for what may not be changed.

use super::Known;
use super::said::{EditsTable, QueryEditTable, RouteSaid};
use crate::config::matching::PathPattern;
use crate::config::problem::{Problem, quoted};
use crate::config::route::{FieldEdits, QueryEdits, Rewrite};
use crate::config::source::Place;
use crate::config::table::{At, Map, Said};
use crate::config::template::{Part, Template};
use crate::http::fields::is_token;

/// Which message fields are changed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The request, as the upstream gets it.
    Request,
    /// The response, as the client gets it.
    Response,
}

/// Fields that are the proxy's own business, in lower case, with the reason why nobody else may write them.
const OWNED: &[(&str, &str)] = &[
    ("connection", OF_CONNECTION),
    ("keep-alive", OF_CONNECTION),
    ("te", OF_CONNECTION),
    ("trailer", OF_CONNECTION),
    ("transfer-encoding", OF_CONNECTION),
    ("upgrade", OF_CONNECTION),
    ("content-length", "it says how long the content is, which the proxy counts itself"),
    ("via", "the proxy writes it, to find loops"),
    ("x-request-id", "the proxy writes it, to find the request in the logs"),
];

/// Such fields of requests.
const OWNED_OF_REQUESTS: &[(&str, &str)] = &[
    ("expect", "the proxy and the upstream settle it"),
    ("x-forwarded-for", "the proxy writes it, by what `trusted-proxy` says"),
    ("x-forwarded-host", "the proxy writes it, by what `trusted-proxy` says"),
    ("x-forwarded-proto", "the proxy writes it, by what `trusted-proxy` says"),
];

/// Such fields of responses.
const OWNED_OF_RESPONSES: &[(&str, &str)] = &[
    ("age", "the cache counts it"),
    ("cache-status", "the cache writes it"),
    ("x-cache", "the cache writes it"),
];

const OF_CONNECTION: &str = "it is about a single connection, and written anew for each";

/// Fields that begin like this are between the proxy and its neighbours.
const OWNED_START: &str = "proxy-";

/// The names of those that frame a message, which no pattern may take away.
const FRAMING: &[&str] =
    &["connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"];

impl Known<'_, '_> {
    /// What changes in the fields of a message.
    pub(super) fn field_edits(
        &self,
        said: &Said<EditsTable>,
        message: Message,
        captures: &dyn Fn(&At<&Template>),
    ) -> FieldEdits {
        let Some(table) = &said.value else { return FieldEdits::default() };
        table.remove.value.iter().flatten().for_each(|name| self.check_removed(name, message));
        for (name, verb) in keys(&table.set, "set").chain(keys(&table.add, "added")) {
            if !is_token(name.value.as_bytes()) {
                self.reader.error(name.place, format!("{} is no name of a field", quoted(&name.value)));
            } else {
                self.refuse_owned(&At { place: name.place, value: &name.value }, message, verb);
            }
        }
        FieldEdits {
            remove: texts(&table.remove),
            set: set(&table.set, captures),
            add: add(&table.add, captures),
        }
    }

    /// Refuses what cannot be taken away.
    pub(super) fn check_removed(&self, name: &At<String>, message: Message) {
        let taken = name.value.strip_suffix('*').unwrap_or(&name.value);
        let pattern = taken.len() < name.value.len();
        let lower = taken.to_ascii_lowercase();
        if taken.contains('*') || !(is_token(taken.as_bytes()) || pattern && taken.is_empty()) {
            self.reader.error(name.place, format!("{} is no name of a field", quoted(&name.value)));
        } else if !pattern {
            self.refuse_owned(&At { place: name.place, value: &name.value }, message, "removed");
        } else if let Some(framing) = FRAMING.iter().find(|framing| framing.starts_with(&lower)) {
            let message = format!("{} would take `{framing}` away too", quoted(&name.value));
            self.reader.error(name.place, message);
        }
    }

    pub(super) fn refuse_owned(&self, name: &At<&str>, message: Message, verb: &str) {
        let lower = name.value.to_ascii_lowercase();
        let side = match message {
            Message::Request => OWNED_OF_REQUESTS,
            Message::Response => OWNED_OF_RESPONSES,
        };
        let reason = match OWNED.iter().chain(side).find(|(owned, _)| *owned == lower) {
            Some((_, reason)) => reason,
            None if lower.starts_with(OWNED_START) => "it is between the proxy and its neighbours",
            None if lower == "host" && (message == Message::Response || verb != "set") => {
                "a request has it exactly once, and a response never"
            }
            None => return,
        };
        let text = format!("{} cannot be {verb}: {reason}", quoted(name.value));
        self.reader.error(name.place, text);
    }

    /// How the target changes on its way.
    pub(super) fn rewrite(&self, said: &RouteSaid, captures: &dyn Fn(&At<&Template>)) -> Rewrite {
        if let Some(path) = &said.rewrite.value {
            captures(&At { place: path.place, value: &path.value });
            self.check_path(path);
            if let Some(place) = said.strip_prefix.key {
                let message =
                    "`strip-prefix` has no effect beside `rewrite`, which takes the place of the whole path";
                self.reader.add(Problem::warning(place, message));
            }
        }
        Rewrite {
            strip_prefix: self.literal_path(&said.strip_prefix),
            path: said.rewrite.value.as_ref().map(|path| path.value.clone()),
            add_prefix: self.literal_path(&said.add_prefix),
            query: said
                .query_edit
                .value
                .as_ref()
                .map_or_else(QueryEdits::default, |table| self.query_edits(table, captures)),
            forward: said.forward_path.value.unwrap_or_default(),
        }
    }

    /// A template of a path has to make one.
    fn check_path(&self, path: &At<Template>) {
        match path.value.parts().first() {
            Some(Part::Text(text)) if !text.starts_with('/') => {
                self.reader.error(path.place, "a path has to begin with a slash");
            }
            None => self.reader.error(path.place, "a path has to begin with a slash"),
            _ => {}
        }
        let has =
            |c| path.value.parts().iter().any(|part| matches!(part, Part::Text(text) if text.contains(c)));
        if has('?') {
            let problem = Problem::error(path.place, "the query is no part of the path");
            self.reader.add(problem.with_help("say `query-edit = { replace = \"…\" }`"));
        }
        if has('#') {
            self.reader.error(path.place, "no request has a fragment; a `#` as such is written `%23`");
        }
    }

    /// Segments without captures, in normal form: `/api`.
    fn literal_path(&self, said: &Said<String>) -> Option<String> {
        let (place, text) = said.at()?;
        match PathPattern::prefix(text) {
            Ok(path) if path.captures().next().is_some() => {
                self.reader.error(place, format!("{text:?} cannot have captures in it"));
                None
            }
            Ok(path) if path.to_string() == "/" => {
                self.reader.error(place, format!("{text:?} has no segment"));
                None
            }
            Ok(path) => Some(path.to_string()),
            Err(message) => {
                self.reader.error(place, message);
                None
            }
        }
    }

    fn query_edits(&self, table: &QueryEditTable, captures: &dyn Fn(&At<&Template>)) -> QueryEdits {
        table.remove.value.iter().flatten().for_each(|name| self.check_pattern(name));
        for (name, _) in keys(&table.set, "").chain(keys(&table.add, "")) {
            if name.value.is_empty() {
                self.reader.error(name.place, "a parameter needs a name");
            }
        }
        QueryEdits {
            replace: table.replace.value.as_ref().map(|template| {
                captures(&At { place: template.place, value: &template.value });
                template.value.clone()
            }),
            remove: texts(&table.remove),
            set: set(&table.set, captures),
            add: add(&table.add, captures),
        }
    }

    /// A name of a parameter, or its start with a `*`.
    pub(super) fn check_pattern(&self, name: &At<String>) {
        let taken = name.value.strip_suffix('*').unwrap_or(&name.value);
        if name.value.is_empty() {
            self.reader.error(name.place, "a parameter needs a name");
        } else if taken.contains('*') {
            self.reader.error(name.place, "a `*` can only stand at the end");
        }
    }

    /// Says which captures of a template some path of the route does not have.
    pub(super) fn check_captures(&self, template: &At<&Template>, paths: &[PathPattern]) {
        for name in template.value.captures() {
            let lacking = paths.iter().find(|path| !path.captures().any(|capture| capture == name));
            let message = match (paths, lacking) {
                ([], _) => {
                    format!("`{{{name}}}` is no variable, and the route has no path that could capture it")
                }
                (_, Some(path)) => {
                    format!("`{{{name}}}` is no variable, and {:?} does not capture it", path.to_string())
                }
                _ => continue,
            };
            self.reader.error(template.place, message);
        }
    }

    /// Whether a text can stand in a field (RFC 9110, section 5.5); if not, that is reported.
    pub(super) fn check_content_type(&self, said: &Said<String>) {
        if let Some((place, text)) = said.at() {
            self.check_type(place, text);
        }
    }

    fn check_type(&self, place: Place, text: &str) {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let named = essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_token(kind.as_bytes()) && is_token(subtype.as_bytes()));
        if !named || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) || text.trim() != text {
            self.reader.error(place, format!("{text:?} is no type of content, such as text/html"));
        }
    }
}

fn keys<'a, T>(
    said: &'a Said<Map<T>>,
    verb: &'static str,
) -> Box<dyn Iterator<Item = (&'a At<String>, &'static str)> + 'a> {
    Box::new(said.value.iter().flat_map(move |map| map.entries.iter().map(move |(name, _)| (name, verb))))
}

fn texts(said: &Said<Vec<At<String>>>) -> Vec<String> {
    said.value.iter().flatten().map(|text| text.value.clone()).collect()
}

fn set(said: &Said<Map<Template>>, captures: &dyn Fn(&At<&Template>)) -> Vec<(String, Template)> {
    let entries = said.value.iter().flat_map(|map| &map.entries);
    entries
        .map(|(name, template)| {
            captures(&At { place: template.place, value: &template.value });
            (name.value.clone(), template.value.clone())
        })
        .collect()
}

fn add(said: &Said<Map<Vec<At<Template>>>>, captures: &dyn Fn(&At<&Template>)) -> Vec<(String, Template)> {
    let entries = said.value.iter().flat_map(|map| &map.entries);
    let each = entries.flat_map(|(name, list)| list.value.iter().map(move |template| (name, template)));
    each.map(|(name, template)| {
        captures(&At { place: template.place, value: &template.value });
        (name.value.clone(), template.value.clone())
    })
    .collect()
}
