//! What becomes of which requests.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::matching::{Condition, HostPattern, PathPattern};
use super::template::Template;
use super::traffic::Traffic;
use crate::http::fields::is_token;
use crate::limits::RouteLimits;

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Its name: as given, or `route-3` for the third in the order of the file, or `default` for the one that
    /// `--origin` makes.
    pub name: String,
    /// The hosts that it is for; none is any.
    pub hosts: Vec<HostPattern>,
    /// The paths that it is for; none is any.
    pub paths: Vec<PathPattern>,
    /// What else has to hold: all of it.
    pub conditions: Vec<Condition>,
    /// What it does with a request.
    pub action: Action,
    /// What an upstream is asked for instead.
    pub rewrite: Rewrite,
    /// What changes in the fields of the request.
    pub request_fields: FieldEdits,
    /// What changes in the fields of the response.
    pub response_fields: FieldEdits,
    /// What the cache does.
    pub cache: CacheRule,
    /// Who else gets a copy of the request.
    pub mirror: Option<Mirror>,
    /// Its own limits.
    pub limits: RouteLimits,
    /// What it does about traffic, beside what its listener does.
    pub traffic: Traffic,
    /// Its own error pages, in front of those for all.
    pub error_pages: ErrorPages,
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passes it on to one of these upstreams; at least one.
    Forward(Split),
    /// Sends the client elsewhere.
    Redirect {
        /// Where: an absolute URL or path.
        to: Template,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// Answers by itself.
    Respond(FixedResponse),
    /// Refuses it, with an error page.
    Deny {
        /// From 400 to 599.
        status: u16,
    },
}

/// Upstreams that share requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The names of the upstreams, each with its weight, from 0 to [`crate::limits::WEIGHT_MAX`], not all 0.
    pub shares: Vec<(String, u32)>,
    /// What decides.
    pub by: SplitBy,
}

/// What decides which of several upstreams gets a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SplitBy {
    /// Chance, for each request.
    #[default]
    Chance,
    /// The client's address: the same client always gets the same one.
    Client,
    /// The value of this cookie; chance where there is none.
    Cookie(String),
    /// The value of this field; chance where there is none.
    Header(String),
}

impl FromStr for SplitBy {
    type Err = String;

    fn from_str(text: &str) -> Result<SplitBy, String> {
        match text.split_once(':') {
            None if text == "client" => Ok(SplitBy::Client),
            Some(("cookie", name)) if is_token(name.as_bytes()) => Ok(SplitBy::Cookie(name.to_owned())),
            Some(("header", name)) if is_token(name.as_bytes()) => Ok(SplitBy::Header(name.to_owned())),
            _ => Err(format!("{text:?} decides nothing; what can is client, cookie:NAME or header:NAME")),
        }
    }
}

/// A response that a route gives by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedResponse {
    /// From 200 to 599.
    pub status: u16,
    /// The Content-Type; ignored where there is no content.
    pub content_type: String,
    /// The content, at most [`crate::limits::ERROR_PAGE_BYTES_MAX`] long.
    pub body: Template,
}

/// How the target changes on its way to the upstream. The steps are taken in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Takes these segments from the front of the path: `/api`; a path without them stays.
    pub strip_prefix: Option<String>,
    /// Takes the place of the path.
    pub path: Option<Template>,
    /// Goes in front of the path: `/v1`.
    pub add_prefix: Option<String>,
    /// What changes in the query.
    pub query: QueryEdits,
    /// Which form of the path goes on where none of the above changes it.
    pub forward: ForwardPath,
}

/// Which form of the path an upstream gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardPath {
    /// The one that routes are matched by, so that the upstream and the routes cannot read it differently.
    #[default]
    Normalised,
    /// As the client sent it.
    Original,
}

impl FromStr for ForwardPath {
    type Err = String;

    fn from_str(text: &str) -> Result<ForwardPath, String> {
        match text {
            "normalised" => Ok(ForwardPath::Normalised),
            "original" => Ok(ForwardPath::Original),
            _ => Err(format!("{text:?} is no form of a path: normalised, original")),
        }
    }
}

/// What changes in a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryEdits {
    /// Takes the place of all of it.
    pub replace: Option<Template>,
    /// Parameters that go: a name, or its start with a `*`.
    pub remove: Vec<String>,
    /// Parameters that take the place of all of that name.
    pub set: Vec<(String, Template)>,
    /// Parameters that come on top.
    pub add: Vec<(String, Template)>,
}

/// What changes in the fields of a message: first some go, then some are set, then some come on top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Fields that go: a name, or its start with a `*`.
    pub remove: Vec<String>,
    /// Fields that take the place of all of that name.
    pub set: Vec<(String, Template)>,
    /// Fields that come on top.
    pub add: Vec<(String, Template)>,
}

impl FieldEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// What the cache does with a route's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// Whether it has anything to do with them.
    pub on: bool,
    /// The lifetime of successful responses that bring none, in front of the one for all.
    pub ttl: Option<Duration>,
    /// The lifetime of successful responses, whatever they say of it; what says that it is private, or not to be
    /// stored, still is not.
    pub override_ttl: Option<Duration>,
    /// How long stale responses may be used, in front of the one for all.
    pub grace: Option<Duration>,
    /// Which parameters of the query tell responses apart.
    pub query: KeyQuery,
    /// Fields whose values tell responses apart.
    pub headers: Vec<String>,
    /// Cookies whose values tell responses apart.
    pub cookies: Vec<String>,
    /// Tags that responses get beside their own, for purges.
    pub tags: Vec<String>,
    /// Whether responses with Set-Cookie may be stored, by the rules.
    pub set_cookie: bool,
}

impl Default for CacheRule {
    fn default() -> CacheRule {
        CacheRule {
            on: true,
            ttl: None,
            override_ttl: None,
            grace: None,
            query: KeyQuery::All,
            headers: Vec::new(),
            cookies: Vec::new(),
            tags: Vec::new(),
            set_cookie: true,
        }
    }
}

/// Which parameters of the query tell responses apart. A name may end with a `*`, which stands for any end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyQuery {
    /// The whole query as it was sent.
    #[default]
    All,
    /// None.
    None,
    /// These, in the order of their names.
    Only(Vec<String>),
    /// All but these, in the order of their names.
    Except(Vec<String>),
}

/// A copy of some requests for another upstream, whose responses nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its name.
    pub upstream: String,
    /// How many of ten thousand requests, from 1.
    pub share: u16,
}

/// Pages for errors that the proxy answers by itself, by status.
pub type ErrorPages = BTreeMap<u16, ErrorPage>;

/// A page for an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Where it was read from, if from a file.
    pub file: Option<std::path::PathBuf>,
    /// The Content-Type.
    pub content_type: String,
    /// The content, at most [`crate::limits::ERROR_PAGE_BYTES_MAX`] bytes.
    pub body: Arc<[u8]>,
}
