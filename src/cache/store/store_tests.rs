//! Several cores in one thread: their messages are delivered one by one, in whatever order a seed says.
//! Each core's inbox keeps its order, as it does in life.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::*;
use crate::cache::fill::{Next, NoHead, Reading};
use crate::cache::sample::{self, NOW_MS};
use crate::cache::shard::ALONE_MS;
use crate::cache::stored::Segment;
use crate::error::Reason;
use proptest::prelude::*;

const KEYS: usize = 5;

const SELECTING: [&[u8]; 2] = [b"", b"1a\n"];

/// What an origin answers: how its response may be kept, and how it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Kept,
    /// What can be stored but is not for those who wait.
    Unshared,
    NotShared,
    /// It outgrows what may be held.
    Outgrown,
    Failed,
    /// It breaks off behind its head.
    Broken,
    /// Whoever fetched goes away without a word.
    Dropped,
}

#[derive(Clone, Debug)]
enum Op {
    Ask {
        core: usize,
        key: usize,
        selecting: usize,
        answer: Answer,
    },
    Invalidate {
        core: usize,
        key: usize,
    },
    Purge {
        what: usize,
        key: usize,
    },
    Pressure {
        core: usize,
        bytes: usize,
    },
    Tick {
        ms: u64,
    },
    /// The others get so many turns before the next operation begins. One core hears nothing meanwhile, if there
    /// is one with that place.
    Turns {
        count: usize,
        deaf: usize,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let answer = prop_oneof![
        6 => Just(Answer::Kept),
        1 => Just(Answer::Unshared),
        1 => Just(Answer::NotShared),
        1 => Just(Answer::Outgrown),
        1 => Just(Answer::Failed),
        1 => Just(Answer::Broken),
        1 => Just(Answer::Dropped),
    ];
    let op = prop_oneof![
        10 => (0_usize..4, 0..KEYS, 0_usize..2, answer)
            .prop_map(|(core, key, selecting, answer)| Op::Ask { core, key, selecting, answer }),
        2 => (0_usize..4, 0..KEYS).prop_map(|(core, key)| Op::Invalidate { core, key }),
        1 => (0_usize..4, 0..KEYS).prop_map(|(what, key)| Op::Purge { what, key }),
        1 => (0_usize..4, 1_usize..20_000).prop_map(|(core, bytes)| Op::Pressure { core, bytes }),
        1 => (1_u64..2 * ALONE_MS).prop_map(|ms| Op::Tick { ms }),
        6 => (1_usize..40, 0_usize..8).prop_map(|(count, deaf)| Op::Turns { count, deaf }),
    ];
    proptest::collection::vec(op, 1..60)
}

/// A fetch that others may join, as far as the core knows that makes it.
struct Flight {
    key: usize,
    selecting: usize,
    /// The removals that had begun when it began, if they had all ended by then.
    quiet: Option<u64>,
    number: u64,
}

#[derive(Default)]
struct Truth {
    /// The version that the origin has of each key.
    versions: [u64; KEYS],
    /// The oldest that a request may get that begins now.
    floors: [u64; KEYS],
    removals_begun: u64,
    removals_ended: u64,
    flights: Vec<Flight>,
    fetches: u64,
    answered: u64,
    joined: u64,
    from_copies: u64,
}

struct World {
    cores: Vec<Rc<Store>>,
    ledger: Arc<Ledger>,
    /// The texts of the keys. Which core owns which depends on the seed and not on the cache's secret, so that a
    /// history can be told again.
    names: Vec<Vec<u8>>,
    truth: RefCell<Truth>,
    random: RefCell<fastrand::Rng>,
}

/// Is woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives the others a turn.
async fn turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Work under way, and whether it has something to do.
struct Task {
    work: Work,
    woken: Arc<Flag>,
    what: String,
}

impl World {
    fn new(cores: usize, bytes_max: usize, seed: u64) -> Rc<World> {
        let shared = Shared::new(bytes_max, cores);
        let ledger = shared.ledger.clone();
        let cores: Vec<_> = (0..cores).map(|place| Store::new(shared.clone(), place, NOW_MS)).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let names = (0..KEYS).map(|key| {
            let host = format!("{}/{key}", ["a", "b"][key % 2]);
            owned_by(&cores[0], &host, random.usize(..cores.len()))
        });
        let (names, truth) = (names.collect(), RefCell::default());
        Rc::new(World { cores, ledger, names, truth, random: RefCell::new(random) })
    }

    fn key(&self, key: usize) -> KeyRef<'_> {
        KeyRef { hash: self.cores[0].hash(&self.names[key]), text: &self.names[key] }
    }

    fn chance(&self, below: usize) -> usize {
        self.random.borrow_mut().usize(..below)
    }

    async fn turns(&self) {
        for _ in 0..self.chance(6) {
            turn().await;
        }
    }

    /// A request, as the proxy sees to it.
    async fn ask(self: Rc<Self>, core: usize, key: usize, selecting: usize, answer: Answer) {
        let store = self.cores[core].clone();
        let floor = self.truth.borrow().floors[key];
        let key_ref = self.key(key);
        let got = 'got: {
            for look in 0..4 {
                let here =
                    if look == 0 || store.owns(key_ref.hash) { store.find_here(key_ref) } else { None };
                let copied =
                    here.as_ref().is_some_and(|found| found.entry.is_some()) && !store.owns(key_ref.hash);
                let found = match here {
                    Some(found) => found,
                    None => store.ask(key_ref).await,
                };
                let entry = found.entry.as_ref();
                let variant = entry.and_then(|entry| {
                    entry.variants.iter().find(|stored| stored.head.selecting() == SELECTING[selecting])
                });
                if let Some(stored) = variant {
                    self.truth.borrow_mut().from_copies += u64::from(copied);
                    break 'got Some(sample::content(&stored.body));
                }
                let marked = entry.is_some_and(|entry| entry.alone_until_ms > store.now_ms.get());
                if marked {
                    let ticket = store.alone(found.moment);
                    break 'got self.fetch(ticket, core, key, selecting, answer).await;
                }
                let quiet = self.quiet();
                let seen = entry.map_or(0, |entry| entry.version);
                match store.begin(key_ref, SELECTING[selecting], seen).await {
                    Begin::Fetch(ticket) => {
                        let flight = ticket.is_shared().then(|| self.take_off(key, selecting, quiet));
                        let got = self.fetch(ticket, core, key, selecting, answer).await;
                        if let Some(number) = flight {
                            self.truth.borrow_mut().flights.retain(|flight| flight.number != number);
                        }
                        break 'got got;
                    }
                    Begin::Changed => {}
                    Begin::Join(reading, _) => match self.read(reading).await {
                        Ok(got) => break 'got got,
                        Err(NoHead::Failed(_)) => break 'got None,
                        Err(NoHead::NotShared) => {
                            let ticket = store.alone(found.moment);
                            break 'got self.fetch(ticket, core, key, selecting, answer).await;
                        }
                    },
                }
            }
            let found = store.ask_anyone(key_ref).await;
            self.fetch(store.alone(found.moment), core, key, selecting, answer).await
        };
        if let Some(content) = got {
            let (got_key, got_selecting, version) = understood(&content);
            assert_eq!((got_key, got_selecting), (key, selecting), "bytes of another");
            assert!(version >= floor, "{key}: {version} after {floor} was told to go");
        }
        self.truth.borrow_mut().answered += 1;
    }

    /// The number of removals so far, if none is under way.
    fn quiet(&self) -> Option<u64> {
        let truth = self.truth.borrow();
        (truth.removals_begun == truth.removals_ended).then_some(truth.removals_begun)
    }

    /// Notes a fetch that others may join: there must be no other, unless something was removed meanwhile.
    fn take_off(&self, key: usize, selecting: usize, quiet: Option<u64>) -> u64 {
        let mut truth = self.truth.borrow_mut();
        let now = truth.removals_begun;
        let same = |flight: &&Flight| (flight.key, flight.selecting) == (key, selecting);
        let other =
            truth.flights.iter().filter(same).find(|flight| flight.quiet == Some(now) && quiet == Some(now));
        assert!(other.is_none(), "two fetches of {key}");
        truth.fetches += 1;
        let number = truth.fetches;
        truth.flights.push(Flight { key, selecting, quiet, number });
        number
    }

    /// Those who fetch it can be joined no more.
    fn over(&self, key: usize, selecting: usize) {
        // Which of several it is does not matter: those that may be joined are at most one.
        self.truth.borrow_mut().flights.retain(|flight| (flight.key, flight.selecting) != (key, selecting));
    }

    /// Fetches, and gives the content if there is any.
    async fn fetch(
        &self,
        mut ticket: Ticket,
        core: usize,
        key: usize,
        selecting: usize,
        answer: Answer,
    ) -> Option<Vec<u8>> {
        let store = &self.cores[core];
        self.turns().await;
        let version = self.truth.borrow().versions[key];
        self.turns().await;
        let shared = ticket.is_shared();
        let ends = || {
            if shared {
                self.over(key, selecting)
            }
        };
        let key_ref = self.key(key);
        let parts = 1 + self.chance(4);
        let content: Vec<Vec<u8>> = (0..parts)
            .map(|part| format!("{key} {selecting} {version} {part} {parts};").into_bytes())
            .collect();
        let whole = Some(content.concat());
        let head =
            store.make(1024, |ledger| sample::head(ledger, "Cache-Tag: news\r\n", SELECTING[selecting]));
        let (Some(head), false) = (head, answer == Answer::NotShared) else {
            ends();
            ticket.not_shared(key_ref, version.is_multiple_of(2));
            return whole;
        };
        match answer {
            Answer::Dropped => {
                ends();
                drop(ticket);
                return None;
            }
            Answer::Failed => {
                ends();
                ticket.failed(Reason::UpstreamClosed);
                return None;
            }
            Answer::Unshared => {
                ends();
                ticket.unshare();
            }
            _ => {}
        }
        let reading = ticket.reading();
        ticket.answered(&head);
        let mut list = Vec::new();
        for (place, part) in content.iter().enumerate() {
            self.turns().await;
            let kept = store.make(Segment::cost(part.len()), |ledger| Segment::new(ledger, part));
            if answer == Answer::Outgrown || kept.is_none() {
                if place == 1 {
                    ends();
                    ticket.let_go(1);
                }
                list.clear();
            }
            let segment = kept.unwrap_or_else(|| Segment::passing(part));
            ticket.received(&segment);
            list.push(segment);
        }
        self.turns().await;
        ends();
        match answer {
            Answer::Broken => ticket.failed(Reason::UpstreamTruncated),
            _ if list.len() < parts => ticket.ended_unkept(),
            _ => match store.make(256, |ledger| crate::cache::stored::Body::new(ledger, list.clone(), b"")) {
                Some(body) => ticket.keep(key_ref, Stored { head, body }),
                None => ticket.ended_unkept(),
            },
        }
        drop(reading);
        (answer != Answer::Broken).then_some(whole).flatten()
    }

    /// Reads along. None if it broke off.
    async fn read(&self, mut reading: Reading) -> Result<Option<Vec<u8>>, NoHead> {
        reading.head().await?;
        let mut content = Vec::new();
        loop {
            self.turns().await;
            match reading.next().await {
                Next::Segment(segment) => content.extend_from_slice(segment.bytes()),
                Next::End(_) => break,
                Next::Broken(_) => return Ok(None),
            }
        }
        self.truth.borrow_mut().joined += 1;
        Ok(Some(content))
    }

    /// A request changes the resource, and the cache is told.
    async fn invalidate(self: Rc<Self>, core: usize, key: usize) {
        let version = {
            let mut truth = self.truth.borrow_mut();
            truth.versions[key] += 1;
            truth.removals_begun += 1;
            truth.versions[key]
        };
        let store = &self.cores[core];
        store.invalidate(self.key(key)).await;
        let mut truth = self.truth.borrow_mut();
        truth.floors[key] = truth.floors[key].max(version);
        truth.removals_ended += 1;
    }

    /// A purge, in two rounds as the control side sees to it.
    async fn purge(self: Rc<Self>, purge: Purge) {
        let covered = |key: &usize| purge.what.covers(&self.names[*key], b"news");
        let versions = {
            let mut truth = self.truth.borrow_mut();
            (0..KEYS).filter(covered).for_each(|key| truth.versions[key] += 1);
            truth.removals_begun += 1;
            truth.versions
        };
        for round in [Round::Stored, Round::Copies] {
            let mut open: Vec<usize> = (0..self.cores.len()).collect();
            while !open.is_empty() {
                self.turns().await;
                let core = open.swap_remove(self.chance(open.len()));
                self.cores[core].purge(&purge, round).await;
            }
        }
        let mut truth = self.truth.borrow_mut();
        for key in (0..KEYS).filter(covered) {
            truth.floors[key] = truth.floors[key].max(versions[key]);
        }
        truth.removals_ended += 1;
    }

    /// Delivers the next message of a core; says whether there was one.
    fn deliver(&self, core: usize) -> bool {
        let store = &self.cores[core];
        let message = store.shared.outlets[core].try_recv();
        message.map(|message| store.see_to(message)).is_ok()
    }

    /// Lets somebody do something: a core takes a message, or a task that was woken goes on. Says whether
    /// there was anything to do.
    fn step(&self, tasks: &mut Vec<Task>, deaf: usize) -> bool {
        let (cores, count) = (self.cores.len(), self.cores.len() + tasks.len());
        let first = self.chance(count);
        for turn in (first..count).chain(0..first) {
            if turn < cores {
                if turn != deaf && self.deliver(turn) {
                    return true;
                }
                continue;
            }
            let task = &mut tasks[turn - cores];
            if task.woken.0.swap(false, Ordering::Relaxed) {
                let waker = Waker::from(task.woken.clone());
                if task.work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    drop(tasks.swap_remove(turn - cores));
                }
                return true;
            }
        }
        false
    }

    /// What must hold once everybody is done.
    fn check_at_rest(&self) {
        for (place, store) in self.cores.iter().enumerate() {
            assert!(store.sources.borrow().is_empty(), "a fetch that nobody makes");
            assert!(store.mirrors.borrow().is_empty(), "a mirror of nothing");
            assert!(store.questions.borrow().is_empty(), "a question that nobody asks");
            assert_eq!(store.shard.borrow().in_flight(), 0, "others would wait for nothing");
            assert!(!store.shard.borrow().has_forgotten(), "somebody was not told");
            assert!(store.unheard.iter().all(|unheard| Arc::strong_count(unheard) == 1));
            for key in 0..KEYS {
                let key_ref = self.key(key);
                let owner = &self.cores[store.owner(key_ref.hash)];
                let truth = owner.shard.borrow().peek(key_ref).map(|entry| entry.version);
                let copy = store.copies.borrow().peek(&key_ref).map(|copy| copy.entry.version);
                assert!(copy.is_none() || copy == truth, "core {place} has {copy:?} of {truth:?}");
                assert!(store.owner(key_ref.hash) != place || copy.is_none(), "a copy of its own");
            }
        }
    }
}

impl Store {
    async fn ask_anyone(&self, key: KeyRef<'_>) -> Found {
        match self.find_here(key) {
            Some(found) if self.owns(key.hash) => found,
            _ => self.ask(key).await,
        }
    }
}

/// What content says of itself: key, selecting values, version. It must be whole, and of one piece.
fn understood(content: &[u8]) -> (usize, usize, u64) {
    let text = std::str::from_utf8(content).unwrap();
    let parts: Vec<Vec<u64>> = text
        .split_terminator(';')
        .map(|part| part.split(' ').map(|number| number.parse().unwrap()).collect())
        .collect();
    let first = &parts[0];
    for (place, part) in parts.iter().enumerate() {
        assert_eq!((&part[..3], part[3], part[4]), (&first[..3], place as u64, parts.len() as u64), "{text}");
    }
    (usize::try_from(first[0]).unwrap(), usize::try_from(first[1]).unwrap(), first[2])
}

/// Runs a history; says what it was.
fn run(cores: usize, bytes_max: usize, seed: u64, ops: Vec<Op>) -> Truth {
    let world = World::new(cores, bytes_max, seed);
    let mut tasks: Vec<Task> = Vec::new();
    let mut now_ms = NOW_MS;
    for op in ops {
        let what = format!("{op:?}");
        let work: Work = match op {
            Op::Ask { core, key, selecting, answer } => {
                Box::pin(world.clone().ask(core % cores, key, selecting, answer))
            }
            Op::Invalidate { core, key } => Box::pin(world.clone().invalidate(core % cores, key)),
            Op::Purge { what, key } => {
                let what = match what {
                    0 => What::All,
                    1 => What::Key(world.names[key][..].into()),
                    2 => What::Prefix(world.names[key][..2].into()),
                    _ => What::Tag((*b"news").into()),
                };
                Box::pin(world.clone().purge(Purge { what, soft: false }))
            }
            Op::Pressure { core, bytes } => {
                assert!(world.cores[core % cores].make(bytes, |_| None::<()>).is_none());
                continue;
            }
            Op::Tick { ms } => {
                now_ms += ms;
                world.cores.iter().for_each(|store| store.tick(now_ms));
                continue;
            }
            Op::Turns { count, deaf } => {
                for _ in 0..count {
                    world.step(&mut tasks, deaf);
                    assert!(world.ledger.held() <= world.ledger.bytes_max());
                }
                continue;
            }
        };
        tasks.push(Task { work, woken: Arc::new(Flag(AtomicBool::new(true))), what });
    }
    while world.step(&mut tasks, usize::MAX) {
        assert!(world.ledger.held() <= world.ledger.bytes_max());
    }
    let stuck: Vec<_> = tasks.iter().map(|task| &task.what).collect();
    assert!(stuck.is_empty(), "they wait for ever: {stuck:?}");
    world.check_at_rest();
    let ledger = world.ledger.clone();
    let truth = world.truth.take();
    drop(world);
    assert_eq!(ledger.held(), 0);
    truth
}

proptest! {
    // They are short, and races are rare.
    #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    /// Whatever the order in which messages arrive: nobody who asks after a removal has ended gets what was
    /// there before it, nobody gets what is another key's, two do not fetch what one could, nobody waits for
    /// ever, and nothing is left behind.
    #[test]
    fn cores_agree_whatever_the_order_of_their_messages(
        cores in 1_usize..5,
        kib in prop_oneof![Just(24_usize), Just(64), Just(1024)],
        seed: u64,
        ops in ops(),
    ) {
        run(cores, kib * 1024, seed, ops);
    }
}

#[test]
fn histories_do_what_they_are_for() {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut fetches, mut joined, mut copies) = (0, 0, 0);
    for seed in 0..50 {
        let ops = (0..60).map(|_| match random.u8(..3) {
            0 => Op::Turns { count: 20, deaf: usize::MAX },
            _ => Op::Ask {
                core: random.usize(..4),
                key: random.usize(..KEYS),
                selecting: 0,
                answer: Answer::Kept,
            },
        });
        let ops: Vec<_> = ops.collect();
        let asked = ops.iter().filter(|op| matches!(op, Op::Ask { .. })).count() as u64;
        let truth = run(4, 1 << 20, seed, ops);
        assert_eq!(truth.answered, asked);
        assert!(truth.fetches <= KEYS as u64, "each key once");
        (fetches, joined, copies) =
            (fetches + truth.fetches, joined + truth.joined, copies + truth.from_copies);
    }
    assert!(fetches > 200 && joined > 100 && copies > 100, "{fetches} {joined} {copies}");
}

/// Polls a future once.
fn once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl World {
    /// Delivers all there is, and has the future done then.
    fn finish<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        loop {
            if let Some(output) = once(future.as_mut()) {
                return output;
            }
            let delivered = (0..self.cores.len()).filter(|&core| self.deliver(core)).count();
            assert!(delivered > 0, "it waits for ever");
        }
    }
}

/// A key that the core with that place owns.
fn owned_by(store: &Store, host: &str, place: usize) -> Vec<u8> {
    let mut texts = (0..).map(|number| format!("{host}/{number}").into_bytes());
    texts.find(|text| store.owner(store.hash(text)) == place).unwrap()
}

#[test]
fn an_invalidation_waits_for_those_who_have_not_heard_of_an_earlier_change() {
    let world = World::new(3, 1 << 20, 0);
    let [owner, holder, other] = &world.cores[..] else { unreachable!() };
    let text = owned_by(owner, "k", 0);
    let key = KeyRef { hash: owner.hash(&text), text: &text };
    let put = |content: &[u8]| {
        let stored = sample::stored(&world.ledger, "", b"", &[content]).unwrap();
        owner.alone(owner.find_here(key).unwrap().moment).keep(key, stored);
    };
    put(b"one");
    assert!(world.finish(holder.ask(key)).entry.is_some());
    // The copy has to go, but the message about it stays where it is.
    put(b"two");
    for core in [owner, other] {
        let mut invalidation = std::pin::pin!(core.invalidate(key));
        assert!(once(invalidation.as_mut()).is_none());
        for _ in 0..9 {
            while world.deliver(0) || world.deliver(2) {}
            assert!(once(invalidation.as_mut()).is_none(), "the holder still has a copy");
        }
        assert!(holder.copies.borrow().contains_key(&key));
        while world.deliver(1) {}
        assert!(!holder.copies.borrow().contains_key(&key));
        world.finish(invalidation);
        put(b"three");
        assert!(world.finish(holder.ask(key)).entry.is_some());
        put(b"four");
    }
    while (0..3).any(|core| world.deliver(core)) {}
    world.check_at_rest();
}

#[test]
fn a_copy_in_use_is_told_to_its_owner_now_and_then() {
    let world = World::new(2, 1 << 20, 0);
    let [owner, holder] = &world.cores[..] else { unreachable!() };
    let text = owned_by(owner, "k", 0);
    let key = KeyRef { hash: owner.hash(&text), text: &text };
    let stored = sample::stored(&world.ledger, "", b"", &[b"one"]).unwrap();
    owner.alone(Moment::default()).keep(key, stored);
    world.finish(holder.ask(key));
    for (after_ms, used, told) in
        [(0, true, false), (100, true, false), (200, false, true), (300, true, false)]
    {
        holder.tick(NOW_MS + after_ms);
        assert_eq!(world.deliver(0), told, "after {after_ms} ms");
        for _ in 0..if used { 3 } else { 0 } {
            assert!(holder.find_here(key).unwrap().entry.is_some());
        }
    }
}

#[test]
fn nobody_waits_for_a_core_that_has_ended() {
    let world = World::new(2, 1 << 20, 0);
    let [here, gone] = &world.cores[..] else { unreachable!() };
    let text = owned_by(here, "k", 1);
    let key = KeyRef { hash: here.hash(&text), text: &text };
    let mut asking = std::pin::pin!(here.ask(key));
    assert!(once(asking.as_mut()).is_none());
    let mut invalidating = std::pin::pin!(here.invalidate(key));
    assert!(once(invalidating.as_mut()).is_none());
    // What it does not take any more is dropped.
    while gone.shared.outlets[1].try_recv().is_ok() {}
    assert!(world.finish(asking).entry.is_none());
    world.finish(invalidating);
}

#[test]
fn what_is_asked_for_and_not_waited_for_leaves_nothing_behind() {
    let world = World::new(2, 1 << 20, 0);
    let [here, _] = &world.cores[..] else { unreachable!() };
    let text = owned_by(here, "k", 1);
    let key = KeyRef { hash: here.hash(&text), text: &text };
    {
        let mut asking = std::pin::pin!(here.ask(key));
        assert!(once(asking.as_mut()).is_none());
    }
    while (0..2).any(|core| world.deliver(core)) {}
    world.check_at_rest();
}
