//! Names of endpoints: all of their addresses, by what name servers say, again and again, and whatever they do not say.

use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::RecordType;

use crate::support::dns::Dns;
use crate::support::endpoints::{
    Endpoint, Load, addresses, answers, app, file, same_port, start, told, until, who,
};
use crate::support::live::Live;
use crate::support::{Driver, Proxy, eventually, get, ms, on_each_driver};

/// A proxy whose upstream is found by that name server.
fn asking(driver: Driver, dns: &Dns, endpoints: &str, lines: &str) -> Live {
    start(driver, &text(dns, endpoints, lines))
}

fn text(dns: &Dns, endpoints: &str, lines: &str) -> String {
    format!("resolver = ['{}']\n{}", dns.address(), file(endpoints, lines))
}

/// Three endpoints at the same port of different addresses.
fn three() -> (u16, [Endpoint; 3]) {
    let (port, listeners) = same_port(["127.0.0.2", "127.0.0.3", "127.0.0.4"]);
    let mut names = ["two", "three", "four"].into_iter();
    (port, listeners.map(|listener| Endpoint::start_on(listener, names.next().unwrap())))
}

#[test]
fn all_addresses_of_a_name_get_requests() {
    on_each_driver(|driver| {
        let (port, [two, three, four]) = three();
        let dns = Dns::start();
        dns.addresses("app.test", 3600, &["127.0.0.4", "127.0.0.2", "127.0.0.3", "127.0.0.2"]);
        // Addresses that nothing can be at are left out, and one that is there already stays one.
        dns.addresses("b.test", 3600, &["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.2"]);
        let endpoints = format!("['app.test:{port}', 'B.test.:{port}']");
        let proxy = asking(driver, &dns, &endpoints, "upstream-host = true");
        let shares = answers(&proxy, 96);
        assert_eq!(shares.len(), 3, "{shares:?}");
        assert!(shares.values().all(|&count| count >= 16), "{shares:?}");
        let all = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|ip| format!("{ip}:{port}"));
        assert_eq!(addresses(&proxy), all);
        assert_eq!(told(&proxy, &all[1])["from"], format!("app.test:{port}"));
        let host = format!("app.test:{port}");
        for endpoint in [&two, &three, &four] {
            assert!(endpoint.origin.requests().iter().all(|request| request.field("Host") == Some(&host)));
        }
        // What holds for an hour is not asked for again and again.
        thread::sleep(ms(2500));
        assert!(dns.asked("app.test", RecordType::A) <= 2);
        assert_eq!(who(&proxy, 24), ["four", "three", "two"]);
    });
}

#[test]
fn addresses_come_and_go_under_load_and_nobody_notices() {
    on_each_driver(|driver| {
        let (port, [two, three, four]) = three();
        let dns = Dns::start();
        dns.addresses("app.test", 1, &["127.0.0.2", "127.0.0.3"]);
        let proxy = asking(driver, &dns, &format!("'app.test:{port}'"), "retries = 0");
        let load = Load::start(&proxy, 3);
        eventually("both get requests", || two.served() > 10 && three.served() > 10);
        assert_eq!(four.served(), 0);
        let mut held = proxy.client();
        let all = [&two, &three, &four];
        for round in 0..3 {
            let (gone, stays, comes) = (all[round % 3], all[(round + 1) % 3], all[(round + 2) % 3]);
            let ip = |endpoint: &Endpoint| endpoint.origin.address().ip().to_string();
            if round == 0 {
                // In flight, where it is to vanish.
                eventually("one is in flight there", || {
                    held = proxy.client();
                    held.send(get("/held"));
                    thread::sleep(ms(20));
                    let is_there = gone.origin.requests().iter().any(|request| request.target() == "/held");
                    is_there || {
                        stays.gate.open();
                        false
                    }
                });
            }
            dns.addresses("app.test", 1, &[&ip(stays), &ip(comes)]);
            let before = comes.served();
            eventually("the new one gets requests", || comes.served() > before + 10);
            let address = gone.at();
            eventually("the other is not there any more", || told(&proxy, &address).is_null());
            // Requests that had begun by then are over soon.
            load.more(60);
            let before = gone.served();
            load.more(200);
            assert_eq!(gone.served(), before, "what has vanished gets none");
            assert!(stays.served() > 20);
            if round == 0 {
                assert_eq!(gone.origin.open(), 1, "only the one in flight is open");
                gone.gate.open();
                assert_eq!(held.response().text(), "two");
            }
            eventually("all connections to it are closed", || gone.origin.open() == 0);
            let stderr = proxy.stderr();
            for line in [
                format!("upstream app: {address} has gone"),
                format!("upstream app: {} has joined", comes.at()),
            ] {
                assert_eq!(stderr.matches(&line).count(), 1, "{stderr}");
            }
        }
        load.end();
    });
}

#[test]
fn a_name_that_is_not_there_yet_stops_nothing() {
    on_each_driver(|driver| {
        let (port, [two, ..]) = three();
        let dns = Dns::start();
        let more = format!(
            "[upstream.known]\nendpoints = '{}'\n[[route]]\npath = '/known'\nupstream = 'known'\n",
            two.at()
        );
        let endpoints = format!("['app.test:{port}', 'srv:_http._tcp.app.test']");
        let proxy = start(driver, &(text(&dns, &endpoints, "") + &more));
        let response = proxy.get("/lost");
        assert_eq!(response.status(), 503);
        assert_eq!(response.field("Proxy-Status"), Some("ringway; error=dns_error"));
        proxy.logged(&["/lost ", "name_unresolved"]);
        assert_eq!(proxy.get("/known").text(), "two");
        assert_eq!((app(&proxy)["unresolved"].clone(), addresses(&proxy).len()), (true.into(), 0));
        eventually("it is told", || {
            proxy.stderr().contains(&format!("the origin app.test:{port} has no address yet"))
        });
        assert!(proxy.stderr().contains("srv:_http._tcp.app.test has no address yet"));
        eventually("it is asked again", || dns.asked("app.test", RecordType::A) >= 3);
        dns.addresses("app.test", 3600, &["127.0.0.2"]);
        eventually("it is found", || proxy.get("/").status() == 200);
        until(&proxy, &two.at(), "up");
        assert_eq!(who(&proxy, 8), ["two"]);
        assert_eq!(proxy.stderr().matches("has no address yet").count(), 2, "each was told once");
    });
}

#[test]
fn when_a_name_can_no_longer_be_looked_up_what_was_found_last_stays() {
    on_each_driver(|driver| {
        let (port, [two, three, _four]) = three();
        let dns = Dns::start();
        let names = ["gone.test", "failing.test", "silent.test", "empty.test"];
        let mut all = format!("resolver = ['{}']\n", dns.address());
        for name in names {
            dns.addresses(name, 1, &["127.0.0.2"]);
            let short = name.split('.').next().unwrap();
            all.push_str(&format!(
                "[upstream.{short}]\nendpoints = '{name}:{port}'\n[[route]]\npath = '/{name}'\nupstream = '{short}'\n"
            ));
        }
        let proxy = start(driver, &all);
        let all_work = || names.iter().all(|name| proxy.get(&format!("/{name}")).text() == "two");
        assert!(all_work());
        dns.forget("gone.test");
        for kind in [RecordType::A, RecordType::AAAA] {
            dns.fail("failing.test", kind);
            dns.ignore("silent.test", kind);
        }
        dns.addresses("empty.test", 1, &[]);
        let asked = |name: &str| dns.asked(name, RecordType::A);
        let before = names.map(asked);
        eventually("all are asked for again", || {
            assert!(all_work());
            names.iter().zip(before).all(|(name, before)| asked(name) >= before + 2)
        });
        eventually("it is told", || proxy.stderr().contains("gone.test can no longer be looked up"));
        assert!(all_work());
        let stderr = proxy.stderr();
        assert!(stderr.contains("gone.test can no longer be looked up: there is no such name; "), "{stderr}");
        dns.addresses("gone.test", 1, &["127.0.0.3"]);
        eventually("it is somewhere else now", || proxy.get("/gone.test").text() == "three");
        eventually("that is told", || proxy.stderr().contains("gone.test can be looked up again"));
        assert_eq!(proxy.stderr().matches("gone.test can no longer").count(), 1);
        assert!(two.served() > 0 && three.served() > 0);
    });
}

#[test]
fn a_name_with_addresses_of_both_families_is_reached_by_the_one_that_answers() {
    on_each_driver(|driver| {
        let Ok(v6) = TcpListener::bind("[::1]:0") else {
            println!("left out: this machine has no IPv6");
            return;
        };
        let (six, four) = (Endpoint::start_on(v6, "six"), Endpoint::start("four"));
        for (endpoint, name) in [(&six, "six"), (&four, "four")] {
            let port = endpoint.origin.address().port();
            for host in ["both.test", "localhost"] {
                let dns = Dns::start();
                dns.addresses("both.test", 1, &["127.0.0.1", "::1"]);
                let proxy =
                    asking(driver, &dns, &format!("'{host}:{port}'"), "retries = 0\nwhen-down = 'fail'");
                for _ in 0..3 {
                    assert_eq!(answers(&proxy, 16).into_keys().collect::<Vec<_>>(), [name], "{host}");
                }
                assert_eq!(addresses(&proxy).len(), 1, "it is one endpoint");
                if host == "both.test" {
                    // Nothing changes when one family is gone that did not answer anyway, or is never told.
                    dns.addresses("both.test", 1, &[&endpoint.origin.address().ip().to_string()]);
                    let before = dns.asked("both.test", RecordType::A);
                    eventually("it is asked again", || dns.asked("both.test", RecordType::A) >= before + 2);
                    assert_eq!(who(&proxy, 16), [name]);
                }
            }
        }
    });
}

#[test]
fn a_name_server_that_answers_for_one_family_alone_is_good_enough() {
    on_each_driver(|driver| {
        let four = Endpoint::start("four");
        let dns = Dns::start();
        for (count, says) in [Dns::ignore, Dns::fail].into_iter().enumerate() {
            let name = format!("n{count}.test");
            dns.addresses(&name, 3600, &["127.0.0.1"]);
            says(&dns, &name, RecordType::AAAA);
            let proxy = asking(driver, &dns, &format!("'{name}:{}'", four.origin.address().port()), "");
            eventually("it is found", || proxy.get("/").status() == 200);
            assert_eq!(who(&proxy, 8), ["four"]);
        }
    });
}

#[test]
fn names_that_stand_for_others_and_answers_that_are_long_are_followed() {
    on_each_driver(|driver| {
        let (port, [two, three, _four]) = three();
        let dns = Dns::start();
        dns.alias("www.test", 1, "app.test");
        dns.addresses("app.test", 3600, &["127.0.0.2"]);
        dns.truncate();
        let proxy = asking(driver, &dns, &format!("'www.test:{port}'"), "");
        assert_eq!(who(&proxy, 8), ["two"]);
        // The shortest time on the way counts.
        dns.addresses("app.test", 3600, &["127.0.0.3"]);
        eventually("it has moved", || proxy.get("/").text() == "three");
        assert!(two.served() > 0 && three.served() > 0);
    });
}

#[test]
fn services_have_ports_weights_and_priorities() {
    on_each_driver(|driver| {
        let all = ["light", "heavy", "spare", "new"].map(Endpoint::start);
        let [light, heavy, spare, new] = &all;
        let port = |endpoint: &Endpoint| endpoint.origin.address().port();
        let dns = Dns::start();
        dns.addresses("one.test", 1, &["127.0.0.1"]);
        dns.addresses("two.test", 1, &["127.0.0.1"]);
        let name = "_http._tcp.shop.test";
        let services = |heavy_weight: u16, last: &Endpoint| {
            let records = [
                (10, 1, port(light), "one.test"),
                (10, heavy_weight, port(heavy), "two.test."),
                (20, 100, port(last), "one.test"),
                (10, 5, port(spare), "lost.test"),
            ];
            dns.services(name, 1, &records);
        };
        services(3, spare);
        let probe = "probe = { path = '/healthz', interval = '500ms', timeout = '490ms', fall = 2 }";
        let proxy = asking(driver, &dns, &format!("'srv:{name}'"), &format!("upstream-host = true\n{probe}"));
        eventually("both are found", || addresses(&proxy).len() == 3);
        let shares = answers(&proxy, 160);
        assert_eq!(shares.keys().collect::<Vec<_>>(), ["heavy", "light"], "{shares:?}");
        assert!((2..=4).contains(&(shares["heavy"] / shares["light"])), "{shares:?}");
        assert_eq!(
            (told(&proxy, &spare.at())["backup"].clone(), told(&proxy, &light.at())["backup"].clone()),
            (true.into(), false.into())
        );
        assert_eq!(told(&proxy, &heavy.at())["weight"], 3);
        let host = format!("two.test:{}", port(heavy));
        assert!(heavy.origin.requests().iter().all(|request| request.field("Host") == Some(&host)));
        // The next priority gets requests when the first has nobody who is well.
        light.probed.set(503);
        heavy.probed.set(503);
        until(&proxy, &light.at(), "down");
        until(&proxy, &heavy.at(), "down");
        assert_eq!(who(&proxy, 16), ["spare"]);
        light.probed.set(200);
        until(&proxy, &light.at(), "up");
        assert_eq!(who(&proxy, 16), ["light"]);
        heavy.probed.set(200);
        until(&proxy, &heavy.at(), "up");
        // Records change.
        services(1, new);
        eventually("they are heard of", || {
            told(&proxy, &heavy.at())["weight"] == 1 && !told(&proxy, &new.at()).is_null()
        });
        assert_eq!((told(&proxy, &spare.at()).is_null(), addresses(&proxy).len()), (true, 3));
        let shares = answers(&proxy, 160);
        assert!(shares["heavy"] >= 60 && shares["light"] >= 60, "{shares:?}");
        // A target may move.
        let (moved, [there, _]) = same_port(["127.0.0.2", "127.0.0.3"]);
        let there = Endpoint::start_on(there, "there");
        dns.services(name, 1, &[(0, 0, moved, "one.test")]);
        dns.addresses("one.test", 1, &["127.0.0.2"]);
        eventually("it is there now", || addresses(&proxy) == [there.at()]);
        until(&proxy, &there.at(), "up");
        assert_eq!(who(&proxy, 16), ["there"]);
        // And there may be none: what was found last stays.
        dns.services(name, 1, &[(0, 0, 0, ".")]);
        let before = dns.asked(name, RecordType::SRV);
        eventually("it is asked again", || dns.asked(name, RecordType::SRV) >= before + 2);
        assert_eq!(who(&proxy, 16), ["there"]);
    });
}

#[test]
fn a_name_server_that_never_answers_holds_nothing_up() {
    on_each_driver(|driver| {
        let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
        let known = Endpoint::start("known");
        let text = |server: &str, more: &str| {
            format!("resolver = ['{server}']\n{}{more}", file(&format!("'{}'", known.at()), ""))
        };
        let silent = deaf.local_addr().unwrap().to_string();
        let lost: String = (0..40)
            .map(|n| {
                format!(
                    "[upstream.lost{n}]\nendpoints = ['lost{n}.test:80', 'srv:_x._tcp.lost{n}.test']\n\
                     [[route]]\npath = '/lost{n}'\nupstream = 'lost{n}'\n"
                )
            })
            .collect();
        let started = Instant::now();
        let proxy = start(driver, &text(&silent, &lost));
        assert!(started.elapsed() < Duration::from_secs(15), "the start took {:?}", started.elapsed());
        assert_eq!(who(&proxy, 8), ["known"]);
        assert_eq!(proxy.get("/lost0").status(), 503);
        // Nor a reload, and meanwhile all goes on.
        let load = Load::start(&proxy, 2);
        let more =
            "[upstream.other]\nendpoints = 'other.test:80'\n[[route]]\npath = '/other'\nupstream = 'other'\n";
        let started = Instant::now();
        let run = proxy.apply(&text(&silent, &(lost.clone() + more)));
        assert!(run.stderr.contains("other.test has no address yet"), "{}", run.stderr);
        assert!(started.elapsed() < Duration::from_secs(15), "the reload took {:?}", started.elapsed());
        load.more(100);
        load.end();
        let proxy: &Proxy = &proxy;
        assert_eq!(proxy.order(&["upstream", "list"]).code, Some(0));
    });
}

#[test]
fn an_endpoint_that_comes_back_at_another_address_is_found() {
    on_each_driver(|driver| {
        let (port, [first, second]) = same_port(["127.0.0.2", "127.0.0.3"]);
        let dns = Dns::start();
        dns.addresses("app.test", 1, &["127.0.0.2"]);
        let endpoint = Endpoint::start_on(first, "first");
        let proxy = asking(driver, &dns, &format!("'app.test:{port}'"), "");
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/")).text(), "first");
        // It dies, and what was open to it with it.
        endpoint.serves.set(crate::support::endpoints::CLOSE);
        client.ask(get("/"));
        drop(endpoint);
        eventually("it is not there", || client.ask(get("/")).status() == 502);
        let _back = Endpoint::start_on(second, "second");
        dns.addresses("app.test", 1, &["127.0.0.3"]);
        eventually("it is found", || {
            let response = client.ask(get("/"));
            response.status() == 200 && response.text() == "second"
        });
        assert_eq!(who(&proxy, 16), ["second"]);
    });
}

#[test]
fn a_reload_with_another_name_server_asks_that_one() {
    on_each_driver(|driver| {
        let (port, [_two, _three, _four]) = three();
        let (old, new) = (Dns::start(), Dns::start());
        old.addresses("app.test", 1, &["127.0.0.2"]);
        new.addresses("app.test", 1, &["127.0.0.3"]);
        let endpoints = format!("'app.test:{port}'");
        let proxy = asking(driver, &old, &endpoints, "");
        assert_eq!(who(&proxy, 8), ["two"]);
        proxy.apply(&text(&new, &endpoints, ""));
        eventually("the other is asked", || who(&proxy, 8) == ["three"]);
        let before = old.asked("app.test", RecordType::A);
        let asked = new.asked("app.test", RecordType::A);
        eventually("it is asked again", || new.asked("app.test", RecordType::A) >= asked + 2);
        assert!(old.asked("app.test", RecordType::A) <= before + 1);
    });
}

#[test]
fn a_probe_asks_by_the_addresses_and_names_that_hold_now() {
    on_each_driver(|driver| {
        let (port, [two, three, four]) = three();
        let dns = Dns::start();
        dns.addresses("app.test", 1, &["127.0.0.2"]);
        dns.addresses("sister.test", 1, &["127.0.0.3"]);
        let lines = "when-down = 'fail'\nprobe = { path = '/healthz', address = 'sister.test', interval = '500ms', \
                     timeout = '490ms', rise = 1, fall = 2 }";
        let proxy = asking(driver, &dns, &format!("'app.test:{port}'"), lines);
        eventually("its sister is asked", || three.probes().len() >= 2);
        until(&proxy, &two.at(), "up");
        three.probed.set(503);
        until(&proxy, &two.at(), "down");
        assert_eq!(who(&proxy, 8), ["503"]);
        // Its sister is somewhere else now.
        dns.addresses("sister.test", 1, &["127.0.0.4"]);
        until(&proxy, &two.at(), "up");
        assert!(!four.probes().is_empty() && two.probes().is_empty());
        assert_eq!(who(&proxy, 8), ["two"]);
        // And so is itself.
        dns.addresses("app.test", 1, &["127.0.0.3"]);
        until(&proxy, &three.at(), "up");
        assert_eq!(who(&proxy, 8), ["three"]);
    });
}
