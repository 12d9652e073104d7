//! What the proxy tells about itself: counters as data, and the access log.

pub mod access_log;
pub mod counters;

pub use access_log::{Format, Line};
pub use counters::{Counters, Totals};
