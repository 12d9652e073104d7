//! Field lines of a head, as spans over the bytes they came in.

use super::{Span, list};

/// Field names that the proxy itself reads, drops or writes; every other one is [`Name::Other`] and
/// passes through untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the field of that name")]
pub enum Name {
    Other,
    Accept,
    AcceptCharset,
    AcceptEncoding,
    AcceptLanguage,
    Age,
    Authorization,
    CacheControl,
    CacheStatus,
    CacheTag,
    CdnCacheControl,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentLocation,
    ContentRange,
    ContentType,
    Date,
    /// A field that `Connection` named: see [`drop_connection_options`].
    Dropped,
    ETag,
    Expect,
    Expires,
    Forwarded,
    Host,
    Http2Settings,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    LastModified,
    Location,
    MaxForwards,
    Pragma,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Range,
    Referer,
    SetCookie,
    SurrogateKey,
    Te,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Vary,
    Via,
    XCache,
    XCacheKey,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRequestId,
    XRingwayTag,
}

impl Name {
    /// Recognises a field name, without regard to case (RFC 9110, section 5.1).
    pub fn recognise(name: &[u8]) -> Name {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is(b"te") => Name::Te,
            3 if is(b"age") => Name::Age,
            3 if is(b"via") => Name::Via,
            4 if is(b"date") => Name::Date,
            4 if is(b"etag") => Name::ETag,
            4 if is(b"host") => Name::Host,
            4 if is(b"vary") => Name::Vary,
            5 if is(b"range") => Name::Range,
            6 if is(b"accept") => Name::Accept,
            6 if is(b"expect") => Name::Expect,
            6 if is(b"pragma") => Name::Pragma,
            7 if is(b"expires") => Name::Expires,
            7 if is(b"referer") => Name::Referer,
            7 if is(b"upgrade") => Name::Upgrade,
            7 if is(b"x-cache") => Name::XCache,
            8 if is(b"if-match") => Name::IfMatch,
            8 if is(b"if-range") => Name::IfRange,
            8 if is(b"location") => Name::Location,
            9 if is(b"cache-tag") => Name::CacheTag,
            9 if is(b"forwarded") => Name::Forwarded,
            10 if is(b"connection") => Name::Connection,
            10 if is(b"keep-alive") => Name::KeepAlive,
            10 if is(b"set-cookie") => Name::SetCookie,
            10 if is(b"user-agent") => Name::UserAgent,
            11 if is(b"x-cache-key") => Name::XCacheKey,
            12 if is(b"cache-status") => Name::CacheStatus,
            12 if is(b"content-type") => Name::ContentType,
            12 if is(b"max-forwards") => Name::MaxForwards,
            12 if is(b"x-request-id") => Name::XRequestId,
            13 if is(b"x-ringway-tag") => Name::XRingwayTag,
            13 if is(b"authorization") => Name::Authorization,
            13 if is(b"cache-control") => Name::CacheControl,
            13 if is(b"content-range") => Name::ContentRange,
            13 if is(b"if-none-match") => Name::IfNoneMatch,
            13 if is(b"last-modified") => Name::LastModified,
            13 if is(b"surrogate-key") => Name::SurrogateKey,
            14 if is(b"accept-charset") => Name::AcceptCharset,
            14 if is(b"content-length") => Name::ContentLength,
            14 if is(b"http2-settings") => Name::Http2Settings,
            15 if is(b"accept-encoding") => Name::AcceptEncoding,
            15 if is(b"accept-language") => Name::AcceptLanguage,
            15 if is(b"x-forwarded-for") => Name::XForwardedFor,
            16 if is(b"content-encoding") => Name::ContentEncoding,
            16 if is(b"content-location") => Name::ContentLocation,
            16 if is(b"proxy-connection") => Name::ProxyConnection,
            16 if is(b"x-forwarded-host") => Name::XForwardedHost,
            17 if is(b"cdn-cache-control") => Name::CdnCacheControl,
            17 if is(b"if-modified-since") => Name::IfModifiedSince,
            17 if is(b"transfer-encoding") => Name::TransferEncoding,
            17 if is(b"x-forwarded-proto") => Name::XForwardedProto,
            18 if is(b"proxy-authenticate") => Name::ProxyAuthenticate,
            19 if is(b"if-unmodified-since") => Name::IfUnmodifiedSince,
            19 if is(b"proxy-authorization") => Name::ProxyAuthorization,
            _ => Name::Other,
        }
    }

    /// Whether a name with underscores looks like one that the proxy vouches for: origins behind CGI and
    /// its kin cannot tell `X_Forwarded_For` from `X-Forwarded-For`.
    pub fn is_imitated_by(name: &[u8]) -> bool {
        let mut plain = [0; 20];
        let Some(plain) = plain.get_mut(..name.len()) else { return false };
        if !name.contains(&b'_') {
            return false;
        }
        for (to, &from) in plain.iter_mut().zip(name) {
            *to = if from == b'_' { b'-' } else { from };
        }
        Name::recognise(plain) != Name::Other
    }

    /// Whether it is one of the fields by which a proxy tells how it was asked, the many that have no name
    /// here included: `X-Forwarded-Port`, `X-Forwarded-Prefix`, with underscores as well.
    pub fn is_of_forwarding(name: &[u8]) -> bool {
        const START: &[u8] = b"x-forwarded-";
        let matches = |(&byte, &wanted): (&u8, &u8)| {
            byte.to_ascii_lowercase() == wanted || (byte == b'_' && wanted == b'-')
        };
        name.len() > START.len() && name.iter().zip(START).all(matches)
    }

    /// Whether the field speaks about one connection only, and so stops at a proxy (RFC 9110,
    /// section 7.6.1). Fields that `Connection` names are the caller's to find.
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Name::Connection
                | Name::Dropped
                | Name::Http2Settings
                | Name::KeepAlive
                | Name::ProxyAuthenticate
                | Name::ProxyAuthorization
                | Name::ProxyConnection
                | Name::Te
                | Name::TransferEncoding
                | Name::Upgrade
        )
    }
}

impl Name {
    /// Whether a Connection field can take the field away: not one that the proxy writes or frames by, and
    /// not one that restrains caches (RFC 9110, section 7.6.1, warns of such options).
    const fn can_be_dropped(self) -> bool {
        matches!(
            self,
            Name::Other
                | Name::Accept
                | Name::AcceptCharset
                | Name::AcceptEncoding
                | Name::AcceptLanguage
                | Name::Authorization
                | Name::CacheTag
                | Name::ContentEncoding
                | Name::ContentLocation
                | Name::ContentType
                | Name::ETag
                | Name::IfMatch
                | Name::IfModifiedSince
                | Name::IfNoneMatch
                | Name::IfRange
                | Name::IfUnmodifiedSince
                | Name::LastModified
                | Name::Location
                | Name::Range
                | Name::Referer
                | Name::SurrogateKey
                | Name::UserAgent
        )
    }
}

/// Whether `name` is a token, as every field name is (RFC 9110, section 5.6.2).
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a byte may stand in a token (RFC 9110, section 5.6.2).
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

const TOKEN_BYTES: [bool; 256] = {
    let mut may_stand = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let is_of_words = (byte as u8).is_ascii_alphanumeric();
        may_stand[byte] = is_of_words;
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        may_stand[others[at] as usize] = true;
        at += 1;
    }
    may_stand
};

/// One field line: where its name and its value lie in the head.
#[derive(Clone, Copy, Debug)]
pub struct FieldLine {
    /// The name as it was written.
    pub name: Span,
    /// The value, without the white space around it.
    pub value: Span,
    /// The name, if it is one that the proxy cares about.
    pub known: Name,
}

/// The field lines of a head, in the order they came, read beside the bytes of that head.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    head: &'a [u8],
    lines: &'a [FieldLine],
}

impl<'a> Fields<'a> {
    /// Joins the spans to the bytes they point into.
    pub fn new(head: &'a [u8], lines: &'a [FieldLine]) -> Fields<'a> {
        Fields { head, lines }
    }

    /// Every line: the known name, the name as written, the value.
    pub fn iter(self) -> impl Iterator<Item = (Name, &'a [u8], &'a [u8])> {
        self.lines
            .iter()
            .map(move |line| (line.known, line.name.within(self.head), line.value.within(self.head)))
    }

    /// The values of every line of one name, in order.
    pub fn values(self, name: Name) -> impl Iterator<Item = &'a [u8]> {
        self.lines.iter().filter(move |line| line.known == name).map(move |line| line.value.within(self.head))
    }

    /// The values of every line whose name is written so, in any case. Fields that `Connection` named are not
    /// among them: what is decided by must be what the upstream is told.
    pub fn named(self, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let fits = move |(known, written): (Name, &[u8])| {
            known != Name::Dropped && written.eq_ignore_ascii_case(name)
        };
        self.iter().filter(move |&(known, written, _)| fits((known, written))).map(|(_, _, value)| value)
    }

    /// The value of the first line of that name.
    pub fn first(self, name: Name) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// How many lines there are.
    pub fn len(self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(self) -> bool {
        self.lines.is_empty()
    }
}

/// Marks the fields that a Connection field names as [`Name::Dropped`], for they are meant for this
/// connection only (RFC 9110, section 7.6.1). Fields that the proxy itself reads or writes cannot be
/// taken away like this.
pub fn drop_connection_options(head: &[u8], lines: &mut [FieldLine]) {
    for at in 0..lines.len() {
        if lines[at].known != Name::Connection {
            continue;
        }
        for option in list::tokens(lines[at].value.within(head)) {
            if [&b"close"[..], b"keep-alive", b"upgrade", b"te"]
                .iter()
                .any(|o| option.eq_ignore_ascii_case(o))
            {
                continue;
            }
            for line in lines.iter_mut().filter(|line| line.known.can_be_dropped()) {
                if line.name.within(head).eq_ignore_ascii_case(option) {
                    line.known = Name::Dropped;
                }
            }
        }
    }
}

/// A field line in a text that the proxy wrote.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Which field it is.
    pub known: Name,
    /// Its name.
    pub name: &'a [u8],
    /// Its value, without the white space around it.
    pub value: &'a [u8],
    /// All of it, with its end.
    pub line: &'a [u8],
}

/// The field lines of a head that was written, the status line aside.
pub fn written_head(head: &[u8]) -> impl Iterator<Item = Written<'_>> {
    written_lines(memchr::memchr(b'\n', head).map_or(&b""[..], |end| &head[end + 1..]))
}

/// The same of lines that no status line stands in front of.
pub fn written_lines(text: &[u8]) -> impl Iterator<Item = Written<'_>> {
    text.split_inclusive(|&byte| byte == b'\n').map_while(|line| {
        let at = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        Some(Written { known: Name::recognise(name), name, value, line })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_names_in_any_case() {
        assert_eq!(Name::recognise(b"Content-Length"), Name::ContentLength);
        assert_eq!(Name::recognise(b"tRANSFER-eNCODING"), Name::TransferEncoding);
        assert_eq!(Name::recognise(b"X-Forwarded-Proto"), Name::XForwardedProto);
        assert_eq!(Name::recognise(b"Content_Length"), Name::Other);
        assert_eq!(Name::recognise(b""), Name::Other);
    }

    #[test]
    fn a_token_has_no_separators() {
        assert!(is_token(b"X-A_b.c~1") && is_token(b"*"));
        for bad in [&b""[..], b"a b", b"a:", b"a\r", b"{a}", b"\xe9", b"a,b", b"\0"] {
            assert!(!is_token(bad));
        }
    }

    #[test]
    fn what_proxies_tell_has_a_prefix_of_its_own() {
        for name in [&b"X-Forwarded-Port"[..], b"x-forwarded-ssl", b"X_FORWARDED_PREFIX"] {
            assert!(Name::is_of_forwarding(name));
        }
        for name in [&b"X-Forwarded"[..], b"X-Forwarded-", b"X-Forward-To-Me", b"Forwarded", b""] {
            assert!(!Name::is_of_forwarding(name));
        }
    }

    #[test]
    fn underscores_do_not_hide_a_name() {
        assert!(Name::is_imitated_by(b"X_Forwarded_For") && Name::is_imitated_by(b"content_length"));
        assert!(Name::is_imitated_by(b"x-forwarded_proto"));
        for harmless in [&b"X-Forwarded-For"[..], b"my_field", b"x_forwarded_for_too", &[b'_'; 40]] {
            assert!(!Name::is_imitated_by(harmless));
        }
    }
}
