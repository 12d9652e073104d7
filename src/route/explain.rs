//! Why a route takes a request, and which others came close, in words for people.

use std::cmp::Reverse;

use super::condition::{self, Seen};
use super::host::Bare;
use super::rank::{self, HostRank, PathRank, Rank};
use super::{Asked, Captures, Router};
use crate::config::RouteSettings;
use crate::config::matching::{Condition, HostPattern, PathPattern, Test};
use crate::http::method;

/// Why a request is taken by a route, or by none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The route, by its place in the settings.
    pub taken: Option<usize>,
    /// Why: what its host, its path and each of its conditions say, in this order. Empty if no route takes it.
    pub because: Vec<String>,
    /// The routes that came closest, at most five, the closest first.
    pub close: Vec<Close>,
}

/// A route that did not take the request, but nearly did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Which one, by its place in the settings.
    pub route: usize,
    /// Why it did not take the request.
    pub why: String,
}

/// The most routes that are said to have come close.
pub(super) const CLOSE_MAX: usize = 5;

/// How close a route came: the closest first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    /// It would have won, but for so many conditions.
    WouldHaveWon(usize, Reverse<Rank>),
    /// It matches as well, and another is better.
    Second(Reverse<Rank>),
    /// So many conditions fail, and it would not have won.
    Conditions(usize, Reverse<Rank>),
    /// Its path matches and its host does not; so many conditions fail too.
    Host(usize, Reverse<PathRank>, usize),
}

impl Router {
    /// Why the request is taken as it is. `routes` are the ones that the router was made from. Looks at each of
    /// them.
    pub fn explain(&self, routes: &[RouteSettings], asked: &Asked<'_>) -> Explanation {
        let host = Bare::of(asked.host);
        let seen = self.seen(asked, host.as_bytes());
        let mut captures = Captures::new();
        let taken = self.find(asked, &mut captures);
        let winner = taken.and_then(|at| Some((at, rank_of(at, routes.get(at)?, seen)?)));
        let mut close: Vec<_> = routes
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != taken)
            .filter_map(|(at, route)| {
                let (distance, why) = distance(at, route, routes, winner.as_ref(), seen)?;
                Some((distance, Close { route: at, why }))
            })
            .collect();
        close.sort_by(|(one, _), (other, _)| one.cmp(other));
        close.truncate(CLOSE_MAX);
        Explanation {
            taken,
            because: winner.map_or_else(Vec::new, |(at, _)| self.because(at, &routes[at], &captures, seen)),
            close: close.into_iter().map(|(_, close)| close).collect(),
        }
    }

    fn because(&self, at: usize, route: &RouteSettings, captures: &Captures, seen: Seen<'_>) -> Vec<String> {
        let mut because = Vec::new();
        let host = rank::host(route, seen.host).and_then(|(_, at)| route.hosts.get(at?));
        because.push(match host {
            Some(HostPattern::Exact(name)) => format!("the host is {name}"),
            Some(wildcard) => format!("the host {} is below {wildcard}", text(seen.host)),
            None => "it is for any host".to_owned(),
        });
        let path = rank::path(route, seen.asked.path).and_then(|(_, at)| route.paths.get(at?));
        let mut about_path = match path {
            Some(pattern) => format!("the path {} {}", text(seen.asked.path), fits(pattern)),
            None => "it is for any path".to_owned(),
        };
        for name in path.iter().flat_map(|pattern| pattern.captures()) {
            if let Some(value) = self.capture(at, captures, name, seen.asked.path) {
                about_path.push_str(&format!(", {name} is {}", text(value)));
            }
        }
        because.push(about_path);
        because.extend(route.conditions.iter().map(|condition| sentence(condition, true)));
        because
    }
}

/// How well a route fits, its conditions aside.
fn rank_of(at: usize, route: &RouteSettings, seen: Seen<'_>) -> Option<Rank> {
    let (host, _) = rank::host(route, seen.host)?;
    let (path, _) = rank::path(route, seen.asked.path)?;
    Some(Rank { host, path, order: Reverse(at) })
}

/// How close a route came that was not taken, and why it was not; `None` if it did not come close.
fn distance(
    at: usize,
    route: &RouteSettings,
    routes: &[RouteSettings],
    winner: Option<&(usize, Rank)>,
    seen: Seen<'_>,
) -> Option<(Distance, String)> {
    let (path, _) = rank::path(route, seen.asked.path)?;
    let failing: Vec<_> =
        route.conditions.iter().filter(|condition| !condition::holds(condition, seen)).collect();
    let mut why: Vec<_> = failing.iter().map(|condition| fails(condition, seen)).collect();
    let Some(rank) = rank_of(at, route, seen) else {
        let hosts: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
        why.insert(0, format!("the host is {}, not {}", text(seen.host), or(&hosts)));
        return Some((Distance::Host(failing.len(), Reverse(path), at), why.join("; ")));
    };
    match winner {
        Some((best, above)) if failing.is_empty() => {
            let why = format!("it matches too, but {}", worse(route, &rank, &routes[*best], above, seen));
            Some((Distance::Second(Reverse(rank)), why))
        }
        Some((_, above)) if rank < *above => {
            Some((Distance::Conditions(failing.len(), Reverse(rank)), why.join("; ")))
        }
        _ => Some((Distance::WouldHaveWon(failing.len(), Reverse(rank)), why.join("; "))),
    }
}

/// Why a route that matches is worse than the one that won.
fn worse(route: &RouteSettings, rank: &Rank, best: &RouteSettings, above: &Rank, seen: Seen<'_>) -> String {
    let pattern = |route: &RouteSettings| {
        let (_, at) = rank::path(route, seen.asked.path)?;
        route.paths.get(at?).map(|pattern| match pattern {
            PathPattern::Whole(_) => format!("the path {pattern}"),
            PathPattern::Prefix(_) => format!("the prefix {pattern}"),
            PathPattern::Regex(_) => format!("the expression {pattern}"),
        })
    };
    let host = |rank: HostRank| match rank {
        HostRank::Any => "any host",
        HostRank::Wildcard(_) => "a wildcard",
        HostRank::Exact => "the host itself",
    };
    if rank.host != above.host {
        return match (rank.host, above.host) {
            (HostRank::Wildcard(_), HostRank::Wildcard(_)) => {
                format!("the wildcard of {} is longer", best.name)
            }
            (own, others) => format!("it is for {}, and {} for {}", host(own), best.name, host(others)),
        };
    }
    if rank.path != above.path {
        let own = pattern(route).unwrap_or_else(|| "any path".to_owned());
        let others = pattern(best).unwrap_or_else(|| "any path".to_owned());
        return format!("{own} is less specific than {others} of {}", best.name);
    }
    format!("{} comes earlier and is as specific", best.name)
}

fn fits(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Whole(_) if pattern.captures().next().is_none() => "is the route's".to_owned(),
        PathPattern::Whole(_) => format!("is {pattern}"),
        PathPattern::Prefix(_) => format!("begins with {pattern}"),
        PathPattern::Regex(_) => format!("is found by the expression {pattern}"),
    }
}

/// What a condition says, or its contrary.
fn sentence(condition: &Condition, holds: bool) -> String {
    let is = if holds { "is" } else { "is not" };
    match condition {
        Condition::Method(methods) => format!("the method {is} {}", or(&method::all_meant(methods))),
        Condition::Header(name, test) => about("header", name, test, holds),
        Condition::Query(name, test) => about("query parameter", name, test, holds),
        Condition::Cookie(name, test) => about("cookie", name, test, holds),
        Condition::Client(networks) => {
            let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
            format!("the client {is} in {}", or(&networks))
        }
        Condition::Listener(names) => format!("the listener {is} {}", or(names)),
        Condition::Host(patterns) => {
            let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
            format!("the host {is} {}", or(&patterns))
        }
        Condition::Path(patterns) => {
            let verb = if holds { "matches" } else { "does not match" };
            let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
            format!("the path {verb} {}", or(&patterns))
        }
        Condition::All(parts) => several(parts, if holds { "all of" } else { "not all of" }),
        Condition::Any(parts) => several(parts, if holds { "one of" } else { "none of" }),
        Condition::Not(part) => sentence(part, !holds),
    }
}

fn several(parts: &[Condition], which: &str) -> String {
    let parts: Vec<_> = parts.iter().map(|part| sentence(part, true)).collect();
    format!("{which} ({})", parts.join(", "))
}

fn about(kind: &str, name: &str, test: &Test, holds: bool) -> String {
    format!("the {kind} {name} {}", says(test, holds))
}

/// What a test says of a value, or its contrary.
fn says(test: &Test, holds: bool) -> String {
    let quoted = |yes: &str, no: &str, text: &str| format!("{} {text:?}", if holds { yes } else { no });
    match test {
        Test::Present if holds => "is there".to_owned(),
        Test::Present => "is not there".to_owned(),
        Test::Absent => says(&Test::Present, !holds),
        Test::Is(text) => quoted("is", "is not", text),
        Test::Prefix(text) => quoted("begins with", "does not begin with", text),
        Test::Suffix(text) => quoted("ends with", "does not end with", text),
        Test::Contains(text) => quoted("contains", "does not contain", text),
        Test::Regex(pattern) => quoted("matches", "does not match", pattern.source()),
        Test::OneOf(tests) => {
            let parts: Vec<_> = tests.iter().map(|test| says(test, holds)).collect();
            parts.join(if holds { " or " } else { " and " })
        }
    }
}

/// Which condition fails, and what the request had.
fn fails(condition: &Condition, seen: Seen<'_>) -> String {
    let sentence = sentence(condition, false);
    let about = match condition {
        Condition::Not(part) => part,
        condition => condition,
    };
    match about {
        Condition::All(parts) if matches!(condition, Condition::All(_)) => {
            let failing = parts.iter().filter(|part| !condition::holds(part, seen));
            failing.map(|part| fails(part, seen)).collect::<Vec<_>>().join("; ")
        }
        Condition::Method(_) => format!("{sentence}: it is {}", text(seen.asked.method)),
        Condition::Client(_) => match seen.asked.client {
            Some(client) => format!("{sentence}: it is {client}"),
            None => format!("{sentence}: it has no address"),
        },
        Condition::Listener(_) => format!("{sentence}: it is {}", seen.listener.unwrap_or("unknown")),
        Condition::Header(_, test) | Condition::Query(_, test) | Condition::Cookie(_, test) => {
            let mut had = Vec::new();
            condition::values(about, seen.asked, &mut |value| {
                had.push(format!("\"{}\"", text(value)));
                false
            });
            match &*had {
                [] if *test == Test::Present => sentence,
                [] => format!("{sentence}: there is none"),
                had => format!("{sentence}: it is {}", had.join(", ")),
            }
        }
        _ => sentence,
    }
}

fn or(texts: &[impl AsRef<str>]) -> String {
    texts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" or ")
}

/// What came from outside, so that it does no harm on a terminal, and not too much of it.
fn text(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 100;
    let cut = if bytes.len() > SHOWN_MAX { "…" } else { "" };
    format!("{}{cut}", bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii())
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
