//! The command line: `ringway run` (or just `ringway`), `ringway demo`, the commands around the configuration
//! file, and those to a proxy that runs.

mod call;
mod check;
mod demo;
mod explain;
mod print;
mod purge;
mod reload;
mod upstream;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};

use crate::config::{
    ConfigError, EndpointAddress, EndpointSettings, ListenAddress, Loaded, Options, Problems, Settings,
    UpstreamSettings,
};
use crate::error::Reason;
use crate::observe::Totals;
use crate::server::{self, RunError, Started, setup};

/// It failed while running, or could not start.
const EXIT_FAILED: u8 = 1;
/// The command line or the environment is wrong.
const EXIT_USAGE: u8 = 2;
/// The configuration file is wrong: `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// A caching HTTP reverse proxy: one io_uring runtime pinned to each core.
#[derive(Parser)]
#[command(
    name = "ringway",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  ringway demo\n  ringway --origin http://127.0.0.1:9001 --port 8080 --cores 2\n  \
                  ringway --origin http://10.0.0.1 --origin http://10.0.0.2 --access-log combined\n  \
                  ringway print-config --example > ringway.toml\n  ringway check ringway.toml\n  \
                  ringway --config ringway.toml\n  ringway purge --prefix http://example.com/news/\n\n\
                  Every option has an environment variable: --port is RINGWAY_PORT. A flag beats a variable, a\n\
                  variable beats the file, and the file beats the default. Times are written like 10s or 500ms,\n\
                  sizes like 32KiB."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy; the same as no command
    Run(RunArgs),
    /// Try it out: two small origins, the proxy in front of them, and a line for each request
    Demo(Options),
    /// Say whether a configuration is right: every mistake at once, each with its place
    Check(check::CheckArgs),
    /// Print the configuration that these options make, with every default, as a file that runs the same
    PrintConfig(print::ConfigArgs),
    /// Print a JSON Schema of the configuration file, by which editors complete it
    PrintSchema,
    /// Have the proxy that runs read its configuration again, and wait until every core has it; SIGHUP does the same
    Reload(reload::ReloadArgs),
    /// Say what becomes of a request, and why, without sending anything
    Explain(explain::ExplainArgs),
    /// Empty the cache of the proxy that runs
    ClearCache(purge::ClearArgs),
    /// Remove stored responses of the proxy that runs: those of a URL, with a prefix, or with a tag
    Purge(purge::PurgeArgs),
    /// Say how the upstreams of the proxy that runs are, or take an endpoint out of service
    Upstream(upstream::UpstreamArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Configuration file: TOML, with the names of these options as keys, and with listeners, upstreams and
    /// routes; ringway print-config --example shows what there is
    #[arg(long, value_name = "FILE", env = "RINGWAY_CONFIG", hide_env = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Does what the command line says, and returns the exit code: 0 done, 1 failed while running, 2 wrong
/// usage, 78 bad configuration.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| complain(&panic.to_string().replace('\n', " "))));
    ExitCode::from(run(std::env::args_os()))
}

fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command {
        Some(Command::Demo(options)) => finish(demo::run(options)),
        Some(Command::Check(args)) => finish(check::run(args)),
        Some(Command::PrintConfig(args)) => finish(print::config(args)),
        Some(Command::PrintSchema) => finish(print::schema()),
        Some(Command::Reload(args)) => finish(reload::run(args)),
        Some(Command::Explain(args)) => finish(explain::run(args)),
        Some(Command::ClearCache(args)) => finish(purge::clear(args)),
        Some(Command::Purge(args)) => finish(purge::purge(args)),
        Some(Command::Upstream(args)) => finish(upstream::run(args)),
        Some(Command::Run(args)) => finish(proxy(args)),
        None => finish(proxy(cli.run)),
    }
}

/// Prints what clap has to say: help and version as they are, an error on one line.
fn usage(error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Nobody reads: nothing can be said about that.
        let _ = error.print();
        return 0;
    }
    let text = error.to_string();
    let cause = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let tip = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "))
        .unwrap_or("ringway --help shows what there is");
    complain(&format!("{cause}; {tip}"));
    EXIT_USAGE
}

/// In which form the answer is written.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Why a command failed.
enum Failure {
    Config(ConfigError),
    Run(RunError),
    /// The proxy could not be called, or did not do what was asked.
    Call(String),
    /// What there is to say about it has been said; this is the exit code.
    Said(u8),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Config(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        Failure::Run(error)
    }
}

fn finish(result: Result<(), Failure>) -> u8 {
    let (message, code) = match result {
        Ok(()) => return 0,
        Err(Failure::Said(code)) => return code,
        Err(Failure::Config(ConfigError::File(problems))) => {
            show(&problems);
            return EXIT_CONFIG;
        }
        Err(Failure::Config(error @ ConfigError::Usage(_))) => (error.to_string(), EXIT_USAGE),
        Err(Failure::Run(error @ RunError::Usage(_))) => (error.to_string(), EXIT_USAGE),
        Err(Failure::Run(error @ RunError::Failed(_))) => (error.to_string(), EXIT_FAILED),
        Err(Failure::Call(message)) => (message, EXIT_FAILED),
    };
    complain(&message);
    code
}

/// Says something on standard error, where the access log does not go.
fn complain(message: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "ringway: {message}");
}

/// Shows what is wrong with a file on standard error, in the form that editors and compilers agree on.
fn show(problems: &Problems) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{problems}");
}

/// Writes to standard output. Whoever reads it may have had enough: that is no failure.
fn say(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(RunError::Failed(format!("cannot write to standard output: {error}")).into())
        }
        _ => Ok(()),
    }
}

impl RunArgs {
    /// Reads and checks the configuration, and shows what is odd about it.
    fn load(self) -> Result<Settings, Failure> {
        let Loaded { settings, warnings, sources, .. } = setup::load(self.options, self.config)?;
        if !warnings.is_empty() {
            show(&Problems::new(warnings, sources));
        }
        Ok(settings)
    }
}

/// Reads the same configuration as at the start, as it is now, with what is odd about it.
fn read_again((options, path): (Options, Option<PathBuf>)) -> Result<(Settings, Vec<String>), String> {
    if path.is_none() {
        return Err("this proxy was started without a file, so there is nothing to read again".to_owned());
    }
    let Loaded { settings, warnings, sources, .. } =
        setup::load(options, path).map_err(|error| error.to_string())?;
    let odd = if warnings.is_empty() { String::new() } else { Problems::new(warnings, sources).to_string() };
    Ok((settings, odd.lines().map(str::to_owned).collect()))
}

fn proxy(args: RunArgs) -> Result<(), Failure> {
    let again = (args.options.clone(), args.config.clone());
    let settings = args.load()?;
    let read_again = Box::new(move || read_again(again.clone()));
    let totals = server::run(&settings, read_again, |started| announce(&settings, started), complain)?;
    complain(&summary(&totals));
    Ok(())
}

/// Says what has started.
fn announce(settings: &Settings, started: &Started) {
    let list = |items: Vec<String>| items.join(", ");
    let shown = |address: &ListenAddress| match address {
        ListenAddress::Tcp(..) => format!("http://{address}"),
        ListenAddress::Unix(_) => address.to_string(),
    };
    let addresses = started.listening.iter().map(shown).collect();
    complain(&format!("listening on {}", list(addresses)));
    let cores = started.cores.iter().map(ToString::to_string).collect();
    complain(&format!(
        "cores {}; {}; up to {} descriptors",
        list(cores),
        started.driver,
        started.descriptors
    ));
    if let Some(note) = &started.driver_note {
        complain(note);
    }
    let cache = match &settings.cache {
        Some(cache) => format!("cache {}", bytesize::ByteSize(cache.bytes as u64)),
        None => "no cache".to_owned(),
    };
    complain(&format!("{cache}; admin {}", started.admin.as_deref().unwrap_or("off")));
    complain(&destinations(settings));
}

/// Where requests go: one line, however many there are.
fn destinations(settings: &Settings) -> String {
    let urls = |upstream: &UpstreamSettings| {
        let url = |endpoint: &EndpointSettings| match &endpoint.address {
            address @ EndpointAddress::Tcp(..) => format!("http://{address}"),
            address => address.to_string(),
        };
        upstream.endpoints.iter().map(url).collect::<Vec<_>>().join(", ")
    };
    match (&*settings.routes, &*settings.upstreams) {
        ([_], [only]) => format!("origins {}", urls(only)),
        (routes, upstreams) => {
            let names: Vec<&str> =
                upstreams.iter().take(SHOWN_MAX).map(|upstream| upstream.name.as_str()).collect();
            let more = upstreams.len().saturating_sub(SHOWN_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let routes = match routes.len() {
                1 => "1 route".to_owned(),
                count => format!("{count} routes"),
            };
            format!("{routes}; upstreams {}{more}", names.join(", "))
        }
    }
}

/// So many upstreams are named at the start.
const SHOWN_MAX: usize = 8;

/// What was counted, in a line or two.
fn summary(totals: &Totals) -> String {
    let mut text = format!(
        "stopped; {} connections, {} requests, {} of them answered from the cache, {} sent on reused upstream \
         connections, {} retries",
        totals.accepted,
        totals.requests,
        totals.cache_hits + totals.cache_stale,
        totals.reused,
        totals.retries
    );
    for (count, what) in [
        (totals.accept_errors, "failed accepts"),
        (totals.panics, "panics"),
        (totals.log_lines_dropped, "log lines dropped"),
        (totals.mirrored, "copies for mirrors"),
        (totals.mirror_skipped, "copies that mirrors did not get"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    let mut not_done: Vec<_> = Reason::ALL
        .iter()
        .filter(|&&reason| reason != Reason::Done && totals.ended(reason) > 0)
        .map(|&reason| format!("{} {}", totals.ended(reason), reason.name()))
        .collect();
    if !not_done.is_empty() {
        not_done.sort();
        text.push_str(&format!("; ended otherwise: {}", not_done.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn code(args: &[&str]) -> u8 {
        run(["ringway"].iter().chain(args).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable() {
        for argument in Cli::command().get_arguments() {
            let name = argument.get_id().as_str();
            let variable = format!("RINGWAY_{}", name.to_uppercase());
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(variable.as_str()), "{name}");
        }
    }

    #[test]
    fn wrong_usage_and_bad_configuration_have_their_exit_codes() {
        assert_eq!(code(&["--nonsense"]), 2);
        assert_eq!(code(&["--origin", "nowhere"]), 2);
        assert_eq!(code(&["--origin", "http://127.0.0.1:9", "--cores", "100000"]), 2);
        assert_eq!(code(&["run"]), 2);
        assert_eq!(code(&["--config", "/nonexistent/ringway.toml"]), 78);
        assert_eq!(code(&["check", "/nonexistent/ringway.toml"]), 78);
        assert_eq!(code(&["check", "--format", "xml"]), 2);
        assert_eq!(code(&["print-config", "--config", "/nonexistent/ringway.toml"]), 78);
        assert_eq!(code(&["--version"]), 0);
        assert_eq!(code(&["--help"]), 0);
    }
}
