//! Ringway's own shards under the simulation: what is found is what a proxy with a `--cache-size` of that
//! many bytes would find.
//!
//! An entry weighs what it weighs in the proxy: content, head, key, and what each takes beside. The shards
//! share the bytes that `cache::store` gives them, and a core keeps copies of the entries of others as it does
//! there, telling an owner of their use at each tick. Only the content is one for all, which saves the
//! copying; what weighs an entry does not see that, but the ledger does. Fetches take no time and readers are
//! quick, so of what the store keeps free for them nothing is used.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use ringway::cache::freshness::{Defaults, Received};
use ringway::cache::key::{BuildKeyHasher, Key, KeyRef};
use ringway::cache::ledger::Ledger;
use ringway::cache::policy::{self, Asked};
use ringway::cache::shard::{Entry, STEP_BYTES, Shard, holder_bit};
use ringway::cache::stored::{Body, Head, Making, Segment, Stored};
use ringway::h1::encode::KeptEdits;
use ringway::h1::response;
use ringway::http::{Fields, Method};
use ringway::limits::HeadLimits;

/// Several cores, each with its shard. A request lands on any of them.
pub(crate) struct Cores {
    cores: Vec<Core>,
    keyed: Keyed,
    responses: Responses,
    rng: Rng,
    requests: u64,
}

/// Where a core looks for a key.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Keyed {
    /// In its own shard: there are no owners.
    Anywhere,
    /// In the shard of the owner, or in its copy of what that has.
    ToOwner,
}

struct Core {
    shard: Shard,
    copies: Cache<Rc<Key>, Copied, UnitWeighter, BuildKeyHasher, DefaultLifecycle<Rc<Key>, Copied>>,
}

struct Copied {
    _entry: Rc<Entry>,
    touched_ms: Cell<u64>,
}

impl Cores {
    pub(crate) fn new(bytes_max: usize, count: usize, keyed: Keyed) -> Self {
        let ledger = Ledger::new(bytes_max);
        let copies_max = COPIES_MAX.min(bytes_max / count / 16 / 1024).max(1);
        let core = || Core {
            shard: Shard::new(&ledger, (bytes_max - bytes_max / SLACK) / count),
            copies: Cache::with(
                copies_max,
                copies_max as u64,
                UnitWeighter,
                BuildKeyHasher::default(),
                DefaultLifecycle::default(),
            ),
        };
        let cores = std::iter::repeat_with(core).take(count).collect();
        Self { cores, keyed, responses: Responses::new(&ledger), rng: Rng::with_seed(4), requests: 0 }
    }

    /// Asks for an object, and stores it when it was not there. True for a hit.
    pub(crate) fn request(&mut self, object: u32, size: u32) -> bool {
        self.requests += 1;
        let mut text = Vec::with_capacity(64);
        let _ = write!(text, "www.example.com/cache/{size}/{object:07}");
        // The same for every run, and as good as the secret one of the proxy.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&text);
        let key = KeyRef { hash, text: &text };
        let here = self.rng.usize(..self.cores.len());
        let owner = match self.keyed {
            Keyed::Anywhere => here,
            Keyed::ToOwner => {
                usize::try_from((u128::from(hash) * self.cores.len() as u128) >> 64).unwrap_or(0)
            }
        };
        let hit = self.find(key, here, owner);
        if !hit {
            self.store(key, owner, size);
        }
        hit
    }

    fn find(&mut self, key: KeyRef<'_>, here: usize, owner: usize) -> bool {
        if here == owner {
            return self.cores[owner].shard.find(key, None).is_some();
        }
        let ticks = self.requests * 1000 / TICK_MS / (PER_CORE_AND_SECOND * self.cores.len() as u64);
        let now_ms = ticks * TICK_MS;
        if let Some(copy) = self.cores[here].copies.get(&key) {
            // The store tells the owner at the end of the tick.
            if copy.touched_ms.replace(now_ms) != now_ms {
                self.cores[owner].shard.touch(key);
            }
            return true;
        }
        let Some(entry) = self.cores[owner].shard.find(key, Some(here)) else { return false };
        if let Some(key) = Key::new(&self.responses.ledger, key) {
            self.cores[here].copies.insert(key, Copied { _entry: entry, touched_ms: Cell::new(now_ms) });
        }
        true
    }

    fn store(&mut self, key: KeyRef<'_>, owner: usize, size: u32) {
        let stored = self.responses.make(size as usize);
        let weight = stored.weight();
        let shard = &mut self.cores[owner].shard;
        while weight > STEP_BYTES && !shard.make_room(weight) {}
        let kept = shard.store(key, shard.moment(), stored);
        assert!(kept, "{weight} bytes found no room");
        for (key, holders) in shard.take_forgotten() {
            for place in (0..self.cores.len()).filter(|place| holders & holder_bit(*place) != 0) {
                self.cores[place].copies.remove(&key.borrowed());
            }
        }
    }

    /// Bytes that a proxy would hold.
    #[cfg(test)]
    fn held(&self) -> usize {
        let keys = self.cores.iter().flat_map(|core| core.copies.iter()).map(|(key, _)| key.weight());
        self.cores.iter().map(|core| core.shard.weight()).sum::<usize>() + keys.sum::<usize>()
    }
}

/// Makes what is stored.
struct Responses {
    ledger: Arc<Ledger>,
    head: Arc<Head>,
    /// By length.
    segments: HashMap<usize, Arc<Segment>>,
}

impl Responses {
    fn new(ledger: &Arc<Ledger>) -> Self {
        let mut lines = Vec::new();
        let Ok(head) = response::parse(HEAD, &HeadLimits::default(), &mut lines) else {
            panic!("the head is malformed")
        };
        let fields = Fields::new(HEAD, &lines);
        let asked = Asked { method: Method::Get, authorized: false, no_store: false };
        let now = Received { requested_ms: 0, received_ms: 0 };
        let Ok(storing) = policy::storable(asked, 200, fields, now, Defaults::default()) else {
            panic!("the head forbids storing")
        };
        let making = Making {
            bytes: HEAD,
            head: &head,
            fields,
            storing: &storing,
            edits: KeptEdits { via: b"ringway", date: b"" },
            length: None,
            vary: b"",
            selecting: b"",
            tags: b"",
        };
        let head = Head::new(ledger, &making);
        Self { ledger: ledger.clone(), head: head.expect("the ledger is empty"), segments: HashMap::new() }
    }

    fn make(&mut self, size: usize) -> Stored {
        let mut segments = Vec::with_capacity(size.div_ceil(SEGMENT_BYTES));
        let mut left = size;
        while left > 0 {
            // An allocator would round up as well.
            let length = left.next_multiple_of(64).min(SEGMENT_BYTES);
            let segment = self.segments.entry(length).or_insert_with(|| Segment::passing(&vec![0; length]));
            segments.push(segment.clone());
            left = left.saturating_sub(length);
        }
        let body = Body::new(&self.ledger, segments, b"");
        Stored { head: self.head.clone(), body: body.expect("the ledger does not see the content") }
    }
}

/// As the origin of the scenarios answers.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: application/octet-stream\r\nCache-Control: max-age=3600\r\nETag: \"16384-0012345\"\r\n\
    Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 16384\r\n\r\n";

/// The pieces that content comes in. Larger ones weigh less.
const SEGMENT_BYTES: usize = 16 * 1024;

/// Requests. The more, the more of them an owner does not hear of.
const PER_CORE_AND_SECOND: u64 = 25_000;

// As in `cache::store`.

const SLACK: usize = 32;
const COPIES_MAX: usize = 4096;
const TICK_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_find_what_their_neighbours_stored_if_keys_have_owners() {
        for (keyed, expected) in [(Keyed::ToOwner, 99), (Keyed::Anywhere, 96)] {
            let mut cores = Cores::new(16 << 20, 4, keyed);
            assert_eq!((0..100).filter(|_| cores.request(7, 20_000)).count(), expected);
        }
    }

    #[test]
    fn what_is_found_fits_into_the_cache_copies_and_all() {
        let mut cores = Cores::new(16 << 20, 4, Keyed::ToOwner);
        for request in 0..20_000 {
            cores.request(request % 3_000, 1024 + request % 7 * 4096);
        }
        assert!((14 << 20..=16 << 20).contains(&cores.held()), "{}", cores.held());
    }
}
