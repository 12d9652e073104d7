//! What is held until it is whole: content of requests before an upstream is asked, responses that clients take slowly.

use std::path::{Path, PathBuf};

use crate::limits::KIB;

/// What a listener or a route does about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Content of requests.
    pub request: Choice<HoldRequest>,
    /// Content of responses.
    pub response: Choice<HoldResponse>,
}

/// What is said of something that can be on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice<T> {
    /// Nothing: what holds around it holds.
    #[default]
    Unsaid,
    /// It is off.
    Off,
    /// It is on, like this.
    On(T),
}

impl<T> Choice<T> {
    /// The same of something else.
    pub fn map<U>(&self, make: impl FnOnce(&T) -> U) -> Choice<U> {
        match self {
            Choice::Unsaid => Choice::Unsaid,
            Choice::Off => Choice::Off,
            Choice::On(this) => Choice::On(make(this)),
        }
    }

    /// What holds here, within what holds around it; none if it is off.
    pub fn within<'a>(&'a self, around: &'a Choice<T>) -> Option<&'a T> {
        match (self, around) {
            (Choice::On(this), _) | (Choice::Unsaid, Choice::On(this)) => Some(this),
            (Choice::Off, _) | (Choice::Unsaid, _) => None,
        }
    }
}

/// How content of requests is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRequest {
    /// Bytes of each that lie in memory; the others go into a file.
    pub memory_bytes_max: usize,
    /// Bytes of each that lie in a file; `None` keeps all in memory.
    pub file_bytes_max: Option<u64>,
    /// Where the files are.
    pub directory: PathBuf,
    /// Bytes of all together, over the process.
    pub total_bytes_max: u64,
}

impl Default for HoldRequest {
    fn default() -> HoldRequest {
        HoldRequest {
            memory_bytes_max: 64 * KIB,
            file_bytes_max: Some(1 << 30),
            directory: Path::new("/var/tmp").to_owned(),
            total_bytes_max: 4 << 30,
        }
    }
}

impl HoldRequest {
    /// The most content that one request may have.
    pub fn bytes_max(&self) -> u64 {
        (self.memory_bytes_max as u64).saturating_add(self.file_bytes_max.unwrap_or(0))
    }
}

/// How responses are taken off their upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldResponse {
    /// Bytes of each that wait for its client.
    pub memory_bytes_max: usize,
    /// Bytes of all together, over the process.
    pub total_bytes_max: u64,
}

impl Default for HoldResponse {
    fn default() -> HoldResponse {
        HoldResponse { memory_bytes_max: 1024 * KIB, total_bytes_max: 512 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_within_holds_there_and_silence_leaves_what_is_around() {
        use Choice::{Off, On, Unsaid};
        for (within, around, want) in [
            (Unsaid, Unsaid, None),
            (Unsaid, Off, None),
            (Unsaid, On(2), Some(2)),
            (Off, On(2), None),
            (On(1), On(2), Some(1)),
            (On(1), Off, Some(1)),
        ] {
            assert_eq!(within.within(&around).copied(), want, "{within:?} within {around:?}");
        }
    }
}
