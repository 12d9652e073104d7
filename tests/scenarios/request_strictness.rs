//! Requests that leave any doubt are refused, their connection closes, and nothing of them reaches an
//! origin: not alone, and not behind a request that is well-formed.

use crate::support::{Origin, Proxy, eventually, get, get_with, ms, ok, on_each_driver, post_chunked_head};

/// Requests that are malformed, each with the status of its refusal.
fn malformed() -> Vec<(Vec<u8>, u16)> {
    let mut cases: Vec<(Vec<u8>, u16)> = Vec::new();
    let mut case = |bytes: &[u8], status: u16| cases.push((bytes.to_vec(), status));

    // The first line.
    for first in [
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/1.1x",
        "GET / HTTP/01.1",
        "GET / http/1.1",
        "GET / HTTP /1.1",
        "GET /a b HTTP/1.1",
        "G(T / HTTP/1.1",
        "/ HTTP/1.1",
        "HTTP/1.1 200 OK",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /#f HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET http://a b/ HTTP/1.1",
        "GET example.com:80 HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /a\rb HTTP/1.1",
    ] {
        case(format!("{first}\r\nHost: a\r\n\r\n").as_bytes(), 400);
    }
    case(b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    case(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    case(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505);
    case(b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505);
    case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);

    // Lines.
    case(b"GET / HTTP/1.1\nHost: a\n\n", 400);
    case(b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    case(b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    case(b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    case(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    case(b"\r\n\r\n\r\n\r\n\r\n", 400);
    case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\r\n\r\n", 400);

    // Fields.
    for lines in [
        "Host : a\r\n",
        " Host: a\r\n",
        "\tHost: a\r\n",
        "Host\t: a\r\n",
        "Host\r\n",
        ": a\r\nHost: a\r\n",
        "Host: a\r\nX Y: b\r\n",
        "Host: a\r\n folded\r\n",
        "Host: a\r\n\tfolded\r\n",
        "Host: a\r\nX: b\r\n c\r\n",
        "Host: a\r\n \r\n",
        "Host: a\r\nX: a\rb\r\n",
        "Host: a\r\nX: a\0b\r\n",
        "Host: a\r\nX\0: b\r\n",
        "Host: a\r\nX\u{7f}: b\r\n",
        "Host: a\r\nX: \u{b}b\r\n",
        "Host: a\r\nX(y): b\r\n",
        "Host: a\r\nX\r: b\r\n",
        "Host: a\r\nX: b\r\r\n",
    ] {
        case(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes(), 400);
    }
    case(b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n", 400);

    // Host.
    for lines in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:80:80\r\n",
        "Host: a:x\r\n",
        "Host: a,b/\r\n",
        "Host: [::1\r\n",
        "Host: []\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a\\b\r\n",
        "Host: http://a\r\n",
        "Host: <a>\r\n",
        "Host: \"a\"\r\n",
    ] {
        case(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes(), 400);
    }
    case(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400);

    // Framing.
    for (fields, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 5\r\ncontent-length: 6\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: 5,\r\n", 400),
        ("Content-Length: ,5\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5e1\r\n", 400),
        ("Content-Length: 5.0\r\n", 400),
        ("Content-Length: five\r\n", 400),
        ("Content-Length: \"5\"\r\n", 400),
        ("Content-Length: 9223372036854775808\r\n", 400),
        ("Content-Length: 18446744073709551621\r\n", 400),
        ("Content-Length: 99999999999999999999999999999\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Content-Length: 5\r\nX: y\r\n Content-Length: 6\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: ,chunked\r\n", 400),
        ("Transfer-Encoding: chunked,\r\n", 400),
        ("Transfer-Encoding: chunked;q=1\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding: chunked x\r\n", 400),
        ("Transfer-Encoding: chun\tked\r\n", 400),
        ("Transfer-Encoding : chunked\r\n", 400),
        (" Transfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: \u{b}chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\n , identity\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, gzip\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n", 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: chunke\r\n", 501),
        ("Transfer-Encoding: gzip\r\n", 501),
        ("Expect: 200-ok\r\n", 417),
        ("Expect: 100-continue, x\r\n", 417),
    ] {
        case(
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            .as_bytes(),
            status,
        );
    }
    case(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);

    // Chunks, and what follows them.
    for coded in [
        "\r\n",
        "g\r\n",
        ";a\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5 ;a\r\nhello\r\n0\r\n\r\n",
        "\t5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhello\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\rhello\r\n",
        "5;a\nb\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "5;\0\r\nhello\r\n",
        "5,5\r\nhello\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n",
        "8000000000000000\r\nhello\r\n",
        "100000000000000000000000000000005\r\nhello\r\n",
        "0\n\r\n",
        "0\r\n\rX",
        "0\r\nno colon\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\nA: b\r\n\n",
        "0\r\nA: \0\r\n\r\n",
        "0\r\n: b\r\n\r\n",
    ] {
        case((post_chunked_head("/", "") + coded).as_bytes(), 400);
    }
    case(
        (post_chunked_head("/", "") + &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(600))).as_bytes(),
        400,
    );
    case((post_chunked_head("/", "") + &format!("0\r\nA: {}\r\n\r\n", "x".repeat(5000))).as_bytes(), 400);

    // Too much.
    case(get(&format!("/{}", "x".repeat(9000))).as_bytes(), 414);
    case(get(&format!("/{}", "x".repeat(40_000))).as_bytes(), 414);
    case(format!("GET /{}", "x".repeat(60_000)).as_bytes(), 414);
    case(get_with("/", &format!("X: {}\r\n", "x".repeat(33_000))).as_bytes(), 431);
    case(get_with("/", &"X: y\r\n".repeat(100)).as_bytes(), 431);
    case(get_with("/", &"X: y\r\n".repeat(6000)).as_bytes(), 431);

    // What is not served.
    case(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501);
    case(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405);
    case(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", 501);
    case(get_with("/", "Via: 1.1 ringway\r\n").as_bytes(), 508);
    cases
}

fn shown(request: &[u8]) -> String {
    crate::support::message::text(&request[..request.len().min(200)])
}

#[test]
fn a_request_that_is_refused_closes_its_connection_and_reaches_no_origin() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        for (request, status) in malformed() {
            let mut client = proxy.client();
            client.send(&request);
            let response = client.response();
            assert_eq!(response.status(), status, "{:?}", shown(&request));
            assert!(response.says_close(), "{:?}", shown(&request));
            client.expect_end();
            assert_eq!(origin.connections(), 0, "{:?}", shown(&request));
        }
        assert_eq!(proxy.get("/").text(), "hello");
    });
}

#[test]
fn a_request_in_front_of_one_that_is_refused_is_answered_first() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let good = [get("/good"), post_chunked_head("/good", "") + "2\r\nhi\r\n0\r\n\r\n"];
        for (count, (request, status)) in malformed().into_iter().enumerate() {
            let mut client = proxy.client();
            client.send([good[count % 2].as_bytes(), &request].concat());
            assert_eq!(client.response().text(), "hello", "{:?}", shown(&request));
            let response = client.response();
            assert_eq!(response.status(), status, "{:?}", shown(&request));
            assert!(response.says_close(), "{:?}", shown(&request));
            client.expect_end();
            assert_eq!(origin.requests().len(), count + 1, "{:?}", shown(&request));
        }
        assert!(origin.requests().iter().all(|request| request.target() == "/good"));
        assert!(origin.broken().is_empty());
    });
}

#[test]
fn what_follows_a_refused_request_is_never_served() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        for (request, status) in malformed().into_iter().step_by(5) {
            let mut client = proxy.client();
            client.send([&request, get("/smuggled").as_bytes()].concat());
            assert_eq!(client.response().status(), status, "{:?}", shown(&request));
            client.send(get("/smuggled"));
            client.expect_end();
        }
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
fn requests_at_the_edge_of_what_is_allowed_are_served() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for request in [
            get(&format!("/{}", "x".repeat(8191))),
            get_with("/", &"X: y\r\n".repeat(99)),
            get_with("/", &format!("X: {}\r\n", "x".repeat(32_000))),
            get_with("/", "X:\r\n"),
            get_with("/", "X:\t padded\t \r\n"),
            get_with("/", "X: \u{e9}\r\n"),
            get_with("/", "Transfer_Encoding: chunked\r\n"),
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000000000002\r\n\r\nhi".to_owned(),
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-ENCODING:\tCHUNKED\t\r\n\r\n0002\r\nhi\r\n00000\r\n\r\n"
                .to_owned(),
            post_chunked_head("/", "") + &format!("2;{}\r\nhi\r\n0\r\n\r\n", "x".repeat(500)),
            get_with("/", "Expect: 100-Continue\r\n"),
            "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n".to_owned(),
        ] {
            let response = client.ask(&request);
            assert_eq!(response.status(), 200, "{:?}", shown(request.as_bytes()));
            assert!(response.text().starts_with('/'));
        }
    });
}

#[test]
fn limits_on_heads_can_be_set() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let limits = ["--max-head", "2KiB", "--max-fields", "4", "--max-target", "100"];
        let proxy = Proxy::with(driver, &origin, &limits);
        assert_eq!(proxy.get(&format!("/{}", "x".repeat(99))).status(), 200);
        assert_eq!(proxy.get(&format!("/{}", "x".repeat(100))).status(), 414);
        assert_eq!(proxy.ask(get_with("/", &"X: y\r\n".repeat(3))).status(), 200);
        assert_eq!(proxy.ask(get_with("/", &"X: y\r\n".repeat(4))).status(), 431);
        assert_eq!(proxy.ask(get_with("/", &format!("X: {}\r\n", "x".repeat(1900)))).status(), 200);
        assert_eq!(proxy.ask(get_with("/", &format!("X: {}\r\n", "x".repeat(2100)))).status(), 431);
    });
}

#[test]
fn content_over_the_limit_is_refused_however_it_is_framed() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::with(driver, &origin, &["--max-body", "1000"]);
        let content = "x".repeat(1000);
        let known = |length: u64| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let chunked = |more| post_chunked_head("/", "") + &format!("3e8\r\n{content}\r\n{more}0\r\n\r\n");
        assert_eq!(proxy.ask(known(1000) + &content).status(), 200);
        assert_eq!(proxy.ask(chunked("")).status(), 200);
        let before = origin.requests().len();
        for request in [known(1001), known(1 << 40), chunked("1\r\nx\r\n")] {
            let mut client = proxy.client();
            let response = client.ask(request);
            assert_eq!(response.status(), 413);
            assert!(response.says_close());
            client.expect_end();
        }
        // What is found too long only on the way ends the request to the origin without a clean end.
        let mut client = proxy.client();
        client.send(post_chunked_head("/", "") + "1\r\nx\r\n");
        eventually("the head reaches the origin", || origin.connections() > 0);
        std::thread::sleep(ms(100));
        client.send(format!("3e8\r\n{content}\r\n0\r\n\r\n"));
        assert_eq!(client.response().status(), 413);
        client.expect_end();
        assert_eq!(origin.requests().len(), before);
    });
}

#[test]
fn a_chunk_that_is_malformed_further_on_ends_the_request_without_a_clean_end() {
    on_each_driver(|driver| {
        for bad in [
            "5\nhello\r\n0\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "ffffffffffffffffff\r\n",
            "5\r\nhelloworld\r\n0\r\n\r\n",
        ] {
            let origin = Origin::answering(ok("hello"));
            let proxy = Proxy::to(driver, &origin);
            let mut client = proxy.client();
            client.send(post_chunked_head("/", "") + "5\r\nfirst\r\n");
            eventually("the first chunk reaches the origin", || {
                origin.connections() == 1 && origin.received(0).ends_with(b"first\r\n")
            });
            client.send(bad);
            let response = client.response();
            assert_eq!(response.status(), 400, "{bad:?}");
            assert!(response.says_close());
            client.expect_end();
            eventually("the origin notices", || origin.open() == 0);
            assert!(origin.requests().is_empty(), "{bad:?} became a whole request");
            assert!(!origin.received(0).ends_with(b"0\r\n\r\n"));
        }
    });
}

#[test]
fn trace_is_passed_on_only_where_that_is_allowed() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let trace = "TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n";
        let refused = Proxy::to(driver, &origin).ask(trace);
        assert_eq!(refused.status(), 405);
        assert!(!refused.field("Allow").unwrap().contains("TRACE"));
        assert_eq!(Proxy::with(driver, &origin, &["--trace"]).ask(trace).text(), "/x ");
    });
}

#[test]
fn a_refusal_reaches_a_client_that_goes_on_sending() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        let mut sender = client.sender();
        sender.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
        for _ in 0..20 {
            std::thread::sleep(ms(5));
            sender.send([b'x'; 1000]);
        }
        assert_eq!(client.response().status(), 400);
        client.expect_end();
    });
}
