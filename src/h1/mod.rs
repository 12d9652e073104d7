//! HTTP/1.1 as bytes (RFC 9112), without I/O: heads to values, values to heads, and the framing of
//! content.
//!
//! ```text
//!   bytes ──HeadScanner──▶ a whole head ──request::parse──▶ RequestHead + field lines
//!                                       └─response::parse─▶ ResponseHead + field lines
//!   field lines ──framing──▶ BodyLength ──body::Decoder──▶ content ──body::Encoder──▶ bytes
//!   heads + edits ──encode──▶ bytes
//! ```
//!
//! Both roles live here: [`request::parse`] is the server's, [`response::parse`] the client's. What
//! is not clearly well-formed is refused, for a proxy that guesses is a tool for smuggling.

pub mod amend;
pub mod body;
pub mod chunked;
pub mod encode;
pub mod framing;
#[doc(hidden)]
pub mod fuzz;
pub mod head;
pub mod request;
pub mod response;

pub use framing::BodyLength;
pub use head::{HeadScanner, Malformed};
pub use request::RequestHead;
pub use response::ResponseHead;
