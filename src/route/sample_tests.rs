//! Routes and requests for tests; the plain matcher that the router is held to; and random ones of both that
//! collide a lot.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::Asked;
use super::fuzz_patterns::refusing;
use crate::config::RouteSettings;
use crate::config::matching::{Condition, HostPattern, PathPattern, Segment, Test};
use crate::http::{FieldLine, Fields, Name, Span};

pub(super) const LISTENERS: [&str; 2] = ["web", "inner"];

/// A route for these hosts and paths: `/a` is a whole path, `/a*` a prefix, `^/a` an expression.
pub(super) fn route(name: &str, hosts: &[&str], paths: &[&str], conditions: Vec<Condition>) -> RouteSettings {
    let path = |text: &&str| match (text.strip_suffix('*'), text.starts_with('^')) {
        (_, true) => PathPattern::regex(text).unwrap(),
        (Some(prefix), _) => PathPattern::prefix(prefix).unwrap(),
        _ => PathPattern::whole(text).unwrap(),
    };
    RouteSettings {
        name: name.to_owned(),
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        paths: paths.iter().map(path).collect(),
        conditions,
        ..refusing()
    }
}

/// A request, in pieces that are easily written down.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) listener: Option<usize>,
    pub(super) client: Option<IpAddr>,
}

impl Request {
    /// Reads `GET example.com/path?query`.
    pub(super) fn read(line: &str) -> Request {
        let (method, target) = line.split_once(' ').unwrap();
        let (target, query) = target.split_once('?').unwrap_or((target, ""));
        let (host, path) = target.split_at(target.find(['/', '*']).unwrap());
        let [method, host, path, query] = [method, host, path, query].map(str::to_owned);
        Request { method, host, path, query, ..Request::default() }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Request {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Shows it as a router sees it.
    pub(super) fn ask<R>(&self, ask: impl FnOnce(&Asked<'_>) -> R) -> R {
        let (mut head, mut lines) = (Vec::new(), Vec::new());
        for (name, value) in &self.fields {
            let start = head.len();
            head.extend_from_slice(name.as_bytes());
            let end = head.len();
            head.extend_from_slice(value.as_bytes());
            lines.push(FieldLine {
                name: Span::new(start, end),
                value: Span::new(end, head.len()),
                known: Name::recognise(name.as_bytes()),
            });
        }
        ask(&Asked {
            host: self.host.as_bytes(),
            path: self.path.as_bytes(),
            query: self.query.as_bytes(),
            method: self.method.as_bytes(),
            fields: Fields::new(&head, &lines),
            listener: self.listener,
            client: self.client,
        })
    }
}

/// What the plain matcher says: a route, and what it captured by name.
pub(super) type Found = Option<(usize, Vec<(String, String)>)>;

/// The definition: of all routes with all their hosts and paths, the ones that match and whose conditions hold;
/// of these the best.
pub(super) fn plain(routes: &[RouteSettings], request: &Request) -> Found {
    let mut best: Option<(String, usize, Vec<(String, String)>)> = None;
    for (at, route) in routes.iter().enumerate() {
        if !route.conditions.iter().all(|condition| plain_condition(condition, request)) {
            continue;
        }
        let hosts: Vec<_> = match &*route.hosts {
            [] => vec!["0".to_owned()],
            hosts => hosts.iter().filter_map(|host| plain_host(host, &request.host)).collect(),
        };
        let paths: Vec<_> = match &*route.paths {
            [] => vec![("0".to_owned(), Vec::new())],
            paths => paths.iter().filter_map(|path| plain_path(path, &request.path)).collect(),
        };
        for host in &hosts {
            for (path, captures) in &paths {
                let grade = format!("{host} {path}");
                // Only what is better takes the place of what came earlier.
                if best.as_ref().is_none_or(|(other, ..)| grade > *other) {
                    best = Some((grade, at, captures.clone()));
                }
            }
        }
    }
    best.map(|(_, at, captures)| (at, captures))
}

/// How good a host is, as text that compares, if it matches.
fn plain_host(pattern: &HostPattern, sent: &str) -> Option<String> {
    let host = match sent.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => sent,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_lowercase();
    match pattern {
        HostPattern::Exact(name) => (*name == host).then(|| "2".to_owned()),
        HostPattern::Wildcard(parent) => {
            let (below, dot) = (host.len().checked_sub(parent.len() + 1)?, format!(".{parent}"));
            (below > 0 && host.ends_with(&dot)).then(|| format!("1{:03}", parent.len()))
        }
    }
}

/// How good a path is, as text that compares, and what it captures, if it matches.
fn plain_path(pattern: &PathPattern, path: &str) -> Option<(String, Vec<(String, String)>)> {
    if !path.starts_with('/') {
        return None;
    }
    let (segments, end) = match pattern {
        PathPattern::Regex(pattern) => {
            let groups = pattern.regex().captures(path.as_bytes())?;
            let names = pattern.regex().capture_names().flatten();
            let found = names.filter_map(|name| {
                let value = std::str::from_utf8(groups.name(name)?.as_bytes()).unwrap();
                Some((name.to_owned(), value.to_owned()))
            });
            return Some(("2".to_owned(), found.collect()));
        }
        PathPattern::Whole(segments) => (segments, 'b'),
        PathPattern::Prefix(segments) => (segments, 'a'),
    };
    let (mut grade, mut captures) = ("1".to_owned(), Vec::new());
    let mut rest = path.to_owned();
    for segment in segments {
        let found: String = rest.strip_prefix('/')?.chars().take_while(|c| *c != '/').collect();
        rest = rest[1 + found.len()..].to_owned();
        match segment {
            Segment::Literal(text) if *text == found => grade.push('d'),
            Segment::Capture(name) if !found.is_empty() => {
                grade.push('c');
                captures.push((name.clone(), found));
            }
            _ => return None,
        }
    }
    if end == 'b' && !rest.is_empty() {
        return None;
    }
    grade.push(end);
    let whole_literal = end == 'b' && captures.is_empty();
    Some((if whole_literal { "3".to_owned() } else { grade }, captures))
}

fn plain_condition(condition: &Condition, request: &Request) -> bool {
    let listener = request.listener.map(|at| LISTENERS[at]);
    match condition {
        Condition::Method(methods) => {
            methods.contains(&request.method)
                || request.method == "HEAD" && methods.contains(&"GET".to_owned())
        }
        Condition::Header(name, test) => {
            let lines =
                request.fields.iter().filter(|(field, _)| field.to_lowercase() == name.to_lowercase());
            plain_test(test, &lines.map(|(_, value)| value.clone()).collect::<Vec<_>>())
        }
        Condition::Query(name, test) => {
            let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
            let plain = |text: &str| text.replace("%61", "a").replace('+', " ");
            let found = pairs.filter(|(other, _)| plain(other) == *name).map(|(_, value)| plain(value));
            plain_test(test, &found.collect::<Vec<_>>())
        }
        Condition::Cookie(name, test) => {
            let fields = request.fields.iter().filter(|(field, _)| field == "Cookie");
            let pairs =
                fields.flat_map(|(_, value)| value.split("; ")).filter_map(|pair| pair.split_once('='));
            let found = pairs.filter(|(other, _)| other == name).map(|(_, value)| value.to_owned());
            plain_test(test, &found.collect::<Vec<_>>())
        }
        Condition::Client(networks) => {
            request.client.is_some_and(|client| networks.iter().any(|net| net.contains(&client)))
        }
        Condition::Listener(names) => {
            listener.is_some_and(|listener| names.iter().any(|name| name == listener))
        }
        Condition::Host(hosts) => hosts.iter().any(|host| plain_host(host, &request.host).is_some()),
        Condition::Path(paths) => paths.iter().any(|path| plain_path(path, &request.path).is_some()),
        Condition::All(parts) => parts.iter().all(|part| plain_condition(part, request)),
        Condition::Any(parts) => parts.iter().any(|part| plain_condition(part, request)),
        Condition::Not(part) => !plain_condition(part, request),
    }
}

fn plain_test(test: &Test, values: &[String]) -> bool {
    match test {
        Test::Present => !values.is_empty(),
        Test::Absent => values.is_empty(),
        Test::Is(text) => values.contains(text),
        Test::Prefix(text) => values.iter().any(|value| value.starts_with(text)),
        Test::Suffix(text) => values.iter().any(|value| value.ends_with(text)),
        Test::Contains(text) => values.iter().any(|value| value.contains(text)),
        Test::Regex(pattern) => values.iter().any(|value| pattern.regex().is_match(value.as_bytes())),
        Test::OneOf(tests) => tests.iter().any(|test| plain_test(test, values)),
    }
}

fn some_hosts() -> impl Strategy<Value = Vec<HostPattern>> {
    subsequence(vec!["a", "b.a", "c.b.a", "*.a", "*.b.a", "[::1]"], 0..3)
        .prop_shuffle()
        .prop_map(|hosts| hosts.into_iter().map(|host| host.parse().unwrap()).collect())
}

fn some_path() -> impl Strategy<Value = PathPattern> {
    let segments = prop::collection::vec(select(vec!["x", "y", "{}", "{}"]), 0..4);
    let expressions = select(vec!["^/x", "y$", "/(?<r>[xy])/", "^/(?<r>.)(?<s>/y)?"]);
    let by_segments = (segments, select(vec!["", "/"]), any::<bool>()).prop_map(|(segments, end, whole)| {
        let name = |(at, segment): (usize, &&str)| match *segment {
            "{}" => format!("/{{p{at}}}"),
            text => format!("/{text}"),
        };
        let text: String = segments.iter().enumerate().map(name).collect();
        let text = if text.is_empty() { "/".to_owned() } else { text + end };
        if whole { PathPattern::whole(&text).unwrap() } else { PathPattern::prefix(&text).unwrap() }
    });
    prop_oneof![
        6 => by_segments,
        1 => expressions.prop_map(|text| PathPattern::regex(text).unwrap()),
    ]
}

fn some_test() -> impl Strategy<Value = Test> {
    let text = || select(vec!["", "1", "2", "12", "a b"]).prop_map(str::to_owned);
    let one = prop_oneof![
        Just(Test::Present),
        Just(Test::Absent),
        text().prop_map(Test::Is),
        text().prop_map(Test::Prefix),
        text().prop_map(Test::Suffix),
        text().prop_map(Test::Contains),
        select(vec!["^1", "2$", "1.*b"]).prop_map(|text| Test::Regex(text.parse().unwrap())),
    ];
    one.prop_recursive(1, 3, 3, |one| prop::collection::vec(one, 0..3).prop_map(Test::OneOf))
}

fn some_condition() -> impl Strategy<Value = Condition> {
    let texts = |texts: [&'static str; 2]| {
        subsequence(texts.to_vec(), 1..=2).prop_map(|texts| texts.into_iter().map(str::to_owned).collect())
    };
    let networks = subsequence(vec!["10.0.0.0/8", "10.1.0.0/16", "::/0"], 1..3);
    let one = prop_oneof![
        texts(["GET", "POST"]).prop_map(Condition::Method),
        some_test().prop_map(|test| Condition::Header("X-Field".to_owned(), test)),
        some_test().prop_map(|test| Condition::Query("a".to_owned(), test)),
        some_test().prop_map(|test| Condition::Cookie("c".to_owned(), test)),
        networks.prop_map(|all| Condition::Client(
            all.into_iter().map(|network| network.parse().unwrap()).collect()
        )),
        texts(LISTENERS).prop_map(Condition::Listener),
        some_hosts().prop_map(Condition::Host),
        prop::collection::vec(some_path(), 1..3).prop_map(Condition::Path),
    ];
    one.prop_recursive(2, 6, 3, |one| {
        prop_oneof![
            prop::collection::vec(one.clone(), 0..3).prop_map(Condition::All),
            prop::collection::vec(one.clone(), 0..3).prop_map(Condition::Any),
            one.prop_map(|one| Condition::Not(Box::new(one))),
        ]
    })
}

/// Routes over a small alphabet.
pub(super) fn some_routes() -> impl Strategy<Value = Vec<RouteSettings>> {
    let paths = prop::collection::vec(some_path(), 0..3);
    let conditions = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(some_condition(), 1..3)];
    let one = (some_hosts(), paths, conditions);
    prop::collection::vec(one, 0..12).prop_map(|all| {
        let named = all.into_iter().enumerate().map(|(at, (hosts, paths, conditions))| RouteSettings {
            hosts,
            paths,
            ..route(&format!("route-{}", at + 1), &[], &[], conditions)
        });
        named.collect()
    })
}

/// A request over the same alphabet.
pub(super) fn some_request() -> impl Strategy<Value = Request> {
    let host = select(vec!["a", "A:80", "b.a", "B.a.", "x.b.a.:1", "c.b.a", "d.c.b.a", "z", "", "[0::1]:80"]);
    let path = prop::collection::vec(select(vec!["x", "y", "z"]), 0..5);
    let path = (path, select(vec!["", "/"])).prop_map(|(segments, end)| match &*segments {
        [] => "/".to_owned(),
        segments => format!("/{}{end}", segments.join("/")),
    });
    let path = prop_oneof![20 => path, 1 => Just("*".to_owned())];
    let query = select(vec!["", "a=1", "%61=12&b=2", "a=", "b=1", "a=a+b&a=1", "a=1%61"]);
    let field = prop_oneof![
        select(vec!["", "1", "2", "12", "1 a b"]).prop_map(|value| ("x-FIELD", value)),
        select(vec!["c=1", "c=2; d=1", "d=1; c=12", "c="]).prop_map(|value| ("Cookie", value)),
    ];
    let client = select(vec!["10.1.2.3", "10.2.0.1", "192.0.2.1", "2001:db8::1"]);
    (
        select(vec!["GET", "POST", "get"]),
        host,
        path,
        query,
        prop::collection::vec(field, 0..3),
        prop::option::of(0..LISTENERS.len()),
        prop::option::of(client.prop_map(|text| text.parse().unwrap())),
    )
        .prop_map(|(method, host, path, query, fields, listener, client)| Request {
            method: method.to_owned(),
            host: host.replace("0::1", "::1"),
            path,
            query: query.to_owned(),
            fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            listener,
            client,
        })
}
