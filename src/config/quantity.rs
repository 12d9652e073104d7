//! Quantities as people write them: times, sizes, shares, numbers with bounds.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

use super::keys::Kind;
use super::table::{FromValue, Reader, Value, from_text, texts};

/// A duration as people write it: `10s`, `500ms`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub(super) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        match humantime::parse_duration(text) {
            Ok(span) if span.is_zero() => Err("must be longer than nothing".to_owned()),
            Ok(span) => Ok(Span(span)),
            Err(error) => Err(format!("{error}; durations are written like 10s, 500ms or 1h")),
        }
    }
}

/// A duration as people write it: `90s`, `1500ms`, `1h`: in the largest unit that comes out even.
pub(super) fn written(time: Duration) -> String {
    let seconds = time.as_secs();
    match (time.subsec_nanos(), u64::try_from(time.as_nanos())) {
        (0, _) => {
            let units = [("d", 86400), ("h", 3600), ("m", 60)];
            let even = units.iter().find(|(_, unit)| seconds > 0 && seconds.is_multiple_of(*unit));
            let (unit, factor) = even.unwrap_or(&("s", 1));
            format!("{}{unit}", seconds / factor)
        }
        (_, Ok(nanos)) if nanos % 1_000_000 == 0 => format!("{}ms", nanos / 1_000_000),
        _ => humantime::format_duration(time).to_string(),
    }
}

/// A duration with bounds, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within<const MIN: u64, const MAX: u64>(pub(super) Duration);

/// What is asked of the kernel's timers of TCP, which count whole seconds, up to 32767 of them.
pub(super) type SocketTime = Within<1_000, { 9 * 3_600_000 }>;
/// Something that comes again and again: not so often that it keeps a core busy.
pub(super) type Period = Within<10, { 24 * 3_600_000 }>;

impl<const MIN: u64, const MAX: u64> FromStr for Within<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Span(span) = text.parse()?;
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        if !(min..=max).contains(&span) {
            return Err(format!("must be from {} to {}", written(min), written(max)));
        }
        Ok(Within(span))
    }
}

/// A share with bounds, in whole percent: `20%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percent<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> FromStr for Percent<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()).filter(|share| (MIN..=MAX).contains(share)) {
            Some(share) => Ok(Percent(share)),
            None => Err(format!("{text:?} is no share from {MIN}% to {MAX}%")),
        }
    }
}

/// A value, or none at all: `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrOff<T> {
    /// None.
    Off,
    /// This one.
    On(T),
}

impl<T> OrOff<T> {
    /// What it is, if it is not off.
    pub(super) fn value(self) -> Option<T> {
        match self {
            OrOff::Off => None,
            OrOff::On(value) => Some(value),
        }
    }
}

impl<T: FromStr<Err = String>> FromStr for OrOff<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<OrOff<T>, String> {
        match text {
            "off" => Ok(OrOff::Off),
            text => text.parse().map(OrOff::On).map_err(|error| format!("{error}, or off")),
        }
    }
}

/// A size as people write it: `32KiB`, `10MiB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub(super) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let size = text
            .parse::<ByteSize>()
            .map_err(|_| format!("{text:?} is no size; sizes are written like 32KiB or 10MiB"))?;
        Ok(Size(size.as_u64()))
    }
}

texts! {
    Span: Kind::Duration;
}

impl<const MIN: u64, const MAX: u64> FromValue for Within<MIN, MAX> {
    const KIND: &'static Kind = &Kind::Duration;

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Self> {
        from_text(value, Self::KIND, reader)
    }
}

impl<const MIN: u32, const MAX: u32> FromValue for Percent<MIN, MAX> {
    const KIND: &'static Kind = &Kind::Text("50%");

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Self> {
        from_text(value, Self::KIND, reader)
    }
}

impl<T: FromValue + FromStr<Err = String>> FromValue for OrOff<T> {
    const KIND: &'static Kind = &Kind::OneOf(&[T::KIND, &Kind::Choice(&["off"])]);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Self> {
        from_text(value, Self::KIND, reader)
    }
}

/// A text, or a number of bytes.
impl FromValue for Size {
    const KIND: &'static Kind = &Kind::Size;

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Size> {
        match value.get() {
            toml::de::DeValue::Integer(_) => reader.integer(value, Self::KIND).map(Size),
            _ => from_text(value, Self::KIND, reader),
        }
    }
}

/// A number with bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounded<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Bounded<MIN, MAX> {
    /// The number, as a type that is large enough for the bounds.
    pub(super) fn number<T: TryFrom<u64> + Default>(self) -> T {
        T::try_from(self.0).unwrap_or_default()
    }
}

impl<const MIN: u64, const MAX: u64> FromValue for Bounded<MIN, MAX> {
    const KIND: &'static Kind = &Kind::Integer { min: MIN, max: MAX };

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Self> {
        reader.integer(value, Self::KIND).map(Bounded)
    }
}

/// Statuses of responses that are failures.
pub(super) type Failure = Statuses<400>;

/// Statuses from one to another, both among them: `503`, `502-504`. None is below `MIN` or above 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statuses<const MIN: u16>(pub(super) (u16, u16));

impl<const MIN: u16> FromStr for Statuses<MIN> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |digits: &str| {
            let is_number = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|status| is_number && (MIN..=STATUS_MAX).contains(status))
        };
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Statuses((first, last))),
            (Some(_), Some(_)) => Err(format!("{text:?} ends before it begins")),
            _ => Err(format!(
                "{text:?} is no status from {MIN} to {STATUS_MAX}, and no two with a dash such as 502-504"
            )),
        }
    }
}

/// A number, or a text such as `502-504`.
impl<const MIN: u16> FromValue for Statuses<MIN> {
    const KIND: &'static Kind =
        &Kind::OneOf(&[&Kind::Integer { min: MIN as u64, max: STATUS_MAX as u64 }, &Kind::Text("502-504")]);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Self> {
        if !value.get().is_integer() {
            return from_text(value, Self::KIND, reader);
        }
        let Kind::OneOf([number, ..]) = Self::KIND else { return None };
        let status = u16::try_from(reader.integer(value, number)?).ok()?;
        Some(Statuses((status, status)))
    }
}

/// The largest status.
const STATUS_MAX: u16 = 599;

/// Reads a share such as `10%` or `0.5%`.
pub(super) fn share(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no share; shares are written like 10% or 0.25%, from 0.01% to 100%");
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, parts) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(parts) || parts.len() > 2 {
        return Err(wrong());
    }
    let hundredths = format!("{parts:0<2}");
    match (whole.parse::<u16>(), hundredths.parse::<u16>()) {
        (Ok(whole), Ok(hundredths)) if (1..=10_000).contains(&(whole * 100 + hundredths)) => {
            Ok(whole * 100 + hundredths)
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_in_ten_thousandths() {
        for (text, want) in
            [("10%", 1000), ("100%", 10_000), ("0.5%", 50), ("0.25%", 25), ("0.01%", 1), ("99.99%", 9999)]
        {
            assert_eq!(share(text), Ok(want), "{text}");
        }
        for text in
            ["", "%", "10", "0%", "0.00%", "100.01%", "101%", "1000%", "-1%", "1.%", ".5%", "0.001%", "1e1%"]
        {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percents_are_whole_and_within_their_bounds() {
        for (text, want) in [("0%", 0), ("20%", 20), ("100%", 100), ("007%", 7)] {
            assert_eq!(text.parse(), Ok(Percent::<0, 100>(want)), "{text}");
        }
        for text in ["", "%", "20", "101%", "-1%", "+1%", "1.5%", "20 %", "20%%", "99999999999%", "\u{661}%"]
        {
            assert!(text.parse::<Percent<0, 100>>().is_err(), "{text}");
        }
        assert_eq!(
            "100%".parse::<Percent<101, 1000>>(),
            Err("\"100%\" is no share from 101% to 1000%".to_owned())
        );
    }

    #[test]
    fn durations_may_have_bounds_and_may_be_off() {
        type Time = OrOff<SocketTime>;
        assert_eq!("off".parse(), Ok(Time::Off));
        assert_eq!("9h".parse::<Time>().unwrap().value(), Some(Within(Duration::from_secs(9 * 3600))));
        for text in ["999ms", "9h 1s", "0s", "", "on", "10"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        assert_eq!("1ms".parse::<Time>(), Err("must be from 1s to 9h, or off".to_owned()));
    }

    #[test]
    fn statuses_are_single_or_from_one_to_another() {
        for (text, want) in [("400", (400, 400)), ("502-504", (502, 504)), ("599-599", (599, 599))] {
            assert_eq!(text.parse(), Ok(Statuses::<400>(want)), "{text}");
        }
        for text in [
            "",
            "-",
            "5",
            "399",
            "600",
            "504-502",
            "500-",
            "-500",
            "500-600",
            "300-500",
            "5xx",
            "+503",
            "500 - 503",
            "0503",
        ] {
            assert!(text.parse::<Statuses<400>>().is_err(), "{text}");
        }
    }
}
