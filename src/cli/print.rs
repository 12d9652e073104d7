//! `ringway print-config` and `ringway print-schema`: what the file says, and what it may say.

use clap::Args;

use super::{Failure, RunArgs, say};
use crate::config;

/// Arguments of `print-config`.
#[derive(Args)]
#[command(after_help = "A token is not printed: a variable of the environment stands in its place.")]
pub(super) struct ConfigArgs {
    /// Print a commented file to start from instead, with every part of the format
    #[arg(long)]
    example: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Prints the configuration, or the example.
pub(super) fn config(args: ConfigArgs) -> Result<(), Failure> {
    if args.example {
        return say(config::EXAMPLE);
    }
    say(&config::print(&args.run.load()?))
}

/// Prints the schema.
pub(super) fn schema() -> Result<(), Failure> {
    say(&format!("{:#}\n", config::schema()))
}
