//! Dates: the Date field, rendered once a second, and the three formats that are read (RFC 9110,
//! section 5.6.7).

use std::fmt::Write as _;
use std::time::SystemTime;

/// An IMF-fixdate, ready to be copied into a head.
#[derive(Clone, Debug)]
pub struct RenderedDate {
    text: String,
}

impl RenderedDate {
    /// Renders a moment of the wall clock.
    pub fn new(at: SystemTime) -> RenderedDate {
        let mut date = RenderedDate { text: String::with_capacity(32) };
        date.update(at);
        date
    }

    /// Renders another moment, into the same memory.
    pub fn update(&mut self, at: SystemTime) {
        self.text.clear();
        // Writing into a `String` cannot fail.
        let _ = write!(self.text, "{}", httpdate::HttpDate::from(at));
    }

    /// The date, 29 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// The last year that two digits can mean: 50 years after this was written. A sender of two digits that
/// meant a later one is not to be taken at its word.
const SHORT_YEAR_MAX: i64 = 2076;

const WEEKDAYS: [&[u8]; 7] =
    [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Reads an HTTP-date in any of its three formats, as whole seconds since 1970; negative before. The
/// years are 0 to 9999.
///
/// Case does not matter, as RFC 9111, section 4.2, asks of caches. Any zone but GMT, a day that its month
/// lacks and a weekday that is not that day's make it no date. A leap second counts as the one before.
///
/// The two digits of an RFC 850 year need no clock: the same day never has the same weekday in two
/// neighbouring centuries, so the weekday tells which one is meant. A year after 2076 is never read
/// from two digits, for that would be more than 50 years ahead.
pub fn parse(value: &[u8]) -> Option<i64> {
    let mut text = Text(value);
    let moment = match value.iter().position(|&byte| byte == b',') {
        Some(3) => text.imf_fixdate()?,
        Some(_) => text.rfc850_date()?,
        None => text.asctime_date()?,
    };
    text.0.is_empty().then_some(moment)
}

/// What is left to read of a date.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    fn imf_fixdate(&mut self) -> Option<i64> {
        let weekday = self.one_of(WEEKDAYS.map(|name| &name[..3]))?;
        self.literal(b", ")?;
        let day = self.number(2)?;
        self.literal(b" ")?;
        let month = self.one_of(MONTHS)?;
        self.literal(b" ")?;
        let year = self.number(4)?;
        self.literal(b" ")?;
        let time = self.time()?;
        self.literal(b" GMT")?;
        Some(midnight(weekday, year, month, day)? + time)
    }

    /// `Sunday, 06-Nov-94 08:49:37 GMT`
    fn rfc850_date(&mut self) -> Option<i64> {
        let weekday = self.one_of(WEEKDAYS)?;
        self.literal(b", ")?;
        let day = self.number(2)?;
        self.literal(b"-")?;
        let month = self.one_of(MONTHS)?;
        self.literal(b"-")?;
        let year = self.number(2)?;
        self.literal(b" ")?;
        let time = self.time()?;
        self.literal(b" GMT")?;
        let years = [2000 + year, 1900 + year];
        let mut years = years.into_iter().filter(|year| *year <= SHORT_YEAR_MAX);
        Some(years.find_map(|year| midnight(weekday, year, month, day))? + time)
    }

    /// `Sun Nov  6 08:49:37 1994`
    fn asctime_date(&mut self) -> Option<i64> {
        let weekday = self.one_of(WEEKDAYS.map(|name| &name[..3]))?;
        self.literal(b" ")?;
        let month = self.one_of(MONTHS)?;
        self.literal(b" ")?;
        let day = if self.literal(b" ").is_some() { self.number(1)? } else { self.number(2)? };
        self.literal(b" ")?;
        let time = self.time()?;
        self.literal(b" ")?;
        let year = self.number(4)?;
        Some(midnight(weekday, year, month, day)? + time)
    }

    /// `08:49:37`, in seconds.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.literal(b":")?;
        let minute = self.number(2)?;
        self.literal(b":")?;
        let second = self.number(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some((hour * 60 + minute) * 60 + second.min(59))
    }

    fn literal(&mut self, text: &[u8]) -> Option<()> {
        let (start, rest) = self.0.split_at_checked(text.len())?;
        self.0 = start.eq_ignore_ascii_case(text).then_some(rest)?;
        Some(())
    }

    fn one_of<const N: usize>(&mut self, names: [&[u8]; N]) -> Option<i64> {
        (0_i64..).zip(names).find_map(|(index, name)| self.literal(name).map(|()| index))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    }
}

/// The start of a day, if there is such a day and it falls on that weekday. Months and weekdays count
/// from 0, days from 1.
fn midnight(weekday: i64, year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        1 if leap => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    // Years that begin in March have their leap day at the end, where it moves no other day. Before each
    // month of such a year lie 30.6 days a month, rounded, and before year 1970 lie 719468 days.
    let (years, months) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let leap_days = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let days = years * 365 + leap_days + (months * 153 + 2) / 5 + day - 1 - 719_468;
    // The first of January 1970 was a Thursday.
    let is_that_day = (1..=month_days).contains(&day) && (days + 4).rem_euclid(7) == weekday;
    is_that_day.then_some(days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn renders_the_date_of_the_rfc() {
        let date = RenderedDate::new(UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_table_of_dates() {
        for (text, want) in [
            // RFC 9110, 5.6.7: the three formats of one moment.
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun Nov 06 08:49:37 1994", Some(784_111_777)),
            // RFC 9111, 4.2: case does not matter to a cache.
            ("sun, 06 NOV 1994 08:49:37 gmt", Some(784_111_777)),
            ("SUNDAY, 06-nov-94 08:49:37 Gmt", Some(784_111_777)),
            ("SUN NOV  6 08:49:37 1994", Some(784_111_777)),
            // The edges of time.
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Wed, 31 Dec 1969 23:59:59 GMT", Some(-1)),
            ("Sat, 01 Jan 0000 00:00:00 GMT", Some(-62_167_219_200)),
            ("Mon, 01 Jan 0001 00:00:00 GMT", Some(-62_135_596_800)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            // 5.6.7: second = 2DIGIT, 60 for a leap second.
            ("Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_799)),
            ("Sat, 31 Dec 2016 23:59:61 GMT", None),
            ("Sat, 31 Dec 2016 23:60:00 GMT", None),
            ("Sat, 31 Dec 2016 24:00:00 GMT", None),
            // Leap years.
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
            ("Thu, 29 Feb 2024 00:00:00 GMT", Some(1_709_164_800)),
            ("Thu, 29 Feb 1900 00:00:00 GMT", None),
            ("Wed, 29 Feb 2023 00:00:00 GMT", None),
            ("Thu, 31 Nov 1994 00:00:00 GMT", None),
            ("Sun, 00 Nov 1994 00:00:00 GMT", None),
            // Another weekday than that day has.
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
            ("Mon Nov  6 08:49:37 1994", None),
            // 5.6.7: two digits never mean more than 50 years ahead.
            ("Thursday, 18-Aug-50 02:01:18 GMT", Some(2_544_400_878)),
            ("Friday, 18-Aug-50 02:01:18 GMT", Some(-611_359_122)),
            ("Wednesday, 06-Nov-75 00:00:00 GMT", Some(3_340_224_000)),
            ("Thursday, 06-Nov-75 00:00:00 GMT", Some(184_464_000)),
            ("Saturday, 06-Nov-94 08:49:37 GMT", None),
            ("Tuesday, 29-Feb-00 00:00:00 GMT", Some(951_782_400)),
            // RFC 9111, 4.2: any zone but GMT makes a date invalid.
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 Nov 1994 08:49:37 EST", None),
            ("Sun, 06 Nov 1994 08:49:37 +0000", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun Nov  6 08:49:37 1994 GMT", None),
            // What senders get wrong.
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("Sun,  6 Nov 1994 08:49:37 GMT", None),
            ("Sun,06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06  Nov 1994 08:49:37 GMT", None),
            ("Sun, 06-Nov-1994 08:49:37 GMT", None),
            ("Sun, 06-Nov-94 08:49:37 GMT", None),
            ("Sunday, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 8:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08.49.37 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
            (" Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT, x", None),
            ("Sun, 06 Nov +994 08:49:37 GMT", None),
            ("Sun Nov 6 08:49:37 1994", None),
            ("Sun, 06 Nov 19941 08:49:37 GMT", None),
            ("1994-11-06T08:49:37Z", None),
            ("784111777", None),
            ("-1", None),
            ("0", None),
            ("", None),
            (",", None),
            ("Sun,", None),
            ("Sun, 06 Nov 1994 08:49:37 G\u{1e9}T", None),
        ] {
            assert_eq!(parse(text.as_bytes()), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_again(moment in 0_u64..253_402_300_800) {
            let date = RenderedDate::new(UNIX_EPOCH + Duration::from_secs(moment));
            prop_assert_eq!(parse(date.as_bytes()), i64::try_from(moment).ok());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(parse(&bytes), None);
        }
    }
}
