//! A hit, a small proxied request and finding its route allocate nothing: counted over the whole process, with
//! an origin and a client that allocate nothing either.
#![allow(unsafe_code, reason = "counts what the allocator is asked for")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests read the clock; they are no worker")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringway::config::matching::PathPattern;
use ringway::config::{Options, RouteSettings};
use ringway::http::Fields;
use ringway::route::fuzz_patterns::refusing;
use ringway::route::{Asked, Captures, Router};

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

/// Timers and the like may allocate now and then, those of the proxies of earlier cases included, which run on; a
/// request must not.
const STRAY_MAX: u64 = REQUESTS / 20;

/// How often they are counted before there are too many.
const ATTEMPTS_MAX: usize = 5;

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

/// Many routes by host and path, of which one takes the request of this test: it strips a prefix, sets fields, asks
/// for more than host and path, and wants to know who asks.
fn many_routes() -> String {
    let mut text = String::new();
    for number in 0..200 {
        text.push_str(&format!(
            "[[route]]\nhost = ['h{number}.example.com', '*.w{number}.example.com']\npath-prefix = '/p{number}'\n\
             upstream = 'default'\n"
        ));
        text.push_str(&format!("[[route]]\npath = '/users/{{id}}/p{number}'\nupstream = 'default'\n"));
    }
    text.push_str(
        "[[route]]\nrules = ['probes', 'many']\nhost = 'example.com'\npath-prefix = '/api/{version}'\nupstream = 'default'\nstrip-prefix = '/api'\n\
         not = { header = { X-Off = true }, cookie = { off = true } }\n\
         request-header = { set = { X-Version = '{version} {host}' }, remove = ['X-Gone'] }\n\
         response-header = { set = { X-Served = '{request_id}' } }\nauth = 'api'\n\
         [auth.api]\nuser-header = 'X-User'\n\
         bearer = 'sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae the build'\n",
    );
    // None of these holds.
    for number in 0..250 {
        for when in [
            format!("path-prefix = '/private-{number}'"),
            format!("pattern = {{ in = ['query', 'user-agent'], regex = 'bad-{number}-[a-z]+' }}"),
            format!("client = '10.0.{number}.0/24'"),
            format!("header = {{ X-Key = 'k{number}' }}"),
        ] {
            let id = format!("r{number}-{}", when.len());
            text.push_str(&format!("[[rule-set.many.rule]]\nid = '{id}'\n{when}\ndeny = true\n"));
        }
    }
    text
}

/// A route that lets requests in by lists of networks, holds them against bounds, and tells browsers what they may.
fn checked() -> String {
    let networks: Vec<String> = (0..1000).map(|n| format!("'10.{}.{}.0/24'", n / 250, n % 250)).collect();
    format!(
        "[[route]]\nupstream = 'default'\nresponse-header = {{ set = {{ X-Served = '{{request_id}}' }} }}\n\
         access = {{ allow = ['127.0.0.0/8'], deny = [{}] }}\n\
         request-limits = {{ method = ['GET', 'HEAD'], max-query = '1KiB', max-parameters = 9, max-field = '1KiB', \
         content-type = 'text/*' }}\n\
         security-headers = 'strict'\nhide-headers = true\ncors = {{ origin = 'https://app.example.com' }}\n",
        networks.join(", ")
    )
}

/// Rates and a speed that these requests do not come near.
fn rates() -> &'static str {
    "[rate.client]\nrate = '1000000/s'\nburst = 10000000\n[rate.key]\nrate = '1000000/s'\nburst = 10000000\n\
     by = ['route', 'host', 'header:X-Key', 'query:key']\nfields = 'always'\n\
     [[route]]\npath-prefix = '/'\nupstream = 'default'\nrate = ['client', 'key']\n\
     bandwidth = '1GiB/s'\nbandwidth-after = '1MiB'\n\
     response-header = { set = { X-Served = '{request_id}' } }\n"
}

fn proxy(origin: SocketAddr, file: Option<&str>) -> SocketAddr {
    let (started, address) = mpsc::channel();
    let path = file.map(|text| {
        let name = format!("ringway-allocations-{}-{}.toml", std::process::id(), origin.port());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let read = path.clone();
    thread::spawn(move || {
        let options = Options {
            origin: Some(vec![format!("http://{origin}").parse().unwrap()]),
            admin: Some("off".parse().unwrap()),
            port: Some(0),
            cores: Some(1),
            ..Options::default()
        };
        let settings = options.into_settings(read).unwrap();
        ringway::server::run(
            &settings,
            Box::new(|| Err("there is nothing to read again".to_owned())),
            |on| started.send(on.listening[0].address().unwrap()).unwrap(),
            |_| {},
        )
        .unwrap();
    });
    let address = address.recv().unwrap();
    path.map(std::fs::remove_file).transpose().unwrap();
    address
}

const REQUEST: &[u8] =
    b"GET /api/v1/thing HTTP/1.1\r\nHost: example.com\r\nAccept-Encoding: gzip, br;q=0.5\r\n\
      Authorization: Bearer foo\r\n\r\n";

/// Asks so often, and expects answers of that many bytes with `mark` in them.
fn ask(stream: &mut TcpStream, times: u64, length: usize, mark: &[u8], buffer: &mut [u8]) {
    for _ in 0..times {
        stream.write_all(REQUEST).unwrap();
        stream.read_exact(&mut buffer[..length]).unwrap();
        assert!(buffer[..length].windows(mark.len()).any(|window| window == mark));
    }
}

/// The length of the first answers, which must not change.
fn length_of_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut length = 0;
    for _ in 0..3 {
        stream.write_all(REQUEST).unwrap();
        length = 0;
        while !complete(&buffer[..length]) {
            length += stream.read(&mut buffer[length..]).unwrap();
        }
    }
    length
}

fn complete(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let (head, content) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let length = head.split_once("Content-Length: ").unwrap().1.lines().next().unwrap().parse::<usize>();
    content.len() == length.unwrap()
}

fn allocations(cache_control: &str, size: usize, mark: &[u8], file: Option<&str>) -> u64 {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"a\"\r\nContent-Length: {size}\r\nCache-Control: {cache_control}\r\nAge: 100000\r\n\r\n"
    );
    let answer = [head.as_bytes(), &vec![b'x'; size]].concat();
    let mut stream = TcpStream::connect(proxy(origin(answer), file)).unwrap();
    let mut buffer = vec![0; size + 4096];
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = length_of_answer(&mut stream, &mut buffer);
    let is_edited = buffer[..length].windows(10).any(|window| window == b"X-Served: ");
    assert_eq!(is_edited, file.is_some(), "the route took no part");
    ask(&mut stream, WARM_UP, length, mark, &mut buffer);
    let mut least = u64::MAX;
    for _ in 0..ATTEMPTS_MAX {
        let (before, began) = (COUNT.load(Ordering::Relaxed), Instant::now());
        ask(&mut stream, REQUESTS, length, mark, &mut buffer);
        let (after, took) = (COUNT.load(Ordering::Relaxed), began.elapsed());
        least = least.min(after - before);
        if least <= STRAY_MAX {
            break;
        }
        // Stray ones come with time, of which a busy machine takes much: so many, or half as many again, come when nobody
        // asks.
        thread::sleep(took);
        let stray = COUNT.load(Ordering::Relaxed) - after;
        least = least.min((after - before).saturating_sub(stray + stray / 2));
    }
    least
}

/// Finds routes by host and path, in every table there is.
fn allocations_of_finding() -> u64 {
    let all = |number: usize, pattern: PathPattern| RouteSettings {
        hosts: vec![format!("{}h{number}.example.com", ["", "*."][number % 2]).parse().unwrap()],
        paths: vec![pattern],
        ..refusing()
    };
    let routes: Vec<_> = (0..1000)
        .flat_map(|number| {
            let patterns = [
                PathPattern::whole("/a").unwrap(),
                PathPattern::whole("/users/{id}").unwrap(),
                PathPattern::prefix("/users").unwrap(),
            ];
            patterns.map(|pattern| all(number, pattern))
        })
        .collect();
    let router = Router::new(&routes, &[]);
    let requests: Vec<_> = (0..1000).map(|number| format!("www.H{number}.example.com:8080")).collect();
    let mut captures = Captures::new();
    let before = COUNT.load(Ordering::Relaxed);
    for turn in 0..REQUESTS {
        let number = usize::try_from(turn).unwrap() % requests.len();
        let host = &requests[number].as_bytes()[if number % 2 == 0 { 4 } else { 0 }..];
        for (at, path) in [&b"/a"[..], b"/users/5", b"/users/5/posts"].into_iter().enumerate() {
            let fields = Fields::new(b"", &[]);
            let asked =
                Asked { host, path, query: b"", method: b"GET", fields, listener: None, client: None };
            assert_eq!(router.find(&asked, &mut captures), Some(number * 3 + at));
        }
    }
    COUNT.load(Ordering::Relaxed) - before
}

/// One test, because the counter counts for the whole process.
#[test]
fn hits_small_proxied_requests_and_finding_a_route_allocate_nothing() {
    let count = allocations_of_finding();
    assert!(count <= STRAY_MAX, "{count} allocations for {REQUESTS} routes");
    for (what, cache_control, size, mark) in [
        ("a hit", "public, max-age=5000000", 1024, &b"X-Cache: HIT"[..]),
        ("a large hit", "public, max-age=5000000", 64 * 1024, b"X-Cache: HIT"),
        ("a proxied request", "no-store", 1024, b"X-Cache: MISS"),
    ] {
        for (where_, file) in [
            ("", None),
            (" through one of many routes", Some(&*many_routes())),
            (" that is checked", Some(&*checked())),
            (" within rates", Some(rates())),
        ] {
            let count = allocations(cache_control, size, mark, file);
            assert!(count <= STRAY_MAX, "{what}{where_}: {count} allocations for {REQUESTS} requests");
        }
    }
    // What the cache keeps compressed is a hit like any other.
    for (what, codings) in [("compressed", ""), ("not compressed", "coding = 'zstd', ")] {
        let codings = codings.replace("'zstd'", "['zstd']");
        let file = format!(
            "[[route]]\npath-prefix = '/api'\nupstream = 'default'\n\
             response-header = {{ set = {{ X-Served = 'a' }} }}\ncompress = {{ {codings}harder-after = 0 }}\n"
        );
        let count = allocations("public, max-age=5000000", 1024, b"X-Cache: HIT", Some(&file));
        assert!(count <= STRAY_MAX, "a hit that is {what}: {count} allocations for {REQUESTS} requests");
    }
}
