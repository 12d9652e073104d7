//! Which fields of a request select among the responses of one key, and what they say in a request
//! (RFC 9110, section 12.5.5; RFC 9111, section 4.1).
//!
//! Two requests match if and only if [`select`] writes the same bytes for both. Values are brought to one
//! form only where the field's own definition says that both forms mean the same; whatever is doubtful
//! stays as it is, so that at worst a response is stored twice.

use std::collections::BTreeSet;

use crate::http::fields::is_token_byte;
use crate::http::{Fields, Name, list};

/// The most names that a list may have. More than that, and no two requests are likely to match.
pub const NAMES_MAX: usize = 32;

/// The most content codings that are brought into one order.
const CODINGS_MAX: usize = 16;

/// No request can be known to match: Vary lists `*`, or what it lists is no field name, is more than
/// [`NAMES_MAX`], or is a field that the proxy writes anew for every request that it forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Star;

/// Appends the names that a response's Vary fields list, over all of its lines: in lower case, sorted,
/// each once, each followed by a line feed. Nothing is appended where there is no Vary.
///
/// # Errors
/// [`Star`]; then nothing is appended.
pub fn names(fields: Fields<'_>, out: &mut Vec<u8>) -> Result<(), Star> {
    let mut names = BTreeSet::new();
    for name in fields.values(Name::Vary).flat_map(list::tokens) {
        if !is_field_name(name) || is_written_by_the_proxy(Name::recognise(name)) {
            return Err(Star);
        }
        names.insert(name.to_ascii_lowercase());
        if names.len() > NAMES_MAX {
            return Err(Star);
        }
    }
    for name in names {
        out.extend_from_slice(&name);
        out.push(b'\n');
    }
    Ok(())
}

/// `*` is a character of tokens, and so would be a name.
fn is_field_name(name: &[u8]) -> bool {
    name != b"*" && name.iter().all(|&byte| is_token_byte(byte))
}

/// Fields that tell an origin about one client or one request: it answers to what the proxy wrote, which
/// the request at hand does not show.
const fn is_written_by_the_proxy(name: Name) -> bool {
    matches!(name, Name::Forwarded | Name::XForwardedFor | Name::XRequestId)
}

/// Appends what a request says in the fields of `names`, a list that [`names()`] wrote: for each `0` if
/// the request does not have the field, else `1`, its value and a line feed.
///
/// The lines of one field are combined by `, `. Of the fields that negotiate (RFC 9110, section 12.5)
/// the white space that their syntax leaves free is dropped and case is levelled where it means nothing;
/// content codings are sorted, and a weight of 1 is left out. Fields that concern one connection only
/// count as absent if Connection named them, for no origin sees them.
///
/// Allocates only where `out` has to grow.
pub fn select(names: &[u8], request: Fields<'_>, out: &mut Vec<u8>) {
    for name in names.split(|&byte| byte == b'\n').filter(|name| !name.is_empty()) {
        let known = Name::recognise(name);
        let values = || {
            let is_meant = move |(line, written, _): &(Name, &[u8], &[u8])| {
                *line == known && (known != Name::Other || written.eq_ignore_ascii_case(name))
            };
            request.iter().filter(is_meant).map(|(_, _, value)| value)
        };
        if values().next().is_none() {
            out.push(b'0');
            continue;
        }
        out.push(b'1');
        match known {
            Name::AcceptEncoding => put_codings(out, values),
            Name::Accept => put_list(out, values().flat_map(list::elements), Case::OfParametersKept),
            Name::AcceptCharset | Name::AcceptLanguage => {
                put_list(out, values().flat_map(list::tokens), Case::Levelled);
            }
            _ => put_lines(out, values()),
        }
        // No value has a line feed in it: a head with one is refused.
        out.push(b'\n');
    }
}

/// Combines lines as RFC 9110, section 5.2, does, and leaves them alone otherwise: a comma does not mean
/// a list in every field.
fn put_lines<'a>(out: &mut Vec<u8>, lines: impl Iterator<Item = &'a [u8]>) {
    for (index, line) in lines.enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(line);
    }
}

/// Where the case of letters means nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Everywhere.
    Levelled,
    /// Everywhere but in the values of parameters (RFC 9110, section 5.6.6).
    OfParametersKept,
}

/// Writes elements without the white space around commas and semicolons.
fn put_list<'a>(out: &mut Vec<u8>, elements: impl Iterator<Item = &'a [u8]>, case: Case) {
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        for (index, part) in parameters(element).enumerate() {
            if index > 0 {
                out.push(b';');
            }
            let value_at = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
            let (level, keep) = part.split_at(if case == Case::Levelled { part.len() } else { value_at });
            out.extend(level.iter().map(u8::to_ascii_lowercase));
            out.extend_from_slice(keep);
        }
    }
}

/// The parts of an element between semicolons that are not quoted, without the white space around them.
fn parameters(element: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = element.split(move |&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return byte == b';' && !quoted,
        }
        false
    });
    parts.map(<[u8]>::trim_ascii)
}

/// A content coding that a request accepts, with its weight in thousandths (RFC 9110, section 12.5.3).
#[derive(Clone, Copy)]
struct Coding<'a> {
    name: &'a [u8],
    weight: u16,
}

/// Writes Accept-Encoding, in which neither order nor case means anything. A list that has too many
/// codings, one of them twice with two weights, or anything malformed keeps its order.
fn put_codings<'a, I: Iterator<Item = &'a [u8]>>(out: &mut Vec<u8>, values: impl Fn() -> I) {
    let mut codings = [Coding { name: b"", weight: 0 }; CODINGS_MAX];
    let Some(count) = read_codings(values().flat_map(list::tokens), &mut codings) else {
        return put_list(out, values().flat_map(list::tokens), Case::Levelled);
    };
    let codings = &mut codings[..count];
    codings.sort_unstable_by(|a, b| lower(a.name).cmp(lower(b.name)));
    for (index, coding) in codings.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend(lower(coding.name));
        if coding.weight < 1000 {
            // Three digits, always: well-formed, so that nothing malformed looks the same.
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(coding.weight);
            out.extend_from_slice(b";q=0.");
            out.extend_from_slice(&b"00"[..3 - digits.len()]);
            out.extend_from_slice(digits.as_bytes());
        }
    }
}

/// Reads the codings of a list, each once, and says how many they are.
fn read_codings<'a>(
    elements: impl Iterator<Item = &'a [u8]>,
    codings: &mut [Coding<'a>; CODINGS_MAX],
) -> Option<usize> {
    let mut count = 0;
    for element in elements {
        let coding = Coding::read(element)?;
        let known = codings[..count].iter().find(|known| known.name.eq_ignore_ascii_case(coding.name));
        match known {
            Some(known) if known.weight == coding.weight => {}
            Some(_) => return None,
            None => {
                *codings.get_mut(count)? = coding;
                count += 1;
            }
        }
    }
    Some(count)
}

fn lower(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().map(u8::to_ascii_lowercase)
}

impl<'a> Coding<'a> {
    /// `gzip` or `gzip;q=0.5`.
    fn read(element: &'a [u8]) -> Option<Coding<'a>> {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next()?;
        let weight = parts.next().map_or(Some(1000), list::weight)?;
        // A star stands for any other coding.
        let is_coding = !name.is_empty() && (name == b"*" || is_field_name(name));
        (is_coding && parts.next().is_none()).then_some(Coding { name, weight })
    }
}

#[cfg(test)]
#[path = "vary_tests.rs"]
mod tests;
