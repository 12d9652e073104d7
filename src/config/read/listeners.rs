//! Listeners: their addresses, none of which may be taken twice, and their limits.

use super::files::{check_name, refuse_twice};
use super::said::{FileSaid, ListenerSaid};
use super::{Blame, Frame};
use crate::config::clients::ClientLimits;
use crate::config::problem::{Problem, quoted};
use crate::config::source::Place;
use crate::config::table::At;
use crate::config::{AdminSettings, Host, ListenAddress, ListenerSettings, Options, Traffic};
use crate::limits::ListenerLimits;

/// The host and the port where nothing is said.
const HOST_DEFAULT: &str = "127.0.0.1";
const PORT_DEFAULT: u16 = 8080;

/// The name of the listener that `host` and `port` make.
const DEFAULT: &str = "default";

/// An address with the place where it was said, and the name of its listener.
struct Taken<'a> {
    listener: &'a str,
    address: &'a ListenAddress,
    place: Option<Place>,
}

impl Frame<'_, '_> {
    /// Makes the listeners of `options`, or of the file where it has some. `flags` are those options that do not come
    /// from the file.
    pub(super) fn listeners(
        &self,
        said: &FileSaid,
        options: &Options,
        flags: &Options,
    ) -> (Vec<ListenerSettings>, Vec<Option<Place>>) {
        let in_file: &[(At<String>, At<ListenerSaid>)] =
            said.listener.value.as_ref().map_or(&[], |map| &map.entries[..]);
        if in_file.is_empty() {
            let address = listen_address(None, options);
            let mut faults = Vec::new();
            let limits = options.listener_limits(&mut faults);
            self.blame_all(faults, &|key| said.options.place(key), None);
            let trusted = options.trusted_proxy.clone().unwrap_or_default();
            let listener = ListenerSettings {
                name: DEFAULT.to_owned(),
                addresses: vec![address],
                limits,
                trusted,
                proxy_protocol: Vec::new(),
                clients: ClientLimits::NONE,
                traffic: Traffic::default(),
            };
            let place = said.options.port.place.or(said.options.host.place);
            self.refuse_overlaps(&[(&listener, place.into_iter().collect())]);
            return (vec![listener], vec![place]);
        }
        self.refuse_host_and_port(said, in_file);
        let mut listeners = Vec::new();
        let mut places = Vec::new();
        for (name, table) in in_file {
            check_name(&At { place: name.place, value: &name.value }, self.reader);
            let (addresses, at) = self.addresses(name, &table.value);
            listeners.push(ListenerSettings {
                name: name.value.clone(),
                addresses,
                limits: self.limits(&table.value, options, name.place),
                proxy_protocol: table.value.proxy_protocol.value.clone().unwrap_or_default(),
                trusted: (table.value.trusted_proxy.value.clone())
                    .or_else(|| options.trusted_proxy.clone())
                    .unwrap_or_default(),
                // Filled in when everything is known that it may refer to.
                clients: ClientLimits::NONE,
                traffic: Traffic::default(),
            });
            places.push(at);
        }
        let names = in_file.iter().map(|(name, _)| (name.value.as_str(), Some(name.place)));
        refuse_twice("listener", names, self.sources, self.reader);
        if flags.host.is_some() || flags.port.is_some() {
            match &mut listeners[..] {
                [only] => {
                    only.addresses = vec![listen_address(Some(&only.addresses), flags)];
                    places = vec![Vec::new()];
                }
                several => self.reader.add(Problem::nowhere(format!(
                    "--host and --port are for a file with one listener; this one has {}: {}",
                    several.len(),
                    several.iter().map(|listener| listener.name.as_str()).collect::<Vec<_>>().join(", ")
                ))),
            }
        }
        let with_places: Vec<_> = listeners.iter().zip(places).collect();
        self.refuse_overlaps(&with_places);
        let names = in_file.iter().map(|(name, _)| Some(name.place)).collect();
        (listeners, names)
    }

    /// In a file with listeners `host` and `port` are nobody's.
    fn refuse_host_and_port(&self, said: &FileSaid, in_file: &[(At<String>, At<ListenerSaid>)]) {
        let name = in_file.first().map_or("", |(name, _)| name.value.as_str());
        for (key, place) in [("host", said.options.host.key), ("port", said.options.port.key)] {
            if let Some(place) = place {
                let message = format!("`{key}` makes a listener, but here `[listener.{name}]` does");
                self.reader.add(Problem::error(place, message).with_help("say its `address` there"));
            }
        }
    }

    fn addresses(&self, name: &At<String>, said: &ListenerSaid) -> (Vec<ListenAddress>, Vec<Place>) {
        match said.address.at() {
            Some((place, list)) if list.is_empty() && !said.address.is_wrong => {
                self.reader.error(place, "must have at least one address")
            }
            None if !said.address.is_there() && said.unknown == 0 => {
                let message = format!("listener {} has no `address`", quoted(&name.value));
                self.reader.error(name.place, message);
            }
            _ => {}
        }
        let list = said.address.value.iter().flatten();
        list.map(|address| (address.value.clone(), address.place)).unzip()
    }

    /// The limits of a listener: its own in front of those at the top.
    fn limits(&self, own: &ListenerSaid, options: &Options, name: Place) -> ListenerLimits {
        let both = Options {
            max_head: own.max_head.value.or(options.max_head),
            max_fields: own.max_fields.value.or(options.max_fields),
            max_target: own.max_target.value.or(options.max_target),
            max_body: own.max_body.value.or(options.max_body),
            head_timeout: own.head_timeout.value.or(options.head_timeout),
            body_timeout: own.body_timeout.value.or(options.body_timeout),
            keep_alive_timeout: own.keep_alive_timeout.value.or(options.keep_alive_timeout),
            write_timeout: own.write_timeout.value.or(options.write_timeout),
            min_rate: own.min_rate.value.or(options.min_rate),
            tunnel_timeout: own.tunnel_timeout.value.or(options.tunnel_timeout),
            ..Options::default()
        };
        let mut faults = Vec::new();
        let limits = both.listener_limits(&mut faults);
        // What is wrong at the top is said there.
        let has_own = own.max_head.is_there() || own.max_target.is_there() || own.max_fields.is_there();
        if has_own || self.blame == Blame::Flags {
            self.blame_all(faults, &|key| own.place(key), Some(name));
        }
        limits
    }

    /// Says which addresses cannot all be listened on.
    fn refuse_overlaps(&self, listeners: &[(&ListenerSettings, Vec<Place>)]) {
        let mut taken: Vec<Taken<'_>> = Vec::new();
        let admin = match &self.admin {
            AdminSettings::Unix(path) => Some(ListenAddress::Unix(path.clone())),
            AdminSettings::Tcp { host, port, .. } => Some(ListenAddress::Tcp(host.clone(), *port)),
            AdminSettings::Off | AdminSettings::Default => None,
        };
        for (listener, places) in listeners {
            for (at, address) in listener.addresses.iter().enumerate() {
                let new = Taken { listener: &listener.name, address, place: places.get(at).copied() };
                let other = taken.iter().find(|other| overlap(other.address, address));
                let whose = match other {
                    Some(other) if other.listener == new.listener => "the same listener".to_owned(),
                    Some(other) => format!("listener {}", quoted(other.listener)),
                    None if admin.as_ref().is_some_and(|admin| overlap(admin, address)) => {
                        "`admin`".to_owned()
                    }
                    None => {
                        taken.push(new);
                        continue;
                    }
                };
                let (line, first) = match other {
                    Some(Taken { place: Some(place), address: first, .. }) => {
                        (format!(" ({})", self.sources.line(*place)), *first)
                    }
                    Some(other) => (String::new(), other.address),
                    None => (String::new(), admin.as_ref().unwrap_or(address)),
                };
                let message = match first == address {
                    true => format!("{address} is taken by {whose} already{line}"),
                    false => format!("{address} overlaps {first} of {whose}{line}"),
                };
                self.reader.add(match new.place {
                    Some(place) => Problem::error(place, message),
                    None => Problem::nowhere(message),
                });
            }
        }
    }
}

/// The address that `host` and `port` say; what they leave open is as before, if there is one address, or as by
/// default.
fn listen_address(before: Option<&[ListenAddress]>, options: &Options) -> ListenAddress {
    let (host, port) = match before {
        Some([ListenAddress::Tcp(host, port)]) => (host.clone(), *port),
        _ => (Host::parse(HOST_DEFAULT), PORT_DEFAULT),
    };
    ListenAddress::Tcp(options.host.as_deref().map_or(host, Host::parse), options.port.unwrap_or(port))
}

/// Whether two addresses cannot both be listened on. A host that is a name is compared as a name; a port that is
/// chosen when it starts is free.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (ListenAddress::Tcp(one, port), ListenAddress::Tcp(other, other_port)) => {
            let meets = match (one, other) {
                (Host::Address(one), Host::Address(other)) => {
                    one == other
                        || (one.is_ipv4() == other.is_ipv4()
                            && (one.is_unspecified() || other.is_unspecified()))
                }
                (Host::Name(one), Host::Name(other)) => one.eq_ignore_ascii_case(other),
                _ => false,
            };
            *port != 0 && port == other_port && meets
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_where_a_socket_could_not_be_bound() {
        for (one, other, want) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "127.0.0.1:1", false),
            ("[::]:1", "0.0.0.0:1", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
            ("localhost:1", "LOCALHOST:1", true),
            ("localhost:1", "127.0.0.1:1", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", "127.0.0.1:1", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(overlap(&one, &other), want, "{one} {other}");
            assert_eq!(overlap(&other, &one), want, "{one} {other}");
        }
    }
}
