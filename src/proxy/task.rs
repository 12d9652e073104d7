//! Work that goes on beside the exchanges.

use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use futures_util::FutureExt;

use super::core::Core;
use super::guard::guarded;

/// Lets everything else on this core have a turn. Where sockets are always ready, epoll never makes a task wait.
pub(super) async fn give_way() {
    let mut has_waited = false;
    std::future::poll_fn(|task| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Gives work a task of its own. A panic in it is counted, and hurts nobody else.
pub(super) fn spawn(core: &Rc<Core>, work: impl Future<Output = ()> + 'static) {
    let core = core.clone();
    monoio::spawn(guarded(work).map(move |ended| {
        if ended.is_err() {
            core.counters.panics.increment();
        }
    }));
}
