//! Tests of the book by a manual clock: what is told when, and to whom.

use super::*;
use crate::config::{
    Balance, Breaker, Ejection, EndpointAddress, EndpointSettings, Host, Probe, ProbeAsk, ProxyVersion,
    WhenDown,
};
use crate::error::Reason;
use crate::server::upkeep::discover::tests::{host, srv};
use crate::upstream::health::Seen;
use crate::upstream::{BreakerState, Standing};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn endpoint(text: &str) -> EndpointSettings {
    let address = match (text.strip_prefix("srv:"), text.strip_prefix("file:")) {
        (Some(name), _) => EndpointAddress::Srv(name.to_owned()),
        (_, Some(path)) => EndpointAddress::File(path.into()),
        _ => text.parse().unwrap(),
    };
    EndpointSettings::new(address)
}

/// An upstream that nothing is judged by.
fn upstream(name: &str, endpoints: &[&str]) -> UpstreamSettings {
    let endpoints = endpoints.iter().map(|text| endpoint(text)).collect();
    UpstreamSettings { ejection: None, ..UpstreamSettings::new(name, endpoints) }
}

fn probe() -> Probe {
    Probe {
        ask: ProbeAsk::Tcp,
        host: None,
        port: None,
        interval: s(5),
        jitter: 0,
        timeout: s(2),
        rise: 2,
        fall: 3,
    }
}

/// A book with a clock of its own, and what it has told.
struct Bench {
    book: Book,
    now: Duration,
    notes: Vec<String>,
    /// Those that came by themselves.
    rosters: Vec<Arc<Roster>>,
}

impl Bench {
    fn empty() -> Bench {
        Bench { book: Book::default(), now: s(1000), notes: Vec::new(), rosters: Vec::new() }
    }

    /// A book that has these upstreams, and nobody to wait for.
    fn of(upstreams: &[UpstreamSettings]) -> Bench {
        let mut bench = Bench::empty();
        bench.adopt(upstreams);
        bench
    }

    fn adopt(&mut self, upstreams: &[UpstreamSettings]) -> Adopted {
        self.book.adopt(upstreams.to_vec(), Duration::ZERO, self.now);
        self.settle().unwrap()
    }

    fn settle(&mut self) -> Option<Adopted> {
        let Changes { rosters, notes, adopted } = self.book.settle(self.now);
        self.rosters.extend(rosters);
        self.notes.extend(notes);
        adopted
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    fn learn(&mut self, answer: Answer) {
        self.book.learn(answer, self.now);
        self.settle();
    }

    /// Has the endpoint at that place be probed.
    fn probe(&mut self, place: usize, result: Result<(), &str>) {
        let probed = self.book.probes().nth(place).unwrap();
        self.book.probed(&probed, result.map_err(str::to_owned), self.now);
        self.settle();
    }

    /// A core tells that requests succeeded and failed.
    fn tally(&mut self, address: &str, succeeded: u32, failed: u32) {
        let tally = Tally {
            upstream: "app".into(),
            address: Address::Ip(address.parse().unwrap()),
            seen: Seen {
                succeeded,
                failed,
                trials_succeeded: succeeded,
                trials_failed: failed,
                last: (failed > 0).then_some(Reason::UpstreamRefused),
                ..Seen::default()
            },
            run: if succeeded == 0 { failed } else { 0 },
        };
        self.book.hear(&[tally], self.now);
        self.settle();
    }

    fn drain(&mut self, place: usize, drained: bool) -> bool {
        let changed = self.book.drain((0, place), drained, self.now);
        self.settle();
        changed
    }

    /// The endpoints of the first upstream as the cores were told last: address, then how it stands.
    fn told(&self) -> Vec<String> {
        let roster = self.book.entries()[0].told().unwrap();
        let shown = |member: &crate::upstream::Member| format!("{} {:?}", member.address, member.standing);
        roster.members.iter().map(shown).collect()
    }

    fn shares(&self) -> Vec<u32> {
        self.book.entries()[0].told().unwrap().members.iter().map(|member| member.share).collect()
    }

    fn breaker(&self) -> BreakerState {
        self.book.entries()[0].told().unwrap().breaker
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

#[test]
fn literals_are_there_at_once_and_nobody_hears_of_them_but_who_asked() {
    let mut bench = Bench::empty();
    let adopted =
        bench.adopt(&[upstream("app", &["192.0.2.1:80", "192.0.2.2:80"]), upstream("b", &["[::1]:1"])]);
    let names: Vec<_> =
        adopted.rosters.iter().map(|roster| (&*roster.upstream, roster.members.len())).collect();
    assert_eq!(names, [("app", 2), ("b", 1)]);
    assert!(adopted.notes.is_empty() && bench.said().is_empty() && bench.rosters.is_empty());
    assert!(bench.book.look_ups(bench.now).is_empty());
    // But for once more, should that have been too late.
    bench.pass(s(3600));
    assert_eq!(bench.rosters.len(), 2);
    bench.pass(s(3600));
    assert!(bench.said().is_empty() && bench.rosters.len() == 2);
    assert_eq!(bench.book.due(), None);
}

#[test]
fn a_configuration_waits_for_names_that_are_new_and_for_no_longer_than_it_was_given() {
    let mut bench = Bench::empty();
    let now = bench.now;
    bench.book.adopt(vec![upstream("app", &["a.test:80", "srv:b.test"])], s(2), now);
    assert!(bench.settle().is_none());
    assert_eq!(bench.book.due(), Some(now));
    assert_eq!(bench.book.look_ups(now).len(), 2);
    assert_eq!(bench.book.due(), Some(now + s(2)));
    bench.book.learn(host("a.test", &["192.0.2.1"]), now);
    bench.book.learn(srv("b.test", &[(0, 1, 81, "c.test")]), now);
    // What a service names is waited for as well.
    assert!(bench.settle().is_none());
    assert_eq!(bench.book.look_ups(now), [Name::Host("c.test".to_owned())]);
    bench.book.learn(Answer::Addresses("c.test".to_owned(), Err("no".to_owned())), now);
    let adopted = bench.settle().unwrap();
    assert_eq!(adopted.rosters[0].members.len(), 1);
    assert!(adopted.rosters[0].unresolved);
    assert_eq!(
        adopted.notes,
        ["the origin c.test:81 has no address yet; it is looked up again and again (no)"]
    );

    // The next one has nothing to wait for but what is new.
    bench.book.adopt(vec![upstream("app", &["a.test:80", "slow.test:81"])], s(2), now);
    assert!(bench.settle().is_none());
    // Until then all stays as it was.
    assert_eq!(bench.told(), ["192.0.2.1:80 Up"]);
    bench.now += s(2);
    let adopted = bench.settle().unwrap();
    assert!(adopted.notes[0].contains("slow.test:81 has no address yet"), "{:?}", adopted.notes);
    bench.book.adopt(vec![upstream("app", &["a.test:80"])], s(2), bench.now);
    assert!(bench.settle().is_some());
}

#[test]
fn a_name_that_was_never_found_holds_up_only_the_configuration_that_brings_it() {
    let mut bench = Bench::of(&[upstream("app", &["a.test:80"])]);
    assert_eq!(bench.book.look_ups(bench.now).len(), 1);
    bench.learn(Answer::Addresses("a.test".to_owned(), Err("no".to_owned())));
    bench.book.adopt(vec![upstream("app", &["a.test:80"])], s(2), bench.now);
    assert!(bench.settle().is_some());
    // But a new configuration is a reason to look again.
    assert_eq!(bench.book.look_ups(bench.now).len(), 1);
}

#[test]
fn addresses_join_and_go_and_what_stays_keeps_how_it_stands() {
    let mut bench = Bench::of(&[upstream("app", &["a.test:80"])]);
    bench.book.look_ups(bench.now);
    bench.learn(host("a.test", &["192.0.2.1", "192.0.2.2"]));
    assert_eq!(
        bench.said(),
        ["upstream app: 192.0.2.1:80 has joined", "upstream app: 192.0.2.2:80 has joined"]
    );
    bench.drain(1, true);
    bench.said();
    let before = bench.book.entries()[0].told().unwrap().clone();
    bench.learn(host("a.test", &["192.0.2.3", "192.0.2.2"]));
    assert_eq!(bench.told(), ["192.0.2.2:80 Draining", "192.0.2.3:80 Up"]);
    assert_eq!(
        bench.said(),
        ["upstream app: 192.0.2.3:80 has joined", "upstream app: 192.0.2.1:80 has gone"]
    );
    let after = bench.book.entries()[0].told().unwrap();
    assert!(after.version > before.version);
    assert!(Arc::ptr_eq(&after.shared, &before.shared));
    assert!(Arc::ptr_eq(&after.members[0].shared, &before.members[1].shared));
    // A look-up that fails takes nobody away.
    bench.learn(Answer::Addresses("a.test".to_owned(), Err("no".to_owned())));
    assert_eq!(bench.told().len(), 2);
}

#[test]
fn no_more_than_sixteen_names_are_looked_up_at_once() {
    let names: Vec<String> = (0..40).map(|number| format!("n{number}.test:80")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::of(&[upstream("app", &names)]);
    let begun = bench.book.look_ups(bench.now);
    assert_eq!((begun.len(), bench.book.look_ups(bench.now).len()), (16, 0));
    let Name::Host(first) = &begun[0] else { panic!("no host") };
    bench.learn(host(first, &["192.0.2.1"]));
    assert_eq!(bench.book.look_ups(bench.now).len(), 1);
}

#[test]
fn probes_take_an_endpoint_down_and_bring_it_back() {
    let settings =
        UpstreamSettings { probe: Some(probe()), ..upstream("app", &["192.0.2.1:80", "192.0.2.2:80"]) };
    let mut bench = Bench::of(&[settings]);
    assert_eq!(bench.told(), ["192.0.2.1:80 Up", "192.0.2.2:80 Up"]);
    bench.probe(0, Ok(()));
    bench.probe(0, Err("connection refused"));
    bench.probe(0, Err("connection refused"));
    assert!(bench.said().is_empty() && bench.rosters.is_empty());
    bench.probe(0, Err("status 503"));
    assert_eq!(
        bench.said(),
        ["upstream app: 192.0.2.1:80 is down: 3 probes failed, the last with status 503"]
    );
    assert_eq!(bench.told(), ["192.0.2.1:80 Down", "192.0.2.2:80 Up"]);
    bench.pass(s(12));
    bench.probe(0, Ok(()));
    bench.probe(0, Ok(()));
    assert_eq!(bench.said(), ["upstream app: 192.0.2.1:80 is up again after 12s"]);
    assert_eq!(bench.told()[0], "192.0.2.1:80 Up");
    let counted = bench.book.counted();
    assert_eq!((counted.probes_passed, counted.probes_failed, counted.recoveries), (3, 3, 1));
}

#[test]
fn it_is_told_once_that_no_endpoint_is_up() {
    let settings =
        UpstreamSettings { probe: Some(probe()), ..upstream("app", &["192.0.2.1:80", "192.0.2.2:80"]) };
    let mut bench = Bench::of(&[settings]);
    bench.probe(0, Err("connection refused"));
    assert!(!bench.said().iter().any(|note| note.contains("none")));
    bench.probe(1, Err("connection refused"));
    assert_eq!(
        bench.said(),
        [
            "upstream app: 192.0.2.2:80 is down: a probe failed with connection refused",
            "upstream app: none of its endpoints is up; they are tried all the same"
        ]
    );
    bench.probe(1, Err("connection refused"));
    bench.pass(s(10));
    assert!(bench.said().is_empty());
    bench.probe(1, Ok(()));
    bench.probe(1, Ok(()));
    assert_eq!(
        bench.said(),
        [
            "upstream app: 192.0.2.2:80 is up again after 10s",
            "upstream app: after 10s it has an endpoint that is up again"
        ]
    );
}

#[test]
fn it_is_told_what_becomes_of_requests_while_no_endpoint_is_up() {
    let settings = UpstreamSettings { when_down: WhenDown::Fail, ..upstream("app", &["a.test:80"]) };
    let mut bench = Bench::of(&[settings]);
    // Nothing was ever found: that is told otherwise.
    bench.learn(Answer::Addresses("a.test".to_owned(), Err("no".to_owned())));
    assert!(bench.said().is_empty());
    bench.learn(host("a.test", &["192.0.2.1"]));
    assert_eq!(bench.said(), ["upstream app: 192.0.2.1:80 has joined"]);
    bench.drain(0, true);
    assert_eq!(bench.said()[1], "upstream app: none of its endpoints is up; requests are refused with 503");
}

#[test]
fn the_probes_of_a_new_configuration_count_and_those_of_an_old_one_do_not() {
    let with = |probe| UpstreamSettings { probe, ..upstream("app", &["192.0.2.1:80"]) };
    let mut bench = Bench::of(&[with(Some(probe()))]);
    let old = bench.book.probes().next().unwrap();
    bench.adopt(&[with(Some(probe()))]);
    assert_eq!(bench.book.probes().next().unwrap().number, old.number);
    bench.adopt(&[with(Some(Probe { fall: 1, ..probe() }))]);
    let new = bench.book.probes().next().unwrap();
    assert!(new.number > old.number);
    bench.book.probed(&old, Err("late".to_owned()), bench.now);
    assert_eq!(bench.told(), ["192.0.2.1:80 Up"]);
    bench.probe(0, Err("status 503"));
    assert_eq!(bench.told(), ["192.0.2.1:80 Down"]);
    // Without probes nobody can say that it is down.
    bench.adopt(&[with(None)]);
    assert_eq!((bench.told(), bench.book.probes().count()), (vec!["192.0.2.1:80 Up".to_owned()], 0));
}

#[test]
fn an_endpoint_that_fails_requests_is_ejected_and_comes_back() {
    let settings = UpstreamSettings {
        ejection: Some(Ejection::default()),
        ..upstream("app", &["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"])
    };
    let mut bench = Bench::of(&[settings]);
    bench.pass(s(3));
    bench.tally("192.0.2.1:80", 0, 4);
    bench.tally("192.0.2.1:80", 0, 5);
    assert_eq!(
        bench.said(),
        ["upstream app: 192.0.2.1:80 is ejected for 10s: 5 failures in a row, the last: upstream_refused"]
    );
    // Half of three is one.
    bench.tally("192.0.2.2:80", 0, 100);
    assert_eq!(bench.told(), ["192.0.2.1:80 Ejected", "192.0.2.2:80 Up", "192.0.2.3:80 Up"]);
    bench.tally("192.0.2.2:80", 1, 0);
    assert_eq!(bench.book.due(), Some(bench.now + s(10)));
    bench.pass(s(10));
    assert_eq!(bench.said(), ["upstream app: 192.0.2.1:80 gets requests again after 10s"]);
    assert_eq!(bench.told()[0], "192.0.2.1:80 Up");
    let counted = bench.book.counted();
    assert_eq!((counted.ejections, counted.recoveries), (1, 1));
}

#[test]
fn a_draining_endpoint_stays_so_over_reloads_until_it_is_restored() {
    let two = upstream("app", &["192.0.2.1:80", "192.0.2.2:80"]);
    let mut bench = Bench::of(std::slice::from_ref(&two));
    assert!(bench.drain(0, true));
    assert!(!bench.drain(0, true));
    assert_eq!(bench.said(), ["upstream app: 192.0.2.1:80 is drained by command"]);
    let adopted = bench.adopt(&[upstream("app", &["192.0.2.2:80", "192.0.2.1:80"])]);
    let standing = |roster: &Roster| roster.members.iter().map(|member| member.standing).collect::<Vec<_>>();
    assert_eq!(standing(&adopted.rosters[0]), [Standing::Up, Standing::Draining]);
    assert!(bench.drain(1, false));
    assert_eq!(bench.told(), ["192.0.2.2:80 Up", "192.0.2.1:80 Up"]);
    // Nor does it matter that it was gone for a while.
    bench.drain(1, true);
    bench.adopt(&[upstream("app", &["192.0.2.2:80"])]);
    bench.pass(s(3600));
    bench.adopt(std::slice::from_ref(&two));
    assert_eq!(bench.told(), ["192.0.2.1:80 Draining", "192.0.2.2:80 Up"]);
    bench.drain(0, false);
    bench.adopt(&[upstream("app", &["192.0.2.2:80"])]);
    bench.adopt(std::slice::from_ref(&two));
    assert_eq!(bench.told(), ["192.0.2.1:80 Up", "192.0.2.2:80 Up"]);
    // What goes with its upstream is forgotten.
    bench.drain(0, true);
    bench.adopt(&[upstream("other", &["192.0.2.2:80"])]);
    bench.adopt(&[two]);
    assert_eq!(bench.told(), ["192.0.2.1:80 Up", "192.0.2.2:80 Up"]);
}

#[test]
fn a_drained_endpoint_stays_so_when_a_name_blinks() {
    let mut bench = Bench::of(&[upstream("app", &["a.test:80"])]);
    bench.learn(host("a.test", &["192.0.2.1", "192.0.2.2"]));
    bench.drain(0, true);
    bench.learn(host("a.test", &["192.0.2.2"]));
    bench.said();
    bench.pass(s(600));
    bench.learn(host("a.test", &["192.0.2.1", "192.0.2.2"]));
    assert_eq!(bench.said(), ["upstream app: 192.0.2.1:80 has joined, and is drained still"]);
    assert_eq!(bench.told(), ["192.0.2.1:80 Draining", "192.0.2.2:80 Up"]);
}

#[test]
fn an_endpoint_that_is_gone_for_a_short_while_comes_back_as_it_was() {
    let settings = UpstreamSettings {
        ejection: Some(Ejection { time: s(300), ..Ejection::default() }),
        ..upstream("app", &["a.test:80"])
    };
    let mut bench = Bench::of(&[settings]);
    let all = host("a.test", &["192.0.2.1", "192.0.2.2"]);
    bench.learn(all.clone());
    let shared = |bench: &Bench| bench.book.entries()[0].told().unwrap().members[0].shared.clone();
    let before = shared(&bench);
    bench.tally("192.0.2.1:80", 0, 5);
    for (away, want) in [(s(59), "192.0.2.1:80 Ejected"), (s(60), "192.0.2.1:80 Up")] {
        bench.learn(host("a.test", &["192.0.2.2"]));
        bench.pass(away);
        bench.learn(all.clone());
        assert_eq!(bench.told(), [want, "192.0.2.2:80 Up"]);
        assert_eq!(Arc::ptr_eq(&before, &shared(&bench)), want.ends_with("Ejected"));
    }
}

#[test]
fn an_endpoint_that_joins_others_is_probed_first() {
    let settings = UpstreamSettings { probe: Some(probe()), ..upstream("app", &["a.test:80"]) };
    let mut bench = Bench::of(&[settings]);
    bench.learn(host("a.test", &["192.0.2.1"]));
    // There are no others.
    assert_eq!(bench.told(), ["192.0.2.1:80 Up"]);
    assert!(!bench.book.probes().next().unwrap().at_once);
    bench.learn(host("a.test", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    assert_eq!(bench.told(), ["192.0.2.1:80 Up", "192.0.2.2:80 Down", "192.0.2.3:80 Down"]);
    assert_eq!(bench.book.entries()[0].endpoints[1].why().as_deref(), Some("not probed yet"));
    assert!(bench.book.probes().nth(1).unwrap().at_once);
    bench.said();
    bench.probe(1, Ok(()));
    bench.probe(2, Err("status 503"));
    assert_eq!(bench.told(), ["192.0.2.1:80 Up", "192.0.2.2:80 Up", "192.0.2.3:80 Down"]);
    assert_eq!(
        bench.said(),
        [
            "upstream app: 192.0.2.2:80 is up: its first probe has passed",
            "upstream app: 192.0.2.3:80 is down: a probe failed with status 503"
        ]
    );
    assert_eq!(bench.book.counted().recoveries, 0);
    // Others may be there no more before it was probed; then it has to do.
    bench.learn(host("a.test", &["192.0.2.4"]));
    assert_eq!(bench.told(), ["192.0.2.4:80 Up"]);
    bench.learn(host("a.test", &["192.0.2.4", "192.0.2.5"]));
    bench.probe(0, Err("no"));
    assert_eq!(bench.told(), ["192.0.2.4:80 Down", "192.0.2.5:80 Up"]);
}

#[test]
fn the_host_of_a_probe_is_looked_up_like_others() {
    let asks = Probe { host: Some(Host::Name("probe.test".to_owned())), ..probe() };
    let settings = UpstreamSettings {
        probe: Some(asks),
        proxy_protocol: Some(ProxyVersion::V2),
        ..upstream("app", &["192.0.2.1:80"])
    };
    let mut bench = Bench::of(&[settings]);
    assert_eq!(bench.book.look_ups(bench.now), [Name::Host("probe.test".to_owned())]);
    assert_eq!(bench.book.probes().count(), 0);
    bench.learn(Answer::Addresses("probe.test".to_owned(), Err("no".to_owned())));
    let probed = bench.book.probes().next().unwrap();
    assert_eq!(probed.host, Some(Err("probe.test has no address: no".to_owned())));
    assert_eq!(probed.proxy_protocol, Some(ProxyVersion::V2));
    bench.learn(host("probe.test", &["192.0.2.7"]));
    let again = bench.book.probes().next().unwrap();
    assert_eq!(again.host.unwrap().unwrap()[..], ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    assert_eq!(again.number, probed.number);
}

#[test]
fn what_is_left_out_is_told_once() {
    let many: Vec<String> = (0..300).map(|last| format!("10.0.{}.{}", last >> 8, last & 255)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut bench = Bench::of(&[upstream("app", &["a.test:80"])]);
    bench.learn(host("a.test", &many));
    let told = "upstream app: a.test stands for more than 256 addresses or services; the others are left out";
    let said = bench.said();
    assert_eq!(said.iter().filter(|note| *note == told).count(), 1, "{said:?}");
    bench.learn(host("a.test", &many[1..]));
    assert!(!bench.said().iter().any(|note| note == told));
    // Whoever brings a configuration hears it with that.
    assert_eq!(bench.adopt(&[upstream("app", &["a.test:80"])]).notes, [told]);
}

#[test]
fn what_somebody_wants_comes_before_what_probes_say_and_that_before_requests() {
    let settings = UpstreamSettings {
        probe: Some(probe()),
        ejection: Some(Ejection::default()),
        ..upstream("app", &["192.0.2.1:80", "192.0.2.2:80"])
    };
    let mut bench = Bench::of(&[settings]);
    bench.tally("192.0.2.1:80", 0, 5);
    assert_eq!(bench.told()[0], "192.0.2.1:80 Ejected");
    bench.probe(0, Err("no"));
    assert_eq!(bench.told()[0], "192.0.2.1:80 Down");
    bench.drain(0, true);
    assert_eq!(bench.told()[0], "192.0.2.1:80 Draining");
    bench.drain(0, false);
    assert_eq!(bench.told()[0], "192.0.2.1:80 Down");
}

#[test]
fn the_share_of_one_that_joins_or_comes_back_grows() {
    let settings = |endpoints: &[&str]| UpstreamSettings {
        slow_start: Some(s(10)),
        probe: Some(probe()),
        ..upstream("app", endpoints)
    };
    let mut bench = Bench::of(&[settings(&["192.0.2.1:80"])]);
    // At the start nobody has more than the others.
    assert_eq!(bench.shares(), [1000]);
    let mut with_two = settings(&["192.0.2.1:80", "192.0.2.2:80"]);
    with_two.endpoints[1].weight = 2;
    bench.adopt(&[with_two]);
    bench.probe(1, Ok(()));
    assert_eq!(bench.shares(), [1000, 100]);
    bench.pass(s(5));
    assert_eq!(bench.shares(), [1000, 1000]);
    // Not every word of a core makes a roster.
    let rosters = bench.rosters.len();
    bench.now += ms(100);
    bench.tally("192.0.2.1:80", 0, 1);
    assert_eq!(bench.rosters.len(), rosters);
    bench.pass(ms(500));
    assert_eq!(bench.shares(), [1000, 1120]);
    bench.pass(s(5));
    assert_eq!(bench.shares(), [1000, 2000]);
    // What is left to do is to tell once more what came after the configuration.
    bench.pass(s(1));
    assert_eq!(bench.book.due(), None);

    bench.probe(0, Err("no"));
    assert_eq!(bench.shares(), [1000, 2000]);
    bench.probe(0, Ok(()));
    bench.probe(0, Ok(()));
    assert_eq!(bench.shares(), [50, 2000]);
}

#[test]
fn a_breaker_opens_lets_trials_pass_and_closes() {
    let breaker = Breaker { rate: 50, requests_min: 20, window: s(10), time: s(10), trials: 2 };
    let settings = UpstreamSettings { breaker: Some(breaker), ..upstream("app", &["192.0.2.1:80"]) };
    let mut bench = Bench::of(std::slice::from_ref(&settings));
    bench.tally("192.0.2.1:80", 16, 0);
    bench.tally("192.0.2.1:80", 0, 24);
    assert_eq!(
        bench.said(),
        ["upstream app: the circuit breaker is open for 10s: 60% of 40 requests failed"]
    );
    assert_eq!(bench.breaker(), BreakerState::Open);
    bench.pass(s(10));
    assert_eq!(bench.breaker(), BreakerState::HalfOpen);
    bench.tally("192.0.2.1:80", 0, 1);
    assert_eq!(bench.breaker(), BreakerState::Open);
    bench.pass(s(10));
    bench.tally("192.0.2.1:80", 2, 0);
    assert_eq!(bench.breaker(), BreakerState::Closed);
    let said = bench.said();
    assert!(said.iter().any(|note| note.contains("half open")) && said.last().unwrap().contains("closed"));
    assert_eq!(bench.book.counted().breaker_openings, 2);
    // Without a breaker nothing is open.
    bench.tally("192.0.2.1:80", 0, 100);
    assert_eq!(bench.breaker(), BreakerState::Open);
    bench.adopt(&[UpstreamSettings { breaker: None, ..settings }]);
    assert_eq!(bench.breaker(), BreakerState::Closed);
}

#[test]
fn the_ring_stays_while_members_and_weights_do() {
    let hashed = |endpoints: &[&str]| UpstreamSettings {
        balance: Balance::ConsistentHash { by: crate::config::HashBy::Path, load_max: None },
        ..upstream("app", endpoints)
    };
    let mut bench = Bench::of(&[hashed(&["192.0.2.1:80", "192.0.2.2:80"])]);
    let ring = |bench: &Bench| bench.book.entries()[0].told().unwrap().ring.clone().unwrap();
    let first = ring(&bench);
    bench.drain(0, true);
    assert!(Arc::ptr_eq(&first, &ring(&bench)));
    bench.adopt(&[hashed(&["192.0.2.1:80", "192.0.2.3:80"])]);
    let second = ring(&bench);
    assert!(!Arc::ptr_eq(&first, &second));
    let mut heavier = hashed(&["192.0.2.1:80", "192.0.2.3:80"]);
    heavier.endpoints[0].weight = 3;
    bench.adopt(&[heavier]);
    assert!(!Arc::ptr_eq(&second, &ring(&bench)));
    bench.adopt(&[upstream("app", &["192.0.2.1:80"])]);
    assert!(bench.book.entries()[0].told().unwrap().ring.is_none());
}

#[test]
fn changed_settings_reach_endpoints_that_stay() {
    let mut settings = upstream("app", &["192.0.2.1:80"]);
    let mut bench = Bench::of(std::slice::from_ref(&settings));
    let before = bench.book.entries()[0].told().unwrap().clone();
    settings.endpoints[0] =
        EndpointSettings { weight: 7, requests_max: Some(3), backup: true, ..settings.endpoints[0].clone() };
    let adopted = bench.adopt(&[settings]);
    let member = &adopted.rosters[0].members[0];
    assert_eq!((member.weight, member.share, member.requests_max, member.backup), (7, 7000, Some(3), true));
    assert!(adopted.rosters[0].version > before.version);
    assert!(Arc::ptr_eq(&member.shared, &before.members[0].shared));
}

#[test]
fn an_upstream_that_goes_takes_what_is_known_of_it_along_but_its_counts() {
    let settings =
        UpstreamSettings { probe: Some(probe()), ..upstream("app", &["192.0.2.1:80", "a.test:80"]) };
    let mut bench = Bench::of(&[settings]);
    bench.book.look_ups(bench.now);
    bench.probe(0, Err("no"));
    bench.adopt(&[upstream("other", &["192.0.2.1:80"])]);
    assert_eq!((bench.book.probes().count(), bench.book.due()), (0, Some(bench.now + s(2))));
    assert_eq!(bench.told(), ["192.0.2.1:80 Up"]);
    assert_eq!(bench.book.counted().probes_failed, 1);
    bench.tally("192.0.2.1:80", 0, 9);
    bench.learn(host("a.test", &["192.0.2.9"]));
    assert_eq!(bench.told(), ["192.0.2.1:80 Up"]);
}

#[test]
fn what_changed_right_after_a_configuration_is_told_once_more() {
    let mut bench = Bench::of(&[upstream("app", &["a.test:80"]), upstream("b", &["192.0.2.9:80"])]);
    bench.book.look_ups(bench.now);
    bench.learn(host("a.test", &["192.0.2.1"]));
    assert_eq!(bench.rosters.len(), 1);
    bench.pass(s(2));
    let told: Vec<_> = bench.rosters.iter().map(|roster| (&*roster.upstream, roster.version)).collect();
    assert_eq!(told, [("app", 3), ("app", 3), ("b", 2)]);
    bench.pass(s(2));
    assert_eq!(bench.rosters.len(), 3);
}

#[test]
fn what_came_with_a_configuration_is_told_once_more_and_so_is_that_of_one_right_before() {
    let mut bench = Bench::of(&[upstream("app", &["192.0.2.1:80"])]);
    bench.now += s(1);
    bench.adopt(&[upstream("app", &["192.0.2.1:80"]), upstream("b", &["192.0.2.9:80"])]);
    bench.pass(s(2));
    let names: Vec<_> = bench.rosters.iter().map(|roster| &*roster.upstream).collect();
    assert_eq!(names, ["app", "b"]);
    bench.rosters.clear();
    // What the cores have had for long is not told again.
    bench.adopt(&[upstream("app", &["192.0.2.1:80"]), upstream("c", &["192.0.2.9:80"])]);
    bench.pass(s(2));
    let names: Vec<_> = bench.rosters.iter().map(|roster| &*roster.upstream).collect();
    assert_eq!(names, ["c"]);
}

#[test]
fn versions_rise_over_all_upstreams() {
    let mut bench =
        Bench::of(&[upstream("app", &["192.0.2.1:80", "192.0.2.2:80"]), upstream("b", &["192.0.2.9:80"])]);
    let mut newest = 2;
    for (place, drained) in [(0, true), (1, true), (0, false), (1, false)] {
        bench.drain(place, drained);
        let version = bench.rosters.last().unwrap().version;
        assert!(version > newest);
        newest = version;
    }
}

#[test]
fn a_list_in_a_file_is_followed() {
    let mut bench = Bench::empty();
    bench.book.adopt(vec![upstream("app", &["file:/list"])], s(2), bench.now);
    assert_eq!(bench.book.files().count(), 1);
    let list =
        |texts: &[&str]| Answer::List("/list".into(), Ok(texts.iter().map(|text| endpoint(text)).collect()));
    bench.book.learn(list(&["192.0.2.1:80"]), bench.now);
    assert_eq!(bench.settle().unwrap().rosters[0].members.len(), 1);
    bench.learn(list(&["192.0.2.1:80", "192.0.2.2:80"]));
    assert_eq!(bench.said(), ["upstream app: 192.0.2.2:80 has joined"]);
    bench.learn(Answer::List("/list".into(), Err("/list: broken".to_owned())));
    assert_eq!(bench.told().len(), 2);
    assert!(bench.said()[0].contains("/list: broken"));
}
