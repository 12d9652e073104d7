//! What the design of the cache is worth in hits: a simulation, without a network.
//!
//! Every design gets the same requests and the same number of bytes in all:
//!
//! - one LRU, and one S3-FIFO (a small reference of its own), shared by all cores: what a lock would buy;
//! - `quick_cache`, which Ringway takes its eviction from, as one shared cache: what the library is worth;
//! - N of Ringway's shards, a request looking in that of the core it landed on, which is any;
//! - N of Ringway's shards, a key belonging to one of them by its hash: the proxy with N workers.
//!
//! The first three spend all bytes on content. Ringway's shards pay for heads, keys and overheads too, and for
//! the slack that the proxy keeps: see `owners.rs`.
//!
//! The mark is that owners stay within one point of the shared S3-FIFO; the exit status says whether they do.
//! All traces are fixed, so the same build prints the same table (but for less than a tenth of a point: the
//! hashes inside the bare `quick_cache` are random).

use std::collections::VecDeque;
use std::process::ExitCode;

use fastrand::Rng;
use owners::{Cores, Keyed};
use quick_cache::Weighter;
use zipf::{Zipf, sizes};

mod owners;
mod zipf;

fn main() -> ExitCode {
    let mut names = ["LRU", "S3-FIFO", "quick_cache"].map(String::from).to_vec();
    names.extend(CORES.iter().skip(1).map(|n| format!("per core {n}")));
    names.extend(CORES.iter().map(|n| format!("owners {n}")));
    let cells: String = names.iter().map(|name| format!(" {name:>11} |")).collect();
    println!("| {:33} |{cells}", "hit ratio in %");
    println!("| {:-<33} |{}", "", " ----------: |".repeat(names.len()));

    let mut worst = f64::INFINITY;
    for trace in traces() {
        let cores = |count, keyed| Box::new(Cores::new(trace.bytes_max(), count, keyed)) as Box<dyn Design>;
        let mut designs: Vec<Box<dyn Design>> =
            vec![Box::new(Lru::new(&trace)), Box::new(S3Fifo::new(&trace)), Box::new(Library::new(&trace))];
        designs.extend(CORES.iter().skip(1).map(|n| cores(*n, Keyed::Anywhere)));
        designs.extend(CORES.iter().map(|n| cores(*n, Keyed::ToOwner)));
        let tallies: Vec<Tally> = designs.iter_mut().map(|design| trace.replay(design.as_mut())).collect();

        print_row(&trace.name, tallies.iter().map(Tally::ratio));
        if trace.has_sizes {
            print_row(&format!("{}, of bytes", trace.name), tallies.iter().map(Tally::byte_ratio));
        }
        let owners = tallies[tallies.len() - CORES.len()..].iter().map(Tally::ratio);
        worst = owners.map(|ratio| ratio - tallies[1].ratio()).fold(worst, f64::min);
    }
    let held = worst >= -1.0;
    let verdict = if held { "held" } else { "MISSED" };
    println!("\nowners beside one shared S3-FIFO, at worst: {worst:+.2} points (mark: -1.00, {verdict})");
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_row(name: &str, ratios: impl Iterator<Item = f64>) {
    print!("| {name:33} |");
    ratios.for_each(|ratio| print!(" {ratio:11.2} |"));
    println!();
}

// Traces

struct Trace {
    name: String,
    /// The object of each request.
    requests: Vec<u32>,
    /// Of each object, in bytes.
    sizes: Vec<u32>,
    /// Bytes that a design may hold.
    capacity: u64,
    has_sizes: bool,
}

fn traces() -> Vec<Trace> {
    let mut traces: Vec<Trace> =
        [0.7, 0.9, 1.0].map(|exponent| Trace::of_one_size(exponent, Habit::Steady)).into();
    traces.push(Trace::of_one_size(0.9, Habit::Scans));
    traces.push(Trace::of_one_size(0.9, Habit::Changes));
    traces.extend([0.7, 0.9, 1.0].map(Trace::of_all_sizes));
    traces
}

#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Steady,
    /// A crawler makes a fifth of the requests, in bursts, and never asks for the same object twice.
    Scans,
    /// Two objects change their ranks at every twentieth request.
    Changes,
}

impl Trace {
    /// 100,000 objects of 16 KiB, and a cache for a tenth of them.
    fn of_one_size(exponent: f64, habit: Habit) -> Self {
        let (objects, size) = (100_000, 16 * 1024);
        let zipf = Zipf::new(objects, exponent);
        let mut rng = Rng::with_seed(2);
        let mut scanned = objects;
        let mut by_rank: Vec<u32> = (0..objects).collect();
        let request = |number: u32| {
            if habit == Habit::Scans && number % 100_000 < 40_000 && number.is_multiple_of(2) {
                scanned += 1;
                return scanned - 1;
            }
            if habit == Habit::Changes && number.is_multiple_of(20) {
                by_rank.swap(rng.usize(..objects as usize), rng.usize(..objects as usize));
            }
            by_rank[zipf.draw(&mut rng)]
        };
        let requests = (0..REQUESTS).map(request).collect();
        Self {
            name: match habit {
                Habit::Steady => format!("Zipf {exponent:.1}"),
                Habit::Scans => format!("Zipf {exponent:.1} and scans"),
                Habit::Changes => format!("Zipf {exponent:.1}, ranks change"),
            },
            requests,
            sizes: vec![size; scanned as usize],
            capacity: u64::from(objects / 10 * size),
            has_sizes: false,
        }
    }

    /// The mix of the scenario `zipf`: 20,000 objects of 1 to 256 KiB, and a cache for about a quarter of them.
    fn of_all_sizes(exponent: f64) -> Self {
        let zipf = Zipf::new(20_000, exponent);
        let mut rng = Rng::with_seed(3);
        Self {
            name: format!("Zipf {exponent:.1}, 1 to 256 KiB"),
            requests: (0..REQUESTS).map(|_| u32::try_from(zipf.draw(&mut rng)).unwrap_or(u32::MAX)).collect(),
            sizes: sizes(20_000),
            capacity: 256 << 20,
            has_sizes: true,
        }
    }

    fn bytes_max(&self) -> usize {
        usize::try_from(self.capacity).unwrap_or(usize::MAX)
    }

    /// Counts the hits of the second half; the first one fills the cache.
    fn replay(&self, design: &mut dyn Design) -> Tally {
        let mut tally = Tally::default();
        let (warm_up, counted) = self.requests.split_at(self.requests.len() / 2);
        for object in warm_up {
            design.request(*object, self.sizes[*object as usize]);
        }
        for object in counted {
            let size = self.sizes[*object as usize];
            tally.requests += 1.0;
            tally.bytes += f64::from(size);
            if design.request(*object, size) {
                tally.hits += 1.0;
                tally.hit_bytes += f64::from(size);
            }
        }
        tally
    }
}

#[derive(Default)]
struct Tally {
    requests: f64,
    hits: f64,
    bytes: f64,
    hit_bytes: f64,
}

impl Tally {
    fn ratio(&self) -> f64 {
        self.hits / self.requests * 100.0
    }

    fn byte_ratio(&self) -> f64 {
        self.hit_bytes / self.bytes * 100.0
    }
}

// Designs

trait Design {
    /// Asks for an object, and stores it when it was not there. True for a hit.
    fn request(&mut self, object: u32, size: u32) -> bool;
}

/// One cache that forgets what was not asked for the longest.
struct Lru {
    left: i64,
    /// By request, oldest first. An object that was asked for again has a later entry, which counts.
    queue: VecDeque<(u32, u32)>,
    /// By object: when it was asked for last, if it is stored; from 1.
    last: Vec<u32>,
    sizes: Vec<u32>,
    now: u32,
}

impl Lru {
    fn new(trace: &Trace) -> Self {
        let last = vec![0; trace.sizes.len()];
        Self {
            left: trace.capacity.cast_signed(),
            queue: VecDeque::new(),
            last,
            sizes: trace.sizes.clone(),
            now: 0,
        }
    }
}

impl Design for Lru {
    fn request(&mut self, object: u32, size: u32) -> bool {
        self.now += 1;
        let before = std::mem::replace(&mut self.last[object as usize], self.now);
        self.queue.push_back((object, self.now));
        if before != 0 {
            return true;
        }
        self.left -= i64::from(size);
        while self.left < 0
            && let Some((oldest, when)) = self.queue.pop_front()
        {
            if self.last[oldest as usize] == when {
                self.last[oldest as usize] = 0;
                self.left += i64::from(self.sizes[oldest as usize]);
            }
        }
        false
    }
}

/// S3-FIFO (Yang and others, SOSP 2023), weighing bytes.
///
/// ```text
///     new ──> small, a tenth ──asked for twice──> main <─┐ asked for
///                  │                               │  └──┘ meanwhile
///                  └──> ghost: names only          └──> out
///                         └──asked for: straight to main
/// ```
struct S3Fifo {
    capacity: u64,
    small: Queue,
    main: Queue,
    ghost: Queue,
    objects: Vec<Object>,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<u32>,
    bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Object {
    place: Place,
    size: u32,
    /// Hits since it came to its queue, at most 3.
    hits: u8,
    /// Entries of it in the ghost queue; only the last one counts.
    ghosts: u8,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Place {
    #[default]
    Nowhere,
    Stored,
    Ghost,
}

impl S3Fifo {
    fn new(trace: &Trace) -> Self {
        let objects = trace.sizes.iter().map(|size| Object { size: *size, ..Object::default() });
        let [small, main, ghost] = Default::default();
        Self { capacity: trace.capacity, small, main, ghost, objects: objects.collect() }
    }

    fn evict(&mut self) {
        let small_max = self.capacity / 10;
        if self.small.bytes > small_max || self.main.entries.is_empty() {
            let Some(id) = self.small.pop(&self.objects) else { return };
            let object = &mut self.objects[id as usize];
            if object.hits > 1 {
                object.hits = 0;
                self.main.push(id, &self.objects);
            } else {
                (object.place, object.ghosts) = (Place::Ghost, object.ghosts + 1);
                self.ghost.push(id, &self.objects);
                self.trim_ghosts();
            }
        } else if let Some(id) = self.main.pop(&self.objects) {
            let object = &mut self.objects[id as usize];
            if object.hits > 0 {
                object.hits -= 1;
                self.main.push(id, &self.objects);
            } else {
                object.place = Place::Nowhere;
            }
        }
    }

    /// The ghosts stand for as many bytes as `main` has.
    fn trim_ghosts(&mut self) {
        while self.ghost.bytes > self.capacity - self.capacity / 10 {
            let Some(id) = self.ghost.pop(&self.objects) else { return };
            let object = &mut self.objects[id as usize];
            object.ghosts -= 1;
            if object.ghosts == 0 && object.place == Place::Ghost {
                object.place = Place::Nowhere;
            }
        }
    }
}

impl Design for S3Fifo {
    fn request(&mut self, id: u32, size: u32) -> bool {
        let object = &mut self.objects[id as usize];
        let before = std::mem::replace(&mut object.place, Place::Stored);
        if before == Place::Stored {
            object.hits = 3.min(object.hits + 1);
            return true;
        }
        object.hits = 0;
        while self.small.bytes + self.main.bytes + u64::from(size) > self.capacity {
            self.evict();
        }
        let queue = if before == Place::Ghost { &mut self.main } else { &mut self.small };
        queue.push(id, &self.objects);
        false
    }
}

impl Queue {
    fn push(&mut self, id: u32, objects: &[Object]) {
        self.entries.push_back(id);
        self.bytes += u64::from(objects[id as usize].size);
    }

    fn pop(&mut self, objects: &[Object]) -> Option<u32> {
        let id = self.entries.pop_front()?;
        self.bytes -= u64::from(objects[id as usize].size);
        Some(id)
    }
}

/// The library itself, weighing contents only.
struct Library(quick_cache::unsync::Cache<u32, u32, Bytes>);

/// A value is its size.
#[derive(Clone)]
struct Bytes;

impl Weighter<u32, u32> for Bytes {
    fn weight(&self, _: &u32, size: &u32) -> u64 {
        u64::from(*size)
    }
}

impl Library {
    fn new(trace: &Trace) -> Self {
        let average = trace.sizes.iter().map(|size| *size as usize).sum::<usize>() / trace.sizes.len();
        Self(quick_cache::unsync::Cache::with_weighter(trace.bytes_max() / average, trace.capacity, Bytes))
    }
}

impl Design for Library {
    fn request(&mut self, object: u32, size: u32) -> bool {
        let hit = self.0.get(&object).is_some();
        if !hit {
            self.0.insert(object, size);
        }
        hit
    }
}

impl Design for Cores {
    fn request(&mut self, object: u32, size: u32) -> bool {
        self.request(object, size)
    }
}

const CORES: [usize; 4] = [1, 2, 4, 16];

/// Of a trace; half of them warm up.
const REQUESTS: u32 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(requests: &[u32], capacity: u64) -> Trace {
        let requests = requests.to_vec();
        Trace { name: String::new(), requests, sizes: vec![1; 100], capacity, has_sizes: false }
    }

    #[test]
    fn lru_forgets_the_oldest() {
        let mut lru = Lru::new(&trace(&[], 2));
        let hits = [1, 2, 1, 3, 1, 2].map(|object| lru.request(object, 1));
        assert_eq!(hits, [false, false, true, false, true, false]);
    }

    #[test]
    fn s3_fifo_keeps_what_was_asked_for_through_a_scan() {
        let mut cache = S3Fifo::new(&trace(&[], 10));
        for object in [1, 1, 1].into_iter().chain(10..60) {
            cache.request(object, 1);
        }
        assert!(cache.request(1, 1));
        assert!(!cache.request(10, 1));
        assert!(cache.small.bytes + cache.main.bytes <= 10);
    }

    #[test]
    fn every_design_finds_what_fits() {
        let trace = trace(&[7, 8, 7, 8, 7, 8], 1 << 20);
        let mut designs: [Box<dyn Design>; 4] = [
            Box::new(Lru::new(&trace)),
            Box::new(S3Fifo::new(&trace)),
            Box::new(Library::new(&trace)),
            Box::new(Cores::new(trace.bytes_max(), 4, Keyed::ToOwner)),
        ];
        for design in &mut designs {
            assert_eq!(trace.replay(design.as_mut()).hits, 3.0);
        }
    }
}
