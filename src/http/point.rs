//! Points: numbers that follow from values, the same after restarts, in other versions and on other machines.

use std::net::IpAddr;

/// The point of a value: the same after restarts, in other versions and on other cores.
pub fn point_of(value: &[u8]) -> u64 {
    mix(hash(value))
}

/// The point of a client. An IPv4 address that came over an IPv6 socket counts as IPv4.
pub fn point_of_client(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => point_of(&address.octets()),
        IpAddr::V6(address) => point_of(&address.octets()),
    }
}

/// FNV-1a. A hash whose definition is one line, and so never changes, unlike those of hash tables; that clients can
/// make values meet in it only gives them an upstream that they could as well have drawn.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The same, of ASCII letters in lower case.
pub fn hash_lowercase(bytes: &[u8]) -> u64 {
    let next = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().map(u8::to_ascii_lowercase).fold(0xcbf2_9ce4_8422_2325, next)
}

/// Spreads every bit over all (the finaliser of SplitMix64), which FNV does not do.
pub const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
