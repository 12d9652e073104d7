//! Which content rules look at: none where it could not matter, what comes past nobody who reads it otherwise, and none
//! that is refused by those who only note it.

use serde_json::Value;

use crate::support::cache::status;
use crate::support::proxy::run;
use crate::support::{Driver, File, Origin, Proxy, Setup, chunk, eventually, get, noise, ok, on_each_driver};

const ENCODED: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=BBB";
const INJECTION: &str = "1' or '1'='1";

fn file(origin: &Origin, rest: &str) -> String {
    format!("[upstream.app]\nendpoints = '{}'\n{rest}", origin.endpoint())
}

fn start(driver: Driver, origin: &Origin, rest: &str) -> Proxy {
    Setup::new(driver).admin().file(&file(origin, rest)).start()
}

/// A request with these field lines and that content, whose length is declared.
fn with(method: &str, path: &str, fields: &str, content: &[u8]) -> Vec<u8> {
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

fn typed(path: &str, content_type: &str, content: &[u8]) -> Vec<u8> {
    with("POST", path, &format!("Content-Type: {content_type}\r\n"), content)
}

/// The same in chunks.
fn in_chunks(path: &str, content_type: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunks = content.chunks(5_000).flat_map(chunk);
    head.into_bytes().into_iter().chain(chunks).chain(*b"0\r\n\r\n").collect()
}

fn part(disposition: &str, value: &str) -> String {
    format!("--BBB\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n--BBB--\r\n")
}

const WATCHED: &str = "
    [[route]]
    path-prefix = '/watched'
    upstream = 'app'
    rules = 'watch'
    [[route]]
    path-prefix = '/held'
    upstream = 'app'
    rules = 'watch'
    buffer-request = true
    [[route]]
    path-prefix = '/office'
    upstream = 'app'
    rules = ['office', 'probes']
    [[route]]
    path-prefix = '/both'
    upstream = 'app'
    rules = ['earnest', 'watch']
    [[route]]
    path-prefix = '/logged'
    upstream = 'app'
    rules = 'logged'
    [rule-set.watch]
    detect-only = true
    include = 'probes'
    [[rule-set.watch.rule]]
    id = 'json'
    pattern = { in = 'json', contains = 'bad' }
    deny = 422
    [[rule-set.watch.rule]]
    id = 'not-good'
    not = { pattern = { in = 'form', contains = 'good' } }
    deny = 403
    [[rule-set.office.rule]]
    id = 'office'
    client = '127.0.0.0/8'
    allow = true
    [[rule-set.earnest.rule]]
    id = 'form'
    pattern = { in = 'form', contains = 'bad' }
    deny = 403
    [[rule-set.logged.rule]]
    id = 'log'
    pattern = { in = ['form', 'json'], sqli = true }
    log = true
";

#[test]
fn rules_that_only_note_or_are_not_asked_any_more_refuse_no_content() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin, WATCHED);
        let large = [b"a=good&b=".to_vec(), vec![b'x'; 200_000]].concat();
        let upload = part("name=\"f\"; filename=\"x\"", &"y".repeat(200_000)).into_bytes();
        let cases: [(&str, &[u8]); 8] = [
            (ENCODED, &large),
            (PARTS, &upload),
            (PARTS, b"--BBB\r\nnothing"),
            ("multipart/form-data", b"a=b"),
            ("application/x-www-form-urlencoded\r\nContent-Encoding: gzip", b"a=b"),
            ("application/x-www-form-urlencoded; charset=utf-16", b"a=b"),
            ("application/json", b"{\"a"),
            ("application/json; charset=utf-16", b"[]"),
        ];
        let unread = || status(&proxy)["requests"]["forms_unread"].as_u64().unwrap();
        for path in ["/watched", "/held", "/office", "/logged"] {
            let before = unread();
            let mut client = proxy.client();
            for (content_type, content) in &cases {
                for request in [typed(path, content_type, content), in_chunks(path, content_type, content)] {
                    let response = client.ask(request);
                    assert_eq!(response.status(), 200, "{path} {content_type}");
                    assert_eq!(response.body(), *content, "{path} {content_type}");
                }
            }
            let want = if path == "/office" { 0 } else { 2 * cases.len() as u64 };
            assert_eq!(unread() - before, want, "{path}");
        }
        // What can be read is looked at all the same.
        let hits = |name: &str| status(&proxy)["rules"][name].as_u64();
        let sent = format!("a=good&b={INJECTION}").into_bytes();
        for path in ["/watched", "/logged"] {
            assert_eq!(proxy.ask(in_chunks(path, ENCODED, &sent)).body(), sent);
        }
        assert_eq!(proxy.ask(typed("/watched", ENCODED, b"a=b")).status(), 200);
        // Of the ones above, JSON is no form for certain, so that nothing good is in it.
        assert_eq!(
            [hits("watch/sqli"), hits("logged/log"), hits("watch/not-good")],
            [Some(1), Some(1), Some(5)]
        );
        // Beside one that is in earnest, what is not clear for that alone is refused.
        for (content_type, content, want) in [
            ("application/json; charset=utf-16", "[]", 200),
            ("application/json", "{\"a", 200),
            ("multipart/form-data x", "a=b", 415),
            (ENCODED, "a=bad", 403),
        ] {
            let response = proxy.ask(typed("/both", content_type, content.as_bytes()));
            assert_eq!(response.status(), want, "{content_type}");
        }
    });
}

const NARROW: &str = "
    [[route]]
    upstream = 'app'
    rules = 'mine'
    [[rule-set.mine.rule]]
    id = 'spam'
    path-prefix = '/comments'
    method = 'POST'
    pattern = { in = ['form', 'json'], contains = 'casino' }
    deny = 403
    [[rule-set.mine.rule]]
    id = 'no-token'
    path-prefix = '/tokens'
    not = { pattern = { in = 'form', contains = 'token' } }
    deny = 401
";

#[test]
fn a_rule_wants_nothing_of_requests_that_its_other_conditions_rule_out() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin, NARROW);
        let large = vec![b'x'; 200_000];
        let mut client = proxy.client();
        for (path, method, content_type, content, want) in [
            ("/upload", "POST", PARTS, &large[..], 200),
            ("/upload", "POST", ENCODED, &large, 200),
            ("/other", "POST", "application/json; charset=utf-16", b"x", 200),
            ("/other", "POST", "multipart/form-data x", b"casino", 200),
            ("/comments/1", "PUT", ENCODED, &large, 200),
            ("/comments/1", "POST", ENCODED, b"a=nice", 200),
            ("/comments/1", "POST", ENCODED, b"a=c%61sino", 403),
            ("/comments/1", "POST", "application/json", b"[\"casino\"]", 403),
            // However the path is spelled.
            ("/x/..;/comments/1", "POST", ENCODED, b"a=casino", 403),
            ("/tokens", "POST", ENCODED, b"a=token", 200),
            ("/tokens", "POST", ENCODED, b"a=b", 401),
            // What is no form has no token either.
            ("/tokens", "POST", "text/plain", b"token", 401),
            ("/tokens", "POST", "application/json", b"[\"token\"]", 401),
        ] {
            let fields = format!("Content-Type: {content_type}\r\n");
            let response = client.ask(with(method, path, &fields, content));
            assert_eq!(response.status(), want, "{method} {path} {content_type}");
        }
        assert_eq!(proxy.ask(typed("/comments/1", ENCODED, &large)).status(), 413);
        assert_eq!(proxy.ask(typed("/comments/1", PARTS, b"a=b")).status(), 400);
        assert_eq!(proxy.ask(typed("/comments/1", "multipart/form-data", b"a=b")).status(), 415);
    });
}

const PROBES: &str = "
    [[route]]
    upstream = 'app'
    rules = ['mine', 'probes']
    [[rule-set.mine.rule]]
    id = 'json'
    path-prefix = '/json'
    pattern = { in = 'json', contains = 'bad' }
    deny = 422
";

#[test]
fn content_as_ordinary_clients_write_it_is_read() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin, PROBES);
        let mut client = proxy.client();
        let other_names = "name=file; filename=a.txt; filename*=utf-8''a.txt";
        for (path, content_type, content, want) in [
            ("/", PARTS, part(other_names, INJECTION), 200),
            ("/", PARTS, part("name=file; filename=a.txt; filename*=utf-8''%3Cscript%3E.txt", ""), 403),
            ("/", PARTS, format!("\r\n{}", part("name=a", "fine")), 200),
            ("/", PARTS, format!("\r\n{}", part("name=a", INJECTION)), 403),
            ("/", ENCODED, "text=100%".to_owned(), 200),
            ("/", ENCODED, "text=100%&id=1%27+or+%271%27%3D%271".to_owned(), 403),
            ("/", ENCODED, "id=%1' or '1'='1".to_owned(), 403),
            ("/", "application/json;odata.metadata=minimal", "{\"a".to_owned(), 200),
            ("/", "application/json; charset=utf-16", "{\"a".to_owned(), 200),
            ("/json", "application/json;odata.metadata=minimal", "[\"good\"]".to_owned(), 200),
            ("/json", "application/ld+json; profile=https://a.example/x", "[\"b\\u0061d\"]".to_owned(), 422),
            ("/json", "application/json; charset=utf-16", "[]".to_owned(), 415),
            ("/json", "application/json", "\u{feff}[\"good\"]".to_owned(), 200),
            ("/json", "application/json", "\u{feff}[\"bad\"]".to_owned(), 422),
        ] {
            let response = client.ask(typed(path, content_type, content.as_bytes()));
            assert_eq!(response.status(), want, "{content_type} {content}");
            if want == 200 {
                assert_eq!(response.body(), content.as_bytes());
            }
        }
    });
}

#[test]
fn what_is_a_form_for_some_without_saying_so_comes_past_no_rule() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin, PROBES);
        let (bad, good) = ("id=1%27+or+%271%27%3D%271", "just some text, 100% of it");
        let mut client = proxy.client();
        let dropped = "Connection: Content-Type\r\nContent-Type: text/plain\r\n";
        let mixed = "Content-Type: multipart/mixed; boundary=BBB\r\n";
        let related = "Content-Type: multipart/related; type=\"text/xml\"; boundary=\"BBB\"\r\n";
        let envelope = format!(
            "--BBB\r\nContent-ID: <a@b>\r\nContent-Type: text/xml\r\n\r\n<?xml version='1.0'?>{INJECTION}\r\n--BBB--"
        );
        for (method, fields, content, want) in [
            ("POST", "", bad.to_owned(), 403),
            ("POST", "Content-Type: \r\n", bad.to_owned(), 403),
            ("POST", dropped, bad.to_owned(), 403),
            ("POST", "", good.to_owned(), 200),
            ("POST", dropped, good.to_owned(), 200),
            ("PUT", "", bad.to_owned(), 200),
            ("PUT", "", "x".repeat(100_000), 200),
            ("POST", "", "x".repeat(100_000), 413),
            ("POST", mixed, part("name=a", INJECTION), 403),
            ("POST", related, part("name=a", INJECTION), 403),
            ("POST", mixed, part("name=a", "fine"), 200),
            ("POST", related, envelope, 200),
            ("POST", "Content-Type: multipart/mixed\r\n", bad.to_owned(), 415),
        ] {
            let request = with(method, "/", fields, content.as_bytes());
            let response = if want == 413 { proxy.ask(request) } else { client.ask(request) };
            assert_eq!(response.status(), want, "{method} {fields:?} {}", &content[..content.len().min(80)]);
            if want == 200 {
                assert_eq!(response.body(), content.as_bytes());
            }
        }
    });
}

#[test]
fn explain_knows_what_the_head_alone_decides() {
    let origin = Origin::echo();
    let sets = format!(
        "{PROBES}{}",
        WATCHED.replace("[[route]]\n    path-prefix = '/held'", "[[route]]\n    path = '/h'")
    );
    let file = File::new(&file(&origin, &sets.replacen("[[route]]", "[[route]]\n    path-prefix = '/p'", 1)));
    let explain = |path: &str, fields: &[&str]| -> Value {
        let url = format!("http://a{path}");
        let args = ["explain", "--config", file.path(), "--format", "json", "-X", "POST", &url];
        let fields = fields.iter().flat_map(|field| ["-H", field]);
        let told = run(&args.into_iter().chain(fields).collect::<Vec<_>>(), &[]);
        serde_json::from_str(&told.stdout).unwrap()
    };
    let form = "Content-Type: application/x-www-form-urlencoded";
    let length = "Content-Length: 200000";
    for (fields, want) in [
        (&[form, length][..], "body_too_large"),
        (&[form, "Content-Length: 5", "Content-Encoding: gzip"], "content_refused"),
        (&["Content-Type: multipart/form-data", "Content-Length: 5"], "content_refused"),
        (&[length], "body_too_large"),
    ] {
        let told = explain("/p", fields);
        assert!(told["outcome"].to_string().contains(want), "{fields:?} {told}");
        // Where all only note, or none is asked, it goes on.
        for path in ["/watched", "/office"] {
            let told = explain(path, fields);
            assert!(told["outcome"].to_string().contains("forward"), "{path} {fields:?} {told}");
            let says_why = told["checks"].to_string().contains("goes on without that");
            assert_eq!(says_why, path == "/watched", "{fields:?} {told}");
        }
    }
    let told = explain("/p", &[form, "Content-Length: 5"]).to_string();
    assert!(told.contains("some look at the content too") && told.contains("forward"), "{told}");
}

#[test]
fn forms_that_are_gathered_count_for_memory() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin, PROBES);
        let memory = || status(&proxy)["pressure"]["memory"].as_u64().unwrap();
        let form =
            typed("/", ENCODED, &noise(60_000, 1).iter().map(|byte| b'a' + byte % 16).collect::<Vec<_>>());
        let stalled: Vec<_> = (0..40)
            .map(|_| {
                let mut client = proxy.client();
                client.send(&form[..form.len() - 1]);
                client
            })
            .collect();
        eventually("they count", || memory() >= 40 * 50_000);
        drop(stalled);
        eventually("they count no longer", || memory() < 40 * 50_000);
        assert_eq!(proxy.ask(&form).status(), 200);
    });
}

#[test]
fn who_is_refused_for_now_is_told_when_to_come_again() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| ok("hello"));
        let rules = "
            [[route]]
            upstream = 'app'
            rules = 'mine'
            [[rule-set.mine.rule]]
            id = 'many'
            path = '/429'
            deny = 429
            [[rule-set.mine.rule]]
            id = 'later'
            path = '/503'
            deny = 503
            [[rule-set.mine.rule]]
            id = 'pit'
            path = '/pit'
            tarpit = '100ms'
            deny = 429
            [[rule-set.mine.rule]]
            id = 'never'
            path = '/403'
            deny = 403
        ";
        let proxy = start(driver, &origin, rules);
        for (path, status, want) in [
            ("/429", 429, Some("5")),
            ("/503", 503, Some("5")),
            ("/pit", 429, Some("5")),
            ("/403", 403, None),
        ] {
            let response = proxy.client().ask(get(path));
            assert_eq!((response.status(), response.field("Retry-After")), (status, want), "{path}");
        }
    });
}
