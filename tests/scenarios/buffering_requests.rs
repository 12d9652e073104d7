//! Content of requests that is held until it is whole before an upstream is asked.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;

use crate::support::message::in_random_chunks;
use crate::support::proxy::run;
use crate::support::upstreams::then;
use crate::support::{
    Client, Driver, End, File, Origin, PATIENCE, Proxy, Setup, assert_same, chunk, eventually, get, ms,
    noise, ok, on_each_driver, place, post, post_chunked_head,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A directory that goes with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = place("held");
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Before these endpoints, holding requests like that.
fn before(driver: Driver, endpoints: &str, lines: &str, how: &str) -> Proxy {
    let text = format!(
        "no-cache = true\n[upstream.app]\nendpoints = [{endpoints}]\n{lines}\n[[route]]\nupstream = 'app'\n\
         buffer-request = {how}\nbody-timeout = '2s'\n"
    );
    Setup::new(driver).admin().args(&["--access-log", "combined"]).file(&text).start()
}

fn to(driver: Driver, origin: &Origin, how: &str) -> Proxy {
    before(driver, &format!("'{}'", origin.endpoint()), "", how)
}

/// What the proxy has counted of what it held.
fn counted(proxy: &Proxy, name: &str) -> u64 {
    let mut stream = UnixStream::connect(proxy.admin().strip_prefix("unix:").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/status").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let said: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    said["held"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {said}"))
}

fn put(target: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("PUT {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

#[test]
fn slow_uploads_leave_the_upstream_to_others() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let directory = Directory::new();
        let how = format!("{{ memory = '4KiB', dir = '{}' }}", directory.0.display());
        let endpoint = format!("'{}'", origin.endpoint());
        let proxy = before(driver, &endpoint, "max-requests = 1\nmax-waiting = 60", &how);
        let content = noise(20 * KIB, 3);
        let request = post("/slow", &content);
        let mut slow: Vec<Client> = (0..50).map(|_| proxy.client()).collect();
        for (at, client) in slow.iter_mut().enumerate() {
            client.send(&request[..1000 + at * 350]);
        }
        // The only place at the upstream is free.
        for _ in 0..5 {
            assert_eq!(proxy.get("/fast").text(), "/fast ");
        }
        assert_eq!(origin.requests().len(), 5);
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0, "the files have no names");
        for (at, client) in slow.iter_mut().enumerate() {
            client.send(&request[1000 + at * 350..]);
        }
        for client in &mut slow {
            let response = client.response();
            assert_eq!(response.status(), 200);
            assert_same(&response.body()[6..], &content);
        }
        assert_eq!(counted(&proxy, "requests"), 50);
        assert_eq!(counted(&proxy, "requests_in_files"), 50);
    });
}

#[test]
fn chunked_content_becomes_known_and_what_follows_it_survives() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let directory = Directory::new();
        for (length, memory) in [(0, "4KiB"), (3 * KIB, "64KiB"), (300 * KIB, "1MiB"), (10 * MIB, "64KiB")] {
            let how = format!("{{ memory = '{memory}', dir = '{}' }}", directory.0.display());
            let proxy = to(driver, &origin, &how);
            let content = noise(length, 5);
            let mut request = post_chunked_head("/chunked", "").into_bytes();
            request.extend(in_random_chunks(&content, 50_000, 7));
            request.extend(get("/behind").as_bytes());
            let mut client = proxy.client();
            let mut sender = client.sender();
            thread::scope(|scope| {
                scope.spawn(move || {
                    // The end of the head, and of the content, come apart from what is around them.
                    for piece in request.chunks(100_001) {
                        sender.send(piece);
                    }
                });
                let response = client.response();
                assert_same(&response.body()[9..], &content);
                assert_eq!(client.response().text(), "/behind ");
            });
            let seen = origin.requests();
            let seen = &seen[seen.len() - 2];
            assert_eq!(seen.field("content-length"), Some(&*length.to_string()));
            assert_eq!(seen.field("transfer-encoding"), None);
        }
    });
}

#[test]
fn trailer_fields_go_with_the_content() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let directory = Directory::new();
        let how = format!("{{ memory = '4KiB', dir = '{}' }}", directory.0.display());
        let proxy = to(driver, &origin, &how);
        for length in [100, 1000 * KIB] {
            let content = noise(length, 9);
            let mut client = proxy.client();
            client.send(post_chunked_head("/", "Trailer: X-Sum\r\n"));
            thread::sleep(ms(50));
            client.send(chunk(&content));
            client.send("0\r\nX-Sum: 12\r\n\r\n");
            assert_same(&client.response().body()[2..], &content);
            let seen = origin.received(0);
            assert!(seen.ends_with(b"0\r\nX-Sum: 12\r\n\r\n"), "trailers arrive");
        }
    });
}

#[test]
fn a_client_that_waits_is_asked_by_the_proxy() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = to(driver, &origin, "true");
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.head().status(), 100);
        assert_eq!(origin.connections(), 0);
        client.send("hello");
        assert_eq!(client.response().text(), "/ hello");
        assert_eq!(origin.request().field("expect"), None);
        // Nobody is asked for what is refused.
        let proxy = to(driver, &origin, "{ memory = '4KiB', file = 'off' }");
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.response().status(), 413);
    });
}

#[test]
fn a_client_that_leaves_takes_all_with_it() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let directory = Directory::new();
        let how = format!("{{ memory = '4KiB', dir = '{}', total = '2MiB' }}", directory.0.display());
        let proxy = to(driver, &origin, &how);
        let before = proxy.descriptors_at_rest();
        let request = post("/", &noise(MIB, 1));
        // More than all together may have, one after the other.
        for round in 0..6 {
            let mut client = proxy.client();
            client.send(&request[..request.len() - 1]);
            thread::sleep(ms(50));
            if round % 2 == 0 {
                client.reset();
            } else {
                drop(client);
            }
            thread::sleep(ms(50));
        }
        eventually("all files are closed", || proxy.descriptors() <= before);
        assert_eq!(origin.connections(), 0);
        assert_eq!(proxy.ask(&request).status(), 200, "there is room again");
    });
}

#[test]
fn content_that_does_not_come_in_time_is_a_408() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = to(driver, &origin, "true");
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell");
        let response = client.response();
        assert_eq!((response.status(), response.says_close()), (408, true));
        assert_eq!(origin.connections(), 0);
    });
}

#[test]
fn more_than_a_request_may_have_is_a_413() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let directory = Directory::new();
        let dir = directory.0.display();
        for (how, most) in [
            ("{ memory = '4KiB', file = 'off' }".to_owned(), 4 * KIB),
            (format!("{{ memory = '4KiB', file = '64KiB', dir = '{dir}' }}"), 68 * KIB),
        ] {
            let proxy = to(driver, &origin, &how);
            let ask = |head: String, content: &[u8]| {
                let mut client = proxy.client();
                client.send(head);
                thread::sleep(ms(50));
                client.send(content);
                client.response()
            };
            for length in [most, most + 1] {
                let content = noise(length, 4);
                let known = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
                let chunked = in_random_chunks(&content, 5000, 4);
                let want = if length > most { 413 } else { 200 };
                assert_eq!(ask(known, &content).status(), want, "{how}");
                assert_eq!(ask(post_chunked_head("/", ""), &chunked).status(), want, "{how}");
            }
            let sizes: Vec<_> = origin.requests().iter().map(|request| request.body().len()).collect();
            assert!(sizes.iter().all(|&size| size <= most), "{sizes:?}");
        }
    });
}

#[test]
fn more_than_all_may_have_together_is_a_503() {
    on_each_driver(|driver| {
        let origin = Origin::echo();
        let proxy = to(driver, &origin, "{ memory = '64KiB', file = 'off', total = '64KiB' }");
        let request = post("/", &noise(40 * KIB, 1));
        let mut first = proxy.client();
        first.send(&request[..request.len() - 1]);
        thread::sleep(ms(200));
        let mut second = proxy.client();
        assert!(second.try_send(&request));
        let response = second.response();
        assert_eq!((response.status(), response.says_close()), (503, true));
        assert_eq!(response.field("retry-after"), Some("5"));
        proxy.logged(&["storage_full"]);
        eventually("it is told", || proxy.stderr().contains("all together would be more than 65536 bytes"));
        first.send(&request[request.len() - 1..]);
        assert_eq!(first.response().status(), 200);
        eventually("there is room again", || proxy.ask(&request).status() == 200);
    });
}

/// Asks for more than fits into memory, and expects that it is refused and forgotten.
fn assert_refused(driver: Driver, directory: &Path, length: usize) {
    let origin = Origin::echo();
    let how = format!("{{ memory = '4KiB', dir = '{}' }}", directory.display());
    let proxy = to(driver, &origin, &how);
    let before = proxy.descriptors_at_rest();
    for _ in 0..10 {
        let mut client = proxy.client();
        let mut sender = client.sender();
        thread::scope(|scope| {
            scope.spawn(move || sender.try_send(post("/", &noise(length, 1))));
            let response = client.response();
            assert_eq!((response.status(), response.says_close()), (503, true));
        });
    }
    proxy.logged(&["storage_failed"]);
    let files = format!("content of requests cannot be held: files in {}: ", directory.display());
    eventually("it is told", || proxy.stderr().contains(&files));
    assert_eq!(proxy.stderr().matches(&files).count(), 1, "not of each of them");
    eventually("all files are closed", || proxy.descriptors() <= before);
    assert_eq!(origin.connections(), 0);
    // What fits into memory needs no file.
    assert_eq!(proxy.ask(post("/", &noise(3000, 1))).status(), 200);
}

#[test]
fn a_place_that_takes_no_files_is_a_503() {
    on_each_driver(|driver| {
        let file = File::new("not a directory");
        assert_refused(driver, Path::new(file.path()), 200 * KIB);
        assert_refused(driver, Path::new("/proc/self"), 200 * KIB);
    });
}

#[test]
fn a_disk_that_is_full_is_a_503() {
    let directory = Directory::new();
    let mount = |args: &[&str]| Command::new(args[0]).args(&args[1..]).arg(&directory.0).status();
    let mounted = mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "held"]);
    if !mounted.is_ok_and(|status| status.success()) {
        return println!("left out: no small file system can be mounted here");
    }
    let tested = std::panic::catch_unwind(|| {
        on_each_driver(|driver| assert_refused(driver, &directory.0, 4 * MIB));
    });
    assert!(mount(&["umount", "-l"]).unwrap().success());
    tested.unwrap();
}

#[test]
fn held_content_is_sent_again_where_the_method_allows_it() {
    on_each_driver(|driver| {
        let directory = Directory::new();
        for (length, memory) in [(50 * KIB, "64KiB"), (3 * MIB, "64KiB"), (3 * MIB, "8MiB")] {
            let dying = Origin::start(|peer| {
                peer.request();
                peer.reset();
            });
            let living = Origin::echo();
            let endpoints = then(&dying.endpoint(), &living.endpoint());
            let how = format!("{{ memory = '{memory}', dir = '{}' }}", directory.0.display());
            let proxy = before(driver, &endpoints, "retry-on = ['reset']", &how);
            let content = noise(length, 8);
            let response = proxy.ask(put("/put", &content));
            assert_eq!(response.status(), 200, "{length} {memory}");
            assert_same(&response.body()[5..], &content);
            assert_eq!((dying.requests().len(), living.requests().len()), (1, 1));
            let response = proxy.ask(post("/post", &content));
            assert_eq!(response.status(), 502);
            assert!(living.requests().iter().all(|request| request.head.method() == "PUT"));
        }
    });
}

#[test]
fn an_answer_before_the_end_of_held_content_arrives() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            peer.head();
            peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            peer.sleep(ms(300));
        });
        let proxy = to(driver, &origin, "{ memory = '32MiB', file = 'off' }");
        let response = proxy.ask(post("/", &noise(30 * MIB, 1)));
        assert_eq!((response.status(), response.text().as_str()), (403, "no"));
    });
}

#[test]
fn a_route_may_do_without_and_a_listener_may_say_it_for_all() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(head) = peer.head() {
                let seen = head.target().to_owned();
                if seen == "/streamed" {
                    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
                }
                if peer.content(head).is_none() {
                    return;
                }
                peer.send(ok(seen));
            }
        });
        let text = format!(
            "
            no-cache = true
            [listener.default]
            address = '127.0.0.1:0'
            buffer-request = true
            [upstream.app]
            endpoints = ['{}']
            [[route]]
            path = '/streamed'
            upstream = 'app'
            buffer-request = false
            buffer-response = true
            [[route]]
            upstream = 'app'
            buffer-response = true
            ",
            origin.endpoint()
        );
        let proxy = Setup::new(driver).listening_file(&text).start();
        let head = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
        let mut streamed = proxy.client();
        streamed.send(head("/streamed"));
        assert_eq!(streamed.head().status(), 100, "the upstream is asked at once");
        let mut held = proxy.client();
        held.send(head("/held"));
        thread::sleep(ms(200));
        assert_eq!(origin.connections(), 1);
        for (client, path) in [(&mut streamed, "/streamed"), (&mut held, "/held")] {
            client.send("abc");
            assert_eq!(client.response().text(), path);
        }
        assert_eq!(held.stream().peer_addr().unwrap(), proxy.address());
        held.finish();
        assert_eq!(held.expect_end(), End::Closed);
    });
}

#[test]
fn what_is_held_is_explained() {
    let file = File::new(
        "
        [listener.web]
        address = '127.0.0.1:8080'
        buffer-request = { memory = '8KiB', file = 'off' }
        buffer-response = true
        [upstream.app]
        endpoints = ['127.0.0.1:9']
        [[route]]
        name = 'files'
        path-prefix = '/files'
        upstream = 'app'
        buffer-request = true
        buffer-response = false
        [[route]]
        path = '/own'
        respond = 'x'
        [[route]]
        upstream = 'app'
        ",
    );
    let explain = |path: &str| {
        let said = run(&["explain", "--config", file.path(), &format!("http://127.0.0.1:8080{path}")], &[]);
        said.stdout
            .lines()
            .filter(|line| line.contains("buffer-"))
            .map(|line| line.trim_start_matches("checks").trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        explain("/files/a"),
        [
            "buffer-request: content is held until it is whole: 64KiB in memory and 1GiB more in a file in /var/tmp; \
          4GiB of all requests (route files)"
        ]
    );
    assert_eq!(
        explain("/"),
        [
            "buffer-request: content is held until it is whole: 8KiB in memory and no more; 4GiB of all requests \
             (listener web)",
            "buffer-response: up to 1MiB are taken ahead of the client; 512MiB of all responses (listener web)",
        ]
    );
    assert_eq!(explain("/own"), [""; 0]);
}

#[test]
fn a_place_that_takes_no_files_is_told_before_it_is_needed() {
    let how = "[upstream.app]\nendpoints = '127.0.0.1:9'\n[[route]]\nupstream = 'app'\n\
               buffer-request = { dir = '/proc/self' }\n";
    let file = File::new(how);
    let run = run(&["check", "--config", file.path()], &[]);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(said.contains("`/proc/self` takes no files ("), "{said}");
}
