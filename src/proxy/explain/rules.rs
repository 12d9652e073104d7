//! Which rules a request meets, and what they would do.

use super::{Checked, Explaining};
use crate::config::rules::RuleAction;
use crate::error::Reason;
use crate::proxy::admit::Read;
use crate::proxy::checks::rules::{ask, chains, content_kind, remember};

impl Explaining<'_> {
    /// The rules that hold; nothing is counted, and nobody waits. Of content there is none to be looked at.
    ///
    /// # Errors
    /// One of them turns the request away.
    pub(super) fn rules(&mut self, read: &Read, checked: &mut Vec<Checked>) -> Result<(), Reason> {
        let received = &self.received;
        let ruling = ask(self.core, &self.peer, received, &read.head, read.body, None);
        let of_listener = received.terms.listener().traffic.rules.is_some();
        let from = |chain: usize| match received.terms.route() {
            Some(route) if chain > 0 || !of_listener => format!("route {}", route.name),
            _ => format!("listener {}", received.terms.listener().name),
        };
        let mut say = |says: String, from| checked.push(Checked { name: "rules".to_owned(), says, from });
        for &(chain, place) in &ruling.hits {
            let Some(sets) = chains(received).nth(chain) else { continue };
            let Some(rule) = sets.engine.rule(place) else { continue };
            let would = if rule.detect_only { "would, if its set did not only detect, " } else { "" };
            let says = format!("{} {would}{}", sets.name(place), words(&rule.action));
            say(says, from(chain));
        }
        for (chain, sets) in chains(received).enumerate().filter(|_| ruling.hits.is_empty()) {
            if !sets.engine.is_empty() {
                say(format!("none of {} holds", sets.engine.len()), from(chain));
            }
        }
        if matches!(content_kind(received, read.body), Ok(Some(_))) {
            say("some look at the content too, of which nothing is known here".to_owned(), from(0));
        }
        let Some((chain, place)) = ruling.turned else {
            if !ruling.hits.is_empty() {
                remember(self.core, &mut self.received, &ruling);
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

    /// What is known of the content without it.
    ///
    /// # Errors
    /// Rules look at forms, and nobody knows whether it is one.
    pub(super) fn form(&self, read: &Read) -> Result<(), Reason> {
        content_kind(&self.received, read.body).map(|_| ()).map_err(|_| Reason::ContentRefused)
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
