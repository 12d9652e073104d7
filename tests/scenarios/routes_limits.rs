//! Limits of listeners, upstreams and routes; several of each.

use std::time::Instant;

use crate::support::proxy::{deaf_port, refusing_port};
use crate::support::{
    Client, Driver, Origin, Proxy, Setup, assert_limit, get, ms, ok, on_each_driver, place, post,
    post_chunked_head,
};

fn start(driver: Driver, text: &str) -> Proxy {
    Setup::new(driver).file(text).start()
}

/// An origin that takes requests and never answers.
fn silent() -> Origin {
    Origin::start(|peer| {
        peer.request();
        peer.hang();
    })
}

#[test]
fn content_is_limited_by_the_route_and_else_by_the_listener() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let text = format!(
            "
            origin = ['{}']
            max-body = '10B'
            [[route]]
            path = '/more'
            upstream = 'default'
            max-body = '20B'
            [[route]]
            path = '/less'
            upstream = 'default'
            max-body = '5B'
            [[route]]
            path = '/respond'
            respond = 'x'
            max-body = '5B'
            ",
            origin.url()
        );
        let proxy = start(driver, &text);
        for (path, most) in [("/more", 20), ("/less", 5), ("/respond", 5), ("/other", 10)] {
            let fits = vec![b'x'; most];
            assert_eq!(proxy.ask(post(path, &fits)).status(), 200, "{path}");
            let chunked = |content: &[u8]| {
                [post_chunked_head(path, "").as_bytes(), &crate::support::chunk(content), b"0\r\n\r\n"]
                    .concat()
            };
            assert_eq!(proxy.ask(chunked(&fits)).status(), 200, "{path}");
            let more = vec![b'x'; most + 1];
            for request in [post(path, &more), chunked(&more)] {
                let response = proxy.ask(request);
                assert_eq!((response.status(), response.says_close()), (413, true), "{path}");
            }
            let expecting = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
                most + 1
            );
            assert_eq!(proxy.ask(expecting).status(), 413, "{path}");
        }
        assert!(origin.requests().iter().all(|request| request.body().len() <= 20));
    });
}

#[test]
fn an_answer_is_waited_for_as_the_route_says_and_else_as_the_upstream_does() {
    on_each_driver(|driver| {
        let origin = silent();
        let text = format!(
            "
            [upstream.app]
            endpoints = '{0}'
            first-byte-timeout = '900ms'
            retries = 0
            [upstream.slow]
            endpoints = '{0}'
            retries = 0
            [[route]]
            path = '/route'
            upstream = 'app'
            first-byte-timeout = '300ms'
            [[route]]
            path = '/upstream'
            upstream = 'app'
            [[route]]
            path = '/slow'
            upstream = 'slow'
            first-byte-timeout = '500ms'
            ",
            origin.endpoint()
        );
        let proxy = start(driver, &text);
        for (path, limit) in [("/route", 300), ("/upstream", 900), ("/slow", 500)] {
            let started = Instant::now();
            assert_eq!(proxy.get(path).status(), 504, "{path}");
            assert_limit(started, ms(limit));
        }
    });
}

#[test]
fn a_response_that_stops_is_given_up_as_the_route_says() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            peer.hang();
        });
        let text = format!(
            "[upstream.app]\nendpoints = '{}'\nupstream-timeout = '900ms'\n\
             [[route]]\npath = '/route'\nupstream = 'app'\nupstream-timeout = '300ms'\n[[route]]\nupstream = 'app'\n",
            origin.endpoint()
        );
        let proxy = start(driver, &text);
        for (path, limit) in [("/route", 300), ("/upstream", 900)] {
            let mut client = proxy.client();
            let started = Instant::now();
            client.send(get(path));
            let (head, broken) = client.broken_response();
            assert_eq!((head.status(), broken.partial.as_slice()), (200, &b"hello"[..]));
            assert_limit(started, ms(limit));
        }
    });
}

#[test]
fn a_connection_is_tried_for_as_long_as_the_route_says() {
    on_each_driver(|driver| {
        let (deaf, _listener, _filling) = deaf_port();
        let text = format!(
            "[upstream.app]\nendpoints = '{deaf}'\nretries = 0\n[[route]]\nupstream = 'app'\nconnect-timeout = '300ms'\n"
        );
        let proxy = start(driver, &text);
        let started = Instant::now();
        assert_eq!(proxy.get("/").status(), 504);
        assert_limit(started, ms(300));
    });
}

#[test]
fn requests_are_sent_again_as_often_as_the_route_says() {
    on_each_driver(|driver| {
        let closing = Origin::start(|peer| {
            // Answers once, and closes when it is asked again: what is on a connection that was used before may go
            // out anew.
            peer.request();
            peer.send(ok("x"));
            peer.request();
        });
        let (refusing, _held) = refusing_port();
        let text = format!(
            "
            [upstream.app]
            endpoints = ['{refusing}', '{}']
            [[route]]
            path = '/never'
            upstream = 'app'
            retries = 0
            [[route]]
            path = '/again'
            upstream = 'app'
            retries = 3
            ",
            closing.endpoint()
        );
        let proxy = start(driver, &text);
        for _ in 0..6 {
            assert_eq!(proxy.get("/again").status(), 200);
        }
        let _ = proxy.get("/never");
    });
}

#[test]
fn heads_are_limited_by_the_listener_that_they_come_in_at() {
    on_each_driver(|driver| {
        let path = place("sock");
        let text = format!(
            "
            [listener.web]
            address = '127.0.0.1:0'
            head-timeout = '400ms'
            max-head = '1KiB'
            max-target = '100B'
            max-fields = 5
            max-body = '3B'
            [listener.inside]
            address = 'unix:{}'
            head-timeout = '30s'
            [[route]]
            respond = '{{listener}} {{client_ip}}'
            ",
            path.display()
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        let web = || proxy.client();
        let inside = || Client::connect_unix(&path);
        assert_eq!(web().ask(get("/")).text(), "web 127.0.0.1");
        assert_eq!(inside().ask(get("/")).text(), "inside unix");
        let long = format!("/{}", "x".repeat(100));
        let large = crate::support::get_with("/", &format!("X: {}\r\n", "y".repeat(1024)));
        let many = crate::support::get_with("/", &"X: y\r\n".repeat(5));
        for (request, status) in [
            (get(&long), 414),
            (large, 431),
            (many, 431),
            (String::from_utf8(post("/", b"four")).unwrap(), 413),
        ] {
            assert_eq!(web().ask(&request).status(), status);
            assert_eq!(inside().ask(&request).status(), 200);
        }
        let mut waiting = inside();
        waiting.send("GET / HT");
        let mut late = web();
        let started = Instant::now();
        late.send("GET / HT");
        assert_eq!(late.response().status(), 408);
        assert_limit(started, ms(400));
        waiting.send("TP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(waiting.response().status(), 200);
    });
}

#[test]
fn each_listener_keeps_idle_connections_for_its_own_time() {
    on_each_driver(|driver| {
        let path = place("sock");
        let text = format!(
            "[listener.web]\naddress = '127.0.0.1:0'\nkeep-alive-timeout = '600ms'\n\
             [listener.inside]\naddress = 'unix:{}'\nkeep-alive-timeout = '1h'\n[[route]]\nrespond = 'x'\n",
            path.display()
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        let (mut web, mut inside) = (proxy.client(), Client::connect_unix(&path));
        inside.ask(get("/"));
        web.ask(get("/"));
        web.expect_end();
        std::thread::sleep(ms(1_500));
        assert_eq!(inside.ask(get("/")).status(), 200);
    });
}

#[test]
fn one_listener_may_have_several_addresses() {
    on_each_driver(|driver| {
        let path = place("sock");
        let text = format!(
            "[listener.web]\naddress = ['127.0.0.1:0', '[::1]:0', 'unix:{}']\n[[route]]\nrespond = '{{listener}}'\n",
            path.display()
        );
        let proxy = Setup::new(driver).cores(2).listening_file(&text).start();
        let clients = [proxy.client(), Client::connect(proxy.other_address()), Client::connect_unix(&path)];
        for mut client in clients {
            for _ in 0..3 {
                assert_eq!(client.ask(get("/")).text(), "web");
            }
        }
    });
}

#[test]
fn unix_endpoints_and_ports_share_requests_by_weight() {
    on_each_driver(|driver| {
        let path = place("sock");
        let unix = Origin::start_unix(&path, |peer| {
            while peer.request().is_some() {
                peer.send(ok("unix"));
            }
        });
        let tcp = Origin::answering(ok("tcp"));
        let text = format!(
            "[upstream.app]\nendpoints = [{{ address = '{}', weight = 2 }}, '{}']\n[[route]]\nupstream = 'app'\n",
            unix.endpoint(),
            tcp.endpoint()
        );
        let proxy = start(driver, &text);
        let mut client = proxy.client();
        let answers: Vec<_> = (0..30).map(|_| client.ask(get("/")).text()).collect();
        assert_eq!(answers.iter().filter(|answer| *answer == "unix").count(), 20, "{answers:?}");
    });
}

#[test]
fn an_upstream_that_is_gone_fails_its_own_routes_only() {
    on_each_driver(|driver| {
        let good = Origin::answering(ok("good"));
        let (refusing, _held) = refusing_port();
        let text = format!(
            "[upstream.good]\nendpoints = '{}'\n[upstream.bad]\nendpoints = ['{refusing}', 'unix:/nonexistent/a.sock']\n\
             [[route]]\npath = '/bad'\nupstream = 'bad'\n[[route]]\nupstream = 'good'\n",
            good.endpoint()
        );
        let proxy = start(driver, &text);
        let mut client = proxy.client();
        for _ in 0..5 {
            assert!(matches!(client.ask(get("/bad")).status(), 502 | 503));
            assert_eq!(client.ask(get("/")).text(), "good");
        }
    });
}

#[test]
fn a_name_of_ones_own_is_told_only_to_upstreams_that_want_it() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.field("Host").unwrap_or("-")));
        let text = format!(
            "[upstream.own]\nendpoints = '{0}'\nupstream-host = true\n[upstream.asked]\nendpoints = '{0}'\n\
             [[route]]\npath = '/own'\nupstream = 'own'\n[[route]]\nupstream = 'asked'\n",
            origin.endpoint()
        );
        let proxy = start(driver, &text);
        let mut client = proxy.client();
        assert_eq!(client.ask(get("/own")).text(), origin.endpoint());
        assert_eq!(client.ask(get("/")).text(), "example.com");
    });
}
