//! One worker: a thread pinned to its core, with a runtime, listeners and a core's worth of state.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use core_affinity::CoreId;
use futures_util::FutureExt;

use super::listen::Group;
use super::report::Report;
use super::{Event, Order, RunError, driver, spawn};
use crate::cache::purge::{Purge, Round};
use crate::cache::store::{Shared, Store};
use crate::clock::Clock;
use crate::config::{DriverChoice, Settings};
use crate::net::deadline::TICK;
use crate::net::listener::Listener;
use crate::observe::Totals;
use crate::proxy::guard::{guarded, message};
use crate::proxy::{self, Core, Inlet, Snapshot};
use crate::upstream::Endpoint;

/// How long accept is left alone after it failed, mostly for want of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long a worker that ends waits for room for its last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How often a draining worker looks whether it is done.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// A worker, as the control thread knows it.
#[derive(Clone)]
pub(super) struct Handle {
    orders: flume::Sender<Order>,
}

impl Handle {
    /// Tells the worker something; one that has ended does not hear it.
    pub(super) fn tell(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Whether the worker hears nothing any more.
    pub(super) fn has_ended(&self) -> bool {
        self.orders.is_disconnected()
    }

    /// A handle, and where its orders arrive.
    #[cfg(test)]
    pub(super) fn pair() -> (Handle, flume::Receiver<Order>) {
        let (orders, inbox) = flume::unbounded();
        (Handle { orders }, inbox)
    }
}

/// What a worker needs to start.
struct Setup {
    place: usize,
    core: CoreId,
    settings: Settings,
    sockets: Vec<TcpListener>,
    endpoints: Arc<[Endpoint]>,
    orders: flume::Receiver<Order>,
    events: flume::Sender<Event>,
    log: Option<flume::Sender<Vec<u8>>>,
    cache: Option<Shared>,
}

/// Starts a worker on each of the cores. Each says when it is ready, and how it ended.
pub(super) fn start_all(
    settings: &Settings,
    cores: &[CoreId],
    mut groups: Vec<Group>,
    endpoints: &[Endpoint],
    events: &flume::Sender<Event>,
    log: Option<flume::Sender<Vec<u8>>>,
) -> Result<Vec<Handle>, RunError> {
    let endpoints: Arc<[Endpoint]> = endpoints.into();
    let cache = settings.cache.as_ref().map(|cache| Shared::new(cache.bytes, cores.len()));
    cores
        .iter()
        .enumerate()
        .map(|(place, &core)| {
            let (orders, inbox) = flume::unbounded();
            let setup = Setup {
                place,
                core,
                settings: settings.clone(),
                sockets: groups.iter_mut().filter_map(|group| group.sockets.pop()).collect(),
                endpoints: endpoints.clone(),
                orders: inbox,
                events: events.clone(),
                log: log.clone(),
                cache: cache.clone(),
            };
            let events = events.clone();
            spawn(&format!("worker-{place}"), move || {
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(setup)));
                let ended = ended
                    .unwrap_or_else(|panic| Err(format!("worker {place} panicked: {}", message(&*panic))));
                let _ = events.send(Event::Ended(ended.map(Box::new)));
            })?;
            Ok(Handle { orders })
        })
        .collect()
}

/// The whole life of a worker.
fn run(setup: Setup) -> Result<Totals, String> {
    let fail = |error: io::Error| format!("worker {} cannot start: {error}", setup.place);
    // Where pinning is refused the worker runs unpinned, which is slower but not wrong.
    if !core_affinity::set_for_current(setup.core) {
        let _ =
            setup.events.send(Event::Note(format!("worker {} could not be pinned to its core", setup.place)));
    }
    let choice: DriverChoice = setup.settings.driver;
    let (mut runtime, in_use) = driver::build(choice).map_err(fail)?;
    let nonblocking = runtime.is_epoll();
    runtime.block_on(async {
        let settings = setup.settings;
        let drain = settings.drain;
        let endpoints = setup.endpoints.iter().cloned().collect();
        let store = setup.cache.map(|shared| Store::new(shared, setup.place, Clock::default().unix_millis()));
        let snapshot = Rc::new(Snapshot::new(&settings));
        let inlet = Rc::new(Inlet::new(snapshot.clone(), 0));
        let core =
            Rc::new(Core::new(setup.place, snapshot, settings.access_log, endpoints, store).map_err(fail)?);
        // Shared on this core only: a clone for each connection must not touch memory of other cores.
        let events = Rc::new(setup.events);
        let mut listeners = Vec::with_capacity(setup.sockets.len());
        for socket in setup.sockets {
            let listener = Rc::new(Listener::new(socket, nonblocking).map_err(fail)?);
            monoio::spawn(accept(core.clone(), listener.clone(), inlet.clone(), events.clone()));
            listeners.push((listener, inlet.clone()));
        }
        monoio::spawn(attend_parked(core.clone(), events.clone()));
        monoio::spawn(tick(core.clone(), setup.log.clone()));
        if let Some(store) = core.store.clone() {
            monoio::spawn(async move { store.attend().await });
        }
        let _ = events.send(Event::Started(in_use));

        obey(&core, &setup.orders).await;
        stop(&core, &listeners, drain, &setup.orders, &events).await;
        carry_last_lines(&core, setup.log.as_ref());
        let mut totals = Totals::default();
        totals.add(&core.counters);
        Ok(totals)
    })
}

/// Takes orders until the one to stop.
async fn obey(core: &Core, orders: &flume::Receiver<Order>) {
    while let Ok(order) = orders.recv_async().await {
        match order {
            Order::Endpoints(endpoints) => core.replace_endpoints(endpoints.iter().cloned().collect()),
            Order::Purge { purge, round, done } => purge_here(core, &purge, round, &done).await,
            Order::Report { done } => drop(done.send(report(core))),
            Order::Drain | Order::Cut => return,
        }
    }
}

/// What there is to tell of this core.
fn report(core: &Core) -> Report {
    let mut report = Report { connections: core.connections(), ..Report::default() };
    report.totals.add(&core.counters);
    if let Some(store) = &core.store {
        report.cache_bytes = store.held();
        (report.cache_entries, report.cache_evicted) = store.entries();
    }
    report
}

/// Purges on this core. Whoever asked may have stopped waiting.
async fn purge_here(core: &Core, purge: &Purge, round: Round, done: &flume::Sender<u64>) {
    let _ = done.send(core.purge(purge, round).await);
}

/// Stops accepting, lets what is in flight end, and gives up on the rest when the time is over.
async fn stop(
    core: &Rc<Core>,
    listeners: &[(Rc<Listener>, Rc<Inlet>)],
    drain: Duration,
    orders: &flume::Receiver<Order>,
    events: &Rc<flume::Sender<Event>>,
) {
    for (listener, inlet) in listeners {
        // Those who are in the backlog have been told that they are connected.
        let _ = listener.accept_batch(|fd, peer| begin(core, fd, (peer, inlet.clone()), events));
        listener.stop();
    }
    core.drain();
    let started = core.clock.now();
    let mut rests = false;
    while core.clock.now().since(started) < drain {
        if core.connections() == 0 {
            // Clients of other cores may wait for what this one owns or fetches.
            let store = core.store.as_ref();
            if let Some(store) = store.filter(|_| !std::mem::replace(&mut rests, true)) {
                store.rest();
            }
            if !store.is_some_and(|store| store.is_needed()) {
                break;
            }
        }
        match orders.try_recv() {
            Ok(Order::Cut) => break,
            // What is in flight may still be answered from the cache.
            Ok(Order::Purge { purge, round, done }) => purge_here(core, &purge, round, &done).await,
            _ => {}
        }
        monoio::time::sleep(DRAIN_STEP).await;
    }
    if core.connections() > 0 {
        let _ = events.send(Event::Note(format!("{} connections were cut", core.connections())));
        core.deadlines.cut_all();
    }
}

/// Takes connections for as long as the worker accepts any.
async fn accept(core: Rc<Core>, listener: Rc<Listener>, inlet: Rc<Inlet>, events: Rc<flume::Sender<Event>>) {
    let mut failing = false;
    loop {
        let ready = listener.readable().await;
        if core.is_draining() {
            return;
        }
        match ready
            .and_then(|()| listener.accept_batch(|fd, peer| begin(&core, fd, (peer, inlet.clone()), &events)))
        {
            Ok(()) => failing = false,
            Err(error) => {
                core.counters.accept_errors.increment();
                if !std::mem::replace(&mut failing, true) {
                    let _ = events.send(Event::Note(format!("cannot accept connections for now: {error}")));
                }
                monoio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Counts a new connection and gives it a task.
fn begin(core: &Rc<Core>, fd: OwnedFd, known: (SocketAddr, Rc<Inlet>), events: &Rc<flume::Sender<Event>>) {
    core.counters.accepted.increment();
    core.connection_opened();
    serve(core, fd, known, events);
}

fn serve(
    core: &Rc<Core>,
    fd: OwnedFd,
    (peer, inlet): (SocketAddr, Rc<Inlet>),
    events: &Rc<flume::Sender<Event>>,
) {
    spawn_guarded(core, peer, events, proxy::serve(core.clone(), fd, peer, inlet));
}

/// Gives a connection's future a task. A panic in it is counted and told, and hurts no other.
fn spawn_guarded(
    core: &Rc<Core>,
    peer: SocketAddr,
    events: &Rc<flume::Sender<Event>>,
    exchanges: impl Future<Output = ()> + 'static,
) {
    let (core, events) = (core.clone(), events.clone());
    monoio::spawn(guarded(exchanges).map(move |ended| {
        if let Err(panic) = ended {
            core.counters.panics.increment();
            let _ =
                events.send(Event::Note(format!("a connection from {peer} panicked: {}", message(&*panic))));
        }
    }));
}

/// Brings parked connections back to life.
async fn attend_parked(core: Rc<Core>, events: Rc<flume::Sender<Event>>) {
    let result = core.lot.attend(|parked| serve(&core, parked.fd, parked.known, &events)).await;
    if let Err(error) = result {
        let _ = events.send(Event::Note(format!("idle connections can no longer be watched: {error}")));
    }
}

/// Moves the core's time on, and its log out.
async fn tick(core: Rc<Core>, log: Option<flume::Sender<Vec<u8>>>) {
    loop {
        monoio::time::sleep(TICK).await;
        core.tick();
        carry_log(&core, log.as_ref());
    }
}

/// Hands the last lines over, and waits a moment for that if it has to.
fn carry_last_lines(core: &Core, log: Option<&flume::Sender<Vec<u8>>>) {
    if let (Some(log), Some((lines, count))) = (log, core.log.take(Vec::new))
        && log.send_timeout(lines, LAST_LINES).is_err()
    {
        core.counters.log_lines_dropped.add(count);
    }
}

/// Hands the lines that have gathered over, unless the one who writes them has fallen behind.
fn carry_log(core: &Core, log: Option<&flume::Sender<Vec<u8>>>) {
    let Some(log) = log.filter(|log| !log.is_full()) else { return };
    if let Some((lines, count)) = core.log.take(Vec::new)
        && log.try_send(lines).is_err()
    {
        core.counters.log_lines_dropped.add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_one_connection_is_counted_and_told_and_hurts_no_other() {
        for choice in [DriverChoice::Auto, DriverChoice::Epoll] {
            let (mut runtime, _) = driver::build(choice).unwrap();
            let (sender, notes) = flume::unbounded();
            let settings = Settings::for_tests();
            let panics = runtime.block_on(async {
                let core = Rc::new(
                    Core::new(0, Rc::new(Snapshot::new(&settings)), settings.access_log, Rc::new([]), None)
                        .unwrap(),
                );
                let events = Rc::new(sender);
                let peer = SocketAddr::from(([192, 0, 2, 1], 7));
                let (done, waits) = flume::bounded(1);
                spawn_guarded(&core, peer, &events, async { panic!("one of them") });
                spawn_guarded(&core, peer, &events, async move {
                    monoio::time::sleep(Duration::from_millis(20)).await;
                    done.send(()).unwrap();
                });
                waits.recv_async().await.unwrap();
                core.counters.panics.get()
            });
            assert_eq!(panics, 1);
            let Ok(Event::Note(note)) = notes.recv() else { panic!("nothing was told") };
            assert_eq!(note, "a connection from 192.0.2.1:7 panicked: one of them");
        }
    }
}
