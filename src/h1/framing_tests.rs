use super::*;
use crate::h1::{request, response};
use crate::limits::HeadLimits;

const KNOWN: fn(u64) -> Result<BodyLength, BadFraming> = |n| Ok(BodyLength::Known(n));

fn request_with(version: &str, lines: &str) -> Result<BodyLength, BadFraming> {
    let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
    let mut fields = Vec::new();
    let head = request::parse(text.as_bytes(), &HeadLimits::default(), &mut fields).unwrap();
    of_request(head.version, Fields::new(text.as_bytes(), &fields))
}

fn response_with(head_only: bool, status: u16, version: &str, lines: &str) -> Result<BodyLength, BadFraming> {
    let text = format!("HTTP/{version} {status} X\r\n{lines}\r\n");
    let mut fields = Vec::new();
    let head = response::parse(text.as_bytes(), &HeadLimits::default(), &mut fields).unwrap();
    of_response(head_only, head.status, head.version, Fields::new(text.as_bytes(), &fields))
}

#[test]
fn requests() {
    use BadFraming::*;
    let cases: &[(&str, Result<BodyLength, BadFraming>)] = &[
        ("", Ok(BodyLength::None)),
        ("Content-Length: 0\r\n", KNOWN(0)),
        ("Content-Length: 42\r\n", KNOWN(42)),
        ("content-length:  007 \r\n", KNOWN(7)),
        ("Content-Length: 9223372036854775807\r\n", KNOWN(i64::MAX as u64)),
        ("Content-Length: 9223372036854775808\r\n", Err(BadLength)),
        ("Content-Length: 99999999999999999999999\r\n", Err(BadLength)),
        ("Content-Length: 18446744073709551621\r\n", Err(BadLength)),
        ("Content-Length:\r\n", Err(BadLength)),
        ("Content-Length: -1\r\n", Err(BadLength)),
        ("Content-Length: +1\r\n", Err(BadLength)),
        ("Content-Length: 1 1\r\n", Err(BadLength)),
        ("Content-Length: 0x10\r\n", Err(BadLength)),
        ("Content-Length: 1e3\r\n", Err(BadLength)),
        ("Content-Length: \"1\"\r\n", Err(BadLength)),
        ("Content-Length: 5, 5\r\n", Err(RepeatedLength)),
        ("Content-Length: 5,\r\n", Err(RepeatedLength)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(RepeatedLength)),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(RepeatedLength)),
        ("Transfer-Encoding: chunked\r\n", Ok(BodyLength::Chunked)),
        ("transfer-encoding: CHUNKED\r\n", Ok(BodyLength::Chunked)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(LengthAndCoding)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(LengthAndCoding)),
        ("Transfer-Encoding: chunked, chunked\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding:\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding: ,chunked\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding: chunked;q=1\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding: \"chunked\"\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding: chunked x\r\n", Err(BadTransferEncoding)),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(UnknownTransferCoding)),
        ("Transfer-Encoding: chunked, gzip\r\n", Err(UnknownTransferCoding)),
        ("Transfer-Encoding: identity\r\n", Err(UnknownTransferCoding)),
        ("Transfer-Encoding: xchunked\r\n", Err(UnknownTransferCoding)),
        ("Transfer-Encoding: gzip;q=1\r\n", Err(UnknownTransferCoding)),
        // Not the field, but a name that a lenient reader might take for it.
        ("Transfer_Encoding: chunked\r\n", Ok(BodyLength::None)),
    ];
    for (lines, want) in cases {
        assert_eq!(request_with("1.1", lines), *want, "{lines:?}");
    }
    assert_eq!(request_with("1.0", "Transfer-Encoding: chunked\r\n"), Err(BadTransferEncoding));
    assert_eq!(request_with("1.0", "Content-Length: 3\r\n"), KNOWN(3));
}

#[test]
fn responses() {
    use BadFraming::*;
    let cases: &[(bool, u16, &str, &str, Result<BodyLength, BadFraming>)] = &[
        (false, 200, "1.1", "", Ok(BodyLength::UntilClose)),
        (false, 200, "1.0", "", Ok(BodyLength::UntilClose)),
        (false, 200, "1.1", "Content-Length: 3\r\n", KNOWN(3)),
        (false, 200, "1.1", "Transfer-Encoding: chunked\r\n", Ok(BodyLength::Chunked)),
        (false, 200, "1.0", "Transfer-Encoding: chunked\r\n", Err(BadTransferEncoding)),
        (false, 200, "1.1", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Err(LengthAndCoding)),
        (false, 200, "1.1", "Content-Length: 3\r\nContent-Length: 3\r\n", Err(RepeatedLength)),
        (false, 200, "1.1", "Transfer-Encoding: gzip, chunked\r\n", Err(UnknownTransferCoding)),
        (true, 200, "1.1", "Content-Length: 3\r\n", Ok(BodyLength::None)),
        (true, 200, "1.1", "Transfer-Encoding: chunked\r\n", Ok(BodyLength::None)),
        (true, 200, "1.1", "Content-Length: x\r\n", Err(BadLength)),
        (false, 304, "1.1", "Content-Length: 3\r\n", Ok(BodyLength::None)),
        (false, 204, "1.1", "Content-Length: 3\r\n", Ok(BodyLength::None)),
        (false, 204, "1.1", "", Ok(BodyLength::None)),
        (false, 100, "1.1", "", Ok(BodyLength::None)),
        (false, 101, "1.1", "", Ok(BodyLength::None)),
        (false, 205, "1.1", "", Ok(BodyLength::UntilClose)),
        (false, 500, "1.1", "Content-Length: 0\r\n", KNOWN(0)),
    ];
    for (head_only, status, version, lines, want) in cases {
        let got = response_with(*head_only, *status, version, lines);
        assert_eq!(got, *want, "{head_only} {status} {version} {lines:?}");
    }
}

#[test]
fn connections_stay_open_as_version_and_options_say() {
    let keeps = |version: &str, lines: &str| {
        let text = format!("HTTP/{version} 200 X\r\n{lines}\r\n");
        let mut fields = Vec::new();
        let head = response::parse(text.as_bytes(), &HeadLimits::default(), &mut fields).unwrap();
        keeps_alive(head.version, Fields::new(text.as_bytes(), &fields))
    };
    assert!(keeps("1.1", ""));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("1.1", "Connection: foo, Close\r\n"));
    assert!(!keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
}
