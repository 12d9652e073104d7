//! The origin that the measurements of `perf/run.py` stand on.
//!
//! | target | answer |
//! | --- | --- |
//! | `/b/<n>` | n bytes, n up to 16 MiB, not to be stored; `/` is `/b/1024` |
//! | `/cache/<n>/<name>` | n bytes that depend on the name, fresh for an hour; `?delay=<ms>` answers later |
//! | `/text/<n>` | n bytes that compress as pages do, as `text/html`, not to be stored |
//! | `/text/<n>/fresh` | the same, fresh for an hour, with an ETag |
//! | `/counts` | how many requests there were for what may be stored, as text |
//! | `/counts?path=/cache/<n>/<name>` | how many there were of that path, whatever their query |
//!
//! It shares a core with the load generator, so it does as little as it can: one thread, one pinned ring,
//! each response of `/b/` rendered once, head and content in one piece, and the next read started together
//! with the write. In the steady state a request of `/b/` allocates nothing, and one of `/cache/` its answer.
//!
//! It is a tool for clients one trusts, not a server: no time limits, and no requests with content. Responses
//! of `/b/` carry `Cache-Control: no-store`, so that a caching proxy forwards every request, and no `Date`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use clap::Parser;
use content::Pattern;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, Splitable};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

mod content;
mod text;

/// An HTTP/1.1 origin for measurements: `GET /b/<n>` and `/cache/<n>/<name>` answer with n bytes.
#[derive(Parser)]
struct Arguments {
    /// The port to listen on, at 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The CPU core to run on.
    #[arg(long)]
    core: Option<usize>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("origin: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    if let Some(id) = arguments.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(io::Error::other(format!("cannot run on core {id}")));
    }
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, arguments.port);
    runtime()?.block_on(async {
        // No SO_REUSEPORT, so that a second origin on this port fails instead of taking half of the load.
        let options = ListenerOpts::new().reuse_port(false).backlog(BACKLOG);
        let listener = TcpListener::bind_with_config(address, &options)?;
        println!("origin: listening on {address}");
        accept(&listener).await
    })
}

/// A runtime whose ring does its completion work only when this thread asks for it, where the kernel can.
fn runtime() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let build = |ring| {
        let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES);
        builder.uring_builder(ring).enable_timer().build()
    };
    let mut ring = io_uring::IoUring::builder();
    ring.setup_cqsize(RING_ENTRIES * 4).setup_single_issuer().setup_defer_taskrun();
    build(ring).or_else(|error| {
        eprintln!("origin: no deferred task work ({error}), using a plain ring");
        build(io_uring::IoUring::builder())
    })
}

async fn accept(listener: &TcpListener) -> io::Result<()> {
    let shared = Rc::new(RefCell::new(Shared::new()));
    loop {
        match listener.accept().await {
            // A connection that breaks concerns its peer, who sees it and counts it.
            Ok((stream, _)) => drop(monoio::spawn(serve(stream, Rc::clone(&shared)))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Serves one connection until either side ends it.
///
/// All requests in the buffer are answered in order; the last answer goes out with the next read under way.
///
/// ```text
///     buffer   [ request | request | requ........... ]
///                                  `-- moved to the front, the read appends to it
/// ```
async fn serve(stream: TcpStream, shared: Rc<RefCell<Shared>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER);
    let mut answer = Bytes::new();
    loop {
        let mut served = 0;
        let mut closing = false;
        while !closing {
            let next = match scan(&buffer[served..]) {
                Scan::Whole(request) => {
                    served += request.len;
                    closing = request.close;
                    let answer = shared.borrow_mut().answer(&request);
                    if let Target::Cached(Cached { delay: Some(delay), .. }) = request.target {
                        monoio::time::sleep(delay).await;
                    }
                    answer
                }
                Scan::Partial if buffer.len() - served < BUFFER => break,
                Scan::Partial => {
                    closing = true;
                    Bytes::from_static(HEAD_TOO_LARGE)
                }
                Scan::Refused(refusal) => {
                    closing = true;
                    Bytes::from_static(refusal)
                }
            };
            write_all(&mut writer, std::mem::replace(&mut answer, next)).await?;
        }
        if closing {
            write_all(&mut writer, answer).await?;
            return writer.shutdown().await;
        }

        buffer.drain(..served);
        let kept = buffer.len();
        // Both operations start here, before either is awaited.
        let read = reader.read(buffer.slice_mut(kept..BUFFER));
        if !answer.is_empty() {
            let (written, mut rest) = writer.write(std::mem::take(&mut answer)).await;
            rest.advance(written?);
            write_all(&mut writer, rest).await?;
        }
        let (read, slice) = read.await;
        buffer = slice.into_inner();
        if read? == 0 {
            return Ok(());
        }
    }
}

async fn write_all(writer: &mut impl AsyncWriteRent, mut rest: Bytes) -> io::Result<()> {
    while !rest.is_empty() {
        let (written, answer) = writer.write(rest).await;
        rest = answer;
        match written? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => rest.advance(written),
        }
    }
    Ok(())
}

/// What the front of the receive buffer holds.
#[derive(Debug, PartialEq)]
enum Scan<'a> {
    Whole(Request<'a>),
    Partial,
    /// To be answered with this, and closed.
    Refused(&'static [u8]),
}

#[derive(Debug, PartialEq)]
struct Request<'a> {
    /// Bytes of the head in the buffer.
    len: usize,
    target: Target<'a>,
    /// A HEAD request: the answer goes without its content.
    head_only: bool,
    /// The connection ends with this answer.
    close: bool,
}

#[derive(Debug, PartialEq)]
enum Target<'a> {
    /// That many bytes of content, of that kind.
    Page(usize, Kind),
    Cached(Cached<'a>),
    /// How often a path, or anything below `/cache/`, was asked for.
    Counts(Option<&'a [u8]>),
    Unknown,
}

#[derive(Debug, PartialEq)]
struct Cached<'a> {
    /// The target without its query.
    path: &'a [u8],
    name: &'a [u8],
    size: usize,
    delay: Option<Duration>,
}

fn scan(input: &[u8]) -> Scan<'_> {
    let mut request_line: Option<&[u8]> = None;
    let mut close = false;
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', input) {
        let Some(line) = input[start..end].strip_suffix(b"\r") else {
            return Scan::Refused(BAD_REQUEST);
        };
        start = end + 1;
        match (request_line, line.first()) {
            (None, _) => request_line = Some(line),
            (Some(request_line), None) => return request(request_line, start, close),
            (Some(_), Some(b'C' | b'c' | b'T' | b't')) => {
                close |= value(line, b"connection:").is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
                if value(line, b"content-length:").is_some_and(|v| v != b"0")
                    || value(line, b"transfer-encoding:").is_some()
                {
                    return Scan::Refused(CONTENT_REFUSED);
                }
            }
            (Some(_), Some(_)) => {}
        }
    }
    Scan::Partial
}

/// The value of a field line, if it is the one of that lower-case name.
fn value<'a>(line: &'a [u8], name_and_colon: &[u8]) -> Option<&'a [u8]> {
    let (name, value) = line.split_at_checked(name_and_colon.len())?;
    name.eq_ignore_ascii_case(name_and_colon).then(|| value.trim_ascii())
}

fn request(line: &[u8], len: usize, close: bool) -> Scan<'_> {
    let (rest, close) = if let Some(rest) = line.strip_suffix(b" HTTP/1.1") {
        (rest, close)
    } else if let Some(rest) = line.strip_suffix(b" HTTP/1.0") {
        (rest, true)
    } else {
        return Scan::Refused(BAD_REQUEST);
    };
    let (target, head_only) = if let Some(target) = rest.strip_prefix(b"GET ") {
        (target, false)
    } else if let Some(target) = rest.strip_prefix(b"HEAD ") {
        (target, true)
    } else {
        return Scan::Refused(METHOD_REFUSED);
    };
    Scan::Whole(Request { len, target: Target::of(target), head_only, close })
}

impl<'a> Target<'a> {
    fn of(target: &'a [u8]) -> Self {
        if target == b"/" {
            Self::Page(1024, Kind::Letters)
        } else if let Some(digits) = target.strip_prefix(b"/b/") {
            number(digits).map_or(Self::Unknown, |size| Self::Page(size, Kind::Letters))
        } else if let Some(rest) = target.strip_prefix(b"/text/") {
            let (digits, kind) = match rest.strip_suffix(b"/fresh") {
                Some(digits) => (digits, Kind::FreshText),
                None => (rest, Kind::Text),
            };
            number(digits).map_or(Self::Unknown, |size| Self::Page(size, kind))
        } else if target.starts_with(b"/cache/") {
            Cached::of(target).map_or(Self::Unknown, Self::Cached)
        } else if let Some(query) = target.strip_prefix(b"/counts") {
            match query.strip_prefix(b"?path=") {
                None if query.is_empty() => Self::Counts(None),
                None => Self::Unknown,
                path => Self::Counts(path),
            }
        } else {
            Self::Unknown
        }
    }
}

impl<'a> Cached<'a> {
    /// `/cache/<digits>/<name>`, with `?delay=<digits>` or without a query.
    fn of(target: &'a [u8]) -> Option<Self> {
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        let rest = path.strip_prefix(b"/cache/")?;
        let (size, name) = rest.split_at(memchr::memchr(b'/', rest)?);
        let name = &name[1..];
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        if name.is_empty() || name.len() > NAME_MAX || !name.iter().all(allowed) {
            return None;
        }
        let delay = match query {
            Some(query) => Some(number(query.strip_prefix(b"delay=")?).filter(|ms| *ms <= DELAY_MS_MAX)?),
            None => None,
        };
        Some(Self {
            path,
            name,
            size: number(size)?,
            delay: delay.map(|ms| Duration::from_millis(ms as u64)),
        })
    }
}

/// Digits, as a number up to `SIZE_MAX`.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    (number <= SIZE_MAX).then_some(number)
}

/// What all connections have in common.
struct Shared {
    pages: Pages,
    pattern: Pattern,
    /// Requests by path, of up to `PATHS_MAX` paths.
    counts: HashMap<Box<[u8]>, u64>,
    /// Requests for what may be stored.
    count: u64,
}

impl Shared {
    fn new() -> Self {
        Self { pages: Pages::default(), pattern: Pattern::new(), counts: HashMap::new(), count: 0 }
    }

    fn answer(&mut self, request: &Request<'_>) -> Bytes {
        match &request.target {
            Target::Page(size, kind) => {
                self.count += u64::from(*kind == Kind::FreshText);
                self.pages.answer((*size, *kind), request)
            }
            Target::Cached(cached) => {
                self.count(cached.path);
                cached.render(&self.pattern, request)
            }
            Target::Counts(None) => rendered_count(self.count),
            Target::Counts(Some(path)) => rendered_count(self.counts.get(*path).copied().unwrap_or(0)),
            Target::Unknown => not_found(request),
        }
    }

    fn count(&mut self, path: &[u8]) {
        self.count += 1;
        if let Some(count) = self.counts.get_mut(path) {
            *count += 1;
        } else if self.counts.len() < PATHS_MAX {
            self.counts.insert(path.into(), 1);
        }
    }
}

impl Cached<'_> {
    fn render(&self, pattern: &Pattern, request: &Request<'_>) -> Bytes {
        let mut size = itoa::Buffer::new();
        let size = size.format(self.size).as_bytes();
        let mut bytes = Vec::with_capacity(512 + self.size);
        for part in [
            &b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: "[..],
            httpdate::fmt_http_date(now()).as_bytes(),
            b"\r\nContent-Type: application/octet-stream\r\nCache-Control: max-age=3600\r\nETag: \"",
            size,
            b"-",
            self.name,
            b"\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: ",
            size,
            if request.close { b"\r\nConnection: close" } else { b"" },
            b"\r\n\r\n",
        ] {
            bytes.extend_from_slice(part);
        }
        if !request.head_only {
            pattern.pieces(self.name, 0..self.size).for_each(|piece| bytes.extend_from_slice(piece));
        }
        bytes.into()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is no worker, and `Date` needs the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn rendered_count(count: u64) -> Bytes {
    let text = count.to_string();
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\r\n{text}").into()
}

fn not_found(request: &Request<'_>) -> Bytes {
    Bytes::from_static(if request.close { NOT_FOUND_CLOSE } else { NOT_FOUND })
}

/// The responses rendered so far. They live as long as the process; `PAGES_MAX` bounds them.
#[derive(Default)]
struct Pages(Vec<Page>);

/// What a page is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The alphabet, again and again.
    Letters,
    /// See `text.rs`.
    Text,
    /// The same, which may be stored.
    FreshText,
}

#[derive(Clone, Copy)]
struct Page {
    what: (usize, Kind),
    close: bool,
    bytes: &'static [u8],
    head_len: usize,
}

impl Pages {
    fn answer(&mut self, what: (usize, Kind), request: &Request<'_>) -> Bytes {
        match self.page(what, request.close) {
            Some(page) if request.head_only => Bytes::from_static(&page.bytes[..page.head_len]),
            Some(page) => Bytes::from_static(page.bytes),
            None => not_found(request),
        }
    }

    fn page(&mut self, what: (usize, Kind), close: bool) -> Option<Page> {
        if let Some(known) = self.0.iter().find(|page| (page.what, page.close) == (what, close)) {
            return Some(*known);
        }
        (self.0.len() < PAGES_MAX).then(|| {
            let page = Page::render(what, close);
            self.0.push(page);
            page
        })
    }
}

impl Page {
    fn render(what: (usize, Kind), close: bool) -> Self {
        let (size, kind) = what;
        let mut bytes = Vec::with_capacity(256 + size);
        let (content_type, storing): (&[u8], &[u8]) = match kind {
            Kind::Letters => (b"text/plain", b"no-store"),
            Kind::Text => (b"text/html; charset=utf-8", b"no-store"),
            Kind::FreshText => (b"text/html; charset=utf-8", b"max-age=3600\r\nETag: \"text\""),
        };
        for part in [
            &b"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: "[..],
            content_type,
            b"\r\nContent-Length: ",
            itoa::Buffer::new().format(size).as_bytes(),
            b"\r\nCache-Control: ",
            storing,
            if close { b"\r\nConnection: close" } else { b"" },
            b"\r\n\r\n",
        ] {
            bytes.extend_from_slice(part);
        }
        let head_len = bytes.len();
        match kind {
            Kind::Letters => bytes.extend((b'a'..=b'z').cycle().take(size)),
            Kind::Text | Kind::FreshText => bytes.extend(text::page(size)),
        }
        Self { what, close, bytes: bytes.leak(), head_len }
    }
}

const RING_ENTRIES: u32 = 4096;
const BACKLOG: i32 = 4096;
/// Receive buffer of a connection, and so the largest head.
const BUFFER: usize = 8 * 1024;
/// Largest content, in bytes.
const SIZE_MAX: usize = 16 * 1024 * 1024;
/// Most responses kept; a size beyond them is answered with 404.
const PAGES_MAX: usize = 64;
/// Longest name below `/cache/`, in bytes.
const NAME_MAX: usize = 128;
/// Longest delay, in milliseconds.
const DELAY_MS_MAX: usize = 60_000;
/// Most paths counted each by itself.
const PATHS_MAX: usize = 1_000_000;

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND_CLOSE: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const CONTENT_REFUSED: &[u8] =
    b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const METHOD_REFUSED: &[u8] =
    b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const HEAD_TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &str) -> Request<'_> {
        match scan(input.as_bytes()) {
            Scan::Whole(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_request_and_leaves_the_next_one() {
        let first = "GET /b/65536 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        let input = format!("{first}HEAD / HTTP/1.1\r\n");
        let request = whole(&input);
        let expected = Request {
            len: first.len(),
            target: Target::Page(65536, Kind::Letters),
            head_only: false,
            close: false,
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn closes_when_asked_to_and_for_http_1_0() {
        assert!(whole("GET / HTTP/1.1\r\nHost: a\r\nCONNECTION:  Close\r\n\r\n").close);
        assert!(whole("GET / HTTP/1.0\r\n\r\n").close);
    }

    #[test]
    fn knows_the_targets() {
        let cached = |path, name, size, delay| Target::Cached(Cached { path, name, size, delay });
        let later = Some(Duration::from_millis(200));
        for (target, expected) in [
            ("/", Target::Page(1024, Kind::Letters)),
            ("/b/0", Target::Page(0, Kind::Letters)),
            ("/b/16777216", Target::Page(SIZE_MAX, Kind::Letters)),
            ("/text/9", Target::Page(9, Kind::Text)),
            ("/text/9/fresh", Target::Page(9, Kind::FreshText)),
            ("/cache/3/a-1", cached(b"/cache/3/a-1", b"a-1", 3, None)),
            ("/cache/3/a?delay=200", cached(b"/cache/3/a", b"a", 3, later)),
            ("/counts", Target::Counts(None)),
            ("/counts?path=/cache/3/a", Target::Counts(Some(b"/cache/3/a"))),
        ] {
            assert_eq!(Target::of(target.as_bytes()), expected, "{target}");
        }
        for target in [
            "/b/16777217",
            "/b/",
            "/b/1x",
            "/b/999999999",
            "/a",
            "",
            "/counts?x",
            "/cache/",
            "/cache/3",
            "/cache/3/",
            "/cache/3/a/b",
            "/cache/x/a",
            "/cache/3/a?delay=",
            "/cache/3/a?delay=60001",
        ] {
            assert_eq!(Target::of(target.as_bytes()), Target::Unknown, "{target}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_frame() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(scan(post.as_bytes()), Scan::Refused(METHOD_REFUSED));
        let content = "GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(scan(content.as_bytes()), Scan::Refused(CONTENT_REFUSED));
        assert_eq!(scan(b"GET / HTTP/1.1\nHost: a\n\n"), Scan::Refused(BAD_REQUEST));
        assert_eq!(scan(b"GET / HTTP/1.1\r\nHost: a\r\n"), Scan::Partial);
    }

    #[test]
    fn answers_head_with_the_head_of_get() {
        let mut shared = Shared::new();
        for (target, content) in
            [("/b/3", &b"abc"[..]), ("/text/3", b"</u"), ("/text/3/fresh", b"</u"), ("/cache/3/a", &[])]
        {
            let mut answer = |method| shared.answer(&whole(&format!("{method} {target} HTTP/1.1\r\n\r\n")));
            let (get, head) = (answer("GET"), answer("HEAD"));
            let rest = get.strip_prefix(&head[..]).unwrap();
            assert_eq!(rest.len(), 3);
            assert!(content.is_empty() || rest == content);
        }
        assert_eq!(shared.pages.0.len(), 3);
    }

    #[test]
    fn counts_by_path_whatever_the_query() {
        let mut shared = Shared::new();
        let mut get = |target: &str| {
            let answer = shared.answer(&whole(&format!("GET {target} HTTP/1.1\r\n\r\n")));
            String::from_utf8_lossy(&answer).lines().last().unwrap_or_default().to_owned()
        };
        for target in ["/cache/0/a", "/cache/0/a?delay=1", "/cache/0/b", "/b/0"] {
            get(target);
        }
        assert_eq!(get("/counts"), "3");
        assert_eq!(get("/counts?path=/cache/0/a"), "2");
        assert_eq!(get("/counts?path=/cache/0/c"), "0");
    }
}
