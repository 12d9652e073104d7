//! What `ringway explain` says is what the proxy does; and a proxy that runs says what it knows.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::cache::{clients, fresh_with};
use crate::support::proxy::{Run, refusing_port, run};
use crate::support::{Driver, Origin, Proxy, Setup, eventually, get, on_each_driver};

/// A file that goes away at the end.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> File {
        let name = format!("ringway-scenario-{}-{:x}.toml", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An origin that says which one it is, and remembers what it was asked. Its answers may be stored.
fn origin(name: &'static str) -> Origin {
    Origin::replying(move |_| fresh_with(&format!("X-Origin: {name}\r\n"), name))
}

/// Routes to two origins, and some that need none.
fn routes(app: &Origin, other: &Origin) -> File {
    File::new(&format!(
        "[upstream.app]\nendpoints = '{}'\n[upstream.other]\nendpoints = '{}'\nupstream-host = true\n\
         [[route]]\nname = 'user'\npath = '/users/{{id}}'\nupstream = 'app'\nrewrite = '/people/{{id}}'\n\
         query-edit = {{ remove = ['utm_*'], set = {{ by = '{{header.X-By}}' }} }}\n\
         request-header = {{ set = {{ X-User = '{{id}}' }}, remove = ['X-Debug-*'] }}\n\
         response-header = {{ set = {{ X-Route = '{{route}}' }} }}\n\
         [[route]]\nname = 'split'\npath-prefix = '/split'\nupstream = {{ app = 1, other = 1 }}\n\
         split-by = 'cookie:who'\nstrip-prefix = '/split'\n\
         [[route]]\nname = 'away'\npath-prefix = '/away'\nredirect = 'https://{{host}}{{path}}'\n\
         [[route]]\nname = 'own'\npath-prefix = '/own'\nrespond = 'hello {{query.name}}'\n\
         [[route]]\nname = 'shut'\npath-prefix = '/shut'\ndeny = 451\n\
         [[route]]\nname = 'small'\npath-prefix = '/small'\nupstream = 'other'\nmax-body = 3\n",
        app.endpoint(),
        other.endpoint()
    ))
}

/// What is explained of a request, as JSON.
fn told(explained: &Run) -> Value {
    assert_eq!((explained.code, explained.stderr.as_str()), (Some(0), ""), "{}", explained.stdout);
    serde_json::from_str(&explained.stdout).unwrap()
}

/// A request in the words of the command line.
struct Request {
    method: &'static str,
    target: String,
    fields: Vec<String>,
}

impl Request {
    fn new(method: &'static str, target: impl Into<String>, fields: &[&str]) -> Request {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        Request { method, target: target.into(), fields }
    }

    fn explain(&self, file: &File) -> Value {
        let url = format!("http://example.com{}", self.target);
        let fields = self.fields.iter().flat_map(|field| ["-H", field]);
        let args = ["explain", "--config", file.path(), "--format", "json", "-X", self.method, &url];
        told(&run(&args.into_iter().chain(fields).collect::<Vec<_>>(), &[]))
    }

    fn bytes(&self) -> String {
        let fields: String = self.fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n", self.method, self.target)
    }
}

/// Requests of each kind, of which none is like another for the cache.
fn requests() -> Vec<Request> {
    let mut requests = vec![
        Request::new("GET", "/users/7?utm_source=x&a=1", &["X-By: me", "X-Debug-A: 1", "X-Other: 2"]),
        Request::new("GET", "/a/..//users/%37%38", &["Range: bytes=0-1"]),
        Request::new("DELETE", "/users/9", &["Connection: X-Hop", "X-Hop: 1"]),
        Request::new("GET", "/away/a?b", &[]),
        Request::new("GET", "/own?name=you", &[]),
        Request::new("HEAD", "/own?name=you", &[]),
        Request::new("GET", "/shut", &[]),
        Request::new("POST", "/small", &["Content-Length: 4"]),
        Request::new("GET", "/nowhere", &[]),
        Request::new("GET", "/users%2f7", &[]),
        Request::new("GET", "/%zz", &[]),
        Request::new("GET", "/own", &["Host: another.example"]),
        Request::new("GET", "/own", &["Bad Name: 1"]),
        Request::new("TRACE", "/own", &[]),
    ];
    let who = |n: usize| Request::new("GET", format!("/split/{n}"), &[&format!("Cookie: who={n}")]);
    requests.extend((0..8).map(who));
    requests
}

#[test]
fn what_is_explained_is_what_happens() {
    on_each_driver(|driver| {
        let (app, other) = (origin("app"), origin("other"));
        let file = routes(&app, &other);
        let proxy = Setup::new(driver).args(&["--config", file.path()]).start();
        let (mut forwarded, mut taken) = (0, Vec::new());
        for request in requests() {
            let explained = if request.fields.iter().any(|field| field.starts_with("Host:")) {
                // Here a second Host is meant, which the command line takes for the only one.
                let doubled = ["Host: example.com", "Host: another.example"];
                Request::new(request.method, request.target.clone(), &doubled).explain(&file)
            } else {
                request.explain(&file)
            };
            let before = [app.requests().len(), other.requests().len()];
            let mut client = proxy.client();
            client.send(request.bytes());
            let answer = client.response_to(request.method);
            let asked: Vec<_> = app
                .requests()
                .split_off(before[0])
                .into_iter()
                .chain(other.requests().split_off(before[1]))
                .collect();
            let outcome = &explained["outcome"];
            if outcome["kind"] != "forward" {
                assert_eq!(outcome["status"], answer.status(), "{explained:#}");
                assert!(asked.is_empty(), "{explained:#}");
                assert_eq!(outcome["location"].as_str(), answer.field("Location"), "{explained:#}");
                continue;
            }
            forwarded += 1;
            let [asked] = &*asked else { panic!("{} requests: {explained:#}", asked.len()) };
            let upstreams = explained["upstreams"].as_array().unwrap();
            let upstream = upstreams.iter().find(|upstream| upstream["taken"] == true).unwrap();
            assert_eq!(upstream["name"].as_str(), answer.field("X-Origin"), "{explained:#}");
            taken.push(upstream["name"].as_str().unwrap().to_owned());
            check_sent(&explained, &request, asked.head.fields.lines(), asked.target());
            for line in explained["response"]["gains"].as_array().unwrap() {
                let (name, value) = line.as_str().unwrap().split_once(": ").unwrap();
                assert_eq!(answer.field(name), Some(value), "{explained:#}");
            }
        }
        assert_eq!(forwarded, 11, "requests that an origin got");
        assert!(["app", "other"].iter().all(|name| taken.contains(&(*name).to_owned())), "{taken:?}");
    });
}

/// Checks that an origin was sent what was explained: all that the client sent, without what the request loses, and
/// with what it gains.
fn check_sent(explained: &Value, request: &Request, mut got: Vec<String>, target: &str) {
    let sent = &explained["request"];
    assert_eq!(sent["target"], target, "{explained:#}");
    let lines = |key: &str| -> Vec<String> {
        sent[key].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    };
    let mut want = request.fields.clone();
    for lost in lines("loses") {
        let place = want.iter().position(|field| *field == lost);
        want.remove(place.unwrap_or_else(|| panic!("{lost} was not there: {explained:#}")));
    }
    want.extend(lines("gains"));
    want.push(format!("Host: {}", sent["host"].as_str().unwrap()));
    let is_id = |line: &String| line.starts_with("X-Request-Id: ");
    assert_eq!(want.iter().filter(|line| is_id(line)).collect::<Vec<_>>(), ["X-Request-Id: {request_id}"]);
    assert_eq!(got.iter().filter(|line| is_id(line)).count(), 1);
    got.retain(|line| !is_id(line));
    want.retain(|line| !is_id(line));
    got.sort();
    want.sort();
    assert_eq!(got, want, "{explained:#}");
}

/// What a proxy that runs says of a request.
fn live(proxy: &Proxy, args: &[&str]) -> Value {
    told(&proxy.order(&[&["explain", "--live", "--format", "json"], args].concat()))
}

#[test]
fn a_proxy_that_runs_says_what_it_has_stored() {
    on_each_driver(|driver| {
        for cores in [1, 4] {
            let origin = Origin::replying(|_| fresh_with("Vary: Accept\r\n", "stored"));
            let proxy = Setup::new(driver).cores(cores).origin(&origin).admin().start();
            for number in 0..4 {
                let (target, url) = (format!("/{number}"), format!("http://example.com/{number}"));
                let stored = |args: &[&str]| {
                    live(&proxy, &[&[url.as_str()], args].concat())["cache"]["stored"].clone()
                };
                assert_eq!(stored(&[])["variants"], 0);
                assert_eq!(stored(&[])["selected"], Value::Null);
                for mut client in clients(&proxy, 2) {
                    assert_eq!(client.ask(get(&target)).text(), "stored");
                }
                let before = origin.requests().len();
                eventually("it is stored", || stored(&[])["variants"] == 1);
                let selected = &stored(&[])["selected"];
                assert_eq!((&selected["status"], &selected["bytes"]), (&200.into(), &6.into()), "{selected}");
                assert_eq!((&selected["answers"], &selected["verdict"]), (&true.into(), &"fresh".into()));
                assert!((1..=3600).contains(&selected["ttl_s"].as_i64().unwrap()), "{selected}");
                assert_eq!(stored(&["-H", "Cache-Control: no-cache"])["selected"]["answers"], false);
                let other = stored(&["-H", "Accept: text/html"]);
                assert_eq!((&other["variants"], &other["selected"]), (&1.into(), &Value::Null));
                assert_eq!(origin.requests().len(), before, "explaining asks no origin");
            }
            let text = proxy.order(&["explain", "--live", "http://example.com/0"]).stdout;
            assert!(text.contains("200 from the cache, in place of default"), "{text}");
            proxy.order(&["purge", "--soft", "http://example.com/0"]);
            let text = proxy.order(&["explain", "--live", "http://example.com/0"]).stdout;
            assert!(text.contains("purged") && text.contains("forwarded to default"), "{text}");
        }
    });
}

#[test]
fn a_proxy_that_runs_says_how_its_endpoints_are() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let (refusing, _held) = refusing_port();
        let file = File::new(&format!(
            "no-cache = true\n[upstream.app]\nendpoints = '{}'\n[upstream.gone]\nendpoints = '{refusing}'\n\
             [[route]]\nupstream = 'app'\n[[route]]\npath-prefix = '/gone'\nupstream = 'gone'\n",
            origin.endpoint()
        ));
        let proxy = Setup::new(driver).admin().args(&["--config", file.path()]).start();
        let state = |path: &str| {
            let url = format!("http://example.com{path}");
            live(&proxy, &[&url])["upstreams"][0]["endpoints"][0]["state"].clone()
        };
        assert_eq!(state("/")["idle"], 0);
        assert_eq!(state("/")["addresses"][0], origin.endpoint());
        assert_eq!(state("/gone")["failure"], Value::Null);
        assert_eq!(proxy.get("/").status(), 200);
        eventually("the connection waits", || state("/")["idle"] == 1);
        assert_eq!(proxy.get("/gone").status(), 502);
        assert_eq!(state("/gone")["failure"]["reason"], "upstream_refused");
        assert_eq!(state("/")["failure"], Value::Null);
    });
}

#[test]
fn what_cannot_be_explained_has_its_exit_code() {
    let wrong = run(&["explain", "--origin", "http://a", "example.com"], &[]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""));
    assert!(wrong.line().contains("http://"), "{}", wrong.line());
    let wrong = run(&["explain", "--origin", "http://a", "--listener", "b", "http://a"], &[]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.line().contains("there is default"), "{}", wrong.line());
    let file = File::new("prot = 1\n");
    let bad = run(&["explain", "http://a"], &[("RINGWAY_CONFIG", file.path())]);
    assert_eq!((bad.code, bad.stdout.as_str()), (Some(78), ""));
    assert!(bad.stderr.contains("prot"), "{}", bad.stderr);
    let nobody = run(&["explain", "--live", "--admin", "unix:/nonexistent/x.sock", "http://a"], &[]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.stderr);
    let wrong = run(&["explain", "--live", "--admin", "unix:/nonexistent/x.sock", "a"], &[]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
}

#[test]
fn hostile_questions_leave_the_proxy_as_it_was() {
    on_each_driver(|driver: Driver| {
        let origin = Origin::echo();
        let proxy = Setup::new(driver).origin(&origin).admin().start();
        let long = "x".repeat(40_000);
        for (args, code) in [
            (vec!["http://a/", "--listener", "nobody"], 1),
            (vec!["http://a/\u{e9}"], 0),
            (vec!["http://a b/"], 0),
            (vec!["http://a/", "-X", ""], 0),
            (vec!["http://a/", "-H", ":"], 0),
            (vec!["http://a/", "-H", &long], 0),
            (vec!["http://a/", "-H", "Transfer-Encoding: chunked", "-H", "Content-Length: 1"], 0),
            (
                vec!["http://a/", "-H", "Expect: 100-continue", "-H", "Content-Length: 18446744073709551615"],
                0,
            ),
        ] {
            let explained = proxy.order(&[&["explain", "--live"], &*args].concat());
            assert_eq!(explained.code, Some(code), "{args:?}: {}", explained.stderr);
        }
        assert_eq!(proxy.get("/").status(), 200);
        assert_eq!(origin.requests().len(), 1);
    });
}
