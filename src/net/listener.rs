//! One core's listening socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use monoio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

use super::sys::{self, Direction};

/// How many connections may wait to be accepted; the kernel cuts it to its own limit.
const BACKLOG: i32 = 4096;

/// How many connections are taken before other tasks get their turn.
const BATCH: usize = 64;

/// Opens a listening socket that shares its address with those of the other cores.
///
/// # Errors
/// The address is in use, not ours, or not allowed.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether anything else listens on the address. Sockets that share a port do not notice each other,
/// and two proxies that split the traffic between them would be a riddle to whoever runs them.
///
/// # Errors
/// What [`bind`] would say.
pub(crate) fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// A listening socket on its core.
pub(crate) struct Listener {
    inner: TcpListener,
    /// Whether accepted sockets must not block, as the epoll driver wants it. io_uring would take
    /// that as a wish to be told at once that nothing has come.
    nonblocking: bool,
}

impl Listener {
    /// Hands the socket to this core's driver.
    ///
    /// # Errors
    /// The driver could not take it.
    pub(crate) fn new(socket: std::net::TcpListener, nonblocking: bool) -> io::Result<Listener> {
        Ok(Listener { inner: TcpListener::from_std(socket)?, nonblocking })
    }

    /// Waits until a connection is there. Unlike an accept under way, this wait can be dropped
    /// without losing a connection.
    ///
    /// # Errors
    /// The driver failed.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.inner.readable(false).await
    }

    /// Takes the connections that are there, some at a time.
    ///
    /// # Errors
    /// What accept said, when it was not that none is left: mostly that descriptors ran out.
    pub(crate) fn accept_batch(&self, mut each: impl FnMut(OwnedFd, SocketAddr)) -> io::Result<()> {
        for _ in 0..BATCH {
            match sys::accept(self.fd(), self.nonblocking) {
                Ok((fd, peer)) => each(fd, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    // The client left before it was accepted.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Stops listening; whoever waits for a connection is woken.
    pub(crate) fn stop(&self) {
        sys::shutdown(self.fd(), Direction::Both);
    }

    #[allow(unsafe_code, reason = "monoio's listener gives out its descriptor only as a number")]
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the listener keeps the descriptor open while `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }
}
