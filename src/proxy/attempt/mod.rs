//! Asking endpoints until one answers: which, how often, and each try.

pub(in crate::proxy) mod affinity;
pub(in crate::proxy) mod converse;
pub(in crate::proxy) mod fetch;
pub(in crate::proxy) mod mirror;
pub(in crate::proxy) mod progress;
pub(in crate::proxy) mod tries;
