//! The right to fetch, and the duty to say how it went.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::Store;
use super::message::{Message, SentKey};
use crate::cache::fill::{Fill, Reading, Update};
use crate::cache::key::KeyRef;
use crate::cache::purge::Moment;
use crate::cache::shard::FillId;
use crate::cache::stored::{Head, Segment, Stored};
use crate::error::Reason;

/// A fetch of this core. One that is dropped without a word has failed, and whoever waits for it is told.
pub(crate) struct Ticket {
    store: Weak<Store>,
    begun: Moment,
    /// Where others may wait for it; none if nobody does.
    shared: Option<Shared>,
    /// Where the steps go if nobody else waits.
    private: Option<Rc<Fill>>,
    ended: bool,
}

/// A fetch that others may wait for.
struct Shared {
    id: FillId,
    owner: usize,
    fill: Rc<Fill>,
}

impl Ticket {
    pub(super) fn alone(store: Weak<Store>, begun: Moment) -> Ticket {
        Ticket { store, begun, shared: None, private: None, ended: false }
    }

    pub(super) fn shared(
        store: Weak<Store>,
        begun: Moment,
        id: FillId,
        owner: usize,
        fill: Rc<Fill>,
    ) -> Ticket {
        let shared = Some(Shared { id, owner, fill });
        Ticket { store, begun, shared, private: None, ended: false }
    }

    /// Whether others may wait for it.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Reads along. Of a fetch that nobody else waits for, what comes before the first call is lost.
    pub(crate) fn reading(&mut self) -> Reading {
        Reading::new(match &self.shared {
            Some(shared) => &shared.fill,
            None => self.private.get_or_insert_with(Fill::new),
        })
    }

    /// What this core's readers see.
    pub(crate) fn fill(&self) -> Option<&Rc<Fill>> {
        self.shared.as_ref().map(|shared| &shared.fill).or(self.private.as_ref())
    }

    /// The response is not for those who wait; it may be stored all the same.
    pub(crate) fn unshare(&mut self) {
        self.publish(&Update::NotShared);
        self.land();
        self.private = None;
    }

    /// The head is there, and the response may be shared.
    pub(crate) fn answered(&self, head: &Arc<Head>) {
        self.publish(&Update::Head(head.clone()));
    }

    /// More content.
    pub(crate) fn received(&self, segment: &Arc<Segment>) {
        self.publish(&Update::Segment(segment.clone()));
    }

    /// The response has outgrown what may be held: nobody else joins it, or the next ones for a while.
    pub(crate) fn outgrown(&self, key: KeyRef<'_>) {
        if let (Some(shared), Some(store)) = (&self.shared, self.store.upgrade()) {
            store.tell_owner_to_land(shared);
            store.tell_not_shared(key, false, None);
        }
        self.publish(&Update::LetGo(0));
    }

    /// So many segments of such a response go at its front; whoever has not read them is left behind.
    pub(crate) fn let_go(&self, segments: usize) {
        self.publish(&Update::LetGo(segments));
    }

    /// The response is complete, and stays.
    pub(crate) fn keep(mut self, key: KeyRef<'_>, stored: Stored) {
        self.end(&Update::Done(Some(stored.body.clone())));
        let Some(store) = self.store.upgrade() else { return };
        let shared = self.shared.take();
        let id = shared.as_ref().map(|shared| shared.id);
        let owner = store.owner(key.hash);
        let key = SentKey::of(key);
        if owner == store.place {
            store.store_here(key, self.begun, stored, id);
        } else {
            store.send(owner, Message::Store { key, begun: self.begun, stored, id });
        }
    }

    /// The response is not for sharing: those who wait fetch for themselves, and so do those who come for a
    /// while. One that `supersedes` what is stored takes its place. What nobody could wait for, and does
    /// not do that, says nothing about what others would get.
    pub(crate) fn not_shared(mut self, key: KeyRef<'_>, supersedes: bool) {
        self.end(&Update::NotShared);
        let id = self.shared.take().map(|shared| shared.id);
        if let Some(store) = self.store.upgrade().filter(|_| id.is_some() || supersedes) {
            store.tell_not_shared(key, supersedes, id);
        }
    }

    /// The fetch failed, or broke off.
    pub(crate) fn failed(mut self, reason: Reason) {
        self.fail(reason);
    }

    /// The response is not for sharing, this time: those who wait fetch for themselves.
    pub(crate) fn ended_unshared(mut self) {
        self.end(&Update::NotShared);
        self.land();
    }

    /// The response has ended well, but nothing of it stays.
    pub(crate) fn ended_unkept(mut self) {
        self.end(&Update::Done(None));
        self.land();
    }

    fn fail(&mut self, reason: Reason) {
        self.end(&Update::Broken(reason));
        self.land();
    }

    fn land(&mut self) {
        if let (Some(shared), Some(store)) = (self.shared.take(), self.store.upgrade()) {
            store.tell_owner_to_land(&shared);
            store.sources.borrow_mut().remove(&shared.id.number);
        }
    }

    /// Takes the last step.
    fn end(&mut self, update: &Update) {
        self.ended = true;
        self.publish(update);
    }

    /// Takes a step, here and on every core that has readers.
    fn publish(&self, update: &Update) {
        if let Some(fill) = self.fill() {
            fill.apply(update.clone());
        }
        let (Some(Shared { id, .. }), Some(store)) = (&self.shared, self.store.upgrade()) else { return };
        if let Some(source) = store.sources.borrow().get(&id.number) {
            for &core in source.subscribers.keys() {
                store.send(core, Message::Progress { id: *id, update: update.clone() });
            }
        }
    }
}

impl Store {
    fn tell_not_shared(&self, key: KeyRef<'_>, supersedes: bool, id: Option<FillId>) {
        let owner = self.owner(key.hash);
        if owner == self.place {
            self.not_shared_here(key, supersedes, id);
        } else {
            self.send(owner, Message::NotShared { key: SentKey::of(key), supersedes, id });
        }
    }

    fn tell_owner_to_land(&self, shared: &Shared) {
        if shared.owner == self.place {
            self.shard.borrow_mut().land(shared.id);
        } else {
            self.send(shared.owner, Message::Land { id: shared.id });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            self.fail(Reason::UpstreamTruncated);
        }
    }
}
