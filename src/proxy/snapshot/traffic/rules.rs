//! The rules that requests of a listener or a route are held against.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Made;
use crate::config::matching::Condition;
use crate::config::probes;
use crate::config::rules::{PROBES, Probes, Rule, RuleAction, RuleSet, Rules, When};
use crate::filter::rules::Engine;
use crate::http::method;

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct RuleSets {
    /// The place of their chain among those of the blueprint: a core has each once, however many routes name its sets.
    pub(in crate::proxy) chain: Option<usize>,
    /// Bytes that a form may have, where it is said here.
    pub(in crate::proxy) form_bytes_max: Option<usize>,
}

/// Sets of rules in the order in which they are asked.
#[derive(Clone)]
pub(in crate::proxy) struct Chain {
    /// Finds those that hold.
    pub(in crate::proxy) engine: Engine,
    /// What there is to say of each rule, by its place.
    said: Arc<[Entry]>,
    /// The names of all tags, in the order of their bits.
    pub(in crate::proxy) tags: Arc<[String]>,
}

/// Chains, by the names of their sets.
pub(in crate::proxy::snapshot) type Chains = Vec<(Vec<String>, Chain)>;

/// What there is to say of a rule.
struct Entry {
    /// `SET/ID`
    name: String,
    /// How often it has held, on all cores.
    hits: Arc<AtomicU64>,
    /// The methods that it lets pass, where that is what it asks for.
    methods: Option<String>,
}

impl RuleSets {
    /// None where nothing is to be done.
    pub(super) fn new(settings: &Rules, made: &Made<'_>) -> Option<RuleSets> {
        let Rules { sets, form_bytes_max } = settings;
        if sets.is_empty() && form_bytes_max.is_none() {
            return None;
        }
        let mut chains = made.chains.borrow_mut();
        let chain = (!sets.is_empty()).then(|| {
            let known = chains.iter().position(|(names, _)| names == sets);
            known.unwrap_or_else(|| {
                chains.push((sets.clone(), Chain::new(sets, made)));
                chains.len() - 1
            })
        });
        Some(RuleSets { chain, form_bytes_max: *form_bytes_max })
    }
}

impl Chain {
    /// Of the sets of these names.
    fn new(sets: &[String], made: &Made<'_>) -> Chain {
        let named = |name: &String| match made.settings.rule_sets.iter().find(|set| set.name == *name) {
            Some(set) => Some(whole(set)),
            None if name == PROBES => Some((PROBES.to_owned(), false, probes::rules(&Probes::default()))),
            None => None,
        };
        let sets: Vec<(String, bool, Vec<Rule>)> = sets.iter().filter_map(named).collect();
        let mut tags: Vec<String> = Vec::new();
        for rule in made.settings.rule_sets.iter().flat_map(|set| &set.rules) {
            if let RuleAction::Tag(tag) = &rule.action
                && !tags.contains(tag)
            {
                tags.push(tag.clone());
            }
        }
        let of_set = |(set, _, rules): &(String, bool, Vec<Rule>)| -> Vec<Entry> {
            let entry = |rule: &Rule| {
                let name = format!("{set}/{}", rule.id);
                let hits = made.registry.keep(format!("rule {name}"), AtomicU64::default);
                Entry { name, hits, methods: methods(&rule.when) }
            };
            rules.iter().map(entry).collect()
        };
        Chain {
            engine: Engine::new(sets.iter().map(|(_, detects, rules)| (*detects, &rules[..])), &tags),
            said: sets.iter().flat_map(of_set).collect(),
            tags: tags.into(),
        }
    }

    /// The name of a rule: `SET/ID`.
    pub(in crate::proxy) fn name(&self, place: usize) -> &str {
        self.said.get(place).map_or("", |entry| &entry.name)
    }

    /// The methods that a rule lets pass, where that is what it asks for.
    pub(in crate::proxy) fn methods(&self, place: usize) -> Option<&str> {
        self.said.get(place)?.methods.as_deref()
    }

    /// A rule has held once more.
    pub(in crate::proxy) fn count(&self, place: usize) {
        if let Some(entry) = self.said.get(place) {
            entry.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each rule has held.
    pub(in crate::proxy) fn hits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.said.iter().map(|entry| (&*entry.name, entry.hits.load(Ordering::Relaxed)))
    }
}

/// A set with what it includes.
fn whole(set: &RuleSet) -> (String, bool, Vec<Rule>) {
    let included = set.probes.iter().flat_map(probes::rules);
    (set.name.clone(), set.detect_only, set.rules.iter().cloned().chain(included).collect())
}

fn methods(when: &[When]) -> Option<String> {
    let [When::Not(part)] = when else { return None };
    match &**part {
        When::Is(Condition::Method(methods)) => Some(method::all_meant(methods).join(", ")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::proxy::snapshot::Registry;

    #[test]
    fn sets_that_many_routes_name_are_there_once() {
        let (settings, registry) = (Settings::for_tests(), Registry::default());
        let (networks, chains) = Default::default();
        let made = Made { settings: &settings, registry: &registry, networks, chains };
        let of = |sets: &[&str], form_bytes_max| {
            let sets = sets.iter().map(|&name| name.to_owned()).collect();
            RuleSets::new(&Rules { sets, form_bytes_max }, &made).map(|sets| sets.chain)
        };
        assert_eq!(of(&[], None), None);
        assert_eq!(of(&[], Some(1)), Some(None));
        assert_eq!(of(&[PROBES], None), Some(Some(0)));
        assert_eq!(of(&[PROBES], Some(1)), Some(Some(0)));
        assert_eq!(of(&[PROBES, PROBES], None), Some(Some(1)));
        assert_eq!(made.chains.borrow().len(), 2);
    }
}
