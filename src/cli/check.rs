//! `ringway check`: whether a configuration is right.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{EXIT_CONFIG, EXIT_USAGE, Failure, Format, RunArgs, complain, say};
use crate::config::source::Sources;
use crate::config::{ConfigError, Loaded, Problem, Problems, Settings};
use crate::server::setup;

/// Arguments of `check`.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 it is right, 78 the file is wrong, 2 the command line is. Warnings leave it right.\n\n\
                        Nothing is started, and nothing is asked of the network. The options of `run` count as they would\n\
                        there: what they say beats the file."
)]
pub(super) struct CheckArgs {
    /// File to check, in place of --config
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// text for people, json for editors: {"file", "valid", "problems"}
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    format: Format,
    #[command(flatten)]
    run: RunArgs,
}

/// Checks, and writes what there is to say to standard output.
pub(super) fn run(args: CheckArgs) -> Result<(), Failure> {
    let CheckArgs { file, format, run } = args;
    let file = file.or(run.config);
    let (verdict, problems, good) = match setup::load(run.options, file.clone()) {
        Ok(Loaded { settings, warnings, sources, .. }) => {
            (Ok(()), Problems::new(warnings, sources), Some(summary(&settings)))
        }
        Err(ConfigError::File(problems)) => (Err(EXIT_CONFIG), problems, None),
        Err(ConfigError::Usage(message)) => {
            let problems = Problems::new(vec![Problem::nowhere(&message)], Sources::default());
            if let Format::Text = format {
                complain(&message);
                return Err(Failure::Said(EXIT_USAGE));
            }
            (Err(EXIT_USAGE), problems, None)
        }
    };
    match format {
        Format::Json => {
            let file = file.map(|file| file.to_string_lossy().into_owned());
            let answer = json!({ "file": file, "valid": verdict.is_ok(), "problems": problems.to_json() });
            say(&format!("{answer:#}\n"))?;
        }
        Format::Text => {
            if !problems.list().is_empty() {
                say(&format!("{problems}\n"))?;
            }
            if let Some(summary) = good {
                let what =
                    file.map_or_else(|| "the command line".to_owned(), |file| file.display().to_string());
                say(&format!("{what}: good: {summary}\n"))?;
            }
        }
    }
    verdict.map_err(Failure::Said)
}

/// What there is: `2 listeners, 1 upstream, 12 routes`.
fn summary(settings: &Settings) -> String {
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}",
        count(settings.listeners.len(), "listener"),
        count(settings.upstreams.len(), "upstream"),
        count(settings.routes.len(), "route")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_counted_in_words_that_fit() {
        let mut settings = Settings::for_tests();
        assert_eq!(summary(&settings), "1 listener, 1 upstream, 1 route");
        settings.routes.push(settings.routes[0].clone());
        assert_eq!(summary(&settings), "1 listener, 1 upstream, 2 routes");
    }
}
