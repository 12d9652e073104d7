//! Ringway.
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
pub mod server;
pub mod upstream;
