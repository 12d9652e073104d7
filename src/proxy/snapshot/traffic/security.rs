//! What is checked of the requests of a listener or a route.

use std::sync::Arc;

use super::Made;
use crate::config::security::{Access, Clients, Security};
use crate::filter::access::{Asker, Closeness, Networks, lets_in};
use crate::filter::bounds::Bounds;
use crate::proxy::snapshot::Followed;

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct SecurityRules {
    pub(in crate::proxy) access: Option<AccessRules>,
    pub(in crate::proxy) bounds: Option<Bounds>,
}

impl SecurityRules {
    /// None where nothing is to be done.
    pub(super) fn new(settings: &Security, made: &Made<'_>) -> Option<SecurityRules> {
        let access = settings.access.as_ref().map(|access| AccessRules::new(access, made));
        let bounds = settings.limits.as_ref().map(Bounds::new);
        (access.is_some() || bounds.is_some()).then_some(SecurityRules { access, bounds })
    }
}

/// Whose requests are let in.
#[derive(Clone)]
pub(in crate::proxy) struct AccessRules {
    allow: Lists,
    deny: Lists,
    /// Whether there is a list of those that are allowed, also if nobody is in it now.
    has_allow: bool,
}

/// Lists of clients: what the configuration says, and what files say now.
#[derive(Clone)]
struct Lists {
    own: Arc<Networks>,
    files: Box<[Arc<Followed<Networks>>]>,
}

impl Lists {
    fn new(clients: &Clients, made: &Made<'_>) -> Lists {
        let follow = |file: &crate::config::security::NetworkFile| {
            let mut known = made.networks.borrow_mut();
            let follow = || {
                let first = Arc::new(Networks::new(file.networks.iter().copied()));
                made.registry.follow((&file.path, "networks"), first, Networks::read)
            };
            known.entry(file.path.clone()).or_insert_with(follow).clone()
        };
        Lists { own: Arc::new(Networks::of(clients)), files: clients.files.iter().map(follow).collect() }
    }

    fn closeness(&self, asker: Asker) -> Closeness {
        let own = if self.own.is_empty() { None } else { self.own.closeness(asker) };
        self.files.iter().map(|file| file.now().closeness(asker)).fold(own, Ord::max)
    }
}

impl AccessRules {
    fn new(access: &Access, made: &Made<'_>) -> AccessRules {
        AccessRules {
            allow: Lists::new(&access.allow, made),
            deny: Lists::new(&access.deny, made),
            has_allow: !access.allow.is_empty(),
        }
    }

    /// Whether a client is let in, and how closely it is allowed and denied.
    pub(in crate::proxy) fn judge(&self, asker: Asker) -> (bool, Closeness, Closeness) {
        let (allowed, denied) = (self.allow.closeness(asker), self.deny.closeness(asker));
        (lets_in(asker, allowed, denied, self.has_allow), allowed, denied)
    }
}
