//! Rules that requests are held against, as they are written.

use toml_edit::{ArrayOfTables, Item, Table, Value};

use super::route::{Entries, conditions, is};
use super::value::{Section, list, one_or_list, size, table, text, time};
use crate::config::matching::Condition;
use crate::config::rules::{Probes, Rule, RuleAction, RuleSet, Rules, Search, When};

/// What a listener or a route says.
pub(super) fn print(section: &mut Section, settings: &Rules) {
    let Rules { sets, form_bytes_max } = settings;
    if !sets.is_empty() {
        section.set("rules", one_or_list(sets.iter().map(text)));
    }
    if let Some(bytes) = form_bytes_max {
        section.set("form-size", size(*bytes));
    }
}

/// One that has a name.
pub(super) fn print_rule_set(settings: &RuleSet) -> Table {
    let RuleSet { name: _, detect_only, probes, rules } = settings;
    let mut section = Section::default();
    section.set("detect-only", *detect_only);
    if let Some(Probes { except, methods }) = probes {
        section.set("include", text(crate::config::rules::PROBES));
        for (key, values) in [("except", except), ("methods", methods)] {
            if !values.is_empty() {
                section.set(key, one_or_list(values.iter().map(text)));
            }
        }
    }
    let mut table = section.into_table();
    if !rules.is_empty() {
        let rules: ArrayOfTables = rules.iter().map(print_rule).collect();
        table.insert("rule", Item::ArrayOfTables(rules));
    }
    table
}

fn print_rule(rule: &Rule) -> Table {
    let Rule { id, when, action } = rule;
    let mut section = Section::default();
    section.set("id", text(id));
    let mut entries = Vec::new();
    all_of(when, &mut entries);
    entries.into_iter().for_each(|(key, value)| section.set(key, value));
    match action {
        RuleAction::Deny(status) => section.set("deny", i64::from(*status)),
        RuleAction::Close => section.set("close", true),
        RuleAction::Tarpit(span, status) => {
            section.set("tarpit", time(*span));
            if let Some(status) = status {
                section.set("deny", i64::from(*status));
            }
        }
        RuleAction::Redirect { to, status } => {
            section.set(
                "redirect",
                super::value::table([("to", text(to)), ("status", i64::from(*status).into())]),
            );
        }
        RuleAction::Tag(tag) => section.set("tag", text(tag)),
        RuleAction::Log => section.set("log", true),
        RuleAction::Allow => section.set("allow", true),
    }
    section.into_table()
}

/// Conditions that all have to hold, as keys of one table; where one table cannot say them all, each has a table of
/// its own in `all`.
fn all_of(when: &[When], into: &mut Entries) {
    if !fit_one_table(when) {
        into.push(("all", list(when.iter().map(one))));
        return;
    }
    let mut searches: Vec<Value> = Vec::new();
    for one_of_them in when {
        if !matches!(one_of_them, When::Finds(_)) && !searches.is_empty() {
            into.push(("pattern", one_or_list(std::mem::take(&mut searches))));
        }
        match one_of_them {
            When::Is(condition) => conditions(std::slice::from_ref(condition), into),
            When::Size { min, max } => {
                let bounds = [("min", min), ("max", max)];
                into.push((
                    "size",
                    table(bounds.iter().filter_map(|(key, bytes)| Some((*key, size((**bytes)?))))),
                ));
            }
            When::UserAgent(test) => into.push(("user-agent", is(test))),
            When::Tagged(tags) => into.push(("tagged", one_or_list(tags.iter().map(text)))),
            When::Finds(search) => searches.push(pattern(search)),
            When::All(parts) => into.push(("all", list(parts.iter().map(one)))),
            When::Any(parts) => into.push(("any", list(parts.iter().map(one)))),
            When::Not(part) => into.push(("not", one(part))),
        }
    }
    if !searches.is_empty() {
        into.push(("pattern", one_or_list(searches)));
    }
}

/// One condition as a table.
fn one(when: &When) -> Value {
    let mut entries = Vec::new();
    match when {
        When::All(parts) if parts.len() > 1 && fit_one_table(parts) => all_of(parts, &mut entries),
        other => all_of(std::slice::from_ref(other), &mut entries),
    }
    table(entries)
}

fn pattern(search: &Search) -> Value {
    let Search { within, contains, regex, sqli, xss, standard: _ } = search;
    let mut entries = vec![("in", one_or_list(within.iter().map(text)))];
    if !contains.is_empty() {
        entries.push(("contains", one_or_list(contains.iter().map(text))));
    }
    if !regex.is_empty() {
        entries.push(("regex", one_or_list(regex.iter().map(text))));
    }
    for (key, said) in [("sqli", sqli), ("xss", xss)] {
        if *said {
            entries.push((key, true.into()));
        }
    }
    table(entries)
}

/// Whether one table says all of these, and is read in this order: keys have an order, and but for patterns and names
/// stand there once.
fn fit_one_table(when: &[When]) -> bool {
    let place = |when: &When| match when {
        When::Is(Condition::Host(_)) => 0,
        When::Is(Condition::Path(_)) => 1,
        When::Is(Condition::Method(_)) => 2,
        When::Is(Condition::Header(..)) => 3,
        When::Is(Condition::Query(..)) => 4,
        When::Is(Condition::Cookie(..)) => 5,
        When::Is(Condition::Client(_)) => 6,
        When::Is(Condition::Listener(_)) => 7,
        When::Is(Condition::All(_) | Condition::Any(_) | Condition::Not(_)) => usize::MAX,
        When::Size { .. } => 8,
        When::UserAgent(_) => 9,
        When::Tagged(_) => 10,
        When::Finds(_) => 11,
        When::All(_) => 12,
        When::Any(_) => 13,
        When::Not(_) => 14,
    };
    let name = |when: &When| match when {
        When::Is(Condition::Header(name, _) | Condition::Query(name, _) | Condition::Cookie(name, _)) => {
            Some(name.clone())
        }
        _ => None,
    };
    let mut names = std::collections::HashSet::new();
    when.windows(2).all(|pair| {
        let (first, second) = (place(&pair[0]), place(&pair[1]));
        first < second || first == second && (first == 11 || name(&pair[0]).is_some())
    }) && when.iter().all(|one| name(one).is_none_or(|name| names.insert((place(one), name))))
}
