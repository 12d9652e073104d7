//! Hosts as routes see them: in lower case, without port, without the dot at the end; and the table by which
//! they are found.

use std::collections::HashMap;
use std::io::Write;
use std::net::Ipv6Addr;

use crate::config::matching::{HOST_BYTES_MAX, HostPattern};
use crate::http::query;

/// The host of a request, in the form that is compared. Empty if there is none, or one longer than any name.
#[derive(Debug)]
pub struct Bare {
    bytes: [u8; HOST_BYTES_MAX],
    length: usize,
}

impl Bare {
    /// Takes what does not count from a host as it was sent.
    pub fn of(sent: &[u8]) -> Bare {
        let mut bare = Bare { bytes: [0; HOST_BYTES_MAX], length: 0 };
        if let Some(literal) = sent.strip_prefix(b"[") {
            bare.put_literal(literal);
            return bare;
        }
        let end = sent.iter().position(|&byte| byte == b':').unwrap_or(sent.len());
        if memchr::memchr(b'%', &sent[..end]).is_some() {
            bare.put_decoded(&sent[..end]);
            return bare;
        }
        let name = sent[..end].strip_suffix(b".").unwrap_or(&sent[..end]);
        if let Some(room) = bare.bytes.get_mut(..name.len()) {
            room.copy_from_slice(name);
            room.make_ascii_lowercase();
            bare.length = name.len();
        }
        bare
    }

    /// An upstream may decode a name (RFC 3986, section 3.2.2), so that an encoded one must not come past a rule.
    fn put_decoded(&mut self, name: &[u8]) {
        let mut length = 0;
        for byte in query::decoded(name) {
            let Some(room) = self.bytes.get_mut(length) else { return };
            *room = byte.to_ascii_lowercase();
            length += 1;
        }
        self.length = length - usize::from(self.bytes[..length].ends_with(b"."));
    }

    /// An address has many spellings, so that it is written anew.
    fn put_literal(&mut self, literal: &[u8]) {
        let end = literal.iter().position(|&byte| byte == b']').unwrap_or(0);
        let address = std::str::from_utf8(&literal[..end]).ok().and_then(|text| text.parse().ok());
        let Some(address) = address.map(|address: Ipv6Addr| address) else { return };
        let mut room = &mut self.bytes[..];
        let written = write!(room, "[{address}]").is_ok();
        let left = room.len();
        self.length = if written { HOST_BYTES_MAX - left } else { 0 };
    }

    /// The bytes to compare.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Whether a bare host is one that the pattern is for.
pub(super) fn is_for(pattern: &HostPattern, host: &[u8]) -> bool {
    pattern.is_for(host)
}

/// What there is for which hosts, from the most specific on.
#[derive(Clone, Debug)]
pub(super) struct Hosts<T> {
    exact: HashMap<Box<[u8]>, T, ahash::RandomState>,
    /// By what stands behind the `*.`.
    wildcards: HashMap<Box<[u8]>, T, ahash::RandomState>,
    wildcard_bytes_max: usize,
    any: Option<T>,
}

impl<T> Hosts<T> {
    /// Without anything. What is hashed against was configured, so that nobody has to be surprised by the seed.
    pub(super) fn new(hasher: &ahash::RandomState) -> Hosts<T> {
        Hosts {
            exact: HashMap::with_hasher(hasher.clone()),
            wildcards: HashMap::with_hasher(hasher.clone()),
            wildcard_bytes_max: 0,
            any: None,
        }
    }

    /// What there is for a pattern, or for any host, made where there is nothing yet.
    pub(super) fn entry(&mut self, pattern: Option<&HostPattern>, make: impl FnOnce() -> T) -> &mut T {
        match pattern {
            None => self.any.get_or_insert_with(make),
            Some(HostPattern::Exact(name)) => self.exact.entry(name.as_bytes().into()).or_insert_with(make),
            Some(HostPattern::Wildcard(parent)) => {
                self.wildcard_bytes_max = self.wildcard_bytes_max.max(parent.len());
                self.wildcards.entry(parent.as_bytes().into()).or_insert_with(make)
            }
        }
    }

    /// What there is for a bare host, the most specific first.
    pub(super) fn of<'a>(&'a self, host: &'a [u8]) -> impl Iterator<Item = &'a T> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        exact.into_iter().chain(self.parents(host)).chain(&self.any)
    }

    fn parents<'a>(&'a self, host: &'a [u8]) -> impl Iterator<Item = &'a T> {
        // A wildcard stands for one label at least, which has one character at least.
        let host = if self.wildcards.is_empty() { &[] } else { host };
        let first = host.len().saturating_sub(self.wildcard_bytes_max + 1).max(1);
        (first..host.len())
            .filter(|&at| host[at] == b'.')
            .filter_map(move |at| self.wildcards.get(&host[at + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_count_is_taken_from_hosts() {
        let name = "a".repeat(HOST_BYTES_MAX);
        let longer = format!("{name}a");
        let (encoded, longer_encoded) = ("%61".repeat(HOST_BYTES_MAX), "%61".repeat(HOST_BYTES_MAX + 1));
        for (sent, want) in [
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("example.com..", "example.com."),
            ("a:", "a"),
            ("", ""),
            (":80", ""),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:443", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"),
            ("[::1", ""),
            ("[]", ""),
            ("[x]", ""),
            (&name, &name),
            (&longer, ""),
            ("%45xample%2Ecom", "example.com"),
            ("example.com%2e:80", "example.com"),
            ("a%b", "a%b"),
            ("%", "%"),
            (&encoded, &name[..HOST_BYTES_MAX]),
            (&longer_encoded, ""),
        ] {
            assert_eq!(Bare::of(sent.as_bytes()).as_bytes(), want.as_bytes(), "{sent}");
        }
    }

    #[test]
    fn the_most_specific_comes_first() {
        let mut hosts = Hosts::new(&ahash::RandomState::with_seeds(1, 2, 3, 4));
        for pattern in ["b.c", "*.b.c", "*.c", "a.b.c", "*.a.b.c"] {
            let parsed = pattern.parse().unwrap();
            hosts.entry(Some(&parsed), || pattern);
        }
        hosts.entry(None, || "any");
        for (host, want) in [
            ("a.b.c", &["a.b.c", "*.b.c", "*.c", "any"][..]),
            ("x.a.b.c", &["*.a.b.c", "*.b.c", "*.c", "any"]),
            ("b.c", &["b.c", "*.c", "any"]),
            ("xb.c", &["*.c", "any"]),
            ("c", &["any"]),
            (".c", &["any"]),
            ("", &["any"]),
            ("a.b.cc", &["any"]),
        ] {
            assert_eq!(hosts.of(host.as_bytes()).copied().collect::<Vec<_>>(), want, "{host}");
            for pattern in ["b.c", "*.b.c", "*.c", "a.b.c", "*.a.b.c"] {
                let parsed: HostPattern = pattern.parse().unwrap();
                assert_eq!(is_for(&parsed, host.as_bytes()), want.contains(&pattern), "{host} {pattern}");
            }
        }
    }
}
