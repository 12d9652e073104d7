//! Connections that begin with a header of the PROXY protocol: from there on, the client is whom it names.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Instant;

use crate::support::{
    Client, Driver, End, Origin, PATIENCE, Proxy, Setup, Signal, assert_limit, eventually, get, get_with, ms,
    on_each_driver, place,
};

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 for 192.0.2.7, with a value that nobody asks for.
fn binary() -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80];
    [SIGNATURE, &[0x21, 0x11, 0, 12 + 5], &addresses, &[1, 0, 2], b"h2"].concat()
}

/// A proxy whose listener has these lines in the file, and a log.
fn start(driver: Driver, origin: &Origin, lines: &str) -> Proxy {
    let text = format!("origin = ['{}']\n[listener.web]\naddress = '127.0.0.1:0'\n{lines}", origin.url());
    Setup::new(driver).listening_file(&text).args(&["--access-log", "combined"]).start()
}

const LOOPBACK: &str = "proxy-protocol = ['127.0.0.0/8']\n";

/// Whom the origin was last told to answer.
fn told(origin: &Origin) -> String {
    origin.requests().last().unwrap().field("X-Forwarded-For").unwrap().to_owned()
}

/// A client that comes from another address of this machine.
fn from(proxy: &Proxy, address: [u8; 4]) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&proxy.address().into()).unwrap();
    Client::over(socket.into())
}

/// A GET that says where it was.
fn request(target: &str) -> Vec<u8> {
    get(target).into_bytes()
}

#[test]
fn the_client_is_whom_the_header_names_for_as_long_as_the_connection_lasts() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, &origin, LOOPBACK);
        let v6 = "PROXY TCP6 2001:db8::7 ::1 4711 80\r\n";
        let mapped = "PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n";
        for (n, (header, client)) in [
            (LINE.as_bytes().to_vec(), "192.0.2.7"),
            (binary(), "192.0.2.7"),
            (v6.as_bytes().to_vec(), "2001:db8::7"),
            (mapped.as_bytes().to_vec(), "192.0.2.7"),
        ]
        .into_iter()
        .enumerate()
        {
            // With the request in the same segment, apart from it, and byte by byte.
            let whole = [&header[..], &request("/first")].concat();
            for way in 0..3 {
                let mut connection = proxy.client();
                match way {
                    0 => connection.send(&whole),
                    1 => {
                        connection.send(&header);
                        std::thread::sleep(ms(20));
                        connection.send(request("/first"));
                    }
                    _ => connection.send_bytewise(&whole),
                }
                assert_eq!(connection.response().text(), "/first ");
                assert_eq!(told(&origin), client);
                assert_eq!(connection.ask(request(&format!("/{n}/{way}"))).text(), format!("/{n}/{way} "));
                assert_eq!(told(&origin), client);
                assert!(proxy.logged(&[&format!("/{n}/{way} ")]).starts_with(&format!("{client} ")));
            }
        }
        // Both requests at once.
        let mut connection = proxy.client();
        connection.send([LINE.as_bytes(), &request("/a"), &request("/b")].concat());
        assert_eq!(
            (connection.response().text(), connection.response().text()),
            ("/a ".into(), "/b ".into())
        );
        assert_eq!(told(&origin), "192.0.2.7");
    });
}

#[test]
fn a_connection_that_was_parked_keeps_its_client() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, &origin, LOOPBACK);
        // One that has asked before, and one that has only said who it is.
        let (mut asked, mut quiet) = (proxy.client(), proxy.client());
        asked.send(LINE);
        quiet.send(binary());
        asked.ask(request("/before"));
        std::thread::sleep(ms(1_500));
        for client in [&mut asked, &mut quiet] {
            assert_eq!(client.ask(request("/after")).text(), "/after ");
            assert_eq!(told(&origin), "192.0.2.7");
        }
        // A second header is a malformed request.
        assert_eq!(asked.ask(format!("{LINE}\r\n")).status(), 400);
    });
}

#[test]
fn where_nobody_is_named_the_peer_itself_is_the_client() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, &origin, LOOPBACK);
        let unix = [SIGNATURE, &[0x21, 0x31, 0, 216], &[b'/'; 216]].concat();
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
            [SIGNATURE, &[0x20, 0, 0, 0]].concat(),
            [SIGNATURE, &[0x20, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0, 1, 0, 2]].concat(),
            [SIGNATURE, &[0x21, 0, 0, 0]].concat(),
            unix,
        ] {
            let mut client = proxy.client();
            client.send([&header[..], &request("/")].concat());
            assert_eq!(client.response().text(), "/ ");
            assert_eq!(told(&origin), "127.0.0.1");
        }
    });
}

#[test]
fn whoever_has_to_speak_the_protocol_and_does_not_gets_no_answer() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let mut proxy = start(driver, &origin, LOOPBACK);
        let starts: Vec<Vec<u8>> = vec![
            request("/"),
            b"\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\n".to_vec(),
            [SIGNATURE, &[0x21, 0x12, 0, 0]].concat(),
            [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
            [LINE.replace(" 80", " 080").as_bytes(), &request("/")].concat(),
        ];
        for start in &starts {
            let mut client = proxy.client();
            client.send(start);
            client.expect_end();
        }
        // One that ends in the middle; and one that only looks whether somebody listens, which is none.
        let mut client = proxy.client();
        client.send(&LINE[..20]);
        client.finish();
        client.expect_end();
        let mut client = proxy.client();
        client.finish();
        assert_eq!(client.expect_end(), End::Closed);
        assert_eq!(origin.connections(), 0);
        let line = proxy.logged(&["TCP4", "bad_proxy_header"]);
        assert!(line.starts_with("127.0.0.1 "), "{line}");
        proxy.signal(Signal::TERM);
        assert!(proxy.wait(PATIENCE).success());
        let said = " 0 requests, 0 of them answered";
        assert!(proxy.stderr().contains(said), "{}", proxy.stderr());
        assert!(
            proxy.stderr().contains(&format!("{} bad_proxy_header", starts.len() + 1)),
            "{}",
            proxy.stderr()
        );
    });
}

#[test]
fn a_header_has_as_long_as_the_head_of_a_request() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, &origin, &format!("{LOOPBACK}head-timeout = '700ms'\n"));
        let started = Instant::now();
        let mut silent = proxy.client();
        silent.expect_end();
        assert_limit(started, ms(700));
        // However steadily it drips.
        let started = Instant::now();
        let mut slow = proxy.client();
        let mut sender = slow.sender();
        let dripping = std::thread::spawn(move || {
            binary().iter().cycle().take(100).all(|byte| {
                std::thread::sleep(ms(100));
                sender.try_send([*byte])
            })
        });
        slow.expect_end();
        assert_limit(started, ms(700));
        assert!(!dripping.join().unwrap(), "all of it was taken");
        // One that takes its time within the limit, and again for its request.
        let mut client = proxy.client();
        client.send(&LINE[..20]);
        std::thread::sleep(ms(300));
        client.send(&LINE[20..]);
        std::thread::sleep(ms(600));
        assert_eq!(client.ask(request("/")).text(), "/ ");
    });
}

#[test]
fn whoever_waits_with_its_header_does_not_hold_up_the_end() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let mut proxy = start(driver, &origin, &format!("{LOOPBACK}head-timeout = '60s'\n"));
        let (mut silent, mut begun) = (proxy.client(), proxy.client());
        begun.send(&LINE[..20]);
        let mut client = proxy.client();
        client.send(LINE);
        assert_eq!(client.ask(request("/")).text(), "/ ");
        proxy.signal(Signal::TERM);
        assert!(proxy.wait(PATIENCE).success());
        silent.expect_end();
        begun.expect_end();
    });
}

#[test]
fn others_are_ordinary_clients_and_cannot_pass_for_anybody() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, &origin, "proxy-protocol = ['127.0.0.1/32', 'unix']\n");
        let mut client = from(&proxy, [127, 0, 0, 2]);
        assert_eq!(client.ask(request("/")).text(), "/ ");
        assert_eq!(told(&origin), "127.0.0.2");
        for header in [LINE.as_bytes().to_vec(), binary()] {
            let mut client = from(&proxy, [127, 0, 0, 2]);
            client.send([&header[..], &request("/spoofed")].concat());
            assert_eq!(client.response().status(), 400);
        }
        assert_eq!(origin.requests().len(), 1);
    });
}

#[test]
fn it_is_the_named_client_that_is_trusted_or_not_and_that_routes_are_for() {
    on_each_driver(|driver| {
        let (inside, outside) = (Origin::echo(), Origin::echo());
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\n{LOOPBACK}trusted-proxy = ['192.0.2.7/32']\n\
             [upstream.inside]\nendpoints = '{}'\n[upstream.outside]\nendpoints = '{}'\n\
             [[route]]\nname = 'inside'\nclient = '198.51.100.0/24'\nupstream = 'inside'\n\
             [[route]]\nname = 'outside'\nupstream = 'outside'\n",
            inside.endpoint(),
            outside.endpoint()
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        let ask = |source: &str, fields: &str| {
            let mut client = proxy.client();
            client.send(format!("PROXY TCP4 {source} 127.0.0.1 1 2\r\n{}", get_with("/", fields)));
            assert_eq!(client.response().status(), 200);
        };
        ask("198.51.100.9", "");
        assert_eq!((inside.requests().len(), told(&inside)), (1, "198.51.100.9".to_owned()));
        // One that is trusted speaks for whom it says; one that is not does not, and nor does the peer.
        ask("192.0.2.7", "X-Forwarded-For: 198.51.100.9\r\n");
        assert_eq!((inside.requests().len(), told(&inside)), (2, "198.51.100.9, 192.0.2.7".to_owned()));
        ask("192.0.2.8", "X-Forwarded-For: 198.51.100.9\r\n");
        assert_eq!((outside.requests().len(), told(&outside)), (1, "192.0.2.8".to_owned()));
    });
}

#[test]
fn ipv6_peers_and_unix_sockets_speak_it_too() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let path = place("sock");
        let text = format!(
            "origin = ['{}']\n[listener.web]\naddress = ['[::1]:0', 'unix:{}']\nproxy-protocol = ['::1', 'unix']\n",
            origin.url(),
            path.display()
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        assert_eq!(proxy.address().ip(), Ipv6Addr::LOCALHOST);
        for over_unix in [false, true] {
            let connect = || if over_unix { Client::connect_unix(&path) } else { proxy.client() };
            let mut client = connect();
            client.send([&binary()[..], &request("/a")].concat());
            assert_eq!(client.response().text(), "/a ");
            assert_eq!(told(&origin), "192.0.2.7");
            let mut client = connect();
            client.send(request("/b"));
            client.expect_end();
        }
        let mut client = Client::connect_unix(&path);
        client.send([b"PROXY UNKNOWN\r\n", &request("/c")[..]].concat());
        assert_eq!(client.response().text(), "/c ");
        assert_eq!(told(&origin), "unknown");
        drop((client, proxy));
        let _ = std::fs::remove_file(path);
        eventually("the origin is left", || origin.open() == 0);
    });
}
