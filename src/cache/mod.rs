//! The cache (RFC 9111), as decisions: what may be stored, what a stored response may be used for, and
//! what it is found by.
//!
//! These rooms are pure: the time comes in as an argument, verdicts go out as values.

pub mod key;
pub mod purge;
