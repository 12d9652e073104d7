//! The first look at a well-formed request: what it asks of the connection and of the proxy, and
//! whether it is served at all.

use crate::error::Reason;
use crate::h1::BodyLength;
use crate::http::{Fields, Method, Name, Version, list};

/// What the request asks for beside its resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes<'a> {
    /// The client sends its content only after 100 (Continue) (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
    /// The protocol that the client offers to switch to (RFC 9110, section 7.8).
    pub upgrade: Option<&'a [u8]>,
    /// The client takes trailer fields.
    pub takes_trailers: bool,
    /// What remains of Max-Forwards on the next hop.
    pub max_forwards: Option<u64>,
}

/// What the look needs to know beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// This proxy's name in Via.
    pub via: &'a [u8],
    /// Whether TRACE is passed on.
    pub trace: bool,
}

/// Looks at a request.
///
/// # Errors
/// [`Reason::ConnectRefused`], [`Reason::TraceRefused`], [`Reason::UnknownExpectation`], or
/// [`Reason::Loop`] for a request that has passed this proxy before.
pub fn look<'a>(
    method: Method,
    version: Version,
    fields: Fields<'a>,
    body: BodyLength,
    rules: Rules<'_>,
) -> Result<Wishes<'a>, Reason> {
    let mut wishes = Wishes::default();
    match method {
        Method::Connect => return Err(Reason::ConnectRefused),
        Method::Trace if !rules.trace => return Err(Reason::TraceRefused),
        Method::Trace | Method::Options => wishes.max_forwards = max_forwards(fields)?,
        _ => {}
    }
    for (name, _, value) in fields.iter() {
        match name {
            Name::Via if names_us(value, rules.via) => return Err(Reason::Loop),
            Name::Expect if version == Version::Http11 => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Reason::UnknownExpectation);
                }
                wishes.expects_continue = !body.is_empty();
            }
            Name::Te => wishes.takes_trailers |= list::has_token(value, b"trailers"),
            Name::Upgrade if version == Version::Http11 && body.is_empty() => {
                wishes.upgrade = wishes.upgrade.or(offered(value, fields));
            }
            _ => {}
        }
    }
    Ok(wishes)
}

/// The first protocol offered, if the Connection field confirms the offer. HTTP/2 in the clear is
/// not passed on: requests in it would slip past everything that is decided here.
fn offered<'a>(value: &'a [u8], fields: Fields<'_>) -> Option<&'a [u8]> {
    let confirmed = fields.values(Name::Connection).any(|options| list::has_token(options, b"upgrade"));
    let is_http = |protocol: &[u8]| {
        protocol.get(..3).is_some_and(|p| p.eq_ignore_ascii_case(b"h2c"))
            || protocol.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"http"))
    };
    list::tokens(value).next().filter(|protocol| confirmed && !is_http(protocol))
}

/// Whether a Via field has an entry of that name: `protocol name comment` (RFC 9110, section 7.6.3).
fn names_us(value: &[u8], us: &[u8]) -> bool {
    list::elements(value).any(|entry| {
        let mut words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|name| name.eq_ignore_ascii_case(us))
    })
}

/// One hop less. A count that cannot be read is dropped; one that is used up means that the answer is
/// ours to give (RFC 9110, section 7.6.2), and a request that asks the proxy itself is not served.
fn max_forwards(fields: Fields<'_>) -> Result<Option<u64>, Reason> {
    let Some(value) = fields.first(Name::MaxForwards) else { return Ok(None) };
    let hops = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
    match hops {
        Some(0) => Err(Reason::HopsUsedUp),
        Some(hops) => Ok(Some(hops - 1)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::{framing, request};
    use crate::limits::HeadLimits;

    /// The verdict, and what of the wishes can be owned.
    fn look_at(
        first: &str,
        lines: &str,
        trace: bool,
    ) -> Result<(bool, Option<Vec<u8>>, bool, Option<u64>), Reason> {
        let text = format!("{first}\r\nHost: a\r\n{lines}\r\n");
        let mut fields = Vec::new();
        let head = request::parse(text.as_bytes(), &HeadLimits::default(), &mut fields)?;
        let fields = Fields::new(text.as_bytes(), &fields);
        let body = framing::of_request(head.version, fields).unwrap();
        let wishes = look(head.method, head.version, fields, body, Rules { via: b"ringway", trace })?;
        Ok((
            wishes.expects_continue,
            wishes.upgrade.map(<[u8]>::to_vec),
            wishes.takes_trailers,
            wishes.max_forwards,
        ))
    }

    #[test]
    fn refuses_what_is_not_served() {
        for (first, lines, want) in [
            ("CONNECT a:1 HTTP/1.1", "", Reason::ConnectRefused),
            ("TRACE / HTTP/1.1", "", Reason::TraceRefused),
            ("GET / HTTP/1.1", "Expect: 200-ok\r\n", Reason::UnknownExpectation),
            ("GET / HTTP/1.1", "Via: 1.1 ringway\r\n", Reason::Loop),
            ("GET / HTTP/1.1", "Via: 1.1 a, 1.0 Ringway (x, y)\r\n", Reason::Loop),
            ("OPTIONS / HTTP/1.1", "Max-Forwards: 0\r\n", Reason::HopsUsedUp),
        ] {
            assert_eq!(look_at(first, lines, false).map(|_| ()), Err(want), "{first} {lines}");
        }
    }

    #[test]
    fn serves_the_rest() {
        for (first, lines, trace) in [
            ("GET / HTTP/1.1", "Via: 1.1 ringway-two, 1.1 b (ringway)\r\n", false),
            ("TRACE / HTTP/1.1", "", true),
            ("GET / HTTP/1.0", "Expect: 200-ok\r\n", false),
            ("GET / HTTP/1.1", "Max-Forwards: 0\r\n", false),
        ] {
            assert!(look_at(first, lines, trace).is_ok(), "{first} {lines}");
        }
    }

    #[test]
    fn reads_the_wishes() {
        let (expects, ..) =
            look_at("POST / HTTP/1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n", false).unwrap();
        assert!(expects);
        let (expects, ..) =
            look_at("POST / HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false).unwrap();
        assert!(!expects);
        let (_, _, trailers, _) =
            look_at("GET / HTTP/1.1", "TE: trailers, deflate;q=0.5\r\n", false).unwrap();
        assert!(trailers);
        let (.., hops) = look_at("OPTIONS * HTTP/1.1", "Max-Forwards: 3\r\n", false).unwrap();
        assert_eq!(hops, Some(2));
    }

    #[test]
    fn an_upgrade_needs_both_fields_and_must_not_be_http() {
        let upgrade = |lines: &str| look_at("GET / HTTP/1.1", lines, false).unwrap().1;
        assert_eq!(
            upgrade("Connection: Upgrade\r\nUpgrade: websocket\r\n").as_deref(),
            Some(&b"websocket"[..])
        );
        assert_eq!(upgrade("Upgrade: websocket\r\n"), None);
        assert_eq!(
            upgrade("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"),
            None
        );
        assert_eq!(upgrade("Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n"), None);
        assert_eq!(upgrade("Connection: Upgrade\r\nContent-Length: 1\r\nUpgrade: websocket\r\n"), None);
    }
}
