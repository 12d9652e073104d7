//! How the response to a request would be coded.

use super::{Checked, Explaining};
use crate::content::coding::accept::Accepts;
use crate::http::{Method, Name};
use crate::proxy::coding::asks_for_identity;

impl Explaining<'_> {
    /// What is done about codings, if anything is.
    pub(super) fn coding(&mut self, method: Method) {
        let terms = &self.received.terms;
        let Some(rules) = terms.coding() else { return };
        let own = terms.route().filter(|route| route.traffic.coding.is_some());
        let from = match own {
            Some(route) => format!("route {}", route.name),
            None => format!("listener {}", terms.listener().name),
        };
        let wanted = rules.wanted();
        let accepts = Accepts::of(self.received.fields().values(Name::AcceptEncoding));
        let mut add = |name: &str, says: String| {
            let (name, from) = (name.to_owned(), from.clone());
            self.account.checks.push(Checked { name, says, from });
        };
        let compress = match accepts.choose(wanted.codings) {
            _ if wanted.codings.is_empty() => "off".to_owned(),
            None => "the client takes none of the codings, or likes content as it is better".to_owned(),
            Some(coding) => format!(
                "content of {} types is compressed by {}, from {} bytes on",
                wanted.types.len(),
                coding.name(),
                wanted.bytes_min
            ),
        };
        let identity = asks_for_identity(terms, method, self.received.fields());
        let asked = if identity { "; the upstream is asked for content as it is" } else { "" };
        add("compress", compress + asked);
        if wanted.decodes {
            add("decompress", "content in a coding that the client does not take is taken apart".to_owned());
        }
    }
}
