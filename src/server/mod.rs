//! Processes, threads and wiring: one worker per core, one control thread for everything that is not
//! a request.
//!
//! ```text
//!   control (main thread)                      worker × N (pinned, one runtime each)
//!     signals, name look-ups, notes   ◀──flume──  notes, the end
//!                                      ──flume──▶ drain, endpoints, purges
//!   log thread: standard output        ◀──flume──  batches of lines
//!   admin thread: orders from outside
//! ```

pub(crate) mod admin;
mod cores;
mod driver;
mod listen;
mod log;
mod purge;
mod report;
mod resolve;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::purge::{Purge, Round};
use crate::config::Settings;
use crate::net::sys;
use crate::observe::Totals;
use crate::upstream::Endpoint;

/// Why a run ended that should not have, in one line that names the cause and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// It was asked for something that cannot be: exit code 2.
    Usage(String),
    /// It failed to start, or while running: exit code 1.
    Failed(String),
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::Usage(message) | RunError::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for RunError {}

/// What a proxy that has started tells whoever started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// The cores that its workers are pinned to.
    pub cores: Vec<usize>,
    /// The driver in use, and with which flags.
    pub driver: String,
    /// Why it is not the best one, and what to do about it.
    pub driver_note: Option<String>,
    /// How many descriptors it may open.
    pub descriptors: u64,
    /// Where it takes orders, if it does.
    pub admin: Option<String>,
}

/// What reaches the control thread.
enum Event {
    /// A signal to stop.
    Stop,
    /// Something to tell whoever watches.
    Note(String),
    /// A purge has been ordered. `done` hears how many responses it met; it goes away without a word if
    /// the purge failed.
    Purge { purge: Purge, done: flume::Sender<u64> },
    /// Somebody wants to know what the cores have counted and hold; as with a purge.
    Report { done: flume::Sender<Vec<report::Report>> },
    /// The endpoints have other addresses now.
    Endpoints(Vec<Endpoint>),
    /// A worker has started.
    Started(driver::InUse),
    /// A worker has ended, with its counts or with why it failed.
    Ended(Result<Box<Totals>, String>),
}

/// What a worker is told.
#[derive(Clone)]
enum Order {
    /// Finish what is in flight, and end.
    Drain,
    /// End now, and leave nothing that could be taken for whole.
    Cut,
    /// Use these endpoints from now on.
    Endpoints(Arc<[Endpoint]>),
    /// Remove what is meant in this round, and tell `done` how many responses that were.
    Purge { purge: Arc<Purge>, round: Round, done: flume::Sender<u64> },
    /// Tell `done` what there is to tell.
    Report { done: flume::Sender<report::Report> },
}

/// How long the workers have to cut what is open when they must end at once.
const CUT_TIME: Duration = Duration::from_millis(200);

/// Runs the proxy until it is told to stop, and returns what it has counted. `on_start` is called
/// once, when every worker is ready; `on_note` for each line that somebody should read.
///
/// # Errors
/// It could not start, or a worker failed.
pub fn run(
    settings: &Settings,
    on_start: impl FnOnce(&Started),
    mut on_note: impl FnMut(&str),
) -> Result<Totals, RunError> {
    let cores = cores::choose(settings.cores, &mut on_note)?;
    sys::keep_heaps_small();
    let descriptors = sys::raise_descriptor_limit();
    let sockets = {
        let crate::config::ListenAddress::Tcp(host, port) = &settings.listeners[0].addresses[0] else {
            unreachable!()
        };
        listen::bind_all(host, *port, cores.len())?
    };
    let door = admin::open(&settings.admin, &mut on_note)?;
    let listening = sockets.iter().map(|group| group.address).collect();
    let (events, inbox) = flume::unbounded();
    let endpoints = resolve::start(&settings.upstreams[0].endpoints, &events, &mut on_note);
    stop_on_signals(&events)?;
    let log = log::start(settings.access_log);
    let workers = worker::start_all(settings, &cores, sockets, &endpoints, &events, log.sender())?;

    let in_use = wait_for_start(&inbox, workers.len(), &mut on_note)?;
    let started = Started {
        listening,
        cores: cores.iter().map(|core| core.id).collect(),
        driver: in_use.name.to_owned(),
        driver_note: in_use.note,
        descriptors,
        admin: door.as_ref().map(|door| door.address().to_owned()),
    };
    let facts = admin::Facts {
        cores: started.cores.clone(),
        driver: started.driver.clone(),
        cache_bytes_max: settings.cache.as_ref().map(|cache| cache.bytes),
    };
    let admin = door.map(|door| door.serve(facts, events)).transpose()?;
    on_start(&started);
    let totals = control(&inbox, &workers, admin, settings.drain, &mut on_note)?;
    log.finish();
    Ok(totals)
}

fn wait_for_start(
    inbox: &flume::Receiver<Event>,
    workers: usize,
    on_note: &mut impl FnMut(&str),
) -> Result<driver::InUse, RunError> {
    let mut in_use = None;
    let mut started = 0;
    while started < workers {
        match inbox.recv() {
            Ok(Event::Started(driver)) => {
                started += 1;
                // Where they differ, the one that is not the best is worth the line.
                in_use = in_use.filter(|known: &driver::InUse| known.note.is_some()).or(Some(driver));
            }
            Ok(Event::Ended(Err(why))) => return Err(RunError::Failed(why)),
            Ok(Event::Note(note)) => on_note(&note),
            Ok(Event::Stop) => return Err(RunError::Failed("stopped before it had started".to_owned())),
            Ok(Event::Endpoints(_) | Event::Purge { .. } | Event::Report { .. } | Event::Ended(Ok(_))) => {}
            Err(_) => break,
        }
    }
    in_use.ok_or_else(|| RunError::Failed("no worker has started".to_owned()))
}

/// Passes events on until every worker has ended.
fn control(
    inbox: &flume::Receiver<Event>,
    workers: &[worker::Handle],
    mut admin: Option<admin::Open>,
    drain: Duration,
    on_note: &mut impl FnMut(&str),
) -> Result<Totals, RunError> {
    let tell_all = |order: &Order| workers.iter().for_each(|worker| worker.tell(order.clone()));
    let mut totals = Totals::default();
    let mut running = workers.len();
    let mut stopping = false;
    while running > 0 {
        match inbox.recv() {
            Ok(Event::Stop) if stopping => {
                tell_all(&Order::Cut);
                let cut = std::iter::from_fn(|| inbox.recv_timeout(CUT_TIME).ok());
                cut.filter(|event| matches!(event, Event::Ended(_))).take(running).for_each(drop);
                return Err(RunError::Failed("stopped at once, by a second signal".to_owned()));
            }
            Ok(Event::Stop) => {
                stopping = true;
                // From here on the address is free for a proxy that follows this one.
                drop(admin.take());
                on_note(&format!(
                    "stopping; open exchanges have {} to end",
                    humantime::format_duration(drain)
                ));
                tell_all(&Order::Drain);
            }
            Ok(Event::Note(note)) => on_note(&note),
            Ok(Event::Endpoints(endpoints)) => tell_all(&Order::Endpoints(endpoints.into())),
            Ok(Event::Purge { purge, done }) => purge::start(workers, purge, done),
            Ok(Event::Report { done }) => report::start(workers, done),
            Ok(Event::Ended(Ok(counted))) => {
                totals.merge(&counted);
                running -= 1;
            }
            Ok(Event::Ended(Err(why))) => return Err(RunError::Failed(why)),
            Ok(Event::Started(_)) => {}
            Err(_) => break,
        }
    }
    Ok(totals)
}

/// Turns SIGTERM and SIGINT into events.
fn stop_on_signals(events: &flume::Sender<Event>) -> Result<(), RunError> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])
        .map_err(|error| RunError::Failed(format!("cannot watch for signals: {error}")))?;
    let events = events.clone();
    spawn("signals", move || {
        for _ in signals.forever() {
            if events.send(Event::Stop).is_err() {
                return;
            }
        }
    })
    .map(drop)
}

/// Starts a thread with a name that `top` and `perf` show.
fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, RunError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| RunError::Failed(format!("cannot start the thread {name}: {error}")))
}
