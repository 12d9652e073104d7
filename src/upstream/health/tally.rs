//! What a core has seen of an endpoint since it told last.

use std::sync::Arc;

use crate::error::Reason;
use crate::upstream::Address;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The endpoint.
    pub address: Address,
    /// Its requests.
    pub seen: Seen,
    /// Failures since its last success, on all cores.
    pub run: u32,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Requests that it answered.
    pub succeeded: u32,
    /// Requests that it failed.
    pub failed: u32,
    /// Of those that it answered, so many with a status from 500 on: to a circuit breaker that is failure.
    pub errors: u32,
    /// Requests that a half open circuit breaker let through, and that succeeded, to its mind.
    pub trials_succeeded: u32,
    /// The same, that failed.
    pub trials_failed: u32,
    /// Why it failed last, if it did: none where its answer was of a status that counts as a failure.
    pub last: Option<Reason>,
}
