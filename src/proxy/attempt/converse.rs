//! One try at an endpoint: the request out, the response back.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use crate::content::coding::Way;
use crate::error::Reason;
use crate::h1::amend::AsItCame;
use crate::h1::chunked::PREFIX_BYTES_MAX;
use crate::h1::encode::{self, RequestEdits};
use crate::http::Method;
use crate::http::target::OriginForm;
use crate::limits::{HEAD_GROWTH_BYTES_MAX, TRAILER_BYTES_MAX};
use crate::net::buffer::Class;
use crate::net::{Buffer, Ticks, Watch};
use crate::proxy::attempt::progress::Progress;
use crate::proxy::cached::Caching;
use crate::proxy::cached::serve::Source;
use crate::proxy::client::connection::{Client, Peer};
use crate::proxy::coding;
use crate::proxy::core::Core;
use crate::proxy::exchange::Then;
use crate::proxy::forward::{Broken, Reader, Writer};
use crate::proxy::holding::ahead::Ahead;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::admit::Admitted;
use crate::proxy::request::routing::asked_host;
use crate::proxy::request::upload::UploadFault;
use crate::proxy::response::amend::{Amendments, Side};
use crate::proxy::response::respond::Respond;
use crate::proxy::response::responded::{After, Responded, ResponseFault};
use crate::proxy::response::tunnel;
use crate::proxy::task;
use crate::upstream::{Connection, retry};

/// What a try is made of.
pub(in crate::proxy) struct Conversation<'a> {
    pub(in crate::proxy) core: &'a Rc<Core>,
    /// None where the response is only for the cache.
    pub(in crate::proxy) client: Option<&'a mut Client>,
    pub(in crate::proxy) peer: &'a Peer,
    pub(in crate::proxy) received: &'a Received,
    pub(in crate::proxy) admitted: &'a mut Admitted,
    pub(in crate::proxy) caching: &'a mut Caching,
    pub(in crate::proxy) record: &'a mut Record,
    pub(in crate::proxy) progress: &'a Progress<'a>,
}

/// A try that succeeded.
pub(in crate::proxy) enum Ended {
    /// The response was passed on.
    Passed {
        /// Its end, still to be written.
        last: Option<Buffer>,
        then: Then,
    },
    /// The cache has the answer.
    Serve(Source),
    /// Nobody is there who wants it.
    Dropped,
}

/// A try that failed.
pub(in crate::proxy) struct Failure {
    pub(in crate::proxy) fault: ResponseFault,
    pub(in crate::proxy) progress: retry::Progress,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        Failure { fault: reason.into(), progress: retry::Progress::Beyond }
    }
}

/// Sends the request over one connection and passes the response on. The connection goes back to the
/// pool if its response was complete, and is closed otherwise. None if the request has to go out again.
pub(in crate::proxy) async fn converse(
    mut conversation: Conversation<'_>,
    mut connection: Connection,
) -> Result<Option<Ended>, Failure> {
    let core = conversation.core;
    let preamble = connection.preamble.as_deref().filter(|_| !connection.reused).unwrap_or_default();
    let out = conversation.request_bytes(&connection.node().authority(), preamble);
    conversation.caching.requested_ms = core.clock.unix_millis();
    if conversation.received.terms.upstream().is_some_and(|upstream| upstream.wants_latency()) {
        conversation.progress.asked.set(Some(core.clock.now()));
    }
    let idle = conversation.received.terms.times.upstream_idle;
    let sent = out.len();
    send(&mut connection, out, idle).await?;
    let Responded { last, after } = conversation.responded(&mut connection, sent).await.map_err(|fault| {
        let stale = connection.reused && fault.unanswered;
        let progress =
            if stale { retry::Progress::ClosedWhenReused } else { retry::Progress::of(fault.reason) };
        Failure { fault, progress }
    })?;
    match after {
        After::Complete { reusable, keep_alive, ahead } => {
            release(core, connection, reusable);
            if let Some(ahead) = ahead {
                core.counters.responses_held.increment();
                Box::pin(conversation.give(ahead)).await?;
            }
            let then = match (keep_alive, conversation.progress.uploaded.get()) {
                (true, _) => Then::Persist,
                (false, true) => Then::Close,
                (false, false) => Then::CloseWhileSending,
            };
            Ok(Some(Ended::Passed { last: Some(last), then }))
        }
        After::Serve { source, reusable } => {
            release(core, connection, reusable);
            Ok(Some(Ended::Serve(source)))
        }
        After::Drop { reusable, again } => {
            release(core, connection, reusable);
            Ok((!again).then_some(Ended::Dropped))
        }
        After::Repeat { reusable } => {
            release(core, connection, reusable);
            Err(Failure { fault: Reason::UpstreamError.into(), progress: retry::Progress::Status })
        }
        After::Fill(pump, source) => {
            task::spawn(core, pump.run(core.clone(), connection, last, idle));
            Ok(Some(Ended::Serve(source)))
        }
        After::Tunnel(rest) => {
            // Tunnels and uploads are rare, and their state is large: kept apart, it does not make every
            // connection's task larger.
            Box::pin(conversation.tunnel(connection, last, rest)).await;
            Ok(Some(Ended::Passed { last: None, then: Then::Close }))
        }
    }
}

/// Puts a connection back, or closes it.
fn release(core: &Core, connection: Connection, reusable: bool) {
    if reusable {
        connection.give_back(core.deadlines.now(), &core.clock);
    } else {
        connection.close();
    }
}

/// Sends the head and what came with it.
async fn send(connection: &mut Connection, out: Buffer, limit: Ticks) -> Result<(), Failure> {
    let Connection { socket, watch, reused, .. } = connection;
    let mut writer = Writer { sink: &mut socket.sink, watch, limit, pace: None };
    let whole = out.len();
    match writer.write_counted(out).await {
        Ok(_) => Ok(()),
        // A fresh connection whose peer takes no more may have been answered already.
        Err((Broken::Reset | Broken::Closed, _)) if !*reused => Ok(()),
        Err((Broken::TimedOut | Broken::TooSlow, _)) => {
            Err(Failure { fault: Reason::UpstreamWriteTimeout.into(), progress: retry::Progress::TimedOut })
        }
        Err((Broken::Reset | Broken::Closed, left)) => {
            let progress =
                if left == whole { retry::Progress::NotSent } else { retry::Progress::ClosedWhenReused };
            Err(Failure { fault: Reason::UpstreamReset.into(), progress })
        }
    }
}

impl Conversation<'_> {
    /// Passes the response on, with the rest of the request going out beside it.
    /// `sent` is how many bytes have gone out already.
    async fn responded(
        &mut self,
        connection: &mut Connection,
        sent: usize,
    ) -> Result<Responded, ResponseFault> {
        let (core, progress, times) = (self.core, self.progress, self.received.terms.times);
        let Connection { socket, watch, .. } = connection;
        let mut client = self.client.as_deref_mut().map(|client| (&mut client.socket, &client.watch));
        if self.admitted.whole || self.admitted.expects_continue {
            watch.read_within(times.first_byte);
        }
        let mut from_client = None;
        let to_client = client.as_mut().map(|(socket, watch)| {
            from_client = Some((&mut socket.source, *watch));
            Writer {
                sink: &mut socket.sink,
                watch,
                limit: times.write_idle,
                pace: self.received.terms.pace(),
            }
        });
        let respond = Respond {
            core,
            asked: self.admitted.asked,
            upstream: Reader { source: &mut socket.source, watch, limit: Some(times.upstream_idle) },
            client: to_client,
            caching: self.caching,
            request: self.received.fields(),
            terms: &self.received.terms,
            progress,
            lines: core.take_lines(),
            record: self.record,
            way: Way::AsItCame,
            ahead: None,
        };
        if let Some(held) = self.admitted.upload.held() {
            let to = Writer { sink: &mut socket.sink, watch, limit: times.upstream_idle, pace: None };
            let upload = self.admitted.upload.run_held(held, to, &self.received.terms, progress);
            return Box::pin(beside(respond.run(), upload, watch, progress)).await;
        }
        let Some((source, client_watch)) = from_client.filter(|_| !self.admitted.whole) else {
            return respond.run().await;
        };
        // Who waits to be asked for content sends none, so that the request is whole until then.
        progress.uploading.set(!progress.waiting.get());
        if progress.keeps {
            // It has to fit into one buffer with what was sent, whose head may be a little longer for another endpoint.
            let apart = HEAD_GROWTH_BYTES_MAX + PREFIX_BYTES_MAX + 2 * TRAILER_BYTES_MAX;
            let room = Class::Large.room().saturating_sub(sent + apart);
            let most = self.received.terms.replay_bytes_max().min(room as u64);
            self.admitted.upload.keep(most);
        }
        let from = Reader { source, watch: client_watch, limit: Some(times.body_idle) };
        let to = Writer { sink: &mut socket.sink, watch, limit: times.upstream_idle, pace: None };
        let upload = self.admitted.upload.run(core, from, to, &self.received.terms, progress);
        Box::pin(beside(respond.run(), upload, watch, progress)).await
    }

    /// The request as an endpoint of that name gets it, behind what the connection begins with: the head, and the content
    /// that has come so far.
    pub(in crate::proxy) fn request_bytes(&self, authority: &str, preamble: &[u8]) -> Buffer {
        let Conversation { core, peer, received, admitted, caching, record, .. } = self;
        let bytes = received.head_bytes();
        let fields = received.fields();
        let terms = &received.terms;
        let asked_host = asked_host(received, &admitted.head);
        let own_name = terms.upstream().is_some_and(|upstream| upstream.own_host) || asked_host.is_empty();
        let edits = RequestEdits {
            target: match &*terms.made().texts.target {
                [] => admitted.head.target.origin_form(bytes, admitted.head.method),
                target => OriginForm { prefix: b"", rest: target },
            },
            host: if own_name { authority.as_bytes() } else { asked_host },
            client: peer.forwarded(),
            trusted: peer.trusted,
            forwarded_host: asked_host,
            via: received.terms.via(),
            request_id: record.request_id.bytes(received),
            body: admitted.body,
            expects_continue: admitted.expects_continue,
            upgrade: admitted.upgrade.map(|protocol| protocol.within(bytes)),
            takes_trailers: admitted.takes_trailers,
            max_forwards: admitted.max_forwards,
            conditions: caching.conditions.as_deref(),
            identity: caching.asks_for_identity,
            // With content on its way it could not be asked again.
            whole: caching.wants_whole
                || !admitted.whole
                    && admitted.head.method == Method::Get
                    && coding::resumes_by_date(terms, fields),
        };
        let mut scratch = core.scratch.borrow_mut();
        scratch.clear();
        let head = &admitted.head;
        match Amendments::new(Side::Request, None, terms.request_changes()) {
            Some(mut amend) => encode::request(&mut scratch, bytes, head, fields, &edits, &mut amend),
            None => encode::request(&mut scratch, bytes, head, fields, &edits, &mut AsItCame),
        }
        let content = &received.bytes.bytes()[admitted.first.clone()];
        let content_length = content.len() + admitted.upload.kept().len();
        let most = preamble.len() + scratch.len() + content_length + PREFIX_BYTES_MAX + 2 * TRAILER_BYTES_MAX;
        let mut out = core.buffers.take(Class::fitting(most));
        let fits = out.append(preamble) && out.append(&scratch);
        let fits = fits && admitted.upload.append(&mut out, content);
        debug_assert!(fits, "a head and what came with it fit into a buffer");
        out
    }

    /// Writes what waits for the client, once the upstream has been let go.
    async fn give(&mut self, ahead: Rc<Ahead>) -> Result<(), Failure> {
        let limit = self.received.terms.times.write_idle;
        let Some(Client { socket, watch, .. }) = self.client.as_deref_mut() else { return Ok(()) };
        let pace = self.received.terms.pace();
        let written = ahead.finish(Writer { sink: &mut socket.sink, watch, limit, pace }).await;
        written.map_err(|fault| Failure { fault, progress: retry::Progress::Beyond })
    }

    /// Passes the switch of protocols on, and then everything else.
    async fn tunnel(&mut self, mut connection: Connection, head: Buffer, rest: Buffer) {
        let (core, times) = (self.core, self.received.terms.times);
        self.progress.responding.set(true);
        let Some(Client { socket, watch, .. }) = self.client.as_deref_mut() else { return };
        let mut writer = Writer { sink: &mut socket.sink, watch, limit: times.write_idle, pace: None };
        if writer.write_all(head).await.is_err() {
            self.record.reason = Reason::ClientClosed;
            return;
        }
        // What passes through a tunnel has a pace of its own.
        watch.set_rate(0);
        let theirs = (&mut connection.socket, &connection.watch);
        let sent_ahead = self.admitted.upload.rest();
        (self.record.reason, self.record.bytes) =
            tunnel::run(core, (socket, watch), theirs, sent_ahead, rest, times.tunnel_idle).await;
    }
}

/// Runs the response with the upload beside it. The response decides when the exchange is over; an
/// upload that the client breaks ends it too, one that the upstream refuses does not. If the upstream fails in a way for
/// which the request may be sent again, the rest of its content is collected first.
async fn beside(
    respond: impl Future<Output = Result<Responded, ResponseFault>>,
    upload: impl Future<Output = Result<(), UploadFault>>,
    upstream: &Watch,
    progress: &Progress<'_>,
) -> Result<Responded, ResponseFault> {
    // A response that is cut here must not look whole, however it is framed.
    let cut = |reason| Err(ResponseFault { reason, unanswered: false, ends_with_close: true });
    let (mut respond, upload) = (pin!(respond), pin!(upload));
    let mut upload: Option<Pin<_>> = Some(upload);
    let mut failed = None;
    poll_fn(|cx| {
        if failed.is_none()
            && let Poll::Ready(responded) = respond.as_mut().poll(cx)
        {
            match responded {
                Err(fault) if upload.is_some() && progress.collects_after(fault.reason) => {
                    // A write that hangs must not keep the content from being collected.
                    upstream.expire_write();
                    failed = Some(fault);
                }
                responded => return Poll::Ready(responded),
            }
        }
        if let Some(running) = upload.as_mut()
            && let Poll::Ready(result) = running.as_mut().poll(cx)
        {
            upload = None;
            match result {
                Err(UploadFault::Client(reason)) => return Poll::Ready(cut(reason)),
                Err(UploadFault::Upstream(Broken::TimedOut)) if failed.is_none() => {
                    return Poll::Ready(cut(Reason::UpstreamWriteTimeout));
                }
                Err(UploadFault::Upstream(_)) | Ok(()) => {}
            }
        }
        match failed.take_if(|_| upload.is_none()) {
            Some(fault) => Poll::Ready(Err(fault)),
            None => Poll::Pending,
        }
    })
    .await
}
