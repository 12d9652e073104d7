//! What scenarios of the cache have in common: responses that may be stored, origins that are let go
//! step by step, and what the proxy says about its cache.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};

use super::client::Client;
use super::message::get;
use super::origin::Origin;
use super::proxy::{Proxy, Setup};
use super::{Driver, PATIENCE};

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

/// Holds scripts back until the scenario lets them go on.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Waits until the gate was opened so many times.
    pub(crate) fn pass(&self, times: usize) {
        let (count, changed) = &*self.0;
        let count = count.lock().unwrap();
        let (_count, late) = changed.wait_timeout_while(count, 2 * PATIENCE, |count| *count < times).unwrap();
        assert!(!late.timed_out(), "the gate was not opened {times} times");
    }

    /// Opens it once more.
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_all();
    }
}

/// A proxy with so many workers and an admin endpoint.
pub(crate) fn caching(driver: Driver, cores: usize, origin: &Origin, args: &[&str]) -> Proxy {
    let quiet = ["--access-log", "off"];
    Setup::new(driver).cores(cores).origin(origin).admin().args(&quiet).args(args).start()
}

/// So many clients, connected one after the other.
pub(crate) fn clients(proxy: &Proxy, count: usize) -> Vec<Client> {
    (0..count).map(|_| proxy.client()).collect()
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

/// What the proxy says about itself.
pub(crate) fn status(proxy: &Proxy) -> serde_json::Value {
    let path = proxy.admin().strip_prefix("unix:").unwrap();
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/status").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
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

/// Purges, and says how many responses that met.
pub(crate) fn purge(proxy: &Proxy, args: &[&str]) -> u64 {
    let run = proxy.order(args);
    assert_eq!(run.code, Some(0), "{args:?}: {}", run.stderr);
    run.stdout.split(' ').nth(1).unwrap().parse().unwrap()
}
