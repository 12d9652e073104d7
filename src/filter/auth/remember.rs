//! What was found out about names and passwords, kept for a while, so that a client that sends both with each request
//! costs one hash of a password now and then.
//!
//! A password is never kept. What is kept is found by a [`Mark`]: an HMAC with a key of the process over the name, the
//! password, and what the file has for the name, so that nothing is known any more of a password that was changed, and
//! nobody finds a password in a dump of the memory faster than by trying. Both verdicts are kept, right ones apart from
//! wrong ones, so that a flood of wrong passwords takes no room from right ones.

use std::collections::{HashMap, VecDeque};

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How many right passwords are kept on a core: some 400 KB at most.
pub const RIGHT_MAX: usize = 4096;

/// How many wrong ones are.
pub const WRONG_MAX: usize = 1024;

/// Stands for a name and a password as they were held against a file.
pub type Mark = [u8; 32];

/// The key of the process.
#[derive(Clone)]
pub struct Key {
    /// It has taken the key in, which is half of the work.
    mac: Hmac<Sha256>,
}

impl Key {
    /// A key of random bytes.
    pub fn new(random: &[u8; 32]) -> Key {
        Key { mac: Hmac::<Sha256>::new_from_slice(random).expect("HMAC takes keys of any length") }
    }

    /// The mark of a name and a password. `digest` tells what the file has for that name; none if it has nothing,
    /// which takes as long.
    pub fn mark(&self, digest: Option<&[u8; 32]>, name: &[u8], password: &[u8]) -> Mark {
        let mut mac = self.mac.clone();
        mac.update(digest.unwrap_or(&[0; 32]));
        mac.update(&(name.len() as u64).to_le_bytes());
        mac.update(name);
        mac.update(password);
        mac.finalize().into_bytes().into()
    }

    /// A number that follows from a name, and that nobody else can tell.
    pub fn number(&self, name: &[u8]) -> u64 {
        let bytes = self.mac.clone().chain_update(b"number").chain_update(name).finalize().into_bytes();
        bytes.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

/// See the module. Times are ticks, whatever they are.
#[derive(Debug, Default)]
pub struct Remembered {
    right: Kept,
    wrong: Kept,
}

impl Remembered {
    /// Whether that was right, if it is known.
    pub fn verdict(&self, mark: &Mark, now: u32) -> Option<bool> {
        if self.right.has(mark, now) {
            return Some(true);
        }
        self.wrong.has(mark, now).then_some(false)
    }

    /// Keeps a verdict until a tick.
    pub fn keep(&mut self, mark: Mark, right: bool, now: u32, until: u32) {
        match right {
            true => self.right.keep(mark, now, until, RIGHT_MAX),
            false => self.wrong.keep(mark, now, until, WRONG_MAX),
        }
    }

    /// How many verdicts are kept.
    pub fn len(&self) -> usize {
        self.right.until.len() + self.wrong.until.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Marks of one kind, the oldest of which go first.
#[derive(Debug, Default)]
struct Kept {
    until: HashMap<Mark, u32, ahash::RandomState>,
    /// Each mark once, in the order in which they came.
    order: VecDeque<Mark>,
}

impl Kept {
    fn has(&self, mark: &Mark, now: u32) -> bool {
        self.until.get(mark).is_some_and(|&until| now < until)
    }

    fn keep(&mut self, mark: Mark, now: u32, until: u32, max: usize) {
        if let Some(known) = self.until.get_mut(&mark) {
            *known = until;
            return;
        }
        while let Some(oldest) = self.order.front() {
            let is_over = self.until.get(oldest).is_none_or(|&until| until <= now);
            if !is_over && self.order.len() < max {
                break;
            }
            self.until.remove(oldest);
            self.order.pop_front();
        }
        self.until.insert(mark, until);
        self.order.push_back(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(&[7; 32])
    }

    fn mark(number: u32) -> Mark {
        key().mark(None, &number.to_le_bytes(), b"")
    }

    #[test]
    fn marks_differ_in_whatever_differs() {
        let digests = [[1; 32], [2; 32]];
        let mut all = std::collections::HashSet::new();
        let mut count = 0;
        for digest in [None, Some(&digests[0]), Some(&digests[1])] {
            for (name, password) in [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("ab", "d")] {
                all.insert(key().mark(digest, name.as_bytes(), password.as_bytes()));
                count += 1;
            }
        }
        assert_eq!(all.len(), count);
        assert_ne!(Key::new(&[8; 32]).mark(None, b"a", b"b"), key().mark(None, b"a", b"b"));
    }

    #[test]
    fn verdicts_are_kept_until_their_time_is_over() {
        let mut remembered = Remembered::default();
        remembered.keep(mark(1), true, 100, 160);
        remembered.keep(mark(2), false, 100, 110);
        for (now, right, wrong) in [
            (100, Some(true), Some(false)),
            (109, Some(true), Some(false)),
            (110, Some(true), None),
            (159, Some(true), None),
            (160, None, None),
        ] {
            assert_eq!(remembered.verdict(&mark(1), now), right, "{now}");
            assert_eq!(remembered.verdict(&mark(2), now), wrong, "{now}");
            assert_eq!(remembered.verdict(&mark(3), now), None);
        }
        // It is found out anew, and kept anew.
        remembered.keep(mark(1), true, 170, 230);
        assert_eq!(remembered.verdict(&mark(1), 229), Some(true));
        assert_eq!(remembered.right.order.len(), 1);
        // What is over makes room when something comes.
        remembered.keep(mark(4), true, 300, 360);
        assert_eq!(remembered.right.order.len(), 1);
    }

    #[test]
    fn a_flood_of_wrong_passwords_takes_nothing_from_right_ones() {
        let mut remembered = Remembered::default();
        for number in 0..100 {
            remembered.keep(mark(number), true, 0, 1000);
        }
        for number in 0..20_000 {
            remembered.keep(mark(number + 1000), false, 1, 50);
        }
        assert_eq!(remembered.len(), 100 + WRONG_MAX);
        assert!((0..100).all(|number| remembered.verdict(&mark(number), 2) == Some(true)));
        for number in 0..10_000 {
            remembered.keep(mark(number + 100_000), true, 1, 50);
        }
        assert_eq!(remembered.right.until.len(), RIGHT_MAX);
        assert_eq!(remembered.right.order.len(), RIGHT_MAX);
    }
}
