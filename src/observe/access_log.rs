//! The access log: one line per exchange, written into memory; somebody else carries it out.
//!
//! Two formats. `combined` is the line that log tools have read for decades, with six values behind
//! it: `upstream request-id connect/first-byte/total reason cache`, times in milliseconds. `json` is one
//! object per line.

use std::str::FromStr;
use std::time::Duration;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    #[default]
    Off,
    /// The combined log format, extended.
    Combined,
    /// One JSON object per line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "off" => Ok(Format::Off),
            "combined" => Ok(Format::Combined),
            "json" => Ok(Format::Json),
            _ => Err(format!("{text:?} is no log format: off, combined, json")),
        }
    }
}

/// What one line tells. Bytes are as the client sent them; they are escaped when written.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The client's address, or `unix`.
    pub client: &'a [u8],
    /// Who the client is, if that was found out; empty otherwise.
    pub user: &'a [u8],
    /// When the exchange ended, as an IMF-fixdate.
    pub date: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The request-target.
    pub target: &'a [u8],
    /// The version, as on the request line.
    pub version: &'a [u8],
    /// The Host that was asked for.
    pub host: &'a [u8],
    /// The status that the client got, 0 if none.
    pub status: u16,
    /// Bytes of content that were sent to the client.
    pub bytes: u64,
    /// The Referer field.
    pub referer: &'a [u8],
    /// The User-Agent field.
    pub user_agent: &'a [u8],
    /// The address that was asked, or `unix:` and a path.
    pub upstream: Option<&'a str>,
    /// The X-Request-Id.
    pub request_id: &'a [u8],
    /// How long connecting took; `None` for a connection that was open already.
    pub connect: Option<Duration>,
    /// From the start to the first byte of the upstream's answer.
    pub first_byte: Option<Duration>,
    /// From the request's first byte to the last of the response.
    pub total: Duration,
    /// Why the exchange ended.
    pub reason: &'static str,
    /// What the cache did, if there is one.
    pub cache: Option<&'static str>,
    /// Tags that rules have given, with commas between.
    pub tags: &'a [u8],
    /// Rules that held: `SET/ID`, with commas between.
    pub rules: &'a [u8],
}

/// Appends one line, with its line feed.
pub fn write(out: &mut Vec<u8>, format: Format, line: &Line<'_>) {
    match format {
        Format::Off => {}
        Format::Combined => combined(out, line),
        Format::Json => json(out, line),
    }
}

fn combined(out: &mut Vec<u8>, line: &Line<'_>) {
    out.extend_from_slice(line.client);
    out.extend_from_slice(b" - ");
    word(out, if line.user.is_empty() { b"-" } else { line.user });
    out.extend_from_slice(b" [");
    log_date(out, line.date);
    out.extend_from_slice(b"] \"");
    escape(out, line.method);
    out.push(b' ');
    escape(out, line.target);
    out.push(b' ');
    escape(out, line.version);
    out.extend_from_slice(b"\" ");
    number(out, line.status.into());
    out.push(b' ');
    number(out, line.bytes);
    for field in [line.referer, line.user_agent] {
        out.extend_from_slice(b" \"");
        escape(out, if field.is_empty() { b"-" } else { field });
        out.push(b'"');
    }
    out.push(b' ');
    word(out, line.upstream.unwrap_or("-").as_bytes());
    out.push(b' ');
    escape(out, line.request_id);
    out.push(b' ');
    for (place, time) in [line.connect, line.first_byte, Some(line.total)].into_iter().enumerate() {
        if place > 0 {
            out.push(b'/');
        }
        milliseconds(out, time);
    }
    out.push(b' ');
    out.extend_from_slice(line.reason.as_bytes());
    out.push(b' ');
    out.extend_from_slice(line.cache.unwrap_or("-").as_bytes());
    out.push(b'\n');
}

fn json(out: &mut Vec<u8>, line: &Line<'_>) {
    let mut before: &[u8] = b"{\"";
    let mut key = |out: &mut Vec<u8>, name: &str| {
        out.extend_from_slice(std::mem::replace(&mut before, b",\""));
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    };
    for (name, value) in [
        ("time", line.date),
        ("client", line.client),
        ("method", line.method),
        ("host", line.host),
        ("target", line.target),
        ("version", line.version),
    ] {
        key(out, name);
        string(out, value);
    }
    key(out, "user");
    match line.user {
        [] => out.extend_from_slice(b"null"),
        user => string(out, user),
    }
    key(out, "status");
    number(out, line.status.into());
    key(out, "bytes");
    number(out, line.bytes);
    for (name, value) in
        [("referer", line.referer), ("user_agent", line.user_agent), ("request_id", line.request_id)]
    {
        key(out, name);
        string(out, value);
    }
    key(out, "upstream");
    match line.upstream {
        Some(address) => string(out, address.as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    for (name, time) in
        [("connect_ms", line.connect), ("first_byte_ms", line.first_byte), ("total_ms", Some(line.total))]
    {
        key(out, name);
        match time {
            Some(_) => milliseconds(out, time),
            None => out.extend_from_slice(b"null"),
        }
    }
    key(out, "reason");
    string(out, line.reason.as_bytes());
    key(out, "cache");
    match line.cache {
        Some(outcome) => string(out, outcome.as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    for (name, value) in [("tags", line.tags), ("rules", line.rules)] {
        // Most requests have none.
        if !value.is_empty() {
            key(out, name);
            string(out, value);
        }
    }
    out.extend_from_slice(b"}\n");
}

/// An IMF-fixdate as the combined format has it, `06/Nov/1994:08:49:37 +0000`: log tools take no other.
fn log_date(out: &mut Vec<u8>, date: &[u8]) {
    let part = |range| date.get(range).unwrap_or_default();
    for text in [part(5..7), b"/", part(8..11), b"/", part(12..16), b":", part(17..25), b" +0000"] {
        out.extend_from_slice(text);
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three places; `-` for a time that did not pass.
fn milliseconds(out: &mut Vec<u8>, time: Option<Duration>) {
    let Some(time) = time else { return out.push(b'-') };
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(out, micros / 1000);
    out.push(b'.');
    for place in [100, 10, 1] {
        out.push(b'0' + u8::try_from(micros / place % 10).unwrap_or(0));
    }
}

/// Writes text that stands between blanks, so that it stays one word.
fn word(out: &mut Vec<u8>, text: &[u8]) {
    for (place, part) in text.split(|&byte| byte == b' ').enumerate() {
        if place > 0 {
            out.extend_from_slice(b"\\x20");
        }
        escape(out, part);
    }
}

/// Writes text so that it can end neither its quotes nor its line: anything beyond printable ASCII
/// becomes `\xHH`.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    escape_as(out, text, b"\\x");
}

/// Writes a JSON string. Bytes that are not ASCII are taken as Latin-1, for a target or field has no
/// other encoding that could be relied on.
fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    escape_as(out, text, b"\\u00");
    out.push(b'"');
}

/// Writes text with what stands for a byte in front of the two digits of those that are not printable. Most texts have
/// none of them, and are copied as they are.
fn escape_as(out: &mut Vec<u8>, text: &[u8], start: &[u8]) {
    let is_special = |byte: &u8| !matches!(byte, 0x20..=0x7e) || matches!(byte, b'"' | b'\\');
    // Without a way out in the middle, many bytes are compared at once.
    if !text.iter().fold(false, |any, byte| any | is_special(byte)) {
        return out.extend_from_slice(text);
    }
    let mut rest = text;
    while let Some(at) = rest.iter().position(is_special) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                out.extend_from_slice(start);
                hex(out, byte);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            client: b"192.0.2.1",
            user: b"",
            date: b"Sun, 06 Nov 1994 08:49:37 GMT",
            method: b"GET",
            target: b"/a\"b\n",
            version: b"HTTP/1.1",
            host: b"example.com",
            status: 200,
            bytes: 12,
            referer: b"",
            user_agent: b"c\\d\xe9",
            upstream: Some("127.0.0.1:9001"),
            request_id: b"id",
            connect: None,
            first_byte: Some(Duration::from_micros(1_234)),
            total: Duration::from_micros(20_005),
            reason: "done",
            cache: Some("HIT"),
            tags: b"",
            rules: b"",
        }
    }

    #[test]
    fn combined_lines_cannot_be_forged() {
        let mut out = Vec::new();
        write(&mut out, Format::Combined, &line());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\\"b\\x0a HTTP/1.1\" 200 12 \"-\" \"c\\\\d\\xe9\" \
             127.0.0.1:9001 id -/1.234/20.005 done HIT\n"
        );
    }

    #[test]
    fn the_path_of_a_socket_stays_one_word() {
        let mut out = Vec::new();
        write(&mut out, Format::Combined, &Line { upstream: Some("unix:/a \"b\n/s"), ..line() });
        assert!(String::from_utf8(out).unwrap().contains(r#"" unix:/a\x20\"b\x0a/s id "#));
    }

    #[test]
    fn the_name_of_a_user_stays_one_word() {
        let named = Line { user: b"a \"b\n] c\xe4", ..line() };
        let mut out = Vec::new();
        write(&mut out, Format::Combined, &named);
        let text = String::from_utf8(std::mem::take(&mut out)).unwrap();
        assert!(text.starts_with(r#"192.0.2.1 - a\x20\"b\x0a]\x20c\xe4 [06/Nov/"#), "{text}");
        write(&mut out, Format::Json, &named);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#","user":"a \"b\u000a] c\u00e4","#), "{text}");
    }

    #[test]
    fn json_lines_are_json() {
        let mut out = Vec::new();
        write(&mut out, Format::Json, &line());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"time\":\"Sun, 06 Nov 1994 08:49:37 GMT\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\"host\":\"example.com\",\
             \"target\":\"/a\\\"b\\u000a\",\"version\":\"HTTP/1.1\",\"user\":null,\"status\":200,\"bytes\":12,\"referer\":\"\",\
             \"user_agent\":\"c\\\\d\\u00e9\",\"request_id\":\"id\",\"upstream\":\"127.0.0.1:9001\",\"connect_ms\":null,\
             \"first_byte_ms\":1.234,\"total_ms\":20.005,\"reason\":\"done\",\"cache\":\"HIT\"}\n"
        );
    }
}
