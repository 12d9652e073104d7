//! SQL injection and scripts in single values. The library tells them from other texts; what has none of the characters
//! that it takes is not shown to it, and contexts in which plain sentences look like attributes are left out.

use std::borrow::Cow;

use libinjectionrs::xss::{Html5Flags, XssDetector};
use libinjectionrs::{SqliFlags, SqliState};

/// Whether a value, in one of its readings, is an injection into a statement of SQL.
pub fn is_sqli(value: &[u8]) -> bool {
    may_be_sqli(value) && SqliState::new(&without_long_words(value), SqliFlags::FLAG_NONE).detect()
}

/// Whether it is worth asking: [`is_sqli`] is slow, and this is not.
pub fn may_be_sqli(value: &[u8]) -> bool {
    let is_word =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'~' | b'-') || byte > 0x7f;
    let is_word = value.iter().all(|&byte| is_word(byte)) && memchr::memmem::find(value, b"--").is_none();
    !is_word && !is_prose(value)
}

/// Texts that people write, though the library finds something in them: without a quotation mark, a comment or an end of
/// a statement there is nothing that a statement could be left by, unless a number could, and words of SQL follow.
fn is_prose(value: &[u8]) -> bool {
    let has = |bytes: &[u8]| value.iter().any(|byte| bytes.contains(byte));
    let finds = |text: &[u8]| memchr::memmem::find(value, text).is_some();
    if has(b"'\"`;#") || finds(b"--") || finds(b"/*") || finds(b"||") || finds(b"&&") {
        return false;
    }
    let mut words = value.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    if has(b"0123456789()=<>|&@*") && words.any(is_word_of_sql) {
        return false;
    }
    let mut words = value.split(|byte| !byte.is_ascii_alphanumeric());
    let mut finds_word = |text: &[u8]| words.any(|word| word.eq_ignore_ascii_case(text));
    !(finds_word(b"union") && finds_word(b"select"))
}

fn is_word_of_sql(word: &[u8]) -> bool {
    let mut lower = [0; 12];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    #[rustfmt::skip]
    let is_one = matches!(
        &*lower,
        b"and" | b"ascii" | b"benchmark" | b"between" | b"case" | b"cast" | b"char" | b"concat" | b"convert"
            | b"declare" | b"delete" | b"div" | b"drop" | b"exec" | b"exists" | b"extractvalue" | b"from"
            | b"group" | b"having" | b"in" | b"insert" | b"into" | b"is" | b"like" | b"limit" | b"mod" | b"not"
            | b"null" | b"or" | b"order" | b"pg_sleep" | b"regexp" | b"rlike" | b"select" | b"sleep"
            | b"substring" | b"union" | b"update" | b"updatexml" | b"waitfor" | b"where" | b"xor"
    );
    is_one
}

/// So much of a word is shown at its start and at its end: no word of SQL is half as long.
const WORD_BYTES_MAX: usize = 64;
/// So many of the bytes in its middle that something could end at.
const MARKS_MAX: usize = 32;

/// Without the middle of words that are longer than any that matters. For each dot or backtick in a word the library
/// copies all that is in front of it, so that a long word of dots would keep a core busy for seconds. What could end
/// something that began in front of the word stays: backticks, an odd number of them an odd number, and dollar signs.
fn without_long_words(value: &[u8]) -> Cow<'_, [u8]> {
    const ENDS: &[u8] = b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\0";
    const IS_END: [bool; 256] = {
        let mut table = [false; 256];
        let mut at = 0;
        while at < ENDS.len() {
            table[ENDS[at] as usize] = true;
            at += 1;
        }
        table
    };
    let ends = |byte: &u8| IS_END[usize::from(*byte)];
    if value.len() <= 2 * WORD_BYTES_MAX || value.split(ends).all(|word| word.len() <= 2 * WORD_BYTES_MAX) {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    for word in value.split_inclusive(ends) {
        if word.len() <= 2 * WORD_BYTES_MAX {
            out.extend_from_slice(word);
            continue;
        }
        let (first, rest) = word.split_at(WORD_BYTES_MAX);
        let (middle, last) = rest.split_at(rest.len() - WORD_BYTES_MAX);
        out.extend_from_slice(first);
        let (mut marks, mut is_odd, mut between) = (0, false, false);
        for &byte in middle {
            let is_mark = matches!(byte, b'`' | b'$');
            if is_mark && marks < MARKS_MAX {
                out.push(byte);
                marks += 1;
            } else if is_mark {
                is_odd ^= byte == b'`';
            } else if !between && marks < MARKS_MAX {
                // What stands apart stays apart.
                out.push(byte);
            }
            between = !is_mark;
        }
        if is_odd {
            out.push(b'`');
        }
        out.extend_from_slice(last);
    }
    Cow::Owned(out)
}

/// Whether a value, in one of its readings, has scripts or active markup in it.
pub fn is_xss(value: &[u8]) -> bool {
    if !may_be_xss(value) {
        return false;
    }
    let value = &*as_browsers_see_it(value);
    let has = |byte: u8| memchr::memchr(byte, value).is_some();
    let is = |context| XssDetector::is_xss(value, context);
    has(b'<') && is(Html5Flags::DataState)
        || has(b'=') && has(b'\'') && is(Html5Flags::ValueSingleQuote)
        || has(b'=') && has(b'"') && is(Html5Flags::ValueDoubleQuote)
        || has(b'=') && has(b'`') && is(Html5Flags::ValueBackQuote)
        // Without quotes, every sentence with an `=` could be one; whoever means it calls something.
        || has(b'=') && (has(b'(') || has(b'`')) && is(Html5Flags::ValueNoQuote)
        || is_script_address(value)
}

/// Whether it is worth asking: [`is_xss`] is slow, and this is not.
pub fn may_be_xss(value: &[u8]) -> bool {
    let has = |byte: u8| memchr::memchr(byte, value).is_some();
    has(b'<')
        || has(b'=') && (memchr::memchr3(b'\'', b'"', b'`', value).is_some() || has(b'('))
        || is_script_address(value)
}

/// The library takes a byte 0xFF for the end of all, and looks at each of many NUL once for every name that it knows.
fn as_browsers_see_it(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0xff, value).is_none() && memchr::memmem::find(value, b"\0\0").is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            0xff => out.push(0xfe),
            0 if out.last() == Some(&0) => {}
            byte => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// Whether it is an address that carries out what it says, as a link would be.
fn is_script_address(value: &[u8]) -> bool {
    // Browsers let blanks and control characters pass in front and in between.
    let mut visible = value.iter().filter(|&&byte| byte > b' ').map(u8::to_ascii_lowercase);
    let mut start = [0; 11];
    for slot in &mut start {
        match visible.next() {
            Some(byte) => *slot = byte,
            None => return false,
        }
    }
    start == *b"javascript:" && visible.any(|byte| matches!(byte, b'(' | b'`' | b'='))
        || start.starts_with(b"vbscript:")
}

#[cfg(test)]
#[path = "inject_tests.rs"]
mod tests;
