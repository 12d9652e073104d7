//! `ringway upstream`: how the upstreams of a proxy that runs are, and orders about their endpoints.

mod table;

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::purge::Reach;
use super::{Failure, call, say};
use crate::clock::Clock;
use crate::config::{self, AdminSettings};
use crate::server::admin::upstreams::{
    DRAIN, DrainAnswer, DrainRequest, DrainedEndpoint, RESTORE, UPSTREAMS, UpstreamsAnswer,
};

/// How often it is looked whether requests are still in flight.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `upstream`.
#[derive(Args)]
#[command(after_help = "Examples:\n  ringway upstream list\n  ringway upstream list app --json\n  \
                  ringway upstream drain 10.0.0.1:9001 --wait 30s\n  \
                  ringway upstream restore app.internal:9001 --upstream app")]
pub(super) struct UpstreamArgs {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Say how upstreams and their endpoints are
    List(ListArgs),
    /// Give an endpoint no more requests, until it is restored; those in flight go on
    Drain(DrainArgs),
    /// Give it requests again
    Restore(WhichArgs),
}

#[derive(Args)]
struct ListArgs {
    /// Only this upstream
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args)]
struct DrainArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Return when no request is in flight there any more; exit code 1 if that takes longer
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
}

#[derive(Args)]
struct WhichArgs {
    /// Its address; or the name in the configuration: then all that it stands for
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// Its upstream, where several have the endpoint
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// Does what is asked.
pub(super) fn run(args: UpstreamArgs) -> Result<(), Failure> {
    match args.order {
        Order::List(args) => list(args),
        Order::Drain(DrainArgs { which, wait }) => drain(which, wait),
        Order::Restore(which) => restore(which),
    }
}

fn reach(reach: Reach) -> Result<AdminSettings, Failure> {
    Ok(config::reach(reach.admin, reach.admin_token, reach.config)?)
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let at = reach(args.reach)?;
    let UpstreamsAnswer { mut upstreams } = call::get(&at, UPSTREAMS)?;
    if let Some(name) = &args.name {
        let all: Vec<String> = upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        upstreams.retain(|upstream| upstream.name == *name);
        if upstreams.is_empty() {
            return Err(Failure::Call(format!("there is no upstream {name}; there is {}", all.join(", "))));
        }
    }
    match args.json {
        true => say(&format!("{:#}\n", serde_json::json!(UpstreamsAnswer { upstreams }))),
        false => say(&table::write(&upstreams)),
    }
}

fn restore(which: WhichArgs) -> Result<(), Failure> {
    let WhichArgs { endpoint, upstream, reach: at } = which;
    let answer: DrainAnswer = call::post(&reach(at)?, RESTORE, &DrainRequest { upstream, endpoint })?;
    for DrainedEndpoint { upstream, address, changed, .. } in answer.endpoints {
        let done = if changed { "is restored" } else { "was not drained" };
        tell(&format!("{address} of {upstream} {done}"));
    }
    Ok(())
}

fn drain(which: WhichArgs, wait: Option<Duration>) -> Result<(), Failure> {
    let WhichArgs { endpoint, upstream, reach: at } = which;
    let at = reach(at)?;
    let answer: DrainAnswer = call::post(&at, DRAIN, &DrainRequest { upstream, endpoint })?;
    for DrainedEndpoint { upstream, address, changed, in_flight } in &answer.endpoints {
        let done = if *changed { "is draining" } else { "was draining already" };
        let left = in_flight.map_or_else(String::new, |count| format!("; {}", requests(count)));
        tell(&format!("{address} of {upstream} {done}{left}"));
    }
    let Some(wait) = wait else { return Ok(()) };
    let clock = Clock::default();
    let started = clock.now();
    let mut left = in_flight(answer.endpoints.iter().map(|one| one.in_flight));
    while left != Some(0) {
        let Some(rest) = wait.checked_sub(clock.now().since(started)) else {
            let left = left.map_or_else(|| "a core does not answer".to_owned(), requests);
            return Err(Failure::Call(format!("after {}: {left}", humantime::format_duration(wait))));
        };
        std::thread::sleep(rest.min(LOOK));
        left = still(&at, &answer.endpoints)?;
    }
    tell("no request is in flight there any more");
    Ok(())
}

/// How many requests are in flight at these endpoints; one that is no longer there has none.
fn still(at: &AdminSettings, endpoints: &[DrainedEndpoint]) -> Result<Option<u64>, Failure> {
    let UpstreamsAnswer { upstreams } = call::get(at, UPSTREAMS)?;
    let count = |one: &DrainedEndpoint| {
        let upstream = upstreams.iter().find(|upstream| upstream.name == one.upstream);
        let found = upstream
            .and_then(|upstream| upstream.endpoints.iter().find(|endpoint| endpoint.address == one.address));
        found.map_or(Some(0), |endpoint| endpoint.in_flight)
    };
    Ok(in_flight(endpoints.iter().map(count)))
}

/// All together; none if some are not known.
fn in_flight(counts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    counts.sum()
}

fn requests(count: u64) -> String {
    match count {
        0 => "no request is in flight there".to_owned(),
        1 => "1 request is in flight there".to_owned(),
        _ => format!("{count} requests are in flight there"),
    }
}

/// Says a line. Nobody may read it: it is done all the same.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "ringway: {line}");
}
