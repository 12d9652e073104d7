//! What it costs to know who asks: a token among many, and a name and a password that are remembered. A hash of a
//! password itself is not measured: it takes as long as those who made it wanted.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringway::config::passwords::Users;
use ringway::config::tokens::{Token, Tokens};
use ringway::filter::auth::credentials::{Given, Pair, read};
use ringway::filter::auth::remember::{Key, Remembered};
use ringway::filter::auth::verify;
use sha2::{Digest, Sha256};

criterion_group!(benches, bearer, basic);
criterion_main!(benches);

const COUNTS: [usize; 2] = [10, 10_000];

fn bearer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bearer");
    for count in COUNTS {
        let text = |number: usize| format!("mF_9.B5f-4.1JqM-{number:016}");
        let token = |number| Token { hash: Sha256::digest(text(number)).into(), name: "".into() };
        let tokens = Tokens::new((0..count).map(token).collect()).unwrap();
        let fields: Vec<String> =
            (0..count.min(1024)).map(|number| format!("Bearer {}", text(number))).collect();
        let mut turn = fields.iter().cycle();
        group.bench_function(format!("{count}_tokens"), |bencher| {
            bencher.iter(|| {
                let Given::Bearer(sent) = read(black_box(turn.next().unwrap().as_bytes())) else { panic!() };
                verify::token(&tokens, sent).is_some()
            });
        });
    }
}

fn basic(criterion: &mut Criterion) {
    let hash = "$2y$05$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u";
    let users: String = (0..1000).map(|number| format!("user-{number}:{hash}\n")).collect();
    let users = Users::read(&users).unwrap();
    let key = Key::new(&[7; 32]);
    let mut remembered = Remembered::default();
    let mark = |encoded: &[u8]| {
        let pair = Pair::decode(encoded).unwrap();
        key.mark(users.find(pair.name()).map(|entry| entry.digest()), pair.name(), pair.password())
    };
    // "user-7:open sesame"
    let field = b"Basic dXNlci03Om9wZW4gc2VzYW1l";
    remembered.keep(mark(&field[6..]), true, 0, 600);
    let mut group = criterion.benchmark_group("basic");
    group.bench_function("remembered", |bencher| {
        bencher.iter(|| {
            let Given::Basic(encoded) = read(black_box(field)) else { panic!() };
            remembered.verdict(&mark(encoded), 1)
        });
    });
}
