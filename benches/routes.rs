//! What finding a route costs, among few and among many, and what the normal form of a path costs.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringway::config::RouteSettings;
use ringway::config::matching::PathPattern;
use ringway::http::{Fields, path};
use ringway::route::fuzz_patterns::refusing;
use ringway::route::{Asked, Captures, Router};

criterion_group!(benches, finding, making, normal_forms);
criterion_main!(benches);

const COUNTS: [usize; 3] = [10, 1_000, 10_000];

/// Requests that are asked for in turn, so that no single one stays in the processor's caches.
const REQUESTS: usize = 1024;

/// The paths of every host: exact, with captures, prefixes; five of each ten hosts are wildcards.
const PATHS: [(&str, &str); 5] = [
    ("/api/v1/users/{id}", "/api/v1/users/4711"),
    ("/api/v1/users/{id}/posts/{post}", "/api/v1/users/4711/posts/42"),
    ("/static/*", "/static/app/main.js"),
    ("/about", "/about"),
    ("/", "/"),
];

fn host(number: usize) -> String {
    let wildcard = if number.is_multiple_of(2) { "*." } else { "" };
    format!("{wildcard}shop-{number}.example.com")
}

fn route(host: &str, pattern: &str) -> RouteSettings {
    let pattern = match pattern.strip_suffix('*') {
        Some(prefix) => PathPattern::prefix(prefix).unwrap(),
        None => PathPattern::whole(pattern).unwrap(),
    };
    RouteSettings { hosts: vec![host.parse().unwrap()], paths: vec![pattern], ..refusing() }
}

/// Every path of as many hosts as it takes.
fn over_hosts(count: usize) -> (Vec<RouteSettings>, Vec<(String, String)>) {
    let all = (0..count).map(|number| {
        let host = host(number / PATHS.len());
        let (pattern, path) = PATHS[number % PATHS.len()];
        (route(&host, pattern), (host.replace('*', "www").to_uppercase() + ":8080", path.to_owned()))
    });
    all.unzip()
}

/// All of one host, each below a segment of its own.
fn over_paths(count: usize) -> (Vec<RouteSettings>, Vec<(String, String)>) {
    let all = (0..count).map(|number| {
        let (pattern, path) = PATHS[number % PATHS.len()];
        let below = format!("/service-{number}");
        (route("www.example.com", &(below.clone() + pattern)), ("www.example.com".to_owned(), below + path))
    });
    all.unzip()
}

/// Some of the requests, spread over all.
fn spread(requests: &[(String, String)]) -> Vec<(String, String)> {
    (0..REQUESTS).map(|at| requests[at.wrapping_mul(7919) % requests.len()].clone()).collect()
}

fn finding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find_a_route");
    for (shape, make) in
        [("hosts_and_paths", over_hosts as fn(usize) -> _), ("paths_of_one_host", over_paths)]
    {
        for count in COUNTS {
            let (routes, requests): (Vec<_>, Vec<_>) = make(count);
            let (router, requests) = (Router::new(&routes, &[]), spread(&requests));
            let mut captures = Captures::new();
            let mut turn = 0;
            group.bench_function(format!("{shape}/{count}"), |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % REQUESTS;
                    let (host, path) = &requests[turn];
                    let asked = asked(host, path);
                    assert!(router.find(black_box(&asked), &mut captures).is_some());
                });
            });
        }
    }
}

fn asked<'a>(host: &'a str, path: &'a str) -> Asked<'a> {
    Asked {
        host: host.as_bytes(),
        path: path.as_bytes(),
        query: b"",
        method: b"GET",
        fields: Fields::new(b"", &[]),
        listener: None,
        client: None,
    }
}

fn making(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("make_a_router");
    group.sample_size(10);
    for count in COUNTS {
        let (routes, _) = over_hosts(count);
        group.bench_function(count.to_string(), |bencher| {
            bencher.iter_batched(|| (), |()| Router::new(black_box(&routes), &[]), BatchSize::PerIteration);
        });
    }
}

fn normal_forms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("normal_form");
    for (name, sent) in [
        ("normal", &b"/api/v1/users/4711/posts/42"[..]),
        ("normal_with_escapes", b"/search/caf%C3%A9%20au%20lait/page/7"),
        ("abnormal", b"/api//v1/./x/../users/%34711/%70osts/42%2fx"),
    ] {
        group.bench_function(name, |bencher| {
            let mut out = Vec::with_capacity(256);
            bencher.iter(|| {
                let sent = black_box(sent);
                if !path::is_normal(sent) {
                    out.clear();
                    path::normalise(sent, &mut out).unwrap();
                }
                path::readings(sent).next().is_some()
            });
        });
    }
}
