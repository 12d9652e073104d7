//! Fuzz bodies: what must hold for any bytes at all. They live beside the code that they fuzz; the
//! targets in `tests/fuzz` and the run over the corpus in `tests/corpus.rs` only call them.
//!
//! Verdicts and values are compared with those of `reference`, which reads the same bytes by the
//! same rules, but plainly, slowly and with nothing in common. Each body panics where they differ.

mod reference;

use std::fmt;

use self::reference::{Plain, Stop};
use super::amend::AsItCame;
use super::body::{BadBody, Decoder, Encoder};
use super::chunked::PREFIX_BYTES_MAX;
use super::encode::{self, ADDED_BYTES_MAX, Persistence, RequestEdits, ResponseBody, ResponseEdits};
use super::head::{self, HeadScanner, Malformed};
use super::{BodyLength, RequestHead, ResponseHead, framing, request, response};
use crate::error::Reason;
use crate::http::fields::drop_connection_options;
use crate::http::status::{SWITCHING_PROTOCOLS, is_interim};
use crate::http::{FieldLine, Fields, Method, Name, Version, list};
use crate::limits::{FIELDS_CEILING, HEAD_BYTES_CEILING, HeadLimits};

/// A request head: the verdict is the reference's, what is accepted has nothing in it that another
/// reader could take in another way, and it reads back as it was after it was written anew.
pub fn request_head(bytes: &[u8]) {
    let limits = HeadLimits::default();
    let Some(bytes) = whole_head(bytes, &limits) else { return };
    let plain = Plain::request(bytes);
    let mut lines = Vec::new();
    let head = match (request::parse(bytes, &limits, &mut lines), &plain) {
        (Ok(head), Some(_)) => head,
        (Ok(_), None) => panic!("accepted a malformed request"),
        (Err(reason), plain) => return assert_refused(reason, plain.as_ref(), &limits),
    };
    let plain = plain.expect("it was there a moment ago");
    let fields = Fields::new(bytes, &lines);
    let [method, target, version] = plain.first;
    assert_eq!(head.token.within(bytes), method);
    assert_eq!(head.target_text.within(bytes), target);
    assert_eq!(head.version.name().as_bytes(), version);
    assert_eq!(pairs(fields, |_| true), plain.fields);
    assert!(
        target.iter().all(|b| b.is_ascii_graphic() && *b != b'#'),
        "a target has a byte that no target may have"
    );
    let hosts = plain.values("host");
    assert!(hosts.len() == 1 || head.version == Version::Http10 && hosts.is_empty(), "not one Host");
    for host in &hosts {
        assert!(!host.is_empty() && host.iter().all(|b| b.is_ascii_graphic() && !b"/?#@\\\"<>".contains(b)));
    }
    // CONNECT is never passed on.
    if let (Ok(body), true) = (framing::of_request(head.version, fields), head.method != Method::Connect) {
        drop_connection_options(bytes, &mut lines);
        let fields = Fields::new(bytes, &lines);
        for edits in request_edits(bytes, &head, fields, body) {
            assert_request_survives(bytes, &head, fields, &edits, &plain);
        }
    }
}

/// The bytes of a head that the proxy would look at.
fn whole_head<'a>(bytes: &'a [u8], limits: &HeadLimits) -> Option<&'a [u8]> {
    let end = reference::head_end(bytes);
    let found = HeadScanner::default().scan(bytes);
    match end {
        Ok(end) => assert_eq!(found, Ok(Some(end))),
        Err(Stop::Short) => assert_eq!(found, Ok(None)),
        Err(Stop::Bad) => assert_eq!(found, Err(Malformed::LineEnding)),
    }
    end.ok().filter(|&end| end <= limits.head_bytes_max).map(|end| &bytes[..end])
}

/// A refusal must have a cause, and the right one where the reference can tell.
fn assert_refused(reason: Reason, plain: Option<&Plain<'_>>, limits: &HeadLimits) {
    let Some(plain) = plain else { return };
    let hosts = plain.values("host");
    let too_many = plain.fields.len() > limits.fields_max;
    match reason {
        Reason::TooManyFields => assert!(too_many),
        Reason::TargetTooLong => assert!(plain.first[1].len() > limits.target_bytes_max),
        Reason::RepeatedHost => assert!(hosts.len() > 1),
        Reason::MissingHost => assert!(hosts.is_empty() && plain.first[2] == b"HTTP/1.1"),
        Reason::BadHost => assert_eq!(hosts.len(), 1),
        Reason::BadTarget => {}
        // httparse takes a target for text, and refuses what is not.
        Reason::BadRequestLine => assert!(!plain.first[1].is_ascii(), "refused a well-formed request line"),
        _ => panic!("refused a well-formed request: {}", reason.name()),
    }
}

/// The least and the most that may change in a request.
fn request_edits<'a>(
    bytes: &'a [u8],
    head: &RequestHead,
    fields: Fields<'a>,
    body: BodyLength,
) -> [RequestEdits<'a>; 2] {
    let asked = match head.target.authority() {
        Some(authority) => authority.within(bytes),
        None => fields.first(Name::Host).unwrap_or_default(),
    };
    let least = RequestEdits {
        target: head.target.origin_form(bytes, head.method),
        host: if asked.is_empty() { b"upstream:80" } else { asked },
        client: b"192.0.2.1",
        trusted: false,
        forwarded_host: asked,
        via: b"ringway",
        request_id: b"0123456789abcdef",
        body,
        expects_continue: false,
        upgrade: None,
        takes_trailers: false,
        max_forwards: None,
        conditions: None,
        identity: false,
        whole: false,
    };
    let most = RequestEdits {
        trusted: true,
        expects_continue: true,
        upgrade: fields.first(Name::Upgrade).and_then(|offer| list::elements(offer).next()),
        takes_trailers: true,
        max_forwards: Some(u64::MAX),
        ..least
    };
    [least, most]
}

/// HeadLimits that no head breaks which was within the usual ones before it was written anew.
fn widest() -> HeadLimits {
    HeadLimits { fields_max: FIELDS_CEILING, target_bytes_max: HEAD_BYTES_CEILING, ..HeadLimits::default() }
}

fn assert_request_survives(
    bytes: &[u8],
    head: &RequestHead,
    fields: Fields<'_>,
    edits: &RequestEdits<'_>,
    plain: &Plain<'_>,
) {
    let mut out = Vec::new();
    encode::request(&mut out, bytes, head, fields, edits, &mut AsItCame);
    let texts = [
        edits.host,
        edits.client,
        edits.forwarded_host,
        edits.via,
        edits.request_id,
        edits.upgrade.unwrap_or_default(),
    ];
    let added_max = ADDED_BYTES_MAX + texts.iter().map(|text| text.len()).sum::<usize>();
    assert!(out.len() <= bytes.len() + added_max, "a head grew by {} bytes", out.len() - bytes.len());
    assert_eq!(HeadScanner::default().scan(&out), Ok(Some(out.len())), "not one head was written");
    assert!(Plain::request(&out).is_some(), "a malformed head was written");
    let mut again = Vec::new();
    let read = request::parse(&out, &widest(), &mut again).expect("what was written is well-formed");
    assert_eq!(read.token.within(&out), head.token.within(bytes));
    assert_eq!(read.target_text.within(&out), [edits.target.prefix, edits.target.rest].concat());
    assert_eq!(read.version, Version::Http11);
    let written = Fields::new(&out, &again);
    assert_eq!(framing::of_request(read.version, written), Ok(edits.body));
    assert_eq!(written.first(Name::Host), Some(edits.host));
    // What looks like a field that the proxy vouches for does not pass, nor what strangers say of forwarding.
    let is_doubtful =
        |name: &[u8]| Name::is_imitated_by(name) || !edits.trusted && Name::is_of_forwarding(name);
    assert_fields_survive(fields, written, plain, is_doubtful);
}

/// Fields that mean nothing here pass as they are, unless they are doubtful, those of one connection do not, and Via
/// grows.
fn assert_fields_survive(
    before: Fields<'_>,
    after: Fields<'_>,
    plain: &Plain<'_>,
    is_doubtful: impl Fn(&[u8]) -> bool,
) {
    let passes = |name| matches!(name, Name::Other | Name::Accept | Name::Referer | Name::UserAgent);
    let mut passing = pairs(before, passes);
    passing.retain(|(name, _)| !is_doubtful(name));
    assert_eq!(passing, pairs(after, passes));
    assert_eq!(before.values(Name::Via).count() + 1, after.values(Name::Via).count());
    for name in [
        Name::KeepAlive,
        Name::ProxyConnection,
        Name::ProxyAuthorization,
        Name::ProxyAuthenticate,
        Name::Http2Settings,
    ] {
        assert_eq!(after.first(name), None, "{name:?} was passed on");
    }
    for name in [Name::Connection, Name::Upgrade, Name::Te] {
        assert!(after.values(name).count() <= 1, "{name:?} was passed on");
    }
    // A quotation mark has no place among options; what it hides is not told by splitting at commas.
    let values = plain.values("connection").into_iter().filter(|value| !value.contains(&b'"'));
    for option in values.flat_map(|value| value.split(|&b| b == b',')).map(<[u8]>::trim_ascii) {
        let stays = Name::recognise(option) != Name::Other || option.eq_ignore_ascii_case(b"close");
        let is_named = |(_, name, _): (Name, &[u8], &[u8])| name.eq_ignore_ascii_case(option);
        assert!(stays || !after.iter().any(is_named), "a field that Connection names was passed on");
    }
}

/// Names and values of the field lines that `choose` takes.
fn pairs<'a>(fields: Fields<'a>, choose: impl Fn(Name) -> bool) -> Vec<(&'a [u8], &'a [u8])> {
    fields.iter().filter(|&(known, ..)| choose(known)).map(|(_, name, value)| (name, value)).collect()
}

/// A response head, in the same way.
pub fn response_head(bytes: &[u8]) {
    let limits = HeadLimits::default();
    let Some(bytes) = whole_head(bytes, &limits) else { return };
    let plain = Plain::response(bytes);
    let mut lines = Vec::new();
    let head = match (response::parse(bytes, &limits, &mut lines), &plain) {
        (Ok(head), Some(_)) => head,
        (Ok(_), None) => panic!("accepted a malformed response"),
        (Err(Malformed::TooManyFields), Some(plain)) => {
            return assert!(plain.fields.len() > limits.fields_max);
        }
        (Err(fault), Some(_)) => panic!("refused a well-formed response: {fault:?}"),
        (Err(_), None) => return,
    };
    let plain = plain.expect("it was there a moment ago");
    let [version, status, phrase] = plain.first;
    assert_eq!(head.version.name().as_bytes(), version);
    assert_eq!(head.status.to_string().as_bytes(), status);
    // httparse takes a phrase for text, and drops what is not.
    assert_eq!(head.phrase.within(bytes), if phrase.is_ascii() { phrase } else { b"" });
    assert_eq!(pairs(Fields::new(bytes, &lines), |_| true), plain.fields);
    drop_connection_options(bytes, &mut lines);
    for head_only in [false, true] {
        assert_response_survives(bytes, &head, &lines, head_only, &plain);
    }
}

fn assert_response_survives(
    bytes: &[u8],
    head: &ResponseHead,
    lines: &[FieldLine],
    head_only: bool,
    plain: &Plain<'_>,
) {
    let fields = Fields::new(bytes, lines);
    let Ok(length) = framing::of_response(head_only, head.status, head.version, fields) else { return };
    for (body, want) in outgoing(head.status, length) {
        let upgrade = fields.first(Name::Upgrade).filter(|_| head.status == SWITCHING_PROTOCOLS);
        let edits = ResponseEdits {
            body,
            persistence: Persistence::Close,
            via: b"ringway",
            date: b"Sun, 06 Nov 1994 08:49:37 GMT",
            upgrade,
            report: b"",
        };
        let mut out = Vec::new();
        encode::response(&mut out, bytes, head, fields, &edits, &mut AsItCame);
        let added_max =
            ADDED_BYTES_MAX + edits.via.len() + edits.date.len() + upgrade.unwrap_or_default().len();
        assert!(out.len() <= bytes.len() + added_max, "a head grew by {} bytes", out.len() - bytes.len());
        assert_eq!(HeadScanner::default().scan(&out), Ok(Some(out.len())), "not one head was written");
        assert!(Plain::response(&out).is_some(), "a malformed head was written");
        let mut again = Vec::new();
        let read = response::parse(&out, &widest(), &mut again).expect("what was written is well-formed");
        assert_eq!((read.status, read.version), (head.status, Version::Http11));
        assert_eq!(read.phrase.within(&out), head.phrase.within(bytes));
        let written = Fields::new(&out, &again);
        assert_eq!(framing::of_response(head_only, read.status, read.version, written), Ok(want));
        assert_fields_survive(fields, written, plain, |_| false);
        if body == ResponseBody::Forbidden {
            assert_eq!(written.first(Name::ContentLength), None);
            assert_eq!(written.first(Name::TransferEncoding), None);
        }
    }
}

/// How content of that length may go out, and what a client makes of the head then.
fn outgoing(status: u16, length: BodyLength) -> Vec<(ResponseBody, BodyLength)> {
    match length {
        BodyLength::None if is_interim(status) || matches!(status, SWITCHING_PROTOCOLS | 204) => {
            vec![(ResponseBody::Forbidden, BodyLength::None)]
        }
        BodyLength::None => vec![(ResponseBody::Described, BodyLength::None)],
        BodyLength::Known(length) => vec![(ResponseBody::Known(length), BodyLength::Known(length))],
        BodyLength::Chunked | BodyLength::UntilClose => vec![
            (ResponseBody::Chunked, BodyLength::Chunked),
            (ResponseBody::UntilClose, BodyLength::UntilClose),
        ],
    }
}

/// The framing of a message. The first byte chooses version, status and whether the request was a
/// HEAD; field lines follow, without the empty line behind them.
pub fn framing(bytes: &[u8]) {
    const STATUSES: [u16; 8] = [200, 100, 101, 103, 204, 206, 304, 502];
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let version = if choice & 1 == 0 { Version::Http11 } else { Version::Http10 };
    let head_only = choice & 2 != 0;
    let status = STATUSES[usize::from(choice >> 2) % STATUSES.len()];
    let section = [rest, b"\r\n"].concat();
    let limits = HeadLimits::default();
    let Some(section) = whole_head(&section, &limits) else { return };
    let mut lines = Vec::new();
    let plain = match (head::parse_fields(section, &limits, &mut lines), Plain::section(section)) {
        (Ok(()), Some(plain)) => plain,
        (Ok(()), None) => panic!("accepted malformed fields"),
        (Err(Malformed::TooManyFields), Some(plain)) => {
            return assert!(plain.fields.len() > limits.fields_max);
        }
        (Err(fault), Some(_)) => panic!("refused well-formed fields: {fault:?}"),
        (Err(_), None) => return,
    };
    let fields = Fields::new(section, &lines);
    assert_eq!(pairs(fields, |_| true), plain.fields);
    let of_request = framing::of_request(version, fields);
    assert_eq!(of_request.ok(), reference::request_length(version, &plain));
    let of_response = framing::of_response(head_only, status, version, fields);
    assert_eq!(of_response.ok(), reference::response_length(head_only, status, version, &plain));
    if of_request.map_err(framing::BadFraming::in_request) == Err(Reason::UnknownTransferCoding) {
        let other = |value: &&[u8]| !value.eq_ignore_ascii_case(b"chunked");
        assert!(plain.values("transfer-encoding").iter().any(other), "chunked was taken for unknown");
    }
}

/// The chunked coding. The first two bytes say where what follows them is cut; however it is cut, it
/// gives the same content and the same verdict, and those are the reference's.
pub fn chunked(bytes: &[u8]) {
    let Some((&[one, two], coded)) = bytes.split_first_chunk() else { return };
    let cuts = [usize::from(one) + 1, usize::from(two) + 1];
    let whole = decode(coded, &[usize::MAX]);
    assert_eq!(decode(coded, &[1]), whole, "byte by byte");
    assert_eq!(decode(coded, &cuts), whole, "cut by {cuts:?}");
    let plain = reference::chunked(coded);
    match (&whole, plain.end) {
        (Err(_), Err(Stop::Bad)) => {}
        (Ok(decoded), Err(Stop::Short)) => {
            assert_eq!((&decoded.content, decoded.end), (&plain.content, None));
        }
        (Ok(decoded), Ok(end)) => {
            assert_eq!((&decoded.content, decoded.end), (&plain.content, Some(end)));
            assert_eq!(decoded.trailers.as_deref(), plain.trailers.map(|section| &coded[section]));
        }
        (Err(BadBody::Trailer), Ok(_)) => {
            let section = plain.trailers.expect("refused for a trailer section that is not there");
            let fields = Plain::section(&coded[section]).map(|plain| plain.fields.len());
            assert!(
                fields.is_none_or(|count| count > FIELDS_CEILING),
                "refused a well-formed trailer section"
            );
        }
        (whole, end) => panic!("{whole:?}, where the reference says {end:?}"),
    }
    if let Ok(Decoded { trailers: Some(section), .. }) = &whole {
        assert_trailers_are_harmless(section);
    }
    assert_content_survives(coded, &cuts);
}

/// What became of a chunked message.
#[derive(PartialEq)]
struct Decoded {
    content: Vec<u8>,
    trailers: Option<Vec<u8>>,
    /// Where the message ends, if it does.
    end: Option<usize>,
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trailers = self.trailers.as_deref().unwrap_or_default().escape_ascii();
        write!(f, "content \"{}\", trailers \"{trailers}\", end {:?}", self.content.escape_ascii(), self.end)
    }
}

/// Decodes in pieces of the lengths in `cuts`, again and again.
fn decode(coded: &[u8], cuts: &[usize]) -> Result<Decoded, BadBody> {
    let mut decoder = Decoder::new(BodyLength::Chunked);
    let mut content = Vec::new();
    let mut at = 0;
    for cut in cuts.iter().cycle() {
        if at == coded.len() || decoder.is_done() {
            break;
        }
        let mut window = coded[at..coded.len().min(at.saturating_add(*cut))].to_vec();
        let step = decoder.step(&mut window)?;
        assert!(
            step.consumed == window.len() || decoder.is_done(),
            "bytes were left over within the message"
        );
        assert!(step.data.len() <= step.consumed);
        content.extend_from_slice(&window[step.data]);
        at += step.consumed;
    }
    let end = decoder.is_done().then_some(at);
    Ok(Decoded { content, trailers: decoder.trailers().map(<[u8]>::to_vec), end })
}

/// A trailer section is refused, or passed on without what could change a decision.
fn assert_trailers_are_harmless(section: &[u8]) {
    let limits = HeadLimits::default();
    let mut lines = Vec::new();
    let plain = match (head::parse_fields(section, &limits, &mut lines), Plain::section(section)) {
        (Ok(()), Some(plain)) => plain,
        (Ok(()), None) => panic!("accepted a malformed trailer section"),
        (Err(Malformed::TooManyFields), Some(plain)) => {
            return assert!(plain.fields.len() > limits.fields_max);
        }
        (Err(fault), Some(_)) => panic!("refused a well-formed trailer section: {fault:?}"),
        (Err(_), None) => return,
    };
    let mut out = Vec::new();
    encode::trailers(&mut out, Fields::new(section, &lines));
    let section = out.strip_prefix(b"0\r\n").expect("the last chunk comes first");
    assert_eq!(reference::head_end(section), Ok(section.len()), "not one section was written");
    let written = Plain::section(section).expect("what was written is well-formed").fields;
    for field in written {
        assert!(plain.fields.contains(&field), "a trailer field was made up");
        assert_eq!(Name::recognise(field.0), Name::Other, "a trailer field could change a decision");
    }
}

/// Any content, cut in any way and put into chunks, is what the reference reads.
fn assert_content_survives(content: &[u8], cuts: &[usize; 2]) {
    let mut coded = Vec::new();
    let mut rest = content;
    for cut in cuts.iter().cycle() {
        let (piece, left) = rest.split_at(rest.len().min(*cut));
        coded.extend_from_slice(Encoder::Chunked.prefix(piece.len(), &mut [0; PREFIX_BYTES_MAX]));
        coded.extend_from_slice(piece);
        coded.extend_from_slice(Encoder::Chunked.suffix(piece.len()));
        rest = left;
        if rest.is_empty() {
            break;
        }
    }
    coded.extend_from_slice(Encoder::Chunked.end());
    let plain = reference::chunked(&coded);
    assert_eq!((plain.content.as_slice(), plain.end), (content, Ok(coded.len())));
}
