use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const SEEDS: [u64; 4] = [1, 2, 3, 4];

fn limit(count: u32, burst: u32) -> Limit {
    Limit::new(count, Duration::from_secs(1), burst, Duration::ZERO)
}

fn key(table: &Table, name: u64) -> u64 {
    let mut keying = table.keying();
    keying.add_bytes(0, &name.to_le_bytes());
    keying.finish()
}

#[test]
fn a_burst_goes_at_once_and_then_the_rate() {
    let (table, limit) = (Table::new(10, SEEDS), limit(10, 5));
    let key = key(&table, 1);
    let taken = |now, tries| (0..tries).filter(|_| table.take(&limit, key, now).taken).count();
    assert_eq!(taken(0, 100), 5);
    assert_eq!(taken(SECOND / 10 - 1, 100), 0);
    assert_eq!(taken(SECOND / 10, 100), 1);
    assert_eq!(taken(SECOND, 100), 5);
    assert_eq!((1..=100).map(|at| taken(SECOND + at * SECOND / 100, 3)).sum::<usize>(), 10);
}

#[test]
fn a_refusal_says_when_to_come_back_and_what_is_left() {
    let (table, limit) = (Table::new(10, SEEDS), limit(2, 3));
    let key = key(&table, 1);
    for left in [2, 1, 0] {
        let step = table.take(&limit, key, 7);
        assert_eq!((step.taken, step.wait, limit.left(step.ahead)), (true, 0, left));
    }
    let step = table.take(&limit, key, 7);
    assert_eq!((step.taken, step.wait), (false, SECOND / 2));
    assert!(!table.take(&limit, key, 7 + step.wait - 1).taken);
    assert!(table.take(&limit, key, 7 + step.wait).taken);
}

#[test]
fn requests_wait_one_behind_the_other_and_not_too_long() {
    let table = Table::new(10, SEEDS);
    let limit = Limit::new(10, Duration::from_secs(1), 1, Duration::from_millis(250));
    let key = key(&table, 1);
    let waits: Vec<_> = (0..4).map(|_| table.take(&limit, key, SECOND)).collect();
    let tenth = SECOND / 10;
    assert_eq!(
        waits.iter().map(|step| (step.taken, step.wait)).collect::<Vec<_>>(),
        [(true, 0), (true, tenth), (true, 2 * tenth), (false, 3 * tenth)]
    );
    assert!(!table.take(&limit.with_waiting(0), key, SECOND).taken);
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let (table, limit) = (Table::new(10, SEEDS), limit(1, 2));
    let key = key(&table, 1);
    for _ in 0..10 {
        assert!(table.take(&limit, key, SECOND).taken);
        table.give_back(&limit, key);
    }
    assert!(table.take(&limit, key, SECOND).taken && table.take(&limit, key, SECOND).taken);
    assert!(!table.look(&limit, key, SECOND).taken);
    table.give_back(&limit, self::key(&table, 2));
    assert!(!table.take(&limit, key, SECOND).taken);
}

#[test]
fn absurd_rates_do_not_overflow() {
    for (count, per, burst, delay) in [
        (0, Duration::ZERO, 0, Duration::MAX),
        (1, Duration::MAX, u32::MAX, Duration::MAX),
        (u32::MAX, Duration::from_nanos(1), u32::MAX, Duration::ZERO),
        (1, Duration::from_secs(86_400), u32::MAX, Duration::from_secs(1 << 40)),
    ] {
        let limit = Limit::new(count, per, burst, delay);
        for now in [0, 1, SECOND, u64::MAX / 4, u64::MAX - 1, u64::MAX] {
            for tat in [0, now, u64::MAX / 2, u64::MAX] {
                let step = limit.step(tat, now);
                assert!(step.next >= now && limit.left(step.ahead) <= u64::from(u32::MAX).max(1));
            }
        }
        let table = Table::new(1, SEEDS);
        assert!(table.take(&limit, 1, 1).taken, "{limit:?}");
    }
}

#[test]
fn keys_are_told_apart_by_their_kinds_and_their_ends() {
    let table = Table::new(1, SEEDS);
    let key = |parts: &[(u8, &str)]| {
        let mut keying = table.keying();
        parts.iter().for_each(|(kind, text)| keying.add_bytes(*kind, text.as_bytes()));
        keying.finish()
    };
    let keys = [
        key(&[]),
        key(&[(0, "")]),
        key(&[(1, "")]),
        key(&[(0, "ab")]),
        key(&[(0, "a"), (0, "b")]),
        key(&[(0, ""), (0, "ab")]),
        key(&[(0, "ab"), (0, "")]),
        key(&[(1, "ab")]),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{at}");
    }
    // However a part comes, and wherever it is cut, it is the same.
    for length in [0, 1, 8, 16, 63, 64] {
        let text = "x".repeat(length);
        let mut one = table.keying();
        one.add(3, text.bytes());
        assert_eq!(one.finish(), key(&[(3, &text)]), "{length}");
    }
}

#[test]
fn idle_keys_go_first_and_lose_nothing() {
    // One bucket.
    let (table, limit) = (Table::new(1, SEEDS), limit(1, 10));
    let slots = table.slots() as u64;
    for name in 1..=slots {
        assert!(table.take(&limit, name, 0).taken);
    }
    assert_eq!(table.busy(0), table.slots());
    // All of them have passed: whoever comes begins afresh.
    let late = 100 * SECOND;
    assert_eq!(table.busy(late), 0);
    for name in 101..=100 + slots {
        assert_eq!((0..20).filter(|_| table.take(&limit, name, late).taken).count(), 10, "{name}");
    }
}

#[test]
fn a_newcomer_at_a_full_bucket_inherits_and_a_refused_one_takes_no_slot() {
    let (table, limit) = (Table::new(1, SEEDS), limit(1, 10));
    let slots = table.slots() as u64;
    for name in 1..=slots {
        let taken = if name == 3 { 4 } else { 10 };
        assert!((0..taken).all(|_| table.take(&limit, name, 0).taken));
    }
    assert_eq!((0..20).filter(|_| table.take(&limit, 99, 0).taken).count(), 6);
    // Whose slot that was is as far as the newcomer now, not at the start.
    assert_eq!((0..20).filter(|_| table.take(&limit, 3, 0).taken).count(), 0);
    assert!(table.look(&limit, 4, SECOND).taken);
}

#[test]
fn cycling_keys_lets_nobody_past_his_limit() {
    let (table, limit) = (Table::new(64, SEEDS), limit(10, 10));
    let mine = key(&table, 1);
    let (mut taken, mut others) = (0, 0);
    for at in 0..200_000u64 {
        let now = at * 20_000;
        taken += u64::from(table.take(&limit, mine, now).taken);
        others += u64::from(table.take(&limit, key(&table, 1_000 + at), now).taken);
    }
    // Four seconds.
    assert!(taken <= 10 + 40, "{taken}");
    assert!(others <= table.slots() as u64 * 50, "{others}");
}

proptest! {
    /// The oracle keeps one limiter for each key; the table has room for all.
    #[test]
    fn it_is_what_governor_says(
        count in 1u32..2000,
        burst in 1u32..20,
        schedule in vec((0u64..4, prop_oneof![0u64..1000, 0u64..50_000_000, 0u64..2_000_000_000]), 1..300),
    ) {
        let table = Table::new(64, SEEDS);
        let limit = limit(count, burst);
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(Duration::from_nanos(limit.interval)).unwrap();
        let quota = quota.allow_burst(NonZeroU32::new(burst).unwrap());
        let oracles: Vec<_> =
            (0..4).map(|_| RateLimiter::direct_with_clock(quota, clock.clone())).collect();
        // What is idle may go back to the beginning of time there.
        let mut now = 10 * SECOND;
        for (name, pause) in schedule {
            clock.advance(Duration::from_nanos(pause));
            now += pause;
            let key = key(&table, name);
            let seen = table.look(&limit, key, now);
            let taken = table.take(&limit, key, now);
            prop_assert_eq!(seen, taken);
            let want = oracles[usize::try_from(name).unwrap()].check();
            prop_assert_eq!(taken.taken, want.is_ok());
        }
    }

    /// However few slots there are: over any time, no key gets more than its burst and its rate.
    #[test]
    fn no_key_ever_gets_more_than_its_limit(
        count in 1u32..1000,
        burst in 1u32..10,
        schedule in vec((0u64..40, 0u64..20_000_000), 1..600),
    ) {
        let (table, limit) = (Table::new(1, SEEDS), limit(count, burst));
        let mut times: Vec<Vec<u64>> = vec![Vec::new(); 40];
        let mut now = SECOND;
        for (name, pause) in schedule {
            now += pause;
            if table.take(&limit, name + 1, now).taken {
                times[usize::try_from(name).unwrap()].push(now);
            }
        }
        for times in times {
            for (from, first) in times.iter().enumerate() {
                for (at, last) in times.iter().enumerate().skip(from) {
                    let most = u64::from(burst) + (last - first) / limit.interval;
                    prop_assert!((at - from + 1) as u64 <= most);
                }
            }
        }
    }
}

/// Threads that ask as fast as they can, with a clock that all of them move on.
fn admitted(threads: u64, keys: u64, limit: &Limit, table: &Table, step: u64, end: u64) -> Vec<u64> {
    let clock = AtomicU64::new(1);
    let counts: Vec<_> = (0..keys).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (clock, counts) = (&clock, &counts);
            scope.spawn(move || {
                let mut at = thread;
                loop {
                    let now = clock.fetch_add(step, Ordering::SeqCst);
                    if now > end {
                        return;
                    }
                    let name = at % keys;
                    at += 1;
                    if table.take(limit, key(table, name), now).taken {
                        counts[usize::try_from(name).unwrap()].fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    counts.into_iter().map(AtomicU64::into_inner).collect()
}

#[test]
fn threads_together_get_exactly_the_limit() {
    for (threads, keys) in [(2, 1), (4, 1), (8, 3)] {
        let (table, limit) = (Table::new(1024, SEEDS), limit(10_000, 500));
        // Twenty times as many ask as may.
        let end = SECOND;
        let counts = admitted(threads, keys, &limit, &table, 5_000 / keys, end);
        for count in counts {
            let most = 500 + end / limit.interval + 1;
            assert!(count <= most && count * 100 >= most * 99, "{count} of {most}, {threads} threads");
        }
    }
}

#[test]
fn threads_that_bring_new_keys_at_once_get_one_limit_for_each() {
    // Time stands still: each key gets its burst, however many bring it first.
    let limit = limit(1, 3);
    let table = Table::new(4096, SEEDS);
    let barrier = std::sync::Barrier::new(4);
    let counts: Vec<_> = (0..2000).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                for (name, count) in counts.iter().enumerate() {
                    for _ in 0..2 {
                        if table.take(&limit, key(&table, name as u64), SECOND).taken {
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    for (name, count) in counts.iter().enumerate() {
        assert_eq!(count.load(Ordering::SeqCst), 3, "{name}");
    }
}

#[test]
fn threads_that_fight_for_a_full_bucket_get_no_more_than_its_slots() {
    let (table, limit) = (Table::new(1, SEEDS), limit(1_000, 10));
    let end = SECOND;
    let counts = admitted(4, 64, &limit, &table, 2_000, end);
    let slots = table.slots() as u64;
    let all: u64 = counts.iter().sum();
    assert!(all <= slots * (10 + 1_000 + 1), "{all}");
    // Who counts for a slot that changes hands meanwhile counts again, which costs a part of what there is.
    assert!(all * 100 >= slots * 1_000 * 60, "{all}");
}

#[test]
fn only_so_many_wait_where_that_is_said() {
    let limit = Limit::new(10, Duration::from_secs(1), 2, Duration::from_secs(60));
    for (most, want) in [(0, 2), (1, 3), (7, 9), (600, 602), (u32::MAX, 602)] {
        let limit = limit.with_waiting(most);
        let (mut tat, mut taken) = (0, 0);
        while limit.step(tat, SECOND).taken {
            tat = limit.step(tat, SECOND).next;
            taken += 1;
        }
        assert_eq!(taken, want, "{most}");
    }
}
