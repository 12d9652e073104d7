//! The answer to an exchange that failed: a short page, or `application/problem+json` (RFC 9457) for
//! a client that prefers JSON.

use bytes::BufMut;

use crate::error::Reason;
use crate::h1::encode::Persistence;
use crate::http::{list, status};

/// What an error answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct ErrorAnswer<'a> {
    /// What went wrong.
    pub reason: Reason,
    /// The status code, as a rule the reason's own.
    pub status: u16,
    /// The page that somebody wants to be shown, with its Content-Type, in the place of the usual one.
    pub page: Option<(&'a str, &'a [u8])>,
    /// The X-Request-Id; empty where no request could be read.
    pub request_id: &'a [u8],
    /// The current date.
    pub date: &'a [u8],
    /// Whether the client wants JSON: see [`prefers_json`].
    pub json: bool,
    /// What the connection does afterwards.
    pub persistence: Persistence,
    /// Whether the request was a HEAD.
    pub head_only: bool,
    /// The name of this proxy in Proxy-Status (RFC 9209).
    pub proxy: &'a [u8],
    /// Field lines that tell what the cache did; none where there is no cache.
    pub report: &'a [u8],
    /// Field lines that say more about why: `Retry-After`, `WWW-Authenticate`, `Allow`.
    pub lines: &'a [u8],
}

/// Methods that the Allow field of a 405 names (RFC 9110, section 10.2.1).
const ALLOWED: &[u8] = b"GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

/// An upper bound on the length of an answer, for an id and a name of the usual length.
pub const ANSWER_BYTES_MAX: usize = 2048;

/// Writes the whole response.
pub fn write(out: &mut Vec<u8>, answer: &ErrorAnswer<'_>) {
    let mut made = Vec::new();
    let (content_type, page) = match answer.page {
        Some(page) if !answer.json => page,
        _ => usual(&mut made, answer),
    };
    let code = answer.status;
    let mut digits = itoa::Buffer::new();
    put(out, &[b"HTTP/1.1 ", digits.format(code).as_bytes(), b" ", status::phrase(code).as_bytes(), b"\r\n"]);
    put(out, &[b"Server: ringway\r\nDate: ", answer.date, b"\r\nContent-Type: ", content_type.as_bytes()]);
    put(out, &[b"\r\nContent-Length: ", digits.format(page.len()).as_bytes(), b"\r\n"]);
    out.put_slice(b"Cache-Control: no-store\r\n");
    if !answer.request_id.is_empty() {
        put(out, &[b"X-Request-Id: ", answer.request_id, b"\r\n"]);
    }
    if let Some(error) = answer.reason.proxy_error() {
        put(out, &[b"Proxy-Status: ", answer.proxy, b"; error=", error.as_bytes(), b"\r\n"]);
    }
    out.put_slice(answer.report);
    out.put_slice(answer.lines);
    if code == 405 && answer.lines.is_empty() {
        put(out, &[b"Allow: ", ALLOWED, b"\r\n"]);
    }
    out.put_slice(answer.persistence.field());
    out.put_slice(b"\r\n");
    if !answer.head_only {
        out.put_slice(page);
    }
}

/// The page where nobody wants another: what goes wrong, in a sentence, and the id to ask about it with.
fn usual<'m>(made: &'m mut Vec<u8>, answer: &ErrorAnswer<'_>) -> (&'static str, &'m [u8]) {
    made.reserve(512);
    let content_type = if answer.json {
        problem(made, answer);
        "application/problem+json"
    } else {
        html(made, answer);
        "text/html; charset=utf-8"
    };
    (content_type, made)
}

fn html(page: &mut Vec<u8>, answer: &ErrorAnswer<'_>) {
    let code = answer.status;
    let mut digits = itoa::Buffer::new();
    let title = [digits.format(code).as_bytes(), b" ", status::phrase(code).as_bytes()].concat();
    put(
        page,
        &[b"<!doctype html><meta charset=utf-8><title>", &title, b"</title>\n<h1>", &title, b"</h1>\n<p>"],
    );
    put(page, &[answer.reason.sentence().as_bytes(), b"\n"]);
    if !answer.request_id.is_empty() {
        put(page, &[b"<p>Request <code>"]);
        // Ids have no character that means anything in HTML: see `filter::request_id`.
        put(page, &[answer.request_id, b"</code>\n"]);
    }
}

fn problem(page: &mut Vec<u8>, answer: &ErrorAnswer<'_>) {
    let code = answer.status;
    let mut digits = itoa::Buffer::new();
    put(page, &[b"{\"type\":\"about:blank\",\"title\":\"", status::phrase(code).as_bytes()]);
    put(page, &[b"\",\"status\":", digits.format(code).as_bytes()]);
    put(page, &[b",\"detail\":\"", answer.reason.sentence().as_bytes()]);
    put(page, &[b"\",\"reason\":\"", answer.reason.name().as_bytes(), b"\""]);
    if !answer.request_id.is_empty() {
        put(page, &[b",\"request_id\":\"", answer.request_id, b"\""]);
    }
    put(page, &[b"}\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.put_slice(part);
    }
}

/// Whether an Accept field asks for JSON rather than HTML (RFC 9110, section 12.5.1).
pub fn prefers_json(accept: &[u8]) -> bool {
    let (mut json, mut html) = (0, 0);
    for range in list::elements(accept) {
        let mut parts = range.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let weight = parts.find_map(quality).unwrap_or(1000);
        if media.eq_ignore_ascii_case(b"application/json")
            || media.eq_ignore_ascii_case(b"application/problem+json")
        {
            json = json.max(weight);
        } else if media.eq_ignore_ascii_case(b"text/html") {
            html = html.max(weight);
        }
    }
    json > html
}

/// A weight in thousandths (RFC 9110, section 12.4.2).
fn quality(parameter: &[u8]) -> Option<u32> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let whole = match value.first()? {
        b'0' => 0,
        b'1' => return Some(1000),
        _ => return None,
    };
    let digits = value.get(2..).unwrap_or_default();
    let thousandths = [100, 10, 1]
        .iter()
        .zip(digits)
        .map(|(place, digit)| place * u32::from(digit.wrapping_sub(b'0').min(9)));
    Some(whole + thousandths.sum::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> ErrorAnswer<'static> {
        ErrorAnswer {
            reason: Reason::UpstreamRefused,
            status: 502,
            page: None,
            request_id: b"id",
            date: b"DATE",
            json: false,
            persistence: Persistence::KeepAlive,
            head_only: false,
            proxy: b"ringway",
            report: b"",
            lines: b"",
        }
    }

    #[test]
    fn every_answer_is_a_whole_response_of_the_length_it_says() {
        for &reason in Reason::ALL.iter().filter(|reason| reason.status() >= 400) {
            for json in [false, true] {
                let mut out = Vec::new();
                write(
                    &mut out,
                    &ErrorAnswer {
                        reason,
                        status: reason.status(),
                        json,
                        persistence: Persistence::Close,
                        ..answer()
                    },
                );
                assert!(out.len() <= ANSWER_BYTES_MAX);
                let mut raw = [httparse::EMPTY_HEADER; 16];
                let mut response = httparse::Response::new(&mut raw);
                let httparse::Status::Complete(head) = response.parse(&out).unwrap() else {
                    panic!("partial")
                };
                let length = response.headers.iter().find(|f| f.name == "Content-Length").unwrap().value;
                assert_eq!(length, (out.len() - head).to_string().as_bytes());
                assert_eq!(
                    response.headers.iter().any(|f| f.name == "Proxy-Status"),
                    reason.proxy_error().is_some()
                );
            }
        }
    }

    #[test]
    fn a_head_request_gets_the_head_alone() {
        let mut out = Vec::new();
        write(&mut out, &ErrorAnswer { head_only: true, ..answer() });
        assert!(out.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_page_of_ones_own_is_for_those_who_do_not_prefer_json() {
        let page = Some(("text/plain", &b"gone fishing"[..]));
        for (json, want) in [(false, "text/plain"), (true, "application/problem+json")] {
            let mut out = Vec::new();
            write(&mut out, &ErrorAnswer { page, json, status: 451, ..answer() });
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("HTTP/1.1 451 ") && text.contains(want), "{text}");
            assert_eq!(text.ends_with("Content-Length: 12\r\nCache-Control: no-store\r\nX-Request-Id: id\r\nProxy-Status: ringway; error=connection_refused\r\n\r\ngone fishing"), !json, "{text}");
        }
    }

    #[test]
    fn json_is_for_those_who_prefer_it() {
        assert!(prefers_json(b"application/json"));
        assert!(prefers_json(b"text/html;q=0.5, application/problem+json;q=0.9"));
        assert!(!prefers_json(b"text/html, application/json"));
        assert!(!prefers_json(b"*/*"));
        assert!(!prefers_json(b""));
        assert!(!prefers_json(b"application/json;q=0"));
    }
}
