//! Content that waits: a request's until it is whole, a response's until its client takes it.

pub(in crate::proxy) mod ahead;
pub(in crate::proxy) mod held;
pub(in crate::proxy) mod hold;
pub(in crate::proxy) mod replay;
