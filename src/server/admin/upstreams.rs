//! What the admin endpoint and its callers say to each other about upstreams: JSON.

use serde::{Deserialize, Serialize};

/// Says how upstreams and their endpoints are.
pub(crate) const UPSTREAMS: &str = "/upstreams";
/// Has an endpoint get no more requests.
pub(crate) const DRAIN: &str = "/upstreams/drain";
/// Has it get requests again.
pub(crate) const RESTORE: &str = "/upstreams/restore";

/// Which endpoint is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainRequest {
    /// Its upstream; may be left out if no other has the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<String>,
    /// Its address, or the name that it was found by: then all that were.
    pub(crate) endpoint: String,
}

impl DrainRequest {
    /// Reads the content of a request.
    ///
    /// # Errors
    /// It is no object, or does not say which endpoint.
    pub(super) fn read(content: &[u8]) -> Result<DrainRequest, String> {
        match content.trim_ascii_start() {
            // Left to itself the library would take a list for an object.
            [b'{', ..] => serde_json::from_slice(content).map_err(|error| error.to_string()),
            _ => Err("the content is no JSON object".to_owned()),
        }
    }
}

/// The answer to [`DRAIN`] and [`RESTORE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainAnswer {
    /// What was meant.
    pub(crate) endpoints: Vec<DrainedEndpoint>,
}

/// An endpoint that was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainedEndpoint {
    pub(crate) upstream: String,
    pub(crate) address: String,
    /// It was not so before.
    pub(crate) changed: bool,
    /// Requests in flight, over all cores; none if one of them does not answer.
    pub(crate) in_flight: Option<u64>,
}

/// The answer to [`UPSTREAMS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamsAnswer {
    /// In the order of the configuration.
    pub(crate) upstreams: Vec<UpstreamStatus>,
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpstreamStatus {
    pub(crate) name: String,
    /// How an endpoint is chosen.
    pub(crate) balance: String,
    /// `closed`, `half-open` or `open`; none if there is no circuit breaker.
    pub(crate) breaker: Option<String>,
    /// Requests that wait for room.
    pub(crate) waiting: u32,
    /// Whether some name has no address yet.
    pub(crate) unresolved: bool,
    /// What was counted.
    pub(crate) counted: UpkeepStatus,
    pub(crate) endpoints: Vec<EndpointStatus>,
}

/// An endpoint. Counts are those of all cores; none if one of them does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndpointStatus {
    pub(crate) address: String,
    /// What the configuration calls it.
    pub(crate) from: String,
    pub(crate) weight: u32,
    /// What it gets of its whole share, in percent: less while it starts slowly.
    pub(crate) share_percent: u32,
    pub(crate) backup: bool,
    /// `up`, `down`, `ejected` or `draining`.
    pub(crate) standing: String,
    /// How long it has stood so.
    pub(crate) since_seconds: u64,
    /// Why.
    pub(crate) why: Option<String>,
    /// Whether somebody wants it to get no requests.
    pub(crate) drained: bool,
    pub(crate) in_flight: Option<u64>,
    /// Connections that are open, those that wait included.
    pub(crate) connections: u32,
    /// Connections that wait.
    pub(crate) idle: Option<u64>,
    /// Requests that went to it, answered or not.
    pub(crate) requests: Option<u64>,
    /// Those that it failed.
    pub(crate) failures: Option<u64>,
    /// The last probe; none if there was none.
    pub(crate) probe: Option<ProbeStatus>,
}

/// What a probe has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeStatus {
    pub(crate) passed: bool,
    /// Why not.
    pub(crate) why: Option<String>,
    pub(crate) seconds_ago: u64,
}

/// What was counted in keeping upstreams up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpkeepStatus {
    /// Endpoints that were taken out because they failed requests.
    pub(crate) ejections: u64,
    /// Endpoints that came back: after that, or because their probes passed again.
    pub(crate) recoveries: u64,
    pub(crate) probes_passed: u64,
    pub(crate) probes_failed: u64,
    /// Times that a circuit breaker opened.
    pub(crate) breaker_openings: u64,
    /// Times that the cores were told of a change.
    pub(crate) rosters: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_orders() {
        for (json, named) in [
            ("", "no JSON object"),
            ("[\"a:1\"]", "no JSON object"),
            ("{}", "missing field"),
            (r#"{"upstream":"app"}"#, "missing field"),
            (r#"{"endpoint":7}"#, "invalid type"),
            (r#"{"endpoint":"a:1","wait":1}"#, "unknown field"),
            ("{", "EOF"),
        ] {
            let error = DrainRequest::read(json.as_bytes()).unwrap_err();
            assert!(error.contains(named), "{json}: {error}");
        }
        let order = DrainRequest::read(br#" {"endpoint":"a:1","upstream":"app"}"#).unwrap();
        assert_eq!(order, DrainRequest { upstream: Some("app".to_owned()), endpoint: "a:1".to_owned() });
        let lone = DrainRequest::read(br#"{"endpoint":"a:1"}"#).unwrap();
        assert_eq!(lone.upstream, None);
    }
}
