//! Asking an endpoint whether it is well: by connecting to it, or by a request on a connection of its own.
//!
//! ```text
//!   where it is ──────────────── passes: well
//!        └─ where else it may be reached, when that failed or is slow ── passes: well
//! ```

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::book::Probed;
use crate::config::{HttpProbe, Probe, ProbeAsk};
use crate::limits::KIB;
use crate::net::preamble;
use crate::upstream::Address;

/// Bytes of the content that a text is searched for in.
const CONTENT_BYTES_MAX: usize = 64 * KIB;

/// Bytes of the largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * KIB;

/// Where requests without a port go.
const HTTP_PORT: u16 = 80;

/// So many addresses are tried.
const TARGETS_MAX: usize = 3;

/// Asks once, within the probe's time limit. Where there are several addresses to ask, one of them has to pass: each has
/// its part of the time before the next is tried beside it.
///
/// # Errors
/// What was wrong at the first address, in a few words for a person: `connection refused`, `status 503`, `no answer
/// within 2s`.
pub(super) async fn probe(probed: &Probed) -> Result<(), String> {
    let mut targets = targets(probed)?.into_iter().enumerate();
    let ends = sleep(probed.probe.timeout).deadline();
    let part = probed.probe.timeout / u32::try_from(targets.len().max(1)).unwrap_or(1);
    let mut running = FuturesUnordered::new();
    let mut failed: Option<(usize, String)> = None;
    loop {
        if let Some((place, target)) = targets.next() {
            running.push(async move { (place, attempt(&target, probed, ends).await) });
        }
        let ended = match targets.len() {
            0 => running.next().await,
            _ => match timeout(part, running.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Some((_, Ok(()))) => return Ok(()),
            Some((place, Err(why))) => {
                if failed.as_ref().is_none_or(|(first, _)| place < *first) {
                    failed = Some((place, why));
                }
            }
            None => return Err(failed.map_or_else(|| "there is no address".to_owned(), |(_, why)| why)),
        }
    }
}

/// What a probe connects to.
enum Target {
    Unix(Arc<Path>),
    Tcp(SocketAddr),
}

/// Where requests go, but for what the probe says otherwise. Whoever listens on a Unix socket is on this machine, and so
/// is a port of his.
fn targets(probed: &Probed) -> Result<Vec<Target>, String> {
    let Probed { address, fallbacks, probe, host, .. } = probed;
    let own = |address: &Address| match address {
        Address::Ip(address) => Some(SocketAddr::new(address.ip(), probe.port.unwrap_or(address.port()))),
        Address::Unix(_) => None,
    };
    let mut addresses: Vec<SocketAddr> = match (host, address) {
        (Some(host), address) => {
            let of_address = own(address).map_or(HTTP_PORT, |address| address.port());
            let port = probe.port.unwrap_or(of_address);
            host.as_ref().map_err(String::clone)?.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
        }
        (None, Address::Ip(_)) => std::iter::once(address).chain(&**fallbacks).filter_map(own).collect(),
        (None, Address::Unix(path)) => match probe.port {
            None => return Ok(vec![Target::Unix(path.clone())]),
            Some(port) => vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()],
        },
    };
    addresses.truncate(TARGETS_MAX);
    Ok(addresses.into_iter().map(Target::Tcp).collect())
}

/// The time that a probe has for everything.
struct Limit<'a> {
    ends: Pin<&'a mut Sleep>,
    probe: &'a Probe,
}

impl Limit<'_> {
    /// Waits for something, or says what there is none of when the time is over.
    async fn within<T>(&mut self, missing: &str, it: impl Future<Output = T>) -> Result<T, String> {
        match select(pin!(it), self.ends.as_mut()).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(_) => Err(format!("{missing} within {:?}", self.probe.timeout)),
        }
    }
}

/// Asks at one address.
async fn attempt(target: &Target, probed: &Probed, ends: Instant) -> Result<(), String> {
    let mut limit = Limit { ends: pin!(sleep_until(ends)), probe: &probed.probe };
    match target {
        Target::Unix(path) => {
            let stream = limit.within("no connection", UnixStream::connect(path)).await?;
            ask(stream.map_err(|error| unconnected(&error))?, probed, limit).await
        }
        Target::Tcp(address) => {
            let stream = limit.within("no connection", TcpStream::connect(*address)).await?;
            ask(stream.map_err(|error| unconnected(&error))?, probed, limit).await
        }
    }
}

/// What the connection begins with. Whoever listens elsewhere than the endpoint, for probes alone, expects nothing.
fn header(probed: &Probed) -> Vec<u8> {
    let mut header = Vec::new();
    let is_elsewhere = probed.host.is_some() || probed.probe.port.is_some();
    if let Some(version) = probed.proxy_protocol.filter(|_| !is_elsewhere) {
        preamble::write_own(version, &mut header);
    }
    header
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Asks what the probe asks on a connection, which is used for nothing else.
async fn ask<S>(mut stream: S, probed: &Probed, mut limit: Limit<'_>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sent = limit.within("no connection", send(&mut stream, &header(probed))).await?;
    sent.map_err(|error| format!("the PROXY protocol header cannot be sent: {error}"))?;
    let ProbeAsk::Http(http) = &limit.probe.ask else { return Ok(()) };
    let request = Request::get(http.path.as_str())
        .header(HOST, http.host.as_deref().unwrap_or(&probed.authority))
        .header(USER_AGENT, "ringway-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the request cannot be written: {error}"))?;
    let shaken = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| unanswered(&error))?;
    let exchange = async {
        let answer = limit.within("no answer", sender.send_request(request)).await?;
        let answer = answer.map_err(|error| unanswered(&error))?;
        judge_head(&answer, http)?;
        match http.body.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => limit.within("no end of the content", search(answer.into_body(), text)).await?,
            None => Ok(()),
        }
    };
    match select(pin!(exchange), pin!(connection)).await {
        Either::Left((verdict, _)) => verdict,
        // What came before it ended is still to be read.
        Either::Right((_, exchange)) => exchange.await,
    }
}

/// Whether the head of an answer is what the probe wants to see.
fn judge_head(answer: &Response<Incoming>, http: &HttpProbe) -> Result<(), String> {
    let status = answer.status().as_u16();
    if !http.statuses.iter().any(|&(first, last)| (first..=last).contains(&status)) {
        return Err(format!("status {status}"));
    }
    let Some((name, text)) = &http.header else { return Ok(()) };
    let mut values = answer.headers().get_all(name).iter().peekable();
    if values.peek().is_none() {
        return Err(format!("no field {name}"));
    }
    match values.any(|value| memmem::find(value.as_bytes(), text.as_bytes()).is_some()) {
        true => Ok(()),
        false => Err(format!("no {text:?} in the field {name}")),
    }
}

/// Reads content until the text is there, or can be there no more.
async fn search(mut content: Incoming, text: &str) -> Result<(), String> {
    let mut seen: Vec<u8> = Vec::new();
    while seen.len() < CONTENT_BYTES_MAX {
        let Some(frame) = content.frame().await else { break };
        let frame = frame.map_err(|error| unanswered(&error))?;
        let Ok(bytes) = frame.into_data() else { continue };
        let from = seen.len().saturating_sub(text.len());
        let room = CONTENT_BYTES_MAX - seen.len();
        seen.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if memmem::find(&seen[from..], text.as_bytes()).is_some() {
            return Ok(());
        }
    }
    match seen.len() {
        CONTENT_BYTES_MAX => {
            Err(format!("no {text:?} in the first {} KiB of the content", CONTENT_BYTES_MAX / KIB))
        }
        _ => Err(format!("no {text:?} in the content")),
    }
}

/// Why there is no connection.
fn unconnected(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        _ => format!("cannot connect: {error}"),
    }
}

/// Why there is no answer, or no whole one.
fn unanswered(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => "connection reset".to_owned(),
        _ if error.is_parse() => "the answer is malformed".to_owned(),
        _ if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            "connection closed without an answer".to_owned()
        }
        _ if error.is_body_write_aborted() || source.is_some() => "the answer broke off".to_owned(),
        _ => format!("no answer: {error}"),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
