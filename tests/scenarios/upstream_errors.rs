//! What the client is told when the origin's side fails.

use std::time::Instant;

use crate::support::client::Response;
use crate::support::origin::Peer;
use crate::support::proxy::{deaf_port, refusing_port};
use crate::support::{
    Driver, Origin, PATIENCE, Proxy, Setup, assert_limit, eventually, get, get_with, ms, noise, ok,
    on_each_driver, post,
};

fn assert_error(response: &Response, status: u16, error: &str) {
    assert_eq!(response.status(), status, "{response:?}");
    assert_eq!(response.field("Proxy-Status"), Some(format!("ringway; error={error}").as_str()));
    assert_eq!(response.field("Cache-Control"), Some("no-store"));
}

#[test]
fn an_origin_that_refuses_connections_is_502() {
    on_each_driver(|driver| {
        let (address, _held) = refusing_port();
        let proxy = Setup::new(driver).args(&["--origin", &format!("http://{address}")]).start();
        let mut client = proxy.client();
        for request in [get("/").into_bytes(), post("/", b"hello"), get("/").into_bytes()] {
            let response = client.ask(request);
            assert_error(&response, 502, "connection_refused");
            assert!(!response.says_close(), "the client's own connection is as good as before");
        }
    });
}

#[test]
fn an_origin_that_comes_up_later_is_found() {
    on_each_driver(|driver| {
        let (address, held) = refusing_port();
        let proxy = Setup::new(driver).args(&["--origin", &format!("http://{address}")]).start();
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/")).status(), 502);
        held.listen(16).unwrap();
        let origin = Origin::start_on(held.into(), |peer| {
            while peer.request().is_some() {
                peer.send(ok("hello"));
            }
        });
        assert_eq!(client.ask(get("/")).text(), "hello");
        drop(proxy);
        drop(origin);
    });
}

/// How the proxy answers for an origin that does this with the first request on each connection.
fn answers_for(driver: Driver, script: fn(&mut Peer)) -> (Response, usize) {
    let origin = Origin::start(move |peer| {
        if peer.request().is_some() {
            script(peer);
        }
    });
    let proxy = Proxy::with(driver, &origin, &["--first-byte-timeout", "1s", "--upstream-timeout", "1s"]);
    let mut client = proxy.client();
    let response = client.ask(get("/"));
    assert!(!response.says_close());
    assert_eq!(client.ask(get("/")).status(), response.status(), "the client's connection goes on");
    eventually("the origin's connections end", || origin.open() == 0);
    (response, origin.requests().len())
}

#[test]
fn an_origin_that_fails_before_it_answers_is_reported() {
    on_each_driver(|driver| {
        let (response, requests) = answers_for(driver, |_| {});
        assert_error(&response, 502, "connection_terminated");
        assert_eq!(requests, 2, "a fresh connection that closes is no reason to send the request again");
        let (response, requests) = answers_for(driver, Peer::reset);
        assert_error(&response, 502, "connection_terminated");
        assert_eq!(requests, 2);
        let (response, _) = answers_for(driver, |peer| {
            peer.send("HTTP/1.1 200 OK\r\nContent-Le");
        });
        assert_error(&response, 502, "http_response_incomplete");
        let (response, requests) = answers_for(driver, Peer::hang);
        assert_error(&response, 504, "http_response_timeout");
        assert_eq!(requests, 2);
        let (response, _) = answers_for(driver, |peer| {
            peer.send("HTTP/1.1 200 OK\r\n");
            peer.hang();
        });
        assert_error(&response, 504, "connection_read_timeout");
    });
}

#[test]
fn an_origin_that_does_not_take_connections_is_504() {
    on_each_driver(|driver| {
        let (address, _listener, _filling) = deaf_port();
        let proxy = Setup::new(driver)
            .args(&["--origin", &format!("http://{address}"), "--connect-timeout", "500ms"])
            .start();
        let mut client = proxy.client();
        let started = Instant::now();
        let response = client.ask(get("/"));
        assert_limit(started, ms(500));
        assert_error(&response, 504, "connection_timeout");
    });
}

#[test]
fn an_origin_that_takes_no_more_of_the_request_is_504() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.head();
            peer.hang();
        });
        let proxy =
            Proxy::with(driver, &origin, &["--upstream-timeout", "500ms", "--first-byte-timeout", "500ms"]);
        let mut client = proxy.client();
        let mut sender = client.sender();
        let sending = std::thread::spawn(move || sender.try_send(post("/", &noise(30_000_000, 1))));
        let response = client.response();
        assert_error(&response, 504, "connection_write_timeout");
        assert!(response.says_close());
        client.expect_end();
        let _ = sending.join();
    });
}

#[test]
fn a_name_without_an_address_is_503() {
    on_each_driver(|driver| {
        let proxy = Setup::new(driver).args(&["--origin", "http://name.invalid:81"]).start();
        assert!(proxy.stderr().contains("name.invalid"), "the start says so: {}", proxy.stderr());
        assert_error(&proxy.get("/"), 503, "dns_error");
    });
}

#[test]
fn a_name_is_looked_up() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let port = origin.address().port();
        let proxy = Setup::new(driver).args(&["--origin", &format!("http://localhost:{port}")]).start();
        assert_eq!(proxy.get("/x").text(), "/x ");
    });
}

#[test]
fn the_answer_to_a_failure_is_a_page_or_json_and_names_the_request() {
    on_each_driver(|driver| {
        let (address, _held) = refusing_port();
        let proxy =
            Setup::new(driver).args(&["--origin", &format!("http://{address}"), "--via", "edge"]).start();
        let mut client = proxy.client();

        let page = client.ask(get_with("/", "X-Request-Id: abc-1\r\nAccept: text/html, */*\r\n"));
        assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.field("X-Request-Id"), Some("abc-1"));
        assert!(page.text().contains("502 Bad Gateway") && page.text().contains("abc-1"), "{}", page.text());
        assert_eq!(page.field("Proxy-Status"), Some("edge; error=connection_refused"));

        let json = client.ask(get_with("/", "X-Request-Id: abc-2\r\nAccept: application/json\r\n"));
        assert_eq!(json.field("Content-Type"), Some("application/problem+json"));
        for part in ["\"status\":502", "\"request_id\":\"abc-2\"", "\"reason\":\"upstream_refused\""] {
            assert!(json.text().contains(part), "{}", json.text());
        }

        let made = client.ask(get_with("/", "X-Request-Id: <script>alert(1)</script>\r\n"));
        assert!(!made.text().contains("script"));
        assert!(made.text().contains(made.field("X-Request-Id").unwrap()));

        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status(), 502);
        assert_eq!(client.ask(get("/")).status(), 502, "nothing came behind the head");
    });
}

#[test]
fn a_failed_upload_closes_the_clients_connection() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.head();
            peer.reset();
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello");
        let response = client.response();
        assert_eq!(response.status(), 502);
        assert!(response.says_close(), "where the next request begins is not known");
        client.send(get("/smuggled"));
        client.expect_end();
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn many_clients_of_a_failing_origin_are_all_told() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                match peer.index % 3 {
                    0 => peer.reset(),
                    1 => peer.send("garbage\r\n\r\n"),
                    _ => {}
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    for _ in 0..25 {
                        assert_eq!(client.ask(get("/")).status(), 502);
                    }
                });
            }
        });
        assert!(started.elapsed() < PATIENCE);
    });
}
