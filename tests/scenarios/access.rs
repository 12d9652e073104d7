//! Access lists: whose requests are let in, by listener and by route.

use crate::support::live::Live;
use crate::support::{
    Client, Driver, Origin, PATIENCE, Proxy, Setup, Signal, eventually, get, get_with, on_each_driver, place,
};

/// A proxy whose peers speak for others, so that clients can be from anywhere.
fn start(driver: Driver, text: &str) -> Proxy {
    let text = format!(
        "[listener.web]\naddress = '127.0.0.1:0'\ntrusted-proxy = ['127.0.0.0/8', '10.0.0.1']\n{text}"
    );
    Setup::new(driver).listening_file(&text).start()
}

/// The status for a client of that address.
fn as_(proxy: &Proxy, address: &str, path: &str) -> u16 {
    proxy.ask(get_with(path, &format!("X-Forwarded-For: {address}\r\n"))).status()
}

#[test]
fn the_longest_prefix_decides_and_of_equals_the_one_that_is_denied() {
    on_each_driver(|driver| {
        let text = "access = { allow = ['10.0.0.0/8', '10.1.2.0/24', '2001:db8::/32', '192.0.2.1'], \
                    deny = ['10.1.0.0/16', '10.1.2.3', '192.0.2.1', '2001:db8:bad::/48'] }\n\
                    [[route]]\nrespond = 'in'\n";
        let proxy = start(driver, text);
        for (address, want) in [
            ("10.9.9.9", 200),
            ("10.1.9.9", 403),
            ("10.1.2.4", 200),
            ("10.1.2.3", 403),
            ("192.0.2.1", 403),
            ("2001:db8::1", 200),
            ("2001:db8:bad::1", 403),
            ("::ffff:10.1.2.3", 403),
            ("::ffff:10.1.2.4", 200),
            // Nobody means it; that somebody is denied opens nothing.
            ("203.0.113.9", 403),
        ] {
            assert_eq!(as_(&proxy, address, "/"), want, "{address}");
        }
    });
}

#[test]
fn what_the_listener_and_what_the_route_say_hold_both() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "access = {{ deny = '203.0.113.0/24' }}\n[upstream.app]\nendpoints = '{}'\n\
             [[route]]\npath-prefix = '/admin'\nupstream = 'app'\naccess = {{ allow = ['10.0.0.0/8', '203.0.113.7'] }}\n\
             [[route]]\npath-prefix = '/all'\nrespond = 'all'\naccess = {{ allow = 'all' }}\n\
             [[route]]\npath-prefix = '/nobody'\nredirect = '/'\naccess = {{ deny = 'all' }}\n\
             [[route]]\nupstream = 'app'\n",
            origin.endpoint()
        );
        let proxy = start(driver, &text);
        for (address, path, want) in [
            ("10.0.0.9", "/admin", 200),
            ("11.0.0.9", "/admin", 403),
            ("11.0.0.9", "/", 200),
            ("203.0.113.7", "/admin", 403),
            ("203.0.113.7", "/", 403),
            ("203.0.113.7", "/all", 403),
            ("11.0.0.9", "/all", 200),
            ("10.0.0.9", "/nobody", 403),
            // By another name of the path, too.
            ("11.0.0.9", "/x/../%61dmin", 403),
        ] {
            assert_eq!(as_(&proxy, address, path), want, "{address} {path}");
        }
        assert_eq!(origin.requests().len(), 2, "nothing of who is refused gets through");
    });
}

#[test]
fn whoever_cannot_be_told_is_refused_wherever_there_is_a_list() {
    on_each_driver(|driver| {
        let text = "[[route]]\npath = '/deny'\nrespond = 'x'\naccess = { deny = '203.0.113.0/24' }\n\
                    [[route]]\npath = '/all'\nrespond = 'x'\naccess = { allow = ['all', 'unix'] }\n\
                    [[route]]\nrespond = 'x'\n";
        let proxy = start(driver, text);
        for said in ["unknown", "fe80::1%eth0", "10.0.0.9, nonsense", "_hidden", "1.2.3", "10.0.0.9;"] {
            for path in ["/deny", "/all"] {
                assert_eq!(as_(&proxy, said, path), 403, "{said} {path}");
            }
            assert_eq!(as_(&proxy, said, "/"), 200, "{said}");
        }
    });
}

#[test]
fn who_is_not_trusted_speaks_for_itself() {
    on_each_driver(|driver| {
        let text = "[listener.web]\naddress = '127.0.0.1:0'\n[[route]]\npath = '/here'\nrespond = 'x'\n\
                    access = { allow = '127.0.0.1' }\n[[route]]\nrespond = 'x'\naccess = { allow = '10.0.0.0/8' }\n";
        let proxy = Setup::new(driver).listening_file(text).start();
        for lines in [
            "",
            "X-Forwarded-For: 10.0.0.9\r\n",
            "X-Forwarded-For: unknown\r\n",
            "Forwarded: for=10.0.0.9\r\n",
        ] {
            assert_eq!(proxy.ask(get_with("/", lines)).status(), 403, "{lines}");
            assert_eq!(proxy.ask(get_with("/here", lines)).status(), 200, "{lines}");
        }
        // The addresses that a client puts in front of its own are no matter.
        let proxy = start(driver, "[[route]]\nrespond = 'x'\naccess = { allow = '10.0.0.0/8' }\n");
        assert_eq!(as_(&proxy, "10.0.0.9, 203.0.113.9", "/"), 403);
        assert_eq!(as_(&proxy, "203.0.113.9, 10.0.0.9, 10.0.0.1", "/"), 200);
    });
}

#[test]
fn who_comes_by_a_unix_socket_has_a_word() {
    on_each_driver(|driver| {
        let path = place("sock");
        let text = format!(
            "[listener.web]\naddress = ['127.0.0.1:0', 'unix:{}']\n\
             [[route]]\npath = '/unix'\nrespond = 'x'\naccess = {{ allow = 'unix', deny = 'all' }}\n\
             [[route]]\npath = '/all'\nrespond = 'x'\naccess = {{ allow = 'all' }}\n\
             [[route]]\nrespond = 'x'\naccess = {{ allow = ['0.0.0.0/0', '::/0'] }}\n",
            path.display()
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        for (target, by_unix, by_tcp) in [("/unix", 200, 403), ("/all", 200, 200), ("/", 403, 200)] {
            assert_eq!(Client::connect_unix(&path).ask(get(target)).status(), by_unix, "{target}");
            assert_eq!(proxy.get(target).status(), by_tcp, "{target}");
        }
    });
}

#[test]
fn a_refusal_says_why_is_counted_and_leaves_the_connection_open() {
    on_each_driver(|driver| {
        let text = "[[route]]\npath = '/in'\nrespond = 'in'\n[[route]]\nrespond = 'x'\naccess = { allow = '10.0.0.0/8' }\n\
                    error-page = { 403 = { body = 'not you', content-type = 'text/plain' } }\n";
        let mut proxy = Setup::new(driver).file(text).start();
        let mut client = proxy.client();
        for _ in 0..3 {
            let response = client.ask(get("/"));
            assert_eq!(
                (response.status(), response.text(), response.says_close()),
                (403, "not you".to_owned(), false)
            );
        }
        let json = client.ask(get_with("/", "Accept: application/json\r\n")).text();
        assert!(json.contains("\"reason\":\"access_denied\""), "{json}");
        assert_eq!(client.ask(get("/in")).text(), "in");
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(client.ask(post).status(), 403);
        assert_eq!(client.ask(get("/in")).text(), "in");
        drop(client);
        proxy.signal(Signal::TERM);
        assert!(proxy.wait(PATIENCE).success());
        eventually("it is counted", || proxy.stderr().contains("5 access_denied"));
    });
}

#[test]
fn what_is_explained_is_what_happens() {
    on_each_driver(|driver| {
        let text = "[listener.web]\naddress = '127.0.0.1:0'\naccess = { deny = '127.0.0.2' }\n\
                    [[route]]\nname = 'api'\nrespond = 'x'\naccess = { allow = ['127.0.0.0/8'], deny = '127.0.0.64/26' }\n";
        let proxy = Live::listening(driver, 1, text);
        for (from, want) in
            [("127.0.0.1", true), ("127.0.0.2", false), ("127.0.0.65", false), ("10.0.0.1", false)]
        {
            let run = proxy.order(&["explain", "--live", "--from", from, "http://a/"]);
            let said = run.stdout;
            assert_eq!(said.contains("refuses the client"), !want, "{said}");
            assert_eq!(said.contains("access_denied"), !want, "{said}");
        }
        let run = proxy.order(&["explain", "--live", "--from", "127.0.0.65", "http://a/"]);
        let said = "access: refuses the client: `deny` has it in a network of /26 (route api)";
        assert!(run.stdout.contains(said), "{}", run.stdout);
        let said = "access: lets the client in: no entry has the address (listener web)";
        assert!(run.stdout.contains(said), "{}", run.stdout);
    });
}

#[test]
fn a_request_that_no_route_can_be_found_for_is_refused_by_its_network_first() {
    on_each_driver(|driver| {
        let text = "access = { deny = '203.0.113.0/24' }\n[[route]]\npath-prefix = '/a'\nrespond = 'x'\n\
                    [[route]]\npath = '/r/{id}'\nrespond = 'z'\nresponse-header = { set = { X-Got = '{query.x}' } }\n\
                    access = { deny = '198.51.100.0/24' }\n[[route]]\nrespond = 'y'\n";
        let proxy = start(driver, text);
        for path in ["/%zz", "/%00", "/b%2f..%2fa/x", "/b\\..\\a", "/r/1?x=%0d%0a"] {
            assert_eq!(as_(&proxy, "192.0.2.1", path), 400, "{path}");
            assert_eq!(as_(&proxy, "203.0.113.9", path), 403, "{path}");
            assert_eq!(as_(&proxy, "203.0.113.9, nonsense", path), 403, "{path}");
        }
        // What comes as far as a route is refused by that as well.
        assert_eq!(as_(&proxy, "198.51.100.1", "/r/1?x=%0d%0a"), 403);
        assert_eq!(
            (as_(&proxy, "198.51.100.1", "/r/1?x=a"), as_(&proxy, "192.0.2.1", "/r/1?x=a")),
            (403, 200)
        );
    });
}
