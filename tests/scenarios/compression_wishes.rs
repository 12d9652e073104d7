//! What clients ask for beside a coding: content as it is, parts of it, and the rest of what they have.

use crate::support::coded::{coded, route, taking, words};
use crate::support::{Driver, Origin, Proxy, Setup, assert_same, get, get_with, on_each_driver};

const HTML: &str = "Content-Type: text/html\r\n";
const DATE: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
const REST: &str = "Range: bytes=1000-\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

const CACHES: [&[&str]; 2] = [&["--no-cache"], &[]];

fn start(driver: Driver, args: &[&str], origin: &Origin, lines: &str) -> Proxy {
    Setup::new(driver).args(args).file(&route(origin, lines)).start()
}

/// An origin that knows parts, of a type that the target says, and sends the whole in the coding that its query says.
fn of_parts() -> Origin {
    Origin::replying(|request| {
        let (media, coding) = request.target()[1..].split_once('?').unwrap_or((&request.target()[1..], ""));
        let mut content = words(3000);
        let mut fields = format!("Content-Type: {media}\r\nCache-Control: no-store\r\n{DATE}");
        if !coding.is_empty() {
            content = coded(coding, &content);
            fields += &format!("Content-Encoding: {coding}\r\n");
        }
        if request.field("Range").is_none() {
            return reply("200 OK", &fields, &content);
        }
        fields += &format!("Content-Range: bytes 100-199/{}\r\n", content.len());
        reply("206 Partial Content", &fields, &content[100..200])
    })
}

/// A response with that content.
fn reply(status: &str, fields: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

#[test]
fn a_client_that_wants_content_as_it_is_gets_it_so() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| {
            let fields = format!("{HTML}Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\n");
            match request.field("Accept-Encoding") {
                Some("gzip") => {
                    let fields = format!("{fields}Content-Encoding: gzip\r\n");
                    reply("200 OK", &fields, &coded("gzip", &words(3000)))
                }
                _ => reply("200 OK", &fields, &words(3000)),
            }
        });
        let as_it_is = |target: &str, codings: &str| {
            let fields = format!("Accept-Encoding: {codings}\r\nCache-Control: max-age=99, no-transform\r\n");
            get_with(target, &fields)
        };
        for args in CACHES {
            let proxy = start(driver, args, &origin, "compress = { coding = ['gzip', 'br'] }");
            for _ in 0..2 {
                // What is compressed for others is not for this one, whether it comes or is stored.
                assert_eq!(proxy.ask(taking("/", "br")).coding(), "br");
                let response = proxy.ask(as_it_is("/", "br"));
                assert_eq!((response.coding(), response.field("Vary")), ("", Some("Accept-Encoding")));
                assert_same(response.body(), &words(3000));
                // What the upstream compresses itself comes as it does so.
                let response = proxy.ask(as_it_is("/", "gzip"));
                assert_same(response.body(), &coded("gzip", &words(3000)));
                let last = origin.requests().into_iter().rfind(|last| last.head.fields.has("Cache-Control"));
                assert_eq!(last.unwrap().field("Accept-Encoding"), Some("gzip"));
                // And nobody else gets that who does not take it.
                let response = proxy.ask(taking("/", "identity"));
                assert_same(&response.plain(), &words(3000));
                assert_eq!(response.coding(), "");
            }
        }
        // Nor is anything taken apart.
        let origin = Origin::replying(|_| {
            let fields = format!("{HTML}Cache-Control: max-age=60\r\nContent-Encoding: br\r\n");
            reply("200 OK", &fields, &coded("br", &words(3000)))
        });
        for args in CACHES {
            let proxy = start(driver, args, &origin, "decompress = true");
            for _ in 0..2 {
                assert_eq!(proxy.ask(taking("/", "gzip")).coding(), "");
                assert_eq!(proxy.ask(as_it_is("/", "gzip")).coding(), "br");
            }
        }
    });
}

#[test]
fn a_part_and_a_validation_say_what_the_whole_varies_by() {
    on_each_driver(|driver| {
        let origin = Origin::replying(|request| match request.target() {
            "/304" => reply("304 Not Modified", &format!("{HTML}ETag: \"a\"\r\nVary: Origin\r\n"), b""),
            "/image" => reply(
                "206 Partial Content",
                "Content-Type: image/png\r\nContent-Range: bytes 0-2/9\r\n",
                b"abc",
            ),
            _ => reply("206 Partial Content", &format!("{HTML}Content-Range: bytes 0-2/9\r\n"), b"abc"),
        });
        let proxy = start(driver, CACHES[0], &origin, "compress = true");
        for codings in ["gzip", "identity"] {
            let ask = |target, fields: &str| {
                proxy.ask(get_with(target, &format!("Accept-Encoding: {codings}\r\n{fields}")))
            };
            let part = ask("/part", "Range: bytes=0-2\r\n");
            assert_eq!((part.status(), part.coding(), part.body()), (206, "", &b"abc"[..]));
            assert_eq!(part.field("Vary"), Some("Accept-Encoding"));
            assert_eq!(ask("/image", "Range: bytes=0-2\r\n").field("Vary"), None);
            let same = ask("/304", "If-None-Match: \"a\"\r\n");
            assert_eq!((same.status(), same.field("ETag")), (304, Some("\"a\"")));
            assert_eq!(same.field("Vary"), Some("Origin, Accept-Encoding"));
            let same = ask("/304", "If-None-Match: W/\"a\"\r\n");
            assert_eq!((same.status(), same.field("ETag")), (304, Some("W/\"a\"")));
            assert_eq!(same.field("Vary"), Some("Origin, Accept-Encoding"));
        }
    });
}

#[test]
fn what_is_resumed_by_a_date_is_resumed_where_its_form_cannot_have_changed() {
    on_each_driver(|driver| {
        for args in CACHES {
            let origin = of_parts();
            let proxy = start(driver, args, &origin, "compress = true");
            for (target, codings, status, coding) in [
                // A client that has some of this would not get the rest by asking for all of it.
                ("/application/octet-stream", "gzip", 206, ""),
                ("/image/png", "gzip, br", 206, ""),
                ("/text/html", "identity", 206, ""),
                ("/text/html", "gzip;q=0", 206, ""),
                ("/text/html?br", "br", 206, "br"),
                // What it has may be compressed, and what comes is not.
                ("/text/html", "gzip", 200, "gzip"),
                ("/multipart/byteranges", "gzip", 200, ""),
                ("/text/html?br", "gzip", 200, ""),
                ("/image/png?br", "gzip", 200, ""),
            ] {
                let what = format!("{target} {codings} {args:?}");
                let fields = format!("Accept-Encoding: {codings}\r\n{REST}");
                let response = proxy.ask(get_with(target, &fields));
                assert_eq!((response.status(), response.coding()), (status, coding), "{what}");
                if status == 200 {
                    assert_same(&response.plain(), &words(3000));
                    assert!(!origin.requests().pop().unwrap().head.fields.has("If-Range"), "{what}");
                } else {
                    assert_eq!(response.body().len(), 100, "{what}");
                }
            }
            // A client that says nothing has never got anything compressed.
            assert_eq!(proxy.ask(get_with("/text/html", REST)).status(), 206);
            // With content on its way the question cannot be put twice.
            let mut client = proxy.client();
            let more = format!("Accept-Encoding: gzip\r\n{REST}Content-Length: 4\r\n");
            client.send(get_with("/text/html", &more));
            std::thread::sleep(std::time::Duration::from_millis(50));
            client.send("text");
            assert_same(&client.response().plain(), &words(3000));
            assert_eq!(proxy.ask(get("/text/html")).status(), 200);
        }
    });
}

#[test]
fn what_is_not_safe_goes_out_once_whatever_it_is_answered_with() {
    on_each_driver(|driver| {
        for args in CACHES {
            let origin = of_parts();
            for lines in ["compress = true", "compress = true\nbuffer-request = true", "decompress = true"] {
                let proxy = start(driver, args, &origin, lines);
                for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "OPTIONS"] {
                    for content in ["", "pay=1", &"pay".repeat(40_000)] {
                        let before = origin.requests().len();
                        let mut client = proxy.client();
                        client.send(format!(
                            "{method} /text/html?br HTTP/1.1\r\nHost: example.com\r\nAccept-Encoding: gzip\r\n{REST}\
                             Content-Length: {}\r\n\r\n",
                            content.len()
                        ));
                        client.send(content);
                        let response = client.response();
                        // What the origin makes of the range is its own affair.
                        assert_eq!(
                            (response.status(), response.body().len()),
                            (206, 100),
                            "{method} {lines}"
                        );
                        let sent = origin.requests().split_off(before);
                        assert_eq!(sent.len(), 1, "{method} {lines} {args:?}");
                        assert!(sent[0].head.fields.has("Range") && sent[0].head.fields.has("If-Range"));
                    }
                }
            }
        }
    });
}
