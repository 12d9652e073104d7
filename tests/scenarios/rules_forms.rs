//! Rules that look at forms: nothing is sent before all of a form has been seen.

use crate::support::{Driver, Origin, Proxy, Setup, chunk, eventually, get, noise, ok, on_each_driver};

const RULES: &str = "
    [[rule-set.mine.rule]]
    id = 'bad'
    pattern = { in = 'form', contains = 'b\u{e4}d', sqli = true }
    deny = 403
    [[rule-set.mine.rule]]
    id = 'json'
    pattern = { in = 'json', contains = 'bad' }
    deny = 422
";

fn start(driver: Driver, origin: &Origin) -> Proxy {
    let text = format!(
        "[upstream.app]\nendpoints = '{}'\n[[route]]\nupstream = 'app'\nrules = 'mine'\nform-size = '8KiB'\n{RULES}",
        origin.endpoint()
    );
    Setup::new(driver).file(&text).start()
}

const ENCODED: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=BBB";

fn head(content_type: &str, more: &str) -> String {
    format!("POST /form HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n{more}\r\n")
}

fn whole(content_type: &str, content: &[u8]) -> Vec<u8> {
    let head = head(content_type, &format!("Content-Length: {}\r\n", content.len()));
    [head.as_bytes(), content].concat()
}

fn part(head: &str, value: &str) -> String {
    format!("--BBB\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
}

#[test]
fn a_form_is_seen_whole_however_it_comes_and_passed_on_as_it_came() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin);
        let good = b"name=O%27Brien&text=hello+world".to_vec();
        let bad = b"name=x&id=1%27+or+%271%27%3D%271".to_vec();
        for (content, want) in [(&good, 200), (&bad, 403)] {
            let before = origin.requests().len();
            let mut client = proxy.client();
            let response = client.ask(whole(ENCODED, content));
            assert_eq!((response.status(), response.says_close()), (want, false));
            // In pieces, each in a packet of its own.
            let request = whole(ENCODED, content);
            client.send_bytewise(&request[..]);
            assert_eq!(client.response().status(), want);
            // Chunked, a byte to a chunk.
            let chunked: Vec<u8> = content.iter().flat_map(|byte| chunk(&[*byte])).collect();
            client.send(head(ENCODED, "Transfer-Encoding: chunked\r\n"));
            client.send(&chunked[..]);
            client.send("0\r\n\r\n");
            let response = client.response();
            assert_eq!(response.status(), want);
            if want == 200 {
                assert_eq!(response.body(), content);
            }
            // Only once it is asked for.
            let length = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", content.len());
            client.send(head(ENCODED, &length));
            assert_eq!(client.head().status(), 100);
            client.send(content);
            assert_eq!(client.response().status(), want);
            assert_eq!(client.ask(get("/")).status(), 200);
            let came = origin.requests().len() - before;
            assert_eq!(came, if want == 200 { 5 } else { 1 });
        }
    });
}

#[test]
fn values_of_parts_are_seen_and_files_are_not() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin);
        for (content, want) in [
            (part("name=\"a\"", "fine") + "--BBB--\r\n", 200),
            (part("name=\"a\"", "1' or '1'='1") + "--BBB--\r\n", 403),
            (part("name=\"a\"; filename=\"x.txt\"", "1' or '1'='1") + "--BBB--\r\n", 200),
            (part("name=\"a\"", "fine"), 400),
            (part("name=\"a\"; name=\"b\"", "fine") + "--BBB--\r\n", 400),
        ] {
            let response = proxy.client().ask(whole(PARTS, content.as_bytes()));
            assert_eq!(response.status(), want, "{content}");
            if want == 200 {
                assert_eq!(response.text(), content);
            }
        }
        for (json, want) in [("{\"a\": \"\\u0062ad\"}", 422), ("{\"a\": \"b\"}", 200), ("{\"a", 400)] {
            assert_eq!(
                proxy.client().ask(whole("application/json", json.as_bytes())).status(),
                want,
                "{json}"
            );
        }
    });
}

#[test]
fn what_could_be_read_in_two_ways_or_is_too_large_is_refused() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| ok(request.body()));
        let proxy = start(driver, &origin);
        let large = noise(8 * 1024 + 1, 7);
        for (request, want) in [
            (whole(ENCODED, b"a=\0"), 400),
            (whole("application/x-www-form-urlencoded; charset=ibm037", b"a=b"), 415),
            (whole("text/plain\r\nContent-Type: application/x-www-form-urlencoded", b"a=b"), 415),
            (whole("application/x-www-form-urlencoded\r\nContent-Encoding: gzip", b"a=b"), 415),
            (whole("multipart/form-data", b"a=b"), 415),
            (whole("multipart/form-data x; boundary=BBB", b"--BBB--"), 415),
            (whole("multipart/form-data; xboundary=A; boundary=BBB", b"--BBB--"), 415),
            (whole(PARTS, (part("name=\"a\"", "1\n--BBB\r\n") + "--BBB--").as_bytes()), 400),
            (whole(PARTS, (part("name=\"a\"; filename=\"\"", "1' or '1'='1") + "--BBB--").as_bytes()), 403),
            (whole(ENCODED, &large), 413),
            (whole(ENCODED, "a&".repeat(2000).as_bytes()), 400),
        ] {
            assert_eq!(
                proxy.client().ask(&request).status(),
                want,
                "{}",
                String::from_utf8_lossy(&request[..120])
            );
        }
        // One without a declared size is cut when it crosses.
        let mut client = proxy.client();
        client.send(head(ENCODED, "Transfer-Encoding: chunked\r\n"));
        client.send(chunk(&vec![b'a'; 6000]));
        client.send(chunk(&vec![b'a'; 6000]));
        assert_eq!(client.response().status(), 413);
        assert!(origin.requests().is_empty());
        // What is no form is nobody's business here, however large.
        assert_eq!(proxy.client().ask(whole("application/octet-stream", &large)).body(), large);
        assert_eq!(proxy.client().ask(whole("text/plain", b"1' or '1'='1")).status(), 200);
    });
}

#[test]
fn a_mirror_gets_no_copy_of_a_form_that_came_in_pieces() {
    on_each_driver(|driver| {
        let (origin, shadow) = (Origin::echo(), Origin::answering(ok("from the mirror")));
        let text = format!(
            "[upstream.app]\nendpoints = '{}'\n[upstream.shadow]\nendpoints = '{}'\n\
             [[route]]\nupstream = 'app'\nmirror = 'shadow'\nrules = 'mine'\n{RULES}",
            origin.endpoint(),
            shadow.endpoint()
        );
        let proxy = Setup::new(driver).file(&text).start();
        let mut client = proxy.client();
        client.send(head(ENCODED, "Content-Length: 15\r\nExpect: 100-continue\r\n"));
        assert_eq!(client.head().status(), 100);
        client.send(b"first=in+pieces");
        assert_eq!(client.response().status(), 200);
        assert_eq!(proxy.ask(whole(ENCODED, b"second=whole")).status(), 200);
        // What comes there first is the second, and whole.
        eventually("the mirror has the second", || !shadow.requests().is_empty());
        assert_eq!(shadow.request().body(), b"second=whole");
    });
}
