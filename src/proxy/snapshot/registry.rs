//! What outlives configurations: counts and tables that all cores share, and what is read from files that change
//! while the proxy runs.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};

use super::followed::{Entries, Follow, Followed};

/// See the module. It belongs to whoever makes configurations; cores hold parts of it, and what none of them holds any
/// more is forgotten.
#[derive(Default)]
pub(crate) struct Registry {
    kept: RefCell<HashMap<String, Weak<dyn Any + Send + Sync>>>,
    followed: RefCell<Vec<Weak<dyn Follow>>>,
}

impl Registry {
    /// What a configuration in use has under that key, or what `make` makes. A key says what it is for, and all that
    /// it is made from.
    pub(super) fn keep<T: Any + Send + Sync>(&self, key: String, make: impl FnOnce() -> T) -> Arc<T> {
        let mut kept = self.kept.borrow_mut();
        kept.retain(|_, one| one.strong_count() > 0);
        let known = kept.get(&key).and_then(Weak::upgrade).and_then(|known| known.downcast().ok());
        known.unwrap_or_else(|| {
            let made: Arc<T> = Arc::new(make());
            let weak: Weak<T> = Arc::downgrade(&made);
            kept.insert(key, weak);
            made
        })
    }

    /// What is in a file that is read as `kind`. `first` is what was read of it with the configuration.
    pub(super) fn follow<T: Entries + Send + Sync + 'static>(
        &self,
        (path, kind): (&Path, &str),
        first: Arc<T>,
        parse: fn(&str) -> Result<T, String>,
    ) -> Arc<Followed<T>> {
        let key = format!("{kind} {}", path.display());
        let followed = self.keep(key, || Followed::new(path.to_owned(), first.clone(), parse));
        // What was read just now is the newest, also where the file was followed before.
        followed.replace(first);
        let weak: Weak<Followed<T>> = Arc::downgrade(&followed);
        let mut all = self.followed.borrow_mut();
        all.retain(|one| one.strong_count() > 0 && !std::ptr::addr_eq(one.as_ptr(), weak.as_ptr()));
        all.push(weak);
        followed
    }

    /// All files that a configuration in use has something from.
    pub(crate) fn followed(&self) -> Vec<Weak<dyn Follow>> {
        self.followed.borrow().clone()
    }
}
