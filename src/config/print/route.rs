//! A route as a table of the file.

use std::cmp::Ordering;

use toml_edit::{Table, Value};

use super::value::{Section, list, one_or_list, size, table, text, time};
use super::{least_rate, print_error_pages, print_traffic};
use crate::config::RouteSettings;
use crate::config::matching::{Condition, HostPattern, PathPattern, Test};
use crate::config::route::{
    Action, CacheRule, FieldEdits, ForwardPath, KeyQuery, Mirror, QueryEdits, Rewrite, Split, SplitBy,
};
use crate::config::template::Template;
use crate::limits::RouteLimits;

/// What is not said by the route itself holds as its listener and its upstream have it, and is left out.
pub(super) fn print(route: &RouteSettings) -> Table {
    let mut section = Section::default();
    section.set("name", text(&route.name));
    let mut when = Vec::new();
    hosts(&route.hosts, &mut when);
    paths(&route.paths, &mut when);
    conditions(&route.conditions, &mut when);
    when.into_iter().for_each(|(key, value)| section.set(key, value));
    action(&mut section, &route.action);
    if matches!(route.action, Action::Forward(_)) {
        rewrite(&mut section, &route.rewrite);
        section.set("cache", cache(&route.cache));
    }
    if let Some(to) = &route.mirror {
        section.set("mirror", mirror(to));
    }
    for (key, edits) in
        [("request-header", &route.request_fields), ("response-header", &route.response_fields)]
    {
        if !edits.is_empty() {
            section.set(key, field_edits(edits));
        }
    }
    limits(&mut section, &route.limits);
    print_traffic(&mut section, &route.traffic);
    if !route.error_pages.is_empty() {
        section.set("error-page", print_error_pages(&route.error_pages).into_inline_table());
    }
    section.into_table()
}

/// Keys and values of a table.
pub(super) type Entries = Vec<(&'static str, Value)>;

fn hosts(hosts: &[HostPattern], into: &mut Entries) {
    if !hosts.is_empty() {
        into.push(("host", one_or_list(hosts.iter().map(text))));
    }
}

/// The three kinds of paths have a key each.
fn paths(paths: &[PathPattern], into: &mut Entries) {
    for (key, is_kind) in [
        ("path", (|path| matches!(path, PathPattern::Whole(_))) as fn(&PathPattern) -> bool),
        ("path-prefix", |path| matches!(path, PathPattern::Prefix(_))),
        ("path-regex", |path| matches!(path, PathPattern::Regex(_))),
    ] {
        let of_kind: Vec<Value> = paths.iter().filter(|path| is_kind(path)).map(text).collect();
        if !of_kind.is_empty() {
            into.push((key, one_or_list(of_kind)));
        }
    }
}

/// Conditions that all have to hold, as keys of one table; where one table cannot say them all, each has a table of
/// its own in `all`.
pub(super) fn conditions(conditions: &[Condition], into: &mut Entries) {
    if !fit_one_table(conditions) {
        into.push(("all", list(conditions.iter().map(condition))));
        return;
    }
    for condition in conditions {
        match condition {
            Condition::Method(methods) => into.push(("method", one_or_list(methods.iter().map(text)))),
            Condition::Header(name, test) => add_test("header", name, test, into),
            Condition::Query(name, test) => add_test("query", name, test, into),
            Condition::Cookie(name, test) => add_test("cookie", name, test, into),
            Condition::Client(networks) => into.push(("client", one_or_list(networks.iter().map(text)))),
            Condition::Listener(names) => into.push(("listener", one_or_list(names.iter().map(text)))),
            Condition::Host(patterns) => hosts(patterns, into),
            Condition::Path(patterns) => paths(patterns, into),
            Condition::All(parts) => into.push(("all", list(parts.iter().map(self::condition)))),
            Condition::Any(parts) => into.push(("any", list(parts.iter().map(self::condition)))),
            Condition::Not(part) => into.push(("not", self::condition(part))),
        }
    }
}

/// One condition as a table.
fn condition(condition: &Condition) -> Value {
    let mut entries = Vec::new();
    match condition {
        Condition::All(parts) if parts.len() > 1 && fit_one_table(parts) => conditions(parts, &mut entries),
        other => conditions(std::slice::from_ref(other), &mut entries),
    }
    table(entries)
}

/// Whether one table says all of these, and is read in this order: keys have an order, and stand there once.
fn fit_one_table(conditions: &[Condition]) -> bool {
    let place = |condition: &Condition| match condition {
        Condition::Host(_) => 0,
        Condition::Path(_) => 1,
        Condition::Method(_) => 2,
        Condition::Header(..) => 3,
        Condition::Query(..) => 4,
        Condition::Cookie(..) => 5,
        Condition::Client(_) => 6,
        Condition::Listener(_) => 7,
        Condition::All(_) => 8,
        Condition::Any(_) => 9,
        Condition::Not(_) => 10,
    };
    let name = |condition: &Condition| match condition {
        Condition::Header(name, _) | Condition::Query(name, _) | Condition::Cookie(name, _) => {
            Some(name.clone())
        }
        _ => None,
    };
    let mut names = std::collections::HashSet::new();
    conditions.windows(2).all(|pair| match place(&pair[0]).cmp(&place(&pair[1])) {
        Ordering::Less => true,
        Ordering::Equal => name(&pair[0]).is_some(),
        Ordering::Greater => false,
    }) && conditions.iter().all(|one| name(one).is_none_or(|name| names.insert((place(one), name))))
}

/// Adds a test to the table of that key, which is the last if it is there.
fn add_test(key: &'static str, name: &str, test: &Test, into: &mut Entries) {
    match into.last_mut() {
        Some((last, Value::InlineTable(tests))) if *last == key => {
            tests.insert(name, is(test));
        }
        _ => into.push((key, table([(name, is(test))]))),
    }
}

pub(super) fn is(test: &Test) -> Value {
    match test {
        Test::Present => true.into(),
        Test::Absent => false.into(),
        Test::Is(value) => text(value),
        Test::Prefix(start) => table([("prefix", text(start))]),
        Test::Suffix(end) => table([("suffix", text(end))]),
        Test::Contains(part) => table([("contains", text(part))]),
        Test::Regex(pattern) => table([("regex", text(pattern.source()))]),
        Test::OneOf(tests) => list(tests.iter().map(is)),
    }
}

fn action(section: &mut Section, action: &Action) {
    match action {
        Action::Forward(split) => forward(section, split),
        Action::Redirect { to, status } => {
            section.set("redirect", table([("to", text(to)), ("status", i64::from(*status).into())]));
        }
        Action::Respond(response) => {
            let entries = [
                ("status", i64::from(response.status).into()),
                ("body", text(&response.body)),
                ("content-type", text(&response.content_type)),
            ];
            section.set("respond", table(entries));
        }
        Action::Deny { status } => section.set("deny", i64::from(*status)),
    }
}

fn forward(section: &mut Section, split: &Split) {
    let shares = split.shares.iter();
    match &*split.shares {
        [(upstream, 1)] => section.set("upstream", text(upstream)),
        _ => section.set("upstream", table(shares.map(|(name, weight)| (name, i64::from(*weight).into())))),
    }
    match &split.by {
        SplitBy::Chance => {}
        SplitBy::Client => section.set("split-by", "client"),
        SplitBy::Cookie(name) => section.set("split-by", text(&format!("cookie:{name}"))),
        SplitBy::Header(name) => section.set("split-by", text(&format!("header:{name}"))),
    }
}

fn rewrite(section: &mut Section, rewrite: &Rewrite) {
    let Rewrite { strip_prefix, path, add_prefix, query, forward } = rewrite;
    if let Some(prefix) = strip_prefix {
        section.set("strip-prefix", text(prefix));
    }
    if let Some(path) = path {
        section.set("rewrite", text(path));
    }
    if let Some(prefix) = add_prefix {
        section.set("add-prefix", text(prefix));
    }
    if *query != QueryEdits::default() {
        section.set("query-edit", query_edits(query));
    }
    let form = match forward {
        ForwardPath::Normalised => "normalised",
        ForwardPath::Original => "original",
    };
    section.set("forward-path", form);
}

fn query_edits(edits: &QueryEdits) -> Value {
    let QueryEdits { replace, remove, set, add } = edits;
    let mut entries = Vec::new();
    if let Some(query) = replace {
        entries.push(("replace", text(query)));
    }
    changes(remove, set, add, &mut entries);
    table(entries)
}

fn field_edits(edits: &FieldEdits) -> Value {
    let FieldEdits { remove, set, add } = edits;
    let mut entries = Vec::new();
    changes(remove, set, add, &mut entries);
    table(entries)
}

fn changes(remove: &[String], set: &[(String, Template)], add: &[(String, Template)], into: &mut Entries) {
    if !remove.is_empty() {
        into.push(("remove", list(remove.iter().map(text))));
    }
    if !set.is_empty() {
        into.push(("set", table(set.iter().map(|(name, value)| (name, text(value))))));
    }
    if !add.is_empty() {
        // Several of one name are a list.
        let mut by_name: Vec<(&str, Vec<Value>)> = Vec::new();
        for (name, value) in add {
            match by_name.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(text(value)),
                None => by_name.push((name, vec![text(value)])),
            }
        }
        into.push(("add", table(by_name.into_iter().map(|(name, values)| (name, one_or_list(values))))));
    }
}

fn mirror(mirror: &Mirror) -> Value {
    let Mirror { upstream, share } = mirror;
    let (percent, rest) = (share / 100, share % 100);
    let share = match rest {
        0 => format!("{percent}%"),
        rest => format!("{percent}.{rest:02}%"),
    };
    table([("upstream", text(upstream)), ("share", share.into())])
}

fn cache(rule: &CacheRule) -> Value {
    if !rule.on {
        return false.into();
    }
    let CacheRule { on: _, ttl, override_ttl, grace, query, headers, cookies, tags, set_cookie } = rule;
    let mut entries = Vec::new();
    for (key, given) in [("ttl", ttl), ("override-ttl", override_ttl), ("grace", grace)] {
        if let Some(given) = given {
            entries.push((key, time(*given)));
        }
    }
    let names = |names: &[String]| list(names.iter().map(text));
    let query = match query {
        KeyQuery::All => true.into(),
        KeyQuery::None => false.into(),
        KeyQuery::Only(only) => names(only),
        KeyQuery::Except(except) => table([("except", names(except))]),
    };
    entries.push(("query", query));
    for (key, given) in [("header", headers), ("cookie", cookies), ("tag", tags)] {
        if !given.is_empty() {
            entries.push((key, names(given)));
        }
    }
    entries.push(("set-cookie", (*set_cookie).into()));
    table(entries)
}

fn limits(section: &mut Section, limits: &RouteLimits) {
    let RouteLimits {
        body_bytes_max,
        body_idle,
        write_idle,
        rate_min,
        tunnel_idle,
        connect,
        first_byte,
        upstream_idle,
        retries_max,
    } = limits;
    if let Some(bytes) = body_bytes_max {
        section.set("max-body", size(*bytes));
    }
    if let Some(bytes) = rate_min {
        section.set("min-rate", least_rate(*bytes));
    }
    for (key, given) in [
        ("body-timeout", body_idle),
        ("write-timeout", write_idle),
        ("tunnel-timeout", tunnel_idle),
        ("connect-timeout", connect),
        ("first-byte-timeout", first_byte),
        ("upstream-timeout", upstream_idle),
    ] {
        if let Some(given) = given {
            section.set(key, time(*given));
        }
    }
    if let Some(retries) = retries_max {
        section.set("retries", i64::from(*retries));
    }
}
