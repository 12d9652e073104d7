//! Fuzz bodies for ranges and dates: what must hold for any bytes at all. The targets in `tests/fuzz` and
//! the run over the corpus in `tests/corpus.rs` only call them.
//!
//! Answers are compared with those of a second reading of the same rules, which splits text where the code
//! walks over bytes, sorts where it inserts, and counts days one year at a time.

use super::range::{Multipart, RANGES_MAX, TEXT_BYTES_MAX, Wanted, wanted, write_content_range};
use crate::http::date::parse;

/// A length in digits, a line feed, and a Range field for a response that long.
pub fn range(bytes: &[u8]) {
    let Some(at) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let length = std::str::from_utf8(&bytes[..at]).ok().and_then(|digits| digits.parse::<u64>().ok());
    let Some(length) = length else { return };
    let found = wanted(Some(&bytes[at + 1..]), length);
    match (plain_wanted(&bytes[at + 1..], u128::from(length)), found) {
        (Plain::Whole, found) => assert_eq!(found, Wanted::Whole),
        (Plain::Unsatisfiable, found) => assert_eq!(found, Wanted::Unsatisfiable),
        (Plain::Parts(plain), Wanted::Parts(ranges)) => {
            let parts: Vec<_> = ranges.iter().map(|(first, past)| (first.into(), past.into())).collect();
            assert_eq!(plain, parts);
            assert_eq!(ranges.single().is_some(), plain.len() == 1);
            assert!(ranges.content_bytes() <= length, "more is sent than there is");
            multipart(&Multipart::new(ranges, length, None, length), length);
            multipart(&Multipart::new(ranges, length, Some(b"text/plain"), !length), length);
        }
        (plain, found) => panic!("{plain:?} was taken for {found:?}"),
    }
}

#[derive(Debug)]
enum Plain {
    Whole,
    Unsatisfiable,
    /// First positions and the ones past the last, in the order of being sent.
    Parts(Vec<(u128, u128)>),
}

fn plain_wanted(value: &[u8], length: u128) -> Plain {
    let text = String::from_utf8_lossy(value).to_lowercase();
    let Some(set) = text.strip_prefix("bytes=") else { return Plain::Whole };
    let specs: Vec<_> = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).collect();
    let specs: Vec<_> = specs.into_iter().filter(|spec| !spec.is_empty()).collect();
    let read: Option<Vec<_>> = specs.iter().map(|spec| plain_spec(spec, length)).collect();
    let Some(read) = read.filter(|read| !read.is_empty()) else { return Plain::Whole };
    let satisfied: Vec<_> = read.into_iter().flatten().collect();
    if satisfied.is_empty() {
        return Plain::Unsatisfiable;
    }
    let too_many = (1..=satisfied.len()).any(|count| union(&satisfied[..count]).len() > RANGES_MAX);
    if too_many || length == 0 {
        return Plain::Whole;
    }
    let mut parts = union(&satisfied);
    parts.sort_by_key(|part| satisfied.iter().position(|one| part.0 <= one.0 && one.1 <= part.1));
    Plain::Parts(parts)
}

/// One range: `None` if it is malformed, `Some(None)` if there is nothing of it.
fn plain_spec(spec: &str, length: u128) -> Option<Option<(u128, u128)>> {
    let (first, last) = spec.split_once('-')?;
    if !(first.to_owned() + last).chars().all(|char| char.is_ascii_digit()) {
        return None;
    }
    let number = |digits: &str| digits.trim_start_matches('0').parse::<u128>();
    // What is too long to be read is too large to matter, and what is no longer than zeros is zero.
    let number = |digits: &str| match number(digits) {
        Ok(number) => number,
        Err(_) if digits.bytes().all(|digit| digit == b'0') => 0,
        Err(_) => u128::from(u64::MAX) + 1,
    };
    let padded = |digits: &str| format!("{digits:0>width$}", width = spec.len());
    match (first, last) {
        ("", "") => None,
        ("", suffix) if number(suffix) == 0 => Some(None),
        ("", suffix) => Some(Some((length - length.min(number(suffix)), length))),
        (first, last) if !last.is_empty() && padded(last) < padded(first) => None,
        (first, _) if number(first) >= length => Some(None),
        (first, "") => Some(Some((number(first), length))),
        (first, last) => Some(Some((number(first), length.min(number(last) + 1)))),
    }
}

/// The same positions in as few parts as possible, in order.
fn union(ranges: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut union: Vec<(u128, u128)> = Vec::new();
    for range in sorted {
        match union.last_mut() {
            Some(last) if range.0 <= last.1 => last.1 = last.1.max(range.1),
            _ => union.push(range),
        }
    }
    union
}

/// Content longer than this is not written out.
const WRITTEN_MAX: u64 = 4096;

/// What is written is as long as foretold, and reads back.
fn multipart(parts: &Multipart<'_>, length: u64) {
    if length > WRITTEN_MAX {
        return;
    }
    let content: Vec<u8> = (b'a'..=b'z').cycle().take(usize::try_from(length).unwrap_or_default()).collect();
    let bytes = |at: u64| usize::try_from(at).unwrap_or_default();
    let mut whole = Vec::new();
    for (index, (first, past)) in parts.ranges().iter().enumerate() {
        let before = whole.len();
        parts.write_head(&mut whole, index);
        assert!(whole.len() - before <= TEXT_BYTES_MAX);
        whole.extend_from_slice(&content[bytes(first)..bytes(past)]);
    }
    parts.write_end(&mut whole);
    assert_eq!(whole.len() as u64, parts.content_length());
    let mut content_type = Vec::new();
    parts.write_content_type(&mut content_type);
    assert!(content_type.len() <= TEXT_BYTES_MAX);
    let content_type = String::from_utf8_lossy(&content_type).into_owned();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("it says its type");
    let text = format!("\r\n{}", String::from_utf8_lossy(&whole));
    let pieces: Vec<_> = text.split(&format!("\r\n--{boundary}")).collect();
    assert_eq!((pieces.first(), pieces.last()), (Some(&""), Some(&"--\r\n")));
    assert_eq!(pieces.len(), parts.ranges().iter().len() + 2);
    for (piece, (first, past)) in pieces[1..].iter().zip(parts.ranges().iter()) {
        let (head, body) = piece.split_once("\r\n\r\n").expect("fields end with an empty line");
        assert_eq!(body.as_bytes(), &content[bytes(first)..bytes(past)]);
        let mut content_range = Vec::new();
        write_content_range(&mut content_range, (first, past), length);
        let content_range = String::from_utf8_lossy(&content_range).into_owned();
        assert_eq!(content_range, format!("bytes {first}-{}/{length}", past - 1));
        assert!(head.ends_with(&format!("\r\nContent-Range: {content_range}")));
    }
}

/// A date, and a moment to be made one.
pub fn date(bytes: &[u8]) {
    let found = parse(bytes);
    if let Some(moment) = found {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        let known = texts(moment).into_iter().any(|known| {
            let leap_second = known.replace(":59 ", ":60 ");
            known.to_lowercase() == text || known.contains(":59 ") && leap_second.to_lowercase() == text
        });
        assert!(known, "{text} is none of {:?}", texts(moment));
    }
    // The library knows the same formats, but heeds case, has no date before 1970, and takes any byte for a
    // separator: where both read a date, it is the same.
    let text = std::str::from_utf8(bytes).ok();
    if let (Some(found), Some(Ok(moment))) = (found, text.map(httpdate::parse_http_date)) {
        let since = moment.duration_since(std::time::UNIX_EPOCH).expect("it is not before 1970");
        assert_eq!(i64::try_from(since.as_secs()), Ok(found));
    }
    let mut number = [0; 8];
    let upto = bytes.len().min(8);
    number[..upto].copy_from_slice(&bytes[..upto]);
    let (first, past) = (-62_167_219_200, 253_402_300_800);
    let moment = first + i64::from_le_bytes(number).rem_euclid(past - first);
    for text in texts(moment) {
        assert_eq!(parse(text.as_bytes()), Some(moment), "{text}");
    }
}

/// A moment of the years 0 to 9999 in every way that it can be written.
fn texts(moment: i64) -> Vec<String> {
    // 719528 days lie between the first of January of year 0, a Saturday, and that of 1970.
    let days = moment.div_euclid(86_400) + 719_528;
    let weekdays = ["Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"];
    let weekday = weekdays[usize::try_from(days % 7).unwrap_or_default()];
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (mut year, mut day) = (0, days);
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = if is_leap(year) { ("Feb", 29) } else { ("Feb", 28) };
    let months = [("Jan", 31), february, ("Mar", 31), ("Apr", 30), ("May", 31), ("Jun", 30), ("Jul", 31)];
    let rest = [("Aug", 31), ("Sep", 30), ("Oct", 31), ("Nov", 30), ("Dec", 31)];
    let mut months = months.into_iter().chain(rest);
    let mut month = months.next().expect("there are twelve");
    while day >= month.1 {
        day -= month.1;
        month = months.next().expect("a year has no more days");
    }
    let (day, month, short) = (day + 1, month.0, &weekday[..3]);
    let second = moment.rem_euclid(86_400);
    let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let mut texts = vec![
        format!("{short}, {day:02} {month} {year:04} {time} GMT"),
        format!("{short} {month} {day:2} {time} {year:04}"),
        format!("{short} {month} {day:02} {time} {year:04}"),
    ];
    if (1900..=2076).contains(&year) {
        texts.push(format!("{weekday}, {day:02}-{month}-{:02} {time} GMT", year % 100));
    }
    texts
}
