//! Asking a service whether a request is served.
//!
//! The service is an upstream like any other: it is balanced over, its connections are pooled, and endpoints that fail
//! are ejected. It is told of the request in fields that are written here, and of the client's own fields it gets those
//! that were chosen and no others; content never goes to it. Whatever it says that is not clear is no permission.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Moment;
use crate::config::identity::ForwardAuth;
use crate::error::Reason;
use crate::h1::body::Decoder;
use crate::h1::{BodyLength, RequestHead, framing, response};
use crate::http::fields::drop_connection_options;
use crate::http::status::is_interim;
use crate::http::{FieldLine, Fields, Name};
use crate::limits::INTERIM_RESPONSES_MAX;
use crate::net::buffer::Class;
use crate::net::{Buffer, Ticks};
use crate::proxy::attempt::fetch::{acquire, note_failure};
use crate::proxy::attempt::tries::Tries;
use crate::proxy::client::connection::Peer;
use crate::proxy::core::Core;
use crate::proxy::forward::{Broken, Reader, Writer};
use crate::proxy::head::{self, HeadFault};
use crate::proxy::record::{Received, Record};
use crate::proxy::request::routing::{asked_host, normal_path, target_parts};
use crate::proxy::request::terms::Terms;
use crate::upstream::{Connection, Node, Upstream, retry};

/// What is asked.
pub(in crate::proxy) struct Question<'a> {
    pub(in crate::proxy) core: &'a Rc<Core>,
    pub(in crate::proxy) peer: &'a Peer,
    /// Where the client came in, for upstreams that want to hear of that.
    pub(in crate::proxy) asked_at: Option<SocketAddr>,
    pub(in crate::proxy) received: &'a Received,
    pub(in crate::proxy) head: &'a RequestHead,
    pub(in crate::proxy) request_id: &'a [u8],
    pub(in crate::proxy) service: &'a ForwardAuth,
    /// The place of the service's upstream.
    pub(in crate::proxy) upstream: usize,
}

/// What the service has said, whole and well-formed.
pub(in crate::proxy) struct Said {
    pub(in crate::proxy) status: u16,
    pub(in crate::proxy) head: Vec<u8>,
    pub(in crate::proxy) lines: Vec<FieldLine>,
    pub(in crate::proxy) content: Vec<u8>,
}

impl Said {
    /// Whether it lets the request go on.
    pub(in crate::proxy) fn is_permission(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Its fields.
    pub(in crate::proxy) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.head, &self.lines)
    }
}

/// A try that failed.
struct Failed {
    reason: Reason,
    progress: retry::Progress,
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Failed {
        Failed { reason, progress: retry::Progress::of(reason) }
    }
}

impl Question<'_> {
    /// Asks, and returns what was said.
    ///
    /// # Errors
    /// Nothing was said that is of any use, for that reason.
    pub(in crate::proxy) async fn ask(&self) -> Result<Said, Reason> {
        let core = self.core;
        let since = core.clock.now();
        let terms = self.received.terms.beside(self.upstream);
        let upstream = terms.upstream().ok_or(Reason::NoEndpoint)?;
        let is_trial = upstream.pass()?;
        let asked_at = self.asked_at.filter(|_| upstream.settings().proxy_protocol.is_some());
        let mut tries = Tries::begin(core, upstream, (self.peer, asked_at), self.received, self.head);
        tries.is_trial = is_trial;
        core.counters.services_asked.increment();
        let mut record = Record::begin_beside();
        loop {
            let left = self.left(since)?;
            let connecting = acquire(core, &terms, upstream, &mut tries, &mut record);
            let connection = match monoio::time::timeout(left, connecting).await {
                Ok(connection) => connection?,
                Err(_) => return Err(Reason::UpstreamConnectTimeout),
            };
            let (node, reused) = (connection.node().clone(), connection.reused);
            let result = self.converse(connection, &terms, since).await;
            self.score(upstream, &tries, &node, &result);
            let failed = match result {
                Ok(said) => return Ok(said),
                Err(failed) => failed,
            };
            // A service that closed a connection while nobody used it has done nothing wrong.
            let stale = failed.progress == retry::Progress::ClosedWhenReused;
            if stale && reused && !tries.fresh {
                tries.fresh = true;
                continue;
            }
            match tries.again(core, upstream, &node, failed.progress, true) {
                Some(pause) if pause < left => monoio::time::sleep(pause).await,
                _ => return Err(failed.reason),
            }
        }
    }

    /// The time that is left.
    fn left(&self, since: Moment) -> Result<Duration, Reason> {
        let left = self.service.timeout.saturating_sub(self.core.clock.now().since(since));
        if left.is_zero() { Err(Reason::UpstreamFirstByteTimeout) } else { Ok(left) }
    }

    /// Notes how the endpoint has done.
    fn score(&self, upstream: &Upstream, tries: &Tries, node: &Rc<Node>, result: &Result<Said, Failed>) {
        match result {
            Err(failed) if failed.progress == retry::Progress::ClosedWhenReused => {}
            Err(failed) => note_failure(self.core, upstream, tries, node, Some(failed.reason)),
            Ok(said) if upstream.is_failure(said.status) => {
                note_failure(self.core, upstream, tries, node, None);
            }
            Ok(said) => {
                node.succeeded(said.status);
                if tries.is_trial {
                    node.score.tried(said.status < 500);
                }
            }
        }
    }

    /// One try. The connection goes back to the pool if what was said on it has ended there.
    async fn converse(
        &self,
        mut connection: Connection,
        terms: &Terms,
        since: Moment,
    ) -> Result<Said, Failed> {
        let core = self.core;
        let preamble = connection.preamble.as_deref().filter(|_| !connection.reused).unwrap_or_default();
        let out = self.written(&connection.node().authority(), preamble)?;
        let left = Ticks::of(self.left(since)?);
        let Connection { socket, watch, reused, .. } = &mut connection;
        let mut writer = Writer { sink: &mut socket.sink, watch, limit: left, pace: None };
        match writer.write_counted(out).await {
            Ok(_) => {}
            Err((Broken::TimedOut, _)) => return Err(Reason::UpstreamWriteTimeout.into()),
            Err(_) => {
                let progress =
                    if *reused { retry::Progress::ClosedWhenReused } else { retry::Progress::Broken };
                return Err(Failed { reason: Reason::UpstreamReset, progress });
            }
        }
        let read = self.read(&mut connection, terms, since).await;
        match read {
            Ok((said, true)) => {
                connection.give_back(core.deadlines.now(), &core.clock);
                Ok(said)
            }
            Ok((said, false)) => {
                connection.close();
                Ok(said)
            }
            Err(failed) => {
                connection.close();
                Err(failed)
            }
        }
    }

    /// Reads what is said; also says whether the connection is of more use.
    async fn read(
        &self,
        connection: &mut Connection,
        terms: &Terms,
        since: Moment,
    ) -> Result<(Said, bool), Failed> {
        let (core, limits) = (self.core, &terms.snapshot.response_head);
        let Connection { socket, watch, reused, .. } = connection;
        let mut rest: Option<Buffer> = None;
        for interims in 0..=INTERIM_RESPONSES_MAX {
            watch.read_within(Ticks::of(self.left(since)?));
            let (result, mut window) =
                head::receive(&mut socket.source, &core.buffers, limits, rest.take(), || {}).await;
            let is_late = watch.read_expired();
            watch.clear_read();
            let length = result.map_err(|fault| {
                let is_silent = window.is_empty() && interims == 0;
                head_failed(&fault, is_late, is_silent, is_silent && *reused)
            })?;
            let mut lines = Vec::new();
            let bytes = &window.bytes()[..length];
            let head = response::parse(bytes, limits, &mut lines).map_err(|fault| fault.in_response())?;
            if is_interim(head.status) && head.status != 101 {
                window.consume(length);
                rest = Some(window).filter(|rest| !rest.is_empty());
                continue;
            }
            drop_connection_options(bytes, &mut lines);
            let fields = Fields::new(bytes, &lines);
            let is_head = self.method() == b"HEAD";
            let length_of_body = framing::of_response(is_head, head.status, head.version, fields)
                .map_err(|_| Reason::UpstreamBadFraming)?;
            let persists =
                framing::keeps_alive(head.version, fields) && length_of_body != BodyLength::UntilClose;
            let mut said = Said { status: head.status, head: bytes.to_vec(), lines, content: Vec::new() };
            window.consume(length);
            let mut reader = Reader { source: &mut socket.source, watch, limit: None };
            let clean = self.content(&mut reader, length_of_body, window, since, &mut said.content).await?;
            return Ok((said, persists && clean && head.status >= 200));
        }
        Err(Reason::UpstreamBadHead.into())
    }

    /// Reads content to its end; says whether nothing came behind it.
    async fn content(
        &self,
        reader: &mut Reader<'_>,
        length: BodyLength,
        mut window: Buffer,
        since: Moment,
        content: &mut Vec<u8>,
    ) -> Result<bool, Failed> {
        if matches!(length, BodyLength::Known(length) if length > self.service.response_bytes_max as u64) {
            return Err(Reason::AuthUnavailable.into());
        }
        let mut decoder = Decoder::new(length);
        loop {
            let step = decoder.step(window.bytes_mut()).map_err(|_| Reason::UpstreamBadChunk)?;
            content.extend_from_slice(&window.bytes()[step.data]);
            if content.len() > self.service.response_bytes_max {
                return Err(Reason::AuthUnavailable.into());
            }
            if decoder.is_done() {
                return Ok(step.consumed == window.len());
            }
            window.clear();
            reader.limit = Some(Ticks::of(self.left(since)?));
            let (result, back) = reader.read(window).await;
            window = back;
            match result {
                Ok(_) => {}
                Err(Broken::Closed) if decoder.may_end_here() => return Ok(false),
                Err(Broken::TimedOut) => return Err(Reason::UpstreamReadTimeout.into()),
                Err(_) => return Err(Reason::UpstreamTruncated.into()),
            }
        }
    }

    /// The method that it is asked with.
    fn method(&self) -> &[u8] {
        match &self.service.method {
            Some(method) => method.as_bytes(),
            None => self.head.token.within(self.received.head_bytes()),
        }
    }

    /// The request to the service at an endpoint of that name, behind what the connection begins with.
    fn written(&self, authority: &str, preamble: &[u8]) -> Result<Buffer, Reason> {
        let Question { core, peer, received, head, service, .. } = self;
        let (bytes, fields, terms) = (received.head_bytes(), received.fields(), &received.terms);
        let parts = target_parts(head, bytes);
        let told = |name| fields.first(name).filter(|_| peer.trusted);
        let mut text = core.take_text();
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| text.extend_from_slice(part));
        put(&[preamble, self.method(), b" ", service.path.as_bytes(), b" HTTP/1.1\r\n"]);
        put(&[b"Host: ", authority.as_bytes(), b"\r\n"]);
        for name in &service.request_fields {
            for value in fields.named(name.as_bytes()) {
                put(&[name.as_bytes(), b": ", value, b"\r\n"]);
            }
        }
        put(&[b"X-Forwarded-Method: ", head.token.within(bytes), b"\r\n"]);
        // In normal form: it is to decide about what the upstream will see, not about another spelling of it.
        put(&[b"X-Forwarded-Uri: ", normal_path(terms, parts.path)]);
        if let Some(query) = parts.query {
            put(&[b"?", query]);
        }
        put(&[b"\r\nX-Forwarded-For: "]);
        if peer.trusted {
            fields.values(Name::XForwardedFor).for_each(|earlier| put(&[earlier, b", "]));
        }
        put(&[peer.forwarded(), b"\r\n"]);
        put(&[b"X-Forwarded-Proto: ", told(Name::XForwardedProto).unwrap_or(b"http"), b"\r\n"]);
        let host = told(Name::XForwardedHost).unwrap_or_else(|| asked_host(received, head));
        if !host.is_empty() {
            put(&[b"X-Forwarded-Host: ", host, b"\r\n"]);
        }
        put(&[b"X-Request-Id: ", self.request_id, b"\r\nVia: 1.1 ", terms.via(), b"\r\n"]);
        if !matches!(self.method(), b"GET" | b"HEAD") {
            put(&[b"Content-Length: 0\r\n"]);
        }
        put(&[b"\r\n"]);
        let mut out = core.buffers.take(Class::fitting(text.len()));
        let fits = out.append(&text);
        core.give_back_text(text);
        if fits { Ok(out) } else { Err(Reason::AuthUnavailable) }
    }
}

/// What it is called that no head came.
fn head_failed(fault: &HeadFault, is_late: bool, is_silent: bool, is_stale: bool) -> Failed {
    let reason = match fault {
        HeadFault::Malformed(fault) => fault.in_response(),
        _ if is_late && is_silent => Reason::UpstreamFirstByteTimeout,
        _ if is_late => Reason::UpstreamReadTimeout,
        _ if !is_silent => Reason::UpstreamTruncated,
        HeadFault::Closed => Reason::UpstreamClosed,
        HeadFault::Failed => Reason::UpstreamReset,
    };
    let is_stale = is_stale && matches!(reason, Reason::UpstreamClosed | Reason::UpstreamReset);
    let progress = if is_stale { retry::Progress::ClosedWhenReused } else { retry::Progress::of(reason) };
    Failed { reason, progress }
}
