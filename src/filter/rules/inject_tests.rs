#![allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]

use std::time::{Duration, Instant};

use super::*;

/// Texts that would take a time that grows with the square of their length, if anything did.
fn hostile() -> Vec<Vec<u8>> {
    let size = 128 * 1024;
    let units: &[&[u8]] = &[
        b".",
        b"`",
        b"'",
        b"\"",
        b"\\",
        b"\\'",
        b"/",
        b"/*",
        b"/*!",
        b"*/",
        b"-",
        b"--",
        b"#",
        b"$",
        b"$a",
        b"$a$",
        b"@",
        b"@`",
        b"[",
        b"(",
        b"b'0",
        b"x'0",
        b"q'(",
        b"nq'(",
        b"e'",
        b"0x",
        b"1.",
        b"1e",
        b"a.",
        b"a`",
        b"`a`.",
        b"<",
        b"</",
        b"</>",
        b"<!",
        b"<!--",
        b"<a ",
        b"<a/",
        b"<a\0",
        b"on",
        b"on\0",
        b"\0",
        b"=",
        b"='",
        b"=\"",
        b"a=`",
        b"<%",
        b"<?",
        b"<![CDATA[",
        b"&",
        b"&#",
        b"&#0",
        b"&#x",
        b"%",
        b"%2",
        b"%u",
        b"%25",
        b"+",
        b";",
        b"\n",
        b"\xff",
        b"\xc0",
        b"-\0",
        b"]]",
        b"<a href=&#",
        b"a a. ",
        b"or ",
        b"1 or ",
        b"a,",
        b"1=1 ",
        b"union ",
    ];
    let fronts: &[&[u8]] = &[b"a", b"1' ", b"<a on"];
    let of = |unit: &[u8], front: &[u8]| [front, &unit.repeat(size / unit.len())].concat();
    units.iter().flat_map(|unit| fronts.iter().map(move |front| of(unit, front))).collect()
}

#[test]
fn no_text_takes_long() {
    for text in hostile() {
        let began = Instant::now();
        let _ = (SqliState::new(&without_long_words(&text), SqliFlags::FLAG_NONE).detect(), is_xss(&text));
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
    let long = |byte: &str| byte.repeat(5000);
    for value in [
        format!("{}' or 1=1--", long("a")),
        format!("{}' or 1=1--", long(".")),
        format!("{}.0union select 1,2 from users", long("0")),
        format!("`{}` union select 1,2 from users", long("a")),
        format!("`{}` union select 1,2 from users", long("``")),
        format!("1 union select `{}`, 2 from users", long("a")),
        format!("1 union select {}, 2 from users", long("a.")),
        format!("$a${}$a$ union select 1,2 from users", long("b")),
    ] {
        let is = |value: &[u8]| SqliState::new(value, SqliFlags::FLAG_NONE).detect();
        assert_eq!(is_sqli(value.as_bytes()), is(value.as_bytes()), "{}", &value[..20]);
    }
    assert!(is_sqli(format!("{}' or 1=1--", long(".")).as_bytes()));
    assert!(is_sqli(format!("{}.0union select 1,2 from users", long("0")).as_bytes()));
    assert!(is_xss(b"<img \xff src=x onerror=alert(1)>") && is_xss(b"<img\0\0 src=x on\0\0error=alert(1)>"));
}
