//! A gate: what an origin waits at until the scenario lets it go on.

use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

/// Holds scripts back until the scenario lets them go on.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Waits until the gate was opened so many times.
    pub(crate) fn pass(&self, times: usize) {
        let (count, changed) = &*self.0;
        let count = count.lock().unwrap();
        let (_count, late) = changed.wait_timeout_while(count, 2 * PATIENCE, |count| *count < times).unwrap();
        assert!(!late.timed_out(), "the gate was not opened {times} times");
    }

    /// Opens it once more.
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_all();
    }
}
