use proptest::prelude::*;

use super::super::encoder::tests::{EFFORT, encoded};
use super::super::encoder::{Effort, Encoder, Flow};
use super::*;

fn coded(coding: Coding, content: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding, EFFORT).unwrap();
    encoded(&mut encoder, &[(content, Flow::Finish)], 4096)
}

fn decoded(coding: Coding, coded: &[u8], piece: usize, window: usize) -> Result<Vec<u8>, BadCoding> {
    let mut decoder = Decoder::new(coding).unwrap();
    let (mut out, mut window) = (Vec::new(), vec![0; window]);
    for mut piece in coded.chunks(piece) {
        loop {
            let step = decoder.step(piece, &mut window)?;
            out.extend_from_slice(&window[..step.produced]);
            piece = &piece[step.consumed..];
            if step.done {
                break;
            }
            assert!(step.produced > 0, "it gets on");
        }
    }
    decoder.end()?;
    Ok(out)
}

#[test]
fn nothing_stands_for_no_content() {
    for coding in Coding::ALL {
        assert_eq!(decoded(coding, b"", 1, 16), Ok(Vec::new()));
        assert_eq!(decoded(coding, &coded(coding, b""), 1, 16), Ok(Vec::new()));
    }
}

#[test]
fn what_is_cut_off_anywhere_is_not_whole() {
    let text = b"to be, or not to be, that is the question".repeat(5);
    for coding in Coding::ALL {
        let whole = coded(coding, &text);
        assert_eq!(decoded(coding, &whole, 3, 16), Ok(text.clone()));
        for end in 1..whole.len() {
            assert_eq!(decoded(coding, &whole[..end], 7, 16), Err(BadCoding::Truncated), "{coding:?} {end}");
        }
    }
}

#[test]
fn nothing_may_come_as_often_as_it_likes() {
    // As from an upstream whose chunks arrive byte by byte: most reads have no content.
    for coding in Coding::ALL {
        let (whole, mut out) = (coded(coding, b"to be, or not to be"), Vec::new());
        let (mut decoder, mut window) = (Decoder::new(coding).unwrap(), [0; 64]);
        for byte in whole.chunks(1) {
            for input in std::iter::once(byte).chain(std::iter::repeat_n(&b""[..], 40)) {
                let step = decoder.step(input, &mut window).unwrap();
                assert!(step.done && step.consumed == input.len());
                out.extend_from_slice(&window[..step.produced]);
            }
        }
        assert_eq!((decoder.end(), &out[..]), (Ok(()), &b"to be, or not to be"[..]), "{coding:?}");
    }
}

#[test]
fn something_else_behind_the_content_is_malformed() {
    for coding in Coding::ALL {
        for behind in [&b"x"[..], b"\0\0\0\0\0\0\0\0", b"\x1f\x8c\x08\0\0\0\0\0\0\0", b"HTTP/1.1 200 OK\r\n"]
        {
            for piece in [1, 4096] {
                let bytes = [&coded(coding, b"all"), behind].concat();
                assert_eq!(decoded(coding, &bytes, piece, 64), Err(BadCoding::Malformed), "{coding:?}");
            }
        }
    }
}

#[test]
fn members_follow_each_other() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let bytes = [coded(coding, b"one, "), coded(coding, b""), coded(coding, b"two")].concat();
        for (piece, window) in [(1, 1), (5, 64), (4096, 3), (4096, 4096)] {
            assert_eq!(decoded(coding, &bytes, piece, window), Ok(b"one, two".to_vec()), "{coding:?}");
        }
    }
    let twice = [coded(Coding::Brotli, b"one"), coded(Coding::Brotli, b"two")].concat();
    assert_eq!(decoded(Coding::Brotli, &twice, 4096, 64), Err(BadCoding::Malformed));
}

#[test]
fn a_wrong_sum_is_malformed() {
    let mut bytes = coded(Coding::Gzip, b"content");
    let at = bytes.len() - 6;
    bytes[at] ^= 1;
    assert_eq!(decoded(Coding::Gzip, &bytes, 4096, 64), Err(BadCoding::Malformed));
}

#[test]
fn what_explodes_is_cut() {
    let zeros = vec![0; 6 << 20];
    for coding in [Coding::Brotli, Coding::Zstd] {
        let mut encoder = Encoder::new(coding, Effort { level: 3, window_bits: 18 }).unwrap();
        let bomb = encoded(&mut encoder, &[(&zeros, Flow::Finish)], 65536);
        assert!(bomb.len() < 4096);
        assert_eq!(decoded(coding, &bomb, 4096, 65536), Err(BadCoding::Explodes), "{coding:?}");
    }
    // What `gzip` makes of it at best is no attack.
    let mut encoder = Encoder::new(Coding::Gzip, Effort { level: 9, window_bits: 15 }).unwrap();
    let least = encoded(&mut encoder, &[(&zeros, Flow::Finish)], 65536);
    assert!(zeros.len() / least.len() > 1000);
    assert!(decoded(Coding::Gzip, &least, 4096, 65536).as_ref() == Ok(&zeros));
    let mebibyte = &zeros[..1 << 20];
    assert_eq!(decoded(Coding::Zstd, &coded(Coding::Zstd, mebibyte), 4096, 65536).as_deref(), Ok(mebibyte));
}

#[test]
fn what_is_said_of_a_window_of_br_is_what_the_stream_has() {
    for window_bits in [10, 11, 15, 16, 17, 18, 21, 24] {
        // At this level the window is the one that was asked for.
        let mut encoder = Encoder::new(Coding::Brotli, Effort { level: 7, window_bits }).unwrap();
        let coded = encoded(&mut encoder, &[(&[b'x'; 100], Flow::Finish)], 4096);
        assert_eq!(brotli_window_bits(&coded), window_bits.max(17), "{coded:?}");
    }
    // The table of RFC 7932, section 9.1.
    for (first, bits) in
        [(0b0, 16), (0b1, 17), (0b11, 18), (0b1111, 24), (0b10_0001, 10), (0b11_0001, 11), (0b111_0001, 15)]
    {
        assert_eq!(brotli_window_bits(&[first]), bits);
    }
    assert_eq!(brotli_window_bits(b""), 24);
}

#[test]
fn a_window_that_takes_too_much_memory_is_refused() {
    // A frame with a window descriptor of 16 MiB and of 2 GiB.
    for window in [0x70, 0xa8] {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x01, 0x00, 0x00];
        assert_eq!(decoded(Coding::Zstd, &frame, 4096, 64), Err(BadCoding::Malformed));
    }
    // The first bits of a large window of `br`.
    assert_eq!(decoded(Coding::Brotli, &[0x11, 0x1e, 0x00, 0x03], 4096, 64), Err(BadCoding::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn content_comes_back_however_it_is_split(
        content in proptest::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..5000),
        piece in 1_usize..3000,
        window in 1_usize..5000,
    ) {
        for coding in Coding::ALL {
            let back = decoded(coding, &coded(coding, &content), piece, window);
            prop_assert!(back.as_ref() == Ok(&content));
        }
    }

    #[test]
    fn a_flipped_bit_is_seen_or_changes_nothing(content in "[a-e]{1,200}", at in any::<proptest::sample::Index>(), bit in 0_u8..8) {
        let mut bytes = coded(Coding::Gzip, content.as_bytes());
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(out) = decoded(Coding::Gzip, &bytes, 64, 64) {
            prop_assert_eq!(out, content.as_bytes());
        }
    }

    #[test]
    fn noise_never_hangs(noise in proptest::collection::vec(any::<u8>(), 0..400), piece in 1_usize..100) {
        for coding in Coding::ALL {
            let _ = decoded(coding, &noise, piece, 256);
            let begun = [&coded(coding, b"some content")[..6], &noise].concat();
            let _ = decoded(coding, &begun, piece, 256);
        }
    }
}
