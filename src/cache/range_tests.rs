use super::*;
use crate::cache::fuzz_range;
use proptest::collection::vec;
use proptest::prelude::*;

const WHOLE: Option<&[(u64, u64)]> = None;
/// Parts can never be empty, so that nothing wanted stands for 416.
const NOTHING: Option<&[(u64, u64)]> = Some(&[]);

fn found(range: &str, length: u64) -> Option<Vec<(u64, u64)>> {
    match wanted(Some(range.as_bytes()), length) {
        Wanted::Whole => None,
        Wanted::Unsatisfiable => Some(Vec::new()),
        Wanted::Parts(ranges) => Some(ranges.iter().collect()),
    }
}

#[test]
fn a_table_of_ranges() {
    for (range, length, want) in [
        // RFC 9110, 14.1.2: the examples.
        ("bytes=0-499", 10_000, Some(&[(0, 500)][..])),
        ("bytes=500-999", 10_000, Some(&[(500, 1000)])),
        ("bytes=-500", 10_000, Some(&[(9500, 10_000)])),
        ("bytes=9500-", 10_000, Some(&[(9500, 10_000)])),
        ("bytes=0-0,-1", 10_000, Some(&[(0, 1), (9999, 10_000)])),
        ("bytes=0-0, 4-6, -1", 10_000, Some(&[(0, 1), (4, 7), (9999, 10_000)])),
        ("bytes=500-600,601-999", 10_000, Some(&[(500, 1000)])),
        ("bytes=500-700,601-999", 10_000, Some(&[(500, 1000)])),
        // 14.1.2: a last position past the end, a suffix longer than all.
        ("bytes=0-", 10, Some(&[(0, 10)])),
        ("bytes=5-99", 10, Some(&[(5, 10)])),
        ("bytes=9-9", 10, Some(&[(9, 10)])),
        ("bytes=-99", 10, Some(&[(0, 10)])),
        ("bytes=-18446744073709551616", 10, Some(&[(0, 10)])),
        ("bytes=0-18446744073709551615", 10, Some(&[(0, 10)])),
        ("bytes=0-99999999999999999999999", 10, Some(&[(0, 10)])),
        ("bytes=000000000000000000000001-000000000000000000000002", 10, Some(&[(1, 3)])),
        ("bytes=18446744073709551614-18446744073709551615", u64::MAX, Some(&[(u64::MAX - 1, u64::MAX)])),
        // 14.1.2, 15.5.17: what cannot be satisfied.
        ("bytes=10-", 10, NOTHING),
        ("bytes=10-20", 10, NOTHING),
        ("bytes=-0", 10, NOTHING),
        ("bytes=-000", 10, NOTHING),
        ("bytes=10-,-0,99999999999999999999-", 10, NOTHING),
        ("bytes=0-", 0, NOTHING),
        ("bytes=0-0", 0, NOTHING),
        ("bytes=18446744073709551616-18446744073709551617", u64::MAX, NOTHING),
        ("bytes=10-,3-4", 10, Some(&[(3, 5)])),
        // The end of nothing has no Content-Range.
        ("bytes=-1", 0, WHOLE),
        ("bytes=0-0,-1", 0, WHOLE),
        // 14.1: the unit, without regard to case.
        ("BYTES=0-1", 10, Some(&[(0, 2)])),
        ("lines=0-1", 10, WHOLE),
        ("byte=0-1", 10, WHOLE),
        ("bytes", 10, WHOLE),
        ("bytes:0-1", 10, WHOLE),
        ("bytes 0-1", 10, WHOLE),
        ("bytes =0-1", 10, WHOLE),
        ("0-1", 10, WHOLE),
        ("", 10, WHOLE),
        // 5.6.1: lists have white space and empty elements; one element at least.
        ("bytes=0-1 ,\t5-6", 10, Some(&[(0, 2), (5, 7)])),
        ("bytes=,,0-1,, ,5-6,", 10, Some(&[(0, 2), (5, 7)])),
        ("bytes=", 10, WHOLE),
        ("bytes=, ,", 10, WHOLE),
        // 14.1.1, 14.1.2: what is malformed, and takes the rest with it.
        ("bytes=5-4", 10, WHOLE),
        ("bytes=20-19", 10, WHOLE),
        ("bytes=0-1,5-4", 10, WHOLE),
        ("bytes=99999999999999999999999-99999999999999999999998", 10, WHOLE),
        ("bytes=-", 10, WHOLE),
        ("bytes=--1", 10, WHOLE),
        ("bytes=1", 10, WHOLE),
        ("bytes=0-1-2", 10, WHOLE),
        ("bytes=a-b", 10, WHOLE),
        ("bytes=+0-1", 10, WHOLE),
        ("bytes=0-+1", 10, WHOLE),
        ("bytes=0x0-1", 10, WHOLE),
        ("bytes=0 - 1", 10, WHOLE),
        ("bytes=0-1;5-6", 10, WHOLE),
        ("bytes=0-1,x", 10, WHOLE),
        ("bytes=0-1.5", 10, WHOLE),
        ("bytes=\"0-1\"", 10, WHOLE),
        ("bytes=0-\u{661}", 10, WHOLE),
        ("bytes=0-1, lines=3-4", 10, WHOLE),
        // 14.2, 15.3.7.2: the order asked for, overlaps as one, in the place of the first.
        ("bytes=5-6,0-1", 10, Some(&[(5, 7), (0, 2)])),
        ("bytes=5-6,0-1,6-7", 10, Some(&[(5, 8), (0, 2)])),
        ("bytes=40-49,0-9,20-29,8-21", 50, Some(&[(40, 50), (0, 30)])),
        ("bytes=0-0,2-2,4-4,0-4", 10, Some(&[(0, 5)])),
        ("bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", 10, Some(&[(0, 10)])),
        ("bytes=0-1,3-4", 4, Some(&[(0, 2), (3, 4)])),
    ] {
        assert_eq!(found(range, length).as_deref(), want, "{range} of {length}");
    }
    assert_eq!(wanted(None, 10), Wanted::Whole);
}

#[test]
fn more_ranges_than_are_served_ask_for_everything() {
    // RFC 9110, 17.15
    let ranges = |count: u64| {
        let specs: Vec<_> = (0..count).map(|index| format!("{0}-{0}", index * 2)).collect();
        format!("bytes={}", specs.join(","))
    };
    let max = RANGES_MAX as u64;
    assert_eq!(found(&ranges(max), 1000).map(|parts| parts.len()), Some(RANGES_MAX));
    assert_eq!(found(&ranges(max + 1), 1000), None);
    assert_eq!(found(&ranges(5000), 100_000), None);
    // Those that are not there do not count.
    assert_eq!(found(&ranges(5000), max * 2).map(|parts| parts.len()), Some(RANGES_MAX));
    // One that joins others finds room where a new one would not.
    assert_eq!(found(&format!("{},1-1", ranges(max)), 1000).map(|parts| parts.len()), Some(RANGES_MAX - 1));
}

#[test]
fn a_single_part_is_told_from_several() {
    let Wanted::Parts(one) = wanted(Some(b"bytes=1-2"), 10) else { panic!() };
    assert_eq!((one.single(), one.content_bytes()), (Some((1, 3)), 2));
    let Wanted::Parts(two) = wanted(Some(b"bytes=1-2,4-9"), 10) else { panic!() };
    assert_eq!((two.single(), two.content_bytes()), (None, 8));
}

#[test]
fn a_field_of_several_lines_is_ignored() {
    for (lines, want) in [
        ("", None),
        ("Range: bytes=0-1\r\n", Some(&b"bytes=0-1"[..])),
        ("Range: bytes=0-1\r\nrange: bytes=0-1\r\n", None),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut lines = Vec::new();
        crate::h1::request::parse(head.as_bytes(), &crate::limits::HeadLimits::default(), &mut lines)
            .unwrap();
        assert_eq!(field(Fields::new(head.as_bytes(), &lines)), want);
    }
}

#[test]
fn content_range_says_where_a_part_lies_or_how_long_the_whole_is() {
    // RFC 9110, 14.4
    let mut out = Vec::new();
    write_content_range(&mut out, (42, 1234), 1234);
    out.push(b'\n');
    write_unsatisfied(&mut out, 47_022);
    assert_eq!(out, b"bytes 42-1233/1234\nbytes */47022");
}

#[test]
fn several_parts_are_written_as_multipart_byteranges() {
    // RFC 9110, 14.6
    let Wanted::Parts(ranges) = wanted(Some(b"bytes=0-1,-3"), 10) else { panic!() };
    let parts = Multipart::new(ranges, 10, Some(b"text/plain"), 0x0123_4567_89ab_cdef);
    let mut out = Vec::new();
    for (index, content) in [&b"01"[..], b"789"].into_iter().enumerate() {
        parts.write_head(&mut out, index);
        out.extend_from_slice(content);
    }
    parts.write_end(&mut out);
    assert_eq!(out.len() as u64, parts.content_length());
    let want = "--0123456789abcdef\r\n\
        Content-Type: text/plain\r\n\
        Content-Range: bytes 0-1/10\r\n\
        \r\n\
        01\r\n\
        --0123456789abcdef\r\n\
        Content-Type: text/plain\r\n\
        Content-Range: bytes 7-9/10\r\n\
        \r\n\
        789\r\n\
        --0123456789abcdef--\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);
    let mut content_type = Vec::new();
    parts.write_content_type(&mut content_type);
    assert_eq!(content_type, b"multipart/byteranges; boundary=0123456789abcdef");
}

#[test]
fn the_longest_texts_are_as_long_as_said() {
    let length = u64::MAX;
    let specs = format!("bytes={}-{},-1", length - 4, length - 3);
    let Wanted::Parts(ranges) = wanted(Some(specs.as_bytes()), length) else { panic!() };
    let parts = Multipart::new(ranges, length, Some(b""), length);
    let mut out = Vec::new();
    parts.write_head(&mut out, 1);
    assert!(out.len() <= TEXT_BYTES_MAX);
    assert_eq!(out.len() as u64, parts.head_bytes(1));
}

#[test]
fn digits_are_counted() {
    for number in [0, 1, 9, 10, 99, 100, u64::MAX] {
        assert_eq!(digits(number), number.to_string().len(), "{number}");
    }
}

fn specs() -> impl Strategy<Value = String> {
    let spec = prop_oneof![
        8 => (0_u64..120, 0_u64..30).prop_map(|(first, more)| format!("{first}-{}", first + more)),
        2 => (0_u64..120).prop_map(|first| format!("{first}-")),
        2 => (0_u64..120).prop_map(|suffix| format!("-{suffix}")),
        1 => "[ ,\t]{0,3}",
        1 => "[0-9]{0,40}-[0-9]{0,40}",
    ];
    vec(spec, 0..24).prop_map(|specs| specs.join(","))
}

proptest! {
    #[test]
    fn what_fuzzing_demands_holds_for_ranges_that_are_nearly_right(specs in specs(), length in 0_u64..130) {
        fuzz_range::range(format!("{length}\nbytes={specs}").as_bytes());
    }

    #[test]
    fn what_fuzzing_demands_holds_for_any_set_of_characters(text in "[0-9, =-]{0,30}", length: u64) {
        fuzz_range::range(format!("{length}\nbytes={text}").as_bytes());
    }

    #[test]
    fn what_fuzzing_demands_holds_for_dates(
        number: [u8; 8],
        text in "(Sun|Mon|Tue|sat), [0-3][0-9] (Feb|Nov|dec) (19|20)[0-9]{2} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT",
        short in "(Sunday|Monday|friday), [0-3][0-9]-(Feb|Nov|dec)-[0-9]{2} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT",
    ) {
        fuzz_range::date(&number);
        fuzz_range::date(text.as_bytes());
        fuzz_range::date(short.as_bytes());
    }
}
