//! Which fields stop at the proxy, which it writes, and which pass untouched.

use std::net::TcpListener;

use crate::support::{Origin, Proxy, Setup, get, get_with, ok, on_each_driver};

#[test]
fn fields_about_one_connection_stop_here() {
    const FIELDS: &str = "Connection: keep-alive, X-Hop, x-OTHER-hop\r\nConnection: x-third\r\nX-Hop: 1\r\nX-Other-Hop: 2\r\nX-Third: 3\r\n\
                          x-hop: 4\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: x\r\nX-End: to end\r\n";
    on_each_driver(|driver| {
        let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\n{FIELDS}Content-Length: 0\r\n\r\n"));
        let proxy = Proxy::to(driver, &origin);
        let response = proxy.ask(get_with("/", &(FIELDS.to_owned() + "Proxy-Authorization: Basic x\r\n")));
        let request = origin.request();
        for fields in [response.fields(), &request.head.fields] {
            for name in [
                "Connection",
                "X-Hop",
                "X-Other-Hop",
                "X-Third",
                "Keep-Alive",
                "Proxy-Connection",
                "TE",
                "Upgrade",
                "Proxy-Authorization",
            ] {
                assert!(!fields.has(name), "{name}: {fields:?}");
            }
            assert_eq!(fields.one("X-End"), Some("to end"));
        }
    });
}

#[test]
fn a_connection_field_cannot_take_away_what_the_proxy_vouches_for() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let fields = "Connection: close, Host, Via, X-Forwarded-For, X-Forwarded-Host, X-Request-Id, Content-Length\r\nContent-Length: 2\r\n\r\nhi";
        let response = proxy.ask(format!("POST / HTTP/1.1\r\nHost: example.com\r\n{fields}"));
        assert_eq!(response.text(), "/ hi");
        let request = origin.request();
        for name in [
            "Host",
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Request-Id",
            "Content-Length",
        ] {
            assert!(request.field(name).is_some(), "{name}");
        }
    });
}

#[test]
fn other_fields_pass_in_their_order_as_they_were_written() {
    on_each_driver(|driver| {
        let answer = "HTTP/1.1 299 Odd Phrase!\r\nSET-cookie: a=1\r\nX-empty:\r\nset-cookie: b=2\r\nServer: other\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                      Content-Length: 0\r\nX-Text: \u{e9} \"q\" , ;\r\n\r\n";
        let origin = Origin::answering(answer);
        let proxy = Proxy::to(driver, &origin);
        let response = proxy.ask(get_with(
            "/",
            "Cookie: a=1\r\nX-Empty:\r\nCOOKIE: b=2\r\nUser-Agent: \t odd \t\r\nAuthorization: Basic x\r\n",
        ));
        assert_eq!(response.head.first, "HTTP/1.1 299 Odd Phrase!");
        assert_eq!(response.fields().all("Set-Cookie"), ["a=1", "b=2"]);
        assert_eq!((response.field("Server"), response.field("X-Empty")), (Some("other"), Some("")));
        assert_eq!(response.field("Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        let request = origin.request();
        assert_eq!(request.head.fields.all("Cookie"), ["a=1", "b=2"]);
        assert_eq!(
            (request.field("User-Agent"), request.field("Authorization")),
            (Some("odd"), Some("Basic x"))
        );
        assert_eq!(request.field("X-Empty"), Some(""));
    });
}

#[test]
fn a_response_without_a_date_is_given_one() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok(""));
        let proxy = Proxy::to(driver, &origin);
        let date = proxy.get("/").field("Date").map(str::to_owned).unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    });
}

#[test]
fn what_a_stranger_says_about_others_is_replaced() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let lies = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n";
        proxy.ask(get_with("/", lies));
        proxy.ask(format!("GET http://named.example:81/ HTTP/1.1\r\nHost: other\r\n{lies}\r\n"));
        let requests = origin.requests();
        for (request, host) in requests.iter().zip(["example.com", "named.example:81"]) {
            assert_eq!(request.field("X-Forwarded-For"), Some("127.0.0.1"));
            assert_eq!(request.field("X-Forwarded-Proto"), Some("http"));
            assert_eq!(request.field("X-Forwarded-Host"), Some(host));
        }
    });
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_extended() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(
            driver,
            &origin,
            &["--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "127.0.0.0/8"],
        );
        let said = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7, 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\n";
        proxy.ask(get_with("/", said));
        proxy.ask(get("/"));
        let requests = origin.requests();
        assert_eq!(requests[0].field("X-Forwarded-For"), Some("6.6.6.6, 7.7.7.7, 8.8.8.8, 127.0.0.1"));
        assert_eq!(requests[0].field("X-Forwarded-Proto"), Some("https"));
        assert_eq!(requests[0].field("X-Forwarded-Host"), Some("public.example"));
        assert_eq!(requests[1].field("X-Forwarded-For"), Some("127.0.0.1"));
        assert_eq!(requests[1].field("X-Forwarded-Proto"), Some("http"));

        let elsewhere = Proxy::with(driver, &origin, &["--trusted-proxy", "10.0.0.0/8,fd00::/8"]);
        elsewhere.ask(get_with("/", said));
        assert_eq!(origin.requests()[2].field("X-Forwarded-For"), Some("127.0.0.1"));
    });
}

#[test]
fn via_is_added_both_ways() {
    on_each_driver(|driver| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n");
        let proxy = Proxy::to(driver, &origin);
        let response = proxy.ask(get_with("/", "Via: 1.0 outer, 1.1 other (comment)\r\n"));
        assert_eq!(response.fields().all("Via"), ["1.1 inner", "1.1 ringway"]);
        proxy.ask("GET / HTTP/1.0\r\n\r\n");
        let requests = origin.requests();
        assert_eq!(requests[0].head.fields.all("Via"), ["1.0 outer, 1.1 other (comment)", "1.1 ringway"]);
        assert_eq!(requests[1].head.fields.all("Via"), ["1.0 ringway"]);

        let named = Proxy::with(driver, &origin, &["--via", "edge-1:80"]);
        assert_eq!(
            named.ask(get_with("/", "Via: 1.1 ringway\r\n")).fields().all("Via"),
            ["1.1 inner", "1.1 edge-1:80"]
        );
    });
}

#[test]
fn a_request_that_has_passed_before_is_refused_as_a_loop() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok(""));
        let proxy = Proxy::to(driver, &origin);
        for via in ["1.1 ringway", "1.0 a, 1.1 RINGWAY (x, y), 1.1 b", "HTTP/1.1 ringway"] {
            let response = proxy.ask(get_with("/", &format!("Via: 1.1 first\r\nVia: {via}\r\n")));
            assert_eq!(response.status(), 508, "{via}");
            assert_eq!(response.field("Proxy-Status"), Some("ringway; error=proxy_loop_detected"));
        }
        for via in ["1.1 ringway-two", "1.1 a (ringway)", "ringway 1.1"] {
            assert_eq!(proxy.ask(get_with("/", &format!("Via: {via}\r\n"))).status(), 200, "{via}");
        }
    });
}

#[test]
fn a_proxy_whose_origin_is_itself_finds_out_at_the_second_pass() {
    on_each_driver(|driver| {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let proxy = Setup::new(driver).port(port).args(&["--origin", &url]).start();
        let mut client = proxy.client();
        for _ in 0..3 {
            assert_eq!(client.ask(get("/")).status(), 508);
        }
    });
}

#[test]
fn the_host_is_the_clients_unless_the_origins_is_asked_for() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let own = origin.address().to_string();
        let proxy = Proxy::to(driver, &origin);
        proxy.get("/");
        proxy.ask("GET / HTTP/1.0\r\n\r\n");
        Proxy::with(driver, &origin, &["--upstream-host"]).get("/");
        let requests = origin.requests();
        let hosts: Vec<_> = requests.iter().map(|request| request.field("Host").unwrap()).collect();
        assert_eq!(hosts, ["example.com", &own, &own]);
        let told: Vec<_> = requests.iter().map(|request| request.field("X-Forwarded-Host")).collect();
        assert_eq!(told, [Some("example.com"), None, Some("example.com")]);
    });
}

#[test]
fn a_request_id_is_kept_or_made_or_replaced() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let long = "a".repeat(129);
        for id in [
            "",
            "X-Request-Id: 4bf92f35-77b3:a_b.c\r\n",
            "X-Request-Id: a b\r\n",
            "X-Request-Id: <script>\r\n",
            "X-Request-Id: a\"b\r\n",
            "X-Request-Id:\r\n",
            &format!("X-Request-Id: {long}\r\n"),
            "X-Request-Id: one\r\nX-Request-Id: two\r\n",
        ] {
            proxy.ask(get_with("/", id));
        }
        let ids: Vec<_> = origin
            .requests()
            .iter()
            .map(|request| request.field("X-Request-Id").unwrap().to_owned())
            .collect();
        assert_eq!(ids[1], "4bf92f35-77b3:a_b.c");
        for made in [&ids[0], &ids[2], &ids[3], &ids[4], &ids[5], &ids[6]] {
            assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
        }
        assert_ne!(ids[0], ids[2]);
        assert!(ids[7] == "one" || ids[7].len() == 32, "{}", ids[7]);
    });
}

#[test]
fn hops_are_counted_down_where_that_is_asked_for() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--trace"]);
        for method in ["OPTIONS", "TRACE"] {
            let ask = |hops: &str| {
                proxy.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n"))
            };
            assert_eq!(ask("3").status(), 200);
            assert_eq!(origin.requests().last().unwrap().field("Max-Forwards"), Some("2"));
            let before = origin.requests().len();
            ask("0");
            assert_eq!(origin.requests().len(), before, "the last hop was this one");
        }
    });
}

#[test]
fn that_a_client_takes_trailers_is_said_anew() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        proxy.ask(get_with("/", "Connection: TE\r\nTE: gzip;q=0.5, trailers\r\n"));
        proxy.ask(get_with("/", "Connection: TE\r\nTE: gzip;q=0.5\r\n"));
        let requests = origin.requests();
        assert_eq!(
            (requests[0].field("TE"), requests[0].field("Connection")),
            (Some("trailers"), Some("TE"))
        );
        assert_eq!((requests[1].field("TE"), requests[1].field("Connection")), (None, None));
    });
}
