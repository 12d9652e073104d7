//! The addresses of the origins, looked up on a thread of their own, again and again.

use std::net::ToSocketAddrs;
use std::time::Duration;

use super::{Event, spawn};
use crate::config::{EndpointAddress, EndpointSettings, Host};
use crate::upstream::Endpoint;

/// How long to wait before names are looked up again.
const INTERVAL: Duration = Duration::from_secs(30);

/// The same, while a name has no address.
const INTERVAL_UNRESOLVED: Duration = Duration::from_secs(2);

/// How long the start waits for the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// The endpoints of the origins. Where names have to be looked up, changes come as events; a name
/// without an address is no error, for it may have one later.
pub(super) fn start(
    origins: &[EndpointSettings],
    events: &flume::Sender<Event>,
    on_note: &mut impl FnMut(&str),
) -> Vec<Endpoint> {
    let unresolved: Vec<Endpoint> = origins
        .iter()
        .map(|origin| Endpoint {
            authority: origin.address.authority(),
            addresses: literal(origin).into_iter().collect(),
        })
        .collect();
    if unresolved.iter().all(|endpoint| !endpoint.addresses.is_empty()) {
        return unresolved;
    }
    let (first, answer) = flume::bounded(1);
    let (origins, events) = (origins.to_vec(), events.clone());
    let looking = spawn("resolve", move || watch(&origins, &events, &first));
    let endpoints = match looking {
        Ok(_) => answer.recv_timeout(FIRST_ANSWER).unwrap_or(unresolved),
        Err(error) => {
            on_note(&error.to_string());
            unresolved
        }
    };
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.addresses.is_empty()) {
        on_note(&format!(
            "the origin {} has no address yet; it is looked up again and again",
            endpoint.authority
        ));
    }
    endpoints
}

fn watch(origins: &[EndpointSettings], events: &flume::Sender<Event>, first: &flume::Sender<Vec<Endpoint>>) {
    let mut known = look_up(origins, &[]);
    // Nobody waits any more: then it is news.
    if let Err(late) = first.try_send(known.clone())
        && events.send(Event::Endpoints(late.into_inner())).is_err()
    {
        return;
    }
    loop {
        let all = known.iter().all(|endpoint| !endpoint.addresses.is_empty());
        std::thread::sleep(if all { INTERVAL } else { INTERVAL_UNRESOLVED });
        let fresh = look_up(origins, &known);
        if fresh != known {
            known = fresh;
            if events.send(Event::Endpoints(known.clone())).is_err() {
                return;
            }
        }
    }
}

/// Looks all names up. Where that fails, the last good addresses stay.
fn look_up(origins: &[EndpointSettings], known: &[Endpoint]) -> Vec<Endpoint> {
    let last = |place: usize| known.get(place).map(|endpoint| endpoint.addresses.clone()).unwrap_or_default();
    origins
        .iter()
        .enumerate()
        .map(|(place, origin)| {
            let addresses = match &origin.address {
                EndpointAddress::Unix(_) | EndpointAddress::Tcp(Host::Address(_), _) => {
                    literal(origin).into_iter().collect()
                }
                EndpointAddress::Tcp(Host::Name(name), port) => {
                    match (name.as_str(), *port).to_socket_addrs() {
                        Ok(found) => {
                            let mut found: Vec<_> = found.collect();
                            // The order varies from answer to answer; a mere change of order is none.
                            found.sort();
                            found.dedup();
                            found
                        }
                        Err(_) => last(place),
                    }
                }
            };
            Endpoint { authority: origin.address.authority(), addresses }
        })
        .collect()
}

fn literal(endpoint: &EndpointSettings) -> Option<std::net::SocketAddr> {
    match &endpoint.address {
        EndpointAddress::Tcp(host, port) => host.with_port(*port),
        EndpointAddress::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_failures_keep_the_last_addresses() {
        let origins: Vec<EndpointSettings> = ["localhost:81", "name.invalid:82"]
            .iter()
            .map(|text| EndpointSettings { address: text.parse().unwrap(), weight: 1 })
            .collect();
        let known = vec![
            Endpoint { authority: "localhost:81".to_owned(), addresses: vec![] },
            Endpoint {
                authority: "name.invalid:82".to_owned(),
                addresses: vec!["192.0.2.1:82".parse().unwrap()],
            },
        ];
        let found = look_up(&origins, &known);
        assert!(found[0].addresses.iter().any(|address| address.ip().is_loopback()), "{found:?}");
        assert_eq!(found[1].addresses, known[1].addresses);
    }
}
