//! Questions to other cores, and waiting for their answers.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::message::ReplyTo;
use super::{Answer, Store};

/// A question that was asked of another core.
pub(super) enum Question {
    Open(Option<Waker>),
    Answered(Answer),
}

impl Store {
    /// A question to another core: its number, and where the answer goes.
    pub(super) fn question(&self) -> (u64, ReplyTo) {
        let number = self.number();
        self.questions.borrow_mut().insert(number, Question::Open(None));
        (number, ReplyTo::new(self.shared.inboxes[self.place].clone(), number))
    }

    /// Waits for the answer to a question.
    pub(super) async fn answer(&self, number: u64) -> Answer {
        let _asked = Asked { store: self, number };
        poll_fn(|cx| {
            let mut questions = self.questions.borrow_mut();
            match questions.get_mut(&number) {
                Some(Question::Open(waker)) => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                _ => match questions.remove(&number) {
                    Some(Question::Answered(answer)) => Poll::Ready(answer),
                    _ => Poll::Ready(Answer::Done),
                },
            }
        })
        .await
    }
}

/// Forgets a question when nobody waits for its answer any more.
struct Asked<'a> {
    store: &'a Store,
    number: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.store.questions.borrow_mut().remove(&self.number);
    }
}
