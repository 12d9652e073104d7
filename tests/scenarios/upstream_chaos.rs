//! Endpoints that are killed and started again under load: whoever may be asked again is, nobody is asked twice who must
//! not be, and connections are used again.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::support::live::free_port;
use crate::support::{Client, Driver, Setup, eventually, get, on_each_driver};

/// Requests that must not take effect twice: how often each of them was received, by all endpoints.
type Effects = Arc<Mutex<HashMap<String, usize>>>;

/// An endpoint that dies as a process does: all its sockets close at once, in the middle of whatever they do.
struct Mortal {
    address: SocketAddr,
    effects: Effects,
    /// How long a request takes.
    work: Duration,
    life: Option<Life>,
    /// Connections that were accepted, in all lives.
    accepted: Arc<AtomicUsize>,
}

/// From a start to a death.
struct Life {
    over: Arc<AtomicBool>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
    accepting: JoinHandle<()>,
}

impl Mortal {
    fn new(effects: &Effects, work: Duration) -> Mortal {
        let address = ([127, 0, 0, 1], free_port()).into();
        let mut mortal =
            Mortal { address, effects: effects.clone(), work, life: None, accepted: Arc::default() };
        mortal.start();
        mortal
    }

    fn start(&mut self) {
        // The port is the endpoint's own; what a killed connection leaves behind may still hold it for a moment.
        let bind = || TcpListener::bind(self.address).ok();
        let listener = (0..100).find_map(|_| {
            bind().or_else(|| {
                thread::sleep(Duration::from_millis(20));
                None
            })
        });
        let listener = listener.expect("the port comes free");
        let (over, sockets) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ended, open, effects, work, accepted) =
            (over.clone(), sockets.clone(), self.effects.clone(), self.work, self.accepted.clone());
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                accepted.fetch_add(1, Ordering::SeqCst);
                let mut open = open.lock().unwrap();
                open.push(stream.try_clone().unwrap());
                let effects = effects.clone();
                thread::spawn(move || drop(serve(&stream, &effects, work)));
            }
        });
        self.life = Some(Life { over, sockets, accepting });
    }

    fn kill(&mut self) {
        let Some(Life { over, sockets, accepting }) = self.life.take() else { return };
        over.store(true, Ordering::SeqCst);
        // It wakes the one who accepts, who lets go of the port.
        drop(TcpStream::connect(self.address));
        accepting.join().unwrap();
        for socket in sockets.lock().unwrap().drain(..) {
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Answers requests with what they asked for, and remembers those that must not come twice.
fn serve(stream: &TcpStream, effects: &Effects, work: Duration) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut content = vec![0; length];
        reader.read_exact(&mut content)?;
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method == "POST" {
            *effects.lock().unwrap().entry(target.to_owned()).or_default() += 1;
        }
        thread::sleep(work);
        let sum: u64 = content.iter().map(|&byte| u64::from(byte)).sum();
        let body = format!("{method} {target} {length} {sum}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        (&*stream).write_all(answer.as_bytes())?;
    }
}

/// What clients have seen.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicUsize,
    posts_failed: AtomicUsize,
    /// What must not be, in words.
    wrong: Mutex<Vec<String>>,
}

/// Clients that ask one request after another until they are to stop.
struct Load {
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(proxy: SocketAddr, clients: usize, posts: bool) -> Load {
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let ask = |number: usize| {
            let (seen, stop) = (seen.clone(), stop.clone());
            thread::spawn(move || {
                let mut client = None;
                for turn in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    ask_once(proxy, &mut client, &seen, number, turn, posts);
                }
            })
        };
        let clients = (0..clients).map(ask).collect();
        Load { seen, stop, clients }
    }

    fn end(self) -> Arc<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.seen
    }
}

fn ask_once(
    proxy: SocketAddr,
    client: &mut Option<Client>,
    seen: &Seen,
    number: usize,
    turn: usize,
    posts: bool,
) {
    let method = match turn % 8 {
        1 | 5 => "PUT",
        3 if posts => "POST",
        _ => "GET",
    };
    let target = format!("/{number}/{turn}");
    // Some contents come in one piece with their head, and some do not.
    let length = if method == "GET" { 0 } else { 100 + (turn * 7919) % 20_000 };
    let content = vec![u8::try_from(turn % 251).unwrap(); length];
    let sum: u64 = content.iter().map(|&byte| u64::from(byte)).sum();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let asked = client.get_or_insert_with(|| Client::connect(proxy));
    asked.send([head.as_bytes(), &content].concat());
    let want = format!("{method} {target} {length} {sum}");
    let fault = match asked.try_response_to(method) {
        Ok(response) if response.status() == 200 && response.text() == want => {
            seen.answered.fetch_add(1, Ordering::SeqCst);
            if response.says_close() {
                *client = None;
            }
            return;
        }
        Ok(response) => {
            let closes = response.says_close();
            let fault = format!("{} {}", response.status(), response.text());
            if closes {
                *client = None;
            }
            fault
        }
        Err((_, broken)) => {
            *client = None;
            format!("{broken:?}")
        }
    };
    match method {
        "POST" if fault.starts_with("50") => drop(seen.posts_failed.fetch_add(1, Ordering::SeqCst)),
        _ => seen.wrong.lock().unwrap().push(format!("{method} {target}: {fault}")),
    }
}

fn proxy_to(driver: Driver, endpoints: &[Mortal], cores: usize, args: &[&str]) -> crate::support::Proxy {
    let origins: Vec<String> =
        endpoints.iter().map(|endpoint| format!("--origin=http://{}", endpoint.address)).collect();
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    Setup::new(driver).cores(cores).args(&origins).args(&["--no-cache"]).args(args).start()
}

#[test]
fn endpoints_that_are_killed_at_random_lose_no_request_that_may_be_sent_again_and_get_no_post_twice() {
    on_each_driver(|driver| {
        let effects = Effects::default();
        let mut endpoints: Vec<Mortal> =
            (0..3).map(|_| Mortal::new(&effects, Duration::from_millis(2))).collect();
        let proxy = proxy_to(driver, &endpoints, 2, &[]);
        let load = Load::start(proxy.address(), 8, true);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..12 {
            let victim = random.usize(..endpoints.len());
            thread::sleep(Duration::from_millis(random.u64(50..200)));
            endpoints[victim].kill();
            thread::sleep(Duration::from_millis(random.u64(50..300)));
            endpoints[victim].start();
        }
        let seen = load.end();
        let twice: Vec<_> = effects
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(id, _)| id.clone())
            .collect();
        assert!(twice.is_empty(), "received twice: {twice:?}");
        let wrong = seen.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{wrong:?} of {} {}", seen.answered.load(Ordering::SeqCst), proxy.stderr());
        assert!(seen.answered.load(Ordering::SeqCst) > 200);
    });
}

#[test]
fn endpoints_that_are_restarted_one_after_another_fail_no_request() {
    on_each_driver(|driver| {
        let effects = Effects::default();
        let mut endpoints: Vec<Mortal> =
            (0..3).map(|_| Mortal::new(&effects, Duration::from_millis(1))).collect();
        let proxy = proxy_to(driver, &endpoints, 2, &[]);
        let load = Load::start(proxy.address(), 8, false);
        for _ in 0..2 {
            for endpoint in &mut endpoints {
                thread::sleep(Duration::from_millis(200));
                endpoint.kill();
                thread::sleep(Duration::from_millis(400));
                endpoint.start();
            }
        }
        let seen = load.end();
        let wrong = seen.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{wrong:?} of {}", seen.answered.load(Ordering::SeqCst));
        // All of them are asked again in the end.
        let before: Vec<usize> =
            endpoints.iter().map(|endpoint| endpoint.accepted.load(Ordering::SeqCst)).collect();
        eventually("every endpoint gets connections again", || {
            (0..10).for_each(|_| drop(proxy.get("/")));
            let now = endpoints.iter().map(|endpoint| endpoint.accepted.load(Ordering::SeqCst));
            now.zip(&before).all(|(now, before)| now > 0 && now >= *before)
        });
    });
}

#[test]
fn four_workers_use_connections_again_and_keep_no_more_idle_than_the_process_may() {
    const CLIENTS: usize = 16;
    const REQUESTS: usize = 400;
    const IDLE_MAX: usize = 24;
    on_each_driver(|driver| {
        let endpoints = [Mortal::new(&Effects::default(), Duration::ZERO)];
        let idle = format!("--upstream-idle={IDLE_MAX}");
        let proxy = proxy_to(driver, &endpoints, 4, &[&idle]);
        let address = proxy.address();
        let ask = |_| {
            thread::spawn(move || {
                let mut client = Client::connect(address);
                for _ in 0..REQUESTS {
                    assert_eq!(client.ask(get("/")).status(), 200);
                }
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let opened = endpoints[0].accepted.load(Ordering::SeqCst);
        let requests = CLIENTS * REQUESTS;
        assert!(opened * 100 <= requests, "{opened} connections for {requests} requests");
        let life = endpoints[0].life.as_ref().unwrap();
        eventually("what is idle is within the bound", || {
            let open = life.sockets.lock().unwrap();
            open.iter().filter(|socket| !is_closed(socket)).count() <= IDLE_MAX
        });
    });
}

/// Whether the other side has closed.
fn is_closed(socket: &TcpStream) -> bool {
    let mut byte = [0; 1];
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(socket, &mut byte, flags), Ok((0, _)))
}
