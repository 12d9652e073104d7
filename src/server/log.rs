//! Carries the access log to standard output, so that a slow reader there never holds a worker up.

use std::io::Write as _;
use std::time::Duration;

use crate::observe::Format;

/// Batches that may wait to be written.
const BATCHES_MAX: usize = 64;

/// How long the last lines may take to be written when the process ends.
const FINISH_TIME: Duration = Duration::from_secs(2);

/// The thread that writes.
pub(super) struct Log {
    sender: Option<flume::Sender<Vec<u8>>>,
    done: flume::Receiver<()>,
}

/// Starts it, if anything is to be logged.
pub(super) fn start(format: Format) -> Log {
    let (sender, batches) = flume::bounded::<Vec<u8>>(BATCHES_MAX);
    let (finished, done) = flume::bounded(1);
    if format == Format::Off {
        return Log { sender: None, done };
    }
    let writing = super::spawn("log", move || {
        let mut out = std::io::stdout().lock();
        for batch in batches {
            // Nobody reads any more: the proxy goes on without them.
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                break;
            }
        }
        let _ = finished.send(());
    });
    Log { sender: writing.is_ok().then_some(sender), done }
}

impl Log {
    /// Where batches go, if anything is logged.
    pub(super) fn sender(&self) -> Option<flume::Sender<Vec<u8>>> {
        self.sender.clone()
    }

    /// Waits a moment for the last lines. The workers have ended, and their senders with them.
    pub(super) fn finish(mut self) {
        if self.sender.take().is_some() {
            let _ = self.done.recv_timeout(FINISH_TIME);
        }
    }
}
