//! What listeners and routes say about traffic, and what they refer to by name.

use super::Known;
use super::files::{check_name, refuse_twice};
use super::said::{FileSaid, ListenerSaid, RouteSaid};
use crate::config::table::{At, Map, Said};
use crate::config::{Settings, Traffic};

/// The names of a table, right or wrong: what is wrong about one has been said, and that there is one is known.
pub(super) fn names<T>(said: &Said<Map<T>>) -> Vec<String> {
    let map = said.value.iter();
    map.flat_map(|map| {
        map.entries.iter().map(|(name, _)| name.value.clone()).chain(map.wrong.iter().cloned())
    })
    .collect()
}

impl Known<'_, '_> {
    /// What has a name, and what the listeners say; the routes follow.
    pub(super) fn name_traffic(&self, said: &FileSaid, settings: &mut Settings) {
        settings.rule_sets = self.rule_sets(&said.rule_set);
        settings.rates = self.rates(&said.rate);
        settings.auths = self.auths(&said.auth);
        self.check_names("rule set", &said.rule_set);
        self.check_names("rate", &said.rate);
        self.check_names("way to authenticate", &said.auth);
        for (name, listener) in said.listener.value.iter().flat_map(|map| &map.entries) {
            if let Some(made) = settings.listeners.iter_mut().find(|made| made.name == name.value) {
                made.traffic = self.of_listener(&listener.value);
                made.clients = self.clients(&listener.value.clients);
            }
        }
    }

    fn of_listener(&self, said: &ListenerSaid) -> Traffic {
        let ListenerSaid { security, rules, browsers, identity, flow, coding, holding, .. } = said;
        Traffic {
            security: self.security(security),
            rules: self.rules(rules),
            browsers: self.browsers(browsers),
            identity: self.identity(identity),
            flow: self.flow(flow),
            coding: self.coding(coding),
            holding: self.holding(holding),
        }
    }

    /// What a route says.
    pub(super) fn of_route(&self, said: &RouteSaid) -> Traffic {
        let RouteSaid { security, rules, browsers, identity, flow, coding, holding, .. } = said;
        Traffic {
            security: self.security(security),
            rules: self.rules(rules),
            browsers: self.browsers(browsers),
            identity: self.identity(identity),
            flow: self.flow(flow),
            coding: self.coding(coding),
            holding: self.holding(holding),
        }
    }

    fn check_names<T>(&self, what: &str, said: &Said<Map<T>>) {
        let entries = || said.value.iter().flat_map(|map| &map.entries);
        for (name, _) in entries() {
            check_name(&At { place: name.place, value: &name.value }, self.reader);
        }
        let names = entries().map(|(name, _)| (name.value.as_str(), Some(name.place)));
        refuse_twice(what, names, self.sources, self.reader);
    }
}
