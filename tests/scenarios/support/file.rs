//! Files for the proxy, in the folder for what is temporary.

use std::path::PathBuf;

/// A path that is nobody's yet.
pub(crate) fn place(ending: &str) -> PathBuf {
    let name = format!("ringway-scenario-{}-{:x}.{ending}", std::process::id(), fastrand::u64(..));
    std::env::temp_dir().join(name)
}

/// A file of configuration that goes away at the end.
pub(crate) struct File(PathBuf);

impl File {
    pub(crate) fn new(text: &str) -> File {
        let path = place("toml");
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
