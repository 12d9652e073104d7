//! System calls that no crate wraps, each behind a safe function.

#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// Maps fresh, zeroed memory.
///
/// # Panics
/// When the kernel has no memory left: nothing sensible can be done then.
pub(super) fn map(bytes: usize) -> NonNull<u8> {
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert!(address != libc::MAP_FAILED, "out of memory: {}", io::Error::last_os_error());
    NonNull::new(address.cast()).expect("mmap never returns null")
}

/// Gives the pages back to the kernel and keeps the addresses: they read as zero again.
pub(super) fn discard(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: the pool hands out each piece of its mappings to one owner, who has given it back.
    // Failure would only mean that the pages stay.
    unsafe { libc::madvise(memory.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
}

/// Ends a mapping that [`map`] made, whole.
pub(super) fn unmap(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller owns the mapping and gives it up.
    unsafe { libc::munmap(memory.as_ptr().cast(), bytes) };
}

/// Which direction of a connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    /// No more is read: a pending read ends with nothing.
    Read,
    /// No more is written: the peer sees the end.
    Write,
    /// Both.
    Both,
}

/// Ends one or both directions of a connection, waking whatever waits on it.
pub(super) fn shutdown(fd: BorrowedFd<'_>, direction: Direction) {
    let how = match direction {
        Direction::Read => libc::SHUT_RD,
        Direction::Write => libc::SHUT_WR,
        Direction::Both => libc::SHUT_RDWR,
    };
    // SAFETY: the descriptor is open. A peer that has gone already is no failure.
    unsafe { libc::shutdown(fd.as_raw_fd(), how) };
}

/// Breaks a connection off with a reset, so that the peer cannot take what it has for the whole.
pub(super) fn reset(fd: BorrowedFd<'_>) {
    let unspecified = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    #[expect(clippy::cast_possible_truncation, reason = "the size of a struct of 16 bytes")]
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address lives through the call. Connecting a TCP socket to no address dissolves
    // its connection (connect(2)).
    unsafe { libc::connect(fd.as_raw_fd(), &unspecified, length) };
}

/// What a look at a quiet connection shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// Nothing has come: it can be used.
    Yes,
    /// It was closed, it failed, or something came that nobody asked for.
    No,
}

/// Looks, without taking anything, whether a connection that should be quiet is.
pub(super) fn peek(fd: BorrowedFd<'_>) -> Quiet {
    let mut byte = 0_u8;
    // SAFETY: the buffer is one byte and lives through the call.
    let got = unsafe {
        libc::recv(fd.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT)
    };
    if got < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
        Quiet::Yes
    } else {
        Quiet::No
    }
}

/// Sends what the socket takes at once.
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the slice lives through the call.
    let sent = unsafe {
        libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives what is there, into memory that need not be initialised.
pub(super) fn receive(fd: BorrowedFd<'_>, into: *mut u8, room: usize) -> io::Result<usize> {
    // SAFETY: the one caller, `Buffer::receive`, owns `room` bytes at `into`.
    let got = unsafe { libc::recv(fd.as_raw_fd(), into.cast(), room, libc::MSG_DONTWAIT) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Takes a connection from the backlog, without waiting.
pub(super) fn accept(listener: BorrowedFd<'_>, nonblocking: bool) -> io::Result<(OwnedFd, std::net::SocketAddr)> {
    let flags = libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: `try_init` hands over storage of the length it says; accept4 fills both in.
    let (fd, address) = unsafe {
        socket2::SockAddr::try_init(|storage, length| {
            match libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(OwnedFd::from_raw_fd(fd)),
            }
        })?
    };
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((fd, address))
}

/// An epoll instance: descriptors that wait to become readable.
pub(super) struct Epoll(OwnedFd);

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        // SAFETY: makes a descriptor, or fails.
        match unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the descriptor is fresh and nobody else's.
            fd => Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// A second descriptor of the same instance, to wait on.
    pub(super) fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Watches a descriptor until it is readable or closed by its peer, once.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        #[expect(clippy::cast_sign_loss, reason = "flags are bits")]
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT) as u32;
        let mut event = libc::epoll_event { events, u64: key };
        // SAFETY: the event lives through the call.
        let done =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Stops watching a descriptor.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        // SAFETY: takes no event. Failure means that it was not watched, which is what is wanted.
        unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut())
        };
    }

    /// The keys of descriptors that are ready now, at most 64 at a time.
    pub(super) fn ready(&self, keys: &mut Vec<u64>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: the array has room for as many events as the call is told.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as libc::c_int, 0) };
        keys.clear();
        keys.extend(events.iter().take(usize::try_from(count).unwrap_or(0)).map(|event| event.u64));
    }
}

/// Raises the limit on open descriptors to what the process may have, and returns it.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct lives through both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
                limit = raised;
            }
        }
    }
    limit.rlim_cur
}
