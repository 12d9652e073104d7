//! How far a try at an endpoint has come.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Moment;
use crate::config::Retry;
use crate::error::Reason;
use crate::proxy::request::admit::Admitted;
use crate::upstream::retry;

/// What the two directions of an exchange tell each other.
#[derive(Default)]
pub(in crate::proxy) struct Progress<'a> {
    /// Content is being read from the client: the request is no longer at hand as a whole.
    pub(in crate::proxy) uploading: Cell<bool>,
    /// The client may be waiting to be asked for its content, for it has sent none of it yet.
    pub(in crate::proxy) waiting: Cell<bool>,
    /// All of the request has gone to the upstream.
    pub(in crate::proxy) uploaded: Cell<bool>,
    /// The upstream has begun its final response.
    pub(in crate::proxy) answered: Cell<bool>,
    /// A byte of the final response may have gone to the client.
    pub(in crate::proxy) responding: Cell<bool>,
    /// The status of the final response; 0 before that.
    pub(in crate::proxy) status: Cell<u16>,
    /// When the request went out, where it matters how long the response takes.
    pub(in crate::proxy) asked: Cell<Option<Moment>>,
    /// How long the head of the response took from there.
    pub(in crate::proxy) took: Cell<Option<Duration>>,
    /// The statuses for which the request is sent again.
    pub(in crate::proxy) repeats: &'a [(u16, u16)],
    /// The tick before which it is.
    pub(in crate::proxy) repeats_before: u32,
    /// When the request is sent again otherwise.
    pub(in crate::proxy) rules: Option<&'a Retry>,
    /// Whether content is kept, so that it can be sent again.
    pub(in crate::proxy) keeps: bool,
    /// All of it was.
    pub(in crate::proxy) kept: Cell<bool>,
    /// The endpoint that the client is told to stay at.
    pub(in crate::proxy) introduces: Option<u64>,
}

impl<'a> Progress<'a> {
    /// Before the first byte has gone anywhere.
    pub(in crate::proxy) fn of(admitted: &Admitted) -> Progress<'a> {
        let progress = Progress::default();
        progress.uploaded.set(admitted.whole);
        progress.waiting.set(admitted.expects_continue && !admitted.whole);
        progress
    }
}

impl Progress<'_> {
    /// Whether the rest of the content is worth collecting once the upstream has failed for that reason.
    pub(in crate::proxy) fn collects_after(&self, reason: Reason) -> bool {
        let repeats = self.rules.is_some_and(|rules| match retry::Progress::of(reason) {
            retry::Progress::Broken => rules.on_reset,
            retry::Progress::TimedOut => rules.on_timeout,
            _ => false,
        });
        // Who waits to be asked for content sends none.
        repeats && self.keeps && !self.responding.get() && !self.waiting.get()
    }

    /// Whether the request is to be sent again for a response of that status, which comes at the tick `now`.
    pub(in crate::proxy) fn repeats(&self, status: u16, now: u32) -> bool {
        let is_at_hand = (!self.uploading.get() || self.kept.get()) && !self.responding.get();
        is_at_hand
            && now < self.repeats_before
            && self.repeats.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }
}
