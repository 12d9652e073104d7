//! What cores say to each other about the cache.

use std::sync::Arc;

use crate::cache::fill::Update;
use crate::cache::key::KeyRef;
use crate::cache::purge::Moment;
use crate::cache::shard::{Begun, FillId};
use crate::cache::stored::Stored;

/// A key on its way to another core: its hash, which every core computes alike, and its text.
#[derive(Clone, Debug)]
pub(crate) struct SentKey {
    pub(crate) hash: u64,
    pub(crate) text: Box<[u8]>,
}

impl SentKey {
    /// Takes a key along.
    pub(super) fn of(key: KeyRef<'_>) -> SentKey {
        SentKey { hash: key.hash, text: key.text.into() }
    }

    /// The key to ask with.
    pub(super) fn borrowed(&self) -> KeyRef<'_> {
        KeyRef { hash: self.hash, text: &self.text }
    }
}

/// From one core to another. Messages of one core arrive in the order in which it sent them.
#[derive(Debug)]
pub(crate) enum Message {
    /// To the owner: what is stored for this key?
    Ask { key: SentKey, core: usize, reply: ReplyTo },
    /// To the owner: this core wants to fetch.
    Begin { key: SentKey, selecting: Box<[u8]>, selecting_hash: u64, seen: u64, id: FillId, reply: ReplyTo },
    /// To the owner: store what a fetch that began at `begun` brought, and let `id` land.
    Store { key: SentKey, begun: Moment, stored: Stored, id: Option<FillId> },
    /// To the owner: a fetch brought what cannot be shared.
    NotShared { key: SentKey, supersedes: bool, id: Option<FillId> },
    /// To the owner: nobody may join this fetch any more.
    Land { id: FillId },
    /// From the owner: whoever asks finds what the fetch with this number brought.
    Landed { number: u64 },
    /// To the owner: copies of these entries are in use.
    Touch { keys: Vec<SentKey> },
    /// To the owner: a request has changed this resource.
    Invalidate { key: SentKey, reply: ReplyTo },
    /// From the owner: copies of this entry go. Whoever waits for that holds the other end of `until`;
    /// `unheard` is there for as long as the message is.
    Forget { key: SentKey, until: Option<Arc<ReplyTo>>, unheard: Arc<()> },
    /// To the core that fetches: this core has readers for it.
    Subscribe { id: FillId, core: usize, reply: ReplyTo },
    /// To the core that fetches: of this core's readers the one who is furthest on wants that segment next;
    /// there are none any more where it says nothing.
    Reached { id: FillId, core: usize, next: Option<usize> },
    /// From the core that fetches: its fetch took a step.
    Progress { id: FillId, update: Update },
    /// An answer.
    Reply { number: u64, reply: Reply },
}

/// An entry on its way to another core.
#[derive(Debug)]
pub(crate) struct SentEntry {
    pub(crate) variants: Vec<Stored>,
    pub(crate) alone_until_ms: u64,
    pub(crate) version: u64,
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// What is stored for a key; none if nothing is. The asking core may keep a copy.
    Found { key: SentKey, entry: Option<SentEntry>, moment: Moment },
    /// Whether the core that asked fetches, or whom to join.
    Begun { begun: Begun, moment: Moment, id: FillId, owner: usize },
    /// All steps that the fetch has taken so far; the others follow.
    Subscribed { id: FillId, history: Vec<Update> },
    /// It is done; or there is nothing to say, for what was asked about has ended.
    Done,
}

/// Where an answer goes. One that is dropped answers [`Reply::Done`], so that nobody waits for a core
/// that has ended.
#[derive(Debug)]
pub(crate) struct ReplyTo {
    inbox: flume::Sender<Message>,
    number: u64,
    answered: bool,
}

impl ReplyTo {
    /// An answer to the question with that number, of the core with that inbox.
    pub(super) fn new(inbox: flume::Sender<Message>, number: u64) -> ReplyTo {
        ReplyTo { inbox, number, answered: false }
    }

    /// Answers.
    pub(super) fn send(mut self, reply: Reply) {
        self.answered = true;
        let _ = self.inbox.send(Message::Reply { number: self.number, reply });
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if !self.answered {
            let _ = self.inbox.send(Message::Reply { number: self.number, reply: Reply::Done });
        }
    }
}
