//! Who has to be known: the keys of listeners and routes, and the tables of ways to authenticate.

use super::said::Either;
use crate::config::quantity::{OrOff, Size, Span};
use crate::config::table::{At, tables};

tables! {
    /// Who has to be known
    IdentitySaid = IDENTITY "identity" {
        /// Ways to authenticate, one of which has to succeed: names of `[auth.NAME]`; or `false` for a route that
        /// everybody may ask, whatever its listener says
        auth: Either<bool, Vec<At<String>>>,
    }

    /// A way to authenticate: it has one of `basic`, `bearer` and `forward`
    AuthSaid = AUTH "way to authenticate" {
        /// By name and password: `file:PATH`, a file in the form of htpasswd with hashes by bcrypt or Argon2
        basic: At<String>,
        /// By a token: `file:PATH`, or the hashes of tokens, `sha256:HEX`, each with a name for the log behind it, if
        /// it is to have one
        bearer: Vec<At<String>>,
        /// By what a service says
        forward: ForwardSaid,
        /// What clients are told that the credentials are for [default: the name]
        realm: String,
        /// A field by which the upstream is told who it is; what the client itself says there is dropped. With
        /// `forward` it is the field of the service's answer that says so
        user_header: At<String>,
        /// Whether the upstream gets the Authorization field that was used here [default: false]
        pass_credentials: bool,
        /// How long a right password is remembered, at most 1h; or `off` [default: 60s]
        remember: OrOff<Span>,
    }

    /// A service that says whether a request is served: a status from 200 to 299 lets it go on, and 401, 403 and
    /// redirects go to the client as they come. Whatever else happens, the request is not served
    ForwardSaid = FORWARD "service" {
        /// The upstream that it is
        upstream: At<String>,
        /// The path that it is asked for, with a query if need be
        path: At<String>,
        /// The method that it is asked with, or `client` for that of the request [default: GET]
        method: At<String>,
        /// Fields of the request that it is sent [default: Authorization and Cookie]
        request_header: Vec<At<String>>,
        /// Fields of its answer that the request gains on its way to the upstream; what the client itself says there
        /// is dropped
        response_header: Vec<At<String>>,
        /// Fields of an answer that lets the request go on which the client gets too, beside those of the response:
        /// `Set-Cookie` for a session that was renewed
        client_header: Vec<At<String>>,
        /// Where browsers are sent with 302 that it says 401 to: a URL, in which `{url}` is the one that was asked for.
        /// It is for GET and HEAD that accept text/html; others get the 401
        sign_in: At<String>,
        /// How long it may take in all, at most 1m [default: 5s]
        timeout: At<Span>,
        /// Bytes of content that its answer may have, at most 64KiB [default: 16KiB]
        max_response: At<Size>,
    }
}
