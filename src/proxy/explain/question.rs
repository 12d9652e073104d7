//! Which request is to be explained: what people say of it, and the bytes that it would come in.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A request in words, as it stands on a command line, and as the admin endpoint is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    pub(crate) url: String,
    /// GET where nothing is said.
    #[serde(default)]
    pub(crate) method: Option<String>,
    /// Field lines as curl takes them: `Name: value`; `Name;` has no value, and `Name:` goes, if it is Host.
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    /// The peer's address, or `unix`; loopback where nothing is said.
    #[serde(default)]
    pub(crate) from: Option<String>,
    /// The listener's name, where the port of the URL does not say it.
    #[serde(default)]
    pub(crate) listener: Option<String>,
}

/// The same, as a proxy would meet it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asking {
    /// The head's bytes. They are what was asked for, whether they make a good request or not.
    pub(super) head: Vec<u8>,
    pub(super) method: String,
    pub(super) url: String,
    /// The host of the URL, if it is an address, and the port.
    pub(super) address: (Option<IpAddr>, u16),
    /// The peer; none by a Unix socket.
    pub(super) from: Option<IpAddr>,
    pub(super) listener: Option<String>,
}

impl Question {
    /// Whether it is clear what is meant.
    ///
    /// # Errors
    /// It is not: half a sentence that names it.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.read().map(drop)
    }

    /// Writes the request.
    ///
    /// # Errors
    /// It is not clear what is meant: half a sentence that names it.
    pub(super) fn read(&self) -> Result<Asking, String> {
        let Question { url, headers, .. } = self;
        let method = self.method.as_deref().unwrap_or("GET");
        // They would make another request of it, not a wrong one.
        if let Some(text) = [url.as_str(), method]
            .into_iter()
            .chain(headers.iter().map(String::as_str))
            .find(|text| text.contains(['\r', '\n']))
        {
            return Err(format!("{text:?} has a line end in it"));
        }
        let (authority, target, port) = parts(url)?;
        let (host, port) =
            port_of(authority, port).ok_or_else(|| format!("{url:?} has no port that could be"))?;
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|line| is_host(line)) {
            head.push_str(&format!("Host: {authority}\r\n"));
        }
        for line in headers.iter().filter(|line| !(is_host(line) && line.trim_end().ends_with(':'))) {
            match line.strip_suffix(';') {
                Some(name) if !name.contains(':') => head.push_str(&format!("{name}:\r\n")),
                _ => head.push_str(&format!("{line}\r\n")),
            }
        }
        head.push_str("\r\n");
        let from = match self.from.as_deref() {
            None => Some(IpAddr::from([127, 0, 0, 1])),
            Some("unix") => None,
            Some(text) => Some(text.parse().map_err(|_| format!("{text:?} is no address, nor unix"))?),
        };
        Ok(Asking {
            head: head.into_bytes(),
            method: method.to_owned(),
            url: url.clone(),
            address: (host.trim_start_matches('[').trim_end_matches(']').parse().ok(), port),
            from: from.map(|ip: IpAddr| ip.to_canonical()),
            listener: self.listener.clone(),
        })
    }
}

/// Authority, target and usual port of a URL. The fragment is for the client alone.
fn parts(url: &str) -> Result<(&str, String, u16), String> {
    let wrong = |what: &str| format!("{url:?} {what}; a URL begins with http:// or https://");
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
    let port = match () {
        () if scheme.eq_ignore_ascii_case("http") => 80,
        () if scheme.eq_ignore_ascii_case("https") => 443,
        () => return Err(wrong("has another scheme")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(wrong("has no host"));
    }
    if authority.contains('@') {
        return Err(wrong("has a user in it, which is for -H 'Authorization: ...' to say"));
    }
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((authority, format!("{slash}{target}"), port))
}

/// Host and port of an authority.
fn port_of(authority: &str, usual: u16) -> Option<(&str, u16)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host, port.parse().ok()?)),
        _ => Some((authority, usual)),
    }
}

fn is_host(line: &str) -> bool {
    line.split([':', ';']).next().is_some_and(|name| name.trim().eq_ignore_ascii_case("host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, headers: &[&str]) -> Result<Asking, String> {
        let headers = headers.iter().map(|&line| line.to_owned()).collect();
        Question { url: url.to_owned(), headers, ..Question::default() }.read()
    }

    #[test]
    fn a_url_and_fields_make_the_head_that_curl_would_send() {
        for (url, headers, want) in [
            ("http://a", &[][..], "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("http://a:81/b?c#d", &[], "GET /b?c HTTP/1.1\r\nHost: a:81\r\n\r\n"),
            ("HTTPS://a?b", &["X: 1", "Y;"], "GET /?b HTTP/1.1\r\nHost: a\r\nX: 1\r\nY:\r\n\r\n"),
            ("http://a/", &["hOST: b"], "GET / HTTP/1.1\r\nhOST: b\r\n\r\n"),
            ("http://a/", &["Host:"], "GET / HTTP/1.1\r\n\r\n"),
            ("http://a/", &["Host: b", "Host: c"], "GET / HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n"),
            // What is wrong with a request is for the proxy to say.
            ("http://a/b c", &["no colon"], "GET /b c HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"),
        ] {
            let head = String::from_utf8(read(url, headers).unwrap().head).unwrap();
            assert_eq!(head, want, "{url} {headers:?}");
        }
    }

    #[test]
    fn the_address_of_a_url_is_its_host_and_port() {
        for (url, ip, port) in [
            ("http://a", None, 80),
            ("https://10.0.0.1", Some("10.0.0.1"), 443),
            ("http://[::1]:8080/", Some("::1"), 8080),
            ("http://[::1]/", Some("::1"), 80),
        ] {
            let asking = read(url, &[]).unwrap();
            assert_eq!(asking.address, (ip.map(|ip| ip.parse().unwrap()), port), "{url}");
        }
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (url, headers, named) in [
            ("a", &[][..], "no scheme"),
            ("ftp://a", &[], "another scheme"),
            ("http://", &[], "no host"),
            ("http:///a", &[], "no host"),
            ("http://u:p@a/", &[], "a user"),
            ("http://a:x/", &[], "port"),
            ("http://a:65536/", &[], "port"),
            ("http://a/\r\nX: 1", &[], "line end"),
            ("http://a/", &["X: 1\nY: 2"], "line end"),
        ] {
            let error = read(url, headers).unwrap_err();
            assert!(error.contains(named), "{url}: {error}");
        }
        let from = |from: &str| {
            let question =
                Question { url: "http://a".to_owned(), from: Some(from.to_owned()), ..Question::default() };
            question.read().map(|asking| asking.from)
        };
        assert_eq!(from("unix"), Ok(None));
        assert_eq!(from("::ffff:10.0.0.1"), Ok("10.0.0.1".parse().ok()));
        assert!(from("10.0.0.0/8").is_err());
    }
}
