//! The texts in the content of a form: names and values of its fields, and names of files, but not what is in files.
//!
//! Whoever reads a form otherwise than its server does sees nothing of what matters, so that what could be read in two
//! ways, and of which both cannot be looked at, is malformed: parts without an end, parameters that are there twice.
//! Nothing is decoded here but quotation marks and what JSON escapes.

use std::borrow::Cow;

use super::decode::Manner;
use super::{Subjects, Texts};
use crate::config::rules::Subject;
use crate::http::fields::is_token;

/// A form may have so many fields.
pub const FIELDS_MAX: usize = 1000;
/// The head of a part may have so many bytes.
const PART_HEAD_BYTES_MAX: usize = 4096;
/// The longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;
/// So deep JSON may be nested.
const DEPTH_MAX: usize = 128;

/// What is written in a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `application/x-www-form-urlencoded`
    Encoded,
    /// Nobody says, which some read as the same.
    Untyped,
    /// `multipart/form-data` with that boundary.
    Parts(Cow<'a, [u8]>),
    /// `multipart/mixed` or `multipart/related` with that boundary, whose parts some read as fields if they have names.
    Mixed(&'a [u8]),
    /// `application/json`, or a type that is written in it.
    Json,
}

impl Kind<'_> {
    /// What rules call it.
    pub fn subject(&self) -> Subject {
        match self {
            Kind::Json => Subject::Json,
            _ => Subject::Form,
        }
    }
}

/// Why a form is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadForm {
    /// Its type is not clear, or it is written in letters that nobody here knows.
    Type,
    /// It is malformed, or has too many fields.
    Content,
}

/// What the values of the Content-Type fields say; none if it is nothing that is wanted. Of content that is not, the type
/// need not be clear. The method matters, for Ruby reads what comes by POST and has no type as a form.
///
/// # Errors
/// They could be taken for what is wanted by some, and for something else by others.
pub fn kind<'a>(
    mut types: impl Iterator<Item = &'a [u8]>,
    wanted: Subjects,
    method: &[u8],
) -> Result<Option<Kind<'a>>, BadForm> {
    let untyped = || (wanted.form && method == b"POST").then_some(Kind::Untyped);
    let Some(first) = types.next() else { return Ok(untyped()) };
    if wanted.is_empty() {
        return Ok(None);
    }
    if types.next().is_some() {
        return Err(BadForm::Type);
    }
    let end = memchr::memchr(b';', first).unwrap_or(first.len());
    let (essence, rest) = (first[..end].trim_ascii(), &first[end..]);
    if essence.is_empty() {
        return Ok(untyped());
    }
    let is = |text: &str| essence.eq_ignore_ascii_case(text.as_bytes());
    let is_json = is("application/json")
        || is("text/json")
        || essence.len() > 5 && essence[essence.len() - 5..].eq_ignore_ascii_case(b"+json");
    if is("application/x-www-form-urlencoded") && wanted.form {
        has_known_letters(rest).then_some(Some(Kind::Encoded)).ok_or(BadForm::Type)
    } else if is("multipart/form-data") && wanted.form {
        Ok(Some(Kind::Parts(boundary(rest).ok_or(BadForm::Type)?)))
    } else if (is("multipart/mixed") || is("multipart/related")) && wanted.form {
        Ok(Some(Kind::Mixed(loose_boundary(first).ok_or(BadForm::Type)?)))
    } else if is_json && wanted.json {
        has_known_letters(rest).then_some(Some(Kind::Json)).ok_or(BadForm::Type)
    } else if is_json {
        Ok(None)
    } else if may_be_other(first, essence, wanted) {
        Err(BadForm::Type)
    } else {
        Ok(None)
    }
}

/// Whether a type that is not wanted may be one that is, for somebody.
fn may_be_other(whole: &[u8], essence: &[u8], wanted: Subjects) -> bool {
    // Some read a type up to its first blank or comma.
    let is_type = essence.splitn(2, |&byte| byte == b'/').map(is_token).eq([true, true]);
    let is_multipart = essence.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
    let has = |text: &str| speaks_of(whole, text);
    memchr::memchr(b',', essence).is_some()
        || wanted.form && !is_type && (has("form") || has("multipart"))
        || wanted.form && !is_multipart && (has("x-www-form-urlencoded") || has("multipart/"))
        || wanted.json && !is_type && has("json")
}

/// Whether that is somewhere in it, whatever the case.
fn speaks_of(text: &[u8], what: &str) -> bool {
    text.windows(what.len()).any(|part| part.eq_ignore_ascii_case(what.as_bytes()))
}

/// Whether the parameters of a type name no letters, or such as are known. Nobody looks at the others.
fn has_known_letters(parameters_of: &[u8]) -> bool {
    if !speaks_of(parameters_of, "charset") {
        return true;
    }
    let is_sound = |(name, value): &(&[u8], Cow<'_, [u8]>)| {
        !speaks_of(name, "charset") || name.eq_ignore_ascii_case(b"charset") && is_known(value)
    };
    parameters(parameters_of).is_some_and(|parameters| parameters.iter().all(is_sound))
}

/// The boundary of `multipart/form-data`.
fn boundary(parameters_of: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut boundary = None;
    for (name, value) in parameters(parameters_of)? {
        if name.eq_ignore_ascii_case(b"boundary") && boundary.is_none() && is_boundary(&value) {
            boundary = Some(value);
        } else if !name.eq_ignore_ascii_case(b"charset") || !is_known(&value) {
            // PHP takes whatever has `boundary` in it.
            return None;
        }
    }
    boundary
}

/// That of another kind of parts, which have parameters of their own. Nobody may see two.
fn loose_boundary(of: &[u8]) -> Option<&[u8]> {
    const NAME: &str = "boundary";
    let mut places = of.windows(NAME.len()).enumerate();
    let (at, _) = places.find(|(_, part)| part.eq_ignore_ascii_case(NAME.as_bytes()))?;
    let behind = &of[at + NAME.len()..];
    if speaks_of(behind, NAME) || !matches!(of[at - 1], b';' | b' ' | b'\t') {
        return None;
    }
    let value = behind.strip_prefix(b"=")?;
    let value = match value.strip_prefix(b"\"") {
        Some(quoted) => &quoted[..memchr::memchr(b'"', quoted)?],
        None => value[..memchr::memchr(b';', value).unwrap_or(value.len())].trim_ascii_end(),
    };
    is_boundary(value).then_some(value)
}

/// Letters whose ASCII is ASCII.
fn is_known(charset: &[u8]) -> bool {
    const KNOWN: [&[u8]; 5] = [b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1", b"windows-1252"];
    KNOWN.iter().any(|known| charset.eq_ignore_ascii_case(known))
}

/// Of a comma some think that it ends there.
fn is_boundary(text: &[u8]) -> bool {
    let usual = |&byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_-./:=? ".contains(&byte);
    (1..=BOUNDARY_BYTES_MAX).contains(&text.len()) && text.iter().all(usual) && !text.ends_with(b" ")
}

type Parameters<'a> = Vec<(&'a [u8], Cow<'a, [u8]>)>;

/// Reads `; name=value; name="value"`; none if it is not so.
fn parameters(text: &[u8]) -> Option<Parameters<'_>> {
    let mut found = Parameters::new();
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        rest = rest.strip_prefix(b";")?.trim_ascii_start();
        if rest.is_empty() {
            break;
        }
        let equals = memchr::memchr(b'=', rest)?;
        let name = &rest[..equals];
        if !is_token(name) {
            return None;
        }
        rest = &rest[equals + 1..];
        let value = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, behind) = unquoted(quoted)?;
                rest = behind;
                value
            }
            None => {
                let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
                let value = rest[..end].trim_ascii();
                // PHP takes an apostrophe for a quotation mark: of two, the second ends what the first begins.
                let is_odd = value.contains(&b'\'') && !(name.ends_with(b"*") && is_extended(value));
                if !is_token(value) || is_odd {
                    return None;
                }
                rest = &rest[end..];
                Cow::Borrowed(value)
            }
        };
        rest = rest.trim_ascii_start();
        found.push((name, value));
    }
    Some(found)
}

/// `utf-8'en'a%20b` (RFC 8187), which is not empty for anybody.
fn is_extended(value: &[u8]) -> bool {
    let mut parts = value.split(|&byte| byte == b'\'');
    let (charset, language, text) = (parts.next(), parts.next(), parts.next());
    let is_text = |text: &[u8]| !text.is_empty() && !speaks_of(text, "%00");
    parts.next().is_none()
        && charset.is_some_and(is_known)
        && language.is_some_and(|tag| tag.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        && text.is_some_and(is_text)
}

/// What stands in front of the closing quotation mark, and what behind it. Of two backslashes some escape the mark with
/// the second, so that there are none.
fn unquoted(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let end = text.iter().position(|&byte| matches!(byte, b'"' | b'\\'))?;
    if text[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = text[..end].to_vec();
    let mut rest = &text[end..];
    loop {
        match rest {
            [b'"', behind @ ..] => return Some((Cow::Owned(value), behind)),
            [b'\\', b'\\', ..] => return None,
            [b'\\', b'"', behind @ ..] => {
                value.push(b'"');
                rest = behind;
            }
            [byte, behind @ ..] => {
                value.push(*byte);
                rest = behind;
            }
            [] => return None,
        }
    }
}

/// The texts in a content, all of which is there.
///
/// # Errors
/// [`BadForm::Content`]
pub fn read<'a>(kind: &Kind<'_>, content: &'a [u8]) -> Result<Texts<'a>, BadForm> {
    let texts = match kind {
        // NUL is nothing that a form is written with.
        Kind::Encoded if memchr::memchr(0, content).is_some() => None,
        Kind::Encoded | Kind::Untyped => encoded(content),
        Kind::Parts(boundary) => parts(boundary, content),
        Kind::Mixed(boundary) if !has_fields(boundary, content) => Some(Vec::new()),
        Kind::Mixed(boundary) => parts(boundary, content),
        Kind::Json => json(content),
    };
    Ok(Texts { subject: kind.subject(), texts: texts.ok_or(BadForm::Content)? })
}

type Found<'a> = Option<Vec<(Cow<'a, [u8]>, Manner)>>;

/// Escapes without digits are themselves for some, and malformed for others.
fn encoded(content: &[u8]) -> Found<'_> {
    let mut texts = Vec::new();
    for (at, field) in crate::http::query::parameters(content).enumerate() {
        if at >= FIELDS_MAX {
            return None;
        }
        for text in [field.name, field.value] {
            texts.push((Cow::Borrowed(text), Manner::Form));
        }
    }
    Some(texts)
}

fn parts<'a>(boundary: &[u8], content: &'a [u8]) -> Found<'a> {
    let mut texts = Vec::new();
    let delimiter = [b"\r\n--", boundary].concat();
    // The first stands at the very front, or in a line behind an empty one: what else would be in front of it, nobody
    // should read.
    let content = content.strip_prefix(b"\r\n").unwrap_or(content);
    let mut rest = content.strip_prefix(&delimiter[2..])?;
    let finder = memchr::memmem::Finder::new(&delimiter);
    // Some take one for a delimiter too that stands behind LF alone, or at the front of a value, or in a head.
    let seen = memchr::memmem::find_iter(content, &delimiter[1..]).count();
    let mut count = 0;
    loop {
        if let Some(behind) = rest.strip_prefix(b"--") {
            return (count == seen && matches!(behind, b"" | b"\r\n")).then_some(texts);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let head_end = match rest.strip_prefix(b"\r\n") {
            Some(_) => 0,
            None => memchr::memmem::find(rest, b"\r\n\r\n")? + 2,
        };
        if head_end > PART_HEAD_BYTES_MAX || count >= FIELDS_MAX {
            return None;
        }
        count += 1;
        let is_file = part_head(&rest[..head_end], &mut texts)?;
        rest = &rest[head_end + 2..];
        // An empty value: its delimiter begins with the line end behind the head.
        let end = finder.find(rest)?;
        if !is_file {
            texts.push((Cow::Borrowed(&rest[..end]), Manner::Plain));
        }
        rest = &rest[end + delimiter.len()..];
    }
}

/// Whether something in the parts of a content could be the name of a field: it is looked at as widely as anybody does,
/// for Ruby, which reads these parts, wants little of them.
fn has_fields(boundary: &[u8], content: &[u8]) -> bool {
    let delimiter = [b"--", boundary].concat();
    let mut looked = 0;
    memchr::memmem::find_iter(content, &delimiter).any(|at| {
        // What is in a head is looked at once, however many delimiters are in it.
        let start = looked.max(at + delimiter.len());
        let part = &content[start..];
        let is_new = at >= looked;
        let end = if is_new { memchr::memmem::find(part, b"\r\n\r\n").unwrap_or(part.len()) } else { 0 };
        looked = start + end;
        is_new && names_field(&part[..end])
    })
}

fn names_field(head: &[u8]) -> bool {
    let mut in_disposition = false;
    speaks_of(head, "form-data")
        || head.split(|&byte| byte == b'\n').any(|line| {
            let colon = memchr::memchr(b':', line);
            let goes_on = line.starts_with(b" ") || line.starts_with(b"\t") || colon.is_none();
            if !goes_on {
                in_disposition = speaks_of(line, "content-disposition");
            }
            // Of usual ones nothing becomes a name that anybody asks for.
            let is_odd_id = speaks_of(line, "content-id")
                && !colon.is_some_and(|colon| line[colon + 1..].trim_ascii_start().starts_with(b"<"));
            in_disposition && has_name(line) || is_odd_id
        })
}

/// Whether a line has `name`, and not as a part of a longer word.
fn has_name(line: &[u8]) -> bool {
    let is_own =
        |at: usize| at == 0 || !(line[at - 1].is_ascii_alphanumeric() || b"-_".contains(&line[at - 1]));
    line.windows(4).enumerate().any(|(at, word)| word.eq_ignore_ascii_case(b"name") && is_own(at))
}

/// Reads the head of a part, and adds its names. Says whether it is a file.
fn part_head<'a>(head: &'a [u8], texts: &mut Vec<(Cow<'a, [u8]>, Manner)>) -> Option<bool> {
    let mut is_file = None;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r\n")?;
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // A line that goes on on the next, and blanks where some take a name to end.
        if name.is_empty()
            || name.iter().any(|&byte| byte <= b' ')
            || memchr::memchr2(b'\r', 0, line).is_some()
        {
            return None;
        }
        if name.eq_ignore_ascii_case(b"content-disposition") {
            if is_file.is_some() {
                return None;
            }
            is_file = Some(disposition(value, texts)?);
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let is_itself =
                [&b"7bit"[..], b"8bit", b"binary"].iter().any(|known| value.eq_ignore_ascii_case(known));
            if !is_itself {
                return None;
            }
        } else if name.eq_ignore_ascii_case(b"content-type") {
            let start = memchr::memchr(b';', value).unwrap_or(value.len());
            let parameters = parameters(&value[start..])?;
            let mut charsets = parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"charset"));
            if !charsets.all(|(_, charset)| is_known(charset)) {
                return None;
            }
        }
    }
    is_file
}

/// Reads `form-data; name="a"; filename="b"`.
fn disposition<'a>(value: &'a [u8], texts: &mut Vec<(Cow<'a, [u8]>, Manner)>) -> Option<bool> {
    let start = memchr::memchr(b';', value)?;
    if !value[..start].trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return None;
    }
    let (mut named, mut has_filename, mut has_extended, mut is_file) = (false, false, false, false);
    for (name, value) in parameters(&value[start..])? {
        let is_name = name.eq_ignore_ascii_case(b"name");
        let is_filename = name.eq_ignore_ascii_case(b"filename");
        let is_other = name.eq_ignore_ascii_case(b"filename*") && is_extended(&value);
        let is_again = is_name && named || is_filename && has_filename || is_other && has_extended;
        if is_again || !(is_name || is_filename || is_other) {
            return None;
        }
        named |= is_name;
        has_filename |= is_filename;
        has_extended |= is_other;
        // Go and Django take what has no name for a field.
        is_file |= is_filename && !value.is_empty();
        texts.push((value, Manner::Plain));
    }
    // The name in other letters is one for those alone who read it.
    (named && (is_file || !has_extended)).then_some(is_file)
}

/// The texts in JSON, names included. Its grammar is only looked at as far as it takes to find them all.
fn json(content: &[u8]) -> Found<'_> {
    let mut texts = Vec::new();
    // Some write a mark of the order of bytes in front.
    let mut rest = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut depth = 0usize;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'"' => {
                let (text, behind) = json_text(rest)?;
                if texts.len() >= 2 * FIELDS_MAX {
                    return None;
                }
                texts.push((text, Manner::Plain));
                rest = behind;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b' ' | b'\t' | b'\r' | b'\n' | b':' | b',' | b'-' | b'+' | b'.' => {}
            byte if byte.is_ascii_alphanumeric() => {}
            _ => return None,
        }
        if depth > DEPTH_MAX {
            return None;
        }
    }
    (depth == 0).then_some(texts)
}

/// A text up to its closing quotation mark, and what is behind.
fn json_text(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let end = memchr::memchr2(b'"', b'\\', text)?;
    if text[end] == b'"' {
        return is_sound(&text[..end]).then(|| (Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        if !is_sound(&rest[..end]) {
            return None;
        }
        value.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
        let (byte, behind) = match rest {
            [b'"', behind @ ..] => return Some((Cow::Owned(value), behind)),
            [_, b'u', behind @ ..] => {
                let digits = std::str::from_utf8(behind.get(..4)?).ok()?;
                let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
                // Halves of pairs are of no letter that matters here.
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &behind[4..];
                continue;
            }
            [_, byte @ (b'"' | b'\\' | b'/'), behind @ ..] => (*byte, behind),
            [_, b'b', behind @ ..] => (8, behind),
            [_, b'f', behind @ ..] => (12, behind),
            [_, b'n', behind @ ..] => (b'\n', behind),
            [_, b'r', behind @ ..] => (b'\r', behind),
            [_, b't', behind @ ..] => (b'\t', behind),
            _ => return None,
        };
        value.push(byte);
        rest = behind;
    }
}

fn is_sound(text: &[u8]) -> bool {
    text.iter().all(|&byte| byte >= b' ')
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;
