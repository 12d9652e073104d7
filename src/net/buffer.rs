//! Receive buffers, from a pool that belongs to the core.
//!
//! A buffer moves into a read or write and comes back with the result. Its content is a range; the
//! room in front of it is there so that a new head, or the size line of a chunk, can be put right
//! before content that already lies in the buffer, and both leave in one write without a copy:
//!
//! ```text
//!   0         front      start          end          capacity
//!   ├────────────┼─────────┼─────────────┼───────────────┼────────┤
//!   │  headroom  │ used up │   content   │     spare     │tailroom│
//!                    ◀─ prepend        append ─▶   ◀─ read ends here
//! ```

#![allow(unsafe_code, reason = "memory that the kernel writes into")]

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use monoio::buf::{IoBuf, IoBufMut};

use super::sys;
use crate::limits::{HEAD_GROWTH_BYTES_MAX, KIB};

/// Room that is kept in front of what is read.
const HEADROOM: usize = HEAD_GROWTH_BYTES_MAX;

/// Room that is kept behind it: the end of a chunk and the last chunk.
const TAILROOM: usize = 16;

/// Buffers lie at multiples of their size, so that without a stagger the first lines of all of them
/// would fight for the same few sets of the cache. Each starts at one of this many cache lines.
const COLOURS: usize = 16;

/// Bytes of a cache line.
const LINE: usize = 64;

/// How large a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Heads and small content.
    Small,
    /// Content that keeps coming, and the largest heads.
    Medium,
    /// Content that has kept coming for a while.
    Large,
}

impl Class {
    const COUNT: usize = 3;

    const fn capacity(self) -> usize {
        match self {
            Class::Small => 8 * KIB,
            Class::Medium => 96 * KIB,
            Class::Large => 256 * KIB,
        }
    }

    /// Bytes that fit behind the headroom, wherever that ends.
    pub(crate) const fn room(self) -> usize {
        self.capacity() - HEADROOM - COLOURS * LINE - TAILROOM
    }

    /// The smallest class whose memory holds so many bytes, wherever they begin.
    pub(crate) const fn holding(bytes: usize) -> Class {
        let bytes = bytes + COLOURS * LINE;
        if bytes <= Class::Small.capacity() {
            Class::Small
        } else if bytes <= Class::Medium.capacity() {
            Class::Medium
        } else {
            assert!(bytes <= Class::Large.capacity());
            Class::Large
        }
    }

    /// The smallest class with room for so many bytes, or the largest there is.
    pub(crate) const fn fitting(bytes: usize) -> Class {
        if bytes <= Class::Small.room() {
            Class::Small
        } else if bytes <= Class::Medium.room() {
            Class::Medium
        } else {
            Class::Large
        }
    }
}

/// A buffer on loan from the pool of its core; dropping it gives it back.
pub(crate) struct Buffer {
    memory: NonNull<u8>,
    start: usize,
    end: usize,
    class: Class,
    pool: Rc<Shelves>,
}

impl Buffer {
    /// What [`Buffer::place`] is a multiple of.
    pub(super) const ALIGNMENT: usize = 2 * LINE;

    /// Its memory, from this buffer's own cache line on, for whoever puts something else into it.
    pub(super) fn place(&self) -> NonNull<u8> {
        let colour = (self.front() - HEADROOM).next_multiple_of(Self::ALIGNMENT);
        // SAFETY: the colours are within the memory.
        unsafe { self.memory.add(colour) }
    }

    /// The content.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `capacity` bytes of initialised memory (fresh mappings are zero),
        // owned by this value alone, and `start <= end <= capacity`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(self.start), self.end - self.start) }
    }

    /// The content, to be changed in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(self.start), self.end - self.start) }
    }

    /// How many bytes of content there are.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there is no content.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How large the buffer is.
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// Bytes that can still be read into it.
    pub(crate) fn spare(&self) -> usize {
        self.class.capacity() - TAILROOM - self.end
    }

    /// Receives what a socket has at once into the spare room.
    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let room = self.spare();
        // SAFETY: the spare room lies within the mapping, which is initialised; the borrow is exclusive.
        let spare = unsafe { std::slice::from_raw_parts_mut(self.write_ptr(), room) };
        let count = sys::receive(fd, spare)?;
        self.end += count.min(room);
        Ok(count)
    }

    /// Drops `count` bytes at the front of the content.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count.min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Reduces the content to a part of it.
    pub(crate) fn narrow(&mut self, part: Range<usize>) {
        debug_assert!(part.start <= part.end && part.end <= self.len());
        self.end = self.start + part.end.min(self.len());
        self.start += part.start.min(self.len());
    }

    /// Forgets the content.
    pub(crate) fn clear(&mut self) {
        self.start = self.front();
        self.end = self.start;
    }

    /// Where content begins: behind the headroom, at this buffer's own cache line.
    fn front(&self) -> usize {
        let colour = (self.memory.as_ptr() as usize / Class::Small.capacity()) % COLOURS;
        HEADROOM + colour * LINE
    }

    /// Puts `bytes` right in front of the content, where there is room for them.
    #[must_use]
    pub(crate) fn prepend(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.start {
            return false;
        }
        self.start -= bytes.len();
        self.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        true
    }

    /// Has `write` put bytes behind the content, the tailroom aside; it says how many those are.
    pub(crate) fn extend(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        let room = self.spare();
        // SAFETY: the spare room lies within the mapping, which is initialised; the borrow is exclusive.
        let spare = unsafe { std::slice::from_raw_parts_mut(self.write_ptr(), room) };
        self.end += write(spare).min(room);
    }

    /// Puts `bytes` behind the content, the tailroom included, where there is room for them.
    #[must_use]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.class.capacity() - self.end {
            return false;
        }
        let before = self.len();
        self.end += bytes.len();
        self.bytes_mut()[before..].copy_from_slice(bytes);
        true
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(self.class, self.memory);
    }
}

// SAFETY: the memory is mapped, so it does not move with the value, and lives until the value is
// dropped; `start..end` is initialised.
unsafe impl IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; what is read goes behind the content, into the spare part of the mapping.
unsafe impl IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        // SAFETY: `end` lies within the mapping.
        unsafe { self.memory.as_ptr().add(self.end) }
    }

    fn bytes_total(&mut self) -> usize {
        self.spare()
    }

    unsafe fn set_init(&mut self, count: usize) {
        debug_assert!(count <= self.spare());
        self.end += count;
    }
}

/// Hands out the buffers of one core.
#[derive(Clone)]
pub(crate) struct BufferPool {
    shelves: Rc<Shelves>,
}

/// Bytes of memory that pools hold together: it only changes when they get some from the kernel or give some back.
pub(crate) type Held = Arc<AtomicUsize>;

/// Small buffers are cut from mappings of this many.
const SMALL_PER_MAPPING: usize = 64;

/// The free buffers of one core.
struct Shelves {
    warm: [RefCell<Vec<NonNull<u8>>>; Class::COUNT],
    /// Small buffers whose memory was given back to the kernel; their addresses stay ours.
    cold: RefCell<Vec<NonNull<u8>>>,
    /// The fewest warm buffers there were since the last trim: so many were not needed.
    unused: [Cell<usize>; Class::COUNT],
    /// What this pool and others hold.
    held: Held,
}

impl BufferPool {
    /// An empty pool.
    #[cfg(test)]
    pub(crate) fn new() -> BufferPool {
        BufferPool::counted(Held::default())
    }

    /// An empty pool whose memory is counted there.
    pub(crate) fn counted(held: Held) -> BufferPool {
        let shelves =
            Shelves { warm: Default::default(), cold: RefCell::default(), unused: Default::default(), held };
        BufferPool { shelves: Rc::new(shelves) }
    }

    /// An empty buffer. The one that was given back last comes first, while the cache still knows it.
    pub(crate) fn take(&self, class: Class) -> Buffer {
        let memory = self.shelves.take(class);
        let mut buffer = Buffer { memory, start: 0, end: 0, class, pool: self.shelves.clone() };
        buffer.clear();
        buffer
    }

    /// Gives half of what was not needed since the last call back to the kernel. To be called about
    /// once a second.
    pub(crate) fn trim(&self) {
        for class in [Class::Small, Class::Medium, Class::Large] {
            self.shelves.trim(class);
        }
    }
}

impl Shelves {
    fn take(&self, class: Class) -> NonNull<u8> {
        let mut warm = self.warm[class as usize].borrow_mut();
        if let Some(memory) = warm.pop() {
            let unused = &self.unused[class as usize];
            unused.set(unused.get().min(warm.len()));
            return memory;
        }
        self.held.fetch_add(class.capacity(), Relaxed);
        if class != Class::Small {
            return sys::map(class.capacity());
        }
        let mut cold = self.cold.borrow_mut();
        if cold.is_empty() {
            let mapping = sys::map(class.capacity() * SMALL_PER_MAPPING);
            cold.extend((0..SMALL_PER_MAPPING).rev().map(|at| {
                // SAFETY: the offset lies within the mapping.
                unsafe { mapping.add(at * class.capacity()) }
            }));
        }
        cold.pop().unwrap_or_else(|| sys::map(class.capacity()))
    }

    fn give_back(&self, class: Class, memory: NonNull<u8>) {
        self.warm[class as usize].borrow_mut().push(memory);
    }

    fn trim(&self, class: Class) {
        let mut warm = self.warm[class as usize].borrow_mut();
        let surplus = self.unused[class as usize].get().div_ceil(2).min(warm.len());
        // Those at the bottom have lain there longest.
        self.held.fetch_sub(surplus * class.capacity(), Relaxed);
        for memory in warm.drain(..surplus) {
            if class == Class::Small {
                sys::discard(memory, class.capacity());
                self.cold.borrow_mut().push(memory);
            } else {
                sys::unmap(memory, class.capacity());
            }
        }
        self.unused[class as usize].set(warm.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pool: &BufferPool, bytes: &[u8]) -> Buffer {
        let mut buffer = pool.take(Class::Small);
        assert!(buffer.append(bytes));
        buffer
    }

    #[test]
    fn content_grows_at_both_ends() {
        let pool = BufferPool::new();
        let mut buffer = filled(&pool, b"headbody");
        buffer.consume(4);
        assert!(buffer.prepend(b"a longer head, "));
        assert!(buffer.append(b"!"));
        assert_eq!(buffer.bytes(), b"a longer head, body!");
        buffer.narrow(2..8);
        assert_eq!(buffer.bytes(), b"longer");
    }

    #[test]
    fn neither_end_grows_past_the_memory() {
        let pool = BufferPool::new();
        let mut buffer = pool.take(Class::Small);
        let front = buffer.front();
        assert!((HEADROOM..HEADROOM + COLOURS * LINE).contains(&front));
        assert!(!buffer.prepend(&vec![0; front + 1]));
        assert!(buffer.prepend(&vec![0; front]));
        buffer.clear();
        assert!(!buffer.append(&vec![0; 8 * KIB - front + 1]));
        assert!(buffer.append(&vec![0; 8 * KIB - front]));
    }

    #[test]
    fn a_read_leaves_the_tailroom_free() {
        let pool = BufferPool::new();
        let mut buffer = pool.take(Class::Small);
        let spare = buffer.bytes_total();
        assert!(spare >= Class::Small.room());
        // SAFETY: the memory is initialised; this stands for a read that filled it.
        unsafe { buffer.set_init(spare) };
        assert_eq!(buffer.spare(), 0);
        assert!(buffer.append(&[0; TAILROOM]));
    }

    #[test]
    fn the_buffer_given_back_last_is_taken_first() {
        let pool = BufferPool::new();
        let (first, second) = (pool.take(Class::Small), pool.take(Class::Small));
        let address = first.read_ptr();
        drop(second);
        drop(first);
        assert_eq!(pool.take(Class::Small).read_ptr(), address);
    }

    #[test]
    fn trimming_gives_back_what_was_not_needed_and_reuses_it_later() {
        let pool = BufferPool::new();
        let many: Vec<_> = (0..100).map(|_| filled(&pool, b"x")).collect();
        drop(many);
        for _ in 0..20 {
            pool.trim();
        }
        assert!(pool.shelves.warm[0].borrow().len() <= 1);
        let again: Vec<_> = (0..100).map(|_| filled(&pool, b"y")).collect();
        assert!(again.iter().all(|buffer| buffer.bytes() == b"y"));
    }
}
