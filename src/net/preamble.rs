//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`): what a proxy puts in front of a
//! connection to say whose it is. Bytes to values, and values to bytes; pure.
//!
//! ```text
//!   version 1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n
//!   version 2   signature, 12 bytes | 2, command | family | length | addresses, other values | checksum among them
//! ```
//!
//! What the specification forbids is malformed, as early as that can be seen: whoever sends anything else here, such
//! as a request, does not speak the protocol.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::config::ProxyVersion;
use crate::limits::KIB;

/// What the second version begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first version begins with.
const WORD: &[u8; 6] = b"PROXY ";

/// Bytes of the longest header of version 1, the end of its line included (section 2.1).
const LINE_BYTES_MAX: usize = 107;

/// Bytes of a header of version 2 up to its length.
const FIXED_BYTES: usize = 16;

/// Bytes that may follow these: addresses, and values that nobody here asks for.
const REST_BYTES_MAX: usize = 4 * KIB;

/// Bytes of the longest header that is read.
pub(crate) const HEADER_BYTES_MAX: usize = FIXED_BYTES + REST_BYTES_MAX;

/// The second version and a command: the connection is the proxy's own.
const LOCAL: u8 = 0x20;

/// The second version and a command: the connection is made for somebody.
const PROXY: u8 = 0x21;

/// The value that is a checksum of the header (section 2.2.3).
const CHECKSUM: u8 = 0x03;

/// What can be said of the bytes that a connection began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// They may become a header.
    NeedMore,
    /// They begin with a header.
    Header(Header),
    /// They are no header, and will be none.
    Malformed,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Who asks. None where that is the peer itself, or nobody knows.
    pub(crate) source: Option<SocketAddr>,
    /// Where he connected to; there if the source is.
    pub(crate) destination: Option<SocketAddr>,
    /// Bytes of the header. What comes behind is not part of it.
    pub(crate) length: usize,
}

/// Looks for a header at the front of `bytes`, all that has come. An IPv4 address in the form of an IPv6 one counts as
/// IPv4.
pub(crate) fn read(bytes: &[u8]) -> Reading {
    let begins = |with: &[u8]| with.starts_with(&bytes[..bytes.len().min(with.len())]);
    let found = if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(WORD) {
        line(bytes)
    } else {
        Err(Malformed)
    };
    match found {
        Ok(Some((addresses, length))) => {
            let [source, destination] = addresses.map_or([None; 2], |addresses| addresses.map(Some));
            Reading::Header(Header { source, destination, length })
        }
        Ok(None) => Reading::NeedMore,
        Err(Malformed) => Reading::Malformed,
    }
}

struct Malformed;

/// Source and destination, if they are told, and the length of the header; nothing while it is not whole.
type Found = Option<(Option<[SocketAddr; 2]>, usize)>;

/// Version 1 (section 2.1).
fn line(bytes: &[u8]) -> Result<Found, Malformed> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if within.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Malformed) };
    };
    match &within[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if end + 1 < LINE_BYTES_MAX => return Ok(None),
        _ => return Err(Malformed),
    }
    let text = within.get(WORD.len()..end).ok_or(Malformed)?;
    let length = end + 2;
    // Whatever else is on such a line means nothing.
    if text == b"UNKNOWN" || text.starts_with(b"UNKNOWN ") {
        return Ok(Some((None, length)));
    }
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or(Malformed);
    let (family, [from, to, from_port, to_port]) = (word()?, [word()?, word()?, word()?, word()?]);
    let (from, to) = match family {
        "TCP4" => (address::<Ipv4Addr>(from)?, address::<Ipv4Addr>(to)?),
        "TCP6" => (address::<Ipv6Addr>(from)?, address::<Ipv6Addr>(to)?),
        _ => return Err(Malformed),
    };
    let addresses = [socket(from, port(from_port)?), socket(to, port(to_port)?)];
    match words.next() {
        None => Ok(Some((Some(addresses), length))),
        Some(_) => Err(Malformed),
    }
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Malformed> {
    text.parse::<A>().map(Into::into).map_err(|_| Malformed)
}

/// A port, without a sign or zeros in front.
fn port(text: &str) -> Result<u16, Malformed> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed)
}

fn socket(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

/// Version 2 (section 2.2).
fn binary(bytes: &[u8]) -> Result<Found, Malformed> {
    let command = bytes.get(SIGNATURE.len()).copied();
    if !matches!(command, None | Some(LOCAL | PROXY)) {
        return Err(Malformed);
    }
    // Streams only: this is one. Of the proxy's own connections all but the length is to be ignored.
    let family = bytes.get(SIGNATURE.len() + 1).copied();
    let addresses_length = match (command, family) {
        (Some(LOCAL), _) | (_, None | Some(0x00)) => 0,
        (_, Some(0x11)) => 12,
        (_, Some(0x21)) => 36,
        (_, Some(0x31)) => 216,
        _ => return Err(Malformed),
    };
    let Some(&[.., high, low]) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if !(addresses_length..=REST_BYTES_MAX).contains(&rest) {
        return Err(Malformed);
    }
    let length = FIXED_BYTES + rest;
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    let (addresses, values) = header[FIXED_BYTES..].split_at(addresses_length);
    let addresses = match family {
        _ if command == Some(LOCAL) => return Ok(Some((None, length))),
        Some(0x00) => return Ok(Some((None, length))),
        Some(0x11) => pair::<4>(addresses),
        Some(0x21) => pair::<16>(addresses),
        _ => None,
    };
    check(header, values)?;
    Ok(Some((addresses, length)))
}

/// Two addresses of so many bytes, and their ports.
fn pair<const BYTES: usize>(bytes: &[u8]) -> Option<[SocketAddr; 2]>
where
    IpAddr: From<[u8; BYTES]>,
{
    let (from, rest) = bytes.split_first_chunk::<BYTES>()?;
    let (to, rest) = rest.split_first_chunk::<BYTES>()?;
    let &[a, b, c, d] = rest.first_chunk::<4>()?;
    let (from_port, to_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some([socket(IpAddr::from(*from), from_port), socket(IpAddr::from(*to), to_port)])
}

/// Checks the other values of a header: that each is whole, and the checksum, if it is there.
fn check(header: &[u8], mut values: &[u8]) -> Result<(), Malformed> {
    while let Some((&[kind, high, low], rest)) = values.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        if kind == CHECKSUM {
            let at = header.len() - rest.len() - value.len();
            let told = value.try_into().map(u32::from_be_bytes).map_err(|_| Malformed)?;
            if crc32c(header, at) != told {
                return Err(Malformed);
            }
        }
        values = rest;
    }
    if values.is_empty() { Ok(()) } else { Err(Malformed) }
}

/// CRC32C (RFC 4960, appendix B) of a header, the four bytes from `hole` on taken for zeros.
fn crc32c(header: &[u8], hole: usize) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let zeroed = |(at, &byte): (usize, &u8)| if (hole..hole + 4).contains(&at) { 0 } else { byte };
    !header.iter().enumerate().map(zeroed).fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 })
    })
}

/// Writes the header of a connection that is made for `source`, who connected to `destination`. Where there is no
/// source it says that nobody knows; a source without a destination is told with one that means nothing. Addresses of
/// different families are both told as IPv6.
pub(crate) fn write(
    version: ProxyVersion,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    out: &mut Vec<u8>,
) {
    let parts = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    let told = source.map(parts).map(|from| {
        let nowhere = match from.0 {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        (from, destination.map_or((nowhere, 0), parts))
    });
    match version {
        ProxyVersion::V1 => write_line(told, out),
        ProxyVersion::V2 => write_binary(told, out),
    }
}

/// Writes the header of a connection that is made for nobody but this proxy itself.
pub(crate) fn write_own(version: ProxyVersion, out: &mut Vec<u8>) {
    match version {
        ProxyVersion::V1 => write_line(None, out),
        ProxyVersion::V2 => {
            out.extend_from_slice(SIGNATURE);
            out.extend_from_slice(&[LOCAL, 0x00, 0, 0]);
        }
    }
}

/// Addresses and ports of the source and the destination.
type Told = Option<((IpAddr, u16), (IpAddr, u16))>;

fn write_line(told: Told, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = match told {
        None => write!(out, "PROXY UNKNOWN\r\n"),
        Some(((IpAddr::V4(from), from_port), (IpAddr::V4(to), to_port))) => {
            write!(out, "PROXY TCP4 {from} {to} {from_port} {to_port}\r\n")
        }
        Some(((from, from_port), (to, to_port))) => {
            let (from, to) = (as_v6(from), as_v6(to));
            write!(out, "PROXY TCP6 {from} {to} {from_port} {to_port}\r\n")
        }
    };
}

fn write_binary(told: Told, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let ports = match told {
        None => return out.extend_from_slice(&[PROXY, 0x00, 0, 0]),
        Some(((IpAddr::V4(from), from_port), (IpAddr::V4(to), to_port))) => {
            out.extend_from_slice(&[PROXY, 0x11, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
            [from_port, to_port]
        }
        Some(((from, from_port), (to, to_port))) => {
            out.extend_from_slice(&[PROXY, 0x21, 0, 36]);
            out.extend_from_slice(&as_v6(from).octets());
            out.extend_from_slice(&as_v6(to).octets());
            [from_port, to_port]
        }
    };
    ports.into_iter().for_each(|port| out.extend_from_slice(&port.to_be_bytes()));
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
#[path = "preamble_tests.rs"]
mod tests;
