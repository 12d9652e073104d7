//! One request and its response, step by step.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::Poll;

use super::connection::Client;
use super::core::Core;
use super::forward::{Broken, Reader, Writer};
use super::record::{Received, Record, RequestId};
use super::refusal;
use super::respond::{After, Asked, Respond, Responded, ResponseFault};
use super::tunnel;
use super::upload::{Progress, Upload, UploadFault};
use crate::error::Reason;
use crate::filter::{request_id, screen};
use crate::h1::chunked::PREFIX_BYTES_MAX;
use crate::h1::encode::{self, RequestEdits};
use crate::h1::{BodyLength, RequestHead, framing, request};
use crate::http::fields::drop_connection_options;
use crate::http::{Name, Span};
use crate::limits::TRAILER_BYTES_MAX;
use crate::net::Buffer;
use crate::net::buffer::Class;
use crate::upstream::retry::{self, Try};
use crate::upstream::{Connection, Endpoint};

/// How an exchange ended, and what is left to do.
pub(super) struct Outcome {
    /// The end of the response, or all of it, still to be written.
    pub(super) last: Option<Buffer>,
    /// Bytes that the client sent behind its request.
    pub(super) rest: Option<Buffer>,
    /// What becomes of the client's connection.
    pub(super) then: Then,
    /// The request, for the log.
    pub(super) received: Received,
    /// What happened.
    pub(super) record: Record,
}

/// What becomes of the client's connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It waits for another request.
    Persist,
    /// It closes.
    Close,
    /// It closes, but the client may still be sending: what it sends is thrown away for a moment, so
    /// that it can read the answer.
    CloseWhileSending,
    /// It breaks off, so that what was sent cannot be taken for the whole.
    Reset,
}

/// A request that is served.
struct Admitted {
    head: RequestHead,
    body: BodyLength,
    asked: Asked,
    expects_continue: bool,
    takes_trailers: bool,
    upgrade: Option<Span>,
    max_forwards: Option<u64>,
    upload: Upload,
    /// Where the content lies that came with the head.
    first: Range<usize>,
    rest: Option<Buffer>,
}

/// A try that failed.
struct Failure {
    fault: ResponseFault,
    progress: retry::Progress,
}

/// Serves the request at the front of `bytes`, whose head is `head_length` long.
pub(super) async fn run(core: &Core, client: &mut Client, bytes: Buffer, head_length: usize) -> Outcome {
    core.counters.requests.increment();
    let mut record = Record::begin(core);
    let mut received =
        Received { bytes, head_length, head: None, lines: std::mem::take(&mut client.request_lines) };
    let mut admitted = match admit(core, &mut received, &mut record) {
        Ok(admitted) => admitted,
        Err(reason) => return refuse(core, received, record, reason),
    };
    let (result, progress) = fetch(core, client, &received, &mut admitted, &mut record).await;
    let rest = admitted.rest;
    match result {
        Ok((last, then)) => Outcome { last, rest, then, received, record },
        Err(fault) => {
            record.reason = fault.reason;
            let answerable = !progress.responding.get() && fault.reason.status() != 0;
            let then = match (answerable, progress.uploaded.get()) {
                (true, true) if admitted.asked.keep_alive && !core.is_draining() => Then::Persist,
                (true, true) => Then::Close,
                (true, false) => Then::CloseWhileSending,
                (false, _) if fault.ends_with_close => Then::Reset,
                (false, _) => Then::Close,
            };
            let last =
                answerable.then(|| refusal::answer(core, &received, &mut record, then != Then::Persist));
            Outcome { last, rest, then, received, record }
        }
    }
}

/// Answers a request whose head could not be received, or that is not served; its connection closes.
pub(super) fn refuse(core: &Core, received: Received, mut record: Record, reason: Reason) -> Outcome {
    record.reason = reason;
    let last = (reason.status() != 0).then(|| refusal::answer(core, &received, &mut record, true));
    Outcome { last, rest: None, then: Then::CloseWhileSending, received, record }
}

/// Reads the request, decides whether it is served, and takes apart what came of its content.
fn admit(core: &Core, received: &mut Received, record: &mut Record) -> Result<Admitted, Reason> {
    let (bytes, tail) = received.bytes.bytes_mut().split_at_mut(received.head_length);
    let head = request::parse(bytes, &core.limits, &mut received.lines)?;
    received.head = Some(head);
    drop_connection_options(bytes, &mut received.lines);
    let fields = crate::http::Fields::new(bytes, &received.lines);
    record.request_id = match fields.first(Name::XRequestId).filter(|id| request_id::is_harmless(id)) {
        Some(id) => RequestId::Kept(Span::of(bytes, id)),
        None => RequestId::Made(request_id::render(core.random.borrow_mut().u128(..))),
    };
    let body = framing::of_request(head.version, fields).map_err(framing::BadFraming::in_request)?;
    let rules = screen::Rules { via: core.rules.via.as_bytes(), trace: core.rules.trace };
    let wishes = screen::look(head.method, head.version, fields, body, rules)?;
    if let (BodyLength::Known(length), Some(most)) = (body, core.limits.body_bytes_max)
        && length > most
    {
        return Err(Reason::BodyTooLarge);
    }
    let asked = Asked {
        method: head.method,
        version: head.version,
        keep_alive: framing::keeps_alive(head.version, fields),
        upgrade: wishes.upgrade.is_some(),
    };
    let upgrade = wishes.upgrade.map(|protocol| Span::of(bytes, protocol));
    let (expects_continue, takes_trailers, max_forwards) =
        (wishes.expects_continue, wishes.takes_trailers, wishes.max_forwards);
    let mut upload = Upload::new(body, &core.limits);
    let (data, consumed) = upload.take(tail)?;
    let rest = (consumed < tail.len()).then(|| {
        let mut rest = core.buffers.take(Class::fitting(tail.len() - consumed));
        let fits = rest.append(&tail[consumed..]);
        debug_assert!(fits, "what was in one buffer fits into another");
        rest
    });
    let first = received.head_length + data.start..received.head_length + data.end;
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
        rest,
    })
}

/// Asks endpoints until one answers, or none may be asked any more.
async fn fetch(
    core: &Core,
    client: &mut Client,
    received: &Received,
    admitted: &mut Admitted,
    record: &mut Record,
) -> (Result<(Option<Buffer>, Then), ResponseFault>, Progress) {
    let mut retries = 0;
    let mut fresh = false;
    let mut refused = 0;
    loop {
        let progress = Progress::default();
        progress.uploaded.set(admitted.upload.is_done());
        let connection = match acquire(core, admitted, fresh, &mut refused, record).await {
            Ok(connection) => connection,
            Err(reason) => return (Err(reason.into()), progress),
        };
        let failure = match converse(core, client, received, admitted, record, connection, &progress).await {
            Ok(done) => return (Ok(done), progress),
            Err(failure) => failure,
        };
        let last = Try {
            progress: failure.progress,
            idempotent: admitted.head.method.is_idempotent(),
            replayable: progress.uploaded.get() && !progress.responding.get() && admitted.upload.is_done(),
            retries,
            retries_max: core.limits.retries_max,
        };
        if !retry::may_retry(last) {
            return (Err(failure.fault), progress);
        }
        core.counters.retries.increment();
        retries += 1;
        // The pool may hold more of the same kind.
        fresh = true;
    }
}

/// A connection to the next endpoint that takes one: a pooled one unless it has to be fresh. Each
/// endpoint is tried once, as far as retries go.
async fn acquire(
    core: &Core,
    admitted: &Admitted,
    fresh: bool,
    refused: &mut usize,
    record: &mut Record,
) -> Result<Connection, Reason> {
    let endpoints = core.endpoints().len();
    let tries_max = endpoints.min(1 + core.limits.retries_max as usize);
    loop {
        let place = core.choose_endpoint()?;
        if !fresh
            && let Some(connection) =
                core.pool.take(place, core.deadlines.now(), admitted.head.method.is_idempotent())
        {
            core.counters.reused.increment();
            record.upstream = Some(connection.address);
            return Ok(connection);
        }
        let before = record.elapsed(core);
        match core.connect(place).await {
            Ok(connection) => {
                record.upstream = Some(connection.address);
                record.connect = before.and_then(|before| Some(record.elapsed(core)?.saturating_sub(before)));
                return Ok(connection);
            }
            Err(reason) => {
                *refused += 1;
                if *refused >= tries_max {
                    return Err(reason);
                }
                core.counters.retries.increment();
            }
        }
    }
}

/// Sends the request over one connection and passes the response on. The connection goes back to the
/// pool if its response was complete, and is closed otherwise.
async fn converse(
    core: &Core,
    client: &mut Client,
    received: &Received,
    admitted: &mut Admitted,
    record: &mut Record,
    mut connection: Connection,
    progress: &Progress,
) -> Result<(Option<Buffer>, Then), Failure> {
    let endpoints = core.endpoints();
    let out = endpoints
        .get(connection.endpoint)
        .and_then(|endpoint| request_bytes(core, client, received, admitted, record, endpoint))
        .ok_or_else(|| beyond(Reason::NoEndpoint.into()))?;
    let reused = connection.reused;
    let Responded { last, after } = {
        let Connection { socket, watch, .. } = &mut connection;
        let mut writer = Writer { sink: &mut socket.sink, watch, limit: core.times.upstream_idle };
        let reader = Reader { source: &mut socket.source, watch, limit: Some(core.times.upstream_idle) };
        send(&mut writer, out, reused).await?;
        if admitted.upload.is_done() || admitted.expects_continue {
            watch.read_within(core.times.first_byte);
        }
        let respond = Respond {
            core,
            asked: admitted.asked,
            upstream: reader,
            client: Writer {
                sink: &mut client.socket.sink,
                watch: &client.watch,
                limit: core.times.write_idle,
            },
            progress,
            lines: &mut client.response_lines,
            record,
        };
        let responded = if admitted.upload.is_done() {
            respond.run().await
        } else {
            let from = Reader {
                source: &mut client.socket.source,
                watch: &client.watch,
                limit: Some(core.times.body_idle),
            };
            let upload = admitted.upload.run(core, from, writer, progress, admitted.expects_continue);
            beside(respond.run(), upload).await
        };
        responded.map_err(|fault| {
            let stale = reused && fault.unanswered;
            Failure {
                fault,
                progress: if stale { retry::Progress::ClosedWhenReused } else { retry::Progress::Beyond },
            }
        })?
    };
    match after {
        After::Complete { reusable, keep_alive } => {
            if reusable {
                core.pool.put(connection, core.deadlines.now());
            } else {
                connection.socket.close();
            }
            let then = match (keep_alive, progress.uploaded.get()) {
                (true, _) => Then::Persist,
                (false, true) => Then::Close,
                (false, false) => Then::CloseWhileSending,
            };
            Ok((Some(last), then))
        }
        After::Tunnel(rest) => {
            progress.responding.set(true);
            tunnel(core, client, admitted, record, connection, last, rest).await;
            Ok((None, Then::Close))
        }
    }
}

/// Passes the switch of protocols on, and then everything else.
async fn tunnel(
    core: &Core,
    client: &mut Client,
    admitted: &mut Admitted,
    record: &mut Record,
    mut connection: Connection,
    head: Buffer,
    rest: Buffer,
) {
    let mut writer =
        Writer { sink: &mut client.socket.sink, watch: &client.watch, limit: core.times.write_idle };
    if writer.write_all(head).await.is_err() {
        record.reason = Reason::ClientClosed;
        return;
    }
    let ours = (&mut client.socket, &client.watch);
    let theirs = (&mut connection.socket, &connection.watch);
    (record.reason, record.bytes) = tunnel::run(core, ours, theirs, admitted.rest.take(), rest).await;
}

fn beyond(fault: ResponseFault) -> Failure {
    Failure { fault, progress: retry::Progress::Beyond }
}

/// Sends the head and what came with it.
async fn send(writer: &mut Writer<'_>, out: Buffer, reused: bool) -> Result<(), Failure> {
    let whole = out.len();
    match writer.write_counted(out).await {
        Ok(_) => Ok(()),
        // A fresh connection whose peer takes no more may have been answered already.
        Err((Broken::Reset | Broken::Closed, _)) if !reused => Ok(()),
        Err((broken, left)) => {
            let progress = if left == whole { retry::Progress::NotSent } else { retry::Progress::Beyond };
            let reason = match broken {
                Broken::TimedOut => Reason::UpstreamWriteTimeout,
                Broken::Closed | Broken::Reset => Reason::UpstreamReset,
            };
            Err(Failure { fault: reason.into(), progress })
        }
    }
}

/// The request as the endpoint gets it: the head, and the content that has come so far.
fn request_bytes(
    core: &Core,
    client: &Client,
    received: &Received,
    admitted: &Admitted,
    record: &Record,
    endpoint: &Endpoint,
) -> Option<Buffer> {
    let bytes = received.head_bytes();
    let fields = received.fields();
    let asked_host = match admitted.head.target.authority() {
        Some(authority) => authority.within(bytes),
        None => fields.first(Name::Host).unwrap_or_default(),
    };
    let own_name = core.rules.upstream_host || asked_host.is_empty();
    let edits = RequestEdits {
        target: admitted.head.target.origin_form(bytes, admitted.head.method),
        host: if own_name { endpoint.authority.as_bytes() } else { asked_host },
        client: client.address(),
        trusted: client.trusted,
        forwarded_host: asked_host,
        via: core.rules.via.as_bytes(),
        request_id: record.request_id.bytes(received),
        body: admitted.body,
        expects_continue: admitted.expects_continue,
        upgrade: admitted.upgrade.map(|protocol| protocol.within(bytes)),
        takes_trailers: admitted.takes_trailers,
        max_forwards: admitted.max_forwards,
    };
    let mut scratch = core.scratch.borrow_mut();
    scratch.clear();
    encode::request(&mut *scratch, bytes, &admitted.head, fields, &edits);
    let content = &received.bytes.bytes()[admitted.first.clone()];
    let most = scratch.len() + content.len() + PREFIX_BYTES_MAX + TRAILER_BYTES_MAX;
    let mut out = core.buffers.take(Class::fitting(most));
    (out.append(&scratch) && admitted.upload.append(&mut out, content, &core.limits)).then_some(out)
}

/// Runs the response with the upload beside it. The response decides when the exchange is over; an
/// upload that the client breaks ends it too, one that the upstream refuses does not.
async fn beside(
    respond: impl Future<Output = Result<Responded, ResponseFault>>,
    upload: impl Future<Output = Result<(), UploadFault>>,
) -> Result<Responded, ResponseFault> {
    let (mut respond, upload) = (pin!(respond), pin!(upload));
    let mut upload: Option<Pin<_>> = Some(upload);
    poll_fn(|cx| {
        if let Poll::Ready(responded) = respond.as_mut().poll(cx) {
            return Poll::Ready(responded);
        }
        if let Some(running) = upload.as_mut()
            && let Poll::Ready(result) = running.as_mut().poll(cx)
        {
            upload = None;
            if let Err(UploadFault::Client(reason)) = result {
                return Poll::Ready(Err(reason.into()));
            }
        }
        Poll::Pending
    })
    .await
}
