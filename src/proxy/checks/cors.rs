//! Questions of browsers about what a page of another origin may ask, and what responses say about that.
//!
//! A browser's question from an origin that may not ask is refused with 403: it does not go on either way, and so it
//! shows in logs and counts. A page's request from such an origin is served, without a word about who may read the
//! answer, which the browser then keeps to itself: other clients send Origin too, and so do pages of our own with each
//! POST. Methods and fields that a page may not use are not refused here: the browser compares, and tells the page's
//! author which one it was.

use super::{Checking, Looked, Turned};
use crate::error::Reason;
use crate::filter::cors::{self, Preflight};
use crate::h1::encode::Persistence;
use crate::http::Name;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::Received;
use crate::proxy::response::amend::{self, Changes};

/// Finds out what is needed for what browsers are told, whatever becomes of the request: by which scheme it came, and
/// which lines a page's answer gets.
pub(in crate::proxy) fn begin(core: &Core, peer: &Peer, received: &mut Received) {
    let Some(told) = received.terms.told() else { return };
    let scheme = received.fields().first(Name::XForwardedProto).filter(|_| peer.trusted);
    let https = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
    let rule = told.cors.map(|cors| &cors.rule).filter(|rule| rule.lines_for_all().is_none());
    let asking = rule.zip(cors::origin(received.fields()));
    let lines = asking.filter(|(rule, origin)| rule.allows(origin)).map(|(rule, origin)| {
        let mut lines = core.take_text();
        rule.write_lines(origin, &mut lines);
        lines
    });
    received.terms.https = https;
    if let Some(lines) = lines {
        let texts = &mut received.terms.make(core).texts;
        if texts.response_lines.is_empty() {
            texts.response_lines = lines;
        } else {
            texts.response_lines.extend_from_slice(&lines);
            core.give_back_text(lines);
        }
    }
}

impl Checking<'_> {
    /// See the module.
    pub(super) fn cors(&mut self) -> Result<Looked, Turned> {
        let told = self.received.terms.told();
        let Some(rules) = told.and_then(|told| told.cors) else { return Ok(Looked::Pass) };
        let Some(asked) = Preflight::of(self.read.head.method, self.received.fields()) else {
            return Ok(Looked::Pass);
        };
        let mut lines = self.core.take_text();
        let allowed = rules.rule.answer(&asked, &mut lines);
        let answer = allowed.then(|| self.answer_preflight(&lines));
        self.core.give_back_text(lines);
        let Some(answer) = answer else {
            // The question's own fields decided: whoever keeps the refusal has to know.
            let lines = &mut self.received.terms.make(self.core).texts.refusal_lines;
            self.core.with_room(lines).extend_from_slice(cors::PREFLIGHT_VARY);
            return Err(Reason::CorsRefused.into());
        };
        self.record.status = 204;
        Err(Turned::Answered(answer, self.keeps_alive()))
    }

    /// A whole response with these lines.
    fn answer_preflight(&self, lines: &[u8]) -> Buffer {
        let terms = &self.received.terms;
        let persistence = Persistence::of(self.keeps_alive(), self.read.head.version);
        let mut scratch = self.core.scratch.borrow_mut();
        scratch.clear();
        let date = self.core.date.borrow();
        let start: [&[u8]; 5] = [
            b"HTTP/1.1 204 No Content\r\nServer: ringway\r\nDate: ",
            date.as_bytes(),
            b"\r\n",
            cors::PREFLIGHT_VARY,
            persistence.field(),
        ];
        start.iter().for_each(|part| scratch.extend_from_slice(part));
        scratch.extend_from_slice(b"\r\n");
        // What this answer says of it takes the place of what other responses say.
        let changes = terms.response_changes().map(|changes| Changes { lines: [lines, b""], ..changes });
        amend::answer(self.core, &mut scratch, changes);
        let mut buffer = self.core.buffers.take(Class::fitting(scratch.len()));
        let fits = buffer.append(&scratch);
        debug_assert!(fits, "an answer without content fits into a buffer");
        buffer
    }
}
