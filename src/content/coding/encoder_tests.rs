use std::io::Read;

use proptest::prelude::*;

use super::*;

pub(crate) const EFFORT: Effort = Effort { level: 1, window_bits: 16 };

/// What independent decoders make of coded content.
pub(crate) fn oracle(coding: Coding, coded: &[u8]) -> Result<Vec<u8>, String> {
    match coding {
        Coding::Gzip => {
            let Some((head, rest)) = coded.split_at_checked(10) else { return Err("no head".to_owned()) };
            if head[..4] != [0x1f, 0x8b, 8, 0] {
                return Err("another head".to_owned());
            }
            let Some((body, end)) = rest.split_last_chunk::<8>() else { return Err("no end".to_owned()) };
            let content = miniz_oxide::inflate::decompress_to_vec(body).map_err(|error| error.to_string())?;
            let mut crc = flate2::Crc::new();
            crc.update(&content);
            let length = u32::try_from(content.len()).unwrap();
            let want = [crc.sum().to_le_bytes(), length.to_le_bytes()].concat();
            if want == end { Ok(content) } else { Err("another sum".to_owned()) }
        }
        Coding::Brotli => {
            let mut content = Vec::new();
            let read = brotlic::DecompressorReader::new(coded).read_to_end(&mut content);
            read.map(|_| content).map_err(|error| error.to_string())
        }
        Coding::Zstd => {
            let mut content = Vec::new();
            let decoder = ruzstd::decoding::StreamingDecoder::new(coded).map_err(|error| error.to_string());
            decoder?.read_to_end(&mut content).map(|_| content).map_err(|error| error.to_string())
        }
    }
}

/// Encodes content that comes in these pieces, through windows of that size.
pub(crate) fn encoded(encoder: &mut Encoder, pieces: &[(&[u8], Flow)], window: usize) -> Vec<u8> {
    let (mut out, mut window) = (Vec::new(), vec![0; window]);
    for (piece, flow) in pieces {
        let mut piece = *piece;
        loop {
            let step = encoder.step(piece, &mut window, *flow).unwrap();
            out.extend_from_slice(&window[..step.produced]);
            piece = &piece[step.consumed..];
            if step.done {
                break;
            }
        }
        assert!(piece.is_empty());
    }
    out
}

#[test]
fn each_coding_makes_less_of_text() {
    let text = "All the world's a stage, and all the men and women merely players. ".repeat(100);
    for coding in Coding::ALL {
        for level in [1, 4, 9] {
            let mut encoder = Encoder::new(coding, Effort { level, window_bits: 16 }).unwrap();
            let coded = encoded(&mut encoder, &[(text.as_bytes(), Flow::Finish)], 64);
            assert!(coded.len() * 10 < text.len(), "{coding:?}");
            assert_eq!(oracle(coding, &coded).unwrap(), text.as_bytes());
        }
    }
}

#[test]
fn after_a_flush_all_that_came_can_be_decoded() {
    use super::super::decoder::Decoder;
    for coding in Coding::ALL {
        let mut encoder = Encoder::new(coding, EFFORT).unwrap();
        let mut decoder = Decoder::new(coding).unwrap();
        for event in 0..20 {
            let event = format!("data: event {event}\n\n");
            let coded = encoded(&mut encoder, &[(event.as_bytes(), Flow::Flush)], 64);
            let mut out = [0; 1024];
            let step = decoder.step(&coded, &mut out).unwrap();
            assert!(step.done);
            assert_eq!(&out[..step.produced], event.as_bytes(), "{coding:?}");
            assert!(decoder.end().is_err(), "it is not whole yet");
        }
    }
}

#[test]
fn a_stream_that_was_left_unfinished_leaves_nothing_behind() {
    for (coding, level) in Coding::ALL.into_iter().flat_map(|coding| [1, 2, 6].map(|level| (coding, level))) {
        let mut encoder = Encoder::new(coding, Effort { level, ..EFFORT }).unwrap();
        // From the second piece on there is a block that is open.
        encoded(&mut encoder, &[(&b"a secret of somebody else's"[..], Flow::More); 3], 64);
        if !encoder.begin_again() {
            assert_ne!(coding, Coding::Zstd);
            encoder = Encoder::new(coding, EFFORT).unwrap();
        }
        for content in [&b"something new"[..], b"", b"and something else"] {
            let coded = encoded(&mut encoder, &[(content, Flow::More), (b"", Flow::Finish)], 64);
            assert_eq!(oracle(coding, &coded).unwrap(), content, "{coding:?} {level}");
            let goes_on = encoder.begin_again();
            assert_eq!(goes_on, coding != Coding::Brotli, "what has ended can begin again");
            if !goes_on {
                break;
            }
        }
    }
}

#[test]
fn short_content_gets_a_short_window() {
    let far = Effort { level: 1, window_bits: 19 };
    for (length, bits) in [(None, 17), (Some(0), 10), (Some(1023), 10), (Some(1024), 11), (Some(1 << 40), 19)]
    {
        assert_eq!(far.for_length(length).window_bits, bits, "{length:?}");
    }
}

#[test]
fn what_lives_long_or_is_short_costs_little() {
    const MIB: usize = 1 << 20;
    for (coding, level) in [(Coding::Gzip, 9), (Coding::Brotli, 6), (Coding::Zstd, 6)] {
        let effort = Effort { level, window_bits: WINDOW_BITS };
        assert!(Encoder::cost(coding, effort) < 6 * MIB, "{coding:?}");
        assert!(Encoder::cost(coding, effort.for_length(None)) <= 5 * MIB, "{coding:?}");
        assert!(Encoder::cost(coding, effort.for_events()) <= MIB, "{coding:?}");
        assert!(
            Encoder::cost(coding, effort.for_length(Some(1000)))
                <= Encoder::cost(coding, effort.for_length(None))
        );
    }
    // What was measured is not more than what is said.
    let cost = |coding, level, window_bits| Encoder::cost(coding, Effort { level, window_bits }) / 1024;
    for (level, window_bits, kib) in [
        (1, 15, 305),
        (1, 17, 953),
        (3, 15, 753),
        (3, 19, 2041),
        (6, 17, 2169),
        (6, 19, 3833),
        (12, 19, 6393),
    ] {
        assert!((kib..2 * kib).contains(&cost(Coding::Zstd, level, window_bits)), "{level} {window_bits}");
    }
    for (level, kib) in [(2, 1014), (4, 2114), (5, 2659), (6, 3683), (9, 34_439)] {
        assert!((kib..kib * 3 / 2).contains(&cost(Coding::Brotli, level, 17)), "{level}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn independent_decoders_get_back_whatever_went_in_however_it_was_split(
        parts in proptest::collection::vec((proptest::collection::vec(prop_oneof![Just(b'a'), any::<u8>()], 0..3000), any::<bool>()), 0..6),
        window in 32_usize..5000,
        level in 1_u8..=6,
    ) {
        let content = parts.iter().flat_map(|(part, _)| part).copied().collect::<Vec<u8>>();
        let flow = |flushes: bool| if flushes { Flow::Flush } else { Flow::More };
        let mut pieces: Vec<_> = parts.iter().map(|(part, flushes)| (&**part, flow(*flushes))).collect();
        pieces.push((b"", Flow::Finish));
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, Effort { level, window_bits: 16 }).unwrap();
            let coded = encoded(&mut encoder, &pieces, window);
            prop_assert!(oracle(coding, &coded).as_ref() == Ok(&content));
            // What is cut off is not whole.
            if let Some((_, cut)) = coded.split_last() && !content.is_empty() {
                prop_assert!(oracle(coding, cut).is_err() || coding == Coding::Zstd);
            }
            if encoder.begin_again() {
                let again = encoded(&mut encoder, &pieces, window);
                prop_assert!(oracle(coding, &again).as_ref() == Ok(&content));
            }
        }
    }
}
