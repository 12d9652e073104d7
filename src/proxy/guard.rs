//! A panic ends the connection that it happened in, and nothing else.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// Runs a future; a panic in it becomes an error.
pub(crate) fn guarded<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Box<dyn Any + Send>>> {
    // The future is never polled again after a panic, and what it shared with others is counters,
    // pools and tables that are changed in single steps.
    AssertUnwindSafe(future).catch_unwind()
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let Poll::Ready(Err(panic)) = poll(guarded(async { panic!("number {}", 7) })) else {
            panic!("not caught");
        };
        assert_eq!(message(&*panic), "number 7");
    }

    #[test]
    fn everything_else_passes_through() {
        assert!(matches!(poll(guarded(async { 7 })), Poll::Ready(Ok(7))));
        assert!(matches!(poll(guarded(std::future::pending::<()>())), Poll::Pending));
    }
}
