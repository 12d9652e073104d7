//! Upstreams and their endpoints.

use super::Frame;
use super::files::{check_name, refuse_twice};
use super::said::{Either, EndpointSaid, EndpointTable, FileSaid, UpstreamSaid};
use crate::config::options::Fault;
use crate::config::problem::{Problem, quoted};
use crate::config::source::Place;
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
                endpoints.push(EndpointSettings { address, weight: 1 });
            }
            upstreams.push(UpstreamSettings {
                name: DEFAULT.to_owned(),
                endpoints,
                own_host: options.upstream_host.unwrap_or(false),
                limits: options.upstream_limits(),
            });
            places.push(said.options.origin.key);
        }
        for (name, table) in said.upstream.value.iter().flat_map(|map| &map.entries) {
            check_name(&At { place: name.place, value: &name.value }, self.reader);
            upstreams.push(self.upstream(name, &table.value, options));
            places.push(Some(name.place));
        }
        let names = upstreams.iter().map(|upstream| upstream.name.as_str()).zip(places.iter().copied());
        refuse_twice("upstream", names, self.sources, self.reader);
        (upstreams, places)
    }

    fn upstream(&self, name: &At<String>, own: &UpstreamSaid, options: &Options) -> UpstreamSettings {
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
            ..Options::default()
        };
        UpstreamSettings {
            name: name.value.clone(),
            endpoints: self.endpoints(own.endpoints.value.as_deref().unwrap_or_default()),
            own_host: own.upstream_host.value.or(options.upstream_host).unwrap_or(false),
            limits: both.upstream_limits(),
        }
    }

    fn endpoints(&self, said: &[At<EndpointSaid>]) -> Vec<EndpointSettings> {
        let mut endpoints: Vec<(EndpointSettings, Place)> = Vec::new();
        for endpoint in said {
            let (address, weight) = match &endpoint.value {
                Either::Short(address) => (Some(address), 1),
                Either::Long(EndpointTable { address, weight, unknown, .. }) => {
                    if !address.is_there() && *unknown == 0 {
                        self.reader.error(endpoint.place, "has no `address`");
                    }
                    (address.value.as_ref(), weight.value.map_or(1, |weight| weight.number()))
                }
            };
            let Some(address) = address else { continue };
            if let Some((_, first)) = endpoints.iter().find(|(other, _)| other.address == *address) {
                let message = format!("{address} is there twice: first at {}", self.sources.line(*first));
                let help = "to give it more requests, say `{ address = \"…\", weight = 2 }`";
                self.reader.add(Problem::error(endpoint.place, message).with_help(help));
            }
            endpoints.push((EndpointSettings { address: address.clone(), weight }, endpoint.place));
        }
        endpoints.into_iter().map(|(endpoint, _)| endpoint).collect()
    }
}
