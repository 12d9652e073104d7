//! Requests that are sent again: where to, how often, with what, and which never are.

use std::thread;
use std::time::Instant;

use crate::support::cache::fresh_head;
use crate::support::client::Response;
use crate::support::message::in_random_chunks;
use crate::support::origin::Peer;
use crate::support::upstreams::{Fleet, JSON, app, cached_app, expect_rest, reason, refusing, then};
use crate::support::{
    Client, Driver, Gate, Origin, PATIENCE, Proxy, Setup, assert_same, eventually, get, get_with, ms, noise,
    ok, on_each_driver, post,
};

/// Nobody is taken out, so that the first is asked each time, and there is always a retry to be had.
const LAX: &str = "eject = false\nretry-budget = '1000%'\n";

fn start(driver: Driver, endpoints: &str, lines: &str) -> Proxy {
    Setup::new(driver).admin().file(&app(endpoints, &format!("{LAX}{lines}"))).start()
}

/// A proxy that asks the second endpoint only once it has asked the first.
fn in_front(driver: Driver, first: &Origin, second: &Origin, lines: &str) -> Proxy {
    start(driver, &then(&first.endpoint(), &second.endpoint()), lines)
}

/// An endpoint that does this with each request, once it has read it.
fn failing(how: impl Fn(&mut Peer) + Send + Sync + 'static) -> Origin {
    Origin::start(move |peer| {
        if peer.request().is_some() {
            how(peer);
        }
    })
}

/// A request with this method and a little content.
fn with_method(method: &str) -> Vec<u8> {
    format!("{method} /x HTTP/1.1\r\nHost: a\r\n{JSON}Content-Length: 2\r\n\r\nhi").into_bytes()
}

fn ask(proxy: &Proxy, method: &str) -> Response {
    let mut client = proxy.client();
    client.send(with_method(method));
    client.response_to(method)
}

const IDEMPOTENT: [&str; 5] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"];

const OTHERS: [&str; 3] = ["POST", "PATCH", "BREW"];

// ---- Without a connection -----------------------------------------------------------------------------------------

#[test]
fn whatever_was_never_sent_goes_to_another_endpoint() {
    on_each_driver(|driver| {
        let (refused, _held) = refusing();
        for endpoints in [
            |first: &str, second: &str| then(first, second),
            |first: &str, second: &str| format!("'{first}', '{second}'"),
        ] {
            let good = Origin::echo();
            let proxy = start(driver, &endpoints(&refused, &good.endpoint()), "");
            let mut sent = 0;
            for method in IDEMPOTENT.iter().chain(&OTHERS).filter(|method| **method != "HEAD") {
                for _ in 0..2 {
                    assert_eq!(ask(&proxy, method).text(), "/x hi", "{method}");
                    sent += 1;
                }
            }
            assert_eq!(good.requests().len(), sent, "each was sent once");
            // More content than any buffer holds was not sent either.
            let content = noise(1_000_000, 1);
            let mut client = proxy.client();
            let mut sender = client.sender();
            let request = post("/", &content);
            let sending = thread::spawn(move || sender.try_send(request));
            assert_same(client.response().body(), &[b"/ ", &content[..]].concat());
            assert!(sending.join().unwrap());
        }
    });
}

#[test]
fn a_refused_connection_is_no_reason_where_the_rule_is_off() {
    on_each_driver(|driver| {
        let (refused, _held) = refusing();
        let good = Origin::echo();
        for lines in ["retry-on = ['reset', '503']", "retry-on = []", "retries = 0"] {
            let proxy = start(driver, &then(&refused, &good.endpoint()), lines);
            let response = ask(&proxy, "GET");
            assert_eq!((response.status(), reason(&response).as_str()), (502, "upstream_refused"), "{lines}");
        }
        assert!(good.requests().is_empty());
    });
}

#[test]
fn each_endpoint_is_asked_for_a_connection_once() {
    on_each_driver(|driver| {
        let held: Vec<_> = (0..3).map(|_| refusing()).collect();
        let endpoints: String = held.iter().map(|(refused, _)| format!("'{refused}', ")).collect();
        let proxy = start(driver, &endpoints, "retries = 100");
        let response = ask(&proxy, "POST");
        assert_eq!((response.status(), reason(&response).as_str()), (502, "upstream_refused"));
        expect_rest(&proxy);
    });
}

// ---- Before the response ------------------------------------------------------------------------------------------

/// Ways to fail a request without an answer.
const BREAKS: [fn(&mut Peer); 2] = [|_| {}, Peer::reset];

#[test]
fn what_breaks_before_the_response_is_sent_again_if_that_makes_no_difference() {
    on_each_driver(|driver| {
        for how in BREAKS {
            for method in IDEMPOTENT {
                let (bad, good) = (failing(how), Origin::echo());
                let proxy = in_front(driver, &bad, &good, "");
                let response = ask(&proxy, method);
                assert_eq!(response.status(), 200, "{method}: {response:?}");
                assert_eq!((bad.requests().len(), good.requests().len()), (1, 1), "{method}");
                assert_eq!(good.request().body(), b"hi");
                assert_eq!(good.request().head.method(), method);
            }
        }
    });
}

#[test]
fn a_post_is_sent_once_whatever_becomes_of_it() {
    on_each_driver(|driver| {
        let busy = |peer: &mut Peer| {
            peer.send("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy")
        };
        let all: Vec<(fn(&mut Peer), u16)> = BREAKS
            .into_iter()
            .map(|how| (how, 502))
            .chain([(busy as _, 503), (Peer::hang as _, 504)])
            .collect();
        for (how, status) in all {
            let (bad, good) = (failing(how), Origin::echo());
            let lines = "retries = 5\nretry-on = ['connect', 'reset', 'timeout', '500-599']\nfirst-byte-timeout = '1s'";
            let proxy = in_front(driver, &bad, &good, lines);
            for (at, method) in OTHERS.iter().enumerate() {
                assert_eq!(ask(&proxy, method).status(), status, "{method}");
                assert_eq!(
                    (bad.requests().len(), good.requests().len()),
                    (at + 1, 0),
                    "{method} was sent again"
                );
            }
            // With content that comes behind the head, and longer than it.
            let mut client = proxy.client();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            thread::sleep(ms(30));
            client.send("5\r\nhello\r\n0\r\n\r\n");
            assert_eq!(client.response().status(), status);
            let mut client = proxy.client();
            client.send(post("/", &noise(30_000, 1)));
            assert_eq!(client.response().status(), status);
            assert_eq!((bad.requests().len(), good.requests().len()), (OTHERS.len() + 2, 0));
            expect_rest(&proxy);
        }
    });
}

#[test]
fn a_reset_is_no_reason_where_the_rule_is_off() {
    on_each_driver(|driver| {
        for lines in ["retry-on = ['connect', 'timeout', '503']", "retries = 0", "retry-budget = '0%'"] {
            let (bad, good) = (failing(Peer::reset), Origin::echo());
            // The lines may have a budget of their own.
            let text = app(&then(&bad.endpoint(), &good.endpoint()), &format!("eject = false\n{lines}"));
            let proxy = Setup::new(driver).admin().file(&text).start();
            assert_eq!(ask(&proxy, "GET").status(), 502, "{lines}");
            assert_eq!((bad.requests().len(), good.requests().len()), (1, 0));
        }
    });
}

#[test]
fn many_endpoints_are_asked_one_after_another_up_to_the_limit() {
    on_each_driver(|driver| {
        for (retries, status) in [(0, 502), (1, 502), (3, 200)] {
            let fleet = Fleet::new(4);
            (0..3).for_each(|number| fleet.kill(number, true));
            let endpoints = format!(
                "'{}', '{}', '{}', {{ address = '{}', backup = true }}",
                fleet.endpoint(0),
                fleet.endpoint(1),
                fleet.endpoint(2),
                fleet.endpoint(3)
            );
            let proxy = start(driver, &endpoints, &format!("retries = {retries}"));
            assert_eq!(ask(&proxy, "GET").status(), status);
            let asked = fleet.asked();
            assert_eq!(asked.iter().sum::<usize>(), retries + 1, "{asked:?}");
            assert!(asked.iter().all(|&asked| asked <= 1), "nobody is asked twice: {asked:?}");
        }
    });
}

#[test]
fn a_lone_endpoint_is_not_asked_again_for_it_may_be_the_request_that_breaks_it() {
    on_each_driver(|driver| {
        let flaky = Origin::start(|peer| {
            let fails = peer.index == 0;
            while peer.request().is_some() {
                if fails {
                    return peer.reset();
                }
                peer.send(ok("good"));
            }
        });
        let proxy = start(driver, &format!("'{}'", flaky.endpoint()), "");
        assert_eq!(proxy.get("/").status(), 502);
        assert_eq!(flaky.requests().len(), 1);
        assert_eq!(proxy.get("/").text(), "good");
    });
}

// ---- Statuses -----------------------------------------------------------------------------------------------------

/// An answer with that status and content.
fn status(status: &str, content: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{content}", content.len()).into_bytes()
}

#[test]
fn a_status_sends_a_request_elsewhere_where_the_rule_says_so() {
    on_each_driver(|driver| {
        let answers: [(u16, Vec<u8>); 4] = [
            (503, status("503 Busy", "busy")),
            (503, status("503 Busy", &"x".repeat(200_000))),
            (503, b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n".to_vec()),
            (503, b"HTTP/1.1 503 Busy\r\n\r\nbusy".to_vec()),
        ];
        for (code, answer) in answers {
            let (closes, answered) =
                (!answer.windows(7).any(|some| some == b"Content" || some == b"Transfe"), answer);
            let bad = Origin::start(move |peer| {
                while peer.request().is_some() {
                    peer.send(&answered);
                    if closes {
                        return;
                    }
                }
            });
            let good = Origin::echo();
            let proxy = in_front(driver, &bad, &good, "retry-on = ['connect', 'reset', '502-504']");
            for method in IDEMPOTENT {
                assert_eq!(ask(&proxy, method).status(), 200, "{method}");
            }
            let sent = IDEMPOTENT.len();
            assert_eq!((bad.requests().len(), good.requests().len()), (sent, sent));
            let response = ask(&proxy, "POST");
            assert_eq!(response.status(), code);
            assert_eq!((bad.requests().len(), good.requests().len()), (sent + 1, sent));
            // Elsewhere the rule does not say so.
            for lines in ["", "retry-on = ['connect', 'reset', 504]", "retry-on = [503]\nretries = 0"] {
                let proxy = in_front(driver, &bad, &good, lines);
                assert_eq!(ask(&proxy, "GET").status(), code, "{lines}");
            }
            assert_eq!(good.requests().len(), sent);
        }
    });
}

#[test]
fn the_last_answer_passes_on_when_no_try_is_left() {
    on_each_driver(|driver| {
        let (refused, _held) = refusing();
        for (others, retries, tries) in [(0, 2, 1), (0, 0, 1), (1, 1, 2), (2, 2, 3), (2, 1, 2), (1, 3, 2)] {
            let fleet = Fleet::answering(1 + others, |number| status("503 Busy", &format!("busy {number}")));
            let lines = format!("retry-on = ['connect', '503']\nretries = {retries}\nretry-backoff = '10ms'");
            let proxy = start(driver, &fleet.endpoints(), &lines);
            let response = proxy.get("/");
            assert_eq!(response.status(), 503, "{response:?}");
            assert!(response.text().starts_with("busy "), "{response:?}");
            assert_eq!(fleet.asked().iter().sum::<usize>(), tries);
            assert_eq!(proxy.get("/").status(), 503);
        }
        // Whoever refuses is no better than whoever is busy.
        let fleet = Fleet::answering(1, |_| status("503 Busy", "busy"));
        for endpoints in [format!("'{refused}', '{}'", fleet.endpoint(0)), then(&refused, &fleet.endpoint(0))]
        {
            for retries in [1, 2, 3, 6] {
                let lines =
                    format!("retry-on = ['connect', '503']\nretries = {retries}\nretry-backoff = '10ms'");
                let proxy = start(driver, &endpoints, &lines);
                let mut client = proxy.client();
                for _ in 0..4 {
                    let response = client.ask(get("/"));
                    let got = (response.status(), response.text());
                    // With one try left, the refusal may be the last that is heard.
                    if retries == 1 && got.0 == 502 {
                        continue;
                    }
                    assert_eq!(got, (503, "busy".to_owned()), "{endpoints} {retries}");
                }
            }
        }
    });
}

#[test]
fn an_answer_that_comes_when_the_time_is_over_passes_on() {
    on_each_driver(|driver| {
        let slow = failing(|peer| {
            peer.sleep(ms(700));
            peer.send(status("503 Busy", "busy"));
        });
        let good = Origin::echo();
        let proxy = in_front(driver, &slow, &good, "retry-on = [503]\nretry-timeout = '300ms'");
        let response = ask(&proxy, "GET");
        assert_eq!((response.status(), response.text().as_str()), (503, "busy"));
        assert_eq!((slow.requests().len(), good.requests().len()), (1, 0));
    });
}

#[test]
fn content_goes_along_when_a_status_sends_it_elsewhere() {
    on_each_driver(|driver| {
        let content = noise(40 * 1024, 3);
        for rules in ["['connect', 'reset', 503]", "[503]"] {
            let bad = Origin::answering(status("503 Busy", "busy"));
            let good = Origin::echo();
            let proxy = in_front(driver, &bad, &good, &format!("retry-on = {rules}"));
            let mut client = proxy.client();
            client.send([b"PUT".as_slice(), &post("/", &content)[4..]].concat());
            assert_same(client.response().body(), &[b"/ ", &content[..]].concat());
            assert_eq!((bad.requests().len(), good.requests().len()), (1, 1), "{rules}");
        }
        // An answer that does not wait for the content passes on, or the content follows it elsewhere as a whole.
        let early = Origin::start(|peer| {
            peer.head();
            peer.send(status("503 Busy", "busy"));
            peer.until_end();
        });
        let good = Origin::echo();
        let proxy = in_front(driver, &early, &good, "retry-on = ['reset', 503]");
        let mut client = proxy.client();
        client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len()));
        client.send(&content[..20_000]);
        thread::sleep(ms(100));
        client.send(&content[20_000..]);
        let response = client.response();
        match response.status() {
            503 => assert_eq!(response.text(), "busy"),
            _ => assert_same(response.body(), &[b"/ ", &content[..]].concat()),
        }
    });
}

// ---- Time ---------------------------------------------------------------------------------------------------------

#[test]
fn an_answer_that_does_not_come_is_waited_for_elsewhere_only_where_that_is_asked_for() {
    on_each_driver(|driver| {
        for how in [Peer::hang as fn(&mut Peer), |peer| {
            peer.send("HTTP/1.1 200 OK\r\n");
            peer.hang();
        }] {
            let (bad, good) = (failing(how), Origin::echo());
            let limits = "first-byte-timeout = '800ms'\nupstream-timeout = '800ms'\n";
            let proxy = in_front(driver, &bad, &good, limits);
            assert_eq!(ask(&proxy, "GET").status(), 504);
            assert!(good.requests().is_empty());
            let proxy = in_front(driver, &bad, &good, &format!("{limits}retry-on = ['timeout']"));
            for method in IDEMPOTENT {
                assert_eq!(ask(&proxy, method).status(), 200, "{method}");
            }
            assert_eq!(good.requests().len(), IDEMPOTENT.len());
            assert_eq!(ask(&proxy, "POST").status(), 504);
            assert_eq!(good.requests().len(), IDEMPOTENT.len());
        }
    });
}

#[test]
fn nothing_is_sent_again_when_the_time_for_that_is_over() {
    on_each_driver(|driver| {
        let late = |peer: &mut Peer| {
            peer.sleep(ms(700));
            peer.reset();
        };
        for (limit, status) in [("'300ms'", 502), ("'off'", 200), ("'30s'", 200)] {
            let (bad, good) = (failing(late), Origin::echo());
            let proxy = in_front(driver, &bad, &good, &format!("retry-timeout = {limit}"));
            assert_eq!(ask(&proxy, "GET").status(), status, "{limit}");
            assert_eq!((bad.requests().len(), good.requests().len()), (1, usize::from(status == 200)));
        }
    });
}

// ---- The budget ---------------------------------------------------------------------------------------------------

#[test]
fn a_failing_upstream_is_not_stormed() {
    on_each_driver(|driver| {
        for how in [Peer::reset as fn(&mut Peer), |peer| peer.send(status("503 Busy", ""))] {
            let bad = [failing(how), failing(how), failing(how)];
            let lines = "eject = false\nretries = 10\nretry-on = ['reset', 503]\nretry-budget = '20%'\nretry-backoff = '10ms'";
            let endpoints = bad.iter().map(|bad| format!("'{}'", bad.endpoint()));
            let text = app(&endpoints.collect::<Vec<_>>().join(", "), lines);
            let proxy = Setup::new(driver).admin().file(&text).start();
            let started = Instant::now();
            let mut client = proxy.client();
            const REQUESTS: usize = 300;
            for _ in 0..REQUESTS {
                assert!(matches!(client.ask(get("/")).status(), 502 | 503));
            }
            let retries = bad.iter().map(|bad| bad.requests().len()).sum::<usize>() - REQUESTS;
            // A few are allowed in each window, of which slow machines see more.
            let windows = usize::try_from(started.elapsed().as_secs() / 5).unwrap() + 2;
            assert!(retries <= REQUESTS / 5 + 10 * windows, "{retries} in {:?}", started.elapsed());
            assert!(retries >= REQUESTS / 5, "{retries}: the budget is there to be used");
            expect_rest(&proxy);
        }
    });
}

// ---- Content ------------------------------------------------------------------------------------------------------

/// How content is sent.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunks,
    Trailers,
}

const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunks, Framing::Trailers];

/// A PUT with that content, and a GET behind it.
fn put(framing: Framing, content: &[u8], fields: &str) -> (String, Vec<u8>) {
    let length = format!("Content-Length: {}\r\n", content.len());
    let (coding, mut body) = match framing {
        Framing::Length => (length.as_str(), content.to_vec()),
        _ => ("Transfer-Encoding: chunked\r\n", in_random_chunks(content, 5_000, 7)),
    };
    if matches!(framing, Framing::Trailers) {
        body.truncate(body.len() - 2);
        body.extend_from_slice(b"X-Sum: 42\r\nX-More: yes\r\n\r\n");
    }
    body.extend_from_slice(get("/next").as_bytes());
    (format!("PUT /put HTTP/1.1\r\nHost: a\r\n{coding}{fields}\r\n"), body)
}

/// Expects that the endpoint got that request as if nobody had got it before.
fn expect_put(good: &Origin, framing: Framing, content: &[u8]) {
    let requests = good.requests();
    assert_eq!(requests.len(), 2, "{framing:?}");
    assert_same(requests[0].body(), content);
    assert_eq!(requests[0].head.method(), "PUT");
    let trailers = requests[0].content.trailers.lines();
    match framing {
        Framing::Trailers => assert_eq!(trailers, ["X-Sum: 42", "X-More: yes"]),
        _ => assert!(trailers.is_empty(), "{trailers:?}"),
    }
    assert_eq!((requests[1].head.method(), requests[1].target()), ("GET", "/next"));
    assert!(good.broken().is_empty());
}

/// An endpoint that reads so many bytes behind the head of a PUT, or all of it, and then resets.
fn resets_after(bytes: Option<usize>) -> Origin {
    Origin::start(move |peer| {
        let Some(head) = peer.head() else { return };
        if head.method() != "PUT" {
            // The next request finds this endpoint first, too.
            return peer.reset();
        }
        match bytes {
            Some(bytes) => drop(peer.exactly(bytes)),
            None => drop(peer.content(head)),
        }
        peer.reset();
    })
}

#[test]
fn content_of_several_windows_is_replayed_byte_for_byte() {
    on_each_driver(|driver| {
        let content = noise(40 * 1024, 5);
        for framing in FRAMINGS {
            for after in [Some(0), Some(1), Some(10_000), Some(39_000), None] {
                let (bad, good) = (resets_after(after), Origin::answering(ok("good")));
                let proxy = in_front(driver, &bad, &good, "");
                let (head, body) = put(framing, &content, "");
                let mut client = proxy.client();
                client.send([head.as_bytes(), &body].concat());
                assert_eq!(client.response().text(), "good", "{framing:?} {after:?}");
                assert_eq!(client.response().text(), "good", "{framing:?} {after:?}");
                expect_put(&good, framing, &content);
                assert_eq!(bad.connections(), 2, "{framing:?} {after:?}");
                expect_rest(&proxy);
            }
        }
    });
}

#[test]
fn content_that_comes_when_nobody_takes_it_any_more_is_replayed_too() {
    on_each_driver(|driver| {
        let content = noise(40 * 1024, 6);
        for framing in FRAMINGS {
            let (bad, good) = (resets_after(Some(2_000)), Origin::answering(ok("good")));
            let proxy = in_front(driver, &bad, &good, "");
            let (head, body) = put(framing, &content, "");
            let mut client = proxy.client();
            client.send(head);
            for piece in body.chunks(6_000) {
                client.send(piece);
                thread::sleep(ms(20));
            }
            assert_eq!(
                (client.response().text().as_str(), client.response().text().as_str()),
                ("good", "good")
            );
            expect_put(&good, framing, &content);
        }
    });
}

#[test]
fn content_byte_by_byte_is_replayed_too() {
    on_each_driver(|driver| {
        for framing in FRAMINGS {
            let (bad, good) = (resets_after(Some(20)), Origin::answering(ok("good")));
            let proxy = in_front(driver, &bad, &good, "");
            let content = noise(600, 8);
            let (head, body) = put(framing, &content, "");
            let mut client = proxy.client();
            client.send_bytewise([head.as_bytes(), &body].concat());
            assert_eq!(
                (client.response().text().as_str(), client.response().text().as_str()),
                ("good", "good")
            );
            expect_put(&good, framing, &content);
        }
    });
}

#[test]
fn content_is_replayed_to_one_endpoint_after_another() {
    on_each_driver(|driver| {
        let content = noise(40 * 1024, 9);
        for framing in FRAMINGS {
            let (first, second) = (resets_after(Some(5_000)), resets_after(None));
            let good = Origin::answering(ok("good"));
            let endpoints = format!(
                "'{}', '{}', {{ address = '{}', backup = true }}",
                first.endpoint(),
                second.endpoint(),
                good.endpoint()
            );
            let proxy = start(driver, &endpoints, "retries = 4\nretry-backoff = '10ms'");
            let (head, body) = put(framing, &content, "");
            let mut client = proxy.client();
            client.send([head.as_bytes(), &body].concat());
            assert_eq!(
                (client.response().text().as_str(), client.response().text().as_str()),
                ("good", "good")
            );
            expect_put(&good, framing, &content);
            let seen = second.requests();
            assert!(seen.iter().all(|request| request.body() == content));
        }
    });
}

#[test]
fn a_client_that_waits_to_be_asked_for_content_is_asked_once() {
    on_each_driver(|driver| {
        let content = noise(20 * 1024, 10);
        // One fails before it asks for content, and one after; the last one gets all of it.
        for asks in [false, true] {
            let bad = Origin::start(move |peer| {
                let Some(head) = peer.head() else { return };
                if asks && head.method() == "PUT" {
                    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
                    peer.exactly(3_000);
                }
                peer.reset();
            });
            let good = Origin::start(|peer| {
                while let Some(head) = peer.head() {
                    if head.field("Expect").is_some() {
                        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
                    }
                    if peer.content(head).is_none() {
                        return;
                    }
                    peer.send(ok("good"));
                }
            });
            let proxy = in_front(driver, &bad, &good, "");
            let (head, body) = put(Framing::Length, &content, "Expect: 100-continue\r\n");
            let mut client = proxy.client();
            client.send(head);
            assert_eq!(client.head().status(), 100);
            client.send(body);
            let first = client.head();
            assert_eq!(first.status(), 200, "after the first 100 comes the answer: {first:?}");
            assert_eq!(client.exactly(4), b"good");
            assert_eq!(client.response().text(), "good");
            expect_put(&good, Framing::Length, &content);
        }
    });
}

#[test]
fn content_above_the_bound_is_not_replayed() {
    on_each_driver(|driver| {
        let content = noise(200 * 1024, 11);
        for (lines, length) in [
            ("", 100 * 1024),
            ("max-replay = '128KiB'", 200 * 1024),
            ("max-replay = '16KiB'", 40 * 1024),
            ("max-replay = 0", 40 * 1024),
        ] {
            for framing in FRAMINGS {
                for after in [Some(8_000), None] {
                    let (bad, good) = (resets_after(after), Origin::answering(ok("good")));
                    let proxy = in_front(driver, &bad, &good, lines);
                    let (head, body) = put(framing, &content[..length], "");
                    let mut client = proxy.client();
                    let mut sender = client.sender();
                    let request = [head.as_bytes(), &body[..body.len() - get("/next").len()]].concat();
                    let sending = thread::spawn(move || sender.try_send(request));
                    let response = client.try_response_to("PUT");
                    // The reset of a connection may overtake the answer on it.
                    if let Ok(response) = response {
                        assert_eq!(response.status(), 502, "{lines} {framing:?} {after:?}");
                    }
                    let _ = sending.join();
                    expect_rest(&proxy);
                    assert_eq!(
                        (bad.connections(), good.connections()),
                        (1, 0),
                        "{lines} {framing:?} {after:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn content_up_to_the_bound_is_replayed() {
    on_each_driver(|driver| {
        let content = noise(128 * 1024, 12);
        for framing in FRAMINGS {
            let (bad, good) = (resets_after(None), Origin::answering(ok("good")));
            let proxy = in_front(driver, &bad, &good, "max-replay = '128KiB'");
            let (head, body) = put(framing, &content, "");
            let mut client = proxy.client();
            let mut sender = client.sender();
            let sending = thread::spawn(move || sender.try_send([head.as_bytes(), &body].concat()));
            assert_eq!(
                (client.response().text().as_str(), client.response().text().as_str()),
                ("good", "good")
            );
            assert!(sending.join().unwrap());
            expect_put(&good, framing, &content);
        }
    });
}

#[test]
fn half_of_a_request_is_not_sent_to_anybody_else() {
    on_each_driver(|driver| {
        let content = noise(40 * 1024, 13);
        for framing in FRAMINGS {
            for leave in [drop as fn(Client), Client::reset, |mut client: Client| {
                client.finish();
                let _ = client.try_response_to("PUT");
            }] {
                let (bad, good) = (resets_after(Some(1_000)), Origin::answering(ok("good")));
                let proxy = in_front(driver, &bad, &good, "");
                let (head, body) = put(framing, &content, "");
                let mut client = proxy.client();
                client.send([head.as_bytes(), &body[..20_000]].concat());
                eventually("the first has failed", || bad.connections() == 1 && bad.open() == 0);
                thread::sleep(ms(30));
                leave(client);
                expect_rest(&proxy);
                assert_eq!(good.connections(), 0, "{framing:?}");
            }
        }
    });
}

#[test]
fn content_that_does_not_come_is_not_waited_for_without_end() {
    on_each_driver(|driver| {
        let (bad, good) = (resets_after(Some(1_000)), Origin::answering(ok("good")));
        let text = app(&then(&bad.endpoint(), &good.endpoint()), LAX);
        let proxy = Setup::new(driver).admin().args(&["--body-timeout", "400ms"]).file(&text).start();
        let (head, body) = put(Framing::Length, &noise(40 * 1024, 14), "");
        let mut client = proxy.client();
        client.send([head.as_bytes(), &body[..20_000]].concat());
        assert!(matches!(client.response().status(), 408 | 502));
        client.expect_end();
        assert_eq!(good.connections(), 0);
        expect_rest(&proxy);
    });
}

#[test]
fn content_that_is_malformed_goes_nowhere_else() {
    on_each_driver(|driver| {
        let (bad, good) = (resets_after(Some(100)), Origin::answering(ok("good")));
        let proxy = in_front(driver, &bad, &good, "");
        let mut client = proxy.client();
        client.send("PUT /put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send([b"3e8\r\n".as_slice(), &noise(1000, 1), b"\r\n"].concat());
        eventually("the first has failed", || bad.connections() == 1 && bad.open() == 0);
        thread::sleep(ms(30));
        client.send("nonsense\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response();
        assert_eq!(response.status(), 400);
        assert!(response.says_close());
        assert_eq!(good.connections(), 0);
        expect_rest(&proxy);
    });
}

// ---- After the head -----------------------------------------------------------------------------------------------

#[test]
fn a_response_that_breaks_after_its_head_is_neither_repeated_nor_passed_off_as_whole() {
    on_each_driver(|driver| {
        let heads = [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            fresh_head(Some(100), ""),
            fresh_head(None, "") + "64\r\n",
        ];
        for head in heads {
            let until_close = !head.contains("Content-Length") && !head.contains("chunked");
            for resets in [true, false] {
                if until_close && !resets {
                    // That is how it ends.
                    continue;
                }
                let gate = Gate::default();
                let (held, answer) = (gate.clone(), head.clone());
                let bad = failing(move |peer| {
                    peer.send(format!("{answer}hello"));
                    held.pass(1);
                    if resets {
                        peer.reset();
                    }
                });
                let good = Origin::echo();
                let lines =
                    format!("{LAX}retries = 5\nretry-on = ['connect', 'reset', 'timeout', '500-599']");
                let endpoints = then(&bad.endpoint(), &good.endpoint());
                let proxy = Setup::new(driver).admin().file(&cached_app(&endpoints, &lines)).start();
                let mut client = proxy.client();
                client.send(get("/"));
                let first = client.head();
                assert_eq!(first.status(), 200);
                gate.open();
                let (rest, _) = client.until_end();
                let text = crate::support::message::text(&rest);
                assert!(
                    text.contains("hello") && text.len() < 100 && !text.contains("\r\n0\r\n"),
                    "{head}: {text:?}"
                );
                assert_eq!((bad.requests().len(), good.requests().len()), (1, 0), "{head}");
                expect_rest(&proxy);
            }
        }
    });
}

#[test]
fn a_response_of_no_use_is_not_asked_for_again() {
    on_each_driver(|driver| {
        for answer in [
            "garbage\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ] {
            let bad = failing(move |peer| peer.send(answer));
            let good = Origin::echo();
            let proxy =
                in_front(driver, &bad, &good, "retry-on = ['connect', 'reset', 'timeout', '500-599']");
            assert_eq!(ask(&proxy, "GET").status(), 502, "{answer}");
            assert_eq!((bad.requests().len(), good.requests().len()), (1, 0), "{answer}");
        }
    });
}

// ---- Connections that were used before ----------------------------------------------------------------------------

#[test]
fn a_stale_connection_costs_nobody_an_error_and_nothing_of_the_budget() {
    on_each_driver(|driver| {
        // Answers one request, and drops the second of each connection.
        let origin = Origin::start(|peer| {
            if peer.request().is_some() {
                peer.send(ok("good"));
                peer.head();
            }
        });
        let text = app(&format!("'{}'", origin.endpoint()), "eject = false\nretry-budget = '0%'");
        let proxy = Setup::new(driver).admin().file(&text).start();
        let mut client = proxy.client();
        for _ in 0..40 {
            assert_eq!(client.ask(get("/")).text(), "good");
        }
        // Content that is still coming goes along.
        let content = noise(40 * 1024, 15);
        for framing in FRAMINGS {
            let (head, body) = put(framing, &content, "");
            client.send(head);
            thread::sleep(ms(20));
            client.send(&body[..body.len() - get("/next").len()]);
            assert_eq!(client.response().text(), "good", "{framing:?}");
            assert_same(origin.requests().last().unwrap().body(), &content);
        }
        expect_rest(&proxy);
    });
}

#[test]
fn a_post_on_a_connection_that_closed_under_it_is_sent_once() {
    on_each_driver(|driver| {
        let origin = Origin::start(|peer| {
            while let Some(request) = peer.request() {
                if request.target() == "/post" {
                    return;
                }
                peer.send(ok("good"));
            }
        });
        let good = Origin::echo();
        let proxy = in_front(driver, &origin, &good, "retries = 5");
        let mut client = proxy.client();
        for count in 1..=5 {
            assert_eq!(client.ask(get("/")).text(), "good");
            assert_eq!(client.ask(post("/post", b"x")).status(), 502);
            let posts = origin.requests().iter().filter(|request| request.target() == "/post").count();
            assert_eq!((posts, good.requests().len()), (count, 0));
        }
    });
}

#[test]
fn under_load_no_post_is_sent_twice_and_nothing_idempotent_is_lost() {
    on_each_driver(|driver| {
        // One endpoint resets every third request that it gets.
        let flaky = || {
            let count = std::sync::atomic::AtomicUsize::new(1);
            Origin::start(move |peer| {
                while peer.request().is_some() {
                    if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst).is_multiple_of(3) {
                        return peer.reset();
                    }
                    peer.send(ok("good"));
                }
            })
        };
        let (flaky, good) = (flaky(), Origin::answering(ok("good")));
        let endpoints = format!("'{}', '{}'", flaky.endpoint(), good.endpoint());
        let text = app(&endpoints, LAX);
        let proxy = Setup::new(driver).cores(2).admin().file(&text).start();
        let started = Instant::now();
        thread::scope(|scope| {
            for number in 0..8 {
                let proxy = &proxy;
                scope.spawn(move || {
                    let mut client = proxy.client();
                    for count in 0..40 {
                        let target = format!("/{number}/{count}");
                        let answer = match count % 3 {
                            0 => client.ask(post(&target, b"once")).status(),
                            1 => client.ask(get_with(&target, "X: y\r\n")).status(),
                            _ => {
                                client.ask([b"PUT".as_slice(), &post(&target, b"put")[4..]].concat()).status()
                            }
                        };
                        assert!(answer == 200 || (count % 3 == 0 && answer == 502), "{target}: {answer}");
                    }
                });
            }
        });
        assert!(started.elapsed() < 2 * PATIENCE);
        let mut posts: Vec<String> = [&flaky, &good]
            .iter()
            .flat_map(|origin| origin.requests())
            .filter(|request| request.head.method() == "POST")
            .map(|request| request.target().to_owned())
            .collect();
        let sent = posts.len();
        posts.sort();
        posts.dedup();
        assert_eq!((sent, posts.len()), (8 * 14, 8 * 14));
        expect_rest(&proxy);
    });
}
