//! Tests of the thread, from outside.

use super::*;
use crate::config::EndpointSettings;
use crate::upstream::{Address, Standing};

fn settings(endpoints: &[&str]) -> Settings {
    let mut settings = Settings::for_tests();
    let endpoint = |text: &&str| EndpointSettings::new(text.parse().unwrap());
    settings.upstreams[0].endpoints = endpoints.iter().map(endpoint).collect();
    settings
}

#[test]
fn a_configuration_without_names_is_adopted_at_once_and_keeps_what_it_had() {
    let (events, _told) = flume::unbounded();
    let upkeep = Upkeep::start(events, 1).unwrap();
    let mut notes = Vec::new();
    let mut adopt = |settings: &Settings| {
        upkeep.adopt(settings, Duration::from_secs(60), &mut |note: &str| notes.push(note.to_owned()))
    };
    let first = adopt(&settings(&["192.0.2.1:80"]));
    let second = adopt(&settings(&["192.0.2.2:80", "192.0.2.1:80"]));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert!(second[0].version > first[0].version);
    assert!(Arc::ptr_eq(&second[0].members[1].shared, &first[0].members[0].shared));
    assert!(Arc::ptr_eq(&second[0].shared, &first[0].shared));
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn a_name_without_an_address_stops_nothing_and_is_noted() {
    let (events, _told) = flume::unbounded();
    let upkeep = Upkeep::start(events, 1).unwrap();
    let mut notes = Vec::new();
    let within = Duration::from_millis(100);
    let rosters = upkeep.adopt(&settings(&["name.invalid:82", "192.0.2.1:80"]), within, &mut |note: &str| {
        notes.push(note.to_owned());
    });
    assert!(rosters[0].unresolved);
    assert_eq!(rosters[0].members.len(), 1);
    let note = "the origin name.invalid:82 has no address yet; it is looked up again and again";
    assert!(notes.len() == 1 && notes[0].starts_with(note), "{notes:?}");
}

#[test]
fn a_drain_reaches_the_cores_before_its_answer_does() {
    let (events, told) = flume::unbounded();
    let upkeep = Upkeep::start(events, 1).unwrap();
    upkeep.adopt(&settings(&["192.0.2.1:80", "192.0.2.2:80"]), Duration::ZERO, &mut |_: &str| {});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let order = DrainRequest { upstream: None, endpoint: "192.0.2.1:80".to_owned() };
    let drained = runtime.block_on(upkeep.drain(order, true)).unwrap().unwrap();
    assert_eq!(drained[0].address, Address::Ip("192.0.2.1:80".parse().unwrap()));
    let rosters: Vec<_> = told
        .try_iter()
        .filter_map(|event| match event {
            Event::Rosters(rosters) => Some(rosters),
            _ => None,
        })
        .collect();
    assert_eq!(rosters[0][0].members[0].standing, Standing::Draining);
    let listing = runtime.block_on(upkeep.list()).unwrap();
    assert_eq!(listing.upstreams[0].endpoints[0].standing, "draining");
}

#[test]
fn the_thread_ends_with_the_last_who_could_ask_it() {
    let (events, told) = flume::unbounded();
    let upkeep = Upkeep::start(events, 1).unwrap();
    upkeep.adopt(&settings(&["192.0.2.1:80"]), Duration::ZERO, &mut |_: &str| {});
    drop(upkeep.clone());
    assert!(!told.is_disconnected());
    drop(upkeep);
    assert!(matches!(told.recv_timeout(Duration::from_secs(60)), Err(flume::RecvTimeoutError::Disconnected)));
}

#[test]
fn a_panic_of_the_thread_ends_the_process_with_a_word() {
    let (events, told) = flume::unbounded();
    let upkeep = Upkeep::start(events, 1).unwrap();
    upkeep.messages.send(Message::Panic).unwrap();
    let ended = told.recv_timeout(Duration::from_secs(60));
    let Ok(Event::Ended(Err(why))) = ended else { panic!("nobody hears of it") };
    assert_eq!(why, "whoever keeps upstreams up panicked: as somebody wants");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(upkeep.list()).unwrap_err(), Silent::Ended);
}

#[test]
fn nobody_waits_without_end_for_a_thread_that_hangs() {
    let (messages, _inbox) = flume::unbounded();
    let upkeep = Upkeep { messages, workers: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asking = upkeep.ask(Duration::from_millis(20), |done| Message::List { done });
    assert_eq!(runtime.block_on(asking).unwrap_err(), Silent::Late);
}
