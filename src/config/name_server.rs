//! Name servers, which names of endpoints are looked up at.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The port of name servers (RFC 1035, section 4.2).
const PORT: u16 = 53;

/// A name server as people write it: `127.0.0.1:5353`, `10.0.0.2`, `[2001:db8::1]:53`, `2001:db8::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer(pub(super) SocketAddr);

impl FromStr for NameServer {
    type Err = String;

    fn from_str(text: &str) -> Result<NameServer, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let alone = bare.unwrap_or(text).parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT));
        match text.parse().or(alone) {
            Ok(server) if server.port() != 0 => Ok(NameServer(server)),
            _ => Err(format!(
                "{text:?} is no name server; one is written as ADDRESS or ADDRESS:PORT, such as 127.0.0.1:53"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_addresses_with_or_without_a_port() {
        for (text, want) in [
            ("127.0.0.1", "127.0.0.1:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:54", "[::1]:54"),
        ] {
            assert_eq!(text.parse::<NameServer>().unwrap().0.to_string(), want);
        }
        for text in [
            "",
            "localhost",
            "localhost:53",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "1.2.3",
            "[::1",
            ":53",
        ] {
            assert!(text.parse::<NameServer>().is_err(), "{text}");
        }
    }
}
