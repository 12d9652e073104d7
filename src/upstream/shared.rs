//! What all cores share of upstreams: counts that limits and some policies need, those who wait for room, and
//! connections that a core has to spare.
//!
//! Everything here is atomic, but for those who wait for room, who stand in a queue with a lock. A request that finds a
//! connection of its own core and is answered writes none of it, unless its upstream has a limit, or a policy that needs
//! counts over all cores.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicUsize};

use crossbeam_queue::SegQueue;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::Address;
use crate::clock::Moment;

/// How many connections all cores have to spare together, and how many they may.
#[derive(Debug, Default)]
pub struct Spares {
    max: AtomicUsize,
    count: AtomicUsize,
}

impl Spares {
    /// So many may be spared from now on.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// How many are spared.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Makes room for one, if there may be one more.
    fn reserve(&self) -> bool {
        let max = self.max.load(Relaxed);
        self.count.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1)).is_ok()
    }

    fn release(&self) {
        self.count.fetch_sub(1, Relaxed);
    }
}

/// How many of `max` idle connections in all each of so many cores may keep for itself: with several cores, half of
/// them are for that, and the others for whichever core needs one (see [`Spares::set_max`]). So the bound holds over all
/// without anybody counting.
pub const fn idle_of_core(max: usize, cores: usize) -> usize {
    if cores <= 1 { max } else { max / 2 / cores }
}

/// How many connections all cores may have to spare, of `max` idle ones in all.
pub const fn idle_spared(max: usize, cores: usize) -> usize {
    max - idle_of_core(max, cores) * cores
}

/// What the cores share of an upstream.
#[derive(Debug, Default)]
pub struct UpstreamShared {
    spares: Arc<Spares>,
    /// Requests in flight, where somebody counts them.
    in_flight: AtomicU32,
    /// Requests that wait for room.
    waiting: AtomicU32,
    /// Somebody made room.
    freed: Notify,
    /// Requests that may pass while the breaker is half open.
    trials: AtomicU32,
}

impl UpstreamShared {
    /// For an upstream that nobody uses yet.
    pub fn new(spares: Arc<Spares>) -> UpstreamShared {
        UpstreamShared { spares, ..UpstreamShared::default() }
    }

    /// Sets how many requests may pass while the breaker is half open; before the cores hear that it is.
    pub fn set_trials(&self, count: u32) {
        self.trials.store(count, SeqCst);
    }

    /// Takes one of the requests that may pass; false if there is none left.
    pub fn take_trial(&self) -> bool {
        self.trials.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// Requests in flight, where somebody counts them.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Requests that wait for room.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Makes one more wait, unless `max` do already.
    pub fn wait(self: &Arc<Self>, max: u32) -> Option<Waiting> {
        let queued = self
            .waiting
            .fetch_update(SeqCst, SeqCst, |waiting| (waiting < max).then_some(waiting + 1))
            .is_ok();
        queued.then(|| Waiting(self.clone()))
    }

    /// There may be room for one of those who wait. Either whoever begins to wait sees the room, or who made it sees that
    /// somebody waits: hence the strict order of both.
    pub fn made_room(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// Everything may be different: all who wait look again.
    pub fn changed(&self) {
        self.freed.notify_waiters();
    }
}

/// A request that waits for room at an upstream, for as long as this value lives.
#[derive(Debug)]
pub struct Waiting(Arc<UpstreamShared>);

impl Waiting {
    /// Until somebody may have made room; those who wait longest hear of it first. Whoever enables the future before
    /// looking for room misses none.
    pub fn room(&self) -> Notified<'_> {
        self.0.freed.notified()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

/// What the cores share of an endpoint.
#[derive(Debug, Default)]
pub struct EndpointShared {
    /// Requests in flight, where somebody counts them.
    in_flight: AtomicU32,
    /// Open connections, idle ones included.
    connections: AtomicU32,
    /// Failures since the last success. An endpoint that does well is only read.
    run: AtomicU32,
    /// Connections that wait for whichever core needs one, the one that waits longest in front.
    spare: SegQueue<Spare>,
}

/// A connection that some core has to spare. It does not belong to any runtime.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) fd: OwnedFd,
    /// The address that it leads to.
    pub(crate) address: Address,
    /// Since when it has waited.
    pub(crate) since: Moment,
    /// See [`Permit`]: whoever takes it gets one like that which it had.
    pub(crate) is_limited: bool,
}

impl EndpointShared {
    /// Requests in flight, where somebody counts them.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    /// Open connections, idle ones included.
    pub fn connections(&self) -> u32 {
        self.connections.load(SeqCst)
    }

    /// Connections that wait for whichever core needs one.
    pub fn spare(&self) -> usize {
        self.spare.len()
    }

    /// Failures since the last success, on all cores.
    pub fn run(&self) -> u32 {
        self.run.load(Relaxed)
    }

    /// It has failed a request. Returns how many these are since its last success.
    pub(crate) fn failed(&self) -> u32 {
        self.run.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// It has answered a request.
    pub(crate) fn succeeded(&self) {
        if self.run() > 0 {
            self.run.store(0, Relaxed);
        }
    }

    /// Counts a request, unless `max` are in flight.
    pub(crate) fn enter(&self, upstream: &UpstreamShared, max: Option<u32>) -> bool {
        let max = max.unwrap_or(u32::MAX);
        let entered = self.in_flight.fetch_update(SeqCst, SeqCst, |count| (count < max).then_some(count + 1));
        if entered.is_ok() {
            upstream.in_flight.fetch_add(1, Relaxed);
        }
        entered.is_ok()
    }

    /// A request that was counted is over.
    pub(crate) fn leave(&self, upstream: &UpstreamShared) {
        self.in_flight.fetch_sub(1, SeqCst);
        upstream.in_flight.fetch_sub(1, Relaxed);
        upstream.made_room();
    }

    /// Counts a connection, unless `max` are open.
    pub(crate) fn open(self: &Arc<Self>, upstream: &Arc<UpstreamShared>, max: Option<u32>) -> Option<Permit> {
        let max = max.unwrap_or(u32::MAX);
        let opened =
            self.connections.fetch_update(SeqCst, SeqCst, |count| (count < max).then_some(count + 1));
        opened
            .is_ok()
            .then(|| Permit { of: Some((self.clone(), upstream.clone())), is_limited: max != u32::MAX })
    }

    /// Takes a connection that some core has to spare.
    pub(crate) fn take_spare(self: &Arc<Self>, upstream: &Arc<UpstreamShared>) -> Option<(Spare, Permit)> {
        let spare = self.spare.pop()?;
        upstream.spares.release();
        let permit = Permit { of: Some((self.clone(), upstream.clone())), is_limited: spare.is_limited };
        Some((spare, permit))
    }

    /// Leaves a connection to whichever core needs one.
    ///
    /// # Errors
    /// There are as many as there may be: here it is again.
    pub(crate) fn give_spare(&self, mut spare: Spare, mut permit: Permit) -> Result<(), (Spare, Permit)> {
        spare.is_limited = permit.is_limited;
        let Some((_, upstream)) = permit.of.take_if(|(_, upstream)| upstream.spares.reserve()) else {
            return Err((spare, permit));
        };
        // It still counts as open: whoever takes it gets another permit.
        self.spare.push(spare);
        if permit.is_limited {
            upstream.made_room();
        }
        Ok(())
    }

    /// Closes the connection that has waited longest; false if there is none.
    pub(crate) fn close_one_spare(self: &Arc<Self>, upstream: &Arc<UpstreamShared>) -> bool {
        self.take_spare(upstream).is_some()
    }

    /// Closes what waits here. No core has use for the endpoint any more.
    pub(crate) fn close_spare(self: &Arc<Self>, upstream: &Arc<UpstreamShared>) {
        while self.take_spare(upstream).is_some() {}
    }
}

/// Stands for an open connection, which counts for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Permit {
    of: Option<(Arc<EndpointShared>, Arc<UpstreamShared>)>,
    /// Whether there is a limit, so that somebody may wait for the end of it. Who is told of room for nothing loses his
    /// place among those who wait.
    is_limited: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((endpoint, upstream)) = self.of.take() {
            endpoint.connections.fetch_sub(1, SeqCst);
            if self.is_limited {
                upstream.made_room();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn spare() -> Spare {
        let (one, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Spare {
            fd: one.into(),
            address: Address::Unix(std::path::Path::new("/x").into()),
            since: Clock::default().now(),
            is_limited: false,
        }
    }

    #[test]
    fn no_more_are_in_flight_open_or_waiting_than_may() {
        let upstream = Arc::new(UpstreamShared::default());
        let endpoint = Arc::new(EndpointShared::default());
        assert!(endpoint.enter(&upstream, Some(1)) && !endpoint.enter(&upstream, Some(1)));
        assert!(endpoint.enter(&upstream, None));
        assert_eq!((endpoint.in_flight(), upstream.in_flight()), (2, 2));
        endpoint.leave(&upstream);
        endpoint.leave(&upstream);
        assert_eq!((endpoint.in_flight(), upstream.in_flight()), (0, 0));
        let permit = endpoint.open(&upstream, Some(1)).unwrap();
        assert!(endpoint.open(&upstream, Some(1)).is_none());
        drop(permit);
        assert_eq!(endpoint.connections(), 0);
        let waiting = upstream.wait(1).unwrap();
        assert!(upstream.wait(1).is_none());
        drop(waiting);
        assert_eq!(upstream.waiting(), 0);
        upstream.set_trials(1);
        assert!(upstream.take_trial() && !upstream.take_trial());
    }

    #[test]
    fn what_cores_keep_and_what_they_spare_is_never_more_than_may_be_idle() {
        for max in [0, 1, 3, 4, 100, 4096] {
            for cores in [1, 2, 3, 4, 64] {
                let kept = idle_of_core(max, cores) * cores;
                assert_eq!(kept + idle_spared(max, cores), max, "{max} on {cores}");
                assert!(cores == 1 || idle_spared(max, cores) >= kept);
            }
        }
    }

    #[test]
    fn what_is_spared_counts_as_open_and_against_one_bound() {
        let spares = Arc::new(Spares::default());
        spares.set_max(1);
        let upstreams =
            [UpstreamShared::new(spares.clone()), UpstreamShared::new(spares.clone())].map(Arc::new);
        let endpoint = Arc::new(EndpointShared::default());
        let permit = |at: usize| endpoint.open(&upstreams[at], None).unwrap();
        endpoint.give_spare(spare(), permit(0)).unwrap();
        assert_eq!((endpoint.connections(), endpoint.spare(), spares.count()), (1, 1, 1));
        assert!(endpoint.give_spare(spare(), permit(1)).is_err(), "the bound holds over all upstreams");
        assert_eq!(endpoint.connections(), 1);
        let (_, permit) = endpoint.take_spare(&upstreams[0]).unwrap();
        assert_eq!((endpoint.connections(), endpoint.spare(), spares.count()), (1, 0, 0));
        endpoint.give_spare(spare(), permit).unwrap();
        endpoint.close_spare(&upstreams[0]);
        assert_eq!((endpoint.connections(), endpoint.spare(), spares.count()), (0, 0, 0));
    }

    #[test]
    fn who_waits_hears_of_room_that_is_made_on_another_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let upstream = Arc::new(UpstreamShared::default());
        let endpoint = Arc::new(EndpointShared::default());
        assert!(endpoint.enter(&upstream, Some(1)));
        let waiting = upstream.wait(1).unwrap();
        let room = waiting.room();
        let other = std::thread::spawn({
            let (upstream, endpoint) = (upstream.clone(), endpoint.clone());
            move || endpoint.leave(&upstream)
        });
        runtime.block_on(room);
        other.join().unwrap();
        assert!(endpoint.enter(&upstream, Some(1)));
    }
}
