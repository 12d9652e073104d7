//! What it costs to check a request that nothing is wrong with.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ipnet::IpNet;
use ringway::config::browsers::{CorsSettings, Origins};
use ringway::config::network::networks;
use ringway::config::security::RequestLimits;
use ringway::filter::access::{Asker, Networks, lets_in};
use ringway::filter::bounds::{Bounds, Looked};
use ringway::filter::cors::{self, Cors};
use ringway::filter::fuzz_access::Request;
use ringway::h1::BodyLength;

criterion_group!(benches, access, limits, origins);
criterion_main!(benches);

/// Addresses that are asked for in turn, so that no single one stays in the processor's caches.
const ASKED: usize = 1024;

/// Networks of many lengths, as lists of them have them: a third of IPv6.
fn list(count: usize) -> Vec<IpNet> {
    let mut random = fastrand::Rng::with_seed(7);
    let one = |_| {
        let (address, length) = if random.u8(..3) == 0 {
            (IpAddr::V6(Ipv6Addr::from(random.u128(..) >> 3 | 1 << 125)), random.u8(24..=64))
        } else {
            (IpAddr::V4(Ipv4Addr::from(random.u32(..))), random.u8(12..=32))
        };
        IpNet::new(address, length).unwrap().trunc()
    };
    (0..count).map(one).collect()
}

fn access(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access");
    let mut random = fastrand::Rng::with_seed(8);
    for count in [10, 10_000, 300_000] {
        let all = list(count);
        let set = Networks::new(all.iter().copied());
        // Half of them are in one of the networks.
        let asked: Vec<Asker> = (0..ASKED)
            .map(|number| match number % 4 {
                0 => IpAddr::V4(Ipv4Addr::from(random.u32(..))),
                1 => IpAddr::V6(Ipv6Addr::from(random.u128(..))),
                _ => all[random.usize(..all.len())].addr(),
            })
            .map(Asker::Address)
            .collect();
        let mut at = 0;
        group.bench_function(format!("among_{count}"), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % ASKED;
                let asker = black_box(asked[at]);
                lets_in(asker, None, set.closeness(asker), false)
            });
        });
    }
    let text: String = list(10_000).iter().map(|network| format!("{network}\n")).collect();
    group.sample_size(10);
    group.bench_function("read_10000", |bencher| {
        bencher.iter_batched(
            || (),
            |()| Networks::new(networks(black_box(&text)).unwrap()),
            BatchSize::PerIteration,
        );
    });
}

/// A request of a browser.
fn request() -> Request {
    Request::new(&[
        ("Host", "www.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Origin", "https://app.example.com"),
        ("Cookie", "session=2f1c8a7d9b3e4f60a1b2c3d4e5f60718"),
        ("Content-Type", "application/json"),
    ])
}

fn limits(criterion: &mut Criterion) {
    let bounds = Bounds::new(&RequestLimits {
        methods: ["GET", "HEAD", "POST"].map(str::to_owned).to_vec(),
        target_bytes_max: Some(2048),
        query_bytes_max: Some(1024),
        parameters_max: Some(50),
        field_bytes_max: Some(4096),
        fields_max: Some(50),
        content_types: ["text/*", "application/json"].map(str::to_owned).to_vec(),
    });
    let request = request();
    let target = b"/api/v1/users?sort=name&page=7&per-page=50";
    criterion.bench_function("request_limits", |bencher| {
        bencher.iter(|| {
            let looked = Looked {
                target: black_box(target),
                query: Some(&target[14..]),
                fields: request.fields(),
                body: BodyLength::Chunked,
            };
            bounds.check_method(black_box(b"POST")).and_then(|()| bounds.check(&looked))
        });
    });
}

fn origins(criterion: &mut Criterion) {
    let below = |n: usize| Origins::Below("https://".to_owned(), format!(".shop-{n}.example.com"));
    let one = |n: usize| Origins::One(format!("https://shop-{n}.example.com"));
    let mut all: Vec<Origins> = (0..10).flat_map(|n| [one(n), below(n)]).collect();
    all.push(Origins::One("https://app.example.com".to_owned()));
    let rule = Cors::new(&CorsSettings { origins: all, ..CorsSettings::default() });
    let request = request();
    let mut lines = Vec::with_capacity(256);
    criterion.bench_function("cors", |bencher| {
        bencher.iter(|| {
            lines.clear();
            if let Some(origin) = cors::origin(black_box(&request).fields()) {
                rule.write_lines(origin, &mut lines);
            }
            lines.len()
        });
    });
}
