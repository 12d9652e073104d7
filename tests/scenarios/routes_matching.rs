//! Which route takes a request, from the outside: no spelling comes past a rule, and what an upstream is asked
//! for is what the rules were asked about.

use std::net::SocketAddr;

use crate::support::{Client, Driver, Origin, Proxy, Setup, get, get_with, on_each_driver};

/// Routes with conditions, of which each answers with its name.
fn named(routes: &[(&str, &str)]) -> String {
    routes
        .iter()
        .map(|(name, when)| format!("[[route]]\nname = '{name}'\n{when}\nrespond = '{{route}}'\n"))
        .collect()
}

fn start(driver: Driver, text: &str) -> Proxy {
    Setup::new(driver).file(text).start()
}

/// The name of the route that takes a request, or the status that the proxy answers by itself.
fn taken(client: &mut Client, request: impl AsRef<[u8]>) -> String {
    let response = client.ask(request);
    match response.status() {
        200 => response.text(),
        other => other.to_string(),
    }
}

/// A GET of a host.
fn at(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// A client that comes from another address of this machine.
fn from(proxy: &Proxy, address: [u8; 4]) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&proxy.address().into()).unwrap();
    Client::over(socket.into())
}

/// Spellings of something below `/admin`, or of something that somebody behind the proxy could take for it.
const SPELLINGS: &[&str] = &[
    "/admin",
    "/admin/",
    "/admin/x?y",
    "/admin?x",
    "//admin",
    "///admin//x",
    "/./admin",
    "/.//admin",
    "/x/../admin",
    "/x/./../admin/.",
    "/../admin",
    "/../../admin/..//admin",
    "/x/y/../../admin",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/%61%64%6D%69%6E/x",
    "/x/%2e%2e/admin",
    "/x/%2E./admin",
    "/x/.%2e/admin",
    "/%2e/admin",
    "/%2e%2e/admin",
    "//%2e//admin",
    "/admin%2f",
    "/admin%2Fx",
    "/%2fadmin",
    "/%2f%2Fadmin",
    "/x%2f..%2fadmin",
    "/x/..%2fadmin",
    "/x/%2e%2e%2fadmin",
    "/%5cadmin",
    "/%5Cadmin",
    "/admin%5cx",
    "/x%5c..%5cadmin",
    "/x%5c%2e%2e%5cadmin",
    "/\\admin",
    "/admin\\x",
    "/x\\..\\admin",
    "/x/..\\admin",
    "/\\/admin",
    "/admin%00",
    "/admin/%00",
    "/%00/../admin",
    "/admin%",
    "/admin%6",
    "/admin%zz",
    "/%zz/../admin",
    "/admin/%u002e",
    "http://example.com/admin",
    "http://example.com//admin",
    "http://example.com/x/../%61dmin",
    "HTTP://EXAMPLE.COM/admin",
    "https://example.com:443/./admin",
    "http://elsewhere.example/admin",
];

/// The same, for those who take only some of the hidden slashes for slashes, or none before dots are resolved.
const HALF_HIDDEN: &[&str] = &[
    "/admin%2Fa%5C..%5C..%5Cpublic",
    "/admin%5Ca%2F..%2F..%2Fpublic",
    "/admin\\a%2F..%2F..%2Fpublic",
    "/admin\\a%5C..%5C..%5Cpublic",
    "/x%2Fy%5C..%2F..%5C..%2Fadmin",
    "/admin%2f..%2fpublic",
    "/admin%2f.",
    "/public%2f..%2f..%2fadmin",
    "/public/..;/admin",
    "/public/..;a=b/admin/x",
    "/.;/admin",
    "/public/%2e%2e;/admin",
    "/public%2f..;x%2fadmin",
    "/admin/x/..;/..;/public%2f",
];

/// Nothing reaches the origin, and whoever asks is refused.
fn assert_denied(driver: Driver, routes: &str, spellings: &[&str]) {
    let origin = Origin::echo();
    let proxy = start(driver, &format!("origin = ['{}']\n{routes}", origin.url()));
    assert_eq!(proxy.get("/public").text(), "/public ");
    for spelling in spellings {
        for host in ["example.com", "EXAMPLE.com:80"] {
            let status = proxy.ask(at(host, spelling)).status();
            assert!(matches!(status, 400 | 403), "{spelling}: {status}: {:?}", origin.requests().last());
        }
        assert_eq!(origin.requests().len(), 1, "{spelling}");
    }
}

#[test]
fn no_spelling_of_a_path_comes_past_a_rule() {
    on_each_driver(|driver| {
        assert_denied(driver, "[[route]]\npath-prefix = '/admin'\ndeny = true\n", SPELLINGS);
        assert_denied(driver, "[[route]]\npath-regex = '^/admin'\ndeny = true\n", SPELLINGS);
        let routes = "[[route]]\nname = 'all'\npath-prefix = '/'\nforward-path = 'original'\nupstream = 'default'\n\
                      [[route]]\npath-prefix = '/admin'\ndeny = true\n";
        assert_denied(driver, routes, SPELLINGS);
    });
}

#[test]
fn no_spelling_that_only_some_take_for_a_path_comes_past_a_rule() {
    on_each_driver(|driver| {
        assert_denied(driver, "[[route]]\npath-prefix = '/admin'\ndeny = true\n", HALF_HIDDEN);
        let original = "[[route]]\nforward-path = 'original'\nupstream = 'default'\n\
                        [[route]]\npath-prefix = '/admin'\ndeny = true\n";
        assert_denied(driver, original, HALF_HIDDEN);
        assert_denied(
            driver,
            original,
            &["/admin%2fx/../y", "/admin/y%2Fz/../../public", "/x/../admin/y%5cz/../../b"],
        );
    });
}

#[test]
fn a_rule_by_way_of_a_condition_holds_for_every_spelling_too() {
    on_each_driver(|driver| {
        let routes =
            "[[route]]\nany = [{ path-prefix = '/admin' }, { path = '/secret/{id}' }]\ndeny = true\n";
        assert_denied(driver, routes, SPELLINGS);
        assert_denied(
            driver,
            routes,
            &["/secret/1", "/secret//1", "/secret/%31", "/%73ecret/x", "/secret%2f1"],
        );
        let only_public = "[[route]]\nnot = { path-prefix = '/public' }\ndeny = true\n";
        assert_denied(driver, only_public, SPELLINGS);
        assert_denied(driver, only_public, &["/public/../x", "/public/%2e%2e/x", "/publics", "/Public", "/"]);
    });
}

#[test]
fn no_spelling_of_a_host_comes_past_a_rule() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(
            driver,
            &format!(
                "origin = ['{}']\n[[route]]\nhost = ['internal.example.com', '*.hidden.example', '[::1]', '10.0.0.1']\n\
                 deny = true\n",
                origin.url()
            ),
        );
        for host in [
            "internal.example.com",
            "INTERNAL.Example.COM",
            "internal.example.com.",
            "internal.example.com:80",
            "internal.example.com:",
            "internal.example.com.:8080",
            "a.hidden.example",
            "A.B.Hidden.Example.:1",
            "[::1]",
            "[0:0:0:0:0:0:0:1]:443",
            "[0000::0.0.0.1]",
            "10.0.0.1:80",
        ] {
            assert_eq!(proxy.ask(at(host, "/")).status(), 403, "{host}");
            // What the target names is in front of what Host names.
            assert_eq!(proxy.ask(at("example.com", &format!("http://{host}/"))).status(), 403, "{host}");
            assert_eq!(proxy.ask(at(host, "http://example.com/")).status(), 200, "{host}");
        }
        for host in ["hidden.example", "xhidden.example", "example.com"] {
            assert_eq!(proxy.ask(at(host, "/")).status(), 200, "{host}");
        }
    });
}

#[test]
fn an_encoded_host_comes_past_no_rule() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text =
            format!("origin = ['{}']\n[[route]]\nhost = 'internal.example.com'\ndeny = true\n", origin.url());
        let proxy = start(driver, &text);
        for host in ["%69nternal.example.com", "internal%2eexample.com", "internal.example.com%2e"] {
            for target in ["/".to_owned(), format!("http://{host}/")] {
                let status = proxy.ask(at(host, &target)).status();
                assert!(matches!(status, 400 | 403), "{host}: {status}");
            }
        }
    });
}

#[test]
fn what_the_upstream_is_asked_for_is_what_the_routes_were_asked_about() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = start(driver, &format!("origin = ['{}']\n", origin.url()));
        let mut client = proxy.client();
        for (sent, got) in [
            ("/", "/"),
            ("//", "/"),
            ("/a//b", "/a/b"),
            ("/a/./b/", "/a/b/"),
            ("/a/../b?c=../d", "/b?c=../d"),
            ("/..", "/"),
            ("/a/%2E%2e/b", "/b"),
            ("/%7euser/%c3%a9", "/~user/%C3%A9"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/%252e%252e/a", "/%252e%252e/a"),
            ("/a?%2e%2E", "/a?%2e%2E"),
            ("/a?", "/a?"),
            ("/A;b=c", "/A;b=c"),
            ("http://example.com", "/"),
            ("http://example.com?q", "/?q"),
            ("http://example.com//a", "/a"),
        ] {
            assert_eq!(client.ask(get(sent)).text(), format!("{got} "), "{sent}");
        }
        // What is about no path has none to be put into another form.
        client.send("OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(client.response().text(), "* ");
    });
}

#[test]
fn the_path_may_go_on_as_it_was_sent() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "[upstream.app]\nendpoints = '{}'\n[[route]]\nforward-path = 'original'\nupstream = 'app'\n",
            origin.endpoint()
        );
        let proxy = start(driver, &text);
        let mut client = proxy.client();
        for path in ["/a//b", "/a/./b/", "/a/../b?c", "/%7euser/%c3%a9", "/a%2fb", "/..", "//"] {
            assert_eq!(client.ask(get(path)).text(), format!("{path} "), "{path}");
        }
        assert_eq!(client.ask(get("http://example.com")).text(), "/ ");
    });
}

#[test]
fn malformed_paths_are_refused_whatever_the_routes() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        for routes in ["", "[[route]]\nforward-path = 'original'\nupstream = 'default'\nmethod = 'GET'\n"] {
            let proxy = start(driver, &format!("origin = ['{}']\n{routes}", origin.url()));
            for path in ["/%", "/%0", "/a%zz", "/%g0", "/%00", "/a%00b", "/x/%", "/x%2"] {
                let response = proxy.ask(get(path));
                assert_eq!((response.status(), response.says_close()), (400, true), "{path}");
            }
        }
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
fn the_asterisk_is_taken_by_routes_without_a_path_only() {
    on_each_driver(|driver| {
        let routes = named(&[("path", "path-prefix = '/'"), ("options", "method = 'OPTIONS'")]);
        let proxy = start(driver, &routes);
        let mut client = proxy.client();
        assert_eq!(taken(&mut client, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "options");
        assert_eq!(taken(&mut client, "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"), "options");
        assert_eq!(taken(&mut client, "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n"), "path");
    });
}

#[test]
fn where_no_route_takes_a_request_nothing_is_there_and_the_connection_stays() {
    on_each_driver(|driver| {
        let proxy = start(driver, &named(&[("only", "path = '/only'")]));
        let mut client = proxy.client();
        for _ in 0..3 {
            let response = client.ask(get("/other"));
            assert_eq!((response.status(), response.says_close()), (404, false));
            assert_eq!(taken(&mut client, get("/only")), "only");
        }
        client.send("POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.response().status(), 404);
        assert_eq!(taken(&mut client, get("/only")), "only");
    });
}

#[test]
fn hosts_are_matched_exactly_by_wildcard_or_not_at_all() {
    on_each_driver(|driver| {
        let proxy = start(
            driver,
            &named(&[
                ("any", ""),
                ("wild", "host = '*.example.com'"),
                ("wilder", "host = '*.a.example.com'"),
                ("exact", "host = ['www.example.com', 'a.example.com']"),
                ("address", "host = ['[2001:db8::1]', '127.0.0.1']"),
            ]),
        );
        let mut client = proxy.client();
        for (host, want) in [
            ("www.example.com", "exact"),
            ("WWW.example.COM.:81", "exact"),
            ("x.example.com", "wild"),
            ("x.y.example.com:1", "wild"),
            ("x.a.example.com", "wilder"),
            ("a.example.com", "exact"),
            ("example.com", "any"),
            ("wwwexample.com", "any"),
            ("www.example.com.evil.test", "any"),
            ("[2001:DB8:0::1]:80", "address"),
            ("127.0.0.1", "address"),
            ("127.0.0.2", "any"),
        ] {
            assert_eq!(taken(&mut client, at(host, "/")), want, "{host}");
        }
        // What is no name is nobody's.
        for host in [".example.com", "www.example.com..", "www%2eexample.com"] {
            assert_eq!(proxy.ask(at(host, "/")).status(), 400, "{host}");
        }
        // HTTP/1.0 knows no Host.
        assert_eq!(proxy.ask("GET / HTTP/1.0\r\n\r\n").text(), "any");
    });
}

#[test]
fn paths_are_matched_whole_by_prefix_with_captures_or_by_expression() {
    on_each_driver(|driver| {
        let proxy = start(
            driver,
            &named(&[
                ("rest", ""),
                ("prefix", "path-prefix = '/api/'"),
                ("deeper", "path-prefix = '/api/{version}/users'"),
                ("captures", "path = '/api/{version}/users/{id}'"),
                ("exact", "path = ['/api/v1/users/7', '/caf\u{e9} x']"),
                ("expression", "path-regex = '^/(api/v[0-9]+/old|img/.*[.]png$)'"),
                ("several", "path = '/one'\npath-prefix = '/two'\npath-regex = '/three$'"),
            ]),
        );
        let mut client = proxy.client();
        for (path, want) in [
            ("/", "rest"),
            ("/apis", "rest"),
            ("/Api", "rest"),
            ("/api", "prefix"),
            ("/api/", "prefix"),
            ("/api/x", "prefix"),
            ("/api/v1/users", "deeper"),
            ("/api/v1/users/", "deeper"),
            ("/api/v1/users/7/x", "deeper"),
            ("/api//users/7", "prefix"),
            ("/api/v1/users/8", "captures"),
            ("/api/v1/users/8/", "deeper"),
            ("/api/v1/users/7", "exact"),
            ("/api/v1/x/../users//%37", "exact"),
            ("/caf%C3%A9%20x", "exact"),
            ("/caf%c3%a9%20x", "exact"),
            ("/api/v2/old", "expression"),
            ("/img/a/b.png?c", "expression"),
            ("/img/a.pngx", "rest"),
            ("/one", "several"),
            ("/one/", "rest"),
            ("/two/x", "several"),
            ("/x/three", "several"),
        ] {
            assert_eq!(taken(&mut client, get(path)), want, "{path}");
        }
    });
}

#[test]
fn the_most_specific_route_takes_a_request_whatever_the_order() {
    let mut routes = vec![
        ("host-path", "host = 'example.com'\npath = '/a/b'"),
        ("host-prefix", "host = 'example.com'\npath-prefix = '/a'"),
        ("host", "host = 'example.com'\nmethod = 'GET'"),
        ("path", "path = '/a/b'"),
        ("prefix", "path-prefix = '/a'"),
    ];
    for _ in 0..2 {
        let text = named(&routes);
        on_each_driver(|driver| {
            let proxy = start(driver, &text);
            let mut client = proxy.client();
            for (host, path, want) in [
                ("example.com", "/a/b", "host-path"),
                ("example.com", "/a/c", "host-prefix"),
                ("example.com", "/b", "host"),
                ("other", "/a/b", "path"),
                ("other", "/a/c", "prefix"),
                ("other", "/b", "404"),
            ] {
                assert_eq!(taken(&mut client, at(host, path)), want, "{host} {path}");
            }
            // What the host's own routes do not take falls to those of less specific hosts.
            let post = "POST /a/b HTTP/1.1\r\nHost: other\r\nContent-Length: 0\r\n\r\n";
            assert_eq!(taken(&mut client, post), "path");
            let post = "POST /x HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n";
            assert_eq!(taken(&mut client, post), "404");
        });
        routes.reverse();
    }
}

#[test]
fn among_equals_the_first_in_the_file_takes_a_request() {
    on_each_driver(|driver| {
        let proxy =
            start(driver, &named(&[("a", "header = { X = 'a' }"), ("b", "query = { b = true }"), ("c", "")]));
        let mut client = proxy.client();
        assert_eq!(taken(&mut client, get_with("/?b", "X: a\r\n")), "a");
        assert_eq!(taken(&mut client, get("/?b")), "b");
        assert_eq!(taken(&mut client, get("/")), "c");
    });
}

#[test]
fn methods_fields_parameters_and_cookies_tell_requests_apart() {
    on_each_driver(|driver| {
        let proxy = start(
            driver,
            &named(&[
                ("delete", "method = ['DELETE', 'PURGE']"),
                ("exact", "header = { X-Kind = ['one', 'two'] }"),
                ("json", "header = { Accept = { contains = 'json' } }"),
                ("start", "header = { X-Part = { prefix = 'a-' } }"),
                ("end", "header = { X-Part = { suffix = '-z' } }"),
                ("match", "header = { X-Part = { regex = '^[0-9]+$' } }"),
                ("debug", "query = { debug = '1', 'a b' = true }"),
                ("param", "query = { p = { prefix = '\u{e9}' } }"),
                ("canary", "cookie = { canary = true, tier = ['gold', 'silver'] }"),
                ("bare", "header = { User-Agent = false, Cookie = false }"),
                ("rest", ""),
            ]),
        );
        let mut client = proxy.client();
        let agent = "User-Agent: x\r\n";
        for (target, fields, want) in [
            ("/", "X-Kind: one\r\n", "exact"),
            ("/", "x-KIND: two\r\n", "exact"),
            ("/", "X-Kind: three\r\nX-Kind: two\r\n", "exact"),
            ("/", "X-Kind: One\r\n", "rest"),
            ("/", "X-Kind: one, two\r\n", "rest"),
            ("/", "Accept: text/html\r\nAccept: application/json\r\n", "json"),
            ("/", "X-Part: a-b\r\n", "start"),
            ("/", "X-Part: b-z\r\n", "end"),
            ("/", "X-Part: 123\r\n", "match"),
            ("/", "X-Part: 123x\r\n", "rest"),
            ("/?debug=1&a+b", "", "debug"),
            ("/?debug=2&%61%20b=x&deb%75g=%31", "", "debug"),
            ("/?debug=1", "", "rest"),
            ("/?debug=1&ab=", "", "rest"),
            ("/?x=debug=1&a+b", "", "rest"),
            ("/?p=%C3%A9t%C3%A9", "", "param"),
            ("/", "Cookie: a=b; canary=; tier=gold\r\n", "canary"),
            ("/", "Cookie: canary=1\r\nCookie: tier=silver\r\n", "canary"),
            ("/", "Cookie: xcanary=1; tier=gold\r\n", "rest"),
            ("/", "Cookie: canary=1; tier=bronze\r\n", "rest"),
        ] {
            let fields = format!("{agent}{fields}");
            assert_eq!(taken(&mut client, get_with(target, &fields)), want, "{target} {fields}");
        }
        assert_eq!(taken(&mut client, get("/")), "bare");
        let by_method =
            |method: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\n{agent}Content-Length: 0\r\n\r\n");
        assert_eq!(taken(&mut client, by_method("DELETE")), "delete");
        assert_eq!(taken(&mut client, by_method("PURGE")), "delete");
        assert_eq!(taken(&mut client, by_method("delete")), "rest");
    });
}

#[test]
fn conditions_are_put_together_with_all_any_and_not() {
    on_each_driver(|driver| {
        let proxy = start(
            driver,
            &named(&[
                (
                    "nested",
                    "any = [{ header = { A = '1' }, not = { header = { B = true } } }, \
                     { all = [{ query = { c = true } }, { any = [{ method = 'GET' }, { cookie = { d = true } }] }] }]",
                ),
                ("neither", "not = { any = [{ header = { A = true } }, { header = { B = true } }] }"),
                ("rest", ""),
            ]),
        );
        let mut client = proxy.client();
        for (request, want) in [
            (get_with("/", "A: 1\r\n"), "nested"),
            (get_with("/", "A: 1\r\nB: 1\r\n"), "rest"),
            (get_with("/?c", "A: 1\r\nB: 1\r\n"), "nested"),
            (get("/"), "neither"),
            (get_with("/", "B: 1\r\n"), "rest"),
            ("PUT /?c HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nB: 1\r\n\r\n".to_owned(), "rest"),
            ("PUT /?c HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nCookie: d=\r\n\r\n".to_owned(), "nested"),
        ] {
            assert_eq!(taken(&mut client, &request), want, "{request:?}");
        }
    });
}

#[test]
fn a_client_is_where_it_connects_from_whatever_it_says() {
    on_each_driver(|driver| {
        let routes = named(&[("inside", "client = ['127.0.0.2/32', '10.0.0.0/8']"), ("outside", "")]);
        let proxy = start(driver, &routes);
        let mut outside = proxy.client();
        for fields in [
            "",
            "X-Forwarded-For: 10.0.0.1\r\n",
            "X-Forwarded-For: 127.0.0.2\r\nX-Real-IP: 127.0.0.2\r\nForwarded: for=127.0.0.2\r\n",
            "X_Forwarded_For: 10.0.0.1\r\n",
        ] {
            assert_eq!(taken(&mut outside, get_with("/", fields)), "outside", "{fields}");
        }
        let mut inside = from(&proxy, [127, 0, 0, 2]);
        for fields in ["", "X-Forwarded-For: 203.0.113.9\r\n"] {
            assert_eq!(taken(&mut inside, get_with("/", fields)), "inside", "{fields}");
        }
    });
}

#[test]
fn behind_a_trusted_proxy_a_client_is_the_closest_that_is_none() {
    on_each_driver(|driver| {
        let routes = named(&[
            ("inside", "client = '10.0.0.0/8'"),
            ("office", "client = ['2001:db8::/32', '::ffff:192.0.2.0/120']"),
            ("outside", ""),
        ]);
        let proxy = start(driver, &format!("trusted-proxy = ['127.0.0.2/32', '10.9.0.0/16']\n{routes}"));
        let mut trusted = from(&proxy, [127, 0, 0, 2]);
        for (fields, want) in [
            ("", "outside"),
            ("X-Forwarded-For: 10.0.0.1\r\n", "inside"),
            ("X-Forwarded-For: 10.0.0.1, 203.0.113.9\r\n", "outside"),
            ("X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 203.0.113.9\r\n", "outside"),
            ("X-Forwarded-For: 203.0.113.9, 10.0.0.1, 10.9.1.1\r\n", "inside"),
            ("X-Forwarded-For: 10.0.0.1, unknown\r\n", "outside"),
            ("X-Forwarded-For: 10.0.0.1, 203.0.113.9, 10.9.1.1\r\n", "outside"),
            ("X-Forwarded-For: 2001:db8::5\r\n", "office"),
            ("X_Forwarded_For: 10.0.0.1\r\n", "outside"),
        ] {
            assert_eq!(taken(&mut trusted, get_with("/", fields)), want, "{fields}");
        }
        let mut forged = proxy.client();
        assert_eq!(taken(&mut forged, get_with("/", "X-Forwarded-For: 10.0.0.1\r\n")), "outside");
    });
}

#[test]
fn listeners_tell_requests_apart() {
    on_each_driver(|driver| {
        let listeners =
            "[listener.web]\naddress = '127.0.0.1:0'\n[listener.inside]\naddress = '127.0.0.2:0'\n";
        let routes = named(&[("web", "listener = 'web'"), ("inside", "listener = 'inside'")]);
        let proxy = Setup::new(driver).listening_file(&format!("{listeners}{routes}")).start();
        let (one, other) = (proxy.address(), proxy.other_address());
        let names = [one, other].map(|address| taken(&mut Client::connect(address), get("/")));
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(sorted, ["inside", "web"]);
        for _ in 0..3 {
            assert_eq!(taken(&mut Client::connect(one), get("/")), names[0]);
            assert_eq!(taken(&mut Client::connect(other), get("/")), names[1]);
        }
    });
}
