//! The driver of a worker's runtime: io_uring with as many of its better flags as the kernel takes,
//! or epoll.

use std::future::Future;
use std::io;

use io_uring::IoUring;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

use crate::config::DriverChoice;

/// Entries of the submission queue: so many operations go to the kernel in one call.
const ENTRIES: u32 = 4096;

/// Entries of the completion queue: room for what completes while a batch is worked through.
const COMPLETIONS: u32 = 4 * ENTRIES;

/// Which driver is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InUse {
    /// Its name and flags.
    pub(super) name: &'static str,
    /// Why it is not the best one, and what to do about it.
    pub(super) note: Option<String>,
}

/// A runtime on either driver.
pub(super) enum AnyRuntime {
    Uring(Runtime<TimeDriver<IoUringDriver>>),
    Epoll(Runtime<TimeDriver<LegacyDriver>>),
}

impl AnyRuntime {
    /// Runs a future to its end.
    pub(super) fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match self {
            AnyRuntime::Uring(runtime) => runtime.block_on(future),
            AnyRuntime::Epoll(runtime) => runtime.block_on(future),
        }
    }

    /// Whether it runs on epoll.
    pub(super) fn is_epoll(&self) -> bool {
        matches!(self, AnyRuntime::Epoll(_))
    }
}

/// Sets flags of a ring that is about to be made.
type SetFlags = fn(&mut io_uring::Builder);

/// Sets of flags for the ring, the best first.
const RINGS: [(&str, SetFlags); 3] = [
    ("io_uring (single issuer, deferred task work)", |ring| {
        ring.setup_single_issuer().setup_defer_taskrun();
    }),
    ("io_uring (cooperative task work)", |ring| {
        ring.setup_coop_taskrun();
    }),
    ("io_uring", |_| {}),
];

/// Builds the runtime of the calling thread, which must be the one that runs it.
///
/// # Errors
/// No driver could be had, or not the one that was asked for.
pub(super) fn build(choice: DriverChoice) -> io::Result<(AnyRuntime, InUse)> {
    if choice == DriverChoice::Epoll {
        return epoll(None);
    }
    let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
    for (place, (name, flags)) in RINGS.iter().enumerate() {
        let mut ring = IoUring::builder();
        ring.setup_cqsize(COMPLETIONS);
        flags(&mut ring);
        let built = RuntimeBuilder::<IoUringDriver>::new()
            .uring_builder(ring)
            .with_entries(ENTRIES)
            .enable_timer()
            .build();
        match built {
            Ok(runtime) => {
                let note = (place > 0).then(|| {
                    format!("the kernel refuses better flags for io_uring ({refusal}); Linux 6.1 has them")
                });
                return Ok((AnyRuntime::Uring(runtime), InUse { name, note }));
            }
            Err(error) => refusal = error,
        }
    }
    if choice == DriverChoice::Uring {
        return Err(io::Error::new(refusal.kind(), format!("io_uring is refused: {}", why(&refusal))));
    }
    epoll(Some(format!("io_uring is refused, so epoll is used: {}", why(&refusal))))
}

fn epoll(note: Option<String>) -> io::Result<(AnyRuntime, InUse)> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().with_entries(ENTRIES).enable_timer().build()?;
    Ok((AnyRuntime::Epoll(runtime), InUse { name: "epoll", note }))
}

/// The likely cause of a refusal, and its cure.
fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
            Ok(value) if value.trim() != "0" => {
                format!("kernel.io_uring_disabled is {}; set it to 0 with sysctl to allow it", value.trim())
            }
            _ => "a seccomp profile forbids it, as those of containers do; allow io_uring_setup, io_uring_enter and io_uring_register".to_owned(),
        },
        Some(libc::ENOSYS) => "this kernel has no io_uring; Linux 5.11 or later does".to_owned(),
        Some(libc::ENOMEM) => "the limit on locked memory is too low; raise it with ulimit -l".to_owned(),
        _ => error.to_string(),
    }
}
