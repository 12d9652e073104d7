//! The system calls that are made directly, beside the driver: those that cannot wait.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::ioctl;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType,
};
use rustix::process::{Resource, Rlimit};

/// Maps fresh, zeroed memory.
///
/// # Panics
/// When the kernel has no memory left: nothing sensible can be done then.
#[allow(unsafe_code, reason = "memory mappings")]
pub(super) fn map(bytes: usize) -> NonNull<u8> {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let address = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, protection, flags) };
    match address.map(|address| NonNull::new(address.cast())) {
        Ok(Some(address)) => address,
        Ok(None) => panic!("a mapping at address zero"),
        Err(error) => panic!("out of memory: {error}"),
    }
}

/// Gives the pages back to the kernel and keeps the addresses: they read as zero again.
#[allow(unsafe_code, reason = "memory mappings")]
pub(super) fn discard(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: the pool hands out each piece of its mappings to one owner, who has given it back.
    // Failure would only mean that the pages stay.
    let _ = unsafe { rustix::mm::madvise(memory.as_ptr().cast(), bytes, Advice::LinuxDontNeed) };
}

/// Ends a mapping that [`map`] made, whole.
#[allow(unsafe_code, reason = "memory mappings")]
pub(super) fn unmap(memory: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller owns the mapping and gives it up.
    let _ = unsafe { rustix::mm::munmap(memory.as_ptr().cast(), bytes) };
}

/// Gives memory that the allocator keeps for later back to the kernel.
#[allow(unsafe_code, reason = "a call of the C library")]
pub(super) fn trim_heap() {
    // SAFETY: the call takes the allocator's own locks, and touches only what is free.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Has the allocator give memory at the end of its heaps back as soon as it is free. Left to itself
/// it raises the amount that it keeps with every large block that is freed, and what a wave of
/// connections used stays resident.
#[allow(unsafe_code, reason = "a call of the C library")]
pub(crate) fn keep_heaps_small() {
    const KEPT_BYTES: libc::c_int = 256 * 1024;
    // SAFETY: sets a number; called before the workers start.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES)
    };
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
        Direction::Read => Shutdown::Read,
        Direction::Write => Shutdown::Write,
        Direction::Both => Shutdown::Both,
    };
    // A peer that has gone already is no failure.
    let _ = rustix::net::shutdown(fd, how);
}

/// Breaks a connection off with a reset, so that the peer cannot take what it has for the whole. Unix
/// sockets know no reset: there the connection ends, and only the framing tells that something is missing.
pub(super) fn reset(fd: BorrowedFd<'_>) {
    // Connecting a TCP socket to no address dissolves its connection (connect(2)).
    if rustix::net::connect_unspec(fd).is_err() {
        shutdown(fd, Direction::Both);
    }
}

/// Whether a connection is open and nothing has come; nothing is taken from it.
pub(super) fn is_quiet(fd: BorrowedFd<'_>) -> bool {
    let looked = rustix::net::recv(fd, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(looked, Err(rustix::io::Errno::AGAIN))
}

/// Whether a connection was reset; nothing is taken from it.
pub(super) fn has_failed(fd: BorrowedFd<'_>) -> bool {
    let looked = rustix::net::recv(fd, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    looked.is_err_and(|error| error != rustix::io::Errno::AGAIN)
}

/// Whether the peer of a connection has ended its side, also where there is something that was not read yet.
pub(super) fn has_been_ended(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    let looked = rustix::event::poll(&mut polled, Some(&Timespec::default()));
    looked.is_ok() && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

/// How much of what was written the peer has not taken yet: bytes that it has not acknowledged or, of a Unix socket,
/// memory of what it has not read.
#[allow(unsafe_code, reason = "a question to the socket that rustix has no function for")]
pub(super) fn untaken(fd: BorrowedFd<'_>) -> Option<u32> {
    #[allow(clippy::cast_possible_truncation, reason = "numbers of such questions have 32 bits")]
    type Untaken = ioctl::Getter<{ libc::TIOCOUTQ as ioctl::Opcode }, libc::c_int>;
    // SAFETY: SIOCOUTQ, which has this number too, writes an int, and nothing else (tcp(7), unix(7)).
    let count = unsafe { ioctl::ioctl(fd, Untaken::new()) }.ok()?;
    u32::try_from(count).ok()
}

/// Sends what the socket takes at once.
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// Sends what the socket takes at once of several pieces.
pub(super) fn send_slices(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

/// Receives what is there.
pub(super) fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let (count, _) = rustix::net::recv(fd, into, RecvFlags::DONTWAIT)?;
    Ok(count)
}

/// A Unix socket that is about to be connected.
pub(super) struct UnixConnect {
    fd: OwnedFd,
    address: SocketAddrUnix,
}

impl UnixConnect {
    /// A socket for the path of another.
    pub(super) fn new(path: &Path) -> io::Result<UnixConnect> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(UnixConnect { fd, address })
    }

    /// Tries to connect, without waiting; as often as it has to.
    pub(super) fn attempt(&self) -> io::Result<()> {
        Ok(rustix::net::connect(&self.fd, &self.address)?)
    }

    /// The socket, for the one driver or the other: see [`accept`].
    pub(super) fn into_fd(self, nonblocking: bool) -> io::Result<OwnedFd> {
        if !nonblocking {
            rustix::io::ioctl_fionbio(&self.fd, false)?;
        }
        Ok(self.fd)
    }
}

/// Takes a connection from the backlog, without waiting. Its peer has no address if it came by a Unix
/// socket.
pub(super) fn accept(
    listener: BorrowedFd<'_>,
    nonblocking: bool,
) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    let flags = if nonblocking { SocketFlags::CLOEXEC | SocketFlags::NONBLOCK } else { SocketFlags::CLOEXEC };
    let (fd, peer) = rustix::net::acceptfrom_with(listener, flags)?;
    let peer = peer.ok_or(io::ErrorKind::InvalidInput)?;
    // Whoever has no address for another reason must not pass for one on this machine.
    if peer.address_family() == AddressFamily::UNIX {
        return Ok((fd, None));
    }
    Ok((fd, Some(SocketAddr::try_from(peer).map_err(io::Error::from)?)))
}

/// An epoll instance: descriptors that wait to become readable.
pub(super) struct Epoll(OwnedFd);

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        Ok(Epoll(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// A second descriptor of the same instance, to wait on.
    pub(super) fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Watches a descriptor until it is readable or closed by its peer, once.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let events = EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT;
        Ok(epoll::add(&self.0, fd, EventData::new_u64(key), events)?)
    }

    /// Stops watching a descriptor.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        // Failure means that it was not watched, which is what is wanted.
        let _ = epoll::delete(&self.0, fd);
    }

    /// The keys of descriptors that are ready now, at most 64 at a time.
    pub(super) fn ready(&self, keys: &mut Vec<u64>) {
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
        keys.clear();
        if let Ok((ready, _)) = epoll::wait(&self.0, &mut events, Some(&Timespec::default())) {
            keys.extend(ready.iter().map(|event| event.data.u64()));
        }
    }
}

/// How many descriptors the process may have open.
pub(crate) fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the limit on open descriptors to what the process may have, and returns it.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = rustix::process::setrlimit(Resource::Nofile, raised).is_ok();
    // No limit at all reads as none.
    (if raised { limit.maximum } else { limit.current }).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_peers_side_shows_behind_what_was_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(!has_been_ended(accepted.as_fd()));
        peer.write_all(b"more").unwrap();
        assert!(!has_been_ended(accepted.as_fd()));
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let shows = || has_been_ended(accepted.as_fd());
        assert!((0..5000).any(|_| shows() || (std::thread::sleep(Duration::from_millis(1)), false).1));
    }

    #[test]
    fn what_a_peer_has_not_taken_is_known_of_sockets_and_of_nothing_else() {
        let (mut socket, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(untaken(socket.as_fd()), Some(0));
        socket.write_all(&[0; 100]).unwrap();
        assert!(untaken(socket.as_fd()).is_some_and(|bytes| bytes >= 100));
        io::Read::read_exact(&mut peer, &mut [0; 100]).unwrap();
        assert_eq!(untaken(socket.as_fd()), Some(0));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(untaken(file.as_fd()), None);
    }
}
