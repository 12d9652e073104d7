//! One worker: a thread pinned to its core, with a runtime, listeners and a core's worth of state.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use core_affinity::CoreId;

use super::configure::Part;
use super::explain::Answer;
use super::listening::Listening;
use super::report::Report;
use super::{Event, Order, RunError, driver, spawn};
use crate::cache::purge::{Purge, Round};
use crate::cache::store::{Shared, Store};
use crate::clock::Clock;
use crate::config::{DriverChoice, Settings};
use crate::net::deadline::TICK;
use crate::observe::{Format, Totals};
use crate::proxy::Core;
use crate::proxy::explain::{Question, View, explain};
use crate::proxy::guard::message;

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
    workers: usize,
    core: CoreId,
    driver: DriverChoice,
    log_format: Format,
    log: Option<flume::Sender<Vec<u8>>>,
    first: Part,
    orders: flume::Receiver<Order>,
    events: flume::Sender<Event>,
    cache: Option<Shared>,
}

/// Starts a worker on each of the cores, with its part of the first configuration. Each says when it is ready,
/// and how it ended.
pub(super) fn start_all(
    settings: &Settings,
    cores: &[CoreId],
    parts: Vec<Part>,
    events: &flume::Sender<Event>,
    log: Option<flume::Sender<Vec<u8>>>,
) -> Result<Vec<Handle>, RunError> {
    let cache = settings.cache.as_ref().map(|cache| Shared::new(cache.bytes, cores.len()));
    cores
        .iter()
        .zip(parts)
        .enumerate()
        .map(|(place, (&core, first))| {
            let (orders, inbox) = flume::unbounded();
            let setup = Setup {
                place,
                workers: cores.len(),
                core,
                driver: settings.driver,
                log_format: settings.access_log,
                log: log.clone(),
                first,
                orders: inbox,
                events: events.clone(),
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
    let Setup { place, orders, events, log, .. } = setup;
    let fail = |error: io::Error| format!("worker {place} cannot start: {error}");
    // Where pinning is refused the worker runs unpinned, which is slower but not wrong.
    if !core_affinity::set_for_current(setup.core) {
        let _ = events.send(Event::Note(format!("worker {place} could not be pinned to its core")));
    }
    let (mut runtime, in_use) = driver::build(setup.driver).map_err(fail)?;
    let nonblocking = runtime.is_epoll();
    runtime.block_on(async {
        let store = setup.cache.map(|shared| Store::new(shared, place, Clock::default().unix_millis()));
        let Part { blueprint, rosters, wanted, new } = setup.first;
        let tell = {
            let events = events.clone();
            Box::new(move |tallies| drop(events.send(Event::Tallies(tallies))))
        };
        let place = (place, setup.workers);
        let core = Core::new(place, blueprint, &rosters, setup.log_format, store, tell).map_err(fail)?;
        let core = Rc::new(core);
        let mut listening = Listening::new(core.clone(), events.clone(), nonblocking);
        listening.follow(&core.snapshot(), &wanted, new).map_err(fail)?;
        monoio::spawn(listening.attend_parked());
        monoio::spawn(tick(core.clone(), log.clone(), events.clone()));
        if let Some(store) = core.store.clone() {
            monoio::spawn(async move { store.attend().await });
        }
        let _ = events.send(Event::Started(in_use));

        let drain = obey(&core, &mut listening, &orders, &events).await;
        listening.stop();
        stop(&core, drain, &orders, &events).await;
        carry_last_lines(&core, log.as_ref());
        let mut totals = Totals::default();
        totals.add(&core.counters);
        Ok(totals)
    })
}

/// Takes orders until the one to stop, and returns how long what is in flight has to end.
async fn obey(
    core: &Rc<Core>,
    listening: &mut Listening,
    orders: &flume::Receiver<Order>,
    events: &flume::Sender<Event>,
) -> Duration {
    while let Ok(order) = orders.recv_async().await {
        match order {
            Order::Configure(part, done) => {
                let Part { blueprint, rosters, wanted, new } = *part;
                let snapshot = core.configure(blueprint, &rosters);
                if let Err(error) = listening.follow(&snapshot, &wanted, new) {
                    let _ = events.send(Event::Note(format!("a worker cannot listen: {error}")));
                }
                listening.leave().await;
                let _ = done.send(());
            }
            Order::Rosters(changed) => core.nodes.follow(&changed),
            Order::Purge { purge, round, done } => purge_here(core, &purge, round, &done).await,
            Order::Report { done } => drop(done.send(report(core))),
            Order::Explain { question, done } => drop(done.send(explain_here(core, &question))),
            Order::Drain(limit) => return limit,
            Order::Cut => return Duration::ZERO,
        }
    }
    Duration::ZERO
}

/// What there is to tell of this core.
fn report(core: &Core) -> Report {
    let mut report = Report {
        connections: core.connections(),
        pressure: core.pressure(),
        nodes: core.nodes.report(),
        ..Report::default()
    };
    report.totals.add(&core.counters);
    report.rates.clone_from(&core.snapshot().rates);
    report.rules = core.snapshot().rule_hits();
    if let Some(store) = &core.store {
        report.cache_bytes = store.held();
        (report.cache_entries, report.cache_evicted) = store.entries();
    }
    report
}

/// Says what becomes of a request. Should that fail in a way that nobody thought of, it must not end the worker.
fn explain_here(core: &Rc<Core>, question: &Question) -> Answer {
    let explain = || explain(core, question, View::Running).map(Box::new);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(explain))
        .unwrap_or_else(|panic| Err(format!("cannot be explained: {}", message(&*panic))))
}

/// Purges on this core. Whoever asked may have stopped waiting.
async fn purge_here(core: &Core, purge: &Purge, round: Round, done: &flume::Sender<u64>) {
    let _ = done.send(core.purge(purge, round).await);
}

/// Lets what is in flight end, and gives up on the rest when the time is over.
async fn stop(
    core: &Rc<Core>,
    drain: Duration,
    orders: &flume::Receiver<Order>,
    events: &flume::Sender<Event>,
) {
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
            Ok(Order::Rosters(changed)) => core.nodes.follow(&changed),
            _ => {}
        }
        monoio::time::sleep(DRAIN_STEP).await;
    }
    if core.connections() > 0 {
        let _ = events.send(Event::Note(format!("{} connections were cut", core.connections())));
        core.deadlines.cut_all();
    }
}

/// Moves the core's time on, and its log out.
async fn tick(core: Rc<Core>, log: Option<flume::Sender<Vec<u8>>>, events: flume::Sender<Event>) {
    loop {
        monoio::time::sleep(TICK).await;
        if let Some(note) = core.tick() {
            let _ = events.send(Event::Note(note));
        }
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
