use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use self::upstreams::upstream;
use super::*;
use crate::config::matching::{Condition, HostPattern, PathPattern, Test};
use crate::config::route::{
    Action, CacheRule, FieldEdits, FixedResponse, ForwardPath, KeyQuery, Mirror, QueryEdits, Rewrite, Split,
    SplitBy,
};
use crate::config::template::Template;
use crate::config::{EndpointSettings, Options, RouteSettings, load};
use crate::limits::RouteLimits;

#[path = "print_clients_tests.rs"]
mod clients_tests;
#[path = "print_coding_tests.rs"]
mod coding;
#[path = "print_flow_tests.rs"]
mod flow_tests;
#[path = "print_holding_tests.rs"]
mod holding;
#[path = "print_identity_tests.rs"]
mod identity;
#[path = "print_rules_tests.rs"]
mod rules;
#[path = "print_security_tests.rs"]
mod securities;
#[path = "print_upstream_tests.rs"]
mod upstreams;

const TOKEN: &str = "0123456789abcdef";
const SECRET: &str = "signed with \"${this}\" \u{e4}";
const UPSTREAMS: [&str; 3] = ["app", "b-2", "c_3"];
const LISTENERS: [&str; 2] = ["web", "9"];

/// A file that goes away at the end.
struct File(std::path::PathBuf);

impl File {
    fn new(text: &str) -> File {
        let name = format!("ringway-print-{}-{:x}.toml", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read(text: &str) -> Settings {
    let file = File::new(text);
    let variable = |name: &str| match name {
        "RINGWAY_ADMIN_TOKEN" => Some(TOKEN.to_owned()),
        "RINGWAY_STICKY_SECRET_APP" | "RINGWAY_STICKY_SECRET_B_2" => Some(SECRET.to_owned()),
        _ => None,
    };
    let loaded = load(Options::default(), Some(file.0.clone()), &variable);
    loaded.unwrap_or_else(|error| panic!("{error}\n\n{text}")).settings
}

/// Texts that are hard to write.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        select(vec![
            "${A}", "$${A}", "${A:-b}", "\"", "\\", "'''", "\"\"\"", "#", "a = 1", "{}", "true", "1", "[x]"
        ])
        .prop_map(str::to_owned),
    ]
}

fn template(start: &'static str) -> impl Strategy<Value = Template> {
    let part = prop_oneof![
        "[ -~\u{e4}]{0,6}".prop_map(|text| text.replace('{', "{{").replace('}', "}}")),
        select(vec![
            "{host}",
            "{path}",
            "{client_ip}",
            "{header.X-A}",
            "{cookie.a}",
            "{query.b}",
            "${{",
            "$"
        ])
        .prop_map(str::to_owned),
    ];
    vec(part, 0..4).prop_map(move |parts| format!("{start}{}", parts.concat()).parse().unwrap())
}

fn content() -> impl Strategy<Value = Template> {
    (template(""), select(vec!["", "\n", "\r\n\t", "\n\n"]))
        .prop_map(|(text, end)| Template::for_content(&format!("{text}{end}")).unwrap())
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1u64..100_000).prop_map(Duration::from_secs),
        (1u64..100_000).prop_map(Duration::from_millis),
        (1u64..1 << 40).prop_map(Duration::from_nanos),
    ]
}

fn lifetime() -> impl Strategy<Value = Duration> {
    (1u64..1 << 30).prop_map(Duration::from_secs)
}

fn head() -> impl Strategy<Value = HeadLimits> {
    (2048usize..65536, 1usize..=256, 16usize..2048).prop_map(
        |(head_bytes_max, fields_max, target_bytes_max)| HeadLimits {
            head_bytes_max,
            fields_max,
            target_bytes_max,
        },
    )
}

fn names(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(all, 1..=all.len()).prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn parsed<T: std::str::FromStr<Err = String> + std::fmt::Debug + Clone + 'static>(
    all: &'static [&'static str],
) -> impl Strategy<Value = Vec<T>> {
    names(all).prop_map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn listener(index: usize) -> impl Strategy<Value = ListenerSettings> {
    let limits = (head(), of(any::<u64>()), span(), span(), span(), span(), span(), 0u32..1 << 30).prop_map(
        |(head, body_bytes_max, head_time, body_idle, keep_alive, write_idle, tunnel_idle, rate_min)| {
            ListenerLimits {
                head,
                body_bytes_max,
                head_time,
                body_idle,
                keep_alive,
                write_idle,
                rate_min,
                tunnel_idle,
            }
        },
    );
    let addresses = match index {
        0 => parsed(&["127.0.0.1:1", "[::1]:0", "localhost:2", "unix:/run/a b\"c.sock"]),
        _ => parsed(&["0.0.0.0:3", "unix:${A}"]),
    };
    let peers = || of(parsed(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.1", "unix"]));
    let all = (addresses, limits.boxed(), peers(), peers(), clients_tests::clients());
    all.prop_map(move |(addresses, limits, trusted, proxy_protocol, clients)| ListenerSettings {
        name: LISTENERS[index].to_owned(),
        addresses,
        limits,
        trusted: trusted.unwrap_or_default(),
        proxy_protocol: proxy_protocol.unwrap_or_default(),
        clients,
        traffic: crate::config::Traffic::default(),
    })
}

fn pages() -> impl Strategy<Value = ErrorPages> {
    let page =
        (any_text(), select(vec!["text/html; charset=utf-8", "text/plain"])).prop_map(|(body, kind)| {
            ErrorPage { file: None, content_type: kind.to_owned(), body: Arc::from(body.into_bytes()) }
        });
    proptest::collection::btree_map(400u16..=599, page, 0..3)
}

fn one_test() -> impl Strategy<Value = Test> {
    // What ends a text, or is empty, is for the reader to judge.
    let text = || any_text().prop_filter("something", |text| !text.is_empty());
    prop_oneof![
        text().prop_map(Test::Is),
        text().prop_map(Test::Prefix),
        text().prop_map(Test::Suffix),
        text().prop_map(Test::Contains),
        select(vec!["^a\\d+$", "(?i)b|c", "\\$\\{"]).prop_map(|text| Test::Regex(text.parse().unwrap())),
    ]
}

fn tests() -> impl Strategy<Value = Test> {
    prop_oneof![
        Just(Test::Present),
        Just(Test::Absent),
        one_test(),
        vec(one_test(), 2..4).prop_map(Test::OneOf),
    ]
}

fn hosts() -> impl Strategy<Value = Vec<HostPattern>> {
    parsed(&["a.example", "*.a.example", "127.0.0.1", "[::1]"])
}

fn paths() -> impl Strategy<Value = Vec<PathPattern>> {
    let whole = subsequence(vec!["/", "/a", "/a/{x}", "/a/{x}/{y}/", "/%C3%A4"], 0..=3);
    let prefix = subsequence(vec!["/", "/b", "/b/{z}"], 0..=2);
    let regex = subsequence(vec!["^/v[0-9]+/", "/(?<name>[a-z]+)$"], 0..=2);
    (whole, prefix, regex)
        .prop_map(|(whole, prefix, regex)| {
            let whole = whole.into_iter().map(|text| PathPattern::whole(text).unwrap());
            let prefix = prefix.into_iter().map(|text| PathPattern::prefix(text).unwrap());
            let regex = regex.into_iter().map(|text| PathPattern::regex(text).unwrap());
            whole.chain(prefix).chain(regex).collect::<Vec<_>>()
        })
        .prop_filter("some", |paths| !paths.is_empty())
}

/// One condition that no table is needed for.
fn plain_condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        names(&["GET", "HEAD", "PURGE"]).prop_map(Condition::Method),
        (select(vec!["X-A", "Accept", "x.y"]), tests())
            .prop_map(|(name, test)| Condition::Header(name.to_owned(), test)),
        ("[a-z ${}\"\u{e4}]{1,4}", tests()).prop_map(|(name, test)| Condition::Query(name, test)),
        (select(vec!["a", "b_c"]), tests()).prop_map(|(name, test)| Condition::Cookie(name.to_owned(), test)),
        select(vec!["10.0.0.0/8", "::/0"]).prop_map(|text| Condition::Client(vec![text.parse().unwrap()])),
        names(&LISTENERS).prop_map(Condition::Listener),
        hosts().prop_map(Condition::Host),
        paths().prop_map(Condition::Path),
    ]
}

/// Any condition; several in any order.
fn condition() -> impl Strategy<Value = Condition> {
    plain_condition().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Condition::All),
            vec(inner.clone(), 1..4).prop_map(Condition::Any),
            inner.prop_map(|part| Condition::Not(Box::new(part))),
        ]
    })
}

/// The conditions of a route: those that one table says, in the order of its keys.
fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    (
        of(names(&["GET", "HEAD"])),
        of((tests(), of(tests()))),
        of(tests()),
        of(tests()),
        of(Just("10.0.0.0/8")),
        of(names(&LISTENERS)),
        of(vec(condition(), 1..3)),
        of(vec(condition(), 1..3)),
        of(condition()),
    )
        .prop_map(|(method, header, query, cookie, client, listener, all, any, not)| {
            let mut list = Vec::new();
            list.extend(method.map(Condition::Method));
            if let Some((one, other)) = header {
                list.push(Condition::Header("X-B".to_owned(), one));
                list.extend(other.map(|test| Condition::Header("X-A".to_owned(), test)));
            }
            list.extend(query.map(|test| Condition::Query("a b".to_owned(), test)));
            list.extend(cookie.map(|test| Condition::Cookie("c".to_owned(), test)));
            list.extend(client.map(|text| Condition::Client(vec![text.parse().unwrap()])));
            list.extend(listener.map(Condition::Listener));
            list.extend(all.map(Condition::All));
            list.extend(any.map(Condition::Any));
            list.extend(not.map(|not| Condition::Not(Box::new(not))));
            list
        })
}

fn field_edits() -> impl Strategy<Value = FieldEdits> {
    let pair = |name: &'static str| template("").prop_map(move |value| (name.to_owned(), value));
    (
        of(names(&["X-Debug-*", "Server"])),
        of((pair("X-Z"), pair("X-A"))),
        of((pair("X-Two"), pair("X-Two"), pair("X-One"))),
    )
        .prop_map(|(remove, set, add)| FieldEdits {
            remove: remove.unwrap_or_default(),
            set: set.map(|(one, two)| vec![one, two]).unwrap_or_default(),
            add: add.map(|(one, two, three)| vec![one, two, three]).unwrap_or_default(),
        })
}

fn rewrite() -> impl Strategy<Value = Rewrite> {
    let query = (of(template("a=")), of(names(&["utm_*", "b"])), field_edits()).prop_map(
        |(replace, remove, edits)| QueryEdits {
            replace,
            remove: remove.unwrap_or_default(),
            set: edits.set,
            add: edits.add,
        },
    );
    let forward = select(vec![ForwardPath::Normalised, ForwardPath::Original]);
    (of(Just("/api")), of(Just("/new/{path}")), of(Just("/v1")), query, forward).prop_map(
        |(strip, path, add, query, forward)| Rewrite {
            strip_prefix: strip.map(str::to_owned),
            path: path.map(|text| text.parse().unwrap()),
            add_prefix: add.map(str::to_owned),
            query,
            forward,
        },
    )
}

fn cache_rule() -> impl Strategy<Value = CacheRule> {
    let query = prop_oneof![
        Just(KeyQuery::All),
        Just(KeyQuery::None),
        names(&["a", "b_*"]).prop_map(KeyQuery::Only),
        names(&["utm_*", "c"]).prop_map(KeyQuery::Except),
    ];
    let on = (
        of(lifetime()),
        of(lifetime()),
        of(lifetime()),
        query,
        of(names(&["Accept"])),
        of(names(&["a", "b"])),
        of(names(&["news", "all"])),
        any::<bool>(),
    )
        .prop_map(|(ttl, override_ttl, grace, query, headers, cookies, tags, set_cookie)| CacheRule {
            on: true,
            ttl,
            override_ttl,
            grace,
            query,
            headers: headers.unwrap_or_default(),
            cookies: cookies.unwrap_or_default(),
            tags: tags.unwrap_or_default(),
            set_cookie,
        });
    prop_oneof![Just(CacheRule { on: false, ..CacheRule::default() }), on]
}

fn route_limits() -> impl Strategy<Value = RouteLimits> {
    (
        of(any::<u64>()),
        of(span()),
        of(span()),
        of(span()),
        of(span()),
        of(span()),
        of(span()),
        (of(any::<u32>()), of(0u32..1 << 30)),
    )
        .prop_map(
            |(
                body_bytes_max,
                body_idle,
                write_idle,
                tunnel_idle,
                connect,
                first_byte,
                upstream_idle,
                (retries_max, rate_min),
            )| {
                RouteLimits {
                    body_bytes_max,
                    body_idle,
                    write_idle,
                    rate_min,
                    tunnel_idle,
                    connect,
                    first_byte,
                    upstream_idle,
                    retries_max,
                }
            },
        )
}

/// A route without a name that takes everything.
fn bare(action: Action) -> RouteSettings {
    RouteSettings {
        name: String::new(),
        hosts: Vec::new(),
        paths: Vec::new(),
        conditions: Vec::new(),
        action,
        rewrite: Rewrite::default(),
        request_fields: FieldEdits::default(),
        response_fields: FieldEdits::default(),
        cache: CacheRule::default(),
        mirror: None,
        limits: RouteLimits::default(),
        error_pages: ErrorPages::new(),
        traffic: crate::config::Traffic::default(),
    }
}

fn forwarding() -> impl Strategy<Value = RouteSettings> {
    let shares =
        (subsequence(&UPSTREAMS[..], 1..=3), vec(1u32..=1000, 3)).prop_map(
            |(names, weights)| match &*names {
                [name] => vec![(String::from(*name), 1)],
                names => names.iter().zip(weights).map(|(&name, weight)| (name.to_owned(), weight)).collect(),
            },
        );
    let by = select(vec![
        SplitBy::Chance,
        SplitBy::Client,
        SplitBy::Cookie("id".to_owned()),
        SplitBy::Header("X-User".to_owned()),
    ]);
    let mirror = (select(&UPSTREAMS[..]), 1u16..=10_000)
        .prop_map(|(upstream, share)| Mirror { upstream: upstream.to_owned(), share });
    (shares, by, rewrite(), cache_rule(), of(mirror), field_edits(), field_edits(), route_limits(), pages())
        .prop_map(
            |(shares, by, rewrite, cache, mirror, request_fields, response_fields, limits, error_pages)| {
                let by = if shares.len() > 1 { by } else { SplitBy::Chance };
                let action = Action::Forward(Split { shares, by });
                RouteSettings {
                    rewrite,
                    request_fields,
                    response_fields,
                    cache,
                    mirror,
                    limits,
                    error_pages,
                    ..bare(action)
                }
            },
        )
}

fn answering() -> impl Strategy<Value = RouteSettings> {
    let redirect =
        (prop_oneof![template("/"), template("https://{host}/")], select(vec![301, 302, 303, 307, 308]))
            .prop_map(|(to, status)| Action::Redirect { to, status });
    let respond = (200u16..=599, content(), select(vec!["text/plain; charset=utf-8", "application/json"]))
        .prop_map(|(status, body, kind)| {
            let body = if matches!(status, 204 | 205 | 304) { Template::default() } else { body };
            Action::Respond(FixedResponse { status, content_type: kind.to_owned(), body })
        });
    let answer = (prop_oneof![redirect, respond], field_edits())
        .prop_map(|(action, response_fields)| RouteSettings { response_fields, ..bare(action) });
    let deny = (400u16..=599, pages())
        .prop_map(|(status, error_pages)| RouteSettings { error_pages, ..bare(Action::Deny { status }) });
    prop_oneof![answer, deny]
}

fn route() -> impl Strategy<Value = RouteSettings> {
    let matched = (of(hosts()), of(paths()), conditions());
    (prop_oneof![2 => forwarding(), 1 => answering()], matched).prop_map(
        |(route, (hosts, paths, conditions))| RouteSettings {
            hosts: hosts.unwrap_or_default(),
            paths: paths.unwrap_or_default(),
            conditions,
            ..route
        },
    )
}

fn admin() -> impl Strategy<Value = AdminSettings> {
    let tcp = |host: &str, anywhere| AdminSettings::Tcp {
        host: crate::config::Host::parse(host),
        port: 0,
        token: TOKEN.parse().unwrap(),
        anywhere,
    };
    select(vec![
        AdminSettings::Off,
        AdminSettings::Default,
        AdminSettings::Unix("/run/ring ${way}.sock".into()),
        tcp("127.0.0.1", false),
        tcp("::", true),
        tcp("localhost", false),
    ])
}

fn cache_settings() -> impl Strategy<Value = Option<CacheSettings>> {
    let settings = (1usize << 20..1 << 40, any::<u16>(), of(lifetime()), of(lifetime()), span());
    of(settings.prop_map(|(bytes, part, ttl, grace, wait)| CacheSettings {
        bytes,
        ttl,
        grace,
        response_bytes_max: 1 + (bytes / 2 - 1) / usize::from(part).max(1),
        wait,
    }))
}

fn settings() -> impl Strategy<Value = Settings> {
    let process = (
        of(1usize..1000),
        select(vec![DriverChoice::Auto, DriverChoice::Uring, DriverChoice::Epoll]),
        span(),
        select(vec!["ringway", "edge.example:8080"]),
        any::<bool>(),
        select(vec![Format::Off, Format::Combined, Format::Json]),
        head(),
        cache_settings(),
        admin(),
        (
            0usize..1 << 40,
            of(names(&["127.0.0.1:53", "[2001:db8::1]:5353", "192.0.2.1:1"])),
            clients_tests::room(),
        ),
    );
    let parts =
        // In boxes, for they are large and lie on the stack while they are put together.
        ((listener(0).boxed(), listener(1).boxed()), (upstream(0).boxed(), upstream(1).boxed(), upstream(2).boxed()), vec(route().boxed(), 1..5).boxed(), pages().boxed());
    (process, parts).prop_map(|(process, (listeners, upstreams, mut routes, error_pages))| {
        let (cores, driver, drain, via, trace, access_log, response_head, cache, admin, look_ups) = process;
        let (upstream_idle, resolvers, room) = look_ups;
        for (index, route) in routes.iter_mut().enumerate() {
            route.name = format!("r{index}");
        }
        Settings {
            cores,
            driver,
            listeners: vec![listeners.0, listeners.1],
            upstreams: vec![upstreams.0, upstreams.1, upstreams.2],
            upstream_idle,
            resolvers: resolvers.iter().flatten().map(|text| text.parse().unwrap()).collect(),
            routes,
            rule_sets: Vec::new(),
            rates: Vec::new(),
            auths: Vec::new(),
            error_pages,
            response_head,
            room,
            drain,
            via: via.to_owned(),
            trace,
            access_log,
            cache,
            admin,
        }
    })
}

proptest! {
    #[test]
    fn what_is_held_is_printed_and_reads_back(
        listener in holding::holding(),
        route in holding::holding(),
    ) {
        let mut settings = read("[listener.a]\naddress = '127.0.0.1:0'\n[[route]]\nrespond = 'a'\n");
        settings.listeners[0].traffic.holding = listener;
        settings.routes[0].traffic.holding = route;
        let text = print(&settings);
        prop_assert_eq!(&read(&text), &settings, "{}", text);
    }

    #[test]
    fn what_is_printed_reads_back_as_what_it_was(settings in settings()) {
        let text = print(&settings);
        prop_assert!(!text.contains(TOKEN) && !text.contains("signed with"));
        let read = read(&text);
        prop_assert_eq!(&read, &settings, "{}", text);
    }
}

#[test]
fn the_example_is_printed_whole() {
    let settings = read(crate::config::EXAMPLE);
    assert_eq!(read(&print(&settings)), settings);
}

#[test]
fn what_the_command_line_makes_is_printed_by_name() {
    let settings = Settings::for_tests();
    let text = print(&settings);
    for part in ["[listener.default]", "[upstream.default]", "[[route]]\nname = \"default\""] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(read(&text), settings);
}

#[test]
fn the_defaults_are_all_there_with_what_they_are_for() {
    assert_eq!(print(&Settings::for_tests()), DEFAULTS);
}

const DEFAULTS: &str = r##"# The whole configuration: what was said, and every default.

# The process.
# cores: a worker thread for each core that there is
driver = "auto"
# max-connections: by the limit on open files
# max-memory: off
drain-timeout = "30s"

# What holds for every request.
via = "ringway"
trace = false
access-log = "off"

# Orders while the proxy runs.
# admin: a Unix socket of the user's own

# What holds for all upstreams.
# resolver: the name servers of the system
upstream-idle = 4096

# The cache.
no-cache = false
cache-size = "256MiB"
cache-max-response = "16MiB"
# cache-ttl: off
# cache-grace: off
cache-wait = "5s"

# Heads of responses; those of requests have the bounds of their listener.
max-head = "32KiB"
max-fields = 100
max-target = "8KiB"

# Where clients come in, and what they may ask for.
[listener.default]
address = "127.0.0.1:8080"
trusted-proxy = []
proxy-protocol = []
max-head = "32KiB"
max-fields = 100
max-target = "8KiB"
# max-body: no limit
head-timeout = "10s"
body-timeout = "30s"
keep-alive-timeout = "75s"
write-timeout = "30s"
min-rate = "64B"
tunnel-timeout = "1h"

# Where requests go, and how that is kept up.
[upstream.default]
endpoints = ["127.0.0.1:1"]
upstream-host = false
balance = "round-robin"
# sticky: off
# slow-start: off
max-waiting = 1000
wait-timeout = "5s"
# probe: off
when-down = "try"
breaker = false
retries = 2
retry-on = ["connect", "reset"]
retry-budget = "20%"
retry-timeout = "30s"
retry-backoff = "25ms"
max-replay = "64KiB"
# proxy-protocol: off
connect-timeout = "3s"
first-byte-timeout = "1m"
upstream-timeout = "1m"
pool-timeout = "50s"
pool-size = 256
tcp-keepalive = "1m"
tcp-user-timeout = "off"

[upstream.default.eject]
failures = 5
# rate: not counted
status = []
time = "10s"
max-time = "5m"
max-share = "50%"

# What becomes of requests: the most specific host wins, then the most specific path, then the order.
[[route]]
name = "default"
upstream = "default"
forward-path = "normalised"
cache = { query = true, set-cookie = true }
"##;

#[test]
fn all_that_can_be_said_of_an_upstream_is_printed() {
    let text =
        include_str!("read/everything.toml").replace("503 = \"busy.html\"", "").replace("${PORT}", "80");
    let hash = format!("bearer = 'sha256:{}'", "0".repeat(64));
    let text = text.replace("basic = \"file:users\"\nremember = \"2m\"", &hash);
    let printed = print(&read(&text.replace("fedcba9876543210", "${RINGWAY_STICKY_SECRET_APP}")));
    for part in [
        "\nbalance = \"consistent-hash\"\nhash-by = \"header:X-User\"\nmax-load = \"150%\"\n",
        "\nretry-on = [\"connect\", \"reset\", \"timeout\", \"503\", \"502-504\"]\n",
        "\n[upstream.app.probe]\npath = \"/healthz?full=1\"\nhost = \"app.internal:80\"\nstatus = [200, \"204-206\"]\n",
        "\nheader = { X-Ok = \"1\" }\naddress = \"10.0.0.9\"\nport = 8000\ninterval = \"1s\"\njitter = \"0%\"\n",
        "\n[upstream.shadow.sticky]\ncookie = \"at\"\nmax-age = \"1h\"\n# The secret itself is not printed.\n\
         secret = \"${RINGWAY_STICKY_SECRET_SHADOW}\"\nsecure = true\n",
        "\n[upstream.shadow.probe]\ntcp = true\n# address: that of the endpoint\n# port: that of the endpoint\n",
        "\neject = false\n",
    ] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
}

#[test]
fn pages_and_long_lists_are_laid_out_to_be_read() {
    let mut settings = Settings::for_tests();
    let page =
        ErrorPage { file: Some("/srv/${x}.html".into()), content_type: String::new(), body: Arc::from([]) };
    settings.error_pages.insert(502, page);
    settings.upstreams[0].endpoints = (1..=6)
        .map(|weight| EndpointSettings {
            weight,
            ..EndpointSettings::new(format!("10.0.0.{weight}:9001").parse().unwrap())
        })
        .collect();
    let text = print(&settings);
    for part in [
        "\n# Pages for the errors that the proxy answers by itself.\n[error-page]\n502 = \"/srv/$${x}.html\"\n\n",
        "endpoints = [\n    \"10.0.0.1:9001\",\n    { address = \"10.0.0.2:9001\", weight = 2 },\n",
        "weight = 6 },\n]\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_file_of_a_page_is_named_and_read_again() {
    let page =
        std::env::temp_dir().join(format!("ringway-page-{}-{:x}.txt", std::process::id(), fastrand::u64(..)));
    std::fs::write(&page, "gone").unwrap();
    let settings = read(&format!("origin = 'http://a'\n[error-page]\n502 = '{}'\n", page.display()));
    let printed = print(&settings);
    assert!(printed.contains(page.to_str().unwrap()) && !printed.contains("gone"), "{printed}");
    assert_eq!(read(&printed), settings);
    std::fs::remove_file(page).unwrap();
}
