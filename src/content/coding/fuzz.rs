//! Fuzz bodies for what clients say of codings, and for coded content. The targets in `tests/fuzz` and the run over
//! the corpus in `tests/corpus.rs` only call them.

use super::accept::Accepts;
use super::decoder::{BadCoding, Decoder, FREE_BYTES, expansion_max};
use super::encoder::{Effort, Encoder, Flow};
use super::facts::{Encoded, Facts};
use super::head::{Form, rewrite};
use crate::http::Name;
use crate::http::coding::Coding;

/// The lines of Accept-Encoding: whatever they are, a coding that is chosen is one that is taken, and what is said of
/// no coding changes nothing.
pub fn accept_encoding(bytes: &[u8]) {
    let lines = || bytes.split(|&byte| byte == b'\n');
    let accepts = Accepts::of(lines());
    for preferred in [&Coding::ALL[..], &[Coding::Zstd, Coding::Gzip], &[Coding::Brotli], &[]] {
        if let Some(chosen) = accepts.choose(preferred) {
            assert!(preferred.contains(&chosen) && accepts.takes(chosen));
        }
    }
    let more = lines().chain([&b"deflate, compress;q=0.3, ;q=1, \"x"[..]]);
    assert_eq!(Accepts::of(more), accepts);
    let facts = Facts::of(200, None, [(Name::ContentEncoding, bytes)].into_iter());
    if let Encoded::As(coding) = facts.encoded {
        assert!(bytes.to_ascii_lowercase().windows(2).any(|two| coding.name().as_bytes().starts_with(two)));
    }
}

/// Content that says that it is coded, the coding by its first byte: decoding ends, however the content is split, and
/// writes no more than it may.
pub fn coded(bytes: &[u8]) {
    let Some((&first, content)) = bytes.split_first() else { return };
    let coding = Coding::ALL[usize::from(first) % Coding::COUNT];
    let whole = decoded(coding, content, content.len().max(1));
    let split = decoded(coding, content, usize::from(first).max(1));
    // When an explosion is seen depends on how far the input has been read.
    if ![&whole, &split].contains(&&Err(BadCoding::Explodes)) {
        assert_eq!(whole.as_ref().ok(), split.as_ref().ok(), "however it is split");
    }
    if let Ok(content) = whole {
        let effort = Effort { level: 1, window_bits: 16 };
        let Ok(mut encoder) = Encoder::new(coding, effort) else { return };
        let mut coded = vec![0; content.len() + content.len() / 8 + 1024];
        let step = encoder.step(&content, &mut coded, Flow::Finish);
        let step = step.unwrap_or_else(|_| unreachable!("there is memory"));
        assert!(step.done && step.consumed == content.len());
        assert_eq!(decoded(coding, &coded[..step.produced], 7), Ok(content));
    }
}

fn decoded(coding: Coding, content: &[u8], piece: usize) -> Result<Vec<u8>, BadCoding> {
    let mut decoder = Decoder::new(coding).map_err(|_| BadCoding::Malformed)?;
    let (mut out, mut window) = (Vec::new(), [0; 4096]);
    for mut piece in content.chunks(piece) {
        loop {
            let step = decoder.step(piece, &mut window)?;
            out.extend_from_slice(&window[..step.produced]);
            piece = &piece[step.consumed..];
            if step.done {
                break;
            }
        }
    }
    let most = FREE_BYTES + (1 << 20) + content.len() as u64 * expansion_max(coding);
    assert!(out.len() as u64 <= most);
    decoder.end()?;
    Ok(out)
}

/// A head that is written again says the same of everything but the content's form.
pub fn head(bytes: &[u8]) {
    let bytes = [b"HTTP/1.1 200 OK\r\n", bytes].concat();
    let mut once = Vec::new();
    rewrite(&mut once, &bytes, Form::Changed(Some(Coding::Gzip)));
    let mut twice = Vec::new();
    rewrite(&mut twice, &once, Form::Changed(Some(Coding::Gzip)));
    let fields = |text: &[u8]| crate::http::fields::written_head(text).count();
    assert_eq!(fields(&once), fields(&twice));
}
