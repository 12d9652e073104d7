//! Which rates a request counts for, by what, and how it stands there. Nothing is counted.

use super::{Checked, Explaining, View};
use crate::config::flow::{RateBy, RateFields, Without};
use crate::error::Reason;
use crate::filter::rate::Step;
use crate::http::{cookie, query};
use crate::proxy::checks::rates::{Found, Keyed, is_question, keyed, rates, write_fields};
use crate::proxy::request::admit::Read;
use crate::proxy::request::routing::{asked_host, client, target_parts};
use crate::proxy::snapshot::Rate;

impl Explaining<'_> {
    /// What is said of rates, and of how fast the response is given.
    ///
    /// # Errors
    /// The request is over one of them.
    pub(super) fn rates(&mut self, read: &Read, checked: &mut Vec<Checked>) -> Result<(), Reason> {
        let terms = &self.received.terms;
        let of_listener = terms.listener().traffic.flow.as_deref();
        let of_route = terms.route().and_then(|route| route.traffic.flow.as_deref());
        let listener = format!("listener {}", terms.listener().name);
        let route = terms.route().map(|route| format!("route {}", route.name)).unwrap_or_default();
        let (mut result, mut status, mut lines) = (Ok(()), 0, self.core.take_text());
        for rate in rates(of_listener, of_route) {
            let is_listeners =
                of_listener.is_some_and(|flow| flow.rates.iter().any(|one| one.name == rate.name));
            let (says, refused, step) = self.rate(rate, read);
            let (refused, step) = (refused && !rate.detect_only, step.filter(|_| !rate.detect_only));
            if let Some(step) = step.filter(|_| rate.fields == RateFields::Always) {
                write_fields(self.core, rate, &step, &mut lines);
            }
            let from = if is_listeners { listener.clone() } else { route.clone() };
            checked.push(Checked { name: format!("rate {}", rate.name), says, from });
            if refused && result.is_ok() {
                status = rate.status;
                result = Err(Reason::RateLimited);
            }
        }
        let own = of_route.and_then(|flow| flow.bandwidth).map(|bandwidth| (bandwidth, &route));
        let either =
            own.or(of_listener.and_then(|flow| flow.bandwidth).map(|bandwidth| (bandwidth, &listener)));
        if let Some((bandwidth, from)) = either {
            let says = match bandwidth.after {
                0 => format!("{} bytes a second", bandwidth.rate.0),
                after => format!("{} bytes a second after the first {after}", bandwidth.rate.0),
            };
            checked.push(Checked { name: "bandwidth".to_owned(), says, from: from.clone() });
        }
        self.record.status = status;
        if result.is_ok() && !lines.is_empty() {
            self.received.terms.make(self.core).texts.response_lines.extend_from_slice(&lines);
        }
        self.core.give_back_text(lines);
        result
    }

    /// What is said of one, whether the request would be refused, and else how it stands then: as the first one does,
    /// where nobody counts.
    fn rate(&self, rate: &Rate, read: &Read) -> (String, bool, Option<Step>) {
        let by: Vec<String> = rate.by.iter().map(|by| self.part(rate, by, read)).collect();
        let only = if rate.detect_only { ", which only detects" } else { "" };
        let counts = format!("{} by {}{only}", rate.text, by.join(" and "));
        let key = match keyed(rate, &self.peer, &self.received, &read.head) {
            Keyed::By(key) => key,
            Keyed::Nothing => return (format!("{counts}: it does not count"), false, None),
            Keyed::Refused => return (format!("{counts}: it is refused without"), true, None),
        };
        if self.view == View::Configured {
            return (counts, false, Some(rate.limit.step(0, 0)));
        }
        let now = rate.counted.since_began(self.core.clock.now());
        let step = rate.counted.table.look(&rate.limit, key, now);
        let stands = match step {
            Step { taken: false, wait, .. } => format!("refused for another {} ms", wait.div_ceil(1_000_000)),
            Step { wait: 0, ahead, .. } => format!("it goes at once, and {} more", rate.limit.left(ahead)),
            Step { wait, .. } => format!("it waits {} ms", wait.div_ceil(1_000_000)),
        };
        (format!("{counts}: {stands}"), !step.taken, Some(step).filter(|step| step.taken))
    }

    /// What a request is counted by. Values may be secrets, so that they are not shown.
    fn part(&self, rate: &Rate, by: &RateBy, read: &Read) -> String {
        let fields = self.received.fields();
        let query = || target_parts(&read.head, self.received.head_bytes()).query.unwrap_or_default();
        let found = match by {
            RateBy::Client => return self.network(rate),
            RateBy::All => return "all".to_owned(),
            RateBy::Route => return "route".to_owned(),
            RateBy::Host => return format!("host {}", super::text(asked_host(&self.received, &read.head))),
            RateBy::Header(name) => Found::of(fields.named(name.as_bytes())),
            RateBy::Cookie(name) => Found::of(cookie::values(fields, name.as_bytes())),
            RateBy::Query(name) => Found::of(query::values(query(), name.as_bytes())),
        };
        match (found, rate.without) {
            (Found::One(_), _) => by.to_string(),
            (Found::Nothing, Without::Pass) => format!("{by}, which is not there"),
            (Found::Nothing, Without::Refuse) if !is_question(&self.received, &read.head) => {
                format!("{by}, which is not there")
            }
            (Found::Several, Without::Refuse) => format!("{by}, which is there more than once"),
            _ => format!("{} in the place of {by}", self.network(rate)),
        }
    }

    fn network(&self, rate: &Rate) -> String {
        match client(&self.peer, &self.received).0 {
            Some(address) => format!("client {}", rate.network(address)),
            None => "client unknown".to_owned(),
        }
    }
}
