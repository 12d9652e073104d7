//! What the cache does with a request, and what it has for it.

use super::{Cache, Explaining, Selected, Stored, View};
use crate::cache::policy::{self, Eligibility, Use, Why};
use crate::cache::store::Store;
use crate::proxy::cached::Caching;
use crate::proxy::cached::plan::{self, Planning};
use crate::proxy::request::admit::Admitted;

impl Explaining<'_> {
    /// What is said of the cache.
    pub(super) fn cache(&mut self, caching: &mut Caching, admitted: &Admitted) -> Cache {
        let Some(store) = &self.core.store else {
            return Cache { bypass: Some("there is no cache".to_owned()), ..Cache::default() };
        };
        let terms = &self.received.terms;
        let rules = terms.cache();
        let bypass = match plan::eligibility(caching, self.received.fields(), admitted) {
            _ if !rules.on => Some("it is off for the route".to_owned()),
            Eligibility::Bypass(why) => Some(why.sentence().to_owned()),
            Eligibility::Lookup => None,
        };
        let key = terms.route().map(|route| &route.key);
        let headers = key.iter().flat_map(|key| &key.headers).map(|name| format!("header {name}"));
        let cookies = key.iter().flat_map(|key| &key.cookies).map(|name| format!("cookie {name}"));
        let mut cache = Cache {
            looks: bypass.is_none(),
            bypass,
            key: Some(super::text(&caching.key)),
            by: headers.chain(cookies).collect(),
            ttl_s: rules.defaults.ttl_s,
            override_ttl_s: rules.defaults.override_ttl_s,
            grace_s: rules.grace.stale_while_revalidate_s,
            stores_cookies: !rules.defaults.refuses_cookies,
            response_bytes_max: rules.response_bytes_max,
            tags: key.map_or_else(Vec::new, |key| key.tags.clone()),
            stored: None,
        };
        if self.view == View::Running && cache.looks {
            // What one core can hold may be less than the configuration allows.
            cache.response_bytes_max = caching.rules.response_bytes_max;
            match store.owns(caching.hash) {
                true => cache.stored = self.stored(store, caching),
                false => self.owner = Some(store.owner(caching.hash)),
            }
        }
        cache
    }

    /// What this core, which owns the key, has for the request.
    fn stored(&self, store: &Store, caching: &mut Caching) -> Option<Stored> {
        let found = store.find_here(caching.key())?;
        let planning = Planning::new(self.core, &self.peer, &self.received)?;
        let chosen = planning.choose(caching, &found).map(|(entry, index)| entry.variants[index].clone());
        Some(Stored {
            variants: found.entry.as_ref().map_or(0, |entry| entry.variants.len()),
            is_fetched: store.is_fetched(caching.key()),
            selected: chosen.map(|stored| selected(&stored, caching)),
        })
    }
}

fn selected(stored: &crate::cache::stored::Stored, caching: &Caching) -> Selected {
    let (usage, now_ms) = (&stored.head.usage, caching.looked_ms);
    let verdict =
        policy::usable(usage, &caching.directives, caching.authorized, now_ms, &caching.rules.grace);
    let (answers, words) = match verdict {
        Use::Fresh { .. } => (true, "fresh"),
        Use::StaleAllowed { .. } => (true, "stale, which the request allows"),
        Use::StaleWhileRevalidate { .. } => (true, "stale, and validated while it is served"),
        Use::Validate(Why::Stale) => (false, "stale: it is validated before it is served"),
        Use::Validate(Why::Request) => (false, "the request wants it to be validated"),
        Use::Validate(Why::NoCache) => (false, "the response wants to be validated each time"),
        Use::Unusable => (false, "the request has credentials, and it is not for those that have"),
    };
    Selected {
        status: stored.head.status,
        bytes: stored.body.length(),
        age_s: usage.timing.age_s(now_ms),
        ttl_s: usage.timing.ttl_s(now_ms),
        is_purged: usage.purged,
        answers,
        verdict: words.to_owned(),
    }
}
