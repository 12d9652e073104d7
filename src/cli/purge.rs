//! `ringway clear-cache` and `ringway purge`: orders to a proxy that runs.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::{Failure, call};
use crate::config::{self, AdminAddress, ConfigError, Token};
use crate::server::admin::wire::{CLEAR, PURGE, PurgeRequest, Purged};

/// Which proxy is meant.
#[derive(Args)]
pub(super) struct Reach {
    /// Where the proxy takes orders: unix:PATH or HOST:PORT [default: the socket of your own proxy]
    #[arg(long, value_name = "ADDRESS", env = "RINGWAY_ADMIN", hide_env = true)]
    pub(super) admin: Option<AdminAddress>,
    /// What to show at an admin port; other users can see flags, so better a variable or the file
    #[arg(long, value_name = "TOKEN", env = "RINGWAY_ADMIN_TOKEN", hide_env = true)]
    pub(super) admin_token: Option<Token>,
    /// The proxy's file, to take address and token from
    #[arg(long, value_name = "FILE", env = "RINGWAY_CONFIG", hide_env = true)]
    pub(super) config: Option<PathBuf>,
}

/// Arguments of `clear-cache`.
#[derive(Args)]
pub(super) struct ClearArgs {
    /// Mark the responses stale rather than remove them: they are validated before they are used again,
    /// or meanwhile, where stale-while-revalidate or --cache-grace allows it
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Arguments of `purge`.
#[derive(Args)]
pub(super) struct PurgeArgs {
    /// Remove the responses of this URL
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Remove all whose URL begins like this; without a path, those of the whole host
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// Remove all with this tag, from the fields Cache-Tag and Surrogate-Key
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// Mark the responses stale rather than remove them: they are validated before they are used again,
    /// or meanwhile, where stale-while-revalidate or --cache-grace allows it
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Empties the cache.
pub(super) fn clear(args: ClearArgs) -> Result<(), Failure> {
    order(args.reach, CLEAR, &PurgeRequest { soft: args.soft, ..PurgeRequest::default() })
}

/// Removes what is named.
pub(super) fn purge(args: PurgeArgs) -> Result<(), Failure> {
    let PurgeArgs { url, prefix, tag, soft, reach } = args;
    let given = [&url, &prefix, &tag].into_iter().flatten().count();
    let request = PurgeRequest { url, prefix, tag, soft };
    let wrong = |message: String| Failure::Config(ConfigError::Usage(message));
    if given != 1 {
        let message = "say one thing to purge: a URL, --prefix URL or --tag NAME; ringway clear-cache empties the \
                       whole cache";
        return Err(wrong(message.to_owned()));
    }
    // What means nothing is known before any proxy is asked.
    request.some().map_err(wrong)?;
    order(reach, PURGE, &request)
}

fn order(reach: Reach, path: &str, request: &PurgeRequest) -> Result<(), Failure> {
    let at = config::reach(reach.admin, reach.admin_token, reach.config)?;
    let Purged { removed } = call::post(&at, path, request)?;
    let responses = if removed == 1 { "response" } else { "responses" };
    let done = if request.soft { "marked stale" } else { "removed" };
    // Nobody reads: it is done all the same.
    let _ = writeln!(std::io::stdout(), "ringway: {removed} {responses} {done}");
    Ok(())
}
