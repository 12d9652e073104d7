//! Who asks: what a request says of it, whether that is true, and what is remembered of that.
//!
//! - [`credentials`] reads the Authorization field.
//! - [`verify`] holds a password against a hash, which takes long, and a token against a list, which does not.
//! - [`remember`] keeps what was found out about passwords for a while.

pub mod credentials;
pub mod fuzz;
pub mod remember;
pub mod verify;
