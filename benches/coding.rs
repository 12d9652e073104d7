//! What codings cost: bytes a second of each at its levels, both ways, what a client says of them, and a head that is
//! written again.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway::content::coding::accept::Accepts;
use ringway::content::coding::decoder::Decoder;
use ringway::content::coding::encoder::{Effort, Encoder, Flow, WINDOW_BITS};
use ringway::content::coding::head::{Form, rewrite};
use ringway::content::coding::whole::Whole;
use ringway::http::coding::Coding;
use ringway::limits::KIB;

criterion_group!(benches, encode, encode_whole, decode, negotiate);
criterion_main!(benches);

/// How much content there is.
const CONTENT_BYTES: usize = 64 * KIB;

const WINDOW_BYTES: usize = 32 * KIB;

const LEVELS: [(Coding, &[u8]); Coding::COUNT] =
    [(Coding::Gzip, &[1, 2, 3, 6, 9]), (Coding::Brotli, &[1, 4, 5]), (Coding::Zstd, &[1, 3, 6])];

/// Something like a page: tags that come again, words, and numbers.
fn page() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = Vec::with_capacity(CONTENT_BYTES + 256);
    while text.len() < CONTENT_BYTES {
        let (item, price) = (random.u32(..100_000), random.u32(..10_000));
        text.extend_from_slice(
            format!("<li class=\"item\" id=\"i{item}\"><a href=\"/items/{item}\">").as_bytes(),
        );
        for _ in 0..random.usize(2..12) {
            let length = random.usize(2..9);
            text.extend((0..length).map(|_| b"etaoinshrdlucmfw"[random.usize(..16) & random.usize(..16)]));
            text.push(b' ');
        }
        text.extend_from_slice(format!("</a><span>{price}.00</span></li>\n").as_bytes());
    }
    text.truncate(CONTENT_BYTES);
    text
}

fn encode(criterion: &mut Criterion) {
    let (page, mut out) = (page(), vec![0; 2 * CONTENT_BYTES]);
    let mut group = criterion.benchmark_group("encode_64_KiB");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    for (coding, levels) in LEVELS {
        for &level in levels {
            let effort = Effort { level, window_bits: WINDOW_BITS };
            let mut encoder = Encoder::new(coding, effort).unwrap();
            let made = encoded(&mut encoder, &page, &mut out);
            let name = format!("{}_{level}_to_{}%", coding.name(), made * 100 / CONTENT_BYTES);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    if !encoder.begin_again() {
                        encoder = Encoder::new(coding, effort).unwrap();
                    }
                    encoded(&mut encoder, black_box(&page), &mut out)
                });
            });
        }
    }
}

fn encoded(encoder: &mut Encoder, content: &[u8], out: &mut [u8]) -> usize {
    let mut made = 0;
    for piece in content.chunks(WINDOW_BYTES) {
        made += encoder.step(piece, &mut out[made..], Flow::More).unwrap().produced;
    }
    made + encoder.step(b"", &mut out[made..], Flow::Finish).unwrap().produced
}

/// The same as a whole, beside `gzip` in the group above.
fn encode_whole(criterion: &mut Criterion) {
    let (page, mut out) = (page(), vec![0; 2 * CONTENT_BYTES]);
    let mut group = criterion.benchmark_group("encode_64_KiB");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    for level in [1, 2, 3, 6, 9, Whole::HARDEST] {
        let mut whole = Whole::new(level);
        let made = whole.make(&page, &mut out).unwrap();
        let name = format!("whole_{level}_to_{}%", made * 100 / CONTENT_BYTES);
        group.bench_function(name, |bencher| {
            bencher.iter(|| whole.make(black_box(&page), &mut out));
        });
    }
}

fn decode(criterion: &mut Criterion) {
    let (page, mut out) = (page(), vec![0; 2 * CONTENT_BYTES]);
    let mut group = criterion.benchmark_group("decode_64_KiB");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    for coding in Coding::ALL {
        let mut encoder = Encoder::new(coding, Effort { level: 4, window_bits: WINDOW_BITS }).unwrap();
        let made = encoded(&mut encoder, &page, &mut out);
        let coded = out[..made].to_vec();
        group.bench_function(coding.name(), |bencher| {
            bencher.iter(|| {
                let mut decoder = Decoder::new(coding).unwrap();
                decoder.step(black_box(&coded), &mut out).unwrap().produced
            });
        });
    }
}

fn negotiate(criterion: &mut Criterion) {
    let all = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    criterion.bench_function("choose_for_a_browser", |bencher| {
        bencher.iter(|| Accepts::of([black_box(&b"gzip, deflate, br, zstd"[..])].into_iter()).choose(&all));
    });
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: max-age=3600\r\n\
        ETag: \"0123456789abcdef\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: x\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nVia: 1.1 ringway\r\nAge: 12\r\nX-Cache: HIT\r\n\
        Content-Length: 1024\r\n\r\n";
    let mut out = Vec::with_capacity(2048);
    criterion.bench_function("rewrite_a_head", |bencher| {
        bencher.iter(|| {
            out.clear();
            rewrite(&mut out, black_box(head), Form::Changed(Some(Coding::Gzip)));
            out.len()
        });
    });
}
