//! Sockets, buffers and deadlines: with the upstream's pool, the only code that names monoio's I/O.
//!
//! Each core has its own of everything here; nothing is shared, so nothing locks. Knows nothing of
//! HTTP.

pub(crate) mod buffer;
pub(crate) mod deadline;
pub(crate) mod disk;
mod frame;
#[doc(hidden)]
pub mod fuzz_preamble;
mod headway;
pub(crate) mod listener;
mod outflow;
pub(crate) mod parking;
pub(crate) mod preamble;
pub(crate) mod stream;
pub(crate) mod sys;

pub(crate) use buffer::{Buffer, BufferPool};
pub(crate) use deadline::{Deadlines, Ticks, Watch};
pub(crate) use stream::{Sink, Socket, Source};
