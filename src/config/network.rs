//! Networks as they are written: one for itself, and lists of them in files.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The most networks in a file.
pub const FILE_NETWORKS_MAX: usize = 1_000_000;

/// Characters of a line that are shown where it is wrong.
const SHOWN_CHARS_MAX: usize = 60;

/// Reads a network, or an address as the network that has no other, without what the mask takes away; one of IPv4
/// addresses in the clothes of IPv6 is one of IPv4, as the addresses of clients are. No number begins with a nought: to
/// some `010` is eight.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let read = || {
        let (start, length) =
            text.split_once('/').map_or((text, None), |(start, length)| (start, Some(length)));
        let address: IpAddr = start.parse().ok()?;
        let Some(length) = length else { return Some(IpNet::from(address)) };
        let is_plain = length.bytes().all(|byte| byte.is_ascii_digit())
            && !(length.len() > 1 && length.starts_with('0'));
        IpNet::new(address, length.parse().ok().filter(|_| is_plain)?).ok()
    };
    read().map(|network| plain(network.trunc())).ok_or_else(|| {
        format!("{text:?} is no network; networks are written like 10.0.0.0/8 or 2001:db8::/32")
    })
}

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

/// Whether a list has a comment that is a line for itself: one that is empty says by it that it is meant to be.
pub fn has_comment(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().any(|line| line.trim_start().starts_with('#'))
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
        assert!(has_comment("\n\u{20}# none") && has_comment("\u{feff}# none"));
        assert!(!has_comment("") && !has_comment("\n10.0.0.0/8 # one\n"));
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
    fn what_some_read_by_eights_is_no_network() {
        for text in
            ["010.0.0.0/8", "10.00.0.0/8", "010.0.0.1", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/", "::/00"]
        {
            assert!(networks(text).is_err(), "{text}");
        }
        assert_eq!(read("0.0.0.0/0\n::/0"), ["0.0.0.0/0", "::/0"]);
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
}
