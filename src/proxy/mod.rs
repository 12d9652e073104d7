//! The story of one exchange: the only place that strings the steps together.
//!
//! ```text
//!   connection   waits for bytes ─▶ receives a head ─▶ exchange ─▶ sends the last window ─▶ again
//!                    │ quiet for a moment                              while the next read is under way
//!                    ▼
//!                parking lot (no task, no buffer)
//!
//!   exchange     screen ─▶ choose endpoint ─▶ connect or reuse ─▶ send ─┬▶ respond: head, content
//!                                 ▲                                     └▶ upload: content, beside it
//!                                 └──── again, where that is safe ◀── failed unanswered
//! ```
//!
//! Everything here belongs to one core and is never shared with another.

mod connection;
mod core;
mod exchange;
mod forward;
mod head;
mod record;
mod refusal;
mod respond;
mod tunnel;
mod upload;

pub(crate) use self::connection::serve;
pub(crate) use self::core::Core;
