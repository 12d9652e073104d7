//! What stored responses are found by: the authority and the target of a request (RFC 9111, section 2).
//!
//! A key is text: the authority in lower case, without the default port, and the target as it was sent:
//! `example.com/path?query`. The scheme is no part of it, so that one purge reaches a resource however its
//! clients came; it is one of the values that select among the responses of a key, see [`super::vary`].

/// Writes the key of a request.
pub fn write(out: &mut Vec<u8>, authority: &[u8], target: &[&[u8]]) {
    out.clear();
    out.extend(without_default_port(authority).iter().map(u8::to_ascii_lowercase));
    for part in target {
        out.extend_from_slice(part);
    }
}

/// Why a URL names nothing that could be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// It does not begin with `http://` or `https://`.
    Scheme,
    /// Its host is missing or malformed.
    Authority,
    /// It has a byte that no target can have.
    Target,
}

impl std::fmt::Display for BadUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadUrl::Scheme => "a URL begins with http:// or https://",
            BadUrl::Authority => "the URL has no host, or a malformed one",
            BadUrl::Target => {
                "the URL has a byte that no URL can have: spaces and the like are percent-encoded"
            }
        })
    }
}

impl std::error::Error for BadUrl {}

/// The key of a URL as a person writes it. A fragment is left out, a missing path is `/`.
///
/// # Errors
/// [`BadUrl`]
pub fn of_url(url: &[u8]) -> Result<Vec<u8>, BadUrl> {
    let starts = |scheme: &[u8]| url.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    let schemes = [(&b"http://"[..], &b":80"[..]), (b"https://", b":443")];
    let (scheme, port) = schemes.into_iter().find(|(scheme, _)| starts(scheme)).ok_or(BadUrl::Scheme)?;
    let rest = &url[scheme.len()..];
    let rest = rest.split(|&b| b == b'#').next().unwrap_or_default();
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if !crate::http::authority::is_valid(authority) {
        return Err(BadUrl::Authority);
    }
    if !target.iter().all(|b| matches!(b, 0x21..=0x7e)) {
        return Err(BadUrl::Target);
    }
    let mut key = Vec::with_capacity(url.len() + 1);
    let slash: &[u8] = if target.first() == Some(&b'/') { b"" } else { b"/" };
    write(&mut key, authority.strip_suffix(port).unwrap_or(authority), &[slash, target]);
    Ok(key)
}

/// An authority without a port that says nothing: an empty one, or 80. Any other port is kept, 443
/// included: upstreams write what they got as Host into their links, and nobody may plant such a response
/// under another host's key.
fn without_default_port(authority: &[u8]) -> &[u8] {
    [&b":80"[..], b":"].iter().find_map(|port| authority.strip_suffix(*port)).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(authority: &str, target: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, authority.as_bytes(), &[target.as_bytes()]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hosts_are_compared_without_case_and_default_port_and_targets_as_they_are() {
        assert_eq!(key("Example.COM:80", "/A?b"), "example.com/A?b");
        assert_eq!(key("a:443", "/"), "a:443/");
        assert_eq!(key("a:", "/"), "a/");
        assert_eq!(key("a:8080", "/"), "a:8080/");
        assert_eq!(key("[::1]:80", "/"), "[::1]/");
        assert_eq!(key("", "/"), "/");
    }

    #[test]
    fn a_url_has_the_key_of_its_request() {
        for (url, want) in [
            ("http://Example.com/a?b#c", "example.com/a?b"),
            ("HTTPS://a:443", "a/"),
            ("http://a?q", "a/?q"),
            ("http://[::1]:81/x", "[::1]:81/x"),
        ] {
            assert_eq!(of_url(url.as_bytes()).unwrap(), want.as_bytes(), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (url, want) in [
            ("example.com/", BadUrl::Scheme),
            ("ftp://a/", BadUrl::Scheme),
            ("http:///x", BadUrl::Authority),
            ("http://u@a/", BadUrl::Authority),
            ("http://a/b c", BadUrl::Target),
            ("http://a/\u{e9}", BadUrl::Target),
        ] {
            assert_eq!(of_url(url.as_bytes()), Err(want), "{url}");
        }
    }
}
