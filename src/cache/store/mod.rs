//! One logical cache over all cores: each key has an owner, the cores talk by messages, and none touches
//! another's memory but for the stored responses themselves, which are immutable.
//!
//! ```text
//!   core A                          owner of the key                 core B
//!     find ── copy? own shard?
//!       └──────── Ask ─────────────▶ find ──┐
//!     copy ◀───── Found ────────────────────┘
//!     begin ───── Begin ───────────▶ begin ─┐
//!     fetch ◀──── Begun(Fetch) ─────────────┘
//!       │                            begin ◀───────────── Begin ──── begin
//!       │                              └──────────────── Begun(Join A) ─▶ │
//!       │ ◀──────────────────────────────────────────────── Subscribe ───┘
//!       ├── Progress(segment, …) ──────────────────────────────────────▶ mirror
//!       └───────── Store ──────────▶ store
//! ```
//!
//! The owner tells the holders of copies when an entry changes or goes. Stored responses are freed by
//! whoever lets go of them last.

mod inbox;
mod message;
mod question;
mod ticket;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};

use self::message::{Message, Reply, ReplyTo, SentKey};
use self::question::Question;
pub(crate) use self::ticket::Ticket;
use super::fill::{Fill, Reading};
use super::kept_forms::KeptForms;
use super::key::{BuildKeyHasher, Key, KeyRef};
use super::ledger::{Beside, Ledger};
use super::purge::{Moment, Purge, Round, What};
use super::shard::{Begun, Entry, FillId, STEP_BYTES, Shard, holder_bit};
use super::stored::{Body, Stored};
use crate::http::coding::Coding;

/// How long a copy is used before its owner is asked again: what is fetched on the strength of a copy began
/// no later than the copy, as far as purges go.
const COPY_MS: u64 = 10_000;

/// How many entries of other cores a core keeps a copy of.
const COPIES_MAX: usize = 4096;

/// How long the other tasks of a core have between two steps of something long.
const PAUSE: Duration = Duration::from_millis(1);

/// The shards leave this part of the cache's bytes free: for fetches under way, and for evicted responses
/// that somebody is still reading.
const SLACK: usize = 32;

/// Room that is made at a time, where there is none left.
const ROOM_BYTES: usize = 64 * 1024;

/// What all cores have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    ledger: Arc<Ledger>,
    /// One secret for all cores: they have to agree on who owns what, and clients must not know.
    hasher: RandomState,
    inboxes: Arc<[flume::Sender<Message>]>,
    outlets: Arc<[flume::Receiver<Message>]>,
    /// Cores that still have clients.
    busy: Arc<AtomicUsize>,
}

impl Shared {
    /// A cache of so many bytes over so many cores.
    pub(crate) fn new(bytes_max: usize, cores: usize) -> Shared {
        let (inboxes, outlets): (Vec<_>, Vec<_>) = (0..cores).map(|_| flume::unbounded()).unzip();
        Shared {
            ledger: Ledger::new(bytes_max),
            hasher: RandomState::new(),
            inboxes: inboxes.into(),
            outlets: outlets.into(),
            busy: Arc::new(AtomicUsize::new(cores)),
        }
    }
}

/// An entry that belongs to another core.
struct Copied {
    key: Rc<Key>,
    entry: Rc<Entry>,
    moment: Moment,
    /// The tick in which it was last used.
    used_ms: Cell<u64>,
    kept_ms: u64,
}

type Copies = Cache<Rc<Key>, Copied, UnitWeighter, BuildKeyHasher, DefaultLifecycle<Rc<Key>, Copied>>;

/// What is stored for a key.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The entry, if there is one.
    pub(crate) entry: Option<Rc<Entry>>,
    /// The moment that a fetch which follows begins at.
    pub(crate) moment: Moment,
}

/// What to do on a miss.
pub(crate) enum Begin {
    /// Fetch.
    Fetch(Ticket),
    /// Read what another is fetching.
    Join(Reading, FillId),
    /// What is stored has changed: look again.
    Changed,
}

/// A fetch of this core that others may wait for.
struct Source {
    fill: Rc<Fill>,
    /// The cores with a mirror, and whether anybody reads there.
    subscribers: BTreeMap<usize, bool>,
}

impl Source {
    fn tell_mirrored(&self) {
        self.fill.mirrored(self.subscribers.values().filter(|&&reads| reads).count());
    }
}

/// What came back.
enum Answer {
    Found(Found),
    Begun(Begun, Moment),
    Subscribed(Reading),
    Done,
}

/// One core's part of the cache.
pub(crate) struct Store {
    this: Weak<Store>,
    place: usize,
    shared: Shared,
    shard: RefCell<Shard>,
    copies: RefCell<Copies>,
    kept_forms: RefCell<KeptForms>,
    /// Keys whose copies were used since the last tick: their owners would take them for forgotten else.
    used: RefCell<Vec<Rc<Key>>>,
    sources: RefCell<HashMap<u64, Source>>,
    mirrors: RefCell<HashMap<FillId, Rc<Fill>>>,
    questions: RefCell<HashMap<u64, Question>>,
    /// For each core, more than one if it was told to forget something and has not heard it yet.
    unheard: Box<[Arc<()>]>,
    next: Cell<u64>,
    /// The wall clock in milliseconds since 1970, as of the last tick.
    now_ms: Cell<u64>,
}

impl Store {
    /// The part of the core with that place.
    pub(crate) fn new(shared: Shared, place: usize, now_ms: u64) -> Rc<Store> {
        let cores = shared.inboxes.len();
        let bytes_max = shared.ledger.bytes_max();
        let shard = Shard::new(&shared.ledger, (bytes_max - bytes_max / SLACK) / cores);
        // Many cores must not fill a small cache with copies alone.
        let copies_max = COPIES_MAX.min(bytes_max / cores / 16 / 1024).max(1);
        let copies = Cache::with(
            copies_max,
            copies_max as u64,
            UnitWeighter,
            BuildKeyHasher::default(),
            DefaultLifecycle::default(),
        );
        Rc::new_cyclic(|this| Store {
            this: this.clone(),
            place,
            shared,
            shard: RefCell::new(shard),
            copies: RefCell::new(copies),
            kept_forms: RefCell::default(),
            used: RefCell::default(),
            sources: RefCell::default(),
            mirrors: RefCell::default(),
            questions: RefCell::default(),
            unheard: (0..cores).map(|_| Arc::default()).collect(),
            next: Cell::new(0),
            now_ms: Cell::new(now_ms),
        })
    }

    /// The hash of a key or of selecting values.
    pub(crate) fn hash(&self, text: &[u8]) -> u64 {
        self.shared.hasher.hash_one(text)
    }

    /// Tells the time: milliseconds since 1970. To be called about ten times a second.
    pub(crate) fn tick(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
        self.tell_used();
    }

    /// What is stored for a key, where this core knows it without asking.
    pub(crate) fn find_here(&self, key: KeyRef<'_>) -> Option<Found> {
        let owner = self.owner(key.hash);
        if owner == self.place {
            let shard = self.shard.borrow();
            return Some(Found { entry: shard.find(key, None), moment: shard.moment() });
        }
        let copies = self.copies.borrow();
        let copy = copies.get(&key)?;
        let now_ms = self.now_ms.get();
        if now_ms.saturating_sub(copy.kept_ms) > COPY_MS {
            return None;
        }
        if copy.used_ms.replace(now_ms) != now_ms {
            self.used.borrow_mut().push(copy.key.clone());
        }
        Some(Found { entry: Some(copy.entry.clone()), moment: copy.moment })
    }

    /// What is stored for a key that another core owns.
    pub(crate) async fn ask(&self, key: KeyRef<'_>) -> Found {
        let (number, reply) = self.question();
        self.send(self.owner(key.hash), Message::Ask { key: SentKey::of(key), core: self.place, reply });
        match self.answer(number).await {
            Answer::Found(found) => found,
            _ => Found { entry: None, moment: Moment::default() },
        }
    }

    /// Begins a fetch, or joins one. `selecting` is what is known of the request that selects among the
    /// key's responses; `seen` the version of the entry that it could not use, 0 for none.
    pub(crate) async fn begin(&self, key: KeyRef<'_>, selecting: &[u8], seen: u64) -> Begin {
        let id = FillId { core: self.place, number: self.number() };
        let owner = self.owner(key.hash);
        let selecting_hash = self.hash(selecting);
        loop {
            let (begun, moment) = if owner == self.place {
                let (begun, moment) = self.begin_here(key, (selecting_hash, selecting), seen, id);
                if begun == Begun::Fetch {
                    self.open_source(id);
                }
                (begun, moment)
            } else {
                let (number, reply) = self.question();
                let (key, selecting) = (SentKey::of(key), selecting.into());
                self.send(owner, Message::Begin { key, selecting, selecting_hash, seen, id, reply });
                match self.answer(number).await {
                    Answer::Begun(begun, moment) => (begun, moment),
                    _ => (Begun::Alone, Moment::default()),
                }
            };
            match begun {
                Begun::Fetch => {
                    let fill = self.sources.borrow().get(&id.number).map(|source| source.fill.clone());
                    let fill = fill.unwrap_or_else(Fill::new);
                    return Begin::Fetch(Ticket::shared(self.this.clone(), moment, id, owner, fill));
                }
                Begun::Alone => return Begin::Fetch(self.alone(moment)),
                Begun::Changed => return Begin::Changed,
                Begun::Join(other) => {
                    if let Some(reading) = self.join(other).await {
                        return Begin::Join(reading, other);
                    }
                    // It ended meanwhile: the owner knows more now.
                }
            }
        }
    }

    /// A ticket for a fetch that began at that moment, which nobody waits for.
    pub(crate) fn alone(&self, begun: Moment) -> Ticket {
        Ticket::alone(self.this.clone(), begun)
    }

    /// Lets others read along with a fetch of this core's.
    fn open_source(&self, id: FillId) {
        let source = Source { fill: Fill::new(), subscribers: BTreeMap::new() };
        self.sources.borrow_mut().insert(id.number, source);
    }

    fn begin_here(&self, key: KeyRef<'_>, selecting: (u64, &[u8]), seen: u64, id: FillId) -> (Begun, Moment) {
        self.keep_room(key.text.len());
        let mut shard = self.shard.borrow_mut();
        (shard.begin(key, selecting, seen, id, self.now_ms.get()), shard.moment())
    }

    /// Reads a fetch under way, on whatever core.
    async fn join(&self, id: FillId) -> Option<Reading> {
        if id.core == self.place {
            return self.sources.borrow().get(&id.number).map(|source| Reading::new(&source.fill));
        }
        if let Some(mirror) = self.mirrors.borrow().get(&id) {
            return Some(Reading::new(mirror));
        }
        let (number, reply) = self.question();
        self.send(id.core, Message::Subscribe { id, core: self.place, reply });
        match self.answer(number).await {
            Answer::Subscribed(reading) => Some(reading),
            _ => None,
        }
    }

    /// Nobody is to join that fetch for the key with this hash any more: it takes too long.
    pub(crate) fn give_up(&self, hash: u64, id: FillId) {
        let owner = self.owner(hash);
        if owner == self.place {
            self.shard.borrow_mut().land(id);
        } else {
            self.send(owner, Message::Land { id });
        }
    }

    /// Removes what is stored for a key after its resource was changed, and returns once no core serves
    /// it any more.
    pub(crate) async fn invalidate(&self, key: KeyRef<'_>) {
        let owner = self.owner(key.hash);
        if owner == self.place {
            let (number, reply) = self.question();
            self.invalidate_here(key, reply);
            self.answer(number).await;
        } else {
            self.copies.borrow_mut().remove(&key);
            let (number, reply) = self.question();
            self.send(owner, Message::Invalidate { key: SentKey::of(key), reply });
            self.answer(number).await;
        }
    }

    /// Removes what a purge is about, in two rounds. In the first each owner lets go of what it has
    /// stored; in the second each core lets go of its copies, those included that were on their way
    /// during the first: an answer that an owner gave before its first round is in the inbox before the
    /// second begins. Returns how many responses went.
    pub(crate) async fn purge(&self, purge: &Purge, round: Round) -> u64 {
        match round {
            Round::Stored => self.purge_stored(purge).await,
            Round::Copies => {
                // Asking itself, a core has seen to all that came before when it has its answer. To take messages
                // out of the inbox here could leave the task that attends to it asleep beside others.
                let (number, reply) = self.question();
                reply.send(Reply::Done);
                self.answer(number).await;
                let covered = |key: &Rc<Key>| purge.what.may_cover(key.borrowed().text);
                self.copies.borrow_mut().retain(|key, _| !covered(key));
                0
            }
        }
    }

    async fn purge_stored(&self, purge: &Purge) -> u64 {
        if let What::Key(text) = &purge.what {
            let key = KeyRef { hash: self.hash(text), text };
            if !self.owns(key.hash) {
                return 0;
            }
            let mut shard = self.shard.borrow_mut();
            match purge.soft {
                true => shard.note_purge(purge.clone()),
                // There is a log for single keys, which goes back much further.
                false => shard.note_removal(key),
            }
            let count = shard.purge_one(purge, key);
            drop(shard);
            self.tell_forgotten(None);
            return count;
        }
        self.shard.borrow_mut().note_purge(purge.clone());
        let (mut count, mut from) = (0, Some(0));
        while let Some(place) = from {
            let (step, next) = self.shard.borrow_mut().purge_step(purge, place);
            self.tell_forgotten(None);
            (count, from) = (count + step, next);
            if next.is_some() {
                monoio::time::sleep(PAUSE).await;
            }
        }
        count
    }

    /// Makes something that takes memory of the cache; evicts for it where it has to. None if there is no
    /// room even so: what was evicted is still being read, or the rest belongs to other cores.
    pub(crate) fn make<T>(&self, bytes: usize, make: impl Fn(&Arc<Ledger>) -> Option<T>) -> Option<T> {
        make(&self.shared.ledger).or_else(|| {
            self.shed(bytes);
            make(&self.shared.ledger)
        })
    }

    /// The same, for something that is kept beside stored responses. That has a bound of its own, and nothing is
    /// evicted for it beyond.
    pub(crate) fn make_beside<T>(
        &self,
        what: Beside,
        bytes: usize,
        make: impl Fn(&Arc<Ledger>) -> Option<T>,
    ) -> Option<T> {
        let ledger = &self.shared.ledger;
        let has_room = |_: &KeptForms| ledger.has_room_beside(what, bytes);
        if what == Beside::Form {
            self.kept_forms.borrow_mut().make_room(has_room);
        }
        if !ledger.has_room_beside(what, bytes) {
            return None;
        }
        make(ledger).or_else(|| {
            self.shed(bytes);
            make(ledger)
        })
    }

    /// Takes note of a form that this core has made, and lets others go that it has no room for beside it. Each core
    /// has its share of what forms may take, so that none is left without.
    pub(crate) fn keeps_form(&self, of: &Arc<Body>, coding: Coding, bytes: u64) {
        let share = self.shared.ledger.forms_to_keep() / self.shared.inboxes.len();
        let mut kept = self.kept_forms.borrow_mut();
        kept.add(of, coding, bytes);
        kept.make_room(|kept| kept.bytes() <= share as u64);
    }

    /// Evicts for something else that takes memory of the cache. Not more than half of what may be stored
    /// here: beyond that it is clients who read slowly what was evicted before that take it, and they must
    /// not empty the cache.
    fn shed(&self, bytes: usize) {
        let mut shard = self.shard.borrow_mut();
        if shard.is_half_full() {
            shard.shed(bytes);
            drop(shard);
            self.tell_forgotten(None);
        }
    }

    /// Keeps room for a key.
    fn keep_room(&self, key_bytes: usize) {
        let ledger = &self.shared.ledger;
        if ledger.held() + key_bytes + ROOM_BYTES > ledger.bytes_max() {
            self.shed(key_bytes + ROOM_BYTES);
        }
    }

    /// Bytes of the largest response that a core can own.
    pub(crate) fn response_bytes_max(&self) -> usize {
        self.shard.borrow().response_bytes_max()
    }

    /// Bytes that the cache holds, over all cores.
    pub(crate) fn held(&self) -> usize {
        self.shared.ledger.held()
    }

    /// How many keys this core knows something of (what is stored, or that it is not for sharing), and how many
    /// were evicted so far.
    pub(crate) fn entries(&self) -> (usize, u64) {
        let shard = self.shard.borrow();
        (shard.len(), shard.evicted())
    }

    /// Says that this core, which is about to end, has no clients any more. To be called once.
    pub(crate) fn rest(&self) {
        // The count orders no other memory.
        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there are cores with clients, who may need what this core owns or fetches.
    pub(crate) fn is_needed(&self) -> bool {
        self.shared.busy.load(Ordering::Relaxed) > 0
    }

    /// Whether this core owns a key.
    pub(crate) fn owns(&self, hash: u64) -> bool {
        self.owner(hash) == self.place
    }

    /// Whether a fetch is under way for a key that this core owns, and that others may wait for.
    pub(crate) fn is_fetched(&self, key: KeyRef<'_>) -> bool {
        self.shard.borrow().is_fetched(key)
    }

    /// The core that owns a key.
    pub(crate) fn owner(&self, hash: u64) -> usize {
        let cores = self.shared.inboxes.len() as u128;
        // The upper half of a product spreads the hash evenly, and leaves its low bits to the index.
        usize::try_from((u128::from(hash) * cores) >> 64).unwrap_or(0)
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    fn send(&self, core: usize, message: Message) {
        // A core that has ended does not hear it; dropping the message answers what it asks.
        let _ = self.shared.inboxes[core].send(message);
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
