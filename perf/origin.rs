//! The origin that the measurements of `perf/run.py` stand on.
//!
//! `GET /b/<n>` answers 200 with n bytes, n up to 16 MiB; `/` is `/b/1024`. It shares a core with the load
//! generator, so it does as little as it can: one thread, one pinned ring, each response rendered once, head
//! and content in one piece, and the next read started together with the write. In the steady state a request
//! allocates nothing.
//!
//! It is a tool for clients one trusts, not a server: no time limits, and no requests with content. Responses
//! carry `Cache-Control: no-store`, so that a caching proxy forwards every request, and no `Date`.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, Splitable};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

/// An HTTP/1.1 origin for measurements: `GET /b/<n>` answers with n bytes.
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
fn runtime() -> io::Result<Runtime<IoUringDriver>> {
    let build =
        |ring| RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).uring_builder(ring).build();
    let mut ring = io_uring::IoUring::builder();
    ring.setup_cqsize(RING_ENTRIES * 4).setup_single_issuer().setup_defer_taskrun();
    build(ring).or_else(|error| {
        eprintln!("origin: no deferred task work ({error}), using a plain ring");
        build(io_uring::IoUring::builder())
    })
}

async fn accept(listener: &TcpListener) -> io::Result<()> {
    let pages = Rc::new(RefCell::new(Pages::default()));
    loop {
        match listener.accept().await {
            // A connection that breaks concerns its peer, who sees it and counts it.
            Ok((stream, _)) => drop(monoio::spawn(serve(stream, Rc::clone(&pages)))),
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
async fn serve(stream: TcpStream, pages: Rc<RefCell<Pages>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER);
    let mut answer: &'static [u8] = &[];
    loop {
        let mut served = 0;
        let mut closing = false;
        while !closing {
            let next = match scan(&buffer[served..]) {
                Scan::Whole(request) => {
                    served += request.len;
                    closing = request.close;
                    pages.borrow_mut().answer(&request)
                }
                Scan::Partial if buffer.len() - served < BUFFER => break,
                Scan::Partial => {
                    closing = true;
                    HEAD_TOO_LARGE
                }
                Scan::Refused(refusal) => {
                    closing = true;
                    refusal
                }
            };
            write_all(&mut writer, answer).await?;
            answer = next;
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
            let (written, _) = writer.write(answer).await;
            write_all(&mut writer, &answer[written?..]).await?;
            answer = &[];
        }
        let (read, slice) = read.await;
        buffer = slice.into_inner();
        if read? == 0 {
            return Ok(());
        }
    }
}

async fn write_all(writer: &mut impl AsyncWriteRent, mut rest: &'static [u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match writer.write(rest).await.0? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => rest = &rest[written..],
        }
    }
    Ok(())
}

/// What the front of the receive buffer holds.
#[derive(Debug, PartialEq)]
enum Scan {
    Whole(Request),
    Partial,
    /// To be answered with this, and closed.
    Refused(&'static [u8]),
}

#[derive(Debug, PartialEq)]
struct Request {
    /// Bytes of the head in the buffer.
    len: usize,
    /// Bytes of content asked for; `None` for a target that does not exist.
    size: Option<usize>,
    /// A HEAD request: the answer goes without its content.
    head_only: bool,
    /// The connection ends with this answer.
    close: bool,
}

fn scan(input: &[u8]) -> Scan {
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

fn request(line: &[u8], len: usize, close: bool) -> Scan {
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
    Scan::Whole(Request { len, size: size(target), head_only, close })
}

/// The size that a target names: `/b/<digits>`, or 1024 for `/`.
fn size(target: &[u8]) -> Option<usize> {
    if target == b"/" {
        return Some(1024);
    }
    let digits = target.strip_prefix(b"/b/")?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0, |size, digit| size * 10 + usize::from(digit - b'0'));
    (size <= SIZE_MAX).then_some(size)
}

/// The responses rendered so far. They live as long as the process; `PAGES_MAX` bounds them.
#[derive(Default)]
struct Pages(Vec<Page>);

#[derive(Clone, Copy)]
struct Page {
    size: usize,
    close: bool,
    bytes: &'static [u8],
    head_len: usize,
}

impl Pages {
    fn answer(&mut self, request: &Request) -> &'static [u8] {
        match request.size.and_then(|size| self.page(size, request.close)) {
            Some(page) if request.head_only => &page.bytes[..page.head_len],
            Some(page) => page.bytes,
            None if request.close => NOT_FOUND_CLOSE,
            None => NOT_FOUND,
        }
    }

    fn page(&mut self, size: usize, close: bool) -> Option<Page> {
        if let Some(known) = self.0.iter().find(|page| (page.size, page.close) == (size, close)) {
            return Some(*known);
        }
        (self.0.len() < PAGES_MAX).then(|| {
            let page = Page::render(size, close);
            self.0.push(page);
            page
        })
    }
}

impl Page {
    fn render(size: usize, close: bool) -> Self {
        let mut bytes = Vec::with_capacity(256 + size);
        bytes.extend_from_slice(
            b"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: ",
        );
        bytes.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        bytes.extend_from_slice(b"\r\nCache-Control: no-store\r\n");
        if close {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        let head_len = bytes.len();
        bytes.extend((b'a'..=b'z').cycle().take(size));
        Self { size, close, bytes: bytes.leak(), head_len }
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

    fn whole(input: &str) -> Request {
        match scan(input.as_bytes()) {
            Scan::Whole(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_request_and_leaves_the_next_one() {
        let first = "GET /b/65536 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        let request = whole(&format!("{first}HEAD / HTTP/1.1\r\n"));
        let expected = Request { len: first.len(), size: Some(65536), head_only: false, close: false };
        assert_eq!(request, expected);
    }

    #[test]
    fn closes_when_asked_to_and_for_http_1_0() {
        assert!(whole("GET / HTTP/1.1\r\nHost: a\r\nCONNECTION:  Close\r\n\r\n").close);
        assert!(whole("GET / HTTP/1.0\r\n\r\n").close);
    }

    #[test]
    fn knows_the_sizes() {
        assert_eq!(size(b"/"), Some(1024));
        assert_eq!(size(b"/b/0"), Some(0));
        assert_eq!(size(b"/b/16777216"), Some(SIZE_MAX));
        for target in ["/b/16777217", "/b/", "/b/1x", "/b/999999999", "/a", ""] {
            assert_eq!(size(target.as_bytes()), None, "{target}");
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
        let mut pages = Pages::default();
        let get = pages.answer(&whole("GET /b/3 HTTP/1.1\r\n\r\n"));
        let head = pages.answer(&whole("HEAD /b/3 HTTP/1.1\r\n\r\n"));
        assert_eq!(get.strip_prefix(head), Some(&b"abc"[..]));
        assert_eq!(pages.0.len(), 1);
    }
}
