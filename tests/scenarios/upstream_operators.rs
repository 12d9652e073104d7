//! `ringway upstream`: what it lists, and endpoints that are drained and restored while the proxy runs.

use std::thread;

use serde_json::Value;

use crate::support::dns::Dns;
use crate::support::endpoints::{
    Endpoint, Load, RESET, app, ask_admin, file, list, same_port, standing, start, told, until, who,
};
use crate::support::live::Live;
use crate::support::proxy::{Run, run};
use crate::support::{Proxy, Setup, eventually, get, on_each_driver};

/// `ringway upstream` with these arguments, which has to succeed.
#[track_caller]
fn upstream(proxy: &Proxy, args: &[&str]) -> String {
    let run = proxy.order(&[&["upstream"], args].concat());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{args:?}: {}", run.stdout);
    run.stdout
}

/// The same, which has to fail in one line with these parts.
#[track_caller]
fn assert_fails(run: &Run, code: i32, parts: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{}", run.stderr);
    let line = run.line();
    assert!(line.starts_with("ringway: "), "{line}");
    parts.iter().for_each(|part| assert!(line.contains(part), "{part:?} in {line}"));
}

/// An endpoint of each, in one upstream.
fn two() -> [Endpoint; 2] {
    ["one", "two"].map(Endpoint::start)
}

#[test]
fn the_list_has_all_upstreams_and_endpoints_and_programs_can_read_it() {
    on_each_driver(|driver| {
        let [one, two] = two();
        let text = format!(
            "[upstream.app]\nendpoints = ['{}', {{ address = '{}', weight = 3, backup = true }}]\nbreaker = true\n\
             [upstream.other]\nendpoints = 'localhost:{}'\nbalance = 'least-connections'\n\
             [upstream.lost]\nendpoints = 'nowhere.invalid:1'\n\
             [[route]]\nupstream = 'app'\n[[route]]\npath = '/other'\nupstream = 'other'\n\
             [[route]]\npath = '/lost'\nupstream = 'lost'\n",
            one.at(),
            two.at(),
            one.origin.address().port()
        );
        let proxy = start(driver, &text);
        assert_eq!(who(&proxy, 16), ["one"]);
        assert_eq!(proxy.get("/other").text(), "one");
        let said = upstream(&proxy, &["list"]);
        for part in [
            "app: round-robin, circuit breaker closed\n",
            "other: least-connections\n",
            "lost: round-robin, some names have no address yet\n  no endpoints\n",
            "ENDPOINT",
            &one.at(),
            &format!("(localhost:{})", one.origin.address().port()),
            "up, backup",
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
        let json: Value = serde_json::from_str(&upstream(&proxy, &["list", "--json"])).unwrap();
        let names: Vec<&str> =
            json["upstreams"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["app", "other", "lost"], "in the order of the file");
        let first = &json["upstreams"][0]["endpoints"][0];
        assert_eq!((&first["address"], &first["standing"]), (&one.at().into(), &"up".into()));
        assert_eq!(first["requests"], told(&proxy, &one.at())["requests"]);
        assert!(first["requests"].as_u64().unwrap() >= 16 && first["failures"] == 0, "{first}");
        let second = &json["upstreams"][0]["endpoints"][1];
        assert_eq!((&second["weight"], &second["backup"]), (&3.into(), &true.into()));
        let only = upstream(&proxy, &["list", "other"]);
        assert!(only.starts_with("other: ") && !only.contains("app:"), "{only}");
        let only: Value = serde_json::from_str(&upstream(&proxy, &["list", "--json", "lost"])).unwrap();
        assert_eq!(only["upstreams"].as_array().unwrap().len(), 1);
        assert_eq!(only["upstreams"][0]["unresolved"], true);
        assert_fails(&proxy.order(&["upstream", "list", "ap"]), 1, &["there is no upstream ap", "app"]);
    });
}

#[test]
fn a_drained_endpoint_gets_nothing_new_and_what_is_in_flight_ends() {
    on_each_driver(|driver| {
        let [one, two] = two();
        let proxy = start(driver, &file(&list(&[&one, &two]), ""));
        assert_eq!(who(&proxy, 32), ["one", "two"]);
        let mut held: Vec<_> = (0..8).map(|_| proxy.client()).collect();
        held.iter_mut().for_each(|client| client.send(get("/held")));
        let at = |endpoint: &Endpoint| {
            endpoint.origin.requests().iter().filter(|request| request.target() == "/held").count()
        };
        eventually("all are in flight", || at(&one) + at(&two) == 8 && at(&one) > 0);
        let (in_flight, before) = (at(&one), one.served());
        let said = upstream(&proxy, &["drain", &one.at()]);
        let requests = if in_flight == 1 { "request is" } else { "requests are" };
        let line =
            format!("ringway: {} of app is draining; {in_flight} {requests} in flight there\n", one.at());
        assert_eq!(said, line);
        // From now on, on every worker.
        assert_eq!(who(&proxy, 64), ["two"]);
        assert_eq!(one.served(), before);
        assert_eq!(told(&proxy, &one.at())["in_flight"], in_flight);
        assert_eq!(standing(&proxy, &one.at()), "draining");
        eventually("only what is in flight is open", || one.origin.open() == in_flight);
        let again = upstream(&proxy, &["drain", &one.at()]);
        assert!(again.contains("was draining already"), "{again}");
        let late = proxy.order(&["upstream", "drain", &one.at(), "--wait", "300ms"]);
        assert_eq!(late.code, Some(1), "{}", late.stdout);
        assert!(late.line().contains(&format!("after 300ms: {in_flight} ")), "{}", late.stderr);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| proxy.order(&["upstream", "drain", &one.at(), "--wait", "15s"]));
            one.gate.open();
            two.gate.open();
            let run = waiting.join().unwrap();
            assert_eq!(run.code, Some(0), "{}", run.stderr);
            assert!(
                run.stdout.ends_with("ringway: no request is in flight there any more\n"),
                "{}",
                run.stdout
            );
        });
        assert!(held.iter_mut().all(|client| client.response().status() == 200));
        eventually("all connections to it are closed", || one.origin.open() == 0);
        assert_eq!(one.served(), before);
        let stderr = proxy.stderr();
        let line = format!("upstream app: {} is drained by command", one.at());
        assert_eq!(stderr.matches(&line).count(), 1, "{stderr}");
        let said = upstream(&proxy, &["restore", &one.at()]);
        assert_eq!(said, format!("ringway: {} of app is restored\n", one.at()));
        assert_eq!(who(&proxy, 32), ["one", "two"]);
        let said = upstream(&proxy, &["restore", &one.at()]);
        assert!(said.contains("was not drained"), "{said}");
        assert!(proxy.stderr().contains(&format!("{} is restored by command", one.at())));
    });
}

#[test]
fn draining_and_restoring_under_load_fails_no_request() {
    on_each_driver(|driver| {
        let all = ["one", "two", "three"].map(Endpoint::start);
        let proxy = start(driver, &file(&list(&all.each_ref()), "retries = 0"));
        let load = Load::start(&proxy, 3);
        load.more(60);
        for endpoint in all.iter().chain(&all) {
            let said = upstream(&proxy, &["drain", &endpoint.at(), "--wait", "15s"]);
            assert!(said.ends_with("in flight there any more\n"), "{said}");
            let before = endpoint.served();
            load.more(60);
            assert_eq!(
                endpoint.served(),
                before,
                "it gets nothing, from the moment that the command is over"
            );
            eventually("all connections to it are closed", || endpoint.origin.open() == 0);
            upstream(&proxy, &["restore", &endpoint.at()]);
            eventually("it gets requests", || endpoint.served() > before);
        }
        load.end();
    });
}

#[test]
fn a_drain_outlives_reloads_probes_and_failures() {
    on_each_driver(|driver| {
        let [one, two] = two();
        let text = |lines: &str| file(&list(&[&one, &two]), lines);
        let probe = "probe = { path = '/healthz', interval = '500ms', timeout = '450ms', fall = 2 }";
        let proxy = start(driver, &text(probe));
        eventually("it has passed", || told(&proxy, &one.at())["probe"]["passed"] == true);
        upstream(&proxy, &["drain", &one.at()]);
        let drained = |proxy: &Live| {
            assert_eq!(standing(proxy, &one.at()), "draining");
            assert_eq!(who(proxy, 16), ["two"]);
        };
        drained(&proxy);
        proxy.apply(&text("first-byte-timeout = '10s'"));
        drained(&proxy);
        proxy.apply(&text(&format!("balance = 'least-connections'\n{probe}")));
        drained(&proxy);
        proxy.apply(&file(&format!("['{}', {{ address = '{}', weight = 5 }}]", two.at(), one.at()), probe));
        drained(&proxy);
        // It is probed all the same, and says how it is when it is restored.
        one.probed.set(503);
        eventually("it fails", || told(&proxy, &one.at())["probe"]["passed"] == false);
        std::thread::sleep(crate::support::ms(1200));
        drained(&proxy);
        upstream(&proxy, &["restore", &one.at()]);
        until(&proxy, &one.at(), "down");
        assert_eq!(who(&proxy, 16), ["two"]);
        one.probed.set(200);
        until(&proxy, &one.at(), "up");
        assert_eq!(who(&proxy, 48), ["one", "two"]);
    });
}

#[test]
fn when_all_are_drained_requests_are_refused_whatever_the_policy() {
    on_each_driver(|driver| {
        for lines in
            ["when-down = 'try'", "when-down = 'fail'", "balance = 'consistent-hash'", "sticky = true"]
        {
            let [one, two] = two();
            let proxy = start(driver, &file(&list(&[&one, &two]), lines));
            assert_eq!(proxy.get("/").status(), 200);
            let before = one.served() + two.served();
            upstream(&proxy, &["drain", &one.at()]);
            upstream(&proxy, &["drain", &two.at()]);
            let response = proxy.get("/refused");
            assert_eq!(response.status(), 503, "{lines}");
            assert_eq!(response.field("Proxy-Status"), Some("ringway; error=destination_unavailable"));
            proxy.logged(&["/refused ", "upstream_down"]);
            assert_eq!(who(&proxy, 16), ["503"], "{lines}");
            assert_eq!(one.served() + two.served(), before);
            upstream(&proxy, &["restore", &two.at()]);
            assert_eq!(who(&proxy, 16), ["two"], "{lines}");
        }
    });
}

#[test]
fn an_endpoint_that_is_not_there_is_named_and_others_are_proposed() {
    on_each_driver(|driver| {
        let [one, two] = two();
        let text = file(&list(&[&one, &two]), "")
            + &format!(
                "[upstream.api]\nendpoints = '{}'\n[[route]]\npath = '/api'\nupstream = 'api'\n",
                one.at()
            );
        let proxy = start(driver, &text);
        for order in ["drain", "restore"] {
            let fails = |args: &[&str], code: i32, parts: &[&str]| {
                assert_fails(&proxy.order(&[&["upstream", order], args].concat()), code, parts);
            };
            fails(&["127.0.0.1:1"], 1, &["there is no endpoint 127.0.0.1:1", &one.at()]);
            fails(
                &[&two.at(), "--upstream", "api"],
                1,
                &["there is no endpoint", "in the upstream api", &one.at()],
            );
            fails(&[&one.at(), "--upstream", "ap"], 1, &["there is no upstream ap", "app", "api"]);
            fails(&[&one.at()], 1, &["is in several upstreams", "app, api"]);
            fails(&["\u{1b}[2J\n"], 1, &["there is no endpoint"]);
            fails(&[""], 1, &["there is no endpoint"]);
            let nobody = run(&["upstream", order, "a:1", "--admin", "unix:/nonexistent/x.sock"], &[]);
            assert_fails(&nobody, 1, &["no proxy answers"]);
        }
        assert_eq!(who(&proxy, 32), ["one", "two"], "nothing has changed");
        // Drained in one, it serves the other.
        upstream(&proxy, &["drain", &one.at(), "--upstream", "app"]);
        assert_eq!(who(&proxy, 32), ["two"]);
        assert_eq!(proxy.get("/api").text(), "one");
        let usage = run(&["upstream", "drain"], &[]);
        assert_eq!(usage.code, Some(2), "{}", usage.stderr);
        let usage = run(&["upstream", "drain", "a:1", "--wait", "soon"], &[]);
        assert_eq!(usage.code, Some(2), "{}", usage.stderr);
        let usage = run(&["upstream", "drian", "a:1"], &[]);
        assert_eq!(usage.code, Some(2), "{}", usage.stderr);
    });
}

#[test]
fn a_configured_name_means_all_that_it_stands_for() {
    on_each_driver(|driver| {
        let (port, [first, second, third]) = same_port(["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
        let one = Endpoint::start_on(first, "one");
        let two = Endpoint::start_on(second, "two");
        let three = Endpoint::start_on(third, "three");
        let dns = Dns::start();
        dns.addresses("app.test", 3600, &["127.0.0.2", "127.0.0.3"]);
        let endpoints = format!("['app.test:{port}', '{}']", three.at());
        let text = format!("resolver = ['{}']\n{}", dns.address(), file(&endpoints, ""));
        let proxy = start(driver, &text);
        assert_eq!(who(&proxy, 48), ["one", "three", "two"]);
        let said = upstream(&proxy, &["drain", &format!("app.test:{port}"), "--wait", "15s"]);
        for endpoint in [&one, &two] {
            assert!(said.contains(&format!("{} of app is draining", endpoint.at())), "{said}");
            assert_eq!(standing(&proxy, &endpoint.at()), "draining");
        }
        assert_eq!(who(&proxy, 48), ["three"]);
        upstream(&proxy, &["restore", &one.at()]);
        assert_eq!(who(&proxy, 48), ["one", "three"]);
        let said = upstream(&proxy, &["restore", &format!("app.test:{port}"), "--upstream", "app"]);
        assert!(said.contains("was not drained") && said.contains("is restored"), "{said}");
        assert_eq!(who(&proxy, 48), ["one", "three", "two"]);
        // So does the name of services; and the target of one of these is that one.
        dns.addresses("left.test", 3600, &["127.0.0.4"]);
        dns.services("_http._tcp.app.test", 3600, &[(0, 1, port, "left.test"), (0, 1, port, "app.test")]);
        let services = format!("resolver = ['{}']\n{}", dns.address(), file("'srv:_http._tcp.app.test'", ""));
        let proxy = start(driver, &services);
        eventually("they are found", || proxy.get("/").status() == 200);
        upstream(&proxy, &["drain", &format!("left.test:{port}")]);
        assert_eq!(who(&proxy, 32), ["one", "two"]);
        upstream(&proxy, &["drain", "srv:_http._tcp.app.test"]);
        assert_eq!(who(&proxy, 16), ["503"]);
        upstream(&proxy, &["restore", "srv:_http._tcp.app.test"]);
        assert_eq!(who(&proxy, 48), ["one", "three", "two"]);
    });
}

#[test]
fn what_is_explained_says_how_endpoints_stand() {
    on_each_driver(|driver| {
        let all = ["bad", "drained", "down", "well"].map(Endpoint::start);
        let [bad, drained, down, well] = &all;
        bad.serves.set(RESET);
        down.probed.set(503);
        let lines = "eject = { failures = 2, time = '1h' }\nretry-budget = '1000%'\n\
                     probe = { path = '/healthz', interval = '500ms', timeout = '450ms' }";
        let proxy = start(driver, &file(&list(&all.each_ref()), lines));
        until(&proxy, &down.at(), "down");
        upstream(&proxy, &["drain", &drained.at()]);
        let mut client = proxy.client();
        eventually("it is ejected", || {
            client.ask(get("/"));
            standing(&proxy, &bad.at()) == "ejected"
        });
        let run = proxy.order(&["explain", "--live", "--format", "json", "http://example.com/"]);
        let said: Value = serde_json::from_str(&run.stdout).unwrap();
        let state = |place: usize| said["upstreams"][0]["endpoints"][place]["state"]["standing"].clone();
        assert_eq!(state(0), serde_json::json!(["ejected"]), "{said:#}");
        assert_eq!(state(1), serde_json::json!(["draining"]), "{said:#}");
        assert_eq!(state(2), serde_json::json!(["down"]), "{said:#}");
        assert_eq!(state(3), serde_json::json!([]), "{said:#}");
        let text = proxy.order(&["explain", "--live", "http://example.com/"]).stdout;
        for (endpoint, how) in [(bad, "ejected"), (drained, "draining"), (down, "down")] {
            let line = text.lines().find(|line| line.contains(&endpoint.at())).unwrap();
            assert!(line.contains(how), "{line}");
        }
        let line = text.lines().find(|line| line.contains(&well.at())).unwrap();
        assert!(["ejected", "draining", "down"].iter().all(|how| !line.contains(how)), "{line}");
    });
}

#[test]
fn what_origin_makes_is_an_upstream_like_any_other() {
    on_each_driver(|driver| {
        let [one, two] = two();
        let args = ["--origin", &one.origin.url(), "--origin", &two.origin.url(), "--no-cache"];
        let proxy = Setup::new(driver).cores(2).admin().args(&args).start();
        assert_eq!(who(&proxy, 16), ["one", "two"]);
        upstream(&proxy, &["drain", &one.origin.url()]);
        assert_eq!(who(&proxy, 32), ["two"]);
        let said = upstream(&proxy, &["list", "default"]);
        assert!(said.contains("draining"), "{said}");
        assert_eq!(ask_admin(&proxy, "/upstreams")["upstreams"][0]["endpoints"][0]["drained"], true);
    });
}

#[test]
fn orders_that_nobody_understands_change_nothing() {
    on_each_driver(|driver| {
        use std::io::{Read, Write};
        let [one, two] = two();
        let proxy = start(driver, &file(&list(&[&one, &two]), ""));
        let say = |request: String| {
            let path = proxy.admin().strip_prefix("unix:").unwrap();
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
            let _ = stream.write_all(request.as_bytes());
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        let post = |path: &str, content: &str| {
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len())
        };
        let long = format!(r#"{{"endpoint":"{}"}}"#, "a".repeat(60_000));
        for (content, status) in [
            ("", 400),
            ("[]", 400),
            ("{}", 400),
            (r#"{"endpoint":7}"#, 400),
            (r#"{"endpoint":"127.0.0.1:1","all":true}"#, 400),
            (r#"{"endpoint":"127.0.0.1:1"}"#, 404),
            (r#"{"endpoint":""}"#, 404),
            (&long, 404),
            (r#"{"endpoint":"*"}"#, 404),
        ] {
            for path in ["/upstreams/drain", "/upstreams/restore"] {
                let answer = say(post(path, content));
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{content}: {answer}");
                assert!(answer.contains("{\"error\":"), "{answer}");
            }
        }
        for (request, status) in [
            (get("/upstreams/drain"), 405),
            (post("/upstreams", "{}"), 405),
            (get("/upstreams/"), 404),
            ("POST /upstreams/drain HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\nContent-Length: 2\r\n\r\n{}".to_owned(), 403),
        ] {
            let answer = say(request.clone());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
        assert_eq!(who(&proxy, 32), ["one", "two"]);
        let endpoints = app(&proxy)["endpoints"].clone();
        assert!((0..2).all(|place| endpoints[place]["drained"] == false), "{endpoints}");
    });
}
