//! Upstreams as tables of the file.

use toml_edit::{Item, Table, Value};

use super::value::{Section, list, number, size, table, text, time};
use crate::config::words::Policy;
use crate::config::{
    Balance, Breaker, Ejection, EndpointSettings, HttpProbe, Probe, ProbeAsk, Queue, Retry, Sticky,
    UpstreamSettings,
};
use crate::limits::UpstreamLimits;

/// The variable of the environment that stands for the secret which signs the cookies of this upstream.
fn secret_variable(upstream: &str) -> String {
    format!("RINGWAY_STICKY_SECRET_{}", upstream.to_ascii_uppercase().replace('-', "_"))
}

/// The table of an upstream, with tables of its own for what has much to say.
pub(super) fn print(upstream: &UpstreamSettings) -> Table {
    let UpstreamSettings {
        name,
        endpoints,
        own_host,
        balance,
        sticky,
        slow_start,
        queue,
        probe,
        ejection,
        when_down,
        breaker,
        retry,
        proxy_protocol,
        limits,
    } = upstream;
    let mut section = Section::default();
    section.set("endpoints", list(endpoints.iter().map(endpoint)));
    section.set("upstream-host", *own_host);
    print_balance(&mut section, balance);
    if sticky.is_none() {
        section.comment("sticky: off");
    }
    section.set_or_say("slow-start", slow_start.map(time), "off");
    let Queue { waiting_max, time: wait } = queue;
    section.set("max-waiting", i64::from(*waiting_max));
    section.set("wait-timeout", time(*wait));
    if probe.is_none() {
        section.comment("probe: off");
    }
    if ejection.is_none() {
        section.set("eject", false);
    }
    section.set("when-down", text(when_down));
    if breaker.is_none() {
        section.set("breaker", false);
    }
    print_retry(&mut section, retry, limits.retries_max);
    section.set_or_say("proxy-protocol", proxy_protocol.as_ref().map(text), "off");
    print_limits(&mut section, limits);

    let mut all = section.into_table();
    let tables = [
        ("sticky", sticky.as_ref().map(|sticky| print_sticky(name, sticky))),
        ("probe", probe.as_ref().map(print_probe)),
        ("eject", ejection.as_ref().map(print_ejection)),
        ("breaker", breaker.as_ref().map(print_breaker)),
    ];
    for (key, table) in tables {
        if let Some(table) = table {
            all.insert(key, Item::Table(table));
        }
    }
    all
}

fn endpoint(endpoint: &EndpointSettings) -> Value {
    let EndpointSettings { address, weight, backup, connections_max, requests_max } = endpoint;
    let more = [
        ("weight", (*weight != 1).then(|| i64::from(*weight).into())),
        ("backup", backup.then(|| true.into())),
        ("max-connections", connections_max.map(|count| i64::from(count).into())),
        ("max-requests", requests_max.map(|count| i64::from(count).into())),
    ];
    let mut more = more.into_iter().filter_map(|(key, value)| Some((key, value?))).peekable();
    match more.peek() {
        None => text(address),
        Some(_) => table([("address", text(address))].into_iter().chain(more)),
    }
}

fn print_balance(section: &mut Section, balance: &Balance) {
    section.set("balance", text(&Policy::of(balance)));
    if let Balance::ConsistentHash { by, load_max } = balance {
        section.set("hash-by", text(by));
        section.set("max-load", load_max.map_or_else(|| text("off"), percent));
    }
}

fn print_retry(section: &mut Section, retry: &Retry, retries_max: u32) {
    let Retry {
        on_connect,
        on_reset,
        on_timeout,
        statuses,
        budget,
        time: time_max,
        backoff,
        replay_bytes_max,
    } = retry;
    let words = [("connect", on_connect), ("reset", on_reset), ("timeout", on_timeout)];
    let words = words.into_iter().filter(|(_, on)| **on).map(|(word, _)| text(word));
    section.set("retries", i64::from(retries_max));
    section.set("retry-on", list(words.chain(statuses.iter().map(|&one| text(&range(one))))));
    section.set("retry-budget", percent(*budget));
    section.set("retry-timeout", time_max.map_or_else(|| text("off"), time));
    section.set("retry-backoff", time(*backoff));
    section.set("max-replay", size(*replay_bytes_max));
}

fn print_limits(section: &mut Section, limits: &UpstreamLimits) {
    let UpstreamLimits {
        connect,
        first_byte,
        idle,
        pool_idle,
        pool_size,
        tcp_keepalive,
        tcp_user_timeout,
        retries_max: _,
    } = limits;
    section.set("connect-timeout", time(*connect));
    section.set("first-byte-timeout", time(*first_byte));
    section.set("upstream-timeout", time(*idle));
    section.set("pool-timeout", time(*pool_idle));
    section.set("pool-size", number(*pool_size));
    section.set("tcp-keepalive", tcp_keepalive.map_or_else(|| text("off"), time));
    section.set("tcp-user-timeout", tcp_user_timeout.map_or_else(|| text("off"), time));
}

fn print_sticky(upstream: &str, sticky: &Sticky) -> Table {
    let Sticky { cookie, max_age, secure, secret } = sticky;
    let mut section = Section::default();
    section.set("cookie", text(cookie));
    section.set_or_say("max-age", max_age.map(time), "until the browser ends");
    match secret {
        Some(_) => {
            section.comment("The secret itself is not printed.");
            // Not by `text`, which would make it mean what it says.
            section.set("secret", format!("${{{}}}", secret_variable(upstream)));
        }
        None => section.comment("secret: one of this process"),
    }
    section.set("secure", *secure);
    section.into_table()
}

fn print_probe(probe: &Probe) -> Table {
    let Probe { ask, host, port, interval, jitter, timeout, rise, fall } = probe;
    let mut section = Section::default();
    match ask {
        ProbeAsk::Tcp => section.set("tcp", true),
        ProbeAsk::Http(http) => print_http_probe(&mut section, http),
    }
    section.set_or_say("address", host.as_ref().map(text), "that of the endpoint");
    section.set_or_say("port", port.map(|port| i64::from(port).into()), "that of the endpoint");
    section.set("interval", time(*interval));
    section.set("jitter", percent(*jitter));
    section.set("timeout", time(*timeout));
    section.set("rise", i64::from(*rise));
    section.set("fall", i64::from(*fall));
    section.into_table()
}

fn print_http_probe(section: &mut Section, probe: &HttpProbe) {
    let HttpProbe { path, host, statuses, body, header } = probe;
    section.set("path", text(path));
    section.set_or_say("host", host.as_ref().map(text), "the endpoint's own name");
    section.set("status", list(statuses.iter().map(|&one| status(one))));
    section.set_or_say("body", body.as_ref().map(text), "anything");
    let header = header.as_ref().map(|(name, value)| table([(name.as_str(), text(value))]));
    section.set_or_say("header", header, "any");
}

fn print_ejection(ejection: &Ejection) -> Table {
    let Ejection { consecutive, rate, requests_min, window, time: first, time_max, share_max, statuses } =
        ejection;
    let mut section = Section::default();
    section.set("failures", i64::from(consecutive.unwrap_or(0)));
    match rate {
        Some(rate) => {
            section.set("rate", percent(*rate));
            section.set("min-requests", i64::from(*requests_min));
            section.set("window", time(*window));
        }
        None => section.comment("rate: not counted"),
    }
    section.set("status", list(statuses.iter().map(|&one| status(one))));
    section.set("time", time(*first));
    section.set("max-time", time(*time_max));
    section.set("max-share", percent(*share_max));
    section.into_table()
}

fn print_breaker(breaker: &Breaker) -> Table {
    let Breaker { rate, requests_min, window, time: open, trials } = breaker;
    let mut section = Section::default();
    section.set("rate", percent(*rate));
    section.set("min-requests", i64::from(*requests_min));
    section.set("window", time(*window));
    section.set("time", time(*open));
    section.set("trials", i64::from(*trials));
    section.into_table()
}

fn percent(share: u32) -> Value {
    format!("{share}%").into()
}

/// Statuses from one to another.
fn range((first, last): (u16, u16)) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    }
}

/// The same, as a number if it is one.
fn status(statuses: (u16, u16)) -> Value {
    match statuses.0 == statuses.1 {
        true => i64::from(statuses.0).into(),
        false => text(&range(statuses)),
    }
}
