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
        let zeros_and_more = [coded(Coding::Gzip, b"one"), vec![0; 9], coded(Coding::Gzip, b"two")].concat();
        for behind in [
            &b"x"[..],
            b"\x1f\x8c\x08\0\0\0\0\0\0\0",
            b"HTTP/1.1 200 OK\r\n",
            b"\0\0\0\0\0\0\0\0x",
            &zeros_and_more,
        ] {
            for piece in [1, 4096] {
                let bytes = [&coded(coding, b"all"), behind].concat();
                assert_eq!(decoded(coding, &bytes, piece, 64), Err(BadCoding::Malformed), "{coding:?}");
            }
        }
    }
}

#[test]
fn zeros_behind_gzip_are_padding_and_behind_others_malformed() {
    for (coding, want) in [
        (Coding::Gzip, Ok(b"all".to_vec())),
        (Coding::Brotli, Err(BadCoding::Malformed)),
        (Coding::Zstd, Err(BadCoding::Malformed)),
    ] {
        for (count, piece) in [(4, 1), (512, 1), (512, 4096), (100_000, 999)] {
            let bytes = [coded(coding, b"all"), vec![0; count]].concat();
            assert_eq!(decoded(coding, &bytes, piece, 64), want, "{coding:?} {count}");
        }
    }
    assert_eq!(decoded(Coding::Gzip, &[0; 20], 4096, 64), Err(BadCoding::Malformed), "padding of nothing");
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

/// A frame of `zstd` with so many blocks of 128 KiB that repeat a byte.
fn frame_of_zeros(blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    for left in (0..blocks).rev() {
        let head = (128 << 10) << 3 | 1 << 1 | u32::from(left == 0);
        frame.extend(&head.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn what_explodes_is_cut() {
    let zeros = vec![0; 1 << 20];
    let mut encoder = Encoder::new(Coding::Brotli, Effort { level: 3, window_bits: 18 }).unwrap();
    let mut pieces = vec![(&zeros[..], Flow::More); 48];
    pieces.push((b"", Flow::Finish));
    let bomb = encoded(&mut encoder, &pieces, 65536);
    assert!(bomb.len() < 3000, "{}", bomb.len());
    assert_eq!(decoded(Coding::Brotli, &bomb, 4096, 65536), Err(BadCoding::Explodes));
    assert_eq!(decoded(Coding::Zstd, &frame_of_zeros(400), 4096, 65536), Err(BadCoding::Explodes));
    let some = decoded(Coding::Zstd, &frame_of_zeros(120), 4096, 65536).unwrap();
    assert_eq!(some.len(), 15 << 20, "little enough to be let through");
    // What `gzip` makes of it at best is no attack.
    let mut encoder = Encoder::new(Coding::Gzip, Effort { level: 9, window_bits: 15 }).unwrap();
    let least = encoded(&mut encoder, &pieces[42..], 65536);
    assert!((6 << 20) / least.len() > 1000);
    assert_eq!(decoded(Coding::Gzip, &least, 4096, 65536).map(|out| out.len()), Ok(6 << 20));
}

#[test]
fn honest_text_that_repeats_itself_is_let_through() {
    let text: Vec<u8> = (0..4000_u32).map(|number| b' ' + (number * number % 91) as u8).collect();
    let piece = text.repeat(250);
    let mut pieces = vec![(&piece[..], Flow::More); 8];
    pieces.push((b"", Flow::Finish));
    for (coding, window_bits, times) in
        [(Coding::Brotli, 22, 1000), (Coding::Zstd, 21, 3000), (Coding::Gzip, 15, 100)]
    {
        let mut encoder = Encoder::new(coding, Effort { level: 5, window_bits }).unwrap();
        let short = encoded(&mut encoder, &pieces, 65536);
        assert!(short.len() < (8 << 20) / times, "{coding:?} {}", short.len());
        let back = decoded(coding, &short, 4096, 65536).unwrap();
        assert!(back.len() == 8_000_000 && back.chunks(4000).all(|chunk| chunk == text), "{coding:?}");
    }
}

#[test]
fn memory_is_asked_for_before_it_is_taken_and_again_for_a_frame_that_takes_more() {
    let window = |bits: u8| Effort { level: 3, window_bits: bits };
    let text = b"some text ".repeat(40_000);
    let of = |coding, bits| {
        encoded(
            &mut Encoder::new(coding, window(bits)).unwrap(),
            &[(&text, Flow::More), (b"", Flow::Finish)],
            4096,
        )
    };
    let zstd = [of(Coding::Zstd, 17), of(Coding::Zstd, 20), of(Coding::Zstd, 18)].concat();
    for (coding, bytes, asks, most) in [
        (Coding::Gzip, of(Coding::Gzip, 15), 0, 0),
        (Coding::Brotli, of(Coding::Brotli, 18), 1, 1 << 18),
        (Coding::Zstd, zstd, 2, (1 << 20) + (400 << 10)),
    ] {
        for piece in [1, 7, 4096] {
            let base = Decoder::cost(coding);
            let (mut decoder, mut allowed, mut asked) = (Decoder::within(coding, base).unwrap(), base, 0);
            let (mut made, mut out) = (0, [0; 4096]);
            for mut piece in bytes.chunks(piece) {
                loop {
                    let step = decoder.step(piece, &mut out).unwrap();
                    made += step.produced;
                    piece = &piece[step.consumed..];
                    if let Some(needs) = step.needs {
                        assert!(needs > allowed && !step.done);
                        (allowed, asked) = (needs, asked + 1);
                        decoder.allow(needs);
                    }
                    if step.done {
                        break;
                    }
                }
            }
            assert_eq!((asked, decoder.end()), (asks, Ok(())), "{coding:?}");
            assert!(allowed <= base + most && made % text.len() == 0, "{coding:?} {allowed}");
        }
    }
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
