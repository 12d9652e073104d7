//! A proxy whose configuration file the scenario rewrites while it runs.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Mutex;

use super::cache::status;
use super::proxy::{Proxy, Run, Setup};
use super::{Driver, Signal, eventually};

/// A folder that goes away at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let name = format!("ringway-reload-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.at(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The name of the configuration file in its folder.
const FILE: &str = "ringway.toml";

/// See the module.
pub(crate) struct Live {
    proxy: Proxy,
    pub(crate) folder: Folder,
}

impl Deref for Live {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.proxy
    }
}

impl Live {
    /// A proxy with so many workers and that file, on a free port of loopback.
    pub(crate) fn start(driver: Driver, cores: usize, text: &str) -> Live {
        Live::with(Setup::new(driver).cores(cores), text, false)
    }

    /// The same, where the file says where it listens.
    pub(crate) fn listening(driver: Driver, cores: usize, text: &str) -> Live {
        Live::with(Setup::new(driver).cores(cores), text, true)
    }

    /// That proxy, with that file.
    pub(crate) fn with(setup: Setup, text: &str, listens_by_file: bool) -> Live {
        let folder = Folder::new();
        folder.write(FILE, text);
        let path = folder.path(FILE);
        let setup = setup.admin();
        let setup =
            if listens_by_file { setup.listening_by(&path) } else { setup.args(&["--config", &path]) };
        Live { proxy: setup.start(), folder }
    }

    /// The path of the file.
    pub(crate) fn file(&self) -> String {
        self.folder.path(FILE)
    }

    /// Writes the file anew.
    pub(crate) fn write(&self, text: impl AsRef<[u8]>) {
        self.folder.write(FILE, text);
    }

    /// `ringway reload`.
    pub(crate) fn reload(&self) -> Run {
        self.order(&["reload"])
    }

    /// Writes the file anew and has it take effect, on every core; says what there was to say beside that.
    #[track_caller]
    pub(crate) fn apply(&self, text: &str) -> Run {
        self.write(text);
        let run = self.reload();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stdout.starts_with("ringway: reloaded on "), "{}", run.stdout);
        run
    }

    /// How many reloads took effect, and how many were refused.
    pub(crate) fn reloads(&self) -> (u64, u64) {
        let status = status(self);
        let count = |name| status["reloads"][name].as_u64().unwrap();
        (count("done"), count("failed"))
    }

    /// Has the file read again by a signal, and waits until that is done.
    pub(crate) fn hang_up(&self) {
        let before = self.reloads();
        self.signal(Signal::HUP);
        eventually("the signal is obeyed", || self.reloads() != before);
    }

    /// Stops the proxy, which has nothing left to do, and looks at how it ends.
    pub(crate) fn end(mut self) {
        self.proxy.signal(Signal::TERM);
        assert!(self.proxy.wait(super::PATIENCE).success(), "{}", self.proxy.stderr());
    }

    /// The proxy itself.
    pub(crate) fn proxy(&mut self) -> &mut Proxy {
        &mut self.proxy
    }
}

/// An upstream of that name.
pub(crate) fn upstream(name: &str, origin: &super::Origin) -> String {
    format!("[upstream.{name}]\nendpoints = '{}'\n", origin.endpoint())
}

/// A port that is free on every address of this machine, and that the system gives nobody who does not ask for it: nor
/// does any other scenario get it, whose ports may be without a listener for a while.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    loop {
        let port = fastrand::u16(12_000..32_000);
        if !given.contains(&port) && std::net::TcpListener::bind(("0.0.0.0", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}
