//! Receiving a head: reading until it is whole, into a larger buffer where it has to be.

use crate::h1::{HeadScanner, Malformed};
use crate::limits::Limits;
use crate::net::buffer::Class;
use crate::net::{Buffer, BufferPool, Source};

/// A head that could not be received.
pub(super) enum HeadFault {
    /// The peer closed before it was whole.
    Closed,
    /// The connection failed.
    Failed,
    /// It is malformed or too large.
    Malformed {
        /// What is wrong.
        fault: Malformed,
        /// Whether its first line had ended.
        past_first_line: bool,
    },
}

/// Reads until a whole head is in the buffer, and returns its length. `before_read` is told of each
/// read. The buffer comes back with whatever has come, in any case.
pub(super) async fn receive(
    source: &mut Source,
    pool: &BufferPool,
    limits: &Limits,
    mut buffer: Buffer,
    mut before_read: impl FnMut(),
) -> (Result<usize, HeadFault>, Buffer) {
    let mut scanner = HeadScanner::default();
    loop {
        let fault = match scanner.scan(buffer.bytes()) {
            Ok(Some(length)) if length <= limits.head_bytes_max => return (Ok(length), buffer),
            Ok(None) if buffer.len() < limits.head_bytes_max => None,
            Ok(_) => Some(Malformed::TooLarge),
            Err(malformed) => Some(malformed),
        };
        if let Some(fault) = fault {
            let past_first_line = scanner.is_past_first_line();
            return (Err(HeadFault::Malformed { fault, past_first_line }), buffer);
        }
        if buffer.spare() == 0 {
            buffer = enlarge(pool, &buffer);
        }
        before_read();
        let (result, back) = source.read(buffer).await;
        buffer = back;
        match result {
            Ok(0) => return (Err(HeadFault::Closed), buffer),
            Ok(_) => {}
            Err(_) => return (Err(HeadFault::Failed), buffer),
        }
    }
}

/// Moves what has come into a buffer of the next class: the largest head fits into the second.
fn enlarge(pool: &BufferPool, full: &Buffer) -> Buffer {
    let mut larger = pool.take(Class::Medium);
    let fits = larger.append(full.bytes());
    debug_assert!(fits, "the largest head fits into a medium buffer");
    larger
}
