//! Reading a request, and deciding whether it is served.

use std::ops::Range;

use crate::error::Reason;
use crate::filter::{request_id, screen};
use crate::h1::{BodyLength, RequestHead, framing, request};
use crate::http::fields::drop_connection_options;
use crate::http::{Fields, Name, Span};
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record, RequestId};
use crate::proxy::request::upload::Upload;
use crate::proxy::response::respond::Asked;

/// A request that is served.
pub(in crate::proxy) struct Admitted {
    pub(in crate::proxy) head: RequestHead,
    pub(in crate::proxy) body: BodyLength,
    pub(in crate::proxy) asked: Asked,
    pub(in crate::proxy) expects_continue: bool,
    pub(in crate::proxy) takes_trailers: bool,
    /// The protocol to switch to, if the client offers one that is passed on.
    pub(in crate::proxy) upgrade: Option<Span>,
    pub(in crate::proxy) max_forwards: Option<u64>,
    pub(in crate::proxy) upload: Upload,
    /// Where the content lies that came with the head.
    pub(in crate::proxy) first: Range<usize>,
    /// Whether that is all of it.
    pub(in crate::proxy) whole: bool,
}

impl Admitted {
    /// The request is sent again. If its content has come as a whole meanwhile, it goes with it.
    pub(in crate::proxy) fn resend(&mut self) {
        if self.upload.is_kept() {
            self.whole = true;
            self.expects_continue = false;
        }
    }
}

/// A request that is well-formed, and that a proxy may serve.
pub(in crate::proxy) struct Read {
    pub(in crate::proxy) head: RequestHead,
    pub(in crate::proxy) body: BodyLength,
    pub(in crate::proxy) asked: Asked,
    expects_continue: bool,
    takes_trailers: bool,
    upgrade: Option<Span>,
    max_forwards: Option<u64>,
}

/// Reads the request, and decides whether it may be served at all.
///
/// # Errors
/// Why not.
pub(in crate::proxy) fn read(
    core: &Core,
    received: &mut Received,
    record: &mut Record,
) -> Result<Read, Reason> {
    record.request_id = RequestId::Made(request_id::render(core.random.borrow_mut().u128(..)));
    let (bytes, _) = received.bytes.bytes_mut().split_at_mut(received.head_length);
    let head = request::parse(bytes, &received.terms.listener().head, &mut received.lines)?;
    received.head = Some(head);
    drop_connection_options(bytes, &mut received.lines);
    received.terms.drop_fields(bytes, &mut received.lines);
    let fields = Fields::new(bytes, &received.lines);
    if let Some(id) = fields.first(Name::XRequestId).filter(|id| request_id::is_harmless(id)) {
        record.request_id = RequestId::Kept(Span::of(bytes, id));
    }
    let body = framing::of_request(head.version, fields).map_err(framing::BadFraming::in_request)?;
    let rules = screen::Rules { via: received.terms.via(), trace: received.terms.snapshot.trace };
    let wishes = screen::look(head.method, head.version, fields, body, rules)?;
    let asked = Asked {
        method: head.method,
        version: head.version,
        keep_alive: framing::keeps_alive(head.version, fields) && !received.terms.is_last,
        upgrade: wishes.upgrade.is_some(),
    };
    Ok(Read {
        head,
        body,
        asked,
        expects_continue: wishes.expects_continue,
        takes_trailers: wishes.takes_trailers,
        upgrade: wishes.upgrade.map(|protocol| Span::of(bytes, protocol)),
        max_forwards: wishes.max_forwards,
    })
}

/// Decides whether the request's content is taken, and takes apart what came of it.
///
/// # Errors
/// Why not.
pub(in crate::proxy) fn admit(core: &Core, received: &mut Received, read: Read) -> Result<Admitted, Reason> {
    let Read { head, body, asked, expects_continue, takes_trailers, upgrade, max_forwards } = read;
    let content_max = received.terms.body_bytes_max();
    if matches!(body, BodyLength::Known(length) if length > content_max) {
        return Err(Reason::BodyTooLarge);
    }
    let mut upload = Upload::new(body, content_max);
    let (_, tail) = received.bytes.bytes_mut().split_at_mut(received.head_length);
    let data = upload.take(core, &received.terms, tail)?;
    let first = received.head_length + data.start..received.head_length + data.end;
    let whole = upload.is_done();
    Ok(Admitted {
        head,
        body,
        asked,
        expects_continue,
        takes_trailers,
        upgrade,
        max_forwards,
        upload,
        first,
        whole,
    })
}
