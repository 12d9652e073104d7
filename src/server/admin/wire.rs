//! What the admin endpoint and its callers say to each other: JSON, and what it means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::upstreams::UpkeepStatus;
use crate::cache::key::{self, BadUrl};
use crate::cache::purge::{Purge, What};
use crate::error::Reason;
use crate::observe::Totals;
use crate::proxy::PressureReport;
use crate::proxy::RateReport;

/// Removes all stored responses.
pub(crate) const CLEAR: &str = "/cache/clear";
/// Removes some of them.
pub(crate) const PURGE: &str = "/cache/purge";
/// Has the configuration read again.
pub(crate) const RELOAD: &str = "/reload";
/// Says what becomes of a request.
pub(crate) const EXPLAIN: &str = "/explain";
/// What runs there.
pub(crate) const STATUS: &str = "/status";

/// Bytes of the longest request content.
pub(super) const CONTENT_BYTES_MAX: usize = 64 * crate::limits::KIB;

/// Bytes of the longest tag.
const TAG_BYTES_MAX: usize = 1024;

/// What is to be purged. For [`PURGE`] there is one of the first three, for [`CLEAR`] none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PurgeRequest {
    /// The responses of one URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// Those whose URL begins with this one; without a path, those of the whole host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// Those with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// They stay, and count as stale.
    pub(crate) soft: bool,
}

/// The answer to a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purged {
    /// How many responses were removed, or marked stale.
    pub(crate) removed: u64,
}

/// The answer to a reload that every core has heard of, or will.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReloadAnswer {
    /// Milliseconds until the last core had it, or until nobody waited any longer.
    pub(crate) took_ms: f64,
    /// How many cores there are.
    pub(crate) workers: usize,
    /// The places of the workers that had not confirmed by then.
    pub(crate) late: Vec<usize>,
    /// What somebody should know.
    pub(crate) notes: Vec<String>,
}

/// The answer to whatever went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// Why, in one line.
    pub(crate) error: String,
}

/// What runs behind the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Status<'a> {
    pub(super) version: &'a str,
    pub(super) pid: u32,
    pub(super) uptime_seconds: u64,
    pub(super) cores: &'a [usize],
    pub(super) driver: &'a str,
    /// How often the configuration was read again and took effect, and how often it was refused.
    pub(super) reloads: ReloadStatus,
    /// Copies of requests for mirrors; none if a worker does not answer.
    pub(super) mirrors: Option<MirrorStatus>,
    /// What was held until it was whole; none if a worker does not answer.
    pub(super) held: Option<HeldStatus>,
    /// What became of requests; none if a worker does not answer.
    pub(super) requests: Option<RequestStatus>,
    /// Why exchanges have ended, by the names of the access log: those that have any; none if a worker does not answer.
    pub(super) ended: Option<BTreeMap<&'static str, u64>>,
    /// Connections of clients that were turned away or closed to make room; none if a worker does not answer.
    pub(super) turned_away: Option<TurnedAwayStatus>,
    /// How close the process is to what it may hold; none if a worker does not answer.
    pub(super) pressure: Option<PressureStatus>,
    /// Content that changed its coding; none if a worker does not answer.
    pub(super) coding: Option<CodingStatus>,
    /// How often rules have held, by `SET/ID`; none if a worker does not answer.
    pub(super) rules: Option<BTreeMap<String, u64>>,
    /// What was counted in keeping upstreams up; none if nobody does any more.
    pub(super) upkeep: Option<UpkeepStatus>,
    /// Requests to this endpoint that were refused, because of who sent them.
    pub(super) refused: u64,
    /// The rates that are used; none if a worker does not answer.
    pub(super) rates: Option<Vec<RateReport>>,
    /// The workers, in the order of their cores; none if one of them does not answer.
    pub(super) workers: Option<Vec<WorkerStatus>>,
    /// The cache, over all cores; none if there is none, or if a worker does not answer.
    pub(super) cache: Option<CacheStatus>,
}

/// What became of copies for mirrors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct MirrorStatus {
    pub(super) sent: u64,
    /// Those that were not made: the mirror had too many already, or their content had not come as a whole.
    pub(super) skipped: u64,
}

/// What was held until it was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct HeldStatus {
    /// Requests whose content was held.
    pub(super) requests: u64,
    /// Those of which some lay in a file.
    pub(super) requests_in_files: u64,
    /// Bytes of their content.
    pub(super) request_bytes: u64,
    /// Requests whose content could not be kept.
    pub(super) failures: u64,
    /// Responses of which the upstream was free before the client had them.
    pub(super) responses: u64,
}

impl HeldStatus {
    /// What of these was counted.
    pub(super) fn of(totals: &Totals) -> HeldStatus {
        HeldStatus {
            requests: totals.requests_held,
            requests_in_files: totals.requests_held_in_files,
            request_bytes: totals.requests_held_bytes,
            failures: totals.ended(Reason::StorageFailed) + totals.ended(Reason::StorageFull),
            responses: totals.responses_held,
        }
    }
}

/// What became of requests, and of the connections that they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RequestStatus {
    /// Requests that were read, well-formed or not.
    pub(super) total: u64,
    /// Times that one was sent again.
    pub(super) retries: u64,
    /// Times that one was not, because too many had been of late.
    pub(super) retries_denied: u64,
    /// Those that waited for room at an endpoint.
    pub(super) queued: u64,
    /// Those that found too many waiting, or waited too long.
    pub(super) queue_refused: u64,
    /// Connections to upstreams that were opened.
    pub(super) connects: u64,
    /// Requests that went out on one that had been used before.
    pub(super) reused: u64,
    /// Upstream connections that one core had to spare, and another took.
    pub(super) taken_over: u64,
    /// Connections of clients that did not begin with the PROXY protocol where they had to.
    pub(super) proxy_headers_refused: u64,
    /// Passwords that were held against their hashes.
    pub(super) passwords_hashed: u64,
    /// Requests to services that say whether a request is served.
    pub(super) services_asked: u64,
    /// Forms that rules which only note would have looked at, and could not.
    pub(super) forms_unread: u64,
}

impl RequestStatus {
    /// What of these was counted.
    pub(super) fn of(totals: &Totals) -> RequestStatus {
        RequestStatus {
            total: totals.requests,
            retries: totals.retries,
            retries_denied: totals.retries_denied,
            queued: totals.queued,
            queue_refused: totals.queue_refused,
            connects: totals.connects,
            reused: totals.reused,
            taken_over: totals.taken_over,
            proxy_headers_refused: totals.proxy_headers_refused,
            passwords_hashed: totals.passwords_hashed,
            services_asked: totals.services_asked,
            forms_unread: totals.forms_unread,
        }
    }
}

/// Connections of clients that found no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TurnedAwayStatus {
    /// By the limit of the process.
    pub(super) process: u64,
    /// By that of the listener.
    pub(super) listener: u64,
    /// By that of the client.
    pub(super) client: u64,
    /// Because too many came of late.
    pub(super) rate: u64,
    /// Because too many came from the client.
    pub(super) client_rate: u64,
    /// Idle ones that were closed to make room.
    pub(super) idle_closed: u64,
    /// Requests that found no room.
    pub(super) overloaded: u64,
    /// Clients that sent content, or read a response, more slowly than they have to.
    pub(super) too_slow: u64,
}

impl TurnedAwayStatus {
    /// What of these was counted.
    pub(super) fn of(totals: &Totals) -> TurnedAwayStatus {
        TurnedAwayStatus {
            process: totals.refused_by_process,
            listener: totals.refused_by_listener,
            client: totals.refused_by_client,
            rate: totals.refused_by_rate,
            client_rate: totals.refused_by_client_rate,
            idle_closed: totals.idle_closed,
            overloaded: totals.ended(Reason::Overloaded),
            too_slow: totals.ended(Reason::BodyTooSlow) + totals.ended(Reason::ClientTooSlow),
        }
    }
}

/// How close the process is to what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PressureStatus {
    /// `calm`, `near` or `full`.
    pub(super) state: &'static str,
    /// Connections of clients.
    pub(super) connections: u64,
    pub(super) connections_max: u64,
    /// Bytes of buffers.
    pub(super) memory: u64,
    /// None where there is no limit.
    pub(super) memory_max: Option<u64>,
    /// How often it was near so far.
    pub(super) times: u64,
}

impl From<PressureReport> for PressureStatus {
    fn from(report: PressureReport) -> PressureStatus {
        let PressureReport { state, connections, memory, times } = report;
        PressureStatus {
            state,
            connections: connections.0,
            connections_max: connections.1,
            memory: memory.0,
            memory_max: memory.1,
            times,
        }
    }
}

/// Content that changed its coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CodingStatus {
    /// Responses that were compressed on their way.
    pub(super) compressed: u64,
    /// Bytes of content that were compressed, and what came of them.
    pub(super) compressed_in: u64,
    pub(super) compressed_out: u64,
    /// Compressed forms of stored responses that were made, and requests that were answered with one.
    pub(super) compressed_kept: u64,
    pub(super) compressed_hits: u64,
    /// Responses that went out as they came, for want of memory.
    pub(super) compression_skipped: u64,
    /// Responses that were taken apart.
    pub(super) decompressed: u64,
}

impl CodingStatus {
    /// What of these was counted.
    pub(super) fn of(totals: &Totals) -> CodingStatus {
        CodingStatus {
            compressed: totals.compressed,
            compressed_in: totals.compressed_in,
            compressed_out: totals.compressed_out,
            compressed_kept: totals.compressed_kept,
            compressed_hits: totals.compressed_hits,
            compression_skipped: totals.compression_skipped,
            decompressed: totals.decompressed,
        }
    }
}

/// What became of reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ReloadStatus {
    pub(super) done: u64,
    pub(super) failed: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct WorkerStatus {
    pub(super) core: usize,
    /// Client connections that are open.
    pub(super) connections: usize,
    /// Requests so far.
    pub(super) requests: u64,
}

/// The cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CacheStatus {
    /// Bytes that it holds: responses, keys, copies and fetches under way.
    pub(super) bytes: usize,
    /// Bytes that it may hold.
    pub(super) bytes_max: usize,
    /// Keys that something is known of: what is stored, or, for a while, that it is not for sharing.
    pub(super) entries: usize,
    /// Keys that were evicted so far.
    pub(super) evicted: u64,
    /// Requests so far, by what the cache did about them: see X-Cache.
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) stale: u64,
    pub(super) revalidated: u64,
    pub(super) bypassed: u64,
}

impl PurgeRequest {
    /// Reads the content of a request; one without content says nothing.
    ///
    /// # Errors
    /// It is no object, or has what an order does not have.
    pub(super) fn read(content: &[u8]) -> Result<PurgeRequest, String> {
        match content.trim_ascii_start() {
            [] => Ok(PurgeRequest::default()),
            // Left to itself the library would take a list for an object.
            [b'{', ..] => serde_json::from_slice(content).map_err(|error| error.to_string()),
            _ => Err("the content is no JSON object".to_owned()),
        }
    }

    /// The purge that a request to [`PURGE`] means.
    ///
    /// # Errors
    /// There is not one target, or it is malformed.
    pub(crate) fn some(&self) -> Result<Purge, String> {
        let what = match (&self.url, &self.prefix, &self.tag) {
            (Some(url), None, None) => What::Key(key(url, key::of_url)?),
            (None, Some(prefix), None) => What::Prefix(key(prefix, key::of_prefix)?),
            (None, None, Some(tag)) => What::Tag(checked(tag)?),
            _ => return Err("a purge names one target: a URL, a prefix or a tag".to_owned()),
        };
        Ok(Purge { what, soft: self.soft })
    }

    /// The purge that a request to [`CLEAR`] means.
    ///
    /// # Errors
    /// There is a target.
    pub(super) fn all(&self) -> Result<Purge, String> {
        match (&self.url, &self.prefix, &self.tag) {
            (None, None, None) => Ok(Purge { what: What::All, soft: self.soft }),
            _ => Err(format!("to clear the cache is to spare nothing; {PURGE} takes a target")),
        }
    }
}

fn key(url: &str, read: fn(&[u8]) -> Result<Vec<u8>, BadUrl>) -> Result<Box<[u8]>, String> {
    read(url.as_bytes()).map(Vec::into_boxed_slice).map_err(|why| format!("{url:?}: {why}"))
}

fn checked(tag: &str) -> Result<Box<[u8]>, String> {
    let stands_in_a_field = |b: u8| b > b' ' && b != b',' && b != 0x7f;
    if !(1..=TAG_BYTES_MAX).contains(&tag.len()) || !tag.bytes().all(stands_in_a_field) {
        return Err(format!("a tag has from 1 to {TAG_BYTES_MAX} bytes, without blanks and commas"));
    }
    Ok(tag.as_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(json: &str) -> Result<Purge, String> {
        PurgeRequest::read(json.as_bytes())?.some()
    }

    #[test]
    fn a_table_of_purges() {
        let text = |text: &str| Box::from(text.as_bytes());
        for (json, what, soft) in [
            (r#"{"url":"http://A/b?c"}"#, What::Key(text("a/b?c")), false),
            (r#"{"prefix":"https://a:443/b","soft":true}"#, What::Prefix(text("a/b")), true),
            (r#"{"prefix":"http://a"}"#, What::Prefix(text("a/")), false),
            (r#"{"tag":"News","soft":false}"#, What::Tag(text("News")), false),
            (r#"{"tag":"n\u00e9e"}"#, What::Tag(text("n\u{e9}e")), false),
        ] {
            assert_eq!(some(json), Ok(Purge { what, soft }), "{json}");
        }
        for (json, soft) in [("", false), ("{}", false), (" {\"soft\":true}", true)] {
            let all = PurgeRequest::read(json.as_bytes()).unwrap().all();
            assert_eq!(all, Ok(Purge { what: What::All, soft }));
        }
    }

    #[test]
    fn what_means_nothing_says_why() {
        for (json, named) in [
            ("{}", "one target"),
            (r#"{"soft":true}"#, "one target"),
            (r#"{"url":"http://a/","tag":"b"}"#, "one target"),
            (r#"{"url":"a"}"#, "http://"),
            (r#"{"url":7}"#, "invalid type"),
            (r#"{"urls":"http://a/"}"#, "unknown field"),
            (r#"{"tag":""}"#, "a tag has"),
            (r#"{"tag":"a b"}"#, "a tag has"),
            (r#"{"tag":"a,b"}"#, "a tag has"),
            (r#"{"tag":"a\nb"}"#, "a tag has"),
            ("", "one target"),
            ("{", "EOF"),
            ("{}{}", "trailing"),
            ("[\"http://a/\"]", "no JSON object"),
            ("null", "no JSON object"),
        ] {
            let error = some(json).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
        assert!(PurgeRequest::read(br#"{"tag":"a"}"#).unwrap().all().is_err());
    }
}
