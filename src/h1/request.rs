//! Request heads (RFC 9112, sections 3 and 5), as a server reads them.

use std::mem::MaybeUninit;

use super::head::{self, Malformed, RawFields};
use crate::error::Reason;
use crate::http::target::Target;
use crate::http::{FieldLine, Fields, Method, Name, Span, Version, authority};
use crate::limits::{FIELDS_CEILING, HeadLimits};

/// A request's first line, found to be well-formed. Its parts are spans over the head; the field
/// lines stand beside it, in the list that [`parse`] filled.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead {
    /// The method, as far as it matters here.
    pub method: Method,
    /// The method as it was sent.
    pub token: Span,
    /// What is asked for.
    pub target: Target,
    /// The request-target as it was sent.
    pub target_text: Span,
    /// The version of the client.
    pub version: Version,
}

/// Reads a whole request head, and checks what every request must satisfy: the form of its target,
/// and exactly one well-formed Host field (RFC 9112, section 3.2), which only HTTP/1.0 may leave out.
///
/// # Errors
/// The reason to refuse the request. The connection has no clear end of message after that, and must
/// be closed.
pub fn parse(head: &[u8], limits: &HeadLimits, lines: &mut Vec<FieldLine>) -> Result<RequestHead, Reason> {
    let mut raw: RawFields<'_> = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, head::slots(&mut raw, limits)) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Reason::BadRequestLine),
        Err(error) => return Err(refusal(error, head, limits)),
    }
    let (Some(token), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Reason::BadRequestLine);
    };
    if target.len() > limits.target_bytes_max {
        return Err(Reason::TargetTooLong);
    }
    let method = Method::from_token(token.as_bytes());
    let target_text = Span::of(head, target.as_bytes());
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    head::collect(head, parsed.headers, lines);
    let target = Target::parse(head, target_text, method)?;
    check_host(Fields::new(head, lines), version)?;
    Ok(RequestHead { method, token: Span::of(head, token.as_bytes()), target, target_text, version })
}

/// Why a request is refused whose head is larger than the limit, ended or not.
pub fn too_large(bytes: &[u8], limits: &HeadLimits) -> Reason {
    let line = memchr::memchr(b'\r', bytes).unwrap_or(bytes.len());
    if line > limits.target_bytes_max + FIRST_LINE_REST_MAX {
        Reason::TargetTooLong
    } else {
        Reason::HeadTooLarge
    }
}

/// Room on the request line for the method and the version, beside the target.
const FIRST_LINE_REST_MAX: usize = 64;

fn check_host(fields: Fields<'_>, version: Version) -> Result<(), Reason> {
    let mut hosts = fields.values(Name::Host);
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(Reason::RepeatedHost),
        (Some(host), None) if authority::is_valid(host) => Ok(()),
        (Some(_), None) => Err(Reason::BadHost),
        (None, _) if version == Version::Http10 => Ok(()),
        (None, _) => Err(Reason::MissingHost),
    }
}

/// What httparse's verdict means for this head. It stops at the first fault, so that only the cause
/// needs to be told apart.
fn refusal(error: httparse::Error, head: &[u8], limits: &HeadLimits) -> Reason {
    let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let line = &head[..line_end];
    match error {
        httparse::Error::TooManyHeaders => Reason::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Reason::BadField,
        httparse::Error::Version if is_other_version(line) => Malformed::Version.in_request(),
        _ if line.len() > limits.target_bytes_max + FIRST_LINE_REST_MAX => Reason::TargetTooLong,
        // A bare CR among the field lines ends in the same verdict as one in the first line.
        httparse::Error::NewLine if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") => {
            Reason::BadField
        }
        _ => Reason::BadRequestLine,
    }
}

/// Whether the line ends with a version that is well-formed, and so just one that is not spoken here.
fn is_other_version(line: &[u8]) -> bool {
    let version = line.rsplit(|&b| b == b' ').next().unwrap_or_default();
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit() && (*major, *minor) != (b'1', b'0') && (*major, *minor) != (b'1', b'1'))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
