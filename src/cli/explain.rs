//! `ringway explain`: what becomes of a request, and why.

mod text;

use clap::Args;

use super::{Failure, Format, RunArgs, call, say, show};
use crate::config::source::{Place, Sources};
use crate::config::{self, Loaded, Places, Problems};
use crate::proxy::explain::{Account, Question};
use crate::server::admin::wire::EXPLAIN;
use crate::server::{explain, setup};

/// Arguments of `explain`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ringway explain --config ringway.toml http://example.com/api/users/7\n  \
                  ringway explain -X POST -H 'Content-Length: 5' --from 10.0.0.7 http://example.com:8080/upload\n  \
                  ringway explain --live -H 'Cookie: canary=1' http://example.com/\n\n\
                  Nothing is sent, and nothing but the running proxy is asked, if it is. The options of `run` count as\n\
                  they would there. The Host is the one of the URL, unless -H says another; the URL's port says at\n\
                  which listener the request comes in, if one has it.\n\n\
                  Exit codes: 0 it is explained, whatever the answer would be; 1 the proxy cannot be asked; 2 the\n\
                  command line is wrong; 78 the file is."
)]
pub(super) struct ExplainArgs {
    /// What is asked for: http://HOST/PATH
    #[arg(value_name = "URL")]
    url: String,
    /// Method of the request
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: String,
    /// Field of the request, as with curl: 'Name: value'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// Who connects: an address, or unix for somebody at a Unix socket
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    from: String,
    /// Listener at which the request comes in, where the port of the URL does not say it
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Ask the proxy that runs, which says what it has stored and how its endpoints are, too
    #[arg(long)]
    live: bool,
    /// text for people, json for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    format: Format,
    #[command(flatten)]
    run: RunArgs,
}

/// Explains the request, and writes what there is to say to standard output.
pub(super) fn run(args: ExplainArgs) -> Result<(), Failure> {
    let ExplainArgs { url, method, headers, from, listener, live, format, run } = args;
    let question = Question { url, method: Some(method), headers, from: Some(from), listener };
    let account = if live { of_running(run, &question)? } else { of_file(run, &question)? };
    match format {
        Format::Text => say(&text::write(&account)),
        Format::Json => say(&format!("{:#}\n", serde_json::json!(account))),
    }
}

fn of_running(run: RunArgs, question: &Question) -> Result<Account, Failure> {
    // What means nothing is known before any proxy is asked.
    question.check().map_err(crate::server::RunError::Usage)?;
    let at = config::reach(run.options.admin, run.options.admin_token, run.config)?;
    call::post(&at, EXPLAIN, question)
}

fn of_file(run: RunArgs, question: &Question) -> Result<Account, Failure> {
    let Loaded { settings, warnings, sources, places } = setup::load(run.options, run.config)?;
    let mut account = explain::by_settings(&settings, question)?;
    locate(&mut account, &places, &sources, &settings.listeners);
    if !warnings.is_empty() {
        show(&Problems::new(warnings, sources));
    }
    Ok(account)
}

/// Says where the configuration has what is named.
fn locate(account: &mut Account, places: &Places, sources: &Sources, listeners: &[config::ListenerSettings]) {
    let line = |of: &[Option<Place>], index: usize| Some(sources.line((*of.get(index)?)?));
    let close = account.close.iter_mut().map(|close| &mut close.route);
    for route in account.route.iter_mut().chain(close) {
        route.place = line(&places.routes, route.index);
    }
    let listener = listeners.iter().position(|listener| listener.name == account.listener.name);
    account.listener.place = listener.and_then(|index| line(&places.listeners, index));
}

#[cfg(test)]
#[path = "explain/explain_tests.rs"]
mod tests;
