//! Keeping upstreams up, once for the whole process: which endpoints they have, and how these are.
//!
//! ```text
//!   reload: configurations ──▶ upkeep (a thread)                            ──▶ control: rosters, notes
//!   cores: tallies         ──▶   Book: what is known, what follows from it
//!   admin: list, drain     ──▶   tasks: look-ups, probes; files
//! ```
//!
//! [`book`] decides, without opening anything or reading a clock; [`watch`] acts.

mod book;
mod discover;
mod endpoint;
mod files;
mod follow;
mod orders;
mod probe;
mod resolve;
mod told;
mod upstream;
mod watch;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use self::book::Adopted;
pub(super) use self::orders::{Drained, Listing, NotDrained};
use super::admin::upstreams::DrainRequest;
use super::{Event, RunError, spawn};
use crate::config::{Settings, UpstreamSettings};
use crate::proxy::guard::message;
use crate::upstream::health::Tally;
use crate::upstream::{Roster, shared};

/// How long the start, or a reload, waits for names that have not been looked up yet.
pub(super) const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// How much longer an answer may take than it was given.
const GRACE: Duration = Duration::from_secs(1);

/// How long whoever asks waits for an answer. Nothing that the thread does takes long.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// Nobody keeps upstreams up any more.
    Ended,
    /// It did not come in time. What was ordered may be carried out yet.
    Late,
}

/// What the thread is told.
enum Message {
    /// Keep these upstreams up, and no others.
    Adopt {
        upstreams: Vec<UpstreamSettings>,
        resolvers: Vec<SocketAddr>,
        idle_spared: usize,
        within: Duration,
        done: flume::Sender<Adopted>,
    },
    /// What a core has seen of endpoints.
    Tallies(Vec<Tally>),
    /// Say what there is.
    List { done: flume::Sender<Listing> },
    /// Have endpoints get no more requests, or again.
    Drain { order: DrainRequest, drained: bool, done: flume::Sender<Result<Vec<Drained>, NotDrained>> },
    /// Do what must not happen.
    #[cfg(test)]
    Panic,
}

/// Orders to whoever keeps the book of all upstreams, which ends with the last of these.
#[derive(Clone)]
pub(super) struct Upkeep {
    messages: flume::Sender<Message>,
    /// How many cores share what is idle.
    workers: usize,
}

impl Upkeep {
    /// Nothing is kept up yet. Rosters that change will come as [`Event::Rosters`]; should the thread panic, that comes
    /// as [`Event::Ended`], for nobody would see any more how endpoints are.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(events: flume::Sender<Event>, workers: usize) -> Result<Upkeep, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| RunError::Failed(format!("cannot start keeping upstreams up: {error}")))?;
        let (messages, inbox) = flume::unbounded();
        spawn("upkeep", move || {
            let tasks = tokio::task::LocalSet::new();
            let keeping = || tasks.block_on(&runtime, watch::keep(inbox, events.clone()));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(keeping)) {
                let why = format!("whoever keeps upstreams up panicked: {}", message(&*panic));
                let _ = events.send(Event::Ended(Err(why)));
            }
            drop(tasks);
            // A look-up by the system may hang for long.
            runtime.shutdown_background();
        })?;
        Ok(Upkeep { messages, workers })
    }

    /// From now on these upstreams are kept up, and no others. The rosters of all of them, with what is known within
    /// that time. A name without an address is no error, for it may have one later; a note says so.
    pub(super) fn adopt(
        &self,
        settings: &Settings,
        within: Duration,
        on_note: &mut impl FnMut(&str),
    ) -> Arc<[Arc<Roster>]> {
        let (done, adopted) = flume::bounded(1);
        let message = Message::Adopt {
            upstreams: settings.upstreams.clone(),
            resolvers: settings.resolvers.clone(),
            idle_spared: shared::idle_spared(settings.upstream_idle, self.workers),
            within,
            done,
        };
        let sent = self.messages.send(message).is_ok();
        match adopted.recv_timeout(within + GRACE) {
            Ok(Adopted { rosters, notes }) => {
                notes.iter().for_each(|note| on_note(note));
                rosters
            }
            Err(_) => {
                let why = if sent { "is late" } else { "has ended" };
                on_note(&format!("whoever keeps upstreams up {why}; names are not known yet"));
                // Of whatever the cores have or get, these are the oldest.
                let literals = |upstream| Arc::new(Roster::of_literals(upstream, 0, Arc::default()));
                settings.upstreams.iter().map(literals).collect()
            }
        }
    }

    /// Takes what a core has seen of endpoints.
    pub(super) fn hear(&self, tallies: Vec<Tally>) {
        let _ = self.messages.send(Message::Tallies(tallies));
    }

    /// All upstreams as they are.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn list(&self) -> Result<Listing, Silent> {
        self.ask(ANSWER_TIME, |done| Message::List { done }).await
    }

    /// Has endpoints get no more requests (`drained`), or again. The cores have been told when this says what came of
    /// it.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn drain(
        &self,
        order: DrainRequest,
        drained: bool,
    ) -> Result<Result<Vec<Drained>, NotDrained>, Silent> {
        self.ask(ANSWER_TIME, |done| Message::Drain { order, drained, done }).await
    }

    async fn ask<T>(
        &self,
        within: Duration,
        message: impl FnOnce(flume::Sender<T>) -> Message,
    ) -> Result<T, Silent> {
        let (done, answer) = flume::bounded(1);
        self.messages.send(message(done)).map_err(|_| Silent::Ended)?;
        match tokio::time::timeout(within, answer.recv_async()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Silent::Ended),
            Err(_) => Err(Silent::Late),
        }
    }
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
