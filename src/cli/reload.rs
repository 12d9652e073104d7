//! `ringway reload`: has a proxy that runs read its configuration again.

use std::io::Write as _;

use clap::Args;

use super::purge::Reach;
use super::{EXIT_CONFIG, Failure, call, complain};
use crate::config;
use crate::server::admin::wire::{RELOAD, ReloadAnswer};

/// Arguments of `reload`.
#[derive(Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    reach: Reach,
}

/// Reloads, and waits until every core has the new configuration.
pub(super) fn run(args: ReloadArgs) -> Result<(), Failure> {
    let Reach { admin, admin_token, config } = args.reach;
    let at = config::reach(admin, admin_token, config)?;
    let answer: ReloadAnswer = match call::ask(&at, RELOAD, &serde_json::json!({}))? {
        Ok(answer) => answer,
        Err((status, why)) if status.as_u16() == 422 => {
            complain("the proxy keeps the configuration that it has, because of the new one:");
            let _ = writeln!(std::io::stderr(), "{why}");
            return Err(Failure::Said(EXIT_CONFIG));
        }
        Err((_, why)) => return Err(Failure::Call(why)),
    };
    answer.notes.iter().for_each(|note| complain(note));
    let ReloadAnswer { took_ms, workers, late, .. } = answer;
    let reached = workers - late.len();
    // Nobody reads: it is done all the same.
    let _ = writeln!(
        std::io::stdout(),
        "ringway: reloaded on {reached} of {workers} cores within {took_ms:.1} ms"
    );
    if late.is_empty() {
        return Ok(());
    }
    let places: Vec<_> = late.iter().map(ToString::to_string).collect();
    Err(Failure::Call(format!(
        "it has not reached worker {} yet; it will as soon as that one goes on",
        places.join(", ")
    )))
}
