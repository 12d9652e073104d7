//! What scenarios of the cache have in common: on how many workers they run, responses that may be stored,
//! what responses tell about the cache, and what the proxy says about it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::client::{Client, Response};
use super::endpoints::ask_admin;
use super::message::get;
use super::origin::{Origin, Request};
use super::proxy::{Proxy, Setup};
use super::{Driver, eventually, on_each_driver};

/// A driver and a number of workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workers {
    driver: Driver,
    cores: usize,
}

/// Runs a scenario on each driver, with one worker, and with more workers than small machines have cores:
/// requests come in on any of them, and keys belong to any of them.
pub(crate) fn on_one_and_many_workers(scenario: impl Fn(Workers) + Sync) {
    on_each_driver(|driver| {
        for cores in [1, 4] {
            scenario(Workers::new(driver, cores));
        }
    });
}

impl Workers {
    /// So many workers on that driver.
    pub(crate) fn new(driver: Driver, cores: usize) -> Workers {
        Workers { driver, cores }
    }

    /// A proxy in front of an origin.
    pub(crate) fn proxy(self, origin: &Origin) -> Proxy {
        self.setup(origin).start()
    }

    /// The same, with more arguments.
    pub(crate) fn with(self, origin: &Origin, args: &[&str]) -> Proxy {
        self.setup(origin).args(args).start()
    }

    pub(crate) fn setup(self, origin: &Origin) -> Setup {
        Setup::new(self.driver).cores(self.cores).origin(origin)
    }
}

/// A proxy with so many workers and an admin endpoint.
pub(crate) fn caching(driver: Driver, cores: usize, origin: &Origin, args: &[&str]) -> Proxy {
    Workers::new(driver, cores).setup(origin).admin().args(args).start()
}

/// So many clients, connected one after the other.
pub(crate) fn clients(proxy: &Proxy, count: usize) -> Vec<Client> {
    (0..count).map(|_| proxy.client()).collect()
}

/// The same, so that every worker has some of them: the kernel spreads connections as it likes, and may give
/// a few of them all to one.
pub(crate) fn clients_of_every_worker(proxy: &Proxy, count: usize) -> Vec<Client> {
    let (mut all, mut chosen) = (requests_by_worker(proxy), Vec::new());
    eventually("every worker has a client", || {
        chosen = clients(proxy, count);
        for client in &mut chosen {
            client.ask(get("/"));
        }
        let before = std::mem::replace(&mut all, requests_by_worker(proxy));
        all.iter().zip(before).all(|(&now, before)| now > before)
    });
    chosen
}

/// Reads with every client, several threads side by side, and gives back what came of it.
pub(crate) fn each<C: Send, T: Send>(clients: Vec<C>, read: impl Fn(C) -> T + Sync) -> Vec<T> {
    const THREADS: usize = 8;
    let share = clients.len().div_ceil(THREADS).max(1);
    let mut clients = clients.into_iter();
    let read = &read;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        loop {
            let some: Vec<C> = clients.by_ref().take(share).collect();
            if some.is_empty() {
                break;
            }
            threads.push(scope.spawn(move || some.into_iter().map(read).collect::<Vec<T>>()));
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Arguments with which who waits for another's fetch waits for as long as the scenario does.
pub(crate) const PATIENT: [&str; 2] = ["--cache-wait", "60s"];

/// A response with a Content-Length, fresh for an hour.
pub(crate) fn fresh(content: impl AsRef<[u8]>) -> Vec<u8> {
    fresh_with("", content)
}

/// The same, with more field lines, each with its CR LF.
pub(crate) fn fresh_with(fields: &str, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [fresh_head(Some(content.len()), fields).as_bytes(), content].concat()
}

/// The head of a response that is fresh for an hour; chunked, where no length is given.
pub(crate) fn fresh_head(length: Option<usize>, fields: &str) -> String {
    let framing = match length {
        Some(length) => format!("Content-Length: {length}"),
        None => "Transfer-Encoding: chunked".to_owned(),
    };
    format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n{fields}{framing}\r\n\r\n")
}

/// A 200 with more field lines, each with its CR LF.
pub(crate) fn page(fields: &str, content: &str) -> Vec<u8> {
    answer("200 OK", fields, content)
}

/// A response with a Content-Length, and more field lines.
pub(crate) fn answer(status: &str, fields: &str, content: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{content}", content.len()).into_bytes()
}

/// A response without content, such as a 304.
pub(crate) fn bare(status: &str, fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes()
}

/// An origin whose content counts its requests, from 1, so that every response can be told apart.
pub(crate) fn counting(fields: &str) -> Origin {
    let (fields, count) = (fields.to_owned(), AtomicUsize::new(1));
    Origin::replying(move |_| {
        let count = count.fetch_add(1, Ordering::SeqCst);
        page(&fields, &count.to_string())
    })
}

/// An origin that answers 304 to a request that names this tag, and a page with that tag to any other.
pub(crate) fn tagged(tag: &'static str, fields: &'static str) -> Origin {
    Origin::replying(move |request| {
        let fields = format!("ETag: {tag}\r\n{fields}");
        if has_condition(request) { bare("304 Not Modified", &fields) } else { page(&fields, "content") }
    })
}

/// Whether a request reached the origin with If-None-Match or If-Modified-Since.
pub(crate) fn has_condition(request: &Request) -> bool {
    request.field("If-None-Match").or(request.field("If-Modified-Since")).is_some()
}

/// So many seconds before now, as a date of HTTP.
pub(crate) fn ago(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(seconds))
}

/// So many seconds from now, as a date of HTTP.
pub(crate) fn ahead(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
}

impl Response {
    /// What X-Cache says.
    pub(crate) fn x_cache(&self) -> &str {
        self.field("X-Cache").unwrap_or_else(|| panic!("no X-Cache: {:?}", self.head))
    }

    /// The parameters of Cache-Status without `ttl` and `key`, as they stand there.
    pub(crate) fn cache_status(&self) -> String {
        let value = self.field("Cache-Status").unwrap_or_else(|| panic!("no Cache-Status: {:?}", self.head));
        let told = value.strip_prefix("ringway; ").unwrap_or_else(|| panic!("another cache: {value}"));
        let kept = |part: &&str| !part.starts_with("ttl=") && !part.starts_with("key=");
        told.split("; ").filter(kept).collect::<Vec<_>>().join("; ")
    }

    /// The lifetime that Cache-Status says is left.
    pub(crate) fn ttl(&self) -> Option<i64> {
        let value = self.field("Cache-Status")?;
        value.split("; ").find_map(|part| part.strip_prefix("ttl=")).map(|ttl| ttl.parse().unwrap())
    }

    /// Age.
    pub(crate) fn age(&self) -> Option<u64> {
        self.field("Age").map(|age| age.parse().unwrap())
    }

    /// Checks the status, the content, and what X-Cache says.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, content: &str, x_cache: &str) -> &Response {
        let got = (self.status(), self.text(), self.x_cache().to_owned());
        assert_eq!(got, (status, content.to_owned(), x_cache.to_owned()), "{:?}", self.head);
        self
    }
}

/// What the proxy says about itself.
pub(crate) fn status(proxy: &Proxy) -> serde_json::Value {
    ask_admin(proxy, "/status")
}

/// A number that the proxy says about its cache.
pub(crate) fn cache_number(proxy: &Proxy, name: &str) -> u64 {
    status(proxy)["cache"][name].as_u64().unwrap()
}

/// How many requests each worker has had.
pub(crate) fn requests_by_worker(proxy: &Proxy) -> Vec<u64> {
    let status = status(proxy);
    status["workers"].as_array().unwrap().iter().map(|worker| worker["requests"].as_u64().unwrap()).collect()
}

/// Waits until the workers have had so many requests.
pub(crate) fn all_have_asked(proxy: &Proxy, count: u64) {
    eventually("all have asked", || requests_by_worker(proxy).iter().sum::<u64>() >= count);
}

/// Purges, and says how many responses that met.
pub(crate) fn purge(proxy: &Proxy, args: &[&str]) -> u64 {
    let run = proxy.order(args);
    assert_eq!(run.code, Some(0), "{args:?}: {}", run.stderr);
    run.stdout.split(' ').nth(1).unwrap().parse().unwrap()
}
