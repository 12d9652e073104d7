use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::*;
use crate::config::{Host, ProxyVersion};

/// Longer than anything here takes, unless a test is about that.
const LONG: Duration = Duration::from_secs(20);

/// A limit that is meant to take effect.
const SHORT: Duration = Duration::from_millis(900);

fn asking(ask: ProbeAsk, timeout: Duration) -> Probe {
    Probe { ask, host: None, port: None, interval: 2 * LONG, jitter: 0, timeout, rise: 1, fall: 1 }
}

fn http() -> HttpProbe {
    HttpProbe {
        path: "/healthz?deep=1".to_owned(),
        host: None,
        statuses: vec![(200, 299), (404, 404)],
        body: None,
        header: None,
    }
}

/// A probe of an endpoint at that address, as the book would have it.
fn of(to: &Address, probe: &Probe) -> Probed {
    let host = match &probe.host {
        None => None,
        Some(Host::Address(address)) => Some(Ok(Arc::from([*address]))),
        // It stands for this machine.
        Some(Host::Name(_)) => Some(Ok(Arc::from([Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]))),
    };
    Probed {
        number: 1,
        upstream: "app".into(),
        address: to.clone(),
        fallbacks: Arc::default(),
        authority: "app.test:81".into(),
        probe: Arc::new(probe.clone()),
        host,
        proxy_protocol: None,
        at_once: false,
    }
}

fn run(to: &Address, probe: &Probe) -> Result<(), String> {
    run_as(of(to, probe))
}

fn run_as(probed: Probed) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // As a task of its own, which it can be.
    runtime.block_on(async { tokio::spawn(async move { super::probe(&probed).await }).await.unwrap() })
}

/// Answers one connection: reads a head, and does the rest. Tells the head.
fn serve<S: Read + Write>(mut stream: S, rest: impl FnOnce(&mut S), heads: &mpsc::Sender<String>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        head.push(byte[0]);
    }
    let _ = heads.send(String::from_utf8(head).unwrap());
    rest(&mut stream);
}

fn server(rest: impl FnOnce(&mut std::net::TcpStream) + Send + 'static) -> (Address, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Ip(listener.local_addr().unwrap());
    let (heads, told) = mpsc::channel();
    std::thread::spawn(move || serve(listener.accept().unwrap().0, rest, &heads));
    (address, told)
}

fn answering(answer: impl AsRef<[u8]> + Send + 'static) -> Address {
    let answer = move |stream: &mut std::net::TcpStream| drop(stream.write_all(answer.as_ref()));
    server(answer).0
}

/// Waits until the peer has gone.
fn wait(stream: &mut std::net::TcpStream) {
    let _ = stream.read(&mut [0; 64]);
}

fn verdict(answer: impl AsRef<[u8]> + Send + 'static, http: HttpProbe) -> Result<(), String> {
    run(&answering(answer), &asking(ProbeAsk::Http(http), LONG))
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Health: so so\r\nX-Health: quite good\r\n\r\nall";

fn error(want: &str) -> Result<(), String> {
    Err(want.to_owned())
}

#[test]
fn a_connection_is_enough_where_nothing_else_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Ip(listener.local_addr().unwrap());
    let tcp = asking(ProbeAsk::Tcp, LONG);
    assert_eq!(run(&address, &tcp), Ok(()));
    drop(listener);
    assert_eq!(run(&address, &tcp), error("connection refused"));
    assert_eq!(run(&address, &asking(ProbeAsk::Http(http()), LONG)), error("connection refused"));
    let nowhere = Address::Unix(Arc::from(std::env::temp_dir().join("ringway-nothing.sock").as_path()));
    assert_eq!(run(&nowhere, &tcp), error("there is no such socket"));
}

#[test]
fn the_request_says_who_asks_and_for_whom() {
    let (address, heads) = server(|stream| stream.write_all(OK.as_bytes()).unwrap());
    assert_eq!(run(&address, &asking(ProbeAsk::Http(http()), LONG)), Ok(()));
    let head = heads.recv().unwrap().to_lowercase();
    assert!(head.starts_with("get /healthz?deep=1 http/1.1\r\n"), "{head}");
    for line in ["host: app.test:81", "user-agent: ringway-probe", "connection: close"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    let (address, heads) = server(|stream| stream.write_all(OK.as_bytes()).unwrap());
    let own = HttpProbe { host: Some("other.test".to_owned()), ..http() };
    assert_eq!(run(&address, &asking(ProbeAsk::Http(own), LONG)), Ok(()));
    assert!(heads.recv().unwrap().to_lowercase().contains("\r\nhost: other.test\r\n"));
}

#[test]
fn the_status_has_to_be_one_of_those_that_are_well() {
    for (status, want) in
        [(200, Ok(())), (299, Ok(())), (404, Ok(())), (302, error("status 302")), (503, error("status 503"))]
    {
        let answer = format!("HTTP/1.1 {status} X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(verdict(answer, http()), want);
    }
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(verdict(interim, http()), error("status 503"));
}

#[test]
fn a_field_has_to_be_there_with_its_text() {
    for (name, text, want) in [
        ("X-Health", "good", Ok(())),
        ("x-health", "", Ok(())),
        ("X-Health", "bad", error("no \"bad\" in the field X-Health")),
        ("X-Other", "", error("no field X-Other")),
    ] {
        let http = HttpProbe { header: Some((name.to_owned(), text.to_owned())), ..http() };
        assert_eq!(verdict(OK, http), want);
    }
}

fn with_text(text: &str) -> HttpProbe {
    HttpProbe { body: Some(text.to_owned()), ..http() }
}

#[test]
fn the_text_has_to_be_near_the_start_of_the_content() {
    assert_eq!(verdict(OK, with_text("all")), Ok(()));
    assert_eq!(verdict(OK, with_text("")), Ok(()));
    assert_eq!(verdict(OK, with_text("well")), error("no \"well\" in the content"));
    let far = |before: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", before + 4);
        [head.into_bytes(), vec![b'x'; before], b"well".to_vec()].concat()
    };
    assert_eq!(verdict(far(CONTENT_BYTES_MAX - 4), with_text("well")), Ok(()));
    let why = "no \"well\" in the first 64 KiB of the content";
    assert_eq!(verdict(far(CONTENT_BYTES_MAX - 3), with_text("well")), error(why));
    assert_eq!(verdict(far(CONTENT_BYTES_MAX * 4), with_text("well")), error(why));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwe\r\n2\r\nll\r\n0\r\n\r\n";
    assert_eq!(verdict(chunked, with_text("well")), Ok(()));
    assert_eq!(verdict("HTTP/1.0 200 OK\r\n\r\nall is well", with_text("well")), Ok(()));
}

#[test]
fn content_that_nobody_wants_is_not_waited_for() {
    let (address, _) = server(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nit is well").unwrap();
        wait(stream);
    });
    assert_eq!(run(&address, &asking(ProbeAsk::Http(with_text("well")), LONG)), Ok(()));
    let (address, _) = server(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").unwrap();
        wait(stream);
    });
    assert_eq!(run(&address, &asking(ProbeAsk::Http(http()), LONG)), Ok(()));
}

#[test]
fn nothing_takes_longer_than_it_may() {
    let short = |http| asking(ProbeAsk::Http(http), SHORT);
    let (hangs, _) = server(wait);
    assert_eq!(run(&hangs, &short(http())), error("no answer within 900ms"));
    let (drips, _) = server(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        // Ends when nobody reads any longer.
        for byte in "X: y\r\n".bytes().cycle() {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(run(&drips, &short(http())), error("no answer within 900ms"));
    let (endless, _) = server(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(run(&endless, &short(with_text("well"))), error("no end of the content within 900ms"));
}

#[test]
fn what_is_no_answer_is_told_apart() {
    let closes = |stream: &mut std::net::TcpStream| drop(stream.shutdown(Shutdown::Both));
    let probe = asking(ProbeAsk::Http(http()), LONG);
    assert_eq!(run(&server(closes).0, &probe), error("connection closed without an answer"));
    for (answer, want) in [
        ("HTTP/1.1 200 OK\r\nX-Hea", "connection closed without an answer"),
        ("SSH-2.0-OpenSSH_9.7\r\n", "the answer is malformed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "the answer is malformed"),
        ("HTTP/1.1 999999 OK\r\n\r\n", "the answer is malformed"),
    ] {
        assert_eq!(verdict(answer, http()), error(want), "{answer}");
    }
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall";
    assert!(verdict(cut, with_text("well")).is_err());
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
    assert!(verdict(huge, http()).is_err());
    for odd in [
        HttpProbe { path: "no path".to_owned(), ..http() },
        HttpProbe { host: Some("\n".to_owned()), ..http() },
    ] {
        let why = verdict(OK, odd).unwrap_err();
        assert!(why.starts_with("the request cannot be written: "), "{why}");
    }
}

#[test]
fn it_goes_where_the_probe_says() {
    let Address::Ip(address) = answering(OK) else { panic!("a port") };
    // Nobody is where requests go.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probe = Probe { port: Some(address.port()), ..asking(ProbeAsk::Http(http()), LONG) };
    assert_eq!(run(&Address::Ip(elsewhere), &probe), Ok(()));
    for host in ["127.0.0.1", "localhost"] {
        let Address::Ip(address) = answering(OK) else { panic!("a port") };
        let nowhere = Address::Ip(SocketAddr::from(([192, 0, 2, 1], address.port())));
        let probe = Probe { host: Some(Host::parse(host)), ..asking(ProbeAsk::Http(http()), LONG) };
        assert_eq!(run(&nowhere, &probe), Ok(()), "{host}");
    }
}

#[test]
fn a_unix_socket_is_asked_like_any_other() {
    let name = format!("ringway-probe-{}-{:x}.sock", std::process::id(), fastrand::u64(..));
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    let (heads, told) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            serve(stream.unwrap(), |stream| drop(stream.write_all(OK.as_bytes())), &heads);
        }
    });
    let to = Address::Unix(Arc::from(path.as_path()));
    assert_eq!(run(&to, &asking(ProbeAsk::Http(with_text("all")), LONG)), Ok(()));
    assert!(told.recv().unwrap().to_lowercase().contains("\r\nhost: app.test:81\r\n"));
    let Address::Ip(address) = answering(OK) else { panic!("a port") };
    let port = Probe { port: Some(address.port()), ..asking(ProbeAsk::Http(http()), LONG) };
    assert_eq!(run(&to, &port), Ok(()));
    assert_eq!(run(&to, &asking(ProbeAsk::Tcp, LONG)), Ok(()));
    serving.join().unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn one_of_several_addresses_has_to_pass() {
    let held = std::cell::RefCell::new(Vec::new());
    // Nobody listens there, nor does anybody else get the port meanwhile.
    let closed = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        held.borrow_mut().push(socket);
        Address::Ip(address)
    };
    let with = |to: Address, fallbacks: &[Address], timeout| {
        let probe = asking(ProbeAsk::Http(http()), timeout);
        run_as(Probed { fallbacks: fallbacks.into(), ..of(&to, &probe) })
    };
    assert_eq!(with(closed(), &[closed(), answering(OK)], LONG), Ok(()));
    assert_eq!(with(answering(OK), &[closed()], LONG), Ok(()));
    // One that hangs leaves some of the time to the next.
    assert_eq!(with(server(wait).0, &[answering(OK)], 10 * SHORT), Ok(()));
    // And why it failed where it should be is what matters.
    let fails = || answering("HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(with(closed(), &[fails()], LONG), error("connection refused"));
    assert_eq!(with(fails(), &[closed()], LONG), error("status 503"));
    assert_eq!(with(server(wait).0, &[closed()], SHORT), error("no answer within 900ms"));
}

#[test]
fn a_host_without_an_address_fails_and_says_why() {
    let probe = asking(ProbeAsk::Tcp, LONG);
    let nowhere = Some(Err("probe.test has no address: no".to_owned()));
    let probed = Probed { host: nowhere, ..of(&answering(OK), &probe) };
    assert_eq!(run_as(probed), error("probe.test has no address: no"));
    let nothing = Probed { host: Some(Ok(Arc::default())), ..of(&answering(OK), &probe) };
    assert_eq!(run_as(nothing), error("there is no address"));
}

/// The first bytes that a probe sends.
fn begins(ask: ProbeAsk, version: ProxyVersion, elsewhere: bool) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        let mut some = [0; 512];
        while let Ok(count @ 1..) = stream.read(&mut some) {
            bytes.extend_from_slice(&some[..count]);
            if bytes.ends_with(b"\r\n\r\n") && memmem::find(&bytes, b"GET").is_some() {
                stream.write_all(OK.as_bytes()).unwrap();
            }
        }
        bytes
    });
    let port = elsewhere.then_some(address.port());
    let probe = Probe { port, ..asking(ask, LONG) };
    let probed = Probed { proxy_protocol: Some(version), ..of(&Address::Ip(address), &probe) };
    assert_eq!(run_as(probed), Ok(()));
    serving.join().unwrap()
}

#[test]
fn what_an_endpoint_wants_to_see_first_comes_first() {
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (version, header) in [(ProxyVersion::V1, &b"PROXY UNKNOWN\r\n"[..]), (ProxyVersion::V2, local)] {
        assert_eq!(begins(ProbeAsk::Tcp, version, false), header);
        let sent = begins(ProbeAsk::Http(http()), version, false);
        assert!(sent.starts_with(header) && sent[header.len()..].starts_with(b"GET /healthz"), "{sent:?}");
        // Another port is for probes alone.
        assert!(begins(ProbeAsk::Http(http()), version, true).starts_with(b"GET /healthz"));
        assert!(begins(ProbeAsk::Tcp, version, true).is_empty());
    }
}
