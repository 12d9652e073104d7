//! Cache directives (RFC 9111, section 5.2): of requests, of responses, and of responses to caches like this
//! one (RFC 9213).
//!
//! Whatever is unclear is read in the stricter way. A directive that restrains the cache counts whatever
//! stands behind it; one that frees it counts only where it is well-formed. Of a repeated number the one
//! that allows less is taken, and a number that cannot be read allows nothing (section 4.2.1). A quotation
//! mark that opens no quoted string, or is never closed, hides nothing.

use super::dictionary::{self, Value};
use crate::http::{Fields, Name, list};

/// The largest number of seconds that is told apart; larger ones are taken for it (RFC 9111, section 1.2.2).
pub const DELTA_SECONDS_MAX: u64 = 1 << 31;

/// Reads delta-seconds (RFC 9111, section 1.2.2): digits only, at most [`DELTA_SECONDS_MAX`].
pub fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(DELTA_SECONDS_MAX)))
}

/// What a client asks of caches (RFC 9111, section 5.2.1). Numbers are seconds, at most
/// [`DELTA_SECONDS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestDirectives {
    /// Nothing stored without validation.
    pub no_cache: bool,
    /// Store neither the request nor its response.
    pub no_store: bool,
    /// Content as it is.
    pub no_transform: bool,
    /// A stored response or none.
    pub only_if_cached: bool,
    /// No response that is older; 0 where the number cannot be read.
    pub max_age: Option<u64>,
    /// Fresh for at least as long; [`DELTA_SECONDS_MAX`] where the number cannot be read.
    pub min_fresh: Option<u64>,
    /// Stale for no longer; `Some(None)` is any time, `Some(Some(0))` where the number cannot be read.
    pub max_stale: Option<Option<u64>>,
}

impl RequestDirectives {
    /// Reads the request's Cache-Control, and `Pragma: no-cache` where there is none (RFC 9111, section 5.4).
    pub fn of(fields: Fields<'_>) -> RequestDirectives {
        let mut read = RequestDirectives::default();
        let mut controlled = false;
        for value in fields.values(Name::CacheControl) {
            controlled = true;
            directives(value).for_each(|directive| read.take(directive));
        }
        if !controlled {
            let mut pragmas = fields.values(Name::Pragma).flat_map(directives);
            read.no_cache = pragmas.any(|pragma| pragma.name.eq_ignore_ascii_case(b"no-cache"));
        }
        read
    }

    fn take(&mut self, directive: Directive<'_>) {
        let seconds = directive.argument.seconds();
        let alone = directive.argument == Argument::Absent;
        match directive.known(&mut [0; LONGEST]) {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" if alone => self.only_if_cached = true,
            b"max-age" => keep_least(&mut self.max_age, seconds),
            b"min-fresh" => {
                let seconds = seconds.unwrap_or(DELTA_SECONDS_MAX);
                self.min_fresh = Some(self.min_fresh.map_or(seconds, |other| other.max(seconds)));
            }
            b"max-stale" if alone => self.max_stale = self.max_stale.or(Some(None)),
            b"max-stale" => {
                let mut least = self.max_stale.flatten();
                keep_least(&mut least, seconds);
                self.max_stale = Some(least);
            }
            _ => {}
        }
    }
}

/// What an origin allows caches (RFC 9111, section 5.2.2; RFC 5861; RFC 8246). Numbers are seconds, at most
/// [`DELTA_SECONDS_MAX`], and 0 where they cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// Not to be stored.
    pub no_store: bool,
    /// Not to be used without validation.
    pub no_cache: bool,
    /// `no-cache` for some fields only: see [`ResponseDirectives::withheld`].
    pub no_cache_fields: bool,
    /// Not for a cache that is shared.
    pub private: bool,
    /// `private` for some fields only: see [`ResponseDirectives::withheld`].
    pub private_fields: bool,
    /// To be stored even where that is not the rule.
    pub public: bool,
    /// Never to be used stale.
    pub must_revalidate: bool,
    /// Never to be used stale by a shared cache.
    pub proxy_revalidate: bool,
    /// To be stored only by caches that know the status, and by those in spite of `no-store`.
    pub must_understand: bool,
    /// Content as it is.
    pub no_transform: bool,
    /// Does not change while it is fresh (RFC 8246).
    pub immutable: bool,
    /// The freshness lifetime.
    pub max_age: Option<u64>,
    /// The freshness lifetime in a shared cache.
    pub s_maxage: Option<u64>,
    /// How long it may be used stale while it is validated (RFC 5861, section 3).
    pub stale_while_revalidate: Option<u64>,
    /// How long it may be used stale when the origin fails (RFC 5861, section 4).
    pub stale_if_error: Option<u64>,
    /// All this was said to caches like this one, and not by Cache-Control; Expires counts for nothing then
    /// (RFC 9213, section 2.2).
    pub targeted: bool,
}

impl ResponseDirectives {
    /// Reads the response's CDN-Cache-Control, or its Cache-Control where that is missing, empty or no
    /// dictionary (RFC 9213, section 2.1).
    ///
    /// A dictionary lets the last of a key's values win; here too the one that allows less does.
    pub fn of(fields: Fields<'_>) -> ResponseDirectives {
        let mut read = ResponseDirectives { targeted: is_targeted(fields), ..ResponseDirectives::default() };
        let name = if read.targeted { Name::CdnCacheControl } else { Name::CacheControl };
        for value in fields.values(name) {
            if read.targeted {
                targeted(value).for_each(|directive| read.take(directive));
            } else {
                directives(value).for_each(|directive| read.take(directive));
            }
        }
        read
    }

    /// The names of the fields that `no-cache` and `private` withhold, where they name any: not to be stored,
    /// or not to be sent without validation, while the rest of the response is free (RFC 9111, sections
    /// 5.2.2.4 and 5.2.2.7). All are tokens, and none is of those that a response cannot do without.
    pub fn withheld<'a>(fields: Fields<'a>) -> impl Iterator<Item = &'a [u8]> {
        let is_targeted = is_targeted(fields);
        let standard = fields.values(Name::CacheControl).filter(move |_| !is_targeted).flat_map(directives);
        let special = fields.values(Name::CdnCacheControl).filter(move |_| is_targeted).flat_map(targeted);
        standard
            .chain(special)
            .filter(|directive| matches!(directive.known(&mut [0; LONGEST]), b"no-cache" | b"private"))
            .filter_map(|directive| directive.argument.field_names())
            .flatten()
    }

    fn take(&mut self, directive: Directive<'_>) {
        let seconds = directive.argument.seconds();
        let names_fields = directive.argument.field_names().is_some();
        let alone = directive.argument == Argument::Absent;
        match directive.known(&mut [0; LONGEST]) {
            b"no-store" => self.no_store = true,
            b"no-cache" if names_fields => self.no_cache_fields = true,
            b"no-cache" => self.no_cache = true,
            b"private" if names_fields => self.private_fields = true,
            b"private" => self.private = true,
            b"public" if alone => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" if alone => self.must_understand = true,
            b"no-transform" => self.no_transform = true,
            b"immutable" if alone => self.immutable = true,
            b"max-age" => keep_least(&mut self.max_age, seconds),
            b"s-maxage" => keep_least(&mut self.s_maxage, seconds),
            b"stale-while-revalidate" => keep_least(&mut self.stale_while_revalidate, seconds),
            b"stale-if-error" => keep_least(&mut self.stale_if_error, seconds),
            _ => {}
        }
    }
}

/// Keeps the lesser of what was there and what was read, or nothing at all where it could not be read.
fn keep_least(kept: &mut Option<u64>, read: Option<u64>) {
    let read = read.unwrap_or(0);
    *kept = Some(kept.map_or(read, |other| other.min(read)));
}

/// One directive, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directive<'a> {
    name: &'a [u8],
    argument: Argument<'a>,
}

/// The length of `stale-while-revalidate`; no longer name is known.
const LONGEST: usize = 22;

impl<'a> Directive<'a> {
    /// The name in lower case, for case does not count (RFC 9111, section 5.2), or nothing if it is too long to
    /// be known.
    fn known<'b>(&self, lower: &'b mut [u8; LONGEST]) -> &'b [u8] {
        let Some(lower) = lower.get_mut(..self.name.len()) else { return b"" };
        lower.copy_from_slice(self.name);
        lower.make_ascii_lowercase();
        lower
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument<'a> {
    Absent,
    /// A token.
    Token(&'a [u8]),
    /// What is between the marks of a quoted string, with its escapes.
    Quoted(&'a [u8]),
    /// The same of a dictionary's String, which is never a number (RFC 9213, section 2.1).
    Text(&'a [u8]),
    Malformed,
}

impl<'a> Argument<'a> {
    /// The number, in either form: recipients ought to accept both (RFC 9111, section 5.2).
    fn seconds(self) -> Option<u64> {
        match self {
            Argument::Token(text) | Argument::Quoted(text) => delta_seconds(text),
            Argument::Absent | Argument::Text(_) | Argument::Malformed => None,
        }
    }

    /// The field names listed, if there is nothing else in the list: where there is, the directive is taken
    /// for one without a list, which is the stricter one.
    fn field_names(self) -> Option<impl Iterator<Item = &'a [u8]>> {
        let (Argument::Token(text) | Argument::Quoted(text) | Argument::Text(text)) = self else {
            return None;
        };
        let names = || list::tokens(text);
        let valid = names().all(|name| name.iter().all(|&b| is_token_byte(b)) && can_be_withheld(name));
        (valid && names().next().is_some()).then(names)
    }
}

/// Whether a response still means the same to its reader without that field.
fn can_be_withheld(name: &[u8]) -> bool {
    !matches!(
        Name::recognise(name),
        Name::Age
            | Name::CacheControl
            | Name::CdnCacheControl
            | Name::ContentEncoding
            | Name::ContentLength
            | Name::ContentRange
            | Name::ContentType
            | Name::Date
            | Name::ETag
            | Name::Expires
            | Name::LastModified
            | Name::Location
            | Name::TransferEncoding
            | Name::Vary
    )
}

/// Whether a byte can be part of a token (RFC 9110, section 5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The directives of one line of Cache-Control. White space around `=` is not allowed there, but clear enough.
fn directives(value: &[u8]) -> impl Iterator<Item = Directive<'_>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|b| !matches!(b, b',' | b' ' | b'\t'))?;
        let (directive, after) = first_directive(&rest[start..]);
        let comma = after.iter().position(|&b| b == b',').unwrap_or(after.len());
        rest = &after[comma..];
        Some(directive)
    })
}

/// The directive at the start of a line, and what follows it, from its comma on or a little before it.
fn first_directive(line: &[u8]) -> (Directive<'_>, &[u8]) {
    let name_end = line.iter().position(|&b| !is_token_byte(b)).unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    let rest = rest.trim_ascii_start();
    let Some(argument) = rest.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else {
        let alone = matches!(rest.first(), None | Some(b','));
        let argument = if alone { Argument::Absent } else { Argument::Malformed };
        return (Directive { name, argument }, rest);
    };
    // A mark that is never closed is met once in a line at most: it would have closed any before it.
    if let Some(inner) = argument.strip_prefix(b"\"")
        && let Some(end) = closing_mark(inner)
    {
        let after = inner[end + 1..].trim_ascii_start();
        let clean = matches!(after.first(), None | Some(b','));
        let argument = if clean { Argument::Quoted(&inner[..end]) } else { Argument::Malformed };
        return (Directive { name, argument }, after);
    }
    let end = argument.iter().position(|&b| b == b',').unwrap_or(argument.len());
    let (token, after) = argument.split_at(end);
    let token = token.trim_ascii_end();
    let clean = !token.is_empty() && token.iter().all(|&b| is_token_byte(b));
    (Directive { name, argument: if clean { Argument::Token(token) } else { Argument::Malformed } }, after)
}

/// Where a quoted string ends whose opening mark was taken off.
fn closing_mark(inner: &[u8]) -> Option<usize> {
    let mut bytes = inner.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at),
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
    None
}

/// Whether there is a CDN-Cache-Control that is to be obeyed: a dictionary that is not empty.
fn is_targeted(fields: Fields<'_>) -> bool {
    let mut values = fields.values(Name::CdnCacheControl).peekable();
    // Lines are joined with commas, so that an empty one beside another is a fault as well.
    values.peek().is_some()
        && values.all(|line| {
            let mut members = dictionary::members(line).peekable();
            members.peek().is_some() && members.all(|member| member.is_ok())
        })
}

/// The directives of one line of a targeted field. A value of a type that the directive does not have allows
/// nothing.
fn targeted(line: &[u8]) -> impl Iterator<Item = Directive<'_>> {
    dictionary::members(line).filter_map(Result::ok).filter_map(|(name, value)| {
        let argument = match value {
            Value::Boolean(false) => return None,
            Value::Boolean(true) => Argument::Absent,
            Value::Integer(text) => Argument::Token(text),
            Value::String(text) => Argument::Text(text),
            Value::Other => Argument::Malformed,
        };
        Some(Directive { name, argument })
    })
}

#[cfg(test)]
#[path = "directives_tests.rs"]
mod tests;
