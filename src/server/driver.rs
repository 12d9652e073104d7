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
    let ring = step_back(|flags| {
        let mut ring = IoUring::builder();
        ring.setup_cqsize(COMPLETIONS);
        flags(&mut ring);
        RuntimeBuilder::<IoUringDriver>::new()
            .uring_builder(ring)
            .with_entries(ENTRIES)
            .enable_timer()
            .build()
    });
    match ring {
        Ok((runtime, in_use)) => Ok((AnyRuntime::Uring(runtime), in_use)),
        Err(refusal) if choice == DriverChoice::Uring => {
            Err(io::Error::new(refusal.kind(), format!("io_uring is refused: {}", why(&refusal))))
        }
        Err(refusal) => epoll(Some(format!("io_uring is refused, so epoll is used: {}", why(&refusal)))),
    }
}

/// Makes a ring with the best flags that the kernel takes.
fn step_back<R>(mut make: impl FnMut(SetFlags) -> io::Result<R>) -> io::Result<(R, InUse)> {
    let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
    for (place, (name, flags)) in RINGS.into_iter().enumerate() {
        match make(flags) {
            Ok(ring) => {
                let note = (place > 0).then(|| {
                    format!("the kernel refuses better flags for io_uring ({refusal}); Linux 6.1 has them")
                });
                return Ok((ring, InUse { name, note }));
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn steps_back_to_fewer_flags_and_says_why() {
        for (refusals, name) in RINGS.iter().enumerate().map(|(place, (name, _))| (place, *name)) {
            let mut tries = 0;
            let made = step_back(|_| {
                tries += 1;
                if tries > refusals { Ok(tries) } else { Err(refused(libc::EINVAL)) }
            });
            let (tries, in_use) = made.unwrap();
            assert_eq!((tries, in_use.name), (refusals + 1, name));
            assert_eq!(in_use.note.is_some(), refusals > 0);
            assert!(
                in_use
                    .note
                    .is_none_or(|note| note.contains("Invalid argument") && note.contains("Linux 6.1"))
            );
        }
    }

    #[test]
    fn when_no_ring_can_be_had_the_last_refusal_names_its_cause_and_cure() {
        for (code, cure) in [
            (libc::EPERM, "io_uring_setup"),
            (libc::ENOSYS, "Linux 5.11 or later"),
            (libc::ENOMEM, "ulimit -l"),
        ] {
            let refusal = step_back(|_| Err::<(), _>(refused(code))).unwrap_err();
            let told = why(&refusal);
            assert!(told.contains(cure) || told.contains("io_uring_disabled"), "{told}");
        }
        let (runtime, in_use) = epoll(Some("because".to_owned())).unwrap();
        assert!(runtime.is_epoll());
        assert_eq!((in_use.name, in_use.note.as_deref()), ("epoll", Some("because")));
    }
}
