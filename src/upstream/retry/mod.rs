//! Whether a request that failed may be sent again, and when.

pub mod backoff;
pub mod budget;

use crate::config::Retry;
use crate::error::Reason;

/// How far a try had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was no connection, so nothing was sent.
    NotConnected,
    /// No byte of the request had been taken by a connection that had served before: nothing can have been processed.
    NotSent,
    /// Bytes had been sent on a connection that had served before, and it closed without a byte in
    /// answer: most likely the upstream closed it while the request was on its way.
    ClosedWhenReused,
    /// The request may have been processed, and its connection broke without a byte in answer.
    Broken,
    /// The request may have been processed, and its response did not come in time.
    TimedOut,
    /// The response has a status that its endpoint alone may be to blame for.
    Status,
    /// Anything else: the response is of no use, or the client is to blame.
    Beyond,
}

impl Progress {
    /// How far a try had come that failed for that reason, with bytes of the request sent.
    pub const fn of(reason: Reason) -> Progress {
        match reason {
            Reason::UpstreamClosed | Reason::UpstreamReset => Progress::Broken,
            Reason::UpstreamFirstByteTimeout | Reason::UpstreamReadTimeout | Reason::UpstreamWriteTimeout => {
                Progress::TimedOut
            }
            _ => Progress::Beyond,
        }
    }
}

/// What is known about the request and its tries.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// How far the last one had come.
    pub progress: Progress,
    /// Whether the method is idempotent (RFC 9110, section 9.2.2).
    pub idempotent: bool,
    /// Whether all of the request is still at hand, and nothing of its response has gone to the client.
    pub replayable: bool,
    /// Tries after the first, so far.
    pub retries: u32,
    /// The most there may be.
    pub retries_max: u32,
}

/// How to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Another endpoint is to be asked; if there is none, the request is not sent again. A connection that was stale says
    /// nothing about its endpoint.
    pub elsewhere: bool,
    /// The endpoint may have worked for the last try: too much of that is a storm, so it counts against the budget.
    pub spends: bool,
}

/// Whether to try again, and how. A request that may have been processed is sent again only if that makes no
/// difference, so that a POST never takes effect twice.
pub const fn may_retry(rules: &Retry, last: Try) -> Option<Again> {
    if !last.replayable || last.retries >= last.retries_max {
        return None;
    }
    let stale = Again { elsewhere: false, spends: false };
    let worked = Again { elsewhere: true, spends: true };
    match last.progress {
        Progress::NotConnected if rules.on_connect => Some(Again { elsewhere: true, spends: false }),
        Progress::NotSent => Some(stale),
        Progress::ClosedWhenReused if last.idempotent => Some(stale),
        Progress::Broken if rules.on_reset && last.idempotent => Some(worked),
        Progress::TimedOut if rules.on_timeout && last.idempotent => Some(worked),
        Progress::Status if last.idempotent => Some(worked),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_tries() {
        use Progress::*;
        let stale = Some(Again { elsewhere: false, spends: false });
        let worked = Some(Again { elsewhere: true, spends: true });
        let unsent = Some(Again { elsewhere: true, spends: false });
        //   progress          idempotent  replayable  retries  again
        let cases = [
            (NotConnected, false, true, 0, unsent),
            (NotConnected, true, true, 2, None),
            (NotSent, false, true, 0, stale),
            (NotSent, true, true, 1, stale),
            (NotSent, true, true, 2, None),
            (NotSent, true, false, 0, None),
            (ClosedWhenReused, true, true, 0, stale),
            (ClosedWhenReused, false, true, 0, None),
            (ClosedWhenReused, true, false, 0, None),
            (Broken, true, true, 0, worked),
            (Broken, false, true, 0, None),
            (Broken, true, false, 0, None),
            (TimedOut, true, true, 0, worked),
            (TimedOut, false, true, 0, None),
            (Status, true, true, 1, worked),
            (Status, false, true, 1, None),
            (Beyond, true, true, 0, None),
            (Beyond, false, true, 0, None),
        ];
        let rules = Retry { on_timeout: true, ..Retry::default() };
        for (progress, idempotent, replayable, retries, want) in cases {
            let last = Try { progress, idempotent, replayable, retries, retries_max: 2 };
            assert_eq!(may_retry(&rules, last), want, "{last:?}");
        }
        let none = Retry { on_connect: false, on_reset: false, on_timeout: false, ..rules };
        for progress in [NotConnected, Broken, TimedOut] {
            let last = Try { progress, idempotent: true, replayable: true, retries: 0, retries_max: 2 };
            assert_eq!(may_retry(&none, last), None, "{last:?}");
        }
    }

    #[test]
    fn what_is_not_for_the_upstream_to_answer_for_is_never_sent_again() {
        for reason in Reason::ALL {
            let broken = matches!(reason, Reason::UpstreamClosed | Reason::UpstreamReset);
            let late = reason.name().ends_with("_timeout") && reason.name().starts_with("upstream");
            let late =
                late && !matches!(reason, Reason::UpstreamConnectTimeout | Reason::UpstreamQueueTimeout);
            let want = match () {
                () if broken => Progress::Broken,
                () if late => Progress::TimedOut,
                () => Progress::Beyond,
            };
            assert_eq!(Progress::of(*reason), want, "{reason:?}");
        }
    }
}
