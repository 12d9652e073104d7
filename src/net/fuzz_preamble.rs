//! Fuzz body for the PROXY protocol: what must hold for any bytes at all. The target in `tests/fuzz` and the run over
//! the corpus in `tests/corpus.rs` only call it.

use super::preamble::{HEADER_BYTES_MAX, Header, Reading, read, write};
use crate::config::ProxyVersion;

/// The front of a connection. However it arrives, the verdict is the same, falls as early as it can, and depends on
/// nothing behind the header; and what is told reads back when it is written anew.
pub fn preamble(bytes: &[u8]) {
    let verdict = read(bytes);
    for end in 0..bytes.len().min(HEADER_BYTES_MAX + 1) {
        match read(&bytes[..end]) {
            Reading::NeedMore => {
                assert!(!matches!(verdict, Reading::Header(header) if header.length <= end), "it was whole")
            }
            early => assert_eq!(early, verdict, "a verdict was changed"),
        }
    }
    match verdict {
        Reading::NeedMore => assert!(bytes.len() < HEADER_BYTES_MAX, "there is no end to it"),
        Reading::Malformed => {}
        Reading::Header(header) => {
            assert!(header.length <= bytes.len().min(HEADER_BYTES_MAX));
            assert_eq!(header.source.is_some(), header.destination.is_some());
            assert_eq!(read(&bytes[..header.length]), verdict);
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut anew = Vec::new();
                write(version, header.source, header.destination, &mut anew);
                let length = anew.len();
                anew.extend_from_slice(b"GET");
                assert_eq!(read(&anew), Reading::Header(Header { length, ..header }));
            }
        }
    }
}
