//! Which clients are let in, by their networks: the longest prefix decides between those that are allowed and those
//! that are denied, and of two that are as long the one that is denied.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixSet;

use crate::config::network;
use crate::config::security::Clients;

/// Networks, found by an address within them.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    v4: PrefixSet<Ipv4Net>,
    v6: PrefixSet<Ipv6Net>,
    /// How closely those are meant who came by a Unix socket, if they are.
    unix: Option<u8>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Whoever has this address.
    Address(IpAddr),
    /// Whoever came by a Unix socket, and has none.
    Unix,
    /// Nobody knows: what a trusted proxy says about it cannot be read.
    Unknown,
}

/// How closely a list means a client: the length of the prefix, none where it does not.
pub type Closeness = Option<u8>;

/// `unix` says more than `all`.
const UNIX: u8 = 1;

impl Networks {
    /// These.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Networks {
        let mut set = Networks::default();
        for network in networks {
            match network {
                IpNet::V4(network) => set.v4.insert(network),
                IpNet::V6(network) => set.v6.insert(network),
            };
        }
        set
    }

    /// What a list says itself, without its files.
    pub fn of(clients: &Clients) -> Networks {
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let all = all.into_iter().filter(|_| clients.all);
        let mut set = Networks::new(clients.networks.iter().copied().chain(all));
        set.unix = clients.unix.then_some(UNIX).or(clients.all.then_some(0));
        set
    }

    /// Reads a file: see [`network::networks`].
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub fn read(text: &str) -> Result<Networks, String> {
        network::networks(text).map(Networks::new)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.unix.is_none()
    }

    /// The longest of them that has the address. An IPv4 address in the clothes of IPv6 counts as IPv4.
    pub fn longest(&self, address: IpAddr) -> Option<IpNet> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(IpNet::V4),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(IpNet::V6),
        }
    }

    /// How closely a client is meant.
    pub fn closeness(&self, asker: Asker) -> Closeness {
        match asker {
            Asker::Address(address) => self.longest(address).map(|network| network.prefix_len()),
            Asker::Unix => self.unix,
            Asker::Unknown => None,
        }
    }
}

/// Whether a client is let in, whom the lists mean so closely. `has_allow` says that there is a list of those that are
/// allowed: then nobody else is, whoever is denied beside.
pub fn lets_in(asker: Asker, allowed: Closeness, denied: Closeness, has_allow: bool) -> bool {
    match (allowed, denied) {
        // Whoever cannot be told may be one of those that are meant.
        _ if asker == Asker::Unknown => false,
        (None, None) => !has_allow,
        (allowed, denied) => allowed > denied,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Networks {
        Networks::read(&texts.join("\n")).unwrap()
    }

    fn address(text: &str) -> Asker {
        Asker::Address(text.parse().unwrap())
    }

    fn decide(allow: &[&str], deny: &[&str], asker: Asker) -> bool {
        let clients = |texts: &[&str]| Clients {
            networks: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            all: texts.contains(&"all"),
            unix: texts.contains(&"unix"),
            files: Vec::new(),
        };
        let (allow, deny) = (clients(allow), clients(deny));
        let has_allow = !allow.is_empty();
        let (allow, deny) = (Networks::of(&allow), Networks::of(&deny));
        lets_in(asker, allow.closeness(asker), deny.closeness(asker), has_allow)
    }

    #[test]
    fn the_longest_prefix_decides() {
        let (allow, deny) = (&["10.0.0.0/8", "10.1.2.0/24"][..], &["10.1.0.0/16", "10.1.2.3/32"][..]);
        for (who, want) in [
            ("10.9.9.9", true),
            ("10.1.9.9", false),
            ("10.1.2.9", true),
            ("10.1.2.3", false),
            ("11.0.0.1", false),
            ("::ffff:10.1.2.3", false),
            ("::ffff:10.1.2.4", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(decide(allow, deny, address(who)), want, "{who}");
        }
    }

    #[test]
    fn of_two_that_are_as_long_the_one_that_is_denied_decides() {
        for both in [&["10.0.0.0/8"][..], &["all"], &["0.0.0.0/0"]] {
            assert!(!decide(both, both, address("10.0.0.1")), "{both:?}");
        }
        assert!(!decide(&["unix"], &["unix"], Asker::Unix));
    }

    #[test]
    fn whom_nobody_means_is_refused_where_others_are_allowed() {
        assert!(!decide(&["10.0.0.0/8"], &[], address("11.0.0.1")));
        assert!(decide(&[], &["10.0.0.0/8"], address("11.0.0.1")));
        // A list of those that are denied beside it opens nothing.
        assert!(!decide(&["10.0.0.0/8"], &["12.0.0.0/8"], address("11.0.0.1")));
        assert!(!decide(&["10.0.0.0/8"], &["10.1.2.3/32"], address("8.8.8.8")));
        assert!(decide(&["all"], &["10.1.2.3/32"], address("8.8.8.8")));
        assert!(!decide(&["all"], &["10.1.2.3/32"], address("10.1.2.3")));
        assert!(!decide(&["10.0.0.0/8"], &["10.1.2.3/32"], Asker::Unix));
        assert!(decide(&[], &["10.1.2.3/32"], Asker::Unix));
        assert!(!decide(&["10.0.0.0/8"], &[], address("::1")) && !decide(&["10.0.0.0/8"], &[], Asker::Unix));
        assert!(!decide(&["10.0.0.0/8"], &["all"], address("11.0.0.1")));
        assert!(decide(&["10.0.0.0/8"], &["all"], address("10.0.0.1")));
    }

    #[test]
    fn sockets_of_the_machine_have_a_word_of_their_own() {
        assert!(decide(&["unix"], &["all"], Asker::Unix) && !decide(&["unix"], &["all"], address("::1")));
        assert!(decide(&["all"], &["unix"], address("::1")) && !decide(&["all"], &["unix"], Asker::Unix));
        assert!(decide(&["all"], &[], Asker::Unix) && !decide(&["::/0", "0.0.0.0/0"], &[], Asker::Unix));
    }

    #[test]
    fn a_network_of_ipv6_means_nobody_of_ipv4() {
        for v6 in ["::/0", "::/80", "::fffe:0:0/95"] {
            assert!(decide(&[], &[v6], address("::ffff:255.255.255.255")), "{v6}");
            assert!(!decide(&[v6], &[], address("255.255.255.255")), "{v6}");
        }
    }

    #[test]
    fn whoever_cannot_be_told_is_refused() {
        for (allow, deny) in
            [(&["all"][..], &[][..]), (&[], &["10.0.0.0/8"]), (&["all", "unix"], &["10.0.0.1"])]
        {
            assert!(!decide(allow, deny, Asker::Unknown));
        }
    }

    #[test]
    fn the_network_that_decides_can_be_named() {
        let networks = nets(&["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]);
        assert_eq!(networks.longest("10.1.2.3".parse().unwrap()).unwrap().to_string(), "10.1.0.0/16");
        assert_eq!(networks.longest("2001:db8:1::".parse().unwrap()).unwrap().to_string(), "2001:db8::/32");
        assert!(networks.longest("11.0.0.0".parse().unwrap()).is_none() && networks.len() == 3);
    }

    fn network() -> impl Strategy<Value = IpNet> {
        // Few bits, so that networks lie within each other.
        prop_oneof![
            (any::<[u8; 4]>(), 0u8..=32).prop_map(|(bytes, length)| {
                let address = IpAddr::from(bytes.map(|byte| byte & 0x81));
                IpNet::new(address, length).unwrap().trunc()
            }),
            (any::<[u16; 8]>(), 0u8..=128).prop_map(|(parts, length)| {
                let address = IpAddr::from(parts.map(|part| part & 0x8001));
                IpNet::new(address, length).unwrap().trunc()
            }),
        ]
    }

    fn naive(networks: &[IpNet], address: IpAddr) -> Closeness {
        // `::/80` ends with an address that stands for one of IPv4.
        let address = address.to_canonical();
        let fitting = networks.iter().filter(|network| network.contains(&address));
        fitting.map(|network| network.prefix_len()).max()
    }

    proptest! {
        #[test]
        fn decides_as_a_search_through_all_networks_does(
            allow in proptest::collection::vec(network(), 0..40),
            deny in proptest::collection::vec(network(), 0..40),
            asked in proptest::collection::vec(network(), 1..40),
        ) {
            let (allowed, denied) = (Networks::new(allow.iter().copied()), Networks::new(deny.iter().copied()));
            for address in asked.iter().map(IpNet::addr).chain(allow.iter().map(IpNet::broadcast)) {
                let asker = Asker::Address(address);
                let (one, other) = (naive(&allow, address), naive(&deny, address));
                prop_assert_eq!(allowed.closeness(asker), one);
                prop_assert_eq!(denied.closeness(asker), other);
                let want = match (one, other) {
                    (None, None) => allow.is_empty(),
                    (Some(one), Some(other)) => one > other,
                    (one, _) => one.is_some(),
                };
                prop_assert_eq!(lets_in(asker, one, other, !allow.is_empty()), want);
            }
        }
    }
}
