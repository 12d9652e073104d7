//! What choosing an endpoint costs, among few and among many, and what making the ring for consistent hashing costs.
#![allow(missing_docs, reason = "a bench is no library")]

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringway::config::{Balance, HashBy};
use ringway::http::point::mix;
use ringway::upstream::balance::{Candidate, Chooser, Ring, View};

criterion_group!(benches, choosing, making);
criterion_main!(benches);

const COUNTS: [usize; 3] = [10, 100, 1_000];

/// How many requests are in flight at each endpoint: as much as a core can know at the least cost.
struct Loads(Box<[Cell<u32>]>);

impl View for Loads {
    fn may_take(&self, place: usize) -> bool {
        self.0[place].get() < u32::MAX
    }

    fn in_flight(&self, place: usize) -> u32 {
        self.0[place].get()
    }

    fn in_flight_at_all(&self) -> u32 {
        u32::try_from(self.0.len() * 2).unwrap_or(u32::MAX)
    }

    fn latency_us(&self, place: usize) -> u32 {
        1_000 + self.0[place].get()
    }
}

/// Endpoints with equal shares, or each with one of its own.
fn candidates(count: usize, equal: bool) -> Vec<Candidate> {
    let share =
        |place: usize| if equal { 1_000 } else { 1_000 + u32::try_from(place * 37 % 9_001).unwrap_or(0) };
    (0..count).map(|place| Candidate { place, id: mix(place as u64), share: share(place) }).collect()
}

/// From one to three requests.
fn in_flight(place: usize) -> u32 {
    1 + u32::try_from(mix(place as u64) % 3).unwrap_or_default()
}

fn ring(count: usize) -> Arc<Ring> {
    let endpoints: Vec<(u64, u32)> = (0..count).map(|place| (mix(place as u64), 1)).collect();
    Arc::new(Ring::new(&endpoints))
}

fn choosing(criterion: &mut Criterion) {
    let hash = |load_max| Balance::ConsistentHash { by: HashBy::Client, load_max };
    for (name, balance, equal) in [
        ("round_robin", Balance::RoundRobin, true),
        ("round_robin_by_weight", Balance::RoundRobin, false),
        ("random", Balance::Random, true),
        ("random_by_weight", Balance::Random, false),
        ("power_of_two", Balance::PowerOfTwo, true),
        ("power_of_two_by_weight", Balance::PowerOfTwo, false),
        ("least_connections", Balance::LeastConnections, true),
        ("consistent_hash", hash(None), true),
        ("consistent_hash_bounded", hash(Some(125)), true),
    ] {
        let mut group = criterion.benchmark_group(name);
        for count in COUNTS {
            let ring = matches!(balance, Balance::ConsistentHash { .. }).then(|| ring(count));
            let chooser = Chooser::new(&balance, &candidates(count, equal), ring, 1, None);
            let loads = Loads((0..count).map(|place| Cell::new(in_flight(place))).collect());
            let mut point = 0_u64;
            group.bench_function(count.to_string(), |bencher| {
                bencher.iter(|| {
                    point = point.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let place = chooser.choose(black_box(point), &loads);
                    assert!(place.is_some());
                    place
                });
            });
        }
    }
}

fn making(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("make_a_ring");
    group.sample_size(10);
    for count in COUNTS {
        let endpoints: Vec<(u64, u32)> = (0..count).map(|place| (mix(place as u64), 1)).collect();
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter_batched(|| (), |()| Ring::new(black_box(&endpoints)), BatchSize::PerIteration);
        });
    }
    drop(group);
    let mut group = criterion.benchmark_group("make_a_chooser");
    for count in COUNTS {
        let candidates = candidates(count, false);
        let before = Chooser::new(&Balance::RoundRobin, &candidates, None, 1, None);
        group.bench_function(count.to_string(), |bencher| {
            bencher
                .iter(|| Chooser::new(&Balance::RoundRobin, black_box(&candidates), None, 1, Some(&before)));
        });
    }
}
