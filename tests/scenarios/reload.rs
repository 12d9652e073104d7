//! The configuration is read again while the proxy runs: what takes effect, what is refused, and what is said.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cache::{caching, clients_of_every_worker};
use crate::support::live::{Live, upstream};
use crate::support::proxy::Proxy;
use crate::support::{
    Driver, Origin, PATIENCE, Setup, Signal, assert_limit, eventually, get, ms, ok, on_each_driver, post,
};

/// Runs a scenario on each driver with one, two and four workers.
fn on_all_workers(scenario: impl Fn(Driver, usize) + Sync) {
    on_each_driver(|driver| [1, 2, 4].into_iter().for_each(|cores| scenario(driver, cores)));
}

/// A file whose proxy answers everything with that.
fn saying(word: &str) -> String {
    format!("[[route]]\nrespond = '{word}'\n")
}

/// A file with a mistake in its third line and one in its fourth.
const BAD: &str = "[[route]]\nrespond = 'bad'\npat = '/'\nmethod = 7\n";

/// Checks that a reload was refused for what the file says, and that the proxy goes on as before.
#[track_caller]
fn assert_refused(proxy: &Live, parts: &[&str]) {
    let (done, failed) = proxy.reloads();
    let run = proxy.reload();
    assert_eq!((run.code, run.stdout.as_str()), (Some(78), ""), "{}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "{part:?} in {}", run.stderr);
        eventually("the log says it too", || proxy.stderr().contains(part));
    }
    assert_eq!(proxy.reloads(), (done, failed + 1));
}

#[test]
fn a_good_file_takes_effect_for_the_next_request_on_every_core() {
    on_all_workers(|driver, cores| {
        let proxy = Live::start(driver, cores, &saying("one"));
        let mut parked = clients_of_every_worker(&proxy, 8 * cores);
        thread::sleep(ms(1_600));
        let mut lingering = clients_of_every_worker(&proxy, 8 * cores);
        let mut silent = [proxy.client(), proxy.client()];
        let run = proxy.apply(&saying("two"));
        assert!(run.stdout.contains(&format!(" on {cores} of {cores} cores within ")), "{}", run.stdout);
        assert!(run.stdout.ends_with(" ms\n"), "{}", run.stdout);
        assert_eq!(run.stderr, "");
        for client in parked.iter_mut().chain(&mut lingering).chain(&mut silent) {
            let response = client.ask(get("/"));
            assert_eq!(response.text(), "two");
            assert!(!response.says_close());
        }
        assert_eq!(proxy.get("/").text(), "two");
        assert_eq!(proxy.reloads(), (1, 0));
        eventually("the log says it", || proxy.stderr().contains("the configuration was reloaded within "));
    });
}

#[test]
fn a_signal_has_the_file_read_again() {
    on_all_workers(|driver, cores| {
        let proxy = Live::start(driver, cores, &saying("one"));
        let mut clients = clients_of_every_worker(&proxy, 4 * cores);
        proxy.write(saying("two"));
        proxy.hang_up();
        assert!(clients.iter_mut().all(|client| client.ask(get("/")).text() == "two"));
        eventually("the log says it", || proxy.stderr().contains("the configuration was reloaded within "));
    });
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_told_with_its_place() {
    on_each_driver(|driver| {
        let proxy = Live::start(driver, 2, &saying("one"));
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/")).text(), "one");
        proxy.write(BAD);
        let file = proxy.file();
        let places = [format!("{file}:3:1: error: "), format!("{file}:4:10: error: ")];
        assert_refused(&proxy, &[&places[0], &places[1], "    pat = '/'\n", "did you mean `path`?"]);
        assert_eq!(client.ask(get("/")).text(), "one");
        proxy.hang_up();
        assert_eq!(proxy.reloads(), (0, 2));
        assert_eq!(client.ask(get("/")).text(), "one");
        proxy.apply(&saying("two"));
        assert_eq!(client.ask(get("/")).text(), "two");
        assert_eq!(proxy.reloads(), (1, 2));
        proxy.end();
    });
}

#[test]
fn a_file_that_cannot_be_read_whole_changes_nothing() {
    on_each_driver(|driver| {
        let proxy = Live::start(driver, 1, &saying("one"));
        let good = format!("error-page = {{ 404 = 'gone.html' }}\n{}", saying("two"));
        let file = proxy.file();
        std::fs::remove_file(&file).unwrap();
        assert_refused(&proxy, &[&file, "No such file"]);
        std::fs::create_dir(&file).unwrap();
        assert_refused(&proxy, &[&file, "directory"]);
        std::fs::remove_dir(&file).unwrap();
        for (bytes, part) in [
            (&b""[..], ""),
            (b"[[route]]\nrespond = 'tw", ":2:14: error: "),
            (b"[[route]]\nrespond = 'two'\n[[ro", ":3:"),
            (b"[[route]]\nrespond = '\xff'\n", "UTF-8"),
            (b"\0\0\0\0\0\0\0\0", ":1:1: error: "),
            (b"include = 'none.toml'\n[[route]]\nrespond = 'two'\n", "none.toml"),
            (good.as_bytes(), "gone.html"),
        ] {
            proxy.write(bytes);
            assert_refused(&proxy, &[part]);
            assert_eq!(proxy.get("/").text(), "one");
        }
        proxy.folder.write("gone.html", "gone");
        assert_eq!(proxy.reload().code, Some(0));
        assert_eq!(proxy.get("/").text(), "two");
    });
}

#[test]
fn what_the_file_includes_is_read_again_too() {
    on_each_driver(|driver| {
        let proxy = Live::start(driver, 1, &format!("include = ['conf.d/*.toml']\n{}", saying("last")));
        assert_eq!(proxy.get("/a").text(), "last");
        std::fs::create_dir(proxy.folder.at("conf.d")).unwrap();
        proxy.folder.write("conf.d/a.toml", "[[route]]\npath = '/a'\nrespond = 'new'\n");
        assert_eq!(proxy.reload().code, Some(0));
        assert_eq!((proxy.get("/a").text(), proxy.get("/b").text()), ("new".to_owned(), "last".to_owned()));
        proxy.folder.write("conf.d/a.toml", BAD);
        assert_refused(&proxy, &["conf.d/a.toml:3:1: error: "]);
        assert_eq!(proxy.get("/a").text(), "new");
        std::fs::remove_file(proxy.folder.at("conf.d/a.toml")).unwrap();
        assert_eq!(proxy.reload().code, Some(0));
        assert_eq!(proxy.get("/a").text(), "last");
    });
}

#[test]
fn flags_hold_whatever_the_file_says_now() {
    on_each_driver(|driver| {
        let setup = Setup::new(driver).args(&["--max-body", "10B"]);
        let proxy = Live::with(setup, &saying("one"), false);
        proxy.apply(&format!("max-body = '1MiB'\n{}", saying("two")));
        assert_eq!(proxy.ask(post("/", &[b'x'; 11])).status(), 413);
        assert_eq!(proxy.ask(post("/", &[b'x'; 10])).text(), "two");
    });
}

#[test]
fn a_proxy_without_a_file_has_nothing_to_read_again() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = caching(driver, 1, &origin, &[]);
        let run = proxy.order(&["reload"]);
        assert_eq!(run.code, Some(78));
        assert!(run.stderr.contains("started without a file"), "{}", run.stderr);
        proxy.signal(Signal::HUP);
        eventually("the log says it", || proxy.stderr().matches("started without a file").count() == 2);
        assert_eq!(proxy.get("/").text(), "/ ");
    });
}

#[test]
fn other_limits_hold_for_the_next_request() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            if request.target() == "/slow" {
                thread::sleep(ms(2_500));
            }
            ok(request.body())
        });
        let file = |top: &str, limits: &str| {
            format!("{top}\n{}{limits}\n[[route]]\nupstream = 'app'\n", upstream("app", &origin))
        };
        let proxy = Live::start(driver, 2, &file("max-body = '10B'", ""));
        let mut client = proxy.client();
        assert_eq!(client.ask(post("/", b"short")).text(), "short");
        assert_eq!(proxy.ask(post("/", &[b'x'; 11])).status(), 413);
        assert_eq!(client.ask(get("/slow")).status(), 200);
        proxy.apply(&file("max-body = '20B'\nmax-target = 40", "first-byte-timeout = '1500ms'"));
        assert_eq!(client.ask(post("/", &[b'x'; 11])).body(), [b'x'; 11]);
        assert_eq!(client.ask(get("/slow")).status(), 504);
        assert_eq!(proxy.get(&format!("/{}", "x".repeat(40))).status(), 414);
        proxy.apply(&file("", ""));
        assert_eq!(proxy.get(&format!("/{}", "x".repeat(40))).status(), 200);
        assert_eq!(proxy.get("/slow").status(), 200);
    });
}

#[test]
fn what_takes_effect_only_at_a_start_is_told_for_as_long_as_it_differs() {
    on_each_driver(|driver| {
        let file = |top: &str, word: &str| format!("{top}\n{}", saying(word));
        let proxy = Live::start(driver, 1, &file("cache-size = '8MiB'", "one"));
        let changed = file("cache-size = '16MiB'\naccess-log = 'json'", "two");
        for word in ["two", "three"] {
            let run = proxy.apply(&changed.replace("two", word));
            for what in ["the size of the cache", "access-log"] {
                assert!(run.stderr.contains(&format!("{what} has changed")), "{}", run.stderr);
                let told = "takes effect when the proxy is started again";
                assert!(run.stderr.contains(told), "{}", run.stderr);
            }
            assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
            assert_eq!(proxy.get("/").text(), word);
        }
        let run = proxy.apply(&file("cache-size = '8MiB'", "four"));
        assert_eq!(run.stderr, "");
        assert_eq!(proxy.stdout(), "");
    });
}

#[test]
fn a_name_without_an_address_holds_nothing_up() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let file = |more: &str| format!("{}[[route]]\nupstream = 'app'\n{more}", upstream("app", &origin));
        let proxy = Live::start(driver, 2, &file(""));
        let mut client = proxy.client();
        client.ask(get("/"));
        let more = "[upstream.lost]\nendpoints = 'nowhere.invalid:1'\n[[route]]\npath = '/lost'\n\
                    upstream = 'lost'\n";
        let run = proxy.apply(&file(more));
        assert!(run.stderr.contains("nowhere.invalid:1 has no address yet"), "{}", run.stderr);
        assert_eq!(client.ask(get("/")).text(), "/ ");
        assert_eq!(client.ask(get("/lost")).status(), 503);
        assert_eq!(client.ask(get("/")).text(), "/ ");
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn what_is_odd_about_a_good_file_is_told() {
    on_each_driver(|driver| {
        let proxy = Live::start(driver, 1, &saying("one"));
        let run = proxy.apply(&format!("[upstream.spare]\nendpoints = 'a:1'\n{}", saying("two")));
        assert!(run.stderr.contains(":1:11: warning: "), "{}", run.stderr);
        eventually("the log says it too", || proxy.stderr().contains(":1:11: warning: "));
        assert_eq!(proxy.get("/").text(), "two");
    });
}

#[test]
fn a_drain_takes_as_long_as_the_newest_file_says() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.request();
            peer.hang();
        });
        let rest = format!("{}[[route]]\nupstream = 'app'\n", upstream("app", &origin));
        let mut proxy = Live::start(driver, 2, &format!("drain-timeout = '1m'\n{rest}"));
        proxy.apply(&format!("drain-timeout = '700ms'\n{rest}"));
        let mut client = proxy.client();
        client.send(get("/"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        let started = Instant::now();
        proxy.signal(Signal::TERM);
        proxy.proxy().wait(PATIENCE);
        assert_limit(started, ms(700));
        client.expect_end();
    });
}

#[test]
fn many_who_ask_at_once_are_all_answered_and_the_last_file_holds() {
    on_each_driver(|driver| {
        let proxy = Live::start(driver, 2, &saying("0"));
        for round in 1..=3 {
            proxy.write(saying(&round.to_string()));
            thread::scope(|scope| {
                let asked: Vec<_> = (0..12).map(|_| scope.spawn(|| proxy.reload())).collect();
                for run in asked {
                    let run = run.join().unwrap();
                    assert_eq!(run.code, Some(0), "{}", run.stderr);
                    assert!(run.stdout.contains("on 2 of 2 cores"), "{}", run.stdout);
                }
            });
            assert_eq!(proxy.get("/").text(), round.to_string());
        }
    });
}

#[test]
fn a_storm_of_signals_ends_with_the_last_file() {
    on_each_driver(|driver| {
        let proxy = Live::start(driver, 2, &saying("start"));
        let mut client = proxy.client();
        for count in 0..500 {
            if count % 50 == 0 {
                proxy.write(if count % 100 == 0 { BAD.to_owned() } else { saying("some") });
            }
            proxy.signal(Signal::HUP);
            let text = client.ask(get("/")).text();
            assert!(["start", "some"].contains(&&*text), "{text}");
        }
        proxy.write(saying("end"));
        proxy.signal(Signal::HUP);
        eventually("the last file holds", || client.ask(get("/")).text() == "end");
        let (done, failed) = proxy.reloads();
        assert!(done > 0 && done + failed <= 501, "{done} {failed}");
        proxy.end();
    });
}

#[test]
fn a_proxy_that_ends_is_not_reloaded_and_ends_well() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.sleep(ms(1_500));
                peer.send(ok("old"));
            }
        });
        let file = format!("{}[[route]]\nupstream = 'app'\n", upstream("app", &origin));
        let mut proxy = Live::start(driver, 2, &file);
        let mut client = proxy.client();
        client.send(get("/"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.write(saying("new"));
        proxy.signal(Signal::TERM);
        eventually("it drains", || proxy.stderr().contains("stopping"));
        let run = proxy.reload();
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        for _ in 0..10 {
            proxy.signal(Signal::HUP);
        }
        let response = client.response();
        assert_eq!(response.text(), "old");
        assert!(response.says_close());
        assert!(proxy.proxy().wait(PATIENCE).success());
        assert!(!proxy.stderr().contains("was reloaded"), "{}", proxy.stderr());
    });
}

#[test]
fn a_file_that_would_never_come_to_an_end_is_not_read() {
    on_each_driver(|driver| {
        let mut proxy = Live::start(driver, 2, &saying("one"));
        // Whoever reads it waits for somebody to write it.
        let file = proxy.file();
        std::fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let mut asks = ask_to_reload(&proxy);
        assert_eq!(asks.wait().unwrap().code(), Some(78));
        proxy.signal(Signal::HUP);
        eventually("it is refused again", || proxy.stderr().matches("is no regular file").count() > 1);
        assert_eq!(proxy.get("/").text(), "one");
        proxy.signal(Signal::TERM);
        let status = proxy.proxy().wait(Duration::from_secs(10));
        assert!(status.success(), "{status}");
    });
}

/// `ringway reload`, which is not waited for.
fn ask_to_reload(proxy: &Proxy) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["reload", "--admin", proxy.admin()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_proxy_whose_routes_need_no_upstream_starts_and_says_so() {
    on_each_driver(|driver| {
        let proxy = Live::start(driver, 1, &saying("one"));
        assert_eq!(proxy.get("/").text(), "one");
        let origin = Origin::echo();
        proxy.apply(&format!("{}[[route]]\nupstream = 'app'\n", upstream("app", &origin)));
        assert_eq!(proxy.get("/").text(), "/ ");
        proxy.apply(&saying("two"));
        assert_eq!(proxy.get("/").text(), "two");
    });
}
