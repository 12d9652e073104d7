//! Receiving a head: reading until it is whole, into a larger buffer where it has to be.

use crate::error::Reason;
use crate::h1::{HeadScanner, Malformed, request};
use crate::limits::HeadLimits;
use crate::net::buffer::Class;
use crate::net::{Buffer, BufferPool, Source};

/// A head that could not be received.
pub(super) enum HeadFault {
    /// The peer closed before it was whole.
    Closed,
    /// The connection failed.
    Failed,
    /// It is malformed or too large.
    Malformed(Malformed),
}

/// Reads until a whole head is in the buffer, and returns its length. `begun` holds what has come of
/// it already; `before_read` is told of each read. The buffer comes back with whatever has come, in
/// any case.
pub(super) async fn receive(
    source: &mut Source,
    pool: &BufferPool,
    limits: &HeadLimits,
    mut begun: Option<Buffer>,
    mut before_read: impl FnMut(),
) -> (Result<usize, HeadFault>, Buffer) {
    let mut scanner = HeadScanner::default();
    loop {
        if let Some(buffer) = begun.take_if(|buffer| !buffer.is_empty()) {
            match look(&mut scanner, &buffer, limits) {
                Ok(Some(length)) => return (Ok(length), buffer),
                Ok(None) => begun = Some(if buffer.spare() == 0 { enlarge(pool, &buffer) } else { buffer }),
                Err(fault) => return (Err(fault), buffer),
            }
        }
        before_read();
        let window = begun.take();
        let (result, buffer) =
            source.read_when_ready(|| window.unwrap_or_else(|| pool.take(Class::Small))).await;
        match result {
            Ok(0) => return (Err(HeadFault::Closed), buffer),
            Ok(_) => begun = Some(buffer),
            Err(_) => return (Err(HeadFault::Failed), buffer),
        }
    }
}

/// Why a request is refused whose head is malformed or too large.
pub(super) fn refusal(fault: Malformed, bytes: &[u8], limits: &HeadLimits) -> Reason {
    match fault {
        Malformed::TooLarge => request::too_large(bytes, limits),
        fault => fault.in_request(),
    }
}

/// Looks for the end of the head in what has come.
pub(super) fn look(
    scanner: &mut HeadScanner,
    buffer: &Buffer,
    limits: &HeadLimits,
) -> Result<Option<usize>, HeadFault> {
    let fault = match scanner.scan(buffer.bytes()) {
        Ok(Some(length)) if length <= limits.head_bytes_max => return Ok(Some(length)),
        Ok(None) if buffer.len() < limits.head_bytes_max => return Ok(None),
        Ok(_) => Malformed::TooLarge,
        Err(malformed) => malformed,
    };
    Err(HeadFault::Malformed(fault))
}

/// Moves what has come into a buffer of the next class: the largest head fits into the second.
fn enlarge(pool: &BufferPool, full: &Buffer) -> Buffer {
    let mut larger = pool.take(Class::Medium);
    let fits = larger.append(full.bytes());
    debug_assert!(fits, "the largest head fits into a medium buffer");
    larger
}
