//! What rules cost a request that none of them is for: few, many, and the set that comes with the proxy.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::config::matching::{Condition, PathPattern, Test};
use ringway::config::probes;
use ringway::config::rules::{Probes, Rule, RuleAction, Search, Subject, When};
use ringway::filter::rules::fuzz_rules::with_fields;
use ringway::filter::rules::{Asked, Engine, Marks, Pass, Scratch, Verdict};

criterion_group!(benches, rules, hostile);
criterion_main!(benches);

/// Rules of every kind, by turns.
fn many(count: usize) -> Vec<Rule> {
    let finds = |subject: Subject, contains: &[String], regex: &[String]| {
        When::Finds(Search {
            within: vec![subject],
            contains: contains.to_vec(),
            regex: regex.iter().map(|text| text.parse().unwrap()).collect(),
            ..Search::default()
        })
    };
    let agent = || Subject::Field("user-agent".to_owned());
    let when = |number: usize| match number % 10 {
        0 => finds(agent(), &[format!("scanner-{number}")], &[]),
        1 => When::Is(Condition::Path(vec![PathPattern::prefix(&format!("/private-{number}")).unwrap()])),
        2 => finds(Subject::Path, &[], &[format!(r"/(admin|root)-{number}/.*\.php$")]),
        3 => finds(Subject::Query, &[format!("attack{number}")], &[format!(r"union\s+select{number}")]),
        4 => When::Is(Condition::Header("X-Token".to_owned(), Test::Is(format!("token-{number}")))),
        5 => When::Is(Condition::Client(vec![
            format!("10.{}.{}.0/24", number / 256, number % 256).parse().unwrap(),
        ])),
        6 => When::Is(Condition::Host(vec![format!("host-{number}.example.com").parse().unwrap()])),
        7 => When::Is(Condition::Cookie(format!("session-{number}"), Test::Present)),
        8 => When::UserAgent(Test::Regex(format!("^Bad(Bot|Crawler)-{number}/").parse().unwrap())),
        _ => When::Is(Condition::Method(vec![format!("M{number}")])),
    };
    let rule =
        |number| Rule { id: format!("r{number}"), when: vec![when(number)], action: RuleAction::Deny(403) };
    (0..count).map(rule).collect()
}

const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36";

fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules");
    let probes = probes::rules(&Probes::default());
    for (name, rules) in [("10", many(10)), ("1000", many(1000)), ("10000", many(10_000)), ("probes", probes)]
    {
        let engine = Engine::new([(false, &rules[..])], &[]);
        for (kind, query, fields) in [
            ("small", None, &[("Host", "www.example.com")][..]),
            (
                "browser",
                None,
                &[
                    ("Host", "www.example.com"),
                    ("User-Agent", AGENT),
                    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
                    ("Accept-Language", "en-US,en;q=0.5"),
                    ("Accept-Encoding", "gzip, deflate, br"),
                    ("Cookie", "id=0123456789abcdef; theme=dark"),
                ],
            ),
            ("query", Some(&b"page=2&sort=name&limit=50"[..]), &[("Host", "www.example.com")]),
            ("escaped", Some(b"q=a+few+words%2C+escaped&page=2"), &[("Host", "www.example.com")]),
        ] {
            with_fields(fields, |fields, field_bytes| {
                let asked = Asked {
                    host: b"www.example.com",
                    sent_path: b"/api/v1/things/4711",
                    path: b"/api/v1/things/4711",
                    query,
                    method: b"GET",
                    fields,
                    field_bytes,
                    listener: "web",
                    client: "192.0.2.7".parse().ok(),
                    size: Some(0),
                };
                let mut scratch = Scratch::default();
                group.bench_function(format!("{name}/{kind}"), |bencher| {
                    bencher.iter(|| {
                        let pass = Pass::Head { content_follows: false };
                        let verdict = engine.check(
                            black_box(&asked),
                            pass,
                            &mut Marks::default(),
                            &mut scratch,
                            &mut |_| {},
                        );
                        assert_eq!(verdict, Verdict::Pass);
                    });
                });
            });
        }
    }
}

/// What somebody sends who wants to keep a core busy: 8 KiB of a query, of which nothing is found.
fn hostile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hostile");
    let probes = probes::rules(&Probes::default());
    let engine = Engine::new([(false, &probes[..])], &[]);
    for (name, unit) in [
        ("blanks", "+&"),
        ("marks", "u&'"),
        ("escapes", "%25252527&"),
        ("all", "%2527=(<;$%250a.&"),
        ("slashes", "\\"),
        ("marks of one", "1'+or"),
        ("tags", "<on"),
    ] {
        let query = format!("q=1'%20{}", unit.repeat(8000 / unit.len()));
        with_fields(&[("Host", "www.example.com")], |fields, field_bytes| {
            let asked = Asked {
                host: b"www.example.com",
                sent_path: b"/",
                path: b"/",
                query: Some(query.as_bytes()),
                method: b"GET",
                fields,
                field_bytes,
                listener: "web",
                client: None,
                size: Some(0),
            };
            let mut scratch = Scratch::default();
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let pass = Pass::Head { content_follows: false };
                    let marks = &mut Marks::default();
                    assert_eq!(
                        engine.check(black_box(&asked), pass, marks, &mut scratch, &mut |_| {}),
                        Verdict::Pass
                    );
                });
            });
        });
    }
}
