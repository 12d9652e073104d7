//! How messages are delimited, on either side, in every way that HTTP/1.1 and 1.0 know.

use crate::support::wire::Framing;
use crate::support::{
    End, Origin, Proxy, chunk, get, get_with, ms, noise, ok, on_each_driver, post, post_chunked_head,
};

#[test]
fn content_of_a_known_length_passes_both_ways() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let response = proxy.ask(post("/", b"question"));
        assert_eq!(response.field("Content-Length"), Some("5"));
        assert_eq!(response.text(), "hello");
        let request = origin.request();
        assert_eq!(request.field("Content-Length"), Some("8"));
        assert_eq!(request.body(), b"question");
    });
}

#[test]
fn chunked_content_passes_both_ways_without_its_extensions() {
    on_each_driver(|driver| {
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n000;last\r\n\r\n";
        let origin = Origin::answering(answer);
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            let request = post_chunked_head("/", "") + "3;x\r\nabc\r\n3;y=\"z\"\r\ndef\r\n0;end\r\n\r\n";
            let response = client.ask(request);
            assert_eq!(response.field("Transfer-Encoding"), Some("chunked"));
            assert_eq!(response.text(), "hello");
        }
        for request in origin.requests() {
            assert_eq!(request.field("Transfer-Encoding"), Some("chunked"));
            assert_eq!(request.body(), b"abcdef");
        }
    });
}

const TRAILERS: &str = "X-Sum: 1\r\nContent-Length: 99\r\nTransfer-Encoding: gzip\r\nHost: evil\r\nConnection: close\r\n\
                        Authorization: Basic x\r\nSet-Cookie: a=b\r\nX-Forwarded-For: 6.6.6.6\r\nVia: 1.1 ringway\r\nX-Last: 2\r\n";

#[test]
fn trailer_fields_pass_both_ways_but_for_the_forbidden_ones() {
    on_each_driver(|driver| {
        let answer =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{TRAILERS}\r\n");
        let origin = Origin::answering(answer);
        let proxy = Proxy::to(driver, &origin);
        let fields = "TE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\n";
        let response = proxy.ask(post_chunked_head("/", fields) + "2\r\nhi\r\n0\r\n" + TRAILERS + "\r\n");
        let request = origin.request();
        for trailers in [&response.content.trailers, &request.content.trailers] {
            assert_eq!(trailers.one("X-Sum"), Some("1"), "{trailers:?}");
            assert_eq!(trailers.one("X-Last"), Some("2"), "{trailers:?}");
            assert_eq!(trailers.len(), 2, "{trailers:?}");
        }
        assert_eq!((response.body(), request.body()), (&b"ok"[..], &b"hi"[..]));
    });
}

#[test]
fn content_until_close_becomes_chunked_and_the_client_stays_connected() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\n\r\nuntil ");
                peer.sleep(ms(50));
                peer.send("the end");
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            let response = client.ask(get("/"));
            assert_eq!(response.field("Transfer-Encoding"), Some("chunked"));
            assert_eq!(response.text(), "until the end");
            assert!(!response.says_close());
        }
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks_but_a_close() {
    on_each_driver(|driver| {
        let chunked = Origin::answering(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        );
        let closing = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
            }
        });
        for (origin, fields) in [(&chunked, ""), (&chunked, "Connection: keep-alive\r\n"), (&closing, "")] {
            let proxy = Proxy::to(driver, origin);
            let mut client = proxy.client();
            let response = client.ask(format!("GET / HTTP/1.0\r\n{fields}\r\n"));
            assert_eq!(client.expect_end(), End::Closed);
            assert!(!response.fields().has("Transfer-Encoding"));
            assert_ne!(response.field("Connection"), Some("keep-alive"));
            assert_eq!(response.text(), "hello");
        }
    });
}

#[test]
fn a_client_of_http_1_0_stays_connected_only_if_it_asks() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            let response = client.ask("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
            assert_eq!(response.field("Connection"), Some("keep-alive"));
            assert_eq!(response.text(), "hello");
        }
        let response = client.ask("GET / HTTP/1.0\r\n\r\n");
        assert_eq!(response.text(), "hello");
        assert_eq!(client.expect_end(), End::Closed);
        assert_eq!(origin.connections(), 1, "the origin's connection is not the client's");
    });
}

#[test]
fn an_error_page_tells_a_client_of_http_1_0_what_its_connection_does() {
    on_each_driver(|driver| {
        let origin = Origin::start(|_| {});
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        let response = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(response.status(), 502);
        // Without a word about it, the client takes it that the connection closes.
        if response.field("Connection") != Some("keep-alive") {
            client.expect_end();
        }
    });
}

#[test]
fn an_origin_of_http_1_0_is_understood() {
    on_each_driver(|driver| {
        for (fields, connections) in [("", 2), ("Connection: keep-alive\r\n", 1)] {
            let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n{fields}\r\nhello");
            let origin = Origin::answering(answer);
            let proxy = Proxy::to(driver, &origin);
            let mut client = proxy.client();
            for _ in 0..2 {
                let response = client.ask(get("/"));
                assert_eq!(response.text(), "hello");
                assert_eq!(response.field("Via"), Some("1.0 ringway"));
                assert!(!response.says_close());
            }
            assert_eq!(origin.connections(), connections, "{fields:?}");
        }
    });
}

#[test]
fn a_head_request_gets_a_head_alone() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match (request.head.method(), request.target()) {
            ("HEAD", "/known") => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(),
            ("HEAD", "/chunked") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            ("HEAD", _) => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            _ => ok("next"),
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for (target, length) in [("/known", Some("1000")), ("/chunked", None), ("/unsaid", None)] {
            client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let response = client.response_to("HEAD");
            assert_eq!(response.field("Content-Length"), length);
            assert_eq!(client.ask(get("/")).text(), "next");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn a_head_request_of_http_1_0_is_told_of_no_transfer_coding() {
    on_each_driver(|driver| {
        let origin = Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        client.send("HEAD / HTTP/1.0\r\n\r\n");
        let response = client.response_to("HEAD");
        assert!(!response.fields().has("Transfer-Encoding"), "{response:?}");
    });
}

#[test]
fn responses_that_have_no_content_end_with_their_head() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"x\"\r\n\r\n".to_vec(),
            "/0" => ok(""),
            _ => ok("next"),
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for (target, status, length) in
            [("/204", 204, None), ("/304", 304, Some("1000")), ("/0", 200, Some("0"))]
        {
            let response = client.ask(get(target));
            assert_eq!((response.status(), response.field("Content-Length")), (status, length));
            assert!(!response.fields().has("Transfer-Encoding"));
            assert_eq!(client.ask(get("/")).text(), "next");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn a_204_that_speaks_of_a_length_does_not_pass_it_on() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/204" => b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil".to_vec(),
            _ => ok("next"),
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        assert!(!client.ask(get("/204")).fields().has("Content-Length"));
        assert_eq!(client.ask(get("/")).text(), "next");
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn requests_without_content_say_so_or_say_nothing() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for request in [
            get("/"),
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
            post_chunked_head("/", "") + "0\r\n\r\n",
            "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n".to_owned(),
        ] {
            assert_eq!(client.ask(request).text(), "/ ");
        }
        let framings: Vec<_> =
            origin.requests().iter().map(|request| request.head.request_framing()).collect();
        let empty = Framing::Known(0);
        assert_eq!(framings, [empty, empty, empty, Framing::Chunked, empty]);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut requests = Vec::new();
        for count in 0..300 {
            let target = format!("/{count}");
            match count % 3 {
                0 => requests.extend_from_slice(get(&target).as_bytes()),
                1 => requests.extend_from_slice(&post(&target, &noise(count, 1))),
                _ => {
                    requests.extend_from_slice(post_chunked_head(&target, "").as_bytes());
                    requests.extend_from_slice(&chunk(&noise(count, 2)));
                    requests.extend_from_slice(&chunk(&noise(count, 3)));
                    requests.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\n");
                }
            }
        }
        let mut random = fastrand::Rng::with_seed(7);
        for most in [usize::MAX, 5000, 50] {
            let mut client = proxy.client();
            let (mut sender, requests, seed) = (client.sender(), requests.clone(), random.u64(..));
            let sending = std::thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut rest = &requests[..];
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(random.usize(1..=most).min(rest.len()));
                    assert!(sender.try_send(piece));
                    rest = after;
                }
            });
            for count in 0..300 {
                let content = match count % 3 {
                    0 => Vec::new(),
                    1 => noise(count, 1),
                    _ => [noise(count, 2), noise(count, 3)].concat(),
                };
                let want = [format!("/{count} ").as_bytes(), &content].concat();
                assert_eq!(client.response().body(), want, "request {count}");
            }
            sending.join().unwrap();
        }
    });
}

#[test]
fn a_target_in_absolute_form_reaches_the_origin_in_origin_form() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for (method, target, want) in [
            ("GET", "http://named.example/a?b=c", "/a?b=c"),
            ("GET", "http://named.example", "/"),
            ("GET", "HTTP://named.example?q", "/?q"),
            ("OPTIONS", "*", "*"),
            ("OPTIONS", "http://named.example", "*"),
            ("GET", "//not/an/authority", "/not/an/authority"),
            ("GET", "/a/../b/./%2e%2E/?%00", "/?%00"),
        ] {
            let response = client.ask(format!("{method} {target} HTTP/1.1\r\nHost: other.example\r\n\r\n"));
            assert_eq!(response.text(), format!("{want} "));
            let requests = origin.requests();
            let host = requests.last().unwrap().field("Host");
            let named = target.contains("named.example");
            assert_eq!(host, Some(if named { "named.example" } else { "other.example" }), "{target}");
        }
    });
}

#[test]
fn any_method_is_passed_on_as_it_was_written() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for method in ["BREW", "get", "M-SEARCH", "PROPFIND", "!#$%&'*+-.^_`|~", "PATCH", "Head"] {
            client.ask(format!("{method} /pot HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"));
            let requests = origin.requests();
            let last = requests.last().unwrap();
            assert_eq!((last.head.method(), last.body()), (method, &b"hi"[..]));
        }
    });
}

#[test]
fn a_few_empty_lines_in_front_of_a_request_are_let_pass() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        assert_eq!(client.ask("\r\n".to_owned() + &get("/")).text(), "hello");
        assert_eq!(client.ask("\r\n\r\n".to_owned() + &get("/")).text(), "hello");
        // Old clients send one behind their content.
        client.send([&post("/", b"a=b")[..], b"\r\n", &post("/", b"a=b"), b"\r\n"].concat());
        for _ in 0..2 {
            assert_eq!(client.response().text(), "hello");
        }
        assert_eq!(client.ask(get("/")).text(), "hello");
        assert_eq!(client.ask("\r\n".repeat(20) + &get("/")).status(), 400);
    });
}

#[test]
fn a_client_that_says_close_is_answered_and_let_go() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        let response = client.ask(get_with("/", "Connection: close\r\n"));
        assert!(response.says_close());
        assert_eq!(client.expect_end(), End::Closed);
        assert_eq!(proxy.get("/").text(), "hello");
        assert_eq!(origin.connections(), 1, "the close was not meant for the origin");
    });
}

#[test]
fn a_client_that_has_ended_its_side_is_still_answered() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                peer.sleep(ms(200));
                peer.send(ok([&noise(100_000, 1)[..], request.body()].concat()));
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let pipelined = [get("/"), get("/")].concat().into_bytes();
        for (request, answers) in [(get("/").into_bytes(), 1), (post("/", b"content"), 1), (pipelined, 2)] {
            let mut client = proxy.client();
            client.send(request);
            client.finish();
            for _ in 0..answers {
                assert!(client.response().body().starts_with(&noise(100_000, 1)));
            }
            assert_eq!(client.expect_end(), End::Closed);
        }
    });
}

#[test]
fn nothing_behind_a_request_that_says_close_is_served() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = Proxy::to(driver, &origin);
        for last in [get_with("/last", "Connection: close\r\n"), "GET /last HTTP/1.0\r\n\r\n".to_owned()] {
            let mut client = proxy.client();
            client.send(get("/") + &last + &get("/more") + &get("/more"));
            assert_eq!(
                (client.response().text(), client.response().text()),
                ("hello".to_owned(), "hello".to_owned())
            );
            client.expect_end();
        }
        assert!(origin.requests().iter().all(|request| request.target() != "/more"));
    });
}

#[test]
fn requests_sent_behind_an_upload_are_answered_wherever_the_upload_is_cut() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        // The head alone; the end of the content, and what follows it, only later.
        let known = post("/", b"hello");
        let chunked = (post_chunked_head("/", "") + "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").into_bytes();
        let behind = [get("/one").into_bytes(), post("/two", b"again"), get("/three").into_bytes()].concat();
        for upload in [known, chunked] {
            let head = upload.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            let all = [&upload[..], &behind].concat();
            for cut in [head, head + 1, head + 3, upload.len() - 1, upload.len(), upload.len() + 10] {
                let mut client = proxy.client();
                client.send(&all[..cut]);
                std::thread::sleep(ms(20));
                client.send(&all[cut..]);
                for want in ["/ hello", "/one ", "/two again", "/three "] {
                    assert_eq!(client.response().text(), want, "cut at {cut} of {}", upload.len());
                }
            }
        }
    });
}
