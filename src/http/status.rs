//! Status codes: what the framing and the proxy's own answers need to know of them.

/// The reason phrase of a status code (RFC 9110, section 15, and the registry); empty for one that is not known.
pub const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// Whether a response is an interim one, to be followed by another (RFC 9110, section 15.2).
pub const fn is_interim(status: u16) -> bool {
    matches!(status, 100..=199) && status != SWITCHING_PROTOCOLS
}

/// The status that asks for the content of a request (RFC 9110, section 15.2.1).
pub const CONTINUE: u16 = 100;

/// The status that turns a connection into a tunnel (RFC 9110, section 15.2.2).
pub const SWITCHING_PROTOCOLS: u16 = 101;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn every_status_of_the_catalogue_has_a_phrase() {
        for reason in Reason::ALL.iter().filter(|reason| reason.status() != 0) {
            assert!(!phrase(reason.status()).is_empty(), "{}", reason.name());
        }
    }
}
