//! Which requests are let in at all: networks, and bounds on what a request may be like.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::listener;

/// What a listener or a route checks of each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Whose requests are let in. What a listener says and what a route says holds both.
    pub access: Option<Access>,
    /// What a request may be like. What a route says takes the place of what its listener says.
    pub limits: Option<RequestLimits>,
}

/// Networks whose clients are let in, and networks whose clients are not: the longest prefix decides, and of two that
/// are as long the one that is denied. A client whom none of them means is refused where there is an `allow`. One
/// that cannot be told is always refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Clients that are let in.
    pub allow: Clients,
    /// Clients that are not.
    pub deny: Clients,
}

/// Some clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Those of these networks.
    pub networks: Vec<IpNet>,
    /// All of them.
    pub all: bool,
    /// Those that came by a Unix socket.
    pub unix: bool,
    /// Those of networks that stand in files, which are read again when they change.
    pub files: Vec<NetworkFile>,
}

/// A file with networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it said when the configuration was read.
    pub networks: Arc<[IpNet]>,
}

/// Bounds on requests. What is not said has no bound of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestLimits {
    /// Methods that are served; all where there is none. Method names are case-sensitive (RFC 9110, section 9.1).
    pub methods: Vec<String>,
    /// Bytes of the target.
    pub target_bytes_max: Option<usize>,
    /// Bytes of the query, without its question mark.
    pub query_bytes_max: Option<usize>,
    /// Parameters in the query.
    pub parameters_max: Option<usize>,
    /// Bytes of each field line, without its end.
    pub field_bytes_max: Option<usize>,
    /// Field lines.
    pub fields_max: Option<usize>,
    /// Types of content that are taken, in lower case: `application/json`, `text/*`; all where there is none.
    pub content_types: Vec<String>,
}

/// Whom a list means, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Network(IpNet),
    All,
    Unix,
    File(String),
}

impl Entry {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Entry, String> {
        match text {
            "all" => Ok(Entry::All),
            "unix" => Ok(Entry::Unix),
            "file:" => Err("\"file:\" names no file".to_owned()),
            text => match text.strip_prefix("file:") {
                Some(path) => Ok(Entry::File(path.to_owned())),
                None => network(text)
                    .map(Entry::Network)
                    .map_err(|why| format!("{why}; or `all`, `unix`, or a list in a file such as file:PATH")),
            },
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Network(network) => network.fmt(f),
            Entry::All => f.write_str("all"),
            Entry::Unix => f.write_str("unix"),
            Entry::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl Clients {
    /// Whether nobody is meant, not even by a file.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.all && !self.unix && self.files.is_empty()
    }

    /// As it is written.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let networks = self.networks.iter().map(|network| Entry::Network(*network));
        let words = [(self.all, Entry::All), (self.unix, Entry::Unix)];
        let words = words.into_iter().filter(|(said, _)| *said).map(|(_, entry)| entry);
        let files = self.files.iter().map(|file| Entry::File(file.path.display().to_string()));
        networks.chain(words).chain(files)
    }
}

/// A network without what a mask takes away; one of IPv4 addresses in the clothes of IPv6 is one of IPv4.
fn network(text: &str) -> Result<IpNet, String> {
    listener::network(text).map(|network| plain(network.trunc()))
}

/// A network of addresses such as `::ffff:10.0.0.1` is the one of the IPv4 addresses that those stand for (RFC 4291,
/// section 2.5.5.2).
fn plain(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else { return network };
    let length = v6.prefix_len().checked_sub(MAPPED_BITS);
    match v6.addr().to_ipv4_mapped().zip(length) {
        Some((v4, length)) => Ipv4Net::new(v4, length).map_or(network, IpNet::V4),
        None => network,
    }
}

/// The most networks in a file.
pub const FILE_NETWORKS_MAX: usize = 1_000_000;

/// Characters of a line that are shown where it is wrong.
const SHOWN_CHARS_MAX: usize = 60;

/// Reads a list of networks: one on each line; what stands behind a `#` is a comment, and lines may be empty.
///
/// # Errors
/// What is wrong with it, with the line.
pub fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let mut all = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        let said = line.split('#').next().unwrap_or_default().trim();
        if said.is_empty() {
            continue;
        }
        if all.len() == FILE_NETWORKS_MAX {
            return Err(format!("line {}: there are more than {FILE_NETWORKS_MAX} networks", at + 1));
        }
        if said.len() > SHOWN_CHARS_MAX {
            return Err(format!("line {}: is too long for a network", at + 1));
        }
        all.push(network(said).map_err(|why| format!("line {}: {why}", at + 1))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        networks(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_list_has_a_network_on_each_line() {
        let text = "\u{feff}# ours\n10.0.0.0/8\r\n\n  192.0.2.1 # one\n2001:db8::/32\n\t\n#10.1.0.0/16";
        assert_eq!(read(text), ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]);
        assert!(read("").is_empty() && read("# none\n\n").is_empty());
    }

    #[test]
    fn what_a_mask_takes_away_is_no_part_of_a_network() {
        assert_eq!(read("10.1.2.3/8\n2001:db8::1/32"), ["10.0.0.0/8", "2001:db8::/32"]);
    }

    #[test]
    fn ipv4_in_the_clothes_of_ipv6_is_ipv4() {
        let text = "::ffff:10.0.0.1\n::ffff:10.1.0.0/112\n::ffff:0:0/96\n::/0\n::/95\n::ffff:0:0/95";
        assert_eq!(read(text), ["10.0.0.1/32", "10.1.0.0/16", "0.0.0.0/0", "::/0", "::/95", "::fffe:0:0/95"]);
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        for (text, want) in [
            ("10.0.0.0/8\nx", "line 2: \"x\" is no network; networks are written like 10.0.0.0/8"),
            ("10.0.0.0/33", "line 1: \"10.0.0.0/33\" is no network"),
            ("\n\nall", "line 3: \"all\" is no network"),
            ("10.0.0.0/8, 11.0.0.0/8", "line 1: "),
            ("10.0.0.0/8\0", "line 1: "),
        ] {
            let why = networks(text).unwrap_err();
            assert!(why.starts_with(want), "{why}");
        }
        let why = networks(&"x".repeat(10_000)).unwrap_err();
        assert_eq!(why, "line 1: is too long for a network");
        let many = "1.1.1.1\n".repeat(FILE_NETWORKS_MAX + 1);
        assert!(networks(&many).unwrap_err().starts_with("line 1000001: there are more than 1000000"));
    }

    #[test]
    fn entries_are_written_as_they_are_read() {
        for text in ["10.0.0.0/8", "2001:db8::/32", "all", "unix", "file:/etc/networks.txt"] {
            assert_eq!(Entry::parse(text).unwrap().to_string(), text);
        }
        for bad in ["file:", "", "ALL", "10.0.0.0/8 ", "localhost", "10.0.0"] {
            assert!(Entry::parse(bad).is_err(), "{bad}");
        }
    }
}
