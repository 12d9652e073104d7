//! What a purge removes, and the memory of purges that fetches under way need.

use std::collections::VecDeque;

/// A purge: which stored responses, and whether they go or only count as stale from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Which responses.
    pub what: What,
    /// They stay, but have to be validated before they are used again.
    pub soft: bool,
}

/// Which stored responses a purge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// All of them.
    All,
    /// Those of one key: see [`super::key`].
    Key(Box<[u8]>),
    /// Those whose key begins with this text.
    Prefix(Box<[u8]>),
    /// Those that bear this tag, compared without regard to case.
    Tag(Box<[u8]>),
}

/// A purge goes to every core twice. No copy may be taken between the removal of what is stored and the
/// removal of copies, so copies are second: when the second round has been answered by all, no core serves
/// what was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// What the core stores for all.
    Stored,
    /// What it keeps for itself of that which others store.
    Copies,
}

impl What {
    /// Whether a response with this key and these tags, separated by line feeds, is meant.
    pub fn covers(&self, key: &[u8], tags: &[u8]) -> bool {
        match self {
            What::All => true,
            What::Key(wanted) => **wanted == *key,
            What::Prefix(prefix) => key.starts_with(prefix),
            What::Tag(tag) => tags.split(|&b| b == b'\n').any(|other| other.eq_ignore_ascii_case(tag)),
        }
    }

    /// Whether a response with this key could be meant, whatever its tags are.
    pub fn may_cover(&self, key: &[u8]) -> bool {
        matches!(self, What::Tag(_)) || self.covers(key, b"")
    }
}

/// Keys that were removed one by one, as far back as the log remembers.
const KEYS_REMEMBERED: usize = 8192;

/// Purges of more than one key, as far back as the log remembers.
const PURGES_REMEMBERED: usize = 64;

/// How many removals there had been at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The last removals: what was fetched before one of them must not be stored after it, as if nothing had
/// happened, nor be given to a request that came after it.
#[derive(Debug, Default)]
pub struct PurgeLog {
    count: u64,
    keys: VecDeque<(u64, u64)>,
    purges: VecDeque<(u64, Purge)>,
    /// Removals up to this one are forgotten.
    forgotten: u64,
}

/// What has become of a response since it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Nothing.
    Nothing,
    /// It was purged softly: it counts as stale.
    Stale,
    /// It was removed, or that is not known any more.
    Removed,
}

impl PurgeLog {
    /// The moment before whatever is removed next.
    pub fn now(&self) -> Moment {
        Moment(self.count)
    }

    /// Notes that one key is removed.
    pub fn note_key(&mut self, hash: u64) {
        self.count += 1;
        if self.keys.len() == KEYS_REMEMBERED
            && let Some((number, _)) = self.keys.pop_front()
        {
            self.forgotten = self.forgotten.max(number);
        }
        self.keys.push_back((self.count, hash));
    }

    /// Notes a purge.
    pub fn note(&mut self, purge: Purge) {
        self.count += 1;
        if self.purges.len() == PURGES_REMEMBERED
            && let Some((number, _)) = self.purges.pop_front()
        {
            self.forgotten = self.forgotten.max(number);
        }
        self.purges.push_back((self.count, purge));
    }

    /// What has become since `then` of a response of that key, by hash and text. Without its tags, being
    /// covered by a purge of a tag counts as possible.
    pub fn since(&self, then: Moment, hash: u64, key: &[u8], tags: Option<&[u8]>) -> Since {
        if then.0 == self.count {
            return Since::Nothing;
        }
        let covers = |what: &What| match tags {
            Some(tags) => what.covers(key, tags),
            None => what.may_cover(key),
        };
        let new = |number: &u64| *number > then.0;
        let purges = self.purges.iter().rev().take_while(|(number, _)| new(number));
        let mut keys = self.keys.iter().rev().take_while(|(number, _)| new(number));
        if then.0 < self.forgotten || keys.any(|(_, other)| *other == hash) {
            return Since::Removed;
        }
        purges.fold(Since::Nothing, |worst, (_, purge)| match (worst, purge.soft) {
            _ if !covers(&purge.what) => worst,
            (Since::Removed, _) | (_, false) => Since::Removed,
            (_, true) => Since::Stale,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_knows_what_was_removed_since() {
        let mut log = PurgeLog::default();
        log.note_key(1);
        let then = log.now();
        assert_eq!(log.since(then, 1, b"a/", None), Since::Nothing);
        log.note(Purge { what: What::Tag(Box::from(&b"x"[..])), soft: true });
        assert_eq!(log.since(then, 1, b"a/", None), Since::Stale, "its tags may be the ones");
        assert_eq!(log.since(then, 1, b"a/", Some(b"y")), Since::Nothing);
        log.note_key(7);
        assert_eq!(log.since(then, 7, b"b/", Some(b"x")), Since::Removed);
        assert_eq!(log.since(then, 8, b"b/", Some(b"x")), Since::Stale);
        log.note(Purge { what: What::Prefix(Box::from(&b"b/"[..])), soft: false });
        assert_eq!(log.since(then, 8, b"b/", Some(b"x")), Since::Removed);
        assert_eq!(log.since(log.now(), 8, b"b/", None), Since::Nothing);
    }

    #[test]
    fn what_the_log_has_forgotten_counts_as_removed() {
        let mut log = PurgeLog::default();
        let then = log.now();
        for hash in 0..=KEYS_REMEMBERED as u64 {
            log.note_key(hash + 100);
        }
        assert_eq!(log.since(then, 1, b"a/", None), Since::Removed);
        let then = log.now();
        for _ in 0..=PURGES_REMEMBERED {
            log.note(Purge { what: What::Key(Box::from(&b"b/"[..])), soft: false });
        }
        assert_eq!(log.since(then, 1, b"a/", None), Since::Removed);
    }

    #[test]
    fn a_table_of_purges() {
        let text = |text: &str| Box::from(text.as_bytes());
        for (what, key, tags, want) in [
            (What::All, "a/", "", true),
            (What::Key(text("a/b")), "a/b", "", true),
            (What::Key(text("a/b")), "a/bc", "", false),
            (What::Prefix(text("a/b")), "a/bc", "", true),
            (What::Prefix(text("a/b")), "a/", "", false),
            (What::Tag(text("news")), "a/", "x\nNews", true),
            (What::Tag(text("news")), "a/", "newsletter", false),
            (What::Tag(text("news")), "a/", "", false),
        ] {
            assert_eq!(what.covers(key.as_bytes(), tags.as_bytes()), want, "{what:?} {key} {tags}");
        }
    }
}
