//! What the process says before it serves: exit codes, one line for whatever is wrong, and which
//! source of an option wins.

use std::net::TcpListener;
use std::path::PathBuf;

use crate::support::proxy::run;
use crate::support::{Driver, Origin, Proxy, Setup, Signal, get_with, ok, on_each_driver};

const ORIGIN: [&str; 2] = ["--origin", "http://127.0.0.1:9"];

/// A file that goes away at the end.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> File {
        let path = std::env::temp_dir().join(format!(
            "ringway-scenario-{}-{:x}.toml",
            std::process::id(),
            fastrand::u64(..)
        ));
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

#[test]
fn help_and_version_go_to_standard_output() {
    for args in [["--help"], ["--version"]] {
        let run = run(&args, &[]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert!(run.stdout.contains("ringway"), "{}", run.stdout);
    }
    assert!(run(&["--help"], &[]).stdout.contains("--origin"));
}

#[test]
fn wrong_usage_is_exit_code_2_and_one_line() {
    for (args, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&[], "origin"),
        (&["run"], "origin"),
        (&["--origin", "127.0.0.1:9001"], "no scheme"),
        (&["--origin", "https://a"], "TLS"),
        (&["--origin", "http://a/path"], "path"),
        (&["--origin", "http://127.0.0.1:9", "--cores", "100000"], "or fewer"),
        (&["--origin", "http://127.0.0.1:9", "--cores", "0"], "at least one"),
        (&["--origin", "http://127.0.0.1:9", "--port", "65536"], "65536"),
        (&["--origin", "http://127.0.0.1:9", "--head-timeout", "soon"], "durations are written like"),
        (&["--origin", "http://127.0.0.1:9", "--head-timeout", "0s"], "0s"),
        (&["--origin", "http://127.0.0.1:9", "--max-head", "1GiB"], "max-head"),
        (&["--origin", "http://127.0.0.1:9", "--trusted-proxy", "10.0.0.0/99"], "10.0.0.0/99"),
        (&["--origin", "http://127.0.0.1:9", "--driver", "kqueue"], "kqueue"),
        (&["--origin", "http://127.0.0.1:9", "--access-log", "loud"], "loud"),
        (&["--origin", "http://127.0.0.1:9", "--via", "a b"], "via"),
    ] {
        let run = run(args, &[]);
        assert_eq!(run.code, Some(2), "{args:?}: {}", run.stderr);
        assert!(
            run.line().starts_with("ringway: ") && run.line().contains(named),
            "{args:?}: {}",
            run.stderr
        );
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_variable_that_is_wrong_is_wrong_usage_too() {
    for (name, value) in [
        ("RINGWAY_PORT", "x"),
        ("RINGWAY_CORES", "0"),
        ("RINGWAY_ORIGIN", "nowhere"),
        ("RINGWAY_TRACE", "perhaps"),
    ] {
        let args: &[&str] = if name == "RINGWAY_ORIGIN" { &[] } else { &ORIGIN };
        let run = run(args, &[(name, value)]);
        assert_eq!(run.code, Some(2), "{name}: {}", run.stderr);
        run.line();
    }
}

#[test]
fn a_file_that_is_wrong_is_exit_code_78_and_shown_at_its_place() {
    for (text, place) in [
        ("origin = ['http://a']\nprot = 2\n", ":2:1: error: "),
        ("origin = ['http://a']\nport = 99999\n", ":2:8: error: "),
        ("origin = ['http://a']\nhead-timeout = 'soon'\n", ":2:16: error: "),
        ("origin = ", ":1:"),
        ("origin = ['nowhere']\n", ":1:11: error: "),
        ("origin = ['http://a']\nmax-head = '1GiB'\n", ":2:12: error: "),
        ("\u{0}\u{1}", ":1:1: error: "),
    ] {
        let file = File::new(text);
        let run = run(&["--config", file.path()], &[]);
        assert_eq!(run.code, Some(78), "{text:?}: {}", run.stderr);
        assert!(run.stderr.starts_with(&format!("{}{place}", file.path())), "{text:?}: {}", run.stderr);
        let last = run.stderr.lines().last().unwrap_or_default();
        assert!(run.stderr.contains('^') && last.contains(" error"), "{text:?}: {}", run.stderr);
    }
    let missing = run(&["--config", "/nonexistent/ringway.toml"], &[]);
    assert_eq!(missing.code, Some(78));
    assert!(missing.stderr.contains("/nonexistent/ringway.toml"));
}

#[test]
fn a_port_in_use_is_exit_code_1_and_one_line() {
    for driver in ["io_uring", "epoll"] {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let args = [&ORIGIN[..], &["--port", &port, "--cores", "1", "--driver", driver]].concat();
        let run = run(&args, &[]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert!(
            run.line().contains(&port) && run.line().contains("in use") && run.line().contains("--port"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_port_that_another_proxy_listens_on_is_in_use() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let first = Proxy::to(driver, &origin);
        let port = first.address().port().to_string();
        let second =
            run(&[&ORIGIN[..], &["--port", &port, "--cores", "1", "--driver", driver.0]].concat(), &[]);
        assert_eq!(second.code, Some(1), "{}", second.stderr);
        assert!(second.line().contains("in use"));
        assert_eq!(first.get("/").text(), "/ ");
    });
}

#[test]
fn an_address_that_is_not_ours_is_exit_code_1_and_one_line() {
    let run = run(&[&ORIGIN[..], &["--host", "192.0.2.1", "--port", "0", "--cores", "1"]].concat(), &[]);
    assert_eq!(run.code, Some(1));
    assert!(run.line().contains("192.0.2.1") && run.line().contains("--host"), "{}", run.stderr);
}

#[test]
fn the_start_says_what_runs_where() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Setup::new(driver).args(&["--origin", "http://127.0.0.1:9"]).origin(&origin).start();
        // The line with the origins is the last one.
        crate::support::eventually("the start is told", || proxy.stderr().contains("origins"));
        let said = proxy.stderr();
        for part in [&proxy.address().to_string(), driver.0, "cores 0", "http://127.0.0.1:9,", &origin.url()]
        {
            assert!(said.contains(part), "{part} is missing: {said}");
        }
    });
}

/// Which of the sources an option came from, by the name in Via.
fn via(setup: Setup) -> String {
    setup.start().get("/").field("Via").unwrap().to_owned()
}

#[test]
fn a_flag_beats_a_variable_which_beats_the_file_which_beats_the_default() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let file = File::new("via = 'file'\n");
        let setup = || Setup::new(driver).origin(&origin);
        let with_file = || setup().args(&["--config", file.path()]);
        assert_eq!(via(setup()), "1.1 ringway");
        assert_eq!(via(with_file()), "1.1 file");
        assert_eq!(via(setup().variable("RINGWAY_CONFIG", file.path())), "1.1 file");
        assert_eq!(via(with_file().variable("RINGWAY_VIA", "variable")), "1.1 variable");
        assert_eq!(via(with_file().variable("RINGWAY_VIA", "variable").args(&["--via", "flag"])), "1.1 flag");
    });
}

#[test]
fn everything_may_be_said_by_variables_or_by_a_file_alone() {
    on_each_driver(|driver: Driver| {
        let origin = Origin::echo();
        let file = File::new(&format!(
            "origin = ['{}']\ntrusted-proxy = ['127.0.0.0/8']\ntrace = true\nupstream-host = true\n",
            origin.url()
        ));
        let by_file = Setup::new(driver).args(&["--config", file.path()]);
        let by_variables = Setup::new(driver)
            .variable("RINGWAY_ORIGIN", &origin.url())
            .variable("RINGWAY_TRUSTED_PROXY", "10.0.0.0/8,127.0.0.0/8")
            .variable("RINGWAY_TRACE", "true")
            .variable("RINGWAY_UPSTREAM_HOST", "true");
        for setup in [by_file, by_variables] {
            let proxy = setup.start();
            let before = origin.requests().len();
            assert_eq!(
                proxy.ask("TRACE / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n").status(),
                200
            );
            let request = origin.requests().remove(before);
            assert_eq!(request.field("X-Forwarded-For"), Some("192.0.2.7, 127.0.0.1"));
            assert_eq!(request.field("Host"), Some(origin.address().to_string().as_str()));
        }
    });
}

#[test]
fn several_origins_may_be_said_in_every_way() {
    on_each_driver(|driver| {
        let origins = [Origin::echo(), Origin::echo()];
        let [one, two] = origins.each_ref().map(Origin::url);
        let file = File::new(&format!("origin = ['{one}', '{two}']\n"));
        for (place, setup) in [
            Setup::new(driver).args(&["--origin", &one, "--origin", &two]),
            Setup::new(driver).args(&["--origin", &format!("{one},{two}")]),
            Setup::new(driver).variable("RINGWAY_ORIGIN", &format!("{one},{two}")),
            Setup::new(driver).args(&["--config", file.path()]),
        ]
        .into_iter()
        .enumerate()
        {
            let proxy = setup.start();
            for _ in 0..4 {
                proxy.ask(get_with("/", "Connection: close\r\n"));
            }
            let counts = origins.each_ref().map(|origin| origin.requests().len());
            assert_eq!(counts, [2 * (place + 1); 2]);
        }
    });
}

#[test]
fn the_demo_needs_nothing_else() {
    on_each_driver(|driver| {
        let mut proxy = Setup::demo(driver).start();
        let mut seen: Vec<String> = (0..4).map(|_| proxy.get("/").text()).collect();
        seen.sort();
        assert!(seen[0].contains("blue") && seen[3].contains("green"), "{seen:?}");
        assert_eq!(proxy.get("/bytes/100000").body().len(), 100_000);
        for outcome in ["MISS", "HIT"] {
            assert_eq!(proxy.get("/cached").x_cache(), outcome);
        }
        let mut client = proxy.client();
        client.send(crate::support::get("/truncated"));
        client.broken_response();
        proxy.logged(&["/bytes/100000", " 200 "]);
        assert!(proxy.stderr().contains("curl"));
        proxy.signal(Signal::INT);
        assert_eq!(proxy.wait(crate::support::PATIENCE).code(), Some(0));
    });
}

#[test]
fn the_proxy_listens_and_connects_over_ipv6() {
    on_each_driver(|driver| {
        let Ok(listener) = TcpListener::bind(("::1", 0)) else {
            println!("left out: there is no IPv6");
            return;
        };
        let origin = Origin::start_on(listener, |peer| {
            while let Some(request) = peer.request() {
                peer.send(ok(request.field("X-Forwarded-For").unwrap()));
            }
        });
        let proxy = Setup::new(driver).host("::1").origin(&origin).start();
        assert!(proxy.address().is_ipv6());
        assert_eq!(proxy.get("/").text(), "::1");
    });
}

#[test]
fn the_driver_may_be_left_to_the_proxy() {
    let origin = Origin::echo();
    let proxy = Setup::new(Driver("auto")).origin(&origin).start();
    assert_eq!(proxy.get("/").text(), "/ ");
}
