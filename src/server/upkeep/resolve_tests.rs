use super::*;

#[path = "../../../tests/scenarios/support/dns.rs"]
mod dns;

use dns::Dns;

fn run<T>(asking: impl Future<Output = T> + Send) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asking)
}

fn addresses(dns: &Dns, name: &str) -> Result<Found<IpAddr>, String> {
    run(Resolver::new(&[dns.address()]).addresses(name))
}

fn services(dns: &Dns, name: &str) -> Result<Found<Service>, String> {
    run(Resolver::new(&[dns.address()]).services(name))
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_name_has_all_its_addresses_for_as_long_as_the_shortest_lives() {
    let dns = Dns::start();
    dns.addresses("app.test", 30, &["127.0.0.2", "127.0.0.1", "127.0.0.2"]);
    assert_eq!(
        addresses(&dns, "APP.test"),
        Ok(Found { items: ips(&["127.0.0.1", "127.0.0.2"]), valid: Some(30 * SECOND), silent: None })
    );
    dns.addresses("app.test", 0, &["127.0.0.3"]);
    assert_eq!(
        addresses(&dns, "app.test."),
        Ok(Found { items: ips(&["127.0.0.3"]), valid: Some(Duration::ZERO), silent: None })
    );
    dns.alias("www.test", 7, "app.test");
    dns.addresses("app.test", 60, &["::1", "127.0.0.3"]);
    let found = addresses(&dns, "www.test").unwrap();
    assert_eq!((found.items.len(), found.valid), (2, Some(7 * SECOND)));
    dns.addresses("app.test", 3, &["::1"]);
    assert_eq!(
        addresses(&dns, "www.test"),
        Ok(Found { items: ips(&["::1"]), valid: Some(3 * SECOND), silent: None })
    );
}

#[test]
fn nothing_is_remembered_from_one_question_to_the_next() {
    let dns = Dns::start();
    let resolver = Resolver::new(&[dns.address()]);
    run(async {
        for address in ["127.0.0.1", "127.0.0.2"] {
            dns.addresses("app.test", 3600, &[address]);
            assert_eq!(resolver.addresses("app.test").await.unwrap().items, ips(&[address]));
        }
        dns.forget("app.test");
        assert_eq!(resolver.addresses("app.test").await.unwrap_err(), "there is no such name");
    });
}

#[test]
fn one_family_is_enough_and_it_is_said_of_which_other_nobody_knows() {
    let dns = Dns::start();
    for name in ["a.test", "b.test", "d.test"] {
        dns.addresses(name, 5, &["127.0.0.1"]);
    }
    dns.fail("a.test", RecordType::AAAA);
    dns.ignore("b.test", RecordType::AAAA);
    dns.addresses("c.test", 5, &["::1"]);
    dns.fail("c.test", RecordType::A);
    for (name, address, silent) in [
        ("a.test", "127.0.0.1", Some(Family::V6)),
        ("b.test", "127.0.0.1", Some(Family::V6)),
        ("c.test", "::1", Some(Family::V4)),
        // Of this one it was said that there is none.
        ("d.test", "127.0.0.1", None),
    ] {
        let found = Found { items: ips(&[address]), valid: Some(5 * SECOND), silent };
        assert_eq!(addresses(&dns, name), Ok(found), "{name}");
    }
}

#[test]
fn what_went_wrong_is_said_in_a_few_words() {
    let dns = Dns::start();
    dns.services("services.test", 1, &[(0, 0, 1, "a.test")]);
    dns.addresses("useless.test", 1, &["0.0.0.0", "::", "224.0.0.1"]);
    for (kind, name) in [(RecordType::A, "fails.test"), (RecordType::AAAA, "fails.test")] {
        dns.fail(name, kind);
        dns.ignore("silent.test", kind);
    }
    dns.fail("half.test", RecordType::AAAA);
    dns.addresses("half.test", 1, &[]);
    dns.fail("half.test", RecordType::AAAA);
    let long = "a".repeat(64) + ".test";
    for (name, want) in [
        ("missing.test", "there is no such name"),
        ("services.test", "the name has no such record"),
        ("fails.test", "the name server says: Server Failure"),
        ("half.test", "the name server says: Server Failure"),
        ("silent.test", "no name server answers"),
        ("useless.test", "the name has no address that can be used"),
        (&long, "this is no name that can be looked up: "),
    ] {
        let why = addresses(&dns, name).unwrap_err();
        assert!(why.starts_with(want), "{name}: {why}");
    }
    assert_eq!(services(&dns, "missing.test").unwrap_err(), "there is no such name");
    assert_eq!(services(&dns, "useless.test").unwrap_err(), "the name has no such record");
}

#[test]
fn a_question_is_asked_twice_and_of_every_name_server() {
    let (silent, dns) = (Dns::start(), Dns::start());
    for kind in [RecordType::A, RecordType::AAAA] {
        silent.ignore("app.test", kind);
    }
    assert_eq!(addresses(&silent, "app.test").unwrap_err(), "no name server answers");
    assert_eq!(silent.asked("app.test", RecordType::A), 2);
    dns.addresses("app.test", 5, &["127.0.0.1"]);
    let both = Resolver::new(&[silent.address(), dns.address()]);
    assert_eq!(run(both.addresses("app.test")).unwrap().items, ips(&["127.0.0.1"]));
}

#[test]
fn what_is_too_long_for_a_datagram_comes_over_tcp() {
    let dns = Dns::start();
    let many: Vec<String> = (1..=200).map(|last| format!("127.0.0.{last}")).collect();
    dns.addresses("many.test", 5, &many.iter().map(String::as_str).collect::<Vec<_>>());
    dns.truncate();
    assert_eq!(addresses(&dns, "many.test").unwrap().items.len(), 200);
}

#[test]
fn services_come_in_order_with_their_targets_as_names() {
    let dns = Dns::start();
    let name = "_http._tcp.app.test";
    dns.services(
        name,
        9,
        &[(10, 5, 80, "B.test"), (0, 1, 81, "a.test"), (10, 5, 80, "b.test"), (0, 0, 0, "c.test")],
    );
    let service =
        |target: &str, port, priority, weight| Service { target: target.to_owned(), port, priority, weight };
    assert_eq!(
        services(&dns, name),
        Ok(Found {
            items: vec![service("a.test", 81, 0, 1), service("b.test", 80, 10, 5)],
            valid: Some(9 * SECOND),
            silent: None
        })
    );
    dns.services(name, 9, &[(0, 0, 0, "c.test")]);
    assert_eq!(services(&dns, name).unwrap_err(), "the name has no service that can be used");
}

#[test]
fn a_service_can_say_that_it_is_not_available() {
    let dns = Dns::start();
    dns.services("_http._tcp.app.test", 9, &[(0, 0, 0, ".")]);
    assert_eq!(
        services(&dns, "_http._tcp.app.test"),
        Ok(Found { items: Vec::new(), valid: Some(9 * SECOND), silent: None })
    );
}

#[test]
fn an_address_stands_for_itself_and_localhost_for_this_machine() {
    let dns = Dns::start();
    for resolver in [Resolver::new(&[dns.address()]), Resolver::new(&[])] {
        for name in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(
                run(resolver.addresses(name)),
                Ok(Found { items: ips(&[name]), valid: None, silent: None })
            );
        }
        for name in ["localhost", "LocalHost."] {
            let found = run(resolver.addresses(name)).unwrap();
            assert_eq!(found.valid, None);
            assert!(ips(&["127.0.0.1", "::1"]).iter().all(|ip| found.items.contains(ip)), "{found:?}");
        }
    }
    assert_eq!(dns.asked("localhost", RecordType::A), 0);
}

#[test]
fn the_system_is_asked_for_what_only_it_knows() {
    assert_eq!(run(ask_system("127.0.0.1")), Some(ips(&["127.0.0.1"])));
    assert!(run(ask_system("localhost")).is_some_and(|found| !found.is_empty()));
}

#[test]
fn hosts_are_found_in_their_file_by_any_of_their_names() {
    let hosts =
        "127.0.0.1\tlocalhost # this.test\n\n10.0.0.7 app.test App\n::7 app.test\nbroken app.test\n10.0.0.8";
    for (name, want) in [
        ("APP.TEST", &["10.0.0.7", "::7"][..]),
        ("app", &["10.0.0.7"]),
        ("this.test", &[]),
        ("10.0.0.8", &[]),
    ] {
        assert_eq!(in_hosts(hosts, name), ips(want), "{name}");
    }
}

#[test]
fn the_family_that_can_be_reached_comes_first_and_the_rest_is_in_order() {
    let given =
        ["2001:db8::2", "10.0.0.2", "2001:db8::1", "::ffff:10.0.0.1", "10.0.0.2", "0.0.0.0", "ff02::1"];
    let v4_first = ips(&["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"]);
    let v6_first = ips(&["2001:db8::1", "2001:db8::2", "10.0.0.1", "10.0.0.2"]);
    for (reaches, want) in [
        ((|_| true) as fn(&IpAddr) -> bool, &v6_first),
        (IpAddr::is_ipv6, &v6_first),
        (IpAddr::is_ipv4, &v4_first),
        (|_| false, &v4_first),
    ] {
        assert_eq!(&arranged_by(ips(&given), reaches), want);
        let mut turned = ips(&given);
        turned.reverse();
        assert_eq!(&arranged_by(turned, reaches), want);
    }
    assert_eq!(arranged_by(ips(&["10.0.0.1"]), |_| true), ips(&["10.0.0.1"]));
    assert!(reaches(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
}
