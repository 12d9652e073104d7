//! What is said about traffic and has no effect, or another one than was wanted: seen when all of it is known, and
//! worth a warning.

use std::collections::BTreeSet;

use super::Known;
use super::said::FileSaid;
use super::said_rules::{RuleSetSaid, WhenSaid};
use super::said_security::RequestLimitsTable;
use crate::config::Settings;
use crate::config::matching::{Condition, PathPattern};
use crate::config::problem::{Problem, quoted};
use crate::config::route::Action;
use crate::config::rules::{RuleAction, When};
use crate::config::source::Place;
use crate::config::table::{At, Said};
use crate::config::template::Template;
use crate::limits::HeadLimits;

impl Known<'_, '_> {
    /// See the module. All of it is right otherwise.
    pub(super) fn warn_of_no_effect(&self, said: &FileSaid, settings: &Settings) {
        let listeners = || said.listener.value.iter().flat_map(|map| &map.entries);
        let routes = || said.route.value.iter().flat_map(|list| &list.0);
        let limits = settings.listeners.iter().map(|made| (&*made.name, &made.limits.head));
        let limits: Vec<(&str, &HeadLimits)> = limits.collect();
        for (name, listener) in listeners() {
            let own: Vec<_> = limits.iter().filter(|(made, _)| *made == name.value).copied().collect();
            let said = &listener.value.security.request_limits;
            if let Some(place) = said.place.filter(|_| said.value.as_ref().is_some_and(|all| all.count == 0))
            {
                self.warn(place, "says nothing: in a route it would lift what its listener says");
            }
            self.warn_of_bounds(said, &own);
        }
        routes().for_each(|route| self.warn_of_bounds(&route.value.security.request_limits, &limits));
        let has_rules = |said: &Said<Vec<At<String>>>| said.value.as_ref().is_some_and(|all| !all.is_empty());
        let by_listeners = listeners().any(|(_, listener)| has_rules(&listener.value.rules.rules));
        let by_routes = routes().any(|route| has_rules(&route.value.rules.rules));
        let of_listeners = listeners().map(|(_, listener)| (&listener.value.rules, by_routes));
        let of_routes = routes().map(|route| (&route.value.rules, by_listeners));
        for (rules, elsewhere) in of_listeners.chain(of_routes) {
            if let Some(place) = rules.form_size.key.filter(|_| !elsewhere && !has_rules(&rules.rules)) {
                self.warn(place, "has no effect without `rules`");
            }
        }
        for (name, set) in said.rule_set.value.iter().flat_map(|map| &map.entries) {
            self.warn_of_tags(&name.value, &set.value, settings);
        }
        self.warn_of_loops(said, settings);
    }

    fn warn(&self, place: Place, message: &str) {
        self.reader.add(Problem::warning(place, message));
    }

    /// Warns of bounds that are above those of all listeners that it can be about.
    fn warn_of_bounds(&self, said: &Said<Box<RequestLimitsTable>>, listeners: &[(&str, &HeadLimits)]) {
        let Some(table) = &said.value else { return };
        let most = |of: fn(&HeadLimits) -> usize| listeners.iter().map(|(_, limits)| of(limits)).max();
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let bytes =
            |said: &Said<crate::config::quantity::Size>| said.at().map(|(place, max)| (place, size(max.0)));
        let of_target: fn(&HeadLimits) -> usize = |limits| limits.target_bytes_max;
        for (bound, most, of) in [
            (bytes(&table.max_target), most(of_target), "max-target"),
            (bytes(&table.max_query), most(of_target), "max-target"),
            (bytes(&table.max_field), most(|limits| limits.head_bytes_max), "max-head"),
            (
                table.max_fields.at().map(|(place, count)| (place, *count)),
                most(|limits| limits.fields_max),
                "max-fields",
            ),
        ] {
            if let (Some((place, bound)), Some(most)) = (bound, most)
                && bound > most
            {
                let message = format!("has no effect: the listener's `{of}` of {most} is less");
                self.warn(place, &message);
            }
        }
    }

    /// Warns of conditions on tags that no rule in front has given, wherever the set is named.
    fn warn_of_tags(&self, name: &str, said: &RuleSetSaid, settings: &Settings) {
        let given = |rules: &[crate::config::rules::Rule]| -> BTreeSet<String> {
            let tags = rules.iter().filter_map(|rule| match &rule.action {
                RuleAction::Tag(tag) => Some(tag.clone()),
                _ => None,
            });
            tags.collect()
        };
        let Some(chains) = before(name, settings) else { return };
        let sets = settings.rule_sets.iter().filter(|set| chains.contains(&*set.name));
        let mut known: BTreeSet<String> = sets.flat_map(|set| given(&set.rules)).collect();
        let rules = said.rule.value.as_ref().map_or(&[][..], |list| &list.0);
        let made = settings.rule_sets.iter().find(|set| set.name == name).map_or(&[][..], |set| &set.rules);
        for (rule, made) in rules.iter().zip(made) {
            self.warn_of_tagged(&rule.value.when, &known);
            known.extend(given(std::slice::from_ref(made)));
        }
    }

    fn warn_of_tagged(&self, when: &WhenSaid, known: &BTreeSet<String>) {
        for tag in when.tagged.value.iter().flatten().filter(|tag| !known.contains(&tag.value)) {
            let tag_text = quoted(&tag.value);
            let problem =
                Problem::warning(tag.place, format!("no rule in front of this one gives tag {tag_text}"));
            self.reader.add(
                problem.with_help("the rules of a listener come first, then those of its routes, in order"),
            );
        }
        let lists = [&when.all, &when.any].into_iter().flat_map(|said| &said.value).flat_map(|list| &list.0);
        lists.for_each(|table| self.warn_of_tagged(&table.value, known));
        when.not.value.iter().for_each(|table| self.warn_of_tagged(&table.value, known));
    }

    /// Warns of redirects that lead to themselves.
    fn warn_of_loops(&self, said: &FileSaid, settings: &Settings) {
        let message = "leads back to itself: what it sends clients to is redirected too";
        let routes = said.route.value.iter().flat_map(|list| &list.0);
        for (at, (route, made)) in routes.zip(&settings.routes).enumerate() {
            let Action::Redirect { to, .. } = &made.action else { continue };
            // Another route may take what it leads to.
            let others = settings.routes.iter().enumerate().filter(|(other, _)| *other != at);
            let leads_back = local(to).is_some_and(|path| {
                made.conditions.is_empty()
                    && takes(&made.paths, path)
                    && !others.into_iter().any(|(_, other)| takes(&other.paths, path))
            });
            if let Some(place) = route.value.redirect.key.filter(|_| leads_back) {
                self.warn(place, message);
            }
        }
        let sets = said.rule_set.value.iter().flat_map(|map| &map.entries).map(|(_, set)| set);
        for (set, made) in sets.zip(&settings.rule_sets) {
            let rules = set.value.rule.value.iter().flat_map(|list| &list.0);
            for (rule, made) in rules.zip(&made.rules) {
                let RuleAction::Redirect { to, .. } = &made.action else { continue };
                let [When::Is(Condition::Path(paths))] = &made.when[..] else { continue };
                let leads_back = local(to).is_some_and(|path| takes(paths, path));
                if let Some(place) = rule.value.redirect.key.filter(|_| leads_back) {
                    self.warn(place, message);
                }
            }
        }
    }
}

/// Sets of rules that stand in front of one, wherever that is named; none where it is named nowhere.
fn before<'s>(name: &str, settings: &'s Settings) -> Option<BTreeSet<&'s str>> {
    let no_sets = Vec::new();
    let of_routes: Vec<&Vec<String>> =
        settings.routes.iter().map(|route| &route.traffic.rules.sets).collect();
    let mut found = None;
    for listener in &settings.listeners {
        for of_route in of_routes.iter().copied().chain([&no_sets]) {
            let chain = || listener.traffic.rules.sets.iter().chain(of_route);
            if let Some(at) = chain().position(|set| set == name) {
                let sets: &mut BTreeSet<&str> = found.get_or_insert_default();
                let names = chain()
                    .take(at)
                    .filter_map(|set| settings.rule_sets.iter().find(|made| made.name == *set));
                sets.extend(names.map(|set| &*set.name));
            }
        }
    }
    found
}

/// The path of a redirect to the host that was asked, where it is always the same.
fn local(to: &Template) -> Option<&str> {
    let text = to.literal()?;
    let path = text.split(['?', '#']).next()?;
    (path.starts_with('/') && !path.starts_with("//")).then_some(path)
}

fn takes(paths: &[PathPattern], path: &str) -> bool {
    paths.is_empty() || paths.iter().any(|pattern| pattern.is_for(path.as_bytes()))
}
