//! One line per exchange, true and unforgeable, and never in the way.

use std::thread;

use crate::support::{
    Driver, Origin, PATIENCE, Proxy, Setup, Signal, get, get_with, ms, ok, on_each_driver, post,
};

fn logging(driver: Driver, origin: &Origin, format: &str) -> Proxy {
    Proxy::with(driver, origin, &["--access-log", format])
}

/// The value of a key of a JSON object on one line, as it is written.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let after = line.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key} in {line}")).1;
    match after.strip_prefix('"') {
        Some(text) => {
            let mut escaped = false;
            let end = text.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            &text[..end.unwrap()]
        }
        None => &after[..after.find([',', '}']).unwrap()],
    }
}

#[test]
fn nothing_is_logged_unless_asked_for() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let mut proxy = Proxy::to(driver, &origin);
        proxy.get("/");
        proxy.signal(Signal::TERM);
        proxy.wait(PATIENCE);
        assert_eq!(proxy.stdout(), "");
    });
}

#[test]
fn combined_lines_have_what_log_tools_expect_and_more() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let proxy = logging(driver, &origin, "combined");
        proxy.ask(get_with(
            "/a?b=c",
            "Referer: http://r/\r\nUser-Agent: agent/1.0 (x)\r\nX-Request-Id: id-1\r\n",
        ));
        let line = proxy.logged(&["id-1"]);
        let (start, rest) = line.split_once(" - - [").unwrap();
        assert_eq!(start, "127.0.0.1");
        let (date, rest) = rest.split_once("] ").unwrap();
        // 06/Nov/1994:08:49:37 +0000
        let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let (month, time) = (&date[3..6], &shape[6..]);
        assert!("JanFebMarAprMayJunJulAugSepOctNovDec".contains(month), "{line}");
        assert_eq!((&shape[..3], time), ("00/", "/0000:00:00:00 +0000"), "{line}");
        let want = format!(
            "\"GET /a?b=c HTTP/1.1\" 200 5 \"http://r/\" \"agent/1.0 (x)\" {} id-1 ",
            origin.address()
        );
        let rest = rest.strip_prefix(&want).unwrap_or_else(|| panic!("{line}"));
        let (times, reason) = rest.split_once(' ').unwrap();
        assert_eq!(reason, "done MISS");
        let times: Vec<f64> = times.split('/').map(|time| time.parse().unwrap()).collect();
        assert!(times.len() == 3 && times[1] <= times[2], "{line}");

        proxy.ask(get_with("/again", "X-Request-Id: id-2\r\n"));
        let line = proxy.logged(&["id-2"]);
        assert!(
            line.contains("\"-\" \"-\"") && line.contains(" -/"),
            "a connection used again was not opened: {line}"
        );
    });
}

#[test]
fn json_lines_have_every_value() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while peer.request().is_some() {
                peer.sleep(ms(120));
                peer.send("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                peer.sleep(ms(120));
                peer.send("5\r\nworld\r\n0\r\n\r\n");
            }
        });
        let proxy = logging(driver, &origin, "json");
        proxy.ask(
            "POST /a?b=c HTTP/1.1\r\nHost: example.com:81\r\nReferer: http://r/\r\nUser-Agent: agent \"1\"\r\nX-Request-Id: id-1\r\n\
             Content-Length: 2\r\n\r\nhi",
        );
        let line = proxy.logged(&["id-1"]);
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        let upstream = origin.address().to_string();
        for (key, want) in [
            ("client", "127.0.0.1"),
            ("method", "POST"),
            ("host", "example.com:81"),
            ("target", "/a?b=c"),
            ("version", "HTTP/1.1"),
            ("status", "201"),
            ("bytes", "10"),
            ("referer", "http://r/"),
            ("user_agent", "agent \\\"1\\\""),
            ("request_id", "id-1"),
            ("upstream", &upstream),
            ("reason", "done"),
        ] {
            assert_eq!(value(&line, key), want, "{key}: {line}");
        }
        assert!(value(&line, "time").ends_with("GMT"));
        let time = |key| value(&line, key).parse::<f64>().unwrap();
        assert!(time("connect_ms") < time("total_ms"), "{line}");
        assert!(time("first_byte_ms") >= 120.0 && time("first_byte_ms") < time("total_ms"), "{line}");
        assert!(time("total_ms") >= 240.0, "{line}");
    });
}

#[test]
fn a_line_cannot_be_forged() {
    const FORGED: &str = "9.9.9.9 - - [x] \"GET /forged HTTP/1.1\" 200 0";
    on_each_driver(|driver| {
        let origin = Origin::answering(ok(""));
        for format in ["combined", "json"] {
            let proxy = logging(driver, &origin, format);
            let quoted = format!("\"}}{FORGED}{{\"");
            // What cannot stand in a request is refused; what can is escaped.
            for target in ["/a\"b", "/a\\", "/a%0A%22", &format!("/{}", "%0a".repeat(100))] {
                let _ = proxy.get(target);
            }
            proxy.ask(get_with("/fields", &format!("User-Agent: {quoted}\r\nReferer: \\\\{quoted}\\\r\n")));
            proxy.ask(get_with("/eight-bit", "User-Agent: \u{e9}\u{85}\u{9b}1m\r\n"));
            proxy.ask(format!("GET /x\n{FORGED} HTTP/1.1\r\nHost: a\r\n\r\n"));
            proxy.ask(get_with("/cr", &format!("User-Agent: a\r{FORGED}\r\n")));
            proxy.ask(get_with("/id", &format!("X-Request-Id: {FORGED}\r\n")));
            proxy.ask(get_with("/last", ""));
            proxy.logged(&["/last"]);
            let lines = proxy.stdout();
            assert_eq!(lines.lines().count(), 10, "{lines}");
            for line in lines.lines() {
                assert!(line.is_ascii() && !line.contains(|c: char| c.is_ascii_control()), "{line:?}");
                assert!(!line.starts_with("9.9.9.9"), "{line}");
                if format == "json" {
                    assert!(line.starts_with("{\"") && value(line, "client") == "127.0.0.1", "{line}");
                    assert!(
                        value(line, "reason").bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                        "{line}"
                    );
                } else {
                    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
                }
            }
        }
    });
}

/// The line of an exchange that ended in some other way than it should.
fn line_of(proxy: &Proxy, target: &str) -> String {
    proxy.logged(&[&format!("\"target\":\"{target}\"")])
}

#[test]
fn lines_say_why_an_exchange_ended() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(head) = peer.head() {
                match head.target() {
                    "/truncated" => {
                        return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
                    }
                    "/closed" => return,
                    "/garbage" => return peer.send("garbage\r\n\r\n"),
                    "/never" => return peer.hang(),
                    "/endless" => {
                        peer.send("HTTP/1.1 200 OK\r\n\r\n");
                        while peer.try_send([0; 64 * 1024]) {}
                        return;
                    }
                    _ => {}
                }
                if peer.content(head).is_none() {
                    return;
                }
                peer.send(ok("hello"));
            }
        });
        let proxy = Setup::new(driver)
            .origin(&origin)
            .args(&[
                "--access-log",
                "json",
                "--first-byte-timeout",
                "1s",
                "--body-timeout",
                "1s",
                "--head-timeout",
                "1s",
            ])
            .start();
        let expect = |target: &str, reason: &str, status: &str| {
            let line = line_of(&proxy, target);
            assert_eq!((value(&line, "reason"), value(&line, "status")), (reason, status), "{line}");
            line
        };

        let mut client = proxy.client();
        client.send(get("/truncated"));
        client.broken_response();
        assert_eq!(value(&expect("/truncated", "upstream_truncated", "200"), "bytes"), "5");
        proxy.get("/closed");
        expect("/closed", "upstream_closed", "502");
        proxy.get("/garbage");
        expect("/garbage", "upstream_bad_head", "502");
        proxy.get("/never");
        expect("/never", "upstream_first_byte_timeout", "504");
        proxy.ask(get_with("/loop", "Via: 1.1 ringway\r\n"));
        expect("/loop", "loop", "508");
        proxy.ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
        expect("a:1", "connect_refused", "501");
        proxy
            .ask("POST /both HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
        expect("/both", "length_and_coding", "400");
        proxy.ask("POST /stalled HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        expect("/stalled", "body_timeout", "408");
        assert_eq!(proxy.ask("GET /dripping").status(), 408);
        proxy.logged(&["\"reason\":\"head_timeout\""]);

        let mut client = proxy.client();
        client.send(get("/endless"));
        client.head();
        client.reset();
        expect("/endless", "client_closed", "200");
        let mut client = proxy.client();
        client.send("POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello");
        thread::sleep(ms(50));
        drop(client);
        expect("/cut", "client_closed", "0");
    });
}

#[test]
fn lines_are_written_within_a_moment_and_all_of_them_before_the_end() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok(""));
        let mut proxy = logging(driver, &origin, "combined");
        proxy.get("/first");
        proxy.logged(&["/first"]);
        let mut client = proxy.client();
        for count in 0..500 {
            client.ask(get(&format!("/{count}")));
        }
        drop(client);
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
        proxy.logged(&["/499 "]);
        assert_eq!(proxy.stdout().lines().count(), 501);
    });
}

#[test]
fn a_reader_that_never_reads_does_not_hold_the_proxy_up() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok(""));
        let mut proxy =
            Setup::new(driver).origin(&origin).args(&["--access-log", "json"]).output_unread().start();
        // Each line is some kilobytes long: far more than a pipe holds.
        let request = post(&format!("/{}", "x".repeat(8000)), b"");
        let before = proxy.resident_kib();
        let mut client = proxy.client();
        for _ in 0..2000 {
            assert_eq!(client.ask(&request).status(), 200);
        }
        let grown = proxy.resident_kib().saturating_sub(before);
        assert!(grown < 128 * 1024, "{grown} KiB more");
        drop(client);
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
    });
}

#[test]
fn a_reader_that_has_gone_does_not_end_the_proxy() {
    on_each_driver(|driver| {
        let origin = Origin::answering(ok("hello"));
        let mut proxy =
            Setup::new(driver).origin(&origin).args(&["--access-log", "combined"]).output_unread().start();
        proxy.close_output();
        for _ in 0..5 {
            assert_eq!(proxy.get("/").text(), "hello");
            thread::sleep(ms(120));
        }
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait(PATIENCE).code(), Some(0));
    });
}

#[test]
fn a_tunnel_and_a_request_without_an_answer_have_lines_too() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
                );
                peer.until_end();
            }
        });
        let proxy = logging(driver, &origin, "json");
        let mut client = proxy.client();
        client.send(get_with("/tunnel", "Connection: upgrade\r\nUpgrade: x\r\n"));
        client.head();
        assert_eq!(client.exactly(5), b"hello");
        client.finish();
        client.expect_end();
        let line = line_of(&proxy, "/tunnel");
        assert_eq!(
            (value(&line, "status"), value(&line, "bytes"), value(&line, "reason")),
            ("101", "5", "done")
        );
        let mut client = proxy.client();
        client.send("GET /half HTTP/1.1\r\n");
        client.finish();
        client.until_end();
        proxy.logged(&["\"reason\":\"client_closed\""]);
    });
}
