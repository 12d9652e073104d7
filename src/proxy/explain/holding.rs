//! What is held until it is whole.

use super::limits::size;
use super::{Checked, Explaining};
use crate::config::holding::{Choice, HoldRequest, HoldResponse};
use crate::proxy::snapshot::HoldingRules;

impl Explaining<'_> {
    /// Says what is held of the request and of its response, and who wants it.
    pub(super) fn holding(&mut self) {
        let terms = &self.received.terms;
        // What asks no upstream is not held.
        if terms.upstream().is_none() {
            return;
        }
        let request = terms.hold_request().map(|rules| Checked {
            name: "buffer-request".to_owned(),
            says: of_request(&rules.settings),
            from: self.who(|rules| !matches!(rules.request, Choice::Unsaid)),
        });
        let response = terms.hold_response().map(|rules| Checked {
            name: "buffer-response".to_owned(),
            says: of_response(&rules.settings),
            from: self.who(|rules| !matches!(rules.response, Choice::Unsaid)),
        });
        self.account.checks.extend(request.into_iter().chain(response));
    }

    /// Who says so: the route, or else its listener.
    fn who(&self, says: impl Fn(&HoldingRules) -> bool) -> String {
        let terms = &self.received.terms;
        let route =
            terms.route().and_then(|route| route.traffic.holding.as_deref()).filter(|rules| says(rules));
        let place = terms.route_place().filter(|_| route.is_some());
        match place.and_then(|place| terms.snapshot.settings.routes.get(place)) {
            Some(route) => format!("route {}", route.name),
            None => format!("listener {}", terms.listener().name),
        }
    }
}

fn of_request(settings: &HoldRequest) -> String {
    let HoldRequest { memory_bytes_max, file_bytes_max, directory, total_bytes_max } = settings;
    let memory = size(*memory_bytes_max as u64);
    let file = match file_bytes_max {
        Some(bytes) => format!("{} more in a file in {}", size(*bytes), directory.display()),
        None => "no more".to_owned(),
    };
    let total = size(*total_bytes_max);
    format!("content is held until it is whole: {memory} in memory and {file}; {total} of all requests")
}

fn of_response(settings: &HoldResponse) -> String {
    let HoldResponse { memory_bytes_max, total_bytes_max } = settings;
    let (memory, total) = (size(*memory_bytes_max as u64), size(*total_bytes_max));
    format!("up to {memory} are taken ahead of the client; {total} of all responses")
}
