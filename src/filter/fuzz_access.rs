//! Fuzz bodies for lists of networks and for what browsers ask: what must hold for any bytes. The targets in
//! `tests/fuzz` and the run over the corpus in `tests/corpus.rs` only call them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::access::{Asker, Networks};
use super::cors::{self, Cors, Preflight};
use crate::config::browsers::{CorsSettings, Origins};
use crate::config::network;
use crate::http::fields::is_token;
use crate::http::{FieldLine, Fields, Method, Name, Span};

/// Field lines, made up.
#[derive(Clone, Debug)]
pub struct Request {
    head: Vec<u8>,
    lines: Vec<FieldLine>,
}

impl Request {
    /// These, of at most 64 KiB together.
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Request {
        let (mut head, mut lines) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            let start = head.len();
            head.extend_from_slice(name.as_ref());
            let end = head.len();
            head.extend_from_slice(value.as_ref().trim_ascii());
            let (name_at, value_at) = (Span::new(start, end), Span::new(end, head.len()));
            let known = Name::recognise(name.as_ref());
            lines.push(FieldLine { name: name_at, value: value_at, known });
        }
        Request { head, lines }
    }

    /// The lines.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.head, &self.lines)
    }
}

/// A list of networks: each line is the network that it says, and what is read of it is found as a search through all
/// of it finds it, at the edges of networks too.
pub fn networks(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(all) = network::networks(text) else { return };
    let lines = text.trim_start_matches('\u{feff}').lines();
    let said = lines.map(|line| line.split_once('#').map_or(line, |(said, _)| said).trim());
    let said: Vec<(u8, u128, u128)> = said.filter(|said| !said.is_empty()).map(plain_network).collect();
    assert_eq!(said, all.iter().map(|network| edges(*network)).collect::<Vec<_>>(), "{text:?}");
    let written: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(network::networks(&written.join("\n")).as_ref(), Ok(&all));
    let set = Networks::new(all.iter().copied());
    for network in all.iter().take(64) {
        let (family, first, last) = edges(*network);
        let beside = [first.checked_sub(1), Some(first), Some(last), last.checked_add(1)];
        for number in beside.into_iter().flatten() {
            let Some(address) = address(family, number) else { continue };
            // An IPv6 address may stand for one of IPv4.
            let (family, number) = match address.to_canonical() {
                IpAddr::V4(v4) => (4, u128::from(v4.to_bits())),
                IpAddr::V6(v6) => (6, v6.to_bits()),
            };
            let has =
                |&&(of, first, last): &&(u8, u128, u128)| of == family && (first..=last).contains(&number);
            let least = said.iter().filter(has).map(|(_, first, last)| last - first).min();
            let want = least.map(|least| bits(family) - u8::try_from(least.count_ones()).unwrap_or(u8::MAX));
            assert_eq!(set.closeness(Asker::Address(address)), want, "{address} in {text:?}");
        }
    }
}

/// Bits of an address.
fn bits(family: u8) -> u8 {
    if family == 4 { 32 } else { 128 }
}

fn address(family: u8, number: u128) -> Option<IpAddr> {
    match family {
        4 => u32::try_from(number).ok().map(|number| IpAddr::V4(number.into())),
        _ => Some(IpAddr::V6(number.into())),
    }
}

/// The family, the first and the last address of a network.
fn edges(network: IpNet) -> (u8, u128, u128) {
    match network {
        IpNet::V4(v4) => (4, v4.network().to_bits().into(), v4.broadcast().to_bits().into()),
        IpNet::V6(v6) => (6, v6.network().to_bits(), v6.broadcast().to_bits()),
    }
}

/// The same of a network as it is written, plainly.
fn plain_network(said: &str) -> (u8, u128, u128) {
    let (start, length) = said.split_once('/').map_or((said, None), |(start, length)| (start, Some(length)));
    let start: IpAddr = start.parse().expect("what was taken begins with an address");
    let (family, number) = match start {
        IpAddr::V4(v4) => (4, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (6, v6.to_bits()),
    };
    let length = length.map_or(bits(family), |length| length.parse().expect("what was taken has a length"));
    let free = u128::MAX.checked_shr(128 - u32::from(bits(family) - length)).unwrap_or(0);
    let (first, last) = (number & !free, number | free);
    match (family, first >> 32, length) {
        (6, 0xffff, 96..) => (4, first & 0xffff_ffff, last & 0xffff_ffff),
        _ => (family, first, last),
    }
}

/// Bytes of the longest field that is taken.
const VALUE_BYTES_MAX: usize = 4096;

/// A line each: an origin, a method and a list of fields, of an OPTIONS request. Whoever is answered is one of those
/// that may ask, and no answer has another line in it than those that are meant.
pub fn cors(bytes: &[u8]) {
    // What cannot stand in a field never gets here.
    if bytes.iter().any(|byte| byte.is_ascii_control() && *byte != b'\n') {
        return;
    }
    let mut lines = bytes.split(|&byte| byte == b'\n').map(|line| &line[..line.len().min(VALUE_BYTES_MAX)]);
    let mut line = || lines.next().unwrap_or_default();
    let mut pairs = vec![
        ("Origin", line()),
        ("Access-Control-Request-Method", line()),
        ("Access-Control-Request-Headers", line()),
        ("access-control-request-private-network", line()),
    ];
    let request = Request::new(&pairs);
    let Some(asked) = Preflight::of(Method::Options, request.fields()) else { return };
    assert_eq!(cors::origin(request.fields()), Some(asked.origin));
    assert!(is_token(asked.method) && Preflight::of(Method::Get, request.fields()).is_none());
    for settings in settings() {
        assert_answers(&settings, &asked);
    }
    // Whoever says twice where it comes from says nothing.
    pairs.push(("ORIGIN", b"https://app.example.com"));
    let request = Request::new(&pairs);
    assert!(Preflight::of(Method::Options, request.fields()).is_none());
    assert_eq!(cors::origin(request.fields()), None);
}

const ONE: &str = "https://app.example.com";

/// Some rules.
fn settings() -> [CorsSettings; 3] {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let below = Origins::Below("https://".to_owned(), ".example.com".to_owned());
    let open = CorsSettings {
        origins: vec![Origins::One(ONE.to_owned()), below],
        methods: texts(&["*"]),
        headers: texts(&["*"]),
        credentials: true,
        ..CorsSettings::default()
    };
    let any = CorsSettings { origins: vec![Origins::Any], ..open.clone() };
    let close = CorsSettings {
        origins: vec![Origins::Null, Origins::One(ONE.to_owned())],
        methods: texts(&["PUT", "DELETE"]),
        headers: texts(&["X-A"]),
        exposed: texts(&["X-B"]),
        credentials: false,
        max_age: Some(std::time::Duration::from_secs(600)),
        private_network: true,
    };
    [open, any, close]
}

/// Whether an origin is one of those, plainly.
fn is_among(origins: &[Origins], origin: &str) -> bool {
    origins.iter().any(|origins| match origins {
        Origins::Any => true,
        Origins::Null => origin == "null",
        Origins::One(one) => origin == one,
        Origins::Below(..) => {
            let mut labels: Vec<&str> = origin.split('.').collect();
            let end = labels.split_off(labels.len().saturating_sub(2));
            let first = labels.first().map(|first| first.strip_prefix("https://"));
            let (Some(Some(first)), ["example", "com"]) = (first, &end[..]) else { return false };
            labels[0] = first;
            let is_part = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
            labels.iter().all(|label| !label.is_empty() && label.chars().all(is_part))
        }
    })
}

/// Whether it is answered as the rule says.
fn assert_answers(settings: &CorsSettings, asked: &Preflight<'_>) {
    let rule = Cors::new(settings);
    let (mut answer, mut response) = (Vec::new(), Vec::new());
    let allowed = rule.answer(asked, &mut answer);
    rule.write_lines(asked.origin, &mut response);
    let is_any = settings.origins == [Origins::Any];
    let origin = std::str::from_utf8(asked.origin).unwrap_or("\0");
    assert_eq!(allowed, is_any || is_among(&settings.origins, origin), "{origin}");
    assert_eq!((allowed, allowed), (rule.allows(asked.origin), !response.is_empty()));
    let mut wanted = Vec::new();
    let mut want = |name: &str, value: &[u8]| {
        wanted.push([b"Access-Control-", name.as_bytes(), b": ", value, b"\r\n"].concat());
    };
    if allowed {
        want("Allow-Origin", if is_any { b"*" } else { asked.origin });
    }
    if allowed && settings.credentials && !is_any {
        want("Allow-Credentials", b"true");
    }
    let (mut in_response, is_open) = (wanted.clone(), settings.methods == ["*"]);
    if allowed && !settings.exposed.is_empty() {
        in_response.push(b"Access-Control-Expose-Headers: X-B\r\n".to_vec());
    }
    assert_eq!(response, in_response.concat());
    let names = asked.headers.unwrap_or_default();
    let is_list = |names: &[u8]| {
        names
            .split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .all(|name| name.is_empty() || is_token(name))
    };
    match (allowed, is_open) {
        (false, _) => {}
        (true, true) => {
            wanted.push([b"Access-Control-Allow-Methods: ", asked.method, b"\r\n"].concat());
            if asked.headers.is_some() && names.len() <= 1024 && is_list(names) {
                wanted.push([b"Access-Control-Allow-Headers: ", names, b"\r\n"].concat());
            }
        }
        (true, false) => {
            wanted.push(b"Access-Control-Allow-Methods: PUT, DELETE\r\n".to_vec());
            wanted.push(b"Access-Control-Allow-Headers: X-A\r\nAccess-Control-Max-Age: 600\r\n".to_vec());
            if asked.private_network {
                wanted.push(b"Access-Control-Allow-Private-Network: true\r\n".to_vec());
            }
        }
    }
    assert_eq!(answer, wanted.concat());
}
