//! Who has to be known at a listener or a route, and how that is found out.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;

use super::Made;
use crate::config::identity::{Auth, AuthKind, ForwardAuth, Identity};
use crate::config::passwords::Users;
use crate::config::tokens::Tokens;
use crate::proxy::checks::passwords::Verifiers;
use crate::proxy::snapshot::Followed;

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct IdentityRules {
    /// Ways to authenticate, one of which has to succeed; where none is wanted, anybody is served.
    pub(in crate::proxy) ways: Vec<Way>,
    /// Whether ways are wanted that there are not: what cannot be asked may not be left out.
    pub(in crate::proxy) lacks: bool,
    /// Names of fields by which the upstream is told who it is, each with a line feed behind it: nobody else tells it
    /// so, whichever way succeeds.
    pub(in crate::proxy) told: Box<[u8]>,
}

/// A way to authenticate.
#[derive(Clone)]
pub(in crate::proxy) struct Way {
    pub(in crate::proxy) name: Box<str>,
    pub(in crate::proxy) user_header: Option<Box<str>>,
    pub(in crate::proxy) pass_credentials: bool,
    /// The line that asks for credentials, without its end; empty where a service does so.
    pub(in crate::proxy) challenge: Box<[u8]>,
    pub(in crate::proxy) by: By,
}

/// How it is found out.
#[derive(Clone)]
pub(in crate::proxy) enum By {
    Basic {
        users: Arc<Followed<Users>>,
        verifiers: Arc<Verifiers>,
        remember: Duration,
    },
    Bearer(Listed),
    Forward {
        service: Box<ForwardAuth>,
        /// The place of its upstream.
        upstream: usize,
    },
}

/// A list of tokens.
#[derive(Clone)]
pub(in crate::proxy) enum Listed {
    /// In the configuration.
    Here(Arc<Tokens>),
    /// In a file.
    File(Arc<Followed<Tokens>>),
}

impl Listed {
    /// Asks something of the list as it is now.
    pub(in crate::proxy) fn with<R>(&self, ask: impl FnOnce(&Tokens) -> R) -> R {
        match self {
            Listed::Here(tokens) => ask(tokens),
            Listed::File(file) => {
                let now: Guard<Arc<Tokens>> = file.now();
                ask(&now)
            }
        }
    }
}

impl IdentityRules {
    /// None where nothing is to be done.
    pub(super) fn new(settings: &Identity, made: &Made<'_>) -> Option<IdentityRules> {
        let names = settings.auth.as_ref()?;
        let named = |name: &String| made.settings.auths.iter().find(|auth| auth.name == *name);
        let auths: Vec<&Auth> = names.iter().filter_map(named).collect();
        let wanted = names.len();
        let mut told = Vec::new();
        for name in auths.iter().flat_map(|auth| told_by(auth)) {
            told.extend_from_slice(name.as_bytes());
            told.push(b'\n');
        }
        let ways: Vec<Way> = auths.iter().filter_map(|auth| Way::new(auth, made)).collect();
        Some(IdentityRules { lacks: ways.len() < wanted, ways, told: told.into() })
    }
}

/// The fields by which the upstream is told who it is.
fn told_by(auth: &Auth) -> impl Iterator<Item = &String> {
    let gained = match &auth.kind {
        AuthKind::Forward(forward) => &forward.response_fields[..],
        AuthKind::Basic { .. } | AuthKind::Bearer { .. } => &[],
    };
    auth.user_header.iter().chain(gained)
}

impl Way {
    fn new(auth: &Auth, made: &Made<'_>) -> Option<Way> {
        let Auth { name, realm, user_header, pass_credentials, kind } = auth;
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let (challenge, by) = match kind {
            AuthKind::Basic { file, users, remember } => {
                let users = made.registry.follow((file, "users"), users.clone(), Users::read);
                let verifiers = made.registry.keep("verifiers".to_owned(), Verifiers::new);
                let challenge = format!("WWW-Authenticate: Basic realm=\"{realm}\", charset=\"UTF-8\"");
                (challenge, By::Basic { users, verifiers, remember: *remember })
            }
            AuthKind::Bearer { file, tokens } => {
                let listed = match file {
                    None => Listed::Here(tokens.clone()),
                    Some(file) => {
                        Listed::File(made.registry.follow((file, "tokens"), tokens.clone(), Tokens::read))
                    }
                };
                (format!("WWW-Authenticate: Bearer realm=\"{realm}\""), By::Bearer(listed))
            }
            AuthKind::Forward(service) => {
                let upstreams = &made.settings.upstreams;
                let upstream = upstreams.iter().position(|upstream| upstream.name == service.upstream)?;
                (String::new(), By::Forward { service: service.clone(), upstream })
            }
        };
        Some(Way {
            name: name.as_str().into(),
            user_header: user_header.as_deref().map(Into::into),
            pass_credentials: *pass_credentials,
            challenge: challenge.into_bytes().into(),
            by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::proxy::snapshot::Registry;

    #[test]
    fn a_way_that_cannot_be_made_is_no_leave_to_come_in() {
        let (settings, registry) = (Settings::for_tests(), Registry::default());
        let made = Made {
            settings: &settings,
            registry: &registry,
            networks: Default::default(),
            chains: Default::default(),
        };
        let rules = |auth: Option<Vec<String>>| IdentityRules::new(&Identity { auth }, &made);
        assert!(rules(None).is_none());
        assert!(rules(Some(Vec::new())).is_some_and(|rules| rules.ways.is_empty() && !rules.lacks));
        let one = rules(Some(vec!["nobody".to_owned()]));
        assert!(one.is_some_and(|rules| rules.ways.is_empty() && rules.lacks));
    }
}
