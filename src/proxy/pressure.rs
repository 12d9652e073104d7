//! How close the process is to what it may hold, over all cores, and what is done about it.
//!
//! ```text
//!     0 %                      80 %        90 %       100 %
//!      ├────────── calm ─────────┼───────────┼───────────┤
//!                                └─ calm ────▶ near ─────▶ full
//!                                 ◀──── near ┘
//!   near   of connections: idle ones are closed, those that have waited longest first; responses end theirs
//!   full   of connections: new ones get status 503
//!          of memory: requests do, and clients that are waited for in the middle of a message, and so hold some,
//!          are broken off, those that have been for longest first
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

use super::troubles::Troubles;
use crate::config::Room;
use crate::filter::arrivals::Count;
use crate::net::{disk, sys};

/// From here on, in percent of what there may be, it is near; and below that it is not any more.
const NEAR: u64 = 90;
const CALM: u64 = 80;

/// What is closed at once, so that nobody waits for it.
pub(super) const BATCH: usize = 256;

/// So many ticks after descriptors ran out they still count as short.
const SHORT_TICKS: u32 = 10;

/// Descriptors that are for neither clients nor upstreams: of each core, and of the process.
const DESCRIPTORS_OF_CORE: u64 = 24;
const DESCRIPTORS_OF_PROCESS: u64 = 64;

/// It is near.
const IS_NEAR: u8 = 1;
/// Requests are refused.
const IS_FULL: u8 = 2;

/// See the module. All cores share one, and it outlives configurations.
#[derive(Default)]
pub(crate) struct Pressure {
    /// Apart from what changes with every connection, for every request looks at it.
    state: Padded<AtomicU8>,
    connections: Padded<Count>,
    connections_max: AtomicU64,
    memory: Arc<AtomicUsize>,
    memory_max: AtomicU64,
    /// Ticks for which descriptors still count as short.
    short: AtomicU32,
    /// It became near since the last look.
    became_near: AtomicBool,
    /// The state that was told last.
    told: AtomicU8,
    /// How often it began.
    times: AtomicU64,
    /// How many connections were asked for, where there are no descriptors for so many, until that is told.
    beyond: AtomicU64,
    /// The same, that nobody is told again.
    told_beyond: AtomicU64,
    /// How many descriptors those need.
    needed: AtomicU64,
    /// What else there is to tell.
    troubles: Arc<Troubles>,
}

/// Something on a line of the cache of its own.
#[derive(Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// What there is to tell of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PressureReport {
    /// `calm`, `near` or `full`.
    pub(crate) state: &'static str,
    /// Connections of clients, and how many there may be.
    pub(crate) connections: (u64, u64),
    /// Bytes of memory, and how many there may be, if there is a limit.
    pub(crate) memory: (u64, Option<u64>),
    /// How often it was near so far.
    pub(crate) times: u64,
}

/// What takes descriptors beside connections of clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others {
    /// Cores, each with its own.
    pub(super) cores: usize,
    /// Connections to upstreams that may be idle.
    pub(super) upstream_idle: usize,
    /// Whether there may be files that hold content.
    pub(super) has_files: bool,
}

impl Pressure {
    /// One that tells what goes wrong with content that is held, too.
    pub(super) fn telling(troubles: Arc<Troubles>) -> Pressure {
        Pressure { troubles, ..Pressure::default() }
    }

    /// From now on so much may be held.
    pub(super) fn set(&self, room: Room, others: Others) {
        self.set_among(room, others, sys::descriptor_limit());
    }

    /// The same, with so many descriptors. Connections for which there are none would only hang.
    fn set_among(&self, room: Room, others: Others, descriptors: u64) {
        let files = if others.has_files { disk::files_max(descriptors) } else { 0 };
        let most = of_descriptors(descriptors - files, others.cores as u64, others.upstream_idle as u64);
        let asked = room.connections_max.map_or(most, u64::from);
        self.connections_max.store(asked.min(most), Relaxed);
        self.memory_max.store(room.memory_max.unwrap_or(u64::MAX), Relaxed);
        let beyond = if asked > most { asked } else { 0 };
        if self.told_beyond.swap(beyond, Relaxed) != beyond {
            self.needed.store(needed(beyond, others), Relaxed);
            self.beyond.store(beyond, Relaxed);
        }
    }

    /// What there is to tell of connections that there are no descriptors for, once.
    fn tell_beyond(&self) -> Option<String> {
        let asked = Some(self.beyond.swap(0, Relaxed)).filter(|asked| *asked > 0)?;
        let (most, needed) = (self.connections_max.load(Relaxed), self.needed.load(Relaxed));
        Some(format!(
            "max-connections = {asked} needs about {needed} descriptors, and this process may have {}: there are \
             {most} connections at most",
            sys::descriptor_limit()
        ))
    }

    /// Where the memory is counted of buffers, of held content, and of streams of compressed content.
    pub(super) fn memory(&self) -> &Arc<AtomicUsize> {
        &self.memory
    }

    /// Counts another connection, if there may be one more.
    pub(super) fn enter(&self) -> bool {
        self.connections.0.enter(self.connections_max.load(Relaxed))
    }

    /// Counts one less.
    pub(super) fn leave(&self) {
        self.connections.0.leave();
    }

    /// Whether something is near its limit.
    pub(super) fn is_near(&self) -> bool {
        self.state.0.load(Relaxed) != 0
    }

    /// Whether there is no room for requests.
    pub(super) fn is_full(&self) -> bool {
        self.state.0.load(Relaxed) & IS_FULL != 0
    }

    /// Whether connections are so many that idle ones have to go at once. Then it is near, also before anybody looks.
    pub(super) fn is_crowded(&self) -> bool {
        let is_crowded = above(self.connections.0.get(), self.connections_max.load(Relaxed), NEAR);
        if is_crowded && !self.is_near() {
            self.state.0.fetch_or(IS_NEAR, SeqCst);
            self.became_near.store(true, SeqCst);
        }
        is_crowded
    }

    /// Descriptors have run out.
    pub(super) fn descriptors_ran_out(&self) {
        self.short.store(SHORT_TICKS, Relaxed);
        self.state.0.fetch_or(IS_NEAR, SeqCst);
    }

    /// Whether that was a moment ago.
    pub(super) fn is_short_of_descriptors(&self) -> bool {
        self.short.load(Relaxed) > 0
    }

    /// How many idle connections each of so many cores should close now.
    pub(super) fn surplus(&self, cores: usize) -> usize {
        // One less than that, so that the pressure ends.
        let calm =
            (u128::from(self.connections_max.load(Relaxed)) * u128::from(CALM) / 100).saturating_sub(1);
        let calm = u64::try_from(calm).unwrap_or(u64::MAX);
        let surplus = self.connections.0.get().saturating_sub(calm).div_ceil(cores.max(1) as u64);
        // Who is idle holds no memory.
        let least = if self.is_short_of_descriptors() { BATCH / 4 } else { 0 };
        usize::try_from(surplus).unwrap_or(BATCH).max(least).min(BATCH)
    }

    /// Looks at it again; `leads` is one of the cores. Returns a note for whoever watches, on one core, when something
    /// has changed.
    pub(super) fn update(&self, leads: bool) -> Option<String> {
        if leads {
            let _ = self.short.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            self.troubles.tick();
            if let Some(note) = self.tell_beyond().or_else(|| self.troubles.tell()) {
                return Some(note);
            }
        }
        let state = self.state.0.load(SeqCst);
        // Also what is over already is told.
        let noticed = if self.became_near.swap(false, SeqCst) { IS_NEAR } else { 0 };
        let after = self.judged(state) | noticed;
        if after != state && self.state.0.compare_exchange(state, after, SeqCst, SeqCst).is_err() {
            return None;
        }
        let before = self.told.load(SeqCst);
        if after == before || self.told.compare_exchange(before, after, SeqCst, SeqCst).is_err() {
            return None;
        }
        let PressureReport { connections: (connections, most), memory: (bytes, bytes_max), .. } =
            self.report();
        let of_memory = bytes_max.map_or_else(String::new, |most| format!(" of {most}"));
        let held = format!("{connections} of {most} connections, {bytes}{of_memory} bytes of memory");
        match (before, after) {
            (_, 0) => Some(format!("the pressure is over: {held}")),
            (0, IS_NEAR) => {
                self.times.fetch_add(1, Relaxed);
                Some(format!("under pressure: {held}"))
            }
            (_, IS_NEAR) => Some(format!("there is room for requests again: {held}")),
            _ => {
                self.times.fetch_add(u64::from(before == 0), Relaxed);
                Some(format!(
                    "there is no room for requests: {held}; who is waited for longest is broken off"
                ))
            }
        }
    }

    fn judged(&self, before: u8) -> u8 {
        let (connections, memory) = (self.connections.0.get(), self.memory.load(Relaxed) as u64);
        let (connections_max, memory_max) =
            (self.connections_max.load(Relaxed), self.memory_max.load(Relaxed));
        let mark = if before == 0 { NEAR } else { CALM };
        let is_near = above(connections, connections_max, mark)
            || above(memory, memory_max, mark)
            || self.is_short_of_descriptors();
        let is_full = above(memory, memory_max, if before & IS_FULL == 0 { 100 } else { NEAR });
        match (is_near, is_full) {
            (_, true) => IS_NEAR | IS_FULL,
            (true, false) => IS_NEAR,
            (false, false) => 0,
        }
    }

    /// What there is to tell.
    pub(crate) fn report(&self) -> PressureReport {
        let memory_max = self.memory_max.load(Relaxed);
        PressureReport {
            state: match self.state.0.load(Relaxed) {
                0 => "calm",
                state if state & IS_FULL == 0 => "near",
                _ => "full",
            },
            connections: (self.connections.0.get(), self.connections_max.load(Relaxed)),
            memory: (self.memory.load(Relaxed) as u64, Some(memory_max).filter(|max| *max < u64::MAX)),
            times: self.times.load(Relaxed),
        }
    }
}

/// Whether so many are at or above so many percent of the most.
fn above(count: u64, most: u64, percent: u64) -> bool {
    most < u64::MAX && u128::from(count) * 100 >= u128::from(most) * u128::from(percent)
}

/// How many connections clients may have with so many descriptors: what is kept for upstreams is at least what may be
/// idle there, and a third.
fn of_descriptors(limit: u64, cores: u64, upstream_idle: u64) -> u64 {
    let rest = limit.saturating_sub(DESCRIPTORS_OF_PROCESS + cores * DESCRIPTORS_OF_CORE);
    let upstreams = upstream_idle.max(rest / 3).min(rest / 2);
    (rest - upstreams).max(16)
}

/// How many descriptors there have to be for so many connections of clients, about.
fn needed(connections: u64, others: Others) -> u64 {
    let upstreams = (others.upstream_idle as u64).clamp(connections.div_ceil(2), connections);
    let others_need = DESCRIPTORS_OF_PROCESS + others.cores as u64 * DESCRIPTORS_OF_CORE;
    let all = connections + upstreams + others_need;
    if others.has_files { disk::descriptors_beside_files(all) } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: Others = Others { cores: 2, upstream_idle: 0, has_files: false };

    fn pressure(connections_max: u32, memory_max: Option<u64>) -> Pressure {
        let pressure = Pressure::default();
        pressure.set_among(Room { connections_max: Some(connections_max), memory_max }, OTHERS, 1 << 20);
        pressure
    }

    #[test]
    fn descriptors_are_shared_with_upstreams() {
        assert_eq!(of_descriptors(1 << 20, 2, 4096), 698_976);
        assert_eq!(of_descriptors(20_000, 2, 4096), 13_259);
        assert_eq!(of_descriptors(1024, 2, 4096), 456);
        assert_eq!(of_descriptors(1024, 2, 0), 608);
        assert_eq!(of_descriptors(64, 2, 4096), 16);
        assert!(of_descriptors(u64::MAX, 64, 4096) > 1 << 60);
    }

    #[test]
    fn no_more_connections_are_taken_than_there_are_descriptors_for_and_that_is_told_once() {
        let pressure = Pressure::default();
        let set = |most, descriptors| {
            let room = Room { connections_max: most, memory_max: None };
            pressure.set_among(room, OTHERS, descriptors);
            (pressure.report().connections.1, pressure.update(true))
        };
        assert_eq!(set(Some(100), 1024), (100, None));
        assert_eq!(set(None, 1024), (608, None));
        let (most, note) = set(Some(5000), 1024);
        assert_eq!(most, 608);
        let note = note.unwrap();
        assert!(note.starts_with("max-connections = 5000 needs about 7612 descriptors,"), "{note}");
        assert!(note.ends_with("there are 608 connections at most"), "{note}");
        assert_eq!(set(Some(5000), 1024), (608, None), "said already");
        assert!(set(Some(6000), 1024).1.is_some());
        assert_eq!(set(Some(6000), 1 << 20), (6000, None));
        assert!(set(Some(6000), 1024).1.is_some());
    }

    #[test]
    fn what_is_said_to_be_needed_is_enough() {
        for (connections, upstream_idle, has_files) in [
            (10_000, 0, false),
            (10_000, 4096, true),
            (10_000, 7000, true),
            (1000, 4096, false),
            (50, 1, true),
        ] {
            let others = Others { cores: 4, upstream_idle, has_files };
            let limit = needed(connections, others);
            let files = if has_files { disk::files_max(limit) } else { 0 };
            let most = of_descriptors(limit - files, 4, upstream_idle as u64);
            assert!((connections..=connections + 3).contains(&most), "{most} of {connections}");
        }
    }

    #[test]
    fn it_begins_at_nine_tenths_and_ends_below_eight() {
        let pressure = pressure(100, None);
        let enter = |count| (0..count).for_each(|_| assert!(pressure.enter()));
        enter(89);
        assert_eq!(pressure.update(true), None);
        enter(1);
        assert!(!pressure.is_near() && pressure.is_crowded() && pressure.is_near());
        assert!(pressure.update(true).unwrap().starts_with("under pressure: 90 of 100 connections"));
        assert_eq!((pressure.update(true), pressure.surplus(2)), (None, 6));
        (0..10).for_each(|_| pressure.leave());
        assert_eq!(pressure.update(true), None, "80 is not below 80");
        pressure.leave();
        assert!(pressure.update(false).unwrap().starts_with("the pressure is over"));
        assert_eq!((pressure.is_near(), pressure.report().times, pressure.surplus(2)), (false, 1, 0));
        enter(21);
        assert!(!pressure.enter() && !pressure.is_full(), "connections are refused, requests are not");
        assert_eq!(pressure.report().connections, (100, 100));
    }

    #[test]
    fn where_memory_is_used_up_requests_have_no_room() {
        let pressure = pressure(100, Some(1000));
        for (bytes, state) in [
            (899, "calm"),
            (900, "near"),
            (1000, "full"),
            (950, "full"),
            (899, "near"),
            (800, "near"),
            (799, "calm"),
        ] {
            pressure.memory.store(bytes, Relaxed);
            pressure.update(true);
            assert_eq!(pressure.report().state, state, "{bytes}");
            assert_eq!(pressure.is_full(), state == "full");
            assert_eq!(pressure.surplus(1), 0, "idle connections hold no memory");
        }
    }

    #[test]
    fn descriptors_that_ran_out_count_as_short_for_a_second() {
        let pressure = pressure(100, None);
        pressure.descriptors_ran_out();
        for _ in 1..SHORT_TICKS {
            pressure.update(true);
            pressure.update(false);
            assert!(pressure.is_near() && pressure.surplus(2) > 0);
        }
        pressure.update(true);
        assert!(!pressure.is_near());
    }
}
