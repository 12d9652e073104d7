//! Response heads (RFC 9112, sections 4 and 5), as a client reads them.

use std::mem::MaybeUninit;

use super::head::{self, Malformed, RawFields};
use crate::http::{FieldLine, Span, Version};
use crate::limits::{FIELDS_CEILING, HeadLimits};

/// A status line, found to be well-formed. The field lines stand beside it, in the list that
/// [`parse`] filled.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead {
    /// The status code, from 100 to 999.
    pub status: u16,
    /// The reason phrase; it may be empty.
    pub phrase: Span,
    /// The version of the upstream.
    pub version: Version,
}

/// Reads a whole response head.
///
/// # Errors
/// What is wrong with it; the connection that it came on is of no more use.
pub fn parse(
    head: &[u8],
    limits: &HeadLimits,
    lines: &mut Vec<FieldLine>,
) -> Result<ResponseHead, Malformed> {
    let mut raw: RawFields<'_> = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let outcome = config.parse_response_with_uninit_headers(&mut parsed, head, head::slots(&mut raw, limits));
    match outcome {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Malformed::FirstLine),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooManyFields),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(Malformed::Field),
        Err(httparse::Error::Version) => return Err(Malformed::Version),
        Err(_) => return Err(Malformed::FirstLine),
    }
    let (Some(status @ 100..), Some(phrase), Some(version)) = (parsed.code, parsed.reason, parsed.version)
    else {
        return Err(Malformed::FirstLine);
    };
    head::collect(head, parsed.headers, lines);
    Ok(ResponseHead {
        status,
        phrase: Span::of(head, phrase.as_bytes()),
        version: if version == 0 { Version::Http10 } else { Version::Http11 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ResponseHead, Malformed> {
        parse(text.as_bytes(), &HeadLimits::default(), &mut Vec::new())
    }

    #[test]
    fn reads_a_response() {
        let text = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let head = read(text).unwrap();
        assert_eq!(head.status, 404);
        assert_eq!(head.phrase.within(text.as_bytes()), b"Not Found");
    }

    #[test]
    fn the_phrase_may_be_empty_or_missing() {
        assert!(read("HTTP/1.0 200 \r\n\r\n").unwrap().phrase.is_empty());
        assert!(read("HTTP/1.1 200\r\n\r\n").unwrap().phrase.is_empty());
    }

    #[test]
    fn refuses_what_is_malformed() {
        for (text, want) in [
            ("HTTP/2.0 200 OK\r\n\r\n", Malformed::Version),
            ("ICY 200 OK\r\n\r\n", Malformed::Version),
            ("HTTP/1.1 20 OK\r\n\r\n", Malformed::FirstLine),
            ("HTTP/1.1 099 OK\r\n\r\n", Malformed::FirstLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", Malformed::FirstLine),
            ("HTTP/1.1  200 OK\r\n\r\n", Malformed::FirstLine),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Malformed::Field),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Malformed::Field),
            ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", Malformed::Field),
            ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", Malformed::Field),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(want), "{text:?}");
        }
    }
}
