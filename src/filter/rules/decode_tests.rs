#![allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]

use super::*;
use crate::filter::rules::fuzz_texts::decoding;
use proptest::prelude::*;

fn readings(text: &str, manner: Manner) -> Vec<String> {
    let mut found = Vec::new();
    Readings::default().any(text.as_bytes(), manner, &mut |reading, _| {
        found.push(String::from_utf8_lossy(reading).into_owned());
        false
    });
    found
}

#[test]
fn what_some_server_may_read_is_among_the_readings() {
    for (sent, manner, want) in [
        ("abc", Manner::Form, "abc"),
        ("a+b", Manner::Form, "a b"),
        ("a+b", Manner::Path, "a+b"),
        ("%2e%2E/", Manner::Path, "../"),
        ("%252e%252e%252f", Manner::Path, "../"),
        ("%25252e", Manner::Path, "."),
        ("%2525252e", Manner::Path, "."),
        ("%u002e%u002E%U002f", Manner::Form, "../"),
        ("%uff1cscript%uff1e", Manner::Form, "<script>"),
        ("\u{ff1c}b\u{ff1e}", Manner::Plain, "<b>"),
        ("%c0%ae%c0%ae%c0%af", Manner::Path, "../"),
        ("%c0%2f", Manner::Path, "/"),
        ("%e0%80%ae", Manner::Path, "."),
        ("%f0%80%80%ae", Manner::Path, "."),
        ("..\\..\\", Manner::Path, "../../"),
        ("..%5c", Manner::Path, "../"),
        ("sel%00ect", Manner::Form, "select"),
        ("s%elect", Manner::Form, "select"),
        ("un/**/ion", Manner::Form, "union"),
        ("/*!50000union*/", Manner::Form, " union "),
        ("/*!union*/", Manner::Form, " union "),
        ("a%09b%0ac", Manner::Form, "a b c"),
        ("a%c2%a0b", Manner::Form, "a b"),
        ("&lt;b&gt;", Manner::Form, "<b>"),
        ("&#60;b&#x3E;", Manner::Form, "<b>"),
        ("&#0000060b", Manner::Form, "<b"),
        ("%26lt;b", Manner::Form, "<b"),
        ("java&Tab;script&colon;", Manner::Form, "java\tscript:"),
        ("%zz", Manner::Form, "%zz"),
        ("100%", Manner::Form, "100%"),
    ] {
        let found = readings(sent, manner);
        assert!(found.iter().any(|reading| reading == want), "{sent}: {found:?} have no {want:?}");
        assert!(found.iter().any(|reading| reading == sent), "{sent}");
    }
}

#[test]
fn the_standard_reading_is_decoded_once() {
    for (sent, manner, want) in [
        ("%2541", Manner::Form, "%41"),
        ("a+%41", Manner::Form, "a A"),
        ("%41", Manner::Plain, "%41"),
        ("a+b", Manner::Path, "a+b"),
        ("&lt;", Manner::Form, "&lt;"),
    ] {
        let mut found = None;
        Readings::default().any(sent.as_bytes(), manner, &mut |reading, is_standard| {
            if is_standard {
                found = Some(String::from_utf8(reading.to_vec()).unwrap());
            }
            false
        });
        assert_eq!(found.as_deref(), Some(want), "{sent}");
    }
}

#[test]
fn comments_without_end_are_looked_through_once() {
    for unit in ["/*", "/*!", "/*!1", "/**", "/*/", "*/", "/**/"] {
        for end in ["", "*/"] {
            let text = unit.repeat(1 << 18) + end;
            let began = std::time::Instant::now();
            let mut out = Vec::new();
            squeeze(text.as_bytes(), &mut out);
            assert!(began.elapsed() < std::time::Duration::from_secs(8), "{unit}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_has_few_readings(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        decoding(&bytes);
    }

    #[test]
    fn any_text_that_is_escaped_has_few_readings(
        text in "([a-c+&;#<'\\\\/*! ]|%[0-9a-fu]{1,4}|%25|&#[0-9x]{1,4};?|&lt;|%c0%a[ef]|/\\*|\\*/){0,24}",
    ) {
        decoding(text.as_bytes());
    }
}
