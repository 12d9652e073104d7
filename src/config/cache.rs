//! How large the cache is, and what it does where a response says nothing itself.

use std::time::Duration;

use super::options::Fault;
use crate::limits::KIB;

/// The size where none is given.
const BYTES_DEFAULT: u64 = 256 * MIB;

/// The smallest size: less holds so little that turning the cache off is what was meant.
const BYTES_MIN: u64 = MIB;

/// One response may take this share of the cache, where no limit is given...
const RESPONSE_SHARE: u64 = 16;

/// ...and at most this many bytes.
const RESPONSE_BYTES_DEFAULT_MAX: u64 = 64 * MIB;

/// A limit that is given may be as much as this share of the cache.
const RESPONSE_SHARE_MAX: u64 = 2;

/// How long a request waits for another's fetch, where nothing is given.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// Lifetimes are counted in whole seconds (RFC 9111, section 1.2.2).
pub(super) const LIFETIME_MIN: Duration = Duration::from_secs(1);

/// What is said about a shorter one.
pub(super) const LIFETIME_TOO_SHORT: &str = "must be at least 1s";

const MIB: u64 = 1024 * KIB as u64;

/// The cache, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes that it may hold, all told; at least 1 MiB.
    pub bytes: usize,
    /// The freshness lifetime of a successful response to GET that brings none; at least a second.
    pub ttl: Option<Duration>,
    /// How long a response may be used stale, while it is validated or while the origin fails, where it
    /// says nothing about that itself (RFC 5861); at least a second.
    pub grace: Option<Duration>,
    /// Bytes of the largest response that is stored; at most half of `bytes`.
    pub response_bytes_max: usize,
    /// How long a request waits for another's fetch of the same response before it fetches for itself.
    pub wait: Duration,
}

/// What was said about the cache: sizes in bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) off: bool,
    pub(super) bytes: Option<u64>,
    pub(super) ttl: Option<Duration>,
    pub(super) grace: Option<Duration>,
    pub(super) response_bytes_max: Option<u64>,
    pub(super) wait: Option<Duration>,
}

/// Fills in the defaults and checks. What is said about a cache that is off must be right too.
pub(super) fn settings(said: &Said) -> Result<Option<CacheSettings>, Vec<Fault>> {
    let mut faults = Vec::new();
    let bytes = said.bytes.unwrap_or(BYTES_DEFAULT);
    if bytes < BYTES_MIN {
        faults.push(Fault::new("cache-size", "must be at least 1MiB; --no-cache turns the cache off"));
    }
    if isize::try_from(bytes).is_err() {
        faults.push(Fault::new("cache-size", "is more than this machine can address"));
    }
    let response_max =
        said.response_bytes_max.unwrap_or((bytes / RESPONSE_SHARE).min(RESPONSE_BYTES_DEFAULT_MAX));
    // About a cache that is too small already nothing more is said.
    if bytes >= BYTES_MIN && !(1..=bytes / RESPONSE_SHARE_MAX).contains(&response_max) {
        faults
            .push(Fault::new("cache-max-response", "must be at least 1 byte and at most half of cache-size"));
    }
    for (key, time) in [("cache-ttl", said.ttl), ("cache-grace", said.grace)] {
        if time.is_some_and(|time| time < LIFETIME_MIN) {
            faults.push(Fault::new(key, LIFETIME_TOO_SHORT));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    // Both are less than `isize::MAX`.
    let in_memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let settings = CacheSettings {
        bytes: in_memory(bytes),
        ttl: said.ttl,
        grace: said.grace,
        response_bytes_max: in_memory(response_max),
        wait: said.wait.unwrap_or(WAIT_DEFAULT),
    };
    Ok((!said.off).then_some(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_response_is_a_sixteenth_of_the_cache_and_at_most_64_mib() {
        for (mib, largest) in [(1, 1 << 16), (256, 16 << 20), (1024, 64 << 20), (16 * 1024, 64 << 20)] {
            let said = Said { bytes: Some(mib << 20), ..Said::default() };
            let settings = settings(&said).unwrap().unwrap();
            assert_eq!(settings.response_bytes_max, largest, "{mib} MiB");
        }
        let settings = settings(&Said::default()).unwrap().unwrap();
        assert_eq!((settings.bytes, settings.wait), (256 << 20, Duration::from_secs(5)));
        assert_eq!((settings.ttl, settings.grace), (None, None));
    }

    #[test]
    fn a_cache_that_is_off_is_none() {
        assert_eq!(settings(&Said { off: true, ..Said::default() }), Ok(None));
        assert!(settings(&Said { off: true, bytes: Some(1), ..Said::default() }).is_err());
    }

    #[test]
    fn sizes_and_times_without_sense_are_refused() {
        let small = Some(MIB);
        for (said, named) in [
            (Said { bytes: Some(MIB - 1), ..Said::default() }, "--no-cache"),
            (Said { bytes: Some(u64::MAX), ..Said::default() }, "cache-size"),
            (Said { bytes: small, response_bytes_max: Some(MIB / 2 + 1), ..Said::default() }, "half"),
            (Said { response_bytes_max: Some(0), ..Said::default() }, "cache-max-response"),
            (Said { ttl: Some(Duration::from_millis(999)), ..Said::default() }, "cache-ttl"),
            (Said { grace: Some(Duration::from_millis(1)), ..Said::default() }, "cache-grace"),
        ] {
            let error = settings(&said).unwrap_err()[0].to_string();
            assert!(error.contains(named), "{error}");
        }
        let half = Said { bytes: small, response_bytes_max: Some(MIB / 2), ..Said::default() };
        assert_eq!(settings(&half).unwrap().unwrap().response_bytes_max, 1 << 19);
    }
}
