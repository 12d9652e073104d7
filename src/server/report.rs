//! Asks every core what it has counted and holds, for whoever wants to know how the proxy does.

use std::sync::Arc;
use std::time::Duration;

use super::worker::Handle;
use super::{Order, purge, spawn};
use crate::clock::Clock;
use crate::observe::Totals;
use crate::proxy::PressureReport;
use crate::proxy::Rate;
use crate::upstream::NodeReport;

/// How long all cores may take together.
const REPORT_TIME: Duration = Duration::from_secs(2);

/// What one core says.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// What it has counted.
    pub(super) totals: Totals,
    /// How its endpoints are.
    pub(super) nodes: Vec<NodeReport>,
    /// Client connections that are open.
    pub(super) connections: usize,
    /// How close the process is to what it may hold.
    pub(super) pressure: PressureReport,
    /// Bytes that the cache holds, over all cores.
    pub(super) cache_bytes: usize,
    /// Keys that something is known of, on this core: what is stored, or that it is not for sharing.
    pub(super) cache_entries: usize,
    /// Keys that were evicted, on this core.
    pub(super) cache_evicted: u64,
    /// The rates that are used. All cores count them together.
    pub(super) rates: Vec<Arc<Rate>>,
    /// How often rules have held, over all cores, by `SET/ID`.
    pub(super) rules: Vec<(String, u64)>,
}

/// Asks on a thread of its own, because the control thread has others to listen to. If some core does not
/// answer in time, `done` goes away without a word.
pub(super) fn start(workers: &[Handle], done: flume::Sender<Vec<Report>>) {
    let workers = workers.to_vec();
    let _ = spawn("report", move || {
        if let Some(reports) = run(&workers, REPORT_TIME) {
            let _ = done.send(reports);
        }
    });
}

/// The reports of all cores, in their order; an empty one of a core that has ended.
fn run(workers: &[Handle], time: Duration) -> Option<Vec<Report>> {
    let clock = Clock::default();
    let started = clock.now();
    let ask = |worker: &Handle| {
        let (done, answer) = flume::bounded(1);
        worker.tell(Order::Report { done });
        answer
    };
    let answers: Vec<_> = workers.iter().map(ask).collect();
    let wait = |(worker, answer)| purge::wait(worker, &answer, || clock.now().since(started) < time);
    workers.iter().zip(answers).map(wait).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_is_asked_and_one_that_has_ended_says_nothing() {
        let (gone, orders) = Handle::pair();
        drop(orders);
        let (living, orders) = Handle::pair();
        let worker = std::thread::spawn(move || {
            let Ok(Order::Report { done }) = orders.recv() else { panic!("it was not asked") };
            done.send(Report { connections: 3, ..Report::default() }).unwrap();
        });
        let reports = run(&[gone, living], REPORT_TIME).unwrap();
        assert_eq!(reports.iter().map(|report| report.connections).collect::<Vec<_>>(), [0, 3]);
        worker.join().unwrap();
    }

    #[test]
    fn a_core_that_does_not_answer_is_not_waited_for_without_end() {
        let (silent, _orders) = Handle::pair();
        assert!(run(&[silent], Duration::from_millis(20)).is_none());
    }
}
