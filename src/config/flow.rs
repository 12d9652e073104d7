//! How much may come, and how fast: rates of requests, and bytes of responses in a time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use super::keys::Kind;
use super::table::{FromValue, Reader, Value, texts};
use crate::http::fields::is_token;

/// What a listener or a route does about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Rates that requests count for, by their names; a request has to be within all of them.
    pub rates: Vec<String>,
    /// Bytes a second of each response; a route's takes the place of its listener's.
    pub bandwidth: Option<Bandwidth>,
}

/// How fast a response is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bytes a second.
    pub rate: Throughput,
    /// The first bytes, which are free.
    pub after: u64,
}

/// A rate, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Its name.
    pub name: String,
    /// How many requests in how much time.
    pub per: Frequency,
    /// So many may come at once, at least 1.
    pub burst: u32,
    /// What is counted apart; all of it together.
    pub by: Vec<RateBy>,
    /// Bits of a client's IPv4 address that count.
    pub v4_prefix: u8,
    /// Bits of a client's IPv6 address that count.
    pub v6_prefix: u8,
    /// How long requests over the rate are held back, instead of being refused; zero for not at all.
    pub delay: Duration,
    /// Keys that are remembered at once.
    pub keys: usize,
    /// The status of a refusal.
    pub status: u16,
    /// What becomes of requests that do not have what they are counted by.
    pub without: Without,
    /// Which responses tell the client how it stands.
    pub fields: RateFields,
    /// Whether requests over it are only counted and logged.
    pub detect_only: bool,
}

/// Bits of addresses that count where nothing else is said: a host of IPv4, and the network that a host of IPv6 chooses
/// its addresses in (RFC 4291, section 2.5.4).
pub const PREFIXES: (u8, u8) = (32, 64);

/// Keys of a rate that are remembered at once where nothing else is said.
pub const KEYS: usize = 65_536;

/// The status of a refusal where nothing else is said.
pub const STATUS: u16 = 429;

impl Rate {
    /// How many come in a second: the burst where nothing else is said.
    pub fn burst_of(per: Frequency) -> u32 {
        let seconds = u32::try_from(per.time.as_secs()).unwrap_or(u32::MAX).max(1);
        (per.count / seconds).max(1)
    }

    /// Whether some requests may not have what they are counted by.
    pub fn may_lack(&self) -> bool {
        self.by.iter().any(|by| matches!(by, RateBy::Header(_) | RateBy::Cookie(_) | RateBy::Query(_)))
    }
}

/// So many in such a time: `100/s`, `10/m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// How many, at least 1.
    pub count: u32,
    /// The time: a second, a minute, an hour or a day.
    pub time: Duration,
}

/// The units of time that a rate is written with, in seconds.
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];

/// More than that in a second is no rate that anything could be refused by.
const PER_SECOND_MAX: u64 = 1_000_000;

impl FromStr for Frequency {
    type Err = String;

    fn from_str(text: &str) -> Result<Frequency, String> {
        let wrong = || format!("{text:?} is no rate; rates are written like 100/s, 10/m, 5/h or 1/d");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let count = count.parse::<u32>().ok().filter(|&count| u64::from(count) <= PER_SECOND_MAX * seconds);
        match count {
            Some(0) => Err("must be more than nothing; `deny` is how all requests are refused".to_owned()),
            Some(count) => Ok(Frequency { count, time: Duration::from_secs(*seconds) }),
            None => Err(format!("must be at most {PER_SECOND_MAX} in a second, and 4294967295 in all")),
        }
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, seconds)| *seconds == self.time.as_secs());
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| name))
    }
}

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateBy {
    /// The client's address.
    Client,
    /// The value of a field.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// The value of a parameter, decoded.
    Query(String),
    /// The route.
    Route,
    /// The host that is asked for, without port.
    Host,
    /// Nothing: all requests count together.
    All,
}

impl FromStr for RateBy {
    type Err = String;

    fn from_str(text: &str) -> Result<RateBy, String> {
        match text.split_once(':') {
            None if text == "client" => Ok(RateBy::Client),
            None if text == "route" => Ok(RateBy::Route),
            None if text == "host" => Ok(RateBy::Host),
            None if text == "all" => Ok(RateBy::All),
            Some(("header", name)) if is_token(name.as_bytes()) => Ok(RateBy::Header(name.to_owned())),
            Some(("cookie", name)) if is_token(name.as_bytes()) => Ok(RateBy::Cookie(name.to_owned())),
            Some(("query", name)) if !name.is_empty() => Ok(RateBy::Query(name.to_owned())),
            _ => Err(format!(
                "{text:?} is nothing to count by; what can be is client, header:NAME, cookie:NAME, query:NAME, route, \
                 host or all"
            )),
        }
    }
}

impl fmt::Display for RateBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RateBy::Client => f.write_str("client"),
            RateBy::Header(name) => write!(f, "header:{name}"),
            RateBy::Cookie(name) => write!(f, "cookie:{name}"),
            RateBy::Query(name) => write!(f, "query:{name}"),
            RateBy::Route => f.write_str("route"),
            RateBy::Host => f.write_str("host"),
            RateBy::All => f.write_str("all"),
        }
    }
}

/// What becomes of a request that does not have what it is counted by, or has it more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Without {
    /// It counts by the client's address, so that leaving a key away is no way round.
    #[default]
    Client,
    /// It does not count.
    Pass,
    /// It is refused.
    Refuse,
}

impl FromStr for Without {
    type Err = String;

    fn from_str(text: &str) -> Result<Without, String> {
        match text {
            "client" => Ok(Without::Client),
            "pass" => Ok(Without::Pass),
            "refuse" => Ok(Without::Refuse),
            _ => Err(format!("{text:?} is no way to take them: client, pass, refuse")),
        }
    }
}

impl fmt::Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Without::Client => "client",
            Without::Pass => "pass",
            Without::Refuse => "refuse",
        })
    }
}

/// Which responses tell the client how it stands (RateLimit and RateLimit-Policy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateFields {
    /// None; refusals still have Retry-After.
    Off,
    /// Refusals.
    #[default]
    Refusals,
    /// All.
    Always,
}

const ALWAYS: &str = "always";

/// Yes, no, or `always`.
impl FromValue for RateFields {
    const KIND: &'static Kind = &Kind::OneOf(&[&Kind::Truth, &Kind::Choice(&[ALWAYS])]);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<RateFields> {
        if Kind::Truth.fits(value.get()) {
            let on = reader.truth(value, Self::KIND)?;
            return Some(if on { RateFields::Refusals } else { RateFields::Off });
        }
        reader.parsed(value, Self::KIND, |text| match text {
            ALWAYS => Ok(RateFields::Always),
            _ => Err(format!("{text:?} is neither true, false nor {ALWAYS}")),
        })
    }
}

/// Bytes a second: `1MiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throughput(pub u64);

/// Less would hold a connection for long with next to nothing.
const BYTES_PER_SECOND_MIN: u64 = 1 << 10;

/// More is no bound.
const BYTES_PER_SECOND_MAX: u64 = 1 << 40;

impl FromStr for Throughput {
    type Err = String;

    fn from_str(text: &str) -> Result<Throughput, String> {
        let size = text.strip_suffix("/s").and_then(|size| size.parse::<ByteSize>().ok());
        match size.map(|size| size.as_u64()) {
            Some(size) if (BYTES_PER_SECOND_MIN..=BYTES_PER_SECOND_MAX).contains(&size) => {
                Ok(Throughput(size))
            }
            Some(_) => Err("must be from 1KiB/s to 1TiB/s".to_owned()),
            None => Err(format!("{text:?} is no speed; speeds are written like 512KiB/s or 10MiB/s")),
        }
    }
}

texts! {
    Frequency: Kind::Text("100/s");
    RateBy: Kind::Text("client");
    Without: Kind::Choice(&["client", "pass", "refuse"]);
    Throughput: Kind::Text("1MiB/s");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_alike() {
        for (text, count, seconds) in [
            ("1/s", 1, 1),
            ("100/m", 100, 60),
            ("5/h", 5, 3600),
            ("1000000/s", 1_000_000, 1),
            ("1/d", 1, 86_400),
        ] {
            let read: Frequency = text.parse().unwrap();
            assert_eq!((read.count, read.time.as_secs()), (count, seconds), "{text}");
            assert_eq!(read.to_string(), text);
        }
        for text in [
            "",
            "/",
            "1",
            "1/",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/S",
            "1/ms",
            "1 /s",
            "1000001/s",
            "4294967296/d",
            "99999999999999999999/d",
            "1/s/s",
            "\u{661}/s",
        ] {
            assert!(text.parse::<Frequency>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_burst_is_what_comes_in_a_second() {
        for (text, want) in [("100/s", 100), ("1/s", 1), ("120/m", 2), ("119/m", 1), ("1/d", 1)] {
            assert_eq!(Rate::burst_of(text.parse().unwrap()), want, "{text}");
        }
    }

    #[test]
    fn keys_are_read_and_written_alike() {
        for text in ["client", "header:X-Key", "cookie:id", "query:api key", "route", "host", "all"] {
            assert_eq!(text.parse::<RateBy>().unwrap().to_string(), text);
        }
        for text in ["", "ip", "header", "header:", "header:a b", "cookie:a;b", "query:", "client:", "all:x"]
        {
            assert!(text.parse::<RateBy>().is_err(), "{text}");
        }
    }

    #[test]
    fn speeds_have_a_size_and_a_second() {
        for (text, want) in [("1KiB/s", 1 << 10), ("2MiB/s", 2 << 20), ("4096/s", 4096), ("1TiB/s", 1 << 40)]
        {
            assert_eq!(text.parse(), Ok(Throughput(want)));
        }
        for text in ["", "/s", "1MiB", "1MiB/m", "1023/s", "0/s", "2TiB/s", "-1/s", "fast"] {
            assert!(text.parse::<Throughput>().is_err(), "{text}");
        }
    }
}
