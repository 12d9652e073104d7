//! What a listener or a route holds until it is whole.

use std::path::Path;
use std::sync::Arc;

use super::Made;
use crate::config::holding::{Choice, HoldRequest, HoldResponse, Holding};
use crate::net::disk::Disk;
use crate::proxy::holding::held::Ledger;
use crate::proxy::snapshot::registry::Registry;
use crate::proxy::troubles::Troubles;

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct HoldingRules {
    pub(in crate::proxy) request: Choice<RequestRules>,
    pub(in crate::proxy) response: Choice<ResponseRules>,
}

/// How content of requests is held.
#[derive(Clone)]
pub(in crate::proxy) struct RequestRules {
    pub(in crate::proxy) settings: HoldRequest,
    /// Where the files are, and who reads and writes them; none if there are none.
    pub(in crate::proxy) files: Option<(Arc<Path>, Arc<Disk>)>,
    /// What all cores hold.
    pub(in crate::proxy) ledger: Arc<Ledger>,
    /// Where it is noted what goes wrong with that.
    pub(in crate::proxy) troubles: Arc<Troubles>,
}

/// What goes wrong in the process with content that is held.
pub(in crate::proxy::snapshot) fn troubles(registry: &Registry) -> Arc<Troubles> {
    registry.keep("troubles".to_owned(), Troubles::default)
}

/// How responses are taken off their upstreams.
#[derive(Clone)]
pub(in crate::proxy) struct ResponseRules {
    pub(in crate::proxy) settings: HoldResponse,
    /// What all cores hold.
    pub(in crate::proxy) ledger: Arc<Ledger>,
}

impl HoldingRules {
    /// None where nothing is to be done.
    pub(super) fn new(settings: &Holding, made: &Made<'_>) -> Option<HoldingRules> {
        let Holding { request, response } = settings;
        let ledger = |of: &str| made.registry.keep(format!("held {of}"), Ledger::default);
        let rules = HoldingRules {
            request: request.map(|settings| RequestRules {
                files: settings.file_bytes_max.map(|_| {
                    let disk = made.registry.keep("disk".to_owned(), Disk::new);
                    (settings.directory.as_path().into(), disk)
                }),
                ledger: ledger("requests"),
                troubles: troubles(made.registry),
                settings: settings.clone(),
            }),
            response: response
                .map(|settings| ResponseRules { ledger: ledger("responses"), settings: settings.clone() }),
        };
        let is_unsaid = matches!(rules, HoldingRules { request: Choice::Unsaid, response: Choice::Unsaid });
        (!is_unsaid).then_some(rules)
    }
}
