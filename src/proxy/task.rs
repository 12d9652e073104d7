//! Work that goes on beside the exchanges.

use std::future::Future;
use std::rc::Rc;

use futures_util::FutureExt;

use super::core::Core;
use super::guard::guarded;

/// Gives work a task of its own. A panic in it is counted, and hurts nobody else.
pub(super) fn spawn(core: &Rc<Core>, work: impl Future<Output = ()> + 'static) {
    let core = core.clone();
    monoio::spawn(guarded(work).map(move |ended| {
        if ended.is_err() {
            core.counters.panics.increment();
        }
    }));
}
