//! What ties a request to an endpoint: the key by which it is hashed, and the cookie that names one.

use crate::config::HashBy;
use crate::h1::RequestHead;
use crate::http::cookie;
use crate::http::point::{hash, hash_lowercase, mix, point_of, point_of_client};
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::Received;
use crate::proxy::request::routing::{asked_host, client, normal_path, target_parts};
use crate::proxy::request::terms::Terms;
use crate::upstream::{Upstream, sticky};

/// So many cookies of the name are looked at.
const COOKIES_MAX: usize = 4;

/// The point of a request: that of its key, where its upstream balances by one and it has one; a random number
/// otherwise.
pub(in crate::proxy) fn point(
    core: &Core,
    upstream: &Upstream,
    peer: &Peer,
    received: &Received,
    head: &RequestHead,
) -> u64 {
    let by_key = upstream.hash_by().and_then(|by| point_of_key(by, peer, received, head));
    by_key.unwrap_or_else(|| core.random.borrow_mut().u64(..))
}

/// The point of the key of a request; none if it has no such key.
pub(in crate::proxy) fn point_of_key(
    by: &HashBy,
    peer: &Peer,
    received: &Received,
    head: &RequestHead,
) -> Option<u64> {
    let path = || normal_path(&received.terms, target_parts(head, received.head_bytes()).path);
    let fields = received.fields();
    let value = match by {
        HashBy::Client => return client(peer, received).0.map(point_of_client),
        HashBy::Path => Some(path()),
        HashBy::Url => {
            let query = target_parts(head, received.head_bytes()).query.unwrap_or_default();
            let host = hash_lowercase(asked_host(received, head));
            return Some(mix(mix(host ^ mix(hash(path()))) ^ hash(query)));
        }
        HashBy::Header(name) => fields.named(name.as_bytes()).next(),
        HashBy::Cookie(name) => cookie::values(fields, name.as_bytes()).next(),
    };
    value.filter(|value| !value.is_empty()).map(point_of)
}

/// The endpoint that the client says it belongs to, if its cookie says so, and we have written that.
pub(in crate::proxy) fn wanted(upstream: &Upstream, received: &Received) -> Option<u64> {
    let (sticky, key) = upstream.sticky()?;
    let values = cookie::values(received.fields(), sticky.cookie.as_bytes());
    // Looking at one costs two hashes, and a client can send hundreds.
    let mut likely = values.filter(|value| value.len() == sticky::VALUE_BYTES).take(COOKIES_MAX);
    likely.find_map(|value| key.read(value))
}

/// Writes the line that tells the client to stay at an endpoint.
pub(in crate::proxy) fn write_cookie(terms: &Terms, introduces: Option<u64>, out: &mut Vec<u8>) {
    let sticky = terms.upstream().and_then(|upstream| upstream.sticky());
    if let (Some((sticky, key)), Some(id)) = (sticky, introduces) {
        out.extend_from_slice(b"Set-Cookie: ");
        sticky::write_cookie(sticky, key, id, out);
        out.extend_from_slice(b"\r\n");
    }
}
