//! The cache (RFC 9111): what may be stored, what a stored response may be used for, what it is found
//! by, and where it lies.
//!
//! ```text
//!   policy ─ directives, freshness         may it be stored? may it be used?
//!   key, vary                              what it is found by, and what selects among several
//!   conditional, range                     which part of it answers a request
//!   outcome                                what is said about it
//!   stored, forms, ledger                  what is kept, and how much there may be of it
//!   shard, purge                           the keys of one core, and what is under way for them
//!   fill, store                            a fetch that many read, and the messages between cores
//! ```
//!
//! All rooms but `fill` and `store` are pure: the time comes in as an argument, verdicts go out as values.

pub mod conditional;
mod dictionary;
pub mod directives;
pub(crate) mod fill;
pub mod forms;
pub mod freshness;
#[doc(hidden)]
pub mod fuzz;
#[doc(hidden)]
pub mod fuzz_range;
pub mod kept_forms;
pub mod key;
pub mod ledger;
pub mod outcome;
pub mod policy;
pub mod purge;
pub mod range;
pub mod shard;
pub(crate) mod store;
pub mod stored;
pub mod vary;

#[cfg(test)]
#[path = "sample_tests.rs"]
pub(crate) mod sample;
