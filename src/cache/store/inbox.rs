//! What a core does about the messages of others, and what it tells them.

use super::message::SentEntry;
use super::*;
use crate::cache::fill::{Reading, Update};

/// Messages that are seen to before other tasks get their turn.
const BATCH: usize = 64;

impl Store {
    /// Sees to what other cores say, for as long as it is polled.
    pub(crate) async fn attend(&self) {
        let inbox = &self.shared.outlets[self.place];
        while let Ok(message) = inbox.recv_async().await {
            self.see_to(message);
            inbox.try_iter().take(BATCH).for_each(|message| self.see_to(message));
        }
    }

    pub(super) fn see_to(&self, message: Message) {
        match message {
            Message::Ask { key, core, reply } => {
                let shard = self.shard.borrow();
                let entry = shard.find(key.borrowed(), Some(core)).map(|entry| SentEntry {
                    variants: entry.variants.clone(),
                    alone_until_ms: entry.alone_until_ms,
                    version: entry.version,
                });
                reply.send(Reply::Found { key, entry, moment: shard.moment() });
            }
            Message::Begin { key, selecting, selecting_hash, seen, id, reply } => {
                let selecting = (selecting_hash, &*selecting);
                let (begun, moment) = self.begin_here(key.borrowed(), selecting, seen, id);
                reply.send(Reply::Begun { begun, moment, id, owner: self.place });
            }
            Message::Store { key, begun, stored, id } => self.store_here(key, begun, stored, id),
            Message::NotShared { key, supersedes, id } => {
                self.not_shared_here(key.borrowed(), supersedes, id);
            }
            Message::Land { id } => self.shard.borrow_mut().land(id),
            Message::Landed { number } => drop(self.sources.borrow_mut().remove(&number)),
            Message::Touch { keys } => {
                let shard = self.shard.borrow();
                keys.iter().for_each(|key| shard.touch(key.borrowed()));
            }
            Message::Invalidate { key, reply } => self.invalidate_here(key.borrowed(), reply),
            // Both ends drop here, which is what whoever waits for it waits for.
            Message::Forget { key, until: _until, unheard: _unheard } => {
                drop(self.copies.borrow_mut().remove(&key.borrowed()));
            }
            Message::Subscribe { id, core, reply } => {
                if let Some(source) = self.sources.borrow_mut().get_mut(&id.number) {
                    reply.send(Reply::Subscribed { id, history: source.fill.history() });
                    source.subscribers.entry(core).or_insert(true);
                    source.tell_mirrored();
                }
            }
            Message::Reached { id, core, next } => {
                if let Some(source) = self.sources.borrow_mut().get_mut(&id.number) {
                    source.subscribers.insert(core, next.is_some());
                    source.tell_mirrored();
                    source.fill.reached(next.unwrap_or(0));
                }
            }
            Message::Progress { id, update } => self.mirror(id, update),
            Message::Reply { number, reply } => self.take_reply(number, reply),
        }
    }

    /// Stores what a fetch brought, in steps where that evicts much.
    pub(super) fn store_here(&self, key: SentKey, begun: Moment, stored: Stored, id: Option<FillId>) {
        let weight = stored.weight();
        let is_short = weight <= STEP_BYTES && self.shared.ledger.beside() == 0;
        if is_short || self.shard.borrow_mut().make_room(weight) {
            return self.store_now(&key, begun, stored, id);
        }
        let Some(store) = self.this.upgrade() else { return };
        // Until it is stored, those who ask join the fetch, which has everything.
        monoio::spawn(async move {
            loop {
                store.tell_forgotten(None);
                monoio::time::sleep(PAUSE).await;
                if store.shard.borrow_mut().make_room(weight) {
                    return store.store_now(&key, begun, stored, id);
                }
            }
        });
    }

    fn store_now(&self, key: &SentKey, begun: Moment, stored: Stored, id: Option<FillId>) {
        self.keep_room(key.text.len());
        self.shard.borrow_mut().store(key.borrowed(), begun, stored);
        self.tell_forgotten(None);
        if let Some(id) = id {
            self.land_here(id);
        }
    }

    /// Remembers that requests for a key do not wait for one another.
    pub(super) fn not_shared_here(&self, key: KeyRef<'_>, supersedes: bool, id: Option<FillId>) {
        self.keep_room(key.text.len());
        self.shard.borrow_mut().not_shared(key, supersedes, self.now_ms.get());
        self.tell_forgotten(None);
        if let Some(id) = id {
            self.land_here(id);
        }
    }

    /// Takes a fetch off the owner's table, and then lets the core that made it forget it.
    pub(super) fn land_here(&self, id: FillId) {
        self.shard.borrow_mut().land(id);
        if id.core == self.place {
            self.sources.borrow_mut().remove(&id.number);
        } else {
            self.send(id.core, Message::Landed { number: id.number });
        }
    }

    /// Removes what is stored for a key, and answers once no core has a copy of it. An earlier change may
    /// have told cores to let theirs go that have not heard of it yet.
    pub(super) fn invalidate_here(&self, key: KeyRef<'_>, reply: ReplyTo) {
        self.shard.borrow_mut().invalidate(key);
        let until = Arc::new(reply);
        for core in 0..self.unheard.len() {
            if Arc::strong_count(&self.unheard[core]) > 1 {
                self.send_forget(core, key, Some(&until));
            }
        }
        self.tell_forgotten(Some(&until));
    }

    fn send_forget(&self, core: usize, key: KeyRef<'_>, until: Option<&Arc<ReplyTo>>) {
        let (until, unheard) = (until.cloned(), self.unheard[core].clone());
        self.send(core, Message::Forget { key: SentKey::of(key), until, unheard });
    }

    /// Tells the holders of copies which of them have to go. When all have done so, the last end of
    /// `until` is dropped.
    pub(super) fn tell_forgotten(&self, until: Option<&Arc<ReplyTo>>) {
        if !self.shard.borrow().has_forgotten() {
            return;
        }
        let forgotten = self.shard.borrow_mut().take_forgotten();
        for (key, holders) in forgotten {
            let cores = (0..self.shared.inboxes.len()).filter(|&core| core != self.place);
            for core in cores.filter(|&core| holders & holder_bit(core) != 0) {
                self.send_forget(core, key.borrowed(), until);
            }
        }
    }

    /// Takes a step of a fetch on another core.
    fn mirror(&self, id: FillId, update: Update) {
        let (ends, lets_go) = (update.ends(), matches!(update, Update::LetGo(_)));
        let mut mirrors = self.mirrors.borrow_mut();
        let mirror = if ends { mirrors.remove(&id) } else { mirrors.get(&id).cloned() };
        drop(mirrors);
        if let Some(mirror) = mirror {
            mirror.apply(update);
            if lets_go {
                self.tell_reached(id, &mirror);
            }
        }
    }

    /// Tells the core that fetches how far the readers here are.
    fn tell_reached(&self, id: FillId, mirror: &Fill) {
        self.send(id.core, Message::Reached { id, core: self.place, next: mirror.furthest() });
    }

    fn take_reply(&self, number: u64, reply: Reply) {
        let answer = match reply {
            Reply::Found { key, entry, moment } => {
                let entry = entry.map(|SentEntry { variants, alone_until_ms, version }| {
                    Rc::new(Entry { variants, alone_until_ms, version, validated_ms: Cell::new(0) })
                });
                if let Some(entry) = &entry {
                    self.keep_copy(key.borrowed(), entry.clone(), moment);
                }
                Answer::Found(Found { entry, moment })
            }
            Reply::Begun { begun, moment, id, owner } => {
                // Others may ask for it before whoever asked runs again.
                match begun == Begun::Fetch {
                    true if self.questions.borrow().contains_key(&number) => self.open_source(id),
                    true => self.send(owner, Message::Land { id }),
                    false => {}
                }
                Answer::Begun(begun, moment)
            }
            Reply::Subscribed { id, history } => {
                Answer::Subscribed(Reading::new(&self.begin_mirror(id, history)))
            }
            Reply::Done => Answer::Done,
        };
        let mut questions = self.questions.borrow_mut();
        if let Some(question) = questions.get_mut(&number)
            && let Question::Open(waker) = std::mem::replace(question, Question::Answered(answer))
        {
            drop(questions);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Tells the owners of copies which of them were used since the last tick.
    pub(super) fn tell_used(&self) {
        let mut used = self.used.borrow_mut();
        // The list keeps its memory, for a hit that adds to it must not allocate.
        let mut by_owner: Vec<Vec<SentKey>> = vec![Vec::new(); self.shared.inboxes.len()];
        for key in used.drain(..) {
            by_owner[self.owner(key.borrowed().hash)].push(SentKey::of(key.borrowed()));
        }
        for (owner, keys) in by_owner.into_iter().enumerate().filter(|(_, keys)| !keys.is_empty()) {
            self.send(owner, Message::Touch { keys });
        }
    }

    /// Keeps a copy of another core's entry. That core has noted that this one holds it.
    fn keep_copy(&self, key: KeyRef<'_>, entry: Rc<Entry>, moment: Moment) {
        if let Some(key) = Key::new(&self.shared.ledger, key) {
            let (used_ms, kept_ms) = (self.now_ms.clone(), self.now_ms.get());
            let copy = Copied { key: key.clone(), entry, moment, used_ms, kept_ms };
            self.copies.borrow_mut().insert(key, copy);
        }
    }

    /// The mirror of a fetch on another core. Where several requests asked for it at once, it is there
    /// already.
    fn begin_mirror(&self, id: FillId, history: Vec<Update>) -> Rc<Fill> {
        let mut mirrors = self.mirrors.borrow_mut();
        if let Some(mirror) = mirrors.get(&id) {
            return mirror.clone();
        }
        let store = self.this.clone();
        let mirror = Fill::mirror(move |mirror| {
            if let Some(store) = store.upgrade().filter(|store| store.mirrors.borrow().contains_key(&id)) {
                store.tell_reached(id, mirror);
            }
        });
        if !history.iter().any(Update::ends) {
            mirrors.insert(id, mirror.clone());
        }
        drop(mirrors);
        history.into_iter().for_each(|update| mirror.apply(update));
        mirror
    }
}
