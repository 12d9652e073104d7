//! What scenarios of upstreams have in common: files, endpoints that can be told apart and can die, and what the
//! proxy says of all that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use super::client::Response;
use super::endpoints::ask_admin;
use super::eventually;
use super::message::ok;
use super::origin::Origin;
use super::proxy::{Proxy, refusing_port};

/// A file with an upstream of these endpoints that takes everything. Nothing is stored, so that each request goes there.
pub(crate) fn app(endpoints: &str, lines: &str) -> String {
    format!("no-cache = true\n{}", cached_app(endpoints, lines))
}

/// The same with a cache.
pub(crate) fn cached_app(endpoints: &str, lines: &str) -> String {
    format!("[upstream.app]\nendpoints = [{endpoints}]\n{lines}\n[[route]]\nupstream = 'app'\n")
}

/// Two endpoints, the second of which is asked only if the first has been.
pub(crate) fn then(first: &str, second: &str) -> String {
    format!("'{first}', {{ address = '{second}', backup = true }}")
}

/// Endpoints that answer with their number for as long as they live. One that is dead resets each connection that it
/// is asked on.
pub(crate) struct Fleet {
    origins: Vec<Origin>,
    dead: Vec<Arc<AtomicBool>>,
}

impl Fleet {
    pub(crate) fn new(count: usize) -> Fleet {
        Fleet::answering(count, |number| ok(number.to_string()))
    }

    /// So many, which answer otherwise.
    pub(crate) fn answering(
        count: usize,
        answer: impl Fn(usize) -> Vec<u8> + Clone + Send + Sync + 'static,
    ) -> Fleet {
        let dead: Vec<Arc<AtomicBool>> = (0..count).map(|_| Arc::default()).collect();
        let start = |(number, dead): (usize, &Arc<AtomicBool>)| {
            let (dead, answer) = (dead.clone(), answer.clone());
            Origin::start(move |peer| {
                while peer.request().is_some() {
                    if dead.load(Ordering::SeqCst) {
                        return peer.reset();
                    }
                    peer.send(answer(number));
                }
            })
        };
        Fleet { origins: dead.iter().enumerate().map(start).collect(), dead }
    }

    /// How the file lists them.
    pub(crate) fn endpoints(&self) -> String {
        self.origins.iter().map(|origin| format!("'{}', ", origin.endpoint())).collect()
    }

    /// How the file writes one of them down.
    pub(crate) fn endpoint(&self, number: usize) -> String {
        self.origins[number].endpoint()
    }

    /// One dies, or comes back.
    pub(crate) fn kill(&self, number: usize, dies: bool) {
        self.dead[number].store(dies, Ordering::SeqCst);
    }

    /// How many requests each has had.
    pub(crate) fn asked(&self) -> Vec<usize> {
        self.origins.iter().map(|origin| origin.requests().len()).collect()
    }
}

/// Which of them has answered.
pub(crate) fn number(response: &Response) -> usize {
    assert_eq!(response.status(), 200, "{response:?}");
    response.text().parse().unwrap()
}

/// An endpoint that refuses connections for as long as the second value is kept.
pub(crate) fn refusing() -> (String, socket2::Socket) {
    let (address, held) = refusing_port();
    (address.to_string(), held)
}

/// How many are at something, and how many were at most.
#[derive(Clone, Default)]
pub(crate) struct Busy(Arc<(AtomicUsize, AtomicUsize)>);

impl Busy {
    /// One more.
    pub(crate) fn enter(&self) {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
    }

    /// One less.
    pub(crate) fn leave(&self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    /// The most at once.
    pub(crate) fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// What the proxy says of its upstreams.
pub(crate) fn upstreams(proxy: &Proxy) -> Vec<Value> {
    ask_admin(proxy, "/upstreams")["upstreams"].as_array().unwrap().clone()
}

/// How many requests wait for room at its first upstream.
pub(crate) fn waiting(proxy: &Proxy) -> u64 {
    upstreams(proxy)[0]["waiting"].as_u64().unwrap()
}

/// Waits until nothing is in flight at its upstreams, and nobody waits for room.
pub(crate) fn expect_rest(proxy: &Proxy) {
    let rests = |upstream: &Value| {
        let endpoints = upstream["endpoints"].as_array().unwrap();
        upstream["waiting"] == 0 && endpoints.iter().all(|endpoint| endpoint["in_flight"] == 0)
    };
    eventually("nothing is in flight", || upstreams(proxy).iter().all(rests));
}

/// Why the proxy has refused a request that wants to hear it in JSON.
pub(crate) fn reason(response: &Response) -> String {
    let answer: Value = serde_json::from_str(&response.text()).unwrap_or_else(|_| panic!("{response:?}"));
    answer["reason"].as_str().unwrap().to_owned()
}

/// A field that asks for that.
pub(crate) const JSON: &str = "Accept: application/json\r\n";
