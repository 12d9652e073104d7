//! Tests of the directory: what endpoints become by what is known, and when it is asked again.

use super::*;
use crate::upstream::roster::SHARE_WHOLE;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(in super::super) fn ips(list: &[&str], valid: Option<u64>) -> Found<IpAddr> {
    Found { items: list.iter().map(|ip| ip.parse().unwrap()).collect(), valid: valid.map(s), silent: None }
}

pub(in super::super) fn host(name: &str, list: &[&str]) -> Answer {
    Answer::Addresses(name.to_owned(), Ok(ips(list, None)))
}

/// Priority, weight, port and target of each.
pub(in super::super) fn srv(name: &str, records: &[(u16, u16, u16, &str)]) -> Answer {
    let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Service {
        target: target.to_owned(),
        port,
        priority,
        weight,
    };
    let found = Found { items: records.iter().map(record).collect(), valid: None, silent: None };
    Answer::Services(name.to_owned(), Ok(found))
}

fn endpoint(text: &str) -> EndpointSettings {
    let address = match (text.strip_prefix("srv:"), text.strip_prefix("file:")) {
        (Some(name), _) => EndpointAddress::Srv(name.to_owned()),
        (_, Some(path)) => EndpointAddress::File(path.into()),
        _ => text.parse().unwrap(),
    };
    EndpointSettings::new(address)
}

fn endpoints(list: &[&str]) -> Vec<EndpointSettings> {
    list.iter().map(|text| endpoint(text)).collect()
}

/// A directory that has heard all this, and whatever that made necessary.
fn knowing(settings: &[EndpointSettings], answers: &[Answer]) -> Directory {
    let mut directory = Directory::default();
    directory.want(&directory.expand(settings).names, s(0));
    for answer in answers {
        directory.learn(answer.clone(), s(0));
        directory.want(&directory.expand(settings).names, s(0));
    }
    directory
}

/// Each member: its address, then `*` for a backup, then its weight and its authority.
fn shown(directory: &Directory, settings: &[EndpointSettings]) -> Vec<String> {
    let member = |member: &Member| {
        let backup = if member.backup { "*" } else { "" };
        format!("{}{backup} {} {}", member.address, member.weight, member.authority)
    };
    directory.expand(settings).members.iter().map(member).collect()
}

#[test]
fn what_stands_there_needs_no_look_up_and_nothing_is_there_twice() {
    let settings = endpoints(&["192.0.2.1:80", "unix:/run/app.sock", "192.0.2.1:80", "[::1]:81"]);
    let directory = Directory::default();
    let expanded = directory.expand(&settings);
    assert!(expanded.names.is_empty() && expanded.silent.is_empty());
    assert_eq!(
        shown(&directory, &settings),
        ["192.0.2.1:80 1 192.0.2.1", "unix:/run/app.sock 1 localhost", "[::1]:81 1 [::1]:81"]
    );
    let origins: Vec<usize> = expanded.members.iter().map(|member| member.origin).collect();
    assert_eq!(origins, [0, 1, 3]);
}

#[test]
fn each_address_of_a_name_is_an_endpoint_and_the_other_family_stands_in_for_it() {
    let settings = endpoints(&["app.test:80"]);
    for (answer, members, fallbacks) in [
        (
            &["192.0.2.2", "2001:db8::1", "192.0.2.1"][..],
            &["192.0.2.1:80", "192.0.2.2:80"][..],
            "[2001:db8::1]:80",
        ),
        (&["2001:db8::1", "192.0.2.1"], &["[2001:db8::1]:80"], "192.0.2.1:80"),
    ] {
        let directory = knowing(&settings, &[host("app.test", answer)]);
        let expanded = directory.expand(&settings);
        let addresses: Vec<_> = expanded.members.iter().map(|member| member.address.to_string()).collect();
        assert_eq!(addresses, members);
        for member in &expanded.members {
            assert_eq!(member.fallbacks.iter().map(ToString::to_string).collect::<Vec<_>>(), [fallbacks]);
            assert_eq!(&*member.authority, "app.test");
        }
    }
}

#[test]
fn a_name_without_an_address_is_told_by_the_name_that_was_configured() {
    let settings = endpoints(&["app.test:81", "srv:_http._tcp.app", "file:/list.json", "192.0.2.1:80"]);
    let answers = [
        Answer::List("/list.json".into(), Err("/list.json: gone".into())),
        Answer::Addresses("app.test".to_owned(), Err("there is no such name".to_owned())),
    ];
    let directory = knowing(&settings, &answers);
    let expanded = directory.expand(&settings);
    assert_eq!(
        expanded.silent,
        [
            "a list of endpoints cannot be used yet: /list.json: gone",
            "the origin app.test:81 has no address yet; it is looked up again and again (there is no such name)",
            "the origin srv:_http._tcp.app has no address yet; it is looked up again and again",
        ]
    );
    assert_eq!(expanded.members.len(), 1);
}

#[test]
fn services_of_the_lowest_priority_are_used_and_the_others_stand_by() {
    let mut settings = endpoints(&["srv:_http._tcp.app"]);
    settings[0].weight = 2;
    let records = [
        (20, 5, 8003, "three.test."),
        (10, 0, 8001, "one.test."),
        (10, 7, 8002, "192.0.2.2"),
        (10, 7, 0, "nowhere.test"),
        (0, 0, 8009, "."),
    ];
    let answers = [
        srv("_http._tcp.app", &records),
        host("one.test", &["192.0.2.1"]),
        host("three.test", &["192.0.2.3"]),
    ];
    let directory = knowing(&settings, &answers);
    assert_eq!(
        shown(&directory, &settings),
        [
            "192.0.2.2:8002 14 192.0.2.2:8002",
            "192.0.2.1:8001 1 one.test:8001",
            "192.0.2.3:8003* 10 three.test:8003"
        ]
    );
}

#[test]
fn a_service_without_targets_is_none() {
    let settings = endpoints(&["srv:a"]);
    let directory = knowing(&settings, &[srv("a", &[(0, 0, 80, ".")])]);
    assert_eq!(directory.expand(&settings).silent.len(), 1);
    assert!(directory.was_tried(&Name::Services("a".to_owned())));
}

#[test]
fn weights_of_services_keep_their_proportions_within_the_limit() {
    for (weight, heaviest, of_endpoint, want) in [
        (0, 0, 1, 1),
        (0, 10, 1000, 1),
        (10, 10, 3, 30),
        (u16::MAX, u16::MAX, 1000, 1000),
        (u16::MAX / 2, u16::MAX, 1000, 499),
        (1, u16::MAX, 1, 1),
    ] {
        assert_eq!(scaled(weight, heaviest, of_endpoint), want, "{weight} {heaviest} {of_endpoint}");
    }
}

#[test]
fn what_a_file_lists_stands_for_the_endpoint_that_names_it() {
    let mut settings = endpoints(&["file:/list.json"]);
    (settings[0].weight, settings[0].requests_max) = (300, Some(7));
    let mut list = endpoints(&["192.0.2.1:80", "app.test:81", "file:/list.json"]);
    (list[0].weight, list[0].backup, list[0].requests_max) = (5, true, Some(9));
    let listed = Answer::List("/list.json".into(), Ok(list));
    let directory = knowing(&settings, &[listed, host("app.test", &["192.0.2.2"])]);
    assert_eq!(
        shown(&directory, &settings),
        ["192.0.2.1:80* 1000 192.0.2.1", "192.0.2.2:81 300 app.test:81"]
    );
    let limits: Vec<_> =
        directory.expand(&settings).members.iter().map(|member| member.requests_max).collect();
    assert_eq!(limits, [Some(9), Some(7)]);
}

#[test]
fn a_failure_keeps_what_was_found_and_is_told_once() {
    let settings = endpoints(&["app.test:80"]);
    let mut directory = knowing(&settings, &[host("app.test", &["192.0.2.1"])]);
    let failed = || Answer::Addresses("app.test".to_owned(), Err("no such name".to_owned()));
    let empty = Answer::Addresses("app.test".to_owned(), Ok(ips(&[], None)));
    let notes: Vec<_> = [failed(), empty, failed(), failed()]
        .into_iter()
        .map(|answer| directory.learn(answer, s(1)))
        .collect();
    assert!(notes.iter().all(|learned| !learned.changed));
    let told: Vec<_> = notes.into_iter().filter_map(|learned| learned.note).collect();
    assert!(matches!(&told[..], [note] if note.contains("no such name") && note.contains("app.test")));
    assert_eq!(shown(&directory, &settings), ["192.0.2.1:80 1 app.test"]);
    let again = directory.learn(host("app.test", &["192.0.2.1"]), s(9));
    assert!(!again.changed && again.note.is_some_and(|note| note.contains("again")));
}

#[test]
fn another_order_of_the_same_addresses_is_no_change() {
    let settings = endpoints(&["app.test:80"]);
    let mut directory = knowing(&settings, &[host("app.test", &["192.0.2.1", "192.0.2.2"])]);
    assert!(!directory.learn(host("app.test", &["192.0.2.2", "192.0.2.1"]), s(1)).changed);
    assert!(directory.learn(host("app.test", &["192.0.2.2"]), s(1)).changed);
}

#[test]
fn a_file_that_breaks_keeps_its_list_and_says_so() {
    let settings = endpoints(&["file:/list"]);
    let list = |result: Result<&[&str], &str>| {
        Answer::List("/list".into(), result.map(endpoints).map_err(str::to_owned))
    };
    let mut directory = knowing(&settings, &[list(Ok(&["192.0.2.1:80"]))]);
    let broken = directory.learn(list(Err("/list:1:2: no list")), s(1));
    assert!(!broken.changed && broken.note.is_some_and(|note| note.contains("/list:1:2: no list")));
    assert_eq!(shown(&directory, &settings).len(), 1);
    let good = directory.learn(list(Ok(&["192.0.2.1:80", "192.0.2.2:80"])), s(2));
    assert!(good.changed && good.note.is_some());
    assert_eq!(directory.learn(list(Ok(&[])), s(3)), Learned { changed: true, note: None });
    assert!(shown(&directory, &settings).is_empty());
}

#[test]
fn a_name_is_asked_again_when_its_time_is_over() {
    let settings = endpoints(&["app.test:80"]);
    for (answer, after) in [
        (Ok(ips(&["192.0.2.1"], Some(60))), 60),
        (Ok(ips(&["192.0.2.1"], Some(0))), 1),
        (Ok(ips(&["192.0.2.1"], Some(86_400))), 300),
        (Ok(ips(&["192.0.2.1"], None)), 30),
        (Err("no".to_owned()), 2),
    ] {
        let mut directory = knowing(&settings, &[Answer::Addresses("app.test".to_owned(), answer)]);
        assert_eq!(directory.due(), Some(s(after)));
        assert!(directory.begin(s(after) - Duration::from_millis(1), 16).is_empty());
        assert_eq!(directory.begin(s(after), 16), [Name::Host("app.test".to_owned())]);
        // It is asked once at a time.
        assert_eq!((directory.due(), directory.begin(s(999), 16)), (None, Vec::new()));
    }
}

#[test]
fn no_more_names_are_asked_at_once_than_may_and_those_first_that_wait_longest() {
    let settings = endpoints(&["a.test:80", "b.test:80", "c.test:80", "srv:d.test"]);
    let mut directory = knowing(&settings, &[host("a.test", &["192.0.2.1"])]);
    let first = directory.begin(s(100), 2);
    assert_eq!(first, [Name::Host("b.test".to_owned()), Name::Host("c.test".to_owned())]);
    let rest = directory.begin(s(100), 16);
    assert_eq!(rest, [Name::Services("d.test".to_owned()), Name::Host("a.test".to_owned())]);
}

#[test]
fn what_nobody_wants_any_more_is_forgotten() {
    let mut directory = knowing(&endpoints(&["a.test:80"]), &[host("a.test", &["192.0.2.1"])]);
    directory.want(&HashSet::new(), s(1));
    assert_eq!(directory.due(), None);
    assert_eq!(directory.learn(host("a.test", &["192.0.2.2"]), s(1)), Learned::default());
}

#[test]
fn a_flood_of_addresses_is_cut_off() {
    let many: Vec<IpAddr> = (0..100_000u32).map(|number| IpAddr::V4(number.into())).collect();
    let found = Found { items: many, valid: None, silent: None };
    let settings = endpoints(&["app.test:80"]);
    let directory = knowing(&settings, &[Answer::Addresses("app.test".to_owned(), Ok(found))]);
    let Expanded { members, left_out, .. } = directory.expand(&settings);
    assert_eq!((members.len(), members[0].share), (FOUND_MAX, SHARE_WHOLE));
    assert_eq!(
        left_out,
        ["app.test stands for more than 256 addresses or services; the others are left out"]
    );
}

#[test]
fn an_upstream_has_so_many_endpoints_and_says_that_there_are_more() {
    let names: Vec<String> = (0..=MEMBERS_MAX).map(|n| format!("10.0.{}.{}:80", n >> 8, n & 255)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let directory = Directory::default();
    let expanded = directory.expand(&endpoints(&names));
    assert_eq!(expanded.members.len(), MEMBERS_MAX);
    assert_eq!(
        expanded.left_out,
        [format!("there are more than {MEMBERS_MAX} endpoints; the others are left out")]
    );
    // What is there twice is not one too many.
    let twice = [&names[..MEMBERS_MAX], &names[..1]].concat();
    assert!(directory.expand(&endpoints(&twice)).left_out.is_empty());
}

/// An answer that says nothing of a family, and holds for a minute.
fn lacking(name: &str, list: &[&str], silent: Family) -> Answer {
    Answer::Addresses(name.to_owned(), Ok(Found { silent: Some(silent), ..ips(list, Some(60)) }))
}

#[test]
fn a_family_that_was_not_answered_for_keeps_its_addresses_and_is_asked_for_again_soon() {
    let settings = endpoints(&["app.test:80"]);
    let all = |directory: &Directory| -> Vec<String> {
        let members = directory.expand(&settings).members;
        let shown = |member: &Member| format!("{} {:?}", member.address, member.fallbacks.len());
        members.iter().map(shown).collect()
    };
    for (first, answer, want) in [
        // The one that is preferred was lost.
        (
            &["2001:db8::1", "192.0.2.1"][..],
            lacking("app.test", &["192.0.2.1"], Family::V6),
            &["[2001:db8::1]:80 1"][..],
        ),
        (
            &["192.0.2.1", "2001:db8::1"],
            lacking("app.test", &["2001:db8::1", "2001:db8::2"], Family::V4),
            &["192.0.2.1:80 2"],
        ),
        // The other one was.
        (&["192.0.2.1", "2001:db8::1"], lacking("app.test", &["192.0.2.2"], Family::V6), &["192.0.2.2:80 1"]),
        // There was none before.
        (&["192.0.2.1"], lacking("app.test", &["192.0.2.2"], Family::V6), &["192.0.2.2:80 0"]),
    ] {
        let mut directory = knowing(&settings, &[host("app.test", first)]);
        directory.learn(answer, s(100));
        assert_eq!(all(&directory), want, "{first:?}");
        assert_eq!(directory.due(), Some(s(105)));
    }
    // Whoever says that there is none is believed.
    let mut directory = knowing(&settings, &[host("app.test", &["2001:db8::1", "192.0.2.1"])]);
    assert!(directory.learn(host("app.test", &["192.0.2.1"]), s(100)).changed);
    assert_eq!(all(&directory), ["192.0.2.1:80 0"]);
}

#[test]
fn a_family_that_never_is_answered_for_is_not_hurried_for_without_end() {
    let settings = endpoints(&["app.test:80"]);
    let mut directory = knowing(&settings, &[]);
    let mut dues = Vec::new();
    for _ in 0..5 {
        directory.learn(lacking("app.test", &["192.0.2.1"], Family::V6), s(0));
        dues.extend(directory.due());
    }
    assert_eq!(dues, [s(5), s(5), s(5), s(60), s(60)]);
    assert!(!directory.learn(host("app.test", &["192.0.2.1"]), s(0)).changed);
    directory.learn(lacking("app.test", &["192.0.2.1"], Family::V6), s(0));
    assert_eq!(directory.due(), Some(s(5)));
}

#[test]
fn each_endpoint_falls_back_to_addresses_of_its_own() {
    let settings = endpoints(&["app.test:80"]);
    let v6: Vec<String> = (1..=4).map(|last| format!("2001:db8::{last}")).collect();
    let v4: Vec<String> = (1..=3).map(|last| format!("192.0.2.{last}")).collect();
    let answer: Vec<&str> = v6.iter().chain(&v4).map(String::as_str).collect();
    let directory = knowing(&settings, &[host("app.test", &answer)]);
    let last = |address: &Address| address.to_string().trim_end_matches(":80").chars().last().unwrap();
    let members = directory.expand(&settings).members;
    let fallbacks: Vec<String> =
        members.iter().map(|member| member.fallbacks.iter().map(last).collect()).collect();
    assert_eq!(fallbacks, ["12", "23", "31", "12"]);
}

#[test]
fn what_is_known_of_a_host_can_be_asked() {
    let settings = endpoints(&["app.test:80"]);
    let directory = knowing(&settings, &[]);
    assert_eq!(directory.host("app.test"), HostState::Awaited);
    let failed = Answer::Addresses("app.test".to_owned(), Err("no".to_owned()));
    let mut directory = knowing(&settings, &[failed]);
    assert_eq!(directory.host("app.test"), HostState::Missing("no".to_owned()));
    let found = ips(&["2001:db8::1", "192.0.2.1"], None);
    directory.learn(Answer::Addresses("app.test".to_owned(), Ok(found.clone())), s(1));
    assert_eq!(directory.host("app.test"), HostState::Found(found.items));
}
