//! Fields about safety that responses get, and fields that tell too much, which they lose.

use crate::support::cache::{fresh_with, page};
use crate::support::client::Response;
use crate::support::live::Live;
use crate::support::{Driver, Origin, Proxy, Setup, get, get_with, on_each_driver};

const HSTS: &str = "Strict-Transport-Security";

fn start(driver: Driver, origin: &Origin, text: &str) -> Proxy {
    let text = format!(
        "[listener.web]\naddress = '127.0.0.1:0'\ntrusted-proxy = '127.0.0.1'\n[upstream.app]\nendpoints = '{}'\n{}",
        origin.endpoint(),
        text.replace("APP", "upstream = 'app'")
    );
    Setup::new(driver).listening_file(&text).start()
}

fn by_https(target: &str) -> String {
    get_with(target, "X-Forwarded-Proto: https\r\n")
}

fn all<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    response.fields().all(name)
}

#[test]
fn what_is_missing_is_set_and_what_the_upstream_says_stays() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/own" => {
                page("Cache-Control: no-store\r\nx-frame-options: DENY\r\nReferrer-Policy: origin\r\n", "own")
            }
            _ => page("Cache-Control: no-store\r\n", "bare"),
        });
        let proxy = start(driver, &origin, "[[route]]\nAPP\nsecurity-headers = true\n");
        let response = proxy.get("/");
        for (name, want) in [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "SAMEORIGIN"),
            ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ] {
            assert_eq!(all(&response, name), [want], "{name}");
        }
        let response = proxy.get("/own");
        assert_eq!(
            (all(&response, "X-Frame-Options"), all(&response, "Referrer-Policy")),
            (vec!["DENY"], vec!["origin"])
        );
        assert_eq!(all(&response, "X-Content-Type-Options"), ["nosniff"]);
    });
}

#[test]
fn only_who_comes_by_https_is_told_to_stay_with_it() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/own" => page("Cache-Control: no-store\r\nStrict-Transport-Security: max-age=1\r\n", "x"),
            _ => fresh_with("", "x"),
        });
        let text =
            "[[route]]\nAPP\nsecurity-headers = { hsts = { max-age = '1y', include-subdomains = true } }\n";
        let proxy = start(driver, &origin, text);
        let value = "max-age=31557600; includeSubDomains";
        // Stored for one, and served to the other.
        for _ in 0..2 {
            for (request, want) in [
                (get("/"), vec![]),
                (by_https("/"), vec![value]),
                (get_with("/", "X-Forwarded-Proto: HTTPS\r\n"), vec![value]),
                (get_with("/", "X-Forwarded-Proto: http\r\n"), vec![]),
                (get_with("/", "X-Forwarded-Proto: httpsx\r\n"), vec![]),
                (get_with("/", "Forwarded: proto=https\r\n"), vec![]),
                (by_https("/own"), vec!["max-age=1"]),
            ] {
                assert_eq!(all(&proxy.ask(&request), HSTS), want, "{request}");
            }
        }
        // Who is not trusted cannot say so.
        let text = format!(
            "[upstream.app]\nendpoints = '{}'\n[[route]]\nupstream = 'app'\nsecurity-headers = true\n",
            origin.endpoint()
        );
        let proxy = Setup::new(driver).file(&text).start();
        assert!(all(&proxy.ask(by_https("/")), HSTS).is_empty());
    });
}

#[test]
fn what_tells_too_much_goes_from_every_kind_of_answer() {
    on_each_driver(|driver| {
        let theirs = "Server: Apache/2.4.1\r\nX-Powered-By: PHP/5.3\r\nX-AspNet-Version: 4\r\nX-Kept: yes\r\nETag: \"a\"\r\n";
        let origin = Origin::replying(move |request| match request.target() {
            "/stored" => fresh_with(theirs, "x"),
            "/trailers" => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: no-store\r\nTrailer: Server\r\n\r\n";
                format!("{head}1\r\nx\r\n0\r\nServer: Apache\r\nX-Powered-By: PHP\r\nX-Kept: yes\r\n\r\n")
                    .into_bytes()
            }
            "/hints" => {
                let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n{theirs}\r\n");
                [hints.into_bytes(), page("Cache-Control: no-store\r\n", "x")].concat()
            }
            _ => page(&format!("Cache-Control: no-store\r\n{theirs}"), "x"),
        });
        let text = "[[route]]\npath-prefix = '/none'\nAPP\nhide-headers = false\n\
                    [[route]]\npath = '/respond'\nrespond = 'x'\n[[route]]\npath = '/away'\nredirect = '/'\n\
                    [[route]]\npath = '/gone'\ndeny = 410\n[[route]]\npath-prefix = '/'\nAPP\n";
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\nhide-headers = true\n\
             [upstream.app]\nendpoints = '{}'\n{}",
            origin.endpoint(),
            text.replace("APP", "upstream = 'app'")
        );
        let proxy = Live::listening(driver, 1, &text);
        let tells = |response: &Response| {
            ["Server", "X-Powered-By", "X-AspNet-Version"].into_iter().any(|name| response.fields().has(name))
        };
        for target in ["/", "/stored", "/stored", "/respond", "/away", "/gone", "/%zz"] {
            let response = proxy.get(target);
            assert!(!tells(&response), "{target}: {:?}", response.fields().lines());
        }
        assert_eq!(all(&proxy.get("/stored"), "X-Kept"), ["yes"]);
        let response = proxy.ask(get_with("/stored", "If-None-Match: \"a\"\r\n"));
        assert_eq!((response.status(), tells(&response)), (304, false));
        // What comes in front of an answer tells no more than the answer.
        let mut client = proxy.client();
        client.send(get("/hints"));
        client.finish();
        let text = String::from_utf8_lossy(&client.until_end().0).into_owned();
        assert!(text.starts_with("HTTP/1.1 103 ") && text.contains("Link: </a.css>"), "{text}");
        assert!(!text.contains("Apache") && !text.contains("PHP"), "{text}");
        // Malformed requests are answered by the same rules.
        for bad in ["GET / HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n", "GET / HTTP/9.9\r\nHost: a\r\n\r\n"] {
            assert!(!tells(&proxy.ask(bad)), "{bad}");
        }
        let mut client = proxy.client();
        client.send(get("/trailers"));
        let (bytes, _) = {
            client.finish();
            client.until_end()
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("Apache") && !text.contains("PHP") && text.contains("X-Kept: yes"), "{text}");
        assert!(tells(&proxy.get("/none")));
    });
}

#[test]
fn what_is_stored_and_what_the_proxy_says_itself_get_them_too() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/down" => b"nonsense\r\n\r\n".to_vec(),
            _ => fresh_with("ETag: \"a\"\r\n", "x"),
        });
        let text = "security-headers = 'strict'\nhide-headers = ['Server', 'X-Debug-*']\n\
                    [[route]]\npath = '/respond'\nrespond = 'x'\n[[route]]\npath = '/off'\nrespond = 'x'\nsecurity-headers = false\n\
                    [[route]]\npath = '/shut'\nrespond = 'x'\naccess = { deny = 'all' }\n\
                    [[route]]\npath = '/set'\nrespond = 'x'\nresponse-header = { set = { X-Frame-Options = 'mine' } }\n\
                    [[route]]\npath = '/csp'\nrespond = 'x'\n\
                    security-headers = { preset = 'strict', content-security-policy = \"default-src 'none'\", frame-options = 'off' }\n\
                    [[route]]\npath-prefix = '/app'\nAPP\n[[route]]\npath = '/down'\nAPP\n";
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\ntrusted-proxy = '127.0.0.1'\n{}[upstream.app]\nendpoints = '{}'\n{}",
            &text[..text.find("[[route]]").unwrap()],
            origin.endpoint(),
            text[text.find("[[route]]").unwrap()..].replace("APP", "upstream = 'app'")
        );
        let proxy = Live::listening(driver, 1, &text);
        for (target, status) in [
            ("/app", 200),
            ("/app", 200),
            ("/respond", 200),
            ("/shut", 403),
            ("/down", 502),
            ("/nowhere", 404),
            ("/csp", 200),
        ] {
            let response = proxy.ask(by_https(target));
            assert_eq!(response.status(), status, "{target}");
            assert_eq!(all(&response, HSTS), ["max-age=63072000; includeSubDomains"], "{target}");
            assert_eq!(all(&response, "Cross-Origin-Opener-Policy"), ["same-origin"], "{target}");
            let policy = all(&response, "Content-Security-Policy");
            assert_eq!(policy == ["default-src 'none'"], target == "/csp", "{policy:?}");
            assert_eq!(response.fields().has("X-Frame-Options"), target != "/csp");
            assert!(!response.fields().has("Server"), "{target}");
        }
        let response = proxy.ask(get_with("/app", "If-None-Match: \"a\"\r\n"));
        assert_eq!((response.status(), all(&response, "X-Frame-Options")), (304, vec!["DENY"]));
        assert_eq!(all(&proxy.get("/set"), "X-Frame-Options"), ["mine"]);
        assert!(!proxy.get("/off").fields().has("X-Frame-Options"));
        let run = proxy.order(&["explain", "--live", "http://a/csp"]);
        assert!(
            run.stdout.contains("security-headers: sets where missing: X-Content-Type-Options, "),
            "{}",
            run.stdout
        );
        assert!(
            run.stdout.contains("hide-headers: takes away: Server, X-Debug-* (listener web)"),
            "{}",
            run.stdout
        );
    });
}
