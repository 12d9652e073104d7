//! Files that cores use what is in them, read again when they change: lists of networks, passwords.
//!
//! ```text
//!   reload: what the configuration follows ──▶ a thread, which looks once a second ──▶ the new content, for all cores
//!                                                      │ wrong, or gone                (no core hears of it: the
//!                                                      ▼                                next request finds it)
//!                                                   a note, once; the last good content stays
//! ```
//!
//! A file that changes may still be written to: what is in it is taken when it has looked the same at two looks running,
//! and still looks so after it was read. What was half-written is not taken in between.
//!
//! All files share the thread: one on a file system that hangs keeps the others from being read again, and nothing else.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::watched::{Stamp, Watched, shown};
use super::{Event, RunError, spawn};
use crate::config::source::FILE_BYTES_MAX;
use crate::proxy::Follow;
use crate::proxy::guard::message;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The thread that follows files. It ends when this value goes.
pub(super) struct Following {
    wanted: flume::Sender<Vec<Weak<dyn Follow>>>,
}

impl Following {
    /// Nothing is followed yet. What there is to tell comes as [`Event::Note`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(events: flume::Sender<Event>) -> Result<Following, RunError> {
        let (wanted, inbox) = flume::unbounded();
        spawn("files", move || {
            let mut files = Files::default();
            loop {
                match inbox.recv_timeout(LOOK) {
                    Ok(wanted) => files.adopt(wanted),
                    Err(flume::RecvTimeoutError::Timeout) => {}
                    Err(flume::RecvTimeoutError::Disconnected) => return,
                }
                for note in files.look() {
                    let _ = events.send(Event::Note(note));
                }
            }
        })?;
        Ok(Following { wanted })
    }

    /// From now on these files are followed, and no others.
    pub(super) fn adopt(&self, wanted: Vec<Weak<dyn Follow>>) {
        let _ = self.wanted.send(wanted);
    }
}

/// All files that are followed.
#[derive(Default)]
struct Files {
    all: Vec<One>,
}

/// One of them.
struct One {
    follow: Weak<dyn Follow>,
    file: Watched,
    /// What it looked like at the last look, if there was one: nothing where it was not there.
    seen: Option<Option<Stamp>>,
    /// Whether it has been seen to change since it was read.
    changed: bool,
    /// The hash of what was read last, and what came of it; none if all of it counts as new.
    read: Option<(u64, Result<(), String>)>,
    /// What was wrong when it was looked at last.
    wrong: Option<String>,
}

impl Files {
    /// Follows these, and no others. What was read with the configuration may be older than what was read here, so that
    /// all are read again.
    fn adopt(&mut self, wanted: Vec<Weak<dyn Follow>>) {
        let mut before = std::mem::take(&mut self.all);
        let one = |follow: Weak<dyn Follow>| {
            let known = before.iter_mut().find(|one| std::ptr::addr_eq(one.follow.as_ptr(), follow.as_ptr()));
            let file = Watched::new(follow.upgrade()?.path().to_owned());
            Some(One {
                follow,
                file,
                seen: None,
                changed: false,
                read: None,
                wrong: known.and_then(|one| one.wrong.take()),
            })
        };
        self.all = wanted.into_iter().filter_map(one).collect();
    }

    /// Looks at all of them. What there is to tell.
    fn look(&mut self) -> Vec<String> {
        // What no core uses any more needs no look.
        self.all.retain(|one| one.follow.strong_count() > 0);
        self.all.iter_mut().filter_map(One::look).collect()
    }
}

impl One {
    fn look(&mut self) -> Option<String> {
        let follow = self.follow.upgrade()?;
        let seen = self.file.look();
        let before = self.seen.replace(seen);
        let is_steady = before == Some(seen);
        self.changed |= before.is_some() && !is_steady;
        if !is_steady || !self.file.differs(seen) {
            return None;
        }
        let text = self.file.read(usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX));
        if self.file.look() != seen {
            return None;
        }
        let changed = std::mem::take(&mut self.changed);
        let (first, path) = (self.read.is_none(), self.file.path().display().to_string());
        let (listed, what) = follow.lists();
        let taken = text.and_then(|text| self.take(&follow, &text));
        let lists = follow.lists().0;
        match (taken, self.wrong.take()) {
            (Ok(false), None) => None,
            (Ok(_), was_wrong) => {
                let tells = !first || was_wrong.is_some() || changed;
                let counts = || format!("{lists} {what}, {listed} before");
                tells.then(|| format!("{path} has changed, and was read again: {}", counts()))
            }
            (Err(why), before) => {
                let told = before.as_ref() == Some(&why);
                self.wrong = Some(why.clone());
                let note = || shown(&format!("{path}: {why}; what was read of it before still holds"));
                (!told).then(note)
            }
        }
    }

    /// Takes what is in the file, and says whether there was something new in it.
    fn take(&mut self, follow: &Arc<dyn Follow>, text: &str) -> Result<bool, String> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some((_, came)) = self.read.as_ref().filter(|(known, _)| *known == hash) {
            return came.clone().map(|()| false);
        }
        let take = || follow.take(text);
        let taken = catch_unwind(AssertUnwindSafe(take))
            .unwrap_or_else(|panic| Err(format!("reading it panicked: {}", message(&*panic))));
        self.read = Some((hash, taken.clone()));
        taken.map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::clock::Clock;
    use crate::proxy::{Entries, Followed};
    use crate::server::watched::SETTLED;

    /// A folder that goes away at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let name = format!("ringway-files-{}-{:x}", std::process::id(), fastrand::u64(..));
            let folder = Folder(std::env::temp_dir().join(name));
            std::fs::create_dir(&folder.0).unwrap();
            folder
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            std::fs::write(self.0.join(name), text).unwrap();
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Lets a file look as if nobody had touched it for a while.
    fn settle(path: &Path) {
        let then = Clock::default().wall() - 10 * SETTLED;
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    impl Entries for u32 {
        const NAME: &'static str = "things";
        const MAY_BE_LOST: bool = false;

        fn count(&self) -> usize {
            usize::try_from(*self).unwrap()
        }
    }

    fn number(text: &str) -> Result<u32, String> {
        assert_ne!(text, "panic");
        text.trim().parse().map_err(|_| "line 1: is no number".to_owned())
    }

    fn followed(path: &Path) -> Arc<Followed<u32>> {
        Arc::new(Followed::new(path.to_owned(), Arc::new(0), number))
    }

    fn weak(one: &Arc<Followed<u32>>) -> Weak<dyn Follow> {
        let weak: Weak<Followed<u32>> = Arc::downgrade(one);
        weak
    }

    fn following(all: &[&Arc<Followed<u32>>]) -> Files {
        let mut files = Files::default();
        files.adopt(all.iter().map(|one| weak(one)).collect());
        files
    }

    /// What is told by two looks, of which the second finds what is there as the first has.
    fn looks(files: &mut Files) -> Vec<String> {
        let first = files.look();
        first.into_iter().chain(files.look()).collect()
    }

    #[test]
    fn what_is_still_written_is_not_taken() {
        let folder = Folder::new();
        let path = folder.write("a", "1");
        let one = followed(&path);
        let mut files = following(&[&one]);
        looks(&mut files);
        // Truncated, then half of it, then all: three looks come between.
        for part in ["", "2", "23"] {
            folder.write("a", part);
            assert!(files.look().is_empty(), "{part}");
            assert_eq!(**one.now(), 1, "{part}");
        }
        assert_eq!((files.look().len(), **one.now()), (1, 23));
        // A file that goes and comes back is not missed.
        std::fs::remove_file(&path).unwrap();
        assert!(files.look().is_empty());
        folder.write("a", "4");
        assert!(files.look().is_empty() && files.look().len() == 1 && **one.now() == 4);
        // Nor is one taken at once that is being written when a configuration comes.
        folder.write("a", "5");
        files.adopt(vec![weak(&one)]);
        assert!(files.look().is_empty());
        folder.write("a", "56");
        assert!(files.look().is_empty() && **one.now() == 4);
        assert_eq!((files.look().len(), **one.now()), (1, 56));
    }

    #[test]
    fn what_has_changed_is_read_again_and_said_once() {
        let folder = Folder::new();
        let path = folder.write("a", "1");
        let one = followed(&path);
        let mut files = following(&[&one]);
        assert_eq!((looks(&mut files), **one.now()), (Vec::new(), 1), "the first reading is no news");
        assert!(looks(&mut files).is_empty());
        folder.write("a", "2");
        let said = looks(&mut files);
        assert_eq!((said.len(), **one.now()), (1, 2), "{said:?}");
        assert!(said[0].ends_with("/a has changed, and was read again: 2 things, 1 before"), "{said:?}");
        // The same again is no news.
        folder.write("a", "2");
        assert!(looks(&mut files).is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_once_and_the_last_good_content_stays() {
        let folder = Folder::new();
        let path = folder.write("a", "1");
        let one = followed(&path);
        let mut files = following(&[&one]);
        looks(&mut files);
        for (wrong, why) in [("x", "line 1: is no number"), ("panic", "panicked"), ("y", "no number")] {
            folder.write("a", wrong);
            let said = looks(&mut files);
            assert!(said.len() == 1 && said[0].contains(why) && said[0].ends_with("still holds"), "{said:?}");
            assert!(looks(&mut files).is_empty() && **one.now() == 1);
            settle(&path);
            assert!(looks(&mut files).is_empty());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(looks(&mut files)[0].contains("No such file"));
        assert!(looks(&mut files).is_empty() && **one.now() == 1);
        folder.write("a", "3");
        assert_eq!((looks(&mut files).len(), **one.now()), (1, 3));
        // It went away and came back as it was.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(looks(&mut files).len(), 1);
        folder.write("a", "3");
        assert_eq!((looks(&mut files).len(), looks(&mut files).len()), (1, 0));
    }

    #[test]
    fn a_list_that_has_lost_everything_is_wrong_unless_it_says_so() {
        let folder = Folder::new();
        let path = folder.write("a", "3");
        let one = followed(&path);
        let mut files = following(&[&one]);
        looks(&mut files);
        folder.write("a", "0");
        let said = looks(&mut files);
        assert!(said.len() == 1 && said[0].contains("has no things any more"), "{said:?}");
        assert!(looks(&mut files).is_empty() && **one.now() == 3);
        folder.write("a", "4");
        let said = looks(&mut files);
        assert!(said.len() == 1 && said[0].ends_with(": 4 things, 3 before"), "{said:?}");
    }

    #[test]
    fn pipes_and_devices_and_folders_are_not_opened() {
        let folder = Folder::new();
        let pipe = folder.0.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe, PathBuf::from("/dev/zero"), folder.0.clone()] {
            let one = followed(&path);
            let said = looks(&mut following(&[&one]));
            assert!(said.len() == 1 && said[0].contains("is no regular file"), "{said:?}");
        }
    }

    #[test]
    fn a_new_configuration_reads_everything_again_and_repeats_no_complaint() {
        let folder = Folder::new();
        let (path, bad) = (folder.write("a", "1"), folder.write("b", "x"));
        settle(&path);
        let (one, other) = (followed(&path), followed(&bad));
        let mut files = following(&[&one, &other]);
        assert_eq!(looks(&mut files).len(), 1);
        // The configuration was read before that, and takes its place after it.
        one.take("7").unwrap();
        files.adopt(vec![weak(&one), weak(&other)]);
        assert_eq!((looks(&mut files), **one.now()), (Vec::new(), 1));
        // What nobody uses any more is not followed.
        drop(other);
        assert!(looks(&mut files).is_empty() && files.all.len() == 1);
    }

    #[test]
    fn the_thread_tells_what_it_sees() {
        let folder = Folder::new();
        let path = folder.write("a", "x");
        let (events, inbox) = flume::unbounded();
        let following = Following::start(events).unwrap();
        let one = followed(&path);
        following.adopt(vec![weak(&one)]);
        let note = |inbox: &flume::Receiver<Event>| match inbox.recv_timeout(Duration::from_secs(20)) {
            Ok(Event::Note(note)) => note,
            _ => panic!("there is no note"),
        };
        assert!(note(&inbox).contains("is no number"));
        folder.write("a", "4");
        assert!(note(&inbox).contains("was read again") && **one.now() == 4);
        drop(following);
        assert!(inbox.recv_timeout(Duration::from_secs(20)).is_err(), "the thread ends");
    }
}
