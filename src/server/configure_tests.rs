//! Tests of reloads with workers that take what they get, late or never.

use std::thread::JoinHandle;

use super::*;
use crate::config::{DriverChoice, ListenerSettings};

/// One listener for each of these names and addresses.
fn settings(listeners: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::for_tests();
    let plain = settings.listeners.remove(0);
    let listener = |(name, address): &(&str, &str)| ListenerSettings {
        name: (*name).to_owned(),
        addresses: vec![address.parse().unwrap()],
        ..plain.clone()
    };
    settings.listeners = listeners.iter().map(listener).collect();
    settings
}

/// What is in force at first, for so many workers that take what they get at the start.
fn begun(settings: Settings, workers: usize) -> Configurator {
    let (events, _) = flume::unbounded();
    let following = Following::start(events.clone()).unwrap();
    let upkeep = Upkeep::start(events, workers).unwrap();
    let mut configurator = Configurator::begin(settings, workers, upkeep, following).unwrap();
    let _ = configurator.parts(&mut |_| {});
    Configurator { cores_time: Duration::from_millis(200), ..configurator }
}

/// A worker that takes what it gets, and tells on how many sockets it was to listen each time.
fn worker() -> (Handle, JoinHandle<Vec<usize>>) {
    let (handle, orders) = Handle::pair();
    let thread = std::thread::spawn(move || {
        let take = |order| {
            let Order::Configure(part, done) = order else { panic!("another order") };
            let _ = done.send(());
            part.wanted.len()
        };
        orders.iter().map(take).collect()
    });
    (handle, thread)
}

/// Reloads, with that in the file.
fn reload(
    configurator: &mut Configurator,
    workers: &[Handle],
    settings: Settings,
) -> Result<Reloaded, NotReloaded> {
    let mut read: ReadAgain = Box::new(move || Ok((settings.clone(), Vec::new())));
    configurator.reload(workers, &mut read)
}

/// What each open address is for: the port, and the name of the listener.
fn ports(configurator: &Configurator) -> Vec<(u16, &str)> {
    let port = |bound: &Bound| bound.opened.bound[0].address().unwrap().port();
    configurator.bound.iter().map(|bound| (port(bound), bound.listener.as_str())).collect()
}

#[test]
fn a_core_that_is_stuck_holds_up_neither_the_reload_nor_the_others() {
    let one = settings(&[("web", "127.0.0.1:0")]);
    let mut configurator = begun(one.clone(), 4);
    let ((first, first_thread), (last, last_thread)) = (worker(), worker());
    let (stuck, orders) = Handle::pair();
    let (ended, gone) = Handle::pair();
    drop(gone);
    let workers = [first, stuck, ended, last];
    let reloaded = reload(&mut configurator, &workers, one).unwrap();
    assert_eq!(reloaded.late, [1]);
    assert!(reloaded.took >= configurator.cores_time);
    let two = settings(&[("web", "127.0.0.1:0"), ("more", "127.0.0.1:0")]);
    assert_eq!(reload(&mut configurator, &workers, two).unwrap().late, [1]);
    assert!(told(&Ok(reloaded)).iter().any(|line| line == "but it has not reached worker 1 yet"));
    assert_eq!(configurator.counts.done.load(Ordering::Relaxed), 2);
    drop(workers);
    assert_eq!(first_thread.join().unwrap(), [1, 2]);
    assert_eq!(last_thread.join().unwrap(), [1, 2]);
    // As soon as it goes on, it gets all that it has missed, in order.
    let missed = orders.iter().map(|order| match order {
        Order::Configure(part, _) => (part.wanted.len(), part.new.len()),
        _ => panic!("another order"),
    });
    assert_eq!(missed.collect::<Vec<_>>(), [(1, 0), (2, 1)]);
}

#[test]
fn what_no_worker_has_any_more_is_not_kept() {
    let one = settings(&[("web", "127.0.0.1:0")]);
    let mut configurator = begun(one.clone(), 2);
    let ((first, _first), (second, _second)) = (worker(), worker());
    let workers = [first, second];
    for _ in 0..20 {
        reload(&mut configurator, &workers, one.clone()).unwrap();
        // Those of the last reload may still be on their way back.
        assert!(configurator.given.len() <= 4, "{}", configurator.given.len());
    }
}

#[test]
fn each_of_two_listeners_on_any_port_keeps_its_own() {
    let both = settings(&[("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")]);
    let mut configurator = begun(both.clone(), 1);
    let before: Vec<_> =
        ports(&configurator).into_iter().map(|(port, name)| (port, name.to_owned())).collect();
    let [(a, _), (b, _)] = before[..] else { panic!("{before:?}") };
    assert_ne!(a, b);
    let (worker, _thread) = worker();
    let workers = [worker];
    reload(&mut configurator, &workers, both).unwrap();
    assert_eq!(ports(&configurator), [(a, "a"), (b, "b")]);
    let exchanged = settings(&[("b", "127.0.0.1:0"), ("a", "127.0.0.1:0")]);
    reload(&mut configurator, &workers, exchanged).unwrap();
    assert_eq!(ports(&configurator), [(a, "a"), (b, "b")]);
    // One of another name takes what is left over.
    reload(&mut configurator, &workers, settings(&[("c", "127.0.0.1:0"), ("b", "127.0.0.1:0")])).unwrap();
    assert_eq!(ports(&configurator), [(a, "c"), (b, "b")]);
    reload(&mut configurator, &workers, settings(&[("b", "127.0.0.1:0")])).unwrap();
    assert_eq!(ports(&configurator), [(b, "b")]);
}

#[test]
fn an_address_that_is_taken_leaves_nothing_open_that_came_with_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let mut configurator = begun(settings(&[("web", "127.0.0.1:0")]), 1);
    let port = ports(&configurator)[0].0;
    let (worker, thread) = worker();
    let workers = [worker];
    let wide = format!("0.0.0.0:{port}");
    let file = settings(&[("web", &wide), ("z", &taken)]);
    let Err(NotReloaded::Address(why)) = reload(&mut configurator, &workers, file) else {
        panic!("it was reloaded");
    };
    assert!(why.contains("in use by another process"), "{why}");
    assert_eq!(ports(&configurator), [(port, "web")]);
    assert!(std::net::TcpStream::connect(("127.0.0.2", port)).is_err());
    assert_eq!(configurator.counts.failed.load(Ordering::Relaxed), 1);
    drop(workers);
    assert!(thread.join().unwrap().is_empty());
}

#[test]
fn what_needs_a_restart_is_told_until_it_is_as_at_the_start() {
    let start = settings(&[("web", "127.0.0.1:0")]);
    let mut configurator = begun(start.clone(), 1);
    let (worker, _thread) = worker();
    let workers = [worker];
    let changed = Settings { driver: DriverChoice::Epoll, cores: Some(7), ..start.clone() };
    for _ in 0..2 {
        let notes = reload(&mut configurator, &workers, changed.clone()).unwrap().notes;
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("cores has changed") && notes[1].starts_with("driver has changed"));
    }
    assert_eq!(reload(&mut configurator, &workers, start).unwrap().notes, [""; 0]);
}

#[test]
fn who_asks_while_it_reloads_shares_the_next_one() {
    let one = settings(&[("web", "127.0.0.1:0")]);
    let configurator = begun(one.clone(), 1);
    let counts = configurator.counts();
    let (reading, reads) = flume::unbounded();
    let (go_on, may_go_on) = flume::unbounded();
    let read: ReadAgain = Box::new(move || {
        reading.send(()).unwrap();
        may_go_on.recv().unwrap();
        Ok((one.clone(), Vec::new()))
    });
    let (worker, _thread) = worker();
    let (events, _heard) = flume::unbounded();
    let reloading = configurator.attend(vec![worker], read, events).unwrap();
    let ask = || {
        let (done, answer) = flume::bounded(1);
        reloading.ask(Some(done));
        answer
    };
    let first = ask();
    reads.recv().unwrap();
    // What is read now may be older than what these want.
    let more: Vec<_> = (0..10).map(|_| ask()).collect();
    reloading.ask(None);
    go_on.send(()).unwrap();
    assert!(first.recv().unwrap().is_ok());
    reads.recv().unwrap();
    go_on.send(()).unwrap();
    assert!(more.iter().all(|answer| answer.recv().unwrap().is_ok()));
    drop(reloading);
    assert_eq!((counts.done.load(Ordering::Relaxed), reads.try_iter().count()), (2, 0));
}
