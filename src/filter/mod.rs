//! Verdicts on requests: pure decisions, each a value that says why.

pub mod request_id;
pub mod screen;
pub mod trust;
