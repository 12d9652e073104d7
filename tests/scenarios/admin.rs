//! The admin endpoint and the commands that call it: what they answer, whom they refuse, and what they
//! leave behind.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::support::proxy::{run, run_as};
use crate::support::{Driver, Origin, PATIENCE, Proxy, Setup, Signal, eventually, get, on_each_driver};

const DRIVER: Driver = Driver("auto");

const TOKEN: &str = "0123456789abcdef";

/// A user without rights or belongings.
const NOBODY: u32 = 65534;

/// A folder that goes away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("ringway-scenario-{}-{:x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn given_to(self, user: u32) -> Folder {
        chown(&self.0, Some(user), None).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A proxy whose origin nobody asks.
fn setup() -> Setup {
    Setup::new(DRIVER).args(&["--origin", "http://127.0.0.1:9"])
}

fn path(proxy: &Proxy) -> &str {
    proxy.admin().strip_prefix("unix:").unwrap()
}

/// What a server says to these bytes until it closes.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> String {
    // A server that has heard enough may close before it has all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn say(proxy: &Proxy, request: impl AsRef<[u8]>) -> String {
    let stream = UnixStream::connect(path(proxy)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    exchange(stream, request.as_ref())
}

fn post(path: &str, content: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len())
}

fn status_of(proxy: &Proxy) -> serde_json::Value {
    let answer = say(proxy, get("/status"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Whether a proxy can be started as another user here; says so if not.
fn can_be_nobody() -> bool {
    if our_uid() != 0 {
        println!("left out: only root can be another user");
        return false;
    }
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_ringway"));
    let mut folders = binary.ancestors().skip(1);
    if folders.any(|folder| fs::metadata(folder).unwrap().permissions().mode() & 0o001 == 0) {
        println!("left out: other users cannot reach {}", binary.display());
        return false;
    }
    true
}

fn our_uid() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn a_purge_is_carried_to_every_worker_and_counted() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Setup::new(driver).cores(2).origin(&origin).admin().start();
        for (args, said) in [
            (&["clear-cache"][..], "ringway: 0 responses removed\n"),
            (&["clear-cache", "--soft"], "ringway: 0 responses marked stale\n"),
            (&["purge", "http://a/b"], "ringway: 0 responses removed\n"),
            (&["purge", "--prefix", "https://a"], "ringway: 0 responses removed\n"),
            (&["purge", "--tag", "news", "--soft"], "ringway: 0 responses marked stale\n"),
        ] {
            let run = proxy.order(args);
            assert_eq!((run.code, &*run.stdout, &*run.stderr), (Some(0), said, ""), "{args:?}");
        }
        assert_eq!(proxy.get("/").text(), "/ ");
    });
}

#[test]
fn the_start_says_how_large_the_cache_is_and_where_orders_are_taken() {
    let proxy = setup().admin().args(&["--cache-size", "2MiB"]).start();
    eventually("the start is told", || proxy.stderr().contains("origins"));
    assert!(
        proxy.stderr().contains(&format!("cache 2.0 MiB; admin {}", proxy.admin())),
        "{}",
        proxy.stderr()
    );
    let proxy = setup().args(&["--no-cache"]).start();
    eventually("the start is told", || proxy.stderr().contains("origins"));
    assert!(proxy.stderr().contains("no cache; admin off"), "{}", proxy.stderr());
}

#[test]
fn the_status_tells_which_proxy_answers() {
    on_each_driver(|driver| {
        let start = || Setup::new(driver).args(&["--origin", "http://127.0.0.1:9"]).admin().start();
        for proxy in [start(), start()] {
            let status = status_of(&proxy);
            assert_eq!(status["pid"], proxy.id());
            assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(status["cores"].as_array().unwrap().len(), 1);
            assert!(status["driver"].as_str().unwrap().starts_with(driver.0));
            assert!(status["uptime_seconds"].is_u64());
        }
    });
}

#[test]
fn wrong_usage_is_exit_code_2_and_one_line() {
    for (args, named) in [
        (&["purge"][..], "one thing to purge"),
        (&["purge", "http://a/", "--tag", "b"], "one thing to purge"),
        (&["purge", "--prefix", "http://a/", "--tag", "b"], "one thing to purge"),
        (&["purge", "a/b"], "http://"),
        (&["purge", "http:///"], "host"),
        (&["purge", "--prefix", "http://a/b c"], "percent-encoded"),
        (&["purge", "--tag", ""], "a tag has"),
        (&["purge", "--tag", "a b"], "a tag has"),
        (&["purge", "http://a/", "http://b/"], "http://b/"),
        (&["clear-cache", "http://a/"], "http://a/"),
        (&["clear-cache", "--admin", "nowhere"], "unix:PATH"),
        (&["clear-cache", "--admin", "off"], "--admin"),
        (&["clear-cache", "--admin", "127.0.0.1:9"], "token"),
        (&["clear-cache", "--admin-token", "short"], "admin-token"),
        (&["run", "--origin", "http://a", "--admin", "127.0.0.1:0"], "token"),
        (
            &["run", "--origin", "http://a", "--admin", "0.0.0.0:0", "--admin-token", TOKEN],
            "--admin-anywhere",
        ),
        (&["run", "--origin", "http://a", "--cache-size", "1KiB"], "--no-cache"),
    ] {
        let run = run(args, &[]);
        assert_eq!((run.code, &*run.stdout), (Some(2), ""), "{args:?}: {}", run.stderr);
        assert!(
            run.line().starts_with("ringway: ") && run.line().contains(named),
            "{args:?}: {}",
            run.stderr
        );
        assert!(!run.stderr.contains("short;") && !run.stderr.contains(TOKEN), "{}", run.stderr);
    }
    let bad_file = run(&["clear-cache", "--config", "/nonexistent/ringway.toml"], &[]);
    assert_eq!(bad_file.code, Some(78));
}

#[test]
fn where_no_proxy_answers_it_is_exit_code_1_and_one_line_that_says_what_was_tried() {
    let folder = Folder::new();
    let dead = folder.at("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let (refusing, _held) = crate::support::proxy::refusing_port();
    for address in [format!("unix:{dead}"), format!("unix:{}", folder.at("none")), refusing.to_string()] {
        let run = run(&["clear-cache", "--admin", &address, "--admin-token", TOKEN], &[]);
        assert_eq!((run.code, &*run.stdout), (Some(1), ""), "{address}: {}", run.stderr);
        let line = run.line();
        assert!(
            line.contains("no proxy answers") && line.contains(&address) && line.contains("--admin"),
            "{line}"
        );
    }
}

#[test]
fn something_else_that_answers_is_no_success() {
    let folder = Folder::new();
    for (number, (answer, named)) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "no proxy of this version"),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "500"),
        ("220 mail.example ESMTP\r\n", "broke off"),
        ("", "broke off"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.at(&number.to_string());
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let run = run(&["clear-cache", "--admin", &format!("unix:{path}")], &[]);
        assert_eq!((run.code, &*run.stdout), (Some(1), ""), "{answer}");
        assert!(run.line().contains(named), "{answer}: {}", run.stderr);
    }
}

#[test]
fn a_proxy_without_a_cache_says_so() {
    let proxy = setup().admin().args(&["--no-cache"]).start();
    for args in [&["clear-cache"][..], &["purge", "http://a/"]] {
        let run = proxy.order(args);
        assert_eq!(run.code, Some(1));
        assert!(run.line().contains("the cache is off"), "{}", run.stderr);
    }
    assert!(say(&proxy, post("/cache/clear", "")).starts_with("HTTP/1.1 409 "));
}

#[test]
fn address_and_token_may_be_said_by_variables_or_by_the_file_of_the_proxy() {
    let folder = Folder::new();
    let (socket, file) = (folder.at("s"), folder.at("f"));
    fs::write(&file, format!("origin = ['http://127.0.0.1:9']\nadmin = 'unix:{socket}'\n")).unwrap();
    let proxy = Setup::new(DRIVER).admin_unsaid().args(&["--config", &file]).start();
    let address = format!("unix:{socket}");
    for (args, variables) in [
        (vec!["clear-cache", "--config", &file], vec![]),
        (vec!["clear-cache"], vec![("RINGWAY_CONFIG", &*file)]),
        (vec!["clear-cache"], vec![("RINGWAY_ADMIN", &*address), ("RINGWAY_ORIGIN", "http://a")]),
        (vec!["clear-cache", "--admin", &address], vec![("RINGWAY_ADMIN", "unix:/nonexistent")]),
        (vec!["clear-cache", "--config", &file], vec![("RINGWAY_ADMIN_TOKEN", TOKEN)]),
    ] {
        let run = run(&args, &variables);
        assert_eq!(run.code, Some(0), "{args:?} {variables:?}: {}", run.stderr);
    }
    drop(proxy);
}

#[test]
fn only_the_user_of_the_proxy_may_use_its_socket() {
    if !can_be_nobody() {
        return;
    }
    // Root gets through to the socket, whatever its mode; it is no owner all the same.
    let folder = Folder::new().given_to(NOBODY);
    let address = format!("unix:{}", folder.at("s"));
    let proxy = setup().user(NOBODY).admin_at(&address).start();
    let answer = say(&proxy, get("/status"));
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains(r#"{"error":"only the user that the proxy runs as"#), "{answer}");
    assert!(say(&proxy, post("/cache/clear", "{}")).starts_with("HTTP/1.1 403 "));
    let refused = proxy.order(&["clear-cache"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.line().contains("belongs to user 65534"), "{}", refused.stderr);
    let owner = run_as(Some(NOBODY), &["clear-cache", "--admin", &address], &[]);
    assert_eq!(owner.code, Some(0), "{}", owner.stderr);
    // Others do not even get through.
    let proxy = setup().admin().start();
    let other = run_as(Some(NOBODY), &["clear-cache", "--admin", proxy.admin()], &[]);
    assert_eq!(other.code, Some(1));
    assert!(
        other.line().contains("no permission") && other.line().contains(proxy.admin()),
        "{}",
        other.stderr
    );
    // And where the mode of the file was changed, they are refused like root.
    fs::set_permissions(path(&proxy), fs::Permissions::from_mode(0o666)).unwrap();
    let other = run_as(Some(NOBODY), &["clear-cache", "--admin", proxy.admin()], &[]);
    assert!(other.line().contains("belongs to user 0"), "{}", other.stderr);
    assert_eq!(proxy.order(&["clear-cache"]).code, Some(0));
}

#[test]
fn refusals_are_counted() {
    let proxy = setup().admin().start();
    assert_eq!(status_of(&proxy)["refused"], 0);
    let page = "GET /status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\n\r\n";
    assert!(say(&proxy, page).starts_with("HTTP/1.1 403 "));
    assert_eq!(status_of(&proxy)["refused"], 1);
}

#[test]
fn the_socket_is_for_its_owner_and_goes_away_at_the_end() {
    for signals in [&[Signal::TERM][..], &[Signal::INT], &[Signal::TERM, Signal::TERM]] {
        let origin = Origin::start(|peer| {
            peer.request();
            peer.hang();
        });
        let mut proxy = Setup::new(DRIVER).origin(&origin).admin().start();
        let path = path(&proxy).to_owned();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut client = proxy.client();
        if signals.len() > 1 {
            client.send(get("/"));
            eventually("the request is in flight", || origin.requests().len() == 1);
        }
        for &signal in signals {
            proxy.signal(signal);
            // The address is free from the first signal on, for a proxy that takes over.
            eventually("the socket is gone", || !fs::exists(&path).unwrap());
        }
        proxy.wait(PATIENCE);
        assert!(!fs::exists(&path).unwrap());
    }
}

#[test]
fn the_socket_of_a_proxy_that_was_killed_is_replaced() {
    let folder = Folder::new();
    let address = format!("unix:{}", folder.at("s"));
    let mut first = setup().admin_at(&address).start();
    first.signal(Signal::KILL);
    first.wait(PATIENCE);
    assert!(fs::exists(folder.at("s")).unwrap());
    assert_eq!(first.order(&["clear-cache"]).code, Some(1));
    let second = setup().admin_at(&address).start();
    assert_eq!(second.order(&["clear-cache"]).code, Some(0));
}

#[test]
fn a_socket_where_a_proxy_answers_is_left_alone() {
    let first = setup().admin().start();
    let args = ["--origin", "http://127.0.0.1:9", "--port", "0", "--cores", "1", "--admin", first.admin()];
    let second = run(&args, &[]);
    assert_eq!(second.code, Some(1), "{}", second.stderr);
    assert!(second.line().contains(path(&first)) && second.line().contains("--admin"), "{}", second.stderr);
    assert_eq!(first.order(&["clear-cache"]).code, Some(0));
    assert_eq!(status_of(&first)["pid"], first.id());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.at("file"), "kept").unwrap();
    std::os::unix::fs::symlink(folder.at("file"), folder.at("link")).unwrap();
    for name in ["file", "link", "none/s"] {
        let address = format!("unix:{}", folder.at(name));
        let run = run(&["--origin", "http://a:9", "--port", "0", "--cores", "1", "--admin", &address], &[]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(run.line().contains(&folder.at(name)), "{}", run.stderr);
    }
    assert_eq!(fs::read_to_string(folder.at("file")).unwrap(), "kept");
}

#[test]
fn by_default_the_socket_is_the_users_own_and_the_second_proxy_goes_without() {
    let user = match our_uid() {
        0 if can_be_nobody() => NOBODY,
        0 => return,
        user => user,
    };
    let folder = Folder::new();
    let folder = if our_uid() == 0 { folder.given_to(user) } else { folder };
    let as_user = |setup: Setup| if our_uid() == 0 { setup.user(user) } else { setup };
    let start = || as_user(setup().admin_unsaid().variable("XDG_RUNTIME_DIR", &folder.at(""))).start();
    let order = || {
        let user = (our_uid() == 0).then_some(user);
        run_as(user, &["clear-cache"], &[("XDG_RUNTIME_DIR", &folder.at(""))])
    };
    let none = order();
    assert!(none.code == Some(1) && none.line().contains(&folder.at("ringway.sock")), "{}", none.stderr);
    let first = start();
    let second = start();
    eventually("the start is told", || second.stderr().contains("origins"));
    let said = second.stderr();
    assert!(said.contains("another process answers") && said.contains("without an admin endpoint"), "{said}");
    assert!(said.contains("admin off"), "{said}");
    drop(second);
    assert_eq!(order().code, Some(0));
    drop(first);
}

/// A proxy with its endpoint on a port, and the address of that.
fn on_a_port() -> (Proxy, String) {
    let proxy = setup().admin_at("127.0.0.1:0").variable("RINGWAY_ADMIN_TOKEN", TOKEN).start();
    eventually("the start is told", || proxy.stderr().contains("origins"));
    let said = proxy.stderr();
    let address = said.split("; admin ").nth(1).unwrap().lines().next().unwrap().to_owned();
    (proxy, address)
}

#[test]
fn a_port_takes_the_token_and_nothing_else() {
    let (_proxy, address) = on_a_port();
    let order = |token| run(&["clear-cache", "--admin", &address], &[("RINGWAY_ADMIN_TOKEN", token)]);
    let good = order(TOKEN);
    assert_eq!((good.code, &*good.stdout), (Some(0), "ringway: 0 responses removed\n"), "{}", good.stderr);
    let bad = order("0123456789abcdeF");
    assert_eq!(bad.code, Some(1));
    assert!(bad.line().contains("token") && bad.line().contains(&address), "{}", bad.stderr);
    let ask = |fields: &str| {
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        exchange(stream, format!("GET /status HTTP/1.1\r\n{fields}\r\n").as_bytes())
    };
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for (fields, want) in [
        (format!("Host: {address}\r\n{token}"), "200"),
        (format!("Host: localhost\r\n{token}"), "200"),
        (format!("Host: {address}\r\n"), "401"),
        (format!("Host: {address}\r\nAuthorization: Bearer x\r\n"), "401"),
        (format!("Host: {address}\r\nOrigin: http://{address}\r\n{token}"), "403"),
        (format!("Host: evil.example\r\n{token}"), "421"),
        (token.clone(), "421"),
    ] {
        let answer = ask(&fields);
        assert!(answer.starts_with(&format!("HTTP/1.1 {want} ")), "{fields}: {answer}");
        assert_eq!(answer.contains(r#"{"error":"#), want != "200", "{answer}");
        assert_eq!(answer.to_lowercase().contains("www-authenticate: bearer"), want == "401", "{answer}");
    }
}

#[test]
fn a_port_in_use_is_exit_code_1_and_one_line() {
    let (_proxy, address) = on_a_port();
    let args = ["--origin", "http://a:9", "--port", "0", "--cores", "1", "--admin", &address];
    let run = run(&args, &[("RINGWAY_ADMIN_TOKEN", TOKEN)]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.line().contains(&address) && run.line().contains("--admin"), "{}", run.stderr);
}

#[test]
fn requests_that_are_wrong_are_told_so_in_json() {
    let proxy = setup().admin().start();
    let long = "x".repeat(64 * 1024);
    let chunked = "POST /cache/clear HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (request, want) in [
        (post("/cache/clear", ""), "200"),
        (post("/cache/clear", "{}"), "200"),
        (post("/cache/purge", r#"{"tag":"a"}"#), "200"),
        (post("/cache/purge", r#"{"url":"http://a/","soft":true}"#), "200"),
        (format!("{chunked}2\r\n{{}}\r\n0\r\n\r\n"), "200"),
        (post("/cache/purge", ""), "400"),
        (post("/cache/purge", "{}"), "400"),
        (post("/cache/purge", "{"), "400"),
        (post("/cache/purge", "null"), "400"),
        (post("/cache/purge", r#"{"url":"a"}"#), "400"),
        (post("/cache/purge", r#"{"url":"http://a/","tag":"b"}"#), "400"),
        (post("/cache/purge", r#"{"soft":"yes","tag":"b"}"#), "400"),
        (post("/cache/clear", r#"{"tag":"a"}"#), "400"),
        (post("/cache/clear", "[]"), "400"),
        (post("/cache/clear", &format!(r#"{{"tag":"{long}"}}"#)), "413"),
        (format!("{chunked}{:x}\r\n{long}\r\n{:x}\r\n{long}\r\n0\r\n\r\n", long.len(), long.len()), "413"),
        (post("/cache", "{}"), "404"),
        (get("/"), "404"),
        (get("/cache/clear"), "405"),
        (post("/status", ""), "405"),
    ] {
        let answer = say(&proxy, &request);
        let shown = &request[..request.len().min(100)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {want} ")), "{shown}: {answer}");
        let content = answer.split_once("\r\n\r\n").unwrap().1;
        let key = if want == "200" { "removed" } else { "error" };
        assert!(serde_json::from_str::<serde_json::Value>(content).unwrap().get(key).is_some(), "{content}");
    }
    for (request, want) in [
        ("GARBAGE\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        (format!("GET /status HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), "HTTP/1.1 431 "),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 4"),
    ] {
        let answer = say(&proxy, &request);
        assert!(answer.starts_with(want), "{answer}");
    }
    assert_eq!(proxy.order(&["clear-cache"]).code, Some(0));
}

#[test]
fn callers_that_say_nothing_do_not_keep_others_out_for_long() {
    let proxy = setup().admin().start();
    let mut idle: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(path(&proxy)).unwrap()).collect();
    let _ = idle[0].write_all(b"POST /cache/clear HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{");
    assert_eq!(proxy.order(&["clear-cache"]).code, Some(0));
    for mut stream in idle {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).unwrap();
    }
    thread::sleep(Duration::from_millis(50));
    assert_eq!(status_of(&proxy)["refused"], 0);
}
