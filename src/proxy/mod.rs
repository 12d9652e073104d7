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
//! `explain` leads a request through the same steps, up to where an upstream would be asked, and puts them into words.
//!
//! Everything here belongs to one core and is never shared with another.

mod admit;
mod affinity;
mod ahead;
mod amend;
mod cached;
mod checks;
mod coding;
mod connection;
mod converse;
mod core;
mod delivery;
mod direct;
mod exchange;
pub(crate) mod explain;
mod fetch;
mod forward;
pub(crate) mod guard;
mod head;
mod held;
mod hold;
mod inlet;
mod introduction;
mod mirror;
mod pace;
mod passwords;
mod pressure;
mod progress;
mod record;
mod refusal;
mod replay;
mod respond;
mod responded;
mod routing;
mod snapshot;
mod subrequest;
mod task;
mod terms;
mod tries;
mod troubles;
mod tunnel;
mod upload;
mod visit;
mod window;

pub(crate) use self::connection::{serve, serve_introduced};
pub(crate) use self::core::Core;
pub(crate) use self::inlet::Inlet;
pub(crate) use self::pressure::PressureReport;
#[cfg(test)]
pub(crate) use self::snapshot::Followed;
pub(crate) use self::snapshot::{Blueprint, Follow, Rate, RateReport, Registry, Snapshot};
pub(crate) use self::visit::{Visit, let_in};
