//! What a scenario is made of: an origin, a proxy, a client, an expectation.

pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod coded;
pub(crate) mod dns;
pub(crate) mod endpoints;
pub(crate) mod file;
pub(crate) mod gate;
pub(crate) mod live;
pub(crate) mod message;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod upstreams;
pub(crate) mod wire;

use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use rustix::process::Signal;

pub(crate) use cache::on_one_and_many_workers;
pub(crate) use client::Client;
pub(crate) use file::{File, place};
pub(crate) use gate::Gate;
pub(crate) use message::{chunk, get, get_with, ok, post, post_chunked_head};
pub(crate) use origin::Origin;
pub(crate) use proxy::{Proxy, Setup};
pub(crate) use wire::End;

/// How long anything may take that should happen at once, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How late a time limit may be noticed.
///
/// Less than the least limit that there is without being asked for, so that one that was forgotten is found out.
const LATE: Duration = Duration::from_secs(8);

/// A driver of the proxy's runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Driver(pub(crate) &'static str);

/// Runs a scenario on each driver, side by side. One that the kernel refuses is left out.
pub(crate) fn on_each_driver(scenario: impl Fn(Driver) + Sync) {
    let scenario = &scenario;
    thread::scope(|scope| {
        let running: Vec<_> = [Driver("io_uring"), Driver("epoll")]
            .into_iter()
            .filter(|driver| driver.0 != "io_uring" || has_io_uring())
            .map(|driver| (driver, scope.spawn(move || scenario(driver))))
            .collect();
        let mut panic = None;
        for (driver, scenario) in running {
            if let Err(why) = scenario.join() {
                eprintln!("failed on {}", driver.0);
                panic = Some(why);
            }
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    });
}

/// Whether the kernel lets the proxy have io_uring.
fn has_io_uring() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let started = Setup::new(Driver("io_uring")).args(&["--origin", "http://127.0.0.1:9"]).try_start();
        let refused = started.err().filter(|said| said.contains("io_uring is refused"));
        if let Some(said) = &refused {
            println!("left out: {said}");
        }
        refused.is_none()
    })
}

/// Waits until a condition holds that should hold soon.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tries what a busy machine may spoil up to five times: it has to turn out well once. What may never be otherwise
/// is asserted within.
pub(crate) fn once_in_a_few(what: &str, attempt: impl FnMut() -> bool) {
    assert!(std::iter::repeat_with(attempt).take(5).any(|well| well), "not in any attempt: {what}");
}

/// A core that is held up sets limits by a clock that is as late as it is itself.
const EARLY: Duration = Duration::from_millis(300);

/// Checks that a limit took effect neither before its time nor much later.
pub(crate) fn assert_limit(since: Instant, limit: Duration) {
    let took = since.elapsed();
    assert!(took + EARLY.min(limit / 4) >= limit, "after {took:?}, before the limit of {limit:?}");
    assert!(took < limit + LATE, "only after {took:?}, for a limit of {limit:?}");
}

/// Milliseconds.
pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Content that no mistake could leave looking right.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// Compares content without printing megabytes.
pub(crate) fn assert_same(got: &[u8], want: &[u8]) {
    if got != want {
        let at = got.iter().zip(want).position(|(a, b)| a != b);
        panic!("{} bytes for {}; the first difference is at {at:?}", got.len(), want.len());
    }
}
