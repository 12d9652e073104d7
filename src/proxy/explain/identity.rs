//! Who has to be known, and what a request says of who asks. No hash is made, and no service is asked.

use super::{Checked, Explaining};
use crate::error::Reason;
use crate::filter::auth::credentials::Pair;
use crate::proxy::checks::identity::{Sent, forget, rules, sent, use_up};
use crate::proxy::request::admit::Read;
use crate::proxy::snapshot::{By, IdentityRules};

impl Explaining<'_> {
    /// What is wanted, and whether the request has it as far as that can be seen.
    ///
    /// # Errors
    /// The request is refused.
    pub(super) fn identity(&mut self, _read: &Read, checked: &mut Vec<Checked>) -> Result<(), Reason> {
        let terms = &self.received.terms;
        let snapshot = terms.snapshot.clone();
        let Some(rules) = rules(&snapshot, terms) else { return Ok(()) };
        let from = match terms.route().filter(|route| route.traffic.identity.is_some()) {
            Some(route) => format!("route {}", route.name),
            None => format!("listener {}", terms.listener().name),
        };
        let mut say =
            |says: String| checked.push(Checked { name: "auth".to_owned(), says, from: from.clone() });
        if rules.ways.is_empty() && !rules.lacks {
            forget(self.core, &mut self.received);
            say("anybody is served".to_owned());
            return Ok(());
        }
        say(wanted(rules));
        let sent = sent(&self.received)?;
        let bytes = self.received.head_bytes();
        let has = |wanted: fn(&By) -> bool| rules.ways.iter().find(|way| wanted(&way.by));
        let used = match sent {
            Sent::Basic(encoded) => {
                let is_pair = Pair::decode(encoded.within(bytes)).is_some();
                has(|by| matches!(by, By::Basic { .. })).filter(|_| is_pair)
            }
            Sent::Bearer(_) => has(|by| matches!(by, By::Bearer(_))),
            Sent::Other => None,
        };
        let service = has(|by| matches!(by, By::Forward { .. }));
        match (sent, used, service) {
            (Sent::Basic(_), Some(way), _) => {
                say(format!(
                    "a name and a password are given, which are held against the file of {}",
                    way.name
                ));
            }
            (_, Some(way), _) => {
                say(format!("a token is given, which is looked for in the list of {}", way.name))
            }
            (_, None, Some(way)) => say(format!("the service of {} is asked", way.name)),
            (_, None, None) => {
                say("no credentials are given that could do".to_owned());
                if rules.lacks {
                    return Err(Reason::AuthUnavailable);
                }
                return Err(Reason::Unauthenticated);
            }
        }
        forget(self.core, &mut self.received);
        if used.is_some_and(|way| !way.pass_credentials) {
            use_up(self.core, &mut self.received);
        }
        Ok(())
    }
}

/// The ways that there are, one of which has to succeed.
fn wanted(rules: &IdentityRules) -> String {
    let ways = rules.ways.iter().map(|way| match &way.by {
        By::Basic { .. } => format!("a name and a password ({})", way.name),
        By::Bearer(_) => format!("a token ({})", way.name),
        By::Forward { service, .. } => {
            let mut says = format!("the word of {}{} ({})", service.upstream, service.path, way.name);
            if !service.client_fields.is_empty() {
                says += &format!(", whose {} the client gets", service.client_fields.join(" and "));
            }
            if let Some(url) = &service.sign_in {
                says += &format!(", or browsers sign in at {url}");
            }
            says
        }
    });
    format!("wants {}", ways.collect::<Vec<_>>().join(" or "))
}
