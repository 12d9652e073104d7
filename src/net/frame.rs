//! What only goes on for a while, in memory of the pool rather than in its task.
//!
//! A task is as large as the largest thing that it ever does. A connection is idle most of the time: so what it does for
//! a request lies in memory that is lent for that long, and its task stays small.

#![allow(unsafe_code, reason = "a value that is made, polled and dropped in memory of the pool")]

use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::buffer::{Buffer, BufferPool, Class};

/// A future in memory that is lent to it.
pub(crate) struct Lent<F: Future> {
    /// Lies in `memory`, initialised, and is dropped before that goes.
    future: NonNull<F>,
    _memory: Buffer,
}

impl BufferPool {
    /// Makes a future in memory of the pool.
    pub(crate) fn lend<F: Future>(&self, make: impl FnOnce() -> F) -> Lent<F> {
        const { assert!(align_of::<F>() <= Buffer::ALIGNMENT) };
        let memory = self.take(const { Class::holding(size_of::<F>()) });
        let future = memory.place().cast::<F>();
        debug_assert!(future.is_aligned());
        // SAFETY: the memory is as large as that, aligned, ours alone, and nothing else is in it.
        unsafe { future.write(make()) };
        Lent { future, _memory: memory }
    }
}

impl<F: Future> Future for Lent<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future stays where it was made until it is dropped there.
        unsafe { Pin::new_unchecked(self.future.as_mut()) }.poll(cx)
    }
}

impl<F: Future> Drop for Lent<F> {
    fn drop(&mut self) {
        // SAFETY: it is initialised, and dropped only here; its memory goes after it.
        unsafe { self.future.drop_in_place() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;

    /// Waits once with so much in its hands.
    async fn carries<const BYTES: usize>(dropped: Rc<Cell<u32>>) -> usize {
        struct Counts(Rc<Cell<u32>>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let _counts = Counts(dropped);
        let bytes = std::hint::black_box([7_u8; BYTES]);
        let mut waited = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        bytes.iter().map(|byte| usize::from(*byte)).sum()
    }

    fn run<const BYTES: usize>() {
        let (pool, dropped) = (BufferPool::new(), Rc::new(Cell::new(0)));
        let context = &mut Context::from_waker(Waker::noop());
        {
            let mut lent = pin!(pool.lend(|| carries::<BYTES>(dropped.clone())));
            assert!(size_of_val(&*lent) < 100);
            assert!(lent.as_mut().poll(context).is_pending());
            let others: Vec<_> = (0..8).map(|_| pool.take(Class::Small)).collect();
            assert_eq!(lent.as_mut().poll(context), Poll::Ready(7 * BYTES));
            drop(others);
        }
        assert_eq!(dropped.get(), 1);
        // Also where it is dropped in the middle, or before it has begun.
        let mut lent = Box::pin(pool.lend(|| carries::<BYTES>(dropped.clone())));
        assert!(lent.as_mut().poll(context).is_pending());
        drop(lent);
        assert_eq!(dropped.get(), 2);
        drop(pool.lend(|| carries::<BYTES>(dropped.clone())));
        assert_eq!((dropped.get(), Rc::strong_count(&dropped)), (2, 1));
    }

    #[test]
    fn a_future_of_any_size_runs_in_memory_of_the_pool_and_is_dropped_once() {
        run::<10>();
        run::<4_000>();
        run::<50_000>();
    }

    #[test]
    fn a_panic_gives_the_memory_back() {
        let pool = BufferPool::new();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let lent = pin!(pool.lend(|| async { panic!("in the middle") }));
            let _: Poll<()> = lent.poll(&mut Context::from_waker(Waker::noop()));
        }));
        assert!(caught.is_err());
        let again = pool.take(Class::Small);
        assert!(again.is_empty());
    }
}
