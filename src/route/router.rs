//! Finds the route that takes a request.
//!
//! Of the routes whose conditions all hold the best wins: first by the host (exact, then the longest wildcard,
//! then none), then by the path (a whole path without captures; expressions; whole paths with captures and
//! prefixes, from the left: a literal segment before a capture before the end of a prefix; none), then by the
//! order of the file. A host does not shut the others out: what none of its routes takes goes on to a less
//! specific one's.

use super::condition::{self, Seen};
use super::host::{Bare, Hosts};
use super::tree::{Entry, Place, Planting, Tree, index};
use super::{Asked, Captures};
use crate::config::RouteSettings;
use crate::config::matching::{Condition, PathPattern, Pattern};

/// The routes, in the form in which they are found. Hosts and paths are found without allocating, in a time that
/// does not grow with how many there are; an expression costs a search of the path for each one that the host
/// has in front of what matches.
#[derive(Clone, Debug)]
pub struct Router {
    hosts: Hosts<Place>,
    tree: Tree,
    routes: Vec<Known>,
    listeners: Vec<String>,
    wants_client: bool,
}

/// What is needed of a route.
#[derive(Clone, Debug)]
struct Known {
    conditions: Vec<Condition>,
    paths: Vec<KnownPath>,
}

#[derive(Clone, Debug)]
struct KnownPath {
    /// The names of its captures, by place.
    captures: Vec<String>,
    expression: Option<Pattern>,
}

impl Router {
    /// Makes it from routes and the names of the listeners, each in the order of the settings.
    pub fn new(routes: &[RouteSettings], listeners: &[&str]) -> Router {
        // What is hashed against comes from the configuration: no client can make collisions among it.
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut hosts = Hosts::new(&hasher);
        let mut planting = Planting::new(hasher);
        for (at, route) in routes.iter().enumerate() {
            let of_host: Vec<_> = match &*route.hosts {
                [] => vec![None],
                hosts => hosts.iter().map(Some).collect(),
            };
            for host in of_host {
                let place = hosts.entry(host, || planting.place());
                let entry =
                    Entry { route: index(at), path: Captures::NO_PATH, free: route.conditions.is_empty() };
                if route.paths.is_empty() {
                    planting.put(place, None, entry);
                }
                for (path, pattern) in route.paths.iter().enumerate() {
                    planting.put(place, Some(pattern), Entry { path: index(path), ..entry });
                }
            }
        }
        let asks_for_client = |route: &RouteSettings| route.conditions.iter().any(condition::asks_for_client);
        Router {
            hosts,
            tree: planting.finish(),
            routes: routes.iter().map(Known::new).collect(),
            listeners: listeners.iter().map(|&name| name.to_owned()).collect(),
            wants_client: routes.iter().any(asks_for_client),
        }
    }

    /// The route that takes the request, by its place in the settings, and what its path captured.
    pub fn find(&self, asked: &Asked<'_>, captures: &mut Captures) -> Option<usize> {
        let host = Bare::of(asked.host);
        let seen = self.seen(asked, host.as_bytes());
        let found = self.hosts.of(seen.host).find_map(|place| self.best(place, seen, captures));
        found.map(|entry| entry.route as usize)
    }

    /// Whether some route asks for the client's network, so that its address has to be known.
    pub fn wants_client(&self) -> bool {
        self.wants_client
    }

    /// What the route's path captured by that name. `path` is the one that [`find`](Router::find) was asked
    /// about, and `captures` what it left. `None` if the route's path that matched has no such capture, or the
    /// expression found nothing for it.
    pub fn capture<'a>(
        &self,
        route: usize,
        captures: &Captures,
        name: &str,
        path: &'a [u8],
    ) -> Option<&'a [u8]> {
        let known = self.routes.get(route)?.paths.get(captures.path()?)?;
        let place = known.captures.iter().position(|capture| capture == name)?;
        path.get(captures.range(place)?)
    }

    /// The request with what conditions ask for.
    pub(super) fn seen<'a>(&'a self, asked: &'a Asked<'a>, host: &'a [u8]) -> Seen<'a> {
        let listener = asked.listener.and_then(|at| self.listeners.get(at)).map(String::as_str);
        Seen { asked, host, listener }
    }

    fn best(&self, place: &Place, seen: Seen<'_>, captures: &mut Captures) -> Option<Entry> {
        let path = seen.asked.path;
        let holds = |entry: &Entry| {
            entry.free || {
                let conditions = &self.routes[entry.route as usize].conditions;
                conditions.iter().all(|condition| condition::holds(condition, seen))
            }
        };
        if path.first() == Some(&b'/') {
            if let Some(entry) = self.tree.exact(place, path).iter().find(|entry| holds(entry)) {
                captures.begin(entry.path, 0);
                return Some(*entry);
            }
            let mut expressions = self.tree.expressions(place).iter();
            if let Some(entry) = expressions.find(|entry| self.is_found(entry, path) && holds(entry)) {
                self.capture_groups(entry, path, captures);
                return Some(*entry);
            }
            if let Some(entry) = self.tree.best(place, path, captures, &holds) {
                return Some(entry);
            }
        }
        let entry = self.tree.any(place).iter().find(|entry| holds(entry))?;
        captures.begin(entry.path, 0);
        Some(*entry)
    }

    fn known_path(&self, entry: &Entry) -> &KnownPath {
        &self.routes[entry.route as usize].paths[entry.path as usize]
    }

    fn is_found(&self, entry: &Entry, path: &[u8]) -> bool {
        let expression = &self.known_path(entry).expression;
        expression.as_ref().is_some_and(|expression| expression.regex().is_match(path))
    }

    fn capture_groups(&self, entry: &Entry, path: &[u8], captures: &mut Captures) {
        let known = self.known_path(entry);
        captures.begin(entry.path, known.captures.len());
        let expression = known.expression.as_ref().filter(|_| !known.captures.is_empty());
        let Some(groups) = expression.and_then(|expression| expression.regex().captures(path)) else {
            return;
        };
        for (place, name) in known.captures.iter().enumerate() {
            if let Some(group) = groups.name(name) {
                captures.put(place, group.range());
            }
        }
    }
}

impl Known {
    fn new(route: &RouteSettings) -> Known {
        let path = |pattern: &PathPattern| KnownPath {
            captures: pattern.captures().map(str::to_owned).collect(),
            expression: match pattern {
                PathPattern::Regex(expression) => Some(expression.clone()),
                _ => None,
            },
        };
        Known { conditions: route.conditions.clone(), paths: route.paths.iter().map(path).collect() }
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
