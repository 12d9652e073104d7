use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use super::*;

fn v4(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

#[test]
fn a_count_has_a_bound_and_comes_back() {
    let count = Count::default();
    assert!(count.enter(2) && count.enter(2) && !count.enter(2));
    assert_eq!(count.get(), 2);
    count.leave();
    assert!(count.enter(2));
    assert!(!count.enter(1), "a bound may become less");
}

#[test]
fn a_client_is_an_address_or_a_network_of_ipv6() {
    for (address, prefix, want) in [
        ("192.0.2.1", 64, "192.0.2.1"),
        ("::ffff:192.0.2.1", 64, "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
        ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::"),
        ("2001:db8:1:2:3:4:5:6", 0, "::"),
    ] {
        assert_eq!(
            client(address.parse().unwrap(), prefix),
            want.parse::<IpAddr>().unwrap(),
            "{address}/{prefix}"
        );
    }
}

#[test]
fn one_client_does_not_use_up_what_another_has() {
    let crowd = Crowd::default();
    let mut guests = Vec::new();
    for number in 0..1000 {
        guests.extend(crowd.enter(v4(number), 1));
        assert!(crowd.enter(v4(number), 1).is_none());
    }
    assert_eq!((crowd.total(), crowd.of(v4(7))), (1000, 1));
    guests.iter().for_each(|guest| crowd.leave(guest));
    assert_eq!(crowd.total(), 0);
    assert!(crowd.0.words.iter().all(|slot| slot.load(Relaxed) == 0), "no slot is left taken");
}

#[test]
fn a_full_bucket_lets_others_in_uncounted_and_forgets_nobody() {
    let crowd = Crowd::default();
    let fill: Vec<Guest> = (0..3 << 18).filter_map(|number| crowd.enter(v4(number), 1)).collect();
    assert_eq!(fill.len(), 3 << 18, "whoever finds no room is let in");
    let uncounted = fill.iter().filter(|guest| guest.tag == 0).count();
    assert!(uncounted > 0 && crowd.total() == (fill.len() - uncounted) as u64);
    fill.iter().for_each(|guest| crowd.leave(guest));
    assert_eq!(crowd.total(), 0);
}

#[test]
fn cores_that_count_the_same_clients_never_let_too_many_in_and_lose_none() {
    const CORES: usize = 4;
    const MAX: u16 = 3;
    // Few clients in few buckets, so that they meet; what is inside is counted beside it.
    let crowd = Arc::new(Crowd::default());
    let clients = 8;
    let inside: Arc<Vec<AtomicUsize>> = Arc::new((0..clients).map(|_| AtomicUsize::new(0)).collect());
    let too_many = Arc::new(AtomicBool::new(false));
    let cores: Vec<_> = (0..CORES)
        .map(|core| {
            let (crowd, inside, too_many) = (crowd.clone(), inside.clone(), too_many.clone());
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(core as u64);
                let mut guests: Vec<(usize, Guest)> = Vec::new();
                let mut entered = 0;
                for _ in 0..100_000 {
                    let number = random.usize(..clients);
                    if random.bool()
                        && let Some(guest) = crowd.enter(v4(u32::try_from(number).unwrap()), MAX)
                    {
                        entered += 1;
                        let before = inside[number].fetch_add(1, SeqCst);
                        too_many.fetch_or(before >= usize::from(MAX), SeqCst);
                        guests.push((number, guest));
                    } else if !guests.is_empty() {
                        let (number, guest) = guests.swap_remove(random.usize(..guests.len()));
                        inside[number].fetch_sub(1, SeqCst);
                        crowd.leave(&guest);
                    }
                }
                for (number, guest) in guests {
                    inside[number].fetch_sub(1, SeqCst);
                    crowd.leave(&guest);
                }
                entered
            })
        })
        .collect();
    let entered: usize = cores.into_iter().map(|core| core.join().unwrap()).sum();
    assert!(entered > 1000 && !too_many.load(SeqCst));
    assert_eq!(crowd.total(), 0);
}

#[test]
fn slots_of_one_bucket_are_taken_and_given_back_by_several_cores_at_once() {
    // Tags that fight for one bucket, whose slots come and go under everyone's hands.
    let bucket: Arc<Vec<AtomicU64>> = Arc::new((0..WAYS).map(|_| AtomicU64::new(0)).collect());
    let cores: Vec<_> = (0..4_u64)
        .map(|core| {
            let bucket = bucket.clone();
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(core);
                let mut held = Vec::new();
                for _ in 0..200_000 {
                    let tag = random.u64(1..12) << COUNT_BITS;
                    if held.len() < 4 && random.bool() {
                        if let Some(Ok(_)) = take_slot(&bucket, tag, 100) {
                            held.push(tag);
                        }
                    } else if let Some(tag) = held.pop() {
                        leave_any(&bucket, tag);
                    }
                }
                held.into_iter().for_each(|tag| leave_any(&bucket, tag));
            })
        })
        .collect();
    cores.into_iter().for_each(|core| core.join().unwrap());
    assert!(bucket.iter().all(|slot| slot.load(SeqCst) == 0));
}
