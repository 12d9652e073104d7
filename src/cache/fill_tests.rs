use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::cache::ledger::Ledger;
use crate::cache::sample;
use proptest::prelude::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// What a future has to say at once.
fn now<F: Future>(future: F) -> Option<F::Output> {
    poll(pin!(future), Waker::noop())
}

fn ledger() -> Arc<Ledger> {
    Ledger::new(1 << 20)
}

fn head(ledger: &Arc<Ledger>) -> Update {
    Update::Head(sample::head(ledger, "", b"").unwrap())
}

fn segment(ledger: &Arc<Ledger>, text: &str) -> Update {
    Update::Segment(Segment::new(ledger, text.as_bytes()).unwrap())
}

fn body(ledger: &Arc<Ledger>, texts: &[&str]) -> Arc<Body> {
    let segments: Vec<_> = texts.iter().map(|text| Segment::new(ledger, text.as_bytes()).unwrap()).collect();
    Body::new(ledger, segments, b"").unwrap()
}

/// What comes next, in words.
fn said(next: Option<Next>) -> String {
    match next {
        None => "nothing yet".into(),
        Some(Next::Segment(segment)) => String::from_utf8(segment.bytes().into()).unwrap(),
        Some(Next::End(Some(_))) => "end, kept".into(),
        Some(Next::End(None)) => "end".into(),
        Some(Next::Broken(reason)) => format!("broken: {}", reason.name()),
    }
}

/// All that a reader gets without waiting, in words.
fn drain(reading: &mut Reading) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let next = reading.take();
        let last = !matches!(next, Some(Next::Segment(_)));
        all.push(said(next));
        if last {
            return all;
        }
    }
}

#[test]
fn readers_get_the_head_and_then_each_segment_in_order_whenever_they_come() {
    let ledger = ledger();
    let fill = Fill::new();
    let mut early = Reading::new(&fill);
    assert!(now(early.head()).is_none());
    fill.apply(head(&ledger));
    assert!(now(early.head()).unwrap().is_ok());
    assert_eq!(drain(&mut early), ["nothing yet"]);
    fill.apply(segment(&ledger, "a"));
    fill.apply(segment(&ledger, "b"));
    let mut late = Reading::new(&fill);
    assert_eq!(said(now(early.next())), "a");
    fill.apply(segment(&ledger, "c"));
    assert!(now(late.head()).unwrap().is_ok());
    assert_eq!(drain(&mut late), ["a", "b", "c", "nothing yet"]);
    assert!(early.complete().is_none());
    fill.apply(Update::Done(Some(body(&ledger, &["a", "b", "c"]))));
    // Whoever was reading goes on in the body, at the place where it was.
    assert_eq!(drain(&mut early), ["b", "c", "end, kept"]);
    assert_eq!(drain(&mut late), ["end, kept"]);
    let mut last = Reading::new(&fill);
    assert_eq!(last.complete().unwrap().length(), 3);
    assert_eq!(drain(&mut last), ["a", "b", "c", "end, kept"]);
    assert!(last.complete().is_none(), "only before anything was read");
}

#[test]
fn what_ends_without_a_body_is_read_to_its_end_by_those_who_read() {
    let ledger = ledger();
    let fill = Fill::new();
    let mut reading = Reading::new(&fill);
    for update in [head(&ledger), segment(&ledger, "a"), segment(&ledger, "b"), Update::Done(None)] {
        fill.apply(update);
    }
    assert!(reading.complete().is_none());
    assert_eq!(drain(&mut reading), ["a", "b", "end"]);
}

#[test]
fn what_breaks_off_never_ends() {
    let ledger = ledger();
    let fill = Fill::new();
    let mut reading = Reading::new(&fill);
    let waiting = Reading::new(&fill);
    fill.apply(head(&ledger));
    fill.apply(segment(&ledger, "a"));
    fill.apply(Update::Broken(Reason::UpstreamTruncated));
    assert_eq!(drain(&mut reading), ["a", "broken: upstream_truncated"]);
    assert_eq!(drain(&mut reading), ["broken: upstream_truncated"], "and says so again");
    assert!(now(waiting.head()).unwrap().is_ok(), "the head was there");

    let fill = Fill::new();
    let mut reading = Reading::new(&fill);
    fill.apply(Update::Broken(Reason::UpstreamClosed));
    assert_eq!(now(reading.head()).unwrap().unwrap_err(), NoHead::Failed(Reason::UpstreamClosed));
    assert_eq!(drain(&mut reading), ["broken: upstream_closed"]);
}

#[test]
fn what_is_not_shared_gives_nobody_a_head() {
    let ledger = ledger();
    let fill = Fill::new();
    let early = Reading::new(&fill);
    fill.apply(Update::NotShared);
    for reading in [early, Reading::new(&fill)] {
        assert_eq!(now(reading.head()).unwrap().unwrap_err(), NoHead::NotShared);
    }
    // Not even where the head was there already.
    let fill = Fill::new();
    let reading = Reading::new(&fill);
    fill.apply(head(&ledger));
    fill.apply(Update::NotShared);
    assert_eq!(now(reading.head()).unwrap().unwrap_err(), NoHead::NotShared);
}

/// Whether nobody can join it any more, for it has lost its beginning.
fn has_let_go(fill: &Fill) -> bool {
    matches!(fill.history()[..], [Update::NotShared])
}

#[test]
fn who_falls_behind_what_was_let_go_breaks_off() {
    let ledger = ledger();
    let fill = Fill::new();
    let (mut first, mut last) = (Reading::new(&fill), Reading::new(&fill));
    fill.apply(head(&ledger));
    for text in ["a", "b", "c"] {
        fill.apply(segment(&ledger, text));
    }
    assert_eq!(drain(&mut first), ["a", "b", "c", "nothing yet"]);
    assert_eq!(said(last.take()), "a");
    assert!(!has_let_go(&fill));
    fill.apply(Update::LetGo(1));
    assert!(has_let_go(&fill));
    assert_eq!(said(last.take()), "b", "that one has not lost anything yet");
    fill.apply(Update::LetGo(7));
    fill.apply(segment(&ledger, "d"));
    assert_eq!(drain(&mut first), ["d", "nothing yet"]);
    assert_eq!(drain(&mut last), ["broken: left_behind"]);
    // Nobody joins what has lost its beginning, here or elsewhere.
    assert_eq!(now(Reading::new(&fill).head()).unwrap().unwrap_err(), NoHead::NotShared);
    assert!(matches!(fill.history()[..], [Update::NotShared]));
    fill.apply(Update::Done(None));
    assert_eq!(drain(&mut first), ["end"]);
    assert_eq!(drain(&mut last), ["broken: left_behind"]);
}

#[test]
fn each_step_wakes_everybody_who_waits_once_however_often_they_ask() {
    let ledger = ledger();
    let fill = Fill::new();
    let counts: [Arc<Count>; 2] = Default::default();
    let wakers = counts.clone().map(Waker::from);
    let mut readings = [Reading::new(&fill), Reading::new(&fill)];
    for (reading, waker) in readings.iter().zip(&wakers) {
        for _ in 0..3 {
            assert!(poll(pin!(reading.head()), waker).is_none());
        }
    }
    fill.apply(head(&ledger));
    assert_eq!(counts.each_ref().map(|count| count.so_far()), [1, 1]);
    // Nobody waits: nobody is woken.
    fill.apply(segment(&ledger, "a"));
    assert_eq!(counts.each_ref().map(|count| count.so_far()), [1, 1]);
    assert_eq!(drain(&mut readings[0]), ["a", "nothing yet"]);
    for _ in 0..3 {
        assert!(poll(pin!(readings[0].next()), &wakers[0]).is_none());
    }
    fill.apply(segment(&ledger, "b"));
    assert_eq!(counts.each_ref().map(|count| count.so_far()), [2, 1]);
    assert_eq!(drain(&mut readings[0]), ["b", "nothing yet"]);
    assert!(poll(pin!(readings[0].next()), &wakers[0]).is_none());
    fill.apply(Update::Done(None));
    assert_eq!(counts.each_ref().map(|count| count.so_far()), [3, 1]);
}

#[test]
fn a_fetch_waits_for_the_reader_who_is_furthest_on_and_not_for_one_who_left() {
    let ledger = ledger();
    let fill = Fill::new();
    assert_eq!(now(fill.caught_up()), Some(false), "nobody reads");
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let (mut fast, slow) = (Reading::new(&fill), Reading::new(&fill));
    fill.apply(head(&ledger));
    fill.apply(segment(&ledger, "a"));
    fill.apply(segment(&ledger, "b"));
    let mut waiting = pin!(fill.caught_up());
    assert!(poll(waiting.as_mut(), &waker).is_none());
    assert_eq!(said(fast.take()), "a");
    assert_eq!(count.so_far(), 1);
    assert!(poll(waiting.as_mut(), &waker).is_none());
    assert_eq!(said(fast.take()), "b");
    assert_eq!(poll(waiting.as_mut(), &waker), Some(true));
    fill.apply(segment(&ledger, "c"));
    let mut waiting = pin!(fill.caught_up());
    assert!(poll(waiting.as_mut(), &waker).is_none());
    drop(fast);
    assert!(poll(waiting.as_mut(), &waker).is_none(), "one is left");
    let before = count.so_far();
    drop(slow);
    assert_eq!(count.so_far(), before + 1);
    assert_eq!(poll(waiting.as_mut(), &waker), Some(false));
}

/// What may happen to a fill.
#[derive(Clone, Debug)]
enum Step {
    More,
    LetGo(usize),
    Join,
    /// A mirror begins, from the history.
    Mirror,
    Read(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::More),
        1 => (1_usize..3).prop_map(Step::LetGo),
        2 => Just(Step::Join),
        1 => Just(Step::Mirror),
        4 => (0_usize..6, 1_usize..4).prop_map(|(who, count)| Step::Read(who, count)),
    ];
    proptest::collection::vec(step, 0..40)
}

/// A reader, and what it has got.
struct Follower {
    reading: Reading,
    got: Vec<u8>,
    behind: bool,
}

impl Follower {
    fn new(fill: &Rc<Fill>) -> Follower {
        Follower { reading: Reading::new(fill), got: Vec::new(), behind: false }
    }

    /// Says whether it has come to the end.
    fn read(&mut self, count: usize) -> bool {
        for _ in 0..count {
            match self.reading.take() {
                Some(Next::Segment(segment)) => self.got.extend_from_slice(segment.bytes()),
                Some(Next::End(_)) => return true,
                Some(Next::Broken(reason)) => self.behind = reason == Reason::LeftBehind,
                None => {}
            }
        }
        false
    }
}

proptest! {
    /// Whoever comes to the end has had all of it, each byte once, wherever it reads and whenever it came.
    #[test]
    fn whoever_comes_to_the_end_has_had_all_of_it(steps in steps(), kept: bool) {
        let ledger = ledger();
        let fill = Fill::new();
        let mut mirrors = Vec::new();
        let mut followers = Vec::new();
        let mut all = Vec::new();
        let mut let_go = false;
        let apply = |fill: &Rc<Fill>, mirrors: &[Rc<Fill>], update: Update| {
            fill.apply(update.clone());
            mirrors.iter().for_each(|mirror| mirror.apply(update.clone()));
        };
        apply(&fill, &mirrors, head(&ledger));
        for step in steps {
            match step {
                Step::More => {
                    let number = all.len();
                    all.push(u8::try_from(number).unwrap());
                    let segment = Segment::new(&ledger, &[all[number]]).unwrap();
                    apply(&fill, &mirrors, Update::Segment(segment));
                }
                Step::LetGo(count) => {
                    let_go = true;
                    apply(&fill, &mirrors, Update::LetGo(count));
                }
                Step::Join => followers.push(Follower::new(&fill)),
                Step::Mirror if !has_let_go(&fill) => {
                    let mirror = Fill::new();
                    fill.history().into_iter().for_each(|update| mirror.apply(update));
                    followers.push(Follower::new(&mirror));
                    mirrors.push(mirror);
                }
                Step::Mirror => {}
                Step::Read(who, count) => {
                    if let Some(follower) = followers.get_mut(who) {
                        prop_assert!(!follower.read(count), "not done yet");
                    }
                }
            }
            for follower in &followers {
                prop_assert!(all.starts_with(&follower.got));
            }
        }
        let whole = (kept && !let_go).then(|| {
            let segments: Vec<_> = all.iter().map(|byte| Segment::new(&ledger, &[*byte]).unwrap()).collect();
            Body::new(&ledger, segments, b"").unwrap()
        });
        apply(&fill, &mirrors, Update::Done(whole));
        for follower in &mut followers {
            let ended = follower.read(all.len() + 1);
            prop_assert_eq!(ended, !follower.behind);
            prop_assert!(let_go || ended);
            prop_assert!(!ended || follower.got == all);
        }
        drop((followers, mirrors, fill));
        prop_assert_eq!(ledger.held(), 0);
    }
}
