//! How the content of a response goes out to the client.

use crate::error::Reason;
use crate::h1::BodyLength;
use crate::h1::body::{Decoder, Encoder};
use crate::h1::encode::ResponseBody;
use crate::http::Version;
use crate::proxy::response::respond::Asked;
use crate::proxy::response::responded::ResponseFault;

/// How the content of a response goes out.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Outgoing {
    pub(in crate::proxy) body: ResponseBody,
    pub(in crate::proxy) encoder: Encoder,
}

impl Outgoing {
    pub(in crate::proxy) fn decide(asked: Asked, status: u16, length: BodyLength) -> Outgoing {
        let (body, encoder) = match length {
            BodyLength::None if status == 204 => (ResponseBody::Forbidden, Encoder::Plain),
            BodyLength::None => (ResponseBody::Described, Encoder::Plain),
            BodyLength::Known(length) => (ResponseBody::Known(length), Encoder::Plain),
            BodyLength::Chunked | BodyLength::UntilClose => match asked.version {
                Version::Http11 => (ResponseBody::Chunked, Encoder::Chunked),
                Version::Http10 => (ResponseBody::UntilClose, Encoder::Plain),
            },
        };
        Outgoing { body, encoder }
    }
}

/// Content on its way through.
pub(in crate::proxy) struct Content {
    pub(in crate::proxy) decoder: Decoder,
    pub(in crate::proxy) outgoing: Outgoing,
    /// The response has ended.
    pub(in crate::proxy) done: bool,
    /// The upstream sent more than its response.
    pub(in crate::proxy) overrun: bool,
    /// What ends the response had no room in its last window.
    pub(in crate::proxy) end_apart: bool,
}

impl Content {
    /// Nothing has come of it yet.
    pub(in crate::proxy) fn new(length: BodyLength, outgoing: Outgoing) -> Content {
        let decoder = Decoder::new(length);
        Content { decoder, outgoing, done: false, overrun: false, end_apart: false }
    }

    /// What ends it, once it is done.
    pub(in crate::proxy) fn end(&self) -> &[u8] {
        self.decoder.end(self.outgoing.encoder)
    }

    /// A fault in the middle of it.
    pub(in crate::proxy) fn fault(&self, reason: Reason) -> ResponseFault {
        let ends_with_close = self.outgoing.body == ResponseBody::UntilClose;
        ResponseFault { reason, unanswered: false, ends_with_close }
    }
}
