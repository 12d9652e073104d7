//! The story of one exchange: the only place that strings the steps together.
//!
//! ```text
//!   introduction   whom the peer speaks for, where the listener has it say so
//!                    │
//!                    ▼
//!   connection   waits for bytes ─▶ receives a head ─▶ exchange ─▶ writes the last window ─▶ again
//!                    │ quiet for a moment
//!                    ▼
//!                parking lot (no task, no buffer)
//!
//!   exchange     admit ─▶ plan ─┬─ stored, or being fetched ─▶ serve
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
mod cached;
mod connection;
mod converse;
mod core;
mod delivery;
mod direct;
mod edit;
mod exchange;
pub(crate) mod explain;
mod fetch;
mod forward;
pub(crate) mod guard;
mod head;
mod inlet;
mod introduction;
mod mirror;
mod progress;
mod record;
mod refusal;
mod replay;
mod respond;
mod routing;
mod snapshot;
mod task;
mod terms;
mod tries;
mod tunnel;
mod upload;
mod window;

pub(crate) use self::connection::{serve, serve_introduced};
pub(crate) use self::core::Core;
pub(crate) use self::inlet::Inlet;
pub(crate) use self::snapshot::{Blueprint, Snapshot};
