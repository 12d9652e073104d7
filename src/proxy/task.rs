//! Work that goes on beside the exchanges.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;

use super::core::Core;
use super::guard::guarded;
use crate::clock::{Clock, Moment};

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

/// So much long work a core does before it rests, whoever does it.
const WORK_MAX: Duration = Duration::from_millis(8);

/// How long it rests: tasks that only wake themselves keep timers from ending, and so does what never ends.
const REST: Duration = Duration::from_millis(1);

/// What the first turn of some work is taken to have cost at most: when it began is not known.
const FIRST_TURN_MAX: Duration = Duration::from_millis(1);

/// The long work of a core: all that is done between two rests, over all its tasks.
#[derive(Debug, Default)]
struct Shift {
    worked: Duration,
    /// How many rests there were.
    rests: u64,
}

impl Shift {
    fn worked(&mut self, turn: u32, elapsed: Duration) {
        self.worked += if turn <= 1 { elapsed.min(FIRST_TURN_MAX) } else { elapsed };
    }

    /// Whether it is time to rest, and after how many rests.
    fn is_over(&self) -> Option<u64> {
        (self.worked >= WORK_MAX).then_some(self.rests)
    }

    /// Somebody has rested. Of those who went at the same time the first to come back counts.
    fn rested(&mut self, rests: u64) {
        if self.rests == rests {
            *self = Shift { worked: Duration::ZERO, rests: rests + 1 };
        }
    }
}

thread_local! {
    /// That of this core, its clock, and when somebody was let go on last.
    static SHIFT: RefCell<(Shift, Clock, Option<Moment>)> = RefCell::default();
}

/// Notes what was done since somebody was let go on last.
fn note_work(turn: u32) {
    SHIFT.with_borrow_mut(|(shift, clock, last)| {
        let now = clock.now();
        let elapsed = last.map_or(Duration::ZERO, |last| now.since(last));
        shift.worked(turn, elapsed);
        *last = Some(now);
    });
}

async fn rest() {
    let rests = SHIFT.with_borrow(|(shift, ..)| shift.rests);
    monoio::time::sleep(REST).await;
    SHIFT.with_borrow_mut(|(shift, ..)| shift.rested(rests));
}

/// Waits until there is time for another turn.
async fn go_on() {
    while SHIFT.with_borrow(|(shift, ..)| shift.is_over().is_some()) {
        rest().await;
    }
    SHIFT.with_borrow_mut(|(_, clock, last)| *last = Some(clock.now()));
}

/// The same between the turns of long work, counted from 1. After some milliseconds of such work, of whatever tasks,
/// all of them really wait: so that timers end, and what must go on beside it does.
pub(super) async fn take_turns(turn: u32) {
    note_work(turn);
    give_way().await;
    go_on().await;
}

/// The same, for work that nobody waits for: it rests after each turn.
pub(super) async fn take_turns_behind_others(turn: u32) {
    note_work(turn);
    rest().await;
    go_on().await;
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

/// So many pieces of work of one kind go on at once on a core, and no more. One that takes very long, because its
/// client does, is not counted for ever.
#[derive(Debug, Default)]
pub(super) struct Places([Cell<u32>; PLACES]);

/// See [`Places`].
const PLACES: usize = 4;

/// In ticks of a tenth of a second.
const PLACE_TICKS_MAX: u32 = 50;

/// A place that was taken.
#[derive(Debug)]
pub(super) struct Place {
    places: Rc<Places>,
    index: usize,
    until: u32,
}

impl Places {
    /// Takes a place, if one is free. `now` is in ticks.
    pub(super) fn take(self: &Rc<Places>, now: u32) -> Option<Place> {
        let index = self.0.iter().position(|until| until.get() <= now)?;
        let until = now + PLACE_TICKS_MAX;
        self.0[index].set(until);
        Some(Place { places: self.clone(), index, until })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let place = &self.places.0[self.index];
        // It may belong to another by now. Two that were taken in one tick cannot be told apart, and need not be:
        // the second could only take it after the first was done with it.
        if place.get() == self.until {
            place.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn all_rest_after_some_work_and_go_on_once_one_is_back() {
        let mut shift = Shift::default();
        shift.worked(1, 100 * MS);
        assert_eq!(shift.is_over(), None, "that was no work");
        for _ in 0..4 {
            assert_eq!(shift.is_over(), None);
            shift.worked(2, 2 * MS);
        }
        assert_eq!(shift.is_over(), Some(0));
        shift.rested(0);
        assert_eq!(shift.is_over(), None);
        shift.worked(3, 20 * MS);
        shift.rested(0);
        assert_eq!(
            shift.is_over(),
            Some(1),
            "who went to rest with the other is back late, and does not count"
        );
    }

    #[test]
    fn places_are_few_and_come_back() {
        let places: Rc<Places> = Rc::default();
        let mut taken: Vec<_> = std::iter::from_fn(|| places.take(7)).collect();
        assert_eq!(taken.len(), PLACES);
        taken.pop();
        taken.extend(places.take(8));
        assert!(places.take(8).is_none());
        // Those who take very long do not count, nor do they free the place of another when they are done.
        let later: Vec<_> = std::iter::from_fn(|| places.take(8 + PLACE_TICKS_MAX)).collect();
        assert_eq!(later.len(), PLACES);
        drop(taken);
        assert!(places.take(8 + PLACE_TICKS_MAX).is_none());
        drop(later);
        assert!(places.take(8 + PLACE_TICKS_MAX).is_some());
    }

    #[test]
    fn timers_end_beside_long_work() {
        let mut runtime =
            monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().unwrap();
        runtime.block_on(async {
            let clock = Clock::default();
            let working = Rc::new(Cell::new(true));
            let turns = Rc::new(Cell::new(0));
            for _ in 0..20 {
                let (working, turns, clock) = (working.clone(), turns.clone(), clock.clone());
                monoio::spawn(async move {
                    let mut turn = 0;
                    while working.get() && turn < 100 {
                        let began = clock.now();
                        while clock.now().since(began) < MS {}
                        turn += 1;
                        turns.set(turns.get() + 1);
                        take_turns(turn).await;
                    }
                });
            }
            for _ in 0..5 {
                monoio::time::sleep(MS).await;
            }
            working.set(false);
            // Twenty tasks with a hundred turns each: without rests, all of them would be over. It is turns that count,
            // for their time is not only up to this thread.
            let turns = turns.get();
            assert!(turns < 500, "{turns}");
        });
    }
}
