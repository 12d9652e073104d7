//! An account of a request as people read it, from top to bottom: where it comes in, who takes it, what is sent, what
//! the cache does, which limits hold.

use std::fmt::Write as _;

use crate::proxy::explain::{
    Account, Cache, Changes, Client, Endpoint, Outcome, Route, Selected, Sent, Stored, Upstream,
};

/// Columns of the words at the left.
const LEFT: usize = 10;

/// Writes the account.
pub(super) fn write(account: &Account) -> String {
    let mut out = printable(&format!("{} {}", account.method, account.url));
    out.push_str("\n\n");
    let listener = &account.listener;
    let addresses = listener.addresses.join(", ");
    let named = format!("{} on {addresses}{}", listener.name, behind(listener.place.as_deref()));
    put(&mut out, "listener", [named, format!("  {}", listener.why)]);
    put(&mut out, "client", [client(&account.client)]);
    put(
        &mut out,
        "path",
        account.normal_path.iter().map(|path| format!("{path}, which routes are found by")),
    );
    let because = account.because.iter().map(|why| format!("  {why}"));
    let taken = account.route.as_ref().map_or_else(|| "none".to_owned(), route);
    put(&mut out, "route", std::iter::once(taken).chain(because));
    let close = account.close.iter().flat_map(|close| [route(&close.route), format!("  {}", close.why)]);
    put(&mut out, "not", close);
    let checks =
        account.checks.iter().map(|check| format!("{}: {} ({})", check.name, check.says, check.from));
    put(&mut out, "checks", checks);
    put(&mut out, "outcome", [outcome(account)]);
    let split = account.split_by.iter().map(|by| format!("one of {}, by {by}", account.upstreams.len()));
    let all: u32 = account.upstreams.iter().filter_map(|upstream| upstream.weight).sum();
    put(&mut out, "upstream", split.chain(account.upstreams.iter().flat_map(|to| upstream(to, all))));
    put(&mut out, "request", account.request.iter().flat_map(sent));
    put(&mut out, "response", changes(&account.response));
    let mirror = account.mirror.iter();
    let mirror = mirror.map(|to| format!("{} gets a copy of {}%", to.upstream, f64::from(to.share) / 100.0));
    put(&mut out, "mirror", mirror);
    put(&mut out, "cache", account.cache.iter().flat_map(cache));
    put(&mut out, "limits", limits(account));
    out
}

/// Puts lines beside a word. Nothing is put where there are none.
fn put(out: &mut String, word: &str, lines: impl IntoIterator<Item = String>) {
    for (place, line) in lines.into_iter().enumerate() {
        let word = if place == 0 { word } else { "" };
        // Writing to a text does not fail.
        let _ = writeln!(out, "{word:LEFT$}{}", printable(&line));
    }
}

/// A text that may have come from anywhere, so that it does no harm on a terminal.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

fn behind(place: Option<&str>) -> String {
    place.map(|place| format!(", {place}")).unwrap_or_default()
}

fn route(route: &Route) -> String {
    format!("{}{}", route.name, behind(route.place.as_deref()))
}

fn client(client: &Client) -> String {
    let Client { peer, trusted, address } = client;
    match trusted {
        false => peer.clone(),
        true if address == peer => format!("{peer}, which is trusted"),
        true => format!("{address}, as {peer} says, which is trusted"),
    }
}

fn outcome(account: &Account) -> String {
    let page = |own: bool| if own { ", with a page of its own" } else { "" };
    match &account.outcome {
        Outcome::Forward => {
            let taken = account.upstreams.iter().find(|upstream| upstream.taken);
            let name = taken.map_or("nobody", |upstream| &upstream.name);
            let stored = account.cache.as_ref().and_then(|cache| cache.stored.as_ref());
            match stored.and_then(|stored| stored.selected.as_ref()).filter(|selected| selected.answers) {
                Some(selected) => format!("{} from the cache, in place of {name}", selected.status),
                None => format!("forwarded to {name}"),
            }
        }
        Outcome::Redirect { status, location } => format!("{status}, redirected to {location}"),
        Outcome::Respond { status, content_type, bytes } => {
            let kind = content_type.as_ref().map(|kind| format!(" of {kind}")).unwrap_or_default();
            format!("{status}, answered by the route: {bytes} bytes{kind}")
        }
        Outcome::Deny { status, own_page } => format!("{status}, denied{}", page(*own_page)),
        Outcome::Refused { status, reason, why, own_page } => {
            format!("{status}, refused as {reason}: {why}{}", page(*own_page))
        }
    }
}

fn upstream(upstream: &Upstream, all: u32) -> Vec<String> {
    let share = upstream.weight.map(|weight| format!(", {weight} of {all}")).unwrap_or_default();
    let taken = if upstream.taken && upstream.weight.is_some() { ", which gets it" } else { "" };
    let mut lines = vec![format!("{}{share}{taken}", upstream.name)];
    if upstream.balance != "round-robin" {
        let to = upstream.endpoint.as_ref().map(|to| format!(", which is {to}")).unwrap_or_default();
        lines.push(format!("  {}{to}", upstream.balance));
    }
    lines.extend(upstream.endpoints.iter().map(endpoint));
    lines
}

fn endpoint(endpoint: &Endpoint) -> String {
    let mut line = format!("  {}", endpoint.address);
    if endpoint.weight != 1 {
        line.push_str(&format!(", weight {}", endpoint.weight));
    }
    if endpoint.backup {
        line.push_str(", backup");
    }
    let Some(state) = &endpoint.state else { return line };
    match &*state.addresses {
        [] => line.push_str(", which does not resolve"),
        [only] if *only == endpoint.address => {}
        addresses => line.push_str(&format!(", which is {}", addresses.join(", "))),
    }
    for standing in &state.standing {
        line.push_str(&format!(", {standing}"));
    }
    line.push_str(&format!(", {} idle connections", state.idle));
    match &state.failure {
        Some(failure) => format!("{line}, failed {} s ago: {}", failure.seconds_ago, failure.reason),
        None => line,
    }
}

fn sent(sent: &Sent) -> Vec<String> {
    let rewritten = if sent.is_rewritten { ", rewritten" } else { "" };
    let mut lines =
        vec![format!("{} {}{rewritten}", sent.method, sent.target), format!("  Host: {}", sent.host)];
    lines.extend(changes(&sent.changes));
    lines
}

fn changes(changes: &Changes) -> Vec<String> {
    let loses = changes.loses.iter().map(|line| format!("- {line}"));
    loses.chain(changes.gains.iter().map(|line| format!("+ {line}"))).collect()
}

fn cache(cache: &Cache) -> Vec<String> {
    if let Some(bypass) = &cache.bypass {
        return vec![format!("passed by: {bypass}")];
    }
    let mut lines = Vec::new();
    lines.extend(cache.stored.as_ref().map(stored));
    lines.extend(cache.key.as_ref().map(|key| format!("key {key}")));
    if !cache.by.is_empty() {
        lines.push(format!("responses are told apart by {}", cache.by.join(", ")));
    }
    lines.push(match (cache.override_ttl_s, cache.ttl_s) {
        (Some(ttl), _) => format!("fresh for {ttl} s, whatever the response says"),
        (None, Some(ttl)) => format!("fresh for as long as the response says, or {ttl} s"),
        (None, None) => "fresh for as long as the response says".to_owned(),
    });
    if cache.grace_s > 0 {
        lines.push(format!(
            "usable stale for {} s, where the response says nothing about that",
            cache.grace_s
        ));
    }
    if !cache.stores_cookies {
        lines.push("responses that set cookies are not stored".to_owned());
    }
    if !cache.tags.is_empty() {
        lines.push(format!("tagged {}", cache.tags.join(", ")));
    }
    lines.push(format!("at most {} bytes", cache.response_bytes_max));
    lines
}

fn stored(stored: &Stored) -> String {
    let fetched = if stored.is_fetched { "; it is being fetched" } else { "" };
    let Some(selected) = &stored.selected else {
        return match stored.variants {
            0 => format!("nothing is stored{fetched}"),
            count => format!("none of {count} stored responses is for this request{fetched}"),
        };
    };
    let Selected { status, bytes, age_s, ttl_s, verdict, .. } = selected;
    let left = match (selected.is_purged, ttl_s) {
        (true, _) => "purged".to_owned(),
        (false, 1..) => format!("fresh for {ttl_s} s more"),
        (false, _) => format!("stale for {} s", -ttl_s),
    };
    format!("stored: {status} with {bytes} bytes, {age_s} s old, {left} ({verdict}){fetched}")
}

/// Name, value and where it comes from, in columns.
fn limits(account: &Account) -> Vec<String> {
    let longest = |text: &dyn Fn(&crate::proxy::explain::Limit) -> usize| {
        account.limits.iter().map(text).max().unwrap_or_default()
    };
    let names = longest(&|limit| limit.name.len());
    let values = longest(&|limit| limit.value.len());
    let line = |limit: &crate::proxy::explain::Limit| {
        format!("{:names$}  {:values$}  {}", limit.name, limit.value, limit.from)
    };
    account.limits.iter().map(line).collect()
}
