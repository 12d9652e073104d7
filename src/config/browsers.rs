//! What browsers are told: fields about safety, and what pages of other origins may ask.

use std::fmt;
use std::time::Duration;

use crate::http::authority;
use crate::http::fields::is_token;

/// What a listener or a route tells them. Of each, what a route says takes the place of what its listener says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browsers {
    /// Fields that responses get where they have none.
    pub security_headers: Own<SecurityHeaders>,
    /// Names of fields that responses lose; of one that ends with a `*`, the start.
    pub hidden: Own<Vec<String>>,
    /// What pages of other origins may ask.
    pub cors: Own<CorsSettings>,
}

/// What is said of something that may be said elsewhere too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Own<T> {
    /// Nothing: what holds is said elsewhere.
    #[default]
    Unsaid,
    /// That there is none.
    Off,
    /// This.
    On(T),
}

impl<T> Own<T> {
    /// What holds, where `other` is what is said elsewhere.
    pub fn or<'a>(&'a self, other: Option<&'a Own<T>>) -> Option<&'a T> {
        match (self, other) {
            (Own::On(value), _) => Some(value),
            (Own::Unsaid, Some(Own::On(value))) => Some(value),
            _ => None,
        }
    }
}

/// Fields about safety. A response that brings such a field itself keeps its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// Strict-Transport-Security (RFC 6797), which only those get that came by https.
    pub hsts: Option<Hsts>,
    /// Other fields: the place of the name in [`SAFETY_FIELDS`], in that order, and the value.
    pub fields: Vec<(usize, String)>,
}

/// For how long browsers come by https alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long; whole seconds of it count.
    pub max_age: Duration,
    /// Whether that holds for all hosts below too.
    pub include_subdomains: bool,
    /// Whether browsers may have the host built in.
    pub preload: bool,
}

impl Hsts {
    /// The value of the field (RFC 6797, section 6.1).
    pub fn value(&self) -> String {
        let mut value = format!("max-age={}", self.max_age.as_secs());
        if self.include_subdomains {
            value.push_str("; includeSubDomains");
        }
        if self.preload {
            value.push_str("; preload");
        }
        value
    }
}

/// Keys and names of the fields about safety, beside Strict-Transport-Security.
pub const SAFETY_FIELDS: &[(&str, &str)] = &[
    ("content-type-options", "X-Content-Type-Options"),
    ("frame-options", "X-Frame-Options"),
    ("referrer-policy", "Referrer-Policy"),
    ("content-security-policy", "Content-Security-Policy"),
    ("content-security-policy-report-only", "Content-Security-Policy-Report-Only"),
    ("permissions-policy", "Permissions-Policy"),
    ("cross-origin-opener-policy", "Cross-Origin-Opener-Policy"),
    ("cross-origin-embedder-policy", "Cross-Origin-Embedder-Policy"),
    ("cross-origin-resource-policy", "Cross-Origin-Resource-Policy"),
    ("permitted-cross-domain-policies", "X-Permitted-Cross-Domain-Policies"),
];

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl SecurityHeaders {
    /// What hardly any site has a problem with.
    pub fn usual() -> SecurityHeaders {
        let hsts = Hsts { max_age: YEAR, include_subdomains: false, preload: false };
        let values = [
            ("content-type-options", "nosniff"),
            ("frame-options", "SAMEORIGIN"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
        ];
        SecurityHeaders::of(hsts, &values)
    }

    /// What a site has to be made for.
    pub fn strict() -> SecurityHeaders {
        let hsts = Hsts { max_age: 2 * YEAR, include_subdomains: true, preload: false };
        let values = [
            ("content-type-options", "nosniff"),
            ("frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            (
                "content-security-policy",
                "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
            ),
            (
                "permissions-policy",
                "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
            ),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permitted-cross-domain-policies", "none"),
        ];
        SecurityHeaders::of(hsts, &values)
    }

    fn of(hsts: Hsts, values: &[(&str, &str)]) -> SecurityHeaders {
        let mut headers = SecurityHeaders { hsts: Some(hsts), fields: Vec::new() };
        values.iter().for_each(|(key, value)| headers.set(key, Some((*value).to_owned())));
        headers
    }

    /// Sets the field of that key, or takes it away.
    pub(super) fn set(&mut self, key: &str, value: Option<String>) {
        let Some(place) = SAFETY_FIELDS.iter().position(|(known, _)| *known == key) else { return };
        self.fields.retain(|(known, _)| *known != place);
        self.fields.extend(value.map(|value| (place, value)));
        self.fields.sort_by_key(|(place, _)| *place);
    }
}

/// Fields that tell what a server runs, and are taken away where nothing else is said.
pub const TELLTALES: &[&str] = &[
    "Server",
    "X-Powered-By",
    "X-AspNet-Version",
    "X-AspNetMvc-Version",
    "X-Generator",
    "X-Runtime",
    "X-Version",
];

/// What pages of other origins may ask, and what they may see of the answer (Fetch, section 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsSettings {
    /// Origins whose pages may; at least one.
    pub origins: Vec<Origins>,
    /// Methods that they may use, or `*`.
    pub methods: Vec<String>,
    /// Fields that they may send, or `*`.
    pub headers: Vec<String>,
    /// Fields that they may see, or `*`.
    pub exposed: Vec<String>,
    /// Whether cookies and other credentials go with it.
    pub credentials: bool,
    /// How long a browser may remember what it was told; whole seconds of it count.
    pub max_age: Option<Duration>,
    /// Whether pages on the internet may ask though this is a private network.
    pub private_network: bool,
}

/// Origins of pages (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All.
    Any,
    /// Those that have none, such as files and sandboxed frames.
    Null,
    /// This one, as browsers write it: in lower case, without the port that goes without saying.
    One(String),
    /// All hosts below one: what comes in front of their names, and the rest with the dot.
    Below(String, String),
}

impl Origins {
    /// Reads them.
    pub(super) fn parse(text: &str) -> Result<Origins, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{text:?} {why}; origins are written like https://app.example.com, https://*.example.com or *"
            ))
        };
        match text {
            "*" => return Ok(Origins::Any),
            "null" => return Ok(Origins::Null),
            _ => {}
        }
        let Some((scheme, host)) = text.split_once("://") else { return wrong("is no origin") };
        let is_scheme = scheme.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return wrong("has no scheme such as https");
        }
        if host.contains(['/', '?', '#']) {
            return wrong("has something behind the host, where an origin ends, without a slash");
        }
        if host.contains('@') {
            return wrong("has a user in it");
        }
        let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
        let (below, bare) = match host.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, &*host),
        };
        if bare.is_empty() || bare.contains('*') || !authority::is_valid(bare.as_bytes()) {
            return wrong("has no host that a browser would send");
        }
        let usual = match &*scheme {
            "https" => ":443",
            "http" => ":80",
            _ => "\0",
        };
        let bare = bare.strip_suffix(usual).unwrap_or(bare);
        Ok(match below {
            true => Origins::Below(format!("{scheme}://"), format!(".{bare}")),
            false => Origins::One(format!("{scheme}://{bare}")),
        })
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origins::Any => f.write_str("*"),
            Origins::Null => f.write_str("null"),
            Origins::One(origin) => f.write_str(origin),
            Origins::Below(scheme, rest) => write!(f, "{scheme}*{rest}"),
        }
    }
}

/// Bytes of the longest value of a field.
const VALUE_BYTES_MAX: usize = 4096;

/// Reads the value of a field; `off` is none.
pub(super) fn value(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    match text {
        "off" => Ok(None),
        "" => Err("is empty; a field that is not to be set is `off`".to_owned()),
        text if text.len() > VALUE_BYTES_MAX => Err(format!("is longer than {VALUE_BYTES_MAX} bytes")),
        text if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => {
            Err("has a character that cannot stand in a field".to_owned())
        }
        text => Ok(Some(text.to_owned())),
    }
}

/// Whether it is a name of a field, or `*`, or the start of some with a `*` behind.
pub(super) fn is_name(text: &str) -> bool {
    is_token(text.as_bytes()) && !text.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        for (text, want) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("https://*.example.com:443", "https://*.example.com"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
            ("*", "*"),
        ] {
            let read = Origins::parse(text).unwrap();
            assert_eq!(read.to_string(), want);
            assert_eq!(Origins::parse(want).unwrap(), read);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://*",
            "https://*.",
            "https://*.*.a",
            "https://a.*.b",
            "https://a*b",
            "://a",
            "1a://b",
            "https://a b",
            "https://a,https://b",
            "https://\u{e4}.example",
            "https://a:x",
            "NULL",
        ] {
            assert!(Origins::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_of_fields_are_plain() {
        assert_eq!(value(" default-src 'self' "), Ok(Some("default-src 'self'".to_owned())));
        assert_eq!(value("off"), Ok(None));
        for bad in ["", " ", "a\r\nb", "a\tb", "\u{e4}", &"x".repeat(VALUE_BYTES_MAX + 1)] {
            assert!(value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hsts_says_what_it_is_for() {
        let hsts = Hsts { max_age: YEAR, include_subdomains: false, preload: false };
        assert_eq!(hsts.value(), "max-age=31536000");
        let hsts = Hsts { include_subdomains: true, preload: true, ..hsts };
        assert_eq!(hsts.value(), "max-age=31536000; includeSubDomains; preload");
    }

    #[test]
    fn what_a_route_says_takes_the_place_of_what_its_listener_says() {
        let (on, off, unsaid) = (Own::On(1), Own::Off, Own::Unsaid);
        assert_eq!((on.or(Some(&off)), on.or(None)), (Some(&1), Some(&1)));
        assert_eq!((off.or(Some(&on)), off.or(None)), (None, None));
        assert_eq!((unsaid.or(Some(&on)), unsaid.or(Some(&off)), unsaid.or(None)), (Some(&1), None, None));
    }
}
