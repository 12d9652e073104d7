//! Finding the route of a request, and all that follows from it before anything is sent: the upstream, the
//! target and the fields that it gets, and those that the client will get.

use std::net::IpAddr;

use crate::config::route::ForwardPath;
use crate::error::Reason;
use crate::filter::trust::{self, Told};
use crate::h1::RequestHead;
use crate::http::{Name, authority, path};
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::terms::{Terms, Texts};
use crate::proxy::snapshot::Action;
use crate::route::template::{BadValue, Place, Values, render};
use crate::route::{Asked, Captures, Router, key, target};

/// Where a request's target was cut.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct TargetParts<'a> {
    /// The path as it was sent; empty where an absolute-form target has none.
    pub(in crate::proxy) path: &'a [u8],
    /// The query as it was sent, without the question mark.
    pub(in crate::proxy) query: Option<&'a [u8]>,
}

/// The path and the query of a request.
pub(in crate::proxy) fn target_parts<'a>(head: &RequestHead, bytes: &'a [u8]) -> TargetParts<'a> {
    let target = head.target.origin_form(bytes, head.method).rest;
    match memchr::memchr(b'?', target) {
        Some(end) => TargetParts { path: &target[..end], query: Some(&target[end + 1..]) },
        None => TargetParts { path: target, query: None },
    }
}

/// The host that was asked for, as it was sent.
pub(in crate::proxy) fn asked_host<'a>(received: &'a Received, head: &RequestHead) -> &'a [u8] {
    match head.target.authority() {
        Some(authority) => authority.within(received.head_bytes()),
        None => received.fields().first(Name::Host).unwrap_or_default(),
    }
}

/// Finds the route, if there is one, and what follows from it.
///
/// # Errors
/// Why the request is refused.
pub(in crate::proxy) fn route(
    core: &Core,
    peer: &Peer,
    received: &mut Received,
    head: &RequestHead,
    record: &Record,
) -> Result<(), Reason> {
    let (found, captures, text) = find(core, peer, received, head)?;
    let terms = &mut received.terms;
    if !captures.is_empty() || !text.is_empty() {
        let made = terms.make(core);
        (made.captures, made.texts.path) = (captures, text);
    }
    let Some(place) = found else { return Ok(()) };
    terms.take_route(place);
    if let Some(Action::Forward { split, to }) = received.terms.action() {
        let chosen = match &**to {
            [only] => *only,
            several => {
                let point = split.point(
                    client(peer, received).0,
                    received.fields(),
                    core.random.borrow_mut().u64(..),
                );
                several[split.choose(point)]
            }
        };
        received.terms.take_upstream(chosen.upstream, chosen.identity);
    }
    write(core, peer, received, head, record).map_err(|_| Reason::UnusableValue)
}

/// The place of the route, if there is one, what its path captured, and the normal form of the path where that is
/// not what was sent.
fn find(
    core: &Core,
    peer: &Peer,
    received: &Received,
    head: &RequestHead,
) -> Result<(Option<usize>, Captures, Vec<u8>), Reason> {
    let terms = &received.terms;
    let router = &terms.snapshot.router;
    let sent = target_parts(head, received.head_bytes()).path;
    let text = normalised(core, sent)?;
    let asked = asked(peer, received, head, either(&text, sent));
    let mut captures = Captures::default();
    let found = router.find(&asked, &mut captures);
    let forwards_original =
        found.is_some_and(|place| terms.snapshot.routes[place].rewrite.forward == ForwardPath::Original);
    let agrees = readers_agree(core, router, asked, asked.path, found)
        && (!forwards_original || readers_agree(core, router, asked, sent, found));
    if !agrees {
        return Err(Reason::AmbiguousPath);
    }
    Ok((found, captures, text))
}

/// Whether every reader of the path finds the same route. Whoever takes an escaped slash for a slash, say, must not
/// come past a rule by it.
fn readers_agree(core: &Core, router: &Router, asked: Asked<'_>, path: &[u8], found: Option<usize>) -> bool {
    // Only the upstream resolves the dots of a path that goes on as it was sent.
    let is_normal = path::is_normal(path);
    path::readings(path).filter(|reading| is_normal || reading.resolves()).all(|reading| {
        let mut text = core.take_text();
        let read = path::read(path, reading, &mut text);
        let other = router.find(&Asked { path: &text, ..asked }, &mut Captures::default());
        core.give_back_text(text);
        read.is_ok() && other == found
    })
}

/// The normal form of a path; empty where that is what was sent.
///
/// # Errors
/// It has none.
pub(in crate::proxy) fn normalised(core: &Core, sent: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut text = Vec::new();
    // An absolute-form target without a path asks for the root, and `*` is about no path.
    if !matches!(sent, b"" | b"*") && !path::is_normal(sent) {
        text = core.take_text();
        path::normalise(sent, &mut text).map_err(|_| Reason::BadPath)?;
    }
    Ok(text)
}

/// What routes can tell a request by whose path has that normal form.
pub(in crate::proxy) fn asked<'a>(
    peer: &Peer,
    received: &'a Received,
    head: &RequestHead,
    normal: &'a [u8],
) -> Asked<'a> {
    let bytes = received.head_bytes();
    let wants_client = received.terms.snapshot.router.wants_client();
    Asked {
        host: asked_host(received, head),
        path: normal,
        query: target_parts(head, bytes).query.unwrap_or_default(),
        method: head.token.within(bytes),
        fields: received.fields(),
        listener: Some(received.terms.listener),
        client: if wants_client { client(peer, received).0 } else { None },
    }
}

/// Writes what the upstream and the client get in another form than it came.
fn write(
    core: &Core,
    peer: &Peer,
    received: &mut Received,
    head: &RequestHead,
    record: &Record,
) -> Result<(), BadValue> {
    let terms = &received.terms;
    let Some(route) = terms.route() else { return Ok(()) };
    let parts = target_parts(head, received.head_bytes());
    let normal = normal_path(terms, parts.path);
    let forwards = terms.upstream().is_some();
    let rewrites = forwards && target::is_needed(&route.rewrite, parts.path, normal, parts.query);
    let edits = forwards && !(route.request_fields.is_empty() && route.brought.is_empty());
    if !rewrites && !edits && route.response_fields.is_empty() {
        return Ok(());
    }
    let mut texts = Texts::default();
    let most = terms.listener().head.head_bytes_max;
    with_values(peer, received, head, record, |values| {
        if rewrites {
            texts.target = core.take_text();
            target::rewrite(
                &route.rewrite,
                parts.path,
                normal,
                parts.query,
                values,
                most,
                &mut texts.target,
            )?;
        }
        if edits {
            texts.brought = core.take_text();
            key::write_brought(&route.brought, values, &mut texts.brought);
            texts.request_lines = core.take_text();
            route.request_fields.write(values, &mut texts.request_lines)?;
        }
        if !route.response_fields.is_empty() {
            texts.response_lines = core.take_text();
            route.response_fields.write(values, &mut texts.response_lines)?;
        }
        Ok(())
    })?;
    let made = received.terms.make(core);
    texts.path = std::mem::take(&mut made.texts.path);
    made.texts = texts;
    Ok(())
}

/// The path in normal form, where `sent` is the one that was sent.
pub(in crate::proxy) fn normal_path<'a>(terms: &'a Terms, sent: &'a [u8]) -> &'a [u8] {
    either(&terms.made().texts.path, sent)
}

/// The path in normal form: what was written for it, or what was sent.
pub(in crate::proxy) fn either<'a>(written: &'a [u8], sent: &'a [u8]) -> &'a [u8] {
    match written {
        [] if sent.is_empty() => b"/",
        [] => sent,
        written => written,
    }
}

/// Renders a template of the route.
///
/// # Errors
/// A value that cannot stand there.
pub(in crate::proxy) fn rendered(
    peer: &Peer,
    received: &Received,
    head: &RequestHead,
    record: &Record,
    (template, place, bytes_max): (&crate::config::template::Template, Place, usize),
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let result =
        with_values(peer, received, head, record, |values| render(template, values, place, bytes_max, out));
    result.map_err(|_| Reason::UnusableValue)
}

/// Calls `with` with everything that variables stand for.
fn with_values<R>(
    peer: &Peer,
    received: &Received,
    head: &RequestHead,
    record: &Record,
    with: impl FnOnce(&Values<'_>) -> R,
) -> R {
    let terms = &received.terms;
    let bytes = received.head_bytes();
    let parts = target_parts(head, bytes);
    let path = normal_path(terms, parts.path);
    let fields = received.fields();
    let told = |name| fields.first(name).filter(|_| peer.trusted);
    let scheme = told(Name::XForwardedProto).unwrap_or_default();
    let host = told(Name::XForwardedHost).filter(|host| authority::is_valid(host));
    let capture = |name: &str| {
        let place = terms.route_place()?;
        terms.snapshot.router.capture(place, &terms.made().captures, name, path)
    };
    with(&Values {
        client_ip: client(peer, received).1,
        // It stands in front of hosts, where other words would mean other things.
        scheme: if scheme.eq_ignore_ascii_case(b"https") { b"https" } else { b"http" },
        host: host.unwrap_or_else(|| asked_host(received, head)),
        method: head.token.within(bytes),
        path,
        query: parts.query,
        request_id: record.request_id.bytes(received),
        listener: terms.listener().name.as_bytes(),
        route: terms.route().map_or(&b""[..], |route| route.name.as_bytes()),
        fields,
        captures: &capture,
    })
}

/// The client's address, as far as proxies in front are believed, and its text.
pub(in crate::proxy) fn client<'a>(peer: &'a Peer, received: &'a Received) -> (Option<IpAddr>, &'a [u8]) {
    let told = match peer.trusted {
        true => trust::client(received.fields(), &received.terms.listener().trusted),
        false => Told::Nothing,
    };
    match told {
        Told::Client(address, text) => (Some(address), text),
        Told::Unknown => (None, b"unknown"),
        Told::Nothing => (peer.ip(), peer.address()),
    }
}
