use proptest::prelude::*;

use super::*;
use crate::net::fuzz_preamble;

fn header(source: &str, destination: &str, length: usize) -> Reading {
    let address = |text: &str| Some(text).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
    Reading::Header(Header { source: address(source), destination: address(destination), length })
}

#[test]
fn a_line_tells_addresses_and_ports() {
    let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   65535 65535\r\n";
    assert_eq!(longest.len(), LINE_BYTES_MAX);
    for (line, source, destination) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1:56324", "198.51.100.1:443"),
        ("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535", "0.0.0.0:0"),
        ("PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2"),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1", "[::1]:2"),
        ("PROXY UNKNOWN\r\n", "", ""),
        ("PROXY UNKNOWN \r\n", "", ""),
        ("PROXY UNKNOWN what \0 ever\r\n", "", ""),
        (longest, "", ""),
    ] {
        let want = header(source, destination, line.len());
        assert_eq!(read(line.as_bytes()), want, "{line}");
        assert_eq!(read(format!("{line}GET / HTTP/1.1\r\n\r\n").as_bytes()), want, "{line}");
        for end in 0..line.len() {
            assert_eq!(read(&line.as_bytes()[..end]), Reading::NeedMore, "{line}");
        }
    }
}

#[test]
fn a_line_that_is_not_exactly_one_is_refused() {
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 15));
    for line in [
        "GET / HTTP/1.1\r\n",
        "\r\nPROXY UNKNOWN\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\rX",
        "PROXY TCP4 192.0.2.1\r198.51.100.1 1 2\r\n",
        "PROXY TCP4\t192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        "PROXY TCP4 ::1 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 00 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 \r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY unknown\r\n",
        "PROXY UNKNOWN x\ny\r\n",
        "PROXY UNKNOWN x\ry\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\u{e9}\r\n",
        &too_long,
        &too_long[..LINE_BYTES_MAX],
    ] {
        assert_eq!(read(line.as_bytes()), Reading::Malformed, "{line:?}");
    }
    // As soon as it can be seen.
    for front in ["G", "PROXYX", "PROXY \n", "\r\n\r\n\0\r\nQUIX"] {
        assert_eq!(read(front.as_bytes()), Reading::Malformed, "{front:?}");
    }
}

fn binary_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];

fn value(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

#[test]
fn a_binary_header_tells_the_same() {
    let mut v6 = [0; 36];
    v6[..2].copy_from_slice(&[0x20, 0x01]);
    v6[15] = 1;
    v6[31] = 1;
    v6[33] = 1;
    v6[35] = 2;
    let mut mapped = v6;
    mapped[..16].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets());
    let known = ("192.0.2.1:56324", "198.51.100.1:443");
    let long = [&V4[..], &value(0xe0, &[0; REST_BYTES_MAX - 15])].concat();
    for (command, family, rest, (source, destination)) in [
        (0x21, 0x11, &V4[..], known),
        (0x21, 0x11, &[&V4[..], &value(0x01, b"h2"), &value(0x04, b"")].concat(), known),
        (0x21, 0x11, &long, known),
        (0x21, 0x21, &v6, ("[2001::1]:1", "[::1]:2")),
        (0x21, 0x21, &mapped, ("192.0.2.1:1", "[::1]:2")),
        (0x21, 0x31, &[b'/'; 216], ("", "")),
        (0x21, 0x00, &[], ("", "")),
        (0x21, 0x00, b"what ever", ("", "")),
        (0x20, 0x00, &[], ("", "")),
        (0x20, 0x11, &V4, ("", "")),
        (0x20, 0xff, b"what ever", ("", "")),
    ] {
        let bytes = binary_of(command, family, rest);
        let want = header(source, destination, bytes.len());
        assert_eq!(read(&bytes), want, "{command:x} {family:x}");
        assert_eq!(read(&[&bytes[..], &bytes[..]].concat()), want, "{command:x} {family:x}");
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Reading::NeedMore, "{command:x} {family:x}");
        }
    }
}

#[test]
fn a_binary_header_that_is_not_exactly_one_is_refused() {
    for (command, family, rest) in [
        (0x11, 0x11, &V4[..]),
        (0x22, 0x11, &V4),
        (0x2f, 0x11, &V4),
        (0x31, 0x11, &V4),
        // Datagrams, and what is not defined.
        (0x21, 0x12, &V4),
        (0x21, 0x10, &V4),
        (0x21, 0x01, &[]),
        (0x21, 0x41, &V4),
        (0x21, 0xf1, &V4),
        // Too short for the addresses.
        (0x21, 0x11, &V4[..11]),
        (0x21, 0x21, &[0; 35]),
        (0x21, 0x31, &[0; 215]),
        // Values that are not whole.
        (0x21, 0x11, &[&V4[..], &[1]].concat()),
        (0x21, 0x11, &[&V4[..], &[1, 0, 1]].concat()),
        (0x21, 0x11, &[&V4[..], &[1, 0xff, 0xff, 0]].concat()),
        // Checksums that are none.
        (0x21, 0x11, &[&V4[..], &value(CHECKSUM, &[0; 4])].concat()),
        (0x21, 0x11, &[&V4[..], &value(CHECKSUM, &[0; 3])].concat()),
        (0x21, 0x11, &[&V4[..], &value(CHECKSUM, &[0; 5])].concat()),
        // Too long.
        (0x21, 0x11, &[&V4[..], &value(0xe0, &[0; REST_BYTES_MAX - 14])].concat()),
        (0x20, 0x00, &[0; REST_BYTES_MAX + 1]),
    ] {
        let bytes = binary_of(command, family, rest);
        assert_eq!(read(&bytes), Reading::Malformed, "{command:x} {family:x} {}", rest.len());
    }
    let too_long = binary_of(0x21, 0x11, &[0; 0xffff]);
    assert_eq!(read(&too_long[..FIXED_BYTES]), Reading::Malformed, "before the rest has come");
}

#[test]
fn a_checksum_has_to_be_right() {
    // The check value of CRC32C.
    assert_eq!(crc32c(b"123456789", 9), 0xe306_9283);
    let mut bytes = binary_of(0x21, 0x11, &[&V4[..], &value(CHECKSUM, &[0; 4]), &value(4, b"x")].concat());
    let at = FIXED_BYTES + V4.len() + 3;
    let sum = crc32c(&bytes, at).to_be_bytes();
    bytes[at..at + 4].copy_from_slice(&sum);
    assert_eq!(read(&bytes), header("192.0.2.1:56324", "198.51.100.1:443", bytes.len()));
    bytes[FIXED_BYTES] ^= 1;
    assert_eq!(read(&bytes), Reading::Malformed);
}

fn written(version: ProxyVersion, source: &str, destination: &str) -> Vec<u8> {
    let address = |text: &str| Some(text).filter(|text| !text.is_empty()).map(|text| text.parse().unwrap());
    let mut out = b"before".to_vec();
    write(version, address(source), address(destination), &mut out);
    out.split_off(6)
}

#[test]
fn headers_are_written_as_they_are_read() {
    for (source, destination, want) in [
        ("192.0.2.1:1", "198.51.100.1:2", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n"),
        ("[2001:db8::1]:1", "[::1]:2", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n"),
        ("[::ffff:192.0.2.1]:1", "198.51.100.1:2", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n"),
        ("192.0.2.1:1", "[::1]:2", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"),
        ("192.0.2.1:1", "", "PROXY TCP4 192.0.2.1 0.0.0.0 1 0\r\n"),
        ("[::1]:1", "", "PROXY TCP6 ::1 :: 1 0\r\n"),
        ("", "198.51.100.1:2", "PROXY UNKNOWN\r\n"),
        ("", "", "PROXY UNKNOWN\r\n"),
    ] {
        let line = written(ProxyVersion::V1, source, destination);
        assert_eq!(String::from_utf8_lossy(&line), want);
        let binary = written(ProxyVersion::V2, source, destination);
        let (Reading::Header(line), Reading::Header(binary)) = (read(&line), read(&binary)) else {
            panic!("{want}: what is written cannot be read");
        };
        assert_eq!((line.source, line.destination), (binary.source, binary.destination));
    }
    assert_eq!(written(ProxyVersion::V2, "", ""), binary_of(0x21, 0x00, &[]));
    assert_eq!(written(ProxyVersion::V2, "192.0.2.1:56324", "198.51.100.1:443"), binary_of(0x21, 0x11, &V4));
}

/// What an independent reader takes both addresses for.
fn theirs(bytes: &[u8]) -> Option<[SocketAddr; 2]> {
    use ppp::{HeaderResult, v1, v2};
    match ppp::HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => match header.ok()?.addresses {
            v1::Addresses::Tcp4(ip) => Some([
                (ip.source_address, ip.source_port).into(),
                (ip.destination_address, ip.destination_port).into(),
            ]),
            v1::Addresses::Tcp6(ip) => Some([
                (ip.source_address, ip.source_port).into(),
                (ip.destination_address, ip.destination_port).into(),
            ]),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(header) => match header.ok()?.addresses {
            v2::Addresses::IPv4(ip) => Some([
                (ip.source_address, ip.source_port).into(),
                (ip.destination_address, ip.destination_port).into(),
            ]),
            v2::Addresses::IPv6(ip) => Some([
                (ip.source_address, ip.source_port).into(),
                (ip.destination_address, ip.destination_port).into(),
            ]),
            _ => None,
        },
    }
}

/// Bytes that are nearly a header.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let line = "(PROXY |PROXY|)(TCP4|TCP6|UNKNOWN|)( 1\\.2\\.3\\.4| ::1| 1::|){0,3}( 0| 7| 65535| 65536| \\+1){0,3}\r?\n?";
    let binary = (0x20_u8..0x23, 0_u8..0x32, prop::collection::vec(any::<u8>(), 0..48), -1_i32..2);
    let binary = binary.prop_map(|(command, family, rest, more)| {
        let mut bytes = binary_of(command, family, &rest);
        bytes[15] = u8::try_from((i32::from(bytes[15]) + more).max(0)).unwrap();
        bytes
    });
    prop_oneof![line.prop_map(String::into_bytes), binary, prop::collection::vec(any::<u8>(), 0..32)]
}

#[test]
fn a_connection_of_its_own_is_for_nobody() {
    for (version, want) in
        [(ProxyVersion::V1, &b"PROXY UNKNOWN\r\n"[..]), (ProxyVersion::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")]
    {
        let mut bytes = Vec::new();
        write_own(version, &mut bytes);
        assert_eq!(bytes, want);
        assert_eq!(
            read(&bytes),
            Reading::Header(Header { source: None, destination: None, length: bytes.len() })
        );
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_judged_once(bytes in nearly()) {
        fuzz_preamble::preamble(&bytes);
    }

    #[test]
    fn another_reader_sees_the_same(bytes in nearly()) {
        if let Reading::Header(Header { source: Some(source), destination: Some(destination), length }) = read(&bytes) {
            let theirs = theirs(&bytes[..length]).expect("what is accepted here is a header elsewhere");
            let canonical = theirs.map(|address| socket(address.ip(), address.port()));
            prop_assert_eq!([source, destination], canonical);
        }
    }

    #[test]
    fn another_reader_understands_what_is_written(from: [u8; 16], to: [u8; 16], four: [bool; 2], ports: [u16; 2]) {
        let address = |bytes: [u8; 16], four| match four {
            true => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
            false => IpAddr::from(bytes),
        };
        let (from, to) = (address(from, four[0]), address(to, four[1]));
        let (from, to) = (SocketAddr::new(from, ports[0]), SocketAddr::new(to, ports[1]));
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut bytes = Vec::new();
            write(version, Some(from), Some(to), &mut bytes);
            let told = theirs(&bytes).unwrap().map(|address| socket(address.ip(), address.port()));
            prop_assert_eq!(told, [from, to].map(|address| socket(address.ip(), address.port())));
        }
    }
}
