//! A TCP connection with what has come on it: read by the rules of HTTP/1.1, strictly, for neither
//! side of the proxy may ever see anything that is not well-formed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::PATIENCE;
use super::message::{Fields, Head};

/// How a connection ended, as far as its reader can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a FIN: whoever reads to the end has all of it.
    Closed,
    /// With a reset.
    Reset,
    /// Not at all, for as long as anybody would wait.
    Silent,
}

/// Content that broke off.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What came of it.
    pub(crate) partial: Vec<u8>,
    /// How the connection ended.
    pub(crate) end: End,
}

/// The content of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    /// The sizes of its chunks, the last one left out; none if it was not chunked.
    pub(crate) chunks: Vec<usize>,
    pub(crate) trailers: Fields,
}

/// How the content of a message is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Known(usize),
    Chunked,
    UntilClose,
}

/// A connection, and what has come on it and was not looked at yet.
pub(crate) struct Wire {
    stream: TcpStream,
    pending: Vec<u8>,
    at: usize,
    /// A copy of everything that comes.
    tap: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, tap: Option<Arc<Mutex<Vec<u8>>>>) -> Wire {
        // Unix sockets know nothing of it.
        let _ = stream.set_nodelay(true);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire { stream, pending: Vec::new(), at: 0, tap }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of it; says whether the kernel took it, which it does until it knows that the peer
    /// has gone.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends every byte in a segment of its own.
    pub(crate) fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            thread::sleep(Duration::from_micros(100));
            self.try_send([*byte]);
        }
    }

    /// Says that no more will be sent.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Reads something.
    fn fill(&mut self) -> Result<(), End> {
        if self.at == self.pending.len() {
            self.pending.clear();
            self.at = 0;
        }
        let before = self.pending.len();
        self.pending.resize(before + 64 * 1024, 0);
        let result = loop {
            match self.stream.read(&mut self.pending[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.pending.truncate(before + result.as_ref().map_or(0, |count| *count));
        match result {
            Ok(0) => Err(End::Closed),
            Ok(_) => {
                if let Some(tap) = &self.tap {
                    tap.lock().unwrap().extend_from_slice(&self.pending[before..]);
                }
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(End::Silent)
            }
            Err(_) => Err(End::Reset),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.pending[self.at..]
    }

    /// Reads until at least a byte is there, and takes what is there.
    pub(crate) fn some(&mut self) -> Result<Vec<u8>, End> {
        if self.rest().is_empty() {
            self.fill()?;
        }
        let some = self.rest().to_vec();
        self.at = self.pending.len();
        Ok(some)
    }

    /// Takes so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        while self.rest().len() < count {
            if let Err(end) = self.fill() {
                let partial = self.rest().to_vec();
                self.at = self.pending.len();
                return Err(Broken { partial, end });
            }
        }
        let taken = self.rest()[..count].to_vec();
        self.at += count;
        Ok(taken)
    }

    /// Takes all that comes until the connection ends.
    pub(crate) fn until_end(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                let all = self.rest().to_vec();
                self.at = self.pending.len();
                return (all, end);
            }
        }
    }

    /// Takes the bytes up to a mark, the mark included.
    fn up_to(&mut self, mark: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut searched = 0;
        loop {
            let found = self.rest()[searched..].windows(mark.len()).position(|window| window == mark);
            if let Some(found) = found {
                let taken = self.rest()[..searched + found + mark.len()].to_vec();
                self.at += taken.len();
                return Ok(taken);
            }
            searched = self.rest().len().saturating_sub(mark.len() - 1);
            if let Err(end) = self.fill() {
                let partial = self.rest().to_vec();
                self.at = self.pending.len();
                return Err(Broken { partial, end });
            }
        }
    }

    /// Takes a head.
    pub(crate) fn head(&mut self) -> Result<Head, Broken> {
        self.up_to(b"\r\n\r\n").map(|bytes| Head::parse(&bytes))
    }

    /// Takes the content that is framed like that.
    pub(crate) fn content(&mut self, framing: Framing) -> Result<Content, Broken> {
        match framing {
            Framing::Known(length) => Ok(Content { bytes: self.exactly(length)?, ..Content::default() }),
            Framing::Chunked => self.chunked(),
            Framing::UntilClose => match self.until_end() {
                (bytes, End::Closed) => Ok(Content { bytes, ..Content::default() }),
                (partial, end) => Err(Broken { partial, end }),
            },
        }
    }

    fn chunked(&mut self) -> Result<Content, Broken> {
        let mut content = Content::default();
        loop {
            match self.chunk() {
                Ok(chunk) if chunk.is_empty() => break,
                Ok(chunk) => {
                    content.chunks.push(chunk.len());
                    content.bytes.extend_from_slice(&chunk);
                }
                Err(broken) => {
                    content.bytes.extend_from_slice(&broken.partial);
                    return Err(Broken { partial: content.bytes, end: broken.end });
                }
            }
        }
        let trailers = self.trailer_section();
        let trailers = trailers.map_err(|end| Broken { partial: content.bytes.clone(), end })?;
        Ok(Content { trailers, ..content })
    }

    /// Takes a chunk; the last one is empty. What breaks off within a size line is no content.
    pub(crate) fn chunk(&mut self) -> Result<Vec<u8>, Broken> {
        let line = self.up_to(b"\r\n").map_err(|broken| Broken { partial: Vec::new(), ..broken })?;
        let digits = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
        assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()), "a size line: {line:?}");
        let size = usize::from_str_radix(digits, 16).unwrap();
        if size == 0 {
            return Ok(Vec::new());
        }
        let chunk = self.exactly(size)?;
        let end = self.exactly(2).map_err(|broken| Broken { partial: chunk.clone(), ..broken })?;
        assert_eq!(end, b"\r\n", "the end of a chunk");
        Ok(chunk)
    }

    fn trailer_section(&mut self) -> Result<Fields, End> {
        let mut section = Vec::new();
        loop {
            let line = self.up_to(b"\r\n").map_err(|broken| broken.end)?;
            if line == b"\r\n" {
                return Ok(Fields::parse(&section));
            }
            section.extend_from_slice(&line);
        }
    }
}
