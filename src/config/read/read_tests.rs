use std::collections::BTreeSet;
use std::time::Duration;

use super::mistakes::Folder;
use super::*;
use crate::config::keys::{Kind, Table};
use crate::config::matching::{Condition, HostPattern, PathPattern, Test};
use crate::config::route::{ForwardPath, KeyQuery, Mirror, SplitBy};
use crate::config::{
    Balance, Breaker, Ejection, EndpointAddress, EndpointSettings, HashBy, Host, HttpProbe, ListenAddress,
    Probe, ProbeAsk, ProxyVersion, Queue, Retry, Sticky, UpstreamSettings, WhenDown,
};

/// Every key there is, once at least.
const EVERYTHING: &str = include_str!("everything.toml");

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9001".to_owned()),
        "DEBUG" => Some("true".to_owned()),
        _ => None,
    }
}

fn load_at(path: PathBuf) -> Result<Loaded, ConfigError> {
    load(Options::default(), Some(path), &environment)
}

fn load_with(options: Options, text: &str) -> Result<Loaded, ConfigError> {
    let folder = Folder::new();
    folder.write("busy.html", "busy");
    folder.write("users", "ann:$2y$05$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u\n");
    load(options, Some(folder.write("ringway.toml", text)), &environment)
}

fn loaded(text: &str) -> Loaded {
    load_with(Options::default(), text).unwrap_or_else(|error| panic!("{error}"))
}

fn usage(options: Options, text: &str) -> String {
    match load_with(options, text) {
        Err(ConfigError::Usage(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    names.map(String::as_str).collect()
}

/// All keys of a table and of those in it.
fn keys(table: &'static Table, seen: &mut Vec<&'static str>, found: &mut BTreeSet<&'static str>) {
    fn of_kind(kind: &'static Kind, seen: &mut Vec<&'static str>, found: &mut BTreeSet<&'static str>) {
        match kind {
            Kind::Table(table) => keys(table(), seen, found),
            Kind::OneOrMore(kind) | Kind::List(kind) | Kind::MapOf(kind) => of_kind(kind, seen, found),
            Kind::OneOf(kinds) => kinds.iter().for_each(|kind| of_kind(kind, seen, found)),
            _ => {}
        }
    }
    if seen.contains(&table.name) {
        return;
    }
    seen.push(table.name);
    for key in table.all() {
        assert!(!key.doc.is_empty() && !key.doc.starts_with(' ') && !key.doc.ends_with('.'), "{key:?}");
        found.insert(key.name);
        of_kind(key.kind, seen, found);
    }
}

#[test]
fn every_key_can_be_said() {
    let mut found = BTreeSet::new();
    keys(&FILE, &mut Vec::new(), &mut found);
    assert!(found.len() > 80, "{found:?}");
    let said = |key: &str| {
        EVERYTHING.lines().any(|line| {
            line.split([' ', '{', '[', ']', ',', '.', '=']).any(|word| word == key) && !line.starts_with('#')
        })
    };
    // Beside listeners there can be no port of its own.
    let missing: Vec<_> = found.into_iter().filter(|key| !said(key) && *key != "port").collect();
    assert!(missing.is_empty(), "{missing:?}");
    let loaded = loaded(EVERYTHING);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn a_table_knows_the_keys_that_it_shares_with_others() {
    let names: BTreeSet<_> = FILE.all().map(|key| key.name).collect();
    for name in ["route", "listener", "origin", "head-timeout", "include"] {
        assert!(names.contains(name), "{name}");
    }
    let listener = crate::config::read::said::LISTENER.all().find(|key| key.name == "head-timeout").unwrap();
    assert_eq!(listener.doc, "A request head, from first byte to last");
    assert!(matches!(listener.kind, Kind::Duration));
}

#[test]
fn listeners_have_their_own_limits_or_those_at_the_top() {
    let settings = loaded(EVERYTHING).settings;
    let [web, local] = &settings.listeners[..] else { panic!("{:?}", settings.listeners) };
    assert_eq!((web.name.as_str(), local.name.as_str()), ("web", "local"));
    assert_eq!(web.addresses.len(), 2);
    assert_eq!(local.addresses, [ListenAddress::Unix("/run/ringway/web.sock".into())]);
    assert_eq!((web.limits.head.head_bytes_max, local.limits.head.head_bytes_max), (16 << 10, 20 << 10));
    assert_eq!((web.limits.head.fields_max, local.limits.head.fields_max), (50, 60));
    assert_eq!(
        (web.limits.head_time, local.limits.head_time),
        (Duration::from_secs(1), Duration::from_secs(21))
    );
    assert_eq!((web.limits.body_bytes_max, local.limits.body_bytes_max), (Some(1 << 20), Some(2 << 20)));
    assert_eq!((web.trusted.len(), local.trusted.len()), (1, 2));
    assert_eq!(settings.response_head.head_bytes_max, 20 << 10);
}

#[test]
fn upstreams_have_their_own_limits_or_those_at_the_top() {
    let settings = loaded(EVERYTHING).settings;
    let find = |name: &str| settings.upstreams.iter().find(|upstream| upstream.name == name).unwrap();
    let (default, app, shadow) = (find("default"), find("app"), find("shadow"));
    assert_eq!(
        default.endpoints[0].address,
        EndpointAddress::Tcp(crate::config::Host::parse("127.0.0.1"), 9001)
    );
    let weights: Vec<_> = app.endpoints.iter().map(|endpoint| endpoint.weight).collect();
    assert_eq!(weights, [1, 2, 1]);
    assert!(!app.own_host && shadow.own_host && default.own_host);
    assert_eq!(
        (app.limits.connect, shadow.limits.connect),
        (Duration::from_secs(1), Duration::from_secs(31))
    );
    assert_eq!((app.limits.pool_size, shadow.limits.pool_size), (7, 8));
    assert_eq!((app.limits.retries_max, shadow.limits.retries_max), (0, 3));
}

#[test]
fn routes_say_what_they_are_for() {
    let settings = loaded(EVERYTHING).settings;
    let api = &settings.routes[0];
    assert_eq!(api.name, "api");
    assert_eq!(
        api.hosts,
        [HostPattern::Exact("example.com".to_owned()), HostPattern::Wildcard("example.com".to_owned())]
    );
    assert_eq!(
        api.paths,
        [
            PathPattern::whole("/users/{id}").unwrap(),
            PathPattern::prefix("/api/{id}").unwrap(),
            PathPattern::regex("^/v(?<id>[0-9]+)/").unwrap(),
        ]
    );
    let is = |text: &str| Test::Is(text.to_owned());
    assert_eq!(
        api.conditions,
        [
            Condition::Method(vec!["GET".to_owned(), "HEAD".to_owned()]),
            Condition::Header("X-Beta".to_owned(), Test::Present),
            Condition::Header("Accept".to_owned(), Test::Contains("json".to_owned())),
            Condition::Header("X-A".to_owned(), Test::Prefix("a".to_owned())),
            Condition::Header(
                "X-B".to_owned(),
                Test::OneOf(vec![is("b"), Test::Suffix("c".to_owned()), Test::Regex("^d".parse().unwrap())])
            ),
            Condition::Query("debug".to_owned(), is("1")),
            Condition::Cookie("canary".to_owned(), Test::Absent),
            Condition::Client(vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.1/32".parse().unwrap()]),
            Condition::Listener(vec!["web".to_owned()]),
            Condition::All(vec![Condition::Host(vec![HostPattern::Exact("a".to_owned())])]),
            Condition::Any(vec![
                Condition::Method(vec!["GET".to_owned()]),
                Condition::All(vec![
                    Condition::Path(vec![
                        PathPattern::prefix("/x").unwrap(),
                        PathPattern::regex("y$").unwrap()
                    ]),
                    Condition::Header("X".to_owned(), is("1")),
                ]),
            ]),
            Condition::Not(Box::new(Condition::Not(Box::new(Condition::Query(
                "q".to_owned(),
                Test::Present
            ))))),
        ]
    );
}

#[test]
fn upstreams_say_how_they_are_kept_up() {
    let settings = loaded(EVERYTHING).settings;
    assert_eq!(settings.upstream_idle, 2048);
    assert_eq!(settings.resolvers, ["127.0.0.1:53".parse().unwrap(), "[::1]:5353".parse().unwrap()]);
    let [_, app, shadow] = &settings.upstreams[..] else { panic!("{:?}", settings.upstreams) };
    let seconds = Duration::from_secs;
    let load_max = Some(150);
    assert_eq!(app.balance, Balance::ConsistentHash { by: HashBy::Header("X-User".to_owned()), load_max });
    assert_eq!((app.slow_start, app.when_down), (Some(seconds(30)), WhenDown::Fail));
    assert_eq!(app.queue, Queue { waiting_max: 10, time: seconds(1) });
    assert_eq!(
        app.probe,
        Some(Probe {
            ask: ProbeAsk::Http(HttpProbe {
                path: "/healthz?full=1".to_owned(),
                host: Some("app.internal:80".to_owned()),
                statuses: vec![(200, 200), (204, 206)],
                body: Some("ok".to_owned()),
                header: Some(("X-Ok".to_owned(), "1".to_owned())),
            }),
            host: Some(Host::parse("10.0.0.9")),
            port: Some(8000),
            interval: seconds(1),
            jitter: 0,
            timeout: Duration::from_millis(500),
            rise: 1,
            fall: 2,
        })
    );
    assert_eq!(
        app.ejection,
        Some(Ejection {
            consecutive: Some(3),
            rate: Some(25),
            requests_min: 10,
            window: seconds(5),
            time: seconds(2),
            time_max: seconds(60),
            share_max: 30,
            statuses: vec![(500, 502), (504, 504)],
        })
    );
    let breaker = Breaker { rate: 75, requests_min: 5, window: seconds(3), time: seconds(4), trials: 1 };
    assert_eq!(app.breaker, Some(breaker));
    assert_eq!(
        app.retry,
        Retry {
            on_connect: true,
            on_reset: true,
            on_timeout: true,
            statuses: vec![(503, 503), (502, 504)],
            budget: 10,
            time: None,
            backoff: Duration::from_millis(50),
            replay_bytes_max: 0,
        }
    );
    assert_eq!(app.proxy_protocol, Some(ProxyVersion::V2));
    assert_eq!((app.limits.tcp_keepalive, app.limits.tcp_user_timeout), (None, Some(seconds(60))));
    assert!(app.endpoints.iter().all(|one| one.connections_max == Some(100) && one.requests_max == Some(50)));

    let Some(sticky) = &shadow.sticky else { panic!("{shadow:?}") };
    assert_eq!((sticky.cookie.as_str(), sticky.max_age, sticky.secure), ("at", Some(seconds(3600)), true));
    assert_eq!(sticky.secret.as_deref(), Some("fedcba9876543210"));
    let tcp =
        Probe { interval: seconds(3), timeout: Duration::from_millis(1500), ..Probe::new(ProbeAsk::Tcp) };
    assert_eq!((&shadow.probe, &shadow.ejection), (&Some(tcp), &None));
    assert_eq!(settings.listeners[0].proxy_protocol.len(), 2);
    assert!(settings.listeners[1].proxy_protocol.is_empty());
}

#[test]
fn endpoints_have_their_own_bounds_or_those_of_their_upstream() {
    let shadow = &loaded(EVERYTHING).settings.upstreams[2];
    let [literal, services, file] = &shadow.endpoints[..] else { panic!("{shadow:?}") };
    assert_eq!((literal.weight, literal.requests_max, literal.connections_max), (1, Some(5), None));
    assert_eq!(services.address, EndpointAddress::Srv("_http._tcp.app.internal".to_owned()));
    assert_eq!((services.weight, services.requests_max, services.backup), (3, Some(7), false));
    assert_eq!((file.requests_max, file.connections_max, file.backup), (Some(5), Some(9), true));
    let EndpointAddress::File(path) = &file.address else { panic!("{file:?}") };
    assert!(path.is_absolute() && path.ends_with("apps/app.json"), "{path:?}");
}

#[test]
fn files_of_endpoints_are_relative_to_who_says_so() {
    let folder = Folder::new();
    folder.write(
        "conf.d/a.toml",
        "[upstream.a]\nendpoints = ['file:a.json', 'file:/b.json', 'file:../c.json']\n",
    );
    let top = "include = 'conf.d/a.toml'\n[[route]]\nupstream = 'a'\n";
    let settings = load_at(folder.write("ringway.toml", top)).unwrap().settings;
    let shown: Vec<_> = settings.upstreams[0].endpoints.iter().map(|one| one.address.to_string()).collect();
    let folder = folder.0.display();
    let want = [
        format!("file:{folder}/conf.d/a.json"),
        "file:/b.json".to_owned(),
        format!("file:{folder}/conf.d/../c.json"),
    ];
    assert_eq!(shown, want);
    let twice = "[upstream.a]\nendpoints = ['file:a.json', 'file:./a.json']\n[[route]]\nupstream = 'a'\n";
    assert!(matches!(load_with(Options::default(), twice), Err(ConfigError::File(_))));
}

#[test]
fn upstreams_have_their_own_words_or_those_at_the_top() {
    let top = "origin = 'http://a'\nbalance = 'least-connections'\nretry-on = [503]\ntcp-keepalive = 'off'\n\
               tcp-user-timeout = '5s'\n[upstream.same]\nendpoints = 'a:1'\n[upstream.other]\nendpoints = 'a:1'\n\
               balance = 'power-of-two'\nretry-on = []\ntcp-keepalive = '1s'\ntcp-user-timeout = 'off'\n\
               [[route]]\nupstream = { same = 1, other = 1 }\n";
    let settings = loaded(top).settings;
    for upstream in &settings.upstreams[..2] {
        assert_eq!(upstream.balance, Balance::LeastConnections);
        let statuses = vec![(503, 503)];
        let retry = Retry { on_connect: false, on_reset: false, statuses, ..Retry::default() };
        assert_eq!(upstream.retry, retry);
        let limits = &upstream.limits;
        assert_eq!((limits.tcp_keepalive, limits.tcp_user_timeout), (None, Some(Duration::from_secs(5))));
    }
    let other = &settings.upstreams[2];
    assert_eq!(other.balance, Balance::PowerOfTwo);
    assert_eq!(other.retry, Retry { on_connect: false, on_reset: false, ..Retry::default() });
    let limits = &other.limits;
    assert_eq!((limits.tcp_keepalive, limits.tcp_user_timeout), (Some(Duration::from_secs(1)), None));
}

#[test]
fn what_is_short_stands_for_the_defaults() {
    let upstream = |text: &str| {
        let text = format!("[upstream.a]\nendpoints = 'a:1'\n{text}\n[[route]]\nupstream = 'a'\n");
        loaded(&text).settings.upstreams.remove(0)
    };
    let of = |change: &dyn Fn(&mut UpstreamSettings)| {
        let mut upstream = UpstreamSettings::new("a", vec![EndpointSettings::new("a:1".parse().unwrap())]);
        change(&mut upstream);
        upstream
    };
    let http = || ProbeAsk::Http(HttpProbe::new("/healthz"));
    let sticky = || Sticky { cookie: "ringway-a".to_owned(), max_age: None, secure: false, secret: None };
    let hash = Balance::ConsistentHash { by: HashBy::Url, load_max: Some(125) };
    assert_eq!(upstream(""), of(&|_| {}));
    assert_eq!(upstream("probe = 'tcp'"), of(&|one| one.probe = Some(Probe::new(ProbeAsk::Tcp))));
    assert_eq!(upstream("probe = '/healthz'"), of(&|one| one.probe = Some(Probe::new(http()))));
    assert_eq!(upstream("probe = { path = '/healthz' }"), of(&|one| one.probe = Some(Probe::new(http()))));
    assert_eq!(upstream("sticky = true"), of(&|one| one.sticky = Some(sticky())));
    assert_eq!(upstream("sticky = {}"), of(&|one| one.sticky = Some(sticky())));
    assert_eq!(upstream("sticky = false"), of(&|_| {}));
    assert_eq!(upstream("eject = true"), of(&|_| {}));
    assert_eq!(upstream("eject = {}"), of(&|_| {}));
    assert_eq!(upstream("eject = false"), of(&|one| one.ejection = None));
    assert_eq!(upstream("breaker = true"), of(&|one| one.breaker = Some(Breaker::default())));
    assert_eq!(upstream("breaker = {}"), of(&|one| one.breaker = Some(Breaker::default())));
    assert_eq!(upstream("breaker = false"), of(&|_| {}));
    assert_eq!(upstream("balance = 'consistent-hash'"), of(&|one| one.balance = hash.clone()));
    // A bound beyond a default takes the default with it.
    let long = upstream("eject = { time = '10m' }").ejection.unwrap();
    assert_eq!((long.time, long.time_max), (Duration::from_secs(600), Duration::from_secs(600)));
}

#[test]
fn flags_about_upstreams_take_the_place_of_what_stands_at_the_top() {
    let text = "balance = 'consistent-hash'\n[upstream.a]\nendpoints = 'a:1'\nhash-by = 'client'\n\
                [[route]]\nupstream = 'a'\n";
    let by = |policy: &str| Options { balance: Some(policy.parse().unwrap()), ..Options::default() };
    let hash = Balance::ConsistentHash { by: HashBy::Client, load_max: Some(125) };
    assert_eq!(loaded(text).settings.upstreams[0].balance, hash);
    let random = load_with(by("random"), text).unwrap();
    assert_eq!(random.settings.upstreams[0].balance, Balance::Random);
    let sticky =
        text.replace("balance = 'consistent-hash'\n", "").replace("hash-by = 'client'", "sticky = true");
    assert!(load_with(by("random"), &sticky).is_ok());
    assert_eq!(
        usage(by("consistent-hash"), &sticky),
        "upstream `a` cannot be sticky beside consistent-hash: each says by itself where a client goes"
    );
}

#[test]
fn routes_say_what_becomes_of_a_request() {
    let settings = loaded(EVERYTHING).settings;
    let api = &settings.routes[0];
    let Action::Forward(split) = &api.action else { panic!("{:?}", api.action) };
    assert_eq!(split.shares, [("app".to_owned(), 95), ("default".to_owned(), 5)]);
    assert_eq!(split.by, SplitBy::Cookie("id".to_owned()));
    assert_eq!(api.mirror, Some(Mirror { upstream: "shadow".to_owned(), share: 1000 }));
    let rewrite = &api.rewrite;
    assert_eq!((rewrite.strip_prefix.as_deref(), rewrite.add_prefix.as_deref()), (Some("/api"), Some("/v1")));
    assert_eq!(rewrite.forward, ForwardPath::Original);
    let query = &rewrite.query;
    assert_eq!(query.replace.as_ref().unwrap().to_string(), "a={id}");
    assert_eq!(
        (names(query.remove.iter()), names(query.set.iter().map(|(name, _)| name))),
        (vec!["utm_*"], vec!["a"])
    );
    assert_eq!(names(query.add.iter().map(|(name, _)| name)), ["b", "b"]);
    assert_eq!(names(api.request_fields.set.iter().map(|(name, _)| name)), ["X-Id", "Host"]);
    assert_eq!(names(api.response_fields.remove.iter()), ["Server"]);
    assert_eq!(api.cache.query, KeyQuery::Except(vec!["utm_*".to_owned()]));
    assert_eq!(
        (api.cache.ttl, api.cache.override_ttl),
        (Some(Duration::from_secs(60)), Some(Duration::from_secs(5)))
    );
    assert!(api.cache.on && !api.cache.set_cookie);
    assert_eq!(api.limits.retries_max, Some(1));
    assert_eq!(api.limits.body_bytes_max, Some(4096));
    assert_eq!(
        (&*api.error_pages[&502].body, &*api.error_pages[&502].content_type),
        (&b"down"[..], "text/plain")
    );

    let actions: Vec<_> = settings.routes[1..].iter().map(|route| &route.action).collect();
    assert!(matches!(actions[0], Action::Redirect { status: 308, .. }));
    assert!(matches!(actions[1], Action::Redirect { status: 302, .. }));
    assert!(matches!(actions[2], Action::Respond(response) if response.status == 201));
    assert!(matches!(actions[3], Action::Respond(response) if response.status == 200));
    assert!(matches!(actions[4], Action::Deny { status: 403 }));
    assert!(matches!(actions[5], Action::Deny { status: 451 }));
    assert_eq!(settings.routes[7].rewrite.path.as_ref().unwrap().to_string(), "/new{path}");
    assert!(!settings.routes[7].cache.on);
    assert_eq!(names(settings.routes.iter().map(|route| &route.name)).last(), Some(&"default"));
    let page = &settings.error_pages[&503];
    assert!(page.file.as_ref().is_some_and(|file| file.is_absolute() && file.ends_with("busy.html")));
    assert_eq!((&*page.body, &*page.content_type), (&b"busy"[..], "text/html; charset=utf-8"));
}

#[test]
fn variables_stand_for_numbers_and_truth_values_too() {
    let text = "origin = 'http://a:${PORT}'\nport = '${PORT}'\ntrace = '${DEBUG}'\nvia = 'x-${NONE:-y}'\n\
                cache-size = '${SIZE:-2}MiB'\n";
    let settings = loaded(text).settings;
    assert_eq!(settings.listeners[0].addresses[0].to_string(), "127.0.0.1:9001");
    assert_eq!(settings.upstreams[0].endpoints[0].address.to_string(), "a:9001");
    assert!(settings.trace);
    assert_eq!((settings.via.as_str(), settings.cache.unwrap().bytes), ("x-y", 2 << 20));
}

#[test]
fn files_are_included_in_order_and_relative_to_who_says_so() {
    let folder = Folder::new();
    folder.write("conf.d/b.toml", "[[route]]\nname = 'b'\ndeny = true\nerror-page = { 403 = 'no.txt' }\n");
    folder.write("conf.d/no.txt", "no");
    folder.write("conf.d/a.toml", "include = '../other/*.toml'\n[[route]]\nname = 'a'\ndeny = true\n");
    folder.write("other/x.toml", "[upstream.x]\nendpoints = 'x:1'\n[[route]]\nupstream = 'x'\n");
    folder.write("last.toml", "trace = true\n[[route]]\nname = 'last'\ndeny = true\n");
    let top = "include = ['conf.d/*.toml', 'none/*.toml', 'last.toml']\nvia = 'v'\n[[route]]\ndeny = true\n";
    let loaded = load_at(folder.write("ringway.toml", top)).unwrap_or_else(|error| panic!("{error}"));
    let settings = loaded.settings;
    assert_eq!(
        names(settings.routes.iter().map(|route| &route.name)),
        ["route-1", "a", "route-3", "b", "last"]
    );
    assert!(settings.trace && settings.via == "v");
    assert_eq!(&*settings.routes[3].error_pages[&403].body, b"no");
    let files: Vec<_> = loaded.sources.files().iter().map(|file| file.path.file_name().unwrap()).collect();
    assert_eq!(files, ["ringway.toml", "a.toml", "x.toml", "b.toml", "last.toml"]);
    let place = loaded.places.routes[2].unwrap();
    assert!(loaded.sources.line(place).ends_with("other/x.toml:3"), "{}", loaded.sources.line(place));
}

#[test]
fn what_is_said_in_two_files_is_shown_with_both() {
    let folder = Folder::new();
    folder.write(
        "b.toml",
        "port = 2\n[listener.web]\naddress = '127.0.0.1:2'\n[[route]]\nname = 'r'\ndeny = true\n",
    );
    folder.write("c.toml", "include = 'ringway.toml'\n");
    let top = "include = ['b.toml', 'c.toml', './b.toml']\nport = 1\n[listener.web]\naddress = '127.0.0.1:1'\n\
               [[route]]\nname = 'r'\ndeny = true\n";
    let said = folder.said(top);
    for want in [
        "ringway.toml:1:32: error: `./b.toml` is included twice",
        "c.toml:1:11: error: `ringway.toml` includes itself",
    ] {
        assert!(said.contains(want), "{said}");
    }
    let said = folder.said(&top.replace(", 'c.toml', './b.toml'", ""));
    for want in [
        "b.toml:1:1: error: `port` is said twice: ringway.toml:2 says it too",
        "b.toml:2:11: error: there are two listeners `web`: the other is at ringway.toml:3",
        "b.toml:5:8: error: there are two routes `r`: the other is at ringway.toml:6",
    ] {
        assert!(said.contains(want), "{said}");
    }
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let folder = Folder::new();
    let large = " ".repeat(usize::try_from(crate::config::source::FILE_BYTES_MAX).unwrap() + 1);
    assert!(folder.said(&large).contains("`ringway.toml` is larger than 16777216 bytes"));
}

#[test]
fn flags_replace_the_address_of_the_only_listener() {
    let one = "origin = 'http://a'\n[listener.web]\naddress = '0.0.0.0:80'\n";
    let address = |options: Options, text: &str| {
        let settings = load_with(options, text).unwrap().settings;
        settings.listeners[0].addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let port = Options { port: Some(81), ..Options::default() };
    let host = Options { host: Some("::1".to_owned()), ..Options::default() };
    assert_eq!(address(Options::default(), one), "0.0.0.0:80");
    assert_eq!(address(port.clone(), one), "0.0.0.0:81");
    assert_eq!(address(host.clone(), one), "[::1]:80");
    assert_eq!(address(host, &one.replace("0.0.0.0:80", "unix:/run/a")), "[::1]:8080");
    let two = format!("{one}[listener.other]\naddress = '127.0.0.1:81'\n");
    let message = usage(port, &two);
    assert_eq!(message, "--host and --port are for a file with one listener; this one has 2: web, other");
}

#[test]
fn the_command_line_is_blamed_for_what_it_breaks() {
    let text = "origin = 'http://a'\nmax-target = '10KiB'\n[listener.web]\naddress = '127.0.0.1:80'\n\
                [upstream.app]\nendpoints = 'a:1'\n[[route]]\nupstream = 'app'\n";
    let small = Options { max_head: Some("8KiB".parse().unwrap()), ..Options::default() };
    assert_eq!(usage(small, text), "max-target: must be less than max-head, which holds the target");
    let admin = Options {
        admin: Some("127.0.0.1:80".parse().unwrap()),
        admin_token: Some("0123456789abcdef".parse().unwrap()),
        ..Options::default()
    };
    assert_eq!(usage(admin, text), "127.0.0.1:80 is taken by `admin` already");
    let origin = Options { origin: Some(vec!["http://b".parse().unwrap()]), ..Options::default() };
    let settings = load_with(origin.clone(), text).unwrap().settings;
    assert_eq!(settings.upstreams[0].endpoints[0].address.to_string(), "b:80");
    let own = text.replace("origin = 'http://a'\n", "").replace("[upstream.app]", "[upstream.default]");
    let own = own.replace("'app'", "'default'");
    assert!(load_with(Options::default(), &own).is_ok());
    assert!(matches!(load_with(origin, &own), Err(ConfigError::File(_))));
}

#[test]
fn without_an_origin_there_is_no_route_for_the_rest() {
    let text = "[[route]]\npath = '/a'\ndeny = true\n";
    assert_eq!(loaded(text).settings.routes.len(), 1);
    assert!(loaded(text).settings.upstreams.is_empty());
    let settings = loaded(&format!("origin = 'http://a'\n{text}")).settings;
    assert_eq!(names(settings.routes.iter().map(|route| &route.name)), ["route-1", "default"]);
}

#[test]
fn a_command_finds_the_admin_endpoint_in_a_file_that_it_cannot_judge() {
    let folder = Folder::new();
    let at = |text: &str| admin(&folder.write("ringway.toml", text), None, &environment);
    let good = "admin = '127.0.0.1:${PORT}'\nadmin-token = '0123456789abcdef'\norigin = '${NONE}'\nx = 1\n";
    let (address, token) = at(good).unwrap();
    assert_eq!(address.unwrap().to_string(), "127.0.0.1:9001");
    assert_eq!(token.unwrap().as_str(), "0123456789abcdef");
    for (text, want) in [
        ("admin = 'on'", "no admin address"),
        ("admin = '127.0.0.1:1'", "needs a token"),
        ("admin = '${NONE}'", "not set"),
        ("admin-token = 'short'", "from 16 to 1024"),
        ("admin = ", "a value is missing"),
    ] {
        let error = at(text).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn whatever_a_file_says_it_is_read_or_refused() {
    // Cut anywhere, and with each line left out or doubled, the file still has an answer.
    let folder = Folder::new();
    folder.write("busy.html", "busy");
    folder.write("users", "ann:$2y$05$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u\n");
    for at in (0..EVERYTHING.len()).filter(|at| EVERYTHING.is_char_boundary(*at)).step_by(29) {
        assert!(!folder.said(&EVERYTHING[..at]).is_empty());
    }
    let lines: Vec<_> = EVERYTHING.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let without = [&lines[..at], &lines[at + 1..]].concat().join("\n");
        let doubled = [&lines[..at], &[*line], &lines[at..]].concat().join("\n");
        assert!(!folder.said(&without).is_empty() && !folder.said(&doubled).is_empty());
    }
}

#[test]
fn the_files_in_the_readme_are_right() {
    let readme = include_str!("../../../README.md");
    let snippets = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut count = 0;
    for snippet in snippets {
        let loaded = of_text(snippet.to_owned(), &|_| None);
        let loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
        assert!(loaded.warnings.is_empty() && !loaded.settings.routes.is_empty(), "{snippet}");
        count += 1;
    }
    assert!(count > 0, "the README has files");
}
