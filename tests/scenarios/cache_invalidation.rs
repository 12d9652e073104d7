//! Requests that change a resource remove what is stored of it (RFC 9111, section 4.4).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use crate::support::cache::{Workers, answer, page};
use crate::support::{Origin, Proxy, get, get_with, on_one_and_many_workers};

/// A resource with a state, counted up by each request that is not safe; those are answered so.
fn stateful(status: &'static str, fields: &'static str) -> Origin {
    let state = AtomicUsize::new(0);
    Origin::replying(move |request| match request.head.method() {
        "GET" => page("Cache-Control: max-age=100\r\n", &state.load(Ordering::SeqCst).to_string()),
        _ => {
            state.fetch_add(1, Ordering::SeqCst);
            answer(status, fields, "done")
        }
    })
}

fn unsafely(proxy: &Proxy, method: &str, target: &str) -> u16 {
    proxy
        .ask(format!("{method} {target} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\nx"))
        .status()
}

#[test]
fn whoever_has_changed_something_reads_what_they_wrote() {
    on_one_and_many_workers(|workers| {
        let origin = stateful("200 OK", "");
        let proxy = workers.proxy(&origin);
        for (state, method) in ["POST", "PUT", "DELETE", "PATCH", "LOCK"].iter().enumerate() {
            // On several connections, so that every worker has a copy.
            for _ in 0..8 {
                assert_eq!(proxy.get("/").text(), state.to_string());
            }
            assert_eq!(unsafely(&proxy, method, "/"), 200);
            for _ in 0..8 {
                assert_eq!(proxy.get("/").text(), (state + 1).to_string(), "{method}");
            }
        }
    });
}

#[test]
fn writers_on_every_worker_read_what_they_wrote() {
    on_one_and_many_workers(read_your_writes);
}

fn read_your_writes(workers: Workers) {
    let state = Arc::new(AtomicUsize::new(0));
    let written = state.clone();
    let origin = Origin::replying(move |request| match request.head.method() {
        "GET" => page("Cache-Control: max-age=100\r\n", &written.load(Ordering::SeqCst).to_string()),
        _ => page("", &(written.fetch_add(1, Ordering::SeqCst) + 1).to_string()),
    });
    let proxy = workers.proxy(&origin);
    let together = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (mut writer, mut reader) = (proxy.client(), proxy.client());
                together.wait();
                for _ in 0..50 {
                    reader.ask(get("/"));
                    let post = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n";
                    let wrote: usize = writer.ask(post).text().parse().unwrap();
                    let read: usize = reader.ask(get("/")).text().parse().unwrap();
                    assert!(read >= wrote, "read {read} after writing {wrote}");
                }
            });
        }
    });
}

#[test]
fn redirects_of_such_requests_count_and_errors_do_not() {
    on_one_and_many_workers(|workers| {
        for (status, changes) in [
            ("201 Created", true),
            ("204 No Content", true),
            ("303 See Other", true),
            ("400 Bad", false),
            ("404 Not Found", false),
            ("500 Oops", false),
            ("503 Busy", false),
        ] {
            let state = AtomicUsize::new(0);
            let origin = Origin::replying(move |request| match request.head.method() {
                "GET" => page("Cache-Control: max-age=100\r\n", &state.load(Ordering::SeqCst).to_string()),
                _ => {
                    state.fetch_add(1, Ordering::SeqCst);
                    format!(
                        "HTTP/1.1 {status}\r\n{}\r\n",
                        if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" }
                    )
                    .into_bytes()
                }
            });
            let proxy = workers.proxy(&origin);
            assert_eq!(proxy.get("/").text(), "0");
            assert_eq!(unsafely(&proxy, "POST", "/").to_string(), status[..3]);
            assert_eq!(proxy.get("/").text(), if changes { "1" } else { "0" }, "{status}");
        }
    });
}

#[test]
fn safe_requests_remove_nothing() {
    on_one_and_many_workers(|workers| {
        let origin = stateful("200 OK", "");
        let proxy = workers.with(&origin, &["--trace"]);
        proxy.get("/");
        for method in ["OPTIONS", "TRACE", "HEAD"] {
            let mut client = proxy.client();
            client.send(format!("{method} / HTTP/1.1\r\nHost: example.com\r\n\r\n"));
            client.response_to(method);
            proxy.get("/").expect(200, "0", "HIT");
        }
    });
}

#[test]
fn what_the_answer_names_on_the_same_host_goes_too() {
    on_one_and_many_workers(|workers| {
        for (field, gone) in [
            ("Location: /other\r\n", true),
            ("Location: other\r\n", true),
            ("Location: http://example.com/other\r\n", true),
            ("Location: https://EXAMPLE.com/other#x\r\n", true),
            ("Location: //example.com/x/../other\r\n", true),
            ("Content-Location: /other\r\n", true),
            ("Location: /elsewhere\r\nContent-Location: /other\r\n", true),
            ("Location: http://other.example/other\r\n", false),
            ("Content-Location: http://example.com:81/other\r\n", false),
            ("Link: </other>\r\n", false),
        ] {
            let origin = stateful("201 Created", field);
            let proxy = workers.proxy(&origin);
            proxy.get("/other").expect(200, "0", "MISS");
            proxy.get("/bystander").expect(200, "0", "MISS");
            assert_eq!(unsafely(&proxy, "POST", "/items"), 201);
            assert_eq!(proxy.get("/other").text(), if gone { "1" } else { "0" }, "{field}");
            proxy.get("/bystander").expect(200, "0", "HIT");
        }
    });
}

#[test]
fn another_host_cannot_remove_what_is_not_its_own() {
    on_one_and_many_workers(|workers| {
        let origin = stateful("201 Created", "Location: http://example.com/\r\n");
        let proxy = workers.proxy(&origin);
        proxy.get("/").expect(200, "0", "MISS");
        let post = "POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(proxy.ask(post).status(), 201);
        proxy.get("/").expect(200, "0", "HIT");
    });
}

#[test]
fn every_variant_goes() {
    on_one_and_many_workers(|workers| {
        let state = AtomicUsize::new(0);
        let origin = Origin::replying(move |request| match request.head.method() {
            "GET" => {
                let text = format!("{}{}", request.field("X-Kind").unwrap(), state.load(Ordering::SeqCst));
                page("Cache-Control: max-age=100\r\nVary: X-Kind\r\n", &text)
            }
            _ => page("", &state.fetch_add(1, Ordering::SeqCst).to_string()),
        });
        let proxy = workers.proxy(&origin);
        let ask = |kind: &str| proxy.ask(get_with("/", &format!("X-Kind: {kind}\r\n"))).text();
        assert_eq!((ask("a"), ask("b")), ("a0".to_owned(), "b0".to_owned()));
        assert_eq!(unsafely(&proxy, "PUT", "/"), 200);
        assert_eq!((ask("a"), ask("b")), ("a1".to_owned(), "b1".to_owned()));
    });
}

#[test]
fn what_was_being_fetched_when_it_changed_is_not_stored() {
    on_one_and_many_workers(|workers| {
        let met = Arc::new(Barrier::new(2));
        let (origin_met, served) = (met.clone(), AtomicUsize::new(0));
        let origin = Origin::replying(move |request| match request.head.method() {
            "GET" if served.fetch_add(1, Ordering::SeqCst) == 0 => {
                origin_met.wait();
                origin_met.wait();
                page("Cache-Control: max-age=100\r\n", "old")
            }
            "GET" => page("Cache-Control: max-age=100\r\n", "new"),
            _ => page("", "done"),
        });
        let proxy = workers.proxy(&origin);
        let mut slow = proxy.client();
        slow.send(get("/"));
        met.wait();
        assert_eq!(unsafely(&proxy, "POST", "/"), 200);
        // Whoever comes after the change does not join what began before it.
        proxy.get("/").expect(200, "new", "MISS");
        met.wait();
        assert_eq!(slow.response().text(), "old");
        for _ in 0..4 {
            proxy.get("/").expect(200, "new", "HIT");
        }
    });
}
