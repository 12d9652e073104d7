//! Tests of workers on Unix sockets, in front and behind, on each driver.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::configure::Configurator;
use super::follow::Following;
use super::upkeep::Upkeep;
use super::{Event, Order, cores, worker};
use crate::config::{DriverChoice, EndpointSettings, ListenAddress, Settings, TrustedPeer};
use crate::observe::{Format, Totals};

/// How long anything may take that should happen at once, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

const ASK: &[u8] = b"GET /a HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n";

/// A path for a socket, which goes away at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        let name = format!("ringway-{}-{:x}.sock", std::process::id(), fastrand::u64(..));
        Place(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Workers that run.
struct Running {
    workers: Vec<worker::Handle>,
    events: flume::Receiver<Event>,
    log: flume::Receiver<Vec<u8>>,
    drain: Duration,
    configurator: Configurator,
}

impl Running {
    /// None if the kernel refuses the driver.
    fn start(settings: &Settings) -> Option<Running> {
        let chosen = cores::choose(settings.cores, &mut |_| {}).unwrap();
        let (events, heard) = flume::unbounded();
        let (lines, log) = flume::unbounded();
        let mut configurator = Configurator::begin(
            settings.clone(),
            chosen.len(),
            Upkeep::start(events.clone(), chosen.len()).unwrap(),
            Following::start(events.clone()).unwrap(),
        )
        .unwrap();
        let parts = configurator.parts(&mut |_| {});
        let workers = worker::start_all(settings, &chosen, parts, &events, Some(lines)).unwrap();
        for _ in &workers {
            match heard.recv_timeout(PATIENCE).unwrap() {
                Event::Started(_) => {}
                Event::Ended(Err(why)) if why.contains("io_uring is refused") => return None,
                _ => panic!("a worker did not start"),
            }
        }
        Some(Running { workers, events: heard, log, drain: settings.drain, configurator })
    }

    /// Stops them, and returns what they have counted and logged.
    fn stop(self) -> (Totals, String) {
        self.workers.iter().for_each(|worker| worker.tell(Order::Drain(self.drain)));
        let mut totals = Totals::default();
        let mut running = self.workers.len();
        while running > 0 {
            match self.events.recv_timeout(PATIENCE).unwrap() {
                Event::Ended(ended) => {
                    totals.merge(&ended.expect("a worker ends well"));
                    running -= 1;
                }
                Event::Note(note) => panic!("{note}"),
                // Where it took long, there is more to be told.
                _ => {}
            }
        }
        drop(self.configurator);
        let lines: Vec<u8> = self.log.try_iter().flatten().collect();
        (totals, String::from_utf8(lines).unwrap())
    }
}

/// An origin on a Unix socket that answers with its name, and tells the heads that it gets.
fn origin(path: &Path, name: &'static str) -> mpsc::Receiver<String> {
    let listener = UnixListener::bind(path).unwrap();
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heads = heads.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                while let Some(head) = head(&mut reader) {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                    (&stream).write_all(answer.as_bytes()).unwrap();
                    let _ = heads.send(head);
                }
            });
        }
    });
    received
}

fn head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// Asks on a connection, and returns the head and the content of the answer.
fn ask(stream: &UnixStream) -> (String, String) {
    (&*stream).write_all(ASK).unwrap();
    let mut reader = BufReader::new(stream);
    let head = head(&mut reader).unwrap();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut content = vec![0; length.unwrap()];
    reader.read_exact(&mut content).unwrap();
    (head, String::from_utf8(content).unwrap())
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Settings with a listener at one place and endpoints at others, by weight.
fn settings(driver: DriverChoice, at: &Place, endpoints: &[(&Place, u32)]) -> Settings {
    let mut settings =
        Settings { driver, cores: Some(1), access_log: Format::Combined, ..Settings::for_tests() };
    settings.cache = None;
    settings.listeners[0].addresses = vec![ListenAddress::Unix(at.0.clone())];
    let endpoint = |(place, weight): &(&Place, u32)| {
        let address = format!("unix:{}", place.0.display()).parse().unwrap();
        EndpointSettings { weight: *weight, ..EndpointSettings::new(address) }
    };
    settings.upstreams[0].endpoints = endpoints.iter().map(endpoint).collect();
    settings
}

#[test]
fn requests_go_from_one_unix_socket_to_another() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let (front, back) = (Place::new(), Place::new());
        let heads = origin(&back.0, "back");
        let Some(running) = Running::start(&settings(driver, &front, &[(&back, 1)])) else { continue };
        let stream = connect(&front.0);
        for _ in 0..3 {
            assert_eq!(ask(&stream).1, "back");
            let head = heads.recv_timeout(PATIENCE).unwrap();
            // Who came by the socket is not trusted, so that it cannot speak for others.
            assert!(head.contains("\r\nX-Forwarded-For: unknown\r\n"), "{head}");
            assert!(head.contains("\r\nHost: example.com\r\n"), "{head}");
        }
        drop(stream);
        let (totals, log) = running.stop();
        assert_eq!((totals.accepted, totals.requests, totals.reused), (1, 3, 2));
        let shown = format!(" unix:{} ", back.0.display());
        assert_eq!(log.lines().count(), 3);
        assert!(log.lines().all(|line| line.starts_with("unix - - [") && line.contains(&shown)), "{log}");
        assert!(!front.0.exists());
    }
}

#[test]
fn a_peer_on_a_unix_socket_speaks_for_others_where_that_is_said() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let (front, back) = (Place::new(), Place::new());
        let heads = origin(&back.0, "back");
        let mut settings = settings(driver, &front, &[(&back, 1)]);
        settings.listeners[0].trusted = vec![TrustedPeer::Unix];
        let Some(running) = Running::start(&settings) else { continue };
        ask(&connect(&front.0));
        let head = heads.recv_timeout(PATIENCE).unwrap();
        assert!(head.contains("192.0.2.9") && head.contains("unknown"), "{head}");
        running.stop();
    }
}

#[test]
fn a_quiet_connection_on_a_unix_socket_is_parked_and_comes_back() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let (front, back) = (Place::new(), Place::new());
        let _heads = origin(&back.0, "back");
        let Some(running) = Running::start(&settings(driver, &front, &[(&back, 1)])) else { continue };
        let stream = connect(&front.0);
        ask(&stream);
        std::thread::sleep(Duration::from_millis(3_000));
        assert_eq!(ask(&stream).1, "back");
        drop(stream);
        let (totals, _) = running.stop();
        assert_eq!(totals.accepted, 1);
        assert!(totals.parked >= 1);
    }
}

#[test]
fn workers_that_share_a_unix_socket_serve_everybody() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let (front, back) = (Place::new(), Place::new());
        let _heads = origin(&back.0, "back");
        let mut settings = settings(driver, &front, &[(&back, 1)]);
        settings.cores = Some(2);
        let Some(running) = Running::start(&settings) else { continue };
        let streams: Vec<_> = (0..50).map(|_| connect(&front.0)).collect();
        assert!(streams.iter().all(|stream| ask(stream).1 == "back"));
        drop(streams);
        assert_eq!(running.stop().0.accepted, 50);
    }
}

#[test]
fn endpoints_get_requests_by_their_weight() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let (front, heavy, light) = (Place::new(), Place::new(), Place::new());
        let _heads = (origin(&heavy.0, "heavy"), origin(&light.0, "light"));
        let settings = settings(driver, &front, &[(&heavy, 3), (&light, 1)]);
        let Some(running) = Running::start(&settings) else { continue };
        let stream = connect(&front.0);
        let answers: Vec<_> = (0..8).map(|_| ask(&stream).1).collect();
        assert_eq!(answers.iter().filter(|answer| *answer == "heavy").count(), 6, "{answers:?}");
        drop(stream);
        running.stop();
    }
}

#[test]
fn what_is_still_open_on_unix_sockets_is_cut_when_the_time_is_over() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let (front, back) = (Place::new(), Place::new());
        // It takes connections, and never answers.
        let silent = UnixListener::bind(&back.0).unwrap();
        let mut settings = settings(driver, &front, &[(&back, 1)]);
        settings.drain = Duration::from_millis(50);
        let Some(running) = Running::start(&settings) else { continue };
        let stream = connect(&front.0);
        (&stream).write_all(ASK).unwrap();
        let (mut taken, _) = silent.accept().unwrap();
        taken.read_exact(&mut [0; 4]).unwrap();
        running.workers.iter().for_each(|worker| worker.tell(Order::Drain(running.drain)));
        let mut rest = Vec::new();
        (&stream).read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 502 "), "{rest:?}");
        let ended = running.events.iter().find(|event| matches!(event, Event::Ended(_)));
        assert!(matches!(ended, Some(Event::Ended(Ok(_)))));
    }
}
