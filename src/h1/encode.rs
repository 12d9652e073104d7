//! Heads on their way out (RFC 9112): written from spans plus edits, never passed on as raw bytes.
//!
//! What a message says about its connection is dropped and said anew; the other field lines are
//! copied in their order, each by way of an [`Amend`].

use super::amend::{Amend, write_line};
use super::{BodyLength, RequestHead, ResponseHead};
use crate::http::target::OriginForm;
use crate::http::{Fields, Name, Version};

/// Bytes that an encoded head may have beyond the head that it was made from, without the texts that
/// the edits bring.
pub const ADDED_BYTES_MAX: usize = crate::limits::HEAD_GROWTH_BYTES_MAX;

/// What changes in a request on its way to the upstream.
#[derive(Clone, Copy, Debug)]
pub struct RequestEdits<'a> {
    /// The target, in origin-form.
    pub target: OriginForm<'a>,
    /// The Host that the upstream sees.
    pub host: &'a [u8],
    /// The client's address, added to X-Forwarded-For.
    pub client: &'a [u8],
    /// Whether X-Forwarded-* fields of the client are kept, and its address appended.
    pub trusted: bool,
    /// The Host that the client asked for, told as X-Forwarded-Host.
    pub forwarded_host: &'a [u8],
    /// The name of this proxy in Via (RFC 9110, section 7.6.3).
    pub via: &'a [u8],
    /// The X-Request-Id.
    pub request_id: &'a [u8],
    /// How the content is framed.
    pub body: BodyLength,
    /// Whether the client waits for 100 (Continue).
    pub expects_continue: bool,
    /// The protocol to switch to, if the client asks for one that is passed on.
    pub upgrade: Option<&'a [u8]>,
    /// Whether the client takes trailer fields (RFC 9110, section 10.1.4).
    pub takes_trailers: bool,
    /// What remains of Max-Forwards (RFC 9110, section 7.6.2).
    pub max_forwards: Option<u64>,
    /// The field lines that take the place of the client's conditions and range, for a request whose
    /// answer the cache wants whole; none leaves them as they are.
    pub conditions: Option<&'a [u8]>,
    /// Whether the content is asked for without a coding, whatever the client takes.
    pub identity: bool,
    /// Whether it is asked for as a whole, whatever part the client wants.
    pub whole: bool,
}

/// Writes a request head.
pub fn request(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &RequestHead,
    fields: Fields<'_>,
    edits: &RequestEdits<'_>,
    amend: &mut impl Amend,
) {
    put(out, &[head.token.within(bytes), b" ", edits.target.prefix, edits.target.rest, b" HTTP/1.1\r\n"]);
    amend.line(out, Name::Host, b"Host", edits.host);
    for (known, name, value) in fields.iter() {
        let replaced = match known {
            Name::MaxForwards => edits.max_forwards.is_some(),
            Name::AcceptEncoding => edits.identity,
            Name::Range | Name::IfRange if edits.whole => true,
            known => is_rewritten(known) || (edits.conditions.is_some() && is_condition(known)),
        };
        if known.is_hop_by_hop() || replaced || (known == Name::Other && Name::is_imitated_by(name)) {
            continue;
        }
        if !edits.trusted && (known == Name::Forwarded || Name::is_of_forwarding(name)) {
            continue;
        }
        amend.line(out, known, name, value);
    }
    out.extend_from_slice(edits.conditions.unwrap_or_default());
    if edits.identity {
        out.extend_from_slice(b"Accept-Encoding: identity\r\n");
    }
    forwarded(out, fields, edits);
    put(out, &[b"Via: ", version_number(head.version), b" ", edits.via, b"\r\n"]);
    put(out, &[b"X-Request-Id: ", edits.request_id, b"\r\n"]);
    framing(out, edits.body);
    if edits.expects_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(hops) = edits.max_forwards {
        put(out, &[b"Max-Forwards: ", itoa::Buffer::new().format(hops).as_bytes(), b"\r\n"]);
    }
    match (edits.upgrade, edits.takes_trailers) {
        (Some(protocol), _) => put(out, &[b"Connection: upgrade\r\nUpgrade: ", protocol, b"\r\n"]),
        (None, true) => out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n"),
        (None, false) => {}
    }
    amend.end(out);
    out.extend_from_slice(b"\r\n");
}

/// Fields of a request that are written anew.
const fn is_rewritten(name: Name) -> bool {
    matches!(
        name,
        Name::Host
            | Name::ContentLength
            | Name::Expect
            | Name::XForwardedFor
            | Name::XForwardedHost
            | Name::XForwardedProto
            | Name::XRequestId
            | Name::XRingwayTag
    )
}

/// Fields that ask for less than the whole response (RFC 9110, sections 13 and 14).
const fn is_condition(name: Name) -> bool {
    matches!(
        name,
        Name::IfMatch
            | Name::IfModifiedSince
            | Name::IfNoneMatch
            | Name::IfRange
            | Name::IfUnmodifiedSince
            | Name::Range
    )
}

fn forwarded(out: &mut Vec<u8>, fields: Fields<'_>, edits: &RequestEdits<'_>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    if edits.trusted {
        for earlier in fields.values(Name::XForwardedFor) {
            put(out, &[earlier, b", "]);
        }
    }
    put(out, &[edits.client, b"\r\n"]);
    let told = |name| if edits.trusted { fields.first(name) } else { None };
    put(out, &[b"X-Forwarded-Proto: ", told(Name::XForwardedProto).unwrap_or(b"http"), b"\r\n"]);
    let host = told(Name::XForwardedHost).unwrap_or(edits.forwarded_host);
    if !host.is_empty() {
        put(out, &[b"X-Forwarded-Host: ", host, b"\r\n"]);
    }
}

/// What the client's connection does after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, as is the rule in HTTP/1.1.
    KeepAlive,
    /// It stays open, which has to be said to a client of HTTP/1.0.
    KeepAliveSaid,
    /// It closes.
    Close,
}

impl Persistence {
    /// For a client of that version.
    pub const fn of(keep_alive: bool, version: Version) -> Persistence {
        match (keep_alive, version) {
            (false, _) => Persistence::Close,
            (true, Version::Http10) => Persistence::KeepAliveSaid,
            (true, Version::Http11) => Persistence::KeepAlive,
        }
    }

    /// The field line that says so.
    pub const fn field(self) -> &'static [u8] {
        match self {
            Persistence::KeepAlive => b"",
            Persistence::KeepAliveSaid => b"Connection: keep-alive\r\n",
            Persistence::Close => b"Connection: close\r\n",
        }
    }
}

/// What changes in a response on its way to the client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdits<'a> {
    /// How the content is framed.
    pub body: ResponseBody,
    /// What the connection does afterwards.
    pub persistence: Persistence,
    /// The name of this proxy in Via.
    pub via: &'a [u8],
    /// The current date, for a response that has none (RFC 9110, section 6.6.1).
    pub date: &'a [u8],
    /// The protocol that was switched to, in a 101.
    pub upgrade: Option<&'a [u8]>,
    /// Field lines that tell what the cache did, in the place of an X-Cache from further upstream; none
    /// where there is no cache.
    pub report: &'a [u8],
}

/// How the content of a response goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, and a length that the upstream tells stays as it wrote it: HEAD, 304.
    Described,
    /// There is none, and nothing may speak of its length: 1xx, 204.
    Forbidden,
    /// So many bytes.
    Known(u64),
    /// Chunked.
    Chunked,
    /// Until the connection closes, for a client of HTTP/1.0.
    UntilClose,
}

/// Writes a response head.
pub fn response(
    out: &mut Vec<u8>,
    bytes: &[u8],
    head: &ResponseHead,
    fields: Fields<'_>,
    edits: &ResponseEdits<'_>,
    amend: &mut impl Amend,
) {
    status_line(out, head.status, head.phrase.within(bytes));
    let mut dated = false;
    for (known, name, value) in fields.iter() {
        match known {
            Name::ContentLength if edits.body != ResponseBody::Described => continue,
            Name::XCache if !edits.report.is_empty() => continue,
            _ if known.is_hop_by_hop() => continue,
            Name::Date => dated = true,
            _ => {}
        }
        amend.line(out, known, name, value);
    }
    if !dated && head.status >= 200 {
        amend.line(out, Name::Date, b"Date", edits.date);
    }
    put(out, &[b"Via: ", version_number(head.version), b" ", edits.via, b"\r\n"]);
    out.extend_from_slice(edits.report);
    content_framing(out, edits.body);
    match edits.upgrade {
        Some(protocol) => put(out, &[b"Connection: upgrade\r\nUpgrade: ", protocol, b"\r\n"]),
        None => out.extend_from_slice(edits.persistence.field()),
    }
    amend.end(out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the field that says how content is framed, where there is one to write.
pub fn content_framing(out: &mut Vec<u8>, body: ResponseBody) {
    match body {
        ResponseBody::Known(length) => framing(out, BodyLength::Known(length)),
        ResponseBody::Chunked => framing(out, BodyLength::Chunked),
        ResponseBody::Described | ResponseBody::Forbidden | ResponseBody::UntilClose => {}
    }
}

/// What a head gains when it is kept.
#[derive(Clone, Copy, Debug)]
pub struct KeptEdits<'a> {
    /// The name of this proxy in Via.
    pub via: &'a [u8],
    /// The date of receipt, for a response that has none.
    pub date: &'a [u8],
}

/// Writes what a kept response has in common for all its uses: the status line, and the fields without
/// those that speak of one connection, of the content's framing, or of one moment (Age).
pub fn kept(out: &mut Vec<u8>, bytes: &[u8], head: &ResponseHead, fields: Fields<'_>, edits: &KeptEdits<'_>) {
    status_line(out, head.status, head.phrase.within(bytes));
    let mut dated = false;
    for (known, name, value) in fields.iter() {
        match known {
            Name::ContentLength | Name::Age | Name::XCache => continue,
            _ if known.is_hop_by_hop() => continue,
            Name::Date => dated = true,
            _ => {}
        }
        write_line(out, name, value);
    }
    if !dated {
        put(out, &[b"Date: ", edits.date, b"\r\n"]);
    }
    put(out, &[b"Via: ", version_number(head.version), b" ", edits.via, b"\r\n"]);
}

fn status_line(out: &mut Vec<u8>, status: u16, phrase: &[u8]) {
    let mut digits = itoa::Buffer::new();
    put(out, &[b"HTTP/1.1 ", digits.format(status).as_bytes(), b" ", phrase, b"\r\n"]);
}

/// Writes what ends chunked content that has trailer fields, leaving out those that may not stand
/// there. `fields` are those of the trailer section.
pub fn trailers(out: &mut Vec<u8>, fields: Fields<'_>) {
    out.extend_from_slice(b"0\r\n");
    for (known, name, value) in fields.iter() {
        let stands_for_another = Name::is_imitated_by(name) || Name::is_of_forwarding(name);
        if known == Name::Other && !stands_for_another && !is_forbidden_in_trailers(name) {
            write_line(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields for framing, routing, authentication, request modifiers and response control: taken from a
/// trailer section they could change what was decided from the head (RFC 9110, section 6.5.1). The
/// names in [`Name`] are all of that kind. Nor may names with underscores that others cannot tell from them.
fn is_forbidden_in_trailers(name: &[u8]) -> bool {
    const FORBIDDEN: &[&[u8]] = &[
        b"age",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expires",
        b"forwarded",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"location",
        b"pragma",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"trailer",
        b"vary",
        b"warning",
        b"www-authenticate",
    ];
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    let is = |forbidden: &&[u8]| {
        forbidden.len() == name.len() && name.iter().map(plain).eq(forbidden.iter().copied())
    };
    FORBIDDEN.iter().any(is)
}

fn framing(out: &mut Vec<u8>, body: BodyLength) {
    match body {
        BodyLength::Known(length) => {
            put(out, &[b"Content-Length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n"]);
        }
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
}

const fn version_number(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0",
        Version::Http11 => b"1.1",
    }
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
