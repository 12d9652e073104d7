//! Rules that requests are held against: what each action does, what comes past none of them, and what is counted.

use std::time::Instant;

use serde_json::Value;

use crate::support::cache::{clients_of_every_worker, status};
use crate::support::live::Live;
use crate::support::proxy::run;
use crate::support::wire::End;
use crate::support::{Driver, File, Origin, Proxy, Setup, get, get_with, ms, ok, on_each_driver, post};

/// A proxy in front of an origin, with rules for its one route.
fn start(driver: Driver, origin: &Origin, rules: &str, sets: &str) -> Proxy {
    Setup::new(driver).admin().args(&["--access-log", "json"]).file(&file(origin, rules, sets)).start()
}

fn file(origin: &Origin, rules: &str, sets: &str) -> String {
    format!(
        "[upstream.app]\nendpoints = '{}'\n[[route]]\nname = 'app'\nupstream = 'app'\nrules = {rules}\n{sets}",
        origin.endpoint()
    )
}

/// How often a rule has held.
fn hits(proxy: &Proxy, name: &str) -> u64 {
    status(proxy)["rules"][name].as_u64().unwrap_or_else(|| panic!("{name} is not counted"))
}

const ACTIONS: &str = "
    [[rule-set.mine.rule]]
    id = 'deny'
    path-prefix = '/deny'
    deny = 451
    [[rule-set.mine.rule]]
    id = 'close'
    path-prefix = '/close'
    close = true
    [[rule-set.mine.rule]]
    id = 'pit'
    path-prefix = '/pit'
    tarpit = '300ms'
    [[rule-set.mine.rule]]
    id = 'slow-deny'
    path-prefix = '/slow'
    tarpit = '300ms'
    deny = 429
    [[rule-set.mine.rule]]
    id = 'redirect'
    path-prefix = '/old'
    redirect = { to = 'https://{host}/new{path}?{query}', status = 308 }
    [[rule-set.mine.rule]]
    id = 'bot'
    user-agent = { contains = 'bot' }
    tag = 'bot'
    [[rule-set.mine.rule]]
    id = 'odd'
    header = { X-Odd = true }
    tag = 'odd'
    [[rule-set.mine.rule]]
    id = 'both'
    tagged = 'bot'
    path = '/no-bots'
    deny = true
    [[rule-set.mine.rule]]
    id = 'note'
    path = '/noted'
    log = true
    [[rule-set.mine.rule]]
    id = 'open'
    path-prefix = '/open'
    allow = true
    [[rule-set.mine.rule]]
    id = 'last'
    query = { stop = true }
    deny = 403
    [[rule-set.mine.rule]]
    id = 'large'
    size = { min = 100 }
    deny = 413
";

#[test]
fn each_action_is_carried_out() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let proxy = start(driver, &origin, "'mine'", ACTIONS);
        let mut client = proxy.client();
        let denied = client.ask(get("/deny/x"));
        assert_eq!((denied.status(), denied.says_close()), (451, false));
        let response = client.ask(get_with("/old/a?b=c", ""));
        assert_eq!(response.status(), 308);
        assert!(response.field("Location").unwrap().ends_with("/new/old/a?b=c"), "{:?}", response.head);
        assert_eq!(client.ask(get("/a?stop=1")).status(), 403);
        assert_eq!(client.ask(get("/open?stop=1")).text(), "hello");
        assert_eq!(client.ask(post("/a", &[b'x'; 99])).text(), "hello");
        assert_eq!(client.ask(post("/a", &[b'x'; 100])).status(), 413);
        assert_eq!(client.ask(get("/noted")).text(), "hello");
        let mut closed = proxy.client();
        closed.send(get("/close"));
        assert_eq!(closed.until_end().0, b"");
        let began = Instant::now();
        let mut stuck = proxy.client();
        stuck.send(get("/pit"));
        assert_eq!(stuck.until_end().0, b"");
        assert!(began.elapsed() >= ms(250), "{:?}", began.elapsed());
        let began = Instant::now();
        assert_eq!(proxy.client().ask(get("/slow")).status(), 429);
        assert!(began.elapsed() >= ms(250), "{:?}", began.elapsed());
        assert_eq!(origin.requests().len(), 3);
        for (rule, count) in
            [("deny", 1), ("close", 1), ("pit", 1), ("open", 1), ("last", 1), ("large", 1), ("bot", 0)]
        {
            assert_eq!(hits(&proxy, &format!("mine/{rule}")), count, "{rule}");
        }
        assert!(proxy.logged(&["\"/noted\"", "mine/note"]).contains("\"rules\":\"mine/note\""));
        assert!(proxy.logged(&["/deny/x", "mine/deny"]).contains("\"rule_denied\""));
        assert!(proxy.logged(&["\"/pit\"", "mine/pit"]).contains("\"tarpitted\""));
    });
}

#[test]
fn tags_reach_the_upstream_and_nobody_forges_them() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let proxy = start(driver, &origin, "'mine'", ACTIONS);
        let mut client = proxy.client();
        let forged = "X-Ringway-Tag: forged\r\nx-ringway-tag: forged\r\nX_Ringway_Tag: forged\r\n";
        for (fields, want) in [
            ("", &[][..]),
            ("User-Agent: abot\r\n", &["bot"]),
            ("User-Agent: abot\r\nX-Odd: 1\r\n", &["bot, odd"]),
        ] {
            assert_eq!(client.ask(get_with("/", &format!("{forged}{fields}"))).text(), "hello");
            let request = origin.requests().pop().unwrap();
            assert_eq!(request.head.fields.all("X-Ringway-Tag"), want, "{fields:?}");
            assert!(!request.head.fields.has("X_Ringway_Tag"));
        }
        assert!(proxy.logged(&["mine/odd"]).contains("\"tags\":\"bot, odd\""));
        assert_eq!(client.ask(get_with("/no-bots", "User-Agent: abot\r\n")).status(), 403);
        assert_eq!(client.ask(get("/no-bots")).text(), "hello");
        // Without rules nobody can forge it either.
        let plain = Proxy::to(driver, &origin);
        assert_eq!(plain.ask(get_with("/", forged)).text(), "hello");
        assert!(!origin.requests().pop().unwrap().head.fields.has("X-Ringway-Tag"));
    });
}

#[test]
fn the_shipped_set_is_off_unless_named_and_stops_probes_however_they_are_spelled() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let off = Proxy::to(driver, &origin);
        assert_eq!(off.get("/.git/config").text(), "hello");
        let proxy = start(driver, &origin, "'probes'", "");
        let before = origin.requests().len();
        for (target, id) in [
            ("/.git/config", "dot-file"),
            ("/%2egit/config", "dot-file"),
            ("/a/../../etc/passwd", "path-traversal"),
            ("/a/..%5c..%5cwindows", "path-traversal"),
            ("/a/%252e%252e%252fetc", "path-traversal"),
            ("/a/%c0%ae%c0%ae/b", "path-traversal"),
            ("/?f=..%2f..%2fetc/passwd", "file-traversal"),
            ("/?id=1%27%20or%20%271%27=%271", "sqli"),
            ("/?id=1%2527%20or%201=1--%20", "sqli"),
            ("/?q=%3Cscript%3Ealert(1)%3C/script%3E", "xss"),
            ("/?q=%u003cscript%u003ealert(1)", "xss"),
            ("/?h=a;cat%20/etc/passwd", "command-injection"),
            ("/?x=%24%7Bjndi:ldap://a%7D", "log4shell"),
            ("/?a=b%00", "null-byte"),
        ] {
            let response = proxy.get(target);
            assert!(matches!(response.status(), 400 | 403), "{target}: {}", response.status());
            assert!(hits(&proxy, &format!("probes/{id}")) > 0, "{target}");
        }
        assert_eq!(proxy.ask(get_with("/", "User-Agent: sqlmap/1.7\r\n")).status(), 403);
        let refused = proxy.ask("TRACK / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused.status(), 405);
        assert!(refused.field("Allow").unwrap().starts_with("GET, HEAD"), "{:?}", refused.head);
        assert_eq!(origin.requests().len(), before);
        for target in
            ["/", "/.well-known/acme", "/?name=O%27Brien", "/?q=select+a+plan", "/?u=https://a.example/?b=c"]
        {
            assert_eq!(proxy.get(target).text(), "hello", "{target}");
        }
    });
}

#[test]
fn a_set_that_only_detects_counts_and_says_and_does_nothing() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let sets = format!("[rule-set.mine]\ndetect-only = true\ninclude = 'probes'\n{ACTIONS}");
        let proxy = start(driver, &origin, "'mine'", &sets);
        for target in ["/deny", "/close", "/pit", "/old", "/.env"] {
            assert_eq!(proxy.get(target).text(), "hello", "{target}");
        }
        assert_eq!(proxy.ask(get_with("/no-bots", "User-Agent: abot\r\n")).text(), "hello");
        assert!(!origin.requests().pop().unwrap().head.fields.has("X-Ringway-Tag"));
        for rule in ["deny", "close", "pit", "redirect", "dot-file", "bot", "both"] {
            assert_eq!(hits(&proxy, &format!("mine/{rule}")), 1, "{rule}");
        }
        assert!(proxy.logged(&["\"/.env\"", "mine/dot-file"]).contains("\"done\""));
    });
}

#[test]
fn a_listeners_rules_come_before_a_routes_and_an_allow_ends_both() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let sets = "
            [[rule-set.first.rule]]
            id = 'tag'
            path-prefix = '/'
            tag = 'seen'
            [[rule-set.first.rule]]
            id = 'open'
            header = { X-Key = 'k' }
            allow = true
            [[rule-set.second.rule]]
            id = 'shut'
            tagged = 'seen'
            deny = 410
            [[rule-set.second.rule]]
            id = 'never'
            path-prefix = '/'
            deny = 411
        ";
        let text = file(&origin, "'second'", sets);
        let proxy = Setup::new(driver)
            .admin()
            .listening_file(&format!("[listener.web]\naddress = '127.0.0.1:0'\nrules = 'first'\n{text}"))
            .start();
        assert_eq!(proxy.get("/").status(), 410);
        assert_eq!(proxy.ask(get_with("/", "X-Key: k\r\n")).text(), "hello");
        assert_eq!(
            (hits(&proxy, "first/open"), hits(&proxy, "second/shut"), hits(&proxy, "second/never")),
            (1, 1, 0)
        );
    });
}

#[test]
fn a_thousand_rules_are_held_against_every_request() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let rules: String = (0..1000)
            .map(|number| {
                let when = match number % 4 {
                    0 => format!("path-prefix = '/p{number}x'"),
                    1 => format!("query = {{ q = {{ contains = 'word{number}x' }} }}"),
                    2 => {
                        format!("pattern = {{ in = ['query', 'user-agent'], regex = 'bad-{number}-[a-z]+' }}")
                    }
                    _ => format!("client = '10.{}.{}.0/24'", number / 256, number % 256),
                };
                format!("[[rule-set.mine.rule]]\nid = 'r{number}'\n{when}\ndeny = {}\n", 400 + number % 100)
            })
            .collect();
        let proxy = start(driver, &origin, "'mine'", &rules);
        let mut client = proxy.client();
        for (target, want) in [
            ("/p500x/y", 400),
            ("/?q=aword997xb", 497),
            ("/?a=BAD-998-z", 498),
            ("/?a=b%2561d-998-z", 498),
            ("/?q=word998x", 200),
            ("/p501x", 200),
        ] {
            assert_eq!(client.ask(get(target)).status(), want, "{target}");
        }
        assert_eq!(hits(&proxy, "mine/r998"), 2);
    });
}

#[test]
fn counts_outlive_a_reload_and_rules_take_effect_with_it() {
    on_each_driver(|driver| {
        let text = |extra: &str| {
            format!(
                "[[route]]\nrespond = 'hello'\nrules = 'mine'\n\
                 [[rule-set.mine.rule]]\nid = 'a'\npath = '/a'\ndeny = true\n{extra}"
            )
        };
        let proxy = Live::start(driver, 2, &text(""));
        let mut clients = clients_of_every_worker(&proxy, 4);
        let count = clients.len() as u64;
        assert!(clients.iter_mut().all(|client| client.ask(get("/a")).status() == 403));
        assert_eq!(hits(&proxy, "mine/a"), count);
        proxy.apply(&text("[[rule-set.mine.rule]]\nid = 'b'\npath = '/b'\ndeny = 404\n"));
        assert!(clients.iter_mut().all(|client| client.ask(get("/b")).status() == 404));
        assert!(clients.iter_mut().all(|client| client.ask(get("/a")).status() == 403));
        assert_eq!((hits(&proxy, "mine/a"), hits(&proxy, "mine/b")), (2 * count, count));
    });
}

#[test]
fn it_is_explained_which_rule_would_do_what_and_nothing_is_counted() {
    let origin = Origin::replying(|_| ok("hello"));
    let file = File::new(&file(&origin, "['mine', 'probes']", ACTIONS));
    let told = |url: &str, more: &[&str]| -> Value {
        let run = run(&[&["explain", "--config", file.path(), "--format", "json", url], more].concat(), &[]);
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}{}", run.stdout, run.stderr))
    };
    let says = |told: &Value| -> Vec<String> {
        let checks = told["checks"].as_array().unwrap().iter();
        checks.map(|check| check["says"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(says(&told("http://a/deny", &[])), ["mine/deny refuses it with 451"]);
    assert_eq!(says(&told("http://a/.git/x", &[])), ["probes/dot-file refuses it with 403"]);
    assert_eq!(says(&told("http://a/pit", &[])), ["mine/pit has it wait 0.3s, and closes the connection"]);
    let denied = told("http://a/deny", &[]);
    assert_eq!(denied["outcome"]["status"], 451, "{denied}");
    let tagged = told("http://a/", &["-H", "User-Agent: bot"]);
    assert!(tagged["request"]["gains"].to_string().contains("X-Ringway-Tag: bot"), "{tagged}");
    let form =
        ["-X", "POST", "-H", "Content-Length: 5", "-H", "Content-Type: multipart/form-data x; boundary=B"];
    assert_eq!(told("http://a/", &form)["outcome"]["status"], 415);
    let none = says(&told("http://a/", &[]));
    assert!(none[0].starts_with("none of "), "{none:?}");
}

#[test]
fn whoever_waits_in_a_tarpit_holds_up_neither_others_nor_the_end() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let sets = "[[rule-set.mine.rule]]\nid = 'pit'\npath-prefix = '/pit'\ntarpit = '60s'\n";
        let mut proxy = start(driver, &origin, "'mine'", sets);
        let mut stuck: Vec<_> = (0..300).map(|_| proxy.client()).collect();
        stuck.iter_mut().for_each(|client| client.send(get("/pit")));
        assert_eq!(proxy.get("/").text(), "hello");
        // One more than may wait is turned away at once, so that some have ended.
        crate::support::eventually("all are counted", || hits(&proxy, "mine/pit") == 300);
        proxy.signal(crate::support::Signal::TERM);
        for client in &mut stuck {
            let (bytes, end) = client.until_end();
            assert!(bytes.is_empty() && matches!(end, End::Closed | End::Reset));
        }
        assert!(proxy.wait(ms(20_000)).success());
    });
}
