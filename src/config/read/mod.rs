//! From the file and the command line to [`Settings`].
//!
//! First each file is read by itself, key by key (`said`); then what they say together is made into settings, and
//! whatever contradicts something else is found. Everything that is wrong is gathered on the way. What the file says
//! has to be right by itself, so that the blame falls where it belongs; only then the command line is added.

mod browsers;
mod clients;
mod coding;
mod conditions;
mod edits;
mod files;
mod flow;
mod holding;
mod identity;
mod idle;
mod listeners;
mod pages;
mod routes;
mod rules;
mod said;
mod said_browsers;
mod said_clients;
mod said_coding;
mod said_flow;
mod said_holding;
mod said_identity;
mod said_rules;
mod said_security;
mod said_upstream;
mod security;
mod traffic;
mod upkeep;
mod upstreams;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use self::files::{Files, refuse_twice};
pub use self::routes::of_origin;
pub use self::said::FILE;
use super::admin::{self, AdminAddress, Token};
use super::identity::AuthKind;
use super::options::Fault;
use super::problem::{Problem, Problems, Severity, quoted};
use super::route::{Action, RouteSettings};
use super::source::{Place, Sources};
use super::table::Reader;
use super::{AdminSettings, ConfigError, Options, Settings};
use crate::config::matching::Condition;

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What is odd about it.
    pub warnings: Vec<Problem>,
    /// The files that it is made of; none if there is only a command line.
    pub sources: Sources,
    /// Where its parts stand.
    pub places: Places,
}

/// Where the parts of a configuration stand, by their index in [`Settings`]; nowhere if the command line makes them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Of listeners: the name.
    pub listeners: Vec<Option<Place>>,
    /// Of upstreams: the name.
    pub upstreams: Vec<Option<Place>>,
    /// Of routes: the name, or the head of the table.
    pub routes: Vec<Option<Place>>,
}

/// Reads the file, if there is one, fills in what the command line says and the defaults, and checks it all.
/// Variables of the environment are looked up with `variable`.
///
/// # Errors
/// Everything that is wrong with the file; or the first thing that is wrong with the command line.
pub fn load(
    options: Options,
    path: Option<PathBuf>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let Some(path) = path else {
        return added(options.clone(), &options, &Files::default(), Vec::new());
    };
    let reader = Reader::new(variable);
    let files = files::read(&path, &reader);
    judged(options, &path, files, reader)
}

/// The same for a text that is no file, without a command line.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn of_text(
    text: String,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let reader = Reader::new(variable);
    let files = files::of_text(text, &reader);
    judged(Options::default(), Path::new("text"), files, reader)
}

/// What files say, judged by itself, with what the command line says added to it.
fn judged(options: Options, path: &Path, files: Files, reader: Reader<'_>) -> Result<Loaded, ConfigError> {
    if files.broken {
        return Err(ConfigError::File(Problems::new(reader.into_problems(), files.sources)));
    }
    // The file may leave the origin to the command line, and the token, which few should be able to read.
    let said = files.said.options.options();
    let mut alone = said.clone();
    alone.origin = alone.origin.or_else(|| options.origin.clone());
    alone.admin_token = options.admin_token.clone().or(alone.admin_token);
    alone.admin_anywhere = options.admin_anywhere.or(alone.admin_anywhere);
    alone.cache_size = options.cache_size.or(alone.cache_size);
    let (settings, places) = assemble(&alone, &Options::default(), Blame::File, &files, &reader);
    if settings.routes.is_empty() && !files.said.route.is_wrong && !files.said.options.origin.is_wrong {
        let message = format!("{} has no route and no origin", quoted(&path.to_string_lossy()));
        let help = "say where requests go, such as origin = \"http://127.0.0.1:9001\"";
        reader.add(Problem::nowhere(message).with_help(help));
    }
    let problems = Problems::new(reader.into_problems(), files.sources.clone());
    if problems.has_errors() {
        return Err(ConfigError::File(problems));
    }
    let warnings = problems.list().to_vec();
    if options == Options::default() {
        return Ok(Loaded { settings, warnings, sources: files.sources, places });
    }
    added(options.clone().or(said), &options, &files, warnings)
}

/// The settings with what the command line says added to a file that is right.
fn added(
    options: Options,
    flags: &Options,
    files: &Files,
    warnings: Vec<Problem>,
) -> Result<Loaded, ConfigError> {
    // All texts of the file have been read already.
    let reader = Reader::new(&|_| None);
    let (settings, places) = assemble(&options, flags, Blame::Flags, files, &reader);
    if settings.routes.is_empty() {
        let message = "no origin is given; say where requests go, such as --origin http://127.0.0.1:9001";
        reader.add(Problem::nowhere(message));
    }
    match reader.into_problems().into_iter().find(|problem| problem.severity == Severity::Error) {
        Some(error) => Err(ConfigError::Usage(error.message)),
        None => Ok(Loaded { settings, warnings, sources: files.sources.clone(), places }),
    }
}

/// What a file says about the admin endpoint; the rest of it may be wrong, and is for the proxy to judge.
///
/// # Errors
/// It cannot be read, is no TOML, or what it says about that is wrong.
pub(super) fn admin(
    path: &Path,
    token: Option<&Token>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Option<AdminAddress>, Option<Token>), ConfigError> {
    let reader = Reader::new(variable);
    let files = files::read(path, &reader);
    let said = &files.said.options;
    let token = token.cloned().or_else(|| said.admin_token.value.clone());
    if let Err(fault) = admin::settings(said.admin.value.clone(), token.clone(), true)
        && let Some(place) = said.place(fault.key)
    {
        reader.error(place, fault.message);
    }
    let of_admin = [said.admin.place, said.admin_token.place];
    let mut problems = reader.into_problems();
    problems
        .retain(|problem| files.broken || problem.place.is_some_and(|place| of_admin.contains(&Some(place))));
    match problems.is_empty() {
        true => Ok((said.admin.value.clone(), token)),
        false => Err(ConfigError::File(Problems::new(problems, files.sources))),
    }
}

/// Whose fault it is when something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The file's: it is shown there.
    File,
    /// The command line's: the option is named.
    Flags,
}

/// What the checks of listeners and upstreams need.
struct Frame<'a, 'v> {
    reader: &'a Reader<'v>,
    sources: &'a Sources,
    blame: Blame,
    admin: AdminSettings,
}

impl Frame<'_, '_> {
    /// Reports what is wrong with options, each at its place, or else at the last one.
    fn blame_all(
        &self,
        faults: Vec<Fault>,
        place_of: &dyn Fn(&str) -> Option<Place>,
        or_else: Option<Place>,
    ) {
        for fault in faults {
            // The other side of a contradiction may be the one that was said here.
            let (place, message) = match (place_of(fault.key), fault.key) {
                (None, "max-target") if place_of("max-head").is_some() => {
                    (place_of("max-head"), "must be more than max-target, which is a part of it".to_owned())
                }
                (place, _) => (place.or(or_else), fault.message.clone()),
            };
            match (self.blame, place) {
                (Blame::File, Some(place)) => self.reader.error(place, message),
                // The command line said it, and is blamed later.
                (Blame::File, None) => {}
                (Blame::Flags, _) => self.reader.add(Problem::nowhere(fault.to_string())),
            }
        }
    }
}

/// What there is to refer to for a route.
struct Known<'a, 'v> {
    reader: &'a Reader<'v>,
    sources: &'a Sources,
    listeners: Vec<String>,
    upstreams: Vec<String>,
    /// Names of sets of rules, of rates, and of ways to authenticate.
    rule_sets: Vec<String>,
    rates: Vec<String>,
    auths: Vec<String>,
    /// Lists of networks that have been read.
    network_files: security::NetworkFiles,
}

/// Makes settings of everything that was said. Problems go to the reader.
fn assemble(
    options: &Options,
    flags: &Options,
    blame: Blame,
    files: &Files,
    reader: &Reader<'_>,
) -> (Settings, Places) {
    let said = &files.said;
    let mut faults = Vec::new();
    let mut settings = options.top(&mut faults);
    let frame = Frame { reader, sources: &files.sources, blame, admin: settings.admin.clone() };
    frame.blame_all(faults, &|key| said.options.place(key), None);
    let mut places = Places::default();
    (settings.listeners, places.listeners) = frame.listeners(said, options, flags);
    (settings.upstreams, places.upstreams) = frame.upstreams(said, options);
    // What is wrong about an upstream has been said; that there is one is known.
    let wrong = said.upstream.value.iter().flat_map(|map| map.wrong.iter().cloned());
    let of_origin = said.options.origin.is_wrong.then(|| upstreams::DEFAULT.to_owned());
    let upstreams = settings.upstreams.iter().map(|upstream| upstream.name.clone());
    let known = Known {
        reader,
        sources: &files.sources,
        listeners: settings.listeners.iter().map(|listener| listener.name.clone()).collect(),
        upstreams: upstreams.chain(wrong).chain(of_origin).collect(),
        rule_sets: traffic::names(&said.rule_set),
        rates: traffic::names(&said.rate),
        auths: traffic::names(&said.auth),
        network_files: security::NetworkFiles::default(),
    };
    settings.error_pages = known.error_pages(&said.error_page);
    known.name_traffic(said, &mut settings);
    let routes = said.route.value.as_ref().map_or(&[][..], |list| &list.0);
    settings.routes = routes.iter().enumerate().map(|(at, route)| known.route(route, at)).collect();
    places.routes = routes.iter().map(|route| route.value.name.place.or(Some(route.place))).collect();
    if options.origin.as_ref().is_some_and(|origins| !origins.is_empty()) {
        settings.routes.push(routes::of_origin());
        places.routes.push(said.options.origin.key);
    }
    let names = settings.routes.iter().map(|route| route.name.as_str()).zip(places.routes.iter().copied());
    refuse_twice("route", names, &files.sources, reader);
    // A name that is wrong elsewhere would make it seem idle.
    if blame == Blame::File && reader.errors() == 0 {
        warn_of_idle(&settings, &places, &known);
        known.warn_of_idle_rates(&said.rate, &settings);
        known.warn_of_guessing(&settings, &places);
        known.warn_of_no_effect(said, &settings);
        upkeep::warn_of_late_retries(&settings, &places, reader);
    }
    (settings, places)
}

/// Warns of upstreams that no route uses, and of listeners whose requests no route takes.
fn warn_of_idle(settings: &Settings, places: &Places, known: &Known<'_, '_>) {
    if settings.routes.is_empty() {
        return;
    }
    let mut used: HashSet<&str> = HashSet::new();
    for route in &settings.routes {
        if let Action::Forward(split) = &route.action {
            used.extend(split.shares.iter().map(|(name, _)| name.as_str()));
        }
        used.extend(route.mirror.as_ref().map(|mirror| mirror.upstream.as_str()));
    }
    for auth in &settings.auths {
        if let AuthKind::Forward(forward) = &auth.kind {
            used.insert(&forward.upstream);
        }
    }
    for (upstream, place) in settings.upstreams.iter().zip(&places.upstreams) {
        if let Some(place) = place.filter(|_| !used.contains(upstream.name.as_str())) {
            let message = format!("no route uses upstream {}", quoted(&upstream.name));
            known.reader.add(Problem::warning(place, message));
        }
    }
    let is_for = |route: &RouteSettings, name: &String| {
        !route.conditions.iter().any(|condition| match condition {
            Condition::Listener(names) => !names.contains(name),
            _ => false,
        })
    };
    for (listener, place) in settings.listeners.iter().zip(&places.listeners) {
        if let Some(place) = *place
            && !settings.routes.iter().any(|route| is_for(route, &listener.name))
        {
            let message = format!("no route takes what comes in at listener {}", quoted(&listener.name));
            known.reader.add(Problem::warning(place, message));
        }
    }
}

#[cfg(test)]
#[path = "mistakes_tests.rs"]
mod mistakes;
#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
