//! Content of every size, in every framing, split in every way: what goes in comes out.

use std::thread;

use crate::support::message::in_random_chunks;
use crate::support::{
    Origin, Proxy, assert_same, chunk, get, ms, noise, ok, on_each_driver, post, post_chunked_head,
};

const MIB: usize = 1 << 20;

/// Answers with content of the size that the target's first part asks for, framed as its second
/// part says.
fn of_any_size() -> Origin {
    Origin::start(|peer| {
        while let Some(request) = peer.request() {
            let mut parts = request.target().split('/').skip(1);
            let length = parts.next().unwrap().parse().unwrap();
            let content = noise(length, 5);
            match parts.next() {
                Some("chunked") => {
                    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    peer.send(in_random_chunks(&content, 70_000, 11));
                }
                Some("close") => {
                    peer.send("HTTP/1.1 200 OK\r\n\r\n");
                    peer.send(content);
                    return;
                }
                _ => {
                    peer.send(ok(content));
                }
            }
        }
    })
}

#[test]
fn large_content_comes_from_the_origin_unharmed() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for size in [MIB, 20 * MIB] {
            let want = noise(size, 5);
            for framing in ["known", "chunked", "close"] {
                assert_same(client.ask(get(&format!("/{size}/{framing}"))).body(), &want);
            }
            let mut old = proxy.client();
            assert_same(old.ask(format!("GET /{size}/chunked HTTP/1.0\r\n\r\n")).body(), &want);
        }
    });
}

#[test]
fn large_content_goes_to_the_origin_unharmed() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            // Told by its length, for the origin remembers it all.
            ok(format!("{} bytes", request.body().len()))
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for size in [MIB, 20 * MIB] {
            let content = noise(size, 6);
            let chunked =
                [post_chunked_head("/", "").as_bytes(), &in_random_chunks(&content, 70_000, 12)].concat();
            for request in [post("/", &content), chunked] {
                assert_eq!(client.ask(request).text(), format!("{size} bytes"));
                assert_same(origin.requests().last().unwrap().body(), &content);
            }
        }
    });
}

#[test]
fn chunks_of_any_size_pass_both_ways() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let most = request.target()[1..].parse().unwrap();
            [head.as_bytes(), &in_random_chunks(request.body(), most, 21)].concat()
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for (size, most) in
            [(2_000, 1), (20_000, 16), (200_000, 700), (3_000_000, 20_000), (6_000_000, 1_000_000)]
        {
            let content = noise(size, 22);
            let request = [
                post_chunked_head(&format!("/{most}"), "").as_bytes(),
                &in_random_chunks(&content, most, 23),
            ]
            .concat();
            assert_same(client.ask(request).body(), &content);
        }
    });
}

#[test]
fn large_content_passes_for_many_clients_at_once() {
    on_each_driver(|driver| {
        let origin = of_any_size();
        let proxy = Proxy::to(driver, &origin);
        let want = noise(MIB, 5);
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    for framing in ["known", "chunked", "known", "close"] {
                        assert_same(client.ask(get(&format!("/{MIB}/{framing}"))).body(), &want);
                    }
                });
            }
        });
    });
}

#[test]
fn a_response_may_come_byte_by_byte() {
    on_each_driver(|driver| {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Field:  padded \r\n\r\nhello world",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world",
        ];
        let origin = Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                let case: usize = request.target()[1..].parse().unwrap();
                peer.send_bytewise(answers[case]);
                if case == 2 {
                    return;
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for case in [0, 1, 2, 0, 1] {
            client.send(get(&format!("/{case}")));
            if case == 1 {
                assert_eq!(client.head().status(), 103);
            }
            let response = client.response();
            assert_eq!(response.text(), "hello world");
            assert_eq!(response.content.trailers.one("X-Sum"), (case == 1).then_some("1"));
        }
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        let chunked = post_chunked_head("/c", "") + "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
        for request in [get("/a").into_bytes(), post("/b", b"hello world"), chunked.into_bytes()] {
            client.send_bytewise(&request);
            let content = if request.starts_with(b"GET") { "" } else { "hello world" };
            assert_eq!(client.response().text()[2..], format!(" {content}"));
        }
        assert_eq!(origin.requests()[2].content.trailers.one("X-Sum"), Some("1"));
    });
}

#[test]
fn a_request_may_be_split_in_two_anywhere() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = Proxy::to(driver, &origin);
        let request = post_chunked_head("/", "X: y\r\n")
            + "3;x\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
            + &get("/next");
        let mut client = proxy.client();
        for at in 1..request.len() {
            let (one, two) = request.split_at(at);
            client.send(one);
            thread::sleep(ms(1));
            client.send(two);
            assert_eq!(client.response().text(), "/ abcde", "split at {at}");
            assert_eq!(client.response().text(), "/next ", "split at {at}");
        }
    });
}

#[test]
fn a_response_may_be_split_in_two_anywhere() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                            3;x\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n";
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                let (one, two) = ANSWER.split_at(request.target()[1..].parse().unwrap());
                peer.send(one);
                peer.sleep(ms(1));
                peer.send(two);
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for at in 1..ANSWER.len() {
            client.send(get(&format!("/{at}")));
            assert_eq!(client.head().status(), 100, "split at {at}");
            let response = client.response();
            assert_eq!(response.text(), "abcde", "split at {at}");
            assert_eq!(response.content.trailers.one("X-Sum"), Some("1"), "split at {at}");
        }
        assert_eq!(origin.connections(), 1);
    });
}

#[test]
fn an_empty_chunk_is_never_made_of_content_that_pauses() {
    on_each_driver(|driver| {
        // Size lines, content and ends that arrive apart must not become chunks of nothing, which
        // would end the message.
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for piece in [
                    "5\r\n",
                    "hello",
                    "\r\n",
                    "6;x=y",
                    "\r\n",
                    " world",
                    "\r\n",
                    "0\r\n",
                    "X-Sum: 1\r\n",
                    "\r\n",
                ] {
                    peer.sleep(ms(5));
                    peer.send(piece);
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for _ in 0..2 {
            let mut sender = client.sender();
            sender.send(post_chunked_head("/", ""));
            for piece in ["3\r\n", "abc", "\r\n", "0", "\r\n", "\r\n"] {
                thread::sleep(ms(5));
                sender.send(piece);
            }
            assert_eq!(client.response().text(), "hello world");
            assert_eq!(origin.requests().last().unwrap().body(), b"abc");
        }
    });
}

#[test]
fn many_small_chunks_pass_in_fewer_large_ones_or_as_they_are() {
    on_each_driver(|driver| {
        let many: Vec<u8> = (0..20_000).flat_map(|_| chunk(b"x")).chain(*b"0\r\n\r\n").collect();
        let answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &many[..]].concat();
        let origin = Origin::answering(answer);
        let proxy = Proxy::to(driver, &origin);
        let response = proxy.ask([post_chunked_head("/", "").as_bytes(), &many].concat());
        assert_same(response.body(), &[b'x'; 20_000]);
        assert_same(origin.request().body(), &[b'x'; 20_000]);
    });
}
