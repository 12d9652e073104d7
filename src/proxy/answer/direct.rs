//! The answers that a route gives by itself: redirects, fixed responses, refusals.

use crate::cache::outcome::{self, Outcome, Report};
use crate::content::answer::{self, Answer};
use crate::error::Reason;
use crate::h1::encode::Persistence;
use crate::http::Method;
use crate::limits::ERROR_PAGE_BYTES_MAX;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::answer::refusal;
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::admit::Admitted;
use crate::proxy::request::routing::rendered;
use crate::proxy::response::amend;
use crate::proxy::snapshot::Action;
use crate::route::fields::VALUE_BYTES_MAX;
use crate::route::template::Place;

/// Writes the answer. `keep_alive` says what the connection does next.
pub(in crate::proxy) fn answer(
    core: &Core,
    peer: &Peer,
    received: &Received,
    admitted: &Admitted,
    record: &mut Record,
    keep_alive: bool,
) -> Buffer {
    match written(core, peer, received, admitted, record, keep_alive) {
        Ok(buffer) => buffer,
        Err(reason) => {
            record.reason = reason;
            refusal::answer(core, received, record, None, keep_alive)
        }
    }
}

fn written(
    core: &Core,
    peer: &Peer,
    received: &Received,
    admitted: &Admitted,
    record: &mut Record,
    keep_alive: bool,
) -> Result<Buffer, Reason> {
    let head = &admitted.head;
    let (mut location, mut content) = (Vec::new(), Vec::new());
    let mut content_type = None;
    let status = match received.terms.action() {
        Some(Action::Redirect { to, status }) => {
            let template = (to, Place::Location, VALUE_BYTES_MAX);
            rendered(peer, received, head, record, template, &mut location)?;
            *status
        }
        Some(Action::Respond { status, content_type: said, body, escape }) => {
            let template = (body, Place::Content(*escape), ERROR_PAGE_BYTES_MAX);
            rendered(peer, received, head, record, template, &mut content)?;
            content_type = Some(said.as_str());
            *status
        }
        Some(Action::Deny { .. }) => return Err(Reason::Denied),
        None => return Err(Reason::NoRoute),
        Some(Action::Forward { .. }) => return Err(Reason::NoEndpoint),
    };
    let mut report = core.report.borrow_mut();
    report.clear();
    if core.store.is_some() {
        outcome::write(&mut *report, received.terms.via(), &Report::of(Outcome::Bypass, None), None);
    }
    let mut scratch = core.scratch.borrow_mut();
    scratch.clear();
    let date = core.date.borrow();
    let written = Answer {
        status,
        date: date.as_bytes(),
        location: (!location.is_empty()).then_some(&*location),
        content: content_type.map(|content_type| (content_type, &*content)),
        persistence: Persistence::of(keep_alive, head.version),
        head_only: head.method == Method::Head,
        report: &report,
    };
    answer::write(&mut scratch, &written);
    amend::answer(core, &mut scratch, received.terms.response_changes());
    let mut buffer = core.buffers.take(Class::fitting(scratch.len()));
    let fits = buffer.append(&scratch);
    debug_assert!(fits, "an answer fits into a buffer");
    record.status = status;
    record.bytes = if written.head_only { 0 } else { content.len() as u64 };
    Ok(buffer)
}
