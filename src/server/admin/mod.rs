//! The admin endpoint: HTTP/1.1 on a thread of the control side, on a Unix socket or a port. It takes
//! orders, and hands them to the control thread as events.
//!
//! ```text
//!   POST /cache/clear   {"soft": false}                                  -> {"removed": 3}
//!   POST /cache/purge   {"url" | "prefix" | "tag": "...", "soft": false} -> {"removed": 3}
//!   POST /reload                                                         -> {"took_ms": 3.1, ...}
//!   POST /explain       {"url", "method", "headers", "from", "listener"}   -> {"route": {...}, ...}
//!   GET  /upstreams                                                      -> {"upstreams": [...]}
//!   POST /upstreams/drain, /upstreams/restore  {"upstream", "endpoint"}  -> {"endpoints": [...]}
//!   GET  /status                                                         -> {"version": "...", ...}
//! ```
//!
//! Whatever fails is `{"error": "..."}`. [`gate`] decides who may call.

mod answer;
mod gate;
pub(crate) mod upstreams;
pub(crate) mod wire;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use self::answer::Desk;
use self::gate::{Caller, Gate};
use super::socket::{self, SocketFile};
use super::upkeep::Upkeep;
use super::{Event, RunError, spawn};
use crate::config::{AdminSettings, Host, Token, default_socket};
use crate::limits::KIB;

/// Connections that are served at once; more wait.
const CONNECTIONS_MAX: u32 = 32;

/// Bytes of the longest request head.
const HEAD_BYTES_MAX: usize = 16 * KIB;

/// How long a request head may take.
const HEAD_TIME: Duration = Duration::from_secs(3);

/// How long a connection may last; longer than a purge may.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// How long accept is left alone after it failed, mostly for want of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What there is to know about the proxy.
pub(super) struct Facts {
    pub(super) cores: Vec<usize>,
    pub(super) driver: String,
    /// How many bytes the cache may hold, if there is one.
    pub(super) cache_bytes_max: Option<usize>,
    pub(super) reloads: Arc<super::configure::ReloadCounts>,
    pub(super) upkeep: Upkeep,
}

/// An endpoint that callers find already, but that does not answer yet.
pub(super) struct Door {
    listener: Listener,
    file: Option<SocketFile>,
    gate: Gate,
    address: String,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// An endpoint that answers, until this value goes away: then its file goes, and no more calls are taken.
pub(super) struct Open {
    // The file goes first, so that nobody finds it who would not be answered.
    _file: Option<SocketFile>,
    _stop: flume::Sender<()>,
}

/// Opens the endpoint, if there is to be one and it can be had. Where nobody has said where, the proxy
/// can do without.
///
/// # Errors
/// The address that was asked for cannot be had.
pub(super) fn open(
    settings: &AdminSettings,
    on_note: &mut impl FnMut(&str),
) -> Result<Option<Door>, RunError> {
    match settings {
        AdminSettings::Off => Ok(None),
        AdminSettings::Default => {
            let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
            let path = default_socket(rustix::process::geteuid().as_raw(), runtime_dir.as_deref());
            Ok(open_unix(&path)
                .map_err(|why| on_note(&format!("{why}; this proxy runs without an admin endpoint")))
                .ok())
        }
        AdminSettings::Unix(path) => open_unix(path).map(Some).map_err(RunError::Failed),
        AdminSettings::Tcp { host, port, token, anywhere } => {
            open_tcp(host, *port, token, *anywhere).map(Some)
        }
    }
}

fn open_unix(path: &Path) -> Result<Door, String> {
    let (listener, file) = socket::listen(path, &socket::ADMIN)?;
    Ok(Door {
        listener: Listener::Unix(listener),
        file: Some(file),
        gate: Gate::Owner(rustix::process::geteuid().as_raw()),
        address: format!("unix:{}", path.display()),
    })
}

fn open_tcp(host: &Host, port: u16, token: &Token, anywhere: bool) -> Result<Door, RunError> {
    let failed = |why: io::Error| {
        RunError::Failed(format!(
            "cannot open the admin endpoint {host}:{port}: {why}; choose another --admin"
        ))
    };
    let addresses: Vec<SocketAddr> = match host {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => (name.as_str(), port).to_socket_addrs().map_err(failed)?.collect(),
    };
    if let Some(address) = addresses.iter().find(|address| !address.ip().is_loopback() && !anywhere) {
        return Err(RunError::Usage(format!(
            "admin: {host} is {}, which may be reached from other machines; use localhost, or say --admin-anywhere \
             if that is what you want",
            address.ip()
        )));
    }
    let listener = TcpListener::bind(&*addresses).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?.to_string();
    let gate = Gate::Bearer { token: token.clone(), name: host.clone() };
    Ok(Door { listener: Listener::Tcp(listener), file: None, gate, address })
}

impl Door {
    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Answers from now on.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn serve(self, facts: Facts, events: flume::Sender<Event>) -> Result<Open, RunError> {
        let (stop, stopped) = flume::bounded(0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| RunError::Failed(format!("cannot start the admin endpoint: {error}")))?;
        let desk = Arc::new(Desk::new(self.gate, facts, events.clone()));
        let listener = self.listener;
        spawn("admin", move || {
            if let Err(error) = runtime.block_on(attend(listener, desk, stopped)) {
                let _ = events.send(Event::Note(format!("the admin endpoint has ended: {error}")));
            }
        })?;
        Ok(Open { _file: self.file, _stop: stop })
    }
}

/// Serves callers until it is stopped, and then those that are there already to their end.
async fn attend(listener: Listener, desk: Arc<Desk>, stopped: flume::Receiver<()>) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    match listener {
        Listener::Unix(listener) => {
            let listener = tokio::net::UnixListener::from_std(listener)?;
            let next = async || {
                let (stream, _) = listener.accept().await?;
                let caller = stream.peer_cred().map_or(Caller::Unknown, |peer| Caller::User(peer.uid()));
                Ok((stream, caller))
            };
            accept(next, &desk, &slots, &stopped).await;
        }
        Listener::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let next = async || Ok((listener.accept().await?.0, Caller::Remote));
            accept(next, &desk, &slots, &stopped).await;
        }
    }
    let _all_gone = slots.acquire_many(CONNECTIONS_MAX).await;
    Ok(())
}

/// Takes one caller after the other until it is stopped.
async fn accept<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut next: impl AsyncFnMut() -> io::Result<(S, Caller)>,
    desk: &Arc<Desk>,
    slots: &Arc<Semaphore>,
    stopped: &flume::Receiver<()>,
) {
    loop {
        let taken = async {
            let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
            next().await.map(|caller| (slot, caller))
        };
        let Either::Left((taken, _)) = select(pin!(taken), pin!(stopped.recv_async())).await else { return };
        match taken {
            Ok((slot, (stream, caller))) => {
                let serving = serve(stream, caller, desk.clone());
                tokio::spawn(async move {
                    serving.await;
                    drop(slot);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
        }
    }
}

/// Serves one connection; whatever goes wrong with it is the caller's concern.
fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    caller: Caller,
    desk: Arc<Desk>,
) -> impl Future<Output = ()> + Send {
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { desk.answer(caller, request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    async move {
        let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
    }
}
