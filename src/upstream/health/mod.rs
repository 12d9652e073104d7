//! How endpoints are: what probes and requests say about them, over time that comes in as an argument.
//!
//! ```text
//!   probes ──▶ Checks ─────────────┐
//!   tallies ─▶ Outlier ──judge()───┼──▶ how an endpoint stands ──▶ slow_start: its share
//!          └─▶ CircuitBreaker ─────┘    whether an upstream gets requests
//! ```
//!
//! Time is a [`std::time::Duration`] since some start that never changes; it does not run backwards.

pub mod breaker;
pub mod checks;
pub mod ejection;
pub mod score;
pub mod slow_start;
pub mod tally;
pub mod window;

pub use self::breaker::CircuitBreaker;
pub use self::checks::Checks;
pub use self::ejection::Outlier;
pub use self::tally::{Seen, Tally};
pub use self::window::{Counts, Window};
