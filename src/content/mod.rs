//! Content that the proxy itself answers with.

pub mod answer;
pub mod error_page;
