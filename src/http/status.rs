//! Status codes: what the framing and the proxy's own answers need to know of them.

/// The reason phrase of a status code that the proxy itself answers with.
pub const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
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
