//! What pages of other origins may ask, as their browsers find it out.

use crate::support::cache::{fresh_with, page};
use crate::support::client::Response;
use crate::support::live::Live;
use crate::support::{Driver, Origin, Proxy, Setup, get, get_with, on_each_driver};

const APP: &str = "https://app.example.com";

fn start(driver: Driver, origin: &Origin, cors: &str) -> Proxy {
    let text = format!(
        "[upstream.app]\nendpoints = '{}'\n[[route]]\npath = '/plain'\nupstream = 'app'\n\
         [[route]]\nupstream = 'app'\ncors = {{ {cors} }}\n",
        origin.endpoint()
    );
    Setup::new(driver).args(&["--cache-size", "16MiB"]).file(&text).start()
}

fn preflight(target: &str, origin: &str, method: &str, more: &str) -> String {
    format!(
        "OPTIONS {target} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n{more}\r\n"
    )
}

fn from(origin: &str) -> String {
    get_with("/x", &format!("Origin: {origin}\r\n"))
}

/// What is said about other origins, in the order of the names.
fn said(response: &Response) -> Vec<String> {
    let mut lines = response.fields().lines();
    lines.retain(|line| line.to_ascii_lowercase().starts_with("access-control-"));
    lines.sort();
    lines
}

fn varies(response: &Response) -> bool {
    response
        .fields()
        .all("Vary")
        .iter()
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == "Origin")
}

#[test]
fn a_browsers_question_is_answered_by_the_proxy() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let cors = "origin = ['https://app.example.com', 'https://*.example.org'], method = ['GET', 'PUT'], \
                    header = ['X-A', 'Content-Type'], credentials = true, max-age = '10m'";
        let proxy = start(driver, &origin, cors);
        let mut client = proxy.client();
        for page in [APP, "https://a.b.example.org"] {
            let response =
                client.ask(preflight("/x", page, "PUT", "Access-Control-Request-Headers: x-a\r\n"));
            assert_eq!((response.status(), response.body().len()), (204, 0));
            assert_eq!(
                said(&response),
                [
                    "Access-Control-Allow-Credentials: true".to_owned(),
                    "Access-Control-Allow-Headers: X-A, Content-Type".to_owned(),
                    "Access-Control-Allow-Methods: GET, PUT".to_owned(),
                    format!("Access-Control-Allow-Origin: {page}"),
                    "Access-Control-Max-Age: 600".to_owned(),
                ]
            );
            let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
            assert_eq!(response.fields().all("Vary"), [vary]);
            assert!(!response.fields().has("Content-Length") && !response.fields().has("Transfer-Encoding"));
        }
        assert!(origin.requests().is_empty());
        // What is no such question is for the upstream, and so is one where there is no rule.
        let plain = format!("OPTIONS /x HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\n\r\n");
        assert_eq!(client.ask(plain).status(), 200);
        assert_eq!(client.ask(preflight("/plain", APP, "PUT", "")).status(), 200);
        assert_eq!(origin.requests().len(), 2);
    });
}

#[test]
fn an_origin_that_may_not_ask_gets_403_for_its_question_and_no_word_with_an_answer() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| {
            page("Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\n", "secret")
        });
        let cors = "origin = ['https://app.example.com', 'https://*.example.org'], credentials = true";
        let proxy = start(driver, &origin, cors);
        for page in [
            "https://app.example.com.evil",
            "https://evilapp.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://example.org",
            "https://a.example.org.evil",
            "https://evil/.example.org",
            "https://evil#.example.org",
            "https://u@.example.org",
            "HTTPS://APP.EXAMPLE.COM",
            "null",
            "*",
            "https://app.example.com https://evil",
        ] {
            let mut client = proxy.client();
            let response = client.ask(preflight("/x", page, "GET", ""));
            assert_eq!((response.status(), said(&response)), (403, vec![]), "{page}");
            let want = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
            assert_eq!(response.fields().all("Vary"), [want], "{page}");
            assert!(varies(&response), "{page}");
            let response = client.ask(from(page));
            assert_eq!(
                (response.status(), response.text(), said(&response)),
                (200, "secret".to_owned(), vec![]),
                "{page}"
            );
            assert!(varies(&response), "{page}");
        }
        // Two origins are none.
        let two = format!("Origin: {APP}\r\nOrigin: {APP}\r\n");
        assert!(said(&proxy.ask(get_with("/x", &two))).is_empty());
        let run = proxy.ask(get_with("/x", ""));
        assert!(said(&run).is_empty() && varies(&run), "the answer depends on it all the same");
    });
}

#[test]
fn a_response_says_who_may_read_it_and_what_the_upstream_says_goes() {
    on_each_driver(|driver| {
        let theirs = "Cache-Control: no-store\r\nVary: Accept\r\nAccess-Control-Allow-Origin: https://other\r\n\
                      access-control-allow-credentials: true\r\nAccess-Control-Expose-Headers: *\r\n";
        let origin = Origin::replying(move |_| page(theirs, "hello"));
        let proxy = start(driver, &origin, "origin = 'https://app.example.com', expose = ['X-A', 'X-B']");
        let response = proxy.ask(from(APP));
        let want = [
            format!("Access-Control-Allow-Origin: {APP}"),
            "Access-Control-Expose-Headers: X-A, X-B".to_owned(),
        ];
        assert_eq!((response.text(), said(&response)), ("hello".to_owned(), want.to_vec()));
        assert_eq!(response.fields().all("Vary"), ["Accept, Origin"]);
        // Where there is no rule the upstream's own stays.
        let response = proxy.ask(get_with("/plain", &format!("Origin: {APP}\r\n")));
        assert_eq!(said(&response).len(), 3);
        assert_eq!(response.fields().all("Vary"), ["Accept"]);
    });
}

#[test]
fn a_stored_response_says_what_is_so_for_who_asks_now() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let who = request.field("Origin").unwrap_or("https://nobody");
            fresh_with(&format!("Access-Control-Allow-Origin: {who}\r\nETag: \"a\"\r\n"), "hello")
        });
        let cors = "origin = ['https://app.example.com', 'https://b.example.com'], credentials = true";
        let proxy = start(driver, &origin, cors);
        let pages = [Some(APP), Some("https://b.example.com"), Some("https://evil"), None, Some(APP)];
        for (at, page) in pages.into_iter().enumerate() {
            for condition in ["", "If-None-Match: \"a\"\r\n"] {
                let fields = page.map(|page| format!("Origin: {page}\r\n")).unwrap_or_default();
                let response = proxy.ask(get_with("/x", &(fields + condition)));
                let status = if condition.is_empty() { 200 } else { 304 };
                let x_cache = if at == 0 && condition.is_empty() { "MISS" } else { "HIT" };
                assert_eq!((response.status(), response.x_cache()), (status, x_cache), "{page:?}");
                let allowed = page.filter(|page| *page != "https://evil");
                assert_eq!(
                    response.fields().all("Access-Control-Allow-Origin"),
                    allowed.into_iter().collect::<Vec<_>>()
                );
                assert_eq!(response.fields().has("Access-Control-Allow-Credentials"), allowed.is_some());
                assert!(varies(&response), "{page:?}");
            }
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn where_all_may_ask_everybody_gets_the_same_answer() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| fresh_with("", "hello"));
        let proxy = start(driver, &origin, "origin = '*', method = '*', header = '*'");
        for request in [get("/x"), from(APP), from("null"), from("https://evil")] {
            let response = proxy.ask(request);
            assert_eq!(said(&response), ["Access-Control-Allow-Origin: *"]);
            assert!(!response.fields().has("Vary"));
        }
        let more = "Access-Control-Request-Headers: authorization,x-b\r\nAccess-Control-Request-Private-Network: true\r\n";
        let response = proxy.ask(preflight("/x", "null", "PROPFIND", more));
        assert_eq!(
            said(&response),
            [
                "Access-Control-Allow-Headers: authorization,x-b",
                "Access-Control-Allow-Methods: PROPFIND",
                "Access-Control-Allow-Origin: *",
            ]
        );
    });
}

#[test]
fn the_answers_of_the_proxy_itself_can_be_read_too() {
    on_each_driver(|driver| {
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\ncors = {{ origin = '{APP}' }}\n\
             [[route]]\npath = '/gone'\ndeny = 410\n[[route]]\npath = '/away'\nredirect = '/x'\n\
             [[route]]\npath = '/shut'\nrespond = 'x'\naccess = {{ deny = 'all' }}\n\
             [[route]]\npath = '/read'\nrespond = 'x'\nrequest-limits = {{ method = 'GET' }}\n\
             [[route]]\npath = '/none'\nrespond = 'x'\ncors = false\n\
             [[route]]\npath = '/other'\nrespond = 'x'\ncors = {{ origin = 'https://b' }}\n"
        );
        let proxy = Live::listening(driver, 1, &text);
        let ask = |target: &str| proxy.ask(get_with(target, &format!("Origin: {APP}\r\n")));
        for (target, status) in
            [("/gone", 410), ("/away", 302), ("/shut", 403), ("/nowhere", 404), ("/read", 200)]
        {
            let response = ask(target);
            assert_eq!(response.status(), status, "{target}");
            assert_eq!(response.fields().all("Access-Control-Allow-Origin"), [APP], "{target}");
            assert!(varies(&response), "{target}");
        }
        let response = ask("/none");
        assert!(said(&response).is_empty() && !varies(&response));
        let response = ask("/other");
        assert!(
            said(&response).is_empty() && varies(&response),
            "the route's rule takes the place of the listener's"
        );
        // The list of methods is for those of the page's own request.
        assert_eq!(proxy.ask(preflight("/read", APP, "GET", "")).status(), 204);
        assert_eq!(proxy.ask(preflight("/shut", APP, "GET", "")).status(), 403);
        assert_eq!(proxy.ask(preflight("/none", APP, "GET", "")).status(), 200);
        let field = format!("Origin: {APP}");
        let method = "Access-Control-Request-Method: PUT";
        let run =
            proxy.order(&["explain", "--live", "-X", "OPTIONS", "-H", &field, "-H", method, "http://a/read"]);
        assert!(run.stdout.contains("cors: the browser's question is answered here"), "{}", run.stdout);
        let run = proxy.order(&[
            "explain",
            "--live",
            "-X",
            "OPTIONS",
            "-H",
            &field,
            "-H",
            method,
            "http://a/other",
        ]);
        assert!(run.stdout.contains("cors_refused"), "{}", run.stdout);
        let run = proxy.order(&["explain", "--live", "-H", &field, "http://a/gone"]);
        assert!(run.stdout.contains("may read the answer (listener web)"), "{}", run.stdout);
        assert!(run.stdout.contains("+ Access-Control-Allow-Origin: "), "{}", run.stdout);
    });
}

#[test]
fn a_question_with_content_and_one_that_lasts_keep_the_connection_right() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, &origin, "origin = 'https://app.example.com'");
        let mut client = proxy.client();
        let with_content = preflight("/x", APP, "GET", "Content-Length: 5\r\n") + "hello" + &get("/plain");
        client.send(with_content);
        let response = client.response_to("OPTIONS");
        assert_eq!((response.status(), response.says_close()), (204, false));
        assert_eq!(client.response().status(), 200, "content that has come stands in nobody's way");
        let mut client = proxy.client();
        client.send(preflight("/x", APP, "GET", "Content-Length: 5\r\n") + "hell");
        let response = client.response_to("OPTIONS");
        assert_eq!((response.status(), response.says_close()), (204, true));
        let mut client = proxy.client();
        client.send(
            preflight("/x", APP, "GET", "") + &preflight("/x", "https://evil", "GET", "") + &get("/plain"),
        );
        assert_eq!(client.response_to("OPTIONS").status(), 204);
        assert_eq!(client.response_to("OPTIONS").status(), 403);
        assert_eq!(client.response().status(), 200);
    });
}
