//! Endpoints whose ways change while the scenario watches, a proxy in front of them, and what it says of them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use super::cache::{answer, clients_of_every_worker};
use super::client::Client;
use super::gate::Gate;
use super::live::Live;
use super::message::get;
use super::origin::{Origin, Peer, Request};
use super::proxy::{Proxy, Setup};
use super::{Driver, PATIENCE, eventually, ms};

/// Where probes ask.
pub(crate) const HEALTH: &str = "/healthz";

/// How an endpoint takes what it is asked: with a status, or not at all.
#[derive(Clone)]
pub(crate) struct Mood(Arc<AtomicU16>);

/// It answers.
pub(crate) const WELL: u16 = 200;
/// It resets the connection.
pub(crate) const RESET: u16 = 1;
/// It closes the connection.
pub(crate) const CLOSE: u16 = 2;
/// It never answers.
pub(crate) const HANG: u16 = 3;
/// It breaks off in the middle of a head.
pub(crate) const HALF: u16 = 4;

impl Mood {
    fn new() -> Mood {
        Mood(Arc::new(AtomicU16::new(WELL)))
    }

    pub(crate) fn set(&self, mood: u16) {
        self.0.store(mood, Ordering::SeqCst);
    }

    /// Answers as it pleases; false if the connection is over.
    fn answer(&self, peer: &mut Peer, text: &str) -> bool {
        match self.0.load(Ordering::SeqCst) {
            RESET => peer.reset(),
            CLOSE => {}
            HANG => peer.hang(),
            HALF => peer.send("HTTP/1.1 200 OK\r\nContent-Le"),
            status => {
                peer.send(answer(&format!("{status} Said"), "", text));
                return true;
            }
        }
        false
    }
}

/// An endpoint that answers with its name.
pub(crate) struct Endpoint {
    pub(crate) origin: Origin,
    /// How it takes requests.
    pub(crate) serves: Mood,
    /// How it takes probes.
    pub(crate) probed: Mood,
    /// What requests for `/held` wait for: that it was opened once.
    pub(crate) gate: Gate,
}

/// A script with its moods.
struct Script {
    name: String,
    serves: Mood,
    probed: Mood,
    gate: Gate,
}

impl Script {
    fn new(name: &str) -> Script {
        Script { name: name.to_owned(), serves: Mood::new(), probed: Mood::new(), gate: Gate::default() }
    }

    fn run(&self, peer: &mut Peer) {
        while let Some(request) = peer.request() {
            let goes_on = match request.target() {
                HEALTH => self.probed.answer(peer, "fine"),
                target => {
                    if target == "/held" {
                        self.gate.pass(1);
                    }
                    self.serves.answer(peer, &self.name)
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    fn endpoint(self, start: impl FnOnce(Box<dyn Fn(&mut Peer) + Send + Sync>) -> Origin) -> Endpoint {
        let (serves, probed, gate) = (self.serves.clone(), self.probed.clone(), self.gate.clone());
        Endpoint { origin: start(Box::new(move |peer| self.run(peer))), serves, probed, gate }
    }
}

impl Endpoint {
    pub(crate) fn start(name: &str) -> Endpoint {
        Script::new(name).endpoint(Origin::start)
    }

    pub(crate) fn start_on(listener: TcpListener, name: &str) -> Endpoint {
        Script::new(name).endpoint(|script| Origin::start_on(listener, script))
    }

    pub(crate) fn start_unix(path: &Path, name: &str) -> Endpoint {
        Script::new(name).endpoint(|script| Origin::start_unix(path, script))
    }

    /// Where it is, as the file writes it.
    pub(crate) fn at(&self) -> String {
        self.origin.endpoint()
    }

    /// The requests that it got, probes left out.
    pub(crate) fn served(&self) -> usize {
        self.origin.requests().iter().filter(|request| request.target() != HEALTH).count()
    }

    /// The probes that it got.
    pub(crate) fn probes(&self) -> Vec<Request> {
        self.origin.requests().into_iter().filter(|request| request.target() == HEALTH).collect()
    }
}

/// Listeners at the same port of each of these addresses.
pub(crate) fn same_port<const COUNT: usize>(addresses: [&str; COUNT]) -> (u16, [TcpListener; COUNT]) {
    for _ in 0..1000 {
        let port = super::live::free_port();
        let bind = |address: &str| TcpListener::bind((address, port)).ok();
        let listeners: Vec<TcpListener> = addresses.iter().filter_map(|address| bind(address)).collect();
        if let Ok(all) = <[TcpListener; COUNT]>::try_from(listeners) {
            return (port, all);
        }
    }
    panic!("no port is free at all of {addresses:?}");
}

/// How endpoints are written in a list.
pub(crate) fn list(endpoints: &[&Endpoint]) -> String {
    let quoted: Vec<String> = endpoints.iter().map(|endpoint| format!("'{}'", endpoint.at())).collect();
    format!("[{}]", quoted.join(", "))
}

/// A file with an upstream `app` that gets everything; the lines are more about it.
pub(crate) fn file(endpoints: &str, lines: &str) -> String {
    format!("[upstream.app]\nendpoints = {endpoints}\n{lines}\n[[route]]\nupstream = 'app'\n")
}

/// A proxy with two workers, that file and a log, and without a cache, which would ask once for many.
pub(crate) fn start(driver: Driver, text: &str) -> Live {
    let setup = Setup::new(driver).cores(2).args(&["--no-cache", "--access-log", "combined"]);
    Live::with(setup, text, false)
}

/// What the admin endpoint answers to a GET. On a busy machine a worker may not get to say its part in time: then it
/// is asked again.
pub(crate) fn ask_admin(proxy: &Proxy, path: &str) -> Value {
    let mut said = Value::Null;
    eventually("all workers have their say", || {
        said = ask_admin_once(proxy, path);
        let upstreams = said["upstreams"].as_array().into_iter().flatten();
        let mut endpoints = upstreams.flat_map(|upstream| upstream["endpoints"].as_array().unwrap());
        match path {
            "/status" => !said["workers"].is_null(),
            "/upstreams" => endpoints.all(|endpoint| !endpoint["in_flight"].is_null()),
            _ => true,
        }
    });
    said
}

fn ask_admin_once(proxy: &Proxy, path: &str) -> Value {
    let socket = proxy.admin().strip_prefix("unix:").unwrap();
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get(path).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// What it says of the upstream `app`.
pub(crate) fn app(proxy: &Proxy) -> Value {
    let said = ask_admin(proxy, "/upstreams");
    let upstreams = said["upstreams"].as_array().unwrap();
    upstreams.iter().find(|upstream| upstream["name"] == "app").unwrap().clone()
}

/// What it says of an endpoint; null if there is none.
pub(crate) fn told(proxy: &Proxy, address: &str) -> Value {
    let app = app(proxy);
    let endpoints = app["endpoints"].as_array().unwrap();
    endpoints.iter().find(|endpoint| endpoint["address"] == address).cloned().unwrap_or_default()
}

/// How it says that an endpoint stands.
pub(crate) fn standing(proxy: &Proxy, address: &str) -> String {
    told(proxy, address)["standing"].as_str().unwrap_or("not there").to_owned()
}

/// Waits until an endpoint stands like that.
#[track_caller]
pub(crate) fn until(proxy: &Proxy, address: &str, how: &str) {
    eventually(&format!("{address} is {how}"), || standing(proxy, address) == how);
}

/// The addresses of all endpoints, in order.
pub(crate) fn addresses(proxy: &Proxy) -> Vec<String> {
    let app = app(proxy);
    let endpoints = app["endpoints"].as_array().unwrap().iter();
    let mut all: Vec<String> =
        endpoints.map(|endpoint| endpoint["address"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

/// What was counted in keeping upstreams up.
pub(crate) fn counted(proxy: &Proxy, name: &str) -> u64 {
    ask_admin(proxy, "/status")["upkeep"][name].as_u64().unwrap()
}

/// Who answers so many requests to each worker, or so: requests that are not answered with 200 count for their status.
pub(crate) fn answers(proxy: &Proxy, count: usize) -> BTreeMap<String, usize> {
    const CLIENTS: usize = 8;
    let mut answers = BTreeMap::new();
    for client in &mut clients_of_every_worker(proxy, CLIENTS) {
        for _ in 0..count.div_ceil(CLIENTS) {
            let response = client.ask(get("/"));
            let name = match response.status() {
                200 => response.text(),
                status => status.to_string(),
            };
            *answers.entry(name).or_default() += 1;
        }
    }
    answers
}

/// The names of those who answer.
pub(crate) fn who(proxy: &Proxy, count: usize) -> Vec<String> {
    answers(proxy, count).into_keys().collect()
}

/// Requests one after another, for as long as the scenario likes, all of which have to be answered with 200.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// From so many clients at once, each with a new connection now and then.
    pub(crate) fn start(proxy: &Proxy, clients: usize) -> Load {
        const REQUESTS: usize = 40;
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let address: SocketAddr = proxy.address();
        let run = |(stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>)| {
            move || {
                while !stop.load(Ordering::SeqCst) {
                    let mut client = Client::connect(address);
                    for _ in 0..REQUESTS {
                        let response = client.ask(get("/"));
                        assert_eq!(response.status(), 200, "{response:?}");
                        done.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(ms(2));
                    }
                }
            }
        };
        let threads = (0..clients).map(|_| thread::spawn(run((stop.clone(), done.clone())))).collect();
        Load { stop, done, threads }
    }

    /// How many have been answered.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until so many more have been answered.
    #[track_caller]
    pub(crate) fn more(&self, count: usize) {
        let before = self.done();
        eventually("the load goes on", || {
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a client has given up");
            self.done() >= before + count
        });
    }

    /// Ends it: every request was answered.
    pub(crate) fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.done()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
