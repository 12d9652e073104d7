//! Stored responses as messages: whatever form they came in, and whatever form the client can take.

use crate::support::cache::{bare, page};
use crate::support::{Origin, Proxy, assert_same, chunk, eventually, get, noise, on_one_and_many_workers};

const FRESH: &str = "Cache-Control: max-age=100\r\n";

/// Asks until the response is stored, which it is a moment after its end.
fn hit(proxy: &Proxy, target: &str) -> crate::support::client::Response {
    let mut found = None;
    eventually("it is stored", || {
        let response = proxy.get(target);
        let hit = response.x_cache() == "HIT";
        found = Some(response);
        hit
    });
    found.unwrap()
}

#[test]
fn a_chunked_response_is_served_with_its_length() {
    on_one_and_many_workers(|workers| {
        let content = noise(300_000, 2);
        let coded: Vec<u8> = content.chunks(7_777).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
        let origin = Origin::answering([head.as_bytes(), &coded].concat());
        let proxy = workers.proxy(&origin);
        let first = proxy.get("/");
        assert_same(first.body(), &content);
        let next = hit(&proxy, "/");
        assert_same(next.body(), &content);
        assert_eq!(next.field("Content-Length"), Some("300000"));
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn a_response_that_ends_with_the_connection_is_stored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\n{FRESH}\r\nall of it"));
            }
        });
        let proxy = workers.proxy(&origin);
        assert_eq!(proxy.get("/").text(), "all of it");
        let next = hit(&proxy, "/");
        assert_eq!((next.text(), next.field("Content-Length")), ("all of it".to_owned(), Some("9")));
        assert!(!next.says_close());
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn a_response_of_http_1_0_is_stored() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(format!("HTTP/1.0 200 OK\r\n{FRESH}Content-Length: 3\r\n\r\nold"));
            }
        });
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT", "HIT"] {
            let response = proxy.get("/");
            response.expect(200, "old", x_cache);
            assert_eq!(response.fields().all("Via"), ["1.0 ringway"]);
        }
    });
}

#[test]
fn what_breaks_off_is_not_stored() {
    on_one_and_many_workers(|workers| {
        for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
            let origin = Origin::start(move |peer| {
                if peer.request().is_some() {
                    let half = if framing.starts_with('C') { "half" } else { "4\r\nhalf\r\n" };
                    peer.send(format!("HTTP/1.1 200 OK\r\n{FRESH}{framing}\r\n\r\n{half}"));
                }
            });
            let proxy = workers.proxy(&origin);
            for count in 1..=3 {
                let mut client = proxy.client();
                client.send(get("/"));
                let (head, broken) = client.broken_response();
                assert_eq!((head.status(), &*broken.partial), (200, &b"half"[..]));
                assert_eq!(origin.requests().len(), count);
            }
        }
    });
}

#[test]
fn trailers_are_stored_for_those_who_can_take_them() {
    on_one_and_many_workers(|workers| {
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
        let origin = Origin::answering(format!("{head}3\r\nabc\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n"));
        let proxy = workers.proxy(&origin);
        for x_cache in ["MISS", "HIT", "HIT"] {
            let response = proxy.get("/");
            response.expect(200, "abc", x_cache);
            assert_eq!(response.content.trailers.one("X-Sum"), Some("1"));
            assert!(!response.content.trailers.has("Set-Cookie"));
        }
        let old = proxy.ask("GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n");
        old.expect(200, "abc", "HIT");
        assert_eq!((old.field("Content-Length"), old.field("Transfer-Encoding")), (Some("3"), None));
        let part = proxy.ask("GET / HTTP/1.1\r\nHost: example.com\r\nRange: bytes=1-\r\n\r\n");
        part.expect(206, "bc", "HIT");
    });
}

#[test]
fn an_old_client_is_served_from_the_cache() {
    on_one_and_many_workers(|workers| {
        let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Transfer-Encoding: chunked\r\n\r\n");
        let origin = Origin::answering(format!("{head}3\r\nabc\r\n0\r\n\r\n"));
        let proxy = workers.proxy(&origin);
        let mut client = proxy.client();
        let request = "GET / HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n";
        for x_cache in ["MISS", "HIT", "HIT"] {
            let response = client.ask(request);
            response.expect(200, "abc", x_cache);
            assert_eq!(response.field("Connection"), Some("keep-alive"));
            assert_eq!(response.field("Transfer-Encoding"), None);
        }
        let once = proxy.ask("GET / HTTP/1.0\r\nHost: example.com\r\n\r\n");
        once.expect(200, "abc", "HIT");
        assert!(once.says_close());
        proxy.get("/").expect(200, "abc", "HIT");
    });
}

#[test]
fn many_hits_go_out_on_one_connection() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::answering(page(FRESH, "content"));
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "content", "MISS");
        let mut client = proxy.client();
        client.send(get("/").repeat(50));
        for _ in 0..50 {
            client.response().expect(200, "content", "HIT");
        }
        client.send("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
        let last = client.response();
        last.expect(200, "content", "HIT");
        assert!(last.says_close());
        client.expect_end();
    });
}

#[test]
fn contents_of_every_size_are_the_same_from_the_cache() {
    on_one_and_many_workers(|workers| {
        let all = noise(2_000_000, 3);
        let content = all.clone();
        let origin = Origin::replying(move |request| {
            let length: usize = request.target()[1..].parse().unwrap();
            let head = format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {length}\r\n\r\n");
            [head.as_bytes(), &content[..length]].concat()
        });
        let proxy = workers.proxy(&origin);
        for length in [0, 1, 6 * 1024, 6 * 1024 + 1, 16 * 1024, 65_535, 65_536, 65_537, 1_000_000, 2_000_000]
        {
            let target = format!("/{length}");
            assert_same(proxy.get(&target).body(), &all[..length]);
            let next = hit(&proxy, &target);
            assert_same(next.body(), &all[..length]);
            assert_eq!(next.field("Content-Length"), Some(&*length.to_string()));
        }
    });
}

#[test]
fn more_than_the_response_is_not_stored_with_it() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\n{FRESH}Content-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n{FRESH}\r\nevil"
                ));
            }
        });
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "abc", "MISS");
        proxy.get("/").expect(200, "abc", "HIT");
        proxy.get("/other").expect(200, "abc", "MISS");
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn interim_responses_are_for_the_first_client_alone() {
    on_one_and_many_workers(|workers| {
        let answer = [bare("103 Early Hints", "Link: </a>\r\n"), page(FRESH, "content")].concat();
        let origin = Origin::answering(answer);
        let proxy = workers.proxy(&origin);
        let mut client = proxy.client();
        client.send(get("/"));
        assert_eq!(client.head().status(), 103);
        client.response().expect(200, "content", "MISS");
        proxy.get("/").expect(200, "content", "HIT");
    });
}

#[test]
fn a_client_that_sends_ahead_is_answered_in_order() {
    on_one_and_many_workers(|workers| {
        let origin = Origin::replying(|request| page(FRESH, request.target()));
        let proxy = workers.proxy(&origin);
        let mut client = proxy.client();
        let targets = ["/a", "/b", "/a", "/c", "/b", "/a"];
        client.send(targets.map(get).concat());
        for target in targets {
            assert_eq!(client.response().text(), target);
        }
        assert_eq!(origin.requests().len(), 3);
    });
}
