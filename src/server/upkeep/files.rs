//! The files that are followed. Each is read by a thread of its own, one look after the other: a file system that is
//! far away can keep whoever reads waiting, and must keep nobody else.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::follow::Follower;
use super::watch::Finding;
use crate::proxy::guard::message;
use crate::server::spawn;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Files {
    following: HashMap<PathBuf, Following>,
    /// When all are looked at next.
    look: Duration,
    tell: flume::Sender<Finding>,
}

/// A file with a thread, which ends when this value goes and it does not read.
struct Following {
    looks: flume::Sender<()>,
    /// It reads.
    busy: bool,
    /// The file is not wanted any more, or was not for a while: the thread ends when it has read.
    left: bool,
}

impl Files {
    /// Nothing is followed yet. What is read is told as [`Finding::List`].
    pub(super) fn new(tell: flume::Sender<Finding>) -> Files {
        Files { following: HashMap::new(), look: Duration::ZERO, tell }
    }

    /// Follows these files, and no others; those that are new are looked at at once.
    pub(super) fn follow<'a>(&mut self, wanted: impl Iterator<Item = &'a PathBuf>, now: Duration) {
        let wanted: HashSet<&PathBuf> = wanted.collect();
        self.following.retain(|path, following| {
            following.left |= !wanted.contains(path);
            following.busy || !following.left
        });
        let all = self.look <= now;
        if all {
            self.look = now + LOOK;
        }
        for path in wanted {
            let Some(following) = self.following.get_mut(path) else {
                let begun = self.begin(path);
                self.following.insert(path.clone(), begun);
                continue;
            };
            if all && !following.busy {
                following.busy = following.looks.send(()).is_ok();
                // Its thread could not be started.
                following.left |= !following.busy;
            }
        }
    }

    /// Takes note that a look has ended.
    pub(super) fn looked(&mut self, path: &PathBuf) {
        if let Some(following) = self.following.get_mut(path) {
            following.busy = false;
        }
    }

    /// When something has to be looked at; none if there is nothing.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.following.is_empty()).then_some(self.look)
    }

    /// Starts the thread of a file, with its first look.
    fn begin(&self, path: &Path) -> Following {
        let (looks, inbox) = flume::unbounded();
        // It is there to be received.
        let _ = looks.send(());
        let (tell, mut follower, own) = (self.tell.clone(), Follower::new(path.to_owned()), path.to_owned());
        let reading = move || {
            while inbox.recv().is_ok() {
                let list = catch_unwind(AssertUnwindSafe(|| follower.look())).unwrap_or_else(|panic| {
                    Some(Err(format!("{}: reading it panicked: {}", own.display(), message(&*panic))))
                });
                if tell.send(Finding::List(own.clone(), list)).is_err() {
                    return;
                }
            }
        };
        let started = spawn("list", reading);
        if let Err(why) = &started {
            let why = format!("{}: {why}", path.display());
            let _ = self.tell.send(Finding::List(path.to_owned(), Some(Err(why))));
        }
        Following { looks, busy: started.is_ok(), left: false }
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
