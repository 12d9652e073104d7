//! Fuzz bodies for lists of networks and for what browsers ask: what must hold for any bytes. The targets in
//! `tests/fuzz` and the run over the corpus in `tests/corpus.rs` only call them.

use std::net::IpAddr;

use super::access::{Asker, Networks};
use super::cors::{self, Cors, Preflight};
use crate::config::browsers::{CorsSettings, Origins};
use crate::config::network;
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

/// A list of networks: what is read of it is found as a search through all of it finds it.
pub fn networks(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(all) = network::networks(text) else { return };
    let set = Networks::new(all.iter().copied());
    for network in all.iter().take(64) {
        for address in [network.addr(), network.broadcast(), IpAddr::from([127, 0, 0, 1])] {
            let fitting = all.iter().filter(|network| network.contains(&address.to_canonical()));
            let want = fitting.map(ipnet::IpNet::prefix_len).max();
            assert_eq!(set.closeness(Asker::Address(address)), want, "{address} in {text:?}");
        }
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
    let pairs = [
        ("Origin", line()),
        ("Access-Control-Request-Method", line()),
        ("Access-Control-Request-Headers", line()),
    ];
    let request = Request::new(&pairs);
    let Some(asked) = Preflight::of(Method::Options, request.fields()) else { return };
    assert_eq!(cors::origin(request.fields()), Some(asked.origin));
    let named = [
        Origins::One("https://app.example.com".to_owned()),
        Origins::Below("https://".to_owned(), ".example.com".to_owned()),
    ];
    for origins in [&named[..], &[Origins::Any]] {
        let any = || vec!["*".to_owned()];
        let settings = CorsSettings {
            origins: origins.to_vec(),
            methods: any(),
            headers: any(),
            credentials: true,
            ..CorsSettings::default()
        };
        let rule = Cors::new(&settings);
        let (mut answer, mut response) = (Vec::new(), Vec::new());
        let allowed = rule.answer(&asked, &mut answer);
        rule.write_lines(asked.origin, &mut response);
        assert_eq!((allowed, allowed), (rule.allows(asked.origin), !response.is_empty()));
        let is_any = origins == [Origins::Any];
        if allowed && !is_any {
            let host = asked.origin.strip_prefix(b"https://").unwrap_or_default();
            let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
            assert!(host.ends_with(b".example.com") && host.iter().all(harmless));
        }
        for text in [&answer, &response] {
            let written = String::from_utf8_lossy(text);
            assert!(written.is_empty() || written.ends_with("\r\n"));
            assert!(written.lines().all(|line| line.starts_with("Access-Control-Allow-")), "{written}");
            assert!(!(is_any && written.contains("Credentials")), "{written}");
        }
    }
}
