//! Any split of the same bytes gives the same result, for heads and for content; and what the fuzz
//! bodies demand holds for messages that are nearly right, too.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use proptest::collection::vec;
use proptest::prelude::*;
use ringway::h1::body::{BadBody, Decoder};
use ringway::h1::{BodyLength, HeadScanner, Malformed, framing, fuzz, request, response};
use ringway::http::{FieldLine, Fields};
use ringway::limits::HeadLimits;

/// Where a message is cut: lengths of pieces, used again and again.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![vec(1_usize..4, 1..6), vec(1_usize..80, 1..6)]
}

/// Heads of requests and responses, most of them right but for a byte or a line.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        3 => Just("GET /a?b HTTP/1.1".to_owned()),
        2 => Just("POST http://a.example:80/ HTTP/1.1".to_owned()),
        1 => Just("OPTIONS * HTTP/1.0".to_owned()),
        3 => Just("HTTP/1.1 200 OK".to_owned()),
        1 => Just("HTTP/1.0 304".to_owned()),
        1 => Just("HTTP/1.1 101 Switching Protocols".to_owned()),
        1 => "[ -~]{0,24}",
    ];
    let line = prop_oneof![
        4 => Just("Host: a".to_owned()),
        2 => Just("Content-Length: 5".to_owned()),
        2 => Just("Transfer-Encoding: chunked".to_owned()),
        1 => Just("Connection: close, X-A".to_owned()),
        1 => Just("Upgrade: websocket".to_owned()),
        4 => "X-[A-C]:[ \t]{0,2}[!-~ \t]{0,12}",
        1 => "[ -~]{0,12}",
    ];
    let blemish = prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(b' '), Just(b':'), any::<u8>()];
    (
        first,
        vec(line, 0..8),
        proptest::option::weighted(0.4, (any::<prop::sample::Index>(), blemish)),
        vec(any::<u8>(), 0..8),
    )
        .prop_map(|(first, lines, blemish, rest)| {
            let mut bytes = format!("{first}\r\n").into_bytes();
            for line in &lines {
                bytes.extend_from_slice(line.as_bytes());
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"\r\n");
            if let Some((place, byte)) = blemish {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.extend_from_slice(&rest);
            bytes
        })
}

/// What a receiver makes of a head that arrives in pieces: its length and both readings of it, or the
/// fault, or nothing yet.
fn receive(bytes: &[u8], cuts: &[usize]) -> Result<Option<(usize, String, String)>, Malformed> {
    let limits = HeadLimits::default();
    let mut scanner = HeadScanner::default();
    let mut arrived = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while arrived.len() < bytes.len() {
        let upto = bytes.len().min(arrived.len() + cuts.next().unwrap());
        arrived.extend_from_slice(&bytes[arrived.len()..upto]);
        let Some(length) = scanner.scan(&arrived)? else { continue };
        let head = &arrived[..length];
        let mut lines = Vec::new();
        let as_request = request::parse(head, &limits, &mut lines).map(|parsed| {
            format!(
                "{parsed:?} {:?} {}",
                framing::of_request(parsed.version, Fields::new(head, &lines)),
                text(head, &lines)
            )
        });
        let as_response = response::parse(head, &limits, &mut lines).map(|parsed| {
            format!(
                "{parsed:?} {:?} {}",
                framing::of_response(false, parsed.status, parsed.version, Fields::new(head, &lines)),
                text(head, &lines)
            )
        });
        return Ok(Some((length, format!("{as_request:?}"), format!("{as_response:?}"))));
    }
    Ok(None)
}

fn text(head: &[u8], lines: &[FieldLine]) -> String {
    let show = |line: &FieldLine| {
        format!(
            "{:?} {}={}",
            line.known,
            line.name.within(head).escape_ascii(),
            line.value.within(head).escape_ascii()
        )
    };
    lines.iter().map(show).collect::<Vec<_>>().join("|")
}

/// Content of a message that arrives in pieces: the content, how many bytes it took, whether it is
/// complete or could be, and its trailer section.
type Taken = (Vec<u8>, usize, bool, bool, Option<Vec<u8>>);

fn take(length: BodyLength, bytes: &[u8], cuts: &[usize]) -> Result<Taken, BadBody> {
    let mut decoder = Decoder::new(length);
    let (mut content, mut at) = (Vec::new(), 0);
    let mut cuts = cuts.iter().cycle();
    while at < bytes.len() && !decoder.is_done() {
        let mut window = bytes[at..bytes.len().min(at.saturating_add(*cuts.next().unwrap()))].to_vec();
        let step = decoder.step(&mut window)?;
        content.extend_from_slice(&window[step.data]);
        at += step.consumed;
    }
    let trailers = decoder.trailers().map(<[u8]>::to_vec);
    Ok((content, at, decoder.is_done(), decoder.may_end_here(), trailers))
}

/// Chunked content, well-formed but for a byte at most, with and without trailer fields.
fn chunked() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (vec(any::<u8>(), 1..40), "(;[a-z=\"]{0,5}){0,2}");
    let trailers = vec("X-[A-C]: [a-z]{0,8}\r\n", 0..3);
    let blemish = proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (vec(chunk, 0..6), trailers, blemish, vec(any::<u8>(), 0..8)).prop_map(
        |(chunks, trailers, blemish, rest)| {
            let mut bytes = Vec::new();
            for (data, extension) in &chunks {
                bytes.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
                bytes.extend_from_slice(data);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(format!("0\r\n{}\r\n", trailers.concat()).as_bytes());
            if let Some((place, byte)) = blemish {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.extend_from_slice(&rest);
            bytes
        },
    )
}

proptest! {
    #[test]
    fn any_split_of_a_head_gives_the_same_result(head in head(), cuts in cuts()) {
        prop_assert_eq!(receive(&head, &cuts), receive(&head, &[head.len()]));
    }

    #[test]
    fn any_split_of_chunked_content_gives_the_same_result(bytes in chunked(), cuts in cuts()) {
        let whole = take(BodyLength::Chunked, &bytes, &[usize::MAX]);
        prop_assert_eq!(take(BodyLength::Chunked, &bytes, &cuts), whole);
    }

    #[test]
    fn any_split_of_content_of_known_length_gives_the_same_result(
        bytes in vec(any::<u8>(), 0..200),
        length in 0_u64..220,
        cuts in cuts(),
    ) {
        let (content, at, done, may_end, _) = take(BodyLength::Known(length), &bytes, &cuts).unwrap();
        let want = bytes.len().min(usize::try_from(length).unwrap());
        prop_assert_eq!((content.as_slice(), at), (&bytes[..want], want));
        prop_assert_eq!((done, may_end), (want as u64 == length, want as u64 == length));
    }

    #[test]
    fn any_split_of_content_until_the_close_gives_all_of_it(bytes in vec(any::<u8>(), 0..200), cuts in cuts()) {
        let (content, at, done, may_end, _) = take(BodyLength::UntilClose, &bytes, &cuts).unwrap();
        prop_assert_eq!((content.as_slice(), at, done, may_end), (bytes.as_slice(), bytes.len(), false, true));
    }

    #[test]
    fn what_fuzzing_demands_holds_for_heads_that_are_nearly_right(head in head()) {
        fuzz::request_head(&head);
        fuzz::response_head(&head);
        let fields_at = head.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
        fuzz::framing(&[b"@", &head[fields_at..]].concat());
    }

    #[test]
    fn what_fuzzing_demands_holds_for_chunks_that_are_nearly_right(bytes in chunked(), one: u8, two: u8) {
        fuzz::chunked(&[&[one, two], &bytes[..]].concat());
    }
}
