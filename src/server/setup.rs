//! From the command line and the file to a configuration that can run: the one way in for whoever starts, reloads,
//! checks, prints or explains one.

use std::path::PathBuf;

use crate::config::route::Action;
use crate::config::{self, ConfigError, Loaded, Options, Problem, Problems, RouteSettings};
use crate::route::{self, Shadowed};

/// Reads the configuration and checks all of it. Variables come from the environment of this process.
///
/// # Errors
/// Everything that is wrong with the file; or what is wrong with the command line.
pub(crate) fn load(options: Options, path: Option<PathBuf>) -> Result<Loaded, ConfigError> {
    let loaded = config::load(options, path, &|name| std::env::var(name).ok())?;
    let mut shadowed = route::shadowed(&loaded.settings.routes);
    shadowed.retain(|shadowed| !is_spare(&loaded.settings.routes, shadowed.route));
    match shadowed.first() {
        None => Ok(loaded),
        Some(_) => Err(refusal(loaded, &shadowed)),
    }
}

/// Whether a route is the one that `origin` makes, which nobody has written, where others pass requests to its
/// upstream: then that is all that is wanted of `origin`.
fn is_spare(routes: &[RouteSettings], place: usize) -> bool {
    let default = config::of_origin();
    let uses_upstream = |route: &RouteSettings| match &route.action {
        Action::Forward(split) => split.shares.iter().any(|(name, _)| *name == default.name),
        _ => false,
    };
    routes[place] == default
        && routes.iter().enumerate().any(|(at, route)| at != place && uses_upstream(route))
}

/// Says of each route that is never taken which other one takes its requests.
fn refusal(loaded: Loaded, shadowed: &[Shadowed]) -> ConfigError {
    let Loaded { settings, warnings, sources, places } = loaded;
    let place = |route: usize| places.routes.get(route).copied().flatten();
    let errors = shadowed.iter().map(|Shadowed { route, by }| {
        let line = place(*by).map_or_else(String::new, |place| format!(" ({})", sources.line(place)));
        let (name, other) = (&settings.routes[*route].name, &settings.routes[*by].name);
        let message =
            format!("route `{name}` can never match: route `{other}`{line} takes all that it would");
        Problem { place: place(*route), ..Problem::nowhere(message) }
    });
    let errors: Vec<Problem> = errors.collect();
    match errors.iter().find(|error| error.place.is_none()) {
        // Only the command line makes routes that stand nowhere, and the file was right without it.
        Some(error) => ConfigError::Usage(error.message.clone()),
        None => {
            ConfigError::File(Problems::new(errors.into_iter().chain(warnings).collect(), sources.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, options: Options) -> Result<Loaded, ConfigError> {
        let name = format!("ringway-setup-{}-{:x}.toml", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let loaded = load(options, Some(path.clone()));
        std::fs::remove_file(path).unwrap();
        loaded
    }

    #[test]
    fn a_route_that_another_hides_is_shown_with_the_line_of_the_other() {
        let text = "[[route]]\nname = 'a'\nhost = 'x'\ndeny = true\n\
                    [[route]]\nname = 'b'\nhost = 'x'\nmethod = 'GET'\ndeny = true\n";
        let Err(ConfigError::File(problems)) = loaded(text, Options::default()) else {
            panic!("it is loaded")
        };
        let [problem] = problems.list() else { panic!("{problems}") };
        assert!(
            problem.message.starts_with("route `b` can never match: route `a` (")
                && problem.message.ends_with(".toml:2) takes all that it would"),
            "{problems}"
        );
        assert!(problem.place.is_some());
    }

    #[test]
    fn an_origin_may_be_wanted_for_its_upstream_alone() {
        let text = "origin = 'http://127.0.0.1:1'\n[[route]]\nupstream = 'default'\nstrip-prefix = '/a'\n";
        assert!(loaded(text, Options::default()).is_ok());
        let text = "origin = 'http://127.0.0.1:1'\n[[route]]\ndeny = true\n";
        assert!(matches!(loaded(text, Options::default()), Err(ConfigError::File(_))));
    }

    #[test]
    fn an_origin_of_the_command_line_that_gets_nothing_is_wrong_usage() {
        let text = "[[route]]\nname = 'a'\ndeny = true\n";
        assert!(loaded(text, Options::default()).is_ok());
        let origin = "http://127.0.0.1:1".parse().unwrap();
        let options = Options { origin: Some(vec![origin]), ..Options::default() };
        let Err(ConfigError::Usage(message)) = loaded(text, options) else { panic!("it is loaded") };
        assert!(message.starts_with("route `default` can never match: route `a` ("), "{message}");
    }
}
