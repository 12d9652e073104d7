//! What browsers are told at a listener or a route.

use super::Made;
use crate::config::browsers::{Browsers, Own, SAFETY_FIELDS, SecurityHeaders};
use crate::config::route::FieldEdits;
use crate::filter::cors::{self, Cors};
use crate::route::fields::{Edits, Missing};

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct BrowsersRules {
    pub(in crate::proxy) safety: Own<Safety>,
    /// Fields that responses lose.
    pub(in crate::proxy) hidden: Own<Edits>,
    pub(in crate::proxy) cors: Own<CorsRules>,
}

/// Lines about safety.
#[derive(Clone)]
pub(in crate::proxy) struct Safety {
    pub(in crate::proxy) always: Missing,
    /// What only those get that came by https.
    pub(in crate::proxy) by_https: Missing,
}

/// What pages of other origins may ask.
#[derive(Clone)]
pub(in crate::proxy) struct CorsRules {
    pub(in crate::proxy) rule: Cors,
    /// What upstreams say of it.
    pub(in crate::proxy) theirs: Edits,
}

impl BrowsersRules {
    /// None where nothing is to be done.
    pub(super) fn new(settings: &Browsers, _made: &Made<'_>) -> Option<BrowsersRules> {
        let Browsers { security_headers, hidden, cors } = settings;
        if *settings == Browsers::default() {
            return None;
        }
        Some(BrowsersRules {
            safety: map(security_headers, Safety::new),
            hidden: map(hidden, |names| removing(names.clone())),
            cors: map(cors, |cors| CorsRules {
                rule: Cors::new(cors),
                theirs: removing(vec![cors::FIELDS.to_owned()]),
            }),
        })
    }
}

impl Safety {
    fn new(headers: &SecurityHeaders) -> Safety {
        let name = |place: usize| SAFETY_FIELDS.get(place).map(|(_, name)| *name);
        let fields = headers.fields.iter().filter_map(|(place, value)| Some((name(*place)?, &**value)));
        let hsts = headers.hsts.map(|hsts| hsts.value());
        let hsts = hsts.iter().map(|value| ("Strict-Transport-Security", &**value));
        Safety { always: Missing::new(fields), by_https: Missing::new(hsts) }
    }
}

fn map<A, B>(own: &Own<A>, change: impl FnOnce(&A) -> B) -> Own<B> {
    match own {
        Own::Unsaid => Own::Unsaid,
        Own::Off => Own::Off,
        Own::On(value) => Own::On(change(value)),
    }
}

fn removing(names: Vec<String>) -> Edits {
    Edits::new(&FieldEdits { remove: names, ..FieldEdits::default() })
}
