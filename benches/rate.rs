//! What counting a request at a rate costs: for one key, for a million of them, and for one key on two cores at once.
#![allow(missing_docs, reason = "a bench is no library")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::filter::rate::{Limit, Table};
use ringway::http::point::mix;

criterion_group!(benches, taking, keying, looking_over);
criterion_main!(benches);

/// A rate that lets everything through, so that everything is counted.
fn open() -> Limit {
    Limit::new(1_000_000, Duration::from_secs(1), u32::MAX, Duration::ZERO)
}

/// A rate that lets nothing more through soon.
fn shut() -> Limit {
    Limit::new(1, Duration::from_secs(86_400), 1, Duration::ZERO)
}

const SEEDS: [u64; 4] = [1, 2, 3, 4];

fn taking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate");
    let table = Table::new(65_536, SEEDS);
    let mut now = 0;
    group.bench_function("one_key", |bencher| {
        bencher.iter(|| {
            now += 1000;
            table.take(&open(), black_box(7), now)
        });
    });
    let mut now = 0;
    group.bench_function("one_key_refused", |bencher| {
        bencher.iter(|| {
            now += 1000;
            table.take(&shut(), black_box(8), now)
        });
    });
    for (name, keys) in [("a_million_keys", 1_000_000), ("a_million_keys_in_room_for_few", 10_000)] {
        let table = Table::new(keys, SEEDS);
        let (mut at, mut now) = (0u64, 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                (at, now) = (at + 1, now + 1000);
                table.take(&open(), mix(at.wrapping_mul(0x9e37) % 1_000_000) | 1, now)
            });
        });
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                table.take(&open(), 9, 1);
            }
        });
        group.bench_function("one_key_on_two_cores", |bencher| {
            bencher.iter(|| table.take(&open(), black_box(9), 1));
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

fn keying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate_key");
    let table = Table::new(1, SEEDS);
    for (name, part) in
        [("client", &[192u8, 0, 2, 1][..]), ("api_key", &b"0123456789abcdef0123456789abcdef"[..])]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut keying = table.keying();
                keying.add_bytes(1, black_box(part));
                keying.finish()
            });
        });
    }
    group.finish();
}

fn looking_over(criterion: &mut Criterion) {
    let table = Table::new(65_536, SEEDS);
    criterion.bench_function("rate_busy", |bencher| bencher.iter(|| table.busy(black_box(1))));
}
