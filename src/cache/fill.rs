//! A response that is being fetched, as those who wait for it on one core see it.
//!
//! ```text
//!   Waiting ─head─▶ Open ─segment─▶ Open ─ … ─done─▶ Complete
//!      │              └──────────broken──────────▶ Broken
//!      └─not shared─▶ NotShared
//! ```
//!
//! On the core that fetches it is changed by the fetch; on every other core with readers there is a
//! mirror, changed by messages. Readers only ever touch the one of their own core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::stored::{Body, Head, Segment};
use crate::error::Reason;

/// A step of a fetch.
#[derive(Clone, Debug)]
pub(crate) enum Update {
    /// The head is there, and the response may be shared.
    Head(Arc<Head>),
    /// More content.
    Segment(Arc<Segment>),
    /// The response has outgrown what may be held, and so many segments are let go at its front: none at
    /// first.
    LetGo(usize),
    /// It is complete; there is no body where it has outgrown what may be held.
    Done(Option<Arc<Body>>),
    /// It broke off, or there was no answer.
    Broken(Reason),
    /// It cannot be shared.
    NotShared,
}

impl Update {
    /// Whether it is the last one.
    pub(crate) fn ends(&self) -> bool {
        matches!(self, Update::Done(_) | Update::Broken(_) | Update::NotShared)
    }
}

/// Why there is no head to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// The response is not for sharing: fetch another.
    NotShared,
    /// The fetch failed.
    Failed(Reason),
}

/// What comes next of the content.
#[derive(Debug)]
pub(crate) enum Next {
    /// More content.
    Segment(Arc<Segment>),
    /// It was complete; none if it had outgrown what may be held.
    End(Option<Arc<Body>>),
    /// It broke off, or the reader fell too far behind.
    Broken(Reason),
}

#[derive(Debug)]
enum Phase {
    Waiting,
    Open,
    Complete(Option<Arc<Body>>),
    Broken(Reason),
    NotShared,
}

/// See the module.
pub(crate) struct Fill {
    state: RefCell<State>,
    /// Of a mirror: called when its first reader comes, when the last one leaves, and, once it has outgrown
    /// what may be held, when the reader who is furthest on takes something.
    on_read: Option<Box<dyn Fn(&Fill)>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    head: Option<Arc<Head>>,
    segments: VecDeque<Arc<Segment>>,
    /// It will not be kept, and nobody else may join.
    outgrown: bool,
    /// How many segments were let go before the first one here.
    gone: usize,
    readers: usize,
    /// Other cores with readers.
    mirrors: usize,
    /// The segment that the reader who is furthest on wants next, on whatever core.
    furthest: usize,
    /// Who waits for the next step.
    wakers: Vec<Waker>,
    /// How often they were woken.
    round: u64,
    /// The fetch, where it waits for its readers.
    fetch: Option<Waker>,
}

impl Fill {
    /// One that waits for its head.
    pub(crate) fn new() -> Rc<Fill> {
        Fill::with(None)
    }

    /// The same, of a fetch on another core, which is to be told about the readers here.
    pub(crate) fn mirror(on_read: impl Fn(&Fill) + 'static) -> Rc<Fill> {
        Fill::with(Some(Box::new(on_read)))
    }

    fn with(on_read: Option<Box<dyn Fn(&Fill)>>) -> Rc<Fill> {
        let state = State {
            phase: Phase::Waiting,
            head: None,
            segments: VecDeque::new(),
            outgrown: false,
            gone: 0,
            readers: 0,
            mirrors: 0,
            furthest: 0,
            wakers: Vec::new(),
            round: 1,
            fetch: None,
        };
        Rc::new(Fill { state: RefCell::new(state), on_read })
    }

    /// Takes a step, and wakes who waits for it.
    pub(crate) fn apply(&self, update: Update) {
        let mut state = self.state.borrow_mut();
        match update {
            Update::Head(head) => {
                state.head = Some(head);
                state.phase = Phase::Open;
            }
            Update::Segment(segment) => state.segments.push_back(segment),
            Update::LetGo(count) => {
                let count = count.min(state.segments.len());
                state.segments.drain(..count);
                state.gone += count;
                state.outgrown = true;
            }
            // Whoever is reading goes on in the segments, for those of the body may be others.
            Update::Done(body) => state.phase = Phase::Complete(body),
            Update::Broken(reason) => state.phase = Phase::Broken(reason),
            Update::NotShared => state.phase = Phase::NotShared,
        }
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// All steps so far, for a mirror that begins now.
    pub(crate) fn history(&self) -> Vec<Update> {
        let state = self.state.borrow();
        let mut history: Vec<_> = state.head.iter().cloned().map(Update::Head).collect();
        if state.outgrown {
            // It loses its beginning, and cannot be joined any more.
            return vec![Update::NotShared];
        }
        if !matches!(state.phase, Phase::Complete(Some(_))) {
            history.extend(state.segments.iter().cloned().map(Update::Segment));
        }
        match &state.phase {
            Phase::Complete(Some(body)) => history.push(Update::Done(Some(body.clone()))),
            Phase::Complete(None) | Phase::NotShared => history.push(Update::NotShared),
            Phase::Broken(reason) => history.push(Update::Broken(*reason)),
            Phase::Waiting | Phase::Open => {}
        }
        history
    }

    /// Has the core that fetches know about the readers here, if that is another.
    fn tell(&self) {
        if let Some(on_read) = &self.on_read {
            on_read(self);
        }
    }

    /// The segment that the reader who is furthest on wants next; none if there is no reader.
    pub(crate) fn furthest(&self) -> Option<usize> {
        let state = self.state.borrow();
        (state.readers > 0).then_some(state.furthest)
    }

    /// Whether anybody reads it, here or on another core.
    pub(crate) fn is_read(&self) -> bool {
        let state = self.state.borrow();
        state.readers + state.mirrors > 0
    }

    /// A reader on another core wants that segment next.
    pub(crate) fn reached(&self, next: usize) {
        let mut state = self.state.borrow_mut();
        state.furthest = state.furthest.max(next);
        state.wake_fetch();
    }

    /// So many other cores have readers.
    pub(crate) fn mirrored(&self, cores: usize) {
        let mut state = self.state.borrow_mut();
        state.mirrors = cores;
        state.wake_fetch();
    }

    /// Waits until the reader who is furthest on has taken everything. Says whether there is any reader.
    pub(crate) async fn caught_up(&self) -> bool {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.readers + state.mirrors == 0 {
                return Poll::Ready(false);
            }
            if state.furthest >= state.gone + state.segments.len() {
                return Poll::Ready(true);
            }
            state.fetch = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl State {
    fn wake_fetch(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            fetch.wake();
        }
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        self.round += 1;
        std::mem::take(&mut self.wakers)
    }
}

/// One who reads a response while it is fetched.
pub(crate) struct Reading {
    fill: Rc<Fill>,
    next: usize,
    /// It began once the response was complete, and reads the segments of its body.
    in_body: bool,
    /// The round in which it began to wait.
    waits: Cell<u64>,
}

impl Reading {
    /// Begins at the beginning.
    pub(crate) fn new(fill: &Rc<Fill>) -> Reading {
        let is_first = {
            let mut state = fill.state.borrow_mut();
            state.readers += 1;
            state.readers == 1
        };
        if is_first {
            fill.tell();
        }
        Reading { fill: fill.clone(), next: 0, in_body: false, waits: Cell::new(0) }
    }

    /// Waits for the head.
    pub(crate) async fn head(&self) -> Result<Arc<Head>, NoHead> {
        poll_fn(|cx| {
            let mut state = self.fill.state.borrow_mut();
            match (&state.phase, &state.head) {
                (Phase::NotShared, _) => Poll::Ready(Err(NoHead::NotShared)),
                (_, Some(_)) if state.gone > 0 => Poll::Ready(Err(NoHead::NotShared)),
                (_, Some(head)) => Poll::Ready(Ok(head.clone())),
                (Phase::Broken(reason), None) => Poll::Ready(Err(NoHead::Failed(*reason))),
                (_, None) => {
                    self.wait(&mut state, cx.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Has the next step wake who polls. A task waits with the same waker every time, so once a round is
    /// enough.
    fn wait(&self, state: &mut State, waker: &Waker) {
        if self.waits.replace(state.round) != state.round {
            state.wakers.push(waker.clone());
        }
    }

    /// The complete content, if it is that already and nothing has been read yet.
    pub(crate) fn complete(&self) -> Option<Arc<Body>> {
        match &self.fill.state.borrow().phase {
            Phase::Complete(body) if self.next == 0 => body.clone(),
            _ => None,
        }
    }

    /// What comes next, if it is there.
    pub(crate) fn take(&mut self) -> Option<Next> {
        let mut state = self.fill.state.borrow_mut();
        if let Phase::Complete(Some(body)) = &state.phase
            && (self.next == 0 || self.in_body)
        {
            self.in_body = true;
            let Some(segment) = body.segments().get(self.next) else {
                return Some(Next::End(Some(body.clone())));
            };
            self.next += 1;
            return Some(Next::Segment(segment.clone()));
        }
        let Some(place) = self.next.checked_sub(state.gone) else {
            return Some(Next::Broken(Reason::LeftBehind));
        };
        if let Some(segment) = state.segments.get(place).cloned() {
            self.next += 1;
            if self.next > state.furthest {
                state.furthest = self.next;
                state.wake_fetch();
                let tells = state.outgrown;
                drop(state);
                if tells {
                    self.fill.tell();
                }
            }
            return Some(Next::Segment(segment));
        }
        match &state.phase {
            Phase::Complete(body) => Some(Next::End(body.clone())),
            Phase::Broken(reason) => Some(Next::Broken(*reason)),
            Phase::NotShared => Some(Next::Broken(Reason::UpstreamTruncated)),
            Phase::Waiting | Phase::Open => None,
        }
    }

    /// Waits for what comes next.
    pub(crate) async fn next(&mut self) -> Next {
        poll_fn(|cx| {
            if let Some(next) = self.take() {
                return Poll::Ready(next);
            }
            self.wait(&mut self.fill.state.borrow_mut(), cx.waker());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.fill.state.borrow_mut();
        state.readers -= 1;
        if state.readers > 0 {
            return;
        }
        state.wake_fetch();
        drop(state);
        self.fill.tell();
    }
}

#[cfg(test)]
#[path = "fill_tests.rs"]
mod tests;
