//! curl in front, the origin on plain threads behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::origin::{self, LETTERS};
use crate::pattern;
use crate::proxy::{Proxy, on_each_driver};

const MIB: usize = 1 << 20;

/// Exit codes of curl.
const PARTIAL: i32 = 18;
const RECEIVE_ERROR: i32 = 56;

/// Runs a test for curl in front of a fresh origin, on each driver.
fn with_curl(test: impl Fn(&Proxy)) {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no curl on this machine");
        return;
    }
    on_each_driver(origin::start(), test);
}

/// What came out of curl.
#[derive(Debug)]
struct Said {
    code: i32,
    /// The heads, interim ones included, then the content.
    out: Vec<u8>,
}

impl Said {
    /// The content behind the last head.
    fn content(&self) -> &[u8] {
        let mut rest = &self.out[..];
        while rest.starts_with(b"HTTP/") {
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
            rest = &rest[end + 4..];
        }
        rest
    }

    /// The heads, in lower case.
    fn heads(&self) -> String {
        let heads = &self.out[..self.out.len() - self.content().len()];
        String::from_utf8_lossy(heads).to_ascii_lowercase()
    }

    /// The same answer, if it was a success with that status as the last one.
    fn with_status(self, status: u16) -> Said {
        let last = self.heads().lines().rfind(|line| line.starts_with("http/")).map(str::to_owned);
        let is_right = last.as_deref().is_some_and(|line| line.starts_with(&format!("http/1.1 {status} ")));
        assert!(self.code == 0 && is_right, "curl ended with {}, {last:?}", self.code);
        self
    }
}

/// Runs curl with the heads shown, and `input` on its standard input.
fn curl_with(input: &[u8], args: &[&str]) -> Said {
    let mut child = Command::new("curl")
        // First: nothing of the machine's own configuration.
        .arg("--disable")
        .args(["--silent", "--include", "--max-time", "120"])
        .args(args)
        .env_remove("http_proxy")
        .env_remove("ALL_PROXY")
        .env_remove("all_proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            // curl may end without having read all of it.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    });
    Said { code: output.status.code().unwrap_or(-1), out: output.stdout }
}

fn curl(args: &[&str]) -> Said {
    curl_with(b"", args)
}

#[test]
fn get_and_head() {
    with_curl(|proxy| {
        let said = curl(&[&proxy.url("/hello")]).with_status(200);
        assert_eq!(said.content(), b"hello");
        assert!(
            said.heads().contains("via: 1.1 ringway\r\n") && said.heads().contains("content-length: 5\r\n")
        );
        let said = curl(&["--head", &proxy.url("/hello")]).with_status(200);
        assert!(said.content().is_empty() && said.heads().contains("content-length: 5\r\n"));
    });
}

#[test]
fn the_origin_sees_the_request_that_was_sent() {
    with_curl(|proxy| {
        let said =
            curl(&["--user-agent", "interop", "--header", "X-A: b", "--cookie", "c=d", &proxy.url("/head")]);
        let said = said.with_status(200);
        let seen = String::from_utf8_lossy(said.content()).into_owned();
        let host = format!("Host: {}", proxy.address());
        for line in [
            "GET /head HTTP/1.1",
            &host,
            "User-Agent: interop",
            "X-A: b",
            "Cookie: c=d",
            "X-Forwarded-For: 127.0.0.1",
        ] {
            assert!(seen.lines().any(|seen| seen == line), "{line} is missing from {seen}");
        }
    });
}

#[test]
fn any_method_and_target_pass() {
    with_curl(|proxy| {
        let said = curl(&["--request", "OPTIONS", "--request-target", "*", &proxy.url("/")]).with_status(200);
        assert_eq!(said.content(), b"*");
        let odd = "/a/../b//c?d=%2e&e=f/g?h;i='(j)*";
        let said =
            curl(&["--globoff", "--path-as-is", "--request", "BREW", &proxy.url(odd)]).with_status(200);
        // The path goes on in normal form, the query as it was sent.
        assert_eq!(said.content(), b"/b/c?d=%2e&e=f/g?h;i='(j)*");
    });
}

#[test]
fn post_of_a_form() {
    with_curl(|proxy| {
        let said = curl(&["--data", "a=b&c=d", &proxy.url("/echo")]).with_status(200);
        assert_eq!(said.content(), b"a=b&c=d");
    });
}

#[test]
fn post_of_a_mebibyte_that_waits_for_continue() {
    with_curl(|proxy| {
        let content = pattern(MIB);
        // Without a 100 from the origin, the wait would outlast the time that curl has.
        let args = ["--expect100-timeout", "300", "--header", "Expect: 100-continue", "--data-binary", "@-"];
        let said = curl_with(&content, &[&args[..], &[&proxy.url("/echo")]].concat()).with_status(200);
        assert!(said.heads().starts_with("http/1.1 100 continue\r\n"), "{}", said.heads());
        assert!(said.content() == content, "the content changed on its way");
    });
}

#[test]
fn chunked_upload() {
    with_curl(|proxy| {
        let content = pattern(300_000);
        let chunked = ["--header", "Transfer-Encoding: chunked", "--data-binary", "@-"];
        let said = curl_with(&content, &[&chunked[..], &[&proxy.url("/echo")]].concat()).with_status(200);
        assert!(said.content() == content, "the content changed on its way");
        // Read from a pipe as it comes, so that its length is not known.
        let said = curl_with(&content, &["--upload-file", "-", &proxy.url("/echo")]).with_status(200);
        assert!(said.content() == content, "the content changed on its way");
    });
}

#[test]
fn responses_of_every_framing() {
    with_curl(|proxy| {
        let said = curl(&[&proxy.url("/chunked")]).with_status(200);
        assert_eq!(said.content(), b"hello world");
        assert!(said.heads().contains("transfer-encoding: chunked\r\n"), "{}", said.heads());
        // Trailer fields are shown behind the content.
        let said = curl(&["--header", "TE: trailers", "--header", "Connection: TE", &proxy.url("/trailers")]);
        assert_eq!(said.with_status(200).content(), b"hello worldX-Sum: 1\r\n");
        let said = curl(&[&proxy.url("/until-close")]).with_status(200);
        assert_eq!(said.content(), b"hello until the end");
        let said = curl(&[&proxy.url("/no-content")]).with_status(204);
        assert!(said.content().is_empty() && !said.heads().contains("content-length"));
        let said = curl(&[&proxy.url("/early-hints")]).with_status(200);
        assert!(
            said.heads().starts_with("http/1.1 103 early hints\r\nlink: </a.css>\r\n"),
            "{}",
            said.heads()
        );
        assert_eq!(said.content(), b"hello");
    });
}

#[test]
fn a_client_of_http_1_0_gets_nothing_chunked() {
    with_curl(|proxy| {
        for (path, want) in [
            ("/hello", &b"hello"[..]),
            ("/chunked", b"hello world"),
            ("/until-close", b"hello until the end"),
        ] {
            let said = curl(&["--http1.0", &proxy.url(path)]).with_status(200);
            assert_eq!(said.content(), want);
            assert!(!said.heads().contains("transfer-encoding"), "{}", said.heads());
        }
        let said = curl(&["--http1.0", "--data", "a=b", &proxy.url("/echo")]).with_status(200);
        assert_eq!(said.content(), b"a=b");
    });
}

#[test]
fn one_connection_serves_several_urls() {
    with_curl(|proxy| {
        let paths = ["/hello", "/chunked", "/until-close", "/no-content", "/echo", "/nothing-here"];
        let urls: Vec<_> = paths.iter().map(|path| proxy.url(path)).collect();
        let mut args = vec!["--no-include", "--write-out", "\n%{http_code} %{num_connects}\n"];
        args.extend(urls.iter().map(String::as_str));
        let said = curl(&args);
        let text = String::from_utf8_lossy(&said.out).into_owned();
        let codes: Vec<_> = text.lines().filter(|line| line.starts_with("20")).collect();
        assert_eq!(codes, ["200 1", "200 0", "200 0", "204 0", "200 0", "200 0"], "{text}");
    });
}

#[test]
fn ranges_pass_through() {
    with_curl(|proxy| {
        let said = curl(&["--range", "2-5", &proxy.url("/letters")]).with_status(206);
        assert_eq!(said.content(), &LETTERS[2..=5]);
        assert!(said.heads().contains("content-range: bytes 2-5/26\r\n"));
        let said = curl(&["--range", "90-95", &proxy.url("/letters")]).with_status(416);
        assert!(said.content().is_empty());
    });
}

#[test]
fn a_proxy_in_the_way_of_curl_means_absolute_form() {
    with_curl(|proxy| {
        let said = curl(&["--noproxy", "", "--proxy", &proxy.url(""), "http://example.invalid:81/head?q"]);
        let said = said.with_status(200);
        assert_eq!(said.content(), b"/head?q", "the path behind the authority is what is asked for");
        let said = curl(&["--noproxy", "", "--proxy", &proxy.url(""), "http://example.invalid:81/head"])
            .with_status(200);
        let seen = String::from_utf8_lossy(said.content()).into_owned();
        assert!(seen.starts_with("GET /head HTTP/1.1\r\nHost: example.invalid:81\r\n"), "{seen}");
        // CONNECT is refused, and curl says that its proxy did not let it through.
        let said = curl(&[
            "--noproxy",
            "",
            "--proxytunnel",
            "--proxy",
            &proxy.url(""),
            "http://example.invalid/hello",
        ]);
        assert_eq!(said.code, RECEIVE_ERROR);
        assert!(said.heads().starts_with("http/1.1 501 "), "{}", said.heads());
    });
}

#[test]
fn what_breaks_off_at_the_origin_breaks_off_at_the_client() {
    with_curl(|proxy| {
        for path in ["/truncated", "/truncated-chunked"] {
            let said = curl(&[&proxy.url(path)]);
            assert!([PARTIAL, RECEIVE_ERROR].contains(&said.code), "{path} ended with {}", said.code);
        }
    });
}

#[test]
fn http_0_9_is_refused_on_both_sides() {
    with_curl(|proxy| {
        let said = curl(&["--http0.9", &proxy.url("/http-0.9")]).with_status(502);
        assert!(!String::from_utf8_lossy(&said.out).contains("hello without a head"));
        // curl does not send such a request.
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"GET /hello\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    });
}

#[test]
fn http_2_is_not_spoken_without_harm() {
    with_curl(|proxy| {
        // The offer to upgrade is passed over.
        let said = curl(&["--http2", &proxy.url("/hello")]);
        if said.code == 1 {
            eprintln!("skipped: this curl knows no HTTP/2");
            return;
        }
        assert_eq!(said.with_status(200).content(), b"hello");
        let said = curl(&["--http2-prior-knowledge", &proxy.url("/hello")]);
        assert_ne!(said.code, 0, "an answer of HTTP/1.1 was taken for one of HTTP/2");
        assert_eq!(curl(&[&proxy.url("/hello")]).with_status(200).content(), b"hello");
    });
}
