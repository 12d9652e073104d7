//! The proxy's own answer to a request that it cannot serve.

use crate::cache::outcome::{self, Outcome, Report};
use crate::content::error_page::{self, ErrorAnswer};
use crate::error::Reason;
use crate::h1::encode::Persistence;
use crate::http::{Method, Name, Version};
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::proxy::cached::Caching;
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record};
use crate::proxy::response::amend;
use crate::proxy::snapshot::Action;

/// What whoever finds no room is told, beside that.
pub(in crate::proxy) const RETRY_AFTER: &[u8] = b"Retry-After: 5\r\n";

/// Writes the answer that the record's reason asks for. `keep_alive` says what the connection does next.
pub(in crate::proxy) fn answer(
    core: &Core,
    received: &Received,
    record: &mut Record,
    caching: Option<&Caching>,
    keep_alive: bool,
) -> Buffer {
    let terms = &received.terms;
    let version = received.head.map_or(Version::Http11, |head| head.version);
    let accept = received.fields().first(Name::Accept).unwrap_or_default();
    record.status = match terms.action() {
        Some(Action::Deny { status }) if record.reason == Reason::Denied => *status,
        // Rules and rates say it themselves.
        _ if record.status != 0
            && matches!(record.reason, Reason::RuleDenied | Reason::RuleRedirected | Reason::RateLimited) =>
        {
            record.status
        }
        _ => record.reason.status(),
    };
    let mut report = core.report.borrow_mut();
    report.clear();
    let via = terms.via();
    match caching {
        Some(caching) => caching.append_report(via, None, &mut report),
        // A request that is not admitted never gets as far as the cache.
        None if core.store.is_some() => {
            let bypassed = Report::of(Outcome::Bypass, None);
            outcome::write(&mut *report, via, &bypassed, None);
        }
        None => {}
    }
    let mut scratch = core.scratch.borrow_mut();
    scratch.clear();
    error_page::write(
        &mut scratch,
        &ErrorAnswer {
            reason: record.reason,
            status: record.status,
            page: terms.error_page(record.status),
            request_id: record.request_id.bytes(received),
            date: core.date.borrow().as_bytes(),
            json: error_page::prefers_json(accept),
            persistence: Persistence::of(keep_alive, version),
            head_only: received.head.is_some_and(|head| head.method == Method::Head),
            proxy: via,
            report: &report,
            lines: match record.reason {
                Reason::Overloaded => RETRY_AFTER,
                _ => &terms.made().texts.refusal_lines,
            },
        },
    );
    amend::answer(core, &mut scratch, terms.response_changes());
    let mut buffer = core.buffers.take(Class::fitting(scratch.len()));
    let fits = buffer.append(&scratch);
    debug_assert!(fits, "an error answer fits into a buffer");
    buffer
}
