//! Lists of endpoints in files, read again when they change.
//!
//! ```text
//!   endpoints.json   ["10.0.0.1:9001", {"address": "unix:/run/a.sock", "weight": 2}]     or {"endpoints": [...]}
//!   endpoints.toml   endpoints = ["10.0.0.1:9001", { address = "app.internal:80", backup = true }]
//! ```
//!
//! An empty list means that there are no endpoints; an empty file is no list. Whoever writes such a file replaces it
//! as a whole, by renaming another or by changing a symbolic link: what is written in place may be read half-written,
//! and half a TOML file can look like a whole one.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::discover::MEMBERS_MAX;
use crate::config::{EndpointAddress, EndpointSettings};
use crate::limits::{KIB, WEIGHT_MAX};
use crate::server::watched::{Watched, line_of, shown};

/// Bytes of the largest file that is read.
const FILE_BYTES_MAX: usize = 1024 * KIB;

/// The most endpoints that a file can list: as many as an upstream can have.
const ENDPOINTS_MAX: usize = MEMBERS_MAX;

/// Bytes of the longest address of an endpoint.
const ADDRESS_BYTES_MAX: usize = 512;

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Follower {
    file: Watched,
    /// What was told last.
    told: Option<Result<Vec<EndpointSettings>, String>>,
}

impl Follower {
    /// Nothing has been read yet.
    pub(super) fn new(path: PathBuf) -> Follower {
        Follower { file: Watched::new(path), told: None }
    }

    /// What the file says, if that is not what it said when it was asked last; to be called about once a second. Never
    /// waits for more than a local disk.
    pub(super) fn look(&mut self) -> Option<Result<Vec<EndpointSettings>, String>> {
        if self.told.is_some() && !self.file.may_have_changed() {
            return None;
        }
        let says = self.read().map_err(|why| shown(&format!("{}: {why}", self.file.path().display())));
        if self.told.as_ref() == Some(&says) {
            return None;
        }
        self.told = Some(says.clone());
        Some(says)
    }

    fn read(&mut self) -> Result<Vec<EndpointSettings>, String> {
        let parse = match self.file.path().extension().and_then(|ending| ending.to_str()) {
            Some("json") => of_json,
            Some("toml") => of_toml,
            _ => return Err("the name of a list of endpoints ends with .json or .toml".to_owned()),
        };
        parse(&self.file.read(FILE_BYTES_MAX)?)
    }
}

fn of_json(text: &str) -> Result<Vec<EndpointSettings>, String> {
    serde_json::from_str::<List>(text).map(|list| list.0).map_err(|error| {
        let (message, place) =
            (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
        format!("line {}: {}", error.line(), message.strip_suffix(&place).unwrap_or(&message))
    })
}

fn of_toml(text: &str) -> Result<Vec<EndpointSettings>, String> {
    toml::from_str::<List>(text).map(|list| list.0).map_err(|error| match error.span() {
        Some(span) => format!("{}: {}", line_of(text.as_bytes(), span.start), error.message()),
        None => error.message().to_owned(),
    })
}

/// A whole file: a list, or a table with one in it.
struct List(Vec<EndpointSettings>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    endpoints: Endpoints,
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<List, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of endpoints, or a table with `endpoints`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<List, A::Error> {
                AllOf.visit_seq(list).map(|all| List(all.0))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<List, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(table)).map(|table| List(table.endpoints.0))
            }
        }
        from.deserialize_any(Whole)
    }
}

/// A list of endpoints, none of them twice.
struct Endpoints(Vec<EndpointSettings>);

/// Reads one.
struct AllOf;

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Endpoints, D::Error> {
        from.deserialize_seq(AllOf)
    }
}

impl<'de> Visitor<'de> for AllOf {
    type Value = Endpoints;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of endpoints")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Endpoints, A::Error> {
        let (mut all, mut addresses) = (Vec::new(), HashSet::new());
        while let Some(Endpoint(endpoint)) = list.next_element()? {
            if all.len() == ENDPOINTS_MAX {
                return Err(A::Error::custom(format_args!("there are more than {ENDPOINTS_MAX} endpoints")));
            }
            if !addresses.insert(endpoint.address.clone()) {
                return Err(A::Error::custom(format_args!("{} is there twice", endpoint.address)));
            }
            all.push(endpoint);
        }
        Ok(Endpoints(all))
    }
}

/// An endpoint: its address, or a table with that.
struct Endpoint(EndpointSettings);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EndpointTable {
    address: Address,
    #[serde(default, deserialize_with = "said")]
    weight: Option<u32>,
    #[serde(default)]
    backup: bool,
    #[serde(default, deserialize_with = "said")]
    max_connections: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "said")]
    max_requests: Option<NonZeroU32>,
}

/// A value that is there is no null.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Endpoint, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Endpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"10.0.0.1:9001\", or a table with `address`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Endpoint, E> {
                Ok(Endpoint(EndpointSettings::new(address(text)?)))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Endpoint, A::Error> {
                let table = EndpointTable::deserialize(MapAccessDeserializer::new(table))?;
                let weight = table.weight.unwrap_or(1);
                if !(1..=WEIGHT_MAX).contains(&weight) {
                    let message = format_args!("weight is {weight}, and must be from 1 to {WEIGHT_MAX}");
                    return Err(A::Error::custom(message));
                }
                Ok(Endpoint(EndpointSettings {
                    weight,
                    backup: table.backup,
                    connections_max: table.max_connections.map(NonZeroU32::get),
                    requests_max: table.max_requests.map(NonZeroU32::get),
                    ..EndpointSettings::new(table.address.0)
                }))
            }
        }
        from.deserialize_any(One)
    }
}

/// The address of one endpoint.
struct Address(EndpointAddress);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Address;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"10.0.0.1:9001\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
                address(text).map(Address)
            }
        }
        from.deserialize_str(Text)
    }
}

fn address<E: serde::de::Error>(text: &str) -> Result<EndpointAddress, E> {
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(E::custom("an address is too long"));
    }
    if text.starts_with("file:") || text.starts_with("srv:") {
        return Err(E::custom(format_args!(
            "{text:?} cannot stand in a list of endpoints, only in the configuration"
        )));
    }
    match text.parse().map_err(E::custom)? {
        address @ (EndpointAddress::Tcp(..) | EndpointAddress::Unix(_)) => Ok(address),
        EndpointAddress::Srv(_) | EndpointAddress::File(_) => {
            Err(E::custom(format_args!("{text:?} cannot stand in a list of endpoints")))
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
