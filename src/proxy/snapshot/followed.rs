//! What is read from a file, and read again when the file changes, while cores use it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// What a file says, as of its last reading that made sense.
pub(crate) struct Followed<T> {
    path: PathBuf,
    now: ArcSwap<T>,
    parse: fn(&str) -> Result<T, String>,
}

/// Something that follows a file.
pub(crate) trait Follow: Send + Sync {
    /// The file.
    fn path(&self) -> &Path;

    /// Takes what is in it now.
    ///
    /// # Errors
    /// What is wrong with it, with the line; then all stays as it was.
    fn take(&self, text: &str) -> Result<(), String>;
}

impl<T> Followed<T> {
    /// What was read when the configuration was.
    pub(crate) fn new(path: PathBuf, first: Arc<T>, parse: fn(&str) -> Result<T, String>) -> Followed<T> {
        Followed { path, now: ArcSwap::new(first), parse }
    }

    /// What the file says. It costs a few nanoseconds, and takes no lock.
    pub(crate) fn now(&self) -> Guard<Arc<T>> {
        self.now.load()
    }

    /// Takes the place of what it said.
    pub(super) fn replace(&self, new: Arc<T>) {
        // Whoever reads the old one lets go of it soon; it is freed here.
        drop(self.now.swap(new));
    }
}

impl<T: Send + Sync> Follow for Followed<T> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn take(&self, text: &str) -> Result<(), String> {
        (self.parse)(text).map(|new| self.replace(Arc::new(new)))
    }
}
