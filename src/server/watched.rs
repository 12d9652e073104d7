//! A file that somebody else writes while the proxy runs: whether it has changed, and what is in it.
//!
//! Only regular files are opened, and none is read without a bound. Whoever writes such a file replaces it as a whole,
//! by renaming another or by changing a symbolic link: what is written in place may be read half-written.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::KIB;

/// A file that has changed so recently may change again without looking different: times in file systems are coarse.
pub(super) const SETTLED: Duration = Duration::from_secs(2);

/// Characters of the longest message.
pub(super) const MESSAGE_CHARS_MAX: usize = 400;

/// See the module.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    /// What the file looked like when it was read last; none if it has to be read again.
    stamp: Option<Stamp>,
    clock: Clock,
}

/// Whether a file is still the same, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// When its content changed, and when anything about it did; in seconds and nanoseconds since 1970.
    times: [(i64, i64); 2],
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        Stamp {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            times: [(file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())],
        }
    }
}

impl Watched {
    /// Nothing has been read yet.
    pub(super) fn new(path: PathBuf) -> Watched {
        Watched { path, stamp: None, clock: Clock::default() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it looks like now; none where that cannot be told. Never waits for more than a local disk.
    pub(super) fn look(&self) -> Option<Stamp> {
        std::fs::metadata(&self.path).map(|file| Stamp::of(&file)).ok()
    }

    /// Whether it may say something else than when it was read last, where it looks like this.
    pub(super) fn differs(&self, seen: Option<Stamp>) -> bool {
        seen.is_none() || seen != self.stamp
    }

    /// Whether it may say something else now than when it was read last.
    pub(super) fn may_have_changed(&self) -> bool {
        self.differs(self.look())
    }

    /// What is in it, up to `bytes_max` bytes.
    ///
    /// # Errors
    /// Why it cannot be read, as half a sentence; it is read again then.
    pub(super) fn read(&mut self, bytes_max: usize) -> Result<String, String> {
        self.stamp = None;
        let (file, metadata) = self.open()?;
        let mut bytes = Vec::new();
        let bound = bytes_max as u64 + 1;
        file.take(bound).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
        if bytes.len() > bytes_max {
            return Err(format!("is larger than {} KiB", bytes_max / KIB));
        }
        let age = metadata.modified().ok().and_then(|then| self.clock.wall().duration_since(then).ok());
        self.stamp = age.filter(|age| *age > SETTLED).map(|_| Stamp::of(&metadata));
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("{}: is no UTF-8", line_of(error.as_bytes(), at))
        })
    }

    /// Opens a regular file, and nothing else: opening a pipe would wait for whoever writes to it, and opening a
    /// device can do anything.
    fn open(&self) -> Result<(File, Metadata), String> {
        let failed = |error| format!("cannot be read: {error}");
        let regular = |metadata: Metadata| match metadata.is_file() {
            true => Ok(metadata),
            false => Err("is no regular file".to_owned()),
        };
        regular(std::fs::metadata(&self.path).map_err(failed)?)?;
        // It may be another one by now.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&self.path);
        let file = file.map_err(failed)?;
        let metadata = regular(file.metadata().map_err(failed)?)?;
        Ok((file, metadata))
    }
}

/// The line that a byte is in, as it is said.
pub(super) fn line_of(text: &[u8], at: usize) -> String {
    format!("line {}", 1 + text.iter().take(at).filter(|byte| **byte == b'\n').count())
}

/// A message that quotes what somebody else wrote, on one line and not too long.
pub(super) fn shown(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS_MAX).collect()
}
