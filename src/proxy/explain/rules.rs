//! Which rules a request meets, and what they would do.

use super::{Checked, Explaining};
use crate::config::rules::RuleAction;
use crate::error::Reason;
use crate::filter::rules::Care;
use crate::proxy::checks::forms::{Look, content_kind, look};
use crate::proxy::checks::rules::{Late, Ruling, ask, chains, remember};
use crate::proxy::request::admit::Read;

/// What this check is called.
const NAME: &str = "rules";

impl Explaining<'_> {
    /// The rules that hold; nothing is counted, and nobody waits. Of content there is none to be looked at.
    ///
    /// # Errors
    /// One of them turns the request away.
    pub(super) fn rules(&mut self, read: &Read, checked: &mut Vec<Checked>) -> Result<(), Reason> {
        let received = &self.received;
        let ruling = ask(self.core, &self.peer, received, &read.head, read.body, None);
        for (chain, sets) in chains(received).enumerate().filter(|_| ruling.hits.is_empty()) {
            if !sets.engine.is_empty() {
                let says = format!("none of {} holds", sets.engine.len());
                checked.push(Checked { name: NAME.to_owned(), says, from: self.place_of(chain) });
            }
        }
        self.follow(&ruling, checked)
    }

    /// What is known of the content without it.
    ///
    /// # Errors
    /// Rules want to look at it, and cannot; or one of those turns the request away that only had to be sure that none
    /// wants to.
    pub(super) fn form(&mut self, read: &Read) -> Result<(), Reason> {
        let (received, body) = (&self.received, read.body);
        if matches!(content_kind(received, &read.head, body), Ok(None)) {
            return Ok(());
        }
        let (subjects, says) = match look(self.core, &self.peer, received, &read.head, body)? {
            Look::Not(subjects) => (Some(subjects), None),
            Look::Unread(subjects, reason) => {
                let why = match reason {
                    Reason::BodyTooLarge => "is too large",
                    _ => "has a type or coding that is not read",
                };
                let says = format!(
                    "some that only note would look at the content too, which {why}: it goes on without that"
                );
                (Some(subjects), Some(says))
            }
            Look::Read { care: Care::Acted, .. } => {
                (None, Some("some look at the content too, of which nothing is known here".to_owned()))
            }
            Look::Read { .. } => {
                let says = "some that only note look at the content too, of which nothing is known here";
                (None, Some(says.to_owned()))
            }
        };
        let from = self.place_of(0);
        let said = says.map(|says| Checked { name: NAME.to_owned(), says, from });
        let mut checked: Vec<Checked> = said.into_iter().collect();
        let verdict = match subjects {
            Some(subjects) => {
                let late = Some(Late::Unread(subjects));
                let ruling = ask(self.core, &self.peer, received, &read.head, body, late);
                self.follow(&ruling, &mut checked)
            }
            None => Ok(()),
        };
        self.account.checks.extend(checked);
        verdict
    }

    /// Says which rules hold, and does what they say.
    fn follow(&mut self, ruling: &Ruling, checked: &mut Vec<Checked>) -> Result<(), Reason> {
        let received = &self.received;
        for &(chain, place) in &ruling.hits {
            let Some(sets) = chains(received).nth(chain) else { continue };
            let Some(rule) = sets.engine.rule(place) else { continue };
            let would = if rule.detect_only { "would, if its set did not only detect, " } else { "" };
            let says = format!("{} {would}{}", sets.name(place), words(&rule.action));
            checked.push(Checked { name: NAME.to_owned(), says, from: self.place_of(chain) });
        }
        let Some((chain, place)) = ruling.turned else {
            if !ruling.hits.is_empty() {
                remember(self.core, &mut self.received, ruling);
            }
            return Ok(());
        };
        let rule = chains(received).nth(chain).and_then(|sets| sets.engine.rule(place));
        let (reason, status) = match rule.map(|rule| &rule.action) {
            Some(RuleAction::Close) => (Reason::RuleClosed, 0),
            Some(RuleAction::Tarpit(_, None)) => (Reason::Tarpitted, 0),
            Some(RuleAction::Redirect { status, .. }) => (Reason::RuleRedirected, *status),
            Some(RuleAction::Deny(status) | RuleAction::Tarpit(_, Some(status))) => {
                (Reason::RuleDenied, *status)
            }
            _ => (Reason::RuleDenied, 403),
        };
        self.record.status = status;
        Err(reason)
    }

    /// Where a chain is said.
    fn place_of(&self, chain: usize) -> String {
        let terms = &self.received.terms;
        let of_listener = terms.listener().traffic.rules.is_some();
        match terms.route() {
            Some(route) if chain > 0 || !of_listener => format!("route {}", route.name),
            _ => format!("listener {}", terms.listener().name),
        }
    }
}

fn words(action: &RuleAction) -> String {
    match action {
        RuleAction::Deny(status) => format!("refuses it with {status}"),
        RuleAction::Close => "closes the connection".to_owned(),
        RuleAction::Tarpit(time, None) => {
            format!("has it wait {}s, and closes the connection", time.as_secs_f32())
        }
        RuleAction::Tarpit(time, Some(status)) => {
            format!("has it wait {}s, and refuses it with {status}", time.as_secs_f32())
        }
        RuleAction::Redirect { to, status } => format!("sends it to {to} with {status}"),
        RuleAction::Tag(tag) => format!("gives it the tag {tag}"),
        RuleAction::Log => "notes it".to_owned(),
        RuleAction::Allow => "lets it pass by all further rules".to_owned(),
    }
}
