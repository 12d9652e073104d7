//! Tests of what people ask of the book.

use super::*;
use crate::config::{EndpointSettings, UpstreamSettings};
use crate::server::upkeep::discover::tests::host;

fn upstream(name: &str, endpoints: &[&str]) -> UpstreamSettings {
    let endpoint = |text: &&str| EndpointSettings::new(text.parse().unwrap());
    UpstreamSettings::new(name, endpoints.iter().map(endpoint).collect())
}

fn book() -> Book {
    let mut book = Book::default();
    let upstreams = vec![
        upstream("app", &["192.0.2.1:80", "app.test:81", "unix:/run/app.sock"]),
        upstream("api", &["192.0.2.1:80", "[2001:db8::1]:80"]),
    ];
    book.adopt(upstreams, Duration::ZERO, Duration::ZERO);
    book.learn(host("app.test", &["192.0.2.7", "192.0.2.8"]), Duration::ZERO);
    book.settle(Duration::ZERO);
    book
}

fn order(upstream: Option<&str>, endpoint: &str) -> DrainRequest {
    DrainRequest { upstream: upstream.map(str::to_owned), endpoint: endpoint.to_owned() }
}

#[test]
fn an_endpoint_is_called_by_its_address_or_by_the_name_that_it_was_found_by() {
    for (upstream, endpoint, met) in [
        (Some("app"), "192.0.2.1:80", &["192.0.2.1:80"][..]),
        (Some("api"), "http://192.0.2.1", &["192.0.2.1:80"]),
        (None, "192.0.2.8:81", &["192.0.2.8:81"]),
        (None, "app.test:81", &["192.0.2.7:81", "192.0.2.8:81"]),
        (None, "unix:/run/app.sock", &["unix:/run/app.sock"]),
        (None, "[2001:db8::1]:80", &["[2001:db8::1]:80"]),
        (None, "[2001:0db8:0::1]:80", &["[2001:db8::1]:80"]),
    ] {
        let drained = drain(&mut book(), &order(upstream, endpoint), true, Duration::ZERO).unwrap();
        let addresses: Vec<_> = drained.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(addresses, met, "{endpoint}");
        assert!(drained.iter().all(|one| one.changed));
    }
}

#[test]
fn what_is_not_there_is_not_drained_and_something_like_it_is_proposed() {
    for (upstream, endpoint, named) in [
        (None, "192.0.2.9:81", "the closest is 192.0.2.7:81, then 192.0.2.8:81"),
        (Some("ap"), "192.0.2.1:80", "there is no upstream ap; the closest is api, then app"),
        (Some("api"), "app.test:81", "no endpoint app.test:81 in the upstream api; the closest is"),
        // That is what all Unix sockets say for Host.
        (None, "localhost", "no endpoint localhost"),
        (None, "", "no endpoint"),
    ] {
        let refused = drain(&mut book(), &order(upstream, endpoint), true, Duration::ZERO).unwrap_err();
        assert!(matches!(&refused, NotDrained::Unknown(why) if why.contains(named)), "{refused:?}");
    }
    let refused = drain(&mut book(), &order(None, "192.0.2.1:80"), true, Duration::ZERO).unwrap_err();
    assert!(matches!(&refused, NotDrained::Several(why) if why.contains("app, api")), "{refused:?}");
    let nothing = drain(&mut Book::default(), &order(None, "a:1"), true, Duration::ZERO).unwrap_err();
    assert_eq!(nothing, NotDrained::Unknown("there is no endpoint a:1; there are none".to_owned()));
}

#[test]
fn the_list_says_how_everything_is() {
    let mut book = book();
    let second = Duration::from_secs(1);
    drain(&mut book, &order(None, "192.0.2.7:81"), true, 3 * second).unwrap();
    book.settle(3 * second);
    let Listing { upstreams, counted } = list(&book, 8 * second);
    assert_eq!(upstreams.iter().map(|one| &*one.name).collect::<Vec<_>>(), ["app", "api"]);
    let app = &upstreams[0];
    assert_eq!((&*app.balance, &app.breaker, app.unresolved), ("round-robin", &None, false));
    let drained = &app.endpoints[1];
    assert_eq!((&*drained.address, &*drained.from), ("192.0.2.7:81", "app.test:81"));
    assert_eq!((&*drained.standing, drained.since_seconds, drained.drained), ("draining", 5, true));
    assert_eq!((drained.why.as_deref(), drained.share_percent), (Some("by command"), 100));
    assert_eq!((&*app.endpoints[0].standing, &app.endpoints[0].probe), ("up", &None));
    assert!(counted.rosters >= 2);
}

#[test]
fn what_was_drained_and_has_gone_can_be_restored() {
    let mut book = book();
    drain(&mut book, &order(None, "192.0.2.7:81"), true, Duration::ZERO).unwrap();
    let blink = |book: &mut Book, list: &[&str]| {
        book.learn(host("app.test", list), Duration::ZERO);
        book.settle(Duration::ZERO);
    };
    blink(&mut book, &["192.0.2.8"]);
    for (upstream, endpoint) in [(Some("api"), "192.0.2.7:81"), (None, "192.0.2.6:81")] {
        let refused = drain(&mut book, &order(upstream, endpoint), false, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, NotDrained::Unknown(_)), "{refused:?}");
    }
    let restored = drain(&mut book, &order(None, "192.0.2.7:81"), false, Duration::ZERO).unwrap();
    let address = Address::Ip("192.0.2.7:81".parse().unwrap());
    assert_eq!(restored, [Drained { upstream: "app".to_owned(), address, changed: true }]);
    blink(&mut book, &["192.0.2.7", "192.0.2.8"]);
    assert!(list(&book, Duration::ZERO).upstreams[0].endpoints.iter().all(|one| !one.drained));
}
