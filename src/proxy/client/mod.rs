//! A client's connection, from when it is accepted until it is gone.

pub(in crate::proxy) mod connection;
pub(in crate::proxy) mod inlet;
pub(in crate::proxy) mod introduction;
pub(in crate::proxy) mod visit;
