//! What scenarios about the cache have in common: on how many workers they run, origins whose responses
//! may be stored, and what responses tell about the cache.

use std::time::{Duration, SystemTime};

use super::client::Response;
use super::origin::{Origin, Request};
use super::proxy::{Proxy, Setup};
use super::{Driver, on_each_driver};

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
            scenario(Workers { driver, cores });
        }
    });
}

impl Workers {
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
    let (fields, count) = (fields.to_owned(), std::sync::atomic::AtomicUsize::new(1));
    Origin::replying(move |_| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
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
