//! Content that the proxy itself answers with, and the codings that content travels in.

pub mod answer;
pub mod coding;
pub mod error_page;
