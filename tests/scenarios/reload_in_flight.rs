//! What is under way while the configuration changes ends as it began; connections, tunnels, stored responses and
//! pools stay.

use std::thread;

use crate::support::cache::{clients_of_every_worker, fresh, fresh_head};
use crate::support::live::{Live, upstream};
use crate::support::message::chunk;
use crate::support::{
    Client, Driver, End, Gate, Origin, Setup, assert_same, eventually, get, get_with, ms, noise, ok,
    on_each_driver, post_chunked_head,
};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

/// A file that passes everything on to that origin, by an upstream of that name.
fn all_to(name: &str, origin: &Origin) -> String {
    format!("{}[[route]]\nupstream = '{name}'\n", upstream(name, origin))
}

/// A file without any upstream.
const NOTHING: &str = "max-body = '1B'\n[[route]]\nrespond = 'nothing'\n";

/// A cache, and one or four workers.
fn with_cache(scenario: impl Fn(Driver, usize) + Sync) {
    on_each_driver(|driver| [1, 4].into_iter().for_each(|cores| scenario(driver, cores)));
}

/// A proxy with a cache and that file.
fn caching(driver: Driver, cores: usize, text: &str) -> Live {
    Live::with(Setup::new(driver).cores(cores).args(&["--cache-size", "16MiB"]), text, false)
}

#[test]
fn a_request_ends_under_the_configuration_that_it_began_with() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let content = noise(300_000, 7);
        let (early, late) = content.split_at(100_000);
        let pieces = (early.to_vec(), late.to_vec());
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                held.pass(1);
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
                peer.send(&pieces.0);
                held.pass(2);
                peer.send(&pieces.1);
                assert_eq!(request.field("X-By"), Some("old"));
            }
        });
        let edits =
            "request-header = { set = { X-By = 'old' } }\nresponse-header = { set = { X-By = 'old' } }\n";
        let proxy = Live::start(driver, 2, &format!("{}{edits}", all_to("app", &origin)));
        // One has no byte of its response yet when the route goes, another some.
        let mut client = proxy.client();
        client.send(get("/"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.apply(NOTHING);
        gate.open();
        let head = client.head();
        assert_eq!((head.status(), head.field("X-By")), (200, Some("old")));
        assert_same(&client.exactly(early.len()), early);
        proxy.apply(&NOTHING.replace("nothing", "something"));
        gate.open();
        assert_same(&client.exactly(late.len()), late);
        // The connection goes on, under the newest.
        assert_eq!(client.ask(get("/")).text(), "something");
        eventually("nobody needs the origin any more", || origin.open() == 0);
    });
}

#[test]
fn time_limits_of_a_request_are_those_that_it_began_with() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.sleep(ms(1_500));
                peer.send(ok("late"));
            }
        });
        let file = |limit: &str| {
            format!(
                "{}first-byte-timeout = '{limit}'\n[[route]]\nupstream = 'app'\n",
                upstream("app", &origin)
            )
        };
        let proxy = Live::start(driver, 1, &file("20s"));
        let mut client = proxy.client();
        client.send(get("/"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.apply(&file("200ms"));
        assert_eq!(client.response().text(), "late");
        assert_eq!(client.ask(get("/")).status(), 504);
    });
}

#[test]
fn an_upload_ends_under_the_configuration_that_it_began_with() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Live::start(driver, 2, &all_to("app", &origin));
        let mut client = proxy.client();
        let content = noise(200_000, 3);
        client.send(post_chunked_head("/up", ""));
        let mut pieces = content.chunks(50_000);
        client.send(chunk(pieces.next().unwrap()));
        eventually("the upload has begun", || origin.connections() == 1);
        for (round, piece) in pieces.enumerate() {
            proxy.apply(&NOTHING.replace("nothing", &format!("nothing {round}")));
            client.send(chunk(piece));
        }
        client.send("0\r\n\r\n");
        let response = client.response();
        assert_eq!(response.status(), 200);
        assert_same(response.body(), &[b"/up ", &content[..]].concat());
        assert_eq!(client.ask(get("/")).text(), "nothing 2");
    });
}

#[test]
fn a_fetch_for_the_cache_and_all_who_wait_for_it_end_well() {
    with_cache(|driver, cores| {
        let gate = Gate::default();
        let held = gate.clone();
        let content = noise(200_000, 11);
        let sent = content.clone();
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                held.pass(1);
                peer.send(fresh_head(Some(sent.len()), ""));
                peer.send(&sent[..70_000]);
                held.pass(2);
                peer.send(&sent[70_000..]);
            }
        });
        let file = all_to("app", &origin);
        let proxy = caching(driver, cores, &file);
        // Nothing of the response is there yet when the route goes: who waits, waits on.
        let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
        clients.iter_mut().for_each(|client| client.send(get("/big")));
        crate::support::cache::all_have_asked(&proxy, 6);
        proxy.apply(NOTHING);
        gate.open();
        for client in &mut clients {
            assert_eq!(client.head().status(), 200);
        }
        proxy.apply(&NOTHING.replace("nothing", "something"));
        gate.open();
        for client in &mut clients {
            assert_same(&client.exactly(content.len()), &content);
            assert_eq!(client.ask(get("/")).text(), "something");
        }
        assert_eq!(origin.requests().len(), 1);
        // What was fetched for a route that was gone is there when the route is back.
        proxy.apply(&file);
        let response = clients[0].ask(get("/big"));
        assert_eq!(response.x_cache(), "HIT");
        assert_same(response.body(), &content);
    });
}

#[test]
fn what_is_stored_stays_but_not_for_a_route_that_means_something_else() {
    with_cache(|driver, cores| {
        let origin = Origin::replying(|request| fresh(request.target()));
        let other = Origin::replying(|request| fresh(format!("other {}", request.target())));
        let both = upstream("app", &origin) + &upstream("other", &other);
        let file = |route: &str| format!("{both}{route}\n[[route]]\npath = '/x'\nupstream = 'other'\n");
        let plain = "[[route]]\npath-prefix = '/a'\nupstream = 'app'";
        let proxy = caching(driver, cores, &file(plain));
        let mut clients = clients_of_every_worker(&proxy, 4 * cores);
        for client in &mut clients {
            assert_eq!(client.ask(get("/a/b")).text(), "/a/b");
        }
        assert_eq!(origin.requests().len(), 1);
        // In front of it and behind it other routes come and go, under other names.
        let more = "[[route]]\npath = '/b'\nrespond = 'b'\n";
        for text in [format!("{more}{plain}\nname = 'plain'"), format!("{plain}\n{more}"), plain.to_owned()] {
            proxy.apply(&file(&text));
            for client in &mut clients {
                let response = client.ask(get("/a/b"));
                assert_eq!((response.text(), response.x_cache()), ("/a/b".to_owned(), "HIT"));
            }
        }
        // The same URL, elsewhere.
        proxy.apply(&file(&plain.replace("'app'", "'other'")));
        clients[0].ask(get("/a/b")).expect(200, "other /a/b", "MISS");
        proxy.apply(&file(&format!("{plain}\nstrip-prefix = '/a'")));
        clients[0].ask(get("/a/b")).expect(200, "/b", "MISS");
        proxy.apply(&file(&format!("{plain}\ncache = false")));
        assert_eq!(clients[0].ask(get("/a/b")).text(), "/a/b");
        assert_eq!(origin.requests().len(), 3);
        proxy.apply(&file(plain));
        clients[0].ask(get("/a/b")).expect(200, "/a/b", "HIT");
    });
}

#[test]
fn tunnels_live_on() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(SWITCH);
                while let Ok(some) = peer.some() {
                    peer.send(some.to_ascii_uppercase());
                }
                peer.send("BYE");
            }
        });
        let proxy = Live::start(driver, 2, &all_to("app", &origin));
        let mut client = proxy.client();
        client.send(get_with("/", "Connection: upgrade\r\nUpgrade: x\r\n"));
        assert_eq!(client.head().status(), 101);
        for round in 0..5 {
            proxy.apply(&NOTHING.replace("nothing", &round.to_string()));
            client.send("word");
            assert_eq!(client.exactly(4), b"WORD");
        }
        thread::sleep(ms(1_500));
        client.send("still");
        assert_eq!(client.exactly(5), b"STILL");
        client.finish();
        assert_eq!(client.until_end(), (b"BYE".to_vec(), End::Closed));
    });
}

#[test]
fn connections_to_upstreams_stay_as_long_as_their_upstream_does() {
    with_cache(|driver, cores| {
        let (kept, removed) = (Origin::echo(), Origin::echo());
        let route = |path: &str, to: &str| format!("[[route]]\npath-prefix = '{path}'\nupstream = '{to}'\n");
        let keeps = |limit: &str| format!("{}{limit}", upstream("kept", &kept));
        let file = [
            upstream("gone", &removed),
            keeps(""),
            route("/gone", "gone"),
            "[[route]]\nupstream = 'kept'\n".to_owned(),
        ];
        let proxy = Live::start(driver, cores, &file.concat());
        let mut clients = clients_of_every_worker(&proxy, 4 * cores);
        for client in &mut clients {
            client.ask(get("/gone"));
        }
        let connections = kept.connections();
        assert!(connections >= cores && removed.open() >= cores);
        let rest = |limit: &str| {
            [keeps(limit), route("/new", "kept"), "[[route]]\nupstream = 'kept'\n".to_owned()].concat()
        };
        for limit in ["", "upstream-timeout = '7s'\n", "retries = 0\npool-timeout = '1m'\n"] {
            proxy.apply(&rest(limit));
            eventually("what leads nowhere is closed", || removed.open() == 0);
            for client in &mut clients {
                assert_eq!(client.ask(get("/new")).text(), "/new ");
            }
        }
        assert_eq!((kept.connections(), kept.open()), (connections, connections));
        // No room for idle ones.
        proxy.apply(&rest("pool-size = 0\n"));
        eventually("those beyond the bound are closed", || kept.open() == 0);
        assert_eq!(clients[0].ask(get("/new")).text(), "/new ");
    });
}

#[test]
fn a_connection_to_a_removed_upstream_closes_when_its_last_response_has_come() {
    on_each_driver(|driver| {
        let gate = Gate::default();
        let held = gate.clone();
        let origin = Origin::start(move |peer| {
            while peer.request().is_some() {
                held.pass(1);
                peer.send(ok("last"));
            }
        });
        let proxy = Live::start(driver, 1, &all_to("app", &origin));
        let mut client = proxy.client();
        client.send(get("/"));
        eventually("the request is in flight", || origin.requests().len() == 1);
        proxy.apply(NOTHING);
        // It is back before the response has come, and is not what it was.
        proxy.apply(&all_to("app", &origin));
        proxy.apply(NOTHING);
        gate.open();
        assert_eq!(client.response().text(), "last");
        eventually("the connection is closed", || origin.open() == 0);
        assert_eq!(client.ask(get("/")).text(), "nothing");
    });
}

#[test]
fn a_mirror_that_has_not_answered_when_it_goes_holds_nothing_up() {
    on_each_driver(|driver| {
        let (origin, shadow) = (
            Origin::echo(),
            Origin::start(|peer| {
                peer.request();
                peer.hang();
            }),
        );
        let app = upstream("app", &origin);
        let with = format!(
            "{app}{}[[route]]\nupstream = 'app'\nmirror = 'shadow'\n",
            upstream("shadow", &shadow).replace("endpoints", "first-byte-timeout = '1s'\nendpoints")
        );
        let proxy = Live::start(driver, 1, &with);
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/a")).text(), "/a ");
        eventually("the copy has come", || shadow.requests().len() == 1);
        proxy.apply(&format!("{app}[[route]]\nupstream = 'app'\n"));
        assert_eq!(client.ask(get("/b")).text(), "/b ");
        eventually("the copy is given up", || shadow.open() == 0);
        assert_eq!(shadow.requests().len(), 1);
        assert_eq!(origin.connections(), 1);
    });
}
