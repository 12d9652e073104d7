//! Files that hold content for a while. A disk may take its time, and one that hangs takes all of it; so threads of
//! their own read and write, and a core only waits, as it waits for a socket. That is the same with each driver.
//!
//! A file has no name, so that nothing is left of it once it is closed, however the process ends. It is closed by those
//! threads too: to give a large file back takes a disk a while. There are only so many at once, over all cores, for each
//! takes a descriptor.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use flume::Sender;

use super::sys;

/// So many threads wait for disks.
const THREADS: usize = 4;

/// A disk that takes longer for one piece has failed.
const PIECE_TIME_MAX: Duration = Duration::from_secs(30);

/// Of so many descriptors of the process one may be such a file.
const DESCRIPTORS_PER_FILE: u64 = 8;

/// What it is that there are as many files as there may be.
pub(crate) const NO_PLACE: ErrorKind = ErrorKind::ResourceBusy;

/// How many files there may be at once, of so many descriptors.
pub(crate) fn files_max(descriptors: u64) -> u64 {
    descriptors / DESCRIPTORS_PER_FILE
}

/// How many descriptors there have to be, that so many are left beside such files.
pub(crate) fn descriptors_beside_files(left: u64) -> u64 {
    (left * DESCRIPTORS_PER_FILE).div_ceil(DESCRIPTORS_PER_FILE - 1)
}

/// What a thread is to do.
type Work = Box<dyn FnOnce() + Send>;

/// The threads that wait for disks, for all cores. They end with it.
pub(crate) struct Disk {
    work: Sender<Work>,
    /// How many files are open.
    files: Arc<AtomicU64>,
}

/// One of the files there may be, until it is dropped.
struct Place(Arc<AtomicU64>);

impl Place {
    /// None if all are taken.
    fn take(files: &Arc<AtomicU64>, most: u64) -> Option<Place> {
        let more = |files| (files < most).then_some(files + 1);
        files.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(files.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that is open, and its place, which is free once it is closed.
struct Open {
    file: File,
    _place: Place,
}

impl Disk {
    /// Starts the threads. Not to be called on a core: they would be pinned to it.
    pub(crate) fn new() -> Disk {
        let (work, waiting) = flume::unbounded::<Work>();
        for _ in 0..THREADS {
            let waiting = waiting.clone();
            let thread = thread::Builder::new().name("ringway-disk".to_owned());
            // Where none can be started, whatever is asked of them fails.
            let _started = thread.spawn(move || waiting.into_iter().for_each(|work| work()));
        }
        Disk { work, files: Arc::default() }
    }

    /// A new file in that directory, without a name.
    ///
    /// # Errors
    /// What the kernel says, or it takes too long, or there are as many as there may be ([`NO_PLACE`]).
    pub(crate) async fn create(self: &Arc<Self>, directory: Arc<Path>) -> io::Result<Scratch> {
        let place = Place::take(&self.files, files_max(sys::descriptor_limit()));
        let place = place.ok_or(NO_PLACE)?;
        let open = move || Ok(Arc::new(Open { file: tempfile::tempfile_in(&directory)?, _place: place }));
        let file = self.run(open).await?;
        Ok(Scratch { file: Some(file), length: 0, disk: self.clone() })
    }

    /// Has work done that may take a while. Whoever stops waiting leaves it to itself.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (told, result) = flume::bounded(1);
        let work: Work = Box::new(move || drop(told.send(work())));
        self.work.send(work).map_err(|_| ErrorKind::BrokenPipe)?;
        let result = monoio::time::timeout(PIECE_TIME_MAX, result.into_recv_async()).await;
        result.map_err(|_| ErrorKind::TimedOut)?.map_err(|_| ErrorKind::BrokenPipe)?
    }
}

/// A file without a name, which grows at its end and is read anywhere.
pub(crate) struct Scratch {
    /// Always there, until it is dropped.
    file: Option<Arc<Open>>,
    length: u64,
    disk: Arc<Disk>,
}

impl Scratch {
    /// How many bytes were written.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Writes bytes at the end, and gives their memory back, empty.
    ///
    /// # Errors
    /// What the kernel says (`ENOSPC`, `EIO`), or it takes too long. Nothing is to be written after that.
    pub(crate) async fn append(&mut self, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let (file, at, count) = (self.file(), self.length, bytes.len());
        let work = move || {
            file?.file.write_all_at(&bytes, at)?;
            bytes.clear();
            Ok(bytes)
        };
        let bytes = self.disk.run(work).await?;
        self.length += count as u64;
        Ok(bytes)
    }

    /// Reads from that place on, at most `most` bytes, and not beyond the end, into memory that is given.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn read(&self, at: u64, most: usize, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
        let file = self.file();
        let work = move || {
            bytes.resize(most.min(left), 0);
            file?.file.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        };
        self.disk.run(work).await
    }

    fn file(&self) -> io::Result<Arc<Open>> {
        self.file.clone().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let file = self.file.take();
        // Without threads there is nobody else to close it.
        let _closed_there = self.disk.work.send(Box::new(move || drop(file)));
    }
}

#[cfg(test)]
mod tests {
    use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

    use super::*;

    fn on_each_driver<F: Future<Output = ()>>(test: impl Fn() -> F) {
        if let Ok(mut runtime) = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build() {
            runtime.block_on(test());
        }
        RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().unwrap().block_on(test());
    }

    #[test]
    fn what_was_written_is_read_back_from_anywhere() {
        on_each_driver(|| async {
            let disk = Arc::new(Disk::new());
            let mut scratch = disk.create(std::env::temp_dir().into()).await.unwrap();
            for piece in [&b"one"[..], b"", b"two", b"three"] {
                let back = scratch.append(piece.to_vec()).await.unwrap();
                assert!(back.is_empty());
            }
            assert_eq!(scratch.length(), 11);
            for (at, most, want) in
                [(0, 100, &b"onetwothree"[..]), (3, 3, b"two"), (11, 5, b""), (99, 5, b""), (10, 5, b"e")]
            {
                assert_eq!(scratch.read(at, most, vec![1; 7]).await.unwrap(), want);
            }
        });
    }

    #[test]
    fn a_place_that_is_none_is_an_error() {
        on_each_driver(|| async {
            let disk = Arc::new(Disk::new());
            let none = disk.create(Path::new("/proc/self/nothing").into()).await;
            assert!(none.is_err());
            assert_eq!(disk.files.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn who_leaves_while_a_disk_takes_its_time_leaves_nothing_behind() {
        on_each_driver(|| async {
            let disk = Arc::new(Disk::new());
            let mut scratch = disk.create(std::env::temp_dir().into()).await.unwrap();
            let (open, gate) = flume::bounded::<()>(0);
            for _ in 0..THREADS {
                let gate = gate.clone();
                disk.work
                    .send(Box::new(move || {
                        let _opened = gate.recv();
                    }))
                    .unwrap();
            }
            let soon = Duration::from_millis(30);
            assert!(monoio::time::timeout(soon, scratch.append(vec![1; 1000])).await.is_err());
            assert!(monoio::time::timeout(soon, disk.create(std::env::temp_dir().into())).await.is_err());
            drop(scratch);
            assert_eq!(disk.files.load(Ordering::Relaxed), 2, "their places are taken until they are closed");
            drop(open);
            for _ in 0..1000 {
                if disk.files.load(Ordering::Relaxed) == 0 {
                    return;
                }
                monoio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("a file stays open");
        });
    }

    #[test]
    fn there_are_only_so_many_files() {
        let files = Arc::new(AtomicU64::new(0));
        let two = (Place::take(&files, 2), Place::take(&files, 2));
        assert!(two.0.is_some() && two.1.is_some() && Place::take(&files, 2).is_none());
        drop(two.0);
        assert!(Place::take(&files, 2).is_some() && files.load(Ordering::Relaxed) == 1);
        drop(two.1);
        assert!(files.load(Ordering::Relaxed) == 0 && Place::take(&files, 0).is_none());
    }

    #[test]
    fn a_file_is_gone_once_nobody_holds_it() {
        on_each_driver(|| async {
            let directory = tempfile::tempdir().unwrap();
            let disk = Arc::new(Disk::new());
            let mut scratch = disk.create(directory.path().into()).await.unwrap();
            scratch.append(vec![1; 100]).await.unwrap();
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has no name");
            let weak = Arc::downgrade(scratch.file.as_ref().unwrap());
            drop(scratch);
            for _ in 0..1000 {
                if weak.strong_count() == 0 {
                    assert_eq!(disk.files.load(Ordering::Relaxed), 0);
                    return;
                }
                monoio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("the file stays open");
        });
    }
}
