//! Fuzz body for the patterns of routes: what must hold for any text at all. The target in `tests/fuzz` and the
//! run over the corpus in `tests/corpus.rs` only call it.

use super::host::Bare;
use super::{Asked, Captures, Router, rank};
use crate::config::RouteSettings;
use crate::config::matching::{HostPattern, PathPattern};
use crate::config::route::{Action, CacheRule};
use crate::http::{Fields, path};

/// Requests and patterns, one to a line; the first byte of a line says which: `h` adds a host to the route,
/// `w`, `p` and `r` add a whole path, a prefix and an expression, `+` begins another route; `?` asks for the host
/// in front of the first slash and the path from there on. What can be read can be read again from its own text,
/// and the router finds for each request what comparing all patterns finds.
pub fn patterns(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(&bytes[..bytes.len().min(4 << 10)]) else { return };
    let mut routes = vec![refusing()];
    let mut requests = Vec::new();
    for line in text.lines().take(64) {
        let Some((kind, rest)) = line.split_at_checked(1) else { continue };
        let Some(route) = routes.last_mut() else { return };
        match kind {
            "h" => route.hosts.extend(read_host(rest)),
            "w" => route.paths.extend(read_path(rest, PathPattern::whole)),
            "p" => route.paths.extend(read_path(rest, PathPattern::prefix)),
            "r" => route.paths.extend(read_path(rest, PathPattern::regex)),
            "?" => requests.push(rest),
            "+" => routes.push(refusing()),
            _ => {}
        }
    }
    let router = Router::new(&routes, &[]);
    for request in requests {
        let (host, sent) = request.split_at(request.find('/').unwrap_or(request.len()));
        let mut normal = Vec::new();
        if path::normalise(sent.as_bytes(), &mut normal).is_ok() {
            assert_found(&router, &routes, host, &normal);
        }
    }
}

fn assert_found(router: &Router, routes: &[RouteSettings], host: &str, path: &[u8]) {
    let fields = Fields::new(b"", &[]);
    let asked = Asked {
        host: host.as_bytes(),
        path,
        query: b"",
        method: b"GET",
        fields,
        listener: None,
        client: None,
    };
    let bare = Bare::of(host.as_bytes());
    let ranks = routes.iter().enumerate().filter_map(|(at, route)| {
        let (host, _) = rank::host(route, bare.as_bytes())?;
        let (path, pattern) = rank::path(route, path)?;
        Some((host, path, std::cmp::Reverse(at), pattern))
    });
    let want = ranks.max();
    let mut captures = Captures::new();
    let found = router.find(&asked, &mut captures);
    assert_eq!(found, want.as_ref().map(|(_, _, at, _)| at.0));
    let Some((_, _, at, pattern)) = want else { return };
    assert_eq!(captures.path(), pattern);
    let Some(pattern) = pattern.and_then(|pattern| routes[at.0].paths.get(pattern)) else { return };
    for name in pattern.captures() {
        let value = router.capture(at.0, &captures, name, path);
        let is_segment = value.is_some_and(|value| !value.is_empty() && !value.contains(&b'/'));
        assert!(is_segment || matches!(pattern, PathPattern::Regex(_)), "{name} captured {value:?}");
    }
    let explanation = router.explain(routes, &asked);
    assert_eq!(explanation.taken, found);
}

fn read_host(text: &str) -> Option<HostPattern> {
    let host: HostPattern = text.parse().ok()?;
    assert_eq!(host.to_string().parse().as_ref(), Ok(&host));
    Some(host)
}

fn read_path(text: &str, read: fn(&str) -> Result<PathPattern, String>) -> Option<PathPattern> {
    let pattern = read(text).ok()?;
    assert_eq!(read(&pattern.to_string()).as_ref(), Ok(&pattern));
    if pattern.captures().next().is_none() && !matches!(pattern, PathPattern::Regex(_)) {
        let text = pattern.to_string();
        assert!(path::is_normal(text.as_bytes()) && rank::is_for(&pattern, text.as_bytes()));
    }
    Some(pattern)
}

/// A route for every request, which refuses it: what routes for tests and benches are made from.
pub fn refusing() -> RouteSettings {
    RouteSettings {
        name: String::new(),
        hosts: Vec::new(),
        paths: Vec::new(),
        conditions: Vec::new(),
        action: Action::Deny { status: 403 },
        rewrite: Default::default(),
        request_fields: Default::default(),
        response_fields: Default::default(),
        cache: CacheRule::default(),
        mirror: None,
        limits: Default::default(),
        traffic: crate::config::Traffic::default(),
        error_pages: Default::default(),
    }
}
