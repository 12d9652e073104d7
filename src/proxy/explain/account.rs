//! What is said of a request, as data: what `ringway explain` prints, and what the admin endpoint answers. Texts
//! that a request brought stand here as they came; whoever shows them has to see that they do no harm.

use serde::{Deserialize, Serialize};

/// All that is said of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) listener: Listener,
    pub(crate) client: Client,
    /// The path that routes are found by, where it is not the one that was sent.
    pub(crate) normal_path: Option<String>,
    /// The route that takes it.
    pub(crate) route: Option<Route>,
    /// Why that one.
    pub(crate) because: Vec<String>,
    /// The routes that came closest, the closest first.
    pub(crate) close: Vec<Close>,
    /// What becomes of it.
    pub(crate) outcome: Outcome,
    /// What is checked before it is served.
    pub(crate) checks: Vec<Checked>,
    /// What decides between several upstreams.
    pub(crate) split_by: Option<String>,
    /// The upstreams of the route, in the order of the configuration.
    pub(crate) upstreams: Vec<Upstream>,
    /// What the upstream is sent.
    pub(crate) request: Option<Sent>,
    /// What changes in the fields of the response.
    pub(crate) response: Changes,
    /// Who gets a copy.
    pub(crate) mirror: Option<Mirror>,
    /// What the cache does; none where no upstream is asked.
    pub(crate) cache: Option<Cache>,
    /// The limits that hold.
    pub(crate) limits: Vec<Limit>,
}

/// Where the request comes in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    /// Why that one.
    pub(crate) why: String,
    /// Where the configuration says it: `FILE:LINE`; not known of a proxy that runs.
    pub(crate) place: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Client {
    /// Who connects: an address, or `unix`.
    pub(crate) peer: String,
    /// Whether what it says about others is believed.
    pub(crate) trusted: bool,
    /// Who asks, as far as the peer is believed.
    pub(crate) address: String,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// Which one, from 0, in the order of the configuration.
    pub(crate) index: usize,
    pub(crate) name: String,
    /// As of a listener.
    pub(crate) place: Option<String>,
}

/// A route that did not take the request, but nearly did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Close {
    pub(crate) route: Route,
    /// Why it did not.
    pub(crate) why: String,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It is for an upstream to answer, or for the cache.
    #[default]
    Forward,
    /// The client is sent elsewhere.
    Redirect { status: u16, location: String },
    /// The route has an answer of its own.
    Respond { status: u16, content_type: Option<String>, bytes: u64 },
    /// The route refuses it.
    Deny { status: u16, own_page: bool },
    /// The proxy refuses it.
    Refused { status: u16, reason: String, why: String, own_page: bool },
}

/// An upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    /// Its part of the route's requests, as a weight; none where it is the only one.
    pub(crate) weight: Option<u32>,
    /// Whether it gets this request; where chance decides, the rest of the account takes it for the one that does.
    pub(crate) taken: bool,
    /// How an endpoint is chosen.
    pub(crate) balance: String,
    /// The endpoint that the request goes to, where its key decides that.
    pub(crate) endpoint: Option<String>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// As configured.
    pub(crate) address: String,
    pub(crate) weight: u32,
    /// Whether it gets requests only when none of the others is up.
    pub(crate) backup: bool,
    /// What a proxy that runs knows of it.
    pub(crate) state: Option<EndpointState>,
}

/// What one core of a proxy that runs knows of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointState {
    /// What its name stands for; nothing while it does not resolve.
    pub(crate) addresses: Vec<String>,
    /// How those of its addresses stand that are not simply up.
    pub(crate) standing: Vec<String>,
    /// Connections of that core that wait to be used.
    pub(crate) idle: usize,
    /// The last try to connect, if it failed.
    pub(crate) failure: Option<ConnectFailure>,
}

/// A try to connect that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConnectFailure {
    pub(crate) seconds_ago: u64,
    /// The name of the reason, as in logs.
    pub(crate) reason: String,
    pub(crate) why: String,
}

/// What an upstream is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Whether that is another target than the client's.
    pub(crate) is_rewritten: bool,
    /// The Host of the first endpoint, where each has its own.
    pub(crate) host: String,
    #[serde(flatten)]
    pub(crate) changes: Changes,
}

/// What changes in the fields of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Lines that it gains. `{request_id}` stands for what is made for each request.
    pub(crate) gains: Vec<String>,
    /// Lines that it loses; of a response, which nobody knows yet, the names.
    pub(crate) loses: Vec<String>,
}

/// A copy for another upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mirror {
    pub(crate) upstream: String,
    /// How many of ten thousand requests.
    pub(crate) share: u16,
}

/// What the cache does with a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cache {
    /// Whether a stored response may answer it.
    pub(crate) looks: bool,
    /// Why none may.
    pub(crate) bypass: Option<String>,
    /// What the response is found by: the host, the path, and what of the query counts.
    pub(crate) key: Option<String>,
    /// What tells responses of that key apart, beside what their Vary says: fields and cookies.
    pub(crate) by: Vec<String>,
    /// The lifetime in seconds of a successful response that states none.
    pub(crate) ttl_s: Option<u64>,
    /// The lifetime in seconds of a successful response, whatever it states.
    pub(crate) override_ttl_s: Option<u64>,
    /// For how many seconds a stale response may be used that does not say so itself.
    pub(crate) grace_s: u64,
    /// Whether responses that set cookies may be stored.
    pub(crate) stores_cookies: bool,
    /// Bytes of the largest response that is stored.
    pub(crate) response_bytes_max: usize,
    /// Tags that responses get.
    pub(crate) tags: Vec<String>,
    /// What a proxy that runs has stored.
    pub(crate) stored: Option<Stored>,
}

/// What is stored for a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// How many responses.
    pub(crate) variants: usize,
    /// Whether the response is being fetched, by a request for which others wait.
    pub(crate) is_fetched: bool,
    /// The response that the request selects.
    pub(crate) selected: Option<Selected>,
}

/// A stored response that a request selects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Selected {
    pub(crate) status: u16,
    /// Bytes of its content.
    pub(crate) bytes: u64,
    /// Its age in seconds.
    pub(crate) age_s: u64,
    /// For how many seconds it is still fresh; below 0, for how long it has been stale.
    pub(crate) ttl_s: i64,
    /// Whether it was purged softly, and so counts as stale.
    pub(crate) is_purged: bool,
    /// Whether it answers without the origin being asked first.
    pub(crate) answers: bool,
    /// What becomes of it, in words.
    pub(crate) verdict: String,
}

/// Something that is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// As it is called in the configuration: `access`, `rules`, `rate`.
    pub(crate) name: String,
    /// What it says of the request: half a sentence.
    pub(crate) says: String,
    /// Who wants it: `listener web`, `route api`.
    pub(crate) from: String,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// As it is called in the configuration.
    pub(crate) name: String,
    /// As it is written there.
    pub(crate) value: String,
    /// Who says so: `listener web`, `upstream app`, `route api`.
    pub(crate) from: String,
}
