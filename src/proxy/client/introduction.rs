//! How a connection begins whose peer speaks for others: with a header of the PROXY protocol, before anything else.

use std::net::SocketAddr;

use crate::error::Reason;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::net::preamble::{self, HEADER_BYTES_MAX, Header, Reading};
use crate::proxy::client::connection::Client;
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::terms::Terms;

/// What a header says, and what came behind it.
pub(in crate::proxy) struct Introduction {
    /// Whom the connection is for; none if that is the peer itself, or nobody knows.
    pub(in crate::proxy) source: Option<SocketAddr>,
    /// The first bytes of a request, if they came along.
    pub(in crate::proxy) rest: Option<Buffer>,
}

const _: () = assert!(HEADER_BYTES_MAX < Class::Small.room(), "a header fits into the smallest buffer");

/// Receives the header, within the time that the listener gives a request head. Nothing if there is none: then the
/// connection is to be closed without a word, for whoever made it speaks another language.
pub(in crate::proxy) async fn receive(core: &Core, client: &mut Client) -> Option<Introduction> {
    let (snapshot, listener) = client.inlet.now();
    let limit = snapshot.listeners[listener].head_time;
    drop(snapshot);
    let (record, began) = (Record::begin_early(core), core.deadlines.now());
    let mut begun: Option<Buffer> = None;
    loop {
        let (left, window) = (limit.left(began, core.deadlines.now()), begun.take());
        let buffer = || window.unwrap_or_else(|| core.buffers.take(Class::Small));
        let read = client.socket.source.read_when_ready(buffer);
        let mut buffer = match client.watch.idle_within(left, read).await {
            Some((Ok(1..), buffer)) => buffer,
            // Whoever only looks whether somebody listens has done nothing wrong.
            Some((_, buffer)) if buffer.is_empty() => return None,
            Some((_, buffer)) => return refuse(core, client, record, buffer),
            None if core.is_draining() => return None,
            None => return refuse(core, client, record, core.buffers.take(Class::Small)),
        };
        match preamble::read(buffer.bytes()) {
            Reading::NeedMore => begun = Some(buffer),
            Reading::Malformed => return refuse(core, client, record, buffer),
            Reading::Header(Header { source, length, .. }) => {
                buffer.consume(length);
                return Some(Introduction { source, rest: Some(buffer).filter(|rest| !rest.is_empty()) });
            }
        }
    }
}

/// Counts and logs a connection that did not begin as it has to.
fn refuse(core: &Core, client: &Client, mut record: Record, bytes: Buffer) -> Option<Introduction> {
    core.counters.proxy_headers_refused.increment();
    record.reason = Reason::BadProxyHeader;
    let terms = Terms::of(&client.inlet);
    let mut received = Received { bytes, head_length: 0, head: None, lines: core.take_lines(), terms };
    record.finish(core, client.peer.address(), &received);
    received.terms.give_back(core);
    core.give_back_lines(received.lines);
    None
}
