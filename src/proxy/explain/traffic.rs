//! What is checked of a request before it is served, and what would become of it there. Nothing is counted, and nobody
//! is asked.

use super::{Checked, Explaining};
use crate::error::Reason;
use crate::proxy::request::admit::Read;

/// A part of the checks: it adds what there is to say.
type Part<'a> = fn(&mut Explaining<'a>, &Read, &mut Vec<Checked>) -> Result<(), Reason>;

impl<'a> Explaining<'a> {
    /// The checks, in their order: see [`crate::proxy::checks`].
    ///
    /// # Errors
    /// One of them turns the request away.
    pub(super) fn traffic(&mut self, read: &Read) -> Result<(), Reason> {
        let parts: [Part<'a>; 5] = [
            Explaining::security,
            Explaining::rules,
            Explaining::rates,
            Explaining::browsers,
            Explaining::identity,
        ];
        let mut checked = Vec::new();
        let verdict = parts.iter().try_for_each(|part| part(self, read, &mut checked));
        self.account.checks.extend(checked);
        self.coding(read.head.method);
        self.holding();
        verdict.and_then(|()| self.form(read))
    }

    /// The checks of a request that is going to be refused, for it cannot be led to an upstream.
    ///
    /// # Errors
    /// One of them turns it away.
    pub(super) fn lost(&mut self, read: &Read) -> Result<(), Reason> {
        let mut checked = Vec::new();
        let verdict = match self.access(&mut checked) {
            Some(reason) => Err(reason),
            None => self.rates(read, &mut checked),
        };
        self.account.checks.extend(checked);
        verdict
    }
}
