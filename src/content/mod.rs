//! Content that the proxy itself answers with.

pub mod error_page;
