//! The URL of an origin.

use std::net::SocketAddr;
use std::str::FromStr;

use super::Host;
use crate::http::authority;

/// An origin: `http://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

impl Origin {
    /// Host and port, as they stand in a Host field: the port is left out where it is 80.
    pub fn authority(&self) -> String {
        match self.port {
            80 => self.host.to_string(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// The address, if no name has to be looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        self.host.with_port(self.port)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        let url =
            |problem: &str| format!("{text:?} {problem}; an origin is a URL such as http://127.0.0.1:9001");
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(url("has no scheme"));
        };
        if scheme.eq_ignore_ascii_case("https") {
            return Err(format!("{text:?}: TLS to origins is not supported; use http://"));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(url("has a scheme that is not http"));
        }
        let name = rest.strip_suffix('/').unwrap_or(rest);
        if name.contains(['/', '?', '#']) {
            return Err(url("has a path, query or fragment, which an origin cannot have"));
        }
        if !authority::is_valid(name.as_bytes()) {
            return Err(url("has no well-formed host and port"));
        }
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|&port| port != 0);
                (host, port.ok_or_else(|| url("has no port from 1 to 65535"))?)
            }
            _ => (name, 80),
        };
        Ok(Origin { host: Host::parse(host), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls() {
        for (text, authority, shown) in [
            ("http://127.0.0.1:9001", "127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("HTTP://example.com/", "example.com", "http://example.com:80"),
            ("http://[::1]:81", "[::1]:81", "http://[::1]:81"),
            ("http://[::1]", "[::1]", "http://[::1]:80"),
        ] {
            let origin: Origin = text.parse().unwrap();
            assert_eq!((origin.authority().as_str(), origin.to_string().as_str()), (authority, shown));
        }
    }

    #[test]
    fn says_what_is_wrong_with_the_rest() {
        for (text, want) in [
            ("127.0.0.1:9001", "has no scheme"),
            ("ftp://a", "scheme that is not http"),
            ("https://a", "TLS to origins"),
            ("http://", "no well-formed host"),
            ("http://a/b", "has a path"),
            ("http://a:0", "no port from 1"),
            ("http://a:99999", "no port from 1"),
            ("http://u@a", "no well-formed host"),
        ] {
            let error = text.parse::<Origin>().unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
