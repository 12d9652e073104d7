//! Whether a request that failed may be sent again.

/// How far a try had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No byte of the request had been taken by the connection: nothing can have been processed.
    NotSent,
    /// Bytes had been sent on a connection that had served before, and it closed without a byte in
    /// answer: most likely the upstream closed it while the request was on its way.
    ClosedWhenReused,
    /// Anything else: the request may have been processed, or was answered in part.
    Beyond,
}

/// What is known about the request and its tries.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// How far the last one had come.
    pub progress: Progress,
    /// Whether the method is idempotent (RFC 9110, section 9.2.2).
    pub idempotent: bool,
    /// Whether all of the request is still at hand.
    pub replayable: bool,
    /// Tries after the first, so far.
    pub retries: u32,
    /// The most there may be.
    pub retries_max: u32,
}

/// Whether to try again. A request that may have been processed is sent again only if that makes no
/// difference, so that a POST never takes effect twice.
pub const fn may_retry(last: Try) -> bool {
    last.replayable
        && last.retries < last.retries_max
        && match last.progress {
            Progress::NotSent => true,
            Progress::ClosedWhenReused => last.idempotent,
            Progress::Beyond => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_tries() {
        use Progress::*;
        //   progress          idempotent  replayable  retries  again
        let cases = [
            (NotSent, false, true, 0, true),
            (NotSent, true, true, 1, true),
            (NotSent, true, true, 2, false),
            (NotSent, true, false, 0, false),
            (ClosedWhenReused, true, true, 0, true),
            (ClosedWhenReused, false, true, 0, false),
            (ClosedWhenReused, true, false, 0, false),
            (Beyond, true, true, 0, false),
            (Beyond, false, true, 0, false),
        ];
        for (progress, idempotent, replayable, retries, want) in cases {
            let last = Try { progress, idempotent, replayable, retries, retries_max: 2 };
            assert_eq!(may_retry(last), want, "{last:?}");
        }
    }
}
