//! An answer that a route gives by itself: a redirect, or content from the configuration.

use bytes::BufMut;

use crate::h1::encode::Persistence;
use crate::http::status;

/// What an answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// From 200 to 599.
    pub status: u16,
    /// The current date.
    pub date: &'a [u8],
    /// Where the client is sent, for a redirect.
    pub location: Option<&'a [u8]>,
    /// The content with its Content-Type; ignored for a status that has none.
    pub content: Option<(&'a str, &'a [u8])>,
    /// What the connection does afterwards.
    pub persistence: Persistence,
    /// Whether the request was a HEAD.
    pub head_only: bool,
    /// Field lines that tell what the cache did; none where there is no cache.
    pub report: &'a [u8],
}

/// Writes the whole response.
pub fn write(out: &mut Vec<u8>, answer: &Answer<'_>) {
    let mut digits = itoa::Buffer::new();
    let code = answer.status;
    let start = [b"HTTP/1.1 ", digits.format(code).as_bytes(), b" ", status::phrase(code).as_bytes()];
    start.iter().for_each(|part| out.put_slice(part));
    for part in [b"\r\nServer: ringway\r\nDate: ", answer.date, b"\r\n"] {
        out.put_slice(part);
    }
    if let Some(location) = answer.location {
        [b"Location: ", location, b"\r\n"].iter().for_each(|part| out.put_slice(part));
    }
    // RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5: these have no content, and nothing may speak of any.
    let content = match (code, answer.content) {
        (204 | 304, _) => None,
        (205, _) | (_, None) => Some(("", &b""[..])),
        (_, content) => content,
    };
    if let Some((content_type, content)) = content {
        if !content.is_empty() && !content_type.is_empty() {
            let line = [b"Content-Type: ", content_type.as_bytes(), b"\r\n"];
            line.iter().for_each(|part| out.put_slice(part));
        }
        let length = digits.format(content.len()).as_bytes();
        [b"Content-Length: ", length, b"\r\n"].iter().for_each(|part| out.put_slice(part));
    }
    out.put_slice(answer.report);
    out.put_slice(answer.persistence.field());
    out.put_slice(b"\r\n");
    if let Some((_, content)) = content.filter(|_| !answer.head_only) {
        out.put_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, answer);
        String::from_utf8(out).unwrap()
    }

    fn answer() -> Answer<'static> {
        Answer {
            status: 200,
            date: b"DATE",
            location: None,
            content: Some(("text/plain", b"ok\n")),
            persistence: Persistence::KeepAlive,
            head_only: false,
            report: b"X-Cache: BYPASS\r\n",
        }
    }

    #[test]
    fn content_comes_with_its_type_and_length() {
        let whole = "HTTP/1.1 200 OK\r\nServer: ringway\r\nDate: DATE\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
                     X-Cache: BYPASS\r\n\r\n";
        assert_eq!(text(&answer()), format!("{whole}ok\n"));
        assert_eq!(text(&Answer { head_only: true, ..answer() }), whole);
    }

    #[test]
    fn a_redirect_says_where_to() {
        let location = Some(&b"https://example.com/"[..]);
        let redirect = Answer { status: 308, location, content: None, report: b"", ..answer() };
        assert_eq!(
            text(&redirect),
            "HTTP/1.1 308 Permanent Redirect\r\nServer: ringway\r\nDate: DATE\r\nLocation: https://example.com/\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn what_has_no_content_speaks_of_none() {
        for status in [204, 304] {
            let text = text(&Answer { status, ..answer() });
            assert!(!text.contains("Content-") && text.ends_with("\r\n\r\n"), "{text}");
        }
        assert!(text(&Answer { status: 205, ..answer() }).contains("Content-Length: 0\r\n"));
    }
}
