//! One connection, taken apart into the half that is read and the half that is written, so that both
//! can be busy at once.

#![allow(unsafe_code, reason = "borrows the descriptor of a stream that is kept open beside it")]

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::io::{OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

use super::buffer::Buffer;
use super::sys::{self, Direction};

/// How long to wait at first when as many connections wait to be accepted on a Unix socket as may.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// The same after some tries.
const FULL_PAUSE_MAX: Duration = Duration::from_millis(50);

/// The half of a connection that is read.
pub(crate) struct Source(OwnedReadHalf<TcpStream>);

/// The half of a connection that is written.
pub(crate) struct Sink(OwnedWriteHalf<TcpStream>);

/// Both halves of a connection, and its descriptor.
pub(crate) struct Socket {
    /// What is read.
    pub(crate) source: Source,
    /// What is written.
    pub(crate) sink: Sink,
}

impl Source {
    /// Waits until there is something to read, the end included. Unlike a read under way, this wait
    /// needs no buffer, and can be dropped without losing a byte.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        // SAFETY: `readable` takes the stream by a shared reference, as everything does that may run
        // while it is awaited; what takes it exclusively, the reads and writes of the halves, makes
        // its operation and lets go before it returns. So it is in monoio 0.2.4, which Cargo.toml pins.
        unsafe { &*self.0.0.get() }.readable(false).await
    }

    /// Reads what is there, without waiting.
    pub(crate) fn read_now(&mut self, buffer: &mut Buffer) -> io::Result<usize> {
        // SAFETY: as above; nothing is awaited here.
        let fd = unsafe { (*self.0.0.get()).as_raw_fd() };
        // SAFETY: the stream keeps the descriptor open while `self` is borrowed.
        buffer.receive(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// Waits until there is something to read, then takes a buffer and reads it: for heads, which
    /// are mostly still to come.
    pub(crate) async fn read_when_ready(
        &mut self,
        buffer: impl FnOnce() -> Buffer,
    ) -> (io::Result<usize>, Buffer) {
        let mut ready = self.ready().await;
        let mut buffer = buffer();
        loop {
            let result = match ready {
                Ok(()) => self.read_now(&mut buffer),
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready = self.ready().await,
                result => return (result, buffer),
            }
        }
    }

    /// Reads into the spare room of `buffer`: for content, which is often there already.
    pub(crate) fn read(&mut self, buffer: Buffer) -> impl Future<Output = (io::Result<usize>, Buffer)> {
        self.0.read(buffer)
    }
}

impl Sink {
    /// Writes as much as the socket takes at once, without waiting. Mostly that is all: a system call
    /// then costs less than an operation in the ring with its completion and its wake-up.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::send(self.borrow_fd(), bytes)
    }

    /// The same, of several pieces in a row.
    pub(crate) fn write_slices_now(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        sys::send_slices(self.borrow_fd(), slices)
    }

    /// Waits until something can be written, or the connection has failed. This wait needs no buffer, and
    /// can be dropped.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        // SAFETY: as in `Source::ready`.
        unsafe { &*self.0.0.get() }.writable(false).await
    }

    /// Waits until some of `buffer` can be written, and writes it.
    pub(crate) fn write(&mut self, buffer: Buffer) -> impl Future<Output = (io::Result<usize>, Buffer)> {
        self.0.write(buffer)
    }

    fn fd(&self) -> RawFd {
        // SAFETY: no other reference to the stream lives while this one does: the halves' futures
        // hold the descriptor, not the stream, and nothing is awaited here.
        unsafe { (*self.0.0.get()).as_raw_fd() }
    }

    fn borrow_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream keeps the descriptor open while `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }

    /// Tells the peer that no more will be written.
    pub(crate) fn end(&self) {
        sys::shutdown(self.borrow_fd(), Direction::Write);
    }

    /// Ends both directions, waking whatever waits.
    pub(crate) fn end_both(&self) {
        sys::shutdown(self.borrow_fd(), Direction::Both);
    }

    /// Breaks the connection off with a reset.
    pub(crate) fn reset(&self) {
        sys::reset(self.borrow_fd());
    }

    /// Whether the peer has broken the connection off. One that has only ended its side may still read.
    pub(crate) fn has_failed(&self) -> bool {
        sys::has_failed(self.borrow_fd())
    }

    /// Whether the peer has ended its side, whatever came before that.
    pub(crate) fn has_been_ended(&self) -> bool {
        sys::has_been_ended(self.borrow_fd())
    }

    /// Whether the connection is open and nothing has come.
    pub(crate) fn is_quiet(&self) -> bool {
        sys::is_quiet(self.borrow_fd())
    }
}

/// What is set on a TCP connection that is opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct TcpOptions {
    /// After so long without traffic the peer is asked whether it is still there.
    pub(crate) keepalive: Option<Duration>,
    /// What was sent may stay unacknowledged for so long.
    pub(crate) user_timeout: Option<Duration>,
}

impl TcpOptions {
    fn set(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let socket = SockRef::from(&fd);
        if let Some(time) = self.keepalive {
            // A peer that is gone is found after twice the time.
            let again = (time / KEEPALIVE_PROBES).max(Duration::from_secs(1));
            let keepalive =
                TcpKeepalive::new().with_time(time).with_interval(again).with_retries(KEEPALIVE_PROBES);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}

/// Questions without an answer after which a connection is broken.
const KEEPALIVE_PROBES: u32 = 5;

impl Socket {
    /// Makes an accepted descriptor ready for use on this core.
    ///
    /// # Errors
    /// The driver could not take it.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<Socket> {
        TcpStream::from_std(std::net::TcpStream::from(fd)).map(Socket::new)
    }

    /// Connects.
    ///
    /// # Errors
    /// What the kernel says: refused, unreachable, out of descriptors.
    pub(crate) async fn connect(address: SocketAddr, options: &TcpOptions) -> io::Result<Socket> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        let socket = Socket::new(stream);
        options.set(socket.sink.borrow_fd())?;
        Ok(socket)
    }

    /// Takes a connection that another core had, with whichever driver.
    ///
    /// # Errors
    /// The driver could not take it.
    pub(crate) fn take_over(fd: OwnedFd) -> io::Result<Socket> {
        // See `sys::accept`.
        rustix::io::ioctl_fionbio(&fd, monoio::utils::is_legacy())?;
        Socket::from_fd(fd)
    }

    /// Whether a connection that belongs to no core is open and nothing has come.
    pub(crate) fn is_quiet_at_rest(fd: &OwnedFd) -> bool {
        sys::is_quiet(fd.as_fd())
    }

    /// Connects to a Unix socket. Where as many connections wait there as may, the kernel has no way to wait
    /// for room, so it is asked again and again: the caller sets a limit.
    ///
    /// # Errors
    /// What the kernel says: nothing is there, nobody listens, or the path is too long.
    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Socket> {
        let socket = sys::UnixConnect::new(path)?;
        let mut pause = FULL_PAUSE;
        loop {
            match socket.attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    monoio::time::sleep(pause).await;
                    pause = FULL_PAUSE_MAX.min(pause * 2);
                }
                Err(error) => return Err(error),
                // What the halves do on a stream does not depend on what kind of stream it is.
                Ok(()) => return Socket::from_fd(socket.into_fd(monoio::utils::is_legacy())?),
            }
        }
    }

    fn new(stream: TcpStream) -> Socket {
        let (source, sink) = stream.into_split();
        Socket { source: Source(source), sink: Sink(sink) }
    }

    /// The address of this end; none for a Unix socket.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        let address = rustix::net::getsockname(self.sink.borrow_fd()).ok()?;
        SocketAddr::try_from(address).ok()
    }

    /// The descriptor.
    pub(crate) fn fd(&self) -> RawFd {
        self.sink.fd()
    }

    /// Takes the connection out of the runtime, so that it can wait elsewhere. A wait for bytes that
    /// was just dropped may hold the old descriptor for a moment longer, so this is another one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        let fd = self.sink.borrow_fd().try_clone_to_owned();
        self.close();
        fd
    }

    /// Lets go of the connection, without saying the end of each direction first.
    pub(crate) fn close(self) {
        drop(self.source.0.reunite(self.sink.0));
    }
}
