//! Reading the tables of a file: each value with its place, each mistake as a problem there, and all of them, not
//! just the first.
//!
//! A table is declared once, with `tables!`: as a structure whose fields are the keys. The declaration makes the
//! static [`Table`] that describes the keys, and the reading of exactly those.

use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::keys::{Kind, Table};
use super::problem::{Problem, quoted};
pub(super) use super::reader::{Reader, Value};
use super::source::Place;

/// Something with the place where it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// What was said for a key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said<T> {
    /// Where, if anything was said: the value.
    pub(super) place: Option<Place>,
    /// Where, if anything was said: the key.
    pub(super) key: Option<Place>,
    /// What was said, as far as it could be read.
    pub(super) value: Option<T>,
    /// Whether something about it is wrong, which has been reported then.
    pub(super) is_wrong: bool,
}

impl<T> Default for Said<T> {
    fn default() -> Said<T> {
        Said { place: None, key: None, value: None, is_wrong: false }
    }
}

impl<T> Said<T> {
    /// Whether anything was said, right or wrong.
    pub(super) fn is_there(&self) -> bool {
        self.place.is_some()
    }

    /// What was said, with its place.
    pub(super) fn at(&self) -> Option<(Place, &T)> {
        self.place.zip(self.value.as_ref())
    }
}

/// The values of a table, taken one by one, so that what nobody took is unknown.
pub(super) struct Entries<'a> {
    file: usize,
    table: &'a DeTable<'a>,
}

impl<'a> Entries<'a> {
    /// The values of a table, if the value is one.
    pub(super) fn of(value: Value<'a>, kind: &Kind, reader: &Reader<'_>) -> Option<Entries<'a>> {
        match value.get() {
            DeValue::Table(table) => Some(Entries { file: value.file, table }),
            _ => reader.wrong_type(value, kind),
        }
    }

    /// The values of a whole file.
    pub(super) fn whole(file: usize, table: &'a DeTable<'a>) -> Entries<'a> {
        Entries { file, table }
    }

    /// What is said for a key.
    pub(super) fn take<T: FromValue>(&self, key: &str, reader: &Reader<'_>) -> Said<T> {
        match self.table.get_key_value(key) {
            None => Said::default(),
            Some((key, spanned)) => {
                let value = Value { file: self.file, spanned };
                let errors = reader.errors();
                let read = T::read(value, reader);
                Said {
                    place: Some(value.place()),
                    key: Some(Place::new(self.file, key.span())),
                    value: read,
                    is_wrong: reader.errors() > errors,
                }
            }
        }
    }

    /// How many keys there are.
    pub(super) fn count(&self) -> usize {
        self.table.len()
    }

    /// Says of each key that the table does not have that it is unknown. Returns how many those are.
    pub(super) fn refuse_unknown(&self, table: &Table, reader: &Reader<'_>) -> usize {
        let errors = reader.errors();
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if table.all().any(|known| known.name == name) {
                continue;
            }
            let place = Place::new(self.file, key.span());
            let problem = Problem::error(place, format!("unknown key {}", quoted(name)));
            reader.add(match super::suggest::key(name, table) {
                Some(help) => problem.with_help(help),
                None => problem,
            });
        }
        reader.errors() - errors
    }

    /// Keys and values, in the order of the file.
    fn in_order(&self) -> Vec<(At<String>, Value<'a>)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, spanned)| {
                let name = At {
                    place: Place::new(self.file, key.span()),
                    value: key.get_ref().clone().into_owned(),
                };
                (name, Value { file: self.file, spanned })
            })
            .collect();
        entries.sort_by_key(|(name, _)| name.place.start);
        entries
    }
}

/// Something that can be read from a value of a file.
pub(super) trait FromValue: Sized {
    /// What it takes.
    const KIND: &'static Kind;

    /// Reads it; `None` is reported before it is returned.
    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Self>;
}

impl<T: FromValue> FromValue for At<T> {
    const KIND: &'static Kind = T::KIND;

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<At<T>> {
        T::read(value, reader).map(|read| At { place: value.place(), value: read })
    }
}

/// One, or a list.
impl<T: FromValue> FromValue for Vec<T> {
    const KIND: &'static Kind = &Kind::OneOrMore(T::KIND);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Vec<T>> {
        match value.get() {
            DeValue::Array(list) => Some(reader.list(value.file, list)),
            _ => T::read(value, reader).map(|one| vec![one]),
        }
    }
}

/// A list, also where there is but one.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T: FromValue> FromValue for List<T> {
    const KIND: &'static Kind = &Kind::List(T::KIND);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<List<T>> {
        match value.get() {
            DeValue::Array(list) => Some(List(reader.list(value.file, list))),
            _ => reader.wrong_type(value, Self::KIND),
        }
    }
}

/// A table with any keys, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Map<T> {
    /// The keys, and those of their values that can be read.
    pub(super) entries: Vec<(At<String>, At<T>)>,
    /// The other keys.
    pub(super) wrong: Vec<String>,
}

impl<T> Map<T> {
    /// Adds another.
    pub(super) fn extend(&mut self, more: Map<T>) {
        self.entries.extend(more.entries);
        self.wrong.extend(more.wrong);
    }
}

impl<T: FromValue> FromValue for Map<T> {
    const KIND: &'static Kind = &Kind::MapOf(T::KIND);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Map<T>> {
        let mut map = Map { entries: Vec::new(), wrong: Vec::new() };
        for (key, value) in Entries::of(value, Self::KIND, reader)?.in_order() {
            match At::read(value, reader) {
                Some(read) => map.entries.push((key, read)),
                None => map.wrong.push(key.value),
            }
        }
        Some(map)
    }
}

impl FromValue for String {
    const KIND: &'static Kind = &Kind::Text("");

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<String> {
        reader.text(value, Self::KIND)
    }
}

impl FromValue for bool {
    const KIND: &'static Kind = &Kind::Truth;

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<bool> {
        reader.truth(value, Self::KIND)
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl FromValue for $type {
            const KIND: &'static Kind = &Kind::Integer { min: 0, max: <$type>::MAX as u64 };

            fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<$type> {
                reader.integer(value, Self::KIND).and_then(|number| <$type>::try_from(number).ok())
            }
        }
    )*};
}

integers!(u16, u32, usize);

/// Reads a text by its `FromStr`.
pub(super) fn from_text<T>(value: Value<'_>, kind: &Kind, reader: &Reader<'_>) -> Option<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    reader.parsed(value, kind, str::parse)
}

/// Declares what is written as a text, with its kind.
macro_rules! texts {
    ($($type:ty: $kind:expr;)*) => {$(
        impl $crate::config::table::FromValue for $type {
            const KIND: &'static $crate::config::keys::Kind = &$kind;

            fn read(
                value: $crate::config::table::Value<'_>,
                reader: &$crate::config::table::Reader<'_>,
            ) -> Option<$type> {
                $crate::config::table::from_text(value, Self::KIND, reader)
            }
        }
    )*};
}
pub(super) use texts;

/// Declares tables: a structure with what was said for each key, and the static [`Table`] that describes the keys. A
/// key without a doc comment is an option of the command line too, and means the same.
macro_rules! tables {
    ($(
        $(#[doc = $about:literal])+
        $name:ident = $table:ident $title:literal {
            $($(#[doc = $doc:literal])* $key:ident: $type:ty,)*
            $(..$part:ident: $part_type:ident = $part_table:ident,)*
        }
    )*) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default)]
        pub(super) struct $name {
            $($(#[doc = $doc])* pub(super) $key: $crate::config::table::Said<$type>,)*
            $(pub(super) $part: $part_type,)*
            /// How many keys there are.
            #[allow(dead_code, reason = "not every table is asked")]
            pub(super) count: usize,
            /// How many of them are unknown.
            #[allow(dead_code, reason = "not every table is asked")]
            pub(super) unknown: usize,
        }

        $(#[doc = $about])+
        #[allow(unreachable_pub, reason = "all but the outermost are reached through it")]
        pub static $table: $crate::config::keys::Table = $crate::config::keys::Table {
            name: $title,
            doc: $crate::config::keys::doc("", concat!($($about),+), &[]),
            keys: &[$($crate::config::keys::KeyInfo {
                name: $crate::config::keys::key!($key),
                kind: <$type as $crate::config::table::FromValue>::KIND,
                doc: $crate::config::keys::doc(
                    $crate::config::keys::key!($key),
                    concat!($($doc),*),
                    $crate::config::options::KEYS,
                ),
            },)*],
            also: &[$(&$part_table,)*],
        };

        impl $name {
            /// Takes its keys, and leaves the others.
            pub(super) fn take(
                entries: &$crate::config::table::Entries<'_>,
                reader: &$crate::config::table::Reader<'_>,
            ) -> $name {
                $name {
                    $($key: entries.take($crate::config::keys::key!($key), reader),)*
                    $($part: $part_type::take(entries, reader),)*
                    count: entries.count(),
                    unknown: 0,
                }
            }

            /// Where something was said for this key: the value.
            #[allow(dead_code, reason = "not every table is asked")]
            pub(super) fn place(&self, key: &str) -> Option<$crate::config::source::Place> {
                $(if key == $crate::config::keys::key!($key) { return self.$key.place; })*
                $(if let Some(place) = self.$part.place(key) { return Some(place); })*
                None
            }
        }

        impl $crate::config::table::FromValue for $name {
            const KIND: &'static $crate::config::keys::Kind = &$crate::config::keys::Kind::Table(|| &$table);

            fn read(
                value: $crate::config::table::Value<'_>,
                reader: &$crate::config::table::Reader<'_>,
            ) -> Option<$name> {
                let entries = $crate::config::table::Entries::of(value, Self::KIND, reader)?;
                let unknown = entries.refuse_unknown(&$table, reader);
                Some($name { unknown, ..$name::take(&entries, reader) })
            }
        }
    )*};
}
pub(super) use tables;
