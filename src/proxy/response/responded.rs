//! What became of a response that was to be passed on.

use std::rc::Rc;

use crate::error::Reason;
use crate::net::Buffer;
use crate::proxy::cached::pump::Pump;
use crate::proxy::cached::serve::Source;
use crate::proxy::forward::Broken;
use crate::proxy::holding::ahead::Ahead;

/// A response that was passed on up to its last window.
pub(in crate::proxy) struct Responded {
    /// What is still to be written: the end of the response, or all of it.
    pub(in crate::proxy) last: Buffer,
    pub(in crate::proxy) after: After,
}

/// What becomes of the two connections.
pub(in crate::proxy) enum After {
    /// The response is complete.
    Complete {
        /// Whether the upstream's connection can serve again.
        reusable: bool,
        /// Whether the client's connection stays open.
        keep_alive: bool,
        /// What goes to the client before the end of the response, and does not need the upstream any more.
        ahead: Option<Rc<Ahead>>,
    },
    /// They become a tunnel; the upstream has sent these bytes already.
    Tunnel(Buffer),
    /// The client gets its answer from the cache.
    Serve {
        /// Where it is.
        source: Source,
        /// Whether the upstream's connection can serve again.
        reusable: bool,
    },
    /// The response goes into the cache, and the client reads along.
    Fill(Box<Pump>, Source),
    /// The request is to be sent again, for the response has a status that its endpoint alone may be to blame for.
    Repeat {
        /// Whether the upstream's connection can serve again.
        reusable: bool,
    },
    /// Nobody is there who wants the response; or the request has to go out again.
    Drop {
        /// Whether the upstream's connection can serve again.
        reusable: bool,
        /// Whether the request goes out again.
        again: bool,
    },
}

/// A response that could not be passed on.
pub(in crate::proxy) struct ResponseFault {
    pub(in crate::proxy) reason: Reason,
    /// The upstream closed, or failed, without a byte in answer.
    pub(in crate::proxy) unanswered: bool,
    /// The response ends with the connection, so that a plain close would look like its end.
    pub(in crate::proxy) ends_with_close: bool,
}

impl From<Reason> for ResponseFault {
    fn from(reason: Reason) -> ResponseFault {
        ResponseFault { reason, unanswered: false, ends_with_close: false }
    }
}

/// A response that is not passed on.
pub(in crate::proxy) fn dropped(window: Buffer, again: bool) -> Responded {
    Responded { last: window, after: After::Drop { reusable: false, again } }
}

/// What a break on the upstream's side is called, before and after the first byte of its response.
pub(in crate::proxy) const fn unanswered(broken: Broken) -> ResponseFault {
    let (reason, unanswered) = match broken {
        Broken::Closed => (Reason::UpstreamClosed, true),
        Broken::Reset => (Reason::UpstreamReset, true),
        Broken::TimedOut | Broken::TooSlow => (Reason::UpstreamFirstByteTimeout, false),
    };
    ResponseFault { reason, unanswered, ends_with_close: false }
}

/// What a break on the client's side is called.
pub(in crate::proxy) fn client_fault(broken: Broken) -> Reason {
    broken.of_response()
}
