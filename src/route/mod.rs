//! Which route takes a request, and what that route writes.
//!
//! ```text
//!   router ─ host, tree      finds the route: hosts and paths by hash and tree
//!   condition                the rest, where a route asks for it
//!   rank, explain            says why a route was taken, and which came close
//!   shadow                   routes that can never be taken
//!
//!   template ─ escape        what variables stand for, written so that it stays what it is
//!   target, fields           what the upstream is asked, and what changes in fields
//!   split                    which of several upstreams that is
//!   key                      what tells the stored responses of routes apart
//! ```
//!
//! What is matched is the normal form of a path: [`crate::http::path`] makes it.

mod condition;
mod escape;
mod explain;
pub mod fields;
pub mod fuzz;
#[doc(hidden)]
pub mod fuzz_patterns;
mod host;
pub mod key;
mod rank;
mod router;
mod shadow;
pub mod split;
pub mod target;
pub mod template;
mod tree;

#[cfg(test)]
#[path = "sample_tests.rs"]
mod sample;

pub use explain::{Close, Explanation};
pub use host::Bare;
pub use router::Router;
pub use shadow::{Shadowed, shadowed};

use std::net::IpAddr;
use std::ops::Range;

use crate::http::{Fields, Span};
use crate::limits::CAPTURES_MAX;

/// What a request asks for, as far as routes can tell requests apart.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host, as it was sent, with its port; empty if there was none.
    pub host: &'a [u8],
    /// The path in normal form, shorter than 64 KiB; or `*`, which no path of a route is for.
    pub path: &'a [u8],
    /// The query, without the question mark.
    pub query: &'a [u8],
    /// The method's name.
    pub method: &'a [u8],
    /// The field lines of its head.
    pub fields: Fields<'a>,
    /// The listener that it came in at, by its place in the settings.
    pub listener: Option<usize>,
    /// The client's address, if it has one and some route [wants it](Router::wants_client). Conditions on the
    /// client do not hold without it.
    pub client: Option<IpAddr>,
}

/// Calls `with` with a host as routes see it: in lower case, without port and without the dot at its end.
pub fn with_bare_host<R>(sent: &[u8], with: impl FnOnce(&[u8]) -> R) -> R {
    with(host::Bare::of(sent).as_bytes())
}

/// What the path of a route captured: places within the path that was matched.
#[derive(Clone, Copy, Debug)]
pub struct Captures {
    /// Which of the route's paths it was.
    path: u32,
    spans: [Option<Span>; CAPTURES_MAX],
}

impl Captures {
    /// The path of a route that has none.
    const NO_PATH: u32 = u32::MAX;

    /// Nothing.
    pub const fn new() -> Captures {
        Captures { path: Captures::NO_PATH, spans: [None; CAPTURES_MAX] }
    }

    /// Whether nothing was captured.
    pub fn is_empty(&self) -> bool {
        self.spans.iter().all(Option::is_none)
    }

    /// Forgets everything, and begins with a path of so many captures.
    fn begin(&mut self, path: u32, count: usize) {
        self.path = path;
        self.spans[..count.min(CAPTURES_MAX)].fill(None);
    }

    fn put(&mut self, place: usize, range: Range<usize>) {
        if let Some(span) = self.spans.get_mut(place) {
            *span = Some(Span::new(range.start, range.end));
        }
    }

    fn path(&self) -> Option<usize> {
        (self.path != Captures::NO_PATH).then_some(self.path as usize)
    }

    fn range(&self, place: usize) -> Option<Range<usize>> {
        self.spans.get(place).copied().flatten().map(Span::range)
    }
}

impl Default for Captures {
    fn default() -> Captures {
        Captures::new()
    }
}
