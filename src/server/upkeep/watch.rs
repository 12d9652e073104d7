//! The thread that keeps the book: it looks names up, reads files and probes endpoints for it, and carries out what
//! comes of that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, spawn_local};

use super::Message;
use super::book::{Adopted, Book, Changes, Probed};
use super::discover::{Answer, Name};
use super::files::Files;
use super::resolve::Resolver;
use super::{orders, probe};
use crate::clock::{Clock, Moment};
use crate::config::EndpointSettings;
use crate::proxy::guard::{guarded, message};
use crate::server::Event;

/// How long a look-up may take; whoever looks up has time limits of their own, which should be shorter.
const LOOK_UP_TIME: Duration = Duration::from_secs(20);

/// So many probes are under way at once.
const PROBES_MAX: usize = 256;

/// The first probe of an endpoint comes within this time, at a moment of its own.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// However short an interval and large its jitter, so much lies between two probes.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(10);

/// However much there is to do, so much lies between two looks at the book by time alone.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Nothing may be due; then it is looked at all the same.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// What tasks and threads have found out.
pub(super) enum Finding {
    Answer(Answer),
    Probe(Probed, Result<(), String>),
    /// A file was looked at: what it says now, if that is something else.
    List(PathBuf, Option<Result<Vec<EndpointSettings>, String>>),
}

/// Keeps the book until nobody has orders any more.
pub(super) async fn keep(inbox: flume::Receiver<Message>, events: flume::Sender<Event>) {
    let (tell, findings) = flume::unbounded();
    let mut watch = Watch::new(events, tell);
    loop {
        watch.follow();
        let heard = {
            let message = pin!(inbox.recv_async());
            let finding = pin!(findings.recv_async());
            let next = select(message, finding);
            tokio::time::timeout(watch.pause(), next).await.map(|next| match next {
                Either::Left((message, _)) => Either::Left(message),
                Either::Right((finding, _)) => Either::Right(finding),
            })
        };
        let (message, finding) = match heard {
            Ok(Either::Left(Ok(message))) => (Some(message), None),
            Ok(Either::Left(Err(_))) => return,
            Ok(Either::Right(finding)) => (None, finding.ok()),
            Err(_) => (None, None),
        };
        // What has come meanwhile is settled together.
        for finding in finding.into_iter().chain(findings.drain()) {
            watch.find(finding);
        }
        for message in message.into_iter().chain(inbox.drain()) {
            watch.hear(message);
        }
    }
}

struct Watch {
    book: Book,
    clock: Clock,
    started: Moment,
    events: flume::Sender<Event>,
    tell: flume::Sender<Finding>,
    resolver: Option<Resolver>,
    files: Files,
    /// What each of them probes now, and its task.
    probes: HashMap<u64, (Rc<RefCell<Probed>>, AbortHandle)>,
    slots: Rc<Semaphore>,
    /// Who waits for a configuration to be in force.
    adopting: Option<flume::Sender<Adopted>>,
}

impl Watch {
    fn new(events: flume::Sender<Event>, tell: flume::Sender<Finding>) -> Watch {
        let clock = Clock::default();
        Watch {
            book: Book::default(),
            started: clock.now(),
            clock,
            events,
            files: Files::new(tell.clone()),
            tell,
            resolver: None,
            probes: HashMap::new(),
            slots: Rc::new(Semaphore::new(PROBES_MAX)),
            adopting: None,
        }
    }

    fn now(&self) -> Duration {
        self.clock.now().since(self.started)
    }

    /// Does what the book wants done.
    fn follow(&mut self) {
        self.files.follow(self.book.files(), self.now());
        self.settle();
        self.look_up();
    }

    /// How long nothing has to be done but hear.
    fn pause(&self) -> Duration {
        let due = self.book.due().into_iter().chain(self.files.due()).min();
        due.map_or(PAUSE_MAX, |due| due.saturating_sub(self.now())).clamp(PAUSE_MIN, PAUSE_MAX)
    }

    fn hear(&mut self, message: Message) {
        let now = self.now();
        match message {
            Message::Adopt { upstreams, resolvers, idle_spared, within, done } => {
                // What the system says about name servers may have changed as well.
                self.resolver = Some(Resolver::new(&resolvers));
                self.book.spares().set_max(idle_spared);
                self.book.adopt(upstreams, within, now);
                self.adopting = Some(done);
            }
            Message::Tallies(tallies) => self.book.hear(&tallies, now),
            Message::List { done } => {
                self.settle();
                let _ = done.send(orders::list(&self.book, now));
            }
            Message::Drain { order, drained, done } => {
                let result = orders::drain(&mut self.book, &order, drained, now);
                // Whoever asks the cores next asks after they have heard of it.
                self.settle();
                let _ = done.send(result);
            }
            #[cfg(test)]
            Message::Panic => panic!("as somebody wants"),
        }
    }

    fn find(&mut self, finding: Finding) {
        let now = self.now();
        match finding {
            Finding::Answer(answer) => self.book.learn(answer, now),
            Finding::Probe(probed, result) => self.book.probed(&probed, result, now),
            Finding::List(path, list) => {
                self.files.looked(&path);
                if let Some(list) = list {
                    self.book.learn(Answer::List(path, list), now);
                }
            }
        }
    }

    /// Tells what has changed.
    fn settle(&mut self) {
        let now = self.now();
        let Changes { rosters, notes, adopted } = self.book.settle(now);
        if let Some(adopted) = adopted
            && let Some(adopting) = self.adopting.take()
            && let Err(flume::SendError(adopted)) = adopting.send(adopted)
        {
            // Whoever brought it has stopped waiting, and has given the cores what was known without a look-up.
            let _ = self.events.send(Event::Rosters(adopted.rosters));
            adopted.notes.into_iter().for_each(|note| drop(self.events.send(Event::Note(note))));
        }
        for note in notes {
            let _ = self.events.send(Event::Note(note));
        }
        if !rosters.is_empty() {
            let _ = self.events.send(Event::Rosters(rosters.into()));
        }
        self.probe();
    }

    fn look_up(&mut self) {
        let now = self.now();
        let Some(resolver) = &self.resolver else { return };
        for name in self.book.look_ups(now) {
            let (resolver, tell) = (resolver.clone(), self.tell.clone());
            spawn_local(async move {
                if let Some(answer) = look_up(&resolver, name).await {
                    let _ = tell.send(Finding::Answer(answer));
                }
            });
        }
    }

    /// Begins the probes that are new, and ends those that are not wanted any more.
    fn probe(&mut self) {
        let mut before = std::mem::take(&mut self.probes);
        for probed in self.book.probes() {
            let number = probed.number;
            let running = match before.remove(&number) {
                Some((current, task)) => {
                    current.replace(probed);
                    (current, task)
                }
                None => {
                    let current = Rc::new(RefCell::new(probed));
                    let (slots, tell) = (self.slots.clone(), self.tell.clone());
                    let probing = keep_probing(current.clone(), slots, tell, self.clock.clone());
                    (current, spawn_local(probing).abort_handle())
                }
            };
            self.probes.insert(number, running);
        }
        before.values().for_each(|(_, task)| task.abort());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.probes.values().for_each(|(_, task)| task.abort());
    }
}

async fn look_up(resolver: &Resolver, name: Name) -> Option<Answer> {
    Some(match name {
        Name::Host(name) => {
            let found = in_time(resolver.addresses(&name)).await;
            Answer::Addresses(name, found)
        }
        Name::Services(name) => {
            let found = in_time(resolver.services(&name)).await;
            Answer::Services(name, found)
        }
        Name::List(_) => return None,
    })
}

/// Waits for a look-up no longer than one may take. Whatever becomes of it, there is an answer, or nobody would look the
/// name up again.
async fn in_time<T>(looking_up: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let limited = tokio::time::timeout(LOOK_UP_TIME, unharmed("the look-up", looking_up));
    limited.await.unwrap_or_else(|_| Err(format!("no answer within {}s", LOOK_UP_TIME.as_secs())))
}

/// Has a panic be a failure like others.
async fn unharmed<T>(what: &str, it: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    guarded(it).await.unwrap_or_else(|panic| Err(format!("{what} panicked: {}", message(&*panic))))
}

/// Probes again and again. The first probe comes soon, and the second after a part of the interval, so that those of
/// endpoints that came together spread over all of it.
async fn keep_probing(
    current: Rc<RefCell<Probed>>,
    slots: Rc<Semaphore>,
    tell: flume::Sender<Finding>,
    clock: Clock,
) {
    let mut pause = {
        let Probed { at_once, probe, .. } = &*current.borrow();
        if *at_once { Duration::ZERO } else { probe.interval.min(FIRST_PROBE).mul_f64(fastrand::f64()) }
    };
    let mut is_first = true;
    loop {
        tokio::time::sleep(pause).await;
        let began = clock.now();
        let Ok(slot) = slots.acquire().await else { return };
        let probed = current.borrow().clone();
        let result = unharmed("the probe", probe::probe(&probed)).await;
        drop(slot);
        let (interval, jitter) = (probed.probe.interval, probed.probe.jitter);
        if tell.send(Finding::Probe(probed, result)).is_err() {
            return;
        }
        let wanted = match std::mem::take(&mut is_first) {
            true => interval.mul_f64(0.5 + fastrand::f64() / 2.0),
            false => jittered(interval, jitter, fastrand::f64()),
        };
        pause = wanted.saturating_sub(clock.now().since(began)).max(PROBE_PAUSE_MIN);
    }
}

/// The interval, up to so many percent shorter or longer, as `chance` (from 0 to 1) says.
fn jittered(interval: Duration, percent: u32, chance: f64) -> Duration {
    let most = f64::from(percent.min(100)) / 100.0;
    interval.mul_f64(1.0 + most * (2.0 * chance - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamSettings;

    #[test]
    fn a_configuration_that_nobody_waits_for_any_more_reaches_the_cores_all_the_same() {
        let (events, told) = flume::unbounded();
        let mut watch = Watch::new(events, flume::unbounded().0);
        let (done, adopted) = flume::bounded(1);
        drop(adopted);
        let endpoint = EndpointSettings::new("192.0.2.1:80".parse().unwrap());
        let upstreams = vec![UpstreamSettings::new("app", vec![endpoint])];
        let within = Duration::ZERO;
        watch.hear(Message::Adopt { upstreams, resolvers: Vec::new(), idle_spared: 0, within, done });
        watch.settle();
        let Ok(Event::Rosters(rosters)) = told.try_recv() else { panic!("the cores hear nothing") };
        assert_eq!((&*rosters[0].upstream, rosters[0].members.len()), ("app", 1));
        assert!(rosters[0].version > 0, "no core would take it");
    }

    #[test]
    fn a_panic_is_a_failure_like_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let panics = async {
            let answer: Result<(), String> = Ok(());
            assert!(answer.is_err(), "there is something");
            answer
        };
        assert_eq!(
            runtime.block_on(in_time(panics)),
            Err("the look-up panicked: there is something".to_owned())
        );
    }

    #[test]
    fn jitter_stays_within_its_percent() {
        let second = Duration::from_secs(1);
        for (percent, chance, want) in [
            (0, 0.3, 1000),
            (10, 0.0, 900),
            (10, 1.0, 1100),
            (100, 0.0, 0),
            (250, 1.0, 2000),
            (50, 0.5, 1000),
        ] {
            assert_eq!(jittered(second, percent, chance).as_millis(), want, "{percent} {chance}");
        }
    }
}
