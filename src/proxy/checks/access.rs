//! Networks, and the bounds on requests.

use super::rates::is_question;
use super::{Checking, Looked, Turned};
use crate::error::Reason;
use crate::filter::access::Asker;
use crate::filter::bounds;
use crate::proxy::client::connection::Peer;
use crate::proxy::record::Received;
use crate::proxy::request::admit::Read;
use crate::proxy::request::routing::{self, target_parts};

impl Checking<'_> {
    /// See the module.
    pub(super) fn access(&mut self) -> Result<Looked, Turned> {
        self.let_in()?;
        if let Err(reason) = check_bounds(self.received, self.read) {
            let line = self.received.terms.bounds().map(|bounds| bounds.line(reason)).unwrap_or_default();
            if !line.is_empty() {
                let line = line.to_vec();
                self.received.terms.make(self.core).texts.refusal_lines.extend_from_slice(&line);
            }
            return Err(reason.into());
        }
        Ok(Looked::Pass)
    }

    /// The listener's list, and the route's.
    pub(super) fn let_in(&self) -> Result<(), Reason> {
        let mut asker = None;
        for rules in self.received.terms.traffic() {
            let Some(access) = rules.security.as_ref().and_then(|rules| rules.access.as_ref()) else {
                continue;
            };
            let asker = *asker.get_or_insert_with(|| asker_of(self.peer, self.received));
            if !access.judge(asker).0 {
                return Err(Reason::AccessDenied);
            }
        }
        Ok(())
    }
}

/// Who asks, as far as lists of networks can tell.
pub(in crate::proxy) fn asker_of(peer: &Peer, received: &Received) -> Asker {
    match routing::client(peer, received) {
        (Some(address), _) => Asker::Address(address),
        (None, text) if text == peer.address() => Asker::Unix,
        (None, _) => Asker::Unknown,
    }
}

/// Holds a request against its bounds.
///
/// # Errors
/// The first that it does not keep.
pub(in crate::proxy) fn check_bounds(received: &Received, read: &Read) -> Result<(), Reason> {
    let Some(bounds) = received.terms.bounds() else { return Ok(()) };
    let (bytes, fields, head) = (received.head_bytes(), received.fields(), &read.head);
    let method = head.token.within(bytes);
    // What a browser asks before a request is answered here, and is no use of the method.
    if let Err(reason) = bounds.check_method(method)
        && !is_question(received, head)
    {
        return Err(reason);
    }
    let query = target_parts(head, bytes).query;
    let target = head.target_text.within(bytes);
    bounds.check(&bounds::Looked { target, query, fields, body: read.body })
}
