//! Which peers may speak for others: proxies in front of this one.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks whose X-Forwarded-* fields are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts the peers of these networks.
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks)
    }

    /// Whether a peer is trusted. An IPv4 address that came over an IPv6 socket counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        !self.0.is_empty() && {
            let peer = peer.to_canonical();
            self.0.iter().any(|network| network.contains(&peer))
        }
    }

    /// The networks.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusts_the_given_networks_only() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (peer, want) in [
            ("10.1.2.3", true),
            ("11.0.0.1", false),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("::1", false),
        ] {
            assert_eq!(trusted.contains(peer.parse().unwrap()), want, "{peer}");
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }
}
