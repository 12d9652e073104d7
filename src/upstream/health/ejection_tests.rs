//! Tests of ejection: what puts an endpoint out, for how long, and how many may be out.

use super::*;
use crate::upstream::Address;
use crate::upstream::health::Seen;
use proptest::prelude::*;

fn settings() -> Ejection {
    Ejection { rate: Some(50), ..Ejection::default() }
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a core says: what succeeded, what failed, and the run of failures of all cores.
fn tally(succeeded: u32, failed: u32, run: u32) -> Tally {
    Tally {
        upstream: "app".into(),
        address: Address::Ip("192.0.2.1:80".parse().unwrap()),
        seen: Seen {
            succeeded,
            failed,
            last: (failed > 0).then_some(Reason::UpstreamRefused),
            ..Seen::default()
        },
        run,
    }
}

/// Decides about endpoints all of which would get requests.
fn judge_all(outliers: &mut [Outlier], now: Duration) -> Vec<(usize, Turn)> {
    let mut endpoints: Vec<_> = outliers.iter_mut().map(|outlier| (outlier, true)).collect();
    judge(&mut endpoints, Some(&settings()), now)
}

/// How long the first of two is out for another five failures, if it is.
fn ejected_at(outliers: &mut [Outlier; 2], now: Duration) -> Option<Duration> {
    outliers[0].take(&tally(0, 5, 5), now, &settings());
    match judge_all(outliers, now)[..] {
        [(0, Turn::Out { time, .. })] => Some(time),
        _ => None,
    }
}

#[test]
fn an_endpoint_that_fails_five_times_in_a_row_is_out_until_its_time_is_over() {
    let mut outliers = [Outlier::default(), Outlier::default()];
    outliers[0].take(&tally(0, 4, 4), s(1), &settings());
    assert_eq!(judge_all(&mut outliers, s(1)), []);
    outliers[0].take(&tally(0, 1, 5), s(2), &settings());
    let out = Turn::Out { time: s(10), cause: Cause::Run(5), last: Some(Reason::UpstreamRefused) };
    assert_eq!(judge_all(&mut outliers, s(2)), [(0, out)]);
    assert!(outliers[0].is_out());
    // What ends meanwhile changes nothing.
    outliers[0].take(&tally(9, 9, 9), s(3), &settings());
    assert_eq!(judge_all(&mut outliers, s(11)), []);
    assert_eq!(judge_all(&mut outliers, s(12)), [(0, Turn::Back)]);
    assert_eq!(judge_all(&mut outliers, s(12)), []);
}

#[test]
fn a_run_is_counted_over_all_cores() {
    for (tallies, run) in [
        // Three cores, each of which has seen less than five.
        (&[(0, 2, 2), (0, 2, 4), (0, 1, 5)][..], 5),
        // A success on any core ended it, whether that core tells of it or not.
        (&[(0, 4, 4), (0, 1, 1)], 1),
        (&[(0, 4, 4), (1, 0, 0)], 0),
        // One core may have failed before it answered.
        (&[(0, 4, 4), (1, 3, 0)], 0),
    ] {
        let mut outlier = Outlier::default();
        for &(succeeded, failed, own) in tallies {
            outlier.take(&tally(succeeded, failed, own), s(1), &settings());
        }
        assert_eq!(outlier.run, run, "{tallies:?}");
    }
}

#[test]
fn a_high_rate_ejects_where_the_window_has_enough_requests() {
    let mut outliers = [Outlier::default(), Outlier::default()];
    outliers[1].take(&tally(10, 9, 0), s(1), &settings());
    assert_eq!(judge_all(&mut outliers, s(1)), []);
    outliers[1].take(&tally(0, 1, 1), s(2), &settings());
    let cause = Cause::Rate(Counts { succeeded: 10, failed: 10 });
    assert!(
        matches!(judge_all(&mut outliers, s(2))[..], [(1, Turn::Out { cause: why, .. })] if why == cause)
    );
}

#[test]
fn what_is_not_counted_does_not_eject() {
    let neither = Ejection { consecutive: None, rate: None, ..Ejection::default() };
    let mut outliers = [Outlier::default(), Outlier::default()];
    outliers[0].take(&tally(0, 100, 100), s(1), &neither);
    let [first, second] = &mut outliers;
    assert_eq!(judge(&mut [(first, true), (second, true)], Some(&neither), s(1)), []);
}

#[test]
fn the_time_doubles_when_it_fails_soon_again_and_shrinks_while_it_is_well() {
    let mut outliers = [Outlier::default(), Outlier::default()];
    let mut now = s(100);
    for want in [10, 20, 40, 80, 160, 300, 300, 300] {
        assert_eq!(ejected_at(&mut outliers, now), Some(s(want)));
        now += s(want);
        judge_all(&mut outliers, now);
        now += s(1);
    }
    // A minute of peace takes back one doubling; without end of peace all.
    for (peace, want) in [(60, 160), (121, 80), (10_000, 10)] {
        now += s(peace);
        assert_eq!(ejected_at(&mut outliers, now), Some(s(want)), "{peace}");
        now += s(want);
        judge_all(&mut outliers, now);
    }
}

#[test]
fn a_table_of_how_many_may_be_out() {
    for (endpoints, share_max, want) in [
        (0, 50, 0),
        (1, 100, 0),
        (2, 50, 1),
        (2, 100, 1),
        (3, 10, 1),
        (3, 100, 2),
        (5, 50, 2),
        (10, 0, 1),
        (10, 100, 9),
        (1000, 33, 330),
        (7, u32::MAX, 6),
    ] {
        assert_eq!(out_max(endpoints, share_max), want, "{endpoints} {share_max}");
    }
}

#[test]
fn a_lone_endpoint_stays_and_so_does_the_last_one_standing() {
    let mut alone = [Outlier::default()];
    alone[0].take(&tally(0, 100, 100), s(1), &settings());
    assert_eq!(judge_all(&mut alone, s(1)), []);
    let mut two = [Outlier::default(), Outlier::default()];
    for outlier in &mut two {
        outlier.take(&tally(0, 100, 100), s(1), &settings());
    }
    assert!(matches!(judge_all(&mut two, s(1))[..], [(0, Turn::Out { .. })]));
    // The other goes when the first is back.
    let turns = judge_all(&mut two, s(11));
    assert!(matches!(turns[..], [(0, Turn::Back), (1, Turn::Out { .. })]), "{turns:?}");
}

#[test]
fn one_that_is_out_comes_back_when_no_other_is_left() {
    let mut outliers = [Outlier::default(), Outlier::default()];
    assert_eq!(ejected_at(&mut outliers, s(1)), Some(s(10)));
    // The other has failed its probes.
    let [first, second] = &mut outliers;
    assert_eq!(judge(&mut [(first, true), (second, false)], Some(&settings()), s(2)), [(0, Turn::Back)]);
}

#[test]
fn one_that_is_down_as_well_takes_no_room_and_is_back_in_time() {
    let mut outliers = [Outlier::default(), Outlier::default(), Outlier::default()];
    for outlier in &mut outliers[..2] {
        outlier.take(&tally(0, 5, 5), s(1), &settings());
    }
    assert!(matches!(judge_all(&mut outliers, s(1))[..], [(0, Turn::Out { .. })]));
    let [first, second, third] = &mut outliers;
    let turns = judge(&mut [(first, false), (second, true), (third, true)], Some(&settings()), s(2));
    assert!(matches!(turns[..], [(1, Turn::Out { .. })]), "{turns:?}");
    let [first, second, third] = &mut outliers;
    let turns = judge(&mut [(first, false), (second, true), (third, true)], Some(&settings()), s(11));
    assert_eq!(turns, [(0, Turn::Back)]);
}

#[test]
fn without_settings_nobody_stays_out() {
    let mut outliers = [Outlier::default(), Outlier::default()];
    ejected_at(&mut outliers, s(1));
    let [first, second] = &mut outliers;
    assert_eq!(judge(&mut [(first, true), (second, true)], None, s(2)), [(0, Turn::Back)]);
}

proptest! {
    /// Whatever happens to endpoints, never more are out than may be, and never the last; in the end all are back.
    #[test]
    fn never_too_many_are_out(
        count in 1usize..8,
        share_max in 0u32..=100,
        steps in prop::collection::vec((0usize..8, 0u32..3, 0u32..8, 0u64..8, any::<bool>()), 1..200),
    ) {
        let settings = Ejection { share_max, ..settings() };
        let mut outliers = vec![Outlier::default(); count];
        let mut eligible = vec![true; count];
        let mut now = Duration::ZERO;
        for (place, succeeded, failed, pause, turns) in steps {
            now += s(pause);
            let place = place % count;
            outliers[place].take(&tally(succeeded, failed, failed), now, &settings);
            eligible[place] ^= turns;
            let mut endpoints: Vec<_> = outliers.iter_mut().zip(eligible.iter().copied()).collect();
            judge(&mut endpoints, Some(&settings), now);
            let out = endpoints.iter().filter(|(outlier, eligible)| *eligible && outlier.is_out()).count();
            let would = eligible.iter().filter(|eligible| **eligible).count();
            prop_assert!(out <= out_max(would, share_max));
            prop_assert!(would == 0 || out < would);
        }
        // Those that wait for room go out in turn, and come back.
        for _ in 0..=count {
            now += settings.time_max;
            let mut endpoints: Vec<_> = outliers.iter_mut().zip(eligible.iter().copied()).collect();
            judge(&mut endpoints, Some(&settings), now);
        }
        prop_assert!(!outliers.iter().any(Outlier::is_out));
    }
}
