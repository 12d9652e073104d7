//! What stored responses are found by: the authority and the target of a request (RFC 9111, section 2).
//!
//! A key is text: the authority in lower case, without the default port, the path in
//! [normal form](crate::http::path), and the query as it was sent: `example.com/path?query`. The scheme is no part of it, so that one purge reaches a resource however its
//! clients came; it is one of the values that select among the responses of a key, see [`super::vary`].

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use super::ledger::{Charge, Ledger};
use crate::http::path;

/// A key as it is kept, with its hash.
#[derive(Debug)]
pub struct Key {
    hash: u64,
    text: Box<[u8]>,
    charge: Charge,
}

/// A key as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef<'a> {
    /// Its hash, the same on every core, and of a secret seed: clients choose keys.
    pub hash: u64,
    /// Its text.
    pub text: &'a [u8],
}

/// What a key takes beside its text, with its place in an index.
const OVERHEAD: usize = 352;

impl Key {
    /// Keeps a key, if the ledger has room for it.
    pub fn new(ledger: &Arc<Ledger>, key: KeyRef<'_>) -> Option<Rc<Key>> {
        let charge = ledger.reserve(key.text.len() + OVERHEAD)?;
        Some(Rc::new(Key { hash: key.hash, text: key.text.into(), charge }))
    }

    /// The key to ask with.
    pub fn borrowed(&self) -> KeyRef<'_> {
        KeyRef { hash: self.hash, text: &self.text }
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.charge.bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl quick_cache::Equivalent<Rc<Key>> for KeyRef<'_> {
    fn equivalent(&self, key: &Rc<Key>) -> bool {
        self.hash == key.hash && *self.text == *key.text
    }
}

/// Takes the hash that a key brings along.
pub type BuildKeyHasher = BuildHasherDefault<KeyHasher>;

/// See [`BuildKeyHasher`].
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "keys bring a hash");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

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
    let (mut key, target) = apart(url)?;
    put_normal(&target, &mut key);
    Ok(key)
}

/// The start of the keys of all URLs that begin like this one. What it ends with may be the start of a name:
/// `/.` is not the folder, and `/%2` no mistake.
///
/// # Errors
/// [`BadUrl`]
pub fn of_prefix(url: &[u8]) -> Result<Vec<u8>, BadUrl> {
    let (mut key, target) = apart(url)?;
    let dots = [&b"/.."[..], b"/."].into_iter().find(|dots| target.ends_with(dots));
    let (whole, begun) = target.split_at(target.len() - dots.map_or(0, |dots| dots.len() - 1));
    put_normal(whole, &mut key);
    key.extend_from_slice(begun);
    Ok(key)
}

/// The authority of a URL as it stands in a key, and its target.
fn apart(url: &[u8]) -> Result<(Vec<u8>, Vec<u8>), BadUrl> {
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
    write(&mut key, authority.strip_suffix(port).unwrap_or(authority), &[]);
    Ok((key, [slash, target].concat()))
}

/// Appends a target with its path in normal form; as it is if there is none, for then nothing is stored for it.
fn put_normal(target: &[u8], out: &mut Vec<u8>) {
    let end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    if path::normalise(path, out).is_err() {
        out.extend_from_slice(path);
    }
    out.extend_from_slice(query);
}

/// The key of what a reference names (RFC 3986, section 5.2), as seen from the resource with the key
/// `base`. None if it is on another host, or malformed.
pub fn of_reference(base: &[u8], reference: &[u8]) -> Option<Vec<u8>> {
    let slash = memchr::memchr(b'/', base)?;
    let (authority, target) = base.split_at(slash);
    let here = |key: Vec<u8>| {
        let (host, target) = key.split_at_checked(slash)?;
        (host == authority && target.first() == Some(&b'/')).then_some(key)
    };
    if let Ok(key) = of_url(reference) {
        return here(key);
    }
    let reference = reference.split(|&byte| byte == b'#').next().unwrap_or_default();
    let base_path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let folder = base_path.iter().rposition(|&byte| byte == b'/').map_or(base_path, |end| &base_path[..=end]);
    let before = match reference {
        [b'/', b'/', ..] => {
            return of_url(&[b"http:", reference].concat()).ok().and_then(here);
        }
        [b'/', ..] => &b""[..],
        [b'?', ..] => base_path,
        [] => target,
        // A colon in the first segment would make another scheme of it.
        _ if reference.split(|&byte| byte == b'/').next()?.contains(&b':') => return None,
        _ => folder,
    };
    let whole = [before, reference].concat();
    if !whole.iter().all(|byte| matches!(byte, 0x21..=0x7e)) {
        return None;
    }
    let mut key = authority.to_vec();
    put_normal(&whole, &mut key);
    Some(key)
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
            ("http://a//b/./c/../%61%2f?x//y", "a/b/a%2F?x//y"),
            ("http://a/b/..", "a/"),
            ("http://a/%2", "a/%2"),
        ] {
            assert_eq!(of_url(url.as_bytes()).unwrap(), want.as_bytes(), "{url}");
        }
    }

    #[test]
    fn a_prefix_may_end_within_a_name() {
        for (url, want) in [
            ("http://a", "a/"),
            ("http://a//b/./%61", "a/b/a"),
            ("http://a/b/.", "a/b/."),
            ("http://a//b/..", "a/b/.."),
            ("http://a/x..", "a/x.."),
            ("http://a/b?c=.", "a/b?c=."),
            ("http://a/%2", "a/%2"),
        ] {
            assert_eq!(of_prefix(url.as_bytes()).unwrap(), want.as_bytes(), "{url}");
        }
    }

    #[test]
    fn references_are_resolved_on_the_same_host_only() {
        for (reference, want) in [
            ("/x", Some("a:1/x")),
            ("x?y#z", Some("a:1/b/x?y")),
            ("../x/./y", Some("a:1/x/y")),
            ("../../..", Some("a:1/")),
            ("?q", Some("a:1/b/c?q")),
            ("", Some("a:1/b/c?d")),
            ("http://A:1/x", Some("a:1/x")),
            ("https://a:1", Some("a:1/")),
            ("//a:1/x", Some("a:1/x")),
            ("//a:1/y/../x", Some("a:1/x")),
            ("http://a:1/./x?../y", Some("a:1/x?../y")),
            ("//a:1//y//%7ex", Some("a:1/y/~x")),
            ("/%41//b", Some("a:1/A/b")),
            ("http://a/x", None),
            ("//b/x", None),
            ("http://a:11/x", None),
            ("mailto:x", None),
            ("/x y", None),
        ] {
            let key = of_reference(b"a:1/b/c?d", reference.as_bytes());
            assert_eq!(key.as_deref(), want.map(str::as_bytes), "{reference}");
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
