//! What is checked of requests: networks, and bounds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use super::Known;
use super::said_security::{AccessTable, ClientsSaid, RequestLimitsTable, SecuritySaid};
use crate::config::network::{has_comment, networks};
use crate::config::problem::{Problem, quoted};
use crate::config::quantity::Size;
use crate::config::security::{Access, Clients, Entry, NetworkFile, RequestLimits, Security};
use crate::config::source::{self, Place};
use crate::config::table::{At, Said};
use crate::http::fields::is_token;

/// What files with networks say, or what is wrong with them: many routes may name the same one.
pub(super) type NetworkFiles = RefCell<HashMap<PathBuf, Result<(Arc<[IpNet]>, bool), String>>>;

impl Known<'_, '_> {
    /// What a listener or a route says about it.
    pub(super) fn security(&self, said: &SecuritySaid) -> Security {
        Security {
            access: said.access.value.as_ref().and_then(|table| self.access(&said.access, table)),
            limits: said.request_limits.value.as_ref().map(|table| self.request_limits(table)),
        }
    }

    fn access(&self, said: &Said<Box<AccessTable>>, table: &AccessTable) -> Option<Access> {
        if let Some(place) = said.place.filter(|_| table.count == 0) {
            let problem = Problem::error(place, "says nothing");
            self.reader.add(problem.with_help("say who is let in with `allow`, or who is not with `deny`"));
            return None;
        }
        let list = |said: &Said<Vec<At<ClientsSaid>>>| {
            if let Some((place, _)) = said.at().filter(|(_, list)| list.is_empty() && !said.is_wrong) {
                let problem = Problem::error(place, "has nobody in it");
                self.reader.add(problem.with_help("nobody is let in with deny = \"all\""));
            }
            self.network_clients(said.value.iter().flatten())
        };
        Some(Access { allow: list(&table.allow), deny: list(&table.deny) })
    }

    fn network_clients<'s>(&self, said: impl Iterator<Item = &'s At<ClientsSaid>>) -> Clients {
        let mut clients = Clients::default();
        for At { place, value: ClientsSaid(entry) } in said {
            match entry {
                Entry::Network(network) => clients.networks.push(*network),
                Entry::All => clients.all = true,
                Entry::Unix => clients.unix = true,
                Entry::File(path) => {
                    let beside = self.sources.file(*place).map_or(Path::new(""), |source| &source.path);
                    let path = source::absolute(&source::beside(beside, path));
                    match self.networks_in(&path) {
                        Ok((networks, says_so)) => {
                            if networks.is_empty() && !says_so {
                                self.warn_of_empty(*place, "networks", "it means nobody");
                            }
                            clients.files.push(NetworkFile { path, networks });
                        }
                        Err(why) => {
                            self.reader.error(*place, format!("{}: {why}", path.display()));
                        }
                    }
                }
            }
        }
        clients
    }

    /// Warns of a file without entries, which may not be what was wanted.
    pub(super) fn warn_of_empty(&self, place: Place, what: &str, so: &str) {
        let problem = Problem::warning(place, format!("the file has no {what} in it: {so}"));
        self.reader.add(problem.with_help("a line that begins with # says that this is meant"));
    }

    /// The networks in a file, and whether it says that there are to be none.
    fn networks_in(&self, path: &Path) -> Result<(Arc<[IpNet]>, bool), String> {
        let mut files = self.network_files.borrow_mut();
        let read = || {
            let text = source::text(path)?;
            Ok((networks(&text)?.into(), has_comment(&text)))
        };
        files.entry(path.to_owned()).or_insert_with(read).clone()
    }

    fn request_limits(&self, said: &RequestLimitsTable) -> RequestLimits {
        let size = |said: &Said<Size>| said.value.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX));
        let methods = self.methods(&said.method);
        let connect = said.method.value.iter().flatten().filter(|method| method.value == "CONNECT");
        connect.for_each(|method| self.reader.error(method.place, "CONNECT is never served"));
        for (place, what) in [
            (said.max_target.at().filter(|(_, size)| size.0 == 0).map(|(place, _)| place), "a target"),
            (said.max_field.at().filter(|(_, size)| size.0 == 0).map(|(place, _)| place), "fields"),
            (said.max_fields.at().filter(|(_, count)| **count == 0).map(|(place, _)| place), "fields"),
        ] {
            if let Some(place) = place {
                self.reader.error(place, format!("would serve nothing: every request has {what}"));
            }
        }
        for (place, what) in [
            (said.method.at().map(|(place, list)| (place, list.len())), "methods"),
            (said.content_type.at().map(|(place, list)| (place, list.len())), "types"),
        ]
        .into_iter()
        .filter_map(|(at, what)| at.filter(|(_, count)| *count == 0).map(|(place, _)| (place, what)))
        {
            self.reader.error(place, format!("has no {what} in it, so that nothing would be served"));
        }
        let mut content_types = Vec::new();
        for said in said.content_type.value.iter().flatten() {
            let lower = said.value.to_ascii_lowercase();
            let is_type = lower.split_once('/').is_some_and(|(kind, of)| {
                is_token(kind.as_bytes())
                    && kind != "*"
                    && is_token(of.as_bytes())
                    && (of == "*" || !of.contains('*'))
            });
            match is_type {
                true => content_types.push(lower),
                false => {
                    let message = format!(
                        "{} is no type of content; types are written like application/json or text/*, without parameters",
                        quoted(&said.value)
                    );
                    self.reader.error(said.place, message);
                }
            }
        }
        RequestLimits {
            methods,
            target_bytes_max: size(&said.max_target),
            query_bytes_max: size(&said.max_query),
            parameters_max: said.max_parameters.value,
            field_bytes_max: size(&said.max_field),
            fields_max: said.max_fields.value,
            content_types,
        }
    }
}
