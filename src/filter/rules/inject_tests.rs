#![allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]

use std::time::{Duration, Instant};

use super::*;

/// Texts that would take a time that grows with the square of their length, if anything did.
fn hostile() -> Vec<Vec<u8>> {
    let size = 128 * 1024;
    #[rustfmt::skip]
    let units: &[&[u8]] = &[
        b".", b"`", b"'", b"\"", b"\\", b"\\'", b"/", b"/*", b"/*!", b"*/", b"-", b"--", b"#", b"$", b"$a", b"$a$", b"@",
        b"@`", b"[", b"(", b"b'0", b"x'0", b"q'(", b"nq'(", b"e'", b"0x", b"1.", b"1e", b"a.", b"a`", b"`a`.", b"<", b"</",
        b"</>", b"<!", b"<!--", b"<a ", b"<a/", b"<a\0", b"on", b"on\0", b"\0", b"=", b"='", b"=\"", b"a=`", b"<%", b"<?",
        b"<![CDATA[", b"&", b"&#", b"&#0", b"&#x", b"%", b"%2", b"%u", b"%25", b"+", b";", b"\n", b"\xff", b"\xc0", b"-\0",
        b"]]", b"<a href=&#", b"a a. ", b"or ", b"1 or ", b"a,", b"1=1 ", b"union ", b"' or a ", b"<a on", b"<a onx ",
        b" onload ", b"java", b"j\t", b"or 1", b"select ", b";drop ", b"(select ", b"/**/", b" (", b"and (",
    ];
    let fronts: &[&[u8]] = &[b"a", b"1' ", b"1' or ", b"<a on"];
    let of = |unit: &[u8], front: &[u8]| [front, &unit.repeat(size / unit.len())].concat();
    units.iter().flat_map(|unit| fronts.iter().map(move |front| of(unit, front))).collect()
}

fn is_sqli(value: &[u8]) -> bool {
    Detectors::new().is_sqli(value, &Cell::new(ASKS_MAX))
}

#[test]
fn all_expressions_are_read() {
    let detectors = Detectors::new();
    assert_eq!((detectors.sql.len(), detectors.markup.len()), (SQL.len(), MARKUP.len()));
    assert!(detectors.way_out.is_some());
}

#[test]
fn no_text_takes_long() {
    let detectors = Detectors::new();
    for text in hostile() {
        let began = Instant::now();
        let _ = (detectors.is_sqli(&text, &Cell::new(ASKS_MAX)), detectors.is_xss(&text));
        // A square of it would take minutes; what is right takes some milliseconds where it is made for speed.
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}: {:?}",
            String::from_utf8_lossy(&text[..16]),
            began.elapsed()
        );
    }
}

#[test]
fn padding_hides_nothing() {
    let long = |text: &str| text.repeat(5000);
    for value in [
        format!("{}' or 1=1--", long("a")),
        format!("{}' or 1=1--", long(".")),
        format!("{}' or 'a'='a", long("a b ")),
        format!("' or {}1=1--", long(" ")),
        format!("' or/*{}*/1=1--", long("a")),
        format!("{}.0union select 1,2 from users", long("0")),
        format!("`{}` union select 1,2 from users", long("a")),
        format!("1 union select `{}`, 2 from users", long("a")),
    ] {
        assert!(is_sqli(value.as_bytes()), "{}", &value[..20]);
    }
    let detectors = Detectors::new();
    for value in [
        b"<img \xff src=x onerror=alert(1)>".to_vec(),
        format!("<img {} onerror=alert(1)>", long("a=b ")).into_bytes(),
        format!("{}<script>", long("<a>")).into_bytes(),
    ] {
        assert!(detectors.is_xss(&value));
    }
}

#[test]
fn the_library_is_not_asked_without_end() {
    let asks = Cell::new(2);
    // A place that could be the end of a literal, and is not.
    let value = b"\"a\" or b = ";
    let detectors = Detectors::new();
    let found: Vec<bool> = (0..3).map(|_| detectors.is_sqli(b"x' or b in", &asks)).collect();
    assert!(found[2] && asks.get() == 0, "{found:?}");
    assert!(!detectors.is_sqli(value, &asks), "what begins with a mark leaves nothing");
}
