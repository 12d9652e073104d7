//! Calls the admin endpoint of a proxy that runs.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Failure;
use crate::config::{AdminSettings, ConfigError, Host, Token, default_socket};
use crate::limits::KIB;
use crate::server::admin::wire::Failed;

/// How long a call may take from start to end; a little longer than a proxy takes to give up.
const CALL_TIME: Duration = Duration::from_secs(15);

/// Bytes of the longest answer.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * KIB;

/// Sends `content` to that path of the endpoint, and reads what it answers.
///
/// # Errors
/// One line that says which address was tried, and what to do.
pub(super) fn post<T: DeserializeOwned>(
    at: &AdminSettings,
    path: &str,
    content: &impl Serialize,
) -> Result<T, Failure> {
    ask(at, path, content)?.map_err(|(status, why)| refused(at, status, &why))
}

/// Reads what that path of the endpoint has to say.
///
/// # Errors
/// As with [`post`].
pub(super) fn get<T: DeserializeOwned>(at: &AdminSettings, path: &str) -> Result<T, Failure> {
    call(at, path, None)?.map_err(|(status, why)| refused(at, status, &why))
}

/// The same as [`post`]; what the proxy says to an order that it does not follow comes back as it is, with its status.
///
/// # Errors
/// The proxy cannot be reached.
pub(super) fn ask<T: DeserializeOwned>(
    at: &AdminSettings,
    path: &str,
    content: &impl Serialize,
) -> Result<Result<T, (StatusCode, String)>, Failure> {
    let content = serde_json::to_vec(content)
        .map_err(|error| Failure::Call(format!("this cannot be sent to a proxy: {error}")))?;
    call(at, path, Some(content))
}

/// The proxy did not do what was asked.
fn refused(at: &AdminSettings, status: StatusCode, why: &str) -> Failure {
    let refuses = if status.is_client_error() { "refuses" } else { "failed" };
    let target = Target::of(at).map(|target| format!(" at {target}")).unwrap_or_default();
    Failure::Call(format!("the proxy{target} {refuses}: {}", on_one_line(why)))
}

/// POST with content, GET without.
fn call<T: DeserializeOwned>(
    at: &AdminSettings,
    path: &str,
    content: Option<Vec<u8>>,
) -> Result<Result<T, (StatusCode, String)>, Failure> {
    let target = Target::of(at)?;
    let broken = |error: &dyn std::fmt::Display| Failure::Call(format!("cannot call {target}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(&error))?;
    let call = async { tokio::time::timeout(CALL_TIME, target.send(path, content)).await };
    let (status, content) = runtime
        .block_on(call)
        .unwrap_or_else(|_| Err(format!("{target} does not answer within {CALL_TIME:?}")))
        .map_err(Failure::Call)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&content)
            .map(Ok)
            .map_err(|_| Failure::Call(format!("what answers at {target} is no proxy of this version")));
    }
    let why = serde_json::from_slice(&content).map_or_else(|_| status.to_string(), |Failed { error }| error);
    Ok(Err((status, why)))
}

/// Where an endpoint is.
enum Target {
    Unix(PathBuf),
    Tcp(Host, u16, Token),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Tcp(host, port, _) => write!(f, "{host}:{port}"),
        }
    }
}

impl Target {
    fn of(at: &AdminSettings) -> Result<Target, ConfigError> {
        Ok(match at {
            AdminSettings::Off => {
                let message = "admin: is off; say --admin with the address that the proxy was started with";
                return Err(ConfigError::Usage(message.to_owned()));
            }
            AdminSettings::Default => {
                let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
                Target::Unix(default_socket(rustix::process::geteuid().as_raw(), runtime_dir.as_deref()))
            }
            AdminSettings::Unix(path) => Target::Unix(path.clone()),
            AdminSettings::Tcp { host, port, token, .. } => Target::Tcp(host.clone(), *port, token.clone()),
        })
    }

    async fn send(&self, path: &str, content: Option<Vec<u8>>) -> Result<(StatusCode, Bytes), String> {
        let request = match content {
            Some(_) => Request::post(path).header(CONTENT_TYPE, "application/json"),
            None => Request::get(path),
        };
        let content = Full::from(content.unwrap_or_default());
        let answer = match self {
            Target::Unix(path) => {
                let stream = self.connect_unix(path).await?;
                exchange(stream, request.header(HOST, "localhost").body(content)).await
            }
            Target::Tcp(host, port, token) => {
                let connected = match host.with_port(*port) {
                    Some(address) => TcpStream::connect(address).await,
                    None => TcpStream::connect((host.to_string(), *port)).await,
                };
                let stream = connected.map_err(|error| self.silent(&error))?;
                let request = request.header(HOST, self.to_string());
                let request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
                exchange(stream, request.body(content)).await
            }
        };
        answer.map_err(|error| format!("the call to {self} broke off: {error}"))
    }

    /// Connects to a socket, and makes sure that it is no one else who waits there: its path may lie in a
    /// folder that others can write to.
    async fn connect_unix(&self, path: &Path) -> Result<UnixStream, String> {
        let stream = UnixStream::connect(path).await.map_err(|error| self.silent(&error))?;
        let peer = stream.peer_cred().map_err(|error| self.silent(&error))?.uid();
        let us = rustix::process::geteuid().as_raw();
        if peer != us {
            return Err(format!(
                "what answers at {self} belongs to user {peer}, and only that user may use it; this is user {us}"
            ));
        }
        Ok(stream)
    }

    /// Nobody could be reached: why, and how to name another.
    fn silent(&self, error: &Error) -> String {
        let elsewhere = "if the proxy was started with another --admin, say the same here";
        match error.kind() {
            ErrorKind::PermissionDenied => {
                format!("no permission to call {self}; run this as the user that the proxy runs as")
            }
            ErrorKind::NotFound => {
                format!("no proxy answers at {self}: there is no such socket; {elsewhere}")
            }
            ErrorKind::ConnectionRefused => {
                format!("no proxy answers at {self}: nothing listens there; {elsewhere}")
            }
            ErrorKind::WouldBlock => format!("the proxy at {self} is too busy; try again"),
            _ => format!("no proxy answers at {self}: {error}; {elsewhere}"),
        }
    }
}

/// One request and its whole answer.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Result<Request<Full<Bytes>>, hyper::http::Error>,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong with the connection shows in the answer.
    tokio::spawn(connection);
    let response = sender.send_request(request?).await?;
    let status = response.status();
    let content = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
    Ok((status, content.to_bytes()))
}

/// A text that somebody else wrote, as it can be shown.
fn on_one_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect()
}
