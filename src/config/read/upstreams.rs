//! Upstreams and their endpoints.

use std::path::Path;

use super::Frame;
use super::files::{check_name, refuse_twice};
use super::said::{Either, FileSaid};
use super::said_upstream::{AtLeastOne, EndpointSaid, EndpointTable, UpstreamSaid};
use super::upkeep;
use crate::config::options::Fault;
use crate::config::problem::{Problem, quoted};
use crate::config::source::{self, Place};
use crate::config::table::At;
use crate::config::{EndpointAddress, EndpointSettings, Options, UpstreamSettings};

/// The name of the upstream that `origin` makes.
pub(super) const DEFAULT: &str = "default";

impl Frame<'_, '_> {
    /// Makes the upstreams: the one of `origin`, and those of the file.
    pub(super) fn upstreams(
        &self,
        said: &FileSaid,
        options: &Options,
    ) -> (Vec<UpstreamSettings>, Vec<Option<Place>>) {
        let mut upstreams = Vec::new();
        let mut places = Vec::new();
        if let Some(origins) = options.origin.as_ref().filter(|origins| !origins.is_empty()) {
            let mut endpoints: Vec<EndpointSettings> = Vec::new();
            for origin in origins {
                let address = EndpointAddress::from(origin);
                if endpoints.iter().any(|other| other.address == address) {
                    let fault = Fault::new("origin", format!("{origin} is there twice"));
                    self.blame_all(vec![fault], &|key| said.options.place(key), None);
                }
                endpoints.push(EndpointSettings::new(address));
            }
            upstreams.push(UpstreamSettings {
                own_host: options.upstream_host.unwrap_or(false),
                balance: upkeep::balance(options.balance.unwrap_or_default()),
                retry: options.retry(),
                limits: options.upstream_limits(),
                ..UpstreamSettings::new(DEFAULT, endpoints)
            });
            places.push(said.options.origin.key);
        }
        for (name, table) in said.upstream.value.iter().flat_map(|map| &map.entries) {
            check_name(&At { place: name.place, value: &name.value }, self.reader);
            upstreams.push(self.upstream(name, &table.value, said, options));
            places.push(Some(name.place));
        }
        let names = upstreams.iter().map(|upstream| upstream.name.as_str()).zip(places.iter().copied());
        refuse_twice("upstream", names, self.sources, self.reader);
        (upstreams, places)
    }

    fn upstream(
        &self,
        name: &At<String>,
        own: &UpstreamSaid,
        said: &FileSaid,
        options: &Options,
    ) -> UpstreamSettings {
        match own.endpoints.at() {
            Some((place, list)) if list.is_empty() && !own.endpoints.is_wrong => {
                self.reader.error(place, "must have at least one endpoint")
            }
            None if !own.endpoints.is_there() && own.unknown == 0 => {
                let message = format!("upstream {} has no `endpoints`", quoted(&name.value));
                self.reader.error(name.place, message);
            }
            _ => {}
        }
        let both = Options {
            connect_timeout: own.connect_timeout.value.or(options.connect_timeout),
            first_byte_timeout: own.first_byte_timeout.value.or(options.first_byte_timeout),
            upstream_timeout: own.upstream_timeout.value.or(options.upstream_timeout),
            pool_timeout: own.pool_timeout.value.or(options.pool_timeout),
            pool_size: own.pool_size.value.or(options.pool_size),
            retries: own.retries.value.or(options.retries),
            tcp_keepalive: own.tcp_keepalive.value.or(options.tcp_keepalive),
            tcp_user_timeout: own.tcp_user_timeout.value.or(options.tcp_user_timeout),
            ..Options::default()
        };
        let upstream = UpstreamSettings {
            own_host: own.upstream_host.value.or(options.upstream_host).unwrap_or(false),
            limits: both.upstream_limits(),
            ..UpstreamSettings::new(name.value.clone(), self.endpoints(own))
        };
        let is_wrong = match own.balance.is_there() {
            true => own.balance.is_wrong,
            false => said.options.balance.is_wrong,
        };
        let policy = own.balance.value.or(options.balance).unwrap_or_default();
        self.upkeep(upstream, own, options, Some(policy).filter(|_| !is_wrong))
    }

    fn endpoints(&self, own: &UpstreamSaid) -> Vec<EndpointSettings> {
        let mut endpoints: Vec<(EndpointSettings, Place)> = Vec::new();
        for said in own.endpoints.value.iter().flatten() {
            let Some(endpoint) = self.endpoint(said, own) else { continue };
            let address = &endpoint.address;
            if let Some((_, first)) = endpoints.iter().find(|(other, _)| other.address == *address) {
                let message = format!("{address} is there twice: first at {}", self.sources.line(*first));
                let help = "to give it more requests, say `{ address = \"…\", weight = 2 }`";
                self.reader.add(Problem::error(said.place, message).with_help(help));
            }
            endpoints.push((endpoint, said.place));
        }
        if let Some(place) = own.endpoints.place
            && !own.endpoints.is_wrong
            && !endpoints.is_empty()
            && endpoints.iter().all(|(endpoint, _)| endpoint.backup)
        {
            self.reader.error(place, "must have an endpoint that is no backup");
        }
        endpoints.into_iter().map(|(endpoint, _)| endpoint).collect()
    }

    fn endpoint(&self, said: &At<EndpointSaid>, own: &UpstreamSaid) -> Option<EndpointSettings> {
        let short = EndpointTable::default();
        let (address, table) = match &said.value {
            Either::Short(address) => (Some(address), &short),
            Either::Long(table) => {
                if !table.address.is_there() && table.unknown == 0 {
                    self.reader.error(said.place, "has no `address`");
                }
                (table.address.value.as_ref(), table)
            }
        };
        let address = match address? {
            // It is read again and again, from wherever the proxy is then.
            EndpointAddress::File(path) => {
                let beside = self.sources.file(said.place).map_or(Path::new(""), |source| &source.path);
                EndpointAddress::File(source::absolute(&source::beside(beside, path)))
            }
            address => address.clone(),
        };
        let count =
            |own: Option<AtLeastOne>, all: Option<AtLeastOne>| own.or(all).map(|count| count.number());
        Some(EndpointSettings {
            address,
            weight: table.weight.value.map_or(1, |weight| weight.number()),
            backup: table.backup.value.unwrap_or(false),
            connections_max: count(table.max_connections.value, own.max_connections.value),
            requests_max: count(table.max_requests.value, own.max_requests.value),
        })
    }
}
