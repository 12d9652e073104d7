//! A service that says who is let in, and what becomes of what it says.

use std::time::Instant;

use crate::support::cache::fresh_with;
use crate::support::live::upstream;
use crate::support::origin::Request;
use crate::support::proxy::refusing_port;
use crate::support::{Driver, End, Origin, Proxy, Setup, chunk, get, get_with, noise, on_each_driver, post};

/// A service that lets those go on who have a session, and tells whose it is.
fn service() -> Origin {
    Origin::replying(|request| {
        match session(request) {
        Some(user) => format!("HTTP/1.1 200 OK\r\nX-User: {user}\r\nX-Other: no\r\nContent-Length: 2\r\n\r\nok"),
        None => "HTTP/1.1 302 Found\r\nLocation: https://login/?to=x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 Content-Type: text/plain\r\nX-Internal: secret\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nlogin"
            .to_owned(),
    }.into_bytes()
    })
}

fn session(request: &Request) -> Option<String> {
    request.field("Cookie")?.strip_prefix("session=").map(str::to_owned)
}

const FORWARD: &str = "upstream = 'sso', path = '/verify?x=1', response-header = ['X-User', 'X-Groups']";

fn text(origin: &Origin, service: &str, forward: &str) -> String {
    format!(
        "{}{service}[auth.sso]\nforward = {{ {forward} }}\n[[route]]\nupstream = 'app'\nauth = 'sso'\n",
        upstream("app", origin)
    )
}

fn start(driver: Driver, origin: &Origin, service: &Origin, forward: &str) -> Proxy {
    let text = text(origin, &upstream("sso", service), forward);
    Setup::new(driver).file(&text).args(&["--access-log", "combined"]).start()
}

#[test]
fn the_service_is_told_of_the_request_and_the_upstream_of_what_it_says() {
    on_each_driver(|driver| {
        let (origin, service) = (Origin::echo(), service());
        let proxy = start(driver, &origin, &service, FORWARD);
        let fields = "Cookie: session=ann\r\nAuthorization: Bearer x\r\nX-User: root\r\nX_User: root\r\nX-Groups: wheel\r\n\
                      X-Forwarded-Uri: /open\r\nX-Forwarded-Method: GET\r\nX-Forwarded-For: 10.0.0.1\r\nX-Secret: 1\r\n";
        let mut request = get_with("/a/%7Eb/../c?q=1", fields).replacen("GET", "DELETE", 1);
        request = request.replace("Host: ", "Host: www.");
        assert_eq!(proxy.ask(&request).status(), 200);
        let asked = service.request();
        assert_eq!((asked.head.method(), asked.target()), ("GET", "/verify?x=1"));
        for (name, want) in [
            ("X-Forwarded-Method", "DELETE"),
            ("X-Forwarded-Uri", "/a/c?q=1"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("Cookie", "session=ann"),
            ("Authorization", "Bearer x"),
            ("Host", &service.address().to_string()),
        ] {
            assert_eq!(asked.field(name), Some(want), "{name}");
        }
        assert!(asked.field("X-Forwarded-Host").unwrap().starts_with("www."));
        for name in ["X-User", "X-Groups", "X-Secret", "Content-Length", "Transfer-Encoding"] {
            assert!(!asked.head.fields.has(name), "{name}");
        }
        // What the service does not say is not said by the client either.
        let all = origin.request().head.fields.lines().join("\n").to_lowercase();
        assert!(all.contains("x-user: ann") && !all.contains("root") && !all.contains("x_user"), "{all}");
        assert!(!all.contains("groups") && !all.contains("x-other"), "{all}");
        assert!(all.contains("authorization: bearer x"), "{all}");
        // The connection to the service is used again.
        for _ in 0..3 {
            assert_eq!(proxy.ask(get_with("/", "Cookie: session=ann\r\n")).status(), 200);
        }
        assert_eq!(service.connections(), 1);
    });
}

#[test]
fn refusals_and_redirects_go_to_the_client_without_what_is_not_for_it() {
    on_each_driver(|driver| {
        let (origin, service) = (Origin::echo(), service());
        let proxy = start(driver, &origin, &service, FORWARD);
        let mut client = proxy.client();
        for _ in 0..3 {
            let response = client.ask(get("/"));
            assert_eq!((response.status(), response.text().as_str()), (302, "login"));
            assert_eq!(response.field("Location"), Some("https://login/?to=x"));
            assert_eq!(response.fields().all("Set-Cookie"), ["a=1", "b=2"]);
            assert!(!response.fields().has("X-Internal") && !response.fields().has("Keep-Alive"));
            assert_eq!(response.field("Cache-Control"), Some("no-store"));
        }
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response_to("HEAD");
        assert_eq!((response.status(), response.field("Content-Length")), (302, Some("5")));
        // Pipelined, with content that has come, and that has not.
        client.send(
            [get("/").into_bytes(), post("/", b"content"), get_with("/x", "Cookie: session=a\r\n").into()]
                .concat(),
        );
        assert_eq!([client.response().status(), client.response().status()], [302, 302]);
        assert_eq!(client.response().status(), 200);
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.response().status(), 302);
        assert_eq!(client.expect_end(), End::Closed);
        assert_eq!(origin.requests().len(), 1);
        for (status, phrase) in [(401, "Unauthorized"), (403, "Forbidden")] {
            let service = Origin::answering(format!(
                "HTTP/1.1 {status} {phrase}\r\nWWW-Authenticate: Negotiate\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
            ));
            let proxy = start(driver, &origin, &service, FORWARD);
            let response = proxy.get("/");
            assert_eq!((response.status(), response.text().as_str()), (status, "no"));
            assert_eq!(response.field("WWW-Authenticate"), Some("Negotiate"));
            proxy.logged(&[if status == 401 { "unauthenticated" } else { "auth_refused" }]);
        }
    });
}

#[test]
fn content_goes_to_the_upstream_and_never_to_the_service() {
    on_each_driver(|driver| {
        let (origin, service) = (Origin::echo(), service());
        let forward = format!("{FORWARD}, method = 'client'");
        let proxy = start(driver, &origin, &service, &forward);
        let content = noise(200_000, 7);
        let mut client = proxy.client();
        client
            .send("POST /x HTTP/1.1\r\nHost: a\r\nCookie: session=ann\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in content.chunks(10_000) {
            client.send(chunk(piece));
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.response().status(), 200);
        assert_eq!(origin.request().body(), content);
        let asked = service.request();
        assert_eq!((asked.head.method(), asked.body()), ("POST", &b""[..]));
    });
}

#[test]
fn whatever_is_not_clear_is_no_permission() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            "3e8\r\n".to_owned() + &"y".repeat(1000) + "\r\n"
        );
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
            format!("X-User: {}\r\n", "z".repeat(2000)).repeat(12)
        );
        for answer in [
            "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 304 No\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/3 200 OK\r\n\r\n",
            "200 OK\r\n\r\n",
            "garbage",
            "",
            &huge,
            &chunked,
            &many,
        ] {
            let said = answer.to_owned();
            let service = Origin::start(move |peer| {
                if peer.request().is_some() {
                    peer.send(&said);
                }
            });
            let proxy = start(driver, &origin, &service, FORWARD);
            let response = proxy.ask(get_with("/", "Cookie: session=ann\r\n"));
            assert_eq!(response.status(), 503, "{:.60}", answer);
            assert_eq!(response.field("Retry-After"), Some("1"));
            proxy.logged(&["auth_unavailable"]);
        }
        assert!(origin.requests().is_empty());
    });
}

#[test]
fn a_service_that_hangs_or_is_gone_lets_nobody_in() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let forward = format!("{FORWARD}, timeout = '500ms'");
        let silent = Origin::start(|peer| {
            peer.request();
            let _ = peer.request();
        });
        let slow = Origin::start(|peer| {
            peer.request();
            for byte in
                "HTTP/1.1 200 OK\r\nX-User: ann\r\nX-More: ".bytes().chain(std::iter::repeat(b'x')).take(400)
            {
                peer.send([byte]);
                std::thread::sleep(crate::support::ms(20));
            }
        });
        for service in [&silent, &slow] {
            let proxy = start(driver, &origin, service, &forward);
            let since = Instant::now();
            assert_eq!(proxy.get("/").status(), 503);
            assert!(since.elapsed() < crate::support::PATIENCE);
        }
        let (address, _kept) = refusing_port();
        let text = text(&origin, &format!("[upstream.sso]\nendpoints = '{address}'\n"), &forward);
        let proxy = Setup::new(driver).file(&text).start();
        assert_eq!(proxy.get("/").status(), 503);
        assert!(origin.requests().is_empty());
    });
}

#[test]
fn a_connection_that_the_service_has_closed_is_replaced() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        // Each connection serves one request, and is closed without a word when it gets another.
        let service = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 204 No Content\r\nX-User: ann\r\n\r\n");
                let _ = peer.request();
            }
        });
        let text = text(&origin, &(upstream("sso", &service) + "retries = 0\n"), FORWARD);
        let proxy = Setup::new(driver).file(&text).start();
        for _ in 0..5 {
            assert_eq!(proxy.get("/").status(), 200);
        }
        assert_eq!(origin.requests().len(), 5);
        assert!(origin.requests().iter().all(|request| request.field("X-User") == Some("ann")));
    });
}

#[test]
fn nobody_gets_from_the_cache_what_was_made_for_another() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| fresh_with("", request.field("X-User").unwrap_or("nobody")));
        let service = service();
        let proxy = start(driver, &origin, &service, &format!("{FORWARD}, request-header = ['Cookie']"));
        let ask = |user: &str| proxy.ask(get_with("/", &format!("Cookie: session={user}\r\n")));
        ask("ann").expect(200, "ann", "MISS");
        ask("bob").expect(200, "bob", "MISS");
        ask("ann").expect(200, "ann", "HIT");
        ask("bob").expect(200, "bob", "HIT");
        assert_eq!(proxy.get("/").status(), 302);
        assert_eq!(service.requests().len(), 5);
    });
}

#[test]
fn services_stand_beside_other_ways() {
    on_each_driver(|driver| {
        let (origin, service) = (Origin::echo(), service());
        let token = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        let text = text(&origin, &upstream("sso", &service), FORWARD)
            .replace("auth = 'sso'", "auth = ['sso', 'api']")
            .replace(
                "[auth.sso]",
                &format!("[auth.api]\nbearer = '{token}'\n[auth.sso]\nuser-header = 'X-User'"),
            );
        let proxy = Setup::new(driver).file(&text).args(&["--access-log", "combined"]).start();
        // Who has a token is known without the service, and is nobody else's user.
        let fields = "Authorization: Bearer foo\r\nX-User: root\r\n";
        assert_eq!(proxy.ask(get_with("/", fields)).status(), 200);
        assert!(service.requests().is_empty());
        assert_eq!(origin.requests().pop().unwrap().field("X-User"), None);
        assert_eq!(proxy.ask(get_with("/", "Cookie: session=ann b\r\n")).status(), 200);
        assert_eq!(origin.requests().pop().unwrap().head.fields.all("X-User"), ["ann b"]);
        proxy.logged(&["127.0.0.1 - ann\\x20b ["]);
        assert_eq!(proxy.get("/").status(), 302);
    });
}

/// A service that renews the session of those who ask for that, by two cookies.
fn renewing() -> Origin {
    Origin::replying(|request| {
        let user = session(request).unwrap_or_default();
        let renewed = match request.field("X-Renew") {
            Some(_) => format!("Set-Cookie: session={user}; HttpOnly\r\nset-cookie: csrf={user}\r\n"),
            None => String::new(),
        };
        format!("HTTP/1.1 200 OK\r\n{renewed}X-Internal: secret\r\nContent-Length: 0\r\n\r\n").into_bytes()
    })
}

#[test]
fn a_session_that_is_renewed_reaches_its_client_and_nobody_else() {
    on_each_driver(|driver| {
        let origin = Origin::answering(fresh_with("", "kept"));
        let service = renewing();
        let forward = "upstream = 'sso', path = '/verify', request-header = ['Cookie', 'X-Renew'], \
                       client-header = ['Set-Cookie', 'X-None']";
        let text = text(&origin, &upstream("sso", &service), forward);
        let proxy = Setup::new(driver).file(&text).args(&["--cache-size", "16MiB"]).start();
        let ask = |user: &str, fields: &str| {
            proxy.ask(get_with("/page", &format!("Cookie: session={user}\r\n{fields}")))
        };
        let first = ask("ann", "X-Renew: 1\r\n");
        let of_ann = ["session=ann; HttpOnly", "csrf=ann"];
        assert_eq!((first.status(), first.fields().all("Set-Cookie")), (200, of_ann.to_vec()));
        assert!(!first.fields().has("X-Internal") && !first.fields().has("X-None"));
        // It is stored without them, and each hit gets its own or none.
        let second = ask("bob", "");
        assert_eq!((second.text().as_str(), second.fields().has("Set-Cookie")), ("kept", false));
        let third = ask("bob", "X-Renew: 1\r\n");
        let of_bob = ["session=bob; HttpOnly", "csrf=bob"];
        assert_eq!(third.fields().all("Set-Cookie"), of_bob);
        assert!(!ask("ann", "").fields().has("Set-Cookie"));
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn a_session_that_is_too_long_to_be_passed_on_is_no_permission() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let cookies = format!("Set-Cookie: a={}\r\n", "x".repeat(3000)).repeat(6);
        let service = Origin::answering(format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 0\r\n\r\n"));
        let forward = "upstream = 'sso', path = '/', client-header = 'Set-Cookie'";
        let proxy = start(driver, &origin, &service, forward);
        assert_eq!(proxy.get("/").status(), 503);
        assert!(origin.requests().is_empty());
        let service = Origin::answering(format!(
            "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
            format!("Set-Cookie: a={}\r\n", "x".repeat(3000)).repeat(5)
        ));
        let proxy = start(driver, &origin, &service, forward);
        let response = proxy.get("/");
        assert_eq!((response.status(), response.fields().all("Set-Cookie").len()), (200, 5));
    });
}

#[test]
fn browsers_are_sent_to_sign_in_and_others_get_the_401() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let service = Origin::answering(
            "HTTP/1.1 401 Unauthorized\r\nSet-Cookie: session=; Max-Age=0\r\nWWW-Authenticate: Negotiate\r\n\
             Content-Length: 2\r\n\r\nno",
        );
        let forward = "upstream = 'sso', path = '/', client-header = 'Set-Cookie', \
                       sign-in = 'https://login.example/in?rd={url}&x=1'";
        let text = text(&origin, &upstream("sso", &service), forward);
        let proxy = Setup::new(driver).file(&text).admin().start();
        let run = proxy.order(&["explain", "--live", "http://a/x"]);
        let want = "wants the word of sso/ (sso), whose Set-Cookie the client gets, or browsers sign in at https://login";
        assert!(run.stdout.contains(want), "{} {}", run.stdout, run.stderr);
        let html = "Accept: text/html,application/xhtml+xml;q=0.9, */*;q=0.8\r\n";
        let mut client = proxy.client();
        for method in ["GET", "HEAD"] {
            let request = get_with("/a/../b%20c?d=1&e=%2F", html).replacen("GET", method, 1);
            client.send(request.replace("Host: ", "Host: www."));
            let response = client.response_to(method);
            assert_eq!((response.status(), response.text().as_str()), (302, ""), "{method}");
            let to = response.field("Location").unwrap();
            assert!(to.starts_with("https://login.example/in?rd=http%3A%2F%2Fwww."), "{to}");
            assert!(to.ends_with("%2Fb%2520c%3Fd%3D1%26e%3D%252F&x=1"), "{to}");
            assert_eq!(response.field("Set-Cookie"), Some("session=; Max-Age=0"));
            assert_eq!(response.field("Cache-Control"), Some("no-store"));
            assert!(!response.fields().has("WWW-Authenticate"));
        }
        for (method, fields) in [("GET", ""), ("GET", "Accept: application/json, */*\r\n"), ("DELETE", html)]
        {
            let response = client.ask(get_with("/", fields).replacen("GET", method, 1));
            assert_eq!((response.status(), response.text().as_str()), (401, "no"), "{method} {fields}");
            assert_eq!(response.field("WWW-Authenticate"), Some("Negotiate"));
        }
        assert!(origin.requests().is_empty());
    });
}

#[test]
fn an_answer_in_front_of_content_says_that_the_connection_ends() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let service = Origin::answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        let proxy = start(driver, &origin, &service, FORWARD);
        for head in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
            let mut client = proxy.client();
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}"));
            let response = client.response();
            assert_eq!((response.status(), response.field("Connection")), (401, Some("close")), "{head}");
            assert_eq!(client.expect_end(), End::Closed);
        }
        let mut client = proxy.client();
        for _ in 0..2 {
            let response = client.ask(post("/", b"content"));
            assert_eq!((response.status(), response.field("Connection")), (401, None));
        }
    });
}
