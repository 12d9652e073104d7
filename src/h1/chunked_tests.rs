use super::*;
use proptest::prelude::*;

/// Decodes `coded`, given in pieces of the lengths that `cuts` says, and returns the content and what
/// was left over.
fn decode(coded: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Vec<u8>, bool), BadChunk> {
    let mut decoder = Decoder::default();
    let mut content = Vec::new();
    let mut rest = coded;
    let mut cuts = cuts.iter().copied().cycle();
    while !rest.is_empty() {
        let take = cuts.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let mut window = rest[..take].to_vec();
        let step = decoder.step(&mut window)?;
        content.extend_from_slice(&window[step.data]);
        rest = &rest[step.consumed..];
        if step.consumed < take {
            break;
        }
    }
    let ended = decoder.is_done() || decoder.is_at_trailers();
    Ok((content, rest.to_vec(), ended))
}

#[test]
fn decodes_and_leaves_what_follows() {
    let cases: &[(&str, &str, &str, bool)] = &[
        ("0\r\n\r\n", "", "", true),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", "", true),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", "hello world", "GET /", true),
        ("A\r\n0123456789\r\n000\r\n\r\n", "0123456789", "", true),
        ("5;a=b;c=\"d\"\r\nhello\r\n0;last\r\n\r\n", "hello", "", true),
        ("5\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello", "X: y\r\n\r\n", true),
        ("5\r\nhel", "hel", "", false),
        ("5\r\nhello\r\n0\r\n\r", "hello", "", false),
    ];
    for (coded, content, left, ended) in cases {
        for cut in [usize::MAX, 1, 2, 3] {
            let got = decode(coded.as_bytes(), &[cut]).unwrap();
            assert_eq!(
                got,
                (content.as_bytes().to_vec(), left.as_bytes().to_vec(), *ended),
                "{coded:?} by {cut}"
            );
        }
    }
}

#[test]
fn refuses_what_is_malformed() {
    let long = format!("5;{}\r\nhello\r\n", "x".repeat(600));
    for bad in [
        "\r\n",
        "g\r\n",
        ";a\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5 ;a\r\nhello\r\n",
        "-5\r\n",
        "+5\r\n",
        "0x5\r\n",
        "5\nhello\r\n",
        "5\r\nhello\n",
        "5\r\nhelloX",
        "5\r\nhello\rX",
        "5\rX",
        "5;a\nb\r\n",
        "5;a\rb\r\n",
        "5;\0\r\n",
        "10000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "0\r\n\rX",
        long.as_str(),
    ] {
        for cut in [usize::MAX, 1] {
            assert_eq!(decode(bad.as_bytes(), &[cut]), Err(BadChunk), "{bad:?} by {cut}");
        }
    }
}

#[test]
fn prefixes_are_hexadecimal() {
    let mut out = [0; PREFIX_BYTES_MAX];
    for (length, want) in [(0, "0\r\n"), (1, "1\r\n"), (255, "ff\r\n"), (65536, "10000\r\n")] {
        assert_eq!(prefix(length, &mut out), want.as_bytes());
    }
    assert_eq!(prefix(usize::MAX, &mut out), b"ffffffffffffffff\r\n");
}

proptest! {
    #[test]
    fn any_split_gives_the_same_content(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..8),
        cuts in proptest::collection::vec(1_usize..64, 1..20),
    ) {
        let mut coded = Vec::new();
        for chunk in &chunks {
            coded.extend_from_slice(prefix(chunk.len(), &mut [0; PREFIX_BYTES_MAX]));
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(CHUNK_END);
        }
        coded.extend_from_slice(LAST_CHUNK);
        let (content, left, ended) = decode(&coded, &cuts).unwrap();
        prop_assert_eq!(content, chunks.concat());
        prop_assert!(left.is_empty());
        prop_assert!(ended);
    }

    #[test]
    fn any_bytes_in_any_split_give_the_same_verdict(
        coded in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'5'), Just(b';'), any::<u8>()], 0..64),
        cuts in proptest::collection::vec(1_usize..8, 1..20),
    ) {
        let whole = decode(&coded, &[usize::MAX]);
        let pieces = decode(&coded, &cuts);
        prop_assert_eq!(whole, pieces);
    }
}
