//! A client, as plain or as odd as the scenario wants it.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::message::{Fields, Head};
use super::wire::{Broken, Content, End, Wire};

/// A response that is complete.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) content: Content,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.head.fields
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.content.bytes
    }

    pub(crate) fn text(&self) -> String {
        super::message::text(self.body())
    }

    /// Whether it says that the connection closes.
    pub(crate) fn says_close(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

/// A client's connection.
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, super::PATIENCE);
        Client::over(stream.unwrap_or_else(|error| panic!("cannot connect to the proxy: {error}")))
    }

    pub(crate) fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path);
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to the proxy: {error}"));
        // What is done with a socket here does not depend on its kind.
        Client::over(TcpStream::from(OwnedFd::from(stream)))
    }

    pub(crate) fn over(stream: TcpStream) -> Client {
        Client { wire: Wire::new(stream, None) }
    }

    /// A second handle, to send from another thread.
    pub(crate) fn sender(&self) -> Client {
        Client::over(self.wire.stream().try_clone().unwrap())
    }

    /// Sends all of it, as far as that is possible.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.try_send(bytes);
    }

    /// Sends all of it; says whether that was possible.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.try_send(bytes)
    }

    /// Sends every byte in a segment of its own.
    pub(crate) fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send_bytewise(bytes);
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&self) {
        self.wire.finish();
    }

    /// Breaks off with a reset.
    pub(crate) fn reset(self) {
        self.wire.reset();
    }

    /// Reads a head, of an interim or a final response.
    pub(crate) fn head(&mut self) -> Head {
        self.wire.head().unwrap_or_else(|broken| panic!("no response: {broken:?}"))
    }

    /// Reads the response to a GET or a POST.
    pub(crate) fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads the response to a request with that method.
    pub(crate) fn response_to(&mut self, method: &str) -> Response {
        let head = self.head();
        match self.wire.content(head.response_framing(method)) {
            Ok(content) => Response { head, content },
            Err(broken) => {
                panic!("{head:?} broke off after {} bytes: {:?}", broken.partial.len(), broken.end)
            }
        }
    }

    /// Reads the response to a request with that method, as far as it comes.
    pub(crate) fn try_response_to(&mut self, method: &str) -> Result<Response, (Option<Head>, Broken)> {
        let head = self.wire.head().map_err(|broken| (None, broken))?;
        match self.wire.content(head.response_framing(method)) {
            Ok(content) => Ok(Response { head, content }),
            Err(broken) => Err((Some(head), broken)),
        }
    }

    /// Reads a response whose content is expected to break off.
    pub(crate) fn broken_response(&mut self) -> (Head, Broken) {
        let head = self.head();
        match self.wire.content(head.response_framing("GET")) {
            Ok(content) => panic!("{head:?} ended cleanly after {} bytes", content.bytes.len()),
            Err(broken) => (head, broken),
        }
    }

    /// Sends a request, and reads the response.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.response()
    }

    /// Reads what is there.
    pub(crate) fn some(&mut self) -> Result<Vec<u8>, End> {
        self.wire.some()
    }

    /// Reads so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        self.wire.exactly(count).unwrap_or_else(|broken| panic!("wanted {count} bytes: {broken:?}"))
    }

    /// Reads a chunk.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        self.wire.chunk().unwrap_or_else(|broken| panic!("wanted a chunk: {broken:?}"))
    }

    /// Reads all that comes until the connection ends.
    pub(crate) fn until_end(&mut self) -> (Vec<u8>, End) {
        self.wire.until_end()
    }

    /// Expects that nothing more comes, and that the connection ends.
    pub(crate) fn expect_end(&mut self) -> End {
        let (rest, end) = self.wire.until_end();
        assert!(rest.is_empty(), "more than expected: {:?}", super::message::text(&rest));
        assert_ne!(end, End::Silent, "the connection is still open");
        end
    }

    /// The connection itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.wire.stream()
    }
}
