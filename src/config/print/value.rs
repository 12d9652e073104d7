//! Values as people write them, and exactly: each is read back as what it was.

use std::fmt::Display;
use std::time::Duration;

use toml_edit::{Array, InlineTable, Item, Table, Value};

use crate::config::quantity;

/// A list that is longer than this has a line for each of its members.
const LIST_CHARS_MAX: usize = 100;

/// A table that is being written, with comments between its keys.
#[derive(Default)]
pub(super) struct Section {
    table: Table,
    /// What stands in front of the next key.
    pending: String,
}

impl Section {
    /// Puts a key at the end.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.table.insert(key, Item::Value(value.into()));
        if let Some(mut key) = self.table.key_mut(key) {
            key.leaf_decor_mut().set_prefix(std::mem::take(&mut self.pending));
        }
    }

    /// Puts a key at the end, or the comment that says what holds without it.
    pub(super) fn set_or_say(&mut self, key: &str, value: Option<Value>, otherwise: &str) {
        match value {
            Some(value) => self.set(key, value),
            None => self.comment(&format!("{key}: {otherwise}")),
        }
    }

    /// Puts a comment in front of the next key.
    pub(super) fn comment(&mut self, comment: &str) {
        self.pending.push_str("# ");
        self.pending.push_str(comment);
        self.pending.push('\n');
    }

    /// Begins a group of keys.
    pub(super) fn group(&mut self, comment: &str) {
        self.pending.push('\n');
        self.comment(comment);
    }

    /// The table. Every section ends with a key, so that no comment is left.
    pub(super) fn into_table(self) -> Table {
        debug_assert!(self.pending.is_empty(), "a comment without a key: {}", self.pending);
        self.table
    }
}

/// A text that stands for itself: what would name a variable is written so that it does not.
pub(super) fn text<T: Display + ?Sized>(value: &T) -> Value {
    value.to_string().replace("${", "$${").into()
}

/// A number of things. The numbers of a file end at 2^63 - 1, which no machine has of anything.
pub(super) fn number(count: usize) -> Value {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

/// A size: `32KiB`, or `4097B` where no larger unit comes out even.
pub(super) fn size(bytes: impl TryInto<u64>) -> Value {
    let bytes = bytes.try_into().unwrap_or(u64::MAX);
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let even = units.iter().find(|(_, unit)| bytes > 0 && bytes % unit == 0);
    let (unit, factor) = even.unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor).into()
}

/// A time: `90s`, `1500ms`, `1h`.
pub(super) fn time(time: Duration) -> Value {
    quantity::written(time).into()
}

/// A list, on several lines if it is long.
pub(super) fn list(values: impl IntoIterator<Item = Value>) -> Value {
    let mut list = Array::from_iter(values);
    Array::fmt(&mut list);
    if list.to_string().chars().count() > LIST_CHARS_MAX {
        list.iter_mut().for_each(|value| value.decor_mut().set_prefix("\n    "));
        list.set_trailing("\n");
        list.set_trailing_comma(true);
    }
    list.into()
}

/// One value as itself, several as a list.
pub(super) fn one_or_list(values: impl IntoIterator<Item = Value>) -> Value {
    let mut values: Vec<Value> = values.into_iter().collect();
    match values.len() {
        1 => values.remove(0),
        _ => list(values),
    }
}

/// A table within a line.
pub(super) fn table<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
    let mut table = InlineTable::new();
    for (key, value) in entries {
        table.insert(key, value);
    }
    table.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::quantity::{Size, Span};

    fn written(value: &Value) -> String {
        value.as_str().unwrap().to_owned()
    }

    #[test]
    fn times_are_written_in_the_largest_unit_that_comes_out_even() {
        for (time_, want) in [
            (Duration::from_secs(75), "75s"),
            (Duration::from_secs(60), "1m"),
            (Duration::from_secs(5400), "90m"),
            (Duration::from_secs(3600), "1h"),
            (Duration::from_secs(86400), "1d"),
            (Duration::from_millis(1500), "1500ms"),
            (Duration::from_millis(1), "1ms"),
            (Duration::from_nanos(1_000_000_001), "1s 1ns"),
        ] {
            assert_eq!(written(&time(time_)), want);
        }
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_comes_out_even() {
        for (bytes, want) in [
            (0, "0B"),
            (1, "1B"),
            (4096, "4KiB"),
            (4097, "4097B"),
            (3 << 20, "3MiB"),
            (1 << 40, "1024GiB"),
            (u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(written(&size(bytes)), want);
        }
    }

    #[test]
    fn a_text_that_looks_like_a_variable_stands_for_itself() {
        for (value, want) in [("${A}", "$${A}"), ("$${A}", "$$${A}"), ("$A {A}", "$A {A}")] {
            assert_eq!(written(&text(value)), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn times_and_sizes_are_read_back(seconds in 0u64.., nanos in 0u32..1_000_000_000, bytes in 0u64.., shift in 0u32..64) {
            let (seconds, bytes) = (seconds >> shift, bytes >> shift << (shift / 2));
            let exact = Duration::new(seconds, nanos);
            for value in [exact, Duration::from_secs(seconds), Duration::from_millis(seconds)] {
                if !value.is_zero() {
                    let read: Span = written(&time(value)).parse().unwrap();
                    assert_eq!(read.0, value);
                }
            }
            let read: Size = written(&size(bytes)).parse().unwrap();
            assert_eq!(read.0, bytes);
        }
    }
}
