//! Which peers may speak for others: proxies in front of this one.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::config::TrustedPeer;
use crate::http::{Fields, Name, list};

/// Peers whose X-Forwarded-* fields are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl TrustedProxies {
    /// Trusts these peers.
    pub fn new(peers: &[TrustedPeer]) -> TrustedProxies {
        let network = |peer: &TrustedPeer| match peer {
            TrustedPeer::Network(network) => Some(*network),
            TrustedPeer::Unix => None,
        };
        TrustedProxies {
            networks: peers.iter().filter_map(network).collect(),
            unix: peers.contains(&TrustedPeer::Unix),
        }
    }

    /// Whether a peer is trusted; one that came by a Unix socket has no address. An IPv4 address that came
    /// over an IPv6 socket counts as IPv4.
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer else { return self.unix };
        !self.networks.is_empty() && {
            let peer = peer.to_canonical();
            self.networks.iter().any(|network| network.contains(&peer))
        }
    }

    /// The networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }
}

/// Whom the proxies in front of this one say they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// They say nothing: it is the peer itself that asks.
    Nothing,
    /// This client, as it stands in the field.
    Client(IpAddr, &'a [u8]),
    /// Somebody who has no address, or none that can be read. Rules for networks must not take that for the
    /// proxy's own.
    Unknown,
}

/// The client in X-Forwarded-For: the address that is closest to this proxy and is no trusted proxy's itself, or
/// the first of all if they all are.
pub fn client<'a>(request: Fields<'a>, trusted: &TrustedProxies) -> Told<'a> {
    let mut told = Told::Nothing;
    for said in request.values(Name::XForwardedFor).flat_map(list::elements) {
        told = match (address(said), told) {
            (None, _) => Told::Unknown,
            // What is in front of a trusted proxy is what that one says.
            (Some((address, _)), Told::Client(..) | Told::Unknown) if trusted.contains(Some(address)) => told,
            (Some((address, text)), _) => Told::Client(address, text),
        };
    }
    told
}

/// An address as proxies write it: bare, in brackets, or with a port. With its text alone.
fn address(said: &[u8]) -> Option<(IpAddr, &[u8])> {
    let text = std::str::from_utf8(said).ok()?;
    let alone = match text.parse::<SocketAddr>() {
        Ok(_) => text.rsplit_once(':')?.0,
        Err(_) => text,
    };
    let bare = alone.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => alone.parse().ok()?,
    };
    Some((address, bare.unwrap_or(alone).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusts_the_given_networks_only() {
        let peers = ["10.0.0.0/8", "fd00::/8"].map(|peer| peer.parse().unwrap());
        let trusted = TrustedProxies::new(&peers);
        for (peer, want) in [
            ("10.1.2.3", true),
            ("11.0.0.1", false),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("::1", false),
        ] {
            assert_eq!(trusted.contains(Some(peer.parse().unwrap())), want, "{peer}");
        }
        assert!(!TrustedProxies::default().contains(Some("127.0.0.1".parse().unwrap())));
    }

    #[test]
    fn trusts_unix_sockets_only_where_that_is_said() {
        let networks = ["0.0.0.0/0", "::/0"].map(|peer| peer.parse().unwrap());
        assert!(!TrustedProxies::new(&networks).contains(None));
        let unix = TrustedProxies::new(&[TrustedPeer::Unix]);
        assert!(unix.contains(None) && !unix.contains(Some("127.0.0.1".parse().unwrap())));
    }

    #[test]
    fn the_client_is_the_closest_that_is_no_trusted_proxy() {
        let trusted = TrustedProxies::new(&["10.0.0.0/8".parse().unwrap()]);
        let client_in = |lines: &[&str]| {
            let mut head = String::from("GET / HTTP/1.1\r\nHost: a\r\n");
            lines.iter().for_each(|line| head.push_str(&format!("X-Forwarded-For: {line}\r\n")));
            head.push_str("\r\n");
            let mut fields = Vec::new();
            let limits = crate::limits::HeadLimits::default();
            crate::h1::request::parse(head.as_bytes(), &limits, &mut fields).unwrap();
            match client(Fields::new(head.as_bytes(), &fields), &trusted) {
                Told::Nothing => "nothing".to_owned(),
                Told::Unknown => "unknown".to_owned(),
                Told::Client(address, text) => {
                    assert_eq!(text, address.to_string().as_bytes());
                    address.to_string()
                }
            }
        };
        for (lines, want) in [
            (&["198.51.100.7"][..], "198.51.100.7"),
            (&["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            (&["203.0.113.9", "198.51.100.7 , 10.0.0.2"], "198.51.100.7"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["2001:db8::1, 10.0.0.2"], "2001:db8::1"),
            (&["198.51.100.7:443"], "198.51.100.7"),
            (&["[2001:db8::1]:443", "[2001:db8::2]"], "2001:db8::2"),
            (&["203.0.113.9, unknown"], "unknown"),
            (&["203.0.113.9, unknown, 10.0.0.2"], "unknown"),
            (&["unknown, 198.51.100.7"], "198.51.100.7"),
            (&["203.0.113.9, fe80::1%eth0"], "unknown"),
            (&[""], "nothing"),
            (&[], "nothing"),
        ] {
            assert_eq!(client_in(lines), want, "{lines:?}");
        }
    }
}
