//! The stored responses of the keys that one core owns, and which fetches are under way for them.
//!
//! Pure: it is told the time and who asks, and says what is to be told to others. See
//! `cache::store` for the messages between cores.
//!
//! ```text
//!   begin ─▶ Fetch ─▶ land ─┬─▶ store ─▶ entry       (others Join until it lands)
//!      │                    └─▶ not_shared ─▶ marked: for a while nobody waits for anybody
//!      └───▶ Alone ─▶ the same, with nobody waiting
//! ```

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use quick_cache::unsync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use slab::Slab;

use super::key::{BuildKeyHasher, Key, KeyRef};
use super::ledger::Ledger;
use super::purge::{Moment, Purge, PurgeLog, Since};
use super::stored::Stored;

/// Responses to requests for one key that may be stored at once. The one that was stored first goes
/// when there are more: a client must not fill the cache with variants of one resource.
pub const VARIANTS_MAX: usize = 32;

/// How long requests for a key do not wait for one another after its response could not be shared.
pub const ALONE_MS: u64 = 120_000;

/// A response whose storing evicts more than this is stored in steps: see [`Shard::make_room`].
pub const STEP_BYTES: usize = 256 * 1024;

/// What a response and its entry usually take. It is only needed to tell how many evicted keys to remember.
const USUAL_BYTES: usize = 32 * 1024;

/// So many evicted keys are remembered, as a part of those that are usually stored: what is asked for again
/// soon after it went stays longer. Where popularity is steady, many let too much stay; where it changes, or
/// responses are small and scanned, few forget too much. This is a compromise between simulated traces of
/// both kinds.
const GHOSTS: f64 = 0.35;

/// Entries that a purge looks at before others get their turn.
pub const PURGE_STEP: usize = 1024;

/// What is stored for a key, as a snapshot: a change makes another.
#[derive(Debug, Default)]
pub struct Entry {
    /// The responses, the one that was stored last first.
    pub variants: Vec<Stored>,
    /// Until when (milliseconds since 1970) requests do not wait for one another.
    pub alone_until_ms: u64,
    /// Tells it from other entries of its key; never 0.
    pub version: u64,
    /// When this core last began to validate it beside serving it (milliseconds since 1970).
    pub validated_ms: Cell<u64>,
}

/// A fetch under way: which core does it, and a number of that core's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FillId {
    /// The core that fetches.
    pub core: usize,
    /// Its number for the fetch.
    pub number: u64,
}

/// What to do on a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Fetch; others will wait for it.
    Fetch,
    /// Fetch; nobody waits for it. It may be stored.
    Alone,
    /// Somebody fetches it already.
    Join(FillId),
    /// What is stored is not what the asker has seen: look again.
    Changed,
}

/// A fetch that others wait for, as the owner of its key knows it.
#[derive(Debug)]
struct Flight {
    key: Rc<Key>,
    /// Where it stands among the joinable ones.
    place: u64,
    selecting: Box<[u8]>,
    begun: Moment,
}

/// A key's place in the index.
#[derive(Debug)]
struct Resource {
    entry: Rc<Entry>,
    /// Its place in the list of keys.
    slot: usize,
    /// The cores that hold a copy of the entry, one bit each; cores beyond 64 share bits.
    holders: Cell<u64>,
    weight: u64,
    ballast: bool,
}

#[derive(Clone, Copy, Debug)]
struct ByWeight;

impl Weighter<Rc<Key>, Resource> for ByWeight {
    fn weight(&self, _: &Rc<Key>, resource: &Resource) -> u64 {
        resource.weight
    }
}

/// Collects what the index lets go.
#[derive(Clone, Copy, Debug)]
struct Collect;

impl Lifecycle<Rc<Key>, Resource> for Collect {
    type RequestState = Vec<(Rc<Key>, Resource)>;

    fn is_pinned(&self, _: &Rc<Key>, resource: &Resource) -> bool {
        resource.ballast
    }

    fn begin_request(&self) -> Self::RequestState {
        Vec::new()
    }

    fn on_evict(&self, gone: &mut Self::RequestState, key: Rc<Key>, resource: Resource) {
        gone.push((key, resource));
    }
}

/// The part of the cache that one core owns.
pub struct Shard {
    index: Cache<Rc<Key>, Resource, ByWeight, BuildKeyHasher, Collect>,
    /// All keys of the index, so that a purge can go through them in steps.
    keys: Slab<Rc<Key>>,
    /// Takes up room for a moment, to have the index evict.
    ballast: Rc<Key>,
    bytes_max: usize,
    ledger: Arc<Ledger>,
    flights: HashMap<FillId, Flight>,
    joinable: HashMap<u64, FillId>,
    log: PurgeLog,
    forgotten: Vec<(Rc<Key>, u64)>,
    evicted: u64,
    versions: u64,
}

impl Shard {
    /// An empty shard that holds at most so many bytes.
    ///
    /// # Panics
    /// The ledger has no room for a single key.
    pub fn new(ledger: &Arc<Ledger>, bytes_max: usize) -> Shard {
        let options = OptionsBuilder::new()
            .estimated_items_capacity((bytes_max / USUAL_BYTES).max(64))
            .ghost_allocation(GHOSTS)
            .weight_capacity(bytes_max as u64)
            .build();
        let ballast = Key::new(ledger, KeyRef { hash: 0, text: b"" });
        let (Ok(options), Some(ballast)) = (options, ballast) else {
            panic!("a cache of {bytes_max} bytes is no cache");
        };
        Shard {
            index: Cache::with_options(options, ByWeight, BuildKeyHasher::default(), Collect),
            keys: Slab::new(),
            ballast,
            bytes_max,
            ledger: ledger.clone(),
            flights: HashMap::new(),
            joinable: HashMap::new(),
            log: PurgeLog::default(),
            forgotten: Vec::new(),
            evicted: 0,
            versions: 0,
        }
    }

    /// What is stored for a key. A core other than the owner keeps the entry, and will be told when it
    /// has to forget it.
    pub fn find(&self, key: KeyRef<'_>, holder: Option<usize>) -> Option<Rc<Entry>> {
        let resource = self.index.get(&key)?;
        if let Some(core) = holder {
            resource.holders.set(resource.holders.get() | holder_bit(core));
        }
        Some(resource.entry.clone())
    }

    /// Notes that a copy of the entry elsewhere is in use.
    pub fn touch(&self, key: KeyRef<'_>) {
        self.index.get(&key);
    }

    /// The moment that a fetch begins at: see [`Shard::store`].
    pub fn moment(&self) -> Moment {
        self.log.now()
    }

    /// A request found nothing that it can use: says whether to fetch, or whom to join. `selecting` is
    /// what is known of the request that selects among the key's responses, as a hash beside its bytes;
    /// `seen` is the version of the entry that it could not use, 0 for none.
    pub fn begin(
        &mut self,
        key: KeyRef<'_>,
        (hash, selecting): (u64, &[u8]),
        seen: u64,
        id: FillId,
        now_ms: u64,
    ) -> Begun {
        let found = self.index.peek(&key);
        if found.map_or(0, |found| found.entry.version) != seen {
            return Begun::Changed;
        }
        if found.is_some_and(|found| found.entry.alone_until_ms > now_ms) {
            return Begun::Alone;
        }
        let place = key.hash ^ hash.rotate_left(1);
        if let Some((other, flight)) =
            self.joinable.get(&place).and_then(|id| Some((*id, self.flights.get(id)?)))
        {
            if flight.key.borrowed().text != key.text || *flight.selecting != *selecting {
                // Another key with the same hash.
                return Begun::Alone;
            }
            // What began before a purge is not for those who come after it.
            if self.log.since(flight.begun, key.hash, key.text, None) == Since::Nothing {
                return Begun::Join(other);
            }
        }
        let known = self.index.peek(&key).and_then(|found| self.keys.get(found.slot)).cloned();
        let Some(key) = known.or_else(|| Key::new(&self.ledger, key)) else { return Begun::Alone };
        self.joinable.insert(place, id);
        self.flights.insert(id, Flight { key, place, selecting: selecting.into(), begun: self.log.now() });
        Begun::Fetch
    }

    /// Whether a fetch is under way for a key that others may join. Looks at all that are under way.
    pub fn is_fetched(&self, key: KeyRef<'_>) -> bool {
        self.flights.values().any(|flight| flight.key.borrowed().text == key.text)
    }

    /// A fetch that others could join has ended; those who ask from here on do not find it.
    pub fn land(&mut self, id: FillId) {
        if let Some(flight) = self.flights.remove(&id)
            && self.joinable.get(&flight.place) == Some(&id)
        {
            self.joinable.remove(&flight.place);
        }
    }

    /// A fetch brought a response that cannot be shared: for a while nobody waits for one. A response
    /// that `supersedes` what is stored takes its place.
    pub fn not_shared(&mut self, key: KeyRef<'_>, supersedes: bool, now_ms: u64) {
        let known = self
            .index
            .peek(&key)
            .and_then(|found| Some((self.keys.get(found.slot)?.clone(), found.entry.clone())));
        let Some((key, entry)) = known.or_else(|| Some((Key::new(&self.ledger, key)?, Rc::default()))) else {
            return;
        };
        let variants = if supersedes { Vec::new() } else { entry.variants.clone() };
        let marked = entry.alone_until_ms > now_ms + ALONE_MS / 2;
        if !marked || variants.len() != entry.variants.len() {
            self.put(key, variants, now_ms + ALONE_MS);
        }
    }

    /// A fetch brought a response to store, in the place of the one with the same selecting values. Says
    /// whether it was stored: not if the key was purged since the fetch began, or if the stored one is more
    /// recent.
    pub fn store(&mut self, key: KeyRef<'_>, begun: Moment, mut stored: Stored) -> bool {
        match self.log.since(begun, key.hash, key.text, Some(stored.head.tags())) {
            Since::Nothing => {}
            Since::Removed => return false,
            Since::Stale => {
                let Some(head) = stored.head.softly_purged(&self.ledger) else { return false };
                stored.head = head;
            }
        }
        let most = self.entry_bytes_max();
        let mut weight = stored.weight();
        if weight > most {
            return false;
        }
        let mut variants = vec![stored];
        let found = self.index.peek(&key);
        for other in found.iter().flat_map(|found| &found.entry.variants) {
            let same = other.head.vary() == variants[0].head.vary()
                && other.head.selecting() == variants[0].head.selecting();
            if same && variants[0].is_outrun_by(other) {
                return false;
            }
            if !same && variants.len() < VARIANTS_MAX && weight + other.weight() <= most {
                weight += other.weight();
                variants.push(other.clone());
            }
        }
        let known = found.and_then(|found| self.keys.get(found.slot)).cloned();
        let Some(key) = known.or_else(|| Key::new(&self.ledger, key)) else { return false };
        self.put(key, variants, 0);
        true
    }

    /// Puts an entry in its place.
    fn put(&mut self, key: Rc<Key>, variants: Vec<Stored>, alone_until_ms: u64) {
        let weight = key.weight() + variants.iter().map(Stored::weight).sum::<usize>();
        self.versions += 1;
        let entry = Entry { variants, alone_until_ms, version: self.versions, validated_ms: Cell::new(0) };
        let before = self.index.peek(&key.borrowed()).map(|found| (found.slot, found.holders.get()));
        let slot = match before {
            Some((slot, holders)) => {
                self.forget(&key, holders);
                slot
            }
            None => self.keys.insert(key.clone()),
        };
        let resource = Resource {
            entry: Rc::new(entry),
            slot,
            holders: Cell::new(0),
            weight: weight as u64,
            ballast: false,
        };
        let gone = self.index.insert_with_lifecycle(key, resource);
        self.let_go(gone, before.map(|(slot, _)| slot));
    }

    /// Removes what is stored for a key, after a request that has changed the resource (RFC 9111, section
    /// 4.4), and keeps fetches under way from being stored.
    pub fn invalidate(&mut self, key: KeyRef<'_>) {
        self.note_removal(key);
        self.remove(key);
    }

    /// Keeps what is being fetched for a key from being stored.
    pub fn note_removal(&mut self, key: KeyRef<'_>) {
        self.log.note_key(key.hash);
    }

    fn remove(&mut self, key: KeyRef<'_>) -> u64 {
        let Some((key, resource)) = self.index.remove(&key) else { return 0 };
        self.keys.try_remove(resource.slot);
        self.forget(&key, resource.holders.get());
        resource.entry.variants.len() as u64
    }

    /// Begins a purge: whatever is being fetched now will not be stored as if nothing had happened.
    pub fn note_purge(&mut self, purge: Purge) {
        self.log.note(purge);
    }

    /// Goes on with a purge at the place `from`: how many responses went, and where to go on.
    pub fn purge_step(&mut self, purge: &Purge, from: usize) -> (u64, Option<usize>) {
        // Only keys that are there now matter: what is stored from here on is looked at then.
        let until = (from + PURGE_STEP).min(self.keys.capacity());
        let mut count = 0;
        for slot in from..until {
            if let Some(key) = self.keys.get(slot).cloned()
                && purge.what.may_cover(key.borrowed().text)
            {
                count += self.purge_one(purge, key.borrowed());
            }
        }
        (count, (until < self.keys.capacity()).then_some(until))
    }

    /// Purges what is stored for one key.
    pub fn purge_one(&mut self, purge: &Purge, key: KeyRef<'_>) -> u64 {
        let Some(found) = self.index.peek(&key) else { return 0 };
        let variants = &found.entry.variants;
        let meant = |stored: &Stored| purge.what.covers(key.text, stored.head.tags());
        let count = variants.iter().filter(|stored| meant(stored)).count() as u64;
        let rest: Vec<Stored> = variants
            .iter()
            .filter_map(|stored| match (meant(stored), purge.soft) {
                (false, _) => Some(stored.clone()),
                (true, false) => None,
                (true, true) => {
                    let head = stored.head.softly_purged(&self.ledger)?;
                    Some(Stored { head, body: stored.body.clone() })
                }
            })
            .collect();
        if count == 0 {
            if variants.is_empty() && !purge.soft && purge.what.covers(key.text, b"") {
                // Nothing is stored; it is only known that requests must not wait for one another.
                self.remove(key);
            }
            return 0;
        }
        let Some(kept) = self.keys.get(found.slot).cloned() else { return 0 };
        if rest.is_empty() {
            self.remove(key);
        } else {
            self.put(kept, rest, 0);
        }
        count
    }

    /// Evicts a step's worth for a response of that weight that is about to be stored. Says whether
    /// there is room now.
    pub fn make_room(&mut self, weight: usize) -> bool {
        let surplus = (self.weight() + weight).saturating_sub(self.ledger.left_of(self.bytes_max));
        // Nothing goes for what is too large to be stored, and would not fit however much went.
        if surplus == 0 || weight > self.entry_bytes_max() {
            return true;
        }
        self.shed(surplus.min(STEP_BYTES));
        surplus <= STEP_BYTES
    }

    /// Evicts at least so many bytes, or all there are.
    pub fn shed(&mut self, bytes: usize) {
        let target = self.weight().saturating_sub(bytes);
        for weight in [self.bytes_max - target.min(self.bytes_max), 1] {
            let resource = Resource {
                entry: Rc::default(),
                slot: usize::MAX,
                holders: Cell::new(0),
                weight: weight.max(1) as u64,
                ballast: true,
            };
            let gone = self.index.insert_with_lifecycle(self.ballast.clone(), resource);
            self.let_go(gone, None);
        }
    }

    /// What is stored for one key takes at most half of the shard.
    fn entry_bytes_max(&self) -> usize {
        self.bytes_max / 2
    }

    /// Bytes of content that a response can have and still be stored: its segments and head take more.
    pub fn response_bytes_max(&self) -> usize {
        self.entry_bytes_max() / 16 * 15
    }

    /// Whether at least half of what may be stored here is.
    pub fn is_half_full(&self) -> bool {
        self.weight() >= self.ledger.left_of(self.bytes_max) / 2
    }

    /// Bytes that are stored here.
    pub fn weight(&self) -> usize {
        usize::try_from(self.index.weight()).unwrap_or(usize::MAX)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys were evicted so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Keys whose copies on the cores of that set have to go. To be asked for after every call that changes
    /// something.
    pub fn take_forgotten(&mut self) -> Vec<(Rc<Key>, u64)> {
        std::mem::take(&mut self.forgotten)
    }

    /// Whether there are any.
    pub fn has_forgotten(&self) -> bool {
        !self.forgotten.is_empty()
    }

    /// Sees to what the index let go; `replaced` is the place of a key that is still there.
    fn let_go(&mut self, gone: Vec<(Rc<Key>, Resource)>, replaced: Option<usize>) {
        for (key, resource) in gone {
            if resource.ballast || replaced == Some(resource.slot) && self.index.contains_key(&key.borrowed())
            {
                continue;
            }
            self.evicted += 1;
            self.keys.try_remove(resource.slot);
            self.forget(&key, resource.holders.get());
        }
    }

    fn forget(&mut self, key: &Rc<Key>, holders: u64) {
        if holders != 0 {
            self.forgotten.push((key.clone(), holders));
        }
    }
}

/// The bit of a core in a set of holders.
pub const fn holder_bit(core: usize) -> u64 {
    1 << (core % 64)
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
