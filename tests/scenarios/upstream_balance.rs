//! Which endpoint a request goes to: what each policy looks like to clients, and what keeps them where they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::support::cache::{fresh, fresh_with};
use crate::support::client::Response;
use crate::support::live::Live;
use crate::support::upstreams::{Fleet, app, cached_app, number, upstreams};
use crate::support::{
    Client, Driver, Gate, Origin, Proxy, Setup, eventually, get, get_with, ms, ok, on_each_driver, post,
};

fn start(driver: Driver, cores: usize, text: &str) -> Proxy {
    Setup::new(driver).cores(cores).admin().file(text).start()
}

/// How often each of so many numbers is there.
fn counts(numbers: impl IntoIterator<Item = usize>, many: usize) -> Vec<usize> {
    numbers.into_iter().fold(vec![0; many], |mut counts, number| {
        counts[number] += 1;
        counts
    })
}

// ---- Policies -----------------------------------------------------------------------------------------------------

#[test]
fn turns_are_as_many_as_weights_say_in_every_period() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(3);
        let weighted = |number: usize, weight: usize| {
            format!("{{ address = '{}', weight = {weight} }}, ", fleet.endpoint(number))
        };
        let endpoints = weighted(0, 3) + &weighted(1, 2) + &weighted(2, 1);
        let proxy = start(driver, 1, &app(&endpoints, ""));
        let mut client = proxy.client();
        let answers: Vec<usize> = (0..60).map(|_| number(&client.ask(get("/")))).collect();
        for period in answers.windows(6) {
            assert_eq!(counts(period.iter().copied(), 3), [3, 2, 1], "{answers:?}");
        }
        // A weight of 3 in 6 is every other turn, as far as the others' turns allow.
        assert!(answers.windows(3).all(|three| three.iter().any(|&number| number != 0)), "{answers:?}");
    });
}

#[test]
fn turns_of_several_workers_are_even_together() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(4);
        let proxy = start(driver, 2, &app(&fleet.endpoints(), ""));
        for _ in 0..80 {
            proxy.get("/");
        }
        // Each worker is exact for itself, up to its last round.
        let asked = fleet.asked();
        assert!(asked.iter().all(|asked| (18..=22).contains(asked)), "{asked:?}");
    });
}

#[test]
fn an_endpoint_that_is_busy_is_left_alone_by_least_connections() {
    on_each_driver(|driver| {
        for cores in [1, 2] {
            let gate = Gate::default();
            let held = gate.clone();
            let slow = Origin::start(move |peer| {
                while peer.request().is_some() {
                    held.pass(1);
                    peer.send(ok("0"));
                }
            });
            let fast = Fleet::answering(2, |number| ok((number + 1).to_string()));
            let endpoints = format!("'{}', {}", slow.endpoint(), fast.endpoints());
            let proxy = start(driver, cores, &app(&endpoints, "balance = 'least-connections'"));
            let (mut stuck, mut sent) = (proxy.client(), 0);
            while slow.requests().is_empty() {
                // All of them have nothing to do, so each has its turn.
                sent += 1;
                assert!(sent < 30, "the slow endpoint is not asked at all");
                stuck = proxy.client();
                stuck.send(get("/"));
                let all = || slow.requests().len() + fast.asked().iter().sum::<usize>();
                eventually("the request is at an endpoint", || all() == sent);
            }
            let answers: Vec<usize> = (0..30).map(|_| number(&proxy.get("/"))).collect();
            assert!(!answers.contains(&0), "{answers:?}");
            assert!([1, 2].iter().all(|other| answers.contains(other)), "{answers:?}");
            assert_eq!(slow.requests().len(), 1);
            gate.open();
            assert_eq!(number(&stuck.response()), 0);
            let answers: Vec<usize> = (0..12).map(|_| number(&proxy.get("/"))).collect();
            assert!(answers.contains(&0), "it has nothing to do again: {answers:?}");
        }
    });
}

#[test]
fn of_two_the_one_that_answers_faster_gets_more() {
    on_each_driver(|driver| {
        let slow = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.sleep(ms(300));
                peer.send(ok("0"));
            }
        });
        let fast = Fleet::answering(1, |_| ok("1"));
        let endpoints = format!("'{}', {}", slow.endpoint(), fast.endpoints());
        let proxy = start(driver, 1, &app(&endpoints, "balance = 'power-of-two'"));
        let mut client = proxy.client();
        let answers: Vec<usize> = (0..60).map(|_| number(&client.ask(get("/")))).collect();
        let counts = counts(answers, 2);
        assert!(counts[0] < 20, "{counts:?}");
    });
}

#[test]
fn chance_reaches_all_by_their_weights() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(3);
        let endpoints = format!(
            "{{ address = '{}', weight = 2 }}, '{}', '{}'",
            fleet.endpoint(0),
            fleet.endpoint(1),
            fleet.endpoint(2)
        );
        let proxy = start(driver, 2, &app(&endpoints, "balance = 'random'"));
        let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        let answers: Vec<usize> = (0..400).map(|at| number(&clients[at % 8].ask(get("/")))).collect();
        let counts = counts(answers.iter().copied(), 3);
        // More than six standard deviations.
        assert!((140..=260).contains(&counts[0]), "{counts:?}");
        assert!(counts[1..].iter().all(|count| (45..=155).contains(count)), "{counts:?}");
        // In turns it would never come twice.
        assert!(answers.windows(2).any(|two| two[0] == two[1]));
    });
}

// ---- Keys ---------------------------------------------------------------------------------------------------------

/// A client that comes from another address of this machine.
fn client_from(proxy: &Proxy, address: [u8; 4]) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&proxy.address().into()).unwrap();
    Client::over(socket.into())
}

/// Requests that differ in everything but their key.
fn request(by: &str, key: u8, chance: u64) -> String {
    let noise = format!("X-Noise: {chance}\r\n");
    match by {
        "url" => get_with(&format!("/same?key={key}"), &noise),
        "path" => {
            // All of these are the same path.
            let shapes = [
                format!("/k/{key}"),
                format!("/k/x/../{key}"),
                format!("//k/./{key}"),
                format!("/%6b/{key}"),
            ];
            let path = &shapes[usize::try_from(chance % 4).unwrap()];
            get_with(&format!("{path}?{chance}"), &noise)
        }
        "header:X-User" => get_with(&format!("/{chance}"), &format!("{noise}x-user: user-{key}\r\n")),
        "cookie:id" => {
            get_with(&format!("/{chance}"), &format!("Cookie: a={chance}; id=user-{key}; b=c\r\n{noise}"))
        }
        "client" => get_with(&format!("/{chance}"), &noise),
        other => panic!("{other}"),
    }
}

/// Who answers for each key, whichever worker the request comes in at.
fn homes(proxy: &Proxy, by: &str, times: usize) -> BTreeMap<u8, usize> {
    let mut homes = BTreeMap::new();
    for _ in 0..times {
        for key in 1..=24 {
            let mut client = match by {
                "client" => client_from(proxy, [127, 0, 9, key]),
                _ => proxy.client(),
            };
            let home = number(&client.ask(request(by, key, fastrand::u64(..1 << 40))));
            assert_eq!(*homes.entry(key).or_insert(home), home, "{by} {key}");
        }
    }
    homes
}

#[test]
fn a_key_stays_at_its_endpoint_on_all_workers_and_after_a_restart() {
    on_each_driver(|driver| {
        for by in ["url", "path", "header:X-User", "cookie:id", "client"] {
            let fleet = Fleet::new(4);
            let text = app(&fleet.endpoints(), &format!("balance = 'consistent-hash'\nhash-by = '{by}'"));
            let proxy = start(driver, 2, &text);
            let before = homes(&proxy, by, 4);
            let counts = counts(before.values().copied(), 4);
            // That 24 keys have but two homes happens once in a million times.
            assert!(counts.iter().filter(|&&count| count > 0).count() >= 2, "{by}: {counts:?}");
            drop(proxy);
            // The order in which endpoints are listed does not matter either.
            let endpoints: Vec<String> =
                (0..4).rev().map(|number| format!("'{}'", fleet.endpoint(number))).collect();
            let text = app(&endpoints.join(", "), &format!("balance = 'consistent-hash'\nhash-by = '{by}'"));
            let proxy = start(driver, 1, &text);
            assert_eq!(homes(&proxy, by, 1), before, "{by}");
        }
    });
}

#[test]
fn requests_without_a_key_go_anywhere() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(3);
        for by in ["header:X-User", "cookie:id"] {
            let text = app(&fleet.endpoints(), &format!("balance = 'consistent-hash'\nhash-by = '{by}'"));
            let proxy = start(driver, 1, &text);
            let answers = (0..90).map(|at| {
                let empty = ["", "X-User: \r\nCookie: id=\r\n", "Cookie: ;;=; id\r\n"][at % 3];
                number(&proxy.ask(get_with("/", empty)))
            });
            let counts = counts(answers, 3);
            assert!(counts.iter().all(|&count| count >= 5), "{by}: {counts:?}");
        }
    });
}

#[test]
fn only_the_keys_of_an_endpoint_that_dies_move_and_they_come_back() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(4);
        let lines = "balance = 'consistent-hash'\nhash-by = 'path'\neject = false\nretry-budget = '100%'";
        let proxy = start(driver, 2, &app(&fleet.endpoints(), lines));
        let before = homes(&proxy, "path", 1);
        let dead = before[&1];
        fleet.kill(dead, true);
        let during = homes(&proxy, "path", 3);
        for (key, home) in &before {
            match *home == dead {
                true => assert_ne!(during[key], dead, "{key}"),
                false => assert_eq!(during[key], *home, "{key}"),
            }
        }
        fleet.kill(dead, false);
        assert_eq!(homes(&proxy, "path", 1), before);
        // One that an operator takes out loses just the same, to the same.
        assert_eq!(proxy.order(&["upstream", "drain", &fleet.endpoint(dead)]).code, Some(0));
        assert_eq!(homes(&proxy, "path", 2), during);
        assert_eq!(proxy.order(&["upstream", "restore", &fleet.endpoint(dead)]).code, Some(0));
        assert_eq!(homes(&proxy, "path", 1), before);
    });
}

/// Endpoints that hold each request until the gate opens.
fn holding(count: usize, gate: &Gate) -> Vec<Origin> {
    let start = |number: usize| {
        let gate = gate.clone();
        Origin::start(move |peer| {
            while peer.request().is_some() {
                gate.pass(1);
                peer.send(ok(number.to_string()));
            }
        })
    };
    (0..count).map(start).collect()
}

#[test]
fn a_hot_key_does_not_drown_its_endpoint() {
    on_each_driver(|driver| {
        // With a bound, no endpoint has more than 125 % of its part of 12 requests: 5.
        for (lines, most) in [("", 5), ("max-load = '150%'", 6), ("max-load = 'off'", 12)] {
            let gate = Gate::default();
            let origins = holding(3, &gate);
            let endpoints: String =
                origins.iter().map(|origin| format!("'{}', ", origin.endpoint())).collect();
            let lines = format!("balance = 'consistent-hash'\nhash-by = 'path'\n{lines}");
            let proxy = start(driver, 2, &app(&endpoints, &lines));
            let asked = || origins.iter().map(|origin| origin.requests().len()).collect::<Vec<_>>();
            let mut clients = Vec::new();
            for sent in 1..=12 {
                let mut client = proxy.client();
                client.send(get("/hot"));
                clients.push(client);
                eventually("it is at an endpoint", || asked().iter().sum::<usize>() == sent);
            }
            let asked = asked();
            assert_eq!(asked.iter().max(), Some(&most), "{lines}: {asked:?}");
            gate.open();
            for client in &mut clients {
                assert_eq!(client.response().status(), 200);
            }
        }
    });
}

// ---- Backups ------------------------------------------------------------------------------------------------------

#[test]
fn backups_get_nothing_until_none_of_the_others_is_well() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(3);
        let endpoints = format!(
            "'{}', {{ address = '{}', backup = true }}, '{}'",
            fleet.endpoint(0),
            fleet.endpoint(1),
            fleet.endpoint(2)
        );
        for policy in ["round-robin", "least-connections", "power-of-two", "random", "consistent-hash"] {
            let proxy = start(driver, 2, &app(&endpoints, &format!("balance = '{policy}'")));
            let ask = |many: usize| {
                let request = |at: usize| match at % 2 {
                    0 => get(&format!("/{at}")).into_bytes(),
                    _ => post(&format!("/{at}"), b"x"),
                };
                counts((0..many).map(|at| number(&proxy.ask(request(at)))), 3)
            };
            let drain = |number: usize, word: &str| {
                assert_eq!(proxy.order(&["upstream", word, &fleet.endpoint(number)]).code, Some(0));
            };
            let asked = ask(30);
            assert!(asked[1] == 0 && asked[0] > 0 && asked[2] > 0, "{policy}: {asked:?}");
            drain(0, "drain");
            assert_eq!(ask(10), [0, 0, 10], "{policy}");
            drain(2, "drain");
            assert_eq!(ask(10), [0, 10, 0], "{policy}");
            drain(0, "restore");
            assert_eq!(ask(10), [10, 0, 0], "{policy}");
        }
    });
}

#[test]
fn backups_answer_for_those_that_die() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(3);
        let endpoints = format!(
            "'{}', '{}', {{ address = '{}', backup = true }}",
            fleet.endpoint(0),
            fleet.endpoint(1),
            fleet.endpoint(2)
        );
        // Both may be out, and whoever is back is asked again soon.
        let lines = "eject = { failures = 3, time = '1s', max-time = '1s', max-share = '100%' }\nretry-budget = '1000%'";
        let proxy = start(driver, 1, &app(&endpoints, lines));
        fleet.kill(0, true);
        for _ in 0..10 {
            assert_eq!(number(&proxy.get("/")), 1);
        }
        fleet.kill(1, true);
        for _ in 0..20 {
            assert_eq!(number(&proxy.get("/")), 2);
        }
        fleet.kill(0, false);
        eventually("the first is back", || number(&proxy.get("/")) == 0);
    });
}

// ---- Sticky sessions ----------------------------------------------------------------------------------------------

/// The cookie line of a response, in its parts; none if there is none.
fn set_cookie(response: &Response) -> Option<Vec<String>> {
    Some(response.field("Set-Cookie")?.split("; ").map(str::to_owned).collect())
}

/// A GET with that cookie.
fn with_cookie(cookie: &str) -> String {
    get_with("/", &format!("Cookie: {cookie}\r\n"))
}

/// Who has answered, and the cookie that he gave.
fn first(proxy: &Proxy) -> (usize, String) {
    let response = proxy.get("/");
    (number(&response), set_cookie(&response).expect("a first response has a cookie")[0].clone())
}

#[test]
fn a_cookie_leads_back_to_the_endpoint_that_answered_first() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(4);
        for policy in ["round-robin", "random", "least-connections", "power-of-two"] {
            let proxy =
                start(driver, 2, &app(&fleet.endpoints(), &format!("balance = '{policy}'\nsticky = true")));
            let sessions: Vec<(usize, String)> = (0..16).map(|_| first(&proxy)).collect();
            assert!(sessions.iter().all(|(_, cookie)| cookie.starts_with("ringway-app=")));
            let reached = counts(sessions.iter().map(|(home, _)| *home), 4);
            assert!(reached.iter().filter(|&&count| count > 0).count() >= 2, "{reached:?}");
            for (home, cookie) in &sessions {
                for request in [
                    with_cookie(cookie).into_bytes(),
                    with_cookie(&format!("a=b; {cookie}; c=d")).into_bytes(),
                    get_with("/", &format!("Cookie: a=b\r\nX: y\r\nCookie: {cookie}\r\n")).into_bytes(),
                    format!("POST / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nContent-Length: 2\r\n\r\nhi")
                        .into_bytes(),
                ] {
                    let response = proxy.ask(request);
                    assert_eq!((number(&response), set_cookie(&response)), (*home, None), "{policy}");
                }
            }
        }
    });
}

#[test]
fn a_cookie_says_what_it_is_for() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(2);
        for (said, name, want) in [
            ("true", "ringway-app", &["Path=/", "HttpOnly", "SameSite=Lax"][..]),
            (
                "{ cookie = 'at', max-age = '1h' }",
                "at",
                &["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=3600"],
            ),
            (
                "{ cookie = '__Secure-at', secure = true, max-age = '1d' }",
                "__Secure-at",
                &["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=86400", "Secure"],
            ),
        ] {
            let proxy = start(driver, 1, &app(&fleet.endpoints(), &format!("sticky = {said}")));
            let parts = set_cookie(&proxy.get("/")).unwrap();
            assert!(
                parts[0].starts_with(&format!("{name}=")) && parts[0].len() > name.len() + 20,
                "{parts:?}"
            );
            assert_eq!(parts[1..], *want, "{said}");
            let mut client = proxy.client();
            client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(set_cookie(&client.response_to("HEAD")).is_some());
            assert!(set_cookie(&proxy.ask(post("/", b"x"))).is_some());
        }
    });
}

#[test]
fn a_cookie_that_is_not_ours_is_ignored_and_replaced() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(2);
        // The other upstream has the same endpoints and the same name for its cookie.
        let other =
            format!("[upstream.other]\nendpoints = [{}]\nsticky = {{ cookie = 'at' }}\n", fleet.endpoints());
        let text = app(&fleet.endpoints(), "sticky = { cookie = 'at' }")
            + &other
            + "[[route]]\npath = '/other'\nupstream = 'other'\n";
        let proxy = start(driver, 2, &text);
        let (home, good) = first(&proxy);
        let value = good.strip_prefix("at=").unwrap();
        let foreign = set_cookie(&proxy.get("/other")).unwrap()[0].clone();
        let mut forged = vec![
            "at=".to_owned(),
            "at".to_owned(),
            "at=0".to_owned(),
            format!("at={}", "0".repeat(value.len())),
            format!("at={value}0"),
            format!("at={}", &value[1..]),
            format!("at={}", value.to_uppercase()),
            format!("At={value}"),
            format!("at=\"{value}"),
            format!("at={}", "x".repeat(3000)),
            format!("at={}", fleet.endpoint(0)),
            format!("{}=; ", "at=;".repeat(200)),
            foreign,
        ];
        for at in 0..value.len() {
            let mut bytes = value.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            forged.push(format!("at={}", String::from_utf8(bytes).unwrap()));
        }
        forged.retain(|cookie| *cookie != good);
        let mut homes = Vec::new();
        for cookie in &forged {
            let response = proxy.ask(with_cookie(cookie));
            homes.push(number(&response));
            let new = set_cookie(&response).unwrap_or_else(|| panic!("{cookie} was believed"))[0].clone();
            assert_ne!(new, *cookie);
            let again = proxy.ask(with_cookie(&new));
            assert_eq!((number(&again), set_cookie(&again)), (*homes.last().unwrap(), None));
            // A good one beside it holds.
            let both = proxy.ask(with_cookie(&format!("{cookie}; {good}")));
            assert_eq!((number(&both), set_cookie(&both)), (home, None), "{cookie}");
        }
        assert!(counts(homes.iter().copied(), 2).iter().all(|&count| count > 10), "{homes:?}");
    });
}

#[test]
fn whose_endpoint_is_gone_gets_another_and_stays_there() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(3);
        let proxy = start(
            driver,
            2,
            &app(&fleet.endpoints(), "sticky = true\neject = false\nretry-budget = '1000%'"),
        );
        let (home, cookie) = first(&proxy);
        let moves = |why: &str| {
            let response = proxy.ask(with_cookie(&cookie));
            assert_ne!(number(&response), home, "{why}");
            let new = set_cookie(&response).unwrap_or_else(|| panic!("{why}: no new cookie"))[0].clone();
            for _ in 0..6 {
                let again = proxy.ask(with_cookie(&new));
                assert_eq!((number(&again), set_cookie(&again)), (number(&response), None), "{why}");
            }
        };
        fleet.kill(home, true);
        moves("it is dead");
        fleet.kill(home, false);
        assert_eq!(number(&proxy.ask(with_cookie(&cookie))), home, "the old cookie is as good as before");
        assert_eq!(proxy.order(&["upstream", "drain", &fleet.endpoint(home)]).code, Some(0));
        moves("it is drained");
        assert_eq!(proxy.order(&["upstream", "restore", &fleet.endpoint(home)]).code, Some(0));
        assert_eq!(number(&proxy.ask(with_cookie(&cookie))), home);
    });
}

#[test]
fn a_failure_of_the_proxys_own_gives_no_cookie() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(2);
        let proxy = start(driver, 1, &app(&fleet.endpoints(), "sticky = true\neject = false"));
        fleet.kill(0, true);
        fleet.kill(1, true);
        let response = proxy.get("/");
        assert_eq!((response.status(), set_cookie(&response)), (502, None));
    });
}

#[test]
fn what_is_stored_has_nobodys_cookie() {
    on_each_driver(|driver| {
        let fleet = Fleet::answering(2, |number| fresh(number.to_string()));
        for cores in [1, 2] {
            let proxy = start(driver, cores, &cached_app(&fleet.endpoints(), "sticky = true"));
            let bare = proxy.ask(get_with("/", "Cache-Control: no-store\r\n"));
            let cookie = set_cookie(&bare).expect("what is not stored has one")[0].clone();
            let first = proxy.get("/stored");
            assert_eq!((first.x_cache(), set_cookie(&first)), ("MISS", None));
            for _ in 0..10 {
                for request in [
                    get("/stored"),
                    get_with("/stored", &format!("Cookie: {cookie}\r\n")),
                    get_with("/stored", "Cookie: ringway-app=x\r\n"),
                ] {
                    let hit = proxy.ask(request);
                    assert_eq!((hit.x_cache(), set_cookie(&hit), hit.text()), ("HIT", None, first.text()));
                }
            }
        }
    });
}

#[test]
fn several_who_wait_for_one_fetch_get_nobodys_cookie() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                held.pass(1);
                peer.send(fresh("x"));
            }
        });
        let proxy = start(driver, 2, &cached_app(&format!("'{}'", origin.endpoint()), "sticky = true"));
        let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        clients.iter_mut().for_each(|client| client.send(get("/")));
        eventually("the first is there", || !origin.requests().is_empty());
        gate.open();
        for client in &mut clients {
            let response = client.response();
            assert_eq!((response.text().as_str(), set_cookie(&response)), ("x", None));
        }
    });
}

#[test]
fn what_the_origin_says_of_cookies_stays_and_interim_responses_have_none() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
                peer.send(fresh_with("Set-Cookie: session=1; Path=/\r\nSet-Cookie: b=2\r\n", "x"));
            }
        });
        let text = app(&format!("'{}'", origin.endpoint()), "sticky = { cookie = 'at' }");
        let proxy = start(driver, 1, &text);
        let mut client = proxy.client();
        client.send(get("/"));
        let interim = client.head();
        assert_eq!((interim.status(), interim.field("Set-Cookie")), (103, None));
        let response = client.response();
        let cookies = response.fields().all("Set-Cookie");
        assert_eq!(cookies[..2], ["session=1; Path=/", "b=2"]);
        assert!(cookies.len() == 3 && cookies[2].starts_with("at="), "{cookies:?}");
    });
}

#[test]
fn a_reload_forgets_no_session_and_a_restart_none_where_there_is_a_secret() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(3);
        let text = app(&fleet.endpoints(), "sticky = true");
        let live = Live::start(driver, 2, &text);
        let sessions: Vec<(usize, String)> = (0..6).map(|_| first(&live)).collect();
        live.apply(&app(&fleet.endpoints(), "sticky = true\nbalance = 'random'\nretries = 1"));
        for (home, cookie) in &sessions {
            let response = live.ask(with_cookie(cookie));
            assert_eq!((number(&response), set_cookie(&response)), (*home, None));
        }
        drop(live);
        let restarted = start(driver, 1, &text);
        for (_, cookie) in &sessions {
            assert!(set_cookie(&restarted.ask(with_cookie(cookie))).is_some(), "the secret is another");
        }
        let secret = app(&fleet.endpoints(), "sticky = { secret = '0123456789abcdef' }");
        let sessions: Vec<(usize, String)> = {
            let proxy = start(driver, 1, &secret);
            (0..6).map(|_| first(&proxy)).collect()
        };
        let restarted = start(driver, 2, &secret);
        for (home, cookie) in &sessions {
            let response = restarted.ask(with_cookie(cookie));
            assert_eq!((number(&response), set_cookie(&response)), (*home, None));
        }
        let other = start(driver, 1, &app(&fleet.endpoints(), "sticky = { secret = '0123456789abcdeF' }"));
        for (_, cookie) in &sessions {
            assert!(set_cookie(&other.ask(with_cookie(cookie))).is_some());
        }
    });
}

#[test]
fn what_is_listed_says_how_each_endpoint_is_chosen() {
    on_each_driver(|driver| {
        let fleet = Fleet::new(2);
        let endpoints =
            format!("{{ address = '{}', weight = 3 }}, '{}'", fleet.endpoint(0), fleet.endpoint(1));
        let proxy = start(driver, 2, &app(&endpoints, "balance = 'random'"));
        for _ in 0..20 {
            proxy.get("/");
        }
        let told = upstreams(&proxy).remove(0);
        assert_eq!((told["name"].as_str(), told["balance"].as_str()), (Some("app"), Some("random")));
        let requests: Vec<u64> =
            (0..2).map(|at| told["endpoints"][at]["requests"].as_u64().unwrap()).collect();
        assert_eq!(requests, fleet.asked().iter().map(|&asked| asked as u64).collect::<Vec<_>>());
        assert_eq!(told["endpoints"][0]["weight"], 3);
    });
}
