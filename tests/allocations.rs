//! A hit and a small proxied request allocate nothing: counted over the whole process, with an origin and
//! a client that allocate nothing either.
#![allow(unsafe_code, reason = "counts what the allocator is asked for")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringway::config::Options;

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: u64 = 2_000;
const REQUESTS: u64 = 10_000;

/// Timers and the like of the process may allocate now and then; a request must not.
const STRAY_MAX: u64 = REQUESTS / 100;

/// An origin that answers whatever it is asked with `answer`, on one connection after another.
fn origin(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            // A request fits into a segment, and the next one waits for its answer.
            while stream.read(&mut request).is_ok_and(|count| count > 0) {
                stream.write_all(&answer).unwrap();
            }
        }
    });
    address
}

fn proxy(origin: SocketAddr) -> SocketAddr {
    let (started, address) = mpsc::channel();
    thread::spawn(move || {
        let options = Options {
            origin: Some(vec![format!("http://{origin}").parse().unwrap()]),
            admin: Some("off".parse().unwrap()),
            port: Some(0),
            cores: Some(1),
            ..Options::default()
        };
        let settings = options.into_settings(None).unwrap();
        ringway::server::run(&settings, |on| started.send(on.listening[0]).unwrap(), |_| {}).unwrap();
    });
    address.recv().unwrap()
}

/// Asks so often, and expects answers of that many bytes with `mark` in them.
fn ask(stream: &mut TcpStream, times: u64, length: usize, mark: &[u8], buffer: &mut [u8]) {
    for _ in 0..times {
        stream.write_all(b"GET /thing HTTP/1.1\r\nHost: example.com\r\n\r\n").unwrap();
        stream.read_exact(&mut buffer[..length]).unwrap();
        assert!(buffer[..length].windows(mark.len()).any(|window| window == mark));
    }
}

/// The length of the first answers, which must not change.
fn length_of_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut length = 0;
    for _ in 0..3 {
        stream.write_all(b"GET /thing HTTP/1.1\r\nHost: example.com\r\n\r\n").unwrap();
        length = 0;
        while !complete(&buffer[..length]) {
            length += stream.read(&mut buffer[length..]).unwrap();
        }
    }
    length
}

fn complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, content)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.split_once("Content-Length: ").unwrap().1.lines().next().unwrap().parse::<usize>();
    content.len() == length.unwrap()
}

fn allocations(cache_control: &str, size: usize, mark: &[u8]) -> u64 {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nCache-Control: {cache_control}\r\nAge: 100000\r\n\r\n"
    );
    let answer = [head.as_bytes(), &vec![b'x'; size]].concat();
    let mut stream = TcpStream::connect(proxy(origin(answer))).unwrap();
    let mut buffer = vec![0; size + 4096];
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = length_of_answer(&mut stream, &mut buffer);
    ask(&mut stream, WARM_UP, length, mark, &mut buffer);
    let before = COUNT.load(Ordering::Relaxed);
    ask(&mut stream, REQUESTS, length, mark, &mut buffer);
    COUNT.load(Ordering::Relaxed) - before
}

/// One test, because the counter counts for the whole process.
#[test]
fn hits_and_small_proxied_requests_allocate_nothing() {
    for (what, cache_control, size, mark) in [
        ("a hit", "max-age=5000000", 1024, &b"X-Cache: HIT"[..]),
        ("a large hit", "max-age=5000000", 64 * 1024, b"X-Cache: HIT"),
        ("a proxied request", "no-store", 1024, b"X-Cache: MISS"),
    ] {
        let count = allocations(cache_control, size, mark);
        assert!(count <= STRAY_MAX, "{what}: {count} allocations for {REQUESTS} requests");
    }
}
