//! Carries a purge to every core, and waits until no core serves what it removed.

use std::sync::Arc;
use std::time::Duration;

use super::worker::Handle;
use super::{Order, spawn};
use crate::cache::purge::{Purge, Round, What};
use crate::clock::Clock;
use crate::config::route::KeyQuery;
use crate::route::key;

/// How long all cores may take together.
const PURGE_TIME: Duration = Duration::from_secs(10);

/// How often it is looked whether a worker that does not answer has ended.
const STEP: Duration = Duration::from_millis(20);

/// Purges on a thread of its own, because the control thread has others to listen to. If it fails, `done`
/// goes away without a word.
///
/// What has a URL may be stored without parts of its query: `queries` has all the ways in which that is done.
pub(super) fn start(workers: &[Handle], purge: Purge, queries: &[KeyQuery], done: flume::Sender<u64>) {
    let workers = workers.to_vec();
    let purges = each_key(purge, queries);
    // Without a thread `done` goes away, which says that it failed.
    let _ = spawn("purge", move || {
        let counts = purges.into_iter().map(|purge| run(&workers, &Arc::new(purge), PURGE_TIME));
        if let Some(count) = counts.sum::<Option<u64>>() {
            let _ = done.send(count);
        }
    });
}

/// The purge, and the same of every other key that the URL may have.
fn each_key(purge: Purge, queries: &[KeyQuery]) -> Vec<Purge> {
    let others = match &purge.what {
        What::Key(key) => key::others(key, queries).collect(),
        What::Prefix(_) | What::Tag(_) | What::All => Vec::new(),
    };
    let soft = purge.soft;
    let other = |key: Vec<u8>| Purge { what: What::Key(key.into()), soft };
    std::iter::once(purge).chain(others.into_iter().map(other)).collect()
}

/// Purges, and returns how many responses it has met, or nothing if some core did not answer in time.
fn run(workers: &[Handle], purge: &Arc<Purge>, time: Duration) -> Option<u64> {
    let clock = Clock::default();
    let started = clock.now();
    let mut count = 0;
    for round in [Round::Stored, Round::Copies] {
        let asked: Vec<_> = workers
            .iter()
            .map(|worker| {
                let (done, answer) = flume::bounded(1);
                worker.tell(Order::Purge { purge: purge.clone(), round, done });
                (worker, answer)
            })
            .collect();
        for (worker, answer) in asked {
            let met = wait(worker, &answer, || clock.now().since(started) < time)?;
            // A copy is no response of its own.
            count += if round == Round::Stored { met } else { 0 };
        }
    }
    Some(count)
}

/// Waits for the answer of one worker. One that has ended serves nothing, and so has nothing to remove or
/// to tell.
pub(super) fn wait<T: Default>(
    worker: &Handle,
    answer: &flume::Receiver<T>,
    is_time: impl Fn() -> bool,
) -> Option<T> {
    loop {
        match answer.recv_timeout(STEP) {
            Ok(answer) => return Some(answer),
            Err(flume::RecvTimeoutError::Disconnected) => return Some(T::default()),
            // The order may lie where nobody takes it from any more.
            Err(flume::RecvTimeoutError::Timeout) if worker.has_ended() => return Some(T::default()),
            Err(flume::RecvTimeoutError::Timeout) if is_time() => {}
            Err(flume::RecvTimeoutError::Timeout) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Arc<Purge> {
        Arc::new(Purge { what: What::All, soft: false })
    }

    /// A worker that answers with that count, and tells which rounds it has seen.
    fn worker(count: u64) -> (Handle, std::thread::JoinHandle<Vec<Round>>) {
        let (handle, orders) = Handle::pair();
        let worker = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for order in orders {
                let Order::Purge { round, done, .. } = order else { break };
                seen.push(round);
                done.send(count).unwrap();
            }
            seen
        });
        (handle, worker)
    }

    #[test]
    fn every_core_is_asked_twice_and_what_is_stored_is_counted_once() {
        let (handles, workers): (Vec<_>, Vec<_>) = [worker(2), worker(3)].into_iter().unzip();
        assert_eq!(run(&handles, &all(), PURGE_TIME), Some(5));
        drop(handles);
        for worker in workers {
            assert_eq!(worker.join().unwrap(), [Round::Stored, Round::Copies]);
        }
    }

    #[test]
    fn a_worker_that_has_ended_holds_nothing_up() {
        let (gone, orders) = Handle::pair();
        drop(orders);
        let (ending, orders) = Handle::pair();
        let (living, worker) = worker(1);
        let end = std::thread::spawn(move || {
            std::thread::sleep(3 * STEP);
            drop(orders);
        });
        assert_eq!(run(&[gone, ending, living], &all(), PURGE_TIME), Some(1));
        end.join().unwrap();
        worker.join().unwrap();
    }

    #[test]
    fn a_core_that_does_not_answer_fails_the_purge() {
        let (silent, _orders) = Handle::pair();
        assert_eq!(run(&[silent], &all(), STEP), None);
    }
}
