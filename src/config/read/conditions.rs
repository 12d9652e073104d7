//! What a request has to be for a route to take it.

use super::Known;
use super::said::{ConditionsSaid, Either, TestSaid, TestTable};
use crate::config::matching::{Condition, HostPattern, PathPattern, Test};
use crate::config::problem::{Problem, quoted};
use crate::config::source::Place;
use crate::config::suggest;
use crate::config::table::{At, Map, Said};
use crate::http::fields::is_token;

impl Known<'_, '_> {
    /// The hosts that are named.
    pub(super) fn hosts(&self, said: &ConditionsSaid) -> Vec<HostPattern> {
        self.some(&said.host).to_vec()
    }

    /// The paths that are named, in whichever way.
    pub(super) fn paths(&self, said: &ConditionsSaid) -> Vec<PathPattern> {
        let whole = self.some(&said.path).iter().map(|path| &path.0);
        let prefix = self.some(&said.path_prefix).iter().map(|path| &path.0);
        let regex = self.some(&said.path_regex).iter().map(|path| &path.0);
        whole.chain(prefix).chain(regex).cloned().collect()
    }

    /// All but hosts and paths.
    pub(super) fn conditions(&self, said: &ConditionsSaid) -> Vec<Condition> {
        let mut all = Vec::new();
        if !self.some(&said.method).is_empty() {
            all.push(Condition::Method(self.methods(&said.method)));
        }
        self.tests(&said.header, true, Condition::Header, &mut all);
        self.tests(&said.query, false, Condition::Query, &mut all);
        self.tests(&said.cookie, true, Condition::Cookie, &mut all);
        let networks = self.some(&said.client);
        if !networks.is_empty() {
            all.push(Condition::Client(networks.iter().map(|network| network.0).collect()));
        }
        let listeners = self.some(&said.listener);
        listeners.iter().for_each(|name| self.check_listener(name));
        if !listeners.is_empty() {
            all.push(Condition::Listener(listeners.iter().map(|name| name.value.clone()).collect()));
        }
        for (tables, condition) in
            [(&said.all, Condition::All as fn(_) -> _), (&said.any, Condition::Any as fn(_) -> _)]
        {
            match tables.at() {
                Some((place, list)) if list.0.is_empty() && !tables.is_wrong => {
                    self.reader.error(place, "must not be empty");
                }
                Some((_, list)) => {
                    all.push(condition(list.0.iter().map(|table| self.nested(table)).collect()));
                }
                None => {}
            }
        }
        if let Some(table) = &said.not.value {
            all.push(Condition::Not(Box::new(self.nested(table))));
        }
        all
    }

    /// The conditions of a table within a route, as one.
    fn nested(&self, table: &At<ConditionsSaid>) -> Condition {
        let mut all = Vec::new();
        let hosts = self.hosts(&table.value);
        if !hosts.is_empty() {
            all.push(Condition::Host(hosts));
        }
        let paths = self.paths(&table.value);
        if !paths.is_empty() {
            all.push(Condition::Path(paths));
        }
        all.extend(self.conditions(&table.value));
        if table.value.count == 0 {
            self.reader.error(table.place, "has no condition");
        }
        match all.pop() {
            Some(only) if all.is_empty() => only,
            last => Condition::All(all.into_iter().chain(last).collect()),
        }
    }

    pub(super) fn methods(&self, said: &Said<Vec<At<String>>>) -> Vec<String> {
        let methods = said.value.as_deref().unwrap_or_default();
        for method in methods {
            let upper = method.value.to_ascii_uppercase();
            if !is_token(method.value.as_bytes()) {
                self.reader.error(method.place, format!("{:?} is no method", method.value));
            } else if upper != method.value {
                let message = format!("no usual method is called {}: letters count", quoted(&method.value));
                let warning = Problem::warning(method.place, message);
                self.reader.add(warning.with_help(format!("did you mean `{upper}`?")));
            }
        }
        methods.iter().map(|method| method.value.clone()).collect()
    }

    fn tests(
        &self,
        said: &Said<Map<TestSaid>>,
        is_tokens: bool,
        condition: fn(String, Test) -> Condition,
        all: &mut Vec<Condition>,
    ) {
        if let Some((place, map)) = said.at()
            && map.entries.is_empty()
            && !said.is_wrong
        {
            self.reader.error(place, "must not be empty");
        }
        for (name, test) in said.value.iter().flat_map(|map| &map.entries) {
            if name.value.is_empty() || is_tokens && !is_token(name.value.as_bytes()) {
                self.reader.error(name.place, format!("{:?} is no name", name.value));
            }
            let condition = condition(name.value.clone(), self.test(test));
            if matches!(&condition, Condition::Header(name, _) if name.eq_ignore_ascii_case("host")) {
                // It is not what counts where the target names another, and it may have a port.
                self.reader.error(name.place, "hosts are matched by `host`");
            }
            all.push(condition);
        }
    }

    pub(super) fn test(&self, said: &At<TestSaid>) -> Test {
        match &said.value {
            Either::Long(true) => Test::Present,
            Either::Long(false) => Test::Absent,
            Either::Short(items) => {
                let mut tests: Vec<_> = items
                    .iter()
                    .map(|item| match item {
                        Either::Short(text) => Test::Is(text.clone()),
                        Either::Long(table) => self.part(table),
                    })
                    .collect();
                if tests.is_empty() {
                    self.reader.error(said.place, "must not be empty");
                }
                match tests.pop() {
                    Some(only) if tests.is_empty() => only,
                    last => Test::OneOf(tests.into_iter().chain(last).collect()),
                }
            }
        }
    }

    fn part(&self, table: &At<TestTable>) -> Test {
        let TestTable { prefix, suffix, contains, regex, unknown, .. } = &table.value;
        let said = [prefix.is_there(), suffix.is_there(), contains.is_there(), regex.is_there()];
        if said.iter().filter(|said| **said).count() != 1 && *unknown == 0 {
            let message = "must have one of `prefix`, `suffix`, `contains` and `regex`";
            self.reader.error(table.place, message);
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match (&regex.value, prefix.is_there(), suffix.is_there()) {
            (Some(pattern), _, _) => Test::Regex(pattern.clone()),
            (None, true, _) => Test::Prefix(text(&prefix.value)),
            (None, _, true) => Test::Suffix(text(&suffix.value)),
            _ => Test::Contains(text(&contains.value)),
        }
    }

    /// A list that may be left out, but not be empty.
    pub(super) fn some<'a, T>(&self, said: &'a Said<Vec<T>>) -> &'a [T] {
        if let Some((place, list)) = said.at()
            && list.is_empty()
            && !said.is_wrong
        {
            self.reader.error(place, "must not be empty");
        }
        said.value.as_deref().unwrap_or_default()
    }

    fn check_listener(&self, name: &At<String>) {
        if !self.listeners.contains(&name.value) {
            let known = self.listeners.iter().map(String::as_str);
            self.unknown("listener", &name.value, name.place, known);
        }
    }

    /// Says that there is nothing of that name.
    pub(super) fn unknown<'a>(
        &self,
        what: &str,
        name: &str,
        place: Place,
        known: impl Iterator<Item = &'a str> + Clone,
    ) {
        let problem = Problem::error(place, format!("there is no {what} {}", quoted(name)));
        self.reader.add(match suggest::name(name, known) {
            Some(help) => problem.with_help(help),
            None => problem,
        });
    }
}
