//! Routes that can never be taken, because earlier ones take whatever they are for.

use std::collections::HashMap;

use crate::config::RouteSettings;
use crate::config::matching::{Condition, HostPattern, PathPattern, Segment};
use crate::http::method;

/// A route that can never be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Which one, by its place in the settings.
    pub route: usize,
    /// The earlier one that takes what it is for. Where it takes several to do so, one of them.
    pub by: usize,
}

/// The routes that can never be taken: for each of their hosts and paths an earlier route has the same host and
/// path and no condition that they do not have too.
///
/// Whatever is found here is never taken. Not found is what other routes shut out by being more specific, or by
/// conditions that only together leave nothing.
pub fn shadowed(routes: &[RouteSettings]) -> Vec<Shadowed> {
    let mut earlier: HashMap<(Option<&HostPattern>, Option<Shape<'_>>), Vec<usize>> = HashMap::new();
    let mut found = Vec::new();
    let wide: Vec<usize> =
        (0..routes.len()).filter(|&at| routes[at].paths.iter().any(takes_every_path)).collect();
    for (at, route) in routes.iter().enumerate() {
        let mut takers = Vec::new();
        for place in places(route) {
            let before = earlier.entry(place).or_default();
            let taker = before.iter().find(|&&by| by != at && needs_no_more(&routes[by], route));
            takers.push(taker.copied());
            before.push(at);
        }
        let taken = takers.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.first().copied());
        if let Some(by) = taken.or_else(|| starved(routes, &wide, at)) {
            found.push(Shadowed { route: at, by });
        }
    }
    found
}

/// Whether an expression is found in every path, as people write it who mean all of them.
fn takes_every_path(pattern: &PathPattern) -> bool {
    let PathPattern::Regex(pattern) = pattern else { return false };
    matches!(
        pattern.source(),
        "" | "^" | "/" | "^/" | ".*" | "^.*" | "^.*$" | ".*$" | "^/.*" | "^/.*$" | "/.*" | "."
    )
}

/// A route among `takers`, which have an expression that is found in every path, that leaves nothing of what this one
/// is for: expressions come before captures and prefixes, and before later expressions.
fn starved(routes: &[RouteSettings], takers: &[usize], at: usize) -> Option<usize> {
    let route = &routes[at];
    let hosts_within = |other: &RouteSettings| match (&*other.hosts, &*route.hosts) {
        ([], []) => true,
        ([], _) | (_, []) => false,
        (wide, narrow) => narrow.iter().all(|host| wide.contains(host)),
    };
    // A whole path without captures is looked for before any expression.
    let is_exact = |path: &PathPattern| match path {
        PathPattern::Whole(segments) => segments.iter().all(|part| matches!(part, Segment::Literal(_))),
        PathPattern::Prefix(_) | PathPattern::Regex(_) => false,
    };
    if route.paths.iter().any(is_exact) {
        return None;
    }
    let is_expression = |path: &PathPattern| matches!(path, PathPattern::Regex(_));
    let after_expressions = !route.paths.iter().any(is_expression);
    let takes = |&&by: &&usize| {
        by != at
            && (by < at || after_expressions)
            && hosts_within(&routes[by])
            && needs_no_more(&routes[by], route)
    };
    takers.iter().find(takes).copied()
}

/// A path pattern, but for the names of its captures.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Shape<'a> {
    Whole(Vec<Option<&'a str>>),
    Prefix(Vec<Option<&'a str>>),
    Regex(&'a str),
}

impl Shape<'_> {
    fn of(pattern: &PathPattern) -> Shape<'_> {
        match pattern {
            PathPattern::Whole(segments) => Shape::Whole(literals(segments)),
            PathPattern::Prefix(segments) => Shape::Prefix(literals(segments)),
            PathPattern::Regex(pattern) => Shape::Regex(pattern.source()),
        }
    }
}

/// The text of each segment that has one.
fn literals(segments: &[Segment]) -> Vec<Option<&str>> {
    let mut literals = Vec::with_capacity(segments.len());
    for segment in segments {
        literals.push(match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Capture(_) => None,
        });
    }
    literals
}

/// Every host of a route with every path of it.
fn places(route: &RouteSettings) -> Vec<(Option<&HostPattern>, Option<Shape<'_>>)> {
    let hosts: Vec<_> = match &*route.hosts {
        [] => vec![None],
        hosts => hosts.iter().map(Some).collect(),
    };
    let paths = || -> Vec<_> {
        match &*route.paths {
            [] => vec![None],
            paths => paths.iter().map(|pattern| Some(Shape::of(pattern))).collect(),
        }
    };
    hosts.into_iter().flat_map(|host| paths().into_iter().map(move |path| (host, path))).collect()
}

/// Whether every condition of `earlier` holds where those of `later` do.
fn needs_no_more(earlier: &RouteSettings, later: &RouteSettings) -> bool {
    earlier.conditions.iter().all(|needed| follows(needed, &later.conditions))
}

/// Whether a condition holds where all of `given` do, as far as is seen without looking into tests.
fn follows(needed: &Condition, given: &[Condition]) -> bool {
    if let Condition::All(parts) = needed {
        return parts.iter().all(|part| follows(part, given));
    }
    given.iter().any(|one| match (needed, one) {
        (_, Condition::All(parts)) => follows(needed, parts),
        (Condition::Method(wider), Condition::Method(narrower)) => {
            narrower.iter().all(|name| method::lists(wider, name.as_bytes()))
        }
        (Condition::Listener(wider), Condition::Listener(narrower)) => is_within(narrower, wider),
        _ => needed == one,
    })
}

fn is_within(narrower: &[String], wider: &[String]) -> bool {
    narrower.iter().all(|name| wider.contains(name))
}

#[cfg(test)]
#[path = "shadow_tests.rs"]
mod tests;
