//! What is checked of requests: networks, and bounds. The keys of listeners and routes.

use super::said::forms;
use crate::config::keys::Kind;
use crate::config::quantity::Size;
use crate::config::security::Entry;
use crate::config::table::{At, FromValue, Reader, Value, tables};

tables! {
    /// What is checked of requests: networks, and bounds
    SecuritySaid = SECURITY "security" {
        /// Networks whose clients are let in, and networks whose clients are not; the listener's and the route's hold both
        access: Box<AccessTable>,
        /// What a request may be like; what a route says takes the place of what its listener says
        request_limits: Box<RequestLimitsTable>,
    }

    /// Whose requests are let in: the longest prefix that has the client decides, and `deny` of two that are as long
    AccessTable = ACCESS "access list" {
        /// Who is let in: networks, addresses, `all`, `unix` for who comes by a Unix socket, or `file:PATH` for a file
        /// with a network on each line, which is read again when it changes. All others are refused
        allow: Vec<At<ClientsSaid>>,
        /// Who is not, in the same words
        deny: Vec<At<ClientsSaid>>,
    }

    /// Bounds on requests
    RequestLimitsTable = REQUEST_LIMITS "request limit" {
        /// Methods that are served; others get 405
        method: Vec<At<String>>,
        /// Longest target, in bytes; longer ones get 414
        max_target: Size,
        /// Longest query, in bytes; longer ones get 414
        max_query: Size,
        /// Parameters that a query may have; more get 414
        max_parameters: usize,
        /// Longest field line, in bytes; longer ones get 431
        max_field: Size,
        /// Field lines that a request may have; more get 431
        max_fields: usize,
        /// Types that content may have, such as `application/json` or `text/*`; other content, and such without a type,
        /// gets 415
        content_type: Vec<At<String>>,
    }
}

forms! {
    /// Some clients.
    ClientsSaid(Entry) = Kind::Text("10.0.0.0/8"), Entry::parse;
}
