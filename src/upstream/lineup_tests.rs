//! Tests of who may be chosen, by rosters that say how endpoints stand.

use super::*;
use crate::config::{EndpointSettings, UpstreamSettings};
use crate::upstream::shared::UpstreamShared;
use crate::upstream::{EndpointKey, Member};

/// An endpoint of a roster: its port says which.
fn member(port: u16) -> Member {
    let settings = EndpointSettings::new(format!("127.0.0.1:{port}").parse().unwrap());
    let address = crate::upstream::Address::literal(&settings.address).unwrap();
    Member::new(address, 0, &settings)
}

fn standing(port: u16, standing: Standing) -> Member {
    Member { standing, ..member(port) }
}

fn backup(port: u16) -> Member {
    Member { backup: true, ..member(port) }
}

fn roster(members: Vec<Member>) -> Roster {
    Roster {
        upstream: "app".into(),
        version: 1,
        members: members.into(),
        unresolved: false,
        breaker: BreakerState::Closed,
        ring: None,
        shared: Arc::new(UpstreamShared::default()),
    }
}

fn lineup_of(roster: Roster, when_down: WhenDown) -> Lineup {
    let node = |member: &Member| {
        let key = EndpointKey { upstream: "app".into(), address: member.address.clone() };
        let node = Rc::new(Node::new(key, member, &roster.shared, &Rc::default()));
        node.follow(member);
        node
    };
    let nodes = roster.members.iter().map(node).collect();
    let balance = UpstreamSettings::new("app", Vec::new()).balance;
    Lineup::new(&Plan { balance: &balance, when_down, seed: 0 }, Arc::new(roster), nodes, None)
}

fn lineup(members: Vec<Member>) -> Lineup {
    lineup_of(roster(members), WhenDown::Try)
}

/// The ports of the endpoints that so many requests go to, each done before the next, in ascending order.
fn ports(lineup: &Lineup, count: usize, tried: &[Rc<Node>]) -> Vec<u16> {
    let mut ports: Vec<u16> =
        (0..count).filter_map(|_| lineup.choose(7, None, tried).ok()).map(|slot| port(&slot)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn port(slot: &Slot) -> u16 {
    match &slot.node().key().address {
        crate::upstream::Address::Ip(address) => address.port(),
        crate::upstream::Address::Unix(_) => 0,
    }
}

#[test]
fn requests_go_to_those_that_are_up() {
    use Standing::*;
    let members =
        vec![standing(1, Down), standing(2, Up), standing(3, Ejected), standing(4, Draining), member(5)];
    assert_eq!(ports(&lineup(members), 10, &[]), [2, 5]);
}

#[test]
fn backups_come_in_when_nobody_else_is_up_and_when_all_others_were_tried() {
    let all = lineup(vec![member(1), member(2), backup(3)]);
    assert_eq!(ports(&all, 10, &[]), [1, 2]);
    assert_eq!(ports(&all, 10, &all.nodes[..1]), [2]);
    assert_eq!(ports(&all, 10, &all.nodes[..2]), [3]);
    assert_eq!(all.choose(0, None, &all.nodes).err(), Some(Unavailable::None(Reason::UpstreamDown)));
    let down = lineup(vec![standing(1, Standing::Down), backup(3), standing(4, Standing::Draining)]);
    assert_eq!(ports(&down, 10, &[]), [3]);
}

#[test]
fn when_all_are_out_they_are_tried_or_not_as_it_was_said_but_never_those_that_are_drained() {
    use Standing::*;
    let members = || {
        let backup = Member { backup: true, ..standing(3, Down) };
        vec![standing(1, Down), standing(2, Ejected), backup, standing(4, Draining)]
    };
    assert_eq!(ports(&lineup(members()), 10, &[]), [1, 2, 3]);
    let refusing = lineup_of(roster(members()), WhenDown::Fail);
    assert_eq!(refusing.choose(0, None, &[]).err(), Some(Unavailable::None(Reason::UpstreamDown)));
    let drained = lineup(vec![standing(1, Draining)]);
    assert_eq!(drained.choose(0, None, &[]).err(), Some(Unavailable::None(Reason::UpstreamDown)));
}

#[test]
fn an_upstream_without_endpoints_says_why() {
    let empty = lineup(Vec::new());
    assert_eq!(empty.choose(0, None, &[]).err(), Some(Unavailable::None(Reason::NoEndpoint)));
    let unresolved = lineup_of(Roster { unresolved: true, ..roster(Vec::new()) }, WhenDown::Try);
    assert_eq!(unresolved.choose(0, None, &[]).err(), Some(Unavailable::None(Reason::NameUnresolved)));
}

#[test]
fn an_endpoint_that_is_full_is_passed_by_and_when_all_are_there_is_no_room() {
    let narrow = |port| Member { requests_max: Some(1), ..member(port) };
    let both = lineup(vec![narrow(1), narrow(2)]);
    let (one, other) = (both.choose(0, None, &[]).unwrap(), both.choose(0, None, &[]).unwrap());
    assert_ne!(port(&one), port(&other));
    assert_eq!(both.choose(0, None, &[]).err(), Some(Unavailable::Full));
    assert_eq!(both.roster.shared.in_flight(), 2);
    drop(one);
    assert!(both.choose(0, None, &[]).is_ok());
    drop(other);
    assert_eq!(both.roster.shared.in_flight(), 0);
    // One that was tried for the request is no reason to wait.
    let _held = both.choose(0, None, &both.nodes[1..]).unwrap();
    assert_eq!(both.choose(0, None, &both.nodes[1..]).err(), Some(Unavailable::Full));
    assert_eq!(both.choose(0, None, &both.nodes).err(), Some(Unavailable::None(Reason::UpstreamDown)));
}

#[test]
fn backups_are_not_for_those_who_would_have_to_wait() {
    let with_backup = lineup(vec![Member { requests_max: Some(1), ..member(1) }, backup(2)]);
    let held = with_backup.choose(0, None, &[]).unwrap();
    assert_eq!((port(&held), with_backup.choose(0, None, &[]).err()), (1, Some(Unavailable::Full)));
    assert_eq!(ports(&with_backup, 1, &with_backup.nodes[..1]), [2]);
    assert_eq!(port(&lineup(vec![member(1), backup(2)]).choose(0, None, &[]).unwrap()), 1);
    // Nor does a client stay at one when those are back for which it stood in.
    let id = with_backup.nodes[1].id();
    drop(held);
    assert_eq!(port(&with_backup.choose(0, Some(id), &[]).unwrap()), 1);
    assert!(!with_backup.has(id) && with_backup.has(with_backup.nodes[0].id()));
}

#[test]
fn a_client_stays_at_its_endpoint_for_as_long_as_that_gets_requests() {
    let up = lineup(vec![member(1), member(2), standing(3, Standing::Down)]);
    let id = |place: usize| Some(up.nodes[place].id());
    for _ in 0..4 {
        assert_eq!(port(&up.choose(0, id(1), &[]).unwrap()), 2);
    }
    assert_ne!(port(&up.choose(0, id(2), &[]).unwrap()), 3);
    assert_eq!(port(&up.choose(0, id(1), &up.nodes[1..2]).unwrap()), 1);
    assert!(up.choose(0, Some(12345), &[]).is_ok());
}

#[test]
fn a_breaker_lets_nothing_through_while_it_is_open_and_a_few_while_it_is_half_open() {
    let with = |breaker| lineup_of(Roster { breaker, ..roster(vec![member(1)]) }, WhenDown::Try);
    assert_eq!(with(BreakerState::Closed).pass(), Ok(false));
    assert_eq!(with(BreakerState::Open).pass(), Err(Reason::BreakerOpen));
    let half = with(BreakerState::HalfOpen);
    half.roster.shared.set_trials(2);
    let passes: Vec<bool> = (0..3).map(|_| half.pass() == Ok(true)).collect();
    assert_eq!(passes, [true, true, false]);
}
