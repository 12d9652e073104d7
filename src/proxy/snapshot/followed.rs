//! What is read from a file, and read again when the file changes, while cores use it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::config::network::has_comment;
use crate::config::passwords::Users;
use crate::config::tokens::Tokens;
use crate::filter::access::Networks;

/// What a file says, as of its last reading that made sense.
pub(crate) struct Followed<T> {
    path: PathBuf,
    now: ArcSwap<T>,
    parse: fn(&str) -> Result<T, String>,
}

/// Something that a file lists.
pub(crate) trait Entries {
    /// What they are, several of them.
    const NAME: &'static str;

    /// Whether a file that has lost all of them is taken as it is. That would open the door where they are those that
    /// are not let in; a list of those that are closes it.
    const MAY_BE_LOST: bool;

    /// How many there are.
    fn count(&self) -> usize;
}

impl Entries for Networks {
    const NAME: &'static str = "networks";
    const MAY_BE_LOST: bool = false;

    fn count(&self) -> usize {
        self.len()
    }
}

impl Entries for Users {
    const NAME: &'static str = "users";
    const MAY_BE_LOST: bool = true;

    fn count(&self) -> usize {
        self.len()
    }
}

impl Entries for Tokens {
    const NAME: &'static str = "tokens";
    const MAY_BE_LOST: bool = true;

    fn count(&self) -> usize {
        self.all().len()
    }
}

/// Something that follows a file.
pub(crate) trait Follow: Send + Sync {
    /// The file.
    fn path(&self) -> &Path;

    /// How much of what it lists now.
    fn lists(&self) -> (usize, &'static str);

    /// Takes what is in it now.
    ///
    /// # Errors
    /// What is wrong with it, with the line; then all stays as it was.
    fn take(&self, text: &str) -> Result<(), String>;
}

impl<T> Followed<T> {
    /// What was read when the configuration was.
    pub(crate) fn new(path: PathBuf, first: Arc<T>, parse: fn(&str) -> Result<T, String>) -> Followed<T> {
        Followed { path, now: ArcSwap::new(first), parse }
    }

    /// What the file says. It costs a few nanoseconds, and takes no lock.
    pub(crate) fn now(&self) -> Guard<Arc<T>> {
        self.now.load()
    }

    /// Takes the place of what it said.
    pub(super) fn replace(&self, new: Arc<T>) {
        // Whoever reads the old one lets go of it soon; it is freed here.
        drop(self.now.swap(new));
    }
}

impl<T: Entries + Send + Sync> Follow for Followed<T> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn lists(&self) -> (usize, &'static str) {
        (self.now().count(), T::NAME)
    }

    fn take(&self, text: &str) -> Result<(), String> {
        let new = (self.parse)(text)?;
        // What a download leaves that failed is not what anybody wanted.
        let is_lost = new.count() == 0 && self.now().count() > 0 && !has_comment(text);
        if is_lost && !T::MAY_BE_LOST {
            let what = T::NAME;
            return Err(format!("has no {what} any more; a line that begins with # says that this is meant"));
        }
        self.replace(Arc::new(new));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_networks_is_not_lost_by_accident() {
        let first = Arc::new(Networks::read("10.0.0.0/8\n11.0.0.0/8").unwrap());
        let followed = Followed::new(PathBuf::from("list"), first, Networks::read);
        assert_eq!(followed.lists(), (2, "networks"));
        for lost in ["", "\n\n", "\u{feff}", " \r\n"] {
            let why = followed.take(lost).unwrap_err();
            assert!(why.starts_with("has no networks any more"), "{why}");
            assert_eq!(followed.lists().0, 2, "{lost:?}");
        }
        followed.take("\n # nobody today\n").unwrap();
        assert_eq!(followed.lists().0, 0);
        // What was empty already may stay so.
        followed.take("").unwrap();
        followed.take("12.0.0.0/8").unwrap();
        assert_eq!(followed.lists().0, 1);
    }

    #[test]
    fn lists_of_those_that_come_in_may_lose_everybody() {
        let hash = format!("sha256:{}", "0".repeat(64));
        let tokens = Arc::new(Tokens::read(&hash).unwrap());
        let followed = Followed::new(PathBuf::from("list"), tokens, Tokens::read);
        assert_eq!(followed.lists(), (1, "tokens"));
        followed.take("").unwrap();
        assert_eq!(followed.lists().0, 0);
        let users = Arc::new(Users::read(&format!("a:{}", bcrypt_hash())).unwrap());
        let followed = Followed::new(PathBuf::from("list"), users, Users::read);
        followed.take("").unwrap();
        assert_eq!(followed.lists(), (0, "users"));
    }

    fn bcrypt_hash() -> String {
        let hash = bcrypt::hash_with_salt("x", 4, [1; 16]).unwrap();
        hash.format_for_version(bcrypt::Version::TwoB)
    }
}
