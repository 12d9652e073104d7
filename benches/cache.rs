//! What the cache's decisions cost: finding a response and deciding that it may be used, deciding that one
//! may be stored, storing it, and evicting for it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringway::cache::conditional::evaluate;
use ringway::cache::directives::RequestDirectives;
use ringway::cache::freshness::{Defaults, Received};
use ringway::cache::key::{self, KeyRef};
use ringway::cache::ledger::Ledger;
use ringway::cache::outcome::{self, Outcome, Report};
use ringway::cache::policy::{self, Asked, Grace, Storing, Use};
use ringway::cache::shard::{FillId, STEP_BYTES, Shard};
use ringway::cache::stored::{Body, Head, Making, Segment, Stored};
use ringway::h1::encode::KeptEdits;
use ringway::h1::{request, response};
use ringway::http::{Fields, Method};
use ringway::limits::{HeadLimits, KIB};

criterion_group!(benches, finding, planning, storing);
criterion_main!(benches);

const REQUEST: &[u8] = b"GET /assets/app.js?v=17 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench/1.0\r\n\
    Accept: */*\r\nAccept-Encoding: gzip, br\r\nCache-Control: max-age=600\r\nIf-None-Match: \"other\"\r\n\r\n";

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/javascript\r\n\
    Cache-Control: public, max-age=3600, stale-while-revalidate=60\r\nETag: \"abcdef\"\r\n\
    Last-Modified: Sat, 05 Nov 1994 08:49:37 GMT\r\nContent-Length: 1024\r\n\r\n";

/// The moment of the response, in milliseconds since 1970.
const NOW_MS: u64 = 784_111_777_000;

const ASKED: Asked = Asked { method: Method::Get, authorized: false, no_store: false };

fn decide(fields: Fields<'_>) -> Storing {
    let times = Received { requested_ms: NOW_MS, received_ms: NOW_MS };
    policy::storable(ASKED, 200, fields, times, Defaults::default()).unwrap()
}

/// A response with content of that size.
fn stored(ledger: &Arc<Ledger>, bytes: usize) -> Stored {
    let mut lines = Vec::new();
    let head = response::parse(RESPONSE, &HeadLimits::default(), &mut lines).unwrap();
    let fields = Fields::new(RESPONSE, &lines);
    let making = Making {
        bytes: RESPONSE,
        head: &head,
        fields,
        storing: &decide(fields),
        edits: KeptEdits { via: b"ringway", date: b"Sun, 06 Nov 1994 08:49:37 GMT" },
        length: Some(bytes as u64),
        vary: b"",
        selecting: b"",
        tags: b"",
    };
    let segment = Segment::new(ledger, &vec![b'x'; bytes]).unwrap();
    Stored { head: Head::new(ledger, &making).unwrap(), body: Body::new(ledger, [segment], b"").unwrap() }
}

/// A shard that is full of responses of 1 KiB, and how its keys are hashed.
fn full(bytes: usize) -> (Arc<Ledger>, Shard, RandomState) {
    let ledger = Ledger::new(2 * bytes);
    let mut shard = Shard::new(&ledger, bytes);
    let hasher = RandomState::new();
    let response = stored(&ledger, KIB);
    for number in 0..bytes / (2 * KIB) {
        let text = format!("www.example.com/{number}");
        let key = KeyRef { hash: hasher.hash_one(text.as_bytes()), text: text.as_bytes() };
        shard.store(key, shard.moment(), response.clone());
    }
    (ledger, shard, hasher)
}

fn finding(criterion: &mut Criterion) {
    let (ledger, mut shard, hasher) = full(64 * KIB * KIB);
    let mut text = Vec::new();
    key::write(&mut text, b"www.example.com", &[b"/assets/app.js?v=17"]);
    let key = KeyRef { hash: hasher.hash_one(&*text), text: &text };
    shard.store(key, shard.moment(), stored(&ledger, KIB));
    criterion.bench_function("cache/lookup", |bencher| {
        let mut text = Vec::new();
        bencher.iter(|| {
            key::write(&mut text, black_box(b"www.example.com"), &[black_box(b"/assets/app.js?v=17")]);
            let key = KeyRef { hash: hasher.hash_one(&*text), text: &text };
            shard.find(key, None).unwrap()
        });
    });
    criterion.bench_function("cache/lookup_of_nothing", |bencher| {
        let mut text = Vec::new();
        bencher.iter(|| {
            key::write(&mut text, black_box(b"www.example.com"), &[black_box(b"/assets/none.js")]);
            let key = KeyRef { hash: hasher.hash_one(&*text), text: &text };
            assert!(shard.find(key, None).is_none());
        });
    });
}

fn planning(criterion: &mut Criterion) {
    let ledger = Ledger::new(KIB * KIB);
    let response = stored(&ledger, KIB);
    let mut lines = Vec::new();
    request::parse(REQUEST, &HeadLimits::default(), &mut lines).unwrap();
    let request = Fields::new(REQUEST, &lines);
    criterion.bench_function("cache/plan_of_a_hit", |bencher| {
        bencher.iter(|| {
            let directives = RequestDirectives::of(black_box(request));
            let usage = &response.head.usage;
            let used = policy::usable(usage, &directives, false, NOW_MS + 5_000, &Grace::default());
            assert!(matches!(used, Use::Fresh { .. }));
            evaluate(request, response.head.validators())
        });
    });
    criterion.bench_function("cache/report_of_a_hit", |bencher| {
        let mut out = Vec::with_capacity(256);
        let report = Report { ttl_s: Some(3595), ..Report::of(Outcome::Hit, None) };
        bencher.iter(|| {
            out.clear();
            outcome::write(&mut out, b"ringway", black_box(&report), None);
            out.len()
        });
    });
    let mut lines = Vec::new();
    response::parse(RESPONSE, &HeadLimits::default(), &mut lines).unwrap();
    criterion.bench_function("cache/may_it_be_stored", |bencher| {
        bencher.iter(|| decide(black_box(Fields::new(RESPONSE, &lines))));
    });
}

fn storing(criterion: &mut Criterion) {
    let (ledger, mut shard, hasher) = full(64 * KIB * KIB);
    let mut number = 0_u64;
    criterion.bench_function("cache/store_1_KiB_evicting_as_much", |bencher| {
        bencher.iter(|| {
            number += 1;
            let text = number.to_le_bytes();
            let key = KeyRef { hash: hasher.hash_one(text), text: &text };
            let id = FillId { core: 0, number };
            shard.begin(key, (0, b""), 0, id, NOW_MS);
            let kept = shard.store(key, shard.moment(), stored(&ledger, KIB));
            shard.land(id);
            assert!(kept);
        });
    });
    criterion.bench_function("cache/one_step_of_eviction", |bencher| {
        bencher.iter_batched_ref(
            || full(4 * KIB * KIB),
            |(_, shard, _)| shard.shed(STEP_BYTES),
            BatchSize::LargeInput,
        );
    });
}
