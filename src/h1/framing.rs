//! How long a message's content is: the one place that decides it (RFC 9112, section 6.3).

use crate::error::Reason;
use crate::http::fields::is_token;
use crate::http::{Fields, Name, Version, list, status};

/// How the content of a message is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no content, and no field says how much there would be.
    None,
    /// So many bytes, as Content-Length says.
    Known(u64),
    /// The chunked transfer coding.
    Chunked,
    /// All bytes until the upstream closes; only a response may be so.
    UntilClose,
}

impl BodyLength {
    /// Whether nothing follows the head.
    pub const fn is_empty(self) -> bool {
        matches!(self, BodyLength::None | BodyLength::Known(0))
    }
}

/// What is wrong with the framing fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFraming {
    /// Content-Length and Transfer-Encoding both.
    LengthAndCoding,
    /// Content-Length more than once, or as a list.
    RepeatedLength,
    /// Content-Length that is not a number, or too large a one.
    BadLength,
    /// Transfer-Encoding that is not `chunked` once and last, or in HTTP/1.0.
    BadTransferEncoding,
    /// A transfer coding that is not spoken here.
    UnknownTransferCoding,
}

impl BadFraming {
    /// Why a request with this fault is refused.
    pub const fn in_request(self) -> Reason {
        match self {
            BadFraming::LengthAndCoding => Reason::LengthAndCoding,
            BadFraming::RepeatedLength => Reason::RepeatedLength,
            BadFraming::BadLength => Reason::BadLength,
            BadFraming::BadTransferEncoding => Reason::BadTransferEncoding,
            BadFraming::UnknownTransferCoding => Reason::UnknownTransferCoding,
        }
    }
}

/// The length of a request's content.
///
/// # Errors
/// Whatever leaves any doubt. Such a request must reach no upstream, and its connection must be closed.
pub fn of_request(version: Version, fields: Fields<'_>) -> Result<BodyLength, BadFraming> {
    Ok(declared(version, fields)?.unwrap_or(BodyLength::None))
}

/// The length of a final response's content, given the request that it answers. `head_only` says that
/// the request was a HEAD.
///
/// # Errors
/// Whatever leaves any doubt: the response must not be passed on, nor its connection be used again.
pub fn of_response(
    head_only: bool,
    status: u16,
    version: Version,
    fields: Fields<'_>,
) -> Result<BodyLength, BadFraming> {
    if status::is_interim(status) || matches!(status, status::SWITCHING_PROTOCOLS | 204) {
        // RFC 9110, section 8.6: these have neither content nor framing fields. Where an upstream
        // sends them all the same, any byte that follows shows as left over, and ends the connection.
        return Ok(BodyLength::None);
    }
    let declared = declared(version, fields)?;
    if head_only || status == 304 {
        return Ok(BodyLength::None);
    }
    Ok(declared.unwrap_or(BodyLength::UntilClose))
}

/// What the framing fields say, if they say anything.
fn declared(version: Version, fields: Fields<'_>) -> Result<Option<BodyLength>, BadFraming> {
    let mut length = None;
    let mut codings = 0_usize;
    for (name, _, value) in fields.iter() {
        match name {
            Name::ContentLength => {
                let earlier = length.replace(content_length(value)?);
                if earlier.is_some() {
                    return Err(BadFraming::RepeatedLength);
                }
            }
            Name::TransferEncoding => codings += transfer_codings(value)?,
            _ => {}
        }
    }
    let coded = fields.values(Name::TransferEncoding).next().is_some();
    match (coded, length) {
        (false, length) => Ok(length.map(BodyLength::Known)),
        (true, Some(_)) => Err(BadFraming::LengthAndCoding),
        (true, None) if version == Version::Http10 || codings != 1 => Err(BadFraming::BadTransferEncoding),
        (true, None) => Ok(Some(BodyLength::Chunked)),
    }
}

/// The one number of a Content-Length field (RFC 9110, section 8.6): digits, and nothing else.
fn content_length(value: &[u8]) -> Result<u64, BadFraming> {
    if value.contains(&b',') {
        return Err(BadFraming::RepeatedLength);
    }
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(BadFraming::BadLength);
    }
    value
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        // Sums of lengths must not overflow either.
        .filter(|&length| length <= i64::MAX as u64)
        .ok_or(BadFraming::BadLength)
}

/// How many `chunked` codings a Transfer-Encoding line lists.
fn transfer_codings(value: &[u8]) -> Result<usize, BadFraming> {
    let mut chunked = 0;
    for element in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if element.eq_ignore_ascii_case(b"chunked") {
            chunked += 1;
        } else if is_coding(element) {
            return Err(BadFraming::UnknownTransferCoding);
        } else {
            return Err(BadFraming::BadTransferEncoding);
        }
    }
    Ok(chunked)
}

/// Whether a list element is a token that could name a coding; parameters are allowed on any but
/// `chunked` (RFC 9112, section 7).
fn is_coding(element: &[u8]) -> bool {
    let name = element.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    is_token(name) && !name.eq_ignore_ascii_case(b"chunked")
}

/// Whether the sender of a message keeps its connection open after it (RFC 9112, section 9.3).
pub fn keeps_alive(version: Version, fields: Fields<'_>) -> bool {
    let mut keep = version == Version::Http11;
    for value in fields.values(Name::Connection) {
        for option in list::tokens(value) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keep
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
