//! Stored responses for the tests of the rooms that keep them.

use std::sync::Arc;

use super::freshness::{Defaults, Received};
use super::ledger::Ledger;
use super::policy::{self, Asked};
use super::stored::{Body, Head, Making, Segment, Stored};
use crate::h1::encode::KeptEdits;
use crate::h1::response;
use crate::http::{Fields, Method};
use crate::limits::HeadLimits;

/// A moment, in milliseconds since 1970.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// The head of a response that may be stored, with these field lines besides, each with its CR LF.
pub(crate) fn head(ledger: &Arc<Ledger>, lines: &str, selecting: &[u8]) -> Option<Arc<Head>> {
    let bytes = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{lines}\r\n");
    let mut fields = Vec::new();
    let parsed = response::parse(bytes.as_bytes(), &HeadLimits::default(), &mut fields).unwrap();
    let fields = Fields::new(bytes.as_bytes(), &fields);
    let asked = Asked { method: Method::Get, authorized: false, no_store: false };
    let received = Received { requested_ms: NOW_MS, received_ms: NOW_MS };
    let storing = policy::storable(asked, 200, fields, received, Defaults::default()).unwrap();
    let making = Making {
        bytes: bytes.as_bytes(),
        head: &parsed,
        fields,
        storing: &storing,
        edits: KeptEdits { via: b"ringway", date: b"Thu, 01 Jan 1970 00:00:00 GMT" },
        length: None,
        vary: if selecting.is_empty() { b"" } else { b"x-variant\n" },
        selecting,
        tags: b"",
    };
    Head::new(ledger, &making)
}

/// A response with that content, piece by piece.
pub(crate) fn stored(
    ledger: &Arc<Ledger>,
    lines: &str,
    selecting: &[u8],
    content: &[&[u8]],
) -> Option<Stored> {
    let head = head(ledger, lines, selecting)?;
    let segments: Option<Vec<_>> = content.iter().map(|piece| Segment::new(ledger, piece)).collect();
    Some(Stored { head, body: Body::new(ledger, segments?, b"")? })
}

/// The content of a stored response, in one piece.
pub(crate) fn content(body: &Body) -> Vec<u8> {
    body.segments().iter().flat_map(|segment| segment.bytes()).copied().collect()
}

/// A hash as good as that of the cache, and known beforehand.
pub(crate) fn hash(text: &[u8]) -> u64 {
    let mixed = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (mixed ^ (mixed >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
