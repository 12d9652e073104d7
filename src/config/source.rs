//! The files that a configuration is read from: the only room here that touches the file system.

use std::io::Read as _;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the largest file that is read.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// The most files that one configuration can be made of.
pub const FILES_MAX: usize = 1024;

/// The most files that a pattern is expanded to, and that are looked at for it.
const MATCHES_MAX: usize = FILES_MAX;

/// A place in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the [`Sources`].
    pub file: usize,
    /// The offset of its first byte.
    pub start: usize,
    /// The offset after its last byte.
    pub end: usize,
}

impl Place {
    /// The place of a range of bytes.
    pub fn new(file: usize, range: Range<usize>) -> Place {
        Place { file, start: range.start, end: range.end }
    }
}

/// All files that were read, in the order in which they were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<Source>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path, as it was given, or relative to the file that includes it.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<str>,
}

impl Sources {
    /// The files.
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// The file that a place is in.
    pub fn file(&self, place: Place) -> Option<&Source> {
        self.files.get(place.file)
    }

    /// Where a place is, for a sentence: `FILE:LINE`.
    pub fn line(&self, place: Place) -> String {
        let Some(source) = self.file(place) else { return String::new() };
        let before = &source.text.as_bytes()[..place.start.min(source.text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("{}:{line}", source.path.display())
    }

    /// Adds a file; returns which one it is.
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.files.push(Source { path, text: text.into() });
        self.files.len() - 1
    }
}

/// Reads a text.
///
/// # Errors
/// Why it cannot be, as half a sentence: "cannot be read: …".
pub(super) fn text(path: &Path) -> Result<String, String> {
    let bytes = bytes(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes)
        .map_err(|error| format!("is no UTF-8: byte {}", error.utf8_error().valid_up_to() + 1))
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// Why it cannot be, as half a sentence.
pub(super) fn bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Opening a named pipe waits for somebody to write.
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(cannot)?;
    let kind = file.metadata().map_err(cannot)?.file_type();
    if !kind.is_file() {
        return Err(if kind.is_dir() { "is a directory" } else { "is no regular file" }.to_owned());
    }
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content).map_err(cannot)?;
    if content.len() as u64 > bytes_max {
        return Err(format!("is larger than {bytes_max} bytes"));
    }
    Ok(content)
}

/// What a path that a file says is for whoever reads it: relative paths start from the folder of that file.
pub(super) fn beside(file: &Path, path: impl AsRef<Path>) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// A path that does not depend on the current folder.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A path that is the same for the same file, as far as that can be found out.
pub(super) fn identity(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The files that a pattern in a file stands for, by name. One without `*`, `?` and `[` stands for that file, there
/// or not.
///
/// # Errors
/// It is no pattern, or stands for too many files.
pub(super) fn matches(file: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![beside(file, pattern)]);
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let whole = match Path::new(pattern).is_absolute() || folder.as_os_str().is_empty() {
        true => pattern.to_owned(),
        false => format!("{}/{pattern}", glob::Pattern::escape(&folder.to_string_lossy())),
    };
    let found = glob::glob(&whole).map_err(|error| format!("{pattern:?} is no pattern: {}", error.msg))?;
    let mut paths = Vec::new();
    for path in found {
        paths.push(path.map_err(|error| format!("{pattern:?} cannot be searched: {error}"))?);
        if paths.len() > MATCHES_MAX {
            return Err(format!("{pattern:?} stands for more than {MATCHES_MAX} files"));
        }
    }
    paths.sort();
    Ok(paths)
}
