//! Who has to be known before a request is served.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::passwords::Users;
use super::tokens::Tokens;

/// What a listener or a route does about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The names of ways to authenticate, one of which has to succeed; with none of them anybody is served. None where
    /// nothing is said, so that for a route that holds what its listener says.
    pub auth: Option<Vec<String>>,
}

/// A way to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Its name.
    pub name: String,
    /// The protection space that clients are told of (RFC 9110, section 11.5).
    pub realm: String,
    /// The field by which the upstream is told who it is: for a service, the one of its answer that says so.
    pub user_header: Option<String>,
    /// Whether the upstream gets the credentials too.
    pub pass_credentials: bool,
    /// How it is found out.
    pub kind: AuthKind,
}

/// How it is found out who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// By name and password (RFC 7617).
    Basic {
        /// The file with the hashes, which is followed.
        file: PathBuf,
        /// What was in it.
        users: Arc<Users>,
        /// How long a password that was right is remembered; not at all if it is 0.
        remember: Duration,
    },
    /// By a token (RFC 6750).
    Bearer {
        /// The file with the hashes, which is followed; none where they stand in the configuration.
        file: Option<PathBuf>,
        /// The hashes.
        tokens: Arc<Tokens>,
    },
    /// By what a service says.
    Forward(Box<ForwardAuth>),
}

/// A service that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// The upstream that it is.
    pub upstream: String,
    /// The target that it is asked for.
    pub path: String,
    /// The method; none stands for that of the request itself.
    pub method: Option<String>,
    /// Fields of the request that it is sent.
    pub request_fields: Vec<String>,
    /// Fields of its answer that the request gains.
    pub response_fields: Vec<String>,
    /// Fields of its answer that the client gets, where that lets the request go on.
    pub client_fields: Vec<String>,
    /// Where browsers are sent to that it says 401 to; what stands for [`URL_ASKED`] is the URL that was asked for.
    pub sign_in: Option<String>,
    /// How long it may take in all.
    pub timeout: Duration,
    /// Bytes of content that its answer may have, at most [`RESPONSE_BYTES_MAX`].
    pub response_bytes_max: usize,
}

/// What stands for the URL that was asked for, percent-encoded as the value of a parameter.
pub const URL_ASKED: &str = "{url}";

/// The fields of the request that a service is sent where nothing else is said.
pub const REQUEST_FIELDS_DEFAULT: [&str; 2] = ["Authorization", "Cookie"];

/// How long a right password is remembered where nothing else is said.
pub const REMEMBER_DEFAULT: Duration = Duration::from_secs(60);

/// The longest time for which one is.
pub const REMEMBER_MAX: Duration = Duration::from_secs(3600);

/// How long a service may take where nothing else is said.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The longest time that it may be given.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Bytes of content that the answer of a service may have where nothing else is said.
pub const RESPONSE_BYTES_DEFAULT: usize = 16 << 10;

/// The most that may be said: with a head it has to fit into one buffer.
pub const RESPONSE_BYTES_MAX: usize = 64 << 10;
