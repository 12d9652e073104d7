//! Random histories against a model of what may be served: clients, an origin that changes, fails and breaks off,
//! requests that change resources, purges, and time. Every response tells which answer of the origin it is, so
//! that the model can say whether the proxy was allowed to give it then, to that request.
//!
//! The model leaves a second and a half around moments, for a busy machine; apart from that it forbids all that
//! RFC 9111 forbids: what was removed, what is too old, what is somebody else's, other bytes, and fewer of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Response;
use crate::support::message::Head;
use crate::support::origin::{Peer, Request};
use crate::support::{Client, Driver, Origin, Proxy, Setup, assert_same, ms, noise, on_each_driver, post};

const KEYS: usize = 24;

const CLIENTS: usize = 6;

const DURATION: Duration = Duration::from_secs(10);

/// How late things may be noticed.
const SLACK: Duration = ms(1500);

/// An answer of the origin, and all that decides what it may be used for.
#[derive(Debug)]
struct Issued {
    serial: usize,
    key: usize,
    version: u64,
    variant: String,
    /// When it was made: not later than when the proxy got it.
    at: Instant,
    lifetime: Duration,
    /// Whether more than one request may get it at all.
    may_be_stored: bool,
    for_authorized: bool,
    varies: bool,
    may_be_stale: bool,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
    /// It breaks off before its end.
    broken: bool,
    uses: AtomicUsize,
}

/// What clients, origin and purges have in common.
struct World {
    versions: [AtomicU64; KEYS],
    /// No request that begins now may get an older version.
    floors: [AtomicU64; KEYS],
    /// Nothing that was made before this may be used without a validation.
    softly_purged: Mutex<[Option<Instant>; KEYS]>,
    issued: Mutex<Vec<Arc<Issued>>>,
    /// When the origin failed for a key, or broke off.
    failures: Mutex<Vec<(usize, Instant)>>,
    seen: Mutex<Seen>,
}

/// What has happened, so that it is known that anything did.
#[derive(Debug, Default)]
struct Seen {
    hits: usize,
    stale: usize,
    revalidated: usize,
    misses: usize,
    collapsed: usize,
    broken: usize,
    not_modified: usize,
    parts: usize,
    changes: usize,
    purges: usize,
}

/// What the content of a version is: deterministic, so that whoever has it can be checked.
fn content(key: usize, version: u64, variant: &str) -> Vec<u8> {
    let seed = (key as u64) << 40 | version << 8 | variant.len() as u64;
    let mut random = fastrand::Rng::with_seed(seed);
    let length = match random.u8(..10) {
        0 => 0,
        1..=6 => random.usize(..3000),
        7 | 8 => random.usize(..40_000),
        _ => random.usize(..150_000),
    };
    let mut bytes = format!("{key} {version} {variant};").into_bytes();
    bytes.extend(noise(length, seed));
    bytes
}

fn tag(key: usize, version: u64, variant: &str) -> String {
    format!("\"{key}-{version}-{variant}\"")
}

fn target(key: usize) -> String {
    format!("/{}/{key}", key % 3)
}

impl World {
    fn new() -> World {
        World {
            versions: [const { AtomicU64::new(1) }; KEYS],
            floors: [const { AtomicU64::new(0) }; KEYS],
            softly_purged: Mutex::new([None; KEYS]),
            issued: Mutex::default(),
            failures: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    fn failed(&self, key: usize) {
        self.failures.lock().unwrap().push((key, Instant::now()));
    }

    fn has_failed(&self, key: usize, since: Instant) -> bool {
        self.failures.lock().unwrap().iter().any(|&(failed, at)| failed == key && at >= since)
    }

    fn issue(&self, make: impl FnOnce(usize) -> Issued) -> Arc<Issued> {
        let mut issued = self.issued.lock().unwrap();
        let new = Arc::new(make(issued.len()));
        issued.push(new.clone());
        new
    }

    fn issued(&self, head: &Head) -> Option<Arc<Issued>> {
        let serial: usize = head.field("X-Serial")?.parse().unwrap();
        Some(self.issued.lock().unwrap()[serial].clone())
    }

    /// The origin, for one connection.
    fn serve(&self, peer: &mut Peer) {
        let mut random = fastrand::Rng::with_seed(peer.index as u64);
        while let Some(request) = peer.request() {
            let key: usize = request.target().rsplit('/').next().unwrap().parse().unwrap();
            let goes_on = match request.head.method() {
                "POST" => self.change(peer, key, &mut random),
                _ if random.u8(..100) < 2 => {
                    self.failed(key);
                    false
                }
                _ => self.answer(peer, key, &request, &mut random),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn change(&self, peer: &mut Peer, key: usize, random: &mut fastrand::Rng) -> bool {
        if random.u8(..10) == 0 {
            peer.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
            return true;
        }
        let version = self.versions[key].fetch_add(1, Ordering::SeqCst) + 1;
        // Some change another resource as well, and say so.
        let other = (key + 1) % KEYS;
        let location = if random.bool() {
            self.versions[other].fetch_add(1, Ordering::SeqCst);
            format!("Content-Location: {}\r\n", target(other))
        } else {
            String::new()
        };
        let other = self.versions[other].load(Ordering::SeqCst);
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nX-Version: {version}\r\nX-Other: {other}\r\n{location}Content-Length: 0\r\n\r\n"
        ));
        true
    }

    /// Says how the answer may be stored, and what of that the model has to know.
    fn lifetime(random: &mut fastrand::Rng, validates: bool) -> (String, Issued) {
        let mut issued = Issued {
            serial: 0,
            key: 0,
            version: 0,
            variant: String::new(),
            at: Instant::now(),
            lifetime: Duration::ZERO,
            may_be_stored: true,
            for_authorized: false,
            varies: false,
            may_be_stale: true,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            broken: false,
            uses: AtomicUsize::new(0),
        };
        let seconds = random.u64(..4);
        issued.lifetime = Duration::from_secs(seconds);
        let mut control = format!("max-age={seconds}");
        // What only freshens says nothing that would forbid what was stored: it may be used once all the same.
        let lines = match random.u8(..if validates { 10 } else { 16 }) {
            0..=4 => "",
            5 => {
                issued.stale_while_revalidate = Duration::from_secs(2);
                control.push_str(", stale-while-revalidate=2");
                ""
            }
            6 | 7 => {
                issued.stale_if_error = Duration::from_secs(6);
                control.push_str(", stale-if-error=6");
                ""
            }
            8 => {
                (issued.may_be_stale, issued.for_authorized) = (false, true);
                issued.stale_if_error = Duration::from_secs(6);
                control.push_str(", must-revalidate, stale-if-error=6");
                ""
            }
            9 => {
                issued.for_authorized = true;
                control.push_str(", public");
                ""
            }
            10 => {
                issued.may_be_stored = false;
                control = "no-store".to_owned();
                ""
            }
            11 => {
                issued.may_be_stored = false;
                control.push_str(", private");
                ""
            }
            12 | 13 => {
                issued.may_be_stored = false;
                control.push_str(", no-cache");
                ""
            }
            14 => {
                issued.may_be_stored = false;
                control.clear();
                "Set-Cookie: a=b\r\n"
            }
            _ => "Set-Cookie: a=b\r\n",
        };
        let control = if control.is_empty() { control } else { format!("Cache-Control: {control}\r\n") };
        (format!("{control}{lines}"), issued)
    }

    /// Answers a GET or a HEAD.
    fn answer(&self, peer: &mut Peer, key: usize, request: &Request, random: &mut fastrand::Rng) -> bool {
        if random.u8(..100) < 3 {
            self.versions[key].fetch_add(1, Ordering::SeqCst);
        }
        let version = self.versions[key].load(Ordering::SeqCst);
        let varies = key.is_multiple_of(4);
        let variant = request.field("X-Variant").filter(|_| varies).unwrap_or_default().to_owned();
        let entity = tag(key, version, &variant);
        let matches = request.field("If-None-Match").is_some_and(|tags| tags.contains(&entity));
        let validates = matches && random.u8(..10) > 0;
        let head_only = request.head.method() == "HEAD";
        let (lines, model) = World::lifetime(random, validates || head_only);
        let fails = random.u8(..100) < 8;
        let authorized = request.field("Authorization").is_some();
        let broken = !validates && !fails && !head_only && random.u8(..100) < 4;
        let issued = self.issue(|serial| Issued {
            serial,
            key,
            version,
            variant: variant.clone(),
            may_be_stored: !fails && model.may_be_stored && (!authorized || model.for_authorized),
            varies,
            broken,
            ..model
        });
        let serial = issued.serial;
        if fails {
            self.failed(key);
            peer.send(format!(
                "HTTP/1.1 503 Service Unavailable\r\nX-Serial: {serial}\r\nContent-Length: 0\r\n\r\n"
            ));
            return true;
        }
        let vary = if varies { "Vary: X-Variant\r\n" } else { "" };
        let own = format!("X-Serial: {serial}\r\nETag: {entity}\r\nCache-Tag: t{}\r\n{vary}{lines}", key % 2);
        if validates {
            peer.send(format!("HTTP/1.1 304 Not Modified\r\n{own}\r\n"));
            return true;
        }
        let content = content(key, version, &variant);
        let chunked = random.bool();
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {}", content.len())
        };
        peer.send(format!("HTTP/1.1 200 OK\r\n{own}{framing}\r\n\r\n"));
        if head_only {
            return true;
        }
        let pieces = if random.u8(..4) == 0 { 4 } else { 1 };
        let length = if broken { random.usize(..content.len()) } else { content.len() };
        for piece in content[..length].chunks(content.len().div_ceil(pieces)) {
            if pieces > 1 {
                peer.sleep(ms(random.u64(..30)));
            }
            let framed = if chunked { crate::support::chunk(piece) } else { piece.to_vec() };
            peer.send(framed);
        }
        if broken {
            self.failed(key);
            return false;
        }
        if chunked {
            peer.send("0\r\n\r\n");
        }
        true
    }

    /// A client, for as long as it goes.
    fn ask(&self, proxy: &Proxy, seed: u64, until: Instant) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut client = proxy.client();
        let mut tags: Vec<Option<String>> = vec![None; KEYS];
        while Instant::now() < until {
            // Some keys are asked for more often than others.
            let key = random.usize(..KEYS).min(random.usize(..KEYS));
            if random.u8(..100) < 4 {
                if !self.post(&mut client, key) {
                    client = proxy.client();
                }
                continue;
            }
            let asked = Asked::new(&mut random, self, key, tags[key].as_deref());
            client.send(&asked.text);
            if random.u8(..100) < 3 {
                // Leaves without a word.
                client = proxy.client();
                continue;
            }
            match client.try_response_to(asked.method) {
                Ok(response) => {
                    self.check(&asked, &response);
                    tags[key] = response.field("ETag").map(str::to_owned).or(tags[key].take());
                    if response.says_close() {
                        client = proxy.client();
                    }
                }
                Err((head, broken)) => {
                    let head = head.unwrap_or_else(|| panic!("no answer: {broken:?} {}", asked.text));
                    let issued = self.issued(&head).expect("an answer of the origin");
                    assert!(issued.broken, "it broke off: {head:?} {issued:?}");
                    assert_ne!(x_cache(&head), "HIT", "what broke off was stored: {head:?}");
                    let whole = content(issued.key, issued.version, &issued.variant);
                    assert_eq!(issued.key, key);
                    assert!(head.status() == 206 || whole.starts_with(&broken.partial), "{head:?}");
                    self.seen.lock().unwrap().broken += 1;
                    client = proxy.client();
                }
            }
        }
    }

    /// Changes a resource. Says whether the connection stays open.
    fn post(&self, client: &mut Client, key: usize) -> bool {
        let answer = client.ask(post(&target(key), b"x"));
        let Some(version) = answer.field("X-Version") else {
            // An error, or a connection that the origin had closed.
            assert!(matches!(answer.status(), 500 | 502), "{:?}", answer.head);
            return !answer.says_close();
        };
        self.floors[key].fetch_max(version.parse().unwrap(), Ordering::SeqCst);
        if answer.field("Content-Location").is_some() {
            let other = answer.field("X-Other").unwrap().parse().unwrap();
            self.floors[(key + 1) % KEYS].fetch_max(other, Ordering::SeqCst);
        }
        self.seen.lock().unwrap().changes += 1;
        !answer.says_close()
    }

    /// Purges now and then.
    fn purge(&self, proxy: &Proxy, until: Instant) {
        let mut random = fastrand::Rng::with_seed(99);
        while Instant::now() < until {
            thread::sleep(ms(random.u64(20..200)));
            let one = random.usize(..KEYS);
            let (mut args, covers): (Vec<String>, Box<dyn Fn(usize) -> bool>) = match random.u8(..8) {
                0 => (vec!["clear-cache".into()], Box::new(|_| true)),
                1 | 2 => {
                    let group = one % 3;
                    let url = format!("http://example.com/{group}/");
                    (vec!["purge".into(), "--prefix".into(), url], Box::new(move |key| key % 3 == group))
                }
                3 | 4 => {
                    let tag = format!("t{}", one % 2);
                    (vec!["purge".into(), "--tag".into(), tag], Box::new(move |key| key % 2 == one % 2))
                }
                _ => {
                    let url = format!("http://example.com{}", target(one));
                    (vec!["purge".into(), url], Box::new(move |key| key == one))
                }
            };
            let soft = random.u8(..3) == 0;
            if soft {
                args.push("--soft".into());
            }
            let begun = Instant::now();
            let versions: Vec<u64> = self.versions.iter().map(|v| v.load(Ordering::SeqCst)).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let run = proxy.order(&args);
            assert_eq!(run.code, Some(0), "{args:?} {}", run.stderr);
            for key in (0..KEYS).filter(|&key| covers(key)) {
                if soft {
                    self.softly_purged.lock().unwrap()[key] = Some(begun);
                } else {
                    self.floors[key].fetch_max(versions[key], Ordering::SeqCst);
                }
            }
            self.seen.lock().unwrap().purges += 1;
        }
    }

    /// Whether the proxy was allowed to answer like that.
    fn check(&self, asked: &Asked, response: &Response) {
        let issued = self.issued(&response.head);
        let why = || format!("{}\n{:?}\n{issued:?}", asked.text, response.head);
        let Some(issued) = &issued else {
            // The proxy's own.
            match response.status() {
                504 => assert!(asked.only_if_cached, "{}", why()),
                416 => {
                    let length = response.field("Content-Range").unwrap().strip_prefix("bytes */").unwrap();
                    assert!(asked.range.unwrap().0 >= length.parse().unwrap(), "{}", why());
                }
                502 => assert!(self.has_failed(asked.key, asked.begun - SLACK), "{}", why()),
                _ => panic!("{}", why()),
            }
            return;
        };
        assert_eq!(issued.key, asked.key, "another key's: {}", why());
        let uses = issued.uses.fetch_add(1, Ordering::SeqCst);
        assert!(issued.may_be_stored || uses == 0, "for one request only: {}", why());
        if response.status() == 503 {
            return;
        }
        assert!(issued.version >= asked.floor, "older than {}: {}", asked.floor, why());
        assert!(!issued.varies || issued.variant == asked.variant, "another variant: {}", why());
        self.check_content(asked, response, issued);
        self.check_time(asked, response, issued);
    }

    fn check_content(&self, asked: &Asked, response: &Response, issued: &Issued) {
        let whole = content(issued.key, issued.version, &issued.variant);
        let entity = tag(issued.key, issued.version, &issued.variant);
        let why = || format!("{}\n{:?}\n{issued:?}", asked.text, response.head);
        assert_eq!(response.field("ETag"), Some(&*entity), "{}", why());
        let mut seen = self.seen.lock().unwrap();
        match response.status() {
            304 => {
                assert_eq!(asked.tag.as_deref(), Some(&*entity), "{}", why());
                seen.not_modified += 1;
            }
            _ if asked.method == "HEAD" => assert_eq!(response.status(), 200, "{}", why()),
            200 => {
                assert!(!issued.broken, "it looks whole: {}", why());
                assert_same(response.body(), &whole);
            }
            206 => {
                let (first, last) = asked.range.unwrap();
                let last = last.min(whole.len() - 1);
                let range = format!("bytes {first}-{last}/{}", whole.len());
                assert_eq!(response.field("Content-Range"), Some(&*range), "{}", why());
                assert_same(response.body(), &whole[first..=last]);
                seen.parts += 1;
            }
            _ => panic!("{}", why()),
        }
    }

    fn check_time(&self, asked: &Asked, response: &Response, issued: &Issued) {
        let why = || format!("{}\n{:?}\n{issued:?}", asked.text, response.head);
        let status = response.field("Cache-Status").unwrap();
        let collapsed = status.contains("collapsed");
        // How old it was at least when the request came.
        let age = asked.begun.saturating_duration_since(issued.at);
        let stale = age.saturating_sub(issued.lifetime);
        let mut seen = self.seen.lock().unwrap();
        match x_cache(&response.head) {
            "HIT" => {
                seen.hits += 1;
                assert!(stale <= SLACK, "too old: {}", why());
                assert!(!asked.no_cache, "it had to be validated: {}", why());
                assert!(!asked.authorized || issued.for_authorized, "for others: {}", why());
                assert!(asked.softly_purged.is_none_or(|purged| issued.at >= purged), "purged: {}", why());
                assert!(uses_stored(issued), "{}", why());
            }
            "STALE" => {
                seen.stale += 1;
                assert!(issued.may_be_stale && uses_stored(issued) && !asked.no_cache, "{}", why());
                assert!(!asked.authorized || issued.for_authorized, "for others: {}", why());
                let failed = status.contains("origin-failed");
                let window = if failed {
                    assert!(self.has_failed(asked.key, asked.begun - SLACK), "{}", why());
                    issued.stale_if_error
                } else {
                    issued.stale_while_revalidate.max(asked.max_stale)
                };
                assert!(stale <= window + SLACK && window > Duration::ZERO, "too old: {}", why());
            }
            "REVALIDATED" => {
                seen.revalidated += 1;
                // What says that it is not for those with credentials any more is used for them once, as it was.
                let is_new = issued.at >= asked.begun || asked.authorized;
                assert!(is_new, "validated for another: {}", why());
            }
            "MISS" if collapsed => {
                seen.collapsed += 1;
                assert!(!asked.no_cache && issued.may_be_stored, "{}", why());
                assert!(!asked.authorized || issued.for_authorized, "for others: {}", why());
                assert!(age <= SLACK, "from the store: {}", why());
            }
            "MISS" => {
                seen.misses += 1;
                assert!(issued.at >= asked.begun, "fetched for another: {}", why());
            }
            _ => panic!("{}", why()),
        }
    }
}

const fn uses_stored(issued: &Issued) -> bool {
    issued.may_be_stored && !issued.broken
}

fn x_cache(head: &Head) -> &str {
    head.field("X-Cache").unwrap_or_else(|| panic!("no X-Cache: {head:?}"))
}

/// A request, and what was known when it began.
struct Asked {
    key: usize,
    method: &'static str,
    text: String,
    variant: String,
    authorized: bool,
    no_cache: bool,
    only_if_cached: bool,
    max_stale: Duration,
    range: Option<(usize, usize)>,
    tag: Option<String>,
    floor: u64,
    softly_purged: Option<Instant>,
    begun: Instant,
}

impl Asked {
    fn new(random: &mut fastrand::Rng, world: &World, key: usize, tag: Option<&str>) -> Asked {
        let mut chance = |percent| random.u8(..100) < percent;
        let method = if chance(6) { "HEAD" } else { "GET" };
        let authorized = chance(8);
        let (no_cache, only_if_cached) = (chance(4), chance(4));
        let max_stale = if chance(5) { Duration::from_secs(2) } else { Duration::ZERO };
        let (ranged, conditional, varied) = (method == "GET" && chance(8), chance(8), chance(40));
        let variant = if varied { ["a", "bb"][random.usize(..2)] } else { "" };
        let range = ranged.then(|| (random.usize(..30), random.usize(30..5000)));
        let tag = tag.filter(|_| conditional);
        let mut lines = String::new();
        let mut line = |name: &str, value: &str| lines.push_str(&format!("{name}: {value}\r\n"));
        if varied {
            line("X-Variant", variant);
        }
        if authorized {
            line("Authorization", "Basic YTpi");
        }
        for (is, directive) in [
            (no_cache, "no-cache"),
            (only_if_cached, "only-if-cached"),
            (max_stale > Duration::ZERO, "max-stale=2"),
        ] {
            if is {
                line("Cache-Control", directive);
            }
        }
        if let Some((first, last)) = range {
            line("Range", &format!("bytes={first}-{last}"));
        }
        if let Some(tag) = tag {
            line("If-None-Match", tag);
        }
        Asked {
            key,
            method,
            text: format!("{method} {} HTTP/1.1\r\nHost: example.com\r\n{lines}\r\n", target(key)),
            variant: variant.to_owned(),
            authorized,
            no_cache,
            only_if_cached,
            max_stale,
            range,
            tag: tag.map(str::to_owned),
            floor: world.floors[key].load(Ordering::SeqCst),
            softly_purged: world.softly_purged.lock().unwrap()[key],
            begun: Instant::now(),
        }
    }
}

fn run(driver: Driver) {
    let world = Arc::new(World::new());
    let shared = world.clone();
    let origin = Origin::start(move |peer| shared.serve(peer));
    let proxy = Setup::new(driver).cores(2).origin(&origin).admin().args(&["--cache-size", "16MiB"]).start();
    let until = Instant::now() + DURATION;
    thread::scope(|scope| {
        let (world, proxy) = (&world, &proxy);
        scope.spawn(move || world.purge(proxy, until));
        for seed in 0..CLIENTS as u64 {
            scope.spawn(move || world.ask(proxy, seed, until));
        }
    });
    let seen = world.seen.lock().unwrap();
    println!("{}: {seen:?}", driver.0);
    assert!(seen.hits > 100 && seen.misses > 100 && seen.revalidated > 20, "{seen:?}");
    assert!(seen.stale > 5 && seen.broken > 5 && seen.changes > 20 && seen.purges > 10, "{seen:?}");
    assert!(seen.not_modified > 5 && seen.parts > 5, "{seen:?}");
}

#[test]
fn no_history_gives_a_client_what_the_model_forbids() {
    on_each_driver(run);
}
