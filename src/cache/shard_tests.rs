use std::collections::{HashMap, HashSet};

use super::*;
use crate::cache::ledger::Beside;
use crate::cache::purge::What;
use crate::cache::sample::{self, NOW_MS};
use proptest::prelude::*;

impl Shard {
    /// How many fetches others could join, as far as the table knows.
    pub(in crate::cache) fn in_flight(&self) -> usize {
        assert!(self.joinable.len() <= self.flights.len());
        self.flights.len()
    }

    /// The entry of a key, without a trace.
    pub(in crate::cache) fn peek(&self, key: KeyRef<'_>) -> Option<Rc<Entry>> {
        self.index.peek(&key).map(|found| found.entry.clone())
    }

    /// What must hold at any time.
    fn check(&self) {
        assert!(self.weight() <= self.bytes_max, "{} bytes of {}", self.weight(), self.bytes_max);
        assert!(self.ledger.held() <= self.ledger.bytes_max());
        let (mut weight, mut slots) = (0, HashSet::new());
        for (key, resource) in self.index.iter() {
            weight += resource.weight;
            if !resource.ballast {
                assert!(slots.insert(resource.slot), "two keys in one place");
                assert!(Rc::ptr_eq(key, &self.keys[resource.slot]) || **key == *self.keys[resource.slot]);
                let sum: usize = resource.entry.variants.iter().map(Stored::weight).sum();
                assert_eq!(resource.weight, (key.weight() + sum) as u64);
                assert!(resource.entry.variants.len() <= VARIANTS_MAX);
            }
        }
        assert_eq!(weight, self.index.weight());
        assert_eq!(slots.len(), self.keys.len(), "a key that nothing is stored for");
    }
}

const KIB: usize = 1024;

/// A shard with its ledger, and names for what it keeps.
struct Bench {
    ledger: Arc<Ledger>,
    shard: Shard,
    fetches: u64,
}

impl Bench {
    fn new(bytes_max: usize) -> Bench {
        let ledger = Ledger::new(4 * bytes_max);
        Bench { shard: Shard::new(&ledger, bytes_max), ledger, fetches: 0 }
    }

    fn id(&mut self, core: usize) -> FillId {
        self.fetches += 1;
        FillId { core, number: self.fetches }
    }

    fn stored(&self, selecting: &str, content: &str, bytes: usize) -> Stored {
        let mut content = content.as_bytes().to_vec();
        content.resize(bytes.max(content.len()), b' ');
        let lines = "Cache-Tag: news\r\n";
        sample::stored(&self.ledger, lines, selecting.as_bytes(), &[&content]).unwrap()
    }

    fn store(&mut self, name: &str, selecting: &str, content: &str, bytes: usize) -> bool {
        let (stored, moment) = (self.stored(selecting, content, bytes), self.shard.moment());
        let done = self.shard.store(key(name), moment, stored);
        self.shard.check();
        done
    }

    /// The contents that are found for a key, the newest first.
    fn found(&self, name: &str) -> Vec<String> {
        let entry = self.shard.find(key(name), None);
        entry.map_or(Vec::new(), |entry| contents(&entry))
    }

    fn seen(&self, name: &str) -> u64 {
        self.shard.peek(key(name)).map_or(0, |entry| entry.version)
    }

    fn begin(&mut self, name: &str, selecting: &str, now_ms: u64) -> Begun {
        let id = self.id(0);
        let seen = self.seen(name);
        self.shard.begin(key(name), select(selecting), seen, id, now_ms)
    }

    fn forgotten(&mut self) -> Vec<(String, u64)> {
        let list = self.shard.take_forgotten();
        list.iter().map(|(key, set)| (text(key.borrowed().text), *set)).collect()
    }

    /// Drops everything; nothing may be held then.
    fn end(self) {
        let Bench { ledger, shard, .. } = self;
        shard.check();
        drop(shard);
        assert_eq!(ledger.held(), 0);
    }
}

fn key(name: &str) -> KeyRef<'_> {
    KeyRef { hash: sample::hash(name.as_bytes()), text: name.as_bytes() }
}

fn select(selecting: &str) -> (u64, &[u8]) {
    (sample::hash(selecting.as_bytes()), selecting.as_bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.into()).unwrap()
}

fn contents(entry: &Entry) -> Vec<String> {
    entry.variants.iter().map(|stored| text(sample::content(&stored.body).trim_ascii())).collect()
}

fn purge(what: What, soft: bool) -> Purge {
    Purge { what, soft }
}

fn prefix(text: &str) -> What {
    What::Prefix(text.as_bytes().into())
}

#[test]
fn one_fetches_and_others_join_until_it_lands() {
    let mut bench = Bench::new(64 * KIB);
    assert_eq!(bench.begin("a/", "", NOW_MS), Begun::Fetch);
    let first = FillId { core: 0, number: bench.fetches };
    assert_eq!(bench.begin("a/", "", NOW_MS), Begun::Join(first));
    assert_eq!(bench.begin("a/", "1x\n", NOW_MS), Begun::Fetch, "another variant");
    assert_eq!(bench.begin("b/", "", NOW_MS), Begun::Fetch, "another key");
    bench.shard.land(first);
    assert_eq!(bench.begin("a/", "", NOW_MS), Begun::Fetch);
    let second = FillId { core: 0, number: bench.fetches };
    bench.shard.land(first);
    assert_eq!(bench.begin("a/", "", NOW_MS), Begun::Join(second), "what has landed lands no other");
    bench.end();
}

#[test]
fn who_has_not_seen_what_is_stored_looks_again() {
    let mut bench = Bench::new(64 * KIB);
    assert!(bench.store("a/", "", "one", 10));
    let (seen, id) = (bench.seen("a/"), bench.id(0));
    for other in [0, seen + 1] {
        assert_eq!(bench.shard.begin(key("a/"), select(""), other, id, NOW_MS), Begun::Changed);
    }
    assert_eq!(bench.shard.begin(key("a/"), select(""), seen, id, NOW_MS), Begun::Fetch);
    bench.shard.invalidate(key("a/"));
    assert_eq!(bench.shard.begin(key("a/"), select(""), seen, id, NOW_MS), Begun::Changed);
    bench.end();
}

#[test]
fn two_keys_of_one_hash_do_not_wait_for_each_other() {
    let mut bench = Bench::new(64 * KIB);
    let id = bench.id(0);
    let (one, two) = (KeyRef { hash: 7, text: b"a/" }, KeyRef { hash: 7, text: b"b/" });
    assert_eq!(bench.shard.begin(one, select(""), 0, id, NOW_MS), Begun::Fetch);
    let other = bench.id(1);
    assert_eq!(bench.shard.begin(two, select(""), 0, other, NOW_MS), Begun::Alone);
    // What is stored for one is not found for the other.
    let stored = bench.stored("", "one", 10);
    let moment = bench.shard.moment();
    assert!(bench.shard.store(one, moment, stored));
    assert!(bench.shard.find(two, None).is_none());
    bench.end();
}

#[test]
fn nobody_waits_for_what_cannot_be_shared_until_that_is_forgotten() {
    let mut bench = Bench::new(64 * KIB);
    assert!(bench.store("a/", "", "one", 10));
    bench.shard.not_shared(key("a/"), false, NOW_MS);
    assert_eq!(bench.found("a/"), ["one"], "what does not take its place leaves it there");
    assert_eq!(bench.begin("a/", "", NOW_MS), Begun::Alone);
    bench.shard.not_shared(key("a/"), true, NOW_MS + 1);
    assert_eq!(bench.found("a/"), [""; 0]);
    assert_eq!(bench.begin("a/", "", NOW_MS + ALONE_MS - 1), Begun::Alone);
    assert_eq!(bench.begin("a/", "", NOW_MS + 2 * ALONE_MS), Begun::Fetch);
    // The mark is kept fresh, but not written again each time.
    bench.shard.not_shared(key("b/"), true, NOW_MS);
    let seen = bench.seen("b/");
    bench.shard.not_shared(key("b/"), true, NOW_MS + 1);
    assert_eq!(bench.seen("b/"), seen);
    bench.shard.not_shared(key("b/"), true, NOW_MS + ALONE_MS / 2);
    assert_ne!(bench.seen("b/"), seen);
    assert_eq!(bench.begin("b/", "", NOW_MS + ALONE_MS + 1), Begun::Alone);
    // Something that can be shared takes the mark away.
    assert!(bench.store("b/", "", "two", 10));
    assert_eq!(bench.begin("b/", "", NOW_MS), Begun::Fetch);
    bench.end();
}

#[test]
fn a_response_takes_the_place_of_the_one_with_the_same_selecting_values() {
    let mut bench = Bench::new(64 * KIB);
    for (selecting, content) in [("1a\n", "one"), ("1b\n", "two"), ("1a\n", "three"), ("", "four")] {
        assert!(bench.store("a/", selecting, content, 10));
    }
    assert_eq!(bench.found("a/"), ["four", "three", "two"]);
    bench.end();
}

#[test]
fn variants_are_bounded_in_number_and_in_bytes() {
    let mut bench = Bench::new(256 * KIB);
    for number in 0..VARIANTS_MAX + 5 {
        assert!(bench.store("a/", &format!("1{number}\n"), &number.to_string(), 10));
    }
    let found = bench.found("a/");
    assert_eq!(found.len(), VARIANTS_MAX);
    assert_eq!(found[0], (VARIANTS_MAX + 4).to_string(), "the newest stays");
    assert_eq!(found[VARIANTS_MAX - 1], "5", "the oldest go");
    for number in 0..5 {
        assert!(bench.store("b/", &format!("1{number}\n"), &number.to_string(), 40 * KIB));
    }
    assert_eq!(bench.found("b/"), ["4", "3", "2"], "half of the shard at most");
    // What is replaced does not count.
    assert!(bench.store("b/", "12\n", "2", 40 * KIB));
    assert_eq!(bench.found("b/"), ["2", "4", "3"]);
    assert!(!bench.store("b/", "19\n", "large", 129 * KIB), "too large for the shard");
    assert_eq!(bench.found("b/"), ["2", "4", "3"]);
    bench.end();
}

#[test]
fn what_began_before_a_removal_is_neither_stored_nor_joined_after_it() {
    let tag = || What::Tag((*b"News").into());
    for (removal, stays) in [
        (None, false),
        (Some(purge(What::All, false)), false),
        (Some(purge(What::Key((*b"a/x").into()), false)), false),
        (Some(purge(prefix("a/"), false)), false),
        (Some(purge(tag(), false)), false),
        (Some(purge(prefix("b/"), false)), true),
        (Some(purge(What::Tag((*b"sport").into()), false)), true),
    ] {
        let mut bench = Bench::new(64 * KIB);
        assert_eq!(bench.begin("a/x", "", NOW_MS), Begun::Fetch);
        let moment = bench.shard.moment();
        match &removal {
            None => bench.shard.invalidate(key("a/x")),
            Some(purge) => bench.shard.note_purge(purge.clone()),
        }
        let joins = matches!(bench.begin("a/x", "", NOW_MS), Begun::Join(_));
        // Before the response has come nobody knows its tags.
        let of_tag = matches!(&removal, Some(Purge { what: What::Tag(_), .. }));
        assert_eq!(joins, stays && !of_tag, "{removal:?}");
        let stored = bench.stored("", "old", 10);
        assert_eq!(bench.shard.store(key("a/x"), moment, stored), stays, "{removal:?}");
        assert!(bench.store("a/x", "", "new", 10), "what begins afterwards is stored");
        bench.end();
    }
}

#[test]
fn what_began_before_a_soft_purge_is_stored_stale() {
    let mut bench = Bench::new(64 * KIB);
    let moment = bench.shard.moment();
    bench.shard.note_purge(purge(What::All, true));
    let stored = bench.stored("", "old", 10);
    assert!(bench.shard.store(key("a/"), moment, stored));
    assert!(bench.shard.peek(key("a/")).unwrap().variants[0].head.usage.purged);
    // A hard one after that removes it all the same.
    let stored = bench.stored("", "old", 10);
    bench.shard.note_purge(purge(What::All, false));
    assert!(!bench.shard.store(key("a/"), moment, stored));
    assert!(bench.store("a/", "", "new", 10));
    assert!(!bench.shard.peek(key("a/")).unwrap().variants[0].head.usage.purged);
    bench.end();
}

#[test]
fn a_soft_purge_leaves_content_and_says_that_it_is_stale() {
    let mut bench = Bench::new(64 * KIB);
    assert!(bench.store("a/1", "1a\n", "one", 10) && bench.store("a/1", "1b\n", "two", 10));
    assert!(bench.store("b/1", "", "three", 10));
    let soft = purge(prefix("a/"), true);
    bench.shard.note_purge(soft.clone());
    assert_eq!(bench.shard.purge_step(&soft, 0), (2, None));
    assert_eq!(bench.found("a/1"), ["two", "one"]);
    let purged = |name| {
        let entry = bench.shard.peek(key(name)).unwrap();
        entry.variants.iter().map(|stored| stored.head.usage.purged).collect::<Vec<_>>()
    };
    assert_eq!((purged("a/1"), purged("b/1")), (vec![true, true], vec![false]));
    bench.end();
}

#[test]
fn a_purge_reaches_what_it_is_about_whatever_changes_between_its_steps() {
    let mut bench = Bench::new(16 * KIB * KIB);
    let many = 3 * PURGE_STEP;
    for number in 0..many {
        let name = format!("{}/{number}", ["a", "b"][number % 2]);
        assert!(bench.shard.store(key(&name), bench.shard.moment(), bench.stored("", "old", 8)));
    }
    let hard = purge(prefix("a/"), false);
    bench.shard.note_purge(hard.clone());
    let old = Moment::default();
    let (mut count, mut from, mut steps, mut gone) = (0, Some(0), 0, 0);
    while let Some(place) = from {
        let (step, next) = bench.shard.purge_step(&hard, place);
        (count, from, steps) = (count + step, next, steps + 1);
        // What began before is not stored any more, what begins now is, wherever its place is.
        for number in (0..many).step_by(97) {
            let name = format!("a/{number}");
            let stored = bench.stored("", "old", 8);
            assert!(!bench.shard.store(key(&name), old, stored));
        }
        assert!(bench.store(&format!("a/new{steps}"), "", "new", 8));
        gone += u64::from(!bench.found(&format!("a/{}", many - 2)).is_empty() && steps < 3);
        bench.shard.invalidate(key(&format!("b/{}", 2 * steps + 1)));
    }
    assert!(steps >= 3, "{steps} steps");
    assert!(gone > 0, "the last keys go last");
    for number in (0..many).step_by(2) {
        assert_eq!(bench.found(&format!("a/{number}")), [""; 0]);
    }
    assert_eq!(bench.found("b/1001"), ["old"]);
    // New ones may be met as well, for they took a place that was still to come.
    let new = (1..=steps).filter(|step| !bench.found(&format!("a/new{step}")).is_empty()).count() as u64;
    assert_eq!(count, many as u64 / 2 + (steps - new));
    bench.shard.check();
    bench.end();
}

#[test]
fn the_holders_of_what_changes_are_told_and_nobody_else() {
    let mut bench = Bench::new(64 * KIB);
    let all = |bench: &Bench| {
        bench.shard.find(key("a/"), Some(1));
        bench.shard.find(key("a/"), Some(3));
        bench.shard.find(key("a/"), None);
    };
    assert!(bench.store("a/", "1a\n", "one", 10));
    assert!(bench.store("b/", "", "other", 10));
    bench.shard.find(key("b/"), Some(2));
    assert!(!bench.shard.has_forgotten());
    let told = [("a/".to_owned(), 0b1010)];
    for change in [
        |bench: &mut Bench| assert!(bench.store("a/", "1b\n", "two", 10)),
        |bench: &mut Bench| bench.shard.not_shared(key("a/"), false, NOW_MS),
        |bench: &mut Bench| {
            assert!(bench.shard.purge_one(&purge(What::All, true), key("a/")) > 0);
        },
        |bench: &mut Bench| bench.shard.invalidate(key("a/")),
    ] {
        all(&bench);
        change(&mut bench);
        assert!(bench.shard.has_forgotten());
        assert_eq!(bench.forgotten(), told);
        change(&mut bench);
        assert!(bench.forgotten().is_empty(), "they hold it no more");
    }
    assert!(bench.store("a/", "", "three", 10));
    all(&bench);
    bench.shard.shed(usize::MAX);
    let mut told = bench.forgotten();
    told.sort();
    assert_eq!(told, [("a/".to_owned(), 0b1010), ("b/".to_owned(), 0b100)]);
    assert_eq!(holder_bit(65), holder_bit(1), "cores beyond 64 share bits");
    bench.end();
}

#[test]
fn weight_never_passes_the_bound_whatever_is_stored() {
    let mut bench = Bench::new(256 * KIB);
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..2000 {
        let bytes = [10, 500, 5000, 100 * KIB][random.usize(..4)];
        assert!(bench.store(&format!("a/{}", random.u32(..600)), "", &number.to_string(), bytes));
        bench.shard.find(key(&format!("a/{}", random.u32(..60))), None);
    }
    assert!(bench.shard.evicted() > 100);
    assert!(bench.shard.weight() > 100 * KIB, "it is not just emptied: {}", bench.shard.weight());
    bench.end();
}

#[test]
fn shedding_evicts_what_it_says_and_little_more() {
    let mut bench = Bench::new(KIB * KIB);
    for number in 0..400 {
        assert!(bench.store(&format!("a/{number}"), "", "x", 2000));
    }
    for _ in 0..20 {
        let before = bench.shard.weight();
        bench.shard.shed(10 * KIB);
        bench.shard.check();
        let gone = before - bench.shard.weight();
        assert!((10 * KIB..=10 * KIB + 48 * KIB).contains(&gone), "{gone} bytes of {before}");
    }
    let rest = bench.shard.len() as u64;
    bench.shard.shed(usize::MAX);
    assert!(bench.shard.is_empty() && bench.shard.weight() <= 1 && rest > 0);
    assert_eq!(bench.shard.evicted(), 400);
    assert!(bench.store("a/", "", "one", 10), "and it goes on");
    assert_eq!(bench.found("a/"), ["one"]);
    bench.end();
}

#[test]
fn what_is_kept_beside_responses_takes_its_share_of_the_room() {
    let mut bench = Bench::new(KIB * KIB);
    for number in 0..600 {
        assert!(bench.store(&format!("a/{number}"), "", "x", 2000));
    }
    let before = bench.shard.weight();
    assert!(before > 900 * KIB);
    // The ledger is four times as large: a quarter of it is a quarter of what may be stored here.
    let beside = [(Beside::Form, 768 * KIB), (Beside::Note, 256 * KIB)];
    let beside = beside.map(|(what, bytes)| bench.ledger.reserve_beside(what, bytes).unwrap());
    while !bench.shard.make_room(3000) {}
    let after = bench.shard.weight();
    assert!((600 * KIB..=768 * KIB - 3000).contains(&after), "{after}");
    assert!(bench.shard.is_half_full() && bench.store("b/", "", "one", 2000));
    drop(beside);
    let count = bench.shard.len();
    assert!(bench.shard.make_room(3000));
    assert_eq!(bench.shard.len(), count);
    bench.end();
}

#[test]
fn room_is_made_in_steps_and_only_for_what_can_be_stored() {
    let mut bench = Bench::new(4 * KIB * KIB);
    for number in 0..1500 {
        assert!(bench.store(&format!("a/{number}"), "", "x", 2000));
    }
    let weight = 1500 * KIB;
    let mut steps = 1;
    loop {
        let before = bench.shard.weight();
        let done = bench.shard.make_room(weight);
        assert!(before - bench.shard.weight() <= STEP_BYTES + 160 * KIB);
        if done {
            break;
        }
        steps += 1;
        assert!(steps < 20);
    }
    assert!(bench.shard.weight() + weight <= 4 * KIB * KIB && steps > 1);
    let before = (bench.shard.weight(), bench.shard.evicted());
    assert!(bench.shard.make_room(weight), "there is room now");
    for too_large in [3 * KIB * KIB, 100 * KIB * KIB] {
        assert!(bench.shard.make_room(too_large), "it will not be stored");
    }
    assert_eq!((bench.shard.weight(), bench.shard.evicted()), before);
    bench.end();
}

#[test]
fn a_scan_does_not_flush_what_is_hit() {
    let mut bench = Bench::new(KIB * KIB);
    for number in 0..100 {
        assert!(bench.store(&format!("hot/{number}"), "", "hot", 2000));
    }
    for _ in 0..3 {
        (0..100).for_each(|number| drop(bench.found(&format!("hot/{number}"))));
    }
    for number in 0..10_000 {
        let (stored, moment) = (bench.stored("", "once", 2000), bench.shard.moment());
        assert!(bench.shard.store(key(&format!("scan/{number}")), moment, stored));
        if number % 4 == 0 {
            bench.shard.touch(key(&format!("hot/{}", number / 4 % 100)));
        }
    }
    let left = (0..100).filter(|number| !bench.found(&format!("hot/{number}")).is_empty()).count();
    assert!(left >= 95, "{left} of 100 are left");
    assert!(bench.shard.evicted() > 9000);
    bench.end();
}

#[test]
fn a_full_ledger_stores_nothing_and_breaks_nothing() {
    let ledger = Ledger::new(64 * KIB);
    let mut shard = Shard::new(&ledger, 60 * KIB);
    let stored = sample::stored(&ledger, "", b"", &[b"one"]).unwrap();
    let rest = ledger.reserve(ledger.bytes_max() - ledger.held() - 100).unwrap();
    let moment = shard.moment();
    assert!(!shard.store(key("a/"), moment, stored.clone()), "no room for the key");
    shard.not_shared(key("a/"), true, NOW_MS);
    assert!(shard.is_empty());
    let id = FillId { core: 0, number: 1 };
    assert_eq!(shard.begin(key("a/"), select(""), 0, id, NOW_MS), Begun::Alone);
    drop(rest);
    assert!(shard.store(key("a/"), moment, stored));
    let _rest = ledger.reserve(ledger.bytes_max() - ledger.held() - 100).unwrap();
    // What cannot be marked stale goes.
    assert_eq!(shard.purge_one(&purge(What::All, true), key("a/")), 1);
    assert!(shard.is_empty());
    shard.check();
}

/// What several cores do with one shard.
#[derive(Clone, Debug)]
enum Op {
    Find { core: usize, key: usize },
    Touch { key: usize },
    Begin { core: usize, key: usize, selecting: usize, honest: bool },
    End { fetch: usize, how: How },
    Invalidate { key: usize },
    Purge { what: usize, key: usize, soft: bool },
    Shed { bytes: usize },
    MakeRoom { bytes: usize },
    Wait { ms: u64 },
}

#[derive(Clone, Debug)]
enum How {
    Store { bytes: usize },
    NotShared { supersedes: bool },
    Fail,
}

const KEYS: usize = 12;

const SELECTING: [&str; 3] = ["", "1a\n", "1b\n"];

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let how = prop_oneof![
        5 => prop_oneof![10_usize..200, 1000_usize..12_000].prop_map(|bytes| How::Store { bytes }),
        1 => any::<bool>().prop_map(|supersedes| How::NotShared { supersedes }),
        1 => Just(How::Fail),
    ];
    let op = prop_oneof![
        6 => (0_usize..4, 0..KEYS).prop_map(|(core, key)| Op::Find { core, key }),
        1 => (0..KEYS).prop_map(|key| Op::Touch { key }),
        6 => (0_usize..4, 0..KEYS, 0_usize..3, prop::bool::weighted(0.9))
            .prop_map(|(core, key, selecting, honest)| Op::Begin { core, key, selecting, honest }),
        6 => (any::<usize>(), how).prop_map(|(fetch, how)| Op::End { fetch, how }),
        1 => (0..KEYS).prop_map(|key| Op::Invalidate { key }),
        1 => (0_usize..4, 0..KEYS, any::<bool>()).prop_map(|(what, key, soft)| Op::Purge { what, key, soft }),
        1 => (1_usize..20_000).prop_map(|bytes| Op::Shed { bytes }),
        1 => (1_usize..80_000).prop_map(|bytes| Op::MakeRoom { bytes }),
        1 => (1_u64..100_000).prop_map(|ms| Op::Wait { ms }),
    ];
    proptest::collection::vec(op, 1..150)
}

/// A response as the model knows it: selecting values, content, whether it was purged softly.
type Kept = (usize, String, bool);

/// What the model thinks is stored for a key, unless it was evicted.
#[derive(Clone, Debug, Default)]
struct Expected {
    variants: Vec<Kept>,
    alone_until_ms: u64,
    holders: u64,
}

/// A fetch as the model knows it.
struct Fetch {
    id: FillId,
    key: usize,
    selecting: usize,
    /// How many removals there had been.
    begun: usize,
    moment: Moment,
    shared: bool,
}

struct Model {
    bench: Bench,
    keys: HashMap<usize, Expected>,
    fetches: Vec<Fetch>,
    removals: Vec<Purge>,
    now_ms: u64,
    stored: u64,
}

fn name(key: usize) -> String {
    format!("{}/{key}", ["a", "b"][key % 2])
}

impl Model {
    /// What has become since then of something with that key, and with the tag that all have.
    fn since(&self, begun: usize, key: usize) -> Since {
        let covers = |purge: &&Purge| purge.what.covers(name(key).as_bytes(), b"news");
        self.removals[begun..].iter().filter(covers).fold(Since::Nothing, |worst, purge| {
            match (worst, purge.soft) {
                (Since::Removed, _) | (_, false) => Since::Removed,
                _ => Since::Stale,
            }
        })
    }

    /// Brings the model down to what was not evicted, and checks that the rest is as it should be; and
    /// that all who held what is no more have been told.
    fn settle(&mut self, before: &HashMap<usize, (u64, u64)>) {
        self.bench.shard.check();
        let told: Vec<_> = self.bench.forgotten();
        for number in 0..KEYS {
            let expected = self.keys.entry(number).or_default();
            let entry = self.bench.shard.peek(key(&name(number)));
            let now = entry.as_ref().map_or(0, |entry| entry.version);
            if let Some(entry) = &entry {
                let got: Vec<Kept> = entry
                    .variants
                    .iter()
                    .zip(contents(entry))
                    .map(|(stored, content)| {
                        let selecting =
                            SELECTING.iter().position(|s| s.as_bytes() == stored.head.selecting()).unwrap();
                        (selecting, content, stored.head.usage.purged)
                    })
                    .collect();
                assert_eq!(got, expected.variants, "{}", name(number));
                assert_eq!(entry.alone_until_ms, expected.alone_until_ms);
            } else {
                (expected.variants, expected.alone_until_ms) = (Vec::new(), 0);
            }
            let (version, holders) = before[&number];
            let set = told.iter().filter(|(told, _)| *told == name(number)).fold(0, |set, told| set | told.1);
            assert_eq!(set, if version == now { 0 } else { holders }, "{}", name(number));
            if version != now {
                expected.holders = 0;
            }
        }
    }

    fn run(&mut self, op: Op) {
        let before = (0..KEYS)
            .map(|number| {
                let holders = self.keys.get(&number).map_or(0, |expected| expected.holders);
                (number, (self.bench.seen(&name(number)), holders))
            })
            .collect();
        match op {
            Op::Find { core, key: number } => {
                let holder = (core > 0).then_some(core);
                let found = self.bench.shard.find(key(&name(number)), holder);
                if found.is_some() && core > 0 {
                    self.keys.entry(number).or_default().holders |= holder_bit(core);
                }
            }
            Op::Touch { key: number } => self.bench.shard.touch(key(&name(number))),
            Op::Begin { core, key, selecting, honest } => self.begin(core, key, selecting, honest),
            Op::End { fetch, how } if !self.fetches.is_empty() => {
                let fetch = self.fetches.swap_remove(fetch % self.fetches.len());
                self.end(&fetch, how);
                self.bench.shard.land(fetch.id);
            }
            Op::End { .. } => {}
            Op::Invalidate { key: number } => {
                self.removals.push(purge(What::Key(name(number).as_bytes().into()), false));
                self.bench.shard.invalidate(key(&name(number)));
                self.keys.remove(&number);
            }
            Op::Purge { what, key, soft } => self.purge(what, key, soft),
            Op::Shed { bytes } => self.bench.shard.shed(bytes),
            Op::MakeRoom { bytes } => {
                let room = self.bench.shard.make_room(bytes);
                assert!(room, "a small shard needs no steps");
            }
            Op::Wait { ms } => self.now_ms += ms,
        }
        self.settle(&before);
    }

    fn begin(&mut self, core: usize, number: usize, selecting: usize, honest: bool) {
        let id = self.bench.id(core);
        let seen = self.bench.seen(&name(number)) + u64::from(!honest);
        let (name, values) = (name(number), select(SELECTING[selecting]));
        let begun = self.bench.shard.begin(key(&name), values, seen, id, self.now_ms);
        let same = |fetch: &&Fetch| fetch.shared && (fetch.key, fetch.selecting) == (number, selecting);
        let other = self.fetches.iter().filter(same).max_by_key(|fetch| fetch.id.number);
        let other = other.filter(|fetch| {
            // Without a response at hand its tags are not known, so that a purge of any tag counts.
            let tagged = self.removals[fetch.begun..].iter().any(|purge| matches!(purge.what, What::Tag(_)));
            self.since(fetch.begun, number) == Since::Nothing && !tagged
        });
        let marked = self.keys.get(&number).is_some_and(|expected| expected.alone_until_ms > self.now_ms);
        let want = match other {
            _ if !honest => Begun::Changed,
            _ if marked => Begun::Alone,
            Some(other) => Begun::Join(other.id),
            None => Begun::Fetch,
        };
        assert_eq!(begun, want);
        if matches!(begun, Begun::Fetch | Begun::Alone) {
            self.fetches.push(Fetch {
                id,
                key: number,
                selecting,
                begun: self.removals.len(),
                moment: self.bench.shard.moment(),
                shared: begun == Begun::Fetch,
            });
        }
    }

    fn end(&mut self, fetch: &Fetch, how: How) {
        let name = name(fetch.key);
        match how {
            How::Fail => {}
            How::Store { bytes } => {
                self.stored += 1;
                let content = format!("{name} {}", self.stored);
                let stored = self.bench.stored(SELECTING[fetch.selecting], &content, bytes);
                let since = self.since(fetch.begun, fetch.key);
                let done = self.bench.shard.store(key(&name), fetch.moment, stored);
                assert_eq!(done, since != Since::Removed);
                if done {
                    let expected = self.keys.entry(fetch.key).or_default();
                    expected.variants.retain(|(selecting, ..)| *selecting != fetch.selecting);
                    expected.variants.insert(0, (fetch.selecting, content, since == Since::Stale));
                    expected.alone_until_ms = 0;
                }
            }
            How::NotShared { supersedes } => {
                self.bench.shard.not_shared(key(&name), supersedes, self.now_ms);
                let expected = self.keys.entry(fetch.key).or_default();
                let empties = supersedes && !expected.variants.is_empty();
                if empties || expected.alone_until_ms <= self.now_ms + ALONE_MS / 2 {
                    expected.alone_until_ms = self.now_ms + ALONE_MS;
                }
                if supersedes {
                    expected.variants.clear();
                }
            }
        }
    }

    fn purge(&mut self, what: usize, number: usize, soft: bool) {
        let what = match what {
            0 => What::All,
            1 => What::Key(name(number).as_bytes().into()),
            2 => prefix(["a/", "b/"][number % 2]),
            _ => What::Tag((*b"NEWS").into()),
        };
        let purge = purge(what, soft);
        self.removals.push(purge.clone());
        self.bench.shard.note_purge(purge.clone());
        let mut met = 0;
        for (key, expected) in &mut self.keys {
            if purge.what.covers(name(*key).as_bytes(), b"news") && !expected.variants.is_empty() {
                met += expected.variants.len() as u64;
                expected.alone_until_ms = 0;
                if soft {
                    expected.variants.iter_mut().for_each(|kept| kept.2 = true);
                } else {
                    expected.variants.clear();
                }
            }
        }
        let (mut count, mut from) = (0, Some(0));
        while let Some(place) = from {
            let (step, next) = self.bench.shard.purge_step(&purge, place);
            (count, from) = (count + step, next);
        }
        assert_eq!(count, met);
    }
}

proptest! {
    /// Whatever several cores do: what is found is what the model expects or nothing, for that may be
    /// evicted; who begins, joins or fetches alone is as the model says; the bound holds at every step;
    /// and whoever holds a copy of what changes is told.
    #[test]
    fn a_shard_does_as_its_model_does(ops in ops()) {
        let mut model = Model {
            bench: Bench::new(96 * KIB),
            keys: HashMap::new(),
            fetches: Vec::new(),
            removals: Vec::new(),
            now_ms: NOW_MS,
            stored: 0,
        };
        ops.into_iter().for_each(|op| model.run(op));
        for fetch in std::mem::take(&mut model.fetches) {
            model.bench.shard.land(fetch.id);
        }
        prop_assert_eq!(model.bench.shard.in_flight(), 0);
        model.bench.end();
    }
}
