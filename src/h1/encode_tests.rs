use super::*;
use crate::h1::amend::AsItCame;
use crate::h1::{request as read_request, response as read_response};
use crate::http::fields::drop_connection_options;
use crate::limits::HeadLimits;

fn edits<'a>() -> RequestEdits<'a> {
    RequestEdits {
        target: OriginForm { prefix: b"", rest: b"/x" },
        host: b"up",
        client: b"192.0.2.1",
        trusted: false,
        forwarded_host: b"a",
        via: b"ringway",
        request_id: b"id",
        body: BodyLength::None,
        expects_continue: false,
        upgrade: None,
        takes_trailers: false,
        max_forwards: None,
        conditions: None,
        identity: false,
        whole: false,
    }
}

fn encode_request(text: &str, edits: &RequestEdits<'_>) -> String {
    let mut lines = Vec::new();
    let head = read_request::parse(text.as_bytes(), &HeadLimits::default(), &mut lines).unwrap();
    drop_connection_options(text.as_bytes(), &mut lines);
    let mut out = Vec::new();
    request(&mut out, text.as_bytes(), &head, Fields::new(text.as_bytes(), &lines), edits, &mut AsItCame);
    String::from_utf8(out).unwrap()
}

fn encode_response(text: &str, body: ResponseBody, persistence: Persistence) -> String {
    let mut lines = Vec::new();
    let head = read_response::parse(text.as_bytes(), &HeadLimits::default(), &mut lines).unwrap();
    drop_connection_options(text.as_bytes(), &mut lines);
    let mut out = Vec::new();
    let edits =
        ResponseEdits { body, persistence, via: b"ringway", date: b"DATE", upgrade: None, report: b"" };
    response(&mut out, text.as_bytes(), &head, Fields::new(text.as_bytes(), &lines), &edits, &mut AsItCame);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_is_written_anew() {
    let text = "GET http://a/x HTTP/1.1\r\nHost: a\r\nUser-Agent: c\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
                Keep-Alive: timeout=5\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-Id: mine\r\nCookie: k=v\r\n\r\n";
    assert_eq!(
        encode_request(text, &edits()),
        "GET /x HTTP/1.1\r\nHost: up\r\nUser-Agent: c\r\nCookie: k=v\r\nX-Forwarded-For: 192.0.2.1\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nVia: 1.1 ringway\r\nX-Request-Id: id\r\n\r\n"
    );
}

#[test]
fn forwarded_fields_of_a_trusted_peer_are_kept_and_extended() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\r\n";
    let out = encode_request(text, &RequestEdits { trusted: true, ..edits() });
    assert!(out.contains("X-Forwarded-For: 6.6.6.6, 7.7.7.7, 192.0.2.1\r\n"), "{out}");
    assert!(out.contains("X-Forwarded-Proto: https\r\n") && out.contains("X-Forwarded-Host: b\r\n"));
}

#[test]
fn connection_options_cannot_take_away_what_the_proxy_vouches_for() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: host, via, content-length, x-forwarded-for\r\nVia: 1.1 b\r\nContent-Length: 2\r\n\r\n";
    let out = encode_request(text, &RequestEdits { body: BodyLength::Known(2), ..edits() });
    assert!(
        out.contains("Host: up\r\n")
            && out.contains("Via: 1.1 b\r\n")
            && out.contains("Content-Length: 2\r\n")
    );
}

#[test]
fn upgrade_and_te_are_said_anew() {
    let text =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\nTE: gzip\r\n\r\n";
    let out = encode_request(text, &RequestEdits { upgrade: Some(b"websocket"), ..edits() });
    assert!(out.ends_with("Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"), "{out}");
    let out = encode_request(text, &RequestEdits { takes_trailers: true, ..edits() });
    assert!(out.ends_with("TE: trailers\r\nConnection: TE\r\n\r\n"), "{out}");
}

#[test]
fn a_response_is_written_anew() {
    let text =
        "HTTP/1.1 200 Fine\r\nServer: s\r\nContent-Length: 03\r\nConnection: close\r\nKeep-Alive: x\r\n\r\n";
    assert_eq!(
        encode_response(text, ResponseBody::Known(3), Persistence::KeepAlive),
        "HTTP/1.1 200 Fine\r\nServer: s\r\nDate: DATE\r\nVia: 1.1 ringway\r\nContent-Length: 3\r\n\r\n"
    );
}

#[test]
fn a_response_without_content_keeps_or_loses_its_length_as_its_kind_demands() {
    let text = "HTTP/1.1 304 Not Modified\r\nDate: D\r\nContent-Length: 9\r\n\r\n";
    let out = encode_response(text, ResponseBody::Described, Persistence::KeepAlive);
    assert_eq!(out, "HTTP/1.1 304 Not Modified\r\nDate: D\r\nContent-Length: 9\r\nVia: 1.1 ringway\r\n\r\n");
    let text = "HTTP/1.1 204 No Content\r\nDate: D\r\nContent-Length: 0\r\n\r\n";
    let out = encode_response(text, ResponseBody::Forbidden, Persistence::Close);
    assert_eq!(out, "HTTP/1.1 204 No Content\r\nDate: D\r\nVia: 1.1 ringway\r\nConnection: close\r\n\r\n");
}

#[test]
fn trailers_lose_what_could_change_decisions() {
    let section = b"X-Sum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nSet-Cookie: a\r\nAuthorization: b\r\n\
        X-Ringway-Tag: a\r\nX_Ringway_Tag: a\r\nx_ringway-tag: a\r\nX-Forwarded-For: ::1\r\nX_Forwarded_For: ::1\r\n\
        X-Forwarded-Port: 1\r\nX_Forwarded_Prefix: /\r\nContent_Length: 5\r\ncontent_type: a\r\nIf_None_Match: *\r\n\
        X-Request_Id: a\r\n\r\n";
    let mut lines = Vec::new();
    crate::h1::head::parse_fields(section, &HeadLimits::default(), &mut lines).unwrap();
    let mut out = Vec::new();
    trailers(&mut out, Fields::new(section, &lines));
    assert_eq!(out, b"0\r\nX-Sum: 1\r\n\r\n");
}

#[test]
fn a_written_head_reads_back_as_it_was() {
    let text = "POST /x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: \r\n\r\n";
    let out = encode_request(text, &RequestEdits { body: BodyLength::Chunked, ..edits() });
    let mut lines = Vec::new();
    let head = read_request::parse(out.as_bytes(), &HeadLimits::default(), &mut lines).unwrap();
    let fields = Fields::new(out.as_bytes(), &lines);
    assert_eq!(crate::h1::framing::of_request(head.version, fields), Ok(BodyLength::Chunked));
    assert!(out.len() <= text.len() + ADDED_BYTES_MAX);
}
