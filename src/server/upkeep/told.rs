//! What is told of upstreams, in words: each change once, and never so many lines that nobody reads them.

use std::time::Duration;

use crate::config::WhenDown;
use crate::error::Reason;
use crate::upstream::health::{Counts, ejection};

/// So many lines may come at once.
const BURST: u32 = 100;

/// From then on one in that time.
const PACE: Duration = Duration::from_millis(200);

/// Lines for whoever watches, bounded.
#[derive(Debug)]
pub(super) struct Notes {
    lines: Vec<String>,
    /// How many more may come at once.
    room: u32,
    /// When room was made last.
    paced: Duration,
    left_out: u64,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes { lines: Vec::new(), room: BURST, paced: Duration::ZERO, left_out: 0 }
    }
}

impl Notes {
    /// Tells something, unless too much was told of late.
    pub(super) fn say(&mut self, now: Duration, line: String) {
        let made = now.saturating_sub(self.paced).as_nanos() / PACE.as_nanos();
        let made = u32::try_from(made).unwrap_or(BURST);
        if made > 0 {
            self.room = self.room.saturating_add(made).min(BURST);
            self.paced = now;
        }
        if self.room == 0 {
            self.left_out += 1;
            return;
        }
        self.room -= 1;
        if self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            self.lines
                .push(format!("{count} more changes of upstreams were not told, for there were too many"));
        }
        self.lines.push(line);
    }

    /// What there is to tell.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

/// Of so many lines of one kind each is told.
const EACH_MAX: usize = 16;

/// A span as people read it: seconds, and parts of them only below one.
pub(super) fn span(span: Duration) -> String {
    let plain = match span.as_secs() {
        0 => Duration::from_millis(u64::from(span.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(plain).to_string()
}

/// Lines of one kind, or one that says how many there are: among thousands others would be lost.
pub(super) fn each_or_all(lines: Vec<String>, what: &str) -> Vec<String> {
    match lines.len() {
        0..=EACH_MAX => lines,
        count => vec![format!("{count} {what}")],
    }
}

/// Why an endpoint that joins others is down at first.
pub(super) const UNPROBED: &str = "not probed yet";

/// Why an endpoint is down.
pub(super) fn probes_failed(count: u32, last: &str) -> String {
    match count {
        1 => format!("a probe failed with {last}"),
        _ => format!("{count} probes failed, the last with {last}"),
    }
}

/// No endpoint is up, if there are any, and what becomes of requests.
pub(super) fn none_up(are_any: bool, when_down: WhenDown) -> &'static str {
    match (are_any, when_down) {
        (false, _) => "it has no endpoints",
        (true, WhenDown::Try) => "none of its endpoints is up; they are tried all the same",
        (true, WhenDown::Fail) => "none of its endpoints is up; requests are refused with 503",
    }
}

/// Some endpoint is up again, after so long.
pub(super) fn some_up(time: Duration) -> String {
    format!("after {} it has an endpoint that is up again", span(time))
}

/// Why an endpoint is ejected.
pub(super) fn requests_failed(cause: ejection::Cause, last: Option<Reason>) -> String {
    let what = match cause {
        ejection::Cause::Run(1) => "a failure".to_owned(),
        ejection::Cause::Run(count) => format!("{count} failures in a row"),
        ejection::Cause::Rate(counts) => rate(counts),
    };
    format!("{what}, the last: {}", last.map_or("its status", Reason::name))
}

/// What failed of a window.
pub(super) fn rate(counts: Counts) -> String {
    format!("{}% of {} requests failed", counts.percent_failed(), counts.requests())
}

/// A name of an endpoint that has no address, when a configuration comes; and why, if that is known.
pub(super) fn no_address(authority: &str, why: &str) -> String {
    let told = format!("the origin {authority} has no address yet; it is looked up again and again");
    if why.is_empty() { told } else { format!("{told} ({why})") }
}

/// An upstream has more endpoints than it may have: [`super::discover::MEMBERS_MAX`].
pub(super) const MORE_MEMBERS: &str = "there are more than 4096 endpoints; the others are left out";

/// A name that stands for more than is used.
pub(super) fn more_found(what: &str, max: usize) -> String {
    format!("{what} stands for more than {max} addresses or services; the others are left out")
}

/// A name that cannot be looked up any more.
pub(super) fn not_found(what: &str, why: &str) -> String {
    format!("{what} can no longer be looked up: {why}; what was found last stays in use")
}

/// A name that can.
pub(super) fn found_again(what: &str) -> String {
    format!("{what} can be looked up again")
}

/// A file without a list, when there was none before.
pub(super) fn no_list(why: &str) -> String {
    format!("a list of endpoints cannot be used yet: {why}")
}

/// A file without a list, when there was one before.
pub(super) fn list_broken(why: &str) -> String {
    format!("a list of endpoints cannot be used: {why}; its last good content stays in use")
}

/// A file that has a list again.
pub(super) fn list_good(path: &std::path::Path) -> String {
    format!("the list of endpoints {} can be used again", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_of_a_kind_are_one() {
        let lines = |count: usize| vec!["x has gone".to_owned(); count];
        assert_eq!(each_or_all(lines(EACH_MAX), "endpoints have gone"), lines(EACH_MAX));
        assert_eq!(each_or_all(lines(3000), "endpoints have gone"), ["3000 endpoints have gone"]);
    }

    #[test]
    fn too_many_lines_are_counted_instead() {
        let mut notes = Notes::default();
        for number in 0..250 {
            notes.say(Duration::ZERO, number.to_string());
        }
        let told = notes.take();
        assert_eq!((told.len(), told.last().map(String::as_str)), (100, Some("99")));
        notes.say(PACE / 2, "not yet".to_owned());
        assert!(notes.take().is_empty());
        notes.say(PACE, "now".to_owned());
        let told = notes.take();
        assert!(told[0].starts_with("151 more"), "{told:?}");
        assert_eq!(told[1], "now");
        // It does not save up more than it had.
        for number in 0..250 {
            notes.say(Duration::from_secs(3600), number.to_string());
        }
        assert_eq!(notes.take().len(), 100);
    }

    #[test]
    fn a_table_of_words() {
        for (written, want) in [
            (span(Duration::from_millis(12_700)), "12s"),
            (span(Duration::from_micros(500_900)), "500ms"),
            (span(Duration::from_secs(90)), "1m 30s"),
            (span(Duration::ZERO), "0s"),
            (probes_failed(3, "status 503"), "3 probes failed, the last with status 503"),
            (probes_failed(1, "connection refused"), "a probe failed with connection refused"),
            (
                requests_failed(ejection::Cause::Run(5), Some(Reason::UpstreamRefused)),
                "5 failures in a row, the last: upstream_refused",
            ),
            (
                requests_failed(ejection::Cause::Rate(Counts { succeeded: 16, failed: 24 }), None),
                "60% of 40 requests failed, the last: its status",
            ),
        ] {
            assert_eq!(written, want);
        }
    }
}
