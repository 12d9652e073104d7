//! Tests of the resolver: its book by messages, the whole of it with a name that every machine knows.

use super::*;
use crate::config::Settings;

fn key(address: &str) -> EndpointKey {
    EndpointKey { upstream: "app".into(), address: address.parse().unwrap() }
}

fn ip(text: &str) -> Address {
    Address::Ip(text.parse().unwrap())
}

/// A book that starts no look-up of its own: as many run as may.
fn book() -> (Book, flume::Receiver<Event>) {
    let (messages, _) = flume::unbounded();
    let (events, told) = flume::unbounded();
    (Book { running: LOOK_UPS_MAX, ..Book::new(messages, events) }, told)
}

fn found(book: &mut Book, name: &str, addresses: Option<&[&str]>) {
    // In place of the one that ends, another is taken to run.
    book.running += 1;
    let addresses = addresses.map(|addresses| addresses.iter().map(|text| ip(text)).collect());
    let now = book.clock.now();
    book.hear(Message::Found((name.to_owned(), 80), addresses), now);
}

fn ask(book: &mut Book, keys: &[EndpointKey], within: Duration) -> flume::Receiver<Vec<Endpoint>> {
    let (answer, answers) = flume::bounded(1);
    let now = book.clock.now();
    book.hear(Message::Ask { keys: keys.to_vec(), within, answer }, now);
    answers
}

const LONG: Duration = Duration::from_secs(3600);

fn changes(told: &flume::Receiver<Event>) -> Vec<Endpoint> {
    told.try_iter()
        .flat_map(|event| match event {
            Event::Addresses(changed) => changed,
            _ => panic!("another event"),
        })
        .collect()
}

#[test]
fn a_failure_keeps_the_last_addresses_and_only_changes_are_told() {
    let (mut book, told) = book();
    let app = key("app.test:80");
    book.hear(Message::Watch(vec![app.clone(), key("other.test:80")]), Clock::default().now());
    found(&mut book, "app.test", Some(&["192.0.2.1:80"]));
    assert_eq!(changes(&told), [Endpoint { key: app.clone(), addresses: vec![ip("192.0.2.1:80")] }]);
    found(&mut book, "app.test", Some(&["192.0.2.1:80"]));
    found(&mut book, "app.test", None);
    found(&mut book, "app.test", Some(&[]));
    assert_eq!(changes(&told), []);
    assert_eq!(book.known([&app].into_iter())[0].addresses, [ip("192.0.2.1:80")]);
}

#[test]
fn what_was_found_before_a_name_is_watched_is_told_when_it_is() {
    let (mut book, told) = book();
    let answers = ask(&mut book, &[key("app.test:80")], Duration::ZERO);
    book.answer(book.clock.now());
    assert!(answers.try_recv().unwrap()[0].addresses.is_empty());
    found(&mut book, "app.test", Some(&["192.0.2.1:80"]));
    assert_eq!(changes(&told), []);
    book.hear(Message::Watch(vec![key("app.test:80")]), Clock::default().now());
    assert_eq!(changes(&told)[0].addresses, [ip("192.0.2.1:80")]);
}

#[test]
fn a_question_waits_for_the_names_that_are_new_and_for_no_other() {
    let (mut book, _told) = book();
    let (old, new) = (key("old.test:80"), key("new.test:80"));
    book.hear(Message::Watch(vec![old.clone()]), Clock::default().now());
    found(&mut book, "old.test", Some(&["192.0.2.1:80"]));
    let both = ask(&mut book, &[old, new], LONG);
    book.answer(book.clock.now());
    assert!(both.is_empty());
    assert_eq!(book.queue, [("new.test".to_owned(), 80)]);
    found(&mut book, "new.test", None);
    book.answer(book.clock.now());
    let answer = both.try_recv().unwrap();
    assert_eq!(answer[0].addresses, [ip("192.0.2.1:80")]);
    assert!(answer[1].addresses.is_empty());
}

#[test]
fn a_question_whose_time_is_over_is_answered_with_what_is_known() {
    let (mut book, _told) = book();
    let answers = ask(&mut book, &[key("slow.test:80")], Duration::ZERO);
    book.answer(book.clock.now());
    assert!(answers.try_recv().unwrap()[0].addresses.is_empty());
    assert!(book.questions.is_empty());
}

#[test]
fn names_that_nobody_watches_any_more_are_forgotten() {
    let (mut book, told) = book();
    let now = book.clock.now();
    book.hear(Message::Watch(vec![key("a.test:80"), key("b.test:80")]), now);
    found(&mut book, "a.test", Some(&["192.0.2.1:80"]));
    book.hear(Message::Watch(vec![key("b.test:80")]), now);
    changes(&told);
    assert!(book.entries.keys().all(|(host, _)| host == "b.test"));
    // A look-up that was under way tells nobody anything.
    found(&mut book, "a.test", Some(&["192.0.2.2:80"]));
    assert_eq!(changes(&told), []);
    assert!(book.entries.keys().all(|(host, _)| host == "b.test"));
}

#[test]
fn a_name_is_looked_up_once_at_a_time() {
    let (mut book, _told) = book();
    ask(&mut book, &[key("a.test:80")], LONG);
    ask(&mut book, &[key("a.test:80")], LONG);
    assert_eq!(book.queue.len(), 1);
}

#[test]
fn a_name_of_this_machine_is_found_and_one_that_cannot_be_stops_nothing() {
    let (events, _told) = flume::unbounded();
    let mut resolver = Resolver::new(events);
    let keys = ["localhost:81", "name.invalid:82"].map(key);
    let mut notes = Vec::new();
    let known =
        resolver.resolve_now(&keys, Duration::from_secs(60), &mut |note: &str| notes.push(note.to_owned()));
    let addresses = &known[0].addresses;
    assert!(
        addresses.iter().any(|address| matches!(address, Address::Ip(ip) if ip.ip().is_loopback())),
        "{addresses:?}"
    );
    assert!(known[1].addresses.is_empty());
    assert!(matches!(&notes[..], [note] if note.contains("name.invalid:82")), "{notes:?}");
}

#[test]
fn only_names_are_looked_up() {
    let mut settings = Settings::for_tests();
    assert_eq!(names(&settings.upstreams), []);
    let named: EndpointAddress = "app.test:80".parse().unwrap();
    settings.upstreams[0].endpoints[0].address = named.clone();
    assert_eq!(names(&settings.upstreams)[0].address, named);
}
