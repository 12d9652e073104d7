//! The story of one exchange: the only place that strings the steps together.
//!
//! ```text
//!   visit   counts the connection, or turns it away before it has a task
//!                    │
//!                    ▼
//!   introduction   whom the peer speaks for, where the listener has it say so
//!                    │
//!                    ▼
//!   connection   waits for bytes ─▶ receives a head ─▶ exchange ─▶ writes the last window ─▶ again
//!                    │ quiet for a moment
//!                    ▼
//!                parking lot (no task, no buffer)
//!
//!   exchange     admit ─▶ checks ─▶ hold ─▶ plan ─┬─ stored, or being fetched ─▶ serve
//!                               │                                ▲
//!                               ▼                                │ a stored response will do
//!                             fetch ─────────────────────────────┼─────────────────┐
//!                               │ choose an endpoint, connect or reuse             │ refusal
//!                               ▼                                │                 ▼
//!                             converse: send ─┬▶ respond ─▶ judge ─┬▶ content   an answer of ours
//!                               ▲             └▶ upload, beside it └▶ pump: into the cache
//!                               └── again, where that is safe ◀── failed unanswered
//! ```
//!
//! The rooms, in the order in which a request meets them: [`client`], [`request`], [`checks`], [`holding`], [`cached`],
//! [`attempt`], [`response`] with [`coding`], and [`answer`] for what the proxy says itself. What holds for all of them
//! stands beside: what a core owns, what is in force ([`snapshot`]), and what is written down in the end.
//!
//! `explain` leads a request through the same steps, up to where an upstream would be asked, and puts them into words.
//!
//! Everything here belongs to one core and is never shared with another.

mod answer;
mod attempt;
mod cached;
mod checks;
mod client;
mod coding;
mod core;
mod exchange;
pub(crate) mod explain;
mod forward;
pub(crate) mod guard;
mod head;
mod holding;
mod pace;
mod pressure;
mod record;
mod request;
mod response;
mod snapshot;
mod task;
mod troubles;

pub(crate) use self::client::connection::{serve, serve_introduced};
pub(crate) use self::client::inlet::Inlet;
pub(crate) use self::client::visit::{Visit, let_in};
pub(crate) use self::core::Core;
pub(crate) use self::pressure::PressureReport;
pub(crate) use self::snapshot::{Blueprint, Follow, Rate, RateReport, Registry, Snapshot};
#[cfg(test)]
pub(crate) use self::snapshot::{Entries, Followed};
