//! What one core owns.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::checks::Ruled;
use super::coding::Coders;
use super::pressure::{BATCH, Pressure, PressureReport};
use super::snapshot::{Blueprint, Snapshot};
use super::task::Places;
use crate::cache::purge::{Purge, Round};
use crate::cache::store::Store;
use crate::clock::{Clock, Moment};
use crate::filter::rules::Scratch;
use crate::http::FieldLine;
use crate::http::date::RenderedDate;
use crate::net::deadline::TICK;
use crate::net::parking::ParkingLot;
use crate::net::{BufferPool, Deadlines};
use crate::observe::{Counters, Format};
use crate::proxy::checks::passwords::Passwords;
use crate::proxy::client::inlet::Inlet;
use crate::proxy::client::visit::Visit;
use crate::proxy::request::terms::Made;
use crate::route::Captures;
use crate::upstream::health::Tally;
use crate::upstream::shared;
use crate::upstream::{Nodes, Roster};

/// The access log of one core: lines gather here until they are carried out.
pub(crate) struct LogBatch {
    pub(crate) format: Format,
    lines: RefCell<Vec<u8>>,
    count: Cell<u64>,
}

/// A batch longer than this is cut off: whoever carries lines out has fallen behind.
const LOG_BATCH_BYTES_MAX: usize = 1 << 20;

impl LogBatch {
    /// Adds a line; says whether there was room.
    pub(crate) fn add(&self, line: impl FnOnce(&mut Vec<u8>, Format)) -> bool {
        let mut lines = self.lines.borrow_mut();
        if lines.len() > LOG_BATCH_BYTES_MAX {
            return false;
        }
        line(&mut lines, self.format);
        self.count.set(self.count.get() + 1);
        true
    }

    /// Takes the lines and how many they are, if there are any, and goes on in `empty`.
    pub(crate) fn take(&self, empty: impl FnOnce() -> Vec<u8>) -> Option<(Vec<u8>, u64)> {
        let mut lines = self.lines.borrow_mut();
        (!lines.is_empty()).then(|| (std::mem::replace(&mut *lines, empty()), self.count.take()))
    }
}

/// So many lists of field lines are kept for later.
const LINES_KEPT_MAX: usize = 1024;

/// Texts with more room than this are not kept.
const TEXT_BYTES_KEPT_MAX: usize = 1024;

/// Everything that belongs to one core.
pub(crate) struct Core {
    /// The core's place among the workers.
    place: usize,
    /// How many there are.
    workers: usize,
    /// Hears what the core has seen of endpoints.
    tell: Box<dyn Fn(Vec<Tally>)>,
    /// The configuration for what begins now.
    snapshot: RefCell<Rc<Snapshot>>,
    pub(crate) buffers: BufferPool,
    /// Memory for streams of compressed content.
    pub(super) coders: Rc<Coders>,
    /// Stored content that is compressed on its way to clients, and that is compressed to be kept.
    pub(super) compressing: [Rc<Places>; 2],
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) lot: ParkingLot<(Option<SocketAddr>, Rc<Inlet>, Visit)>,
    /// How close the process is to what it may hold.
    pressure: Arc<Pressure>,
    /// The endpoints that this core has connections to, of all upstreams.
    pub(crate) nodes: Nodes,
    pub(crate) counters: Counters,
    pub(crate) log: LogBatch,
    /// This core's part of the cache, if there is one.
    pub(crate) store: Option<Rc<Store>>,
    pub(crate) clock: Clock,
    pub(crate) random: RefCell<fastrand::Rng>,
    pub(crate) date: RefCell<RenderedDate>,
    /// Heads are written here before they go where they belong.
    pub(crate) scratch: RefCell<Vec<u8>>,
    /// Where the head in it is written anew, when something in it changes; the two take turns.
    pub(super) edited: RefCell<Vec<u8>>,
    /// Memory for field lines, the list that was given back last on top.
    lines: RefCell<Vec<Vec<FieldLine>>>,
    /// The same, for keys and other short texts.
    texts: RefCell<Vec<Vec<u8>>>,
    /// The same, for what is made for exchanges.
    #[expect(clippy::vec_box, reason = "it is the boxes that are kept")]
    made: RefCell<Vec<Box<Made>>>,
    /// What is said about the cache is written here before it goes into a head.
    pub(crate) report: RefCell<Vec<u8>>,
    started: Moment,
    /// What is known of passwords.
    pub(super) passwords: Passwords,
    /// Memory for holding requests against rules.
    pub(crate) rule_scratch: RefCell<Scratch>,
    /// Clients that wait in tarpits.
    pub(crate) tarpitted: Cell<u32>,
    /// Copies for mirrors that are on their way.
    pub(crate) mirrored: Cell<u32>,
    /// Requests that wait for their turn, because of a rate.
    pub(crate) delayed: Cell<u32>,
    draining: Cell<bool>,
    /// Whether an alarm was raised since the last tick.
    alarmed: Cell<bool>,
    connections: Cell<usize>,
}

impl Core {
    /// The core with that place among the workers. `rosters` has the endpoints of its upstreams.
    ///
    /// # Errors
    /// No descriptor is left for the parking lot.
    pub(crate) fn new(
        (place, workers): (usize, usize),
        blueprint: Arc<Blueprint>,
        rosters: &[Arc<Roster>],
        log: Format,
        store: Option<Rc<Store>>,
        tell: Box<dyn Fn(Vec<Tally>)>,
    ) -> io::Result<Core> {
        let clock = Clock::default();
        let nodes = Nodes::default();
        nodes.set_idle(shared::idle_of_core(blueprint.settings.upstream_idle, workers), workers);
        let upstreams = nodes.adopt(&blueprint.upstreams, rosters, place as u64);
        let memory = blueprint.pressure.memory().clone();
        Ok(Core {
            place,
            workers,
            tell,
            buffers: BufferPool::counted(memory.clone()),
            pressure: blueprint.pressure.clone(),
            snapshot: RefCell::new(Rc::new(Snapshot::new(blueprint, upstreams))),
            nodes,
            coders: Rc::new(Coders::counted(memory)),
            compressing: Default::default(),
            deadlines: Rc::new(Deadlines::default()),
            lot: ParkingLot::new()?,
            counters: Counters::default(),
            log: LogBatch { format: log, lines: RefCell::default(), count: Cell::default() },
            random: RefCell::new(fastrand::Rng::new()),
            date: RefCell::new(RenderedDate::new(clock.wall())),
            scratch: RefCell::new(Vec::with_capacity(4096)),
            edited: RefCell::new(Vec::with_capacity(4096)),
            lines: RefCell::default(),
            texts: RefCell::default(),
            made: RefCell::default(),
            report: RefCell::default(),
            store,
            started: clock.now(),
            passwords: Passwords::default(),
            rule_scratch: RefCell::default(),
            tarpitted: Cell::new(0),
            mirrored: Cell::new(0),
            delayed: Cell::new(0),
            draining: Cell::new(false),
            alarmed: Cell::new(false),
            connections: Cell::new(0),
            clock,
        })
    }

    /// The configuration for what begins now.
    pub(crate) fn snapshot(&self) -> Rc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// Takes another configuration, for what begins from now on. `rosters` has the endpoints of its upstreams.
    pub(crate) fn configure(&self, blueprint: Arc<Blueprint>, rosters: &[Arc<Roster>]) -> Rc<Snapshot> {
        self.nodes
            .set_idle(shared::idle_of_core(blueprint.settings.upstream_idle, self.workers), self.workers);
        let upstreams = self.nodes.adopt(&blueprint.upstreams, rosters, self.place as u64);
        let snapshot = Rc::new(Snapshot::new(blueprint, upstreams));
        self.snapshot.replace(snapshot.clone());
        snapshot
    }

    /// Moves the time on: ends what is due, once a second more. Returns what somebody should read.
    pub(crate) fn tick(&self) -> Option<String> {
        let elapsed = self.clock.now().since(self.started).as_millis() / TICK.as_millis();
        let now = u32::try_from(elapsed).unwrap_or(u32::MAX / 2);
        let before = self.deadlines.now();
        self.deadlines.sweep(now);
        if let Some(store) = &self.store {
            store.tick(self.clock.unix_millis());
        }
        self.nodes.share(&self.clock);
        self.alarmed.set(false);
        self.tell_tallies();
        const TICKS_A_SECOND: u32 = 10;
        if now / TICKS_A_SECOND != before / TICKS_A_SECOND {
            self.date.borrow_mut().update(self.clock.wall());
            for _ in 0..self.lot.expire(now) {
                self.connection_closed();
            }
            self.nodes.expire(now, &self.clock);
            self.buffers.trim();
            self.coders.trim();
        }
        self.relieve()
    }

    /// Looks at the pressure again, and does this core's part against it.
    fn relieve(&self) -> Option<String> {
        let note = self.pressure.update(self.place == 0);
        if self.pressure.is_near() {
            self.close_idle(self.pressure.surplus(self.workers));
            self.buffers.trim();
            if self.pressure.is_full() {
                self.deadlines.break_off_longest();
            }
            if self.pressure.is_short_of_descriptors() {
                self.nodes.close_idle();
            }
        }
        note
    }

    /// Closes idle connections, at most so many, those that have waited longest first; says how many that were.
    fn close_idle(&self, count: usize) -> usize {
        let closed = self.lot.close_oldest(count);
        (0..closed).for_each(|_| self.connection_closed());
        self.counters.idle_closed.add(closed as u64);
        closed
    }

    /// Descriptors have run out. Closes what is idle, here and soon on other cores; says whether that freed any.
    pub(crate) fn descriptors_ran_out(&self) -> bool {
        self.pressure.descriptors_ran_out();
        self.close_idle(BATCH) + self.nodes.close_idle() > 0
    }

    /// Where memory is counted that is held for clients, over all cores.
    pub(super) fn memory(&self) -> &Arc<AtomicUsize> {
        self.pressure.memory()
    }

    /// How close the process is to what it may hold.
    pub(crate) fn pressure(&self) -> PressureReport {
        self.pressure.report()
    }

    /// Whether there is no room for another request.
    pub(super) fn is_overloaded(&self) -> bool {
        self.pressure.is_full()
    }

    /// An endpoint fails again and again: tells so before the next tick, once.
    pub(crate) fn raise_alarm(&self) {
        if !self.alarmed.replace(true) {
            self.tell_tallies();
        }
    }

    /// Tells what the core has seen of endpoints, as far as somebody wants to hear it.
    pub(crate) fn tell_tallies(&self) {
        let tallies = self.nodes.tallies();
        if !tallies.is_empty() {
            (self.tell)(tallies);
        }
    }

    /// An empty list for the field lines of a head.
    pub(crate) fn take_lines(&self) -> Vec<FieldLine> {
        self.lines.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes such a list back.
    pub(crate) fn give_back_lines(&self, mut lines: Vec<FieldLine>) {
        let mut kept = self.lines.borrow_mut();
        if kept.len() < LINES_KEPT_MAX {
            lines.clear();
            kept.push(lines);
        }
    }

    /// Room for what is made for an exchange.
    pub(super) fn take_made(&self) -> Box<Made> {
        self.made.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes such room back, emptied of its texts.
    pub(super) fn give_back_made(&self, mut made: Box<Made>) {
        let mut kept = self.made.borrow_mut();
        if kept.len() < LINES_KEPT_MAX {
            made.captures = Captures::new();
            made.ruled = Ruled::default();
            kept.push(made);
        }
    }

    /// An empty text.
    pub(crate) fn take_text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_default()
    }

    /// The same text, with memory that was used before if it has none yet.
    pub(super) fn with_room<'t>(&self, text: &'t mut Vec<u8>) -> &'t mut Vec<u8> {
        if text.capacity() == 0 {
            *text = self.take_text();
        }
        text
    }

    /// Takes such a text back.
    pub(crate) fn give_back_text(&self, mut text: Vec<u8>) {
        let mut kept = self.texts.borrow_mut();
        if kept.len() < LINES_KEPT_MAX && (1..=TEXT_BYTES_KEPT_MAX).contains(&text.capacity()) {
            text.clear();
            kept.push(text);
        }
    }

    /// Removes what is meant from this core, and returns how many stored responses that were.
    pub(crate) async fn purge(&self, purge: &Purge, round: Round) -> u64 {
        match &self.store {
            Some(store) => store.purge(purge, round).await,
            None => 0,
        }
    }

    /// Whether the process is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Lets what is in flight end, and closes what is idle.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        for _ in 0..self.lot.clear() {
            self.connection_closed();
        }
        self.deadlines.end_idle();
    }

    /// One more client connection is open, if the process may have one more.
    pub(crate) fn connection_opened(&self) -> bool {
        const FOR_EACH: usize = 2;
        let opened = self.pressure.enter();
        if opened {
            self.connections.set(self.connections.get() + 1);
        }
        if !opened || self.pressure.is_crowded() {
            // Where many come, the next tick would be late.
            self.close_idle(FOR_EACH);
        }
        opened
    }

    /// One client connection was closed.
    pub(crate) fn connection_closed(&self) {
        self.connections.set(self.connections.get() - 1);
        self.pressure.leave();
    }

    /// How many client connections are open, parked ones included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.get()
    }
}
