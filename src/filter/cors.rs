//! What pages of other origins may ask: answering a browser's question about it, and saying with a response who may
//! read it (Fetch, section 3.2; <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! Origins are compared as they are written, byte by byte, as browsers do it: none that merely begins or ends like one
//! that is named gets through.

use crate::config::browsers::{CorsSettings, Origins};
use crate::http::fields::is_token;
use crate::http::{Fields, Method, list};

/// A rule, ready to be applied.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Box<[Origins]>,
    /// Every page may ask, so that the answer is the same for all.
    any: bool,
    credentials: bool,
    private_network: bool,
    /// Lines behind Access-Control-Allow-Origin in responses.
    response_lines: Box<[u8]>,
    /// All lines of a response where every page may ask.
    any_lines: Box<[u8]>,
    methods: Allowed,
    headers: Allowed,
    /// The line about how long the answer holds.
    max_age: Box<[u8]>,
}

/// Methods or fields that a page may use.
#[derive(Clone, Debug)]
enum Allowed {
    /// Those that it asks for: a `*` in the answer would mean no more than itself beside credentials, and would not
    /// mean Authorization.
    Asked,
    /// These; none where the text is empty.
    These(Box<[u8]>),
}

/// What a browser asks before a page's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preflight<'a> {
    /// The page's origin.
    pub origin: &'a [u8],
    /// The method that it wants to use.
    pub method: &'a [u8],
    /// The fields that it wants to send.
    pub headers: Option<&'a [u8]>,
    /// Whether it comes from the internet into a private network.
    pub private_network: bool,
}

/// Bytes of a list of fields that is repeated to who sent it.
const ASKED_BYTES_MAX: usize = 1024;

/// What the answer to a browser's question depends on.
pub const PREFLIGHT_VARY: &[u8] =
    b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n";

/// The field that responses depend on.
pub const VARY: &[u8] = b"Origin";

/// What upstreams say about it begins like this.
pub const FIELDS: &str = "Access-Control-*";

/// The origin that a request says it comes from. One that says two says none.
pub fn origin<'a>(fields: Fields<'a>) -> Option<&'a [u8]> {
    only(fields, b"Origin")
}

fn only<'a>(fields: Fields<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let mut values = fields.iter().filter(|(_, written, _)| written.eq_ignore_ascii_case(name));
    let (_, _, value) = values.next()?;
    values.next().is_none().then_some(value)
}

impl<'a> Preflight<'a> {
    /// What a request asks, if it is such a question: OPTIONS, with an origin and the method that is to follow.
    pub fn of(method: Method, fields: Fields<'a>) -> Option<Preflight<'a>> {
        if method != Method::Options {
            return None;
        }
        let asked = only(fields, b"Access-Control-Request-Method").filter(|method| is_token(method))?;
        Some(Preflight {
            origin: origin(fields)?,
            method: asked,
            headers: only(fields, b"Access-Control-Request-Headers"),
            private_network: only(fields, b"Access-Control-Request-Private-Network") == Some(b"true"),
        })
    }
}

impl Cors {
    /// Makes it ready. That every page with credentials is refused is for whoever read the settings to see to; should
    /// it come here, no page gets any.
    pub fn new(settings: &CorsSettings) -> Cors {
        let any = settings.origins.contains(&Origins::Any);
        let credentials = settings.credentials && !any;
        let mut response_lines = String::new();
        if credentials {
            response_lines.push_str("Access-Control-Allow-Credentials: true\r\n");
        }
        if !settings.exposed.is_empty() {
            let exposed = settings.exposed.join(", ");
            response_lines.push_str(&format!("Access-Control-Expose-Headers: {exposed}\r\n"));
        }
        let max_age = settings.max_age.map(|time| format!("Access-Control-Max-Age: {}\r\n", time.as_secs()));
        let any_lines = format!("Access-Control-Allow-Origin: *\r\n{response_lines}");
        Cors {
            origins: settings.origins.clone().into_boxed_slice(),
            any,
            credentials,
            private_network: settings.private_network,
            response_lines: response_lines.into_bytes().into_boxed_slice(),
            any_lines: any_lines.into_bytes().into_boxed_slice(),
            methods: Allowed::of(&settings.methods),
            headers: Allowed::of(&settings.headers),
            max_age: max_age.unwrap_or_default().into_bytes().into_boxed_slice(),
        }
    }

    /// Whether pages of that origin may ask.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.any || self.origins.iter().any(|origins| has(origins, origin))
    }

    /// Lines that every response gets, where they are the same for all.
    pub fn lines_for_all(&self) -> Option<&[u8]> {
        self.any.then_some(&*self.any_lines)
    }

    /// Writes the lines that a response to a page of that origin gets; none where it may not ask.
    pub fn write_lines(&self, origin: &[u8], out: &mut Vec<u8>) {
        if self.any {
            out.extend_from_slice(&self.any_lines);
        } else if self.allows(origin) {
            out.extend_from_slice(b"Access-Control-Allow-Origin: ");
            out.extend_from_slice(origin);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(&self.response_lines);
        }
    }

    /// Writes the lines that answer a browser's question. Says whether pages of that origin may ask anything; if not,
    /// nothing is written. Which methods and fields they may use is said, and for the browser to compare: it tells the
    /// page's author which one it was.
    pub fn answer(&self, asked: &Preflight<'_>, out: &mut Vec<u8>) -> bool {
        if !self.allows(asked.origin) {
            return false;
        }
        let origin = if self.any { b"*" } else { asked.origin };
        put(out, b"Access-Control-Allow-Origin: ", origin);
        if self.credentials {
            put(out, b"Access-Control-Allow-Credentials: ", b"true");
        }
        let methods = match &self.methods {
            Allowed::Asked => asked.method,
            Allowed::These(methods) => methods,
        };
        put(out, b"Access-Control-Allow-Methods: ", methods);
        match &self.headers {
            Allowed::Asked => {
                let harmless =
                    |names: &&[u8]| names.len() <= ASKED_BYTES_MAX && list::tokens(names).all(is_token);
                if let Some(names) = asked.headers.filter(harmless) {
                    put(out, b"Access-Control-Allow-Headers: ", names);
                }
            }
            Allowed::These(names) if names.is_empty() => {}
            Allowed::These(names) => put(out, b"Access-Control-Allow-Headers: ", names),
        }
        out.extend_from_slice(&self.max_age);
        if self.private_network && asked.private_network {
            put(out, b"Access-Control-Allow-Private-Network: ", b"true");
        }
        true
    }
}

impl Allowed {
    fn of(names: &[String]) -> Allowed {
        match names.iter().any(|name| name == "*") {
            true => Allowed::Asked,
            false => Allowed::These(names.join(", ").into_bytes().into_boxed_slice()),
        }
    }
}

fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    [name, value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
}

/// Whether an origin is one of those.
fn has(origins: &Origins, origin: &[u8]) -> bool {
    match origins {
        Origins::Any => true,
        Origins::Null => origin == b"null",
        Origins::One(one) => origin == one.as_bytes(),
        Origins::Below(scheme, rest) => {
            let inner =
                origin.strip_prefix(scheme.as_bytes()).and_then(|host| host.strip_suffix(rest.as_bytes()));
            inner.is_some_and(is_part_of_host)
        }
    }
}

/// Whether it is one or several labels of a host, as browsers write them. A port, a user or a path is none.
fn is_part_of_host(text: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        let is_part = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
        !label.is_empty() && label.iter().all(is_part)
    };
    text.split(|&byte| byte == b'.').all(is_label)
}

#[cfg(test)]
#[path = "cors_tests.rs"]
mod tests;
