//! An origin whose connections follow a script, and which remembers all that it was sent.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::message::{Head, ok, text};
use super::wire::{Broken, Content, End, Framing, Wire};
use super::{PATIENCE, eventually};

/// A request as the origin got it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: Head,
    pub(crate) content: Content,
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.content.bytes
    }

    pub(crate) fn target(&self) -> &str {
        self.head.target()
    }
}

/// What the origin remembers.
#[derive(Default)]
struct Memory {
    received: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    requests: Mutex<Vec<Request>>,
    broken: Mutex<Vec<Broken>>,
    open: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

/// An origin on loopback, or on a Unix socket.
pub(crate) struct Origin {
    place: Place,
    memory: Arc<Memory>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// Where an origin is.
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// One connection of an origin, in the hands of its script.
pub(crate) struct Peer {
    wire: Option<Wire>,
    memory: Arc<Memory>,
    /// Which connection this is, counted from 0.
    pub(crate) index: usize,
}

impl Origin {
    /// Starts an origin that runs the script on each connection. The connection closes when the
    /// script returns.
    pub(crate) fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Origin::start_on(listener, script)
    }

    /// The same, on a socket of the caller's.
    pub(crate) fn start_on(
        listener: TcpListener,
        script: impl Fn(&mut Peer) + Send + Sync + 'static,
    ) -> Origin {
        let place = Place::Tcp(listener.local_addr().unwrap());
        let streams = std::iter::repeat_with(move || listener.accept().map(|(stream, _)| stream));
        Origin::start_at(place, streams.flatten(), script)
    }

    /// The same, on a Unix socket whose file goes away with the origin.
    pub(crate) fn start_unix(path: &Path, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Origin {
        let listener = UnixListener::bind(path).unwrap();
        // Beyond accepting, what is done with a socket here does not depend on its kind.
        let streams = std::iter::repeat_with(move || listener.accept().map(|(stream, _)| stream));
        let streams = streams.flatten().map(|stream| TcpStream::from(OwnedFd::from(stream)));
        Origin::start_at(Place::Unix(path.to_owned()), streams, script)
    }

    fn start_at(
        place: Place,
        streams: impl Iterator<Item = TcpStream> + Send + 'static,
        script: impl Fn(&mut Peer) + Send + Sync + 'static,
    ) -> Origin {
        let (memory, stop) = (Arc::new(Memory::default()), Arc::new(AtomicBool::new(false)));
        let script = Arc::new(script);
        let (shared, stopped) = (memory.clone(), stop.clone());
        let accepting = thread::spawn(move || {
            for (index, stream) in streams.enumerate() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (memory, script) = (shared.clone(), script.clone());
                let tap = Arc::new(Mutex::new(Vec::new()));
                memory.received.lock().unwrap().push(tap.clone());
                memory.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let mut peer =
                        Peer { wire: Some(Wire::new(stream, Some(tap))), memory: memory.clone(), index };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| script(&mut peer))) {
                        let said = panic.downcast_ref::<String>().cloned();
                        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned()));
                        memory.faults.lock().unwrap().push(said.unwrap_or_default());
                    }
                    drop(peer);
                    memory.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Origin { place, memory, stop, accepting: Some(accepting) }
    }

    /// An origin that gives each request the same answer.
    pub(crate) fn answering(answer: impl AsRef<[u8]>) -> Origin {
        let answer = answer.as_ref().to_vec();
        Origin::replying(move |_| answer.clone())
    }

    /// An origin that answers each request with what the reply makes of it.
    pub(crate) fn replying(reply: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::start(move |peer| {
            while let Some(request) = peer.request() {
                peer.send(reply(&request));
            }
        })
    }

    /// An origin that answers with the target and the content that it was sent.
    pub(crate) fn echo() -> Origin {
        Origin::replying(|request| ok([request.target().as_bytes(), b" ", request.body()].concat()))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(address) => *address,
            Place::Unix(path) => panic!("{} has no address", path.display()),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// How the file writes it down as an endpoint.
    pub(crate) fn endpoint(&self) -> String {
        match &self.place {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.memory.received.lock().unwrap().len()
    }

    /// How many of them are open.
    pub(crate) fn open(&self) -> usize {
        self.memory.open.load(Ordering::SeqCst)
    }

    /// The complete requests that it was sent, in the order in which they were complete.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.memory.requests.lock().unwrap().clone()
    }

    /// The only request that it was sent, which may be on its way.
    pub(crate) fn request(&self) -> Request {
        eventually("a request has come", || !self.requests().is_empty());
        match <[Request; 1]>::try_from(self.requests()) {
            Ok([request]) => request,
            Err(requests) => panic!("{} requests: {requests:?}", requests.len()),
        }
    }

    /// The requests that broke off within their head or content.
    pub(crate) fn broken(&self) -> Vec<(String, End)> {
        self.memory.broken.lock().unwrap().iter().map(|broken| (text(&broken.partial), broken.end)).collect()
    }

    /// Everything that came on a connection.
    pub(crate) fn received(&self, connection: usize) -> Vec<u8> {
        self.memory.received.lock().unwrap()[connection].lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept.
        match &self.place {
            Place::Tcp(address) => drop(TcpStream::connect(address)),
            Place::Unix(path) => {
                drop(UnixStream::connect(path));
                let _ = std::fs::remove_file(path);
            }
        }
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let faults = self.memory.faults.lock().unwrap().clone();
        if !thread::panicking() {
            assert!(faults.is_empty(), "the origin's script failed: {faults:?}");
        }
    }
}

impl Peer {
    fn wire(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("the script has reset the connection")
    }

    /// Reads a whole request. `None` once the proxy has closed the connection, at its end or in the
    /// middle of a request; the latter is remembered.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let head = self.head()?;
        self.content(head)
    }

    /// Reads the head of a request.
    pub(crate) fn head(&mut self) -> Option<Head> {
        match self.wire().head() {
            Ok(head) => Some(head),
            Err(broken) => {
                if !broken.partial.is_empty() {
                    self.memory.broken.lock().unwrap().push(broken);
                }
                None
            }
        }
    }

    /// Reads the content of a request whose head was read.
    pub(crate) fn content(&mut self, head: Head) -> Option<Request> {
        match self.wire().content(head.request_framing()) {
            Ok(content) => {
                let request = Request { head, content, connection: self.index };
                self.memory.requests.lock().unwrap().push(request.clone());
                Some(request)
            }
            Err(broken) => {
                self.memory.broken.lock().unwrap().push(broken);
                None
            }
        }
    }

    /// Reads a piece of content of whatever framing: its bytes; none at its end. For scripts that
    /// answer while they read.
    pub(crate) fn piece(&mut self, framing: Framing, left: &mut usize) -> Option<Vec<u8>> {
        match framing {
            Framing::Chunked => self.wire().chunk().ok(),
            Framing::Known(_) => {
                let piece = self.wire().exactly((*left).min(16 * 1024)).ok()?;
                *left -= piece.len();
                Some(piece)
            }
            Framing::UntilClose => unreachable!("a request has an end"),
        }
    }

    /// Reads what comes, whatever it is.
    pub(crate) fn some(&mut self) -> Result<Vec<u8>, End> {
        self.wire().some()
    }

    /// Reads so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        self.wire().exactly(count).ok()
    }

    /// Reads until the proxy ends the connection.
    pub(crate) fn until_end(&mut self) -> (Vec<u8>, End) {
        self.wire().until_end()
    }

    /// Sends all of it, as far as that is possible.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire().try_send(bytes);
    }

    /// Sends all of it; says whether that was possible.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire().try_send(bytes)
    }

    /// Sends every byte in a segment of its own.
    pub(crate) fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire().send_bytewise(bytes);
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&mut self) {
        self.wire().finish();
    }

    /// Waits.
    pub(crate) fn sleep(&mut self, span: Duration) {
        thread::sleep(span);
    }

    /// Neither reads nor answers, until the proxy gives up.
    pub(crate) fn hang(&mut self) {
        wait_for_close(self.wire().stream());
    }

    /// Breaks off with a reset.
    pub(crate) fn reset(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.reset();
        }
    }
}

/// Waits until the peer of a connection has closed it, and leaves whatever it sent unread, so that a
/// sender runs into a full window.
fn wait_for_close(stream: &TcpStream) {
    let mut state = [PollFd::new(stream, PollFlags::RDHUP)];
    let bound = Timespec::try_from(PATIENCE).unwrap();
    let _ = poll(&mut state, Some(&bound));
}
