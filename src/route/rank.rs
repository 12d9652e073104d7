//! How specific patterns are: the definition of which of several routes wins, in types that compare. The
//! router finds the best without them; what explains its choice asks them.

use std::cmp::Reverse;

use super::host;
use crate::config::RouteSettings;
use crate::config::matching::{HostPattern, PathPattern, Segment};

/// How well a route fits a request whose host and path it is for. The greatest wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) host: HostRank,
    pub(super) path: PathRank,
    pub(super) order: Reverse<usize>,
}

/// How specific the pattern is that the host matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostRank {
    /// The route names no host.
    Any,
    /// A wildcard of that many bytes.
    Wildcard(usize),
    /// The host itself.
    Exact,
}

/// How specific the pattern is that the path matched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathRank {
    /// The route names no path.
    Any,
    /// A prefix, or a whole path with captures: segment by segment.
    Segments(Vec<Step>),
    /// An expression.
    Regex,
    /// The path itself.
    Exact,
}

/// A segment of a pattern, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// More may follow.
    PrefixEnd,
    /// The path ends here too.
    WholeEnd,
    /// Any segment.
    Capture,
    /// This segment.
    Literal,
}

/// The best of a route's hosts that a bare host matches, and its place in their list.
pub(super) fn host(route: &RouteSettings, bare: &[u8]) -> Option<(HostRank, Option<usize>)> {
    if route.hosts.is_empty() {
        return Some((HostRank::Any, None));
    }
    let matching = route.hosts.iter().enumerate().filter(|(_, pattern)| host::is_for(pattern, bare));
    let ranked = matching.map(|(at, pattern)| match pattern {
        HostPattern::Exact(_) => (HostRank::Exact, Some(at)),
        HostPattern::Wildcard(parent) => (HostRank::Wildcard(parent.len()), Some(at)),
    });
    ranked.max_by_key(|&(rank, at)| (rank, Reverse(at)))
}

/// The best of a route's paths that a path matches, and its place in their list.
pub(super) fn path(route: &RouteSettings, path: &[u8]) -> Option<(PathRank, Option<usize>)> {
    if route.paths.is_empty() {
        return Some((PathRank::Any, None));
    }
    let matching = route.paths.iter().enumerate().filter(|(_, pattern)| is_for(pattern, path));
    let ranked = matching.map(|(at, pattern)| (path_rank(pattern), Some(at)));
    ranked.max_by(|(one, at), (other, other_at)| (one, Reverse(at)).cmp(&(other, Reverse(other_at))))
}

fn path_rank(pattern: &PathPattern) -> PathRank {
    let (segments, end) = match pattern {
        PathPattern::Whole(_) if pattern.captures().next().is_none() => return PathRank::Exact,
        PathPattern::Regex(_) => return PathRank::Regex,
        PathPattern::Whole(segments) => (segments, Step::WholeEnd),
        PathPattern::Prefix(segments) => (segments, Step::PrefixEnd),
    };
    let steps = segments.iter().map(|segment| match segment {
        Segment::Literal(_) => Step::Literal,
        Segment::Capture(_) => Step::Capture,
    });
    PathRank::Segments(steps.chain([end]).collect())
}

/// Whether a path in normal form is one that the pattern is for.
pub(super) fn is_for(pattern: &PathPattern, path: &[u8]) -> bool {
    pattern.is_for(path)
}
