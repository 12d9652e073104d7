//! What routes change in requests and responses on their way: targets, fields, and the pages of errors.

use crate::support::cache::{fresh_with, page, tagged};
use crate::support::proxy::refusing_port;
use crate::support::{
    Driver, Origin, Proxy, Setup, chunk, get, get_with, ok, on_each_driver, post_chunked_head,
};

/// A proxy with the upstream `app`, and more in its file.
fn start(driver: Driver, origin: &Origin, text: &str) -> Proxy {
    let upstream = format!("[upstream.app]\nendpoints = '{}'\n", origin.endpoint());
    Setup::new(driver).file(&(upstream + text)).start()
}

#[test]
fn what_a_route_says_of_a_request_cannot_be_said_by_its_client() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(
            driver,
            &origin,
            "
            [[route]]
            upstream = 'app'
            request-header = { set = { X-User = '{header.X-Auth}', X-Role = 'guest' }, remove = ['X-Internal-*', 'X-Auth'] }
            ",
        );
        for fields in [
            "X-Auth: ann\r\nX-User: root\r\nX-Role: admin\r\nX-Internal-A: 1\r\n",
            "X-Auth: ann\r\nx-user: root\r\nX-USER: root\r\nx-role: admin\r\nx-internal-: 1\r\n",
            "X-Auth: ann\r\nX_User: root\r\nX-Role: admin\r\nX_Internal_A: 1\r\nX-Internal_b: 1\r\nX_ROLE: admin\r\n",
            // To name them in Connection does not keep what the route says from being said.
            "X-Auth: ann\r\nX-User: root\r\nConnection: X-User, X-Role\r\n",
        ] {
            assert_eq!(proxy.ask(get_with("/", fields)).status(), 200);
            let request = origin.requests().pop().unwrap();
            let all: Vec<_> = String::from_utf8(origin.received(request.connection))
                .unwrap()
                .lines()
                .skip(1)
                .filter_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    let name = name.to_ascii_lowercase().replace('_', "-");
                    matches!(&*name, "x-user" | "x-role")
                        .then(|| format!("{name}={value}"))
                        .or_else(|| (name.starts_with("x-internal-") || name == "x-auth").then_some(name))
                })
                .collect();
            assert_eq!(all[all.len() - 2..], ["x-user=ann", "x-role=guest"], "{fields:?}: {all:?}");
            assert_eq!(all.len() % 2, 0, "{fields:?}: {all:?}");
            assert!(all.chunks(2).all(|two| two == ["x-user=ann", "x-role=guest"]), "{fields:?}: {all:?}");
        }
        // Nobody is anybody who does not say so.
        proxy.ask(get_with("/", "X-User: root\r\n"));
        assert_eq!(origin.requests().pop().unwrap().field("X-User"), None);
        proxy.ask(get_with("/", "X-Auth: root\r\nConnection: X-Auth\r\n"));
        assert_eq!(origin.requests().pop().unwrap().field("X-User"), None);
    });
}

#[test]
fn trailers_say_nothing_that_the_route_says_or_takes_away() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let route = "[[route]]\nupstream = 'app'\n\
                     request-header = { set = { X-User = 'ann' }, remove = ['X-Internal-*'] }\n\
                     response-header = { remove = ['X-Secret'] }\n";
        let proxy = start(driver, &origin, route);
        let body =
            [&chunk(b"x")[..], b"0\r\nX-User: root\r\nx_user: root\r\nX-Internal-A: 1\r\nX-Kept: 1\r\n\r\n"]
                .concat();
        for apart in [false, true] {
            let mut client = proxy.client();
            client.send(post_chunked_head("/", "TE: trailers\r\nConnection: TE\r\n"));
            if apart {
                std::thread::sleep(crate::support::ms(50));
            }
            client.send(&body);
            assert_eq!(client.response().status(), 200);
            let trailers = origin.requests().pop().unwrap().content.trailers;
            for name in ["X-User", "X_User", "X-Internal-A"] {
                assert!(!trailers.has(name), "{name}: {trailers:?}");
            }
        }
        let telling = Origin::answering(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Secret\r\n\r\n1\r\nx\r\n0\r\nX-Secret: 1\r\n\r\n",
        );
        let proxy = start(driver, &telling, route);
        let response = proxy.ask(get_with("/", "TE: trailers\r\nConnection: TE\r\n"));
        assert!(!response.content.trailers.has("X-Secret"), "{:?}", response.content.trailers);
    });
}

#[test]
fn fields_of_requests_are_set_added_and_removed() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(
            driver,
            &origin,
            "
            [[route]]
            name = 'edits'
            path = '/{one}/x'
            upstream = 'app'
            [route.request-header]
            remove = ['User-Agent', 'X-Debug-*']
            set = { X-All = '{client_ip} {scheme} {host} {port} {method} {path} {query} {listener} {route} {one} {header.X-In} {cookie.c} {query.q}', X-Id = '{request_id}', X-Braces = '{{}}' }
            add = { X-Many = ['1', '2'], Accept = 'b' }
            ",
        );
        let mut client = proxy.client();
        let request = "GET /a%20b/x?q=%C3%A9+1 HTTP/1.1\r\nHost: Example.com:81\r\nUser-Agent: a\r\nx-debug-a: 1\r\nX-Debugger: 2\r\n\
                       X-In: in\r\nCookie: b=1; c=2\r\nAccept: a\r\nX-Many: 0\r\nX-All: mine\r\n\r\n";
        assert_eq!(client.ask(request).text(), "/a%20b/x?q=%C3%A9+1 ");
        let request = origin.request();
        let fields = &request.head.fields;
        assert_eq!(
            fields.one("X-All"),
            Some(
                "127.0.0.1 http example.com 81 GET /a%20b/x q=%C3%A9+1 default edits a%20b in 2 \u{c3}\u{a9} 1"
            )
        );
        assert_eq!(fields.one("X-Id"), fields.one("X-Request-Id"));
        assert_eq!(fields.one("X-Braces"), Some("{}"));
        assert_eq!(fields.all("X-Many"), ["0", "1", "2"]);
        assert_eq!(fields.all("Accept"), ["a", "b"]);
        assert!(!fields.has("User-Agent") && !fields.has("X-Debug-a") && fields.has("X-Debugger"));
    });
}

#[test]
fn host_may_be_set_and_stands_there_once() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(
            driver,
            &origin,
            "[[route]]\nupstream = 'app'\nrequest-header = { set = { Host = 'inner.example' } }\n",
        );
        for request in [get("/"), get("http://other.example/"), "GET / HTTP/1.0\r\n\r\n".to_owned()] {
            assert_eq!(proxy.ask(&request).status(), 200);
            let request = origin.requests().pop().unwrap();
            assert_eq!(request.field("Host"), Some("inner.example"));
            assert_ne!(request.field("X-Forwarded-Host"), Some("inner.example"));
        }
    });
}

#[test]
fn the_target_is_stripped_rewritten_and_prefixed() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(
            driver,
            &origin,
            "
            [[route]]
            path-prefix = '/strip'
            upstream = 'app'
            strip-prefix = '/strip/it'
            [[route]]
            path-prefix = '/both'
            upstream = 'app'
            strip-prefix = '/both'
            add-prefix = '/v1'
            [[route]]
            path = '/users/{id}'
            upstream = 'app'
            rewrite = '/people/{id}/{header.X}'
            [[route]]
            path-regex = '^/re/(?<all>.*)$'
            upstream = 'app'
            rewrite = '/{all}'
            [[route]]
            path = '/query'
            upstream = 'app'
            query-edit = { remove = ['utm_*', 'gone'], set = { a = '{host}' }, add = { b = ['1', '{header.X}'] } }
            [[route]]
            path = '/replace/{id}'
            upstream = 'app'
            query-edit = { replace = 'id={id}&q={query.q}' }
            ",
        );
        let mut client = proxy.client();
        for (target, got) in [
            ("/strip/it/a?b", "/a?b"),
            ("/strip/it", "/"),
            ("/strip/it?b", "/?b"),
            ("/strip/it/", "/"),
            ("/strip/its", "/strip/its"),
            ("/strip", "/strip"),
            ("//strip/./it//%61", "/a"),
            ("/strip/it/..%2fx", ""),
            ("/strip/it//evil", "/evil"),
            ("/both", "/v1/"),
            ("/both/x/", "/v1/x/"),
            ("/users/7?a=b", "/people/7/x%2Fy%3F?a=b"),
            ("/users/a%20b", "/people/a%20b/x%2Fy%3F"),
            ("/re/a/b?c", "/a/b?c"),
            ("/re/", "/"),
            (
                "/query?utm_source=1&x=2&gone&a=9&a=8&%67one=1&UTM_x=1",
                "/query?x=2&UTM_x=1&a=example.com&b=1&b=x/y%3F",
            ),
            ("/query", "/query?a=example.com&b=1&b=x/y%3F"),
            ("/replace/7?q=%26x%3D1&z", "/replace/7?id=7&q=%26x%3D1"),
        ] {
            let response = client.ask(get_with(target, "X: x/y?\r\n"));
            if got.is_empty() {
                assert_eq!(response.status(), 400, "{target}: {}", response.text());
                client = proxy.client();
                continue;
            }
            let order = |target: &str| {
                let (path, query) = target.trim_end().split_once('?').unwrap_or((target.trim_end(), ""));
                let mut parameters: Vec<_> = query.split('&').map(str::to_owned).collect();
                parameters.sort();
                (path.to_owned(), parameters)
            };
            assert_eq!(order(&response.text()), order(got), "{target}: {}", response.text());
        }
        // No value makes a path that leads elsewhere.
        for (target, fields) in [
            ("/users/x", "X: ..\r\n"),
            ("/users/x", "X: .\r\n"),
            ("/users/x", "X: ../../admin\r\n"),
            ("/users/x", "X: ..;\r\n"),
            ("/re/..;/x", ""),
        ] {
            let response = proxy.ask(get_with(target, fields));
            let safe = response.status() == 400 || !response.text().contains("/..");
            assert!(safe, "{target} {fields}: {}", response.text());
        }
    });
}

/// Sets, adds and removes something in responses.
const EDITS: &str = "response-header = { set = { X-Set = '{request_id}', Server = 'edge' }, add = { X-Many = ['1', '2'] }, remove = ['X-Secret', 'X-Internal-*'] }\n";

#[track_caller]
fn assert_edited(response: &crate::support::client::Response, many: &[&str]) {
    let fields = response.fields();
    assert_eq!(fields.all("Server"), ["edge"], "{:?}", response.head);
    assert_eq!(fields.all("X-Many"), many, "{:?}", response.head);
    assert_eq!(fields.all("X-Set").len(), 1, "{:?}", response.head);
    assert!(
        !fields.has("X-Secret") && !fields.has("X-Internal-A") && !fields.has("x_secret"),
        "{:?}",
        response.head
    );
}

#[test]
fn fields_of_responses_are_edited_wherever_they_come_from() {
    on_each_driver(|driver| {
        let origin = tagged(
            "\"e\"",
            "Cache-Control: max-age=3600\r\nX-Secret: 1\r\nx-internal-a: 1\r\nx_secret: 2\r\nX-Many: 0\r\nServer: origin\r\n",
        );
        let proxy = start(driver, &origin, &format!("[[route]]\nupstream = 'app'\n{EDITS}"));
        let mut client = proxy.client();
        let mut ids = std::collections::HashSet::new();
        for (fields, status, x_cache) in [
            ("", 200, "MISS"),
            ("", 200, "HIT"),
            ("If-None-Match: \"e\"\r\n", 304, "HIT"),
            ("Range: bytes=0-2\r\n", 206, "HIT"),
            ("Range: bytes=99-\r\n", 416, "HIT"),
            ("Cache-Control: no-cache\r\n", 200, "REVALIDATED"),
            ("Cache-Control: no-store\r\n", 200, "BYPASS"),
            ("Cache-Control: only-if-cached, no-cache\r\n", 504, ""),
        ] {
            let response = client.ask(get_with("/", fields));
            assert_eq!(response.status(), status, "{fields}");
            if !x_cache.is_empty() {
                assert_eq!(response.x_cache(), x_cache, "{fields}");
            }
            let many: &[&str] = if matches!(status, 416 | 504) { &["1", "2"] } else { &["0", "1", "2"] };
            assert_edited(&response, many);
            assert!(ids.insert(response.field("X-Set").unwrap().to_owned()), "the id of another request");
        }
        client.send("HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_edited(&client.response_to("HEAD"), &["0", "1", "2"]);
        let stored = proxy.ask(get_with("/", "X-Request-Id: mine\r\n"));
        assert_eq!((stored.field("X-Set"), stored.x_cache()), (Some("mine"), "HIT"));
    });
}

#[test]
fn fields_of_the_proxys_own_answers_are_edited_too() {
    on_each_driver(|driver| {
        let (refusing, _held) = refusing_port();
        let text = format!(
            "[upstream.dead]\nendpoints = '{refusing}'\n\
             [[route]]\npath = '/dead'\nupstream = 'dead'\n{EDITS}\
             [[route]]\npath = '/deny'\ndeny = true\n{EDITS}\
             [[route]]\npath = '/respond'\nrespond = 'x'\n{EDITS}\
             [[route]]\npath = '/redirect'\nredirect = '/'\n{EDITS}"
        );
        let proxy = Setup::new(driver).file(&text).start();
        let mut client = proxy.client();
        for (path, status) in [("/dead", 502), ("/deny", 403), ("/respond", 200), ("/redirect", 302)] {
            let response = client.ask(get(path));
            assert_eq!(response.status(), status);
            assert_edited(&response, &["1", "2"]);
        }
        assert_eq!(client.ask(get("/none")).field("X-Set"), None);
    });
}

#[test]
fn interim_responses_are_left_alone() {
    on_each_driver(|driver| {
        let origin = Origin::answering(
            [&b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Secret: 1\r\n\r\n"[..], &ok("x")].concat(),
        );
        let proxy = start(driver, &origin, &format!("[[route]]\nupstream = 'app'\n{EDITS}"));
        let mut client = proxy.client();
        client.send(get("/"));
        let early = client.head();
        assert_eq!((early.status(), early.field("X-Set")), (103, None));
        assert_edited(&client.response(), &["1", "2"]);
    });
}

#[test]
fn errors_have_the_pages_of_their_route_or_those_for_all() {
    on_each_driver(|driver| {
        let (refusing, _held) = refusing_port();
        let origin = Origin::replying(|_| b"HTTP/1.1 502 Bad\r\nContent-Length: 3\r\n\r\nown".to_vec());
        let proxy = start(
            driver,
            &origin,
            &format!(
                "
                [upstream.dead]
                endpoints = '{refusing}'
                [error-page]
                404 = {{ body = 'nothing here', content-type = 'text/plain' }}
                502 = {{ body = '<h1>all' }}
                403 = {{ body = 'no' }}
                400 = {{ body = 'bad' }}
                [[route]]
                path = '/own'
                upstream = 'dead'
                error-page = {{ 502 = {{ body = '{{\"a\":1}}', content-type = 'application/json' }} }}
                [[route]]
                path = '/dead'
                upstream = 'dead'
                [[route]]
                path = '/deny'
                deny = true
                error-page = {{ 451 = {{ body = 'x' }} }}
                [[route]]
                path = '/origin'
                upstream = 'app'
                error-page = {{ 502 = {{ body = 'not this' }} }}
                "
            ),
        );
        let mut client = proxy.client();
        for (path, status, kind, body) in [
            ("/own", 502, "application/json", "{\"a\":1}"),
            ("/dead", 502, "text/html; charset=utf-8", "<h1>all"),
            ("/deny", 403, "text/html; charset=utf-8", "no"),
            ("/none", 404, "text/plain", "nothing here"),
        ] {
            let response = client.ask(get_with(path, "Accept: text/html\r\n"));
            assert_eq!((response.status(), response.field("Content-Type")), (status, Some(kind)), "{path}");
            assert_eq!(
                (response.text().as_str(), response.field("Cache-Control")),
                (body, Some("no-store")),
                "{path}"
            );
            client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let head = client.response_to("HEAD");
            assert_eq!(
                (head.status(), head.field("Content-Length")),
                (status, Some(&*body.len().to_string()))
            );
            let json = client.ask(get_with(path, "Accept: application/json\r\n"));
            assert_eq!(
                (json.status(), json.field("Content-Type")),
                (status, Some("application/problem+json"))
            );
            assert!(json.text().contains(&format!("\"status\":{status}")), "{}", json.text());
        }
        // What an origin says of itself is not the proxy's.
        assert_eq!(client.ask(get("/origin")).text(), "own");
        assert_eq!(proxy.ask("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n").text(), "bad");
        assert_eq!(proxy.ask("nonsense\r\n\r\n").text(), "bad");
    });
}

#[test]
fn fields_of_what_is_passed_on_in_pieces_are_edited() {
    on_each_driver(|driver| {
        let long = "y".repeat(3000);
        let origin = Origin::replying(move |request| {
            match request.target() {
            "/long" => page(&format!("X-Long: {long}\r\nX-Secret: 1\r\nX-Many: 0\r\nX-Internal-A: {long}\r\n"), "x"),
            "/stored" => fresh_with(&format!("X-Long: {long}\r\nX-Secret: 1\r\nX-Many: 0\r\n"), vec![b'x'; 300_000]),
            _ => b"HTTP/1.1 200 OK\r\nX-Many: 0\r\nTransfer-Encoding: chunked\r\nX-Secret: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n".to_vec(),
        }
        });
        let set = "x".repeat(5000);
        let route = format!(
            "[[route]]\nupstream = 'app'\n{}",
            EDITS.replace("X-Set =", &format!("X-More = '{set}', X-Set ="))
        );
        let proxy = start(driver, &origin, &route);
        for target in ["/long", "/stored", "/stored", "/chunked"] {
            let mut client = proxy.client();
            let response = client.ask(get(target));
            assert_edited(&response, &["0", "1", "2"]);
            assert_eq!(response.field("X-More"), Some(&*set));
            assert_eq!(response.body().len(), if target == "/stored" { 300_000 } else { 1 });
            assert_eq!(client.ask(get("/long")).status(), 200);
        }
    });
}
