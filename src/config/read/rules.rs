//! Rules that requests are held against.

use std::collections::{BTreeSet, HashMap};

use super::Known;
use super::files::check_name;
use super::said::{ConditionsSaid, Either, RedirectTable};
use super::said_rules::{PatternTable, RuleSaid, RuleSetSaid, RulesSaid, SizeTable, WhenSaid};
use crate::config::matching::Condition;
use crate::config::probes;
use crate::config::problem::{Problem, quoted};
use crate::config::rules::{
    EXPRESSIONS_MAX, PROBES, Probes, RULES_MAX, Rule, RuleAction, RuleSet, Rules, Search, TAGS_MAX, When,
};
use crate::config::source::Place;
use crate::config::table::{At, Map, Said};

/// Bytes of the largest form that can be looked at: it is held in memory.
const FORM_BYTES_MAX: u64 = crate::limits::REPLAY_BYTES_MAX;

impl Known<'_, '_> {
    /// What a listener or a route says about it.
    pub(super) fn rules(&self, said: &RulesSaid) -> Rules {
        let names = self.some(&said.rules);
        for (at, name) in names.iter().enumerate() {
            if name.value != PROBES && !self.rule_sets.contains(&name.value) {
                let known = self.rule_sets.iter().map(String::as_str).chain([PROBES]);
                self.unknown("rule set", &name.value, name.place, known);
            }
            if names[..at].iter().any(|other| other.value == name.value) {
                self.reader.error(name.place, format!("{} is named twice", quoted(&name.value)));
            }
        }
        let form = said.form_size.at().map(|(place, size)| {
            if size.0 == 0 || size.0 > FORM_BYTES_MAX {
                self.reader
                    .error(place, "must be from 1 to 128KiB: a form is held in memory to be looked at");
            }
            usize::try_from(size.0).unwrap_or(usize::MAX)
        });
        Rules { sets: names.iter().map(|name| name.value.clone()).collect(), form_bytes_max: form }
    }

    /// Those that have names.
    pub(super) fn rule_sets(&self, said: &Said<Map<RuleSetSaid>>) -> Vec<RuleSet> {
        let entries = said.value.iter().flat_map(|map| &map.entries);
        let sets: Vec<RuleSet> = entries.map(|(name, said)| self.rule_set(name, said)).collect();
        let tags: BTreeSet<&str> = sets.iter().flat_map(|set| &set.rules).filter_map(tag).collect();
        if let (true, Some(place)) = (tags.len() > TAGS_MAX, said.place) {
            self.reader.error(place, format!("there are more than {TAGS_MAX} different tags"));
        }
        let tagged = said.value.iter().flat_map(|map| &map.entries);
        let tagged = tagged.flat_map(|(_, set)| set.value.rule.value.iter()).flat_map(|list| &list.0);
        tagged.for_each(|rule| self.check_tagged(&rule.value.when, &tags));
        sets
    }

    fn rule_set(&self, name: &At<String>, said: &At<RuleSetSaid>) -> RuleSet {
        let said = &said.value;
        if name.value == PROBES {
            let problem = Problem::error(name.place, "`probes` is the set that comes with the proxy");
            self.reader
                .add(problem.with_help("a set of another name can include it: `include = \"probes\"`"));
        }
        let rules = said.rule.value.as_ref().map_or(&[][..], |list| &list.0);
        if said.rule.value.is_some() && rules.is_empty() || said.count == 0 {
            self.reader.error(said.rule.place.unwrap_or(name.place), "has no rules");
        }
        if let (true, Some(place)) = (rules.len() > RULES_MAX, said.rule.key) {
            self.reader.error(place, format!("there are more than {RULES_MAX} rules in one set"));
        }
        let mut places: HashMap<&str, Place> = HashMap::new();
        for id in rules.iter().filter_map(|rule| rule.value.id.value.as_ref()) {
            check_name(&At { place: id.place, value: &id.value }, self.reader);
            if let Some(first) = places.insert(&id.value, id.place) {
                let line = self.sources.line(first);
                let message = format!("there are two rules {}: the other is at {line}", quoted(&id.value));
                self.reader.error(id.place, message);
            }
            if said.include.is_there() && probes::ids().any(|known| known == id.value) {
                self.reader.error(id.place, format!("the included set has a rule {} too", quoted(&id.value)));
            }
        }
        let made: Vec<Rule> = rules.iter().map(|rule| self.rule(rule)).collect();
        let patterns = |when: &When| match when {
            When::Finds(search) => search.regex.len(),
            _ => 0,
        };
        let expressions: usize =
            made.iter().flat_map(|rule| &rule.when).map(|when| sum(when, &patterns)).sum();
        if let (true, Some(place)) = (expressions > EXPRESSIONS_MAX, said.rule.key) {
            let message =
                format!("there are more than {EXPRESSIONS_MAX} expressions in the patterns of one set");
            self.reader.error(place, message);
        }
        RuleSet {
            name: name.value.clone(),
            detect_only: said.detect_only.value.unwrap_or_default(),
            probes: self.included(said),
            rules: made,
        }
    }

    fn included(&self, said: &RuleSetSaid) -> Option<Probes> {
        let Some(include) = &said.include.value else {
            for key in [said.except.key, said.methods.key].into_iter().flatten() {
                self.reader.error(key, "has no effect without `include`");
            }
            return None;
        };
        if include.value != PROBES {
            let message = format!("there is no set {} to include: there is `probes`", quoted(&include.value));
            self.reader.error(include.place, message);
        }
        for id in self.some(&said.except) {
            if !probes::ids().any(|known| known == id.value) {
                self.unknown("rule", &id.value, id.place, probes::ids());
            }
        }
        let left_out = |id: &str| said.except.value.iter().flatten().any(|except| except.value == id);
        if let (true, Some(place)) = (probes::ids().all(left_out), said.except.key) {
            self.reader.add(Problem::warning(place, "leaves none of the included rules"));
        } else if let (true, Some(place)) = (left_out(probes::METHOD), said.methods.key) {
            let message = "has no effect: `except` leaves the rule out that asks for the method";
            self.reader.add(Problem::warning(place, message));
        }
        let mut methods = Vec::new();
        if !self.some(&said.methods).is_empty() {
            methods = self.methods(&said.methods);
        }
        let except = said.except.value.iter().flatten().map(|id| id.value.clone()).collect();
        Some(Probes { except, methods })
    }

    fn rule(&self, rule: &At<RuleSaid>) -> Rule {
        let said = &rule.value;
        if !said.id.is_there() && said.unknown == 0 {
            self.reader.error(rule.place, "has no `id`");
        }
        let when = self.when(&said.when);
        let is_wrong = said.unknown > 0;
        let actions = ["deny", "close", "tarpit", "redirect", "tag", "log", "allow", "id"];
        let of_rule = actions.iter().filter(|key| said.place(key).is_some()).count();
        if said.count == of_rule && !is_wrong {
            let help = "a rule for every request has `path-prefix = \"/\"`";
            self.reader.add(Problem::error(rule.place, "has no condition").with_help(help));
        }
        Rule {
            id: said.id.value.as_ref().map_or_else(String::new, |id| id.value.clone()),
            when,
            action: self.rule_action(rule),
        }
    }

    fn rule_action(&self, rule: &At<RuleSaid>) -> RuleAction {
        let said = &rule.value;
        let keys = [
            ("tarpit", said.tarpit.key),
            ("deny", said.deny.key),
            ("close", said.close.key),
            ("redirect", said.redirect.key),
            ("tag", said.tag.key),
            ("log", said.log.key),
            ("allow", said.allow.key),
        ];
        let there: Vec<_> = keys.iter().filter_map(|(name, key)| Some((*name, (*key)?))).collect();
        match &there[..] {
            [] if said.unknown > 0 => {}
            [] => self.reader.error(
                rule.place,
                "does nothing: a rule has one of `deny`, `close`, `tarpit`, `redirect`, `tag`, `log` and `allow`",
            ),
            [_] | [("tarpit", _), ("deny", _)] => {}
            [(first, _), others @ ..] => {
                for (other, place) in others {
                    self.reader.error(*place, format!("`{other}` cannot stand beside `{first}`"));
                }
            }
        }
        for (place, value) in [said.close.at(), said.log.at(), said.allow.at()].into_iter().flatten() {
            if !value {
                self.reader.error(place, "must be true, or not there");
            }
        }
        let deny = match said.deny.at() {
            Some((place, Either::Short(false))) => {
                self.reader.error(place, "must be true or a number from 400 to 599, or not there");
                None
            }
            Some((_, Either::Short(true))) => Some(403),
            Some((_, Either::Long(status))) => Some(status.number()),
            None => None,
        };
        match (&said.tarpit.value, deny, &said.redirect.value, &said.tag.value) {
            (Some(time), deny, ..) => RuleAction::Tarpit(time.0, deny),
            (_, Some(status), ..) => RuleAction::Deny(status),
            (.., Some(_), _) => self.rule_redirect(said),
            (.., Some(tag)) => {
                check_name(&At { place: tag.place, value: &tag.value }, self.reader);
                RuleAction::Tag(tag.value.clone())
            }
            _ if said.close.is_there() => RuleAction::Close,
            _ if said.allow.is_there() => RuleAction::Allow,
            _ => RuleAction::Log,
        }
    }

    fn rule_redirect(&self, said: &RuleSaid) -> RuleAction {
        let Some((place, redirect)) = said.redirect.at() else { return RuleAction::Log };
        let (to, status) = match redirect {
            Either::Short(to) => (Some(to), None),
            Either::Long(RedirectTable { to, status, unknown, .. }) => {
                if !to.is_there() && *unknown == 0 {
                    self.reader.error(place, "has no `to`");
                }
                (to.value.as_ref(), status.value)
            }
        };
        let Some(to) = to else { return RuleAction::Log };
        for name in to.value.captures() {
            self.reader.error(to.place, format!("`{{{name}}}` is no variable: rules capture nothing"));
        }
        self.check_location(to);
        RuleAction::Redirect { to: to.value.clone(), status: status.map_or(302, |status| status.0) }
    }

    /// All conditions of a table, in one order.
    fn when(&self, said: &WhenSaid) -> Vec<When> {
        let plain = plain(said);
        let mut all = Vec::new();
        let hosts = self.hosts(&plain);
        if !hosts.is_empty() {
            all.push(When::Is(Condition::Host(hosts)));
        }
        let paths = self.paths(&plain);
        if !paths.is_empty() {
            all.push(When::Is(Condition::Path(paths)));
        }
        all.extend(self.conditions(&plain).into_iter().map(When::Is));
        all.extend(said.size.at().map(|(_, size)| self.declared(size)));
        all.extend(said.user_agent.value.as_ref().map(|test| When::UserAgent(self.test(test))));
        let tagged = self.some(&said.tagged);
        if !tagged.is_empty() {
            all.push(When::Tagged(tagged.iter().map(|tag| tag.value.clone()).collect()));
        }
        all.extend(self.some(&said.pattern).iter().map(|pattern| self.search(pattern)));
        for (tables, of) in [(&said.all, When::All as fn(_) -> _), (&said.any, When::Any as fn(_) -> _)] {
            match tables.at() {
                Some((place, list)) if list.0.is_empty() && !tables.is_wrong => {
                    self.reader.error(place, "must not be empty");
                }
                Some((_, list)) => all.push(of(list.0.iter().map(|table| self.part_of(table)).collect())),
                None => {}
            }
        }
        if let Some(table) = &said.not.value {
            all.push(When::Not(Box::new(self.part_of(table))));
        }
        all
    }

    /// The conditions of a table within a rule, as one.
    fn part_of(&self, table: &At<WhenSaid>) -> When {
        if table.value.count == 0 {
            self.reader.error(table.place, "has no condition");
        }
        let mut all = self.when(&table.value);
        match all.pop() {
            Some(only) if all.is_empty() => only,
            last => When::All(all.into_iter().chain(last).collect()),
        }
    }

    fn declared(&self, said: &At<SizeTable>) -> When {
        let size = &said.value;
        let (min, max) = (size.min.value.map(|size| size.0), size.max.value.map(|size| size.0));
        match (min, max) {
            (None, None) if size.count == 0 => self.reader.error(said.place, "must have `min` or `max`"),
            (Some(min), Some(max)) if min > max => {
                self.reader.error(said.place, "`min` must not be more than `max`");
            }
            _ => {}
        }
        When::Size { min, max }
    }

    fn search(&self, said: &At<PatternTable>) -> When {
        let PatternTable { r#in, contains, regex, sqli, xss, unknown, .. } = &said.value;
        if !r#in.is_there() && *unknown == 0 {
            self.reader.error(said.place, "has no `in`: where is it looked for?");
        }
        let tests = [contains.is_there(), regex.is_there(), sqli.is_there(), xss.is_there()];
        if !tests.contains(&true) && *unknown == 0 {
            self.reader.error(said.place, "must have one of `contains`, `regex`, `sqli` and `xss`");
        }
        for (place, value) in [sqli.at(), xss.at()].into_iter().flatten() {
            if !value {
                self.reader.error(place, "must be true, or not there");
            }
        }
        if let Some((place, texts)) = contains.at()
            && texts.iter().any(String::is_empty)
        {
            self.reader.error(place, "an empty text is in everything");
        }
        if let Some((place, all)) = regex.at()
            // What is found there is nothing, so that there is a place for it everywhere.
            && all.iter().any(|one| one.regex().find(b"\x07~").is_some_and(|found| found.is_empty()))
        {
            self.reader.error(place, "an expression that may find nothing finds it in everything");
        }
        When::Finds(Search {
            within: self.some(r#in).to_vec(),
            contains: self.some(contains).to_vec(),
            regex: self.some(regex).to_vec(),
            sqli: sqli.value == Some(true),
            xss: xss.value == Some(true),
            standard: false,
        })
    }

    /// Says which tags no rule gives.
    fn check_tagged(&self, when: &WhenSaid, tags: &BTreeSet<&str>) {
        for tag in when.tagged.value.iter().flatten() {
            if !tags.contains(&*tag.value) {
                self.unknown("rule that gives tag", &tag.value, tag.place, tags.iter().copied());
            }
        }
        let lists = [&when.all, &when.any].into_iter().flat_map(|said| &said.value).flat_map(|list| &list.0);
        lists.for_each(|table| self.check_tagged(&table.value, tags));
        when.not.value.iter().for_each(|table| self.check_tagged(&table.value, tags));
    }
}

fn tag(rule: &Rule) -> Option<&str> {
    match &rule.action {
        RuleAction::Tag(tag) => Some(tag),
        _ => None,
    }
}

fn sum(when: &When, of: &dyn Fn(&When) -> usize) -> usize {
    of(when)
        + match when {
            When::All(parts) | When::Any(parts) => parts.iter().map(|part| sum(part, of)).sum(),
            When::Not(part) => sum(part, of),
            _ => 0,
        }
}

/// What routes can ask too, without what has conditions in it.
fn plain(said: &WhenSaid) -> ConditionsSaid {
    ConditionsSaid {
        host: said.host.clone(),
        path: said.path.clone(),
        path_prefix: said.path_prefix.clone(),
        path_regex: said.path_regex.clone(),
        method: said.method.clone(),
        header: said.header.clone(),
        query: said.query.clone(),
        cookie: said.cookie.clone(),
        client: said.client.clone(),
        listener: said.listener.clone(),
        ..ConditionsSaid::default()
    }
}
