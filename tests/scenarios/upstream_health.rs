//! Active health checks: what is asked, how often, what becomes of endpoints that do not pass, and what is said of it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::support::cache::{answer, page};
use crate::support::endpoints::{
    CLOSE, Endpoint, HALF, HANG, HEALTH, RESET, WELL, answers, ask_admin, counted, file, list, same_port,
    standing, start, told, until, who,
};
use crate::support::proxy::refusing_port;
use crate::support::{Origin, Proxy, eventually, get, ms, ok, on_each_driver, place};

/// A probe that comes often, and that even a busy machine answers in time.
const PROBE: &str =
    "probe = { path = '/healthz', interval = '800ms', timeout = '790ms', rise = 2, fall = 2 }";

/// Waits until probes of all these have passed.
fn until_proven(proxy: &Proxy, endpoints: &[&Endpoint]) {
    for endpoint in endpoints {
        eventually("it has passed", || told(proxy, &endpoint.at())["probe"]["passed"] == true);
        until(proxy, &endpoint.at(), "up");
    }
}

#[test]
fn an_endpoint_whose_probes_fail_gets_no_requests_until_they_pass_again() {
    on_each_driver(|driver| {
        let (one, two) = (Endpoint::start("one"), Endpoint::start("two"));
        let proxy = start(driver, &file(&list(&[&one, &two]), PROBE));
        until_proven(&proxy, &[&one, &two]);
        assert_eq!(who(&proxy, 16), ["one", "two"]);
        let ways = [
            (503, "status 503"),
            (RESET, "connection reset"),
            (CLOSE, "connection closed without an answer"),
            (HANG, "no answer within 790ms"),
            (HALF, ""),
        ];
        for (count, (way, why)) in ways.into_iter().enumerate() {
            one.probed.set(way);
            until(&proxy, &one.at(), "down");
            let before = one.served();
            assert_eq!(who(&proxy, 32), ["two"], "{why}");
            assert_eq!(one.served(), before, "{why}");
            let said = told(&proxy, &one.at());
            assert!(said["why"].as_str().unwrap().contains(why), "{said}");
            assert_eq!(said["probe"]["passed"], false);
            // However often they fail, that is told once.
            let probes = one.probes().len();
            eventually("it is asked again", || one.probes().len() >= probes + 3);
            one.probed.set(WELL);
            until(&proxy, &one.at(), "up");
            assert_eq!(who(&proxy, 16), ["one", "two"]);
            eventually("it is told", || proxy.stderr().matches(" is up again after ").count() == count + 1);
            let stderr = proxy.stderr();
            let line = format!("upstream app: {} is down: 2 probes failed, the last with {why}", one.at());
            assert!(stderr.contains(&line), "{line}: {stderr}");
            assert_eq!(stderr.matches(&format!("{} is down", one.at())).count(), count + 1, "{stderr}");
        }
        assert_eq!(counted(&proxy, "recoveries"), 5);
        assert!(!proxy.stderr().contains("none of its endpoints is up"));
    });
}

#[test]
fn requests_that_were_in_flight_when_an_endpoint_went_down_come_to_their_end() {
    on_each_driver(|driver| {
        let (one, two) = (Endpoint::start("one"), Endpoint::start("two"));
        let proxy = start(driver, &file(&list(&[&one, &two]), PROBE));
        until_proven(&proxy, &[&one, &two]);
        let mut clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
        clients.iter_mut().for_each(|client| client.send(get("/held")));
        eventually("all are in flight", || one.served() + two.served() == 4 && one.served() > 0);
        one.probed.set(500);
        until(&proxy, &one.at(), "down");
        one.gate.open();
        two.gate.open();
        assert!(clients.iter_mut().all(|client| client.response().status() == 200));
        assert_eq!(who(&proxy, 8), ["two"]);
    });
}

/// A server of which some targets are well, and many are not.
fn odd_server() -> Origin {
    Origin::start(|peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/ok" => peer.send(page("X-Ready: yes, indeed\r\n", "all is fine here")),
                "/teapot" => peer.send(answer("418 Teapot", "", "")),
                "/moved" => peer.send(answer("302 Found", "Location: /elsewhere\r\n", "")),
                "/interim" => peer.send([&b"HTTP/1.1 103 Early Hints\r\n\r\n"[..], &ok("ok")].concat()),
                "/late" => {
                    let text = ["x".repeat(70 << 10), "end".to_owned()].concat();
                    peer.send(ok(text));
                }
                "/endless" => {
                    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    while peer.try_send(format!("1000\r\n{}\r\n", "x".repeat(0x1000))) {}
                    return;
                }
                "/drip" => {
                    peer.send("HTTP/1.1 200 OK\r\n");
                    while peer.try_send("X-More: of it\r\n") {
                        peer.sleep(ms(50));
                    }
                    return;
                }
                "/flood" => {
                    let line = format!("X-Much: {}\r\n", "y".repeat(1000));
                    peer.send("HTTP/1.1 200 OK\r\n");
                    while peer.try_send(&line) {}
                    return;
                }
                "/garbage" => {
                    peer.send("220 mail.example ESMTP\r\n");
                    return;
                }
                "/silent" => {
                    peer.hang();
                    return;
                }
                other => peer.send(answer("404 Not Found", "", other)),
            }
        }
    })
}

#[test]
fn a_table_of_what_a_probe_wants_to_hear() {
    on_each_driver(|driver| {
        let origin = odd_server();
        let elsewhere = odd_server();
        let (refusing, _held) = refusing_port();
        let (dead, other) = (refusing.port(), elsewhere.address().port());
        let table = [
            ("path = '/ok'".to_owned(), "up"),
            ("path = '/ok', status = 204".to_owned(), "down"),
            ("path = '/teapot'".to_owned(), "down"),
            ("path = '/teapot', status = 418".to_owned(), "up"),
            ("path = '/teapot', status = ['200-417', '419-599']".to_owned(), "down"),
            ("path = '/moved'".to_owned(), "up"),
            ("path = '/moved', status = '200-299'".to_owned(), "down"),
            ("path = '/interim', body = 'ok'".to_owned(), "up"),
            ("path = '/ok', body = 'all is fine'".to_owned(), "up"),
            ("path = '/ok', body = 'all is finer'".to_owned(), "down"),
            ("path = '/late', body = 'end'".to_owned(), "down"),
            ("path = '/ok', header = { X-Ready = 'yes' }".to_owned(), "up"),
            ("path = '/ok', header = { x-ready = '' }".to_owned(), "up"),
            ("path = '/ok', header = { X-Ready = 'no' }".to_owned(), "down"),
            ("path = '/ok', header = { X-Other = '' }".to_owned(), "down"),
            ("path = '/endless'".to_owned(), "up"),
            ("path = '/endless', body = 'y'".to_owned(), "down"),
            ("path = '/drip'".to_owned(), "down"),
            ("path = '/flood'".to_owned(), "down"),
            ("path = '/garbage'".to_owned(), "down"),
            ("path = '/silent'".to_owned(), "down"),
            ("path = '/nowhere?a=b'".to_owned(), "down"),
            ("path = '/ok?a=b', status = 404, body = '/ok?a=b'".to_owned(), "up"),
            ("path = '/nowhere', host = 'probe.example:81'".to_owned(), "down"),
            ("tcp = true".to_owned(), "up"),
            (format!("tcp = true, port = {dead}"), "down"),
            (format!("path = '/ok', port = {dead}"), "down"),
            (format!("path = '/ok', port = {other}"), "up"),
            (format!("path = '/nowhere', address = 'localhost', port = {other}"), "down"),
            (format!("path = '/ok', address = '127.0.0.1', port = {other}"), "up"),
        ];
        let mut text = String::new();
        for (place, (probe, _)) in table.iter().enumerate() {
            text.push_str(&format!(
                "[upstream.u{place}]\nendpoints = '{}'\nprobe = {{ {probe}, interval = '2s', timeout = '1500ms' }}\n\
                 [[route]]\npath = '/{place}'\nupstream = 'u{place}'\n",
                origin.endpoint()
            ));
        }
        let proxy = start(driver, &text);
        let upstreams = || -> HashMap<String, Value> {
            let said = ask_admin(&proxy, "/upstreams");
            let upstreams = said["upstreams"].as_array().unwrap().iter();
            let part = |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["endpoints"][0].clone());
            upstreams.map(part).collect()
        };
        eventually("all were asked", || upstreams().values().all(|endpoint| !endpoint["probe"].is_null()));
        let said = upstreams();
        for (place, (probe, how)) in table.iter().enumerate() {
            let endpoint = &said[&format!("u{place}")];
            assert_eq!(endpoint["standing"], *how, "{probe}: {endpoint}");
            assert_eq!(endpoint["probe"]["passed"], *how == "up", "{probe}: {endpoint}");
            assert_eq!(endpoint["why"].is_null(), *how == "up", "{probe}: {endpoint}");
        }
        let hosts = |origin: &Origin, target: &str| -> Vec<String> {
            let asked = origin.requests().into_iter().filter(|request| request.target() == target);
            asked.map(|request| request.field("Host").unwrap().to_owned()).collect()
        };
        assert!(hosts(&origin, "/nowhere").iter().all(|host| host == "probe.example:81"));
        assert!(hosts(&origin, "/ok").iter().all(|host| *host == origin.endpoint()));
        assert!(hosts(&origin, "/elsewhere").is_empty(), "redirections are not followed");
        assert!(!elsewhere.requests().is_empty() && !hosts(&elsewhere, "/nowhere").is_empty());
        let agents = origin.requests();
        assert!(agents.iter().all(|request| request.field("User-Agent") == Some("ringway-probe")));
        // Those that are down are asked all the same, for nobody else is there.
        let own = |place: usize| proxy.get(&format!("/{place}")).status();
        assert_eq!((own(0), own(10)), (404, 404));
    });
}

#[test]
fn probes_come_once_for_the_process_and_not_once_for_each_worker() {
    on_each_driver(|driver| {
        let one = Endpoint::start("one");
        let lines = "probe = { path = '/healthz', interval = '250ms', timeout = '240ms', jitter = '0%' }";
        let started = Instant::now();
        let proxy = start(driver, &file(&list(&[&one]), lines));
        eventually("many have come", || one.probes().len() >= 16);
        // There is never less than an interval between two, but for the first and the second.
        let (count, intervals) = (one.probes().len(), started.elapsed().as_millis() / 250);
        assert!(count as u128 <= intervals + 3, "{count} probes in {intervals} intervals");
        assert_eq!(one.served(), 0);
        eventually("they are counted", || counted(&proxy, "probes_passed") >= 16);
        let probe = one.probes().remove(0);
        assert_eq!(probe.field("Host"), Some(one.at().as_str()));
        assert!(probe.head.first.ends_with(" HTTP/1.1"), "{probe:?}");
        // Nor do they use what requests use.
        assert_eq!(proxy.get("/").text(), "one");
        let own = one.origin.requests().iter().find(|request| request.target() == "/").unwrap().connection;
        assert!(one.probes().iter().all(|probe| probe.connection != own));
    });
}

#[test]
fn probes_that_hang_hold_up_no_other() {
    on_each_driver(|driver| {
        const HANGING: u8 = 40;
        let (port, [any, own]) = same_port(["127.0.1.1", "127.0.0.1"]);
        drop(any);
        let good = Endpoint::start_on(own, "good");
        let deaf: Vec<TcpListener> = (1..=HANGING)
            .map(|host| TcpListener::bind((Ipv4Addr::new(127, 0, 1, host), port)).unwrap())
            .collect();
        let mut all: Vec<String> = deaf.iter().map(|one| one.local_addr().unwrap().to_string()).collect();
        all.push(good.at());
        let lines =
            "when-down = 'fail'\nprobe = { path = '/healthz', interval = '1s', timeout = '900ms', fall = 2 }";
        let proxy = start(driver, &file(&format!("{all:?}"), lines));
        for address in &all[..all.len() - 1] {
            until(&proxy, address, "down");
        }
        until_proven(&proxy, &[&good]);
        assert_eq!(who(&proxy, 8), ["good"]);
        good.probed.set(503);
        until(&proxy, &good.at(), "down");
        assert_eq!(who(&proxy, 8), ["503"]);
        good.probed.set(WELL);
        until(&proxy, &good.at(), "up");
        assert_eq!(who(&proxy, 8), ["good"]);
    });
}

#[test]
fn an_endpoint_that_fails_every_other_probe_stays_where_it_is() {
    on_each_driver(|driver| {
        let count = AtomicUsize::new(0);
        let flapping = Origin::replying(move |request| {
            let fails = request.target() == HEALTH && count.fetch_add(1, Ordering::SeqCst) % 2 == 1;
            if fails { answer("503 Busy", "", "") } else { ok("flapping") }
        });
        let steady = Endpoint::start("steady");
        let endpoints = format!("['{}', '{}']", flapping.endpoint(), steady.at());
        let proxy = start(driver, &file(&endpoints, &PROBE.replace("fall = 2", "fall = 3")));
        let probes = || flapping.requests().iter().filter(|request| request.target() == HEALTH).count();
        eventually("it was asked often", || probes() >= 10);
        assert_eq!(standing(&proxy, &flapping.endpoint()), "up");
        assert!(!proxy.stderr().contains("is down"), "{}", proxy.stderr());
        assert_eq!(who(&proxy, 16), ["flapping", "steady"]);
        assert!(counted(&proxy, "probes_failed") >= 4);
        assert_eq!(counted(&proxy, "recoveries"), 0);
    });
}

#[test]
fn an_endpoint_on_a_unix_socket_is_probed_there() {
    on_each_driver(|driver| {
        let (here, gone) = (place("sock"), place("sock"));
        let one = Endpoint::start_unix(&here, "one");
        let lost = format!("unix:{}", gone.display());
        let lines = format!("when-down = 'fail'\n{PROBE}");
        let proxy = start(driver, &file(&format!("['{}', '{lost}']", one.at()), &lines));
        until(&proxy, &lost, "down");
        until_proven(&proxy, &[&one]);
        assert!(told(&proxy, &lost)["why"].as_str().unwrap().contains("no such socket"));
        assert_eq!(one.probes()[0].field("Host"), Some("localhost"));
        assert_eq!(who(&proxy, 8), ["one"]);
        let two = Endpoint::start_unix(&gone, "two");
        until(&proxy, &lost, "up");
        assert_eq!(who(&proxy, 16), ["one", "two"]);
        one.probed.set(500);
        until(&proxy, &one.at(), "down");
        assert_eq!(who(&proxy, 8), ["two"]);
        drop(two);
    });
}

#[test]
fn an_endpoint_that_listens_on_one_family_alone_is_well() {
    on_each_driver(|driver| {
        let Ok(v6) = TcpListener::bind("[::1]:0") else {
            println!("left out: this machine has no IPv6");
            return;
        };
        let (six, four) = (Endpoint::start_on(v6, "six"), Endpoint::start("four"));
        let named = |endpoint: &Endpoint| format!("localhost:{}", endpoint.origin.address().port());
        for probe in ["'tcp'", "{ path = '/healthz', interval = '500ms', timeout = '450ms' }"] {
            let endpoints = format!("['{}', '{}']", named(&six), named(&four));
            let lines = format!("when-down = 'fail'\nprobe = {probe}");
            let proxy = start(driver, &file(&endpoints, &lines));
            let all = || ask_admin(&proxy, "/upstreams")["upstreams"][0]["endpoints"].clone();
            eventually("both were asked", || (0..2).all(|place| !all()[place]["probe"].is_null()));
            assert!((0..2).all(|place| all()[place]["standing"] == "up"), "{}", all());
            assert_eq!(who(&proxy, 16), ["four", "six"]);
        }
    });
}

#[test]
fn while_none_is_up_requests_are_refused_or_tried_as_the_file_says() {
    on_each_driver(|driver| {
        let all = [Endpoint::start("one"), Endpoint::start("two")];
        for policy in ["try", "fail"] {
            all.iter().for_each(|endpoint| endpoint.probed.set(503));
            let lines = format!("when-down = '{policy}'\n{PROBE}");
            let proxy = start(driver, &file(&list(&[&all[0], &all[1]]), &lines));
            all.iter().for_each(|endpoint| until(&proxy, &endpoint.at(), "down"));
            let served = || all.iter().map(Endpoint::served).sum::<usize>();
            let before = served();
            if policy == "try" {
                assert_eq!(who(&proxy, 16), ["one", "two"]);
            } else {
                let response = proxy.get("/refused");
                assert_eq!(response.status(), 503);
                let told = Some("ringway; error=destination_unavailable");
                assert_eq!(response.field("Proxy-Status"), told);
                proxy.logged(&["/refused ", "upstream_down"]);
                assert_eq!(who(&proxy, 16), ["503"]);
                assert_eq!(served(), before);
            }
            let probes = all[0].probes().len();
            eventually("they are asked again", || all[0].probes().len() >= probes + 2);
            assert_eq!(proxy.stderr().matches("upstream app: none of its endpoints is up").count(), 1);
            all[1].probed.set(WELL);
            until(&proxy, &all[1].at(), "up");
            assert_eq!(who(&proxy, 16), ["two"]);
        }
    });
}

#[test]
fn an_endpoint_that_comes_back_gets_its_share_bit_by_bit() {
    on_each_driver(|driver| {
        let (old, new) = (Endpoint::start("old"), Endpoint::start("new"));
        let proxy = start(driver, &file(&list(&[&old, &new]), &format!("slow-start = '1h'\n{PROBE}")));
        until_proven(&proxy, &[&old, &new]);
        // Those that were there from the start have all of theirs.
        let both = answers(&proxy, 80);
        assert!(both["old"] >= 30 && both["new"] >= 30, "{both:?}");
        new.probed.set(503);
        until(&proxy, &new.at(), "down");
        new.probed.set(WELL);
        until(&proxy, &new.at(), "up");
        assert_eq!(told(&proxy, &new.at())["share_percent"], 5);
        let both = answers(&proxy, 400);
        assert!((2..=80).contains(&both["new"]), "{both:?}");
        assert!(both["old"] >= 320, "{both:?}");
        let text = proxy.order(&["upstream", "list"]).stdout;
        assert!(text.contains("5% of 1"), "{text}");
    });
}

#[test]
fn what_is_listed_is_what_has_happened() {
    on_each_driver(|driver| {
        let (one, two) = (Endpoint::start("one"), Endpoint::start("two"));
        let lines = format!("retries = 0\neject = false\n{PROBE}");
        let proxy = start(driver, &file(&list(&[&one, &two]), &lines));
        until_proven(&proxy, &[&one, &two]);
        let number = |address: &str, name: &str| told(&proxy, address)[name].as_u64().unwrap();
        assert_eq!(number(&one.at(), "requests") + number(&two.at(), "requests"), 0);
        let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
        clients.iter_mut().for_each(|client| client.send(get("/held")));
        eventually("all are in flight", || one.served() + two.served() == 6);
        for endpoint in [&one, &two] {
            assert_eq!(number(&endpoint.at(), "in_flight"), endpoint.served() as u64);
            endpoint.gate.open();
        }
        assert!(clients.iter_mut().all(|client| client.response().status() == 200));
        eventually("none is in flight", || {
            number(&one.at(), "in_flight") + number(&two.at(), "in_flight") == 0
        });
        one.serves.set(HALF);
        let mut client = proxy.client();
        let failed = (0..20).filter(|_| client.ask(get("/")).status() == 502).count();
        assert!(failed > 0);
        for endpoint in [&one, &two] {
            eventually("all is counted", || number(&endpoint.at(), "requests") == endpoint.served() as u64);
        }
        assert_eq!((number(&one.at(), "failures"), number(&two.at(), "failures")), (failed as u64, 0));
        let said = told(&proxy, &one.at());
        assert_eq!((&said["standing"], &said["weight"]), (&"up".into(), &1.into()), "{said}");
        assert_eq!((&said["backup"], &said["drained"]), (&false.into(), &false.into()), "{said}");
        assert_eq!(said["from"], one.at());
    });
}

#[test]
fn probes_follow_the_configuration() {
    on_each_driver(|driver| {
        let (one, two) = (Endpoint::start("one"), Endpoint::start("two"));
        let text = |lines: &str| file(&list(&[&one, &two]), lines);
        let proxy = start(driver, &text(PROBE));
        until_proven(&proxy, &[&one, &two]);
        one.probed.set(503);
        until(&proxy, &one.at(), "down");
        // A reload that changes nothing leaves it as it is.
        proxy.apply(&text(PROBE));
        assert_eq!(standing(&proxy, &one.at()), "down");
        assert_eq!(who(&proxy, 8), ["two"]);
        // Who is not asked is well, as far as anybody knows.
        proxy.apply(&text(""));
        until(&proxy, &one.at(), "up");
        assert_eq!(who(&proxy, 16), ["one", "two"]);
        let before = one.probes().len();
        thread::sleep(ms(1500));
        assert!(one.probes().len() <= before + 1, "no probe comes any more but one that was under way");
        proxy.apply(&text(&PROBE.replace(HEALTH, "/other")));
        eventually("the other is asked", || {
            one.origin.requests().iter().filter(|request| request.target() == "/other").count() >= 2
        });
        assert_eq!(standing(&proxy, &one.at()), "up");
        proxy.apply(&text(PROBE));
        until(&proxy, &one.at(), "down");
        assert_eq!(who(&proxy, 8), ["two"]);
    });
}

#[test]
fn an_endpoint_that_wants_the_proxy_protocol_is_probed_in_it() {
    on_each_driver(|driver| {
        // Whatever does not begin with a header is not served, as servers do that are told to expect one.
        let strict = || {
            Origin::start(|peer| {
                let first = peer.exactly(6).unwrap_or_default();
                if first == b"PROXY " {
                    while peer.exactly(1).is_some_and(|byte| byte != b"\n") {}
                } else {
                    let Some(rest) = peer.exactly(10).filter(|_| first == b"\r\n\r\n\0\r") else { return };
                    peer.exactly(usize::from(rest[8]) * 256 + usize::from(rest[9]));
                }
                while let Some(request) = peer.request() {
                    peer.send(ok(request.target()));
                }
            })
        };
        let server = Endpoint::start("another server");
        let port = server.origin.address().port();
        for version in ["v1", "v2"] {
            for more in [String::new(), format!(", port = {port}")] {
                let origin = strict();
                let probe = PROBE.replace(" }", &format!("{more} }}"));
                let lines = format!("when-down = 'fail'\nproxy-protocol = '{version}'\n{probe}");
                let proxy = start(driver, &file(&format!("'{}'", origin.endpoint()), &lines));
                let probe = || told(&proxy, &origin.endpoint())["probe"].clone();
                eventually("it was asked", || !probe().is_null());
                assert_eq!(probe()["passed"], true, "{version}{more}: {}", probe());
                assert_eq!(proxy.get("/a").text(), "/a");
                assert_eq!(standing(&proxy, &origin.endpoint()), "up");
            }
        }
    });
}
