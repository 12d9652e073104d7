//! One core's listening sockets, over TCP and Unix sockets alike.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use monoio::net::TcpListener;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::sys::{self, Direction};

/// How many connections may wait to be accepted; the kernel cuts it to its own limit.
pub(crate) const BACKLOG: i32 = 4096;

/// How many connections are taken before other tasks get their turn.
const BATCH: usize = 64;

/// Lets all segments pass but those with SYN. Connections inherit it from their listener, and it means nothing to
/// them.
const NO_SYN: [SockFilter; 4] = [
    // The byte of the TCP header with its flags.
    SockFilter::new(BPF_LOAD_BYTE, 0, 0, 13),
    SockFilter::new(BPF_JUMP_IF_SET, 0, 1, 0x02),
    SockFilter::new(BPF_RETURN, 0, 0, 0),
    SockFilter::new(BPF_RETURN, 0, 0, u32::MAX),
];

/// Instructions of classic BPF.
const BPF_LOAD_BYTE: u16 = 0x30;
const BPF_JUMP_IF_SET: u16 = 0x45;
const BPF_RETURN: u16 = 0x06;

/// Opens a socket to listen on, which shares its address with those of the other cores. Nobody can connect yet.
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
    Ok(socket.into())
}

/// Lets clients connect to such a socket.
///
/// # Errors
/// Another socket has taken the address meanwhile.
pub(crate) fn listen(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::listen(socket, BACKLOG)?)
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

/// Sends a short answer on a connection that was just accepted, as far as that is possible at once, and closes it.
pub(crate) fn answer_and_close(connection: OwnedFd, answer: &[u8]) {
    // What the client has sent already is taken, or closing would reset the connection before it has read the answer.
    let _ = sys::send(connection.as_fd(), answer);
    let _ = sys::receive(connection.as_fd(), &mut [0; 2048]);
    sys::shutdown(connection.as_fd(), Direction::Write);
}

/// A listening socket on its core.
pub(crate) struct Listener {
    inner: TcpListener,
    /// Whether accepted sockets must not block, as the epoll driver wants it. io_uring would take
    /// that as a wish to be told at once that nothing has come.
    nonblocking: bool,
    /// Whether it is the same socket on all cores, as on a Unix socket.
    shared: bool,
}

impl Listener {
    /// Hands the socket to this core's driver.
    ///
    /// # Errors
    /// The driver could not take it.
    pub(crate) fn new(socket: OwnedFd, nonblocking: bool) -> io::Result<Listener> {
        let shared = SockRef::from(&socket).domain().is_ok_and(|domain| domain == Domain::UNIX);
        // Of the listener only its wait is used, which does not depend on what kind of socket it is.
        let inner = TcpListener::from_std(std::net::TcpListener::from(socket))?;
        Ok(Listener { inner, nonblocking, shared })
    }

    /// Waits until a connection is there. Unlike an accept under way, this wait can be dropped
    /// without losing a connection.
    ///
    /// # Errors
    /// The driver failed.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.inner.readable(false).await
    }

    /// Takes the connections that are there, some at a time, and says whether there may be more. Those that come
    /// by a Unix socket have no address.
    ///
    /// # Errors
    /// What accept said, when it was not that none is left: mostly that descriptors ran out.
    pub(crate) fn accept_batch(&self, mut each: impl FnMut(OwnedFd, Option<SocketAddr>)) -> io::Result<bool> {
        for _ in 0..BATCH {
            match sys::accept(self.fd(), self.nonblocking) {
                Ok((fd, peer)) => each(fd, peer),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    // The client left before it was accepted.
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }

    /// Lets nobody begin to connect any more; those who have begun may go on. Whoever comes from here on tries again a
    /// second later, as if what it sent had been lost, and finds another listener, or none.
    pub(crate) fn turn_away(&self) {
        if self.shared {
            return;
        }
        // Where the kernel refuses it, some are reset who come in the last moment.
        let _ = SockRef::from(&self.fd()).attach_filter(&NO_SYN);
    }

    /// Stops listening. On a socket that all cores share, that is when the last of them lets go of it.
    pub(crate) fn stop(&self) {
        if !self.shared {
            sys::shutdown(self.fd(), Direction::Both);
        }
    }

    #[allow(unsafe_code, reason = "monoio's listener gives out its descriptor only as a number")]
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the listener keeps the descriptor open while `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }
}
