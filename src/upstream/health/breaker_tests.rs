//! Tests of the breaker: its turns by table, and its life with a simulated upstream.

use super::*;
use proptest::prelude::*;

fn settings() -> Breaker {
    Breaker {
        rate: 50,
        requests_min: 20,
        window: Duration::from_secs(10),
        time: Duration::from_secs(5),
        trials: 3,
    }
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn counts(succeeded: u64, failed: u64) -> Counts {
    Counts { succeeded, failed }
}

/// One that was opened at second 1, and is half open since second 6.
fn half_open() -> CircuitBreaker {
    let mut breaker = CircuitBreaker::default();
    assert!(matches!(breaker.take(counts(0, 20), counts(0, 20), s(1), &settings()), Some(Turn::Opened(_))));
    assert_eq!(breaker.tick(s(6), &settings()), Some(Turn::HalfOpened(3)));
    breaker
}

#[test]
fn it_opens_when_enough_requests_fail_often_enough() {
    let mut breaker = CircuitBreaker::default();
    assert_eq!(breaker.take(counts(0, 19), counts(0, 19), s(1), &settings()), None);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // What is out of the window does not count.
    assert_eq!(breaker.take(counts(19, 0), counts(19, 0), s(12), &settings()), None);
    assert_eq!(breaker.take(counts(0, 18), counts(0, 18), s(13), &settings()), None);
    assert_eq!(
        breaker.take(counts(0, 1), counts(0, 1), s(13), &settings()),
        Some(Turn::Opened(counts(19, 19)))
    );
    assert_eq!((breaker.state(), breaker.due(&settings())), (BreakerState::Open, Some(s(18))));
}

#[test]
fn successes_alone_never_open_it() {
    let strict = Breaker { rate: 1, requests_min: 1, ..settings() };
    let mut breaker = CircuitBreaker::default();
    assert_eq!(breaker.take(counts(100, 0), counts(100, 0), s(1), &strict), None);
    assert_eq!(breaker.due(&strict), None);
}

#[test]
fn an_open_one_waits_for_its_time_and_hears_nothing_meanwhile() {
    let mut breaker = CircuitBreaker::default();
    breaker.take(counts(0, 20), counts(0, 20), s(1), &settings());
    assert_eq!(breaker.take(counts(100, 100), counts(100, 100), s(2), &settings()), None);
    assert_eq!(breaker.tick(s(5), &settings()), None);
    assert_eq!(breaker.tick(s(6), &settings()), Some(Turn::HalfOpened(3)));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[test]
fn all_trials_have_to_succeed() {
    let mut breaker = half_open();
    assert_eq!(breaker.take(counts(2, 0), counts(2, 0), s(6), &settings()), None);
    assert_eq!(breaker.take(counts(1, 0), counts(1, 0), s(7), &settings()), Some(Turn::Closed));
    assert_eq!(breaker.state(), BreakerState::Closed);
    // It begins anew.
    assert_eq!(breaker.take(counts(0, 19), counts(0, 19), s(7), &settings()), None);
}

#[test]
fn one_failed_trial_opens_it_again() {
    let mut breaker = half_open();
    breaker.take(counts(2, 0), counts(2, 0), s(6), &settings());
    assert_eq!(breaker.take(counts(5, 1), counts(5, 1), s(7), &settings()), Some(Turn::OpenedAgain));
    assert_eq!(breaker.due(&settings()), Some(s(12)));
    assert_eq!(breaker.tick(s(12), &settings()), Some(Turn::HalfOpened(3)));
    // Trials of the last time do not count.
    assert_eq!(breaker.take(counts(2, 0), counts(2, 0), s(12), &settings()), None);
}

#[test]
fn trials_that_nobody_reports_are_renewed() {
    let mut breaker = half_open();
    breaker.take(counts(1, 0), counts(1, 0), s(7), &settings());
    assert_eq!(breaker.tick(s(10), &settings()), None);
    assert_eq!(breaker.tick(s(11), &settings()), Some(Turn::Renewed(2)));
    assert_eq!(breaker.tick(s(11), &settings()), None);
    assert_eq!(breaker.tick(s(16), &settings()), Some(Turn::Renewed(2)));
    assert_eq!(breaker.take(counts(2, 0), counts(2, 0), s(17), &settings()), Some(Turn::Closed));
}

proptest! {
    /// An upstream that is well again is served again, whatever happened before and whichever trials get lost.
    #[test]
    fn it_closes_once_the_upstream_is_well(
        steps in prop::collection::vec((0u64..30, 0u64..30), 0..100),
        lost in prop::collection::vec(any::<bool>(), 30),
    ) {
        let settings = settings();
        let mut breaker = CircuitBreaker::default();
        let mut now = Duration::ZERO;
        for (succeeded, failed) in steps {
            now += Duration::from_millis(700);
            breaker.tick(now, &settings);
            breaker.take(counts(succeeded, failed), counts(succeeded, failed), now, &settings);
        }
        let mut trials = 0;
        for lost in lost.into_iter().chain([false; 20]) {
            now += Duration::from_secs(1);
            if let Some(Turn::HalfOpened(count) | Turn::Renewed(count)) = breaker.tick(now, &settings) {
                trials = count;
            }
            match breaker.state() {
                BreakerState::Closed => drop(breaker.take(counts(1, 0), counts(1, 0), now, &settings)),
                BreakerState::HalfOpen if trials > 0 => {
                    trials -= 1;
                    if !lost {
                        breaker.take(counts(1, 0), counts(1, 0), now, &settings);
                    }
                }
                BreakerState::HalfOpen | BreakerState::Open => {}
            }
        }
        prop_assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
