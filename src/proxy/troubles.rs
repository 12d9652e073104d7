//! What goes wrong with content that is held, told once in a while: somebody has to see why requests are refused, but not
//! a line for each of them.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use flume::{Receiver, Sender};

use crate::net::disk;

/// After something was told, it is not told again for a minute.
const QUIET_TICKS: u32 = 600;

/// What there may be to tell at once: one of each kind.
const KINDS: usize = 4;

/// Why content cannot be held.
pub(super) enum Trouble<'a> {
    /// No file can be made in that directory, or it cannot be written or read.
    Disk(&'a Path, &'a io::Error),
    /// The disk of that directory takes too long.
    Slow(&'a Path),
    /// There are as many files as there may be.
    Files,
    /// All together would be more than so many bytes.
    Total(u64),
}

impl Trouble<'_> {
    /// What a failure of a disk is.
    pub(super) fn of<'a>(directory: &'a Path, error: &'a io::Error) -> Trouble<'a> {
        match error.kind() {
            disk::NO_PLACE => Trouble::Files,
            io::ErrorKind::TimedOut => Trouble::Slow(directory),
            _ => Trouble::Disk(directory, error),
        }
    }

    fn kind(&self) -> usize {
        match self {
            Trouble::Disk(..) => 0,
            Trouble::Slow(_) => 1,
            Trouble::Files => 2,
            Trouble::Total(_) => 3,
        }
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("content of requests cannot be held: ")?;
        match self {
            Trouble::Disk(directory, error) => write!(f, "files in {}: {error}", directory.display()),
            Trouble::Slow(directory) => write!(f, "the disk of {} takes too long", directory.display()),
            Trouble::Files => f.write_str("there are as many files as the limit on open files has room for"),
            Trouble::Total(bytes) => write!(f, "all together would be more than {bytes} bytes (`total`)"),
        }
    }
}

/// See the module. All cores share one.
pub(crate) struct Troubles {
    /// Ticks for which nothing of a kind is told.
    quiet: [AtomicU32; KINDS],
    tell: Sender<String>,
    told: Receiver<String>,
}

impl Default for Troubles {
    fn default() -> Troubles {
        let (tell, told) = flume::bounded(KINDS);
        Troubles { quiet: Default::default(), tell, told }
    }
}

impl Troubles {
    /// Something went wrong. What it was is only written down if it is told.
    pub(super) fn note(&self, trouble: &Trouble<'_>) {
        let is_news = |left| (left == 0).then_some(QUIET_TICKS);
        if self.quiet[trouble.kind()].fetch_update(Relaxed, Relaxed, is_news).is_ok() {
            // There is room for one of each kind.
            let _ = self.tell.try_send(trouble.to_string());
        }
    }

    /// A tick is over.
    pub(super) fn tick(&self) {
        for quiet in &self.quiet {
            let _ = quiet.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        }
    }

    /// What is to be told now, one after the other.
    pub(super) fn tell(&self) -> Option<String> {
        self.told.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_in_a_while() {
        let (troubles, directory) = (Troubles::default(), Path::new("/tmp"));
        let full = io::Error::from_raw_os_error(28);
        for _ in 0..3 {
            troubles.note(&Trouble::of(directory, &full));
            troubles.note(&Trouble::of(directory, &io::ErrorKind::TimedOut.into()));
            troubles.note(&Trouble::of(directory, &disk::NO_PLACE.into()));
            troubles.note(&Trouble::Total(100));
        }
        let told: Vec<String> = std::iter::from_fn(|| troubles.tell()).collect();
        assert_eq!(told.len(), KINDS, "{told:?}");
        assert!(told[0].contains("files in /tmp: ") && told[0].contains("os error 28"), "{told:?}");
        (1..QUIET_TICKS).for_each(|_| troubles.tick());
        troubles.note(&Trouble::Total(100));
        assert_eq!(troubles.tell(), None);
        troubles.tick();
        troubles.note(&Trouble::Total(100));
        assert!(troubles.tell().unwrap().ends_with("more than 100 bytes (`total`)"));
    }
}
