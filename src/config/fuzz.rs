//! Fuzz body for the file: what must hold for any text at all. The target in `tests/fuzz` and the run over the corpus
//! in `tests/corpus.rs` only call it.

use super::problem::SHOWN_MAX;
use super::{AdminSettings, ConfigError, Loaded, Settings, print, read};

/// A file. It is read, or all that is wrong with it is shown at a place that it has; and what is read is the same
/// when it is printed and read again.
pub fn file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(&bytes[..bytes.len().min(16 << 10)]) else { return };
    // What is read must not depend on other files.
    if ["include", "error-page", "\\"].iter().any(|word| text.contains(word)) {
        return;
    }
    match load(text) {
        Ok(settings) => {
            let printed = print(&settings);
            // Secrets are not printed; variables stand in their place.
            let again = load(&printed).map(alike);
            assert_eq!(again, Ok(alike(settings)), "what is printed is not what was read: {printed}");
        }
        Err(shown) => assert!(shown.lines().count() > 1, "nothing is said: {shown}"),
    }
}

/// What every variable says.
const SECRET: &str = "0123456789abcdef";

/// The same, with other secrets.
fn alike(mut settings: Settings) -> Settings {
    if let (AdminSettings::Tcp { token, .. }, Ok(secret)) = (&mut settings.admin, SECRET.parse()) {
        *token = secret;
    }
    let secrets =
        settings.upstreams.iter_mut().filter_map(|upstream| upstream.sticky.as_mut()?.secret.as_mut());
    secrets.for_each(|secret| SECRET.clone_into(secret));
    settings
}

fn load(text: &str) -> Result<Settings, String> {
    let variable = |name: &str| name.starts_with("RINGWAY_").then(|| SECRET.to_owned());
    match read::of_text(text.to_owned(), &variable) {
        Ok(Loaded { settings, warnings, sources, .. }) => {
            let lines: Vec<String> =
                warnings.iter().filter_map(|problem| Some(sources.line(problem.place?))).collect();
            assert!(lines.iter().all(|line| !line.is_empty()), "a warning stands nowhere");
            Ok(settings)
        }
        Err(ConfigError::File(problems)) => {
            assert!(problems.has_errors(), "it is refused without an error");
            let shown = problems.list().len().min(SHOWN_MAX);
            assert_eq!(problems.to_json().as_array().map(Vec::len), Some(shown));
            Err(problems.to_string())
        }
        Err(ConfigError::Usage(message)) => panic!("nobody has said anything on a command line: {message}"),
    }
}
