//! What the framing of content costs: taking chunks apart in place, and putting content into them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may fail where it stands")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringway::h1::BodyLength;
use ringway::h1::body::{Decoder, Encoder};
use ringway::h1::chunked::PREFIX_BYTES_MAX;
use ringway::limits::KIB;

criterion_group!(benches, decoded, encoded);
criterion_main!(benches);

/// How much content there is.
const CONTENT_BYTES: usize = 64 * KIB;

/// How many bytes arrive at a time.
const WINDOW_BYTES: usize = 32 * KIB;

const CHUNKS: [(&str, usize); 2] = [("in_chunks_of_1_KiB", KIB), ("in_chunks_of_16_KiB", 16 * KIB)];

fn decoded(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode_64_KiB");
    group.throughput(Throughput::Bytes(CONTENT_BYTES as u64));
    for (name, chunk_bytes) in CHUNKS {
        let coded = coded(&[b'x'; CONTENT_BYTES], chunk_bytes);
        group.bench_function(name, |bencher| {
            // Decoding moves the content together, so that each run needs the bytes as they were.
            bencher.iter_batched_ref(
                || coded.clone(),
                |coded| assert_eq!(decode(coded), CONTENT_BYTES),
                BatchSize::SmallInput,
            );
        });
    }
}

/// Takes the coding away, window by window, and says how much content there was.
fn decode(coded: &mut [u8]) -> usize {
    let mut decoder = Decoder::new(BodyLength::Chunked);
    let mut bytes = 0;
    for window in coded.chunks_mut(WINDOW_BYTES) {
        let step = decoder.step(black_box(window)).unwrap();
        bytes += step.data.len();
    }
    assert!(decoder.is_done());
    bytes
}

fn encoded(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_a_chunk");
    for (name, chunk_bytes) in CHUNKS {
        group.bench_function(name.replace("in_chunks_", ""), |bencher| {
            let mut prefix = [0; PREFIX_BYTES_MAX];
            bencher.iter(|| {
                let length = black_box(chunk_bytes);
                black_box(
                    Encoder::Chunked.prefix(length, &mut prefix).len()
                        + Encoder::Chunked.suffix(length).len(),
                )
            });
        });
    }
}

/// Puts content into chunks.
fn coded(content: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in content.chunks(chunk_bytes) {
        out.extend_from_slice(Encoder::Chunked.prefix(chunk.len(), &mut [0; PREFIX_BYTES_MAX]));
        out.extend_from_slice(chunk);
        out.extend_from_slice(Encoder::Chunked.suffix(chunk.len()));
    }
    out.extend_from_slice(Encoder::Chunked.end());
    out
}
