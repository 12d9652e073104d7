//! Messages whose parts begin or end where a buffer does, whatever the size of the buffers is: a
//! head, content or trailer section of just about every size around each of them.

use crate::support::{
    Origin, Proxy, Setup, assert_same, get, noise, ok, on_each_driver, post, post_chunked_head,
};

/// Sizes below and above those of the proxy's buffers, whatever part of them is room for content.
fn sizes() -> impl Iterator<Item = usize> {
    let small = (6_500..8_400).step_by(23);
    let medium = (92_000..98_600).step_by(97);
    let large = (255_000..262_600).step_by(211);
    small.chain(medium).chain(large).chain([0, 1, 16_384, 65_535, 65_536])
}

#[test]
fn responses_of_every_size_around_that_of_a_buffer_pass() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                // The whole response has that size, head included, and leaves in one piece.
                let (framing, size) = request.target()[1..].split_once('/').unwrap();
                let size: usize = size.parse().unwrap();
                let head = match framing {
                    "known" => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"),
                    _ => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
                };
                peer.send([head.as_bytes(), &noise(size, 3)].concat());
                if framing == "close" {
                    return;
                }
            }
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for size in sizes() {
            for framing in ["known", "close"] {
                assert_same(client.ask(get(&format!("/{framing}/{size}"))).body(), &noise(size, 3));
            }
        }
    });
}

#[test]
fn requests_of_every_size_around_that_of_a_buffer_pass() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(format!("{}", request.body().len())));
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for size in sizes() {
            let content = noise(size, 4);
            let mut chunked = (post_chunked_head("/", "") + &format!("{size:x}\r\n")).into_bytes();
            chunked.extend_from_slice(&content);
            chunked.extend_from_slice(b"\r\n0\r\n\r\n");
            // A chunk of nothing would be the last one.
            let chunked = if size == 0 { post("/", b"") } else { chunked };
            for request in [post("/", &content), chunked] {
                assert_eq!(client.ask(request).text(), format!("{size}"));
                assert_same(origin.requests().last().unwrap().body(), &content);
            }
        }
    });
}

/// A head that grows when it is written anew: short lines without a blank behind the colon.
fn terse_lines(count: usize, size: usize) -> String {
    let mut lines: String = (0..count).map(|n| format!("n{n}:v\r\n")).collect();
    if lines.len() + 6 < size {
        lines += &format!("pad:{}\r\n", "p".repeat(size - lines.len() - 6));
    }
    lines
}

#[test]
fn heads_of_every_size_around_that_of_a_buffer_pass() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let size = request.target()[1..].parse().unwrap();
            let lines = terse_lines(60, size);
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{lines}\r\nhello").into_bytes()
        });
        let proxy = Proxy::to(driver, &origin);
        let mut client = proxy.client();
        for size in (7000..8400).step_by(35).chain((7640..7690).step_by(3)).chain([16_000, 31_000, 32_600]) {
            let request = format!(
                "POST /{size} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{}\r\nhi",
                terse_lines(60, size)
            );
            let response = client.ask(request);
            assert_eq!((response.status(), response.text().as_str()), (200, "hello"), "{size}");
            assert_eq!(response.field("n59"), Some("v"));
            let requests = origin.requests();
            let got = requests.last().unwrap();
            assert_eq!((got.body(), got.field("n59")), (&b"hi"[..], Some("v")), "{size}");
            assert_eq!(got.field("pad"), response.field("pad"), "{size}");
        }
    });
}

#[test]
fn heads_of_the_largest_size_that_can_be_set_pass() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|_| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{}\r\nhello", terse_lines(250, 65_000))
                .into_bytes()
        });
        let limits = ["--max-head", "65535", "--max-fields", "256", "--max-target", "60KiB"];
        let proxy = Setup::new(driver).origin(&origin).args(&limits).start();
        let mut client = proxy.client();
        for size in [65_000, 65_400] {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{}\r\nhi",
                terse_lines(250, size)
            );
            assert_eq!(client.ask(request).text(), "hello");
        }
        let target = format!("/{}", "t".repeat(60_000));
        assert_eq!(client.ask(get(&target)).text(), "hello");
        assert_eq!(origin.requests().last().unwrap().target(), target);
    });
}

/// Content in one chunk, and a trailer section whose lines have that between name and value. All of
/// it together with a head of that length has the size.
fn with_trailers(head: usize, size: usize, colon: &str) -> (Vec<u8>, Vec<u8>) {
    let trailers: String = (0..80).map(|n| format!("n{n}{colon}v\r\n")).collect();
    let around = head + "ffff\r\n\r\n0\r\n".len() + trailers.len() + 2;
    let content = noise(size - around, 8);
    let size_line = format!("{:04x}\r\n", content.len());
    let coded = [size_line.as_bytes(), &content, b"\r\n0\r\n", trailers.as_bytes(), b"\r\n"].concat();
    (coded, content)
}

#[test]
fn trailers_pass_wherever_a_buffer_ends() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    on_each_driver(|driver| {
        for colon in [": ", ":"] {
            let origin = Origin::replying(move |request| {
                let (coded, _) = with_trailers(HEAD.len(), request.target()[1..].parse().unwrap(), colon);
                [HEAD.as_bytes(), &coded].concat()
            });
            let proxy = Proxy::to(driver, &origin);
            let mut client = proxy.client();
            // Lines without a blank grow when they are written anew. The proxy may drop trailers that
            // it has no room for, but all of them, and nothing else.
            let passed = |count| count == 80 || (colon == ":" && count == 0);
            for size in (6_500..8_300).step_by(20) {
                let head = post_chunked_head(&format!("/{size}"), "TE: trailers\r\nConnection: TE\r\n");
                let (coded, content) = with_trailers(head.len(), size, colon);
                let response = client.ask([head.as_bytes(), &coded].concat());
                assert_eq!(response.status(), 200, "{size}: {response:?}");
                assert_same(response.body(), &with_trailers(HEAD.len(), size, colon).1);
                assert!(passed(response.content.trailers.len()), "{size}");
                let requests = origin.requests();
                let got = requests.last().unwrap();
                assert_same(got.body(), &content);
                assert!(passed(got.content.trailers.len()), "{size}");
            }
        }
    });
}
