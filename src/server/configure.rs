//! Putting a configuration in force on every core, at the start and again while the proxy runs.
//!
//! ```text
//!   read and check ─▶ open new addresses ─▶ look names up ─▶ a part for each core ─▶ wait for each
//!        │ wrong            │ taken
//!        ▼                  ▼
//!      nothing changes, and whoever asked hears why
//! ```
//!
//! Whoever was connecting to an address that goes is still taken: first nobody finds it any more, then the cores
//! leave it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::follow::Following;
use super::listen::{self, Opened};
use super::listening::SocketId;
use super::upkeep::{self, Upkeep};
use super::worker::Handle;
use super::{Event, Order, ReadAgain, RunError, purge, spawn};
use crate::clock::Clock;
use crate::config::route::KeyQuery;
use crate::config::{ListenAddress, Settings};
use crate::proxy::Blueprint;
use crate::proxy::Registry;
use crate::route::key;
use crate::upstream::Roster;

/// How long a reload waits for the cores. One that takes longer gets the configuration all the same, as soon as
/// it listens again.
const CORES_TIME: Duration = Duration::from_secs(5);

/// How long a proxy that ends waits for a reload to end. One that reads a file which does not come ends with the
/// process.
const END_TIME: Duration = Duration::from_secs(3);

/// What one worker gets of a configuration.
pub(super) struct Part {
    pub(super) blueprint: Arc<Blueprint>,
    /// The endpoints of all upstreams.
    pub(super) rosters: Arc<[Arc<Roster>]>,
    /// The sockets to listen on, each with the name of its listener.
    pub(super) wanted: Arc<[(SocketId, String)]>,
    /// Those of them that the worker does not have yet.
    pub(super) new: Vec<(SocketId, OwnedFd)>,
}

/// An address that is listened on.
struct Bound {
    id: SocketId,
    address: ListenAddress,
    /// The name of the listener that has it.
    listener: String,
    opened: Opened,
}

/// What is in force.
pub(super) struct Configurator {
    settings: Settings,
    /// What it was started with, as far as that holds until the end.
    started: Settings,
    bound: Vec<Bound>,
    next_id: SocketId,
    upkeep: Upkeep,
    following: Following,
    workers: usize,
    /// What cookies are signed with where nothing else is said: it lasts as long as the process.
    secret: String,
    /// How long it waits for them.
    cores_time: Duration,
    /// What cores have been given. It is taken apart here, when the last of them has let go of it.
    given: Vec<Arc<Blueprint>>,
    /// What outlives configurations.
    registry: Registry,
    counts: Arc<ReloadCounts>,
}

/// How often the configuration was changed while the proxy ran.
#[derive(Debug, Default)]
pub(super) struct ReloadCounts {
    /// Times that it was.
    pub(super) done: AtomicU64,
    /// Times that it was refused.
    pub(super) failed: AtomicU64,
}

/// A change of the configuration that every core has heard of, or will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reloaded {
    /// How long it took until the last core had it, or until nobody waited any longer.
    pub(super) took: Duration,
    /// The places of the workers that had not confirmed by then.
    pub(super) late: Vec<usize>,
    /// What somebody should know: what needs a restart to change, names without an address.
    pub(super) notes: Vec<String>,
}

/// Why the configuration stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotReloaded {
    /// The new one is wrong: all that is, on lines of their own.
    Configuration(String),
    /// An address that it wants to listen on cannot be had.
    Address(String),
}

impl Configurator {
    /// Opens what the first configuration listens on, for so many workers.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub(super) fn begin(
        settings: Settings,
        workers: usize,
        upkeep: Upkeep,
        following: Following,
    ) -> Result<Configurator, RunError> {
        let mut configurator = Configurator {
            bound: Vec::new(),
            next_id: 0,
            upkeep,
            following,
            workers,
            secret: secret()?,
            cores_time: CORES_TIME,
            given: Vec::new(),
            registry: Registry::default(),
            counts: Arc::default(),
            started: Settings { routes: Vec::new(), upstreams: Vec::new(), ..settings.clone() },
            settings: settings.clone(),
        };
        configurator.change(settings)?;
        configurator.bound.iter().try_for_each(|bound| bound.opened.listen())?;
        Ok(configurator)
    }

    /// Where it listens.
    pub(super) fn listening(&self) -> Vec<ListenAddress> {
        self.bound.iter().flat_map(|bound| bound.opened.bound.clone()).collect()
    }

    /// How often it was changed.
    pub(super) fn counts(&self) -> Arc<ReloadCounts> {
        self.counts.clone()
    }

    /// Waits for orders to read the configuration again, on a thread of its own: that may take a while.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn attend(
        mut self,
        workers: Vec<Handle>,
        mut read_again: ReadAgain,
        events: flume::Sender<Event>,
    ) -> Result<Reloading, RunError> {
        let (orders, inbox) = flume::unbounded::<Asked>();
        let (ends, ended) = flume::bounded(0);
        spawn("reload", move || {
            while let Ok(first) = inbox.recv() {
                // What is read from here on is news to all who have asked by now: one answer will do.
                let asked: Vec<Asked> = std::iter::once(first).chain(inbox.drain()).collect();
                let result = self.reload(&workers, &mut read_again);
                let _ = events.send(Event::Reconfigured {
                    drain: self.settings.drain,
                    queries: key_queries(&self.settings),
                });
                for line in told(&result) {
                    let _ = events.send(Event::Note(line));
                }
                for done in asked.into_iter().flatten() {
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(result.clone());
                }
            }
            // The files of sockets go before anybody hears of the end.
            drop(self);
            drop::<flume::Sender<()>>(ends);
        })?;
        Ok(Reloading { orders: Some(orders), ended })
    }

    /// Puts what `read` brings in force on every core.
    ///
    /// # Errors
    /// Why nothing has changed.
    fn reload(&mut self, workers: &[Handle], read: &mut ReadAgain) -> Result<Reloaded, NotReloaded> {
        let clock = Clock::default();
        let started = clock.now();
        let changed = read().map_err(NotReloaded::Configuration).and_then(|(settings, odd)| {
            let changed = self.change(settings).map_err(|error| NotReloaded::Address(error.to_string()))?;
            Ok((changed, odd))
        });
        let ((gone, more), mut notes) = changed.inspect_err(|_| {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        })?;
        notes.extend(more);
        let parts = self.parts(&mut |text| notes.push(text.to_owned()));
        // The files of Unix sockets go first: the workers take who has found them, and nobody finds them after that.
        drop(gone);
        let tell = |(worker, part): (&Handle, Part)| {
            let (done, confirmed) = flume::bounded(1);
            worker.tell(Order::Configure(Box::new(part), done));
            confirmed
        };
        let answers: Vec<_> = workers.iter().zip(parts).map(tell).collect();
        let in_time = || clock.now().since(started) < self.cores_time;
        let heard = |(place, confirmed): (usize, &flume::Receiver<()>)| {
            let confirmed = purge::wait(&workers[place], confirmed, in_time);
            confirmed.is_none().then_some(place)
        };
        let late: Vec<usize> = answers.iter().enumerate().filter_map(heard).collect();
        self.given.retain(|blueprint| Arc::strong_count(blueprint) > 1);
        self.counts.done.fetch_add(1, Ordering::Relaxed);
        Ok(Reloaded { took: clock.now().since(started), late, notes })
    }

    /// Makes another configuration the one in force, and returns the addresses that it does not listen on, and
    /// what there is to say.
    ///
    /// # Errors
    /// An address that cannot be had; nothing has changed.
    fn change(&mut self, settings: Settings) -> Result<(Vec<Bound>, Vec<String>), RunError> {
        let (mut kept, new) = claims(&self.bound, &settings);
        let added = self.open(&new)?;
        let mut gone = Vec::new();
        for mut bound in std::mem::take(&mut self.bound) {
            match kept.remove(&bound.id) {
                Some(listener) => {
                    bound.listener = listener.to_owned();
                    self.bound.push(bound);
                }
                None => gone.push(bound),
            }
        }
        self.bound.extend(added);
        self.settings = settings;
        Ok((gone, needs_restart(&self.started, &self.settings)))
    }

    /// Opens addresses for the listeners of these names. Nobody can connect there yet: another of ours may have part
    /// of the address, and goes on to serve it until the workers get this one.
    fn open(&mut self, new: &[(&str, &ListenAddress)]) -> Result<Vec<Bound>, RunError> {
        let ours = self.listening();
        let ours: Vec<SocketAddr> = ours.iter().filter_map(ListenAddress::address).collect();
        let mut added: Vec<Bound> = Vec::new();
        for &(listener, address) in new {
            let opened = listen::open(address, self.workers, &ours)?;
            let (listener, address) = (listener.to_owned(), address.clone());
            added.push(Bound { id: self.next_id, address, listener, opened });
            self.next_id += 1;
        }
        Ok(added)
    }

    /// The configuration in force, with what signs the cookies of sticky sessions where it does not say.
    fn signed(&self) -> Settings {
        let mut settings = self.settings.clone();
        for sticky in settings.upstreams.iter_mut().filter_map(|upstream| upstream.sticky.as_mut()) {
            sticky.secret.get_or_insert_with(|| self.secret.clone());
        }
        settings
    }

    /// What each worker gets of the configuration in force.
    pub(super) fn parts(&mut self, on_note: &mut impl FnMut(&str)) -> Vec<Part> {
        let rosters = self.upkeep.adopt(&self.settings, upkeep::FIRST_ANSWER, on_note);
        let wanted: Arc<[_]> = self.bound.iter().map(|bound| (bound.id, bound.listener.clone())).collect();
        let blueprint = Blueprint::among(&self.signed(), &self.registry);
        self.following.adopt(self.registry.followed());
        for bound in &self.bound {
            if let Err(error) = bound.opened.listen() {
                on_note(&error.to_string());
            }
        }
        let parts: Vec<Part> = (0..self.workers)
            .map(|_| {
                let new = self.bound.iter_mut().flat_map(|bound| {
                    let id = bound.id;
                    bound.opened.take_for_one().into_iter().map(move |fd| (id, fd))
                });
                Part {
                    new: new.collect(),
                    blueprint: Arc::new(blueprint.clone()),
                    rosters: rosters.clone(),
                    wanted: wanted.clone(),
                }
            })
            .collect();
        self.given.extend(parts.iter().map(|part| part.blueprint.clone()));
        parts
    }
}

/// A secret that nobody guesses.
fn secret() -> Result<String, RunError> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(|error| RunError::Failed(format!("cannot read /dev/urandom: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Who waits to hear how a reload went.
type Asked = Option<flume::Sender<Result<Reloaded, NotReloaded>>>;

/// The thread that reloads. When this value goes, it ends, and what it listened on goes with it.
pub(super) struct Reloading {
    orders: Option<flume::Sender<Asked>>,
    /// Nobody sends here any more when the thread has ended.
    ended: flume::Receiver<()>,
}

impl Reloading {
    /// Has the configuration read again.
    pub(super) fn ask(&self, done: Asked) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(done);
        }
    }

    /// Takes no more orders; what is listened on goes as soon as the last reload has ended.
    pub(super) fn stop(&mut self) {
        self.orders = None;
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        self.stop();
        let _ = self.ended.recv_timeout(END_TIME);
    }
}

/// What is logged of a reload.
fn told(result: &Result<Reloaded, NotReloaded>) -> Vec<String> {
    match result {
        Ok(Reloaded { took, late, notes }) => {
            let mut lines = vec![format!("the configuration was reloaded within {took:.1?}")];
            if !late.is_empty() {
                let places: Vec<_> = late.iter().map(ToString::to_string).collect();
                lines.push(format!("but it has not reached worker {} yet", places.join(", ")));
            }
            lines.extend(notes.iter().cloned());
            lines
        }
        Err(NotReloaded::Configuration(why) | NotReloaded::Address(why)) => {
            let lines = why.lines().map(str::to_owned);
            std::iter::once("the configuration stays as it was:".to_owned()).chain(lines).collect()
        }
    }
}

/// Which of the open addresses a configuration wants, each with the name of its listener, and which it wants that
/// are not open. Of several that are alike, as those with port 0 may be, each listener keeps its own.
fn claims<'a>(
    bound: &[Bound],
    settings: &'a Settings,
) -> (HashMap<SocketId, &'a str>, Vec<(&'a str, &'a ListenAddress)>) {
    let mut kept = HashMap::new();
    let mut left: Vec<(&str, &ListenAddress)> = Vec::new();
    for listener in &settings.listeners {
        left.extend(listener.addresses.iter().map(|address| (listener.name.as_str(), address)));
    }
    for by_name in [true, false] {
        left.retain(|&(name, address)| {
            let is_it = |open: &&Bound| {
                open.address == *address
                    && (open.listener == name || !by_name)
                    && !kept.contains_key(&open.id)
            };
            let found = bound.iter().find(is_it).map(|open| open.id);
            found.map(|id| kept.insert(id, name)).is_none()
        });
    }
    (kept, left)
}

/// The ways in which routes leave parts of the query out of what responses are found by.
pub(super) fn key_queries(settings: &Settings) -> Arc<[KeyQuery]> {
    key::queries(&settings.routes).into()
}

/// What of a configuration takes effect only when the proxy is started again.
fn needs_restart(running: &Settings, new: &Settings) -> Vec<String> {
    let sizes = |settings: &Settings| settings.cache.as_ref().map(|cache| cache.bytes);
    let cache_differs = sizes(new).is_some_and(|size| sizes(running) != Some(size));
    [
        ("cores", running.cores != new.cores),
        ("driver", running.driver != new.driver),
        ("access-log", running.access_log != new.access_log),
        ("the size of the cache", cache_differs),
        ("admin", running.admin != new.admin),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(what, _)| {
        format!("{what} has changed since the start, which takes effect when the proxy is started again")
    })
    .collect()
}

#[cfg(test)]
#[path = "configure_tests.rs"]
mod tests;
