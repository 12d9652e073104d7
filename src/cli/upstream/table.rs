//! Upstreams as people read them: a table for each.

use std::fmt::Write as _;
use std::time::Duration;

use crate::server::admin::upstreams::{EndpointStatus, UpstreamStatus};

/// The columns. Those of numbers are aligned to the right.
const COLUMNS: [(&str, bool); 10] = [
    ("ENDPOINT", false),
    ("STANDING", false),
    ("SINCE", true),
    ("WEIGHT", true),
    ("IN FLIGHT", true),
    ("OPEN", true),
    ("IDLE", true),
    ("REQUESTS", true),
    ("FAILED", true),
    ("PROBE", false),
];

/// Writes all upstreams.
pub(super) fn write(upstreams: &[UpstreamStatus]) -> String {
    let tables: Vec<String> = upstreams.iter().map(upstream).collect();
    tables.join("\n")
}

fn upstream(upstream: &UpstreamStatus) -> String {
    let mut out = format!("{}: {}", upstream.name, upstream.balance);
    // Writing to a text does not fail.
    if let Some(breaker) = &upstream.breaker {
        let _ = write!(out, ", circuit breaker {breaker}");
    }
    if upstream.waiting > 0 {
        let _ = write!(out, ", {} waiting", upstream.waiting);
    }
    if upstream.unresolved {
        out.push_str(", some names have no address yet");
    }
    out.push('\n');
    let rows: Vec<[String; COLUMNS.len()]> = upstream.endpoints.iter().map(row).collect();
    if rows.is_empty() {
        out.push_str("  no endpoints\n");
        return out;
    }
    let wide = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([COLUMNS[column].0.len()]).max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(wide);
    let head = COLUMNS.map(|(name, _)| name.to_owned());
    line(&mut out, &head, &widths);
    for (row, endpoint) in rows.iter().zip(&upstream.endpoints) {
        line(&mut out, row, &widths);
        if let Some(why) = &endpoint.why {
            let _ = writeln!(out, "    {}", printable(why));
        }
    }
    out
}

fn line(out: &mut String, cells: &[String; COLUMNS.len()], widths: &[usize; COLUMNS.len()]) {
    let mut line = String::new();
    for ((cell, width), (_, right)) in cells.iter().zip(widths).zip(COLUMNS) {
        let _ = match right {
            true => write!(line, "  {cell:>width$}"),
            false => write!(line, "  {cell:width$}"),
        };
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

fn row(endpoint: &EndpointStatus) -> [String; COLUMNS.len()] {
    let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let name = match endpoint.from == endpoint.address {
        true => endpoint.address.clone(),
        false => format!("{} ({})", endpoint.address, endpoint.from),
    };
    let backup = if endpoint.backup { ", backup" } else { "" };
    let weight = match endpoint.share_percent {
        100 => endpoint.weight.to_string(),
        percent => format!("{percent}% of {}", endpoint.weight),
    };
    let probe = endpoint.probe.as_ref().map(|probe| match &probe.why {
        None => format!("passed {} ago", age(probe.seconds_ago)),
        Some(why) => format!("failed {} ago: {why}", age(probe.seconds_ago)),
    });
    [
        printable(&name),
        format!("{}{backup}", endpoint.standing),
        age(endpoint.since_seconds),
        weight,
        count(endpoint.in_flight),
        endpoint.connections.to_string(),
        count(endpoint.idle),
        count(endpoint.requests),
        count(endpoint.failures),
        printable(&probe.unwrap_or_else(|| "-".to_owned())),
    ]
}

/// A span of which only the largest parts matter.
fn age(seconds: u64) -> String {
    let coarse = match seconds {
        0..600 => seconds,
        600..36_000 => seconds - seconds % 60,
        36_000..864_000 => seconds - seconds % 3600,
        _ => seconds - seconds % 86_400,
    };
    humantime::format_duration(Duration::from_secs(coarse)).to_string()
}

/// A text that may have come from anywhere, so that it does no harm on a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::admin::upstreams::{ProbeStatus, UpkeepStatus};

    fn endpoint(address: &str) -> EndpointStatus {
        EndpointStatus {
            address: address.to_owned(),
            from: address.to_owned(),
            weight: 1,
            share_percent: 100,
            backup: false,
            standing: "up".to_owned(),
            since_seconds: 754,
            why: None,
            drained: false,
            in_flight: Some(3),
            connections: 15,
            idle: Some(12),
            requests: Some(123_456),
            failures: Some(0),
            probe: None,
        }
    }

    fn upstream(endpoints: Vec<EndpointStatus>) -> UpstreamStatus {
        UpstreamStatus {
            name: "app".to_owned(),
            balance: "round-robin".to_owned(),
            breaker: Some("half-open".to_owned()),
            waiting: 7,
            unresolved: false,
            counted: UpkeepStatus::default(),
            endpoints,
        }
    }

    #[test]
    fn an_upstream_is_a_table() {
        let probe = |why: Option<&str>| ProbeStatus {
            passed: why.is_none(),
            why: why.map(str::to_owned),
            seconds_ago: 2,
        };
        let down = EndpointStatus {
            from: "app.internal:80".to_owned(),
            standing: "down".to_owned(),
            why: Some("3 probes failed, the last with status 503".to_owned()),
            backup: true,
            share_percent: 5,
            probe: Some(probe(Some("status\u{1b}503"))),
            in_flight: None,
            ..endpoint("10.0.0.2:80")
        };
        let up = EndpointStatus { probe: Some(probe(None)), ..endpoint("10.0.0.1:80") };
        let written = write(&[upstream(vec![up, down])]);
        let want = "\
app: round-robin, circuit breaker half-open, 7 waiting
  ENDPOINT                       STANDING      SINCE   WEIGHT  IN FLIGHT  OPEN  IDLE  REQUESTS  FAILED  PROBE
  10.0.0.1:80                    up            12m          1          3    15    12    123456       0  passed 2s ago
  10.0.0.2:80 (app.internal:80)  down, backup  12m    5% of 1          ?    15    12    123456       0  failed 2s ago: status 503
    3 probes failed, the last with status 503
";
        let squeezed = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        assert_eq!(squeezed(&written), squeezed(want));
        let column = |line: usize, word: &str| written.lines().nth(line).unwrap().find(word).unwrap();
        assert_eq!(column(1, "STANDING"), column(2, "up "));
        assert_eq!(column(1, "STANDING"), column(3, "down"));
        assert_eq!(column(1, "IDLE") + 2, column(2, "12  "));
    }

    #[test]
    fn an_upstream_without_endpoints_says_so() {
        let lost = UpstreamStatus { unresolved: true, breaker: None, waiting: 0, ..upstream(Vec::new()) };
        let written = write(&[lost.clone(), lost]);
        let one = "app: round-robin, some names have no address yet\n  no endpoints\n";
        assert_eq!(written, format!("{one}\n{one}"));
    }

    #[test]
    fn ages_are_coarse() {
        for (seconds, want) in
            [(0, "0s"), (59, "59s"), (599, "9m 59s"), (601, "10m"), (37_000, "10h"), (900_000, "10days")]
        {
            assert_eq!(age(seconds), want);
        }
    }
}
