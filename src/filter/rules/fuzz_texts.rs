//! Fuzz bodies for what rules look at: the readings of a text, and the texts of a form. The targets in `tests/fuzz` and
//! the run over the corpus in `tests/corpus.rs` only call them.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::Value;

use super::Subjects;
use super::decode::{Manner, Readings, is_plain};
use super::form::{self, Kind};
use super::inject::{ASKS_MAX, Detectors};
use crate::http::query;

/// So much of an input is looked at.
const BYTES_MAX: usize = 4096;

/// All kinds of content are looked at.
const ALL: Subjects = Subjects { form: true, json: true };

/// Any text: it has few readings, none longer than thrice itself, itself among them, and what it is decoded to as well;
/// and whoever escapes it once more hides nothing.
pub fn decoding(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    for manner in [Manner::Path, Manner::Form, Manner::Plain] {
        let (all, standard) = read(bytes, manner);
        assert!((1..=10).contains(&all.len()), "{} readings", all.len());
        assert!(all.contains(&bytes.to_vec()), "it can be read as it is");
        assert!(all.iter().all(|reading| reading.len() <= 3 * bytes.len()));
        let distinct = |at: usize| !all[..at].contains(&all[at]);
        assert!((0..all.len()).all(distinct), "a reading is there twice");
        if is_plain(bytes, manner) {
            assert_eq!(all.len(), 1);
        }
        let is_simple = bytes.is_ascii() && !bytes.windows(2).any(|two| two.eq_ignore_ascii_case(b"%u"));
        let mut decoded = Vec::new();
        query::decode(bytes, &mut decoded);
        if manner == Manner::Form && is_simple && decoded.is_ascii() {
            assert_eq!(all[standard], decoded);
        }
        // What is decoded already has no reading that this has not, but those of the last round.
        if manner != Manner::Plain {
            let (inner, _) = read(&all[standard], manner);
            let early = &inner[..inner.len().saturating_sub(2)];
            assert!(early.iter().all(|reading| all.contains(reading)), "a round is left out");
        }
        assert_hides_nothing(bytes, manner, &all);
    }
    assert_ends(bytes);
}

/// All readings, and the place of the standard one.
fn read(text: &[u8], manner: Manner) -> (Vec<Vec<u8>>, usize) {
    let mut readings = Readings::default();
    let (all, standard) = readings.all(text, manner);
    let all = all.to_vec();
    let (mut at, mut shown) = (0, None);
    let accepted = readings.any(text, manner, &mut |reading, is_standard| {
        assert_eq!(all.get(at).map(Vec::as_slice), Some(reading));
        if is_standard {
            assert!(shown.replace(at).is_none(), "two are standard");
        }
        at += 1;
        false
    });
    assert!(!accepted && at == all.len());
    assert_eq!(shown, Some(standard));
    (all, standard)
}

/// Escaped in some way, a text has the readings that it had, but for those of the last round.
fn assert_hides_nothing(bytes: &[u8], manner: Manner, all: &[Vec<u8>]) {
    // What is too long a way to write something else is taken for that once it is decoded.
    if bytes.iter().any(|byte| matches!(byte, 0xc0 | 0xc1 | 0xe0 | 0xf0)) || bytes.len() > BYTES_MAX / 6 {
        return;
    }
    let escaped = |each: &dyn Fn(u8) -> String| bytes.iter().map(|&byte| each(byte)).collect::<String>();
    let mut ways = vec![escaped(&|byte| format!("%{byte:02X}"))];
    if bytes.is_ascii() {
        ways.push(escaped(&|byte| format!("%u00{byte:02x}")));
        ways.push(escaped(&|byte| match byte {
            0..0x40 => format!("%c0%{:02x}", 0x80 | byte),
            _ => format!("%C1%{:02X}", 0x80 | byte & 0x3f),
        }));
    }
    for way in ways {
        let (found, _) = read(way.as_bytes(), manner);
        for reading in &all[..all.len().saturating_sub(2).max(1)] {
            assert!(found.contains(reading), "{way} hides {reading:?}");
        }
    }
}

/// Whoever looks for what is injected comes to an end.
fn assert_ends(text: &[u8]) {
    let (detectors, asks) = (Detectors::new(), Cell::new(ASKS_MAX));
    let _ = (detectors.is_sqli(text, &asks), detectors.is_xss(text));
    assert!(asks.get() <= ASKS_MAX);
}

/// Bytes of a text that is made long.
const LONG_BYTES: usize = 64 * 1024;

/// A text that says the same again and again, as long as forms may be: the first byte says how much of the rest stands in
/// front and how much behind. Nothing is asserted but bounds; that none takes long is for the fuzzer's clock to see.
pub fn long(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let (front, rest) = rest.split_at(rest.len().min(usize::from(first & 15)));
    let (unit, behind) = rest.split_at(rest.len() - rest.len().min(usize::from(first >> 4)));
    if unit.is_empty() {
        return;
    }
    let count = LONG_BYTES.saturating_sub(front.len() + behind.len()) / unit.len();
    let text = [front, &unit.repeat(count), behind].concat();
    let mut readings = Readings::default();
    for manner in [Manner::Path, Manner::Form, Manner::Plain] {
        let (all, _) = readings.all(&text, manner);
        assert!(all.len() <= 10 && all.iter().all(|reading| reading.len() <= 3 * text.len()));
    }
    assert_ends(&text);
    let _ = form::kind(std::iter::once(&*text), ALL, b"POST");
    for kind in [Kind::Encoded, Kind::Json, Kind::Parts(Cow::Borrowed(b"B"))] {
        if let Ok(found) = form::read(&kind, &text) {
            assert!(found.texts.len() <= 3 * form::FIELDS_MAX);
        }
    }
}

/// A line with a Content-Type, and content behind it: what is read is what a plain reader finds, and lies within bounds.
/// And fields made of the bytes are found again in each kind of form.
pub fn form(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(4 * BYTES_MAX)];
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (line, content) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    assert_fields_come_back(content);
    let Ok(Some(kind)) = form::kind(std::iter::once(line), ALL, b"POST") else { return };
    assert!(form::kind([line, line].into_iter(), ALL, b"POST").is_err(), "two types are none");
    let read = form::read(&kind, content);
    if kind == Kind::Json {
        assert_json(content, read.as_ref().ok().map(|texts| &*texts.texts));
    }
    let Ok(texts) = read else { return };
    assert_eq!(texts.subject, kind.subject());
    assert!(texts.texts.len() <= 3 * form::FIELDS_MAX);
    let length: usize = texts.texts.iter().map(|(text, _)| text.len()).sum();
    assert!(length <= content.len());
    let found: Vec<&[u8]> = texts.texts.iter().map(|(text, _)| &**text).collect();
    match kind {
        Kind::Encoded | Kind::Untyped => {
            let all = query::parameters(content).flat_map(|field| [field.name, field.value]);
            assert!(all.eq(found));
        }
        Kind::Parts(boundary) => assert_parts(&boundary, content, &found),
        // Of other parts nobody says what is a field.
        Kind::Mixed(_) | Kind::Json => {}
    }
}

type Found<'a> = (Cow<'a, [u8]>, Manner);

/// What JSON has in it, by another reader. One that takes what is not taken here has to have a reason.
fn assert_json(content: &[u8], found: Option<&[Found<'_>]>) {
    let Ok(value) = serde_json::from_slice::<Value>(content) else { return };
    let Some(found) = found else {
        let marks = memchr::memchr_iter(b'"', content).count();
        return assert!(marks >= 4 * form::FIELDS_MAX, "JSON was not taken");
    };
    let mut open = vec![&value];
    // Pairs of halves are read by halves.
    let is_simple = |text: &str| text.chars().all(|c| c <= '\u{ffff}');
    let has = |wanted: &str| !is_simple(wanted) || found.iter().any(|(text, _)| **text == *wanted.as_bytes());
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => assert!(has(text), "{text:?} was not found"),
            Value::Array(values) => open.extend(values),
            Value::Object(fields) => {
                assert!(fields.keys().all(|name| has(name)), "a name was not found");
                open.extend(fields.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The contents of parts, by a reader that cuts at delimiters and looks no further.
fn assert_parts(boundary: &[u8], content: &[u8], found: &[&[u8]]) {
    let delimiter = [b"\n--", boundary].concat();
    let content = [b"\r\n", content].concat();
    let starts: Vec<usize> = memchr::memmem::find_iter(&content, &delimiter).collect();
    let (last, starts) = starts.split_last().expect("there is a first, or a last");
    assert!(content[last + delimiter.len()..].starts_with(b"--"));
    let mut left = found.iter();
    for (at, &start) in starts.iter().enumerate() {
        let end = *starts.get(at + 1).unwrap_or(last) - 1;
        let part = &content[start + delimiter.len()..end];
        let head_end = memchr::memmem::find(part, b"\r\n\r\n").expect("a head has an end");
        let (head, value) = (part[..head_end].to_ascii_lowercase(), &part[head_end + 4..]);
        assert!(memchr::memmem::find(&head, b"form-data").is_some(), "a part without a name");
        if memchr::memmem::find(&head, b"filename").is_none() {
            assert!(left.any(|text| *text == value), "a value was not found");
        }
    }
    let has = |text: &&[u8]| memchr::memmem::find(text, &delimiter).is_some();
    assert!(!found.iter().any(has), "a delimiter was read as text");
}

/// Lines as names and values of fields, by turns: written in each kind, they are found.
fn assert_fields_come_back(bytes: &[u8]) {
    let texts: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').take(32).collect();
    let escaped = |text: &[u8]| text.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let fields = texts.chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or_default()));
    let fields: Vec<(&[u8], &[u8])> = fields.filter(|(name, _)| !name.is_empty()).collect();
    let encoded: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    let encoded = encoded.join("&");
    let read = form::read(&Kind::Encoded, encoded.as_bytes()).expect("it is well-formed");
    let decoded = read.texts.iter().map(|(text, _)| query::decoded(text).collect::<Vec<_>>());
    assert!(decoded.eq(fields.iter().flat_map(|(name, value)| [name.to_vec(), value.to_vec()])));

    let strings: Vec<Cow<'_, str>> = texts.iter().map(|text| String::from_utf8_lossy(text)).collect();
    let json = serde_json::to_vec(&strings).unwrap_or_default();
    let read = form::read(&Kind::Json, &json).expect("it is well-formed");
    assert!(read.texts.iter().map(|(text, _)| &**text).eq(strings.iter().map(|text| text.as_bytes())));

    let boundary = &b"----B"[..];
    let mut parts = Vec::new();
    let mut wanted: Vec<&[u8]> = Vec::new();
    for &(name, value) in &fields {
        let is_odd = |byte: &u8| matches!(byte, b'"' | b'\\' | 0 | b'\r');
        if name.iter().any(is_odd) || memchr::memmem::find(value, boundary).is_some() {
            continue;
        }
        let head = [b"------B\r\nContent-Disposition: form-data; name=\"", name, b"\"\r\n\r\n"].concat();
        parts.extend([&head, value, b"\r\n"].concat());
        wanted.extend([name, value]);
    }
    parts.extend(b"------B--\r\n");
    let read = form::read(&Kind::Parts(Cow::Borrowed(boundary)), &parts).map(|texts| texts.texts);
    match read {
        Ok(found) => assert!(found.iter().map(|(text, _)| &**text).eq(wanted)),
        // Its head is longer than any that is taken.
        Err(_) => assert!(fields.iter().any(|(name, _)| name.len() > 4000), "a form was not taken"),
    }
}
