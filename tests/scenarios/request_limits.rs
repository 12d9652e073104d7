//! Bounds on requests: methods, targets, queries, fields, types and amounts of content.

use crate::support::live::Live;
use crate::support::{
    Driver, Origin, Proxy, Setup, chunk, eventually, get, get_with, on_each_driver, post_chunked_head,
};

fn start(driver: Driver, origin: &Origin, text: &str) -> Proxy {
    let text = text.replace("APP", "upstream = 'app'");
    Setup::new(driver).file(&format!("[upstream.app]\nendpoints = '{}'\n{text}", origin.endpoint())).start()
}

fn asking(method: &str, target: &str, fields: &str, content: &str) -> String {
    let length =
        if content.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", content.len()) };
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{length}{fields}\r\n{content}")
}

#[test]
fn methods_that_are_not_listed_get_405_with_those_that_are() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = "[[route]]\npath-prefix = '/read'\nAPP\nrequest-limits = { method = ['GET', 'HEAD'] }\n[[route]]\nAPP\n";
        let proxy = start(driver, &origin, text);
        assert_eq!(proxy.get("/read").status(), 200);
        for method in ["POST", "DELETE", "get", "PURGE", "OPTIONS", "PATCH"] {
            let mut client = proxy.client();
            let response = client.ask(asking(method, "/read", "", "content"));
            assert_eq!((response.status(), response.field("Allow")), (405, Some("GET, HEAD")), "{method}");
            assert_eq!(client.ask(asking(method, "/", "", "x")).status(), 200, "{method}");
        }
        let question = "Origin: https://a\r\nAccess-Control-Request-Method: GET\r\n";
        let response = proxy.ask(asking("OPTIONS", "/read", question, ""));
        assert_eq!(response.status(), 405, "without a rule for it such a question is a request like others");
        assert!(
            origin
                .requests()
                .iter()
                .all(|request| !request.target().starts_with("/read") || request.head.method() == "GET")
        );
    });
}

#[test]
fn whoever_takes_get_takes_head() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = "[[route]]\npath-prefix = '/bounds'\nAPP\nrequest-limits = { method = ['GET', 'POST'] }\n\
                    [[route]]\npath-prefix = '/rules'\nAPP\nrules = 'own'\n\
                    [[route]]\npath-prefix = '/route'\nmethod = 'GET'\nAPP\n\
                    [rule-set.own]\ninclude = 'probes'\nmethods = ['GET']\n";
        let proxy = start(driver, &origin, text);
        for (path, refused) in [("/bounds", 405), ("/rules", 405), ("/route", 404)] {
            let mut client = proxy.client();
            client.send(asking("HEAD", path, "", ""));
            assert_eq!(client.response_to("HEAD").status(), 200, "{path}");
            let response = client.ask(asking("PUT", path, "", ""));
            assert_eq!(response.status(), refused, "{path}");
            let allow = response.field("Allow").map(|allow| allow.contains("GET, HEAD"));
            assert_eq!(allow, (refused == 405).then_some(true), "{path}");
        }
    });
}

#[test]
fn targets_queries_and_fields_have_their_own_bounds_and_statuses() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = "[[route]]\npath-prefix = '/a'\nAPP\n\
                    request-limits = { max-target = '40B', max-query = '20B', max-parameters = 3, max-field = '100B', max-fields = 4 }\n\
                    [[route]]\nAPP\n";
        let proxy = start(driver, &origin, text);
        let long = "x".repeat(40);
        let value = "v".repeat(95);
        for (target, fields, want) in [
            ("/a", String::new(), 200),
            ("/a?a=1&b=2&c=3", String::new(), 200),
            ("/a?a=1&b=2&c=3&d", String::new(), 414),
            (&format!("/a/{long}"), String::new(), 414),
            ("/a?abcdefghijklmnopqrs", String::new(), 200),
            ("/a?abcdefghijklmnopqrstuvwxy", String::new(), 414),
            ("/a", format!("X-A: {value}\r\n"), 200),
            ("/a", format!("X-Ab: {value}\r\n"), 431),
            ("/a", "A: b\r\nC: d\r\nE: f\r\n".to_owned(), 200),
            ("/a", "A: b\r\nC: d\r\nE: f\r\nG: h\r\n".to_owned(), 431),
        ] {
            assert_eq!(proxy.ask(get_with(target, &fields)).status(), want, "{target} {fields}");
            let other = target.replacen("/a", "/b", 1);
            assert_eq!(proxy.ask(get_with(&other, &fields)).status(), 200, "{other}");
        }
    });
}

#[test]
fn content_has_to_be_of_a_type_that_is_listed() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = "[[route]]\npath = '/api'\nAPP\nrequest-limits = { content-type = ['application/json', 'text/*'] }\n[[route]]\nAPP\n";
        let proxy = start(driver, &origin, text);
        let ask = |fields: &str, content: &str| proxy.ask(asking("POST", "/api", fields, content));
        for (fields, want) in [
            ("Content-Type: application/json\r\n", 200),
            ("content-type: Application/JSON;charset=utf-8\r\n", 200),
            ("Content-Type: text/csv\r\n", 200),
            ("Content-Type: application/xml\r\n", 415),
            ("Content-Type: application/x-www-form-urlencoded\r\n", 415),
            ("Content-Type: application/json, text/html\r\n", 415),
            ("Content-Type: application/json\r\nContent-Type: application/xml\r\n", 415),
            ("Content-Type: text/plain\r\nConnection: Content-Type\r\n", 415),
            ("Content-Type:\r\n", 415),
            ("", 415),
        ] {
            let response = ask(fields, "{}");
            assert_eq!(response.status(), want, "{fields}");
            let accept = (want == 415).then_some("application/json, text/*");
            assert_eq!(response.field("Accept"), accept, "{fields}");
            assert_eq!(ask(fields, "").status(), 200, "there is no content: {fields}");
        }
        let chunked = [post_chunked_head("/api", "").as_bytes(), &chunk(b"x"), b"0\r\n\r\n"].concat();
        assert_eq!(proxy.ask(chunked).status(), 415);
        assert_eq!(proxy.ask(asking("POST", "/", "", "x")).status(), 200);
    });
}

#[test]
fn content_that_grows_too_large_is_cut_where_it_crosses_and_never_looks_whole() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| while peer.request().is_some() {});
        let text = "[[route]]\npath = '/small'\nAPP\nmax-body = '64KiB'\n[[route]]\nAPP\nmax-body = '1MiB'\n";
        let proxy = start(driver, &origin, text);
        for (path, most) in [("/small", 64 * 1024), ("/large", 1024 * 1024)] {
            let mut client = proxy.client();
            client.send(post_chunked_head(path, ""));
            let piece = chunk(&[b'x'; 4096]);
            let mut sent = 0;
            // It says no length: the proxy has to count.
            while sent <= most && client.try_send(&piece) {
                sent += 4096;
            }
            let response = client.response();
            assert_eq!((response.status(), response.says_close()), (413, true), "{path}");
            assert!(sent >= most, "{path}: refused after {sent} bytes");
        }
        eventually("the upstream's connections are cut", || origin.open() == 0);
        assert!(origin.requests().is_empty(), "no request was whole");
    });
}

#[test]
fn a_route_has_its_own_bounds_in_the_place_of_its_listeners() {
    on_each_driver(|driver| {
        let text = "[listener.web]\naddress = '127.0.0.1:0'\nrequest-limits = { method = 'GET', max-query = '5B' }\n\
                    [[route]]\npath = '/own'\nrespond = 'x'\nrequest-limits = { method = ['GET', 'POST'] }\n\
                    [[route]]\nrespond = 'x'\n";
        let proxy = Live::listening(driver, 1, text);
        let status = |method: &str, target: &str| proxy.ask(asking(method, target, "", "")).status();
        assert_eq!(
            (status("POST", "/"), status("GET", "/?123456"), status("GET", "/?12345")),
            (405, 414, 200)
        );
        assert_eq!(
            (status("POST", "/own"), status("GET", "/own?123456"), status("PUT", "/own")),
            (200, 200, 405)
        );
        let run = proxy.order(&["explain", "--live", "-X", "PUT", "http://a/own"]);
        assert!(
            run.stdout.contains("request-limits: This method is not allowed here. (route route-1)"),
            "{}",
            run.stdout
        );
        assert_eq!(proxy.ask(get("/nowhere")).status(), 200);
    });
}
