//! The whole configuration as a file that runs the same: every default is filled in, and where a key has no
//! value that says the default, a comment does.

mod browsers;
mod clients;
mod coding;
mod flow;
mod holding;
mod identity;
mod route;
mod rules;
mod security;
mod upstream;
mod value;

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};

use self::value::{Section, list, number, one_or_list, size, table, text, time};
use super::route::{ErrorPage, ErrorPages};
use super::{AdminSettings, CacheSettings, DriverChoice, ListenerSettings, Room, Settings, Traffic};
use crate::limits::{HeadLimits, ListenerLimits};
use crate::observe::Format;

/// The text of a file that makes these settings when it is read. Secrets are not in it: in the place of the admin token
/// stands the variable `RINGWAY_ADMIN_TOKEN`, in that of the secret for the cookies of an upstream `app` the variable
/// `RINGWAY_STICKY_SECRET_APP`.
pub fn print(settings: &Settings) -> String {
    let mut document = DocumentMut::new();
    *document.as_table_mut() = top(settings);
    let listeners = settings.listeners.iter().map(|listener| (&*listener.name, print_listener(listener)));
    document.insert("listener", named(listeners, "Where clients come in, and what they may ask for."));
    let upstreams = settings.upstreams.iter().map(|upstream| (&*upstream.name, upstream::print(upstream)));
    document.insert("upstream", named(upstreams, "Where requests go, and how that is kept up."));
    let sets = settings.rule_sets.iter().map(|set| (&*set.name, rules::print_rule_set(set)));
    let rates = settings.rates.iter().map(|rate| (&*rate.name, flow::print_rate(rate)));
    let auths = settings.auths.iter().map(|auth| (&*auth.name, identity::print_auth(auth)));
    for (key, tables) in [
        ("rule-set", named(sets, "Sets of rules that requests are held against.")),
        ("rate", named(rates, "Rates that requests count for.")),
        ("auth", named(auths, "Ways to authenticate.")),
    ] {
        if tables.as_table().is_some_and(|table| !table.is_empty()) {
            document.insert(key, tables);
        }
    }
    if !settings.error_pages.is_empty() {
        let mut pages = print_error_pages(&settings.error_pages);
        say_before(&mut pages, "Pages for the errors that the proxy answers by itself.");
        document.insert("error-page", Item::Table(pages));
    }
    let mut routes: ArrayOfTables = settings.routes.iter().map(route::print).collect();
    if let Some(first) = routes.get_mut(0) {
        say_before(
            first,
            "What becomes of requests: the most specific host wins, then the most specific path, then the order.",
        );
    }
    document.insert("route", Item::ArrayOfTables(routes));
    document.to_string()
}

/// Tables of one kind, by name, with what they are in front of the first.
fn named<'a>(tables: impl Iterator<Item = (&'a str, Table)>, comment: &str) -> Item {
    let mut all = Table::new();
    all.set_implicit(true);
    for (at, (name, mut table)) in tables.enumerate() {
        if at == 0 {
            say_before(&mut table, comment);
        }
        all.insert(name, Item::Table(table));
    }
    Item::Table(all)
}

/// Puts a comment in front of a table's head.
fn say_before(table: &mut Table, comment: &str) {
    table.decor_mut().set_prefix(format!("\n# {comment}\n"));
}

/// What stands above all tables.
fn top(settings: &Settings) -> Table {
    let mut top = Section::default();
    top.comment("The whole configuration: what was said, and every default.");
    top.group("The process.");
    match settings.cores {
        Some(cores) => top.set("cores", number(cores)),
        None => top.comment("cores: a worker thread for each core that there is"),
    }
    let driver = match settings.driver {
        DriverChoice::Auto => "auto",
        DriverChoice::Uring => "io_uring",
        DriverChoice::Epoll => "epoll",
    };
    top.set("driver", text(driver));
    let Room { connections_max, memory_max } = settings.room;
    top.set_or_say(
        "max-connections",
        connections_max.map(|count| number(count as usize)),
        "by the limit on open files",
    );
    top.set_or_say("max-memory", memory_max.map(size), "off");
    top.set("drain-timeout", time(settings.drain));

    top.group("What holds for every request.");
    top.set("via", text(&settings.via));
    top.set("trace", settings.trace);
    let format = match settings.access_log {
        Format::Off => "off",
        Format::Combined => "combined",
        Format::Json => "json",
    };
    top.set("access-log", text(format));

    top.group("Orders while the proxy runs.");
    print_admin(&mut top, &settings.admin);
    top.group("What holds for all upstreams.");
    match &settings.resolvers[..] {
        [] => top.comment("resolver: the name servers of the system"),
        servers => top.set("resolver", list(servers.iter().map(text))),
    }
    top.set("upstream-idle", number(settings.upstream_idle));
    top.group("The cache.");
    print_cache(&mut top, settings.cache.as_ref());
    top.group("Heads of responses; those of requests have the bounds of their listener.");
    print_head(&mut top, &settings.response_head);
    top.into_table()
}

fn print_admin(top: &mut Section, admin: &AdminSettings) {
    match admin {
        AdminSettings::Off => top.set("admin", text("off")),
        AdminSettings::Default => top.comment("admin: a Unix socket of the user's own"),
        AdminSettings::Unix(path) => top.set("admin", text(&format!("unix:{}", path.display()))),
        AdminSettings::Tcp { host, port, token: _, anywhere } => {
            top.set("admin", text(&format!("{host}:{port}")));
            top.comment("The token itself is not printed.");
            // Not by `text`, which would make it mean what it says.
            top.set("admin-token", "${RINGWAY_ADMIN_TOKEN}");
            top.set("admin-anywhere", *anywhere);
        }
    }
}

fn print_cache(top: &mut Section, cache: Option<&CacheSettings>) {
    let Some(cache) = cache else { return top.set("no-cache", true) };
    let CacheSettings { bytes, ttl, grace, response_bytes_max, wait } = cache;
    top.set("no-cache", false);
    top.set("cache-size", size(*bytes));
    top.set("cache-max-response", size(*response_bytes_max));
    top.set_or_say("cache-ttl", ttl.map(time), "off");
    top.set_or_say("cache-grace", grace.map(time), "off");
    top.set("cache-wait", time(*wait));
}

fn print_head(section: &mut Section, limits: &HeadLimits) {
    let HeadLimits { head_bytes_max, fields_max, target_bytes_max } = limits;
    section.set("max-head", size(*head_bytes_max));
    section.set("max-fields", number(*fields_max));
    section.set("max-target", size(*target_bytes_max));
}

fn print_listener(listener: &ListenerSettings) -> Table {
    let ListenerSettings { name: _, addresses, limits, trusted, proxy_protocol, clients, traffic } = listener;
    let ListenerLimits {
        head,
        body_bytes_max,
        head_time,
        body_idle,
        keep_alive,
        write_idle,
        rate_min,
        tunnel_idle,
    } = limits;
    let mut section = Section::default();
    section.set("address", one_or_list(addresses.iter().map(text)));
    section.set("trusted-proxy", list(trusted.iter().map(text)));
    section.set("proxy-protocol", list(proxy_protocol.iter().map(text)));
    print_head(&mut section, head);
    section.set_or_say("max-body", body_bytes_max.map(size), "no limit");
    section.set("head-timeout", time(*head_time));
    section.set("body-timeout", time(*body_idle));
    section.set("keep-alive-timeout", time(*keep_alive));
    section.set("write-timeout", time(*write_idle));
    section.set("min-rate", least_rate(*rate_min));
    section.set("tunnel-timeout", time(*tunnel_idle));
    clients::print(&mut section, clients);
    print_traffic(&mut section, traffic);
    section.into_table()
}

/// Bytes a second that a client has to get forward.
fn least_rate(bytes: u32) -> toml_edit::Value {
    if bytes == 0 { text("off") } else { size(bytes) }
}

/// What a listener or a route says about traffic; of what it does not say nothing is written.
fn print_traffic(section: &mut Section, traffic: &Traffic) {
    security::print(section, &traffic.security);
    rules::print(section, &traffic.rules);
    browsers::print(section, &traffic.browsers);
    identity::print(section, &traffic.identity);
    flow::print(section, &traffic.flow);
    coding::print(section, &traffic.coding);
    holding::print(section, &traffic.holding);
}

/// Pages by status: those that were read from files by their paths, the others whole.
fn print_error_pages(pages: &ErrorPages) -> Table {
    let mut section = Section::default();
    for (status, page) in pages {
        section.set(&status.to_string(), error_page(page));
    }
    section.into_table()
}

fn error_page(page: &ErrorPage) -> toml_edit::Value {
    match &page.file {
        Some(file) => text(&file.display()),
        // It was given as text.
        None => table([
            ("body", text(&String::from_utf8_lossy(&page.body))),
            ("content-type", text(&page.content_type)),
        ]),
    }
}

#[cfg(test)]
#[path = "print_tests.rs"]
mod tests;
