//! What heads cost: reading a request and a response, deciding the framing, and writing them anew.
//!
//! `ringway` finds the end of the head, parses it and checks it, which is what an exchange pays;
//! `ringway_parse` leaves the search for the end out. Beside them stand bare httparse, which neither
//! looks for the end nor checks the target and Host, and monoio-http's decoder, which builds a map of
//! fields.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use criterion::measurement::{Measurement, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use monoio::io::PrefixedReadIo;
use monoio::io::stream::Stream;
use monoio_http::h1::codec::decoder::{RequestDecoder, ResponseDecoder};
use ringway::h1::amend::AsItCame;
use ringway::h1::encode::{self, Persistence, RequestEdits, ResponseBody, ResponseEdits};
use ringway::h1::{BodyLength, HeadScanner, framing, request, response};
use ringway::http::fields::drop_connection_options;
use ringway::http::{FieldLine, Fields};
use ringway::limits::HeadLimits;

criterion_group!(benches, request_heads, response_heads, framing_decisions, encoded_heads);
criterion_main!(benches);

const SMALL_REQUEST: &str =
    "GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

const BROWSER_REQUEST: &str = "GET /articles/2026/05/io-uring?ref=front&page=2 HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: http://www.example.com/articles/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=2f1c8a7d9b3e4f60a1b2c3d4e5f60718; theme=dark; seen=1716900000\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\
    If-None-Match: \"5f3a-61\"\r\n\r\n";

const SMALL_RESPONSE: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n";

const SERVER_RESPONSE: &str = "HTTP/1.1 200 OK\r\n\
    Server: nginx/1.22.1\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 0\r\n\
    Last-Modified: Sat, 05 Nov 1994 10:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    ETag: \"5f3a-61\"\r\n\
    Cache-Control: public, max-age=300, stale-while-revalidate=60\r\n\
    Vary: Accept-Encoding, Accept-Language\r\n\
    Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
    Content-Security-Policy: default-src 'self'; img-src 'self' data:; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: strict-origin-when-cross-origin\r\n\
    Set-Cookie: session=2f1c8a7d9b3e4f60a1b2c3d4e5f60718; Path=/; HttpOnly; SameSite=Lax\r\n\
    Accept-Ranges: bytes\r\n\r\n";

/// Makes a head of some 4 KiB by putting more fields behind those it has.
fn enlarged(head: &str) -> String {
    let mut large = head.strip_suffix("\r\n").unwrap().to_owned();
    for number in 0.. {
        if large.len() > 4000 {
            break;
        }
        large.push_str(&format!("X-Application-Field-{number}: {}\r\n", "value of some length; ".repeat(4)));
    }
    large + "\r\n"
}

fn requests() -> [(&'static str, String); 3] {
    [
        ("small", SMALL_REQUEST.to_owned()),
        ("browser", BROWSER_REQUEST.to_owned()),
        ("large", enlarged(BROWSER_REQUEST)),
    ]
}

fn responses() -> [(&'static str, String); 3] {
    [
        ("small", SMALL_RESPONSE.to_owned()),
        ("server", SERVER_RESPONSE.to_owned()),
        ("large", enlarged(SERVER_RESPONSE)),
    ]
}

/// As many field lines as any of these heads has.
const FIELDS_MAX: usize = 100;

fn request_heads(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    for (name, head) in requests() {
        let head = head.as_bytes();
        let mut lines = Vec::new();
        let mut group = group_of(criterion, &format!("request_head/{name}"), head.len());
        group.bench_function("ringway", |bencher| {
            bencher.iter(|| {
                let end = HeadScanner::default().scan(black_box(head)).unwrap().unwrap();
                request::parse(&head[..end], &limits, &mut lines).unwrap()
            });
        });
        group.bench_function("ringway_parse", |bencher| {
            bencher.iter(|| request::parse(black_box(head), &limits, &mut lines).unwrap());
        });
        group.bench_function("httparse", |bencher| {
            bencher.iter(|| {
                let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
                let mut request = httparse::Request::new(&mut []);
                let end = request.parse_with_uninit_headers(black_box(head), &mut fields).unwrap().unwrap();
                black_box((end, request.headers.len()))
            });
        });
        group.bench_function("monoio_http", |bencher| {
            bencher.iter_custom(|count| time_of_decoding(RequestDecoder::new(Endless::stream(head)), count));
        });
    }
}

fn response_heads(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    for (name, head) in responses() {
        let head = head.as_bytes();
        let mut lines = Vec::new();
        let mut group = group_of(criterion, &format!("response_head/{name}"), head.len());
        group.bench_function("ringway", |bencher| {
            bencher.iter(|| {
                let end = HeadScanner::default().scan(black_box(head)).unwrap().unwrap();
                response::parse(&head[..end], &limits, &mut lines).unwrap()
            });
        });
        group.bench_function("ringway_parse", |bencher| {
            bencher.iter(|| response::parse(black_box(head), &limits, &mut lines).unwrap());
        });
        group.bench_function("httparse", |bencher| {
            bencher.iter(|| {
                let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
                let mut response = httparse::Response::new(&mut []);
                let end = httparse::ParserConfig::default()
                    .parse_response_with_uninit_headers(&mut response, black_box(head), &mut fields)
                    .unwrap()
                    .unwrap();
                black_box((end, response.headers.len()))
            });
        });
        group.bench_function("monoio_http", |bencher| {
            bencher.iter_custom(|count| time_of_decoding(ResponseDecoder::new(Endless::stream(head)), count));
        });
    }
}

fn framing_decisions(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    let mut lines = Vec::new();
    let mut group = criterion.benchmark_group("framing");
    for (name, head) in requests() {
        let version = request::parse(head.as_bytes(), &limits, &mut lines).unwrap().version;
        let fields = Fields::new(head.as_bytes(), &lines);
        group.bench_function(format!("request/{name}"), |bencher| {
            bencher.iter(|| framing::of_request(version, black_box(fields)).unwrap());
        });
    }
    for (name, head) in responses() {
        let parsed = response::parse(head.as_bytes(), &limits, &mut lines).unwrap();
        let fields = Fields::new(head.as_bytes(), &lines);
        group.bench_function(format!("response/{name}"), |bencher| {
            bencher.iter(|| {
                framing::of_response(false, parsed.status, parsed.version, black_box(fields)).unwrap()
            });
        });
    }
}

fn encoded_heads(criterion: &mut Criterion) {
    let limits = HeadLimits::default();
    let mut out = Vec::with_capacity(8 * 1024);
    for (name, text) in requests() {
        let bytes = text.as_bytes();
        let mut lines: Vec<FieldLine> = Vec::new();
        let head = request::parse(bytes, &limits, &mut lines).unwrap();
        drop_connection_options(bytes, &mut lines);
        let edits = RequestEdits {
            target: head.target.origin_form(bytes, head.method),
            host: b"www.example.com",
            client: b"192.0.2.1",
            trusted: false,
            forwarded_host: b"www.example.com",
            via: b"ringway",
            request_id: b"0123456789abcdef0123456789abcdef",
            body: BodyLength::None,
            expects_continue: false,
            upgrade: None,
            takes_trailers: false,
            max_forwards: None,
            conditions: None,
            identity: false,
            whole: false,
        };
        group_of(criterion, "encode", bytes.len()).bench_function(format!("request/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode::request(
                    &mut out,
                    black_box(bytes),
                    &head,
                    Fields::new(bytes, &lines),
                    &edits,
                    &mut AsItCame,
                );
                black_box(out.len())
            });
        });
    }
    for (name, text) in responses() {
        let bytes = text.as_bytes();
        let mut lines: Vec<FieldLine> = Vec::new();
        let head = response::parse(bytes, &limits, &mut lines).unwrap();
        drop_connection_options(bytes, &mut lines);
        let edits = ResponseEdits {
            body: ResponseBody::Known(1024),
            persistence: Persistence::KeepAlive,
            via: b"ringway",
            date: b"Sun, 06 Nov 1994 08:49:37 GMT",
            upgrade: None,
            report: b"",
        };
        group_of(criterion, "encode", bytes.len()).bench_function(format!("response/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode::response(
                    &mut out,
                    black_box(bytes),
                    &head,
                    Fields::new(bytes, &lines),
                    &edits,
                    &mut AsItCame,
                );
                black_box(out.len())
            });
        });
    }
}

fn group_of<'a>(criterion: &'a mut Criterion, name: &str, bytes: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group
}

/// Decodes so many heads. monoio-http's decoder can only be driven by a future: one `block_on` runs
/// them all, so that its cost does not count, nor does that of the decoder's 8 KiB buffer.
fn time_of_decoding<T, E: std::fmt::Debug>(
    mut decoder: impl Stream<Item = Result<T, E>>,
    count: u64,
) -> Duration {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().unwrap();
    runtime.block_on(async {
        let start = WallTime.start();
        for _ in 0..count {
            black_box(decoder.next().await.unwrap().unwrap());
        }
        WallTime.end(start)
    })
}

/// One head, again and again, as the bytes of a connection that never ends.
struct Endless<'a> {
    head: &'a [u8],
    at: usize,
}

impl<'a> Endless<'a> {
    /// In front of an empty stream, which is never reached.
    fn stream(head: &'a [u8]) -> PrefixedReadIo<&'a [u8], Endless<'a>> {
        PrefixedReadIo::new(&[], Endless { head, at: 0 })
    }
}

impl io::Read for Endless<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = room.len().min(self.head.len() - self.at);
        room[..count].copy_from_slice(&self.head[self.at..self.at + count]);
        self.at = (self.at + count) % self.head.len();
        Ok(count)
    }
}
