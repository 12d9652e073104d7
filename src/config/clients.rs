//! How many connections clients may have at a listener, and how fast new ones may come.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::keys::Kind;
use super::quantity::Size;
use super::table::{FromValue, Reader, Value, texts};

/// Bounds on the connections of a listener. By default there are none; the process has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections at once, over all cores.
    pub connections_max: Option<u32>,
    /// The same of one client.
    pub client_connections_max: Option<u16>,
    /// Bits of an IPv6 address that make a client; of an IPv4 address all do.
    pub client_v6_prefix: u8,
    /// How fast connections may come.
    pub rate: Option<ConnectionRate>,
    /// The same from one client.
    pub client_rate: Option<ConnectionRate>,
}

impl ClientLimits {
    /// Without limits: what is said of IPv6 only matters where there is one.
    pub const NONE: ClientLimits = ClientLimits {
        connections_max: None,
        client_connections_max: None,
        client_v6_prefix: V6_PREFIX_DEFAULT,
        rate: None,
        client_rate: None,
    };

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        let ClientLimits { connections_max, client_connections_max, client_v6_prefix: _, rate, client_rate } =
            self;
        connections_max.is_none()
            && client_connections_max.is_none()
            && rate.is_none()
            && client_rate.is_none()
    }
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits::NONE
    }
}

/// What a provider gives one customer at least.
const V6_PREFIX_DEFAULT: u8 = 64;

/// So many new connections in a span of time, and so many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRate {
    /// How many, and in which time.
    pub pace: Pace,
    /// How many may come at once; at least one.
    pub burst: u32,
}

/// So many in a second, a minute or an hour: `20/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many, from 1 to 100,000 a second.
    pub count: u32,
    /// In which time: a second, a minute or an hour.
    pub per: Duration,
}

/// The units of a pace.
const UNITS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];

/// The fastest pace: faster ones could not be told apart.
const A_SECOND_MAX: u64 = 100_000;

impl Pace {
    /// The time between two.
    pub fn interval(self) -> Duration {
        self.per / self.count
    }

    /// How many come in a second, at least one.
    pub fn a_second(self) -> u32 {
        let seconds = u32::try_from(self.per.as_secs()).unwrap_or(1).max(1);
        (self.count / seconds).max(1)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            UNITS.iter().find(|(_, seconds)| self.per.as_secs() == *seconds).map_or("s", |(unit, _)| unit);
        write!(f, "{}/{unit}", self.count)
    }
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Pace, String> {
        let wrong = || format!("{text:?} is no pace; paces are written like 20/s, 300/m or 5000/h");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let (_, seconds) = UNITS.iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?;
        let is_number = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        let count: u32 = count.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
        if count == 0 || u64::from(count) > A_SECOND_MAX * seconds {
            return Err(format!("must be from 1 to {A_SECOND_MAX} a second"));
        }
        Ok(Pace { count, per: Duration::from_secs(*seconds) })
    }
}

/// Bytes a second that a client has to get forward; `off` and 0 ask for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastRate(pub(super) u32);

impl FromStr for LeastRate {
    type Err = String;

    fn from_str(text: &str) -> Result<LeastRate, String> {
        if text == "off" {
            return Ok(LeastRate(0));
        }
        let Size(bytes) = text.parse().map_err(|error| format!("{error}, or off"))?;
        LeastRate::of(bytes)
    }
}

impl LeastRate {
    fn of(bytes: u64) -> Result<LeastRate, String> {
        let most = 1 << 30;
        match u32::try_from(bytes) {
            Ok(bytes) if bytes <= most => Ok(LeastRate(bytes)),
            _ => Err("must be at most 1GiB a second".to_owned()),
        }
    }
}

/// A text, or a number of bytes.
impl FromValue for LeastRate {
    const KIND: &'static Kind = &Kind::OneOf(&[&Kind::Size, &Kind::Choice(&["off"])]);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<LeastRate> {
        if !value.get().is_integer() {
            return super::table::from_text(value, Self::KIND, reader);
        }
        let bytes = reader.integer(value, &Kind::Size)?;
        LeastRate::of(bytes).map_err(|wrong| reader.error(value.place(), wrong)).ok()
    }
}

texts! {
    Pace: Kind::Text("20/s");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_are_so_many_in_a_second_a_minute_or_an_hour() {
        for (text, count, seconds, interval_us) in [
            ("1/s", 1, 1, 1_000_000),
            ("20/s", 20, 1, 50_000),
            ("30/m", 30, 60, 2_000_000),
            ("7200/h", 7200, 3600, 500_000),
        ] {
            let pace: Pace = text.parse().unwrap();
            assert_eq!((pace.count, pace.per.as_secs()), (count, seconds));
            assert_eq!(pace.interval().as_micros(), interval_us);
            assert_eq!(pace.to_string(), text);
        }
        for text in [
            "",
            "/",
            "20",
            "20/",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1/d",
            "1 / s",
            "1.5/s",
            "100001/s",
            "99999999999/h",
        ] {
            assert!(text.parse::<Pace>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_least_rate_is_a_size_or_off() {
        for (text, want) in [("off", 0), ("0", 0), ("64B", 64), ("64", 64), ("1KiB", 1024), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(LeastRate(want)), "{text}");
        }
        for text in ["", "on", "-1", "2GiB", "64/s"] {
            assert!(text.parse::<LeastRate>().is_err(), "{text}");
        }
    }
}
