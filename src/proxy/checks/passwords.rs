//! Passwords that requests bring: whether they are right, found out beside the cores and remembered on each.
//!
//! ```text
//!   a request ─▶ is it known? ─▶ is somebody asking just this? ─▶ a queue over all cores ─▶ threads that hash
//!                  │ yes            │ yes: it waits for that         │ full: 503
//! ```
//!
//! To hash a password takes from milliseconds to a second, as it should. No core does it: a few threads do, which
//! take from one bounded queue, and step back behind the cores. Whoever floods them with one wrong password is told
//! from memory; with many, he fills the queue only as far as one client may, all cores together: after some that were
//! wrong with one at a time, so that a thread is left for others. From many addresses others have to wait or come again,
//! but nothing that is known already has to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::config::passwords::Entry;
use crate::filter::arrivals::{self, Crowd, Guest};
use crate::filter::auth::remember::{Key, Mark, Remembered};
use crate::filter::auth::verify;
use crate::filter::rate::{Limit, Table};
use crate::net::Ticks;
use crate::proxy::core::Core;
use crate::proxy::snapshot::table;

/// Passwords that wait to be held against hashes, over all cores.
const WAITING_MAX: usize = 64;

/// Threads that do so. Each may need as much memory as one Argon2 does.
const THREADS: usize = 2;

/// Passwords of one client that are asked about at once, over all cores: browsers come by six connections.
const OF_CLIENT_MAX: u16 = 8;

/// The same after so many that were wrong, of which one is forgiven in that time.
const OF_GUESSER_MAX: u16 = 1;
const WRONG_MAX: u32 = 8;
const FORGIVEN: Duration = Duration::from_secs(2);

/// Clients of whom it is known how many of theirs were wrong.
const GUESSERS: usize = 4096;

/// Bits of an IPv6 address that make one client.
const V6_PREFIX: u8 = 64;

/// What may be asked at once for all together whose address nobody knows.
const OF_UNKNOWN_MAX: u16 = 32;

/// How long a request waits for a verdict at least, and at most where hashing takes its time.
const WAIT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// So many times what is to be expected is waited for.
const WAIT_TIMES: u64 = 3;

/// How far the threads step back behind the cores. At this they get a quarter of a core that has no time left, and a
/// hash takes four times as long as it should; at 10, where others fill the machine too, nobody could log in.
const NICE: i32 = 5;

/// How long a wrong password is remembered, if right ones are not forgotten sooner.
const WRONG: Duration = Duration::from_secs(5);

/// The threads that hash passwords. They end when the last who may ask them is gone.
pub(in crate::proxy) struct Verifiers {
    queue: flume::Sender<Job>,
    clients: Arc<Clients>,
    patience: Arc<Patience>,
    /// What marks are made with.
    pub(in crate::proxy) key: Key,
}

/// How long it is worth to wait: as it has taken of late, by the clock, to hold a password against its hash. A machine
/// that others keep busy takes longer than it should, and whoever gives up then has the next one start over.
#[derive(Default)]
struct Patience {
    /// Nanoseconds that one takes; 0 while none has been.
    cost: AtomicU64,
}

impl Patience {
    /// One has taken so long.
    fn note(&self, nanos: u64) {
        // Two threads may come at once, of which one is lost: it is an estimate.
        let before = self.cost.load(Relaxed);
        let after = if before == 0 { nanos } else { before - before / 4 + nanos / 4 };
        self.cost.store(after.max(1), Relaxed);
    }

    /// How long whoever comes when so many wait already is to wait.
    fn wait(&self, waiting: usize) -> Duration {
        let turns = (waiting / THREADS) as u64 + 1;
        let expected = self.cost.load(Relaxed).saturating_mul(turns);
        Duration::from_nanos(expected.saturating_mul(WAIT_TIMES)).clamp(WAIT, WAIT_MAX)
    }
}

/// A password that is to be held against a hash.
struct Job {
    entry: Entry,
    password: Vec<u8>,
    /// Whether the entry is that of the user; otherwise it only takes as long.
    is_known: bool,
    /// It counts until it is done, whether somebody still waits for it or not.
    counted: Counted,
    answer: flume::Sender<bool>,
}

/// What all cores know of those who ask.
struct Clients {
    asking: Crowd,
    wrong: Table,
    limit: Limit,
    began: Moment,
}

/// A question of a client, which counts until this goes.
struct Counted {
    clients: Arc<Clients>,
    /// None for those whose address nobody knows: all of them may have gone wrong.
    key: Option<u64>,
    guest: Guest,
}

impl Clients {
    fn new() -> Clients {
        Clients {
            asking: Crowd::small(),
            wrong: table(GUESSERS),
            limit: Limit::new(1, FORGIVEN, WRONG_MAX, Duration::ZERO),
            began: Clock::default().now(),
        }
    }

    /// Counts a question that comes now, so many nanoseconds after the beginning, unless the client has too many already.
    fn ask(self: &Arc<Clients>, client: Option<IpAddr>, now: u64) -> Option<Counted> {
        let client = client.map(|client| arrivals::client(client, V6_PREFIX));
        let key = client.map(|client| {
            let mut keying = self.wrong.keying();
            match client {
                IpAddr::V4(four) => keying.add_bytes(4, &four.octets()),
                IpAddr::V6(six) => keying.add_bytes(6, &six.octets()),
            }
            keying.finish()
        });
        let guesses = |key| !self.wrong.look(&self.limit, key, now).taken;
        let max = match key {
            None => OF_UNKNOWN_MAX,
            Some(key) if guesses(key) => OF_GUESSER_MAX,
            Some(_) => OF_CLIENT_MAX,
        };
        // Nobody has this address.
        let guest = self.asking.enter(client.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), max)?;
        Some(Counted { clients: self.clone(), key, guest })
    }

    fn since_began(&self, now: Moment) -> u64 {
        u64::try_from(now.since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Counted {
    /// It was wrong.
    fn is_wrong(&self, now: u64) {
        if let Some(key) = self.key {
            self.clients.wrong.take(&self.clients.limit, key, now);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.clients.asking.leave(&self.guest);
    }
}

impl Verifiers {
    /// Starts the threads.
    pub(in crate::proxy) fn new() -> Verifiers {
        let (queue, jobs) = flume::bounded(WAITING_MAX);
        let patience = Arc::new(Patience::default());
        for at in 0..THREADS {
            let (jobs, patience) = (jobs.clone(), patience.clone());
            let thread = std::thread::Builder::new().name(format!("passwords-{at}"));
            // Where no thread can be started there are no verdicts, and requests are told so.
            let _ = thread.spawn(move || verify_all(&jobs, &patience));
        }
        // The standard library seeds its hashers with the randomness of the system; what they make of numbers, nobody
        // can tell who does not know the seed.
        let mut random = [0; 32];
        for chunk in random.chunks_exact_mut(8) {
            let seeded = std::collections::hash_map::RandomState::new();
            chunk.copy_from_slice(&seeded.hash_one(0).to_le_bytes());
        }
        Verifiers { queue, clients: Arc::new(Clients::new()), patience, key: Key::new(&random) }
    }
}

fn verify_all(jobs: &flume::Receiver<Job>, patience: &Patience) {
    // Where that is refused they compete with the cores on equal terms.
    let _ = rustix::process::nice(NICE);
    let clock = Clock::default();
    while let Ok(job) = jobs.recv() {
        // Whoever has waited too long is not there any more.
        if job.answer.is_disconnected() {
            continue;
        }
        let since = clock.now();
        let verdict = catch_unwind(AssertUnwindSafe(|| verify::password(&job.entry, &job.password)));
        let taken = clock.now().since(since);
        patience.note(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
        let Job { counted, answer, is_known, .. } = job;
        let verdict = verdict.map(|is_right| is_right && is_known);
        if let Ok(false) = verdict {
            counted.is_wrong(counted.clients.since_began(clock.now()));
        }
        // Whoever has the answer may ask again.
        drop(counted);
        if let Ok(is_right) = verdict {
            let _gone = answer.try_send(is_right);
        }
    }
}

/// What one core knows of passwords.
#[derive(Default)]
pub(in crate::proxy) struct Passwords {
    remembered: RefCell<Remembered>,
    /// What is being found out.
    asked: RefCell<HashMap<Mark, Rc<Notify>>>,
}

/// A name and a password that have to be held against a hash.
pub(in crate::proxy) struct Question {
    pub(in crate::proxy) mark: Mark,
    pub(in crate::proxy) entry: Entry,
    pub(in crate::proxy) is_known: bool,
    pub(in crate::proxy) password: Vec<u8>,
    /// How long the verdict is remembered; not at all if it is 0.
    pub(in crate::proxy) remember: Duration,
    pub(in crate::proxy) client: Option<IpAddr>,
}

/// Nobody could say whether a password is right.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Unavailable;

impl Passwords {
    /// What is known already.
    pub(in crate::proxy) fn verdict(&self, mark: &Mark, now: u32) -> Option<bool> {
        self.remembered.borrow().verdict(mark, now)
    }

    /// Finds out whether a password is right.
    ///
    /// # Errors
    /// Too much waits, or it took too long.
    pub(in crate::proxy) async fn ask(
        &self,
        core: &Core,
        verifiers: &Verifiers,
        question: Question,
    ) -> Result<bool, Unavailable> {
        let mark = question.mark;
        // Not borrowed while it waits.
        let other = self.asked.borrow().get(&mark).cloned();
        let wait = verifiers.patience.wait(verifiers.queue.len());
        if let Some(other) = other.filter(|_| !question.remember.is_zero()) {
            let _told = monoio::time::timeout(wait, other.notified()).await;
            if let Some(verdict) = self.verdict(&mark, core.deadlines.now()) {
                return Ok(verdict);
            }
        }
        let counted = {
            let clients = &verifiers.clients;
            clients.ask(question.client, clients.since_began(core.clock.now())).ok_or(Unavailable)?
        };
        let _asking = Asking::begin(self, mark);
        let (answer, verdict) = flume::bounded(1);
        let Question { entry, is_known, password, remember, .. } = question;
        let job = Job { entry, password, is_known, counted, answer };
        verifiers.queue.try_send(job).map_err(|_| Unavailable)?;
        core.counters.passwords_hashed.increment();
        let is_right = match monoio::time::timeout(wait, verdict.recv_async()).await {
            Ok(Ok(is_right)) => is_right,
            Ok(Err(_)) | Err(_) => return Err(Unavailable),
        };
        if !remember.is_zero() {
            let now = core.deadlines.now();
            let time = if is_right { remember } else { remember.min(WRONG) };
            self.remembered.borrow_mut().keep(mark, is_right, now, Ticks::of(time).after(now));
        }
        Ok(is_right)
    }
}

/// A question that is being asked, whatever ends it.
struct Asking<'a> {
    passwords: &'a Passwords,
    mark: Mark,
    others: Rc<Notify>,
}

impl Asking<'_> {
    fn begin(passwords: &Passwords, mark: Mark) -> Asking<'_> {
        let others = Rc::new(Notify::new());
        passwords.asked.borrow_mut().insert(mark, others.clone());
        Asking { passwords, mark, others }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut asked = self.passwords.asked.borrow_mut();
        // Where nothing is remembered, others may have asked the same meanwhile.
        if asked.get(&self.mark).is_some_and(|notify| Rc::ptr_eq(notify, &self.others)) {
            asked.remove(&self.mark);
        }
        self.others.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> (Arc<Clients>, u64) {
        (Arc::new(Clients::new()), 1)
    }

    fn from(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// So many questions are taken at once.
    fn taken(clients: &Arc<Clients>, client: Option<IpAddr>, now: u64) -> u16 {
        let asked: Vec<_> = (0..100).map_while(|_| clients.ask(client, now)).collect();
        u16::try_from(asked.len()).unwrap()
    }

    #[test]
    fn a_client_has_so_many_questions_at_once_on_all_cores_together() {
        let (clients, now) = clients();
        let one = from("192.0.2.1");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let clients = clients.clone();
                std::thread::spawn(move || (0..8).filter_map(|_| clients.ask(one, now)).collect::<Vec<_>>())
            })
            .collect();
        let asked: Vec<Counted> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(asked.len() <= usize::from(OF_CLIENT_MAX) && !asked.is_empty());
        let more = taken(&clients, one, now);
        assert_eq!(asked.len() + usize::from(more), usize::from(OF_CLIENT_MAX));
        for (other, max) in [(from("192.0.2.2"), OF_CLIENT_MAX), (None, OF_UNKNOWN_MAX)] {
            assert_eq!(taken(&clients, other, now), max);
        }
        drop(asked);
        assert_eq!(taken(&clients, one, now), OF_CLIENT_MAX);
        // A network of IPv6 is one client.
        let held: Vec<_> =
            (1..9).filter_map(|at| clients.ask(from(&format!("2001:db8::{at}")), now)).collect();
        assert_eq!((held.len(), taken(&clients, from("2001:db8::ffff"), now)), (8, 0));
        assert_eq!(taken(&clients, from("2001:db8:0:1::1"), now), OF_CLIENT_MAX);
    }

    #[test]
    fn whoever_guesses_has_one_at_a_time_until_it_is_forgiven() {
        let (clients, now) = clients();
        let guesser = from("192.0.2.1");
        for _ in 0..WRONG_MAX {
            assert!(taken(&clients, guesser, now) > 1);
            clients.ask(guesser, now).unwrap().is_wrong(now);
        }
        assert_eq!(taken(&clients, guesser, now), OF_GUESSER_MAX);
        assert_eq!(taken(&clients, from("192.0.2.2"), now), OF_CLIENT_MAX);
        let later = now + 2_000_000_000;
        assert_eq!(taken(&clients, guesser, later), OF_CLIENT_MAX);
        clients.ask(guesser, later).unwrap().is_wrong(later);
        assert_eq!(taken(&clients, guesser, later), OF_GUESSER_MAX);
    }

    #[test]
    fn the_wait_follows_what_hashing_takes() {
        let patience = Patience::default();
        assert_eq!((patience.wait(0), patience.wait(WAITING_MAX)), (WAIT, WAIT));
        let seconds = |count: u64| count * 1_000_000_000;
        // As it should be: a full queue is waited for, and no longer than ever.
        patience.note(seconds(1) / 5);
        assert_eq!(patience.wait(0), WAIT);
        assert_eq!(patience.wait(WAITING_MAX), Duration::from_millis(200) * 33 * 3);
        // A machine that is busy.
        (0..40).for_each(|_| patience.note(seconds(5)));
        let wait = patience.wait(0);
        assert!(wait > Duration::from_secs(14) && wait <= Duration::from_secs(15), "{wait:?}");
        assert_eq!(patience.wait(4), WAIT_MAX);
        patience.note(u64::MAX);
        assert_eq!(patience.wait(usize::MAX), WAIT_MAX);
        // That passes.
        let patience = Patience::default();
        patience.note(seconds(60));
        (0..40).for_each(|_| patience.note(0));
        assert_eq!(patience.wait(0), WAIT);
    }

    #[test]
    fn what_hashing_takes_is_measured() {
        let verifiers = Verifiers::new();
        let counted = verifiers.clients.ask(None, 1).unwrap();
        let hash = bcrypt::hash_with_salt("a", 4, [1; 16]).unwrap();
        let users = format!("a:{}\n", hash.format_for_version(bcrypt::Version::TwoB));
        let users = crate::config::passwords::Users::read(&users).unwrap();
        let entry = users.find(b"a").unwrap().clone();
        let (answer, verdict) = flume::bounded(1);
        let job = Job { entry, password: b"a".to_vec(), is_known: true, counted, answer };
        verifiers.queue.try_send(job).unwrap();
        assert_eq!(verdict.recv(), Ok(true));
        assert!(verifiers.patience.cost.load(Relaxed) > 1);
    }

    #[test]
    fn whoever_has_the_answer_is_not_counted_any_more() {
        let verifiers = Verifiers::new();
        let now = 1;
        let counted = verifiers.clients.ask(from("192.0.2.1"), now).unwrap();
        let hash = bcrypt::hash_with_salt("slow", 4, [1; 16]).unwrap();
        let users = format!("a:{}\n", hash.format_for_version(bcrypt::Version::TwoB));
        let users = crate::config::passwords::Users::read(&users).unwrap();
        let entry = users.find(b"a").unwrap().clone();
        let (answer, verdict) = flume::bounded(1);
        let job = Job { entry, password: b"wrong".to_vec(), is_known: true, counted, answer };
        verifiers.queue.try_send(job).unwrap();
        assert_eq!(verdict.recv(), Ok(false));
        assert_eq!(verifiers.clients.asking.total(), 0);
        assert_eq!(taken(&verifiers.clients, from("192.0.2.1"), now), OF_CLIENT_MAX);
    }
}
