//! Processes, threads and wiring: one worker per core, one control thread for everything that is not
//! a request.
//!
//! ```text
//!   control (main thread)                      worker × N (pinned, one runtime each)
//!     signals, notes                   ◀──flume──  notes, tallies, the end
//!                                      ──flume──▶ configurations, drain, rosters, purges
//!   log thread: standard output        ◀──flume──  batches of lines
//!   admin thread: orders from outside
//!   upkeep thread: look-ups, probes, how endpoints stand
//!   reload thread: reads, checks and hands out configurations
//!   files thread: reads files again that configurations use, when they change
//! ```

pub(crate) mod admin;
mod configure;
mod cores;
mod driver;
pub(crate) mod explain;
mod follow;
mod listen;
mod listening;
mod log;
mod purge;
mod report;
pub(crate) mod setup;
mod socket;
mod upkeep;
mod watched;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use self::configure::{Configurator, NotReloaded, Reloaded, Reloading};
use self::follow::Following;
use self::upkeep::Upkeep;
use crate::cache::purge::{Purge, Round};
use crate::config::route::KeyQuery;
use crate::config::{ListenAddress, Settings};
use crate::net::sys;
use crate::observe::Totals;
use crate::proxy::explain::{Account, Question};
use crate::upstream::Roster;
use crate::upstream::health::Tally;

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
    /// Where it listens, with the ports that were free where any would do.
    pub listening: Vec<ListenAddress>,
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
    /// Somebody wants to know what becomes of a request; as with a purge.
    Explain { question: Question, done: flume::Sender<Result<Account, String>> },
    /// Somebody wants the configuration to be read again; whoever asked by a signal does not wait.
    Reload { done: Option<flume::Sender<Result<Reloaded, NotReloaded>>> },
    /// Another configuration is in force, by which a drain has this long, and keys are made like this.
    Reconfigured { drain: Duration, queries: Arc<[KeyQuery]> },
    /// Upstreams have other endpoints now, or these stand differently.
    Rosters(Arc<[Arc<Roster>]>),
    /// What a core has seen of endpoints.
    Tallies(Vec<Tally>),
    /// A worker has started.
    Started(driver::InUse),
    /// A worker has ended, with its counts or with why it failed.
    Ended(Result<Box<Totals>, String>),
}

/// What a worker is told.
enum Order {
    /// Take another configuration, and say when that is done.
    Configure(Box<configure::Part>, flume::Sender<()>),
    /// Finish what is in flight within that time, and end.
    Drain(Duration),
    /// End now, and leave nothing that could be taken for whole.
    Cut,
    /// Use these endpoints from now on.
    Rosters(Arc<[Arc<Roster>]>),
    /// Remove what is meant in this round, and tell `done` how many responses that were.
    Purge { purge: Arc<Purge>, round: Round, done: flume::Sender<u64> },
    /// Tell `done` what there is to tell.
    Report { done: flume::Sender<report::Report> },
    /// Tell `done` what becomes of a request.
    Explain { question: Arc<Question>, done: flume::Sender<explain::Answer> },
}

/// How long the workers have to cut what is open when they must end at once.
const CUT_TIME: Duration = Duration::from_millis(200);

/// Reads the configuration again, with what is odd about it, or says why what is there now is none.
pub type ReadAgain = Box<dyn FnMut() -> Result<(Settings, Vec<String>), String> + Send>;

/// Runs the proxy until it is told to stop, and returns what it has counted. `on_start` is called
/// once, when every worker is ready; `on_note` for each line that somebody should read. `read_again` brings
/// the configuration that is to take the place of the first, when somebody asks for that.
///
/// # Errors
/// It could not start, or a worker failed.
pub fn run(
    settings: &Settings,
    read_again: ReadAgain,
    on_start: impl FnOnce(&Started),
    mut on_note: impl FnMut(&str),
) -> Result<Totals, RunError> {
    let cores = cores::choose(settings.cores, &mut on_note)?;
    sys::keep_heaps_small();
    let descriptors = sys::raise_descriptor_limit();
    let (events, inbox) = flume::unbounded();
    // Without it a signal to reload would end a proxy that is about to start.
    events_on_signals(&events)?;
    let upkeep = Upkeep::start(events.clone(), cores.len())?;
    let following = Following::start(events.clone())?;
    let mut configurator = Configurator::begin(settings.clone(), cores.len(), upkeep.clone(), following)?;
    let (listening, reloads) = (configurator.listening(), configurator.counts());
    let door = admin::open(&settings.admin, &mut on_note)?;
    let parts = configurator.parts(&mut on_note);
    let log = log::start(settings.access_log);
    let workers = worker::start_all(settings, &cores, parts, &events, log.sender())?;

    let (in_use, again) = wait_for_start(&inbox, &workers, &upkeep, &mut on_note)?;
    let reloading = configurator.attend(workers.clone(), read_again, events.clone())?;
    if again {
        reloading.ask(None);
    }
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
        reloads,
        upkeep: upkeep.clone(),
    };
    let admin = door.map(|door| door.serve(facts, events)).transpose()?;
    on_start(&started);
    let changing = (settings.drain, configure::key_queries(settings));
    let totals = control(&inbox, &workers, (admin, reloading), &upkeep, changing, &mut on_note)?;
    log.finish();
    Ok(totals)
}

/// Waits until every worker has started. Says whether the configuration is to be read again.
fn wait_for_start(
    inbox: &flume::Receiver<Event>,
    workers: &[worker::Handle],
    upkeep: &Upkeep,
    on_note: &mut impl FnMut(&str),
) -> Result<(driver::InUse, bool), RunError> {
    let (mut in_use, mut again) = (None, false);
    let mut started = 0;
    while started < workers.len() {
        match inbox.recv() {
            Ok(Event::Started(driver)) => {
                started += 1;
                // Where they differ, the one that is not the best is worth the line.
                in_use = in_use.filter(|known: &driver::InUse| known.note.is_some()).or(Some(driver));
            }
            Ok(Event::Ended(Err(why))) => return Err(RunError::Failed(why)),
            Ok(Event::Note(note)) => on_note(&note),
            Ok(Event::Stop) => return Err(RunError::Failed("stopped before it had started".to_owned())),
            Ok(Event::Rosters(changed)) => tell_rosters(workers, &changed),
            Ok(Event::Tallies(tallies)) => upkeep.hear(tallies),
            Ok(Event::Reload { .. }) => again = true,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    in_use.map(|in_use| (in_use, again)).ok_or_else(|| RunError::Failed("no worker has started".to_owned()))
}

/// Passes events on until every worker has ended.
fn control(
    inbox: &flume::Receiver<Event>,
    workers: &[worker::Handle],
    (mut admin, mut reloading): (Option<admin::Open>, Reloading),
    upkeep: &Upkeep,
    mut changing: (Duration, Arc<[KeyQuery]>),
    on_note: &mut impl FnMut(&str),
) -> Result<Totals, RunError> {
    let tell_all = |order: &dyn Fn() -> Order| workers.iter().for_each(|worker| worker.tell(order()));
    let mut totals = Totals::default();
    let mut running = workers.len();
    let mut stopping = false;
    while running > 0 {
        match inbox.recv() {
            Ok(Event::Stop) if stopping => {
                tell_all(&|| Order::Cut);
                let cut = std::iter::from_fn(|| inbox.recv_timeout(CUT_TIME).ok());
                cut.filter(|event| matches!(event, Event::Ended(_))).take(running).for_each(drop);
                return Err(RunError::Failed("stopped at once, by a second signal".to_owned()));
            }
            Ok(Event::Stop) => {
                stopping = true;
                // From here on the address is free for a proxy that follows this one.
                drop(admin.take());
                reloading.stop();
                on_note(&format!(
                    "stopping; open exchanges have {} to end",
                    humantime::format_duration(changing.0)
                ));
                tell_all(&|| Order::Drain(changing.0));
            }
            Ok(Event::Note(note)) => on_note(&note),
            Ok(Event::Reload { done }) => reloading.ask(done),
            Ok(Event::Reconfigured { drain, queries }) => changing = (drain, queries),
            Ok(Event::Rosters(changed)) => tell_rosters(workers, &changed),
            Ok(Event::Tallies(tallies)) => upkeep.hear(tallies),
            Ok(Event::Purge { purge, done }) => purge::start(workers, purge, &changing.1, done),
            Ok(Event::Report { done }) => report::start(workers, done),
            Ok(Event::Explain { question, done }) => explain::start(workers, question, done),
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

fn tell_rosters(workers: &[worker::Handle], changed: &Arc<[Arc<Roster>]>) {
    workers.iter().for_each(|worker| worker.tell(Order::Rosters(changed.clone())));
}

/// Turns signals into events: SIGTERM and SIGINT stop the proxy, SIGHUP has it read its configuration again.
fn events_on_signals(events: &flume::Sender<Event>) -> Result<(), RunError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| RunError::Failed(format!("cannot watch for signals: {error}")))?;
    let events = events.clone();
    spawn("signals", move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload { done: None } } else { Event::Stop };
            if events.send(event).is_err() {
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

#[cfg(test)]
#[path = "unix_tests.rs"]
mod unix_tests;
