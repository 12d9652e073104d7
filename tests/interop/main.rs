//! The real binary between peers that share no code with it: `monoio-http` and curl.
//!
//! Every test runs on both drivers. Where the kernel refuses io_uring, or where there is no curl, a
//! line says so, and the test passes without having looked.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "a test may fail where it stands, and is no worker"
)]

mod curl;
mod monoio_http;
mod origin;
mod proxy;

/// Bytes that show when some of them are lost, repeated or out of order.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}
