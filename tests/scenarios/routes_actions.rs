//! What routes do with the requests that they take: answer by themselves, pass them on to one of several
//! upstreams, and show them to another.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::support::cache::fresh;
use crate::support::client::Response;
use crate::support::proxy::refusing_port;
use crate::support::wire::End;
use crate::support::{
    Client, Driver, Gate, Origin, Proxy, Setup, chunk, eventually, get, get_with, ms, noise, ok,
    on_each_driver, post, post_chunked_head,
};

fn start(driver: Driver, text: &str) -> Proxy {
    Setup::new(driver).file(text).start()
}

/// Upstreams of these names.
fn upstreams(named: &[(&str, &Origin)]) -> String {
    named
        .iter()
        .map(|(name, origin)| format!("[upstream.{name}]\nendpoints = '{}'\n", origin.endpoint()))
        .collect()
}

/// A route for each answer that needs no upstream, with its status; nothing takes `/none`.
const ANSWERS: &str = "
    [[route]]
    path = '/redirect'
    redirect = '/elsewhere'
    [[route]]
    path = '/respond'
    respond = 'hello'
    [[route]]
    path = '/deny'
    deny = true
";
const ANSWERED: [(&str, u16); 4] = [("/redirect", 302), ("/respond", 200), ("/deny", 403), ("/none", 404)];

#[test]
fn content_that_nobody_reads_is_never_taken_for_a_request() {
    on_each_driver(|driver| {
        let proxy = start(driver, ANSWERS);
        for (path, status) in ANSWERED {
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
            let inner = get("/respond");
            // All of it comes at once, and the connection goes on behind it.
            for request in [
                format!("{head}Content-Length: {}\r\n\r\n{inner}", inner.len()),
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
                format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n{inner}", inner.len()),
            ] {
                let mut client = proxy.client();
                client.send(request + &get("/redirect"));
                assert_eq!(client.response().status(), status, "{path}");
                assert_eq!(client.response().status(), 302, "{path}");
                assert_eq!(client.ask(get("/respond")).text(), "hello");
            }
            // Some of it comes later, or not at all.
            for (first, later) in [
                (format!("{head}Content-Length: {}\r\n\r\n", inner.len()), inner.clone()),
                (format!("{head}Content-Length: {}\r\n\r\nGET", inner.len() + 3), inner.clone()),
                (format!("{head}Transfer-Encoding: chunked\r\n\r\n"), "0\r\n\r\n".to_owned() + &inner),
                (
                    format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhe"),
                    "llo\r\n0\r\n\r\n".to_owned() + &inner,
                ),
                (format!("{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"), inner.clone()),
            ] {
                let mut client = proxy.client();
                client.send(&first);
                let response = client.response();
                assert_eq!((response.status(), response.says_close()), (status, true), "{first:?}");
                client.send(&later);
                client.expect_end();
            }
        }
    });
}

#[test]
fn malformed_content_is_refused_though_nobody_reads_it() {
    on_each_driver(|driver| {
        let proxy = start(driver, ANSWERS);
        for (path, _) in ANSWERED {
            let mut client = proxy.client();
            client.send(post_chunked_head(path, "") + "x\r\nhello\r\n0\r\n\r\n");
            assert_eq!(client.response().status(), 400, "{path}");
            client.expect_end();
        }
    });
}

#[test]
fn answers_of_routes_are_whole_and_the_connection_goes_on() {
    on_each_driver(|driver| {
        let proxy = start(driver, ANSWERS);
        let mut client = proxy.client();
        for _ in 0..3 {
            for (path, status) in ANSWERED {
                let response = client.ask(get(path));
                assert_eq!((response.status(), response.says_close()), (status, false), "{path}");
                assert!(response.fields().has("Date") && response.fields().has("Content-Length"), "{path}");
                client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                let head = client.response_to("HEAD");
                assert_eq!(head.status(), status);
                for name in ["Content-Length", "Content-Type", "Location"] {
                    let told = response.field(name).filter(|_| name != "Content-Length" || status < 400);
                    assert!(told.is_none() || head.field(name) == told, "{path} {name}: {:?}", head.head);
                }
            }
        }
        // One after the other, sent at once.
        client.send(ANSWERED.map(|(path, _)| get(path)).concat());
        for (path, status) in ANSWERED {
            assert_eq!(client.response().status(), status, "{path}");
        }
        for (path, status) in ANSWERED {
            let mut old = proxy.client();
            old.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
            assert_eq!(old.response().status(), status);
            old.expect_end();
        }
    });
}

#[test]
fn a_redirect_leads_where_its_template_says() {
    on_each_driver(|driver| {
        let proxy = start(
            driver,
            "
            [[route]]
            path = '/old/{id}'
            redirect = { to = 'https://{host}/new/{id}?from={query.src}&all={path}', status = 308 }
            [[route]]
            host = '*.example.org'
            redirect = 'https://example.org{path}?{query}'
            [[route]]
            path-regex = '^/v(?<version>[0-9]+)/(?<rest>.*)$'
            redirect = { to = '/{rest}?v={version}', status = 301 }
            ",
        );
        let mut client = proxy.client();
        for (host, target, status, want) in [
            ("Example.COM:81", "/old/7?src=a%26b", 308, "https://example.com/new/7?from=a%26b&all=/old/7"),
            ("a", "/old/%e9%20x", 308, "https://a/new/%E9%20x?from=&all=/old/%E9%20x"),
            ("www.example.org", "/a//b?c=d&e", 302, "https://example.org/a/b?c=d&e"),
            ("www.example.org", "/a", 302, "https://example.org/a"),
            ("a", "/v12/x/y", 301, "/x/y?v=12"),
        ] {
            let response = client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            let location = response.field("Location").map(|to| to.replace("all=%2Fold%2F", "all=/old/"));
            assert_eq!((response.status(), location.as_deref()), (status, Some(want)), "{target}");
        }
        // What would name another host is no path.
        for target in
            ["/v1//evil.example", "/v1/%2fevil.example", "/v1/\\evil.example", "/v1/%5cevil.example"]
        {
            let response = client_of(&proxy).ask(get(target));
            let location = response.field("Location").unwrap_or_default().to_owned();
            assert!(!location.starts_with("//") && !location.contains('\\'), "{target}: {location}");
        }
    });
}

fn client_of(proxy: &Proxy) -> Client {
    proxy.client()
}

#[test]
fn no_value_of_a_client_ends_a_line() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(
            driver,
            &(upstreams(&[("app", &origin)])
                + "
                [[route]]
                path = '/redirect/{id}'
                redirect = '/r{query.x}/{id}/{header.X}'
                [[route]]
                path = '/response/{id}'
                respond = 'x'
                response-header = { set = { X-Got = '{query.x}{id}{header.X}{cookie.c}' } }
                [[route]]
                path = '/request/{id}'
                upstream = 'app'
                request-header = { set = { X-Got = '{query.x}{id}{header.X}{cookie.c}' } }
                [[route]]
                path = '/rewrite/{id}'
                upstream = 'app'
                rewrite = '/r/{query.x}/{id}'
                query-edit = { set = { q = '{header.X}' } }
                "),
        );
        for evil in [
            "%0d%0aX-Evil:%201",
            "%0D%0A%0D%0AHTTP/1.1%20200",
            "%0a",
            "%0d",
            "%00",
            "a%0aX-Evil:1",
            "%7f",
            "%1b",
        ] {
            for path in ["redirect", "response", "request", "rewrite"] {
                let response = proxy.ask(get(&format!("/{path}/a?x={evil}")));
                assert_eq!(response.status(), 400, "{path} {evil}");
            }
            // What is captured stays encoded, and harmless.
            if evil != "%00" {
                for path in ["redirect", "response", "request", "rewrite"] {
                    let response = proxy.ask(get(&format!("/{path}/{}", evil.replace('/', "%20"))));
                    assert!(matches!(response.status(), 200 | 302), "{path} {evil}");
                    assert!(!response.fields().has("X-Evil"), "{path} {evil}");
                }
            }
        }
        for fields in [
            "X: a\rX-Evil: 1\r\n",
            "X: a\nX-Evil: 1\r\n",
            "X: a\0b\r\n",
            "Cookie: c=a\rb\r\n",
            "X: a\r\n X-Evil: 1\r\n",
        ] {
            for path in ["redirect", "response", "request", "rewrite"] {
                assert_eq!(proxy.ask(get_with(&format!("/{path}/a"), fields)).status(), 400, "{fields:?}");
            }
        }
        for request in origin.requests() {
            assert!(!request.head.fields.has("X-Evil") && request.body().is_empty(), "{request:?}");
        }
    });
}

#[test]
fn a_fixed_response_has_its_status_type_and_values() {
    on_each_driver(|driver| {
        let proxy = start(
            driver,
            "
            [[route]]
            path = '/plain'
            respond = \"ok {host} {query.x}\\n\"
            [[route]]
            path = '/json'
            respond = { status = 201, body = '{{\"x\":\"{query.x}\"}}', content-type = 'application/json' }
            [[route]]
            path = '/html'
            respond = { status = 503, body = '<p>{query.x}', content-type = 'text/html' }
            [[route]]
            path = '/empty'
            respond = { status = 204 }
            ",
        );
        let mut client = proxy.client();
        let mut answer = |target: &str| {
            let response = client.ask(get(target));
            (response.status(), response.field("Content-Type").map(str::to_owned), response.text())
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            answer("/plain?x=%3Cy"),
            (200, some("text/plain; charset=utf-8"), "ok example.com <y\n".to_owned())
        );
        let (status, kind, text) = answer("/json?x=a%22,%22b%22:%22%0a");
        assert_eq!((status, kind), (201, some("application/json")));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json, serde_json::json!({ "x": "a\",\"b\":\"\n" }));
        let (status, kind, text) = answer("/html?x=%3Cscript%3E%22'%26");
        assert_eq!((status, kind), (503, some("text/html")));
        assert!(
            text.starts_with("<p>&lt;script&gt;") && !text["<p>".len()..].contains(['<', '"', '\'']),
            "{text}"
        );
        let (status, _, text) = answer("/empty");
        assert_eq!((status, text.as_str()), (204, ""));
        assert_eq!(answer("/plain").0, 200);
    });
}

#[test]
fn a_refusal_has_its_status() {
    on_each_driver(|driver| {
        let proxy = start(driver, "[[route]]\npath = '/law'\ndeny = 451\n[[route]]\ndeny = 429\n");
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/law")).status(), 451);
        assert_eq!(client.ask(get("/")).status(), 429);
        let json = client.ask(get_with("/law", "Accept: application/json\r\n"));
        assert_eq!(json.field("Content-Type"), Some("application/problem+json"));
        assert!(json.text().contains("\"status\":451"), "{}", json.text());
    });
}

/// Two origins that answer with their names, and the file that names them.
fn stable_and_canary() -> ([Origin; 2], String) {
    let origins = [Origin::answering(ok("stable")), Origin::answering(ok("canary"))];
    let text = upstreams(&[("stable", &origins[0]), ("canary", &origins[1])]);
    (origins, text)
}

#[test]
fn requests_are_split_by_weight() {
    on_each_driver(|driver| {
        let (_origins, text) = stable_and_canary();
        let text = text
            + "[[route]]\npath = '/none'\nupstream = { stable = 1, canary = 0 }\n\
                           [[route]]\nupstream = { stable = 3, canary = 1 }\n";
        let proxy = start(driver, &text);
        let mut client = proxy.client();
        let canaries = (0..400).filter(|_| client.ask(get("/")).text() == "canary").count();
        assert!((40..200).contains(&canaries), "{canaries} of 400");
        assert!((0..100).all(|_| client.ask(get("/none")).text() == "stable"));
    });
}

#[test]
fn whoever_is_told_apart_stays_with_an_upstream() {
    on_each_driver(|driver| {
        let (_origins, text) = stable_and_canary();
        let routes = ["client", "cookie:id", "header:X-User"]
            .map(|by| {
                let path = by.split(':').next().unwrap();
                format!("[[route]]\npath = '/{path}'\nupstream = {{ stable = 1, canary = 1 }}\nsplit-by = '{by}'\n")
            })
            .concat();
        let proxy = start(driver, &format!("trusted-proxy = '127.0.0.1/32'\n{text}{routes}"));
        for (path, field) in [
            ("/client", "X-Forwarded-For: 10.0.0."),
            ("/cookie", "Cookie: a=b; id="),
            ("/header", "X-User: "),
        ] {
            let mut client = proxy.client();
            let ask = |client: &mut Client, number: usize| {
                client.ask(get_with(path, &format!("{field}{number}\r\n"))).text()
            };
            let first: Vec<_> = (0..40).map(|number| ask(&mut client, number)).collect();
            assert_eq!(first.iter().collect::<HashSet<_>>().len(), 2, "{path}: {first:?}");
            for _ in 0..2 {
                let mut other = proxy.client();
                let again: Vec<_> = (0..40).map(|number| ask(&mut other, number)).collect();
                assert_eq!(first, again, "{path}");
            }
        }
        // Chance decides where there is nothing to go by.
        let mut client = proxy.client();
        let chance: HashSet<_> = (0..200).map(|_| client.ask(get("/cookie")).text()).collect();
        assert_eq!(chance.len(), 2);
    });
}

/// A proxy whose requests go to one origin, and as copies to the endpoint.
fn mirroring(driver: Driver, origin: &Origin, mirror: &str, more: &str) -> Proxy {
    let text = upstreams(&[("app", origin)])
        + &format!(
            "[upstream.shadow]\nendpoints = '{mirror}'\n[[route]]\nupstream = 'app'\nmirror = 'shadow'\n{more}"
        );
    Setup::new(driver).admin().file(&text).start()
}

#[test]
fn a_mirror_gets_head_and_content() {
    on_each_driver(|driver| {
        let (origin, shadow) = (Origin::echo(), Origin::answering(ok("from the mirror")));
        let more = "strip-prefix = '/api'\nrequest-header = { set = { X-Id = '{request_id}' }, remove = ['X-Gone'] }\n";
        let proxy = mirroring(driver, &origin, &shadow.endpoint(), more);
        let mut client = proxy.client();
        let chunked = [
            post_chunked_head("/api/c", "X-Gone: 1\r\n").as_bytes(),
            &chunk(b"hel"),
            &chunk(b"lo"),
            b"0\r\n\r\n",
        ]
        .concat();
        for (request, want) in [
            (get_with("/api/a?b", "X-Gone: 1\r\nX-Kept: 2\r\n").into_bytes(), "/a?b "),
            (post("/api/b", b"hello"), "/b hello"),
            (chunked, "/c hello"),
            (b"DELETE /api/d HTTP/1.1\r\nHost: example.com\r\n\r\n".to_vec(), "/d "),
        ] {
            assert_eq!(client.ask(request).text(), want);
        }
        eventually("the mirror has them all", || shadow.requests().len() == 4);
        for request in origin.requests() {
            let copies = shadow.requests();
            let copy = copies.iter().find(|copy| copy.target() == request.target()).unwrap();
            assert_eq!((copy.head.method(), copy.body()), (request.head.method(), request.body()));
            for name in ["Host", "X-Id", "X-Kept", "X-Gone", "Via", "X-Forwarded-For", "X-Request-Id"] {
                assert_eq!(copy.field(name), request.field(name), "{name} of {}", copy.target());
            }
            assert_eq!(copy.field("X-Id"), copy.field("X-Request-Id"));
        }
    });
}

#[test]
fn a_mirror_that_hangs_keeps_nobody_waiting() {
    on_each_driver(|driver| {
        let (origin, gate) = (Origin::echo(), Gate::default());
        let waits = gate.clone();
        let shadow = Origin::start(move |peer| {
            while peer.request().is_some() {
                waits.pass(1);
                peer.send(ok("late"));
            }
        });
        let proxy = mirroring(driver, &origin, &shadow.endpoint(), "");
        let mut client = proxy.client();
        for number in 0..20 {
            let target = format!("/{number}");
            assert_eq!(client.ask(get(&target)).text(), format!("{target} "));
        }
        eventually("all copies are on their way", || shadow.requests().len() == 20);
        gate.open();
        assert_eq!(client.ask(post("/after", b"x")).text(), "/after x");
        eventually("the mirror goes on", || shadow.requests().len() == 21);
    });
}

#[test]
fn a_mirror_that_fails_changes_nothing() {
    on_each_driver(|driver| {
        let (refusing, _held) = refusing_port();
        let breaking = Origin::start(|peer| {
            peer.request();
            peer.reset();
        });
        let babbling = Origin::start(|peer| {
            peer.request();
            peer.send("this is no HTTP\r\n\r\n");
        });
        let endless = Origin::start(|peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while peer.try_send(chunk(&[b'x'; 1000])) {
                peer.sleep(ms(5));
            }
        });
        for mirror in [
            refusing.to_string(),
            "unix:/nonexistent/mirror.sock".to_owned(),
            "mirror.invalid:80".to_owned(),
            breaking.endpoint(),
            babbling.endpoint(),
            endless.endpoint(),
        ] {
            let origin = Origin::echo();
            let proxy = mirroring(driver, &origin, &mirror, "");
            let mut client = proxy.client();
            for number in 0..10 {
                let target = format!("/{number}");
                assert_eq!(client.ask(post(&target, b"x")).text(), format!("{target} x"), "{mirror}");
            }
            assert_eq!(origin.requests().len(), 10);
        }
    });
}

#[test]
fn a_mirror_may_get_a_share() {
    on_each_driver(|driver| {
        let (origin, shadow) = (Origin::echo(), Origin::answering(ok("mirror")));
        let text = upstreams(&[("app", &origin), ("shadow", &shadow)])
            + "[[route]]\nupstream = 'app'\nmirror = { upstream = 'shadow', share = '25%' }\n";
        let proxy = start(driver, &text);
        let mut client = proxy.client();
        for _ in 0..200 {
            client.ask(get("/"));
        }
        eventually("some have come", || shadow.requests().len() >= 15);
        std::thread::sleep(ms(300));
        // Six standard deviations below what is to be expected, and eight above.
        let copies = shadow.requests().len();
        assert!(copies < 100, "{copies} of 200");
    });
}

#[test]
fn what_streams_is_not_mirrored() {
    on_each_driver(|driver| {
        let (origin, shadow) = (Origin::echo(), Origin::answering(ok("mirror")));
        let proxy = mirroring(driver, &origin, &shadow.endpoint(), "");
        let mut client = proxy.client();
        let content = noise(1_000_000, 1);
        assert_eq!(client.ask(post("/large", &content)).body().len(), content.len() + "/large ".len());
        let mut slow = proxy.client();
        slow.send(post_chunked_head("/slow", "") + "5\r\nhello\r\n");
        eventually("the origin has the head", || origin.connections() > 0);
        std::thread::sleep(ms(100));
        slow.send("0\r\n\r\n");
        assert_eq!(slow.response().text(), "/slow hello");
        assert_eq!(client.ask(get("/small")).text(), "/small ");
        eventually("the mirror has the small one", || !shadow.requests().is_empty());
        assert_eq!(shadow.request().target(), "/small");
    });
}

#[test]
fn hits_are_mirrored_too_and_a_mirror_fills_no_cache() {
    on_each_driver(|driver| {
        let (origin, shadow) = (Origin::answering(fresh("origin")), Origin::answering(fresh("mirror")));
        let proxy = mirroring(driver, &origin, &shadow.endpoint(), "");
        let mut client = proxy.client();
        for _ in 0..5 {
            assert_eq!(client.ask(get("/")).text(), "origin");
        }
        assert_eq!(origin.requests().len(), 1);
        eventually("the mirror has them all", || shadow.requests().len() == 5);
    });
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n";

#[test]
fn a_switch_of_protocols_goes_through_a_route() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nWELCOME");
                while let Ok(some) = peer.some() {
                    peer.send(some.to_ascii_uppercase());
                }
                peer.send("BYE");
            }
        });
        let shadow = Origin::answering(ok("mirror"));
        let text = upstreams(&[("app", &origin), ("shadow", &shadow)])
            + "
            [[route]]
            path-prefix = '/ws'
            upstream = 'app'
            mirror = 'shadow'
            strip-prefix = '/ws'
            tunnel-timeout = '10s'
            request-header = { set = { X-Id = 'i' } }
            response-header = { set = { X-Out = 'o' } }
            ";
        let proxy = start(driver, &text);
        let mut client = proxy.client();
        client.send(get_with("/ws/chat?a", UPGRADE) + "early ");
        let head = client.head();
        assert_eq!((head.status(), head.field("Upgrade")), (101, Some("websocket")));
        assert_eq!(client.exactly(13), b"WELCOMEEARLY ");
        client.send("more");
        assert_eq!(client.exactly(4), b"MORE");
        client.finish();
        assert_eq!(client.until_end(), (b"BYE".to_vec(), End::Closed));
        let request = origin.request();
        assert_eq!((request.target(), request.field("X-Id")), ("/chat?a", Some("i")));
        assert_eq!(
            (request.field("Connection"), request.field("Upgrade")),
            (Some("upgrade"), Some("websocket"))
        );
        assert_eq!(shadow.connections(), 0);
        // Answers of the proxy's own are no switch.
        let denying = start(driver, ANSWERS);
        for (path, status) in ANSWERED {
            let response: Response = denying.ask(get_with(path, UPGRADE));
            assert_eq!(response.status(), status);
            assert!(!response.fields().has("Upgrade"));
        }
    });
}

#[test]
fn clients_by_address_stay_with_an_upstream() {
    on_each_driver(|driver| {
        let (_origins, text) = stable_and_canary();
        let proxy = start(
            driver,
            &(text + "[[route]]\nupstream = { stable = 1, canary = 1 }\nsplit-by = 'client'\n"),
        );
        let from = |last: u8| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 1, last], 0)).into()).unwrap();
            socket.connect(&proxy.address().into()).unwrap();
            // What somebody says who is not trusted decides nothing.
            let forged = format!("X-Forwarded-For: 10.0.0.{}\r\n", fastrand::u8(..));
            Client::over(socket.into()).ask(get_with("/", &forged)).text()
        };
        let first: Vec<_> = (1..40).map(from).collect();
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 2, "{first:?}");
        assert_eq!(first, (1..40).map(from).collect::<Vec<_>>());
    });
}
