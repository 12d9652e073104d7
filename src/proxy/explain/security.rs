//! Whether a request is let in, which bounds it has to keep, and what browsers are told.

use super::{Checked, Explaining, text};
use crate::config::browsers::{SAFETY_FIELDS, SecurityHeaders};
use crate::error::Reason;
use crate::filter::access::Asker;
use crate::filter::cors::{self, Preflight};
use crate::proxy::checks::{access, cors as answers};
use crate::proxy::request::admit::Read;

impl Explaining<'_> {
    /// Networks, and the bounds on requests.
    ///
    /// # Errors
    /// They turn the request away.
    pub(super) fn security(&mut self, read: &Read, checked: &mut Vec<Checked>) -> Result<(), Reason> {
        answers::begin(self.core, &self.peer, &mut self.received);
        let mut reason = self.access(checked);
        if self.received.terms.bounds().is_some() {
            let kept = access::check_bounds(&self.received, read);
            let says = kept.err().map_or("all of them are kept", Reason::sentence).to_owned();
            let is_own = self.says(|traffic| traffic.security.limits.is_some());
            checked.push(self.checked("request-limits", says, is_own));
            reason = reason.or(kept.err());
        }
        reason.map_or(Ok(()), Err)
    }

    /// Networks.
    pub(super) fn access(&self, checked: &mut Vec<Checked>) -> Option<Reason> {
        let mut refused = None;
        let asker = access::asker_of(&self.peer, &self.received);
        for (place, rules) in self.received.terms.traffic().enumerate() {
            let rules = rules.security.as_ref().and_then(|rules| rules.access.as_ref());
            let Some((is_in, allowed, denied)) = rules.map(|rules| rules.judge(asker)) else { continue };
            let because = match (asker, allowed, denied) {
                (Asker::Unknown, ..) => "nobody knows who asks".to_owned(),
                (Asker::Unix, None, None) => "no entry means who comes by a Unix socket".to_owned(),
                (_, None, None) => "no entry has the address".to_owned(),
                (Asker::Unix, allowed, denied) if allowed > denied => "`allow` has it".to_owned(),
                (Asker::Unix, ..) => "`deny` has it".to_owned(),
                (_, Some(length), denied) if Some(length) > denied => {
                    format!("`allow` has it in a network of /{length}")
                }
                (_, _, length) => format!("`deny` has it in a network of /{}", length.unwrap_or_default()),
            };
            let verdict = if is_in { "lets the client in" } else { "refuses the client" };
            checked.push(self.checked("access", format!("{verdict}: {because}"), place > 0));
            if !is_in {
                refused = refused.or(Some(Reason::AccessDenied));
            }
        }
        refused
    }

    /// What browsers are told.
    ///
    /// # Errors
    /// A page may not ask what it asks for.
    pub(super) fn browsers(&mut self, read: &Read, checked: &mut Vec<Checked>) -> Result<(), Reason> {
        let (settings, terms) = (&self.received.terms.snapshot.settings, &self.received.terms);
        let listener = settings.listeners.get(terms.listener).map(|listener| &listener.traffic.browsers);
        let route = terms.route_place().and_then(|place| settings.routes.get(place));
        let route = route.map(|route| &route.traffic.browsers);
        let (Some(first), second) = (route.or(listener), listener) else { return Ok(()) };
        if let Some(headers) = first.security_headers.or(second.map(|said| &said.security_headers)) {
            let is_own = self.says(|traffic| traffic.browsers.security_headers != Default::default());
            let says = format!("sets where missing: {}", self.names(headers).join(", "));
            checked.push(self.checked("security-headers", says, is_own));
        }
        if let Some(names) = first.hidden.or(second.map(|said| &said.hidden)) {
            let is_own = self.says(|traffic| traffic.browsers.hidden != Default::default());
            checked.push(self.checked("hide-headers", format!("takes away: {}", names.join(", ")), is_own));
        }
        let mut reason = None;
        if let Some(rules) = terms.told().and_then(|told| told.cors) {
            let fields = self.received.fields();
            let says = match (Preflight::of(read.head.method, fields), cors::origin(fields)) {
                (Some(asked), _) if rules.rule.allows(asked.origin) => {
                    "the browser's question is answered here, with 204".to_owned()
                }
                (Some(_), _) => {
                    reason = Some(Reason::CorsRefused);
                    "pages of this origin may not ask".to_owned()
                }
                (None, Some(origin)) if rules.rule.allows(origin) => {
                    format!("pages of {} may read the answer", text(origin))
                }
                (None, Some(origin)) => format!("pages of {} may not read the answer", text(origin)),
                (None, None) => "no page of another origin asks".to_owned(),
            };
            let is_own = self.says(|traffic| traffic.browsers.cors != Default::default());
            checked.push(self.checked("cors", says, is_own));
        }
        reason.map_or(Ok(()), Err)
    }

    fn names(&self, headers: &SecurityHeaders) -> Vec<&'static str> {
        let named = |(place, _): &(usize, String)| SAFETY_FIELDS.get(*place).map(|(_, name)| *name);
        let hsts = headers.hsts.filter(|_| self.received.terms.https).map(|_| "Strict-Transport-Security");
        hsts.into_iter().chain(headers.fields.iter().filter_map(named)).collect()
    }

    /// Whether the route says something of that itself.
    fn says(&self, says: impl Fn(&crate::config::Traffic) -> bool) -> bool {
        let terms = &self.received.terms;
        let route = terms.route_place().and_then(|place| terms.snapshot.settings.routes.get(place));
        route.is_some_and(|route| says(&route.traffic))
    }

    /// Something that is checked, as the route or the listener wants it.
    pub(super) fn checked(&self, name: &str, says: String, by_route: bool) -> Checked {
        let terms = &self.received.terms;
        let from = match terms.route().filter(|_| by_route) {
            Some(route) => format!("route {}", route.name),
            None => format!("listener {}", terms.listener().name),
        };
        Checked { name: name.to_owned(), says, from }
    }
}
