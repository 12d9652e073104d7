//! The file of a Unix socket: who may have left it there, and that it goes away again.
//!
//! A path in a folder that others can write to may be anything, so it is looked at without following
//! links, and only a socket of our own user that nobody answers at is ever removed. Whoever connects is
//! known by its credentials, not by having found the file.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::net::listener::BACKLOG;

/// What a socket is for.
#[derive(Debug)]
pub(super) struct Purpose {
    /// What it is called where it cannot be had.
    what: &'static str,
    /// What to do then.
    cure: &'static str,
    /// Who may connect, as far as the umask of the process lets them.
    mode: u32,
    /// Connections that may wait to be accepted.
    backlog: i32,
}

/// Orders come in by it: only the owner may connect.
pub(super) const ADMIN: Purpose =
    Purpose { what: "admin socket", cure: "choose another --admin", mode: 0o600, backlog: 64 };

/// Clients come in by it.
pub(super) const CLIENTS: Purpose =
    Purpose { what: "socket", cure: "choose another address to listen on", mode: 0o666, backlog: BACKLOG };

/// How often, and after which pause, another proxy that is just starting is waited for.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A socket's file. It goes away with this value, unless something else has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity) {
            // It stays when it cannot be removed; the next proxy finds out that nobody answers there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at that path, in place of a proxy that left its file behind.
///
/// # Errors
/// One line that names the cause and the cure.
pub(super) fn listen(path: &Path, purpose: &Purpose) -> Result<(UnixListener, SocketFile), String> {
    let shown = path.display();
    let Purpose { what, cure, .. } = purpose;
    let address = SockAddr::unix(path)
        .map_err(|_| format!("the path of the {what} is too long (107 bytes at most): {shown}; {cure}"))?;
    let _lock = lock(path);
    make_room(path, &address, purpose)?;
    bind(path, &address, purpose).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => format!("no permission to make the {what} {shown}; {cure}"),
        io::ErrorKind::NotFound => format!("the folder of the {what} {shown} is missing; make it or {cure}"),
        _ => format!("cannot make the {what} {shown}: {error}; {cure}"),
    })
}

fn bind(path: &Path, address: &SockAddr, purpose: &Purpose) -> io::Result<(UnixListener, SocketFile)> {
    let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
    // Linux gives the file the mode that the socket has when it is bound: no one else can slip in
    // before the file's own mode could be changed.
    socket.set_permissions(fs::Permissions::from_mode(purpose.mode))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(address)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(&fs::symlink_metadata(path)?) };
    socket.listen(purpose.backlog)?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), file))
}

/// Removes the socket of a proxy that is no more, and nothing else.
fn make_room(path: &Path, address: &SockAddr, purpose: &Purpose) -> Result<(), String> {
    let shown = path.display();
    let Purpose { what, cure, .. } = purpose;
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot look at {shown}: {error}; {cure}")),
    };
    if !found.file_type().is_socket() {
        return Err(format!("{shown} exists and is no socket; remove it or {cure}"));
    }
    let us = rustix::process::geteuid().as_raw();
    if found.uid() != us {
        return Err(format!("the socket {shown} belongs to user {}, not to {us}; {cure}", found.uid()));
    }
    match answers(address) {
        Ok(false) => fs::remove_file(path)
            .map_err(|error| format!("cannot replace the old socket {shown}: {error}; remove it")),
        Ok(true) => Err(format!("another process answers at the {what} {shown}; {cure}")),
        Err(error) => Err(format!("cannot tell whether a proxy answers at {shown}: {error}; {cure}")),
    }
}

/// Whether somebody listens there.
fn answers(address: &SockAddr) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            // As many wait there as may: someone listens.
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused => Ok(false),
            _ => Err(error),
        },
    }
}

/// Keeps two proxies that start at once from removing each other's socket. Where the folder cannot be
/// locked they may, and the one that was removed can no longer be called; nothing worse.
fn lock(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder).ok()?;
    for _ in 0..LOCK_TRIES {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that goes away at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let path =
                std::env::temp_dir().join(format!("ringway-{}-{:x}", std::process::id(), fastrand::u64(..)));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_socket_is_for_its_owner_alone_and_goes_away() {
        let folder = Folder::new();
        let path = folder.at("s");
        let (listener, file) = listen(&path, &ADMIN).unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
        drop(listener);
    }

    #[test]
    fn a_socket_for_clients_is_for_whom_the_umask_lets() {
        let folder = Folder::new();
        let path = folder.at("s");
        let _open = listen(&path, &CLIENTS).unwrap();
        // What the umask leaves of a plain file, which is made with the same mode.
        fs::write(folder.at("file"), "").unwrap();
        let mode = |name| fs::symlink_metadata(folder.at(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("s"), mode("file"));
    }

    #[test]
    fn the_socket_of_the_dead_is_replaced_and_that_of_the_living_is_not() {
        let folder = Folder::new();
        let path = folder.at("s");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, file) = listen(&path, &ADMIN).unwrap();
        let refusal = listen(&path, &CLIENTS).unwrap_err();
        assert!(refusal.contains("another process answers") && !refusal.contains("admin"), "{refusal}");
        // What has taken its place is not removed.
        fs::rename(&path, folder.at("old")).unwrap();
        fs::write(&path, "").unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn nothing_but_a_socket_is_ever_replaced() {
        let folder = Folder::new();
        fs::write(folder.at("file"), "kept").unwrap();
        drop(UnixListener::bind(folder.at("dead")).unwrap());
        std::os::unix::fs::symlink(folder.at("dead"), folder.at("link")).unwrap();
        fs::create_dir(folder.at("folder")).unwrap();
        for name in ["file", "link", "folder"] {
            assert!(listen(&folder.at(name), &ADMIN).unwrap_err().contains("is no socket"), "{name}");
        }
        assert_eq!(fs::read_to_string(folder.at("file")).unwrap(), "kept");
        assert!(fs::symlink_metadata(folder.at("dead")).is_ok());
    }

    #[test]
    fn a_path_that_cannot_be_is_named_with_its_cure() {
        let folder = Folder::new();
        for (path, named) in [(folder.at("none/s"), "is missing"), (folder.at(&"s".repeat(200)), "too long")]
        {
            let error = listen(&path, &ADMIN).unwrap_err();
            assert!(error.contains(named) && error.contains("--admin") && !error.contains('\n'), "{error}");
        }
    }
}
