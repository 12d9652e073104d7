//! Verdicts on requests: pure decisions, each a value that says why.

pub mod access;
pub mod arrivals;
pub mod auth;
pub mod bounds;
pub mod cors;
pub mod fuzz_access;
pub mod rate;
pub mod request_id;
pub mod rules;
pub mod screen;
pub mod trust;
