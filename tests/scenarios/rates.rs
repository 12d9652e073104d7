//! Rates of requests: exact over all cores, by whatever they are counted, and told to who is over them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::cache::{fresh_with, status};
use crate::support::client::Response;
use crate::support::live::Live;
use crate::support::{Client, Driver, Origin, Proxy, Setup, assert_limit, get, get_with, ms, on_each_driver};

/// A proxy that answers by itself, with that above its routes and that in them.
fn answering(rates: &str, route: &str) -> String {
    format!("{rates}\n[[route]]\nname = 'own'\nrespond = 'x'\n{route}\n")
}

fn start(driver: Driver, cores: usize, text: &str) -> Proxy {
    Setup::new(driver).cores(cores).admin().file(text).start()
}

/// How many of so many requests on one connection are answered with 200; the others get 429.
fn taken(client: &mut Client, requests: usize, request: impl Fn(usize) -> String) -> usize {
    let mut count = 0;
    for at in 0..requests {
        let response = client.ask(request(at));
        match response.status() {
            200 => count += 1,
            429 => assert_eq!(
                response.field("Retry-After").map(|after| after.parse::<u64>().unwrap() > 0),
                Some(true)
            ),
            other => panic!("{other}: {}", response.text()),
        }
    }
    count
}

fn counts(proxy: &Proxy, name: &str) -> (u64, u64, u64) {
    let status = status(proxy);
    let rates = status["rates"].as_array().unwrap();
    let rate = rates.iter().find(|rate| rate["name"] == name).unwrap();
    let number = |name: &str| rate[name].as_u64().unwrap();
    (number("refused"), number("delayed"), number("keys"))
}

#[test]
fn all_cores_together_take_a_rate_and_no_more() {
    on_each_driver(|driver| {
        for cores in [1, 2, 4] {
            let text = answering("[rate.all]\nrate = '1000/s'\nburst = 300\nby = 'all'", "rate = 'all'");
            let proxy = start(driver, cores, &text);
            let address = proxy.address();
            let (taken, refused, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
            let began = Instant::now();
            let (least, most) = thread::scope(|scope| {
                for _ in 0..4 * cores {
                    scope.spawn(|| {
                        let mut client = Client::connect(address);
                        while !stop.load(Ordering::SeqCst) {
                            match client.ask(get("/")).status() {
                                200 => taken.fetch_add(1, Ordering::SeqCst),
                                _ => refused.fetch_add(1, Ordering::SeqCst),
                            };
                        }
                    });
                }
                // From when the first is taken, until there is none more to come.
                while taken.load(Ordering::SeqCst) == 0 {
                    thread::sleep(ms(1));
                }
                let running = Instant::now();
                thread::sleep(ms(2500));
                let least = running.elapsed();
                stop.store(true, Ordering::SeqCst);
                (least, began)
            });
            let most = most.elapsed();
            let (taken, refused) = (taken.into_inner(), refused.into_inner());
            let bound = |time: Duration| 300.0 + 1000.0 * time.as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "they are few")]
            let count = taken as f64;
            assert!(count <= bound(most) + 1.0, "{taken} in {most:?} on {cores} cores");
            // Only where there was always somebody to be refused has anybody had to wait for the rate.
            if refused > taken {
                assert!(count >= bound(least) * 0.99, "{taken} in {least:?} on {cores} cores");
            }
            assert_eq!(counts(&proxy, "all").0, refused);
        }
    });
}

#[test]
fn many_keys_on_many_cores_get_their_burst_each() {
    on_each_driver(|driver| {
        let text = answering("[rate.key]\nrate = '1/h'\nburst = 7\nby = 'header:X-Key'", "rate = 'key'");
        let proxy = start(driver, 4, &text);
        let address = proxy.address();
        let counts: Vec<_> = (0..50).map(|_| AtomicU64::new(0)).collect();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = Client::connect(address);
                    for at in 0..200 {
                        let request = get_with("/", &format!("X-Key: k{}\r\n", at % 50));
                        if client.ask(request).status() == 200 {
                            counts[at % 50].fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 7), "{counts:?}");
    });
}

#[test]
fn a_refusal_says_when_to_come_back_and_that_is_so() {
    on_each_driver(|driver| {
        let text = answering("[rate.slow]\nrate = '1/s'\nburst = 2", "rate = 'slow'");
        let proxy = start(driver, 2, &text);
        let mut client = proxy.client();
        for _ in 0..2 {
            let response = client.ask(get("/"));
            assert_eq!((response.status(), response.field("RateLimit")), (200, None));
        }
        let refused = client.ask(get("/"));
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.field("Retry-After"), Some("1"));
        assert_eq!(refused.field("RateLimit-Policy"), Some("\"slow\";q=2;w=2"));
        assert_eq!(refused.field("RateLimit"), Some("\"slow\";r=0;t=1"));
        assert!(!refused.says_close(), "{refused:?}");
        let head = {
            client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.response_to("HEAD")
        };
        assert_eq!((head.status(), head.body().len()), (429, 0));
        thread::sleep(ms(1000));
        assert_eq!(client.ask(get("/")).status(), 200);
    });
}

#[test]
fn the_content_of_a_refused_request_is_not_taken_for_another() {
    on_each_driver(|driver| {
        let text =
            answering("[rate.one]\nrate = '1/h'\nby = 'all'\nstatus = 503\nfields = false", "rate = 'one'");
        let proxy = start(driver, 1, &text);
        let post = |content: &str| {
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len())
        };
        let mut client = proxy.client();
        assert_eq!(client.ask(post("a")).status(), 200);
        let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        let refused = client.ask(post(hidden));
        assert_eq!((refused.status(), refused.fields().has("RateLimit")), (503, false));
        assert_eq!(refused.field("Retry-After"), Some("3600"));
        if !refused.says_close() {
            assert_eq!(client.ask(get("/")).status(), 503);
        }
        // Content that is still to come.
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab");
        let refused = client.response();
        assert_eq!((refused.status(), refused.says_close()), (503, true));
        client.expect_end();
    });
}

#[test]
fn addresses_count_by_their_networks_and_nobody_forges_one() {
    on_each_driver(|driver| {
        let rates = "[rate.client]\nrate = '1/h'\nburst = 3\nv4-prefix = 24";
        let text =
            |trusted: &str| format!("trusted-proxy = [{trusted}]\n{}", answering(rates, "rate = 'client'"));
        let told = |address: String| get_with("/", &format!("X-Forwarded-For: {address}\r\n"));
        let proxy = start(driver, 2, &text("'127.0.0.1'"));
        let mut client = proxy.client();
        // One network of IPv6, however its hosts choose their addresses; the next one; and a network of IPv4.
        assert_eq!(taken(&mut client, 20, |at| told(format!("2001:db8:0:1::{at:x}"))), 3);
        assert_eq!(taken(&mut client, 20, |at| told(format!("2001:db8:0:2:{at:x}:1:2:3"))), 3);
        assert_eq!(taken(&mut client, 20, |at| told(format!("192.0.2.{at}"))), 3);
        assert_eq!(taken(&mut client, 20, |at| told(format!("::ffff:192.0.2.{at}"))), 0);
        assert_eq!(taken(&mut client, 5, |at| told(format!("198.51.{at}.1"))), 5);
        // What nobody can read counts together.
        assert_eq!(taken(&mut client, 20, |at| told(format!("nobody{at}"))), 3);
        // Whoever is not believed is who he is, whatever he says.
        let proxy = start(driver, 2, &text("'10.0.0.0/8'"));
        let mut client = proxy.client();
        assert_eq!(taken(&mut client, 20, |at| told(format!("192.0.2.{at}, 10.0.0.{at}"))), 3);
        assert_eq!(taken(&mut proxy.client(), 5, |_| get("/")), 0);
    });
}

#[test]
fn requests_count_by_whatever_they_bring() {
    on_each_driver(|driver| {
        let rate = |name: &str, by: &str| format!("[rate.{name}]\nrate = '1/h'\nburst = 2\nby = {by}\n");
        let own = |name: &str| {
            format!("[[route]]\nname = '{name}'\npath-prefix = '/{name}'\nrespond = 'x'\nrate = '{name}'\n")
        };
        let kinds = [
            ("header", "'header:X-Key'"),
            ("cookie", "'cookie:id'"),
            ("query", "'query:key'"),
            ("host", "'host'"),
            ("both", "['route', 'header:X-Key']"),
        ];
        let rates: String = kinds.iter().map(|(name, by)| rate(name, by)).collect();
        let routes: String = kinds.iter().map(|(name, _)| own(name)).collect();
        let other = "[[route]]\nname = 'other'\npath-prefix = '/other'\nrespond = 'x'\nrate = 'both'\n";
        let proxy = start(driver, 2, &format!("{rates}{routes}{other}"));
        let mut client = proxy.client();
        let header =
            |path: &'static str, value: &'static str| move |_| get_with(path, &format!("X-Key: {value}\r\n"));
        assert_eq!(taken(&mut client, 5, header("/header", "a")), 2);
        assert_eq!(taken(&mut client, 5, header("/header", "A")), 2);
        let cookie =
            |value: &'static str| move |_| get_with("/cookie", &format!("Cookie: a=b; id={value}\r\n"));
        assert_eq!(taken(&mut client, 5, cookie("1")), 2);
        assert_eq!(taken(&mut client, 5, cookie("\"1\"")), 0);
        assert_eq!(taken(&mut client, 5, cookie("2")), 2);
        // However a key is spelt.
        assert_eq!(taken(&mut client, 5, |_| get("/query?a=1&key=xyz")), 2);
        assert_eq!(taken(&mut client, 5, |_| get("/query?%6bey=x%79z&b")), 0);
        assert_eq!(taken(&mut client, 5, |_| get("/query?key=xy")), 2);
        let host = |host: &'static str| move |_| format!("GET /host HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(taken(&mut client, 5, host("one.example")), 2);
        assert_eq!(taken(&mut client, 5, host("ONE.example.:80")), 0);
        assert_eq!(taken(&mut client, 5, host("two.example")), 2);
        assert_eq!(taken(&mut client, 5, header("/both", "a")), 2);
        assert_eq!(taken(&mut client, 5, header("/other", "a")), 2);
        assert_eq!(taken(&mut client, 5, header("/other", "b")), 2);
    });
}

#[test]
fn leaving_a_key_away_is_no_way_round() {
    on_each_driver(|driver| {
        let rate = |without: &str| {
            let rate = format!("[rate.key]\nrate = '1/h'\nburst = 2\nby = 'header:X-Key'\n{without}");
            start(driver, 2, &answering(&rate, "rate = 'key'"))
        };
        let proxy = rate("");
        let mut client = proxy.client();
        assert_eq!(taken(&mut client, 5, |_| get_with("/", "X-Key: a\r\n")), 2);
        assert_eq!(taken(&mut client, 5, |_| get("/")), 2);
        // An empty one is none, and two are none.
        assert_eq!(taken(&mut client, 5, |_| get_with("/", "X-Key: \r\n")), 0);
        let two = |at| get_with("/", &format!("X-Key: b{at}\r\nX-Key: c{at}\r\n"));
        assert_eq!(taken(&mut client, 5, two), 0);
        // Nor is the text of an address the address.
        assert_eq!(taken(&mut client, 5, |_| get_with("/", "X-Key: 127.0.0.1\r\n")), 2);
        assert_eq!(taken(&mut rate("without = 'pass'").client(), 5, |_| get("/")), 5);
        // Sending it twice is no way round.
        assert_eq!(taken(&mut rate("without = 'pass'").client(), 5, two), 2);
        let refused = rate("without = 'refuse'").get("/");
        assert_eq!((refused.status(), refused.field("Retry-After")), (429, None));
    });
}

#[test]
fn a_request_is_within_all_rates_or_counts_for_none() {
    on_each_driver(|driver| {
        let text = |first: &str| {
            format!(
                "[rate.everybody]\nrate = '1/h'\nburst = 5\nby = 'all'\n\
                 [rate.key]\nrate = '1/h'\nburst = 2\nby = 'header:X-Key'\n\
                 [listener.web]\naddress = '127.0.0.1:0'\nrate = [{first}]\n\
                 [[route]]\nrespond = 'x'\nrate = ['key', 'everybody']\n"
            )
        };
        for first in ["'everybody'", "'key', 'everybody'", ""] {
            let proxy = Setup::new(driver).cores(2).admin().listening_file(&text(first)).start();
            let mut client = proxy.client();
            let key = |name: &'static str| move |_| get_with("/", &format!("X-Key: {name}\r\n"));
            // What the key refuses does not use up what everybody has, and what both name counts once.
            assert_eq!(taken(&mut client, 10, key("a")), 2, "{first}");
            assert_eq!(taken(&mut client, 10, key("b")), 2, "{first}");
            assert_eq!(taken(&mut client, 10, key("c")), 1, "{first}");
            assert_eq!(taken(&mut client, 10, key("d")), 0, "{first}");
        }
    });
}

#[test]
fn requests_over_the_rate_wait_up_to_a_bound() {
    on_each_driver(|driver| {
        let text =
            answering("[rate.slow]\nrate = '5/s'\nburst = 1\nby = 'all'\ndelay = '500ms'", "rate = 'slow'");
        let proxy = start(driver, 2, &text);
        let address = proxy.address();
        let began = Instant::now();
        let answers: Vec<(u16, Duration)> = thread::scope(|scope| {
            let ask = || (Client::connect(address).ask(get("/")).status(), began.elapsed());
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut waited: Vec<_> = answers.iter().filter(|one| one.0 == 200).map(|one| one.1).collect();
        waited.sort();
        // At once, after 200 ms, after 400 ms; and a little more where the clients were slow to come.
        assert!((3..=5).contains(&waited.len()), "{answers:?}");
        for (at, took) in waited.iter().enumerate() {
            assert!(*took + ms(5) >= ms(200) * u32::try_from(at).unwrap(), "{answers:?}");
        }
        let (refused, delayed, _) = counts(&proxy, "slow");
        assert_eq!((refused, delayed), (8 - waited.len() as u64, waited.len() as u64 - 1));
    });
}

#[test]
fn who_has_left_meanwhile_is_not_served_and_holds_nobody_up() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "origin = ['{}']\n[rate.slow]\nrate = '2/s'\nburst = 1\ndelay = '10s'\n\
             [[route]]\nupstream = 'default'\nrate = 'slow'\n",
            origin.url()
        );
        let proxy = start(driver, 1, &text);
        let began = Instant::now();
        assert_eq!(proxy.get("/1").status(), 200);
        let mut gone = proxy.client();
        gone.send(get("/gone"));
        thread::sleep(ms(100));
        gone.reset();
        assert_eq!(proxy.get("/2").status(), 200);
        assert_limit(began, ms(900));
        // Who has only said all that he has to say still wants to hear.
        let mut half = proxy.client();
        half.send(get("/3"));
        half.finish();
        assert_eq!(half.response().status(), 200);
        let targets: Vec<_> = origin.requests().iter().map(|request| request.target().to_owned()).collect();
        assert_eq!(targets, ["/1", "/2", "/3"]);
    });
}

#[test]
fn how_a_client_stands_is_told_to_it_alone() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| fresh_with("X-Own: 1\r\n", "stored"));
        let text = format!(
            "origin = ['{}']\n[rate.key]\nrate = '10/m'\nburst = 10\nby = 'header:X-Key'\nfields = 'always'\n\
             [[route]]\nname = 'a'\nupstream = 'default'\nrate = 'key'\n",
            origin.url()
        );
        let proxy = start(driver, 1, &text);
        let ask = |key: &str| proxy.ask(get_with("/", &format!("X-Key: {key}\r\n")));
        let left = |response: &Response| {
            assert_eq!(response.field("RateLimit-Policy"), Some("\"key\";q=10;w=60"));
            let field = response.field("RateLimit").unwrap().to_owned();
            let (name, until) = field.split_once(";t=").unwrap();
            assert!(until.parse::<u64>().unwrap() <= 60, "{field}");
            name.to_owned()
        };
        // The first fills the cache; the others are hits, each with its own numbers.
        for (key, want) in [("a", 9), ("a", 8), ("b", 9), ("a", 7), ("b", 8)] {
            let response = ask(key);
            assert_eq!((response.status(), response.text().as_str()), (200, "stored"));
            assert_eq!(left(&response), format!("\"key\";r={want}"));
            assert_eq!(response.field("X-Own"), Some("1"));
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn millions_of_keys_take_no_more_memory_than_the_table() {
    on_each_driver(|driver| {
        let rates = "[rate.key]\nrate = '10/h'\nby = 'header:X-Key'\nkeys = 20000\n[rate.mine]\nrate = '1/h'\nburst = 5";
        let text = answering(rates, "rate = ['key']");
        let proxy = start(driver, 1, &text.replace("[rate.mine]\nrate = '1/h'\nburst = 5", ""));
        let mut client = proxy.client();
        let flood = |client: &mut Client, from: usize| {
            // In bundles, as fast as this can go.
            const BUNDLE: usize = 50;
            for bundle in 0..400 {
                let requests: String = (0..BUNDLE)
                    .map(|at| get_with("/", &format!("X-Key: {}\r\n", from + bundle * BUNDLE + at)))
                    .collect();
                client.send(requests);
                for _ in 0..BUNDLE {
                    assert!(matches!(client.response().status(), 200 | 429));
                }
            }
        };
        // One who is over his limit stays there, whatever else comes.
        assert_eq!(taken(&mut client, 3, |_| get_with("/", "X-Key: mine\r\n")), 1);
        flood(&mut client, 0);
        let before = proxy.resident_kib();
        for round in 1..5 {
            flood(&mut client, round * 20_000);
            assert_eq!(taken(&mut client, 2, |_| get_with("/", "X-Key: mine\r\n")), 0);
        }
        let grown = proxy.resident_kib().saturating_sub(before);
        assert!(grown < 2048, "{grown} KiB");
        let (_, _, keys) = counts(&proxy, "key");
        assert!((20_000..=65_536).contains(&keys), "{keys}");
    });
}

#[test]
fn a_reload_keeps_counts_unless_the_rate_changes() {
    on_each_driver(|driver| {
        let text = |rate: &str, more: &str| {
            answering(&format!("[rate.key]\nrate = '{rate}'\nburst = 3\n{more}"), "rate = 'key'")
        };
        let proxy = Live::start(driver, 2, &text("1/h", ""));
        let mut client = proxy.client();
        assert_eq!(taken(&mut client, 5, |_| get("/")), 3);
        for more in ["", "status = 503", "delay = '1s'", "fields = false"] {
            proxy.apply(&format!("{}\n[[route]]\npath = '/new'\nrespond = 'y'\n", text("1/h", more)));
            let status = proxy.client().ask(get("/")).status();
            assert_eq!(status, if more.starts_with("status") { 503 } else { 429 }, "{more}");
        }
        assert!(counts(&proxy, "key").0 >= 6);
        proxy.apply(&text("2/h", ""));
        assert_eq!(taken(&mut proxy.client(), 5, |_| get("/")), 3);
    });
}

#[test]
fn explain_says_how_a_request_stands_without_counting_it() {
    on_each_driver(|driver| {
        let rates = "[rate.client]\nrate = '1/h'\nburst = 3\n[rate.key]\nrate = '100/s'\nby = 'header:X-Key'";
        let text = answering(rates, "rate = ['client', 'key']\nbandwidth = '1MiB/s'");
        let proxy = start(driver, 2, &text);
        let explained = || {
            let run = proxy.order(&[
                "explain",
                "--live",
                "--format",
                "json",
                "--from",
                "127.0.0.1",
                "http://example.com/",
            ]);
            let text = if run.stdout.is_empty() { panic!("{}", run.stderr) } else { run.stdout };
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let says = |account: &serde_json::Value, name: &str| {
            let checks = account["checks"].as_array().unwrap();
            let check = checks.iter().find(|check| check["name"] == name).unwrap();
            assert_eq!(check["from"], "route own");
            check["says"].as_str().unwrap().to_owned()
        };
        for left in [2, 2] {
            let account = explained();
            let want = format!("1/h by client 127.0.0.1: it goes at once, and {left} more");
            assert_eq!(says(&account, "rate client"), want);
            assert_eq!(account["outcome"]["kind"], "respond");
        }
        assert_eq!(
            says(&explained(), "rate key"),
            "100/s by client 127.0.0.1 in the place of header:X-Key: it goes at once, and 99 more"
        );
        assert_eq!(says(&explained(), "bandwidth"), "1048576 bytes a second");
        assert_eq!(taken(&mut proxy.client(), 5, |_| get("/")), 3);
        let account = explained();
        assert!(says(&account, "rate client").starts_with("1/h by client 127.0.0.1: refused for another "));
        assert_eq!(
            (&account["outcome"]["kind"], &account["outcome"]["status"]),
            (&"refused".into(), &429.into())
        );
    });
}

#[test]
fn all_who_wait_go_at_the_rate_on_however_many_cores() {
    on_each_driver(|driver| {
        let text =
            answering("[rate.slow]\nrate = '40/s'\nburst = 1\nby = 'all'\ndelay = '20s'", "rate = 'slow'");
        let proxy = start(driver, 4, &text);
        let address = proxy.address();
        let began = Instant::now();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let ask = || Client::connect(address).ask(get("/")).status();
            let asking: Vec<_> = (0..60).map(|_| scope.spawn(ask)).collect();
            asking.into_iter().map(|one| one.join().unwrap()).collect()
        });
        // Each 25 ms behind the one before, and none twice.
        assert_limit(began, ms(59 * 25 - 5));
        assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
        assert_eq!(counts(&proxy, "slow").0, 0);
    });
}

#[test]
fn a_rate_of_a_listener_counts_whatever_becomes_of_the_request() {
    on_each_driver(|driver| {
        let text = "[rate.client]\nrate = '1/h'\nburst = 4\n\
                    [listener.web]\naddress = '127.0.0.1:0'\nrate = 'client'\n\
                    [[route]]\npath = '/own'\nrespond = 'x'\n[[route]]\npath = '/shut'\ndeny = true\n\
                    [[route]]\npath = '/away'\nredirect = '/own'\n";
        let proxy = Setup::new(driver).cores(2).listening_file(text).start();
        let mut client = proxy.client();
        for (path, want) in [
            ("/own", 200),
            ("/shut", 403),
            ("/away", 302),
            ("/nowhere", 404),
            ("/own", 429),
            ("/nowhere", 429),
        ] {
            assert_eq!(client.ask(get(path)).status(), want, "{path}");
        }
    });
}

#[test]
fn two_rates_are_exact_on_many_cores_though_one_refuses_what_the_other_takes() {
    on_each_driver(|driver| {
        let text = answering(
            "[rate.everybody]\nrate = '1/h'\nburst = 60\nby = 'all'\n[rate.key]\nrate = '1/h'\nburst = 5\nby = 'header:X-Key'",
            "rate = ['everybody', 'key']",
        );
        let proxy = start(driver, 4, &text);
        let address = proxy.address();
        let ask = |client: &mut Client, key: usize| {
            client.ask(get_with("/", &format!("X-Key: k{key}\r\n"))).status() == 200
        };
        let counts: Vec<_> = (0..11).map(|_| AtomicU64::new(0)).collect();
        thread::scope(|scope| {
            for thread in 0..8 {
                let (ask, counts) = (&ask, &counts);
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    for at in 0..300 {
                        let key = (at + thread) % 11;
                        if ask(&mut client, key) {
                            counts[key].fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        // Eleven keys would get 55; what everybody has left is exactly the rest.
        assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 5), "{counts:?}");
        let mut client = proxy.client();
        let rest = (0..20).filter(|&at| ask(&mut client, 100 + at)).count();
        assert_eq!(rest, 5);
    });
}

#[test]
fn requests_that_no_route_can_be_found_for_count_as_well() {
    on_each_driver(|driver| {
        for path in ["/%zz", "/b%2f..%2fa/x"] {
            let text = answering(
                "[listener.web]\naddress = '127.0.0.1:0'\nrate = 'client'\n[rate.client]\nrate = '1/h'\nburst = 3\nfields = 'always'",
                "path-prefix = '/a'\n[[route]]\nrespond = 'y'",
            );
            let proxy = Setup::new(driver).listening_file(&text).start();
            let statuses: Vec<u16> = (0..5).map(|_| proxy.get(path).status()).collect();
            assert_eq!(statuses, [400, 400, 400, 429, 429], "{path}");
            assert_eq!(proxy.get("/").status(), 429);
            let refused = proxy.get(path);
            assert!(refused.field("Retry-After").is_some() && refused.field("RateLimit").is_some());
        }
    });
}

#[test]
fn questions_of_browsers_count_before_they_are_answered() {
    on_each_driver(|driver| {
        let question = "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n\
                        Access-Control-Request-Method: PUT\r\n\r\n";
        let rate = |rate: &str| {
            let rate = format!("[rate.one]\nrate = '1/h'\nburst = 3\n{rate}");
            let text = answering(&rate, "rate = 'one'\ncors = { origin = 'https://a.example' }");
            start(driver, 1, &text)
        };
        // Browsers do not send keys with them: where a key is a must, they count by client.
        for by in ["", "by = 'header:X-Key'", "by = 'header:X-Key'\nwithout = 'refuse'"] {
            let proxy = rate(by);
            let statuses: Vec<u16> = (0..5).map(|_| proxy.ask(question).status()).collect();
            assert_eq!(statuses, [204, 204, 204, 429, 429], "{by}");
            let with_key = proxy.ask(get_with("/", "X-Key: a\r\n")).status();
            assert_eq!(with_key, if by.is_empty() { 429 } else { 200 }, "{by}");
        }
        let proxy = rate("by = 'header:X-Key'\nwithout = 'refuse'");
        assert_eq!(proxy.get("/").status(), 429, "what is no question is refused without one");
    });
}

#[test]
fn explain_shows_what_responses_gain_and_what_requests_without_a_route_get() {
    on_each_driver(|driver| {
        let text = answering(
            "[listener.web]\naddress = '127.0.0.1:0'\nrate = 'client'\naccess = { deny = '203.0.113.0/24' }\n\
             [rate.client]\nrate = '1/h'\nburst = 3\nfields = 'always'",
            "response-header = { set = { X-Own = 'mine' } }",
        );
        let proxy = Setup::new(driver).admin().listening_file(&text).start();
        let explain = |from: &str, target: &str| {
            let run = proxy.order(&["explain", "--live", "--from", from, &format!("http://a{target}")]);
            run.stdout
        };
        let said = explain("127.0.0.1", "/");
        for line in ["+ X-Own: mine", "+ RateLimit-Policy: \"client\";q=", "+ RateLimit: \"client\";r=2"] {
            assert!(said.contains(line), "{line}: {said}");
        }
        assert!(explain("127.0.0.1", "/%zz").contains("bad_path"), "{}", explain("127.0.0.1", "/%zz"));
        assert!(explain("203.0.113.1", "/%zz").contains("access_denied"));
        for _ in 0..3 {
            assert_eq!(proxy.get("/%zz").status(), 400);
        }
        assert!(explain("127.0.0.1", "/%zz").contains("rate_limited"));
        assert_eq!(proxy.get("/%zz").status(), 429);
    });
}

#[test]
fn one_key_leaves_places_to_others_and_where_they_are_few_who_has_gone_holds_none() {
    on_each_driver(|driver| {
        let text = answering(
            "[rate.slow]\nrate = '50/s'\nburst = 1\nby = 'header:X-Key'\ndelay = '60s'",
            "rate = 'slow'",
        );
        let text = format!("access-log = 'json'\n{text}");
        let proxy = start(driver, 1, &text);
        // A core holds 4096 back. Who is first gets half of them, and the next what is left to both.
        let crowd = |key: &str, count: usize| -> Vec<Client> {
            let ask = |_| {
                let mut client = proxy.client();
                client.send(get_with("/", &format!("X-Key: {key}\r\n")));
                client
            };
            (0..count).map(ask).collect()
        };
        let crowds = (crowd("one", 2900), crowd("other", 1000));
        crate::support::eventually("all have been looked at", || {
            let (refused, delayed, _) = counts(&proxy, "slow");
            refused + delayed >= 2900 + 1000 - 2
        });
        let (refused, delayed, _) = counts(&proxy, "slow");
        assert!(refused > 0 && delayed > 2048 + 900, "{refused} {delayed}");
        for _ in 0..3 {
            assert_eq!(proxy.ask(get_with("/", "X-Key: good\r\n")).status(), 200);
        }
        // They close as browsers do. That alone says nothing, but where places are few it is enough.
        drop(crowds);
        let gone = || proxy.stdout().matches("\"client_closed\"").count();
        crate::support::eventually("those above half are dropped", || gone() >= 50);
        assert_eq!(proxy.ask(get_with("/", "X-Key: good\r\n")).status(), 200);
    });
}

#[test]
fn a_rate_that_only_detects_refuses_nobody_and_says_whom_it_would_have() {
    on_each_driver(|driver| {
        let rates = "[rate.dry]\nrate = '1/h'\nburst = 2\ndetect-only = true\nfields = 'always'\n\
                     [rate.wet]\nrate = '1/h'\nburst = 5";
        let text = answering(rates, "rate = ['dry', 'wet']");
        let proxy = start(driver, 1, &format!("access-log = 'json'\n{text}"));
        let responses: Vec<Response> = (0..7).map(|_| proxy.get("/")).collect();
        let statuses: Vec<u16> = responses.iter().map(Response::status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
        assert_eq!(responses[0].field("RateLimit"), None, "nobody is told of it");
        assert_eq!(counts(&proxy, "dry").0, 3, "what another rate refuses does not count");
        proxy.logged(&["rate/dry"]);
        crate::support::eventually("all are logged", || {
            proxy.stdout().matches("\"rate_limited\"").count() == 2
        });
        assert_eq!(proxy.stdout().matches("\"rules\":\"rate/dry\"").count(), 3, "{}", proxy.stdout());
        let said = proxy.order(&["explain", "--live", "http://a/"]).stdout;
        assert!(said.contains("which only detects: refused"), "{said}");
    });
}

#[test]
fn a_rate_that_only_detects_holds_nobody_back_nor_refuses_who_has_no_key() {
    on_each_driver(|driver| {
        let rates = "[rate.dry]\nrate = '1/h'\nburst = 1\ndelay = '60s'\nby = 'header:X-Key'\n\
                     without = 'refuse'\ndetect-only = true";
        let proxy = start(driver, 1, &answering(rates, "rate = 'dry'"));
        for _ in 0..2 {
            assert_eq!(proxy.ask(get_with("/", "X-Key: a\r\n")).status(), 200);
            assert_eq!(proxy.get("/").status(), 200);
        }
        assert_eq!(counts(&proxy, "dry").0, 3);
    });
}
