//! Which requests are let in at all: networks, and bounds on what a request may be like.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::network::network;

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

#[cfg(test)]
mod tests {
    use super::*;

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
