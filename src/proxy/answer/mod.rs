//! Answers of the proxy's own.

pub(in crate::proxy) mod direct;
pub(in crate::proxy) mod refusal;
