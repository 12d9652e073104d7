//! Whether a condition holds for a request. What it does not speak of is not looked at: cookies and parameters
//! are read by the conditions that ask for them.

use std::borrow::Cow;

use super::{Asked, host, rank};
use crate::config::matching::Condition;
use crate::http::{cookie, method, query};

/// A request, and what was found out about it once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The request.
    pub(super) asked: &'a Asked<'a>,
    /// Its host, bare.
    pub(super) host: &'a [u8],
    /// The name of the listener that it came in at.
    pub(super) listener: Option<&'a str>,
}

/// Whether the condition holds.
pub(super) fn holds(condition: &Condition, seen: Seen<'_>) -> bool {
    let asked = seen.asked;
    match condition {
        Condition::Method(methods) => method::lists(methods, asked.method),
        Condition::Header(_, test) | Condition::Query(_, test) | Condition::Cookie(_, test) => {
            test.passes(&|accepts| values(condition, asked, &mut |value| accepts(value)))
        }
        Condition::Client(networks) => {
            // A socket for both families shows IPv4 as a part of IPv6.
            let client = asked.client.map(|client| client.to_canonical());
            client.is_some_and(|client| networks.iter().any(|network| network.contains(&client)))
        }
        Condition::Listener(names) => {
            seen.listener.is_some_and(|listener| names.iter().any(|name| name == listener))
        }
        Condition::Host(patterns) => patterns.iter().any(|pattern| host::is_for(pattern, seen.host)),
        Condition::Path(patterns) => patterns.iter().any(|pattern| rank::is_for(pattern, asked.path)),
        Condition::All(conditions) => conditions.iter().all(|condition| holds(condition, seen)),
        Condition::Any(conditions) => conditions.iter().any(|condition| holds(condition, seen)),
        Condition::Not(condition) => !holds(condition, seen),
    }
}

/// Whether the condition, or one within it, asks for the client's address.
pub(super) fn asks_for_client(condition: &Condition) -> bool {
    match condition {
        Condition::Client(_) => true,
        Condition::All(conditions) | Condition::Any(conditions) => conditions.iter().any(asks_for_client),
        Condition::Not(condition) => asks_for_client(condition),
        _ => false,
    }
}

/// Shows `accepts` the values that a condition on a field, a parameter or a cookie is about, until it accepts
/// one, and says whether it did.
pub(super) fn values(
    condition: &Condition,
    asked: &Asked<'_>,
    accepts: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    match condition {
        Condition::Header(name, _) => asked.fields.named(name.as_bytes()).any(accepts),
        Condition::Query(name, _) => {
            query::values(asked.query, name.as_bytes()).any(|value| accepts(&decoded(value)))
        }
        Condition::Cookie(name, _) => cookie::values(asked.fields, name.as_bytes()).any(accepts),
        _ => false,
    }
}

fn decoded(sent: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', sent).is_none() {
        return Cow::Borrowed(sent);
    }
    let mut out = Vec::with_capacity(sent.len());
    query::decode(sent, &mut out);
    Cow::Owned(out)
}
