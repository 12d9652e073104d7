//! Ringway is a caching HTTP reverse proxy for Linux: one io_uring runtime pinned to each core, and nothing
//! shared between them on the path of a request but stored responses, which never change.
//!
//! # The problem
//!
//! Nearly all of what a proxied request costs is the kernel's: packets, sockets, wake-ups. What is
//! left to a proxy is to cause as little of that as it can, to touch little memory, and to be strict
//! about what it lets through, because whoever stands between two parsers is a tool for smuggling as
//! soon as the two disagree.
//!
//! # The house
//!
//! An import only points down; `tests/architecture.rs` holds the house to it.
//!
//! ```text
//!   5  cli  server           processes, threads, wiring
//!   4  proxy                 the story of one exchange: the only place that strings steps together
//!   3  net  cache::store  upstream::{pool, group, …}    the only code that names the runtime's I/O
//!   2  route  filter  cache  content  upstream   pure decisions; siblings do not know each other
//!   1  h1  config            bytes to values, text to values
//!   0  http  limits  clock  error  observe    vocabulary
//! ```
//!
//! The rooms in the order in which a request meets them:
//!
//! - [`server`] opens the sockets, starts a worker on each core and stops them again.
//! - `net` accepts connections, lends buffers, keeps deadlines, and parks what is idle.
//! - `proxy` receives a head and leads the exchange through its steps.
//! - [`h1`] turns bytes into heads and content, and back ([`h1::framing`] alone decides lengths).
//! - [`route`] finds the route that takes a request.
//! - [`filter`] decides whether a request is served, and whom to believe: networks, bounds, rules, credentials, rates.
//! - [`cache`] says what is stored and may be used, what may be stored, and who fetches what.
//! - [`upstream`] chooses an endpoint, keeps connections, judges how endpoints are, and decides what may be sent again.
//! - [`content`] writes the proxy's own answers, and codes and decodes content; [`observe`] counts and logs.
//! - [`error`] is the table of every reason for which an exchange can end.
//! - [`config`] and [`cli`] say what people can say to it.
//!
//! # What holds everywhere
//!
//! - Layers 0 to 2 do no I/O, read no clock and hold no globals: time comes in as an argument, reasons
//!   go out as values.
//! - A core's state belongs to its thread. Threads talk by messages; no lock is taken on a worker but by a request that
//!   waits for room at an upstream. Limits at endpoints are atomic counts ([`upstream::shared`]), and so are rates,
//!   limits of connections, and what the process holds; lists in files change by the exchange of a pointer. What
//!   is stored in the cache is immutable, and freed by whoever lets go of it last.
//! - A head stays in the buffer it was received into, and its parts are spans over that buffer. What
//!   is forwarded is written anew from them, never passed on as raw bytes.
//! - Content passes through one window: it is read, framed where it lies, and written, and only then
//!   is more read. Memory per exchange does not grow with its content.
//! - A connection to an upstream is used again only if its last response was framed to the end.
//! - What the cache holds is bounded by one ledger over all cores, and nothing that it holds was made
//!   without a charge in it.
//! - Nothing here knows TLS or HTTP/2 yet.

pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod content;
pub mod error;
pub mod filter;
pub mod h1;
pub mod http;
pub mod limits;
mod net;
pub mod observe;
mod proxy;
pub mod route;
pub mod server;
pub mod upstream;

#[doc(hidden)]
pub use net::fuzz_preamble;
